/*
 * Joins imported records with what was known, by the rules of the SQLite store (sqlite_merge.c):
 * nothing is turned away, contradicting roots become unknown ones, and what is new but lies under a
 * floor comes in without root.
 */
#include "protect/dynamodb_internal.h"

typedef struct votes {
    const hf_message *items; /* by target, then source */
    size_t count;
    int64_t *greatest; /* [i]: source among the votes before i; HF_NONE */
    int64_t *least;    /* [i]: source among the votes from i on; HF_NONE */
} votes;

/* What the import says by itself, up to the vote under way. */
typedef struct within {
    int64_t target;
    int64_t below; /* highest source of the votes with a lower target */
    int64_t source;
} within;

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static bool votes_init(votes *all, const hf_records *history)
{
    size_t first = 0;
    while (first < history->count && history->items[first].kind == HF_MESSAGE_BLOCK) {
        first++;
    }
    /* No pointer is moved where there are no records at all. */
    all->count = history->items != NULL ? history->count - first : 0;
    all->items = history->items != NULL ? history->items + first : NULL;
    all->greatest = calloc(all->count + 1, sizeof *all->greatest);
    all->least = calloc(all->count + 1, sizeof *all->least);
    if (all->greatest == NULL || all->least == NULL) {
        return false;
    }
    all->greatest[0] = HF_NONE;
    all->least[all->count] = HF_NONE;
    for (size_t i = 0; i < all->count; i++) {
        all->greatest[i + 1] = larger(all->greatest[i], (int64_t)all->items[i].source);
    }
    for (size_t i = all->count; i > 0; i--) {
        int64_t source = (int64_t)all->items[i - 1].source;
        bool first_or_less = all->least[i] == HF_NONE || source < all->least[i];
        all->least[i - 1] = first_or_less ? source : all->least[i];
    }
    return true;
}

/* The first vote with a target of at least this. */
static size_t find_target(const votes *all, uint64_t target)
{
    size_t low = 0;
    size_t high = all->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (all->items[middle].target < target) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static const hf_message *find_record(const hf_records *history, const hf_message *record)
{
    size_t low = 0;
    size_t high = history->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = hf_records_compare(&history->items[middle], record);
        if (order == 0) {
            return &history->items[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

/* Does the vote contradict one of the same import? They come in rising order of targets. */
static bool contradicts_import(within *state, const hf_message *vote, bool *irregular)
{
    int64_t source = (int64_t)vote->source;
    bool same_target = state->target == (int64_t)vote->target;
    if (!same_target) {
        state->below = state->source;
    }
    bool surrounds = source < state->below;
    state->target = (int64_t)vote->target;
    state->source = larger(state->source, source);
    *irregular = *irregular || surrounds;
    return same_target || surrounds;
}

/* Does it contradict a vote on record, its own root apart? */
static bool contradicts_store(const votes *all, const hf_bounds *bounds, const hf_message *vote,
                              bool *irregular)
{
    int64_t source = (int64_t)vote->source;
    bool surrounds;
    bool others = false;
    if ((int64_t)vote->target > bounds->max_target) {
        surrounds = source < bounds->max_source;
    } else {
        size_t first = find_target(all, vote->target);
        size_t end = find_target(all, vote->target + 1);
        bool any = first < end;
        bool is_only = any && (int64_t)all->items[first].source == source &&
                       (int64_t)all->items[end - 1].source == source;
        int64_t after = all->least[end];
        others = any && !is_only;
        surrounds =
            !is_only && (all->greatest[first] > source || (after != HF_NONE && after < source));
    }
    *irregular = *irregular || surrounds;
    return surrounds || others;
}

static bool is_under(const hf_bounds *floors, const hf_message *record)
{
    if (record->kind == HF_MESSAGE_BLOCK) {
        return (int64_t)record->slot <= floors->floor_slot;
    }
    return (int64_t)record->target <= floors->floor_target ||
           (int64_t)record->source < floors->floor_source;
}

static void drop_root(hf_message *record)
{
    record->has_root = 0;
    memset(record->signing_root, 0, HF_ROOT_BYTES);
}

/* What becomes of one record; *ret_disputed: it is known with another root. */
static hf_status join(hf_merge *merge, hf_dynamo_state *state, const hf_bounds *floors,
                      const hf_message *staged, bool *ret_disputed)
{
    hf_message record = *staged;
    const hf_message *known = find_record(merge->history, staged);
    *ret_disputed = false;
    if (known == NULL) {
        if (is_under(floors, staged)) {
            drop_root(&record);
        }
        state->blocks += staged->kind == HF_MESSAGE_BLOCK;
        state->votes += staged->kind == HF_MESSAGE_ATTESTATION;
        return hf_records_add(&merge->changed, &record);
    }
    bool same = staged->has_root &&
                hf_bytes_equal(known->signing_root, staged->signing_root, HF_ROOT_BYTES);
    if (!known->has_root || same) {
        return hf_ok();
    }
    *ret_disputed = true;
    drop_root(&record);
    return hf_records_add(&merge->changed, &record);
}

static void least(int64_t *bound, uint64_t number)
{
    *bound = *bound == HF_NONE || (int64_t)number < *bound ? (int64_t)number : *bound;
}

/* Floors that stand are never lowered: older records add knowledge, not permission. */
static void merge_bounds(const hf_merge *merge, hf_dynamo_state *state)
{
    hf_bounds low = hf_bounds_none;
    hf_bounds *bounds = &state->bounds;
    for (size_t i = 0; i < merge->staged_count; i++) {
        const hf_message *record = &merge->staged[i];
        if (record->kind == HF_MESSAGE_BLOCK) {
            least(&low.floor_slot, record->slot);
            least(&state->oldest_slot, record->slot);
            bounds->max_slot = larger(bounds->max_slot, (int64_t)record->slot);
        } else {
            least(&low.floor_source, record->source);
            least(&low.floor_target, record->target);
            least(&state->oldest_target, record->target);
            bounds->max_source = larger(bounds->max_source, (int64_t)record->source);
            bounds->max_target = larger(bounds->max_target, (int64_t)record->target);
        }
    }
    if (bounds->floor_slot == HF_NONE) {
        bounds->floor_slot = low.floor_slot;
    }
    if (bounds->floor_target == HF_NONE) {
        bounds->floor_source = low.floor_source;
        bounds->floor_target = low.floor_target;
    }
}

hf_status hf_dynamo_merge(hf_merge *merge, hf_dynamo_state *state)
{
    const hf_bounds before = state->bounds;
    votes all = {0};
    within import = {HF_NONE, HF_NONE, HF_NONE};
    hf_status st = votes_init(&all, merge->history) ? hf_ok() : (hf_status){HF_NOMEM};
    for (size_t i = 0; i < merge->staged_count && !hf_failed(st); i++) {
        const hf_message *record = &merge->staged[i];
        bool conflict = merge->disputed[i];
        bool disputed = false;
        if (record->kind == HF_MESSAGE_ATTESTATION) {
            conflict = contradicts_import(&import, record, &merge->irregular) || conflict;
            conflict = contradicts_store(&all, &before, record, &merge->irregular) || conflict;
        }
        st = join(merge, state, &before, record, &disputed);
        merge->conflicts += conflict || disputed;
    }
    merge_bounds(merge, state);
    state->irregular = state->irregular || merge->irregular;
    free(all.greatest);
    free(all.least);
    return st;
}

void hf_merge_done(hf_merge *merge)
{
    hf_records_done(&merge->changed);
}
