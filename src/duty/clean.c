/*
 * Cleanup: old rows make way for a watermark, in one statement and transaction. The protocol is in
 * docs/adr/0010-duty-locks.md; no clock decides here about safety, only about when.
 */
#include "duty/duty_internal.h"

#define CLEAN_STEP_ROWS 500   /* some milliseconds of locks */
#define CLEAN_STEPS_MAX 10000 /* the bound of one run */

/*
 * $1 age of signed rows in ms, null: never. $2 age of stuck ones. $3 rows of a step.
 * Rows of the package are 26 hours older than they look at most: their times carry no zone.
 */
static const char clean_sql[] =
    "WITH recent AS ("
    " SELECT rollup_address r, validator_address v, duty_type t, min(slot) AS s"
    " FROM validator_duties WHERE status IN ('signing', 'signed')"
    "  AND started_at >= CURRENT_TIMESTAMP - $2::bigint * interval '1 millisecond'"
    " GROUP BY 1, 2, 3),"
    " chosen AS ("
    " SELECT d.rollup_address r, d.validator_address v, d.slot s, d.duty_type t,"
    "  d.block_index_within_checkpoint i"
    " FROM validator_duties d JOIN recent c"
    "  ON d.rollup_address = c.r AND d.validator_address = c.v AND d.duty_type = c.t"
    " WHERE d.slot < c.s AND ("
    "  d.status = 'signing' AND left(d.lock_token, 3) = '" TOKEN_PREFIX "' AND"
    "   d.started_at < CURRENT_TIMESTAMP - $2::bigint * interval '1 millisecond'"
    "  OR d.started_at < CURRENT_TIMESTAMP - $1::bigint * interval '1 millisecond'"
    "   - CASE WHEN left(d.lock_token, 3) = '" TOKEN_PREFIX "' THEN interval '0'"
    "     ELSE interval '26 hours' END)"
    " LIMIT $3::int FOR UPDATE OF d SKIP LOCKED),"
    " gone AS ("
    " DELETE FROM validator_duties d USING chosen c"
    " WHERE d.rollup_address = c.r AND d.validator_address = c.v AND d.slot = c.s"
    "  AND d.duty_type = c.t AND d.block_index_within_checkpoint = c.i"
    " RETURNING d.rollup_address r, d.validator_address v, d.duty_type t, d.slot s, d.status),"
    " raised AS ("
    " INSERT INTO holdfast_duty_watermarks AS w"
    "  (rollup_address, validator_address, duty_type, slot)"
    " SELECT r, v, t, max(s) FROM gone GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    " ON CONFLICT (rollup_address, validator_address, duty_type)"
    " DO UPDATE SET slot = greatest(w.slot, excluded.slot), raised_at = now())"
    " SELECT count(*) FILTER (WHERE status = 'signing'),"
    "  count(*) FILTER (WHERE status = 'signed') FROM gone";

static uint64_t number_at(const PGresult *result, int column)
{
    uint64_t value = 0;
    hf_status st = hf_num_parse_u64(PQgetvalue(result, 0, column),
                                    (size_t)PQgetlength(result, 0, column), &value);
    return hf_failed(st) ? 0 : value;
}

hf_duty_result clean_run(PGconn *conn, const hf_duty_config *config, uint64_t *ret_stuck,
                         uint64_t *ret_old, hf_duty_error *error)
{
    char old_ms[32], stuck_ms[32], rows[16];
    uint64_t stuck = 0, old = 0;
    int n = snprintf(old_ms, sizeof(old_ms), "%llu",
                     (unsigned long long)config->old_age_hours * 3600u * 1000u);
    n += snprintf(stuck_ms, sizeof(stuck_ms), "%u", config->max_stuck_age_ms);
    n += snprintf(rows, sizeof(rows), "%d", CLEAN_STEP_ROWS);
    HF_ASSERT(n > 0);
    const char *values[] = {config->old_age_hours != 0 ? old_ms : NULL, stuck_ms, rows};
    /* The sweep over a scope's rows is no point query: let the planner choose. */
    if (!connect_run(conn,
                     "SET enable_hashjoin = on; SET enable_seqscan = on; SET enable_mergejoin = on;"
                     "SET enable_bitmapscan = on; SET plan_cache_mode = auto",
                     error)) {
        return error != NULL ? error->result : HF_DUTY_UNAVAILABLE;
    }
    for (int step = 0; step < CLEAN_STEPS_MAX; step++) {
        PGresult *result = PQexecParams(conn, clean_sql, 3, NULL, values, NULL, NULL, 0);
        if (PQresultStatus(result) != PGRES_TUPLES_OK) {
            hf_duty_result found = sqlstate_result(PQresultErrorField(result, PG_DIAG_SQLSTATE));
            duty_error_set(error, found, "the cleanup failed: %s", PQresultErrorMessage(result));
            PQclear(result);
            return found;
        }
        uint64_t step_stuck = number_at(result, 0), step_old = number_at(result, 1);
        PQclear(result);
        stuck += step_stuck;
        old += step_old;
        if (step_stuck + step_old == 0) {
            break;
        }
    }
    *ret_stuck = stuck;
    *ret_old = old;
    return HF_DUTY_OK;
}
