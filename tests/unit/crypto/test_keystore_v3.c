/* Web3 Secret Storage: the definition's vectors, its early spellings, and what is wrong with a
 * file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/crypto.h"

#define MIB (1ULL << 20)
#define PASSWORD "testpassword"

static const hf_keystore_limits generous = {.max_kdf_memory_bytes = 512 * MIB};

static hf_bytes text(const char *s)
{
    return hf_bytes_from(s, strlen(s));
}

static hf_buf *vector(const char *name)
{
    char path[512];
    hf_buf *json = NULL;
    hf_error err = {HF_OK, ""};
    assert_int_equal(
        hf_str_format(path, sizeof path, "%s/web3-secret-storage/%s", HF_TEST_VECTORS, name).code,
        HF_OK);
    if (hf_failed(hf_file_read(path, HF_KEYSTORE_MAX_BYTES, &json, &err))) {
        fail_msg("%s", err.msg);
    }
    return json;
}

static void check_vector(const char *name, const char *secret, uint64_t memory)
{
    hf_buf *json = vector(name);
    hf_bytes all = hf_bytes_from(hf_buf_peek(json), hf_buf_len(json));
    hf_secp256k1_key key;
    hf_error err = {HF_OK, ""};
    uint8_t want[HF_SECP256K1_SECRET_BYTES];
    uint64_t bytes = 1;
    assert_int_equal(hf_hex_decode(secret, strlen(secret), want, sizeof want).code, HF_OK);
    assert_true(hf_keystore_is_v3(all));
    assert_int_equal(hf_keystore_kdf_memory(all, &bytes, &err).code, HF_OK);
    assert_int_equal(bytes, memory);
    /* the newline of an editor does not count */
    if (hf_failed(hf_keystore_v3_decrypt(all, text(PASSWORD "\n"), &generous, &key, &err))) {
        fail_msg("%s: %s", name, err.msg);
    }
    assert_memory_equal(key.secret, want, sizeof want);
    assert_int_equal(hf_keystore_v3_decrypt(all, text("testpassworD"), &generous, &key, &err).code,
                     HF_DENIED);
    assert_string_equal(err.msg, "wrong password");
    hf_buf_free(json);
}

static void test_vectors(void **state)
{
    (void)state;
    check_vector("pbkdf2.json", "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d",
                 0);
    check_vector("scrypt.json", "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d",
                 128 * (262144 + 8));
    check_vector("quick.json", "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318",
                 128 * 8 * (2 + 1));
    check_vector("short.json", "000883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318",
                 0);
}

/* ---- one thing changed in quick.json ----------------------------------------------------------
 */

static const struct {
    const char *from;
    const char *to;
    hf_code code;
    const char *message;
} changes[] = {
    {"\"version\": 3", "\"version\": 4", HF_INVALID_INPUT,
     "version: a secp256k1 key is kept in a keystore of version 3"},
    {"\"version\"", "\"x\"", HF_INVALID_INPUT, "version: missing"},
    {"\"scrypt\"", "\"argon2\"", HF_INVALID_INPUT, "crypto.kdf: must be scrypt or pbkdf2"},
    {"\"scrypt\"", "\"pbkdf2\"", HF_INVALID_INPUT, "crypto.kdfparams.prf: missing"},
    {"\"n\": 2", "\"n\": 3", HF_INVALID_INPUT,
     "crypto.kdfparams.n: must be a power of two, 2 to 1073741824"},
    {"\"n\": 2", "\"n\": 1073741824", HF_LIMIT, "scrypt wants 1048576 MiB of memory, the limit "},
    {"\"r\": 8", "\"r\": 0", HF_INVALID_INPUT, "crypto.kdfparams.r: must be 1 to 1024"},
    {"\"dklen\": 32", "\"dklen\": 16", HF_INVALID_INPUT, "crypto.kdfparams.dklen: must be 32"},
    {"\"salt\": \"00", "\"salt\": \"zz", HF_INVALID_INPUT,
     "crypto.kdfparams.salt: must be 1 to 256 bytes in hex"},
    {"aes-128-ctr", "aes-128-cbc", HF_INVALID_INPUT, "crypto.cipher: only aes-128-ctr is "},
    {"\"iv\": \"10", "\"iv\": \"", HF_INVALID_INPUT,
     "crypto.cipherparams.iv: must be 16 bytes in hex"},
    {"\"ciphertext\": \"", "\"ciphertext\": \"0000", HF_INVALID_INPUT,
     "crypto.ciphertext: must be 1 to 32 bytes in hex"},
    {"\"mac\": \"", "\"mac\": \"00", HF_INVALID_INPUT, "crypto.mac: must be 32 bytes in hex"},
    {"2c7536e3605d9c16", "2c7536e3605d9c17", HF_CORRUPT,
     "address: is not that of the key in the file"},
    {"2c7536e3605d9c16", "2c7536", HF_INVALID_INPUT, "address: must be 20 bytes in hex"},
    {"\"crypto\": {", "\"crypto\": {,", HF_INVALID_INPUT, "not valid JSON at line "},
};

static void test_changes(void **state)
{
    (void)state;
    hf_buf *json = vector("quick.json");
    for (size_t i = 0; i < HF_ARRAY_LEN(changes); i++) {
        char changed[2048];
        const char *all = hf_buf_text(json);
        const char *at = strstr(all, changes[i].from);
        hf_secp256k1_key key = {{7}};
        hf_error err = {HF_OK, ""};
        assert_non_null(at);
        assert_int_equal(hf_str_format(changed, sizeof changed, "%.*s%s%s", (int)(at - all), all,
                                       changes[i].to, at + strlen(changes[i].from))
                             .code,
                         HF_OK);
        hf_status st = hf_keystore_v3_decrypt(text(changed), text(PASSWORD), &generous, &key, &err);
        if (st.code != changes[i].code ||
            strncmp(err.msg, changes[i].message, strlen(changes[i].message)) != 0) {
            fail_msg("%s: %s: %s", changes[i].to, hf_code_name(st.code), err.msg);
        }
        assert_int_equal(key.secret[0], 7); /* untouched */
    }
    hf_buf_free(json);
}

/* A keystore without an address opens, and the other kind's reader says what it is. */
static void test_other_kind(void **state)
{
    (void)state;
    hf_buf *json = vector("quick.json");
    hf_bytes all = hf_bytes_from(hf_buf_peek(json), hf_buf_len(json));
    hf_bls_key key;
    hf_error err = {HF_OK, ""};
    assert_int_equal(hf_keystore_decrypt(all, text(PASSWORD), &generous, &key, &err).code,
                     HF_INVALID_INPUT);
    assert_string_equal(err.msg, "version: only 4 is supported");
    hf_buf_free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_other_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
