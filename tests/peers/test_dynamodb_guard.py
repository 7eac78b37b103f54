"""The start guard on a DynamoDB table (dynalite): what was put back from a copy signs nothing that it may have forgotten."""

import http.client
import json
import os

import dynalite
import harness
import pytest
from guarded import Witness, guard, present_epoch, start_on_a_log_of_another_day, started

HEADERS = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Date": "20300101T000000Z",
           "Authorization": "AWS4-HMAC-SHA256 Credential=a/20300101/r/dynamodb/aws4_request, SignedHeaders=host, Signature=0"}


@pytest.fixture(name="ports", scope="module")
def fixture_ports():
    with dynalite.server() as ports:
        yield ports


class Table:
    """The table itself, past the proxy that checks signatures."""

    def __init__(self, port, name):
        self.port = port
        self.name = name

    def ask(self, operation, **body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", "/", json.dumps({"TableName": self.name, **body}),
                           {**HEADERS, "X-Amz-Target": f"DynamoDB_20120810.{operation}"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        return json.loads(text)

    def copy(self):
        return self.ask("Scan", ConsistentRead=True)["Items"]

    def put_back(self, items):
        for item in self.copy():
            self.ask("DeleteItem", Key={name: item[name] for name in ("pk", "sk")})
        for item in items:
            self.ask("PutItem", Item=item)


@pytest.fixture(name="pair")
def fixture_pair(ports, tmp_path, monkeypatch, request):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", dynalite.KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", dynalite.SECRET)
    monkeypatch.setenv("AWS_REGION", dynalite.REGION)
    name = request.node.name
    config = (f"slashing_protection: {{backend: dynamodb, table: {name}, endpoint: 'http://localhost:{ports[1]}', "
              "create_table: true, timeout_ms: 5000}\n")
    pair = []
    try:
        for folder in ("one", "two"):
            os.mkdir(tmp_path / folder)
            pair.append(harness.Signer(tmp_path / folder, keys=2, config=config))
        yield (*pair, Table(ports[0], name))
    finally:
        for signer in pair:
            signer.stop()


def test_a_table_from_a_copy(pair):
    one, two, table = pair
    started(one)
    started(two)
    first, second = Witness(one), Witness(two)
    first.sign_on(3)
    second.epoch = first.epoch
    second.sign_on(1)
    copy = table.copy()
    start = first.epoch
    second.sign_on(3)
    assert first.ask(harness.attestation(second.epoch, second.epoch + 1)) == (200, None)
    one.stop()
    two.stop()
    table.put_back(copy)
    for signer, witness in ((two, second), (one, first)):
        started(signer)
        assert guard(signer)["state"] == "raised", signer.log()
        witness.ask_for_other(start - 2, second.epoch + 3)
        assert witness.ask(harness.attestation(second.epoch + 1, present_epoch())) == (412, "BELOW_WATERMARK")
        epoch = present_epoch() + (2 if signer is two else 3)
        assert witness.ask(harness.attestation(epoch - 1, epoch)) == (200, None)
    first.signed |= second.signed
    first.judge()
    one.stop()
    started(one)
    assert guard(one)["state"] == "passed"
    # While it runs: the same copy once more.
    table.put_back(copy)
    one.wait_until(lambda: one.get("/healthcheck")[0] == 503, "it has seen that the table went back")
    assert first.ask(harness.attestation(second.epoch - 1, second.epoch, mark=9))[0] == 503
    first.judge()


def test_a_log_of_another_day(pair):
    one, two, _ = pair
    started(two)
    started(one)
    start_on_a_log_of_another_day(one)
    assert "audit_broken" not in two.log()
