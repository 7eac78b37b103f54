#!/usr/bin/env python3
"""Which binary links what: a process that holds keys has no parser and no network library in reach.
Usage: check-links.py BUILD. Reads what the loader would load, not what the build files say."""

import os
import re
import subprocess
import sys

NETWORK = ["libmicrohttpd", "libgnutls", "libcurl", "libpq"]
TEXT = ["libjansson", "libyaml", "libunistring"]

# program -> libraries that it must not load, directly or by way of another.
FORBIDDEN = {
    "holdfast-keeper": NETWORK + TEXT + ["libcrypto", "libssl"],
    "holdfast-front": ["libsqlite3", "libcurl", "libpq", "libyaml"],
    "holdfast-loader": NETWORK + ["libsqlite3"],
    "holdfast-store": ["libmicrohttpd", "libyaml"],
    "holdfast-relay": ["libmicrohttpd", "libpq", "libsqlite3", "libsecp256k1", "libyaml"],
    "holdfast-duty": ["libmicrohttpd", "libcurl", "libsqlite3", "libsecp256k1", "libjansson", "libyaml"],
}

# Symbols of our own that must not be linked in: a static library brings no line in ldd.
FORBIDDEN_SYMBOLS = {
    "holdfast-store": ["hf_bls_sign_many", "hf_bls_key_from_bytes", "hf_keystore_decrypt", "hf_config_load"],
    "holdfast-front": ["hf_bls_sign_many", "hf_bls_key_from_bytes", "hf_secp256k1_sign", "hf_store_open_sqlite"],
    "holdfast-duty": ["hf_bls_sign_many", "hf_secp256k1_sign"],
    "holdfast-relay": ["hf_bls_sign_many", "hf_secp256k1_sign", "hf_config_load"],
    "holdfast-keeper": ["hf_keystore_decrypt", "hf_interchange_parse", "hf_config_load"],
}

# Every executable: position independent, full RELRO, no executable stack.
HARDENING = [
    ("PIE", ["readelf", "-h"], r"Type:\s+DYN"),
    ("BIND_NOW", ["readelf", "-d"], r"BIND_NOW|Flags:.*NOW"),
    ("RELRO", ["readelf", "-lW"], r"GNU_RELRO"),
    ("a stack that is not executable", ["readelf", "-lW"], r"GNU_STACK\s+\S+\s+\S+\s+\S+\s+\S+\s+\S+\s+RW\s"),
]


def output_of(command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def find_programs(build):
    found = {}
    for root, _, names in os.walk(build):
        for name in names:
            path = os.path.join(root, name)
            if re.fullmatch(r"holdfast(-\w+)?", name) and os.access(path, os.X_OK) and not os.path.islink(path):
                found[name] = path
    return found


def check_program(name, path):
    findings = []
    loaded = output_of(["ldd", path])
    for library in FORBIDDEN.get(name, []):
        if re.search(rf"\b{library}\b", loaded):
            findings.append(f"{name}: loads {library}")
    symbols = set(re.findall(r"\s[A-Za-z]\s(\w+)$", output_of(["nm", path]), re.M))
    for symbol in FORBIDDEN_SYMBOLS.get(name, []):
        if symbol in symbols:
            findings.append(f"{name}: contains {symbol}")
    for what, command, pattern in HARDENING:
        if not re.search(pattern, output_of([*command, path])):
            findings.append(f"{name}: is not linked with {what}")
    return findings


def main(build):
    programs = find_programs(build)
    missing = [name for name in ("holdfast", *FORBIDDEN) if name not in programs]
    if missing:
        print(f"not built yet: {', '.join(missing)}")
        return 77
    findings = [finding for name, path in sorted(programs.items()) for finding in check_program(name, path)]
    print("\n".join(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
