"""Signers that record in one PostgreSQL: what they refuse together, and every way in which the database, the way
to it, or the process that speaks to it goes away. Refusals come within a second, nothing is signed
without a record, and service returns without hands."""

import collections
import concurrent.futures
import contextlib
import json
import os
import re
import signal
import socket
import threading
import time

import evidence
import harness
import postgres
import pytest
from conftest import wait_for

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))

# A request waits for the database at most 0.8 s (timeout_ms and a margin); the rest is a loaded machine's.
PROMPT_SECONDS = 1.0 if not harness.SANITIZED else 5.0
EPOCH = 100


class Gate:
    """A way to the database that can be closed: bytes are kept and nobody is told (a partition). Or only the way back;
    or it is a long one."""

    def __init__(self, port, host="127.0.0.1", seconds=0):
        self.target = (host, port)
        self.seconds = seconds
        self.answers_pass = threading.Event()
        self.answers_pass.set()
        self.is_open = threading.Event()
        self.is_open.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near = self.listener.accept()[0]
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near):
        self.is_open.wait()
        with contextlib.suppress(OSError):
            far = socket.create_connection(self.target)
            self.sockets += [near, far]
            threading.Thread(target=self._pump, args=(near, far), daemon=True).start()
            self._pump(far, near, self.answers_pass)

    def _pump(self, source, target, may_pass=None):
        with contextlib.suppress(OSError):
            while chunk := source.recv(1 << 20):
                self.is_open.wait()
                if may_pass is not None:
                    time.sleep(self.seconds)
                    may_pass.wait()
                self._pass_on(chunk, target)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _pass_on(self, chunk, target):
        target.sendall(chunk)

    def cut(self):
        """Every connection, as a firewall that forgot them and says so."""
        for end in self.sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.is_open.set()
        self.answers_pass.set()
        self.listener.close()
        self.cut()


@pytest.fixture(name="server", scope="module")
def running_server():
    with postgres.Postgres() as server:
        yield server


@pytest.fixture(name="url")
def new_database(server):
    new_database.count = getattr(new_database, "count", 0) + 1
    if server.process is None:
        server.start()
    server.thaw()
    return server.create_database(f"holdfast_{new_database.count}")


def on(signers, tmp_path, url, more="", **options):
    """A signer that records there; it is not started yet."""
    path = tmp_path / f"url-{len(list(tmp_path.iterdir()))}"
    harness.write_private(path, url + "\n")
    return signers(config=f"slashing_protection: {{backend: postgres, url_file: {path}{more}}}\n", **options)


class Node:
    """A running signer and what it signed."""

    def __init__(self, signer):
        self.signer = signer
        self.epoch = EPOCH
        self.signed = {}

    def ask(self, body, key=0):
        pubkey = self.signer.pubkeys[key]
        started = time.monotonic()
        status, answer = self.signer.sign(pubkey, body, headers={"Accept": "application/json"})
        self.took = time.monotonic() - started
        assert ("signature" in answer) == (status == 200), answer
        if status == 200:
            self.signed[evidence.message_of(pubkey, body)] = answer["signature"]
        return status, answer.get("code")

    def sign_next(self, key=0):
        self.epoch += 1
        return self.ask(harness.attestation(self.epoch - 1, self.epoch), key)

    def metric(self, name):
        return float(re.search(rf"^holdfast_{name}(?:{{.*}})? (\S+)$", self.signer.metrics(), re.M).group(1))

    def is_ill(self, *words):
        """Refuses promptly, and says so in every place."""
        for key in (0, 1, 0):
            assert self.sign_next(key) == (503, "STORE_UNAVAILABLE")
            assert self.took < PROMPT_SECONDS, f"{self.took} s"
        assert self.signer.get("/healthcheck")[0] == 503
        told = self.signer.status()
        assert told["state"] == "store_unavailable" and not told["store"]["healthy"]
        assert not words or any(word in told["store"]["detail"] for word in words), told["store"]["detail"]
        assert self.metric("store_healthy") == 0
        assert self.signer.sign(self.signer.pubkeys[0], {
            "type": "RANDAO_REVEAL", "fork_info": harness.fork_info(), "randao_reveal": {"epoch": str(self.epoch)}})[0] == 200

    def recovers(self):
        wait_for("good health", lambda: self.signer.get("/healthcheck")[0] == 200, harness.PATIENCE)
        assert self.sign_next() == (200, None)
        assert self.sign_next(1) == (200, None)
        self.judge()

    def judge(self):
        judge(self.signer, self.signed)


def judge(signer, signed):
    """Everything signed is on record, nothing contradicts anything, and each signature is real."""
    conflict = evidence.slashable_pair(signed)
    assert conflict is None, f"SLASHABLE: {conflict}"
    result = harness.run("slashing", "export", "-c", signer.config_path)
    assert result.returncode == 0, result.stderr + signer.log()
    records = evidence.interchange(json.loads(result.stdout))
    missing = [message for message in signed if message not in records]
    assert not missing, f"signed and not on record: {missing[:3]}"
    evidence.verify_signatures(signed, 50)


@pytest.fixture(name="node")
def running_node(signers, tmp_path, url):
    node = Node(on(signers, tmp_path, url).start())
    assert node.sign_next() == (200, None)
    return node


# ---- together


def test_what_one_signed_the_other_refuses_to_contradict(signers, tmp_path, url):
    one, other = (Node(on(signers, tmp_path, url).start()) for _ in range(2))
    vote, block = harness.attestation(3, 4), harness.block(99)
    assert one.ask(vote) == (200, None) and one.ask(block) == (200, None)
    assert other.ask(harness.attestation(3, 4, mark=1)) == (412, "DOUBLE_VOTE")
    assert one.ask(harness.attestation(6, 7)) == (200, None)
    assert other.ask(harness.attestation(5, 8)) == (412, "SURROUNDING_VOTE")
    assert other.ask(harness.block(99, mark=1)) == (412, "DOUBLE_BLOCK")
    assert other.ask(vote) == (200, None) and other.ask(block) == (200, None)
    assert set(other.signed) < set(one.signed)
    assert one.signer.status()["store"]["backend"] == "postgres"
    assert "holdfast_store_info{backend=\"postgres\"} 1" in one.signer.metrics()
    assert {p["name"]: p["state"] for p in one.signer.status()["protections"]["store"]}["no_dump"] in ("on", "off")
    # Watermarks and pruning of one hold for both; a running signer is asked, a stopped one's database opened.
    for stopped in (False, True):
        if stopped:
            one.signer.stop()
        told = harness.run("slashing", "status", "-c", one.signer.config_path, "--json")
        assert told.returncode == 0 and '"attestations":2' in told.stdout, told
        assert harness.run("slashing", "prune", "-c", one.signer.config_path).returncode == 0
    other.judge()


def test_a_disabled_validator_is_enabled_again(signers, tmp_path, url, server):
    """As Web3Signer leaves a validator whose key was deleted there."""
    signer = on(signers, tmp_path, url).start()
    key = signer.pubkeys[0]

    def enable(pubkey):
        done = harness.run("db", "enable", pubkey, "--database-url", url)
        return done.returncode, done.stdout + done.stderr

    assert signer.attest(key, 1, 2)[0] == 200
    server.psql("UPDATE validators SET enabled = false", url.rpartition("/")[2])
    status, answer = signer.attest(key, 2, 3)
    assert (status, answer["code"]) == (412, "DISABLED")
    assert enable(key) == (0, "enabled: it may sign again\n")
    assert signer.attest(key, 2, 3)[0] == 200
    assert signer.attest(key, 2, 3, mark=1)[1]["code"] == "DOUBLE_VOTE"
    assert enable(key) == (0, "it was not disabled\n")
    assert enable("0x" + "ab" * 48) == (1, "holdfast: the database knows no such validator\n")
    assert enable("0x1234") == (2, "holdfast: a public key is 48 bytes in hex\n")


def test_no_password_in_any_place(signers, tmp_path, url):
    signer = on(signers, tmp_path, url).start()
    shown = harness.run("check", "-c", signer.config_path, "--show").stdout
    assert "backend: postgres" in shown and "url_file" in shown
    places = [shown, signer.log(), str(signer.status()), signer.metrics()]
    for pid in signer.descendants():
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}", "rb") as text:
                places.append(text.read().decode(errors="replace"))
    assert not any(postgres.PASSWORD in place for place in places)
    # The keeper reaches no network.
    with open(f"/proc/{signer.pids('keeper')[0]}/maps", encoding="utf-8") as maps:
        assert "libpq" not in maps.read()
    with open(f"/proc/{signer.pids('store')[0]}/maps", encoding="utf-8") as maps:
        assert "libpq" in maps.read()


# ---- away


def test_killed_stopped_silent_and_back(node, server):
    server.kill()
    node.is_ill()
    server.start()
    node.recovers()


    server.stop()
    node.is_ill()
    server.start()
    node.recovers()
    # SIGSTOP: connections stay, and nobody answers.
    server.freeze()
    try:
        node.is_ill()
    finally:
        server.thaw()
    node.recovers()


@pytest.mark.parametrize("how", ["partition", "cut"])
def test_the_way_there(signers, tmp_path, url, server, how):
    gate = Gate(server.port)
    try:
        node = Node(on(signers, tmp_path, url.replace(f":{server.port}/", f":{gate.port}/")).start())
        assert node.sign_next() == (200, None)
        if how == "cut":
            gate.cut()
            wait_for("an answer", lambda: node.sign_next()[0] == 200, 5)
        else:
            gate.is_open.clear()
            node.is_ill()
            gate.is_open.set()
        node.recovers()
    finally:
        gate.close()


def test_starts_before_its_database(signers, tmp_path, server, url):
    server.stop()
    signer = on(signers, tmp_path, url)
    signer.start(wait=False)
    signer.wait_ready()
    node = Node(signer)
    wait_for("keys", lambda: len(signer.get("/api/v1/eth2/publicKeys")[1]) == len(signer.pubkeys), harness.PATIENCE)
    node.is_ill()
    server.start()
    node.recovers()


def test_a_wrong_password_says_so(signers, tmp_path, server, url):
    """It may refuse to start or wait to be put right; it signs nothing and never shows the password."""
    signer = on(signers, tmp_path, url.replace(postgres.PASSWORD, "another-password"))
    signer.start(wait=False)
    wait_for("a start or a refusal", lambda: signer.process.poll() is not None or signer.has_logged("ready"), harness.PATIENCE)
    if signer.process.poll() is not None:
        assert signer.wait_exit() in (1, 2)
        assert "password" in signer.log()
    else:
        signer.wait_ready()
        wait_for("keys", lambda: len(signer.get("/api/v1/eth2/publicKeys")[1]) == len(signer.pubkeys), harness.PATIENCE)
        Node(signer).is_ill("password", "authentication")
    assert "another-password" not in signer.log()


@pytest.mark.parametrize("text, words", [("postgresql://[::1/holdfast", "URL"), ("no=such option", "")])
def test_a_malformed_url_refuses_the_start(signers, tmp_path, text, words):
    signer = on(signers, tmp_path, text)
    signer.start(wait=False)
    assert signer.wait_exit() in (1, 2), signer.log()
    assert signer.has_logged("start_refused", words) or signer.has_logged("start_failed", words), signer.log()


# ---- the process between


def test_the_store_process_is_replaced(node):
    for _ in range(3):
        pid = node.signer.pids("store")[0]
        os.kill(pid, signal.SIGKILL)
        wait_for("another", lambda pid=pid: node.signer.pids("store") not in ([], [pid]), 5)
        wait_for("an answer", lambda: node.sign_next()[0] == 200, 5)
        assert node.took < PROMPT_SECONDS
    assert node.signer.has_logged("store_died", "was killed by signal 9")
    assert node.metric("store_starts_total") == 4
    node.recovers()


def test_a_silent_store_process(node):
    """Its late answers count for nothing; what they recorded is found again."""
    pid = node.signer.pids("store")[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        node.is_ill("has not answered")
    finally:
        os.kill(pid, signal.SIGCONT)
    node.recovers()
    assert node.signer.pids("store") == [pid]


def test_a_store_process_that_hangs_is_replaced(node):
    pid = node.signer.pids("store")[0]
    os.kill(pid, signal.SIGSTOP)
    wait_for("another", lambda: node.signer.pids("store") not in ([], [pid]), 30)
    assert node.signer.has_logged("child_hung", f"the store (pid {pid})")
    wait_for("an answer", lambda: node.sign_next()[0] == 200, 10)
    node.recovers()


# ---- far away


@pytest.fixture(name="far_url")
def long_way_to_the_database(server, url):
    with contextlib.closing(Gate(server.port, seconds=0.02)) as gate:
        yield Far(url.replace(f":{server.port}/", f":{gate.port}/"), gate)


Far = collections.namedtuple("Far", "url gate")


def test_a_batch_does_not_wait_for_the_answer_to_the_last(signers, tmp_path, url, server, far_url):
    """Two votes are on record before anybody hears of either; then both are answered."""
    def recorded():
        return int(server.psql("SELECT count(*) FROM signed_attestations", database=url.rsplit("/", 1)[1]))

    node = Node(on(signers, tmp_path, far_url.url, more=", timeout_ms: 5000").start())
    assert node.sign_next() == (200, None) and node.sign_next(1) == (200, None)
    for _ in range(10):
        time.sleep(2.2)  # so often that it knows how far away the database is: two looks, a second apart
        before = recorded()
        far_url.gate.answers_pass.clear()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            calls = []
            for key in (0, 1):  # a look at the database may be under way, and keep the first one waiting: another round
                calls.append(pool.submit(node.sign_next, key))
                with contextlib.suppress(AssertionError):
                    wait_for("a record", lambda key=key: recorded() > before + key, 1)
            both = recorded() == before + 2
            far_url.gate.answers_pass.set()
            answers = [call.result() for call in calls]
        if both and answers == [(200, None)] * 2:
            break
    else:
        pytest.fail("the second vote always waited for the answer to the first")
    node.judge()


# ---- under load


def test_killed_under_load(signers, tmp_path, url, far_url, server):
    """Two nodes, one of them far from the database, clients that ask both for messages that often collide; database and
    store process are killed meanwhile.
    Every signature received is on record, and no two of them conflict."""
    nodes = [on(signers, tmp_path, way).start() for way in (url, far_url.url)]
    assert nodes[0].pubkeys == nodes[1].pubkeys
    world = evidence.World(nodes[0].pubkeys)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(evidence.Clients(node, world, seed=i, count=3)) for i, node in enumerate(nodes)]
        for _ in range(2):
            signed = sum(client.count(200) for client in clients)
            wait_for("signatures", lambda signed=signed: sum(c.count(200) for c in clients) > signed + 40, harness.PATIENCE)
            server.kill()
            time.sleep(0.3)
            server.start()
            for node in nodes:
                wait_for("good health", lambda node=node: node.get("/healthcheck")[0] == 200, harness.PATIENCE)
                os.kill(node.pids("store")[0], signal.SIGKILL)
        for client in clients:
            signed = client.count(200)
            wait_for("signatures", lambda client=client, signed=signed: client.count(200) > signed + 20, harness.PATIENCE)
    received = {}
    for client in clients:
        assert client.problem is None, client.problem
        for message, signature in client.snapshot().items():
            assert received.setdefault(message, signature) == signature
    assert sum(client.count(503) for client in clients) > 0 and len(received) > 100
    assert max(client.slowest for client in clients) < 5 * PROMPT_SECONDS
    judge(nodes[0], received)
