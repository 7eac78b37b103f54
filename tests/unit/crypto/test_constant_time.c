/*
 * No branch and no address depends on a key: under valgrind the key's bytes count as undefined, and
 * memcheck reports each decision that they reach (Langley's ctgrind). Without valgrind it shows the
 * same as test_bls_table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/bls_internal.h"

#include <stdlib.h>

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define VALGRIND_MAKE_MEM_UNDEFINED(ptr, len) ((void)(ptr), (void)(len))
#define VALGRIND_MAKE_MEM_DEFINED(ptr, len) ((void)(ptr), (void)(len))
#endif

static void test_both_multiplications(void **state)
{
    (void)state;
    hf_bls_point point;
    uint8_t root[HF_ROOT_BYTES] = {9};
    hf_bls_table *table = aligned_alloc(HF_BLS_TABLE_ALIGN, hf_bls_table_size());
    assert_non_null(table);
    hf_bls_hash(root, &point);
    hf_bls_table_build(&point, table);
    for (uint8_t last = 1; last <= 4; last++) { /* odd and even */
        uint8_t secret[HF_BLS_SECRET_BYTES] = {0x31, 0x41, 0x59};
        hf_bls_key key;
        blst_p2 hashed;
        blst_p2 with;
        blst_p2 without;
        blst_p2 expected;
        secret[HF_BLS_SECRET_BYTES - 1] = last;
        assert_int_equal(hf_bls_key_from_bytes(secret, &key).code, HF_OK);
        blst_p2_from_affine(&hashed, hf_bls_point_peek(&point));
        blst_p2_mult(&expected, &hashed, key.scalar, 255);
        VALGRIND_MAKE_MEM_UNDEFINED(&key, sizeof key);
        hf_bls_table_mult(table, &key, &with);
        hf_bls_point_mult(&point, &key, &without);
        VALGRIND_MAKE_MEM_DEFINED(&with, sizeof with);
        VALGRIND_MAKE_MEM_DEFINED(&without, sizeof without);
        assert_true(blst_p2_is_equal(&with, &expected));
        assert_true(blst_p2_is_equal(&without, &expected));
    }
    free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_both_multiplications)};
    return cmocka_run_group_tests_name("constant_time", tests, NULL, NULL);
}
