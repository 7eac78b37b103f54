/* The entries of signing_keys: each is checked as a whole. */
#include "config_internal.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

hf_status hf_config_check_readable(const char *path, bool is_folder, hf_error *why)
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

hf_status hf_config_check_private(const char *path, hf_error *why)
{
    hf_status st = hf_config_check_readable(path, false, why);
    return hf_failed(st) ? st : hf_file_check_private(path, why);
}

/* Every NAME.txt of a password folder holds a secret. */
static hf_status check_password_dir(const char *folder, hf_error *why)
{
    char path[HF_PATH_LEN + sizeof((struct dirent *)0)->d_name];
    hf_status st = hf_config_check_readable(folder, true, why);
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

/* ---- keys --------------------------------------------------------------------------------- */

#define BACKENDS                                                                                   \
    "local-keystore, web3signer, sealed, pkcs11, yubihsm, aws-cloudhsm, aws-kms, "                 \
    "aws-secrets-manager, vault, azure-key-vault or gcp-secret-manager"

hf_status hf_config_refuse_source(const hf_settings *settings, size_t index, const char *member,
                                  hf_error *err, const char *what)
{
    char path[HF_YAML_PATH_LEN];
    hf_origin origin = {
        .kind = HF_ORIGIN_FILE, .line = settings->sources[index].line, .name = settings->file};
    if (index < HF_KEY_SOURCES_MAX) {
        (void)snprintf(path, sizeof path, "signing_keys[%zu].%s", index, member);
    } else {
        const char *entry = hf_config_seal_entry(index - HF_KEY_SOURCES_MAX, NULL);
        (void)snprintf(path, sizeof path, "seal.%s.%s", entry, member);
    }
    return hf_config_refuse(&origin, path, err, "%s", what);
}

static hf_status source_backend(const hf_settings *settings, size_t index,
                                hf_key_backend *ret_backend, hf_error *err)
{
    const char *name = settings->sources[index].backend;
    hf_key_backend backend = hf_key_backend_by_name(name);
    if (backend == HF_BACKEND_COUNT || backend == HF_BACKEND_IMPORTED) {
        return hf_config_refuse_source(settings, index, "backend", err,
                                       name[0] == '\0' ? "missing; give " BACKENDS
                                                       : "unknown; give " BACKENDS);
    }
    *ret_backend = backend;
    return hf_ok();
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
                   ? hf_config_refuse_source(
                         settings, index, "backend", err,
                         "sealed takes key_file_dir alone; remove the other keys")
                   : hf_ok();
    }
    if (has_key_files) {
        return hf_config_refuse_source(settings, index, "key_file_dir", err,
                                       "belongs to the back end sealed; remove it");
    }
    if (backend == HF_BACKEND_WEB3SIGNER) {
        if (!has_config) {
            return hf_config_refuse_source(settings, index, "config_dir", err,
                                           "missing; give the folder of the YAML key files");
        }
        if (has_keystore || has_file || has_folder) {
            return hf_config_refuse_source(
                settings, index, "backend", err,
                "web3signer takes config_dir alone; remove the other keys");
        }
        return hf_ok();
    }
    if (has_config) {
        return hf_config_refuse_source(settings, index, "config_dir", err,
                                       "belongs to the back end web3signer; remove it");
    }
    if (!has_keystore) {
        return hf_config_refuse_source(settings, index, "keystore_dir", err,
                                       "missing; give the folder of the keystores");
    }
    if (has_file == has_folder) {
        return hf_config_refuse_source(
            settings, index, "password_file", err,
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
        st = is_folder ? hf_config_check_readable(out, true, &why)
                       : hf_config_check_private(out, &why);
    }
    return hf_failed(st) ? hf_config_refuse_source(settings, index, member, err, why.msg) : hf_ok();
}

static hf_status finish_source(hf_settings *settings, size_t index, hf_error *err)
{
    const hf_source_draft *draft = &settings->sources[index];
    hf_key_source *source = &settings->config.key_sources[index];
    hf_key_backend backend = HF_BACKEND_LOCAL_KEYSTORE;
    hf_error why = {0};
    hf_status st = source_backend(settings, index, &backend, err);
    source->backend = (uint32_t)backend;
    if (!hf_failed(st) && hf_key_backend_is_custody(backend)) {
        return hf_config_finish_custody(settings, index, backend, err);
    }
    if (!hf_failed(st)) {
        st = hf_config_check_no_custody(settings, index, err);
    }
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
    if (!hf_failed(st) && backend == HF_BACKEND_WEB3SIGNER) {
        st = hf_config_add_key_servers(settings, index, err);
    }
    if (!hf_failed(st) && source->password_dir[0] != '\0' &&
        hf_failed(check_password_dir(source->password_dir, &why))) {
        st = hf_config_refuse_source(settings, index, "password_dir", err, why.msg);
    }
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
        return hf_config_refuse_key(settings, has_dir ? "keystore_dir" : "password_file", err,
                                    has_dir ? "needs --password-file as well"
                                            : "needs --keystore-dir as well");
    }
    if (hf_failed(hf_config_check_readable(settings->keystore_dir, true, &why))) {
        return hf_config_refuse_key(settings, "keystore_dir", err, why.msg);
    }
    if (hf_failed(hf_config_check_private(settings->password_file, &why))) {
        return hf_config_refuse_key(settings, "password_file", err, why.msg);
    }
    source->backend = HF_BACKEND_LOCAL_KEYSTORE;
    memcpy(source->dir, settings->keystore_dir, sizeof source->dir);
    memcpy(source->password_file, settings->password_file, sizeof source->password_file);
    settings->config.key_source_count = 1;
    return hf_ok();
}

hf_status hf_config_finish_sources(hf_settings *settings, hf_error *err)
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
