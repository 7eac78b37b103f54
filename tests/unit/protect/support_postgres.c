/* A PostgreSQL database of its own for each test. */
#include "support_postgres.h"

#include <unistd.h>

#define SERVER_VARIABLE "HF_TEST_POSTGRES_URL"

bool pg_test_is_possible(void)
{
    if (getenv(SERVER_VARIABLE) != NULL) {
        return true;
    }
    (void)fprintf(stderr, "skipped: " SERVER_VARIABLE " is not set: tests/with-postgres.sh does\n");
    return false;
}

void pg_test_url(char *out, size_t out_len, const char *user, const char *password,
                 const char *database)
{
    const char *server = getenv(SERVER_VARIABLE);
    assert_non_null(server);
    const char *host = strrchr(server, '@');
    const char *path = strrchr(server, '/');
    assert_true(host != NULL && path != NULL && host < path);
    if (user == NULL) {
        assert_code(hf_str_format(out, out_len, "%.*s/%s", (int)(path - server), server, database),
                    HF_OK);
    } else {
        assert_code(hf_str_format(out, out_len, "postgresql://%s:%s%.*s/%s", user, password,
                                  (int)(path - host), host, database),
                    HF_OK);
    }
}

static void exec_on(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    ExecStatusType state = PQresultStatus(result);
    if (state != PGRES_COMMAND_OK && state != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    }
    PQclear(result);
}

static void on_server(const char *format, const char *name)
{
    char sql[256];
    PGconn *conn = PQconnectdb(getenv(SERVER_VARIABLE));
    assert_int_equal(PQstatus(conn), CONNECTION_OK);
    exec_on(conn, "SET client_min_messages = error");
    assert_true(snprintf(sql, sizeof sql, "%s %s", format, name) < (int)sizeof sql);
    exec_on(conn, sql);
    PQfinish(conn);
}

void pg_test_init(pg_test *test)
{
    static unsigned count;
    *test = (pg_test){0};
    assert_code(
        hf_str_format(test->name, sizeof test->name, "hf_test_%ld_%u", (long)getpid(), ++count),
        HF_OK);
    on_server("CREATE DATABASE", test->name);
    pg_test_url(test->config.url, sizeof test->config.url, NULL, NULL, test->name);
    test->root = PQconnectdb(test->config.url);
    assert_int_equal(PQstatus(test->root), CONNECTION_OK);
    exec_on(test->root, "SET client_min_messages = error");
    test->config.auto_migrate = true;
    test->config.deadline_ms = 5000;
    memset(test->config.genesis_validators_root, 7, HF_ROOT_BYTES);
}

void pg_test_open(pg_test *test)
{
    hf_status st = hf_store_open_postgres(&test->config, &test->store, &test->err);
    if (hf_failed(st)) {
        fail_msg("open: %s", test->err.msg);
    }
}

void pg_test_close(pg_test *test)
{
    if (test->store != NULL) {
        test->store->ops->close(test->store);
        test->store = NULL;
    }
}

void pg_test_done(pg_test *test)
{
    /* The database goes with the server: to drop it would be a checkpoint. */
    pg_test_close(test);
    PQfinish(test->root);
    test->root = NULL;
}

void pg_test_exec(pg_test *test, const char *sql)
{
    exec_on(test->root, sql);
}

char *pg_test_ask(pg_test *test, const char *sql)
{
    PGresult *result = PQexec(test->root, sql);
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1) {
        fail_msg("%s: %s", sql, PQerrorMessage(test->root));
    }
    char *text = strdup(PQgetvalue(result, 0, 0));
    assert_non_null(text);
    PQclear(result);
    return text;
}

int64_t pg_test_count(pg_test *test, const char *sql)
{
    uint64_t value = 0;
    char *text = pg_test_ask(test, sql);
    assert_code(hf_num_parse_u64(text, strlen(text), &value), HF_OK);
    free(text);
    return (int64_t)value;
}

void pg_test_forget(pg_test *test)
{
    pg_test_exec(test, "TRUNCATE validators, signed_blocks, signed_attestations, low_watermarks,"
                       " holdfast_votes; UPDATE metadata SET high_watermark_slot = NULL,"
                       " high_watermark_epoch = NULL");
}

hf_verdict pg_test_decide(pg_test *test, hf_message message)
{
    hf_verdict verdict = HF_VERDICT_COUNT;
    hf_status st = test->store->ops->decide(test->store, &message, 1, &verdict, &test->err);
    if (hf_failed(st)) {
        fail_msg("decide: %s", test->err.msg);
    }
    return verdict;
}

hf_import_report pg_test_import(pg_test *test, const hf_message *messages, size_t n)
{
    hf_import_report report = {0};
    hf_status st = test->store->ops->import_begin(test->store, &test->err);
    if (!hf_failed(st)) {
        st = test->store->ops->import_add(test->store, messages, n, &test->err);
    }
    if (!hf_failed(st)) {
        st = test->store->ops->import_commit(test->store, &report, &test->err);
    }
    if (hf_failed(st)) {
        fail_msg("import: %s", test->err.msg);
    }
    return report;
}

void pg_test_export(pg_test *test, test_records *records)
{
    hf_status st =
        hf_store_export_postgres(&test->config, NULL, 0, test_records_add, records, &test->err);
    if (hf_failed(st)) {
        fail_msg("export: %s", test->err.msg);
    }
}

/* ---- behind a test_store ------------------------------------------------------------------ */

pg_test *pg_test_of(const test_store *test)
{
    return test->other;
}

/* Of a test that is over: to empty it is quicker than to make another. */
static pg_test *spare;

static void backend_init(test_store *test)
{
    pg_test *other = spare;
    if (other != NULL) {
        pg_test_exec(other, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    } else {
        other = calloc(1, sizeof *other);
        assert_non_null(other);
        pg_test_init(other);
    }
    spare = NULL;
    test->other = other;
}

static hf_status backend_open(test_store *test)
{
    pg_test *other = pg_test_of(test);
    memcpy(other->config.genesis_validators_root, test->config.genesis_validators_root,
           HF_ROOT_BYTES);
    return hf_store_open_postgres(&other->config, &test->store, &test->err);
}

static hf_status backend_export(test_store *test, hf_export_visitor visitor, void *context)
{
    return hf_store_export_postgres(&pg_test_of(test)->config, NULL, 0, visitor, context,
                                    &test->err);
}

static void backend_done(test_store *test)
{
    pg_test *other = pg_test_of(test);
    test->other = NULL;
    if (spare == NULL) {
        spare = other;
        return;
    }
    pg_test_done(other);
    free(other);
}

const test_backend pg_test_backend = {backend_init, backend_open, backend_export, backend_done};
