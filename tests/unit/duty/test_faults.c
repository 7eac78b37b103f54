/* What breaks: connections at every statement, answers lost after the commit, holders killed, a
 * database that is silent, locked or gone. An independent eye collects every signature. */
#include "proxy.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static hf_duty_signer *open_at(const char *url, const char *node, uint32_t database_ms)
{
    hf_duty_config config;
    config_for(&config, node);
    assert_false(hf_failed(hf_str_copy(config.database_url, sizeof(config.database_url), url)));
    config.database_timeout_ms = database_ms;
    return node_open_with(&config);
}

/*
 * A duty through a relay that cuts all connections at the nth chunk of one direction. Whatever the
 * answer was: afterwards the same message gets one signature, another message none.
 */
static void cut_once(proxy *px, hf_duty_signer *cut, hf_duty_signer *other, bool up, uint64_t chunk)
{
    hf_duty duty = duty_new();
    test_signer how = {0}, after = {0};
    hf_duty_outcome outcome;
    if (up) {
        proxy_cut_up_after(px, chunk);
    } else {
        proxy_cut_down_after(px, chunk);
    }
    hf_duty_result result = sign_with(cut, &duty, 1, &how, &outcome);
    assert_true(result == HF_DUTY_OK || result == HF_DUTY_STORED || result == HF_DUTY_UNAVAILABLE);
    assert_true(how.calls <= 1);
    if (result == HF_DUTY_UNAVAILABLE && how.calls == 0) {
        /* Nothing was signed; the lock may still be there, or just going. */
        assert_int_equal(sign_with(other, &duty, 1, &after, &outcome), HF_DUTY_OK);
    } else {
        hf_duty_result again = sign_with(other, &duty, 1, &after, &outcome);
        assert_true(again == HF_DUTY_STORED || (again == HF_DUTY_OK && result != HF_DUTY_OK));
    }
    assert_int_equal(sign_with(other, &duty, 2, &after, &outcome), HF_DUTY_CONFLICT);
    assert_int_equal(sql_number("SELECT count(*) FROM validator_duties WHERE %s AND status ="
                                " 'signed'",
                                duty_where(&duty)),
                     1);
}

static void connections_cut_at_every_statement(void **state)
{
    (void)state;
    char url[HF_DUTY_URL_LEN];
    proxy *px = proxy_start(support_url());
    proxy_url(px, url);
    hf_duty_signer *cut = open_at(url, "cut", 2000), *other = open_at(support_url(), "other", 2000);
    /* Two statements up, their answers down: the third cut falls into the reconnection. */
    for (uint64_t chunk = 1; chunk <= 6; chunk++) {
        cut_once(px, cut, other, true, chunk);
        cut_once(px, cut, other, false, chunk);
    }
    hf_duty_counters counters = counters_of(cut);
    assert_true(counters.reconnects >= 6);
    hf_duty_close(cut);
    hf_duty_close(other);
    proxy_stop(px);
}

static void an_answer_lost_after_the_commit_is_found_again(void **state)
{
    (void)state;
    char url[HF_DUTY_URL_LEN];
    proxy *px = proxy_start(support_url());
    proxy_url(px, url);
    hf_duty_signer *cut = open_at(url, "cut", 3000);
    uint64_t resolved = 0;
    /* Which chunk is the completion's answer hangs on when notifications come: try some. */
    for (uint64_t chunk = 1; chunk <= 12 && (chunk <= 3 || resolved == 0); chunk++) {
        hf_duty duty = duty_new();
        test_signer how = {0};
        hf_duty_outcome outcome;
        uint64_t before = counters_of(cut).resolved;
        proxy_cut_down_after(px, 1 + chunk % 3);
        uint64_t began = hf_time_mono_ns();
        assert_int_equal(sign_with(cut, &duty, 1, &how, &outcome), HF_DUTY_OK);
        assert_int_equal(how.calls, 1);
        assert_true(hf_time_mono_ns() - began < 2 * HF_NS_PER_SECOND);
        resolved += counters_of(cut).resolved - before;
    }
    assert_true(resolved > 0);
    hf_duty_close(cut);
    proxy_stop(px);
}

static void a_silent_database_is_not_waited_for(void **state)
{
    (void)state;
    char url[HF_DUTY_URL_LEN];
    proxy *px = proxy_start(support_url());
    proxy_url(px, url);
    hf_duty_signer *signer = open_at(url, "node", 400);
    hf_duty duty = duty_new();
    test_signer how = {0};
    hf_duty_outcome outcome;
    proxy_silent(px, true);
    uint64_t began = hf_time_mono_ns();
    assert_int_equal(sign_with(signer, &duty, 1, &how, &outcome), HF_DUTY_UNAVAILABLE);
    assert_in_range((hf_time_mono_ns() - began) / HF_NS_PER_MS, 350, 800);
    assert_int_equal(how.calls, 0);
    proxy_silent(px, false);
    hf_duty_result result = HF_DUTY_UNAVAILABLE;
    for (int i = 0; i < 50 && result != HF_DUTY_OK; i++) {
        result = sign_with(signer, &duty, 1, &how, &outcome);
        sleep_ms(20);
    }
    assert_int_equal(result, HF_DUTY_OK);
    assert_int_equal(how.calls, 1);
    hf_duty_close(signer);
    proxy_stop(px);
}

static void silence(void *context)
{
    proxy_silent(context, true);
}

static void a_completion_without_answer_hands_out_nothing(void **state)
{
    (void)state;
    char url[HF_DUTY_URL_LEN];
    proxy *px = proxy_start(support_url());
    proxy_url(px, url);
    hf_duty_signer *signer = open_at(url, "node", 400), *other = node_open("other");
    hf_duty duty = duty_new();
    test_signer how = {.during = silence, .context = px}, after = {0};
    hf_duty_outcome outcome;
    assert_int_equal(sign_with(signer, &duty, 1, &how, &outcome), HF_DUTY_UNAVAILABLE);
    assert_int_equal(how.calls, 1);
    assert_int_equal(sign_with(other, &duty, 2, &after, &outcome), HF_DUTY_CONFLICT);
    hf_duty_result result = sign_with(other, &duty, 1, &after, &outcome);
    assert_true(result == HF_DUTY_OK || result == HF_DUTY_STORED);
    proxy_silent(px, false);
    hf_duty_close(signer);
    hf_duty_close(other);
    proxy_stop(px);
}

static void one_blocked_duty_holds_up_no_other(void **state)
{
    (void)state;
    hf_duty_signer *signer = open_at(support_url(), "node", 600);
    hf_duty blocked = duty_new(), free_one = duty_new();
    test_signer how = {0};
    hf_duty_outcome outcome;
    /* Another session inserts the row and does not commit. */
    PGconn *conn = PQconnectdb(support_url());
    char sql[1024], rollup[HF_AZTEC_ADDRESS_TEXT_LEN], validator[HF_AZTEC_ADDRESS_TEXT_LEN];
    hf_aztec_address_format(blocked.rollup, rollup);
    hf_aztec_address_format(blocked.validator, validator);
    (void)snprintf(
        sql, sizeof(sql),
        "BEGIN; INSERT INTO validator_duties (rollup_address, validator_address, slot,"
        " block_number, block_index_within_checkpoint, duty_type, status, message_hash,"
        " node_id, lock_token) VALUES ('%s', '%s', %llu, 0, -1, 'ATTESTATION', 'signing',"
        " '0x', 'n', 't')",
        rollup, validator, (unsigned long long)blocked.slot);
    PQclear(PQexec(conn, sql));
    assert_int_equal(PQtransactionStatus(conn), PQTRANS_INTRANS);
    uint64_t began = hf_time_mono_ns();
    assert_int_equal(sign_with(signer, &blocked, 1, &how, &outcome), HF_DUTY_UNAVAILABLE);
    assert_true(hf_time_mono_ns() - began < HF_NS_PER_SECOND);
    assert_int_equal(sign_with(signer, &free_one, 1, &how, &outcome), HF_DUTY_OK);
    PQclear(PQexec(conn, "ROLLBACK"));
    PQfinish(conn);
    assert_int_equal(sign_with(signer, &blocked, 1, &how, &outcome), HF_DUTY_OK);
    hf_duty_close(signer);
}

static void an_idle_connection_that_the_server_ends_is_made_anew(void **state)
{
    (void)state;
    hf_duty_signer *signer = node_open("node");
    for (int i = 0; i < 3; i++) {
        hf_duty duty = duty_new();
        test_signer how = {0};
        hf_duty_outcome outcome;
        sql_run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ="
                " 'holdfast-duty'");
        assert_int_equal(sign_with(signer, &duty, 1, &how, &outcome), HF_DUTY_OK);
    }
    assert_true(counters_of(signer).reconnects >= 3);
    hf_duty_close(signer);
}

/* ---- processes ----------------------------------------------------------------------------------
 */

static void never_return(void *context)
{
    (void)context;
    for (;;) {
        sleep_ms(1000);
    }
}

static void a_killed_holder_is_taken_over_within_the_slot(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    test_signer how = {0};
    hf_duty_outcome outcome;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        test_signer hang = {.during = never_return};
        hf_duty_signer *signer = node_open("victim");
        (void)sign_with(signer, &duty, 1, &hang, &outcome);
        _exit(1);
    }
    for (int i = 0; i < 200 && sql_number("SELECT count(*) FROM validator_duties WHERE %s",
                                          duty_where(&duty)) == 0;
         i++) {
        sleep_ms(10);
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    hf_duty_signer *signer = node_open("survivor");
    assert_int_equal(sign_with(signer, &duty, 2, &how, &outcome), HF_DUTY_CONFLICT);
    uint64_t began = hf_time_mono_ns();
    assert_int_equal(sign_with(signer, &duty, 1, &how, &outcome), HF_DUTY_OK);
    assert_in_range((hf_time_mono_ns() - began) / HF_NS_PER_MS, 900, 2000);
    hf_duty_close(signer);
}

#define PROCESSES 3
#define RACES 150

/* Signs RACES duties with a message of its own or the common one, and tells what it got. */
static _Noreturn void race(int number, int out, const hf_duty *first)
{
    hf_duty duty = *first;
    char node[16];
    uint8_t results[RACES];
    (void)snprintf(node, sizeof(node), "racer-%d", number);
    hf_duty_signer *signer = node_open(node);
    for (size_t i = 0; i < RACES; i++) {
        test_signer how = {0};
        hf_duty_outcome outcome;
        duty.slot++;
        results[i] = (uint8_t)sign_with(signer, &duty, (uint8_t)(i % 2 == 0 ? 1 : 1 + number), &how,
                                        &outcome);
    }
    hf_duty_close(signer);
    _exit(write(out, results, sizeof(results)) == (ssize_t)sizeof(results) ? 0 : 1);
}

static void processes_race_for_each_duty(void **state)
{
    (void)state;
    hf_duty first = duty_new();
    uint8_t results[PROCESSES][RACES];
    int pipes[PROCESSES][2];
    pid_t children[PROCESSES];
    for (int p = 0; p < PROCESSES; p++) {
        assert_int_equal(pipe(pipes[p]), 0);
        children[p] = fork();
        assert_true(children[p] >= 0);
        if (children[p] == 0) {
            race(p, pipes[p][1], &first);
        }
        (void)close(pipes[p][1]);
    }
    for (int p = 0; p < PROCESSES; p++) {
        assert_int_equal(read(pipes[p][0], results[p], RACES), RACES);
        (void)close(pipes[p][0]);
        assert_int_equal(waitpid(children[p], NULL, 0), children[p]);
    }
    for (size_t i = 0; i < RACES; i++) {
        int signed_here = 0;
        for (int p = 0; p < PROCESSES; p++) {
            signed_here += results[p][i] == HF_DUTY_OK;
            assert_true(results[p][i] == HF_DUTY_OK ||
                        results[p][i] == (i % 2 == 0 ? HF_DUTY_STORED : HF_DUTY_CONFLICT));
        }
        assert_int_equal(signed_here, 1);
    }
}

/* ---- bounds
 * -------------------------------------------------------------------------------------- */

typedef struct tally {
    int answers, overloaded, granted, closed; /* atomic */
} tally;

static void count_answer(void *context, const hf_duty_answer *answer)
{
    tally *sum = context;
    __atomic_add_fetch(&sum->overloaded, answer->result == HF_DUTY_OVERLOADED, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&sum->granted, answer->result == HF_DUTY_OK, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&sum->closed, answer->result == HF_DUTY_CLOSED, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&sum->answers, 1, __ATOMIC_SEQ_CST);
}

static void waits_are_bounded_in_number_and_ended_by_close(void **state)
{
    (void)state;
    enum { ASKED = 100, BOUND = 10 };
    hf_duty_config config;
    hf_duty_engine *engine = NULL;
    hf_error err = {0};
    tally sum = {0};
    config_for(&config, "node");
    config.max_waiting = BOUND;
    support_url_at(support_url(), 1, config.database_url); /* nobody listens there */
    assert_false(hf_failed(hf_duty_engine_open(&config, &engine, &err)));
    uint8_t hash[HF_DUTY_HASH_BYTES] = {1};
    for (int i = 0; i < ASKED; i++) {
        hf_duty duty = duty_new();
        hf_duty_acquire(engine, &duty, hash, hf_time_mono_ns() + 60 * HF_NS_PER_SECOND,
                        count_answer, &sum);
    }
    hf_duty_engine_close(engine);
    assert_int_equal(sum.answers, ASKED);
    assert_int_equal(sum.granted, 0);
    assert_true(sum.overloaded >= ASKED - BOUND - 1);
    assert_true(sum.closed <= BOUND);
}

static void a_late_grant_is_given_back(void **state)
{
    (void)state;
    char url[HF_DUTY_URL_LEN];
    proxy *px = proxy_start(support_url());
    proxy_url(px, url);
    hf_duty_signer *signer = open_at(url, "late", 300), *other = node_open("other");
    hf_duty duty = duty_new();
    test_signer how = {0};
    hf_duty_outcome outcome;
    /* The lock is taken; its answer is lost, and so is everything for a while. */
    proxy_silent(px, true);
    assert_int_equal(sign_with(signer, &duty, 1, &how, &outcome), HF_DUTY_UNAVAILABLE);
    proxy_silent(px, false);
    hf_duty_result result = HF_DUTY_CONFLICT;
    for (int i = 0; i < 100 && result != HF_DUTY_OK; i++) {
        result = sign_with(other, &duty, 2, &how, &outcome);
        sleep_ms(20);
    }
    assert_int_equal(result, HF_DUTY_OK);
    hf_duty_close(signer);
    hf_duty_close(other);
    proxy_stop(px);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* Forking comes first, before there are threads. */
        cmocka_unit_test(a_killed_holder_is_taken_over_within_the_slot),
        cmocka_unit_test(processes_race_for_each_duty),
        cmocka_unit_test(connections_cut_at_every_statement),
        cmocka_unit_test(an_answer_lost_after_the_commit_is_found_again),
        cmocka_unit_test(a_silent_database_is_not_waited_for),
        cmocka_unit_test(a_completion_without_answer_hands_out_nothing),
        cmocka_unit_test(one_blocked_duty_holds_up_no_other),
        cmocka_unit_test(an_idle_connection_that_the_server_ends_is_made_anew),
        cmocka_unit_test(waits_are_bounded_in_number_and_ended_by_close),
        cmocka_unit_test(a_late_grant_is_given_back),
    };
    return cmocka_run_group_tests(tests, support_begin, support_end);
}
