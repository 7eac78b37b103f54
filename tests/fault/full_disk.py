#!/usr/bin/env python3
"""A disk that is full again and again under a running signer with load on it.

    full_disk.py [--rounds N] [--seconds S] [--seed SEED] [--limit-only]

The data folder is a small tmpfs in a mount namespace of this program's own, filled to the last byte at random
moments. While it is full, what can be slashed, or cannot be written down, is answered 503 and not signed; when
there is room again the signer recovers by itself; and every signature that any client received is on
record. Now and then it is killed and started while the disk is full. Without the right to make a namespace, or with --limit-only, the keeper gets a limit of the size of
files instead (RLIMIT_FSIZE). The seed is printed and repeats the requests and rounds. Exit status 0: all held.
"""

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

import audit  # noqa: E402
import harness  # noqa: E402
from conftest import WatchedSigner, wait_for  # noqa: E402
from evidence import Clients, World, judge, verify_signatures  # noqa: E402

KEYS = 5  # one of them is the probe's own
DISK_BYTES = 20 << 20  # at first
IN_NAMESPACE = "HF_FULL_DISK_IN_NAMESPACE"


class Disk:
    """The tmpfs under the data folder."""

    name = "tmpfs"
    outlives_the_keeper = True

    def __init__(self, signer, rng):
        self.folder = signer.data_dir
        self.filler = os.path.join(self.folder, "filler")
        self.rng = rng
        self.size = DISK_BYTES
        os.makedirs(self.folder, mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "holdfast-test", self.folder], check=True)

    def make_room(self):
        """A long run records more than the disk held at first."""
        info = os.statvfs(self.folder)
        if info.f_bavail * info.f_frsize < self.size // 2:
            self.size *= 2
            subprocess.run(["mount", "-o", f"remount,size={self.size}", self.folder], check=True)

    def fill(self):
        """To the last byte, or so that a few pages are left for it to fail at."""
        with open(self.filler, "ab", buffering=0) as filler:
            for chunk in (1 << 20, 1 << 16, 4096, 1):
                try:
                    while True:
                        filler.write(bytes(chunk))
                except OSError:
                    continue
            os.ftruncate(filler.fileno(), max(0, filler.tell() - self.rng.choice((0, 0, 4096, 16384, 65536))))

    def free(self):
        os.unlink(self.filler)


class Limit:
    """No file of the keeper's may grow beyond what the write-ahead log has now, or a little more."""

    name = "RLIMIT_FSIZE"
    outlives_the_keeper = False

    def __init__(self, signer, rng):
        self.signer = signer
        self.rng = rng

    def make_room(self):
        """Its disk is not limited."""

    def fill(self):
        size = os.path.getsize(os.path.join(self.signer.data_dir, "slashing.sqlite-wal"))
        self.set(size // 2 + self.rng.choice((0, 1, 100, 4096)))

    def free(self):
        self.set(resource.RLIM_INFINITY)

    def set(self, size):
        resource.prlimit(self.signer.pids("keeper")[0], resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


class FullDisk:
    def __init__(self, folder, seed, kind):
        self.rng = random.Random(f"{seed}/rounds")
        self.signer = WatchedSigner(folder, keys=KEYS)
        self.disk = kind(self.signer, self.rng)
        self.clients = Clients(self.signer, World(self.signer.pubkeys[:-1]), seed, 4)
        self.probes = 0
        self.rounds = 0
        self.restarts = 0
        self.keeper = None
        self.refusals = 0

    def probe(self):
        self.probes += 1
        return self.signer.attest(self.signer.pubkeys[-1], self.probes, self.probes + 1)

    def unavailable(self):
        return self.clients.answers[503, "STORE_UNAVAILABLE"] + self.clients.answers[503, "AUDIT_UNAVAILABLE"]

    def others_are_written_down(self):
        """A duty that cannot be slashed needs no record, but its line in the audit log."""
        status, answer = self.signer.sign(self.signer.pubkeys[0], {
            "type": "RANDAO_REVEAL", "fork_info": harness.fork_info(), "randao_reveal": {"epoch": str(self.probes)}})
        assert status == 200 or answer["code"] == "AUDIT_UNAVAILABLE", answer

    def one_round(self):
        time.sleep(self.rng.random() * 0.5)
        before = self.unavailable()
        self.disk.make_room()
        self.disk.fill()
        try:
            # The clients alone may ask for nothing new for long, and the write-ahead log has room of its own.
            wait_for("a refusal", lambda: self.probe()[0] == 503 or self.clients.problem, harness.PATIENCE)
            wait_for("an ill health", lambda: self.signer.get("/healthcheck")[0] == 503, harness.PATIENCE)
            self.others_are_written_down()
            time.sleep(self.rng.random() * 0.3)
            if self.disk.outlives_the_keeper and self.rng.random() < 0.3:
                self.restart()
        finally:
            self.disk.free()
        if self.signer.process.poll() is not None:
            self.start_again()
        wait_for("a signature", lambda: self.probe()[0] == 200, harness.PATIENCE)
        wait_for("good health", lambda: self.signer.get("/healthcheck")[0] == 200, harness.PATIENCE)
        assert self.clients.problem is None, self.clients.problem
        self.refusals += self.unavailable() - before
        self.rounds += 1

    def restart(self):
        """On the full disk: it comes up and refuses, or it says what is missing and ends."""
        signer = self.signer
        signer.descendants()
        signer.port = None
        signer.process.kill()
        signer.wait_exit()
        signer.start(wait=False)
        wait_for("a start or a refusal", lambda: signer.process.poll() is not None or signer.has_logged("ready"),
                 harness.PATIENCE)
        if signer.process.poll() is None:
            self.come_up()
        else:
            assert any(words in signer.log() for words in ("disk", "No space left")), signer.log()
        self.restarts += 1

    def start_again(self):
        self.signer.wait_exit()
        self.signer.start(wait=False)
        self.come_up()

    def come_up(self):
        self.signer.wait_ready()
        self.signer.wait_until(lambda: len(self.signer.get("/api/v1/eth2/publicKeys")[1]) == KEYS, "its keys are loaded")
        self.keeper = self.signer.pids("keeper")

    def run(self, rounds, seconds):
        until = time.monotonic() + seconds
        self.signer.start()
        self.keeper = self.signer.pids("keeper")
        with self.clients:
            while self.rounds < rounds and time.monotonic() < until:
                self.one_round()
        assert self.clients.problem is None, self.clients.problem
        assert self.signer.pids("keeper") == self.keeper, "it recovered, but not by itself"
        evidence = self.clients.snapshot()
        path = os.path.join(self.signer.data_dir, "slashing.sqlite")
        judge(evidence, path)
        self.signer.kill()
        judge(evidence, path)
        audit.assert_has_all(self.signer.data_dir, evidence)
        verify_signatures(evidence)
        assert self.clients.count(200) > 0 and self.clients.count(412) > 0, "the load did not test anything"

    def summary(self):
        return (f"full disk: full {self.rounds} times ({self.disk.name}), {self.restarts} starts on it, "
                f"{self.refusals} requests refused then; "
                f"{len(self.clients.evidence)} distinct messages signed, all on record, none slashable")


def enter_namespace():
    """Starts this program again in a mount namespace of its own; returns where that cannot be had."""
    if os.environ.get(IN_NAMESPACE) == "1":
        return True
    tried = subprocess.run(["unshare", "-m", "--propagation", "private", "mount", "-t", "tmpfs", "probe", "/mnt"],
                           capture_output=True, text=True, check=False) if shutil.which("unshare") else None
    if tried is None or tried.returncode != 0:
        why = "unshare is not installed" if tried is None else tried.stderr.strip()
        print(f"full disk: no mount namespace ({why}): limiting the size of files instead")
        return False
    sys.stdout.flush()
    os.execvpe("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, os.path.abspath(__file__),
                           *sys.argv[1:]], {**os.environ, IN_NAMESPACE: "1"})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--limit-only", action="store_true")
    options = parser.parse_args()
    kind = Disk if not options.limit_only and enter_namespace() else Limit
    print(f"full disk: seed {options.seed}", flush=True)
    folder = tempfile.mkdtemp(prefix="holdfast-full-disk-")
    test = FullDisk(folder, options.seed, kind)
    try:
        test.run(options.rounds or (5 if not options.seconds else 1 << 30), options.seconds or float("inf"))
    except BaseException:
        print(f"full disk: failed in round {test.rounds + 1}, seed {options.seed}\n{test.signer.log()[-6000:]}", flush=True)
        raise
    finally:
        if test.signer.process is not None:
            test.signer.process.kill()
            test.signer.process.wait()
        if kind is Disk:
            subprocess.run(["umount", "-l", test.signer.data_dir], check=False)
        shutil.rmtree(folder, ignore_errors=True)
    print(test.summary())


if __name__ == "__main__":
    main()
