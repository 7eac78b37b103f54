"""Network namespaces of a test's own, with a switch between them whose links can be cut without a word.

    reason = netns.missing()                  # None, or why there are none here
    with netns.Switch(2) as switch:           # switch.address, and two places with an address each
        with switch.inside():                 # what is started, and threads made, here are there
            ...
        with switch.places[0].inside():
            ...
        switch.places[0].cut()                # packets are dropped both ways; nobody is told
        switch.places[0].cut_answers()        # only what comes from the switch's side is dropped
        switch.places[0].heal()

Nothing has a name outside: all is gone with the last process and descriptor.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess

CLONE_NEWNET = 0x40000000
NETWORK = "10.99.0"


def _call(function, *arguments):
    if function(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _current():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def inside(namespace):
    """This thread, and what it starts, is in the namespace of that descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = _current()
    try:
        _call(libc.setns, namespace, CLONE_NEWNET)
        try:
            yield
        finally:
            _call(libc.setns, here, CLONE_NEWNET)
    finally:
        os.close(here)


def new():
    """A descriptor of a new namespace; this thread stays where it is."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = _current()
    try:
        _call(libc.unshare, CLONE_NEWNET)
        made = _current()
        _call(libc.setns, here, CLONE_NEWNET)
        return made
    finally:
        os.close(here)


def missing():
    """Why there are no namespaces here, or None."""
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "ip and tc are not installed (apt-get install iproute2)"
    try:
        with Switch(1) as switch:
            switch.places[0].cut()
            switch.places[0].heal()
            switch.places[0].cut_answers()
    except OSError as refused:
        return f"no network namespaces of our own: {refused.strerror}"
    except subprocess.CalledProcessError as refused:
        return f"no network of our own: {' '.join(refused.cmd)}: {refused.stderr.strip()}"
    return None


def _run(*command):
    subprocess.run(command, check=True, capture_output=True, text=True)


class Place:
    """A namespace with one link, to the switch."""

    def __init__(self, switch, number):
        self.switch = switch
        self.namespace = new()
        self.port = f"port{number}"
        self.address = f"{NETWORK}.{10 + number}"
        with switch.inside():
            _run("ip", "link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns",
                 f"/proc/{os.getpid()}/fd/{self.namespace}")
            _run("ip", "link", "set", self.port, "master", "switch", "up")
        with self.inside():
            _run("ip", "link", "set", "lo", "up")
            _run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
            _run("ip", "link", "set", "eth0", "up")
            # Known for good: else the kernel would notice the cut and tell, which a cut further away does not.
            _run("ip", "neighbour", "add", switch.address, "lladdr", switch.hardware, "nud", "permanent", "dev", "eth0")

    def inside(self):
        return inside(self.namespace)

    def cut(self):
        with self.switch.inside():
            _run("ip", "link", "set", self.port, "nomaster")

    def cut_answers(self):
        """No packet fits into such a bucket."""
        with self.switch.inside():
            _run("tc", "qdisc", "add", "dev", self.port, "root", "tbf", "rate", "8bit", "burst", "1", "latency", "1ms")

    def heal(self):
        with self.switch.inside():
            _run("ip", "link", "set", self.port, "master", "switch")
            subprocess.run(["tc", "qdisc", "del", "dev", self.port, "root"], check=False, capture_output=True)

    def close(self):
        os.close(self.namespace)


class Switch:
    def __init__(self, places):
        self.namespace = new()
        self.address = f"{NETWORK}.1"
        self.hardware = "02:00:00:00:00:01"
        self.places = []
        try:
            with self.inside():
                _run("ip", "link", "set", "lo", "up")
                _run("ip", "link", "add", "switch", "type", "bridge")
                _run("ip", "link", "set", "switch", "address", self.hardware, "up")
                _run("ip", "address", "add", f"{self.address}/24", "dev", "switch")
            for number in range(places):
                self.places.append(Place(self, number))
        except BaseException:
            self.close()
            raise

    def inside(self):
        return inside(self.namespace)

    def close(self):
        for place in self.places:
            place.close()
        os.close(self.namespace)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
