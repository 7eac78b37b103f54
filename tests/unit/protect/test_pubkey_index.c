/* Public keys get numbers in the order in which they came, and keep them. */
#include "protect/pubkey_index.h"
#include "support.h"

#define MANY 5000

static void make(uint32_t number, uint8_t pubkey[HF_BLS_PUBKEY_BYTES])
{
    memset(pubkey, 0xab, HF_BLS_PUBKEY_BYTES);
    hf_le64_put(pubkey + 40, number);
}

static void test_an_empty_one_finds_nothing(void **state)
{
    (void)state;
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    hf_pubkey_index index = {0};
    make(0, pubkey);
    assert_int_equal(hf_pubkey_index_find(&index, pubkey), 0);
    assert_int_equal(index.count, 0);
    hf_pubkey_index_done(&index);
}

/* Keys that differ in their last bytes only, through several growths. */
static void test_numbers_stay(void **state)
{
    (void)state;
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    hf_pubkey_index index = {0};
    for (uint32_t i = 0; i < MANY; i++) {
        make(i, pubkey);
        assert_int_equal(hf_pubkey_index_find(&index, pubkey), i);
        assert_false(hf_failed(hf_pubkey_index_add(&index, pubkey)));
        assert_int_equal(hf_pubkey_index_find(&index, pubkey), i);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        make(i, pubkey);
        assert_int_equal(hf_pubkey_index_find(&index, pubkey), i);
    }
    make(MANY, pubkey);
    assert_int_equal(hf_pubkey_index_find(&index, pubkey), index.count);
    assert_true(index.count <= index.capacity);
    hf_pubkey_index_done(&index);
}

static void test_each_byte_counts(void **state)
{
    (void)state;
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES] = {0};
    hf_pubkey_index index = {0};
    assert_false(hf_failed(hf_pubkey_index_add(&index, pubkey)));
    for (uint32_t i = 0; i < HF_BLS_PUBKEY_BYTES; i++) {
        pubkey[i] = 1;
        assert_int_equal(hf_pubkey_index_find(&index, pubkey), i + 1);
        assert_false(hf_failed(hf_pubkey_index_add(&index, pubkey)));
        pubkey[i] = 0;
    }
    assert_int_equal(hf_pubkey_index_find(&index, pubkey), 0);
    hf_pubkey_index_done(&index);
    assert_int_equal(hf_pubkey_index_find(&index, pubkey), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_one_finds_nothing),
        cmocka_unit_test(test_numbers_stay),
        cmocka_unit_test(test_each_byte_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
