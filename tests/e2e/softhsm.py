"""A token of SoftHSM2 in a folder of its own, with OpenSC's pkcs11-tool as the other side."""

import glob
import os
import re
import shutil
import subprocess

import pytest
from harness import write_private

PIN = "1234-user"
MODULES = ["/usr/lib/softhsm/libsofthsm2.so", *glob.glob("/usr/lib/*/softhsm/libsofthsm2.so"),
           "/usr/lib64/pkcs11/libsofthsm2.so"]
MODULE = next((path for path in MODULES if os.path.exists(path)), None)

needs_token = pytest.mark.skipif(MODULE is None or shutil.which("pkcs11-tool") is None or shutil.which("softhsm2-util") is None,
                                 reason="softhsm2 and opensc are not installed")


class Token:
    def __init__(self, folder, label="holdfast"):
        self.folder, self.label = str(folder), label
        self.tokens = os.path.join(self.folder, "tokens")
        self.conf = os.path.join(self.folder, "softhsm2.conf")
        self.pin_file = os.path.join(self.folder, "pin")
        os.makedirs(self.tokens, mode=0o700)
        write_private(self.conf, f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        write_private(self.pin_file, PIN + "\n")
        self.run("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "so-secret", "--pin", PIN)

    def run(self, *arguments):
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60,
                              env={**os.environ, "SOFTHSM2_CONF": self.conf})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def tool(self, *arguments):
        return self.run("pkcs11-tool", "--module", MODULE, "--token-label", self.label, "--pin", PIN, *arguments)

    def make_key(self, kind, label, number):
        """EC:secp256k1, EC:edwards25519, AES:32, rsa:2048."""
        how = "--keygen" if kind.startswith("AES") else "--keypairgen"
        self.tool(how, "--key-type", kind, "--label", label, "--id", f"{number:02x}")

    def objects(self):
        """{label} of each kind: "Private Key Object", "Secret Key Object" and so on."""
        found = {}
        kind = None
        for line in self.tool("--list-objects").splitlines():
            match = re.match(r"(\S+ Key Object)", line)
            kind = match.group(1) if match else kind
            match = re.match(r"\s+label:\s+(\S.*)", line)
            if match:
                found.setdefault(kind, set()).add(match.group(1))
        return found

    def settings(self, more=""):
        """What an entry of signing_keys says about it, beside the backend."""
        return (f"module: {MODULE}, token_label: {self.label}, pin_file: {self.pin_file}, token_dir: {self.tokens}, "
                f"module_env: {{SOFTHSM2_CONF: {self.conf}}}{more}")

    def entry(self, more=""):
        return f"  - {{backend: pkcs11, {self.settings(more)}}}\n"

    def pull(self):
        """The device is gone; its folder stays, as a reader without a card does."""
        os.mkdir(self.tokens + ".away", 0o700)
        for name in os.listdir(self.tokens):
            os.rename(os.path.join(self.tokens, name), os.path.join(self.tokens + ".away", name))

    def put_back(self):
        for name in os.listdir(self.tokens + ".away"):
            os.rename(os.path.join(self.tokens + ".away", name), os.path.join(self.tokens, name))
        os.rmdir(self.tokens + ".away")
