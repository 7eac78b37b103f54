"""Nodes that share a store: a seal command on one counts on the others before any signature, slashable or not."""

import concurrent.futures
import os

import postgres
import pytest
import tampering
from harness import attestation, fork_info, run, write_private
from tampering import STRANGER
from test_seal import KDF, Sealed

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))


def reveal(epoch):
    return {"type": "RANDAO_REVEAL", "fork_info": fork_info(), "randao_reveal": {"epoch": str(epoch)}}


def two_nodes(folder, server, more=""):
    nodes = []
    for name in ("one", "two"):
        os.makedirs(f"{folder}/{name}")
        write_private(f"{folder}/{name}/url", server.url())
        nodes.append(Sealed(f"{folder}/{name}", config="slashing_protection:\n  backend: postgres\n"
                                                       f"  url_file: {folder}/{name}/url\n{more}"))
    return nodes


def unseal(node):
    node.wait_until(lambda: node.state()["state"] == "sealed", "it knows of the seal")
    node.unseal("alice")


def test_what_cannot_be_slashed_is_sealed_at_once_as_well(tmp_path):
    with postgres.Postgres() as server:
        one, two = two_nodes(tmp_path, server)
        with one, two:
            one.init(1, "alice")
            unseal(one)
            unseal(two)
            pubkey = one.add_keys(1)[0]
            two.wait_until(lambda: two.sign(pubkey, reveal(1))[0] == 200, "the new key is here")
            one.seal("seal")
            status, body = two.sign(pubkey, reveal(1))  # the very next
            assert (status, body["code"]) == (503, "SEALED"), body
            unseal(one)
            unseal(two)
            two.wait_until(lambda: two.sign(pubkey, reveal(9))[0] == 200, "its keys are back")
            # A store that says nothing may have been told to seal.
            server.freeze()
            try:
                status, body = two.sign(pubkey, reveal(10))
                assert (status, body["code"]) == (503, "STORE_UNAVAILABLE"), body
            finally:
                server.thaw()
            two.wait_until(lambda: two.sign(pubkey, reveal(10))[0] == 200, "the store answers again")


def test_records_changed_in_the_database(tmp_path):
    with postgres.Postgres(fsync=False) as server:
        one, _ = two_nodes(tmp_path, server)
        tampering.prove_records(one, tampering.Postgres(server))


def test_a_seal_changed_in_the_database(tmp_path):
    with postgres.Postgres(fsync=False) as server:
        one, _ = two_nodes(tmp_path, server)
        tampering.prove_seal(one, tampering.Postgres(server))


def test_a_seal_reaches_every_node_before_its_next_signature(tmp_path):
    with postgres.Postgres() as server:
        one, two = two_nodes(tmp_path, server)
        with one, two:
            one.init(1, "alice")
            refused = two.seal("init", *two.people("alice"), *KDF, ok=False)  # whether it has heard of it or not
            assert "already" in refused or "somebody else" in refused
            two.wait_until(lambda: two.state()["state"] == "sealed", "the other node's seal is known here")
            one.unseal("alice")
            two.unseal("alice")
            pubkeys = one.add_keys(3)
            assert one.signs(pubkeys[0], 5)
            two.wait_until(lambda: two.signs(pubkeys[0], 6), "the new keys are here")
            one.holdfast("key", "deactivate", pubkeys[1])
            assert not two.signs(pubkeys[1], 7)  # at once
            for target in range(10, 13):
                assert two.signs(pubkeys[0], target)
            one.seal("seal")
            assert two.sign(pubkeys[0], attestation(19, 20))[0] == 503  # the very next
            two.wait_until(lambda: two.state()["state"] == "sealed", "it knows why")
            two.unseal("alice")
            one.unseal("alice")
            assert one.signs(pubkeys[0], 30) and two.signs(pubkeys[0], 31)
            one.init(1, "bob", verb="rekey")
            two.wait_until(lambda: two.state()["state"] == "sealed", "other holders: the shares have to come again")
            two.unseal("bob")
            assert two.signs(pubkeys[2], 32)


def both(first, second):
    """What came of the two commands, given at the same time on two nodes."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return [future.result() for future in [pool.submit(first), pool.submit(second)]]


def start_over(node, verb, name):
    """init, rekey or rotate with another holder: whether that is done. Else nothing was changed, and why is said."""
    done = run("seal", verb, "--threshold", "1", *node.people(name), *KDF, "--data-dir", node.data_dir)
    assert done.returncode == 0 or any(words in done.stderr for words in ("already", "somebody else", "sealed")), done.stderr
    return done.returncode == 0


def is_in(node, state, holder):
    now = node.state()
    return (now["state"], [row["name"] for row in now["holders"]]) == (state, [holder])


def test_of_two_nodes_that_change_the_seal_at_once_one_does(tmp_path):
    with postgres.Postgres() as server:
        nodes = two_nodes(tmp_path, server)
        with nodes[0], nodes[1]:
            pubkeys = []
            for target, verb in enumerate(("init", "rekey", "rotate", "rekey"), 5):
                done = both(lambda v=verb: start_over(nodes[0], v, "alice"), lambda v=verb: start_over(nodes[1], v, "bob"))
                assert sorted(done) == [False, True], verb
                holder = "alice" if done[0] else "bob"
                for node, is_its_own in zip(nodes, done):
                    state = "unsealed" if is_its_own and verb != "init" else "sealed"
                    node.wait_until(lambda n=node, s=state, h=holder: is_in(n, s, h), f"{holder} is the holder, it is {state}")
                    if state == "sealed":
                        node.unseal(holder)
                if not pubkeys:
                    pubkeys = nodes[0].add_keys(2)
                for node, pubkey in zip(nodes, pubkeys):
                    node.wait_until(lambda n=node, p=pubkey, t=target: n.signs(p, t), "the key signs")
                    node.wait_until(lambda n=node: n.state()["keys"]["to_rotate"] == 0, "all is under the new key")


def test_a_canary_seals_every_node_before_its_next_signature(tmp_path):
    with postgres.Postgres() as server:
        one, two = two_nodes(tmp_path, server, f"canary_keys: [{{key: \"{STRANGER}\", action: seal}}]\n")
        with one, two:
            one.init(1, "alice")
            two.wait_until(lambda: two.state()["state"] == "sealed", "the other node's seal is known here")
            one.unseal("alice")
            two.unseal("alice")
            pubkey = one.add_keys(1)[0]
            assert one.signs(pubkey, 5)
            two.wait_until(lambda: two.signs(pubkey, 6), "the new key is here")
            status, body = one.sign(STRANGER, attestation(6, 7))
            assert (status, body["code"]) == (403, "CANARY"), body
            assert one.state()["state"] == "sealed"
            # The store hears of it beside the answer: from then on nothing is signed anywhere.
            two.wait_until(lambda: two.sign(pubkey, attestation(7, 8))[0] == 503, "the other node is sealed")
            two.wait_until(lambda: two.state()["state"] == "sealed", "it knows why")
            two.unseal("alice")
            assert two.signs(pubkey, 9)
            # A node that meets the canary while it is cut off tells the others when the store is back.
            one.stop()
            one.start()
            one.unseal("alice")
            assert one.signs(pubkey, 10)
            server.freeze()
            assert two.sign(STRANGER, attestation(10, 11))[0] == 403
            assert two.state()["state"] == "sealed"
            server.thaw()
            one.wait_until(lambda: one.sign(pubkey, attestation(10, 11))[0] == 503 and one.state()["state"] == "sealed",
                           "the node that nobody asked is sealed")
