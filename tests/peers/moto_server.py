"""moto, which plays AWS's services (KMS with real cryptography, Secrets Manager, STS), from the Python
registry: pinned by hashes, installed once under .cache, run as a server on loopback.

Where pip or the registry is not to be had, the tests are skipped and say so; a package that does not
match its hash is a failure."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

import harness
import pytest

REQUIREMENTS = os.path.join(harness.ROOT, "tests", "peers", "moto", "requirements.txt")
CACHE = os.path.join(harness.ROOT, ".cache", "peers")
INSTALL_SECONDS = 300
START_SECONDS = 60
REGION = "eu-test-1"
# moto signs the hash of what it is given even when MessageType says that it is a digest ("not yet implemented"
# in its models.py): here ECDSA of 32 bytes signs them as they are.
RUN = """
import sys
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from moto.kms.utils import ECDSAPrivateKey
from moto.server import main
def sign(self, message, signing_algorithm):
    assert len(message) == 32
    return self.private_key.sign(message, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
ECDSAPrivateKey.sign = sign
main(sys.argv[1:])
"""
UNREACHABLE = re.compile(r"No matching distribution|Could not find a version|Connection|Temporary failure|Max retries|timed out"
                         r"|No module named pip|not a supported wheel")
MISMATCH = "DO NOT MATCH THE HASHES"


def install():
    """The folder to put into PYTHONPATH."""
    with open(REQUIREMENTS, "rb") as pins:
        target = os.path.join(CACHE, "moto-" + hashlib.sha256(pins.read()).hexdigest()[:16])
    os.makedirs(CACHE, exist_ok=True)
    with open(target + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(target):
            fetch(target)
    return target


def fetch(target):
    fresh = target + ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:",
             "--disable-pip-version-check", "--retries", "1", "--timeout", "30", "--target", fresh, "-r", REQUIREMENTS],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"the Python registry did not answer within {INSTALL_SECONDS} s")
    if result.returncode != 0:
        reason = UNREACHABLE.search(result.stderr)
        if reason and MISMATCH not in result.stderr:
            pytest.skip(f"moto cannot be installed here (pip: {reason.group(0)})")
        pytest.fail(f"pip ended with {result.returncode}:\n{result.stderr}")
    os.rename(fresh, target)


def ask(url, service, target, **body):
    """One request, signed in name only: moto reads the region and checks nothing."""
    request = urllib.request.Request(url, json.dumps(body).encode(), headers={
        "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target,
        "Authorization": f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/{REGION}/{service}/aws4_request, "
                         "SignedHeaders=host, Signature=00"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"{}")


def wait(url, child):
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url + "/moto-api/", timeout=10):
                return
        except (urllib.error.URLError, OSError):
            assert child.poll() is None, f"moto ended with {child.returncode}"
            time.sleep(0.1)
    pytest.fail("moto did not start")


@contextlib.contextmanager
def server():
    """Its URL."""
    folder = install()
    port = harness.free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "PYTHONPATH": folder, "MOTO_ALLOW_NONEXISTENT_REGION": "true"}
    with subprocess.Popen([sys.executable, "-c", RUN, "-H", "127.0.0.1", "-p", str(port)], env=environment,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            wait(url, child)
            yield url
        finally:
            child.kill()
