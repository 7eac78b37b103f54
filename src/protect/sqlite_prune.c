/*
 * prune: removes old records in small steps, each one transaction of a few milliseconds.
 *
 * What is removed stays protected: the floors rise to the highest removed slot, source and target,
 * and everything at or below them is refused. The newest record of each kind always stays.
 */
#include "protect/sqlite_internal.h"

/* One step looks at so many validators or votes and removes so many records at most. */
#define STEP_VALIDATORS 256
#define STEP_ROWS 256

typedef struct prune_step {
    hf_sqlite *store;
    int64_t keep_epochs;
    int64_t keep_slots;
    hf_prune_cursor cursor;
    int64_t room; /* records that may still be removed in this step */
    uint64_t deleted;
    bool end; /* of the round */
} prune_step;

static void raise_to(int64_t *floor, int64_t value)
{
    *floor = value > *floor ? value : *floor;
}

static hf_status run_delete(prune_step *step, hf_sql which, int64_t first, int64_t second,
                            hf_error *err)
{
    sqlite3_stmt *statement = hf_sqlite_statement(step->store, which);
    hf_sqlite_bind(statement, 1, first);
    hf_sqlite_bind(statement, 2, second);
    hf_status st = hf_sqlite_run(step->store, statement, err);
    int64_t count = sqlite3_changes64(step->store->db);
    if (!hf_failed(st)) {
        step->deleted += (uint64_t)count;
        step->room = count < step->room ? step->room - count : 0;
    }
    return st;
}

/* Writes the floors of every validator that the step has touched. */
static hf_status write_floors(prune_step *step, hf_error *err)
{
    const hf_validator_cache *cache = &step->store->cache;
    for (uint32_t next = cache->touched; next != 0; next = cache->entries[next - 1].next_touched) {
        const hf_validator *validator = &cache->entries[next - 1];
        sqlite3_stmt *statement = hf_sqlite_statement(step->store, HF_SQL_SET_FLOORS);
        hf_sqlite_bind(statement, 1, validator->id);
        hf_sqlite_bind_bound(statement, 2, validator->now.floor_slot);
        hf_sqlite_bind_bound(statement, 3, validator->now.floor_source);
        hf_sqlite_bind_bound(statement, 4, validator->now.floor_target);
        hf_status st = hf_sqlite_run(step->store, statement, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    return hf_ok();
}

/* ---- votes, in the order of the table ----------------------------------------------------- */

/* All votes of one validator for one target. */
typedef struct vote_row {
    int64_t target;
    int64_t validator;
    int64_t source; /* the highest */
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
} vote_row;

static hf_status read_votes(prune_step *step, vote_row *rows, size_t *ret_count, hf_error *err)
{
    size_t count = 0;
    bool found = false;
    sqlite3_stmt *statement = hf_sqlite_statement(step->store, HF_SQL_PRUNE_VOTES);
    hf_sqlite_bind(statement, 1, step->cursor.target);
    hf_sqlite_bind(statement, 2, step->cursor.validator);
    hf_sqlite_bind(statement, 3, step->keep_epochs);
    hf_sqlite_bind(statement, 4, STEP_ROWS);
    hf_status st = hf_sqlite_step(step->store, statement, &found, err);
    while (!hf_failed(st) && found && count < STEP_ROWS) {
        const void *pubkey = sqlite3_column_blob(statement, 3);
        if (pubkey == NULL || sqlite3_column_bytes(statement, 3) != HF_BLS_PUBKEY_BYTES) {
            st = hf_fail(err, HF_CORRUPT, "votes of a validator that is not there");
            break;
        }
        rows[count].target = sqlite3_column_int64(statement, 0);
        rows[count].validator = sqlite3_column_int64(statement, 1);
        rows[count].source = sqlite3_column_int64(statement, 2);
        memcpy(rows[count].pubkey, pubkey, HF_BLS_PUBKEY_BYTES);
        count++;
        st = hf_sqlite_step(step->store, statement, &found, err);
    }
    (void)sqlite3_reset(statement);
    *ret_count = count;
    return st;
}

static hf_status prune_vote(prune_step *step, const vote_row *row, hf_error *err)
{
    hf_validator *validator;
    hf_status st = hf_cache_get(step->store, row->pubkey, &validator, err);
    if (hf_failed(st) || row->target >= validator->now.max_target - step->keep_epochs) {
        return st;
    }
    hf_cache_touch(&step->store->cache, validator);
    raise_to(&validator->now.floor_target, row->target);
    raise_to(&validator->now.floor_source, row->source);
    return run_delete(step, HF_SQL_PRUNE_VOTE, row->target, row->validator, err);
}

static hf_status prune_votes(prune_step *step, hf_error *err)
{
    size_t count = 0;
    vote_row *rows = calloc(STEP_ROWS, sizeof *rows);
    if (rows == NULL) {
        return hf_fail(err, HF_NOMEM, "pruning: out of memory");
    }
    hf_status st = read_votes(step, rows, &count, err);
    for (size_t i = 0; i < count && !hf_failed(st); i++) {
        st = prune_vote(step, &rows[i], err);
        step->cursor.target = rows[i].target;
        step->cursor.validator = rows[i].validator;
    }
    if (count < STEP_ROWS) {
        step->cursor = (hf_prune_cursor){.in_blocks = true};
    }
    free(rows);
    return st;
}

/* ---- blocks, validator by validator ------------------------------------------------------- */

typedef struct block_row {
    int64_t id;
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    int64_t min_slot;
    int64_t max_slot;
} block_row;

static hf_status next_validator(prune_step *step, block_row *ret_row, bool *ret_found,
                                hf_error *err)
{
    bool found = false;
    sqlite3_stmt *statement = hf_sqlite_statement(step->store, HF_SQL_PRUNE_VALIDATOR);
    hf_sqlite_bind(statement, 1, step->cursor.validator);
    hf_status st = hf_sqlite_step(step->store, statement, &found, err);
    if (!hf_failed(st) && found) {
        const void *pubkey = sqlite3_column_blob(statement, 1);
        if (pubkey == NULL || sqlite3_column_bytes(statement, 1) != HF_BLS_PUBKEY_BYTES) {
            st = hf_fail(err, HF_CORRUPT, "a validator without public key");
        } else {
            ret_row->id = sqlite3_column_int64(statement, 0);
            memcpy(ret_row->pubkey, pubkey, HF_BLS_PUBKEY_BYTES);
            ret_row->min_slot = hf_sqlite_column_bound(statement, 2);
            ret_row->max_slot = hf_sqlite_column_bound(statement, 3);
        }
    }
    (void)sqlite3_reset(statement);
    *ret_found = found;
    return st;
}

/* The last slot of the oldest blocks below the cutoff, as many as there is room for. */
static hf_status find_end(prune_step *step, int64_t id, int64_t cutoff, int64_t *ret_slot,
                          hf_error *err)
{
    sqlite3_stmt *statement = hf_sqlite_statement(step->store, HF_SQL_PRUNE_BLOCKS_END);
    hf_sqlite_bind(statement, 1, id);
    hf_sqlite_bind(statement, 2, cutoff);
    hf_sqlite_bind(statement, 3, step->room);
    hf_status st = hf_sqlite_step(step->store, statement, NULL, err);
    if (!hf_failed(st)) {
        *ret_slot = hf_sqlite_column_bound(statement, 0);
    }
    (void)sqlite3_reset(statement);
    return st;
}

static hf_status prune_validator(prune_step *step, const block_row *row, hf_error *err)
{
    hf_validator *validator;
    int64_t slot = HF_NONE;
    int64_t cutoff = row->max_slot - step->keep_slots;
    if (row->min_slot == HF_NONE || row->min_slot >= cutoff) {
        return hf_ok();
    }
    hf_status st = find_end(step, row->id, cutoff, &slot, err);
    if (hf_failed(st) || slot == HF_NONE) {
        return st;
    }
    st = hf_cache_get(step->store, row->pubkey, &validator, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_cache_touch(&step->store->cache, validator);
    raise_to(&validator->now.floor_slot, slot);
    return run_delete(step, HF_SQL_PRUNE_BLOCKS, row->id, slot, err);
}

static hf_status prune_blocks(prune_step *step, hf_error *err)
{
    for (int i = 0; i < STEP_VALIDATORS && step->room > 0; i++) {
        block_row row;
        hf_status st = next_validator(step, &row, &step->end, err);
        step->end = !step->end;
        if (hf_failed(st) || step->end) {
            return st;
        }
        st = prune_validator(step, &row, err);
        if (hf_failed(st)) {
            return st;
        }
        /* Out of room, this validator may have more: the next step begins with it again. */
        step->cursor.validator = step->room > 0 ? row.id : step->cursor.validator;
    }
    return hf_ok();
}

/* ---- one step ----------------------------------------------------------------------------- */

static int64_t keep_slots_of(uint64_t keep_epochs, uint64_t slots_per_epoch)
{
    return keep_epochs > HF_PROTECT_MAX_NUMBER / slots_per_epoch
               ? INT64_MAX
               : (int64_t)(keep_epochs * slots_per_epoch);
}

hf_status hf_sqlite_prune(hf_store *self, uint64_t keep_epochs, uint64_t slots_per_epoch,
                          hf_prune_report *ret_report, hf_error *err)
{
    hf_sqlite *store = (hf_sqlite *)self;
    HF_ASSERT(slots_per_epoch > 0);
    if (keep_epochs == 0 || keep_epochs > HF_PROTECT_MAX_NUMBER) {
        *ret_report = (hf_prune_report){0};
        return hf_ok();
    }
    prune_step step = {.store = store,
                       .keep_epochs = (int64_t)keep_epochs,
                       .keep_slots = keep_slots_of(keep_epochs, slots_per_epoch),
                       .cursor = store->prune,
                       .room = STEP_ROWS};
    hf_status st = hf_sqlite_begin(store, err);
    if (hf_failed(st)) {
        return st;
    }
    st = step.cursor.in_blocks ? prune_blocks(&step, err) : prune_votes(&step, err);
    if (!hf_failed(st)) {
        st = write_floors(&step, err);
    }
    if (hf_failed(st)) {
        hf_sqlite_abandon(store, st);
        return st;
    }
    st = hf_sqlite_commit(store, err);
    if (hf_failed(st)) {
        return st;
    }
    const hf_prune_cursor start = {0};
    store->prune = step.end ? start : step.cursor;
    *ret_report = (hf_prune_report){step.deleted, !step.end};
    return hf_ok();
}
