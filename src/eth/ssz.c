/* SSZ merkleization: binary trees padded with zeros, and the progressive ones of EIP-7916. */
#include "eth/eth.h"

#include <string.h>

static const uint8_t zero_hashes[HF_SSZ_MAX_DEPTH + 1][32] = {
#include "eth/zero_hashes.inc"
};

unsigned hf_ssz_depth_of(uint64_t limit)
{
    unsigned depth = 0;
    while (depth < 64 && (UINT64_C(1) << depth) < limit) {
        depth++;
    }
    return depth;
}

void hf_ssz_tree_init(hf_ssz_tree *tree, unsigned depth)
{
    HF_ASSERT(depth <= HF_SSZ_MAX_DEPTH);
    tree->count = 0;
    tree->depth = depth;
}

/* A binary counter: nodes[i] holds a finished subtree of 2^i leaves while bit i of count is set. */
void hf_ssz_tree_push(hf_ssz_tree *tree, const uint8_t leaf[32])
{
    HF_ASSERT(tree->depth >= 64 || tree->count < UINT64_C(1) << tree->depth);
    uint8_t node[32];
    memcpy(node, leaf, sizeof node);
    unsigned level = 0;
    for (uint64_t bits = tree->count; (bits & 1) != 0; bits >>= 1) {
        hf_sha256_pair(tree->nodes[level], node, node);
        level++;
    }
    memcpy(tree->nodes[level], node, sizeof node);
    tree->count++;
}

void hf_ssz_tree_finish(hf_ssz_tree *tree, uint8_t ret_root[32])
{
    if (tree->count == 0) {
        memcpy(ret_root, zero_hashes[tree->depth], 32);
        return;
    }
    /* From the lowest finished subtree upwards: zeros on its right, finished ones on its left. */
    unsigned level = (unsigned)__builtin_ctzll(tree->count);
    uint8_t node[32];
    memcpy(node, tree->nodes[level], sizeof node);
    for (; level < tree->depth; level++) {
        if (((tree->count - 1) >> level & 1) != 0) {
            hf_sha256_pair(tree->nodes[level], node, node);
        } else {
            hf_sha256_pair(node, zero_hashes[level], node);
        }
    }
    memcpy(ret_root, node, sizeof node);
}

void hf_ssz_progressive_init(hf_ssz_progressive *tree)
{
    tree->count = 0;
    tree->left = 0;
}

void hf_ssz_progressive_push(hf_ssz_progressive *tree, const uint8_t leaf[32])
{
    if (tree->left == 0) {
        HF_ASSERT(tree->count < HF_SSZ_MAX_SUBTREES);
        hf_ssz_tree_init(&tree->subtree, 2 * tree->count);
        tree->left = UINT64_C(1) << (2 * tree->count);
    }
    hf_ssz_tree_push(&tree->subtree, leaf);
    tree->left--;
    if (tree->left == 0) {
        hf_ssz_tree_finish(&tree->subtree, tree->roots[tree->count]);
        tree->count++;
    }
}

/* root(i) = H(subtree i, root(i + 1)), and zero behind the last. */
void hf_ssz_progressive_finish(hf_ssz_progressive *tree, uint8_t ret_root[32])
{
    if (tree->left != 0) {
        hf_ssz_tree_finish(&tree->subtree, tree->roots[tree->count]);
        tree->count++;
        tree->left = 0;
    }
    uint8_t node[32] = {0};
    for (unsigned i = tree->count; i > 0; i--) {
        hf_sha256_pair(tree->roots[i - 1], node, node);
    }
    memcpy(ret_root, node, sizeof node);
}

void hf_ssz_merkleize(const uint8_t (*chunks)[32], size_t count, uint64_t limit,
                      uint8_t ret_root[32])
{
    HF_ASSERT(limit == 0 || count <= limit);
    hf_ssz_tree tree;
    hf_ssz_tree_init(&tree, hf_ssz_depth_of(limit == 0 ? count : limit));
    for (size_t i = 0; i < count; i++) {
        hf_ssz_tree_push(&tree, chunks[i]);
    }
    hf_ssz_tree_finish(&tree, ret_root);
}

void hf_ssz_mix_in_length(const uint8_t root[32], uint64_t length, uint8_t ret_root[32])
{
    uint8_t leaf[32] = {0};
    hf_le64_put(leaf, length);
    hf_sha256_pair(root, leaf, ret_root);
}
