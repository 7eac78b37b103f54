"""Crashes, hangs and full disks under load: the short forms of what `make soak` does for long."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import evidence
import harness
import pytest
from conftest import wait_for

FAULTS = os.path.join(harness.ROOT, "tests", "fault")
KILLS = 6 if harness.SANITIZED else 12
ROUNDS = 2 if harness.SANITIZED else 4
LIMIT_SECONDS = 600


# ---- the judge itself


def random_messages(rng):
    key = bytes(48)
    votes = [evidence.Vote(key, source, source + rng.randrange(0, 6), bytes([rng.randrange(2)] * 32))
             for source in (rng.randrange(8) for _ in range(rng.randrange(1, 7)))]
    return votes + [evidence.Proposal(key, rng.randrange(9), bytes([rng.randrange(2)] * 32)) for _ in range(2)]


def contradict(one, other):
    """The specification, word for word."""
    if type(one) is not type(other) or one == other:
        return False
    if isinstance(one, evidence.Proposal):
        return one.slot == other.slot
    return one.target == other.target or one.source < other.source and other.target < one.target


def test_the_judge_sees_every_slashable_pair():
    rng = random.Random(5)
    found = 0
    for _ in range(5000):
        messages = random_messages(rng)
        expected = any(contradict(a, b) for a in messages for b in messages)
        assert (evidence.slashable_pair(messages) is not None) == expected, messages
        found += expected
    assert 500 < found < 4500


def test_the_judge_misses_no_lost_record(signer):
    key = signer.pubkeys[0]
    bodies = [harness.attestation(1, 2), harness.attestation(2, 3), harness.block(100)]
    signed = {evidence.message_of(key, body): signer.sign(key, body, headers={"Accept": "application/json"})[1]
              ["signature"] for body in bodies}
    path = os.path.join(signer.data_dir, "slashing.sqlite")
    evidence.judge(signed, path)
    evidence.verify_signatures(signed)
    with pytest.raises(AssertionError, match="not on record"):
        evidence.judge({**signed, evidence.message_of(key, harness.attestation(3, 4)): "0x"}, path)
    with pytest.raises(AssertionError, match="SLASHABLE"):
        evidence.judge({**signed, evidence.message_of(key, harness.attestation(1, 2, mark=1)): "0x"}, path)
    messages = list(signed)
    signed[messages[0]], signed[messages[1]] = signed[messages[1]], signed[messages[0]]
    with pytest.raises(AssertionError, match="not that key's"):
        evidence.verify_signatures(signed)


# ---- under load


def run_fault(program, *arguments):
    run = subprocess.run([sys.executable, os.path.join(FAULTS, program), *arguments], capture_output=True, text=True,
                         timeout=LIMIT_SECONDS, check=False)
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_kills_at_random_moments_under_load():
    assert "all on record, none slashable" in run_fault("crash.py", "--kills", str(KILLS))


def test_a_full_disk_under_load():
    told = run_fault("full_disk.py", "--rounds", str(ROUNDS))
    missing = re.search(r"no mount namespace \((.*)\)", told)
    if missing:
        pytest.skip(f"no disk to fill: {missing.group(1)}; the limit of file sizes was tested instead")


def test_a_limit_of_file_sizes_under_load():
    run_fault("full_disk.py", "--rounds", str(ROUNDS), "--limit-only")


# ---- hangs


@pytest.fixture(name="hasty")
def hasty_signer(signers):
    """One that gives up on a request after a second."""
    return signers().start(environment={"HOLDFAST_SERVER_REQUEST_TIMEOUT_MS": "1000"})


def test_a_keeper_that_hangs(hasty):
    """Every request is answered in time, and says what it is; afterwards all is as before."""
    key = hasty.pubkeys[0]
    assert hasty.attest(key, 1, 2)[0] == 200
    keeper = hasty.pids("keeper")[0]
    os.kill(keeper, signal.SIGSTOP)
    try:
        started = time.monotonic()
        status, answer = hasty.attest(key, 2, 3)
        assert (status, answer["code"]) == (503, "TIMEOUT")
        status, health = hasty.get("/healthcheck")
        assert status == 503 and health["status"] == "DOWN"
        assert hasty.get("/upcheck")[0] == 200
        assert time.monotonic() - started < harness.PATIENCE / 4
    finally:
        os.kill(keeper, signal.SIGCONT)
    wait_for("good health", lambda: hasty.get("/healthcheck")[0] == 200, harness.PATIENCE)
    # It may have been recorded when the keeper went on: the same again is signed, another is not.
    assert hasty.attest(key, 2, 3)[0] == 200
    assert hasty.attest(key, 2, 3, mark=1)[0] == 412
    assert hasty.pids("keeper") == [keeper]


def test_a_keeper_that_hangs_long_under_load(hasty):
    """More requests wait than its socket holds; each has its answer, and later answers do not get mixed up."""
    key = hasty.pubkeys[0]
    statuses = []

    def ask(first):
        for target in range(first, first + 3):
            statuses.append(hasty.attest(key, 1, target)[0])

    keeper = hasty.pids("keeper")[0]
    os.kill(keeper, signal.SIGSTOP)
    try:
        threads = [threading.Thread(target=ask, args=(10 + 10 * i,)) for i in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(harness.PATIENCE)
    finally:
        os.kill(keeper, signal.SIGCONT)
    assert statuses == [503] * 120
    wait_for("a signature", lambda: hasty.attest(hasty.pubkeys[1], 1, 2)[0] == 200, harness.PATIENCE)
    with evidence.Clients(hasty, evidence.World(hasty.pubkeys), seed=7) as clients:
        time.sleep(1)
    assert clients.problem is None, clients.problem
    evidence.judge(clients.snapshot(), os.path.join(hasty.data_dir, "slashing.sqlite"))
    evidence.verify_signatures(clients.snapshot())


def test_a_front_that_hangs(hasty):
    """Who comes anew is served by the other one; what the first had begun is finished when it goes on."""
    key = hasty.pubkeys[0]
    front = hasty.pids("front")[0]
    os.kill(front, signal.SIGSTOP)
    try:
        for target in range(2, 12):
            assert hasty.attest(key, 1, target)[0] == 200
    finally:
        os.kill(front, signal.SIGCONT)
    for target in range(12, 32):
        assert hasty.attest(key, 1, target)[0] == 200
    assert front in hasty.pids("front")
