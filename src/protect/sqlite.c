/* The SQLite store: open, close, and the small operations. */
#include "protect/sqlite_internal.h"

#include <errno.h>

static hf_status run_and_commit(hf_sqlite *store, hf_status st, hf_error *err)
{
    if (hf_failed(st)) {
        hf_sqlite_abandon(store, st);
        return st;
    }
    return hf_sqlite_commit(store, err);
}

/* Writes into the log without a commit, so that a full disk shows; then takes it back. */
static hf_status sqlite_health(hf_store *self, hf_error *err)
{
    hf_sqlite *store = (hf_sqlite *)self;
    hf_status st = hf_sqlite_begin(store, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_sqlite_exec(store->db, "UPDATE meta SET high_slot = high_slot", "slashing protection",
                        err);
    if (!hf_failed(st)) {
        int rc = sqlite3_db_cacheflush(store->db);
        if (rc != SQLITE_OK) {
            st = hf_sqlite_fail(store->db, rc, "slashing protection", err);
        }
    }
    if (!hf_failed(st)) {
        st = hf_sqlite_run(store, hf_sqlite_statement(store, HF_SQL_ROLLBACK), err);
        store->in_transaction = hf_failed(st);
    }
    if (hf_failed(st)) {
        hf_sqlite_abandon(store, st);
    }
    return st;
}

static hf_status bind_optional(sqlite3_stmt *statement, int index, bool has, uint64_t value,
                               hf_error *err)
{
    if (has && value > HF_PROTECT_MAX_NUMBER) {
        return hf_fail(err, HF_INVALID_INPUT, "a watermark above 2^63 - 1");
    }
    hf_sqlite_bind_bound(statement, index, has ? (int64_t)value : HF_NONE);
    return hf_ok();
}

/* Prepares, lets the caller bind three bounds, steps, finalizes. */
static hf_status run_watermark(hf_sqlite *store, const char *sql, const hf_watermark *mark,
                               hf_error *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
    if (rc != SQLITE_OK) {
        return hf_sqlite_fail(store->db, rc, "slashing protection", err);
    }
    hf_status st = bind_optional(statement, 1, mark->has_slot, mark->slot, err);
    if (!hf_failed(st)) {
        st = bind_optional(statement, 2, mark->has_epochs, mark->target, err);
    }
    if (!hf_failed(st) && sqlite3_bind_parameter_count(statement) > 2) {
        st = bind_optional(statement, 3, mark->has_epochs, mark->source, err);
    }
    if (!hf_failed(st)) {
        st = hf_sqlite_step(store, statement, NULL, err);
    }
    (void)sqlite3_finalize(statement);
    return st;
}

static hf_status sqlite_raise_floors(hf_store *self, const hf_watermark *low, hf_error *err)
{
    hf_sqlite *store = (hf_sqlite *)self;
    hf_status st = hf_sqlite_begin(store, err);
    if (hf_failed(st)) {
        return st;
    }
    /* max of two values is NULL when one of them is. */
    st = run_watermark(store,
                       "UPDATE validators SET"
                       " floor_slot = coalesce(max(floor_slot, ?1), floor_slot, ?1),"
                       " floor_target = coalesce(max(floor_target, ?2), floor_target, ?2),"
                       " floor_source = coalesce(max(floor_source, ?3), floor_source, ?3)",
                       low, err);
    hf_cache_expire(&store->cache);
    st = hf_failed(st) ? st : hf_sqlite_count_change(store, err);
    return run_and_commit(store, st, err);
}

static hf_status sqlite_set_high(hf_store *self, const hf_watermark *high, hf_error *err)
{
    static const hf_watermark none = {0};
    hf_sqlite *store = (hf_sqlite *)self;
    hf_status st = hf_sqlite_begin(store, err);
    if (hf_failed(st)) {
        return st;
    }
    st = run_watermark(store, "UPDATE meta SET high_slot = ?1, high_target = ?2",
                       high != NULL ? high : &none, err);
    store->meta_fresh = false;
    st = hf_failed(st) ? st : hf_sqlite_count_change(store, err);
    return run_and_commit(store, st, err);
}

#define STATUS_SQL                                                                                 \
    "SELECT (SELECT count(*) FROM blocks), (SELECT count(*) FROM attestations),"                   \
    " count(*), min(floor_slot), min(floor_source), min(floor_target),"                            \
    " max(floor_slot), max(floor_source), max(floor_target) FROM validators"

static hf_watermark column_floors(sqlite3_stmt *statement, int column)
{
    hf_watermark floors = {0};
    floors.has_slot = sqlite3_column_type(statement, column) != SQLITE_NULL;
    floors.has_epochs = sqlite3_column_type(statement, column + 2) != SQLITE_NULL;
    floors.slot = (uint64_t)sqlite3_column_int64(statement, column);
    floors.source = (uint64_t)sqlite3_column_int64(statement, column + 1);
    floors.target = (uint64_t)sqlite3_column_int64(statement, column + 2);
    return floors;
}

static hf_status sqlite_status(hf_store *self, hf_store_status *ret_status, hf_error *err)
{
    hf_sqlite *store = (hf_sqlite *)self;
    sqlite3_stmt *statement = NULL;
    bool row = false;
    hf_status st = hf_sqlite_begin(store, err);
    if (hf_failed(st)) {
        return st;
    }
    int rc = sqlite3_prepare_v2(store->db, STATUS_SQL, -1, &statement, NULL);
    st = rc == SQLITE_OK ? hf_sqlite_step(store, statement, &row, err)
                         : hf_sqlite_fail(store->db, rc, "slashing protection", err);
    hf_store_status status = {.high = store->high};
    if (!hf_failed(st)) {
        status.blocks = (uint64_t)sqlite3_column_int64(statement, 0);
        status.attestations = (uint64_t)sqlite3_column_int64(statement, 1);
        status.validators = (uint64_t)sqlite3_column_int64(statement, 2);
        status.lowest_floors = column_floors(statement, 3);
        status.highest_floors = column_floors(statement, 6);
        memcpy(status.genesis_validators_root, store->config.genesis_validators_root,
               HF_ROOT_BYTES);
    }
    (void)sqlite3_finalize(statement);
    st = run_and_commit(store, st, err);
    if (!hf_failed(st)) {
        *ret_status = status;
    }
    return st;
}

static void sqlite_close(hf_store *self)
{
    if (self == NULL) {
        return;
    }
    hf_sqlite *store = (hf_sqlite *)self;
    bool clean = store->db != NULL && !hf_failed(hf_sqlite_check_files(store, false, NULL));
    hf_sqlite_disconnect(store, clean);
    hf_cache_done(&store->cache);
    free(store);
}

static const hf_store_ops sqlite_ops = {
    .decide = hf_sqlite_decide,
    .health = sqlite_health,
    .import_begin = hf_sqlite_import_begin,
    .import_add = hf_sqlite_import_add,
    .import_commit = hf_sqlite_import_commit,
    .import_abort = hf_sqlite_import_abort,
    .prune = hf_sqlite_prune,
    .raise_floors = sqlite_raise_floors,
    .set_high = sqlite_set_high,
    .status = sqlite_status,
    .records = hf_sqlite_records,
    .change_records = hf_sqlite_change_records,
    .generation = hf_sqlite_generation,
    .mark = hf_sqlite_mark,
    .take_over = hf_sqlite_take_over,
    .anchor_get = hf_sqlite_anchor_get,
    .anchor_set = hf_sqlite_anchor_set,
    .close = sqlite_close,
};

hf_status hf_store_open_sqlite(const hf_sqlite_config *config, hf_store **ret_store, hf_error *err)
{
    struct stat info;
    hf_status st = hf_ok();
    hf_sqlite *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    store->base.ops = &sqlite_ops;
    store->config = *config;
    if (stat(config->path, &info) != 0) {
        if (errno != ENOENT) {
            st = hf_fail(err, HF_UNAVAILABLE, "%s: %s", config->path, strerror(errno));
        } else if (!config->create) {
            st = hf_fail(err, HF_NOT_FOUND, "%s: no slashing protection database there",
                         config->path);
        } else {
            st = hf_sqlite_create(config, err);
        }
    } else if (!S_ISREG(info.st_mode) || (info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        st = hf_fail(err, HF_DENIED, "%s: not a file that only its owner can write: chmod 600 it",
                     config->path);
    }
    if (!hf_failed(st)) {
        st = hf_sqlite_connect(store, err);
    }
    if (hf_failed(st)) {
        sqlite_close(&store->base);
        return st;
    }
    *ret_store = &store->base;
    return hf_ok();
}
