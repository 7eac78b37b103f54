/* Making a token, and telling whether somebody shows one. */
#include "auth/auth_internal.h"

/* A crash loses at most one step of a token's uses. */
#define USES_STEPS 16
#define USES_STEP_MAX 256

_Static_assert(HF_AUTH_SECRET_CHARS == HF_RANDOM_TEXT_LEN - 1, "256 bits as text");
_Static_assert(HF_AUTH_TEXT_CHARS < HF_AUTH_TEXT_LEN, "a token's text and its NUL");
_Static_assert(sizeof(HF_AUTH_PREFIX) - 1 == 4, "the prefix counts in HF_AUTH_TEXT_CHARS");

void hf_auth_keys_derive(const uint8_t token_key[HF_AUTH_KEY_BYTES], hf_auth_keys *ret_keys)
{
    static const char text[] = "holdfast token text 1";
    static const char record[] = "holdfast token record 1";
    const hf_bytes for_text = hf_bytes_from(text, sizeof text - 1);
    const hf_bytes for_record = hf_bytes_from(record, sizeof record - 1);
    hf_hmac_sha256(token_key, &for_text, 1, ret_keys->text);
    hf_hmac_sha256(token_key, &for_record, 1, ret_keys->record);
}

void hf_auth_text_mac(const hf_auth_keys *keys, const char text[HF_AUTH_TEXT_LEN],
                      uint8_t ret_mac[HF_HMAC_BYTES])
{
    const hf_bytes whole = hf_bytes_from(text, HF_AUTH_TEXT_CHARS);
    hf_hmac_sha256(keys->text, &whole, 1, ret_mac);
}

void hf_token_make(const hf_auth_keys *keys, const hf_token_terms *terms, int64_t now_unix_ms,
                   hf_token *ret_token, char ret_text[HF_AUTH_TEXT_LEN])
{
    uint8_t accessor[HF_AUTH_ACCESSOR_BYTES];
    char secret[HF_RANDOM_TEXT_LEN];
    *ret_token = (hf_token){.terms = *terms, .created_unix_ms = now_unix_ms};
    hf_random(accessor, sizeof accessor);
    hf_hex_encode(accessor, sizeof accessor, ret_token->accessor);
    hf_random_text(secret);
    memset(ret_text, 0, HF_AUTH_TEXT_LEN);
    (void)snprintf(ret_text, HF_AUTH_TEXT_LEN, HF_AUTH_PREFIX "%s.%s", ret_token->accessor, secret);
    hf_auth_text_mac(keys, ret_text, ret_token->mac);
    hf_wipe(secret, sizeof secret);
}

bool hf_auth_match(const hf_auth_keys *keys, hf_token_table *table,
                   const char text[HF_AUTH_TEXT_LEN], hf_token_entry **ret_entry)
{
    uint8_t mac[HF_HMAC_BYTES];
    char accessor[HF_AUTH_ACCESSOR_LEN] = {0};
    memcpy(accessor, text + sizeof HF_AUTH_PREFIX - 1, HF_AUTH_ACCESSOR_CHARS);
    hf_auth_text_mac(keys, text, mac);
    hf_token_entry *entry = hf_token_table_find(table, accessor);
    bool is_known = entry != NULL;
    *ret_entry = is_known ? entry : hf_token_table_nobody(table);
    bool is_equal = hf_secret_equal(mac, (*ret_entry)->token.mac, sizeof mac);
    hf_wipe(mac, sizeof mac);
    return (bool)(is_equal & is_known);
}

static bool comes_from(const hf_token_terms *terms, const uint8_t address[16])
{
    for (size_t i = 0; i < terms->source_count; i++) {
        if (hf_cidr_contains(&terms->sources[i], address)) {
            return true;
        }
    }
    return terms->source_count == 0;
}

hf_token_verdict hf_token_verify(const hf_auth_keys *keys, hf_token_table *table,
                                 const char text[HF_AUTH_TEXT_LEN], const uint8_t address[16],
                                 int64_t now_unix_ms, hf_token_entry **ret_entry)
{
    hf_token_entry *entry = NULL;
    if (text[0] == '\0') {
        return HF_TOKEN_MISSING;
    }
    if (!hf_token_text_is_sane(text) || !hf_auth_match(keys, table, text, &entry)) {
        return HF_TOKEN_UNKNOWN;
    }
    const hf_token *token = &entry->token;
    *ret_entry = entry;
    if (token->terms.expires_unix_ms != 0 && now_unix_ms >= token->terms.expires_unix_ms) {
        return HF_TOKEN_EXPIRED;
    }
    if (!comes_from(&token->terms, address)) {
        return HF_TOKEN_WRONG_SOURCE;
    }
    if (token->terms.max_uses == 0 || entry->uses_at_hand > 0) {
        return HF_TOKEN_VALID;
    }
    return token->uses_reserved < token->terms.max_uses ? HF_TOKEN_NEEDS_USES : HF_TOKEN_USED_UP;
}

void hf_token_take_use(hf_token_entry *entry)
{
    if (entry->token.terms.max_uses != 0) {
        HF_ASSERT(entry->uses_at_hand > 0);
        entry->uses_at_hand--;
    }
}

/* Few enough that a crash loses little, and that other nodes get their share. */
uint64_t hf_token_uses_to_reserve(const hf_token *token)
{
    uint64_t left = token->terms.max_uses - token->uses_reserved;
    uint64_t step = token->terms.max_uses / USES_STEPS;
    step = step < 1 ? 1 : step;
    step = step > USES_STEP_MAX ? USES_STEP_MAX : step;
    return step < left ? step : left;
}
