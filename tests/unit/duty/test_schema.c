/* The tables: made, taken over, refused, undone; and the cleanup of rows. */
#include "support.h"

static char url[HF_DUTY_URL_LEN];

static hf_duty_schema status_now(void)
{
    hf_duty_schema schema;
    hf_error err = {0};
    if (hf_failed(hf_duty_schema_status(url, 5000, &schema, &err))) {
        fail_msg("%s", err.msg);
    }
    return schema;
}

static int64_t number_in(const char *sql)
{
    uint64_t value = 0;
    PGconn *conn = PQconnectdb(url);
    PGresult *result = PQexec(conn, sql);
    assert_int_equal(PQntuples(result), 1);
    assert_false(hf_failed(
        hf_num_parse_u64(PQgetvalue(result, 0, 0), (size_t)PQgetlength(result, 0, 0), &value)));
    PQclear(result);
    PQfinish(conn);
    return (int64_t)value;
}

/* Opening a signer on the database: its result, and its words. */
static hf_duty_result open_result(bool migrate, hf_duty_error *error)
{
    hf_duty_config config;
    hf_duty_signer *signer = NULL;
    config_for(&config, "node");
    assert_false(hf_failed(hf_str_copy(config.database_url, sizeof(config.database_url), url)));
    config.auto_migrate = migrate;
    hf_duty_result result = hf_duty_open(&config, &signer, error);
    hf_duty_close(signer);
    return result;
}

static void up_on_an_empty_database(void **state)
{
    (void)state;
    support_new_database("schema_a", url);
    hf_error err = {0};
    assert_int_equal(status_now().package_version, 0);
    assert_false(hf_failed(hf_duty_schema_up(url, 5000, 0, &err)));
    hf_duty_schema schema = status_now();
    assert_int_equal(schema.package_version, 1);
    assert_int_equal(schema.holdfast_version, 1);
    assert_int_equal(schema.protecting, 0);
    /* What the package's own runner leaves. */
    assert_int_equal(number_in("SELECT count(*) FROM pgmigrations WHERE name ="
                               " '1_initial-schema'"),
                     1);
    assert_int_equal(number_in("SELECT version FROM schema_version"), 1);
    assert_false(hf_failed(hf_duty_schema_up(url, 5000, 0, &err)));
    assert_int_equal(number_in("SELECT count(*) FROM pgmigrations"), 1);
    assert_false(hf_failed(hf_duty_schema_up(url, 5000, 2, &err)));
    assert_int_equal(status_now().package_version, 2);
    assert_int_equal(number_in("SELECT count(*) FROM pgmigrations"), 2);
    assert_false(hf_failed(hf_duty_schema_up(url, 5000, 0, &err)));
    assert_int_equal(status_now().package_version, 2);
    assert_int_equal(hf_duty_schema_up(url, 5000, 3, &err).code, HF_USAGE);
}

static void a_row_of_either_version_is_written(void **state)
{
    (void)state;
    support_new_database("schema_b", url);
    hf_error err = {0};
    hf_duty_config config;
    hf_duty duty = duty_new();
    test_signer how = {0};
    hf_duty_outcome outcome;
    assert_false(hf_failed(hf_duty_schema_up(url, 5000, 1, &err)));
    config_for(&config, "node");
    assert_false(hf_failed(hf_str_copy(config.database_url, sizeof(config.database_url), url)));
    hf_duty_signer *signer = node_open_with(&config);
    duty.checkpoint_number = 42;
    assert_int_equal(sign_with(signer, &duty, 1, &how, &outcome), HF_DUTY_OK);
    /* Up while it runs: it goes on. Down while it runs: so it does. */
    assert_false(hf_failed(hf_duty_schema_up(url, 5000, 2, &err)));
    duty.slot++;
    assert_int_equal(sign_with(signer, &duty, 1, &how, &outcome), HF_DUTY_OK);
    hf_duty_close(signer);
    signer = node_open_with(&config);
    duty.slot++;
    assert_int_equal(sign_with(signer, &duty, 1, &how, &outcome), HF_DUTY_OK);
    assert_int_equal(number_in("SELECT max(checkpoint_number) FROM validator_duties"), 42);
    assert_false(hf_failed(hf_duty_schema_down(url, 5000, false, &err)));
    assert_int_equal(status_now().package_version, 1);
    duty.slot++;
    assert_int_equal(sign_with(signer, &duty, 1, &how, &outcome), HF_DUTY_OK);
    hf_duty_close(signer);
}

static void down_keeps_what_protects(void **state)
{
    (void)state;
    support_new_database("schema_c", url);
    hf_error err = {0};
    assert_false(hf_failed(hf_duty_schema_up(url, 5000, 0, &err)));
    assert_true(sql_try(url,
                        "INSERT INTO validator_duties (rollup_address, validator_address, slot,"
                        " block_number, duty_type, status, message_hash, node_id, lock_token)"
                        " VALUES ('0x', '0x', 1, 1, 'ATTESTATION', 'signing', '0x', 'n',"
                        " 't')"));
    assert_int_equal(hf_duty_schema_down(url, 5000, false, &err).code, HF_DENIED);
    assert_non_null(strstr(err.msg, "--discard-protection"));
    assert_int_equal(status_now().protecting, 1);
    /* A watermark protects as much as a row. */
    assert_true(sql_try(url, "DELETE FROM validator_duties; INSERT INTO holdfast_duty_watermarks"
                             " VALUES ('0x', '0x', 'ATTESTATION', 7)"));
    assert_int_equal(hf_duty_schema_down(url, 5000, false, &err).code, HF_DENIED);
    assert_false(hf_failed(hf_duty_schema_down(url, 5000, true, &err)));
    assert_int_equal(status_now().package_version, 0);
    assert_int_equal(status_now().holdfast_version, 0);
    assert_int_equal(number_in("SELECT count(*) FROM pgmigrations"), 0);
    assert_true(hf_failed(hf_duty_schema_down(url, 5000, false, &err)));
    assert_false(hf_failed(hf_duty_schema_up(url, 5000, 0, &err)));
    assert_false(hf_failed(hf_duty_schema_down(url, 5000, false, &err)));
}

static void what_is_not_right_is_refused_with_a_remedy(void **state)
{
    (void)state;
    static const struct {
        const char *sql, *words;
    } wrong[] = {
        {"UPDATE schema_version SET version = 3", "newer"},
        {"INSERT INTO holdfast_duty_version (version) VALUES (2)", "newer"},
        {"DELETE FROM schema_version", "empty"},
        {"DROP TABLE schema_version", "only one"},
        {"ALTER TABLE validator_duties DROP COLUMN rollup_address", "rollup_address"},
        {"ALTER TABLE validator_duties ALTER message_hash TYPE varchar(30)", "message_hash"},
        {"ALTER TABLE validator_duties DROP CONSTRAINT validator_duties_pkey", "primary key"},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(wrong); i++) {
        hf_error err = {0};
        hf_duty_error error = {0};
        support_new_database("schema_d", url);
        assert_false(hf_failed(hf_duty_schema_up(url, 5000, 0, &err)));
        assert_true(sql_try(url, wrong[i].sql));
        assert_int_equal(open_result(true, &error), HF_DUTY_SCHEMA);
        if (strstr(error.message, wrong[i].words) == NULL) {
            fail_msg("%s: %s", wrong[i].sql, error.message);
        }
    }
}

static void without_auto_migrate_an_empty_database_is_refused(void **state)
{
    (void)state;
    hf_duty_error error = {0};
    support_new_database("schema_e", url);
    assert_int_equal(open_result(false, &error), HF_DUTY_SCHEMA);
    assert_non_null(strstr(error.message, "holdfast db migrate up"));
    assert_int_equal(status_now().package_version, 0);
    assert_int_equal(open_result(true, &error), HF_DUTY_OK);
    assert_int_equal(open_result(false, &error), HF_DUTY_OK);
}

static void wrong_access_is_told_apart(void **state)
{
    (void)state;
    hf_duty_error error = {0};
    char good[HF_DUTY_URL_LEN];
    support_new_database("schema_f", url);
    assert_int_equal(open_result(true, &error), HF_DUTY_OK);
    assert_false(hf_failed(hf_str_copy(good, sizeof(good), url)));
    const char *host = strchr(good, '@');
    assert_true(sql_try(good, "DROP ROLE IF EXISTS hf_poor; CREATE ROLE hf_poor LOGIN PASSWORD"
                              " 'poor'"));
    assert_true(sql_try(good, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO hf_poor"));
    assert_false(hf_failed(hf_str_format(url, sizeof(url), "postgresql://hf_poor:poor%s", host)));
    assert_int_equal(open_result(true, &error), HF_DUTY_ACCESS);
    assert_non_null(strstr(error.message, "GRANT"));
    assert_false(hf_failed(hf_str_format(url, sizeof(url), "postgresql://hf_poor:wrong%s", host)));
    assert_int_equal(open_result(true, &error), HF_DUTY_ACCESS);
    assert_null(strstr(error.message, "wrong"));
    assert_false(hf_failed(hf_str_format(url, sizeof(url), "%s_not_there", good)));
    assert_int_equal(open_result(true, &error), HF_DUTY_CONFIG);
    support_url_at(good, 1, url);
    uint64_t began = hf_time_mono_ns();
    assert_int_equal(open_result(true, &error), HF_DUTY_UNAVAILABLE);
    assert_true(hf_time_mono_ns() - began < 7 * HF_NS_PER_SECOND);
}

static void *open_and_close(void *arg)
{
    hf_error err = {0};
    return hf_failed(hf_duty_schema_up(arg, 20000, 0, &err)) ? arg : NULL;
}

static void ten_nodes_migrate_at_once(void **state)
{
    (void)state;
    pthread_t threads[10];
    support_new_database("schema_g", url);
    for (size_t i = 0; i < HF_ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, url), 0);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(threads); i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(number_in("SELECT count(*) FROM pgmigrations"), 1);
}

static void a_migration_waits_for_the_package_s_runner_within_bounds(void **state)
{
    (void)state;
    hf_error err = {0};
    support_new_database("schema_h", url);
    PGconn *runner = PQconnectdb(url);
    PQclear(PQexec(runner, "SELECT pg_try_advisory_lock(7241865325823964)"));
    uint64_t began = hf_time_mono_ns();
    assert_int_equal(hf_duty_schema_up(url, 300, 0, &err).code, HF_UNAVAILABLE);
    assert_non_null(strstr(err.msg, "another migration"));
    assert_true(hf_time_mono_ns() - began < 2 * HF_NS_PER_SECOND);
    PQfinish(runner);
    assert_false(hf_failed(hf_duty_schema_up(url, 5000, 0, &err)));
}

/* ---- cleanup ------------------------------------------------------------------------------------
 */

static hf_duty_signer *cleaner_with(uint32_t stuck_ms, uint32_t old_hours)
{
    hf_duty_config config;
    config_for(&config, "cleaner");
    config.max_stuck_age_ms = stuck_ms;
    config.old_age_hours = old_hours;
    return node_open_with(&config);
}

static uint64_t clean(hf_duty_signer *signer)
{
    uint64_t rows = 0;
    hf_duty_error error = {0};
    if (hf_duty_cleanup(signer, &rows, &error) != HF_DUTY_OK) {
        fail_msg("%s", error.message);
    }
    return rows;
}

static void sign_at(hf_duty_signer *signer, hf_duty *duty, uint64_t slot, int code)
{
    test_signer how = {.code = code};
    hf_duty_outcome outcome;
    duty->slot = slot;
    hf_duty_result result = sign_with(signer, duty, 1, &how, &outcome);
    assert_int_equal(result, code == HF_DUTY_SIGN_DONE ? HF_DUTY_OK : HF_DUTY_SIGN_UNKNOWN);
}

static void age(const hf_duty *duty, const char *interval)
{
    sql_run("UPDATE validator_duties SET started_at = started_at - interval '%s' WHERE %s",
            interval, duty_where(duty));
}

static hf_duty_result ask(hf_duty_signer *signer, hf_duty *duty, uint64_t slot, uint8_t fill)
{
    test_signer how = {0};
    hf_duty_outcome outcome;
    duty->slot = slot;
    return sign_with(signer, duty, fill, &how, &outcome);
}

static void stuck_duties_go_and_leave_a_watermark(void **state)
{
    (void)state;
    hf_duty_signer *signer = cleaner_with(60000, 0);
    hf_duty duty = duty_new(), other = duty_new();
    sign_at(signer, &duty, 10, HF_DUTY_SIGN_DONE);
    age(&duty, "2 minutes");
    sign_at(signer, &duty, 11, HF_DUTY_SIGN_MAYBE);
    age(&duty, "2 minutes");
    sign_at(signer, &other, 11, HF_DUTY_SIGN_MAYBE);
    age(&other, "2 minutes");
    assert_int_equal(clean(signer), 0); /* nothing newer: nothing to be sure of */
    sign_at(signer, &duty, 12, HF_DUTY_SIGN_DONE);
    assert_int_equal(clean(signer), 1);
    assert_int_equal(counters_of(signer).cleaned_stuck, 1);
    assert_int_equal(ask(signer, &duty, 11, 1), HF_DUTY_EXPIRED);
    assert_int_equal(ask(signer, &duty, 11, 2), HF_DUTY_EXPIRED);
    assert_int_equal(ask(signer, &duty, 9, 1), HF_DUTY_EXPIRED);
    assert_int_equal(ask(signer, &duty, 10, 1), HF_DUTY_STORED);
    assert_int_equal(ask(signer, &duty, 13, 1), HF_DUTY_OK);
    /* Other scopes are as they were. */
    assert_int_equal(ask(signer, &other, 11, 2), HF_DUTY_CONFLICT);
    duty.type = HF_DUTY_SLASHING_VOTE;
    assert_int_equal(ask(signer, &duty, 5, 1), HF_DUTY_OK);
    hf_duty_close(signer);
}

static void old_signed_duties_go_only_when_that_is_configured(void **state)
{
    (void)state;
    hf_duty_signer *keeping = cleaner_with(60000, 0), *dropping = cleaner_with(60000, 2);
    hf_duty duty = duty_new();
    for (uint64_t slot = 1; slot <= 5; slot++) {
        sign_at(keeping, &duty, slot, HF_DUTY_SIGN_DONE);
        if (slot <= 3) {
            age(&duty, "3 hours");
        } else if (slot == 4) {
            age(&duty, "30 minutes");
        }
    }
    assert_int_equal(clean(keeping), 0);
    assert_int_equal(clean(dropping), 3);
    assert_int_equal(counters_of(dropping).cleaned_old, 3);
    for (uint64_t slot = 1; slot <= 3; slot++) {
        assert_int_equal(ask(keeping, &duty, slot, 2), HF_DUTY_EXPIRED);
    }
    assert_int_equal(ask(keeping, &duty, 4, 2), HF_DUTY_CONFLICT);
    assert_int_equal(clean(dropping), 0);
    hf_duty_close(keeping);
    hf_duty_close(dropping);
}

static void an_absurd_slot_does_not_lift_the_watermark(void **state)
{
    (void)state;
    hf_duty_signer *signer = cleaner_with(60000, 1);
    hf_duty duty = duty_new();
    sign_at(signer, &duty, UINT64_C(1) << 40, HF_DUTY_SIGN_DONE);
    age(&duty, "3 hours");
    sign_at(signer, &duty, 7, HF_DUTY_SIGN_DONE);
    age(&duty, "3 hours");
    sign_at(signer, &duty, 8, HF_DUTY_SIGN_DONE);
    assert_int_equal(clean(signer), 1);
    assert_int_equal(ask(signer, &duty, 9, 1), HF_DUTY_OK);
    assert_int_equal(ask(signer, &duty, UINT64_C(1) << 40, 2), HF_DUTY_CONFLICT);
    hf_duty_close(signer);
}

static void rows_of_the_package_are_cleaned_late_and_never_as_stuck(void **state)
{
    (void)state;
    hf_duty_signer *signer = cleaner_with(60000, 1);
    hf_duty duty = duty_new();
    sign_at(signer, &duty, 1, HF_DUTY_SIGN_MAYBE);
    age(&duty, "20 hours");
    sql_run("UPDATE validator_duties SET lock_token = '00112233445566778899aabbccddeeff' WHERE %s",
            duty_where(&duty));
    sign_at(signer, &duty, 2, HF_DUTY_SIGN_DONE);
    assert_int_equal(clean(signer), 0);
    duty.slot = 1;
    age(&duty, "8 hours");
    assert_int_equal(clean(signer), 1);
    assert_int_equal(ask(signer, &duty, 1, 1), HF_DUTY_EXPIRED);
    hf_duty_close(signer);
}

static void below_the_watermark_a_package_row_is_not_taken_over(void **state)
{
    (void)state;
    hf_duty_signer *signer = cleaner_with(60000, 0);
    hf_duty duty = duty_new();
    sign_at(signer, &duty, 5, HF_DUTY_SIGN_MAYBE);
    age(&duty, "2 minutes");
    sign_at(signer, &duty, 6, HF_DUTY_SIGN_DONE);
    assert_int_equal(clean(signer), 1);
    sql_run("INSERT INTO validator_duties SELECT rollup_address, validator_address, 5,"
            " block_number, -1, duty_type, 'signing', message_hash, NULL, 'npm', 'aa' FROM"
            " validator_duties WHERE %s",
            duty_where(&duty));
    assert_int_equal(ask(signer, &duty, 5, 1), HF_DUTY_EXPIRED);
    hf_duty_close(signer);
}

static void the_cleanup_runs_by_itself(void **state)
{
    (void)state;
    hf_duty_config config;
    config_for(&config, "cleaner");
    config.max_stuck_age_ms = 60000;
    config.cleanup_interval_ms = 50;
    hf_duty_signer *signer = node_open_with(&config);
    hf_duty duty = duty_new();
    sign_at(signer, &duty, 1, HF_DUTY_SIGN_MAYBE);
    age(&duty, "2 minutes");
    sign_at(signer, &duty, 2, HF_DUTY_SIGN_DONE);
    sleep_ms(150);
    assert_int_equal(counters_of(signer).cleaned_stuck, 0);
    hf_duty_start(signer);
    hf_duty_start(signer);
    for (int i = 0; i < 100 && counters_of(signer).cleaned_stuck == 0; i++) {
        sleep_ms(20);
    }
    assert_int_equal(counters_of(signer).cleaned_stuck, 1);
    hf_duty_stop(signer);
    hf_duty_close(signer);
}

/* ---- clocks -------------------------------------------------------------------------------------
 */

static void session_zones_change_nothing(void **state)
{
    (void)state;
    hf_duty duty = duty_new();
    hf_duty_signer *signer = cleaner_with(60000, 1);
    sign_at(signer, &duty, 1, HF_DUTY_SIGN_DONE);
    /* The database's default zone is another one from now on, for all new sessions. */
    sql_run("ALTER DATABASE duties SET timezone = 'Asia/Tokyo'");
    hf_duty_signer *tokyo = cleaner_with(60000, 1);
    sql_run("ALTER DATABASE duties SET timezone = 'America/Los_Angeles'");
    hf_duty_signer *angeles = cleaner_with(60000, 1);
    sql_run("ALTER DATABASE duties RESET timezone");
    sign_at(tokyo, &duty, 2, HF_DUTY_SIGN_DONE);
    sign_at(angeles, &duty, 3, HF_DUTY_SIGN_DONE);
    assert_int_equal(clean(signer) + clean(tokyo) + clean(angeles), 0);
    for (uint64_t slot = 1; slot <= 3; slot++) {
        assert_int_equal(ask(tokyo, &duty, slot, 2), HF_DUTY_CONFLICT);
    }
    hf_duty_close(signer);
    hf_duty_close(tokyo);
    hf_duty_close(angeles);
}

static void step_back(void *context)
{
    /* As if the clock of the database went two hours back while the signer worked. */
    sql_run("UPDATE validator_duties SET started_at = started_at + interval '2 hours' WHERE %s",
            duty_where(context));
}

static void a_clock_that_steps_voids_no_signature(void **state)
{
    (void)state;
    hf_duty_signer *signer = cleaner_with(60000, 1);
    hf_duty duty = duty_new();
    test_signer how = {.during = step_back, .context = &duty};
    hf_duty_outcome outcome;
    assert_int_equal(sign_with(signer, &duty, 1, &how, &outcome), HF_DUTY_OK);
    assert_int_equal(clean(signer), 0);
    assert_int_equal(ask(signer, &duty, duty.slot, 2), HF_DUTY_CONFLICT);
    hf_duty_close(signer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(up_on_an_empty_database),
        cmocka_unit_test(a_row_of_either_version_is_written),
        cmocka_unit_test(down_keeps_what_protects),
        cmocka_unit_test(what_is_not_right_is_refused_with_a_remedy),
        cmocka_unit_test(without_auto_migrate_an_empty_database_is_refused),
        cmocka_unit_test(wrong_access_is_told_apart),
        cmocka_unit_test(ten_nodes_migrate_at_once),
        cmocka_unit_test(a_migration_waits_for_the_package_s_runner_within_bounds),
        cmocka_unit_test(stuck_duties_go_and_leave_a_watermark),
        cmocka_unit_test(old_signed_duties_go_only_when_that_is_configured),
        cmocka_unit_test(an_absurd_slot_does_not_lift_the_watermark),
        cmocka_unit_test(rows_of_the_package_are_cleaned_late_and_never_as_stuck),
        cmocka_unit_test(below_the_watermark_a_package_row_is_not_taken_over),
        cmocka_unit_test(the_cleanup_runs_by_itself),
        cmocka_unit_test(session_zones_change_nothing),
        cmocka_unit_test(a_clock_that_steps_voids_no_signature),
    };
    return cmocka_run_group_tests(tests, support_begin, support_end);
}
