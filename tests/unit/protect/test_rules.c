/* Every rule, as a table: a history, a message, the verdict. */
#include "support.h"

typedef struct rule_case {
    const char *what;
    hf_message message;
    hf_verdict verdict;
} rule_case;

#define BLOCK(slot, root) test_block(1, (slot), (root))
#define VOTE(source, target, root) test_vote(1, (source), (target), (root))

static int setup(void **state)
{
    test_store *test = calloc(1, sizeof *test);
    assert_non_null(test);
    test_store_init(test);
    test_store_open(test);
    *state = test;
    return 0;
}

static int teardown(void **state)
{
    test_store_done(*state);
    free(*state);
    return 0;
}

static void check_all(test_store *test, const rule_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        hf_verdict verdict = test_decide(test, &cases[i].message);
        if (verdict != cases[i].verdict) {
            fail_msg("%s: %s instead of %s", cases[i].what, hf_verdict_name(verdict),
                     hf_verdict_name(cases[i].verdict));
        }
    }
}

static void test_blocks(void **state)
{
    const rule_case cases[] = {
        {"the first block", BLOCK(10, 1), HF_VERDICT_ALLOW},
        {"the same block again", BLOCK(10, 1), HF_VERDICT_REPEAT},
        {"another root at the first slot", BLOCK(10, 2), HF_VERDICT_DOUBLE_BLOCK},
        {"below the first slot", BLOCK(9, 1), HF_VERDICT_BELOW_WATERMARK},
        {"slot 0", BLOCK(0, 1), HF_VERDICT_BELOW_WATERMARK},
        {"a later block", BLOCK(20, 3), HF_VERDICT_ALLOW},
        {"a gap between known blocks", BLOCK(15, 4), HF_VERDICT_ALLOW},
        {"another root in the gap", BLOCK(15, 5), HF_VERDICT_DOUBLE_BLOCK},
        {"the later block again", BLOCK(20, 3), HF_VERDICT_REPEAT},
        {"the highest slot there is", BLOCK(HF_PROTECT_MAX_NUMBER, 6), HF_VERDICT_ALLOW},
        {"another root at the highest slot", BLOCK(HF_PROTECT_MAX_NUMBER, 7),
         HF_VERDICT_DOUBLE_BLOCK},
        {"another validator", test_block(2, 9, 1), HF_VERDICT_ALLOW},
    };
    check_all(*state, cases, HF_ARRAY_LEN(cases));
}

static void test_votes(void **state)
{
    const rule_case cases[] = {
        {"source after target", VOTE(6, 5, 1), HF_VERDICT_SOURCE_AFTER_TARGET},
        {"the first vote", VOTE(10, 11, 1), HF_VERDICT_ALLOW},
        {"the same vote again", VOTE(10, 11, 1), HF_VERDICT_REPEAT},
        {"another root", VOTE(10, 11, 2), HF_VERDICT_DOUBLE_VOTE},
        {"another source", VOTE(9, 11, 1), HF_VERDICT_DOUBLE_VOTE},
        {"source below the floor", VOTE(9, 12, 1), HF_VERDICT_BELOW_WATERMARK},
        {"target at the floor of an older source", VOTE(10, 10, 1), HF_VERDICT_BELOW_WATERMARK},
        {"the next vote", VOTE(11, 12, 2), HF_VERDICT_ALLOW},
        {"far ahead", VOTE(20, 30, 3), HF_VERDICT_ALLOW},
        {"surrounds the last", VOTE(19, 31, 4), HF_VERDICT_SURROUNDING_VOTE},
        {"surrounds an earlier one", VOTE(10, 13, 4), HF_VERDICT_SURROUNDING_VOTE},
        {"surrounded by the last", VOTE(21, 29, 4), HF_VERDICT_SURROUNDED_VOTE},
        {"the same source within", VOTE(20, 29, 5), HF_VERDICT_ALLOW},
        {"the same source beyond", VOTE(20, 40, 6), HF_VERDICT_ALLOW},
        {"between two votes", VOTE(15, 16, 7), HF_VERDICT_ALLOW},
        {"around the one between", VOTE(14, 17, 8), HF_VERDICT_SURROUNDING_VOTE},
        {"source equal to target", VOTE(18, 18, 9), HF_VERDICT_ALLOW},
        {"the highest epochs", VOTE(HF_PROTECT_MAX_NUMBER, HF_PROTECT_MAX_NUMBER, 1),
         HF_VERDICT_ALLOW},
        {"surrounded at the end", VOTE(HF_PROTECT_MAX_NUMBER - 1, HF_PROTECT_MAX_NUMBER, 1),
         HF_VERDICT_DOUBLE_VOTE},
    };
    check_all(*state, cases, HF_ARRAY_LEN(cases));
}

static void test_genesis(void **state)
{
    const rule_case cases[] = {
        {"vote 0 to 0", VOTE(0, 0, 1), HF_VERDICT_ALLOW},
        {"vote 0 to 0 again", VOTE(0, 0, 1), HF_VERDICT_REPEAT},
        {"vote 0 to 0, other", VOTE(0, 0, 2), HF_VERDICT_DOUBLE_VOTE},
        {"vote 0 to 1", VOTE(0, 1, 3), HF_VERDICT_ALLOW},
        {"block 0", BLOCK(0, 1), HF_VERDICT_ALLOW},
        {"block 0, other", BLOCK(0, 2), HF_VERDICT_DOUBLE_BLOCK},
    };
    check_all(*state, cases, HF_ARRAY_LEN(cases));
}

static void test_high_watermark(void **state)
{
    test_store *test = *state;
    const rule_case before[] = {
        {"a block", BLOCK(10, 1), HF_VERDICT_ALLOW},
        {"a vote", VOTE(1, 2, 1), HF_VERDICT_ALLOW},
    };
    const rule_case under[] = {
        {"the block again, above", BLOCK(10, 1), HF_VERDICT_ABOVE_HIGH_WATERMARK},
        {"the vote again, above", VOTE(1, 2, 1), HF_VERDICT_ABOVE_HIGH_WATERMARK},
        {"a block above", BLOCK(11, 1), HF_VERDICT_ABOVE_HIGH_WATERMARK},
        {"a vote above", VOTE(1, 3, 1), HF_VERDICT_ABOVE_HIGH_WATERMARK},
        {"another validator below", test_vote(2, 0, 1, 1), HF_VERDICT_ALLOW},
        {"another validator's block below", test_block(2, 9, 1), HF_VERDICT_ALLOW},
    };
    const rule_case after[] = {
        {"the block again", BLOCK(10, 1), HF_VERDICT_REPEAT},
        {"a vote above", VOTE(1, 3, 1), HF_VERDICT_ALLOW},
    };
    hf_watermark high = {.has_slot = 1, .has_epochs = 1, .slot = 10, .target = 2};
    hf_store_status status;
    check_all(test, before, HF_ARRAY_LEN(before));
    assert_code(test->store->ops->set_high(test->store, &high, &test->err), HF_OK);
    check_all(test, under, HF_ARRAY_LEN(under));
    test_store_close(test);
    test_store_open(test);
    check_all(test, under, 4);
    assert_code(test->store->ops->status(test->store, &status, &test->err), HF_OK);
    assert_int_equal(status.high.has_slot, 1);
    assert_int_equal(status.high.slot, 10);
    assert_int_equal(status.high.target, 2);
    assert_code(test->store->ops->set_high(test->store, NULL, &test->err), HF_OK);
    check_all(test, after, HF_ARRAY_LEN(after));
}

static void test_raised_floors(void **state)
{
    test_store *test = *state;
    hf_watermark low = {.has_slot = 1, .has_epochs = 1, .slot = 100, .source = 5, .target = 6};
    hf_watermark lower = {.has_slot = 1, .has_epochs = 1, .slot = 1, .source = 1, .target = 1};
    const rule_case before[] = {
        {"a block", BLOCK(10, 1), HF_VERDICT_ALLOW},
        {"a vote", VOTE(1, 2, 1), HF_VERDICT_ALLOW},
        {"only a block", test_block(2, 10, 1), HF_VERDICT_ALLOW},
    };
    const rule_case after[] = {
        {"the known block", BLOCK(10, 1), HF_VERDICT_REPEAT},
        {"the known vote, its source below", VOTE(1, 2, 1), HF_VERDICT_BELOW_WATERMARK},
        {"a block at the floor", BLOCK(100, 1), HF_VERDICT_BELOW_WATERMARK},
        {"a vote with target at the floor", VOTE(5, 6, 1), HF_VERDICT_BELOW_WATERMARK},
        {"a vote with source below", VOTE(4, 7, 1), HF_VERDICT_BELOW_WATERMARK},
        {"a vote of who never voted", test_vote(2, 4, 9, 1), HF_VERDICT_BELOW_WATERMARK},
        {"a validator that was unknown", test_vote(3, 1, 2, 1), HF_VERDICT_ALLOW},
        {"a block above", BLOCK(101, 1), HF_VERDICT_ALLOW},
        {"a vote above", VOTE(5, 7, 1), HF_VERDICT_ALLOW},
    };
    check_all(test, before, HF_ARRAY_LEN(before));
    assert_code(test->store->ops->raise_floors(test->store, &low, &test->err), HF_OK);
    assert_code(test->store->ops->raise_floors(test->store, &lower, &test->err), HF_OK);
    check_all(test, after, HF_ARRAY_LEN(after));
}

static void test_one_batch(void **state)
{
    test_store *test = *state;
    hf_message messages[] = {VOTE(1, 2, 1), VOTE(1, 2, 1), VOTE(1, 2, 2),
                             VOTE(0, 3, 1), VOTE(2, 3, 1), BLOCK(5, 1),
                             BLOCK(5, 2),   BLOCK(6, 1),   test_vote(2, 1, 2, 9)};
    const hf_verdict expected[] = {
        HF_VERDICT_ALLOW,           HF_VERDICT_REPEAT, HF_VERDICT_DOUBLE_VOTE,
        HF_VERDICT_BELOW_WATERMARK, HF_VERDICT_ALLOW,  HF_VERDICT_ALLOW,
        HF_VERDICT_DOUBLE_BLOCK,    HF_VERDICT_ALLOW,  HF_VERDICT_ALLOW};
    hf_verdict verdicts[HF_ARRAY_LEN(messages)];
    hf_status st = test->store->ops->decide(test->store, messages, HF_ARRAY_LEN(messages), verdicts,
                                            &test->err);
    assert_code(st, HF_OK);
    for (size_t i = 0; i < HF_ARRAY_LEN(messages); i++) {
        assert_int_equal(verdicts[i], expected[i]);
    }
}

/* A message that cannot be decided: the whole batch is refused, and nothing is on record. */
static void test_bad_input(void **state)
{
    test_store *test = *state;
    hf_message bad[] = {BLOCK(HF_PROTECT_MAX_NUMBER + 1, 1),
                        VOTE(1, UINT64_MAX, 1),
                        VOTE(HF_PROTECT_MAX_NUMBER + 1, HF_PROTECT_MAX_NUMBER + 2, 1),
                        BLOCK(5, NO_ROOT),
                        BLOCK(5, 1),
                        BLOCK(5, 1)};
    bad[4].kind = 2;
    bad[5].has_root = 2;
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        hf_message messages[] = {BLOCK(1, 1), bad[i]};
        hf_verdict verdicts[2] = {HF_VERDICT_ALLOW, HF_VERDICT_ALLOW};
        hf_status st = test->store->ops->decide(test->store, messages, 2, verdicts, &test->err);
        assert_code(st, HF_INVALID_INPUT);
        assert_false(hf_verdict_allows(verdicts[0]));
        assert_false(hf_verdict_allows(verdicts[1]));
    }
    assert_int_equal(test_decide_block(test, 1, 1, 2), HF_VERDICT_ALLOW);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(hf_verdict_name(HF_VERDICT_ALLOW), "ALLOW");
    assert_string_equal(hf_verdict_name(HF_VERDICT_SOURCE_AFTER_TARGET), "SOURCE_AFTER_TARGET");
    assert_string_equal(hf_verdict_name(HF_VERDICT_COUNT), "UNKNOWN");
}

#define WITH_STORE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_blocks),         WITH_STORE(test_votes),         WITH_STORE(test_genesis),
        WITH_STORE(test_high_watermark), WITH_STORE(test_raised_floors), WITH_STORE(test_one_batch),
        WITH_STORE(test_bad_input),      cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
