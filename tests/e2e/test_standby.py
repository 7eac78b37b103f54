"""A primary with a synchronous standby, which takes over when the primary is killed: nothing that a client holds in its hands
is lost, service returns by itself, and what the standby has not heard of is never handed out."""

import contextlib

import harness
import postgres
import pytest
from conftest import wait_for
from test_duty import DUTY, duty
from test_partition import Node, collect
from test_store_postgres import judge

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))

TRIES = 2


class Here:
    inside = staticmethod(contextlib.nullcontext)


@pytest.fixture(name="pair")
def primary_and_standby():
    with postgres.Postgres(fsync=False) as primary, primary.standby() as standby:
        yield primary, standby


def both(primary, standby):
    """libpq's URL of several hosts."""
    hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
    return primary.url(target_session_attrs="read-write").replace(f"127.0.0.1:{primary.port}", hosts)


def test_the_primary_is_killed_and_the_standby_promoted(signers, tmp_path, pair):
    primary, standby = pair
    primary.synchronous("remote_apply")
    nodes = [Node(signers, Here, both(primary, standby), tmp_path, f"node-{number}") for number in range(2)]
    with contextlib.ExitStack() as stack:
        for number, node in enumerate(nodes):
            node.load(stack, number)
        for node in nodes:
            node.gets(200)
        primary.kill()
        for node in nodes:
            node.gets(503, more=1)
        standby.promote()
        for node in nodes:
            node.is_well()
            node.gets(200)
    assert not any(node.signer.has_logged("store_advice") for node in nodes)
    votes, duties = collect(nodes)
    assert len(votes) > 50 and len(duties) > 20
    judge(nodes[0].signer, votes)
    rows = standby.psql("SELECT slot || ' ' || signature FROM validator_duties WHERE status = 'signed'", "holdfast").splitlines()
    assert {f"{slot} {signature}" for slot, found in duties.items() for _, signature in found} <= set(rows)


def test_what_the_standby_has_not_heard_of_is_not_handed_out(signers, tmp_path, pair):
    """The standby is silent and commits wait. One that stops waiting is on record at the primary alone: whoever asks again for the
    same message must not get it, for the standby, once promoted, lets another be signed."""
    primary, standby = pair
    node = Node(signers, Here, both(primary, standby), tmp_path, "node")
    signer, pubkey = node.signer, node.signer.pubkeys[0]
    wait_for("advice", lambda: signer.has_logged("store_advice", "synchronous_standby_names"), harness.PATIENCE)
    primary.synchronous("on")
    asks = {"vote": lambda slot, mark: signer.attest(pubkey, slot, slot + 1, mark),
            "block": lambda slot, mark: signer.propose(pubkey, 32 * slot, mark),
            "duty": lambda slot, mark: signer.request("POST", DUTY, duty(slot, mark))}
    for kind, ask in asks.items():
        assert ask(2, 0)[0] == 200, kind
    standby.freeze()

    def nobody_gets(slot):
        for kind, ask in asks.items():
            status, answer = ask(slot, 0)
            assert status in (409, 503) and "signature" not in answer, (kind, answer)

    nobody_gets(3)
    assert signer.get("/healthcheck")[0] == 503
    primary.psql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    nobody_gets(3)
    nobody_gets(4)
    primary.kill()
    primary.start()
    for _ in range(TRIES):
        nobody_gets(3)
        nobody_gets(4)
    primary.kill()
    standby.thaw()
    standby.promote()
    node.is_well()
    for kind, ask in asks.items():
        answers = [wait_for(kind, lambda a=ask, m=mark: (lambda r: r if r[0] in (200, 412) else None)(a(3, m)), harness.PATIENCE)
                   for mark in (1, 0)]
        assert sorted(status for status, _ in answers) == [200, 412], (kind, answers)
