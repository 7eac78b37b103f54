/* The model test's view of a PostgreSQL store, and what befalls its connections. */
#include "model.h"

#include <unistd.h>

#define ROUNDS 600

typedef void (*row_taker)(ref_store *seen, const PGresult *rows, int row);

static int number(const PGresult *rows, int row, int column)
{
    uint64_t value;
    const char *text = PQgetvalue(rows, row, column);
    if (PQgetisnull(rows, row, column)) {
        return -1;
    }
    assert_code(hf_num_parse_u64(text, strlen(text), &value), HF_OK);
    return (int)value;
}

/* Public keys are all the same byte, and a root has one byte that counts: as numbers. */
static uint8_t root(const PGresult *rows, int row, int column)
{
    int value = number(rows, row, column);
    return value < 0 ? REF_UNKNOWN : (uint8_t)value;
}

static ref_validator *validator(ref_store *seen, const PGresult *rows, int row)
{
    return &seen->validators[number(rows, row, 0) - 1];
}

static void take_floors(ref_store *seen, const PGresult *rows, int row)
{
    ref_validator *known = validator(seen, rows, row);
    known->floor_slot = number(rows, row, 1);
    known->floor_source = number(rows, row, 2);
    known->floor_target = number(rows, row, 3);
}

static void take_block(ref_store *seen, const PGresult *rows, int row)
{
    validator(seen, rows, row)->blocks[number(rows, row, 1)] = root(rows, row, 2);
}

static void take_vote(ref_store *seen, const PGresult *rows, int row)
{
    uint8_t *vote = &validator(seen, rows, row)->votes[number(rows, row, 1)][number(rows, row, 2)];
    /* What contradicts itself is in both tables. */
    *vote = *vote != 0 ? *vote : root(rows, row, 3);
}

static void take_high(ref_store *seen, const PGresult *rows, int row)
{
    seen->high_slot = number(rows, row, 0);
    seen->high_target = number(rows, row, 1);
}

static void read_rows(world *w, const char *sql, row_taker take, ref_store *seen)
{
    PGresult *rows = PQexec(pg_test_of(&w->test)->root, sql);
    assert_int_equal(PQresultStatus(rows), PGRES_TUPLES_OK);
    for (int row = 0; row < PQntuples(rows); row++) {
        take(seen, rows, row);
    }
    PQclear(rows);
}

/* A killed client's last transaction may still be under way on the server. */
static void wait_for_orphans(world *w)
{
    const char *sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                      " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
                      " AND state <> 'idle'";
    while (pg_test_count(pg_test_of(&w->test), sql) > 0) {
        (void)usleep(1000);
    }
}

#define WHO "get_byte(v.public_key, 0)"
#define JOIN " JOIN validators v ON v.id = t.validator_id"

static void read_disk(world *w, ref_store *seen)
{
    ref_init(seen);
    wait_for_orphans(w);
    read_rows(w, "SELECT high_watermark_slot, high_watermark_epoch FROM metadata", take_high, seen);
    read_rows(w, "SELECT " WHO ", slot, source_epoch, target_epoch FROM low_watermarks t" JOIN,
              take_floors, seen);
    read_rows(w, "SELECT " WHO ", slot, get_byte(signing_root, 0) FROM signed_blocks t" JOIN,
              take_block, seen);
    read_rows(w,
              "SELECT " WHO ", source_epoch, target_epoch, get_byte(signing_root, 0)"
              " FROM signed_attestations t" JOIN,
              take_vote, seen);
    read_rows(w, "SELECT " WHO ", source_epoch, target_epoch, NULL FROM holdfast_votes t" JOIN,
              take_vote, seen);
}

/* Votes of one target that contradict each other have no roots there. */
static void simplify(ref_store *expected)
{
    for (int v = 0; v < REF_VALIDATORS; v++) {
        for (int t = 0; t < REF_NUMBERS; t++) {
            int count = 0;
            for (int s = 0; s < REF_NUMBERS; s++) {
                count += expected->validators[v].votes[s][t] != 0;
            }
            for (int s = 0; s < REF_NUMBERS && count > 1; s++) {
                uint8_t *vote = &expected->validators[v].votes[s][t];
                *vote = *vote == 0 ? 0 : REF_UNKNOWN;
            }
        }
    }
}

static void start_over(world *w)
{
    test_store_close(&w->test);
    /* The first time there are no tables yet. */
    test_store_open(&w->test);
    test_store_close(&w->test);
    wait_for_orphans(w);
    pg_test_forget(pg_test_of(&w->test));
    test_store_open(&w->test);
}

/* The server ends the connection while nothing is asked: the next batch does not notice. */
static void end_connection(world *w)
{
    pg_test_exec(pg_test_of(&w->test),
                 "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                 " WHERE datname = current_database() AND pid <> pg_backend_pid()");
    w->faults++;
}

/* The same, some time during the following requests. */
static void end_connection_soon(world *w)
{
    char sql[256];
    assert_true(
        snprintf(sql, sizeof sql,
                 "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity, pg_sleep(%u /"
                 " 1000.0) WHERE datname = current_database() AND pid <> pg_backend_pid()",
                 1 + below(w, 5)) < (int)sizeof sql);
    PGconn *root = pg_test_of(&w->test)->root;
    assert_int_equal(PQsendQuery(root, sql), 1);
    w->lenient = true;
    for (int i = 0; i < 4; i++) {
        decide_random(w);
    }
    w->lenient = false;
    for (PGresult *rows = PQgetResult(root); rows != NULL; rows = PQgetResult(root)) {
        PQclear(rows);
    }
    w->faults++;
}

const model_store model_postgres = {.rounds = ROUNDS,
                                    .read_disk = read_disk,
                                    .simplify = simplify,
                                    .start_over = start_over,
                                    .first_fault = end_connection,
                                    .second_fault = end_connection_soon,
                                    .high_above_floors = true,
                                    .raises_all = true};
