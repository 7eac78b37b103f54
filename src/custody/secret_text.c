/* Keys out of the text of a secret. */
#include "custody/secret_text.h"

#include <malloc.h>
#include <sodium.h>
#include <strings.h>

#define KEY_DIGITS ((size_t)2 * HF_CUSTODY_SECRET_BYTES)
/* Hex of these lengths is something else that people keep beside a key: the public keys of BLS and
 * secp256k1. */
#define PUBKEY_DIGITS_BLS 96
#define PUBKEY_DIGITS_SECP 66
#define ALMOST_LEAST 48
#define ALMOST_MOST 80
#define LINES_MAX 1000000
#define SECRET_FILE_MAX (64U << 10)

typedef struct cursor {
    hf_bytes text;
    size_t at;
    uint32_t line; /* of what was taken last, from 1 */
} cursor;

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static hf_bytes trimmed(hf_bytes text)
{
    while (text.len > 0 && is_blank(text.ptr[0])) {
        text = hf_bytes_from(text.ptr + 1, text.len - 1);
    }
    while (text.len > 0 && is_blank(text.ptr[text.len - 1])) {
        text.len--;
    }
    return text;
}

static hf_bytes without_prefix(hf_bytes word)
{
    bool has = word.len >= 2 && word.ptr[0] == '0' && (word.ptr[1] == 'x' || word.ptr[1] == 'X');
    return has ? hf_bytes_from(word.ptr + 2, word.len - 2) : word;
}

/* The next line with something in it. */
static bool next_line(cursor *c, hf_bytes *ret_line)
{
    while (c->at < c->text.len) {
        const uint8_t *start = c->text.ptr + c->at;
        const uint8_t *end = memchr(start, '\n', c->text.len - c->at);
        size_t len = end != NULL ? (size_t)(end - start) : c->text.len - c->at;
        c->at += len + 1;
        c->line++;
        *ret_line = trimmed(hf_bytes_from(start, len));
        if (ret_line->len > 0) {
            return true;
        }
    }
    return false;
}

static bool decode(hf_bytes line, uint8_t ret_secret[HF_CUSTODY_SECRET_BYTES])
{
    hf_bytes digits = without_prefix(line);
    return digits.len == KEY_DIGITS &&
           !hf_failed(hf_hex_decode((const char *)digits.ptr, digits.len, ret_secret,
                                    HF_CUSTODY_SECRET_BYTES));
}

bool hf_secret_text_is_key(hf_bytes text)
{
    uint8_t secret[HF_CUSTODY_SECRET_BYTES];
    cursor c = {text, 0, 0};
    hf_bytes line;
    bool is_key = next_line(&c, &line) && decode(line, secret);
    hf_wipe(secret, sizeof secret);
    return is_key;
}

bool hf_secret_text_is_almost_key(hf_bytes text)
{
    hf_bytes digits = without_prefix(trimmed(text));
    if (digits.len < ALMOST_LEAST || digits.len > ALMOST_MOST || digits.len == PUBKEY_DIGITS_BLS ||
        digits.len == PUBKEY_DIGITS_SECP) {
        return false;
    }
    size_t i = 0;
    while (i < digits.len && memchr("0123456789abcdefABCDEF", digits.ptr[i], 22) != NULL) {
        i++;
    }
    return i == digits.len;
}

static void source_id_of(const char *origin, uint32_t line, uint8_t ret_id[HF_SOURCE_ID_LEN])
{
    crypto_generichash_state state;
    uint8_t number[8];
    hf_le64_put(number, line);
    (void)crypto_generichash_init(&state, NULL, 0, HF_SOURCE_ID_LEN);
    (void)crypto_generichash_update(&state, (const uint8_t *)origin, strlen(origin) + 1);
    (void)crypto_generichash_update(&state, number, sizeof number);
    (void)crypto_generichash_final(&state, ret_id, HF_SOURCE_ID_LEN);
}

static void name_of(const hf_secret_text *secret, uint32_t line, bool is_only,
                    char ret_name[HF_CUSTODY_NAME_LEN])
{
    if (is_only) {
        hf_str_cut(ret_name, HF_CUSTODY_NAME_LEN, secret->name);
    } else if (hf_failed(hf_str_format(ret_name, HF_CUSTODY_NAME_LEN, "%.*s line %u",
                                       HF_CUSTODY_NAME_LEN - 20, secret->name, line))) {
        ret_name[0] = '\0';
    }
}

static hf_status visit_line(const hf_secret_text *secret, const hf_custody_visitor *visitor,
                            hf_bytes line, uint32_t number, bool is_only, uint32_t *count)
{
    hf_custody_key key = {.type = secret->type};
    name_of(secret, number, is_only, key.name);
    hf_status st = hf_ok();
    if (!decode(line, key.secret)) {
        visitor->failed(visitor->context, key.name, "not a key: 64 hex digits are expected");
    } else if (hf_bytes_is_zero(key.secret, sizeof key.secret)) {
        visitor->failed(visitor->context, key.name, "not a key: it is zero");
    } else {
        source_id_of(secret->origin, number, key.source_id);
        *count += 1;
        st = visitor->key(visitor->context, &key);
    }
    hf_wipe(&key, sizeof key);
    return st;
}

hf_status hf_secret_text_visit(const hf_secret_text *secret, const hf_custody_visitor *visitor,
                               uint32_t *count)
{
    cursor c = {secret->text, 0, 0};
    hf_bytes line;
    hf_bytes rest;
    if (!next_line(&c, &line)) {
        visitor->failed(visitor->context, secret->name, "it is empty");
        return hf_ok();
    }
    cursor ahead = c;
    bool is_only = !next_line(&ahead, &rest);
    hf_status st = visit_line(secret, visitor, line, c.line, is_only, count);
    while (!hf_failed(st) && c.line < LINES_MAX && next_line(&c, &line)) {
        st = visit_line(secret, visitor, line, c.line, false, count);
    }
    return st;
}

bool hf_secret_type_parse(const char *word, hf_custody_type *ret_type)
{
    if (strcasecmp(word, "BLS") == 0) {
        *ret_type = HF_CUSTODY_BLS;
        return true;
    }
    if (strcasecmp(word, "SECP256K1") == 0) {
        *ret_type = HF_CUSTODY_SECP256K1;
        return true;
    }
    return false;
}

/* ---- JSON, files, URLs --------------------------------------------------------------------- */

static void release(void *ptr)
{
    if (ptr != NULL) {
        hf_wipe(ptr, malloc_usable_size(ptr));
    }
    free(ptr);
}

void hf_secret_json_init(void)
{
    json_set_alloc_funcs(malloc, release);
}

json_t *hf_secret_json_parse(const hf_buf *text)
{
    json_t *root = json_loadb(hf_buf_text(text), hf_buf_len(text), JSON_REJECT_DUPLICATES, NULL);
    if (root != NULL && !json_is_object(root)) {
        json_decref(root);
        root = NULL;
    }
    return root;
}

hf_status hf_secret_file_read(const char *path, bool must_be_private, char *ret_text, size_t len,
                              hf_error *err)
{
    hf_buf *text = NULL;
    hf_status st = must_be_private ? hf_file_check_private(path, err) : hf_ok();
    if (!hf_failed(st)) {
        st = hf_file_read(path, SECRET_FILE_MAX, &text, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    hf_bytes found = trimmed(hf_bytes_from(hf_buf_peek(text), hf_buf_len(text)));
    if (found.len == 0 || found.len >= len || memchr(found.ptr, '\0', found.len) != NULL) {
        st = hf_fail(err, HF_INVALID_INPUT, "%s: %s", path,
                     found.len == 0 ? "it is empty" : "longer than it can be");
    } else {
        memcpy(ret_text, found.ptr, found.len);
        ret_text[found.len] = '\0';
    }
    hf_buf_free(text);
    return st;
}

hf_status hf_name_list_add(hf_name_list *list, const char *name)
{
    if (list->count >= list->most) {
        return (hf_status){HF_LIMIT};
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
        char **items = realloc(list->items, capacity * sizeof *items);
        if (items == NULL) {
            return (hf_status){HF_NOMEM};
        }
        list->items = items;
        list->capacity = capacity;
    }
    char *copy = strdup(name);
    if (copy == NULL) {
        return (hf_status){HF_NOMEM};
    }
    list->items[list->count++] = copy;
    return hf_ok();
}

void hf_name_list_done(hf_name_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i]);
    }
    free(list->items);
    *list = (hf_name_list){.most = list->most};
}

hf_status hf_url_put_escaped(hf_buf *url, const char *text, bool keep_slash)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    hf_status st = hf_ok();
    for (const char *c = text; *c != '\0' && !hf_failed(st); c++) {
        bool is_plain = strchr(plain, *c) != NULL || (keep_slash && *c == '/');
        st = is_plain ? hf_buf_put(url, c, 1) : hf_buf_putf(url, "%%%02X", (unsigned char)*c);
    }
    return st;
}
