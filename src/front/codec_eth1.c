/*
 * A transaction from its JSON. Its members go through one table, which says of which types of
 * transaction each may be; the lists, which are bytes of RLP in the end, have functions of their
 * own.
 */
#include "front/codec_eth1.h"

#include <string.h>

#define TYPE_BIT(type) (1U << (type))
#define LEGACY TYPE_BIT(HF_TX_LEGACY)
#define ACCESS TYPE_BIT(HF_TX_ACCESS_LIST)
#define FEE TYPE_BIT(HF_TX_DYNAMIC_FEE)
#define BLOB TYPE_BIT(HF_TX_BLOB)
#define SET_CODE TYPE_BIT(HF_TX_SET_CODE)
#define ANY (LEGACY | ACCESS | FEE | BLOB | SET_CODE)
/* RLP heads and numbers that JSON leaves out. */
#define ARENA_MORE 512

/* One value as it goes into RLP. */
typedef hf_status (*entry_writer)(const hf_json *json, uint32_t value, const hf_path *path,
                                  hf_rlp_writer *writer, hf_error *err);

typedef struct reader {
    const hf_json *json;
    uint32_t object;
    hf_codec_arena *arena;
    hf_error *err;
    hf_transaction tx;
    bool has_chain_id;
} reader;

size_t hf_codec_arena_room(size_t text_len)
{
    return 3 * text_len + ARENA_MORE;
}

/* 0 when the member is absent or null. */
static uint32_t find(const hf_json *json, uint32_t object, const char *name)
{
    uint32_t value = hf_json_member(json, object, name, strlen(name));
    return value != 0 && hf_json_is(json, value, HF_JSON_NULL) ? 0 : value;
}

static bool is_hex(const hf_json *json, uint32_t value)
{
    const char *text = hf_json_text(json, value);
    return hf_json_is(json, value, HF_JSON_STRING) && json->values[value].len >= 2 &&
           text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
}

hf_status hf_codec_address(const hf_json *json, uint32_t value, const hf_path *path,
                           uint8_t ret_address[HF_ADDRESS_BYTES], hf_error *err)
{
    char text[2 + 2 * HF_ADDRESS_BYTES + 1];
    hf_error why = {HF_OK, ""};
    if (!is_hex(json, value) || json->values[value].len >= sizeof text) {
        return hf_path_fail(path, err, "not an address of 20 bytes in hex with 0x");
    }
    memcpy(text, hf_json_text(json, value), json->values[value].len);
    text[json->values[value].len] = '\0';
    if (hf_failed(hf_address_parse(text, ret_address, &why))) {
        return hf_path_fail(path, err, why.msg);
    }
    return hf_ok();
}

hf_status hf_codec_hex(const hf_json *json, uint32_t value, const hf_path *path,
                       hf_codec_arena *arena, hf_bytes *ret_bytes, hf_error *err)
{
    const char *text = hf_json_text(json, value);
    size_t digits = json->values[value].len - 2;
    if (!is_hex(json, value) || digits % 2 != 0) {
        return hf_path_fail(path, err, "not bytes in hex with 0x");
    }
    if (digits / 2 > HF_ETH1_DATA_MAX) {
        return hf_path_fail(path, err, "more than 131072 bytes");
    }
    HF_ASSERT(digits / 2 <= arena->len - arena->used);
    uint8_t *out = arena->room + arena->used;
    if (hf_failed(hf_hex_decode(text, digits + 2, out, digits / 2))) {
        return hf_path_fail(path, err, "not bytes in hex with 0x");
    }
    arena->used += digits / 2;
    *ret_bytes = hf_bytes_from(out, digits / 2);
    return hf_ok();
}

/* ---- quantities -------------------------------------------------------------------------------
 */

static bool read_hex_digits(const char *digits, size_t len, hf_u256 *ret)
{
    char padded[2 * sizeof ret->bytes];
    while (len > 0 && *digits == '0') {
        digits++;
        len--;
    }
    if (len > sizeof padded) {
        return false;
    }
    memset(padded, '0', sizeof padded);
    memcpy(padded + sizeof padded - len, digits, len);
    return !hf_failed(hf_hex_decode(padded, sizeof padded, ret->bytes, sizeof ret->bytes));
}

static hf_status read_quantity(const hf_json *json, uint32_t value, const hf_path *path,
                               hf_u256 *ret, hf_error *err)
{
    const hf_json_value *v = &json->values[value];
    uint64_t number = 0;
    if (is_hex(json, value) && v->len > 2 &&
        read_hex_digits(hf_json_text(json, value) + 2, v->len - 2, ret)) {
        return hf_ok();
    }
    if (!hf_json_is(json, value, HF_JSON_NUMBER) ||
        hf_failed(hf_num_parse_u64(hf_json_text(json, value), v->len, &number))) {
        return hf_path_fail(path, err, "not a quantity of at most 256 bits in hex with 0x");
    }
    *ret = (hf_u256){{0}};
    for (size_t i = 0; i < 8; i++) {
        ret->bytes[31 - i] = (uint8_t)(number >> (8 * i));
    }
    return hf_ok();
}

static hf_status read_narrow(const hf_json *json, uint32_t value, const hf_path *path,
                             uint64_t *ret, hf_error *err)
{
    hf_u256 wide = {{0}};
    hf_status st = read_quantity(json, value, path, &wide, err);
    if (hf_failed(st)) {
        return st;
    }
    *ret = 0;
    for (size_t i = 0; i < sizeof wide.bytes; i++) {
        if (i < 24 && wide.bytes[i] != 0) {
            return hf_path_fail(path, err, "beyond 64 bits");
        }
        *ret = *ret << 8 | wide.bytes[i];
    }
    return hf_ok();
}

/* ---- lists ------------------------------------------------------------------------------------
 */

static hf_status put_fixed(const hf_json *json, uint32_t value, const hf_path *path, size_t len,
                           hf_rlp_writer *writer, hf_error *err)
{
    uint8_t bytes[32];
    HF_ASSERT(len <= sizeof bytes);
    hf_status st = hf_field_bytes(json, value, path, bytes, len, err);
    if (!hf_failed(st)) {
        hf_rlp_put_string(writer, hf_bytes_from(bytes, len));
    }
    return st;
}

static hf_status put_word(const hf_json *json, uint32_t value, const hf_path *path,
                          hf_rlp_writer *writer, hf_error *err)
{
    return put_fixed(json, value, path, 32, writer, err);
}

static hf_status put_entries(const hf_json *json, uint32_t list, const hf_path *path,
                             entry_writer put, hf_rlp_writer *writer, hf_error *err)
{
    hf_path entry = {.up = path};
    if (!hf_json_is(json, list, HF_JSON_ARRAY)) {
        return hf_path_fail(path, err, "not a list");
    }
    for (uint32_t i = list + 1; i < json->values[list].next; i = json->values[i].next) {
        hf_status st = put(json, i, &entry, writer, err);
        if (hf_failed(st)) {
            return st;
        }
        entry.index++;
    }
    return hf_ok();
}

/* {"address", "storageKeys"} */
static hf_status put_access(const hf_json *json, uint32_t value, const hf_path *path,
                            hf_rlp_writer *writer, hf_error *err)
{
    const hf_path address_path = {.up = path, .name = "address"};
    const hf_path keys_path = {.up = path, .name = "storageKeys"};
    uint32_t address = find(json, value, "address");
    uint32_t keys = find(json, value, "storageKeys");
    if (address == 0 || keys == 0) {
        return hf_path_fail(address == 0 ? &address_path : &keys_path, err, "missing");
    }
    /* A key takes 33 bytes of RLP, an address 21. */
    size_t keys_len = (size_t)33 * json->values[keys].len;
    hf_rlp_writer counter = {NULL, 0, 0};
    hf_rlp_put_list(&counter, keys_len);
    hf_rlp_put_list(writer, 1 + HF_ADDRESS_BYTES + counter.used + keys_len);
    hf_status st = put_fixed(json, address, &address_path, HF_ADDRESS_BYTES, writer, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_rlp_put_list(writer, keys_len);
    return put_entries(json, keys, &keys_path, put_word, writer, err);
}

/* An authorization's members in the order of RLP; 0: the address. yParity may be called v. */
static hf_status put_authorization_members(const hf_json *json, uint32_t value, const hf_path *path,
                                           hf_rlp_writer *writer, hf_error *err)
{
    static const char *const names[] = {"chainId", "address", "nonce", "yParity", "r", "s"};
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        const hf_path member = {.up = path, .name = names[i]};
        hf_u256 number = {{0}};
        uint32_t at = find(json, value, names[i]);
        at = at == 0 && i == 3 ? find(json, value, "v") : at;
        if (at == 0) {
            return hf_path_fail(&member, err, "missing");
        }
        hf_status st = i == 1 ? put_fixed(json, at, &member, HF_ADDRESS_BYTES, writer, err)
                              : read_quantity(json, at, &member, &number, err);
        if (hf_failed(st)) {
            return st;
        }
        if (i != 1) {
            hf_rlp_put_number(writer, number.bytes, sizeof number.bytes);
        }
    }
    return hf_ok();
}

static hf_status put_authorization(const hf_json *json, uint32_t value, const hf_path *path,
                                   hf_rlp_writer *writer, hf_error *err)
{
    hf_rlp_writer counter = {NULL, 0, 0};
    hf_status st = put_authorization_members(json, value, path, &counter, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_rlp_put_list(writer, counter.used);
    return put_authorization_members(json, value, path, writer, err);
}

static hf_status read_list(reader *r, uint32_t value, const hf_path *path, entry_writer put,
                           hf_bytes *ret)
{
    hf_rlp_writer writer = {r->arena->room + r->arena->used, r->arena->len - r->arena->used, 0};
    hf_status st = put_entries(r->json, value, path, put, &writer, r->err);
    if (!hf_failed(st)) {
        HF_ASSERT(writer.used <= writer.room);
        *ret = hf_bytes_from(writer.out, writer.used);
        r->arena->used += writer.used;
    }
    return st;
}

/* ---- the members ------------------------------------------------------------------------------
 */

typedef enum shape { WIDE, NARROW, ADDRESS, BYTES, ACCESS_ENTRIES, WORDS, AUTHORIZATIONS } shape;

typedef struct member {
    const char *name;
    const char *alias; /* another name of the same, or NULL */
    shape shape;
    unsigned types; /* that have it */
    bool is_needed;
    size_t offset; /* into hf_transaction */
} member;

#define AT(field) offsetof(hf_transaction, field)

static const member members[] = {
    {"nonce", NULL, NARROW, ANY, true, AT(nonce)},
    {"gas", "gasLimit", NARROW, ANY, true, AT(gas_limit)},
    {"to", NULL, ADDRESS, ANY, false, AT(to)},
    {"value", NULL, WIDE, ANY, false, AT(value)},
    {"data", "input", BYTES, ANY, false, AT(data)},
    {"chainId", NULL, NARROW, ANY, false, AT(chain_id)},
    {"gasPrice", NULL, WIDE, LEGACY | ACCESS, true, AT(gas_price)},
    {"maxPriorityFeePerGas", NULL, WIDE, FEE | BLOB | SET_CODE, true, AT(max_priority_fee)},
    {"maxFeePerGas", NULL, WIDE, FEE | BLOB | SET_CODE, true, AT(max_fee)},
    {"accessList", NULL, ACCESS_ENTRIES, ACCESS | FEE | BLOB | SET_CODE, false, AT(access_list)},
    {"maxFeePerBlobGas", NULL, WIDE, BLOB, true, AT(max_blob_fee)},
    {"blobVersionedHashes", NULL, WORDS, BLOB, true, AT(blob_hashes)},
    {"authorizationList", NULL, AUTHORIZATIONS, SET_CODE, true, AT(authorizations)},
};

static hf_status read_value(reader *r, const member *m, uint32_t value, const hf_path *path)
{
    void *place = (uint8_t *)&r->tx + m->offset;
    switch (m->shape) {
    case WIDE:
        return read_quantity(r->json, value, path, place, r->err);
    case NARROW:
        r->has_chain_id = r->has_chain_id || m->offset == AT(chain_id);
        return read_narrow(r->json, value, path, place, r->err);
    case ADDRESS:
        r->tx.has_to = !hf_json_is_text(r->json, value, "0x");
        return r->tx.has_to ? hf_codec_address(r->json, value, path, place, r->err) : hf_ok();
    case BYTES:
        return hf_codec_hex(r->json, value, path, r->arena, place, r->err);
    case ACCESS_ENTRIES:
        return read_list(r, value, path, put_access, place);
    case WORDS:
        return read_list(r, value, path, put_word, place);
    case AUTHORIZATIONS:
        return read_list(r, value, path, put_authorization, place);
    }
    return hf_path_fail(path, r->err, "of no known kind");
}

static bool is_same_text(const hf_json *json, uint32_t a, uint32_t b)
{
    return json->values[a].kind == json->values[b].kind &&
           json->values[a].len == json->values[b].len &&
           hf_bytes_equal(hf_json_text(json, a), hf_json_text(json, b), json->values[a].len);
}

static hf_status read_member(reader *r, const member *m)
{
    const hf_path path = {.name = m->name};
    uint32_t value = find(r->json, r->object, m->name);
    uint32_t other = m->alias == NULL ? 0 : find(r->json, r->object, m->alias);
    char problem[64];
    if (value != 0 && other != 0 && !is_same_text(r->json, value, other)) {
        (void)snprintf(problem, sizeof problem, "another value than %s", m->alias);
        return hf_path_fail(&path, r->err, problem);
    }
    value = value != 0 ? value : other;
    bool belongs = (m->types & TYPE_BIT(r->tx.type)) != 0;
    if (value != 0 && !belongs) {
        (void)snprintf(problem, sizeof problem, "not a member of a transaction of type 0x%x",
                       (unsigned)r->tx.type);
        return hf_path_fail(&path, r->err, problem);
    }
    if (value == 0) {
        return m->is_needed && belongs ? hf_path_fail(&path, r->err, "missing") : hf_ok();
    }
    return read_value(r, m, value, &path);
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static bool has(const reader *r, const char *name)
{
    return find(r->json, r->object, name) != 0;
}

/* What its members say it is, where it does not say so itself. */
static hf_status read_type(reader *r)
{
    const hf_path path = {.name = "type"};
    uint32_t value = find(r->json, r->object, "type");
    uint64_t type = HF_TX_LEGACY;
    if (value != 0) {
        hf_status st = read_narrow(r->json, value, &path, &type, r->err);
        if (hf_failed(st)) {
            return st;
        }
        if (type >= HF_TX_TYPE_COUNT) {
            return hf_path_fail(&path, r->err, "0x0 to 0x4 are known");
        }
    } else if (has(r, "authorizationList")) {
        type = HF_TX_SET_CODE;
    } else if (has(r, "blobVersionedHashes") || has(r, "maxFeePerBlobGas")) {
        type = HF_TX_BLOB;
    } else if (has(r, "maxFeePerGas") || has(r, "maxPriorityFeePerGas")) {
        type = HF_TX_DYNAMIC_FEE;
    } else if (has(r, "accessList")) {
        type = HF_TX_ACCESS_LIST;
    }
    r->tx.type = (hf_tx_type)type;
    return hf_ok();
}

static hf_status encode(reader *r, hf_bytes *ret_tx)
{
    hf_rlp_writer writer = {r->arena->room + r->arena->used, r->arena->len - r->arena->used, 0};
    hf_tx_encode(&r->tx, &writer);
    HF_ASSERT(writer.used <= writer.room);
    if (writer.used > HF_ETH1_DATA_MAX) {
        return hf_fail(r->err, HF_INVALID_INPUT, "transaction: more than 131072 bytes");
    }
    r->arena->used += writer.used;
    *ret_tx = hf_bytes_from(writer.out, writer.used);
    return hf_ok();
}

hf_status hf_codec_transaction(const hf_json *json, uint32_t object, uint64_t chain_id,
                               hf_codec_arena *arena, uint8_t ret_from[HF_ADDRESS_BYTES],
                               hf_bytes *ret_tx, hf_error *err)
{
    reader r = {.json = json, .object = object, .arena = arena, .err = err};
    const hf_path from_path = {.name = "from"};
    if (!hf_json_is(json, object, HF_JSON_OBJECT)) {
        return hf_fail(err, HF_INVALID_INPUT, "transaction: not an object");
    }
    uint32_t from = find(json, object, "from");
    hf_status st = from == 0 ? hf_path_fail(&from_path, err, "missing")
                             : hf_codec_address(json, from, &from_path, ret_from, err);
    if (!hf_failed(st)) {
        st = read_type(&r);
    }
    for (size_t i = 0; !hf_failed(st) && i < HF_ARRAY_LEN(members); i++) {
        st = read_member(&r, &members[i]);
    }
    if (hf_failed(st)) {
        return st;
    }
    if (!r.has_chain_id && chain_id == 0) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "chainId: missing, and none is configured "
                       "(eth1.chain_id)");
    }
    r.tx.chain_id = r.has_chain_id ? r.tx.chain_id : chain_id;
    return encode(&r, ret_tx);
}
