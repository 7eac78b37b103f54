"""AWS signature version 4, checked as the service checks it: the canonical request is rebuilt from
what came over the wire and the names in SignedHeaders."""

import hashlib
import hmac
import re
import urllib.parse

AUTHORIZATION = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request,"
                           r" *SignedHeaders=([^,]+), *Signature=([0-9a-f]{64})")


def _mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _values(headers, name):
    found = [value for key, value in headers if key.lower() == name]
    return ",".join(re.sub(r"\s+", " ", value.strip()) for value in found)


def canonical_request(method, target, headers, signed, body):
    """headers: pairs; signed: names in the order signed. The path counts as it is."""
    path, _, query = target.partition("?")
    pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
    query = "&".join(f"{urllib.parse.quote(k, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}" for k, v in pairs)
    lines = [f"{name}:{_values(headers, name)}\n" for name in signed]
    return "\n".join([method, path, query, "".join(lines), ";".join(signed), hashlib.sha256(body).hexdigest()])


def signature(secret, date, region, service, timestamp, canonical):
    scope = f"{date}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", timestamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = _mac(_mac(_mac(_mac(b"AWS4" + secret.encode(), date), region), service), "aws4_request")
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def check(method, target, headers, body, secrets, region, service):
    """None, or what is wrong. secrets: by access key id, (secret, session token or None)."""
    match = AUTHORIZATION.fullmatch(_values(headers, "authorization"))
    if match is None:
        return "no signature"
    key_id, date, signed_region, signed_service, names, given = match.groups()
    signed = names.split(";")
    if key_id not in secrets:
        return f"unknown key {key_id}"
    secret, token = secrets[key_id]
    if (signed_region, signed_service) != (region, service):
        return f"signed for {signed_region} {signed_service}"
    needed = {"host", "x-amz-date"} | ({"x-amz-security-token"} if token else set())
    needed |= {key.lower() for key, _ in headers if key.lower() == "x-amz-target"}
    sent = {key.lower() for key, _ in headers}
    if signed != sorted(signed) or not needed <= set(signed) <= sent:
        return f"signed headers {names}"
    if token and _values(headers, "x-amz-security-token") != token:
        return "wrong session token"
    timestamp = _values(headers, "x-amz-date")
    if not timestamp.startswith(date):
        return "dates differ"
    canonical = canonical_request(method, target, headers, signed, body)
    if not hmac.compare_digest(signature(secret, date, region, service, timestamp, canonical), given):
        return "wrong signature"
    return None
