"""The sandboxes as they are: a running process is made to do what it must not, and a machine that lacks a protection."""

import ctypes
import os
import re
import signal
import subprocess
import sys

import harness
import pytest
from conftest import wait_for

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to take a process over, to take a right away"),
    pytest.mark.skipif(harness.SANITIZED, reason="a sanitizer build runs without a sandbox"),
]

INJECT = os.path.join(harness.BUILD, "tests", "fault", "inject_syscall")
# Numbers of x86-64, the only machine inject_syscall knows.
SYS = {"mincore": 27, "mlock": 149, "prctl": 157, "seccomp": 317, "landlock_create_ruleset": 444, "socket": 41, "fork": 57, "execve": 59,
       "kill": 62, "ptrace": 101, "mount": 165, "setns": 308, "openat": 257, "bpf": 321, "process_vm_readv": 310, "memfd_create": 319,
       "io_uring_setup": 425, "userfaultfd": 323, "mprotect": 10, "connect": 42}
EACCES, EPERM, ENOSYS, ENOMEM = 13, 1, 38, 12
AT_FDCWD = -100

# (system call, arguments): what code that took a process over would try first.
DEADLY = [("execve", "s:/bin/sh", 0, 0), ("ptrace", 16, 1, 0, 0), ("process_vm_readv", 1, 0, 0, 0, 0, 0), ("mount", 0, 0, 0, 0, 0),
          ("bpf", 0, 0, 0), ("io_uring_setup", 1, 0), ("userfaultfd", 0), ("setns", 3, 0), ("kill", 1, 0), ("fork",)]


def inject(pid, name, *arguments):
    """("killed", signal) or ("returned", value)"""
    done = subprocess.run([INJECT, str(pid), str(SYS[name]), *map(str, arguments)], capture_output=True, text=True,
                          timeout=harness.PATIENCE, check=False)
    if done.returncode == 77:
        pytest.skip(f"no process can be taken over here: {done.stderr.strip()}")
    assert done.returncode == 0, (name, done.stdout, done.stderr)
    what, value = done.stdout.split()
    return what, int(value)


def landlock_is_on(signer, process):
    return {p["name"]: p["state"] for p in signer.status()["protections"][process]}["landlock"] == "on"


# ---- what a taken process can do


def test_the_tool_reaches_a_process():
    """A process without sandbox does as it is told, and goes on."""
    sleeper = subprocess.Popen([sys.executable, "-c", "input(); print('went on')"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)
    try:
        wait_for("it waits", lambda: open(f"/proc/{sleeper.pid}/syscall", encoding="ascii").read().startswith("0 "))
        what, descriptor = inject(sleeper.pid, "openat", AT_FDCWD, "s:/etc/passwd", 0, 0)
        assert what == "returned" and os.readlink(f"/proc/{sleeper.pid}/fd/{descriptor}") == "/etc/passwd"
    finally:
        out, _ = sleeper.communicate("\n", timeout=20)
    assert "went on" in out


def test_a_front_dies_of_it(signer):
    for act in DEADLY + [("socket", 2, 1, 0), ("socket", 1, 1, 0)]:
        victim = signer.pids("front")[0]
        assert inject(victim, *act) == ("killed", signal.SIGSYS), act
        wait_for("another front", lambda v=victim: len(signer.pids("front")) == 2 and v not in signer.pids("front"), harness.PATIENCE)
    signer.wait_logged("front_died", "sandbox")
    assert signer.attest(signer.pubkeys[0], 1, 2)[0] == 200


def test_a_front_reaches_no_file_and_opens_no_socket(signer):
    front = signer.pids("front")[0]
    for path in ("/etc/passwd", os.path.join(signer.data_dir, "slashing.sqlite"), signer.config_path, "/dev/null"):
        assert inject(front, "openat", AT_FDCWD, f"s:{path}", 0, 0) == ("returned", -EACCES), path
    assert signer.get("/upcheck")[0] == 200  # nobody noticed


@pytest.mark.parametrize("act", DEADLY[:3] + DEADLY[-2:] + [("socket", 2, 1, 0), ("socket", 1, 1, 0), ("memfd_create", "s:x", 0)],
                         ids=lambda act: "-".join(map(str, act[:2])).replace("s:/bin/sh", "sh"))
def test_a_keeper_dies_of_it_and_the_service_with_it(signers, act):
    signer = signers(keys=1)
    signer.start(wait=False)
    signer.wait_ready()
    wait_for("no loader", lambda: not signer.pids("loader"), harness.PATIENCE)
    assert inject(signer.pids("keeper")[0], *act) == ("killed", signal.SIGSYS)
    assert signer.wait_exit() == 1
    assert signer.has_logged("keeper_died", "forbidden system call")


def test_a_keeper_reaches_the_files_of_its_store_alone(signer):
    keeper = signer.pids("keeper")[0]
    if not landlock_is_on(signer, "keeper"):
        pytest.skip("the kernel has no Landlock")
    for path in ("/etc/passwd", signer.config_path, os.path.join(signer.keystores, "keystore-0.json"), f"{signer.keystores}.password",
                 "/proc/self/mem"):
        assert os.path.exists(path)
        assert inject(keeper, "openat", AT_FDCWD, f"s:{path}", 0, 0) == ("returned", -EACCES), path
    what, value = inject(keeper, "openat", AT_FDCWD, f"s:{signer.data_dir}/slashing.sqlite", 0, 0)
    assert what == "returned" and value >= 0
    assert signer.attest(signer.pubkeys[0], 1, 2)[0] == 200


def test_the_supervisor_debugs_nobody_and_enters_nothing(signers):
    """It starts programs, so that is allowed; what none of the processes ever does is not."""
    for act in (("ptrace", 16, 1, 0, 0), ("process_vm_readv", 1, 0, 0, 0, 0, 0), ("mount", 0, 0, 0, 0, 0), ("bpf", 0, 0, 0)):
        signer = signers(keys=1)
        signer.start(wait=False)
        signer.wait_ready()
        assert inject(signer.process.pid, *act) == ("killed", signal.SIGSYS), act
        assert signer.wait_exit() == -signal.SIGSYS  # and nobody is left


# ---- a machine that lacks something


SCMP_ACT_ALLOW, SCMP_ACT_ERRNO = 0x7FFF0000, 0x00050000


class Compare(ctypes.Structure):
    """struct scmp_arg_cmp: argument, comparison (4: equal), value."""

    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def main_without(specification, program, arguments):
    """In a process of its own: answers system calls with errors (NUMBER:ERRNO[:FIRST ARGUMENT],...), then becomes the program."""
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(SCMP_ACT_ALLOW))
    for one in specification.split(","):
        number, error, *first = map(int, one.split(":"))
        compare = (Compare * 1)(Compare(0, 4, first[0] if first else 0, 0))
        assert seccomp.seccomp_rule_add_array(context, SCMP_ACT_ERRNO | error, number, len(first), compare) == 0
    assert seccomp.seccomp_load(context) == 0
    os.execv(program, [program, *arguments])


@pytest.fixture(name="lacking")
def machine_that_lacks(signers, tmp_path):
    """lacking("landlock: require", {"landlock_create_ruleset": ENOSYS}): a signer whose machine answers so; not started yet."""
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp.so.2 is not installed")

    def make(hardening, answers):
        parts = [f"{SYS[name.split(':')[0]]}:{error}{name[name.index(':'):] if ':' in name else ''}" for name, error in answers.items()]
        program = tmp_path / "lacking"
        program.write_text(f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r})\n"
                           f"import test_sandbox\ntest_sandbox.main_without({','.join(parts)!r}, {harness.HOLDFAST!r}, sys.argv[1:])\n",
                           encoding="utf-8")
        program.chmod(0o755)
        return signers(keys=1, program=str(program), config=f"hardening: {{{hardening}}}\n")

    return make


PR_SET_DUMPABLE = 4
LACKING = [
    ("landlock", {"landlock_create_ruleset": ENOSYS}, "5.13 and lsm=landlock"),
    ("seccomp", {"seccomp": ENOSYS}, "4.14"),
    ("mlock", {"mlock": ENOMEM}, "LimitMEMLOCK="),
    ("mlock", {"mlock": 0}, "mlock says yes and does not lock"),
    ("mlock", {"mincore": EPERM}, "has to have it in SystemCallFilter="),
    ("no_dump", {f"prctl:{PR_SET_DUMPABLE}": EPERM}, "no_dump is required"),
]
IDS = ["no landlock", "no seccomp", "too little locked memory", "a pretended mlock", "no mincore", "no prctl"]


@pytest.mark.parametrize("name, answers, remedy", LACKING, ids=IDS)
def test_a_required_protection_that_cannot_be_had_stops_the_start(lacking, name, answers, remedy):
    signer = lacking(f"{name}: require", answers)
    signer.start(wait=False)
    assert signer.wait_exit() == 1
    assert remedy in signer.log(), signer.log()
    assert not signer.has_logged("ready")


@pytest.mark.parametrize("name, answers, remedy", LACKING, ids=IDS)
def test_a_preferred_one_is_reported_as_missing(lacking, name, answers, remedy):
    assert remedy
    signer = lacking(f"{name}: prefer", answers).start()
    told = {p["name"]: p["state"] for p in signer.status()["protections"]["keeper"]}
    assert told[name] == "unavailable", told
    assert f'holdfast_protection_enabled{{process="keeper",name="{name}"}} 0' in signer.metrics() or \
        re.search(rf'holdfast_protection_enabled{{[^}}]*name="{name}"[^}}]*}} 0', signer.metrics())
    assert signer.attest(signer.pubkeys[0], 1, 2)[0] == 200


def limited(signers, tmp_path, soft, hard):
    """A signer without any capability and with a limit of locked memory, as in a container or under a unit."""
    program = tmp_path / "limited"
    program.write_text(f"#!/bin/sh\nexec setpriv --bounding-set=-all --inh-caps=-all prlimit --memlock={soft}:{hard} "
                       f"{harness.HOLDFAST} \"$@\"\n", encoding="ascii")
    program.chmod(0o755)
    return signers(keys=1, program=str(program))


def test_too_low_a_limit_of_locked_memory_stops_the_start(signers, tmp_path):
    signer = limited(signers, tmp_path, 65536, 65536)
    signer.start(wait=False)
    assert signer.wait_exit() == 1
    assert re.search(r"cannot lock \d+ KiB for keys, the limit is 64 KiB: set LimitMEMLOCK=", signer.log()), signer.log()


def test_the_soft_limit_is_raised_to_the_hard_one(signers, tmp_path):
    signer = limited(signers, tmp_path, 65536, 8 << 20).start()
    with open(f"/proc/{signer.pids('keeper')[0]}/status", encoding="ascii") as status:
        assert int(re.search(r"^VmLck:\s+(\d+) kB", status.read(), re.M).group(1)) >= 628
    assert signer.attest(signer.pubkeys[0], 1, 2)[0] == 200
