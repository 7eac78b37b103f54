/* The settings of the configuration as the back ends in AWS want them. */
#include "custody/aws_settings.h"
#include "custody/aws_secrets.h"
#include "custody/awskms.h"

#define CONTEXT "encryption_context."
#define NETWORK "network"
#define TAGS "secret_tags."

static hf_status copy(const hf_custody_settings *settings, const char *name, char *out, size_t len,
                      hf_error *err)
{
    hf_status st = hf_str_copy(out, len, hf_custody_setting(settings, name));
    return hf_failed(st) ? hf_fail(err, HF_USAGE, "%s: longer than %zu characters", name, len - 1)
                         : st;
}

/* All values of a list; more than max are USAGE. */
static hf_status copy_list(const hf_custody_settings *settings, const char *name, char *out,
                           size_t stride, size_t max, size_t *ret_count, hf_error *err)
{
    size_t n = 0;
    const char *value = hf_custody_setting_at(settings, name, n);
    for (; value != NULL; value = hf_custody_setting_at(settings, name, n)) {
        if (n == max || hf_failed(hf_str_copy(out + n * stride, stride, value))) {
            return hf_fail(err, HF_USAGE, "%s: at most %zu of at most %zu characters", name, max,
                           stride - 1);
        }
        n++;
    }
    *ret_count = n;
    return hf_ok();
}

static hf_status read_place(const hf_custody_settings *settings, hf_aws_place *place, hf_error *err)
{
    hf_status st = copy(settings, "region", place->region, sizeof place->region, err);
    if (!hf_failed(st)) {
        st = copy(settings, "iam_role", place->role_arn, sizeof place->role_arn, err);
    }
    if (!hf_failed(st)) {
        st = copy(settings, "endpoint_url", place->endpoint_url, sizeof place->endpoint_url, err);
    }
    return hf_failed(st) ? st
                         : copy(settings, "ca_file", place->ca_file, sizeof place->ca_file, err);
}

static bool is_member_of(const char *name, const char *mapping, const char **ret_member)
{
    size_t len = strlen(mapping);
    *ret_member = name + len;
    return strncmp(name, mapping, len) == 0;
}

/* ---- KMS ---------------------------------------------------------------------------------- */

static hf_status add_pair(hf_awskms_config *config, const char *name, const char *value,
                          hf_error *err)
{
    if (strcmp(name, NETWORK) == 0) {
        return hf_failed(hf_str_copy(config->network, sizeof config->network, value))
                   ? hf_fail(err, HF_USAGE, CONTEXT NETWORK ": too long")
                   : hf_ok();
    }
    if (config->pair_count == HF_AWSKMS_PAIRS_MAX) {
        return hf_fail(err, HF_USAGE, "encryption_context: at most %d members beside network",
                       HF_AWSKMS_PAIRS_MAX);
    }
    hf_awskms_pair *pair = &config->pairs[config->pair_count++];
    if (hf_failed(hf_str_copy(pair->name, sizeof pair->name, name)) ||
        hf_failed(hf_str_copy(pair->value, sizeof pair->value, value))) {
        return hf_fail(err, HF_USAGE, CONTEXT "%s: too long", name);
    }
    return hf_ok();
}

static hf_status read_kms(const hf_custody_settings *settings, hf_awskms_config *config,
                          hf_error *err)
{
    const char *name = NULL;
    const char *member = NULL;
    const char *value = NULL;
    size_t offset = 0;
    hf_status st = read_place(settings, &config->place, err);
    if (!hf_failed(st)) {
        st = copy(settings, "blob_dir", config->blob_dir, sizeof config->blob_dir, err);
    }
    if (!hf_failed(st)) {
        st = copy(settings, "key_id", config->key_id, sizeof config->key_id, err);
    }
    if (!hf_failed(st)) {
        st = copy_list(settings, "sign_key_ids", config->sign_key_ids[0],
                       sizeof config->sign_key_ids[0], HF_AWSKMS_SIGN_KEYS_MAX,
                       &config->sign_key_count, err);
    }
    while (!hf_failed(st) && hf_custody_settings_next(settings, &offset, &name, &value)) {
        if (is_member_of(name, CONTEXT, &member)) {
            st = add_pair(config, member, value, err);
        }
    }
    return st;
}

hf_status hf_custody_awskms_start(const hf_custody_settings *settings, hf_custody **ret_custody,
                                  hf_error *err)
{
    hf_awskms_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = read_kms(settings, config, err);
    if (!hf_failed(st)) {
        st = hf_custody_awskms_open(config, ret_custody, err);
    }
    free(config);
    return st;
}

/* ---- Secrets Manager ---------------------------------------------------------------------- */

static hf_status add_tag(hf_aws_secrets_config *config, const char *name, const char *value,
                         hf_error *err)
{
    if (config->tag_key_count == HF_AWS_SECRET_FILTERS_MAX ||
        hf_failed(
            hf_str_copy(config->tag_keys[config->tag_key_count++], HF_AWS_SECRET_TAG_LEN, name)) ||
        hf_failed(hf_str_copy(config->tag_values[config->tag_value_count++], HF_AWS_SECRET_TAG_LEN,
                              value))) {
        return hf_fail(err, HF_USAGE, "secret_tags: at most %d of at most %d characters",
                       HF_AWS_SECRET_FILTERS_MAX, HF_AWS_SECRET_TAG_LEN - 1);
    }
    return hf_ok();
}

static hf_status read_key_type(const hf_custody_settings *settings, hf_custody_type *ret_type,
                               hf_error *err)
{
    static const struct {
        const char *name;
        hf_custody_type type;
    } types[] = {{"", HF_CUSTODY_BLS},
                 {"BLS", HF_CUSTODY_BLS},
                 {"SECP256K1", HF_CUSTODY_SECP256K1},
                 {"ED25519", HF_CUSTODY_ED25519}};
    const char *name = hf_custody_setting(settings, "key_type");
    for (size_t i = 0; i < HF_ARRAY_LEN(types); i++) {
        if (strcasecmp(types[i].name, name) == 0) {
            *ret_type = types[i].type;
            return hf_ok();
        }
    }
    return hf_fail(err, HF_USAGE, "key_type: BLS, SECP256K1 or ED25519");
}

static hf_status read_secrets(const hf_custody_settings *settings, hf_aws_secrets_config *config,
                              hf_error *err)
{
    const char *name = NULL;
    const char *member = NULL;
    const char *value = NULL;
    size_t offset = 0;
    hf_status st = read_place(settings, &config->place, err);
    if (!hf_failed(st)) {
        st = read_key_type(settings, &config->key_type, err);
    }
    if (!hf_failed(st)) {
        st = copy_list(settings, "secret_ids", config->names[0], sizeof config->names[0],
                       HF_AWS_SECRET_NAMES_MAX, &config->name_count, err);
    }
    if (!hf_failed(st)) {
        st = copy_list(settings, "prefixes", config->prefixes[0], sizeof config->prefixes[0],
                       HF_AWS_SECRET_FILTERS_MAX, &config->prefix_count, err);
    }
    while (!hf_failed(st) && hf_custody_settings_next(settings, &offset, &name, &value)) {
        if (is_member_of(name, TAGS, &member)) {
            st = add_tag(config, member, value, err);
        }
    }
    return st;
}

hf_status hf_custody_aws_secrets_start(const hf_custody_settings *settings,
                                       hf_custody **ret_custody, hf_error *err)
{
    hf_aws_secrets_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = read_secrets(settings, config, err);
    if (!hf_failed(st)) {
        st = hf_custody_aws_secrets_open(config, ret_custody, err);
    }
    free(config);
    return st;
}
