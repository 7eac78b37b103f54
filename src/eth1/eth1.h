/*
 * eth1: what a secp256k1 key of Ethereum's execution layer signs, as pure functions: RLP, unsigned
 * transactions (legacy with EIP-155, EIP-2930, EIP-1559, EIP-4844, EIP-7702), messages (EIP-191).
 * Typed data (EIP-712) is in eth1_typed.h.
 *
 * The front writes a transaction from its JSON; the keeper reads those bytes again, strictly, and
 * hashes exactly what it has read: what is judged is what is signed.
 */
#ifndef HF_ETH1_H
#define HF_ETH1_H

#include "base/base.h"
#include "crypto/crypto.h"

/* Bytes to be signed: a node takes no larger transaction into its pool (128 KiB). */
#define HF_ETH1_DATA_MAX 131072U

/* ---- what is signed ---------------------------------------------------------------------------
 */

typedef enum hf_eth1_kind {
    HF_ETH1_TRANSACTION = 0, /* Keccak-256 of an unsigned transaction */
    HF_ETH1_MESSAGE,         /* EIP-191, version 0x45: eth_sign, personal_sign */
    HF_ETH1_TYPED_DATA,      /* EIP-712: 0x19 0x01, domain separator, hash of the message */
    HF_ETH1_DATA,            /* Keccak-256 of bytes that are none of the above */
    HF_ETH1_KIND_COUNT
} hf_eth1_kind;

/* "ETH1_TRANSACTION" and so on: audit, log, metrics; NULL for no kind. */
const char *hf_eth1_kind_name(uint32_t kind);

/* May messages of 32 bytes be signed? They are mostly hashes, which do not say of what. */
typedef enum hf_eth1_hashes {
    HF_ETH1_HASHES_AUTO = 0, /* refused where duties are protected */
    HF_ETH1_HASHES_ALLOW,
    HF_ETH1_HASHES_REFUSE,
    HF_ETH1_HASHES_COUNT
} hf_eth1_hashes;

/* Of the configuration (eth1), for front and keeper. */
typedef struct hf_eth1_settings {
    uint64_t chain_id; /* of a transaction that says none; 0: there is none */
    uint8_t hashes;    /* hf_eth1_hashes: messages of 32 bytes, which may be an Aztec duty */
    uint8_t sign_data; /* 0 or 1: whether bytes that nobody explains are signed at all */
    uint8_t reserved[6];
} hf_eth1_settings;

/* ---- RLP --------------------------------------------------------------------------------------
 */

/* One item: a string of bytes, or a list, whose payload is read by another reader. */
typedef struct hf_rlp_item {
    bool is_list;
    hf_bytes payload; /* borrowed */
} hf_rlp_item;

/* Over items in a row. Strict: each length in its shortest form, nothing beyond the end. */
typedef struct hf_rlp_reader {
    const uint8_t *at;
    size_t left;
} hf_rlp_reader;

hf_rlp_reader hf_rlp_reader_over(hf_bytes items);
/* INVALID_INPUT, and nothing read, when there is no whole item in its one form. */
hf_status hf_rlp_next(hf_rlp_reader *reader, hf_rlp_item *ret_item) HF_MUST_CHECK;

/* Writes items into room of the caller's; without room it only counts. */
typedef struct hf_rlp_writer {
    uint8_t *out; /* NULL: counts */
    size_t room;
    size_t used; /* may go beyond room: then nothing is written any more */
} hf_rlp_writer;

void hf_rlp_put_string(hf_rlp_writer *writer, hf_bytes string);
/* What comes behind it is the list's payload, of this many bytes. */
void hf_rlp_put_list(hf_rlp_writer *writer, size_t payload_len);
/* Big endian without leading zeros; 0 is the empty string. */
void hf_rlp_put_u64(hf_rlp_writer *writer, uint64_t value);
void hf_rlp_put_number(hf_rlp_writer *writer, const uint8_t *big_endian, size_t len);
/* Items that are encoded already. */
void hf_rlp_put_raw(hf_rlp_writer *writer, hf_bytes items);

/* ---- transactions -----------------------------------------------------------------------------
 */

typedef enum hf_tx_type {
    HF_TX_LEGACY = 0,  /* EIP-155 */
    HF_TX_ACCESS_LIST, /* EIP-2930 */
    HF_TX_DYNAMIC_FEE, /* EIP-1559 */
    HF_TX_BLOB,        /* EIP-4844, without its blobs: they are no part of what is signed */
    HF_TX_SET_CODE,    /* EIP-7702 */
    HF_TX_TYPE_COUNT
} hf_tx_type;

/* Big endian. */
typedef struct hf_u256 {
    uint8_t bytes[32];
} hf_u256;

/* -1, 0, 1 */
int hf_u256_compare(const hf_u256 *a, const hf_u256 *b);

/* Views go into the bytes it was read from, or into those of who writes it. */
typedef struct hf_transaction {
    hf_tx_type type;
    bool has_to; /* otherwise it creates a contract */
    uint8_t to[HF_ADDRESS_BYTES];
    uint64_t chain_id;
    uint64_t nonce;
    uint64_t gas_limit;
    hf_u256 value;
    hf_u256 gas_price;        /* LEGACY, ACCESS_LIST */
    hf_u256 max_priority_fee; /* the others */
    hf_u256 max_fee;
    hf_u256 max_blob_fee; /* BLOB */
    hf_bytes data;
    hf_bytes access_list;    /* items of the list; all but LEGACY */
    hf_bytes blob_hashes;    /* items of the list; BLOB */
    hf_bytes authorizations; /* items of the list; SET_CODE */
    uint32_t blob_count;     /* set by decode */
    uint32_t authorization_count;
} hf_transaction;

/* Chain ids, as EIP-2294 bounds them. */
#define HF_TX_CHAIN_ID_MAX ((uint64_t)INT64_MAX - 36)

/*
 * Reads an unsigned transaction: what is hashed, all of it and nothing else. INVALID_INPUT names
 * the member as JSON-RPC does: "maxFeePerGas: ...". What no node would take into a block is refused
 * here too (a tip above the fee, no blobs, no authorizations, a nonce of 2^64-1).
 */
hf_status hf_tx_decode(hf_bytes in, hf_transaction *ret_tx, hf_error *err) HF_MUST_CHECK;
/* Writes what decode reads; checks nothing. */
void hf_tx_encode(const hf_transaction *tx, hf_rlp_writer *writer);
/* An unsigned transaction and its signature as one to be sent. INVALID_INPUT when the one does not
 * decode, or the other is none. */
hf_status hf_tx_encode_signed(hf_bytes unsigned_tx,
                              const uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES],
                              hf_rlp_writer *writer) HF_MUST_CHECK;

/* ---- messages and data ------------------------------------------------------------------------
 */

/* EIP-191, version 0x45. NOMEM. */
hf_status hf_eth1_hash_message(hf_bytes message, uint8_t ret_digest[HF_KECCAK_BYTES]) HF_MUST_CHECK;

/*
 * What are bytes whose Keccak-256 is to be signed? Somebody may call a transaction data, and would
 * have it signed without the policy of transactions. *ret_inner: of MESSAGE the message, of
 * TYPED_DATA the 64 bytes behind the prefix, else all of it. DENIED for what is signed in no way:
 * other versions of EIP-191, authorizations of EIP-7702, and what begins like a transaction and is
 * none that can be read.
 */
hf_status hf_eth1_classify(hf_bytes data, hf_eth1_kind *ret_kind, hf_bytes *ret_inner,
                           hf_error *err) HF_MUST_CHECK;

#include "eth1/eth1_typed.h"

#endif
