"""holdfast slashing on the store of a stopped signer, and through the admin socket of a running one."""

import fcntl
import json
import os
import stat
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import MAINNET_ROOT, Signer, attestation, block, run  # noqa: E402

OTHER_ROOT = "0x" + "11" * 32
KEYS = ["0x" + digit * 96 for digit in "12"]


def document(root=MAINNET_ROOT, keys=KEYS[:1], slots=(10, 20), votes=((1, 2), (2, 3)), version="5"):
    return {"metadata": {"interchange_format_version": version, "genesis_validators_root": root},
            "data": [{"pubkey": key,
                      "signed_blocks": [{"slot": str(slot), "signing_root": f"0x{slot:064x}"} for slot in slots],
                      "signed_attestations": [{"source_epoch": str(source), "target_epoch": str(target)}
                                              for source, target in votes]} for key in keys]}


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


@pytest.fixture(name="data")
def data_folder(tmp_path):
    return tmp_path / "data"


def slashing(data, *arguments, **kwargs):
    return run("slashing", arguments[0], "--data-dir", data, *arguments[1:], **kwargs)


def done(result):
    assert result.returncode == 0, result.stderr
    return result.stdout


def refused(result, words, status=1):
    assert result.returncode == status, (result.stdout, result.stderr)
    assert words in result.stderr
    assert result.stderr.count("\n") == 1, "one line says what is wrong"
    assert result.stdout == ""


def test_import_and_export_are_inverse(data, tmp_path):
    source = document(keys=KEYS)
    report = json.loads(done(slashing(data, "import", write(tmp_path / "in.json", source), "--json")))
    assert report == {"validators": 2, "blocks": 4, "attestations": 4, "conflicts": 0}
    assert json.loads(done(slashing(data, "export"))) == source
    # Once more: nothing new, and nothing contradicts itself.
    assert json.loads(done(slashing(data, "import", tmp_path / "in.json", "--json")))["conflicts"] == 0
    assert json.loads(done(slashing(data, "export"))) == source


def test_import_from_standard_input(data):
    assert "imported 1 validators, 2 blocks, 2 attestations" in done(
        slashing(data, "import", "-", stdin=json.dumps(document())))


def test_export_to_file_is_private_and_selective(data, tmp_path):
    done(slashing(data, "import", write(tmp_path / "in.json", document(keys=KEYS))))
    out = tmp_path / "out.json"
    write(out, "old")
    assert done(slashing(data, "export", "--output", out, "--pubkey", KEYS[1])) == ""
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert json.loads(out.read_text()) == document(keys=KEYS[1:])
    both = json.loads(done(slashing(data, "export", "--pubkey", KEYS[1], "--pubkey", KEYS[0][2:])))
    assert [entry["pubkey"] for entry in both["data"]] == [KEYS[1], KEYS[0]]
    unknown = slashing(data, "export", "--pubkey", "0x" + "3" * 96)
    assert json.loads(done(unknown))["data"] == []
    assert "nothing is on record" in unknown.stderr
    refused(slashing(data, "export", "--output", tmp_path / "no" / "out.json"), "No such file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "in.json", "out.json"]


@pytest.mark.parametrize("content, words", [
    ("", "line 1"),
    ("{}", "metadata"),
    (document(root=OTHER_ROOT), "another network"),
    (document(version="4"), "only version 5"),
    (document(votes=((1, 2), (1, "x"))), "data[0].signed_attestations[1].target_epoch"),
])
def test_a_refused_import_leaves_nothing(data, tmp_path, content, words):
    result = slashing(data, "import", write(tmp_path / "in.json", content))
    refused(result, words)
    assert "in.json: nothing was imported" in result.stderr
    assert not (data / "slashing.sqlite").exists()
    # Onto a history that is there: it stays as it was.
    done(slashing(data, "import", write(tmp_path / "good.json", document())))
    refused(slashing(data, "import", tmp_path / "in.json"), words)
    assert json.loads(done(slashing(data, "export"))) == document()


def test_contradictions_are_kept_and_counted(data, tmp_path):
    first = document(slots=(10,), votes=((1, 10),))
    second = document(slots=(10,), votes=((2, 9),))
    second["data"][0]["signed_blocks"][0]["signing_root"] = "0x" + "ee" * 32
    done(slashing(data, "import", write(tmp_path / "first.json", first)))
    assert "2 records contradict" in done(slashing(data, "import", write(tmp_path / "second.json", second)))
    # What is known already contradicts nothing anew.
    assert json.loads(done(slashing(data, "import", tmp_path / "second.json", "--json")))["conflicts"] == 0


def test_status_and_watermarks(data, tmp_path):
    done(slashing(data, "import", write(tmp_path / "in.json", document())))
    status = json.loads(done(slashing(data, "status", "--json")))
    assert status == {"genesis_validators_root": MAINNET_ROOT, "running": False, "validators": 1, "blocks": 2,
                      "attestations": 2, "lowest_floors": {"slot": "10", "source_epoch": "1", "target_epoch": "2"},
                      "highest_floors": {"slot": "10", "source_epoch": "1", "target_epoch": "2"}, "high_watermark": {}}
    assert "source epoch 1, target epoch 2" in done(slashing(data, "status"))
    done(slashing(data, "watermark-repair", "--epoch", 5, "--slot", 160))
    done(slashing(data, "watermark-repair", "--epoch", 4, "--slot", 100))
    status = json.loads(done(slashing(data, "status", "--json")))
    assert status["lowest_floors"] == {"slot": "160", "source_epoch": "5", "target_epoch": "5"}
    done(slashing(data, "watermark-repair", "--epoch", 9, "--slot", 300, "--set-high-watermark"))
    assert json.loads(done(slashing(data, "status", "--json")))["high_watermark"] == {"slot": "300", "epoch": "9"}
    refused(slashing(data, "watermark-repair", "--epoch", 9, "--slot", 200), "high watermark")
    done(slashing(data, "watermark-repair", "--remove-high-watermark"))
    done(slashing(data, "watermark-repair", "--epoch", 9, "--slot", 300))
    for arguments, words in ((("--epoch", 1), "needs --epoch N and --slot N"), ((), "needs --epoch N"),
                             (("--epoch", "x", "--slot", 1), "--epoch"), (("--epoch", 1, "--slot", -1), "--slot"),
                             (("--epoch", 1, "--slot", 1, "--set-high-watermark", "--remove-high-watermark"), "together"),
                             (("--slot", 1, "--remove-high-watermark"), "takes no")):
        refused(slashing(data, "watermark-repair", *arguments), words, status=2)


def test_prune_keeps_what_it_forbids(data, tmp_path):
    votes = [(epoch, epoch + 1) for epoch in range(1000)]
    done(slashing(data, "import", write(tmp_path / "in.json", document(slots=range(32, 32000, 32), votes=votes))))
    pruned = json.loads(done(slashing(data, "prune", "--keep-epochs", 10, "--json")))
    assert pruned == {"keep_epochs": 10, "rows_deleted": 988 + 989}
    exported = json.loads(done(slashing(data, "export")))["data"][0]
    # The floors stand as records without root, so that the next owner is held to them as well.
    assert exported["signed_attestations"][0] == {"source_epoch": "988", "target_epoch": "989"}
    assert len(exported["signed_attestations"]) == 12
    assert exported["signed_blocks"][0] == {"slot": str(988 * 32)}
    assert "removed 0 records" in done(slashing(data, "prune", "--keep-epochs", 10))
    assert "removed 0 records" in done(slashing(data, "prune", "--keep-epochs", 0))


def test_one_user_of_a_store(data, tmp_path):
    done(slashing(data, "import", write(tmp_path / "in.json", document())))
    with open(data / "slashing.sqlite.lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(slashing(data, "status"), "in use by another process")
    done(slashing(data, "status"))
    refused(slashing(data, "status", "--genesis-validators-root", OTHER_ROOT), "another network")


def test_nothing_there(data):
    refused(slashing(data, "status"), "no such folder")
    data.mkdir(mode=0o700)
    for verb in ("status", "export", "prune"):
        refused(slashing(data, verb), "no slashing protection database there")
    refused(slashing(data, "import", data / "none.json"), "none.json")


def test_usage():
    for verb in ("import", "export", "prune", "status", "watermark-repair"):
        assert f"holdfast slashing {verb}" in done(run("slashing", verb, "--help"))
    refused(run("slashing", "import"), "needs FILE", status=2)
    refused(run("slashing", "export", "--nonsense"), "no such option", status=2)
    refused(run("slashing", "nonsense"), "nonsense", status=2)


def test_a_running_signer(tmp_path):
    with Signer(tmp_path, keys=2) as signer:
        key, other = signer.pubkeys
        data = signer.data_dir
        assert signer.sign(key, attestation(5, 6))[0] == 200
        assert signer.sign(key, block(200))[0] == 200
        status = json.loads(done(slashing(data, "status", "--json")))
        assert (status["running"], status["validators"], status["blocks"], status["attestations"]) == (True, 1, 1, 1)
        entry, = json.loads(done(slashing(data, "export")))["data"]
        assert entry["pubkey"] == key
        assert entry["signed_attestations"][0]["target_epoch"] == "6"
        assert json.loads(done(slashing(data, "export", "--pubkey", other)))["data"] == []

        # A large import for the other key goes through the signer and binds it at once.
        votes = [(epoch, epoch + 1) for epoch in range(500)]
        source = write(tmp_path / "in.json", document(keys=[other], slots=(10, 20), votes=votes))
        report = json.loads(done(slashing(data, "import", source, "--json")))
        assert report == {"validators": 1, "blocks": 2, "attestations": 500, "conflicts": 0}
        assert signer.sign(other, attestation(499, 500))[0] == 412
        assert signer.sign(other, attestation(500, 501))[0] == 200
        refused(slashing(data, "import", write(tmp_path / "bad.json", document(root=OTHER_ROOT))), "another network")
        assert json.loads(done(slashing(data, "prune", "--keep-epochs", 100, "--json")))["rows_deleted"] == 400
        assert len(json.loads(done(slashing(data, "export", "--pubkey", other)))["data"][0]["signed_attestations"]) == 102

        done(slashing(data, "watermark-repair", "--epoch", 600, "--slot", 19200, "--set-high-watermark"))
        assert signer.sign(other, attestation(501, 600))[0] == 412
        assert signer.get("/api/v1/eth2/highWatermark") == (200, {"epoch": "600", "slot": "19200"})
        done(slashing(data, "watermark-repair", "--remove-high-watermark"))
        done(slashing(data, "watermark-repair", "--epoch", 600, "--slot", 19200))
        assert signer.sign(other, attestation(501, 601))[0] == 412
        assert signer.sign(other, attestation(600, 601))[0] == 200
        refused(slashing(data, "status", "--genesis-validators-root", OTHER_ROOT), "another network")
    assert json.loads(done(slashing(data, "status", "--json")))["running"] is False
