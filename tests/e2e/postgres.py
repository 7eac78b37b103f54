"""A private PostgreSQL for a test: its own folder, port and superuser, gone when the test ends.

    reason = postgres.missing()            # None, or why there is none on this machine
    with postgres.Postgres() as server:
        server.url()                       # postgresql://holdfast:...@127.0.0.1:PORT/holdfast
        server.psql("SELECT 1")            # as superuser, text of the answer
        server.create_database("other")
        server.kill(); server.start()      # kill -9 of all its processes, and recovery
        server.stop(); server.restart()    # in good order
    with server.standby() as other:        # a hot standby; server.synchronous("on") makes commits wait for it
        other.promote()

fsync is on unless told otherwise. As root the server runs as postgres (or nobody), since it refuses root.
`postgres.py run COMMAND...` starts one, sets HF_TEST_POSTGRES_URL and runs the command; 77 (skipped) when there is none.
HF_TEST_POSTGRES_FSYNC=off is for tests that no power cut concerns.
"""

import ctypes
import glob
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from ports import free_port

PR_SET_PDEATHSIG = 1
START_SECONDS = 60
STOP_SECONDS = 60
SKIPPED = 77
USER = "holdfast"
PASSWORD = "a-password-for-tests"


def bin_folder():
    """The newest installed version's programs, or None."""
    folders = [f for f in glob.glob("/usr/lib/postgresql/*/bin") if os.access(os.path.join(f, "postgres"), os.X_OK)]
    return max(folders, key=lambda f: int(re.sub(r"\D", "", f.split("/")[-2]) or 0), default=None)


def missing():
    """Why no server can be started here, or None."""
    if bin_folder() is None:
        return "PostgreSQL is not installed (apt-get install postgresql)"
    if os.geteuid() == 0 and unprivileged() is None:
        return "PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody"
    return None


def unprivileged():
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


def end_with_parent():
    """An immediate shutdown of the whole server when the test dies, however it dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


class Postgres:
    def __init__(self, fsync=True, settings=None, port=None):
        self.bin = bin_folder()
        self.fsync = fsync
        self.settings = dict(settings or {})
        self.port = port or free_port()
        self.process = None
        self.environment = {}  # of the server, from its next start on
        self.folder = tempfile.mkdtemp(prefix="hf-postgres-", dir="/tmp" if os.access("/tmp", os.W_OK) else None)
        self.data = os.path.join(self.folder, "data")
        self.log_path = os.path.join(self.folder, "log")
        self.as_user = {}
        if os.geteuid() == 0:
            account = unprivileged()
            self.as_user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._initialise()

    def _run(self, *arguments, **options):
        return subprocess.run([os.path.join(self.bin, arguments[0]), *arguments[1:]], check=True, capture_output=True, text=True,
                              cwd=self.folder, **self.as_user, **options)

    def _initialise(self):
        password_path = os.path.join(self.folder, "password")
        with open(password_path, "w", encoding="utf-8") as out:
            out.write(PASSWORD)
        os.chmod(password_path, 0o644)
        self._run("initdb", "-D", self.data, "-U", "postgres", "--pwfile", password_path, "-A", "scram-sha-256", "--auth-local",
                  "trust", "-E", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
        self.start()
        self.psql(f"CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{PASSWORD}'")
        self.create_database("holdfast")

    # ---- life

    def start(self):
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder,
                    "fsync": "on" if self.fsync else "off", "max_connections": 120, "shared_buffers": "64MB",
                    "log_min_messages": "warning", "logging_collector": "off", **self.settings}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([os.path.join(self.bin, "postgres"), "-D", self.data, *arguments], cwd=self.folder,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=end_with_parent,
                                            start_new_session=True, env={**os.environ, **self.environment}, **self.as_user)
        until = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log()}")
            time.sleep(0.02)
        return self

    def is_ready(self):
        probe = subprocess.run([os.path.join(self.bin, "pg_isready"), "-q", "-h", self.folder, "-p", str(self.port)], check=False)
        return probe.returncode == 0

    def stop(self, how=signal.SIGINT):
        """SIGINT: connections are cut and all is written; SIGTERM waits for clients to leave."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(STOP_SECONDS)
            self.process = None

    def restart(self):
        self.stop()
        return self.start()

    def kill(self):
        """kill -9 of every process of the server, as in a power cut of its machine."""
        pids = self.pids()
        for pid in pids:
            self._signal(pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)
        self.process = None
        until = time.monotonic() + STOP_SECONDS
        while any(os.path.exists(f"/proc/{pid}") for pid in pids) and time.monotonic() < until:
            time.sleep(0.01)

    def freeze(self):
        """SIGSTOP of every process: connections stay open and nobody answers. thaw() ends it."""
        for pid in self.pids():
            self._signal(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in self.pids():
            self._signal(pid, signal.SIGCONT)

    @staticmethod
    def _signal(pid, number):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    def pids(self):
        """The postmaster first, then its children."""
        own = self.process.pid
        with open(f"/proc/{own}/task/{own}/children", encoding="ascii") as children:
            return [own, *map(int, children.read().split())]

    def close(self):
        if self.process is not None:
            self.thaw()
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- use

    def url(self, database="holdfast", user=USER, password=PASSWORD, port=None, **options):
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://{user}:{password}@127.0.0.1:{port or self.port}/{database}" + (f"?{query}" if query else "")

    def psql(self, sql, database="postgres"):
        """Runs statements as superuser; returns unaligned text, one line a row."""
        done = subprocess.run([os.path.join(self.bin, "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.folder,
                               "-p", str(self.port), "-U", "postgres", "-d", database], input=sql, capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise RuntimeError(f"psql: {done.stderr}")
        return done.stdout.strip()

    # ---- a standby

    def standby(self):
        """Another server that follows this one by streaming."""
        return Standby(self)

    def synchronous(self, level):
        """No commit is answered before the standby has it, as synchronous_commit says."""
        self.psql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.psql(f"ALTER SYSTEM SET synchronous_commit = '{level}'")
        self.psql("SELECT pg_reload_conf()")
        until = time.monotonic() + START_SECONDS
        while self.psql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != "1":
            if time.monotonic() > until:
                raise RuntimeError(f"no standby follows:\n{self.log()}")
            time.sleep(0.02)

    def create_database(self, name, owner=USER):
        self.psql(f'CREATE DATABASE "{name}" OWNER {owner}')
        return self.url(name)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as text:
            return text.read()


class Standby(Postgres):
    """Made from a running server, by its superuser and its socket."""

    def __init__(self, primary):
        self.primary = primary
        super().__init__(primary.fsync, primary.settings)

    def _initialise(self):
        self._run("pg_basebackup", "-D", self.data, "-h", self.primary.folder, "-p", str(self.primary.port), "-U", "postgres",
                  "--write-recovery-conf", "--checkpoint", "fast", "--no-sync")
        self.start()

    def promote(self):
        if self.psql("SELECT pg_promote(true, 60)") != "t":
            raise RuntimeError(f"the standby was not promoted:\n{self.log()}")


def main(arguments):
    if len(arguments) < 2 or arguments[0] != "run":
        print("usage: postgres.py run COMMAND...", file=sys.stderr)
        return 2
    reason = missing()
    if reason is not None:
        print(f"skipped: {reason}", file=sys.stderr)
        return SKIPPED
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with Postgres(fsync=os.environ.get("HF_TEST_POSTGRES_FSYNC", "on") == "on") as server:
        environment = {**os.environ, "HF_TEST_POSTGRES_URL": server.url(user="postgres"), "HF_TEST_POSTGRES_PID": str(server.process.pid)}
        status = subprocess.run(arguments[1:], env=environment, check=False).returncode
        if status < 0:
            print(f"ended by signal {-status}", file=sys.stderr)
        return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
