/* Encryption contexts, and which names and ARNs are of one key. */
#include "custody/awskms_internal.h"

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < ' ' || *text > '~') {
            return false;
        }
    }
    return true;
}

hf_status hf_kms_context_add(hf_kms_context *context, const char *name, const char *value,
                             hf_error *err)
{
    hf_awskms_pair pair = {0};
    size_t at = 0;
    if (name[0] == '\0' || value[0] == '\0' || !is_printable(name) || !is_printable(value) ||
        hf_failed(hf_str_copy(pair.name, sizeof pair.name, name)) ||
        hf_failed(hf_str_copy(pair.value, sizeof pair.value, value))) {
        return hf_fail(err, HF_USAGE,
                       "encryption context: names of 1 to %d and values of 1 to %d printable "
                       "characters",
                       HF_AWSKMS_NAME_LEN - 1, HF_AWSKMS_VALUE_LEN - 1);
    }
    if (context->count == HF_KMS_PAIRS_MAX) {
        return hf_fail(err, HF_USAGE, "encryption context: more than %d pairs", HF_KMS_PAIRS_MAX);
    }
    while (at < context->count && strcmp(context->pairs[at].name, name) < 0) {
        at++;
    }
    if (at < context->count && strcmp(context->pairs[at].name, name) == 0) {
        return hf_fail(err, HF_USAGE, "encryption context: %s is there already", name);
    }
    memmove(&context->pairs[at + 1], &context->pairs[at],
            (context->count - at) * sizeof context->pairs[0]);
    context->pairs[at] = pair;
    context->count++;
    return hf_ok();
}

hf_status hf_kms_context_of(const hf_awskms_config *config, hf_custody_type type,
                            hf_bytes public_key, hf_kms_context *ret_context, hf_error *err)
{
    static const char *const purposes[HF_CUSTODY_TYPE_COUNT] = {
        [HF_CUSTODY_BLS] = "holdfast-bls-key",
        [HF_CUSTODY_SECP256K1] = "holdfast-secp256k1-key",
        [HF_CUSTODY_ED25519] = "holdfast-ed25519-key",
        [HF_CUSTODY_P256] = "holdfast-p256-key",
    };
    char key[2 + 2 * HF_CUSTODY_PUBLIC_MAX + 1] = "0x";
    HF_ASSERT(public_key.len <= HF_CUSTODY_PUBLIC_MAX);
    *ret_context = (hf_kms_context){0};
    hf_hex_encode(public_key.ptr, public_key.len, key + 2);
    hf_status st = hf_kms_context_add(ret_context, "network", config->network, err);
    if (!hf_failed(st)) {
        st = hf_kms_context_add(ret_context, "key", key, err);
    }
    if (!hf_failed(st)) {
        st = hf_kms_context_add(ret_context, "purpose", purposes[type], err);
    }
    for (size_t i = 0; i < config->pair_count && !hf_failed(st); i++) {
        st = hf_kms_context_add(ret_context, config->pairs[i].name, config->pairs[i].value, err);
    }
    return st;
}

static const char *value_of(const hf_kms_context *context, const char *name)
{
    for (size_t i = 0; i < context->count; i++) {
        if (strcmp(context->pairs[i].name, name) == 0) {
            return context->pairs[i].value;
        }
    }
    return NULL;
}

hf_status hf_kms_context_check(const hf_kms_context *found, const hf_kms_context *expected,
                               hf_error *err)
{
    for (size_t i = 0; i < expected->count; i++) {
        const hf_awskms_pair *pair = &expected->pairs[i];
        const char *value = value_of(found, pair->name);
        if (value == NULL || strcmp(value, pair->value) != 0) {
            return hf_fail(err, HF_DENIED, "wrapped for %s \"%.60s\", not \"%.60s\"", pair->name,
                           value != NULL ? value : "", pair->value);
        }
    }
    for (size_t i = 0; i < found->count; i++) {
        if (value_of(expected, found->pairs[i].name) == NULL) {
            return hf_fail(err, HF_DENIED,
                           "wrapped with %s in its encryption context, which the configuration "
                           "does not have",
                           found->pairs[i].name);
        }
    }
    return hf_ok();
}

json_t *hf_kms_context_to_json(const hf_kms_context *context)
{
    json_t *object = json_object();
    for (size_t i = 0; i < context->count && object != NULL; i++) {
        if (json_object_set_new(object, context->pairs[i].name,
                                json_string(context->pairs[i].value)) != 0) {
            json_decref(object);
            object = NULL;
        }
    }
    return object;
}

/* ---- ARNs --------------------------------------------------------------------------------- */

/* arn:aws:kms:REGION:ACCOUNT:key/ID: the n-th field. */
static const char *field(const char *arn, unsigned n, size_t *ret_len)
{
    for (; n > 0 && arn != NULL; n--) {
        arn = strchr(arn, ':');
        arn = arn != NULL ? arn + 1 : NULL;
    }
    *ret_len = arn != NULL ? strcspn(arn, ":") : 0;
    return arn;
}

bool hf_kms_is_same_key(const char *arn, const char *other_arn)
{
    if (strcmp(arn, other_arn) == 0) {
        return true;
    }
    for (unsigned n = 0; n <= 5; n++) {
        size_t len;
        size_t other_len;
        const char *part = field(arn, n, &len);
        const char *other = field(other_arn, n, &other_len);
        if (part == NULL || other == NULL) {
            return false;
        }
        bool same = len == other_len && strncmp(part, other, len) == 0;
        if (n == 5 && strncmp(part, "key/mrk-", 8) != 0) {
            return false;
        }
        if (!same && n != 3) {
            return false;
        }
    }
    return true;
}

bool hf_kms_key_fits(const char *key_id, const char *arn)
{
    if (strncmp(key_id, "alias/", 6) == 0 || strstr(key_id, ":alias/") != NULL) {
        return true;
    }
    if (strncmp(key_id, "arn:", 4) == 0) {
        return hf_kms_is_same_key(key_id, arn);
    }
    const char *id = strrchr(arn, '/');
    return id != NULL && strcmp(id + 1, key_id) == 0;
}
