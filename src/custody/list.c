/* Finds key files and the passwords that belong to them. Opens none of them. */
#include "custody.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <sys/stat.h>

#define FIRST_CAPACITY 64
/* "0x" and a public key in hex: the name of a validator's folder in Lighthouse, Lodestar, Nimbus.
 */
#define PUBKEY_NAME_LEN (2 + 2 * (size_t)HF_BLS_PUBKEY_BYTES)

static const char *const folder_keystores[] = {"voting-keystore.json", "keystore.json"};

/* ---- the list ------------------------------------------------------------------------------ */

static hf_status list_reserve(hf_key_list *list)
{
    if (list->count < list->capacity) {
        return hf_ok();
    }
    if (list->count >= HF_KEY_FILES_MAX) {
        return (hf_status){HF_LIMIT};
    }
    size_t capacity = list->capacity == 0 ? FIRST_CAPACITY : 2 * list->capacity;
    hf_key_file *files = reallocarray(list->files, capacity, sizeof *files);
    if (files == NULL) {
        return (hf_status){HF_NOMEM};
    }
    list->files = files;
    list->capacity = capacity;
    return hf_ok();
}

/* NULL stays NULL; NOMEM goes to status. */
static char *copy_text(const char *text, hf_status *status)
{
    char *copy = text == NULL ? NULL : strdup(text);
    if (copy == NULL && text != NULL) {
        *status = (hf_status){HF_NOMEM};
    }
    return copy;
}

static void drop_file(hf_key_file *file)
{
    free(file->path);
    free(file->password_path);
    free(file->keystore_path);
}

hf_status hf_key_list_add(hf_key_list *list, const hf_key_file *file)
{
    hf_status st = list_reserve(list);
    if (hf_failed(st)) {
        return st;
    }
    hf_key_file *place = &list->files[list->count];
    *place = *file;
    place->path = copy_text(file->path, &st);
    place->password_path = copy_text(file->password_path, &st);
    place->keystore_path = copy_text(file->keystore_path, &st);
    if (hf_failed(st)) {
        drop_file(place);
        return st;
    }
    list->count++;
    return hf_ok();
}

void hf_key_list_done(hf_key_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        drop_file(&list->files[i]);
    }
    free(list->files);
    *list = (hf_key_list){NULL, 0, 0};
}

void hf_custody_source_id(const char *path, uint32_t document, uint8_t ret_id[HF_SOURCE_ID_LEN])
{
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, NULL, 0, HF_SOURCE_ID_LEN);
    (void)crypto_generichash_update(&state, (const uint8_t *)path, strlen(path));
    if (document > 0) {
        /* The NUL keeps the number apart from any path. */
        uint8_t number[1 + 8] = {0};
        hf_le64_put(number + 1, document);
        (void)crypto_generichash_update(&state, number, sizeof number);
    }
    (void)crypto_generichash_final(&state, ret_id, HF_SOURCE_ID_LEN);
}

hf_status hf_custody_imported_path(const char *imported_dir,
                                   const uint8_t pubkey[HF_BLS_PUBKEY_BYTES], char *out,
                                   size_t out_len)
{
    char hex[2 * HF_BLS_PUBKEY_BYTES + 1];
    hf_hex_encode(pubkey, HF_BLS_PUBKEY_BYTES, hex);
    return hf_str_format(out, out_len, "%s/0x%s.json", imported_dir, hex);
}

/* ---- names --------------------------------------------------------------------------------- */

static bool is_pubkey_name(const char *name, size_t len)
{
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    return len == PUBKEY_NAME_LEN && name[0] == '0' && name[1] == 'x' &&
           !hf_failed(hf_hex_decode(name, len, pubkey, sizeof pubkey));
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool is_present(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

/* ---- one entry of a folder, by back end ---------------------------------------------------- */

/* Where the password of the keystore called stem (without .json) is. */
static hf_status password_of(const hf_key_source *source, const char *stem, size_t stem_len,
                             bool is_named_by_key, char *out, size_t out_len)
{
    if (source->password_file[0] != '\0') {
        return hf_str_copy(out, out_len, source->password_file);
    }
    if (source->password_dir[0] == '\0') {
        return (hf_status){HF_USAGE};
    }
    return hf_str_format(out, out_len, "%s/%.*s%s", source->password_dir, (int)stem_len, stem,
                         is_named_by_key ? "" : ".txt");
}

static hf_status add_file(hf_key_list *list, const hf_key_source *source, char *path,
                          char *password_path)
{
    hf_key_file file = {.backend = source->backend,
                        .source = source->place,
                        .name_at = (uint32_t)strlen(source->dir) + 1,
                        .path = path,
                        .password_path = password_path};
    hf_custody_source_id(path, 0, file.source_id);
    return hf_key_list_add(list, &file);
}

/* A folder of another client, named by its key. */
static hf_status add_key_folder(const hf_key_source *source, const char *name, hf_key_list *list)
{
    char path[PATH_MAX];
    char password[PATH_MAX];
    for (size_t i = 0; i < HF_ARRAY_LEN(folder_keystores); i++) {
        hf_status st =
            hf_str_format(path, sizeof path, "%s/%s/%s", source->dir, name, folder_keystores[i]);
        if (hf_failed(st) || !is_present(path)) {
            continue;
        }
        st = password_of(source, name, strlen(name), true, password, sizeof password);
        return hf_failed(st) ? st : add_file(list, source, path, password);
    }
    return hf_ok();
}

static hf_status add_keystore(const hf_key_source *source, const char *name, hf_key_list *list)
{
    char path[PATH_MAX];
    char password[PATH_MAX];
    static const char deposit_data[] = "deposit_data";
    hf_status st = hf_str_format(path, sizeof path, "%s/%s", source->dir, name);
    if (hf_failed(st)) {
        return st;
    }
    if (is_pubkey_name(name, strlen(name)) && is_folder(path)) {
        return add_key_folder(source, name, list);
    }
    if (!hf_str_has_suffix(name, ".json") || is_folder(path) ||
        strncmp(name, deposit_data, sizeof deposit_data - 1) == 0) {
        return hf_ok();
    }
    st =
        password_of(source, name, strlen(name) - strlen(".json"), false, password, sizeof password);
    return hf_failed(st) ? st : add_file(list, source, path, password);
}

static hf_status add_yaml(const hf_key_source *source, const char *name, hf_key_list *list)
{
    char path[PATH_MAX];
    if (!hf_str_has_suffix(name, ".yaml") && !hf_str_has_suffix(name, ".yml")) {
        return hf_ok();
    }
    hf_status st = hf_str_format(path, sizeof path, "%s/%s", source->dir, name);
    if (hf_failed(st) || is_folder(path)) {
        return st;
    }
    return add_file(list, source, path, NULL);
}

static hf_status add_imported(const hf_key_source *source, const char *name, hf_key_list *list)
{
    char path[PATH_MAX];
    char password[PATH_MAX];
    if (!hf_str_has_suffix(name, ".json") ||
        !is_pubkey_name(name, strlen(name) - strlen(".json"))) {
        return hf_ok();
    }
    hf_status st = hf_str_format(path, sizeof path, "%s/%s", source->dir, name);
    if (!hf_failed(st)) {
        st = hf_str_format(password, sizeof password, "%s/password", source->dir);
    }
    return hf_failed(st) ? st : add_file(list, source, path, password);
}

static hf_status add_entry(const hf_key_source *source, const char *name, hf_key_list *list)
{
    if (name[0] == '.') {
        return hf_ok();
    }
    switch (source->backend) {
    case HF_BACKEND_LOCAL_KEYSTORE:
        return add_keystore(source, name, list);
    case HF_BACKEND_WEB3SIGNER:
        return add_yaml(source, name, list);
    case HF_BACKEND_IMPORTED:
        return add_imported(source, name, list);
    default: /* a number from a frame, checked by hf_custody_list */
        return (hf_status){HF_INTERNAL};
    }
}

/* ---- a whole folder ------------------------------------------------------------------------ */

static int compare_paths(const void *a, const void *b)
{
    return strcmp(((const hf_key_file *)a)->path, ((const hf_key_file *)b)->path);
}

static hf_status describe_failure(hf_status st, const hf_key_source *source, hf_error *err)
{
    if (st.code == HF_USAGE) {
        return hf_fail(err, st.code, "%s: neither password_file nor password_dir is given",
                       source->dir);
    }
    if (st.code == HF_LIMIT) {
        return hf_fail(err, st.code, "%s: a path is longer than %d bytes, or more than %d files",
                       source->dir, PATH_MAX, HF_KEY_FILES_MAX);
    }
    return hf_fail(err, st.code, "%s: %s", source->dir,
                   st.code == HF_NOMEM ? "out of memory" : "cannot list the folder");
}

hf_status hf_custody_list(const hf_key_source *source, hf_key_list *list, hf_error *err)
{
    hf_status st = hf_ok();
    size_t before = list->count;
    if (source->backend >= HF_BACKEND_COUNT) {
        return hf_fail(err, HF_INVALID_INPUT, "%s: no such key back end", source->dir);
    }
    DIR *folder = opendir(source->dir);
    if (folder == NULL) {
        if (source->backend == HF_BACKEND_IMPORTED && errno == ENOENT) {
            return hf_ok();
        }
        return hf_fail(err, errno == ENOENT ? HF_NOT_FOUND : HF_IO, "%s: %s", source->dir,
                       strerror(errno));
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            if (errno != 0) {
                st = hf_fail(err, HF_IO, "%s: %s", source->dir, strerror(errno));
            }
            break;
        }
        st = add_entry(source, entry->d_name, list);
        if (hf_failed(st)) {
            st = describe_failure(st, source, err);
            break;
        }
    }
    (void)closedir(folder);
    if (list->count > before) {
        qsort(list->files + before, list->count - before, sizeof *list->files, compare_paths);
    }
    return st;
}
