/*
 * A change of records is many items that change together. One item, the manifest, makes it count:
 *
 *   1. what is to be changed is written to items of its own, below a new name;
 *   2. the manifest takes that name, under the condition that nobody changed anything since the
 *      records were looked at: from here on the change counts, whatever happens to who made it;
 *   3. the records are written, each unless a later change has been there already;
 *   4. the manifest is at rest again, and the items of 1 go.
 *
 * Whoever finds a manifest that is not at rest does 3 and 4 first, so no reader sees half of a
 * change. A record that was removed stays for a day as an empty item with the number of its change,
 * so that a request which was long under way does not bring it back.
 */
#include <sodium.h>

#include "protect/dynamodb_internal.h"

#define CHANGES_PK "changes"
#define DAY_S INT64_C(86400)
#define RECORD_PK_LEN 24
#define RECORD_NAME_LEN (2 * HF_RECORD_ID_BYTES + 1)
/* One change in so many looks for what a crash left over. */
#define SWEEP_EVERY 16

/* ---- the manifest ------------------------------------------------------------------------- */

hf_status hf_dynamo_manifest_read(const json_t *item, hf_dynamo_manifest *ret_manifest,
                                  hf_error *err)
{
    hf_dynamo_manifest manifest = {0};
    const char *name = hf_dynamo_read_s(item, "name");
    if (item == NULL) {
        *ret_manifest = manifest;
        return hf_ok();
    }
    hf_status st = hf_dynamo_read_n(item, "version", &manifest.version, err);
    if (!hf_failed(st)) {
        st = hf_dynamo_read_n(item, "count", &manifest.count, err);
    }
    if (hf_failed(st) || manifest.version < 1 || manifest.count < 0 || name == NULL ||
        hf_failed(hf_str_copy(manifest.name, sizeof manifest.name, name))) {
        return hf_fail(err, HF_CORRUPT, "the table's manifest of records is damaged");
    }
    *ret_manifest = manifest;
    return hf_ok();
}

static bool is_at_rest(const hf_dynamo_manifest *manifest)
{
    return manifest->version % 2 == 0;
}

hf_status hf_dynamo_take_records(hf_dynamo *store, const json_t *item, hf_error *err)
{
    hf_dynamo_manifest manifest;
    hf_status st = hf_dynamo_manifest_read(item, &manifest, err);
    if (!hf_failed(st)) {
        store->records_version = manifest.version;
    }
    return st;
}

json_t *hf_dynamo_records_get(const hf_dynamo *store)
{
    return hf_dynamo_get_body(store, HF_DYNAMO_RECORDS, "#");
}

static hf_status get_manifest(hf_dynamo *store, uint64_t deadline_ns,
                              hf_dynamo_manifest *ret_manifest, hf_error *err)
{
    json_t *answer = NULL;
    hf_status st = hf_dynamo_one(store, "GetItem", hf_dynamo_records_get(store), true, deadline_ns,
                                 &answer, err);
    if (!hf_failed(st)) {
        st = hf_dynamo_manifest_read(json_object_get(answer, "Item"), ret_manifest, err);
    }
    if (!hf_failed(st)) {
        store->records_version = ret_manifest->version;
    }
    json_decref(answer);
    return st;
}

/* The manifest follows upon the version before. */
static hf_status put_manifest(hf_dynamo *store, const hf_dynamo_manifest *manifest,
                              uint64_t deadline_ns, hf_error *err)
{
    json_t *body = NULL;
    json_t *item = hf_dynamo_key(HF_DYNAMO_RECORDS, "#");
    bool ok = json_object_set_new(item, "version", hf_dynamo_n(manifest->version)) == 0 &&
              json_object_set_new(item, "count", hf_dynamo_n(manifest->count)) == 0 &&
              json_object_set_new(item, "name", hf_dynamo_s(manifest->name)) == 0;
    if (!ok) {
        json_decref(item);
    } else if (manifest->version == 1) {
        body = json_pack("{s:s,s:o,s:s}", "TableName", store->config.table, "Item", item,
                         "ConditionExpression", "attribute_not_exists(pk)");
    } else {
        body = json_pack("{s:s,s:o,s:s,s:{s:s},s:{s:o}}", "TableName", store->config.table, "Item",
                         item, "ConditionExpression", "#v = :v", "ExpressionAttributeNames", "#v",
                         "version", "ExpressionAttributeValues", ":v",
                         hf_dynamo_n(manifest->version - 1));
    }
    return hf_dynamo_one(store, "PutItem", body, false, deadline_ns, NULL, err);
}

/* ---- items -------------------------------------------------------------------------------- */

json_t *hf_dynamo_data(const uint8_t *data, size_t len)
{
    size_t size = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL);
    char *text = malloc(size);
    json_t *value = NULL;
    if (text != NULL) {
        (void)sodium_bin2base64(text, size, data, len, sodium_base64_VARIANT_ORIGINAL);
        value = json_pack("{s:s}", "B", text);
    }
    free(text);
    return value;
}

static json_t *change_item(const char *name, size_t number, const hf_record_change *change)
{
    char sk[HF_DYNAMO_CHANGE_NAME + 8];
    const hf_record *record = &change->record;
    hf_status st = hf_str_format(sk, sizeof sk, "%s#%02zu", name, number);
    HF_ASSERT(!hf_failed(st));
    json_t *item = hf_dynamo_key(CHANGES_PK, sk);
    bool ok = json_object_set_new(item, "kind", hf_dynamo_n(record->kind)) == 0 &&
              json_object_set_new(item, "id", hf_dynamo_b(record->id, sizeof record->id)) == 0;
    if (ok && !change->is_removal) {
        ok = json_object_set_new(item, "version", hf_dynamo_n((int64_t)change->expected + 1)) == 0;
    }
    /* Nothing is not an attribute. */
    if (ok && !change->is_removal && record->len > 0) {
        ok = json_object_set_new(item, "data", hf_dynamo_data(record->data, record->len)) == 0;
    }
    if (!ok) {
        json_decref(item);
        return NULL;
    }
    return item;
}

/* The PutItem that carries one item of a change out. */
static json_t *carry_body(const hf_dynamo *store, const json_t *from, int64_t number, hf_error *err)
{
    uint8_t id[HF_RECORD_ID_BYTES];
    char pk[RECORD_PK_LEN];
    char sk[RECORD_NAME_LEN];
    int64_t kind = HF_NONE;
    size_t len = 0;
    if (hf_failed(hf_dynamo_read_n(from, "kind", &kind, NULL)) || kind < 1 ||
        kind >= (int64_t)HF_RECORD_KIND_END ||
        hf_failed(hf_dynamo_read_b(from, "id", id, sizeof id, &len, NULL)) || len != sizeof id) {
        (void)hf_fail(err, HF_CORRUPT, "the table holds a damaged change of records").code;
        return NULL;
    }
    hf_hex_encode(id, sizeof id, sk);
    hf_status st = hf_str_format(pk, sizeof pk, "record#%lld", (long long)kind);
    HF_ASSERT(!hf_failed(st));
    json_t *item = hf_dynamo_key(pk, sk);
    json_t *version = json_object_get(from, "version");
    json_t *data = json_object_get(from, "data");
    bool ok = json_object_set_new(item, "change", hf_dynamo_n(number)) == 0;
    if (version != NULL) {
        ok = ok && json_object_set(item, "version", version) == 0;
    } else {
        ok = ok && json_object_set_new(item, "removed", hf_dynamo_n(hf_time_unix_ms() / 1000)) == 0;
    }
    ok = ok && (data == NULL || json_object_set(item, "data", data) == 0);
    if (!ok) {
        json_decref(item);
        (void)hf_fail(err, HF_NOMEM, "out of memory").code;
        return NULL;
    }
    return json_pack("{s:s,s:o,s:s,s:{s:s},s:{s:o}}", "TableName", store->config.table, "Item",
                     item, "ConditionExpression", "attribute_not_exists(pk) OR #c < :c",
                     "ExpressionAttributeNames", "#c", "change", "ExpressionAttributeValues", ":c",
                     hf_dynamo_n(number));
}

hf_status hf_dynamo_query_all(hf_dynamo *store, const char *pk, const char *prefix,
                              uint64_t deadline_ns, json_t **ret_items, hf_error *err)
{
    json_t *items = json_array();
    json_t *start = NULL;
    hf_status st = items != NULL ? hf_ok() : hf_fail(err, HF_NOMEM, "out of memory");
    while (!hf_failed(st)) {
        json_t *answer = NULL;
        json_t *body = json_pack("{s:s,s:b,s:s,s:{s:o,s:o}}", "TableName", store->config.table,
                                 "ConsistentRead", 1, "KeyConditionExpression",
                                 "pk = :p AND begins_with(sk, :s)", "ExpressionAttributeValues",
                                 ":p", hf_dynamo_s(pk), ":s", hf_dynamo_s(prefix));
        if (start != NULL) {
            (void)json_object_set_new(body, "ExclusiveStartKey", start);
        }
        st = hf_dynamo_one(store, "Query", body, true, deadline_ns, &answer, err);
        if (!hf_failed(st) && json_array_extend(items, json_object_get(answer, "Items")) != 0) {
            st = hf_fail(err, HF_NOMEM, "out of memory");
        }
        start = json_incref(json_object_get(answer, "LastEvaluatedKey"));
        json_decref(answer);
        if (start == NULL) {
            break;
        }
    }
    if (hf_failed(st)) {
        json_decref(start);
        json_decref(items);
        return st;
    }
    *ret_items = items;
    return st;
}

/* ---- carrying out ------------------------------------------------------------------------- */

/* Runs the calls until each is done, or was done by somebody else. */
static hf_status run_all(hf_dynamo *store, hf_call *calls, size_t n, uint64_t deadline_ns,
                         hf_error *err)
{
    for (unsigned tries = 0; n > 0; tries++) {
        size_t left = 0;
        hf_dynamo_run(store, calls, n, deadline_ns);
        for (size_t i = 0; i < n; i++) {
            hf_outcome outcome = calls[i].outcome;
            if (outcome == HF_OUTCOME_NO_TABLE || outcome == HF_OUTCOME_REFUSED) {
                return hf_dynamo_call_status(&calls[i], err);
            }
            if (outcome == HF_OUTCOME_BUSY || outcome == HF_OUTCOME_UNKNOWN) {
                hf_call again = calls[i];
                calls[i] = calls[left];
                calls[left++] = again;
            }
        }
        if (left > 0 && !hf_dynamo_pause(tries, deadline_ns)) {
            return hf_dynamo_call_status(&calls[0], err);
        }
        for (size_t i = 0; i < n; i++) { /* a body may go out again, an answer is not wanted */
            json_decref(calls[i].answer);
            calls[i].answer = NULL;
        }
        n = left;
    }
    return hf_ok();
}

static hf_status carry_items(hf_dynamo *store, const json_t *items, int64_t number,
                             uint64_t deadline_ns, hf_error *err)
{
    size_t n = json_array_size(items);
    hf_call *calls = calloc(n + 1, sizeof *calls);
    hf_status st = calls != NULL ? hf_ok() : hf_fail(err, HF_NOMEM, "out of memory");
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        hf_error own = {.code = HF_NOMEM};
        calls[i].operation = "PutItem";
        calls[i].body = carry_body(store, json_array_get(items, i), number, &own);
        st = calls[i].body != NULL ? st : hf_fail(err, own.code, "%s", own.msg);
    }
    if (!hf_failed(st)) {
        st = run_all(store, calls, n, deadline_ns, err);
    }
    if (calls != NULL) {
        hf_dynamo_calls_done(calls, n);
    }
    free(calls);
    return st;
}

/* Takes the items of a change away; what stays is swept later. */
static void drop_items(hf_dynamo *store, const json_t *items, uint64_t deadline_ns)
{
    size_t i;
    const json_t *item;
    hf_error ignored = {0};
    json_t *requests = json_array();
    json_array_foreach(items, i, item)
    {
        const char *sk = hf_dynamo_read_s(item, "sk");
        (void)json_array_append_new(requests,
                                    json_pack("{s:{s:o}}", "DeleteRequest", "Key",
                                              hf_dynamo_key(CHANGES_PK, sk != NULL ? sk : "#")));
    }
    if (json_array_size(requests) == 0) {
        json_decref(requests);
        return;
    }
    (void)hf_failed(hf_dynamo_write_all(store, requests, deadline_ns, &ignored));
}

/* Step 3 and 4 of a change that counts. NOT_FOUND: somebody else is ahead. */
static hf_status carry_out(hf_dynamo *store, const hf_dynamo_manifest *open, uint64_t deadline_ns,
                           hf_error *err)
{
    char prefix[HF_DYNAMO_CHANGE_NAME + 2];
    json_t *items = NULL;
    hf_dynamo_manifest rest = *open;
    hf_status st = hf_str_format(prefix, sizeof prefix, "%s#", open->name);
    HF_ASSERT(!hf_failed(st));
    st = hf_dynamo_query_all(store, CHANGES_PK, prefix, deadline_ns, &items, err);
    if (!hf_failed(st) && json_array_size(items) != (size_t)open->count) {
        json_decref(items);
        return (hf_status){HF_NOT_FOUND};
    }
    if (!hf_failed(st)) {
        st = carry_items(store, items, open->version, deadline_ns, err);
    }
    if (!hf_failed(st)) {
        rest.version++;
        rest.count = 0;
        st = put_manifest(store, &rest, deadline_ns, err);
        st = st.code == HF_CONFLICT ? hf_ok() : st; /* somebody else did it, or an earlier try */
    }
    if (!hf_failed(st)) {
        store->records_version = rest.version;
        drop_items(store, items, deadline_ns);
    }
    json_decref(items);
    return st;
}

hf_status hf_dynamo_settle_records(hf_dynamo *store, uint64_t deadline_ns,
                                   hf_dynamo_manifest *ret_manifest, hf_error *err)
{
    int64_t incomplete = 0; /* the version whose items were not all there */
    for (unsigned tries = 0;; tries++) {
        hf_status st = get_manifest(store, deadline_ns, ret_manifest, err);
        if (hf_failed(st) || is_at_rest(ret_manifest)) {
            return st;
        }
        if (ret_manifest->version == incomplete) {
            return hf_fail(err, HF_CORRUPT,
                           "the table lost parts of a change of records: restore the table");
        }
        st = carry_out(store, ret_manifest, deadline_ns, err);
        if (st.code == HF_NOT_FOUND) {
            incomplete = ret_manifest->version;
        } else if (hf_failed(st)) {
            return st;
        }
        if (tries > 0 && !hf_dynamo_pause(tries, deadline_ns)) {
            return hf_fail(err, HF_UNAVAILABLE, "DynamoDB table %.80s: records change all the time",
                           store->config.table);
        }
    }
}

/* ---- making a change ---------------------------------------------------------------------- */

static void make_name(char name[HF_DYNAMO_CHANGE_NAME])
{
    uint8_t chance[8];
    char hex[2 * sizeof chance + 1];
    int64_t now_ms = hf_time_unix_ms();
    randombytes_buf(chance, sizeof chance);
    hf_hex_encode(chance, sizeof chance, hex);
    hf_status st = hf_str_format(name, HF_DYNAMO_CHANGE_NAME, "%015lld-%s",
                                 (long long)(now_ms > 0 ? now_ms : 0), hex);
    HF_ASSERT(!hf_failed(st));
}

static hf_status write_items(hf_dynamo *store, const char *name, const hf_record_change *changes,
                             size_t n, uint64_t deadline_ns, json_t **ret_items, hf_error *err)
{
    json_t *items = json_array();
    json_t *requests = json_array();
    bool ok = items != NULL && requests != NULL;
    for (size_t i = 0; i < n && ok; i++) {
        json_t *item = change_item(name, i, &changes[i]);
        ok = item != NULL && json_array_append_new(items, item) == 0 &&
             json_array_append_new(requests, json_pack("{s:{s:O}}", "PutRequest", "Item", item)) ==
                 0;
    }
    if (!ok) {
        json_decref(items);
        json_decref(requests);
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    *ret_items = items;
    return hf_dynamo_write_all(store, requests, deadline_ns, err);
}

/* Step 2. CONFLICT: it does not count and never will. UNAVAILABLE: maybe it does. */
static hf_status make_it_count(hf_dynamo *store, const hf_dynamo_manifest *open,
                               uint64_t deadline_ns, hf_error *err)
{
    bool in_doubt = false;
    for (unsigned tries = 0;; tries++) {
        hf_dynamo_manifest found;
        hf_status st = put_manifest(store, open, deadline_ns, err);
        if (!hf_failed(st)) {
            return st;
        }
        hf_status looked = get_manifest(store, deadline_ns, &found, NULL);
        if (hf_failed(looked)) {
            return (hf_status){HF_UNAVAILABLE};
        }
        if (found.version >= open->version && strcmp(found.name, open->name) == 0) {
            return hf_ok(); /* the answer was lost */
        }
        if (st.code == HF_CONFLICT || found.version >= open->version) {
            /* Others were quicker; or, after a lost answer, they came behind it. */
            return in_doubt || st.code != HF_CONFLICT ? (hf_status){HF_UNAVAILABLE} : st;
        }
        in_doubt = true;
        if (!hf_dynamo_pause(tries, deadline_ns)) {
            return st;
        }
    }
}

/* Items of changes that were never made, a day later. */
static void sweep(hf_dynamo *store, uint64_t deadline_ns)
{
    char until[32];
    json_t *answer = NULL;
    hf_error ignored = {0};
    int64_t then_ms = hf_time_unix_ms() - DAY_S * 1000;
    hf_status st =
        hf_str_format(until, sizeof until, "%015lld", (long long)(then_ms > 0 ? then_ms : 0));
    HF_ASSERT(!hf_failed(st));
    json_t *body = json_pack("{s:s,s:b,s:i,s:s,s:s,s:{s:o,s:o}}", "TableName", store->config.table,
                             "ConsistentRead", 1, "Limit", HF_DYNAMO_BATCH_WRITE,
                             "ProjectionExpression", "pk, sk", "KeyConditionExpression",
                             "pk = :p AND sk < :s", "ExpressionAttributeValues", ":p",
                             hf_dynamo_s(CHANGES_PK), ":s", hf_dynamo_s(until));
    if (!hf_failed(hf_dynamo_one(store, "Query", body, false, deadline_ns, &answer, &ignored))) {
        drop_items(store, json_object_get(answer, "Items"), deadline_ns);
    }
    json_decref(answer);
}

hf_status hf_dynamo_commit_change(hf_dynamo *store, const hf_dynamo_manifest *before,
                                  const hf_record_change *changes, size_t n, uint64_t deadline_ns,
                                  hf_error *err)
{
    hf_dynamo_manifest open = {.version = before->version + 1, .count = (int64_t)n};
    json_t *items = NULL;
    hf_error ignored = {0};
    make_name(open.name);
    hf_status st = write_items(store, open.name, changes, n, deadline_ns, &items, err);
    if (!hf_failed(st)) {
        st = make_it_count(store, &open, deadline_ns, err);
    }
    if (st.code == HF_CONFLICT) {
        drop_items(store, items, deadline_ns);
    }
    json_decref(items);
    if (hf_failed(st)) {
        return st;
    }
    store->records_version = open.version;
    /* It counts: who reads next carries out what this leaves. */
    if (!hf_failed(carry_out(store, &open, deadline_ns, &ignored)) &&
        open.version / 2 % SWEEP_EVERY == 0) {
        sweep(store, deadline_ns);
    }
    return hf_ok();
}
