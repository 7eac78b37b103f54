/* Rates, approvals, proofs of a block's body, and the book's one form. */
#include "policy/policy.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static hf_policy_key key_of(uint8_t mark)
{
    uint8_t bytes[HF_BLS_PUBKEY_BYTES] = {mark};
    return hf_policy_key_from(bytes, sizeof bytes);
}

/* In any window of a period from empty no more than twice the count, and over a long time exactly
 * the rate. */
static void rates_give_what_they_say(void **state)
{
    (void)state;
    static const uint8_t seed[16] = {7};
    const hf_policy_rate rate = {5, 12000};
    const hf_policy_key a = key_of(1);
    const hf_policy_key b = key_of(2);
    hf_rates *rates = hf_rates_new(0, seed);
    uint64_t now = HF_NS_PER_SECOND;
    assert_non_null(rates);
    for (int i = 0; i < 5; i++) {
        assert_true(hf_rates_take(rates, &rate, 1, &a, HF_OP_ATTESTATION, now));
    }
    assert_false(hf_rates_has(rates, &rate, 1, &a, HF_OP_ATTESTATION, now));
    assert_false(hf_rates_take(rates, &rate, 1, &a, HF_OP_ATTESTATION, now));
    /* other keys, operations and setters have buckets of their own */
    assert_true(hf_rates_take(rates, &rate, 1, &b, HF_OP_ATTESTATION, now));
    assert_true(hf_rates_take(rates, &rate, 1, &a, HF_OP_RANDAO_REVEAL, now));
    assert_true(hf_rates_take(rates, &rate, 2, &a, HF_OP_ATTESTATION, now));
    /* one comes back each 2.4 s */
    assert_false(hf_rates_take(rates, &rate, 1, &a, HF_OP_ATTESTATION, now + 2399 * HF_NS_PER_MS));
    unsigned taken = 0;
    for (unsigned ms = 0; ms < 1200000; ms += 100) {
        taken += hf_rates_take(rates, &rate, 1, &a, HF_OP_ATTESTATION, now + ms * HF_NS_PER_MS);
    }
    assert_in_range(taken, 498, 500);
    hf_rates_free(rates);
}

/* A flood of buckets makes no room for itself, and none for those that are empty. */
static void rates_are_bounded(void **state)
{
    (void)state;
    static const uint8_t seed[16] = {9};
    const hf_policy_rate rate = {1, 3600000};
    const hf_policy_key victim = key_of(1);
    hf_rates *rates = hf_rates_new(0, seed);
    unsigned taken = 0;
    assert_non_null(rates);
    assert_true(hf_rates_take(rates, &rate, 0, &victim, 0, 1));
    for (uint64_t setter = 1; setter < 20000; setter++) {
        taken += hf_rates_take(rates, &rate, setter, &victim, 0, 2);
    }
    assert_in_range(taken, 512, 1024);
    assert_false(hf_rates_take(rates, &rate, 0, &victim, 0, 3));
    hf_rates_free(rates);
}

static void approvals_need_another(void **state)
{
    (void)state;
    static hf_approvals approvals;
    const hf_policy_key a = key_of(1);
    const hf_policy_key b = key_of(2);
    assert_false(hf_approvals_have(&approvals, &a, "x", 1000));
    assert_false(hf_failed(hf_approvals_give(&approvals, &a, "x", 5, 1000)));
    assert_false(hf_approvals_have(&approvals, &a, "x", 1001));
    assert_true(hf_approvals_have(&approvals, &a, "y", 1001));
    assert_true(hf_approvals_have(&approvals, &a, "", 1001));
    assert_false(hf_approvals_have(&approvals, &b, "y", 1001));
    assert_true(hf_approvals_have(&approvals, &a, "y", 1000 + 5 * 60000 - 1));
    assert_false(hf_approvals_have(&approvals, &a, "y", 1000 + 5 * 60000));
    assert_false(hf_failed(hf_approvals_give(&approvals, &a, "x", 0, 1002)));
    assert_false(hf_approvals_have(&approvals, &a, "y", 1002));
    assert_int_equal(hf_approvals_give(&approvals, &a, "x", 1441, 1).code, HF_LIMIT);
    for (uint8_t i = 0; i < 255; i++) {
        const hf_policy_key many = key_of(i);
        assert_false(hf_failed(hf_approvals_give(&approvals, &many, "z", 5, 2000)));
    }
    assert_false(hf_failed(hf_approvals_give(&approvals, &a, "w", 5, 2000)));
    assert_int_equal(hf_approvals_give(&approvals, &b, "w", 5, 2000).code, HF_LIMIT);
}

/* Made by tests/unit/policy/proofs.py. */
typedef struct proof_case {
    uint32_t index;
    uint8_t depth;
    uint8_t leaf[32];
    uint8_t root[32];
    uint8_t branch[9][32];
} proof_case;

#include "policy_proofs.inc"

static void proofs_hold_and_nothing_else_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(proof_cases); i++) {
        const proof_case *one = &proof_cases[i];
        hf_block_proof proof = {.index = one->index, .depth = one->depth};
        uint8_t leaf[32];
        memcpy(proof.branch, one->branch, sizeof proof.branch);
        assert_true(hf_eth_block_place_is_known(one->index));
        assert_true(hf_eth_block_proof_holds(&proof, one->leaf, one->root));
        memcpy(leaf, one->leaf, sizeof leaf);
        leaf[i % 32] ^= 1;
        assert_false(hf_eth_block_proof_holds(&proof, leaf, one->root));
        for (unsigned node = 0; node < one->depth; node++) {
            proof.branch[node][31] ^= 0x80;
            assert_false(hf_eth_block_proof_holds(&proof, one->leaf, one->root));
            proof.branch[node][31] ^= 0x80;
        }
        proof.index ^= 1;
        assert_false(hf_eth_block_proof_holds(&proof, one->leaf, one->root));
        proof.index ^= 1;
        proof.depth--;
        assert_false(hf_eth_block_proof_holds(&proof, one->leaf, one->root));
        proof.depth = 10;
        assert_false(hf_eth_block_proof_holds(&proof, one->leaf, one->root));
    }
    hf_block_proof none = {.index = 0};
    assert_false(hf_eth_block_proof_holds(&none, proof_cases[0].leaf, proof_cases[0].leaf));
}

static void indices_follow_the_forks(void **state)
{
    (void)state;
    const hf_network *network = hf_eth_network_find("mainnet");
    const hf_fork_info fork = {.current_version = {5}};
    uint64_t deneb = network->deneb_epoch * network->slots_per_epoch;
    assert_int_equal(hf_eth_block_place(network, &fork, deneb - 1, HF_PLACE_FEE_RECIPIENT), 401);
    assert_int_equal(hf_eth_block_place(network, &fork, deneb - 1, HF_PLACE_GAS_LIMIT), 407);
    assert_int_equal(hf_eth_block_place(network, &fork, deneb, HF_PLACE_FEE_RECIPIENT), 801);
    assert_int_equal(hf_eth_block_place(network, &fork, deneb, HF_PLACE_GAS_LIMIT), 807);
    assert_false(hf_eth_block_place_is_known(0));
    assert_false(hf_eth_block_place_is_known(18));
}

static void the_book_has_one_form(void **state)
{
    (void)state;
    hf_book *book = hf_book_new();
    hf_book *again = NULL;
    hf_policy *policy = NULL;
    hf_error err = {.code = HF_OK};
    hf_buf *bytes = hf_buf_new(HF_BOOK_MAX_BYTES);
    hf_buf *twice = hf_buf_new(HF_BOOK_MAX_BYTES);
    hf_limit *limit = &book->limits[book->limit_count++];
    hf_limit_init(limit);
    assert_false(hf_failed(hf_limit_put(limit, "rates", "* 5/s", &err)));
    assert_false(hf_failed(hf_limit_put(limit, "fork_versions", "0x05000000", &err)));
    assert_false(hf_failed(hf_limit_put(limit, "exits", "approve", &err)));
    assert_false(hf_failed(hf_limit_finish(limit, &err)));
    for (uint8_t i = 5; i > 0; i--) {
        const hf_canary canary = {.key = key_of(i), .action = HF_CANARY_DENY};
        assert_false(hf_failed(hf_book_add_canary(book, &canary, &err)));
        assert_int_equal(hf_book_add_canary(book, &canary, &err).code, HF_CONFLICT);
    }
    assert_false(hf_failed(hf_policy_new("empty", &policy, &err)));
    assert_false(hf_failed(hf_book_add_policy(book, policy, &err)));
    assert_false(hf_failed(hf_book_encode(book, bytes)));
    hf_bytes view = hf_bytes_from(hf_buf_peek(bytes), hf_buf_len(bytes));
    assert_false(hf_failed(hf_book_decode(view, &again, &err)));
    assert_false(hf_failed(hf_book_encode(again, twice)));
    assert_int_equal(hf_buf_len(twice), view.len);
    assert_memory_equal(hf_buf_peek(twice), view.ptr, view.len);
    const hf_policy_key third = key_of(3);
    assert_int_equal(hf_book_find_canary(again, &third)->action, HF_CANARY_DENY);
    hf_book_free(again);
    for (size_t len = 0; len < view.len; len++) {
        assert_true(hf_failed(hf_book_decode(hf_bytes_from(view.ptr, len), &again, &err)));
    }
    hf_book_free(book);
    hf_buf_free(bytes);
    hf_buf_free(twice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_give_what_they_say),
        cmocka_unit_test(rates_are_bounded),
        cmocka_unit_test(approvals_need_another),
        cmocka_unit_test(proofs_hold_and_nothing_else_does),
        cmocka_unit_test(indices_follow_the_forks),
        cmocka_unit_test(the_book_has_one_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
