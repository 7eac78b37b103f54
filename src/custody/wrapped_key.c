/* Files of wrapped BLS keys: see wrapped_key.h. */
#include "custody/wrapped_key.h"

#include <dirent.h>
#include <errno.h>
#include <sodium.h>

#define LINE_COUNT 5
#define FILES_MAX 20000

static const char *const line_names[LINE_COUNT] = {"holdfast-wrapped-key", "type", "public_key",
                                                   "wrap_key", "blob"};

/* ---- one file -------------------------------------------------------------------------------- */

/* The value of "name: value" up to the end of its line; *rest moves behind that. */
static bool take_line(const char *name, hf_bytes *rest, hf_bytes *ret_value)
{
    size_t name_len = strlen(name);
    const uint8_t *end = memchr(rest->ptr, '\n', rest->len);
    size_t len = end == NULL ? rest->len : (size_t)(end - rest->ptr);
    if (len < name_len + 2 || !hf_bytes_equal(rest->ptr, name, name_len) ||
        rest->ptr[name_len] != ':' || rest->ptr[name_len + 1] != ' ') {
        return false;
    }
    *ret_value = hf_bytes_from(rest->ptr + name_len + 2, len - name_len - 2);
    size_t taken = end == NULL ? len : len + 1;
    *rest = hf_bytes_from(rest->ptr + taken, rest->len - taken);
    return true;
}

static bool is_text(hf_bytes value, const char *text)
{
    return value.len == strlen(text) && hf_bytes_equal(value.ptr, text, value.len);
}

/* 0x and hex digits; *ret_len bytes at most room. */
static bool parse_hex(hf_bytes value, uint8_t *out, size_t room, size_t *ret_len)
{
    if (value.len < 4 || value.len % 2 != 0 || !hf_bytes_equal(value.ptr, "0x", 2)) {
        return false;
    }
    size_t len = value.len / 2 - 1;
    *ret_len = len;
    return len <= room && !hf_failed(hf_hex_decode((const char *)value.ptr, value.len, out, len));
}

hf_status hf_wrapped_key_parse(hf_bytes text, hf_wrapped_key *ret_key, hf_error *err)
{
    hf_bytes values[LINE_COUNT];
    hf_bytes rest = text;
    for (size_t i = 0; i < LINE_COUNT; i++) {
        if (!take_line(line_names[i], &rest, &values[i])) {
            return hf_fail(err, HF_INVALID_INPUT, "line %zu has to be \"%s: ...\"", i + 1,
                           line_names[i]);
        }
    }
    hf_wrapped_key key = {0};
    size_t pubkey_len = 0;
    if (!is_text(values[0], "1") || !is_text(values[1], "bls")) {
        return hf_fail(err, HF_INVALID_INPUT, "only version 1 and the type bls are known");
    }
    if (!parse_hex(values[2], key.pubkey, sizeof key.pubkey, &pubkey_len) ||
        pubkey_len != sizeof key.pubkey) {
        return hf_fail(err, HF_INVALID_INPUT, "line 3: a public key is 0x and 96 hex digits");
    }
    if (values[3].len == 0 || values[3].len >= sizeof key.wrap_key ||
        memchr(values[3].ptr, '\0', values[3].len) != NULL) {
        return hf_fail(err, HF_INVALID_INPUT, "line 4: the name of the wrapping key");
    }
    memcpy(key.wrap_key, values[3].ptr, values[3].len);
    if (!parse_hex(values[4], key.blob, sizeof key.blob, &key.blob_len)) {
        return hf_fail(err, HF_INVALID_INPUT, "line 5: the wrapped key is 0x and hex digits");
    }
    if (rest.len > 0) {
        return hf_fail(err, HF_INVALID_INPUT, "there is something behind line 5");
    }
    *ret_key = key;
    return hf_ok();
}

hf_status hf_wrapped_key_print(const hf_wrapped_key *key, hf_buf **ret_text, hf_error *err)
{
    char pubkey[2 * HF_BLS_PUBKEY_BYTES + 1];
    char blob[2 * HF_WRAPPED_KEY_BLOB_MAX + 1];
    hf_buf *text = hf_buf_new(HF_WRAPPED_KEY_TEXT_MAX);
    if (text == NULL) {
        return hf_fail(err, HF_NOMEM, "no memory for a wrapped key");
    }
    hf_hex_encode(key->pubkey, sizeof key->pubkey, pubkey);
    hf_hex_encode(key->blob, key->blob_len, blob);
    hf_status st = hf_buf_putf(text, "%s: 1\n%s: bls\n%s: 0x%s\n%s: %s\n%s: 0x%s\n", line_names[0],
                               line_names[1], line_names[2], pubkey, line_names[3], key->wrap_key,
                               line_names[4], blob);
    if (hf_failed(st)) {
        hf_buf_free(text);
        return hf_fail(err, st.code, "no room for a wrapped key");
    }
    *ret_text = text;
    return hf_ok();
}

size_t hf_wrapped_key_context(const uint8_t pubkey[HF_BLS_PUBKEY_BYTES],
                              uint8_t ret_context[HF_WRAPPED_KEY_CONTEXT_MAX])
{
    char hex[2 * HF_BLS_PUBKEY_BYTES + 1];
    char text[HF_WRAPPED_KEY_CONTEXT_MAX];
    hf_hex_encode(pubkey, HF_BLS_PUBKEY_BYTES, hex);
    hf_status st = hf_str_format(text, sizeof text, "holdfast wrapped key 1, bls, 0x%s", hex);
    HF_ASSERT(!hf_failed(st));
    memcpy(ret_context, text, strlen(text));
    return strlen(text);
}

/* ---- a folder of them ------------------------------------------------------------------------ */

typedef struct listing {
    hf_custody *custody;
    const char *only;
    const hf_custody_visitor *visitor;
    uint64_t deadline_ns;
    hf_status stop; /* the visitor's, or the back end is away */
    hf_error *err;
} listing;

static void identify(hf_custody_key *key)
{
    static const char purpose[] = "holdfast wrapped key";
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, NULL, 0, HF_SOURCE_ID_LEN);
    (void)crypto_generichash_update(&state, (const uint8_t *)purpose, sizeof purpose);
    (void)crypto_generichash_update(&state, key->public_key, key->public_len);
    (void)crypto_generichash_final(&state, key->source_id, HF_SOURCE_ID_LEN);
}

/* The secret into key, when it is the one of that public key. */
static hf_status unwrap_key(const listing *l, const hf_wrapped_key *file, hf_custody_key *key,
                            hf_error *err)
{
    uint8_t context[HF_WRAPPED_KEY_CONTEXT_MAX];
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    hf_bls_key scalar;
    size_t len = sizeof key->secret;
    size_t context_len = hf_wrapped_key_context(file->pubkey, context);
    hf_status st = l->custody->ops->unwrap(
        l->custody, file->wrap_key, hf_bytes_from(context, context_len),
        hf_bytes_from(file->blob, file->blob_len), l->deadline_ns, key->secret, &len, err);
    if (hf_failed(st)) {
        return st;
    }
    if (len != sizeof key->secret || hf_failed(hf_bls_key_from_bytes(key->secret, &scalar))) {
        return hf_fail(err, HF_CORRUPT, "what is wrapped there is no BLS key");
    }
    hf_bls_pubkey(&scalar, pubkey);
    hf_wipe(&scalar, sizeof scalar);
    if (!hf_bytes_equal(pubkey, file->pubkey, sizeof pubkey)) {
        return hf_fail(err, HF_CORRUPT, "the key that is wrapped there has another public key");
    }
    key->type = HF_CUSTODY_BLS;
    key->public_len = sizeof pubkey;
    memcpy(key->public_key, pubkey, sizeof pubkey);
    identify(key);
    return hf_ok();
}

static hf_status read_file(const char *path, hf_wrapped_key *ret_file, hf_error *err)
{
    hf_buf *text = NULL;
    hf_status st = hf_file_read(path, HF_WRAPPED_KEY_TEXT_MAX, &text, err);
    if (!hf_failed(st)) {
        st =
            hf_wrapped_key_parse(hf_bytes_from(hf_buf_peek(text), hf_buf_len(text)), ret_file, err);
    }
    hf_buf_free(text);
    return st;
}

static void list_file(listing *l, const char *path)
{
    hf_wrapped_key file;
    hf_custody_key key = {0};
    hf_error why = {0};
    hf_str_cut(key.name, sizeof key.name, path);
    hf_status st = read_file(path, &file, &why);
    if (!hf_failed(st) && l->only[0] != '\0' && strcmp(l->only, file.wrap_key) != 0) {
        st = hf_fail(&why, HF_DENIED, "it names another wrapping key than the configured %s",
                     l->only);
    }
    if (!hf_failed(st)) {
        st = unwrap_key(l, &file, &key, &why);
    }
    if (!hf_failed(st)) {
        l->stop = l->visitor->key(l->visitor->context, &key);
    } else if (st.code == HF_UNAVAILABLE) {
        l->stop = hf_fail(l->err, st.code, "%s", why.msg);
    } else {
        l->visitor->failed(l->visitor->context, key.name, why.msg);
    }
    hf_wipe(&key, sizeof key);
}

hf_status hf_wrapped_keys_list(hf_custody *custody, const char *folder, const char *only,
                               const hf_custody_visitor *visitor, uint64_t deadline_ns,
                               hf_error *err)
{
    listing l = {custody, only, visitor, deadline_ns, {HF_OK}, err};
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return hf_fail(err, HF_IO, "%s: %s", folder, strerror(errno));
    }
    size_t count = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL && !hf_failed(l.stop);
         entry = readdir(dir)) {
        char path[HF_PATH_LEN];
        if (!hf_str_has_suffix(entry->d_name, HF_WRAPPED_KEY_SUFFIX)) {
            continue;
        }
        if (hf_failed(hf_str_format(path, sizeof path, "%s/%s", folder, entry->d_name))) {
            visitor->failed(visitor->context, folder, "a name in this folder is too long");
        } else if (count++ == FILES_MAX) {
            l.stop = hf_fail(err, HF_LIMIT, "%s: more than %d keys", folder, FILES_MAX);
        } else {
            list_file(&l, path);
        }
    }
    (void)closedir(dir);
    return l.stop;
}
