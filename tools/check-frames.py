#!/usr/bin/env python3
"""The frames between the processes carry a version. Who changes a frame raises HF_IPC_VERSION and
records the new schema with `tools/check-frames.py --record`; this check fails until both is done."""

import glob
import hashlib
import re
import sys

# Whatever a frame is made of.
SOURCES = sorted(glob.glob("src/ipc/ipc*.h")) + ["src/eth/eth.h", "src/eth1/eth1.h", "src/eth1/eth1_typed.h", "src/protect/protect.h",
                                                 "src/auth/auth.h", "src/seal/seal.h", "include/holdfast/duty.h"]
RECORD = "tools/frames.txt"


def schema():
    """(HF_IPC_VERSION, digest of every struct, union, enum and constant), blind to comments and spaces."""
    text = ""
    for path in SOURCES:
        with open(path, encoding="utf-8") as source:
            text += re.sub(r"/\*.*?\*/", " ", source.read(), flags=re.S)
    version = re.search(r"#define HF_IPC_VERSION (\d+)", text).group(1)
    parts = re.findall(r"typedef (?:struct|union|enum)[^{;]*\{.*?\n\} \w+;", text, re.S)
    parts += re.findall(r"^#define HF_\w+ +\S.*$", text, re.M)
    digest = hashlib.sha256(" ".join(" ".join(parts).split()).encode()).hexdigest()[:32]
    return version, digest


def main(arguments):
    version, digest = schema()
    if "--record" in arguments:
        with open(RECORD, "w", encoding="ascii") as out:
            out.write(f"{version} {digest}\n")
        return 0
    with open(RECORD, encoding="ascii") as record:
        known_version, known_digest = record.read().split()
    if (version, digest) == (known_version, known_digest):
        return 0
    if version == known_version:
        print(f"the frames changed and HF_IPC_VERSION is still {version}: raise it (unless it is not released yet),\n"
              "then run tools/check-frames.py --record")
    else:
        print(f"HF_IPC_VERSION is {version}, on record is {known_version}: run tools/check-frames.py --record")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
