/* Records: versions, all or nothing, the generation, and what a reopened store still has. The
 * argument names a store other than SQLite. */
#include "support_dynamodb.h"
#include "support_postgres.h"

typedef struct shelf {
    hf_record records[8];
    uint8_t data[8][16];
    size_t count;
} shelf;

static hf_status put_on_shelf(void *context, const hf_record *record)
{
    shelf *out = context;
    assert_true(out->count < HF_ARRAY_LEN(out->records) && record->len <= sizeof out->data[0]);
    out->records[out->count] = *record;
    memcpy(out->data[out->count], record->data, record->len);
    out->count++;
    return hf_ok();
}

static uint64_t read_all(test_store *test, hf_record_kind kind, shelf *ret_shelf)
{
    uint64_t generation = 0;
    *ret_shelf = (shelf){0};
    assert_code(test->store->ops->records(test->store, kind, put_on_shelf, ret_shelf, &generation,
                                          &test->err),
                HF_OK);
    return generation;
}

static hf_record_change change(uint8_t id, uint64_t expected, const char *data)
{
    hf_record_change c = {.expected = expected, .is_removal = data == NULL};
    c.record.kind = HF_RECORD_TOKEN;
    c.record.id[0] = id;
    c.record.data = (const uint8_t *)data;
    c.record.len = data != NULL ? (uint32_t)strlen(data) : 0;
    return c;
}

static hf_code apply(test_store *test, const hf_record_change *changes, size_t n)
{
    return test->store->ops->change_records(test->store, changes, n, &test->err).code;
}

static void test_versions(void **state)
{
    test_store *test = *state;
    shelf found;
    test_store_open(test);
    uint64_t before = read_all(test, HF_RECORD_TOKEN, &found);
    assert_int_equal(found.count, 0);
    hf_record_change made[] = {change(2, 0, "two"), change(1, 0, "one")};
    assert_int_equal(apply(test, made, 2), HF_OK);
    assert_int_equal(read_all(test, HF_RECORD_TOKEN, &found), before + 1);
    assert_int_equal(found.count, 2);
    assert_int_equal(found.records[0].id[0], 1); /* ordered by id */
    assert_int_equal(found.records[0].version, 1);
    assert_memory_equal(found.data[1], "two", 3);
    assert_int_equal(read_all(test, HF_RECORD_KEY, &found), before + 1);
    assert_int_equal(found.count, 0);

    hf_record_change edit = change(1, 1, "uno");
    assert_int_equal(apply(test, &edit, 1), HF_OK);
    assert_int_equal(apply(test, &edit, 1), HF_CONFLICT); /* it is at version 2 now */
    hf_record_change removal = change(2, 1, NULL);
    assert_int_equal(apply(test, &removal, 1), HF_OK);
    assert_int_equal(apply(test, &removal, 1), HF_CONFLICT);
    uint64_t after = read_all(test, HF_RECORD_TOKEN, &found);
    assert_int_equal(after, before + 3);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.records[0].version, 2);
    assert_memory_equal(found.data[0], "uno", 3);
    assert_int_equal(test->store->ops->generation(test->store), after);
}

static void test_all_or_nothing(void **state)
{
    test_store *test = *state;
    shelf found;
    test_store_open(test);
    hf_record_change first = change(1, 0, "one");
    assert_int_equal(apply(test, &first, 1), HF_OK);
    uint64_t before = read_all(test, HF_RECORD_TOKEN, &found);
    hf_record_change mixed[] = {change(2, 0, "two"), change(1, 0, "again")};
    assert_int_equal(apply(test, mixed, 2), HF_CONFLICT);
    assert_int_equal(read_all(test, HF_RECORD_TOKEN, &found), before);
    assert_int_equal(found.count, 1);
}

static void test_refused(void **state)
{
    test_store *test = *state;
    static uint8_t long_data[HF_RECORD_DATA_MAX + 1];
    static hf_record_change many[HF_RECORD_CHANGES_MAX + 1];
    shelf found;
    test_store_open(test);
    hf_record_change too_long = change(1, 0, "");
    too_long.record.data = long_data;
    too_long.record.len = sizeof long_data;
    hf_record_change no_kind = change(1, 0, "x");
    no_kind.record.kind = 0;
    hf_record_change unknown_kind = change(1, 0, "x");
    unknown_kind.record.kind = HF_RECORD_KIND_END;
    hf_record_change removal_of_nothing = change(1, 0, NULL);
    for (size_t i = 0; i < HF_ARRAY_LEN(many); i++) {
        many[i] = change((uint8_t)i, 0, "x");
    }
    assert_int_equal(apply(test, &too_long, 1), HF_INVALID_INPUT);
    assert_int_equal(apply(test, &no_kind, 1), HF_INVALID_INPUT);
    assert_int_equal(apply(test, &unknown_kind, 1), HF_INVALID_INPUT);
    assert_int_equal(apply(test, &removal_of_nothing, 1), HF_INVALID_INPUT);
    assert_int_equal(apply(test, many, HF_ARRAY_LEN(many)), HF_INVALID_INPUT);
    assert_int_equal(apply(test, many, 0), HF_INVALID_INPUT);
    (void)read_all(test, HF_RECORD_TOKEN, &found);
    assert_int_equal(found.count, 0);
    too_long.record.len = HF_RECORD_DATA_MAX;
    assert_int_equal(apply(test, &too_long, 1), HF_OK);
}

/* Signing goes on beside it, and both are there after a restart. */
static void test_reopen(void **state)
{
    test_store *test = *state;
    shelf found;
    test_store_open(test);
    hf_record_change made = change(7, 0, "kept");
    assert_int_equal(apply(test, &made, 1), HF_OK);
    assert_int_equal(test_decide_block(test, 1, 10, 1), HF_VERDICT_ALLOW);
    hf_record_change conflict = change(7, 0, "other");
    assert_int_equal(apply(test, &conflict, 1), HF_CONFLICT);
    assert_int_equal(test_decide_block(test, 1, 10, 2), HF_VERDICT_DOUBLE_BLOCK);
    uint64_t before = read_all(test, HF_RECORD_TOKEN, &found);
    test_store_close(test);
    test_store_open(test);
    assert_int_equal(read_all(test, HF_RECORD_TOKEN, &found), before);
    assert_int_equal(found.count, 1);
    assert_memory_equal(found.data[0], "kept", 4);
    assert_int_equal(test_decide_block(test, 1, 10, 2), HF_VERDICT_DOUBLE_BLOCK);
}

#define WITH_STORE(name)                                                                           \
    cmocka_unit_test_setup_teardown(name, test_store_setup, test_store_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_versions),
        WITH_STORE(test_all_or_nothing),
        WITH_STORE(test_refused),
        WITH_STORE(test_reopen),
    };
    if (argc > 1 && strcmp(argv[1], "postgres") == 0) {
        if (!pg_test_is_possible()) {
            return 77;
        }
        test_other_backend = &pg_test_backend;
    } else if (argc > 1 && strcmp(argv[1], "dynamodb") == 0) {
        test_other_backend = &test_dynamo_backend;
    }
    return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
