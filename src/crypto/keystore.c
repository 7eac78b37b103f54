/*
 * EIP-2335 keystores, version 4: reading. The file is data from outside: every member is checked,
 * with its name in the error, before any costly work begins.
 */
#include "keystore_members.h"

#define MESSAGE_BYTES_MAX (HF_KEYSTORE_TEXT_BYTES - 1)
#define IV_BYTES 16
#define KEYSTORE_VERSION 4

typedef struct keystore {
    hf_kdf_params kdf;
    uint8_t checksum[32];
    uint8_t iv[IV_BYTES];
    size_t message_len;
    uint8_t message[MESSAGE_BYTES_MAX];
    bool has_pubkey;
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
} keystore;

/* A key has 32 bytes, a text as many as it has. */
static size_t length_of_text(json_t *root)
{
    json_t *cipher = json_object_get(json_object_get(root, "crypto"), "cipher");
    size_t len = json_string_length(json_object_get(cipher, "message")) / 2;
    return len < 1 || len > MESSAGE_BYTES_MAX ? MESSAGE_BYTES_MAX : len;
}

static hf_status get_cipher(json_t *root, keystore *store, hf_error *err)
{
    hf_status st = hf_member_expect(root, "crypto.checksum.function", "sha256", err);
    if (!hf_failed(st)) {
        st = hf_member_hex(root, "crypto.checksum.message", store->checksum, sizeof store->checksum,
                           err);
    }
    if (!hf_failed(st)) {
        st = hf_member_expect(root, "crypto.cipher.function", "aes-128-ctr", err);
    }
    if (!hf_failed(st)) {
        st = hf_member_hex(root, "crypto.cipher.params.iv", store->iv, sizeof store->iv, err);
    }
    if (!hf_failed(st)) {
        st = hf_member_hex(root, "crypto.cipher.message", store->message, store->message_len, err);
    }
    return st;
}

/* The pubkey is optional in the EIP; some tools write an empty one. */
static hf_status get_pubkey(json_t *root, keystore *store, hf_error *err)
{
    json_t *value = json_object_get(root, "pubkey");
    if (value == NULL || (json_is_string(value) && json_string_length(value) == 0)) {
        return hf_ok();
    }
    store->has_pubkey = true;
    return hf_member_hex(root, "pubkey", store->pubkey, sizeof store->pubkey, err);
}

static hf_status parse_root(json_t *root, keystore *store, hf_error *err)
{
    uint64_t version = 0;
    hf_status st = hf_member_integer(root, "version", &version, err);
    if (!hf_failed(st) && version != KEYSTORE_VERSION) {
        st = hf_fail(err, HF_INVALID_INPUT, "version: only %d is supported", KEYSTORE_VERSION);
    }
    if (!hf_failed(st)) {
        st = hf_member_kdf(root, "crypto.kdf.function", "crypto.kdf.params", &store->kdf, err);
    }
    if (!hf_failed(st)) {
        st = get_cipher(root, store, err);
    }
    if (!hf_failed(st)) {
        st = get_pubkey(root, store, err);
    }
    return st;
}

static hf_status parse_as(hf_bytes json, bool is_text, keystore *ret_store, hf_error *err)
{
    keystore store = {.message_len = HF_BLS_SECRET_BYTES};
    json_t *root = NULL;
    hf_status st = hf_member_parse(json, &root, err);
    if (hf_failed(st)) {
        return st;
    }
    store.message_len = is_text ? length_of_text(root) : store.message_len;
    st = parse_root(root, &store, err);
    if (!hf_failed(st)) {
        *ret_store = store;
    }
    json_decref(root);
    return st;
}

static hf_status parse(hf_bytes json, keystore *ret_store, hf_error *err)
{
    return parse_as(json, false, ret_store, err);
}

hf_status hf_keystore_kdf_memory(hf_bytes json, uint64_t *ret_bytes, hf_error *err)
{
    keystore store;
    if (hf_keystore_is_v3(json)) {
        return hf_keystore_v3_memory(json, ret_bytes, err);
    }
    hf_status st = parse(json, &store, err);
    if (!hf_failed(st)) {
        *ret_bytes = hf_kdf_memory(&store.kdf);
    }
    return st;
}

hf_status hf_keystore_pubkey(hf_bytes json, uint8_t ret_pubkey[HF_BLS_PUBKEY_BYTES], hf_error *err)
{
    keystore store;
    hf_status st = parse(json, &store, err);
    if (hf_failed(st)) {
        return st;
    }
    if (!store.has_pubkey) {
        return hf_fail(err, HF_NOT_FOUND, "pubkey: missing");
    }
    memcpy(ret_pubkey, store.pubkey, sizeof store.pubkey);
    return st;
}

/* sha256(decryption_key[16:32] || cipher.message) is the checksum. */
static bool checksum_matches(const keystore *store, const uint8_t key[HF_DECRYPTION_KEY_BYTES])
{
    uint8_t preimage[16 + MESSAGE_BYTES_MAX];
    uint8_t digest[32];
    memcpy(preimage, key + 16, 16);
    memcpy(preimage + 16, store->message, store->message_len);
    hf_sha256(preimage, 16 + store->message_len, digest);
    bool same = hf_secret_equal(digest, store->checksum, sizeof digest);
    hf_wipe(preimage, sizeof preimage);
    hf_wipe(digest, sizeof digest);
    return same;
}

static hf_status open_message(const keystore *store, const uint8_t key[HF_DECRYPTION_KEY_BYTES],
                              hf_bls_key *ret_key, hf_error *err)
{
    uint8_t secret[HF_BLS_SECRET_BYTES];
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    hf_bls_key found = {0};
    hf_status st = hf_aes128_ctr(key, store->iv, store->message, sizeof secret, secret);
    if (hf_failed(st)) {
        st = hf_fail(err, st.code, "aes-128-ctr failed");
        goto out;
    }
    if (hf_failed(hf_bls_key_from_bytes(secret, &found))) {
        st = hf_fail(err, HF_CORRUPT, "the secret in it is not a BLS key (0, or not below r)");
        goto out;
    }
    hf_bls_pubkey(&found, pubkey);
    if (store->has_pubkey && !hf_bytes_equal(pubkey, store->pubkey, sizeof pubkey)) {
        st = hf_fail(err, HF_CORRUPT, "pubkey: is not that of the key in the file");
        goto out;
    }
    *ret_key = found;
out:
    hf_wipe(secret, sizeof secret);
    hf_wipe(&found, sizeof found);
    return st;
}

/* The decryption key, when the password is that of the checksum. */
static hf_status unlock(const keystore *store, hf_bytes password, const hf_keystore_limits *limits,
                        uint8_t ret_key[HF_DECRYPTION_KEY_BYTES], hf_error *err)
{
    hf_buf *normal = NULL;
    hf_status st = hf_kdf_check_memory(&store->kdf, limits, err);
    if (!hf_failed(st)) {
        st = hf_password_normalise(password, &normal, err);
    }
    if (!hf_failed(st)) {
        st = hf_kdf_derive(&store->kdf, hf_bytes_from(hf_buf_peek(normal), hf_buf_len(normal)),
                           ret_key, err);
    }
    if (!hf_failed(st) && !checksum_matches(store, ret_key)) {
        st = hf_fail(err, HF_DENIED, "wrong password");
    }
    hf_buf_free(normal);
    return st;
}

hf_status hf_keystore_decrypt(hf_bytes json, hf_bytes password, const hf_keystore_limits *limits,
                              hf_bls_key *ret_key, hf_error *err)
{
    keystore store;
    uint8_t key[HF_DECRYPTION_KEY_BYTES] = {0};
    hf_status st = parse(json, &store, err);
    if (!hf_failed(st)) {
        st = unlock(&store, password, limits, key, err);
    }
    if (!hf_failed(st)) {
        st = open_message(&store, key, ret_key, err);
    }
    hf_wipe(key, sizeof key);
    return st;
}

hf_status hf_keystore_decrypt_text(hf_bytes json, hf_bytes password,
                                   const hf_keystore_limits *limits,
                                   char ret_text[HF_KEYSTORE_TEXT_BYTES], hf_error *err)
{
    keystore store;
    uint8_t key[HF_DECRYPTION_KEY_BYTES] = {0};
    uint8_t text[MESSAGE_BYTES_MAX];
    hf_status st = parse_as(json, true, &store, err);
    if (!hf_failed(st)) {
        st = unlock(&store, password, limits, key, err);
    }
    if (!hf_failed(st)) {
        st = hf_aes128_ctr(key, store.iv, store.message, store.message_len, text);
        st = hf_failed(st) ? hf_fail(err, st.code, "aes-128-ctr failed") : st;
    }
    if (!hf_failed(st) && memchr(text, '\0', store.message_len) != NULL) {
        st = hf_fail(err, HF_CORRUPT, "the secret in it is no text");
    }
    if (!hf_failed(st)) {
        memcpy(ret_text, text, store.message_len);
        ret_text[store.message_len] = '\0';
    }
    hf_wipe(key, sizeof key);
    hf_wipe(text, sizeof text);
    return st;
}
