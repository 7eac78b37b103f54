/* A PostgreSQL database of its own for each test, on the server of tests/with-postgres.sh. */
#ifndef HF_TEST_PROTECT_SUPPORT_POSTGRES_H
#define HF_TEST_PROTECT_SUPPORT_POSTGRES_H

#include <libpq-fe.h>

#include "support.h"

typedef struct pg_test {
    hf_postgres_config config;
    char name[64]; /* of the database */
    PGconn *root;  /* a superuser in it, for what others would do there */
    hf_store *store;
    hf_error err;
} pg_test;

/* False, with the reason on stderr, when there is no server: the program ends with 77. */
bool pg_test_is_possible(void);

/* A new empty database; opens nothing. */
void pg_test_init(pg_test *test);
void pg_test_open(pg_test *test);
void pg_test_close(pg_test *test);
void pg_test_done(pg_test *test);
/* URL of another database of the server, or with another user. */
void pg_test_url(char *out, size_t out_len, const char *user, const char *password,
                 const char *database);

/* As superuser; asserts success. */
void pg_test_exec(pg_test *test, const char *sql);
/* The one value that it answers, as text, freed by the caller with free. */
char *pg_test_ask(pg_test *test, const char *sql);
int64_t pg_test_count(pg_test *test, const char *sql);
/* Empties all tables, as if nothing had ever been signed. */
void pg_test_forget(pg_test *test);

hf_verdict pg_test_decide(pg_test *test, hf_message message);
hf_import_report pg_test_import(pg_test *test, const hf_message *messages, size_t n);
void pg_test_export(pg_test *test, test_records *records);

/* The pg_test behind a test_store of this backend. */
extern const test_backend pg_test_backend;
pg_test *pg_test_of(const test_store *test);

#endif
