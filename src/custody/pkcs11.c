/* The PKCS#11 back end: what it offers, and AWS CloudHSM's settings. */
#include "custody/pkcs11_internal.h"

#include "crypto/crypto.h"
#include "custody/wrapped_key.h"

/* Where client SDK 5 is installed, on each of Amazon's packages. */
#define CLOUDHSM_MODULE "/opt/cloudhsm/lib/libcloudhsm_pkcs11.so"
#define CLOUDHSM_CONFIG "/opt/cloudhsm/etc/cloudhsm-pkcs11.cfg"
#define CLOUDHSM_CONFIG_MAX 65536
#define CLUSTER_PREFIX "cluster-"
#define CLUSTER_ID_MOST 40

/* ---- listing --------------------------------------------------------------------------------- */

/* What a walk through the token found: shown only when it went through to its end, because one that
 * lost the token on the way begins anew. */
typedef struct find {
    bool has_failed;
    hf_custody_key key; /* has_failed: name */
    char why[HF_DETAIL_LEN];
} find;

typedef struct finds {
    find *items;
    size_t count;
    size_t capacity;
    bool is_short; /* of memory */
} finds;

static find *add_find(finds *all)
{
    if (all->count == all->capacity) {
        size_t capacity = all->capacity == 0 ? 16 : 2 * all->capacity;
        find *items = reallocarray(all->items, capacity, sizeof *items);
        if (items == NULL) {
            all->is_short = true;
            return NULL;
        }
        all->items = items;
        all->capacity = capacity;
    }
    find *item = &all->items[all->count++];
    *item = (find){0};
    return item;
}

static hf_status take_key(void *context, const hf_custody_key *key)
{
    find *item = add_find(context);
    if (item == NULL) {
        return (hf_status){HF_NOMEM};
    }
    item->key = *key;
    return hf_ok();
}

static void take_failure(void *context, const char *name, const char *why)
{
    find *item = add_find(context);
    if (item != NULL) {
        item->has_failed = true;
        hf_str_cut(item->key.name, sizeof item->key.name, name);
        hf_str_cut(item->why, sizeof item->why, why);
    }
}

static CK_RV run_list(hf_pkcs11 *p11, CK_SESSION_HANDLE session, hf_p11_job *job)
{
    finds *all = job->context;
    all->count = 0;
    hf_custody_visitor visitor = {all, take_key, take_failure};
    return hf_p11_keys_load(p11, session, &visitor, job);
}

hf_status hf_p11_keys_list(hf_pkcs11 *p11, const hf_custody_visitor *visitor, uint64_t deadline_ns,
                           hf_error *err)
{
    finds all = {NULL, 0, 0, false};
    hf_p11_job job = {.run = run_list, .err = err, .context = &all};
    hf_status st = hf_p11_run(p11, &job, deadline_ns);
    if (all.is_short) {
        st = hf_fail(err, HF_NOMEM, "no memory for the list of keys");
    }
    for (size_t i = 0; !hf_failed(st) && i < all.count; i++) {
        const find *item = &all.items[i];
        if (item->has_failed) {
            visitor->failed(visitor->context, item->key.name, item->why);
        } else {
            st = visitor->key(visitor->context, &item->key);
        }
    }
    free(all.items);
    return st;
}

static hf_status list(hf_custody *custody, const hf_custody_visitor *visitor, uint64_t deadline_ns,
                      hf_error *err)
{
    hf_pkcs11 *p11 = (hf_pkcs11 *)custody;
    hf_status st = hf_p11_keys_list(p11, visitor, deadline_ns, err);
    if (!hf_failed(st) && p11->config.blob_dir[0] != '\0') {
        st = hf_wrapped_keys_list(custody, p11->config.blob_dir, p11->config.wrap_key, visitor,
                                  deadline_ns, err);
    }
    return st;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void close_pkcs11(hf_custody *custody)
{
    hf_pkcs11 *p11 = (hf_pkcs11 *)custody;
    hf_p11_unload(p11);
    (void)pthread_cond_destroy(&p11->changed);
    (void)pthread_mutex_destroy(&p11->lock);
    free(p11->table.entries);
    hf_wipe(p11, sizeof *p11);
    free(p11);
}

static const hf_custody_ops ops = {
    .list = list,
    .sign = hf_p11_sign,
    .wrap = hf_p11_wrap,
    .unwrap = hf_p11_unwrap,
    .is_healthy = hf_p11_is_healthy,
    .close = close_pkcs11,
};

static hf_status check(const hf_pkcs11_config *config, hf_error *err)
{
    hf_p11_reference reference;
    if (config->module[0] != '/') {
        return hf_fail(err, HF_USAGE, "module has to be the absolute path of a PKCS#11 module");
    }
    if (config->key_count > HF_PKCS11_KEYS_MAX) {
        return hf_fail(err, HF_USAGE, "more than %d keys named one by one", HF_PKCS11_KEYS_MAX);
    }
    hf_status st = hf_ok();
    for (size_t i = 0; i < config->key_count && !hf_failed(st); i++) {
        st = hf_p11_reference_parse(config->keys[i], &reference, err);
    }
    if (!hf_failed(st) && config->wrap_key[0] != '\0') {
        st = hf_p11_reference_parse(config->wrap_key, &reference, err);
    }
    if (!hf_failed(st) && config->pin_file[0] != '\0') {
        st = hf_file_check_private(config->pin_file, err);
    }
    return st;
}

hf_status hf_custody_pkcs11_open(const hf_pkcs11_config *config, hf_custody **ret_custody,
                                 hf_error *err)
{
    hf_status st = check(config, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_pkcs11 *p11 = calloc(1, sizeof *p11);
    if (p11 == NULL) {
        return hf_fail(err, HF_NOMEM, "no memory for a PKCS#11 module");
    }
    p11->base.ops = &ops;
    p11->config = *config;
    (void)pthread_mutex_init(&p11->lock, NULL);
    (void)pthread_cond_init(&p11->changed, NULL);
    hf_random(p11->refused_key, sizeof p11->refused_key);
    (void)hf_error_set(&p11->trouble, HF_UNAVAILABLE, "not connected to the token yet");
    st = hf_p11_load(p11, err);
    if (hf_failed(st)) {
        close_pkcs11(&p11->base);
        return st;
    }
    *ret_custody = &p11->base;
    return hf_ok();
}

/* ---- AWS CloudHSM ---------------------------------------------------------------------------- */

static bool is_cluster_id(const char *text)
{
    size_t prefix = strlen(CLUSTER_PREFIX);
    size_t len = strlen(text);
    return len > prefix && len <= CLUSTER_ID_MOST && strncmp(text, CLUSTER_PREFIX, prefix) == 0 &&
           strspn(text + prefix, "abcdefghijklmnopqrstuvwxyz0123456789") == len - prefix;
}

/* An SDK that was configured by addresses names no cluster, and cannot be held against one. */
static hf_status check_cluster(const char *text, const char *cluster_id, const char *path,
                               hf_error *err)
{
    size_t len = strlen(cluster_id);
    bool names_another = false;
    for (const char *at = strstr(text, CLUSTER_PREFIX); at != NULL;
         at = strstr(at + 1, CLUSTER_PREFIX)) {
        size_t there = strlen(CLUSTER_PREFIX);
        there += strspn(at + there, "abcdefghijklmnopqrstuvwxyz0123456789");
        if (there == len && strncmp(at, cluster_id, len) == 0) {
            return hf_ok();
        }
        names_another = true;
    }
    return names_another ? hf_fail(err, HF_USAGE,
                                   "%s is about other clusters than %s: run configure-pkcs11 "
                                   "--cluster-id for this one",
                                   path, cluster_id)
                         : hf_ok();
}

hf_status hf_pkcs11_config_cloudhsm(hf_pkcs11_config *config, const char *cluster_id,
                                    const char *sdk_config, hf_error *err)
{
    const char *path = sdk_config[0] != '\0' ? sdk_config : CLOUDHSM_CONFIG;
    if (cluster_id[0] != '\0' && !is_cluster_id(cluster_id)) {
        return hf_fail(err, HF_USAGE, "cluster_id has to be cluster- and letters and digits");
    }
    if (config->pin_file[0] == '\0') {
        return hf_fail(err, HF_USAGE,
                       "AWS CloudHSM needs pin_file: a file with user:password of a crypto user");
    }
    hf_buf *text = NULL;
    hf_status st =
        cluster_id[0] != '\0' ? hf_file_read(path, CLOUDHSM_CONFIG_MAX, &text, err) : hf_ok();
    if (text != NULL) {
        st = check_cluster(hf_buf_text(text), cluster_id, path, err);
    }
    hf_buf_free(text);
    if (!hf_failed(st) && config->module[0] == '\0') {
        st = hf_str_copy(config->module, sizeof config->module, CLOUDHSM_MODULE);
    }
    config->token_makes_iv = true;
    return st;
}
