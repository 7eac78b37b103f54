#!/usr/bin/env python3
"""aws_double.py COMMAND...: runs the command beside a server that plays AWS KMS and Secrets Manager on
loopback (HF_TEST_AWS: its URL), as far as Holdfast asks them. Every signature is checked; KMS binds its
ciphertexts to key and encryption context, as the real one does, by a cipher that is none.

GET /set?how=...: what goes wrong from now on; operation (default: all), count (how many requests), argument:
  fault    answers with the type in argument       status   answers with this status and no JSON
  drop     closes without an answer                slow     answers so many milliseconds late
  half     ends in the middle of the answer        garbage  answers with what is no JSON
  member   answers as ever, but for one member: argument is NAME:VALUE
  none     all is well again
GET /count?of=OPERATION: requests since the last asking. GET /problems: what clients did wrong.
GET /disable, /enable: the key that wraps. GET /fill?count=N&prefix=P: N secrets of one BLS key each.
GET /most: how many requests were under way at once at most, since the last asking.
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import secrets
import subprocess
import sys
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
# pylint: disable=wrong-import-position
import aws_signature  # noqa: E402
import ethereum  # noqa: E402

REGION = "eu-test-1"
KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ARN = f"arn:aws:kms:{REGION}:111122223333:key/"
WRAPPING = ARN + "1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER = ARN + "99999999-12ab-34cd-56ef-1234567890ab"
SIGNING = ARN + "5158ab00-12ab-34cd-56ef-1234567890ab"
ALIASES = {"alias/holdfast": WRAPPING, "alias/signer": SIGNING}
SIGN_SECRET = 0x1F1E1D1C1B1A191817161514131211100F0E0D0C0B0A09080706050403020107
SPKI_SECP256K1 = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a034200")
MASTER = b"of this double alone"


class Refusal(Exception):
    """An error of AWS: type and message."""


def b64(data):
    return base64.b64encode(data).decode()


def make_key(number):
    """A BLS secret: below the order, for its first byte is 0."""
    return b"\0" + hashlib.sha256(b"key %d" % number).digest()[1:]


# ---- KMS


def context_bytes(body):
    return json.dumps(body.get("EncryptionContext", {}), sort_keys=True).encode()


def stream(nonce, length):
    return b"".join(hashlib.sha256(MASTER + nonce + bytes([i])).digest() for i in range(length // 32 + 1))[:length]


def encrypt(arn, context, plain):
    nonce = secrets.token_bytes(12)
    hidden = bytes(a ^ b for a, b in zip(plain, stream(nonce, len(plain))))
    head = arn.encode().ljust(80) + nonce + hidden
    return head + hmac.new(MASTER, head + context, hashlib.sha256).digest()


def decrypt(arn, context, blob):
    head, tag = blob[:-32], blob[-32:]
    if len(head) < 93 or not hmac.compare_digest(hmac.new(MASTER, head + context, hashlib.sha256).digest(), tag):
        raise Refusal("InvalidCiphertextException", "")
    if head[:80].rstrip().decode() != arn:
        raise Refusal("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
    return bytes(a ^ b for a, b in zip(head[92:], stream(head[80:92], len(head) - 92)))


def der(number):
    raw = number.to_bytes(33, "big").lstrip(b"\0") or b"\0"
    raw = b"\0" + raw if raw[0] & 0x80 else raw
    return b"\x02" + bytes([len(raw)]) + raw


def ecdsa(secret, digest, high):
    """DER; with the higher s every other time, as KMS gives it too."""
    k = int.from_bytes(hashlib.sha256(secret.to_bytes(32, "big") + digest).digest(), "big") % ethereum.N
    point = ethereum._times(k, ethereum.G)  # pylint: disable=protected-access
    r = point[0] % ethereum.N
    s = pow(k, -1, ethereum.N) * (int.from_bytes(digest, "big") + r * secret) % ethereum.N
    s = max(s, ethereum.N - s) if high else min(s, ethereum.N - s)
    body = der(r) + der(s)
    return b"\x30" + bytes([len(body)]) + body


class Kms:
    def __init__(self):
        self.disabled = set()
        self.signed = 0
        self.public = ethereum._times(SIGN_SECRET, ethereum.G)  # pylint: disable=protected-access

    def key(self, body, kinds):
        name = body.get("KeyId", "")
        arn = ALIASES.get(name, name)
        arn = arn if arn.startswith("arn:") else ARN + arn
        if arn not in (WRAPPING, OTHER, SIGNING):
            raise Refusal("NotFoundException", f"Key '{name}' does not exist")
        if arn in self.disabled:
            raise Refusal("DisabledException", f"{arn} is disabled.")
        if arn not in kinds:
            raise Refusal("InvalidKeyUsageException", f"{arn} key usage is not that.")
        return arn

    def encrypt(self, body):
        arn = self.key(body, (WRAPPING, OTHER))
        return {"CiphertextBlob": b64(encrypt(arn, context_bytes(body), base64.b64decode(body["Plaintext"]))), "KeyId": arn}

    def decrypt(self, body):
        if "KeyId" not in body or "EncryptionContext" not in body:
            raise Refusal("ValidationException", "a Decrypt without KeyId or context")
        arn = self.key(body, (WRAPPING, OTHER))
        return {"Plaintext": b64(decrypt(arn, context_bytes(body), base64.b64decode(body["CiphertextBlob"]))), "KeyId": arn}

    def generate_data_key(self, body):
        arn = self.key(body, (WRAPPING, OTHER))
        plain = secrets.token_bytes(32)
        return {"CiphertextBlob": b64(encrypt(arn, context_bytes(body), plain)), "Plaintext": b64(plain), "KeyId": arn}

    def get_public_key(self, body):
        arn = self.key(body, (SIGNING,))
        point = b"\x04" + self.public[0].to_bytes(32, "big") + self.public[1].to_bytes(32, "big")
        return {"KeyId": arn, "PublicKey": b64(SPKI_SECP256K1 + point), "KeySpec": "ECC_SECG_P256K1", "KeyUsage": "SIGN_VERIFY",
                "SigningAlgorithms": ["ECDSA_SHA_256"]}

    def sign(self, body):
        arn = self.key(body, (SIGNING,))
        digest = base64.b64decode(body["Message"])
        if body["MessageType"] != "DIGEST" or body["SigningAlgorithm"] != "ECDSA_SHA_256" or len(digest) != 32:
            raise Refusal("ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_256.")
        self.signed += 1
        return {"KeyId": arn, "Signature": b64(ecdsa(SIGN_SECRET, digest, self.signed % 2 == 0)),
                "SigningAlgorithm": "ECDSA_SHA_256"}

    def describe_key(self, body):
        arn = self.key(body, (WRAPPING, OTHER, SIGNING))
        return {"KeyMetadata": {"Arn": arn, "Enabled": True, "KeyState": "Enabled"}}

    def create_key(self, body):
        return {"KeyMetadata": {"Arn": SIGNING, "KeySpec": body["KeySpec"], "KeyUsage": body["KeyUsage"]}}


# ---- Secrets Manager


class Secrets:
    def __init__(self):
        self.all = {}
        self.found = {}  # by filters, until something is added
        self.add("lines", "0x" + make_key(1).hex() + "\n" + make_key(2).hex() + "\r\n\n")
        self.add("array", json.dumps([make_key(3).hex(), "0x" + make_key(4).hex()]))
        self.add("map", json.dumps({"alice": make_key(5).hex(), "bob": "not a key"}))
        self.add("binary", make_key(6))
        self.add("broken", "hello")
        self.add("nothing", "")
        self.add("gone", "x", deleted=True)
        self.add("Tagged", make_key(7).hex(), tags={"team": "staking"})

    def add(self, name, value, deleted=False, tags=None):
        arn = f"arn:aws:secretsmanager:{REGION}:111122223333:secret:{name}-AbCdEf"
        self.found.clear()
        self.all[name] = {"ARN": arn, "Name": name, "value": value, "deleted": deleted, "tags": tags or {}}

    def find(self, identity):
        name = identity.partition(":secret:")[2].removesuffix("-AbCdEf") or identity
        entry = self.all.get(name)
        if entry is None:
            raise Refusal("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        if entry["deleted"]:
            raise Refusal("InvalidRequestException",
                          "You can't perform this operation on the secret because it was marked for deletion.")
        return entry

    @staticmethod
    def show(entry):
        value = entry["value"]
        member = {"SecretString": value} if isinstance(value, str) else {"SecretBinary": b64(value)}
        return {"ARN": entry["ARN"], "Name": entry["Name"], "VersionId": "v1", "VersionStages": ["AWSCURRENT"], **member}

    def get_secret_value(self, body):
        if body.get("VersionStage") != "AWSCURRENT":
            raise Refusal("InvalidParameterException", "which version?")
        return self.show(self.find(body["SecretId"]))

    def batch_get_secret_value(self, body):
        values, errors = [], []
        if not 0 < len(body["SecretIdList"]) <= 20:
            raise Refusal("ValidationException", "at most 20")
        for identity in body["SecretIdList"]:
            try:
                values.append(self.show(self.find(identity)))
            except Refusal as refusal:
                errors.append({"SecretId": identity, "ErrorCode": refusal.args[0], "Message": refusal.args[1]})
        return {"SecretValues": values, "Errors": errors}

    def filtered(self, rules):
        found = []
        for name in sorted(self.all):
            entry = self.all[name]
            good = not entry["deleted"]
            for rule in rules:
                # As the service does: names without regard to case.
                good = good and {
                    "name": lambda v, e=entry: any(e["Name"].lower().startswith(x.lower()) for x in v),
                    "tag-key": lambda v, e=entry: any(x in e["tags"] for x in v),
                    "tag-value": lambda v, e=entry: any(x in e["tags"].values() for x in v),
                }[rule["Key"]](rule["Values"])
            if good:
                found.append({"ARN": entry["ARN"], "Name": name})
        return found

    def list_secrets(self, body):
        if body["MaxResults"] > 100:
            raise Refusal("ValidationException", "at most 100")
        rules = body.get("Filters", [])
        key = json.dumps(rules)
        if key not in self.found:
            self.found[key] = self.filtered(rules)
        found = self.found[key]
        start = int(body.get("NextToken", "0"))
        end = start + body["MaxResults"]
        return {"SecretList": found[start:end], **({"NextToken": str(end)} if end < len(found) else {})}


# ---- the server


class Double(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.lock = threading.Lock()
        self.rule = None
        self.counts = {}
        self.times = []  # (operation, when it came)
        self.problems = []
        self.now = self.most = 0
        kms, found = Kms(), Secrets()
        self.kms, self.secrets = kms, found
        self.operations = {
            "TrentService.Encrypt": kms.encrypt, "TrentService.Decrypt": kms.decrypt,
            "TrentService.GenerateDataKey": kms.generate_data_key, "TrentService.GetPublicKey": kms.get_public_key,
            "TrentService.Sign": kms.sign, "TrentService.DescribeKey": kms.describe_key,
            "TrentService.CreateKey": kms.create_key,
            "secretsmanager.GetSecretValue": found.get_secret_value,
            "secretsmanager.BatchGetSecretValue": found.batch_get_secret_value,
            "secretsmanager.ListSecrets": found.list_secrets}

    def handle_error(self, request, client_address):
        pass  # a client that went away

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass

    def answer(self, status, body, claimed=None):
        head = (f"HTTP/1.1 {status} Status\r\nContent-Type: application/x-amz-json-1.1\r\n"
                f"Content-Length: {len(body) if claimed is None else claimed}\r\n\r\n")
        self.wfile.write(head.encode() + body)

    def do_GET(self):  # pylint: disable=invalid-name
        server = self.server
        target = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(target.query))
        with server.lock:
            body = getattr(self, "on_" + target.path.strip("/"))(server, asked)
        self.answer(200, body.encode())

    @staticmethod
    def on_set(server, asked):
        server.rule = None if asked["how"] == "none" else {"count": int(asked.get("count", "1000000")), **{
            name: asked.get(name) for name in ("how", "operation", "argument")}}
        return "ok"

    @staticmethod
    def on_count(server, asked):
        return str(server.counts.pop(asked["of"], 0))

    @staticmethod
    def on_problems(server, _asked):
        return "; ".join(server.problems)

    @staticmethod
    def on_most(server, _asked):
        most, server.most = server.most, 0
        return str(most)

    @staticmethod
    def on_disable(server, _asked):
        server.kms.disabled.add(WRAPPING)
        return "ok"

    @staticmethod
    def on_enable(server, _asked):
        server.kms.disabled.clear()
        return "ok"

    @staticmethod
    def on_fill(server, asked):
        for number in range(int(asked["count"])):
            server.secrets.add(f"{asked['prefix']}{number:05}", make_key(1000 + number).hex())
        return "ok"

    def take_rule(self, operation):
        with self.server.lock:
            self.server.counts[operation] = self.server.counts.get(operation, 0) + 1
            self.server.times.append((operation, time.monotonic()))
            rule = self.server.rule
            if rule is None or rule["count"] == 0 or rule["operation"] not in (None, operation):
                return None, None
            rule["count"] -= 1
            return rule["how"], rule["argument"]

    def refuse(self, kind, message):
        prefix = "com.amazonaws.kms#" if kind.startswith("I") else ""
        self.answer(400, json.dumps({"__type": prefix + kind, "message": message}).encode())

    def do_POST(self):  # pylint: disable=invalid-name
        server = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with server.lock:
            server.now += 1
            server.most = max(server.most, server.now)
        try:
            self.respond(server, body)
        finally:
            with server.lock:
                server.now -= 1

    def respond(self, server, body):
        target = self.headers.get("X-Amz-Target", "")
        operation = target.rpartition(".")[2]
        how, argument = self.take_rule(operation)
        service = "kms" if target.startswith("Trent") else "secretsmanager"
        problem = aws_signature.check("POST", self.path, self.headers.items(), body, {KEY_ID: (SECRET, None)}, REGION, service)
        if problem or target not in server.operations:
            server.problems.append(f"{target}: {problem or 'no such operation'}")
            self.refuse("InvalidSignatureException" if problem else "UnknownOperationException", problem or "")
        elif how == "fault":
            self.refuse(argument, "of the double")
        elif how == "status":
            self.answer(int(argument), b"<html>")
        elif how == "garbage":
            self.answer(200, b"<html>well</html>")
        elif how == "drop":
            self.close_connection = True
        else:
            self.carry_out(server, target, json.loads(body), how, argument)

    def carry_out(self, server, target, body, how, argument):
        try:
            with server.lock:
                answer = server.operations[target](body)
        except Refusal as refusal:
            if refusal.args[0] == "ValidationException":
                server.problems.append(f"{target}: {refusal.args[1]}")
            self.refuse(*refusal.args)
            return
        if how == "member":
            name, _, value = argument.partition(":")
            answer[name] = value
        text = json.dumps(answer).encode()
        if how == "slow":
            time.sleep(int(argument) / 1000)
        if how == "half":
            self.answer(200, text[:len(text) // 2], claimed=len(text))
            self.close_connection = True
            return
        self.answer(200, text)


def start(port=0):
    server = Double(port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def environment():
    """What a client needs beside the URL; nothing of the machine's own AWS settings."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**plain, "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true"}


def main(arguments):
    server = start()
    return subprocess.run(arguments, env={**environment(), "HF_TEST_AWS": server.url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
