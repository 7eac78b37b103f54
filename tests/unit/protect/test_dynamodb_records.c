/* Records on DynamoDB, broken off at every request: a change is there as a whole or not at all. */
#include <pthread.h>

#include "support_dynamodb.h"

#define BREAKS_MAX 40
#define ADDERS 3
#define ADDITIONS 6

static int setup(void **state)
{
    test_dynamo *test = calloc(1, sizeof *test);
    assert_non_null(test);
    test_proxy_tell("how=none");
    test_dynamo_init(test, true);
    test_dynamo_open(test);
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

/* ---- a small set of records --------------------------------------------------------------- */

/* By their first byte: the version of each, 0 where there is none. */
typedef struct shelf {
    uint64_t versions[8];
    uint64_t generation;
} shelf;

static hf_status put_on_shelf(void *context, const hf_record *record)
{
    shelf *out = context;
    assert_true(record->id[0] < HF_ARRAY_LEN(out->versions));
    assert_int_equal(record->len, 1);
    assert_int_equal(record->data[0], (uint8_t)record->version);
    out->versions[record->id[0]] = record->version;
    return hf_ok();
}

static shelf look(test_dynamo *test)
{
    shelf found = {.generation = 0};
    hf_store *store = test->test.store;
    hf_status st = store->ops->records(store, HF_RECORD_POLICY, put_on_shelf, &found,
                                       &found.generation, &test->test.err);
    if (hf_failed(st)) {
        fail_msg("records: %s", test->test.err.msg);
    }
    return found;
}

static hf_record_change change(uint8_t id, uint64_t expected, const uint8_t *data)
{
    hf_record_change c = {.expected = expected, .is_removal = data == NULL};
    c.record.kind = HF_RECORD_POLICY;
    c.record.id[0] = id;
    c.record.data = data;
    c.record.len = data != NULL ? 1 : 0;
    return c;
}

/* Record 1 and 2 to the version after, record 3 comes or goes. */
static hf_code turn(test_dynamo *test, const shelf *now)
{
    hf_store *store = test->test.store;
    uint8_t data[3];
    hf_record_change changes[3];
    for (uint8_t i = 0; i < 3; i++) {
        uint64_t version = now->versions[i + 1];
        data[i] = (uint8_t)(version + 1);
        changes[i] = change((uint8_t)(i + 1), version, i == 2 && version > 0 ? NULL : &data[i]);
    }
    return store->ops->change_records(store, changes, 3, &test->test.err).code;
}

/* Is it the one or the other, and nothing between? True: the later. */
static bool is_turned(const shelf *found, const shelf *before)
{
    bool later = found->generation == before->generation + 1;
    assert_true(later || found->generation == before->generation);
    assert_int_equal(found->versions[1], before->versions[1] + later);
    assert_int_equal(found->versions[2], before->versions[2] + later);
    assert_int_equal(found->versions[3] > 0, (before->versions[3] > 0) != later);
    return later;
}

/* ---- broken off --------------------------------------------------------------------------- */

/* As if it had died at its nth request: everything from there on is refused. */
static void test_ended_at_every_request(void **state)
{
    test_dynamo *one = *state;
    test_dynamo two;
    unsigned made = 0;
    unsigned not_made = 0;
    test_dynamo_join(&two, one);
    for (unsigned skip = 0; skip < BREAKS_MAX; skip++) {
        char rule[100];
        shelf before = look(&two);
        assert_code(hf_str_format(rule, sizeof rule,
                                  "how=fault&argument=AccessDeniedException&skip=%u", skip),
                    HF_OK);
        test_proxy_tell(rule);
        (void)test_proxy_count();
        hf_code code = turn(one, &before);
        unsigned requests = test_proxy_count();
        test_proxy_tell("how=none");
        shelf after = look(&two);
        bool turned = is_turned(&after, &before);
        assert_true(turned || code != HF_OK);
        made += turned;
        not_made += !turned;
        shelf seen = look(one);
        assert_memory_equal(&seen, &after, sizeof seen);
        if (requests <= skip) { /* nothing was broken off: all of its requests were tried */
            assert_int_equal(code, HF_OK);
            break;
        }
        assert_true(skip + 1 < BREAKS_MAX);
    }
    assert_true(made > 3 && not_made > 3);
    test_store_close(&two.test);
}

/* Done, but the answer is lost. */
static void test_every_lost_answer(void **state)
{
    test_dynamo *one = *state;
    for (unsigned skip = 0; skip < BREAKS_MAX; skip++) {
        char rule[100];
        shelf before = look(one);
        assert_code(hf_str_format(rule, sizeof rule, "how=drop&count=1&skip=%u", skip), HF_OK);
        test_proxy_tell(rule);
        (void)test_proxy_count();
        hf_code code = turn(one, &before);
        unsigned requests = test_proxy_count();
        test_proxy_tell("how=none");
        if (code != HF_OK) {
            fail_msg("answer %u lost: %s", skip, one->test.err.msg);
        }
        shelf after = look(one);
        assert_true(is_turned(&after, &before));
        if (requests <= skip) {
            return;
        }
    }
    fail_msg("a change takes too many requests");
}

/* ---- several nodes ------------------------------------------------------------------------ */

typedef struct adder {
    test_dynamo test;
    unsigned conflicts;
} adder;

static void *add(void *context)
{
    adder *self = context;
    for (unsigned done = 0; done < ADDITIONS;) {
        hf_code code;
        shelf now = look(&self->test);
        uint8_t data = (uint8_t)(now.versions[5] + 1);
        hf_record_change one = change(5, now.versions[5], &data);
        hf_store *store = self->test.test.store;
        code = store->ops->change_records(store, &one, 1, &self->test.test.err).code;
        assert_true(code == HF_OK || code == HF_CONFLICT);
        done += code == HF_OK;
        self->conflicts += code == HF_CONFLICT;
    }
    return NULL;
}

/* No addition is lost, and none is counted twice. */
static void test_nodes_race(void **state)
{
    test_dynamo *test = *state;
    static adder adders[ADDERS];
    pthread_t threads[ADDERS];
    shelf before = look(test);
    for (unsigned i = 0; i < ADDERS; i++) {
        test_dynamo_join(&adders[i].test, test);
    }
    for (unsigned i = 0; i < ADDERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, add, &adders[i]), 0);
    }
    for (unsigned i = 0; i < ADDERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        test_store_close(&adders[i].test.test);
    }
    shelf after = look(test);
    assert_int_equal(after.versions[5], before.versions[5] + (uint64_t)ADDERS * ADDITIONS);
    assert_int_equal(after.generation, before.generation + (uint64_t)ADDERS * ADDITIONS);
}

/* The generation of another node's change is known after the next decision, and costs no trip. */
static void test_seen_with_a_decision(void **state)
{
    test_dynamo *one = *state;
    test_dynamo two;
    test_dynamo_join(&two, one);
    shelf before = look(one);
    assert_int_equal(test_decide_block(&two.test, 1, 10, 1), HF_VERDICT_ALLOW);
    hf_store *store = two.test.store;
    assert_int_equal(store->ops->generation(store), before.generation);
    assert_int_equal(turn(one, &before), HF_OK);
    assert_int_equal(test_decide_block(&two.test, 1, 11, 1), HF_VERDICT_ALLOW);
    assert_int_equal(store->ops->generation(store), before.generation + 1);
    shelf now = look(one);
    assert_int_equal(turn(one, &now), HF_OK);
    assert_int_equal(test_decide_block(&two.test, 1, 11, 1), HF_VERDICT_REPEAT);
    assert_int_equal(store->ops->generation(store), before.generation + 2);
    now = look(one);
    assert_int_equal(turn(one, &now), HF_OK);
    assert_code(store->ops->health(store, &two.test.err), HF_OK);
    assert_int_equal(store->ops->generation(store), before.generation + 3);
    now = look(one);
    assert_int_equal(turn(one, &now), HF_OK);
    assert_code(store->ops->look(store, &two.test.err), HF_OK);
    assert_int_equal(store->ops->generation(store), before.generation + 4);
    test_store_close(&two.test);
}

#define WITH_TABLE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TABLE(test_ended_at_every_request),
        WITH_TABLE(test_every_lost_answer),
        WITH_TABLE(test_nodes_race),
        WITH_TABLE(test_seen_with_a_decision),
    };
    return cmocka_run_group_tests_name("dynamodb records", tests, NULL, NULL);
}
