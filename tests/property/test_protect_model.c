/*
 * The store against the reference: random requests, imports, prunings, repairs, reopenings, faults
 * and kills at any moment. The same verdict each time, the same records on the disk after each
 * round, and no two messages that were ever allowed may be slashable together.
 *
 * HF_TEST_SEED repeats a run, HF_TEST_ITERS sets the number of rounds.
 */
#include "model.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH_MAX 24
#define IMPORT_MAX 12
#define ROOTS 3
#define SLOTS_PER_EPOCH 2
#define KILL_BATCHES 40

uint32_t below(world *w, uint32_t bound)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)((w->random >> 20) % bound);
}

hf_message random_message(world *w, bool may_lack_root)
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

/* ---- invariants --------------------------------------------------------------------------- */

static bool is_on_disk(world *w)
{
    ref_store seen;
    ref_store expected = w->ref;
    w->store->read_disk(w, &seen);
    if (w->store->simplify != NULL) {
        w->store->simplify(&expected);
    }
    return hf_bytes_equal(&seen, &expected, sizeof seen);
}

static void check_disk(world *w)
{
    assert_true(is_on_disk(w));
}

/* ---- what Web3Signer's schema adds -------------------------------------------------------- */

static bool is_above_floors(const ref_store *ref, const hf_watermark *mark)
{
    bool above = true;
    for (int v = 0; v < REF_VALIDATORS; v++) {
        const ref_validator *known = &ref->validators[v];
        above = above && (!mark->has_slot || (int)mark->slot > known->floor_slot) &&
                (!mark->has_epochs || ((int)mark->target > known->floor_target &&
                                       (int)mark->target > known->floor_source));
    }
    return above;
}

/* A floor must not pass the high watermark there: it goes first. */
static void lift_high(world *w)
{
    if (w->store->high_above_floors) {
        assert_code(w->test.store->ops->set_high(w->test.store, NULL, &w->test.err), HF_OK);
        w->ref.high_slot = -1;
        w->ref.high_target = -1;
    }
}

static int larger(int a, uint64_t b)
{
    return a > (int)b ? a : (int)b;
}

/* Also those that have nothing on record. */
static void raise_registered(world *w, const hf_watermark *mark)
{
    for (unsigned v = 0; v < REF_VALIDATORS; v++) {
        ref_validator *known = &w->ref.validators[v];
        if ((w->registered & 1U << (v + 1)) == 0) {
            continue;
        }
        if (mark->has_slot) {
            known->floor_slot = larger(known->floor_slot, mark->slot);
        }
        if (mark->has_epochs) {
            known->floor_source = larger(known->floor_source, mark->source);
            known->floor_target = larger(known->floor_target, mark->target);
        }
    }
}

/* ---- actions ------------------------------------------------------------------------------ */

void decide_random(world *w)
{
    hf_message messages[BATCH_MAX];
    hf_verdict verdicts[BATCH_MAX];
    size_t n = 1 + below(w, BATCH_MAX);
    for (size_t i = 0; i < n; i++) {
        messages[i] = random_message(w, false);
        w->registered |= 1U << messages[i].pubkey[0];
    }
    hf_status st = w->test.store->ops->decide(w->test.store, messages, n, verdicts, &w->test.err);
    if (hf_failed(st)) {
        fail_msg("decide: %s", w->test.err.msg);
    }
    for (size_t i = 0; i < n; i++) {
        hf_verdict expected = ref_decide(&w->ref, &messages[i]);
        if (w->lenient) {
            assert_int_equal(hf_verdict_allows(verdicts[i]), hf_verdict_allows(expected));
        } else {
            assert_string_equal(hf_verdict_name(verdicts[i]), hf_verdict_name(expected));
        }
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
        w->registered |= 1U << messages[i].pubkey[0];
    }
    lift_high(w);
    (void)test_import(&w->test, messages, n);
    ref_import(&w->ref, messages, n);
}

/* Begun and never finished: as if it had not been. */
static void import_aborted(world *w)
{
    hf_message message = random_message(w, true);
    assert_code(w->test.store->ops->import_begin(w->test.store, &w->test.err), HF_OK);
    assert_code(w->test.store->ops->import_add(w->test.store, &message, 1, &w->test.err), HF_OK);
    if (below(w, 2) == 0) {
        w->test.store->ops->import_abort(w->test.store);
    } else {
        test_store_close(&w->test);
        test_store_open(&w->test);
    }
}

static void prune_random(world *w)
{
    hf_prune_report report = {.more = true};
    uint32_t keep = 1 + below(w, REF_NUMBERS / 2);
    lift_high(w);
    while (report.more) {
        hf_status st =
            w->test.store->ops->prune(w->test.store, keep, SLOTS_PER_EPOCH, &report, &w->test.err);
        if (hf_failed(st)) {
            fail_msg("prune: %s", w->test.err.msg);
        }
    }
    ref_prune(&w->ref, (int)keep, SLOTS_PER_EPOCH);
}

static void repair_random(world *w)
{
    hf_watermark mark = {.has_slot = (uint8_t)below(w, 2), .has_epochs = (uint8_t)below(w, 2)};
    mark.slot = below(w, REF_NUMBERS / 2);
    mark.target = below(w, REF_NUMBERS / 2);
    mark.source = below(w, (uint32_t)mark.target + 1);
    lift_high(w);
    assert_code(w->test.store->ops->raise_floors(w->test.store, &mark, &w->test.err), HF_OK);
    ref_raise(&w->ref, &mark);
    if (w->store->raises_all) {
        raise_registered(w, &mark);
    }
}

static void set_high_random(world *w)
{
    hf_watermark mark = {.has_slot = (uint8_t)below(w, 2), .has_epochs = (uint8_t)below(w, 2)};
    mark.slot = below(w, REF_NUMBERS);
    mark.target = below(w, REF_NUMBERS);
    bool removes = below(w, 2) == 0;
    hf_status st =
        w->test.store->ops->set_high(w->test.store, removes ? NULL : &mark, &w->test.err);
    if (w->store->high_above_floors && !removes && !is_above_floors(&w->ref, &mark)) {
        assert_code(st, HF_CONFLICT);
        return;
    }
    assert_code(st, HF_OK);
    w->ref.high_slot = !removes && mark.has_slot ? (int)mark.slot : -1;
    w->ref.high_target = !removes && mark.has_epochs ? (int)mark.target : -1;
}

/* ---- kill --------------------------------------------------------------------------------- */

typedef struct kill_batch {
    size_t n;
    hf_message messages[BATCH_MAX];
} kill_batch;

/* The child decides batch after batch and says after each what came out. Never returns. */
static _Noreturn void run_child(world *w, const kill_batch *batches, int report_fd)
{
    hf_verdict verdicts[BATCH_MAX];
    hf_error err;
    test_store_close(&w->test);
    test_store_open(&w->test);
    for (size_t i = 0; i < KILL_BATCHES; i++) {
        if (hf_failed(w->test.store->ops->decide(w->test.store, batches[i].messages, batches[i].n,
                                                 verdicts, &err)) ||
            write(report_fd, verdicts, sizeof verdicts) != (ssize_t)sizeof verdicts) {
            _exit(1);
        }
    }
    (void)pause();
    _exit(0);
}

/* What the child said before it died, held against the reference; returns how many batches. */
static size_t replay(world *w, const kill_batch *batches, int report_fd)
{
    hf_verdict verdicts[BATCH_MAX];
    size_t told = 0;
    while (read(report_fd, verdicts, sizeof verdicts) == (ssize_t)sizeof verdicts) {
        for (size_t i = 0; i < batches[told].n; i++) {
            const hf_message *message = &batches[told].messages[i];
            assert_int_equal(verdicts[i], ref_decide(&w->ref, message));
            if (hf_verdict_allows(verdicts[i])) {
                assert_true(ref_sign(&w->signed_by_us, message));
                w->allowed++;
            }
        }
        w->requests += batches[told].n;
        told++;
    }
    return told;
}

/* kill -9 while batches are decided: what was told is there; the next batch wholly or not at all.
 */
static void kill_at_random(world *w)
{
    static kill_batch batches[KILL_BATCHES];
    int fds[2];
    for (size_t b = 0; b < KILL_BATCHES; b++) {
        batches[b].n = 1 + below(w, BATCH_MAX);
        for (size_t i = 0; i < batches[b].n; i++) {
            batches[b].messages[i] = random_message(w, false);
            w->registered |= 1U << batches[b].messages[i].pubkey[0];
        }
    }
    test_store_close(&w->test); /* a connection must not cross a fork */
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(fds[0]);
        run_child(w, batches, fds[1]);
    }
    (void)close(fds[1]);
    struct pollfd first = {.fd = fds[0], .events = POLLIN};
    (void)poll(&first, 1, 1000);
    (void)usleep(below(w, 8000));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    size_t told = replay(w, batches, fds[0]);
    (void)close(fds[0]);
    test_store_open(&w->test);
    if (!is_on_disk(w)) {
        assert_true(told < KILL_BATCHES);
        for (size_t i = 0; i < batches[told].n; i++) {
            (void)ref_decide(&w->ref, &batches[told].messages[i]);
        }
    }
    check_disk(w);
    w->kills++;
}

/* ---- rounds ------------------------------------------------------------------------------- */

/* A history that is full has little left to decide: begin with an empty one now and then. */
static void start_over(world *w)
{
    w->store->start_over(w);
    ref_init(&w->ref);
    w->registered = 0;
    ref_init(&w->signed_by_us);
}

static void one_round(world *w)
{
    uint32_t dice = below(w, 1000);
    if (dice < 5) {
        kill_at_random(w);
    } else if (dice < 25) {
        test_store_close(&w->test);
        test_store_open(&w->test);
    } else if (dice < 45) {
        start_over(w);
    } else if (dice < 65) {
        import_random(w);
    } else if (dice < 75) {
        import_aborted(w);
    } else if (dice < 85) {
        prune_random(w);
    } else if (dice < 90) {
        repair_random(w);
    } else if (dice < 100) {
        set_high_random(w);
    } else if (dice < 105) {
        w->store->first_fault(w);
    } else if (dice < 110) {
        w->store->second_fault(w);
    } else {
        decide_random(w);
    }
    if (below(w, 8) == 0) {
        check_disk(w);
    }
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    uint64_t value = otherwise;
    const char *text = getenv(name);
    if (text != NULL) {
        assert_code(hf_num_parse_u64(text, strlen(text), &value), HF_OK);
    }
    return value;
}

static const model_store *chosen = &model_sqlite;

static void test_store_equals_reference(void **state)
{
    (void)state;
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->store = chosen;
    uint64_t seed = from_environment("HF_TEST_SEED", hf_time_mono_ns());
    uint64_t rounds = from_environment("HF_TEST_ITERS", chosen->rounds);
    print_message("HF_TEST_SEED=%llu HF_TEST_ITERS=%llu\n", (unsigned long long)seed,
                  (unsigned long long)rounds);
    w->random = seed * 2 + 1;
    test_store_init(&w->test);
    test_store_open(&w->test);
    start_over(w);
    for (uint64_t i = 0; i < rounds; i++) {
        one_round(w);
    }
    check_disk(w);
    print_message("%llu requests, %llu allowed, %llu kills, %llu faults\n",
                  (unsigned long long)w->requests, (unsigned long long)w->allowed,
                  (unsigned long long)w->kills, (unsigned long long)w->faults);
    assert_true(w->requests > rounds);
    test_store_done(&w->test);
    free(w);
}

/* "postgres": that store. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_store_equals_reference)};
    if (argc > 1 && strcmp(argv[1], "postgres") == 0) {
        if (!pg_test_is_possible()) {
            return 77;
        }
        test_other_backend = &pg_test_backend;
        chosen = &model_postgres;
    }
    return cmocka_run_group_tests_name("store against reference", tests, NULL, NULL);
}
