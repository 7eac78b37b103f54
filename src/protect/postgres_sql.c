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

/* $1 numbers in the batch, $2 validator ids, $3 public keys, $4 slots, $5 roots, $6 network. */
static const char decide_blocks[] =
    "WITH " DATABASE_CTE ", m AS (SELECT * FROM unnest($1::int[], $2::int[], $3::bytea[],"
    " $4::bigint[], $5::bytea[]) AS t(i, id, pubkey, slot, root)), d AS MATERIALIZED ("
    "SELECT m.i, m.id, m.slot::numeric AS slot, m.root, w.slot AS floor, CASE"
    " WHEN v.id IS NULL THEN 100"
    " WHEN NOT v.enabled THEN 9"
    " WHEN m.slot >= h.slot THEN 7"
    " WHEN b.id IS NOT NULL THEN CASE WHEN b.signing_root = m.root THEN 1 ELSE 2 END"
    " WHEN m.slot <= w.slot THEN 6"
    " ELSE 0 END AS verdict"
    " FROM m CROSS JOIN h LEFT JOIN validators v ON v.id = m.id AND v.public_key = m.pubkey"
    " LEFT JOIN low_watermarks w ON w.validator_id = m.id"
    " LEFT JOIN signed_blocks b ON b.validator_id = m.id AND b.slot = m.slot::numeric),"
    " r AS (INSERT INTO signed_blocks(validator_id, slot, signing_root)"
    " SELECT id, slot, root FROM d WHERE verdict = 0 RETURNING 1),"
    " f AS (INSERT INTO low_watermarks AS w (validator_id, slot)"
    " SELECT id, slot FROM d WHERE verdict = 0 AND floor IS NULL ORDER BY id"
    " ON CONFLICT (validator_id) DO UPDATE SET slot = coalesce(w.slot, excluded.slot))"
    " SELECT i, verdict::int, floor IS NOT NULL OR verdict = 0, (SELECT count(*) FROM r) FROM d";

/* $7 sources beside $4 targets. A vote whose source is above s has its target above s too, but for
 * those in holdfast_votes: so only the targets between source and target are looked through. */
static const char decide_votes[] =
    "WITH " DATABASE_CTE ", m AS (SELECT * FROM unnest($1::int[], $2::int[], $3::bytea[],"
    " $4::bigint[], $5::bytea[], $7::bigint[]) AS t(i, id, pubkey, target, root, source)),"
    " d AS MATERIALIZED ("
    "SELECT m.i, m.id, m.source::numeric AS source, m.target::numeric AS target, m.root,"
    " w.target_epoch AS floor, CASE"
    " WHEN v.id IS NULL THEN 100"
    " WHEN NOT v.enabled THEN 9"
    " WHEN m.source > m.target THEN 8"
    " WHEN m.target >= h.epoch THEN 7"
    " WHEN a.id IS NOT NULL AND NOT coalesce(a.source_epoch = m.source"
    "  AND a.signing_root = m.root, false) THEN 3"
    " WHEN EXISTS (SELECT FROM holdfast_votes x WHERE x.validator_id = m.id"
    "  AND x.target_epoch = m.target::numeric) THEN 3"
    " WHEN m.source < w.source_epoch THEN 6"
    " WHEN a.id IS NULL AND m.target <= w.target_epoch THEN 6"
    " WHEN EXISTS (SELECT FROM signed_attestations x WHERE x.validator_id = m.id"
    "  AND x.target_epoch > m.source::numeric AND x.target_epoch < m.target::numeric"
    "  AND x.source_epoch > m.source::numeric) THEN 4"
    " WHEN EXISTS (SELECT FROM holdfast_votes x WHERE x.validator_id = m.id"
    "  AND x.target_epoch < m.target::numeric AND x.source_epoch > m.source::numeric) THEN 4"
    " WHEN EXISTS (SELECT FROM signed_attestations x WHERE x.validator_id = m.id"
    "  AND x.target_epoch > m.target::numeric AND x.source_epoch < m.source::numeric) THEN 5"
    " WHEN EXISTS (SELECT FROM holdfast_votes x WHERE x.validator_id = m.id"
    "  AND x.target_epoch > m.target::numeric AND x.source_epoch < m.source::numeric) THEN 5"
    " WHEN a.id IS NOT NULL THEN 1"
    " ELSE 0 END AS verdict"
    " FROM m CROSS JOIN h LEFT JOIN validators v ON v.id = m.id AND v.public_key = m.pubkey"
    " LEFT JOIN low_watermarks w ON w.validator_id = m.id"
    " LEFT JOIN signed_attestations a ON a.validator_id = m.id"
    "  AND a.target_epoch = m.target::numeric),"
    " r AS (INSERT INTO signed_attestations(validator_id, source_epoch, target_epoch, signing_root)"
    " SELECT id, source, target, root FROM d WHERE verdict = 0 RETURNING 1),"
    " f AS (INSERT INTO low_watermarks AS w (validator_id, source_epoch, target_epoch)"
    " SELECT id, source, target FROM d WHERE verdict = 0 AND floor IS NULL ORDER BY id"
    " ON CONFLICT (validator_id) DO UPDATE SET"
    " source_epoch = CASE WHEN w.target_epoch IS NULL THEN excluded.source_epoch"
    "  ELSE w.source_epoch END,"
    " target_epoch = coalesce(w.target_epoch, excluded.target_epoch))"
    " SELECT i, verdict::int, floor IS NOT NULL OR verdict = 0, (SELECT count(*) FROM r) FROM d";

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
    {"blocks", decide_blocks},
    {"votes", decide_votes},
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
