/*
 * The parts of the SQLite store.
 *
 * One connection writes and checkpoints. What it keeps in memory is a copy of the ends of each
 * validator's history; on any failure the copies count as stale and are read anew, so that they
 * never say more than the disk.
 */
#ifndef HF_SQLITE_INTERNAL_H
#define HF_SQLITE_INTERNAL_H

#include <sqlite3.h>
#include <sys/stat.h>

#include "protect/protect_internal.h"
#include "protect/pubkey_index.h"

#define HF_STORE_ID_BYTES 16
#define HF_SQLITE_PATH_LEN 1040 /* a configured path and its suffix */
/* Pages in the log that start a checkpoint: about 4 MB, copied within a few milliseconds. */
#define HF_SQLITE_CHECKPOINT_FRAMES 1000

/* Statements of the signing path and others that run often; sqlite_db.c has their text. */
typedef enum hf_sql {
    HF_SQL_BEGIN,
    HF_SQL_COMMIT,
    HF_SQL_ROLLBACK,
    HF_SQL_DATA_VERSION,
    HF_SQL_META,
    HF_SQL_VALIDATOR,
    HF_SQL_MAX_BLOCK,
    HF_SQL_ADD_VALIDATOR,
    HF_SQL_SET_FLOORS,
    HF_SQL_ADD_BLOCK,
    HF_SQL_ADD_ATTESTATION,
    HF_SQL_BLOCK_AT,
    HF_SQL_ATTESTATION_AT,
    HF_SQL_TARGET_BEFORE,
    HF_SQL_TARGET_AFTER,
    HF_SQL_SOURCES_AT,
    HF_SQL_PRUNE_VALIDATOR,
    HF_SQL_PRUNE_BLOCKS_END,
    HF_SQL_PRUNE_BLOCKS,
    HF_SQL_PRUNE_VOTES,
    HF_SQL_PRUNE_VOTE,
    HF_SQL_STAGE_VALIDATOR,
    HF_SQL_STAGED_VALIDATOR,
    HF_SQL_STAGE_BLOCK,
    HF_SQL_STAGE_ATTESTATION,
    HF_SQL_MARK_CONFLICT,
    HF_SQL_DISPUTE_ROOT,
    HF_SQL_SET_IRREGULAR,
    HF_SQL_SET_MARK,
    HF_SQL_SET_ANCHOR,
    HF_SQL_ANCHOR,
    HF_SQL_COUNT
} hf_sql;

typedef struct hf_validator {
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    int64_t id; /* 0: has no row yet */
    hf_bounds now;
    hf_bounds durable; /* as of the last commit: what a reopened file must still hold */
    uint32_t next_touched;
    bool fresh;     /* now agrees with the disk */
    bool irregular; /* imported votes surround each other: order by target does not order sources */
    bool touched;   /* changed by the transaction under way */
} hf_validator;

typedef struct hf_validator_cache {
    hf_pubkey_index index;
    hf_validator *entries; /* by number of the index */
    uint32_t capacity;
    uint32_t touched; /* head of the list of touched entries, number + 1 */
} hf_validator_cache;

/* Which file, and that it did not shrink. */
typedef struct hf_file_mark {
    bool known;
    dev_t device;
    ino_t inode;
    off_t size;
    uint64_t stamp; /* when it was last written, in nanoseconds */
} hf_file_mark;

/* Where the next step of a pruning round goes on: votes by target and validator, then blocks. */
typedef struct hf_prune_cursor {
    bool in_blocks;
    int64_t target;
    int64_t validator;
} hf_prune_cursor;

typedef struct hf_sqlite {
    hf_store base;
    hf_sqlite_config config;
    sqlite3 *db; /* NULL: the next call opens it anew */
    sqlite3_stmt *statements[HF_SQL_COUNT];
    char wal_path[HF_SQLITE_PATH_LEN];
    hf_file_mark file;
    hf_file_mark wal;
    uint8_t store_id[HF_STORE_ID_BYTES]; /* random at creation: another database is not ours */
    bool has_store_id;
    bool in_transaction;
    bool meta_fresh;
    bool must_prove; /* opened anew: do the files still hold all that was durable? */
    int64_t data_version;
    hf_watermark high;
    uint64_t generation; /* of the records */
    hf_bounds least;     /* floors that count for every validator, known or not */
    hf_store_mark mark;  /* as of the last commit */
    hf_store_mark next;  /* of the transaction under way */
    bool has_mark;
    bool mark_written; /* by the transaction under way */
    int64_t changes;   /* rows that the connection had changed before it */
    hf_validator_cache cache;
    bool import_open;
    hf_prune_cursor prune;
} hf_sqlite;

/* ---- sqlite_file.c: which file it is ------------------------------------------------------ */

/* Makes a new empty database at the path, whole or not at all. */
hf_status hf_sqlite_create(const hf_sqlite_config *config, hf_error *err) HF_MUST_CHECK;
/* Brings the schema of an open database up to date; refuses a newer one and what is not ours. */
hf_status hf_sqlite_migrate(sqlite3 *db, const char *path, hf_error *err) HF_MUST_CHECK;
/* Before the log is copied into the file. */
void hf_sqlite_note_copying(const hf_sqlite *store);
/* Notes the files behind the open connection. */
hf_status hf_sqlite_mark_files(hf_sqlite *store, hf_error *err) HF_MUST_CHECK;
/* UNAVAILABLE unless the files at the paths are those behind the connection, and no shorter. */
hf_status hf_sqlite_check_files(hf_sqlite *store, bool after_commit, hf_error *err) HF_MUST_CHECK;
/* Gives the log its full length, if the disk has the room. With the write lock held. */
void hf_sqlite_fill_wal(hf_sqlite *store);
/* CORRUPT when the database was replaced under a write-ahead log that belongs to the old one. */
hf_status hf_sqlite_check_pair(const hf_sqlite *store, hf_error *err) HF_MUST_CHECK;
/* CORRUPT when the database is empty: opened like that, SQLite would delete its log. */
hf_status hf_sqlite_check_content(const hf_sqlite *store, hf_error *err) HF_MUST_CHECK;

/* ---- sqlite_db.c: connection, statements, transactions ------------------------------------ */

/* The status and sentence for what SQLite returned. */
hf_status hf_sqlite_fail(sqlite3 *db, int rc, const char *doing, hf_error *err) HF_MUST_CHECK;
hf_status hf_sqlite_exec(sqlite3 *db, const char *sql, const char *doing,
                         hf_error *err) HF_MUST_CHECK;
/* Settings common to every connection. */
hf_status hf_sqlite_configure(sqlite3 *db, uint32_t busy_timeout_ms, hf_error *err) HF_MUST_CHECK;

hf_status hf_sqlite_connect(hf_sqlite *store, hf_error *err) HF_MUST_CHECK;
/* clean: checkpoint and tidy up; otherwise touch no file, because they may be another's. */
void hf_sqlite_disconnect(hf_sqlite *store, bool clean);

/* A statement ready to be bound; NULL when it cannot be prepared. */
sqlite3_stmt *hf_sqlite_statement(hf_sqlite *store, hf_sql which);
/* Steps once. *ret_row may be NULL where no row is expected. The statement is left to be reset. */
hf_status hf_sqlite_step(hf_sqlite *store, sqlite3_stmt *statement, bool *ret_row,
                         hf_error *err) HF_MUST_CHECK;
/* Steps a statement that yields no row, and resets it. */
hf_status hf_sqlite_run(hf_sqlite *store, sqlite3_stmt *statement, hf_error *err) HF_MUST_CHECK;

/* Opens where needed, begins a write transaction, and reads anew what another process changed. */
hf_status hf_sqlite_begin(hf_sqlite *store, hf_error *err) HF_MUST_CHECK;
/* Durable when it returns OK. On failure the transaction is over and nothing may be believed. */
hf_status hf_sqlite_commit(hf_sqlite *store, hf_error *err) HF_MUST_CHECK;
/* Ends a transaction that failed with st: rolls back, drops copies, reconnects when it must. */
void hf_sqlite_abandon(hf_sqlite *store, hf_status st);

/* ---- sqlite_cache.c ----------------------------------------------------------------------- */

void hf_cache_done(hf_validator_cache *cache);
/* The entry of a validator, with its bounds read from the disk when they are not fresh. Borrowed
 * until the next call. */
hf_status hf_cache_get(hf_sqlite *store, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES],
                       hf_validator **ret_validator, hf_error *err) HF_MUST_CHECK;
/* CORRUPT when the database holds less of any validator than was durable before. */
hf_status hf_cache_prove(hf_sqlite *store, hf_error *err) HF_MUST_CHECK;
void hf_cache_touch(hf_validator_cache *cache, hf_validator *validator);
void hf_cache_settle(hf_validator_cache *cache); /* after a commit */
void hf_cache_expire(hf_validator_cache *cache); /* every copy is stale; what was durable is kept */

/* ---- sqlite_mark.c: how far the store has come -------------------------------------------- */

/* No floor of a validator's own lies below those for everyone; max of two is NULL when one is. */
#define HF_SQLITE_RAISE_TO_BASE                                                                    \
    "UPDATE validators SET"                                                                        \
    " floor_slot = coalesce(max(floor_slot, base_slot), floor_slot, base_slot),"                   \
    " floor_source = coalesce(max(floor_source, base_source), floor_source, base_source),"         \
    " floor_target = coalesce(max(floor_target, base_target), floor_target, base_target)"          \
    " FROM meta"

/* Takes the mark and the base floors from a row of meta, whose columns begin there; CORRUPT when
 * the store has gone back. */
hf_status hf_sqlite_take_mark(hf_sqlite *store, sqlite3_stmt *row, int column,
                              hf_error *err) HF_MUST_CHECK;
/* Counts records of the transaction under way; write_mark then writes what was counted. */
void hf_sqlite_count(hf_sqlite *store, const hf_message *message);
hf_status hf_sqlite_write_mark(hf_sqlite *store, hf_error *err) HF_MUST_CHECK;
/* One for a change that is no record: written at once. */
hf_status hf_sqlite_count_change(hf_sqlite *store, hf_error *err) HF_MUST_CHECK;
hf_status hf_sqlite_mark(hf_store *self, hf_store_mark *ret_mark, hf_error *err) HF_MUST_CHECK;
hf_status hf_sqlite_take_over(hf_store *self, const hf_watermark *low,
                              const uint8_t lineage[HF_LINEAGE_BYTES], hf_error *err) HF_MUST_CHECK;
hf_status hf_sqlite_anchor_get(hf_store *self, const uint8_t log_id[HF_ANCHOR_ID_BYTES],
                               hf_store_anchor *ret_anchor, hf_error *err) HF_MUST_CHECK;
hf_status hf_sqlite_anchor_set(hf_store *self, const hf_store_anchor *anchor,
                               hf_error *err) HF_MUST_CHECK;

/* ---- sqlite_history.c: one validator's history on the disk -------------------------------- */

/* The bounds of a validator's votes: from its last vote, and from what an import has brought. */
hf_status hf_sqlite_last_vote(hf_sqlite *store, const hf_validator *validator, int64_t *ret_source,
                              int64_t *ret_target, hf_error *err) HF_MUST_CHECK;

/* The least and greatest source of its votes for one target; HF_NONE for none. */
hf_status hf_sqlite_sources_at(hf_sqlite *store, int64_t validator_id, int64_t target,
                               int64_t *ret_least, int64_t *ret_greatest,
                               hf_error *err) HF_MUST_CHECK;

typedef struct hf_lookup {
    hf_sqlite *store;
    const hf_validator *validator;
} hf_lookup;

/* What the rules ask; the context is an hf_lookup. */
extern const hf_history_ops hf_sqlite_history;

/* ---- the operations, one file each -------------------------------------------------------- */

hf_status hf_sqlite_decide(hf_store *self, const hf_message *messages, size_t n,
                           hf_verdict *ret_verdicts, hf_error *err) HF_MUST_CHECK;
hf_status hf_sqlite_prune(hf_store *self, uint64_t keep_epochs, uint64_t slots_per_epoch,
                          hf_prune_report *ret_report, hf_error *err) HF_MUST_CHECK;
/* sqlite_merge.c: what is staged joins the history, inside the caller's transaction. */
hf_status hf_sqlite_merge(hf_sqlite *store, hf_import_report *ret_report,
                          hf_error *err) HF_MUST_CHECK;
hf_status hf_sqlite_import_begin(hf_store *self, hf_error *err) HF_MUST_CHECK;
hf_status hf_sqlite_import_add(hf_store *self, const hf_message *messages, size_t n,
                               hf_error *err) HF_MUST_CHECK;
hf_status hf_sqlite_import_commit(hf_store *self, hf_import_report *ret_report,
                                  hf_error *err) HF_MUST_CHECK;
void hf_sqlite_import_abort(hf_store *self);
hf_status hf_sqlite_records(hf_store *self, hf_record_kind kind, hf_record_visitor visitor,
                            void *context, uint64_t *ret_generation, hf_error *err) HF_MUST_CHECK;
hf_status hf_sqlite_change_records(hf_store *self, const hf_record_change *changes, size_t n,
                                   hf_error *err) HF_MUST_CHECK;
uint64_t hf_sqlite_generation(const hf_store *self);

static inline void hf_sqlite_bind(sqlite3_stmt *statement, int index, int64_t value)
{
    (void)sqlite3_bind_int64(statement, index, value);
}

/* Binds HF_NONE as NULL. */
static inline void hf_sqlite_bind_bound(sqlite3_stmt *statement, int index, int64_t value)
{
    (void)(value == HF_NONE ? sqlite3_bind_null(statement, index)
                            : sqlite3_bind_int64(statement, index, value));
}

static inline int64_t hf_sqlite_column_bound(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_type(statement, column) == SQLITE_NULL
               ? HF_NONE
               : sqlite3_column_int64(statement, column);
}

#endif
