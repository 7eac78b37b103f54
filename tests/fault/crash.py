#!/usr/bin/env python3
"""kill -9 and SIGSTOP of each process of a running signer, at random moments under load, again and again.

    crash.py [--kills N] [--seconds S] [--seed SEED] [--clients N]

Ends after N events or S seconds, whichever is given (both: whichever comes first). Every signature that any
client received must afterwards be on record, in the database, in the export and in the audit log, whose chain
holds; none may be slashable with another; and the signer still signs. The seed is printed and repeats the requests and the events (not their
exact moments). HF_BUILD names the build. Exit status 0 when all of it held.
"""

import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

import audit  # noqa: E402
import harness  # noqa: E402
from conftest import WatchedSigner, wait_for  # noqa: E402
from evidence import Clients, World, interchange, judge, verify_signatures  # noqa: E402

KEYS = 5  # one of them is the probe's own
REQUEST_TIMEOUT_MS = 1000
# How often the whole record is read between restarts: it grows.
EXAMINE_EVERY = 15
# Key files that take the loader long enough to be killed over them: rounds of PBKDF2.
SLOW_ROUNDS = 300000 if not harness.SANITIZED else 60000
CONFIG = (f"request_timeout_ms: {REQUEST_TIMEOUT_MS}", "slashing_protection: {keep_epochs: 40}\n")
EVENTS = {"keeper": 5, "supervisor": 4, "front": 4, "everything": 1, "loader": 3, "first loader": 1, "stop front": 2,
          "stop keeper": 2, "prune and kill": 2}


class Crash:
    def __init__(self, folder, seed, clients):
        self.rng = random.Random(f"{seed}/events")
        self.signer = WatchedSigner(folder, keys=KEYS, config=CONFIG[1])
        with open(self.signer.config_path, encoding="utf-8") as text:
            config = text.read().replace("server: {", f"server: {{{CONFIG[0]}, ")
        harness.write_private(self.signer.config_path, config)
        self.clients = Clients(self.signer, World(self.signer.pubkeys[:-1]), seed, clients)
        self.probes = 0
        self.done = collections.Counter()
        self.slow_keys = 0

    # ---- what is done to it

    def restart(self, end):
        """end() takes the service down; clients stay away from the port until it is ours again."""
        self.signer.descendants()
        port, self.signer.port = self.signer.port, None
        assert port is not None
        end()
        self.signer.wait_exit(20)
        # A killed process in the middle of a sync has the database until the disk is done with it.
        wait_for("nobody of the last run", lambda: not self.signer.left_over(), harness.PATIENCE)
        self.signer.start()

    def kill(self, name):
        os.kill(self.rng.choice(self.signer.pids(name)), signal.SIGKILL)

    def keeper(self):
        self.restart(lambda: self.kill("keeper"))
        # The clients that are left hear of it by a broken connection.

    def supervisor(self):
        self.restart(self.signer.process.kill)

    def everything(self):
        pids = list(self.signer.descendants())
        self.rng.shuffle(pids)
        self.restart(lambda: [kill_if_there(pid) for pid in pids])

    def front(self):
        victim = self.rng.choice(self.signer.pids("front"))
        os.kill(victim, signal.SIGKILL)
        self.wait_for_fronts(victim)

    def wait_for_fronts(self, victim):
        wait_for("another front", lambda: len(self.signer.pids("front")) == 2
                 and victim not in self.signer.pids("front"), harness.PATIENCE)

    def loader(self):
        """During a reload that has work to do; the keys that were there go on signing."""
        before = set(os.listdir(self.signer.keystores))
        self.slow_keys += 2
        subprocess.run([os.path.join(harness.BUILD, "bench", "bench_keys"), self.signer.keystores,
                        str(1000 + self.slow_keys), "2", "pbkdf2", str(SLOW_ROUNDS),
                        f"{self.signer.keystores}.password"], check=True)
        assert self.signer.request("POST", "/reload")[0] in (200, 202, 409)
        wait_for("a loader", lambda: self.signer.pids("loader"), harness.PATIENCE)
        time.sleep(self.rng.random() * 0.2)
        for pid in self.signer.pids("loader"):  # it and its workers, in the order of their numbers
            kill_if_there(pid)
        self.expect_signature()
        for name in set(os.listdir(self.signer.keystores)) - before:
            os.unlink(os.path.join(self.signer.keystores, name))
        self.reload_until(lambda: len(self.signer.get("/api/v1/eth2/publicKeys")[1]) == KEYS)

    def reload_until(self, condition):
        until = time.monotonic() + harness.PATIENCE
        while True:
            self.signer.request("POST", "/reload")
            wait_for("the load's end", lambda: not self.signer.status()["keys"]["load"]["running"], harness.PATIENCE)
            if condition():
                return
            assert time.monotonic() < until, f"the keys are not as the files are: {self.signer.status()}"

    def first_loader(self):
        """The keys come by a reload when the start's own loader died."""
        signer = self.signer
        signer.descendants()
        signer.port = None
        signer.process.kill()
        signer.wait_exit(20)
        signer.start(wait=False)
        wait_for("the first loader", lambda: signer.pids("loader") or signer.has_logged("ready"), harness.PATIENCE, 0)
        for pid in signer.pids("loader"):
            kill_if_there(pid)
        signer.wait_ready()
        self.reload_until(lambda: len(signer.get("/api/v1/eth2/publicKeys")[1]) == KEYS)

    def stop_front(self):
        """A front that hangs: the other one answers whoever comes anew."""
        victim = self.rng.choice(self.signer.pids("front"))
        os.kill(victim, signal.SIGSTOP)
        try:
            time.sleep(0.2 + self.rng.random())
            self.expect_signature()
        finally:
            os.kill(victim, signal.SIGCONT)

    def stop_keeper(self):
        """A keeper that hangs: answers within the request timeout, and recovery."""
        victim = self.signer.pids("keeper")[0]
        os.kill(victim, signal.SIGSTOP)
        try:
            time.sleep(REQUEST_TIMEOUT_MS / 1000 * (0.2 + 1.6 * self.rng.random()))
        finally:
            os.kill(victim, signal.SIGCONT)

    def prune_and_kill(self):
        with subprocess.Popen([harness.HOLDFAST, "slashing", "prune", "-c", self.signer.config_path],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            time.sleep(self.rng.random() * 0.05)
            self.keeper()

    # ---- what is asked of it

    def expect_signature(self):
        """Who comes anew gets something new signed, soon."""
        self.probes += 1
        body = harness.attestation(self.probes, self.probes + 1)
        wait_for("a new signature", lambda: self.clients.ask_once(self.signer.pubkeys[-1], body) == 200,
                 harness.PATIENCE)
        assert self.clients.problem is None, self.clients.problem

    def examine(self):
        evidence = self.clients.snapshot()
        judge(evidence, os.path.join(self.signer.data_dir, "slashing.sqlite"))
        audit.assert_has_all(self.signer.data_dir, evidence)
        return len(evidence)

    def export(self):
        run = harness.run("slashing", "export", "-c", self.signer.config_path, timeout=harness.PATIENCE * 4)
        assert run.returncode == 0, run.stderr
        return interchange(json.loads(run.stdout))

    def one_event(self):
        name = self.rng.choices(list(EVENTS), list(EVENTS.values()))[0]
        time.sleep(self.rng.random() ** 2 * 0.8)
        getattr(self, name.replace(" ", "_"))()
        self.done[name] += 1
        self.expect_signature()
        if sum(self.done.values()) % EXAMINE_EVERY == 0:
            self.examine()

    def run(self, kills, seconds):
        until = time.monotonic() + seconds
        self.signer.start()
        with self.clients:
            while sum(self.done.values()) < kills and time.monotonic() < until:
                self.one_event()
            self.examine()
            self.expect_signature()
        assert self.clients.problem is None, self.clients.problem
        self.judge_all()

    def judge_all(self):
        """After the load: over the running signer, after a last kill, and on the stopped store."""
        evidence = self.clients.snapshot()
        judge(evidence, os.path.join(self.signer.data_dir, "slashing.sqlite"), self.export())
        verify_signatures(evidence)
        self.signer.kill()
        judge(evidence, os.path.join(self.signer.data_dir, "slashing.sqlite"), self.export())
        audit.assert_has_all(self.signer.data_dir, evidence)
        assert not self.signer.has_logged("audit_broken"), self.signer.log()
        answers = self.clients.answers
        assert self.clients.count(200) > 0 and self.clients.count(412) > 0, "the load did not test anything"
        strange = {answer: n for answer, n in answers.items() if answer[0] not in (200, 412, 503)
                   and answer != (404, "UNKNOWN_KEY")}
        assert not strange, strange

    def summary(self):
        events = ", ".join(f"{name} {n}" for name, n in sorted(self.done.items()))
        answers = ", ".join(f"{status} {code or ''} {n}".replace("  ", " ")
                            for (status, code), n in sorted(self.clients.answers.items(), key=str))
        return (f"crash: {sum(self.done.values())} events ({events}); {len(self.clients.evidence)} distinct messages signed, "
                f"all on record, none slashable; answers: {answers}; {self.clients.lost} lost; "
                f"slowest {self.clients.slowest:.2f} s")


def kill_if_there(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--clients", type=int, default=6)
    options = parser.parse_args()
    print(f"crash: seed {options.seed}", flush=True)
    folder = tempfile.mkdtemp(prefix="holdfast-crash-")
    crash = Crash(folder, options.seed, options.clients)
    kills = options.kills or (12 if not options.seconds else 1 << 30)
    try:
        crash.run(kills, options.seconds or float("inf"))
    except BaseException:
        print(f"crash: failed after {dict(crash.done)}, seed {options.seed}\n{crash.signer.log()[-6000:]}", flush=True)
        raise
    finally:
        if crash.signer.process is not None:
            crash.signer.process.kill()
            crash.signer.process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    print(crash.summary())


if __name__ == "__main__":
    main()
