/* The connection: its settings, statements and transactions, and what its failures mean. */
#include "protect/sqlite_internal.h"

#define DEFAULT_BUSY_TIMEOUT_MS 200

static const char *const statement_text[HF_SQL_COUNT] = {
    [HF_SQL_BEGIN] = "BEGIN IMMEDIATE",
    [HF_SQL_COMMIT] = "COMMIT",
    [HF_SQL_ROLLBACK] = "ROLLBACK",
    [HF_SQL_DATA_VERSION] = "PRAGMA data_version",
    [HF_SQL_META] = "SELECT store_id, genesis_validators_root, high_slot, high_target, generation,"
                    " lineage, vote_id, block_id, seen_unix_s, base_slot, base_source, base_target"
                    " FROM meta",
    [HF_SQL_VALIDATOR] = "SELECT id, floor_slot, floor_source, floor_target, irregular_source"
                         " FROM validators WHERE pubkey = ?1",
    [HF_SQL_MAX_BLOCK] = "SELECT max(slot) FROM blocks WHERE validator_id = ?1",
    [HF_SQL_ADD_VALIDATOR] =
        "INSERT INTO validators(pubkey, floor_slot, floor_source, floor_target)"
        " VALUES (?1, ?2, ?3, ?4)",
    [HF_SQL_SET_FLOORS] = "UPDATE validators SET floor_slot = ?2, floor_source = ?3,"
                          " floor_target = ?4 WHERE id = ?1",
    [HF_SQL_ADD_BLOCK] = "INSERT INTO blocks VALUES (?1, ?2, ?3)",
    [HF_SQL_ADD_ATTESTATION] = "INSERT INTO attestations VALUES (?1, ?2, ?3, ?4)",
    [HF_SQL_BLOCK_AT] = "SELECT signing_root FROM blocks WHERE validator_id = ?1 AND slot = ?2",
    [HF_SQL_ATTESTATION_AT] = "SELECT source_epoch, signing_root FROM attestations"
                              " WHERE validator_id = ?1 AND target_epoch = ?2 LIMIT 2",
    [HF_SQL_TARGET_BEFORE] = "SELECT max(target_epoch) FROM attestations WHERE target_epoch < ?1",
    [HF_SQL_TARGET_AFTER] = "SELECT min(target_epoch) FROM attestations WHERE target_epoch > ?1",
    [HF_SQL_SOURCES_AT] = "SELECT min(source_epoch), max(source_epoch) FROM attestations"
                          " WHERE validator_id = ?1 AND target_epoch = ?2",
    [HF_SQL_PRUNE_VALIDATOR] = "SELECT id, pubkey,"
                               " (SELECT min(slot) FROM blocks WHERE validator_id = id),"
                               " (SELECT max(slot) FROM blocks WHERE validator_id = id)"
                               " FROM validators WHERE id > ?1 ORDER BY id LIMIT 1",
    [HF_SQL_PRUNE_BLOCKS_END] = "SELECT max(slot), count(*) FROM (SELECT slot FROM blocks"
                                " WHERE validator_id = ?1 AND slot < ?2 ORDER BY slot LIMIT ?3)",
    [HF_SQL_PRUNE_BLOCKS] = "DELETE FROM blocks WHERE validator_id = ?1 AND slot <= ?2",
    [HF_SQL_PRUNE_VOTES] =
        "SELECT target_epoch, validator_id, max(source_epoch),"
        " (SELECT pubkey FROM validators WHERE id = validator_id) FROM attestations"
        " WHERE (target_epoch, validator_id) > (?1, ?2)"
        " AND target_epoch < (SELECT max(target_epoch) FROM attestations) - ?3"
        " GROUP BY target_epoch, validator_id ORDER BY target_epoch, validator_id LIMIT ?4",
    [HF_SQL_PRUNE_VOTE] = "DELETE FROM attestations WHERE target_epoch = ?1 AND validator_id = ?2",
    [HF_SQL_STAGE_VALIDATOR] = "INSERT INTO staged_validators(pubkey) VALUES (?1)"
                               " ON CONFLICT DO NOTHING",
    [HF_SQL_STAGED_VALIDATOR] = "SELECT id FROM staged_validators WHERE pubkey = ?1",
    [HF_SQL_STAGE_BLOCK] =
        "INSERT INTO staged_blocks(validator_id, slot, signing_root) VALUES (?1, ?2, ?3)"
        " ON CONFLICT DO UPDATE SET signing_root = NULL, conflict = 1"
        " WHERE signing_root IS NOT excluded.signing_root",
    [HF_SQL_STAGE_ATTESTATION] =
        "INSERT INTO staged_attestations(validator_id, target_epoch, source_epoch, signing_root)"
        " VALUES (?1, ?2, ?3, ?4)"
        " ON CONFLICT DO UPDATE SET signing_root = NULL, conflict = 1"
        " WHERE signing_root IS NOT excluded.signing_root",
    [HF_SQL_MARK_CONFLICT] = "UPDATE staged_attestations SET conflict = 1 WHERE target_epoch = ?1"
                             " AND validator_id = ?2 AND source_epoch = ?3",
    [HF_SQL_DISPUTE_ROOT] = "UPDATE attestations SET signing_root = NULL WHERE target_epoch = ?1"
                            " AND validator_id = ?2 AND source_epoch = ?3"
                            " AND signing_root NOT NULL AND signing_root IS NOT ?4",
    [HF_SQL_SET_IRREGULAR] = "UPDATE validators SET irregular_source = ?2 WHERE pubkey = ?1",
    [HF_SQL_SET_MARK] = "UPDATE meta SET vote_id = ?1, block_id = ?2, seen_unix_s = ?3",
    [HF_SQL_SET_ANCHOR] = "INSERT INTO anchors(log_id, seq, mac) VALUES (?1, ?2, ?3)"
                          " ON CONFLICT DO UPDATE SET seq = excluded.seq, mac = excluded.mac",
    [HF_SQL_ANCHOR] = "SELECT seq, mac FROM anchors WHERE log_id = ?1",
};

/* ---- failures ----------------------------------------------------------------------------- */

typedef struct failure {
    int rc; /* SQLite's primary result code */
    hf_code code;
    const char *sentence;
} failure;

static const failure failures[] = {
    {SQLITE_BUSY, HF_UNAVAILABLE, "another process has locked the slashing protection database"},
    {SQLITE_LOCKED, HF_UNAVAILABLE, "the slashing protection database is locked"},
    {SQLITE_FULL, HF_UNAVAILABLE, "the disk of the slashing protection database is full"},
    {SQLITE_READONLY, HF_UNAVAILABLE, "the slashing protection database is read-only"},
    {SQLITE_CANTOPEN, HF_UNAVAILABLE, "the slashing protection database cannot be opened"},
    {SQLITE_PERM, HF_UNAVAILABLE, "the slashing protection database may not be accessed"},
    {SQLITE_IOERR, HF_UNAVAILABLE, "reading or writing the slashing protection database failed"},
    {SQLITE_PROTOCOL, HF_UNAVAILABLE, "another process holds up the slashing protection database"},
    {SQLITE_NOMEM, HF_NOMEM, "out of memory"},
    {SQLITE_CORRUPT, HF_CORRUPT, "the slashing protection database is damaged"},
    {SQLITE_NOTADB, HF_CORRUPT, "the slashing protection database is not a database"},
    {SQLITE_CONSTRAINT, HF_CORRUPT, "the slashing protection database contradicts itself"},
    {SQLITE_ERROR, HF_CORRUPT, "the slashing protection database lacks a part"},
    {SQLITE_MISMATCH, HF_CORRUPT, "the slashing protection database holds a wrong type"},
};

hf_status hf_sqlite_fail(sqlite3 *db, int rc, const char *doing, hf_error *err)
{
    int extended = db != NULL ? sqlite3_extended_errcode(db) : rc;
    int detail = (extended & 0xff) == (rc & 0xff) ? extended : rc;
    if (detail == SQLITE_IOERR_NOMEM) {
        return hf_fail(err, HF_NOMEM, "%s: out of memory", doing);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(failures); i++) {
        if ((rc & 0xff) == failures[i].rc) {
            return hf_fail(err, failures[i].code, "%s: %s (%s, %d)", doing, failures[i].sentence,
                           sqlite3_errstr(rc), detail);
        }
    }
    return hf_fail(err, HF_INTERNAL, "%s: %s (%d)", doing, sqlite3_errstr(rc), detail);
}

hf_status hf_sqlite_exec(sqlite3 *db, const char *sql, const char *doing, hf_error *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? hf_ok() : hf_sqlite_fail(db, rc, doing, err);
}

/* ---- connection --------------------------------------------------------------------------- */

hf_status hf_sqlite_configure(sqlite3 *db, uint32_t busy_timeout_ms, hf_error *err)
{
    uint32_t timeout = busy_timeout_ms != 0 ? busy_timeout_ms : DEFAULT_BUSY_TIMEOUT_MS;
    int rc = sqlite3_busy_timeout(db, (int)timeout);
    static const int switches[][2] = {{SQLITE_DBCONFIG_DEFENSIVE, 1},
                                      {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
                                      {SQLITE_DBCONFIG_ENABLE_FKEY, 1},
                                      {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
                                      {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
                                      /* A close may meet files that are no longer ours. */
                                      {SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1}};
    for (size_t i = 0; rc == SQLITE_OK && i < HF_ARRAY_LEN(switches); i++) {
        rc = sqlite3_db_config(db, switches[i][0], switches[i][1], NULL);
    }
    if (rc == SQLITE_OK) {
        (void)sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
    }
    return rc == SQLITE_OK ? hf_ok() : hf_sqlite_fail(db, rc, "opening", err);
}

/* Reads store id, root and high watermark; refuses a database that is not the expected one. */
static hf_status read_meta(hf_sqlite *store, hf_error *err)
{
    bool row = false;
    sqlite3_stmt *statement = hf_sqlite_statement(store, HF_SQL_META);
    hf_status st = hf_sqlite_step(store, statement, &row, err);
    if (hf_failed(st)) {
        goto out;
    }
    if (!row || sqlite3_column_bytes(statement, 0) != HF_STORE_ID_BYTES ||
        sqlite3_column_bytes(statement, 1) != HF_ROOT_BYTES) {
        st = hf_fail(err, HF_CORRUPT, "%s: the description is missing", store->config.path);
        goto out;
    }
    const void *id = sqlite3_column_blob(statement, 0);
    const void *root = sqlite3_column_blob(statement, 1);
    if (!hf_bytes_equal(root, store->config.genesis_validators_root, HF_ROOT_BYTES)) {
        st = hf_fail(err, HF_CONFLICT, "%s belongs to another network (genesis validators root)",
                     store->config.path);
        goto out;
    }
    if (store->has_store_id && !hf_bytes_equal(id, store->store_id, HF_STORE_ID_BYTES)) {
        st =
            hf_fail(err, HF_CORRUPT, "%s: another database was put in its place: restart to use it",
                    store->config.path);
        goto out;
    }
    memcpy(store->store_id, id, HF_STORE_ID_BYTES);
    store->has_store_id = true;
    hf_watermark high = {0};
    high.has_slot = sqlite3_column_type(statement, 2) != SQLITE_NULL;
    high.has_epochs = sqlite3_column_type(statement, 3) != SQLITE_NULL;
    high.slot = (uint64_t)sqlite3_column_int64(statement, 2);
    high.target = (uint64_t)sqlite3_column_int64(statement, 3);
    st = hf_sqlite_take_mark(store, statement, 5, err);
    if (!hf_failed(st)) {
        store->high = high;
        store->generation = (uint64_t)sqlite3_column_int64(statement, 4);
        store->meta_fresh = true;
    }
out:
    (void)sqlite3_reset(statement);
    return st;
}

/* As SQLite's own, after a commit; but who watches the file is told before. */
static int copy_log(void *context, sqlite3 *db, const char *name, int frames)
{
    if (frames >= HF_SQLITE_CHECKPOINT_FRAMES) {
        hf_sqlite_note_copying(context);
        (void)sqlite3_wal_checkpoint(db, name);
    }
    return SQLITE_OK;
}

static hf_status open_connection(hf_sqlite *store, hf_error *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2(store->config.path, &store->db, flags, NULL);
    if (rc != SQLITE_OK) {
        return hf_sqlite_fail(store->db, rc, store->config.path, err);
    }
    hf_status st = hf_sqlite_configure(store->db, store->config.busy_timeout_ms, err);
    if (hf_failed(st)) {
        return st;
    }
    /* The memory of the whole program is bounded, so is the part for pages; statements need none
     * of the temporary files that a sandbox may forbid. */
    st = hf_sqlite_exec(store->db,
                        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                        "PRAGMA mmap_size = 0; PRAGMA cache_size = -4096;"
                        "PRAGMA journal_size_limit = 16777216;"
                        "PRAGMA temp_store = MEMORY;",
                        store->config.path, err);
    (void)sqlite3_wal_hook(store->db, copy_log, store); /* in the place of wal_autocheckpoint */
    if (!hf_failed(st)) {
        st = hf_sqlite_migrate(store->db, store->config.path, err);
    }
    return st;
}

hf_status hf_sqlite_connect(hf_sqlite *store, hf_error *err)
{
    hf_status st = hf_sqlite_check_pair(store, err);
    if (!hf_failed(st)) {
        st = hf_sqlite_check_content(store, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    st = open_connection(store, err);
    if (hf_failed(st)) {
        goto out;
    }
    st = read_meta(store, err);
    if (hf_failed(st)) {
        goto out;
    }
    st = hf_str_copy(store->wal_path, sizeof store->wal_path,
                     sqlite3_filename_wal(sqlite3_db_filename(store->db, "main")));
    if (hf_failed(st)) {
        st = hf_fail(err, st.code, "%s: path too long", store->config.path);
        goto out;
    }
    /* Begins with what an import that was cut off has left. */
    st = hf_sqlite_exec(store->db,
                        "BEGIN IMMEDIATE; DELETE FROM staged_blocks;"
                        "DELETE FROM staged_attestations; DELETE FROM staged_validators;",
                        store->config.path, err);
    if (hf_failed(st)) {
        goto out;
    }
    hf_sqlite_fill_wal(store);
    st = hf_sqlite_exec(store->db, "COMMIT", store->config.path, err);
    if (!hf_failed(st)) {
        st = hf_sqlite_mark_files(store, err);
    }
    store->import_open = false;
out:
    if (hf_failed(st)) {
        hf_sqlite_disconnect(store, false);
    }
    return st;
}

void hf_sqlite_disconnect(hf_sqlite *store, bool clean)
{
    for (size_t i = 0; i < HF_SQL_COUNT; i++) {
        (void)sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
    if (store->db != NULL && clean) {
        hf_sqlite_note_copying(store);
        (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    }
    int rc = sqlite3_close(store->db);
    HF_ASSERT(rc == SQLITE_OK); /* BUSY would mean a statement that was not finalized */
    store->db = NULL;
    store->in_transaction = false;
    store->meta_fresh = false;
    store->must_prove = true;
    hf_cache_expire(&store->cache);
}

/* ---- statements --------------------------------------------------------------------------- */

sqlite3_stmt *hf_sqlite_statement(hf_sqlite *store, hf_sql which)
{
    if (store->statements[which] == NULL) {
        (void)sqlite3_prepare_v3(store->db, statement_text[which], -1, SQLITE_PREPARE_PERSISTENT,
                                 &store->statements[which], NULL);
    }
    return store->statements[which];
}

hf_status hf_sqlite_step(hf_sqlite *store, sqlite3_stmt *statement, bool *ret_row, hf_error *err)
{
    int rc = statement != NULL ? sqlite3_step(statement) : sqlite3_errcode(store->db);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW) {
        return hf_sqlite_fail(store->db, rc != SQLITE_OK ? rc : SQLITE_NOMEM, "slashing protection",
                              err);
    }
    if (ret_row != NULL) {
        *ret_row = rc == SQLITE_ROW;
    }
    return hf_ok();
}

hf_status hf_sqlite_run(hf_sqlite *store, sqlite3_stmt *statement, hf_error *err)
{
    hf_status st = hf_sqlite_step(store, statement, NULL, err);
    (void)sqlite3_reset(statement);
    return st;
}

/* ---- transactions ------------------------------------------------------------------------- */

/* Another process may have written since the last transaction: then every copy is stale. */
static hf_status refresh(hf_sqlite *store, hf_error *err)
{
    bool row = false;
    sqlite3_stmt *statement = hf_sqlite_statement(store, HF_SQL_DATA_VERSION);
    hf_status st = hf_sqlite_step(store, statement, &row, err);
    int64_t version = row ? sqlite3_column_int64(statement, 0) : 0;
    (void)sqlite3_reset(statement);
    if (hf_failed(st)) {
        return st;
    }
    if (version != store->data_version || !store->meta_fresh) {
        hf_cache_expire(&store->cache);
        st = read_meta(store, err);
        if (hf_failed(st)) {
            return st;
        }
        store->data_version = version;
    }
    if (store->must_prove) {
        /* All of them, before anything is recorded: a file that lost a part of one validator is
         * the wrong file for the others as well, and what they sign now would be missing from the
         * right one. */
        st = hf_cache_prove(store, err);
        store->must_prove = hf_failed(st);
    }
    return st;
}

hf_status hf_sqlite_begin(hf_sqlite *store, hf_error *err)
{
    hf_status st;
    HF_ASSERT(!store->in_transaction);
    if (store->db != NULL && hf_failed(hf_sqlite_check_files(store, false, NULL))) {
        hf_sqlite_disconnect(store, false);
    }
    if (store->db == NULL) {
        st = hf_sqlite_connect(store, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    st = hf_sqlite_run(store, hf_sqlite_statement(store, HF_SQL_BEGIN), err);
    if (!hf_failed(st)) {
        store->in_transaction = true;
        st = refresh(store, err);
        store->next = store->mark;
        store->mark_written = false;
        store->changes = sqlite3_total_changes64(store->db);
    }
    if (hf_failed(st)) {
        hf_sqlite_abandon(store, st);
    }
    return st;
}

/*
 * Each transaction that changes anything writes the mark: whatever part of the log is put back one
 * day, the mark goes back with it.
 */
static hf_status write_mark(hf_sqlite *store, hf_error *err)
{
    int64_t changes = sqlite3_total_changes64(store->db);
    bool is_written = store->mark_written || changes == store->changes;
    return is_written ? hf_ok() : hf_sqlite_write_mark(store, err);
}

hf_status hf_sqlite_commit(hf_sqlite *store, hf_error *err)
{
    hf_status st = write_mark(store, err);
    if (hf_failed(st)) {
        hf_sqlite_abandon(store, st);
        return st;
    }
    st = hf_sqlite_run(store, hf_sqlite_statement(store, HF_SQL_COMMIT), err);
    if (!hf_failed(st)) {
        store->in_transaction = false;
        /* A record in a file that nobody will find again protects nothing. */
        st = hf_sqlite_check_files(store, true, err);
    }
    if (hf_failed(st)) {
        hf_sqlite_abandon(store, st);
        return st;
    }
    hf_cache_settle(&store->cache);
    store->next.file_stamp = store->file.stamp;
    store->mark = store->next;
    return st;
}

void hf_sqlite_abandon(hf_sqlite *store, hf_status st)
{
    int rc = sqlite3_errcode(store->db) & 0xff;
    bool harmless = rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW || rc == SQLITE_BUSY ||
                    rc == SQLITE_FULL || rc == SQLITE_NOMEM;
    bool rolled_back = sqlite3_get_autocommit(store->db) != 0;
    if (!rolled_back) {
        sqlite3_stmt *statement = hf_sqlite_statement(store, HF_SQL_ROLLBACK);
        rolled_back = statement != NULL && sqlite3_step(statement) == SQLITE_DONE;
        (void)sqlite3_reset(statement);
    }
    store->in_transaction = false;
    store->meta_fresh = false;
    hf_cache_expire(&store->cache);
    /* A new connection costs less than finding out what the old one still believes. */
    if (!rolled_back || !harmless || st.code == HF_CORRUPT || st.code == HF_INTERNAL) {
        hf_sqlite_disconnect(store, false);
    }
}
