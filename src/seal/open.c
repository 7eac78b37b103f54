/* From passphrases and files to shares, and from shares to the master key. */
#include "seal/seal_internal.h"

#include <sodium.h>

_Static_assert(HF_SEAL_NONCE_BYTES == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
_Static_assert(HF_SEAL_TAG_BYTES == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag");
_Static_assert(HF_SEAL_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key");
_Static_assert(HF_SEAL_KEY_BYTES == crypto_kdf_KEYBYTES, "key");
_Static_assert(HF_SEAL_SALT_BYTES == crypto_pwhash_SALTBYTES, "salt");

/* Subkeys of a master key; numbers are never used again for another purpose. */
#define SUBKEY_CONTEXT "hfseal01"
#define SUBKEY_RECORDS 1
#define SUBKEY_MANIFEST 2
#define SUBKEY_CHECK 3
#define SUBKEY_CARRY 4

#define ABOUT_MAX 128

hf_status hf_seal_key_of_passphrase(const hf_seal_kdf *kdf, hf_bytes passphrase,
                                    uint8_t ret_key[HF_SEAL_KEY_BYTES])
{
    if (sodium_init() < 0 ||
        crypto_pwhash(ret_key, HF_SEAL_KEY_BYTES, (const char *)passphrase.ptr, passphrase.len,
                      kdf->salt, kdf->passes, (size_t)kdf->memory_bytes,
                      crypto_pwhash_ALG_ARGON2ID13) != 0) {
        return (hf_status){HF_LIMIT};
    }
    return hf_ok();
}

void hf_seal_key_of_file(const uint8_t content[HF_SEAL_KEY_BYTES],
                         uint8_t ret_key[HF_SEAL_KEY_BYTES])
{
    static const char purpose[] = "holdfast seal key file";
    HF_ASSERT(sodium_init() >= 0);
    (void)crypto_generichash(ret_key, HF_SEAL_KEY_BYTES, (const uint8_t *)purpose, sizeof purpose,
                             content, HF_SEAL_KEY_BYTES);
}

/* ---- what is bound ------------------------------------------------------------------------------
 */

/* Seal, generation, who, and which place: a share fits nowhere else. */
static size_t about_share(const hf_seal_config *config, unsigned i, const char *purpose,
                          uint8_t ret_about[ABOUT_MAX])
{
    const hf_seal_holder *holder = &config->holders[i];
    hf_seal_writer writer = {.data = ret_about, .max = ABOUT_MAX};
    hf_seal_put_text(&writer, purpose);
    hf_seal_put(&writer, config->seal_id, HF_SEAL_ID_BYTES);
    hf_seal_put_number(&writer, config->generation, 8);
    hf_seal_put_number(&writer, config->threshold, 1);
    hf_seal_put_number(&writer, holder->kind, 1);
    hf_seal_put_number(&writer, holder->is_required, 1);
    hf_seal_put_number(&writer, holder->index, 1);
    hf_seal_put_text(&writer, holder->name);
    HF_ASSERT(!writer.failed);
    return writer.len;
}

static void commit_to(const hf_seal_config *config, unsigned i, const hf_seal_share *share,
                      uint8_t ret_hash[HF_SEAL_HASH_BYTES])
{
    uint8_t about[ABOUT_MAX];
    size_t len = about_share(config, i, "holdfast share commitment", about);
    HF_ASSERT(sodium_init() >= 0);
    crypto_generichash_state state;
    /* Keyed by the share, which is 32 uniform bytes: the hash tells nothing of it. */
    (void)crypto_generichash_init(&state, share->bytes, HF_SEAL_SHARE_BYTES, HF_SEAL_HASH_BYTES);
    (void)crypto_generichash_update(&state, about, len);
    (void)crypto_generichash_final(&state, ret_hash, HF_SEAL_HASH_BYTES);
    hf_wipe(&state, sizeof state);
}

static void check_of(const uint8_t seal_id[HF_SEAL_ID_BYTES],
                     const uint8_t master[HF_SEAL_KEY_BYTES], uint8_t ret_hash[HF_SEAL_HASH_BYTES])
{
    uint8_t key[HF_SEAL_KEY_BYTES];
    (void)crypto_kdf_derive_from_key(key, sizeof key, SUBKEY_CHECK, SUBKEY_CONTEXT, master);
    (void)crypto_generichash(ret_hash, HF_SEAL_HASH_BYTES, seal_id, HF_SEAL_ID_BYTES, key,
                             sizeof key);
    hf_wipe(key, sizeof key);
}

void hf_seal_derive(const uint8_t master[HF_SEAL_KEY_BYTES], hf_seal_keys *ret_keys)
{
    (void)crypto_kdf_derive_from_key(ret_keys->records, HF_SEAL_KEY_BYTES, SUBKEY_RECORDS,
                                     SUBKEY_CONTEXT, master);
    (void)crypto_kdf_derive_from_key(ret_keys->manifest, HF_SEAL_KEY_BYTES, SUBKEY_MANIFEST,
                                     SUBKEY_CONTEXT, master);
}

/* ---- splitting ----------------------------------------------------------------------------------
 */

static void mix(uint8_t into[HF_SEAL_KEY_BYTES], const uint8_t from[HF_SEAL_KEY_BYTES])
{
    for (size_t i = 0; i < HF_SEAL_KEY_BYTES; i++) {
        into[i] ^= from[i];
    }
}

/* Those who are required get random bytes each, or the rest of the key when nobody follows. */
static void split_required(hf_seal_config *config, uint8_t rest[HF_SEAL_KEY_BYTES],
                           hf_seal_share ret_shares[HF_SEAL_HOLDERS_MAX])
{
    unsigned required = 0;
    unsigned given = 0;
    for (unsigned i = 0; i < config->holder_count; i++) {
        required += config->holders[i].is_required;
    }
    for (unsigned i = 0; i < config->holder_count; i++) {
        if (config->holders[i].is_required == 0) {
            continue;
        }
        config->holders[i].index = (uint8_t)++given;
        if (given == required && config->threshold == 0) {
            memcpy(ret_shares[i].bytes, rest, HF_SEAL_KEY_BYTES);
        } else {
            hf_random(ret_shares[i].bytes, HF_SEAL_KEY_BYTES);
            mix(rest, ret_shares[i].bytes);
        }
        ret_shares[i].bytes[HF_SEAL_KEY_BYTES] = (uint8_t)given;
    }
}

static hf_status split_others(hf_seal_config *config, const uint8_t rest[HF_SEAL_KEY_BYTES],
                              hf_seal_share ret_shares[HF_SEAL_HOLDERS_MAX])
{
    hf_seal_share shares[HF_SEAL_HOLDERS_MAX];
    unsigned others = 0;
    for (unsigned i = 0; i < config->holder_count; i++) {
        others += config->holders[i].is_required == 0;
    }
    if (others == 0) {
        return hf_ok();
    }
    hf_status st = hf_shamir_split(rest, config->threshold, others, shares);
    unsigned given = 0;
    for (unsigned i = 0; i < config->holder_count && !hf_failed(st); i++) {
        if (config->holders[i].is_required == 0) {
            ret_shares[i] = shares[given++];
            config->holders[i].index = (uint8_t)given;
        }
    }
    hf_wipe(shares, sizeof shares);
    return st;
}

hf_status hf_seal_split(hf_seal_config *config, const uint8_t master[HF_SEAL_KEY_BYTES],
                        hf_seal_share ret_shares[HF_SEAL_HOLDERS_MAX])
{
    uint8_t rest[HF_SEAL_KEY_BYTES];
    hf_status st = hf_seal_config_check(config, NULL);
    if (hf_failed(st)) {
        return st;
    }
    memcpy(rest, master, sizeof rest);
    split_required(config, rest, ret_shares);
    st = split_others(config, rest, ret_shares);
    hf_wipe(rest, sizeof rest);
    for (unsigned i = 0; i < config->holder_count && !hf_failed(st); i++) {
        memset(config->holders[i].wrapped, 0, HF_SEAL_WRAPPED_BYTES);
        commit_to(config, i, &ret_shares[i], config->holders[i].commitment);
    }
    if (!hf_failed(st)) {
        check_of(config->seal_id, master, config->check);
    }
    return st;
}

void hf_seal_wrap(hf_seal_config *config, unsigned i, const uint8_t key[HF_SEAL_KEY_BYTES],
                  const hf_seal_share *share)
{
    uint8_t about[ABOUT_MAX];
    uint8_t *nonce = config->holders[i].wrapped;
    size_t len = about_share(config, i, "holdfast share", about);
    hf_random(nonce, HF_SEAL_NONCE_BYTES);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + HF_SEAL_NONCE_BYTES, NULL,
                                                     share->bytes, HF_SEAL_SHARE_BYTES, about, len,
                                                     NULL, nonce, key);
}

hf_status hf_seal_unwrap(const hf_seal_config *config, unsigned i,
                         const uint8_t key[HF_SEAL_KEY_BYTES], hf_seal_share *ret_share)
{
    uint8_t about[ABOUT_MAX];
    hf_seal_share share;
    HF_ASSERT(i < config->holder_count);
    const uint8_t *nonce = config->holders[i].wrapped;
    size_t len = about_share(config, i, "holdfast share", about);
    hf_status st = {HF_DENIED};
    if (hf_holder_kind_is_wrapped(config->holders[i].kind) &&
        crypto_aead_xchacha20poly1305_ietf_decrypt(
            share.bytes, NULL, NULL, nonce + HF_SEAL_NONCE_BYTES,
            HF_SEAL_SHARE_BYTES + HF_SEAL_TAG_BYTES, about, len, nonce, key) == 0 &&
        hf_seal_share_is_right(config, i, &share)) {
        *ret_share = share;
        st = hf_ok();
    }
    hf_wipe(&share, sizeof share);
    return st;
}

bool hf_seal_share_is_right(const hf_seal_config *config, unsigned i, const hf_seal_share *share)
{
    uint8_t hash[HF_SEAL_HASH_BYTES];
    HF_ASSERT(i < config->holder_count);
    commit_to(config, i, share, hash);
    return share->bytes[HF_SEAL_KEY_BYTES] == config->holders[i].index &&
           hf_secret_equal(hash, config->holders[i].commitment, sizeof hash);
}

/* ---- opening ------------------------------------------------------------------------------------
 */

unsigned hf_seal_missing(const hf_seal_config *config, uint32_t given)
{
    unsigned missing = 0;
    unsigned others = 0;
    for (unsigned i = 0; i < config->holder_count; i++) {
        bool is_given = (given >> i & 1U) != 0;
        missing += config->holders[i].is_required == 1 && !is_given;
        others += config->holders[i].is_required == 0 && is_given;
    }
    return missing + (others < config->threshold ? config->threshold - others : 0);
}

hf_status hf_seal_combine(const hf_seal_config *config, uint32_t given,
                          const hf_seal_share shares[HF_SEAL_HOLDERS_MAX],
                          uint8_t ret_master[HF_SEAL_KEY_BYTES])
{
    hf_seal_share others[HF_SEAL_HOLDERS_MAX];
    uint8_t master[HF_SEAL_KEY_BYTES] = {0};
    uint8_t check[HF_SEAL_HASH_BYTES];
    unsigned count = 0;
    if (hf_seal_missing(config, given) != 0) {
        return (hf_status){HF_UNAVAILABLE};
    }
    hf_status st = hf_ok();
    for (unsigned i = 0; i < config->holder_count; i++) {
        if ((given >> i & 1U) != 0 && config->holders[i].is_required == 0 &&
            count < config->threshold) {
            others[count++] = shares[i];
        }
    }
    if (count > 0) {
        st = hf_shamir_combine(others, count, master);
    }
    for (unsigned i = 0; i < config->holder_count && !hf_failed(st); i++) {
        if (config->holders[i].is_required == 1) {
            mix(master, shares[i].bytes);
        }
    }
    check_of(config->seal_id, master, check);
    if (hf_failed(st) || !hf_secret_equal(check, config->check, sizeof check)) {
        st = (hf_status){HF_CORRUPT};
    } else {
        memcpy(ret_master, master, sizeof master);
    }
    hf_wipe(others, sizeof others);
    hf_wipe(master, sizeof master);
    return st;
}

/* ---- rotation -----------------------------------------------------------------------------------
 */

static size_t about_carried(const hf_seal_config *config, uint8_t ret_about[ABOUT_MAX])
{
    hf_seal_writer writer = {.data = ret_about, .max = ABOUT_MAX};
    hf_seal_put_text(&writer, "holdfast previous master key");
    hf_seal_put(&writer, config->seal_id, HF_SEAL_ID_BYTES);
    hf_seal_put_number(&writer, config->term, 4);
    HF_ASSERT(!writer.failed);
    return writer.len;
}

void hf_seal_carry(hf_seal_config *config, const uint8_t master[HF_SEAL_KEY_BYTES],
                   const uint8_t previous[HF_SEAL_KEY_BYTES])
{
    uint8_t about[ABOUT_MAX];
    uint8_t key[HF_SEAL_KEY_BYTES];
    size_t len = about_carried(config, about);
    (void)crypto_kdf_derive_from_key(key, sizeof key, SUBKEY_CARRY, SUBKEY_CONTEXT, master);
    hf_random(config->previous, HF_SEAL_NONCE_BYTES);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(config->previous + HF_SEAL_NONCE_BYTES, NULL,
                                                     previous, HF_SEAL_KEY_BYTES, about, len, NULL,
                                                     config->previous, key);
    check_of(config->seal_id, previous, config->previous_check);
    config->has_previous = 1;
    hf_wipe(key, sizeof key);
}

hf_status hf_seal_carried(const hf_seal_config *config, const uint8_t master[HF_SEAL_KEY_BYTES],
                          uint8_t ret_previous[HF_SEAL_KEY_BYTES])
{
    uint8_t about[ABOUT_MAX];
    uint8_t key[HF_SEAL_KEY_BYTES];
    uint8_t previous[HF_SEAL_KEY_BYTES];
    uint8_t check[HF_SEAL_HASH_BYTES];
    size_t len = about_carried(config, about);
    hf_status st = {HF_CORRUPT};
    (void)crypto_kdf_derive_from_key(key, sizeof key, SUBKEY_CARRY, SUBKEY_CONTEXT, master);
    if (config->has_previous == 1 &&
        crypto_aead_xchacha20poly1305_ietf_decrypt(
            previous, NULL, NULL, config->previous + HF_SEAL_NONCE_BYTES,
            HF_SEAL_KEY_BYTES + HF_SEAL_TAG_BYTES, about, len, config->previous, key) == 0) {
        check_of(config->seal_id, previous, check);
        if (hf_secret_equal(check, config->previous_check, sizeof check)) {
            memcpy(ret_previous, previous, sizeof previous);
            st = hf_ok();
        }
    }
    hf_wipe(key, sizeof key);
    hf_wipe(previous, sizeof previous);
    return st;
}

void hf_seal_drop_carried(hf_seal_config *config)
{
    config->has_previous = 0;
    memset(config->previous, 0, sizeof config->previous);
    memset(config->previous_check, 0, sizeof config->previous_check);
}
