/* The description of the table: whose it is, and the high watermark. And the table itself. */
#include "protect/dynamodb_internal.h"

#define META_PK "meta"
#define META_SK "#"
#define TABLE_POLL_TRIES 3

json_t *hf_dynamo_meta_get(const hf_dynamo *store)
{
    return hf_dynamo_get_body(store, META_PK, META_SK);
}

static json_t *meta_item(const hf_dynamo *store, const hf_watermark *high)
{
    json_t *item = hf_dynamo_key(META_PK, META_SK);
    bool ok =
        json_object_set_new(item, "schema", hf_dynamo_n(HF_DYNAMO_SCHEMA)) == 0 &&
        json_object_set_new(item, "network",
                            hf_dynamo_b(store->config.genesis_validators_root, HF_ROOT_BYTES)) == 0;
    if (ok && high->has_slot) {
        ok = json_object_set_new(item, "high_slot", hf_dynamo_n((int64_t)high->slot)) == 0;
    }
    if (ok && high->has_epochs) {
        ok = json_object_set_new(item, "high_target", hf_dynamo_n((int64_t)high->target)) == 0;
    }
    if (!ok) {
        json_decref(item);
        return NULL;
    }
    return item;
}

static hf_status take_high(hf_dynamo *store, const json_t *item, hf_error *err)
{
    int64_t slot;
    int64_t target;
    hf_status st = hf_dynamo_read_n(item, "high_slot", &slot, err);
    if (!hf_failed(st)) {
        st = hf_dynamo_read_n(item, "high_target", &target, err);
    }
    if (!hf_failed(st)) {
        store->high = (hf_watermark){.has_slot = slot != HF_NONE,
                                     .has_epochs = target != HF_NONE,
                                     .slot = slot != HF_NONE ? (uint64_t)slot : 0,
                                     .target = target != HF_NONE ? (uint64_t)target : 0};
    }
    return st;
}

hf_status hf_dynamo_take_meta(hf_dynamo *store, const json_t *item, hf_error *err)
{
    uint8_t network[HF_ROOT_BYTES];
    size_t len = 0;
    int64_t schema;
    store->ready = false;
    if (item == NULL) {
        return hf_fail(err, HF_CORRUPT,
                       "DynamoDB table %.80s: the description is missing: restore the table",
                       store->config.table);
    }
    hf_status st = hf_dynamo_read_n(item, "schema", &schema, err);
    if (hf_failed(st)) {
        return st;
    }
    if (schema != HF_DYNAMO_SCHEMA) {
        return hf_fail(err, HF_CONFLICT,
                       "DynamoDB table %.80s was written by another version of this program "
                       "(schema %lld, this one knows %d): use that version",
                       store->config.table, (long long)schema, HF_DYNAMO_SCHEMA);
    }
    st = hf_dynamo_read_b(item, "network", network, sizeof network, &len, err);
    if (hf_failed(st) || len != HF_ROOT_BYTES) {
        return hf_fail(err, HF_CORRUPT, "DynamoDB table %.80s: the description is damaged",
                       store->config.table);
    }
    if (!hf_bytes_equal(network, store->config.genesis_validators_root, HF_ROOT_BYTES)) {
        return hf_fail(err, HF_CONFLICT,
                       "DynamoDB table %.80s belongs to another network (genesis validators root)",
                       store->config.table);
    }
    st = take_high(store, item, err);
    store->ready = !hf_failed(st);
    store->meta_seen = store->meta_seen || store->ready;
    return st;
}

/* ---- the table ---------------------------------------------------------------------------- */

static json_t *table_body(const hf_dynamo *store)
{
    return json_pack("{s:s,s:s,s:[{s:s,s:s},{s:s,s:s}],s:[{s:s,s:s},{s:s,s:s}]}", "TableName",
                     store->config.table, "BillingMode", "PAY_PER_REQUEST", "AttributeDefinitions",
                     "AttributeName", "pk", "AttributeType", "S", "AttributeName", "sk",
                     "AttributeType", "S", "KeySchema", "AttributeName", "pk", "KeyType", "HASH",
                     "AttributeName", "sk", "KeyType", "RANGE");
}

static hf_status wait_for_table(hf_dynamo *store, uint64_t deadline_ns, hf_error *err)
{
    for (;;) {
        json_t *answer = NULL;
        hf_status st = hf_dynamo_one(store, "DescribeTable",
                                     json_pack("{s:s}", "TableName", store->config.table), true,
                                     deadline_ns, &answer, err);
        const char *status =
            json_string_value(json_object_get(json_object_get(answer, "Table"), "TableStatus"));
        bool active = status != NULL && strcmp(status, "ACTIVE") == 0;
        json_decref(answer);
        if (active || (hf_failed(st) && st.code != HF_NOT_FOUND)) {
            return st;
        }
        if (!hf_dynamo_pause(TABLE_POLL_TRIES, deadline_ns)) {
            return hf_fail(err, HF_UNAVAILABLE, "DynamoDB table %.80s is being created",
                           store->config.table);
        }
    }
}

static hf_status create_table(hf_dynamo *store, uint64_t deadline_ns, hf_error *err)
{
    if (!store->config.create_table || store->meta_seen) {
        return hf_fail(err, HF_UNAVAILABLE,
                       "DynamoDB table %.80s does not exist in %.40s: check table and region%s",
                       store->config.table, store->config.region,
                       store->meta_seen ? "; it did before: restore it"
                                        : ", or set create_table: true");
    }
    hf_call call = {.operation = "CreateTable", .body = table_body(store)};
    hf_dynamo_run(store, &call, 1, deadline_ns);
    hf_status st = hf_ok();
    if (call.outcome == HF_OUTCOME_REFUSED) {
        st = hf_dynamo_call_status(&call, err);
    }
    hf_dynamo_calls_done(&call, 1);
    /* Busy: another node is making it at this moment. */
    return hf_failed(st) ? st : wait_for_table(store, deadline_ns, err);
}

/* ---- preparing ---------------------------------------------------------------------------- */

/* A table that has validators and no description was not emptied by chance. */
static hf_status check_empty(hf_dynamo *store, hf_error *err)
{
    json_t *pubkeys = NULL;
    hf_status st = hf_dynamo_list(store, "", 1, &pubkeys, err);
    if (!hf_failed(st) && (json_array_size(pubkeys) > 0 || store->meta_seen)) {
        st = hf_dynamo_take_meta(store, NULL, err);
    }
    json_decref(pubkeys);
    return st;
}

static hf_status describe(hf_dynamo *store, uint64_t deadline_ns, hf_error *err)
{
    static const hf_watermark none = {0};
    hf_status st = check_empty(store, err);
    if (hf_failed(st)) {
        return st;
    }
    json_t *item = meta_item(store, &none);
    json_t *body = item == NULL
                       ? NULL
                       : json_pack("{s:s,s:o,s:s}", "TableName", store->config.table, "Item", item,
                                   "ConditionExpression", "attribute_not_exists(pk)");
    st = hf_dynamo_one(store, "PutItem", body, true, deadline_ns, NULL, err);
    /* Another node was quicker, or this one without hearing of it: what is there is read next. */
    return st.code == HF_CONFLICT ? hf_ok() : st;
}

static hf_status read_meta(hf_dynamo *store, uint64_t deadline_ns, json_t **ret_item, hf_error *err)
{
    json_t *answer = NULL;
    hf_status st =
        hf_dynamo_one(store, "GetItem", hf_dynamo_meta_get(store), true, deadline_ns, &answer, err);
    *ret_item = hf_failed(st) ? NULL : json_incref(json_object_get(answer, "Item"));
    json_decref(answer);
    return st;
}

hf_status hf_dynamo_prepare(hf_dynamo *store, uint64_t deadline_ns, hf_error *err)
{
    json_t *item = NULL;
    if (store->ready && store->mark.is_counted) {
        return hf_ok();
    }
    hf_status st = read_meta(store, deadline_ns, &item, err);
    if (st.code == HF_NOT_FOUND) {
        st = create_table(store, deadline_ns, err);
    }
    if (!hf_failed(st) && item == NULL) {
        st = describe(store, deadline_ns, err);
        if (!hf_failed(st)) {
            st = read_meta(store, deadline_ns, &item, err);
        }
    }
    if (!hf_failed(st)) {
        st = hf_dynamo_take_meta(store, item, err);
    }
    json_decref(item);
    if (!hf_failed(st)) {
        st = hf_dynamo_prepare_mark(store, deadline_ns, err);
    }
    return st.code == HF_NOT_FOUND ? (hf_status){HF_UNAVAILABLE} : st;
}

/* ---- operations on it --------------------------------------------------------------------- */

hf_status hf_dynamo_set_high(hf_store *self, const hf_watermark *high, hf_error *err)
{
    static const hf_watermark none = {0};
    hf_dynamo *store = (hf_dynamo *)self;
    uint64_t deadline_ns = hf_dynamo_deadline(store);
    high = high != NULL ? high : &none;
    if (high->slot > HF_PROTECT_MAX_NUMBER || high->target > HF_PROTECT_MAX_NUMBER) {
        return hf_fail(err, HF_INVALID_INPUT, "a watermark above 2^63 - 1");
    }
    hf_status st = hf_dynamo_prepare(store, deadline_ns, err);
    if (hf_failed(st)) {
        return st;
    }
    json_t *item = meta_item(store, high);
    json_t *body = item == NULL
                       ? NULL
                       : json_pack("{s:s,s:o,s:s}", "TableName", store->config.table, "Item", item,
                                   "ConditionExpression", "attribute_exists(pk)");
    st = hf_dynamo_one(store, "PutItem", body, true, deadline_ns, NULL, err);
    if (st.code == HF_CONFLICT || st.code == HF_NOT_FOUND) {
        store->ready = false;
        return hf_fail(err, HF_UNAVAILABLE, "DynamoDB table %.80s: the description is gone",
                       store->config.table);
    }
    if (!hf_failed(st)) {
        store->high = *high;
    }
    return st;
}

/* A write whose condition never holds: it needs all that a real one needs, and leaves nothing. */
hf_status hf_dynamo_health(hf_store *self, hf_error *err)
{
    hf_dynamo *store = (hf_dynamo *)self;
    uint64_t deadline_ns = hf_dynamo_deadline(store);
    hf_status st = hf_dynamo_prepare(store, deadline_ns, err);
    if (hf_failed(st)) {
        return st;
    }
    json_t *body =
        json_pack("{s:s,s:o,s:s}", "TableName", store->config.table, "Item",
                  hf_dynamo_key("health", "#"), "ConditionExpression", "attribute_exists(pk)");
    st = hf_dynamo_one(store, "PutItem", body, true, deadline_ns, NULL, err);
    if (st.code == HF_CONFLICT) {
        return hf_dynamo_look(store, deadline_ns, err);
    }
    if (st.code == HF_NOT_FOUND) {
        store->ready = false;
    }
    return hf_failed(st) ? (hf_status){HF_UNAVAILABLE}
                         : hf_fail(err, HF_CORRUPT, "DynamoDB table %.80s does not keep conditions",
                                   store->config.table);
}

hf_status hf_dynamo_glance(hf_store *self, hf_error *err)
{
    hf_dynamo *store = (hf_dynamo *)self;
    uint64_t deadline_ns = hf_dynamo_deadline(store);
    hf_status st = hf_dynamo_prepare(store, deadline_ns, err);
    return hf_failed(st) ? st : hf_dynamo_look(store, deadline_ns, err);
}
