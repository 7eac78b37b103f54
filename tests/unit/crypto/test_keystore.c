/* EIP-2335 keystores and their passwords. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>

#include "crypto/crypto.h"
#include "interop.h"

/* "testpassword" in mathematical letters, and a key symbol. */
#define EIP_PASSWORD                                                                               \
    "\xf0\x9d\x94\xb1\xf0\x9d\x94\xa2\xf0\x9d\x94\xb0\xf0\x9d\x94\xb1\xf0\x9d\x94\xad\xf0\x9d\x94" \
    "\x9e\xf0\x9d\x94\xb0\xf0\x9d\x94\xb0\xf0\x9d\x94\xb4\xf0\x9d\x94\xac\xf0\x9d\x94\xaf\xf0\x9d" \
    "\x94\xa1\xf0\x9f\x94\x91"
#define MIB (1ULL << 20)
#define QUICK 16 /* a cost for tests alone */

static const hf_keystore_limits generous = {.max_kdf_memory_bytes = 512 * MIB};

static hf_bytes text(const char *s)
{
    return hf_bytes_from(s, strlen(s));
}

static void assert_secret(const hf_bls_key *key, const char *want_hex)
{
    uint8_t want[32], got[32];
    assert_int_equal(hf_hex_decode(want_hex, 64, want, 32).code, HF_OK);
    hf_bls_key_to_bytes(key, got);
    assert_memory_equal(got, want, 32);
}

static void check_eip_vector(const char *name, uint64_t memory)
{
    char path[512];
    hf_buf *json = NULL;
    hf_bls_key key;
    hf_error err = {0};
    uint8_t pubkey[48], stated[48];
    uint64_t bytes = 1;
    assert_int_equal(hf_str_format(path, sizeof path, "%s/eip2335/%s", HF_TEST_VECTORS, name).code,
                     HF_OK);
    assert_int_equal(hf_file_read(path, HF_KEYSTORE_MAX_BYTES, &json, &err).code, HF_OK);
    hf_bytes all = hf_bytes_from(hf_buf_peek(json), hf_buf_len(json));
    assert_int_equal(hf_keystore_kdf_memory(all, &bytes, &err).code, HF_OK);
    assert_int_equal(bytes, memory);
    assert_int_equal(hf_keystore_decrypt(all, text(EIP_PASSWORD), &generous, &key, &err).code,
                     HF_OK);
    assert_secret(&key, "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f");
    hf_bls_pubkey(&key, pubkey);
    assert_int_equal(hf_keystore_pubkey(all, stated, &err).code, HF_OK);
    assert_memory_equal(pubkey, stated, 48);
    hf_buf_free(json);
}

static void test_eip_scrypt(void **state)
{
    (void)state;
    check_eip_vector("scrypt.json", 128 * 8 * (262144 + 1));
}

static void test_eip_pbkdf2(void **state)
{
    (void)state;
    check_eip_vector("pbkdf2.json", 0);
}

static hf_buf *encrypt(const hf_bls_key *key, hf_bytes password, hf_kdf kdf)
{
    const hf_keystore_options options = {.kdf = kdf,
                                         .cost = QUICK,
                                         .path = "m/12381/3600/0/0/0",
                                         .description = "a \"test\" \\ key"};
    hf_buf *json = NULL;
    hf_error err = {0};
    assert_int_equal(hf_keystore_encrypt(key, password, &options, &json, &err).code, HF_OK);
    return json;
}

static hf_code decrypt(const hf_buf *json, hf_bytes password, hf_bls_key *key, hf_error *err)
{
    return hf_keystore_decrypt(text(hf_buf_text(json)), password, &generous, key, err).code;
}

static void test_round_trips(void **state)
{
    (void)state;
    static const hf_kdf kdfs[] = {HF_KDF_SCRYPT, HF_KDF_PBKDF2};
    for (uint64_t i = 0; i < 6; i++) {
        hf_bls_key key = test_interop_key(i), back;
        hf_error err = {0};
        hf_buf *json = encrypt(&key, text("correct horse"), kdfs[i % 2]);
        memset(&back, 0x77, sizeof back);
        assert_int_equal(decrypt(json, text("correct horsf"), &back, &err), HF_DENIED);
        assert_string_equal(err.msg, "wrong password");
        assert_int_equal(back.scalar[0], 0x77); /* untouched */
        assert_int_equal(decrypt(json, text(""), &back, &err), HF_DENIED);
        assert_int_equal(decrypt(json, text("correct horse"), &back, &err), HF_OK);
        assert_memory_equal(&key, &back, sizeof key);
        hf_buf_free(json);
    }
}

/* Salt, iv and uuid are fresh in each file, and the file says what the standard wants. */
static void test_written_members(void **state)
{
    (void)state;
    hf_bls_key key = test_interop_key(0);
    hf_buf *a = encrypt(&key, text("password"), HF_KDF_SCRYPT);
    hf_buf *b = encrypt(&key, text("password"), HF_KDF_SCRYPT);
    json_t *ja = json_loads(hf_buf_text(a), JSON_REJECT_DUPLICATES, NULL);
    json_t *jb = json_loads(hf_buf_text(b), JSON_REJECT_DUPLICATES, NULL);
    const char *description, *path, *uuid_a, *uuid_b, *salt_a, *salt_b, *iv_a, *iv_b, *pubkey;
    json_int_t version, n, r, p;
    static const char format[] = "{s:s, s:s, s:s, s:s, s:I, s:{s:{s:{s:s, s:I, s:I, s:I}},"
                                 " s:{s:{s:s}}}}";
    assert_int_equal(json_unpack(ja, format, "description", &description, "path", &path, "uuid",
                                 &uuid_a, "pubkey", &pubkey, "version", &version, "crypto", "kdf",
                                 "params", "salt", &salt_a, "n", &n, "r", &r, "p", &p, "cipher",
                                 "params", "iv", &iv_a),
                     0);
    assert_int_equal(json_unpack(jb, "{s:s, s:{s:{s:{s:s}}, s:{s:{s:s}}}}", "uuid", &uuid_b,
                                 "crypto", "kdf", "params", "salt", &salt_b, "cipher", "params",
                                 "iv", &iv_b),
                     0);
    assert_string_equal(description, "a \"test\" \\ key");
    assert_string_equal(path, "m/12381/3600/0/0/0");
    assert_int_equal(version, 4);
    assert_int_equal(n, QUICK);
    assert_int_equal(r, 8);
    assert_int_equal(p, 1);
    assert_string_equal(pubkey, "a99a76ed7796f7be22d5b7e85deeb7c5677e88e511e0b337618f8c4eb61349b4"
                                "bf2d153f649f7b53359fe8b94a38e44c");
    assert_int_equal(strlen(uuid_a), 36);
    assert_int_equal(uuid_a[14], '4');
    assert_string_not_equal(uuid_a, uuid_b);
    assert_string_not_equal(salt_a, salt_b);
    assert_string_not_equal(iv_a, iv_b);
    json_decref(ja);
    json_decref(jb);
    hf_buf_free(a);
    hf_buf_free(b);
}

static void test_encrypt_refuses(void **state)
{
    (void)state;
    hf_bls_key key = test_interop_key(0);
    hf_buf *json = NULL;
    hf_error err = {0};
    hf_keystore_options options = {.kdf = HF_KDF_SCRYPT, .cost = 1000, .path = ""};
    assert_int_equal(hf_keystore_encrypt(&key, text("p"), &options, &json, &err).code,
                     HF_INVALID_INPUT);
    assert_string_equal(err.msg, "crypto.kdf.params.n: must be a power of two, 2 to 1073741824");
    options = (hf_keystore_options){.kdf = HF_KDF_PBKDF2, .cost = 1, .path = "\xff"};
    assert_int_equal(hf_keystore_encrypt(&key, text("p"), &options, &json, &err).code,
                     HF_INVALID_INPUT);
    options.path = "";
    assert_int_equal(hf_keystore_encrypt(&key, text("\xff"), &options, &json, &err).code,
                     HF_INVALID_INPUT);
    assert_string_equal(err.msg, "the password is not UTF-8 text");
    assert_null(json);
}

static void test_password_forms(void **state)
{
    (void)state;
    /* Sealed with the first, opened by the second or not. */
    static const struct {
        const char *sealed;
        const char *opened;
        bool same;
    } forms[] = {
        {"password", "password\n", true},
        {"password", "password\r\n", true},
        {"password\n", "password", true},
        {"password", "pass\tword", true}, /* control codes do not count */
        {"password", "\x01pass\x7fword\x1f", true},
        {"password", "pass\xc2\x80wo\xc2\x9frd", true}, /* C1 */
        {"pass word", "password", false},               /* a space does */
        {"password", "password ", false},
        {"password", "Password", false},
        {"pass\xc2\xa0word", "pass word", true}, /* NFKD of a no-break space */
        {"caf\xc3\xa9", "cafe\xcc\x81", true},   /* composed, decomposed */
        {"caf\xc3\xa9", "cafe", false},
        {"\xef\xac\x81sh", "fish", true}, /* ligature */
        {"\xc2\xbd",
         "1\xe2\x81\x84"
         "2",
         true},
        {"testpassword\xf0\x9f\x94\x91", EIP_PASSWORD, true},
        {"", "\n", true},
        {"", "\r\n", true},
    };
    hf_bls_key key = test_interop_key(1), back;
    for (size_t i = 0; i < HF_ARRAY_LEN(forms); i++) {
        hf_error err = {0};
        hf_buf *json = encrypt(&key, text(forms[i].sealed), HF_KDF_PBKDF2);
        assert_int_equal(decrypt(json, text(forms[i].opened), &back, &err),
                         forms[i].same ? HF_OK : HF_DENIED);
        hf_buf_free(json);
    }
}

static void test_password_limits(void **state)
{
    (void)state;
    static uint8_t password[HF_PASSWORD_MAX_BYTES + 1];
    hf_bls_key key = test_interop_key(1), back;
    hf_error err = {0};
    hf_buf *json = encrypt(&key, text("x"), HF_KDF_PBKDF2);
    memset(password, 'x', sizeof password);
    assert_int_equal(decrypt(json, hf_bytes_from(password, sizeof password), &back, &err),
                     HF_LIMIT);
    assert_string_equal(err.msg, "the password is longer than 4096 bytes");
    assert_int_equal(decrypt(json, text("\xc3"), &back, &err), HF_INVALID_INPUT);
    assert_string_equal(err.msg, "the password is not UTF-8 text");
    hf_buf_free(json);
    /* The character that grows most in NFKD, as often as fits. */
    for (size_t i = 0; i + 3 <= HF_PASSWORD_MAX_BYTES; i += 3) {
        memcpy(password + i, "\xef\xb7\xba", 3);
    }
    hf_bytes longest = hf_bytes_from(password, HF_PASSWORD_MAX_BYTES / 3 * 3);
    json = encrypt(&key, longest, HF_KDF_PBKDF2);
    assert_int_equal(decrypt(json, longest, &back, &err), HF_OK);
    hf_buf_free(json);
}

/* Puts value (JSON text, NULL to remove) at a dotted path of a valid keystore; the caller frees. */
static char *changed(const hf_buf *json, const char *path, const char *value)
{
    json_t *root = json_loads(hf_buf_text(json), 0, NULL);
    json_t *at = root;
    char name[32];
    assert_non_null(root);
    for (;;) {
        size_t len = strcspn(path, ".");
        memcpy(name, path, len);
        name[len] = '\0';
        if (path[len] == '\0') {
            break;
        }
        at = json_object_get(at, name);
        path += len + 1;
    }
    if (value == NULL) {
        assert_int_equal(json_object_del(at, name), 0);
    } else {
        assert_int_equal(json_object_set_new(at, name, json_loads(value, JSON_DECODE_ANY, NULL)),
                         0);
    }
    char *out = json_dumps(root, 0);
    json_decref(root);
    return out;
}

#define HEX31 "\"00112233445566778899aabbccddeeff00112233445566778899aabbccddee\""

static const struct {
    const char *path;
    const char *value;
    const char *message;
} malformed[] = {
    {"version", NULL, "version: missing"},
    {"version", "3", "version: only 4 is supported"},
    {"version", "\"4\"", "version: must be a number, 0 or more"},
    {"version", "4.0", "version: must be a number, 0 or more"},
    {"version", "-4", "version: must be a number, 0 or more"},
    {"crypto", NULL, "crypto.kdf.function: missing"},
    {"crypto", "[]", "crypto.kdf.function: missing"},
    {"crypto.kdf", "7", "crypto.kdf.function: missing"},
    {"crypto.kdf.function", "\"argon2id\"", "crypto.kdf.function: must be scrypt or pbkdf2"},
    {"crypto.kdf.function", "null", "crypto.kdf.function: must be a string"},
    {"crypto.kdf.params", NULL, "crypto.kdf.params.n: missing"},
    {"crypto.kdf.params.n", "1000", "crypto.kdf.params.n: must be a power of two, 2 to 1073741824"},
    {"crypto.kdf.params.n", "1", "crypto.kdf.params.n: must be a power of two, 2 to 1073741824"},
    {"crypto.kdf.params.n", "0", "crypto.kdf.params.n: must be a power of two, 2 to 1073741824"},
    {"crypto.kdf.params.n", "2147483648",
     "crypto.kdf.params.n: must be a power of two, 2 to 1073741824"},
    {"crypto.kdf.params.n", "-16", "crypto.kdf.params.n: must be a number, 0 or more"},
    {"crypto.kdf.params.n", "16.0", "crypto.kdf.params.n: must be a number, 0 or more"},
    {"crypto.kdf.params.r", NULL, "crypto.kdf.params.r: missing"},
    {"crypto.kdf.params.r", "0", "crypto.kdf.params.r: must be 1 to 1024"},
    {"crypto.kdf.params.r", "1025", "crypto.kdf.params.r: must be 1 to 1024"},
    {"crypto.kdf.params.p", "0", "crypto.kdf.params.p: must be 1 to 64"},
    {"crypto.kdf.params.p", "65", "crypto.kdf.params.p: must be 1 to 64"},
    {"crypto.kdf.params.dklen", "31", "crypto.kdf.params.dklen: must be 32"},
    {"crypto.kdf.params.dklen", "64", "crypto.kdf.params.dklen: must be 32"},
    {"crypto.kdf.params.salt", "\"\"", "crypto.kdf.params.salt: must be 1 to 256 bytes in hex"},
    {"crypto.kdf.params.salt", "\"0x\"", "crypto.kdf.params.salt: must be 1 to 256 bytes in hex"},
    {"crypto.kdf.params.salt", "\"123\"", "crypto.kdf.params.salt: must be 1 to 256 bytes in hex"},
    {"crypto.kdf.params.salt", "\"zz\"", "crypto.kdf.params.salt: must be 1 to 256 bytes in hex"},
    {"crypto.kdf.params.salt", "12", "crypto.kdf.params.salt: must be a string"},
    {"crypto.checksum.function", "\"sha512\"",
     "crypto.checksum.function: only sha256 is supported"},
    {"crypto.checksum.message", HEX31, "crypto.checksum.message: must be 32 bytes in hex"},
    {"crypto.cipher.function", "\"aes-128-cbc\"",
     "crypto.cipher.function: only aes-128-ctr is supported"},
    {"crypto.cipher.params.iv", "\"00\"", "crypto.cipher.params.iv: must be 16 bytes in hex"},
    {"crypto.cipher.message", HEX31, "crypto.cipher.message: must be 32 bytes in hex"},
    {"crypto.cipher.message", "\"\"", "crypto.cipher.message: must be 32 bytes in hex"},
    {"pubkey", "\"0x1234\"", "pubkey: must be 48 bytes in hex"},
    {"pubkey", "null", "pubkey: must be a string"},
};

static void test_malformed_members(void **state)
{
    (void)state;
    hf_bls_key key = test_interop_key(2), back;
    hf_buf *good = encrypt(&key, text("password"), HF_KDF_SCRYPT);
    for (size_t i = 0; i < HF_ARRAY_LEN(malformed); i++) {
        hf_error err = {0};
        uint64_t bytes = 0;
        char *json = changed(good, malformed[i].path, malformed[i].value);
        hf_code code =
            hf_keystore_decrypt(text(json), text("password"), &generous, &back, &err).code;
        assert_string_equal(err.msg, malformed[i].message);
        assert_int_equal(code, HF_INVALID_INPUT);
        assert_int_equal(hf_keystore_kdf_memory(text(json), &bytes, &err).code, HF_INVALID_INPUT);
        free(json);
    }
    hf_buf_free(good);
}

static void test_malformed_pbkdf2(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *value;
        const char *message;
    } bad[] = {
        {"crypto.kdf.params.prf", NULL, "crypto.kdf.params.prf: missing"},
        {"crypto.kdf.params.prf", "\"hmac-sha512\"",
         "crypto.kdf.params.prf: only hmac-sha256 is supported"},
        {"crypto.kdf.params.c", NULL, "crypto.kdf.params.c: missing"},
        {"crypto.kdf.params.c", "0", "crypto.kdf.params.c: must be 1 to 33554432"},
        {"crypto.kdf.params.c", "33554433", "crypto.kdf.params.c: must be 1 to 33554432"},
    };
    hf_bls_key key = test_interop_key(2), back;
    hf_buf *good = encrypt(&key, text("password"), HF_KDF_PBKDF2);
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        hf_error err = {0};
        char *json = changed(good, bad[i].path, bad[i].value);
        hf_code code =
            hf_keystore_decrypt(text(json), text("password"), &generous, &back, &err).code;
        assert_string_equal(err.msg, bad[i].message);
        assert_int_equal(code, HF_INVALID_INPUT);
        free(json);
    }
    hf_buf_free(good);
}

static void test_not_a_keystore(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *message;
    } bad[] = {
        {"", "not valid JSON at line 1, column 0"},
        {"{", "not valid JSON at line 1, column 1"},
        {"[]", "not a JSON object"},
        {"{}", "version: missing"},
        {"{\"version\":4,\n\"version\":4}", "not valid JSON at line 2, column 9"},
        {"{\"version\":\"\\u0000\"}", "not valid JSON at line 1, column 19"},
        {"{\"version\":4} x", "not valid JSON at line 1, column 15"},
        {"{\"version\":99999999999999999999}", "not valid JSON at line 1, column 31"},
    };
    hf_bls_key back;
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        hf_error err = {0};
        assert_int_equal(
            hf_keystore_decrypt(text(bad[i].json), text("p"), &generous, &back, &err).code,
            HF_INVALID_INPUT);
        assert_string_equal(err.msg, bad[i].message);
    }
    static char huge[HF_KEYSTORE_MAX_BYTES + 1];
    hf_error err = {0};
    memset(huge, ' ', sizeof huge);
    assert_int_equal(
        hf_keystore_decrypt(hf_bytes_from(huge, sizeof huge), text("p"), &generous, &back, &err)
            .code,
        HF_LIMIT);
}

static void test_pubkey_must_match(void **state)
{
    (void)state;
    hf_bls_key key = test_interop_key(3), back;
    hf_error err = {0};
    uint8_t pubkey[48];
    hf_buf *good = encrypt(&key, text("password"), HF_KDF_PBKDF2);
    char *json = changed(good, "pubkey",
                         "\"a99a76ed7796f7be22d5b7e85deeb7c5677e88e511e0b337618f8c4eb61349b4"
                         "bf2d153f649f7b53359fe8b94a38e44c\"");
    assert_int_equal(hf_keystore_decrypt(text(json), text("password"), &generous, &back, &err).code,
                     HF_CORRUPT);
    assert_string_equal(err.msg, "pubkey: is not that of the key in the file");
    free(json);
    json = changed(good, "pubkey", NULL);
    assert_int_equal(hf_keystore_decrypt(text(json), text("password"), &generous, &back, &err).code,
                     HF_OK);
    assert_memory_equal(&key, &back, sizeof key);
    assert_int_equal(hf_keystore_pubkey(text(json), pubkey, &err).code, HF_NOT_FOUND);
    free(json);
    json = changed(good, "pubkey", "\"\"");
    assert_int_equal(hf_keystore_decrypt(text(json), text("password"), &generous, &back, &err).code,
                     HF_OK);
    free(json);
    hf_buf_free(good);
}

/* A flipped bit of the ciphertext is caught by the checksum. */
static void test_damaged_message(void **state)
{
    (void)state;
    hf_bls_key key = test_interop_key(3), back;
    hf_error err = {0};
    hf_buf *good = encrypt(&key, text("password"), HF_KDF_PBKDF2);
    char *json = changed(good, "crypto.cipher.message",
                         "\"cee03fde2af33149775b7223e7845e4fb2c8ae1792e5f99fe9ecf474cc8c16ad\"");
    assert_int_equal(hf_keystore_decrypt(text(json), text("password"), &generous, &back, &err).code,
                     HF_DENIED);
    free(json);
    hf_buf_free(good);
}

/* Refused by arithmetic: the limit is far below what would be allocated. */
static void test_scrypt_memory(void **state)
{
    (void)state;
    hf_bls_key key = test_interop_key(3), back;
    hf_error err = {0};
    uint64_t bytes = 0;
    hf_buf *good = encrypt(&key, text("password"), HF_KDF_SCRYPT);
    char *json = changed(good, "crypto.kdf.params.n", "1073741824");
    assert_int_equal(hf_keystore_kdf_memory(text(json), &bytes, &err).code, HF_OK);
    assert_int_equal(bytes, 1024ULL * (1073741824ULL + 1));
    assert_int_equal(hf_keystore_decrypt(text(json), text("password"), &generous, &back, &err).code,
                     HF_LIMIT);
    assert_string_equal(err.msg, "scrypt wants 1048576 MiB of memory, the limit is 512 MiB");
    free(json);
    const hf_keystore_limits none = {0};
    assert_int_equal(
        hf_keystore_decrypt(text(hf_buf_text(good)), text("password"), &none, &back, &err).code,
        HF_LIMIT);
    hf_buf_free(good);
    good = encrypt(&key, text("password"), HF_KDF_PBKDF2);
    assert_int_equal(
        hf_keystore_decrypt(text(hf_buf_text(good)), text("password"), &none, &back, &err).code,
        HF_OK);
    hf_buf_free(good);
}

/* A text has any length, no public key, and is no key for whoever asks for one. */
static void test_text(void **state)
{
    static const hf_keystore_options options = {.kdf = HF_KDF_SCRYPT, .cost = QUICK, .path = ""};
    char longest[HF_KEYSTORE_TEXT_BYTES];
    char back[HF_KEYSTORE_TEXT_BYTES];
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    hf_bls_key key = {.scalar = {1}};
    (void)state;
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const char *const texts[] = {"a", "abandon abandon ability", "exactly as long as a secret key.",
                                 longest};
    for (size_t i = 0; i < HF_ARRAY_LEN(texts); i++) {
        hf_buf *json = NULL;
        assert_int_equal(
            hf_keystore_encrypt_text(texts[i], text("pass"), &options, &json, NULL).code, HF_OK);
        hf_bytes all = hf_bytes_from(hf_buf_peek(json), hf_buf_len(json));
        assert_int_equal(hf_keystore_decrypt_text(all, text("pass"), &generous, back, NULL).code,
                         HF_OK);
        assert_string_equal(back, texts[i]);
        assert_int_equal(hf_keystore_decrypt_text(all, text("past"), &generous, back, NULL).code,
                         HF_DENIED);
        bool is_long_as_key = strlen(texts[i]) == HF_BLS_SECRET_BYTES;
        assert_int_equal(hf_keystore_pubkey(all, pubkey, NULL).code,
                         is_long_as_key ? HF_NOT_FOUND : HF_INVALID_INPUT);
        if (!is_long_as_key) {
            assert_int_equal(hf_keystore_decrypt(all, text("pass"), &generous, &key, NULL).code,
                             HF_INVALID_INPUT);
        }
        hf_buf_free(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eip_scrypt),        cmocka_unit_test(test_eip_pbkdf2),
        cmocka_unit_test(test_round_trips),       cmocka_unit_test(test_written_members),
        cmocka_unit_test(test_encrypt_refuses),   cmocka_unit_test(test_password_forms),
        cmocka_unit_test(test_password_limits),   cmocka_unit_test(test_malformed_members),
        cmocka_unit_test(test_malformed_pbkdf2),  cmocka_unit_test(test_not_a_keystore),
        cmocka_unit_test(test_pubkey_must_match), cmocka_unit_test(test_damaged_message),
        cmocka_unit_test(test_scrypt_memory),     cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests_name("crypto/keystore", tests, NULL, NULL);
}
