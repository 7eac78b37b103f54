/*
 * import: records are staged in temporary tables of a connection of its own, and join the history
 * in one transaction, with no batch being decided by any Holdfast at that time.
 *
 * What counts is what the SQLite store does: nothing is turned away for being slashable; a record
 * that contradicts another about one message loses its root; what lies under a floor comes in
 * without root. Web3Signer's table holds one vote a target: others go to holdfast_votes, and the
 * one in its table loses its root, so that Web3Signer too refuses the target.
 */
#include "protect/postgres_internal.h"

#include <inttypes.h>

static const char *const stage_tables[] = {
    "CREATE TEMPORARY TABLE staged_blocks (public_key bytea NOT NULL, slot numeric(20) NOT NULL,"
    " signing_root bytea, conflict boolean NOT NULL DEFAULT false, id integer, floor numeric(20),"
    " PRIMARY KEY (public_key, slot))",
    "CREATE TEMPORARY TABLE staged_votes (public_key bytea NOT NULL,"
    " target_epoch numeric(20) NOT NULL, source_epoch numeric(20) NOT NULL, signing_root bytea,"
    " conflict boolean NOT NULL DEFAULT false, id integer,"
    " PRIMARY KEY (public_key, target_epoch, source_epoch))",
    NULL,
};

/* Two roots for one message are none. NULL differs from every root. */
#define ONE_ROOT                                                                                   \
    " CASE WHEN count(DISTINCT coalesce(root, '')) = 1 THEN (array_agg(root))[1] END,"             \
    " count(DISTINCT coalesce(root, '')) > 1"
#define DISPUTE(table)                                                                             \
    " DO UPDATE SET signing_root = NULL, conflict = true"                                          \
    " WHERE " table ".signing_root IS DISTINCT FROM excluded.signing_root OR excluded.conflict"

static const char stage_blocks[] =
    "INSERT INTO staged_blocks(public_key, slot, signing_root, conflict)"
    " SELECT pubkey, slot," ONE_ROOT " FROM unnest($1::bytea[], $2::bigint[], $3::bytea[])"
    " t(pubkey, slot, root) GROUP BY pubkey, slot ON CONFLICT (public_key, slot)" DISPUTE(
        "staged_blocks");

static const char stage_votes[] =
    "INSERT INTO staged_votes(public_key, target_epoch, source_epoch, signing_root, conflict)"
    " SELECT pubkey, target, source," ONE_ROOT
    " FROM unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::bigint[])"
    " t(pubkey, target, root, source) GROUP BY pubkey, target, source"
    " ON CONFLICT (public_key, target_epoch, source_epoch)" DISPUTE("staged_votes");

/* ---- merging ------------------------------------------------------------------------------ */

static const char meet_validators[] =
    "INSERT INTO validators(public_key) SELECT k FROM (SELECT public_key FROM staged_blocks"
    " UNION SELECT public_key FROM staged_votes) t(k) WHERE NOT EXISTS"
    " (SELECT FROM validators v WHERE v.public_key = k) ORDER BY k ON CONFLICT DO NOTHING";

static const char *const meet_steps[] = {
    "ANALYZE staged_blocks, staged_votes",
    meet_validators,
    "UPDATE staged_blocks s SET id = v.id FROM validators v WHERE v.public_key = s.public_key",
    "UPDATE staged_votes s SET id = v.id FROM validators v WHERE v.public_key = s.public_key",
    NULL,
};

/* Where there are floors of everyone, they are those of who comes in as well. */
static const char *const floor_steps[] = {
    "INSERT INTO low_watermarks AS w (validator_id, slot, source_epoch, target_epoch)"
    " SELECT s.id, e.floor_slot, e.floor_source, e.floor_target FROM (SELECT id FROM staged_blocks"
    "  UNION SELECT id FROM staged_votes) s CROSS JOIN holdfast_store e"
    " WHERE e.floor_slot IS NOT NULL OR e.floor_target IS NOT NULL ORDER BY 1"
    " ON CONFLICT (validator_id) DO UPDATE SET slot = greatest(w.slot, excluded.slot),"
    " source_epoch = greatest(w.source_epoch, excluded.source_epoch),"
    " target_epoch = greatest(w.target_epoch, excluded.target_epoch)",
    HF_PG_COUNT_CHANGE,
    NULL,
};

static const char *const merge_steps[] = {
    /* Contradictions are counted, and made unsignable below. */
    "UPDATE staged_blocks s SET conflict = true FROM signed_blocks b WHERE b.validator_id = s.id"
    " AND b.slot = s.slot AND b.signing_root IS NOT NULL"
    " AND b.signing_root IS DISTINCT FROM s.signing_root",
    /* Votes of the store and of the import beside each other, by target. */
    "UPDATE staged_votes s SET conflict = true FROM ("
    "WITH a AS (SELECT validator_id AS id, target_epoch AS t, source_epoch AS s, signing_root AS r,"
    "  true AS kept FROM signed_attestations WHERE validator_id IN (SELECT id FROM staged_votes)"
    " UNION SELECT validator_id, target_epoch, source_epoch, NULL, true FROM holdfast_votes x"
    "  WHERE validator_id IN (SELECT id FROM staged_votes) AND NOT EXISTS (SELECT FROM"
    "  signed_attestations y WHERE y.validator_id = x.validator_id"
    "  AND y.target_epoch = x.target_epoch AND y.source_epoch = x.source_epoch)"
    " UNION ALL SELECT id, target_epoch, source_epoch, signing_root, false FROM staged_votes),"
    " w AS (SELECT id, t, s, r, kept,"
    "  max(s) FILTER (WHERE kept) OVER before AS kept_before,"
    "  min(s) FILTER (WHERE kept) OVER after AS kept_after,"
    "  max(s) FILTER (WHERE NOT kept) OVER before AS new_before,"
    "  count(*) FILTER (WHERE kept) OVER here AS kept_here,"
    "  min(s) FILTER (WHERE NOT kept) OVER here AS first_here,"
    "  bool_or(kept) OVER same AS known,"
    "  bool_or(kept AND r IS NOT NULL) OVER same AS known_root,"
    "  max(r::text) FILTER (WHERE kept) OVER same AS kept_root FROM a"
    "  WINDOW before AS (PARTITION BY id ORDER BY t GROUPS BETWEEN UNBOUNDED PRECEDING AND 1"
    "   PRECEDING), after AS (PARTITION BY id ORDER BY t DESC GROUPS BETWEEN UNBOUNDED PRECEDING"
    "   AND 1 PRECEDING), here AS (PARTITION BY id, t), same AS (PARTITION BY id, t, s))"
    " SELECT id, t, s FROM w WHERE NOT kept AND (s > first_here OR s < new_before"
    "  OR (known_root AND kept_root IS DISTINCT FROM r::text)"
    "  OR (kept_here > 0 AND NOT (known AND kept_here = 1))"
    "  OR (NOT (known AND kept_here = 1) AND (s < kept_before OR s > kept_after)))) c"
    " WHERE s.id = c.id AND s.target_epoch = c.t AND s.source_epoch = c.s",

    "UPDATE signed_blocks b SET signing_root = NULL FROM staged_blocks s"
    " WHERE b.validator_id = s.id AND b.slot = s.slot AND b.signing_root IS NOT NULL"
    " AND b.signing_root IS DISTINCT FROM s.signing_root",
    "UPDATE signed_attestations a SET signing_root = NULL FROM staged_votes s"
    " WHERE a.validator_id = s.id AND a.target_epoch = s.target_epoch"
    " AND a.signing_root IS NOT NULL AND (a.source_epoch <> s.source_epoch"
    "  OR a.signing_root IS DISTINCT FROM s.signing_root)",

    /* What is new; a comparison with a floor that is not there is not true. */
    "INSERT INTO signed_blocks(validator_id, slot, signing_root) SELECT s.id, s.slot,"
    " CASE WHEN s.slot <= w.slot THEN NULL ELSE s.signing_root END FROM staged_blocks s"
    " LEFT JOIN low_watermarks w ON w.validator_id = s.id ORDER BY s.id, s.slot"
    " ON CONFLICT (validator_id, slot) DO NOTHING",
    "INSERT INTO signed_attestations(validator_id, source_epoch, target_epoch, signing_root)"
    " SELECT DISTINCT ON (s.id, s.target_epoch) s.id, s.source_epoch, s.target_epoch, CASE WHEN"
    "  s.target_epoch <= w.target_epoch OR s.source_epoch < w.source_epoch OR EXISTS (SELECT FROM"
    "  staged_votes o WHERE o.public_key = s.public_key AND o.target_epoch = s.target_epoch"
    "  AND o.source_epoch <> s.source_epoch) THEN NULL ELSE s.signing_root END"
    " FROM staged_votes s LEFT JOIN low_watermarks w ON w.validator_id = s.id"
    " ORDER BY s.id, s.target_epoch, s.source_epoch"
    " ON CONFLICT (validator_id, target_epoch) DO NOTHING",
    "INSERT INTO holdfast_votes(validator_id, target_epoch, source_epoch)"
    " SELECT s.id, s.target_epoch, s.source_epoch FROM staged_votes s"
    " WHERE s.source_epoch > s.target_epoch OR NOT EXISTS (SELECT FROM signed_attestations a"
    "  WHERE a.validator_id = s.id AND a.target_epoch = s.target_epoch"
    "  AND a.source_epoch = s.source_epoch) ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING",

    /* Floors that stand are never lowered: older records add knowledge, not permission. */
    "INSERT INTO low_watermarks AS w (validator_id, slot) SELECT id, min(slot) FROM staged_blocks"
    " GROUP BY id ORDER BY id ON CONFLICT (validator_id) DO UPDATE SET slot = excluded.slot"
    " WHERE w.slot IS NULL",
    "INSERT INTO low_watermarks AS w (validator_id, source_epoch, target_epoch)"
    " SELECT id, min(source_epoch), min(target_epoch) FROM staged_votes GROUP BY id ORDER BY id"
    " ON CONFLICT (validator_id) DO UPDATE SET source_epoch = excluded.source_epoch,"
    " target_epoch = excluded.target_epoch WHERE w.target_epoch IS NULL",
    NULL,
};

#define REPORT_SQL                                                                                 \
    "SELECT (SELECT count(*) FROM (SELECT public_key FROM staged_blocks UNION"                     \
    " SELECT public_key FROM staged_votes) t), (SELECT count(*) FROM staged_blocks),"              \
    " (SELECT count(*) FROM staged_votes), (SELECT count(*) FROM staged_blocks WHERE conflict)"    \
    " + (SELECT count(*) FROM staged_votes WHERE conflict)"

static hf_status merge(hf_pg_link *link, bool has_marks, hf_import_report *ret_report,
                       hf_error *err)
{
    char gate[96];
    hf_status st = hf_str_format(gate, sizeof gate, "SELECT pg_advisory_xact_lock(%" PRId64 ")",
                                 HF_PG_LOCK_HISTORY);
    const char *const begin[] = {"BEGIN ISOLATION LEVEL READ COMMITTED", gate, NULL};
    const char *const end[] = {REPORT_SQL, "COMMIT", NULL};
    if (!hf_failed(st)) {
        st = hf_pg_script(link, begin, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_script(link, meet_steps, err);
    }
    if (!hf_failed(st) && has_marks) {
        st = hf_pg_script(link, floor_steps, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_script(link, merge_steps, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_script(link, end, err);
    }
    if (!hf_failed(st)) {
        const PGresult *counts = hf_pg_result(link, 0);
        *ret_report = (hf_import_report){
            (uint64_t)hf_pg_i64(counts, 0, 0, 0), (uint64_t)hf_pg_i64(counts, 0, 1, 0),
            (uint64_t)hf_pg_i64(counts, 0, 2, 0), (uint64_t)hf_pg_i64(counts, 0, 3, 0)};
    }
    return st;
}

/* ---- staging ------------------------------------------------------------------------------ */

static hf_status refuse_closed(hf_error *err)
{
    return hf_fail(err, HF_CONFLICT, "no import is open, or it was cut off: begin again");
}

static size_t count_kind(const hf_message *messages, size_t n, uint32_t kind)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += messages[i].kind == kind;
    }
    return count;
}

static hf_status put_record(hf_pg_store *store, const hf_message *record)
{
    bool is_block = record->kind == HF_MESSAGE_BLOCK;
    hf_status st = hf_pg_array_bytes(store->arrays[0], record->pubkey, HF_BLS_PUBKEY_BYTES);
    if (!hf_failed(st)) {
        st = hf_pg_array_i64(store->arrays[1], (int64_t)(is_block ? record->slot : record->target));
    }
    if (!hf_failed(st)) {
        st = hf_pg_array_bytes(store->arrays[2], record->has_root ? record->signing_root : NULL,
                               HF_ROOT_BYTES);
    }
    return hf_failed(st) || is_block ? st
                                     : hf_pg_array_i64(store->arrays[3], (int64_t)record->source);
}

/* Queues the records of one kind. */
static hf_status stage_kind(hf_pg_store *store, const hf_message *messages, size_t n, uint32_t kind,
                            hf_error *err)
{
    static const hf_pg_type types[] = {HF_PG_BYTEA, HF_PG_INT8, HF_PG_BYTEA, HF_PG_INT8};
    size_t arrays = kind == HF_MESSAGE_BLOCK ? 3 : 4;
    size_t count = count_kind(messages, n, kind);
    hf_pg_params params = {0};
    hf_status st = hf_ok();
    if (count == 0) {
        return st;
    }
    for (size_t i = 0; i < arrays && !hf_failed(st); i++) {
        st = hf_pg_array_begin(store->arrays[i], types[i], count);
    }
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        if (messages[i].kind == kind) {
            st = put_record(store, &messages[i]);
        }
    }
    if (hf_failed(st)) {
        return hf_fail(err, HF_LIMIT, "import: too many records at once");
    }
    for (size_t i = 0; i < arrays; i++) {
        hf_pg_param_buf(&params, store->arrays[i]);
    }
    return hf_pg_send_text(&store->admin, kind == HF_MESSAGE_BLOCK ? stage_blocks : stage_votes,
                           &params, err);
}

/* ---- operations --------------------------------------------------------------------------- */

hf_status hf_pg_import_begin(hf_store *self, hf_error *err)
{
    hf_pg_store *store = (hf_pg_store *)self;
    if (store->import_open) {
        return hf_fail(err, HF_CONFLICT, "another import is under way");
    }
    hf_status st = hf_pg_open_admin(store, err);
    if (!hf_failed(st)) {
        st = hf_pg_script(&store->admin, stage_tables, err);
    }
    store->import_open = !hf_failed(st);
    return st;
}

static void end_import(hf_pg_store *store)
{
    store->import_open = false;
    hf_pg_disconnect(&store->admin);
}

hf_status hf_pg_import_add(hf_store *self, const hf_message *messages, size_t n, hf_error *err)
{
    hf_pg_store *store = (hf_pg_store *)self;
    hf_status st = store->import_open ? hf_ok() : refuse_closed(err);
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        st = hf_rules_check_record(&messages[i], err);
    }
    if (hf_failed(st) || n == 0) {
        return st;
    }
    store->admin.deadline_ns = hf_time_mono_ns() + HF_PG_ADMIN_DEADLINE_MS * HF_NS_PER_MS;
    st = stage_kind(store, messages, n, HF_MESSAGE_BLOCK, err);
    if (!hf_failed(st)) {
        st = stage_kind(store, messages, n, HF_MESSAGE_ATTESTATION, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_trip(&store->admin, err);
    }
    if (hf_failed(st)) {
        /* What was staged went with the connection. */
        end_import(store);
    }
    return st;
}

hf_status hf_pg_import_commit(hf_store *self, hf_import_report *ret_report, hf_error *err)
{
    hf_pg_store *store = (hf_pg_store *)self;
    if (!store->import_open) {
        return refuse_closed(err);
    }
    store->admin.deadline_ns = hf_time_mono_ns() + HF_PG_ADMIN_DEADLINE_MS * HF_NS_PER_MS;
    hf_status st = merge(&store->admin, store->admin_has_marks, ret_report, err);
    end_import(store);
    return st;
}

void hf_pg_import_abort(hf_store *self)
{
    hf_pg_store *store = (hf_pg_store *)self;
    if (store->import_open) {
        end_import(store);
    }
}
