"""The database by TLS, through the sandbox: sslmode=verify-full with an authority of ours, a password from a file. What is
not the server that was named gets no password and no record, and the reason is told."""

import os
import re
import shutil
import subprocess

import harness
import postgres
import pytest
from conftest import wait_for
from test_duty import DUTY, duty, make_keys

pytestmark = [
    pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing())),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed (apt-get install openssl)"),
]

NAME = "localhost"


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


class Authority:
    """A certificate authority, and what it signs: NAME.pem and NAME.key."""

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "ca.pem"
        folder.mkdir()
        openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
                "-subj", f"/CN={folder.name}")

    def certify(self, name, extension):
        (self.folder / "extension").write_text(extension + "\n", encoding="ascii")
        openssl(self.folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.request",
                "-subj", f"/CN={name}")
        openssl(self.folder, "x509", "-req", "-in", f"{name}.request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.pem", "-days", "2", "-extfile", "extension")


@pytest.fixture(name="authority", scope="module")
def our_authority(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("tls") / "ours")
    made.certify("server", f"subjectAltName=DNS:{NAME}")
    made.certify(postgres.USER, "extendedKeyUsage=clientAuth")
    return made


@pytest.fixture(name="server", scope="module")
def server_with_tls(authority):
    """It takes no connection without TLS but its own superuser's."""
    with postgres.Postgres(fsync=False) as server:
        server.stop()
        for name in ("server.pem", "server.key", "ca.pem"):
            there = os.path.join(server.data, name)
            shutil.copyfile(authority.folder / name, there)
            os.chmod(there, 0o600)
            if server.as_user:
                os.chown(there, server.as_user["user"], server.as_user["group"])
        with open(os.path.join(server.data, "pg_hba.conf"), "w", encoding="ascii") as rules:
            rules.write("local all postgres trust\nhostssl with_certificate all all scram-sha-256 clientcert=verify-full\n"
                        "hostssl all all all scram-sha-256\n")
        server.settings.update({"ssl": "on", "ssl_cert_file": "server.pem", "ssl_key_file": "server.key",
                                "ssl_ca_file": "ca.pem"})
        yield server.start()


def secure_url(server, database, authority, host=NAME, password=f":{postgres.PASSWORD}", more=""):
    return (f"postgresql://{postgres.USER}{password}@{host}:{server.port}/{database}?sslmode=verify-full"
            f"&sslrootcert={authority.path}{more}")


def on(signers, tmp_path, url, in_file=True):
    """A signer that records there, and one that locks duties there too."""
    keys = tmp_path / f"keys-{len(list(tmp_path.iterdir()))}"
    make_keys(keys)
    where = f"url: '{url}'"
    if in_file:
        harness.write_private(tmp_path / "url", url + "\n")
        where = f"url_file: {tmp_path / 'url'}"
    return signers(keys=0, config=f"signing_keys:\n  - {{backend: web3signer, config_dir: {keys}}}\n"
                                  f"slashing_protection: {{backend: postgres, {where}}}\n"
                                  f"duty_protection: {{node_id: node-a, {where}}}\n")


def is_confined(signer, process):
    pid, = signer.pids(process)
    return harness.is_confined(pid)


def serves(signer, server, database):
    """Signs both ways in the sandbox, over connections that the server calls encrypted."""
    signer.start()
    wait_for("duty locks", lambda: signer.status()["duties"].get("healthy"), harness.PATIENCE)
    pubkey, = signer.get("/api/v1/eth2/publicKeys")[1]
    assert signer.attest(pubkey, 1, 2)[0] == 200
    assert signer.attest(pubkey, 1, 2, mark=1)[0] == 412
    assert signer.request("POST", DUTY, duty(1))[0] == 200
    assert signer.request("POST", DUTY, duty(1, 1))[0] == 412
    if not harness.SANITIZED:
        assert is_confined(signer, "store") and is_confined(signer, "duty")
        told = {p["name"]: p["state"] for p in signer.status()["protections"]["store"]}
        assert told["seccomp"] == "on" and told["landlock"] in ("on", "unavailable"), told
    rows = server.psql("SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
                       f" WHERE datname = '{database}' AND usename = '{postgres.USER}'")
    assert rows == "t"
    for place in (signer.log(), str(signer.status()), signer.metrics(), harness.run("check", "-c", signer.config_path, "--show").stdout):
        assert postgres.PASSWORD not in place


@pytest.mark.parametrize("password_in", ["url_file", "passfile"])
def test_verified_with_a_password_from_a_file(signers, tmp_path, server, authority, password_in):
    database = f"verified_{password_in}"
    server.create_database(database)
    if password_in == "url_file":
        signer = on(signers, tmp_path, secure_url(server, database, authority))
    else:
        harness.write_private(tmp_path / "pgpass", f"{NAME}:{server.port}:*:{postgres.USER}:{postgres.PASSWORD}\n")
        url = secure_url(server, database, authority, password="", more=f"&passfile={tmp_path / 'pgpass'}")
        signer = on(signers, tmp_path, url, in_file=False)
    serves(signer, server, database)
    for process in ("store", "duty"):
        pid, = signer.pids(process)
        os.kill(pid, 9)
        wait_for("another process", lambda p=process, old=pid: signer.pids(p) not in ([], [old]), harness.PATIENCE)
    pubkey, = signer.get("/api/v1/eth2/publicKeys")[1]
    wait_for("an answer", lambda: signer.attest(pubkey, 2, 3)[0] == 200, harness.PATIENCE)
    wait_for("a duty", lambda: signer.request("POST", DUTY, duty(2))[0] == 200, harness.PATIENCE)


def test_a_client_certificate_from_files(signers, tmp_path, server, authority):
    server.create_database("with_certificate")
    mine = [tmp_path / f"client.{end}" for end in ("pem", "key")]
    for path in mine:
        harness.write_private(path, (authority.folder / f"{postgres.USER}{path.suffix}").read_text(encoding="ascii"))
    serves(on(signers, tmp_path, secure_url(server, "with_certificate", authority, more=f"&sslcert={mine[0]}&sslkey={mine[1]}")),
           server, "with_certificate")


@pytest.mark.parametrize("wrong, words", [("authority", "certificate verify failed"), ("name", "server certificate for"),
                                          ("file", "root certificate file"), ("plain", "pg_hba.conf")])
def test_what_is_not_the_server_that_was_named_is_refused(signers, tmp_path, server, authority, wrong, words):
    """No table is made there, no slashable message and no duty is signed, and why is in log and status."""
    database = f"wrong_{wrong}"
    server.create_database(database)
    if wrong == "authority":
        url = secure_url(server, database, Authority(tmp_path / "another"))
    elif wrong == "name":
        url = secure_url(server, database, authority, host="127.0.0.1")
    elif wrong == "file":
        url = secure_url(server, database, authority).replace("ca.pem", "gone.pem")
    else:
        url = server.url(database, sslmode="disable")
    signer = on(signers, tmp_path, url)
    signer.start(wait=False)
    wait_for("a start or a refusal", lambda: signer.process.poll() is not None or signer.has_logged("ready"), harness.PATIENCE)
    if signer.process.poll() is not None:
        assert signer.wait_exit() in (1, 2)
    else:
        signer.wait_ready()
        pubkey, = wait_for("its key", lambda: signer.get("/api/v1/eth2/publicKeys")[1], harness.PATIENCE)
        status, answer = signer.attest(pubkey, 1, 2)
        assert (status, answer["code"]) == (503, "STORE_UNAVAILABLE")
        status, answer = signer.request("POST", DUTY, duty(1))
        assert status == 503 and "signature" not in answer
        wait_for(f"{words} in the status", lambda: words in signer.status()["store"]["detail"], harness.PATIENCE)
    wait_for(f"{words} in the log", lambda: words in signer.log(), harness.PATIENCE)
    assert postgres.PASSWORD not in signer.log()
    assert server.psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database) == "0"
