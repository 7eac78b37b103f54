"""Whole signers, sandbox on, that share one DynamoDB table (dynalite): no duty is signed two ways."""

import concurrent.futures
import json
import os
import re
import urllib.request

import dynalite
import pytest
from harness import Signer, attestation, block, run


@pytest.fixture(name="table", scope="module")
def fixture_table():
    with dynalite.server() as (_, proxy):
        # By name, so that the resolver runs in the sandbox, too.
        yield f"http://localhost:{proxy}"


@pytest.fixture(name="nodes")
def fixture_nodes(table, tmp_path, monkeypatch, request):
    """Two signers with the same keys; credentials from a profile in a file of its own."""
    credentials = tmp_path / "aws-credentials"
    credentials.write_text(f"[signer]\naws_access_key_id = {dynalite.KEY_ID}\n"
                           f"aws_secret_access_key = {dynalite.SECRET}\n", encoding="ascii")
    credentials.chmod(0o600)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_PROFILE", "signer")
    monkeypatch.setenv("AWS_REGION", dynalite.REGION)
    config = (f"slashing_protection: {{backend: dynamodb, table: {request.node.name}, endpoint: '{table}', "
              "create_table: true}\n")
    for name in "ab":
        (tmp_path / name).mkdir()
    with Signer(tmp_path / "a", keys=3, config=config) as one, Signer(tmp_path / "b", keys=3, config=config) as two:
        assert one.pubkeys == two.pubkeys
        yield one, two


def command(node, *arguments):
    done = run(*arguments[:2], "-c", node.config_path, *arguments[2:])
    assert done.returncode == 0, done.stderr
    return done.stdout


def records(text):
    """What an export holds, whatever the order."""
    return {(entry["pubkey"], kind, tuple(sorted(record.items()))) for entry in json.loads(text)["data"]
            for kind in ("signed_blocks", "signed_attestations") for record in entry[kind]}


def test_the_life_of_a_record(nodes, tmp_path):
    """Served, exported and imported while signers run and when they are stopped, pruned, and copied elsewhere and back."""
    one, two = nodes
    keys = one.pubkeys
    for key in keys:
        assert one.sign(key, attestation(10, 11))[0] == 200 and two.sign(key, block(400))[0] == 200
    running = command(one, "slashing", "export")
    assert len(records(running)) == 2 * len(keys) == len(records(command(two, "slashing", "export")))
    assert {record[0] for record in records(command(two, "slashing", "export", "--pubkey", keys[1]))} == {keys[1]}
    # An import through one running signer binds the other.
    document = json.loads(running)
    document["data"] = [{"pubkey": keys[0], "signed_blocks": [{"slot": "500"}],
                         "signed_attestations": [{"source_epoch": "20", "target_epoch": "21"}]}]
    path = tmp_path / "history.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    report = json.loads(command(one, "slashing", "import", path, "--json"))
    assert (report["validators"], report["blocks"], report["attestations"]) == (1, 1, 1)
    for node in nodes:
        status, refusal = node.sign(keys[0], attestation(20, 21))
        assert (status, refusal["code"]) == (412, "DOUBLE_VOTE")
        assert node.sign(keys[0], block(500))[0] == 412
        assert node.sign(keys[0], attestation(19, 22))[1]["code"] == "SURROUNDING_VOTE"
    command(two, "slashing", "watermark-repair", "--epoch", "30", "--slot", "900")
    status, refusal = one.sign(keys[1], attestation(12, 13))
    assert (status, refusal["code"]) == (412, "BELOW_WATERMARK")
    told = json.loads(command(one, "slashing", "status", "--json"))
    before = records(command(one, "slashing", "export"))
    one.stop()
    two.stop()
    # The same by the command itself, on the table; the guard is the running signer's.
    del told["start_guard"]
    assert json.loads(command(one, "slashing", "status", "--json")) == {**told, "running": False}
    assert records(command(two, "slashing", "export")) == before
    document["data"] = [{"pubkey": keys[2], "signed_blocks": [], "signed_attestations": [{"source_epoch": "40", "target_epoch": "41"}]}]
    path.write_text(json.dumps(document), encoding="utf-8")
    command(two, "slashing", "import", path)
    command(one, "slashing", "prune")
    one.start()
    status, refusal = one.sign(keys[2], attestation(40, 41))
    assert (status, refusal["code"]) == (412, "DOUBLE_VOTE")
    assert one.sign(keys[2], attestation(41, 42))[0] == 200
    last = records(command(one, "slashing", "export"))
    one.stop()
    # Moved to SQLite, and a signer there remembers.
    table, region, endpoint = (re.search(rf"{name}: '?([^,'}}]+)", open(one.config_path, encoding="utf-8").read())
                               for name in ("table", "region", "endpoint"))
    assert region is None
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "data").mkdir(mode=0o700)
    done = run("db", "copy", "--from", f"dynamodb:{table[1]}@{dynalite.REGION}@{endpoint[1]}", "--to",
               f"sqlite:{moved}/data/slashing.sqlite", "--network", "mainnet")
    assert done.returncode == 0, done.stderr
    with Signer(moved, keys=3) as there:
        assert records(command(there, "slashing", "export")) == last
        assert there.sign(keys[2], attestation(41, 42, 1))[0] == 412
        assert there.sign(keys[2], attestation(41, 42))[0] == 200


def tell(table, rule):
    with urllib.request.urlopen(f"{table}/control?{rule}", timeout=30) as answer:
        assert answer.read() == b"ok"


def test_two_nodes_never_sign_two_ways(nodes):
    one, two = nodes
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for epoch in range(1, 12):
            jobs = [(key, [pool.submit(node.sign, key, attestation(epoch, epoch + 1, mark))
                           for mark, node in enumerate(nodes)]) for key in one.pubkeys]
            for _, answers in jobs:
                assert sorted(job.result()[0] for job in answers) == [200, 412]
    key = one.pubkeys[0]
    first = one.sign(key, block(500, 1))
    assert first[0] == 200 and two.sign(key, block(500, 1)) == first
    status, refusal = two.sign(key, block(500, 2))
    assert (status, refusal["code"]) == (412, "DOUBLE_BLOCK")


def test_a_silent_service_is_503_and_heals(nodes, table):
    one, _ = nodes
    key = one.pubkeys[0]
    assert one.sign(key, attestation(1, 2))[0] == 200
    tell(table, "how=refuse")
    status, answer = one.sign(key, attestation(2, 3))
    assert status == 503 and "signature" not in answer
    tell(table, "how=drop&operation=PutItem&count=1")
    one.wait_until(lambda: one.sign(key, attestation(2, 3))[0] == 200, "it signs again")
    tell(table, "how=none")
    assert one.get("/healthcheck")[0] == 200
    assert one.sign(key, attestation(2, 3, 1))[0] == 412
