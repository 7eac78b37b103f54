/* Trees and fixed containers against an independent recomputation (reference.py). */
#include "eth/eth.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef struct tree_case {
    unsigned count;
    unsigned limit;
    uint8_t root[32];
} tree_case;
typedef struct progressive_case {
    unsigned count;
    uint8_t root[32];
} progressive_case;
typedef struct fixed_case {
    uint8_t root[32];
} fixed_case;

#include "eth_reference.inc"

static void leaf_put(unsigned i, uint8_t ret_leaf[32])
{
    char text[32];
    int len = snprintf(text, sizeof text, "leaf %u", i);
    hf_sha256(text, (size_t)len, ret_leaf);
}

static void test_merkleize(void **state)
{
    (void)state;
    static uint8_t leaves[512][32];
    for (unsigned i = 0; i < HF_ARRAY_LEN(leaves); i++) {
        leaf_put(i, leaves[i]);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(tree_cases); i++) {
        uint8_t root[32];
        hf_ssz_merkleize((const uint8_t(*)[32])leaves, tree_cases[i].count, tree_cases[i].limit,
                         root);
        assert_memory_equal(root, tree_cases[i].root, 32);
    }
}

static void test_progressive(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(progressive_cases); i++) {
        hf_ssz_progressive tree;
        hf_ssz_progressive_init(&tree);
        for (unsigned n = 0; n < progressive_cases[i].count; n++) {
            uint8_t leaf[32];
            leaf_put(n, leaf);
            hf_ssz_progressive_push(&tree, leaf);
        }
        uint8_t root[32];
        hf_ssz_progressive_finish(&tree, root);
        assert_memory_equal(root, progressive_cases[i].root, 32);
    }
}

static void test_depths(void **state)
{
    (void)state;
    static const struct {
        uint64_t limit;
        unsigned depth;
    } cases[] = {{0, 0},
                 {1, 0},
                 {2, 1},
                 {3, 2},
                 {4, 2},
                 {5, 3},
                 {512, 9},
                 {513, 10},
                 {UINT64_C(1) << 40, 40},
                 {(UINT64_C(1) << 63) + 1, 64},
                 {UINT64_MAX, 64}};
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        assert_int_equal(hf_ssz_depth_of(cases[i].limit), cases[i].depth);
    }
    /* Every zero hash is the hash of two of the one below. */
    uint8_t expected[32] = {0};
    for (unsigned depth = 0; depth <= HF_SSZ_MAX_DEPTH; depth++) {
        uint8_t root[32];
        hf_ssz_tree tree;
        hf_ssz_tree_init(&tree, depth);
        hf_ssz_tree_finish(&tree, root);
        assert_memory_equal(root, expected, 32);
        hf_sha256_pair(expected, expected, expected);
    }
}

static void test_fixed_containers(void **state)
{
    (void)state;
    uint8_t root[32];
    hf_attestation_data data = {
        .slot = UINT64_MAX, .index = 7, .source.epoch = 3, .target.epoch = UINT64_C(1) << 40};
    leaf_put(1, data.beacon_block_root);
    leaf_put(2, data.source.root);
    leaf_put(3, data.target.root);
    hf_eth_attestation_data_root(&data, root);
    assert_memory_equal(root, fixed_cases[0].root, 32);

    hf_block_header header = {.slot = 12345, .proposer_index = 678};
    leaf_put(1, header.parent_root);
    leaf_put(2, header.state_root);
    leaf_put(3, header.body_root);
    hf_eth_block_header_root(&header, root);
    assert_memory_equal(root, fixed_cases[1].root, 32);

    uint8_t pubkey[64];
    uint8_t credentials[32];
    leaf_put(4, pubkey);
    leaf_put(5, pubkey + 32);
    leaf_put(6, credentials);
    hf_eth_deposit_message_root(pubkey, credentials, UINT64_C(32000000000), root);
    assert_memory_equal(root, fixed_cases[2].root, 32);
}

static void test_domain(void **state)
{
    (void)state;
    uint8_t validators_root[32];
    uint8_t domain[32];
    uint8_t object_root[32];
    uint8_t root[32];
    const uint8_t version[4] = {9, 8, 7, 6};
    leaf_put(7, validators_root);
    leaf_put(1, object_root);
    hf_eth_domain(UINT32_C(0x04030201), version, validators_root, domain);
    assert_memory_equal(domain, fixed_cases[3].root, 32);
    hf_eth_root_in_domain(object_root, domain, root);
    assert_memory_equal(root, fixed_cases[4].root, 32);
    hf_ssz_mix_in_length(object_root, UINT64_C(1) << 33, root);
    assert_memory_equal(root, fixed_cases[5].root, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merkleize), cmocka_unit_test(test_progressive),
        cmocka_unit_test(test_depths),    cmocka_unit_test(test_fixed_containers),
        cmocka_unit_test(test_domain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
