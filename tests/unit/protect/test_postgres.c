/* The PostgreSQL store as such: opening, taking over, refusing, deciding. */
#include "support_postgres.h"

static int setup(void **state)
{
    pg_test *test = calloc(1, sizeof *test);
    assert_non_null(test);
    pg_test_init(test);
    *state = test;
    return 0;
}

static int teardown(void **state)
{
    pg_test_done(*state);
    free(*state);
    return 0;
}

/* ---- deciding ----------------------------------------------------------------------------- */

static void test_first_decisions(void **state)
{
    pg_test *test = *state;
    pg_test_open(test);
    assert_int_equal(pg_test_decide(test, test_vote(1, 1, 2, 1)), HF_VERDICT_ALLOW);
    assert_int_equal(pg_test_decide(test, test_vote(1, 1, 2, 1)), HF_VERDICT_REPEAT);
    assert_int_equal(pg_test_decide(test, test_vote(1, 1, 2, 2)), HF_VERDICT_DOUBLE_VOTE);
    assert_int_equal(pg_test_decide(test, test_vote(1, 0, 5, 2)), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(pg_test_decide(test, test_vote(1, 4, 5, 2)), HF_VERDICT_ALLOW);
    assert_int_equal(pg_test_decide(test, test_vote(1, 3, 6, 2)), HF_VERDICT_SURROUNDING_VOTE);
    assert_int_equal(pg_test_decide(test, test_vote(1, 9, 8, 2)), HF_VERDICT_SOURCE_AFTER_TARGET);
    assert_int_equal(pg_test_decide(test, test_block(1, 10, 1)), HF_VERDICT_ALLOW);
    assert_int_equal(pg_test_decide(test, test_block(1, 10, 2)), HF_VERDICT_DOUBLE_BLOCK);
    assert_int_equal(pg_test_decide(test, test_block(1, 9, 2)), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(pg_test_count(test, "SELECT count(*) FROM signed_attestations"), 2);
    assert_int_equal(pg_test_count(test, "SELECT slot FROM low_watermarks"), 10);
    assert_code(test->store->ops->health(test->store, &test->err), HF_OK);
}

/* Messages of one batch see each other, in the order in which they come. */
static void test_batch_order(void **state)
{
    pg_test *test = *state;
    const hf_message batch[] = {
        test_vote(1, 1, 2, 1), test_vote(2, 1, 2, 1), test_vote(1, 1, 2, 1), test_vote(1, 1, 2, 2),
        test_block(1, 5, 1),   test_block(1, 5, 2),   test_vote(1, 3, 4, 1), test_vote(1, 2, 5, 1),
        test_block(2, 5, 1),   test_vote(2, 1, 2, 9), test_vote(1, 4, 3, 1), test_block(1, 6, 1),
    };
    static const hf_verdict expected[] = {
        HF_VERDICT_ALLOW,
        HF_VERDICT_ALLOW,
        HF_VERDICT_REPEAT,
        HF_VERDICT_DOUBLE_VOTE,
        HF_VERDICT_ALLOW,
        HF_VERDICT_DOUBLE_BLOCK,
        HF_VERDICT_ALLOW,
        HF_VERDICT_SURROUNDING_VOTE,
        HF_VERDICT_ALLOW,
        HF_VERDICT_DOUBLE_VOTE,
        HF_VERDICT_SOURCE_AFTER_TARGET,
        HF_VERDICT_ALLOW,
    };
    hf_verdict verdicts[HF_ARRAY_LEN(batch)];
    pg_test_open(test);
    assert_code(
        test->store->ops->decide(test->store, batch, HF_ARRAY_LEN(batch), verdicts, &test->err),
        HF_OK);
    for (size_t i = 0; i < HF_ARRAY_LEN(batch); i++) {
        assert_string_equal(hf_verdict_name(verdicts[i]), hf_verdict_name(expected[i]));
    }
}

/* Once validators are known: one round trip, whatever the batch. */
static void test_round_trips(void **state)
{
    pg_test *test = *state;
    enum { COUNT = 300, ROUNDS = 5 };
    static hf_message messages[COUNT];
    static hf_verdict verdicts[COUNT];
    pg_test_open(test);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint64_t before = hf_store_postgres_traffic(test->store).round_trips;
        for (uint32_t i = 0; i < COUNT; i++) {
            messages[i] = test_vote((uint8_t)i, round, round + 1, 1);
            messages[i].pubkey[1] = (uint8_t)(i >> 8);
        }
        assert_code(test->store->ops->decide(test->store, messages, COUNT, verdicts, &test->err),
                    HF_OK);
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_int_equal(verdicts[i], HF_VERDICT_ALLOW);
        }
        if (round > 0) {
            assert_int_equal(hf_store_postgres_traffic(test->store).round_trips - before, 1);
        }
    }
    assert_int_equal(hf_store_postgres_traffic(test->store).messages, COUNT * ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first_decisions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_batch_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_round_trips, setup, teardown),
    };
    return pg_test_is_possible() ? cmocka_run_group_tests_name("postgres", tests, NULL, NULL) : 77;
}
