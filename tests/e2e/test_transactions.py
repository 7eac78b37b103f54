"""Limits on transactions, what a day has cost and a restart must not forget, typed data and the votes in it."""

import json
import os
import signal

import postgres
import pytest
from ethereum import address_of_secret, keccak256, recover
from harness import ROOT, Signer, write_private

SECRETS = {"paid": 11, "chains": 12, "free": 13, "calls": 14}
KEYS = {name: address_of_secret(secret) for name, secret in SECRETS.items()}
TO = "0x" + "35" * 20
ETHER = 10**18

LIMITS = f"""
limits:
  - keys: ["{KEYS['paid']}"]
    value_max: 2 ether
    value_per_day: 3 ether
    fee_max: 0.001 ether
  - keys: ["{KEYS['chains']}"]
    chain_ids: [1]
    recipients: ["{TO}"]
    messages: refuse
    rates: ["ETH1_TYPED_DATA 2/3600s"]
  - keys: ["{KEYS['calls']}"]
    methods: ["transfer(address,uint256)"]
    typed_data: refuse
"""

reason = postgres.missing()
needs_postgres = pytest.mark.skipif(reason is not None, reason=str(reason))


class Wallet(Signer):
    def __init__(self, folder, settings=LIMITS):
        keys = os.path.join(str(folder), "key-files")
        os.makedirs(keys, mode=0o700)
        write_private(os.path.join(keys, "keys.yaml"), "---\n".join(
            f"type: file-raw\nkeyType: SECP256K1\nprivateKey: \"0x{secret:064x}\"\n" for secret in SECRETS.values()))
        super().__init__(folder, keys=0,
                         config=f"signing_keys:\n  - {{backend: web3signer, config_dir: {keys}}}\n" + settings)

    def start(self, wait=True):
        super().start(wait)
        self.wait_until(lambda: len(self.call("eth_accounts")[1].get("result", [])) == len(SECRETS), "its keys")

    def call(self, method, *params):
        return self.request("POST", "/", {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})

    def result(self, method, *params):
        _, answer = self.call(method, *params)
        assert "result" in answer, answer
        return answer["result"]

    def refused(self, method, *params):
        _, answer = self.call(method, *params)
        assert "error" in answer, answer
        return answer["error"]["data"]["code"], answer["error"]["message"]

    def kill(self):
        """As a crash does, all processes at once."""
        for pids in self.children().values():
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.process = None


def payment(name, value=0, **changes):
    return {"from": KEYS[name], "to": TO, "nonce": "0x1", "gas": "0x5208", "value": hex(value), "chainId": "0x1",
            "maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x1", **changes}


@pytest.fixture(name="wallet", scope="module")
def fixture_wallet(tmp_path_factory):
    with Wallet(tmp_path_factory.mktemp("wallet")) as signer:
        yield signer


# ---- transactions ------------------------------------------------------------------------------


def test_each_limit_has_its_answer(wallet):
    def refused(code, name, **changes):
        got, sentence = wallet.refused("eth_signTransaction", payment(name, **changes))
        assert got == code, sentence
        return sentence

    assert "chain 2 is" in refused("POLICY_CHAIN", "chains", chainId="0x2")
    assert "0x36" in refused("POLICY_RECIPIENT", "chains", to="0x" + "36" * 20)
    refused("POLICY_CREATION", "chains", to=None, data="0x00")
    assert wallet.result("eth_signTransaction", payment("chains", 10**30)).startswith("0x02")

    transfer = "0x" + keccak256(b"transfer(address,uint256)")[:4].hex() + "00" * 64
    assert wallet.result("eth_signTransaction", payment("calls", data=transfer))
    assert wallet.result("eth_signTransaction", payment("calls"))
    assert "0x01020304" in refused("POLICY_METHOD", "calls", data="0x0102030405")
    refused("POLICY_METHOD", "calls", data="0x01")
    refused("POLICY_CREATION", "calls", to=None, data=transfer)

    assert str(2 * ETHER) in refused("POLICY_VALUE", "paid", value=2 * ETHER + 1)
    refused("POLICY_FEE", "paid", maxFeePerGas=hex(10**12))
    assert wallet.result("eth_signTransaction", payment("free", 100 * ETHER, to=None, data="0x00"))

    metrics = wallet.metrics()
    for code, count in (("POLICY_CHAIN", 1), ("POLICY_RECIPIENT", 1), ("POLICY_CREATION", 2), ("POLICY_METHOD", 2),
                        ("POLICY_VALUE", 1), ("POLICY_FEE", 1)):
        assert f'holdfast_refusals_total{{reason="{code}"}} {count}\n' in metrics, code


def test_messages_and_hashes(wallet):
    assert wallet.result("eth_sign", KEYS["calls"], "0x0102")
    assert wallet.refused("eth_sign", KEYS["chains"], "0x0102")[0] == "POLICY_MESSAGE"
    assert wallet.refused("personal_sign", "0x0102", KEYS["chains"])[0] == "POLICY_MESSAGE"
    status, answer = wallet.request("POST", f"/api/v1/eth1/sign/{KEYS['chains']}", {"data": "0x0102"})
    assert (status, answer["code"]) == (403, "POLICY_MESSAGE")
    # A hash alone could be a transaction's.
    body = {"messageHash": "0x" + "11" * 32, "dutyType": "TXS", "hashing": "raw"}
    for name, wanted in (("chains", 403), ("paid", 403), ("calls", 403), ("free", 200)):
        status, answer = wallet.request("POST", "/api/v1/duty/sign", {**body, "validatorAddress": KEYS[name]})
        assert status == wanted, answer
        assert status == 200 or answer["code"] == "POLICY_HASH"


def test_a_day_survives_what_a_restart_does_not(tmp_path):
    with Wallet(tmp_path) as signer:
        assert signer.result("eth_signTransaction", payment("paid", 2 * ETHER))
        assert signer.refused("eth_signTransaction", payment("paid", ETHER + 1))[0] == "POLICY_VALUE_PER_DAY"
        signer.kill()
        signer.start()
        assert signer.refused("eth_signTransaction", payment("paid", ETHER + 1))[0] == "POLICY_VALUE_PER_DAY"
        assert signer.result("eth_signTransaction", payment("paid", ETHER))
        code, sentence = signer.refused("eth_signTransaction", payment("paid", 1))
        assert (code, str(3 * ETHER) in sentence) == ("POLICY_VALUE_PER_DAY", True)
        assert signer.result("eth_signTransaction", payment("paid", 0))
        signer.stop()
        # Torn at the end: what was not whole was never signed. Broken before that: nobody knows.
        path = os.path.join(signer.data_dir, "spending")
        with open(path, "rb") as file:
            good = file.read()
        assert len(good) % 64 == 0 and len(good) >= 64
        write_private(path, "")
        with open(path, "wb") as file:
            file.write(good + good[:17])
        signer.start()
        assert signer.refused("eth_signTransaction", payment("paid", 1))[0] == "POLICY_VALUE_PER_DAY"
        signer.stop()
        with open(path, "wb") as file:
            file.write(b"x" * 64 + good)
        signer.start()
        code, sentence = signer.refused("eth_signTransaction", payment("paid", 1))
        assert (code, "not known" in sentence) == ("POLICY_VALUE_PER_DAY", True)
        assert "spending_unreadable" in signer.log()
        assert signer.result("eth_signTransaction", payment("free", ETHER))


# ---- typed data --------------------------------------------------------------------------------


def vectors(name):
    with open(os.path.join(ROOT, "tests", "vectors", "eip712", name), encoding="utf-8") as lines:
        for line in lines:
            digest, text = line.rstrip("\n").split(" ", 1)
            yield bytes.fromhex(digest[2:]), text


def test_typed_data_as_object_and_string(wallet):
    for number, (digest, text) in enumerate(vectors("eth-sig-util.txt")):
        document = json.loads(text)
        if document["domain"].get("name") in ("TallySlashingProposer", "EmpireBase"):
            continue
        method = ("eth_signTypedData", "eth_signTypedData_v4")[number % 2]
        given = (document, text, json.dumps(document, indent=1))[number % 3]
        assert recover(digest, wallet.result(method, KEYS["free"], given)) == KEYS["free"]


def test_limits_of_typed_data(wallet):
    _, text = next(iter(vectors("eth-sig-util.txt")))
    document = json.loads(text)
    assert wallet.refused("eth_signTypedData", KEYS["calls"], document)[0] == "POLICY_MESSAGE"
    assert wallet.refused("eth_signTypedData", KEYS["chains"], document)[0] == "POLICY_RECIPIENT"
    document["domain"]["verifyingContract"] = TO
    assert wallet.result("eth_signTypedData", KEYS["chains"], document)
    document["domain"]["chainId"] = 5
    assert wallet.refused("eth_signTypedData", KEYS["chains"], document)[0] == "POLICY_CHAIN"
    document["domain"]["chainId"] = "0x1"
    assert wallet.result("eth_signTypedData", KEYS["chains"], document)
    assert wallet.refused("eth_signTypedData", KEYS["chains"], document)[0] == "RATE_LIMITED"
    document["message"]["to"] = {"name": "Bob"}
    code, sentence = wallet.refused("eth_signTypedData", KEYS["free"], document)
    assert (code, sentence) == ("MALFORMED", "message.to.wallet: missing")


# ---- votes -------------------------------------------------------------------------------------

DOMAIN = [{"name": "name", "type": "string"}, {"name": "version", "type": "string"}, {"name": "chainId", "type": "uint256"},
          {"name": "verifyingContract", "type": "address"}]
SIGNAL = [{"name": "payload", "type": "address"}, {"name": "slot", "type": "uint256"}, {"name": "instance", "type": "address"}]


def vote(slot, votes="0x0102", contract=TO):
    return {"types": {"EIP712Domain": DOMAIN, "Vote": [{"name": "votes", "type": "bytes"}, {"name": "slot", "type": "uint256"}]},
            "domain": {"name": "TallySlashingProposer", "version": "1", "chainId": 1, "verifyingContract": contract},
            "primaryType": "Vote", "message": {"votes": votes, "slot": str(slot)}}


def signal_of(slot, payload="0x" + "01" * 20):
    return {"types": {"EIP712Domain": DOMAIN, "Signal": SIGNAL},
            "domain": {"name": "EmpireBase", "version": "1", "chainId": 1, "verifyingContract": TO},
            "primaryType": "Signal", "message": {"payload": payload, "slot": str(slot), "instance": "0x" + "02" * 20}}


def test_a_vote_is_not_signed_where_nothing_protects_it(wallet):
    for document in (vote(7), signal_of(7)):
        code, sentence = wallet.refused("eth_signTypedData", KEYS["free"], document)
        assert (code, "duty_protection" in sentence) == ("DUTY_STORE_UNAVAILABLE", True)
    other = vote(7)
    other["types"]["Vote"].reverse()
    assert wallet.refused("eth_signTypedData", KEYS["free"], other)[0] == "FORBIDDEN"


@needs_postgres
def test_a_slot_has_one_vote(tmp_path):
    with postgres.Postgres() as server:
        write_private(tmp_path / "url", server.url())
        (tmp_path / "signer").mkdir()
        with Wallet(tmp_path / "signer", f"duty_protection: {{url_file: {tmp_path / 'url'}, node_id: one}}\n") as signer:
            signer.wait_until(lambda: signer.get("/healthcheck")[0] == 200, "it can sign")
            for digest, text in vectors("eth-sig-util.txt"):
                if json.loads(text)["domain"].get("name") in ("TallySlashingProposer", "EmpireBase"):
                    assert recover(digest, signer.result("eth_signTypedData", KEYS["free"], text)) == KEYS["free"]
            first = signer.result("eth_signTypedData", KEYS["free"], json.dumps(vote(100)))
            # The same again is the same signature; another vote for the slot is not signed, nor after a restart.
            assert signer.result("eth_signTypedData_v4", KEYS["free"], vote(100)) == first
            assert signer.refused("eth_signTypedData", KEYS["free"], vote(100, "0x0103"))[0] == "DUTY_CONFLICT"
            signer.stop()
            signer.start()
            signer.wait_until(lambda: signer.get("/healthcheck")[0] == 200, "it can sign")
            assert signer.refused("eth_signTypedData", KEYS["free"], vote(100, "0x0103"))[0] == "DUTY_CONFLICT"
            assert signer.result("eth_signTypedData", KEYS["free"], vote(100)) == first
            # Other slots, contracts, keys and kinds of votes are other duties.
            for name, document in (("free", vote(101, "0x03")), ("free", vote(100, "0x03", "0x" + "77" * 20)),
                                   ("paid", vote(100, "0x03")), ("free", signal_of(100))):
                assert signer.result("eth_signTypedData", KEYS[name], document)
            assert signer.refused("eth_signTypedData", KEYS["free"], signal_of(100, TO))[0] == "DUTY_CONFLICT"
            text = signer.metrics()
            assert 'holdfast_refusals_total{reason="DUTY_CONFLICT"} 2\n' in text
