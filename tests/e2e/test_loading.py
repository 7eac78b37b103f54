"""Where keys come from: folders, key files, reloads, and what happens to the files that cannot be opened."""

import json
import os
import re
import shutil

from harness import PATIENCE, make_keystores, write_private

SLOW_ROUNDS = 33554432  # of pbkdf2: ten seconds and more, the most that a keystore may ask for


def read(path):
    with open(path, encoding="utf-8") as text:
        return text.read()


def alter(source, target, **members):
    """A copy of a keystore with other members; kdf stands for crypto.kdf.params."""
    keystore = json.loads(read(source))
    keystore["crypto"]["kdf"]["params"].update(members.pop("kdf", {}))
    keystore.update(members)
    write_private(target, json.dumps(keystore))


def first_file(folder):
    return os.path.join(folder, sorted(os.listdir(folder))[0])


def source(folder):
    return f"  - {{backend: local-keystore, keystore_dir: {folder}, password_file: {folder}.password}}\n"


def reload(signer):
    """Starts a reload and returns how it ended."""
    assert signer.request("POST", "/reload")[0] == 202
    signer.wait_until(lambda: signer.get("/reload")[1]["status"] not in ("running", "idle"), "the reload ended")
    return signer.get("/reload")[1]


def test_failures_are_named_and_the_rest_signs(signers):
    one = signers(keys=2)
    good = first_file(one.keystores)
    alter(good, f"{one.keystores}/z-wrong-key.json", pubkey=one.pubkeys[1][2:])
    alter(good, f"{one.keystores}/z-no-pubkey-is-fine.json", pubkey="")
    alter(good, f"{one.keystores}/z-old.json", version=3)
    write_private(f"{one.keystores}/z-not-json.json", read(good)[:100])
    write_private(f"{one.keystores}/deposit_data-1.json", "[]")
    one.start(wait=False)
    one.wait_ready()
    one.wait_logged("keys_loaded")
    assert one.loaded() == set(one.pubkeys)
    for name, why in (("z-wrong-key.json", "pubkey"), ("z-old.json", "version"), ("z-not-json.json", "not valid JSON")):
        assert one.has_logged("key_failed", f"{name}: {why}"), one.log()
    assert not one.has_logged("key_failed", "deposit_data")
    assert not one.has_logged("key_failed", "z-no-pubkey-is-fine")
    assert one.has_logged("key_twice"), "the same key in two files is worth a line"
    assert one.attest(one.pubkeys[0], 1, 2)[0] == 200


def test_require_all_keys_refuses_the_start(signers):
    one = signers(keys=2, config="require_all_keys: true\n")
    write_private(f"{one.keystores}/z-empty.json", "")
    one.start(wait=False)
    status = one.wait_exit()
    assert status == 1, one.log()
    assert one.has_logged("start_refused", "z-empty.json"), one.log()


def test_web3signer_key_files(signers, tmp_path):
    keys = tmp_path / "keystores"
    pubkeys = make_keystores(str(keys), 2)
    config = tmp_path / "config"
    config.mkdir()
    names = sorted(os.listdir(keys), key=lambda name: int(name.split("-")[1].split(".")[0]))
    shutil.copy(keys / names[0], config / "beside.json")
    shutil.copy(f"{keys}.password", config / "beside.password")
    write_private(config / "a.yaml", "type: file-keystore\nkeyType: BLS\nkeystoreFile: beside.json\n"
                  "keystorePasswordFile: beside.password\n---\n"
                  f"type: file-keystore\nkeystoreFile: {keys}/{names[1]}\nkeystorePasswordFile: {keys}.password\n")
    write_private(config / "b.yaml", f"type: file-raw\nkeyType: BLS\nprivateKey: \"0x{'0' * 63}1\"\n---\n"
                  "type: azure-secret\nvaultName: x\n---\ntype: file-raw\nkeyType: SECP256K1\nprivateKey: 12\n")
    one = signers(keys=0, config=f"signing_keys:\n  - {{backend: web3signer, config_dir: {config}}}\n")
    one.start(wait=False)
    one.wait_ready()
    one.wait_logged("keys_loaded")
    assert set(pubkeys) < one.loaded() and len(one.loaded()) == 3
    one.wait_logged("key_failed", "b.yaml, document 2: secretName is missing")
    assert one.has_logged("key_failed", "b.yaml, document 3: document at line 7: privateKey is not 64 hex digits")
    for number, pubkey in enumerate(sorted(one.loaded())):
        assert one.attest(pubkey, number, number + 1)[0] == 200


def test_reload_takes_what_came_and_drops_what_went(signers):
    one = signers(keys=3).start()
    other = f"{one.folder}/other"
    added = make_keystores(other, 1, first=100)[0]
    gone = next(path for path in (os.path.join(one.keystores, name) for name in os.listdir(one.keystores))
                if json.loads(read(path))["pubkey"] == one.pubkeys[0][2:])
    os.unlink(gone)
    shutil.copy(first_file(other), f"{one.keystores}/added.json")
    assert reload(one)["status"] == "completed"
    assert one.loaded() == {*one.pubkeys[1:], added}
    assert one.attest(one.pubkeys[0], 1, 2)[0] == 404
    assert one.attest(added, 1, 2)[0] == 200
    assert one.has_logged("key_files_read", "3 key files: 2 known, 1 opened"), one.log()


def test_a_folder_that_cannot_be_read_takes_no_key_away(signers):
    one = signers(keys=2).start()
    os.rename(one.keystores, f"{one.keystores}.aside")
    write_private(one.keystores, "a file in the folder's place")
    assert reload(one)["status"] == "failed"
    assert one.loaded() == set(one.pubkeys)
    assert one.attest(one.pubkeys[0], 1, 2)[0] == 200
    os.unlink(one.keystores)
    os.rename(f"{one.keystores}.aside", one.keystores)
    assert reload(one)["status"] == "completed"
    assert one.loaded() == set(one.pubkeys)


def test_a_missing_folder_stops_no_other(signers):
    one = signers(keys=0)
    pubkeys = make_keystores(f"{one.folder}/here", 1)
    write_private(f"{one.folder}/gone.password", "x")
    os.mkdir(f"{one.folder}/gone")
    with open(one.config_path, "a", encoding="utf-8") as config:
        config.write("signing_keys:\n" + source(f"{one.folder}/gone") + source(f"{one.folder}/here"))
    one.start(wait=False)
    one.wait_ready()
    one.wait_logged("keys_loaded")
    assert one.has_logged("key_source_empty", "/gone (local-keystore): no key files"), one.log()
    os.rmdir(f"{one.folder}/gone")
    assert reload(one)["status"] == "completed_with_errors"
    assert one.has_logged("key_failed", f"{one.folder}/gone: No such file or directory"), one.log()
    assert one.loaded() == set(pubkeys)


def test_progress_is_logged(signers):
    one = signers(keys=1)
    for number in range(12):
        alter(first_file(one.keystores), f"{one.keystores}/z-{number}.json", kdf={"c": SLOW_ROUNDS // 16})
    one.start(wait=False)
    one.wait_ready()
    one.wait_logged("keys_loading", "of 13 key files", seconds=PATIENCE)
    line = next(line for line in one.log().splitlines() if "keys_loading: " in line)
    assert re.search(r"keys_loading: \d+ of 13 key files, \d+ failed, about \d+ (s|min) left$", line), line


def test_keys_sign_while_others_load(signers):
    one = signers(keys=2)
    alter(first_file(one.keystores), f"{one.keystores}/z-slow.json", kdf={"c": SLOW_ROUNDS})
    one.start(wait=False)
    one.wait_ready()
    one.wait_until(lambda: one.loaded() == set(one.pubkeys), "the quick keys are there")
    assert one.attest(one.pubkeys[0], 1, 2)[0] == 200
    assert not one.has_logged("keys_loaded"), "the slow file was meant to be slow"
    # What parses a keystore can open no other: the worker at the slow file has given up its descriptors.
    one.wait_until(lambda: any(re.search(r"^Max open files +0 +0 ", read(f"/proc/{pid}/limits"), re.M)
                               for pid in one.pids("loader")), "a worker without descriptors")
    one.stop()  # and sees that no worker is left behind
