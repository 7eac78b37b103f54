"""Measures a real signer against what the machine gives without it: `bench.py BUILD [--smoke] [ROW...]`.

Rates are signatures per CPU second: of all processes of the signer on one side, of a plain loop of
blst on as many threads as there are cores on the other. A shared machine changes its speed within
seconds, so the two take turns of a second or two; each turn of the signer is compared with the mean of
the loops before and after it, and the row is the median of those ratios. Wall-clock ratios stand beside.
"""

import http.client
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import custody
import eth1
import pkcs11
import sealed
import shared
import vault_keys
import watch

TICKS = os.sysconf("SC_CLK_TCK")
CORES = len(os.sched_getaffinity(0))
START_TIMEOUT = 120
LOCAL_ROWS = ["distinct", "shared", "idle", "burst", "memory"]
ROWS = LOCAL_ROWS + ["scrypt"] + watch.ROWS + eth1.ROWS + pkcs11.ROWS + custody.ROWS + vault_keys.ROWS + sealed.ROWS + shared.ROWS
FIRST_EPOCH = 400000  # a few years into mainnet

FULL = {"turns": 9, "seconds": 1.5, "loop_seconds": 1, "keys": 10000, "voters": 1000, "connections": 128, "burst": 313,
        "bursts": 32, "burst_pause_ms": 400, "idle_rounds": 300, "idle_pause_ms": 15, "scrypt_keys": 24,
        "scrypt_cost": 262144, "scrypt_seconds": 6, "duty_turns": 3, "duty_seconds": 4, "loser_rounds": 100}
SMOKE = {"turns": 1, "seconds": 0.2, "loop_seconds": 1, "keys": 64, "voters": 32, "connections": 16, "burst": 16, "bursts": 2,
         "burst_pause_ms": 10, "idle_rounds": 5, "idle_pause_ms": 2, "scrypt_keys": 2, "scrypt_cost": 1024,
         "scrypt_seconds": 1, "duty_turns": 1, "duty_seconds": 1, "loser_rounds": 3}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_json(command):
    """Runs a tool that prints one JSON object."""
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


class Signer:
    """A `holdfast serve` of its own, on a folder of keystores."""

    def __init__(self, build, work, keystores, more_settings=""):
        self.port, self.metrics_port = free_port(), free_port()
        config = os.path.join(work, "holdfast.yaml")
        data = os.path.join(work, "data")
        os.mkdir(data, 0o700)
        with open(config, "w", encoding="utf-8") as out:
            out.write(f"""data_dir: {data}
network: mainnet
server: {{listen_address: 127.0.0.1, listen_port: {self.port}}}
metrics: {{listen_address: 127.0.0.1, listen_port: {self.metrics_port}}}
signing_keys:
  - {{backend: local-keystore, keystore_dir: {keystores}, password_file: {keystores}.password}}
{more_settings}""")
        self.log = open(os.path.join(work, "signer.log"), "w+", encoding="utf-8", errors="replace")
        self.started = time.monotonic()
        self.process = subprocess.Popen([os.path.join(build, "holdfast"), "serve", "-c", config],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def get(self, port, path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def keys_loaded(self):
        try:
            lines = self.get(self.metrics_port, "/metrics").splitlines()
        except (OSError, http.client.HTTPException):
            return 0
        return int(sum(float(line.split()[-1]) for line in lines if line.startswith("holdfast_keys_loaded{")))

    def wait_for_keys(self, count, pause=0.02):
        """Seconds from the start of the program until all keys were loaded."""
        while self.keys_loaded() < count:
            if self.process.poll() is not None or time.monotonic() - self.started > START_TIMEOUT:
                self.stop()
                sys.exit(f"the signer has not loaded {count} keys:\n{self.read_log()}")
            time.sleep(pause)
        return time.monotonic() - self.started

    def read_log(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8", errors="replace") as text:
            return text.read()[-4000:]

    def processes(self):
        """{pid: fields of /proc/PID/stat behind the name} of the supervisor and all below it."""
        stats = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as stat:
                        stats[int(name)] = stat.read().rpartition(")")[2].split()
                except OSError:
                    pass
        ours = {self.process.pid}
        while True:
            below = {pid for pid, fields in stats.items() if int(fields[1]) in ours} - ours
            if not below:
                return {pid: stats[pid] for pid in ours if pid in stats}
            ours |= below

    def cpu_seconds(self):
        """{program: utime + stime, and the same of its children that have ended}, of all processes."""
        used = {}
        for pid, fields in self.processes().items():
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as comm:
                    name = comm.read().strip()
            except OSError:
                continue
            used[name] = used.get(name, 0) + sum(int(n) for n in fields[11:15]) / TICKS
        return used

    def memory_mib(self):
        """(MiB, "PSS"), or the sum of the resident sets, an upper bound, where PSS is not to be read."""
        try:
            total = 0
            for pid in self.processes():
                with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
                    total += next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
            return total / 1024, "PSS"
        except PermissionError:
            pages = sum(int(fields[21]) for fields in self.processes().values())
            return pages * os.sysconf("SC_PAGE_SIZE") / 1048576, "RSS, an upper bound: PSS needs root here"

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.flush()


class Bench:
    def __init__(self, build, size, work):
        self.build, self.size, self.work = build, size, work
        self.next_epoch = FIRST_EPOCH
        self.rows = []
        self.notes = {}

    def tool(self, name):
        return os.path.join(self.build, "bench", name)

    def make_keys(self, folder, first, count, kdf, cost):
        """Keystores by as many processes as there are cores."""
        path = os.path.join(self.work, folder)
        os.mkdir(path, 0o700)
        with open(f"{path}.password", "w", encoding="ascii") as out:
            out.write("benchmark")
        os.chmod(f"{path}.password", 0o600)
        parts = [(first + count * i // CORES, count * (i + 1) // CORES - count * i // CORES) for i in range(CORES)]
        running = [subprocess.Popen([self.tool("bench_keys"), path, str(start), str(n), kdf, str(cost),
                                     f"{path}.password"]) for start, n in parts if n]
        if any([process.wait() for process in running]):
            sys.exit("bench_keys failed")
        return path

    def loop(self):
        result = run_json([self.tool("bench_loop"), "sign", str(self.size["loop_seconds"]), str(CORES)])
        return (result["signatures"] / result["cpu_seconds"], result["signatures"] / result["wall_seconds"])

    def load(self, signer, mode, environment=None, **arguments):
        """Runs the generator; returns its result with the signer's CPU seconds of the timed part."""
        arguments.setdefault("first_target", self.next_epoch)
        command = [self.tool("bench_load"), mode, f"port={signer.port}"]
        command += [f"{name}={value}" for name, value in arguments.items()]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   env={**os.environ, **(environment or {})})
        if process.stdout.readline().strip() != "ready":
            sys.exit(f"the load generator did not start; the signer says:\n{signer.read_log()}")
        before = signer.cpu_seconds()
        process.stdin.write("go\n")
        process.stdin.flush()
        output = process.stdout.read()
        after = signer.cpu_seconds()
        if process.wait() != 0:
            sys.exit(f"not every answer was a good signature: {output}\n{signer.read_log()}")
        result = json.loads(output)
        result["cpu_seconds_by_program"] = {name: round(after[name] - before.get(name, 0), 2) for name in after}
        result["signer_cpu_seconds"] = sum(after.values()) - sum(before.values())
        # Every key's next vote lies beyond all that were given.
        self.next_epoch += result["requests"] // max(1, int(arguments.get("keys", 1))) + 2
        return result

    def row(self, name, value, target, at_least, unit="", wall=None, **details):
        met = value >= target if at_least else value <= target
        self.rows.append({"measure": name, "value": value, "target": target, "unit": unit,
                          "direction": "at least" if at_least else "at most", "met": met, "wall_ratio": wall,
                          "details": details})

    def row_rate(self, signer, name, target, shared, connections=None):
        connections = connections or self.size["connections"]
        loops = [self.loop()]
        turns = []
        for _ in range(self.size["turns"]):
            count = int(self.size["seconds"] * loops[-1][1] * (1.6 if shared else 0.8)) + connections
            turns.append(self.load(signer, "run", keys=self.size["voters"], shared=int(shared), count=count,
                                   connections=connections))
            loops.append(self.loop())

        def median_ratio(rate, which):
            return statistics.median(rate(turn) / ((before[which] + after[which]) / 2)
                                     for turn, before, after in zip(turns, loops, loops[1:]))

        def cpu_rate(turn):
            return turn["signed"] / max(turn["signer_cpu_seconds"], 1 / TICKS)

        def wall_rate(turn):
            return turn["signed"] / turn["wall_seconds"]

        signed = sum(turn["signed"] for turn in turns)
        used = {program: sum(turn["cpu_seconds_by_program"][program] for turn in turns)
                for program in turns[0]["cpu_seconds_by_program"]}
        self.notes[name] = (
            f"{statistics.median(map(wall_rate, turns)):.0f} a second; microseconds of CPU a signature: "
            + ", ".join(f"{program} {seconds / signed * 1e6:.0f}" for program, seconds in sorted(used.items()))
            + f"; loop {1e6 / statistics.median(cpu for cpu, _ in loops):.0f}")
        self.row(name, median_ratio(cpu_rate, 0), target, True, wall=median_ratio(wall_rate, 1),
                 loops_per_cpu_second=[cpu for cpu, _ in loops], loops_per_second=[wall for _, wall in loops],
                 turns=turns)

    def row_idle(self, signer):
        result = self.load(signer, "idle", keys=1, rounds=self.size["idle_rounds"], pause_ms=self.size["idle_pause_ms"],
                           probe=os.path.join(self.work, "data", "probe"))
        os.unlink(os.path.join(self.work, "data", "probe"))
        ratio = result["request_ms_p50"] / result["reference_ms_p50"]
        self.row("p50 of one request, idle signer / (signature + fdatasync)", ratio, 1.25, False, wall=ratio, **result)

    def row_burst(self, signer):
        worst = None
        for shared in (0, 1):
            result = self.load(signer, "burst", keys=self.size["keys"], shared=shared, size=self.size["burst"],
                               rounds=self.size["bursts"], pause_ms=self.size["burst_pause_ms"])
            result["roots"] = "one shared root a burst" if shared else "distinct roots"
            self.notes[f"burst, {result['roots']}"] = (
                f"p50 {result['p50_ms']:.1f} ms, p99 {result['p99_ms']:.1f} ms, most {result['max_ms']:.1f} ms")
            if worst is None or result["p99_ms"] > worst["p99_ms"]:
                worst = result
        self.row(f"p99 of a burst of {self.size['burst']} ({worst['roots']})", worst["p99_ms"], 150, False, "ms", **worst)

    def row_scrypt(self):
        keys = self.make_keys("scrypt", 1 << 32, self.size["scrypt_keys"], "scrypt", self.size["scrypt_cost"])
        before = run_json([self.tool("bench_loop"), "scrypt", str(self.size["scrypt_seconds"])])
        work = os.path.join(self.work, "scrypt-signer")
        os.mkdir(work, 0o700)
        signer = Signer(self.build, work, keys)
        try:
            seconds = signer.wait_for_keys(self.size["scrypt_keys"])
        finally:
            signer.stop()
        after = run_json([self.tool("bench_loop"), "scrypt", str(self.size["scrypt_seconds"])])
        one_core = (before["derivations"] + after["derivations"]) / (before["wall_seconds"] + after["wall_seconds"])
        rate = self.size["scrypt_keys"] / seconds
        self.row("scrypt keystores loaded per second / one core's scrypt x cores", rate / (one_core * CORES), 0.9, True,
                 wall=rate / (one_core * CORES), keystores=self.size["scrypt_keys"], seconds_from_start=seconds,
                 keystores_per_second=rate, one_core_scrypt_per_second=one_core, cores=CORES)

    def measure(self, wanted):
        if set(wanted) & set(LOCAL_ROWS):
            self.measure_local(wanted)
        if "scrypt" in wanted:
            self.row_scrypt()
        if set(wanted) & set(custody.ROWS):
            custody.measure(self, Signer)
        if set(wanted) & set(watch.ROWS):
            self.measure_watching()
        if set(wanted) & set(eth1.ROWS):
            self.measure_eth1()
        if set(wanted) & set(pkcs11.ROWS):
            pkcs11.measure(self, Signer)
        if set(wanted) & set(vault_keys.ROWS):
            self.measure_secrets()
        if set(wanted) & set(sealed.ROWS):
            self.measure_sealed()
        if set(wanted) & set(shared.ROWS):
            self.measure_shared(wanted)

    def measure_watching(self):
        rows = watch.WatchRows(self, Signer)
        try:
            rows.measure()
        finally:
            rows.close()

    def measure_eth1(self):
        rows = eth1.Eth1Rows(self, Signer)
        try:
            rows.measure()
        finally:
            rows.close()

    def measure_secrets(self):
        rows = vault_keys.SecretRows(self, Signer)
        try:
            rows.measure()
        finally:
            rows.close()

    def measure_sealed(self):
        rows = sealed.SealedRows(self, Signer)
        try:
            rows.measure()
        finally:
            rows.close()

    def measure_shared(self, wanted):
        rows = None
        try:
            rows = shared.SharedRows(self, Signer)
            rows.measure(wanted)
        except shared.Unavailable as why:
            self.notes["not measured, of " + ", ".join(name for name in wanted if name in shared.ROWS)] = str(why)
        finally:
            if rows is not None:
                rows.close()

    def measure_local(self, wanted):
        keys = self.make_keys("keys", 0, self.size["keys"], "pbkdf2", 1)
        # The row "watch" tells what the audit costs; these tell what signing does.
        signer = Signer(self.build, self.work, keys, watch.OFF)
        self.notes["audit"] = "off, except in the rows of tokens and strict audit"
        try:
            seconds = signer.wait_for_keys(self.size["keys"])
            self.notes["start with all keys"] = f"{self.size['keys']} keystores (pbkdf2, c=1) in {seconds:.2f} s"
            time.sleep(1)
            at_rest, kind = signer.memory_mib()
            self.load(signer, "run", keys=self.size["voters"], count=self.size["voters"] * 2,
                      connections=self.size["connections"])
            if "distinct" in wanted:
                self.row_rate(signer, "signatures, distinct attestations / blst loop", 0.90, shared=False)
            if "shared" in wanted:
                self.row_rate(signer, f"signatures, {self.size['voters']} keys on one attestation / blst loop", 1.6,
                              shared=True)
            if "idle" in wanted:
                self.row_idle(signer)
            if "burst" in wanted:
                self.row_burst(signer)
            if "memory" in wanted:
                after, _ = signer.memory_mib()
                self.row(f"memory of all processes, {self.size['keys']} keys ({kind})", max(at_rest, after), 64, False,
                         "MiB", after_loading_mib=at_rest, after_all_rows_mib=after,
                         processes=len(signer.processes()))
        finally:
            signer.stop()

    def print_table(self):
        print(f"\n{'measure':<74} {'measured':>12} {'must reach':>16}  {'met':<4} {'wall ratio':>10}")
        for row in self.rows:
            value = f"{row['value']:.3f} {row['unit']}".strip()
            target = f"{row['direction']} {row['target']:g} {row['unit']}".strip()
            wall = "" if row["wall_ratio"] is None else f"{row['wall_ratio']:.3f}"
            print(f"{row['measure']:<74} {value:>12} {target:>16}  {'yes' if row['met'] else 'NO':<4} {wall:>10}")
        for name, text in self.notes.items():
            print(f"  {name}: {text}")


def main(arguments):
    build = os.path.abspath(arguments[0])
    smoke = "--smoke" in arguments
    wanted = [name for name in arguments[1:] if name != "--smoke"] or ROWS
    if not set(wanted) <= set(ROWS):
        sys.exit(f"the rows are {' '.join(ROWS)}")
    if not os.path.exists(os.path.join(build, "holdfast")):
        sys.exit(f"{build}/holdfast is not built: run make")
    # On the disk of the build, not on a /tmp that may be memory: commits have to cost what they cost.
    work = tempfile.mkdtemp(prefix="bench-", dir=build)
    try:
        bench = Bench(build, SMOKE if smoke else FULL, work)
        load = os.getloadavg()[0]
        print(f"{platform.processor() or platform.machine()}, {CORES} cores, load before the run {load:.2f}"
              + ("; smoke run: the figures mean nothing" if smoke else ""))
        bench.measure(wanted)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    bench.print_table()
    if not smoke:
        result = os.path.join(build, "bench.json")
        with open(result, "w", encoding="utf-8") as out:
            json.dump({"cores": CORES, "load_before": load, "rows": bench.rows, "notes": bench.notes}, out, indent=1)
        print(f"  {os.path.relpath(result)} has every figure")


if __name__ == "__main__":
    main(sys.argv[1:])
