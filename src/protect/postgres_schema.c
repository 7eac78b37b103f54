/*
 * What a database must be before anything is recorded in it: a primary, with Web3Signer's tables of
 * version 12 as they were made, our own beside them, and the rights to use them.
 */
#include "protect/postgres_internal.h"

#include <inttypes.h>

#define PEER_TABLES 6
#define OWN_TABLES 2

/* ---- the session -------------------------------------------------------------------------- */

/* Whatever the role, the database or the server have as defaults. An address in the URL may name
 * another search_path; else it is the one that Web3Signer uses. The server probes a silent client:
 * a session whose batch arrived in half, before a link broke, holds its locks until it is ended. */
#define SESSION_SQL                                                                                \
    "SELECT set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO', false),"          \
    " set_config('bytea_output', 'hex', false), set_config('row_security', 'off', false),"         \
    " set_config('standard_conforming_strings', 'on', false),"                                     \
    " set_config('transform_null_equals', 'off', false), set_config('jit', 'off', false),"         \
    " set_config('default_transaction_isolation', 'read committed', false),"                       \
    " set_config('client_min_messages', 'warning', false),"                                        \
    " set_config('tcp_keepalives_idle', '2', false),"                                              \
    " set_config('tcp_keepalives_interval', '1', false),"                                          \
    " set_config('tcp_keepalives_count', '3', false),"                                             \
    " set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit')"            \
    "  IN ('on', 'remote_apply') THEN current_setting('synchronous_commit') ELSE 'on' END, "       \
    "false),"                                                                                      \
    " set_config('search_path', (SELECT CASE WHEN source = 'client' THEN setting"                  \
    "  ELSE 'public, pg_temp' END FROM pg_settings WHERE name = 'search_path'), false)"

/* The look-ups of the signing path are by index whatever the statistics say, planned once. */
#define SIGNING_SQL                                                                                \
    "SELECT set_config('plan_cache_mode', 'force_generic_plan', false),"                           \
    " set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),"    \
    " set_config('enable_mergejoin', 'off', false),"                                               \
    " set_config('enable_bitmapscan', 'off', false),"                                              \
    " set_config('max_parallel_workers_per_gather', '0', false)"

#define SERVER_SQL                                                                                 \
    "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',"                 \
    " current_setting('synchronous_standby_names') = ''"                                           \
    " AND EXISTS (SELECT FROM pg_stat_replication)"

hf_status hf_pg_set_session(hf_pg_link *link, uint32_t timeout_ms, bool signing, hf_error *err)
{
    char timeouts[256];
    hf_status st =
        hf_str_format(timeouts, sizeof timeouts,
                      "SELECT set_config('statement_timeout', '%" PRIu32 "', false),"
                      " set_config('lock_timeout', '%" PRIu32 "', false),"
                      " set_config('idle_in_transaction_session_timeout', '%" PRIu32 "', false)",
                      timeout_ms, signing ? timeout_ms / 4 : timeout_ms, timeout_ms);
    const char *const texts[] = {SESSION_SQL, timeouts, SERVER_SQL, signing ? SIGNING_SQL : NULL,
                                 NULL};
    if (!hf_failed(st)) {
        st = hf_pg_script(link, texts, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    const PGresult *server = hf_pg_result(link, 2);
    if (hf_pg_bool(server, 0, 0)) {
        return hf_fail(err, HF_UNAVAILABLE,
                       "PostgreSQL: the server is a standby; name the primary in the URL");
    }
    if (hf_pg_bool(server, 0, 1)) {
        return hf_fail(err, HF_UNAVAILABLE,
                       "PostgreSQL: transactions are read-only there; name the primary in the URL,"
                       " or end default_transaction_read_only");
    }
    link->lags = hf_pg_bool(server, 0, 2);
    return hf_ok();
}

/* ---- what is there ------------------------------------------------------------------------ */

#define PRESENT_SQL(names) "SELECT count(to_regclass(t))::int FROM unnest(ARRAY[" names "]) t"
#define PEER_NAMES                                                                                 \
    "'validators','signed_blocks','signed_attestations','low_watermarks','metadata',"              \
    "'database_version'"
#define OWN_NAMES "'holdfast_schema','holdfast_votes'"

/* One row a difference, in words. Columns: table, name, type, whether NOT NULL. */
#define COLUMNS_SQL                                                                                \
    "SELECT 'column ' || e.t || '.' || e.c || ' (' || e.y || ') is missing or altered' FROM "      \
    "(VALUES"                                                                                      \
    " ('validators', 'id', 'integer', true), ('validators', 'public_key', 'bytea', true),"         \
    " ('validators', 'enabled', 'boolean', true), ('signed_blocks', 'id', 'bigint', true),"        \
    " ('signed_blocks', 'validator_id', 'integer', true),"                                         \
    " ('signed_blocks', 'slot', 'numeric(20,0)', true),"                                           \
    " ('signed_blocks', 'signing_root', 'bytea', false),"                                          \
    " ('signed_attestations', 'id', 'bigint', true),"                                              \
    " ('signed_attestations', 'validator_id', 'integer', false),"                                  \
    " ('signed_attestations', 'source_epoch', 'numeric(20,0)', true),"                             \
    " ('signed_attestations', 'target_epoch', 'numeric(20,0)', true),"                             \
    " ('signed_attestations', 'signing_root', 'bytea', false),"                                    \
    " ('low_watermarks', 'validator_id', 'integer', true),"                                        \
    " ('low_watermarks', 'slot', 'numeric(20,0)', false),"                                         \
    " ('low_watermarks', 'source_epoch', 'numeric(20,0)', false),"                                 \
    " ('low_watermarks', 'target_epoch', 'numeric(20,0)', false),"                                 \
    " ('metadata', 'id', 'integer', true), ('metadata', 'genesis_validators_root', 'bytea', "      \
    "true),"                                                                                       \
    " ('metadata', 'high_watermark_epoch', 'numeric(20,0)', false),"                               \
    " ('metadata', 'high_watermark_slot', 'numeric(20,0)', false)) e(t, c, y, n)"                  \
    " LEFT JOIN pg_attribute a ON a.attrelid = to_regclass(e.t) AND a.attname = e.c"               \
    "  AND NOT a.attisdropped"                                                                     \
    " WHERE a.attname IS NULL OR format_type(a.atttypid, a.atttypmod) <> e.y"                      \
    "  OR (e.n AND NOT a.attnotnull)"

#define UNIQUE_SQL                                                                                 \
    "SELECT 'the unique constraint of ' || e.t || ' (' || e.c || ') is missing' FROM (VALUES"      \
    " ('validators', 'id'), ('validators', 'public_key'), ('signed_blocks', 'validator_id, "       \
    "slot'),"                                                                                      \
    " ('signed_attestations', 'validator_id, target_epoch'), ('low_watermarks', 'validator_id'),"  \
    " ('metadata', 'id'), ('database_version', 'id')) e(t, c)"                                     \
    " WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = to_regclass(e.t)"                \
    "  AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL"            \
    "  AND e.c = (SELECT string_agg(a.attname, ', ' ORDER BY k.n)"                                 \
    "   FROM unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY k(c, n)"                        \
    "   JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.c))"

/* A table that forgets in a crash, hides rows, or does something else than to store them. */
#define NATURE_SQL                                                                                 \
    "SELECT CASE WHEN c.relkind <> 'r' OR c.relhassubclass THEN t || ' is not a plain table'"      \
    " WHEN c.relpersistence <> 'p' THEN t || ' is not logged: ALTER TABLE ' || t || ' SET LOGGED'" \
    " WHEN c.relrowsecurity THEN t || ' has row level security'"                                   \
    " WHEN c.relhasrules THEN t || ' has rules'"                                                   \
    " ELSE t || ' has a trigger that is not Web3Signer''s' END"                                    \
    " FROM unnest(ARRAY[" PEER_NAMES "]) t JOIN pg_class c ON c.oid = to_regclass(t)"              \
    " WHERE c.relkind <> 'r' OR c.relhassubclass OR c.relpersistence <> 'p' OR c.relrowsecurity"   \
    " OR c.relhasrules OR EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid"                \
    "  AND NOT g.tgisinternal AND g.tgenabled <> 'D' AND (t, g.tgname) NOT IN"                     \
    "  (('metadata', 'check_before_insert_or_update_high_watermarks'),"                            \
    "   ('low_watermarks', 'check_before_insert_or_update_low_watermarks')))"

#define RIGHTS_SQL                                                                                 \
    "SELECT r || ' ON ' || t FROM (VALUES ('validators', 'SELECT INSERT'),"                        \
    " ('signed_blocks', 'SELECT INSERT UPDATE DELETE'),"                                           \
    " ('signed_attestations', 'SELECT INSERT UPDATE DELETE'),"                                     \
    " ('low_watermarks', 'SELECT INSERT UPDATE'), ('metadata', 'SELECT INSERT UPDATE'),"           \
    " ('database_version', 'SELECT'), ('holdfast_schema', 'SELECT UPDATE'),"                       \
    " ('holdfast_votes', 'SELECT INSERT DELETE'),"                                                 \
    " ('holdfast_records', 'SELECT INSERT UPDATE DELETE'), ('holdfast_marks', 'SELECT UPDATE'),"   \
    " ('holdfast_store', 'SELECT UPDATE'), ('holdfast_anchors', 'SELECT INSERT UPDATE')) e(t, "    \
    "rs),"                                                                                         \
    " unnest(string_to_array(rs, ' ')) r"                                                          \
    " WHERE to_regclass(t) IS NOT NULL AND NOT has_table_privilege(to_regclass(t), r)"             \
    " UNION ALL SELECT 'USAGE ON SEQUENCE ' || s FROM unnest(ARRAY['validators_id_seq',"           \
    " 'signed_blocks_id_seq', 'signed_attestations_id_seq']) s"                                    \
    " WHERE to_regclass(s) IS NOT NULL AND NOT has_sequence_privilege(to_regclass(s), 'USAGE')"

/* The tables may be there while the schema around them may not be used. */
#define SCHEMA_RIGHT_SQL                                                                           \
    "SELECT 'USAGE ON SCHEMA ' || nspname FROM pg_namespace"                                       \
    " WHERE nspname = trim(split_part(current_setting('search_path'), ',', 1))"                    \
    " AND NOT has_schema_privilege(oid, 'USAGE')"

#define PEER_VERSION_SQL "SELECT version::bigint FROM database_version WHERE id = 1"
#define OWN_VERSION_SQL                                                                            \
    "SELECT version::bigint, readable_from::bigint, made_all,"                                     \
    " to_regclass('holdfast_records') IS NOT NULL, to_regclass('holdfast_marks') IS NOT NULL AND"  \
    " to_regclass('holdfast_store') IS NOT NULL AND to_regclass('holdfast_anchors') IS NOT NULL"   \
    " FROM holdfast_schema WHERE name = 'slashing'"

static hf_status count_tables(hf_pg_link *link, hf_pg_schema *schema, hf_error *err)
{
    static const char *const texts[] = {SCHEMA_RIGHT_SQL, PRESENT_SQL(PEER_NAMES),
                                        PRESENT_SQL(OWN_NAMES), NULL};
    hf_status st = hf_pg_script(link, texts, err);
    if (hf_failed(st)) {
        return st;
    }
    if (hf_pg_rows(hf_pg_result(link, 0)) > 0) {
        return hf_fail(err, HF_DENIED, "PostgreSQL: the role lacks a right: GRANT %s TO it",
                       hf_pg_text(hf_pg_result(link, 0), 0, 0));
    }
    int32_t peer = hf_pg_i32(hf_pg_result(link, 1), 0, 0, 0);
    int32_t own = hf_pg_i32(hf_pg_result(link, 2), 0, 0, 0);
    if ((peer != 0 && peer != PEER_TABLES) || (own != 0 && own != OWN_TABLES)) {
        return hf_fail(err, HF_CORRUPT,
                       "PostgreSQL: some tables of slashing protection are there and some are not:"
                       " restore the missing ones from a backup, or use an empty database");
    }
    schema->peer_present = peer == PEER_TABLES;
    schema->own_present = own == OWN_TABLES;
    return hf_ok();
}

/* The first row of a statement that finds what is wrong. */
static hf_status expect_none(hf_pg_link *link, size_t statement, hf_error *err)
{
    const PGresult *result = hf_pg_result(link, statement);
    if (hf_pg_rows(result) == 0) {
        return hf_ok();
    }
    return hf_fail(err, HF_CORRUPT,
                   "PostgreSQL: %s: the schema was altered; restore it as Web3Signer's version 12",
                   hf_pg_text(result, 0, 0));
}

static hf_status check_peer(hf_pg_link *link, hf_error *err)
{
    static const char *const texts[] = {COLUMNS_SQL, UNIQUE_SQL, NATURE_SQL, NULL};
    hf_status st = hf_pg_script(link, texts, err);
    for (size_t i = 0; texts[i] != NULL && !hf_failed(st); i++) {
        st = expect_none(link, i, err);
    }
    return st;
}

static hf_status check_rights(hf_pg_link *link, hf_error *err)
{
    hf_status st = hf_pg_query(link, RIGHTS_SQL, NULL, err);
    if (hf_failed(st) || hf_pg_rows(hf_pg_result(link, 0)) == 0) {
        return st;
    }
    return hf_fail(err, HF_DENIED, "PostgreSQL: the role lacks a right: GRANT %s TO it",
                   hf_pg_text(hf_pg_result(link, 0), 0, 0));
}

static hf_status read_versions(hf_pg_link *link, hf_pg_schema *schema, hf_error *err)
{
    hf_status st = hf_pg_query(link, PEER_VERSION_SQL, NULL, err);
    if (!hf_failed(st)) {
        schema->peer_version = hf_pg_i64(hf_pg_result(link, 0), 0, 0, 0);
    }
    if (!hf_failed(st) && schema->own_present) {
        st = hf_pg_query(link, OWN_VERSION_SQL, NULL, err);
        const PGresult *result = hf_pg_result(link, 0);
        schema->own_version = hf_pg_i64(result, 0, 0, 0);
        schema->own_readable_from = hf_pg_i64(result, 0, 1, 0);
        schema->peer_is_ours = hf_pg_bool(result, 0, 2);
        bool lost_records =
            schema->own_version >= HF_PG_OWN_WITH_RECORDS && !hf_pg_bool(result, 0, 3);
        bool lost_marks = schema->own_version >= HF_PG_OWN_WITH_MARKS && !hf_pg_bool(result, 0, 4);
        if (!hf_failed(st) && (lost_records || lost_marks)) {
            st = hf_fail(err, HF_CORRUPT, "PostgreSQL: %s gone: restore the database from a backup",
                         lost_records ? "holdfast_records is"
                                      : "holdfast_marks, holdfast_store or holdfast_anchors is");
        }
    }
    return st;
}

hf_status hf_pg_read_schema(hf_pg_link *link, hf_pg_schema *ret_schema, hf_error *err)
{
    hf_pg_schema schema = {0};
    hf_status st = count_tables(link, &schema, err);
    if (!hf_failed(st) && schema.peer_present) {
        st = check_rights(link, err);
        if (!hf_failed(st)) {
            st = read_versions(link, &schema, err);
        }
        if (!hf_failed(st) && schema.peer_version == HF_PG_PEER_VERSION) {
            st = check_peer(link, err);
        }
    } else if (!hf_failed(st) && schema.own_present) {
        st = hf_fail(err, HF_CORRUPT,
                     "PostgreSQL: the history of what was signed is gone, while holdfast_votes is"
                     " there: restore the database from a backup");
    }
    if (!hf_failed(st)) {
        *ret_schema = schema;
    }
    return st;
}

bool hf_pg_needs_migration(const hf_pg_schema *schema)
{
    return !schema->peer_present || !schema->own_present || schema->own_version < HF_PG_OWN_VERSION;
}

hf_status hf_pg_check_schema(const hf_pg_schema *schema, hf_error *err)
{
    if (schema->peer_present && schema->peer_version > HF_PG_PEER_VERSION) {
        return hf_fail(err, HF_CONFLICT,
                       "PostgreSQL: the schema is Web3Signer's version %" PRId64
                       ", newer than 12, which this program knows: upgrade Holdfast",
                       schema->peer_version);
    }
    if (schema->peer_present && schema->peer_version < HF_PG_PEER_VERSION) {
        return hf_fail(err, HF_CONFLICT,
                       "PostgreSQL: the schema is Web3Signer's version %" PRId64
                       ": bring it to 12 with Web3Signer's own migrations first",
                       schema->peer_version);
    }
    if (schema->own_present && schema->own_readable_from > HF_PG_OWN_VERSION) {
        return hf_fail(err, HF_CONFLICT,
                       "PostgreSQL: Holdfast's tables are of version %" PRId64
                       ", newer than this program can use: upgrade Holdfast",
                       schema->own_version);
    }
    if (!schema->peer_present || !schema->own_present || schema->own_version < HF_PG_OWN_OLDEST) {
        return hf_fail(err, HF_CONFLICT,
                       "PostgreSQL: the schema is not there or old: run holdfast db migrate up");
    }
    return hf_ok();
}

hf_status hf_pg_claim_root(hf_pg_link *link, const uint8_t root[HF_ROOT_BYTES], hf_error *err)
{
    hf_pg_params params = {0};
    hf_pg_param(&params, root, HF_ROOT_BYTES);
    hf_status st = hf_pg_send_text(link,
                                   "INSERT INTO metadata(id, genesis_validators_root)"
                                   " SELECT 1, $1::bytea WHERE NOT EXISTS"
                                   " (SELECT FROM metadata WHERE id = 1) ON CONFLICT DO NOTHING",
                                   &params, err);
    if (!hf_failed(st)) {
        st = hf_pg_query(link,
                         "SELECT genesis_validators_root = $1::bytea FROM metadata"
                         " WHERE id = 1",
                         &params, err);
    }
    if (!hf_failed(st) && !hf_pg_bool(hf_pg_result(link, 1), 0, 0)) {
        st = hf_fail(err, HF_CONFLICT,
                     "PostgreSQL: the database belongs to another network (genesis validators"
                     " root): correct the URL or the network");
    }
    return st;
}
