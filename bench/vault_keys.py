"""How long a signer takes to have the keys that Vault keeps: from its start, over loopback, with the double of Vault that the
tests use, in this process. Steady: no tenth of them takes much longer than the others."""

import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "e2e"))
import vault_double  # noqa: E402  pylint: disable=wrong-import-position

ROWS = ["vault"]
MUST_SECONDS = 30
TENTHS = 10


class SecretRows:
    def __init__(self, bench, start_signer):
        self.bench = bench
        self.count = bench.size["keys"]
        self.vault = vault_double.Vault()
        self.vault.tree = {f"secret/validators/{n}": {"value": f"{n + 1:064x}"} for n in range(self.count)}
        token = os.path.join(bench.work, "vault-token")
        with open(os.open(token, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as out:
            out.write(vault_double.ROOT)
        work = os.path.join(bench.work, "vault-signer")
        os.mkdir(work, 0o700)
        keys = bench.make_keys("vault-local", 1 << 33, 1, "pbkdf2", 1)
        self.moments = []
        self.watching = threading.Thread(target=self.watch, daemon=True)
        self.watching.start()
        self.signer = start_signer(bench.build, work, keys, (
            f"  - backend: vault\n    address: {self.vault.url}\n    path: secret/validators\n"
            f"    auth: {{token_file: {token}}}\naudit: {{enabled: false}}\n"))

    def watch(self):
        """The moment of each tenth of the answers."""
        while len(self.moments) <= TENTHS:
            if self.vault.counts["all"] >= len(self.moments) * self.count // TENTHS:
                self.moments.append(time.monotonic())
            time.sleep(0.002)

    def close(self):
        self.signer.stop()
        self.vault.close()

    def measure(self):
        seconds = self.signer.wait_for_keys(self.count + 1, pause=0.1)
        self.watching.join(timeout=1)
        steps = [b - a for a, b in zip(self.moments[1:], self.moments[2:])]
        self.bench.row(f"seconds until {self.count} keys of Vault are loaded", seconds, MUST_SECONDS, False, "s",
                       keys_per_second=self.count / seconds, slowest_tenth_seconds=max(steps, default=0),
                       fastest_tenth_seconds=min(steps, default=0))
        if steps:
            self.bench.notes["vault, a tenth of the keys"] = f"{min(steps):.2f} s to {max(steps):.2f} s"
