"""The processes of a running signer: what each may do, and what happens when one of them dies."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import harness
import pytest
from conftest import wait_for

needs_sandbox = pytest.mark.skipif(harness.SANITIZED, reason="a sanitizer build runs without a sandbox")


def status_of(pid):
    """/proc/PID/status as {name: text}"""
    with open(f"/proc/{pid}/status", encoding="ascii") as text:
        return dict(line.rstrip("\n").split(":\t", 1) for line in text)


def descriptors(pid):
    """{number: what it is} of a process; skips where we may not see it (not dumpable, and we not root)."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")
        return {int(name): os.readlink(f"/proc/{pid}/fd/{name}") for name in names}
    except PermissionError:
        pytest.skip("only root sees the descriptors of a process that is not dumpable")


def inet_sockets():
    """Inodes of all sockets of the network."""
    inodes = set()
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        try:
            with open(f"/proc/net/{table}", encoding="ascii") as text:
                inodes |= {line.split()[9] for line in text.readlines()[1:]}
        except FileNotFoundError:
            pass
    return inodes


# ---- what each may do


@needs_sandbox
def test_every_process_runs_in_its_sandbox(signer):
    everyone = signer.descendants()
    assert len(signer.pids("keeper")) == 1 and len(signer.pids("front")) == 2
    for pid, name in everyone.items():
        status = status_of(pid)
        assert status["NoNewPrivs"] == "1", name
        assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0, name
        if os.geteuid() == 0:
            assert int(status["CapBnd"], 16) == 0, name
        assert status["Seccomp"] == "2", name
        assert pid == signer.process.pid or harness.is_confined(pid), name


@needs_sandbox
def test_no_process_can_be_dumped_or_debugged(signer):
    for pid, name in signer.descendants().items():
        with open(f"/proc/{pid}/limits", encoding="ascii") as text:
            assert re.search(r"Max core file size\s+0\s+0", text.read()), name
        # What is not dumpable belongs to root, whoever runs it.
        assert os.stat(f"/proc/{pid}/environ").st_uid == 0, name
        if os.geteuid() != 0:
            with pytest.raises(PermissionError):
                with open(f"/proc/{pid}/mem", "rb"):
                    pass


@needs_sandbox
def test_keys_are_in_locked_memory(signer):
    assert int(status_of(signer.pids("keeper")[0])["VmLck"].split()[0]) > 0


def test_keeper_owns_no_inet_socket(signer):
    inet = inet_sockets()
    owned = {pid: {re.sub(r"\D", "", what) for what in descriptors(pid).values() if what.startswith("socket:")}
             for pid in signer.descendants()}
    assert owned[signer.pids("front")[0]] & inet  # the listeners: the comparison sees what it should
    assert not owned[signer.pids("keeper")[0]] & inet


def test_no_descriptor_leaks(signer):
    """What is open in each process follows from what it is for; files of the keys and the store least of all."""
    front = signer.pids("front")[0]
    for what in descriptors(front).values():
        assert what == "/dev/null" or what == signer.log_path or re.match(r"(socket:|anon_inode:|pipe:)", what), what
    for what in descriptors(signer.pids("keeper")[0]).values():
        assert what in ("/dev/null", signer.log_path) or what.startswith(signer.data_dir) or \
            re.match(r"(socket:|anon_inode:|pipe:)", what), what
    wait_for("the loader's end", lambda: not signer.pids("loader"))
    time.sleep(0.1)
    supervisor = descriptors(signer.process.pid)
    for _ in range(3):
        victim = signer.pids("front")[0]
        os.kill(victim, signal.SIGKILL)
        wait_for("another front", lambda v=victim: len(signer.pids("front")) == 2 and v not in signer.pids("front"))
        time.sleep(0.2)
    assert len(descriptors(signer.process.pid)) == len(supervisor)


def test_children_get_no_environment(signers):
    signer = signers().start(environment={"TEST_SECRET": "hunter2"})
    for name in ("keeper", "front"):
        try:
            with open(f"/proc/{signer.pids(name)[0]}/environ", "rb") as text:
                assert b"hunter2" not in text.read()
        except PermissionError:
            pytest.skip("only root sees the environment of a process that is not dumpable")


def test_files_are_private(signer):
    signer.attest(signer.pubkeys[0], 1, 2)
    assert os.stat(signer.data_dir).st_mode & 0o777 == 0o700
    for folder, _, names in os.walk(signer.data_dir):
        for name in names:
            path = os.path.join(folder, name)
            assert os.lstat(path).st_mode & 0o077 == 0, path


def protections(signer, process):
    return {p["name"]: p["state"] for p in signer.status()["protections"][process]}


def test_status_tells_the_protections_as_they_are(signer):
    for process in ("keeper", "front"):
        told = protections(signer, process)
        is_so = status_of(signer.pids(process)[0])
        assert (told["seccomp"] == "on") == harness.is_confined(signer.pids(process)[0])
        assert (told["no_new_privs"] == "on") == (is_so["NoNewPrivs"] == "1")
        assert (told["capabilities"] == "on") == (int(is_so["CapEff"], 16) == 0)
        if process == "keeper" and not harness.SANITIZED:  # sanitizers only pretend to lock memory
            assert (told["mlock"] == "on") == (int(is_so["VmLck"].split()[0]) > 0)
        if not harness.SANITIZED:
            assert told["seccomp"] == told["no_dump"] == told.get("mlock", "on") == "on"
            assert told["landlock"] in ("on", "unavailable")


def test_status_tells_what_is_switched_off(signers):
    signer = signers(config="hardening: {seccomp: off, landlock: off, mlock: off, no_dump: off}\n").start()
    for process in ("keeper", "front"):
        told = protections(signer, process)
        assert told["seccomp"] == told["landlock"] == told["no_dump"] == "off"
        assert told.get("mlock", "off") == "off"
        assert status_of(signer.pids(process)[0])["Seccomp"] == "0"
    assert 'holdfast_protection_enabled{name="mlock",process="keeper"} 0' in signer.metrics()


# ---- deaths


def test_a_dead_front_is_replaced_while_others_answer(signer):
    key = signer.pubkeys[0]
    failures, answers, done = [], [], threading.Event()

    def keep_signing():
        target = 10
        while not done.is_set():
            target += 1
            try:
                answers.append(signer.attest(key, target - 1, target)[0])
            except OSError as failure:  # the connection was the dead front's
                failures.append(failure)

    thread = threading.Thread(target=keep_signing)
    thread.start()
    try:
        for _ in range(3):
            victim = signer.pids("front")[-1]
            before = len(answers)
            os.kill(victim, signal.SIGKILL)
            wait_for("another front", lambda v=victim: len(signer.pids("front")) == 2 and
                     v not in signer.pids("front"))
            wait_for("answers", lambda b=before: len(answers) > b + 5)
    finally:
        done.set()
        thread.join()
    assert set(answers) == {200}
    assert len(failures) <= 3, failures
    signer.wait_logged("front_died", "killed by signal 9")


def test_a_front_that_hangs_is_replaced_while_the_other_serves(signer):
    key = signer.pubkeys[0]
    hung, other = signer.pids("front")
    os.kill(hung, signal.SIGSTOP)
    until, target = time.monotonic() + 60, 10
    while hung in signer.pids("front"):
        assert time.monotonic() < until, signer.log()
        target += 1
        assert signer.attest(key, target - 1, target)[0] == 200
        time.sleep(0.05)
    wait_for("another front", lambda: len(signer.pids("front")) == 2)
    assert target > 20 and other in signer.pids("front")
    signer.wait_logged("child_hung", f"the front (pid {hung}) gave no sign of life")


def test_a_dead_keeper_ends_the_service(signer):
    os.kill(signer.pids("keeper")[0], signal.SIGKILL)
    assert signer.wait_exit(10) == 1
    assert signer.has_logged("keeper_died", "killed by signal 9")


def test_a_keeper_that_hangs_ends_the_service(signer):
    """Nobody else knows the truth, and a signer that answers 503 for ever helps nobody: who started it starts it again."""
    keeper = signer.pids("keeper")[0]
    os.kill(keeper, signal.SIGSTOP)
    assert signer.wait_exit(60) == 1
    assert signer.has_logged("child_hung", f"the keeper (pid {keeper}) gave no sign of life")
    assert signer.has_logged("keeper_died", "killed by signal 9")
    signer.start()
    assert signer.attest(signer.pubkeys[0], 1, 2)[0] == 200


def test_supervisor_killed_leaves_no_orphan(signer):
    assert signer.kill() == -signal.SIGKILL  # and checks that nothing is left
    signer.start()
    assert signer.attest(signer.pubkeys[0], 1, 2)[0] == 200


def test_what_was_signed_is_remembered_after_a_crash(signer):
    key = signer.pubkeys[0]
    assert signer.attest(key, 1, 2)[0] == 200
    signer.kill()
    signer.start()
    assert signer.attest(key, 1, 2)[0] == 200
    status, answer = signer.attest(key, 1, 2, mark=1)
    assert (status, answer["code"]) == (412, "DOUBLE_VOTE")


# ---- start and stop


def test_start_signs_an_attestation_and_refuses_a_conflicting_one(signer):
    status, answer = signer.attest(signer.pubkeys[0], 1, 2)
    signature = answer["signature"] if isinstance(answer, dict) else answer
    assert status == 200 and re.fullmatch("0x[0-9a-f]{192}", signature)
    status, answer = signer.attest(signer.pubkeys[0], 1, 2, mark=1)
    assert (status, answer["code"]) == (412, "DOUBLE_VOTE")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(signer, how):
    """Requests under way are answered, idle connections closed, and the exit status is 0."""
    idle = signer.connect()
    idle.request("GET", "/upcheck")
    assert idle.getresponse().read() == b"OK"
    slow = socket.create_connection(("127.0.0.1", signer.port), 10)
    body = json.dumps(harness.attestation(1, 2)).encode()
    head = (f"POST /api/v1/eth2/sign/{signer.pubkeys[0]} HTTP/1.1\r\nHost: a\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode()
    slow.sendall(head + body[:100])
    time.sleep(0.2)
    started = time.monotonic()
    signer.descendants()
    signer.process.send_signal(how)
    signer.wait_logged("stopping")
    time.sleep(0.2)
    slow.sendall(body[100:])
    answer = slow.recv(65536)
    assert b" 200 " in answer.split(b"\r\n")[0] or b" 503 " in answer.split(b"\r\n")[0], answer
    slow.close()
    idle.close()
    assert signer.wait_exit() == 0
    assert time.monotonic() - started < 9
    assert signer.has_logged("stopped", "exit status 0")


def test_stop_is_bounded_whatever_a_client_does(signers):
    signer = signers(config="").start()
    slow = socket.create_connection(("127.0.0.1", signer.port), 10)
    slow.sendall(b"POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
    started = time.monotonic()
    signer.stop()
    assert time.monotonic() - started < 12
    slow.close()


def test_a_second_serve_on_the_same_data_is_refused(signer):
    second = harness.run("serve", "-c", signer.config_path, "--listen", "127.0.0.1:0", "--metrics-listen",
                         "127.0.0.1:0")
    assert second.returncode == 1
    assert "start_failed" in second.stderr and "in use by another holdfast process" in second.stderr
    assert signer.attest(signer.pubkeys[0], 1, 2)[0] == 200


def test_a_taken_port_is_told(signer, signers):
    second = signers()
    run = harness.run("serve", "-c", second.config_path, "--listen", f"127.0.0.1:{signer.port}")
    assert run.returncode == 1
    assert "start_failed" in run.stderr and "Address already in use" in run.stderr


def test_a_data_dir_open_to_others_is_refused(signers):
    signer = signers()
    os.mkdir(signer.data_dir, 0o755)
    signer.start(wait=False)
    assert signer.wait_exit(10) == 1
    assert signer.has_logged("start_failed", "chmod 700")


def test_the_path_of_the_data_may_be_long(signers):
    """A socket's path is 107 bytes at most; a folder's need not be."""
    signer = signers()
    deep = os.path.join(signer.folder, "d" * 120)
    os.mkdir(deep, 0o700)
    signer.data_dir = os.path.join(deep, "data")
    signer.start(arguments=["--data-dir", signer.data_dir])
    assert os.stat(os.path.join(signer.data_dir, "admin.sock")).st_mode & 0o777 == 0o600
    signer.stop()
    assert not os.path.exists(os.path.join(signer.data_dir, "admin.sock"))


def test_json_log_lines_are_json(signers):
    signer = signers(arguments=["--log-format", "json"])
    signer.start(wait=False)
    wait_for("ready", lambda: '"event":"ready"' in signer.log(), harness.PATIENCE)
    signer.stop()
    for line in signer.log().splitlines():
        assert {"time", "level", "process", "event", "message"} == set(json.loads(line))


def test_sighup_loads_new_keys(signer):
    assert len(signer.get("/api/v1/eth2/publicKeys")[1]) == 4
    harness.make_keystores(signer.keystores, 2, first=100)
    signer.process.send_signal(signal.SIGHUP)
    wait_for("six keys", lambda: len(signer.get("/api/v1/eth2/publicKeys")[1]) == 6)
    signer.wait_logged("reload")


def test_readiness_is_told_to_the_service_manager(signers, tmp_path):
    address = str(tmp_path / "notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(address)
    manager.settimeout(harness.PATIENCE)
    signer = signers().start(environment={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"})
    told = [manager.recv(4096)]
    while b"WATCHDOG=1" not in told or not any(word.startswith(b"READY=1") for word in told):
        told.append(manager.recv(4096))
    signer.stop()
    while told[-1] != b"STOPPING=1":
        told.append(manager.recv(4096))
        assert told[-1] in (b"WATCHDOG=1", b"STOPPING=1"), told
    manager.close()


def test_the_journal_is_told_how_bad_it_is(signers):
    """Where standard error is the journal, each line begins with its level, of every process; elsewhere none does."""
    signer = signers(keys=1)
    with open(signer.log_path, "ab") as log:
        stream = os.fstat(log.fileno())
    signer.start(environment={"JOURNAL_STREAM": f"{stream.st_dev}:{stream.st_ino}"})
    signer.process.send_signal(signal.SIGHUP)
    signer.wait_logged("reload")
    assert {re.match(r"<6>\S+ info +(\w+) ", line)[1] for line in signer.log().splitlines()} >= {"supervisor", "keeper", "loader"}
    signer.stop()
    signer.start(environment={"JOURNAL_STREAM": f"{stream.st_dev}:1"})
    assert not re.search(r"^<", signer.log(), re.M), signer.log()


# ---- make run


def test_make_run(tmp_path):
    """Signs one attestation, shows a conflicting one refused, goes on serving; the second start is quick."""
    port = harness.free_port()
    environment = {**os.environ, "RUN_DIR": str(tmp_path / "dev"), "RUN_LISTEN": f"127.0.0.1:{port}",
                   "RUN_METRICS_LISTEN": f"127.0.0.1:{harness.free_port()}"}
    if harness.SANITIZED:
        environment.update({f"HOLDFAST_HARDENING_{name}": "off"
                            for name in ("SECCOMP", "LANDLOCK", "MLOCK", "NO_DUMP")})
    for limit in (harness.PATIENCE, harness.PATIENCE if harness.SANITIZED else 2.0):
        started = time.monotonic()
        process = subprocess.Popen([os.path.join(harness.ROOT, "tools", "run.sh"), harness.BUILD], text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=environment, start_new_session=True)
        output = []
        try:
            for line in process.stdout:
                output.append(line)
                if "signing at" in line:
                    break
            assert time.monotonic() - started < limit, "".join(output)
            text = "".join(output)
            assert re.search(r"^200 .*0x[0-9a-f]{192}", text, re.M), text
            assert re.search(r"^412 .*DOUBLE_VOTE", text, re.M), text
            assert process.poll() is None
        finally:
            process.send_signal(signal.SIGTERM)
            rest, _ = process.communicate(timeout=harness.PATIENCE)
        assert process.returncode == 0, "".join(output) + rest
