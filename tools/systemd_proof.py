"""What the unit and the package promise, seen under a systemd that runs them: systemd-proof.sh PACKAGE."""

import http.client
import json
import os
import re
import shutil
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tests", "e2e"), os.path.join(ROOT, "tools")]

import harness  # noqa: E402
import systemd_machine  # noqa: E402

PACKAGES = ("systemd", "systemd-sysv", "dbus", "libpam-systemd")
SCORE_BELOW = 1.5
STOP_SECONDS = 15
SIGNED, REFUSED = 200, 412
# Nobody is there to ask which configuration to keep; the default is the operator's.
INSTALL = "apt-get install -y --allow-downgrades --no-install-recommends -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
CONFIG = "/etc/holdfast/holdfast.yaml"
DATA = "/var/lib/holdfast"
DROP_IN = "/run/systemd/system/holdfast.service.d"
# What the unit leaves to be written in, and from where programs run.
WRITABLE = {"/dev/hugepages", "/dev/mqueue", "/dev/pts", "/dev/shm", "/proc", "/run", "/run/holdfast", "/run/lock", "/tmp", "/var/tmp", DATA}
EXECUTABLE = {"/usr", "/dev/pts", "/dev/hugepages", "/run/systemd/incoming"}
SETTINGS = """
data_dir: /var/lib/holdfast
network: mainnet
signing_keys:
  - backend: local-keystore
    keystore_dir: /etc/holdfast/keystores
    password_file: /run/credentials/holdfast.service/keystore-password
audit: {sinks: journald syslog}
"""


class Proof:
    def __init__(self, machine, folder):
        self.machine, self.folder = machine, folder
        self.keys = harness.make_keystores(os.path.join(folder, "keys"), 3)
        self.deb = None
        self.vote = 400000  # of the last attestation that was signed

    # ---- asking

    def show(self, name):
        return self.machine.must(f"systemctl show -P {name} holdfast")

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", 9000, timeout=15)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()

    def sign(self, target, mark=0):
        return self.ask("POST", f"/api/v1/eth2/sign/{self.keys[0]}", harness.attestation(target - 1, target, mark))

    def wait_signing(self):
        self.machine.wait_until("it can sign", lambda: self.ask("GET", "/healthcheck") == SIGNED)

    def goes_on(self):
        """It signs, and still knows what it signed before."""
        self.wait_signing()
        assert self.sign(self.vote, mark=1) == REFUSED, "it forgot what it had signed"
        self.vote += 1
        assert self.sign(self.vote) == SIGNED

    def wait_restarted(self, pid):
        self.machine.wait_until("it is started again", lambda: self.show("MainPID") not in ("0", pid) and
                                self.show("ActiveState") == "active")

    def doctor(self):
        rows = json.loads(self.machine.run(f"holdfast doctor -c {CONFIG} --json").stdout)["rows"]
        return {state: {row["check"]: row["finding"] for row in rows if row["state"] == state} for state in ("OK", "WARN", "FAIL")}

    def journal(self, options):
        return self.machine.must(f"journalctl --no-pager -o cat {options}")

    # ---- the steps, in their order

    def package_installs_and_starts_nothing(self):
        self.machine.must(f"{INSTALL} {self.deb}")
        told = self.machine.must(f"stat -c '%n %a %U:%G' /etc/holdfast {CONFIG} {DATA}; getent passwd holdfast").split("\n")
        assert told[:3] == ["/etc/holdfast 750 root:holdfast", f"{CONFIG} 640 root:holdfast", f"{DATA} 700 holdfast:holdfast"], told
        assert told[3].endswith(":/var/lib/holdfast:/usr/sbin/nologin"), told
        assert self.show("ActiveState") == "inactive" and self.show("UnitFileState") == "disabled"
        return told[3]

    def operators_configuration_starts(self):
        """Keys where the documents say, their password as a credential of systemd."""
        shutil.copytree(os.path.join(self.folder, "keys"), os.path.join(self.machine.root, "root", "keys"))
        shutil.copy(os.path.join(self.folder, "keys.password"), os.path.join(self.machine.root, "root", "password"))
        with open(os.path.join(self.machine.root, CONFIG[1:]), "w", encoding="utf-8") as text:
            text.write(SETTINGS)
        self.machine.must(f"""
            install -d -m 0750 -o root -g holdfast /etc/holdfast/keystores
            install -m 0440 -o root -g holdfast /root/keys/*-0.json /root/keys/*-1.json /etc/holdfast/keystores
            mkdir -p {DROP_IN}
            printf '[Service]\\nLoadCredential=keystore-password:/root/password\\nWatchdogSec=3\\n' >{DROP_IN}/proof.conf
            systemctl daemon-reload""")
        before = time.monotonic()
        self.machine.must("systemctl start holdfast")
        took = time.monotonic() - before
        assert self.show("ActiveState") == "active" and self.show("StatusText") != ""
        assert self.ask("GET", "/upcheck") == SIGNED, "ready means that the API answers"
        self.wait_signing()
        return f"ready after {took:.2f} s: {self.show('StatusText')}"

    def it_signs_and_refuses(self):
        assert self.sign(self.vote) == SIGNED and self.sign(self.vote, mark=1) == REFUSED

    def processes_are_confined(self):
        group = os.path.join(self.machine.cgroup, "system.slice", "holdfast.service", "cgroup.procs")
        with open(group, encoding="ascii") as text:
            pids = text.read().split()
        hard = {}
        for pid in pids:
            with open(f"/proc/{pid}/status", encoding="utf-8") as text:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in text if ":\t" in line)
            for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
                assert int(status[name], 16) == 0, (pid, name, status[name])
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), status
            assert "0" not in status["Uid"].split(), status["Uid"]
            with open(f"/proc/{pid}/limits", encoding="ascii") as text:
                hard = {line[:26].strip(): line[26:].split()[1] for line in text}
            assert hard["Max core file size"] == "0", hard
            assert os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user"), "PrivateUsers="
        names = sorted(open(f"/proc/{pid}/comm", encoding="utf-8").read().strip() for pid in pids)
        assert names == ["holdfast", "holdfast-front", "holdfast-front", "holdfast-keeper"], names
        return f"{len(pids)} processes, locked memory up to {hard['Max locked memory']} bytes"

    def only_its_own_folders_are_writable(self):
        main = self.show("MainPID")
        text = self.machine.must(f"cut -d' ' -f5,6 /proc/{main}/mountinfo")
        mounts = {place: options.split(",") for place, options in (line.split() for line in text.split("\n"))}
        writable = {place for place, options in mounts.items() if "ro" not in options}
        executable = {place for place, options in mounts.items() if "noexec" not in options}
        assert writable <= WRITABLE, writable - WRITABLE
        assert executable <= EXECUTABLE and not writable & executable - {"/dev/pts", "/dev/hugepages"}, executable
        for place in ("/etc/holdfast/x", "/usr/x", "/home/x", "/x"):  # not even for root, from where the signer is
            done = self.machine.run(f"nsenter -t {main} -m touch {place}")
            assert "Read-only file system" in done.stderr, (place, done.stderr)
        return ", ".join(sorted(writable))

    def exposure_is_low(self):
        answer = self.machine.must("systemd-analyze security holdfast")
        score = float(re.search(r"Overall exposure level for holdfast.service: ([\d.]+)", answer)[1])
        assert score < SCORE_BELOW, answer
        return str(score)

    def doctor_agrees(self):
        told = self.doctor()
        assert not told["FAIL"], told["FAIL"]
        for check in ("unit", "processes", "protections", "user", "memlock", "data-dir", "key-files", "password-files", "listeners", "core-dumps"):
            assert check in told["OK"], (check, told)
        return f"{len(told['OK'])} OK; WARN: {', '.join(sorted(told['WARN']))}"

    def journal_has_it(self):
        assert re.search(r"info +keeper keys_loaded: 2 keys", self.journal("-u holdfast -p info"))
        for transport in ("journal", "syslog"):
            lines = [json.loads(line) for line in self.journal(f"-t holdfast-audit _TRANSPORT={transport}").split("\n")]
            assert {"signed", "refused"} <= {line.get("decision") for line in lines}, (transport, lines[-3:])
        return f"{len(lines)} lines of the audit log"

    def reload_takes_new_keys(self):
        self.machine.must("install -m 0440 -o root -g holdfast /root/keys/*-2.json /etc/holdfast/keystores; systemctl reload holdfast")
        self.machine.wait_until("a third key", lambda: "3 keys are loaded" in self.journal("-u holdfast"))
        assert self.show("NRestarts") == "0"
        self.goes_on()

    def killed_keeper_comes_back(self):
        main, before = self.show("MainPID"), time.monotonic()
        self.machine.must("kill -9 $(grep -lx holdfast-keeper /proc/[0-9]*/comm | cut -d/ -f3)")
        self.wait_restarted(main)
        self.goes_on()
        assert "keeper_died" in self.journal("-u holdfast -p err"), "at a level that is looked for"
        return f"signs again after {time.monotonic() - before:.1f} s"

    def hanging_supervisor_is_replaced(self):
        main = self.show("MainPID")
        self.machine.must(f"kill -STOP {main}")
        self.wait_restarted(main)
        self.goes_on()
        assert "Watchdog timeout" in self.journal("-u holdfast")

    def wrong_configuration_is_not_tried_again(self):
        self.machine.must(f"cp -p {CONFIG} /root/good; echo 'nonsense: 1' >>{CONFIG}")
        done = self.machine.run("systemctl restart holdfast")
        assert done.returncode != 0 and self.show("ActiveState") == "failed" and self.show("ExecMainStatus") == "2"
        self.machine.must(f"cp -p /root/good {CONFIG}; systemctl start holdfast")
        self.goes_on()

    def stops_cleanly(self):
        before = time.monotonic()
        self.machine.must("systemctl stop holdfast")
        took = time.monotonic() - before
        assert took < STOP_SECONDS and self.show("Result") == "success" and self.show("ExecMainStatus") == "0"
        assert "every answer given is on record" in self.journal("-u holdfast -n 20")
        self.machine.must("systemctl start holdfast")
        self.goes_on()
        return f"{took:.2f} s"

    def upgrade_keeps_configuration_and_runs_on(self):
        """A later version with another example: what the operator wrote stays, what ran is started anew."""
        main = self.show("MainPID")
        self.machine.must(f"""
            cd /root; rm -rf later; dpkg-deb -R {self.deb} later
            sed -i 's/^Version: .*/&+later/' later/DEBIAN/control; echo '# of a later version' >>later/etc/holdfast/holdfast.yaml
            dpkg-deb --root-owner-group --build later later.deb
            {INSTALL} /root/later.deb""")
        assert self.show("MainPID") not in ("0", main), "the new program has to run"
        kept = self.machine.must(f"cat {CONFIG}; tail -1 {CONFIG}.dpkg-*; stat -c '%a %U:%G' {CONFIG}")
        assert "keystore_dir: /etc/holdfast/keystores" in kept and kept.endswith("# of a later version\n640 root:holdfast"), kept
        self.goes_on()

    def removal_keeps_keys_and_record(self):
        self.machine.must("systemctl enable holdfast; apt-get remove -y holdfast")
        left = self.machine.must(f"ls {DATA}/slashing.sqlite {DATA}/audit.log {CONFIG} /etc/holdfast/keystores/*.json")
        gone = self.machine.run("pidof holdfast; ls /usr/bin/holdfast /lib/systemd/system/holdfast.service; systemctl is-enabled holdfast")
        assert gone.stdout.strip() in ("", "not-found"), gone.stdout
        self.machine.must(f"{INSTALL} {self.deb}; systemctl start holdfast")
        self.goes_on()
        return f"left: {len(left.split())} files of keys, configuration and record; installed again, it knows what it signed"

    def purge_keeps_them_too(self):
        told = self.machine.must("apt-get purge -y holdfast 2>&1")
        assert "/var/lib/holdfast stays" in told, told
        left = self.machine.must(f"ls {DATA}/slashing.sqlite /etc/holdfast/keystores/*.json; getent passwd holdfast >/dev/null; ls /etc/holdfast")
        assert "holdfast.yaml" not in left, left
        assert not self.machine.run("systemctl list-units --all --plain --no-legend 'holdfast*'").stdout.strip()

    def steps(self):
        return (self.package_installs_and_starts_nothing, self.operators_configuration_starts, self.it_signs_and_refuses,
                self.processes_are_confined, self.only_its_own_folders_are_writable, self.exposure_is_low, self.doctor_agrees,
                self.journal_has_it, self.reload_takes_new_keys, self.killed_keeper_comes_back, self.hanging_supervisor_is_replaced,
                self.wrong_configuration_is_not_tried_again, self.stops_cleanly, self.upgrade_keeps_configuration_and_runs_on,
                self.removal_keeps_keys_and_record, self.purge_keeps_them_too)


def prove(machine, folder, base, package):
    print("a small Debian of its own (minutes, the first time)", flush=True)
    machine.install(PACKAGES, base)
    proof = Proof(machine, folder)
    proof.deb = machine.download(package)
    machine.boot()
    print(machine.must("systemctl --version").split("\n", 1)[0], flush=True)
    for step in proof.steps():
        name = step.__name__.replace("_", " ")
        try:
            told = step()
        except (AssertionError, RuntimeError, KeyError, IndexError, TypeError, ValueError) as what:
            print(f"FAIL {name}: {what!r}\n{machine.run('journalctl --no-pager -n 40').stdout}", flush=True)
            return 1
        print(f"ok   {name}{': ' + told if told else ''}", flush=True)
    return 0


def main():
    package = os.path.abspath(sys.argv[1])
    folder = tempfile.mkdtemp(prefix="holdfast-proof-", dir="/var/tmp")
    os.chmod(folder, 0o755)
    machine = systemd_machine.Machine(os.path.join(folder, "root"))
    try:
        return prove(machine, folder, os.environ.get("SYSTEMD_PROOF_ROOT", machine.root), package)
    finally:
        machine.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
