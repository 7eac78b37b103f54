"""Signers that share a PostgreSQL: a token revoked on one of them, and a policy changed, count on the other from its very next
request on, whatever is asked; and no token is believed that the store cannot be asked about. No test here waits in between."""

import contextlib
import json
import os

import harness
import postgres
import pytest
from ethereum import address_of_secret
from test_tokens import FREE, ask, bearer, create, routes
from test_tokens_shared import CONFIG

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))

SECRET = 7
ADDRESS = address_of_secret(SECRET)
HASH = "0x" + "11" * 32
PUBLIC_KEYS = "/api/v1/eth2/publicKeys"
# A management token may everything but sign; what the policy of all says it may as well.
EVERYTHING = ("--kind", "management", "--policy", "all")
TERMS = {"kind": "management", "policies": ["all"]}


def randao(node, headers):
    return node.sign(node.pubkeys[0], {"type": "RANDAO_REVEAL", "fork_info": harness.fork_info(), "randao_reveal": {"epoch": "3"}},
                     headers=headers)


def sync_committee(node, headers):
    return node.sign(node.pubkeys[0], {"type": "SYNC_COMMITTEE_MESSAGE", "fork_info": harness.fork_info(), "sync_committee_message": {
        "beacon_block_root": HASH, "slot": "5"}}, headers=headers)


def attestation(node, headers):
    return node.sign(node.pubkeys[0], harness.attestation(20, 21), headers=headers)


def duty(node, headers):
    return node.request("POST", "/api/v1/duty/sign", {"validatorAddress": ADDRESS, "messageHash": HASH, "dutyType": "AUTH_REQUEST",
                                                      "hashing": "eip191"}, headers)


def eth1_data(node, headers):
    return node.request("POST", f"/api/v1/eth1/sign/{ADDRESS}", {"data": "0x1234"}, headers)


def eth_sign(node, headers):
    return node.request("POST", "/", {"jsonrpc": "2.0", "id": 1, "method": "eth_sign", "params": [ADDRESS, HASH]}, headers)


def eth_accounts(node, headers):
    return node.request("POST", "/", {"jsonrpc": "2.0", "id": 1, "method": "eth_accounts", "params": []}, headers)


def public_keys(node, headers):
    return node.get(PUBLIC_KEYS, headers=headers)


def reload(node, headers):
    return node.request("POST", "/reload", None, headers)


def tokens(node, headers):
    return node.get("/api/v1/tokens", headers=headers)


def apply_policy(node, headers):
    return node.request("PUT", "/api/v1/policies/other", {"rules": []}, headers)


KINDS = (randao, sync_committee, attestation, duty, eth1_data, eth_sign, eth_accounts, public_keys, reload, tokens, apply_policy)
LET_IN = (200, 202)


class Nodes:
    def __init__(self, folder, server, stack):
        self.server = server
        started = []
        write = harness.write_private
        write(folder / "url", server.create_database("tokens") + "\n")
        write(folder / "token.key", "5a" * 32 + "\n")
        for name in ("one", "other"):
            os.makedirs(folder / name / "eth1", mode=0o700)
            write(folder / name / "eth1" / "key.yaml", f"type: file-raw\nkeyType: SECP256K1\nprivateKey: \"0x{SECRET:064x}\"\n")
            node = harness.Signer(folder / name, keys=1, config=f"  - {{backend: web3signer, config_dir: {folder / name / 'eth1'}}}\n"
                                  + "eth1: {sign_data: true}\n" + CONFIG.format(key=folder / "token.key", url=folder / "url"))
            started.append(stack.enter_context(node))
        self.one, self.other = started
        for node in started:
            node.wait_until(lambda n=node: "keys_loaded" in n.log() and n.get("/healthcheck")[0] == 200, "it can sign")

    def known(self, count):
        """Tokens made on the first, and known to the second."""
        manager = bearer(create(self.one, *EVERYTHING)["token"])
        made = [self.one.request("POST", "/api/v1/tokens", TERMS, manager)[1] for _ in range(count)]
        self.other.wait_until(lambda: all(token["accessor"] in self.listed(self.other) for token in made), "it knows the tokens")
        return made

    @staticmethod
    def listed(node):
        """By who is at the machine, and shows no token."""
        done = harness.run("token", "list", "--data-dir", node.data_dir)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def revoke(self, accessor, manager):
        """On the first: the answer is there when the store has it."""
        status, body = self.one.request("DELETE", f"/api/v1/tokens/{accessor}", headers=bearer(manager["token"]))
        assert (status, body) == (200, {"revoked": accessor})


@pytest.fixture(scope="module", name="nodes")
def fixture_nodes(tmp_path_factory):
    with postgres.Postgres() as server, contextlib.ExitStack() as stack:
        yield Nodes(tmp_path_factory.mktemp("at-once"), server, stack)


def test_every_kind_of_request_is_refused_at_once(nodes):
    made = nodes.known(len(KINDS) + 1)
    manager = made.pop()
    for kind, token in zip(KINDS, made):
        assert kind(nodes.other, bearer(token["token"]))[0] in LET_IN, kind
    for kind, token in zip(KINDS, made):
        nodes.revoke(token["accessor"], manager)
        status, body = kind(nodes.other, bearer(token["token"]))  # the very next that this node is asked
        assert status == 401, (kind, body)
        assert kind(nodes.other, bearer(manager["token"]))[0] in LET_IN, kind


def test_every_route_is_closed_at_once(nodes):
    """Each that there is. The Key Manager API tells a wrong token (403) from none (401), and who shows many such has to wait."""
    closed = [route for route in routes() if route not in FREE]
    made = nodes.known(len(closed) + 1)
    manager = made.pop()
    for (method, path), token in zip(closed, made):
        nodes.revoke(token["accessor"], manager)
        status = ask(nodes.other, method, path, bearer(token["token"]))
        assert status in (403 if path.startswith("/eth/v1/") else 401, 429), f"{method} {path}: {status}"


def test_a_policy_changed_elsewhere_is_what_the_next_request_is_judged_by(nodes):
    manager = bearer(create(nodes.one, *EVERYTHING)["token"])

    def apply(effect):
        rules = [{"effect": effect, "scopes": "*", "operations": "*", "keys": "*"}]
        assert nodes.one.request("PUT", "/api/v1/policies/changing", {"rules": rules}, manager)[0] == 200

    apply("allow")
    client = bearer(create(nodes.one, "--policy", "changing")["token"])
    nodes.other.wait_until(lambda: public_keys(nodes.other, client)[0] == 200, "it knows token and policy")
    for kind in (randao, sync_committee, duty, eth1_data, eth_sign, public_keys):
        apply("deny")
        status, body = kind(nodes.other, client)
        refused = status == 403 or (kind is public_keys and (status, body) == (200, []))
        assert refused or body["error"]["data"]["code"] == "FORBIDDEN", (kind, status, body)
        apply("allow")
        assert kind(nodes.other, client)[0] == 200, kind


def test_a_token_that_cannot_be_confirmed_is_not_believed(nodes):
    [token] = nodes.known(1)
    headers = bearer(token["token"])
    some = (randao, attestation, duty, eth_sign, public_keys, apply_policy)
    assert all(kind(nodes.other, headers)[0] in LET_IN for kind in some)
    nodes.server.freeze()
    try:
        for kind in some:
            status, body = kind(nodes.other, headers)
            assert status == 503 and "STORE_UNAVAILABLE" in json.dumps(body), (kind, status, body)
        # Who has no token needs none of the store to be told so, and whoever is at the machine is asked for none.
        assert public_keys(nodes.other, None)[0] == 401
        assert token["accessor"] in nodes.listed(nodes.other)
    finally:
        nodes.server.thaw()
    for kind in some:
        nodes.other.wait_until(lambda k=kind: k(nodes.other, headers)[0] in LET_IN, "the store answers again")
