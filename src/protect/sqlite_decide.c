/* decide: a batch of messages, one transaction, one commit. */
#include "protect/sqlite_internal.h"

/* Votes that one look-up in an irregular history reads at most; beyond, the doubt is a refusal. */
#define IRREGULAR_SCAN_MAX 4096

typedef struct lookup {
    hf_sqlite *store;
    const hf_validator *validator;
} lookup;

static bool same_root(sqlite3_stmt *statement, int column, const hf_message *message)
{
    return sqlite3_column_bytes(statement, column) == HF_ROOT_BYTES &&
           hf_bytes_equal(sqlite3_column_blob(statement, column), message->signing_root,
                          HF_ROOT_BYTES);
}

static hf_status block_at(void *context, const hf_message *message, hf_match *ret_match,
                          hf_error *err)
{
    lookup *look = context;
    bool row = false;
    sqlite3_stmt *statement = hf_sqlite_statement(look->store, HF_SQL_BLOCK_AT);
    hf_sqlite_bind(statement, 1, look->validator->id);
    hf_sqlite_bind(statement, 2, (int64_t)message->slot);
    hf_status st = hf_sqlite_step(look->store, statement, &row, err);
    if (!hf_failed(st)) {
        *ret_match = !row                              ? HF_MATCH_NONE
                     : same_root(statement, 0, message) ? HF_MATCH_IDENTICAL
                                                        : HF_MATCH_OTHER;
    }
    (void)sqlite3_reset(statement);
    return st;
}

static hf_status attestation_at(void *context, const hf_message *message, hf_match *ret_match,
                                hf_error *err)
{
    lookup *look = context;
    hf_match match = HF_MATCH_NONE;
    bool row = false;
    sqlite3_stmt *statement = hf_sqlite_statement(look->store, HF_SQL_ATTESTATION_AT);
    hf_sqlite_bind(statement, 1, look->validator->id);
    hf_sqlite_bind(statement, 2, (int64_t)message->target);
    hf_status st = hf_sqlite_step(look->store, statement, &row, err);
    if (!hf_failed(st) && row) {
        bool same = sqlite3_column_int64(statement, 0) == (int64_t)message->source &&
                    same_root(statement, 1, message);
        match = same ? HF_MATCH_IDENTICAL : HF_MATCH_OTHER;
        /* A second vote for the target, which only an import can bring, contradicts the first. */
        st = hf_sqlite_step(look->store, statement, &row, err);
        match = row ? HF_MATCH_OTHER : match;
    }
    (void)sqlite3_reset(statement);
    if (!hf_failed(st)) {
        *ret_match = match;
    }
    return st;
}

/* The extreme source among the votes next to message's target, on the side of the statement. */
static hf_status neighbour_source(lookup *look, hf_sql which, const hf_message *message,
                                  int64_t *ret_source, bool *ret_cut, hf_error *err)
{
    /* In a regular history the nearest vote has the extreme source of its whole side. */
    int64_t limit = look->validator->irregular ? IRREGULAR_SCAN_MAX : 1;
    sqlite3_stmt *statement = hf_sqlite_statement(look->store, which);
    hf_sqlite_bind(statement, 1, look->validator->id);
    hf_sqlite_bind(statement, 2, (int64_t)message->target);
    hf_sqlite_bind(statement, 3, limit);
    hf_status st = hf_sqlite_step(look->store, statement, NULL, err);
    if (!hf_failed(st)) {
        *ret_source = hf_sqlite_column_bound(statement, 0);
        *ret_cut = look->validator->irregular && sqlite3_column_int64(statement, 1) >= limit;
    }
    (void)sqlite3_reset(statement);
    return st;
}

static hf_status surround(void *context, const hf_message *message, hf_surround *ret_surround,
                          hf_error *err)
{
    lookup *look = context;
    int64_t source = (int64_t)message->source;
    int64_t before = HF_NONE;
    int64_t after = HF_NONE;
    bool before_cut = false;
    bool after_cut = false;
    hf_status st = neighbour_source(look, HF_SQL_GREATEST_SOURCE_BEFORE, message, &before,
                                    &before_cut, err);
    if (!hf_failed(st)) {
        st = neighbour_source(look, HF_SQL_LEAST_SOURCE_AFTER, message, &after, &after_cut, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    if (before > source) {
        *ret_surround = HF_SURROUND_SURROUNDS;
    } else if (after != HF_NONE && after < source) {
        *ret_surround = HF_SURROUND_SURROUNDED;
    } else if (before_cut) {
        *ret_surround = HF_SURROUND_SURROUNDS;
    } else {
        *ret_surround = after_cut ? HF_SURROUND_SURROUNDED : HF_SURROUND_NONE;
    }
    return hf_ok();
}

static const hf_history_ops history_ops = {block_at, attestation_at, surround};

/* ---- recording ---------------------------------------------------------------------------- */

/* Gives the validator its row, or its row the floors that the first message sets. */
static hf_status record_floors(hf_sqlite *store, hf_validator *validator, const hf_bounds *after,
                               hf_error *err)
{
    bool is_new = validator->id == 0;
    sqlite3_stmt *statement =
        hf_sqlite_statement(store, is_new ? HF_SQL_ADD_VALIDATOR : HF_SQL_SET_FLOORS);
    if (is_new) {
        (void)sqlite3_bind_blob(statement, 1, validator->pubkey, HF_BLS_PUBKEY_BYTES,
                                SQLITE_STATIC);
    } else {
        hf_sqlite_bind(statement, 1, validator->id);
    }
    hf_sqlite_bind_bound(statement, 2, after->floor_slot);
    hf_sqlite_bind_bound(statement, 3, after->floor_source);
    hf_sqlite_bind_bound(statement, 4, after->floor_target);
    hf_status st = hf_sqlite_run(store, statement, err);
    if (!hf_failed(st) && is_new) {
        validator->id = sqlite3_last_insert_rowid(store->db);
    }
    return st;
}

static hf_status record(hf_sqlite *store, hf_validator *validator, const hf_message *message,
                        hf_error *err)
{
    hf_bounds after = validator->now;
    hf_bounds_add(&after, message);
    if (validator->id == 0 || after.floor_slot != validator->now.floor_slot ||
        after.floor_target != validator->now.floor_target) {
        hf_status st = record_floors(store, validator, &after, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    sqlite3_stmt *statement;
    if (message->kind == HF_MESSAGE_BLOCK) {
        statement = hf_sqlite_statement(store, HF_SQL_ADD_BLOCK);
        hf_sqlite_bind(statement, 2, (int64_t)message->slot);
        (void)sqlite3_bind_blob(statement, 3, message->signing_root, HF_ROOT_BYTES, SQLITE_STATIC);
    } else {
        statement = hf_sqlite_statement(store, HF_SQL_ADD_ATTESTATION);
        hf_sqlite_bind(statement, 2, (int64_t)message->target);
        hf_sqlite_bind(statement, 3, (int64_t)message->source);
        (void)sqlite3_bind_blob(statement, 4, message->signing_root, HF_ROOT_BYTES, SQLITE_STATIC);
    }
    hf_sqlite_bind(statement, 1, validator->id);
    hf_status st = hf_sqlite_run(store, statement, err);
    if (!hf_failed(st)) {
        hf_cache_touch(&store->cache, validator);
        validator->now = after;
    }
    return st;
}

static hf_status decide_one(hf_sqlite *store, const hf_message *message, hf_verdict *ret_verdict,
                            hf_error *err)
{
    hf_validator *validator;
    hf_status st = hf_cache_get(store, message->pubkey, &validator, err);
    if (hf_failed(st)) {
        return st;
    }
    lookup look = {store, validator};
    hf_history history = {validator->now, &history_ops, &look};
    hf_verdict verdict;
    st = hf_rules_decide(message, &store->high, &history, &verdict, err);
    if (!hf_failed(st) && verdict == HF_VERDICT_ALLOW) {
        st = record(store, validator, message, err);
    }
    if (!hf_failed(st)) {
        *ret_verdict = verdict;
    }
    return st;
}

hf_status hf_sqlite_decide(hf_store *self, const hf_message *messages, size_t n,
                           hf_verdict *ret_verdicts, hf_error *err)
{
    hf_sqlite *store = (hf_sqlite *)self;
    hf_status st = hf_ok();
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        st = hf_rules_check(&messages[i], err);
    }
    if (hf_failed(st) || n == 0) {
        goto out;
    }
    st = hf_sqlite_begin(store, err);
    if (hf_failed(st)) {
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        st = decide_one(store, &messages[i], &ret_verdicts[i], err);
        if (hf_failed(st)) {
            hf_sqlite_abandon(store, st);
            goto out;
        }
    }
    st = hf_sqlite_commit(store, err);
out:
    if (hf_failed(st)) {
        /* Nothing here may be taken for a permission. */
        for (size_t i = 0; i < n; i++) {
            ret_verdicts[i] = HF_VERDICT_COUNT;
        }
    }
    return st;
}
