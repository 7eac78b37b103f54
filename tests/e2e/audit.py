"""Reading an audit log, for tests: its files in order, its lines, and whether it holds."""

import glob
import json
import os

import harness


def files(data_dir):
    """Oldest first: by the number of their first line."""
    found = []
    for path in glob.glob(os.path.join(data_dir, "audit.log*")):
        if path.endswith((".journal", ".next")):
            continue
        try:
            with open(path, encoding="ascii") as text:
                first = text.readline()
        except FileNotFoundError:  # renamed just now
            continue
        if first.startswith('{"seq":'):
            found.append((json.loads(first)["seq"], path))
    return [path for _, path in sorted(found)]


def lines(data_dir):
    """Every whole line of every file, as objects."""
    found = []
    for path in files(data_dir):
        with open(path, encoding="ascii") as text:
            found += [json.loads(line) for line in text if line.endswith("\n")]
    return found


def verify(data_dir, *options, paths=None):
    return harness.run("audit", "verify", "--data-dir", data_dir, *options, *(paths or files(data_dir)))


def assert_holds(data_dir):
    done = verify(data_dir)
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("head ")[2].strip()


def of_kind(data_dir, kind):
    return [line for line in lines(data_dir) if line["kind"] == kind]


def assert_has_all(data_dir, messages):
    """Every message that a client holds a signature of was written down before."""
    assert_holds(data_dir)
    asked = {(line["key"], line["root"]) for line in lines(data_dir) if line["kind"] == "request"}
    for message in messages:
        named = ("0x" + message.pubkey.hex(), "0x" + message.root.hex())
        assert named in asked, f"signed, and not in the audit log: {message}"
