/* Validators by public key: their ids on this connection, and what was durable on any before. */
#include "protect/postgres_internal.h"

#define FIRST_CAPACITY 64

static uint32_t find_slot(const hf_pg_cache *cache, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES])
{
    /* A public key is as good as random; nobody but the operator chooses which ones there are. */
    uint32_t slot = (uint32_t)hf_le64_get(pubkey + 8) & (cache->slot_count - 1);
    while (cache->slots[slot] != 0 && !hf_bytes_equal(cache->entries[cache->slots[slot] - 1].pubkey,
                                                      pubkey, HF_BLS_PUBKEY_BYTES)) {
        slot = (slot + 1) & (cache->slot_count - 1);
    }
    return slot;
}

static hf_status grow(hf_pg_cache *cache, hf_error *err)
{
    uint32_t capacity = cache->capacity == 0 ? FIRST_CAPACITY : cache->capacity * 2;
    hf_pg_validator *entries = realloc(cache->entries, capacity * sizeof *entries);
    if (entries != NULL) {
        cache->entries = entries;
    }
    uint32_t *slots = calloc((size_t)capacity * 2, sizeof *slots);
    if (entries == NULL || slots == NULL) {
        free(slots);
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    free(cache->slots);
    cache->slots = slots;
    cache->capacity = capacity;
    cache->slot_count = capacity * 2;
    for (uint32_t i = 0; i < cache->count; i++) {
        cache->slots[find_slot(cache, cache->entries[i].pubkey)] = i + 1;
    }
    return hf_ok();
}

hf_status hf_pg_cache_get(hf_pg_cache *cache, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES],
                          uint32_t *ret_index, hf_error *err)
{
    if (cache->count == cache->capacity) {
        hf_status st = grow(cache, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    uint32_t slot = find_slot(cache, pubkey);
    if (cache->slots[slot] == 0) {
        hf_pg_validator *entry = &cache->entries[cache->count];
        *entry = (hf_pg_validator){.durable = {HF_NONE, HF_NONE}};
        memcpy(entry->pubkey, pubkey, HF_BLS_PUBKEY_BYTES);
        cache->slots[slot] = ++cache->count;
    }
    *ret_index = cache->slots[slot] - 1;
    return hf_ok();
}

void hf_pg_cache_expire(hf_pg_cache *cache)
{
    for (uint32_t i = 0; i < cache->count; i++) {
        cache->entries[i].id = 0;
        cache->entries[i].has_floor[HF_MESSAGE_BLOCK] = false;
        cache->entries[i].has_floor[HF_MESSAGE_ATTESTATION] = false;
    }
}

void hf_pg_cache_done(hf_pg_cache *cache)
{
    free(cache->entries);
    free(cache->slots);
    *cache = (hf_pg_cache){0};
}
