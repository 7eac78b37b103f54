/* The back end of key files that name servers: one list after the other. */
#include "custody/key_servers.h"

#include "custody/key_servers_internal.h"

typedef struct key_servers {
    hf_custody custody; /* first */
    hf_key_servers_config config;
    uint32_t keys; /* of the last list */
    size_t servers;
} key_servers;

/* ---- what a server's own back end says ------------------------------------------------------ */

typedef struct relay {
    const hf_custody_visitor *visitor;
    const hf_key_server *server;
    uint32_t *keys;
} relay;

static hf_status relay_key(void *context, const hf_custody_key *key)
{
    const relay *r = context;
    (*r->keys)++;
    return r->visitor->key(r->visitor->context, key);
}

/* Back ends name a secret, and perhaps a line of it behind its name. */
static int compare_name(const void *name, const void *item)
{
    const hf_secret_ref *ref = item;
    const char *text = name;
    size_t len = strlen(ref->path);
    int order = strncmp(text, ref->path, len);
    bool is_longer = order == 0 && text[len] != '\0' && text[len] != ' ';
    return is_longer ? 1 : order;
}

static void relay_failure(void *context, const char *name, const char *why)
{
    const relay *r = context;
    const hf_key_server *server = r->server;
    char text[HF_DETAIL_LEN];
    const hf_secret_ref *ref =
        bsearch(name, server->secrets, server->count, sizeof *server->secrets, compare_name);
    (void)snprintf(text, sizeof text, "%.80s: %.76s", name, why);
    r->visitor->failed(r->visitor->context, ref != NULL ? ref->label : name, text);
}

static void fail_all(const hf_key_server *server, const hf_custody_visitor *visitor,
                     const char *why)
{
    for (size_t i = 0; i < server->count; i++) {
        visitor->failed(visitor->context, server->secrets[i].label, why);
    }
}

static hf_status list_server(const key_servers *all, const hf_key_server *server,
                             const hf_custody_visitor *visitor, uint32_t *keys,
                             uint64_t deadline_ns, hf_error *err)
{
    hf_custody *custody = NULL;
    relay r = {visitor, server, keys};
    const hf_custody_visitor relaying = {&r, relay_key, relay_failure};
    hf_status st = server->kind->open(&all->config, server, &custody, err);
    if (st.code == HF_USAGE || st.code == HF_DENIED) {
        fail_all(server, visitor, err->msg); /* with these files it never works */
        return hf_ok();
    }
    if (!hf_failed(st)) {
        st = custody->ops->list(custody, &relaying, deadline_ns, err);
        custody->ops->close(custody);
    }
    return st;
}

/* An even part of the time that is left: one that hangs leaves the others theirs. */
static uint64_t share_of(uint64_t deadline_ns, size_t servers_left)
{
    uint64_t now_ns = hf_time_mono_ns();
    return now_ns < deadline_ns ? now_ns + (deadline_ns - now_ns) / servers_left : deadline_ns;
}

static hf_status list(hf_custody *custody, const hf_custody_visitor *visitor, uint64_t deadline_ns,
                      hf_error *err)
{
    key_servers *all = (key_servers *)custody;
    hf_key_server_list servers = {NULL, 0, 0};
    hf_error first = {HF_OK, ""};
    uint32_t keys = 0;
    hf_status st = hf_key_servers_read(&all->config, visitor, &servers, &first);
    for (size_t i = 0; i < servers.count; i++) {
        hf_error why = {HF_OK, ""};
        hf_status one = list_server(all, &servers.servers[i], visitor, &keys,
                                    share_of(deadline_ns, servers.count - i), &why);
        if (hf_failed(one) && !hf_failed(st)) {
            st = one;
            first = why;
        }
    }
    all->keys = keys;
    all->servers = servers.count;
    hf_key_servers_done(&servers);
    if (hf_failed(st) && err != NULL) {
        *err = first;
    }
    return st;
}

/* ---- the other operations ------------------------------------------------------------------- */

/* A list that failed is said by the failure: this is asked after one that went well. */
static bool is_healthy(hf_custody *custody, char ret_detail[HF_DETAIL_LEN])
{
    const key_servers *all = (const key_servers *)custody;
    if (all->servers == 0) {
        hf_str_cut(ret_detail, HF_DETAIL_LEN, "no key file names a server");
    } else {
        (void)snprintf(ret_detail, HF_DETAIL_LEN, "%u keys of %zu servers in the last list",
                       (unsigned)all->keys, all->servers);
    }
    return true;
}

static void close_all(hf_custody *custody)
{
    free(custody);
}

static const hf_custody_ops ops = {.list = list,
                                   .sign = hf_custody_never_signs,
                                   .wrap = hf_custody_never_wraps,
                                   .unwrap = hf_custody_never_wraps,
                                   .is_healthy = is_healthy,
                                   .close = close_all};

hf_status hf_custody_key_servers_open(const hf_key_servers_config *config, hf_custody **ret_custody,
                                      hf_error *err)
{
    key_servers *all = calloc(1, sizeof *all);
    if (all == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    all->custody.ops = &ops;
    all->config = *config;
    *ret_custody = &all->custody;
    return hf_ok();
}

hf_status hf_custody_key_servers_start(const hf_custody_settings *settings,
                                       hf_custody **ret_custody, hf_error *err)
{
    hf_key_servers_config config = {.config_dir = ""};
    const char *folder = hf_custody_setting(settings, "config_dir");
    return hf_failed(hf_str_copy(config.config_dir, sizeof config.config_dir, folder))
               ? hf_fail(err, HF_USAGE, "config_dir is too long")
               : hf_custody_key_servers_open(&config, ret_custody, err);
}
