/*
 * Web3 Secret Storage, version 3: keystores of Ethereum accounts, as geth and web3 libraries write
 * them. Like EIP-2335's reader, it checks every member before any costly work begins.
 */
#include "keystore_members.h"

#define IV_BYTES 16
#define KEYSTORE_VERSION 3

typedef struct keystore {
    hf_kdf_params kdf;
    uint8_t mac[HF_KECCAK_BYTES];
    uint8_t iv[IV_BYTES];
    uint8_t message[HF_SECP256K1_SECRET_BYTES];
    size_t message_len; /* a secret with leading zeros may have been cut to its significant bytes */
    bool has_address;
    uint8_t address[HF_ADDRESS_BYTES];
} keystore;

static hf_status get_message(json_t *root, keystore *store, hf_error *err)
{
    const char *text = "";
    size_t len = 0;
    hf_status st = hf_member_text(root, "crypto.ciphertext", &text, &len, err);
    if (hf_failed(st)) {
        return st;
    }
    bool has_prefix = len >= 2 && text[0] == '0' && text[1] == 'x';
    store->message_len = (has_prefix ? len - 2 : len) / 2;
    if (store->message_len == 0 || store->message_len > sizeof store->message ||
        hf_failed(hf_hex_decode(text, len, store->message, store->message_len))) {
        return hf_fail(err, HF_INVALID_INPUT, "crypto.ciphertext: must be 1 to %zu bytes in hex",
                       sizeof store->message);
    }
    return st;
}

static hf_status get_cipher(json_t *root, keystore *store, hf_error *err)
{
    hf_status st = hf_member_expect(root, "crypto.cipher", "aes-128-ctr", err);
    if (!hf_failed(st)) {
        st = hf_member_hex(root, "crypto.cipherparams.iv", store->iv, sizeof store->iv, err);
    }
    if (!hf_failed(st)) {
        st = get_message(root, store, err);
    }
    if (!hf_failed(st)) {
        st = hf_member_hex(root, "crypto.mac", store->mac, sizeof store->mac, err);
    }
    return st;
}

/* Optional: some wallets leave the address out for privacy. */
static hf_status get_address(json_t *root, keystore *store, hf_error *err)
{
    json_t *value = json_object_get(root, "address");
    if (value == NULL || json_is_null(value) ||
        (json_is_string(value) && json_string_length(value) == 0)) {
        return hf_ok();
    }
    store->has_address = true;
    return hf_member_hex(root, "address", store->address, sizeof store->address, err);
}

/* The first wallets of this version wrote the member in upper case; all readers accept both. */
static hf_status rename_crypto(json_t *root, hf_error *err)
{
    json_t *old_name = json_object_get(root, "Crypto");
    if (old_name != NULL && json_object_get(root, "crypto") == NULL &&
        json_object_set(root, "crypto", old_name) != 0) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    return hf_ok();
}

static hf_status parse_root(json_t *root, keystore *store, hf_error *err)
{
    uint64_t version = 0;
    hf_status st = rename_crypto(root, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_member_integer(root, "version", &version, err);
    if (!hf_failed(st) && version != KEYSTORE_VERSION) {
        st = hf_fail(err, HF_INVALID_INPUT,
                     "version: a secp256k1 key is kept in a keystore of version %d",
                     KEYSTORE_VERSION);
    }
    if (!hf_failed(st)) {
        st = hf_member_kdf(root, "crypto.kdf", "crypto.kdfparams", &store->kdf, err);
    }
    if (!hf_failed(st)) {
        st = get_cipher(root, store, err);
    }
    if (!hf_failed(st)) {
        st = get_address(root, store, err);
    }
    return st;
}

static hf_status parse(hf_bytes json, keystore *ret_store, hf_error *err)
{
    keystore store = {.message_len = 0};
    json_t *root = NULL;
    hf_status st = hf_member_parse(json, &root, err);
    if (hf_failed(st)) {
        return st;
    }
    st = parse_root(root, &store, err);
    if (!hf_failed(st)) {
        *ret_store = store;
    }
    json_decref(root);
    return st;
}

/* An EIP-2335 keystore whose version was altered is still none of ours: its kdf is an object. */
bool hf_keystore_is_v3(hf_bytes json)
{
    json_t *root = NULL;
    uint64_t version = 0;
    const char *kdf = "";
    size_t len = 0;
    if (hf_failed(hf_member_parse(json, &root, NULL))) {
        return false;
    }
    bool is_v3 = !hf_failed(rename_crypto(root, NULL)) &&
                 !hf_failed(hf_member_integer(root, "version", &version, NULL)) &&
                 version == KEYSTORE_VERSION &&
                 !hf_failed(hf_member_text(root, "crypto.kdf", &kdf, &len, NULL));
    json_decref(root);
    return is_v3;
}

hf_status hf_keystore_v3_memory(hf_bytes json, uint64_t *ret_bytes, hf_error *err)
{
    keystore store;
    hf_status st = parse(json, &store, err);
    if (!hf_failed(st)) {
        *ret_bytes = hf_kdf_memory(&store.kdf);
    }
    return st;
}

hf_status hf_keystore_v3_address(hf_bytes json, uint8_t ret_address[HF_ADDRESS_BYTES],
                                 hf_error *err)
{
    keystore store;
    hf_status st = parse(json, &store, err);
    if (hf_failed(st)) {
        return st;
    }
    if (!store.has_address) {
        return hf_fail(err, HF_NOT_FOUND, "address: missing");
    }
    memcpy(ret_address, store.address, sizeof store.address);
    return st;
}

/* keccak256(derived key[16:32] || ciphertext) is the MAC. */
static bool mac_matches(const keystore *store, const uint8_t key[HF_DECRYPTION_KEY_BYTES])
{
    uint8_t preimage[16 + sizeof store->message];
    uint8_t digest[HF_KECCAK_BYTES];
    memcpy(preimage, key + 16, 16);
    memcpy(preimage + 16, store->message, store->message_len);
    hf_keccak256(preimage, 16 + store->message_len, digest);
    bool same = hf_secret_equal(digest, store->mac, sizeof digest);
    hf_wipe(preimage, sizeof preimage);
    hf_wipe(digest, sizeof digest);
    return same;
}

static hf_status check_key(const keystore *store, const uint8_t secret[HF_SECP256K1_SECRET_BYTES],
                           hf_secp256k1_key *ret_key, hf_error *err)
{
    hf_secp256k1 *secp = NULL;
    hf_secp256k1_key found = {{0}};
    uint8_t pubkey[HF_SECP256K1_PUBKEY_BYTES];
    uint8_t address[HF_ADDRESS_BYTES];
    hf_status st = hf_secp256k1_new(&secp);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "libsecp256k1 could not be prepared");
    }
    if (hf_failed(hf_secp256k1_key_from_bytes(secp, secret, &found))) {
        st =
            hf_fail(err, HF_CORRUPT, "the secret in it is not a secp256k1 key (0, or not below n)");
        goto out;
    }
    hf_secp256k1_pubkey(secp, &found, pubkey);
    hf_secp256k1_address(pubkey, address);
    if (store->has_address && !hf_bytes_equal(address, store->address, sizeof address)) {
        st = hf_fail(err, HF_CORRUPT, "address: is not that of the key in the file");
        goto out;
    }
    *ret_key = found;
out:
    hf_wipe(&found, sizeof found);
    hf_secp256k1_free(secp);
    return st;
}

hf_status hf_keystore_v3_decrypt(hf_bytes json, hf_bytes password, const hf_keystore_limits *limits,
                                 hf_secp256k1_key *ret_key, hf_error *err)
{
    keystore store;
    uint8_t key[HF_DECRYPTION_KEY_BYTES] = {0};
    uint8_t secret[HF_SECP256K1_SECRET_BYTES] = {0};
    if (password.len > HF_PASSWORD_MAX_BYTES) {
        return hf_fail(err, HF_LIMIT, "the password is longer than %d bytes",
                       HF_PASSWORD_MAX_BYTES);
    }
    hf_status st = parse(json, &store, err);
    if (!hf_failed(st)) {
        st = hf_kdf_check_memory(&store.kdf, limits, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    st = hf_kdf_derive(&store.kdf, hf_password_trim(password), key, err);
    if (hf_failed(st)) {
        goto out;
    }
    if (!mac_matches(&store, key)) {
        st = hf_fail(err, HF_DENIED, "wrong password");
        goto out;
    }
    size_t zeros = sizeof secret - store.message_len;
    st = hf_aes128_ctr(key, store.iv, store.message, store.message_len, secret + zeros);
    st = hf_failed(st) ? hf_fail(err, st.code, "aes-128-ctr failed")
                       : check_key(&store, secret, ret_key, err);
out:
    hf_wipe(key, sizeof key);
    hf_wipe(secret, sizeof secret);
    return st;
}
