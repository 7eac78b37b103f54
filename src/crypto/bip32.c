/* BIP-32: private keys of secp256k1 along a path, by libsecp256k1 and OpenSSL's HMAC-SHA512. */
#include "crypto.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <secp256k1.h>

#define HARDENED 0x80000000U
#define LEVELS_MAX 16
#define HALF 32
#define COMPRESSED_BYTES 33

typedef struct node {
    uint8_t key[HALF];
    uint8_t chain_code[HALF];
} node;

static bool hmac_sha512(const void *key, size_t key_len, const uint8_t *data, size_t len,
                        uint8_t ret_mac[2 * HALF])
{
    unsigned mac_len = 0;
    return HMAC(EVP_sha512(), key, (int)key_len, data, len, ret_mac, &mac_len) != NULL &&
           mac_len == 2 * HALF;
}

/* Reads "/44'" at *path and moves behind it. */
static bool next_level(const char **path, uint32_t *ret_index)
{
    const char *digits = *path + 1;
    uint64_t value = 0;
    if (**path != '/') {
        return false;
    }
    size_t len = strspn(digits, "0123456789");
    if (hf_failed(hf_num_parse_u64(digits, len, &value)) || value >= HARDENED) {
        return false;
    }
    digits += len;
    *ret_index = (uint32_t)value;
    if (*digits == '\'' || *digits == 'h') {
        *ret_index |= HARDENED;
        digits++;
    }
    *path = digits;
    return *digits == '/' || *digits == '\0';
}

static bool read_path(const char *path, uint32_t ret_indices[LEVELS_MAX], size_t *ret_levels)
{
    if (*path++ != 'm') {
        return false;
    }
    *ret_levels = 0;
    while (*path != '\0') {
        if (*ret_levels == LEVELS_MAX || !next_level(&path, &ret_indices[*ret_levels])) {
            return false;
        }
        ++*ret_levels;
    }
    return true;
}

/* What the parent's chain code is asked for: its public key, or the private one when hardened. */
static bool fill_data(const secp256k1_context *library, const node *parent, uint32_t index,
                      uint8_t data[COMPRESSED_BYTES + 4])
{
    secp256k1_pubkey point;
    size_t len = COMPRESSED_BYTES;
    data[0] = 0;
    memcpy(data + 1, parent->key, HALF);
    if ((index & HARDENED) == 0) {
        if (secp256k1_ec_pubkey_create(library, &point, parent->key) != 1) {
            return false;
        }
        (void)secp256k1_ec_pubkey_serialize(library, data, &len, &point, SECP256K1_EC_COMPRESSED);
    }
    for (size_t i = 0; i < 4; i++) {
        data[COMPRESSED_BYTES + i] = (uint8_t)(index >> (24 - 8 * i));
    }
    return true;
}

/* False where there is no such child: one chance in 2^127. */
static bool descend(const secp256k1_context *library, node *at, uint32_t index)
{
    uint8_t data[COMPRESSED_BYTES + 4];
    uint8_t mac[2 * HALF];
    bool is_good = fill_data(library, at, index, data) &&
                   hmac_sha512(at->chain_code, HALF, data, sizeof data, mac) &&
                   secp256k1_ec_seckey_tweak_add(library, at->key, mac) == 1;
    if (is_good) {
        memcpy(at->chain_code, mac + HALF, HALF);
    }
    hf_wipe(data, sizeof data);
    hf_wipe(mac, sizeof mac);
    return is_good;
}

static bool begin(const secp256k1_context *library, hf_bytes seed, node *ret_master)
{
    static const char salt[] = "Bitcoin seed";
    uint8_t mac[2 * HALF];
    bool is_good = hmac_sha512(salt, sizeof salt - 1, seed.ptr, seed.len, mac) &&
                   secp256k1_ec_seckey_verify(library, mac) == 1;
    memcpy(ret_master->key, mac, HALF);
    memcpy(ret_master->chain_code, mac + HALF, HALF);
    hf_wipe(mac, sizeof mac);
    return is_good;
}

hf_status hf_bip32_derive(hf_bytes seed, const char *path, hf_secp256k1_key *ret_key)
{
    node at = {{0}, {0}};
    uint32_t indices[LEVELS_MAX];
    uint8_t blinding[HALF];
    size_t levels = 0;
    if (!read_path(path, indices, &levels)) {
        return (hf_status){HF_INVALID_INPUT};
    }
    secp256k1_context *library = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
    if (library == NULL) {
        return (hf_status){HF_NOMEM};
    }
    hf_random(blinding, sizeof blinding);
    bool is_good = secp256k1_context_randomize(library, blinding) == 1 && begin(library, seed, &at);
    for (size_t i = 0; is_good && i < levels; i++) {
        is_good = descend(library, &at, indices[i]);
    }
    if (is_good) {
        memcpy(ret_key->secret, at.key, sizeof ret_key->secret);
    }
    secp256k1_context_destroy(library);
    hf_wipe(blinding, sizeof blinding);
    hf_wipe(&at, sizeof at);
    return (hf_status){is_good ? HF_OK : HF_CRYPTO};
}
