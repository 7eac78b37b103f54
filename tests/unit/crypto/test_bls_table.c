/* Signing, with a table and without, gives what blst's own signing gives, whatever the scalar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/bls_internal.h"

#include <stdlib.h>

#define RANDOM_KEYS 400

static const uint8_t order[HF_BLS_SECRET_BYTES] = {
    0x73, 0xed, 0xa7, 0x53, 0x29, 0x9d, 0x7d, 0x48, 0x33, 0x39, 0xd8, 0x08, 0x09, 0xa1, 0xd8, 0x05,
    0x53, 0xbd, 0xa4, 0x02, 0xff, 0xfe, 0x5b, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01};
/* The base of the digits, |z|. */
static const uint8_t base[8] = {0xd2, 0x01, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00};

static const uint8_t dst[] = "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

typedef struct fixture {
    hf_bls_point point;
    blst_p2 hashed;
    hf_bls_table *table;
} fixture;

static int set_up(void **state)
{
    fixture *f = aligned_alloc(64, (sizeof *f + 63) / 64 * 64);
    uint8_t root[HF_ROOT_BYTES] = {3, 1, 4};
    assert_non_null(f);
    f->table = aligned_alloc(64, hf_bls_table_size());
    assert_non_null(f->table);
    hf_bls_hash(root, &f->point);
    blst_hash_to_g2(&f->hashed, root, sizeof root, dst, sizeof dst - 1, NULL, 0);
    hf_bls_table_build(&f->point, f->table);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    free(f->table);
    free(f);
    return 0;
}

static void check(const fixture *f, const uint8_t secret[HF_BLS_SECRET_BYTES])
{
    uint8_t with[1][HF_BLS_SIGNATURE_BYTES];
    uint8_t without[1][HF_BLS_SIGNATURE_BYTES];
    uint8_t expected[HF_BLS_SIGNATURE_BYTES];
    blst_p2 signature;
    hf_bls_key key;
    assert_int_equal(hf_bls_key_from_bytes(secret, &key).code, HF_OK);
    const hf_bls_key *keys[] = {&key};
    hf_bls_sign_many(&f->point, NULL, keys, 1, without);
    hf_bls_sign_many(&f->point, f->table, keys, 1, with);
    blst_sign_pk_in_g1(&signature, &f->hashed, (const blst_scalar *)(const void *)key.scalar);
    blst_p2_compress(expected, &signature);
    assert_memory_equal(with[0], expected, HF_BLS_SIGNATURE_BYTES);
    assert_memory_equal(without[0], expected, HF_BLS_SIGNATURE_BYTES);
}

/* secret plus a small number, big endian, modulo 2^256. */
static void add_small(uint8_t secret[HF_BLS_SECRET_BYTES], int value)
{
    for (size_t i = HF_BLS_SECRET_BYTES; i-- > 0 && value != 0;) {
        int sum = secret[i] + value;
        secret[i] = (uint8_t)(sum & 0xff);
        value = sum >> 8;
    }
}

static void test_the_ends_of_the_range(void **state)
{
    for (int i = 1; i <= 80; i++) {
        uint8_t low[HF_BLS_SECRET_BYTES] = {0};
        uint8_t high[HF_BLS_SECRET_BYTES];
        memcpy(high, order, sizeof high);
        add_small(low, i);
        add_small(high, -i);
        check(*state, low);
        check(*state, high);
    }
}

/* Digits of nothing, of one and of the most, in each place. */
static void test_around_the_digits(void **state)
{
    for (size_t place = 0; place < 3; place++) {
        for (int i = -40; i <= 40; i++) {
            uint8_t secret[HF_BLS_SECRET_BYTES] = {0};
            memcpy(secret + HF_BLS_SECRET_BYTES - 8 * (place + 1), base, sizeof base);
            add_small(secret, i);
            check(*state, secret);
        }
    }
    for (size_t bit = 0; bit < 254; bit++) {
        uint8_t secret[HF_BLS_SECRET_BYTES] = {0};
        secret[HF_BLS_SECRET_BYTES - 1 - bit / 8] = (uint8_t)(1U << (bit % 8));
        check(*state, secret);
        add_small(secret, -1);
        if (bit > 0) {
            check(*state, secret);
        }
    }
}

static void test_random_scalars(void **state)
{
    for (int i = 0; i < RANDOM_KEYS; i++) {
        uint8_t secret[HF_BLS_SECRET_BYTES];
        hf_random(secret, sizeof secret);
        secret[0] &= 0x3f; /* below the order */
        check(*state, secret);
    }
}

static void test_many_at_once(void **state)
{
    enum { KEYS = 70 }; /* more than one batch */
    const fixture *f = *state;
    static hf_bls_key keys[KEYS];
    static const hf_bls_key *list[KEYS];
    static uint8_t with[KEYS][HF_BLS_SIGNATURE_BYTES];
    static uint8_t without[KEYS][HF_BLS_SIGNATURE_BYTES];
    for (size_t i = 0; i < KEYS; i++) {
        uint8_t secret[HF_BLS_SECRET_BYTES] = {0};
        secret[20] = (uint8_t)(i + 1);
        assert_int_equal(hf_bls_key_from_bytes(secret, &keys[i]).code, HF_OK);
        list[i] = &keys[i];
    }
    hf_bls_sign_many(&f->point, NULL, list, KEYS, without);
    hf_bls_sign_many(&f->point, f->table, list, KEYS, with);
    assert_memory_equal(with, without, sizeof with);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_ends_of_the_range, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_around_the_digits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_random_scalars, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_at_once, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("bls_table", tests, NULL, NULL);
}
