/* The SQLite store as such: creation, reopening, import, export, pruning. */
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

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

/* ---- the mark ----------------------------------------------------------------------------- */

static hf_store_mark mark_of(test_store *test)
{
    hf_store_mark mark;
    assert_code(test->store->ops->mark(test->store, &mark, &test->err), HF_OK);
    return mark;
}

/* A new file is nobody's until a signer takes it over; its name from then on is that signer's. */
static void test_new_until_taken_over(void **state)
{
    test_store *test = *state;
    static const uint8_t lineage[HF_LINEAGE_BYTES] = {4, 2};
    const hf_message imported[] = {test_block(3, 5, 1)};
    test_store_open(test);
    (void)test_import(test, imported, 1);
    assert_true(mark_of(test).is_virgin);
    assert_true(mark_of(test).vote_id > 0); /* an import counts */
    assert_code(test->store->ops->take_over(test->store, NULL, lineage, &test->err), HF_OK);
    for (int round = 0; round < 2; round++) {
        assert_false(mark_of(test).is_virgin);
        assert_memory_equal(mark_of(test).lineage, lineage, sizeof lineage);
        test_store_close(test);
        test_store_open(test);
    }
    assert_int_equal(test_decide_block(test, 1, 1, 1), HF_VERDICT_ALLOW);
}

/* Written by a version that counted nothing: in use, by whom nobody knows. */
static void test_first_schema_is_migrated(void **state)
{
    test_store *test = *state;
    test_store_open(test);
    assert_int_equal(test_decide_block(test, 1, 10, 1), HF_VERDICT_ALLOW);
    test_store_close(test);
    change(test, "DROP TABLE anchors; DROP TABLE records; PRAGMA user_version = 1;"
                 "ALTER TABLE meta DROP COLUMN generation;"
                 "ALTER TABLE meta DROP COLUMN lineage; ALTER TABLE meta DROP COLUMN vote_id;"
                 "ALTER TABLE meta DROP COLUMN block_id; ALTER TABLE meta DROP COLUMN seen_unix_s;"
                 "ALTER TABLE meta DROP COLUMN base_slot; ALTER TABLE meta DROP COLUMN base_source;"
                 "ALTER TABLE meta DROP COLUMN base_target");
    test_store_open(test);
    assert_false(mark_of(test).is_virgin);
    assert_int_equal(mark_of(test).block_id, 0);
    assert_int_equal(test_decide_block(test, 1, 10, 2), HF_VERDICT_DOUBLE_BLOCK);
    assert_int_equal(test_decide_block(test, 1, 11, 2), HF_VERDICT_ALLOW);
    assert_int_equal(mark_of(test).block_id, 1);
}

/* The counters alone betray an older copy, whoever's records it lacks. */
static void test_going_back_is_seen(void **state)
{
    test_store *test = *state;
    hf_message block = test_block(2, 50, 1);
    hf_verdict verdict;
    test_store_open(test);
    assert_int_equal(test_decide_block(test, 1, 10, 1), HF_VERDICT_ALLOW);
    change(test, "UPDATE meta SET block_id = block_id - 1");
    assert_code(test->store->ops->health(test->store, &test->err), HF_CORRUPT);
    assert_non_null(strstr(test->err.msg, "older copy"));
    assert_code(test->store->ops->decide(test->store, &block, 1, &verdict, &test->err), HF_CORRUPT);
    change(test, "UPDATE meta SET block_id = block_id + 1");
    assert_int_equal(test_decide_block(test, 1, 11, 1), HF_VERDICT_ALLOW);
}

/* ---- export ------------------------------------------------------------------------------- */

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

#define WITH_FOLDER(name)                                                                          \
    cmocka_unit_test_setup_teardown(name, test_store_setup, test_store_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_creation),
        WITH_FOLDER(test_refused_files),
        WITH_FOLDER(test_log_without_database),
        WITH_FOLDER(test_foreign_write_is_seen),
        WITH_FOLDER(test_repeat_after_long_silence),
        WITH_FOLDER(test_new_until_taken_over),
        WITH_FOLDER(test_first_schema_is_migrated),
        WITH_FOLDER(test_going_back_is_seen),
        WITH_FOLDER(test_export_selection),
        WITH_FOLDER(test_export_receiver_gives_up),
    };
    return cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
}
