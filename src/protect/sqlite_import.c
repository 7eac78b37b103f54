/*
 * import: records are staged in tables of their own and join the history in one transaction.
 *
 * Nothing is turned away for being slashable: whatever somebody signed must hold back what is
 * signed from now on. Where two records contradict each other about one message, its root becomes
 * NULL, which no message equals.
 */
#include "protect/sqlite_internal.h"

/* Staged validators with their rows in the history. */
#define STAGED_TO_KNOWN "staged_validators s JOIN validators v ON v.pubkey = s.pubkey"
#define TOUCHED "SELECT v.id FROM " STAGED_TO_KNOWN

/* The merge, in order. Each statement works on the whole import. */
static const char *const merge_steps[] = {
    "INSERT INTO validators(pubkey) SELECT pubkey FROM staged_validators WHERE true"
    " ON CONFLICT DO NOTHING",

    /* Mark what contradicts the store before both are one. */
    "UPDATE staged_blocks SET conflict = 1 FROM " STAGED_TO_KNOWN
    " JOIN blocks b ON b.validator_id = v.id"
    " WHERE s.id = staged_blocks.validator_id AND b.slot = staged_blocks.slot"
    " AND b.signing_root IS NOT staged_blocks.signing_root",
    "UPDATE staged_attestations SET conflict = 1 FROM " STAGED_TO_KNOWN
    " JOIN attestations a ON a.validator_id = v.id"
    " WHERE s.id = staged_attestations.validator_id"
    " AND a.target_epoch = staged_attestations.target_epoch"
    " AND a.source_epoch = staged_attestations.source_epoch"
    " AND a.signing_root IS NOT staged_attestations.signing_root",

    "INSERT INTO blocks SELECT v.id, b.slot, b.signing_root FROM staged_blocks b"
    " JOIN staged_validators s ON s.id = b.validator_id JOIN validators v ON v.pubkey = s.pubkey"
    " WHERE true ON CONFLICT DO UPDATE SET signing_root = NULL"
    " WHERE signing_root IS NOT excluded.signing_root",
    "INSERT INTO attestations SELECT v.id, a.target_epoch, a.source_epoch, a.signing_root"
    " FROM staged_attestations a"
    " JOIN staged_validators s ON s.id = a.validator_id JOIN validators v ON v.pubkey = s.pubkey"
    " WHERE true ON CONFLICT DO UPDATE SET signing_root = NULL"
    " WHERE signing_root IS NOT excluded.signing_root",

    /* Floors that stand are never lowered: older records add knowledge, not permission. */
    "UPDATE validators SET floor_slot ="
    " (SELECT min(slot) FROM staged_blocks WHERE validator_id = s.id)"
    " FROM staged_validators s WHERE s.pubkey = validators.pubkey AND floor_slot IS NULL",
    "UPDATE validators SET"
    " floor_source = (SELECT min(source_epoch) FROM staged_attestations WHERE validator_id = s.id),"
    " floor_target = (SELECT min(target_epoch) FROM staged_attestations WHERE validator_id = s.id)"
    " FROM staged_validators s WHERE s.pubkey = validators.pubkey AND floor_target IS NULL",

    /* In order of targets the sources never fall, unless votes surround each other. */
    "UPDATE validators SET irregular = 1 WHERE id IN (SELECT validator_id FROM ("
    "  SELECT validator_id, source_epoch AS source, lag(source_epoch) OVER ("
    "    PARTITION BY validator_id ORDER BY target_epoch, source_epoch) AS before"
    "  FROM attestations WHERE validator_id IN (" TOUCHED ")) WHERE source < before)",

    /* Two votes for one target. */
    "UPDATE staged_attestations SET conflict = 1 FROM " STAGED_TO_KNOWN
    " JOIN attestations a ON a.validator_id = v.id"
    " WHERE s.id = staged_attestations.validator_id"
    " AND a.target_epoch = staged_attestations.target_epoch"
    " AND a.source_epoch <> staged_attestations.source_epoch",

    /* Votes that surround or are surrounded. */
    "UPDATE staged_attestations SET conflict = 1 FROM (SELECT s.id AS staged_id, w.* FROM ("
    "  SELECT validator_id AS known_id, target_epoch AS target, source_epoch AS source,"
    "    max(source_epoch) OVER (PARTITION BY validator_id ORDER BY target_epoch"
    "      GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before,"
    "    min(source_epoch) OVER (PARTITION BY validator_id ORDER BY target_epoch"
    "      GROUPS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS after"
    "  FROM attestations WHERE validator_id IN ("
    "    SELECT v.id FROM " STAGED_TO_KNOWN " WHERE v.irregular = 1)) w"
    " JOIN validators v ON v.id = w.known_id JOIN staged_validators s ON s.pubkey = v.pubkey"
    " WHERE w.source < w.before OR w.source > w.after) x"
    " WHERE x.staged_id = staged_attestations.validator_id"
    " AND x.target = staged_attestations.target_epoch"
    " AND x.source = staged_attestations.source_epoch",
};

#define REPORT_SQL                                                                                 \
    "SELECT (SELECT count(*) FROM staged_validators), (SELECT count(*) FROM staged_blocks),"      \
    " (SELECT count(*) FROM staged_attestations),"                                                 \
    " (SELECT count(*) FROM staged_blocks WHERE conflict = 1)"                                     \
    " + (SELECT count(*) FROM staged_attestations WHERE conflict = 1)"

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

/* ---- merging ------------------------------------------------------------------------------ */

static hf_status read_report(hf_sqlite *store, hf_import_report *ret_report, hf_error *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(store->db, REPORT_SQL, -1, &statement, NULL);
    hf_status st = rc == SQLITE_OK ? hf_sqlite_step(store, statement, NULL, err)
                                   : hf_sqlite_fail(store->db, rc, "import", err);
    if (!hf_failed(st)) {
        *ret_report = (hf_import_report){(uint64_t)sqlite3_column_int64(statement, 0),
                                         (uint64_t)sqlite3_column_int64(statement, 1),
                                         (uint64_t)sqlite3_column_int64(statement, 2),
                                         (uint64_t)sqlite3_column_int64(statement, 3)};
    }
    (void)sqlite3_finalize(statement);
    return st;
}

static hf_status merge(hf_sqlite *store, hf_import_report *ret_report, hf_error *err)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(merge_steps); i++) {
        hf_status st = hf_sqlite_exec(store->db, merge_steps[i], "import", err);
        if (hf_failed(st)) {
            return st;
        }
    }
    hf_status st = read_report(store, ret_report, err);
    if (!hf_failed(st)) {
        st = clear_staged(store, err);
    }
    return st;
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
    st = store->import_open ? merge(store, &report, err) : refuse_closed(err);
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
