/*
 * Unsigned transactions. Each type is a table of its members in their order; reading checks each by
 * its kind and then what the members say together.
 */
#include "eth1/eth1.h"

/* 0x02 and so on stand before the list; a legacy transaction is the list alone. */
#define TYPE_BYTE_MAX 4
#define MEMBERS_MAX 13
/* EIP-4844: the first byte of a versioned hash of a KZG commitment. */
#define BLOB_HASH_VERSION 0x01
/* EIP-155: v is this and twice the chain id, or one more. */
#define EIP155_BASE 35
#define V_BASE 27

typedef enum member {
    END = 0,
    CHAIN_ID,
    NONCE,
    GAS_PRICE,
    TIP,
    FEE,
    GAS,
    TO,
    VALUE,
    DATA,
    ACCESS_LIST,
    BLOB_FEE,
    BLOB_HASHES,
    AUTHORIZATIONS,
    ZERO, /* EIP-155: the places of r and s */
    MEMBER_COUNT
} member;

static const char *const names[MEMBER_COUNT] = {
    [CHAIN_ID] = "chainId",
    [NONCE] = "nonce",
    [GAS_PRICE] = "gasPrice",
    [TIP] = "maxPriorityFeePerGas",
    [FEE] = "maxFeePerGas",
    [GAS] = "gas",
    [TO] = "to",
    [VALUE] = "value",
    [DATA] = "data",
    [ACCESS_LIST] = "accessList",
    [BLOB_FEE] = "maxFeePerBlobGas",
    [BLOB_HASHES] = "blobVersionedHashes",
    [AUTHORIZATIONS] = "authorizationList",
    [ZERO] = "r, s",
};

static const uint8_t shapes[HF_TX_TYPE_COUNT][MEMBERS_MAX] = {
    [HF_TX_LEGACY] = {NONCE, GAS_PRICE, GAS, TO, VALUE, DATA, CHAIN_ID, ZERO, ZERO},
    [HF_TX_ACCESS_LIST] = {CHAIN_ID, NONCE, GAS_PRICE, GAS, TO, VALUE, DATA, ACCESS_LIST},
    [HF_TX_DYNAMIC_FEE] = {CHAIN_ID, NONCE, TIP, FEE, GAS, TO, VALUE, DATA, ACCESS_LIST},
    [HF_TX_BLOB] = {CHAIN_ID, NONCE, TIP, FEE, GAS, TO, VALUE, DATA, ACCESS_LIST, BLOB_FEE,
                    BLOB_HASHES},
    [HF_TX_SET_CODE] = {CHAIN_ID, NONCE, TIP, FEE, GAS, TO, VALUE, DATA, ACCESS_LIST,
                        AUTHORIZATIONS},
};

int hf_u256_compare(const hf_u256 *a, const hf_u256 *b)
{
    for (size_t i = 0; i < sizeof a->bytes; i++) {
        if (a->bytes[i] != b->bytes[i]) {
            return a->bytes[i] < b->bytes[i] ? -1 : 1;
        }
    }
    return 0;
}

/* ---- reading: one member ----------------------------------------------------------------------
 */

static hf_status fail(member which, hf_error *err, const char *problem)
{
    return hf_fail(err, HF_INVALID_INPUT, "%s: %s", names[which], problem);
}

/* A number in at most len bytes, without leading zeros. */
static bool read_number(const hf_rlp_item *item, uint8_t *ret, size_t len)
{
    const hf_bytes *bytes = &item->payload;
    if (item->is_list || bytes->len > len || (bytes->len > 0 && bytes->ptr[0] == 0)) {
        return false;
    }
    memset(ret, 0, len);
    if (bytes->len > 0) {
        memcpy(ret + len - bytes->len, bytes->ptr, bytes->len);
    }
    return true;
}

static bool read_u64(const hf_rlp_item *item, uint64_t *ret)
{
    uint8_t bytes[8];
    if (!read_number(item, bytes, sizeof bytes)) {
        return false;
    }
    *ret = 0;
    for (size_t i = 0; i < sizeof bytes; i++) {
        *ret = *ret << 8 | bytes[i];
    }
    return true;
}

static bool is_string(const hf_rlp_item *item, size_t len)
{
    return !item->is_list && item->payload.len == len;
}

static hf_status read_to(const hf_rlp_item *item, hf_transaction *tx, hf_error *err)
{
    tx->has_to = is_string(item, HF_ADDRESS_BYTES);
    if (tx->has_to) {
        memcpy(tx->to, item->payload.ptr, HF_ADDRESS_BYTES);
        return hf_ok();
    }
    return is_string(item, 0) ? hf_ok() : fail(TO, err, "not an address of 20 bytes");
}

/* [address, [key, ...]] */
static bool is_access(const hf_rlp_item *entry)
{
    hf_rlp_reader parts = hf_rlp_reader_over(entry->payload);
    hf_rlp_item item;
    if (!entry->is_list || hf_failed(hf_rlp_next(&parts, &item)) ||
        !is_string(&item, HF_ADDRESS_BYTES) || hf_failed(hf_rlp_next(&parts, &item)) ||
        !item.is_list || parts.left > 0) {
        return false;
    }
    hf_rlp_reader keys = hf_rlp_reader_over(item.payload);
    while (keys.left > 0) {
        if (hf_failed(hf_rlp_next(&keys, &item)) || !is_string(&item, 32)) {
            return false;
        }
    }
    return true;
}

static bool is_blob_hash(const hf_rlp_item *entry)
{
    return is_string(entry, 32) && entry->payload.ptr[0] == BLOB_HASH_VERSION;
}

/* [chain_id, address, nonce, y_parity, r, s], signed by whom it concerns */
static bool is_authorization(const hf_rlp_item *entry)
{
    static const uint8_t sizes[] = {32, 0, 8, 1, 32, 32}; /* 0: the address */
    uint8_t number[32];
    hf_rlp_reader parts = hf_rlp_reader_over(entry->payload);
    hf_rlp_item item;
    if (!entry->is_list) {
        return false;
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(sizes); i++) {
        if (hf_failed(hf_rlp_next(&parts, &item))) {
            return false;
        }
        if (sizes[i] == 0 ? !is_string(&item, HF_ADDRESS_BYTES)
                          : !read_number(&item, number, sizes[i])) {
            return false;
        }
    }
    return parts.left == 0;
}

static hf_status read_list(member which, const hf_rlp_item *item,
                           bool (*is_entry)(const hf_rlp_item *entry), hf_bytes *ret,
                           uint32_t *ret_count, hf_error *err)
{
    hf_rlp_reader reader = hf_rlp_reader_over(item->payload);
    uint32_t count = 0;
    if (!item->is_list) {
        return fail(which, err, "not a list");
    }
    while (reader.left > 0) {
        hf_rlp_item entry;
        if (hf_failed(hf_rlp_next(&reader, &entry)) || !is_entry(&entry)) {
            return hf_fail(err, HF_INVALID_INPUT, "%s[%u]: malformed", names[which], count);
        }
        count++;
    }
    *ret = item->payload;
    *ret_count = count;
    return hf_ok();
}

static hf_status read_wide(member which, const hf_rlp_item *item, hf_u256 *ret, hf_error *err)
{
    return read_number(item, ret->bytes, sizeof ret->bytes)
               ? hf_ok()
               : fail(which, err, "not a number of at most 256 bits in its shortest form");
}

static hf_status read_narrow(member which, const hf_rlp_item *item, uint64_t *ret, hf_error *err)
{
    return read_u64(item, ret)
               ? hf_ok()
               : fail(which, err, "not a number of at most 64 bits in its shortest form");
}

static hf_status read_member(member which, const hf_rlp_item *item, hf_transaction *tx,
                             hf_error *err)
{
    uint32_t entries;
    switch (which) {
    case CHAIN_ID:
        return read_narrow(which, item, &tx->chain_id, err);
    case NONCE:
        return read_narrow(which, item, &tx->nonce, err);
    case GAS:
        return read_narrow(which, item, &tx->gas_limit, err);
    case GAS_PRICE:
        return read_wide(which, item, &tx->gas_price, err);
    case TIP:
        return read_wide(which, item, &tx->max_priority_fee, err);
    case FEE:
        return read_wide(which, item, &tx->max_fee, err);
    case VALUE:
        return read_wide(which, item, &tx->value, err);
    case BLOB_FEE:
        return read_wide(which, item, &tx->max_blob_fee, err);
    case TO:
        return read_to(item, tx, err);
    case DATA:
        tx->data = item->payload;
        return item->is_list ? fail(which, err, "a list") : hf_ok();
    case ACCESS_LIST:
        return read_list(which, item, is_access, &tx->access_list, &entries, err);
    case BLOB_HASHES:
        return read_list(which, item, is_blob_hash, &tx->blob_hashes, &tx->blob_count, err);
    case AUTHORIZATIONS:
        return read_list(which, item, is_authorization, &tx->authorizations,
                         &tx->authorization_count, err);
    case ZERO:
        return is_string(item, 0) ? hf_ok() : fail(which, err, "not empty: signed already?");
    case END:
    case MEMBER_COUNT:
        break;
    }
    return hf_fail(err, HF_INVALID_INPUT, "transaction: no such member");
}

/* ---- reading: the whole -----------------------------------------------------------------------
 */

/* What the members say together, as consensus has it. */
static hf_status check(const hf_transaction *tx, hf_error *err)
{
    bool has_tip = tx->type >= HF_TX_DYNAMIC_FEE;
    bool must_call = tx->type == HF_TX_BLOB || tx->type == HF_TX_SET_CODE;
    if (tx->chain_id == 0) {
        return fail(CHAIN_ID, err, "0: without a chain it could be sent to any (EIP-155)");
    }
    if (tx->chain_id > HF_TX_CHAIN_ID_MAX) {
        return fail(CHAIN_ID, err, "too large (EIP-2294)");
    }
    if (tx->nonce == UINT64_MAX) {
        return fail(NONCE, err, "the highest there is can never be used (EIP-2681)");
    }
    if (has_tip && hf_u256_compare(&tx->max_priority_fee, &tx->max_fee) > 0) {
        return fail(TIP, err, "above maxFeePerGas");
    }
    if (must_call && !tx->has_to) {
        return fail(TO, err, "missing: a transaction of this type creates no contract");
    }
    if (tx->type == HF_TX_BLOB && tx->blob_count == 0) {
        return fail(BLOB_HASHES, err, "empty");
    }
    if (tx->type == HF_TX_SET_CODE && tx->authorization_count == 0) {
        return fail(AUTHORIZATIONS, err, "empty");
    }
    return hf_ok();
}

/* The items of the one list behind the type. */
static hf_status open_list(hf_bytes in, hf_tx_type *ret_type, hf_rlp_reader *ret_items,
                           hf_error *err)
{
    hf_rlp_reader reader = hf_rlp_reader_over(in);
    hf_rlp_item list;
    *ret_type = HF_TX_LEGACY;
    if (in.len > 0 && in.ptr[0] >= 1 && in.ptr[0] <= TYPE_BYTE_MAX) {
        *ret_type = (hf_tx_type)in.ptr[0];
        reader = hf_rlp_reader_over(hf_bytes_from(in.ptr + 1, in.len - 1));
    }
    if (hf_failed(hf_rlp_next(&reader, &list)) || !list.is_list || reader.left > 0) {
        return hf_fail(err, HF_INVALID_INPUT, "transaction: not one list of RLP");
    }
    *ret_items = hf_rlp_reader_over(list.payload);
    return hf_ok();
}

hf_status hf_tx_decode(hf_bytes in, hf_transaction *ret_tx, hf_error *err)
{
    hf_rlp_reader items = {NULL, 0};
    hf_transaction tx = {.type = HF_TX_LEGACY};
    hf_status st = open_list(in, &tx.type, &items, err);
    for (const uint8_t *which = shapes[tx.type]; !hf_failed(st) && *which != END; which++) {
        hf_rlp_item item;
        if (hf_failed(hf_rlp_next(&items, &item))) {
            return fail((member)*which, err, items.left == 0 ? "missing" : "malformed RLP");
        }
        st = read_member((member)*which, &item, &tx, err);
    }
    if (!hf_failed(st) && items.left > 0) {
        st = hf_fail(err, HF_INVALID_INPUT, "transaction: more members than its type has");
    }
    if (!hf_failed(st)) {
        st = check(&tx, err);
    }
    if (!hf_failed(st)) {
        *ret_tx = tx;
    }
    return st;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static void put_wide(hf_rlp_writer *writer, const hf_u256 *value)
{
    hf_rlp_put_number(writer, value->bytes, sizeof value->bytes);
}

static void put_items(hf_rlp_writer *writer, hf_bytes items)
{
    hf_rlp_put_list(writer, items.len);
    hf_rlp_put_raw(writer, items);
}

static void put_member(hf_rlp_writer *writer, member which, const hf_transaction *tx)
{
    switch (which) {
    case CHAIN_ID:
        hf_rlp_put_u64(writer, tx->chain_id);
        return;
    case NONCE:
        hf_rlp_put_u64(writer, tx->nonce);
        return;
    case GAS:
        hf_rlp_put_u64(writer, tx->gas_limit);
        return;
    case GAS_PRICE:
        put_wide(writer, &tx->gas_price);
        return;
    case TIP:
        put_wide(writer, &tx->max_priority_fee);
        return;
    case FEE:
        put_wide(writer, &tx->max_fee);
        return;
    case VALUE:
        put_wide(writer, &tx->value);
        return;
    case BLOB_FEE:
        put_wide(writer, &tx->max_blob_fee);
        return;
    case TO:
        hf_rlp_put_string(writer, hf_bytes_from(tx->to, tx->has_to ? HF_ADDRESS_BYTES : 0));
        return;
    case DATA:
        hf_rlp_put_string(writer, tx->data);
        return;
    case ACCESS_LIST:
        put_items(writer, tx->access_list);
        return;
    case BLOB_HASHES:
        put_items(writer, tx->blob_hashes);
        return;
    case AUTHORIZATIONS:
        put_items(writer, tx->authorizations);
        return;
    case ZERO:
        hf_rlp_put_u64(writer, 0);
        return;
    case END:
    case MEMBER_COUNT:
        return;
    }
}

static void put_members(hf_rlp_writer *writer, const hf_transaction *tx)
{
    for (const uint8_t *which = shapes[tx->type]; *which != END; which++) {
        put_member(writer, (member)*which, tx);
    }
}

static void put_type(hf_rlp_writer *writer, hf_tx_type type)
{
    const uint8_t byte = (uint8_t)type;
    if (type != HF_TX_LEGACY) {
        hf_rlp_put_raw(writer, hf_bytes_from(&byte, 1));
    }
}

void hf_tx_encode(const hf_transaction *tx, hf_rlp_writer *writer)
{
    hf_rlp_writer counter = {NULL, 0, 0};
    HF_ASSERT((unsigned)tx->type < HF_TX_TYPE_COUNT);
    put_members(&counter, tx);
    put_type(writer, tx->type);
    hf_rlp_put_list(writer, counter.used);
    put_members(writer, tx);
}

static void put_signature(hf_rlp_writer *writer, const hf_transaction *tx,
                          const uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES])
{
    uint64_t parity = (uint64_t)signature[64] - V_BASE;
    hf_rlp_put_u64(writer,
                   tx->type == HF_TX_LEGACY ? EIP155_BASE + 2 * tx->chain_id + parity : parity);
    hf_rlp_put_number(writer, signature, 32);
    hf_rlp_put_number(writer, signature + 32, 32);
}

hf_status hf_tx_encode_signed(hf_bytes unsigned_tx,
                              const uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES],
                              hf_rlp_writer *writer)
{
    hf_transaction tx;
    hf_tx_type type;
    hf_rlp_reader items = {NULL, 0};
    hf_rlp_writer counter = {NULL, 0, 0};
    if (hf_failed(hf_tx_decode(unsigned_tx, &tx, NULL)) ||
        hf_failed(open_list(unsigned_tx, &type, &items, NULL)) ||
        (signature[64] != V_BASE && signature[64] != V_BASE + 1)) {
        return (hf_status){HF_INVALID_INPUT};
    }
    hf_bytes members = hf_bytes_from(items.at, items.left);
    if (type == HF_TX_LEGACY) { /* chain id and two empty strings give way */
        hf_rlp_put_u64(&counter, tx.chain_id);
        members.len -= counter.used + 2;
        counter.used = 0;
    }
    put_signature(&counter, &tx, signature);
    put_type(writer, type);
    hf_rlp_put_list(writer, members.len + counter.used);
    hf_rlp_put_raw(writer, members);
    put_signature(writer, &tx, signature);
    return hf_ok();
}
