/*
 * drive_custody BACKEND NAME=VALUE...: opens a back end of custody and does what its standard input
 * says, a line each: "list MILLISECONDS", "health", "sign", "wrap", "unwrap" (below). For the
 * Python tests beside it, which play the other side. What is printed: "key TYPE SECRET SOURCE_ID
 * NAME", "failed NAME: WHY", and for each command a line that begins with "=": the code and the
 * sentence.
 */
#include <inttypes.h>
#include <stdio.h>

#include "custody/cloud_secrets.h"
#include "custody/key_servers.h"
#include "custody/vault.h"
#include "custody/yubihsm.h"

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

static const setting key_servers_settings[] = {
    TEXT(hf_key_servers_config, config_dir),
    TEXT(hf_key_servers_config, azure_url),
    {NULL, 0, 0},
};

/* Numbers of 16 bits are set through these. */
typedef struct yubihsm_settings {
    hf_yubihsm_config config;
    uint32_t auth_key_id;
    uint32_t domains;
} yubihsm_settings;

#define YUBIHSM(member)                                                                            \
    {                                                                                              \
#member, offsetof(yubihsm_settings, config.member),                                        \
            sizeof(((yubihsm_settings *)0)->config.member)                                         \
    }
static const setting yubihsm_members[] = {
    YUBIHSM(connector_url),
    YUBIHSM(ca_file),
    NUMBER(yubihsm_settings, auth_key_id),
    YUBIHSM(auth_key_password_file),
    NUMBER(yubihsm_settings, domains),
    YUBIHSM(blob_dir),
    YUBIHSM(wrap_key),
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
    char public[2 * HF_CUSTODY_PUBLIC_MAX + 1];
    char id[2 * HF_SOURCE_ID_LEN + 1];
    (void)context;
    hf_hex_encode(key->source_id, sizeof key->source_id, id);
    if (key->is_inside) {
        hf_hex_encode(key->public_key, key->public_len, public);
        printf("key %d %s %" PRIu64 " %s\n", (int)key->type, public, key->handle, key->name);
    } else {
        hf_hex_encode(key->secret, sizeof key->secret, secret);
        printf("key %d %s %s %s\n", (int)key->type, secret, id, key->name);
    }
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

#define WAIT_NS (10 * HF_NS_PER_SECOND)
#define BYTES_MAX 4096

static size_t bytes_of(const char *hex, uint8_t *out)
{
    size_t len = strlen(hex) / 2;
    return strcmp(hex, "-") != 0 && len <= BYTES_MAX &&
                   !hf_failed(hf_hex_decode(hex, 2 * len, out, len))
               ? len
               : 0;
}

static void end_bytes(hf_status st, const uint8_t *bytes, size_t len, const hf_error *err)
{
    static char hex[2 * BYTES_MAX + 1];
    if (hf_failed(st)) {
        end(st, err);
        return;
    }
    hf_hex_encode(bytes, len, hex);
    printf("= OK %s\n", hex);
    (void)fflush(stdout);
}

/* "sign HANDLE HEX", "wrap REFERENCE CONTEXT SECRET", "unwrap REFERENCE CONTEXT BLOB" */
static bool operate(hf_custody *custody, const char *line)
{
    static char words[4][2 * BYTES_MAX + 1];
    static uint8_t first[BYTES_MAX];
    static uint8_t second[BYTES_MAX];
    static uint8_t out[BYTES_MAX];
    hf_error err = {.code = HF_OK};
    uint64_t handle = 0;
    size_t len = sizeof out;
    uint64_t deadline_ns = hf_time_mono_ns() + WAIT_NS;
    int n = sscanf(line, "%8192s %8192s %8192s %8192s", words[0], words[1], words[2], words[3]);
    if (n == 3 && strcmp(words[0], "sign") == 0 &&
        !hf_failed(hf_num_parse_u64(words[1], strlen(words[1]), &handle))) {
        hf_bytes message = hf_bytes_from(first, bytes_of(words[2], first));
        hf_status st = custody->ops->sign(custody, handle, message, deadline_ns, out, &err);
        end_bytes(st, out, HF_CUSTODY_SIGNATURE_BYTES, &err);
        return true;
    }
    bool wraps = strcmp(words[0], "wrap") == 0;
    if (n != 4 || (!wraps && strcmp(words[0], "unwrap") != 0)) {
        return false;
    }
    hf_status st = (wraps ? custody->ops->wrap : custody->ops->unwrap)(
        custody, words[1], hf_bytes_from(first, bytes_of(words[2], first)),
        hf_bytes_from(second, bytes_of(words[3], second)), deadline_ns, out, &len, &err);
    end_bytes(st, out, len, &err);
    return true;
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
    } else if (!operate(custody, line)) {
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
    static hf_key_servers_config key_servers = {.config_dir = ""};
    if (strcmp(argv[1], "web3signer") == 0 &&
        set_all(&key_servers, key_servers_settings, argv + 2)) {
        return hf_custody_key_servers_open(&key_servers, ret_custody, err);
    }
    static yubihsm_settings yubihsm;
    if (strcmp(argv[1], "yubihsm") == 0 && set_all(&yubihsm, yubihsm_members, argv + 2)) {
        yubihsm.config.auth_key_id = (uint16_t)yubihsm.auth_key_id;
        yubihsm.config.domains = (uint16_t)yubihsm.domains;
        return hf_custody_yubihsm_open(&yubihsm.config, ret_custody, err);
    }
    return hf_fail(err, HF_INTERNAL, "no such back end or setting");
}

int main(int argc, char **argv)
{
    static char line[4 * BYTES_MAX];
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
