"""The rows of stores that several machines share: a PostgreSQL of its own with fsync on, and the npm package
@aztec/validator-ha-signer on the same database in the same run, taking turns with Holdfast."""

import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tests", "e2e"), os.path.join(ROOT, "tests", "peers")]

import duty_nodes  # noqa: E402
import npm  # noqa: E402
import postgres  # noqa: E402

ROWS = ["pg", "pg-delay", "duty16", "duty64", "duty-loser", "round-trips"]
DELAY_MS = 10
CLIENTS = 64
SAME = "0x" + "5a" * 32


class Unavailable(Exception):
    """What these rows need is not on this machine; the sentence says what."""


class DelayedPostgres:
    """The server's port behind a line that is DELAY_MS longer."""

    def __init__(self, server):
        self.port = postgres.free_port()
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(ROOT, "bench", "delay_proxy.py"), str(self.port), str(server.port), str(DELAY_MS)],
            stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            raise Unavailable("the delay proxy did not start")

    def close(self):
        self.process.terminate()
        self.process.wait()


class SharedRows:
    def __init__(self, bench, signer_class):
        reason = postgres.missing()
        if reason:
            raise Unavailable(reason)
        self.bench, self.size, self.signer_class = bench, bench.size, signer_class
        self.server = postgres.Postgres()
        self.next_slot = 1
        # Fewer than keys, so that no two votes of one key are under way at once and change places.
        self.clients = min(CLIENTS, self.size["voters"] // 2)

    def close(self):
        self.server.close()

    def measure(self, wanted):
        if {"pg", "pg-delay"} & set(wanted):
            self.attestations(wanted)
        if {"duty16", "duty64", "duty-loser", "round-trips"} & set(wanted):
            self.duties(wanted)

    # ---- attestations

    def attestations(self, wanted):
        keys = self.bench.make_keys("pg-keys", 0, self.size["voters"], "pbkdf2", 1)
        plain = self.signer("pg-near", keys, self.server.url(self.fresh_database("near")))
        try:
            plain.wait_for_keys(self.size["voters"])
            if "pg" in wanted:
                name = f"attestations through PostgreSQL, {self.clients} clients / blst loop"
                before = self.server_cpu_seconds()
                self.bench.row_rate(plain, name, 0.7, shared=False, connections=self.clients)
                signed = sum(turn["signed"] for turn in self.bench.rows[-1]["details"]["turns"])
                self.bench.notes[name] += (f"; PostgreSQL, which the ratio leaves out, "
                                           f"{(self.server_cpu_seconds() - before) / signed * 1e6:.0f}")
            if "pg-delay" in wanted:
                self.delayed(plain, keys)
        finally:
            plain.stop()

    def signer(self, name, keys, url):
        work = os.path.join(self.bench.work, name)
        os.mkdir(work, 0o700)
        path = os.path.join(work, "url")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as out:
            out.write(url)
        return self.signer_class(self.bench.build, work, keys, f"slashing_protection: {{backend: postgres, url_file: {path}}}\n")

    def delayed(self, plain, keys):
        """The same load on two signers in turns, one of which has the longer line to its database."""
        proxy = DelayedPostgres(self.server)
        far = None
        try:
            far = self.signer("pg-far", keys, self.server.url(self.fresh_database("far"), port=proxy.port))
            far.wait_for_keys(self.size["voters"])
            rates = {}
            for _ in range(max(1, self.size["turns"] // 3)):
                for name, signer in (("near", plain), ("far", far)):
                    # As long as the other rows' turns: the first load tells how many that are.
                    count = int(rates[name][-1] * self.size["seconds"]) if name in rates else 10 * self.clients
                    result = self.bench.load(signer, "run", keys=self.size["voters"], shared=0, count=count + self.clients,
                                             connections=self.clients)
                    rates.setdefault(name, []).append(result["signed"] / result["wall_seconds"])
            near, distant = (rates[name][1:] or rates[name] for name in ("near", "far"))
            ratio = statistics.median(distant) / statistics.median(near)
            self.bench.row(f"the same with {DELAY_MS} ms more a round trip / without", ratio, 0.5, True, wall=ratio,
                           near_per_second=near, far_per_second=distant)
        finally:
            if far is not None:
                far.stop()
            proxy.close()

    def server_cpu_seconds(self):
        """Of the database's processes, and of those that have ended."""
        used = 0
        for pid in self.server.pids():
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
                    used += sum(int(n) for n in stat.read().rpartition(")")[2].split()[11:15])
            except OSError:
                pass
        return used / os.sysconf("SC_CLK_TCK")

    # ---- duties

    def fresh_database(self, name):
        self.server.create_database(name)
        return name

    def duties(self, wanted):
        try:
            folder = npm.install("aztec")
        except npm.pytest.skip.Exception as why:
            raise Unavailable(f"the npm package: {why}") from why
        url = self.server.url(self.fresh_database("duties"))
        self.run_json(["node", "driver.mjs", "migrate", "--url", url], cwd=folder)
        trips = []
        for at_once in (16, 64):
            if f"duty{at_once}" in wanted or (at_once == 64 and "round-trips" in wanted):
                trips = self.duty_rate(folder, url, at_once, f"duty{at_once}" in wanted)
        if "round-trips" in wanted:
            self.bench.row("round trips to the database a duty signature, 64 at once", statistics.median(trips), 0.2, False,
                           turns=trips)
        if "duty-loser" in wanted:
            self.duty_loser(folder, url)

    @staticmethod
    def run_json(command, cwd=None, environment=None):
        """The last line of a tool as JSON."""
        done = subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "LOG_LEVEL": "silent", **(environment or {})})
        return json.loads(done.stdout.splitlines()[-1])

    def package_turn(self, folder, url, at_once):
        result = self.run_json(["node", "driver.mjs", "bench", "--url", url, "--node", "package", "--seconds",
                                str(self.size["duty_seconds"]), "--at-once", str(at_once), "--first-slot",
                                str(self.next_slot)], cwd=folder)
        self.next_slot = result["next_slot"] + 1
        return result

    def holdfast_turn(self, url, at_once):
        result = self.run_json([self.bench.tool("bench_duty_node"), "bench", str(at_once), str(self.size["duty_seconds"]),
                                str(self.next_slot)],
                               environment={"VALIDATOR_HA_SIGNING_ENABLED": "true", "VALIDATOR_HA_NODE_ID": "holdfast",
                                            "VALIDATOR_HA_DATABASE_URL": url})
        self.next_slot = result["next_slot"] + 1
        return result

    def duty_rate(self, folder, url, at_once, wanted):
        """Turns of both, each compared with the mean of the package's before and after; trips a signature of ours."""
        def rate(turn):
            return turn["signed"] / turn["wall_seconds"]

        theirs = [self.package_turn(folder, url, at_once)]
        ours = []
        for _ in range(self.size["duty_turns"]):
            ours.append(self.holdfast_turn(url, at_once))
            theirs.append(self.package_turn(folder, url, at_once))
        if wanted:
            ratio = statistics.median(rate(turn) / ((rate(before) + rate(after)) / 2)
                                      for turn, before, after in zip(ours, theirs, theirs[1:]))
            self.bench.row(f"duty signatures, {at_once} at once / the npm package", ratio, 10, True, wall=ratio, ours=ours,
                           package=theirs)
            self.bench.notes[f"duties, {at_once} at once"] = (
                f"{statistics.median(map(rate, ours)):.0f} a second, p50 {statistics.median(t['p50_ms'] for t in ours):.2f} ms; "
                f"the package {statistics.median(map(rate, theirs)):.0f}, {statistics.median(t['p50_ms'] for t in theirs):.1f} ms")
        return [turn["round_trips"] / turn["signed"] for turn in ours]

    def duty_loser(self, folder, url):
        """Pairs of nodes of one kind ask for one duty at the same moment; what the slower one waits."""
        waits = {"package": [], "holdfast": []}
        with duty_nodes.PackageNode(folder, url, "loser-p1") as p1, duty_nodes.PackageNode(folder, url, "loser-p2") as p2, \
                duty_nodes.HoldfastNode(self.bench.build, url, "loser-h1") as h1, \
                duty_nodes.HoldfastNode(self.bench.build, url, "loser-h2") as h2:
            pairs = {"package": [p1, p2], "holdfast": [h1, h2]}
            for number in range(self.size["loser_rounds"]):
                for kind, pair in pairs.items():
                    duty = (self.next_slot, "ATTESTATION", -1)
                    self.next_slot += 1
                    calls = [node.begin(duty, SAME) for node in (pair if number % 2 else pair[::-1])]
                    answers = [call.result() for call in calls]
                    losers = [answer.ms for answer in answers if answer.kind in ("HELD", "STORED")]
                    if len(losers) != 1:
                        sys.exit(f"a contended duty of {kind} nodes ended as {answers}")
                    waits[kind] += losers
        ours, theirs = (statistics.median(waits[kind]) for kind in ("holdfast", "package"))
        self.bench.row("p50 of the loser of a contended duty / the npm package's", ours / theirs, 0.2, False,
                       wall=ours / theirs, ours_ms=waits["holdfast"], package_ms=waits["package"])
        self.bench.notes["loser"] = f"p50 {ours:.2f} ms; the package {theirs:.1f} ms"
