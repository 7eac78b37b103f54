"""What tokens, policies and strict audit cost: the same load on a signer with all of it and on one without, turn by turn.

Both run at the same time, so that the machine is the same for both; each turn asks the one and then the
other, or the other way round, and the row is the median over the turns.
"""

import os
import statistics
import subprocess

ROWS = ["watch"]
OFF = "audit: {enabled: false}\n"
ON = """audit: {sync: always}
auth: {mode: tokens}
policies:
  validator-client:
    - {effect: allow, scopes: [sign], operations: [ATTESTATION, BLOCK_V2], keys: "*"}
    - {effect: deny, operations: [VOLUNTARY_EXIT]}
"""


class WatchRows:
    def __init__(self, bench, start_signer):
        self.bench = bench
        self.size = bench.size
        self.signers = {}
        keys = bench.make_keys("watch-keys", 0, bench.size["voters"], "pbkdf2", 1)
        for name, settings in (("without", OFF), ("with", ON)):
            work = os.path.join(bench.work, f"watch-{name}")
            os.mkdir(work, 0o700)
            self.signers[name] = start_signer(bench.build, work, keys, settings)
        self.token = None

    def close(self):
        for signer in self.signers.values():
            signer.stop()

    def turns(self, load):
        """[{name: result}], the order alternating."""
        results = []
        for turn in range(self.size["turns"]):
            names = ["without", "with"] if turn % 2 == 0 else ["with", "without"]
            results.append({name: self.ask(name, load) for name in names})
        return results

    def ask(self, name, load):
        environment = {"HF_BENCH_TOKEN": self.token} if name == "with" else {}
        return load(self.signers[name], environment)

    def make_token(self):
        done = subprocess.run([os.path.join(self.bench.build, "holdfast"), "token", "create", "--policy", "validator-client",
                               "--data-dir", os.path.join(self.bench.work, "watch-with", "data")],
                              check=True, capture_output=True, text=True)
        self.token = done.stdout.strip()

    def measure(self):
        for signer in self.signers.values():
            signer.wait_for_keys(self.size["voters"])
        self.make_token()
        count = int(self.size["seconds"] * 3000) + self.size["connections"]
        rates = self.turns(lambda signer, environment: self.bench.load(
            signer, "run", environment, keys=self.size["voters"], count=count, shared=0,
            connections=self.size["connections"]))

        def cpu(result):
            return result["signed"] / max(result["signer_cpu_seconds"], 0.01)

        ratio = statistics.median(cpu(turn["with"]) / cpu(turn["without"]) for turn in rates)
        wall = statistics.median(turn["without"]["wall_seconds"] / turn["with"]["wall_seconds"] for turn in rates)
        self.bench.row("signatures, tokens and strict audit / without", ratio, 0.95, True, wall=wall, turns=rates)
        rounds = max(5, self.size["idle_rounds"] // self.size["turns"])
        probe = os.path.join(self.bench.work, "watch-probe")
        lone = self.turns(lambda signer, environment: self.bench.load(
            signer, "idle", environment, keys=1, rounds=rounds, pause_ms=self.size["idle_pause_ms"], probe=probe))
        os.unlink(probe)
        more = statistics.median(turn["with"]["request_ms_p50"] - turn["without"]["request_ms_p50"] for turn in lone)
        self.bench.row("p50 of one request, the same - without", more * 1000, 100, False, "us", turns=lone)
        p50 = {name: statistics.median(turn[name]["request_ms_p50"] for turn in lone) for name in self.signers}
        self.bench.notes["one request"] = f"p50 {p50['without']:.3f} ms without, {p50['with']:.3f} ms with tokens and strict audit"
