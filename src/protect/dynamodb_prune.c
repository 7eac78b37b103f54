/*
 * prune: removes old records in small steps.
 *
 * The floors of a validator rise first, in a conditional write of its state; then the items go;
 * then the state says what is left. A step that is cut off leaves items under the floors, which the
 * next round finds again.
 */
#include "protect/dynamodb_internal.h"

/* One step looks at so many validators and removes so many records at most. */
#define STEP_VALIDATORS 64
#define STEP_ROWS 256

typedef struct prune_step {
    hf_dynamo *store;
    int64_t keep_epochs;
    int64_t keep_slots;
    size_t room;
    uint64_t deleted;
} prune_step;

/* Everything below is old; HF_NONE where nothing is. */
static int64_t cutoff(int64_t newest, int64_t keep)
{
    return newest == HF_NONE || newest < keep ? HF_NONE : newest - keep;
}

static bool is_old(const prune_step *step, const hf_bounds *bounds, const hf_message *record)
{
    return record->kind == HF_MESSAGE_BLOCK
               ? (int64_t)record->slot < cutoff(bounds->max_slot, step->keep_slots)
               : (int64_t)record->target < cutoff(bounds->max_target, step->keep_epochs);
}

static bool has_old(const prune_step *step, const hf_dynamo_state *state)
{
    return (state->oldest_slot != HF_NONE &&
            state->oldest_slot < cutoff(state->bounds.max_slot, step->keep_slots)) ||
           (state->oldest_target != HF_NONE &&
            state->oldest_target < cutoff(state->bounds.max_target, step->keep_epochs));
}

static void raise_to(int64_t *floor, uint64_t value)
{
    *floor = (int64_t)value > *floor ? (int64_t)value : *floor;
}

/* Moves the old records to the front of the history, as many as there is room for. */
static size_t choose(const prune_step *step, const hf_bounds *bounds, hf_records *history)
{
    size_t chosen = 0;
    for (size_t i = 0; i < history->count && chosen < step->room; i++) {
        if (is_old(step, bounds, &history->items[i])) {
            hf_message record = history->items[i];
            history->items[i] = history->items[chosen];
            history->items[chosen++] = record;
        }
    }
    return chosen;
}

static bool is_among(const hf_message *records, size_t count, const hf_message *record)
{
    for (size_t i = 0; i < count; i++) {
        if (hf_records_compare(&records[i], record) == 0) {
            return true;
        }
    }
    return false;
}

/* The floors cover what goes, and the log holds none of it. */
static void raise_floors(hf_dynamo_state *next, const hf_message *gone, size_t count)
{
    uint32_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (gone[i].kind == HF_MESSAGE_BLOCK) {
            raise_to(&next->bounds.floor_slot, gone[i].slot);
        } else {
            raise_to(&next->bounds.floor_source, gone[i].source);
            raise_to(&next->bounds.floor_target, gone[i].target);
        }
    }
    for (uint32_t i = 0; i < next->log_count; i++) {
        if (!is_among(gone, count, &next->log[i].message)) {
            next->log[kept++] = next->log[i];
        }
    }
    next->log_count = kept;
}

static void count_rest(hf_dynamo_state *next, const hf_message *rest, size_t count)
{
    next->blocks = 0;
    next->votes = 0;
    next->oldest_slot = HF_NONE;
    next->oldest_target = HF_NONE;
    for (size_t i = 0; i < count; i++) {
        bool is_block = rest[i].kind == HF_MESSAGE_BLOCK;
        int64_t number = (int64_t)(is_block ? rest[i].slot : rest[i].target);
        int64_t *oldest = is_block ? &next->oldest_slot : &next->oldest_target;
        *oldest = *oldest == HF_NONE || number < *oldest ? number : *oldest;
        next->blocks += is_block;
        next->votes += !is_block;
    }
}

static hf_status delete_items(prune_step *step, const hf_dynamo_validator *validator,
                              const hf_message *gone, size_t count, hf_error *err)
{
    json_t *requests = json_array();
    bool ok = requests != NULL;
    for (size_t i = 0; i < count && ok; i++) {
        char sk[HF_DYNAMO_SK_LEN];
        hf_dynamo_record_key(&gone[i], sk);
        ok = json_array_append_new(requests, json_pack("{s:{s:o}}", "DeleteRequest", "Key",
                                                       hf_dynamo_key(validator->pk, sk))) == 0;
    }
    if (!ok) {
        json_decref(requests);
        return hf_fail(err, HF_NOMEM, "pruning: out of memory");
    }
    return hf_dynamo_write_all(step->store, requests, hf_dynamo_deadline(step->store), err);
}

/* Writes the next version of a state; CONFLICT when another node was quicker. */
static hf_status write_state(prune_step *step, hf_dynamo_validator *validator,
                             hf_dynamo_state *next, hf_error *err)
{
    next->version = validator->now.version + 1;
    json_t *body = hf_dynamo_state_put(step->store, validator->pk, next, validator->now.version);
    validator->loaded = false;
    hf_status st = hf_dynamo_one(step->store, "PutItem", body, false,
                                 hf_dynamo_deadline(step->store), NULL, err);
    if (!hf_failed(st)) {
        st = hf_dynamo_state_copy(&validator->now, next);
        validator->durable = next->bounds;
        validator->loaded = !hf_failed(st);
    }
    return st;
}

static hf_status prune_records(prune_step *step, hf_dynamo_validator *validator,
                               hf_records *history, hf_error *err)
{
    hf_dynamo_state next;
    hf_dynamo_state_init(&next);
    size_t count = choose(step, &validator->now.bounds, history);
    hf_status st = hf_dynamo_state_copy(&next, &validator->now);
    if (!hf_failed(st) && count > 0) {
        raise_floors(&next, history->items, count);
        st = write_state(step, validator, &next, err);
        if (!hf_failed(st)) {
            st = delete_items(step, validator, history->items, count, err);
        }
    }
    if (!hf_failed(st)) {
        count_rest(&next, history->items + count, history->count - count);
        st = write_state(step, validator, &next, err);
        step->deleted += count;
        step->room -= count;
    }
    hf_dynamo_state_done(&next);
    return st;
}

/* Another node at work on it is no failure: the next round comes by again. */
static hf_status prune_validator(prune_step *step, hf_dynamo_validator *validator, hf_error *err)
{
    hf_dynamo_query query = {.validator = validator};
    hf_status st =
        hf_dynamo_read_histories(step->store, &query, 1, hf_dynamo_deadline(step->store), err);
    if (!hf_failed(st)) {
        st = prune_records(step, validator, &query.records, err);
    }
    hf_dynamo_query_done(&query);
    if (st.code == HF_NOT_FOUND) {
        return (hf_status){HF_UNAVAILABLE};
    }
    return st.code == HF_CONFLICT ? hf_ok() : st;
}

/* Takes a page of validators, as far as there is room; *ret_more: the list goes on. */
static hf_status prune_page(prune_step *step, const json_t *pubkeys, bool *ret_more, hf_error *err)
{
    hf_dynamo *store = step->store;
    hf_dynamo_validator *validators[STEP_VALIDATORS];
    size_t n = json_array_size(pubkeys);
    hf_status st = hf_ok();
    HF_ASSERT(n <= STEP_VALIDATORS);
    for (size_t i = 0; i < n; i++) {
        uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
        st = hf_dynamo_pubkey_parse(json_array_get(pubkeys, i), pubkey, err);
        validators[i] = hf_failed(st) ? NULL : hf_dynamo_validator_get(store, pubkey);
        if (validators[i] == NULL) {
            return hf_failed(st) ? st : hf_fail(err, HF_NOMEM, "pruning: out of memory");
        }
        validators[i]->loaded = false; /* another node may have signed with it since */
    }
    st = hf_dynamo_load(store, validators, n, hf_dynamo_deadline(store), err);
    *ret_more = n == STEP_VALIDATORS;
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        if (has_old(step, &validators[i]->now)) {
            st = prune_validator(step, validators[i], err);
        }
        if (step->room == 0) {
            *ret_more = true; /* and with this validator again */
            break;
        }
        if (!hf_failed(st)) {
            memcpy(store->prune_after, validators[i]->pk + 2, sizeof store->prune_after);
        }
    }
    if (!*ret_more) {
        store->prune_after[0] = '\0';
    }
    return st;
}

static int64_t keep_slots_of(uint64_t keep_epochs, uint64_t slots_per_epoch)
{
    return keep_epochs > HF_PROTECT_MAX_NUMBER / slots_per_epoch
               ? INT64_MAX
               : (int64_t)(keep_epochs * slots_per_epoch);
}

hf_status hf_dynamo_prune(hf_store *self, uint64_t keep_epochs, uint64_t slots_per_epoch,
                          hf_prune_report *ret_report, hf_error *err)
{
    hf_dynamo *store = (hf_dynamo *)self;
    json_t *pubkeys = NULL;
    bool more = false;
    HF_ASSERT(slots_per_epoch > 0);
    if (keep_epochs == 0 || keep_epochs > HF_PROTECT_MAX_NUMBER) {
        *ret_report = (hf_prune_report){0};
        return hf_ok();
    }
    prune_step step = {.store = store,
                       .keep_epochs = (int64_t)keep_epochs,
                       .keep_slots = keep_slots_of(keep_epochs, slots_per_epoch),
                       .room = STEP_ROWS};
    hf_status st = hf_dynamo_prepare(store, hf_dynamo_deadline(store), err);
    if (!hf_failed(st)) {
        st = hf_dynamo_list(store, store->prune_after, STEP_VALIDATORS, &pubkeys, err);
        st = st.code == HF_NOT_FOUND ? (hf_status){HF_UNAVAILABLE} : st;
    }
    if (!hf_failed(st)) {
        st = prune_page(&step, pubkeys, &more, err);
    }
    json_decref(pubkeys);
    if (!hf_failed(st)) {
        *ret_report = (hf_prune_report){step.deleted, more};
    }
    return st;
}
