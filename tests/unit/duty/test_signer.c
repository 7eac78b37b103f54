/* What a signer does with duties: the behaviours of the package, and where ours are better. */
#include "support.h"

static hf_duty_signer *node_a, *node_b;

static void sign_is_recorded(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    duty.block_number = 77;
    test_signer how = {0};
    hf_duty_outcome outcome;
    assert_int_equal(sign_with(node_a, &duty, 1, &how, &outcome), HF_DUTY_OK);
    assert_int_equal(how.calls, 1);
    assert_string_equal(outcome.node_id, "node-a");
    char hash[HF_AZTEC_HASH_TEXT_LEN], signature[HF_AZTEC_SIGNATURE_TEXT_LEN];
    uint8_t bytes[HF_DUTY_HASH_BYTES];
    memset(bytes, 1, sizeof(bytes));
    hf_aztec_hash_format(bytes, hash);
    hf_aztec_signature_format(outcome.signature, signature);
    assert_int_equal(
        sql_number("SELECT count(*) FROM validator_duties WHERE %s AND status ="
                   " 'signed' AND message_hash = '%s' AND signature = '%s' AND"
                   " node_id = 'node-a' AND block_number = 77 AND"
                   " block_index_within_checkpoint = -1 AND completed_at >= started_at",
                   duty_where(&duty), hash, signature),
        1);
    assert_string_equal(hf_duty_node_id(node_a), "node-a");
}

static void the_same_message_returns_the_stored_signature(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    test_signer first = {0}, again = {0};
    hf_duty_outcome outcome;
    assert_int_equal(sign_with(node_a, &duty, 1, &first, &outcome), HF_DUTY_OK);
    assert_int_equal(sign_with(node_a, &duty, 1, &again, &outcome), HF_DUTY_STORED);
    assert_int_equal(sign_with(node_b, &duty, 1, &again, &outcome), HF_DUTY_STORED);
    assert_string_equal(outcome.node_id, "node-a");
    assert_int_equal(again.calls, 0);
}

static void other_data_is_refused_and_both_are_named(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    test_signer how = {0}, other = {0};
    hf_duty_outcome outcome;
    uint8_t existing[HF_DUTY_HASH_BYTES];
    memset(existing, 1, sizeof(existing));
    assert_int_equal(sign_with(node_a, &duty, 1, &how, &outcome), HF_DUTY_OK);
    assert_int_equal(sign_with(node_b, &duty, 2, &other, &outcome), HF_DUTY_CONFLICT);
    assert_int_equal(other.calls, 0);
    assert_string_equal(outcome.node_id, "node-a");
    assert_memory_equal(outcome.existing_hash, existing, sizeof(existing));
    assert_non_null(strstr(outcome.message, "ATTESTATION"));
    assert_non_null(strstr(outcome.message, "0x01010101"));
    assert_non_null(strstr(outcome.message, "0x02020202"));
    assert_null(strstr(outcome.message, "0x0101010101"));
}

static void duties_that_differ_in_anything_are_independent(void **state)
{
    (void)state;
    hf_duty base = duty_new();
    base.type = HF_DUTY_BLOCK_PROPOSAL;
    base.block_index = 0;
    test_signer how = {0};
    hf_duty_outcome outcome;
    assert_int_equal(sign_with(node_a, &base, 1, &how, &outcome), HF_DUTY_OK);
    for (int member = 0; member < 5; member++) {
        hf_duty other = base;
        other.slot += member == 0;
        other.block_index += member == 1;
        other.validator[3] ^= member == 2;
        other.rollup[19] ^= member == 3; /* a rollup upgrade */
        other.type += member == 4;       /* a checkpoint proposal beside block proposals */
        assert_int_equal(sign_with(node_b, &other, (uint8_t)(2 + member), &how, &outcome),
                         HF_DUTY_OK);
    }
    assert_int_equal(how.calls, 6);
    assert_int_equal(sign_with(node_b, &base, 2, &how, &outcome), HF_DUTY_CONFLICT);
}

static void every_protected_type_is_signed_once(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    duty.block_number = 5;
    for (uint32_t type = 0; type < HF_DUTY_AUTH_REQUEST; type++) {
        test_signer how = {0};
        hf_duty_outcome outcome;
        duty.type = type;
        duty.block_index = type == HF_DUTY_BLOCK_PROPOSAL ? 2 : 9;
        assert_int_equal(sign_with(node_a, &duty, 1, &how, &outcome), HF_DUTY_OK);
        assert_int_equal(sign_with(node_b, &duty, 1, &how, &outcome), HF_DUTY_STORED);
        assert_int_equal(sign_with(node_b, &duty, 2, &how, &outcome), HF_DUTY_CONFLICT);
        assert_int_equal(how.calls, 1);
        bool vote = type == HF_DUTY_GOVERNANCE_VOTE || type == HF_DUTY_SLASHING_VOTE;
        assert_int_equal(
            sql_number("SELECT block_number FROM validator_duties WHERE %s", duty_where(&duty)),
            vote ? 0 : 5);
        assert_int_equal(
            sql_number("SELECT block_index_within_checkpoint FROM validator_duties WHERE %s",
                       duty_where(&duty)),
            type == HF_DUTY_BLOCK_PROPOSAL ? 2 : -1);
    }
}

static void auth_requests_and_txs_bypass_the_database(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    static const uint32_t types[] = {HF_DUTY_AUTH_REQUEST, HF_DUTY_TXS};
    for (size_t i = 0; i < HF_ARRAY_LEN(types); i++) {
        test_signer how = {0};
        hf_duty_outcome outcome;
        duty.type = types[i];
        uint64_t before = counters_of(node_a).round_trips;
        assert_int_equal(sign_with(node_a, &duty, 1, &how, &outcome), HF_DUTY_OK);
        assert_int_equal(sign_with(node_a, &duty, 2, &how, &outcome), HF_DUTY_OK);
        assert_int_equal(how.calls, 2);
        assert_int_equal(counters_of(node_a).round_trips, before);
    }
}

static void large_numbers_are_kept(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    duty.slot = (UINT64_C(1) << 53) - 1; /* JavaScript's largest */
    duty.block_number = (uint64_t)INT64_MAX;
    test_signer how = {0};
    hf_duty_outcome outcome;
    assert_int_equal(sign_with(node_a, &duty, 1, &how, &outcome), HF_DUTY_OK);
    assert_string_equal(
        sql_text("SELECT block_number FROM validator_duties WHERE %s", duty_where(&duty)),
        "9223372036854775807");
    duty.slot = 0;
    assert_int_equal(sign_with(node_a, &duty, 1, &how, &outcome), HF_DUTY_OK);
}

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    uint8_t hash[HF_DUTY_HASH_BYTES] = {1};
    test_signer how = {0};
    hf_duty_outcome outcome;
    duty.type = HF_DUTY_BLOCK_PROPOSAL;
    duty.block_index = -1;
    assert_int_equal(sign_with(node_a, &duty, 1, &how, &outcome), HF_DUTY_INVALID);
    assert_non_null(strstr(outcome.message, "blockIndexWithinCheckpoint"));
    duty.type = 99;
    assert_int_equal(sign_with(node_a, &duty, 1, &how, &outcome), HF_DUTY_INVALID);
    assert_int_equal(hf_duty_sign(node_a, NULL, hash, test_sign, &how, &outcome), HF_DUTY_INVALID);
    assert_int_equal(hf_duty_sign(node_a, &duty, hash, test_sign, &how, NULL), HF_DUTY_INVALID);
    assert_int_equal(how.calls, 0);
}

static void a_signer_that_refuses_frees_the_duty(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    test_signer refusing = {.code = HF_DUTY_SIGN_REFUSED}, how = {0};
    hf_duty_outcome outcome;
    assert_int_equal(sign_with(node_a, &duty, 1, &refusing, &outcome), HF_DUTY_SIGN_FAILED);
    assert_int_equal(outcome.callback_code, HF_DUTY_SIGN_REFUSED);
    assert_int_equal(
        sql_number("SELECT count(*) FROM validator_duties WHERE %s", duty_where(&duty)), 0);
    assert_int_equal(sign_with(node_b, &duty, 2, &how, &outcome), HF_DUTY_OK);
}

static void a_signer_that_does_not_know_binds_the_duty_to_its_message(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    test_signer unsure = {.code = HF_DUTY_SIGN_MAYBE}, how = {0};
    hf_duty_outcome outcome;
    assert_int_equal(sign_with(node_a, &duty, 1, &unsure, &outcome), HF_DUTY_SIGN_UNKNOWN);
    assert_int_equal(sign_with(node_b, &duty, 2, &how, &outcome), HF_DUTY_CONFLICT);
    assert_int_equal(how.calls, 0);
    assert_int_equal(sign_with(node_b, &duty, 1, &how, &outcome), HF_DUTY_OK);
    assert_int_equal(how.calls, 1);
}

static int nonsense(void *context, const hf_duty *duty, const uint8_t *hash, uint8_t *signature)
{
    (void)duty;
    (void)hash;
    memset(signature, *(int *)context, HF_DUTY_SIGNATURE_BYTES);
    return HF_DUTY_SIGN_DONE;
}

static void what_is_no_signature_is_not_recorded(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    uint8_t hash[HF_DUTY_HASH_BYTES] = {1};
    int fill = 0x42; /* v = 0x42 */
    hf_duty_outcome outcome;
    assert_int_equal(hf_duty_sign(node_a, &duty, hash, nonsense, &fill, &outcome),
                     HF_DUTY_SIGN_UNKNOWN);
    assert_true(hf_bytes_is_zero(outcome.signature, sizeof(outcome.signature)));
    assert_string_equal(sql_text("SELECT status FROM validator_duties WHERE %s", duty_where(&duty)),
                        "signing");
}

static void ten_signers_make_one_signature(void **state)
{
    (void)state;
    job jobs[10];
    for (int round = 0; round < 30; round++) {
        hf_duty duty = duty_new();
        test_signer how = {.slow_ns = round < 3 ? 20 * HF_NS_PER_MS : 0};
        int signed_here = 0;
        for (size_t i = 0; i < 10; i++) {
            job_start(&jobs[i], i % 2 == 0 ? node_a : node_b, &duty, 1, &how);
        }
        for (size_t i = 0; i < 10; i++) {
            job_join(&jobs[i]);
            signed_here += jobs[i].outcome.result == HF_DUTY_OK;
            assert_true(jobs[i].outcome.result == HF_DUTY_OK ||
                        jobs[i].outcome.result == HF_DUTY_STORED);
        }
        assert_int_equal(signed_here, 1);
        assert_int_equal(how.calls, 1);
    }
}

static void of_different_messages_one_is_signed(void **state)
{
    (void)state;
    job jobs[10];
    for (int round = 0; round < 30; round++) {
        hf_duty duty = duty_new();
        test_signer how = {0};
        int signed_here = 0;
        for (size_t i = 0; i < 10; i++) {
            job_start(&jobs[i], i % 2 == 0 ? node_a : node_b, &duty, (uint8_t)(i + 1), &how);
        }
        for (size_t i = 0; i < 10; i++) {
            job_join(&jobs[i]);
            signed_here += jobs[i].outcome.result == HF_DUTY_OK;
            assert_true(jobs[i].outcome.result == HF_DUTY_OK ||
                        jobs[i].outcome.result == HF_DUTY_CONFLICT);
        }
        assert_int_equal(signed_here, 1);
        assert_int_equal(how.calls, 1);
    }
}

static void a_waiter_is_woken_by_the_other_node(void **state)
{
    (void)state;
    job holder, waiter;
    hf_duty duty = duty_new();
    test_signer slow = {.slow_ns = 150 * HF_NS_PER_MS}, how = {0};
    uint64_t before = counters_of(node_b).notifications;
    job_start(&holder, node_a, &duty, 1, &slow);
    sleep_ms(50);
    job_start(&waiter, node_b, &duty, 1, &how);
    job_join(&holder);
    job_join(&waiter);
    assert_int_equal(holder.outcome.result, HF_DUTY_OK);
    assert_int_equal(waiter.outcome.result, HF_DUTY_STORED);
    assert_string_equal(waiter.outcome.node_id, "node-a");
    /* It may have asked by itself in the same moment; told it was all the same. */
    for (int i = 0; i < 100 && counters_of(node_b).notifications == before; i++) {
        sleep_ms(10);
    }
    assert_true(counters_of(node_b).notifications > before);
}

static void other_data_is_refused_while_the_other_is_signing(void **state)
{
    (void)state;
    job holder, other;
    hf_duty duty = duty_new();
    test_signer slow = {.slow_ns = 400 * HF_NS_PER_MS}, how = {0};
    job_start(&holder, node_a, &duty, 1, &slow);
    sleep_ms(100);
    job_start(&other, node_b, &duty, 2, &how);
    job_join(&other);
    assert_int_equal(other.outcome.result, HF_DUTY_CONFLICT);
    assert_true(other.took_ns < 250 * HF_NS_PER_MS);
    job_join(&holder);
    assert_int_equal(holder.outcome.result, HF_DUTY_OK);
    assert_int_equal(how.calls, 0);
}

static void when_the_first_fails_the_waiter_signs(void **state)
{
    (void)state;
    job holder, waiter;
    hf_duty duty = duty_new();
    test_signer failing = {.slow_ns = 150 * HF_NS_PER_MS, .code = HF_DUTY_SIGN_REFUSED}, how = {0};
    job_start(&holder, node_a, &duty, 1, &failing);
    sleep_ms(50);
    job_start(&waiter, node_b, &duty, 1, &how);
    job_join(&holder);
    job_join(&waiter);
    assert_int_equal(holder.outcome.result, HF_DUTY_SIGN_FAILED);
    assert_int_equal(waiter.outcome.result, HF_DUTY_OK);
    assert_int_equal(how.calls, 1);
}

static void waiting_for_another_ends(void **state)
{
    (void)state;
    hf_duty_config config;
    config_for(&config, "node-c");
    config.signing_timeout_ms = 200;
    hf_duty_signer *node = node_open_with(&config);
    job holder;
    hf_duty duty = duty_new();
    test_signer slow = {.slow_ns = 700 * HF_NS_PER_MS}, how = {0};
    hf_duty_outcome outcome;
    job_start(&holder, node_a, &duty, 1, &slow);
    sleep_ms(100);
    uint64_t began = hf_time_mono_ns();
    assert_int_equal(sign_with(node, &duty, 1, &how, &outcome), HF_DUTY_HELD);
    uint64_t took = hf_time_mono_ns() - began;
    assert_in_range(took / HF_NS_PER_MS, 190, 400);
    assert_string_equal(outcome.node_id, "node-a");
    job_join(&holder);
    assert_int_equal(holder.outcome.result, HF_DUTY_OK);
    hf_duty_close(node);
}

static void many_duties_go_at_once(void **state)
{
    (void)state;
    enum { JOBS = 64 };
    static job jobs[JOBS];
    hf_duty duties[JOBS];
    test_signer how = {.slow_ns = HF_NS_PER_MS};
    pthread_barrier_t together;
    assert_int_equal(pthread_barrier_init(&together, NULL, JOBS), 0);
    uint64_t before = counters_of(node_a).round_trips;
    for (size_t i = 0; i < JOBS; i++) {
        duties[i] = duty_new();
    }
    for (size_t i = 0; i < JOBS; i++) {
        job_start_together(&jobs[i], node_a, &duties[i], 1, &how, &together);
    }
    for (size_t i = 0; i < JOBS; i++) {
        job_join(&jobs[i]);
        assert_int_equal(jobs[i].outcome.result, HF_DUTY_OK);
    }
    (void)pthread_barrier_destroy(&together);
    assert_int_equal(how.calls, JOBS);
    assert_true(counters_of(node_a).round_trips - before < JOBS);
}

/* ---- locks that end early ----------------------------------------------------------------------
 */

static void delete_all_locks(void *context)
{
    sql_run("DELETE FROM validator_duties WHERE %s", duty_where(context));
}

static void a_lost_lock_hands_out_nothing(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    test_signer how = {.during = delete_all_locks, .context = &duty};
    hf_duty_outcome outcome;
    assert_int_equal(sign_with(node_a, &duty, 1, &how, &outcome), HF_DUTY_LOCK_LOST);
}

static void steal_with_other_data(void *context)
{
    test_signer how = {0};
    hf_duty_outcome outcome;
    delete_all_locks(context);
    if (sign_with(node_b, context, 2, &how, &outcome) != HF_DUTY_OK) {
        abort();
    }
}

static void a_lock_lost_to_other_data_is_a_conflict(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    test_signer how = {.during = steal_with_other_data, .context = &duty};
    hf_duty_outcome outcome;
    assert_int_equal(sign_with(node_a, &duty, 1, &how, &outcome), HF_DUTY_CONFLICT);
    assert_string_equal(outcome.node_id, "node-b");
}

static void a_silent_holder_is_taken_over_for_the_same_message(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    job holder;
    test_signer stuck = {.slow_ns = 2000 * HF_NS_PER_MS}, how = {0};
    hf_duty_outcome outcome;
    job_start(&holder, node_a, &duty, 1, &stuck);
    sleep_ms(100);
    uint64_t began = hf_time_mono_ns();
    assert_int_equal(sign_with(node_b, &duty, 1, &how, &outcome), HF_DUTY_OK);
    assert_in_range((hf_time_mono_ns() - began) / HF_NS_PER_MS, 900, 1500);
    assert_string_equal(outcome.node_id, "node-b");
    assert_int_equal(counters_of(node_b).takeovers > 0, 1);
    job_join(&holder);
    /* The first comes back with the same message: it gets the one signature on record. */
    assert_int_equal(holder.outcome.result, HF_DUTY_STORED);
    assert_string_equal(holder.outcome.node_id, "node-b");
}

static void a_lock_taken_over_is_not_released(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    test_signer unsure = {.code = HF_DUTY_SIGN_MAYBE}, refusing = {.code = HF_DUTY_SIGN_REFUSED},
                how = {0};
    hf_duty_outcome outcome;
    assert_int_equal(sign_with(node_a, &duty, 1, &unsure, &outcome), HF_DUTY_SIGN_UNKNOWN);
    assert_int_equal(sign_with(node_b, &duty, 1, &refusing, &outcome), HF_DUTY_SIGN_FAILED);
    assert_int_equal(refusing.calls, 1);
    assert_int_equal(sign_with(node_b, &duty, 2, &how, &outcome), HF_DUTY_CONFLICT);
    assert_int_equal(how.calls, 0);
}

static void one_node_id_twice_is_harmless_and_seen(void **state)
{
    (void)state;
    hf_duty_signer *twin = node_open("node-a");
    hf_duty duty = duty_new();
    job holder, waiter;
    test_signer slow = {.slow_ns = 100 * HF_NS_PER_MS}, how = {0};
    job_start(&holder, node_a, &duty, 1, &slow);
    sleep_ms(30);
    job_start(&waiter, twin, &duty, 1, &how);
    job_join(&holder);
    job_join(&waiter);
    assert_int_equal(holder.outcome.result, HF_DUTY_OK);
    assert_int_equal(waiter.outcome.result, HF_DUTY_STORED);
    assert_int_equal(how.calls, 0);
    assert_true(counters_of(twin).twin_nodes > 0);
    hf_duty_close(twin);
}

static void a_malformed_record_is_reported(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    test_signer how = {0};
    hf_duty_outcome outcome;
    assert_int_equal(sign_with(node_a, &duty, 1, &how, &outcome), HF_DUTY_OK);
    sql_run("UPDATE validator_duties SET signature = '0xdead' WHERE %s", duty_where(&duty));
    assert_int_equal(sign_with(node_a, &duty, 1, &how, &outcome), HF_DUTY_CORRUPT);
    assert_int_equal(sign_with(node_a, &duty, 2, &how, &outcome), HF_DUTY_CONFLICT);
    sql_run("UPDATE validator_duties SET message_hash = 'x' WHERE %s", duty_where(&duty));
    assert_int_equal(sign_with(node_a, &duty, 1, &how, &outcome), HF_DUTY_CORRUPT);
}

/* ---- nodes of the package ----------------------------------------------------------------------
 */

/* A row as the package writes it. */
static void package_row(const hf_duty *duty, uint8_t fill, const char *status, const char *node)
{
    char rollup[HF_AZTEC_ADDRESS_TEXT_LEN], validator[HF_AZTEC_ADDRESS_TEXT_LEN];
    char hash[HF_AZTEC_HASH_TEXT_LEN], signature[HF_AZTEC_SIGNATURE_TEXT_LEN];
    uint8_t bytes[HF_DUTY_HASH_BYTES], made[HF_DUTY_SIGNATURE_BYTES];
    memset(bytes, fill, sizeof(bytes));
    test_signature(bytes, made);
    hf_aztec_address_format(duty->rollup, rollup);
    hf_aztec_address_format(duty->validator, validator);
    hf_aztec_hash_format(bytes, hash);
    hf_aztec_signature_format(made, signature);
    bool is_signed = strcmp(status, "signed") == 0;
    sql_run("INSERT INTO validator_duties (rollup_address, validator_address, slot, block_number,"
            " block_index_within_checkpoint, duty_type, status, message_hash, node_id, lock_token,"
            " signature, completed_at) VALUES ('%s', '%s', %llu, 0, -1, '%s', '%s', '%s', '%s',"
            " '00112233445566778899aabbccddeeff', %s%s%s, CASE WHEN '%s' = 'signed' THEN"
            " CURRENT_TIMESTAMP END)",
            rollup, validator, (unsigned long long)duty->slot, hf_duty_type_name(duty->type),
            status, hash, node, is_signed ? "'" : "", is_signed ? signature : "NULL",
            is_signed ? "'" : "", status);
}

static void rows_of_the_package_count(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    test_signer how = {0};
    hf_duty_outcome outcome;
    package_row(&duty, 1, "signed", "npm-1");
    assert_int_equal(sign_with(node_a, &duty, 1, &how, &outcome), HF_DUTY_STORED);
    assert_string_equal(outcome.node_id, "npm-1");
    assert_int_equal(sign_with(node_a, &duty, 2, &how, &outcome), HF_DUTY_CONFLICT);
    duty.slot++;
    package_row(&duty, 1, "signing", "npm-1");
    assert_int_equal(sign_with(node_a, &duty, 2, &how, &outcome), HF_DUTY_CONFLICT);
    assert_int_equal(how.calls, 0);
    assert_int_equal(sign_with(node_a, &duty, 1, &how, &outcome), HF_DUTY_OK);
    assert_int_equal(how.calls, 1);
}

static void a_waiter_polls_for_nodes_that_do_not_notify(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    job waiter;
    test_signer how = {0};
    package_row(&duty, 1, "signing", "npm-1");
    job_start(&waiter, node_a, &duty, 1, &how);
    sleep_ms(60);
    sql_run("DELETE FROM validator_duties WHERE %s", duty_where(&duty));
    package_row(&duty, 1, "signed", "npm-2");
    job_join(&waiter);
    assert_int_equal(waiter.outcome.result, HF_DUTY_STORED);
    assert_string_equal(waiter.outcome.node_id, "npm-2");
    assert_true(waiter.took_ns < 400 * HF_NS_PER_MS);
    assert_int_equal(how.calls, 0);
}

static int open_nodes(void **state)
{
    if (support_begin(state) != 0) {
        return -1;
    }
    node_a = node_open("node-a");
    node_b = node_open("node-b");
    return 0;
}

static int close_nodes(void **state)
{
    hf_duty_close(node_a);
    hf_duty_close(node_b);
    return support_end(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sign_is_recorded),
        cmocka_unit_test(the_same_message_returns_the_stored_signature),
        cmocka_unit_test(other_data_is_refused_and_both_are_named),
        cmocka_unit_test(duties_that_differ_in_anything_are_independent),
        cmocka_unit_test(every_protected_type_is_signed_once),
        cmocka_unit_test(auth_requests_and_txs_bypass_the_database),
        cmocka_unit_test(large_numbers_are_kept),
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(a_signer_that_refuses_frees_the_duty),
        cmocka_unit_test(a_signer_that_does_not_know_binds_the_duty_to_its_message),
        cmocka_unit_test(what_is_no_signature_is_not_recorded),
        cmocka_unit_test(ten_signers_make_one_signature),
        cmocka_unit_test(of_different_messages_one_is_signed),
        cmocka_unit_test(a_waiter_is_woken_by_the_other_node),
        cmocka_unit_test(other_data_is_refused_while_the_other_is_signing),
        cmocka_unit_test(when_the_first_fails_the_waiter_signs),
        cmocka_unit_test(waiting_for_another_ends),
        cmocka_unit_test(many_duties_go_at_once),
        cmocka_unit_test(a_lost_lock_hands_out_nothing),
        cmocka_unit_test(a_lock_lost_to_other_data_is_a_conflict),
        cmocka_unit_test(a_silent_holder_is_taken_over_for_the_same_message),
        cmocka_unit_test(a_lock_taken_over_is_not_released),
        cmocka_unit_test(one_node_id_twice_is_harmless_and_seen),
        cmocka_unit_test(a_malformed_record_is_reported),
        cmocka_unit_test(rows_of_the_package_count),
        cmocka_unit_test(a_waiter_polls_for_nodes_that_do_not_notify),
    };
    return cmocka_run_group_tests(tests, open_nodes, close_nodes);
}
