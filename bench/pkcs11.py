"""Signatures by a key in a SoftHSM2 token, through Holdfast, against the module alone on as many threads."""

import json
import os
import shutil
import subprocess

import eth1
import softhsm  # of tests/e2e, where eth1 looks

ROWS = ["pkcs11"]
THREADS = 8  # of holdfast-hsm, as it has them without a word


class TokenRows(eth1.Eth1Rows):
    def __init__(self, bench, start_signer):  # pylint: disable=super-init-not-called
        self.bench = bench
        self.size = bench.size
        folder = os.path.join(bench.work, "token")
        os.mkdir(folder, 0o700)
        self.token = softhsm.Token(folder)
        self.run_tool("make")
        nothing = bench.make_keys("token-none", 0, 1, "pbkdf2", 1)
        work = os.path.join(bench.work, "token-signer")
        os.mkdir(work, 0o700)
        self.signer = start_signer(bench.build, work, nothing, self.token.entry(f", threads: {THREADS}") + "auth: {mode: none}\n")

    def run_tool(self, mode, *arguments):
        command = [self.bench.tool("bench_token"), mode, softhsm.MODULE, self.token.label, softhsm.PIN, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True,
                              env={**os.environ, "SOFTHSM2_CONF": self.token.conf}).stdout

    def loop(self):
        result = json.loads(self.run_tool("loop", str(self.size["loop_seconds"]), str(THREADS)))
        return result["signatures"] / result["cpu_seconds"], result["signatures"] / result["wall_seconds"]

    def measure(self):
        self.signer.wait_for_keys(2)
        self.load(self.size["connections"] * 4)
        # By the clock: the module's own threads spend much of their time waiting for each other.
        self.compare("eth_sign by a key in SoftHSM2 / the PKCS#11 loop", self.loop, 1, 0.8, by_clock=True)


def measure(bench, start_signer):
    if softhsm.MODULE is None or shutil.which("softhsm2-util") is None:
        bench.notes["not measured, eth_sign by a key in SoftHSM2"] = "softhsm2 is not installed"
        return
    rows = TokenRows(bench, start_signer)
    try:
        rows.measure()
    finally:
        rows.close()
