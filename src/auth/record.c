/*
 * A token at rest. Little endian, no gaps:
 *   u8 version, u8 kind, u8 policies, u8 sources, i64 created, i64 expires, u64 max uses,
 *   u64 uses reserved, 24 accessor, 32 MAC of the text, u8 length and name,
 *   for each policy u8 length and name, for each source u8 bits and 16 address,
 *   32 HMAC of all before it under the record key.
 * One token has one form: what decodes encodes to the same bytes again.
 */
#include "auth/auth_internal.h"

_Static_assert(4 + 4 * 8 + HF_AUTH_ACCESSOR_CHARS + 32 + HF_AUTH_NAME_LEN +
                       HF_AUTH_POLICIES_MAX * HF_AUTH_POLICY_NAME_LEN + HF_AUTH_SOURCES_MAX * 17 +
                       HF_HMAC_BYTES <=
                   HF_TOKEN_RECORD_MAX,
               "the largest token fits");

/* ---- writing -----------------------------------------------------------------------------------
 */

static uint8_t *put(uint8_t *at, const void *ptr, size_t len)
{
    memcpy(at, ptr, len);
    return at + len;
}

static uint8_t *put_u64(uint8_t *at, uint64_t value)
{
    hf_le64_put(at, value);
    return at + 8;
}

static uint8_t *put_name(uint8_t *at, const char *name)
{
    size_t len = strlen(name);
    *at = (uint8_t)len;
    return put(at + 1, name, len);
}

void hf_token_encode(const hf_auth_keys *keys, const hf_token *token,
                     uint8_t out[HF_TOKEN_RECORD_MAX], size_t *ret_len)
{
    const hf_token_terms *terms = &token->terms;
    uint8_t *at = out;
    HF_ASSERT(terms->policy_count <= HF_AUTH_POLICIES_MAX &&
              terms->source_count <= HF_AUTH_SOURCES_MAX);
    *at++ = HF_TOKEN_RECORD_VERSION;
    *at++ = (uint8_t)terms->kind;
    *at++ = (uint8_t)terms->policy_count;
    *at++ = (uint8_t)terms->source_count;
    at = put_u64(at, (uint64_t)token->created_unix_ms);
    at = put_u64(at, (uint64_t)terms->expires_unix_ms);
    at = put_u64(at, terms->max_uses);
    at = put_u64(at, token->uses_reserved);
    at = put(at, token->accessor, HF_AUTH_ACCESSOR_CHARS);
    at = put(at, token->mac, sizeof token->mac);
    at = put_name(at, terms->name);
    for (size_t i = 0; i < terms->policy_count; i++) {
        at = put_name(at, terms->policies[i]);
    }
    for (size_t i = 0; i < terms->source_count; i++) {
        *at++ = terms->sources[i].bits;
        at = put(at, terms->sources[i].address, sizeof terms->sources[i].address);
    }
    const hf_bytes body = hf_bytes_from(out, (size_t)(at - out));
    hf_hmac_sha256(keys->record, &body, 1, at);
    *ret_len = body.len + HF_HMAC_BYTES;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

typedef struct reader {
    hf_bytes in;
    bool is_short; /* asked for more than there was: everything read since is zeros */
} reader;

static void get(reader *r, void *out, size_t len)
{
    if (r->is_short || r->in.len < len) {
        r->is_short = true;
        memset(out, 0, len);
        return;
    }
    memcpy(out, r->in.ptr, len);
    r->in = hf_bytes_from(r->in.ptr + len, r->in.len - len);
}

static uint8_t get_u8(reader *r)
{
    uint8_t value;
    get(r, &value, 1);
    return value;
}

static uint64_t get_u64(reader *r)
{
    uint8_t value[8];
    get(r, value, sizeof value);
    return hf_le64_get(value);
}

/* Into an array of zeros. */
static void get_name(reader *r, char *out, size_t size)
{
    size_t len = get_u8(r);
    if (len >= size) {
        r->is_short = true;
        return;
    }
    get(r, out, len);
    r->is_short |= memchr(out, '\0', len) != NULL;
}

static void get_terms(reader *r, hf_token *token)
{
    hf_token_terms *terms = &token->terms;
    terms->kind = get_u8(r);
    terms->policy_count = get_u8(r);
    terms->source_count = get_u8(r);
    token->created_unix_ms = (int64_t)get_u64(r);
    terms->expires_unix_ms = (int64_t)get_u64(r);
    terms->max_uses = get_u64(r);
    token->uses_reserved = get_u64(r);
    get(r, token->accessor, HF_AUTH_ACCESSOR_CHARS);
    get(r, token->mac, sizeof token->mac);
    get_name(r, terms->name, sizeof terms->name);
    for (size_t i = 0; i < terms->policy_count && i < HF_AUTH_POLICIES_MAX; i++) {
        get_name(r, terms->policies[i], sizeof terms->policies[i]);
    }
    for (size_t i = 0; i < terms->source_count && i < HF_AUTH_SOURCES_MAX; i++) {
        terms->sources[i].bits = get_u8(r);
        get(r, terms->sources[i].address, sizeof terms->sources[i].address);
    }
}

static bool is_sane(const hf_token *token, const char *accessor)
{
    return hf_accessor_is_sane(token->accessor) && strcmp(token->accessor, accessor) == 0 &&
           token->created_unix_ms >= 0 && token->created_unix_ms <= HF_AUTH_TIME_MAX_MS &&
           token->uses_reserved <= token->terms.max_uses &&
           !hf_failed(hf_token_terms_check(&token->terms, NULL));
}

hf_status hf_token_decode(const hf_auth_keys *keys, const char *accessor, hf_bytes in,
                          hf_token *ret_token, hf_error *err)
{
    uint8_t mac[HF_HMAC_BYTES];
    hf_token token = {.created_unix_ms = 0};
    if (in.len <= HF_HMAC_BYTES || in.len > HF_TOKEN_RECORD_MAX) {
        return hf_fail(err, HF_CORRUPT, "the record of a token has a length that none has");
    }
    if (in.ptr[0] != HF_TOKEN_RECORD_VERSION) {
        return hf_fail(err, HF_CORRUPT,
                       "the record of a token is of version %u, which this "
                       "program does not know",
                       in.ptr[0]);
    }
    const hf_bytes body = hf_bytes_from(in.ptr, in.len - HF_HMAC_BYTES);
    hf_hmac_sha256(keys->record, &body, 1, mac);
    if (!hf_secret_equal(mac, in.ptr + body.len, sizeof mac)) {
        return hf_fail(err, HF_CORRUPT,
                       "the record of a token was changed, or made under another token key");
    }
    reader r = {.in = hf_bytes_from(body.ptr + 1, body.len - 1)};
    get_terms(&r, &token);
    if (r.is_short || r.in.len != 0 || !is_sane(&token, accessor)) {
        return hf_fail(err, HF_CORRUPT, "the record of a token is malformed or another token's");
    }
    *ret_token = token;
    return hf_ok();
}
