/*
 * Records on PostgreSQL. The row of kind 0 counts the changes: who changes records changes it
 * first, so that writers go one after the other and no two of them see the same count.
 */
#include "protect/postgres_internal.h"

/* Exactly one row, or the transaction fails with SQLSTATE 22012. */
#define ONE_ROW(change)                                                                            \
    "WITH c AS (" change " RETURNING 1) SELECT 1 / (SELECT count(*) FROM c)::int"

const hf_pg_statement hf_pg_record_statements[] = {
    {"records",
     "SELECT id, version, data FROM holdfast_records WHERE kind = $1::bigint ORDER BY id"},
    {"count_change", ONE_ROW("UPDATE holdfast_records SET version = version + 1 WHERE kind = 0")},
    {"add_record", ONE_ROW("INSERT INTO holdfast_records(kind, id, version, data)"
                           " VALUES ($1::bigint, $2::bytea, $3::bigint + 1, $4::bytea)"
                           " ON CONFLICT DO NOTHING")},
    {"edit_record",
     ONE_ROW("UPDATE holdfast_records SET version = version + 1, data = $4::bytea"
             " WHERE kind = $1::bigint AND id = $2::bytea AND version = $3::bigint")},
    {"remove_record",
     ONE_ROW("DELETE FROM holdfast_records"
             " WHERE kind = $1::bigint AND id = $2::bytea AND version = $3::bigint")},
    {NULL, NULL},
};

uint64_t hf_pg_generation(const hf_store *self)
{
    return ((const hf_pg_store *)(const void *)self)->generation;
}

static hf_status ensure_records(hf_pg_store *store, hf_error *err)
{
    hf_pg_set_deadline(store);
    hf_status st = hf_pg_ensure(store, err);
    if (!hf_failed(st) && !store->has_records) {
        st = hf_fail(err, HF_UNAVAILABLE,
                     "PostgreSQL: the schema has no records yet: run holdfast db migrate up");
    }
    return st;
}

/* ---- reading ------------------------------------------------------------------------------ */

static hf_status show_row(const PGresult *rows, int row, hf_record_kind kind,
                          hf_record_visitor visitor, void *context, hf_error *err)
{
    hf_bytes id = hf_pg_bytes(rows, row, 0);
    hf_bytes data = hf_pg_bytes(rows, row, 2);
    int64_t version = hf_pg_i64(rows, row, 1, 0);
    if (id.len != HF_RECORD_ID_BYTES || data.len > HF_RECORD_DATA_MAX || version < 1) {
        return hf_fail(err, HF_CORRUPT, "PostgreSQL: a record has a wrong size");
    }
    hf_record record = {
        .kind = kind, .len = (uint32_t)data.len, .version = (uint64_t)version, .data = data.ptr};
    memcpy(record.id, id.ptr, HF_RECORD_ID_BYTES);
    return visitor(context, &record);
}

hf_status hf_pg_records(hf_store *self, hf_record_kind kind, hf_record_visitor visitor,
                        void *context, uint64_t *ret_generation, hf_error *err)
{
    hf_pg_store *store = (hf_pg_store *)self;
    hf_pg_params params = {0};
    uint8_t storage[8];
    hf_pg_param_i64(&params, storage, (int64_t)kind);
    hf_status st = ensure_records(store, err);
    if (!hf_failed(st)) {
        /* Before the rows: what changes in between is then read once more, never missed. */
        st = hf_pg_send(&store->link, HF_PG_PRESENT, NULL, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_send(&store->link, "records", &params, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_trip(&store->link, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    const PGresult *rows = hf_pg_result(&store->link, 1);
    for (int row = 0; row < hf_pg_rows(rows) && !hf_failed(st); row++) {
        st = show_row(rows, row, kind, visitor, context, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_take_present(store, hf_pg_result(&store->link, 0), err);
    }
    *ret_generation = store->generation;
    return st;
}

/* ---- changing ----------------------------------------------------------------------------- */

static hf_status send_change(hf_pg_link *link, const hf_record_change *change, hf_error *err)
{
    hf_pg_params params = {0};
    uint8_t kind[8];
    uint8_t expected[8];
    hf_pg_param_i64(&params, kind, (int64_t)change->record.kind);
    hf_pg_param(&params, change->record.id, HF_RECORD_ID_BYTES);
    hf_pg_param_i64(&params, expected, (int64_t)change->expected);
    if (change->is_removal) {
        return hf_pg_send(link, "remove_record", &params, err);
    }
    hf_pg_param(&params, change->record.data, change->record.len);
    return hf_pg_send(link, change->expected == 0 ? "add_record" : "edit_record", &params, err);
}

hf_status hf_pg_change_records(hf_store *self, const hf_record_change *changes, size_t n,
                               hf_error *err)
{
    hf_pg_store *store = (hf_pg_store *)self;
    hf_pg_link *link = &store->link;
    hf_status st = hf_record_changes_check(changes, n, err);
    if (!hf_failed(st)) {
        st = ensure_records(store, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_send(link, "begin", NULL, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_send(link, "count_change", NULL, err);
    }
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        st = send_change(link, &changes[i], err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_send(link, HF_PG_PRESENT, NULL, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_send(link, "commit", NULL, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_trip(link, err);
    }
    if (st.code == HF_CONFLICT) {
        return hf_fail(err, HF_CONFLICT, "the record was changed by somebody else meanwhile");
    }
    if (!hf_failed(st)) {
        st = hf_pg_take_present(store, hf_pg_result(link, 2 + n), err);
    }
    return st;
}
