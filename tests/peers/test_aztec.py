"""Nodes of the npm package @aztec/validator-ha-signer and of Holdfast on one database: a duty is signed once."""

import collections
import hashlib
import os
import random
import signal
import threading

import duty_nodes
import harness
import npm
import postgres
import pytest

SAME, OTHER = "0x" + "5a" * 32, "0x" + "c3" * 32
DUTIES = int(os.environ.get("HF_DUTIES", "2000"))
AT_ONCE = 32


@pytest.fixture(name="folder", scope="module")
def package_folder():
    return npm.install("aztec")


@pytest.fixture(name="server", scope="module")
def database_server():
    reason = postgres.missing()
    if reason:
        pytest.skip(reason)
    with postgres.Postgres() as server:
        yield server


@pytest.fixture(name="url")
def migrated_by_the_package(server, folder, request):
    url = server.create_database(request.node.name.replace("[", "_").replace("]", "")[:60])
    done = npm.run(folder, "driver.mjs", "migrate", "--url", url, environment={"LOG_LEVEL": "silent"})
    assert done.returncode == 0, done.stderr
    return url


def holdfast(url, name, **settings):
    return duty_nodes.HoldfastNode(harness.BUILD, url, name, **settings)


def package(folder, url, name, **settings):
    return duty_nodes.PackageNode(folder, url, name, **settings)


def rows(server, url, where="true"):
    text = server.psql("SELECT slot, duty_type, block_index_within_checkpoint, status, message_hash, signature, node_id "
                       f"FROM validator_duties WHERE {where}", database=url.rpartition("/")[2])
    return [line.split("|") for line in text.splitlines()]


def message(*parts):
    return "0x" + hashlib.sha256(repr(parts).encode()).hexdigest()


# ---- one duty, one holder, one waiter


def test_the_signatures_are_the_same(folder, url):
    """For one message both make the very same signature, so that it does not matter who does."""
    with package(folder, url, "p1") as theirs, holdfast(url, "h1") as ours:
        assert theirs.address == ours.address
        for number, kind in enumerate(duty_nodes.TYPES):
            hers = theirs.ask((number, kind, number), SAME)
            mine = ours.ask((100 + number, kind, number), SAME)
            assert (hers.kind, mine.kind) == ("SIGNED", "SIGNED")
            assert hers.signature == mine.signature
            assert ours.ask((number, kind, number), SAME)[:3] == ("STORED", hers.signature, "p1")
            assert theirs.ask((100 + number, kind, number), SAME)[::2] == ("HELD", "h1")
            assert ours.ask((number, kind, number), OTHER)[::2] == ("CONFLICT", "p1")
            assert theirs.ask((100 + number, kind, number), OTHER)[::2] == ("CONFLICT", "h1")


def test_the_package_starts_on_tables_that_holdfast_made(folder, server):
    url = server.create_database("made_by_holdfast")
    with holdfast(url, "h1") as ours:
        assert ours.ask((1, "ATTESTATION", -1), SAME).kind == "SIGNED"
        again = npm.run(folder, "driver.mjs", "migrate", "--url", url, environment={"LOG_LEVEL": "silent"})
        assert (again.returncode, again.stdout.strip()) == (0, '{"applied":[]}'), again.stderr
        with package(folder, url, "p1") as theirs:
            assert theirs.ask((1, "ATTESTATION", -1), OTHER)[::2] == ("CONFLICT", "h1")
            assert theirs.ask((2, "ATTESTATION", -1), OTHER).kind == "SIGNED"


def test_the_package_holds_and_holdfast_waits(folder, url):
    with package(folder, url, "p1") as theirs, holdfast(url, "h1") as ours:
        duty = (7, "BLOCK_PROPOSAL", 3)
        held = theirs.begin(duty, SAME, sign_ms=600)
        assert held.signing.wait(duty_nodes.PATIENCE)
        waiting = ours.begin(duty, SAME)
        refused = ours.ask(duty, OTHER)
        assert refused[::2] == ("CONFLICT", "p1"), "other data is refused while the package still signs"
        assert held.result().kind == "SIGNED"
        assert waiting.result()[:3] == ("STORED", held.result().signature, "p1")


def test_holdfast_holds_and_the_package_waits(folder, url):
    with package(folder, url, "p1") as theirs, holdfast(url, "h1") as ours:
        for slot, asked, told in ((1, SAME, "HELD"), (2, OTHER, "CONFLICT")):
            duty = (slot, "CHECKPOINT_PROPOSAL", -1)
            held = ours.begin(duty, SAME, sign_ms=600)
            assert held.signing.wait(duty_nodes.PATIENCE)
            assert theirs.ask(duty, asked)[::2] == (told, "h1")
            assert held.result().kind == "SIGNED"


def test_a_failed_holder_frees_the_duty_for_the_other_kind(folder, url):
    with package(folder, url, "p1") as theirs, holdfast(url, "h1") as ours:
        for slot, holder, waiter in ((1, theirs, ours), (2, ours, theirs)):
            duty = (slot, "ATTESTATION", -1)
            held = holder.begin(duty, SAME, sign_ms=300, fail=True)
            assert held.signing.wait(duty_nodes.PATIENCE)
            waiting = waiter.begin(duty, SAME)
            assert held.result().kind in ("error", "SIGN_FAILED")
            assert waiting.result().kind == "SIGNED"


def test_a_killed_holder_is_taken_over_by_holdfast_alone(folder, url, server):
    """kill -9 of a holder of either kind: the package gives the duty up, Holdfast signs the same message in the slot."""
    with holdfast(url, "survivor") as survivor, package(folder, url, "p1", timeout_ms=700) as theirs:
        for slot, start in ((1, lambda: package(folder, url, "dies-p")), (2, lambda: holdfast(url, "dies-h"))):
            duty = (slot, "ATTESTATION", -1)
            holder = start()
            held = holder.begin(duty, SAME, sign_ms=60000)
            assert held.signing.wait(duty_nodes.PATIENCE)
            holder.kill()
            assert theirs.ask(duty, SAME)[::2] == ("HELD", "unknown (timeout)")
            assert survivor.ask(duty, OTHER).kind == "CONFLICT"
            taken = survivor.ask(duty, SAME)
            assert taken.kind == "SIGNED"
            assert theirs.ask(duty, SAME)[::2] == ("HELD", "survivor")
            assert rows(server, url, f"slot = {slot}") == [
                [str(slot), "ATTESTATION", "-1", "signed", SAME, taken.signature, "survivor"]]


@pytest.mark.parametrize("frozen_kind", ["package", "holdfast"])
def test_a_frozen_holder_comes_back_after_the_takeover(folder, url, server, frozen_kind):
    """Whoever was stopped in the middle of signing has the same message: nothing else ever leaves, or is recorded."""
    duty = (5, "ATTESTATION", -1)
    start = {"package": lambda: package(folder, url, "frozen"), "holdfast": lambda: holdfast(url, "frozen")}
    with start[frozen_kind]() as frozen, holdfast(url, "h1") as ours:
        held = frozen.begin(duty, SAME, sign_ms=200)
        assert held.signing.wait(duty_nodes.PATIENCE)
        frozen.signal(signal.SIGSTOP)
        taken = ours.ask(duty, SAME)
        assert taken.kind == "SIGNED"
        frozen.signal(signal.SIGCONT)
        late = held.result()
        assert late.kind in ("SIGNED", "STORED")
        assert late.kind == "STORED" or frozen_kind == "package"
        assert late.signature == taken.signature
        assert [row[3:] for row in rows(server, url)] == [["signed", SAME, taken.signature, "h1"]]


def test_a_takeover_that_fails_does_not_free_the_duty(folder, url):
    """The package's node, taken for dead, hands out its signature: no other message may get the duty meanwhile."""
    duty = (9, "ATTESTATION", -1)
    with package(folder, url, "frozen") as frozen, holdfast(url, "h1") as ours:
        held = frozen.begin(duty, SAME, sign_ms=200)
        assert held.signing.wait(duty_nodes.PATIENCE)
        frozen.signal(signal.SIGSTOP)
        assert ours.ask(duty, SAME, fail=True).kind == "SIGN_FAILED"
        assert ours.ask(duty, OTHER).kind == "CONFLICT"
        frozen.signal(signal.SIGCONT)
        assert held.result().kind == "SIGNED"
        assert ours.ask(duty, OTHER).kind == "CONFLICT"


# ---- thousands


class Contest:
    """Many duties, each asked of every node, and a record of every signature that left one."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.left = collections.defaultdict(list)  # duty: [(hash, kind, signature, node)]
        self.other = collections.Counter()

    def duties(self, count):
        for slot in range(1, count + 1):
            kind = self.random.choice(duty_nodes.TYPES)
            yield (slot, kind, self.random.randrange(4) if kind == "BLOCK_PROPOSAL" else -1)

    def play(self, node, duties, barrier=None, sign_ms=0):
        """All duties, AT_ONCE at a time and each such lot in an order of its own; the messages differ between nodes for
        every third duty. With a barrier all nodes begin each lot together."""
        own = random.Random(node.name + str(len(duties)))
        for start in range(0, len(duties), AT_ONCE):
            lot = duties[start:start + AT_ONCE]
            own.shuffle(lot)
            if barrier is not None:
                barrier.wait(duty_nodes.PATIENCE)
            calls = []
            for duty in lot:
                asked = message(duty, node.name if duty[0] % 3 == 0 else "shared")
                calls.append((duty, asked, node.begin(duty, asked, sign_ms=own.randint(0, sign_ms))))
            for call in calls:
                self.note(node.name, *call)

    def note(self, name, duty, asked, call):
        answer = call.result()
        with self.lock:
            if answer.kind in ("SIGNED", "STORED"):
                self.left[duty].append((asked, answer.kind, answer.signature, name))
            else:
                self.other[name, answer.kind] += 1

    def run(self, nodes, duties, **options):
        threads = [threading.Thread(target=self.play, args=(node, duties), kwargs=options) for node in nodes]
        for thread in threads:
            thread.start()
        return threads


def test_thousands_of_duties(folder, url, server):
    """Every duty is signed once, by one of four nodes of two kinds; who asks the same of Holdfast later gets that."""
    contest = Contest(harness_seed())
    duties = list(contest.duties(DUTIES))
    with package(folder, url, "p1", polling_ms=20) as p1, package(folder, url, "p2", polling_ms=20) as p2, \
            holdfast(url, "h1") as h1, holdfast(url, "h2") as h2:
        for thread in contest.run((p1, h1, p2, h2), duties, barrier=threading.Barrier(4), sign_ms=3):
            thread.join()
    recorded = {(int(slot), kind, int(index)): (status, asked, signature, node)
                for slot, kind, index, status, asked, signature, node in rows(server, url)}
    assert set(recorded) == set(contest.left) == set(duties)
    for duty in duties:
        made = [entry for entry in contest.left[duty] if entry[1] == "SIGNED"]
        assert len(made) == 1, (duty, contest.left[duty])
        assert {(asked, signature) for asked, _, signature, _ in contest.left[duty]} == {recorded[duty][1:3]}, duty
        assert (recorded[duty][0], recorded[duty][3]) == ("signed", made[0][3])
    winners = collections.Counter(entry[3] for entries in contest.left.values() for entry in entries if entry[1] == "SIGNED")
    print(f"signed by: {dict(winners)}; others: {dict(contest.other)}")
    assert {kind for _, kind in contest.other} <= {"HELD", "CONFLICT"}
    assert sum(winners[name] for name in ("h1", "h2")) > 0 and sum(winners[name] for name in ("p1", "p2")) > 0


def test_nodes_are_killed_under_contention(folder, url, server):
    """kill -9 of nodes of both kinds again and again: whatever left them, of one duty all is of one message."""
    contest = Contest(harness_seed())
    duties = list(contest.duties(DUTIES // 2))
    makers = {"p1": lambda: package(folder, url, "p1", polling_ms=20, timeout_ms=500),
              "h1": lambda: holdfast(url, "h1", HOLDFAST_DUTY_TAKEOVER_AFTER_MS=200)}
    chunk = len(duties) // 4
    with package(folder, url, "p2", polling_ms=20, timeout_ms=500) as p2, \
            holdfast(url, "h2", HOLDFAST_DUTY_TAKEOVER_AFTER_MS=200) as h2:
        for start in range(0, len(duties), chunk):
            doomed = [maker() for maker in makers.values()]
            threads = contest.run((*doomed, p2, h2), duties[start:start + chunk], sign_ms=60)
            threads[0].join(contest.random.uniform(0.05, 0.3))
            for node in doomed:
                node.kill()
            for thread in threads:
                thread.join()
        # All that was left behind by the dead can still be signed by Holdfast, with the message on record.
        stuck = rows(server, url, "status = 'signing'")
        for slot, kind, index, _, asked, _, _ in stuck:
            duty = (int(slot), kind, int(index))
            contest.note("h2", duty, asked, h2.begin(duty, asked))
    assert rows(server, url, "status = 'signing'") == []
    for duty, entries in contest.left.items():
        assert len({(asked, signature) for asked, _, signature, _ in entries}) == 1, (duty, entries)
    print(f"{len(stuck)} rows of the dead were taken over; others: {dict(contest.other)}")
    assert contest.other["p1", "DEAD"] > 0 and contest.other["h1", "DEAD"] > 0


def harness_seed():
    seed = os.environ.get("HF_SEED") or str(random.SystemRandom().randrange(1 << 32))
    print(f"HF_SEED={seed}")
    return int(seed)
