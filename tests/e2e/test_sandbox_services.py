"""The processes that speak to services, a back end of custody and the relay to a node, taken over while they run: what they
must not do kills them or is refused, another is started, and signing goes on."""

import os
import signal

import harness
import pytest
from conftest import wait_for
from test_packaging import entry_of_a_vault_that_is_away
from test_sandbox import AT_FDCWD, DEADLY, EACCES, inject, landlock_is_on
from test_sandbox_databases import AF_INET, AF_PACKET, SOCK_STREAM, confined

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to take a process over"),
    pytest.mark.skipif(harness.SANITIZED, reason="a sanitizer build runs without a sandbox"),
]


@pytest.fixture(name="node")
def node_with_both(signers, tmp_path):
    return signers(keys=1, config=entry_of_a_vault_that_is_away(tmp_path) +
                   f"eth1: {{downstream: {{url: 'http://127.0.0.1:{harness.free_port()}'}}}}\n").start()


def signs(node):
    wait_for("a vote", lambda: node.attest(node.pubkeys[0], 1, 2)[0] == 200, harness.PATIENCE)


@pytest.mark.parametrize("process", ["hsm", "relay"])
def test_it_reads_no_key_and_no_memory_and_listens_nowhere(node, process):
    victim, keeper = confined(node, process), confined(node, "keeper")
    what, own = inject(victim, "socket", AF_INET, SOCK_STREAM, 0)
    assert what == "returned" and own > 0, "it has to reach its service"
    assert inject(victim, "listen", own, 1) == ("returned", -EACCES)
    if not landlock_is_on(node, "keeper"):
        pytest.skip("the kernel has no Landlock")
    keystore = os.path.join(node.keystores, sorted(os.listdir(node.keystores))[0])
    for path in ("/etc/passwd", node.config_path, keystore, f"{node.keystores}.password", os.path.join(node.data_dir, "slashing.sqlite"),
                 os.path.join(node.data_dir, "key-manager-token"), f"/proc/{keeper}/mem", f"/proc/{keeper}/maps"):
        assert os.path.exists(path), path
        assert inject(victim, "openat", AT_FDCWD, f"s:{path}", 0, 0) == ("returned", -EACCES), path
    signs(node)


@pytest.mark.parametrize("process", ["hsm", "relay"])
def test_it_dies_of_what_it_must_not_do(node, process):
    for act in (DEADLY[0], DEADLY[1], ("socket", AF_PACKET, SOCK_STREAM, 0)):
        victim = confined(node, process)
        assert inject(victim, *act) == ("killed", signal.SIGSYS), act
        wait_for("another", lambda v=victim: node.pids(process) not in ([], [v]), harness.PATIENCE)
    signs(node)
