"""The sealed keys over HTTP: /api/v1/holdfast/keys, as docs/openapi.yaml says, and who may do what to which of them."""

import json
import os
import threading

import pytest

from harness import attestation, make_keystores
from tampering import STRANGER
from test_openapi import API, mismatch, operations, resolve
from test_seal import Sealed

KEYS = "/api/v1/holdfast/keys"
ADDRESS = "0x" + "ab" * 20
POLICIES = """auth: {mode: tokens}
policies:
  one:
    - {effect: allow, scopes: [keys_list, keys_change], keys: ["%s"]}
  maker:
    - {effect: allow, scopes: [keys_generate, keys_list], keys: ["*"]}
  voter:
    - {effect: allow, scopes: [sign], operations: [ATTESTATION], keys: "*"}
  careful:
    - {effect: deny, scopes: [keys_delete]}
  none: {rules: []}
"""


def keystores(folder, count, first=0):
    """(pubkeys, body of an import) of new keystores."""
    pubkeys = make_keystores(str(folder), count, first)
    texts = [open(os.path.join(folder, name), encoding="utf-8").read() for name in sorted(os.listdir(folder))]
    with open(f"{folder}.password", encoding="utf-8") as password:
        passwords = [password.read().strip()] * count
    return pubkeys, {"keystores": texts, "passwords": passwords}


class Client:
    """Asks with a token, and holds each answer against the documentation."""

    def __init__(self, signer, *terms):
        self.signer = signer
        self.seen = set()
        token = json.loads(signer.holdfast("token", "create", "--json", *terms))
        self.accessor = token["accessor"]
        self.headers = {"Authorization": f"Bearer {token['token']}"}

    def ask(self, method, path, body=None, expect=200, key=None, query="", **headers):
        route = KEYS + path
        status, answer = self.signer.request(method, route.replace("{pubkey}", key or "") + query, body,
                                             headers={**self.headers, **headers})
        assert status == expect, (method, route, status, answer)
        documented = API["paths"][route][method.lower()]["responses"][str(status)]
        wrong = mismatch(answer, resolve(documented)["content"]["application/json"]["schema"])
        assert wrong is None, (route, wrong)
        self.seen.add((route, method.lower(), str(status)))
        return answer

    def list(self, query=""):
        return self.ask("GET", "", query=query)

    def statuses(self):
        return {key["pubkey"]: key["status"] for key in self.list()["keys"]}

    def change(self, verb, key, expect=200):
        return self.ask("POST", f"/{{pubkey}}/{verb}", key=key, expect=expect)

    def delete(self, key, expect=200):
        return self.ask("DELETE", "/{pubkey}", key=key, expect=expect)


@pytest.fixture(name="signer", scope="module")
def fixture_signer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sealed-keys")
    first = make_keystores(f"{folder}/first", 1, 50)[0]
    with Sealed(folder, config=POLICIES % first) as signer:
        signer.first = first
        signer.init(1, "alice")
        signer.unseal("alice")
        yield signer


@pytest.fixture(name="manager", scope="module")
def fixture_manager(signer):
    return Client(signer, "--kind", "management", "--name", "operator")



def test_the_life_of_keys_over_http(signer, manager, tmp_path):
    pubkeys, body = keystores(tmp_path / "in", 2)
    history = {"metadata": {"interchange_format_version": "5", "genesis_validators_root":
                            "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95"},
               "data": [{"pubkey": pubkeys[0], "signed_blocks": [],
                         "signed_attestations": [{"source_epoch": "4", "target_epoch": "20"}]}]}
    body["slashing_protection"] = json.dumps(history)
    bad = {"keystores": body["keystores"] + ["{}"], "passwords": body["passwords"] + ["x"],
           "slashing_protection": body["slashing_protection"]}
    answer = manager.ask("POST", "/import", bad)["data"]
    assert [one["status"] for one in answer] == ["imported", "imported", "error"] and answer[2]["message"]
    assert [one["status"] for one in manager.ask("POST", "/import", body)["data"]] == ["duplicate"] * 2
    assert not os.path.exists(f"{signer.data_dir}/imported/{pubkeys[0]}.json")  # records of the store, not files
    made = [key["pubkey"] for key in manager.ask("POST", "/generate", {"count": 33})["keys"]]
    idle = manager.ask("POST", "/generate", {"active": False})["keys"][0]["pubkey"]
    assert len(set(made)) == 33
    assert manager.statuses() == {idle: "inactive", **{key: "active" for key in pubkeys + made}}
    token = {"headers": Client(signer, "--policy", "none").headers}
    assert signer.sign(pubkeys[0], attestation(3, 21), **token)[0] == 403
    manager.change("activate", idle)
    manager.change("deactivate", pubkeys[1])
    manager.delete(made[0])
    assert manager.statuses()[idle] == "active" and manager.statuses()[pubkeys[1]] == "inactive"
    manager.delete(made[0], 404)
    manager.change("activate", STRANGER, 404)
    manager.change("deactivate", ADDRESS, 404)
    for wrong in ("0x12", "import", "0x" + "zz" * 48):
        manager.change("deactivate", wrong, 400)
        manager.change("activate", wrong, 400)
        if wrong != "import":
            manager.delete(wrong, 400)
    text = open(f"{signer.data_dir}/audit.log", encoding="utf-8").read()
    assert text.count("key_imported") >= 36 and "deactivated" in text and manager.accessor in text
    for line in text.splitlines():  # who did it stands in each
        if '"key_changed"' in line or '"key_deleted"' in line:
            assert manager.accessor in line, line


def test_pages_come_in_a_fixed_order(manager):
    manager.ask("POST", "/generate", {"count": 12})
    everything = manager.list()
    names = [key["pubkey"] for key in everything["keys"]]
    assert everything["next"] is None and len(names) > 10
    paged, after = [], ""
    while after is not None:
        page = manager.list(f"?limit=4{after}")
        assert 0 < len(page["keys"]) <= 4
        paged += [key["pubkey"] for key in page["keys"]]
        after = None if page["next"] is None else f"&after={page['next']}"
    assert paged == names
    for query in ("?limit=0", "?limit=10001", "?limit=x", "?limit=", "?limit=-1", "?after=", "?after=0x12", "?after=zz"):
        manager.ask("GET", "", query=query, expect=400)
    assert manager.list("?after=0x" + "ff" * 48)["next"] is None  # nothing need be there


def test_a_token_sees_and_changes_its_own_keys_alone(signer, manager):
    text = open(f"{signer.folder}/first/" + os.listdir(f"{signer.folder}/first")[0], encoding="utf-8").read()
    password = open(f"{signer.folder}/first.password", encoding="utf-8").read().strip()
    manager.ask("POST", "/import", {"keystores": [text], "passwords": [password]})
    other = manager.ask("POST", "/generate", {})["keys"][0]["pubkey"]
    one = Client(signer, "--policy", "one")
    assert one.statuses() == {signer.first: "active"}
    one.change("deactivate", signer.first)
    assert one.statuses() == {signer.first: "inactive"}  # not loaded, and still its own
    one.change("deactivate", other, 403)
    one.delete(signer.first, 403)
    one.ask("POST", "/generate", {}, 403)
    one.ask("POST", "/import", {"keystores": [], "passwords": []}, 200)  # nothing was asked for
    one.ask("POST", "/import", {"keystores": [text], "passwords": [password]}, 403)
    maker = Client(signer, "--policy", "maker")
    fresh = maker.ask("POST", "/generate", {"count": 1, "active": False})["keys"][0]["pubkey"]
    assert maker.statuses() == manager.statuses() and fresh in maker.statuses()
    maker.change("activate", fresh, 403)
    careful = Client(signer, "--kind", "management", "--policy", "careful")
    careful.delete(fresh, 403)
    careful.change("activate", fresh)
    manager.delete(fresh)
    limited = Client(signer, "--policy", "maker", "--max-uses", "2")
    assert limited.list()["next"] is None  # sixty-four pages of the manifest are one use
    assert limited.list("?limit=1")["next"] is not None
    limited.ask("GET", "", expect=401)


def test_hostile_bodies_change_nothing(signer, manager):
    before = manager.statuses()
    for wrong in ("{", "[]", "7", '"x"', "null", '{"count":0}', '{"count":1001}', '{"count":-1}', '{"count":"1"}',
                  '{"count":1.5}', '{"count":1e3}', '{"count":99999999999999999999}', '{"count":1,"count":2}',
                  '{"active":1}', '{"active":null}', '{"more":1}', '{"count":1,"more":1}', "{}x", "\x00", "{\"count\":1"):
        manager.ask("POST", "/generate", wrong, 400)
    for wrong in ("{", "[]", "{}", '{"keystores":[]}', '{"keystores":{},"passwords":[]}', '{"keystores":[1],"passwords":["x"]}',
                  '{"keystores":["{}"],"passwords":[]}', '{"keystores":["{}"],"passwords":[7]}',
                  '{"keystores":[],"passwords":[],"slashing_protection":{}}',
                  '{"keystores":[],"passwords":[],"slashing_protection":"{}"}',
                  json.dumps({"keystores": ["{}"] * 1001, "passwords": ["x"] * 1001})):
        manager.ask("POST", "/import", wrong, 400)
    deep = "[" * 5000 + "]" * 5000
    many = {"keystores": ["", "{}", deep, json.dumps({"version": 4}), "x" * 300000], "passwords": ["", "x", "y" * 9000, "", ""]}
    for one in manager.ask("POST", "/import", many)["data"]:
        assert one["status"] == "error" and one["message"]
    assert manager.statuses() == before


def test_imports_of_many_at_once_wait_for_each_other(signer, manager, tmp_path):
    pubkeys, body = keystores(tmp_path / "in", 4, 70)
    answers = []

    def bring(i):
        one = {"keystores": [body["keystores"][i]], "passwords": [body["passwords"][i]]}
        answers.append(manager.ask("POST", "/import", one)["data"][0])

    threads = [threading.Thread(target=bring, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one["status"] for one in answers] == ["imported"] * 4, answers
    assert set(pubkeys) <= set(manager.statuses())


def test_a_key_that_a_file_has_too_is_not_taken_for_gone(signer, manager, tmp_path):
    (pubkey,), body = keystores(tmp_path / "in", 1, 90)
    voter = Client(signer, "--policy", "voter").headers
    status, answer = signer.request("POST", "/eth/v1/keystores", body, headers=manager.headers)
    assert status == 200 and answer["data"][0]["status"] == "imported", answer
    assert manager.ask("POST", "/import", body)["data"][0]["status"] == "imported"
    for refused in (manager.change("deactivate", pubkey, 409), manager.delete(pubkey, 409)):
        assert "a key file" in str(refused), refused
    assert manager.statuses()[pubkey] == "active"
    status, answer = signer.request("DELETE", "/eth/v1/keystores", {"pubkeys": [pubkey]}, headers=manager.headers)
    assert status == 200 and answer["data"][0]["status"] == "error", answer  # a record of it is left
    manager.delete(pubkey)
    status, answer = signer.request("DELETE", "/eth/v1/keystores", {"pubkeys": [pubkey]}, headers=manager.headers)
    assert status == 200 and answer["data"][0]["status"] == "not_found", answer
    assert signer.sign(pubkey, attestation(1, 2), headers=voter)[0] == 404


def test_hundreds_of_keys_are_ready_again_after_unsealing(signer, manager):
    """What `make bench` times with ten thousand: all of them come back, and sign."""
    made = [key["pubkey"] for key in manager.ask("POST", "/generate", {"count": 300})["keys"]]
    before = manager.statuses()
    assert len(set(made)) == 300 and set(made) <= set(before)
    signer.seal("seal")
    signer.unseal("alice")
    assert manager.statuses() == before
    voter = Client(signer, "--policy", "voter").headers
    for pubkey in made[::29]:
        assert signer.sign(pubkey, attestation(1, 2), headers=voter)[0] == 200


def test_who_has_no_right_is_refused_and_all_answers_are_documented(signer, manager):
    nobody = Client(signer, "--policy", "none")
    stranger = {"Authorization": "Bearer x"}
    with open(os.path.join(signer.data_dir, "key-manager-token"), encoding="utf-8") as secret:
        key_manager = {"Authorization": "Bearer " + secret.read().strip()}
    routes = [("GET", "", None), ("POST", "/generate", {}), ("POST", "/import", {"keystores": ["{}"], "passwords": ["x"]}),
              ("POST", "/{pubkey}/activate", None), ("POST", "/{pubkey}/deactivate", None), ("DELETE", "/{pubkey}", None)]
    for method, path, body in routes:
        nobody.ask(method, path, body, 401, STRANGER, **stranger)
        nobody.ask(method, path, body, 403, STRANGER)
        nobody.ask(method, path, body, 401, STRANGER, **key_manager)  # opens /eth/v1 and nothing else
    for path in ("/import", "/generate"):
        manager.ask("POST", path, "{}", 415, **{"Content-Type": "text/plain"})
    signer.seal("seal")
    for method, path, body in routes:
        assert manager.ask(method, path, body, 503, STRANGER)["code"] == "SEALED"
    signer.unseal("alice")
    documented = {(path, method, status) for path, method, operation in operations() for status in operation["responses"]
                  if path.startswith(KEYS) and status not in ("409", "413", "429", "503")}
    assert {one for one in manager.seen | nobody.seen if one[2] not in ("409", "503")} <= documented
