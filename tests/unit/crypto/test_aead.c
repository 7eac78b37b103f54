/* AES-256-GCM: the published vector with bound data, and everything that must not open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/crypto.h"

#define assert_code(status, expected) assert_int_equal((status).code, (expected))
#define PLAIN_BYTES 60
#define BOUND_BYTES 20

/* McGrew and Viega, "The Galois/Counter Mode of Operation", test case 16 (in the public domain). */
static const char key_hex[] = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
static const char nonce_hex[] = "cafebabefacedbaddecaf888";
static const char bound_hex[] = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
static const char plain_hex[] =
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c"
    "0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
static const char sealed_hex[] =
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb0"
    "8e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
    "76fc6ece0f4e1768cddf8853bb2d551b";

typedef struct vector {
    hf_aes_gcm with;
    uint8_t bound[BOUND_BYTES];
    uint8_t plain[PLAIN_BYTES];
    uint8_t sealed[PLAIN_BYTES + HF_AES_GCM_TAG_BYTES];
} vector;

static void read_hex(const char *text, uint8_t *out, size_t len)
{
    assert_code(hf_hex_decode(text, strlen(text), out, len), HF_OK);
}

static void read_vector(vector *v)
{
    read_hex(key_hex, v->with.key, sizeof v->with.key);
    read_hex(nonce_hex, v->with.nonce, sizeof v->with.nonce);
    read_hex(bound_hex, v->bound, sizeof v->bound);
    read_hex(plain_hex, v->plain, sizeof v->plain);
    read_hex(sealed_hex, v->sealed, sizeof v->sealed);
    v->with.bound = hf_bytes_from(v->bound, sizeof v->bound);
}

static void test_vector(void **state)
{
    vector v;
    uint8_t out[sizeof v.sealed];
    (void)state;
    read_vector(&v);
    assert_code(hf_aes_gcm_seal(&v.with, hf_bytes_from(v.plain, sizeof v.plain), out), HF_OK);
    assert_memory_equal(out, v.sealed, sizeof out);
    assert_code(hf_aes_gcm_open(&v.with, hf_bytes_from(v.sealed, sizeof v.sealed), out), HF_OK);
    assert_memory_equal(out, v.plain, sizeof v.plain);
}

static void test_damage(void **state)
{
    vector v;
    uint8_t out[PLAIN_BYTES];
    (void)state;
    read_vector(&v);
    for (size_t i = 0; i < sizeof v.sealed; i++) {
        memset(out, 0xff, sizeof out);
        v.sealed[i] ^= 0x40;
        assert_code(hf_aes_gcm_open(&v.with, hf_bytes_from(v.sealed, sizeof v.sealed), out),
                    HF_CRYPTO);
        assert_true(hf_bytes_is_zero(out, sizeof out));
        v.sealed[i] ^= 0x40;
    }
    for (size_t i = 0; i < sizeof v.bound; i++) {
        v.bound[i] ^= 1;
        assert_code(hf_aes_gcm_open(&v.with, hf_bytes_from(v.sealed, sizeof v.sealed), out),
                    HF_CRYPTO);
        v.bound[i] ^= 1;
    }
    assert_code(hf_aes_gcm_open(&v.with, hf_bytes_from(v.sealed, sizeof v.sealed - 1), out),
                HF_CRYPTO);
    assert_code(hf_aes_gcm_open(&v.with, hf_bytes_from(v.sealed, HF_AES_GCM_TAG_BYTES), out),
                HF_CRYPTO);
    v.with.nonce[0] ^= 1;
    assert_code(hf_aes_gcm_open(&v.with, hf_bytes_from(v.sealed, sizeof v.sealed), out), HF_CRYPTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
