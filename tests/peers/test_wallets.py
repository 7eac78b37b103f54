"""Libraries of wallets (ethers, viem, MetaMask's eth-sig-util) recover who signed each eth_* answer, and read its transactions."""

import json
import os
import random

import harness
import npm
import pytest

SECRET = "0x" + "46" * 32
VECTORS = os.path.join(harness.ROOT, "tests", "vectors", "eip712", "ethers.txt")
CHECKS = 7


@pytest.fixture(name="folder", scope="module")
def package_folder():
    return npm.install("wallets")


def test_wallets_recover_every_signature(tmp_path, folder):
    seed = int(os.environ.get("HF_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"HF_SEED={seed}")
    keys = tmp_path / "key-files"
    keys.mkdir(mode=0o700)
    harness.write_private(keys / "key.yaml", f"type: file-raw\nkeyType: SECP256K1\nprivateKey: \"{SECRET}\"\n")
    (tmp_path / "signer").mkdir()
    signer = harness.Signer(tmp_path / "signer", keys=0,
                            config=f"signing_keys:\n  - {{backend: web3signer, config_dir: {keys}}}\n")
    with signer:
        signer.wait_until(lambda: len(signer.get("/api/v1/eth1/publicKeys")[1]) == 1, "its key is loaded")
        done = npm.run(folder, "driver.mjs", f"http://127.0.0.1:{signer.port}", SECRET, seed, VECTORS)
    checks = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [check for check in checks if not check["ok"]] == [], done.stderr
    assert (done.returncode, len(checks)) == (0, CHECKS), done.stderr
