/* What holds for every store: import, export, pruning. The argument names one other than SQLite. */
#include "support_dynamodb.h"
#include "support_postgres.h"

static hf_store_status status_of(test_store *test)
{
    hf_store_status status;
    assert_code(test->store->ops->status(test->store, &status, &test->err), HF_OK);
    return status;
}

static void test_many_validators_and_reopen(void **state)
{
    test_store *test = *state;
    enum { COUNT = 300 };
    static hf_message messages[COUNT];
    static hf_verdict verdicts[COUNT];
    test_store_open(test);
    for (uint32_t i = 0; i < COUNT; i++) {
        messages[i] = test_vote((uint8_t)i, i, i + 1, 1);
        messages[i].pubkey[1] = (uint8_t)(i >> 8);
    }
    for (int round = 0; round < 3; round++) {
        hf_verdict expected = round == 0 ? HF_VERDICT_ALLOW : HF_VERDICT_REPEAT;
        assert_code(test->store->ops->decide(test->store, messages, COUNT, verdicts, &test->err),
                    HF_OK);
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_int_equal(verdicts[i], expected);
        }
        test_store_close(test);
        test_store_open(test);
    }
    assert_int_equal(status_of(test).validators, COUNT);
    assert_int_equal(status_of(test).attestations, COUNT);
}

/* ---- import ------------------------------------------------------------------------------- */

static void test_import_report(void **state)
{
    test_store *test = *state;
    const hf_message first[] = {
        test_block(1, 10, 1),  test_block(1, 10, 1),  test_block(1, 11, NO_ROOT),
        test_vote(1, 1, 2, 1), test_vote(1, 2, 3, 1), test_vote(2, 5, 6, NO_ROOT),
    };
    const hf_message second[] = {
        test_block(1, 10, 2),  /* another root */
        test_block(1, 11, 1),  /* known without root: nothing new */
        test_block(2, 12, 1),  /* new */
        test_vote(1, 1, 2, 1), /* the same */
        test_vote(1, 2, 3, 9), /* another root */
        test_vote(1, 1, 3, 1), /* another source for the target */
        test_vote(1, 0, 4, 1), /* surrounds */
        test_vote(2, 6, 6, 1), /* another source */
        test_vote(2, 6, 7, 1), /* new */
    };
    test_store_open(test);
    hf_import_report report = test_import(test, first, HF_ARRAY_LEN(first));
    assert_int_equal(report.validators, 2);
    assert_int_equal(report.blocks, 2);
    assert_int_equal(report.attestations, 3);
    assert_int_equal(report.conflicts, 0);
    report = test_import(test, second, HF_ARRAY_LEN(second));
    assert_int_equal(report.blocks, 3);
    assert_int_equal(report.attestations, 6);
    assert_int_equal(report.conflicts, 5);
    assert_int_equal(test_decide_block(test, 1, 10, 1), HF_VERDICT_DOUBLE_BLOCK);
    assert_int_equal(test_decide_block(test, 1, 10, 2), HF_VERDICT_DOUBLE_BLOCK);
    assert_int_equal(test_decide_vote(test, 1, 2, 3, 1), HF_VERDICT_DOUBLE_VOTE);
    /* Surrounded by what came in second: not even a repeat. */
    assert_int_equal(test_decide_vote(test, 1, 1, 2, 1), HF_VERDICT_SURROUNDED_VOTE);
    assert_int_equal(test_decide_vote(test, 2, 6, 7, 1), HF_VERDICT_REPEAT);
    hf_store_status before = status_of(test);
    (void)test_import(test, second, HF_ARRAY_LEN(second));
    hf_store_status after = status_of(test);
    assert_memory_equal(&before, &after, sizeof before);
}

static void test_import_states(void **state)
{
    test_store *test = *state;
    hf_import_report report;
    hf_message good = test_block(1, 10, 1);
    hf_message bad = test_block(1, HF_PROTECT_MAX_NUMBER + 1, 1);
    test_store_open(test);
    const hf_store_ops *ops = test->store->ops;
    assert_code(ops->import_add(test->store, &good, 1, &test->err), HF_CONFLICT);
    assert_code(ops->import_commit(test->store, &report, &test->err), HF_CONFLICT);
    ops->import_abort(test->store);
    assert_code(ops->import_begin(test->store, &test->err), HF_OK);
    assert_code(ops->import_begin(test->store, &test->err), HF_CONFLICT);
    assert_code(ops->import_add(test->store, &bad, 1, &test->err), HF_INVALID_INPUT);
    assert_code(ops->import_add(test->store, &good, 1, &test->err), HF_OK);
    /* Staged is not known yet, and signing goes on. */
    assert_int_equal(test_decide_block(test, 1, 9, 1), HF_VERDICT_ALLOW);
    ops->import_abort(test->store);
    assert_int_equal(test_decide_block(test, 1, 10, 2), HF_VERDICT_ALLOW);
    assert_code(ops->import_begin(test->store, &test->err), HF_OK);
    assert_code(ops->import_commit(test->store, &report, &test->err), HF_OK);
    assert_int_equal(report.validators, 0);
}

/* What is older than the floor adds knowledge and takes no floor back. */
static void test_import_below_floor(void **state)
{
    test_store *test = *state;
    const hf_message older[] = {test_block(1, 50, 1), test_vote(1, 3, 4, 1)};
    test_store_open(test);
    assert_int_equal(test_decide_block(test, 1, 100, 1), HF_VERDICT_ALLOW);
    assert_int_equal(test_decide_vote(test, 1, 10, 11, 1), HF_VERDICT_ALLOW);
    (void)test_import(test, older, HF_ARRAY_LEN(older));
    assert_int_equal(test_decide_block(test, 1, 60, 1), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(test_decide_vote(test, 1, 5, 6, 1), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(test_decide_block(test, 1, 50, 1), HF_VERDICT_DOUBLE_BLOCK);
    assert_int_equal(test_decide_block(test, 1, 100, 1), HF_VERDICT_REPEAT);
}

/* ---- pruning ------------------------------------------------------------------------------ */

static uint64_t prune_all(test_store *test, uint64_t keep, int *ret_steps)
{
    uint64_t rows = 0;
    hf_prune_report report = {.more = true};
    for (*ret_steps = 0; report.more; (*ret_steps)++) {
        assert_code(test->store->ops->prune(test->store, keep, 32, &report, &test->err), HF_OK);
        assert_true(report.rows_deleted <= 512);
        rows += report.rows_deleted;
    }
    return rows;
}

static void test_prune_in_steps(void **state)
{
    test_store *test = *state;
    enum { EPOCHS = 1000, BATCH = 500 };
    static hf_message messages[2 * EPOCHS];
    static hf_verdict verdicts[2 * EPOCHS];
    int steps;
    test_store_open(test);
    for (uint32_t i = 0; i < EPOCHS; i++) {
        messages[2 * i] = test_vote(1, i, i + 1, 1);
        messages[2 * i + 1] = test_block(2, (uint64_t)i * 32, 1);
    }
    assert_code(test->store->ops->decide(test->store, messages, 2 * EPOCHS, verdicts, &test->err),
                HF_OK);
    assert_int_equal(prune_all(test, 0, &steps), 0);
    assert_int_equal(prune_all(test, EPOCHS, &steps), 0);
    assert_int_equal(prune_all(test, HF_PROTECT_MAX_NUMBER, &steps), 0);
    assert_int_equal(prune_all(test, 100, &steps), 899 + 899);
    assert_true(steps > 6);
    assert_int_equal(prune_all(test, 100, &steps), 0);
    hf_store_status status = status_of(test);
    assert_int_equal(status.attestations, 101);
    assert_int_equal(status.blocks, 101);
    assert_int_equal(status.lowest_floors.target, 899);
    assert_int_equal(status.lowest_floors.source, 898);
    assert_int_equal(status.lowest_floors.slot, 898 * 32);
    assert_int_equal(test_decide_vote(test, 1, 898, 899, 1), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(test_decide_vote(test, 1, 899, 900, 1), HF_VERDICT_REPEAT);
    assert_int_equal(test_decide_vote(test, 1, 897, 2000, 1), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(test_decide_block(test, 2, 898 * 32, 1), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(test_decide_block(test, 2, 899 * 32, 1), HF_VERDICT_REPEAT);
}

/* ---- export ------------------------------------------------------------------------------- */

static int compare_records(const void *a, const void *b)
{
    const hf_message *x = a;
    const hf_message *y = b;
    if (x->pubkey[0] != y->pubkey[0]) {
        return x->pubkey[0] < y->pubkey[0] ? -1 : 1;
    }
    if (x->kind != y->kind) {
        return x->kind < y->kind ? -1 : 1;
    }
    return x->slot + x->target < y->slot + y->target ? -1 : 1;
}

static void test_export_round_trip(void **state)
{
    test_store *test = *state;
    test_store other;
    test_records before = {0};
    test_records after = {0};
    int steps;
    test_store_open(test);
    for (uint8_t v = 1; v <= 3; v++) {
        for (uint32_t i = 0; i < 100; i++) {
            assert_int_equal(test_decide_vote(test, v, i + v, i + v + 1, 1 + i), HF_VERDICT_ALLOW);
        }
        assert_int_equal(test_decide_block(test, v, 64, v), HF_VERDICT_ALLOW);
        assert_int_equal(test_decide_block(test, v, 6400, v), HF_VERDICT_ALLOW);
    }
    assert_true(prune_all(test, 20, &steps) > 0);
    test_records_export(test, &before);
    /* Two floors without root, then the records in order, for each validator. */
    assert_int_equal(before.count, 3 * (1 + 1 + 1 + 21));
    assert_int_equal(before.messages[0].kind, HF_MESSAGE_BLOCK);
    assert_int_equal(before.messages[0].has_root, 0);
    assert_int_equal(before.messages[0].slot, 64);
    assert_int_equal(before.messages[1].kind, HF_MESSAGE_ATTESTATION);
    assert_int_equal(before.messages[1].has_root, 0);
    assert_int_equal(before.messages[1].target, 80);
    for (size_t i = 4; i < 24; i++) {
        assert_int_equal(before.messages[i].target, before.messages[i - 1].target + 1);
    }
    test_store_init(&other);
    test_store_open(&other);
    (void)test_import(&other, before.messages, before.count);
    test_records_export(&other, &after);
    assert_int_equal(after.count, before.count);
    /* What was a floor is a record now, and stands among the records. */
    qsort(before.messages, before.count, sizeof *before.messages, compare_records);
    qsort(after.messages, after.count, sizeof *after.messages, compare_records);
    assert_memory_equal(after.messages, before.messages, before.count * sizeof *before.messages);
    assert_int_equal(status_of(&other).lowest_floors.target, status_of(test).lowest_floors.target);
    assert_int_equal(status_of(&other).highest_floors.source,
                     status_of(test).highest_floors.source);
    test_records_free(&before);
    test_records_free(&after);
    test_store_done(&other);
}

/* Votes that lie across a raised floor: the importer is held to at least as much. */
static void test_export_covers_floors(void **state)
{
    test_store *test = *state;
    test_store other;
    test_records records = {0};
    hf_watermark low = {.has_slot = 1, .has_epochs = 1, .slot = 30, .source = 6, .target = 8};
    test_store_open(test);
    assert_int_equal(test_decide_block(test, 1, 20, 1), HF_VERDICT_ALLOW);
    assert_int_equal(test_decide_vote(test, 1, 2, 3, 1), HF_VERDICT_ALLOW);
    assert_int_equal(test_decide_vote(test, 1, 5, 10, 1), HF_VERDICT_ALLOW);
    assert_int_equal(test_decide_vote(test, 1, 10, 12, 1), HF_VERDICT_ALLOW);
    assert_code(test->store->ops->raise_floors(test->store, &low, &test->err), HF_OK);
    test_records_export(test, &records);
    test_store_init(&other);
    test_store_open(&other);
    (void)test_import(&other, records.messages, records.count);
    assert_int_equal(status_of(&other).lowest_floors.slot, 30);
    for (uint64_t s = 0; s < 16; s++) {
        for (uint64_t t = s; t < 16; t++) {
            bool allowed = hf_verdict_allows(test_decide_vote(&other, 1, s, t, 7));
            if (allowed) {
                assert_true(hf_verdict_allows(test_decide_vote(test, 1, s, t, 7)));
            }
        }
    }
    test_records_free(&records);
    test_store_done(&other);
}

/* ---- small operations ------------------------------------------------------------------- */

static void test_status_of_nothing(void **state)
{
    test_store *test = *state;
    test_store_open(test);
    assert_code(test->store->ops->health(test->store, &test->err), HF_OK);
    hf_store_status status = status_of(test);
    assert_int_equal(status.validators, 0);
    assert_int_equal(status.blocks + status.attestations, 0);
    assert_int_equal(status.high.has_slot + status.high.has_epochs, 0);
    assert_int_equal(status.lowest_floors.has_slot + status.lowest_floors.has_epochs, 0);
    assert_memory_equal(status.genesis_validators_root, test->config.genesis_validators_root,
                        HF_ROOT_BYTES);
}

static void test_watermarks(void **state)
{
    test_store *test = *state;
    const hf_store_ops *ops;
    hf_watermark high = {.has_slot = 1, .has_epochs = 1, .slot = 100, .target = 50};
    hf_watermark low = {.has_slot = 1, .has_epochs = 1, .slot = 40, .source = 9, .target = 10};
    test_store_open(test);
    ops = test->store->ops;
    assert_int_equal(test_decide_block(test, 1, 10, 1), HF_VERDICT_ALLOW);
    assert_int_equal(test_decide_vote(test, 1, 1, 2, 1), HF_VERDICT_ALLOW);
    assert_code(ops->set_high(test->store, &high, &test->err), HF_OK);
    assert_code(ops->raise_floors(test->store, &low, &test->err), HF_OK);
    assert_int_equal(test_decide_block(test, 1, 100, 1), HF_VERDICT_ABOVE_HIGH_WATERMARK);
    assert_int_equal(test_decide_vote(test, 1, 49, 50, 1), HF_VERDICT_ABOVE_HIGH_WATERMARK);
    assert_int_equal(test_decide_block(test, 1, 40, 1), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(test_decide_vote(test, 1, 8, 12, 1), HF_VERDICT_BELOW_WATERMARK);
    hf_store_status status = status_of(test);
    assert_int_equal(status.high.slot, 100);
    assert_int_equal(status.high.target, 50);
    assert_int_equal(status.lowest_floors.slot, 40);
    assert_int_equal(status.highest_floors.source, 9);
    assert_int_equal(status.highest_floors.target, 10);
    low.slot = 30;
    assert_code(ops->raise_floors(test->store, &low, &test->err), HF_OK);
    assert_int_equal(status_of(test).lowest_floors.slot, 40);
    assert_code(ops->set_high(test->store, NULL, &test->err), HF_OK);
    assert_int_equal(test_decide_block(test, 1, 100, 1), HF_VERDICT_ALLOW);
    high.slot = HF_PROTECT_MAX_NUMBER + 1;
    assert_code(ops->set_high(test->store, &high, &test->err), HF_INVALID_INPUT);
}

#define WITH_STORE(name)                                                                           \
    cmocka_unit_test_setup_teardown(name, test_store_setup, test_store_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_many_validators_and_reopen),
        WITH_STORE(test_import_report),
        WITH_STORE(test_import_states),
        WITH_STORE(test_import_below_floor),
        WITH_STORE(test_prune_in_steps),
        WITH_STORE(test_export_round_trip),
        WITH_STORE(test_export_covers_floors),
        WITH_STORE(test_status_of_nothing),
        WITH_STORE(test_watermarks),
    };
    if (argc > 1 && strcmp(argv[1], "postgres") == 0) {
        if (!pg_test_is_possible()) {
            return 77;
        }
        test_other_backend = &pg_test_backend;
    } else if (argc > 1 && strcmp(argv[1], "dynamodb") == 0) {
        test_other_backend = &test_dynamo_backend;
    }
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
