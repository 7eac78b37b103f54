/*
 * export: one snapshot over a read-only connection of its own.
 *
 * EIP-3076 knows no floors; whoever imports takes the least slot, source and target as such. So a
 * floor that no record stands at becomes a record without root, and what lies under a floor is
 * left out, because it would lower the importer's: nothing under it can be signed anyway. Only
 * where votes lie across a floor (after an import of contradictory data, or a repair) does the
 * exported floor rise until it covers them, which makes the importer stricter, never laxer.
 */
#include "protect/sqlite_internal.h"

#define VALIDATORS_SQL                                                                             \
    "SELECT id, pubkey, floor_slot, floor_source, floor_target FROM validators ORDER BY id"
#define VALIDATOR_SQL                                                                              \
    "SELECT id, pubkey, floor_slot, floor_source, floor_target FROM validators WHERE pubkey = ?1"
#define BLOCKS_SQL                                                                                 \
    "SELECT slot, signing_root FROM blocks WHERE validator_id = ?1 AND slot >= ?2 ORDER BY slot"
/* Votes are keyed by target: one look-up a target, which is far fewer than all rows. The targets
 * come in rising order, and so do the votes. */
#define EACH_TARGET(least)                                                                         \
    "WITH RECURSIVE each(target) AS ("                                                             \
    " SELECT min(target_epoch) FROM attestations WHERE target_epoch >= " least " UNION ALL"        \
    " SELECT (SELECT min(target_epoch) FROM attestations WHERE target_epoch > each.target)"        \
    " FROM each WHERE each.target IS NOT NULL)"
#define FROM_VOTES                                                                                 \
    " FROM each CROSS JOIN attestations ON target_epoch = each.target AND validator_id = ?1"
#define ATTESTATIONS_SQL                                                                           \
    EACH_TARGET("?2")                                                                              \
    " SELECT source_epoch, target_epoch, signing_root" FROM_VOTES " WHERE source_epoch >= ?3"
/* The floors that votes lying across them ask for; and what the votes above reach down to. */
#define VOTE_ENDS_SQL                                                                              \
    EACH_TARGET("0")                                                                               \
    " SELECT max(source_epoch) FILTER (WHERE target_epoch < ?2),"                                  \
    " max(target_epoch) FILTER (WHERE source_epoch < ?3),"                                         \
    " min(target_epoch) FILTER (WHERE target_epoch >= ?2 AND source_epoch >= ?3),"                 \
    " min(source_epoch) FILTER (WHERE target_epoch >= ?2 AND source_epoch >= ?3)" FROM_VOTES
#define BLOCK_FLOOR_SQL "SELECT 1 FROM blocks WHERE validator_id = ?1 AND slot = ?2"

typedef enum export_sql {
    EXPORT_VALIDATORS,
    EXPORT_VALIDATOR,
    EXPORT_BLOCKS,
    EXPORT_ATTESTATIONS,
    EXPORT_VOTE_ENDS,
    EXPORT_BLOCK_FLOOR,
    EXPORT_META,
    EXPORT_SQL_COUNT
} export_sql;

static const char *const export_text[EXPORT_SQL_COUNT] = {
    [EXPORT_VALIDATORS] = VALIDATORS_SQL,
    [EXPORT_VALIDATOR] = VALIDATOR_SQL,
    [EXPORT_BLOCKS] = BLOCKS_SQL,
    [EXPORT_ATTESTATIONS] = ATTESTATIONS_SQL,
    [EXPORT_VOTE_ENDS] = VOTE_ENDS_SQL,
    [EXPORT_BLOCK_FLOOR] = BLOCK_FLOOR_SQL,
    [EXPORT_META] = "SELECT genesis_validators_root FROM meta",
};

typedef struct exporter {
    sqlite3 *db;
    sqlite3_stmt *statements[EXPORT_SQL_COUNT];
    hf_export_visitor visitor;
    void *context;
} exporter;

typedef struct export_row {
    int64_t id;
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    int64_t floor_slot;
    int64_t floor_source;
    int64_t floor_target;
    bool votes_reach; /* the exported votes reach down to both floors by themselves */
} export_row;

static hf_status step(exporter *out, sqlite3_stmt *statement, bool *ret_row, hf_error *err)
{
    int rc = sqlite3_step(statement);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        return hf_sqlite_fail(out->db, rc, "export", err);
    }
    *ret_row = rc == SQLITE_ROW;
    return hf_ok();
}

/* Steps a statement with up to three numbers bound, once. The caller resets it. */
static hf_status query(exporter *out, export_sql which, int64_t a, int64_t b, int64_t c,
                       bool *ret_row, hf_error *err)
{
    sqlite3_stmt *statement = out->statements[which];
    const int64_t values[] = {a, b, c};
    int count = sqlite3_bind_parameter_count(statement);
    for (int i = 0; i < count && i < (int)HF_ARRAY_LEN(values); i++) {
        hf_sqlite_bind(statement, i + 1, values[i]);
    }
    return step(out, statement, ret_row, err);
}

static hf_status visit(exporter *out, const hf_message *message, hf_error *err)
{
    hf_status st = out->visitor(out->context, message);
    return hf_failed(st) ? hf_fail(err, st.code, "export: the receiver gave up") : st;
}

static void take_root(hf_message *message, sqlite3_stmt *statement, int column)
{
    message->has_root = sqlite3_column_bytes(statement, column) == HF_ROOT_BYTES;
    if (message->has_root) {
        memcpy(message->signing_root, sqlite3_column_blob(statement, column), HF_ROOT_BYTES);
    }
}

static hf_message message_of(const export_row *row, hf_message_kind kind)
{
    hf_message message = {.kind = (uint32_t)kind};
    memcpy(message.pubkey, row->pubkey, HF_BLS_PUBKEY_BYTES);
    return message;
}

/* ---- floors ------------------------------------------------------------------------------- */

/* Raises the row's vote floors until no record lies across them. */
static hf_status cover_votes(exporter *out, export_row *row, hf_error *err)
{
    sqlite3_stmt *statement = out->statements[EXPORT_VOTE_ENDS];
    bool raised = row->floor_target != HF_NONE;
    while (raised) {
        bool found = false;
        hf_status st = query(out, EXPORT_VOTE_ENDS, row->id, row->floor_target, row->floor_source,
                             &found, err);
        int64_t source = hf_sqlite_column_bound(statement, 0);
        int64_t target = hf_sqlite_column_bound(statement, 1);
        row->votes_reach = hf_sqlite_column_bound(statement, 2) == row->floor_target &&
                           hf_sqlite_column_bound(statement, 3) == row->floor_source;
        (void)sqlite3_reset(statement);
        if (hf_failed(st)) {
            return st;
        }
        raised = source > row->floor_source || target > row->floor_target;
        row->floor_source = source > row->floor_source ? source : row->floor_source;
        row->floor_target = target > row->floor_target ? target : row->floor_target;
    }
    return hf_ok();
}

static hf_status export_block_floor(exporter *out, const export_row *row, hf_error *err)
{
    bool stands = false;
    if (row->floor_slot == HF_NONE) {
        return hf_ok();
    }
    hf_status st = query(out, EXPORT_BLOCK_FLOOR, row->id, row->floor_slot, 0, &stands, err);
    (void)sqlite3_reset(out->statements[EXPORT_BLOCK_FLOOR]);
    if (hf_failed(st) || stands) {
        return st;
    }
    hf_message message = message_of(row, HF_MESSAGE_BLOCK);
    message.slot = (uint64_t)row->floor_slot;
    return visit(out, &message, err);
}

static hf_status export_vote_floor(exporter *out, const export_row *row, hf_error *err)
{
    if (row->floor_target == HF_NONE || row->votes_reach) {
        return hf_ok();
    }
    hf_message message = message_of(row, HF_MESSAGE_ATTESTATION);
    message.source = (uint64_t)row->floor_source;
    message.target = (uint64_t)row->floor_target;
    return visit(out, &message, err);
}

/* ---- records ------------------------------------------------------------------------------ */

static hf_status export_records(exporter *out, const export_row *row, hf_message_kind kind,
                                hf_error *err)
{
    bool is_block = kind == HF_MESSAGE_BLOCK;
    export_sql which = is_block ? EXPORT_BLOCKS : EXPORT_ATTESTATIONS;
    sqlite3_stmt *statement = out->statements[which];
    bool found = false;
    hf_status st = query(out, which, row->id, is_block ? row->floor_slot : row->floor_target,
                         row->floor_source, &found, err);
    while (!hf_failed(st) && found) {
        hf_message message = message_of(row, kind);
        if (is_block) {
            message.slot = (uint64_t)sqlite3_column_int64(statement, 0);
        } else {
            message.source = (uint64_t)sqlite3_column_int64(statement, 0);
            message.target = (uint64_t)sqlite3_column_int64(statement, 1);
        }
        take_root(&message, statement, is_block ? 1 : 2);
        st = visit(out, &message, err);
        if (!hf_failed(st)) {
            st = step(out, statement, &found, err);
        }
    }
    (void)sqlite3_reset(statement);
    return st;
}

static hf_status export_validator(exporter *out, sqlite3_stmt *statement, hf_error *err)
{
    export_row row = {.id = sqlite3_column_int64(statement, 0)};
    const void *pubkey = sqlite3_column_blob(statement, 1);
    if (pubkey == NULL || sqlite3_column_bytes(statement, 1) != HF_BLS_PUBKEY_BYTES) {
        return hf_fail(err, HF_CORRUPT, "a validator without public key");
    }
    memcpy(row.pubkey, pubkey, HF_BLS_PUBKEY_BYTES);
    row.floor_slot = hf_sqlite_column_bound(statement, 2);
    row.floor_source = hf_sqlite_column_bound(statement, 3);
    row.floor_target = hf_sqlite_column_bound(statement, 4);
    hf_status st = cover_votes(out, &row, err);
    if (!hf_failed(st)) {
        st = export_block_floor(out, &row, err);
    }
    if (!hf_failed(st)) {
        st = export_vote_floor(out, &row, err);
    }
    for (int kind = HF_MESSAGE_BLOCK; kind <= HF_MESSAGE_ATTESTATION && !hf_failed(st); kind++) {
        st = export_records(out, &row, (hf_message_kind)kind, err);
    }
    return st;
}

static hf_status export_all(exporter *out, hf_error *err)
{
    sqlite3_stmt *statement = out->statements[EXPORT_VALIDATORS];
    bool found = false;
    hf_status st = step(out, statement, &found, err);
    while (!hf_failed(st) && found) {
        st = export_validator(out, statement, err);
        if (!hf_failed(st)) {
            st = step(out, statement, &found, err);
        }
    }
    (void)sqlite3_reset(statement);
    return st;
}

static hf_status export_some(exporter *out, const uint8_t (*only)[HF_BLS_PUBKEY_BYTES],
                             size_t only_count, hf_error *err)
{
    sqlite3_stmt *statement = out->statements[EXPORT_VALIDATOR];
    for (size_t i = 0; i < only_count; i++) {
        bool found = false;
        (void)sqlite3_bind_blob(statement, 1, only[i], HF_BLS_PUBKEY_BYTES, SQLITE_STATIC);
        hf_status st = step(out, statement, &found, err);
        if (!hf_failed(st) && found) {
            st = export_validator(out, statement, err);
        }
        (void)sqlite3_reset(statement);
        if (hf_failed(st)) {
            return st;
        }
    }
    return hf_ok();
}

/* ---- connection --------------------------------------------------------------------------- */

static hf_status check_root(exporter *out, const hf_sqlite_config *config, hf_error *err)
{
    sqlite3_stmt *statement = out->statements[EXPORT_META];
    bool found = false;
    hf_status st = step(out, statement, &found, err);
    if (!hf_failed(st) && (!found || sqlite3_column_bytes(statement, 0) != HF_ROOT_BYTES)) {
        st = hf_fail(err, HF_CORRUPT, "%s: the description is missing", config->path);
    } else if (!hf_failed(st) && !hf_bytes_equal(sqlite3_column_blob(statement, 0),
                                                 config->genesis_validators_root, HF_ROOT_BYTES)) {
        st = hf_fail(err, HF_CONFLICT, "%s belongs to another network (genesis validators root)",
                     config->path);
    }
    (void)sqlite3_reset(statement);
    return st;
}

static hf_status open_exporter(exporter *out, const hf_sqlite_config *config, hf_error *err)
{
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2(config->path, &out->db, flags, NULL);
    if (rc != SQLITE_OK) {
        return hf_sqlite_fail(out->db, rc, config->path, err);
    }
    hf_status st = hf_sqlite_configure(out->db, config->busy_timeout_ms, err);
    if (!hf_failed(st)) {
        st = hf_sqlite_exec(out->db,
                            "PRAGMA mmap_size = 0; PRAGMA cache_size = -1024;"
                            "PRAGMA temp_store = MEMORY; PRAGMA query_only = 1; BEGIN",
                            config->path, err);
    }
    for (size_t i = 0; i < EXPORT_SQL_COUNT && !hf_failed(st); i++) {
        rc = sqlite3_prepare_v2(out->db, export_text[i], -1, &out->statements[i], NULL);
        if (rc != SQLITE_OK) {
            st = hf_sqlite_fail(out->db, rc, config->path, err);
        }
    }
    return hf_failed(st) ? st : check_root(out, config, err);
}

hf_status hf_store_export_sqlite(const hf_sqlite_config *config,
                                 const uint8_t (*only)[HF_BLS_PUBKEY_BYTES], size_t only_count,
                                 hf_export_visitor visitor, void *context, hf_error *err)
{
    exporter out = {.visitor = visitor, .context = context};
    hf_status st = open_exporter(&out, config, err);
    if (!hf_failed(st)) {
        st = only == NULL ? export_all(&out, err) : export_some(&out, only, only_count, err);
    }
    for (size_t i = 0; i < EXPORT_SQL_COUNT; i++) {
        (void)sqlite3_finalize(out.statements[i]);
    }
    int rc = sqlite3_close(out.db);
    HF_ASSERT(rc == SQLITE_OK);
    return st;
}
