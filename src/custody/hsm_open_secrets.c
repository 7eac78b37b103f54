/* From the settings of the configuration to the stores of secrets and the YubiHSM. */
#include "custody/cloud_secrets.h"
#include "custody/hsm_internal.h"
#include "custody/secret_text.h"
#include "custody/vault.h"
#include "custody/yubihsm.h"

/* A setting of text and where it goes. */
typedef struct text_member {
    const char *setting;
    size_t offset;
    size_t len;
} text_member;

#define MEMBER(type, setting, member)                                                              \
    {                                                                                              \
        setting, offsetof(type, member), sizeof(((type *)0)->member)                               \
    }

static hf_status copy_texts(const hf_custody_settings *settings, const text_member *members,
                            size_t n, void *config, hf_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const char *text = hf_custody_setting(settings, members[i].setting);
        if (hf_failed(hf_str_copy((char *)config + members[i].offset, members[i].len, text))) {
            return hf_fail(err, HF_USAGE, "%s is longer than %zu bytes", members[i].setting,
                           members[i].len - 1);
        }
    }
    return hf_ok();
}

static hf_status take_key_type(const hf_custody_settings *settings, hf_custody_type *ret_type,
                               hf_error *err)
{
    const char *word = hf_custody_setting(settings, "key_type");
    *ret_type = HF_CUSTODY_BLS;
    return word[0] == '\0' || hf_secret_type_parse(word, ret_type)
               ? hf_ok()
               : hf_fail(err, HF_USAGE, "key_type is BLS or SECP256K1");
}

/* The place of the word among words; an empty one is the first. */
static hf_status take_word(const hf_custody_settings *settings, const char *setting,
                           const char *const *words, size_t n, uint32_t *ret_place, hf_error *err)
{
    const char *word = hf_custody_setting(settings, setting);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(word, words[i]) == 0 || (i == 0 && word[0] == '\0')) {
            *ret_place = (uint32_t)i;
            return hf_ok();
        }
    }
    return hf_fail(err, HF_USAGE, "%s is none of those that there are: %s, %s, %s...", setting,
                   words[0], words[1], words[n - 1]);
}

/* ---- Vault ---------------------------------------------------------------------------------- */

#define VAULT(setting, member) MEMBER(hf_vault_config, setting, member)
static const text_member vault_members[] = {
    VAULT("address", address),
    VAULT("namespace", vault_namespace),
    VAULT("path", path),
    VAULT("mount", mount),
    VAULT("field", field),
    VAULT("ca_file", ca_file),
    VAULT("client_cert_file", client_cert_file),
    VAULT("client_key_file", client_key_file),
    VAULT("auth.mount", auth_mount),
    VAULT("auth.token_file", token_file),
    VAULT("auth.role_id", role_id),
    VAULT("auth.role_id_file", role_id_file),
    VAULT("auth.secret_id_file", secret_id_file),
    VAULT("auth.secret_id_wrapping_path", secret_id_wrapping_path),
    VAULT("auth.role", role),
    VAULT("auth.jwt_file", jwt_file),
};
static const char *const vault_methods[HF_VAULT_AUTH_COUNT] = {"token", "approle", "kubernetes"};

/* auth is a mapping whose members the table of the configuration does not know by themselves. */
static hf_status check_auth_members(const hf_custody_settings *settings, hf_error *err)
{
    const char *name = NULL;
    const char *value = NULL;
    size_t offset = 0;
    while (hf_custody_settings_next(settings, &offset, &name, &value)) {
        bool is_known = strncmp(name, "auth.", 5) != 0 || strcmp(name, "auth.method") == 0;
        for (size_t i = 0; i < HF_ARRAY_LEN(vault_members); i++) {
            is_known = is_known || strcmp(name, vault_members[i].setting) == 0;
        }
        if (!is_known) {
            return hf_fail(err, HF_USAGE, "vault: there is no %.100s", name);
        }
    }
    return hf_ok();
}

hf_status hf_hsm_open_vault(const hf_custody_settings *settings, hf_custody **ret_custody,
                            hf_error *err)
{
    static hf_vault_config config; /* large, and one back end a process */
    uint32_t method = 0;
    hf_status st = copy_texts(settings, vault_members, HF_ARRAY_LEN(vault_members), &config, err);
    if (!hf_failed(st)) {
        st = check_auth_members(settings, err);
    }
    if (!hf_failed(st)) {
        st = take_word(settings, "auth.method", vault_methods, HF_VAULT_AUTH_COUNT, &method, err);
    }
    if (!hf_failed(st)) {
        st = take_key_type(settings, &config.key_type, err);
    }
    config.auth = (hf_vault_auth)method;
    config.kv_version = (uint32_t)hf_custody_setting_number(settings, "kv_version", 0);
    return hf_failed(st) ? st : hf_custody_vault_open(&config, ret_custody, err);
}

/* ---- Azure ---------------------------------------------------------------------------------- */

#define AZURE(setting, member) MEMBER(hf_azure_config, setting, member)
static const text_member azure_members[] = {
    AZURE("vault_url", vault_url),
    AZURE("secret_name", secret_name),
    AZURE("name_prefix", name_prefix),
    AZURE("tenant_id", tenant_id),
    AZURE("client_id", client_id),
    AZURE("client_secret_file", client_secret_file),
    AZURE("federated_token_file", federated_token_file),
    AZURE("authority_url", authority_url),
    AZURE("metadata_url", metadata_url),
    AZURE("ca_file", ca_file),
};
static const char *const azure_modes[HF_AZURE_AUTH_COUNT] = {"client-secret", "managed-identity",
                                                             "workload-identity"};

hf_status hf_hsm_open_azure(const hf_custody_settings *settings, hf_custody **ret_custody,
                            hf_error *err)
{
    static hf_azure_config config;
    uint32_t mode = 0;
    hf_status st = copy_texts(settings, azure_members, HF_ARRAY_LEN(azure_members), &config, err);
    if (!hf_failed(st)) {
        st = take_word(settings, "auth_mode", azure_modes, HF_AZURE_AUTH_COUNT, &mode, err);
    }
    if (!hf_failed(st)) {
        st = take_key_type(settings, &config.key_type, err);
    }
    config.auth = (hf_azure_auth)mode;
    return hf_failed(st) ? st : hf_custody_azure_open(&config, ret_custody, err);
}

/* ---- Google --------------------------------------------------------------------------------- */

#define GCP(setting, member) MEMBER(hf_gcp_config, setting, member)
static const text_member gcp_members[] = {
    GCP("project_id", project_id),
    GCP("secret_name", secret_name),
    GCP("filter", filter),
    GCP("credentials_file", credentials_file),
    GCP("endpoint_url", endpoint_url),
    GCP("metadata_url", metadata_url),
    GCP("ca_file", ca_file),
};

hf_status hf_hsm_open_gcp(const hf_custody_settings *settings, hf_custody **ret_custody,
                          hf_error *err)
{
    static hf_gcp_config config;
    hf_status st = copy_texts(settings, gcp_members, HF_ARRAY_LEN(gcp_members), &config, err);
    if (!hf_failed(st)) {
        st = take_key_type(settings, &config.key_type, err);
    }
    config.auth =
        config.credentials_file[0] != '\0' ? HF_GCP_AUTH_SERVICE_ACCOUNT : HF_GCP_AUTH_METADATA;
    return hf_failed(st) ? st : hf_custody_gcp_open(&config, ret_custody, err);
}

/* ---- YubiHSM -------------------------------------------------------------------------------- */

#define YUBIHSM(setting, member) MEMBER(hf_yubihsm_config, setting, member)
static const text_member yubihsm_members[] = {
    YUBIHSM("connector_url", connector_url),
    YUBIHSM("auth_key_password_file", auth_key_password_file),
    YUBIHSM("blob_dir", blob_dir),
    YUBIHSM("wrap_key", wrap_key),
    YUBIHSM("ca_file", ca_file),
};

static hf_status take_u16(const hf_custody_settings *settings, const char *name,
                          uint16_t *ret_value, hf_error *err)
{
    uint64_t value = hf_custody_setting_number(settings, name, 0);
    if (value > UINT16_MAX) {
        return hf_fail(err, HF_USAGE, "%s is a number up to %d", name, UINT16_MAX);
    }
    *ret_value = (uint16_t)value;
    return hf_ok();
}

static hf_status take_labels(const hf_custody_settings *settings, hf_yubihsm_config *config,
                             hf_error *err)
{
    const char *label = NULL;
    while ((label = hf_custody_setting_at(settings, "key_labels", config->label_count)) != NULL) {
        if (config->label_count == HF_YUBIHSM_LABELS_MAX ||
            hf_failed(
                hf_str_copy(config->labels[config->label_count], HF_YUBIHSM_LABEL_LEN, label))) {
            return hf_fail(err, HF_USAGE, "key_labels: up to %d of up to %d bytes",
                           HF_YUBIHSM_LABELS_MAX, HF_YUBIHSM_LABEL_LEN - 1);
        }
        config->label_count++;
    }
    return hf_ok();
}

/* They speak of a PKCS#11 module, which is not there. */
static hf_status refuse_of_module(const hf_custody_settings *settings, hf_error *err)
{
    static const char *const names[] = {"slot", "token_label", "token_dir"};
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        if (hf_custody_setting(settings, names[i])[0] != '\0') {
            return hf_fail(err, HF_USAGE, "yubihsm: %s means nothing without module", names[i]);
        }
    }
    return hf_ok();
}

hf_status hf_hsm_open_yubihsm(const hf_custody_settings *settings, hf_custody **ret_custody,
                              hf_error *err)
{
    static hf_yubihsm_config config;
    hf_status st =
        copy_texts(settings, yubihsm_members, HF_ARRAY_LEN(yubihsm_members), &config, err);
    if (!hf_failed(st)) {
        st = take_u16(settings, "auth_key_id", &config.auth_key_id, err);
    }
    if (!hf_failed(st)) {
        st = take_u16(settings, "domains", &config.domains, err);
    }
    if (!hf_failed(st)) {
        config.label_count = 0;
        st = take_labels(settings, &config, err);
    }
    if (!hf_failed(st)) {
        st = refuse_of_module(settings, err);
    }
    return hf_failed(st) ? st : hf_custody_yubihsm_open(&config, ret_custody, err);
}
