/*
 * The parts of the PostgreSQL store.
 *
 * The database decides: one statement compares a batch of messages with the history and records
 * the allowed ones, under Web3Signer's advisory locks, so that what is kept here is only the ids of
 * validators, and the ends of what was durable. A batch is one transaction in one pipeline, hence
 * one round trip. A connection that failed in any way is thrown away; the next one checks anew
 * whose database it is.
 */
#ifndef HF_POSTGRES_INTERNAL_H
#define HF_POSTGRES_INTERNAL_H

#include <libpq-fe.h>

#include "protect/protect_internal.h"
#include "protect/pubkey_index.h"

#define HF_PG_DEADLINE_MS 1000
/* Imports and repairs touch every record: an operator waits for them, no signature does. */
#define HF_PG_ADMIN_DEADLINE_MS 300000
#define HF_PG_PARAMS_MAX 9
#define HF_PG_PARAM_BYTES ((size_t)64 << 20)

/* ---- postgres_link.c: a connection, and round trips over it ------------------------------- */

typedef struct hf_pg_link {
    PGconn *conn;       /* NULL: not connected */
    PGresult **results; /* of the last trip, one a statement */
    size_t count;
    size_t capacity;
    size_t sent;
    uint64_t deadline_ns; /* of the call under way, monotonic */
    size_t host;          /* of several in the URL: the one that answered last */
    uint64_t trips;
    uint64_t connection; /* counts them: another number, another connection */
    size_t in_air;       /* launched and not landed */
    bool has_landed;     /* the oldest of them has: its results are complete */
    hf_error fault;      /* or this is why it never will */
    bool lock_held;      /* the last failure: a lock was not free in time */
    bool lags;           /* a standby follows that commits do not wait for */
    bool may_retry;      /* the last failure says nothing about the next attempt */
    bool warned;         /* during the last trip; a commit that a standby may not have says it so */
} hf_pg_link;

/* One statement's parameters, in binary. */
typedef struct hf_pg_params {
    hf_bytes items[HF_PG_PARAMS_MAX];
    int count;
} hf_pg_params;

void hf_pg_disconnect(hf_pg_link *link);
/* Milliseconds until the deadline, rounded up; 0 when it is over. */
int hf_pg_remaining_ms(const hf_pg_link *link);
/* False when the deadline came first. */
bool hf_pg_wait(const hf_pg_link *link, short events);
/* What libpq says of the connection; and that nothing was said in time. */
hf_status hf_pg_fail_lost(hf_pg_link *link, hf_error *err) HF_MUST_CHECK;
hf_status hf_pg_fail_late(hf_pg_link *link, const char *what, hf_error *err) HF_MUST_CHECK;
/* The first line of what libpq or the server says, escaped. */
void hf_pg_first_line(char *out, size_t out_len, const char *text);

/* Queues a statement; results are binary. text is parsed anew, name was prepared before. */
hf_status hf_pg_send_text(hf_pg_link *link, const char *text, const hf_pg_params *params,
                          hf_error *err) HF_MUST_CHECK;
hf_status hf_pg_send(hf_pg_link *link, const char *name, const hf_pg_params *params,
                     hf_error *err) HF_MUST_CHECK;
hf_status hf_pg_send_prepare(hf_pg_link *link, const char *name, const char *text,
                             hf_error *err) HF_MUST_CHECK;
/*
 * Sends all that is queued and waits for every answer: one round trip. Statements that are not
 * between BEGIN and COMMIT are one transaction too. On failure of any: disconnected.
 */
hf_status hf_pg_trip(hf_pg_link *link, hf_error *err) HF_MUST_CHECK;
/*
 * The two halves of a trip, so that several can be in the air at once: the server answers them in
 * their order. What fails takes all that are in the air with it: disconnected.
 */
hf_status hf_pg_launch(hf_pg_link *link, size_t *ret_statements, hf_error *err) HF_MUST_CHECK;
hf_status hf_pg_land(hf_pg_link *link, size_t statements, hf_error *err) HF_MUST_CHECK;
/* All that was launched is with the system; on failure it may be or not. */
hf_status hf_pg_flush(hf_pg_link *link, hf_error *err) HF_MUST_CHECK;
/* Would landing the oldest not wait? Takes in what has come. */
bool hf_pg_has_landed(hf_pg_link *link);
/* The results of what landed are not needed any more: the next may land. */
void hf_pg_forget(hf_pg_link *link);
/* One statement in a trip of its own. */
hf_status hf_pg_query(hf_pg_link *link, const char *text, const hf_pg_params *params,
                      hf_error *err) HF_MUST_CHECK;
/* The same once for each text of a NULL-terminated list, in one trip and one transaction. */
hf_status hf_pg_script(hf_pg_link *link, const char *const *texts, hf_error *err) HF_MUST_CHECK;

/* Borrowed until the next trip; NULL when the trip had no such statement. */
const PGresult *hf_pg_result(const hf_pg_link *link, size_t statement);
int hf_pg_rows(const PGresult *result);
/* Columns of type bigint, int, boolean; otherwise when NULL. */
int64_t hf_pg_i64(const PGresult *result, int row, int column, int64_t otherwise);
int32_t hf_pg_i32(const PGresult *result, int row, int column, int32_t otherwise);
bool hf_pg_bool(const PGresult *result, int row, int column);
hf_bytes hf_pg_bytes(const PGresult *result, int row, int column); /* ptr NULL for NULL */
/* Text, "" for NULL. */
const char *hf_pg_text(const PGresult *result, int row, int column);

void hf_pg_param_i64(hf_pg_params *params, uint8_t storage[8], int64_t value);
void hf_pg_param(hf_pg_params *params, const void *ptr, size_t len);

/* Arrays in binary, written element by element behind a head that holds their number. */
typedef enum hf_pg_type { HF_PG_INT4 = 23, HF_PG_INT8 = 20, HF_PG_BYTEA = 17 } hf_pg_type;
hf_status hf_pg_array_begin(hf_buf *array, hf_pg_type type, size_t count) HF_MUST_CHECK;
hf_status hf_pg_array_i32(hf_buf *array, int32_t value) HF_MUST_CHECK;
hf_status hf_pg_array_i64(hf_buf *array, int64_t value) HF_MUST_CHECK;
/* ptr NULL for NULL. */
hf_status hf_pg_array_bytes(hf_buf *array, const uint8_t *ptr, size_t len) HF_MUST_CHECK;
void hf_pg_param_buf(hf_pg_params *params, const hf_buf *array);

/* ---- postgres_connect.c ------------------------------------------------------------------- */

/* Connects in pipeline mode. The sentence never quotes the URL, which may hold a password. Names
 * of hosts are looked up by the system's resolver, the one wait that no deadline ends. */
hf_status hf_pg_connect(hf_pg_link *link, const char *url, hf_error *err) HF_MUST_CHECK;
/* postgres_migrate.c: the same with a session for an operator's work, which has a minute. */
hf_status hf_pg_connect_for_work(hf_pg_link *link, const char *url, hf_error *err) HF_MUST_CHECK;
/* USAGE unless libpq can read it. */
hf_status hf_pg_check_url(const char *url, hf_error *err) HF_MUST_CHECK;

/* ---- postgres_schema.c, postgres_migrate.c ------------------------------------------------ */

/* Advisory locks of ours: of the one-number kind, which Web3Signer's two-number ones never meet. */
#define HF_PG_LOCK_MIGRATE INT64_C(0x686f6c6466617374)
/* Deciding and pruning share it; an import has it to itself. */
#define HF_PG_LOCK_HISTORY INT64_C(0x686f6c6466617375)

#define HF_PG_PEER_VERSION 12
/* Of our own tables. A database says itself from which version on programs can use it. */
#define HF_PG_OWN_VERSION 3
/* What this program can work on when nobody may migrate: 1 has no records (records.h), 2 counts
 * nothing and has no anchors. */
#define HF_PG_OWN_OLDEST 1
#define HF_PG_OWN_WITH_RECORDS 2
#define HF_PG_OWN_WITH_MARKS 3

typedef struct hf_pg_schema {
    bool peer_present; /* Web3Signer's tables, all of them */
    bool own_present;
    int64_t peer_version;
    int64_t own_version;
    int64_t own_readable_from;
    bool peer_is_ours; /* made by our migration */
} hf_pg_schema;

/* Settings of a session that hold whatever the server's defaults are. signing: the plans of the
 * signing path, and timeouts within timeout_ms. Refuses a server that cannot record. */
hf_status hf_pg_set_session(hf_pg_link *link, uint32_t timeout_ms, bool signing,
                            hf_error *err) HF_MUST_CHECK;
/* Reads what is there. CORRUPT when a table was altered, DENIED when a right is missing. */
hf_status hf_pg_read_schema(hf_pg_link *link, hf_pg_schema *ret_schema,
                            hf_error *err) HF_MUST_CHECK;
/* Refuses what this program cannot work on, and says what to do. */
hf_status hf_pg_check_schema(const hf_pg_schema *schema, hf_error *err) HF_MUST_CHECK;
bool hf_pg_needs_migration(const hf_pg_schema *schema);
/* Makes what is missing, alone among all nodes; sees again whether anything is. */
hf_status hf_pg_migrate_up(hf_pg_link *link, hf_error *err) HF_MUST_CHECK;
/* Sets the genesis validators root of a database that has none; CONFLICT when it is another. */
hf_status hf_pg_claim_root(hf_pg_link *link, const uint8_t root[HF_ROOT_BYTES],
                           hf_error *err) HF_MUST_CHECK;

/* ---- postgres_cache.c: ids of validators, and what was durable ---------------------------- */

typedef struct hf_pg_validator {
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    int32_t id;         /* 0: not asked on this connection */
    bool has_floor[2];  /* by message kind */
    int64_t durable[2]; /* the greatest slot, the greatest target that was recorded; HF_NONE */
    uint64_t batch;     /* that it was last part of, and how often, by kind */
    uint32_t in_batch[2];
} hf_pg_validator;

typedef struct hf_pg_cache {
    hf_pubkey_index index;
    hf_pg_validator *entries; /* by number of the index */
    uint32_t capacity;
} hf_pg_cache;

void hf_pg_cache_done(hf_pg_cache *cache);
/* The entry's index, made when there is none. */
hf_status hf_pg_cache_get(hf_pg_cache *cache, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES],
                          uint32_t *ret_index, hf_error *err) HF_MUST_CHECK;
/* Ids are another database's, maybe; what was durable is kept, to be proven. */
void hf_pg_cache_expire(hf_pg_cache *cache);

/* ---- postgres.c --------------------------------------------------------------------------- */

/* A message of the batch on its way: which statement it goes into, and where its verdict goes. */
typedef struct hf_pg_item {
    uint32_t wave; /* messages of one validator and kind are decided one after another */
    uint32_t kind;
    int32_t id;
    uint32_t index; /* in the batch */
    uint32_t entry; /* in the cache */
} hf_pg_item;

/* A batch that was sent, one transaction like any other, and has not been answered. */
typedef struct hf_pg_flight {
    const hf_message *messages; /* the caller's */
    size_t n;
    hf_pg_item *items;
    size_t items_capacity;
    size_t statements;
    uint64_t connection; /* that it was sent on */
    uint64_t deadline_ns;
} hf_pg_flight;

typedef struct hf_pg_store {
    hf_store base;
    hf_postgres_config config;
    hf_pg_link link;  /* signing, pruning, health, status */
    hf_pg_link admin; /* of an import under way, or for the length of one repair */
    hf_pg_cache cache;
    hf_pg_item *items;
    size_t items_capacity;
    hf_pg_flight flights[HF_FLIGHTS_MAX]; /* the oldest first */
    size_t flight_count;
    hf_buf *arrays[HF_PG_PARAMS_MAX];
    uint64_t batch;
    uint64_t decided;
    uint64_t careful_until_ns; /* until then a lock that is held is not waited for */
    bool advised;
    bool import_open;
    bool prune_blocks;
    int64_t prune_cursor; /* validator id */
    bool has_records;     /* the schema that link found is new enough for them */
    bool has_marks;
    bool admin_has_marks; /* the same of admin */
    uint64_t generation;  /* of the records, as of the last look */
    hf_store_mark mark;
    bool has_looked; /* has_marks and mark are as of a decide or a health */
} hf_pg_store;

/* Begins a call: all its waits end there. */
void hf_pg_set_deadline(hf_pg_store *store);
/* Connects and checks the database when not connected. */
hf_status hf_pg_ensure(hf_pg_store *store, hf_error *err) HF_MUST_CHECK;
/* Writes without a commit, so that a full disk and a standby show, and takes it back. */
hf_status hf_pg_look(hf_pg_store *store, hf_error *err) HF_MUST_CHECK;
/* Every floor that low names is raised to it by one statement, with slot, target and source as $1,
 * $2 and $3, on a connection of its own. The other is for a schema without marks; NULL: nothing. */
hf_status hf_pg_raise(hf_pg_store *store, const char *marked, const char *plain,
                      const hf_watermark *low, hf_error *err) HF_MUST_CHECK;
/* A connection for an operator's work, checked like the other. */
hf_status hf_pg_open_admin(hf_pg_store *store, hf_error *err) HF_MUST_CHECK;

/* ---- the operations ----------------------------------------------------------------------- */

/* A number of the history as bigint; what is greater (Web3Signer allows it) becomes the greatest.
 */
#define HF_PG_BIGINT(number)                                                                       \
    "(CASE WHEN " number " > 9223372036854775807 THEN 9223372036854775807 ELSE " number            \
    " END)::bigint"

/* What the statements say of a message whose validator is not the one of this id (any more). */
#define HF_PG_VERDICT_UNKNOWN 100

/* Names and texts of the statements of the signing path, ended by NULLs. */
typedef struct hf_pg_statement {
    const char *name;
    const char *text;
} hf_pg_statement;
extern const hf_pg_statement hf_pg_decide_statements[];
/* "blocks" and "votes", for schemas that count and for those that do not. */
extern const hf_pg_statement hf_pg_decide_marked[];
extern const hf_pg_statement hf_pg_decide_plain[];
extern const hf_pg_statement hf_pg_prune_statements[];
/* For schemas that have records. */
extern const hf_pg_statement hf_pg_record_statements[];
/* What there is besides verdicts: the generation of the records, and how far the store has come.
 * By which schemas have records, and which have marks too. */
#define HF_PG_PRESENT "present"
extern const hf_pg_statement hf_pg_present_records[];
extern const hf_pg_statement hf_pg_present_marks[];
/* Takes in what that statement said; CORRUPT when the store has gone back. */
hf_status hf_pg_take_present(hf_pg_store *store, const PGresult *result,
                             hf_error *err) HF_MUST_CHECK;

/* Each batch counts in a row of its connection's, an operator's work in the one behind them. */
#define HF_PG_MARK_ROWS "32"
#define HF_PG_COUNT_CHANGE                                                                         \
    "UPDATE holdfast_marks SET votes = votes + 1 WHERE slot = " HF_PG_MARK_ROWS

hf_status hf_pg_records(hf_store *self, hf_record_kind kind, hf_record_visitor visitor,
                        void *context, uint64_t *ret_generation, hf_error *err) HF_MUST_CHECK;
hf_status hf_pg_change_records(hf_store *self, const hf_record_change *changes, size_t n,
                               hf_error *err) HF_MUST_CHECK;
uint64_t hf_pg_generation(const hf_store *self);

hf_status hf_pg_decide(hf_store *self, const hf_message *messages, size_t n,
                       hf_verdict *ret_verdicts, hf_error *err) HF_MUST_CHECK;
/* Begins where there is a connection that is well, and knows all validators: it waits for no
 * answer. */
bool hf_pg_decide_begin(hf_store *self, const hf_message *messages, size_t n);
bool hf_pg_decide_wait(hf_store *self, int fd, uint64_t until_ns);
hf_status hf_pg_decide_end(hf_store *self, hf_verdict *ret_verdicts, hf_error *err) HF_MUST_CHECK;
hf_status hf_pg_prune(hf_store *self, uint64_t keep_epochs, uint64_t slots_per_epoch,
                      hf_prune_report *ret_report, hf_error *err) HF_MUST_CHECK;
hf_status hf_pg_import_begin(hf_store *self, hf_error *err) HF_MUST_CHECK;
hf_status hf_pg_import_add(hf_store *self, const hf_message *messages, size_t n,
                           hf_error *err) HF_MUST_CHECK;
hf_status hf_pg_import_commit(hf_store *self, hf_import_report *ret_report,
                              hf_error *err) HF_MUST_CHECK;
void hf_pg_import_abort(hf_store *self);

/* ---- postgres_decide.c: what postgres_flights.c needs of it -------------------------------- */

/* Finds or makes the entry of each message. */
hf_status hf_pg_find_entries(hf_pg_store *store, const hf_message *messages, size_t n,
                             hf_error *err) HF_MUST_CHECK;
/* Queues the whole transaction for store->items, which have their entries. */
hf_status hf_pg_send_batch(hf_pg_store *store, const hf_message *messages, size_t n,
                           hf_error *err) HF_MUST_CHECK;
/* Reads what that transaction answered. */
hf_status hf_pg_take_batch(hf_pg_store *store, const hf_message *messages, size_t n,
                           hf_verdict *ret_verdicts, hf_error *err) HF_MUST_CHECK;
/* After a failure: has the same another chance before the deadline? Pauses first. */
bool hf_pg_may_try_again(hf_pg_store *store);
/* Decides until there is an answer, or no chance of one. was_up: the first connection that cannot
 * be made does not end it. */
hf_status hf_pg_decide_until(hf_pg_store *store, const hf_message *messages, size_t n, bool was_up,
                             hf_verdict *ret_verdicts, hf_error *err) HF_MUST_CHECK;

/* ---- postgres_mark.c: how far the store has come ------------------------------------------- */

hf_status hf_pg_mark(hf_store *self, hf_store_mark *ret_mark, hf_error *err) HF_MUST_CHECK;
hf_status hf_pg_take_over(hf_store *self, const hf_watermark *low,
                          const uint8_t lineage[HF_LINEAGE_BYTES], hf_error *err) HF_MUST_CHECK;
hf_status hf_pg_anchor_get(hf_store *self, const uint8_t log_id[HF_ANCHOR_ID_BYTES],
                           hf_store_anchor *ret_anchor, hf_error *err) HF_MUST_CHECK;
hf_status hf_pg_anchor_set(hf_store *self, const hf_store_anchor *anchor,
                           hf_error *err) HF_MUST_CHECK;

#endif
