/*
 * How far the store has come, floors for everyone, and anchors.
 *
 * The counters are written with each batch that records something, in the same transaction: one
 * page more, and no sync more. In memory they say how far the file was durable: a
 * file that says less is an older copy.
 */
#include "protect/sqlite_internal.h"

static uint64_t column_u64(sqlite3_stmt *row, int column)
{
    int64_t value = sqlite3_column_int64(row, column);
    return value > 0 ? (uint64_t)value : 0;
}

hf_status hf_sqlite_take_mark(hf_sqlite *store, sqlite3_stmt *row, int column, hf_error *err)
{
    hf_store_mark mark = {.is_counted = 1};
    mark.is_virgin = sqlite3_column_type(row, column) == SQLITE_NULL;
    if (!mark.is_virgin && sqlite3_column_bytes(row, column) != HF_LINEAGE_BYTES) {
        return hf_fail(err, HF_CORRUPT, "%s: the description is damaged", store->config.path);
    }
    if (!mark.is_virgin) {
        memcpy(mark.lineage, sqlite3_column_blob(row, column), HF_LINEAGE_BYTES);
    }
    mark.vote_id = column_u64(row, column + 1);
    mark.block_id = column_u64(row, column + 2);
    mark.seen_unix_s = column_u64(row, column + 3);
    if (store->has_mark &&
        (mark.vote_id < store->mark.vote_id || mark.block_id < store->mark.block_id)) {
        return hf_fail(err, HF_CORRUPT,
                       "%s lost records: an older copy was put in place (%llu votes were counted,"
                       " now %llu; %llu blocks, now %llu)",
                       store->config.path, (unsigned long long)store->mark.vote_id,
                       (unsigned long long)mark.vote_id, (unsigned long long)store->mark.block_id,
                       (unsigned long long)mark.block_id);
    }
    mark.file_stamp = store->file.stamp;
    store->mark = mark;
    store->has_mark = true;
    store->least = hf_bounds_none;
    store->least.floor_slot = hf_sqlite_column_bound(row, column + 4);
    store->least.floor_source = hf_sqlite_column_bound(row, column + 5);
    store->least.floor_target = hf_sqlite_column_bound(row, column + 6);
    return hf_ok();
}

/* ---- counting ----------------------------------------------------------------------------- */

void hf_sqlite_count(hf_sqlite *store, const hf_message *message)
{
    if (message->kind == HF_MESSAGE_BLOCK) {
        store->next.block_id++;
    } else {
        store->next.vote_id++;
    }
}

hf_status hf_sqlite_write_mark(hf_sqlite *store, hf_error *err)
{
    int64_t now_ms = hf_time_unix_ms();
    store->next.seen_unix_s = now_ms > 0 ? (uint64_t)now_ms / 1000 : 0;
    sqlite3_stmt *statement = hf_sqlite_statement(store, HF_SQL_SET_MARK);
    hf_sqlite_bind(statement, 1, (int64_t)store->next.vote_id);
    hf_sqlite_bind(statement, 2, (int64_t)store->next.block_id);
    hf_sqlite_bind(statement, 3, (int64_t)store->next.seen_unix_s);
    hf_status st = hf_sqlite_run(store, statement, err);
    store->mark_written = !hf_failed(st);
    return st;
}

hf_status hf_sqlite_count_change(hf_sqlite *store, hf_error *err)
{
    store->next.vote_id++;
    return hf_sqlite_write_mark(store, err);
}

hf_status hf_sqlite_mark(hf_store *self, hf_store_mark *ret_mark, hf_error *err)
{
    const hf_sqlite *store = (const hf_sqlite *)self;
    if (!store->has_mark) {
        return hf_fail(err, HF_UNAVAILABLE, "the slashing protection database was not read yet");
    }
    *ret_mark = store->mark;
    return hf_ok();
}

/* ---- taking over -------------------------------------------------------------------------- */

/* Binds slot, source, target as 1, 2, 3 and the lineage, where there is a fourth. */
static hf_status bind_floors(sqlite3_stmt *statement, const hf_watermark *low, hf_error *err)
{
    if (low->slot > HF_PROTECT_MAX_NUMBER || low->source > HF_PROTECT_MAX_NUMBER ||
        low->target > HF_PROTECT_MAX_NUMBER) {
        return hf_fail(err, HF_INVALID_INPUT, "a watermark above 2^63 - 1");
    }
    hf_sqlite_bind_bound(statement, 1, low->has_slot ? (int64_t)low->slot : HF_NONE);
    hf_sqlite_bind_bound(statement, 2, low->has_epochs ? (int64_t)low->source : HF_NONE);
    hf_sqlite_bind_bound(statement, 3, low->has_epochs ? (int64_t)low->target : HF_NONE);
    return hf_ok();
}

static hf_status set_base(hf_sqlite *store, const hf_watermark *low, const uint8_t *lineage,
                          hf_error *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(store->db,
                                "UPDATE meta SET"
                                " base_slot = coalesce(max(base_slot, ?1), base_slot, ?1),"
                                " base_source = coalesce(max(base_source, ?2), base_source, ?2),"
                                " base_target = coalesce(max(base_target, ?3), base_target, ?3),"
                                " lineage = ?4",
                                -1, &statement, NULL);
    if (rc != SQLITE_OK) {
        return hf_sqlite_fail(store->db, rc, "slashing protection", err);
    }
    hf_status st = bind_floors(statement, low, err);
    (void)sqlite3_bind_blob(statement, 4, lineage, HF_LINEAGE_BYTES, SQLITE_STATIC);
    if (!hf_failed(st)) {
        st = hf_sqlite_step(store, statement, NULL, err);
    }
    (void)sqlite3_finalize(statement);
    return st;
}

hf_status hf_sqlite_take_over(hf_store *self, const hf_watermark *low,
                              const uint8_t lineage[HF_LINEAGE_BYTES], hf_error *err)
{
    static const hf_watermark none = {0};
    hf_sqlite *store = (hf_sqlite *)self;
    hf_status st = hf_sqlite_begin(store, err);
    if (hf_failed(st)) {
        return st;
    }
    st = set_base(store, low != NULL ? low : &none, lineage, err);
    if (!hf_failed(st)) {
        st = hf_sqlite_exec(store->db, HF_SQLITE_RAISE_TO_BASE, "slashing protection", err);
    }
    if (!hf_failed(st)) {
        st = hf_sqlite_count_change(store, err);
    }
    if (hf_failed(st)) {
        hf_sqlite_abandon(store, st);
        return st;
    }
    hf_cache_expire(&store->cache);
    st = hf_sqlite_commit(store, err);
    store->meta_fresh = false;
    if (!hf_failed(st)) {
        memcpy(store->mark.lineage, lineage, HF_LINEAGE_BYTES);
        store->mark.is_virgin = 0;
    }
    return st;
}

/* ---- anchors ------------------------------------------------------------------------------ */

hf_status hf_sqlite_anchor_get(hf_store *self, const uint8_t log_id[HF_ANCHOR_ID_BYTES],
                               hf_store_anchor *ret_anchor, hf_error *err)
{
    hf_sqlite *store = (hf_sqlite *)self;
    hf_store_anchor anchor = {0};
    bool row = false;
    hf_status st = hf_sqlite_begin(store, err);
    if (hf_failed(st)) {
        return st;
    }
    sqlite3_stmt *statement = hf_sqlite_statement(store, HF_SQL_ANCHOR);
    (void)sqlite3_bind_blob(statement, 1, log_id, HF_ANCHOR_ID_BYTES, SQLITE_STATIC);
    st = hf_sqlite_step(store, statement, &row, err);
    if (!hf_failed(st) && row) {
        memcpy(anchor.log_id, log_id, HF_ANCHOR_ID_BYTES);
        anchor.seq = column_u64(statement, 0);
        memcpy(anchor.mac, sqlite3_column_blob(statement, 1), HF_ANCHOR_MAC_BYTES);
    }
    (void)sqlite3_reset(statement);
    if (hf_failed(st)) {
        hf_sqlite_abandon(store, st);
        return st;
    }
    st = hf_sqlite_commit(store, err);
    if (!hf_failed(st) && !row) {
        return hf_fail(err, HF_NOT_FOUND, "the store has no anchor of that log");
    }
    if (!hf_failed(st)) {
        *ret_anchor = anchor;
    }
    return st;
}

hf_status hf_sqlite_anchor_set(hf_store *self, const hf_store_anchor *anchor, hf_error *err)
{
    hf_sqlite *store = (hf_sqlite *)self;
    if (anchor->seq > HF_PROTECT_MAX_NUMBER) {
        return hf_fail(err, HF_INVALID_INPUT, "an anchor above 2^63 - 1");
    }
    hf_status st = hf_sqlite_begin(store, err);
    if (hf_failed(st)) {
        return st;
    }
    sqlite3_stmt *statement = hf_sqlite_statement(store, HF_SQL_SET_ANCHOR);
    (void)sqlite3_bind_blob(statement, 1, anchor->log_id, HF_ANCHOR_ID_BYTES, SQLITE_STATIC);
    hf_sqlite_bind(statement, 2, (int64_t)anchor->seq);
    (void)sqlite3_bind_blob(statement, 3, anchor->mac, HF_ANCHOR_MAC_BYTES, SQLITE_STATIC);
    st = hf_sqlite_run(store, statement, err);
    if (hf_failed(st)) {
        hf_sqlite_abandon(store, st);
        return st;
    }
    return hf_sqlite_commit(store, err);
}
