"""Fixtures on top of harness.py, which see that nothing of a signer is left behind.

    def test_something(signer):            # one that runs, with four keys
        status, answer = signer.attest(signer.pubkeys[0], source=1, target=2)

    def test_something_else(signers):      # as many as needed, each as it should be
        one = signers(keys=1, config="...").start()

At the end of the test each has to end with status 0 on SIGTERM, and no process of it may be left.
"""

import ctypes
import http.client
import os
import re
import signal
import subprocess
import time

import harness
import pytest

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 40


def die_with_parent():
    """A killed pytest leaves no signer behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_for(what, condition, seconds=10.0, pause=0.01):
    """Waits until condition() is true and returns it."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        time.sleep(pause)


def process_table():
    """{pid: (parent, name, state, start)} of all processes."""
    table = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat:
                head, _, tail = stat.read().rpartition(")")
        except OSError:
            continue
        fields = tail.split()
        table[int(name)] = (int(fields[1]), head.partition("(")[2], fields[0], fields[19])
    return table


class WatchedSigner(harness.Signer):
    """A signer whose processes are all known, on ports that the system chose."""

    def __init__(self, folder, program=harness.HOLDFAST, **options):
        super().__init__(folder, **options)
        self.program = program
        self.arguments = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", *self.arguments]
        self.seen = {}  # {pid: start} of every process of ours that was ever met
        self.log_start = 0

    # ---- life

    def start(self, wait=True, environment=None, arguments=()):
        """wait: until it is ready and its keys are loaded."""
        self.log_start = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self.program, "serve", "-c", self.config_path, *self.arguments, *arguments], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=die_with_parent, env={**self.environment(), **(environment or {})})
        if wait:
            self.wait_ready()
            self.wait_until(lambda: len(self.get("/api/v1/eth2/publicKeys")[1]) >= len(self.pubkeys), "its keys are loaded")
            self.wait_until(lambda: self.get("/healthcheck")[0] == 200, "it can sign")
            # The last key serves a moment before its load is over, and only then may a reload begin.
            self.wait_until(lambda: self.get("/reload")[1]["status"] != "running", "the first load is over")
        return self

    def wait_ready(self):
        self.wait_until(lambda: self.has_logged("ready"), "it is ready")
        self.port = self.logged_port("api")
        self.metrics_port = self.logged_port("metrics")
        self.descendants()

    def logged_port(self, name):
        match = re.search(rf" listening: {name} https?://\S+:(\d+)", self.log())
        return int(match.group(1)) if match else None

    def stop(self, expect=0):
        if self.process is not None:
            self.descendants()
            if self.process.poll() is None:
                self.process.terminate()
            status = self.wait_exit()
            assert expect is None or status == expect, f"it ended with {status}:\n{self.log()}"

    def wait_exit(self, seconds=STOP_SECONDS):
        """Waits for the end, sees that no process is left, and returns the exit status."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end:\n{self.log()}") from None
        self.process = None
        wait_for(f"no process left of {self.seen}", lambda: not self.left_over(), 5)
        return status

    def kill(self):
        """kill -9 of the supervisor, as after a crash; all else must go by itself."""
        self.descendants()
        self.process.kill()
        return self.wait_exit()

    # ---- processes

    def descendants(self):
        """{pid: name} of the supervisor and all processes below it."""
        table = process_table()
        ours = {self.process.pid}
        while True:
            below = {pid for pid, row in table.items() if row[0] in ours} - ours
            if not below:
                break
            ours |= below
        found = {pid: table[pid][1] for pid in ours if pid in table and table[pid][2] != "Z"}
        self.seen.update({pid: table[pid][3] for pid in found})
        return found

    def left_over(self):
        table = process_table()
        return [pid for pid, start in self.seen.items() if pid in table and table[pid][3] == start]

    def pids(self, name):
        """Sorted process ids of "keeper", "front" or "loader"."""
        return sorted(pid for pid, comm in self.descendants().items() if comm == f"holdfast-{name}")

    # ---- log

    def log(self):
        """What it logged since the last start."""
        with open(self.log_path, encoding="utf-8", errors="replace") as text:
            text.seek(self.log_start)
            return text.read()

    def has_logged(self, event, text=""):
        return any(f" {event}: " in line and text in line for line in self.log().splitlines())

    def wait_logged(self, event, text="", seconds=10):
        wait_for(f"a line {event}: ...{text}... in\n{self.log()}", lambda: self.has_logged(event, text), seconds)

    # ---- signing

    def attest(self, pubkey, source, target, mark=0):
        return self.sign(pubkey, harness.attestation(source, target, mark))

    def propose(self, pubkey, slot, mark=0):
        return self.sign(pubkey, harness.block(slot, mark))

    def status(self):
        return self.get("/api/v1/holdfast/status")[1]

    def connect(self):
        """A connection that stays open."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=harness.PATIENCE)


@pytest.fixture
def signers(tmp_path_factory):
    """Makes signers: signers(keys=4, config="...") is not started yet."""
    if not os.path.exists(os.path.join(harness.BUILD, "holdfast-front")):
        pytest.skip("the front is not built")
    made = []

    def make(keys=4, **options):
        made.append(WatchedSigner(tmp_path_factory.mktemp("signer"), keys=keys, **options))
        return made[-1]

    yield make
    failures = []
    for one in made:
        try:
            one.stop()
        except AssertionError as failure:
            failures.append(str(failure))
        one.forget_memory()
    assert not failures, "\n".join(failures)


@pytest.fixture
def signer(signers):
    """One that runs, with four keys and embedded defaults."""
    return signers().start()
