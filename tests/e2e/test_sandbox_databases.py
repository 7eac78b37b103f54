"""The processes that speak to databases, taken over while they run: what they must not do kills them or is refused, another is
started, and signing goes on."""

import os
import signal

import harness
import postgres
import pytest
from conftest import wait_for
from test_duty import DUTY, duty, make_keys
from test_sandbox import AT_FDCWD, DEADLY, EACCES, SYS, inject, landlock_is_on

pytestmark = [
    pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing())),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to take a process over"),
    pytest.mark.skipif(harness.SANITIZED, reason="a sanitizer build runs without a sandbox"),
]
SYS.update({"listen": 50, "unlink": 87, "rename": 82, "mkdir": 83})
AF_PACKET, AF_INET, SOCK_STREAM, O_WRONLY, O_CREAT = 17, 2, 1, 1, 0o100


@pytest.fixture(name="server", scope="module")
def running_server():
    with postgres.Postgres(fsync=False) as server:
        yield server


@pytest.fixture(name="node")
def node_with_both(signers, server, tmp_path):
    """One that records and locks duties in a database."""
    make_keys(tmp_path / "keys")
    harness.write_private(tmp_path / "url", server.create_database(f"holdfast_{os.path.basename(tmp_path)}") + "\n")
    node = signers(keys=0, config=f"signing_keys:\n  - {{backend: web3signer, config_dir: {tmp_path}/keys}}\n"
                                  f"slashing_protection: {{backend: postgres, url_file: {tmp_path}/url}}\n"
                                  f"duty_protection: {{node_id: node, url_file: {tmp_path}/url}}\n").start()
    node.url_file, node.keys = str(tmp_path / "url"), str(tmp_path / "keys")
    wait_for("duty locks", lambda: node.status()["duties"].get("healthy"), harness.PATIENCE)
    return node


def signs(node, number):
    pubkey, = node.get("/api/v1/eth2/publicKeys")[1]
    wait_for("a vote", lambda: node.attest(pubkey, number, number + 1)[0] == 200, harness.PATIENCE)
    wait_for("a duty", lambda: node.request("POST", DUTY, duty(number))[0] == 200, harness.PATIENCE)


def confined(node, process):
    """Its id, once it is the one that lives and has its filter."""
    def look():
        try:
            only, = node.pids(process)
            return only if harness.is_confined(only) else None
        except (OSError, ValueError):
            return None
    return wait_for(f"{process} in its sandbox", look, harness.PATIENCE)


@pytest.mark.parametrize("process", ["store", "duty"])
def test_it_dies_of_what_it_must_not_do(node, process):
    # The rest is tried in tests/unit/harden/test_harden_store.c: here each death waits for another start.
    for act in (DEADLY[0], DEADLY[2], DEADLY[-2], DEADLY[-1], ("socket", AF_PACKET, SOCK_STREAM, 0)):
        victim = confined(node, process)
        assert inject(victim, *act) == ("killed", signal.SIGSYS), act
        wait_for("another", lambda v=victim: node.pids(process) not in ([], [v]), harness.PATIENCE)
    node.wait_logged(f"{process}_died", "sandbox")
    signs(node, 1)


@pytest.mark.parametrize("process", ["store", "duty"])
def test_it_writes_no_file_and_listens_nowhere(node, process):
    victim = confined(node, process)
    for name, arguments in (("unlink", (f"s:{node.url_file}",)), ("rename", (f"s:{node.url_file}", f"s:{node.url_file}.new")),
                            ("mkdir", (f"s:{node.keys}/new", 0o700))):
        assert inject(victim, name, *arguments) == ("returned", -EACCES), name
    what, own = inject(victim, "socket", AF_INET, SOCK_STREAM, 0)
    assert what == "returned" and own > 0, "it has to reach its database"
    assert inject(victim, "listen", own, 1) == ("returned", -EACCES)
    assert os.path.exists(node.url_file) and not os.path.exists(f"{node.keys}/new")
    signs(node, 1)
    assert inject(victim, "openat", AT_FDCWD, f"s:{node.keys}/new", O_WRONLY | O_CREAT, 0o600) == ("killed", signal.SIGSYS)
    assert not os.path.exists(f"{node.keys}/new")
    wait_for("another", lambda: node.pids(process) not in ([], [victim]), harness.PATIENCE)
    signs(node, 2)


@pytest.mark.parametrize("process", ["store", "duty"])
def test_it_reads_no_key_and_no_memory(node, process):
    if not landlock_is_on(node, "store"):
        pytest.skip("the kernel has no Landlock")
    victim, keeper = confined(node, process), confined(node, "keeper")
    for path in ("/etc/passwd", node.config_path, node.url_file, os.path.join(node.keys, "keys.yaml"), os.path.join(node.keys, "account.json"),
                 os.path.join(node.data_dir, "key-manager-token"), f"/proc/{keeper}/mem", f"/proc/{keeper}/maps", "/proc/self/mem"):
        assert os.path.exists(path), path
        assert inject(victim, "openat", AT_FDCWD, f"s:{path}", 0, 0) == ("returned", -EACCES), path
    signs(node, 1)
