/*
 * Limits on what keys of the execution layer sign: transactions, messages, typed data. The members
 * of a limit (limits.h) that speak of them, judged like the others. Included by policy.h.
 *
 * What a limit says of transactions holds for typed data as far as that names the same things: its
 * domain's chain and contract. Hashes that nobody explains could be anything: a limit that says
 * anything of the following refuses them.
 */
#ifndef HF_POLICY_TRANSACTIONS_H
#define HF_POLICY_TRANSACTIONS_H

#include "eth1/eth1.h"

#define HF_LIMIT_CHAINS_MAX 32
#define HF_LIMIT_TARGETS_MAX 64
#define HF_LIMIT_METHODS_MAX 64

typedef struct hf_limit_eth1 {
    uint64_t chains[HF_LIMIT_CHAINS_MAX];
    size_t chain_count; /* 0: any */
    uint8_t targets[HF_LIMIT_TARGETS_MAX][HF_ADDRESS_BYTES];
    size_t target_count; /* 0: any */
    uint8_t methods[HF_LIMIT_METHODS_MAX][4];
    size_t method_count;
    bool has_methods; /* what carries data has to begin with one of them */
    bool may_create;  /* contracts, though targets are named */
    bool refuses_creation;
    bool refuses_messages; /* and data that nobody explains */
    bool refuses_typed_data;
    bool bounds_value;
    bool bounds_day;
    bool bounds_fee;
    hf_u256 value_max;
    hf_u256 value_per_day;
    hf_u256 fee_max;
    hf_policy_rate rates[HF_ETH1_KIND_COUNT]; /* for each key */
} hf_limit_eth1;

/* ---- amounts --------------------------------------------------------------------------------- */

#define HF_AMOUNT_TEXT_LEN 80
/* "1.5 ether", "30 gwei", "7 wei" or "7": INVALID_INPUT with a sentence otherwise. */
hf_status hf_amount_parse(const char *text, hf_u256 *ret_wei, hf_error *err) HF_MUST_CHECK;
/* In wei, decimal. */
void hf_amount_format(const hf_u256 *wei, char ret_text[HF_AMOUNT_TEXT_LEN]);
/* The highest number instead of one beyond. */
void hf_amount_add(hf_u256 *sum, const hf_u256 *more);
void hf_amount_multiply(hf_u256 *product, uint64_t factor);

/* ---- what was spent within a day --------------------------------------------------------------
 */

/*
 * By key and hour: what was signed counts for 24 hours at least and 25 at the most. Time never runs
 * backwards here: a clock that was set back goes on in the hour that it had. Memory is bounded by
 * the number of keys. One thread at a time.
 */
typedef struct hf_spending hf_spending;

#define HF_SPENDING_MS_PER_HOUR UINT64_C(3600000)

hf_spending *hf_spending_new(size_t keys_max); /* NULL when memory is short */
void hf_spending_free(hf_spending *spending);  /* NULL is fine */
/* The hour that something signed now belongs to. */
uint64_t hf_spending_hour(const hf_spending *spending, uint64_t now_unix_ms);
void hf_spending_sum(const hf_spending *spending, const uint8_t address[HF_ADDRESS_BYTES],
                     uint64_t hour, hf_u256 *ret_wei);
bool hf_spending_has_room(const hf_spending *spending, const uint8_t address[HF_ADDRESS_BYTES],
                          uint64_t hour);
/* LIMIT, NOMEM: it is not counted. What is older than a day of the latest hour is not kept. */
hf_status hf_spending_add(hf_spending *spending, const uint8_t address[HF_ADDRESS_BYTES],
                          uint64_t hour, const hf_u256 *wei) HF_MUST_CHECK;

/* As it is kept in a file: records one after the other, each of one amount. */
#define HF_SPENDING_RECORD_BYTES 64
void hf_spending_encode(const uint8_t address[HF_ADDRESS_BYTES], uint64_t hour, const hf_u256 *wei,
                        uint8_t ret_record[HF_SPENDING_RECORD_BYTES]);
/*
 * Adds all records of a file. What ends in the middle, or whose last record is not whole, lost what
 * was never signed; *ret_len: as much as is good. CORRUPT: something before is not a record.
 */
hf_status hf_spending_read(hf_spending *spending, hf_bytes file, size_t *ret_len,
                           hf_error *err) HF_MUST_CHECK;
/* The records that say the same in the fewest bytes. */
hf_status hf_spending_write(const hf_spending *spending, hf_buf *out) HF_MUST_CHECK;

/* ---- judging --------------------------------------------------------------------------------- */

typedef struct hf_eth1_question {
    uint8_t address[HF_ADDRESS_BYTES];
    hf_eth1_kind kind;
    bool is_hash;             /* of something that nobody explains: not even that it is a kind */
    const hf_transaction *tx; /* TRANSACTION */
    const hf_typed_message *typed; /* TYPED_DATA */
    const hf_spending *spending;   /* NULL: it cannot be kept, and a bound of a day refuses */
} hf_eth1_question;

#endif
