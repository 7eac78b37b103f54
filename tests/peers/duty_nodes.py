"""Nodes that lock duties in one database, of both kinds, with one way to ask them.

    with PackageNode(folder, url, "p1") as node:      @aztec/validator-ha-signer, from npm.install("aztec")
    with HoldfastNode(build, url, "h1") as node:      libholdfast, through bench_duty_node
        answer = node.ask(duty, message_hash)         Answer(kind, signature, signed_by, ms)
        call = node.begin(duty, message_hash, sign_ms=300); call.signing.wait(5); call.result()

A duty is (slot, type, index). Kinds: SIGNED here, STORED before, HELD, CONFLICT, or what else the node said.
"""

import collections
import json
import os
import shutil
import signal
import subprocess
import threading

TYPES = ("BLOCK_PROPOSAL", "CHECKPOINT_PROPOSAL", "ATTESTATION", "ATTESTATIONS_AND_SIGNERS", "GOVERNANCE_VOTE",
         "SLASHING_VOTE")
PATIENCE = 60
# The package's words and Holdfast's for the same things.
KINDS = {"signed": "SIGNED", "already": "HELD", "conflict": "CONFLICT", "OK": "SIGNED"}

Answer = collections.namedtuple("Answer", "kind signature signed_by ms")
DEAD = Answer("DEAD", "", "", 0.0)


class Call:
    """A request under way."""

    def __init__(self):
        self.signing = threading.Event()
        self._done = threading.Event()
        self._answer = None

    def settle(self, answer):
        self._answer = answer
        self.signing.set()
        self._done.set()

    def result(self, timeout=PATIENCE):
        if not self._done.wait(timeout):
            raise TimeoutError("no answer from a node")
        return self._answer


class Node:
    """A process that reads requests by line and answers by line of JSON, in any order."""

    def __init__(self, name, command, environment=None, cwd=None):
        self.name = name
        self.calls = {}
        self.lock = threading.Lock()
        self.count = 0
        self.address = None
        self.ended = False
        self.ready = threading.Event()
        self.process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **(environment or {})}, bufsize=1)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if not self.ready.wait(PATIENCE) or self.address is None:
            self.kill()
            raise RuntimeError(f"node {name} did not start")

    def _read(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if said.get("event") == "ready":
                self.address = said["address"].lower()
                self.ready.set()
            elif said.get("event") == "signing":
                self.calls[said["id"]].signing.set()
            else:
                kind = KINDS.get(said["outcome"], said["outcome"])
                self.calls.pop(said["id"]).settle(
                    Answer(kind, said.get("signature", ""), said.get("signedBy", said.get("message", "")), said["ms"]))
        with self.lock:
            self.ended = True
            left = list(self.calls.values())
        for call in left:
            call.settle(DEAD)
        self.ready.set()

    def begin(self, duty, message_hash, sign_ms=0, fail=False):
        call = Call()
        with self.lock:
            if self.ended:
                call.settle(DEAD)
                return call
            self.count += 1
            self.calls[self.count] = call
            try:
                self.process.stdin.write(self.line(self.count, duty, message_hash, sign_ms, fail) + "\n")
                self.process.stdin.flush()
            except (BrokenPipeError, ValueError):
                call.settle(DEAD)
        return call

    def ask(self, duty, message_hash, **options):
        return self.begin(duty, message_hash, **options).result()

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self.reader.join(PATIENCE)

    def close(self):
        """Its own end, in good order, once all requests are answered."""
        with self.lock:
            if not self.process.stdin.closed:
                try:
                    self.process.stdin.close()
                except BrokenPipeError:
                    pass
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.close()
        else:
            self.kill()


class PackageNode(Node):
    def __init__(self, folder, url, name, polling_ms=100, timeout_ms=3000):
        super().__init__(name, [shutil.which("node"), "driver.mjs", "serve", "--url", url, "--node", name,
                                "--polling", str(polling_ms), "--timeout", str(timeout_ms)],
                         {"LOG_LEVEL": "silent"}, cwd=folder)

    @staticmethod
    def line(number, duty, message_hash, sign_ms, fail):
        slot, kind, index = duty
        return json.dumps({"id": number, "slot": slot, "dutyType": kind, "blockIndex": index, "messageHash": message_hash,
                           "signMs": sign_ms, "fail": fail})


class HoldfastNode(Node):
    def __init__(self, build, url, name, callers=64, **settings):
        environment = {"VALIDATOR_HA_SIGNING_ENABLED": "true", "VALIDATOR_HA_NODE_ID": name,
                       "VALIDATOR_HA_DATABASE_URL": url}
        environment.update({variable: str(value) for variable, value in settings.items()})
        super().__init__(name, [os.path.join(build, "bench", "bench_duty_node"), "serve", str(callers)], environment)

    @staticmethod
    def line(number, duty, message_hash, sign_ms, fail):
        slot, kind, index = duty
        return f"{number} {slot} {kind} {index} {message_hash} {sign_ms} {int(fail)}"
