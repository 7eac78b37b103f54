/* The model test's view of a SQLite store, and what befalls its file. */
#include "model.h"

#include <sqlite3.h>
#include <unistd.h>

#define ROUNDS 20000

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

/* ---- faults ------------------------------------------------------------------------------- */

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

static void start_over(world *w)
{
    test_store_done(&w->test);
    test_store_init(&w->test);
    w->test.config.busy_timeout_ms = 1;
    test_store_open(&w->test);
}

const model_store model_sqlite = {.rounds = ROUNDS,
                                  .read_disk = read_disk,
                                  .start_over = start_over,
                                  .first_fault = lock_for_a_while,
                                  .second_fault = remove_for_a_while};
