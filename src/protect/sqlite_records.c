/* Records: the table beside the slashing history, and the count of its changes. */
#include "protect/sqlite_internal.h"

#define DOING "records"

static hf_status prepare(hf_sqlite *store, const char *sql, sqlite3_stmt **ret, hf_error *err)
{
    int rc = sqlite3_prepare_v2(store->db, sql, -1, ret, NULL);
    return rc == SQLITE_OK ? hf_ok() : hf_sqlite_fail(store->db, rc, DOING, err);
}

static hf_status end(hf_sqlite *store, hf_status st, hf_error *err)
{
    if (hf_failed(st)) {
        hf_sqlite_abandon(store, st);
        return st;
    }
    return hf_sqlite_commit(store, err);
}

/* ---- reading ------------------------------------------------------------------------------ */

static hf_status show_row(sqlite3_stmt *row, hf_record_kind kind, hf_record_visitor visitor,
                          void *context, hf_error *err)
{
    int len = sqlite3_column_bytes(row, 2);
    if (sqlite3_column_bytes(row, 0) != HF_RECORD_ID_BYTES || len > HF_RECORD_DATA_MAX) {
        return hf_fail(err, HF_CORRUPT, "a record has a wrong size");
    }
    static const uint8_t nothing;
    const void *data = sqlite3_column_blob(row, 2);
    hf_record record = {.kind = kind,
                        .len = (uint32_t)len,
                        .version = (uint64_t)sqlite3_column_int64(row, 1),
                        .data = data != NULL ? data : &nothing};
    memcpy(record.id, sqlite3_column_blob(row, 0), HF_RECORD_ID_BYTES);
    return visitor(context, &record);
}

hf_status hf_sqlite_records(hf_store *self, hf_record_kind kind, hf_record_visitor visitor,
                            void *context, uint64_t *ret_generation, hf_error *err)
{
    hf_sqlite *store = (hf_sqlite *)self;
    sqlite3_stmt *rows = NULL;
    hf_status st = hf_sqlite_begin(store, err);
    if (hf_failed(st)) {
        return st;
    }
    st = prepare(store, "SELECT id, version, data FROM records WHERE kind = ?1 ORDER BY id", &rows,
                 err);
    bool has_row = !hf_failed(st);
    if (has_row) {
        hf_sqlite_bind(rows, 1, kind);
    }
    while (has_row && !hf_failed(st)) {
        st = hf_sqlite_step(store, rows, &has_row, err);
        if (!hf_failed(st) && has_row) {
            st = show_row(rows, kind, visitor, context, err);
        }
    }
    (void)sqlite3_finalize(rows);
    st = end(store, st, err);
    if (!hf_failed(st)) {
        *ret_generation = store->generation;
    }
    return st;
}

/* ---- changing ----------------------------------------------------------------------------- */

/* One statement for each way to change: 1 kind, 2 id, 3 version expected, 4 data. */
static const char *statement_of(const hf_record_change *change)
{
    if (change->is_removal) {
        return "DELETE FROM records WHERE kind = ?1 AND id = ?2 AND version = ?3";
    }
    if (change->expected == 0) {
        return "INSERT INTO records(kind, id, version, data) VALUES (?1, ?2, ?3 + 1, ?4)"
               " ON CONFLICT DO NOTHING";
    }
    return "UPDATE records SET version = version + 1, data = ?4"
           " WHERE kind = ?1 AND id = ?2 AND version = ?3";
}

static hf_status apply_change(hf_sqlite *store, const hf_record_change *change, hf_error *err)
{
    const hf_record *record = &change->record;
    sqlite3_stmt *statement = NULL;
    hf_status st = prepare(store, statement_of(change), &statement, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_sqlite_bind(statement, 1, record->kind);
    (void)sqlite3_bind_blob(statement, 2, record->id, HF_RECORD_ID_BYTES, SQLITE_STATIC);
    hf_sqlite_bind(statement, 3, (int64_t)change->expected);
    if (!change->is_removal) {
        (void)sqlite3_bind_blob(statement, 4, record->data, (int)record->len, SQLITE_STATIC);
    }
    st = hf_sqlite_step(store, statement, NULL, err);
    (void)sqlite3_finalize(statement);
    if (!hf_failed(st) && sqlite3_changes(store->db) != 1) {
        st = hf_fail(err, HF_CONFLICT, "the record was changed by somebody else meanwhile");
    }
    return st;
}

hf_status hf_sqlite_change_records(hf_store *self, const hf_record_change *changes, size_t n,
                                   hf_error *err)
{
    hf_sqlite *store = (hf_sqlite *)self;
    hf_status st = hf_record_changes_check(changes, n, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_sqlite_begin(store, err);
    if (hf_failed(st)) {
        return st;
    }
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        st = apply_change(store, &changes[i], err);
    }
    if (!hf_failed(st)) {
        st = hf_sqlite_exec(store->db, "UPDATE meta SET generation = generation + 1", DOING, err);
    }
    if (!hf_failed(st)) {
        st = hf_sqlite_count_change(store, err);
    }
    uint64_t next = store->generation + 1;
    st = end(store, st, err);
    if (!hf_failed(st)) {
        store->generation = next;
    } else {
        store->meta_fresh = false;
    }
    return st;
}

uint64_t hf_sqlite_generation(const hf_store *self)
{
    return ((const hf_sqlite *)self)->generation;
}
