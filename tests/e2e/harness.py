"""A real `holdfast serve` for a test: on ports and folders of its own, gone when the test ends.

HF_BUILD names the build (default: build beside the sources). HF_SANITIZED=1 says that it was built
with sanitizers, which need system calls and memory that the sandbox takes away.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from ports import free_port

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("HF_BUILD", os.path.join(ROOT, "build")))
SANITIZED = os.environ.get("HF_SANITIZED") == "1"
HOLDFAST = os.path.join(BUILD, "holdfast")
# Sanitized processes are several times slower.
PATIENCE = 90 if SANITIZED else 30

MAINNET_ROOT = "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95"


def is_confined(pid):
    """Has this child of the supervisor a filter of system calls of its own, beside the one that it inherits?"""
    with open(f"/proc/{pid}/status", encoding="ascii") as text:
        return int(re.search(r"^Seccomp_filters:\s+(\d+)$", text.read(), re.M)[1]) > 1


def run(*arguments, stdin=None, timeout=PATIENCE, env=None):
    """Runs `holdfast ...` to its end; returns the finished process with text output."""
    return subprocess.run([HOLDFAST, *[str(a) for a in arguments]], input=stdin, capture_output=True, text=True,
                          timeout=timeout, env={**os.environ, **(env or {})}, check=False)


def write_private(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)


def make_keystores(folder, count, first=0):
    """count cheap keystores in folder (made when absent), all with the password in FOLDER.password."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    password = f"{folder}.password"
    write_private(password, "a password for tests")
    subprocess.run([os.path.join(BUILD, "bench", "bench_keys"), folder, str(first), str(count), "pbkdf2", "1", password],
                   check=True)
    names = sorted(os.listdir(folder), key=lambda name: int(name.split("-")[1].split(".")[0]))
    pubkeys = []
    for name in names:
        with open(os.path.join(folder, name), encoding="utf-8") as text:
            pubkeys.append("0x" + json.load(text)["pubkey"])
    return pubkeys


def root_of(*parts):
    """Some 32 bytes that follow from the parts."""
    return "0x" + hashlib.sha256(repr(parts).encode()).hexdigest()


def fork_info(root=MAINNET_ROOT):
    return {"fork": {"previous_version": "0x04000000", "current_version": "0x05000000", "epoch": "364032"},
            "genesis_validators_root": root}


def attestation(source, target, mark=0):
    """A request body to vote from source to target; another mark votes for another block."""
    return {"type": "ATTESTATION", "fork_info": fork_info(),
            "attestation": {"slot": str(target * 32), "index": "0", "beacon_block_root": root_of("block", target, mark),
                            "source": {"epoch": str(source), "root": root_of("checkpoint", source)},
                            "target": {"epoch": str(target), "root": root_of("checkpoint", target)}}}


def block(slot, mark=0):
    """A request body for a block header; another mark makes it another block."""
    return {"type": "BLOCK_V2", "fork_info": fork_info(),
            "beacon_block": {"version": "ELECTRA", "block_header": {
                "slot": str(slot), "proposer_index": "7", "parent_root": root_of("parent", slot),
                "state_root": root_of("state", slot, mark), "body_root": root_of("body", slot, mark)}}}


class Signer:
    """`with Signer(tmp_path, keys=3) as signer:` starts it, waits until it can sign, and stops it."""

    def __init__(self, folder, keys=1, config="", arguments=(), network="mainnet"):
        self.folder = str(folder)
        self.port, self.metrics_port = free_port(), free_port()
        self.data_dir = os.path.join(self.folder, "data")
        self.keystores = os.path.join(self.folder, "keystores")
        self.pubkeys = make_keystores(self.keystores, keys) if keys else []
        self.config_path = os.path.join(self.folder, "holdfast.yaml")
        self.log_path = os.path.join(self.folder, "log")
        # What a service manager gives: memory that outlives the process and not the machine.
        self.runtime_dir = tempfile.mkdtemp(prefix="holdfast-test-", dir="/dev/shm") if os.path.isdir("/dev/shm") else None
        self.arguments = [str(a) for a in arguments]
        self.process = None
        text = (f"data_dir: {self.data_dir}\nnetwork: {network}\n"
                f"server: {{listen_address: 127.0.0.1, listen_port: {self.port}}}\n"
                f"metrics: {{listen_address: 127.0.0.1, listen_port: {self.metrics_port}}}\n")
        if SANITIZED and "hardening:" not in config:
            text += "hardening: {seccomp: off, landlock: off, mlock: off, no_dump: off}\n"
        if keys:  # at the end: config may add entries
            text += (f"signing_keys:\n  - {{backend: local-keystore, keystore_dir: {self.keystores}, "
                     f"password_file: {self.keystores}.password}}\n")
        write_private(self.config_path, text + config)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            self.forget_memory()

    def forget_memory(self):
        """As a reboot does."""
        if self.runtime_dir is not None:
            shutil.rmtree(self.runtime_dir, ignore_errors=True)

    def environment(self):
        if self.runtime_dir is None:
            return dict(os.environ)
        os.makedirs(self.runtime_dir, mode=0o700, exist_ok=True)
        return {**os.environ, "RUNTIME_DIRECTORY": self.runtime_dir}

    def start(self, wait=True):
        os.makedirs(self.data_dir, mode=0o700, exist_ok=True)
        with open(self.log_path, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen([HOLDFAST, "serve", "-c", self.config_path, *self.arguments],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment())
        if wait:
            self.wait_until(lambda: self.get("/upcheck")[0] == 200, "it answers /upcheck")
            if self.pubkeys:
                self.wait_until(lambda: len(self.get("/api/v1/eth2/publicKeys")[1]) >= len(self.pubkeys),
                                "its keys are loaded")

    def wait_until(self, condition, what, seconds=PATIENCE):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process is None or self.process.poll() is None, f"it ended before {what}:\n{self.log()}"
            try:
                if condition():
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.02)
        raise AssertionError(f"not within {seconds} s: {what}\n{self.log()}")

    def stop(self, expect=0):
        """SIGTERM; it has to end by itself, with the expected status (None: any)."""
        if self.process is None:
            return
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"it did not end on SIGTERM:\n{self.log()}") from None
        assert expect is None or status == expect, f"it ended with {status}:\n{self.log()}"

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as text:
            return text.read()[-20000:]

    def request(self, method, path, body=None, headers=None, port=None):
        """(status, body as JSON where it is JSON, else as text)."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=PATIENCE)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            is_json = answer.getheader("Content-Type", "").startswith("application/json")
            return answer.status, json.loads(text) if is_json and text else text
        finally:
            connection.close()

    def get(self, path, **kwargs):
        return self.request("GET", path, **kwargs)

    def loaded(self):
        """The BLS keys that it signs with now; none while it does not say."""
        status, found = self.get("/api/v1/eth2/publicKeys")
        return set(found) if status == 200 else set()

    def sign(self, pubkey, body, **kwargs):
        return self.request("POST", f"/api/v1/eth2/sign/{pubkey}", body, **kwargs)

    def metrics(self):
        """The text of /metrics."""
        return self.get("/metrics", port=self.metrics_port)[1]

    def children(self):
        """{program name: [pid]} of the processes below the supervisor."""
        parents = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as stat:
                    text = stat.read()
            except OSError:
                continue
            program = text[text.index("(") + 1:text.rindex(")")]
            parents[int(name)] = (int(text.rpartition(")")[2].split()[1]), program)
        found, ours = {}, {self.process.pid}
        for _ in range(4):
            for pid, (parent, program) in parents.items():
                if parent in ours and pid not in ours:
                    ours.add(pid)
                    found.setdefault(program, []).append(pid)
        return found
