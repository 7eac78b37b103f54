#!/usr/bin/env python3
"""Recomputes SSZ roots with hashlib alone, written after the specification's text, as a C table.

consensus-specs ssz/simple-serialize.md (merkleize, mix_in_length), EIP-7916 (progressive lists),
phase0 beacon-chain.md (compute_domain, compute_signing_root). Shares nothing with src/eth.
"""
import hashlib


def H(a, b):
    return hashlib.sha256(a + b).digest()


def leaf(i):
    return hashlib.sha256(b"leaf %d" % i).digest()


def merkleize(chunks, limit=None):
    size = 1
    while size < (len(chunks) if limit is None else limit):
        size *= 2
    return subtree(chunks, size)


def subtree(chunks, size):
    if size == 1:
        return chunks[0] if chunks else bytes(32)
    half = size // 2
    if not chunks:
        zero = subtree([], half)
        return H(zero, zero)
    return H(subtree(chunks[:half], half), subtree(chunks[half:], half))


def progressive(chunks, leaves=1):
    if not chunks:
        return bytes(32)
    return H(subtree(chunks[:leaves], leaves), progressive(chunks[leaves:], leaves * 4))


def u64(n):
    return n.to_bytes(8, "little").ljust(32, b"\0")


def row(*values):
    def text(v):
        return "{" + ", ".join("0x%02x" % b for b in v) + "}" if isinstance(v, bytes) else str(v)

    return "    {" + ", ".join(text(v) for v in values) + "},"


def table(kind, name, rows):
    print("static const %s %s[] = {" % (kind, name))
    print("\n".join(rows))
    print("};\n")


def main():
    trees = [(0, 1), (0, 8), (1, 1), (1, 2), (2, 2), (3, 4), (3, 8), (5, 8), (8, 8), (9, 16),
             (9, 1024), (511, 512), (512, 512), (7, 2048), (100, 128), (6, 1 << 12)]
    table("tree_case", "tree_cases",
          [row(n, limit, merkleize([leaf(i) for i in range(n)], limit)) for n, limit in trees])
    table("progressive_case", "progressive_cases",
          [row(n, progressive([leaf(i) for i in range(n)]))
           for n in (0, 1, 2, 4, 5, 6, 20, 21, 22, 84, 85, 86, 341, 342, 600)])

    checkpoint = lambda epoch, root: merkleize([u64(epoch), root])
    data = merkleize([u64(0xFFFFFFFFFFFFFFFF), u64(7), leaf(1), checkpoint(3, leaf(2)),
                      checkpoint(1 << 40, leaf(3))])
    header = merkleize([u64(12345), u64(678), leaf(1), leaf(2), leaf(3)])
    pubkey = (leaf(4) + leaf(5))[:48]
    pubkey_root = merkleize([pubkey[:32], pubkey[32:].ljust(32, b"\0")])
    deposit = merkleize([pubkey_root, leaf(6), u64(32000000000)])
    domain = bytes([1, 2, 3, 4]) + H(bytes([9, 8, 7, 6]).ljust(32, b"\0"), leaf(7))[:28]
    table("fixed_case", "fixed_cases",
          [row(v) for v in (data, header, deposit, domain, H(leaf(1), domain),
                            H(leaf(1), u64(1 << 33)))])


main()
