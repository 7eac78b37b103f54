/* The walker: each kind of SSZ type feeds its leaves to a tree, plain or progressive. */
#include "front/ssz_json.h"

#include <string.h>

/* Where leaves go. Containers, lists and byte strings differ only in where theirs come from. */
typedef struct leaf_sink {
    bool progressive;
    union {
        hf_ssz_tree plain;
        hf_ssz_progressive progressive;
    } tree;
} leaf_sink;

static void sink_init(leaf_sink *sink, bool progressive, uint64_t limit)
{
    sink->progressive = progressive;
    if (progressive) {
        hf_ssz_progressive_init(&sink->tree.progressive);
    } else {
        hf_ssz_tree_init(&sink->tree.plain, hf_ssz_depth_of(limit));
    }
}

static void sink_push(leaf_sink *sink, const uint8_t leaf[32])
{
    if (sink->progressive) {
        hf_ssz_progressive_push(&sink->tree.progressive, leaf);
    } else {
        hf_ssz_tree_push(&sink->tree.plain, leaf);
    }
}

static void sink_finish(leaf_sink *sink, uint8_t ret_root[32])
{
    if (sink->progressive) {
        hf_ssz_progressive_finish(&sink->tree.progressive, ret_root);
    } else {
        hf_ssz_tree_finish(&sink->tree.plain, ret_root);
    }
}

/* ---- numbers ------------------------------------------------------------------------------ */

/* Decimal to 256 bits, little endian, without leading zeros. */
static bool parse_u256(const char *text, size_t len, uint8_t ret_leaf[32])
{
    if (len == 0 || len > 78 || (text[0] == '0' && len > 1)) {
        return false;
    }
    memset(ret_leaf, 0, 32);
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        unsigned carry = (unsigned)(text[i] - '0');
        for (size_t k = 0; k < 32; k++) {
            carry += ret_leaf[k] * 10U;
            ret_leaf[k] = (uint8_t)carry;
            carry >>= 8;
        }
        if (carry != 0) {
            return false;
        }
    }
    return true;
}

static hf_status u256_leaf(const hf_json *json, uint32_t value, const hf_path *path,
                           uint8_t ret_leaf[32], hf_error *err)
{
    const hf_json_value *v = &json->values[value];
    if ((v->kind != HF_JSON_STRING && v->kind != HF_JSON_NUMBER) ||
        !parse_u256(json->text + v->start, v->len, ret_leaf)) {
        return hf_path_fail(path, err, "not a decimal number of 256 bits");
    }
    return hf_ok();
}

/* ---- bytes and bits ----------------------------------------------------------------------- */

/* The digits of a hex string, 0x aside. */
static hf_status hex_digits(const hf_json *json, uint32_t value, const hf_path *path,
                            hf_bytes *ret_digits, hf_error *err)
{
    if (!hf_json_is(json, value, HF_JSON_STRING)) {
        return hf_path_fail(path, err, "not a hex string");
    }
    const char *text = hf_json_text(json, value);
    size_t len = json->values[value].len;
    if (len >= 2 && text[0] == '0' && (text[1] | 0x20) == 'x') {
        text += 2;
        len -= 2;
    }
    if (len % 2 != 0) {
        return hf_path_fail(path, err, "hex with an odd number of digits");
    }
    *ret_digits = hf_bytes_from(text, len);
    return hf_ok();
}

static hf_status decode_digits(hf_bytes digits, const hf_path *path, size_t at, uint8_t *out,
                               size_t len, hf_error *err)
{
    if (hf_failed(hf_hex_decode((const char *)digits.ptr + 2 * at, 2 * len, out, len))) {
        return hf_path_fail(path, err, "not hex");
    }
    return hf_ok();
}

/* Pushes bytes as chunks; the last one passes through mask_last, which may drop bits from it. */
static hf_status push_chunks(hf_bytes digits, const hf_path *path, size_t len, leaf_sink *sink,
                             uint8_t last_byte_mask, hf_error *err)
{
    for (size_t at = 0; at < len; at += 32) {
        uint8_t chunk[32] = {0};
        size_t part = len - at < 32 ? len - at : 32;
        hf_status st = decode_digits(digits, path, at, chunk, part, err);
        if (hf_failed(st)) {
            return st;
        }
        if (at + part == len) {
            chunk[part - 1] &= last_byte_mask;
        }
        sink_push(sink, chunk);
    }
    return hf_ok();
}

static hf_status bytes_root(const hf_json *json, uint32_t value, const hf_ssz_type *type,
                            const hf_path *path, uint8_t ret_root[32], hf_error *err)
{
    bool is_fixed = type->kind == HF_SSZ_BYTES;
    bool is_progressive = type->kind == HF_SSZ_PROGRESSIVE_BYTE_LIST;
    hf_bytes digits = {0};
    hf_status st = hex_digits(json, value, path, &digits, err);
    if (hf_failed(st)) {
        return st;
    }
    size_t len = digits.len / 2;
    if (is_fixed ? len != type->size : !is_progressive && len > type->size) {
        char problem[48];
        (void)snprintf(problem, sizeof problem,
                       is_fixed ? "not %llu bytes of hex" : "more than %llu bytes",
                       (unsigned long long)type->size);
        return hf_path_fail(path, err, problem);
    }
    leaf_sink sink;
    sink_init(&sink, is_progressive, (type->size + 31) / 32);
    st = push_chunks(digits, path, len, &sink, 0xff, err);
    if (hf_failed(st)) {
        return st;
    }
    sink_finish(&sink, ret_root);
    if (!is_fixed) {
        hf_ssz_mix_in_length(ret_root, len, ret_root);
    }
    return hf_ok();
}

static hf_status bitvector_root(const hf_json *json, uint32_t value, const hf_ssz_type *type,
                                const hf_path *path, uint8_t ret_root[32], hf_error *err)
{
    const hf_ssz_type bytes = {.kind = HF_SSZ_BYTES, .size = (type->size + 7) / 8};
    /* every bitvector of the specifications fills its last byte: no bit may be beyond the end */
    HF_ASSERT(type->size % 8 == 0);
    return bytes_root(json, value, &bytes, path, ret_root, err);
}

/* The highest bit set is the delimiter behind the last bit: it gives the length and is no leaf. */
static hf_status bitlist_root(const hf_json *json, uint32_t value, const hf_ssz_type *type,
                              const hf_path *path, uint8_t ret_root[32], hf_error *err)
{
    bool is_progressive = type->kind == HF_SSZ_PROGRESSIVE_BITLIST;
    hf_bytes digits = {0};
    uint8_t last = 0;
    hf_status st = hex_digits(json, value, path, &digits, err);
    if (hf_failed(st)) {
        return st;
    }
    size_t len = digits.len / 2;
    if (len > 0) {
        st = decode_digits(digits, path, len - 1, &last, 1, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    if (last == 0) {
        return hf_path_fail(path, err, "a bitlist without the bit that ends it");
    }
    unsigned top = 31U - (unsigned)__builtin_clz(last);
    uint64_t bits = 8 * ((uint64_t)len - 1) + top;
    if (!is_progressive && bits > type->size) {
        char problem[48];
        (void)snprintf(problem, sizeof problem, "more than %llu bits",
                       (unsigned long long)type->size);
        return hf_path_fail(path, err, problem);
    }
    leaf_sink sink;
    sink_init(&sink, is_progressive, (type->size + 255) / 256);
    /* a delimiter alone in the last byte leaves no bit there */
    size_t kept = len;
    uint8_t mask = (uint8_t)((1U << top) - 1U);
    if (top == 0) {
        kept--;
        mask = 0xff;
    }
    st = push_chunks(digits, path, kept, &sink, mask, err);
    if (hf_failed(st)) {
        return st;
    }
    sink_finish(&sink, ret_root);
    hf_ssz_mix_in_length(ret_root, bits, ret_root);
    return hf_ok();
}

/* ---- lists and containers ----------------------------------------------------------------- */

/* uint64 is the only basic element in these schemas: four to a chunk. */
static hf_status push_packed(const hf_json *json, uint32_t list, const hf_path *up, leaf_sink *sink,
                             hf_error *err)
{
    const hf_json_value *values = json->values;
    hf_path path = {.up = up};
    uint8_t chunk[32] = {0};
    for (uint32_t i = list + 1; i < values[list].next; i = values[i].next) {
        uint64_t number;
        hf_status st = hf_field_u64(json, i, &path, &number, err);
        if (hf_failed(st)) {
            return st;
        }
        hf_le64_put(chunk + 8 * (path.index % 4), number);
        path.index++;
        if (path.index % 4 == 0) {
            sink_push(sink, chunk);
            memset(chunk, 0, sizeof chunk);
        }
    }
    if (path.index % 4 != 0) {
        sink_push(sink, chunk);
    }
    return hf_ok();
}

static hf_status push_elements(const hf_json *json, uint32_t list, const hf_ssz_type *element,
                               const hf_path *up, leaf_sink *sink, hf_error *err)
{
    const hf_json_value *values = json->values;
    hf_path path = {.up = up};
    for (uint32_t i = list + 1; i < values[list].next; i = values[i].next) {
        uint8_t leaf[32];
        hf_status st = hf_ssz_json_root(json, i, element, &path, leaf, err);
        if (hf_failed(st)) {
            return st;
        }
        sink_push(sink, leaf);
        path.index++;
    }
    return hf_ok();
}

static hf_status list_root(const hf_json *json, uint32_t value, const hf_ssz_type *type,
                           const hf_path *path, uint8_t ret_root[32], hf_error *err)
{
    bool is_progressive = type->kind == HF_SSZ_PROGRESSIVE_LIST;
    bool is_packed = type->element->kind == HF_SSZ_U64;
    if (!hf_json_is(json, value, HF_JSON_ARRAY)) {
        return hf_path_fail(path, err, "not a list");
    }
    uint64_t count = json->values[value].len;
    bool is_vector = type->kind == HF_SSZ_VECTOR;
    if (is_vector ? count != type->size : !is_progressive && count > type->size) {
        char problem[48];
        (void)snprintf(problem, sizeof problem,
                       is_vector ? "not %llu elements" : "more than %llu elements",
                       (unsigned long long)type->size);
        return hf_path_fail(path, err, problem);
    }
    leaf_sink sink;
    sink_init(&sink, is_progressive, is_packed ? (type->size + 3) / 4 : type->size);
    hf_status st = is_packed ? push_packed(json, value, path, &sink, err)
                             : push_elements(json, value, type->element, path, &sink, err);
    if (hf_failed(st)) {
        return st;
    }
    sink_finish(&sink, ret_root);
    if (!is_vector) {
        hf_ssz_mix_in_length(ret_root, count, ret_root);
    }
    return hf_ok();
}

/* EIP-7495: the root carries which fields are active; in these schemas all are. */
static void mix_in_active_fields(uint64_t count, uint8_t root[32])
{
    uint8_t active[32] = {0};
    for (uint64_t i = 0; i < count; i++) {
        active[i / 8] |= (uint8_t)(1U << (i % 8));
    }
    hf_sha256_pair(root, active, root);
}

static hf_status container_root(const hf_json *json, uint32_t value, const hf_ssz_type *type,
                                const hf_path *path, uint8_t ret_root[32], hf_error *err)
{
    bool is_progressive = type->kind == HF_SSZ_PROGRESSIVE_CONTAINER;
    if (!hf_json_is(json, value, HF_JSON_OBJECT)) {
        return hf_path_fail(path, err, "not an object");
    }
    leaf_sink sink;
    sink_init(&sink, is_progressive, type->size);
    for (uint64_t i = 0; i < type->size; i++) {
        const hf_ssz_field *field = &type->fields[i];
        hf_path inner = {.up = path, .name = field->name};
        uint32_t member = hf_json_member(json, value, field->name, strlen(field->name));
        if (member == 0) {
            return hf_path_fail(&inner, err, "missing");
        }
        uint8_t leaf[32];
        hf_status st = hf_ssz_json_root(json, member, field->type, &inner, leaf, err);
        if (hf_failed(st)) {
            return st;
        }
        sink_push(&sink, leaf);
    }
    sink_finish(&sink, ret_root);
    if (is_progressive) {
        mix_in_active_fields(type->size, ret_root);
    }
    return hf_ok();
}

hf_status hf_ssz_json_root(const hf_json *json, uint32_t value, const hf_ssz_type *type,
                           const hf_path *path, uint8_t ret_root[32], hf_error *err)
{
    uint64_t number;
    hf_status st;
    switch (type->kind) {
    case HF_SSZ_U64:
        st = hf_field_u64(json, value, path, &number, err);
        if (!hf_failed(st)) {
            memset(ret_root, 0, 32);
            hf_le64_put(ret_root, number);
        }
        return st;
    case HF_SSZ_U256:
        return u256_leaf(json, value, path, ret_root, err);
    case HF_SSZ_BYTES:
    case HF_SSZ_BYTE_LIST:
    case HF_SSZ_PROGRESSIVE_BYTE_LIST:
        return bytes_root(json, value, type, path, ret_root, err);
    case HF_SSZ_BITVECTOR:
        return bitvector_root(json, value, type, path, ret_root, err);
    case HF_SSZ_BITLIST:
    case HF_SSZ_PROGRESSIVE_BITLIST:
        return bitlist_root(json, value, type, path, ret_root, err);
    case HF_SSZ_LIST:
    case HF_SSZ_VECTOR:
    case HF_SSZ_PROGRESSIVE_LIST:
        return list_root(json, value, type, path, ret_root, err);
    case HF_SSZ_CONTAINER:
    case HF_SSZ_PROGRESSIVE_CONTAINER:
        return container_root(json, value, type, path, ret_root, err);
    }
    return hf_path_fail(path, err, "of no known kind");
}
