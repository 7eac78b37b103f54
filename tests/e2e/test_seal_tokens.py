"""Holders of the seal that are tokens: shares wrapped and unwrapped by a key of SoftHSM2, automatic unsealing, a token that is away."""

import json

import pytest
from harness import run
from softhsm import Token, needs_token
from test_seal import KDF, Sealed

pytestmark = needs_token


class SealedByToken(Sealed):
    def __init__(self, folder):
        self.token = Token(folder)
        super().__init__(folder, config=self.token.entry())

    def make_wrap_key(self):
        done = run("key", "generate", "--backend", "pkcs11", "--type", "wrap", "--label", "kek", "-c", self.config_path)
        assert done.returncode == 0, done.stderr

    def wait_state(self, state):
        self.wait_until(lambda: self.state()["state"] == state, f"it is {state}")


@pytest.fixture(name="signer")
def fixture_signer(tmp_path):
    signer = SealedByToken(tmp_path)
    signer.make_wrap_key()
    with signer:
        yield signer


def test_a_token_alone_unseals_at_the_start(signer):
    signer.wait_until(lambda: "done" in init_with_token(signer), "the token wraps")
    assert signer.state()["state"] == "sealed"
    assert "is asked" in run("seal", "unseal", "--holder", "box", "--data-dir", signer.data_dir).stderr
    signer.wait_state("unsealed")
    pubkey = signer.add_keys(1)[0]
    assert signer.signs(pubkey, 10)
    # Sealed on command: it stays so, until somebody asks the token.
    signer.seal("seal")
    assert signer.state()["state"] == "sealed"
    assert not signer.signs(pubkey, 11)
    signer.seal("unseal", "--holder", "box")
    signer.wait_state("unsealed")
    # A start needs nobody.
    signer.stop()
    signer.start()
    signer.wait_state("unsealed")
    signer.wait_until(lambda: signer.signs(pubkey, 12), "it signs")
    # A token that is away at the start is found when it is back.
    signer.stop()
    signer.token.pull()
    signer.start()
    signer.wait_until(lambda: "box: " in signer.state()["detail"], "the token is missed")
    assert signer.state()["state"] == "sealed"
    assert not signer.signs(pubkey, 13)
    signer.token.put_back()
    signer.wait_state("unsealed")
    signer.wait_until(lambda: signer.signs(pubkey, 14), "it signs again")


def init_with_token(signer):
    done = run("seal", "init", "--holder", "box:pkcs11=kek", "--data-dir", signer.data_dir, *KDF)
    return done.stdout


def test_a_token_and_two_of_three_people(signer):
    def init():
        done = run("seal", "init", "--require", "box:pkcs11=kek", "--threshold", "2",
                   *signer.people("alice", "bob", "carol"), "--data-dir", signer.data_dir, *KDF)
        return done.returncode == 0
    signer.wait_until(init, "the token wraps")
    holders = {holder["name"]: holder for holder in signer.state()["holders"]}
    assert holders["box"]["kind"] == "pkcs11" and holders["box"]["required"]
    signer.unseal("alice")
    signer.wait_until(lambda: [h["given"] for h in signer.state()["holders"]] == [True, True, False, False], "the token gave its own")
    assert signer.state()["missing"] == 1
    assert "unsealed" in signer.unseal("carol")
    # Other holders, the same token; its old share is void.
    signer.seal("rekey", "--require", "box:pkcs11=kek", "--threshold", "1", *signer.people("bob"), *KDF)
    signer.stop()
    signer.start()
    signer.wait_until(lambda: signer.state()["holders"][0]["given"], "the token gave its share")
    assert "the share of bob" in signer.unseal("bob", password_of="carol", ok=False)
    signer.unseal("bob")
    assert signer.state()["state"] == "unsealed"


def test_what_cannot_be_a_holder(signer):
    def refused(*holder):
        return run("seal", "init", "--holder", *holder, "--data-dir", signer.data_dir, *KDF).stderr
    signer.wait_until(lambda: "no key nobody" in refused("box:pkcs11=nobody"), "the token has no such key")
    assert signer.state()["state"] == "uninitialized"
    assert "aws-kms" in refused("cloud:awskms=alias/x")
    assert "NAME:pkcs11=LABEL" in refused("box:pkcs11")
    assert json.loads(signer.seal("status", "--json"))["holders"] == []
