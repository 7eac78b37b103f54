#!/usr/bin/env python3
"""Who may include whom. A folder of src/ may include the folders before it and nothing else, and
from outside a folder only the header named after it."""

import os
import re
import sys

# Low to high, the order of src/meson.build.
LAYERS = ["base", "crypto", "eth", "aztec", "eth1", "net", "protect", "duty", "interchange", "auth", "policy", "audit", "seal", "ipc", "harden", "custody", "store",
          "relay", "keeper", "front", "config", "supervisor", "cli"]

# Inclusions that the order would allow and the design does not: process boundaries.
FORBIDDEN = {
    "front": ["net", "duty", "custody", "store", "relay", "keeper"],  # the front holds no key and no rule
    "keeper": ["net", "duty", "interchange", "custody", "store", "relay"],  # the keeper parses no text and opens no connection
    "supervisor": ["front", "keeper", "store", "relay"],  # the supervisor starts them as programs
    "cli": ["front", "keeper", "store", "relay"],
}

# "src/a/file.c" -> headers of other folders beyond the public one, each with its reason.
EXCEPTIONS = {
    # The command line wraps keys by the same code that unwraps them in holdfast-hsm.
    "src/cli/key_wrap_aws.c": ["custody/aws_settings.h", "custody/awskms.h"],
    "src/cli/key_wrap_pkcs11.c": ["custody/wrapped_key.h"],
    # And names what it wrapped.
    "src/cli/key_offline.c": ["custody/awskms.h", "custody/wrapped_key.h"],
    # A module of PKCS#11 runs in a child of the command.
    "src/cli/custody_child.h": ["custody/hsm.h"],
    "src/cli/custody_child.c": ["custody/hsm_internal.h", "custody/pkcs11.h"],
}


def main():
    findings = []
    for folder in sorted(os.listdir("src")):
        path = f"src/{folder}"
        if not os.path.isdir(path):
            continue
        if folder not in LAYERS:
            findings.append(f"{path}: a folder that tools/check-layers.py does not know")
            continue
        for root, _, names in os.walk(path):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    findings += check_file(os.path.join(root, name), folder)
    print("\n".join(findings))
    return 1 if findings else 0


def check_file(path, folder):
    findings = []
    allowed = LAYERS[:LAYERS.index(folder)]
    with open(path, encoding="utf-8") as text:
        for number, line in enumerate(text, 1):
            match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
            if not match or match.group(1) in EXCEPTIONS.get(path, []):
                continue
            header = match.group(1)
            place = f"{path}:{number}"
            target, _, rest = header.partition("/")
            if not rest:
                # Without a folder: a neighbour, or a file that the build makes (.inc).
                if not header.endswith(".inc") and not os.path.exists(f"src/{folder}/{header}"):
                    findings.append(f'{place}: "{header}" is not in src/{folder}; write "folder/header.h"')
            elif ".." in header.split("/"):
                findings.append(f'{place}: "{header}": includes are relative to src/')
            elif target == folder:
                pass
            elif target not in LAYERS:
                findings.append(f'{place}: "{header}": no such folder of src/')
            elif target not in allowed:
                findings.append(f"{place}: {folder} may not include {target}, which is above it")
            elif target in FORBIDDEN.get(folder, []):
                findings.append(f"{place}: {folder} may not include {target} (see FORBIDDEN)")
            elif rest != f"{target}.h":
                findings.append(f'{place}: only "{target}/{target}.h" is {target}\'s outside')
    return findings


if __name__ == "__main__":
    sys.exit(main())
