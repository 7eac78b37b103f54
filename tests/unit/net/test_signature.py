#!/usr/bin/env python3
"""The checker of signatures that the fake servers use, held against AWS's own vectors and against
requests of AWS's own clients: what it accepts is a signature, and what was changed it refuses."""

import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VECTORS = os.path.join(ROOT, "vectors", "sigv4")
sys.path.insert(0, os.path.join(ROOT, "peers"))
import aws_signature  # noqa: E402  pylint: disable=wrong-import-position

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def check_vectors():
    with open(os.path.join(VECTORS, "vectors.json"), encoding="utf-8") as text:
        vectors = json.load(text)["vectors"]
    for name, case in vectors.items():
        context = case["context"]
        timestamp = context["timestamp"].replace("-", "").replace(":", "")
        given = aws_signature.signature(context["credentials"]["secret_access_key"], timestamp[:8], context["region"],
                                        context["service"], timestamp, case["header_canonical_request"])
        assert given == case["header_signature"], name
    return len(vectors)


def check_wire():
    count = 0
    with open(os.path.join(VECTORS, "wire.jsonl"), encoding="utf-8") as lines:
        for line in lines:
            request = json.loads(line)
            headers = list(request["h"].items())
            service = "kms" if "/kms/" in line else "secretsmanager"
            body = request["b"].encode()

            def problem(body=body, secret=SECRET, region="us-east-1", request=request, headers=headers, service=service):
                return aws_signature.check(request["m"], request["p"], headers, body, {"AKIDEXAMPLE": (secret, None)},
                                           region, service)
            assert problem() is None, (problem(), line)
            assert problem(body=body + b" ") == "wrong signature"
            assert problem(secret="other") == "wrong signature"
            assert problem(region="eu-test-1").startswith("signed for")
            count += 1
    return count


def main():
    vectors, wire = check_vectors(), check_wire()
    assert vectors == 38 and wire == 9, (vectors, wire)
    print(f"{vectors} vectors, {wire} requests")


if __name__ == "__main__":
    main()
