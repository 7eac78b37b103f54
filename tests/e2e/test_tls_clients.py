"""TLS: who may connect, what is refused, and new certificates without a restart."""

import hashlib
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import time
import warnings

import harness
import pytest

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def self_signed(folder, name, extension="subjectAltName=IP:127.0.0.1"):
    """A certificate of its own; returns the paths of certificate and key."""
    cert, key = os.path.join(folder, f"{name}.pem"), os.path.join(folder, f"{name}.key")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
            f"/CN={name}", "-addext", extension, "-keyout", key, "-out", cert)
    os.chmod(key, 0o600)
    return cert, key


def signed_by(folder, name, authority):
    cert, key = os.path.join(folder, f"{name}.pem"), os.path.join(folder, f"{name}.key")
    request = os.path.join(folder, f"{name}.csr")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}", "-keyout", key,
            "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", authority[0], "-CAkey", authority[1], "-CAcreateserial", "-days", "2",
            "-out", cert)
    return cert, key


def fingerprint(cert):
    der = ssl.PEM_cert_to_DER_cert(open(cert, encoding="ascii").read())
    digest = hashlib.sha256(der).hexdigest().upper()
    return ":".join(digest[i:i + 2] for i in range(0, len(digest), 2))


@pytest.fixture(scope="module", name="certs")
def fixture_certs(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("certs"))
    authority = self_signed(folder, "authority", "keyUsage=critical,keyCertSign")
    return {"server": self_signed(folder, "server"), "authority": authority, "friend": signed_by(folder, "friend", authority),
            "known": self_signed(folder, "known"), "stranger": self_signed(folder, "stranger")}


def tls_config(certs, *, client_ca=False, known=None, interval=60):
    parts = [f"cert: {certs['server'][0]}", f"key: {certs['server'][1]}", f"reload_interval_seconds: {interval}"]
    if client_ca:
        parts.append(f"client_ca: {certs['authority'][0]}")
    if known:
        parts.append(f"known_clients: {known}")
    return "{" + ", ".join(parts) + "}"


def start(signers, tls, **options):
    signer = signers(**options)
    with open(signer.config_path, encoding="utf-8") as text:
        config = text.read().replace("server: {", "server: {tls: " + tls + ", ")
    harness.write_private(signer.config_path, config)
    signer.start(wait=False)
    signer.wait_ready()
    return signer


def context(certs, client=None):
    made = ssl.create_default_context(cafile=certs["server"][0])
    if client:
        made.load_cert_chain(*client)
    return made


def ask(signer, made, path="/upcheck", method="GET", body=None):
    connection = http.client.HTTPSConnection("127.0.0.1", signer.port, context=made, timeout=harness.PATIENCE)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def refused(signer, made):
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        ask(signer, made)


def test_it_signs_over_tls(signers, certs):
    signer = start(signers, tls_config(certs), keys=1)
    body = harness.json.dumps(harness.attestation(1, 2))
    path = "/api/v1/eth2/sign/" + signer.pubkeys[0]
    signer.wait_until(lambda: ask(signer, context(certs), path, "POST", body)[0] == 200, "it signs")
    status, answer = ask(signer, context(certs), path, "POST", body)
    assert status == 200 and len(answer) == 194 and answer.startswith(b"0x")
    assert b'"tls":true' in ask(signer, context(certs), "/api/v1/holdfast/status")[1]


def test_a_large_answer_and_many_requests_on_one_connection(signers, certs):
    signer = start(signers, tls_config(certs), keys=600)
    connection = http.client.HTTPSConnection("127.0.0.1", signer.port, context=context(certs), timeout=harness.PATIENCE)

    def count():
        connection.request("GET", "/api/v1/eth2/publicKeys")
        return len(harness.json.loads(connection.getresponse().read()))

    signer.wait_until(lambda: count() == 600, "all keys are listed")
    assert [count() for _ in range(20)] == [600] * 20
    connection.close()


def test_plain_http_and_old_tls_are_refused(signers, certs):
    signer = start(signers, tls_config(certs), keys=1)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        signer.get("/upcheck")
    old = context(certs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    refused(signer, old)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        made = context(certs)
        made.minimum_version = made.maximum_version = version
        assert ask(signer, made) == (200, b"OK")


def test_clients_of_an_authority(signers, certs):
    signer = start(signers, tls_config(certs, client_ca=True), keys=1)
    assert ask(signer, context(certs, certs["friend"])) == (200, b"OK")
    refused(signer, context(certs))
    refused(signer, context(certs, certs["stranger"]))
    refused(signer, context(certs, certs["known"]))
    one_two = context(certs)
    one_two.maximum_version = ssl.TLSVersion.TLSv1_2
    refused(signer, one_two)


def test_clients_known_by_their_fingerprint(signers, certs, tmp_path):
    known = tmp_path / "known-clients"
    known.write_text(f"# clients\nknown {fingerprint(certs['known'][0])}\nother-name {fingerprint(certs['stranger'][0])}\n")
    signer = start(signers, tls_config(certs, known=known), keys=1)
    assert ask(signer, context(certs, certs["known"])) == (200, b"OK")
    refused(signer, context(certs))
    refused(signer, context(certs, certs["stranger"]))  # its name is not the one on the list
    print_of = fingerprint(certs["stranger"][0]).replace(":", "").lower()
    signer.wait_logged("tls_client_refused", f"common name stranger, SHA-256 fingerprint {print_of}")
    refused(signer, context(certs, certs["friend"]))


def test_either_an_authority_or_the_list(signers, certs, tmp_path):
    known = tmp_path / "known-clients"
    known.write_text(f"known {fingerprint(certs['known'][0])}\n")
    signer = start(signers, tls_config(certs, client_ca=True, known=known), keys=1)
    assert ask(signer, context(certs, certs["known"])) == (200, b"OK")
    assert ask(signer, context(certs, certs["friend"])) == (200, b"OK")
    refused(signer, context(certs, certs["stranger"]))


def test_half_a_handshake_keeps_nobody_waiting(signers, certs):
    signer = start(signers, tls_config(certs), keys=1)
    silent = [socket.create_connection(("127.0.0.1", signer.port)) for _ in range(20)]
    for one in silent[::2]:
        one.sendall(b"\x16\x03\x01\x02\x00\x01")
    started = time.monotonic()
    assert ask(signer, context(certs)) == (200, b"OK")
    assert time.monotonic() - started < harness.PATIENCE / 6
    for one in silent:
        one.close()


def test_new_certificates_without_a_restart(signers, certs, tmp_path):
    cert, key = (shutil.copy(path, tmp_path / name) for path, name in zip(certs["server"], ("live.pem", "live.key")))
    signer = start(signers, tls_config({**certs, "server": (cert, key)}, interval=1), keys=1)
    keeper = signer.pids("keeper")
    assert ask(signer, context(certs)) == (200, b"OK")
    renewed = self_signed(str(tmp_path), "renewed")
    os.replace(renewed[1], key)
    os.replace(renewed[0], cert)
    new = {"server": (cert, key)}

    def speaks_new():
        try:
            return ask(signer, context(new)) == (200, b"OK")
        except (OSError, http.client.HTTPException):
            return False

    signer.wait_until(speaks_new, "it shows the new certificate")
    signer.wait_until(lambda: _old_is_gone(signer, certs), "no front shows the old one")
    assert signer.pids("keeper") == keeper


def _old_is_gone(signer, certs):
    gone = 0
    for _ in range(8):
        try:
            ask(signer, context(certs))
        except ssl.SSLError:
            gone += 1
    return gone == 8


@pytest.mark.parametrize("fault", ["no key", "another key"])
def test_files_that_do_not_fit_together_stop_the_start(signers, certs, tmp_path, fault):
    key = tmp_path / "key"
    harness.write_private(key, "nothing\n" if fault == "no key" else open(certs["stranger"][1], encoding="ascii").read())
    signer = signers(keys=1)
    with open(signer.config_path, encoding="utf-8") as text:
        config = text.read().replace("server: {", f"server: {{tls: {{cert: {certs['server'][0]}, key: {key}}}, ")
    harness.write_private(signer.config_path, config)
    signer.start(wait=False)
    assert signer.wait_exit() != 0
    assert f"tls: {certs['server'][0]} with {key}: " in signer.log()
