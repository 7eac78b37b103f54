"""A small Debian of its own that boots its systemd: namespaces, a private network, and a cgroup below this machine's.

Not systemd-nspawn, which wants a systemd outside, too. What the machine shares with all others is out of reach: its clock,
its modules, /proc/sys and /sys are read-only, no interface but lo.
"""

import ctypes
import os
import shutil
import subprocess
import time

PATIENCE = 120
CLONE_NEWNET = 0x40000000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TAKEN = "sys_time,sys_module,sys_rawio,syslog,wake_alarm,block_suspend,mac_admin,mac_override"

BOOT = """
root=$1
mount --bind "$root" "$root"
mount -t proc -o nosuid,noexec,nodev proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"; mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro,nosuid,noexec,nodev sysfs "$root/sys"
mount -t cgroup2 -o nosuid,noexec,nodev cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    numbers=${device#*:}; mknod -m 666 "$root/dev/${device%%:*}" c "${numbers%:*}" "${numbers#*:}"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"; ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
hostname proof
cd "$root"; mkdir -p .old; pivot_root . .old
exec setpriv --bounding-set=$2 --inh-caps=-all sh -euc '
    umount -l /.old
    mount --make-rshared / # as systemd-nspawn does: mounts of PID 1 have to reach its services
    exec env -i container=proof PATH="$1" /lib/systemd/systemd --show-status=no' boot "$3"
"""


def do(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=900, check=False, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def mirror_and_suite():
    """Where this machine has its own Debian from, so that the package fits."""
    with open("/etc/os-release", encoding="utf-8") as text:
        suite = dict(line.rstrip().split("=", 1) for line in text if "=" in line)["VERSION_CODENAME"]
    rows = do("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages").split("\n")
    found = [row.split()[0] for row in rows if row.split()[1:] == [suite]]
    if not found:
        raise RuntimeError(f"apt knows no mirror of {suite} on this machine")
    return found[0], suite


class Machine:
    def __init__(self, folder):
        self.root = folder
        self.process = self.pid = None
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            cgroup2 = next(line.split()[4] for line in mounts if " - cgroup2 " in line)
        self.cgroup = os.path.join(cgroup2, f"holdfast-proof-{os.getpid()}")

    def install(self, packages, base):
        """Unpacks a Debian; base: a folder that has one from an earlier time, or will keep it for a later one."""
        if not os.path.exists(os.path.join(base, "lib", "systemd", "systemd")):
            mirror, suite = mirror_and_suite()
            do("debootstrap", "--variant=minbase", f"--include={','.join(packages)}", suite, base, mirror)
        if base != self.root:
            do("cp", "-a", base, self.root)

    def download(self, package):
        """What a package needs, while there is a network."""
        name = os.path.basename(package)
        shutil.copy(package, os.path.join(self.root, "root", name))
        do("chroot", self.root, "sh", "-euc", f"apt-get update; apt-get -y --no-install-recommends --download-only install /root/{name}")
        return f"/root/{name}"

    def boot(self):
        os.mkdir(self.cgroup)
        enter = f"echo $$ >{self.cgroup}/cgroup.procs; exec unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child " \
                "--propagation private sh -euc \"$@\""
        taken = ",".join(f"-{name}" for name in TAKEN.split(","))
        with open(os.path.join(self.root, "console"), "w", encoding="utf-8") as console:
            self.process = subprocess.Popen(["sh", "-euc", enter, "enter", BOOT, "boot", self.root, taken, PATH],
                                            stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        self.wait_until("its first process", self.find_first)
        self.wait_until("the system is up", lambda: self.run("systemctl is-system-running").stdout.strip() in ("running", "degraded"))
        # From here on this program itself is in that network.
        with open(f"/proc/{self.pid}/ns/net", encoding="ascii") as net:
            if ctypes.CDLL(None, use_errno=True).setns(net.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    def find_first(self):
        if self.process.poll() is not None:
            raise RuntimeError("the machine did not boot:\n" + self.console())
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as text:
            self.pid = next(iter(map(int, text.read().split())), None)
        return self.pid is not None and os.readlink(f"/proc/{self.pid}/exe").endswith("/systemd")

    def console(self):
        with open(os.path.join(self.root, "console"), encoding="utf-8", errors="replace") as text:
            return text.read()[-4000:]

    def run(self, script, timeout=PATIENCE):
        """Runs a script as root in the machine; the finished process."""
        return subprocess.run(["nsenter", "-t", str(self.pid), "-m", "-p", "-u", "-i", "-n", "-C", "-r", "-w", "env", "-i", f"PATH={PATH}",
                               "LC_ALL=C", "SYSTEMD_PAGER=", "DEBIAN_FRONTEND=noninteractive", "sh", "-uc", script],
                              capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL)

    def must(self, script):
        """The same, which has to succeed; its output."""
        done = self.run("set -e\n" + script)
        if done.returncode != 0:
            raise RuntimeError(f"{script}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def wait_until(self, what, condition):
        until = time.monotonic() + PATIENCE
        while True:
            try:
                if condition():
                    return
            except OSError:
                pass
            if time.monotonic() > until:
                raise RuntimeError(f"not within {PATIENCE} s: {what}\n{self.console()}")
            time.sleep(0.1)

    def stop(self):
        if self.process is not None:
            self.process.kill()  # --kill-child: and all of the machine with it
            self.process.wait()
            self.wait_until("its processes are gone", lambda: not os.path.exists(f"/proc/{self.pid}"))
        if os.path.isdir(self.cgroup):
            for folder, _, _ in os.walk(self.cgroup, topdown=False):
                os.rmdir(folder)
