"""auth.mode: tokens, end to end: who may ask for what, and what becomes of those who may not."""

import base64
import concurrent.futures
import http.client
import json
import os
import re
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request

import harness
import pytest

TOKENS = "auth: {mode: tokens}\n"
# Policies that are there and allow nothing.
EMPTY = "policies: {a: {rules: []}, attest: {rules: []}, propose: {rules: []}, nothing: {rules: []}}\n"
PUBLIC_KEYS = "/api/v1/eth2/publicKeys"
UNKNOWN_KEY = "0x" + "ab" * 48
# What says only that the process lives, and whether it can sign.
FREE = {("GET", "/upcheck"), ("GET", "/healthcheck"), ("GET", "/metrics")}


def create(signer, *arguments):
    done = harness.run("token", "create", "--data-dir", signer.data_dir, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def basic(token, user="x"):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()}


def another(token):
    """A token of the same accessor, with another secret."""
    return token[:-1] + ("A" if token[-1] != "A" else "E")


@pytest.fixture(scope="module", name="signer")
def fixture_signer(tmp_path_factory):
    with harness.Signer(tmp_path_factory.mktemp("tokens"), keys=0, config=TOKENS + EMPTY) as signer:
        yield signer


@pytest.fixture(scope="module", name="manager")
def fixture_manager(signer):
    return create(signer, "--kind", "management", "--name", "the operator")["token"]


def answers(signer, headers):
    """Is somebody with these headers let in?"""
    return signer.get(PUBLIC_KEYS, headers=headers)


# ---- routes ------------------------------------------------------------------------------------


def routes():
    done = subprocess.run([os.path.join(harness.BUILD, "holdfast-front"), "--routes"], capture_output=True, text=True,
                          check=True)
    found = {tuple(line.split()[:2]) for line in done.stdout.splitlines()}
    assert len(found) > 25 and FREE <= found
    return sorted(found)


def ask(signer, method, path, headers=None):
    path_of_one = path.replace("{pubkey}", UNKNOWN_KEY).replace("{accessor}", "0" * 24).replace("{name}", "none").replace("{id}", "0x" + "ab" * 20)
    body = None
    if "/eth2/sign/" in path:
        body = harness.attestation(1, 2)
    elif path.endswith("/duty/sign"):
        body = {"validatorAddress": "0x" + "ab" * 20, "messageHash": "0x" + "cd" * 32, "dutyType": "AUTH_REQUEST",
                "hashing": "eip191"}
    elif "/eth1/sign/" in path:
        body = {"data": "0x00"}
    elif path == "/":
        body = {"jsonrpc": "2.0", "id": 1, "method": "eth_accounts", "params": []}
    elif path.endswith("voluntary_exit"):
        path_of_one += "?validator_index=3"
    port = signer.metrics_port if path == "/metrics" else signer.port
    return signer.request(method, path_of_one, body, headers, port=port)[0]


def test_no_route_is_open_without_a_rule(signer):
    """Every route that there is: a new one is refused here until somebody has thought about it."""
    for method, path in routes():
        status = ask(signer, method, path)
        assert (status == 401) == ((method, path) not in FREE), f"{method} {path}: {status}"


def test_a_management_token_may_everything_but_sign(signer, manager):
    may_not = {"/api/v1/eth2/sign/{pubkey}", "/api/v1/duty/sign", "/api/v1/eth1/sign/{id}", "/eth/v1/validator/{pubkey}/voluntary_exit"}
    for method, path in routes():
        status = ask(signer, method, path, bearer(manager))
        assert (status == 403) == (path in may_not) and status != 401, f"{method} {path}: {status}"


def test_a_client_token_may_nothing_that_no_policy_says(signer):
    client = bearer(create(signer, "--policy", "nothing")["token"])
    allowed = {path: status for (method, path) in routes() if (method, path) not in FREE
               for status in [ask(signer, method, path, client)] if status != 403}
    # What says nothing of this signer, to whoever shows a token, and bodies that are none.
    assert {path for path, status in allowed.items() if status == 200} <= {"/eth/v1/remotekeys"}, allowed
    assert set(allowed.values()) <= {200, 400, 404}, allowed
    for path in (PUBLIC_KEYS, "/api/v1/holdfast/status", "/eth/v1/keystores", "/api/v1/tokens"):
        assert signer.get(path, headers=client)[0] == 403, path


def test_the_first_token_is_explained(signer):
    log = signer.log()
    assert "no_tokens" in log and "holdfast token create --kind management" in log


# ---- credentials -------------------------------------------------------------------------------


def test_bearer_and_basic_with_any_user(signer, manager):
    for headers in (bearer(manager), {"Authorization": f"bearer   {manager}"}, basic(manager), basic(manager, "any.body@here"),
                    basic(manager, "")):
        assert answers(signer, headers) == (200, []), headers
    wrong = [{"Authorization": manager}, {"Authorization": f"Token {manager}"}, {"Authorization": "Bearer "},
             {"Authorization": "Basic !"}, {"Authorization": "Basic " + base64.b64encode(manager.encode()).decode()},
             {"Authorization": "Bearer " + "x" * 4000}, basic("x" * 400), bearer(another(manager)),
             bearer(manager + "A"), bearer(manager[:-1]), bearer(manager.upper())]
    for headers in wrong:
        status, body = answers(signer, headers)
        assert (status, body["code"]) == (401, "UNAUTHORIZED"), headers


def test_a_url_with_a_token_works_in_a_client_that_waits_to_be_asked(signer, manager):
    keyring = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    url = f"http://127.0.0.1:{signer.port}"
    keyring.add_password(None, url, "x", manager)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(keyring))
    assert json.load(opener.open(url + PUBLIC_KEYS, timeout=harness.PATIENCE)) == []
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url + PUBLIC_KEYS, timeout=harness.PATIENCE)
    assert refused.value.code == 401
    assert refused.value.headers.get_all("WWW-Authenticate") == ["Bearer", 'Basic realm="holdfast"']


def test_the_key_managers_own_token_opens_its_api_alone(signer):
    with open(os.path.join(signer.data_dir, "key-manager-token"), encoding="ascii") as text:
        own = bearer(text.read().strip())
    assert signer.get("/eth/v1/keystores", headers=own) == (200, {"data": []})
    for path in (PUBLIC_KEYS, "/api/v1/tokens", "/api/v1/holdfast/status"):
        assert signer.get(path, headers=own)[0] == 401, path


# ---- life and death of a token -----------------------------------------------------------------


def test_a_revoked_token_is_none_from_the_next_request_on(signer, manager):
    made = create(signer, "--kind", "management")
    assert answers(signer, bearer(made["token"]))[0] == 200
    done = harness.run("token", "revoke", made["accessor"], "--data-dir", signer.data_dir)
    assert (done.returncode, done.stdout) == (0, "revoked\n")
    assert answers(signer, bearer(made["token"]))[0] == 401
    again = harness.run("token", "revoke", made["accessor"], "--data-dir", signer.data_dir)
    assert again.returncode == 1 and "no token has this accessor" in again.stderr
    assert answers(signer, bearer(manager))[0] == 200


def test_an_expired_token_is_none(signer):
    made = create(signer, "--kind", "management", "--ttl", "2s")
    assert answers(signer, bearer(made["token"]))[0] == 200
    signer.wait_until(lambda: answers(signer, bearer(made["token"]))[0] == 401, "it expired")
    assert answers(signer, bearer(made["token"]))[1]["error"] == "the token has expired"
    assert answers(signer, bearer(another(made["token"])))[1]["error"] == "the token is not valid"


def test_a_token_is_bound_to_its_addresses(signer):
    here = create(signer, "--kind", "management", "--source", "127.0.0.0/8", "--source", "2001:db8::/32")
    there = create(signer, "--kind", "management", "--source", "10.0.0.0/8")
    assert answers(signer, bearer(here["token"]))[0] == 200
    status, body = answers(signer, bearer(there["token"]))
    assert (status, body["error"]) == (401, "the token is not valid from this address")


def test_uses_are_counted_to_the_last(signer):
    made = create(signer, "--kind", "management", "--max-uses", "40")
    with concurrent.futures.ThreadPoolExecutor(12) as many:
        statuses = list(many.map(lambda _: answers(signer, bearer(made["token"]))[0], range(60)))
    assert sorted(set(statuses)) == [200, 401] and statuses.count(200) == 40
    assert answers(signer, bearer(made["token"]))[1]["error"] == "the token is used up"
    listed = harness.run("token", "list", "--json", "--data-dir", signer.data_dir)
    mine = [one for one in json.loads(listed.stdout) if one["accessor"] == made["accessor"]]
    assert mine[0]["max_uses"] == mine[0]["uses_reserved"] == 40


# ---- guessing ----------------------------------------------------------------------------------


def test_who_guesses_is_slowed_and_nobody_else(tmp_path):
    with harness.Signer(tmp_path, keys=0, config=TOKENS + EMPTY) as signer:
        manager = create(signer, "--kind", "management")["token"]
        statuses = [answers(signer, bearer(another(manager)))[0] for _ in range(30)]
        assert statuses[:20] == [401] * 20 and statuses[-1] == 429
        status, body = answers(signer, bearer("hft_" + "0" * 24 + "." + "A" * 43))
        assert (status, body["code"]) == (429, "RATE_LIMITED") and "wait" in body["error"]
        connection = http.client.HTTPConnection("127.0.0.1", signer.port, timeout=harness.PATIENCE)
        connection.request("GET", PUBLIC_KEYS, headers=bearer("x" * 60))
        assert int(connection.getresponse().headers["Retry-After"]) > 0
        connection.close()
        assert answers(signer, bearer(manager))[0] == 200  # behind one proxy all have one address
        text = signer.metrics()
        for label in ("UNAUTHORIZED", "RATE_LIMITED"):
            count = re.search(rf'holdfast_auth_rejections_total{{reason="{label}"}} (\d+)', text)
            assert int(count.group(1)) >= 10, label
        assert int(re.search(r'holdfast_token_rejections_total{verdict="unknown"} (\d+)', text).group(1)) == 32
        assert manager not in signer.log() and another(manager) not in signer.log()


# ---- at rest -----------------------------------------------------------------------------------


def kill(signer):
    """As a power cut ends it."""
    for pids in signer.children().values():
        for pid in pids:
            os.kill(pid, 9)
    signer.process.kill()
    signer.process.wait()
    signer.process = None


def test_tokens_outlive_the_signer_and_uses_do_not_come_back(tmp_path):
    signer = harness.Signer(tmp_path, keys=0, config=TOKENS + EMPTY)
    with signer:
        kept = create(signer, "--kind", "management")["token"]
        used = create(signer, "--kind", "management", "--max-uses", "3")["token"]
        assert [answers(signer, bearer(used))[0] for _ in range(2)] == [200, 200]
        kill(signer)
        signer.start()
        assert answers(signer, bearer(kept))[0] == 200
        assert [answers(signer, bearer(used))[0] for _ in range(3)] == [200, 401, 401]
        assert "no_tokens" in signer.log()
    for name in os.listdir(signer.data_dir):
        path = os.path.join(signer.data_dir, name)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                content = file.read()
            assert kept.split(".")[1].encode() not in content, f"{name} holds the secret of a token"
    assert os.stat(os.path.join(signer.data_dir, "token.key")).st_mode & 0o777 == 0o600


def test_a_record_that_was_changed_lets_nobody_in(tmp_path):
    signer = harness.Signer(tmp_path, keys=0, config=TOKENS + EMPTY)
    with signer:
        client = create(signer, "--policy", "a")
        manager = create(signer, "--kind", "management")
    database = sqlite3.connect(os.path.join(signer.data_dir, "slashing.sqlite"))
    data = {row[0][:24].decode(): row[1] for row in database.execute("SELECT id, data FROM records WHERE kind = 3")}
    record = bytearray(data[client["accessor"]])
    record[1] = 1  # a management token
    database.execute("UPDATE records SET data = ? WHERE kind = 3 AND substr(id, 1, 24) = ?",
                     (bytes(record), client["accessor"].encode()))
    database.commit()
    database.close()
    with signer:
        assert answers(signer, bearer(client["token"]))[0] == 401
        assert answers(signer, bearer(manager["token"]))[0] == 200
        assert f"token_record_refused: {client['accessor']}: the record of a token was changed" in signer.log()


# ---- over HTTP and by command -------------------------------------------------------------------


def test_tokens_by_http(signer, manager):
    body = {"kind": "client", "name": 'a "client"', "policies": ["attest", "propose"], "ttl": "1h", "max_uses": 5,
            "sources": ["10.0.0.0/8", "::1"]}
    status, made = signer.request("POST", "/api/v1/tokens", body, headers=bearer(manager))
    assert status == 201 and re.fullmatch(r"hft_[0-9a-f]{24}\.[A-Za-z0-9_-]{43}", made["token"])
    assert all(made[name] == body[name] for name in body if name != "ttl"), made
    lifetime = time.mktime(time.strptime(made["expires"], "%Y-%m-%dT%H:%M:%SZ")) - \
        time.mktime(time.strptime(made["created"], "%Y-%m-%dT%H:%M:%SZ"))
    assert lifetime == 3600
    status, listed = signer.get("/api/v1/tokens", headers=bearer(manager))
    mine = [one for one in listed["tokens"] if one["accessor"] == made["accessor"]]
    assert status == 200 and mine == [{name: made[name] for name in made if name != "token"}]
    path = "/api/v1/tokens/" + made["accessor"]
    assert signer.request("DELETE", path, headers=bearer(manager)) == (200, {"revoked": made["accessor"]})
    assert signer.request("DELETE", path, headers=bearer(manager))[0] == 404


@pytest.mark.parametrize(("body", "sentence"), [
    ({}, "policies: a client token needs one"), ([], "the body must be a JSON object"), ("{", "the body is not JSON"),
    ({"kind": "root"}, "kind: must be"), ({"policies": "a"}, "policies: must be an array"),
    ({"policies": ["a b"]}, "policies: a name is"), ({"policies": ["a", "a"]}, "policies: one is named twice"),
    ({"policies": ["a"] * 9}, "policies: must be an array of at most 8"), ({"policies": [7]}, "policies: each"),
    ({"policies": ["a"], "sources": ["10.0.0.1/8"]}, "sources: each must be"),
    ({"policies": ["a"], "ttl": "soon"}, "ttl: must be"), ({"policies": ["a"], "ttl": 0}, "ttl: must be"),
    ({"policies": ["a"], "max_uses": 0}, "max_uses: must be"), ({"policies": ["a"], "max_uses": "3"}, "max_uses: must be"),
    ({"policies": ["a"], "name": "x" * 64}, "name: must be"), ({"policies": ["a"], "name": "\n"}, "name: at most"),
    ({"policies": ["a"], "colour": 1}, "a member is unknown"), ('{"kind": "client", "kind": "management"}', "not JSON"),
])
def test_wrong_terms_are_named(signer, manager, body, sentence):
    status, answer = signer.request("POST", "/api/v1/tokens", json.dumps(body) if isinstance(body, list) else body,
                                    headers=bearer(manager))
    assert (status, answer["code"]) == (400, "MALFORMED") and sentence in answer["error"], answer


def test_many_tokens_are_listed_once_each(signer, manager):
    made = {signer.request("POST", "/api/v1/tokens", {"policies": ["a"]}, headers=bearer(manager))[1]["accessor"]
            for _ in range(40)}
    listed = [one["accessor"] for one in signer.get("/api/v1/tokens", headers=bearer(manager))[1]["tokens"]]
    assert made <= set(listed) and len(listed) == len(set(listed)) and listed == sorted(listed)
    by_command = harness.run("token", "list", "--data-dir", signer.data_dir).stdout.splitlines()
    assert [line.split()[0] for line in by_command] == listed


def test_a_policy_that_is_not_there_is_named(signer, manager):
    sentence = "policy b does not exist; there are: a, attest, propose, nothing"
    before = len(signer.get("/api/v1/tokens", headers=bearer(manager))[1]["tokens"])
    for terms in ({"policies": ["a", "b"]}, {"policies": ["b"]}, {"kind": "management", "policies": ["b"]}):
        status, answer = signer.request("POST", "/api/v1/tokens", terms, headers=bearer(manager))
        assert (status, answer["code"], answer["error"]) == (400, "MALFORMED", sentence)
    done = harness.run("token", "create", "--data-dir", signer.data_dir, "--policy", "b")
    assert done.returncode == 1 and done.stdout == "" and sentence in done.stderr
    assert len(signer.get("/api/v1/tokens", headers=bearer(manager))[1]["tokens"]) == before


def test_a_revoked_token_whose_record_is_put_back(tmp_path):
    """Whoever can write to the database gives a token no second life, while the signer remembers the first."""
    with harness.Signer(tmp_path, keys=0, config=TOKENS + EMPTY) as signer:
        manager = create(signer, "--kind", "management")
        victim = create(signer, "--kind", "management")
        assert answers(signer, bearer(victim["token"]))[0] == 200
        database = sqlite3.connect(os.path.join(signer.data_dir, "slashing.sqlite"), timeout=30)
        find = "kind = 3 AND substr(id, 1, 24) = ?"
        key = (victim["accessor"].encode(),)
        row = database.execute(f"SELECT kind, id, version, data FROM records WHERE {find}", key).fetchone()
        done = harness.run("token", "revoke", victim["accessor"], "--data-dir", signer.data_dir)
        assert done.returncode == 0, done.stderr
        database.execute("INSERT INTO records(kind, id, version, data) VALUES (?, ?, ?, ?)", row)
        database.commit()
        database.close()
        create(signer, "--policy", "a")  # the records are read again
        harness.run("token", "revoke", "0" * 24, "--data-dir", signer.data_dir)
        assert answers(signer, bearer(victim["token"]))[0] == 401
        assert answers(signer, bearer(manager["token"]))[0] == 200


def test_the_command_prints_the_token_alone(signer):
    done = harness.run("token", "create", "--data-dir", signer.data_dir, "--policy", "a", "--ttl", "30d")
    assert re.fullmatch(r"hft_[0-9a-f]{24}\.[A-Za-z0-9_-]{43}\n", done.stdout)
    assert "this once" in done.stderr and done.stdout.strip() not in done.stderr


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["create"], "which policies?"), (["create", "--kind", "root"], "--kind: must be client or management"),
    (["create", "--policy", "a b"], "policies: a name is"), (["create", "--policy", "a", "--ttl", "1w"], "--ttl: give a time"),
    (["create", "--policy", "a", "--max-uses", "0"], "--max-uses: must be a number"),
    (["create", "--policy", "a", "--source", "here"], "--source: here: not an address"),
    (["create", "--policy", "a", "--name", "x" * 64], "--name: at most"), (["revoke", "xyz"], "an accessor is 24"),
])
def test_wrong_commands_are_explained(signer, arguments, sentence):
    done = harness.run("token", *arguments, "--data-dir", signer.data_dir)
    assert done.returncode == 2 and sentence in done.stderr, done.stderr


def test_without_a_signer_the_command_says_so(tmp_path):
    done = harness.run("token", "list", "--data-dir", tmp_path)
    assert done.returncode == 1 and "no signer runs there" in done.stderr


def test_a_key_file_that_others_can_read_refuses_the_start(tmp_path):
    signer = harness.Signer(tmp_path, keys=0, config=TOKENS + EMPTY)
    os.makedirs(signer.data_dir, mode=0o700)
    key = os.path.join(signer.data_dir, "token.key")
    for content, mode, sentence in (("ab" * 32, 0o644, "others can read this secret"), ("short", 0o600, "not a key of 64")):
        with open(key, "w", encoding="ascii") as out:
            out.write(content)
        os.chmod(key, mode)
        done = harness.run("serve", "-c", signer.config_path)
        assert done.returncode != 0 and "auth.key_file" in done.stderr and sentence in done.stderr, done.stderr


# ---- what policies allow -----------------------------------------------------------------------

POLICIES = TOKENS + """
policies:
  attester:
    - {effect: allow, scopes: [sign], operations: [ATTESTATION], keys: ["%s"]}
  everything:
    - {effect: allow, scopes: "*", operations: "*", keys: "*"}
  careful:
    - {effect: deny, operations: [BLOCK_V2]}
  reader:
    - {effect: allow, scopes: [public_keys, keys_list], keys: ["%s"]}
  unseeing:
    - {effect: deny, scopes: [status]}
  slow:
    - {effect: allow, scopes: [sign], operations: [ATTESTATION], keys: "*", rate: 2/60s}
  near:
    - {effect: allow, scopes: [sign], operations: "*", keys: "*", addresses: [10.0.0.0/8]}
  short:
    - {effect: allow, scopes: [sign], operations: "*", keys: "*", token_ttl: 1h}
"""


@pytest.fixture(scope="module", name="keyed")
def fixture_keyed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policies")
    signer = harness.Signer(folder, keys=2, config=POLICIES)
    with open(signer.config_path, encoding="utf-8") as text:
        harness.write_private(signer.config_path, text.read() % (signer.pubkeys[0], signer.pubkeys[0]))
    with signer:
        manager = bearer(create(signer, "--kind", "management")["token"])
        signer.wait_until(lambda: len(signer.get(PUBLIC_KEYS, headers=manager)[1]) == 2, "its keys are loaded")
        yield signer


def vote(signer, pubkey, epoch, headers):
    status, body = signer.sign(pubkey, harness.attestation(epoch - 1, epoch), headers=headers)
    return status, body.get("error", "") if isinstance(body, dict) else ""


def test_a_client_signs_what_its_policies_allow(keyed):
    first, second = keyed.pubkeys
    client = create(keyed, "--policy", "attester")["token"]
    for headers in (bearer(client), basic(client)):
        assert vote(keyed, first, 10, headers)[0] == 200  # the same again is signed again
    status, sentence = vote(keyed, second, 10, bearer(client))
    assert status == 403 and "no rule of the token's policies allows" in sentence, sentence
    status, body = keyed.sign(first, harness.block(77), headers=bearer(client))
    assert (status, body["code"]) == (403, "FORBIDDEN")
    assert keyed.sign(UNKNOWN_KEY, harness.attestation(1, 2), headers=bearer(client))[0] == 403
    assert keyed.get("/api/v1/holdfast/status", headers=bearer(client))[0] == 403
    assert vote(keyed, first, 11, {})[0] == vote(keyed, first, 11, bearer(another(client)))[0] == 401


def test_deny_beats_allow_over_all_policies(keyed):
    first = keyed.pubkeys[0]
    free = bearer(create(keyed, "--policy", "everything")["token"])
    bound = bearer(create(keyed, "--policy", "careful", "--policy", "everything")["token"])
    assert keyed.sign(first, harness.block(100), headers=free)[0] == 200
    status, body = keyed.sign(first, harness.block(101), headers=bound)
    assert status == 403 and "rule 1 of policy careful" in body["error"]
    assert vote(keyed, first, 20, bound)[0] == 200
    assert keyed.get("/eth/v1/keystores", headers=free)[0] == 200
    # what would make it stronger than it is, it may not
    assert keyed.request("POST", "/api/v1/tokens", {"kind": "management"}, headers=free)[0] == 403
    assert keyed.get("/api/v1/tokens", headers=free)[0] == 403


def test_rules_look_at_rate_address_and_lifetime(keyed):
    first, second = keyed.pubkeys
    slow = bearer(create(keyed, "--policy", "slow")["token"])
    assert [vote(keyed, second, epoch, slow)[0] for epoch in (30, 31, 32)] == [200, 200, 429]
    assert vote(keyed, first, 30, slow)[0] == 200
    assert vote(keyed, first, 40, bearer(create(keyed, "--policy", "near")["token"]))[0] == 403
    assert vote(keyed, first, 40, bearer(create(keyed, "--policy", "short")["token"]))[0] == 403
    assert vote(keyed, first, 40, bearer(create(keyed, "--policy", "short", "--ttl", "1h")["token"]))[0] == 200


def test_a_management_token_signs_what_a_policy_gives_it(keyed):
    first, second = keyed.pubkeys
    headers = bearer(create(keyed, "--kind", "management", "--policy", "attester")["token"])
    assert vote(keyed, first, 50, headers)[0] == 200
    assert vote(keyed, second, 50, headers)[0] == 403


def test_a_use_is_one_signature(keyed):
    first = keyed.pubkeys[0]
    made = bearer(create(keyed, "--policy", "attester", "--max-uses", "3")["token"])
    with concurrent.futures.ThreadPoolExecutor(6) as many:
        statuses = list(many.map(lambda epoch: vote(keyed, first, epoch, made)[0], range(60, 70)))
    assert sorted(statuses)[:3] != [401, 401, 401] and statuses.count(200) + statuses.count(412) == 3
    assert statuses.count(401) == 7


def test_a_list_shows_what_the_policies_speak_of(keyed):
    first, second = keyed.pubkeys
    reader = bearer(create(keyed, "--policy", "reader")["token"])
    assert keyed.get(PUBLIC_KEYS, headers=reader) == (200, [first])
    assert [one["validating_pubkey"] for one in keyed.get("/eth/v1/keystores", headers=reader)[1]["data"]] == [first]
    free = bearer(create(keyed, "--policy", "everything")["token"])
    assert sorted(keyed.get(PUBLIC_KEYS, headers=free)[1]) == sorted([first, second])


def test_a_denial_binds_a_management_token_as_well(keyed):
    headers = bearer(create(keyed, "--kind", "management", "--policy", "unseeing")["token"])
    assert len(keyed.get(PUBLIC_KEYS, headers=headers)[1]) == 2
    status, body = keyed.get("/api/v1/holdfast/status", headers=headers)
    assert status == 403 and "rule 1 of policy unseeing" in body["error"]
