"""Keys in AWS KMS and Secrets Manager through the running signer, AWS played by tests/peers/aws_double.py."""

import json
import os
import sys

import postgres
import pytest
from ethereum import address_of, eip191, keccak256, recover
from harness import ROOT, make_keystores, run, write_private

sys.path.insert(0, os.path.join(ROOT, "tests", "peers"))
import aws_double  # noqa: E402  pylint: disable=wrong-import-position

FIRST = 7000  # of the keys made here
HASH = "0x" + "11" * 32


@pytest.fixture(name="aws")
def fixture_aws():
    double = aws_double.start()
    yield double
    assert not double.problems
    double.shutdown()


def kms_settings(aws, folder):
    return {"region": aws_double.REGION, "endpoint_url": aws.url, "key_id": aws_double.WRAPPING, "blob_dir": folder,
            "encryption_context.network": "mainnet"}


def wrap(aws, folder, count):
    """count wrapped keys in folder/kms; the public keys, and the keystores that they are from."""
    keystores, blobs = os.path.join(folder, "wrapped"), os.path.join(folder, "kms")
    pubkeys = make_keystores(keystores, count, FIRST)
    os.mkdir(blobs, 0o700)
    options = [option for name, value in kms_settings(aws, blobs).items() for option in ("--set", f"{name}={value}")]
    result = run("key", "wrap", "--backend", "aws-kms", "--json", "--password-file", keystores + ".password", *options, keystores,
                 env=aws_double.environment())
    assert result.returncode == 0, result.stderr
    assert {row["pubkey"] for row in json.loads(result.stdout)} == set(pubkeys)
    return pubkeys, keystores


def kms_entry(aws, folder, sign_keys=("alias/signer",)):
    return (f"  - backend: aws-kms\n    region: {aws_double.REGION}\n    endpoint_url: {aws.url}\n"
            f"    key_id: {aws_double.WRAPPING}\n    blob_dir: {os.path.join(folder, 'kms')}\n"
            f"    encryption_context: {{network: mainnet}}\n    sign_key_ids: [{', '.join(sign_keys)}]\n")


def local_entry(keystores):
    return f"  - {{backend: local-keystore, keystore_dir: {keystores}, password_file: {keystores}.password}}\n"


def rpc(signer, method, *params):
    return signer.request("POST", "/", {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})[1]


def eth_sign(signer, address):
    return rpc(signer, "eth_sign", address, HASH)


def kms_address(aws):
    return address_of(aws.kms.public)


def wait_for_keys(signer, pubkeys, address=None):
    signer.wait_until(lambda: set(pubkeys) <= signer.loaded(), "its keys are loaded")
    if address:
        signer.wait_until(lambda: address in rpc(signer, "eth_accounts").get("result", []), "the key inside is there")


def test_wrapped_and_inside(signers, aws):
    one = signers(keys=0)
    pubkeys, keystores = wrap(aws, one.folder, 2)
    with open(one.config_path, "a", encoding="utf-8") as config:
        config.write("signing_keys:\n" + kms_entry(aws, one.folder))
    one.start(environment=aws_double.environment())
    wait_for_keys(one, pubkeys, kms_address(aws))
    # The same key from its keystore signs the same.
    other = signers(keys=0, config="signing_keys:\n" + local_entry(keystores))
    other.start()
    wait_for_keys(other, pubkeys)
    status, signature = one.attest(pubkeys[0], 1, 2)
    assert status == 200 and (200, signature) == other.attest(pubkeys[0], 1, 2)
    assert one.attest(pubkeys[0], 1, 2, mark=1)[0] == 412
    digest = keccak256(b"\x19Ethereum Signed Message:\n32" + bytes.fromhex(HASH[2:]))
    assert digest == eip191(bytes.fromhex(HASH[2:]))
    for _ in range(4):  # KMS gives the higher s every other time
        answer = eth_sign(one, kms_address(aws))
        assert recover(digest, answer["result"]) == kms_address(aws)


def test_away_while_running(signers, aws):
    one = signers(keys=0)
    pubkeys, _ = wrap(aws, one.folder, 1)
    with open(one.config_path, "a", encoding="utf-8") as config:
        config.write("signing_keys:\n" + kms_entry(aws, one.folder))
    one.start(environment=aws_double.environment())
    wait_for_keys(one, pubkeys, kms_address(aws))
    aws.rule = {"count": 1 << 30, "how": "drop", "operation": None, "argument": None}
    assert "error" in eth_sign(one, kms_address(aws))
    assert one.attest(pubkeys[0], 3, 4)[0] == 200
    aws.rule = None
    one.wait_until(lambda: "result" in eth_sign(one, kms_address(aws)), "it signs inside again")
    assert one.attest(pubkeys[0], 5, 6)[0] == 200


@pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))
def test_duty_by_a_key_inside(signers, aws):
    """Locked, signed in KMS, and never twice; while KMS is away the lock is given back."""
    body = {"validatorAddress": kms_address(aws), "messageHash": HASH, "rollupAddress": "0x" + "00" * 19 + "aa", "slot": "9",
            "blockNumber": 7, "dutyType": "ATTESTATION", "hashing": "eip191"}
    digest = eip191(bytes.fromhex(HASH[2:]))
    one = signers(keys=0)
    os.mkdir(os.path.join(one.folder, "kms"), 0o700)
    with postgres.Postgres() as server:
        write_private(os.path.join(one.folder, "url"), server.create_database("duties") + "\n")
        with open(one.config_path, "a", encoding="utf-8") as config:
            config.write("signing_keys:\n" + kms_entry(aws, one.folder)
                         + f"duty_protection: {{url_file: {one.folder}/url, node_id: a}}\n")
        one.start(environment=aws_double.environment())
        wait_for_keys(one, [], kms_address(aws))
        one.wait_until(lambda: one.status()["duties"].get("healthy"), "duty locks can be had")
        aws.rule = {"count": 1 << 30, "how": "fault", "operation": "Sign", "argument": "DisabledException"}
        assert one.request("POST", "/api/v1/duty/sign", body)[0] >= 500
        aws.rule = None
        status, answer = one.request("POST", "/api/v1/duty/sign", body)
        assert status == 200 and answer["stored"] is False, answer
        assert recover(digest, answer["signature"]) == kms_address(aws)
        before = aws.kms.signed
        assert one.request("POST", "/api/v1/duty/sign", body)[1] == {**answer, "stored": True}
        assert one.request("POST", "/api/v1/duty/sign", {**body, "messageHash": "0x" + "22" * 32})[0] == 412
        assert aws.kms.signed == before  # what is refused never reaches KMS
        one.stop()


def test_away_at_the_start(signers, aws):
    one = signers(keys=1)
    pubkeys, _ = wrap(aws, one.folder, 1)
    with open(one.config_path, encoding="utf-8") as config:
        text = config.read()
    with open(one.config_path, "w", encoding="utf-8") as config:
        config.write(text.replace("signing_keys:\n", "signing_keys:\n" + kms_entry(aws, one.folder)))
    aws.rule = {"count": 1 << 30, "how": "drop", "operation": None, "argument": None}
    one.start(wait=False, environment=aws_double.environment())
    one.wait_ready()
    wait_for_keys(one, one.pubkeys)
    assert one.attest(one.pubkeys[0], 1, 2)[0] == 200
    assert one.attest(pubkeys[0], 1, 2)[0] == 404
    aws.rule = None
    wait_for_keys(one, pubkeys, kms_address(aws))
    assert one.attest(pubkeys[0], 1, 2)[0] == 200


def test_wrong_network_is_named(signers, aws):
    one = signers(keys=1)
    pubkeys, _ = wrap(aws, one.folder, 1)
    with open(one.config_path, encoding="utf-8") as config:
        text = config.read()
    with open(one.config_path, "w", encoding="utf-8") as config:
        entry = kms_entry(aws, one.folder).replace("network: mainnet", "network: hoodi")
        config.write(text.replace("signing_keys:\n", "signing_keys:\n" + entry))
    one.start(wait=False, environment=aws_double.environment())
    one.wait_ready()
    wait_for_keys(one, one.pubkeys, kms_address(aws))
    one.wait_until(lambda: f'{pubkeys[0]}.kms: wrapped for network "mainnet", not "hoodi"' in one.log(), "the file is named")
    assert pubkeys[0] not in one.loaded()


def test_secrets(signers, aws):
    aws.secrets.add("node/a", "\n".join(aws_double.make_key(i).hex() for i in range(3)))
    aws.secrets.add("node/b", json.dumps({"x": aws_double.make_key(3).hex(), "y": "no key"}))
    one = signers(keys=0, config=f"""signing_keys:
  - backend: aws-secrets-manager
    region: {aws_double.REGION}
    endpoint_url: {aws.url}
    prefixes: [node/]
""")
    one.start(environment=aws_double.environment())
    one.wait_until(lambda: len(one.loaded()) == 4, "four keys")
    one.wait_until(lambda: "node/b member y: not a key of 64 hex digits" in one.log(), "the one that is none is named")
    for pubkey in one.loaded():
        assert one.attest(pubkey, 1, 2)[0] == 200
    # A key more in the secret is there after a reload, and nothing else changes.
    before = one.loaded()
    aws.secrets.add("node/a", "\n".join(aws_double.make_key(i).hex() for i in range(4, -1, -1)))
    one.wait_until(lambda: one.request("POST", "/reload")[0] == 202, "a reload begins")
    one.wait_until(lambda: len(one.loaded()) == 5, "five keys")
    assert before < one.loaded()
    assert aws_double.make_key(0).hex() not in one.log()
