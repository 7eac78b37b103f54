#!/bin/sh
# lint.sh BUILD: every gate that reads the code instead of running it. HACKING.md lists them.
set -eu
cd "$(dirname "$0")/.."
tools/setup.sh --tools lint
PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 tools/gates/lint.py "${1:-build}"
