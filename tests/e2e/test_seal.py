"""The seal machine of a running signer, from its first start to another master key."""

import json
import os
import pathlib
import subprocess

import pytest

from harness import PATIENCE, Signer, run, write_private

KDF = ["--kdf-memory", "19", "--kdf-passes", "2"]
PASSWORDS = {"alice": "correct horse battery", "bob": "staple of the second", "carol": "third one of three"}


class Sealed(Signer):
    """A signer with sealed keys, and what people type at it."""

    def __init__(self, folder, key_files=False, **kwargs):
        folder = pathlib.Path(folder)
        keys = ""
        if key_files:
            os.makedirs(folder / "machines", mode=0o700, exist_ok=True)
            keys = f", key_file_dir: {folder}/machines"
        super().__init__(folder, keys=0, config=f"signing_keys:\n  - {{backend: sealed{keys}}}\n", **kwargs)
        for name, text in PASSWORDS.items():
            write_private(folder / f"{name}.pass", text)

    def seal(self, *arguments):
        return run("seal", *arguments, "--data-dir", self.data_dir)

    def state(self):
        done = self.seal("status", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def people(self, *names):
        return [word for name in names for word in
                ("--holder", f"{name}:passphrase", "--passphrase-file", f"{name}={self.folder}/{name}.pass")]

    def init(self, threshold, *names):
        done = self.seal("init", "--threshold", str(threshold), *self.people(*names), *KDF)
        assert done.returncode == 0, done.stderr

    def unseal(self, name, password_of=None):
        return self.seal("unseal", "--holder", name, "--passphrase-file",
                         f"{self.folder}/{password_of or name}.pass")


def test_two_of_three(tmp_path):
    with Sealed(tmp_path) as signer:
        assert signer.state()["state"] == "uninitialized"
        signer.init(2, "alice", "bob", "carol")
        assert signer.state()["state"] == "sealed"
        assert signer.unseal("alice").returncode == 0
        assert signer.state()["state"] == "partly_unsealed"
        wrong = signer.unseal("bob", password_of="carol")
        assert wrong.returncode == 1 and "bob" in wrong.stderr, wrong.stderr
        again = signer.unseal("alice")
        assert again.returncode == 0, again.stderr
        assert signer.state()["missing"] == 1
        assert signer.unseal("carol").returncode == 0
        state = signer.state()
        assert state["state"] == "unsealed"
        assert [h["wrong_shares"] for h in state["holders"]] == [0, 1, 0]
