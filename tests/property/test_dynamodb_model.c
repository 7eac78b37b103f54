/*
 * The DynamoDB store against the reference: random requests, imports, prunings, repairs and
 * reopenings through two stores on one table, either of them at random. The same verdict each time,
 * and no two messages that were ever allowed may be slashable together.
 *
 * HF_TEST_SEED repeats a run, HF_TEST_ITERS sets the number of rounds.
 */
#include "reference.h"
#include "support_dynamodb.h"

#define DEFAULT_ROUNDS 700
#define BATCH_MAX 24
#define IMPORT_MAX 12
#define ROOTS 3
#define SLOTS_PER_EPOCH 2

typedef struct world {
    test_dynamo nodes[2];
    ref_store ref;
    ref_store signed_by_us; /* every message that was allowed, whatever was pruned since */
    uint64_t random;
    uint64_t requests;
    uint64_t allowed;
} world;

static uint32_t below(world *w, uint32_t bound)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)((w->random >> 20) % bound);
}

static test_store *any_node(world *w)
{
    return &w->nodes[below(w, 2)].test;
}

static hf_message random_message(world *w, bool may_lack_root)
{
    uint8_t validator = (uint8_t)(1 + below(w, REF_VALIDATORS));
    uint32_t root = 1 + below(w, ROOTS);
    /* Mostly in order, as in life; sometimes anywhere. */
    uint32_t target = below(w, REF_NUMBERS);
    uint32_t source = below(w, 4) == 0
                          ? below(w, REF_NUMBERS)
                          : target - (target > 0 ? below(w, target < 3 ? target : 3) : 0);
    if (may_lack_root && below(w, 4) == 0) {
        root = NO_ROOT;
    }
    return below(w, 3) == 0 ? test_block(validator, target, root)
                            : test_vote(validator, source, target, root);
}

/* ---- actions ------------------------------------------------------------------------------ */

static void decide_random(world *w)
{
    hf_message messages[BATCH_MAX];
    hf_verdict verdicts[BATCH_MAX];
    size_t n = 1 + below(w, BATCH_MAX);
    test_store *node = any_node(w);
    for (size_t i = 0; i < n; i++) {
        messages[i] = random_message(w, false);
    }
    hf_status st = node->store->ops->decide(node->store, messages, n, verdicts, &node->err);
    if (hf_failed(st)) {
        fail_msg("decide: %s", node->err.msg);
    }
    for (size_t i = 0; i < n; i++) {
        hf_verdict expected = ref_decide(&w->ref, &messages[i]);
        assert_string_equal(hf_verdict_name(verdicts[i]), hf_verdict_name(expected));
        if (hf_verdict_allows(verdicts[i])) {
            assert_true(ref_sign(&w->signed_by_us, &messages[i]));
            w->allowed++;
        }
    }
    w->requests += n;
}

static void import_random(world *w)
{
    hf_message messages[IMPORT_MAX];
    size_t n = 1 + below(w, IMPORT_MAX);
    for (size_t i = 0; i < n; i++) {
        messages[i] = random_message(w, true);
    }
    (void)test_import(any_node(w), messages, n);
    ref_import(&w->ref, messages, n);
}

/* Begun and never finished: as if it had not been. */
static void import_aborted(world *w)
{
    hf_message message = random_message(w, true);
    test_store *node = any_node(w);
    assert_code(node->store->ops->import_begin(node->store, &node->err), HF_OK);
    assert_code(node->store->ops->import_add(node->store, &message, 1, &node->err), HF_OK);
    node->store->ops->import_abort(node->store);
}

static void prune_random(world *w)
{
    hf_prune_report report = {.more = true};
    uint32_t keep = 1 + below(w, REF_NUMBERS / 2);
    test_store *node = any_node(w);
    /* What the other node did in between may let a validator wait for the next round. */
    for (int rounds = 0; rounds < 2; rounds++) {
        for (report.more = true; report.more;) {
            hf_status st =
                node->store->ops->prune(node->store, keep, SLOTS_PER_EPOCH, &report, &node->err);
            if (hf_failed(st)) {
                fail_msg("prune: %s", node->err.msg);
            }
        }
    }
    ref_prune(&w->ref, (int)keep, SLOTS_PER_EPOCH);
}

static void repair_random(world *w)
{
    hf_watermark mark = {.has_slot = (uint8_t)below(w, 2), .has_epochs = (uint8_t)below(w, 2)};
    test_store *node = any_node(w);
    mark.slot = below(w, REF_NUMBERS / 2);
    mark.target = below(w, REF_NUMBERS / 2);
    mark.source = below(w, (uint32_t)mark.target + 1);
    assert_code(node->store->ops->raise_floors(node->store, &mark, &node->err), HF_OK);
    ref_raise(&w->ref, &mark);
}

static void set_high_random(world *w)
{
    hf_watermark mark = {.has_slot = (uint8_t)below(w, 2), .has_epochs = (uint8_t)below(w, 2)};
    test_store *node = any_node(w);
    mark.slot = below(w, REF_NUMBERS);
    mark.target = below(w, REF_NUMBERS);
    bool removes = below(w, 2) == 0;
    assert_code(node->store->ops->set_high(node->store, removes ? NULL : &mark, &node->err), HF_OK);
    /* A node that has not heard of it yet records what it then refuses: the reference does not. */
    for (int i = 0; i < 2; i++) {
        hf_store *store = w->nodes[i].test.store;
        hf_store_status status;
        assert_code(store->ops->status(store, &status, &w->nodes[i].test.err), HF_OK);
    }
    w->ref.high_slot = !removes && mark.has_slot ? (int)mark.slot : -1;
    w->ref.high_target = !removes && mark.has_epochs ? (int)mark.target : -1;
}

static void reopen(world *w)
{
    test_dynamo *node = &w->nodes[below(w, 2)];
    test_store_close(&node->test);
    test_dynamo_open(node);
}

/* How much is on record, as the reference has it. */
static void check_status(world *w)
{
    uint64_t blocks = 0;
    uint64_t votes = 0;
    hf_store_status status;
    test_store *node = any_node(w);
    for (int v = 0; v < REF_VALIDATORS; v++) {
        for (int i = 0; i < REF_NUMBERS; i++) {
            blocks += w->ref.validators[v].blocks[i] != 0;
            for (int t = 0; t < REF_NUMBERS; t++) {
                votes += w->ref.validators[v].votes[i][t] != 0;
            }
        }
    }
    assert_code(node->store->ops->status(node->store, &status, &node->err), HF_OK);
    assert_int_equal(status.blocks, blocks);
    assert_int_equal(status.attestations, votes);
}

/* ---- rounds ------------------------------------------------------------------------------- */

/* A history that is full has little left to decide: begin with an empty one now and then. */
static void start_over(world *w)
{
    for (int i = 0; i < 2; i++) {
        test_store_close(&w->nodes[i].test);
    }
    test_dynamo_init(&w->nodes[0], false);
    test_dynamo_open(&w->nodes[0]);
    test_dynamo_join(&w->nodes[1], &w->nodes[0]);
    ref_init(&w->ref);
    ref_init(&w->signed_by_us);
}

static void one_round(world *w)
{
    uint32_t dice = below(w, 1000);
    if (dice < 30) {
        start_over(w);
    } else if (dice < 60) {
        reopen(w);
    } else if (dice < 110) {
        import_random(w);
    } else if (dice < 120) {
        import_aborted(w);
    } else if (dice < 160) {
        prune_random(w);
    } else if (dice < 170) {
        repair_random(w);
    } else if (dice < 180) {
        set_high_random(w);
    } else if (dice < 200) {
        check_status(w);
    } else {
        decide_random(w);
    }
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    uint64_t number = otherwise;
    const char *text = getenv(name);
    if (text != NULL) {
        assert_code(hf_num_parse_u64(text, strlen(text), &number), HF_OK);
    }
    return number;
}

static void test_model(void **state)
{
    (void)state;
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    uint64_t seed = number_from("HF_TEST_SEED", (uint64_t)hf_time_unix_ms());
    uint64_t rounds = number_from("HF_TEST_ITERS", DEFAULT_ROUNDS);
    w->random = seed * 0x9E3779B97F4A7C15U + 1;
    print_message("seed %llu\n", (unsigned long long)seed);
    start_over(w);
    for (uint64_t i = 0; i < rounds; i++) {
        one_round(w);
    }
    assert_true(w->allowed > 0);
    print_message("%llu requests, %llu allowed\n", (unsigned long long)w->requests,
                  (unsigned long long)w->allowed);
    test_store_close(&w->nodes[0].test);
    test_store_close(&w->nodes[1].test);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model)};
    return cmocka_run_group_tests_name("dynamodb model", tests, NULL, NULL);
}
