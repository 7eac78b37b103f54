/*
 * How far the table has come, floors for everyone, and anchors.
 *
 * One item counts what all nodes write: each batch adds to it beside its writes, in the same round
 * trip, and gets back what it says then. It holds the floors of everyone as well, so that one write
 * raises them all: they count for each validator in addition to its own.
 */
#include <sodium.h>

#include "protect/dynamodb_internal.h"

#define MARK_PK "mark"
#define ANCHORS_PK "anchors"
#define RAISE_TRIES 20

/* The attributes that count, by message kind. */
static const char *const counters[] = {
    [HF_MESSAGE_BLOCK] = "blocks", [HF_MESSAGE_ATTESTATION] = "votes"};

/* ---- reading ------------------------------------------------------------------------------ */

static hf_status read_mark(const json_t *item, hf_store_mark *ret_mark, hf_bounds *ret_floors,
                           hf_error *err)
{
    hf_store_mark mark = {.is_counted = 1};
    hf_bounds floors = hf_bounds_none;
    int64_t blocks;
    int64_t votes;
    int64_t seen;
    size_t len = 0;
    const struct {
        const char *name;
        int64_t *number;
    } numbers[] = {{counters[HF_MESSAGE_BLOCK], &blocks},
                   {counters[HF_MESSAGE_ATTESTATION], &votes},
                   {"seen", &seen},
                   {"floor_slot", &floors.floor_slot},
                   {"floor_source", &floors.floor_source},
                   {"floor_target", &floors.floor_target}};
    hf_status st = hf_dynamo_read_b(item, "lineage", mark.lineage, HF_LINEAGE_BYTES, &len, err);
    for (size_t i = 0; i < HF_ARRAY_LEN(numbers) && !hf_failed(st); i++) {
        st = hf_dynamo_read_n(item, numbers[i].name, numbers[i].number, err);
    }
    if (hf_failed(st) || len != HF_LINEAGE_BYTES || blocks < 0 || votes < 0) {
        return hf_fail(err, HF_CORRUPT, "the table's count of what was recorded is damaged");
    }
    mark.block_id = (uint64_t)blocks;
    mark.vote_id = (uint64_t)votes;
    mark.seen_unix_s = seen > 0 ? (uint64_t)seen : 0;
    *ret_mark = mark;
    *ret_floors = floors;
    return hf_ok();
}

hf_status hf_dynamo_take_mark(hf_dynamo *store, const json_t *item, hf_error *err)
{
    hf_store_mark mark;
    hf_bounds floors;
    const hf_store_mark *before = &store->mark;
    if (item == NULL) {
        store->ready = false;
        return before->is_counted
                   ? hf_fail(err, HF_CORRUPT,
                             "DynamoDB table %.80s: its count of what was recorded is gone:"
                             " restore the table",
                             store->config.table)
                   : hf_fail(err, HF_UNAVAILABLE, "DynamoDB table %.80s is not prepared yet",
                             store->config.table);
    }
    hf_status st = read_mark(item, &mark, &floors, err);
    if (hf_failed(st)) {
        return st;
    }
    if (before->is_counted &&
        (mark.vote_id < before->vote_id || mark.block_id < before->block_id)) {
        return hf_fail(err, HF_CORRUPT,
                       "the table lost records: an older copy was put in place (%llu votes were"
                       " counted, now %llu; %llu blocks, now %llu): restore it, or restart this"
                       " signer, whose start guard raises the floors",
                       (unsigned long long)before->vote_id, (unsigned long long)mark.vote_id,
                       (unsigned long long)before->block_id, (unsigned long long)mark.block_id);
    }
    store->mark = mark;
    store->floors = floors;
    return hf_ok();
}

hf_status hf_dynamo_mark(hf_store *self, hf_store_mark *ret_mark, hf_error *err)
{
    const hf_dynamo *store = (const hf_dynamo *)self;
    if (!store->mark.is_counted) {
        return hf_fail(err, HF_UNAVAILABLE, "the table was not read yet");
    }
    *ret_mark = store->mark;
    return hf_ok();
}

/* ---- making it ---------------------------------------------------------------------------- */

static json_t *new_mark_body(const hf_dynamo *store)
{
    uint8_t lineage[HF_LINEAGE_BYTES];
    randombytes_buf(lineage, sizeof lineage);
    json_t *item = hf_dynamo_key(MARK_PK, "#");
    bool ok = json_object_set_new(item, "lineage", hf_dynamo_b(lineage, sizeof lineage)) == 0 &&
              json_object_set_new(item, counters[HF_MESSAGE_BLOCK], hf_dynamo_n(0)) == 0 &&
              json_object_set_new(item, counters[HF_MESSAGE_ATTESTATION], hf_dynamo_n(0)) == 0;
    if (!ok) {
        json_decref(item);
        return NULL;
    }
    return json_pack("{s:s,s:o,s:s}", "TableName", store->config.table, "Item", item,
                     "ConditionExpression", "attribute_not_exists(pk)");
}

static hf_status get_mark(hf_dynamo *store, uint64_t deadline_ns, json_t **ret_item, hf_error *err)
{
    json_t *answer = NULL;
    hf_status st = hf_dynamo_one(store, "GetItem", hf_dynamo_get_body(store, MARK_PK, "#"), true,
                                 deadline_ns, &answer, err);
    *ret_item = hf_failed(st) ? NULL : json_incref(json_object_get(answer, "Item"));
    json_decref(answer);
    return st;
}

hf_status hf_dynamo_prepare_mark(hf_dynamo *store, uint64_t deadline_ns, hf_error *err)
{
    json_t *item = NULL;
    hf_status st = get_mark(store, deadline_ns, &item, err);
    if (!hf_failed(st) && item == NULL && !store->mark.is_counted) {
        st = hf_dynamo_one(store, "PutItem", new_mark_body(store), true, deadline_ns, NULL, err);
        if (!hf_failed(st) || st.code == HF_CONFLICT) { /* another node was quicker */
            st = get_mark(store, deadline_ns, &item, err);
        }
    }
    if (!hf_failed(st)) {
        st = hf_dynamo_take_mark(store, item, err);
    }
    json_decref(item);
    return st;
}

/* ---- counting ----------------------------------------------------------------------------- */

json_t *hf_dynamo_count_body(const hf_dynamo *store)
{
    int64_t now_ms = hf_time_unix_ms();
    return json_pack("{s:s,s:o,s:s,s:s,s:s,s:{s:s,s:s,s:s,s:s},s:{s:o,s:o,s:o}}", "TableName",
                     store->config.table, "Key", hf_dynamo_key(MARK_PK, "#"), "ReturnValues",
                     "ALL_NEW", "ConditionExpression", "attribute_exists(#l)", "UpdateExpression",
                     "ADD #b :b, #v :v SET #s = :s", "ExpressionAttributeNames", "#l", "lineage",
                     "#b", counters[HF_MESSAGE_BLOCK], "#v", counters[HF_MESSAGE_ATTESTATION], "#s",
                     "seen", "ExpressionAttributeValues", ":b",
                     hf_dynamo_n((int64_t)store->owed[HF_MESSAGE_BLOCK]), ":v",
                     hf_dynamo_n((int64_t)store->owed[HF_MESSAGE_ATTESTATION]), ":s",
                     hf_dynamo_n(now_ms > 0 ? now_ms / 1000 : 0));
}

hf_status hf_dynamo_count_change(hf_dynamo *store, hf_error *err)
{
    json_t *answer = NULL;
    store->owed[HF_MESSAGE_ATTESTATION]++;
    hf_status st = hf_dynamo_one(store, "UpdateItem", hf_dynamo_count_body(store), true,
                                 hf_dynamo_deadline(store), &answer, err);
    if (!hf_failed(st)) {
        store->owed[HF_MESSAGE_BLOCK] = 0;
        store->owed[HF_MESSAGE_ATTESTATION] = 0;
        st = hf_dynamo_take_mark(store, json_object_get(answer, "Attributes"), err);
    } else if (st.code == HF_CONFLICT) {
        st = hf_dynamo_take_mark(store, NULL, err);
    }
    json_decref(answer);
    return st;
}

/* ---- floors for everyone ------------------------------------------------------------------ */

static void raise_to(int64_t *floor, int64_t value)
{
    *floor = value > *floor ? value : *floor;
}

void hf_dynamo_raise_to_base(const hf_dynamo *store, hf_bounds *bounds)
{
    raise_to(&bounds->floor_slot, store->floors.floor_slot);
    raise_to(&bounds->floor_source, store->floors.floor_source);
    raise_to(&bounds->floor_target, store->floors.floor_target);
}

bool hf_dynamo_is_below_base(const hf_dynamo *store, const hf_message *message, bool is_repeat)
{
    const hf_bounds *floors = &store->floors;
    if (message->kind == HF_MESSAGE_BLOCK) {
        return !is_repeat && (int64_t)message->slot <= floors->floor_slot;
    }
    return (int64_t)message->source < floors->floor_source ||
           (!is_repeat && (int64_t)message->target <= floors->floor_target);
}

/* Raises the floors of everyone, unless they are higher by now (CONFLICT). */
static json_t *raise_body(const hf_dynamo *store, const hf_bounds *floors)
{
    return json_pack(
        "{s:s,s:o,s:s,s:s,s:s,s:{s:s,s:s,s:s,s:s,s:s},s:{s:o,s:o,s:o,s:o}}", "TableName",
        store->config.table, "Key", hf_dynamo_key(MARK_PK, "#"), "ReturnValues", "ALL_NEW",
        "ConditionExpression",
        "attribute_exists(#l) AND (attribute_not_exists(#a) OR #a <= :a)"
        " AND (attribute_not_exists(#b) OR #b <= :b) AND (attribute_not_exists(#c) OR #c <= :c)",
        "UpdateExpression", "ADD #v :v SET #a = :a, #b = :b, #c = :c", "ExpressionAttributeNames",
        "#l", "lineage", "#a", "floor_slot", "#b", "floor_source", "#c", "floor_target", "#v",
        counters[HF_MESSAGE_ATTESTATION], "ExpressionAttributeValues", ":a",
        hf_dynamo_n(floors->floor_slot), ":b", hf_dynamo_n(floors->floor_source), ":c",
        hf_dynamo_n(floors->floor_target), ":v", hf_dynamo_n(1));
}

static hf_status raise_once(hf_dynamo *store, const hf_watermark *low, hf_error *err)
{
    json_t *answer = NULL;
    uint64_t deadline_ns = hf_dynamo_deadline(store);
    hf_status st = hf_dynamo_look(store, deadline_ns, err);
    if (hf_failed(st)) {
        return st;
    }
    /* A floor at 0 refuses what is at 0: where one kind has none yet, it gets one. */
    hf_bounds floors = {.floor_slot = 0, .floor_source = 0, .floor_target = 0};
    hf_dynamo_raise_to_base(store, &floors);
    if (low->has_slot) {
        raise_to(&floors.floor_slot, (int64_t)low->slot);
    }
    if (low->has_epochs) {
        raise_to(&floors.floor_source, (int64_t)low->source);
        raise_to(&floors.floor_target, (int64_t)low->target);
    }
    st = hf_dynamo_one(store, "UpdateItem", raise_body(store, &floors), true, deadline_ns, &answer,
                       err);
    if (!hf_failed(st)) {
        st = hf_dynamo_take_mark(store, json_object_get(answer, "Attributes"), err);
    }
    json_decref(answer);
    return st;
}

/* The lineage is the table's own: who takes over a copy finds out by the counts. */
hf_status hf_dynamo_take_over(hf_store *self, const hf_watermark *low,
                              const uint8_t lineage[HF_LINEAGE_BYTES], hf_error *err)
{
    hf_dynamo *store = (hf_dynamo *)self;
    (void)lineage;
    if (low != NULL && (low->slot > HF_PROTECT_MAX_NUMBER || low->source > HF_PROTECT_MAX_NUMBER ||
                        low->target > HF_PROTECT_MAX_NUMBER)) {
        return hf_fail(err, HF_INVALID_INPUT, "a watermark above 2^63 - 1");
    }
    hf_status st = hf_dynamo_prepare(store, hf_dynamo_deadline(store), err);
    if (hf_failed(st) || low == NULL) {
        return st;
    }
    st = raise_once(store, low, err);
    for (unsigned tries = 0; st.code == HF_CONFLICT && tries < RAISE_TRIES; tries++) {
        st = raise_once(store, low, err); /* another node raised them at this moment */
    }
    return st.code == HF_CONFLICT || st.code == HF_NOT_FOUND ? (hf_status){HF_UNAVAILABLE} : st;
}

/* ---- anchors ------------------------------------------------------------------------------ */

#define LOG_NAME_LEN (2 * HF_ANCHOR_ID_BYTES + 1)

hf_status hf_dynamo_anchor_get(hf_store *self, const uint8_t log_id[HF_ANCHOR_ID_BYTES],
                               hf_store_anchor *ret_anchor, hf_error *err)
{
    hf_dynamo *store = (hf_dynamo *)self;
    hf_store_anchor anchor = {0};
    char name[LOG_NAME_LEN];
    json_t *answer = NULL;
    int64_t seq = HF_NONE;
    size_t len = 0;
    hf_hex_encode(log_id, HF_ANCHOR_ID_BYTES, name);
    hf_status st = hf_dynamo_prepare(store, hf_dynamo_deadline(store), err);
    if (!hf_failed(st)) {
        st = hf_dynamo_one(store, "GetItem", hf_dynamo_get_body(store, ANCHORS_PK, name), true,
                           hf_dynamo_deadline(store), &answer, err);
    }
    if (hf_failed(st)) {
        return st.code == HF_NOT_FOUND ? (hf_status){HF_UNAVAILABLE} : st;
    }
    const json_t *item = json_object_get(answer, "Item");
    if (item == NULL) {
        st = hf_fail(err, HF_NOT_FOUND, "the store has no anchor of that log");
    } else if (hf_failed(hf_dynamo_read_n(item, "seq", &seq, NULL)) || seq < 0 ||
               hf_failed(
                   hf_dynamo_read_b(item, "mac", anchor.mac, sizeof anchor.mac, &len, NULL)) ||
               len != sizeof anchor.mac) {
        st = hf_fail(err, HF_CORRUPT, "the table holds a damaged anchor of an audit log");
    } else {
        memcpy(anchor.log_id, log_id, HF_ANCHOR_ID_BYTES);
        anchor.seq = (uint64_t)seq;
        *ret_anchor = anchor;
    }
    json_decref(answer);
    return st;
}

hf_status hf_dynamo_anchor_set(hf_store *self, const hf_store_anchor *anchor, hf_error *err)
{
    hf_dynamo *store = (hf_dynamo *)self;
    char name[LOG_NAME_LEN];
    if (anchor->seq > HF_PROTECT_MAX_NUMBER) {
        return hf_fail(err, HF_INVALID_INPUT, "an anchor above 2^63 - 1");
    }
    hf_hex_encode(anchor->log_id, HF_ANCHOR_ID_BYTES, name);
    hf_status st = hf_dynamo_prepare(store, hf_dynamo_deadline(store), err);
    if (hf_failed(st)) {
        return st;
    }
    json_t *item = hf_dynamo_key(ANCHORS_PK, name);
    bool ok = json_object_set_new(item, "seq", hf_dynamo_n((int64_t)anchor->seq)) == 0 &&
              json_object_set_new(item, "mac", hf_dynamo_b(anchor->mac, sizeof anchor->mac)) == 0;
    json_t *body = NULL;
    if (ok) {
        body = json_pack("{s:s,s:o}", "TableName", store->config.table, "Item", item);
    } else {
        json_decref(item);
    }
    st = hf_dynamo_one(store, "PutItem", body, true, hf_dynamo_deadline(store), NULL, err);
    return st.code == HF_NOT_FOUND ? (hf_status){HF_UNAVAILABLE} : st;
}
