"""Signatures of the execution layer: eth_sign over JSON-RPC, its audit line durable before each answer, against
libsecp256k1's own signing loop on the same cores and the signer of the npm package @aztec/foundation."""

import json
import os
import statistics
import subprocess
import sys

sys.path[:0] = [os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", name) for name in ("e2e", "peers")]
import npm  # noqa: E402

ROWS = ["eth1"]
SECRET = 7  # as in eth1.c: worthless
BATCH = 16  # calls of a request in the second row


class Eth1Rows:
    def __init__(self, bench, start_signer):
        self.bench = bench
        self.size = bench.size
        keys = os.path.join(bench.work, "eth1-keys")
        os.mkdir(keys, 0o700)
        with open(os.open(os.path.join(keys, "key.yaml"), os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as out:
            out.write(f"type: file-raw\nkeyType: SECP256K1\nprivateKey: \"0x{SECRET:064x}\"\n")
        nothing = bench.make_keys("eth1-none", 0, 1, "pbkdf2", 1)
        work = os.path.join(bench.work, "eth1")
        os.mkdir(work, 0o700)
        self.signer = start_signer(bench.build, work, nothing, f"  - {{backend: web3signer, config_dir: {keys}}}\n"
                                   "auth: {mode: none}\n")

    def close(self):
        self.signer.stop()

    def loop(self):
        command = [self.bench.tool("bench_eth1"), "loop", str(self.size["loop_seconds"]), str(os.cpu_count())]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return result["signatures"] / result["cpu_seconds"], result["signatures"] / result["wall_seconds"]

    def npm_signer(self):
        """Signatures a second of the package's own signer, on the one core that it uses."""
        folder = npm.install("aztec")
        done = subprocess.run(["node", "signer.mjs", str(self.size["loop_seconds"])], cwd=folder, check=True, capture_output=True,
                              text=True)
        result = json.loads(done.stdout)
        return result["signatures"] / result["cpu_seconds"], result["signatures"] / result["wall_seconds"]

    def load(self, count, batch=1):
        command = [self.bench.tool("bench_eth1"), "load", str(self.signer.port), str(count // batch + 1),
                   str(self.size["connections"]), str(batch)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if process.stdout.readline().strip() != "ready":
            sys.exit(f"the load generator did not start; the signer says:\n{self.signer.read_log()}")
        before = self.signer.cpu_seconds()
        output, _ = process.communicate("go\n")
        after = self.signer.cpu_seconds()
        if process.returncode != 0:
            sys.exit(f"not every answer was a good signature: {output}\n{self.signer.read_log()}")
        result = json.loads(output)
        result["cpu_seconds_by_program"] = {name: round(after[name] - before.get(name, 0), 2) for name in after}
        result["signer_cpu_seconds"] = sum(after.values()) - sum(before.values())
        return result

    def measure(self):
        self.signer.wait_for_keys(2)
        self.load(self.size["connections"] * 4)
        self.compare("eth_sign over JSON-RPC / libsecp256k1 loop", self.loop, 1, 0.25)
        self.compare(f"the same, {BATCH} calls a request / libsecp256k1 loop", self.loop, BATCH, 0.25)
        try:
            self.compare(f"the same, {BATCH} calls a request / the npm package's signer", self.npm_signer, BATCH, 15)
            self.bench.notes["the npm package's signer"] = (
                "Secp256k1Signer.signMessage of @aztec/foundation in a loop, on one core: the same hash and signature, but in its "
                "caller's process, without HTTP, JSON or an audit log; the package has nothing that answers JSON-RPC")
        except npm.pytest.skip.Exception as why:
            self.bench.notes["not measured, eth_sign / the npm package's signer"] = str(why)

    def compare(self, name, reference, batch, target, by_clock=False):
        turns, references = [], [reference()]
        for _ in range(self.size["turns"]):
            turns.append(self.load(int(self.size["seconds"] * 10000) + self.size["connections"], batch))
            references.append(reference())

        def ratio(rate, which):
            return statistics.median(rate(turn) / ((before[which] + after[which]) / 2)
                                     for turn, before, after in zip(turns, references, references[1:]))

        signed = sum(turn["signed"] for turn in turns)
        used = {name: sum(turn["cpu_seconds_by_program"][name] for turn in turns) for name in turns[0]["cpu_seconds_by_program"]}
        by_cpu = ratio(lambda turn: turn["signed"] / max(turn["signer_cpu_seconds"], 0.01), 0)
        wall = ratio(lambda turn: turn["signed"] / turn["wall_seconds"], 1)
        self.bench.row(name, wall if by_clock else by_cpu, target, True, wall=wall, by_cpu=by_cpu, references=references,
                       turns=turns)
        self.bench.notes[name] = (
            f"{statistics.median(turn['signed'] / turn['wall_seconds'] for turn in turns):.0f} a second, p99 of a request "
            f"{statistics.median(turn['p99_ms'] for turn in turns):.1f} ms; microseconds of CPU a signature: "
            + ", ".join(f"{program} {seconds / signed * 1e6:.0f}" for program, seconds in sorted(used.items()))
            + f"; the other {1e6 / statistics.median(cpu for cpu, _ in references):.0f}")
