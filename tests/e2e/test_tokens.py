"""auth.mode: tokens, end to end: who may ask for what, and what becomes of those who may not."""

import base64
import json
import os
import time

import pytest

import harness

TOKENS = "auth: {mode: tokens}\n"


def create(signer, *arguments, expect=0):
    done = harness.run("token", "create", "--data-dir", signer.data_dir, "--json", *arguments)
    assert done.returncode == expect, done.stderr
    return json.loads(done.stdout) if expect == 0 else done.stderr


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def basic(token, user="x"):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()}


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    with harness.Signer(tmp_path_factory.mktemp("tokens"), keys=0, config=TOKENS) as running:
        yield running


@pytest.fixture(scope="module")
def manager(signer):
    return create(signer, "--kind", "management", "--name", "the operator")["token"]


def test_without_a_token_nobody_asks_for_anything(signer):
    for method, path in [("GET", "/api/v1/eth2/publicKeys"), ("GET", "/api/v1/holdfast/status"), ("POST", "/reload"),
                         ("GET", "/api/v1/tokens"), ("GET", "/api/v1/eth2/highWatermark")]:
        status, body = signer.request(method, path)
        assert (status, body["code"]) == (401, "UNAUTHORIZED"), (path, body)
    assert signer.sign("0x" + "ab" * 48, harness.attestation(1, 2))[0] == 401
    assert signer.get("/upcheck")[0] == 200
    assert signer.get("/healthcheck")[0] in (200, 503)
    assert "no_tokens" in signer.log() and "holdfast token create" in signer.log()


def test_a_management_token_may_everything_but_sign(signer, manager):
    for headers in (bearer(manager), basic(manager), basic(manager, "any.body@here"), basic(manager, "")):
        assert signer.get("/api/v1/eth2/publicKeys", headers=headers) == (200, [])
    assert signer.get("/api/v1/holdfast/status", headers=bearer(manager))[0] == 200
    status, body = signer.sign("0x" + "ab" * 48, harness.attestation(1, 2), headers=bearer(manager))
    assert (status, body["code"]) == (403, "FORBIDDEN")
