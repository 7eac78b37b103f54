"""Ports for servers of tests. Each worker of pytest has its own, below those that connections get by themselves, and takes them
in turn: a port that was given out and is not bound yet is nobody else's meanwhile."""

import itertools
import os
import socket

FIRST, END = 20000, 32768
WORKERS = 8
EACH = (END - FIRST) // WORKERS


def _ports():
    """Processes that are no workers share the last part; each begins in a place of its own, so that two runs can go at once."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")[2:]
    part = int(worker) % (WORKERS - 1) if worker.isdigit() else WORKERS - 1
    return (FIRST + part * EACH + (os.getpid() * 16 + number) % EACH for number in itertools.count())


_next = _ports()


def free_port():
    for port in _next:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")
