/* From a folder of key files to the servers that they name. */
#include <sodium.h>

#include "custody/custody.h"
#include "custody/key_servers_internal.h"
#include "custody/secret_text.h"

#define LABEL_LEN 240

/* ---- the list ------------------------------------------------------------------------------- */

/* Room for one more; NULL when memory is short, and the old array stays. */
static void *grow(void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return items;
    }
    size_t more = *capacity == 0 ? 16 : *capacity * 2;
    void *longer = realloc(items, more * size);
    if (longer != NULL) {
        *capacity = more;
    }
    return longer;
}

static void drop_texts(hf_secret_ref *ref)
{
    free((void *)(uintptr_t)ref->path);
    free((void *)(uintptr_t)ref->field);
    free((void *)(uintptr_t)ref->label);
}

void hf_key_servers_done(hf_key_server_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        hf_key_server *server = &list->servers[i];
        for (size_t k = 0; k < server->count; k++) {
            drop_texts(&server->secrets[k]);
        }
        free(server->secrets);
        hf_key_members_done(&server->members);
    }
    free(list->servers);
    *list = (hf_key_server_list){NULL, 0, 0};
}

static int compare_refs(const void *a, const void *b)
{
    const hf_secret_ref *left = a;
    const hf_secret_ref *right = b;
    int order = strcmp(left->path, right->path);
    return order != 0 ? order : strcmp(left->field, right->field);
}

/* Two files may name the same secret: it is asked for once. */
static void sort_secrets(hf_key_server *server)
{
    size_t kept = 0;
    qsort(server->secrets, server->count, sizeof *server->secrets, compare_refs);
    for (size_t i = 0; i < server->count; i++) {
        if (kept > 0 && compare_refs(&server->secrets[kept - 1], &server->secrets[i]) == 0) {
            drop_texts(&server->secrets[i]);
        } else {
            server->secrets[kept++] = server->secrets[i];
        }
    }
    server->count = kept;
}

/* ---- one document --------------------------------------------------------------------------- */

typedef struct reading {
    const hf_custody_visitor *visitor;
    hf_key_server_list list;
} reading;

static void identify(const hf_key_server_kind *kind, const hf_key_members *members,
                     hf_custody_type key_type, uint8_t ret_id[HF_KEY_SERVER_ID_LEN])
{
    crypto_generichash_state state;
    uint8_t type[8];
    hf_le64_put(type, (uint64_t)key_type);
    (void)crypto_generichash_init(&state, NULL, 0, HF_KEY_SERVER_ID_LEN);
    (void)crypto_generichash_update(&state, (const uint8_t *)kind->type, strlen(kind->type) + 1);
    (void)crypto_generichash_update(&state, type, sizeof type);
    for (unsigned i = 0; i < HF_MEMBER_COUNT; i++) {
        if ((kind->identity >> i & 1U) != 0) {
            const char *text = hf_key_member_text(members, (hf_key_member)i);
            (void)crypto_generichash_update(&state, (const uint8_t *)text, strlen(text) + 1);
        }
    }
    (void)crypto_generichash_final(&state, ret_id, HF_KEY_SERVER_ID_LEN);
    hf_wipe(&state, sizeof state);
}

/* The server that the document names, a new one when it is the first; NULL: memory is short. */
static hf_key_server *server_of(hf_key_server_list *list, const hf_key_server_kind *kind,
                                hf_custody_type key_type, hf_key_members *members)
{
    hf_key_server fresh = {.kind = kind, .key_type = key_type};
    identify(kind, members, key_type, fresh.id);
    for (size_t i = list->count; i > 0; i--) {
        if (hf_bytes_equal(list->servers[i - 1].id, fresh.id, sizeof fresh.id)) {
            return &list->servers[i - 1];
        }
    }
    hf_key_server *servers =
        grow(list->servers, list->count, &list->capacity, sizeof *list->servers);
    if (servers == NULL) {
        return NULL;
    }
    list->servers = servers;
    fresh.members = *members; /* moved: the caller's are empty now */
    *members = (hf_key_members){.unknown_line = 0};
    list->servers[list->count] = fresh;
    return &list->servers[list->count++];
}

static hf_status add_secret(hf_key_server *server, hf_secret_ref *take_ref)
{
    hf_secret_ref *secrets =
        grow(server->secrets, server->count, &server->capacity, sizeof *server->secrets);
    if (secrets != NULL) {
        server->secrets = secrets;
    }
    if (secrets == NULL || take_ref->path == NULL || take_ref->field == NULL ||
        take_ref->label == NULL) {
        drop_texts(take_ref);
        return (hf_status){HF_NOMEM};
    }
    server->secrets[server->count++] = *take_ref;
    return hf_ok();
}

static hf_status check(const hf_key_server_kind *kind, const char *path,
                       const hf_key_members *members, hf_custody_type *ret_type, hf_error *err)
{
    const char *key_type = hf_key_member_text(members, HF_MEMBER_KEY_TYPE);
    bool has_credentials = false;
    *ret_type = HF_CUSTODY_BLS;
    if (key_type[0] != '\0' && !hf_secret_type_parse(key_type, ret_type)) {
        return hf_fail(err, HF_USAGE, "keyType %s is not supported in this version",
                       hf_key_word(key_type));
    }
    for (unsigned i = 0; i < HF_MEMBER_COUNT; i++) {
        has_credentials =
            has_credentials || ((kind->credentials >> i & 1U) != 0 && members->values[i] != NULL);
    }
    hf_status st = kind->check(members, err);
    return hf_failed(st) || !has_credentials ? st : hf_file_check_private(path, err);
}

static hf_status take_document(reading *r, const char *path, const char *label,
                               const hf_key_server_kind *kind, hf_key_members *members)
{
    hf_error why = {HF_OK, ""};
    hf_custody_type key_type = HF_CUSTODY_BLS;
    if (hf_failed(check(kind, path, members, &key_type, &why))) {
        r->visitor->failed(r->visitor->context, label, why.msg);
        return hf_ok();
    }
    const char *field = members->values[HF_MEMBER_KEY_NAME];
    field = kind->field == NULL ? "" : field == NULL ? kind->field : field;
    hf_secret_ref ref = {.path = strdup(hf_key_member_text(members, kind->secret)),
                         .field = strdup(field),
                         .label = strdup(label)};
    hf_key_server *server = server_of(&r->list, kind, key_type, members);
    if (server == NULL) {
        drop_texts(&ref);
        return (hf_status){HF_NOMEM};
    }
    return add_secret(server, &ref);
}

/* ---- files ---------------------------------------------------------------------------------- */

/* Files without any of the types are not looked into: they hold keys themselves. */
static bool may_name_server(hf_bytes text)
{
    bool may = false;
    for (size_t i = 0; hf_key_server_types[i] != NULL; i++) {
        const char *type = hf_key_server_types[i];
        may = may || memmem(text.ptr, text.len, type, strlen(type)) != NULL;
    }
    return may;
}

/* What is no document of a server's, and what cannot be read as one, the loader speaks of. */
static hf_status take_file(reading *r, const hf_key_file *file)
{
    char label[LABEL_LEN];
    const char *name = file->path + file->name_at;
    hf_buf *text = NULL;
    hf_status st = hf_ok();
    if (hf_failed(hf_file_read(file->path, HF_KEY_FILE_MAX_BYTES, &text, NULL))) {
        return hf_ok();
    }
    hf_bytes yaml = hf_bytes_from(hf_buf_peek(text), hf_buf_len(text));
    size_t n = may_name_server(yaml) ? hf_key_file_count_documents(yaml) : 0;
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        hf_key_members members = {.unknown_line = 0};
        if (hf_failed(hf_key_members_read(yaml, i, &members, NULL))) {
            continue;
        }
        const hf_key_server_kind *kind =
            hf_key_server_kind_find(hf_key_member_text(&members, HF_MEMBER_TYPE));
        if (i == 0) {
            hf_str_cut(label, sizeof label, name);
        } else {
            (void)snprintf(label, sizeof label, "%.200s, document %zu", name, i + 1);
        }
        if (kind != NULL) {
            st = take_document(r, file->path, label, kind, &members);
        }
        hf_key_members_done(&members);
    }
    hf_buf_free(text);
    return st;
}

hf_status hf_key_servers_read(const hf_key_servers_config *config,
                              const hf_custody_visitor *visitor, hf_key_server_list *ret_list,
                              hf_error *err)
{
    hf_key_source source = {.backend = HF_BACKEND_WEB3SIGNER};
    hf_key_list files = {NULL, 0, 0};
    reading r = {.visitor = visitor};
    hf_str_cut(source.dir, sizeof source.dir, config->config_dir);
    hf_status st = hf_custody_list(&source, &files, err);
    for (size_t i = 0; i < files.count && !hf_failed(st); i++) {
        if (hf_failed(take_file(&r, &files.files[i]))) {
            st = hf_fail(err, HF_NOMEM, "out of memory");
        }
    }
    hf_key_list_done(&files);
    if (hf_failed(st)) {
        hf_key_servers_done(&r.list);
        return st;
    }
    for (size_t i = 0; i < r.list.count; i++) {
        sort_secrets(&r.list.servers[i]);
    }
    *ret_list = r.list;
    return st;
}
