/*
 * prune: removes old records in small steps, each one transaction of a few milliseconds.
 *
 * What is removed stays protected: the floors rise to the highest removed slot, source and target,
 * and everything at or below them is refused. The newest record of each kind always stays.
 */
#include "protect/sqlite_internal.h"

/* One step looks at so many validators and removes so many records at most. */
#define STEP_VALIDATORS 256
#define STEP_ROWS 256

typedef struct prune_step {
    hf_sqlite *store;
    uint64_t keep_epochs;
    uint64_t slots_per_epoch;
    int64_t room; /* records that may still be removed in this step */
    uint64_t deleted;
} prune_step;

typedef struct prune_row {
    int64_t id;
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    int64_t min_slot;
    int64_t max_slot;
    int64_t min_target;
    int64_t max_target;
} prune_row;

/* The first number that is kept. */
static int64_t cutoff_of(int64_t newest, uint64_t keep)
{
    return newest == HF_NONE || (uint64_t)newest < keep ? 0 : newest - (int64_t)keep;
}

static hf_status next_row(hf_sqlite *store, prune_row *ret_row, bool *ret_found, hf_error *err)
{
    bool found = false;
    sqlite3_stmt *statement = hf_sqlite_statement(store, HF_SQL_PRUNE_VALIDATOR);
    hf_sqlite_bind(statement, 1, store->prune_cursor);
    hf_status st = hf_sqlite_step(store, statement, &found, err);
    if (!hf_failed(st) && found) {
        ret_row->id = sqlite3_column_int64(statement, 0);
        const void *pubkey = sqlite3_column_blob(statement, 1);
        if (pubkey == NULL || sqlite3_column_bytes(statement, 1) != HF_BLS_PUBKEY_BYTES) {
            st = hf_fail(err, HF_CORRUPT, "a validator without public key");
        } else {
            memcpy(ret_row->pubkey, pubkey, HF_BLS_PUBKEY_BYTES);
            ret_row->min_slot = hf_sqlite_column_bound(statement, 2);
            ret_row->max_slot = hf_sqlite_column_bound(statement, 3);
            ret_row->min_target = hf_sqlite_column_bound(statement, 4);
            ret_row->max_target = hf_sqlite_column_bound(statement, 5);
        }
    }
    (void)sqlite3_reset(statement);
    *ret_found = found;
    return st;
}

/* The ends of the oldest records below the cutoff, as many as there is room for. */
static hf_status find_end(prune_step *step, hf_sql which, int64_t id, int64_t cutoff,
                          int64_t *ret_first, int64_t *ret_second, hf_error *err)
{
    sqlite3_stmt *statement = hf_sqlite_statement(step->store, which);
    hf_sqlite_bind(statement, 1, id);
    hf_sqlite_bind(statement, 2, cutoff);
    hf_sqlite_bind(statement, 3, step->room);
    hf_status st = hf_sqlite_step(step->store, statement, NULL, err);
    if (!hf_failed(st)) {
        *ret_first = hf_sqlite_column_bound(statement, 0);
        *ret_second = hf_sqlite_column_bound(statement, 1);
    }
    (void)sqlite3_reset(statement);
    return st;
}

static hf_status delete_to(prune_step *step, hf_sql which, int64_t id, int64_t first,
                           int64_t second, hf_error *err)
{
    sqlite3_stmt *statement = hf_sqlite_statement(step->store, which);
    hf_sqlite_bind(statement, 1, id);
    hf_sqlite_bind(statement, 2, first);
    if (which == HF_SQL_PRUNE_ATTESTATIONS) {
        hf_sqlite_bind(statement, 3, second);
    }
    hf_status st = hf_sqlite_run(step->store, statement, err);
    int64_t count = sqlite3_changes64(step->store->db);
    if (!hf_failed(st)) {
        step->deleted += (uint64_t)count;
        step->room = count < step->room ? step->room - count : 0;
    }
    return st;
}

static hf_status set_floors(prune_step *step, hf_validator *validator, hf_error *err)
{
    sqlite3_stmt *statement = hf_sqlite_statement(step->store, HF_SQL_SET_FLOORS);
    hf_sqlite_bind(statement, 1, validator->id);
    hf_sqlite_bind_bound(statement, 2, validator->now.floor_slot);
    hf_sqlite_bind_bound(statement, 3, validator->now.floor_source);
    hf_sqlite_bind_bound(statement, 4, validator->now.floor_target);
    hf_cache_touch(&step->store->cache, validator);
    return hf_sqlite_run(step->store, statement, err);
}

static void raise_to(int64_t *floor, int64_t value)
{
    *floor = value > *floor ? value : *floor;
}

static hf_status prune_blocks(prune_step *step, const prune_row *row, int64_t cutoff, hf_error *err)
{
    int64_t slot = HF_NONE;
    int64_t count = 0;
    hf_validator *validator;
    hf_status st =
        find_end(step, HF_SQL_PRUNE_BLOCKS_END, row->id, cutoff, &slot, &count, err);
    if (hf_failed(st) || slot == HF_NONE) {
        return st;
    }
    st = hf_cache_get(step->store, row->pubkey, &validator, err);
    if (hf_failed(st)) {
        return st;
    }
    raise_to(&validator->now.floor_slot, slot);
    st = set_floors(step, validator, err);
    if (!hf_failed(st)) {
        st = delete_to(step, HF_SQL_PRUNE_BLOCKS, row->id, slot, 0, err);
    }
    return st;
}

static hf_status prune_attestations(prune_step *step, const prune_row *row, int64_t cutoff,
                                    hf_error *err)
{
    int64_t target = HF_NONE;
    int64_t source = HF_NONE;
    hf_validator *validator;
    hf_status st = find_end(step, HF_SQL_PRUNE_ATTESTATIONS_END, row->id, cutoff, &target, &source,
                            err);
    if (hf_failed(st) || target == HF_NONE) {
        return st;
    }
    st = hf_cache_get(step->store, row->pubkey, &validator, err);
    if (hf_failed(st)) {
        return st;
    }
    raise_to(&validator->now.floor_target, target);
    raise_to(&validator->now.floor_source, source);
    st = set_floors(step, validator, err);
    if (!hf_failed(st)) {
        st = delete_to(step, HF_SQL_PRUNE_ATTESTATIONS, row->id, target, source, err);
    }
    return st;
}

static hf_status prune_validator(prune_step *step, const prune_row *row, hf_error *err)
{
    uint64_t keep_slots = step->keep_epochs > HF_PROTECT_MAX_NUMBER / step->slots_per_epoch
                              ? HF_PROTECT_MAX_NUMBER
                              : step->keep_epochs * step->slots_per_epoch;
    int64_t first_slot = cutoff_of(row->max_slot, keep_slots);
    int64_t first_target = cutoff_of(row->max_target, step->keep_epochs);
    hf_status st = hf_ok();
    if (row->min_slot != HF_NONE && row->min_slot < first_slot) {
        st = prune_blocks(step, row, first_slot, err);
    }
    if (!hf_failed(st) && step->room > 0 && row->min_target != HF_NONE &&
        row->min_target < first_target) {
        st = prune_attestations(step, row, first_target, err);
    }
    return st;
}

/* Works through validators from the cursor on; *ret_end: there was no further one. */
static hf_status prune_some(prune_step *step, bool *ret_end, hf_error *err)
{
    for (int i = 0; i < STEP_VALIDATORS; i++) {
        prune_row row;
        bool found;
        hf_status st = next_row(step->store, &row, &found, err);
        if (hf_failed(st)) {
            return st;
        }
        if (!found) {
            *ret_end = true;
            return hf_ok();
        }
        st = prune_validator(step, &row, err);
        if (hf_failed(st)) {
            return st;
        }
        if (step->room == 0) {
            /* This validator may have more: the next step begins with it again. */
            return hf_ok();
        }
        step->store->prune_cursor = row.id;
    }
    return hf_ok();
}

hf_status hf_sqlite_prune(hf_store *self, uint64_t keep_epochs, uint64_t slots_per_epoch,
                          hf_prune_report *ret_report, hf_error *err)
{
    hf_sqlite *store = (hf_sqlite *)self;
    HF_ASSERT(slots_per_epoch > 0);
    if (keep_epochs == 0) {
        *ret_report = (hf_prune_report){0};
        return hf_ok();
    }
    prune_step step = {store, keep_epochs, slots_per_epoch, STEP_ROWS, 0};
    bool end = false;
    hf_status st = hf_sqlite_begin(store, err);
    if (hf_failed(st)) {
        return st;
    }
    st = prune_some(&step, &end, err);
    if (hf_failed(st)) {
        hf_sqlite_abandon(store, st);
        return st;
    }
    st = hf_sqlite_commit(store, err);
    if (hf_failed(st)) {
        return st;
    }
    if (end) {
        store->prune_cursor = 0;
    }
    *ret_report = (hf_prune_report){step.deleted, !end};
    return hf_ok();
}
