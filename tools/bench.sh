#!/bin/sh
# bench.sh BUILD [--smoke] [ROW...]: the table of speed and memory, every row measured in this run, as text
# and in BUILD/bench.json. --smoke only shows that each row can be measured; its figures mean nothing.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
[ $# -eq 0 ] || shift
PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 bench/bench.py "$build" "$@"
