"""libholdfast as an embedder meets it: installed, found by pkg-config, linked, configured by the environment."""

import os
import re
import subprocess
import time

import pytest

import harness
import postgres

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))

BUILD = harness.BUILD
PUBLIC = re.compile(r"HF_DUTY_API [^;]*?(hf_duty_\w+)\(", re.S)


@pytest.fixture(scope="module")
def server():
    with postgres.Postgres() as running:
        yield running


def environment(server, node):
    return {**os.environ, "VALIDATOR_HA_SIGNING_ENABLED": "true", "VALIDATOR_HA_NODE_ID": node,
            "VALIDATOR_HA_DATABASE_URL": server.url()}


def example(server, node, slot, message):
    return subprocess.run([os.path.join(BUILD, "examples", "example-duty"), str(slot), message], capture_output=True,
                          text=True, env=environment(server, node), timeout=60)


def signature(text):
    return re.search(r"0x[0-9a-f]{130}", text).group(0)


def test_two_nodes_of_the_example_sign_once(server):
    first = example(server, "node-1", 7, "a message")
    assert first.returncode == 0 and "signed here" in first.stdout, first.stderr
    second = example(server, "node-2", 7, "a message")
    assert second.returncode == 0 and "signed before by node-1" in second.stdout, second.stderr
    assert signature(first.stdout) == signature(second.stdout)
    third = example(server, "node-2", 7, "another")
    assert third.returncode == 1 and "CONFLICT" in third.stderr
    assert server.psql("SELECT count(*) FROM validator_duties", "holdfast").strip() == "1"


def test_nodes_outlive_a_crash_of_the_database(server):
    before = example(server, "node-1", 8, "kept")
    assert before.returncode == 0, before.stderr
    server.kill()
    began = time.monotonic()
    down = example(server, "node-1", 9, "kept")
    assert down.returncode == 2 and "UNAVAILABLE" in down.stderr
    assert time.monotonic() - began < 10
    server.start()
    after = example(server, "node-2", 8, "kept")
    assert signature(after.stdout) == signature(before.stdout), after.stderr
    assert example(server, "node-2", 8, "other").returncode == 1


def test_missing_configuration_is_named(server):
    env = {**environment(server, ""), "VALIDATOR_HA_NODE_ID": ""}
    run = subprocess.run([os.path.join(BUILD, "examples", "example-duty"), "1", "m"], capture_output=True, text=True,
                         env=env, timeout=60)
    assert run.returncode == 2 and "VALIDATOR_HA_NODE_ID" in run.stderr


def test_the_library_shows_its_public_functions_and_nothing_else():
    header = os.path.join(os.path.dirname(__file__), "..", "..", "include", "holdfast", "duty.h")
    with open(header, encoding="utf-8") as text:
        wanted = set(PUBLIC.findall(text.read()))
    assert len(wanted) == 14
    names = subprocess.run(["nm", "-D", "--defined-only", os.path.join(BUILD, "libholdfast.so")], check=True,
                           capture_output=True, text=True).stdout
    shown = {line.split()[-1].split("@")[0] for line in names.splitlines() if " T " in line}
    assert shown == wanted


@pytest.mark.skipif(os.environ.get("HF_SANITIZED") == "1", reason="a sanitized library wants a sanitized program")
def test_an_embedder_builds_with_pkg_config(server, tmp_path):
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", str(tmp_path)], check=True,
                   capture_output=True)
    found = subprocess.run(["find", str(tmp_path), "-name", "libholdfast.pc"], check=True, capture_output=True,
                           text=True).stdout.strip()
    env = {**environment(server, "embedder"), "PKG_CONFIG_PATH": os.path.dirname(found),
           "PKG_CONFIG_SYSROOT_DIR": str(tmp_path)}
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libholdfast"], check=True, capture_output=True,
                           text=True, env=env).stdout.split()
    source = os.path.join(os.path.dirname(__file__), "..", "..", "examples", "duty.c")
    program = str(tmp_path / "duty")
    subprocess.run(["cc", "-Wall", "-Werror", source, "-o", program, *flags], check=True)
    env["LD_LIBRARY_PATH"] = os.path.dirname(os.path.dirname(found))
    run = subprocess.run([program, "100", "m"], capture_output=True, text=True, env=env, timeout=60)
    assert run.returncode == 0, run.stderr
