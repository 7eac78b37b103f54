"""Tokens of signers that share a PostgreSQL: what one of them is told counts on the other, before its next signature."""

import json
import os

import harness
import postgres
import pytest

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))

CONFIG = """auth: {{mode: tokens, key_file: {key}}}
slashing_protection: {{backend: postgres, url_file: {url}}}
policies:
  all:
    - {{effect: allow, scopes: "*", operations: "*", keys: "*"}}
"""


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def create(signer, *arguments):
    done = harness.run("token", "create", "--data-dir", signer.data_dir, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def vote(signer, epoch, token):
    return signer.sign(signer.pubkeys[0], harness.attestation(epoch - 1, epoch), headers=bearer(token))[0]


@pytest.fixture(scope="module", name="nodes")
def running_nodes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    url = folder / "url"
    key = folder / "token.key"
    harness.write_private(key, "5a" * 32 + "\n")
    with postgres.Postgres() as server:
        harness.write_private(url, server.create_database("tokens") + "\n")
        signers = []
        try:
            for name in ("one", "other"):
                os.mkdir(folder / name)
                signers.append(harness.Signer(folder / name, keys=1, config=CONFIG.format(key=key, url=url)))
                signers[-1].start()
                signers[-1].wait_until(lambda: "keys_loaded" in signers[-1].log(), "its keys are loaded")
            for signer in signers:
                signer.wait_until(lambda s=signer: s.get("/healthcheck")[0] == 200, "it can sign")
            yield signers
        finally:
            for signer in signers:
                signer.stop()


def test_a_token_counts_on_every_node_and_its_revocation_before_the_next_signature(nodes):
    one, other = nodes
    epoch = 100
    for _ in range(5):
        made = create(one, "--policy", "all")
        epoch += 1
        # Asked without the token: one that is unknown so often would be taken for guessing.
        other.wait_until(lambda m=made: m["accessor"] in harness.run("token", "list", "--data-dir", other.data_dir).stdout,
                         "the other node knows the token")
        assert vote(other, epoch, made["token"]) == 200
        done = harness.run("token", "revoke", made["accessor"], "--data-dir", one.data_dir)
        assert done.returncode == 0, done.stderr
        epoch += 1
        assert vote(other, epoch, made["token"]) == 401
        assert vote(one, epoch, made["token"]) == 401


def test_uses_are_shared_out_and_never_more_than_all(nodes):
    one, other = nodes
    made = create(one, "--policy", "all", "--max-uses", "20")
    other.wait_until(lambda: other.get("/api/v1/eth2/publicKeys", headers=bearer(made["token"]))[0] == 200,
                     "the other node knows the token")
    let_in = 1
    for turn in range(60):
        status = (one, other)[turn % 2].get("/api/v1/eth2/publicKeys", headers=bearer(made["token"]))[0]
        assert status in (200, 401)
        let_in += status == 200
    assert let_in == 20


def test_a_policy_applied_on_one_node_counts_on_the_other(nodes, tmp_path):
    one, other = nodes
    file = tmp_path / "votes.yaml"

    def apply(node, effect):
        file.write_text(f"policies: {{votes: [{{effect: {effect}, scopes: '*', operations: '*', keys: '*'}}]}}\n")
        done = harness.run("policy", "apply", file, "--data-dir", node.data_dir)
        assert done.returncode == 0, done.stderr

    apply(one, "allow")
    other.wait_until(lambda: "votes" in harness.run("policy", "list", "--data-dir", other.data_dir).stdout, "the policy is here")
    made = create(other, "--policy", "votes")
    for epoch, node in ((300, other), (301, one)):
        node.wait_until(lambda n=node, e=epoch: vote(n, e, made["token"]) == 200, "token and policy are known")
    apply(other, "deny")
    assert vote(other, 302, made["token"]) == 403
    one.wait_until(lambda: vote(one, 301, made["token"]) == 403, "the replaced policy is here")
    done = harness.run("policy", "delete", "votes", "--data-dir", one.data_dir)
    assert done.returncode == 0, done.stderr
    other.wait_until(lambda: "votes" not in harness.run("policy", "list", "--data-dir", other.data_dir).stdout, "it is gone here")
    for node in nodes:
        assert vote(node, 303, made["token"]) == 403
        refused = harness.run("token", "create", "--data-dir", node.data_dir, "--policy", "votes")
        assert refused.returncode == 1 and "policy votes does not exist; there are: all" in refused.stderr
