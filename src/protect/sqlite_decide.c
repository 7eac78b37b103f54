/* decide: a batch of messages, one transaction, one commit. */
#include "protect/sqlite_internal.h"

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
        hf_sqlite_count(store, message);
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
    hf_lookup look = {store, validator};
    hf_history history = {validator->now, !validator->irregular, &hf_sqlite_history, &look};
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
