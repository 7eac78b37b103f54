/* Shamir's sharing: against vectors of another implementation, and all subsets of shares. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "seal/seal.h"

#define SHARES_MOST 16

typedef struct share_vector {
    unsigned threshold;
    unsigned n;
    const char *secret;
    const char *shares[SHARES_MOST];
} share_vector;

#include "shamir_vectors.inc"

static hf_seal_share parse(const char *text)
{
    hf_seal_share share;
    assert_int_equal(hf_seal_share_parse(text, strlen(text), &share).code, HF_OK);
    return share;
}

static void test_vectors(void **state)
{
    (void)state;
    for (size_t v = 0; v < HF_ARRAY_LEN(vectors); v++) {
        hf_seal_share shares[SHARES_MOST];
        uint8_t secret[HF_SEAL_KEY_BYTES];
        uint8_t found[HF_SEAL_KEY_BYTES];
        assert_int_equal(hf_hex_decode(vectors[v].secret, 64, secret, sizeof secret).code, HF_OK);
        for (unsigned i = 0; i < vectors[v].n; i++) {
            shares[i] = parse(vectors[v].shares[i]);
        }
        /* Every run of neighbours that is long enough, and all together. */
        for (unsigned first = 0; first + vectors[v].threshold <= vectors[v].n; first++) {
            assert_int_equal(hf_shamir_combine(shares + first, vectors[v].threshold, found).code,
                             HF_OK);
            assert_memory_equal(found, secret, sizeof secret);
        }
        assert_int_equal(hf_shamir_combine(shares, vectors[v].n, found).code, HF_OK);
        assert_memory_equal(found, secret, sizeof secret);
    }
}

/* Gives whether this subset gives the secret. */
static bool opens(const hf_seal_share shares[], unsigned n, unsigned subset,
                  const uint8_t secret[HF_SEAL_KEY_BYTES])
{
    hf_seal_share some[SHARES_MOST];
    uint8_t found[HF_SEAL_KEY_BYTES];
    unsigned count = 0;
    for (unsigned i = n; i > 0; i--) { /* backwards: the order does not matter */
        if ((subset >> (i - 1) & 1U) != 0) {
            some[count++] = shares[i - 1];
        }
    }
    return !hf_failed(hf_shamir_combine(some, count, found)) &&
           hf_bytes_equal(found, secret, sizeof found);
}

static void test_all_subsets(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 7; n++) {
        for (unsigned threshold = 1; threshold <= n; threshold++) {
            hf_seal_share shares[SHARES_MOST];
            uint8_t secret[HF_SEAL_KEY_BYTES];
            hf_random(secret, sizeof secret);
            assert_int_equal(hf_shamir_split(secret, threshold, n, shares).code, HF_OK);
            for (unsigned subset = 1; subset < 1U << n; subset++) {
                bool enough = (unsigned)__builtin_popcount(subset) >= threshold;
                assert_int_equal(opens(shares, n, subset, secret), enough);
            }
        }
    }
}

static void test_bounds(void **state)
{
    (void)state;
    hf_seal_share shares[255];
    uint8_t secret[HF_SEAL_KEY_BYTES] = {1};
    uint8_t found[HF_SEAL_KEY_BYTES];
    assert_int_equal(hf_shamir_split(secret, 0, 3, shares).code, HF_USAGE);
    assert_int_equal(hf_shamir_split(secret, 4, 3, shares).code, HF_USAGE);
    assert_int_equal(hf_shamir_split(secret, 4, 256, shares).code, HF_USAGE);
    assert_int_equal(hf_shamir_split(secret, 255, 255, shares).code, HF_OK);
    assert_int_equal(hf_shamir_combine(shares, 255, found).code, HF_OK);
    assert_memory_equal(found, secret, sizeof secret);
    assert_int_equal(hf_shamir_combine(shares, 0, found).code, HF_INVALID_INPUT);
    shares[1] = shares[0];
    assert_int_equal(hf_shamir_combine(shares, 2, found).code, HF_INVALID_INPUT);
    shares[1].bytes[HF_SEAL_KEY_BYTES] = 0;
    assert_int_equal(hf_shamir_combine(shares, 2, found).code, HF_INVALID_INPUT);
}

static void test_texts(void **state)
{
    (void)state;
    hf_seal_share share;
    hf_seal_share again;
    char hex[HF_SEAL_SHARE_HEX_LEN];
    char base64[HF_SEAL_SHARE_BASE64_LEN];
    for (unsigned i = 0; i < HF_SEAL_SHARE_BYTES; i++) {
        share.bytes[i] = (uint8_t)(7 * i + 200);
    }
    hf_seal_share_to_hex(&share, hex);
    hf_seal_share_to_base64(&share, base64);
    assert_string_equal(hex, "c8cfd6dde4ebf2f900070e151c232a31383f464d545b626970777e858c939aa1a8");
    assert_string_equal(base64, "yM/W3eTr8vkABw4VHCMqMTg/Rk1UW2JpcHd+hYyTmqGo");
    again = parse(hex);
    assert_memory_equal(again.bytes, share.bytes, sizeof share.bytes);
    again = parse(base64);
    assert_memory_equal(again.bytes, share.bytes, sizeof share.bytes);
    const char *const wrong[] = {
        "",
        "00",
        "c8cfd6dde4ebf2f900070e151c232a31383f464d545b626970777e858c939aa100",
        "zzcfd6dde4ebf2f900070e151c232a31383f464d545b626970777e858c939aa1a8",
        "yM/W3eTr8vkABw4VHCMqMTg/Rk1UW2JpcHd+hYyTmqG!",
        "yM/W3eTr8vkABw4VHCMqMTg/Rk1UW2JpcHd+hYyTmqG=",
        "yM/W3eTr8vkABw4VHCMqMTg/Rk1UW2JpcHd+hYyTmqGoAA=="};
    for (size_t i = 0; i < HF_ARRAY_LEN(wrong); i++) {
        assert_int_equal(hf_seal_share_parse(wrong[i], strlen(wrong[i]), &again).code,
                         HF_INVALID_INPUT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_all_subsets),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
