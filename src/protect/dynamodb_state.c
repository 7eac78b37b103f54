/* Validators: their states in memory, as the table had them last, and the list of all. */
#include "protect/dynamodb_internal.h"

#define FIRST_ENTRIES 64
#define FIRST_LOG 16

/* ---- one state ---------------------------------------------------------------------------- */

void hf_dynamo_state_init(hf_dynamo_state *state)
{
    *state = (hf_dynamo_state){
        .bounds = hf_bounds_none, .oldest_slot = HF_NONE, .oldest_target = HF_NONE};
}

void hf_dynamo_state_done(hf_dynamo_state *state)
{
    free(state->log);
    hf_dynamo_state_init(state);
}

hf_status hf_dynamo_state_reserve(hf_dynamo_state *state, uint32_t count)
{
    if (count > HF_DYNAMO_LOG_MAX) {
        return (hf_status){HF_LIMIT};
    }
    if (count <= state->log_capacity) {
        return hf_ok();
    }
    uint32_t capacity = count <= FIRST_LOG ? FIRST_LOG : HF_DYNAMO_LOG_MAX;
    hf_logged *log = realloc(state->log, capacity * sizeof *log);
    if (log == NULL) {
        return (hf_status){HF_NOMEM};
    }
    state->log = log;
    state->log_capacity = capacity;
    return hf_ok();
}

hf_status hf_dynamo_state_copy(hf_dynamo_state *to, const hf_dynamo_state *from)
{
    hf_status st = hf_dynamo_state_reserve(to, from->log_count);
    if (hf_failed(st)) {
        return st;
    }
    hf_logged *log = to->log;
    uint32_t capacity = to->log_capacity;
    *to = *from;
    to->log = log;
    to->log_capacity = capacity;
    if (from->log_count > 0) {
        memcpy(to->log, from->log, from->log_count * sizeof *from->log);
    }
    return hf_ok();
}

static void lower(int64_t *oldest, uint64_t number)
{
    *oldest = *oldest == HF_NONE || (int64_t)number < *oldest ? (int64_t)number : *oldest;
}

hf_status hf_dynamo_state_add(hf_dynamo_state *state, const hf_message *message, int64_t version)
{
    hf_status st = hf_dynamo_state_reserve(state, state->log_count + 1);
    if (hf_failed(st)) {
        return st;
    }
    state->log[state->log_count++] = (hf_logged){version, *message};
    hf_bounds_add(&state->bounds, message);
    if (message->kind == HF_MESSAGE_BLOCK) {
        state->blocks++;
        lower(&state->oldest_slot, message->slot);
    } else {
        state->votes++;
        lower(&state->oldest_target, message->target);
    }
    return hf_ok();
}

void hf_dynamo_state_trim(hf_dynamo_state *state)
{
    uint32_t drop = 0;
    while (drop + HF_DYNAMO_LOG_KEEP < state->log_count &&
           state->log[drop].version <= state->flushed) {
        drop++;
    }
    state->log_count -= drop;
    if (drop > 0) {
        memmove(state->log, state->log + drop, state->log_count * sizeof *state->log);
    }
}

size_t hf_dynamo_state_pending(const hf_dynamo_state *state)
{
    size_t pending = 0;
    for (uint32_t i = 0; i < state->log_count; i++) {
        pending += state->log[i].version > state->flushed;
    }
    return pending;
}

/* ---- the table of validators in memory ---------------------------------------------------- */

static bool reserve_one(hf_dynamo *store)
{
    if (store->index.count < store->capacity) {
        return true;
    }
    uint32_t capacity = store->capacity == 0 ? FIRST_ENTRIES : store->capacity * 2;
    hf_dynamo_validator **validators =
        realloc(store->validators, capacity * sizeof(hf_dynamo_validator *));
    if (validators == NULL) {
        return false;
    }
    store->validators = validators;
    store->capacity = capacity;
    return true;
}

hf_dynamo_validator *hf_dynamo_validator_get(hf_dynamo *store, const uint8_t *pubkey)
{
    uint32_t number = hf_pubkey_index_find(&store->index, pubkey);
    if (number < store->index.count) {
        return store->validators[number];
    }
    hf_dynamo_validator *validator = calloc(1, sizeof *validator);
    if (validator == NULL || !reserve_one(store) ||
        hf_failed(hf_pubkey_index_add(&store->index, pubkey))) {
        free(validator);
        return NULL;
    }
    char hex[2 * HF_BLS_PUBKEY_BYTES + 1];
    hf_hex_encode(pubkey, HF_BLS_PUBKEY_BYTES, hex);
    hf_status st = hf_str_format(validator->pk, sizeof validator->pk, "v#%s", hex);
    HF_ASSERT(!hf_failed(st));
    memcpy(validator->pubkey, pubkey, HF_BLS_PUBKEY_BYTES);
    hf_dynamo_state_init(&validator->now);
    validator->durable = hf_bounds_none;
    store->validators[number] = validator;
    return validator;
}

void hf_dynamo_validators_done(hf_dynamo *store)
{
    for (uint32_t i = 0; i < store->index.count; i++) {
        hf_dynamo_state_done(&store->validators[i]->now);
        free(store->validators[i]);
    }
    free(store->validators);
    store->validators = NULL;
    store->capacity = 0;
    hf_pubkey_index_done(&store->index);
}

/* ---- reading ------------------------------------------------------------------------------ */

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Does what was read reach as far as what was durable before? */
static bool reaches(const hf_bounds *now, const hf_bounds *durable)
{
    return larger(now->max_slot, now->floor_slot) >= durable->max_slot &&
           larger(now->max_source, now->floor_source) >= durable->max_source &&
           larger(now->max_target, now->floor_target) >= durable->max_target &&
           now->floor_slot >= durable->floor_slot && now->floor_source >= durable->floor_source &&
           now->floor_target >= durable->floor_target;
}

hf_status hf_dynamo_take_state(hf_dynamo_validator *validator, const json_t *item, hf_error *err)
{
    hf_status st = hf_ok();
    int64_t version_before = validator->now.version;
    if (item != NULL) {
        st = hf_dynamo_state_read(item, validator->pubkey, &validator->now, err);
    } else {
        hf_dynamo_state_done(&validator->now);
    }
    validator->loaded = false;
    if (hf_failed(st)) {
        return st;
    }
    if (validator->seen && (validator->now.version < version_before ||
                            !reaches(&validator->now.bounds, &validator->durable))) {
        /* The version that was seen is kept, so that this is found each time. */
        validator->now.version = version_before;
        return hf_fail(err, HF_CORRUPT,
                       "the table lost records of 0x%.16s...: an older copy was put in place",
                       validator->pk + 2);
    }
    validator->durable = validator->now.bounds;
    validator->seen = true;
    validator->loaded = true;
    return hf_ok();
}

/* Finds the item of a partition among those that a BatchGetItem brought. */
static const json_t *find_item(const json_t *items, const char *pk)
{
    size_t i;
    const json_t *item;
    json_array_foreach(items, i, item)
    {
        const char *found = hf_dynamo_read_s(item, "pk");
        if (found != NULL && strcmp(found, pk) == 0) {
            return item;
        }
    }
    return NULL;
}

static const char *const descriptions[] = {"meta", "mark", HF_DYNAMO_RECORDS};

static json_t *keys_body(const hf_dynamo *store, json_t *take_keys)
{
    return json_pack("{s:{s:{s:b,s:o}}}", "RequestItems", store->config.table, "ConsistentRead", 1,
                     "Keys", take_keys);
}

/* One BatchGetItem of the states of some validators and the descriptions; asks for what the service
 * left out until all are there. */
static hf_status get_items(hf_dynamo *store, hf_dynamo_validator *const *validators, size_t n,
                           uint64_t deadline_ns, json_t *items, hf_error *err)
{
    json_t *keys = json_array();
    hf_status st = hf_ok();
    bool ok = true;
    for (size_t i = 0; i < HF_ARRAY_LEN(descriptions); i++) {
        ok = json_array_append_new(keys, hf_dynamo_key(descriptions[i], "#")) == 0 && ok;
    }
    for (size_t i = 0; i < n; i++) {
        ok = json_array_append_new(keys, hf_dynamo_key(validators[i]->pk, "#")) == 0 && ok;
    }
    if (!ok) {
        json_decref(keys);
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    for (unsigned tries = 0; keys != NULL && !hf_failed(st); tries++) {
        json_t *answer = NULL;
        if (tries > 0 && !hf_dynamo_pause(tries, deadline_ns)) {
            json_decref(keys);
            return hf_fail(err, HF_UNAVAILABLE, "DynamoDB table %.80s: reads are throttled",
                           store->config.table);
        }
        st = hf_dynamo_one(store, "BatchGetItem", keys_body(store, keys), true, deadline_ns,
                           &answer, err);
        keys = NULL;
        if (!hf_failed(st)) {
            const char *table = store->config.table;
            (void)json_array_extend(items,
                                    json_object_get(json_object_get(answer, "Responses"), table));
            const json_t *left = json_object_get(json_object_get(answer, "UnprocessedKeys"), table);
            keys = json_incref(json_object_get(left, "Keys"));
        }
        json_decref(answer);
    }
    return st;
}

static hf_status load_some(hf_dynamo *store, hf_dynamo_validator *const *validators, size_t n,
                           uint64_t deadline_ns, hf_error *err)
{
    json_t *items = json_array();
    if (items == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = get_items(store, validators, n, deadline_ns, items, err);
    if (!hf_failed(st)) {
        st = hf_dynamo_take_meta(store, find_item(items, "meta"), err);
    }
    if (!hf_failed(st)) {
        st = hf_dynamo_take_mark(store, find_item(items, "mark"), err);
    }
    if (!hf_failed(st)) {
        st = hf_dynamo_take_records(store, find_item(items, HF_DYNAMO_RECORDS), err);
    }
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        st = hf_dynamo_take_state(validators[i], find_item(items, validators[i]->pk), err);
    }
    json_decref(items);
    return st;
}

hf_status hf_dynamo_load(hf_dynamo *store, hf_dynamo_validator *const *validators, size_t n,
                         uint64_t deadline_ns, hf_error *err)
{
    hf_dynamo_validator *some[HF_DYNAMO_BATCH_GET - HF_ARRAY_LEN(descriptions)];
    size_t count = 0;
    hf_status st = hf_ok();
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        if (!validators[i]->loaded) {
            some[count++] = validators[i];
        }
        if (count == HF_ARRAY_LEN(some) || (i + 1 == n && count > 0)) {
            st = load_some(store, some, count, deadline_ns, err);
            count = 0;
        }
    }
    return st.code == HF_NOT_FOUND ? (hf_status){HF_UNAVAILABLE} : st;
}

hf_status hf_dynamo_look(hf_dynamo *store, uint64_t deadline_ns, hf_error *err)
{
    hf_status st = load_some(store, NULL, 0, deadline_ns, err);
    return st.code == HF_NOT_FOUND ? (hf_status){HF_UNAVAILABLE} : st;
}

/* ---- the list of all ---------------------------------------------------------------------- */

json_t *hf_dynamo_listing_put(const hf_dynamo_validator *validator)
{
    return json_pack("{s:{s:o}}", "PutRequest", "Item",
                     hf_dynamo_key("validators", validator->pk + 2));
}

hf_status hf_dynamo_pubkey_parse(const json_t *text, uint8_t *ret_pubkey, hf_error *err)
{
    const char *hex = json_string_value(text);
    if (hex == NULL ||
        hf_failed(hf_hex_decode(hex, strlen(hex), ret_pubkey, HF_BLS_PUBKEY_BYTES))) {
        return hf_fail(err, HF_CORRUPT, "the table lists a validator without public key");
    }
    return hf_ok();
}

hf_status hf_dynamo_list(hf_dynamo *store, const char *after, size_t limit, json_t **ret_pubkeys,
                         hf_error *err)
{
    json_t *answer = NULL;
    json_t *pubkeys = json_array();
    size_t i;
    const json_t *item;
    json_t *body =
        json_pack("{s:s,s:b,s:i,s:s,s:{s:o}}", "TableName", store->config.table, "ConsistentRead",
                  1, "Limit", (int)limit, "KeyConditionExpression", "pk = :p",
                  "ExpressionAttributeValues", ":p", hf_dynamo_s("validators"));
    if (after[0] != '\0') {
        (void)json_object_set_new(body, "ExclusiveStartKey", hf_dynamo_key("validators", after));
    }
    hf_status st =
        hf_dynamo_one(store, "Query", body, true, hf_dynamo_deadline(store), &answer, err);
    json_array_foreach(json_object_get(answer, "Items"), i, item)
    {
        const char *pubkey = hf_dynamo_read_s(item, "sk");
        if (json_array_append_new(pubkeys, json_string(pubkey != NULL ? pubkey : "")) != 0) {
            st = hf_fail(err, HF_NOMEM, "out of memory");
        }
    }
    json_decref(answer);
    if (hf_failed(st)) {
        json_decref(pubkeys);
        return st;
    }
    *ret_pubkeys = pubkeys;
    return st;
}
