/* The PKCS#11 back end against a real SoftHSM2; OpenSC's tool makes keys and checks signatures. */
#include "token.h"

#include <sodium.h>

#include "crypto/crypto.h"
#include "custody/pkcs11_internal.h"
#include "custody/wrapped_key.h"

#define KEYS_MOST 16

typedef struct seen {
    hf_custody_key keys[KEYS_MOST];
    size_t count;
    char failed[HF_ERROR_MSG_LEN * 4]; /* name: why; ... */
    size_t failures;
} seen;

static hf_status see_key(void *context, const hf_custody_key *key)
{
    seen *s = context;
    assert_true(s->count < KEYS_MOST);
    s->keys[s->count++] = *key;
    return hf_ok();
}

static void see_failure(void *context, const char *name, const char *why)
{
    seen *s = context;
    size_t len = strlen(s->failed);
    s->failures++;
    (void)snprintf(s->failed + len, sizeof s->failed - len, "%s: %s; ", name, why);
}

static void list_keys(hf_custody *custody, seen *ret)
{
    hf_error err = {0};
    *ret = (seen){.count = 0};
    hf_custody_visitor visitor = {ret, see_key, see_failure};
    hf_status st = custody->ops->list(custody, &visitor, soon(), &err);
    if (hf_failed(st)) {
        fail_msg("%s", err.msg);
    }
}

static const hf_custody_key *key_called(const seen *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->keys[i].name, name) == 0) {
            return &s->keys[i];
        }
    }
    fail_msg("no key %s was listed", name);
    return NULL;
}

static hf_custody *open_token(const hf_pkcs11_config *config)
{
    hf_error err = {0};
    hf_custody *custody = NULL;
    if (hf_failed(hf_custody_pkcs11_open(config, &custody, &err))) {
        fail_msg("%s", err.msg);
    }
    return custody;
}

static void sign_bytes(hf_custody *custody, uint64_t handle, const uint8_t *bytes, size_t len,
                       uint8_t ret[HF_CUSTODY_SIGNATURE_BYTES])
{
    hf_error err = {0};
    hf_status st =
        custody->ops->sign(custody, handle, hf_bytes_from(bytes, len), soon(), ret, &err);
    if (hf_failed(st)) {
        fail_msg("%s", err.msg);
    }
}

/* Does r || s recover to this public key's address, by one of the two recovery ids? */
static bool recovers(const hf_custody_key *key, const uint8_t digest[32], const uint8_t *rs)
{
    hf_secp256k1 *secp = NULL;
    uint8_t want[HF_ADDRESS_BYTES];
    bool is_it = false;
    assert_false(hf_failed(hf_secp256k1_new(&secp)));
    hf_secp256k1_address(key->public_key + 1, want);
    for (int v = 27; v <= 28; v++) {
        uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES];
        uint8_t address[HF_ADDRESS_BYTES];
        memcpy(signature, rs, 64);
        signature[64] = (uint8_t)v;
        is_it = is_it || (!hf_failed(hf_secp256k1_recover(secp, digest, signature, address)) &&
                          hf_bytes_equal(address, want, sizeof want));
    }
    hf_secp256k1_free(secp);
    return is_it;
}

/* One of each curve, one of another curve, and a private key whose public half is missing. */
static void make_keys(const fixture *f)
{
    assert_int_equal(token_tool(f, "--keypairgen", "--key-type", "EC:secp256k1", "--label",
                                "sequencer", "--id", "01"),
                     0);
    assert_int_equal(token_tool(f, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "tls",
                                "--id", "02"),
                     0);
    assert_int_equal(token_tool(f, "--keypairgen", "--key-type", "EC:edwards25519", "--label",
                                "sol", "--id", "03"),
                     0);
    assert_int_equal(token_tool(f, "--keypairgen", "--key-type", "EC:secp384r1", "--label", "long",
                                "--id", "04"),
                     0);
    assert_int_equal(token_tool(f, "--keypairgen", "--key-type", "EC:secp256k1", "--label", "half",
                                "--id", "05"),
                     0);
    assert_int_equal(token_tool(f, "--delete-object", "--type", "pubkey", "--id", "05"), 0);
}

/* Another handle, a digest that is none. */
static void check_what_cannot_be(hf_custody *custody, uint64_t handle)
{
    uint8_t digest[32] = {9};
    uint8_t signature[HF_CUSTODY_SIGNATURE_BYTES];
    hf_error err = {0};
    hf_status st =
        custody->ops->sign(custody, 12345, hf_bytes_from(digest, 32), soon(), signature, &err);
    assert_int_equal(st.code, HF_NOT_FOUND);
    st = custody->ops->sign(custody, handle, hf_bytes_from(digest, 31), soon(), signature, &err);
    assert_int_equal(st.code, HF_INVALID_INPUT);
}

static void test_keys_inside(void **state)
{
    const fixture *f = *state;
    static hf_pkcs11_config config; /* large */
    static seen s;
    static seen again;
    uint8_t digest[32];
    uint8_t signature[HF_CUSTODY_SIGNATURE_BYTES];
    token_make(f, &config);
    make_keys(f);
    hf_custody *custody = open_token(&config);
    list_keys(custody, &s);
    assert_int_equal(s.count, 3);
    assert_int_equal(s.failures, 2);
    assert_non_null(strstr(s.failed, "long: its curve"));
    assert_non_null(strstr(s.failed, "half: its public key is not on the token"));

    hf_random(digest, sizeof digest);
    const hf_custody_key *key = key_called(&s, "sequencer");
    assert_int_equal(key->type, HF_CUSTODY_SECP256K1);
    assert_true(key->is_inside);
    assert_int_equal(key->public_len, 65);
    sign_bytes(custody, key->handle, digest, sizeof digest, signature);
    assert_true(recovers(key, digest, signature));

    key = key_called(&s, "sol");
    assert_int_equal(key->public_len, 32);
    static const char message[] = "a message of any length, as Ed25519 takes it";
    sign_bytes(custody, key->handle, (const uint8_t *)message, sizeof message, signature);
    assert_int_equal(crypto_sign_verify_detached(signature, (const uint8_t *)message,
                                                 sizeof message, key->public_key),
                     0);

    /* The same keys have the same handles in another process's list. */
    key = key_called(&s, "tls");
    sign_bytes(custody, key->handle, digest, sizeof digest, signature);
    char in[256];
    char out[256];
    assert_false(hf_failed(hf_str_format(in, sizeof in, "%s/digest", f->root)));
    assert_false(hf_failed(hf_str_format(out, sizeof out, "%s/signature", f->root)));
    assert_false(hf_failed(hf_file_write_atomic(in, digest, sizeof digest, 0600, NULL)));
    assert_false(hf_failed(hf_file_write_atomic(out, signature, sizeof signature, 0600, NULL)));
    custody->ops->close(custody);
    assert_int_equal(token_tool(f, "--verify", "--mechanism", "ECDSA", "--id", "02", "--input-file",
                                in, "--signature-file", out),
                     0);
    custody = open_token(&config);
    list_keys(custody, &again);
    assert_int_equal(key_called(&again, "tls")->handle, key->handle);
    assert_memory_equal(key_called(&again, "tls")->source_id, key->source_id, HF_SOURCE_ID_LEN);

    check_what_cannot_be(custody, key->handle);
    char detail[HF_DETAIL_LEN];
    assert_true(custody->ops->is_healthy(custody, detail));
    assert_non_null(strstr(detail, "3 keys inside"));
    custody->ops->close(custody);
}

static void test_one_key_of_many(void **state)
{
    const fixture *f = *state;
    static hf_pkcs11_config config; /* large */
    static seen s;
    token_make(f, &config);
    assert_int_equal(
        token_tool(f, "--keypairgen", "--key-type", "EC:secp256k1", "--label", "a", "--id", "0a0b"),
        0);
    assert_int_equal(
        token_tool(f, "--keypairgen", "--key-type", "EC:secp256k1", "--label", "b", "--id", "0c"),
        0);
    hf_str_cut(config.keys[0], sizeof config.keys[0], "id=0a0b");
    hf_str_cut(config.keys[1], sizeof config.keys[1], "nobody");
    config.key_count = 2;
    hf_custody *custody = open_token(&config);
    list_keys(custody, &s);
    assert_int_equal(s.count, 1);
    assert_string_equal(s.keys[0].name, "a");
    assert_int_equal(s.failures, 1);
    assert_non_null(strstr(s.failed, "nobody: the token has no such key"));
    custody->ops->close(custody);
    hf_str_cut(config.keys[0], sizeof config.keys[0], "b");
    config.key_count = 1;
    custody = open_token(&config);
    list_keys(custody, &s);
    assert_int_equal(s.count, 1);
    assert_string_equal(s.keys[0].name, "b");
    custody->ops->close(custody);
}

static void test_generate(void **state)
{
    const fixture *f = *state;
    static const hf_custody_type types[] = {HF_CUSTODY_SECP256K1, HF_CUSTODY_P256,
                                            HF_CUSTODY_ED25519};
    static const char *const labels[] = {"new k1", "new r1", "new ed"};
    static hf_pkcs11_config config; /* large */
    hf_custody_key key;
    hf_error err = {0};
    uint8_t digest[32] = {7};
    uint8_t signature[HF_CUSTODY_SIGNATURE_BYTES];
    token_make(f, &config);
    hf_custody *custody = open_token(&config);
    for (size_t i = 0; i < HF_ARRAY_LEN(types); i++) {
        hf_status st = hf_custody_pkcs11_generate(custody, types[i], labels[i], soon(), &key, &err);
        if (hf_failed(st)) {
            fail_msg("%s", err.msg);
        }
        assert_int_equal(key.type, types[i]);
        assert_string_equal(key.name, labels[i]);
        sign_bytes(custody, key.handle, digest, sizeof digest, signature);
        if (types[i] == HF_CUSTODY_SECP256K1) {
            assert_true(recovers(&key, digest, signature));
        }
        st = hf_custody_pkcs11_generate(custody, types[i], labels[i], soon(), &key, &err);
        assert_int_equal(st.code, HF_CONFLICT);
    }
    assert_int_equal(
        hf_custody_pkcs11_generate(custody, HF_CUSTODY_BLS, "x", soon(), &key, &err).code,
        HF_USAGE);
    custody->ops->close(custody);
}

/* ---- wrapping ------------------------------------------------------------------------------- */

static void check_wrap(hf_custody *custody, const char *reference, hf_p11_mechanism expected)
{
    static const char context[] = "what it is for";
    static const char other[] = "what it is not for";
    uint8_t secret[33];
    uint8_t blob[HF_P11_BLOB_MAX];
    uint8_t back[HF_P11_SECRET_MAX];
    size_t len = sizeof blob;
    size_t back_len = sizeof back;
    hf_error err = {0};
    hf_random(secret, sizeof secret);
    hf_bytes for_it = hf_bytes_from(context, sizeof context);
    hf_status st = custody->ops->wrap(custody, reference, for_it, hf_bytes_from(secret, 33), soon(),
                                      blob, &len, &err);
    if (hf_failed(st)) {
        fail_msg("%s: %s", reference, err.msg);
    }
    assert_int_equal(blob[4], expected);
    assert_null(memmem(blob, len, secret, 8));
    st = custody->ops->unwrap(custody, reference, for_it, hf_bytes_from(blob, len), soon(), back,
                              &back_len, &err);
    assert_int_equal(st.code, HF_OK);
    assert_int_equal(back_len, 33);
    assert_memory_equal(back, secret, 33);

    back_len = sizeof back;
    st = custody->ops->unwrap(custody, reference, hf_bytes_from(other, sizeof other),
                              hf_bytes_from(blob, len), soon(), back, &back_len, &err);
    assert_int_equal(st.code, HF_DENIED);
    for (size_t i = 0; i < len; i += 7) {
        blob[i] ^= 1;
        back_len = sizeof back;
        st = custody->ops->unwrap(custody, reference, for_it, hf_bytes_from(blob, len), soon(),
                                  back, &back_len, &err);
        assert_true(st.code == HF_DENIED || st.code == HF_INVALID_INPUT);
        blob[i] ^= 1;
    }
    st = custody->ops->unwrap(custody, reference, for_it, hf_bytes_from(blob, len - 1), soon(),
                              back, &back_len, &err);
    assert_true(st.code == HF_DENIED || st.code == HF_INVALID_INPUT);
    assert_null(strstr(err.msg, "what it is"));
}

/* An AES key that may wrap keys and not encrypt bytes, which pkcs11-tool does not make. */
static void make_wrap_only(hf_custody *custody)
{
    const hf_pkcs11 *p11 = (const hf_pkcs11 *)custody;
    CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_ULONG len = 32;
    char label[] = "wrap-only";
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &yes, sizeof yes},        {CKA_ENCRYPT, &no, sizeof no},
        {CKA_DECRYPT, &no, sizeof no},        {CKA_WRAP, &yes, sizeof yes},
        {CKA_UNWRAP, &yes, sizeof yes},       {CKA_VALUE_LEN, &len, sizeof len},
        {CKA_LABEL, label, sizeof label - 1},
    };
    CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    assert_int_equal(p11->f->C_OpenSession(p11->slot, flags, NULL, NULL, &session), CKR_OK);
    assert_int_equal(
        p11->f->C_GenerateKey(session, &mechanism, template, HF_ARRAY_LEN(template), &key), CKR_OK);
    assert_int_equal(p11->f->C_CloseSession(session), CKR_OK);
}

static void test_wrapping(void **state)
{
    const fixture *f = *state;
    static hf_pkcs11_config config; /* large */
    hf_error err = {0};
    uint8_t blob[HF_P11_BLOB_MAX];
    size_t len = sizeof blob;
    token_make(f, &config);
    assert_int_equal(token_tool(f, "--keypairgen", "--key-type", "rsa:2048", "--label", "rsa-kek",
                                "--usage-decrypt", "--id", "22"),
                     0);
    hf_custody *custody = open_token(&config);
    assert_int_equal(hf_custody_pkcs11_generate_wrap_key(custody, "kek", soon(), &err).code, HF_OK);
    assert_int_equal(hf_custody_pkcs11_generate_wrap_key(custody, "kek", soon(), &err).code,
                     HF_CONFLICT);
    make_wrap_only(custody);
    check_wrap(custody, "kek", HF_P11_AES_GCM);
    check_wrap(custody, "wrap-only", HF_P11_AES_WRAP_PAD);
    check_wrap(custody, "id=22", HF_P11_OAEP_SHA1);

    hf_status st = custody->ops->wrap(custody, "nobody", hf_bytes_from("c", 1),
                                      hf_bytes_from("s", 1), soon(), blob, &len, &err);
    assert_int_equal(st.code, HF_NOT_FOUND);
    uint8_t large[HF_P11_SECRET_MAX + 1] = {0};
    st = custody->ops->wrap(custody, "kek", hf_bytes_from("c", 1),
                            hf_bytes_from(large, sizeof large), soon(), blob, &len, &err);
    assert_int_equal(st.code, HF_INVALID_INPUT);
    len = sizeof blob;
    st = custody->ops->wrap(custody, "rsa-kek", hf_bytes_from("c", 1),
                            hf_bytes_from(large, HF_P11_SECRET_MAX), soon(), blob, &len, &err);
    assert_int_equal(st.code, HF_OK);
    uint8_t back[8];
    size_t back_len = sizeof back;
    st = custody->ops->unwrap(custody, "kek", hf_bytes_from("c", 1), hf_bytes_from(blob, len),
                              soon(), back, &back_len, &err);
    assert_int_equal(st.code, HF_DENIED);
    st = custody->ops->unwrap(custody, "rsa-kek", hf_bytes_from("c", 1), hf_bytes_from(blob, len),
                              soon(), back, &back_len, &err);
    assert_int_equal(st.code, HF_LIMIT);
    custody->ops->close(custody);
}

/* Writes a wrapped key as `holdfast key wrap` does; its name is name.wrapped. */
static void wrap_bls(hf_custody *custody, const char *folder, const char *name,
                     const uint8_t secret[32], const uint8_t stated[HF_BLS_PUBKEY_BYTES])
{
    hf_wrapped_key key = {.blob_len = sizeof key.blob};
    uint8_t context[HF_WRAPPED_KEY_CONTEXT_MAX];
    hf_buf *text = NULL;
    hf_error err = {0};
    char file[64];
    memcpy(key.pubkey, stated, sizeof key.pubkey);
    hf_str_cut(key.wrap_key, sizeof key.wrap_key, "kek");
    size_t len = hf_wrapped_key_context(stated, context);
    hf_status st =
        custody->ops->wrap(custody, "kek", hf_bytes_from(context, len), hf_bytes_from(secret, 32),
                           soon(), key.blob, &key.blob_len, &err);
    if (hf_failed(st)) {
        fail_msg("%s", err.msg);
    }
    assert_false(hf_failed(hf_wrapped_key_print(&key, &text, &err)));
    (void)snprintf(file, sizeof file, "%s.wrapped", name);
    write_file(folder, file, hf_buf_text(text));
    hf_buf_free(text);
}

static void test_wrapped_bls_keys(void **state)
{
    const fixture *f = *state;
    static hf_pkcs11_config config; /* large */
    hf_error err = {0};
    uint8_t secret[2][32] = {{0}};
    uint8_t pubkey[2][HF_BLS_PUBKEY_BYTES];
    static seen s;
    token_make(f, &config);
    assert_false(
        hf_failed(hf_str_format(config.blob_dir, sizeof config.blob_dir, "%s/blobs", f->root)));
    assert_int_equal(mkdir(config.blob_dir, 0700), 0);
    for (int i = 0; i < 2; i++) {
        hf_bls_key key;
        hf_random(secret[i] + 1, 31); /* below the order */
        assert_false(hf_failed(hf_bls_key_from_bytes(secret[i], &key)));
        hf_bls_pubkey(&key, pubkey[i]);
    }
    hf_custody *custody = open_token(&config);
    assert_int_equal(hf_custody_pkcs11_generate_wrap_key(custody, "kek", soon(), &err).code, HF_OK);
    wrap_bls(custody, config.blob_dir, "good", secret[0], pubkey[0]);
    wrap_bls(custody, config.blob_dir, "lies", secret[1], pubkey[0]);
    write_file(config.blob_dir, "broken.wrapped", "holdfast-wrapped-key: 2\n");
    write_file(config.blob_dir, "README", "not one of them");
    list_keys(custody, &s);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.keys[0].type, HF_CUSTODY_BLS);
    assert_false(s.keys[0].is_inside);
    assert_memory_equal(s.keys[0].secret, secret[0], 32);
    assert_memory_equal(s.keys[0].public_key, pubkey[0], HF_BLS_PUBKEY_BYTES);
    assert_int_equal(s.failures, 2);
    assert_non_null(strstr(s.failed, "has another public key"));
    assert_non_null(strstr(s.failed, "line 2"));
    custody->ops->close(custody);

    /* A blob says which key unwraps it: not where the configuration says it already. */
    hf_str_cut(config.wrap_key, sizeof config.wrap_key, "other");
    custody = open_token(&config);
    list_keys(custody, &s);
    assert_int_equal(s.count, 0);
    assert_non_null(strstr(s.failed, "another wrapping key"));
    custody->ops->close(custody);
}

static void test_wrapped_key_text(void **state)
{
    static const char good[] = "holdfast-wrapped-key: 1\ntype: bls\npublic_key: 0x" /* 96 digits */
                               "a99a76ed7796f7be22d5b7e85deeb7c5677e88e511e0b337618f8c4eb61349b4"
                               "bf2d153f649f7b53359fe8b94a38e44c"
                               "\nwrap_key: my kek\nblob: 0x0102\n";
    hf_wrapped_key key;
    hf_error err = {0};
    (void)state;
    assert_int_equal(hf_wrapped_key_parse(hf_bytes_from(good, strlen(good)), &key, &err).code,
                     HF_OK);
    assert_string_equal(key.wrap_key, "my kek");
    assert_int_equal(key.blob_len, 2);
    hf_buf *text = NULL;
    assert_false(hf_failed(hf_wrapped_key_print(&key, &text, &err)));
    assert_string_equal(hf_buf_text(text), good);
    hf_buf_free(text);
    /* Cut anywhere but at the closing newline, or changed, it is refused or another one. */
    for (size_t len = 0; len < strlen(good) - 3; len++) {
        assert_int_equal(hf_wrapped_key_parse(hf_bytes_from(good, len), &key, &err).code,
                         HF_INVALID_INPUT);
    }
    static const char *const wrong[] = {
        "holdfast-wrapped-key: 2\n",
        "holdfast-wrapped-key: 1\ntype: secp256k1\n",
        "holdfast-wrapped-key: 1\r\ntype: bls\r\n",
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(wrong); i++) {
        assert_int_equal(
            hf_wrapped_key_parse(hf_bytes_from(wrong[i], strlen(wrong[i])), &key, &err).code,
            HF_INVALID_INPUT);
    }
}

/* ---- forms of points and curves ---------------------------------------------------------------
 */

static void test_points(void **state)
{
    uint8_t der[68] = {0};
    uint8_t out[HF_CUSTODY_PUBLIC_MAX];
    uint32_t len = 0;
    (void)state;
    der[0] = 0x04;
    der[1] = 65;
    der[2] = 0x04;
    memset(der + 3, 0x55, 64);
    assert_int_equal(hf_p11_point(HF_CUSTODY_SECP256K1, hf_bytes_from(der, 67), out, &len).code,
                     HF_OK);
    assert_int_equal(len, 65);
    assert_memory_equal(out, der + 2, 65);
    assert_int_equal(hf_p11_point(HF_CUSTODY_P256, hf_bytes_from(der + 2, 65), out, &len).code,
                     HF_OK);
    assert_memory_equal(out, der + 2, 65);
    assert_int_equal(hf_p11_point(HF_CUSTODY_P256, hf_bytes_from(der + 3, 64), out, &len).code,
                     HF_OK);
    assert_memory_equal(out, der + 2, 65);
    uint8_t bits[68] = {0x03, 66, 0, 0x04};
    memset(bits + 4, 0x55, 64);
    assert_int_equal(hf_p11_point(HF_CUSTODY_SECP256K1, hf_bytes_from(bits, 68), out, &len).code,
                     HF_OK);
    assert_memory_equal(out, der + 2, 65);
    for (size_t wrong = 0; wrong < 64; wrong++) {
        assert_int_equal(
            hf_p11_point(HF_CUSTODY_SECP256K1, hf_bytes_from(der, wrong), out, &len).code,
            HF_INVALID_INPUT);
    }
    der[2] = 0x05; /* neither raw nor uncompressed */
    assert_int_equal(hf_p11_point(HF_CUSTODY_SECP256K1, hf_bytes_from(der, 67), out, &len).code,
                     HF_INVALID_INPUT);

    uint8_t edwards[35] = {0x04, 32};
    memset(edwards + 2, 0x66, 33);
    assert_int_equal(hf_p11_point(HF_CUSTODY_ED25519, hf_bytes_from(edwards, 34), out, &len).code,
                     HF_OK);
    assert_int_equal(len, 32);
    assert_int_equal(
        hf_p11_point(HF_CUSTODY_ED25519, hf_bytes_from(edwards + 2, 32), out, &len).code, HF_OK);
    assert_int_equal(hf_p11_point(HF_CUSTODY_ED25519, hf_bytes_from(edwards, 33), out, &len).code,
                     HF_INVALID_INPUT);

    static const uint8_t k1[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a};
    static const uint8_t k2[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
    static const uint8_t ed[] = {0x06, 0x03, 0x2b, 0x65, 0x70};
    assert_int_equal(hf_p11_curve(hf_bytes_from(k1, sizeof k1)), HF_CUSTODY_SECP256K1);
    assert_int_equal(hf_p11_curve(hf_bytes_from(k2, sizeof k2)), HF_CUSTODY_TYPE_COUNT);
    assert_int_equal(hf_p11_curve(hf_bytes_from(ed, sizeof ed)), HF_CUSTODY_ED25519);
    assert_int_equal(hf_p11_curve(hf_bytes_from(k1, 0)), HF_CUSTODY_TYPE_COUNT);
}

/* ---- configuration ----------------------------------------------------------------------------
 */

static hf_code open_code(const hf_pkcs11_config *config, hf_error *err)
{
    hf_custody *custody = NULL;
    hf_status st = hf_custody_pkcs11_open(config, &custody, err);
    assert_true(hf_failed(st));
    assert_null(custody);
    return st.code;
}

static void test_wrong_settings(void **state)
{
    const fixture *f = *state;
    static hf_pkcs11_config config = {.module = "relative.so"};
    hf_error err = {0};
    assert_int_equal(open_code(&config, &err), HF_USAGE);
    hf_str_cut(config.module, sizeof config.module, "/nonexistent/module.so");
    assert_int_equal(open_code(&config, &err), HF_USAGE);
    assert_non_null(strstr(err.msg, "/nonexistent/module.so"));
    hf_str_cut(config.keys[0], sizeof config.keys[0], "id=0");
    config.key_count = 1;
    assert_int_equal(open_code(&config, &err), HF_USAGE);
    config.key_count = 0;
    write_file(f->root, "pin", "1234\n");
    assert_false(
        hf_failed(hf_str_format(config.pin_file, sizeof config.pin_file, "%s/pin", f->root)));
    assert_int_equal(chmod(config.pin_file, 0644), 0);
    assert_int_equal(open_code(&config, &err), HF_DENIED);
    assert_null(strstr(err.msg, "1234"));
}

static void test_cloudhsm(void **state)
{
    const fixture *f = *state;
    static hf_pkcs11_config config = {.pin_file = "/etc/holdfast/crypto-user"};
    hf_error err = {0};
    char path[256];
    assert_false(hf_failed(hf_str_format(path, sizeof path, "%s/sdk.cfg", f->root)));
    write_file(f->root, "sdk.cfg", "{\"clusters\": [{\"cluster_id\": \"cluster-abcdefghijk\"}]}");
    assert_int_equal(hf_pkcs11_config_cloudhsm(&config, "cluster-abcdefghijk", path, &err).code,
                     HF_OK);
    assert_string_equal(config.module, "/opt/cloudhsm/lib/libcloudhsm_pkcs11.so");
    assert_true(config.token_makes_iv);
    assert_int_equal(hf_pkcs11_config_cloudhsm(&config, "cluster-abcdefghij", path, &err).code,
                     HF_USAGE);
    assert_int_equal(hf_pkcs11_config_cloudhsm(&config, "cluster", path, &err).code, HF_USAGE);
    assert_int_equal(hf_pkcs11_config_cloudhsm(&config, "cluster-../x", path, &err).code, HF_USAGE);
    write_file(f->root, "sdk.cfg",
               "{\"clusters\": [{\"servers\": [{\"hostname\": \"10.0.0.1\"}]}]}");
    assert_int_equal(hf_pkcs11_config_cloudhsm(&config, "cluster-zzz", path, &err).code, HF_OK);
    config.pin_file[0] = '\0';
    assert_int_equal(hf_pkcs11_config_cloudhsm(&config, "cluster-zzz", path, &err).code, HF_USAGE);
}

int main(void)
{
    const struct CMUnitTest pure[] = {
        cmocka_unit_test(test_points),
        cmocka_unit_test(test_wrapped_key_text),
        cmocka_unit_test_setup_teardown(test_wrong_settings, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_cloudhsm, fixture_setup, fixture_teardown),
    };
    const struct CMUnitTest token[] = {
        cmocka_unit_test_setup_teardown(test_keys_inside, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_one_key_of_many, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_generate, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_wrapping, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_wrapped_bls_keys, fixture_setup, fixture_teardown),
    };
    int failed = cmocka_run_group_tests(pure, NULL, NULL);
    if (token_module() == NULL || !has_program("/usr/bin/pkcs11-tool")) {
        print_message("skipped: the tests with a token need softhsm2 and opensc\n");
        return failed != 0 ? 1 : 77;
    }
    return failed + cmocka_run_group_tests(token, NULL, NULL);
}
