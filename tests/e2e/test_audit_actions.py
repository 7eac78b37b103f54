"""Management actions and the audit log: written down before they are done, or not done."""

import os
import resource
import sqlite3
import subprocess

import audit
import harness
from conftest import wait_for
from test_audit import limit_files, randao
from test_key_manager import bearer, import_keys, keystores, listed
from test_policies import started
from test_tokens import TOKENS, create

POLICY = "policies: {votes: [{effect: allow, scopes: [sign], operations: [RANDAO_REVEAL], keys: '*'}]}\n"


def command(signer, *arguments):
    return harness.run(arguments[0], arguments[1], "--data-dir", signer.data_dir, *arguments[2:])


def accessors(signer):
    done = command(signer, "token", "list", "--json")
    assert done.returncode == 0, done.stderr
    return done.stdout


def pair(lines, operation, kind):
    """The line that asked for it and the one that says what came of it."""
    asked = next(line for line in lines if line["kind"] == "asked" and line["operation"] == operation)
    done = next(line for line in lines if line.get("of") == asked["seq"])
    assert done["kind"] == kind and done["seq"] > asked["seq"], (asked, done)
    assert done.get("token") == asked.get("token") and done.get("peer") == asked.get("peer")
    return asked, done


def test_each_action_has_its_line_before_it_is_done(signers, tmp_path):
    signer = started(signers(keys=1, config=TOKENS))
    file = tmp_path / "votes.yaml"
    file.write_text(POLICY)
    pubkeys, texts = keystores(tmp_path / "new", 1, first=100)
    assert import_keys(signer, texts)[1]["data"][0]["status"] == "imported"
    assert signer.request("DELETE", "/eth/v1/keystores", {"pubkeys": pubkeys}, bearer(signer))[0] == 200
    token = create(signer, "--kind", "management", "--name", "the operator")
    manager = {"Authorization": "Bearer " + token["token"]}
    assert command(signer, "policy", "apply", str(file)).returncode == 0
    assert signer.request("POST", "/reload", headers=manager)[0] in (200, 202)
    mark = command(signer, "slashing", "watermark-repair", "--epoch", "7", "--slot", "224")
    assert mark.returncode == 0, mark.stderr
    assert signer.request("DELETE", "/api/v1/tokens/" + token["accessor"], headers=manager)[0] == 200
    signer.stop()
    audit.assert_holds(signer.data_dir)
    lines = audit.lines(signer.data_dir)
    asked, _ = pair(lines, "KEY_IMPORT", "key_imported")
    assert asked["token"] == "key-manager" and asked["peer"].startswith("127.0.0.1:")
    assert pair(lines, "KEY_DELETE", "key_deleted")[0]["key"] == pubkeys[0]
    assert pair(lines, "EXPORT_OPEN", "record_exported")[0]["key"] == pubkeys[0]
    assert pair(lines, "TOKEN_CREATE", "token")[0]["token"] == "admin"
    assert pair(lines, "POLICY_PUT", "policy")[0]["text"] == "votes"
    assert pair(lines, "RELOAD", "reloaded")[0]["token"] == token["accessor"]
    assert pair(lines, "RAISE_FLOORS", "watermark")[0]["token"] == "admin"
    asked, done = pair(lines, "TOKEN_REVOKE", "token")
    assert asked["text"] in done["text"] and asked["text"] == token["accessor"]
    assert token["token"] not in open(audit.files(signer.data_dir)[0], encoding="ascii").read()


def test_what_cannot_be_written_down_is_not_done(signers, tmp_path):
    signer = started(signers(keys=1, config=TOKENS))
    file = tmp_path / "more.yaml"
    file.write_text(POLICY.replace("votes", "more"))
    pubkeys, texts = keystores(tmp_path / "new", 2, first=100)
    assert import_keys(signer, texts[:1])[1]["data"][0]["status"] == "imported"
    token = create(signer, "--kind", "management", "--name", "the operator")
    manager = {"Authorization": "Bearer " + token["token"]}
    before = accessors(signer), listed(signer)
    path = os.path.join(signer.data_dir, "audit.log")
    for _ in range(250):  # longer than what anything else is written to
        assert signer.sign(signer.pubkeys[0], randao(3))[0] == 401
    wait_for("their lines", lambda: os.path.getsize(path) > 60000, harness.PATIENCE)
    limit_files(signer, os.path.getsize(path) + 10)

    def refused(answer):
        assert (answer[0], answer[1].get("code")) == (503, "AUDIT_UNAVAILABLE"), answer

    refused(signer.request("POST", "/api/v1/tokens", {"kind": "management", "name": "another"}, headers=manager))
    refused(signer.request("DELETE", "/api/v1/tokens/" + token["accessor"], headers=manager))
    refused(signer.request("PUT", "/api/v1/policies/more", {"rules": []}, headers=manager))
    refused(signer.request("POST", "/reload", headers=manager))
    for answer in (import_keys(signer, texts[1:]),
                   signer.request("DELETE", "/eth/v1/keystores", {"pubkeys": pubkeys[:1]}, bearer(signer))):
        print(answer)
        assert answer[1]["data"][0]["status"] == "error" and "audit" in answer[1]["data"][0]["message"], answer
    for arguments in (("token", "create", "--kind", "management", "--name", "another"),
                      ("policy", "apply", str(file)),
                      ("slashing", "watermark-repair", "--epoch", "7", "--slot", "224"),
                      ("slashing", "prune", "--keep-epochs", "1000"),
                      ("slashing", "export")):
        done = command(signer, *arguments)
        assert done.returncode != 0 and "audit" in done.stderr, (arguments, done.stderr)
    assert (accessors(signer), listed(signer)) == before
    limit_files(signer, resource.RLIM_INFINITY)
    wait_for("it goes on", lambda: import_keys(signer, texts[1:])[1]["data"][0]["status"] != "error", harness.PATIENCE)
    assert set(pubkeys) <= set(listed(signer))
    created = signer.request("POST", "/api/v1/tokens", {"kind": "management", "name": "another"}, headers=manager)
    assert created[0] in (200, 201), created
    signer.stop()
    audit.assert_holds(signer.data_dir)


def test_the_line_is_there_when_the_act_is_not(signers):
    signer = started(signers(keys=1, config=TOKENS))
    before = accessors(signer)
    other = sqlite3.connect(os.path.join(signer.data_dir, "slashing.sqlite"), isolation_level=None, timeout=harness.PATIENCE)
    other.execute("BEGIN IMMEDIATE")  # the token's record has to wait for us
    try:
        with subprocess.Popen([harness.HOLDFAST, "token", "create", "--data-dir", signer.data_dir, "--kind", "management",
                               "--name", "lost"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            wait_for("its line", lambda: audit.of_kind(signer.data_dir, "asked"), harness.PATIENCE)
            signer.kill()
    finally:
        other.close()
    started(signer)
    assert accessors(signer) == before
    signer.stop()
    audit.assert_holds(signer.data_dir)
    (asked,) = audit.of_kind(signer.data_dir, "asked")
    assert (asked["operation"], asked["token"]) == ("TOKEN_CREATE", "admin")
    assert not audit.of_kind(signer.data_dir, "token")
