/*
 * Several signers on one database, Web3Signer among them, connections that end at random: no two
 * messages that anyone allowed are slashable together.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "support_postgres.h"

#define NODES 3
#define BATCHES 150
#define BATCH 12
#define VALIDATORS 3
#define NUMBERS 40
#define ROOTS 3
#define OPENERS 10

typedef struct node {
    pthread_t thread;
    hf_postgres_config config;
    uint64_t random;
    hf_message *allowed;
    size_t count;
    size_t failures;
    bool broken; /* something that no fault explains */
    char why[HF_ERROR_MSG_LEN];
} node;

static atomic_bool over;

static uint32_t below(node *self, uint32_t bound)
{
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    return (uint32_t)((self->random >> 20) % bound);
}

static hf_message any_message(node *self)
{
    uint8_t validator = (uint8_t)(1 + below(self, VALIDATORS));
    uint32_t root = 1 + below(self, ROOTS);
    uint32_t target = below(self, NUMBERS);
    uint32_t source = target - (target > 0 ? below(self, target < 3 ? target : 3) : 0);
    source = below(self, 5) == 0 ? below(self, NUMBERS) : source;
    return below(self, 3) == 0 ? test_block(validator, target, root)
                               : test_vote(validator, source, target, root);
}

static void keep(node *self, const hf_message *message)
{
    self->allowed[self->count++] = *message;
}

/* ---- Holdfast ----------------------------------------------------------------------------- */

static void *run_holdfast(void *context)
{
    node *self = context;
    hf_error err = {0};
    hf_store *store = NULL;
    hf_message batch[BATCH];
    hf_verdict verdicts[BATCH];
    self->broken = hf_failed(hf_store_open_postgres(&self->config, &store, &err));
    for (int i = 0; i < BATCHES && !self->broken; i++) {
        for (size_t j = 0; j < BATCH; j++) {
            batch[j] = any_message(self);
        }
        hf_status st = store->ops->decide(store, batch, BATCH, verdicts, &err);
        self->failures += hf_failed(st);
        self->broken = hf_failed(st) && st.code != HF_UNAVAILABLE;
        for (size_t j = 0; j < BATCH && !hf_failed(st); j++) {
            if (hf_verdict_allows(verdicts[j])) {
                keep(self, &batch[j]);
            }
        }
    }
    hf_str_cut(self->why, sizeof self->why, err.msg);
    if (store != NULL) {
        store->ops->close(store);
    }
    return NULL;
}

/* ---- Web3Signer's way: one message a transaction, under its lock -------------------------- */

static bool exec_ok(PGconn *conn, const char *sql, bool *ret_none)
{
    PGresult *result = PQexec(conn, sql);
    ExecStatusType state = PQresultStatus(result);
    bool ok = state == PGRES_COMMAND_OK || state == PGRES_TUPLES_OK;
    if (ok && ret_none != NULL) {
        *ret_none = PQntuples(result) == 0;
    }
    PQclear(result);
    return ok;
}

/* Votes only, and no repeats: what it records counts as signed. */
static bool peer_signs(PGconn *conn, const hf_message *vote)
{
    char sql[1024];
    bool none = false;
    unsigned v = vote->pubkey[0];
    unsigned long long s = vote->source;
    unsigned long long t = vote->target;
    bool ok = exec_ok(conn, "BEGIN ISOLATION LEVEL READ COMMITTED", NULL);
    (void)snprintf(sql, sizeof sql,
                   "SELECT pg_advisory_xact_lock(1, id) FROM validators"
                   " WHERE get_byte(public_key, 0) = %u",
                   v);
    ok = ok && exec_ok(conn, sql, NULL);
    (void)snprintf(sql, sizeof sql,
                   "SELECT 1 FROM signed_attestations a JOIN validators v ON v.id = a.validator_id"
                   " WHERE get_byte(public_key, 0) = %u AND (target_epoch = %llu"
                   " OR (source_epoch > %llu AND target_epoch < %llu)"
                   " OR (source_epoch < %llu AND target_epoch > %llu)) UNION ALL"
                   " SELECT 1 FROM low_watermarks w JOIN validators v ON v.id = w.validator_id"
                   " WHERE get_byte(public_key, 0) = %u AND (source_epoch > %llu"
                   " OR target_epoch >= %llu)",
                   v, t, s, t, s, t, v, s, t);
    ok = ok && exec_ok(conn, sql, &none);
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO signed_attestations(validator_id, source_epoch, target_epoch,"
                   " signing_root) SELECT id, %llu, %llu, decode(rpad('%02x', 64, '0'), 'hex')"
                   " FROM validators WHERE get_byte(public_key, 0) = %u RETURNING 1",
                   s, t, vote->signing_root[0], v);
    bool absent = true;
    ok = ok && none && exec_ok(conn, sql, &absent);
    bool committed = exec_ok(conn, ok ? "COMMIT" : "ROLLBACK", NULL);
    return ok && !absent && committed;
}

static void *run_peer(void *context)
{
    node *self = context;
    PGconn *conn = PQconnectdb(self->config.url);
    self->broken = PQstatus(conn) != CONNECTION_OK;
    while (!atomic_load(&over) && !self->broken && self->count < (size_t)BATCHES * BATCH) {
        hf_message message = any_message(self);
        if (message.kind == HF_MESSAGE_ATTESTATION && message.source <= message.target &&
            peer_signs(conn, &message)) {
            keep(self, &message);
        }
    }
    PQfinish(conn);
    return NULL;
}

/* ---- invariant ---------------------------------------------------------------------------- */

static bool is_slashable(const hf_message *a, const hf_message *b)
{
    if (a->kind != b->kind || a->pubkey[0] != b->pubkey[0]) {
        return false;
    }
    bool same_root = a->signing_root[0] == b->signing_root[0];
    if (a->kind == HF_MESSAGE_BLOCK) {
        return a->slot == b->slot && !same_root;
    }
    if (a->target == b->target) {
        return a->source != b->source || !same_root;
    }
    return (a->source < b->source && a->target > b->target) ||
           (a->source > b->source && a->target < b->target);
}

static void check_all(const node *nodes, size_t count)
{
    size_t pairs = 0;
    for (size_t n = 0; n < count; n++) {
        for (size_t i = 0; i < nodes[n].count; i++) {
            for (size_t m = n; m < count; m++) {
                for (size_t j = 0; j < nodes[m].count; j++) {
                    assert_false(is_slashable(&nodes[n].allowed[i], &nodes[m].allowed[j]));
                    pairs++;
                }
            }
        }
    }
    assert_true(pairs > 1000);
}

static void test_contention(void **state)
{
    (void)state;
    static pg_test test;
    static node nodes[NODES + 1];
    pg_test_init(&test);
    test.config.deadline_ms = 5000;
    pg_test_open(&test);
    for (uint8_t v = 1; v <= VALIDATORS; v++) {
        assert_int_equal(pg_test_decide(&test, test_vote(v, 0, 1, 1)), HF_VERDICT_ALLOW);
    }
    uint64_t seed = hf_time_mono_ns();
    print_message("seed %llu\n", (unsigned long long)seed);
    for (size_t i = 0; i <= NODES; i++) {
        nodes[i].config = test.config;
        nodes[i].random = (seed + i) * 2 + 1;
        nodes[i].allowed = calloc((size_t)BATCHES * BATCH, sizeof *nodes[i].allowed);
        assert_non_null(nodes[i].allowed);
        assert_int_equal(
            pthread_create(&nodes[i].thread, NULL, i < NODES ? run_holdfast : run_peer, &nodes[i]),
            0);
    }
    /* Holdfast's connections end now and then; the peer's does not, as it has no way back. */
    for (int i = 0; i < 10; i++) {
        (void)usleep(30000);
        pg_test_exec(&test, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                            " WHERE application_name = 'holdfast'"
                            " AND datname = current_database() ORDER BY random() LIMIT 1");
    }
    for (size_t i = 0; i <= NODES; i++) {
        atomic_store(&over, i >= NODES - 1);
        assert_int_equal(pthread_join(nodes[i].thread, NULL), 0);
        print_message("%s: %zu allowed, %zu failures\n", i < NODES ? "node" : "peer",
                      nodes[i].count, nodes[i].failures);
        if (nodes[i].broken) {
            fail_msg("node %zu: %s", i, nodes[i].why);
        }
    }
    check_all(nodes, NODES + 1);
    for (size_t i = 0; i <= NODES; i++) {
        free(nodes[i].allowed);
    }
    pg_test_done(&test);
}

/* ---- ten nodes start at once -------------------------------------------------------------- */

static void *run_opener(void *context)
{
    node *self = context;
    hf_error err = {0};
    hf_store *store = NULL;
    self->broken = hf_failed(hf_store_open_postgres(&self->config, &store, &err));
    if (!self->broken) {
        self->broken = hf_failed(store->ops->health(store, &err));
        store->ops->close(store);
    }
    hf_str_cut(self->why, sizeof self->why, err.msg);
    return NULL;
}

static void test_all_start_at_once(void **state)
{
    (void)state;
    static pg_test test;
    static node nodes[OPENERS];
    pg_test_init(&test);
    for (size_t i = 0; i < OPENERS; i++) {
        nodes[i].config = test.config;
        assert_int_equal(pthread_create(&nodes[i].thread, NULL, run_opener, &nodes[i]), 0);
    }
    for (size_t i = 0; i < OPENERS; i++) {
        assert_int_equal(pthread_join(nodes[i].thread, NULL), 0);
        if (nodes[i].broken) {
            fail_msg("node %zu: %s", i, nodes[i].why);
        }
    }
    assert_int_equal(pg_test_count(&test, "SELECT count(*) FROM metadata"), 1);
    assert_int_equal(pg_test_count(&test, "SELECT count(*) FROM database_version"), 1);
    pg_test_done(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contention),
        cmocka_unit_test(test_all_start_at_once),
    };
    return pg_test_is_possible() ? cmocka_run_group_tests_name("nodes", tests, NULL, NULL) : 77;
}
