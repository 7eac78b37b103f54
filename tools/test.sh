#!/bin/sh
# test.sh BUILD: every test there is. docs/testing.md says what runs and how to run a part.
set -eu
cd "$(dirname "$0")/.."
tools/setup.sh --tools test
PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 tools/gates/test.py "${1:-build}"
