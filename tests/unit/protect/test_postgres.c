/* The PostgreSQL store as such: opening, taking over, refusing, deciding. */
#include "support_postgres.h"

static int setup(void **state)
{
    pg_test *test = calloc(1, sizeof *test);
    assert_non_null(test);
    pg_test_init(test);
    *state = test;
    return 0;
}

static int teardown(void **state)
{
    pg_test_done(*state);
    free(*state);
    return 0;
}

/* ---- deciding ----------------------------------------------------------------------------- */

static void test_first_decisions(void **state)
{
    pg_test *test = *state;
    pg_test_open(test);
    assert_int_equal(pg_test_decide(test, test_vote(1, 1, 2, 1)), HF_VERDICT_ALLOW);
    assert_int_equal(pg_test_decide(test, test_vote(1, 1, 2, 1)), HF_VERDICT_REPEAT);
    assert_int_equal(pg_test_decide(test, test_vote(1, 1, 2, 2)), HF_VERDICT_DOUBLE_VOTE);
    assert_int_equal(pg_test_decide(test, test_vote(1, 0, 5, 2)), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(pg_test_decide(test, test_vote(1, 4, 5, 2)), HF_VERDICT_ALLOW);
    assert_int_equal(pg_test_decide(test, test_vote(1, 3, 6, 2)), HF_VERDICT_SURROUNDING_VOTE);
    assert_int_equal(pg_test_decide(test, test_vote(1, 9, 8, 2)), HF_VERDICT_SOURCE_AFTER_TARGET);
    assert_int_equal(pg_test_decide(test, test_block(1, 10, 1)), HF_VERDICT_ALLOW);
    assert_int_equal(pg_test_decide(test, test_block(1, 10, 2)), HF_VERDICT_DOUBLE_BLOCK);
    assert_int_equal(pg_test_decide(test, test_block(1, 9, 2)), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(pg_test_count(test, "SELECT count(*) FROM signed_attestations"), 2);
    assert_int_equal(pg_test_count(test, "SELECT slot FROM low_watermarks"), 10);
    assert_code(test->store->ops->health(test->store, &test->err), HF_OK);
}

/* Messages of one batch see each other, in the order in which they come. */
static void test_batch_order(void **state)
{
    pg_test *test = *state;
    const hf_message batch[] = {
        test_vote(1, 1, 2, 1), test_vote(2, 1, 2, 1), test_vote(1, 1, 2, 1), test_vote(1, 1, 2, 2),
        test_block(1, 5, 1),   test_block(1, 5, 2),   test_vote(1, 3, 4, 1), test_vote(1, 2, 5, 1),
        test_block(2, 5, 1),   test_vote(2, 1, 2, 9), test_vote(1, 4, 3, 1), test_block(1, 6, 1),
    };
    static const hf_verdict expected[] = {
        HF_VERDICT_ALLOW,
        HF_VERDICT_ALLOW,
        HF_VERDICT_REPEAT,
        HF_VERDICT_DOUBLE_VOTE,
        HF_VERDICT_ALLOW,
        HF_VERDICT_DOUBLE_BLOCK,
        HF_VERDICT_ALLOW,
        HF_VERDICT_SURROUNDING_VOTE,
        HF_VERDICT_ALLOW,
        HF_VERDICT_DOUBLE_VOTE,
        HF_VERDICT_SOURCE_AFTER_TARGET,
        HF_VERDICT_ALLOW,
    };
    hf_verdict verdicts[HF_ARRAY_LEN(batch)];
    pg_test_open(test);
    assert_code(
        test->store->ops->decide(test->store, batch, HF_ARRAY_LEN(batch), verdicts, &test->err),
        HF_OK);
    for (size_t i = 0; i < HF_ARRAY_LEN(batch); i++) {
        assert_string_equal(hf_verdict_name(verdicts[i]), hf_verdict_name(expected[i]));
    }
}

/* Once validators are known: one round trip, whatever the batch. */
static void test_round_trips(void **state)
{
    pg_test *test = *state;
    enum { COUNT = 300, ROUNDS = 5 };
    static hf_message messages[COUNT];
    static hf_verdict verdicts[COUNT];
    pg_test_open(test);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint64_t before = hf_store_postgres_traffic(test->store).round_trips;
        for (uint32_t i = 0; i < COUNT; i++) {
            messages[i] = test_vote((uint8_t)i, round, round + 1, 1);
            messages[i].pubkey[1] = (uint8_t)(i >> 8);
        }
        assert_code(test->store->ops->decide(test->store, messages, COUNT, verdicts, &test->err),
                    HF_OK);
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_int_equal(verdicts[i], HF_VERDICT_ALLOW);
        }
        if (round > 0) {
            assert_int_equal(hf_store_postgres_traffic(test->store).round_trips - before, 1);
        }
    }
    assert_int_equal(hf_store_postgres_traffic(test->store).messages, COUNT * ROUNDS);
}

/* ---- opening ------------------------------------------------------------------------------ */

static void expect_open(pg_test *test, hf_code code, const char *words)
{
    hf_store *store = NULL;
    hf_status st = hf_store_open_postgres(&test->config, &store, &test->err);
    if (st.code != code || strstr(test->err.msg, words) == NULL) {
        fail_msg("%s: \"%s\" and not \"%s\"", hf_code_name(st.code), test->err.msg, words);
    }
    assert_null(store);
}

static int64_t count_tables(pg_test *test)
{
    return pg_test_count(test, "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'i', 'S')"
                               " AND relnamespace = 'public'::regnamespace");
}

static void test_wrong_urls(void **state)
{
    pg_test *test = *state;
    char good[sizeof test->config.url];
    memcpy(good, test->config.url, sizeof good);
    static const char *const broken[] = {"",
                                         "nonsense",
                                         "mysql://a:secret@h/d",
                                         "host='secret",
                                         "postgresql://u:secret@h:port/d",
                                         "postgresql://u:sec/ret@h/d",
                                         "postgresql://u:a@secret@h/d"};
    for (size_t i = 0; i < HF_ARRAY_LEN(broken); i++) {
        assert_code(hf_str_copy(test->config.url, sizeof test->config.url, broken[i]), HF_OK);
        expect_open(test, HF_USAGE, "the database URL cannot be read");
        assert_null(strstr(test->err.msg, "secret"));
    }
    pg_test_url(test->config.url, sizeof test->config.url, NULL, NULL, "not_there");
    expect_open(test, HF_NOT_FOUND, "create it, or correct the URL");
    pg_test_url(test->config.url, sizeof test->config.url, "postgres", "wrong", test->name);
    expect_open(test, HF_DENIED, "check the user and password");
    assert_null(strstr(test->err.msg, "wrong"));
    assert_int_equal(count_tables(test), 0);
    memcpy(test->config.url, good, sizeof good);
    pg_test_open(test);
}

/* A database that cannot be reached is not an error at the start, and no reason to wait long. */
static void test_unreachable_at_start(void **state)
{
    pg_test *test = *state;
    hf_message message = test_vote(1, 1, 2, 1);
    hf_verdict verdict = HF_VERDICT_ALLOW;
    assert_code(hf_str_copy(test->config.url, sizeof test->config.url,
                            "postgresql://u:secret@127.0.0.1:1/d"),
                HF_OK);
    pg_test_open(test);
    uint64_t start = hf_time_mono_ns();
    for (int i = 0; i < 10; i++) {
        assert_code(test->store->ops->decide(test->store, &message, 1, &verdict, &test->err),
                    HF_UNAVAILABLE);
        assert_false(hf_verdict_allows(verdict));
    }
    assert_true(hf_time_mono_ns() - start < HF_NS_PER_SECOND);
    assert_code(test->store->ops->health(test->store, &test->err), HF_UNAVAILABLE);
    assert_null(strstr(test->err.msg, "secret"));
}

static void test_wrong_network(void **state)
{
    pg_test *test = *state;
    pg_test_open(test);
    pg_test_close(test);
    test->config.genesis_validators_root[5] ^= 1;
    expect_open(test, HF_CONFLICT, "another network");
    assert_int_equal(pg_test_count(test, "SELECT count(*) FROM metadata"), 1);
}

static void test_migration_wanted(void **state)
{
    pg_test *test = *state;
    test->config.auto_migrate = false;
    expect_open(test, HF_CONFLICT, "run holdfast db migrate up");
    assert_int_equal(count_tables(test), 0);
    hf_postgres_schema schema;
    assert_code(hf_postgres_migrate_status(test->config.url, &schema, &test->err), HF_OK);
    assert_int_equal(schema.version, 0);
    assert_code(hf_postgres_migrate_up(test->config.url, &schema, &test->err), HF_OK);
    assert_int_equal(schema.version, schema.latest);
    assert_false(schema.made_by_peer);
    pg_test_open(test);
    assert_int_equal(pg_test_decide(test, test_vote(1, 1, 2, 1)), HF_VERDICT_ALLOW);
    pg_test_close(test);
    assert_code(hf_postgres_migrate_down(test->config.url, false, &schema, &test->err),
                HF_CONFLICT);
    assert_non_null(strstr(test->err.msg, "--discard-protection"));
    assert_int_equal(pg_test_count(test, "SELECT count(*) FROM signed_attestations"), 1);
    assert_code(hf_postgres_migrate_down(test->config.url, true, &schema, &test->err), HF_OK);
    assert_int_equal(schema.version, 0);
    assert_int_equal(count_tables(test), 0);
}

typedef struct alteration {
    const char *sql;
    hf_code code;
    const char *words;
} alteration;

/* Each on a good database; each refused, in words that say what to do, and nothing written. */
static const alteration alterations[] = {
    {"UPDATE database_version SET version = 13", HF_CONFLICT, "newer than 12"},
    {"UPDATE database_version SET version = 11", HF_CONFLICT, "Web3Signer's own migrations"},
    {"UPDATE holdfast_schema SET version = 5, readable_from = 4", HF_CONFLICT, "upgrade Holdfast"},
    {"ALTER TABLE signed_blocks DROP CONSTRAINT unique_signed_block", HF_CORRUPT,
     "the unique constraint of signed_blocks (validator_id, slot) is missing"},
    {"ALTER TABLE signed_attestations ALTER COLUMN target_epoch TYPE bigint", HF_CORRUPT,
     "column signed_attestations.target_epoch"},
    {"ALTER TABLE validators DROP COLUMN enabled", HF_CORRUPT, "column validators.enabled"},
    {"DROP TABLE low_watermarks", HF_CORRUPT, "some tables"},
    {"DROP TABLE holdfast_votes", HF_CORRUPT, "some tables"},
    {"DROP TABLE holdfast_records", HF_CORRUPT, "holdfast_records is gone"},
    {"DROP TABLE holdfast_anchors", HF_CORRUPT, "holdfast_anchors is gone"},
    {"ALTER TABLE signed_attestations SET UNLOGGED", HF_CORRUPT, "SET LOGGED"},
    {"CREATE RULE r AS ON INSERT TO signed_blocks DO INSTEAD NOTHING", HF_CORRUPT, "has rules"},
    {"ALTER TABLE signed_blocks ENABLE ROW LEVEL SECURITY", HF_CORRUPT, "row level security"},
    {"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
     "CREATE TRIGGER t BEFORE INSERT ON signed_blocks FOR EACH ROW EXECUTE FUNCTION f()",
     HF_CORRUPT, "has a trigger"},
    {"DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on',"
     " current_database()); END$$",
     HF_OK, "read-only"},
};

static void test_altered_schema(void **state)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(alterations); i++) {
        const alteration *one = &alterations[i];
        pg_test *test = *state;
        pg_test_close(test);
        pg_test_exec(test, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        pg_test_open(test);
        pg_test_close(test);
        pg_test_exec(test, one->sql);
        if (one->code != HF_OK) {
            expect_open(test, one->code, one->words);
            continue;
        }
        /* What may pass by itself is no reason not to start. */
        pg_test_open(test);
        assert_code(test->store->ops->health(test->store, &test->err), HF_UNAVAILABLE);
        assert_non_null(strstr(test->err.msg, one->words));
    }
}

static void test_missing_rights(void **state)
{
    pg_test *test = *state;
    static const char *const grants[] = {
        "GRANT SELECT, INSERT, UPDATE ON validators, metadata, low_watermarks TO poor",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON signed_blocks, signed_attestations TO poor",
        "GRANT SELECT ON database_version TO poor",
        "GRANT SELECT, UPDATE ON holdfast_schema TO poor",
        "GRANT SELECT, INSERT, DELETE ON holdfast_votes TO poor",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON holdfast_records TO poor",
        "GRANT SELECT, UPDATE ON holdfast_marks, holdfast_store TO poor",
        "GRANT SELECT, INSERT, UPDATE ON holdfast_anchors TO poor",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO poor",
    };
    pg_test_open(test);
    pg_test_close(test);
    pg_test_exec(test, "DROP ROLE IF EXISTS poor; CREATE ROLE poor LOGIN PASSWORD 'poor'");
    pg_test_url(test->config.url, sizeof test->config.url, "poor", "poor", test->name);
    for (size_t i = 0; i < HF_ARRAY_LEN(grants); i++) {
        expect_open(test, HF_DENIED, "the role lacks a right: GRANT ");
        pg_test_exec(test, grants[i]);
    }
    pg_test_open(test);
    assert_int_equal(pg_test_decide(test, test_vote(1, 1, 2, 1)), HF_VERDICT_ALLOW);
    assert_code(test->store->ops->health(test->store, &test->err), HF_OK);
    pg_test_close(test);
    pg_test_exec(test, "DROP OWNED BY poor; DROP ROLE poor");
}

static hf_store_mark mark_of(pg_test *test)
{
    hf_store_mark mark;
    assert_code(test->store->ops->health(test->store, &test->err), HF_OK);
    assert_code(test->store->ops->mark(test->store, &mark, &test->err), HF_OK);
    return mark;
}

static const char drop_marks[] = "DROP TABLE holdfast_marks, holdfast_store, holdfast_anchors;"
                                 "UPDATE holdfast_schema SET version = 2 WHERE name = 'slashing'";

/* A schema of two versions before, which nobody may migrate yet: it signs, and has no records. */
static void test_schema_without_records(void **state)
{
    pg_test *test = *state;
    uint64_t generation = 0;
    pg_test_open(test);
    pg_test_close(test);
    pg_test_exec(test, drop_marks);
    pg_test_exec(test, "DROP TABLE holdfast_records;"
                       "UPDATE holdfast_schema SET version = 1 WHERE name = 'slashing'");
    test->config.auto_migrate = false;
    pg_test_open(test);
    assert_int_equal(pg_test_decide(test, test_vote(1, 1, 2, 1)), HF_VERDICT_ALLOW);
    assert_code(test->store->ops->records(test->store, HF_RECORD_TOKEN, NULL, NULL, &generation,
                                          &test->err),
                HF_UNAVAILABLE);
    assert_non_null(strstr(test->err.msg, "db migrate up"));
    assert_int_equal(mark_of(test).is_counted, 0);
    pg_test_close(test);
    test->config.auto_migrate = true;
    pg_test_open(test);
    assert_code(test->store->ops->records(test->store, HF_RECORD_TOKEN, NULL, NULL, &generation,
                                          &test->err),
                HF_OK);
    assert_int_equal(pg_test_decide(test, test_vote(1, 1, 2, 1)), HF_VERDICT_REPEAT);
    assert_int_equal(test->store->ops->generation(test->store), generation);
}

/* The version before: nothing is counted, floors rise for the known, and there are no anchors. A
 * node that is newer brings the marks while this one runs. */
static void test_schema_without_marks(void **state)
{
    pg_test *test = *state;
    hf_store_anchor anchor = {.log_id = {1}};
    const hf_watermark low = {.has_slot = 1, .has_epochs = 1, .slot = 64, .source = 2, .target = 2};
    pg_test_open(test);
    pg_test_close(test);
    pg_test_exec(test, drop_marks);
    test->config.auto_migrate = false;
    pg_test_open(test);
    assert_int_equal(pg_test_decide(test, test_vote(1, 1, 2, 1)), HF_VERDICT_ALLOW);
    assert_int_equal(mark_of(test).is_counted, 0);
    assert_code(test->store->ops->anchor_set(test->store, &anchor, &test->err), HF_UNAVAILABLE);
    assert_code(test->store->ops->take_over(test->store, &low, anchor.log_id, &test->err), HF_OK);
    assert_int_equal(pg_test_decide(test, test_block(1, 64, 1)), HF_VERDICT_BELOW_WATERMARK);
    assert_code(hf_postgres_migrate_up(test->config.url, &(hf_postgres_schema){0}, &test->err),
                HF_OK);
    assert_int_equal(pg_test_decide(test, test_block(1, 65, 1)), HF_VERDICT_ALLOW);
    assert_int_equal(mark_of(test).is_counted, 0);
    pg_test_exec(test, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                       " WHERE datname = current_database() AND pid <> pg_backend_pid()");
    assert_int_equal(mark_of(test).is_counted, 1);
    assert_int_equal(mark_of(test).block_id, 0);
    assert_int_equal(pg_test_decide(test, test_block(1, 66, 1)), HF_VERDICT_ALLOW);
    assert_int_equal(mark_of(test).block_id, 1);
}

/* Several nodes count together; who sees the sum fall refuses. */
static void test_mark_of_all_nodes(void **state)
{
    pg_test *test = *state;
    pg_test other = *test;
    other.store = NULL;
    pg_test_open(test);
    pg_test_open(&other);
    for (uint64_t slot = 1; slot <= 10; slot++) {
        pg_test *node = slot % 2 == 0 ? test : &other;
        assert_int_equal(pg_test_decide(node, test_block(1, slot, 1)), HF_VERDICT_ALLOW);
    }
    assert_int_equal(mark_of(test).block_id, 10);
    assert_int_equal(mark_of(&other).block_id, 10);
    assert_int_equal(mark_of(&other).vote_id, 0);
    pg_test_close(&other);
    /* Nobody counts what is not counted in its own transaction. */
    pg_test_exec(test, "DELETE FROM holdfast_marks WHERE blocks = 0");
    hf_message block = test_block(1, 11, 1);
    hf_verdict verdict;
    hf_status st = hf_ok();
    pg_test_exec(test, "UPDATE holdfast_marks SET slot = slot + 100");
    st = test->store->ops->decide(test->store, &block, 1, &verdict, &test->err);
    assert_code(st, HF_CORRUPT);
    assert_non_null(strstr(test->err.msg, "holdfast_marks has lost rows"));
    assert_int_equal(verdict, HF_VERDICT_COUNT);
    assert_int_equal(pg_test_count(test, "SELECT count(*) FROM signed_blocks"), 10);
    pg_test_exec(test, "UPDATE holdfast_marks SET blocks = blocks - 1 WHERE blocks > 1");
    assert_code(test->store->ops->health(test->store, &test->err), HF_CORRUPT);
    assert_non_null(strstr(test->err.msg, "older copy"));
}

/* ---- beside Web3Signer -------------------------------------------------------------------- */

/* A database as Web3Signer leaves it: its tables, and nothing of ours. */
static void make_peers(pg_test *test)
{
    pg_test_open(test);
    pg_test_close(test);
    pg_test_exec(test, "DROP TABLE holdfast_marks, holdfast_store, holdfast_anchors,"
                       " holdfast_records, holdfast_votes, holdfast_schema;"
                       "INSERT INTO validators(public_key) SELECT"
                       " decode(repeat(lpad(to_hex(v), 2, '0'), 48), 'hex')"
                       " FROM generate_series(1, 3) v");
}

static void test_take_over(void **state)
{
    pg_test *test = *state;
    hf_postgres_schema schema;
    make_peers(test);
    /* Pruned: what it kept, and low watermarks that it moved. One vote that contradicts itself. */
    pg_test_exec(test, "INSERT INTO signed_attestations(validator_id, source_epoch, target_epoch,"
                       " signing_root) SELECT 1, e, e + 1, decode(rpad('01', 64, '0'), 'hex')"
                       " FROM generate_series(10, 20) e;"
                       "INSERT INTO signed_attestations(validator_id, source_epoch, target_epoch)"
                       " VALUES (2, 30, 5);"
                       "INSERT INTO signed_blocks(validator_id, slot) VALUES (1, 320);"
                       "INSERT INTO low_watermarks VALUES (1, 320, 13, 12), (2, NULL, 5, 5)");
    pg_test_open(test);
    assert_int_equal(pg_test_decide(test, test_vote(1, 15, 16, 1)), HF_VERDICT_REPEAT);
    assert_int_equal(pg_test_decide(test, test_vote(1, 12, 13, 1)), HF_VERDICT_REPEAT);
    assert_int_equal(pg_test_decide(test, test_vote(1, 11, 12, 1)), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(pg_test_decide(test, test_vote(1, 15, 16, 2)), HF_VERDICT_DOUBLE_VOTE);
    assert_int_equal(pg_test_decide(test, test_vote(1, 19, 22, 1)), HF_VERDICT_SURROUNDING_VOTE);
    assert_int_equal(pg_test_decide(test, test_vote(1, 20, 22, 1)), HF_VERDICT_ALLOW);
    assert_int_equal(pg_test_decide(test, test_block(1, 320, 1)), HF_VERDICT_DOUBLE_BLOCK);
    /* (6, 31) surrounds (30, 5), wherever that is. */
    assert_int_equal(pg_test_decide(test, test_vote(2, 6, 31, 1)), HF_VERDICT_SURROUNDING_VOTE);
    assert_int_equal(pg_test_decide(test, test_vote(3, 1, 2, 1)), HF_VERDICT_ALLOW);
    pg_test_close(test);
    assert_code(hf_postgres_migrate_status(test->config.url, &schema, &test->err), HF_OK);
    assert_true(schema.made_by_peer);
    assert_int_equal(schema.peer_version, 12);
    /* Down forgets what is ours alone. */
    assert_code(hf_postgres_migrate_down(test->config.url, true, &schema, &test->err), HF_OK);
    assert_int_equal(pg_test_count(test, "SELECT count(*) FROM signed_attestations"), 14);
}

/* Deleted from a Web3Signer on the same database: nobody else there signs with it either. */
static void test_disabled_validator(void **state)
{
    pg_test *test = *state;
    pg_test_open(test);
    assert_int_equal(pg_test_decide(test, test_vote(1, 1, 2, 1)), HF_VERDICT_ALLOW);
    pg_test_exec(test, "UPDATE validators SET enabled = false");
    assert_int_equal(pg_test_decide(test, test_vote(1, 1, 2, 1)), HF_VERDICT_DISABLED);
    assert_int_equal(pg_test_decide(test, test_block(1, 9, 1)), HF_VERDICT_DISABLED);
    pg_test_exec(test, "UPDATE validators SET enabled = true");
    assert_int_equal(pg_test_decide(test, test_vote(1, 1, 2, 1)), HF_VERDICT_REPEAT);
}

/* Its import takes numbers that are greater than ours. */
static void test_greatest_numbers(void **state)
{
    pg_test *test = *state;
    test_records records = {0};
    make_peers(test);
    pg_test_exec(test, "INSERT INTO signed_attestations(validator_id, source_epoch, target_epoch)"
                       " VALUES (1, 18446744073709551614, 18446744073709551615);"
                       "INSERT INTO low_watermarks(validator_id, source_epoch, target_epoch)"
                       " VALUES (1, 18446744073709551614, 18446744073709551615)");
    pg_test_open(test);
    assert_int_equal(pg_test_decide(test, test_vote(1, 1, 2, 1)), HF_VERDICT_BELOW_WATERMARK);
    assert_int_equal(pg_test_decide(test, test_block(1, HF_PROTECT_MAX_NUMBER, 1)),
                     HF_VERDICT_ALLOW);
    pg_test_export(test, &records);
    assert_int_equal(records.count, 2);
    assert_int_equal(records.messages[1].target, UINT64_MAX);
    test_records_free(&records);
}

/* Two votes for one target: its table keeps one, without root, so that it refuses them too. */
static void test_contradiction_kept(void **state)
{
    pg_test *test = *state;
    const hf_message both[] = {test_vote(1, 2, 9, 1), test_vote(1, 5, 9, 1)};
    test_records records = {0};
    pg_test_open(test);
    assert_int_equal(pg_test_import(test, both, 2).conflicts, 1);
    assert_int_equal(pg_test_count(test, "SELECT count(*) FROM signed_attestations"
                                         " WHERE signing_root IS NULL"),
                     1);
    assert_int_equal(pg_test_count(test, "SELECT count(*) FROM holdfast_votes"), 1);
    assert_int_equal(pg_test_decide(test, both[0]), HF_VERDICT_DOUBLE_VOTE);
    assert_int_equal(pg_test_decide(test, both[1]), HF_VERDICT_DOUBLE_VOTE);
    assert_int_equal(pg_test_decide(test, test_vote(1, 4, 10, 1)), HF_VERDICT_SURROUNDING_VOTE);
    pg_test_export(test, &records);
    assert_int_equal(records.count, 2);
    test_records_free(&records);
}

/* Its rule: floors stay below the high watermark. */
static void test_high_watermark_rule(void **state)
{
    pg_test *test = *state;
    hf_watermark high = {.has_slot = 1, .slot = 50, .has_epochs = 1, .target = 12};
    hf_watermark low = {.has_slot = 1, .slot = 51};
    const hf_message above[] = {test_vote(2, 20, 21, 1)};
    hf_prune_report report = {.more = true};
    hf_import_report imported;
    pg_test_open(test);
    const hf_store_ops *ops = test->store->ops;
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(pg_test_decide(test, test_vote(1, i, i + 1, 1)), HF_VERDICT_ALLOW);
    }
    assert_code(ops->set_high(test->store, &high, &test->err), HF_OK);
    assert_code(ops->raise_floors(test->store, &low, &test->err), HF_CONFLICT);
    assert_code(ops->import_begin(test->store, &test->err), HF_OK);
    assert_code(ops->import_add(test->store, above, 1, &test->err), HF_OK);
    assert_code(ops->import_commit(test->store, &imported, &test->err), HF_CONFLICT);
    assert_int_equal(pg_test_count(test, "SELECT count(*) FROM validators"), 1);
    /* Pruning stops there instead of failing. */
    while (report.more) {
        assert_code(ops->prune(test->store, 1, 32, &report, &test->err), HF_OK);
    }
    assert_int_equal(pg_test_count(test, "SELECT target_epoch FROM low_watermarks"), 12);
    assert_int_equal(pg_test_count(test, "SELECT min(target_epoch) FROM signed_attestations"), 13);
}

/* Whatever the server, the database and the role have as defaults. */
static void test_hostile_defaults(void **state)
{
    pg_test *test = *state;
    static const char *const settings[] = {
        "TimeZone = 'Asia/Kathmandu'",
        "DateStyle = 'German'",
        "bytea_output = 'escape'",
        "standard_conforming_strings = off",
        "search_path = pg_catalog",
        "synchronous_commit = off",
        "default_transaction_isolation = serializable",
        "statement_timeout = 200",
        "lock_timeout = 1",
        "extra_float_digits = 0",
        "transform_null_equals = on",
        "row_security = on",
        "enable_indexscan = off",
        "client_encoding = LATIN1",
        "idle_in_transaction_session_timeout = 200",
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(settings); i++) {
        char sql[256];
        (void)snprintf(sql, sizeof sql, "ALTER DATABASE %s SET %s", test->name, settings[i]);
        pg_test_exec(test, sql);
    }
    test_first_decisions(state);
}

#define WITH_DATABASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DATABASE(test_first_decisions),
        WITH_DATABASE(test_batch_order),
        WITH_DATABASE(test_round_trips),
        WITH_DATABASE(test_wrong_urls),
        WITH_DATABASE(test_unreachable_at_start),
        WITH_DATABASE(test_wrong_network),
        WITH_DATABASE(test_migration_wanted),
        WITH_DATABASE(test_altered_schema),
        WITH_DATABASE(test_missing_rights),
        WITH_DATABASE(test_schema_without_records),
        WITH_DATABASE(test_schema_without_marks),
        WITH_DATABASE(test_mark_of_all_nodes),
        WITH_DATABASE(test_take_over),
        WITH_DATABASE(test_disabled_validator),
        WITH_DATABASE(test_greatest_numbers),
        WITH_DATABASE(test_contradiction_kept),
        WITH_DATABASE(test_high_watermark_rule),
        WITH_DATABASE(test_hostile_defaults),
    };
    return pg_test_is_possible() ? cmocka_run_group_tests_name("postgres", tests, NULL, NULL) : 77;
}
