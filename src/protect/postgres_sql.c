/*
 * The statements of the signing path: what rules.c says, once more, for a set of messages.
 *
 * Verdicts are the numbers of hf_verdict; 100 (HF_PG_VERDICT_UNKNOWN) is a validator that is not
 * the one of its id. Look-ups are by Web3Signer's own indexes.
 */
#include "protect/postgres_internal.h"

/* No row unless the database is what it was when the connection was made. */
#define DATABASE_CTE                                                                               \
    "h AS (SELECT high_watermark_slot AS slot, high_watermark_epoch AS epoch FROM metadata"        \
    " WHERE id = 1 AND genesis_validators_root = $6::bytea AND EXISTS"                             \
    " (SELECT FROM database_version WHERE id = 1 AND version = 12))"

/* Floors of everyone; no row, and with it no verdict, when the description of ours is gone. */
#define FLOORS_CTE                                                                                 \
    ", e AS (SELECT floor_slot, floor_source, floor_target FROM holdfast_store WHERE id = 1)"
#define HIGHER(floor, base) "greatest(" floor ", " base ")"

/* What is recorded is counted, in a row that no other connection waits for: each has its own, but
 * for chance, and it is the last thing that a batch locks which others may want. */
#define COUNTED(column, clock)                                                                     \
    ", c AS (UPDATE holdfast_marks SET " column " = " column " + (SELECT count(*) FROM r),"        \
    " seen = greatest(seen, " clock "::bigint) WHERE slot = pg_backend_pid() % " HF_PG_MARK_ROWS   \
    " AND EXISTS (SELECT FROM r) RETURNING 1)"
#define RECORDED "(SELECT count(*) FROM r)"
/* What was not counted is not recorded: the cast fails then, and says it. */
#define RECORDED_AND_COUNTED                                                                       \
    "(SELECT CASE WHEN count(*) > 0 AND NOT EXISTS (SELECT FROM c)"                                \
    " THEN ('holdfast_marks has lost rows, not counted: ' || count(*))::bigint"                    \
    " ELSE count(*) END FROM r)"

/* $1 numbers in the batch, $2 validator ids, $3 public keys, $4 slots, $5 roots, $6 network; where
 * it is counted, $7 the clock. */
#define DECIDE_BLOCKS(ctes, from, floor, counted, recorded)                                        \
    "WITH " DATABASE_CTE ctes ", m AS (SELECT * FROM unnest($1::int[], $2::int[], $3::bytea[],"    \
    " $4::bigint[], $5::bytea[]) AS t(i, id, pubkey, slot, root)), d AS MATERIALIZED ("            \
    "SELECT m.i, m.id, m.slot::numeric AS slot, m.root, w.slot AS floor, CASE"                     \
    " WHEN v.id IS NULL THEN 100"                                                                  \
    " WHEN NOT v.enabled THEN 9"                                                                   \
    " WHEN m.slot >= h.slot THEN 7"                                                                \
    " WHEN b.id IS NOT NULL THEN CASE WHEN b.signing_root = m.root THEN 1 ELSE 2 END"              \
    " WHEN m.slot <= " floor " THEN 6"                                                             \
    " ELSE 0 END AS verdict"                                                                       \
    " FROM m CROSS JOIN h" from                                                                    \
    " LEFT JOIN validators v ON v.id = m.id AND v.public_key = m.pubkey"                           \
    " LEFT JOIN low_watermarks w ON w.validator_id = m.id"                                         \
    " LEFT JOIN signed_blocks b ON b.validator_id = m.id AND b.slot = m.slot::numeric),"           \
    " r AS (INSERT INTO signed_blocks(validator_id, slot, signing_root)"                           \
    " SELECT id, slot, root FROM d WHERE verdict = 0 RETURNING 1)" counted ","                     \
    " f AS (INSERT INTO low_watermarks AS w (validator_id, slot)"                                  \
    " SELECT id, slot FROM d WHERE verdict = 0 AND floor IS NULL ORDER BY id"                      \
    " ON CONFLICT (validator_id) DO UPDATE SET slot = coalesce(w.slot, excluded.slot))"            \
    " SELECT i, verdict::int, floor IS NOT NULL OR verdict = 0, " recorded " FROM d"

/* $7 sources beside $4 targets; the clock is $8. A vote whose source is above s has its target
 * above s too, but for those in holdfast_votes: so only the targets between source and target are
 * looked through. */
#define DECIDE_VOTES(ctes, from, source, target, counted, recorded)                                \
    "WITH " DATABASE_CTE ctes ", m AS (SELECT * FROM unnest($1::int[], $2::int[], $3::bytea[],"    \
    " $4::bigint[], $5::bytea[], $7::bigint[]) AS t(i, id, pubkey, target, root, source)),"        \
    " d AS MATERIALIZED ("                                                                         \
    "SELECT m.i, m.id, m.source::numeric AS source, m.target::numeric AS target, m.root,"          \
    " w.target_epoch AS floor, CASE"                                                               \
    " WHEN v.id IS NULL THEN 100"                                                                  \
    " WHEN NOT v.enabled THEN 9"                                                                   \
    " WHEN m.source > m.target THEN 8"                                                             \
    " WHEN m.target >= h.epoch THEN 7"                                                             \
    " WHEN a.id IS NOT NULL AND NOT coalesce(a.source_epoch = m.source"                            \
    "  AND a.signing_root = m.root, false) THEN 3"                                                 \
    " WHEN EXISTS (SELECT FROM holdfast_votes x WHERE x.validator_id = m.id"                       \
    "  AND x.target_epoch = m.target::numeric) THEN 3"                                             \
    " WHEN m.source < " source " THEN 6"                                                           \
    " WHEN a.id IS NULL AND m.target <= " target " THEN 6"                                         \
    " WHEN EXISTS (SELECT FROM signed_attestations x WHERE x.validator_id = m.id"                  \
    "  AND x.target_epoch > m.source::numeric AND x.target_epoch < m.target::numeric"              \
    "  AND x.source_epoch > m.source::numeric) THEN 4"                                             \
    " WHEN EXISTS (SELECT FROM holdfast_votes x WHERE x.validator_id = m.id"                       \
    "  AND x.target_epoch < m.target::numeric AND x.source_epoch > m.source::numeric) THEN 4"      \
    " WHEN EXISTS (SELECT FROM signed_attestations x WHERE x.validator_id = m.id"                  \
    "  AND x.target_epoch > m.target::numeric AND x.source_epoch < m.source::numeric) THEN 5"      \
    " WHEN EXISTS (SELECT FROM holdfast_votes x WHERE x.validator_id = m.id"                       \
    "  AND x.target_epoch > m.target::numeric AND x.source_epoch < m.source::numeric) THEN 5"      \
    " WHEN a.id IS NOT NULL THEN 1"                                                                \
    " ELSE 0 END AS verdict"                                                                       \
    " FROM m CROSS JOIN h" from                                                                    \
    " LEFT JOIN validators v ON v.id = m.id AND v.public_key = m.pubkey"                           \
    " LEFT JOIN low_watermarks w ON w.validator_id = m.id"                                         \
    " LEFT JOIN signed_attestations a ON a.validator_id = m.id"                                    \
    "  AND a.target_epoch = m.target::numeric),"                                                   \
    " r AS (INSERT INTO signed_attestations(validator_id, source_epoch, target_epoch, "            \
    "signing_root)"                                                                                \
    " SELECT id, source, target, root FROM d WHERE verdict = 0 RETURNING 1)" counted ","           \
    " f AS (INSERT INTO low_watermarks AS w (validator_id, source_epoch, target_epoch)"            \
    " SELECT id, source, target FROM d WHERE verdict = 0 AND floor IS NULL ORDER BY id"            \
    " ON CONFLICT (validator_id) DO UPDATE SET"                                                    \
    " source_epoch = CASE WHEN w.target_epoch IS NULL THEN excluded.source_epoch"                  \
    "  ELSE w.source_epoch END,"                                                                   \
    " target_epoch = coalesce(w.target_epoch, excluded.target_epoch))"                             \
    " SELECT i, verdict::int, floor IS NOT NULL OR verdict = 0, " recorded " FROM d"

const hf_pg_statement hf_pg_decide_plain[] = {
    {"blocks", DECIDE_BLOCKS("", "", "w.slot", "", RECORDED)},
    {"votes", DECIDE_VOTES("", "", "w.source_epoch", "w.target_epoch", "", RECORDED)},
    {NULL, NULL},
};

const hf_pg_statement hf_pg_decide_marked[] = {
    {"blocks", DECIDE_BLOCKS(FLOORS_CTE, " CROSS JOIN e", HIGHER("w.slot", "e.floor_slot"),
                             COUNTED("blocks", "$7"), RECORDED_AND_COUNTED)},
    {"votes", DECIDE_VOTES(FLOORS_CTE, " CROSS JOIN e", HIGHER("w.source_epoch", "e.floor_source"),
                           HIGHER("w.target_epoch", "e.floor_target"), COUNTED("votes", "$8"),
                           RECORDED_AND_COUNTED)},
    {NULL, NULL},
};

const hf_pg_statement hf_pg_decide_statements[] = {
    {"begin", "BEGIN ISOLATION LEVEL READ COMMITTED"},
    {"commit", "COMMIT"},
    /* With a synchronous standby each batch writes something, so that its commit waits: a REPEAT of
     * what the standby does not have must not be answered either. */
    {"gate", "SELECT pg_advisory_xact_lock_shared($1::bigint),"
             " CASE WHEN current_setting('synchronous_standby_names') <> ''"
             " THEN pg_logical_emit_message(true, 'holdfast', '') END"},
    {"lock", "SELECT count(pg_advisory_xact_lock(k, v)) FROM unnest($1::int[], $2::int[]) t(k, v)"},
    {"try_lock", "SELECT k, v, pg_try_advisory_xact_lock(k, v)"
                 " FROM unnest($1::int[], $2::int[]) t(k, v)"},
    {"enter", "INSERT INTO validators(public_key) SELECT k FROM unnest($1::bytea[]) t(k)"
              " WHERE NOT EXISTS (SELECT FROM validators v WHERE v.public_key = k) ORDER BY k"
              " ON CONFLICT (public_key) DO NOTHING"},
    {"find", "SELECT v.id, v.public_key, w.slot IS NOT NULL, w.target_epoch IS NOT "
             "NULL, " HF_PG_BIGINT("greatest(w.slot, b.newest)") ", " HF_PG_BIGINT(
                 "greatest(w.target_epoch,"
                 " a.newest)") " FROM unnest($1::bytea[]) t(k) JOIN validators v ON v.public_key = "
                               "k"
                               " LEFT JOIN low_watermarks w ON w.validator_id = v.id"
                               " CROSS JOIN LATERAL (SELECT max(slot) AS newest FROM signed_blocks"
                               "  WHERE validator_id = v.id) b"
                               " CROSS JOIN LATERAL (SELECT max(target_epoch) AS newest FROM "
                               "signed_attestations"
                               "  WHERE validator_id = v.id) a"},
    {NULL, NULL},
};
