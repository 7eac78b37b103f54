"""The seal machine of a running signer: ceremonies, wrong orders, restarts, tampered records, memory."""

import base64
import hashlib
import json
import os
import re
import subprocess

import pytest
import tampering

from harness import SANITIZED, Signer, attestation, make_keystores, run, write_private
from tampering import STRANGER, named
from test_openapi import API, mismatch, operations, resolve

KDF = ["--kdf-memory", "19", "--kdf-passes", "2"]
PASSWORDS = {"alice": "correct horse battery", "bob": "staple of the second", "carol": "third one of three"}


class Sealed(Signer):
    """A signer with sealed keys, and what people type at it."""

    def __init__(self, folder, machines=False, config="", **kwargs):
        folder = str(folder)
        self.machines = os.path.join(folder, "machines")
        keys = ""
        if machines:
            os.makedirs(self.machines, mode=0o700, exist_ok=True)
            keys = f", key_file_dir: {self.machines}"
        if "slashing_protection" not in config:  # tests kill it and ask for old epochs afterwards
            config += "slashing_protection: {start_guard: off}\n"
        super().__init__(folder, keys=0, config=f"signing_keys:\n  - {{backend: sealed{keys}}}\n{config}", **kwargs)
        for name, text in PASSWORDS.items():
            write_private(f"{folder}/{name}.pass", text)

    def start(self, wait=True):
        super().start(wait)
        self.wait_until(lambda: self.state()["known"], "the store was read")

    def holdfast(self, *arguments, ok=True):
        done = run(*arguments, "--data-dir", self.data_dir)
        assert done.returncode == (0 if ok else 1), done.stdout + done.stderr
        return done.stdout if ok else done.stderr

    def seal(self, *arguments, ok=True):
        return self.holdfast("seal", *arguments, ok=ok)

    def state(self):
        return json.loads(self.seal("status", "--json"))

    def people(self, *names):
        return [word for name in names for word in
                ("--holder", f"{name}:passphrase", "--passphrase-file", f"{name}={self.folder}/{name}.pass")]

    def init(self, threshold, *names, verb="init", more=()):
        return self.seal(verb, "--threshold", str(threshold), *self.people(*names), *more, *KDF)

    def unseal(self, name, password_of=None, ok=True):
        return self.seal("unseal", "--holder", name, "--passphrase-file",
                         f"{self.folder}/{password_of or name}.pass", ok=ok)

    def add_keys(self, count, first=0):
        folder = f"{self.folder}/import-{first}"
        pubkeys = make_keystores(folder, count, first)
        out = self.holdfast("key", "import", folder, "--password-file", folder + ".password", "--backend", "sealed")
        assert f"{count} imported" in out, out
        return pubkeys

    def keys(self):
        rows = json.loads(self.holdfast("key", "list", "--backend", "sealed", "--json"))
        return {row["pubkey"]: row["status"] for row in rows}

    def signs(self, pubkey, target):
        status, body = self.sign(pubkey, attestation(target - 1, target))
        assert status in (200, 404, 503), body
        return status == 200


@pytest.fixture(name="signer")
def one_holder(tmp_path):
    with Sealed(tmp_path) as signer:
        signer.init(1, "alice")
        signer.unseal("alice")
        yield signer


def test_a_ceremony_of_two_of_three(tmp_path):
    with Sealed(tmp_path) as signer:
        assert signer.state()["state"] == "uninitialized"
        write_private(f"{signer.folder}/share", "01" * 33)
        assert "no seal yet" in signer.seal("unseal", "--share-file", f"{signer.folder}/share", ok=False)
        assert "no seal yet" in signer.seal("seal", ok=False)
        assert "no seal yet" in signer.seal("rekey", *signer.people("alice"), *KDF, ok=False)
        assert "nothing to cancel" in signer.seal("cancel", ok=False)
        signer.init(2, "alice", "bob", "carol")
        assert signer.state()["state"] == "sealed"
        assert "already" in signer.seal("init", *signer.people("alice"), *KDF, ok=False)
        assert "sealed" in signer.seal("rekey", *signer.people("alice"), *KDF, ok=False)
        assert signer.sign(STRANGER, attestation(1, 2))[0] == 503
        assert signer.sign(STRANGER, attestation(1, 2))[1]["code"] == "SEALED"
        signer.unseal("alice")
        assert signer.state()["state"] == "partly_unsealed"
        assert "the share of bob" in signer.unseal("bob", password_of="carol", ok=False)
        signer.unseal("alice")  # again: nothing changes
        state = signer.state()
        assert (state["state"], state["missing"]) == ("partly_unsealed", 1)
        assert [holder["given"] for holder in state["holders"]] == [True, False, False]
        assert "unsealed" in signer.unseal("carol")
        state = signer.state()
        assert state["state"] == "unsealed"
        assert [holder["wrong_shares"] for holder in state["holders"]] == [0, 1, 0]
        assert "is unsealed" in signer.unseal("bob", ok=False)
        assert signer.sign(STRANGER, attestation(1, 2))[0] == 404
        signer.seal("seal")
        assert signer.state()["state"] == "sealed"


def test_many_wrong_shares_have_to_wait(tmp_path):
    with Sealed(tmp_path) as signer:
        signer.init(1, "alice", "bob")
        for _ in range(5):
            assert "not the share of alice" in signer.unseal("alice", password_of="carol", ok=False)
        assert "wait" in signer.unseal("alice", password_of="carol", ok=False)
        signer.unseal("bob")  # nobody else waits for it
        assert signer.state()["state"] == "unsealed"


def test_restarts_and_cancel(tmp_path):
    signer = Sealed(tmp_path)
    with signer:
        signer.seal("init", "--threshold", "1", "--holder", "alice:passphrase", "--holder", "bob:passphrase",
                    "--register-later", *KDF)
        assert signer.state()["state"] == "awaiting_registration"
        signer.seal("register", "alice", "--passphrase-file", f"alice={signer.folder}/alice.pass", *KDF)
        assert "has registered" in signer.seal("register", "alice", "--passphrase-file",
                                               f"alice={signer.folder}/alice.pass", *KDF, ok=False)
        assert signer.state()["missing"] == 1
    with signer:  # nothing was kept, and nothing depends on it
        assert signer.state()["state"] == "uninitialized"
        signer.seal("init", "--threshold", "1", "--holder", "alice:passphrase", "--register-later", *KDF)
        signer.seal("cancel")
        assert signer.state()["state"] == "uninitialized"
        signer.seal("init", "--threshold", "1", "--holder", "alice:passphrase", "--register-later", *KDF)
        signer.seal("register", "alice", "--passphrase-file", f"alice={signer.folder}/alice.pass", *KDF)
        assert signer.state()["state"] == "sealed"
        signer.unseal("alice")
        signer.init(2, "alice", "bob", "carol", verb="rekey")
    with signer:  # unsealed before, sealed now, with the new holders
        assert signer.state()["state"] == "sealed"
        signer.unseal("bob")
    with signer:  # a share given before counts no more
        assert signer.state()["state"] == "sealed"
        signer.unseal("bob")
        signer.seal("cancel")
        assert signer.state()["state"] == "sealed"
        signer.unseal("bob")
        signer.unseal("carol")
        signer.seal("rekey", "--threshold", "1", "--holder", "alice:passphrase", "--register-later", *KDF)
        assert signer.state()["state"] == "awaiting_rotation"
    with signer:  # a change that waited is gone; those before count
        assert signer.state()["state"] == "sealed"
        signer.unseal("carol")
        signer.unseal("alice")
        assert signer.state()["state"] == "unsealed"


def test_printed_shares_are_those_of_vault(tmp_path):
    with Sealed(tmp_path) as signer:
        out = signer.seal("init", "--threshold", "2", *[w for n in "abc" for w in ("--holder", f"{n}:printed")])
        shares = re.findall(r"share of (\w): ([0-9a-f]{66}) \(base64 (\S{44})\)", out)
        assert [name for name, _, _ in shares] == ["a", "b", "c"]
        for _, hexed, based in shares:
            assert base64.b64decode(based).hex() == hexed
        write_private(f"{signer.folder}/wrong", shares[0][1][:-4] + "0001")
        write_private(f"{signer.folder}/c", shares[2][2])
        write_private(f"{signer.folder}/a", shares[0][1])
        assert "nobody" in signer.seal("unseal", "--share-file", f"{signer.folder}/wrong", ok=False)
        signer.seal("unseal", "--share-file", f"{signer.folder}/c")
        signer.seal("unseal", "--share-file", f"{signer.folder}/a")
        assert signer.state()["state"] == "unsealed"


def test_machines_unseal_by_themselves_and_required_ones_must(tmp_path):
    signer = Sealed(tmp_path, machines=True)
    with signer:
        signer.seal("init", "--holder", f"box:keyfile={signer.machines}/box.key")
        signer.seal("unseal", "--holder", "box")
        pubkey, = signer.add_keys(1)
    with signer:  # nobody types anything
        signer.wait_until(lambda: signer.state()["state"] == "unsealed", "it unsealed by itself")
        assert signer.signs(pubkey, 7)
        signer.seal("seal")  # and stays sealed until the next start
        assert signer.state()["state"] == "sealed"
        signer.seal("unseal", "--holder", "box")
        signer.seal("rekey", "--threshold", "1", "--require", f"box:keyfile={signer.machines}/box.key",
                    *signer.people("alice", "bob"), *KDF)
    with signer:
        signer.wait_until(lambda: signer.state()["state"] == "partly_unsealed", "the machine gave its share")
        signer.unseal("bob")
        assert signer.signs(pubkey, 8)
    os.rename(f"{signer.machines}/box.key", f"{signer.machines}/box.gone")
    with signer:  # people alone are not enough
        signer.unseal("alice")
        signer.unseal("bob")
        assert signer.state()["state"] == "partly_unsealed"
        assert not signer.signs(pubkey, 9)


def test_the_life_of_a_sealed_key(signer):
    pubkeys = signer.add_keys(3)
    made = signer.holdfast("key", "generate", "--count", "2").split()
    assert signer.keys() == {pubkey: "active" for pubkey in pubkeys + made}
    for pubkey in pubkeys + made:
        assert signer.signs(pubkey, 10)
    out = signer.holdfast("key", "import", f"{signer.folder}/import-0", "--password-file",
                          f"{signer.folder}/import-0.password", "--backend", "sealed")
    assert "0 imported, 3 already there" in out
    signer.holdfast("key", "deactivate", pubkeys[0])
    signer.holdfast("key", "delete", "--backend", "sealed", made[0])
    assert not signer.signs(pubkeys[0], 11) and not signer.signs(made[0], 11) and signer.signs(made[1], 11)
    assert "no sealed key" in signer.holdfast("key", "activate", STRANGER, ok=False)
    signer.seal("seal")
    for pubkey in pubkeys + made:
        assert signer.sign(pubkey, attestation(11, 12))[0] == 503
    assert "sealed" in signer.holdfast("key", "list", "--backend", "sealed", ok=False)
    signer.unseal("alice")
    assert signer.keys() == {pubkeys[0]: "inactive", pubkeys[1]: "active", pubkeys[2]: "active", made[1]: "active"}
    assert not signer.signs(pubkeys[0], 12) and signer.signs(pubkeys[1], 12)
    signer.holdfast("key", "activate", pubkeys[0])
    assert signer.signs(pubkeys[0], 13)


# ---- records that somebody changed -------------------------------------------------------------------

def records(signer):
    return tampering.Sqlite(f"{signer.data_dir}/slashing.sqlite")


def test_tampered_records_are_refused_and_named(tmp_path):
    signer = Sealed(tmp_path)
    tampering.prove_records(signer, records(signer))


def test_a_tampered_seal_opens_nothing(tmp_path):
    signer = Sealed(tmp_path)
    tampering.prove_seal(signer, records(signer))


# ---- rekey and rotation --------------------------------------------------------------------------------

def test_rekey_and_rotation_while_signing(signer):
    pubkeys = signer.add_keys(70)
    signer.holdfast("key", "deactivate", pubkeys[5])
    before = records(signer).rows()
    signer.init(2, "alice", "bob", "carol", verb="rekey")
    assert signer.state()["term"] == 1 and signer.signs(pubkeys[0], 10)
    assert records(signer).rows()[named(pubkeys[0])] == before[named(pubkeys[0])]
    signer.init(1, "carol", verb="rotate")
    assert signer.signs(pubkeys[0], 11)
    signer.wait_until(lambda: signer.state()["state"] == "unsealed", "all records are sealed anew")
    after = records(signer).rows()
    for pubkey in pubkeys:
        assert after[named(pubkey)][1] != before[named(pubkey)][1]
        assert after[named(pubkey)][1][4:8] == (2).to_bytes(4, "little")
    assert signer.state()["term"] == 2
    assert signer.signs(pubkeys[0], 12) and not signer.signs(pubkeys[5], 12)
    signer.seal("seal")
    done = run("seal", "unseal", "--holder", "bob", "--passphrase-file", f"{signer.folder}/bob.pass",
               "--data-dir", signer.data_dir)
    assert done.returncode == 2 and "no holder" in done.stderr  # no holder of this generation
    signer.unseal("carol")
    assert signer.state()["keys"] == {"active": 69, "inactive": 1, "refused": 0, "to_rotate": 0}
    assert signer.signs(pubkeys[69], 13)


def test_a_rotation_goes_on_after_a_crash(tmp_path):
    signer = Sealed(tmp_path)
    with signer:
        signer.init(1, "alice")
        signer.unseal("alice")
        pubkeys = signer.add_keys(60)
        signer.init(1, "bob", verb="rotate")
        for pid in signer.children()["holdfast-keeper"]:
            os.kill(pid, 9)
        signer.stop(expect=None)
    with signer:
        signer.unseal("bob")
        signer.wait_until(lambda: signer.state()["state"] == "unsealed" and signer.state()["keys"]["to_rotate"] == 0,
                          "the rotation ended")
        assert signer.state()["keys"] == {"active": 60, "inactive": 0, "refused": 0, "to_rotate": 0}
        assert all(signer.signs(pubkey, 9) for pubkey in pubkeys[:5])


# ---- over HTTP -----------------------------------------------------------------------------------------

def test_the_seal_over_http(tmp_path):
    with Sealed(tmp_path, config="auth: {mode: tokens}\npolicies: {none: {rules: []}}\n") as signer:
        token = json.loads(signer.holdfast("token", "create", "--json", "--kind", "management"))["token"]
        headers = {"Authorization": f"Bearer {token}"}

        client = json.loads(signer.holdfast("token", "create", "--json", "--policy", "none"))["token"]
        seen = set()

        def ask(method, route, body=None, expect=200, **kwargs):
            """As expected, and as docs/openapi.yaml says."""
            path = f"/api/v1/seal/{route}"
            status, answer = signer.request(method, path, body, headers={**headers, **kwargs})
            assert status == expect, (route, body, status, answer)
            documented = API["paths"][path][method.lower()]["responses"][str(status)]
            schema = resolve(documented)["content"]["application/json"]["schema"]
            assert mismatch(answer, schema) is None, (route, mismatch(answer, schema))
            seen.add((path, str(status)))
            return answer

        def post(route, body=None, expect=200, **kwargs):
            return ask("POST", route, body, expect, **kwargs)

        ask("GET", "status", None, 401, Authorization="Bearer x")
        ask("GET", "status", None, 403, Authorization=f"Bearer {client}")
        valid = {"init": {"threshold": 1, "holders": [{"name": "a", "kind": "printed"}]},
                 "unseal": {"share": "01" * 33}, "register": {"name": "d", "kind": "keyfile", "wrapping_key": "11" * 32}}
        valid["rekey"] = valid["rotate"] = valid["init"]
        for route in ("init", "unseal", "rekey", "rotate", "register", "seal", "cancel"):
            post(route, valid.get(route), 401, Authorization="Bearer x")
            post(route, valid.get(route), 403, Authorization=f"Bearer {client}")
            if route in valid:
                post(route, "{", 400)
                post(route, "{}", 415, **{"Content-Type": "text/plain"})
        key = "11" * 32
        for wrong in ("{", [], {}, {"threshold": 1}, {"threshold": 1, "holders": [{"name": "a"}]},
                      {"threshold": 1, "holders": [{"name": "a", "kind": "yubikey"}]},
                      {"threshold": 2, "holders": [{"name": "a", "kind": "printed"}]},
                      {"threshold": 1, "holders": [{"name": "A", "kind": "printed"}]},
                      {"threshold": 1, "holders": [{"name": "a", "kind": "awskms"}]},
                      {"threshold": 1, "holders": [{"name": "a", "kind": "printed"}] * 2},
                      {"threshold": 1, "holders": [{"name": "a", "kind": "keyfile", "wrapping_key": "12"}]},
                      {"threshold": 1, "holders": [{"name": "a", "kind": "passphrase", "wrapping_key": key, "kdf":
                                                    {"memory_bytes": 1024, "passes": 1, "salt": "00" * 16}}]}):
            post("init", wrong, 400)
        answer = post("init", {"threshold": 2, "holders": [
            {"name": "a", "kind": "printed"}, {"name": "b", "kind": "keyfile", "wrapping_key": key},
            {"name": "c", "kind": "passphrase", "wrapping_key": "22" * 32,
             "kdf": {"memory_bytes": 1 << 30, "passes": 4, "salt": "33" * 16}}]})
        share = answer["shares"][0]["share"]
        assert answer["missing"] == 0 and len(answer["shares"]) == 1 and len(share) == 66
        post("init", {"threshold": 1, "holders": [{"name": "a", "kind": "printed"}]}, 409)
        seal = ask("GET", "status")
        assert seal["state"] == "sealed" and seal["holders"][2]["kdf"]["salt"] == "33" * 16
        assert post("unseal", {"holder": "b", "wrapping_key": "12" * 32}, 422)["code"] == "WRONG_SHARE"
        for wrong in ({}, {"holder": "b"}, {"wrapping_key": key}, {"share": "00"}, {"share": share, "x": 1}):
            post("unseal", wrong, 400)
        post("unseal", {"holder": "nobody", "wrapping_key": key}, 400)
        assert post("unseal", {"share": share}) == {"missing": 1}
        assert signer.get("/healthcheck")[0] == 503
        assert signer.get("/api/v1/holdfast/status", headers=headers)[1]["state"] == "sealed"
        text = signer.metrics()
        assert "holdfast_seal_state 4\n" in text and 'holdfast_seal_shares_total{result="wrong"} 1\n' in text
        assert post("unseal", {"holder": "c", "wrapping_key": "22" * 32}) == {"missing": 0}
        assert signer.get("/healthcheck")[0] == 200
        post("rekey", {"threshold": 1, "holders": [{"name": "d", "kind": "keyfile"}]})
        post("rekey", {"threshold": 1, "holders": [{"name": "d", "kind": "keyfile"}]}, 409)
        assert post("register", {"name": "d", "kind": "keyfile", "wrapping_key": key}) == {"missing": 0}
        post("seal")
        post("unseal", {"holder": "d", "wrapping_key": key})
        post("cancel", None, 409)
        post("rotate", {"threshold": 1, "holders": [{"name": "e", "kind": "keyfile"}]})
        post("cancel")
        documented = {(path, status) for path, method, operation in operations() for status in operation["responses"]
                      if path.startswith("/api/v1/seal/") and status not in ("409", "413", "429", "503")}
        assert documented == {one for one in seen if one[1] != "409"}
        audit = open(f"{signer.data_dir}/audit.log", encoding="utf-8").read()
        assert "partly_unsealed" in audit and "a wrong share for b" in audit and share not in audit


# ---- memory ----------------------------------------------------------------------------------------------

def memory_of(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in maps:
            span, flags = line.split()[:2]
            if "r" not in flags or "[v" in line:
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            try:
                mem.seek(start)
                yield mem.read(end - start)
            except (OSError, ValueError, OverflowError):
                continue


def is_in_memory(pids, needle):
    return any(needle in chunk for pid in pids for chunk in memory_of(pid))


@pytest.mark.skipif(os.geteuid() != 0 or SANITIZED, reason="reads another process's memory; ASan keeps freed memory")
def test_a_sealed_signer_holds_no_secret(tmp_path):
    with Sealed(tmp_path, machines=True) as signer:
        out = signer.seal("init", "--threshold", "2", *signer.people("alice"), "--holder", "paper:printed",
                          "--holder", f"box:keyfile={tmp_path}/elsewhere.key", *KDF)
        share = bytes.fromhex(re.search(r"share of paper: ([0-9a-f]{66})", out).group(1))
        write_private(f"{signer.folder}/paper", share.hex())
        signer.unseal("alice")
        signer.seal("unseal", "--share-file", f"{signer.folder}/paper")
        folder = f"{signer.folder}/import-0"
        pubkeys = make_keystores(folder, 8)
        secrets = [secret_of(folder, number) for number in range(8)]
        signer.holdfast("key", "import", folder, "--password-file", folder + ".password", "--backend", "sealed")
        for target in range(30, 40):
            assert all(signer.signs(pubkey, target) for pubkey in pubkeys)
        keeper = signer.children()["holdfast-keeper"]
        scalars = [secret[::-1] for secret in secrets]
        assert any(is_in_memory(keeper, scalar) for scalar in scalars)  # so that the search is worth something
        signer.seal("seal")
        everyone = [pid for pids in signer.children().values() for pid in pids] + [signer.process.pid]
        with open(f"{tmp_path}/elsewhere.key", "rb") as content:
            key_file = content.read()
        for what in [share[:32], key_file, PASSWORDS["alice"].encode(), *secrets, *scalars]:
            assert not is_in_memory(everyone, what[:16]), what.hex()


def secret_of(folder, number):
    """The secret of one of bench_keys' keystores, by decrypting it here."""
    with open(f"{folder}/keystore-{number}.json", encoding="utf-8") as text:
        crypto = json.load(text)["crypto"]
    kdf = crypto["kdf"]["params"]
    key = hashlib.pbkdf2_hmac("sha256", b"a password for tests", bytes.fromhex(kdf["salt"]), kdf["c"], kdf["dklen"])
    plain = subprocess.run(["openssl", "enc", "-d", "-aes-128-ctr", "-K", key[:16].hex(), "-iv",
                            crypto["cipher"]["params"]["iv"]], input=bytes.fromhex(crypto["cipher"]["message"]),
                           capture_output=True, check=True).stdout
    return plain


def test_passphrases_leave_no_trace(tmp_path):
    with Sealed(tmp_path) as signer:
        signer.init(1, "alice")
        signer.unseal("alice")
        signer.seal("seal")
        for folder, _, names in os.walk(signer.data_dir):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isfile(path):
                    with open(path, "rb") as content:
                        assert PASSWORDS["alice"].encode() not in content.read(), path
        assert PASSWORDS["alice"] not in signer.log()
