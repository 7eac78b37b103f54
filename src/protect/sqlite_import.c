/*
 * import: records are staged in tables of their own and join the history in one transaction.
 *
 * Nothing is turned away for being slashable: whatever somebody signed must hold back what is
 * signed from now on. Where two records contradict each other about one message, its root becomes
 * NULL, which no message equals.
 */
#include "protect/sqlite_internal.h"

#define CLEAR_SQL                                                                                  \
    "DELETE FROM staged_blocks; DELETE FROM staged_attestations; DELETE FROM staged_validators;"

static hf_status refuse_closed(hf_error *err)
{
    return hf_fail(err, HF_CONFLICT, "no import is open, or it was cut off: begin again");
}

/* ---- staging ------------------------------------------------------------------------------ */

static hf_status stage_validator(hf_sqlite *store, const uint8_t *pubkey, int64_t *ret_id,
                                 hf_error *err)
{
    bool row = false;
    sqlite3_stmt *add = hf_sqlite_statement(store, HF_SQL_STAGE_VALIDATOR);
    (void)sqlite3_bind_blob(add, 1, pubkey, HF_BLS_PUBKEY_BYTES, SQLITE_STATIC);
    hf_status st = hf_sqlite_run(store, add, err);
    if (hf_failed(st)) {
        return st;
    }
    sqlite3_stmt *find = hf_sqlite_statement(store, HF_SQL_STAGED_VALIDATOR);
    (void)sqlite3_bind_blob(find, 1, pubkey, HF_BLS_PUBKEY_BYTES, SQLITE_STATIC);
    st = hf_sqlite_step(store, find, &row, err);
    if (!hf_failed(st)) {
        *ret_id = sqlite3_column_int64(find, 0);
    }
    (void)sqlite3_reset(find);
    return st;
}

static hf_status stage_one(hf_sqlite *store, int64_t id, const hf_message *message, hf_error *err)
{
    int root_index = 3;
    sqlite3_stmt *statement;
    if (message->kind == HF_MESSAGE_BLOCK) {
        statement = hf_sqlite_statement(store, HF_SQL_STAGE_BLOCK);
        hf_sqlite_bind(statement, 2, (int64_t)message->slot);
    } else {
        statement = hf_sqlite_statement(store, HF_SQL_STAGE_ATTESTATION);
        hf_sqlite_bind(statement, 2, (int64_t)message->target);
        hf_sqlite_bind(statement, 3, (int64_t)message->source);
        root_index = 4;
    }
    hf_sqlite_bind(statement, 1, id);
    if (message->has_root) {
        (void)sqlite3_bind_blob(statement, root_index, message->signing_root, HF_ROOT_BYTES,
                                SQLITE_STATIC);
    } else {
        (void)sqlite3_bind_null(statement, root_index);
    }
    return hf_sqlite_run(store, statement, err);
}

static hf_status stage_all(hf_sqlite *store, const hf_message *messages, size_t n, hf_error *err)
{
    const uint8_t *last = NULL;
    int64_t id = 0;
    for (size_t i = 0; i < n; i++) {
        if (last == NULL || !hf_bytes_equal(last, messages[i].pubkey, HF_BLS_PUBKEY_BYTES)) {
            hf_status st = stage_validator(store, messages[i].pubkey, &id, err);
            if (hf_failed(st)) {
                return st;
            }
            last = messages[i].pubkey;
        }
        hf_status st = stage_one(store, id, &messages[i], err);
        if (hf_failed(st)) {
            return st;
        }
    }
    return hf_ok();
}

static hf_status clear_staged(hf_sqlite *store, hf_error *err)
{
    return hf_sqlite_exec(store->db, CLEAR_SQL, "import", err);
}

/* ---- operations --------------------------------------------------------------------------- */

hf_status hf_sqlite_import_begin(hf_store *self, hf_error *err)
{
    hf_sqlite *store = (hf_sqlite *)self;
    if (store->import_open) {
        return hf_fail(err, HF_CONFLICT, "another import is under way");
    }
    hf_status st = hf_sqlite_begin(store, err);
    if (hf_failed(st)) {
        return st;
    }
    st = clear_staged(store, err);
    if (hf_failed(st)) {
        hf_sqlite_abandon(store, st);
        return st;
    }
    st = hf_sqlite_commit(store, err);
    store->import_open = !hf_failed(st);
    return st;
}

/* What is staged may be lost with the power; the merge is what has to be durable. */
static void set_durable(hf_sqlite *store, bool durable)
{
    const char *sql = durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL";
    if (store->db != NULL && sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        /* A new connection begins with FULL. */
        hf_sqlite_disconnect(store, false);
    }
}

static hf_status stage_page(hf_sqlite *store, const hf_message *messages, size_t n, hf_error *err)
{
    hf_status st = hf_sqlite_begin(store, err);
    if (hf_failed(st)) {
        return st;
    }
    /* A connection that was opened anew has dropped what was staged. */
    st = store->import_open ? stage_all(store, messages, n, err) : refuse_closed(err);
    if (hf_failed(st)) {
        hf_sqlite_abandon(store, st);
        return st;
    }
    return hf_sqlite_commit(store, err);
}

hf_status hf_sqlite_import_add(hf_store *self, const hf_message *messages, size_t n, hf_error *err)
{
    hf_sqlite *store = (hf_sqlite *)self;
    if (!store->import_open) {
        return refuse_closed(err);
    }
    for (size_t i = 0; i < n; i++) {
        hf_status st = hf_rules_check_record(&messages[i], err);
        if (hf_failed(st)) {
            return st;
        }
    }
    set_durable(store, false);
    hf_status st = stage_page(store, messages, n, err);
    set_durable(store, true);
    return st;
}

hf_status hf_sqlite_import_commit(hf_store *self, hf_import_report *ret_report, hf_error *err)
{
    hf_sqlite *store = (hf_sqlite *)self;
    hf_import_report report;
    if (!store->import_open) {
        return refuse_closed(err);
    }
    hf_status st = hf_sqlite_begin(store, err);
    if (hf_failed(st)) {
        return st;
    }
    st = store->import_open ? hf_sqlite_merge(store, &report, err) : refuse_closed(err);
    if (!hf_failed(st)) {
        st = clear_staged(store, err);
    }
    if (!hf_failed(st)) {
        st = hf_sqlite_count_change(store, err);
    }
    hf_cache_expire(&store->cache);
    if (hf_failed(st)) {
        hf_sqlite_abandon(store, st);
        return st;
    }
    st = hf_sqlite_commit(store, err);
    if (hf_failed(st)) {
        return st;
    }
    store->import_open = false;
    *ret_report = report;
    return hf_ok();
}

void hf_sqlite_import_abort(hf_store *self)
{
    hf_sqlite *store = (hf_sqlite *)self;
    if (!store->import_open) {
        return;
    }
    store->import_open = false;
    /* What cannot be cleared now is cleared by the next begin. */
    hf_status st = hf_sqlite_begin(store, NULL);
    if (hf_failed(st)) {
        return;
    }
    st = clear_staged(store, NULL);
    if (hf_failed(st)) {
        hf_sqlite_abandon(store, st);
        return;
    }
    st = hf_sqlite_commit(store, NULL);
    (void)hf_failed(st);
}
