/* Messages (EIP-191), and bytes that somebody calls data. */
#include "eth1/eth1.h"

#include <stdlib.h>

/* EIP-191: no transaction begins with it. */
#define EIP191 0x19
#define VERSION_STRUCTURED 0x01
/* EIP-7702: 0x05 and a list is the permission to run code in the signer's name. */
#define MAGIC_SET_CODE 0x05
/* EIP-2718: first bytes of transactions with a type. */
#define TYPES_END 0x80
/* Nonce, price, gas, to, value, data. */
#define LEGACY_ITEMS_LEAST 6
#define LEGACY_TO_PLACE 3
/* Of EIP-2930, the fewest of the types known here. */
#define TYPED_ITEMS_LEAST 8
/* Where a length takes one byte, chance gives it too often: these need an address in them. */
#define SHORT_BYTES 57

static const char message_prefix[] = "\x19"
                                     "Ethereum Signed Message:\n";
#define PREFIX_LEN (sizeof message_prefix - 1)
/* Digits of a length. */
#define LENGTH_DIGITS_MAX 10

const char *hf_eth1_kind_name(uint32_t kind)
{
    static const char *const names[HF_ETH1_KIND_COUNT] = {
        [HF_ETH1_TRANSACTION] = "ETH1_TRANSACTION",
        [HF_ETH1_MESSAGE] = "ETH1_MESSAGE",
        [HF_ETH1_TYPED_DATA] = "ETH1_TYPED_DATA",
        [HF_ETH1_DATA] = "ETH1_DATA",
    };
    return kind < HF_ETH1_KIND_COUNT ? names[kind] : NULL;
}

/* Most messages are a hash: those need no memory of their own. */
#define SHORT_MESSAGE 256

hf_status hf_eth1_hash_message(hf_bytes message, uint8_t ret_digest[HF_KECCAK_BYTES])
{
    uint8_t small[PREFIX_LEN + LENGTH_DIGITS_MAX + SHORT_MESSAGE];
    char length[LENGTH_DIGITS_MAX + 1];
    int digits = snprintf(length, sizeof length, "%u", (unsigned)message.len);
    HF_ASSERT(message.len <= UINT32_MAX && digits > 0);
    size_t head = PREFIX_LEN + (size_t)digits;
    uint8_t *all = message.len <= SHORT_MESSAGE ? small : malloc(head + message.len);
    if (all == NULL) {
        return (hf_status){HF_NOMEM};
    }
    memcpy(all, message_prefix, PREFIX_LEN);
    memcpy(all + PREFIX_LEN, length, (size_t)digits);
    if (message.len > 0) {
        memcpy(all + head, message.ptr, message.len);
    }
    hf_keccak256(all, head + message.len, ret_digest);
    if (all != small) {
        free(all);
    }
    return hf_ok();
}

/* ---- data -------------------------------------------------------------------------------------
 */

/* Behind the prefix: the message's length in decimal, and that many bytes to the end. */
static bool is_message(hf_bytes data, hf_bytes *ret_message)
{
    if (data.len < PREFIX_LEN || !hf_bytes_equal(data.ptr, message_prefix, PREFIX_LEN)) {
        return false;
    }
    /* Where the digits end is not said: each possible end is tried. */
    for (size_t digits = 1; digits <= LENGTH_DIGITS_MAX && PREFIX_LEN + digits <= data.len;
         digits++) {
        uint64_t len = 0;
        const char *text = (const char *)data.ptr + PREFIX_LEN;
        if (hf_failed(hf_num_parse_u64(text, digits, &len))) {
            return false;
        }
        if (len == data.len - PREFIX_LEN - digits) {
            *ret_message = hf_bytes_from(data.ptr + PREFIX_LEN + digits, (size_t)len);
            return true;
        }
    }
    return false;
}

static hf_status classify_eip191(hf_bytes data, hf_eth1_kind *ret_kind, hf_bytes *ret_inner,
                                 hf_error *err)
{
    if (is_message(data, ret_inner)) {
        *ret_kind = HF_ETH1_MESSAGE;
        return hf_ok();
    }
    if (data.len == 2 + 2 * HF_KECCAK_BYTES && data.ptr[1] == VERSION_STRUCTURED) {
        *ret_kind = HF_ETH1_TYPED_DATA;
        *ret_inner = hf_bytes_from(data.ptr + 2, data.len - 2);
        return hf_ok();
    }
    return hf_fail(err, HF_DENIED,
                   "data: begins as EIP-191 (0x19) and is of no version signed here");
}

/* What one whole list has in it; count 0: it is none. */
typedef struct shape {
    size_t count;
    size_t addresses; /* items of 20 bytes */
    bool has_to;      /* the item where legacy transactions have it may be a recipient, or none */
} shape;

static shape shape_of(hf_bytes data)
{
    static const shape none = {0, 0, false};
    hf_rlp_reader reader = hf_rlp_reader_over(data);
    hf_rlp_item item;
    shape found = none;
    if (hf_failed(hf_rlp_next(&reader, &item)) || !item.is_list || reader.left > 0) {
        return none;
    }
    reader = hf_rlp_reader_over(item.payload);
    while (reader.left > 0) {
        if (hf_failed(hf_rlp_next(&reader, &item))) {
            return none;
        }
        bool is_address = !item.is_list && item.payload.len == HF_ADDRESS_BYTES;
        found.addresses += is_address;
        if (found.count++ == LEGACY_TO_PLACE) {
            found.has_to = is_address || (!item.is_list && item.payload.len == 0);
        }
    }
    return found;
}

static shape shape_behind_type(hf_bytes data)
{
    return data.len > 1 && data.ptr[0] < TYPES_END
               ? shape_of(hf_bytes_from(data.ptr + 1, data.len - 1))
               : (shape){0, 0, false};
}

/*
 * Would somebody else read it as a transaction, of a type that is not known here or in a form that
 * is not accepted here? Hashes and other short bytes have next to no chance to look so.
 */
static bool looks_like_transaction(hf_bytes data)
{
    shape legacy = shape_of(data);
    shape typed = shape_behind_type(data);
    bool is_known_type = data.len > 0 && data.ptr[0] > 0 && data.ptr[0] < HF_TX_TYPE_COUNT;
    if (legacy.count >= LEGACY_ITEMS_LEAST && legacy.has_to) {
        return true;
    }
    return typed.count >= (is_known_type ? TYPED_ITEMS_LEAST : LEGACY_ITEMS_LEAST) &&
           (is_known_type || typed.addresses > 0 || data.len > SHORT_BYTES);
}

static bool looks_like_authorization(hf_bytes data)
{
    shape typed = shape_behind_type(data);
    return data.len > 0 && data.ptr[0] == MAGIC_SET_CODE && typed.count == 3 &&
           typed.addresses == 1;
}

hf_status hf_eth1_classify(hf_bytes data, hf_eth1_kind *ret_kind, hf_bytes *ret_inner,
                           hf_error *err)
{
    hf_transaction tx;
    hf_error why = {HF_OK, ""};
    if (data.len > 0 && data.ptr[0] == EIP191) {
        return classify_eip191(data, ret_kind, ret_inner, err);
    }
    if (!hf_failed(hf_tx_decode(data, &tx, &why))) {
        *ret_kind = HF_ETH1_TRANSACTION;
    } else if (looks_like_authorization(data)) {
        return hf_fail(err, HF_DENIED, "data: authorizations of EIP-7702 are not signed here");
    } else if (looks_like_transaction(data)) {
        return hf_fail(err, HF_DENIED, "data: looks like a transaction that cannot be judged (%s)",
                       why.msg);
    } else {
        *ret_kind = HF_ETH1_DATA;
    }
    *ret_inner = data;
    return hf_ok();
}
