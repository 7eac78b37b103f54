/*
 * What an import has staged joins the history.
 *
 * Every staged vote is compared with what was known: with the bounds of its validator first, which
 * settles all that is newer, and by a look-up otherwise. A record that is new but lies under a
 * floor comes in without root: what was signed and pruned there is not known any more, so it must
 * not be signed only because somebody says that it was.
 */
#include "protect/sqlite_internal.h"

/* Staged validators with their rows in the history. */
#define KNOWN "staged_validators s JOIN validators v ON v.pubkey = s.pubkey"

static const char *const add_validators =
    "INSERT INTO validators(pubkey) SELECT pubkey FROM staged_validators WHERE true"
    " ON CONFLICT DO NOTHING";

static const char *const merge_steps[] = {
    /* Blocks of which two sources say different things. (Votes: dispute_root.) */
    "UPDATE staged_blocks SET conflict = 1 FROM " KNOWN " JOIN blocks b ON b.validator_id = v.id"
    " WHERE s.id = staged_blocks.validator_id AND b.slot = staged_blocks.slot"
    " AND b.signing_root NOT NULL AND b.signing_root IS NOT staged_blocks.signing_root",
    "UPDATE blocks SET signing_root = NULL FROM staged_blocks b"
    " JOIN staged_validators s ON s.id = b.validator_id JOIN validators v ON v.pubkey = s.pubkey"
    " WHERE blocks.validator_id = v.id AND blocks.slot = b.slot"
    " AND blocks.signing_root IS NOT b.signing_root",

    /* What is new; a comparison with a floor that is not there is not true. */
    "INSERT INTO blocks SELECT v.id, b.slot,"
    " CASE WHEN b.slot <= v.floor_slot THEN NULL ELSE b.signing_root END FROM staged_blocks b"
    " JOIN staged_validators s ON s.id = b.validator_id JOIN validators v ON v.pubkey = s.pubkey"
    " WHERE true ON CONFLICT DO NOTHING",
    "INSERT INTO attestations SELECT v.id, a.target_epoch, a.source_epoch,"
    " CASE WHEN a.target_epoch <= v.floor_target OR a.source_epoch < v.floor_source"
    " THEN NULL ELSE a.signing_root END FROM staged_attestations a"
    " JOIN staged_validators s ON s.id = a.validator_id JOIN validators v ON v.pubkey = s.pubkey"
    " WHERE true ON CONFLICT DO NOTHING",

    /* Floors that stand are never lowered: older records add knowledge, not permission. */
    "UPDATE validators SET floor_slot = f.slot FROM staged_validators s JOIN"
    " (SELECT validator_id, min(slot) AS slot FROM staged_blocks GROUP BY validator_id) f"
    " ON f.validator_id = s.id WHERE s.pubkey = validators.pubkey AND floor_slot IS NULL",
    "UPDATE validators SET floor_source = f.source, floor_target = f.target"
    " FROM staged_validators s JOIN (SELECT validator_id, min(source_epoch) AS source,"
    "  min(target_epoch) AS target FROM staged_attestations GROUP BY validator_id) f"
    " ON f.validator_id = s.id WHERE s.pubkey = validators.pubkey AND floor_target IS NULL",
    HF_SQLITE_RAISE_TO_BASE,
};

#define REPORT_SQL                                                                                 \
    "SELECT (SELECT count(*) FROM staged_validators), (SELECT count(*) FROM staged_blocks),"       \
    " (SELECT count(*) FROM staged_attestations),"                                                 \
    " (SELECT count(*) FROM staged_blocks WHERE conflict = 1)"                                     \
    " + (SELECT count(*) FROM staged_attestations WHERE conflict = 1)"
#define STAGED_VOTES_SQL                                                                           \
    "SELECT a.target_epoch, a.validator_id, a.source_epoch, s.pubkey, a.signing_root"              \
    " FROM staged_attestations a JOIN staged_validators s ON s.id = a.validator_id"                \
    " ORDER BY a.target_epoch, a.validator_id, a.source_epoch"

/* ---- comparing ---------------------------------------------------------------------------- */

/* What the import says of one validator, up to the vote that is compared. */
typedef struct staged_state {
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    int64_t target; /* of the last vote */
    int64_t below;  /* highest source of the votes with a lower target */
    int64_t source; /* highest source of all */
    bool irregular; /* some vote surrounds another */
} staged_state;

typedef struct comparison {
    hf_sqlite *store;
    staged_state *states; /* by staged id - 1 */
    size_t count;
    hf_lookup look; /* of the vote under way */
} comparison;

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Does the vote contradict one of the same import? They come in rising order of targets. */
static bool contradicts_import(staged_state *state, const hf_message *vote)
{
    int64_t source = (int64_t)vote->source;
    bool same_target = state->target == (int64_t)vote->target;
    if (!same_target) {
        state->below = state->source;
    }
    bool surrounds = source < state->below;
    state->target = (int64_t)vote->target;
    state->source = larger(state->source, source);
    state->irregular = state->irregular || surrounds;
    return same_target || surrounds;
}

/* The same vote is on record: with another root, neither of them counts from now on. */
static hf_status dispute_root(comparison *all, const hf_validator *validator,
                              const hf_message *vote, bool *ret_conflict, hf_error *err)
{
    sqlite3_stmt *statement = hf_sqlite_statement(all->store, HF_SQL_DISPUTE_ROOT);
    hf_sqlite_bind(statement, 1, (int64_t)vote->target);
    hf_sqlite_bind(statement, 2, validator->id);
    hf_sqlite_bind(statement, 3, (int64_t)vote->source);
    if (vote->has_root) {
        (void)sqlite3_bind_blob(statement, 4, vote->signing_root, HF_ROOT_BYTES, SQLITE_STATIC);
    } else {
        (void)sqlite3_bind_null(statement, 4);
    }
    hf_status st = hf_sqlite_run(all->store, statement, err);
    *ret_conflict = !hf_failed(st) && sqlite3_changes64(all->store->db) > 0;
    return st;
}

/* Compares with votes that are not older than this one. */
static hf_status compare_older(comparison *all, const hf_validator *validator,
                               const hf_message *vote, hf_surround *ret_surround,
                               bool *ret_conflict, hf_error *err)
{
    int64_t source = (int64_t)vote->source;
    int64_t least;
    int64_t greatest;
    bool disputed = false;
    hf_status st = hf_sqlite_sources_at(all->store, validator->id, (int64_t)vote->target, &least,
                                        &greatest, err);
    if (hf_failed(st)) {
        return st;
    }
    if (least <= source && source <= greatest) {
        st = dispute_root(all, validator, vote, &disputed, err);
    }
    bool is_only = least == source && greatest == source;
    if (!hf_failed(st) && !is_only) {
        all->look = (hf_lookup){all->store, validator};
        st = hf_sqlite_history.surround(&all->look, vote, ret_surround, err);
    }
    *ret_conflict = disputed || (least != HF_NONE && !is_only);
    return st;
}

/* Does it contradict a vote of the store? */
static hf_status compare_store(comparison *all, staged_state *state, const hf_message *vote,
                               bool *ret_conflict, hf_error *err)
{
    hf_validator *validator;
    bool conflict = false;
    hf_surround surround = HF_SURROUND_NONE;
    hf_status st = hf_cache_get(all->store, vote->pubkey, &validator, err);
    if (hf_failed(st)) {
        return st;
    }
    if ((int64_t)vote->target <= validator->now.max_target) {
        st = compare_older(all, validator, vote, &surround, &conflict, err);
    } else if ((int64_t)vote->source < validator->now.max_source) {
        surround = HF_SURROUND_SURROUNDS;
    }
    state->irregular = state->irregular || surround != HF_SURROUND_NONE;
    *ret_conflict = conflict || surround != HF_SURROUND_NONE;
    return st;
}

static hf_status mark_conflict(hf_sqlite *store, int64_t staged_id, const hf_message *vote,
                               hf_error *err)
{
    sqlite3_stmt *statement = hf_sqlite_statement(store, HF_SQL_MARK_CONFLICT);
    hf_sqlite_bind(statement, 1, (int64_t)vote->target);
    hf_sqlite_bind(statement, 2, staged_id);
    hf_sqlite_bind(statement, 3, (int64_t)vote->source);
    return hf_sqlite_run(store, statement, err);
}

static hf_status compare_vote(comparison *all, sqlite3_stmt *row, hf_error *err)
{
    hf_message vote = {.kind = HF_MESSAGE_ATTESTATION};
    int64_t staged_id = sqlite3_column_int64(row, 1);
    const void *pubkey = sqlite3_column_blob(row, 3);
    bool conflict = false;
    if (staged_id < 1 || (size_t)staged_id > all->count || pubkey == NULL ||
        sqlite3_column_bytes(row, 3) != HF_BLS_PUBKEY_BYTES) {
        return hf_fail(err, HF_CORRUPT, "import: what was staged is damaged");
    }
    memcpy(vote.pubkey, pubkey, HF_BLS_PUBKEY_BYTES);
    vote.target = (uint64_t)sqlite3_column_int64(row, 0);
    vote.source = (uint64_t)sqlite3_column_int64(row, 2);
    vote.has_root = sqlite3_column_bytes(row, 4) == HF_ROOT_BYTES;
    if (vote.has_root) {
        memcpy(vote.signing_root, sqlite3_column_blob(row, 4), HF_ROOT_BYTES);
    }
    staged_state *state = &all->states[staged_id - 1];
    memcpy(state->pubkey, vote.pubkey, HF_BLS_PUBKEY_BYTES);
    bool within = contradicts_import(state, &vote);
    hf_status st = compare_store(all, state, &vote, &conflict, err);
    if (!hf_failed(st) && (within || conflict)) {
        st = mark_conflict(all->store, staged_id, &vote, err);
    }
    return st;
}

/* From now on look-ups for this validator go through all of its votes. */
static hf_status set_irregular(comparison *all, const staged_state *state, hf_error *err)
{
    hf_validator *validator;
    hf_status st = hf_cache_get(all->store, state->pubkey, &validator, err);
    if (hf_failed(st)) {
        return st;
    }
    sqlite3_stmt *statement = hf_sqlite_statement(all->store, HF_SQL_SET_IRREGULAR);
    (void)sqlite3_bind_blob(statement, 1, state->pubkey, HF_BLS_PUBKEY_BYTES, SQLITE_STATIC);
    hf_sqlite_bind(statement, 2, larger(state->source, validator->now.max_source));
    return hf_sqlite_run(all->store, statement, err);
}

static hf_status compare_votes(comparison *all, hf_error *err)
{
    sqlite3_stmt *row = NULL;
    bool found = false;
    int rc = sqlite3_prepare_v2(all->store->db, STAGED_VOTES_SQL, -1, &row, NULL);
    hf_status st = rc == SQLITE_OK ? hf_sqlite_step(all->store, row, &found, err)
                                   : hf_sqlite_fail(all->store->db, rc, "import", err);
    while (!hf_failed(st) && found) {
        st = compare_vote(all, row, err);
        if (!hf_failed(st)) {
            st = hf_sqlite_step(all->store, row, &found, err);
        }
    }
    (void)sqlite3_finalize(row);
    for (size_t i = 0; i < all->count && !hf_failed(st); i++) {
        if (all->states[i].irregular) {
            st = set_irregular(all, &all->states[i], err);
        }
    }
    return st;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static hf_status query_numbers(hf_sqlite *store, const char *sql, int count, uint64_t *ret_numbers,
                               hf_error *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
    hf_status st = rc == SQLITE_OK ? hf_sqlite_step(store, statement, NULL, err)
                                   : hf_sqlite_fail(store->db, rc, "import", err);
    for (int i = 0; i < count && !hf_failed(st); i++) {
        ret_numbers[i] = (uint64_t)sqlite3_column_int64(statement, i);
    }
    (void)sqlite3_finalize(statement);
    return st;
}

static hf_status compare(hf_sqlite *store, hf_error *err)
{
    uint64_t count = 0;
    hf_status st = query_numbers(store, "SELECT max(id) FROM staged_validators", 1, &count, err);
    if (hf_failed(st) || count == 0) {
        return st;
    }
    comparison all = {.store = store, .states = calloc(count, sizeof *all.states), .count = count};
    if (all.states == NULL) {
        return hf_fail(err, HF_NOMEM, "import: out of memory");
    }
    for (size_t i = 0; i < all.count; i++) {
        all.states[i].target = HF_NONE;
        all.states[i].below = HF_NONE;
        all.states[i].source = HF_NONE;
    }
    st = compare_votes(&all, err);
    free(all.states);
    return st;
}

hf_status hf_sqlite_merge(hf_sqlite *store, hf_import_report *ret_report, hf_error *err)
{
    uint64_t numbers[4] = {0};
    hf_status st = hf_sqlite_exec(store->db, add_validators, "import", err);
    if (!hf_failed(st)) {
        st = compare(store, err);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(merge_steps) && !hf_failed(st); i++) {
        st = hf_sqlite_exec(store->db, merge_steps[i], "import", err);
    }
    if (!hf_failed(st)) {
        st = query_numbers(store, REPORT_SQL, 4, numbers, err);
    }
    if (!hf_failed(st)) {
        *ret_report = (hf_import_report){numbers[0], numbers[1], numbers[2], numbers[3]};
    }
    return st;
}
