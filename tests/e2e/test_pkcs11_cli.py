"""holdfast key generate and key wrap with a token: what is made is on the token, and nothing else is anywhere."""

import os
import re

import pytest
from ethereum import keccak256
from harness import make_keystores, run, write_private
from softhsm import MODULE, PIN, Token, needs_token

pytestmark = needs_token


@pytest.fixture(name="place")
def fixture_place(tmp_path):
    return Place(tmp_path)


class Place:
    """A configuration with one token, and the commands on it."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.token = Token(folder)
        self.blobs = os.path.join(self.folder, "blobs")
        os.mkdir(self.blobs, 0o700)
        self.config = os.path.join(self.folder, "holdfast.yaml")
        self.write(self.token.settings(f", wrap_key: kek, blob_dir: {self.blobs}"))

    def write(self, settings):
        write_private(self.config, f"data_dir: {self.folder}/data\nnetwork: mainnet\nsigning_keys:\n"
                                   f"  - {{backend: pkcs11, {settings}}}\n")

    def key(self, verb, *arguments, ok=0):
        done = run("key", verb, "--backend", "pkcs11", "-c", self.config, *arguments)
        assert done.returncode == ok, done.stdout + done.stderr
        return done.stdout if ok == 0 else done.stderr


def test_generate(place):
    out = place.key("generate", "--type", "secp256k1", "--label", "sequencer")
    public, label, address = re.fullmatch(r"0x04([0-9a-f]{128})  (\S+)  address 0x([0-9a-f]{40})\n", out).groups()
    assert label == "sequencer"
    assert keccak256(bytes.fromhex(public))[-20:].hex() == address
    assert re.fullmatch(r"0x[0-9a-f]{64}  sol\n", place.key("generate", "--label", "sol", "--type", "ed25519"))
    assert re.fullmatch(r"0x04[0-9a-f]{128}  r1\n", place.key("generate", "--label", "r1", "--type", "p256"))
    assert place.key("generate", "--label", "kek", "--type", "wrap") == "kek\n"
    objects = place.token.objects()
    assert objects["Private Key Object"] == {"sequencer", "sol", "r1"}
    assert objects["Secret Key Object"] == {"kek"}
    listed = place.token.tool("--list-objects")
    assert "never extractable" in listed and "sensitive" in listed
    assert "called kek already" in place.key("generate", "--type", "wrap", "--label", "kek", ok=1)
    assert "--type" in place.key("generate", "--label", "x", "--type", "ed448", ok=2)
    assert "--label" in place.key("generate", "--type", "p256", ok=2)


def test_wrap(place):
    pubkeys = make_keystores(f"{place.folder}/keystores", 2)
    password = f"{place.folder}/keystores.password"
    assert "no key kek" in place.key("wrap", f"{place.folder}/keystores", "--password-file", password, ok=1)
    assert os.listdir(place.blobs) == []
    place.key("generate", "--label", "kek", "--type", "wrap")
    out = place.key("wrap", f"{place.folder}/keystores", "--password-file", password)
    assert sorted(line.split()[1] for line in out.splitlines()) == sorted(pubkeys)
    assert sorted(os.listdir(place.blobs)) == sorted(f"{pubkey}.wrapped" for pubkey in pubkeys)
    for name in os.listdir(place.blobs):
        path = os.path.join(place.blobs, name)
        assert os.stat(path).st_mode & 0o777 == 0o600
        with open(path, encoding="ascii") as text:
            lines = dict(line.rstrip("\n").split(": ") for line in text)
        assert lines["holdfast-wrapped-key"] == "1" and lines["type"] == "bls" and lines["wrap_key"] == "kek"
        assert lines["public_key"] + ".wrapped" == name
    before = {name: os.stat(os.path.join(place.blobs, name)).st_mtime_ns for name in os.listdir(place.blobs)}
    assert place.key("wrap", f"{place.folder}/keystores", "--password-file", password) == ""  # they are left alone
    assert before == {name: os.stat(os.path.join(place.blobs, name)).st_mtime_ns for name in os.listdir(place.blobs)}


def test_what_is_wrong(place):
    write_private(place.token.pin_file, "not the PIN")
    complaint = place.key("generate", "--type", "p256", "--label", "x", ok=1)
    assert "CKR_PIN_INCORRECT" in complaint and "not the PIN" not in complaint
    write_private(place.token.pin_file, PIN)
    place.write(place.token.settings().replace("token_label: holdfast", "token_label: another"))
    assert "another" in place.key("generate", "--type", "p256", "--label", "x", ok=1)
    pubkeys = make_keystores(f"{place.folder}/keystores", 1)
    password = f"{place.folder}/keystores.password"
    assert "wrap_key" in place.key("wrap", f"{place.folder}/keystores", "--password-file", password, ok=2)
    assert pubkeys[0] not in place.token.tool("--list-objects")
    place.write(place.token.settings() + "}\n  - {backend: pkcs11, " + place.token.settings())
    assert "several entries" in place.key("generate", "--type", "p256", "--label", "x", ok=2)
    done = run("key", "generate", "--backend", "vault", "-c", place.config, "--label", "x")
    assert done.returncode == 2 and "aws-kms, pkcs11, aws-cloudhsm or yubihsm" in done.stderr


def test_without_a_configuration(place):
    token = place.token
    done = run("key", "generate", "--backend", "pkcs11", "--type", "secp256k1", "--label", "bare", "--set", "module=" + MODULE,
               "--set", f"token_label={token.label}", "--set", f"pin_file={token.pin_file}",
               "--set", f"module_env.SOFTHSM2_CONF={token.conf}")
    assert done.returncode == 0, done.stderr
    assert token.objects()["Private Key Object"] == {"bare"}
    # BLS keys made here exist nowhere but under the token's key.
    place.key("generate", "--type", "wrap", "--label", "kek")
    out = place.key("generate", "--count", "3")
    assert sorted(line.split()[1] + ".wrapped" for line in out.splitlines()) == sorted(os.listdir(place.blobs))
