/* The Vault back end: opened, closed, and what it cannot do. */
#include "custody/vault.h"

#include "custody/secret_text.h"
#include "custody/vault_internal.h"

static bool is_healthy(hf_custody *custody, char ret_detail[HF_DETAIL_LEN])
{
    hf_vault *vault = (hf_vault *)custody;
    (void)pthread_mutex_lock(&vault->state_lock);
    bool is_well = vault->is_healthy;
    hf_str_cut(ret_detail, HF_DETAIL_LEN, vault->detail);
    (void)pthread_mutex_unlock(&vault->state_lock);
    return is_well;
}

static void close_vault(hf_custody *custody)
{
    hf_vault *vault = (hf_vault *)custody;
    hf_vault_token_stop(vault);
    hf_net_free(vault->list_net);
    hf_net_free(vault->auth_net);
    (void)pthread_cond_destroy(&vault->auth_wake);
    (void)pthread_mutex_destroy(&vault->auth_lock);
    (void)pthread_mutex_destroy(&vault->state_lock);
    hf_wipe(vault, sizeof *vault);
    free(vault);
}

static const hf_custody_ops ops = {.list = hf_vault_list,
                                   .sign = hf_custody_never_signs,
                                   .wrap = hf_custody_never_wraps,
                                   .unwrap = hf_custody_never_wraps,
                                   .is_healthy = is_healthy,
                                   .close = close_vault};

/* ---- opening -------------------------------------------------------------------------------- */

static bool has_dots(const char *path)
{
    for (const char *at = path; (at = strstr(at, "..")) != NULL; at += 2) {
        bool begins = at == path || at[-1] == '/';
        if (begins && (at[2] == '/' || at[2] == '\0')) {
            return true;
        }
    }
    return false;
}

static hf_status check(const hf_vault_config *config, hf_error *err)
{
    hf_status st = hf_net_check_url(config->address, err);
    if (hf_failed(st)) {
        return hf_error_wrap(err, st, "address");
    }
    bool is_named = config->secret_count > 0;
    if ((!is_named && config->path[0] == '\0') || has_dots(config->path)) {
        return hf_fail(err, HF_USAGE, "path names no secret and no folder");
    }
    if (config->kv_version > 2) {
        return hf_fail(err, HF_USAGE, "kv_version is 1 or 2");
    }
    if (config->key_type != HF_CUSTODY_BLS && config->key_type != HF_CUSTODY_SECP256K1) {
        return hf_fail(err, HF_USAGE, "key_type is BLS or SECP256K1");
    }
    if ((config->client_cert_file[0] != '\0') != (config->client_key_file[0] != '\0')) {
        return hf_fail(err, HF_USAGE, "client_cert and client_key belong together");
    }
    return hf_vault_check_auth(config, err);
}

static hf_status make_net(const hf_vault_config *config, hf_net **ret_net, hf_error *err)
{
    hf_net_config net = {.has_known_certificate = config->has_known_certificate};
    memcpy(net.known_certificate, config->known_certificate, sizeof net.known_certificate);
    if (hf_failed(hf_str_copy(net.ca_file, sizeof net.ca_file, config->ca_file)) ||
        hf_failed(hf_str_copy(net.client_cert_file, sizeof net.client_cert_file,
                              config->client_cert_file)) ||
        hf_failed(hf_str_copy(net.client_key_file, sizeof net.client_key_file,
                              config->client_key_file))) {
        return hf_fail(err, HF_USAGE, "the path of a certificate or key is too long");
    }
    return hf_net_new(&net, ret_net, err);
}

static bool init_locks(hf_vault *vault)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) {
        return false;
    }
    bool ok = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&vault->auth_wake, &attributes) == 0;
    (void)pthread_condattr_destroy(&attributes);
    return ok && pthread_mutex_init(&vault->auth_lock, NULL) == 0 &&
           pthread_mutex_init(&vault->state_lock, NULL) == 0;
}

hf_status hf_custody_vault_open(const hf_vault_config *config, hf_custody **ret_custody,
                                hf_error *err)
{
    hf_status st = check(config, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_secret_json_init();
    hf_vault *vault = calloc(1, sizeof *vault);
    if (vault == NULL || !init_locks(vault)) {
        free(vault);
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    vault->custody.ops = &ops;
    vault->config = *config;
    size_t len = strlen(config->address);
    while (len > 0 && config->address[len - 1] == '/') {
        len--;
    }
    vault->config.address[len] = '\0';
    hf_str_cut(vault->base, sizeof vault->base, vault->config.address);
    hf_str_cut(vault->detail, sizeof vault->detail, "nothing was listed yet");
    st = make_net(config, &vault->list_net, err);
    if (!hf_failed(st)) {
        st = make_net(config, &vault->auth_net, err);
    }
    if (hf_failed(st)) {
        close_vault(&vault->custody);
        return st;
    }
    *ret_custody = &vault->custody;
    return hf_ok();
}
