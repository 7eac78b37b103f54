"""Signatures of the execution layer: JSON-RPC, eth1/sign, publicKeys; who signed what, checked apart from the signer."""

import json
import os

import pytest
import rlp
from ethereum import address_of_secret, keccak256, recover
from harness import ROOT, Signer, run, write_private

SECRETS = [0x4646464646464646464646464646464646464646464646464646464646464646, 7]
ADDRESS, OTHER = (address_of_secret(secret) for secret in SECRETS)
TO = "0x" + "35" * 20
BASE = {"from": ADDRESS, "to": TO, "nonce": "0x9", "gas": "0x5208", "value": "0xde0b6b3a7640000"}
FEES = {"maxPriorityFeePerGas": "0x1", "maxFeePerGas": "0x4a817c800"}
HASH = "0x" + "11" * 32


class Eth1(Signer):
    def __init__(self, folder, settings=""):
        keys = os.path.join(str(folder), "key-files")
        os.makedirs(keys, mode=0o700)
        write_private(os.path.join(keys, "keys.yaml"), "---\n".join(
            f"type: file-raw\nkeyType: SECP256K1\nprivateKey: \"0x{secret:064x}\"\n" for secret in SECRETS))
        super().__init__(folder, keys=0,
                         config=f"signing_keys:\n  - {{backend: web3signer, config_dir: {keys}}}\n" + settings)

    def rpc(self, method, *params, headers=None):
        status, answer = self.request("POST", "/", {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}, headers)
        return status, answer

    def result(self, method, *params):
        status, answer = self.rpc(method, *params)
        assert status == 200 and answer["id"] == 1 and "result" in answer, answer
        return answer["result"]

    def error(self, method, *params, headers=None):
        _, answer = self.rpc(method, *params, headers=headers)
        assert "error" in answer, answer
        return answer["error"]["code"], answer["error"]["data"]["code"], answer["error"]["message"]


@pytest.fixture(scope="module", name="signer")
def fixture_signer(tmp_path_factory):
    with Eth1(tmp_path_factory.mktemp("eth1")) as signer:
        signer.wait_until(lambda: len(signer.result("eth_accounts")) == 2, "two keys")
        yield signer


def number(data):
    return int.from_bytes(data, "big")


def prefixed(message):
    return keccak256(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message)


def signer_of(digest, signature):
    return recover(digest, signature)


# ---- transactions ------------------------------------------------------------------------------


def open_transaction(raw):
    """Its type, members, and who signed it."""
    data = bytes.fromhex(raw.removeprefix("0x"))
    kind = data[0] if data[0] < 0xC0 else 0
    items = rlp.decode(data[1:] if kind else data)
    v, r, s = items[-3:]
    rest = items[:-3]
    if kind:
        assert number(v) in (0, 1)
        digest, parity = keccak256(bytes([kind]) + rlp.encode(rest)), number(v)
    else:
        chain, parity = divmod(number(v) - 35, 2)
        chain_bytes = chain.to_bytes((chain.bit_length() + 7) // 8, "big")
        digest = keccak256(rlp.encode(rest + [chain_bytes, b"", b""]))
        rest = rest + [chain_bytes]
    signature = r.rjust(32, b"\0") + s.rjust(32, b"\0") + bytes([27 + parity])
    return kind, rest, recover(digest, signature.hex())


def test_the_example_of_eip_155(signer):
    """Published in the EIP: chain id 1, which nobody sends here."""
    raw = signer.result("eth_signTransaction", {**BASE, "gasPrice": "0x4a817c800", "data": "0x"})
    assert raw == ("0xf86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc"
                   "2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a"
                   "3b6d83")


ACCESS = [{"address": "0x" + "aa" * 20, "storageKeys": ["0x" + "01" * 32, "0x" + "02" * 32]}, {"address": TO, "storageKeys": []}]
ACCESS_RLP = [[b"\xaa" * 20, [b"\x01" * 32, b"\x02" * 32]], [b"\x35" * 20, []]]
BLOBS = ["0x01" + "bb" * 31, "0x01" + "cc" * 31]
AUTHORIZATION = {"chainId": "0x1", "address": "0x" + "dd" * 20, "nonce": "0x0", "yParity": "0x1", "r": "0x" + "0a" * 32, "s": "0x7"}
AUTHORIZATION_RLP = [b"\x01", b"\xdd" * 20, b"", b"\x01", b"\x0a" * 32, b"\x07"]
HEAD = [b"\x09", b"\x01", bytes.fromhex("04a817c800"), bytes.fromhex("5208"), b"\x35" * 20, bytes.fromhex("0de0b6b3a7640000"), b"\xab\xcd"]


@pytest.mark.parametrize("kind,members,expected", [
    (0, {"gasPrice": "0x4a817c800"}, [HEAD[0], HEAD[2], *HEAD[3:], b"\x05"]),
    (1, {"gasPrice": "0x4a817c800", "accessList": ACCESS}, [b"\x05", HEAD[0], HEAD[2], *HEAD[3:], ACCESS_RLP]),
    (2, FEES, [b"\x05", *HEAD, []]),
    (2, {**FEES, "accessList": ACCESS, "type": "0x2"}, [b"\x05", *HEAD, ACCESS_RLP]),
    (3, {**FEES, "maxFeePerBlobGas": "0x10", "blobVersionedHashes": BLOBS, "blobs": ["0x00"]},
     [b"\x05", *HEAD, [], b"\x10", [bytes.fromhex(blob[2:]) for blob in BLOBS]]),
    (4, {**FEES, "authorizationList": [AUTHORIZATION]}, [b"\x05", *HEAD, [], [AUTHORIZATION_RLP]]),
])
def test_each_type_has_its_members_and_signer(signer, kind, members, expected):
    transaction = {**BASE, "input": "0xabcd", "chainId": "0x5", **members}
    assert open_transaction(signer.result("eth_signTransaction", transaction)) == (kind, expected, ADDRESS)


def test_a_contract_is_made_and_large_data_are_signed(signer):
    data = "0x" + "5b" * 100_000
    transaction = {**BASE, **FEES, "from": OTHER, "to": None, "data": data, "gas": "0xe4e1c0"}
    kind, items, who = open_transaction(signer.result("eth_signTransaction", transaction))
    assert (kind, items[0], items[5], len(items[7]), who) == (2, b"\x01", b"", 100_000, OTHER)


@pytest.mark.parametrize("changes,says", [
    ({"nonce": None}, "nonce: missing"), ({"gas": None}, "gas: missing"), ({"from": None}, "from: missing"),
    ({"gas": "0x10000000000000000"}, "gas: beyond 64 bits"), ({"value": "0x" + "f" * 65}, "value: not a quantity"),
    ({"value": "ten"}, "value: not a quantity"), ({"to": "0x35"}, "to: must be an address"),
    ({"to": "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed"}, "to: its checksum"), ({"data": "0xabc"}, "data: not bytes in hex"),
    ({"data": "0xab", "input": "0xcd"}, "data: another value than input"), ({"gasPrice": "0x1"}, "gasPrice: not a member"),
    ({"maxFeePerGas": "0x0"}, "maxPriorityFeePerGas: above"), ({"chainId": "0x0"}, "chainId: 0"),
    ({"chainId": "0xffffffffffffffff"}, "chainId: too large"), ({"nonce": "0xffffffffffffffff"}, "nonce: the highest"),
    ({"type": "0x7"}, "type: 0x0 to 0x4"), ({"type": "0x0"}, "gasPrice: missing"),
    ({"accessList": [{"address": TO}]}, "accessList[0].storageKeys: missing"),
    ({"accessList": [{"address": TO, "storageKeys": ["0x01"]}]}, "accessList[0].storageKeys[0]: not 32 bytes"),
    ({"maxFeePerBlobGas": "0x1", "blobVersionedHashes": []}, "blobVersionedHashes: empty"),
    ({"maxFeePerBlobGas": "0x1", "blobVersionedHashes": [HASH]}, "blobVersionedHashes[0]: malformed"),
    ({"maxFeePerBlobGas": "0x1", "blobVersionedHashes": BLOBS, "to": None}, "to: missing"),
    ({"authorizationList": []}, "authorizationList: empty"),
    ({"authorizationList": [{**AUTHORIZATION, "yParity": "0x100"}]}, "authorizationList[0]: malformed"),
])
def test_a_wrong_transaction_is_refused_by_the_member_that_is_wrong(signer, changes, says):
    code, word, sentence = signer.error("eth_signTransaction", {**BASE, **FEES, **changes})
    assert (code, word) == (-32602, "MALFORMED") and sentence.startswith(says), sentence


# ---- messages and data -------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["", "12", "11" * 32, "ab" * 256, "ab" * 257, "cd" * 5000], ids=len)
def test_messages_are_signed_with_their_prefix(signer, message):
    digest = prefixed(bytes.fromhex(message))
    signature = signer.result("eth_sign", ADDRESS, "0x" + message)
    assert signer_of(digest, signature) == ADDRESS
    assert signer.result("personal_sign", "0x" + message, ADDRESS, "a password") == signature


def sign_data(signer, data, who=ADDRESS, headers=None):
    return signer.request("POST", f"/api/v1/eth1/sign/{who}", {"data": "0x" + data}, headers)


def test_data_are_hashed_and_signed_by_address_or_key(signer):
    keys = signer.get("/api/v1/eth1/publicKeys")[1]
    by_address = {"0x" + keccak256(bytes.fromhex(key[2:]))[12:].hex(): key for key in keys}
    assert set(by_address) == {ADDRESS, OTHER} == set(signer.result("eth_accounts"))
    status, signature = sign_data(signer, "1234")
    assert status == 200 and signer_of(keccak256(b"\x12\x34"), signature) == ADDRESS
    for name in (by_address[ADDRESS], by_address[ADDRESS][2:], "0x04" + by_address[ADDRESS][2:], ADDRESS.upper().replace("X", "x")):
        assert sign_data(signer, "1234", name, {"Accept": "application/json"}) == (200, {"signature": signature})
    assert sign_data(signer, "1234", "0x" + "ab" * 20)[1]["code"] == "UNKNOWN_KEY"
    assert sign_data(signer, "1234", "0xabcd")[0] == 400
    assert signer.request("POST", f"/api/v1/eth1/sign/{ADDRESS}", {})[1]["error"].startswith("data: missing")


UNSIGNED = rlp.encode([b"\x01", *HEAD, []]).hex()


def test_what_is_called_data_is_judged_as_what_it_is(signer):
    status, signature = sign_data(signer, "02" + UNSIGNED)
    assert status == 200 and signer_of(keccak256(bytes.fromhex("02" + UNSIGNED)), signature) == ADDRESS
    message = b"\x19Ethereum Signed Message:\n4abcd"
    assert sign_data(signer, message.hex())[1] == signer.result("eth_sign", ADDRESS, "0x" + b"abcd".hex())
    for data in ("1901" + "00" * 64, "1900" + "00" * 30, "7e" + UNSIGNED, "05" + rlp.encode([b"\x01", b"\xaa" * 20, b""]).hex(),
                 rlp.encode([HEAD[0], HEAD[2], *HEAD[3:]]).hex(), "02" + rlp.encode([b"\x01", *HEAD, [], b"", b"", b""]).hex()):
        status, answer = sign_data(signer, data)
        assert (status, answer["code"]) == (403, "FORBIDDEN"), data
    log = [json.loads(line) for line in open(os.path.join(signer.data_dir, "audit.log"), encoding="utf-8")]
    assert {"ETH1_TRANSACTION", "ETH1_MESSAGE", "ETH1_DATA"} <= {line.get("operation") for line in log if line["kind"] == "request"}


# ---- JSON-RPC ----------------------------------------------------------------------------------


def test_batches_and_ids(signer):
    calls = [{"jsonrpc": "2.0", "id": "a\\u00e9\"", "method": "eth_sign", "params": [ADDRESS, HASH]},
             {"jsonrpc": "2.0", "id": 7, "method": "net_version", "params": []}, {"id": None, "method": "health_status"},
             {"jsonrpc": "1.0", "id": 9, "method": "eth_accounts"}, 5,
             {"jsonrpc": "2.0", "id": 2.5, "method": "eth_signTransaction", "params": [{**BASE, **FEES}]},
             {"id": 1, "method": "eth_sign", "params": ["0x" + "ab" * 20, HASH]}, {"id": 3, "method": "eth_sendTransaction", "params": [{}]}]
    status, answers = signer.request("POST", "/", calls)
    assert status == 200 and [answer["id"] for answer in answers] == ["a\\u00e9\"", 7, None, 9, None, 2.5, 1, 3]
    assert all(answer["jsonrpc"] == "2.0" for answer in answers)
    assert signer_of(prefixed(b"\x11" * 32), answers[0]["result"]) == ADDRESS
    assert answers[2]["result"] == "OK" and open_transaction(answers[5]["result"])[2] == ADDRESS
    assert [answers[i]["error"]["code"] for i in (1, 3, 4, 6, 7)] == [-32601, -32600, -32600, -32000, -32601]
    assert answers[6]["error"]["data"]["code"] == "UNKNOWN_KEY"


def test_a_body_that_is_no_call(signer):
    for body, code in (("{", -32700), ("[]", -32600), ("5", -32600), (json.dumps([{}] * 257), -32600)):
        status, answer = signer.request("POST", "/", body)
        assert (status, answer["error"]["code"], answer["id"]) == (400, code, None)
    for params in ([], [ADDRESS], [HASH, ADDRESS], [ADDRESS, "hello"], [ADDRESS, 5], {"a": 1}):
        assert signer.request("POST", "/", {"id": 1, "method": "eth_sign", "params": params})[1]["error"]["code"] == -32602


def test_metrics_count_by_kind(signer):
    metrics = signer.metrics()
    assert 'holdfast_eth1_requests_total{kind="ETH1_TRANSACTION",result="signed"}' in metrics
    assert 'holdfast_eth1_duration_seconds_bucket{stage="sign",le="+Inf"}' in metrics


# ---- keys --------------------------------------------------------------------------------------


def test_a_mnemonic_with_paths_and_a_keystore(tmp_path):
    """The first accounts of Hardhat, whose words are known to all."""
    keys = tmp_path / "key-files"
    with open(os.path.join(ROOT, "tests", "vectors", "web3-secret-storage", "quick.json"), encoding="utf-8") as text:
        keystore = text.read()
    expected = {"0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266", "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
                "0x" + json.loads(keystore)["address"].removeprefix("0x").lower(), ADDRESS, OTHER}
    signer = Eth1(tmp_path)
    write_private(str(keys / "words.txt"), "test " * 11 + "junk\n")
    write_private(str(keys / "account.json"), keystore)
    write_private(str(keys / "account.password"), "testpassword")
    write_private(str(keys / "more.yaml"), "---\n".join(
        [f"type: mnemonic\nkeyType: SECP256K1\nmnemonicFile: words.txt\npath: \"m/44'/60'/0'/0/{i}\"\n" for i in (0, 1)]
        + ["type: file-keystore\nkeyType: SECP256K1\nkeystoreFile: account.json\nkeystorePasswordFile: account.password\n",
           "type: mnemonic\nkeyType: SECP256K1\nmnemonicFile: words.txt\npath: m/44x\n",
           "type: mnemonic\nkeyType: SECP256K1\nmnemonicFile: words.txt\n"]))
    with signer:
        signer.wait_until(lambda: len(signer.result("eth_accounts")) == 5, "five keys")
        assert set(signer.result("eth_accounts")) == expected
        hardhat = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
        assert signer_of(prefixed(b"\x11" * 32), signer.result("eth_sign", hardhat, HASH)) == hardhat
        assert "path is missing" in signer.log()


# ---- who may, and what the configuration refuses -----------------------------------------------


def test_each_kind_has_a_scope_of_its_own(tmp_path):
    rule = "{effect: allow, keys: ['*'], scopes: [%s]}"
    policies = {"sends": "eth1_transaction", "talks": "eth1_message", "hashes": "eth1_data",
                "both": "eth1_data, eth1_transaction, public_keys"}
    settings = "auth: {mode: tokens}\npolicies:\n" + "".join(
        f"  {name}: {{rules: [{rule % scopes}]}}\n" for name, scopes in policies.items())
    with Eth1(tmp_path, settings) as signer:
        headers = {}
        for name in policies:
            made = run("token", "create", "--data-dir", signer.data_dir, "--json", "--policy", name)
            assert made.returncode == 0, made.stderr
            headers[name] = {"Authorization": "Bearer " + json.loads(made.stdout)["token"]}
        status, answer = signer.rpc("eth_sign", ADDRESS, HASH)
        assert (status, answer["error"]["data"]["code"]) == (401, "UNAUTHORIZED")

        def may(name):
            calls = [{"id": 1, "method": "eth_signTransaction", "params": [{**BASE, **FEES}]},
                     {"id": 2, "method": "eth_sign", "params": [ADDRESS, HASH]}]
            done = ["result" in one for one in signer.request("POST", "/", calls, headers[name])[1]]
            return done + [sign_data(signer, data, headers=headers[name])[0] == 200 for data in ("1234", "02" + UNSIGNED)]
        signer.wait_until(lambda: signer.get("/api/v1/eth1/publicKeys", headers=headers["both"])[0] == 200, "keys")
        assert may("sends") == [True, False, False, False]
        assert may("talks") == [False, True, False, False]
        assert may("hashes") == [False, False, True, False]
        assert may("both") == [True, False, True, True]


def test_what_the_configuration_refuses(tmp_path):
    with Eth1(tmp_path, "eth1: {hashes: refuse, sign_data: false, chain_id: 0xa}\n".replace("0xa", "10")) as signer:
        signer.wait_until(lambda: len(signer.result("eth_accounts")) == 2, "two keys")
        assert signer.error("eth_sign", ADDRESS, HASH)[:2] == (-32000, "FORBIDDEN")
        assert signer_of(prefixed(b"\x11" * 31), signer.result("eth_sign", ADDRESS, HASH[:-2])) == ADDRESS
        assert sign_data(signer, "1234")[1]["code"] == "FORBIDDEN"
        assert open_transaction(signer.result("eth_signTransaction", {**BASE, **FEES}))[1][0] == b"\x0a"
