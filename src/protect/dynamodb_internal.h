/*
 * The parts of the DynamoDB store.
 *
 * One table, keys "pk" and "sk" (strings):
 *   meta        #                    the network, the high watermark
 *   mark        #                    how far the table has come; floors of everyone
 *   anchors     <log>                where an audit log ended
 *   records, record#<kind>, changes  dynamodb_records.c
 *   validators  <pubkey>             every validator that has a state, so that they can be listed
 *   v#<pubkey>  #                    the state of a validator: version, bounds, and a log
 *   v#<pubkey>  b#<slot>             a block on record
 *   v#<pubkey>  a#<target>#<source>  a vote on record
 *
 * A state is written under the condition that its version is the one that was read, and the records
 * that the write allows are in its log: one conditional write is the whole decision, durable and
 * alone. What the log holds becomes items of their own later ("flushed"), and
 * only then may leave it. So a history is the items together with the log, read in the order state,
 * then items.
 */
#ifndef HF_DYNAMODB_INTERNAL_H
#define HF_DYNAMODB_INTERNAL_H

#include <jansson.h>

#include "net/net.h"
#include "protect/protect_internal.h"
#include "protect/pubkey_index.h"

#define HF_DYNAMO_SCHEMA 1
#define HF_DYNAMO_PK_LEN (2 + 2 * HF_BLS_PUBKEY_BYTES + 1)
#define HF_DYNAMO_SK_LEN 48

/* A log this long is flushed with the next write; the state is then still one write unit (1 KB). */
#define HF_DYNAMO_FLUSH_AT 8
/* Flushed entries stay in the log while they are among so many last ones: retries find them. */
#define HF_DYNAMO_LOG_KEEP 4
/* New records of one validator in one write, and what may wait for a flush at most. */
#define HF_DYNAMO_ROUND_MAX 32
#define HF_DYNAMO_LOG_MAX 96

#define HF_DYNAMO_DEADLINE_MS 1000
/* Work that no signature waits for goes on through throttling this long without an answer. */
#define HF_DYNAMO_PATIENCE_NS (30 * HF_NS_PER_SECOND)

/* ---- a validator -------------------------------------------------------------------------- */

typedef struct hf_logged {
    int64_t version; /* of the state that brought it */
    hf_message message;
} hf_logged;

typedef struct hf_dynamo_state {
    int64_t version; /* 0: the validator has no state yet */
    int64_t flushed; /* log entries up to this version are items too */
    hf_bounds bounds;
    int64_t oldest_slot; /* of the records kept; HF_NONE */
    int64_t oldest_target;
    int64_t blocks; /* how many records */
    int64_t votes;
    bool irregular; /* an import brought votes that surround others */
    uint32_t log_count;
    uint32_t log_capacity;
    hf_logged *log;
} hf_dynamo_state;

/* All records of a validator; sorted by kind, slot or target, source once it is complete. */
typedef struct hf_records {
    hf_message *items;
    size_t count;
    size_t capacity;
} hf_records;

typedef struct hf_dynamo_validator {
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    char pk[HF_DYNAMO_PK_LEN];
    bool loaded; /* now is what the table held when it was last read or written */
    bool seen;   /* was loaded at least once: durable counts */
    hf_dynamo_state now;
    hf_bounds durable; /* what a state read later must still reach */
    uint32_t work;     /* index + 1 in the call under way, 0: none */
} hf_dynamo_validator;

typedef struct hf_dynamo {
    hf_store base;
    hf_dynamodb_config config;
    char url[600];
    hf_net *net;
    hf_aws *aws;
    bool ready;     /* the description of the table was read and is ours */
    bool meta_seen; /* ... once: a table without it is no new one */
    hf_watermark high;
    hf_store_mark mark; /* as last read; is_counted 0 before */
    hf_bounds floors;   /* of everyone */
    uint64_t owed[2];   /* by message kind: written, maybe, and not counted yet */
    int64_t records_version;
    hf_pubkey_index index;
    hf_dynamo_validator **validators; /* by number of the index */
    uint32_t capacity;
    hf_records staged;
    bool import_open;
    char prune_after[2 * HF_BLS_PUBKEY_BYTES + 1]; /* the last validator of the step before; "" */
} hf_dynamo;

/* ---- dynamodb_api.c: requests ------------------------------------------------------------- */

typedef enum hf_outcome {
    HF_OUTCOME_DONE = 0,
    HF_OUTCOME_CONDITION, /* the condition of the write does not hold */
    HF_OUTCOME_BUSY,      /* throttled, or a passing fault before anything was done: try again */
    HF_OUTCOME_UNKNOWN,   /* no answer: done or not */
    HF_OUTCOME_NO_TABLE,
    HF_OUTCOME_REFUSED /* err says why: trying again at once is in vain */
} hf_outcome;

typedef struct hf_call {
    const char *operation; /* "PutItem" */
    json_t *body;          /* owned; NULL: memory was short when it was made */
    hf_outcome outcome;
    json_t *answer; /* owned; when DONE */
    hf_error err;   /* when not DONE */
} hf_call;

uint64_t hf_dynamo_deadline(const hf_dynamo *store);
/* Sends all n at once, waits for all answers, at most until the deadline. */
void hf_dynamo_run(hf_dynamo *store, hf_call *calls, size_t n, uint64_t deadline_ns);
void hf_dynamo_calls_done(hf_call *calls, size_t n);
/* One request, tried again while the service is busy; UNAVAILABLE unless DONE. *ret_answer (which
 * may be NULL) is owned. An UNKNOWN outcome is tried again as well when again is set. */
hf_status hf_dynamo_one(hf_dynamo *store, const char *operation, json_t *take_body, bool again,
                        uint64_t deadline_ns, json_t **ret_answer, hf_error *err) HF_MUST_CHECK;
/* The status of a call that is not DONE. */
hf_status hf_dynamo_call_status(const hf_call *call, hf_error *err) HF_MUST_CHECK;
/* A pause that grows with the tries; false when the deadline is nearer than its end. */
bool hf_dynamo_pause(unsigned tries, uint64_t deadline_ns);
/* Carries out put and delete requests (taken), 25 a request, many at once. Without a deadline (0)
 * it goes on for as long as some of it gets done. */
hf_status hf_dynamo_write_all(hf_dynamo *store, json_t *take_requests, uint64_t deadline_ns,
                              hf_error *err) HF_MUST_CHECK;
/* The body of a BatchWriteItem over requests[first, first + count). */
json_t *hf_dynamo_batch_body(const hf_dynamo *store, const json_t *requests, size_t first,
                             size_t count);
#define HF_DYNAMO_BATCH_WRITE 25
#define HF_DYNAMO_BATCH_GET 100

/* ---- dynamodb_item.c: attributes ---------------------------------------------------------- */

json_t *hf_dynamo_s(const char *text);
json_t *hf_dynamo_n(int64_t number);
json_t *hf_dynamo_b(const void *bytes, size_t len);
json_t *hf_dynamo_key(const char *pk, const char *sk);
/* {"TableName": ..., "Key": ..., "ConsistentRead": true} */
json_t *hf_dynamo_get_body(const hf_dynamo *store, const char *pk, const char *sk);
/* A number that is absent is HF_NONE. CORRUPT for what is not a number in range. */
hf_status hf_dynamo_read_n(const json_t *item, const char *name, int64_t *ret_number,
                           hf_error *err) HF_MUST_CHECK;
const char *hf_dynamo_read_s(const json_t *item, const char *name); /* NULL when absent */
/* NOT_FOUND when absent; CORRUPT when longer than max. */
hf_status hf_dynamo_read_b(const json_t *item, const char *name, uint8_t *out, size_t max,
                           size_t *ret_len, hf_error *err) HF_MUST_CHECK;

json_t *hf_dynamo_record_item(const char *pk, const hf_message *record);
void hf_dynamo_record_key(const hf_message *record, char ret_sk[HF_DYNAMO_SK_LEN]);
/* pubkey is that of the partition. */
hf_status hf_dynamo_record_read(const json_t *item, const uint8_t *pubkey, hf_message *ret_record,
                                hf_error *err) HF_MUST_CHECK;
json_t *hf_dynamo_state_item(const char *pk, const hf_dynamo_state *state);
/* ret_state must be empty or initialised: its log is used again. */
hf_status hf_dynamo_state_read(const json_t *item, const uint8_t *pubkey,
                               hf_dynamo_state *ret_state, hf_error *err) HF_MUST_CHECK;
/* PutItem of a state that follows upon the version before. */
json_t *hf_dynamo_state_put(const hf_dynamo *store, const char *pk, const hf_dynamo_state *state,
                            int64_t version_before);

/* ---- dynamodb_state.c: validators --------------------------------------------------------- */

void hf_dynamo_state_init(hf_dynamo_state *state);
void hf_dynamo_state_done(hf_dynamo_state *state);
hf_status hf_dynamo_state_copy(hf_dynamo_state *to, const hf_dynamo_state *from) HF_MUST_CHECK;
/* Makes room for so many log entries; NOMEM, or LIMIT beyond HF_DYNAMO_LOG_MAX. */
hf_status hf_dynamo_state_reserve(hf_dynamo_state *state, uint32_t count) HF_MUST_CHECK;
/* Adds a record that a new version allows: bounds, counts, log. LIMIT when the log is full. */
hf_status hf_dynamo_state_add(hf_dynamo_state *state, const hf_message *message,
                              int64_t version) HF_MUST_CHECK;
/* Drops what is flushed and not among the last few. */
void hf_dynamo_state_trim(hf_dynamo_state *state);
size_t hf_dynamo_state_pending(const hf_dynamo_state *state);

/* Finds or adds; NULL when memory is short. */
hf_dynamo_validator *hf_dynamo_validator_get(hf_dynamo *store, const uint8_t *pubkey);
void hf_dynamo_validators_done(hf_dynamo *store);
/* Reads the states of the validators that are not loaded, and the descriptions of the table. */
hf_status hf_dynamo_load(hf_dynamo *store, hf_dynamo_validator *const *validators, size_t n,
                         uint64_t deadline_ns, hf_error *err) HF_MUST_CHECK;
/* Reads the descriptions alone: whose the table is, how far it has come, the generation. */
hf_status hf_dynamo_look(hf_dynamo *store, uint64_t deadline_ns, hf_error *err) HF_MUST_CHECK;
/* What a state read from the table says now; CORRUPT when it lost what was there. NULL: absent. */
hf_status hf_dynamo_take_state(hf_dynamo_validator *validator, const json_t *item,
                               hf_error *err) HF_MUST_CHECK;
/* The validator is in the list of all, before its first state is written. */
json_t *hf_dynamo_listing_put(const hf_dynamo_validator *validator);
/* One page of the list, after a pubkey ("": from the start): the pubkeys in hex, newly made. */
hf_status hf_dynamo_list(hf_dynamo *store, const char *after, size_t limit, json_t **ret_pubkeys,
                         hf_error *err) HF_MUST_CHECK;
hf_status hf_dynamo_pubkey_parse(const json_t *text, uint8_t *ret_pubkey,
                                 hf_error *err) HF_MUST_CHECK;

/* ---- dynamodb_history.c: all records of one validator ------------------------------------- */

hf_status hf_records_add(hf_records *records, const hf_message *record) HF_MUST_CHECK;
void hf_records_done(hf_records *records);
void hf_records_sort(hf_records *records);
/* By kind, slot or target, source. */
int hf_records_compare(const hf_message *a, const hf_message *b);

/* A query of a validator's items under way, page by page. */
typedef struct hf_dynamo_query {
    const hf_dynamo_validator *validator;
    json_t *start; /* where the next page begins; NULL at first */
    bool ended;
    hf_records records;
} hf_dynamo_query;

/* Reads all pages of n queries side by side; then adds the log of each validator and sorts. */
hf_status hf_dynamo_read_histories(hf_dynamo *store, hf_dynamo_query *queries, size_t n,
                                   uint64_t deadline_ns, hf_error *err) HF_MUST_CHECK;
void hf_dynamo_query_done(hf_dynamo_query *query);

/* The look-ups of rules.c. */
typedef struct hf_dynamo_lookup {
    const hf_dynamo_state *state;
    const hf_records *history; /* NULL: not read */
    bool wants_history;        /* out: the look-up failed for the lack of it */
} hf_dynamo_lookup;

extern const hf_history_ops hf_dynamo_history;

/* ---- the description of the table (dynamodb_meta.c) --------------------------------------- */

/* Makes the table (when asked) and its description; CONFLICT when it is another network's. */
hf_status hf_dynamo_prepare(hf_dynamo *store, uint64_t deadline_ns, hf_error *err) HF_MUST_CHECK;
json_t *hf_dynamo_meta_get(const hf_dynamo *store);
/* Takes in the description that an answer holds. */
hf_status hf_dynamo_take_meta(hf_dynamo *store, const json_t *item, hf_error *err) HF_MUST_CHECK;
hf_status hf_dynamo_set_high(hf_store *self, const hf_watermark *high, hf_error *err);
hf_status hf_dynamo_health(hf_store *self, hf_error *err);
hf_status hf_dynamo_glance(hf_store *self, hf_error *err);

/* ---- the operations ----------------------------------------------------------------------- */

hf_status hf_dynamo_decide(hf_store *self, const hf_message *messages, size_t n,
                           hf_verdict *ret_verdicts, hf_error *err);
hf_status hf_dynamo_import_begin(hf_store *self, hf_error *err);
hf_status hf_dynamo_import_add(hf_store *self, const hf_message *messages, size_t n, hf_error *err);
hf_status hf_dynamo_import_commit(hf_store *self, hf_import_report *ret_report, hf_error *err);
void hf_dynamo_import_abort(hf_store *self);
hf_status hf_dynamo_prune(hf_store *self, uint64_t keep_epochs, uint64_t slots_per_epoch,
                          hf_prune_report *ret_report, hf_error *err);

/*
 * Joins staged records (sorted, of one validator, no two alike) with a history. changed receives
 * the records to write. The report counts them and what contradicts.
 */
typedef struct hf_merge {
    const hf_records *history;
    const hf_message *staged;
    const bool *disputed; /* beside staged: given twice with different roots */
    size_t staged_count;
    hf_records changed;
    uint64_t conflicts;
    bool irregular;
} hf_merge;

hf_status hf_dynamo_merge(hf_merge *merge, hf_dynamo_state *state) HF_MUST_CHECK;
void hf_merge_done(hf_merge *merge);

/* Opens without a word to the table. */
hf_status hf_dynamo_new(const hf_dynamodb_config *config, hf_dynamo **ret_store,
                        hf_error *err) HF_MUST_CHECK;
void hf_dynamo_free(hf_dynamo *store);

/* ---- dynamodb_mark.c: how far the store has come ------------------------------------------- */

/* Makes the item when the table has none. */
hf_status hf_dynamo_prepare_mark(hf_dynamo *store, uint64_t deadline_ns,
                                 hf_error *err) HF_MUST_CHECK;
/* Takes in the item of an answer; CORRUPT when it says less than before. NULL: absent. */
hf_status hf_dynamo_take_mark(hf_dynamo *store, const json_t *item, hf_error *err) HF_MUST_CHECK;
/* An UpdateItem that counts what is owed, and answers with the item. */
json_t *hf_dynamo_count_body(const hf_dynamo *store);
/* One change more that is no vote and no block. */
hf_status hf_dynamo_count_change(hf_dynamo *store, hf_error *err) HF_MUST_CHECK;
/* The floors of everyone count for each. */
void hf_dynamo_raise_to_base(const hf_dynamo *store, hf_bounds *bounds);
bool hf_dynamo_is_below_base(const hf_dynamo *store, const hf_message *message, bool is_repeat);
hf_status hf_dynamo_mark(hf_store *self, hf_store_mark *ret_mark, hf_error *err) HF_MUST_CHECK;
hf_status hf_dynamo_take_over(hf_store *self, const hf_watermark *low,
                              const uint8_t lineage[HF_LINEAGE_BYTES], hf_error *err) HF_MUST_CHECK;
hf_status hf_dynamo_anchor_get(hf_store *self, const uint8_t log_id[HF_ANCHOR_ID_BYTES],
                               hf_store_anchor *ret_anchor, hf_error *err) HF_MUST_CHECK;
hf_status hf_dynamo_anchor_set(hf_store *self, const hf_store_anchor *anchor,
                               hf_error *err) HF_MUST_CHECK;

/* ---- dynamodb_records.c, dynamodb_journal.c: records (records.h) --------------------------- */

#define HF_DYNAMO_RECORDS "records"
/* What a change is called until it is made: when, and a number by chance. */
#define HF_DYNAMO_CHANGE_NAME 40

/* The item that every change goes through: even versions are at rest, odd ones have a change that
 * counts already and is to be carried out. */
typedef struct hf_dynamo_manifest {
    int64_t version; /* 0: there is none yet */
    int64_t count;   /* items of the change */
    char name[HF_DYNAMO_CHANGE_NAME];
} hf_dynamo_manifest;

hf_status hf_dynamo_manifest_read(const json_t *item, hf_dynamo_manifest *ret_manifest,
                                  hf_error *err) HF_MUST_CHECK;
/* Takes in what the item says of the generation; NULL: absent. */
hf_status hf_dynamo_take_records(hf_dynamo *store, const json_t *item, hf_error *err) HF_MUST_CHECK;
json_t *hf_dynamo_records_get(const hf_dynamo *store);
/* All items of a query, page by page, newly made. */
hf_status hf_dynamo_query_all(hf_dynamo *store, const char *pk, const char *prefix,
                              uint64_t deadline_ns, json_t **ret_items,
                              hf_error *err) HF_MUST_CHECK;
/* The manifest as it is at rest: a change that somebody left is carried out first. */
hf_status hf_dynamo_settle_records(hf_dynamo *store, uint64_t deadline_ns,
                                   hf_dynamo_manifest *ret_manifest, hf_error *err) HF_MUST_CHECK;
/* Makes the change count, and carries it out. CONFLICT: the manifest is not at this version. */
hf_status hf_dynamo_commit_change(hf_dynamo *store, const hf_dynamo_manifest *before,
                                  const hf_record_change *changes, size_t n, uint64_t deadline_ns,
                                  hf_error *err) HF_MUST_CHECK;
json_t *hf_dynamo_data(const uint8_t *data, size_t len);

hf_status hf_dynamo_records(hf_store *self, hf_record_kind kind, hf_record_visitor visitor,
                            void *context, uint64_t *ret_generation, hf_error *err) HF_MUST_CHECK;
hf_status hf_dynamo_change_records(hf_store *self, const hf_record_change *changes, size_t n,
                                   hf_error *err) HF_MUST_CHECK;
uint64_t hf_dynamo_generation(const hf_store *self);

#endif
