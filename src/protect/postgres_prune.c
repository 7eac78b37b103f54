/*
 * prune: removes old records in small steps, each one transaction and one round trip.
 *
 * What is removed stays protected: the floors rise to the highest removed slot, source and target,
 * in the statement that removes. The newest record of each kind always stays. Records above the
 * high watermark stay too, since Web3Signer's rules let no floor rise beyond it.
 */
#include "protect/postgres_internal.h"

/* One step looks at so many validators and removes so many records at most. */
#define STEP_VALIDATORS 64
#define STEP_ROWS 256
#define TEXT_OF(x) #x
#define LIMIT(x) " LIMIT " TEXT_OF(x)

/* $1 the validator to begin behind, $2 how much is kept below its newest record. */
#define SOME_VALIDATORS                                                                            \
    "WITH v AS MATERIALIZED (SELECT id FROM validators WHERE id > $1::bigint ORDER BY id" LIMIT(   \
        STEP_VALIDATORS) "), e AS MATERIALIZED "

/* Seen, the last one seen, removed, the validator of the last row removed. */
#define ANSWER                                                                                     \
    " SELECT (SELECT count(*) FROM v), (SELECT max(id) FROM v)::bigint, (SELECT count(*) FROM g)," \
    " (SELECT max(validator_id) FROM g)::bigint, (SELECT count(*) FROM o)"

#define REMOVED "SELECT validator_id, source_epoch, target_epoch FROM "

static const char prune_votes[] = SOME_VALIDATORS
    "(SELECT v.id, (SELECT max(target_epoch) FROM signed_attestations a WHERE a.validator_id = "
    "v.id)"
    "  - $2::bigint AS cutoff FROM v),"
    " h AS (SELECT min(high_watermark_epoch) AS epoch FROM metadata),"
    " o AS MATERIALIZED (SELECT a.id FROM e CROSS JOIN h CROSS JOIN LATERAL (SELECT id FROM"
    "  signed_attestations WHERE validator_id = e.id AND target_epoch < e.cutoff"
    "  AND (h.epoch IS NULL OR (target_epoch <= h.epoch AND source_epoch <= h.epoch))"
    "  ORDER BY target_epoch" LIMIT(STEP_ROWS) ") a" LIMIT(
        STEP_ROWS) "),"
                   " g AS (DELETE FROM signed_attestations a USING o WHERE a.id = o.id"
                   "  RETURNING a.validator_id, a.source_epoch, a.target_epoch),"
                   " x AS (DELETE FROM holdfast_votes x USING e, h WHERE x.validator_id = e.id"
                   "  AND x.target_epoch < e.cutoff AND (h.epoch IS NULL OR (x.target_epoch <= "
                   "h.epoch"
                   "  AND x.source_epoch <= h.epoch)) RETURNING x.validator_id, x.source_epoch, "
                   "x.target_epoch),"
                   " f AS (INSERT INTO low_watermarks AS w (validator_id, source_epoch, "
                   "target_epoch)"
                   "  SELECT validator_id, max(source_epoch), max(target_epoch) FROM (" REMOVED
                   "g UNION ALL " REMOVED "x) r GROUP BY validator_id ORDER BY validator_id"
                   "  ON CONFLICT (validator_id) DO UPDATE SET"
                   "  source_epoch = greatest(w.source_epoch, excluded.source_epoch),"
                   "  target_epoch = greatest(w.target_epoch, excluded.target_epoch))" ANSWER;

static const char prune_blocks[] = SOME_VALIDATORS
    "(SELECT v.id, (SELECT max(slot) FROM signed_blocks b WHERE b.validator_id = v.id)"
    "  - $2::bigint AS cutoff FROM v),"
    " h AS (SELECT min(high_watermark_slot) AS slot FROM metadata),"
    " o AS MATERIALIZED (SELECT b.id FROM e CROSS JOIN h CROSS JOIN LATERAL (SELECT id FROM"
    "  signed_blocks WHERE validator_id = e.id AND slot < e.cutoff"
    "  AND (h.slot IS NULL OR slot <= h.slot) ORDER BY slot" LIMIT(STEP_ROWS) ") b" LIMIT(
        STEP_ROWS) "),"
                   " g AS (DELETE FROM signed_blocks b USING o WHERE b.id = o.id RETURNING "
                   "b.validator_id, b.slot),"
                   " f AS (INSERT INTO low_watermarks AS w (validator_id, slot)"
                   "  SELECT validator_id, max(slot) FROM g GROUP BY validator_id ORDER BY "
                   "validator_id"
                   "  ON CONFLICT (validator_id) DO UPDATE SET slot = greatest(w.slot, "
                   "excluded.slot))" ANSWER;

const hf_pg_statement hf_pg_prune_statements[] = {
    {"prune_votes", prune_votes},
    {"prune_blocks", prune_blocks},
    {NULL, NULL},
};

static int64_t kept_slots(uint64_t keep_epochs, uint64_t slots_per_epoch)
{
    return keep_epochs > HF_PROTECT_MAX_NUMBER / slots_per_epoch
               ? INT64_MAX
               : (int64_t)(keep_epochs * slots_per_epoch);
}

/* Where the next step goes on; true at the end of the round. */
static bool move_cursor(hf_pg_store *store, const PGresult *answer)
{
    if (hf_pg_i64(answer, 0, 4, 0) >= STEP_ROWS) {
        /* That validator may have more. */
        store->prune_cursor = hf_pg_i64(answer, 0, 3, store->prune_cursor + 1) - 1;
        return false;
    }
    if (hf_pg_i64(answer, 0, 0, 0) >= STEP_VALIDATORS) {
        store->prune_cursor = hf_pg_i64(answer, 0, 1, store->prune_cursor);
        return false;
    }
    store->prune_cursor = 0;
    store->prune_blocks = !store->prune_blocks;
    return !store->prune_blocks;
}

static hf_status run_step(hf_pg_store *store, int64_t keep, hf_error *err)
{
    hf_pg_params gate = {0};
    hf_pg_params params = {0};
    uint8_t storage[3][8];
    hf_pg_param_i64(&gate, storage[0], HF_PG_LOCK_HISTORY);
    hf_pg_param_i64(&params, storage[1], store->prune_cursor);
    hf_pg_param_i64(&params, storage[2], keep);
    hf_status st = hf_pg_ensure(store, err);
    if (!hf_failed(st)) {
        st = hf_pg_send(&store->link, "begin", NULL, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_send(&store->link, "gate", &gate, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_send(&store->link, store->prune_blocks ? "prune_blocks" : "prune_votes", &params,
                        err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_send(&store->link, "commit", NULL, err);
    }
    return hf_failed(st) ? st : hf_pg_trip(&store->link, err);
}

hf_status hf_pg_prune(hf_store *self, uint64_t keep_epochs, uint64_t slots_per_epoch,
                      hf_prune_report *ret_report, hf_error *err)
{
    hf_pg_store *store = (hf_pg_store *)self;
    HF_ASSERT(slots_per_epoch > 0);
    if (keep_epochs == 0 || keep_epochs > HF_PROTECT_MAX_NUMBER) {
        *ret_report = (hf_prune_report){0};
        return hf_ok();
    }
    int64_t keep =
        store->prune_blocks ? kept_slots(keep_epochs, slots_per_epoch) : (int64_t)keep_epochs;
    hf_pg_set_deadline(store);
    bool was_up = store->link.conn != NULL;
    hf_status st = run_step(store, keep, err);
    if (hf_failed(st) && was_up && store->link.may_retry) {
        /* The connection had broken while nothing was asked. A step done twice does no harm. */
        st = run_step(store, keep, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    const PGresult *answer = hf_pg_result(&store->link, 2);
    uint64_t deleted = (uint64_t)hf_pg_i64(answer, 0, 2, 0);
    bool end = move_cursor(store, answer);
    *ret_report = (hf_prune_report){deleted, !end};
    return hf_ok();
}
