/* What only the whole configuration can tell: files, listeners, keys, the network. */
#include "config_internal.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static hf_status refuse_key(const hf_settings *settings, const char *path, hf_error *err,
                            const char *what)
{
    return hf_config_refuse(&hf_config_setting(settings, path)->origin, path, err, "%s", what);
}

/* ---- files and folders -------------------------------------------------------------------- */

static hf_status check_readable(const char *path, bool is_folder, hf_error *why)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        return hf_fail(why, HF_USAGE, "%s: %s", path, strerror(errno));
    }
    if (is_folder ? !S_ISDIR(info.st_mode) : !S_ISREG(info.st_mode)) {
        return hf_fail(why, HF_USAGE, "%s: not a %s", path, is_folder ? "folder" : "regular file");
    }
    if (access(path, is_folder ? R_OK | X_OK : R_OK) != 0) {
        return hf_fail(why, HF_USAGE, "%s: this user cannot read it (%s)", path, strerror(errno));
    }
    return hf_ok();
}

static hf_status check_private_file(const char *path, hf_error *why)
{
    hf_status st = check_readable(path, false, why);
    return hf_failed(st) ? st : hf_file_check_private(path, why);
}

/* Every NAME.txt of a password folder holds a secret. */
static hf_status check_password_dir(const char *folder, hf_error *why)
{
    char path[HF_PATH_LEN + sizeof((struct dirent *)0)->d_name];
    hf_status st = check_readable(folder, true, why);
    if (hf_failed(st)) {
        return st;
    }
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return hf_fail(why, HF_USAGE, "%s: %s", folder, strerror(errno));
    }
    for (const struct dirent *item = readdir(dir); item != NULL && !hf_failed(st);
         item = readdir(dir)) {
        if (hf_str_has_suffix(item->d_name, ".txt")) {
            (void)snprintf(path, sizeof path, "%s/%s", folder, item->d_name);
            st = hf_file_check_private(path, why);
        }
    }
    (void)closedir(dir);
    return st;
}

static hf_status check_key_files(const hf_settings *settings, hf_error *err)
{
    for (size_t i = 0; i < hf_config_key_count; i++) {
        const hf_config_key *key = &hf_config_keys[i];
        const char *path = (const char *)settings + key->offset;
        hf_error why = {0};
        if (!settings->values[i].is_set || (key->flags & HF_KEY_FILE_EXISTS) == 0) {
            continue;
        }
        hf_status st = (key->flags & HF_KEY_FILE_PRIVATE) != 0 ? check_private_file(path, &why)
                                                               : check_readable(path, false, &why);
        if (hf_failed(st)) {
            return refuse_key(settings, key->path, err, why.msg);
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
            return refuse_key(settings, "data_dir", err, "not a folder; give one");
        }
        if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
            return refuse_key(settings, "data_dir", err,
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

/* ---- keys --------------------------------------------------------------------------------- */

static const char later_backends[] = " pkcs11 yubihsm aws-cloudhsm aws-kms vault ";

static hf_status refuse_source(const hf_settings *settings, size_t index, const char *member,
                               hf_error *err, const char *what)
{
    char path[HF_YAML_PATH_LEN];
    hf_origin origin = {
        .kind = HF_ORIGIN_FILE, .line = settings->sources[index].line, .name = settings->file};
    (void)snprintf(path, sizeof path, "signing_keys[%zu].%s", index, member);
    return hf_config_refuse(&origin, path, err, "%s", what);
}

static hf_status source_backend(const hf_settings *settings, size_t index,
                                hf_key_backend *ret_backend, hf_error *err)
{
    char spaced[sizeof settings->sources[0].backend + 2];
    const char *name = settings->sources[index].backend;
    (void)snprintf(spaced, sizeof spaced, " %s ", name);
    if (strcmp(name, "local-keystore") == 0) {
        *ret_backend = HF_BACKEND_LOCAL_KEYSTORE;
        return hf_ok();
    }
    if (strcmp(name, "web3signer") == 0) {
        *ret_backend = HF_BACKEND_WEB3SIGNER;
        return hf_ok();
    }
    if (strcmp(name, "sealed") == 0) {
        *ret_backend = HF_BACKEND_SEALED;
        return hf_ok();
    }
    return refuse_source(settings, index, "backend", err,
                         name[0] == '\0' ? "missing; give local-keystore, web3signer or sealed"
                         : strstr(later_backends, spaced) != NULL
                             ? "not in this version of Holdfast; it has: local-keystore web3signer "
                               "sealed"
                             : "unknown; give local-keystore, web3signer or sealed");
}

/* Which members a back end takes: misplaced ones would be silently without effect. */
static hf_status check_members(const hf_settings *settings, size_t index, hf_key_backend backend,
                               hf_error *err)
{
    const hf_source_draft *draft = &settings->sources[index];
    bool has_keystore = draft->keystore_dir[0] != '\0';
    bool has_file = draft->password_file[0] != '\0';
    bool has_folder = draft->password_dir[0] != '\0';
    bool has_config = draft->config_dir[0] != '\0';
    bool has_key_files = draft->key_file_dir[0] != '\0';
    if (backend == HF_BACKEND_SEALED) {
        return has_keystore || has_file || has_folder || has_config
                   ? refuse_source(settings, index, "backend", err,
                                   "sealed takes key_file_dir alone; remove the other keys")
                   : hf_ok();
    }
    if (has_key_files) {
        return refuse_source(settings, index, "key_file_dir", err,
                             "belongs to the back end sealed; remove it");
    }
    if (backend == HF_BACKEND_WEB3SIGNER) {
        if (!has_config) {
            return refuse_source(settings, index, "config_dir", err,
                                 "missing; give the folder of the YAML key files");
        }
        if (has_keystore || has_file || has_folder) {
            return refuse_source(settings, index, "backend", err,
                                 "web3signer takes config_dir alone; remove the other keys");
        }
        return hf_ok();
    }
    if (has_config) {
        return refuse_source(settings, index, "config_dir", err,
                             "belongs to the back end web3signer; remove it");
    }
    if (!has_keystore) {
        return refuse_source(settings, index, "keystore_dir", err,
                             "missing; give the folder of the keystores");
    }
    if (has_file == has_folder) {
        return refuse_source(settings, index, "password_file", err,
                             "give either password_file (one password) or password_dir (NAME.txt "
                             "for each NAME.json)");
    }
    return hf_ok();
}

static hf_status take_dir(const hf_settings *settings, size_t index, const char *member,
                          const char *text, bool is_folder, char out[HF_PATH_LEN], hf_error *err)
{
    hf_error why = {0};
    if (text[0] == '\0') {
        return hf_ok();
    }
    hf_status st = hf_config_absolute(settings->file_dir, text, out, &why);
    if (!hf_failed(st)) {
        st = is_folder ? check_readable(out, true, &why) : check_private_file(out, &why);
    }
    return hf_failed(st) ? refuse_source(settings, index, member, err, why.msg) : hf_ok();
}

static hf_status finish_source(hf_settings *settings, size_t index, hf_error *err)
{
    const hf_source_draft *draft = &settings->sources[index];
    hf_key_source *source = &settings->config.key_sources[index];
    hf_key_backend backend = HF_BACKEND_LOCAL_KEYSTORE;
    hf_error why = {0};
    hf_status st = source_backend(settings, index, &backend, err);
    if (!hf_failed(st)) {
        st = check_members(settings, index, backend, err);
    }
    if (!hf_failed(st) && backend == HF_BACKEND_SEALED) {
        st = take_dir(settings, index, "key_file_dir", draft->key_file_dir, true, source->dir, err);
    } else if (!hf_failed(st)) {
        bool is_web3signer = backend == HF_BACKEND_WEB3SIGNER;
        st = take_dir(settings, index, is_web3signer ? "config_dir" : "keystore_dir",
                      is_web3signer ? draft->config_dir : draft->keystore_dir, true, source->dir,
                      err);
    }
    if (!hf_failed(st)) {
        st = take_dir(settings, index, "password_file", draft->password_file, false,
                      source->password_file, err);
    }
    if (!hf_failed(st)) {
        st = take_dir(settings, index, "password_dir", draft->password_dir, true,
                      source->password_dir, err);
    }
    if (!hf_failed(st) && source->password_dir[0] != '\0' &&
        hf_failed(check_password_dir(source->password_dir, &why))) {
        st = refuse_source(settings, index, "password_dir", err, why.msg);
    }
    source->backend = (uint32_t)backend;
    return st;
}

/* --keystore-dir and --password-file (or their variables) stand in the place of signing_keys. */
static hf_status finish_single_source(hf_settings *settings, hf_error *err)
{
    bool has_dir = settings->keystore_dir[0] != '\0';
    bool has_file = settings->password_file[0] != '\0';
    hf_key_source *source = &settings->config.key_sources[0];
    hf_error why = {0};
    if (has_dir != has_file) {
        return refuse_key(settings, has_dir ? "keystore_dir" : "password_file", err,
                          has_dir ? "needs --password-file as well"
                                  : "needs --keystore-dir as well");
    }
    if (hf_failed(check_readable(settings->keystore_dir, true, &why))) {
        return refuse_key(settings, "keystore_dir", err, why.msg);
    }
    if (hf_failed(check_private_file(settings->password_file, &why))) {
        return refuse_key(settings, "password_file", err, why.msg);
    }
    source->backend = HF_BACKEND_LOCAL_KEYSTORE;
    memcpy(source->dir, settings->keystore_dir, sizeof source->dir);
    memcpy(source->password_file, settings->password_file, sizeof source->password_file);
    settings->config.key_source_count = 1;
    return hf_ok();
}

static hf_status finish_sources(hf_settings *settings, hf_error *err)
{
    if (settings->keystore_dir[0] != '\0' || settings->password_file[0] != '\0') {
        return finish_single_source(settings, err);
    }
    for (size_t i = 0; i < settings->source_count; i++) {
        hf_status st = finish_source(settings, i, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    settings->config.key_source_count = settings->source_count;
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
        return has_cert
                   ? refuse_key(settings, "server.tls.cert", err, "needs server.tls.key as well")
                   : refuse_key(settings, "server.tls.key", err, "needs server.tls.cert as well");
    }
    if (!has_cert && config->tls_client_ca[0] != '\0') {
        return refuse_key(settings, "server.tls.client_ca", err,
                          "needs server.tls.cert and server.tls.key as well");
    }
    if (!has_cert && config->tls_known_clients[0] != '\0') {
        return refuse_key(settings, "server.tls.known_clients", err,
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
        return refuse_key(settings, "metrics.listen_port", err,
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
        return refuse_key(settings, "network", err, why.msg);
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
        return refuse_key(settings, "network", err, why.msg);
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
        return refuse_key(settings, "duty_protection.url_file", err, why.msg);
    }
    size_t len = strcspn(hf_buf_text(text), "\r\n");
    bool differs = duties->database_url[0] != '\0' &&
                   (strlen(duties->database_url) != len ||
                    strncmp(duties->database_url, hf_buf_text(text), len) != 0);
    memcpy(duties->database_url, hf_buf_text(text), len);
    hf_buf_free(text);
    if (len == 0 || differs) {
        return refuse_key(settings, "duty_protection.url_file", err,
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
        return refuse_key(settings, "duty_protection.node_id", err,
                          "needs duty_protection.url or url_file as well");
    }
    if (!has_node && (has_url || has_file)) {
        return refuse_key(settings, has_url ? "duty_protection.url" : "duty_protection.url_file",
                          err, "needs duty_protection.node_id as well");
    }
    for (const char *c = duties->node_id; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~') {
            return refuse_key(settings, "duty_protection.node_id", err,
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
        return refuse_key(settings, "slashing_protection.url_file", err, why.msg);
    }
    const char *text = hf_buf_text(buf);
    size_t len = strcspn(text, "\r\n");
    memset(settings->config.store_url, 0, sizeof settings->config.store_url);
    memcpy(settings->config.store_url, text, len);
    bool is_one_line = text[len + strspn(text + len, "\r\n")] == '\0';
    hf_buf_free(buf);
    if (len == 0 || !is_one_line) {
        return refuse_key(
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
        return refuse_key(settings, "slashing_protection.backend", err,
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
        st = finish_sources(settings, err);
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
    hf_config_finish_eth1(settings);
    return st;
}
