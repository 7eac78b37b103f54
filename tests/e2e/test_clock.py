"""Clocks that step, of the database and of each node: years forward, days back, under load (tests/fault/stepped_clock.c; monotonic
clocks are left alone, as a real step leaves them). No duty and no vote is signed twice, whatever is cleaned meanwhile."""

import collections
import contextlib
import hashlib
import json
import os
import random
import struct
import sys

import evidence
import harness
import postgres
import pytest
from conftest import wait_for
from test_store_postgres import judge, on

sys.path.insert(0, os.path.join(harness.ROOT, "tests", "peers"))
import duty_nodes  # noqa: E402  pylint: disable=wrong-import-position

LIBRARY = os.path.join(harness.BUILD, "tests", "fault", "libstepped_clock.so")
reason = postgres.missing()
pytestmark = [pytest.mark.skipif(reason is not None, reason=str(reason)),
              pytest.mark.skipif(harness.SANITIZED, reason="the preloaded clock would stand before the sanitizers' runtime")]

HOUR, DAY, YEAR = 3600, 86400, 365 * 86400
STEPS = (-YEAR, -DAY, -2 * HOUR, -3, 0, 3, 2 * HOUR, 3 * HOUR, DAY, YEAR)
ROUNDS = 14
DUTIES = 16
PROGRAMS = ("keeper", "front", "loader", "store", "duty")


class Clock:
    """The wall clock of whatever runs in its environment."""

    def __init__(self, path):
        self.path = str(path)
        self.offset = self.furthest = 0
        self.environment = {"LD_PRELOAD": LIBRARY, "HF_TEST_CLOCK": self.path}
        with open(self.path, "wb") as out:
            out.write(bytes(8))
        os.chmod(self.path, 0o644)

    def set(self, offset):
        self.offset = offset
        self.furthest = max(self.furthest, offset)
        with open(self.path, "r+b", buffering=0) as out:
            out.write(struct.pack("=q", offset))

    def step(self, rng):
        self.set(self.offset + rng.choice(STEPS))

    def outrun(self):
        """Beyond all that it ever showed: every row is old now."""
        self.set(self.furthest + YEAR)


@pytest.fixture(name="server")
def server_with_a_clock():
    with postgres.Postgres(fsync=False) as server:
        server.stop()
        server.clock = Clock(os.path.join(server.folder, "clock"))
        server.environment = server.clock.environment
        server.start()
        server.clock.set(DAY * 1000)
        here, there = (int(float(server.psql("SELECT extract(epoch FROM now())"))) for _ in range(2))
        server.clock.set(0)
        assert there - int(float(server.psql("SELECT extract(epoch FROM now())"))) > DAY * 999 and here <= there
        yield server


def seed():
    chosen = os.environ.get("HF_SEED") or str(random.SystemRandom().randrange(1 << 32))
    print(f"HF_SEED={chosen}")
    return random.Random(int(chosen))


class Duties:
    """Every signature that left a node, by duty."""

    def __init__(self, rng):
        self.rng = rng
        self.left = collections.defaultdict(set)
        self.kinds = collections.Counter()

    def ask(self, nodes, slots, marks=(0, 0, 1)):
        calls = []
        for slot in slots:
            for node in nodes:
                duty = (slot, duty_nodes.TYPES[slot % len(duty_nodes.TYPES)], 0 if slot % len(duty_nodes.TYPES) == 0 else -1)
                asked = "0x" + hashlib.sha256(repr((duty, self.rng.choice(marks))).encode()).hexdigest()
                calls.append((duty, asked, node.begin(duty, asked, sign_ms=self.rng.randrange(5))))
        for duty, asked, call in calls:
            answer = call.result()
            self.kinds[answer.kind] += 1
            if answer.kind in ("SIGNED", "STORED"):
                self.left[duty].add((asked, answer.signature))
                assert len(self.left[duty]) == 1, f"SIGNED TWICE: {duty}: {self.left[duty]}"


def test_duties_and_their_cleanup(server, tmp_path):
    """The cleanup goes by the database's clock: too early when that steps. What it took away is never signed again."""
    rng = seed()
    clocks = [Clock(tmp_path / name) for name in ("one", "two")]
    settings = {"HOLDFAST_DUTY_CLEANUP_INTERVAL_MS": 30, "VALIDATOR_HA_MAX_STUCK_DUTIES_AGE_MS": 1000,
                "VALIDATOR_HA_OLD_DUTIES_MAX_AGE_H": 1, "HOLDFAST_DUTY_TAKEOVER_AFTER_MS": 50}
    duties = Duties(rng)
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(duty_nodes.HoldfastNode(harness.BUILD, server.url(), f"node-{number}", **settings, **clock.environment))
                 for number, clock in enumerate(clocks)]
        for number in range(ROUNDS):
            fresh = list(range(number * DUTIES, (number + 1) * DUTIES))
            duties.ask(nodes, fresh)
            for clock in (server.clock, *clocks):
                clock.step(rng)
            if number % 4 == 3:
                server.clock.outrun()
            # What was signed or cleaned before: the same message, and others.
            duties.ask(nodes, rng.sample(range(fresh[-1] + 1), min(fresh[-1] + 1, 2 * DUTIES)), marks=(0, 1, 2))
        server.clock.outrun()
        duties.ask(nodes, [ROUNDS * DUTIES + number for number in range(2 * len(duty_nodes.TYPES))])

        def cleaned():
            left = int(server.psql("SELECT count(*) FROM validator_duties", "holdfast"))
            return left < len(duties.left) // 2
        wait_for("old duties are cleaned", cleaned, harness.PATIENCE)
        duties.ask(nodes, range(ROUNDS * DUTIES), marks=(0, 1, 2))
    assert int(server.psql("SELECT count(*) FROM holdfast_duty_watermarks", "holdfast")) > 0
    assert len(duties.left) >= ROUNDS * DUTIES // 2
    assert all(duties.kinds[kind] > 0 for kind in ("SIGNED", "STORED", "CONFLICT", "EXPIRED")), duties.kinds


def with_clock(folder, clock):
    """The signer's programs, in an environment where the time is what the clock says; the supervisor hands none on."""
    folder.mkdir()
    for name in PROGRAMS:
        path = folder / f"holdfast-{name}"
        variables = " ".join(f"{key}={value}" for key, value in clock.environment.items())
        path.write_text(f"#!/bin/sh\n{variables} exec {harness.BUILD}/holdfast-{name} \"$@\"\n", encoding="ascii")
        path.chmod(0o755)
    program = folder / "holdfast"
    program.write_bytes(open(harness.HOLDFAST, "rb").read())
    program.chmod(0o755)
    return str(program)


def test_slashing_protection(signers, tmp_path, server):
    """Two signers whose clocks and whose database's step by up to a year while clients ask for what conflicts."""
    rng = seed()
    clocks = [Clock(tmp_path / name) for name in ("one", "two")]
    nodes = []
    for number, clock in enumerate(clocks):
        node = on(signers, tmp_path, server.url(), program=with_clock(tmp_path / f"programs-{number}", clock))
        nodes.append(node.start())
    with contextlib.ExitStack() as stack:
        world = evidence.World(nodes[0].pubkeys)
        clients = [stack.enter_context(evidence.Clients(node, world, rng.random(), count=2)) for node in nodes]
        for _ in range(ROUNDS):
            before = [client.count(200) for client in clients]
            for clock in (server.clock, *clocks):
                clock.step(rng)
            for client, count in zip(clients, before):
                wait_for(f"signatures: {client.answers}", lambda c=client, n=count: c.problem or c.count(200) > n + 5, harness.PATIENCE)
    received = {}
    for client in clients:
        assert client.problem is None, client.problem
        for message, signature in client.snapshot().items():
            assert received.setdefault(message, signature) == signature
    assert len(received) > 5 * ROUNDS
    years = {line[:4] for node in nodes for line in node.log().splitlines()}
    judge(nodes[0], received)
    print(f"{len(received)} messages; the logs are of the years {sorted(years)}")


def test_tokens_that_expired_a_week_ago_are_dropped(signers, tmp_path):
    clock = Clock(tmp_path / "clock")
    signer = signers(keys=0, program=with_clock(tmp_path / "programs", clock), config="auth: {mode: tokens}\n"
                     "policies: {a: {rules: []}}\nslashing_protection: {start_guard: off}\n")
    signer.start(wait=False)
    signer.wait_until(lambda: signer.has_logged("keys_loaded"), "it answers")

    def create(*arguments):
        done = harness.run("token", "create", "--json", "--data-dir", signer.data_dir, *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    kept = create("--kind", "management")
    made = [create("--policy", "a", "--ttl", ttl)["accessor"] for ttl in ("1h", "2h", "3d")]
    signer.stop()
    clock.set(8 * DAY)
    signer.start(wait=False)
    signer.wait_until(lambda: signer.has_logged("tokens_dropped", "2 tokens"), "the two that expired more than a week ago")
    signer.wait_ready()
    status, body = signer.get("/api/v1/tokens", headers={"Authorization": f"Bearer {kept['token']}"})
    assert status == 200 and {one["accessor"] for one in body["tokens"]} == {kept["accessor"], made[2]}
