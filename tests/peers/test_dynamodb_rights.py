"""Tokens, policies and sealed keys of two signers that share one DynamoDB table (dynalite)."""

import json
import os

import dynalite
import pytest
import tampering
from harness import Signer, attestation, fork_info, run, write_private
from test_seal import Sealed


@pytest.fixture(name="ports", scope="module")
def fixture_ports():
    with dynalite.server() as ports:
        yield ports


@pytest.fixture(name="config")
def fixture_config(ports, monkeypatch, request):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", dynalite.KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", dynalite.SECRET)
    monkeypatch.setenv("AWS_REGION", dynalite.REGION)
    return (f"slashing_protection: {{backend: dynamodb, table: {request.node.name}, endpoint: 'http://localhost:{ports[1]}', "
            "create_table: true, timeout_ms: 5000}\n")


def holdfast(signer, *arguments):
    done = run(*arguments, "--data-dir", signer.data_dir)
    assert done.returncode == 0, done.stderr
    return done.stdout


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def vote(signer, epoch, token):
    return signer.sign(signer.pubkeys[0], attestation(epoch - 1, epoch), headers=bearer(token))[0]


def reveal(signer, epoch, token):
    """What no store decides on."""
    body = {"type": "RANDAO_REVEAL", "fork_info": fork_info(), "randao_reveal": {"epoch": str(epoch)}}
    return signer.sign(signer.pubkeys[0], body, headers=bearer(token))[0]


def test_tokens_and_policies_count_on_both_nodes(config, tmp_path):
    key = tmp_path / "token.key"
    write_private(key, "5a" * 32 + "\n")
    config += f"auth: {{mode: tokens, key_file: {key}}}\n"
    votes = tmp_path / "votes.yaml"
    votes.write_text("policies:\n  votes:\n    - {effect: allow, scopes: '*', operations: '*', keys: '*'}\n", encoding="ascii")
    none = tmp_path / "none.yaml"
    none.write_text("policies:\n  votes:\n    - {effect: deny, scopes: [sign], operations: '*', keys: '*'}\n", encoding="ascii")
    for name in ("one", "two"):
        os.mkdir(tmp_path / name)
    with Signer(tmp_path / "one", keys=1, config=config) as one, Signer(tmp_path / "two", keys=1, config=config) as two:
        holdfast(one, "policy", "apply", votes)
        epoch = 100
        for ask in (vote, reveal):
            made = json.loads(holdfast(one, "token", "create", "--json", "--policy", "votes"))
            epoch += 1
            # Asked without the token: one that is unknown so often would be taken for guessing.
            two.wait_until(lambda m=made: m["accessor"] in holdfast(two, "token", "list"), "the other node knows the token")
            two.wait_until(lambda e=epoch, m=made: vote(two, e, m["token"]) == 200, "and the policy")
            assert vote(one, epoch + 1, made["token"]) == 200
            holdfast(one, "token", "revoke", made["accessor"])
            epoch += 2
            assert ask(two, epoch, made["token"]) == 401  # the very next
            assert vote(one, epoch, made["token"]) == 401
        # A policy that changes on one node counts on the other.
        made = json.loads(holdfast(two, "token", "create", "--json", "--policy", "votes"))
        one.wait_until(lambda: vote(one, 200, made["token"]) == 200, "the first node knows the token")
        holdfast(two, "policy", "apply", none)
        assert reveal(one, 9, made["token"]) == 403  # the very next, and votes from now on
        assert vote(one, 200, made["token"]) == 403
        assert vote(two, 200, made["token"]) == 403
        assert [row["name"] for row in json.loads(holdfast(one, "policy", "list", "--json"))] == ["votes"]
        one.stop()
        one.start(wait=False)
        one.wait_until(lambda: vote(one, 200, made["token"]) == 403, "they outlive the signer")


def test_sealed_keys_of_both_nodes(config, tmp_path):
    nodes = []
    for name in ("one", "two"):
        os.makedirs(f"{tmp_path}/{name}")
        nodes.append(Sealed(f"{tmp_path}/{name}", config=config))
    one, two = nodes
    with one, two:
        one.init(1, "alice")
        two.wait_until(lambda: two.state()["state"] == "sealed", "the other node's seal is known here")
        one.unseal("alice")
        two.unseal("alice")
        pubkeys = one.add_keys(3)
        assert one.signs(pubkeys[0], 5)
        two.wait_until(lambda: two.signs(pubkeys[0], 6), "the new keys are here")
        one.holdfast("key", "deactivate", pubkeys[1])
        assert not two.signs(pubkeys[1], 7)  # at once
        one.seal("seal")
        assert two.sign(pubkeys[0], attestation(19, 20))[0] == 503  # the very next
        two.wait_until(lambda: two.state()["state"] == "sealed", "it knows why")
        two.unseal("alice")
        assert two.signs(pubkeys[0], 30)
        two.holdfast("key", "delete", "--backend", "sealed", pubkeys[2])
        assert set(two.keys()) == set(pubkeys[:2])
    with one:
        one.unseal("alice")
        assert set(one.keys()) == set(pubkeys[:2]) and one.signs(pubkeys[0], 40)


def test_records_changed_in_the_table(config, ports, tmp_path, request):
    tampering.prove_records(Sealed(tmp_path, config=config), tampering.Dynamodb(ports[0], request.node.name))


def test_a_seal_changed_in_the_table(config, ports, tmp_path, request):
    tampering.prove_seal(Sealed(tmp_path, config=config), tampering.Dynamodb(ports[0], request.node.name))
