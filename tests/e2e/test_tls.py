"""HTTPS, and certificates that are renewed under a running signer."""

import http.client
import os
import signal
import ssl
import subprocess
import threading

import harness
from conftest import wait_for


def openssl(*arguments):
    subprocess.run(["openssl", *[str(a) for a in arguments]], check=True, capture_output=True)


def make_certificate(folder, name, common_name):
    """A self-signed one for 127.0.0.1: FOLDER/NAME.pem and FOLDER/NAME.key."""
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
            f"/CN={common_name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / f"{name}.key", "-out",
            folder / f"{name}.pem")
    os.chmod(folder / f"{name}.key", 0o600)


def install(folder, name):
    """Puts a certificate where the signer reads it, as renewal tools do: by renaming."""
    for suffix in ("key", "pem"):
        with open(folder / f"{name}.{suffix}", encoding="ascii") as text:
            harness.write_private(str(folder / f"new.{suffix}"), text.read())
        os.rename(folder / f"new.{suffix}", folder / f"server.{suffix}")


def start(signers, folder, **more):
    environment = {"HOLDFAST_SERVER_TLS_CERT": str(folder / "server.pem"),
                   "HOLDFAST_SERVER_TLS_KEY": str(folder / "server.key"), **more}
    signer = signers(keys=1)
    signer.start(wait=False, environment=environment)
    signer.wait_ready()
    return signer


def connect(signer, trusted=None, certificate=None):
    """A connection, trusting one self-signed certificate (None: any)."""
    context = ssl.create_default_context(cafile=trusted) if trusted else ssl._create_unverified_context()
    if certificate:
        context.load_cert_chain(f"{certificate}.pem", f"{certificate}.key")
    return http.client.HTTPSConnection("127.0.0.1", signer.port, timeout=harness.PATIENCE, context=context)


def get(connection, path="/upcheck"):
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def served_certificate(signer):
    connection = connect(signer)
    try:
        connection.connect()
        return ssl.DER_cert_to_PEM_cert(connection.sock.getpeercert(True)).split()
    finally:
        connection.close()


def pem_of(path):
    with open(path, encoding="ascii") as text:
        return text.read().split()


def test_https_answers_and_http_does_not(signers, tmp_path):
    make_certificate(tmp_path, "one", "one")
    install(tmp_path, "one")
    signer = start(signers, tmp_path)
    assert signer.has_logged("listening", "api https://")
    assert get(connect(signer, tmp_path / "one.pem")) == (200, b"OK")
    plain = http.client.HTTPConnection("127.0.0.1", signer.port, timeout=harness.PATIENCE)
    try:
        get(plain)
        assert False, "plain HTTP was answered"
    except (http.client.HTTPException, OSError):
        pass
    assert signer.get("/metrics", port=signer.metrics_port)[0] == 200


def test_a_renewed_certificate_is_served_without_a_lost_request(signers, tmp_path):
    make_certificate(tmp_path, "one", "one")
    make_certificate(tmp_path, "two", "two")
    install(tmp_path, "one")
    signer = start(signers, tmp_path, HOLDFAST_SERVER_TLS_RELOAD_INTERVAL_SECONDS="1")
    assert served_certificate(signer) == pem_of(tmp_path / "one.pem")
    before = signer.pids("front")
    answers, done = [], threading.Event()

    def keep_asking():  # each on a connection of its own, as health checks do
        while not done.is_set():
            connection = connect(signer)
            answers.append(get(connection)[0])
            connection.close()

    thread = threading.Thread(target=keep_asking)
    thread.start()
    try:
        install(tmp_path, "two")
        wait_for("new fronts alone", lambda: len(signer.pids("front")) == 2 and
                 not set(before) & set(signer.pids("front")), harness.PATIENCE)
        asked = len(answers)
        wait_for("more answers", lambda: len(answers) > asked + 5, harness.PATIENCE)
    finally:
        done.set()
        thread.join()
    assert set(answers) == {200}
    assert served_certificate(signer) == pem_of(tmp_path / "two.pem")


def test_a_bad_certificate_changes_nothing_and_is_told(signers, tmp_path):
    make_certificate(tmp_path, "one", "one")
    make_certificate(tmp_path, "two", "two")
    install(tmp_path, "one")
    signer = start(signers, tmp_path)
    before = signer.pids("front")
    harness.write_private(str(tmp_path / "server.pem"), "-----BEGIN CERTIFICATE-----\nnonsense\n")
    signer.process.send_signal(signal.SIGHUP)
    signer.wait_logged("tls_reload_failed", "", harness.PATIENCE)
    assert served_certificate(signer) == pem_of(tmp_path / "one.pem")
    wait_for("the failed ones are gone", lambda: signer.pids("front") == before, harness.PATIENCE)
    install(tmp_path, "two")
    signer.process.send_signal(signal.SIGHUP)
    wait_for("the good one", lambda: served_certificate(signer) == pem_of(tmp_path / "two.pem"), harness.PATIENCE)


def test_a_bad_certificate_at_the_start_stops_it(signers, tmp_path):
    make_certificate(tmp_path, "one", "one")
    install(tmp_path, "one")
    harness.write_private(str(tmp_path / "server.key"), "nonsense")
    signer = signers(keys=1)
    signer.start(wait=False, environment={"HOLDFAST_SERVER_TLS_CERT": str(tmp_path / "server.pem"),
                                          "HOLDFAST_SERVER_TLS_KEY": str(tmp_path / "server.key")})
    assert signer.wait_exit() == 1
    assert signer.has_logged("start_failed")


def test_only_clients_of_the_authority_are_served(signers, tmp_path):
    for name in ("one", "client", "stranger"):
        make_certificate(tmp_path, name, name)
    install(tmp_path, "one")
    signer = start(signers, tmp_path, HOLDFAST_SERVER_TLS_CLIENT_CA=str(tmp_path / "client.pem"))
    assert get(connect(signer, tmp_path / "one.pem", tmp_path / "client")) == (200, b"OK")
    for certificate in (None, tmp_path / "stranger"):
        try:
            status, body = get(connect(signer, tmp_path / "one.pem", certificate))
            assert status in (401, 403), body
        except (http.client.HTTPException, OSError):
            pass
