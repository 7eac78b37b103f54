/* What only the whole configuration can tell: files, listeners, keys, the network. */
#include "config_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

hf_status hf_config_refuse_key(const hf_settings *settings, const char *path, hf_error *err,
                               const char *what)
{
    return hf_config_refuse(&hf_config_setting(settings, path)->origin, path, err, "%s", what);
}

/* ---- files and folders -------------------------------------------------------------------- */

static hf_status check_key_files(const hf_settings *settings, hf_error *err)
{
    for (size_t i = 0; i < hf_config_key_count; i++) {
        const hf_config_key *key = &hf_config_keys[i];
        const char *path = (const char *)settings + key->offset;
        hf_error why = {0};
        if (!settings->values[i].is_set || (key->flags & HF_KEY_FILE_EXISTS) == 0) {
            continue;
        }
        hf_status st = (key->flags & HF_KEY_FILE_PRIVATE) != 0
                           ? hf_config_check_private(path, &why)
                           : hf_config_check_readable(path, false, &why);
        if (hf_failed(st)) {
            return hf_config_refuse_key(settings, key->path, err, why.msg);
        }
    }
    return hf_ok();
}

static hf_status check_data_dir(const hf_settings *settings, hf_error *err)
{
    struct stat info;
    char parent[HF_PATH_LEN];
    const char *path = settings->config.data_dir;
    if (!hf_config_setting(settings, "data_dir")->is_set) {
        return hf_fail(err, HF_USAGE,
                       "data_dir: not set; give --data-dir DIR, HOLDFAST_DATA_DIR, or data_dir in "
                       "the file given by -c");
    }
    if (stat(path, &info) == 0) {
        if (!S_ISDIR(info.st_mode)) {
            return hf_config_refuse_key(settings, "data_dir", err, "not a folder; give one");
        }
        if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
            return hf_config_refuse_key(settings, "data_dir", err,
                                        "others can write into this folder; chmod 700 it");
        }
        return hf_ok();
    }
    (void)snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    slash[slash == parent ? 1 : 0] = '\0';
    if (stat(parent, &info) != 0 || !S_ISDIR(info.st_mode)) {
        return hf_config_refuse(&hf_config_setting(settings, "data_dir")->origin, "data_dir", err,
                                "%s: no such folder; make it first", parent);
    }
    return hf_ok();
}

/* ---- listeners ---------------------------------------------------------------------------- */

static bool is_loopback(const char *address)
{
    struct in6_addr six;
    uint8_t four[4];
    if (inet_pton(AF_INET, address, four) == 1) {
        return four[0] == 127;
    }
    if (inet_pton(AF_INET6, address, &six) != 1) {
        return false;
    }
    return IN6_IS_ADDR_LOOPBACK(&six) || (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127);
}

static hf_status finish_tls(const hf_settings *settings, hf_error *err)
{
    const hf_config *config = &settings->config;
    bool has_cert = config->tls_cert[0] != '\0';
    bool has_key = config->tls_key[0] != '\0';
    if (has_cert != has_key) {
        return has_cert ? hf_config_refuse_key(settings, "server.tls.cert", err,
                                               "needs server.tls.key as well")
                        : hf_config_refuse_key(settings, "server.tls.key", err,
                                               "needs server.tls.cert as well");
    }
    if (!has_cert && config->tls_client_ca[0] != '\0') {
        return hf_config_refuse_key(settings, "server.tls.client_ca", err,
                                    "needs server.tls.cert and server.tls.key as well");
    }
    if (!has_cert && config->tls_known_clients[0] != '\0') {
        return hf_config_refuse_key(settings, "server.tls.known_clients", err,
                                    "needs server.tls.cert and server.tls.key as well");
    }
    return hf_ok();
}

static hf_status finish_listeners(const hf_settings *settings, hf_error *err)
{
    const hf_config *config = &settings->config;
    hf_status st = finish_tls(settings, err);
    if (hf_failed(st)) {
        return st;
    }
    bool has_client_certificates =
        config->tls_client_ca[0] != '\0' || config->tls_known_clients[0] != '\0';
    bool is_guarded = has_client_certificates || config->auth_mode == HF_AUTH_TOKENS;
    if (!is_loopback(config->listen_address) && !is_guarded) {
        return hf_config_refuse(
            &hf_config_setting(settings, "server.listen_address")->origin, "server.listen_address",
            err,
            "%s is reachable by others, who could then ask for signatures; require tokens "
            "(auth.mode) "
            "or client certificates (server.tls.cert, key and client_ca or known_clients), or "
            "listen on 127.0.0.1",
            config->listen_address);
    }
    if (config->metrics_enabled && config->listen_port != 0 &&
        config->listen_port == config->metrics_port &&
        strcmp(config->listen_address, config->metrics_address) == 0) {
        return hf_config_refuse_key(settings, "metrics.listen_port", err,
                                    "the same as server.listen_port; give another");
    }
    return hf_ok();
}

/* ---- the network and the rest ------------------------------------------------------------- */

static hf_status finish_mapping(hf_settings *settings, const char *root, hf_error *err)
{
    hf_error why = {0};
    hf_status st = hf_ok();
    if (root != NULL) {
        st = hf_network_draft_root(&settings->network_draft, root, err);
        if (hf_failed(st)) {
            return hf_error_wrap(err, st, "--genesis-validators-root");
        }
    }
    if (hf_failed(
            hf_network_draft_finish(&settings->network_draft, &settings->config.network, &why))) {
        return hf_config_refuse_key(settings, "network", err, why.msg);
    }
    return hf_ok();
}

static hf_status finish_network(hf_settings *settings, const char *root, hf_error *err)
{
    char path[HF_PATH_LEN];
    const hf_setting *setting = hf_config_setting(settings, "network");
    hf_error why = {0};
    settings->config.has_network = true;
    settings->config.network_is_default = !setting->is_set && root == NULL;
    if (!setting->is_set && root != NULL) {
        return hf_network_from_root(root, &settings->config.network,
                                    &settings->config.network_is_partial, err);
    }
    if (setting->text[0] == '\0') {
        return finish_mapping(settings, root, err);
    }
    const char *folder =
        setting->origin.kind == HF_ORIGIN_FILE ? settings->file_dir : settings->work_dir;
    hf_status st = hf_config_absolute(folder, setting->text, path, &why);
    if (!hf_failed(st)) {
        st = hf_network_resolve(setting->text, path, root, &settings->config.network, &why);
    }
    if (hf_failed(st)) {
        return hf_config_refuse_key(settings, "network", err, why.msg);
    }
    return hf_ok();
}

static hf_status finish_data_paths(hf_settings *settings, hf_error *err)
{
    hf_config *config = &settings->config;
    hf_status st =
        hf_config_absolute(config->data_dir, config->store_path, config->store_path, err);
    if (hf_failed(st)) {
        return hf_error_wrap(err, st, "slashing_protection.path");
    }
    st = hf_config_absolute(config->data_dir, config->key_manager_token_file,
                            config->key_manager_token_file, err);
    if (hf_failed(st)) {
        return hf_error_wrap(err, st, "key_manager.token_file");
    }
    st = hf_config_absolute(config->data_dir, config->token_key_file, config->token_key_file, err);
    return hf_error_wrap(err, st, "auth.key_file");
}

/* ---- duties ------------------------------------------------------------------------------- */

/* What nobody needs to set. */
#define DUTY_CLEANUP_INTERVAL_MS 60000
#define DUTY_IDLE_CONNECTION_MS 10000
#define DUTIES_WAITING_MAX 4096

/* Both may be given when they say the same. */
static hf_status read_duty_url(hf_settings *settings, hf_error *err)
{
    hf_duty_config *duties = &settings->config.duties;
    hf_buf *text = NULL;
    hf_error why = {0};
    hf_status st =
        hf_file_read(settings->config.duty_url_file, sizeof duties->database_url - 1, &text, &why);
    if (hf_failed(st)) {
        return hf_config_refuse_key(settings, "duty_protection.url_file", err, why.msg);
    }
    size_t len = strcspn(hf_buf_text(text), "\r\n");
    bool differs = duties->database_url[0] != '\0' &&
                   (strlen(duties->database_url) != len ||
                    strncmp(duties->database_url, hf_buf_text(text), len) != 0);
    memcpy(duties->database_url, hf_buf_text(text), len);
    hf_buf_free(text);
    if (len == 0 || differs) {
        return hf_config_refuse_key(settings, "duty_protection.url_file", err,
                                    differs ? "duty_protection.url is another one; give either"
                                            : "the file is empty");
    }
    return hf_ok();
}

/* Half a configuration would sign nothing, or everything: both or none. */
static hf_status finish_duties(hf_settings *settings, hf_error *err)
{
    hf_duty_config *duties = &settings->config.duties;
    bool has_url = duties->database_url[0] != '\0';
    bool has_file = settings->config.duty_url_file[0] != '\0';
    bool has_node = duties->node_id[0] != '\0';
    if (has_node && !has_url && !has_file) {
        return hf_config_refuse_key(settings, "duty_protection.node_id", err,
                                    "needs duty_protection.url or url_file as well");
    }
    if (!has_node && (has_url || has_file)) {
        return hf_config_refuse_key(settings,
                                    has_url ? "duty_protection.url" : "duty_protection.url_file",
                                    err, "needs duty_protection.node_id as well");
    }
    for (const char *c = duties->node_id; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~') {
            return hf_config_refuse_key(settings, "duty_protection.node_id", err,
                                        "give a name of printable characters without spaces");
        }
    }
    duties->enabled = has_node;
    duties->cleanup_interval_ms = DUTY_CLEANUP_INTERVAL_MS;
    duties->pool_idle_timeout_ms = DUTY_IDLE_CONNECTION_MS;
    duties->max_waiting = DUTIES_WAITING_MAX;
    return has_file ? read_duty_url(settings, err) : hf_ok();
}

/* ---- the store ---------------------------------------------------------------------------- */

/* Keys that one back end alone takes. */
static const struct {
    const char *path;
    hf_store_backend backend;
} owned_keys[] = {
    {"slashing_protection.path", HF_STORE_SQLITE},
    {"slashing_protection.url", HF_STORE_POSTGRES},
    {"slashing_protection.url_file", HF_STORE_POSTGRES},
    {"slashing_protection.table", HF_STORE_DYNAMODB},
    {"slashing_protection.region", HF_STORE_DYNAMODB},
    {"slashing_protection.endpoint", HF_STORE_DYNAMODB},
    {"slashing_protection.create_table", HF_STORE_DYNAMODB},
};

hf_store_backend hf_config_key_owner(const char *path)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(owned_keys); i++) {
        if (strcmp(owned_keys[i].path, path) == 0) {
            return owned_keys[i].backend;
        }
    }
    return HF_STORE_BACKEND_COUNT;
}

/* What another back end would take is without effect here: silence would hide a mistake. */
static hf_status refuse_misplaced(const hf_settings *settings, hf_error *err)
{
    hf_store_backend backend = (hf_store_backend)settings->config.store_backend;
    for (size_t i = 0; i < HF_ARRAY_LEN(owned_keys); i++) {
        const hf_setting *setting = hf_config_setting(settings, owned_keys[i].path);
        if (setting->is_set && owned_keys[i].backend != backend) {
            return hf_config_refuse(&setting->origin, owned_keys[i].path, err,
                                    "belongs to the back end %s, and the configured one is %s",
                                    hf_store_backend_name(owned_keys[i].backend),
                                    hf_store_backend_name(backend));
        }
    }
    return hf_ok();
}

static hf_status read_url_file(hf_settings *settings, hf_error *err)
{
    hf_buf *buf = NULL;
    hf_error why = {0};
    hf_status st = hf_file_read(settings->config.store_url_file, HF_STORE_URL_LEN - 1, &buf, &why);
    if (hf_failed(st)) {
        return hf_config_refuse_key(settings, "slashing_protection.url_file", err, why.msg);
    }
    const char *text = hf_buf_text(buf);
    size_t len = strcspn(text, "\r\n");
    memset(settings->config.store_url, 0, sizeof settings->config.store_url);
    memcpy(settings->config.store_url, text, len);
    bool is_one_line = text[len + strspn(text + len, "\r\n")] == '\0';
    hf_buf_free(buf);
    if (len == 0 || !is_one_line) {
        return hf_config_refuse_key(
            settings, "slashing_protection.url_file", err,
            "the file has to hold one line, postgresql://USER:PASSWORD@HOST/DATABASE");
    }
    return hf_ok();
}

static hf_status finish_store(hf_settings *settings, hf_error *err)
{
    hf_status st = refuse_misplaced(settings, err);
    if (hf_failed(st) || settings->config.store_backend != HF_STORE_POSTGRES) {
        return st;
    }
    bool has_url = hf_config_setting(settings, "slashing_protection.url")->is_set;
    bool has_file = hf_config_setting(settings, "slashing_protection.url_file")->is_set;
    if (has_url == has_file) {
        return hf_config_refuse_key(
            settings, "slashing_protection.backend", err,
            "postgres needs either slashing_protection.url or, for a URL with a "
            "password, slashing_protection.url_file");
    }
    return has_file ? read_url_file(settings, err) : hf_ok();
}

hf_status hf_config_finish(hf_settings *settings, const hf_config_flags *flags, hf_error *err)
{
    hf_status st = check_data_dir(settings, err);
    if (!hf_failed(st)) {
        st = finish_data_paths(settings, err);
    }
    if (!hf_failed(st)) {
        st = finish_network(settings, flags->genesis_validators_root, err);
    }
    if (!hf_failed(st)) {
        st = check_key_files(settings, err);
    }
    if (!hf_failed(st)) {
        st = finish_store(settings, err);
    }
    if (!hf_failed(st)) {
        st = hf_config_finish_sources(settings, err);
    }
    if (!hf_failed(st)) {
        st = hf_config_finish_seal(settings, err);
    }
    if (!hf_failed(st)) {
        st = finish_listeners(settings, err);
    }
    if (!hf_failed(st)) {
        st = finish_duties(settings, err);
    }
    if (!hf_failed(st)) {
        st = hf_config_finish_audit(settings, err);
    }
    if (!hf_failed(st)) {
        st = hf_config_finish_eth1(settings, err);
    }
    return st;
}
