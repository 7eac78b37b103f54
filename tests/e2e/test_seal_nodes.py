"""Nodes that share a store: a seal command on one counts on the others before any signature, slashable or not."""

import os
import re

import postgres
import pytest
import tampering
from harness import fork_info, write_private
from test_seal import Sealed

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))


def reveal(epoch):
    return {"type": "RANDAO_REVEAL", "fork_info": fork_info(), "randao_reveal": {"epoch": str(epoch)}}


def two_nodes(folder, server):
    nodes = []
    for name in ("one", "two"):
        os.makedirs(f"{folder}/{name}")
        write_private(f"{folder}/{name}/url", server.url())
        nodes.append(Sealed(f"{folder}/{name}", config="slashing_protection:\n  backend: postgres\n"
                                                       f"  url_file: {folder}/{name}/url\n"))
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
