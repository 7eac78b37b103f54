"""The password of the database is changed while a signer runs: it is refused, its url_file is read again, and it goes on."""

import re

import harness
import postgres
import pytest
from conftest import wait_for
from test_duty import DUTY, duty, make_keys

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))

ROLE = "rotating"


def test_a_password_is_renewed(signers, tmp_path):
    make_keys(tmp_path / "keys")
    with postgres.Postgres(fsync=False) as server:
        server.psql(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'first-password'")
        server.create_database("renewed", ROLE)
        harness.write_private(tmp_path / "url", server.url("renewed", ROLE, "first-password") + "\n")
        signer = signers(keys=0, config=f"signing_keys:\n  - {{backend: web3signer, config_dir: {tmp_path}/keys}}\n"
                                        f"slashing_protection: {{backend: postgres, url_file: {tmp_path}/url}}\n"
                                        f"duty_protection: {{node_id: node, url_file: {tmp_path}/url}}\n").start()
        wait_for("duty locks", lambda: signer.status()["duties"].get("healthy"), harness.PATIENCE)
        pubkey, = signer.get("/api/v1/eth2/publicKeys")[1]
        assert signer.attest(pubkey, 1, 2)[0] == 200 and signer.request("POST", DUTY, duty(1))[0] == 200
        server.psql(f"ALTER ROLE {ROLE} PASSWORD 'second-password'")
        server.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")
        wait_for("refusals", lambda: signer.attest(pubkey, 2, 3)[0] == 503, harness.PATIENCE)
        wait_for("another store process", lambda: signer.has_logged("store_refused"), harness.PATIENCE)
        wait_for("another duty process", lambda: signer.has_logged("duty_refused"), harness.PATIENCE)
        assert signer.attest(pubkey, 2, 3)[0] == 503 and signer.request("POST", DUTY, duty(2))[0] == 503
        assert signer.get("/healthcheck")[0] == 503
        harness.write_private(tmp_path / "url", server.url("renewed", ROLE, "second-password") + "\n")
        wait_for("a vote", lambda: signer.attest(pubkey, 2, 3)[0] == 200, harness.PATIENCE)
        wait_for("a duty", lambda: signer.request("POST", DUTY, duty(2))[0] == 200, harness.PATIENCE)
        assert signer.attest(pubkey, 1, 2, mark=1)[0] == 412 and signer.request("POST", DUTY, duty(1, 1))[0] == 412
        assert signer.has_logged("store_died") and signer.has_logged("duty_died")
        assert not re.search("(first|second)-password", signer.log())
