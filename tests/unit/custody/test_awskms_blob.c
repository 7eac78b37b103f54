/* The parts of the AWS KMS back end that speak to nobody: files, contexts, names, signatures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/ec.h>

#include "custody/awskms_internal.h"

#define assert_code(status, expected) assert_int_equal((status).code, (expected))

static const char arn[] = "arn:aws:kms:eu-test-1:111122223333:key/1234abcd";
static const uint8_t data_key[HF_AES_GCM_KEY_BYTES] = {7};
static const uint8_t secret[HF_CUSTODY_SECRET_BYTES] = {0, 1, 2, 3};
static const uint8_t ciphertext[100] = {1, 2, 3};

static void expect_words(const hf_error *err, const char *words)
{
    if (strstr(err->msg, words) == NULL) {
        fail_msg("says \"%s\" and not \"%s\"", err->msg, words);
    }
}

static hf_awskms_config *config_of(void)
{
    static hf_awskms_config config;
    config = (hf_awskms_config){.network = "hoodi", .pair_count = 1};
    assert_code(hf_str_copy(config.pairs[0].name, sizeof config.pairs[0].name, "team"), HF_OK);
    assert_code(hf_str_copy(config.pairs[0].value, sizeof config.pairs[0].value, "staking"), HF_OK);
    return &config;
}

static hf_buf *make(hf_custody_type type)
{
    const hf_awskms_config *config = config_of();
    hf_kms_blob blob = {.type = type, .ciphertext = hf_bytes_from(ciphertext, sizeof ciphertext)};
    hf_buf *file = NULL;
    assert_code(hf_custody_public_of(type, secret, blob.public_key, &blob.public_len), HF_OK);
    assert_code(hf_str_copy(blob.key_arn, sizeof blob.key_arn, arn), HF_OK);
    assert_code(hf_kms_context_of(config, type, hf_bytes_from(blob.public_key, blob.public_len),
                                  &blob.context, NULL),
                HF_OK);
    assert_code(hf_kms_blob_make(&blob, data_key, secret, &file, NULL), HF_OK);
    return file;
}

static hf_status read_back(hf_bytes bytes, uint8_t ret_secret[HF_CUSTODY_SECRET_BYTES])
{
    hf_kms_blob blob;
    hf_error err = {0};
    hf_status st = hf_kms_blob_parse(bytes, &blob, &err);
    if (!hf_failed(st)) {
        st = hf_kms_blob_open(&blob, data_key, ret_secret, &err);
    }
    /* Each failure says why. */
    assert_true(!hf_failed(st) || err.msg[0] != '\0');
    return st;
}

static void test_round_trip(void **state)
{
    const hf_custody_type types[] = {HF_CUSTODY_BLS, HF_CUSTODY_SECP256K1, HF_CUSTODY_ED25519};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(types); i++) {
        hf_kms_blob blob;
        uint8_t found[HF_CUSTODY_SECRET_BYTES];
        hf_buf *file = make(types[i]);
        hf_bytes bytes = hf_bytes_from(hf_buf_peek(file), hf_buf_len(file));
        assert_code(hf_kms_blob_parse(bytes, &blob, NULL), HF_OK);
        assert_int_equal(blob.type, types[i]);
        assert_string_equal(blob.key_arn, arn);
        assert_int_equal(blob.context.count, 4);
        assert_string_equal(blob.context.pairs[0].name, "key");
        assert_string_equal(blob.context.pairs[3].name, "team");
        assert_int_equal(blob.ciphertext.len, sizeof ciphertext);
        assert_code(read_back(bytes, found), HF_OK);
        assert_memory_equal(found, secret, sizeof secret);
        assert_null(memmem(bytes.ptr, bytes.len, secret, sizeof secret));
        hf_buf_free(file);
    }
}

/* Whatever byte changes, wherever it is cut or longer: it never opens. */
static void test_damage(void **state)
{
    uint8_t found[HF_CUSTODY_SECRET_BYTES];
    (void)state;
    hf_buf *file = make(HF_CUSTODY_ED25519);
    size_t len = hf_buf_len(file);
    uint8_t *copy = malloc(len + 1);
    assert_non_null(copy);
    memcpy(copy, hf_buf_peek(file), len);
    copy[len] = 0;
    for (size_t i = 0; i < len; i++) {
        assert_true(hf_failed(read_back(hf_bytes_from(copy, i), found)));
        for (unsigned bit = 0; bit < 8; bit += 3) {
            copy[i] ^= (uint8_t)(1U << bit);
            assert_true(hf_failed(read_back(hf_bytes_from(copy, len), found)));
            copy[i] ^= (uint8_t)(1U << bit);
        }
    }
    assert_true(hf_failed(read_back(hf_bytes_from(copy, len + 1), found)));
    assert_code(read_back(hf_bytes_from(copy, len), found), HF_OK);
    free(copy);
    hf_buf_free(file);
}

static void test_wrong_data_key(void **state)
{
    const uint8_t other[HF_AES_GCM_KEY_BYTES] = {8};
    uint8_t found[HF_CUSTODY_SECRET_BYTES] = {0};
    hf_kms_blob blob;
    hf_error err = {0};
    (void)state;
    hf_buf *file = make(HF_CUSTODY_BLS);
    assert_code(hf_kms_blob_parse(hf_bytes_from(hf_buf_peek(file), hf_buf_len(file)), &blob, NULL),
                HF_OK);
    assert_code(hf_kms_blob_open(&blob, other, found, &err), HF_CORRUPT);
    expect_words(&err, "damaged");
    assert_true(hf_bytes_is_zero(found, sizeof found));
    hf_buf_free(file);
}

static void test_context(void **state)
{
    const uint8_t key[2] = {1, 2};
    hf_awskms_config *config = config_of();
    hf_kms_context context;
    hf_kms_context other;
    hf_error err = {0};
    (void)state;
    assert_code(hf_kms_context_of(config, HF_CUSTODY_BLS, hf_bytes_from(key, 2), &context, NULL),
                HF_OK);
    assert_code(hf_kms_context_check(&context, &context, &err), HF_OK);
    other = context;
    assert_code(hf_str_copy(other.pairs[1].value, sizeof other.pairs[1].value, "mainnet"), HF_OK);
    assert_code(hf_kms_context_check(&context, &other, &err), HF_DENIED);
    expect_words(&err, "wrapped for network \"hoodi\", not \"mainnet\"");
    other = context;
    other.count--;
    assert_code(hf_kms_context_check(&context, &other, &err), HF_DENIED);
    expect_words(&err, "wrapped with team");
    assert_code(hf_kms_context_check(&other, &context, &err), HF_DENIED);
    assert_code(hf_kms_context_add(&context, "key", "x", &err), HF_USAGE);
    assert_code(hf_kms_context_add(&context, "", "x", &err), HF_USAGE);
    assert_code(hf_kms_context_add(&context, "x", "\n", &err), HF_USAGE);
    /* What is ours cannot be said otherwise. */
    assert_code(hf_str_copy(config->pairs[0].name, sizeof config->pairs[0].name, "purpose"), HF_OK);
    assert_code(hf_kms_context_of(config, HF_CUSTODY_BLS, hf_bytes_from(key, 2), &context, &err),
                HF_USAGE);
    expect_words(&err, "purpose is there already");
}

static void test_names(void **state)
{
    (void)state;
    assert_true(hf_kms_key_fits(arn, arn));
    assert_true(hf_kms_key_fits("1234abcd", arn));
    assert_true(hf_kms_key_fits("alias/holdfast", arn));
    assert_false(hf_kms_key_fits("234abcd", arn));
    assert_false(hf_kms_key_fits("arn:aws:kms:eu-test-1:111122223333:key/1234abce", arn));
    assert_false(hf_kms_key_fits("arn:aws:kms:eu-test-2:111122223333:key/1234abcd", arn));
    assert_false(hf_kms_key_fits("arn:aws:kms:eu-test-1:111122223334:key/1234abcd", arn));
    /* Replicas of a multi-region key are one key. */
    assert_true(hf_kms_is_same_key("arn:aws:kms:eu-test-1:1:key/mrk-12",
                                   "arn:aws:kms:us-test-1:1:key/mrk-12"));
    assert_false(hf_kms_is_same_key("arn:aws:kms:eu-test-1:1:key/mrk-12",
                                    "arn:aws:kms:us-test-1:1:key/mrk-13"));
    assert_false(hf_kms_is_same_key("arn:aws:kms:eu-test-1:1:key/mrk-12",
                                    "arn:aws:kms:us-test-1:2:key/mrk-12"));
    assert_false(hf_kms_is_same_key("", arn));
    assert_false(hf_kms_is_same_key("mrk-", "arn:"));
}

/* ---- signatures: DER that is none, or of something else ------------------------------------- */

static void expect_signature(const hf_kms_sign_key *key, const uint8_t *digest, const uint8_t *der,
                             size_t len, hf_code code)
{
    uint8_t found[HF_CUSTODY_SIGNATURE_BYTES];
    hf_error err = {0};
    assert_code(
        hf_kms_read_signature(key, hf_bytes_from(digest, 32), hf_bytes_from(der, len), found, &err),
        code);
}

static size_t sign_with_openssl(EVP_PKEY *key, const uint8_t digest[32], uint8_t der[80])
{
    size_t len = 80;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
    assert_non_null(context);
    assert_int_equal(EVP_PKEY_sign_init(context), 1);
    assert_int_equal(EVP_PKEY_sign(context, der, &len, digest, 32), 1);
    EVP_PKEY_CTX_free(context);
    return len;
}

static void test_signature(void **state)
{
    const uint8_t digest[32] = {9};
    const uint8_t other[32] = {8};
    uint8_t der[81] = {0};
    uint8_t damaged[81];
    (void)state;
    EVP_PKEY *pair = EVP_EC_gen("secp256k1");
    assert_non_null(pair);
    const hf_kms_sign_key key = {.known = true, .type = HF_CUSTODY_SECP256K1, .public = pair};
    size_t len = sign_with_openssl(pair, digest, der);
    expect_signature(&key, digest, der, len, HF_OK);
    expect_signature(&key, other, der, len, HF_CRYPTO);
    expect_signature(&key, digest, der, len + 1, HF_CRYPTO);
    for (size_t i = 0; i < len; i++) {
        expect_signature(&key, digest, der, i, HF_CRYPTO);
        memcpy(damaged, der, sizeof damaged);
        damaged[i] ^= 0x20;
        expect_signature(&key, digest, damaged, len, HF_CRYPTO);
    }
    EVP_PKEY_free(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_damage),
        cmocka_unit_test(test_wrong_data_key), cmocka_unit_test(test_context),
        cmocka_unit_test(test_names),          cmocka_unit_test(test_signature),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
