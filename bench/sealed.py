"""Sealed keys: how long after the last share all of them are ready to sign."""

import json
import os
import re
import statistics
import subprocess
import sys
import time

ROWS = ["sealed"]
TARGET_SECONDS = 1


class SealedRows:
    def __init__(self, bench, start_signer):
        self.bench = bench
        self.count = bench.size["keys"]
        self.work = os.path.join(bench.work, "sealed")
        os.mkdir(self.work, 0o700)
        one = bench.make_keys("sealed-none", 0, 1, "pbkdf2", 1)
        self.signer = start_signer(bench.build, self.work, one, "  - {backend: sealed}\n")

    def close(self):
        self.signer.stop()

    def holdfast(self, *arguments):
        done = subprocess.run([os.path.join(self.bench.build, "holdfast"), *arguments, "--data-dir", os.path.join(self.work, "data")],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"holdfast {' '.join(arguments)}: {done.stderr}\n{self.signer.read_log()}")
        return done.stdout

    def unseal(self, share):
        """(seconds by the keeper's own clock, seconds the person waits for the command)"""
        self.holdfast("seal", "seal")
        before = time.monotonic()
        self.holdfast("seal", "unseal", "--share-file", share)
        waited = time.monotonic() - before
        ready, milliseconds = re.findall(r"(\d+) sealed keys are ready (\d+) ms after the last share", self.signer.read_log())[-1]
        if int(ready) != self.count:
            sys.exit(f"{ready} of {self.count} sealed keys are ready\n{self.signer.read_log()}")
        return int(milliseconds) / 1000, waited

    def measure(self):
        self.signer.wait_for_keys(1)
        out = self.holdfast("seal", "init", "--threshold", "1", "--holder", "paper:printed")
        share = os.path.join(self.work, "share")
        with open(os.open(share, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as paper:
            paper.write(re.search(r"\b[0-9a-f]{66}\b", out).group(0))
        self.holdfast("seal", "unseal", "--share-file", share)
        before = time.monotonic()
        self.holdfast("key", "generate", "--count", str(self.count))
        made = time.monotonic() - before
        turns = [self.unseal(share) for _ in range(self.bench.size["turns"])]
        state = json.loads(self.holdfast("seal", "status", "--json"))
        self.bench.row(f"{self.count} sealed keys ready after the last share", statistics.median(turn[0] for turn in turns),
                       TARGET_SECONDS, False, "s", command_seconds=statistics.median(turn[1] for turn in turns),
                       slowest_seconds=max(turn[0] for turn in turns), generated_in_seconds=made, state=state["state"])
