/* The tokens of a moment: sorted by accessor for lists, hashed by accessor for requests. */
#include "auth/auth_internal.h"

struct hf_token_table {
    size_t count;
    bool has_limited;
    uint32_t mask;         /* places - 1, a power of two less one; at least half are empty */
    uint32_t *places;      /* 1 + index of the entry, 0: empty */
    hf_token_entry nobody; /* an impossible MAC: random, of no text that anybody knows */
    hf_token_entry entries[];
};

/* Accessors are random, chosen by us: any of their bytes spread. */
static uint32_t hash_of(const char *accessor)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < HF_AUTH_ACCESSOR_CHARS && accessor[i] != '\0'; i++) {
        hash = (hash ^ (uint8_t)accessor[i]) * 16777619U;
    }
    return hash ^ hash >> 15;
}

static int by_accessor(const void *a, const void *b)
{
    const hf_token_entry *left = a;
    const hf_token_entry *right = b;
    return strcmp(left->token.accessor, right->token.accessor);
}

static hf_token_table *make_table(size_t count)
{
    uint32_t places = 16;
    while (places < 2 * count) {
        places *= 2;
    }
    hf_token_table *table = calloc(1, sizeof *table + count * sizeof table->entries[0]);
    if (table == NULL) {
        return NULL;
    }
    table->places = calloc(places, sizeof *table->places);
    if (table->places == NULL) {
        free(table);
        return NULL;
    }
    table->count = count;
    table->mask = places - 1;
    hf_random(table->nobody.token.mac, sizeof table->nobody.token.mac);
    return table;
}

static bool hash_entries(hf_token_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        const char *accessor = table->entries[i].token.accessor;
        table->has_limited |= table->entries[i].token.terms.max_uses != 0;
        if (i > 0 && strcmp(table->entries[i - 1].token.accessor, accessor) == 0) {
            return false;
        }
        uint32_t place = hash_of(accessor) & table->mask;
        while (table->places[place] != 0) {
            place = (place + 1) & table->mask;
        }
        table->places[place] = (uint32_t)i + 1;
    }
    return true;
}

hf_status hf_token_table_new(const hf_token_entry *entries, size_t count,
                             hf_token_table **ret_table)
{
    if (count > HF_AUTH_TOKENS_MAX) {
        return (hf_status){HF_LIMIT};
    }
    hf_token_table *table = make_table(count);
    if (table == NULL) {
        return (hf_status){HF_NOMEM};
    }
    if (count > 0) {
        memcpy(table->entries, entries, count * sizeof *entries);
        qsort(table->entries, count, sizeof table->entries[0], by_accessor);
    }
    if (!hash_entries(table)) {
        hf_token_table_free(table);
        return (hf_status){HF_CONFLICT};
    }
    *ret_table = table;
    return hf_ok();
}

void hf_token_table_free(hf_token_table *table)
{
    if (table != NULL) {
        free(table->places);
        hf_wipe(table, sizeof *table + table->count * sizeof table->entries[0]);
        free(table);
    }
}

size_t hf_token_table_count(const hf_token_table *table)
{
    return table->count;
}

bool hf_token_table_has_limited(const hf_token_table *table)
{
    return table->has_limited;
}

hf_token_entry *hf_token_table_at(hf_token_table *table, size_t i)
{
    HF_ASSERT(i < table->count);
    return &table->entries[i];
}

size_t hf_token_table_after(const hf_token_table *table, const char *accessor)
{
    size_t low = 0;
    size_t high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(table->entries[middle].token.accessor, accessor) > 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

hf_token_entry *hf_token_table_find(hf_token_table *table, const char *accessor)
{
    uint32_t place = hash_of(accessor) & table->mask;
    while (table->places[place] != 0) {
        hf_token_entry *entry = &table->entries[table->places[place] - 1];
        if (strcmp(entry->token.accessor, accessor) == 0) {
            return entry;
        }
        place = (place + 1) & table->mask;
    }
    return NULL;
}

hf_token_entry *hf_token_table_nobody(hf_token_table *table)
{
    return &table->nobody;
}

void hf_token_table_take_over(hf_token_table *table, hf_token_table *old)
{
    for (size_t i = 0; i < old->count; i++) {
        hf_token_entry *from = &old->entries[i];
        hf_token_entry *to =
            from->uses_at_hand > 0 ? hf_token_table_find(table, from->token.accessor) : NULL;
        if (to != NULL) {
            to->uses_at_hand += from->uses_at_hand;
            from->uses_at_hand = 0;
        }
    }
}
