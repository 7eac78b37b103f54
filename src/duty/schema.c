/*
 * The tables: those of the npm package, versions 1 and 2, with its records of migrations, so that
 * either side may create and migrate them; and our own beside them.
 */
#include "duty/duty_internal.h"

#define PACKAGE_VERSION_MAX 2
#define HOLDFAST_VERSION 1
/* The advisory lock of node-pg-migrate, the package's runner. */
#define MIGRATION_LOCK "7241865325823964"

#define RECORD_STEP(name)                                                                          \
    "INSERT INTO pgmigrations (name, run_on) SELECT '" name "', now() WHERE NOT EXISTS"            \
    " (SELECT FROM pgmigrations WHERE name = '" name "');"

static const char step_1[] =
    "CREATE TABLE IF NOT EXISTS schema_version ("
    " version INTEGER PRIMARY KEY,"
    " applied_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);"
    "CREATE TABLE IF NOT EXISTS validator_duties ("
    " rollup_address VARCHAR(42) NOT NULL,"
    " validator_address VARCHAR(42) NOT NULL,"
    " slot BIGINT NOT NULL,"
    " block_number BIGINT NOT NULL,"
    " block_index_within_checkpoint INTEGER NOT NULL DEFAULT 0,"
    " duty_type VARCHAR(30) NOT NULL CHECK (duty_type IN ('BLOCK_PROPOSAL', 'CHECKPOINT_PROPOSAL',"
    " 'ATTESTATION', 'ATTESTATIONS_AND_SIGNERS', 'GOVERNANCE_VOTE', 'SLASHING_VOTE')),"
    " status VARCHAR(20) NOT NULL CHECK (status IN ('signing', 'signed')),"
    " message_hash VARCHAR(66) NOT NULL,"
    " signature VARCHAR(132),"
    " node_id VARCHAR(255) NOT NULL,"
    " lock_token VARCHAR(64) NOT NULL,"
    " started_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,"
    " completed_at TIMESTAMP,"
    " error_message TEXT,"
    " PRIMARY KEY (rollup_address, validator_address, slot, duty_type,"
    " block_index_within_checkpoint),"
    " CHECK (completed_at IS NULL OR completed_at >= started_at));"
    "CREATE INDEX IF NOT EXISTS idx_validator_duties_status"
    " ON validator_duties (status, started_at);"
    "CREATE INDEX IF NOT EXISTS idx_validator_duties_node"
    " ON validator_duties (node_id, started_at);"
    "INSERT INTO schema_version (version) VALUES (1) ON CONFLICT (version) DO NOTHING;" RECORD_STEP(
        "1_initial-schema");

static const char step_2[] =
    "ALTER TABLE validator_duties ADD COLUMN checkpoint_number BIGINT NOT NULL DEFAULT 0;"
    "UPDATE schema_version SET version = 2 WHERE version = 1;" RECORD_STEP("1_initial-schema")
        RECORD_STEP("2_add-checkpoint-number");

static const char step_2_back[] =
    "ALTER TABLE validator_duties DROP COLUMN checkpoint_number;"
    "UPDATE schema_version SET version = 1 WHERE version = 2;"
    "DELETE FROM pgmigrations WHERE name = '2_add-checkpoint-number';";

static const char step_1_back[] = "DROP TABLE IF EXISTS validator_duties;"
                                  "DROP TABLE IF EXISTS schema_version;"
                                  "DELETE FROM pgmigrations WHERE name = '1_initial-schema';"
                                  "DROP TABLE IF EXISTS holdfast_duty_watermarks;"
                                  "DROP TABLE IF EXISTS holdfast_duty_version;";

static const char own_up[] =
    "CREATE TABLE IF NOT EXISTS holdfast_duty_version ("
    " version INTEGER PRIMARY KEY,"
    " applied_at TIMESTAMPTZ NOT NULL DEFAULT now());"
    "CREATE TABLE IF NOT EXISTS holdfast_duty_watermarks ("
    " rollup_address VARCHAR(42) NOT NULL,"
    " validator_address VARCHAR(42) NOT NULL,"
    " duty_type VARCHAR(30) NOT NULL,"
    " slot BIGINT NOT NULL,"
    " raised_at TIMESTAMPTZ NOT NULL DEFAULT now(),"
    " PRIMARY KEY (rollup_address, validator_address, duty_type));"
    "INSERT INTO holdfast_duty_version (version) VALUES (1) ON CONFLICT (version) DO NOTHING;";

/* One row, one column, a number; -1 with the error set. */
static int64_t query_number(PGconn *conn, const char *sql, hf_duty_error *error)
{
    PGresult *result = connect_query(conn, sql, error);
    if (result == NULL) {
        return -1;
    }
    uint64_t value = 0;
    bool ok = PQntuples(result) == 1 &&
              !hf_failed(hf_num_parse_u64(PQgetvalue(result, 0, 0),
                                          (size_t)PQgetlength(result, 0, 0), &value));
    PQclear(result);
    if (!ok || value > INT64_MAX) {
        duty_error_set(error, HF_DUTY_SCHEMA, "the database's version tables hold no number");
        return -1;
    }
    return (int64_t)value;
}

static const struct {
    const char *name;
    const char *type;
} expected_columns[] = {
    {"rollup_address", "character varying(42)"},
    {"validator_address", "character varying(42)"},
    {"slot", "bigint"},
    {"block_number", "bigint"},
    {"block_index_within_checkpoint", "integer"},
    {"duty_type", "character varying(30)"},
    {"status", "character varying(20)"},
    {"message_hash", "character varying(66)"},
    {"signature", "character varying(132)"},
    {"node_id", "character varying(255)"},
    {"lock_token", "character varying(64)"},
    {"started_at", "timestamp with"}, /* with or without time zone */
    {"completed_at", "timestamp with"},
    {"checkpoint_number", "bigint"}, /* version 2 only; the last one */
};

/* Every column there, and of its type? */
static bool columns_right(PGconn *conn, int version, hf_duty_error *error)
{
    PGresult *result = connect_query(conn,
                                     "SELECT attname, format_type(atttypid, atttypmod)"
                                     " FROM pg_attribute WHERE attrelid ="
                                     " to_regclass('validator_duties') AND attnum > 0"
                                     " AND NOT attisdropped",
                                     error);
    if (result == NULL) {
        return false;
    }
    bool right = true;
    size_t wanted = HF_ARRAY_LEN(expected_columns) - (version < 2 ? 1 : 0);
    for (size_t i = 0; right && i < wanted; i++) {
        const char *type = NULL;
        for (int row = 0; row < PQntuples(result); row++) {
            if (strcmp(PQgetvalue(result, row, 0), expected_columns[i].name) == 0) {
                type = PQgetvalue(result, row, 1);
            }
        }
        size_t len = strlen(expected_columns[i].type);
        right = type != NULL && strncmp(type, expected_columns[i].type, len) == 0;
        if (!right) {
            duty_error_set(error, HF_DUTY_SCHEMA,
                           "table validator_duties has been altered, or comes from a pre-release:"
                           " column %s is %s, not %s; restore it, or start on an empty database",
                           expected_columns[i].name, type != NULL ? type : "missing",
                           expected_columns[i].type);
        }
    }
    PQclear(result);
    return right;
}

/* The primary key is the lock: without it nothing is exclusive. */
static bool key_right(PGconn *conn, hf_duty_error *error)
{
    int64_t right = query_number(
        conn,
        "SELECT count(*) FROM pg_index i WHERE i.indrelid = to_regclass('validator_duties')"
        " AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND"
        " (SELECT array_agg(a.attname::text ORDER BY a.attname::text) FROM pg_attribute a"
        "  WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)) ="
        " ARRAY['block_index_within_checkpoint', 'duty_type', 'rollup_address', 'slot',"
        " 'validator_address']",
        error);
    if (right == 0) {
        duty_error_set(error, HF_DUTY_SCHEMA,
                       "table validator_duties has been altered: its primary key over rollup,"
                       " validator, slot, type and index is missing; restore it before you sign");
    }
    return right > 0;
}

static bool rights_right(PGconn *conn, hf_duty_error *error)
{
    int64_t right =
        query_number(conn,
                     "SELECT (has_table_privilege('validator_duties', 'SELECT')"
                     " AND has_table_privilege('validator_duties', 'INSERT')"
                     " AND has_table_privilege('validator_duties', 'UPDATE')"
                     " AND has_table_privilege('validator_duties', 'DELETE')"
                     " AND has_table_privilege('holdfast_duty_watermarks', 'SELECT')"
                     " AND has_table_privilege('holdfast_duty_watermarks', 'INSERT')"
                     " AND has_table_privilege('holdfast_duty_watermarks', 'UPDATE'))::int",
                     error);
    if (right == 0) {
        duty_error_set(error, HF_DUTY_ACCESS,
                       "user %s may not read and write tables validator_duties and"
                       " holdfast_duty_watermarks; GRANT SELECT, INSERT, UPDATE, DELETE on both",
                       PQuser(conn));
    }
    return right > 0;
}

/* Versions: 0 when the tables are missing. False with the error set when it cannot be told. */
static bool versions_read(PGconn *conn, hf_duty_schema *schema, hf_duty_error *error)
{
    *schema = (hf_duty_schema){0};
    int64_t there = query_number(conn,
                                 "SELECT (to_regclass('validator_duties') IS NOT NULL)::int"
                                 " + 2 * (to_regclass('schema_version') IS NOT NULL)::int"
                                 " + 4 * (to_regclass('holdfast_duty_version') IS NOT NULL AND"
                                 " to_regclass('holdfast_duty_watermarks') IS NOT NULL)::int",
                                 error);
    if (there < 0) {
        return false;
    }
    if ((there & 3) == 1 || (there & 3) == 2) {
        duty_error_set(error, HF_DUTY_SCHEMA,
                       "of tables validator_duties and schema_version only one exists: the"
                       " database was altered by hand; restore the other");
        return false;
    }
    int64_t package = 0, own = 0;
    if ((there & 1) != 0) {
        package = query_number(conn, "SELECT coalesce(max(version), 0) FROM schema_version", error);
    }
    if (package >= 0 && (there & 4) != 0) {
        own = query_number(conn, "SELECT coalesce(max(version), 0) FROM holdfast_duty_version",
                           error);
    }
    if (package < 0 || own < 0) {
        return false;
    }
    if ((there & 1) != 0 && package == 0) {
        duty_error_set(error, HF_DUTY_SCHEMA,
                       "table schema_version is empty: the database was altered by hand;"
                       " restore its row");
        return false;
    }
    if (package > PACKAGE_VERSION_MAX || own > HOLDFAST_VERSION) {
        duty_error_set(error, HF_DUTY_SCHEMA,
                       "the duty tables have version %lld, newer than this release knows (%d);"
                       " update holdfast",
                       (long long)(own > HOLDFAST_VERSION ? own : package),
                       own > HOLDFAST_VERSION ? HOLDFAST_VERSION : PACKAGE_VERSION_MAX);
        return false;
    }
    schema->package_version = (int)package;
    schema->holdfast_version = (int)own;
    return true;
}

hf_duty_result schema_check(PGconn *conn, hf_duty_schema *ret_schema, hf_duty_error *error)
{
    hf_duty_schema schema;
    hf_duty_error found = {.result = HF_DUTY_INTERNAL};
    bool right = versions_read(conn, &schema, &found);
    if (right && (schema.package_version == 0 || schema.holdfast_version == 0)) {
        duty_error_set(&found, HF_DUTY_SCHEMA,
                       "the duty tables are not set up; run: holdfast db migrate up"
                       " --database-url URL");
        right = false;
    }
    right = right && columns_right(conn, schema.package_version, &found) &&
            key_right(conn, &found) && rights_right(conn, &found);
    if (!right) {
        if (error != NULL) {
            *error = found;
        }
        return found.result;
    }
    if (ret_schema != NULL) {
        *ret_schema = schema;
    }
    return HF_DUTY_OK;
}

/* The migration table exactly as the package's runner makes it. */
static bool migration_table(PGconn *conn, hf_duty_error *error)
{
    return connect_run(conn,
                       "CREATE TABLE IF NOT EXISTS pgmigrations (id SERIAL PRIMARY KEY,"
                       " name varchar(255) NOT NULL, run_on timestamp NOT NULL)",
                       error);
}

/* What `target` asks for, in one transaction that the caller opened under the lock. */
static bool migrate_locked(PGconn *conn, int target, hf_duty_error *error)
{
    hf_duty_schema schema;
    if (!versions_read(conn, &schema, error)) {
        return false;
    }
    if (schema.package_version == 0 &&
        !(migration_table(conn, error) && connect_run(conn, step_1, error))) {
        return false;
    }
    if (target == 2 && schema.package_version < 2 &&
        !(migration_table(conn, error) && connect_run(conn, step_2, error))) {
        return false;
    }
    return schema.holdfast_version != 0 || connect_run(conn, own_up, error);
}

/* Waits for the lock of migrations; statement_timeout bounds it. */
static bool lock_migrations(PGconn *conn, uint32_t timeout_ms, hf_duty_error *error)
{
    char sql[160];
    int n = snprintf(sql, sizeof(sql),
                     "SET lock_timeout = 0; SET statement_timeout = %u;"
                     "SELECT pg_advisory_lock(" MIGRATION_LOCK ")",
                     timeout_ms);
    HF_ASSERT(n > 0 && (size_t)n < sizeof(sql));
    if (connect_run(conn, sql, error)) {
        return true;
    }
    if (error != NULL && error->result == HF_DUTY_UNAVAILABLE && PQstatus(conn) == CONNECTION_OK) {
        duty_error_set(error, HF_DUTY_UNAVAILABLE,
                       "another migration of this database did not end within %u ms; try again",
                       timeout_ms);
    }
    return false;
}

typedef bool (*locked_step)(PGconn *conn, int argument, hf_duty_error *error);

/* Runs a step in a transaction under the lock: all or nothing. */
static bool run_locked(PGconn *conn, uint32_t timeout_ms, locked_step step, int argument,
                       hf_duty_error *error)
{
    if (!lock_migrations(conn, timeout_ms, error)) {
        return false;
    }
    bool done = connect_run(conn, "BEGIN", error) && step(conn, argument, error) &&
                connect_run(conn, "COMMIT", error);
    if (!done) {
        (void)connect_run(conn, "ROLLBACK", NULL);
    }
    (void)connect_run(conn, "SELECT pg_advisory_unlock(" MIGRATION_LOCK ")", NULL);
    return done;
}

hf_duty_result schema_migrate(PGconn *conn, int target, uint32_t timeout_ms, hf_duty_error *error)
{
    hf_duty_error found = {.result = HF_DUTY_INTERNAL};
    if (run_locked(conn, timeout_ms, migrate_locked, target, &found)) {
        return schema_check(conn, NULL, error);
    }
    if (error != NULL) {
        *error = found;
    }
    return found.result;
}

static int64_t protecting(PGconn *conn, const hf_duty_schema *schema, hf_duty_error *error)
{
    int64_t rows = 0, marks = 0;
    if (schema->package_version > 0) {
        rows = query_number(conn, "SELECT count(*) FROM validator_duties", error);
    }
    if (rows >= 0 && schema->holdfast_version > 0) {
        marks = query_number(conn, "SELECT count(*) FROM holdfast_duty_watermarks", error);
    }
    return rows < 0 || marks < 0 ? -1 : rows + marks;
}

static bool down_locked(PGconn *conn, int discard, hf_duty_error *error)
{
    hf_duty_schema schema;
    if (!versions_read(conn, &schema, error)) {
        return false;
    }
    if (schema.package_version == 2) {
        return migration_table(conn, error) && connect_run(conn, step_2_back, error);
    }
    if (schema.package_version == 0 && schema.holdfast_version == 0) {
        duty_error_set(error, HF_DUTY_SCHEMA, "there are no duty tables: nothing to undo");
        return false;
    }
    /* No row may come between the count and the drop. */
    if (schema.package_version > 0 &&
        !connect_run(conn, "LOCK TABLE validator_duties IN ACCESS EXCLUSIVE MODE", error)) {
        return false;
    }
    int64_t lost = protecting(conn, &schema, error);
    if (lost < 0) {
        return false;
    }
    if (lost > 0 && discard == 0) {
        duty_error_set(error, HF_DUTY_CONFLICT,
                       "refused: %lld records protect validators from signing twice, and would be"
                       " lost; --discard-protection drops them all the same",
                       (long long)lost);
        return false;
    }
    return migration_table(conn, error) && connect_run(conn, step_1_back, error);
}

hf_status hf_duty_schema_status(const char *database_url, uint32_t timeout_ms,
                                hf_duty_schema *ret_schema, hf_error *err)
{
    PGconn *conn = NULL;
    hf_duty_error error = {.result = HF_DUTY_INTERNAL};
    hf_duty_schema schema;
    if (connect_open(database_url, timeout_ms, timeout_ms, -1, &conn, &error) != HF_DUTY_OK) {
        return duty_error_status(&error, err);
    }
    int64_t rows = -1;
    if (versions_read(conn, &schema, &error)) {
        rows = protecting(conn, &schema, &error);
    }
    PQfinish(conn);
    if (rows < 0) {
        return duty_error_status(&error, err);
    }
    schema.protecting = (uint64_t)rows;
    *ret_schema = schema;
    return hf_ok();
}

hf_status hf_duty_schema_up(const char *database_url, uint32_t timeout_ms, int target,
                            hf_error *err)
{
    PGconn *conn = NULL;
    hf_duty_error error = {.result = HF_DUTY_INTERNAL};
    if (target < 0 || target > PACKAGE_VERSION_MAX) {
        return hf_fail(err, HF_USAGE, "the duty tables have versions 1 and 2, not %d", target);
    }
    hf_duty_result result = connect_open(database_url, timeout_ms, timeout_ms, -1, &conn, &error);
    if (result == HF_DUTY_OK) {
        result = schema_migrate(conn, target, timeout_ms, &error);
        PQfinish(conn);
    }
    return result == HF_DUTY_OK ? hf_ok() : duty_error_status(&error, err);
}

hf_status hf_duty_schema_down(const char *database_url, uint32_t timeout_ms,
                              bool discard_protection, hf_error *err)
{
    PGconn *conn = NULL;
    hf_duty_error error = {.result = HF_DUTY_INTERNAL};
    if (connect_open(database_url, timeout_ms, timeout_ms, -1, &conn, &error) != HF_DUTY_OK) {
        return duty_error_status(&error, err);
    }
    bool done = run_locked(conn, timeout_ms, down_locked, discard_protection ? 1 : 0, &error);
    PQfinish(conn);
    if (done) {
        return hf_ok();
    }
    if (error.result == HF_DUTY_CONFLICT) {
        return hf_fail(err, HF_DENIED, "%s", error.message);
    }
    return duty_error_status(&error, err);
}
