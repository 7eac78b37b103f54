"""The double of Vault answers recorded clients as the real one does."""

import http.client
import json
import os

import pytest

import vault_double

WIRE = os.path.join(os.path.dirname(__file__), "..", "vectors", "vault", "wire.jsonl")
# What Vault answers to each of the recorded requests, in their order.
STATUSES = [200, 400, 200, 200, 200, 400, 200, 404, 403, 200, 200, 200, 200, 200, 404]


@pytest.fixture(name="vault")
def fixture_vault():
    vault = vault_double.Vault()
    vault.wraps["hvs.wraptok"] = ("auth/approle/role/r/secret-id", {"secret_id": "sid-1"})
    yield vault
    vault.close()


def test_recorded_clients(vault):
    with open(WIRE, encoding="utf-8") as lines:
        requests = [json.loads(line) for line in lines]
    assert len(requests) == len(STATUSES)
    for request, status in zip(requests, STATUSES):
        client = http.client.HTTPConnection("127.0.0.1", vault.port, timeout=10)
        headers = {k: v for k, v in request["h"].items() if k not in ("Host", "Content-Length", "Connection")}
        client.request(request["m"], request["p"], request["b"] or None, headers)
        answer = client.getresponse()
        body = json.loads(answer.read() or "{}")
        assert (answer.status, request["p"]) == (status, request["p"]), body
        assert ("errors" in body) == (status >= 400)
        if request["p"].endswith("/login"):
            assert body["auth"]["client_token"] and body["auth"]["lease_duration"] > 0
        client.close()
