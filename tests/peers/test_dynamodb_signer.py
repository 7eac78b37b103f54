"""Whole signers, sandbox on, that share one DynamoDB table (dynalite): no duty is signed two ways."""

import concurrent.futures
import os
import urllib.request

import dynalite
import pytest
from harness import Signer, attestation, block


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
