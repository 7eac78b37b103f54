/* What a path holds: the mount behind it, its folders, and the keys in its secrets. */
#include "custody/secret_text.h"
#include "custody/vault_internal.h"

/* Bounds of a tree of secrets, against a mount that was meant to be another. */
#define SECRETS_MAX 100000
#define FOLDERS_MAX 10000
#define DEPTH_MAX 16
#define ORIGIN_LEN (HF_VAULT_URL_LEN + HF_PATH_LEN + 2 * HF_VAULT_TEXT_LEN)

/* Where the path lies. */
typedef struct place {
    char mount[HF_PATH_LEN]; /* "secret/" */
    char rest[HF_PATH_LEN];  /* behind the mount, and data/: "validators", "" */
    uint32_t kv_version;
} place;

/* ---- the mount ------------------------------------------------------------------------------ */

static const char *skip(const char *text, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(text, prefix, len) == 0 ? text + len : text;
}

static const char *configured_path(const hf_vault_config *config)
{
    const char *path = skip(config->path, "/");
    return skip(path, "v1/");
}

/* path below mount, which ends in '/'; false when it is not below it. */
static bool split(const char *path, const char *mount, place *p)
{
    size_t len = strlen(mount);
    if (len == 0 || len >= sizeof p->mount - 1) {
        return false;
    }
    (void)snprintf(p->mount, sizeof p->mount, "%s%s", mount, mount[len - 1] == '/' ? "" : "/");
    if (strncmp(path, p->mount, strlen(p->mount)) == 0) {
        hf_str_cut(p->rest, sizeof p->rest, path + strlen(p->mount));
        return true;
    }
    p->rest[0] = '\0';
    return strlen(path) == strlen(p->mount) - 1 && strncmp(path, p->mount, strlen(path)) == 0;
}

/* Behind a mount of version 2 comes data/ in the API, and nothing for people: both are understood.
 */
static void drop_data(place *p)
{
    static const char *const words[] = {"data", "metadata"};
    for (size_t i = 0; p->kv_version == 2 && i < HF_ARRAY_LEN(words); i++) {
        size_t len = strlen(words[i]);
        if (strncmp(p->rest, words[i], len) == 0 && (p->rest[len] == '/' || p->rest[len] == '\0')) {
            size_t from = len + (p->rest[len] == '/');
            memmove(p->rest, p->rest + from, sizeof p->rest - from);
            return;
        }
    }
}

/* What a token without the right to ask can be served with. */
static hf_status guess(const hf_vault_config *config, place *p, hf_error *err)
{
    char first[HF_VAULT_TEXT_LEN];
    const char *path = configured_path(config);
    size_t len = strcspn(path, "/");
    if (config->mount[0] != '\0') {
        hf_str_cut(first, sizeof first, config->mount);
    } else if (hf_failed(hf_str_format(first, sizeof first, "%.*s", (int)len, path))) {
        return hf_fail(err, HF_USAGE, "the first part of path is too long for a mount");
    }
    if (!split(path, first, p)) {
        return hf_fail(err, HF_USAGE, "path %.100s is not below mount %.100s", path, first);
    }
    p->kv_version = config->kv_version != 0 ? config->kv_version : 2;
    return hf_ok();
}

static hf_status take_mount(const hf_vault_config *config, json_t *json, place *p, hf_error *err)
{
    json_t *data = json_object_get(json, "data");
    const char *mount = hf_vault_text(data, "path", NULL);
    const char *type = hf_vault_text(data, "type", NULL);
    const char *version = hf_vault_text(data, "options", "version");
    if (mount == NULL || !split(configured_path(config), mount, p)) {
        return guess(config, p, err);
    }
    if (type != NULL && strcmp(type, "kv") != 0 && strcmp(type, "generic") != 0) {
        char clean[64];
        hf_str_sanitize(clean, sizeof clean, type);
        return hf_fail(err, HF_USAGE, "path %.100s is in a mount of type %s, not kv", config->path,
                       clean);
    }
    p->kv_version = version != NULL && strcmp(version, "2") == 0 ? 2 : 1;
    return hf_ok();
}

static hf_status ask_patiently(hf_vault *vault, const hf_vault_call *call, uint64_t deadline_ns,
                               hf_vault_answer *answer, hf_error *err)
{
    hf_status st = hf_vault_ask(vault, vault->list_net, call, deadline_ns, answer, err);
    for (unsigned i = 0; st.code == HF_UNAVAILABLE && i < HF_VAULT_IDLE_ROUNDS; i++) {
        uint64_t wait_ns = hf_vault_wait_ns(i, HF_VAULT_IDLE_FIRST_NS, HF_VAULT_IDLE_MOST_NS);
        if (hf_time_mono_ns() + wait_ns >= deadline_ns) {
            break;
        }
        hf_vault_sleep(wait_ns);
        hf_vault_answer_done(answer);
        st = hf_vault_ask(vault, vault->list_net, call, deadline_ns, answer, err);
    }
    return st;
}

static hf_status find_place(hf_vault *vault, const hf_vault_token *token, uint64_t deadline_ns,
                            place *p, hf_error *err)
{
    const hf_vault_config *config = &vault->config;
    hf_vault_answer answer = {.http_status = 0};
    hf_buf *path = hf_buf_new(2 * HF_PATH_LEN);
    if (config->mount[0] != '\0' && config->kv_version != 0) {
        hf_buf_free(path);
        hf_status known = guess(config, p, err);
        drop_data(p);
        return known;
    }
    hf_status st =
        path != NULL ? hf_buf_putf(path, "sys/internal/ui/mounts/") : (hf_status){HF_NOMEM};
    if (!hf_failed(st)) {
        st = hf_url_put_escaped(path, configured_path(config), true);
    }
    if (hf_failed(st)) {
        st = hf_fail(err, HF_LIMIT, "path is too long");
    } else {
        const hf_vault_call call = {.method = "GET",
                                    .path = hf_buf_text(path),
                                    .token = token->text,
                                    .max_answer_bytes = HF_VAULT_SMALL_ANSWER};
        st = ask_patiently(vault, &call, deadline_ns, &answer, err);
        if (!hf_failed(st)) {
            st = take_mount(config, answer.json, p, err);
        } else if (st.code == HF_DENIED || st.code == HF_NOT_FOUND) {
            st = guess(config, p, err);
        }
        drop_data(p);
    }
    hf_vault_answer_done(&answer);
    hf_buf_free(path);
    return st;
}

/* ---- folders -------------------------------------------------------------------------------- */

typedef struct walk {
    hf_name_list level; /* folders: "validators/", "" for the mount itself */
    hf_name_list next;  /* of the level below */
    hf_name_list secrets;
    hf_status first;  /* what the first folder's list came to */
    bool is_one_path; /* the first level: path may be a secret instead */
    const hf_custody_visitor *visitor;
} walk;

static hf_status take_folder(void *context, size_t index, hf_status st, json_t *json,
                             const char *why)
{
    walk *w = context;
    char path[HF_PATH_LEN];
    size_t i;
    json_t *item;
    const char *folder = w->level.items[index];
    if (w->is_one_path) {
        w->first = st;
    }
    if (hf_failed(st)) {
        if (!w->is_one_path && st.code != HF_NOT_FOUND) {
            w->visitor->failed(w->visitor->context, folder, why);
        }
        return hf_ok();
    }
    json_array_foreach(json_object_get(json_object_get(json, "data"), "keys"), i, item)
    {
        const char *name = json_string_value(item);
        if (name == NULL || hf_failed(hf_str_format(path, sizeof path, "%s%s", folder, name))) {
            w->visitor->failed(w->visitor->context, folder, "a name in it is too long");
            continue;
        }
        hf_status added =
            hf_name_list_add(hf_str_has_suffix(path, "/") ? &w->next : &w->secrets, path);
        if (hf_failed(added)) {
            return added;
        }
    }
    return hf_ok();
}

static hf_status list_level(hf_vault *vault, const place *p, walk *w, uint64_t deadline_ns,
                            hf_error *err)
{
    char prefix[HF_PATH_LEN + 16];
    const hf_vault_fetch fetch = {.prefix = prefix,
                                  .suffix = "?list=true",
                                  .paths = (const char *const *)w->level.items,
                                  .count = w->level.count,
                                  .max_answer_bytes = HF_VAULT_LIST_ANSWER,
                                  .context = w,
                                  .answer = take_folder};
    (void)snprintf(prefix, sizeof prefix, "%s%s", p->mount, p->kv_version == 2 ? "metadata/" : "");
    hf_status st = hf_vault_fetch_all(vault, &fetch, deadline_ns, err);
    return st.code == HF_LIMIT
               ? hf_fail(err, HF_LIMIT, "more than %d secrets or %d folders below path",
                         SECRETS_MAX, FOLDERS_MAX)
               : st;
}

/* The names of all secrets below the path, or of the one secret that it is. */
static hf_status find_secrets(hf_vault *vault, const place *p, walk *w, uint64_t deadline_ns,
                              hf_error *err)
{
    bool is_folder = p->rest[0] == '\0' || hf_str_has_suffix(p->rest, "/");
    char top[HF_PATH_LEN + 1];
    (void)snprintf(top, sizeof top, "%s%s", p->rest, is_folder ? "" : "/");
    w->level = (hf_name_list){.most = FOLDERS_MAX};
    hf_status st = hf_name_list_add(&w->level, top);
    w->is_one_path = true;
    for (int depth = 0; !hf_failed(st) && w->level.count > 0 && depth < DEPTH_MAX; depth++) {
        w->next = (hf_name_list){.most = FOLDERS_MAX};
        st = list_level(vault, p, w, deadline_ns, err);
        hf_name_list_done(&w->level);
        w->level = w->next;
        w->is_one_path = false;
    }
    hf_name_list_done(&w->level);
    if (!hf_failed(st) && !is_folder) {
        /* A secret of the name of a folder, or no folder, or one that may not be listed. */
        st = hf_name_list_add(&w->secrets, p->rest);
    }
    if (!hf_failed(st) && is_folder && hf_failed(w->first)) {
        st = hf_fail(err, w->first.code, "Vault: the folder %.100s %s", vault->config.path,
                     w->first.code == HF_DENIED ? "may not be listed" : "is not there");
    }
    return st;
}

/* ---- secrets -------------------------------------------------------------------------------- */

typedef struct reading {
    const hf_vault_config *config;
    const place *p;
    const hf_name_list *secrets;
    const hf_custody_visitor *visitor;
    uint32_t keys;
    size_t found;     /* secrets that are there */
    hf_status own;    /* what the secret of the path's own name came to */
    size_t own_index; /* SIZE_MAX: there is none */
} reading;

static hf_custody_type type_of(const hf_vault_config *config, json_t *fields)
{
    static const char *const members[] = {"keyType", "key_type"};
    hf_custody_type type = config->key_type;
    for (size_t i = 0; i < HF_ARRAY_LEN(members); i++) {
        const char *word = json_string_value(json_object_get(fields, members[i]));
        if (word != NULL) {
            (void)hf_secret_type_parse(word, &type);
        }
    }
    return type;
}

static hf_status visit_field(const hf_vault_config *config, const char *name, const char *field,
                             json_t *fields, const char *text, const hf_custody_visitor *visitor,
                             uint32_t *count)
{
    char shown[HF_CUSTODY_NAME_LEN];
    char origin[ORIGIN_LEN];
    char clean[64];
    hf_str_sanitize(clean, sizeof clean, field);
    if (hf_failed(hf_str_format(shown, sizeof shown, "%s#%s", name, clean)) ||
        hf_failed(hf_str_format(origin, sizeof origin, "vault\n%s\n%s\n%s\n%s", config->address,
                                config->vault_namespace, name, field))) {
        visitor->failed(visitor->context, name, "its path and field are too long");
        return hf_ok();
    }
    const hf_secret_text secret = {.origin = origin,
                                   .name = shown,
                                   .type = type_of(config, fields),
                                   .text = hf_bytes_from(text, strlen(text))};
    return hf_secret_text_visit(&secret, visitor, count);
}

hf_status hf_vault_visit_secret(const hf_vault_config *config, const char *name, json_t *fields,
                                const hf_custody_visitor *visitor, uint32_t *ret_keys)
{
    const char *field;
    json_t *value;
    uint32_t count = 0;
    bool is_any = false;
    hf_status st = hf_ok();
    json_object_foreach(fields, field, value)
    {
        const char *text = json_string_value(value);
        hf_bytes bytes = hf_bytes_from(text, text != NULL ? strlen(text) : 0);
        bool is_meant = config->field[0] != '\0'
                            ? strcmp(field, config->field) == 0
                            : hf_secret_text_is_key(bytes) || hf_secret_text_is_almost_key(bytes);
        if (text == NULL || !is_meant || hf_failed(st)) {
            continue;
        }
        is_any = true;
        st = visit_field(config, name, field, fields, text, visitor, &count);
    }
    if (!hf_failed(st) && !is_any) {
        visitor->failed(visitor->context, name,
                        config->field[0] != '\0' ? "it has no such field with text"
                                                 : "no field of it holds a key of 64 hex digits");
    }
    *ret_keys = count;
    return st;
}

/* A version that was deleted answers 404 with what is left of it: nothing is amiss then. */
static bool is_deleted(json_t *json)
{
    return json_object_get(json_object_get(json, "data"), "metadata") != NULL;
}

static hf_status take_secret(void *context, size_t index, hf_status st, json_t *json,
                             const char *why)
{
    reading *r = context;
    char name[HF_CUSTODY_NAME_LEN];
    uint32_t keys = 0;
    if (hf_failed(
            hf_str_format(name, sizeof name, "%s%s", r->p->mount, r->secrets->items[index]))) {
        r->visitor->failed(r->visitor->context, "a secret", "its path is too long");
        return hf_ok();
    }
    if (index == r->own_index) {
        r->own = is_deleted(json) ? hf_ok() : st;
    }
    if (hf_failed(st)) {
        if (index != r->own_index && st.code != HF_NOT_FOUND) {
            r->visitor->failed(r->visitor->context, name, why);
        }
        return hf_ok();
    }
    json_t *data = json_object_get(json, "data");
    json_t *fields = r->p->kv_version == 2 ? json_object_get(data, "data") : data;
    if (!json_is_object(fields)) {
        r->visitor->failed(r->visitor->context, name, "the answer holds no fields");
        return hf_ok();
    }
    r->found++;
    st = hf_vault_visit_secret(r->config, name, fields, r->visitor, &keys);
    r->keys += keys;
    return st;
}

static hf_status read_secrets(hf_vault *vault, const place *p, const walk *w, uint64_t deadline_ns,
                              uint32_t *ret_keys, hf_error *err)
{
    char prefix[HF_PATH_LEN + 16];
    bool is_folder = p->rest[0] == '\0' || hf_str_has_suffix(p->rest, "/");
    reading r = {.config = &vault->config,
                 .p = p,
                 .secrets = &w->secrets,
                 .visitor = w->visitor,
                 .own_index = is_folder ? SIZE_MAX : w->secrets.count - 1};
    const hf_vault_fetch fetch = {.prefix = prefix,
                                  .suffix = "",
                                  .paths = (const char *const *)w->secrets.items,
                                  .count = w->secrets.count,
                                  .max_answer_bytes = HF_VAULT_SMALL_ANSWER,
                                  .context = &r,
                                  .answer = take_secret};
    (void)snprintf(prefix, sizeof prefix, "%s%s", p->mount, p->kv_version == 2 ? "data/" : "");
    hf_status st = hf_vault_fetch_all(vault, &fetch, deadline_ns, err);
    if (!hf_failed(st) && hf_failed(r.own) && hf_failed(w->first)) {
        /* Neither folder nor secret: the more telling of the two. */
        bool is_denied = r.own.code == HF_DENIED || w->first.code == HF_DENIED;
        st = hf_fail(err, is_denied ? HF_DENIED : HF_NOT_FOUND, "Vault: %.100s %s",
                     vault->config.path,
                     is_denied ? "may not be read by this token's policies"
                               : "is neither a secret nor a folder of secrets");
    }
    *ret_keys = r.keys;
    return st;
}

/* All below the configured path. */
static hf_status read_path(hf_vault *vault, const hf_custody_visitor *visitor, uint64_t deadline_ns,
                           uint32_t *ret_keys, hf_error *err)
{
    hf_vault_token token = {.text = ""};
    place p = {.mount = ""};
    walk w = {.secrets = {.most = SECRETS_MAX}, .visitor = visitor};
    hf_status st = hf_vault_token_start(vault, err);
    if (!hf_failed(st)) {
        st = hf_vault_token_get(vault, deadline_ns, &token, err);
    }
    if (!hf_failed(st)) {
        st = find_place(vault, &token, deadline_ns, &p, err);
    }
    hf_wipe(&token, sizeof token);
    if (!hf_failed(st)) {
        st = find_secrets(vault, &p, &w, deadline_ns, err);
    }
    if (!hf_failed(st)) {
        st = read_secrets(vault, &p, &w, deadline_ns, ret_keys, err);
    }
    hf_name_list_done(&w.secrets);
    return st;
}

hf_status hf_vault_list(hf_custody *custody, const hf_custody_visitor *visitor,
                        uint64_t deadline_ns, hf_error *err)
{
    hf_vault *vault = (hf_vault *)custody;
    hf_error why = {.code = HF_OK};
    uint32_t keys = 0;
    hf_status st = vault->config.secret_count > 0
                       ? hf_vault_read_named(vault, visitor, deadline_ns, &keys, &why)
                       : read_path(vault, visitor, deadline_ns, &keys, &why);
    if (!hf_failed(st)) {
        (void)pthread_mutex_lock(&vault->state_lock);
        vault->keys = keys;
        (void)pthread_mutex_unlock(&vault->state_lock);
    }
    hf_vault_note(vault, !hf_failed(st), hf_failed(st) ? why.msg : "reachable");
    if (hf_failed(st) && err != NULL) {
        *err = why;
    }
    return st;
}
