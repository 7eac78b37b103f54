"""A store that cannot record, under a running signer: nothing slashable is signed, everybody is told, other duties
go on, and when the cause is gone it signs again by itself."""

import contextlib
import ctypes
import os
import shutil
import sqlite3
import subprocess

import evidence
import harness
import pytest
from conftest import wait_for

EPOCH = 100
# linux/ptrace.h, sys/wait.h
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000


class Patient:
    """A running signer, what it signed, and what it has to say about its store."""

    def __init__(self, signer):
        self.signer = signer
        self.path = os.path.join(signer.data_dir, "slashing.sqlite")
        self.wal = self.path + "-wal"
        self.epoch = EPOCH
        self.signed = {}

    def ask(self, body, key=0):
        pubkey = self.signer.pubkeys[key]
        status, answer = self.signer.sign(pubkey, body, headers={"Accept": "application/json"})
        assert ("signature" in answer) == (status == 200), answer
        if status == 200:
            self.signed[evidence.message_of(pubkey, body)] = answer["signature"]
        return status, answer.get("code")

    def sign_next(self, key=0):
        """A new vote and a new block; (status, code) of both, which have to agree."""
        self.epoch += 1
        vote = self.ask(harness.attestation(self.epoch - 1, self.epoch), key)
        block = self.ask(harness.block(self.epoch * 32), key)
        assert vote == block
        return vote

    def metric(self, name):
        text = self.signer.get("/metrics", port=self.signer.metrics_port)[1]
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"holdfast_{name} ")))

    def is_ill(self, *words):
        """Refusals, health, metrics, status and log; one of the words is in its complaint."""
        failures = self.metric("store_failures_total")
        assert self.sign_next() == (503, "STORE_UNAVAILABLE")
        assert self.sign_next(key=1) == (503, "STORE_UNAVAILABLE")
        assert self.ask(harness.attestation(EPOCH, EPOCH, mark=2)) == (503, "STORE_UNAVAILABLE")
        status, health = self.signer.get("/healthcheck")
        assert status == 503
        assert {"id": "slashing-protection-db-health-check", "status": "DOWN"} in health["checks"]
        assert self.metric("store_healthy") == 0 and self.metric("healthy") == 0
        assert self.metric("store_failures_total") > failures
        told = self.signer.status()
        assert told["state"] == "store_unavailable" and not told["store"]["healthy"]
        assert any(word in told["store"]["detail"] for word in words), told["store"]["detail"]
        assert any(self.signer.has_logged("store_unavailable", word) for word in words), self.signer.log()
        self.others_go_on()

    def others_go_on(self):
        status, answer = self.signer.sign(self.signer.pubkeys[0], {
            "type": "RANDAO_REVEAL", "fork_info": harness.fork_info(), "randao_reveal": {"epoch": str(self.epoch)}})
        assert status == 200, answer

    def recovers(self):
        """By itself, and still knows all it has signed."""
        keeper = self.signer.pids("keeper")
        wait_for("good health", lambda: self.signer.get("/healthcheck")[0] == 200, harness.PATIENCE)
        assert self.sign_next() == (200, None)
        assert self.sign_next(key=1) == (200, None)
        assert self.metric("store_healthy") == 1
        assert self.signer.has_logged("store_healthy")
        assert self.signer.pids("keeper") == keeper
        self.remembers()

    def remembers(self):
        for (vote, signature) in list(self.signed.items()):
            if isinstance(vote, evidence.Vote):
                key = self.signer.pubkeys.index("0x" + vote.pubkey.hex())
                body = harness.attestation(vote.source, vote.target)
                assert self.ask(body, key) == (200, None)
                assert self.signed[vote] == signature
                assert self.ask(harness.attestation(vote.source, vote.target, mark=3), key) == (412, "DOUBLE_VOTE")
        evidence.judge(self.signed, self.path)


@pytest.fixture(name="patient")
def running_patient(signer):
    patient = Patient(signer)
    assert patient.ask(harness.attestation(EPOCH, EPOCH)) == (200, None)
    for key in (0, 0, 1):
        assert patient.sign_next(key) == (200, None)
    yield patient
    if signer.process is not None:
        evidence.judge(patient.signed, patient.path)


def copy(source, target):
    """The bytes into a file of its own."""
    shutil.copyfile(source, target)
    os.chmod(target, 0o600)


def checkpoint(path):
    """All that is recorded goes from the log into the file."""
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as store:
        assert store.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


def touch_by_another(path):
    """Another process commits something, so that every copy in memory is stale."""
    with contextlib.closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as store:
        store.execute("UPDATE meta SET high_slot = high_slot")


# ---- locked, read-only


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_locked_by_another_process(patient, how):
    with contextlib.closing(sqlite3.connect(patient.path, isolation_level=None)) as other:
        other.execute(f"BEGIN {how}")
        patient.is_ill("locked")
        other.execute("ROLLBACK")
    patient.recovers()


def test_written_by_another_process(patient):
    """What it wrote is read before the next decision."""
    target = patient.epoch + 1
    with contextlib.closing(sqlite3.connect(patient.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        patient.is_ill("locked")
        other.execute("INSERT INTO attestations(validator_id, source_epoch, target_epoch, signing_root)"
                      " SELECT id, ?, ?, randomblob(32) FROM validators", (target - 1, target))
        other.execute("COMMIT")
    assert patient.ask(harness.attestation(target - 1, target)) == (412, "DOUBLE_VOTE")
    patient.recovers()


@pytest.fixture(name="immutable")
def immutable_files(patient):
    """A function that makes the store's files immutable, and back."""
    def switch(on):
        return subprocess.run(["chattr", "+i" if on else "-i", patient.path, patient.wal], capture_output=True,
                              text=True, check=False)
    tried = switch(True) if shutil.which("chattr") else None
    switch(False)
    if tried is None or tried.returncode != 0:
        pytest.skip(f"no immutable files: {tried.stderr.strip() if tried else 'chattr is not installed'}")
    yield switch
    switch(False)


def test_made_immutable(patient, immutable):
    immutable(True)
    patient.is_ill("read-only", "reading or writing", "may not be accessed")
    immutable(False)
    patient.recovers()


# ---- removed, replaced


@pytest.mark.parametrize("suffixes", [("",), ("-wal",), ("", "-wal"), ("", "-wal", "-shm")])
def test_removed_and_put_back(patient, suffixes):
    for suffix in suffixes:
        os.rename(patient.path + suffix, patient.path + suffix + ".away")
    patient.is_ill("removed", "cannot be opened", "lost records", "belongs to the old file")
    assert not os.path.exists(patient.path) or suffixes == ("-wal",), "nothing is made in its place"
    for suffix in suffixes:
        os.rename(patient.path + suffix + ".away", patient.path + suffix)
    patient.recovers()


def test_removed_folder_put_back(patient):
    away = patient.signer.data_dir + ".away"
    os.rename(patient.signer.data_dir, away)
    patient.is_ill("removed", "cannot be opened")
    os.rename(away, patient.signer.data_dir)
    patient.recovers()


def test_removed_for_good(patient):
    """What was signed is gone with the file: it never starts over by itself."""
    for suffix in ("", "-wal", "-shm"):
        os.unlink(patient.path + suffix)
    patient.is_ill("removed", "cannot be opened")
    wait_for("a second look", lambda: patient.metric("store_healthy") == 0)
    patient.is_ill("cannot be opened")
    assert not os.path.exists(patient.path)
    patient.signer.stop(expect=None)


def test_replaced_by_an_older_copy(patient):
    checkpoint(patient.path)
    copy(patient.path, patient.path + ".old")
    assert patient.sign_next() == (200, None)
    checkpoint(patient.path)
    os.rename(patient.path, patient.path + ".away")
    os.rename(patient.wal, patient.wal + ".away")
    os.rename(patient.path + ".old", patient.path)
    patient.is_ill("lost records", "older copy")
    os.rename(patient.path + ".away", patient.path)
    os.rename(patient.wal + ".away", patient.wal)
    patient.recovers()


def test_replaced_by_an_older_copy_under_its_log(patient):
    """A log applied to a file that it does not belong to would make a database of neither."""
    checkpoint(patient.path)
    copy(patient.path, patient.path + ".old")
    assert patient.sign_next() == (200, None)
    os.rename(patient.path, patient.path + ".away")
    os.rename(patient.path + ".old", patient.path)
    patient.is_ill("belongs to the old file", "lost records", "replaced")
    os.rename(patient.path + ".away", patient.path)
    patient.recovers()


def test_replaced_by_another_signers(patient, signers):
    other = signers().start()
    assert other.attest(other.pubkeys[0], 1, 2)[0] == 200
    other.stop()
    for suffix in ("", "-wal"):
        os.rename(patient.path + suffix, patient.path + suffix + ".away")
    copy(os.path.join(other.data_dir, "slashing.sqlite"), patient.path)
    patient.is_ill("another database")
    os.rename(patient.path + ".away", patient.path)
    if os.path.exists(patient.wal):
        os.unlink(patient.wal)
    os.rename(patient.wal + ".away", patient.wal)
    patient.recovers()


def test_replaced_by_something_else(patient):
    for suffix in ("", "-wal"):
        os.rename(patient.path + suffix, patient.path + suffix + ".away")
    harness.write_private(patient.path, "not a database, and long enough to be looked at as one\n" * 100)
    patient.is_ill("not a database")
    os.unlink(patient.path)
    for suffix in ("", "-wal"):
        os.rename(patient.path + suffix + ".away", patient.path + suffix)
    patient.recovers()


# ---- damaged


@pytest.mark.parametrize("keep", [0, 100, 0.5])
@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_cut_short_and_restored(patient, suffix, keep):
    """The log ends in room for more, which is no loss: it is cut within what is written."""
    path = patient.path + suffix
    with open(path, "rb") as whole:
        content = whole.read()
    written = len(content.rstrip(b"\0"))
    os.truncate(path, keep if isinstance(keep, int) else int(written * keep))
    patient.is_ill("cut short", "damaged", "not a database", "lost records", "empty")
    with open(path, "r+b") as whole:
        whole.write(content)
    patient.recovers()


def test_damaged_in_the_middle_and_restored(patient):
    """Read again, the damage shows; a page that is in memory need not be read again."""
    checkpoint(patient.path)
    with open(patient.path, "r+b") as store:
        content = store.read()
        store.seek(1024)
        store.write(bytes(range(256)) * ((len(content) - 1024) // 256))
    with contextlib.suppress(sqlite3.DatabaseError):
        touch_by_another(patient.path)
    patient.is_ill("damaged", "lacks a part", "not a database", "contradicts itself")
    with open(patient.path, "r+b") as store:
        store.write(content)
    os.truncate(patient.wal, 0)
    patient.recovers()


@pytest.mark.parametrize("place", [16, 100, 1024, 3000, 0.4, 0.8])
def test_a_damaged_database_signs_nothing_wrong_after_a_restart(patient, place):
    """It may refuse to start, or refuse some keys; what it signs contradicts nothing that it signed before."""
    signer = patient.signer
    signer.stop()
    with open(patient.path, "r+b") as store:
        size = len(store.read())
        store.seek(place if isinstance(place, int) else int(size * place))
        store.write(b"\xa5" * 700)
    signer.start(wait=False)
    wait_for("a start or a refusal", lambda: signer.process.poll() is not None or signer.has_logged("ready"),
             harness.PATIENCE)
    if signer.process.poll() is not None:
        assert signer.wait_exit() == 1
        assert "slashing_protection" in signer.log(), signer.log()
        return
    signer.wait_ready()
    signer.wait_until(lambda: len(signer.get("/api/v1/eth2/publicKeys")[1]) == len(signer.pubkeys), "keys")
    for message in list(patient.signed):
        key = signer.pubkeys.index("0x" + message.pubkey.hex())
        if isinstance(message, evidence.Vote):
            patient.ask(harness.attestation(message.source, message.target, mark=1), key)
        else:
            patient.ask(harness.block(message.slot, mark=1), key)
    assert evidence.slashable_pair(patient.signed) is None
    signer.stop(expect=None)


# ---- silent


@contextlib.contextmanager
def halted_thread(pid, name):
    """One thread of a process stands still, as in a system call that does not return; it goes on when we let go."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    threads = os.listdir(f"/proc/{pid}/task")
    thread = next(int(t) for t in threads if open(f"/proc/{pid}/task/{t}/comm", encoding="ascii").read() == name + "\n")

    def ptrace(request):
        if libc.ptrace(request, thread, 0, 0) != 0:
            pytest.skip(f"no thread can be halted: ptrace: {os.strerror(ctypes.get_errno())}")

    ptrace(PTRACE_SEIZE)
    ptrace(PTRACE_INTERRUPT)
    os.waitpid(thread, WALL)
    try:
        yield
    finally:
        ptrace(PTRACE_DETACH)


def test_a_disk_that_hangs(signers):
    """A commit that does not return: answers in time, told as ill, other duties go on, nothing is signed late."""
    patient = Patient(signers().start(environment={"HOLDFAST_SERVER_REQUEST_TIMEOUT_MS": "1000"}))
    assert patient.sign_next() == (200, None) and patient.sign_next(key=1) == (200, None)
    with halted_thread(patient.signer.pids("keeper")[0], "protector"):
        assert patient.sign_next() == (503, "TIMEOUT")
        patient.others_go_on()
        wait_for("ill health", lambda: patient.signer.get("/healthcheck")[0] == 503, harness.PATIENCE)
        assert "has not answered" in patient.signer.status()["store"]["detail"]
        assert patient.metric("store_healthy") == 0
        assert patient.sign_next() == (503, "TIMEOUT")
        patient.others_go_on()
    wait_for("good health", lambda: patient.signer.get("/healthcheck")[0] == 200, harness.PATIENCE)
    assert patient.sign_next() == (200, None) and patient.sign_next(key=1) == (200, None)
    assert patient.metric("store_healthy") == 1
    patient.remembers()


# ---- two of them


def test_a_second_signer_on_the_same_store(patient, signers):
    """Another data folder, the same database."""
    other = signers(config=f"slashing_protection: {{path: {patient.path}}}\n")
    other.start(wait=False)
    assert other.wait_exit() == 1, other.log()
    assert other.has_logged("start_refused", "another"), other.log()
    assert patient.sign_next() == (200, None)
