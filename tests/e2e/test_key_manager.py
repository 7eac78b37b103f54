"""The key manager API through the real program: keys and their history come and go."""

import contextlib
import json
import os
import sqlite3
import stat
import subprocess

import harness
from conftest import wait_for

PASSWORD = "a password for tests"


def bearer(signer):
    with open(os.path.join(signer.data_dir, "key-manager-token"), encoding="utf-8") as secret:
        return {"Authorization": "Bearer " + secret.read().strip()}


def keystores(folder, count, first):
    """(pubkeys, texts) of new keystores."""
    pubkeys = harness.make_keystores(str(folder), count, first)
    texts = [open(os.path.join(folder, name), encoding="utf-8").read()
             for name in sorted(os.listdir(folder), key=lambda name: int(name.split("-")[1].split(".")[0]))]
    return pubkeys, texts


def interchange(pubkey, source, target, root=harness.MAINNET_ROOT):
    return json.dumps({"metadata": {"interchange_format_version": "5", "genesis_validators_root": root}, "data": [
        {"pubkey": pubkey, "signed_blocks": [], "signed_attestations": [
            {"source_epoch": str(source), "target_epoch": str(target)}]}]})


def import_keys(signer, texts, history=None, passwords=None):
    body = {"keystores": texts, "passwords": passwords or [PASSWORD] * len(texts)}
    if history is not None:
        body["slashing_protection"] = history
    return signer.request("POST", "/eth/v1/keystores", body, bearer(signer))


def delete_keys(signer, pubkeys):
    status, answer = signer.request("DELETE", "/eth/v1/keystores", {"pubkeys": pubkeys}, bearer(signer))
    assert status == 200, answer
    return [item["status"] for item in answer["data"]], json.loads(answer["slashing_protection"])


def listed(signer):
    status, answer = signer.get("/eth/v1/keystores", headers=bearer(signer))
    assert status == 200
    return {item["validating_pubkey"]: item["readonly"] for item in answer["data"]}


def test_the_token_is_private_and_demanded(signer):
    path = os.path.join(signer.data_dir, "key-manager-token")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    token = bearer(signer)["Authorization"].removeprefix("Bearer ")
    assert len(token) >= 64
    for headers, status in (({}, 401), ({"Authorization": token}, 401), ({"Authorization": "Bearer " + token[:-1]}, 403),
                            ({"Authorization": "Bearer " + token + "0"}, 403), ({"Authorization": "Bearer " + "0" * 500}, 403),
                            ({"Authorization": "bearer " + token}, 200)):
        got, answer = signer.get("/eth/v1/keystores", headers=headers)
        assert got == status, headers
        assert status == 200 or answer["message"]
    assert token not in signer.log()


def test_keys_are_imported_sign_and_persist(signer, tmp_path):
    pubkeys, texts = keystores(tmp_path / "new", 3, first=100)
    status, answer = import_keys(signer, texts)
    assert (status, [item["status"] for item in answer["data"]]) == (200, ["imported"] * 3)
    assert [item["status"] for item in import_keys(signer, texts[:1])[1]["data"]] == ["duplicate"]
    assert [signer.attest(pubkey, 1, 2)[0] for pubkey in pubkeys] == [200] * 3
    assert {key: listed(signer)[key] for key in pubkeys} == dict.fromkeys(pubkeys, False)
    assert {listed(signer)[key] for key in signer.pubkeys} == {True}
    signer.stop()
    signer.start()
    signer.wait_until(lambda: set(pubkeys) <= set(listed(signer)), "the imported keys are there again")
    assert signer.attest(pubkeys[0], 1, 2, mark=1)[0] == 412
    assert PASSWORD not in signer.log()


def test_each_key_has_its_own_result(signer, tmp_path):
    _, texts = keystores(tmp_path / "new", 3, first=100)
    status, answer = import_keys(signer, [texts[0], texts[1], "{}", texts[2]], passwords=[PASSWORD, "wrong", PASSWORD, PASSWORD])
    assert (status, [item["status"] for item in answer["data"]]) == (200, ["imported", "error", "error", "imported"])
    assert all(item["message"] for item in answer["data"] if item["status"] == "error")
    assert "wrong" not in signer.log()


def test_a_deleted_key_takes_its_history_along(signers, tmp_path):
    one, two = signers(keys=1).start(), signers(keys=1).start()
    (pubkey,), texts = keystores(tmp_path / "new", 1, first=100)
    import_keys(one, texts)
    assert one.attest(pubkey, 4, 5)[0] == 200
    statuses, history = delete_keys(one, [pubkey])
    assert statuses == ["deleted"] and pubkey not in listed(one)
    assert one.attest(pubkey, 5, 6)[0] == 404
    assert delete_keys(one, [pubkey]) == (["not_active"], history)  # an answer may have been lost
    assert history["data"][0]["pubkey"] == pubkey
    assert {(vote["source_epoch"], vote["target_epoch"]) for vote in history["data"][0]["signed_attestations"]} >= {("4", "5")}

    assert import_keys(two, texts, json.dumps(history))[0] == 200
    assert two.attest(pubkey, 4, 5, mark=1)[0] == 412
    assert two.attest(pubkey, 3, 7)[0] == 412
    assert two.attest(pubkey, 4, 5)[0] == 200
    assert two.attest(pubkey, 5, 6)[0] == 200


def test_a_key_that_comes_back_remembers(signer, tmp_path):
    (pubkey,), texts = keystores(tmp_path / "new", 1, first=100)
    import_keys(signer, texts)
    assert signer.attest(pubkey, 1, 2)[0] == 200
    assert delete_keys(signer, [pubkey])[0] == ["deleted"]
    import_keys(signer, texts)
    assert signer.attest(pubkey, 1, 2, mark=1)[0] == 412
    assert signer.attest(pubkey, 2, 3)[0] == 200


def test_configured_and_unknown_keys_are_not_deleted(signer):
    statuses, history = delete_keys(signer, [signer.pubkeys[0], "0x" + "ab" * 48])
    assert statuses == ["error", "not_found"] and history["data"] == []
    assert signer.attest(signer.pubkeys[0], 1, 2)[0] == 200


def test_a_large_history_is_returned_whole(signer, tmp_path):
    (pubkey,), texts = keystores(tmp_path / "new", 1, first=100)
    import_keys(signer, texts)
    for target in range(1, 200):
        assert signer.attest(pubkey, target - 1, target)[0] == 200
    _, history = delete_keys(signer, [pubkey])
    targets = {int(vote["target_epoch"]) for vote in history["data"][0]["signed_attestations"] if "signing_root" in vote}
    assert targets == set(range(1, 200))


def test_a_history_that_cannot_be_imported_keeps_the_keys_out(signer, tmp_path):
    (pubkey,), texts = keystores(tmp_path / "new", 1, first=100)
    for history in ("{", "{}", interchange(pubkey, 1, 2, root="0x" + "00" * 32), interchange("0x12", 1, 2), interchange(pubkey, -1, 2)):
        status, answer = import_keys(signer, texts, history)
        assert status == 400 and answer["message"].startswith("slashing_protection")
    assert pubkey not in listed(signer)
    assert import_keys(signer, texts, interchange(pubkey, 7, 8))[0] == 200
    assert signer.attest(pubkey, 6, 9)[0] == 412
    assert signer.attest(pubkey, 8, 9)[0] == 200


def test_an_exit_is_signed_as_a_client_would_ask_for_it(signer):
    key = signer.pubkeys[0]
    status, answer = signer.request("POST", f"/eth/v1/validator/{key}/voluntary_exit?epoch=300000&validator_index=11",
                                    headers=bearer(signer))
    assert status == 200
    assert answer["data"]["message"] == {"epoch": "300000", "validator_index": "11"}
    body = {"type": "VOLUNTARY_EXIT", "fork_info": harness.fork_info(), "voluntary_exit": {"epoch": "300000", "validator_index": "11"}}
    assert signer.sign(key, body)[1] == answer["data"]["signature"]
    status, answer = signer.request("POST", f"/eth/v1/validator/{key}/voluntary_exit", headers=bearer(signer))
    assert status == 400 and "validator_index" in answer["message"]


def test_it_can_be_switched_off(signers):
    signer = signers(keys=1, config="key_manager: {enabled: false}\n").start()
    status, answer = signer.get("/eth/v1/keystores", headers={"Authorization": "Bearer x"})
    assert status == 404 and "key_manager.enabled" in answer["message"]


# ---- what a deletion must not leave behind, or promise


def add_slow(signer, first, count, rounds):
    """Keystores in the configured folder that take their time to open."""
    subprocess.run([os.path.join(harness.BUILD, "bench", "bench_keys"), signer.keystores, str(first), str(count), "pbkdf2",
                    str(rounds), signer.keystores + ".password"], check=True)


def imported_file(signer, pubkey):
    return os.path.join(signer.data_dir, "imported", pubkey + ".json")


def test_a_key_that_is_in_a_configured_folder_too_is_not_deleted(signers, tmp_path):
    signer = signers(keys=1).start()
    (pubkey,), texts = keystores(tmp_path / "new", 1, first=100)
    import_keys(signer, texts)
    signer.stop()
    add_slow(signer, 100, 1, 400000)  # opened after the imported one
    signer.start()
    wait_for("both files are read", lambda: signer.has_logged("key_twice"), harness.PATIENCE)
    assert delete_keys(signer, [pubkey])[0] == ["error"]
    signer.stop()
    signer.start()
    signer.wait_until(lambda: pubkey in listed(signer), "it is still there")
    # Without the one file there is the other, now and not only after the next start.
    os.unlink(os.path.join(signer.keystores, "keystore-100.json"))
    assert signer.request("POST", "/reload")[0] == 202
    signer.wait_until(lambda: listed(signer).get(pubkey) is False, "it is an imported one again")
    signer.wait_until(lambda: delete_keys(signer, [pubkey])[0] == ["deleted"], "it is deleted")
    signer.stop()
    signer.start()
    assert delete_keys(signer, [pubkey])[0] == ["not_found"]


def test_a_key_that_is_still_to_be_loaded_is_not_called_inactive(signers, tmp_path):
    signer = signers(keys=0).start()
    (pubkey,), texts = keystores(tmp_path / "new", 1, first=100)
    import_keys(signer, texts)
    assert signer.attest(pubkey, 1, 2)[0] == 200
    signer.stop()
    with open(signer.config_path, "a", encoding="utf-8") as config:
        config.write(f"signing_keys:\n  - {{backend: local-keystore, keystore_dir: {signer.keystores}, "
                     f"password_file: {signer.keystores}.password}}\n")
    harness.make_keystores(signer.keystores, 1)
    add_slow(signer, 200, 4, 1000000)  # listed before the imported ones
    signer.start(wait=False)
    signer.wait_ready()
    statuses, _ = delete_keys(signer, [pubkey])
    loaded_before = statuses == ["deleted"]  # on a machine with many cores
    assert loaded_before or statuses == ["error"]
    signer.wait_until(lambda: signer.has_logged("keys_loaded"), "the rest is loaded", 3 * harness.PATIENCE)
    signer.wait_until(lambda: signer.get("/reload")[1]["status"] != "running", "the load is over")
    assert delete_keys(signer, [pubkey])[0] == ["not_active" if loaded_before else "deleted"]
    assert signer.attest(pubkey, 2, 3)[0] == 404
    assert not os.path.exists(imported_file(signer, pubkey))


def test_a_key_whose_file_cannot_be_opened_is_deleted_for_good(signer, tmp_path):
    (pubkey,), texts = keystores(tmp_path / "new", 1, first=100)
    import_keys(signer, texts)
    signer.stop()
    with open(imported_file(signer, pubkey), encoding="utf-8") as text:
        whole = text.read()
    harness.write_private(imported_file(signer, pubkey), whole[:100])
    signer.start()
    assert pubkey not in listed(signer)
    assert delete_keys(signer, [pubkey])[0] == ["deleted"]
    assert not os.path.exists(imported_file(signer, pubkey))
    assert delete_keys(signer, [pubkey])[0] == ["not_found"]


def test_an_import_that_the_store_refused_leaves_room_for_the_next(signer, tmp_path):
    (pubkey,), texts = keystores(tmp_path / "new", 1, first=100)
    with contextlib.closing(sqlite3.connect(os.path.join(signer.data_dir, "slashing.sqlite"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert import_keys(signer, texts, interchange(pubkey, 5, 6))[0] == 503
        other.execute("ROLLBACK")
    signer.wait_until(lambda: signer.get("/healthcheck")[0] == 200, "the store is well")
    for _ in range(4):  # whichever front it is
        status, answer = import_keys(signer, texts, interchange(pubkey, 5, 6))
        assert status == 200, answer
    assert signer.attest(pubkey, 4, 7)[0] == 412
