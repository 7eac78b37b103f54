/* The ends of each validator's history in memory: loaded when first asked for. */
#include "protect/sqlite_internal.h"

#define FIRST_ENTRIES 64

static bool reserve_one(hf_validator_cache *cache)
{
    if (cache->index.count < cache->capacity) {
        return true;
    }
    uint32_t capacity = cache->capacity == 0 ? FIRST_ENTRIES : cache->capacity * 2;
    hf_validator *entries = realloc(cache->entries, capacity * sizeof *entries);
    if (entries == NULL) {
        return false;
    }
    cache->entries = entries;
    cache->capacity = capacity;
    return true;
}

static hf_validator *find_or_add(hf_validator_cache *cache, const uint8_t *pubkey)
{
    uint32_t number = hf_pubkey_index_find(&cache->index, pubkey);
    if (number < cache->index.count) {
        return &cache->entries[number];
    }
    if (!reserve_one(cache) || hf_failed(hf_pubkey_index_add(&cache->index, pubkey))) {
        return NULL;
    }
    hf_validator *validator = &cache->entries[number];
    *validator = (hf_validator){.now = hf_bounds_none, .durable = hf_bounds_none};
    memcpy(validator->pubkey, pubkey, HF_BLS_PUBKEY_BYTES);
    return validator;
}

/* ---- loading ------------------------------------------------------------------------------ */

static hf_status load_row(hf_sqlite *store, hf_validator *validator, int64_t *ret_irregular,
                          hf_error *err)
{
    bool row = false;
    sqlite3_stmt *statement = hf_sqlite_statement(store, HF_SQL_VALIDATOR);
    (void)sqlite3_bind_blob(statement, 1, validator->pubkey, HF_BLS_PUBKEY_BYTES, SQLITE_STATIC);
    hf_status st = hf_sqlite_step(store, statement, &row, err);
    validator->now = hf_bounds_none;
    validator->id = 0;
    validator->irregular = false;
    if (!hf_failed(st) && row) {
        validator->id = sqlite3_column_int64(statement, 0);
        validator->now.floor_slot = hf_sqlite_column_bound(statement, 1);
        validator->now.floor_source = hf_sqlite_column_bound(statement, 2);
        validator->now.floor_target = hf_sqlite_column_bound(statement, 3);
        *ret_irregular = hf_sqlite_column_bound(statement, 4);
        validator->irregular = *ret_irregular != HF_NONE;
    }
    (void)sqlite3_reset(statement);
    return st;
}

static hf_status load_max_slot(hf_sqlite *store, hf_validator *validator, hf_error *err)
{
    sqlite3_stmt *statement = hf_sqlite_statement(store, HF_SQL_MAX_BLOCK);
    hf_sqlite_bind(statement, 1, validator->id);
    hf_status st = hf_sqlite_step(store, statement, NULL, err);
    if (!hf_failed(st)) {
        validator->now.max_slot = hf_sqlite_column_bound(statement, 0);
    }
    (void)sqlite3_reset(statement);
    return st;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Does the history that was just read reach as far as what was durable before? */
static bool reaches(const hf_bounds *now, const hf_bounds *durable)
{
    return larger(now->max_slot, now->floor_slot) >= durable->max_slot &&
           larger(now->max_source, now->floor_source) >= durable->max_source &&
           larger(now->max_target, now->floor_target) >= durable->max_target &&
           now->floor_slot >= durable->floor_slot && now->floor_source >= durable->floor_source &&
           now->floor_target >= durable->floor_target;
}

static hf_status load(hf_sqlite *store, hf_validator *validator, hf_error *err)
{
    hf_bounds *now = &validator->now;
    int64_t irregular = HF_NONE;
    hf_status st = load_row(store, validator, &irregular, err);
    if (!hf_failed(st) && now->floor_slot != HF_NONE) {
        st = load_max_slot(store, validator, err);
    }
    if (!hf_failed(st) && now->floor_target != HF_NONE) {
        st = hf_sqlite_last_vote(store, validator, &now->max_source, &now->max_target, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    now->floor_slot = larger(now->floor_slot, store->least.floor_slot);
    now->floor_source = larger(now->floor_source, store->least.floor_source);
    now->floor_target = larger(now->floor_target, store->least.floor_target);
    /* What was allowed since the import beyond the last vote has a higher source; nothing else. */
    now->max_source = larger(now->max_source, irregular);
    if (!reaches(now, &validator->durable)) {
        char key[2 * HF_BLS_PUBKEY_BYTES + 1];
        hf_hex_encode(validator->pubkey, HF_BLS_PUBKEY_BYTES, key);
        return hf_fail(err, HF_CORRUPT,
                       "the database lost records of 0x%.16s...: an older copy was put in place",
                       key);
    }
    validator->durable = *now;
    validator->fresh = true;
    return hf_ok();
}

/* ---- public ------------------------------------------------------------------------------- */

void hf_cache_done(hf_validator_cache *cache)
{
    free(cache->entries);
    hf_pubkey_index_done(&cache->index);
    *cache = (hf_validator_cache){0};
}

hf_status hf_cache_get(hf_sqlite *store, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES],
                       hf_validator **ret_validator, hf_error *err)
{
    hf_validator *validator = find_or_add(&store->cache, pubkey);
    if (validator == NULL) {
        return hf_fail(err, HF_NOMEM, "slashing protection: out of memory");
    }
    if (!validator->fresh) {
        hf_status st = load(store, validator, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    *ret_validator = validator;
    return hf_ok();
}

hf_status hf_cache_prove(hf_sqlite *store, hf_error *err)
{
    for (uint32_t i = 0; i < store->cache.index.count; i++) {
        if (!store->cache.entries[i].fresh) {
            hf_status st = load(store, &store->cache.entries[i], err);
            if (hf_failed(st)) {
                return st;
            }
        }
    }
    return hf_ok();
}

void hf_cache_touch(hf_validator_cache *cache, hf_validator *validator)
{
    if (!validator->touched) {
        validator->touched = true;
        validator->next_touched = cache->touched;
        cache->touched = (uint32_t)(validator - cache->entries) + 1;
    }
}

void hf_cache_settle(hf_validator_cache *cache)
{
    uint32_t next = cache->touched;
    while (next != 0) {
        hf_validator *validator = &cache->entries[next - 1];
        validator->durable = validator->now;
        validator->touched = false;
        next = validator->next_touched;
    }
    cache->touched = 0;
}

void hf_cache_expire(hf_validator_cache *cache)
{
    for (uint32_t i = 0; i < cache->index.count; i++) {
        cache->entries[i].fresh = false;
        cache->entries[i].touched = false;
    }
    cache->touched = 0;
}
