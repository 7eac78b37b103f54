/*
 * The record of a token. What decodes is sane and has one form; any other bytes are refused. The
 * fuzzer cannot guess a MAC, so the input is judged as it is and once more with the right one.
 */
#include "auth/auth.h"
#include "crypto/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of the record's fixed part: see record.c. */
#define ACCESSOR_AT 36

static void judge(const hf_auth_keys *keys, const uint8_t *record, size_t len)
{
    hf_token token;
    uint8_t again[HF_TOKEN_RECORD_MAX];
    size_t again_len = 0;
    char accessor[HF_AUTH_ACCESSOR_LEN] = {0};
    hf_error err = {.code = HF_OK};
    if (len > ACCESSOR_AT + HF_AUTH_ACCESSOR_CHARS) {
        memcpy(accessor, record + ACCESSOR_AT, HF_AUTH_ACCESSOR_CHARS);
    }
    if (hf_failed(hf_token_decode(keys, accessor, hf_bytes_from(record, len), &token, &err))) {
        HF_ASSERT(err.msg[0] != '\0');
        return;
    }
    HF_ASSERT(!hf_failed(hf_token_terms_check(&token.terms, NULL)));
    hf_token_encode(keys, &token, again, &again_len);
    HF_ASSERT(again_len == len && hf_bytes_equal(again, record, len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t token_key[HF_AUTH_KEY_BYTES] = {7};
    uint8_t sealed[HF_TOKEN_RECORD_MAX];
    hf_auth_keys keys;
    hf_auth_keys_derive(token_key, &keys);
    judge(&keys, data, size);
    if (size <= sizeof sealed - HF_HMAC_BYTES) {
        const hf_bytes body = hf_bytes_from(data, size);
        if (size > 0) {
            memcpy(sealed, data, size);
        }
        hf_hmac_sha256(keys.record, &body, 1, sealed + size);
        judge(&keys, sealed, size + HF_HMAC_BYTES);
    }
    return 0;
}
