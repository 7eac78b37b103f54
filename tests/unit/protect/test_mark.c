/* How far a store has come, floors for everyone, anchors; for every store, as test_store.c. */
#include "support_dynamodb.h"
#include "support_postgres.h"

static const uint8_t lineage[HF_LINEAGE_BYTES] = {1, 2, 3};
static const hf_watermark present = {
    .has_slot = 1, .has_epochs = 1, .slot = 320, .source = 10, .target = 10};

static hf_store_mark mark_of(test_store *test)
{
    hf_store_mark mark;
    assert_code(test->store->ops->health(test->store, &test->err), HF_OK);
    assert_code(test->store->ops->mark(test->store, &mark, &test->err), HF_OK);
    return mark;
}

static void take_over(test_store *test, const hf_watermark *low)
{
    assert_code(test->store->ops->take_over(test->store, low, lineage, &test->err), HF_OK);
}

/* ---- the mark ----------------------------------------------------------------------------- */

/* Rises with each record, stands still for repeats, refusals and pruning, and survives. */
static void test_mark_rises(void **state)
{
    test_store *test = *state;
    hf_prune_report pruned;
    test_store_open(test);
    hf_store_mark before = mark_of(test);
    for (uint32_t i = 1; i <= 20; i++) {
        hf_store_mark after;
        bool is_block = i % 2 == 0;
        assert_int_equal(is_block ? test_decide_block(test, 1, i, 1)
                                  : test_decide_vote(test, 1, i, i + 1, 1),
                         HF_VERDICT_ALLOW);
        assert_code(test->store->ops->mark(test->store, &after, &test->err), HF_OK);
        if (after.is_counted) {
            assert_true(is_block ? after.block_id > before.block_id
                                 : after.vote_id > before.vote_id);
        }
        before = after;
    }
    assert_int_equal(test_decide_block(test, 1, 20, 1), HF_VERDICT_REPEAT);
    assert_int_equal(test_decide_block(test, 1, 20, 2), HF_VERDICT_DOUBLE_BLOCK);
    do {
        assert_code(test->store->ops->prune(test->store, 2, 2, &pruned, &test->err), HF_OK);
    } while (pruned.more);
    hf_store_mark after = mark_of(test);
    assert_int_equal(after.vote_id, before.vote_id);
    assert_int_equal(after.block_id, before.block_id);
    test_store_close(test);
    test_store_open(test);
    after = mark_of(test);
    assert_int_equal(after.vote_id, before.vote_id);
    assert_int_equal(after.block_id, before.block_id);
    assert_memory_equal(after.lineage, before.lineage, HF_LINEAGE_BYTES);
}

/* ---- floors for everyone ------------------------------------------------------------------ */

static void expect_guarded(test_store *test, uint8_t validator)
{
    assert_int_equal(test_decide_block(test, validator, 320, 7), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(test_decide_vote(test, validator, 10, 10, 7), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(test_decide_vote(test, validator, 9, 11, 7), HF_VERDICT_BELOW_WATERMARK);
}

static void test_floors_for_known_and_unknown(void **state)
{
    test_store *test = *state;
    const hf_message imported[] = {test_block(3, 5, 1), test_vote(3, 1, 2, 1)};
    test_store_open(test);
    assert_int_equal(test_decide_block(test, 1, 100, 1), HF_VERDICT_ALLOW);
    assert_int_equal(test_decide_vote(test, 1, 2, 3, 1), HF_VERDICT_ALLOW);
    assert_int_equal(test_decide_block(test, 4, 100, 1), HF_VERDICT_ALLOW);
    take_over(test, &present);
    for (int round = 0; round < 2; round++) {
        for (uint8_t validator = 1; validator <= 4; validator++) {
            expect_guarded(test, validator);
        }
        /* What is on record may be signed again, but for votes from below the source floor. */
        assert_int_equal(test_decide_block(test, 1, 100, 1), HF_VERDICT_REPEAT);
        assert_int_equal(test_decide_vote(test, 1, 2, 3, 1), HF_VERDICT_BELOW_WATERMARK);
        if (round == 0) {
            (void)test_import(test, imported, HF_ARRAY_LEN(imported));
            expect_guarded(test, 3);
            test_store_close(test);
            test_store_open(test);
        }
    }
    for (uint8_t validator = 1; validator <= 4; validator++) {
        assert_int_equal(test_decide_block(test, validator, 321, 7), HF_VERDICT_ALLOW);
        assert_int_equal(test_decide_vote(test, validator, 10, 11, 7), HF_VERDICT_ALLOW);
        assert_int_equal(test_decide_vote(test, validator, 10, 11, 8), HF_VERDICT_DOUBLE_VOTE);
    }
}

static void test_floors_are_never_lowered(void **state)
{
    test_store *test = *state;
    const hf_watermark lower = {
        .has_slot = 1, .has_epochs = 1, .slot = 32, .source = 1, .target = 1};
    hf_watermark absurd = present;
    test_store_open(test);
    take_over(test, &present);
    take_over(test, &lower);
    take_over(test, NULL);
    expect_guarded(test, 1);
    absurd.slot = HF_PROTECT_MAX_NUMBER + 1;
    assert_code(test->store->ops->take_over(test->store, &absurd, lineage, &test->err),
                HF_INVALID_INPUT);
    assert_int_equal(test_decide_block(test, 1, 321, 7), HF_VERDICT_ALLOW);
}

/* An export carries the floors of those who are known on. */
static void test_floors_are_exported(void **state)
{
    test_store *test = *state;
    test_records records = {0};
    test_store_open(test);
    assert_int_equal(test_decide_block(test, 1, 100, 1), HF_VERDICT_ALLOW);
    take_over(test, &present);
    test_records_export(test, &records);
    uint64_t slot = 0;
    for (size_t i = 0; i < records.count; i++) {
        slot = records.messages[i].slot > slot ? records.messages[i].slot : slot;
    }
    assert_int_equal(slot, 320);
    test_records_free(&records);
}

/* ---- anchors ------------------------------------------------------------------------------ */

static void test_anchors(void **state)
{
    test_store *test = *state;
    hf_store_anchor mine = {.log_id = {1}, .seq = 7, .mac = {9, 9}};
    hf_store_anchor theirs = {.log_id = {2}, .seq = HF_PROTECT_MAX_NUMBER, .mac = {8}};
    hf_store_anchor found = {0};
    test_store_open(test);
    const hf_store_ops *ops = test->store->ops;
    assert_code(ops->anchor_get(test->store, mine.log_id, &found, &test->err), HF_NOT_FOUND);
    assert_code(ops->anchor_set(test->store, &mine, &test->err), HF_OK);
    assert_code(ops->anchor_set(test->store, &theirs, &test->err), HF_OK);
    mine.seq = 8;
    mine.mac[31] = 1;
    assert_code(ops->anchor_set(test->store, &mine, &test->err), HF_OK);
    theirs.seq++;
    assert_code(ops->anchor_set(test->store, &theirs, &test->err), HF_INVALID_INPUT);
    test_store_close(test);
    test_store_open(test);
    ops = test->store->ops;
    assert_code(ops->anchor_get(test->store, mine.log_id, &found, &test->err), HF_OK);
    assert_memory_equal(&found, &mine, sizeof mine);
    assert_code(ops->anchor_get(test->store, theirs.log_id, &found, &test->err), HF_OK);
    assert_int_equal(found.seq, HF_PROTECT_MAX_NUMBER);
}

#define WITH_STORE(name)                                                                           \
    cmocka_unit_test_setup_teardown(name, test_store_setup, test_store_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_mark_rises),
        WITH_STORE(test_floors_for_known_and_unknown),
        WITH_STORE(test_floors_are_never_lowered),
        WITH_STORE(test_floors_are_exported),
        WITH_STORE(test_anchors),
    };
    if (argc > 1 && strcmp(argv[1], "postgres") == 0) {
        if (!pg_test_is_possible()) {
            return 77;
        }
        test_other_backend = &pg_test_backend;
    } else if (argc > 1 && strcmp(argv[1], "dynamodb") == 0) {
        test_other_backend = &test_dynamo_backend;
    }
    return cmocka_run_group_tests_name("mark", tests, NULL, NULL);
}
