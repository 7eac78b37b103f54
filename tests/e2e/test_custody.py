"""Keys behind a process of their own: signatures from inside a token, and what happens when it is gone, hangs or lies idle."""

import json
import os
import signal
import time

import pytest
from ethereum import keccak256, recover
from harness import Signer, attestation, free_port, make_keystores, run
from softhsm import Token, needs_token

pytestmark = needs_token

MESSAGE = b"to be signed"


class Inside(Signer):
    """A token with one key, a Vault that is not there, and a validator's key in a file."""

    def __init__(self, folder):
        token_folder = os.path.join(str(folder), "token")
        os.makedirs(token_folder, mode=0o700)
        self.token = Token(token_folder)
        self.token.make_key("EC:secp256k1", "first", 1)
        keystores = os.path.join(str(folder), "keystores")
        pubkeys = make_keystores(keystores, 1)
        vault_token = os.path.join(str(folder), "vault-token")
        with open(os.open(vault_token, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as out:
            out.write("none\n")
        super().__init__(folder, keys=0, config=(
            f"signing_keys:\n  - {{backend: local-keystore, keystore_dir: {keystores}, password_file: {keystores}.password}}\n"
            f"  - {{backend: pkcs11, {self.token.settings()}}}\n"
            f"  - backend: vault\n    address: http://127.0.0.1:{free_port()}\n    path: secret/keys\n"
              f"    auth: {{method: token, token_file: {vault_token}}}\n"))
        self.pubkeys = pubkeys
        self.epoch = 10

    def rpc(self, method, *params):
        return self.request("POST", "/", {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})[1]

    def accounts(self):
        return self.rpc("eth_accounts")["result"]

    def sign_message(self, address, message=MESSAGE):
        """The answer to eth_sign, whose signature recovers to the address when there is one."""
        answer = self.rpc("eth_sign", address, "0x" + message.hex())
        if "result" in answer:
            signature = bytes.fromhex(answer["result"][2:])
            digest = keccak256(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message)
            assert recover(digest, answer["result"]).lower() == address.lower()
            assert int.from_bytes(signature[32:64], "big") <= 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2
        return answer

    def signs(self, address):
        return "result" in self.sign_message(address)

    def attests(self):
        self.epoch += 1
        return self.sign(self.pubkeys[0], attestation(self.epoch, self.epoch + 1))[0] == 200

    def custody(self, backend):
        found = [c for c in self.get("/api/v1/holdfast/status")[1]["custody"] if c["backend"] == backend]
        assert len(found) == 1
        return found[0]

    def hsm_of(self, backend):
        """The process that has the back end's files or none of them mapped."""
        pids = self.children().get("holdfast-hsm", [])
        for pid in pids:
            with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:
                if ("softhsm" in maps.read()) == (backend == "pkcs11"):
                    return pid
        return None

    def reload(self):
        self.wait_until(lambda: self.request("POST", "/reload")[0] == 202, "a reload may begin")


@pytest.fixture(scope="module", name="signer")
def fixture_signer(tmp_path_factory):
    with Inside(tmp_path_factory.mktemp("custody")) as signer:
        signer.wait_until(lambda: len(signer.accounts()) == 1, "the token's key")
        signer.wait_until(lambda: signer.custody("pkcs11")["healthy"], "the token is well")
        yield signer


def test_a_key_inside_signs_and_is_listed_with_its_back_end(signer):
    address = signer.accounts()[0]
    for i in range(20):
        assert "result" in signer.sign_message(address, b"message %d" % i)
    token = signer.custody("pkcs11")
    assert (token["place"], token["keys"], token["keys_failed"], token["problem"]) == (1, 1, 0, "")
    assert signer.get("/api/v1/holdfast/status")[1]["keys"]["by_backend"]["pkcs11"] == 1
    assert address.lower() in [a.lower() for a in signer.get("/api/v1/holdfast/status")[1]["keys"]["addresses"]]
    metrics = signer.metrics()
    assert 'holdfast_custody_healthy{backend="pkcs11",place="1"} 1' in metrics
    assert 'holdfast_custody_keys{backend="pkcs11",place="1"} 1' in metrics
    assert 'holdfast_keys_loaded{backend="pkcs11"} 1' in metrics
    done = [line for line in metrics.splitlines() if line.startswith('holdfast_custody_calls_total{backend="pkcs11",place="1",result="done"}')]
    assert int(done[0].split()[1]) >= 20
    assert 'holdfast_custody_duration_seconds_bucket{backend="pkcs11",place="1",le="+Inf"}' in metrics


def test_the_list_of_keys_names_back_ends_and_how_they_are(signer):
    done = run("key", "list", "-c", signer.config_path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        {"pubkey": signer.pubkeys[0], "type": "BLS", "backend": "local-keystore", "place": 0},
        {"address": signer.accounts()[0].lower(), "type": "SECP256K1", "backend": "pkcs11", "place": 1, "healthy": True}]
    assert "signing_keys[2]: vault: " in done.stderr
    lines = run("key", "list", "--data-dir", signer.data_dir).stdout.splitlines()
    assert lines == [f"{signer.pubkeys[0]}  local-keystore[0]", f"{signer.accounts()[0].lower()}  pkcs11[1]  healthy"]


def test_a_dead_back_end_stops_nobody(signer):
    vault = signer.custody("vault")
    assert not vault["healthy"] and vault["keys"] == 0 and vault["detail"] != ""
    assert 'holdfast_custody_healthy{backend="vault",place="2"} 0' in signer.metrics()
    assert signer.attests()
    assert signer.signs(signer.accounts()[0])


def test_keys_come_and_go_with_reloads(signer):
    first = signer.accounts()[0]
    signer.token.make_key("EC:secp256k1", "second", 2)
    assert signer.accounts() == [first]
    signer.reload()
    signer.wait_until(lambda: len(signer.accounts()) == 2, "the second key")
    second = [a for a in signer.accounts() if a != first][0]
    assert signer.signs(second) and signer.signs(first)
    for kind in ("privkey", "pubkey"):
        signer.token.tool("--delete-object", "--type", kind, "--id", "02")
    signer.reload()
    signer.wait_until(lambda: signer.accounts() == [first], "the second key is gone")
    assert signer.sign_message(second)["error"]["data"]["code"] == "UNKNOWN_KEY"
    assert signer.signs(first)


def test_a_killed_process_is_replaced_and_its_keys_stay(signer):
    address = signer.accounts()[0]
    before = signer.hsm_of("pkcs11")
    os.kill(before, signal.SIGKILL)
    assert signer.accounts() == [address]
    assert signer.attests()
    signer.wait_until(lambda: signer.signs(address), "it signs again")
    after = signer.hsm_of("pkcs11")
    assert after is not None and after != before


def test_a_stopped_process_delays_no_other_key(signer):
    address = signer.accounts()[0]
    pid = signer.hsm_of("pkcs11")
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        answer = signer.sign_message(address)
        assert answer["error"]["data"]["code"] in ("CUSTODY_UNAVAILABLE", "TIMEOUT"), answer
        assert time.monotonic() - started < 30
        assert signer.attests()
    finally:
        os.kill(pid, signal.SIGCONT)
    signer.wait_until(lambda: signer.signs(address), "it signs again")
