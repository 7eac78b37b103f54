"""The start guard on a PostgreSQL that several signers share: a database that was put back from a dump signs nothing that
it may have forgotten, whoever starts on it."""

import json
import os
import subprocess

import harness
import postgres
import pytest
from guarded import Witness, guard, present_epoch, start_on_a_log_of_another_day, started

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))


@pytest.fixture(name="server", scope="module")
def private_server():
    with postgres.Postgres(fsync=False) as server:
        yield server


@pytest.fixture(name="pair")
def two_signers(server, request, tmp_path):
    """Not running yet; and the name of their database."""
    name = request.node.name
    url = tmp_path / "url"
    harness.write_private(url, server.create_database(name) + "\n")
    pair = []
    try:
        for folder in ("one", "two"):
            os.mkdir(tmp_path / folder)
            config = f"slashing_protection: {{backend: postgres, url_file: {url}, timeout_ms: 5000}}\n"
            pair.append(harness.Signer(tmp_path / folder, keys=2, config=config))
        yield (*pair, name)
    finally:
        for signer in pair:
            signer.stop()


def dump(server, name):
    done = subprocess.run([os.path.join(server.bin, "pg_dump"), "-h", server.folder, "-p", str(server.port), "-U", "postgres", name],
                          capture_output=True, text=True, check=True)
    return done.stdout


def restore(server, name, text):
    server.psql(f'DROP DATABASE "{name}" WITH (FORCE)')
    server.create_database(name)
    server.psql(text, name)


def audited(signer):
    with open(os.path.join(signer.data_dir, "audit.log"), encoding="utf-8") as log:
        return [line for line in map(json.loads, log) if line["kind"] == "guard"]


def test_a_database_from_a_dump(server, pair):
    one, two, name = pair
    started(one)
    started(two)
    first, second = Witness(one), Witness(two)
    first.sign_on(3)
    second.epoch = first.epoch
    second.sign_on(2)
    copy = dump(server, name)
    start = first.epoch
    second.sign_on(3)  # what the dump lacks; the other one hears of it with its own next vote
    assert first.ask(harness.attestation(second.epoch, second.epoch + 1)) == (200, None)
    one.stop()
    two.stop()
    restore(server, name, copy)
    for signer, witness in ((two, second), (one, first)):
        started(signer)
        assert guard(signer)["state"] == "raised", signer.log()
        assert [line["decision"] for line in audited(signer)] == ["done", "done"]
        assert "floors raised" in audited(signer)[-1]["text"]
        assert 'holdfast_start_guard{state="raised"} 1' in signer.metrics()
        witness.ask_for_other(start - 2, second.epoch + 3)
        assert witness.ask(harness.attestation(second.epoch + 1, present_epoch())) == (412, "BELOW_WATERMARK")
        epoch = present_epoch() + (2 if signer is two else 3)
        assert witness.ask(harness.attestation(epoch - 1, epoch)) == (200, None)
    first.signed |= second.signed
    first.judge()
    # From here on an ordinary start is one.
    for signer in (one, two):
        signer.stop()
        started(signer)
        assert guard(signer)["state"] == "passed"


def test_a_running_signer_stops(server, pair):
    one, _, name = pair
    started(one)
    witness = Witness(one)
    witness.sign_on(1)
    copy = dump(server, name)
    witness.sign_on(2)
    restore(server, name, copy)
    one.wait_until(lambda: one.get("/healthcheck")[0] == 503, "it has seen that the database went back")
    assert witness.ask(harness.attestation(witness.epoch, witness.epoch + 1, mark=7))[0] == 503
    assert witness.ask(harness.attestation(witness.epoch - 1, witness.epoch, mark=7))[0] == 503
    one.stop()
    started(one)
    assert guard(one)["state"] == "raised"
    witness.ask_for_other(witness.epoch - 3, witness.epoch + 1)
    witness.judge()


def test_always(pair):
    one, two, _ = pair
    for signer in (one, two):
        with open(signer.config_path, encoding="utf-8") as config:
            text = config.read()
        with open(signer.config_path, "w", encoding="utf-8") as config:
            config.write(text.replace("timeout_ms: 5000}", "timeout_ms: 5000, start_guard: always}"))
    started(one)
    assert guard(one)["state"] == "raised"
    witness = Witness(one)  # of validators that nobody knew before
    assert witness.ask(harness.attestation(present_epoch() - 1, present_epoch())) == (412, "BELOW_WATERMARK")
    assert witness.ask(harness.attestation(present_epoch(), present_epoch() + 1)) == (200, None)
    started(two)
    assert Witness(two).ask(harness.block(present_epoch() * 32), 1) == (412, "BELOW_WATERMARK")


def test_a_log_of_another_day(pair):
    """The chain's head is anchored in the shared database, for each node its own."""
    one, two, _ = pair
    started(two)
    started(one)
    start_on_a_log_of_another_day(one)
    assert "holdfast_audit_broken 1" in one.metrics()
    assert "audit_broken" not in two.log() and "holdfast_audit_broken 0" in two.metrics()
