/* Validators by public key: their ids on this connection, and what was durable on any before. */
#include "protect/postgres_internal.h"

#define FIRST_CAPACITY 64

static hf_status reserve_one(hf_pg_cache *cache, hf_error *err)
{
    if (cache->index.count < cache->capacity) {
        return hf_ok();
    }
    uint32_t capacity = cache->capacity == 0 ? FIRST_CAPACITY : cache->capacity * 2;
    hf_pg_validator *entries = realloc(cache->entries, capacity * sizeof *entries);
    if (entries == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    cache->entries = entries;
    cache->capacity = capacity;
    return hf_ok();
}

hf_status hf_pg_cache_get(hf_pg_cache *cache, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES],
                          uint32_t *ret_index, hf_error *err)
{
    uint32_t number = hf_pubkey_index_find(&cache->index, pubkey);
    if (number == cache->index.count) {
        hf_status st = reserve_one(cache, err);
        if (hf_failed(st)) {
            return st;
        }
        st = hf_pubkey_index_add(&cache->index, pubkey);
        if (hf_failed(st)) {
            return hf_fail(err, st.code, "out of memory");
        }
        cache->entries[number] = (hf_pg_validator){.durable = {HF_NONE, HF_NONE}};
    }
    *ret_index = number;
    return hf_ok();
}

void hf_pg_cache_expire(hf_pg_cache *cache)
{
    for (uint32_t i = 0; i < cache->index.count; i++) {
        cache->entries[i].id = 0;
        cache->entries[i].has_floor[HF_MESSAGE_BLOCK] = false;
        cache->entries[i].has_floor[HF_MESSAGE_ATTESTATION] = false;
    }
}

void hf_pg_cache_done(hf_pg_cache *cache)
{
    free(cache->entries);
    hf_pubkey_index_done(&cache->index);
    *cache = (hf_pg_cache){0};
}
