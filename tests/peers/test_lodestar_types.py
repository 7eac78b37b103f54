"""Random messages of every type and fork, Gloas too: Lodestar's SSZ says the root, another library verifies."""

import collections
import json
import os
import random

import interop
import npm

# Of each round: attestation, randao, selection, aggregate and block of eight forks; three sync types of seven.
SIGNED_A_ROUND = 8 * 5 + 7 * 3 + 4 + 3
ROUNDS = 12


def test_random_messages(signers, tmp_path):
    """HF_SEED repeats a run."""
    folder = npm.install("lodestar-types")
    seed = os.environ.get("HF_SEED") or str(random.getrandbits(64))
    signer = interop.signer_with_keys(signers, tmp_path).start()
    result = npm.run(folder, "random.mjs", "--url", f"http://127.0.0.1:{signer.port}", "--seed", seed, "--rounds", ROUNDS)
    checks = [json.loads(line) for line in result.stdout.splitlines()]
    assert [check for check in checks if not check["ok"]] == [], f"HF_SEED={seed}"
    assert result.returncode == 0, f"HF_SEED={seed}: {result.stderr}"
    counts = collections.Counter(check["name"] for check in checks)
    assert set(counts.values()) == {ROUNDS} and len(counts) == SIGNED_A_ROUND
