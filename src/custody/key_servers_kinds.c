/*
 * The types of key files that name a server: their members with Web3Signer's names and defaults,
 * and the back end behind each. timeout and httpProtocolVersion are accepted and change nothing:
 * requests have ten seconds each, Web3Signer's own default.
 */
#include <strings.h>

#include "custody/aws_secrets.h"
#include "custody/cloud_secrets.h"
#include "custody/custody.h"
#include "custody/key_servers_internal.h"
#include "custody/vault.h"

#define BIT(member) (1U << HF_MEMBER_##member)
_Static_assert(HF_MEMBER_COUNT <= 32, "members fit a mask");

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* ---- members -------------------------------------------------------------------------------- */

static const char *text_of(const hf_key_members *m, hf_key_member which)
{
    return hf_key_member_text(m, which);
}

static bool has_word(const hf_key_members *m, hf_key_member which, const char *word)
{
    return strcasecmp(text_of(m, which), word) == 0;
}

static hf_status require_all(const hf_key_members *m, const hf_key_member *which, size_t n,
                             hf_error *err)
{
    hf_status st = hf_ok();
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        st = hf_key_member_require(m, which[i], err);
    }
    return st;
}

/* What becomes a part of a URL. */
static hf_status check_letters(const hf_key_members *m, hf_key_member which, const char *letters,
                               hf_error *err)
{
    const char *text = text_of(m, which);
    return text[strspn(text, letters)] == '\0'
               ? hf_ok()
               : hf_fail(err, HF_INVALID_INPUT, "%s has letters that it cannot have",
                         hf_key_member_name(which));
}

static hf_status refuse_word(const hf_key_members *m, hf_key_member which, hf_error *err)
{
    return hf_fail(err, HF_USAGE, "%s %s is not supported in this version",
                   hf_key_member_name(which), hf_key_word(text_of(m, which)));
}

static hf_status copy_text(char *out, size_t len, const hf_key_members *m, hf_key_member which,
                           hf_error *err)
{
    return hf_failed(hf_str_copy(out, len, text_of(m, which)))
               ? hf_fail(err, HF_USAGE, "%s is too long", hf_key_member_name(which))
               : hf_ok();
}

/* ---- hashicorp ------------------------------------------------------------------------------ */

#define VAULT_API "/v1/"
#define VAULT_PORT 8200

static bool is_by_kubernetes(const hf_key_members *m)
{
    return has_word(m, HF_MEMBER_AUTH_METHOD, "KUBERNETES");
}

static hf_status take_port(const hf_key_members *m, unsigned *ret_port, hf_error *err)
{
    const char *text = text_of(m, HF_MEMBER_SERVER_PORT);
    uint64_t port = VAULT_PORT;
    if (text[0] != '\0' && (hf_failed(hf_num_parse_u64(text, strlen(text), &port)) || port == 0 ||
                            port > UINT16_MAX)) {
        return hf_fail(err, HF_INVALID_INPUT, "serverPort is not the number of a port");
    }
    *ret_port = (unsigned)port;
    return hf_ok();
}

/* A path as it stands in a URL, with nothing that would lead elsewhere. */
static hf_status check_key_path(const hf_key_members *m, hf_error *err)
{
    const char *path = text_of(m, HF_MEMBER_KEY_PATH);
    if (strncmp(path, VAULT_API, strlen(VAULT_API)) != 0 || path[strlen(VAULT_API)] == '\0') {
        return hf_fail(err, HF_INVALID_INPUT, "keyPath does not begin with " VAULT_API);
    }
    if (strstr(path, "/../") != NULL || strstr(path, "/./") != NULL) {
        return hf_fail(err, HF_INVALID_INPUT, "keyPath has a part that leads elsewhere");
    }
    return check_letters(m, HF_MEMBER_KEY_PATH, LETTERS "-._~/@:+=,!$&'()*;", err);
}

static hf_status check_hashicorp(const hf_key_members *m, hf_error *err)
{
    static const hf_key_member always[] = {HF_MEMBER_SERVER_HOST, HF_MEMBER_KEY_PATH};
    unsigned port = 0;
    bool is_kubernetes = is_by_kubernetes(m);
    hf_status st = require_all(m, always, HF_ARRAY_LEN(always), err);
    if (!hf_failed(st)) {
        st = hf_key_member_require(m, is_kubernetes ? HF_MEMBER_KUBERNETES_ROLE : HF_MEMBER_TOKEN,
                                   err);
    }
    if (!hf_failed(st)) {
        st = check_letters(m, HF_MEMBER_SERVER_HOST, LETTERS "-._:[]", err);
    }
    if (!hf_failed(st)) {
        st = check_letters(m, HF_MEMBER_KUBERNETES_AUTH_PATH, LETTERS "-_/", err);
    }
    if (!hf_failed(st)) {
        st = check_key_path(m, err);
    }
    if (!hf_failed(st)) {
        st = take_port(m, &port, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    if (m->values[HF_MEMBER_AUTH_METHOD] != NULL && !is_kubernetes &&
        !has_word(m, HF_MEMBER_AUTH_METHOD, "TOKEN")) {
        return refuse_word(m, HF_MEMBER_AUTH_METHOD, err);
    }
    if (m->values[HF_MEMBER_TLS_ENABLED] != NULL && !has_word(m, HF_MEMBER_TLS_ENABLED, "true") &&
        !has_word(m, HF_MEMBER_TLS_ENABLED, "false")) {
        return refuse_word(m, HF_MEMBER_TLS_ENABLED, err);
    }
    return st;
}

/* Relative paths are taken from the folder of the key files. */
static hf_status take_path(const hf_key_servers_config *config, const hf_key_members *m,
                           hf_key_member which, char out[HF_PATH_LEN], hf_error *err)
{
    const char *path = text_of(m, which);
    bool is_whole = path[0] == '/' || path[0] == '\0';
    return hf_failed(is_whole ? hf_str_copy(out, HF_PATH_LEN, path)
                              : hf_str_format(out, HF_PATH_LEN, "%s/%s", config->config_dir, path))
               ? hf_fail(err, HF_USAGE, "%s is too long", hf_key_member_name(which))
               : hf_ok();
}

/* A line of a known servers file: HOST:PORT and a SHA-256 fingerprint, with colons or not. */
static bool take_known(char *line, const char *server, uint8_t ret_digest[32])
{
    char digits[2 * 32 + 1];
    char *rest = NULL;
    const char *name = strtok_r(line, " \t\r", &rest);
    const char *fingerprint = name != NULL ? strtok_r(NULL, " \t\r", &rest) : NULL;
    size_t n = 0;
    if (fingerprint == NULL || name[0] == '#' || strcasecmp(name, server) != 0) {
        return false;
    }
    for (; *fingerprint != '\0' && n < sizeof digits; fingerprint++) {
        digits[n] = *fingerprint;
        n += *fingerprint != ':';
    }
    return n == sizeof digits - 1 && !hf_failed(hf_hex_decode(digits, n, ret_digest, 32));
}

/* One that is not in the file has to be vouched for by an authority. */
static hf_status find_known(const hf_key_servers_config *config, const hf_key_members *m,
                            unsigned port, hf_vault_config *vault, hf_error *err)
{
    char path[HF_PATH_LEN];
    char server[HF_PATH_LEN];
    char *rest = NULL;
    hf_buf *text = NULL;
    hf_status st = take_path(config, m, HF_MEMBER_TLS_KNOWN_SERVERS, path, err);
    if (path[0] == '\0' || !has_word(m, HF_MEMBER_TLS_ENABLED, "true") || hf_failed(st)) {
        return st;
    }
    (void)snprintf(server, sizeof server, "%.900s:%u", text_of(m, HF_MEMBER_SERVER_HOST), port);
    st = hf_file_read(path, HF_KEY_FILE_MAX_BYTES, &text, err);
    char *lines = hf_failed(st) ? NULL : strdup(hf_buf_text(text));
    for (char *line = lines != NULL ? strtok_r(lines, "\n", &rest) : NULL; line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        vault->has_known_certificate =
            vault->has_known_certificate || take_known(line, server, vault->known_certificate);
    }
    free(lines);
    hf_buf_free(text);
    /* With these files it cannot work, which stops no other. */
    return hf_failed(st) ? hf_error_wrap(err, (hf_status){HF_USAGE}, "tlsKnownServersPath") : st;
}

/* Web3Signer takes the path with or without slashes at its ends. */
static void take_auth_mount(const hf_key_members *m, char *out, size_t len)
{
    const char *path = text_of(m, HF_MEMBER_KUBERNETES_AUTH_PATH);
    hf_str_cut(out, len, path + strspn(path, "/"));
    for (size_t n = strlen(out); n > 0 && out[n - 1] == '/'; n--) {
        out[n - 1] = '\0';
    }
}

static hf_status fill_vault(const hf_key_servers_config *config, const hf_key_server *server,
                            hf_vault_config *vault, hf_error *err)
{
    const hf_key_members *m = &server->members;
    unsigned port = 0;
    hf_status st = take_port(m, &port, err);
    vault->secrets = server->secrets;
    vault->secret_count = server->count;
    vault->key_type = server->key_type;
    vault->auth = is_by_kubernetes(m) ? HF_VAULT_AUTH_KUBERNETES : HF_VAULT_AUTH_TOKEN;
    take_auth_mount(m, vault->auth_mount, sizeof vault->auth_mount);
    if (!hf_failed(st) &&
        hf_failed(hf_str_format(vault->address, sizeof vault->address, "%s://%s:%u",
                                has_word(m, HF_MEMBER_TLS_ENABLED, "true") ? "https" : "http",
                                text_of(m, HF_MEMBER_SERVER_HOST), port))) {
        st = hf_fail(err, HF_USAGE, "serverHost is too long");
    }
    if (!hf_failed(st)) {
        st = find_known(config, m, port, vault, err);
    }
    if (!hf_failed(st)) {
        st = copy_text(vault->token, sizeof vault->token, m, HF_MEMBER_TOKEN, err);
    }
    if (!hf_failed(st)) {
        st = copy_text(vault->role, sizeof vault->role, m, HF_MEMBER_KUBERNETES_ROLE, err);
    }
    return hf_failed(st) ? st
                         : take_path(config, m, HF_MEMBER_KUBERNETES_TOKEN, vault->jwt_file, err);
}

static hf_status open_hashicorp(const hf_key_servers_config *config, const hf_key_server *server,
                                hf_custody **ret_custody, hf_error *err)
{
    hf_vault_config vault = {.path = ""};
    hf_status st = fill_vault(config, server, &vault, err);
    if (!hf_failed(st)) {
        st = hf_custody_vault_open(&vault, ret_custody, err);
    }
    hf_wipe(&vault, sizeof vault);
    return st;
}

/* ---- azure-secret --------------------------------------------------------------------------- */

static bool is_by_secret(const hf_key_members *m)
{
    return m->values[HF_MEMBER_AUTHENTICATION_MODE] == NULL ||
           has_word(m, HF_MEMBER_AUTHENTICATION_MODE, "CLIENT_SECRET");
}

static hf_status check_azure(const hf_key_members *m, hf_error *err)
{
    static const hf_key_member of_client[] = {HF_MEMBER_CLIENT_ID, HF_MEMBER_CLIENT_SECRET,
                                              HF_MEMBER_TENANT_ID};
    static const hf_key_member always[] = {HF_MEMBER_VAULT_NAME, HF_MEMBER_SECRET_NAME};
    hf_status st = require_all(m, always, HF_ARRAY_LEN(always), err);
    if (!hf_failed(st)) {
        st = check_letters(m, HF_MEMBER_VAULT_NAME, LETTERS "-", err);
    }
    if (!hf_failed(st)) {
        st = check_letters(m, HF_MEMBER_TENANT_ID, LETTERS "-.", err);
    }
    if (hf_failed(st)) {
        return st;
    }
    if (is_by_secret(m)) {
        return require_all(m, of_client, HF_ARRAY_LEN(of_client), err);
    }
    if (has_word(m, HF_MEMBER_AUTHENTICATION_MODE, "USER_ASSIGNED_MANAGED_IDENTITY")) {
        return hf_key_member_require(m, HF_MEMBER_CLIENT_ID, err);
    }
    return has_word(m, HF_MEMBER_AUTHENTICATION_MODE, "SYSTEM_ASSIGNED_MANAGED_IDENTITY")
               ? st
               : refuse_word(m, HF_MEMBER_AUTHENTICATION_MODE, err);
}

static hf_status fill_azure(const hf_key_servers_config *config, const hf_key_server *server,
                            hf_azure_config *azure, hf_error *err)
{
    const hf_key_members *m = &server->members;
    bool is_elsewhere = config->azure_url[0] != '\0';
    bool is_of_system =
        has_word(m, HF_MEMBER_AUTHENTICATION_MODE, "SYSTEM_ASSIGNED_MANAGED_IDENTITY");
    azure->secrets = server->secrets;
    azure->secret_count = server->count;
    azure->key_type = server->key_type;
    azure->auth = is_by_secret(m) ? HF_AZURE_AUTH_CLIENT_SECRET : HF_AZURE_AUTH_MANAGED_IDENTITY;
    hf_str_cut(azure->authority_url, sizeof azure->authority_url, config->azure_url);
    hf_str_cut(azure->metadata_url, sizeof azure->metadata_url, config->azure_url);
    if (hf_failed(is_elsewhere
                      ? hf_str_copy(azure->vault_url, sizeof azure->vault_url, config->azure_url)
                      : hf_str_format(azure->vault_url, sizeof azure->vault_url,
                                      "https://%s.vault.azure.net",
                                      text_of(m, HF_MEMBER_VAULT_NAME)))) {
        return hf_fail(err, HF_USAGE, "vaultName is too long");
    }
    hf_status st =
        copy_text(azure->tenant_id, sizeof azure->tenant_id, m, HF_MEMBER_TENANT_ID, err);
    if (!hf_failed(st) && !is_of_system) {
        st = copy_text(azure->client_id, sizeof azure->client_id, m, HF_MEMBER_CLIENT_ID, err);
    }
    return hf_failed(st) ? st
                         : copy_text(azure->client_secret, sizeof azure->client_secret, m,
                                     HF_MEMBER_CLIENT_SECRET, err);
}

static hf_status open_azure(const hf_key_servers_config *config, const hf_key_server *server,
                            hf_custody **ret_custody, hf_error *err)
{
    hf_azure_config azure = {.secret_name = ""};
    hf_status st = fill_azure(config, server, &azure, err);
    if (!hf_failed(st)) {
        st = hf_custody_azure_open(&azure, ret_custody, err);
    }
    hf_wipe(&azure, sizeof azure);
    return st;
}

/* ---- aws-secret ----------------------------------------------------------------------------- */

static bool is_by_environment(const hf_key_members *m)
{
    return has_word(m, HF_MEMBER_AUTHENTICATION_MODE, "ENVIRONMENT");
}

static hf_status check_aws(const hf_key_members *m, hf_error *err)
{
    static const hf_key_member always[] = {HF_MEMBER_REGION, HF_MEMBER_SECRET_NAME};
    static const hf_key_member given[] = {HF_MEMBER_ACCESS_KEY_ID, HF_MEMBER_SECRET_ACCESS_KEY};
    hf_status st = require_all(m, always, HF_ARRAY_LEN(always), err);
    if (hf_failed(st) || is_by_environment(m)) {
        return st;
    }
    if (m->values[HF_MEMBER_AUTHENTICATION_MODE] != NULL &&
        !has_word(m, HF_MEMBER_AUTHENTICATION_MODE, "SPECIFIED")) {
        return refuse_word(m, HF_MEMBER_AUTHENTICATION_MODE, err);
    }
    return require_all(m, given, HF_ARRAY_LEN(given), err);
}

static hf_status fill_aws(const hf_key_server *server, hf_aws_credentials *credentials,
                          hf_aws_secrets_config *aws, hf_error *err)
{
    const hf_key_members *m = &server->members;
    aws->secrets = server->secrets;
    aws->secret_count = server->count;
    aws->key_type = server->key_type;
    hf_status st = copy_text(aws->place.region, sizeof aws->place.region, m, HF_MEMBER_REGION, err);
    if (!hf_failed(st)) {
        st = copy_text(aws->place.endpoint_url, sizeof aws->place.endpoint_url, m,
                       HF_MEMBER_ENDPOINT_OVERRIDE, err);
    }
    if (hf_failed(st) || is_by_environment(m)) {
        return st;
    }
    aws->place.credentials = credentials;
    st = copy_text(credentials->access_key_id, sizeof credentials->access_key_id, m,
                   HF_MEMBER_ACCESS_KEY_ID, err);
    return hf_failed(st)
               ? st
               : copy_text(credentials->secret_access_key, sizeof credentials->secret_access_key, m,
                           HF_MEMBER_SECRET_ACCESS_KEY, err);
}

static hf_status open_aws(const hf_key_servers_config *config, const hf_key_server *server,
                          hf_custody **ret_custody, hf_error *err)
{
    hf_aws_credentials credentials = {.expires_unix_ms = 0};
    hf_aws_secrets_config *aws = calloc(1, sizeof *aws);
    (void)config;
    hf_status st = aws != NULL ? fill_aws(server, &credentials, aws, err)
                               : hf_fail(err, HF_NOMEM, "out of memory");
    if (!hf_failed(st)) {
        st = hf_custody_aws_secrets_open(aws, ret_custody, err);
    }
    hf_wipe(&credentials, sizeof credentials);
    free(aws);
    return st;
}

/* ---- the table ------------------------------------------------------------------------------ */

static const hf_key_server_kind kinds[] = {
    {.type = "hashicorp",
     .identity = BIT(SERVER_HOST) | BIT(SERVER_PORT) | BIT(TLS_ENABLED) | BIT(TLS_KNOWN_SERVERS) |
                 BIT(AUTH_METHOD) | BIT(TOKEN) | BIT(KUBERNETES_ROLE) | BIT(KUBERNETES_TOKEN) |
                 BIT(KUBERNETES_AUTH_PATH),
     .credentials = BIT(TOKEN),
     .secret = HF_MEMBER_KEY_PATH,
     .field = "value",
     .check = check_hashicorp,
     .open = open_hashicorp},
    {.type = "azure-secret",
     .identity = BIT(VAULT_NAME) | BIT(AUTHENTICATION_MODE) | BIT(TENANT_ID) | BIT(CLIENT_ID) |
                 BIT(CLIENT_SECRET),
     .credentials = BIT(CLIENT_SECRET),
     .secret = HF_MEMBER_SECRET_NAME,
     .check = check_azure,
     .open = open_azure},
    {.type = "aws-secret",
     .identity = BIT(AUTHENTICATION_MODE) | BIT(REGION) | BIT(ACCESS_KEY_ID) |
                 BIT(SECRET_ACCESS_KEY) | BIT(ENDPOINT_OVERRIDE),
     .credentials = BIT(SECRET_ACCESS_KEY),
     .secret = HF_MEMBER_SECRET_NAME,
     .check = check_aws,
     .open = open_aws},
};

const hf_key_server_kind *hf_key_server_kind_find(const char *type)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].type, type) == 0) {
            return &kinds[i];
        }
    }
    return NULL;
}
