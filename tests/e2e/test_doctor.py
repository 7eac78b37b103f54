"""holdfast doctor on real files and real processes; its judgements one by one are in tests/unit/cli/test_doctor.c."""

import json
import os
import shutil
import struct
import subprocess

import harness
import pytest

needs_sandbox = pytest.mark.skipif(harness.SANITIZED, reason="a sanitizer build runs without a sandbox")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners, capabilities of files")


def ask(signer, *arguments, program=harness.HOLDFAST):
    """(exit status, {check: worst state}, all rows) for a signer's configuration."""
    done = subprocess.run([program, "doctor", "-c", signer.config_path, "--json", *arguments], capture_output=True, text=True,
                          timeout=harness.PATIENCE, check=False)
    assert done.stderr == "", done.stderr
    told = json.loads(done.stdout)
    states = {}
    for row in told["rows"]:
        assert set(row) == {"check", "state", "finding", "remedy"} and row["finding"]
        assert (row["remedy"] == "") == (row["state"] == "OK"), row
        states[row["check"]] = max(states.get(row["check"], "OK"), row["state"], key=["OK", "WARN", "FAIL"].index)
    for state in ("ok", "warn", "fail"):
        assert told[state] == sum(row["state"] == state.upper() for row in told["rows"])
    assert done.returncode == (1 if told["fail"] else 0)
    return done.returncode, states, told["rows"]


def findings(rows, check):
    return [row["finding"] for row in rows if row["check"] == check]


def is_said(rows, check, text):
    return any(text in finding for finding in findings(rows, check))


def test_usage():
    assert harness.run("doctor").returncode == 2
    assert harness.run("doctor", "--nothing").returncode == 2
    done = harness.run("doctor", "--help")
    assert done.returncode == 0 and "root" in done.stdout


def test_text_and_json_say_the_same(signers):
    signer = signers(keys=1)
    _, _, rows = ask(signer)
    text = harness.run("doctor", "-c", signer.config_path).stdout
    for row in rows:
        assert any(line.split()[:2] == [row["state"], row["check"]] for line in text.splitlines()), row
        assert row["remedy"] == "" or f"-> {row['remedy']}" in text
    assert text.splitlines()[-1] == "{} OK, {} WARN, {} FAIL".format(
        *(sum(row["state"] == state for row in rows) for state in ("OK", "WARN", "FAIL")))


def test_a_configuration_that_is_none(tmp_path):
    harness.write_private(str(tmp_path / "holdfast.yaml"), "data_dir: /nowhere\nserver: {listen_address: 0.0.0.0}\n")
    done = harness.run("doctor", "-c", tmp_path / "holdfast.yaml")
    assert done.returncode == 1
    assert "FAIL  configuration" in done.stdout and "reachable by others" in done.stdout
    assert " clock " in done.stdout  # the machine is looked at all the same


def test_files_that_others_can_reach(signers):
    signer = signers(keys=2)
    os.mkdir(signer.data_dir, 0o700)
    keystore = os.path.join(signer.keystores, "keystore-0.json")
    for path, mode, check, state in (
            (signer.config_path, 0o644, "config-file", "WARN"), (signer.config_path, 0o666, "config-file", "FAIL"),
            (keystore, 0o644, "key-files", "FAIL"), (signer.keystores, 0o755, "key-files", "FAIL"),
            (signer.data_dir, 0o750, "data-dir", "FAIL")):
        before = os.stat(path).st_mode & 0o7777
        for name in os.listdir(signer.keystores):
            os.chmod(os.path.join(signer.keystores, name), 0o600)
        os.chmod(path, 0o700 if os.path.isdir(path) else 0o600)
        assert ask(signer)[1][check] == "OK", check
        os.chmod(path, mode)
        _, states, rows = ask(signer)
        assert states[check] == state and is_said(rows, check, path), rows
        os.chmod(path, before)
    stray = os.path.join(signer.data_dir, "copy")
    harness.write_private(stray, "x")
    os.chmod(stray, 0o644)
    _, states, rows = ask(signer)
    assert states["data-dir"] == "FAIL" and is_said(rows, "data-dir", stray)


def test_many_open_files_are_a_few_rows(signers):
    signer = signers(keys=1)
    for i in range(20):
        with open(os.path.join(signer.keystores, f"x{i}.json"), "w", encoding="ascii"):
            pass
        os.chmod(os.path.join(signer.keystores, f"x{i}.json"), 0o644)
    _, states, rows = ask(signer)
    assert states["key-files"] == "FAIL" and len(findings(rows, "key-files")) <= 6
    assert is_said(rows, "key-files", "more like them")


def test_key_files_of_the_seal(signers, tmp_path):
    holders = tmp_path / "holders"
    holders.mkdir(mode=0o700)
    harness.write_private(str(holders / "one.key"), "x")
    signer = signers(keys=0, config=f"signing_keys:\n  - {{backend: sealed, key_file_dir: {holders}}}\n")
    assert ask(signer)[1]["key-files"] == "OK"
    os.chmod(holders / "one.key", 0o644)
    _, states, rows = ask(signer)
    assert states["key-files"] == "FAIL" and is_said(rows, "key-files", "one.key")


def test_canary_keys_are_seen(signers):
    key = "0x" + "ab" * 48
    assert ask(signers(keys=1))[1]["canaries"] == "WARN"
    assert ask(signers(keys=1, config=f"canary_keys: [{key}]\n"))[1]["canaries"] == "OK"


def test_tokens_are_seen(signers):
    assert ask(signers(keys=1, config="auth: {mode: none}\n"))[1]["tokens"] == "WARN"
    assert ask(signers(keys=1, config="auth: {mode: tokens}\n"))[1]["tokens"] == "OK"


def test_the_audit_log_is_seen(signers):
    assert ask(signers(keys=1, config="audit: {enabled: true}\n"))[1]["audit"] == "OK"
    assert ask(signers(keys=1, config="audit: {enabled: false}\n"))[1]["audit"] == "WARN"
    assert ask(signers(keys=1, config="audit: {sync: interval}\n"))[1]["audit"] == "WARN"


@needs_root
def test_a_strangers_file(signers):
    signer = signers(keys=1)
    os.mkdir(signer.data_dir, 0o700)
    assert ask(signer)[1]["password-files"] == "OK"
    os.chown(f"{signer.keystores}.password", 12345, 12345)
    assert ask(signer)[1]["password-files"] == "FAIL"


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="there is no /dev/shm")
def test_a_record_in_memory_only(signers, tmp_path):
    signer = signers(keys=1)
    os.mkdir(signer.data_dir, 0o700)
    volatile = os.path.join("/dev/shm", f"holdfast-{os.getpid()}")
    os.mkdir(volatile, 0o700)
    try:
        assert ask(signer, "--data-dir", volatile)[1]["data-disk"] == "FAIL"
    finally:
        os.rmdir(volatile)
    if os.statvfs(tmp_path).f_bavail and "tmpfs" not in subprocess.run(["stat", "-f", "-c", "%T", str(tmp_path)], text=True,
                                                                      capture_output=True, check=False).stdout:
        assert ask(signer)[1]["data-disk"] in ("OK", "WARN")


@pytest.mark.parametrize("days, state", [(400, "OK"), (10, "WARN"), (0, "FAIL")])
def test_certificates_end(signers, tmp_path, days, state):
    signer = signers(keys=1)
    base = str(tmp_path / "tls")
    subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x", "-keyout",
                    f"{base}.key", "-out", f"{base}.csr"], check=True, capture_output=True)
    subprocess.run(["openssl", "x509", "-req", "-in", f"{base}.csr", "-signkey", f"{base}.key", "-days", str(days), "-out",
                    f"{base}.pem"], check=True, capture_output=True)
    os.chmod(f"{base}.key", 0o600)
    environment = {"HOLDFAST_SERVER_TLS_CERT": f"{base}.pem", "HOLDFAST_SERVER_TLS_KEY": f"{base}.key"}
    done = harness.run("doctor", "-c", signer.config_path, "--json", env=environment)
    rows = [row for row in json.loads(done.stdout)["rows"] if row["check"] == "tls-files"]
    assert rows and max((row["state"] for row in rows), key=["OK", "WARN", "FAIL"].index) == state, rows


@needs_sandbox
def test_a_running_signer_as_it_should_be(signer):
    _, states, rows = ask(signer, *signer.arguments)
    for check in ("configuration", "data-dir", "listeners", "firewall", "running", "processes", "memlock", "core-dumps", "hardening",
                  "file-capabilities", "api-address", "api-tls"):
        assert states[check] == "OK", [row for row in rows if row["check"] == check]
    assert is_said(rows, "running", f"process {signer.process.pid}")
    assert is_said(rows, "listeners", "2 listening sockets")
    assert states["protections"] in ("OK", "WARN")  # WARN where the kernel has no Landlock
    if os.geteuid() == 0:
        assert states["user"] == "FAIL" and is_said(rows, "user", "runs as root")


@needs_sandbox
def test_a_running_signer_without_protections(signers):
    signer = signers(config="hardening: {seccomp: off, landlock: off, mlock: off, no_dump: off}\n").start()
    status, states, rows = ask(signer, *signer.arguments)
    assert status == 1
    assert states["hardening"] == states["processes"] == states["protections"] == "FAIL"
    assert is_said(rows, "processes", "no system call filter")
    assert len(findings(rows, "hardening")) == 4


@needs_sandbox
def test_a_signer_that_runs_with_another_configuration(signer):
    _, states, rows = ask(signer, "--listen", "127.0.0.1:1", "--metrics-listen", "127.0.0.1:2")
    assert states["listeners"] == "FAIL" and is_said(rows, "listeners", f"127.0.0.1 port {signer.port}")


@needs_root
@needs_sandbox
def test_the_usual_recipe_of_a_file_capability(signers, tmp_path):
    signer = signers(keys=1)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("holdfast", "holdfast-keeper", "holdfast-front", "holdfast-loader", "holdfast-store"):
        shutil.copy(os.path.join(harness.BUILD, name), programs)
    assert ask(signer, program=programs / "holdfast")[1]["file-capabilities"] == "OK"
    ipc_lock = 1 << 14
    try:
        os.setxattr(programs / "holdfast-keeper", "security.capability",
                    struct.pack("<IIIII", 0x02000001, ipc_lock, 0, 0, 0))
    except OSError as failure:
        pytest.skip(f"no file capabilities on this file system: {failure}")
    _, states, rows = ask(signer, program=programs / "holdfast")
    assert states["file-capabilities"] == "FAIL" and is_said(rows, "file-capabilities", "holdfast-keeper")


def test_no_secret_is_told(signers, tmp_path):
    harness.write_private(str(tmp_path / "url"), "postgresql://u:hunter2@db.internal/h\n")
    signer = signers(keys=1)
    done = harness.run("doctor", "-c", signer.config_path, "--database-url-file", tmp_path / "url")
    assert "FAIL  database-tls" in done.stdout and "hunter2" not in done.stdout + done.stderr
