"""A real HashiCorp Vault 1.14.0 (the last under MPL 2.0; OpenBao keeps its interface), pinned by tests/peers/vault/go.sum.

Building it takes some eight minutes and four gigabytes, so that is done only when HF_BUILD_VAULT=1 is set, once, under
.cache; without one the tests are skipped and say so."""

import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import shutil
import subprocess

import harness
import pytest

SOURCE = os.path.join(harness.ROOT, "tests", "peers", "vault")
BUILD_SECONDS = 1800


def find_go():
    return shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")


def program():
    digest = hashlib.sha256()
    for name in ("main.go", "go.sum"):
        with open(os.path.join(SOURCE, name), "rb") as file:
            digest.update(file.read())
    target = os.path.join(harness.ROOT, ".cache", "peers", f"vault-{digest.hexdigest()[:16]}", "vaultd")
    if os.path.exists(target):
        return target
    go = find_go()
    if os.environ.get("HF_BUILD_VAULT") != "1" or go is None:
        pytest.skip(f"no Vault at {target}: HF_BUILD_VAULT=1 builds one with Go 1.20 or later")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(target):
            subprocess.run([go, "build", "-p", "1", "-mod=readonly", "-o", target + ".new", "."], cwd=SOURCE, check=True,
                           timeout=BUILD_SECONDS, env={**os.environ, "GOTOOLCHAIN": "local"})
            os.rename(target + ".new", target)
    return target


class Vault:
    def __init__(self, address, token, unseal_key):
        self.address, self.root, self.unseal_key = address, token, unseal_key

    def call(self, method, path, body=None, wrap_ttl=None, token=None):
        """Status and JSON of one request, by default as root."""
        headers = {"X-Vault-Token": token or self.root, "X-Vault-Request": "true"}
        if wrap_ttl:
            headers["X-Vault-Wrap-TTL"] = wrap_ttl
        connection = http.client.HTTPConnection(self.address.removeprefix("http://"), timeout=30)
        try:
            connection.request(method, "/v1/" + path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or "{}")
        finally:
            connection.close()

    def must(self, *arguments, **more):
        status, body = self.call(*arguments, **more)
        assert status in (200, 204), (arguments, status, body)
        return body


@contextlib.contextmanager
def server():
    with subprocess.Popen([program()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True) as process:
        try:
            yield Vault(**json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()
            process.wait(timeout=30)
