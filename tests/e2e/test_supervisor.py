"""The supervisor among stand-ins: programs that are late, deaf, broken or dead, as real ones seldom are."""

import ctypes
import os
import re
import shutil
import signal
import socket
import stat
import sys
import time

import harness
import pytest
from conftest import wait_for

STAND_IN = r"""#!@PYTHON@
import os, select, signal, socket, struct, sys, time
HEAD = "<IHHQ"
NEW_CHANNEL, SHUTDOWN, READY, LOAD_WANTED, IMPORT_WANTED, RESULT = 4, 5, 6, 7, 8, @RESULT@
control = socket.socket(fileno=3)
here = @HERE@

def send(kind, request_id=0):
    control.send(struct.pack(HEAD, 0x48464951, @VERSION@, kind, request_id))

def say(text):
    with open(os.path.join(here, "said"), "a") as out:
        out.write(f"{os.getpid()} {text}\n")

def asked_for(name):
    return os.path.exists(os.path.join(here, name))

assert control.recv(65536)
"""

KEEPER = STAND_IN + r"""
if asked_for("keeper-fails"):
    sys.exit(1)
send(READY)
kept = []
while True:
    if not select.select([control], [], [], 1)[0]:
        if not asked_for("keeper-is-silent"):
            send(READY)
        continue
    frame, fds, _, _ = socket.recv_fds(control, 65536, 4)
    if not frame:
        sys.exit(0)
    kind = struct.unpack_from(HEAD, frame)[2]
    if kind == SHUTDOWN:
        if asked_for("keeper-is-deaf"):
            time.sleep(60)
        sys.exit(0)
    channel = struct.unpack_from("<I", frame, 16)[0]
    say(f"channel {channel}")
    kept += fds
    if channel == 2:  # an admin: its first words are orders to us
        peer = socket.socket(fileno=fds[0])
        peer.setblocking(True)
        order = peer.recv(65536).decode(errors="replace")
        if order == "load":
            send(LOAD_WANTED)
        elif order == "nonsense":
            control.send(b"nonsense")
        elif order == "import":
            memory = os.memfd_create("import")
            os.write(memory, b"a keystore")
            socket.send_fds(control, [struct.pack(HEAD, 0x48464951, @VERSION@, IMPORT_WANTED, 77)], [memory])
"""

FRONT = STAND_IN + r"""
say("front")
if asked_for("front-fails"):
    sys.exit(3)
while True:
    if not asked_for("front-is-silent"):
        send(READY)
    if not select.select([control], [], [], 0.5)[0]:
        continue
    control.recv(65536)
    if asked_for("front-is-deaf"):
        time.sleep(60)
    say("front ends")
    sys.exit(0)
"""

LOADER = STAND_IN + r"""
if os.path.exists("/proc/self/fd/5"):
    os.lseek(5, 0, 0)
    say("imports " + os.read(5, 100).decode())
else:
    say("loads")
    time.sleep(0.3)
    say("loaded")
"""


@pytest.fixture
def programs(tmp_path_factory, signers):
    """programs(...) is a signer whose supervisor is real and whose other programs are stand-ins."""
    folder = tmp_path_factory.mktemp("programs")
    shutil.copy(harness.HOLDFAST, folder / "holdfast")
    header = ""
    for name in ("ipc_types.h", "ipc.h"):
        with open(os.path.join(harness.ROOT, "src", "ipc", name), encoding="utf-8") as text:
            header += text.read()
    names = re.findall(r"^\s+HF_MSG_(\w+)", header, re.M)
    version = re.search(r"#define HF_IPC_VERSION (\d+)", header).group(1)
    for name, text in (("keeper", KEEPER), ("front", FRONT), ("loader", LOADER)):
        path = folder / f"holdfast-{name}"
        path.write_text(text.replace("@PYTHON@", sys.executable).replace("@HERE@", repr(str(folder)))
                        .replace("@RESULT@", str(names.index("RESULT") + 1)).replace("@VERSION@", version))
        path.chmod(0o700)

    def make(*flags, **options):
        for flag in flags:
            (folder / flag).touch()
        signer = signers(keys=0, program=str(folder / "holdfast"), **options)
        signer.programs = folder
        return signer
    return make


def said(signer, text):
    path = signer.programs / "said"
    return [line for line in path.read_text().splitlines() if text in line] if path.exists() else []


def order(signer, word):
    """Tells the stand-in of the keeper what to do, through the admin socket."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.connect(os.path.join(signer.data_dir, "admin.sock"))
    peer.send(word.encode())
    return peer


def start(signer, **environment):
    signer.start(wait=False, environment=environment)
    signer.wait_ready()
    return signer


def test_a_keeper_that_cannot_start_ends_the_start(programs):
    signer = programs("keeper-fails").start(wait=False)
    assert signer.wait_exit() == 1
    assert signer.has_logged("start_failed", "the keeper ended with status 1")
    assert not signer.has_logged("ready")


def test_a_front_that_cannot_start_ends_the_start(programs):
    signer = programs("front-fails").start(wait=False)
    assert signer.wait_exit() == 1
    assert signer.has_logged("start_failed", "a front ended with status 3")
    assert not signer.has_logged("ready")


def test_a_front_that_dies_again_and_again_is_started_more_and_more_slowly(programs):
    signer = start(programs(config="log: {level: info}\n"))
    (signer.programs / "front-fails").touch()
    os.kill(int(said(signer, "front")[0].split()[0]), signal.SIGKILL)
    time.sleep(2)
    assert len(said(signer, "front")) - 2 <= 8, said(signer, "front")
    wait_for("several starts", lambda: len(said(signer, "front")) - 2 >= 4, 20)
    starts = len(said(signer, "front"))
    os.unlink(signer.programs / "front-fails")
    wait_for("it lives", lambda: len(said(signer, "front")) > starts, 15)


def test_a_silent_front_is_replaced(programs):
    signer = start(programs())
    (signer.programs / "front-is-silent").touch()
    signer.wait_logged("child_hung", "no sign of life", 12)
    os.unlink(signer.programs / "front-is-silent")
    signer.wait_logged("front_died", "killed by signal 9")
    wait_for("others", lambda: len(signer.pids("front")) == 2)


def test_a_keeper_without_signs_of_life_ends_the_service(programs):
    signer = start(programs("keeper-is-silent"))
    assert signer.wait_exit(30) == 1
    assert signer.has_logged("child_hung", "no sign of life for 10 s")
    assert signer.has_logged("keeper_died", "killed by signal 9")


def test_silence_while_the_supervisor_slept_is_forgiven(programs):
    """As when a whole machine stands still, and all of it goes on at once."""
    signer = start(programs())
    everybody = list(signer.descendants())
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(6)
    os.kill(signer.process.pid, signal.SIGCONT)
    time.sleep(0.5)
    for pid in everybody:
        os.kill(pid, signal.SIGCONT)
    time.sleep(1.5)
    assert not signer.has_logged("child_hung") and not signer.has_logged("front_died")


def test_deaf_children_are_killed_in_time(programs):
    signer = start(programs("keeper-is-deaf", "front-is-deaf"))
    started = time.monotonic()
    signer.process.terminate()
    time.sleep(0.3)
    signer.process.terminate()  # who asks twice does not wait for the fronts
    assert signer.wait_exit() == 1
    assert 14 < time.monotonic() - started < 20
    assert signer.has_logged("keeper_died", "while stopping")
    assert signer.has_logged("child_overdue", "keeper")


def test_one_loader_at_a_time_and_no_wish_forgotten(programs):
    signer = start(programs())
    for _ in range(5):
        order(signer, "load").close()
        time.sleep(0.02)
    wait_for("two loads", lambda: len(said(signer, "loaded")) == 2)
    time.sleep(0.5)
    assert [line.split()[1] for line in said(signer, "load")] == ["loads", "loaded"] * 2


def test_an_import_gets_its_keystore(programs):
    signer = start(programs())
    order(signer, "import").close()
    wait_for("an import", lambda: said(signer, "imports a keystore"))
    wait_for("its channel", lambda: said(signer, "channel 4"))


def test_frames_that_are_none_are_refused(programs):
    signer = start(programs())
    order(signer, "nonsense").close()
    signer.wait_logged("frame_refused", "8 bytes from the keeper")
    assert signer.process.poll() is None


def tls_environment(folder, interval):
    for name in ("cert.pem", "key.pem"):
        harness.write_private(str(folder / name), "anything")
    return {"HOLDFAST_SERVER_TLS_CERT": str(folder / "cert.pem"), "HOLDFAST_SERVER_TLS_KEY": str(folder / "key.pem"),
            "HOLDFAST_SERVER_TLS_RELOAD_INTERVAL_SECONDS": str(interval)}


def test_new_tls_files_bring_new_fronts(programs, tmp_path):
    signer = start(programs(), **tls_environment(tmp_path, 1))
    before = {line.split()[0] for line in said(signer, "front")}
    assert len(before) == 2
    harness.write_private(str(tmp_path / "cert.pem"), "something else")
    wait_for("the old ones end", lambda: {line.split()[0] for line in said(signer, "front ends")} == before)
    assert len({line.split()[0] for line in said(signer, "front")}) == 4
    signer.wait_logged("tls_changed")
    assert not signer.has_logged("front_died")


def test_bad_new_tls_files_leave_the_old_fronts(programs, tmp_path):
    signer = start(programs(), **tls_environment(tmp_path, 60))
    (signer.programs / "front-fails").touch()
    harness.write_private(str(tmp_path / "key.pem"), "not what it should be")
    signer.process.send_signal(signal.SIGHUP)  # looks at once
    signer.wait_logged("tls_reload_failed", "ended with status 3")
    time.sleep(0.3)
    assert not said(signer, "front ends")
    os.unlink(signer.programs / "front-fails")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_turned_away_at_the_admin_socket(programs):
    signer = start(programs())
    path = os.path.join(signer.data_dir, "admin.sock")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    os.chmod(path, 0o666)  # even where the modes permit it
    folder = os.open(signer.data_dir, os.O_PATH)
    os.chmod(signer.data_dir, 0o711)
    child = os.fork()
    if child == 0:
        status = 9
        try:
            os.fchdir(folder)
            libc = ctypes.CDLL(None)
            libc.setgroups(0, None)
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            peer.connect("admin.sock")
            peer.settimeout(5)
            status = len(peer.recv(10))  # end of file
        finally:
            os._exit(status)
    os.close(folder)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.chmod(signer.data_dir, 0o700)
    signer.wait_logged("admin_denied")
    assert not said(signer, "channel 2")
