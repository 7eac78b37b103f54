"""The back ends in AWS against moto: KMS with real cryptography, Secrets Manager, STS."""

import base64
import json
import os
import subprocess

import aws_double
import ethereum
import harness
import moto_server
import pytest
from moto_server import REGION, ask

DRIVER = os.path.join(harness.BUILD, "tests", "unit", "custody", "drive_aws")
BLS, SECP256K1, ED25519 = range(3)


@pytest.fixture(name="moto", scope="module")
def fixture_moto():
    with moto_server.server() as url:
        yield url


def environment(**more):
    return {**aws_double.environment(), **more}


def drive(url, backend, lines, settings, more=None):
    """What the driver prints for these lines, without the first."""
    result = subprocess.run([DRIVER, backend, f"region={REGION}", f"endpoint_url={url}", *settings], input="\n".join(lines) + "\n",
                            env=environment(**(more or {})), capture_output=True, text=True, timeout=120, check=False)
    answers = result.stdout.splitlines()
    assert answers and answers[0] == "= OK ", result.stdout + result.stderr
    return answers[1:]


def keys_of(answers):
    return [line.split(" ", 5)[1:] for line in answers if line.startswith("key ")]


def make_key(url, spec="SYMMETRIC_DEFAULT", usage="ENCRYPT_DECRYPT"):
    return ask(url, "kms", "TrentService.CreateKey", KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["Arn"]


def generate(url, key, folder, network, count=1):
    command = [os.path.join(harness.BUILD, "holdfast"), "key", "generate", "--backend", "aws-kms", "--count", str(count), "--json"]
    for pair in (f"region={REGION}", f"endpoint_url={url}", f"key_id={key}", f"blob_dir={folder}",
                 f"encryption_context.network={network}"):
        command += ["--set", pair]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def kms_settings(key, folder, network="hoodi"):
    return [f"key_id={key}", f"blob_dir={folder}", f"encryption_context.network={network}"]


def test_wrapped_keys(moto, tmp_path):
    key = make_key(moto)
    made = generate(moto, key, tmp_path, "hoodi", 3)
    answers = drive(moto, "aws-kms", ["list"], kms_settings(key, tmp_path))
    assert answers[-1] == "= OK "
    assert {"0x" + found[1] for found in keys_of(answers)} == {row["pubkey"] for row in made}
    # The key by its id alone is the same key.
    answers = drive(moto, "aws-kms", ["list"], kms_settings(key.rpartition("/")[2], tmp_path))
    assert len(keys_of(answers)) == 3


def test_what_kms_refuses(moto, tmp_path):
    key, other = make_key(moto), make_key(moto)
    row, = generate(moto, key, tmp_path, "hoodi")
    answers = drive(moto, "aws-kms", ["list"], kms_settings(key, tmp_path, "mainnet"))
    assert len(answers) == 2 and 'wrapped for network "hoodi", not "mainnet"' in answers[0]
    answers = drive(moto, "aws-kms", ["list"], kms_settings(other, tmp_path))
    assert len(answers) == 2 and "not the pinned key_id" in answers[0]
    with open(row["file"], "r+b") as file:
        text = file.read()
        assert text.count(b"networkhoodi") == 1
        file.seek(0)
        file.write(text.replace(b"networkhoodi", b"networkhoody"))
    answers = drive(moto, "aws-kms", ["list"], kms_settings(key, tmp_path, "hoody"))
    assert len(answers) == 2 and "damaged, or wrapped with another encryption context" in answers[0], answers



def recovers(digest, signature, public):
    """Is public among the keys that may have made this signature?"""
    r, s = signature[:64], int(signature[64:], 16)
    s = min(s, ethereum.N - s)
    address = "0x" + ethereum.keccak256(bytes.fromhex(public[2:]))[12:].hex()
    return address in [ethereum.recover(digest, f"0x{r}{s:064x}{v:02x}") for v in (27, 28)]


def test_secp256k1_signs_inside(moto):
    key = make_key(moto, "ECC_SECG_P256K1", "SIGN_VERIFY")
    (kind, public, secret, handle, name), = keys_of(drive(moto, "aws-kms", ["list"], [f"sign_key_ids={key}"]))
    assert (int(kind), secret) == (SECP256K1, "inside") and key.endswith(name)
    digests = [bytes([7, i] + [0] * 30) for i in range(4)]
    answers = drive(moto, "aws-kms", ["list"] + [f"sign {handle} {digest.hex()}" for digest in digests], [f"sign_key_ids={key}"])
    for digest, answer in zip(digests, answers[-4:]):
        assert answer.startswith("= OK ") and recovers(digest, answer[5:], public), answer


def test_other_curves(moto):
    key = make_key(moto, "ECC_NIST_P256", "SIGN_VERIFY")
    (_, _, _, handle, _), = keys_of(drive(moto, "aws-kms", ["list"], [f"sign_key_ids={key}"]))
    # Verified in the back end by OpenSSL.
    answers = drive(moto, "aws-kms", ["list", f"sign {handle} {'05' * 32}"], [f"sign_key_ids={key}"])
    assert answers[-1].startswith("= OK ") and len(answers[-1]) == 5 + 128
    symmetric = make_key(moto)
    answers = drive(moto, "aws-kms", ["list"], [f"sign_key_ids={symmetric}"])
    assert answers[0].startswith(f"failed {symmetric}: ") and answers[-1] == "= OK "


def test_wrapped_secrets(moto):
    key = make_key(moto)
    answer, = drive(moto, "aws-kms", [f"wrap {key} 0102 {'ab' * 33}"], [])
    assert answer.startswith("= OK ")
    blob = answer[5:]
    good, bad = drive(moto, "aws-kms", [f"unwrap {key} 0102 {blob}", f"unwrap {key} 0103 {blob}"], [])
    assert good == "= OK " + "ab" * 33
    assert bad.startswith("= DENIED ") and "another encryption context" in bad


def put_secret(url, name, value, tag=None):
    member = {"SecretString": value} if isinstance(value, str) else {"SecretBinary": base64.b64encode(value).decode()}
    ask(url, "secretsmanager", "secretsmanager.CreateSecret", Name=name, Tags=[{"Key": "team", "Value": tag}] if tag else [], **member)


def test_secrets(moto):
    made = {f"node/{i:03}": aws_double.make_key(i).hex() for i in range(45)}
    for name, value in made.items():
        put_secret(moto, name, "0x" + value, tag="staking" if name < "node/003" else None)
    put_secret(moto, "many", "\n".join(aws_double.make_key(100 + i).hex() for i in range(3)))
    put_secret(moto, "binary", aws_double.make_key(200))
    answers = drive(moto, "aws-secrets-manager", ["list"], ["prefixes=node/"])
    assert {found[2] for found in keys_of(answers)} == set(made.values()) and answers[-1] == "= OK "
    answers = drive(moto, "aws-secrets-manager", ["list"], ["secret_tags.team=staking"])
    assert {found[2] for found in keys_of(answers)} == {made[f"node/{i:03}"] for i in range(3)}
    answers = drive(moto, "aws-secrets-manager", ["list"], ["secret_ids=many", "secret_ids=binary", "secret_ids=missing"])
    assert [found[4] for found in keys_of(answers)] == ["many line 1", "many line 2", "many line 3", "binary"], answers
    assert [line for line in answers if line.startswith("failed missing: ")] and answers[-1] == "= OK "
    # A new version is what counts from then on.
    ask(moto, "secretsmanager", "secretsmanager.PutSecretValue", SecretId="binary", SecretString=aws_double.make_key(201).hex())
    answers = drive(moto, "aws-secrets-manager", ["list"], ["secret_ids=binary"])
    assert [found[2] for found in keys_of(answers)] == [aws_double.make_key(201).hex()]


def test_role_of_the_configuration(moto):
    put_secret(moto, "by-iam-role", aws_double.make_key(301).hex())
    settings = ["secret_ids=by-iam-role", "iam_role=arn:aws:iam::123456789012:role/signer"]
    answers = drive(moto, "aws-secrets-manager", ["list"], settings, {"AWS_ENDPOINT_URL_STS": moto})
    assert [found[2] for found in keys_of(answers)] == [aws_double.make_key(301).hex()], answers
    # Another account's role sees another account's secrets: it was the role that asked.
    settings[1] = "iam_role=arn:aws:iam::210987654321:role/signer"
    answers = drive(moto, "aws-secrets-manager", ["list"], settings, {"AWS_ENDPOINT_URL_STS": moto})
    assert not keys_of(answers) and answers[0].startswith("failed by-iam-role: "), answers
    # No STS, no credentials, and it says why.
    answers = drive(moto, "aws-secrets-manager", ["list"], settings, {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"})
    assert answers[-1].startswith("= UNAVAILABLE AWS credentials from a role: "), answers


def test_role_by_web_identity(moto, tmp_path):
    token = tmp_path / "token"
    token.write_text("a-token-of-the-cluster")
    more = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/signer",
            "AWS_ENDPOINT_URL_STS": moto, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    put_secret(moto, "by-role", aws_double.make_key(300).hex())
    answers = drive(moto, "aws-secrets-manager", ["list"], ["secret_ids=by-role"], more)
    assert [found[2] for found in keys_of(answers)] == [aws_double.make_key(300).hex()], answers
