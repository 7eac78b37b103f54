/* A choice of keys: all, or those named and those that carry one of the tags. */
#include "policy_internal.h"

int hf_policy_key_compare(const void *a, const void *b)
{
    const hf_policy_key *left = a;
    const hf_policy_key *right = b;
    if (left->len != right->len) {
        return left->len < right->len ? -1 : 1;
    }
    for (size_t i = 0; i < sizeof left->bytes; i++) {
        if (left->bytes[i] != right->bytes[i]) {
            return left->bytes[i] < right->bytes[i] ? -1 : 1;
        }
    }
    return 0;
}

hf_policy_key hf_policy_key_from(const uint8_t *bytes, size_t len)
{
    hf_policy_key key = {.len = (uint8_t)len};
    HF_ASSERT(len == HF_BLS_PUBKEY_BYTES || len == HF_ADDRESS_BYTES);
    memcpy(key.bytes, bytes, len);
    return key;
}

void hf_keyset_done(hf_keyset *set)
{
    free(set->keys);
    *set = (hf_keyset){.all = false};
}

bool hf_keyset_is_empty(const hf_keyset *set)
{
    return !set->all && set->count + set->tag_count == 0;
}

static bool has_tag(const hf_keyset *set, const hf_policy_tag *tags, size_t tag_count)
{
    for (size_t i = 0; i < set->tag_count; i++) {
        for (size_t j = 0; j < tag_count; j++) {
            if (strcmp(set->tags[i].name, tags[j].name) == 0) {
                return true;
            }
        }
    }
    return false;
}

bool hf_keyset_has(const hf_keyset *set, const hf_policy_key *key, const hf_policy_tag *tags,
                   size_t tag_count)
{
    if (set->all || has_tag(set, tags, tag_count)) {
        return true;
    }
    return set->count > 0 &&
           bsearch(key, set->keys, set->count, sizeof *set->keys, hf_policy_key_compare) != NULL;
}

hf_status hf_keyset_add(hf_keyset *set, const hf_policy_key *key)
{
    if (set->count == HF_POLICY_KEYS_MAX) {
        return (hf_status){HF_LIMIT};
    }
    if (set->count == set->room) {
        size_t room = set->room == 0 ? 8 : 2 * set->room;
        hf_policy_key *keys = realloc(set->keys, room * sizeof *keys);
        if (keys == NULL) {
            return (hf_status){HF_NOMEM};
        }
        set->keys = keys;
        set->room = room;
    }
    set->keys[set->count++] = *key;
    return hf_ok();
}

void hf_keyset_sort(hf_keyset *set)
{
    if (set->count > 1) {
        qsort(set->keys, set->count, sizeof *set->keys, hf_policy_key_compare);
    }
}

hf_status hf_keyset_check(const hf_keyset *set, hf_error *err)
{
    if (set->all && set->count + set->tag_count > 0) {
        return hf_fail(err, HF_INVALID_INPUT, "keys \"*\" and other keys or tags side by side");
    }
    for (size_t i = 1; i < set->count; i++) {
        if (hf_policy_key_compare(&set->keys[i - 1], &set->keys[i]) >= 0) {
            return hf_fail(err, HF_INVALID_INPUT, "a key is given twice");
        }
    }
    return hf_ok();
}

/* ---- words ----------------------------------------------------------------------------------- */

hf_status hf_policy_key_parse(const char *text, hf_policy_key *ret_key, hf_error *err)
{
    hf_policy_key key = {0};
    hf_error why = {0};
    size_t len = strlen(text);
    bool has_prefix = len > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    size_t digits = has_prefix ? len - 2 : len;
    if (digits == 2 * HF_BLS_PUBKEY_BYTES) {
        key.len = HF_BLS_PUBKEY_BYTES;
    } else if (digits == 2 * HF_ADDRESS_BYTES) {
        key.len = HF_ADDRESS_BYTES;
    }
    if (key.len == 0 || hf_failed(hf_hex_decode(text, len, key.bytes, key.len))) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "\"%.110s\" is no key: write a public key (0x and 96 digits) or an address "
                       "(0x and 40 digits)",
                       text);
    }
    if (key.len == HF_ADDRESS_BYTES && hf_failed(hf_address_parse(text, key.bytes, &why))) {
        return hf_fail(err, HF_INVALID_INPUT, "\"%.60s\": %.90s", text, why.msg);
    }
    *ret_key = key;
    return hf_ok();
}

hf_status hf_keyset_put_key(hf_keyset *set, const char *text, hf_error *err)
{
    hf_policy_key key;
    if (strcmp(text, "*") == 0) {
        set->all = true;
        return hf_ok();
    }
    hf_status st = hf_policy_key_parse(text, &key, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_keyset_add(set, &key);
    if (st.code == HF_LIMIT) {
        return hf_fail(err, HF_INVALID_INPUT, "more than %u keys: give them a tag instead",
                       HF_POLICY_KEYS_MAX);
    }
    return hf_failed(st) ? hf_fail(err, st.code, "out of memory") : st;
}

hf_status hf_keyset_put_tag(hf_keyset *set, const char *text, hf_error *err)
{
    if (!hf_policy_tag_is_valid(text)) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "\"%.64s\" is no tag: 1 to %d letters, digits, _ and -", text,
                       HF_POLICY_TAG_LEN - 1);
    }
    if (set->tag_count == HF_KEYSET_TAGS_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "more than %u tags", HF_KEYSET_TAGS_MAX);
    }
    hf_str_cut(set->tags[set->tag_count++].name, HF_POLICY_TAG_LEN, text);
    return hf_ok();
}

/* ---- bytes ----------------------------------------------------------------------------------- */

void hf_keyset_write(hf_policy_writer *writer, const hf_keyset *set)
{
    hf_policy_put(writer, set->all, 1);
    hf_policy_put(writer, set->count, 2);
    for (size_t i = 0; i < set->count; i++) {
        hf_policy_put(writer, set->keys[i].len, 1);
        hf_policy_put_bytes(writer, set->keys[i].bytes, set->keys[i].len);
    }
    hf_policy_put(writer, set->tag_count, 1);
    for (size_t i = 0; i < set->tag_count; i++) {
        hf_policy_put_text(writer, set->tags[i].name);
    }
}

void hf_policy_key_read(hf_policy_reader *reader, hf_policy_key *ret_key)
{
    *ret_key = (hf_policy_key){.len = (uint8_t)hf_policy_get(reader, 1)};
    if (ret_key->len != HF_BLS_PUBKEY_BYTES && ret_key->len != HF_ADDRESS_BYTES) {
        reader->failed = true;
        return;
    }
    hf_policy_get_bytes(reader, ret_key->bytes, ret_key->len);
}

void hf_keyset_read(hf_policy_reader *reader, hf_keyset *set)
{
    set->all = hf_policy_get_count(reader, 1, 1) != 0;
    size_t count = hf_policy_get_count(reader, 2, HF_POLICY_KEYS_MAX);
    for (size_t i = 0; i < count && !reader->failed; i++) {
        hf_policy_key key;
        hf_policy_key_read(reader, &key);
        reader->failed = reader->failed || hf_failed(hf_keyset_add(set, &key));
    }
    set->tag_count = hf_policy_get_count(reader, 1, HF_KEYSET_TAGS_MAX);
    for (size_t i = 0; i < set->tag_count && !reader->failed; i++) {
        hf_policy_get_text(reader, set->tags[i].name, HF_POLICY_TAG_LEN);
        reader->failed = reader->failed || !hf_policy_tag_is_valid(set->tags[i].name);
    }
}
