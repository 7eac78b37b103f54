"""Two signers behind HAProxy on one PostgreSQL; one is killed with SIGKILL under load and started again.

Two validator clients ask for every duty at the same moment, with votes for different blocks, so that the two
signers have to agree on one. A client whose request failed asks once more, half a second later. Exit status 0 when no
duty was missed twice and none signed twice.
"""

import collections
import concurrent.futures
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

import harness  # noqa: E402
import postgres  # noqa: E402

KEYS = 40
FIRST_EPOCH = 400000
LANES = 8  # of each client
PAUSE = 0.05  # between a key's duties
SECOND_TRY_AFTER = 0.5
SIGNED, REFUSED = 200, 412


class Demo:
    def __init__(self, folder, balance, tell=print, fsync=True):
        self.folder, self.tell = folder, tell
        self.port = harness.free_port()
        self.database = postgres.Postgres(fsync=fsync)
        url = os.path.join(folder, "database-url")
        harness.write_private(url, self.database.url())
        self.nodes = []
        for name in ("node-1", "node-2"):
            os.mkdir(os.path.join(folder, name))
            self.nodes.append(harness.Signer(os.path.join(folder, name), KEYS,
                                             f"slashing_protection: {{backend: postgres, url_file: {url}}}\n"))
        self.keys = self.nodes[0].pubkeys
        self.config = os.path.join(ROOT, "packaging", "haproxy", f"{balance}.cfg")
        self.haproxy = None
        self.lock = threading.Lock()
        self.answers = collections.defaultdict(list)  # (key, epoch): [(block, status)], of all tries
        self.failures = []  # what tries without signature and refusal got
        self.roots = collections.defaultdict(set)  # (key, epoch): signed votes
        self.stopping = threading.Event()

    def start(self):
        for node in self.nodes:
            node.start()
        environment = {"HOLDFAST_LISTEN": f"127.0.0.1:{self.port}"}
        for number, node in enumerate(self.nodes, 1):
            environment[f"HOLDFAST_{number}"] = f"127.0.0.1:{node.port}"
        with open(os.path.join(self.folder, "haproxy.log"), "w", encoding="utf-8") as log:
            self.haproxy = subprocess.Popen([shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", self.config],
                                            env={**os.environ, **environment}, stdout=log, stderr=log)
        until = time.monotonic() + harness.PATIENCE
        while self.ask("GET", "/healthcheck") != SIGNED:
            if time.monotonic() > until:
                raise RuntimeError("HAProxy finds no node that can sign")
            time.sleep(0.05)

    def ask(self, method, path, body=None, connection=None):
        """The status; None when there was no answer."""
        return self.answer(method, path, body, connection)[0]

    def answer(self, method, path, body=None, connection=None):
        """(status, text), or (None, what went wrong)."""
        own = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            own.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            answer = own.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException) as failure:
            own.close()
            return None, repr(failure)
        finally:
            if connection is None:
                own.close()

    # ---- load

    def duty(self, connection, key, epoch, client):
        """One vote, asked for again once when there was no signature and no refusal."""
        body = harness.attestation(epoch - 1, epoch, mark=client)
        for pause in (0, SECOND_TRY_AFTER):
            time.sleep(pause)
            begun = time.monotonic()
            status, text = self.answer("POST", f"/api/v1/eth2/sign/{key}", body, connection)
            with self.lock:
                self.answers[key, epoch].append((client, status))
                if status not in (SIGNED, REFUSED):
                    self.failures.append(f"{begun:.3f} + {time.monotonic() - begun:.3f} s: client {client}, {key[:10]} "
                                         f"epoch {epoch}: {status} {text}")
                if status == SIGNED:
                    self.roots[key, epoch].add(client)
            if status in (SIGNED, REFUSED):
                return

    def lane(self, client, keys):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        epoch = FIRST_EPOCH
        while not self.stopping.is_set():
            epoch += 1
            for key in keys if client == 1 else keys[::-1]:
                self.duty(connection, key, epoch, client)
            time.sleep(PAUSE)
        connection.close()
        return epoch

    def run(self, seconds):
        with concurrent.futures.ThreadPoolExecutor(2 * LANES) as pool:
            lanes = [pool.submit(self.lane, client, self.keys[lane::LANES]) for client in (1, 2) for lane in range(LANES)]
            time.sleep(seconds * 0.3)
            self.kill(self.nodes[0])
            time.sleep(seconds * 0.3)
            before = self.times_up(1)
            self.nodes[0].start()
            self.wait_for_up(1, before)
            self.tell("the killed signer is back")
            time.sleep(seconds * 0.2)
            self.kill(self.nodes[1])
            time.sleep(seconds * 0.2)
            self.stopping.set()
            for lane in lanes:
                lane.result()

    def times_up(self, number):
        """How often HAProxy has found this node to be well again."""
        with open(os.path.join(self.folder, "haproxy.log"), encoding="utf-8", errors="replace") as text:
            return text.read().count(f"nodes/holdfast-{number} is UP")

    def wait_for_up(self, number, before):
        """One node at a time is lost: the other is killed when HAProxy uses this one again."""
        until = time.monotonic() + harness.PATIENCE
        while self.times_up(number) == before and time.monotonic() < until:
            time.sleep(0.05)

    @staticmethod
    def signal_all(node, number):
        """To all processes of a node; returns how many they are."""
        family = [node.process.pid] + [pid for pids in node.children().values() for pid in pids]
        for pid in family:
            os.kill(pid, number)
        return len(family)

    def kill(self, node):
        """All of its processes at once, as when its machine dies."""
        count = self.signal_all(node, signal.SIGKILL)
        node.process.wait()
        node.process = None
        self.tell(f"{os.path.basename(node.folder)}: SIGKILL to all {count} processes of the signer, after "
                  f"{len(self.roots)} signed duties")

    # ---- outcome

    def report(self):
        """(duties, signed, missed once, missed twice, signed twice, refused votes)."""
        both = {duty: answers for duty, answers in self.answers.items() if {client for client, _ in answers} == {1, 2}}
        missed_once = [d for d, answers in both.items() if any(status not in (SIGNED, REFUSED) for _, status in answers)]
        missed_twice = [d for d in both if not self.roots[d]]
        twice = [d for d, clients in self.roots.items() if len(clients) > 1]
        refused = sum(status == REFUSED for answers in self.answers.values() for _, status in answers)
        return {"duties": len(both), "signed": len(both) - len(missed_twice), "first try failed": len(missed_once),
                "missed twice": len(missed_twice), "signed twice": len(twice), "refused votes": refused}

    def close(self):
        if self.haproxy is not None:
            self.haproxy.terminate()
            self.haproxy.wait()
        for node in self.nodes:
            node.stop(expect=None)
        self.database.close()

    def logs(self):
        """What explains an outcome: the tries that failed, HAProxy's view, the nodes' last lines."""
        with open(os.path.join(self.folder, "haproxy.log"), encoding="utf-8", errors="replace") as text:
            return "\n".join([*self.failures, text.read()[-4000:], *(node.log()[-4000:] for node in self.nodes)])


def main():
    balance = os.environ.get("HA_BALANCE", "round-robin")
    seconds = float(os.environ.get("HA_SECONDS", "20"))
    reason = postgres.missing() or (None if shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
                                    else "haproxy is not installed (apt-get install haproxy)")
    if reason:
        sys.exit(f"ha-demo: {reason}")
    folder = tempfile.mkdtemp(prefix="holdfast-ha-")
    demo = None
    try:
        demo = Demo(folder, balance)
        demo.start()
        print(f"two signers with {KEYS} keys behind HAProxy ({balance}), one PostgreSQL, two clients that contradict each other")
        demo.run(seconds)
        outcome = demo.report()
    finally:
        if demo is not None:
            demo.close()
        shutil.rmtree(folder, ignore_errors=True)
    for name, value in outcome.items():
        print(f"  {name + ':':<18} {value}")
    if not outcome["duties"] or outcome["missed twice"] or outcome["signed twice"]:
        sys.exit("ha-demo: that is not what it should show")
    print("no duty was missed twice, none was signed twice")


if __name__ == "__main__":
    main()
