#!/bin/sh
# ha-demo.sh BUILD: two signers, HAProxy and PostgreSQL on this machine; a signer is killed under load.
#   HA_BALANCE  round-robin or leader: which configuration of packaging/haproxy (round-robin)
#   HA_SECONDS  length of the load (20)
set -eu
cd "$(dirname "$0")/.."
tools/setup.sh --tools test
HF_BUILD=$(cd "$1" && pwd)
export HF_BUILD PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 tools/ha_demo.py
