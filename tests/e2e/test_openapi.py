"""docs/openapi.yaml against the running server, in both directions: what is documented answers as
documented, and what the server answers is documented."""

import json
import os
import re
import subprocess

import pytest
import yaml
from harness import BUILD, ROOT, Signer, attestation, block, fork_info, run

with open(os.path.join(ROOT, "docs", "openapi.yaml"), encoding="utf-8") as text:
    API = yaml.safe_load(text)

METHODS = ("get", "post", "put", "delete")
UNKNOWN_KEY = "0x" + "ab" * 48
# Answers that need a broken store, a flood or a race; tests/unit/front makes them.
NOT_PROBED = {"502": "any", "503": "any", "504": "any", "409": "any", "429": "any"}


def operations():
    for path, item in API["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def resolve(node):
    while "$ref" in node:
        target = API
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def mismatch(value, schema, where="body"):
    """What of the value is not as the schema says, or None. The part of JSON Schema that API uses."""
    schema = resolve(schema)
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
    known = {"type", "properties", "required", "items", "enum", "pattern", "format", "description",
             "nullable"}
    assert set(schema) <= known, f"{where}: the test knows no {set(schema) - known}"
    if value is None and schema.get("nullable"):
        return None
    if not isinstance(value, kinds[schema["type"]]) or (schema["type"] == "integer" and isinstance(value, bool)):
        return f"{where}: {value!r} is no {schema['type']}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where}: {value!r} is none of {schema['enum']}"
    if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
        return f"{where}: {value!r} does not match {schema['pattern']}"
    if schema["type"] == "array":
        found = (mismatch(item, schema["items"], f"{where}[{i}]") for i, item in enumerate(value))
        return next(filter(None, found), None)
    if schema["type"] == "object" and "properties" in schema:
        for name in schema.get("required", []):
            if name not in value:
                return f"{where}.{name} is missing"
        for name, inner in value.items():
            if name not in schema["properties"]:
                return f"{where}.{name} is not documented"
            wrong = mismatch(inner, schema["properties"][name], f"{where}.{name}")
            if wrong:
                return wrong
    return None


@pytest.fixture(scope="module", name="signer")
def fixture_signer(tmp_path_factory):
    with Signer(tmp_path_factory.mktemp("openapi"), keys=2, config="policies: {a: {rules: []}, none: {rules: []}}\n") as signer:
        yield signer


def token(signer):
    with open(os.path.join(signer.data_dir, "key-manager-token"), encoding="utf-8") as secret:
        return {"Authorization": "Bearer " + secret.read().strip()}


WRONG_TOKEN = {"Authorization": "Bearer " + "0" * 64}
JSON = {"Accept": "application/json"}
TEXT = {"Accept": "text/plain"}
SIGN = "/api/v1/eth2/sign/{pubkey}"
DUTY = "/api/v1/duty/sign"
# Answers that need a database: test_duty.py makes them.
NEED_POSTGRES = {(DUTY, "post", "200"), (DUTY, "post", "412")}
# Needs a key of the execution layer: test_eth1.py.
ETH1 = "/api/v1/eth1/sign/{id}"
NEED_ETH1 = {(ETH1, "post", "200")}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "eth_accounts", "params": []}
# Need a signer with sealed keys: test_seal.py, test_sealed_keys.py
SEAL = ("/api/v1/seal/", "/api/v1/holdfast/keys")
TOKENS = "/api/v1/tokens"
REVOKE = TOKENS + "/{accessor}"
POLICIES = "/api/v1/policies"
POLICY = POLICIES + "/{name}"
APPROVE = "/api/v1/exits/{pubkey}/approve"
KEYSTORES = "/eth/v1/keystores"
EXIT = "/eth/v1/validator/{pubkey}/voluntary_exit"
HUGE = "x" * 3_000_000


def auth_request():
    """A duty that needs no database, of a validator that is not here."""
    return {"validatorAddress": "0x" + "ab" * 20, "messageHash": "0x" + "cd" * 32, "dutyType": "AUTH_REQUEST",
            "hashing": "eip191"}


def probes(signer):
    """(path, method, status, body, headers, query, pubkey): at least one for each documented answer."""
    bearer = token(signer)
    key = signer.pubkeys[0]
    wrong_network = {"type": "RANDAO_REVEAL", "randao_reveal": {"epoch": "1"}, "fork_info": fork_info("0x" + "01" * 32)}
    empty = {"keystores": [], "passwords": []}
    probe = [
        (SIGN, "post", 200, attestation(1, 2), JSON), (SIGN, "post", 200, block(7), TEXT), (SIGN, "post", 200, block(8)),
        (SIGN, "post", 400, "{"), (SIGN, "post", 400, {"type": "NOTHING"}), (SIGN, "post", 403, wrong_network),
        (SIGN, "post", 404, attestation(1, 2), JSON, "", UNKNOWN_KEY), (SIGN, "post", 412, attestation(1, 2, mark=1)),
        (SIGN, "post", 413, HUGE), (SIGN, "post", 415, "{}", {"Content-Type": "text/plain"}),
        (DUTY, "post", 400, "{"), (DUTY, "post", 400, {"dutyType": "NOTHING"}), (DUTY, "post", 404, auth_request()),
        (DUTY, "post", 403, auth_request(), {"Origin": "https://web.example"}),
        (DUTY, "post", 413, HUGE), (DUTY, "post", 415, "{}", {"Content-Type": "text/plain"}),
        ("/", "post", 200, CALL), ("/", "post", 400, "{"), ("/", "post", 403, CALL, {"Origin": "https://web.example"}),
        ("/", "post", 413, HUGE), ("/", "post", 415, "{}", {"Content-Type": "text/plain"}),
        ("/api/v1/eth1/publicKeys", "get", 200), (ETH1, "post", 400, {"data": "0x01"}),
        (ETH1, "post", 403, {}, {"Origin": "https://web.example"}),
        (ETH1, "post", 404, {"data": "0x01"}, {}, "", "0x" + "ab" * 20), (ETH1, "post", 413, HUGE),
        (ETH1, "post", 415, "{}", {"Content-Type": "text/plain"}),
        ("/api/v1/eth2/publicKeys", "get", 200), ("/api/v1/eth2/highWatermark", "get", 200),
        ("/upcheck", "get", 200), ("/upcheck", "get", 200, None, JSON), ("/healthcheck", "get", 200),
        ("/reload", "get", 200), ("/reload", "post", 202), ("/api/v1/holdfast/status", "get", 200),
        ("/metrics", "get", 200),
        (KEYSTORES, "get", 200, None, bearer), (KEYSTORES, "post", 200, empty, bearer),
        (KEYSTORES, "post", 200, {"keystores": ["{}"], "passwords": ["x"]}, bearer),
        (KEYSTORES, "post", 400, {}, bearer), (KEYSTORES, "post", 413, HUGE, bearer),
        (KEYSTORES, "post", 415, "{}", {**bearer, "Content-Type": "text/plain"}),
        (KEYSTORES, "delete", 200, {"pubkeys": [key, UNKNOWN_KEY]}, bearer), (KEYSTORES, "delete", 400, {}, bearer),
        (KEYSTORES, "delete", 413, HUGE, bearer),
        (KEYSTORES, "delete", 415, "{}", {**bearer, "Content-Type": "text/plain"}),
        ("/eth/v1/remotekeys", "get", 200, None, bearer),
        (EXIT, "post", 200, None, bearer, "?validator_index=3"), (EXIT, "post", 200, None, bearer, "?validator_index=3&epoch=9"),
        (EXIT, "post", 400, None, bearer), (EXIT, "post", 404, None, bearer, "?validator_index=3", UNKNOWN_KEY),
    ]
    manager, victim = manage(signer, "first"), manage(signer, "second")
    manager = {"Authorization": "Bearer " + manager["token"]}
    probe += [
        (TOKENS, "get", 200, None, manager), (TOKENS, "get", 401), (TOKENS, "post", 401, {}, WRONG_TOKEN),
        (TOKENS, "post", 201, {"policies": ["a"], "ttl": "1h", "max_uses": 3, "sources": ["::1"]}, manager),
        (TOKENS, "post", 201, {"kind": "management"}, manager), (TOKENS, "post", 400, {}, manager),
        (TOKENS, "post", 413, HUGE), (TOKENS, "post", 415, "{}", {"Content-Type": "text/plain"}),
        (REVOKE, "delete", 200, None, manager, "", victim["accessor"]), (REVOKE, "delete", 401, None, {}, "", "0" * 24),
        (REVOKE, "delete", 404, None, manager, "", "0" * 24), (REVOKE, "delete", 400, None, manager, "", "zz"),
    ]
    client = {"Authorization": "Bearer " + made(signer, "--policy", "none")["token"]}
    rules, minutes = {"rules": [{"effect": "deny", "keys": [key]}]}, {"minutes": 1}
    probe += [
        (POLICY, "put", 200, rules, manager, "", "probe"), (POLICY, "get", 200, None, manager, "", "probe"),
        (POLICIES, "get", 200, None, manager), (POLICY, "delete", 200, None, manager, "", "probe"),
        (POLICY, "get", 404, None, manager, "", "probe"), (POLICY, "delete", 404, None, manager, "", "probe"),
        (POLICY, "put", 400, {}, manager, "", "probe"), (POLICIES, "get", 401), (POLICIES, "get", 403, None, client),
        (APPROVE, "post", 200, minutes, manager, "", signer.pubkeys[1]), (APPROVE, "post", 400, {}, manager),
        (APPROVE, "post", 404, minutes, manager, "", UNKNOWN_KEY), (APPROVE, "post", 401, minutes),
        (APPROVE, "post", 403, minutes, client),
    ]
    for path, method in ((POLICY, "put"), (APPROVE, "post")):
        probe += [(path, method, 413, HUGE, {}, "", "probe"), (path, method, 415, "{}", {"Content-Type": "text/plain"}, "", "probe")]
    for method in ("get", "put", "delete"):
        probe += [(POLICY, method, 401, rules, {}, "", "probe"), (POLICY, method, 403, rules, client, "", "probe"),
                  (POLICY, method, 400, rules, manager, "", "a.b")]
    for path, method, operation in operations():
        if operation.get("security") == [{"bearer": []}]:
            probe += [(path, method, 401), (path, method, 403, None, WRONG_TOKEN)]
            if set(operation["responses"]) & {"200", "202"} == set():
                probe.append((path, method, 404, None, bearer))
    return [(*one, *(None, {}, "", key)[len(one) - 3:]) for one in probe]


def manage(signer, name):
    return made(signer, "--kind", "management", "--name", name)


def made(signer, *terms):
    done = run("token", "create", *terms, "--json", "--data-dir", signer.data_dir)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ask(signer, path, method, body, headers, query, pubkey):
    port = signer.metrics_port if path == "/metrics" else signer.port
    try:
        return signer.request(method.upper(), re.sub("{[a-z]+}", pubkey, path) + query, body, headers, port=port)
    except (BrokenPipeError, ConnectionResetError):
        assert body == HUGE, "the connection broke"
        return 413, None  # refused while the body was still being sent: the answer was not waited for


def test_what_is_documented_answers_as_documented(signer):
    seen = set()
    for path, method, status, body, headers, query, pubkey in probes(signer):
        got, answer = ask(signer, path, method, body, headers, query, pubkey)
        assert got == status, f"{method} {path}: {answer}"
        documented = API["paths"][path][method]["responses"]
        assert str(status) in documented, f"{method} {path}: {status} is not documented"
        seen.add((path, method, str(status)))
        content = resolve(documented[str(status)])["content"]
        is_json = isinstance(answer, (dict, list))
        if answer is not None:
            kind = "application/json" if is_json else "text/plain"
            assert kind in content, f"{method} {path}: {status} is not documented as {kind}"
            assert mismatch(answer, content[kind]["schema"]) is None
    documented = {(path, method, status) for path, method, operation in operations() for status in operation["responses"]
                  if status not in NOT_PROBED}
    of_seal = {one for one in documented if one[0].startswith(SEAL)}
    assert documented - NEED_POSTGRES - NEED_ETH1 - of_seal == seen


def test_every_route_of_the_server_is_documented():
    routes = subprocess.run([os.path.join(BUILD, "holdfast-front"), "--routes"], capture_output=True, text=True,
                            check=True).stdout.splitlines()
    served = {tuple(line.split()[:2]) for line in routes}
    documented = {(method.upper(), path) for path, method, _ in operations()}
    assert served == documented


def test_undocumented_methods_are_refused(signer):
    for path in API["paths"]:
        port = signer.metrics_port if path == "/metrics" else signer.port
        for method in ("GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"):
            if method.lower() in API["paths"][path]:
                continue
            status, answer = signer.request(method, re.sub("{[a-z]+}", "0" * 24, path), port=port)
            assert (status, answer["code"]) == (405, "METHOD_NOT_ALLOWED"), f"{method} {path}"


def test_the_codes_of_errors_are_those_of_the_table():
    with open(os.path.join(ROOT, "src", "ipc", "reason.c"), encoding="utf-8") as source:
        table = set(re.findall(r"REASON\(\s*(\w+), \d+", source.read())) - {"OK"}
    assert set(API["components"]["schemas"]["Code"]["enum"]) == table


def test_the_version_is_the_projects(signer):
    assert API["info"]["version"] == signer.get("/api/v1/holdfast/status")[1]["version"]
    assert json.dumps(API)  # nothing in it that JSON cannot say
