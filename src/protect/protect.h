/*
 * protect: what may be signed without being slashed (EIP-3076), on a durable store.
 *
 * Strategy "complete, with a floor at the minimum of everything known":
 *   block        refused below or at the floor slot unless identical to a record; refused when
 *                another root is on record for the slot (a record without a root counts as other).
 *   attestation  refused when source > target; below the source floor; below or at the target floor
 *                unless identical; when another root is on record for the target; when it surrounds
 *                or is surrounded by any record.
 *   both         refused at or above the high watermark, when one is set.
 *   An identical message (same slot or epochs, same known root) is allowed again, unless another
 *   record, which an import may have brought, contradicts it.
 *
 * rules.c is the pure core; a store is a back end behind hf_store_ops. All calls on one hf_store
 * come from one thread at a time; they block on the disk.
 */
#ifndef HF_PROTECT_H
#define HF_PROTECT_H

#include "base/base.h"
#include "crypto/crypto.h"

#include <stdatomic.h>

/* Epochs and slots beyond this are refused as input: SQL integers are signed. */
#define HF_PROTECT_MAX_NUMBER ((uint64_t)INT64_MAX)

typedef enum hf_message_kind { HF_MESSAGE_BLOCK = 0, HF_MESSAGE_ATTESTATION = 1 } hf_message_kind;

/* One slashable message of one validator, by the parts that count. */
typedef struct hf_message {
    uint32_t kind; /* hf_message_kind */
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    uint8_t has_root; /* 0 only for imported records; a message to be decided always has one */
    uint8_t reserved[3];
    uint64_t slot;   /* blocks; 0 otherwise */
    uint64_t source; /* attestations; 0 otherwise */
    uint64_t target;
    uint8_t signing_root[HF_ROOT_BYTES];
} hf_message;

typedef enum hf_verdict {
    HF_VERDICT_ALLOW = 0, /* new, and now on record */
    HF_VERDICT_REPEAT,    /* identical to a record: may be signed again */
    HF_VERDICT_DOUBLE_BLOCK,
    HF_VERDICT_DOUBLE_VOTE,
    HF_VERDICT_SURROUNDING_VOTE, /* would surround an earlier vote */
    HF_VERDICT_SURROUNDED_VOTE,  /* would be surrounded by an earlier vote */
    HF_VERDICT_BELOW_WATERMARK,
    HF_VERDICT_ABOVE_HIGH_WATERMARK,
    HF_VERDICT_SOURCE_AFTER_TARGET,
    HF_VERDICT_DISABLED,  /* its key was deleted from a signer on the same database */
    HF_VERDICT_UNDECIDED, /* somebody holds this validator's lock: not recorded, ask again */
    HF_VERDICT_COUNT
} hf_verdict;

static inline bool hf_verdict_allows(hf_verdict v)
{
    return v == HF_VERDICT_ALLOW || v == HF_VERDICT_REPEAT;
}

/* Optional bounds: has_x is 0 or 1. */
typedef struct hf_watermark {
    uint8_t has_slot;
    uint8_t has_epochs; /* source and target together; for the high watermark target alone counts */
    uint8_t reserved[6];
    uint64_t slot;
    uint64_t source;
    uint64_t target;
} hf_watermark;

typedef struct hf_import_report {
    uint64_t validators;
    uint64_t blocks;
    uint64_t attestations;
    uint64_t conflicts; /* records that contradict each other or the store: kept, made unsignable */
} hf_import_report;

typedef struct hf_prune_report {
    uint64_t rows_deleted;
    bool more; /* call again: this was one small step */
} hf_prune_report;

typedef struct hf_store_status {
    uint64_t validators;
    uint64_t blocks;
    uint64_t attestations;
    hf_watermark high;
    hf_watermark lowest_floors;  /* each the least over all validators that have one */
    hf_watermark highest_floors; /* each the greatest */
    uint8_t genesis_validators_root[HF_ROOT_BYTES];
} hf_store_status;

/* How far a store has come. Each change that makes it stricter counts; no pruning takes it back. */
#define HF_LINEAGE_BYTES 16
typedef struct hf_store_mark {
    /* Which life of which store: SQLite's is new when a start guard raised the floors, so that
     * copies of one file part there; a shared one's is the database's. */
    uint8_t lineage[HF_LINEAGE_BYTES];
    uint64_t vote_id; /* both only rise */
    uint64_t block_id;
    uint64_t seen_unix_s; /* the clock when a record was last made; 0: not known */
    uint64_t file_stamp;  /* SQLite: when its file was last written, by the file system; else 0 */
    uint8_t is_counted;   /* 0: this back end cannot count, both ids are 0 */
    uint8_t is_virgin;    /* made by this program, and no signer has taken it over yet */
    uint8_t reserved[6];
} hf_store_mark;

/* Where a chained log ended, kept in the store so that a rollback of either is seen. */
#define HF_ANCHOR_ID_BYTES 16
#define HF_ANCHOR_MAC_BYTES 32
typedef struct hf_store_anchor {
    uint8_t log_id[HF_ANCHOR_ID_BYTES]; /* whose: a shared store has one a node */
    uint64_t seq;
    uint8_t mac[HF_ANCHOR_MAC_BYTES];
} hf_store_anchor;

/*
 * Receives one record of an export, ordered by validator. A validator's floor comes first, as one
 * block record and one attestation record without root (when it has them). A failure ends the
 * export and is returned by it.
 */
typedef hf_status (*hf_export_visitor)(void *context, const hf_message *message);

typedef struct hf_store hf_store;

#include "protect/records.h"

/* Batches that may be on their way to a store at once. */
#define HF_FLIGHTS_MAX 3

typedef struct hf_store_ops {
    /*
     * Decides n messages in order, each seeing the ones before it, and records the allowed ones, in
     * one durable transaction. On failure nothing is recorded and no verdict may be used; the
     * caller refuses all n (UNAVAILABLE: busy, full, read-only, removed, wrong network. CORRUPT).
     * The store heals by itself: the next call tries anew, reopening when needed.
     */
    hf_status (*decide)(hf_store *self, const hf_message *messages, size_t n,
                        hf_verdict *ret_verdicts, hf_error *err);
    /*
     * The same in halves, for a store that is far away: up to HF_FLIGHTS_MAX batches are in the air
     * at once, and decided in the order of their begins. All NULL where a store has no halves.
     *
     * begin: true when the batch is on its way; messages are the store's until its end. False when
     * nothing may be begun now: the caller ends those in the air, then calls decide.
     * wait: until the oldest could be ended without waiting (true), fd is readable (-1: none), or
     * it is until_ns (hf_time_mono_ns).
     * end: of the oldest; as decide. While any is in the air no other operation may be called.
     */
    bool (*decide_begin)(hf_store *self, const hf_message *messages, size_t n);
    bool (*decide_wait)(hf_store *self, int fd, uint64_t until_ns);
    hf_status (*decide_end)(hf_store *self, hf_verdict *ret_verdicts, hf_error *err);
    /* Is it able to record right now? Writes nothing that lasts. */
    hf_status (*health)(hf_store *self, hf_error *err);
    /* Reads the generation as it is now, in one round trip. NULL where nobody else writes. */
    hf_status (*look)(hf_store *self, hf_error *err);

    /*
     * Import: all or nothing. begin, add any number of times (staged outside the history), then
     * commit or abort. begin refuses (CONFLICT) while another import is open. Records only ever
     * make the protection stricter.
     */
    hf_status (*import_begin)(hf_store *self, hf_error *err);
    hf_status (*import_add)(hf_store *self, const hf_message *messages, size_t n, hf_error *err);
    hf_status (*import_commit)(hf_store *self, hf_import_report *ret_report, hf_error *err);
    void (*import_abort)(hf_store *self);

    /* One small step towards "no record older than keep_epochs behind its validator's newest". */
    hf_status (*prune)(hf_store *self, uint64_t keep_epochs, uint64_t slots_per_epoch,
                       hf_prune_report *ret_report, hf_error *err);

    /* Raises (never lowers) the floors of every validator known. */
    hf_status (*raise_floors)(hf_store *self, const hf_watermark *low, hf_error *err);
    /* Sets the high watermark; NULL removes it. */
    hf_status (*set_high)(hf_store *self, const hf_watermark *high, hf_error *err);
    hf_status (*status)(hf_store *self, hf_store_status *ret_status, hf_error *err);

    /*
     * Reads all records of one kind, ordered by id, as of one moment. *ret_generation counts the
     * changes of all records so far: who sees the same number again has missed nothing.
     */
    hf_status (*records)(hf_store *self, hf_record_kind kind, hf_record_visitor visitor,
                         void *context, uint64_t *ret_generation, hf_error *err);
    /*
     * Makes n changes (1 to HF_RECORD_CHANGES_MAX), durably, all or none. CONFLICT: a record is not
     * at the version expected, because somebody was faster. INVALID_INPUT: too long, or no such
     * kind.
     */
    hf_status (*change_records)(hf_store *self, const hf_record_change *changes, size_t n,
                                hf_error *err);
    /* The generation as of the last decide, health, look, records or change_records; 0 before. */
    uint64_t (*generation)(const hf_store *self);
    /* As of the last decide or health that went well, or of opening; asks nobody, costs nothing.
     * UNAVAILABLE when there was none yet. */
    hf_status (*mark)(hf_store *self, hf_store_mark *ret_mark, hf_error *err);
    /*
     * A signer begins to work on the store. low, unless NULL: raises (never lowers) the floors of
     * every validator known, and of each that will ever become known. lineage: the store's from now
     * on (SQLite; a shared store keeps its own). One durable transaction.
     */
    hf_status (*take_over)(hf_store *self, const hf_watermark *low,
                           const uint8_t lineage[HF_LINEAGE_BYTES], hf_error *err);
    /* NOT_FOUND when that log has none. */
    hf_status (*anchor_get)(hf_store *self, const uint8_t log_id[HF_ANCHOR_ID_BYTES],
                            hf_store_anchor *ret_anchor, hf_error *err);
    hf_status (*anchor_set)(hf_store *self, const hf_store_anchor *anchor, hf_error *err);
    void (*close)(hf_store *self);
} hf_store_ops;

struct hf_store {
    const hf_store_ops *ops; /* a back end's own struct begins with an hf_store */
};

/* 0 for a store that keeps no records. */
static inline uint64_t hf_store_generation(const hf_store *store)
{
    return store->ops->generation != NULL ? store->ops->generation(store) : 0;
}

typedef struct hf_sqlite_config {
    char path[1024];
    uint8_t genesis_validators_root[HF_ROOT_BYTES]; /* another one on record: refused, CONFLICT */
    uint32_t busy_timeout_ms;                       /* 0: 200 */
    bool create;                                    /* make the file when there is none */
    /* Set to the clock (hf_time_unix_ms) before what was logged is copied into the file, so that
     * who remembers file_stamp knows that it changes; NULL: nobody wants to know. Borrowed. */
    _Atomic uint64_t *copying_ms;
} hf_sqlite_config;

/*
 * Opens (and, when asked, creates with mode 0600 and migrates) a SQLite store. Exactly one
 * connection writes and checkpoints; journal_mode=WAL, synchronous=FULL. Ends with ops->close.
 */
hf_status hf_store_open_sqlite(const hf_sqlite_config *config, hf_store **ret_store,
                               hf_error *err) HF_MUST_CHECK;

/*
 * Reads a consistent snapshot of the store at config->path over a read-only connection of its own:
 * safe from any one thread while another uses the hf_store. only: pubkeys to export, or NULL and 0
 * for all; an unknown pubkey yields nothing.
 */
hf_status hf_store_export_sqlite(const hf_sqlite_config *config,
                                 const uint8_t (*only)[HF_BLS_PUBKEY_BYTES], size_t only_count,
                                 hf_export_visitor visitor, void *context,
                                 hf_error *err) HF_MUST_CHECK;

/*
 * PostgreSQL, for signers that share one store: Web3Signer's schema, version 12, and its advisory
 * locks. Linked by programs that may speak to a network only (protect_postgres), never by the
 * keeper.
 */
typedef struct hf_postgres_config {
    char url[2048]; /* libpq URI or conninfo; may hold a password: wiped by who made it */
    uint8_t genesis_validators_root[HF_ROOT_BYTES]; /* another one on record: refused, CONFLICT */
    uint32_t deadline_ms; /* no call waits longer for the database; 0: 1000 */
    bool auto_migrate;    /* bring the schema up at open; else an old one is refused */
    /* What an operator should know of the database, once a store; may be NULL. */
    void (*advise)(const char *sentence);
} hf_postgres_config;

/* Opens even while the database cannot be reached: calls answer UNAVAILABLE until it can. */
hf_status hf_store_open_postgres(const hf_postgres_config *config, hf_store **ret_store,
                                 hf_error *err) HF_MUST_CHECK;
/* As hf_store_export_sqlite, in one REPEATABLE READ transaction over a connection of its own. */
hf_status hf_store_export_postgres(const hf_postgres_config *config,
                                   const uint8_t (*only)[HF_BLS_PUBKEY_BYTES], size_t only_count,
                                   hf_export_visitor visitor, void *context,
                                   hf_error *err) HF_MUST_CHECK;

/* One set of tables in a shared database, as `holdfast db migrate` shows it. */
typedef struct hf_postgres_schema {
    int64_t version; /* 0: not there */
    int64_t latest;
    int64_t peer_version; /* of Web3Signer's tables; 0: not there */
    bool made_by_peer;    /* those are not ours to remove */
    uint64_t records;     /* that going down would forget */
} hf_postgres_schema;

/*
 * up makes what is missing; safe from any number of nodes at once, which wait for each other.
 * down removes what up made, and refuses (CONFLICT) while there are records unless told to discard
 * them; tables that Web3Signer made stay. Each blocks for a minute at most.
 */
hf_status hf_postgres_migrate_up(const char *url, hf_postgres_schema *ret_schema,
                                 hf_error *err) HF_MUST_CHECK;
hf_status hf_postgres_migrate_down(const char *url, bool discard_protection,
                                   hf_postgres_schema *ret_schema, hf_error *err) HF_MUST_CHECK;
hf_status hf_postgres_migrate_status(const char *url, hf_postgres_schema *ret_schema,
                                     hf_error *err) HF_MUST_CHECK;

/*
 * Lets a validator sign again that was disabled: Web3Signer does that to a key which is deleted
 * from it. Signers on the database heed it at once. NOT_FOUND when the database does not know the
 * key.
 */
hf_status hf_postgres_enable(const char *url, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES],
                             bool *ret_was_disabled, hf_error *err) HF_MUST_CHECK;

/* How much traffic a store has had so far; self is one of hf_store_open_postgres. */
typedef struct hf_postgres_traffic {
    uint64_t round_trips;
    uint64_t messages; /* decided */
} hf_postgres_traffic;
hf_postgres_traffic hf_store_postgres_traffic(const hf_store *self);

/* DynamoDB: conditional writes (protect_dynamodb). Credentials as hf_net finds them. */
typedef struct hf_dynamodb_config {
    char table[256];
    char region[64];
    char endpoint[512]; /* empty: AWS's own for the region */
    uint8_t genesis_validators_root[HF_ROOT_BYTES];
    uint32_t deadline_ms; /* as for PostgreSQL */
    bool create_table;
} hf_dynamodb_config;

hf_status hf_store_open_dynamodb(const hf_dynamodb_config *config, hf_store **ret_store,
                                 hf_error *err) HF_MUST_CHECK;
hf_status hf_store_export_dynamodb(const hf_dynamodb_config *config,
                                   const uint8_t (*only)[HF_BLS_PUBKEY_BYTES], size_t only_count,
                                   hf_export_visitor visitor, void *context,
                                   hf_error *err) HF_MUST_CHECK;

/* "DOUBLE_VOTE" and so on; "ALLOW" and "REPEAT" for the two that pass. */
const char *hf_verdict_name(hf_verdict verdict);

#endif
