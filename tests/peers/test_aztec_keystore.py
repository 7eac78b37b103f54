"""The keystore of Aztec's node (@aztec/node-keystore): its remote signer, over plain HTTP and with client certificates."""

import http.client
import json
import os
import shutil
import ssl

import harness
import npm
import postgres
import pytest
import test_tls_clients as tls
from ethereum import address_of_secret

ADAPTER = os.path.join(harness.ROOT, "packaging", "npm", "aztec-signer")
SECRET = 0x42
ADDRESS = address_of_secret(SECRET)
CHECKS = 9

reason = postgres.missing()
pytestmark = pytest.mark.skipif(reason is not None, reason=str(reason))


@pytest.fixture(name="folder", scope="module")
def package_folder():
    return npm.install("aztec-keystore")


def start(folder, url, tls_settings=None):
    keys = folder / "key-files"
    keys.mkdir(mode=0o700)
    harness.write_private(keys / "key.yaml", f"type: file-raw\nkeyType: SECP256K1\nprivateKey: \"0x{SECRET:064x}\"\n")
    harness.write_private(folder / "url", url)
    (folder / "signer").mkdir()
    signer = harness.Signer(folder / "signer", keys=0, config=(
        f"signing_keys:\n  - {{backend: web3signer, config_dir: {keys}}}\n"
        f"duty_protection: {{url_file: {folder / 'url'}, node_id: one}}\n"
        "eth1: {chain_id: 11155111, hashes: allow}\n"))
    if tls_settings is not None:
        with open(signer.config_path, encoding="utf-8") as text:
            config = text.read().replace("server: {", "server: {tls: " + tls_settings + ", ")
        harness.write_private(signer.config_path, config)
    return signer


def keystore(folder, url):
    path = folder / "keystore.json"
    path.write_text(json.dumps({"schemaVersion": 1, "remoteSigner": url, "validators": [
        {"attester": ADDRESS, "publisher": [ADDRESS], "feeRecipient": "0x" + "11" * 32}]}), encoding="utf-8")
    return path


def drive(package, folder, url, environment=None, only=()):
    done = npm.run(package, "driver.mjs", url, keystore(folder, url), f"0x{SECRET:064x}", *only,
                   environment={"LOG_LEVEL": "silent", **(environment or {})})
    return done, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def check_all(done, checks):
    assert [check for check in checks if not check["ok"]] == [], done.stderr
    assert (done.returncode, len(checks)) == (0, CHECKS), done.stderr


def test_a_node_signs_through_holdfast(tmp_path, folder):
    with postgres.Postgres() as server, start(tmp_path, server.url()) as signer:
        signer.wait_until(lambda: signer.get("/healthcheck")[0] == 200, "it can sign")
        check_all(*drive(folder, tmp_path, f"http://127.0.0.1:{signer.port}"))
        assert signer.metrics().count('holdfast_refusals_total{reason="DUTY_CONFLICT"} 2\n') == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_with_a_client_certificate(tmp_path, folder):
    """The keystore itself shows none: the adapter's module does, where node imports it first."""
    certs = {"server": tls.self_signed(str(tmp_path), "server"),
             "authority": tls.self_signed(str(tmp_path), "authority", "keyUsage=critical,keyCertSign")}
    cert, key = tls.signed_by(str(tmp_path), "validator", certs["authority"])
    p12 = str(tmp_path / "validator.p12")
    tls.openssl("pkcs12", "-export", "-in", cert, "-inkey", key, "-out", p12, "-passout", "pass:secret")
    harness.write_private(tmp_path / "p12-password", "secret\n")
    with postgres.Postgres() as server:
        signer = start(tmp_path, server.url(), tls.tls_config(certs, client_ca=True))
        try:
            signer.start(wait=False)
            signer.wait_until(lambda: 'up' in signer.metrics() and "duty_store" in signer.log(), "it serves")
            url = f"https://127.0.0.1:{signer.port}"
            with pytest.raises((OSError, ssl.SSLError, http.client.HTTPException)):  # without a certificate nobody gets in
                stranger = http.client.HTTPSConnection("127.0.0.1", signer.port, timeout=10, context=tls.context(certs))
                stranger.request("POST", "/", body="{}", headers={"Content-Type": "application/json"})
                stranger.getresponse()
            shown = {"NODE_OPTIONS": f"--import file://{ADAPTER}/tls.js", "HOLDFAST_URL": url, "HOLDFAST_TLS_CA": certs["server"][0]}
            check_all(*drive(folder, tmp_path, url, {**shown, "HOLDFAST_TLS_CERT": cert, "HOLDFAST_TLS_KEY": key}))
            done, checks = drive(folder, tmp_path, url, {**shown, "HOLDFAST_TLS_P12": p12, "HOLDFAST_TLS_PASSWORD": str(
                tmp_path / "p12-password")}, ["messages"])
            assert [check["ok"] for check in checks] == [True], f"{checks} {done.stderr}"
        finally:
            signer.__exit__()
