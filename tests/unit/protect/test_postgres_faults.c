/* What befalls a connection: cuts at every byte, answers that are lost, silence, a held lock. */
#include "proxy.h"
#include "support_postgres.h"

#include <unistd.h>

#define DEADLINE_MS 800
#define LATE_MS (DEADLINE_MS + 700) /* on a busy machine */
#define POSITIONS 24

typedef struct world {
    pg_test test;
    proxy proxy;
    uint64_t epoch; /* of the next vote */
} world;

static uint16_t server_port(const char *url)
{
    uint64_t port = 0;
    const char *colon = strrchr(url, ':');
    assert_non_null(colon);
    assert_code(hf_num_parse_u64(colon + 1, strcspn(colon + 1, "/"), &port), HF_OK);
    return (uint16_t)port;
}

static int setup(void **state)
{
    char url[sizeof((hf_postgres_config *)0)->url];
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    pg_test_init(&w->test);
    proxy_start(&w->proxy, server_port(w->test.config.url));
    const char *colon = strrchr(w->test.config.url, ':');
    assert_non_null(colon);
    assert_code(hf_str_format(url, sizeof url, "%.*s:%u%s", (int)(colon - w->test.config.url),
                              w->test.config.url, w->proxy.port, strchr(colon, '/')),
                HF_OK);
    assert_code(hf_str_copy(w->test.config.url, sizeof w->test.config.url, url), HF_OK);
    pg_test_open(&w->test);
    assert_int_equal(pg_test_decide(&w->test, test_vote(1, 0, 1, 1)), HF_VERDICT_ALLOW);
    w->test.config.deadline_ms = DEADLINE_MS;
    pg_test_close(&w->test);
    pg_test_open(&w->test);
    assert_int_equal(pg_test_decide(&w->test, test_vote(1, 0, 1, 1)), HF_VERDICT_REPEAT);
    w->epoch = 1;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    atomic_store(&w->proxy.silent, false);
    pg_test_done(&w->test);
    proxy_stop(&w->proxy);
    free(w);
    return 0;
}

static hf_status decide(world *w, const hf_message *message, hf_verdict *ret_verdict)
{
    *ret_verdict = HF_VERDICT_ALLOW;
    return w->test.store->ops->decide(w->test.store, message, 1, ret_verdict, &w->test.err);
}

static uint64_t now_ms(void)
{
    return hf_time_mono_ns() / HF_NS_PER_MS;
}

/* As another one sees the database: what was allowed is on record, and nothing beside it. */
static void check_record(world *w, const hf_message *message, hf_verdict verdict)
{
    char sql[256];
    (void)snprintf(sql, sizeof sql,
                   "SELECT count(*) FROM signed_attestations WHERE target_epoch = %llu",
                   (unsigned long long)message->target);
    int64_t count = pg_test_count(&w->test, sql);
    if (hf_verdict_allows(verdict)) {
        assert_int_equal(count, 1);
    } else {
        assert_true(count <= 1);
    }
    hf_message other = *message;
    other.signing_root[0] ^= 0x55;
    if (count == 1) {
        assert_int_equal(pg_test_decide(&w->test, other), HF_VERDICT_DOUBLE_VOTE);
    }
}

/* Bytes of one decision in each direction. */
static void measure(world *w, int64_t *ret_up, int64_t *ret_down)
{
    int64_t up = atomic_load(&w->proxy.up_bytes);
    int64_t down = atomic_load(&w->proxy.down_bytes);
    assert_int_equal(pg_test_decide(&w->test, test_vote(1, w->epoch, w->epoch + 1, 1)),
                     HF_VERDICT_ALLOW);
    w->epoch++;
    *ret_up = atomic_load(&w->proxy.up_bytes) - up;
    *ret_down = atomic_load(&w->proxy.down_bytes) - down;
}

static void cut_at(world *w, atomic_llong *left, int64_t bytes)
{
    int cuts = atomic_load(&w->proxy.cuts);
    hf_message message = test_vote(1, w->epoch, w->epoch + 1, 1);
    hf_verdict verdict;
    atomic_store(left, bytes);
    hf_status st = decide(w, &message, &verdict);
    if (hf_failed(st)) {
        fail_msg("cut after %lld bytes: %s", (long long)bytes, w->test.err.msg);
    }
    assert_true(hf_verdict_allows(verdict));
    assert_int_equal(atomic_load(&w->proxy.cuts), cuts + 1);
    check_record(w, &message, verdict);
    w->epoch++;
}

/* Wherever the request or the answer is cut: it is made good within the deadline, once. */
static void test_cut_anywhere(void **state)
{
    world *w = *state;
    int64_t up;
    int64_t down;
    measure(w, &up, &down);
    for (int64_t i = 0; i < POSITIONS; i++) {
        cut_at(w, &w->proxy.up_left, 1 + (up - 2) * i / (POSITIONS - 1));
        cut_at(w, &w->proxy.down_left, 1 + (down - 2) * i / (POSITIONS - 1));
    }
}

/* The transaction is durable and nobody ever hears of it: asked again, it is a REPEAT. */
static void test_lost_answer(void **state)
{
    world *w = *state;
    hf_message message = test_vote(1, w->epoch, w->epoch + 1, 1);
    hf_verdict verdict;
    atomic_store(&w->proxy.deaf, true);
    uint64_t start = now_ms();
    assert_code(decide(w, &message, &verdict), HF_UNAVAILABLE);
    assert_true(now_ms() - start < LATE_MS);
    assert_false(hf_verdict_allows(verdict));
    atomic_store(&w->proxy.deaf, false);
    assert_int_equal(pg_test_count(&w->test, "SELECT count(*) FROM signed_attestations"), 2);
    assert_code(decide(w, &message, &verdict), HF_OK);
    assert_int_equal(verdict, HF_VERDICT_REPEAT);
    check_record(w, &message, verdict);
}

/* A partition: nobody waits beyond the deadline, and all is well when it ends. */
static void test_silence(void **state)
{
    world *w = *state;
    hf_message message = test_vote(1, w->epoch, w->epoch + 1, 1);
    hf_verdict verdict;
    atomic_store(&w->proxy.silent, true);
    for (int i = 0; i < 2; i++) {
        uint64_t start = now_ms();
        assert_code(decide(w, &message, &verdict), HF_UNAVAILABLE);
        assert_true(now_ms() - start < LATE_MS);
        assert_code(w->test.store->ops->health(w->test.store, &w->test.err), HF_UNAVAILABLE);
        assert_true(now_ms() - start < 2 * (uint64_t)LATE_MS);
    }
    atomic_store(&w->proxy.silent, false);
    uint64_t start = now_ms();
    while (hf_failed(decide(w, &message, &verdict))) {
        assert_true(now_ms() - start < 5000);
    }
    assert_true(hf_verdict_allows(verdict));
    check_record(w, &message, verdict);
}

/* Two hosts in the URL, the first of them dead without a word: the other one is found in time. */
static void test_two_hosts(void **state)
{
    world *w = *state;
    hf_message message = test_vote(1, w->epoch, w->epoch + 1, 1);
    hf_verdict verdict;
    char url[sizeof w->test.config.url];
    const char *at = strrchr(w->test.config.url, '@');
    assert_non_null(at);
    assert_code(hf_str_format(url, sizeof url, "%.*s@127.0.0.1:%u,127.0.0.1:%u/%s",
                              (int)(at - w->test.config.url), w->test.config.url, w->proxy.port,
                              w->proxy.server_port, w->test.name),
                HF_OK);
    assert_code(hf_str_copy(w->test.config.url, sizeof w->test.config.url, url), HF_OK);
    pg_test_close(&w->test);
    atomic_store(&w->proxy.silent, true);
    pg_test_open(&w->test);
    for (int i = 0; i < 3; i++) {
        uint64_t start = now_ms();
        assert_code(decide(w, &message, &verdict), HF_OK);
        assert_true(hf_verdict_allows(verdict));
        assert_true(now_ms() - start < LATE_MS);
    }
}

/* Somebody holds one validator's lock, Web3Signer perhaps, and lets go later: only that validator
 * has to wait. */
static void test_held_lock(void **state)
{
    world *w = *state;
    const hf_message both[] = {test_vote(1, w->epoch, w->epoch + 1, 1), test_vote(2, 0, 1, 1)};
    hf_verdict verdicts[2];
    const hf_store_ops *ops = w->test.store->ops;
    pg_test_exec(&w->test, "SELECT pg_advisory_lock(1, (SELECT min(id) FROM validators))");
    for (int i = 0; i < 3; i++) {
        uint64_t start = now_ms();
        assert_code(ops->decide(w->test.store, both, 2, verdicts, &w->test.err), HF_OK);
        assert_true(now_ms() - start < LATE_MS);
        assert_int_equal(verdicts[0], HF_VERDICT_UNDECIDED);
        assert_int_equal(verdicts[1], i == 0 ? HF_VERDICT_ALLOW : HF_VERDICT_REPEAT);
    }
    assert_int_equal(pg_test_count(&w->test, "SELECT count(*) FROM signed_attestations"), 2);
    pg_test_exec(&w->test, "SELECT pg_advisory_unlock_all()");
    assert_code(ops->decide(w->test.store, both, 2, verdicts, &w->test.err), HF_OK);
    assert_int_equal(verdicts[0], HF_VERDICT_ALLOW);
    assert_int_equal(verdicts[1], HF_VERDICT_REPEAT);
}

/* An import by another node, which everybody waits for. */
static void test_held_history(void **state)
{
    world *w = *state;
    hf_message message = test_vote(1, w->epoch, w->epoch + 1, 1);
    hf_verdict verdict;
    /* Deciding shares this one: HF_PG_LOCK_HISTORY. */
    pg_test_exec(&w->test, "SELECT pg_advisory_lock(x'686f6c6466617375'::bigint)");
    uint64_t start = now_ms();
    assert_code(decide(w, &message, &verdict), HF_UNAVAILABLE);
    assert_true(now_ms() - start < LATE_MS);
    assert_non_null(strstr(w->test.err.msg, "holds the lock"));
    pg_test_exec(&w->test, "SELECT pg_advisory_unlock_all()");
    assert_code(decide(w, &message, &verdict), HF_OK);
    assert_int_equal(verdict, HF_VERDICT_ALLOW);
}

/* A database that forgot what it had said was durable. */
static void test_lost_history(void **state)
{
    world *w = *state;
    hf_message message = test_vote(1, w->epoch, w->epoch + 1, 1);
    hf_verdict verdict;
    assert_code(decide(w, &message, &verdict), HF_OK);
    pg_test_exec(&w->test, "DELETE FROM signed_attestations WHERE target_epoch > 1;"
                           "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                           " WHERE datname = current_database() AND pid <> pg_backend_pid()");
    message = test_vote(1, w->epoch, w->epoch + 1, 2);
    assert_code(decide(w, &message, &verdict), HF_CORRUPT);
    assert_non_null(strstr(w->test.err.msg, "lost what was recorded"));
    assert_false(hf_verdict_allows(verdict));
}

/* The database is another one all of a sudden: what was checked at the start is seen each time. */
static void test_changed_database(void **state)
{
    world *w = *state;
    hf_message message = test_vote(1, w->epoch, w->epoch + 1, 1);
    hf_verdict verdict;
    pg_test_exec(&w->test, "UPDATE database_version SET version = 13");
    assert_code(decide(w, &message, &verdict), HF_CONFLICT);
    assert_non_null(strstr(w->test.err.msg, "newer than 12"));
    pg_test_exec(&w->test, "UPDATE database_version SET version = 12;"
                           "UPDATE metadata SET genesis_validators_root = '\\x00'");
    assert_code(decide(w, &message, &verdict), HF_CONFLICT);
    assert_non_null(strstr(w->test.err.msg, "another network"));
    pg_test_exec(&w->test, "UPDATE metadata SET genesis_validators_root ="
                           " decode(repeat('07', 32), 'hex')");
    assert_code(decide(w, &message, &verdict), HF_OK);
    assert_int_equal(verdict, HF_VERDICT_ALLOW);
}

/* ---- batches in the air ------------------------------------------------------------------- */

static hf_status end_oldest(world *w, hf_verdict *ret_verdict)
{
    const hf_store_ops *ops = w->test.store->ops;
    *ret_verdict = HF_VERDICT_ALLOW;
    assert_true(ops->decide_wait(w->test.store, -1, UINT64_MAX));
    return ops->decide_end(w->test.store, ret_verdict, &w->test.err);
}

/* As many as there may be, of one validator, each above the one before; returns how many left. */
static size_t begin_all(world *w, hf_message messages[HF_FLIGHTS_MAX])
{
    size_t begun = 0;
    for (size_t i = 0; i < HF_FLIGHTS_MAX; i++) {
        messages[i] = test_vote(1, w->epoch, w->epoch + 1, 1);
        w->epoch++;
        begun += begun == i && w->test.store->ops->decide_begin(w->test.store, &messages[i], 1);
    }
    return begun;
}

/* Each sees what was decided before it, though nobody has heard of that yet. */
static void test_air_keeps_the_order(void **state)
{
    world *w = *state;
    const hf_store_ops *ops = w->test.store->ops;
    hf_message messages[HF_FLIGHTS_MAX + 1];
    hf_verdict verdict;
    _Static_assert(HF_FLIGHTS_MAX == 3, "one verdict of each kind");
    const hf_verdict expected[] = {HF_VERDICT_ALLOW, HF_VERDICT_REPEAT, HF_VERDICT_DOUBLE_VOTE};
    uint64_t trips = hf_store_postgres_traffic(w->test.store).round_trips;
    for (size_t i = 0; i <= HF_FLIGHTS_MAX; i++) {
        messages[i] = test_vote(1, w->epoch, w->epoch + 1, i < 2 ? 1 : 2);
        assert_int_equal(ops->decide_begin(w->test.store, &messages[i], 1), i < HF_FLIGHTS_MAX);
    }
    for (size_t i = 0; i < HF_FLIGHTS_MAX; i++) {
        assert_code(end_oldest(w, &verdict), HF_OK);
        assert_int_equal(verdict, expected[i]);
    }
    assert_int_equal(hf_store_postgres_traffic(w->test.store).round_trips, trips + HF_FLIGHTS_MAX);
    /* Whom the store has not met takes a question of its own; nor is nonsense begun. */
    hf_message stranger = test_vote(2, w->epoch, w->epoch + 1, 1);
    assert_false(ops->decide_begin(w->test.store, &stranger, 1));
    messages[0] = test_vote(1, w->epoch + 2, w->epoch + 1, 1);
    messages[0].source = HF_PROTECT_MAX_NUMBER + UINT64_C(1);
    assert_false(ops->decide_begin(w->test.store, &messages[0], 1));
    assert_int_equal(pg_test_decide(&w->test, stranger), HF_VERDICT_ALLOW);
    stranger = test_vote(2, w->epoch + 1, w->epoch + 2, 1);
    assert_true(ops->decide_begin(w->test.store, &stranger, 1));
    assert_code(end_oldest(w, &verdict), HF_OK);
    assert_int_equal(verdict, HF_VERDICT_ALLOW);
}

/* Whoever waits for the first answer is woken by a descriptor, and by the time, too. */
static void test_air_waits_as_told(void **state)
{
    world *w = *state;
    const hf_store_ops *ops = w->test.store->ops;
    hf_message message = test_vote(1, w->epoch, w->epoch + 1, 1);
    hf_verdict verdict;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "", 1), 1);
    atomic_store(&w->proxy.silent, true);
    assert_true(ops->decide_begin(w->test.store, &message, 1));
    assert_false(ops->decide_wait(w->test.store, ends[0], UINT64_MAX));
    assert_false(ops->decide_wait(w->test.store, -1, hf_time_mono_ns()));
    atomic_store(&w->proxy.silent, false);
    assert_code(end_oldest(w, &verdict), HF_OK);
    assert_int_equal(verdict, HF_VERDICT_ALLOW);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* Wherever the line is cut: all that was in the air is decided again, in its order, once. */
static void cut_in_the_air(world *w, atomic_llong *left, int64_t bytes)
{
    hf_message messages[HF_FLIGHTS_MAX];
    hf_verdict verdicts[HF_FLIGHTS_MAX];
    int cuts = atomic_load(&w->proxy.cuts);
    atomic_store(left, bytes);
    size_t begun = begin_all(w, messages);
    for (size_t i = 0; i < HF_FLIGHTS_MAX; i++) {
        assert_code(i < begun ? end_oldest(w, &verdicts[i]) : decide(w, &messages[i], &verdicts[i]),
                    HF_OK);
        assert_true(hf_verdict_allows(verdicts[i]));
    }
    assert_int_equal(atomic_load(&w->proxy.cuts), cuts + 1);
    for (size_t i = 0; i < HF_FLIGHTS_MAX; i++) {
        check_record(w, &messages[i], verdicts[i]);
    }
}

static void test_air_is_cut_anywhere(void **state)
{
    world *w = *state;
    int64_t up;
    int64_t down;
    measure(w, &up, &down);
    for (int64_t i = 0; i < POSITIONS / 2; i++) {
        cut_in_the_air(w, &w->proxy.up_left, 1 + HF_FLIGHTS_MAX * (up - 2) * i / (POSITIONS / 2));
        cut_in_the_air(w, &w->proxy.down_left,
                       1 + HF_FLIGHTS_MAX * (down - 2) * i / (POSITIONS / 2));
    }
}

/* All commits are durable and none of their answers comes: in doubt, refused, and known when asked
 * again. */
static void test_air_is_lost(void **state)
{
    world *w = *state;
    hf_message messages[HF_FLIGHTS_MAX];
    hf_verdict verdict;
    atomic_store(&w->proxy.deaf, true);
    uint64_t start = now_ms();
    assert_int_equal(begin_all(w, messages), HF_FLIGHTS_MAX);
    for (size_t i = 0; i < HF_FLIGHTS_MAX; i++) {
        assert_code(end_oldest(w, &verdict), HF_UNAVAILABLE);
        assert_false(hf_verdict_allows(verdict));
    }
    assert_true(now_ms() - start < LATE_MS); /* one deadline for all of them */
    atomic_store(&w->proxy.deaf, false);
    for (size_t i = 0; i < HF_FLIGHTS_MAX; i++) {
        assert_code(decide(w, &messages[i], &verdict), HF_OK);
        assert_int_equal(verdict, HF_VERDICT_REPEAT);
        check_record(w, &messages[i], verdict);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cut_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_hosts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_held_lock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_held_history, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_history, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changed_database, setup, teardown),
        cmocka_unit_test_setup_teardown(test_air_keeps_the_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_air_waits_as_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_air_is_cut_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_air_is_lost, setup, teardown),
    };
    return pg_test_is_possible() ? cmocka_run_group_tests_name("faults", tests, NULL, NULL) : 77;
}
