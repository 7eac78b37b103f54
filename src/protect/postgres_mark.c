/*
 * How far the store has come, floors for everyone, and anchors.
 *
 * A batch counts what it records in the same statement, in one of a few rows, and reads their sum
 * in the statement that reads the generation of the records: no round trip more. The rows belong
 * to the transaction: what a backup has of the one it has of the other.
 */
#include "protect/postgres_internal.h"

const hf_pg_statement hf_pg_present_records[] = {
    {HF_PG_PRESENT, "SELECT version FROM holdfast_records WHERE kind = 0"},
    {NULL, NULL},
};

const hf_pg_statement hf_pg_present_marks[] = {
    {HF_PG_PRESENT,
     "SELECT (SELECT version FROM holdfast_records WHERE kind = 0), sum(votes)::bigint,"
     " sum(blocks)::bigint, max(seen), (SELECT lineage FROM holdfast_store WHERE id = 1)"
     " FROM holdfast_marks"},
    {NULL, NULL},
};

/* ---- the mark ----------------------------------------------------------------------------- */

static hf_status take_mark(hf_pg_store *store, const PGresult *result, hf_error *err)
{
    hf_store_mark mark = {.is_counted = 1};
    const hf_store_mark *before = &store->mark;
    hf_bytes lineage = hf_pg_bytes(result, 0, 4);
    int64_t votes = hf_pg_i64(result, 0, 1, HF_NONE);
    int64_t blocks = hf_pg_i64(result, 0, 2, HF_NONE);
    int64_t seen = hf_pg_i64(result, 0, 3, 0);
    if (lineage.len != HF_LINEAGE_BYTES || votes < 0 || blocks < 0) {
        return hf_fail(err, HF_CORRUPT,
                       "PostgreSQL: the count of what was recorded is damaged: restore the"
                       " database from a backup");
    }
    memcpy(mark.lineage, lineage.ptr, HF_LINEAGE_BYTES);
    mark.vote_id = (uint64_t)votes;
    mark.block_id = (uint64_t)blocks;
    mark.seen_unix_s = seen > 0 ? (uint64_t)seen : 0;
    if (before->is_counted && hf_bytes_equal(before->lineage, mark.lineage, HF_LINEAGE_BYTES) &&
        (mark.vote_id < before->vote_id || mark.block_id < before->block_id)) {
        return hf_fail(err, HF_CORRUPT,
                       "PostgreSQL: the database has lost what was recorded there: an older copy"
                       " was put in place, or a standby that lagged took over (%llu votes were"
                       " counted, now %llu; %llu blocks, now %llu): restore it, or restart this"
                       " signer, whose start guard raises the floors",
                       (unsigned long long)before->vote_id, (unsigned long long)mark.vote_id,
                       (unsigned long long)before->block_id, (unsigned long long)mark.block_id);
    }
    store->mark = mark;
    return hf_ok();
}

hf_status hf_pg_take_present(hf_pg_store *store, const PGresult *result, hf_error *err)
{
    store->generation = (uint64_t)hf_pg_i64(result, 0, 0, 0);
    return store->has_marks ? take_mark(store, result, err) : hf_ok();
}

hf_status hf_pg_mark(hf_store *self, hf_store_mark *ret_mark, hf_error *err)
{
    const hf_pg_store *store = (const hf_pg_store *)(const void *)self;
    if (!store->has_looked) {
        return hf_fail(err, HF_UNAVAILABLE, "the database was not read yet");
    }
    *ret_mark = store->has_marks ? store->mark : (hf_store_mark){.is_counted = 0};
    return hf_ok();
}

/* ---- taking over -------------------------------------------------------------------------- */

/* Not above the high watermark, where there is one: what is above it is not signed anyway. */
#define RAISE_KNOWN                                                                                \
    "INSERT INTO low_watermarks AS w (validator_id, slot, target_epoch, source_epoch)"             \
    " SELECT v.id, h.slot, h.target, h.source FROM validators v CROSS JOIN ("                      \
    "SELECT least($1::bigint, high_watermark_slot) AS slot,"                                       \
    " least($2::bigint, high_watermark_epoch) AS target,"                                          \
    " least($3::bigint, high_watermark_epoch) AS source FROM metadata WHERE id = 1) h"             \
    " ORDER BY v.id ON CONFLICT (validator_id) DO UPDATE SET"                                      \
    " slot = greatest(w.slot, excluded.slot),"                                                     \
    " target_epoch = greatest(w.target_epoch, excluded.target_epoch),"                             \
    " source_epoch = greatest(w.source_epoch, excluded.source_epoch)"

static const char raise_all[] =
    "WITH c AS (" HF_PG_COUNT_CHANGE "), e AS (UPDATE holdfast_store SET"
    " floor_slot = greatest(floor_slot, $1::bigint),"
    " floor_target = greatest(floor_target, $2::bigint),"
    " floor_source = greatest(floor_source, $3::bigint) WHERE id = 1) " RAISE_KNOWN;

/* The lineage is the database's own: who takes over a copy finds out by the counts. */
hf_status hf_pg_take_over(hf_store *self, const hf_watermark *low,
                          const uint8_t lineage[HF_LINEAGE_BYTES], hf_error *err)
{
    hf_pg_store *store = (hf_pg_store *)self;
    (void)lineage;
    if (low == NULL || (low->has_slot == 0 && low->has_epochs == 0)) {
        return hf_ok();
    }
    hf_status st = hf_pg_raise(store, raise_all, RAISE_KNOWN, low, err);
    if (!hf_failed(st)) {
        hf_pg_set_deadline(store);
        st = hf_pg_look(store, err);
    }
    return st;
}

/* ---- anchors ------------------------------------------------------------------------------ */

static hf_status ensure_anchors(hf_pg_store *store, hf_error *err)
{
    hf_pg_set_deadline(store);
    hf_status st = hf_pg_ensure(store, err);
    if (!hf_failed(st) && !store->has_marks) {
        st = hf_fail(err, HF_UNAVAILABLE,
                     "PostgreSQL: the schema has no anchors yet: run holdfast db migrate up");
    }
    return st;
}

hf_status hf_pg_anchor_get(hf_store *self, const uint8_t log_id[HF_ANCHOR_ID_BYTES],
                           hf_store_anchor *ret_anchor, hf_error *err)
{
    hf_pg_store *store = (hf_pg_store *)self;
    hf_pg_params params = {0};
    hf_store_anchor anchor = {0};
    hf_pg_param(&params, log_id, HF_ANCHOR_ID_BYTES);
    hf_status st = ensure_anchors(store, err);
    if (!hf_failed(st)) {
        st = hf_pg_query(&store->link,
                         "SELECT seq, mac FROM holdfast_anchors WHERE log_id = $1::bytea", &params,
                         err);
    }
    if (hf_failed(st)) {
        return st.code == HF_NOT_FOUND ? (hf_status){HF_UNAVAILABLE} : st;
    }
    const PGresult *found = hf_pg_result(&store->link, 0);
    if (hf_pg_rows(found) == 0) {
        return hf_fail(err, HF_NOT_FOUND, "the store has no anchor of that log");
    }
    hf_bytes mac = hf_pg_bytes(found, 0, 1);
    int64_t seq = hf_pg_i64(found, 0, 0, HF_NONE);
    if (mac.len != HF_ANCHOR_MAC_BYTES || seq < 0) {
        return hf_fail(err, HF_CORRUPT, "PostgreSQL: an anchor of an audit log is damaged");
    }
    memcpy(anchor.log_id, log_id, HF_ANCHOR_ID_BYTES);
    anchor.seq = (uint64_t)seq;
    memcpy(anchor.mac, mac.ptr, HF_ANCHOR_MAC_BYTES);
    *ret_anchor = anchor;
    return hf_ok();
}

hf_status hf_pg_anchor_set(hf_store *self, const hf_store_anchor *anchor, hf_error *err)
{
    hf_pg_store *store = (hf_pg_store *)self;
    hf_pg_params params = {0};
    uint8_t seq[8];
    if (anchor->seq > HF_PROTECT_MAX_NUMBER) {
        return hf_fail(err, HF_INVALID_INPUT, "an anchor above 2^63 - 1");
    }
    hf_pg_param(&params, anchor->log_id, HF_ANCHOR_ID_BYTES);
    hf_pg_param_i64(&params, seq, (int64_t)anchor->seq);
    hf_pg_param(&params, anchor->mac, HF_ANCHOR_MAC_BYTES);
    hf_status st = ensure_anchors(store, err);
    return hf_failed(st)
               ? st
               : hf_pg_query(&store->link,
                             "INSERT INTO holdfast_anchors(log_id, seq, mac)"
                             " VALUES ($1::bytea, $2::bigint, $3::bytea) ON CONFLICT (log_id)"
                             " DO UPDATE SET seq = excluded.seq, mac = excluded.mac",
                             &params, err);
}
