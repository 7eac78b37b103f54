/* The SQLite store as such: creation, reopening, import, export, pruning. */
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

static int setup(void **state)
{
    test_store *test = calloc(1, sizeof *test);
    assert_non_null(test);
    test_store_init(test);
    *state = test;
    return 0;
}

static int teardown(void **state)
{
    test_store_done(*state);
    free(*state);
    return 0;
}

static void expect_open(test_store *test, hf_code code, const char *words)
{
    hf_store *store = NULL;
    hf_status st = hf_store_open_sqlite(&test->config, &store, &test->err);
    assert_code(st, code);
    assert_null(store);
    if (strstr(test->err.msg, words) == NULL) {
        fail_msg("says \"%s\" and not \"%s\"", test->err.msg, words);
    }
}

static void change(test_store *test, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(test->config.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(db);
}

static hf_store_status status_of(test_store *test)
{
    hf_store_status status;
    assert_code(test->store->ops->status(test->store, &status, &test->err), HF_OK);
    return status;
}

/* ---- opening ------------------------------------------------------------------------------ */

static void test_creation(void **state)
{
    test_store *test = *state;
    struct stat info;
    char wal[1100];
    test->config.create = false;
    expect_open(test, HF_NOT_FOUND, "no slashing protection database there");
    test->config.create = true;
    test_store_open(test);
    assert_int_equal(stat(test->config.path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_code(hf_str_format(wal, sizeof wal, "%s-wal", test->config.path), HF_OK);
    assert_int_equal(stat(wal, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_code(test->store->ops->health(test->store, &test->err), HF_OK);
    hf_store_status status = status_of(test);
    assert_int_equal(status.validators, 0);
    assert_memory_equal(status.genesis_validators_root, test->config.genesis_validators_root,
                        HF_ROOT_BYTES);
    test_store_close(test);
    /* A clean end leaves one file. */
    assert_int_equal(access(wal, F_OK), -1);
}

static void test_refused_files(void **state)
{
    test_store *test = *state;
    test_store_open(test);
    test_store_close(test);
    test->config.genesis_validators_root[0] ^= 1;
    expect_open(test, HF_CONFLICT, "another network");
    test->config.genesis_validators_root[0] ^= 1;
    change(test, "PRAGMA user_version = 99");
    expect_open(test, HF_CONFLICT, "newer version");
    change(test, "PRAGMA user_version = 1; PRAGMA application_id = 1");
    expect_open(test, HF_CORRUPT, "not a slashing protection database");
    assert_int_equal(chmod(test->config.path, 0660), 0);
    expect_open(test, HF_DENIED, "chmod 600");
    assert_int_equal(chmod(test->config.path, 0600), 0);
    assert_int_equal(truncate(test->config.path, 0), 0);
    expect_open(test, HF_CORRUPT, "empty: restore it");
}

/* A database that vanished while its log stayed: not the moment to begin with an empty one. */
static void test_log_without_database(void **state)
{
    test_store *test = *state;
    char wal[1100];
    assert_code(hf_str_format(wal, sizeof wal, "%s-wal", test->config.path), HF_OK);
    assert_code(hf_file_write_atomic(wal, "x", 1, 0600, &test->err), HF_OK);
    expect_open(test, HF_CORRUPT, "-wal is there");
    assert_int_equal(unlink(wal), 0);
    test_store_open(test);
}

static void test_many_validators_and_reopen(void **state)
{
    test_store *test = *state;
    enum { COUNT = 300 };
    static hf_message messages[COUNT];
    static hf_verdict verdicts[COUNT];
    test_store_open(test);
    for (uint32_t i = 0; i < COUNT; i++) {
        messages[i] = test_vote((uint8_t)i, i, i + 1, 1);
        messages[i].pubkey[1] = (uint8_t)(i >> 8);
    }
    for (int round = 0; round < 3; round++) {
        hf_verdict expected = round == 0 ? HF_VERDICT_ALLOW : HF_VERDICT_REPEAT;
        assert_code(test->store->ops->decide(test->store, messages, COUNT, verdicts, &test->err),
                    HF_OK);
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_int_equal(verdicts[i], expected);
        }
        test_store_close(test);
        test_store_open(test);
    }
    assert_int_equal(status_of(test).validators, COUNT);
    assert_int_equal(status_of(test).attestations, COUNT);
}

/* Another process wrote (an operator's repair): what is in memory gives way to it. */
static void test_foreign_write_is_seen(void **state)
{
    test_store *test = *state;
    test_store_open(test);
    assert_int_equal(test_decide_block(test, 1, 10, 1), HF_VERDICT_ALLOW);
    change(test, "UPDATE validators SET floor_slot = 50; UPDATE meta SET high_slot = 60");
    assert_int_equal(test_decide_block(test, 1, 50, 1), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(test_decide_block(test, 1, 60, 1), HF_VERDICT_ABOVE_HIGH_WATERMARK);
    assert_int_equal(test_decide_block(test, 1, 51, 1), HF_VERDICT_ALLOW);
}

/* Others voted for a thousand targets in between: a retry is known all the same, and cheap. */
static void test_repeat_after_long_silence(void **state)
{
    test_store *test = *state;
    enum { EPOCHS = 1000 };
    static hf_message messages[EPOCHS];
    static hf_verdict verdicts[EPOCHS];
    test_store_open(test);
    assert_int_equal(test_decide_vote(test, 1, 0, 1, 1), HF_VERDICT_ALLOW);
    for (uint32_t i = 0; i < EPOCHS; i++) {
        messages[i] = test_vote(2, i + 1, i + 2, 1);
    }
    assert_code(test->store->ops->decide(test->store, messages, EPOCHS, verdicts, &test->err),
                HF_OK);
    test_store_close(test);
    test_store_open(test);
    assert_int_equal(test_decide_vote(test, 1, EPOCHS, EPOCHS + 1, 1), HF_VERDICT_ALLOW);
    assert_int_equal(test_decide_vote(test, 1, EPOCHS, EPOCHS + 1, 1), HF_VERDICT_REPEAT);
    assert_int_equal(test_decide_vote(test, 1, 0, 1, 1), HF_VERDICT_REPEAT);
    /* Something new in the middle of nowhere: the search ends early, and the doubt is a refusal. */
    assert_int_equal(test_decide_vote(test, 1, 500, 501, 1), HF_VERDICT_SURROUNDING_VOTE);
    assert_int_equal(test_decide_vote(test, 1, 10, 11, 1), HF_VERDICT_SURROUNDED_VOTE);
}

/* ---- import ------------------------------------------------------------------------------- */

static void test_import_report(void **state)
{
    test_store *test = *state;
    const hf_message first[] = {
        test_block(1, 10, 1),  test_block(1, 10, 1),  test_block(1, 11, NO_ROOT),
        test_vote(1, 1, 2, 1), test_vote(1, 2, 3, 1), test_vote(2, 5, 6, NO_ROOT),
    };
    const hf_message second[] = {
        test_block(1, 10, 2),  /* another root */
        test_block(1, 11, 1),  /* known without root: nothing new */
        test_block(2, 12, 1),  /* new */
        test_vote(1, 1, 2, 1), /* the same */
        test_vote(1, 2, 3, 9), /* another root */
        test_vote(1, 1, 3, 1), /* another source for the target */
        test_vote(1, 0, 4, 1), /* surrounds */
        test_vote(2, 6, 6, 1), /* another source */
        test_vote(2, 6, 7, 1), /* new */
    };
    test_store_open(test);
    hf_import_report report = test_import(test, first, HF_ARRAY_LEN(first));
    assert_int_equal(report.validators, 2);
    assert_int_equal(report.blocks, 2);
    assert_int_equal(report.attestations, 3);
    assert_int_equal(report.conflicts, 0);
    report = test_import(test, second, HF_ARRAY_LEN(second));
    assert_int_equal(report.blocks, 3);
    assert_int_equal(report.attestations, 6);
    assert_int_equal(report.conflicts, 5);
    assert_int_equal(test_decide_block(test, 1, 10, 1), HF_VERDICT_DOUBLE_BLOCK);
    assert_int_equal(test_decide_block(test, 1, 10, 2), HF_VERDICT_DOUBLE_BLOCK);
    assert_int_equal(test_decide_vote(test, 1, 2, 3, 1), HF_VERDICT_DOUBLE_VOTE);
    /* Surrounded by what came in second: not even a repeat. */
    assert_int_equal(test_decide_vote(test, 1, 1, 2, 1), HF_VERDICT_SURROUNDED_VOTE);
    assert_int_equal(test_decide_vote(test, 2, 6, 7, 1), HF_VERDICT_REPEAT);
    hf_store_status before = status_of(test);
    (void)test_import(test, second, HF_ARRAY_LEN(second));
    hf_store_status after = status_of(test);
    assert_memory_equal(&before, &after, sizeof before);
}

static void test_import_states(void **state)
{
    test_store *test = *state;
    hf_import_report report;
    hf_message good = test_block(1, 10, 1);
    hf_message bad = test_block(1, HF_PROTECT_MAX_NUMBER + 1, 1);
    test_store_open(test);
    const hf_store_ops *ops = test->store->ops;
    assert_code(ops->import_add(test->store, &good, 1, &test->err), HF_CONFLICT);
    assert_code(ops->import_commit(test->store, &report, &test->err), HF_CONFLICT);
    ops->import_abort(test->store);
    assert_code(ops->import_begin(test->store, &test->err), HF_OK);
    assert_code(ops->import_begin(test->store, &test->err), HF_CONFLICT);
    assert_code(ops->import_add(test->store, &bad, 1, &test->err), HF_INVALID_INPUT);
    assert_code(ops->import_add(test->store, &good, 1, &test->err), HF_OK);
    /* Staged is not known yet, and signing goes on. */
    assert_int_equal(test_decide_block(test, 1, 9, 1), HF_VERDICT_ALLOW);
    ops->import_abort(test->store);
    assert_int_equal(test_decide_block(test, 1, 10, 2), HF_VERDICT_ALLOW);
    assert_code(ops->import_begin(test->store, &test->err), HF_OK);
    assert_code(ops->import_commit(test->store, &report, &test->err), HF_OK);
    assert_int_equal(report.validators, 0);
}

/* What is older than the floor adds knowledge and takes no floor back. */
static void test_import_below_floor(void **state)
{
    test_store *test = *state;
    const hf_message older[] = {test_block(1, 50, 1), test_vote(1, 3, 4, 1)};
    test_store_open(test);
    assert_int_equal(test_decide_block(test, 1, 100, 1), HF_VERDICT_ALLOW);
    assert_int_equal(test_decide_vote(test, 1, 10, 11, 1), HF_VERDICT_ALLOW);
    (void)test_import(test, older, HF_ARRAY_LEN(older));
    assert_int_equal(test_decide_block(test, 1, 60, 1), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(test_decide_vote(test, 1, 5, 6, 1), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(test_decide_block(test, 1, 50, 1), HF_VERDICT_DOUBLE_BLOCK);
    assert_int_equal(test_decide_block(test, 1, 100, 1), HF_VERDICT_REPEAT);
}

/* ---- pruning ------------------------------------------------------------------------------ */

static uint64_t prune_all(test_store *test, uint64_t keep, int *ret_steps)
{
    uint64_t rows = 0;
    hf_prune_report report = {.more = true};
    for (*ret_steps = 0; report.more; (*ret_steps)++) {
        assert_code(test->store->ops->prune(test->store, keep, 32, &report, &test->err), HF_OK);
        assert_true(report.rows_deleted <= 512);
        rows += report.rows_deleted;
    }
    return rows;
}

static void test_prune_in_steps(void **state)
{
    test_store *test = *state;
    enum { EPOCHS = 1000, BATCH = 500 };
    static hf_message messages[2 * EPOCHS];
    static hf_verdict verdicts[2 * EPOCHS];
    int steps;
    test_store_open(test);
    for (uint32_t i = 0; i < EPOCHS; i++) {
        messages[2 * i] = test_vote(1, i, i + 1, 1);
        messages[2 * i + 1] = test_block(2, (uint64_t)i * 32, 1);
    }
    assert_code(test->store->ops->decide(test->store, messages, 2 * EPOCHS, verdicts, &test->err),
                HF_OK);
    assert_int_equal(prune_all(test, 0, &steps), 0);
    assert_int_equal(prune_all(test, EPOCHS, &steps), 0);
    assert_int_equal(prune_all(test, HF_PROTECT_MAX_NUMBER, &steps), 0);
    assert_int_equal(prune_all(test, 100, &steps), 899 + 899);
    assert_true(steps > 6);
    assert_int_equal(prune_all(test, 100, &steps), 0);
    hf_store_status status = status_of(test);
    assert_int_equal(status.attestations, 101);
    assert_int_equal(status.blocks, 101);
    assert_int_equal(status.lowest_floors.target, 899);
    assert_int_equal(status.lowest_floors.source, 898);
    assert_int_equal(status.lowest_floors.slot, 898 * 32);
    assert_int_equal(test_decide_vote(test, 1, 898, 899, 1), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(test_decide_vote(test, 1, 899, 900, 1), HF_VERDICT_REPEAT);
    assert_int_equal(test_decide_vote(test, 1, 897, 2000, 1), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(test_decide_block(test, 2, 898 * 32, 1), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(test_decide_block(test, 2, 899 * 32, 1), HF_VERDICT_REPEAT);
}

/* ---- export ------------------------------------------------------------------------------- */

static int compare_records(const void *a, const void *b)
{
    const hf_message *x = a;
    const hf_message *y = b;
    if (x->pubkey[0] != y->pubkey[0]) {
        return x->pubkey[0] < y->pubkey[0] ? -1 : 1;
    }
    if (x->kind != y->kind) {
        return x->kind < y->kind ? -1 : 1;
    }
    return x->slot + x->target < y->slot + y->target ? -1 : 1;
}

static void test_export_round_trip(void **state)
{
    test_store *test = *state;
    test_store other;
    test_records before = {0};
    test_records after = {0};
    int steps;
    test_store_open(test);
    for (uint8_t v = 1; v <= 3; v++) {
        for (uint32_t i = 0; i < 100; i++) {
            assert_int_equal(test_decide_vote(test, v, i + v, i + v + 1, 1 + i), HF_VERDICT_ALLOW);
        }
        assert_int_equal(test_decide_block(test, v, 64, v), HF_VERDICT_ALLOW);
        assert_int_equal(test_decide_block(test, v, 6400, v), HF_VERDICT_ALLOW);
    }
    assert_true(prune_all(test, 20, &steps) > 0);
    test_records_export(test, &before);
    /* Two floors without root, then the records in order, for each validator. */
    assert_int_equal(before.count, 3 * (1 + 1 + 1 + 21));
    assert_int_equal(before.messages[0].kind, HF_MESSAGE_BLOCK);
    assert_int_equal(before.messages[0].has_root, 0);
    assert_int_equal(before.messages[0].slot, 64);
    assert_int_equal(before.messages[1].kind, HF_MESSAGE_ATTESTATION);
    assert_int_equal(before.messages[1].has_root, 0);
    assert_int_equal(before.messages[1].target, 80);
    for (size_t i = 4; i < 24; i++) {
        assert_int_equal(before.messages[i].target, before.messages[i - 1].target + 1);
    }
    test_store_init(&other);
    test_store_open(&other);
    (void)test_import(&other, before.messages, before.count);
    test_records_export(&other, &after);
    assert_int_equal(after.count, before.count);
    /* What was a floor is a record now, and stands among the records. */
    qsort(before.messages, before.count, sizeof *before.messages, compare_records);
    qsort(after.messages, after.count, sizeof *after.messages, compare_records);
    assert_memory_equal(after.messages, before.messages, before.count * sizeof *before.messages);
    assert_int_equal(status_of(&other).lowest_floors.target, status_of(test).lowest_floors.target);
    assert_int_equal(status_of(&other).highest_floors.source,
                     status_of(test).highest_floors.source);
    test_records_free(&before);
    test_records_free(&after);
    test_store_done(&other);
}

/* Votes that lie across a raised floor: the importer is held to at least as much. */
static void test_export_covers_floors(void **state)
{
    test_store *test = *state;
    test_store other;
    test_records records = {0};
    hf_watermark low = {.has_slot = 1, .has_epochs = 1, .slot = 30, .source = 6, .target = 8};
    test_store_open(test);
    assert_int_equal(test_decide_block(test, 1, 20, 1), HF_VERDICT_ALLOW);
    assert_int_equal(test_decide_vote(test, 1, 2, 3, 1), HF_VERDICT_ALLOW);
    assert_int_equal(test_decide_vote(test, 1, 5, 10, 1), HF_VERDICT_ALLOW);
    assert_int_equal(test_decide_vote(test, 1, 10, 12, 1), HF_VERDICT_ALLOW);
    assert_code(test->store->ops->raise_floors(test->store, &low, &test->err), HF_OK);
    test_records_export(test, &records);
    test_store_init(&other);
    test_store_open(&other);
    (void)test_import(&other, records.messages, records.count);
    assert_int_equal(status_of(&other).lowest_floors.slot, 30);
    for (uint64_t s = 0; s < 16; s++) {
        for (uint64_t t = s; t < 16; t++) {
            bool allowed = hf_verdict_allows(test_decide_vote(&other, 1, s, t, 7));
            if (allowed) {
                assert_true(hf_verdict_allows(test_decide_vote(test, 1, s, t, 7)));
            }
        }
    }
    test_records_free(&records);
    test_store_done(&other);
}

static void test_export_selection(void **state)
{
    test_store *test = *state;
    test_records records = {0};
    uint8_t only[3][HF_BLS_PUBKEY_BYTES];
    memset(only[0], 3, sizeof only[0]);
    memset(only[1], 9, sizeof only[1]); /* not there */
    memset(only[2], 1, sizeof only[2]);
    test_store_open(test);
    for (uint8_t v = 1; v <= 3; v++) {
        assert_int_equal(test_decide_block(test, v, v, 1), HF_VERDICT_ALLOW);
    }
    hf_status st =
        hf_store_export_sqlite(&test->config, (const uint8_t(*)[HF_BLS_PUBKEY_BYTES])only, 3,
                               test_records_add, &records, &test->err);
    assert_code(st, HF_OK);
    assert_int_equal(records.count, 2);
    assert_int_equal(records.messages[0].slot, 3);
    assert_int_equal(records.messages[1].slot, 1);
    test->config.genesis_validators_root[0] ^= 1;
    st = hf_store_export_sqlite(&test->config, NULL, 0, test_records_add, &records, &test->err);
    assert_code(st, HF_CONFLICT);
    test->config.genesis_validators_root[0] ^= 1;
    test_records_free(&records);
}

static hf_status give_up(void *context, const hf_message *message)
{
    (void)context;
    (void)message;
    return (hf_status){HF_LIMIT};
}

static void test_export_receiver_gives_up(void **state)
{
    test_store *test = *state;
    test_store_open(test);
    assert_int_equal(test_decide_block(test, 1, 1, 1), HF_VERDICT_ALLOW);
    hf_status st = hf_store_export_sqlite(&test->config, NULL, 0, give_up, NULL, &test->err);
    assert_code(st, HF_LIMIT);
    assert_int_equal(test_decide_block(test, 1, 2, 1), HF_VERDICT_ALLOW);
}

#define WITH_FOLDER(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_creation),
        WITH_FOLDER(test_refused_files),
        WITH_FOLDER(test_log_without_database),
        WITH_FOLDER(test_many_validators_and_reopen),
        WITH_FOLDER(test_foreign_write_is_seen),
        WITH_FOLDER(test_repeat_after_long_silence),
        WITH_FOLDER(test_import_report),
        WITH_FOLDER(test_import_states),
        WITH_FOLDER(test_import_below_floor),
        WITH_FOLDER(test_prune_in_steps),
        WITH_FOLDER(test_export_round_trip),
        WITH_FOLDER(test_export_covers_floors),
        WITH_FOLDER(test_export_selection),
        WITH_FOLDER(test_export_receiver_gives_up),
    };
    return cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
}
