/* What the configuration says of tokens behind PKCS#11, for holdfast-hsm. */
#include "custody/hsm_internal.h"
#include "custody/pkcs11.h"

static hf_status take(const hf_custody_settings *settings, const char *name, char *out, size_t len,
                      hf_error *err)
{
    return hf_failed(hf_str_copy(out, len, hf_custody_setting(settings, name)))
               ? hf_fail(err, HF_USAGE, "%s: more than %zu characters", name, len - 1)
               : hf_ok();
}

static hf_status take_keys(const hf_custody_settings *settings, hf_pkcs11_config *config,
                           hf_error *err)
{
    const char *label = NULL;
    while ((label = hf_custody_setting_at(settings, "key_labels", config->key_count)) != NULL) {
        if (config->key_count == HF_PKCS11_KEYS_MAX ||
            hf_failed(
                hf_str_copy(config->keys[config->key_count], sizeof config->keys[0], label))) {
            return hf_fail(err, HF_USAGE, "key_labels: up to %d of up to %d characters",
                           HF_PKCS11_KEYS_MAX, HF_PKCS11_TEXT_LEN - 1);
        }
        config->key_count++;
    }
    return hf_ok();
}

static hf_status take_settings(const hf_custody_settings *settings, hf_pkcs11_config *config,
                               hf_error *err)
{
    const struct {
        const char *name;
        char *out;
        size_t len;
    } texts[] = {
        {"module", config->module, sizeof config->module},
        {"token_label", config->token_label, sizeof config->token_label},
        {"pin_file", config->pin_file, sizeof config->pin_file},
        {"blob_dir", config->blob_dir, sizeof config->blob_dir},
        {"wrap_key", config->wrap_key, sizeof config->wrap_key},
    };
    hf_status st = hf_ok();
    for (size_t i = 0; i < HF_ARRAY_LEN(texts) && !hf_failed(st); i++) {
        st = take(settings, texts[i].name, texts[i].out, texts[i].len, err);
    }
    config->has_slot = hf_custody_setting(settings, "slot")[0] != '\0';
    config->slot = hf_custody_setting_number(settings, "slot", 0);
    return hf_failed(st) ? st : take_keys(settings, config, err);
}

/* The vendor's module logs in by four hex digits of the authentication key and its password, and
 * takes the connector's URL as an argument. */
static hf_status take_yubihsm(const hf_custody_settings *settings, hf_pkcs11_config *config,
                              hf_error *err)
{
    uint64_t id = hf_custody_setting_number(settings, "auth_key_id", 0);
    const char *url = hf_custody_setting(settings, "connector_url");
    if (id == 0 || id > UINT16_MAX ||
        hf_failed(
            hf_str_format(config->pin_prefix, sizeof config->pin_prefix, "%04x", (unsigned)id)) ||
        hf_failed(
            hf_str_format(config->init_args, sizeof config->init_args, "connector=%s", url))) {
        return hf_fail(err, HF_USAGE, "auth_key_id is 1 to %d, and connector_url not that long",
                       UINT16_MAX);
    }
    return take(settings, "auth_key_password_file", config->pin_file, sizeof config->pin_file, err);
}

static hf_status open_by(const hf_custody_settings *settings, hf_key_backend backend,
                         hf_custody **ret, hf_error *err)
{
    hf_pkcs11_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return hf_fail(err, HF_NOMEM, "no memory for a PKCS#11 module");
    }
    hf_status st = take_settings(settings, config, err);
    if (!hf_failed(st) && backend == HF_BACKEND_AWS_CLOUDHSM) {
        st = hf_pkcs11_config_cloudhsm(config, hf_custody_setting(settings, "cluster_id"), "", err);
    }
    if (!hf_failed(st) && backend == HF_BACKEND_YUBIHSM) {
        st = take_yubihsm(settings, config, err);
    }
    if (!hf_failed(st)) {
        st = hf_custody_pkcs11_open(config, ret, err);
    }
    free(config);
    return st;
}

hf_status hf_hsm_open_pkcs11(const hf_custody_settings *settings, hf_custody **ret, hf_error *err)
{
    return open_by(settings, HF_BACKEND_PKCS11, ret, err);
}

hf_status hf_hsm_open_cloudhsm(const hf_custody_settings *settings, hf_custody **ret, hf_error *err)
{
    return open_by(settings, HF_BACKEND_AWS_CLOUDHSM, ret, err);
}

hf_status hf_hsm_open_yubihsm_module(const hf_custody_settings *settings, hf_custody **ret,
                                     hf_error *err)
{
    return open_by(settings, HF_BACKEND_YUBIHSM, ret, err);
}
