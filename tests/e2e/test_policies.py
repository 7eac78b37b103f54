"""Policies through the binary: what a token may, deny over allow, rates, and policies applied while the signer runs."""

import json
import os
import sqlite3

import harness
from harness import fork_info
from test_limits import exit_of, refused, signed

TOKENS = "auth: {mode: tokens}\n"


def create(signer, *policies, kind="client", ttl=None):
    arguments = [argument for policy in policies for argument in ("--policy", policy)]
    if ttl:
        arguments += ["--ttl", ttl]
    done = harness.run("token", "create", "--data-dir", signer.data_dir, "--json", "--kind", kind, *arguments)
    assert done.returncode == 0, done.stderr
    return {"Authorization": "Bearer " + json.loads(done.stdout)["token"]}


def start(signers, text, keys=3):
    """The configuration may name the keys: {0}, {1}, ..."""
    signer = signers(keys=keys)
    with open(signer.config_path, "a", encoding="utf-8") as config:
        config.write(TOKENS + text.format(*signer.pubkeys))
    return started(signer)


def started(signer):
    signer.start(wait=False)
    signer.wait_ready()
    signer.wait_until(lambda: signer.get("/healthcheck")[0] == 200, "it can sign")
    signer.wait_until(lambda: signer.has_logged("keys_loaded"), "its keys are loaded")
    return signer


def reveal(epoch=400000):
    return {"type": "RANDAO_REVEAL", "fork_info": fork_info(), "randao_reveal": {"epoch": str(epoch)}}


def test_what_a_token_may(signers):
    signer = start(signers, """
policies:
  voter:
    - {{effect: allow, scopes: [sign], operations: [ATTESTATION, RANDAO_REVEAL, VOLUNTARY_EXIT], keys: ["{0}", "{1}"]}}
    - {{effect: allow, scopes: [public_keys], keys: "*"}}
  nothing-of-b:
    - {{effect: deny, keys: ["{1}"]}}
  slow:
    - {{effect: allow, scopes: [sign], operations: [RANDAO_REVEAL], keys: "*", rate: 2/1h}}
  elsewhere:
    - {{effect: allow, scopes: [sign, status], operations: "*", keys: "*", addresses: [10.0.0.0/8]}}
  here:
    - {{effect: allow, scopes: [sign, status], operations: "*", keys: "*", addresses: [127.0.0.0/8], networks: [mainnet]}}
  short:
    - {{effect: allow, scopes: [status], token_ttl: 1h}}
""")
    a, b, c = signer.pubkeys
    voter = create(signer, "voter")
    signed(signer.sign(a, harness.attestation(1, 2), headers=voter))
    signed(signer.sign(b, harness.attestation(1, 2), headers=voter))
    assert "no rule" in refused(signer.sign(c, harness.attestation(1, 2), headers=voter), "FORBIDDEN")
    refused(signer.sign(a, harness.block(5), headers=voter), "FORBIDDEN")
    refused(signer.sign(a, harness.attestation(1, 2)), "UNAUTHORIZED", 401)
    assert signer.get("/api/v1/eth2/publicKeys", headers=voter)[0] == 200
    refused(signer.get("/api/v1/holdfast/status", headers=voter), "FORBIDDEN")
    refused(signer.request("POST", "/reload", headers=voter), "FORBIDDEN")
    # deny beats allow, in whichever policy it stands
    for names in (("voter", "nothing-of-b"), ("nothing-of-b", "voter")):
        denied = create(signer, *names)
        signed(signer.sign(a, reveal(), headers=denied))
        assert "denied by rule 1 of policy nothing-of-b" in refused(signer.sign(b, reveal(), headers=denied), "FORBIDDEN")
    # rates: for each key
    slow = create(signer, "slow")
    for key in (a, b):
        signed(signer.sign(key, reveal(), headers=slow))
        signed(signer.sign(key, reveal(), headers=slow))
        assert "policy slow" in refused(signer.sign(key, reveal(), headers=slow), "RATE_LIMITED", 429)
    # where the client is, and how long a token lives
    refused(signer.sign(a, exit_of(), headers=create(signer, "elsewhere")), "FORBIDDEN")
    signed(signer.sign(a, exit_of(), headers=create(signer, "here")))
    assert signer.get("/api/v1/holdfast/status", headers=create(signer, "short", ttl="30m"))[0] == 200
    refused(signer.get("/api/v1/holdfast/status", headers=create(signer, "short", ttl="2h")), "FORBIDDEN")
    refused(signer.get("/api/v1/holdfast/status", headers=create(signer, "short")), "FORBIDDEN")
    # none for a policy that is not there
    done = harness.run("token", "create", "--data-dir", signer.data_dir, "--policy", "voter", "--policy", "none-such")
    assert done.returncode == 1 and "policy none-such does not exist; there are: voter, " in done.stderr


def policy(signer, *arguments, expect=0):
    done = harness.run("policy", *arguments, "--data-dir", signer.data_dir)
    assert done.returncode == expect, done.stderr
    return done.stdout if expect == 0 else done.stderr


def test_policies_applied_while_it_runs(signers, tmp_path):
    signer = start(signers, "policies: {{of-file: [{{effect: allow, scopes: [status]}}]}}\n")
    a, b, _ = signer.pubkeys
    file = tmp_path / "votes.yaml"
    file.write_text(f"policies:\n  votes:\n    - {{effect: allow, scopes: [sign], operations: [RANDAO_REVEAL], keys: ['{a}']}}\n")
    assert policy(signer, "apply", file) == "applied votes\n"
    token = create(signer, "votes")
    signed(signer.sign(a, reveal(), headers=token))
    refused(signer.sign(b, reveal(), headers=token), "FORBIDDEN")
    # what is shown can be applied; a replacement counts from the next request
    shown = policy(signer, "show", "votes")
    assert json.loads(shown)["rules"][0]["keys"] == [a]
    file.write_text(shown.replace(a, b))
    policy(signer, "apply", file)
    signed(signer.sign(b, reveal(), headers=token))
    refused(signer.sign(a, reveal(), headers=token), "FORBIDDEN")
    listed = json.loads(policy(signer, "list", "--json"))
    assert [(one["name"], one["origin"]) for one in listed] == [("of-file", "configuration"), ("votes", "applied")]
    # they outlive the signer
    signer.stop()
    started(signer)
    signed(signer.sign(b, reveal(), headers=token))
    assert policy(signer, "delete", "votes") == "deleted votes\n"
    # a policy that is not there might have denied: nothing is allowed without it
    assert "votes does not exist" in refused(signer.sign(b, reveal(), headers=token), "FORBIDDEN")
    # mistakes
    file.write_text("policies: {of-file: [{effect: deny}]}\n")
    assert "configuration file has this policy" in policy(signer, "apply", file, expect=1)
    file.write_text("policies: {x: [{effect: deny, keys: [0x12]}]}\n")
    assert "policies.x[0].keys[0]" in policy(signer, "apply", file, expect=2)
    assert "no policy has this name" in policy(signer, "show", "none", expect=1)
    assert "no applied policy" in policy(signer, "delete", "none", expect=1)


def test_policies_by_http(signers):
    signer = start(signers, "policies: {{of-file: [{{effect: allow, scopes: [status]}}]}}\n")
    a, b, _ = signer.pubkeys
    manager = create(signer, kind="management")
    path = "/api/v1/policies"

    def apply(headers, **more):
        rule = {"effect": "allow", "scopes": ["sign"], "operations": ["RANDAO_REVEAL"], **more}
        return signer.request("PUT", path + "/votes", {"rules": [rule]}, headers=headers)

    refused(apply({}, keys="*"), "UNAUTHORIZED", 401)
    assert apply(manager, keys=[a]) == (200, {"applied": "votes"})
    client = create(signer, "votes")
    refused(apply(client, keys="*"), "FORBIDDEN")  # it would make itself stronger
    signed(signer.sign(a, reveal(), headers=client))
    refused(signer.sign(b, reveal(), headers=client), "FORBIDDEN")
    # the command and HTTP show the same, and take what they show
    status, shown = signer.get(path + "/votes", headers=manager)
    assert status == 200 and shown == json.loads(policy(signer, "show", "votes")) and shown["rules"][0]["keys"] == [a]
    shown["rules"][0]["keys"] = [b]
    assert signer.request("PUT", path + "/votes", shown, headers=manager)[0] == 200
    signed(signer.sign(b, reveal(), headers=client))
    refused(signer.sign(a, reveal(), headers=client), "FORBIDDEN")
    assert signer.get(path, headers=manager) == (200, {"policies": [
        {"name": "of-file", "origin": "configuration", "rules": 1}, {"name": "votes", "origin": "applied", "rules": 1}]})
    # as many keys as there may be: several parts
    many = ["0x" + f"{i:096x}" for i in range(1000)]
    assert apply(manager, keys=many)[0] == 200
    assert signer.get(path + "/votes", headers=manager)[1]["rules"][0]["keys"] == many
    assert "rules[0]: keys: " in refused(apply(manager, keys=[a, "0x12"]), "MALFORMED", 400)
    assert "configuration file has this policy" in refused(
        signer.request("PUT", path + "/of-file", {"rules": []}, headers=manager), "BUSY", 409)
    assert signer.request("DELETE", path + "/votes", headers=manager) == (200, {"deleted": "votes"})
    refused(signer.request("DELETE", path + "/votes", headers=manager), "NOT_FOUND", 404)
    assert "votes does not exist" in refused(signer.sign(b, reveal(), headers=client), "FORBIDDEN")


def test_a_forged_policy_record_gives_nothing(signers, tmp_path):
    signer = start(signers, "")
    file = tmp_path / "votes.yaml"
    file.write_text("policies: {votes: [{effect: allow, scopes: [sign], operations: [RANDAO_REVEAL], keys: '*'}]}\n")
    policy(signer, "apply", file)
    token = create(signer, "votes")
    signed(signer.sign(signer.pubkeys[0], reveal(), headers=token))
    signer.stop()
    database = sqlite3.connect(os.path.join(signer.data_dir, "slashing.sqlite"))
    rows = database.execute("SELECT id, data FROM records WHERE CAST(id AS TEXT) LIKE 'votes%'").fetchall()
    assert len(rows) == 1
    forged = bytearray(rows[0][1])
    forged[-40] ^= 1
    database.execute("UPDATE records SET data = ? WHERE id = ?", (bytes(forged), rows[0][0]))
    database.commit()
    database.close()
    started(signer)
    refused(signer.sign(signer.pubkeys[0], reveal(), headers=token), "FORBIDDEN")
    assert signer.has_logged("policy_record_refused", "votes")


def test_an_exit_needs_a_second_person(signers):
    signer = start(signers, """
policies:
  exits: [{{effect: allow, scopes: [sign, exit_approve], operations: [VOLUNTARY_EXIT], keys: "*"}}]
  none: {{rules: []}}
limits: [{{exits: approve}}]
""")
    a, b, _ = signer.pubkeys
    token = create(signer, "exits")
    refused(signer.sign(a, exit_of(), headers=token), "POLICY_EXIT_UNAPPROVED")
    assert policy(signer, "approve-exit", a, "--minutes", "5") == "approved for 5 minutes\n"
    signed(signer.sign(a, exit_of(), headers=token))
    refused(signer.sign(b, exit_of(), headers=token), "POLICY_EXIT_UNAPPROVED")
    policy(signer, "approve-exit", a, "--minutes", "0")
    refused(signer.sign(a, exit_of(), headers=token), "POLICY_EXIT_UNAPPROVED")
    assert "no such key" in policy(signer, "approve-exit", "0x" + "ab" * 48, expect=1)
    # by HTTP: somebody else's token, and neither who asks for the exit nor who has no such right
    approve = f"/api/v1/exits/{b}/approve"
    assert signer.request("POST", approve, {"minutes": 5}, headers=token) == (200, {"pubkey": b, "minutes": 5})
    refused(signer.sign(b, exit_of(), headers=token), "POLICY_EXIT_UNAPPROVED")
    refused(signer.request("POST", approve, {"minutes": 5}, headers=create(signer, "none")), "FORBIDDEN")
    assert signer.request("POST", approve, {"minutes": 5}, headers=create(signer, "exits"))[0] == 200
    signed(signer.sign(b, exit_of(), headers=token))
