"""Clients from npm: pinned by a lock file in tests/peers, installed once under .cache, run with node.

Where node, npm or the registry is not to be had the tests are skipped and say so; anything else that
goes wrong (a package that does not match the lock file least of all) is a failure.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess

import harness
import pytest

FOLDER = os.path.join(harness.ROOT, "tests", "peers")
CACHE = os.path.join(harness.ROOT, ".cache", "peers")
INSTALL_SECONDS = 300
# npm's codes for a registry that cannot be reached, does not answer, or has no such package (a mirror).
UNREACHABLE = re.compile(r"code (E(NOTFOUND|AI_AGAIN|CONNREFUSED|CONNRESET|TIMEDOUT|HOSTUNREACH|NETUNREACH|SOCKETTIMEDOUT|"
                         r"404|403|407|5\d\d)|ERR_SOCKET_TIMEOUT|ENOTCACHED)\b")


def program(name):
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def fingerprint(folder):
    with open(os.path.join(folder, "package-lock.json"), "rb") as lock:
        return hashlib.sha256(lock.read()).hexdigest()[:16]


def install(name):
    """The folder with node_modules of tests/peers/NAME and copies of its programs."""
    npm = program("npm")
    source = os.path.join(FOLDER, name)
    target = os.path.join(CACHE, f"{name}-{fingerprint(source)}")
    os.makedirs(target, exist_ok=True)
    with open(os.path.join(target, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for entry in os.listdir(source):
            shutil.copy(os.path.join(source, entry), target)
        if not os.path.exists(os.path.join(target, "installed")):
            fetch(npm, target)
            with open(os.path.join(target, "installed"), "w", encoding="ascii"):
                pass
    return target


def fetch(npm, target):
    try:
        result = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1",
             "--fetch-timeout=60000"], cwd=target, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"the npm registry did not answer within {INSTALL_SECONDS} s")
    if result.returncode != 0:
        unreachable = UNREACHABLE.search(result.stderr)
        if unreachable:
            pytest.skip(f"the npm registry cannot be reached or lacks a package: {unreachable.group(0)}")
        pytest.fail(f"npm ci ended with {result.returncode}:\n{result.stderr}")


def run(folder, script, *arguments, environment=None, timeout=300):
    """The finished `node SCRIPT ...` with text output."""
    return subprocess.run([program("node"), script, *map(str, arguments)], cwd=folder, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=timeout, check=False,
                          env={**os.environ, **(environment or {})})
