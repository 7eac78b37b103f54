"""Sealed keys of one mnemonic, and their backup: every key comes back from it, and from nothing less."""

import json
import os
import stat

import pytest

from harness import run, write_private
from test_seal import Sealed

WEAK = ["--backup-kdf-cost", "1024"]  # the standard takes a second and 256 MiB
PASSWORD = "a backup of the eighth hour"


@pytest.fixture(name="signer", scope="module")
def fixture_signer(tmp_path_factory):
    with Sealed(tmp_path_factory.mktemp("backup")) as signer:
        write_private(f"{signer.folder}/backup.pass", PASSWORD)
        write_private(f"{signer.folder}/wrong.pass", PASSWORD + "!")
        signer.init(1, "alice")
        signer.unseal("alice")
        yield signer


def generate(signer, count, name, ok=True):
    return signer.holdfast("key", "generate", "--count", str(count), "--mnemonic-backup", f"{signer.folder}/{name}",
                           "--backup-password-file", f"{signer.folder}/backup.pass", *WEAK, ok=ok)


def recover(signer, name, *more, password="backup", ok=True):
    return signer.holdfast("key", "recover", f"{signer.folder}/{name}", "--password-file",
                           f"{signer.folder}/{password}.pass", *more, ok=ok)


def test_every_key_comes_back(signer, tmp_path):
    made = generate(signer, 5, "one.json").split()
    assert len(made) == 5 and signer.keys() == dict.fromkeys(made, "active")
    path = f"{signer.folder}/one.json"
    backup = json.load(open(path, encoding="utf-8"))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert backup["version"] == 4 and backup["pubkey"] == "" and backup["keys"] == {"start_index": 0, "count": 5}
    assert "not a key" in backup["description"]
    assert "is there already" in generate(signer, 1, "one.json", ok=False)  # and nothing was made
    assert len(signer.keys()) == 5
    # into a store that lost all of them
    for pubkey in made:
        signer.holdfast("key", "delete", "--backend", "sealed", pubkey)
    assert signer.keys() == {}
    out = recover(signer, "one.json")
    assert out.split()[:5] == made and "5 recovered, 0 already there, 0 failed" in out
    assert signer.keys() == dict.fromkeys(made, "active")
    assert all(signer.signs(pubkey, 10) for pubkey in made)
    assert "0 recovered, 5 already there" in recover(signer, "one.json")
    # the sentence alone gives the same keys, by another way
    recover(signer, "one.json", "--mnemonic-output", str(tmp_path / "words"))
    assert stat.S_IMODE(os.stat(tmp_path / "words").st_mode) == 0o600
    assert len(open(tmp_path / "words", encoding="utf-8").read().split()) == 24
    done = run("key", "new", "--count", "5", "--mnemonic-file", str(tmp_path / "words"), "--keystore-dir", str(tmp_path / "out"),
               "--password-file", f"{signer.folder}/backup.pass", "--kdf-cost", "1024", "--json")
    assert [key["pubkey"] for key in json.loads(done.stdout)] == made
    # more of the same mnemonic, when asked for
    more = recover(signer, "one.json", "--start-index", "5", "--count", "2").split()
    assert len(set(more[:2]) | set(made)) == 7


def test_what_is_not_the_backup_gives_nothing(signer):
    made = generate(signer, 1, "two.json").split()
    assert "wrong password" in recover(signer, "two.json", password="wrong", ok=False)
    text = open(f"{signer.folder}/two.json", encoding="utf-8").read()
    good = json.loads(text)
    before = signer.keys()

    def tried(change):
        backup = json.loads(text)
        change(backup)
        write_private(f"{signer.folder}/bad.json", json.dumps(backup))
        return recover(signer, "bad.json", ok=False)

    message = good["crypto"]["cipher"]["message"]
    flipped = ("0" if message[0] != "0" else "1") + message[1:]
    assert "wrong password" in tried(lambda b: b["crypto"]["cipher"].update(message=flipped))
    assert tried(lambda b: b["crypto"]["cipher"].update(message=""))
    assert tried(lambda b: b["crypto"]["cipher"].update(message=message + "00" * 300))
    assert tried(lambda b: b["crypto"]["cipher"]["params"].update(iv="00" * 16))
    assert "out of range" in tried(lambda b: b["keys"].update(count=10 ** 9))
    assert "out of range" in tried(lambda b: b["keys"].update(start_index=-1))
    assert "--count" in tried(lambda b: b.pop("keys"))
    write_private(f"{signer.folder}/bad.json", "{")
    assert recover(signer, "bad.json", ok=False)
    # it is no key, for whoever takes it for one
    folder = f"{signer.folder}/as-keystore"
    os.makedirs(folder)
    write_private(f"{folder}/keystore-0.json", text)
    assert run("key", "import", folder, "--password-file", f"{signer.folder}/backup.pass", "--backend", "sealed",
               "--data-dir", signer.data_dir).returncode == 1
    assert signer.keys() == before and made[0] in before


def test_no_word_of_it_is_anywhere_else(signer, tmp_path):
    generate(signer, 2, "three.json")
    recover(signer, "three.json", "--mnemonic-output", str(tmp_path / "words"))
    words = open(tmp_path / "words", encoding="utf-8").read().split()
    three = " ".join(words[:3]).encode()
    os.unlink(tmp_path / "words")
    for folder, _, names in os.walk(signer.folder):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and three in open(path, "rb").read():
                raise AssertionError(f"words of the mnemonic are in {path}")
    assert three.decode() not in signer.log() and PASSWORD not in signer.log()


def test_a_sealed_signer_leaves_a_backup_that_serves_later(signer):
    signer.seal("seal")
    assert "sealed" in generate(signer, 2, "four.json", ok=False)
    signer.unseal("alice")
    assert "2 recovered" in recover(signer, "four.json")
