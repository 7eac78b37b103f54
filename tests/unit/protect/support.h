/* What the tests of protect share: a store in a folder of its own, and messages in one line. */
#ifndef HF_TEST_PROTECT_SUPPORT_H
#define HF_TEST_PROTECT_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protect/protect.h"

#define NO_ROOT 0 /* as the root of a message: none */

typedef struct test_store {
    char folder[256];
    hf_sqlite_config config; /* of any store: the genesis validators root */
    hf_store *store;
    hf_error err;
    void *other; /* of test_backend */
} test_store;

/* Another store than SQLite, for tests that hold for each. */
typedef struct test_backend {
    void (*init)(test_store *test);
    hf_status (*open)(test_store *test);
    hf_status (*export_all)(test_store *test, hf_export_visitor visitor, void *context);
    void (*done)(test_store *test); /* the store is closed */
} test_backend;
extern const test_backend *test_other_backend; /* NULL: SQLite */

/* A new folder and a path in it; opens nothing. */
void test_store_init(test_store *test);
void test_store_open(test_store *test);
void test_store_close(test_store *test);
/* Closes, and removes the folder. */
void test_store_done(test_store *test);
/* Of cmocka: *state is a test_store, not yet open. */
int test_store_setup(void **state);
int test_store_teardown(void **state);

hf_message test_block(uint8_t validator, uint64_t slot, uint32_t root);
hf_message test_vote(uint8_t validator, uint64_t source, uint64_t target, uint32_t root);

/* Decides one message and asserts that the store could. */
hf_verdict test_decide(test_store *test, const hf_message *message);
hf_verdict test_decide_block(test_store *test, uint8_t validator, uint64_t slot, uint32_t root);
hf_verdict test_decide_vote(test_store *test, uint8_t validator, uint64_t source, uint64_t target,
                            uint32_t root);
/* Begin, add, commit; asserts success. */
hf_import_report test_import(test_store *test, const hf_message *messages, size_t n);

/* An export gathered in memory. */
typedef struct test_records {
    hf_message *messages;
    size_t count;
    size_t capacity;
} test_records;

hf_status test_records_add(void *context, const hf_message *message);
void test_records_export(test_store *test, test_records *records);
void test_records_free(test_records *records);

/* A cmocka name for hf_failed and its code. */
#define assert_code(status, expected) assert_int_equal((status).code, (expected))

#endif
