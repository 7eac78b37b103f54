"""The signing vectors: requests, with their roots and signatures."""

import json
import os

import harness

VECTORS = os.path.join(harness.ROOT, "tests", "vectors", "signing")
NETWORKS = {"mainnet": 152, "hoodi": 86}


def vectors_of(network):
    with open(os.path.join(VECTORS, f"{network}.jsonl"), encoding="utf-8") as lines:
        return sorted(map(json.loads, lines), key=slot_or_target)


def slot_or_target(vector):
    """Oldest first, because the first message that a key signs is the floor below which it signs no more."""
    request = vector["request"]
    if request["type"] == "ATTESTATION":
        return int(request["attestation"]["target"]["epoch"])
    return int(block_of(request)["slot"]) if request["type"] in ("BLOCK", "BLOCK_V2") else 0


def block_of(request):
    """The block or header of a request, whatever its type."""
    return request.get("block") or request["beacon_block"].get("block") or request["beacon_block"]["block_header"]
