/*
 * What the seal keeps, as a stranger may have written it: the configuration, sealed records, and
 * shares as text. What is read again is written in the same bytes; what a tag covers never opens.
 */
#include "seal/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_config(const uint8_t *data, size_t size)
{
    static hf_seal_config config;
    static uint8_t again[HF_SEAL_CONFIG_BYTES_MAX];
    size_t len = 0;
    hf_seal_share share;
    const uint8_t key[HF_SEAL_KEY_BYTES] = {1};
    if (hf_failed(hf_seal_config_decode(hf_bytes_from(data, size), &config, NULL))) {
        return;
    }
    HF_ASSERT(!hf_failed(hf_seal_config_encode(&config, again, &len)));
    HF_ASSERT(len == size && hf_bytes_equal(again, data, size));
    HF_ASSERT(hf_seal_missing(&config, 0) > 0);
    for (unsigned i = 0; i < config.holder_count; i++) {
        HF_ASSERT(hf_failed(hf_seal_unwrap(&config, i, key, &share)));
        HF_ASSERT(hf_seal_config_find(&config, config.holders[i].name) == (int)i);
    }
}

static void read_record(const uint8_t *data, size_t size)
{
    static const uint8_t seal_id[HF_SEAL_ID_BYTES];
    static const hf_seal_keys keys;
    static hf_manifest_page page;
    uint8_t secret[HF_SEALED_SECRET_BYTES];
    hf_manifest_head head;
    hf_sealed_key key;
    hf_bytes view = hf_bytes_from(data, size);
    (void)hf_sealed_record_peek(view, &key).code;
    HF_ASSERT(hf_failed(hf_sealed_record_open(&keys, seal_id, view, &key, secret)));
    HF_ASSERT(hf_failed(hf_manifest_decode(&keys, seal_id, 0, view, &page)));
    HF_ASSERT(hf_failed(hf_manifest_head_decode(&keys, seal_id, view, &head)));
}

static void read_share(const uint8_t *data, size_t size)
{
    hf_seal_share share;
    hf_seal_share again;
    char text[HF_SEAL_SHARE_HEX_LEN];
    if (hf_failed(hf_seal_share_parse((const char *)data, size, &share))) {
        return;
    }
    HF_ASSERT(share.bytes[HF_SEAL_KEY_BYTES] != 0);
    hf_seal_share_to_hex(&share, text);
    HF_ASSERT(!hf_failed(hf_seal_share_parse(text, strlen(text), &again)));
    HF_ASSERT(hf_bytes_equal(&share, &again, sizeof share));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_config(data, size);
    read_record(data, size);
    read_share(data, size);
    return 0;
}
