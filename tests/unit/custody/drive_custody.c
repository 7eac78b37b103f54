/*
 * drive_custody BACKEND NAME=VALUE...: opens a back end of custody and does what its standard input
 * says, a line each: "list MILLISECONDS", "health". For the Python tests beside it, which play the
 * other side. What is printed: "key TYPE SECRET SOURCE_ID NAME", "failed NAME: WHY", and for each
 * command a line that begins with "=": the code and the sentence.
 */
#include <stdio.h>

#include "custody/cloud_secrets.h"
#include "custody/vault.h"

typedef struct setting {
    const char *name;
    size_t offset;
    size_t len; /* 0: a number of 32 bits */
} setting;

#define TEXT(type, member)                                                                         \
    {                                                                                              \
#member, offsetof(type, member), sizeof(((type *)0)->member)                               \
    }
#define NUMBER(type, member)                                                                       \
    {                                                                                              \
#member, offsetof(type, member), 0                                                         \
    }
#define VAULT(member) TEXT(hf_vault_config, member)
#define AZURE(member) TEXT(hf_azure_config, member)
#define GCP(member) TEXT(hf_gcp_config, member)

static const setting vault_settings[] = {
    VAULT(address),
    VAULT(vault_namespace),
    VAULT(path),
    VAULT(mount),
    NUMBER(hf_vault_config, kv_version),
    VAULT(field),
    NUMBER(hf_vault_config, key_type),
    VAULT(ca_file),
    VAULT(client_cert_file),
    VAULT(client_key_file),
    NUMBER(hf_vault_config, auth),
    VAULT(auth_mount),
    VAULT(token_file),
    VAULT(role_id),
    VAULT(role_id_file),
    VAULT(secret_id_file),
    VAULT(secret_id_wrapping_path),
    VAULT(role),
    VAULT(jwt_file),
    {NULL, 0, 0},
};

static const setting azure_settings[] = {
    AZURE(vault_url),
    AZURE(secret_name),
    AZURE(name_prefix),
    NUMBER(hf_azure_config, key_type),
    NUMBER(hf_azure_config, auth),
    AZURE(tenant_id),
    AZURE(client_id),
    AZURE(client_secret_file),
    AZURE(federated_token_file),
    AZURE(authority_url),
    AZURE(metadata_url),
    AZURE(ca_file),
    {NULL, 0, 0},
};

static const setting gcp_settings[] = {
    GCP(project_id),
    GCP(secret_name),
    GCP(filter),
    NUMBER(hf_gcp_config, key_type),
    NUMBER(hf_gcp_config, auth),
    GCP(credentials_file),
    GCP(endpoint_url),
    GCP(metadata_url),
    GCP(ca_file),
    {NULL, 0, 0},
};

_Static_assert(sizeof(hf_azure_auth) == 4 && sizeof(hf_gcp_auth) == 4, "set as numbers");
_Static_assert(sizeof(hf_vault_auth) == 4 && sizeof(hf_custody_type) == 4, "set as numbers");

static bool set(void *config, const setting *settings, const char *pair)
{
    const char *value = strchr(pair, '=');
    for (const setting *s = settings; value != NULL && s->name != NULL; s++) {
        size_t len = (size_t)(value - pair);
        if (strlen(s->name) != len || strncmp(s->name, pair, len) != 0) {
            continue;
        }
        if (s->len > 0) {
            return !hf_failed(hf_str_copy((char *)config + s->offset, s->len, value + 1));
        }
        uint64_t number = 0;
        bool ok = !hf_failed(hf_num_parse_u64(value + 1, strlen(value + 1), &number));
        *(uint32_t *)(void *)((char *)config + s->offset) = (uint32_t)number;
        return ok;
    }
    return false;
}

static hf_status show(void *context, const hf_custody_key *key)
{
    char secret[2 * HF_CUSTODY_SECRET_BYTES + 1];
    char id[2 * HF_SOURCE_ID_LEN + 1];
    (void)context;
    hf_hex_encode(key->secret, sizeof key->secret, secret);
    hf_hex_encode(key->source_id, sizeof key->source_id, id);
    printf("key %d %s %s %s\n", (int)key->type, secret, id, key->name);
    return hf_ok();
}

static void show_failed(void *context, const char *name, const char *why)
{
    (void)context;
    printf("failed %s: %s\n", name, why);
}

static void end(hf_status st, const hf_error *err)
{
    printf("= %s %s\n", hf_failed(st) ? hf_code_name(st.code) : "OK",
           hf_failed(st) ? err->msg : "");
    (void)fflush(stdout);
}

static void obey(hf_custody *custody, const char *line)
{
    const hf_custody_visitor visitor = {NULL, show, show_failed};
    hf_error err = {.code = HF_OK};
    char detail[HF_DETAIL_LEN];
    uint64_t ms = 0;
    if (strncmp(line, "list ", 5) == 0 &&
        !hf_failed(hf_num_parse_u64(line + 5, strlen(line + 5), &ms))) {
        end(custody->ops->list(custody, &visitor, hf_time_mono_ns() + ms * HF_NS_PER_MS, &err),
            &err);
    } else if (strcmp(line, "health") == 0) {
        bool is_well = custody->ops->is_healthy(custody, detail);
        printf("= %s %s\n", is_well ? "well" : "ill", detail);
        (void)fflush(stdout);
    } else {
        printf("= USAGE no such command\n");
        (void)fflush(stdout);
    }
}

static bool set_all(void *config, const setting *settings, char **pairs)
{
    for (char **pair = pairs; *pair != NULL; pair++) {
        if (!set(config, settings, *pair)) {
            return false;
        }
    }
    return true;
}

static hf_status open_backend(char **argv, hf_custody **ret_custody, hf_error *err)
{
    static hf_vault_config vault = {.address = ""};
    static hf_azure_config azure = {.vault_url = ""};
    static hf_gcp_config gcp = {.project_id = ""};
    if (strcmp(argv[1], "vault") == 0 && set_all(&vault, vault_settings, argv + 2)) {
        return hf_custody_vault_open(&vault, ret_custody, err);
    }
    if (strcmp(argv[1], "azure") == 0 && set_all(&azure, azure_settings, argv + 2)) {
        return hf_custody_azure_open(&azure, ret_custody, err);
    }
    if (strcmp(argv[1], "gcp") == 0 && set_all(&gcp, gcp_settings, argv + 2)) {
        return hf_custody_gcp_open(&gcp, ret_custody, err);
    }
    return hf_fail(err, HF_INTERNAL, "no such back end or setting");
}

int main(int argc, char **argv)
{
    char line[128];
    hf_error err = {.code = HF_OK};
    hf_custody *custody = NULL;
    if (argc < 2) {
        return 2;
    }
    hf_status st = open_backend(argv, &custody, &err);
    end(st, &err);
    if (hf_failed(st)) {
        return 1;
    }
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        obey(custody, line);
    }
    custody->ops->close(custody);
    return 0;
}
