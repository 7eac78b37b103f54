/* What a token may be: kinds, names, terms, and the form of its text. */
#include "auth/auth.h"

static const char *const kind_names[HF_TOKEN_KIND_COUNT] = {"client", "management"};

const char *hf_token_kind_name(hf_token_kind kind)
{
    return kind < HF_TOKEN_KIND_COUNT ? kind_names[kind] : "unknown";
}

bool hf_token_kind_parse(const char *name, hf_token_kind *ret_kind)
{
    for (size_t i = 0; i < HF_TOKEN_KIND_COUNT; i++) {
        if (strcmp(name, kind_names[i]) == 0) {
            *ret_kind = (hf_token_kind)i;
            return true;
        }
    }
    return false;
}

const char *hf_token_verdict_name(hf_token_verdict verdict)
{
    static const char *const names[HF_TOKEN_VERDICT_COUNT] = {
        "valid", "missing", "unknown", "expired", "source", "used_up", "uses_pending"};
    return verdict < HF_TOKEN_VERDICT_COUNT ? names[verdict] : "unknown";
}

hf_status hf_ttl_parse(const char *text, uint64_t *ret_seconds, hf_error *err)
{
    static const struct {
        char letter;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    size_t digits = strspn(text, "0123456789");
    uint64_t unit = text[digits] == '\0' ? 1 : 0;
    uint64_t value = 0;
    for (size_t i = 0; i < HF_ARRAY_LEN(units); i++) {
        if (text[digits] == units[i].letter && text[digits + 1] == '\0') {
            unit = units[i].seconds;
        }
    }
    if (unit == 0 || hf_failed(hf_num_parse_u64(text, digits, &value)) || value == 0 ||
        value > HF_AUTH_TTL_MAX_SECONDS / unit) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "give a time such as 90s, 15m, 24h or 30d, ten years at most");
    }
    *ret_seconds = value * unit;
    return hf_ok();
}

/* ---- names -------------------------------------------------------------------------------------
 */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f');
}

/* NUL-terminated in its array, with zeros behind: one name has one form. */
static bool is_padded(const char *text, size_t size, size_t *ret_len)
{
    size_t len = strnlen(text, size);
    *ret_len = len;
    return len < size && hf_bytes_is_zero(text + len, size - len);
}

bool hf_token_name_is_sane(const char *name, size_t size)
{
    size_t len;
    if (!is_padded(name, size, &len) || len >= HF_AUTH_NAME_LEN) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (name[i] < 0x20 || name[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

/* A name that begins with '-' would be an option on a command line. */
bool hf_auth_policy_name_is_sane(const char *name, size_t size)
{
    size_t len;
    if (!is_padded(name, size, &len) || len == 0 || len >= HF_AUTH_POLICY_NAME_LEN ||
        name[0] == '-') {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_word(name[i])) {
            return false;
        }
    }
    return true;
}

bool hf_accessor_is_sane(const char accessor[HF_AUTH_ACCESSOR_LEN])
{
    size_t len;
    if (!is_padded(accessor, HF_AUTH_ACCESSOR_LEN, &len) || len != HF_AUTH_ACCESSOR_CHARS) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_hex(accessor[i])) {
            return false;
        }
    }
    return true;
}

/* Looks at no character of the secret. */
bool hf_token_text_is_sane(const char text[HF_AUTH_TEXT_LEN])
{
    char accessor[HF_AUTH_ACCESSOR_LEN] = {0};
    size_t prefix = sizeof HF_AUTH_PREFIX - 1;
    memcpy(accessor, text + prefix, HF_AUTH_ACCESSOR_CHARS);
    return hf_bytes_equal(text, HF_AUTH_PREFIX, prefix) && hf_accessor_is_sane(accessor) &&
           text[prefix + HF_AUTH_ACCESSOR_CHARS] == '.' &&
           hf_bytes_is_zero(text + HF_AUTH_TEXT_CHARS, HF_AUTH_TEXT_LEN - HF_AUTH_TEXT_CHARS);
}

/* ---- terms -------------------------------------------------------------------------------------
 */

static hf_status check_policies(const hf_token_terms *terms, hf_error *err)
{
    if (terms->policy_count > HF_AUTH_POLICIES_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "policies: at most %d", HF_AUTH_POLICIES_MAX);
    }
    if (terms->kind == HF_TOKEN_CLIENT && terms->policy_count == 0) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "policies: a client token needs one at least: without it, it may nothing");
    }
    for (size_t i = 0; i < terms->policy_count; i++) {
        if (!hf_auth_policy_name_is_sane(terms->policies[i], HF_AUTH_POLICY_NAME_LEN)) {
            return hf_fail(err, HF_INVALID_INPUT,
                           "policies: a name is 1 to %d letters, digits, '_' or '-'",
                           HF_AUTH_POLICY_NAME_LEN - 1);
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(terms->policies[i], terms->policies[k]) == 0) {
                return hf_fail(err, HF_INVALID_INPUT, "policies: one is named twice");
            }
        }
    }
    size_t used = terms->policy_count * sizeof terms->policies[0];
    if (!hf_bytes_is_zero((const uint8_t *)terms->policies + used, sizeof terms->policies - used)) {
        return hf_fail(err, HF_INVALID_INPUT, "policies: malformed");
    }
    return hf_ok();
}

static hf_status check_sources(const hf_token_terms *terms, hf_error *err)
{
    if (terms->source_count > HF_AUTH_SOURCES_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "sources: at most %d", HF_AUTH_SOURCES_MAX);
    }
    for (size_t i = 0; i < terms->source_count; i++) {
        if (!hf_cidr_is_sane(&terms->sources[i])) {
            return hf_fail(err, HF_INVALID_INPUT, "sources: malformed");
        }
    }
    size_t used = terms->source_count * sizeof terms->sources[0];
    if (!hf_bytes_is_zero((const uint8_t *)terms->sources + used, sizeof terms->sources - used)) {
        return hf_fail(err, HF_INVALID_INPUT, "sources: malformed");
    }
    return hf_ok();
}

hf_status hf_token_terms_check(const hf_token_terms *terms, hf_error *err)
{
    if (terms->kind >= HF_TOKEN_KIND_COUNT || terms->reserved != 0) {
        return hf_fail(err, HF_INVALID_INPUT, "kind: must be client or management");
    }
    if (terms->expires_unix_ms < 0 || terms->expires_unix_ms > HF_AUTH_TIME_MAX_MS) {
        return hf_fail(err, HF_INVALID_INPUT, "expiry: out of range");
    }
    if (terms->max_uses > HF_AUTH_USES_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "max_uses: out of range");
    }
    if (!hf_token_name_is_sane(terms->name, sizeof terms->name)) {
        return hf_fail(err, HF_INVALID_INPUT, "name: at most %d printable ASCII characters",
                       HF_AUTH_NAME_LEN - 1);
    }
    hf_status st = check_policies(terms, err);
    return hf_failed(st) ? st : check_sources(terms, err);
}
