/*
 * One key at rest. All that the record says of itself is bound by its tag, with the seal it belongs
 * to: a row can be neither moved to another key's place nor given another status.
 *
 *   0 format | 1 type | 2 status | 3 zero | 4 term (4) | 8 version (8) | 16 name (48) |
 *   64 nonce (24) | 88 secret (32) | 120 tag (16)
 */
#include "seal/seal_internal.h"

#include <sodium.h>

#define FORMAT 1
#define HEADER_BYTES (16 + HF_SEALED_NAME_BYTES)
#define ABOUT_MAX (32 + HF_SEAL_ID_BYTES + HEADER_BYTES)

void hf_sealed_key_text(const hf_sealed_key *key, char ret_text[HF_SEALED_TEXT_LEN])
{
    size_t len = key->type == HF_KEY_TYPE_BLS ? HF_BLS_PUBKEY_BYTES : HF_ADDRESS_BYTES;
    memcpy(ret_text, "0x", 2);
    hf_hex_encode(key->name, len, ret_text + 2);
}

static bool key_is_sound(const hf_sealed_key *key)
{
    return key->type < HF_KEY_TYPE_COUNT && key->status < HF_SEALED_STATUS_COUNT &&
           key->term != 0 && key->version != 0 &&
           (key->type == HF_KEY_TYPE_BLS ||
            hf_bytes_is_zero(key->name + HF_ADDRESS_BYTES,
                             HF_SEALED_NAME_BYTES - HF_ADDRESS_BYTES));
}

static size_t about_record(const uint8_t seal_id[HF_SEAL_ID_BYTES],
                           const uint8_t header[HEADER_BYTES], uint8_t ret_about[ABOUT_MAX])
{
    hf_seal_writer writer = {.data = ret_about, .max = ABOUT_MAX};
    hf_seal_put_text(&writer, "holdfast sealed key");
    hf_seal_put(&writer, seal_id, HF_SEAL_ID_BYTES);
    hf_seal_put(&writer, header, HEADER_BYTES);
    HF_ASSERT(!writer.failed);
    return writer.len;
}

void hf_sealed_record_seal(const hf_seal_keys *keys, const uint8_t seal_id[HF_SEAL_ID_BYTES],
                           const hf_sealed_key *key, const uint8_t secret[HF_SEALED_SECRET_BYTES],
                           uint8_t ret_data[HF_SEALED_RECORD_BYTES])
{
    uint8_t about[ABOUT_MAX];
    hf_seal_writer writer = {.data = ret_data, .max = HF_SEALED_RECORD_BYTES};
    HF_ASSERT(key_is_sound(key));
    hf_seal_put_number(&writer, FORMAT, 1);
    hf_seal_put_number(&writer, key->type, 1);
    hf_seal_put_number(&writer, key->status, 1);
    hf_seal_put_number(&writer, 0, 1);
    hf_seal_put_number(&writer, key->term, 4);
    hf_seal_put_number(&writer, key->version, 8);
    hf_seal_put(&writer, key->name, HF_SEALED_NAME_BYTES);
    HF_ASSERT(writer.len == HEADER_BYTES);
    size_t len = about_record(seal_id, ret_data, about);
    uint8_t *nonce = ret_data + HEADER_BYTES;
    hf_random(nonce, HF_SEAL_NONCE_BYTES);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + HF_SEAL_NONCE_BYTES, NULL, secret,
                                                     HF_SEALED_SECRET_BYTES, about, len, NULL,
                                                     nonce, keys->records);
}

hf_status hf_sealed_record_peek(hf_bytes data, hf_sealed_key *ret_key)
{
    hf_sealed_key key = {0};
    hf_seal_reader reader = {.rest = data};
    if (data.len != HF_SEALED_RECORD_BYTES || hf_seal_get_number(&reader, 1) != FORMAT) {
        return (hf_status){HF_CORRUPT};
    }
    key.type = (uint8_t)hf_seal_get_number(&reader, 1);
    key.status = (uint8_t)hf_seal_get_number(&reader, 1);
    bool is_zero = hf_seal_get_number(&reader, 1) == 0;
    key.term = (uint32_t)hf_seal_get_number(&reader, 4);
    key.version = hf_seal_get_number(&reader, 8);
    hf_seal_get(&reader, key.name, HF_SEALED_NAME_BYTES);
    if (!is_zero || !key_is_sound(&key)) {
        return (hf_status){HF_CORRUPT};
    }
    *ret_key = key;
    return hf_ok();
}

hf_status hf_sealed_record_open(const hf_seal_keys *keys, const uint8_t seal_id[HF_SEAL_ID_BYTES],
                                hf_bytes data, hf_sealed_key *ret_key,
                                uint8_t ret_secret[HF_SEALED_SECRET_BYTES])
{
    uint8_t about[ABOUT_MAX];
    hf_sealed_key key;
    hf_status st = hf_sealed_record_peek(data, &key);
    if (hf_failed(st)) {
        return st;
    }
    size_t len = about_record(seal_id, data.ptr, about);
    const uint8_t *nonce = data.ptr + HEADER_BYTES;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            ret_secret, NULL, NULL, nonce + HF_SEAL_NONCE_BYTES,
            HF_SEALED_SECRET_BYTES + HF_SEAL_TAG_BYTES, about, len, nonce, keys->records) != 0) {
        return (hf_status){HF_DENIED};
    }
    *ret_key = key;
    return hf_ok();
}
