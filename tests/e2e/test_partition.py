"""Two nodes in network namespaces of their own, one PostgreSQL, and a link that is cut under load: packets are dropped
and nobody is told. A checker has every signature that left either node: no two of them conflict, the cut node refuses
within a second, the other one goes on, and service returns without hands. Slashing protection and duty locks."""

import collections
import contextlib
import os
import random
import threading
import time

import evidence
import harness
import netns
import postgres
import pytest
from conftest import wait_for
from test_duty import DUTY, duty, make_keys
from test_store_postgres import PROMPT_SECONDS, Gate, judge

reason = postgres.missing() or netns.missing()
pytestmark = pytest.mark.skipif(reason is not None, reason=str(reason))

KEYS = 4
PROBES = 3
# The database probes a silent client for five seconds.
LET_GO_SECONDS = 20


class DutyClients:
    """Threads that ask for duties near a place that moves on, each with one of three messages, and keep what they get."""

    def __init__(self, signer, seed, count=3):
        self.signer = signer
        self.lock = threading.Lock()
        self.signatures = {}  # slot: {(mark, signature)}
        self.answers = collections.Counter()
        self.is_over = threading.Event()
        self.problem = None
        self.slot = 0
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
        while not self.is_over.is_set() and self.problem is None:
            self.slot += 1
            slot, mark = 1000 + self.slot // 3 + rng.randrange(-3, 3), rng.choice((0, 0, 1, 2))
            try:
                status, answer = self.signer.request("POST", DUTY, duty(slot, mark))
            except OSError as broken:
                self.problem = repr(broken)
                return
            with self.lock:
                self.answers[status] += 1
                if status == 200:
                    self.signatures.setdefault(slot, set()).add((mark, answer["signature"]))
                elif status not in (409, 412, 503) or "signature" in answer:
                    self.problem = answer

    def count(self, status):
        with self.lock:
            return self.answers[status]


class Node:
    def __init__(self, signers, place, url, folder, name):
        self.place = place
        keys = folder / f"{name}-keys"
        make_keys(keys)
        harness.write_private(folder / f"{name}-url", url + "\n")
        pubkeys = harness.make_keystores(str(folder / f"{name}-keystores"), KEYS)
        self.signer = signers(keys=0, config=(
            f"signing_keys:\n  - {{backend: web3signer, config_dir: {keys}}}\n"
            f"  - {{backend: local-keystore, keystore_dir: {folder}/{name}-keystores, password_file: {folder}/{name}-keystores.password}}\n"
            f"slashing_protection: {{backend: postgres, url_file: {folder}/{name}-url}}\n"
            f"duty_protection: {{node_id: {name}, url_file: {folder}/{name}-url, takeover_after_ms: 300}}\n"))
        self.signer.pubkeys = pubkeys
        with place.inside():
            self.signer.start()
            wait_for("duty locks", lambda: self.signer.status()["duties"].get("healthy"), harness.PATIENCE)

    def load(self, stack, seed):
        """Threads stay in the namespace where they were made."""
        with self.place.inside():
            self.votes = stack.enter_context(evidence.Clients(self.signer, evidence.World(self.signer.pubkeys), seed, count=3))
            self.duties = stack.enter_context(DutyClients(self.signer, seed))

    def gets(self, status, most=harness.PATIENCE, more=10):
        """So many more answers of both kinds."""
        for clients in (self.votes, self.duties):
            before = clients.count(status)
            wait_for(f"{more} more answers {status} of {type(clients).__name__}: {clients.answers}, {clients.problem}\n{self.signer.log()}",
                     lambda c=clients, b=before: c.count(status) >= b + more or c.problem, most)

    def refuses_promptly(self):
        """Nothing that could be slashed is signed; the middle one of some tries stands for all on a loaded machine."""
        took = {"vote": [], "duty": []}
        with self.place.inside():
            for number in range(PROBES):
                key, fresh = self.signer.pubkeys[number % KEYS], 10**6 + number
                for kind, ask in (("vote", lambda k=key, n=fresh: self.signer.attest(k, n, n + 1)),
                                  ("duty", lambda n=fresh: self.signer.request("POST", DUTY, duty(n, 1)))):
                    began = time.monotonic()
                    status, answer = ask()
                    took[kind].append(time.monotonic() - began)
                    assert status == 503 and "signature" not in answer, answer
            assert self.signer.get("/healthcheck")[0] == 503
        for kind, times in took.items():
            assert sorted(times)[PROBES // 2] < PROMPT_SECONDS, (kind, times)

    def is_well(self):
        with self.place.inside():
            wait_for("good health", lambda: self.signer.get("/healthcheck")[0] == 200, harness.PATIENCE)


def collect(nodes):
    """All that left them; of each duty one message, with one signature, wherever it came from."""
    votes, duties = {}, {}
    for node in nodes:
        assert node.votes.problem is None and node.duties.problem is None, (node.votes.problem, node.duties.problem)
        for message, signature in node.votes.snapshot().items():
            assert votes.setdefault(message, signature) == signature
        for slot, found in node.duties.signatures.items():
            duties.setdefault(slot, set()).update(found)
    twice = {slot: found for slot, found in duties.items() if len(found) != 1}
    assert not twice, f"SIGNED TWICE: {twice}"
    return votes, duties


@contextlib.contextmanager
def world():
    """A switch with two places, and a PostgreSQL on it, whose URL from there is given."""
    with netns.Switch(2) as switch, switch.inside(), postgres.Postgres(settings={"listen_addresses": "*"}) as server:
        with open(os.path.join(server.data, "pg_hba.conf"), "a", encoding="ascii") as rules:
            rules.write(f"host all all {netns.NETWORK}.0/24 scram-sha-256\n")
        server.psql("SELECT pg_reload_conf()")
        yield switch, server, server.url().replace("127.0.0.1", switch.address)


@pytest.mark.parametrize("how", ["cut", "cut_answers"])
def test_a_link_is_cut_under_load_and_healed(signers, tmp_path, how):
    """cut_answers: what the node sends still arrives and is recorded; it learns of nothing."""
    with world() as (switch, server, url):
        nodes = [Node(signers, place, url, tmp_path, f"node-{number}") for number, place in enumerate(switch.places)]
        with contextlib.ExitStack() as stack:
            for number, node in enumerate(nodes):
                node.load(stack, number)
            far, near = nodes if how == "cut" else nodes[::-1]
            far.gets(200)
            getattr(far.place, how)()
            far.gets(503, more=3)
            far.refuses_promptly()
            near.gets(200, more=30)
            far.place.heal()
            far.is_well()
            far.gets(200)
            near.gets(200)
        votes, duties = collect(nodes)
        assert len(votes) > 100 and len(duties) > 50
        with nodes[0].place.inside():
            judge(nodes[0].signer, votes)
        rows = server.psql("SELECT slot || ' ' || signature FROM validator_duties WHERE status = 'signed'", "holdfast").splitlines()
        assert {f"{slot} {signature}" for slot, found in duties.items() for _, signature in found} <= set(rows)
        for node in nodes:
            node.signer.stop()


class HalfGate(Gate):
    """Armed, it passes on a batch up to its COMMIT, as when the link breaks between two packets."""

    cut_after_half = None  # called when the first half has passed

    def _pass_on(self, chunk, target):
        at = chunk.find(b"\0commit\0") if self.cut_after_half else -1
        target.sendall(chunk if at < 0 else chunk[:at])
        if at >= 0:
            cut, self.cut_after_half = self.cut_after_half, None
            cut()


def test_a_batch_that_arrived_in_half_locks_nobody_out(signers, tmp_path):
    """Its locks are held by a session whose client is beyond the cut: the database lets go of it soon, not in two hours."""
    with world() as (switch, server, url):
        with switch.places[0].inside():
            gate = HalfGate(server.port, switch.address)
        far = Node(signers, switch.places[0], url.replace(f"{switch.address}:{server.port}", f"127.0.0.1:{gate.port}"), tmp_path, "far")
        near = Node(signers, switch.places[1], url, tmp_path, "near")
        pubkey = far.signer.pubkeys[0]
        with far.place.inside():
            assert far.signer.attest(pubkey, 1, 2)[0] == 200
            is_cut = threading.Event()
            gate.cut_after_half = lambda: (far.place.cut(), is_cut.set())
            assert far.signer.attest(pubkey, 2, 3)[0] == 503 and is_cut.is_set()
        with near.place.inside():
            wait_for("the lock", lambda: near.signer.attest(pubkey, 2, 3, mark=1)[0] == 200, LET_GO_SECONDS)
        far.place.heal()
        for node in (far, near):
            node.signer.stop()
