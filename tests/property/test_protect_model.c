/*
 * The store against the reference: random requests, imports, prunings, repairs, reopenings, faults
 * and kills at any moment. The same verdict each time, the same records on the disk after each
 * round, and no two messages that were ever allowed may be slashable together.
 *
 * HF_TEST_SEED repeats a run, HF_TEST_ITERS sets the number of rounds.
 */
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reference.h"
#include "support.h"

#define DEFAULT_ROUNDS 20000
#define BATCH_MAX 24
#define IMPORT_MAX 12
#define ROOTS 3
#define SLOTS_PER_EPOCH 2
#define KILL_BATCHES 40

typedef struct world {
    test_store test;
    ref_store ref;
    ref_store signed_by_us; /* every message that was allowed, whatever was pruned since */
    uint64_t random;
    uint64_t requests;
    uint64_t allowed;
    uint64_t kills;
    uint64_t faults;
} world;

static uint32_t below(world *w, uint32_t bound)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)((w->random >> 20) % bound);
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

/* ---- invariants --------------------------------------------------------------------------- */

/* No allowed message may be slashable together with an earlier one. */
static void check_signature(world *w, const hf_message *message)
{
    ref_validator *known = &w->signed_by_us.validators[message->pubkey[0] - 1];
    uint8_t root = message->signing_root[0];
    if (message->kind == HF_MESSAGE_BLOCK) {
        assert_true(known->blocks[message->slot] == 0 || known->blocks[message->slot] == root);
        known->blocks[message->slot] = root;
        return;
    }
    for (uint64_t s = 0; s < REF_NUMBERS; s++) {
        for (uint64_t t = 0; t < REF_NUMBERS; t++) {
            if (known->votes[s][t] != 0) {
                bool same = s == message->source && t == message->target;
                assert_false(t == message->target && !(same && known->votes[s][t] == root));
                assert_false(s < message->source && t > message->target);
                assert_false(s > message->source && t < message->target);
            }
        }
    }
    known->votes[message->source][message->target] = root;
}

static uint8_t column_root(sqlite3_stmt *statement, int column)
{
    const uint8_t *root = sqlite3_column_blob(statement, column);
    return root == NULL ? REF_UNKNOWN : root[0];
}

static int column_bound(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_type(statement, column) == SQLITE_NULL
               ? -1
               : sqlite3_column_int(statement, column);
}

typedef void (*row_taker)(ref_store *seen, sqlite3_stmt *statement);

static void take_validator(ref_store *seen, sqlite3_stmt *statement)
{
    const uint8_t *pubkey = sqlite3_column_blob(statement, 0);
    ref_validator *validator = &seen->validators[pubkey[0] - 1];
    validator->floor_slot = column_bound(statement, 1);
    validator->floor_source = column_bound(statement, 2);
    validator->floor_target = column_bound(statement, 3);
}

static void take_block(ref_store *seen, sqlite3_stmt *statement)
{
    const uint8_t *pubkey = sqlite3_column_blob(statement, 0);
    seen->validators[pubkey[0] - 1].blocks[sqlite3_column_int(statement, 1)] =
        column_root(statement, 2);
}

static void take_vote(ref_store *seen, sqlite3_stmt *statement)
{
    const uint8_t *pubkey = sqlite3_column_blob(statement, 0);
    seen->validators[pubkey[0] - 1]
        .votes[sqlite3_column_int(statement, 1)][sqlite3_column_int(statement, 2)] =
        column_root(statement, 3);
}

static void take_meta(ref_store *seen, sqlite3_stmt *statement)
{
    seen->high_slot = column_bound(statement, 0);
    seen->high_target = column_bound(statement, 1);
}

static void read_rows(sqlite3 *db, const char *sql, row_taker take, ref_store *seen)
{
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    int rc = sqlite3_step(statement);
    while (rc == SQLITE_ROW) {
        take(seen, statement);
        rc = sqlite3_step(statement);
    }
    assert_int_equal(rc, SQLITE_DONE);
    (void)sqlite3_finalize(statement);
}

/* All that is on the disk, as another process sees it. */
static void read_disk(world *w, ref_store *seen)
{
    sqlite3 *db = NULL;
    ref_init(seen);
    assert_int_equal(sqlite3_open_v2(w->test.config.path, &db, SQLITE_OPEN_READONLY, NULL),
                     SQLITE_OK);
    read_rows(db, "SELECT high_slot, high_target FROM meta", take_meta, seen);
    read_rows(db, "SELECT pubkey, floor_slot, floor_source, floor_target FROM validators",
              take_validator, seen);
    read_rows(db,
              "SELECT pubkey, slot, signing_root FROM blocks JOIN validators ON id = validator_id",
              take_block, seen);
    read_rows(db,
              "SELECT pubkey, source_epoch, target_epoch, signing_root FROM attestations"
              " JOIN validators ON id = validator_id",
              take_vote, seen);
    /* A reader that checkpointed on its way out would be a second writer. */
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    (void)sqlite3_close(db);
}

static void check_disk(world *w)
{
    ref_store seen;
    read_disk(w, &seen);
    assert_memory_equal(&seen, &w->ref, sizeof seen);
}

/* ---- actions ------------------------------------------------------------------------------ */

static void decide_random(world *w)
{
    hf_message messages[BATCH_MAX];
    hf_verdict verdicts[BATCH_MAX];
    size_t n = 1 + below(w, BATCH_MAX);
    for (size_t i = 0; i < n; i++) {
        messages[i] = random_message(w, false);
    }
    hf_status st = w->test.store->ops->decide(w->test.store, messages, n, verdicts, &w->test.err);
    assert_code(st, HF_OK);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(hf_verdict_name(verdicts[i]),
                            hf_verdict_name(ref_decide(&w->ref, &messages[i])));
        if (hf_verdict_allows(verdicts[i])) {
            check_signature(w, &messages[i]);
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
    while (report.more) {
        hf_status st =
            w->test.store->ops->prune(w->test.store, keep, SLOTS_PER_EPOCH, &report, &w->test.err);
        assert_code(st, HF_OK);
    }
    ref_prune(&w->ref, (int)keep, SLOTS_PER_EPOCH);
}

static void repair_random(world *w)
{
    hf_watermark mark = {.has_slot = (uint8_t)below(w, 2), .has_epochs = (uint8_t)below(w, 2)};
    mark.slot = below(w, REF_NUMBERS / 2);
    mark.target = below(w, REF_NUMBERS / 2);
    mark.source = below(w, (uint32_t)mark.target + 1);
    assert_code(w->test.store->ops->raise_floors(w->test.store, &mark, &w->test.err), HF_OK);
    ref_raise(&w->ref, &mark);
}

static void set_high_random(world *w)
{
    hf_watermark mark = {.has_slot = (uint8_t)below(w, 2), .has_epochs = (uint8_t)below(w, 2)};
    mark.slot = below(w, REF_NUMBERS);
    mark.target = below(w, REF_NUMBERS);
    bool removes = below(w, 2) == 0;
    assert_code(w->test.store->ops->set_high(w->test.store, removes ? NULL : &mark, &w->test.err),
                HF_OK);
    w->ref.high_slot = !removes && mark.has_slot ? (int)mark.slot : -1;
    w->ref.high_target = !removes && mark.has_epochs ? (int)mark.target : -1;
}

static void expect_refusal(world *w)
{
    hf_message message = random_message(w, false);
    hf_verdict verdict = HF_VERDICT_ALLOW;
    hf_status st = w->test.store->ops->decide(w->test.store, &message, 1, &verdict, &w->test.err);
    assert_code(st, HF_UNAVAILABLE);
    assert_false(hf_verdict_allows(verdict));
    w->faults++;
}

/* Another process holds the write lock for a while. */
static void lock_for_a_while(world *w)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(w->test.config.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    expect_refusal(w);
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    (void)sqlite3_close(db);
}

/* The file is gone for a while. */
static void remove_for_a_while(world *w)
{
    char aside[1100];
    assert_code(hf_str_format(aside, sizeof aside, "%s.aside", w->test.config.path), HF_OK);
    assert_int_equal(rename(w->test.config.path, aside), 0);
    expect_refusal(w);
    expect_refusal(w);
    assert_int_equal(rename(aside, w->test.config.path), 0);
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
    if (hf_failed(hf_store_open_sqlite(&w->test.config, &w->test.store, &err))) {
        _exit(1);
    }
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
                check_signature(w, message);
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
    ref_store seen;
    read_disk(w, &seen);
    if (!hf_bytes_equal(&seen, &w->ref, sizeof seen)) {
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
    test_store_done(&w->test);
    test_store_init(&w->test);
    w->test.config.busy_timeout_ms = 1;
    test_store_open(&w->test);
    ref_init(&w->ref);
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
        lock_for_a_while(w);
    } else if (dice < 110) {
        remove_for_a_while(w);
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

static void test_store_equals_reference(void **state)
{
    (void)state;
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    uint64_t seed = from_environment("HF_TEST_SEED", hf_time_mono_ns());
    uint64_t rounds = from_environment("HF_TEST_ITERS", DEFAULT_ROUNDS);
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_store_equals_reference)};
    return cmocka_run_group_tests_name("store against reference", tests, NULL, NULL);
}
