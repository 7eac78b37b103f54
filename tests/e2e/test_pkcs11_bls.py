"""BLS keys wrapped under a key in a token: `key wrap`, then a signer that has nothing else; files that are wrong are named."""

import os

from harness import Signer, attestation, make_keystores, run
from softhsm import Token, needs_token

pytestmark = needs_token


class Wrapped(Signer):
    def __init__(self, folder):
        self.token = Token(folder)
        self.blobs = os.path.join(str(folder), "blobs")
        os.mkdir(self.blobs, 0o700)
        super().__init__(folder, keys=0, config="signing_keys:\n" + self.token.entry(f", wrap_key: kek, blob_dir: {self.blobs}"))
        self.make("generate", "--type", "wrap", "--label", "kek")
        keystores = os.path.join(str(folder), "elsewhere")
        self.pubkeys = make_keystores(keystores, 2)
        self.make("wrap", keystores, "--password-file", keystores + ".password")

    def make(self, verb, *arguments):
        done = run("key", verb, "--backend", "pkcs11", "-c", self.config_path, *arguments)
        assert done.returncode == 0, done.stderr

    def path_of(self, pubkey):
        return os.path.join(self.blobs, pubkey + ".wrapped")


def test_wrapped_keys_sign(tmp_path):
    with Wrapped(tmp_path) as signer:
        for pubkey in signer.pubkeys:
            status, answer = signer.sign(pubkey, attestation(10, 11))
            assert status == 200, answer
            assert signer.sign(pubkey, attestation(10, 11, mark=1))[0] == 412
        assert signer.get("/api/v1/holdfast/status")[1]["keys"]["by_backend"]["pkcs11"] == 2


def test_a_blob_in_another_keys_file_is_refused(tmp_path):
    signer = Wrapped(tmp_path)
    first, second = signer.pubkeys
    with open(signer.path_of(first), encoding="ascii") as text:
        lines = text.read().splitlines()
    with open(signer.path_of(second), encoding="ascii") as text:
        lines[4] = text.read().splitlines()[4]
    with open(signer.path_of(first), "w", encoding="ascii") as out:
        out.write("\n".join(lines) + "\n")
    signer.pubkeys = [second]
    with signer:
        assert signer.sign(second, attestation(10, 11))[0] == 200
        assert signer.sign(first, attestation(10, 11))[0] == 404
        signer.wait_until(lambda: "does not unwrap it" in signer.log(), "it is named")
