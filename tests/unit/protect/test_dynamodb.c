/* The DynamoDB store as such: two nodes, lost answers, throttling, errors, an import cut off. */
#include <pthread.h>

#include "support_dynamodb.h"

#define RACE_SLOTS 60
#define RACE_VALIDATORS 4

static int setup(void **state)
{
    test_dynamo *test = calloc(1, sizeof *test);
    assert_non_null(test);
    test_proxy_tell("how=none");
    test_dynamo_init(test, true);
    *state = test;
    return 0;
}

static int teardown(void **state)
{
    test_dynamo *test = *state;
    test_proxy_tell("how=none");
    test_store_close(&test->test);
    free(test);
    return 0;
}

static hf_status try_vote(test_dynamo *test, uint64_t source, uint64_t target, hf_verdict *verdict)
{
    hf_message message = test_vote(1, source, target, 1);
    *verdict = HF_VERDICT_COUNT;
    test->test.err.msg[0] = '\0';
    return test->test.store->ops->decide(test->test.store, &message, 1, verdict, &test->test.err);
}

static void expect_refusal(test_dynamo *test, const char *words)
{
    hf_verdict verdict;
    assert_code(try_vote(test, 100, 101, &verdict), HF_UNAVAILABLE);
    assert_int_equal(verdict, HF_VERDICT_COUNT);
    if (strstr(test->test.err.msg, words) == NULL) {
        fail_msg("says \"%s\" and not \"%s\"", test->test.err.msg, words);
    }
}

static hf_store_status status_of(test_dynamo *test)
{
    hf_store_status status;
    hf_store *store = test->test.store;
    assert_code(store->ops->status(store, &status, &test->test.err), HF_OK);
    return status;
}

/* ---- what is asked of the service --------------------------------------------------------- */

/* One conditional write a signature; a count and two descriptions a batch. */
static void test_requests_a_batch(void **state)
{
    test_dynamo *test = *state;
    enum { COUNT = 64 };
    hf_message messages[COUNT];
    hf_verdict verdicts[COUNT];
    hf_store *store;
    test_dynamo_open(test);
    store = test->test.store;
    for (uint64_t epoch = 1; epoch < 20; epoch++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            messages[i] = test_vote((uint8_t)(i + 1), epoch, epoch + 1, 1);
        }
        (void)test_proxy_count();
        assert_code(store->ops->decide(store, messages, COUNT, verdicts, &test->test.err), HF_OK);
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_int_equal(verdicts[i], HF_VERDICT_ALLOW);
        }
        /* Every eighth epoch the logs, of eight votes each, become items, 25 a request. */
        unsigned flushes = epoch % 8 == 0 ? (COUNT * 8 + 24) / 25 : 0;
        if (epoch > 1) {
            assert_int_equal(test_proxy_count(), COUNT + 3 + flushes);
        }
    }
    assert_int_equal(status_of(test).attestations, 19 * COUNT);
    /* The same again: one read for all. */
    (void)test_proxy_count();
    assert_code(store->ops->decide(store, messages, COUNT, verdicts, &test->test.err), HF_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(verdicts[i], HF_VERDICT_REPEAT);
    }
    assert_int_equal(test_proxy_count(), 1);
}

static void test_long_history(void **state)
{
    test_dynamo *test = *state;
    enum { EPOCHS = 200 };
    static hf_message messages[EPOCHS];
    static hf_verdict verdicts[EPOCHS];
    test_dynamo_open(test);
    for (uint32_t i = 0; i < EPOCHS; i++) {
        messages[i] = test_vote(1, i, i + 1, 1 + i);
    }
    for (int round = 0; round < 2; round++) {
        hf_store *store = test->test.store;
        assert_code(store->ops->decide(store, messages, EPOCHS, verdicts, &test->test.err), HF_OK);
        for (uint32_t i = 0; i < EPOCHS; i++) {
            assert_int_equal(verdicts[i], round == 0 ? HF_VERDICT_ALLOW : HF_VERDICT_REPEAT);
        }
        test_store_close(&test->test);
        test_dynamo_open(test);
    }
    assert_int_equal(test_decide_vote(&test->test, 1, 5, 6, 99), HF_VERDICT_DOUBLE_VOTE);
    assert_int_equal(test_decide_vote(&test->test, 1, 5, 500, 1), HF_VERDICT_SURROUNDING_VOTE);
}

/* ---- several nodes ------------------------------------------------------------------------ */

static void test_other_node_is_seen(void **state)
{
    test_dynamo *one = *state;
    test_dynamo two;
    hf_watermark low = {.has_slot = 1, .slot = 50};
    hf_watermark high = {.has_slot = 1, .slot = 60};
    test_dynamo_open(one);
    test_dynamo_join(&two, one);
    assert_int_equal(test_decide_block(&one->test, 1, 10, 1), HF_VERDICT_ALLOW);
    assert_int_equal(test_decide_block(&two.test, 1, 10, 1), HF_VERDICT_REPEAT);
    assert_int_equal(test_decide_block(&two.test, 1, 10, 2), HF_VERDICT_DOUBLE_BLOCK);
    assert_int_equal(test_decide_block(&two.test, 1, 11, 1), HF_VERDICT_ALLOW);
    assert_int_equal(test_decide_block(&one->test, 1, 11, 2), HF_VERDICT_DOUBLE_BLOCK);
    assert_int_equal(test_decide_block(&one->test, 1, 12, 1), HF_VERDICT_ALLOW);
    assert_code(two.test.store->ops->raise_floors(two.test.store, &low, &two.test.err), HF_OK);
    assert_int_equal(test_decide_block(&one->test, 1, 50, 1), HF_VERDICT_BELOW_WATERMARK);
    assert_code(two.test.store->ops->set_high(two.test.store, &high, &two.test.err), HF_OK);
    assert_int_equal(test_decide_block(&one->test, 1, 60, 1), HF_VERDICT_ABOVE_HIGH_WATERMARK);
    assert_code(two.test.store->ops->set_high(two.test.store, NULL, &two.test.err), HF_OK);
    assert_int_equal(test_decide_block(&one->test, 1, 61, 1), HF_VERDICT_ALLOW);
    test_store_close(&two.test);
}

typedef struct racer {
    test_dynamo test;
    uint32_t root;
    hf_verdict verdicts[RACE_SLOTS][RACE_VALIDATORS];
} racer;

static void *race(void *context)
{
    racer *runner = context;
    hf_store *store = runner->test.test.store;
    for (uint32_t slot = 0; slot < RACE_SLOTS; slot++) {
        hf_message messages[RACE_VALIDATORS];
        for (uint32_t v = 0; v < RACE_VALIDATORS; v++) {
            messages[v] = slot % 2 == 0 ? test_block((uint8_t)(v + 1), slot + 1, runner->root)
                                        : test_vote((uint8_t)(v + 1), slot, slot + 1, runner->root);
        }
        hf_status st = store->ops->decide(store, messages, RACE_VALIDATORS, runner->verdicts[slot],
                                          &runner->test.test.err);
        (void)hf_failed(st); /* then no verdict allows */
    }
    return NULL;
}

/* Two nodes, the same duties with different data: for each exactly one of them is allowed. */
static void test_race(void **state)
{
    test_dynamo *origin = *state;
    static racer racers[2];
    pthread_t threads[2];
    origin->config.deadline_ms = 20000;
    test_dynamo_open(origin);
    for (uint32_t i = 0; i < 2; i++) {
        test_dynamo_join(&racers[i].test, origin);
        racers[i].root = i + 1;
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    for (uint32_t slot = 0; slot < RACE_SLOTS; slot++) {
        for (uint32_t v = 0; v < RACE_VALIDATORS; v++) {
            bool first = hf_verdict_allows(racers[0].verdicts[slot][v]);
            bool second = hf_verdict_allows(racers[1].verdicts[slot][v]);
            assert_int_equal(first + second, 1);
        }
    }
    test_store_close(&racers[0].test.test);
    test_store_close(&racers[1].test.test);
}

/* ---- faults ------------------------------------------------------------------------------- */

/* The write was carried out and its answer lost: what is on record decides, not a guess. */
static void test_lost_answers(void **state)
{
    test_dynamo *test = *state;
    test_dynamo other;
    test_dynamo_open(test);
    assert_int_equal(test_decide_vote(&test->test, 1, 1, 2, 1), HF_VERDICT_ALLOW);
    for (uint64_t i = 2; i < 12; i++) {
        test_proxy_tell("how=drop&operation=PutItem&count=2");
        assert_true(hf_verdict_allows(test_decide_vote(&test->test, 1, i, i + 1, 1)));
        assert_int_equal(test_decide_vote(&test->test, 1, i, i + 1, 2), HF_VERDICT_DOUBLE_VOTE);
    }
    test_proxy_tell("how=none");
    test_dynamo_join(&other, test);
    for (uint64_t i = 1; i < 12; i++) {
        assert_int_equal(test_decide_vote(&other.test, 1, i, i + 1, 2), HF_VERDICT_DOUBLE_VOTE);
    }
    test_store_close(&other.test);
}

/* Never reached the service: nothing is on record, and nothing was allowed. */
static void test_lost_requests(void **state)
{
    test_dynamo *test = *state;
    hf_verdict verdict;
    test_dynamo_open(test);
    assert_int_equal(test_decide_vote(&test->test, 1, 1, 2, 1), HF_VERDICT_ALLOW);
    test_store_close(&test->test);
    test->config.deadline_ms = 300;
    test_dynamo_open(test);
    test_proxy_tell("how=refuse");
    uint64_t before_ns = hf_time_mono_ns();
    assert_code(try_vote(test, 2, 3, &verdict), HF_UNAVAILABLE);
    assert_true(hf_time_mono_ns() - before_ns < HF_NS_PER_SECOND);
    assert_int_equal(verdict, HF_VERDICT_COUNT);
    test_proxy_tell("how=none");
    assert_int_equal(test_decide_vote(&test->test, 1, 2, 3, 9), HF_VERDICT_ALLOW);
}

/* Late answers: the call ends at its deadline, and what was written late is found afterwards. */
static void test_late_answers(void **state)
{
    test_dynamo *test = *state;
    hf_verdict verdict;
    test_dynamo_open(test);
    assert_int_equal(test_decide_vote(&test->test, 1, 1, 2, 1), HF_VERDICT_ALLOW);
    test_store_close(&test->test);
    test->config.deadline_ms = 300;
    test_dynamo_open(test);
    test_proxy_tell("how=delay&operation=PutItem&argument=800");
    uint64_t before_ns = hf_time_mono_ns();
    assert_code(try_vote(test, 2, 3, &verdict), HF_UNAVAILABLE);
    assert_true(hf_time_mono_ns() - before_ns < HF_NS_PER_SECOND);
    test_proxy_tell("how=none");
    assert_int_equal(test_decide_vote(&test->test, 1, 2, 3, 9), HF_VERDICT_DOUBLE_VOTE);
    assert_int_equal(test_decide_vote(&test->test, 1, 2, 3, 1), HF_VERDICT_REPEAT);
}

static void test_throttled(void **state)
{
    test_dynamo *test = *state;
    test_dynamo_open(test);
    assert_int_equal(test_decide_vote(&test->test, 1, 1, 2, 1), HF_VERDICT_ALLOW);
    test_proxy_tell(
        "how=fault&operation=PutItem&count=3&argument=ProvisionedThroughputExceededException");
    assert_int_equal(test_decide_vote(&test->test, 1, 2, 3, 1), HF_VERDICT_ALLOW);
    test_proxy_tell("how=fault&operation=BatchGetItem&count=2&argument=ThrottlingException");
    assert_int_equal(test_decide_vote(&test->test, 2, 2, 3, 1), HF_VERDICT_ALLOW);
    test_proxy_tell("how=status&operation=PutItem&count=2&argument=503");
    assert_true(hf_verdict_allows(test_decide_vote(&test->test, 1, 3, 4, 1)));
    test_store_close(&test->test);
    test->config.deadline_ms = 300;
    test_dynamo_open(test);
    test_proxy_tell("how=fault&argument=ProvisionedThroughputExceededException");
    expect_refusal(test, "throughput is exceeded");
    test_proxy_tell("how=none");
    assert_int_equal(test_decide_vote(&test->test, 1, 4, 5, 1), HF_VERDICT_ALLOW);
}

/* What an operator has to mend: a sentence that says what, and no waiting for the deadline. */
static void test_refused_by_the_service(void **state)
{
    test_dynamo *test = *state;
    static const char *const cases[][2] = {
        {"AccessDeniedException", "access denied: the role needs GetItem"},
        {"ExpiredTokenException", "the credentials are not valid"},
        {"UnrecognizedClientException", "the credentials are not valid"},
        {"InvalidSignatureException", "check region, secret key and this machine's clock"},
        {"ResourceNotFoundException", "no such table"},
        {"ValidationException", "answered with status 400 ValidationException"},
    };
    test_dynamo_open(test);
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        char rule[128];
        assert_code(hf_str_format(rule, sizeof rule, "how=fault&operation=PutItem&argument=%s",
                                  cases[i][0]),
                    HF_OK);
        test_proxy_tell(rule);
        uint64_t before_ns = hf_time_mono_ns();
        expect_refusal(test, cases[i][1]);
        assert_true(hf_time_mono_ns() - before_ns < 5 * HF_NS_PER_SECOND);
        assert_code(test->test.store->ops->health(test->test.store, &test->test.err),
                    HF_UNAVAILABLE);
        test_proxy_tell("how=none");
        /* Credentials that were refused are asked for again after a moment. */
        hf_time_sleep_ns(HF_NS_PER_SECOND - 1);
        hf_time_sleep_ns(HF_NS_PER_SECOND / 10);
        assert_int_equal(test_decide_vote(&test->test, 1, i, i + 1, 1), HF_VERDICT_ALLOW);
        assert_code(test->test.store->ops->health(test->test.store, &test->test.err), HF_OK);
    }
}

/* ---- opening ------------------------------------------------------------------------------ */

static void test_opening(void **state)
{
    test_dynamo *test = *state;
    hf_store *store = NULL;
    hf_error err = {0};
    test->config.create_table = false;
    test_dynamo_open(test);
    expect_refusal(test,
                   "does not exist in eu-test-1: check table and region, or set create_table");
    test_store_close(&test->test);
    test->config.create_table = true;
    test_dynamo_open(test);
    assert_int_equal(test_decide_vote(&test->test, 1, 1, 2, 1), HF_VERDICT_ALLOW);
    test->config.genesis_validators_root[0] ^= 1;
    assert_code(hf_store_open_dynamodb(&test->config, &store, &err), HF_CONFLICT);
    assert_non_null(strstr(err.msg, "another network"));
    test->config.genesis_validators_root[0] ^= 1;
    hf_dynamodb_config wrong = test->config;
    assert_code(hf_str_copy(wrong.endpoint, sizeof wrong.endpoint, "http://db.example.com"), HF_OK);
    assert_code(hf_store_open_dynamodb(&wrong, &store, &err), HF_USAGE);
    assert_non_null(strstr(err.msg, "use https"));
    wrong = test->config;
    assert_code(hf_str_copy(wrong.region, sizeof wrong.region, "eu/../x"), HF_OK);
    assert_code(hf_store_open_dynamodb(&wrong, &store, &err), HF_USAGE);
    wrong = test->config;
    wrong.table[0] = '\0';
    assert_code(hf_store_open_dynamodb(&wrong, &store, &err), HF_USAGE);
    assert_null(store);
}

/* Opened while the service is away: refuses, and heals by itself. */
static void test_opened_without_service(void **state)
{
    test_dynamo *test = *state;
    test->config.deadline_ms = 300;
    test_proxy_tell("how=refuse");
    test_dynamo_open(test);
    expect_refusal(test, "DynamoDB table");
    test_proxy_tell("how=none");
    assert_int_equal(test_decide_vote(&test->test, 1, 1, 2, 1), HF_VERDICT_ALLOW);
}

/* ---- import ---------------------------------------------------------------- */

/* Cut off by the service and begun again: as if nothing had happened in between. */
static void test_import_again(void **state)
{
    test_dynamo *test = *state;
    hf_message messages[40];
    hf_import_report report;
    test_dynamo_open(test);
    hf_store *store = test->test.store;
    for (uint32_t i = 0; i < 40; i++) {
        messages[i] = test_vote((uint8_t)(1 + i / 10), i % 10, i % 10 + 1, 1);
    }
    assert_code(store->ops->import_begin(store, &test->test.err), HF_OK);
    assert_code(store->ops->import_begin(store, &test->test.err), HF_CONFLICT);
    assert_code(store->ops->import_add(store, messages, 40, &test->test.err), HF_OK);
    test_proxy_tell("how=fault&operation=BatchWriteItem&argument=AccessDeniedException");
    assert_code(store->ops->import_commit(store, &report, &test->test.err), HF_UNAVAILABLE);
    test_proxy_tell("how=drop&operation=PutItem&count=2");
    assert_code(store->ops->import_commit(store, &report, &test->test.err), HF_OK);
    assert_int_equal(report.attestations, 40);
    assert_int_equal(report.conflicts, 0);
    assert_code(store->ops->import_commit(store, &report, &test->test.err), HF_CONFLICT);
    assert_int_equal(status_of(test).attestations, 40);
}

#define WITH_TABLE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TABLE(test_requests_a_batch),       WITH_TABLE(test_long_history),
        WITH_TABLE(test_other_node_is_seen),     WITH_TABLE(test_race),
        WITH_TABLE(test_lost_answers),           WITH_TABLE(test_lost_requests),
        WITH_TABLE(test_late_answers),           WITH_TABLE(test_throttled),
        WITH_TABLE(test_refused_by_the_service), WITH_TABLE(test_opening),
        WITH_TABLE(test_opened_without_service), WITH_TABLE(test_import_again),

    };
    return cmocka_run_group_tests_name("dynamodb", tests, NULL, NULL);
}
