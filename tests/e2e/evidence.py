"""What clients hold in their hands after a signer was treated badly, and whether any of it could slash.

Clients ask for random, partly conflicting attestations and blocks and keep each signature they get, with
its message. The judgement uses nothing of the signer: roots, rules and look-ups are written here after
the specifications (consensus-specs phase0 beacon-chain.md, EIP-3076).
"""

import collections
import hashlib
import http.client
import json
import os
import random
import sqlite3
import subprocess
import threading
import time

import harness

ATTESTER, PROPOSER = b"\x01\0\0\0", b"\0\0\0\0"

Vote = collections.namedtuple("Vote", "pubkey source target root")
Proposal = collections.namedtuple("Proposal", "pubkey slot root")


# ---- roots


def pair(left, right):
    return hashlib.sha256(left + right).digest()


def merkleize(chunks):
    size = 1
    while size < len(chunks):
        size *= 2
    chunks = chunks + [bytes(32)] * (size - len(chunks))
    while len(chunks) > 1:
        chunks = [pair(chunks[i], chunks[i + 1]) for i in range(0, len(chunks), 2)]
    return chunks[0]


def unhex(text):
    return bytes.fromhex(text.removeprefix("0x"))


def number(text):
    return int(text).to_bytes(8, "little").ljust(32, b"\0")


def in_domain(object_root, kind, fork_info, epoch):
    fork = fork_info["fork"]
    version = unhex(fork["previous_version" if epoch < int(fork["epoch"]) else "current_version"])
    return pair(object_root, kind + pair(version.ljust(32, b"\0"), unhex(fork_info["genesis_validators_root"]))[:28])


def message_of(pubkey, body):
    """The slashable message that a request body asks to sign."""
    if body["type"] == "ATTESTATION":
        data = body["attestation"]
        checkpoints = [pair(number(data[end]["epoch"]), unhex(data[end]["root"])) for end in ("source", "target")]
        root = merkleize([number(data["slot"]), number(data["index"]), unhex(data["beacon_block_root"]), *checkpoints])
        source, target = int(data["source"]["epoch"]), int(data["target"]["epoch"])
        return Vote(unhex(pubkey), source, target, in_domain(root, ATTESTER, body["fork_info"], target))
    header = body["beacon_block"]["block_header"]
    root = merkleize([number(header["slot"]), number(header["proposer_index"])]
                     + [unhex(header[name]) for name in ("parent_root", "state_root", "body_root")])
    slot = int(header["slot"])
    return Proposal(unhex(pubkey), slot, in_domain(root, PROPOSER, body["fork_info"], slot // 32))


# ---- rules


def slashable_pair(messages):
    """Two messages that are slashable together, or None (is_slashable_attestation_data; two blocks of a slot)."""
    votes, first = {}, {}
    for message in set(messages):
        place = message[:2] if isinstance(message, Proposal) else (message.pubkey, "target", message.target)
        if first.setdefault(place, message) != message:
            return first[place], message
        if isinstance(message, Vote):
            votes.setdefault(message.pubkey, []).append(message)
    for mine in votes.values():
        mine.sort(key=lambda vote: (vote.source, -vote.target))
        widest = None  # of the votes with a lower source: the one that reaches furthest
        pending = []
        for vote in mine:
            if pending and pending[0].source < vote.source:
                widest = max(pending + ([widest] if widest else []), key=lambda v: v.target)
                pending = []
            if widest and vote.target < widest.target:
                return widest, vote
            pending.append(vote)
    return None


# ---- records


def database(path):
    """(all messages on record, {pubkey: (floor slot, floor source, floor target)}), read without the signer."""
    store = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        found = {Vote(*row) for row in store.execute(
            "SELECT pubkey, source_epoch, target_epoch, signing_root FROM attestations JOIN validators"
            " ON validators.id = validator_id")}
        found |= {Proposal(*row) for row in store.execute(
            "SELECT pubkey, slot, signing_root FROM blocks JOIN validators ON validators.id = validator_id")}
        floors = {row[0]: row[1:] for row in store.execute(
            "SELECT pubkey, floor_slot, floor_source, floor_target FROM validators")}
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return found, floors
    finally:
        store.close()


def interchange(document):
    """The messages of an EIP-3076 document, those without root left out."""
    found = set()
    for entry in document["data"]:
        pubkey = unhex(entry["pubkey"])
        found |= {Vote(pubkey, int(a["source_epoch"]), int(a["target_epoch"]), unhex(a["signing_root"]))
                  for a in entry["signed_attestations"] if "signing_root" in a}
        found |= {Proposal(pubkey, int(b["slot"]), unhex(b["signing_root"]))
                  for b in entry["signed_blocks"] if "signing_root" in b}
    return found


def is_covered(message, floors):
    """Pruned into a floor: nothing at or below it is ever signed anew."""
    slot, source, target = floors.get(message.pubkey, (None, None, None))
    if isinstance(message, Proposal):
        return slot is not None and message.slot <= slot
    return target is not None and message.target <= target and message.source <= source


# ---- clients


class World:
    """Random request bodies that collide often, around a place that moves on with each client's requests."""

    def __init__(self, pubkeys, first_epoch=1000, pace=10):
        self.pubkeys = pubkeys
        self.first_epoch = first_epoch
        self.pace = pace

    def request(self, rng, count):
        pubkey = rng.choice(self.pubkeys)
        mark = rng.choice((0, 0, 1, 2))
        if rng.random() < 0.6:
            target = self.first_epoch + count // self.pace + rng.randrange(-4, 3)
            source = target - rng.choice((0, 1, 1, 1, 1, 1, 2, 2, 3, 6))
            return pubkey, harness.attestation(source, target, mark)
        slot = 32 * self.first_epoch + count // (self.pace // 2) + rng.randrange(-6, 4)
        return pubkey, harness.block(slot, mark)


class Clients:
    """Threads that ask without pause until they are stopped, and keep what they are given."""

    def __init__(self, signer, world, seed, count=6, patience=15.0):
        self.signer = signer
        self.world = world
        self.patience = patience
        self.lock = threading.Lock()
        self.evidence = {}  # message: signature
        self.answers = collections.Counter()  # (status, code)
        self.lost = 0  # requests whose connection broke
        self.slowest = 0.0
        self.problem = None
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self._client, args=(random.Random(f"{seed}/{i}"),), daemon=True)
                        for i in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        for thread in self.threads:
            thread.join(60)

    def _client(self, rng):
        connection = None
        count = 0
        while not self.is_over.is_set() and self.problem is None:
            port = self.signer.port
            if port is None:  # it is being restarted: who listens there now is none of our business
                time.sleep(0.005)
                continue
            count += 1
            pubkey, body = self.world.request(rng, count)
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=self.patience)
                self._ask(connection, pubkey, body)
            except TimeoutError:
                self.problem = f"no answer within {self.patience} s to {body}"
            except (OSError, http.client.HTTPException):
                connection.close()
                connection = None
                with self.lock:
                    self.lost += 1
                time.sleep(0.005)

    def ask_once(self, pubkey, body):
        """Over a connection of its own; the status of the answer, None when there was none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.signer.port, timeout=self.patience)
        try:
            return self._ask(connection, pubkey, body)
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _ask(self, connection, pubkey, body):
        started = time.monotonic()
        connection.request("POST", f"/api/v1/eth2/sign/{pubkey}", json.dumps(body),
                           {"Content-Type": "application/json", "Accept": "application/json"})
        answer = connection.getresponse()
        document = json.loads(answer.read())
        with self.lock:
            self.slowest = max(self.slowest, time.monotonic() - started)
            self.answers[answer.status, document.get("code")] += 1
            if answer.status != 200:
                if "signature" in document:
                    self.problem = f"a refusal with a signature: {document}"
                return answer.status
            message = message_of(pubkey, body)
            if self.evidence.setdefault(message, document["signature"]) != document["signature"]:
                self.problem = f"two signatures for one message: {message}"
            return answer.status

    def snapshot(self):
        with self.lock:
            return dict(self.evidence)

    def count(self, status):
        with self.lock:
            return sum(n for (answer, _), n in self.answers.items() if answer == status)


# ---- the judgement


def verify_signatures(evidence, most=400):
    """Each belongs to the message it was given for (a sample of them), by a verifier without keys."""
    chosen = sorted(evidence.items(), key=lambda item: item[1])[:most]
    lines = "".join(f"{message.pubkey.hex()} {message.root.hex()} {signature.removeprefix('0x')}\n"
                    for message, signature in chosen)
    run = subprocess.run([os.path.join(harness.BUILD, "tests", "fault", "verify_signatures")], input=lines, text=True,
                         capture_output=True, timeout=harness.PATIENCE * 4, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def judge(evidence, path, exported=None):
    """Everything signed is on record, in the file and in the export, and nothing contradicts anything."""
    conflict = slashable_pair(evidence)
    assert conflict is None, f"SLASHABLE: {conflict}"
    records, floors = database(path)
    conflict = slashable_pair(records)
    assert conflict is None, f"slashable on record: {conflict}"
    for message in evidence:
        assert message in records or is_covered(message, floors), f"signed and not on record: {message}"
        if exported is not None:
            assert message in exported or is_covered(message, floors), f"signed and not exported: {message}"
