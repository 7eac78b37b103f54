"""holdfast db copy between SQLite, PostgreSQL and DynamoDB (dynalite): what arrives is what was there."""

import fcntl
import json
import os
import random

import dynalite
import postgres
import pytest
from harness import MAINNET_ROOT, run

ROOT = ["--genesis-validators-root", MAINNET_ROOT]
KEYS = ["0x" + digit * 96 for digit in "12345"]


def history(seed):
    """Regular histories of several lengths, some records without root, numbers of one to five digits."""
    dice = random.Random(seed)
    data = []
    for key in KEYS:
        slot, target, blocks, votes = dice.choice([0, 7, 98]), dice.choice([0, 8, 95]), [], []
        for _ in range(dice.choice([0, 3, 40])):
            blocks.append({"slot": str(slot), "signing_root": f"0x{slot:064x}"} if dice.random() < 0.8 else
                          {"slot": str(slot)})
            slot += dice.choice([1, 3, 900])
        for _ in range(dice.choice([1, 5, 120])):
            vote = {"source_epoch": str(target), "target_epoch": str(target + 1)}
            votes.append({**vote, "signing_root": f"0x{target:064x}"} if dice.random() < 0.8 else vote)
            target += dice.choice([1, 1, 9])
        data.append({"pubkey": key, "signed_blocks": blocks, "signed_attestations": votes})
    return {"metadata": {"interchange_format_version": "5", "genesis_validators_root": MAINNET_ROOT}, "data": data}


def done(result):
    assert result.returncode == 0, result.stderr
    return result.stdout


def refused(result, words, status=1):
    assert result.returncode == status, (result.stdout, result.stderr)
    assert words in result.stderr, result.stderr
    assert result.stdout == ""


@pytest.fixture(name="environment", scope="module")
def fixture_environment():
    with dynalite.server() as (_, proxy):
        environment = {**os.environ, "AWS_ACCESS_KEY_ID": dynalite.KEY_ID, "AWS_SECRET_ACCESS_KEY": dynalite.SECRET,
                       "AWS_REGION": dynalite.REGION, "TABLE_AT": f"@{dynalite.REGION}@http://127.0.0.1:{proxy}"}
        yield environment


@pytest.fixture(name="database")
def fixture_database():
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.Postgres() as server:
        yield server.url()


@pytest.fixture(name="source")
def fixture_source(tmp_path):
    """A function: the SQLite database made of a history."""
    def make(document):
        path = tmp_path / "history.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        done(run("slashing", "import", path, "--data-dir", tmp_path / "data", *ROOT))
        return tmp_path / "data" / "slashing.sqlite"
    return make


def copy(environment, origin, target, *options):
    return run("db", "copy", "--from", origin, "--to", target, *(options or ROOT), env=environment)


def records(folder):
    """What a signer's store exports, whatever the order."""
    document = json.loads(done(run("slashing", "export", "--data-dir", folder, *ROOT)))
    return {(entry["pubkey"], kind, tuple(sorted(record.items()))) for entry in document["data"]
            for kind in ("signed_blocks", "signed_attestations") for record in entry[kind]}


@pytest.mark.parametrize("seed", [1, 2])
def test_around(environment, database, source, tmp_path, seed):
    origin = source(history(seed))
    done(run("slashing", "watermark-repair", "--data-dir", tmp_path / "data", *ROOT, "--set-high-watermark",
             "--slot", "1000000", "--epoch", "1000000"))
    there = [f"sqlite:{origin}", f"dynamodb:one-{seed}{environment['TABLE_AT']}", database,
             f"dynamodb:two-{seed}{environment['TABLE_AT']}"]
    (tmp_path / "back").mkdir(mode=0o700)
    there.append(f"sqlite:{tmp_path}/back/slashing.sqlite")
    reports = [json.loads(done(copy(environment, a, b, *ROOT, "--json"))) for a, b in zip(there, there[1:])]
    assert all(report == reports[0] and report["equal"] and report["validators"] > 0 for report in reports)
    before, after = records(tmp_path / "data"), records(tmp_path / "back")
    assert before == after and len(before) == reports[0]["blocks"] + reports[0]["attestations"]
    status = json.loads(done(run("slashing", "status", "--data-dir", tmp_path / "back", *ROOT, "--json")))
    assert status["high_watermark"] == {"slot": "1000000", "epoch": "1000000"}


def test_a_target_with_records_is_refused(environment, source):
    origin = source(history(3))
    table = f"dynamodb:three{environment['TABLE_AT']}"
    done(copy(environment, f"sqlite:{origin}", table))
    refused(copy(environment, f"sqlite:{origin}", table), "--to holds 5 validators already")


def test_a_running_signer_is_noticed(environment, source):
    origin = source(history(4))
    with open(f"{origin}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(copy(environment, f"sqlite:{origin}", f"dynamodb:four{environment['TABLE_AT']}"), "stop it first")


def test_what_is_refused(environment, source, tmp_path):
    origin = f"sqlite:{source(history(5))}"
    there = f"dynamodb:five{environment['TABLE_AT']}"
    refused(copy(environment, origin, there, "--network", "sepolia"), "another network")
    refused(copy(environment, f"sqlite:{tmp_path}/none", there), "no slashing protection database there")
    refused(copy(environment, there, f"sqlite:{tmp_path}/new"), "does not exist in eu-test-1")
    assert not (tmp_path / "new").exists()
    refused(copy(environment, origin, "elsewhere"), "neither sqlite:PATH", 2)
    refused(copy(environment, origin, "dynamodb:"), "neither sqlite:PATH", 2)
    refused(copy(environment, origin, "dynamodb:t@eu-test-1@http://db.example.com"), "use https", 2)
    refused(copy(environment, origin, there, "--json"), "--network", 2)
    url_file = tmp_path / "url"
    url_file.write_text("postgresql://localhost/x\n", encoding="ascii")
    url_file.chmod(0o644)
    refused(copy(environment, origin, f"postgres-file:{url_file}"), "chmod")
