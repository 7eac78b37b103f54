"""Counting and printing for the gates: one tally, one closing line."""

import os
import subprocess
import sys
import time


class Tally:
    """What passed, failed and was skipped, over all runners."""

    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.skipped = 0
        self.failures = []
        self.skips = []
        self.started = time.monotonic()

    def section(self, name):
        elapsed = int(time.monotonic() - self.started)
        print(f"\n== {name}  [{elapsed // 60}:{elapsed % 60:02d}]", flush=True)

    def ok(self, name, count=1):
        self.passed += count
        print(f"  ok    {name}" + (f" ({count})" if count != 1 else ""), flush=True)

    def fail(self, name, detail, count=1):
        self.failed += count
        self.failures.append(name)
        print(f"  FAIL  {name}\n{detail.rstrip()}\n", flush=True)

    def skip(self, name, missing, count=1):
        self.skipped += count
        self.skips.append(f"{name}: {missing}")
        print(f"  skip  {name}: {missing}", flush=True)

    def close(self):
        """Prints the summary and ends the program."""
        print()
        for line in self.skips:
            print(f"skipped: {line}")
        for line in self.failures:
            print(f"failed: {line}")
        tally_file = os.environ.get("HF_TALLY_FILE")
        if tally_file:
            with open(tally_file, "w", encoding="ascii") as out:
                out.write(f"{self.passed} {self.failed} {self.skipped}\n")
        else:
            print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        sys.exit(1 if self.failed else 0)


def build_findings(output):
    """Without what meson says when it configures again."""
    return output[max(0, output.find("FAILED:")):]


def run(command, env=None, timeout=None, cwd=None):
    """Runs quietly; returns (exit status, everything it wrote). A timeout is status 124."""
    full_env = {**os.environ, **(env or {})}
    process = subprocess.Popen(command, env=full_env, cwd=cwd, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               errors="replace", start_new_session=True)
    try:
        output, _ = process.communicate(timeout=timeout)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        output, _ = process.communicate()
        return 124, output + f"\nended after {timeout} seconds without finishing\n"
    except BaseException:
        os.killpg(process.pid, 9)
        raise
