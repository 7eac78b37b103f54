"""The Vault back end against a real Vault: KV of both versions, AppRole with a wrapped secret_id, tokens that end, seals."""

import os
import sys
import time

import harness
import pytest
import vault_server

sys.path.insert(0, os.path.join(harness.ROOT, "tests", "unit", "custody"))
from driver import Driver  # noqa: E402  pylint: disable=wrong-import-position

PROGRAM = os.path.join(harness.BUILD, "tests", "unit", "custody", "drive_custody")
CREATION_PATH = "auth/approle/role/signer/secret-id"
POLICY = 'path "secret/*" {capabilities = ["read", "list"]} path "old/*" {capabilities = ["read", "list"]}'
KEYS = 200
SETTLE_SECONDS = 20


def secret(number):
    return f"{number:064x}"


@pytest.fixture(name="vault", scope="module")
def fixture_vault():
    with vault_server.server() as vault:
        vault.must("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        vault.must("POST", "sys/mounts/old", {"type": "kv"})
        vault.must("POST", "sys/auth/approle", {"type": "approle"})
        vault.must("POST", "sys/policies/acl/signer", {"policy": POLICY})
        vault.must("POST", "auth/approle/role/signer", {"token_policies": "signer", "token_ttl": "4s", "token_max_ttl": "12s"})
        end = time.monotonic() + SETTLE_SECONDS  # a fresh mount of version 2 answers 400 while it is being made ready
        while vault.call("POST", "secret/data/probe", {"data": {}})[0] != 200:
            assert time.monotonic() < end
            time.sleep(0.1)
        for n in range(1, KEYS + 1):
            vault.must("POST", f"secret/data/validators/{n % 3}/{n}", {"data": {"value": secret(n)}})
        yield vault


@pytest.fixture(name="approle")
def fixture_approle(vault, tmp_path):
    role_id = vault.must("GET", "auth/approle/role/signer/role-id")["data"]["role_id"]
    wrapped = vault.must("POST", CREATION_PATH, {}, wrap_ttl="60")["wrap_info"]["token"]
    path = tmp_path / "wrapped"
    path.write_text(wrapped, encoding="ascii")
    path.chmod(0o600)
    return {"auth": 1, "role_id": role_id, "secret_id_file": path, "secret_id_wrapping_path": CREATION_PATH}


def check(answer, *numbers):
    keys, failed, result = answer
    assert (result.strip(), failed) == ("OK", [])
    assert sorted(key[1] for key in keys) == [secret(n) for n in numbers]


def test_secrets_of_both_versions(vault, approle):
    vault.must("POST", "old/validators", {"value": secret(7)})
    vault.must("POST", "secret/data/validators/gone", {"data": {"value": secret(9)}})
    vault.must("DELETE", "secret/data/validators/gone")
    driver = Driver(PROGRAM, "vault", address=vault.address, path="secret/validators", **approle)
    check(driver.list(), *range(1, KEYS + 1))
    assert driver.close() == 0
    assert vault.must("POST", CREATION_PATH, {}, wrap_ttl="60")
    status, body = vault.call("POST", "sys/wrapping/lookup", {"token": approle["secret_id_file"].read_text(encoding="ascii")})
    assert (status, "wrapping token" in str(body)) == (400, True)  # it was opened, and opens once


def test_version_1(vault, tmp_path):
    path = tmp_path / "token"
    path.write_text(vault.root, encoding="ascii")
    path.chmod(0o600)
    vault.must("POST", "old/validators", {"value": secret(7)})
    driver = Driver(PROGRAM, "vault", address=vault.address, path="old/validators", token_file=path)
    check(driver.list(), 7)
    assert driver.close() == 0


def test_tokens_that_end_and_a_seal(vault, approle):
    driver = Driver(PROGRAM, "vault", address=vault.address, path="secret/validators", **approle)
    end = time.monotonic() + 14  # beyond the greatest age of a token
    while time.monotonic() < end:
        check(driver.list(), *range(1, KEYS + 1))
        time.sleep(1.5)
    vault.must("POST", "sys/seal")
    assert "Vault is sealed" in driver.list(2000)[2]
    vault.must("POST", "sys/unseal", {"key": vault.unseal_key})
    end = time.monotonic() + SETTLE_SECONDS
    while driver.list()[2].strip() != "OK":
        assert time.monotonic() < end
    check(driver.list(), *range(1, KEYS + 1))
    assert driver.close() == 0
