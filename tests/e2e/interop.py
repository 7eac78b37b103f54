"""The interop keys that vectors of the consensus specifications are signed with, and the few SSZ
roots that slashing protection knows: block header and attestation data."""

import hashlib
import os

import harness

CURVE_ORDER = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001
PUBKEYS = (
    "0xa99a76ed7796f7be22d5b7e85deeb7c5677e88e511e0b337618f8c4eb61349b4bf2d153f649f7b53359fe8b94a38e44c",
    "0xb89bebc699769726a318c8e9971bd3171297c61aea4a6578a7a4f94b547dcba5bac16a89108b6b6a1fe3695d1a874a0b",
    "0xa3a32b0f8b4ddb83f1a0a853d81dd725dfe577d4f4c3db8ece52ce2b026eca84815c1a7e8e92a4de3d755733bf7e4a9b",
    "0x88c141df77cd9d8d7a71a75c826c41a9c9f03c6ee1b180f3e7852f6a280099ded351b58d66e653af8e42816a4d8f532e",
)
DOMAIN_PROPOSER, DOMAIN_ATTESTER = 0, 1


# ---- keys


def secret(index):
    """sha256(index as 32 bytes little endian), read little endian, mod r; as a keystore has it, big endian."""
    number = int.from_bytes(hashlib.sha256(index.to_bytes(32, "little")).digest(), "little") % CURVE_ORDER
    return number.to_bytes(32, "big")


def write_keys(folder):
    """Key files of PUBKEYS in the folder; returns the configuration that loads them."""
    os.makedirs(folder, mode=0o700)
    for index in range(len(PUBKEYS)):
        harness.write_private(os.path.join(folder, f"interop-{index}.yaml"),
                              f"type: file-raw\nkeyType: BLS\nprivateKey: \"0x{secret(index).hex()}\"\n")
    return f"signing_keys:\n  - {{backend: web3signer, config_dir: {folder}}}\n"


def signer_with_keys(signers, folder, network="mainnet", config=""):
    """One that holds PUBKEYS; it is not started yet."""
    keys = write_keys(os.path.join(str(folder), "keys"))
    made = signers(keys=0, network=network, config=keys + config)
    made.pubkeys = list(PUBKEYS)
    return made


# ---- roots


def merkle(leaves):
    """The root over 32-byte leaves, which zeros fill to a power of two."""
    leaves = list(leaves)
    while len(leaves) & (len(leaves) - 1):
        leaves.append(bytes(32))
    while len(leaves) > 1:
        leaves = [hashlib.sha256(left + right).digest() for left, right in zip(leaves[::2], leaves[1::2])]
    return leaves[0]


def u64(value):
    return int(value).to_bytes(8, "little") + bytes(24)


def unhex(text):
    return bytes.fromhex(text[2:] if text.startswith("0x") else text)


def header_root(header):
    return merkle([u64(header["slot"]), u64(header["proposer_index"]), unhex(header["parent_root"]),
                   unhex(header["state_root"]), unhex(header["body_root"])])


def attestation_root(data):
    source, target = (merkle([u64(data[name]["epoch"]), unhex(data[name]["root"])]) for name in ("source", "target"))
    return merkle([u64(data["slot"]), u64(data["index"]), unhex(data["beacon_block_root"]), source, target])


def signing_root(object_root, domain_type, fork_version, genesis_validators_root):
    fork_data = merkle([unhex(fork_version) + bytes(28), unhex(genesis_validators_root)])
    domain = domain_type.to_bytes(4, "little") + fork_data[:28]
    return "0x" + merkle([object_root, domain]).hex()
