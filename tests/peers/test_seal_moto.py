"""A holder of the seal that is a key in AWS KMS, against moto: unseals by itself, says what is wrong, comes back by itself."""

import contextlib
import http.client
import http.server
import json
import threading
import urllib.parse

import aws_double
import moto_server
import pytest
from harness import run
from moto_server import REGION, ask
from test_seal import KDF, Sealed
from test_seal_tokens import SealedByToken


class Gate(http.server.ThreadingHTTPServer):
    """Between the signer and moto. As it is told: nobody there, a key that is disabled (moto goes on with one), or
    another encryption context than the share was wrapped with."""

    daemon_threads = True

    def __init__(self, moto):
        super().__init__(("127.0.0.1", 0), Way)
        self.moto = urllib.parse.urlsplit(moto).netloc
        self.mode = "open"

    def handle_error(self, request, client_address):
        pass  # a signer that ends in between


class Way(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_crypto = self.headers["X-Amz-Target"].endswith(("Encrypt", "Decrypt"))
        if self.server.mode == "away":
            self.close_connection = True
            return
        if self.server.mode == "disabled" and is_crypto:
            self.answer(400, json.dumps({"__type": "DisabledException", "message": "the key is disabled."}).encode())
            return
        if self.server.mode == "context" and is_crypto:
            asked = json.loads(body)
            asked["EncryptionContext"] = {"binding": "another"}
            body = json.dumps(asked).encode()
        with contextlib.closing(http.client.HTTPConnection(self.server.moto, timeout=60)) as connection:
            headers = {name: value for name, value in self.headers.items() if name not in ("Host", "Content-Length")}
            connection.request("POST", self.path, body, headers)
            answer = connection.getresponse()
            self.answer(answer.status, answer.read())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class SealedByKms(Sealed):
    def __init__(self, folder, url):
        super().__init__(folder, config=f"seal: {{awskms: {{region: {REGION}, endpoint_url: \"{url}\"}}}}\n")

    wait_state = SealedByToken.wait_state

    def environment(self):
        mine = {name: value for name, value in super().environment().items() if not name.startswith("AWS_")}
        return {**mine, **{name: value for name, value in aws_double.environment().items() if name.startswith("AWS_")}}

    def detail(self, *words):
        """Waits until the status says what is wrong with the holder."""
        self.wait_until(lambda: all(word in self.state()["detail"] for word in ("cloud: ",) + words), f"it says {words}")


@pytest.fixture(name="moto", scope="module")
def fixture_moto():
    with moto_server.server() as url:
        yield url


@pytest.fixture(name="gate")
def fixture_gate(moto):
    with Gate(moto) as gate:
        threading.Thread(target=gate.serve_forever, daemon=True).start()
        yield gate
        gate.shutdown()


def test_a_kms_key_unseals_by_itself(moto, gate, tmp_path):
    key = ask(moto, "kms", "TrentService.CreateKey", KeySpec="SYMMETRIC_DEFAULT", KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["Arn"]
    signer = SealedByKms(tmp_path, f"http://127.0.0.1:{gate.server_address[1]}")
    with signer:
        # Either of two: KMS by itself, or a person with a passphrase.
        def init():
            return run("seal", "init", "--threshold", "1", "--holder", f"cloud:awskms={key}", *signer.people("alice"),
                       "--data-dir", signer.data_dir, *KDF).returncode == 0
        signer.wait_until(init, "KMS wraps")
        kinds = {holder["name"]: holder["kind"] for holder in signer.state()["holders"]}
        assert kinds == {"cloud": "awskms", "alice": "passphrase"}
        signer.seal("unseal", "--holder", "cloud")
        signer.wait_state("unsealed")
        pubkey = signer.add_keys(1)[0]
        assert signer.signs(pubkey, 10)
    for mode, words in (("open", None), ("away", ()), ("disabled", ("disabled",)), ("context", ("encryption context",))):
        gate.mode = mode
        with signer:
            if mode != "open":  # a start needs nobody
                signer.detail(*words)
                assert signer.state()["state"] == "sealed" and not signer.signs(pubkey, 12)
            gate.mode = "open"
            if mode == "context":  # refused for good: whoever mends it says so
                signer.unseal("alice")
            signer.wait_state("unsealed")
            signer.wait_until(lambda: signer.signs(pubkey, 13), "it signs")  # once, and then the same again
