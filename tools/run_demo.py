#!/usr/bin/env python3
"""run_demo.py ADDRESS PID: asks a signer that is starting for two attestations, the second of which
contradicts the first, and shows what it answers. Exit status 0 when it signed one and refused the other."""

import hashlib
import http.client
import json
import os
import sys
import time

PATIENCE = 60
GENESIS_TIME = 1606824023  # mainnet
EPOCH_SECONDS = 32 * 12
FORK_INFO = {
    "fork": {"previous_version": "0x04000000", "current_version": "0x05000000", "epoch": "364032"},
    "genesis_validators_root": "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95",
}


def request(address, method, path, body=None):
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path, None if body is None else json.dumps(body),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def wait_until_it_can_sign(address, pid):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            if request(address, "GET", "/healthcheck")[0] == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            sys.exit("run: the signer ended; its reason is above")
        time.sleep(0.02)
    sys.exit(f"run: no answer at {address} within {PATIENCE} s")


def attestation(epoch, block):
    def root(*parts):
        return "0x" + hashlib.sha256(repr(parts).encode()).hexdigest()
    return {"type": "ATTESTATION", "fork_info": FORK_INFO, "attestation": {
        "slot": str(epoch * 32), "index": "0", "beacon_block_root": root(block, epoch),
        "source": {"epoch": str(epoch - 1), "root": root("checkpoint", epoch - 1)},
        "target": {"epoch": str(epoch), "root": root("checkpoint", epoch)}}}


def main(address, pid):
    wait_until_it_can_sign(address, int(pid))
    key = json.loads(request(address, "GET", "/api/v1/eth2/publicKeys")[1])[0]
    path = f"/api/v1/eth2/sign/{key}"
    # The next one: after a restart of the machine the start guard lets nothing up to the present epoch be signed.
    epoch = (int(time.time()) - GENESIS_TIME) // EPOCH_SECONDS + 1
    print(f"\nAn attestation of {key[:18]}... for epoch {epoch}:\n  POST http://{address}{path[:34]}...")
    signed, answer = request(address, "POST", path, attestation(epoch, "one block"))
    print(f"{signed} {answer}")
    print("Another one for the same epoch and another block, which would be slashed:")
    refused, answer = request(address, "POST", path, attestation(epoch, "another block"))
    print(f"{refused} {answer}")
    if (signed, refused) != (200, 412):
        sys.exit("run: that is not what a signer should do")
    print(f"\nsigning at http://{address} until Ctrl-C", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
