/* Public keys by number: a hash table with open addressing. */
#include "protect/pubkey_index.h"

#define FIRST_CAPACITY 64

/* Spreads the table; nothing depends on it being unpredictable, as all keys are the operator's. */
static uint32_t hash_of(const uint8_t *pubkey)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < HF_BLS_PUBKEY_BYTES; i += 8) {
        hash = (hash ^ hf_le64_get(pubkey + i)) * 0x9E3779B97F4A7C15U;
        hash ^= hash >> 29;
    }
    return (uint32_t)hash;
}

/* The slot of a pubkey, or the empty one where it belongs: at least half of them are empty. */
static uint32_t *find_slot(const hf_pubkey_index *index, const uint8_t *pubkey)
{
    uint32_t mask = 2 * index->capacity - 1;
    uint32_t i = hash_of(pubkey) & mask;
    while (index->slots[i] != 0 &&
           !hf_bytes_equal(index->pubkeys[index->slots[i] - 1], pubkey, HF_BLS_PUBKEY_BYTES)) {
        i = (i + 1) & mask;
    }
    return &index->slots[i];
}

static hf_status grow(hf_pubkey_index *index)
{
    uint32_t capacity = index->capacity == 0 ? FIRST_CAPACITY : index->capacity * 2;
    uint8_t(*pubkeys)[HF_BLS_PUBKEY_BYTES] =
        realloc(index->pubkeys, capacity * sizeof *index->pubkeys);
    if (pubkeys == NULL) {
        return (hf_status){HF_NOMEM};
    }
    index->pubkeys = pubkeys;
    uint32_t *slots = calloc((size_t)capacity * 2, sizeof *slots);
    if (slots == NULL) {
        return (hf_status){HF_NOMEM};
    }
    free(index->slots);
    index->slots = slots;
    index->capacity = capacity;
    for (uint32_t i = 0; i < index->count; i++) {
        *find_slot(index, index->pubkeys[i]) = i + 1;
    }
    return hf_ok();
}

void hf_pubkey_index_done(hf_pubkey_index *index)
{
    free(index->pubkeys);
    free(index->slots);
    *index = (hf_pubkey_index){0};
}

uint32_t hf_pubkey_index_find(const hf_pubkey_index *index,
                              const uint8_t pubkey[HF_BLS_PUBKEY_BYTES])
{
    uint32_t found = index->count == 0 ? 0 : *find_slot(index, pubkey);
    return found == 0 ? index->count : found - 1;
}

hf_status hf_pubkey_index_add(hf_pubkey_index *index, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES])
{
    if (index->count == index->capacity) {
        hf_status st = grow(index);
        if (hf_failed(st)) {
            return st;
        }
    }
    uint32_t *slot = find_slot(index, pubkey);
    HF_ASSERT(*slot == 0);
    memcpy(index->pubkeys[index->count], pubkey, HF_BLS_PUBKEY_BYTES);
    *slot = ++index->count;
    return hf_ok();
}
