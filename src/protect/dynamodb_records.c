/* Records on DynamoDB: reading them as of one moment, and changing them; dynamodb_journal.c says
 * how a change counts as a whole. */
#include "protect/dynamodb_internal.h"

/* Less than the keeper waits for a page. */
#define PATIENCE_NS (10 * HF_NS_PER_SECOND)
#define REMOVED_KEEP_S INT64_C(86400)
/* Empty items that one reading takes away. */
#define REMOVED_MAX 25

static uint64_t generation_of(int64_t version)
{
    /* 1 before the first change, as in the other stores; a change counts while it is carried out.
     */
    return (uint64_t)(version + 1) / 2 + 1;
}

uint64_t hf_dynamo_generation(const hf_store *self)
{
    const hf_dynamo *store = (const hf_dynamo *)(const void *)self;
    return store->ready ? generation_of(store->records_version) : 0;
}

static hf_status begin(hf_dynamo *store, uint64_t *ret_deadline_ns, hf_error *err)
{
    *ret_deadline_ns = hf_time_mono_ns() + PATIENCE_NS;
    return hf_dynamo_prepare(store, hf_dynamo_deadline(store), err);
}

static hf_status unavailable(hf_status st)
{
    return st.code == HF_NOT_FOUND || st.code == HF_CONFLICT ? (hf_status){HF_UNAVAILABLE} : st;
}

static void name_kind(hf_record_kind kind, char pk[24])
{
    hf_status st = hf_str_format(pk, 24, "record#%d", (int)kind);
    HF_ASSERT(!hf_failed(st));
}

/* ---- reading ------------------------------------------------------------------------------ */

/* All items of a kind, and the version of the manifest that they belong to. */
static hf_status read_kind(hf_dynamo *store, hf_record_kind kind, uint64_t deadline_ns,
                           json_t **ret_items, int64_t *ret_version, hf_error *err)
{
    char pk[24];
    name_kind(kind, pk);
    for (unsigned tries = 0;; tries++) {
        hf_dynamo_manifest before;
        hf_dynamo_manifest after;
        json_t *items = NULL;
        hf_status st = hf_dynamo_settle_records(store, deadline_ns, &before, err);
        if (!hf_failed(st)) {
            st = hf_dynamo_query_all(store, pk, "", deadline_ns, &items, err);
        }
        if (!hf_failed(st)) {
            st = hf_dynamo_settle_records(store, deadline_ns, &after, err);
        }
        if (!hf_failed(st) && before.version == after.version) {
            *ret_items = items;
            *ret_version = after.version;
            return st;
        }
        json_decref(items);
        if (hf_failed(st)) {
            return st;
        }
        if (!hf_dynamo_pause(tries, deadline_ns)) {
            return hf_fail(err, HF_UNAVAILABLE, "DynamoDB table %.80s: records change all the time",
                           store->config.table);
        }
    }
}

static hf_status show(const json_t *item, hf_record_kind kind, uint8_t *data,
                      hf_record_visitor visitor, void *context, hf_error *err)
{
    hf_record record = {.kind = kind, .data = data};
    int64_t version = HF_NONE;
    size_t len = 0;
    const char *sk = hf_dynamo_read_s(item, "sk");
    hf_status st = hf_dynamo_read_n(item, "version", &version, err);
    if (!hf_failed(st)) {
        st = hf_dynamo_read_b(item, "data", data, HF_RECORD_DATA_MAX, &len, err);
        st = st.code == HF_NOT_FOUND ? hf_ok() : st;
    }
    if (hf_failed(st) || version < 1 || sk == NULL ||
        hf_failed(hf_hex_decode(sk, strlen(sk), record.id, sizeof record.id))) {
        return hf_fail(err, HF_CORRUPT, "the table holds a damaged record");
    }
    record.version = (uint64_t)version;
    record.len = (uint32_t)len;
    return visitor(context, &record);
}

/* An empty item that is old enough goes, unless somebody has used it again. */
static void drop_removed(hf_dynamo *store, const json_t *item)
{
    hf_error ignored = {0};
    json_t *body =
        json_pack("{s:s,s:o,s:s,s:{s:s},s:{s:O}}", "TableName", store->config.table, "Key",
                  hf_dynamo_key(hf_dynamo_read_s(item, "pk"), hf_dynamo_read_s(item, "sk")),
                  "ConditionExpression", "#c = :c", "ExpressionAttributeNames", "#c", "change",
                  "ExpressionAttributeValues", ":c", json_object_get(item, "change"));
    (void)hf_failed(
        hf_dynamo_one(store, "DeleteItem", body, false, hf_dynamo_deadline(store), NULL, &ignored));
}

static hf_status show_all(hf_dynamo *store, const json_t *items, hf_record_kind kind,
                          hf_record_visitor visitor, void *context, hf_error *err)
{
    size_t i;
    const json_t *item;
    unsigned dropped = 0;
    hf_status st = hf_ok();
    int64_t now_s = hf_time_unix_ms() / 1000;
    uint8_t *data = malloc(HF_RECORD_DATA_MAX);
    if (data == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    json_array_foreach(items, i, item)
    {
        int64_t removed = HF_NONE;
        if (hf_failed(st)) {
            break;
        }
        st = hf_dynamo_read_n(item, "removed", &removed, err);
        if (!hf_failed(st) && removed == HF_NONE) {
            st = show(item, kind, data, visitor, context, err);
        } else if (!hf_failed(st) && now_s - removed > REMOVED_KEEP_S && dropped < REMOVED_MAX) {
            drop_removed(store, item);
            dropped++;
        }
    }
    hf_wipe(data, HF_RECORD_DATA_MAX);
    free(data);
    return st;
}

hf_status hf_dynamo_records(hf_store *self, hf_record_kind kind, hf_record_visitor visitor,
                            void *context, uint64_t *ret_generation, hf_error *err)
{
    hf_dynamo *store = (hf_dynamo *)self;
    uint64_t deadline_ns;
    json_t *items = NULL;
    int64_t version = 0;
    hf_status st = begin(store, &deadline_ns, err);
    if (!hf_failed(st)) {
        st = read_kind(store, kind, deadline_ns, &items, &version, err);
    }
    if (hf_failed(st)) {
        return unavailable(st);
    }
    st = show_all(store, items, kind, visitor, context, err);
    json_decref(items);
    *ret_generation = generation_of(version);
    return st;
}

/* ---- changing ----------------------------------------------------------------------------- */

static json_t *version_body(const hf_dynamo *store, const hf_record *record)
{
    char pk[24];
    char sk[2 * HF_RECORD_ID_BYTES + 1];
    name_kind((hf_record_kind)record->kind, pk);
    hf_hex_encode(record->id, HF_RECORD_ID_BYTES, sk);
    return json_pack("{s:s,s:o,s:b,s:s,s:{s:s}}", "TableName", store->config.table, "Key",
                     hf_dynamo_key(pk, sk), "ConsistentRead", 1, "ProjectionExpression", "#v",
                     "ExpressionAttributeNames", "#v", "version");
}

/* CONFLICT unless the record is at the version that its change expects; *ret_again: not known. */
static hf_status check_version(const hf_call *call, const hf_record_change *change, bool *ret_again,
                               hf_error *err)
{
    int64_t version = HF_NONE;
    if (call->outcome == HF_OUTCOME_BUSY || call->outcome == HF_OUTCOME_UNKNOWN) {
        *ret_again = true;
        return hf_ok();
    }
    hf_status st =
        call->outcome == HF_OUTCOME_DONE
            ? hf_dynamo_read_n(json_object_get(call->answer, "Item"), "version", &version, err)
            : hf_dynamo_call_status(call, err);
    bool is_expected = (uint64_t)(version == HF_NONE ? 0 : version) == change->expected;
    return hf_failed(st) || is_expected
               ? st
               : hf_fail(err, HF_CONFLICT, "the record was changed by somebody else meanwhile");
}

static hf_status check_expected(hf_dynamo *store, const hf_record_change *changes, size_t n,
                                uint64_t deadline_ns, hf_error *err)
{
    hf_call *calls = calloc(n, sizeof *calls);
    bool again = calls != NULL;
    hf_status st = calls != NULL ? hf_ok() : hf_fail(err, HF_NOMEM, "out of memory");
    for (unsigned tries = 0; again && !hf_failed(st); tries++) {
        if (tries > 0 && !hf_dynamo_pause(tries, deadline_ns)) {
            st = hf_fail(err, HF_UNAVAILABLE, "DynamoDB table %.80s: reads are throttled",
                         store->config.table);
            break;
        }
        for (size_t i = 0; i < n; i++) {
            calls[i] =
                (hf_call){.operation = "GetItem", .body = version_body(store, &changes[i].record)};
        }
        hf_dynamo_run(store, calls, n, deadline_ns);
        again = false;
        for (size_t i = 0; i < n && !hf_failed(st); i++) {
            st = check_version(&calls[i], &changes[i], &again, err);
        }
        hf_dynamo_calls_done(calls, n);
    }
    free(calls);
    return st;
}

hf_status hf_dynamo_change_records(hf_store *self, const hf_record_change *changes, size_t n,
                                   hf_error *err)
{
    hf_dynamo *store = (hf_dynamo *)self;
    uint64_t deadline_ns = 0;
    hf_status st = hf_record_changes_check(changes, n, err);
    if (!hf_failed(st)) {
        st = begin(store, &deadline_ns, err);
    }
    if (hf_failed(st)) {
        return st.code == HF_NOT_FOUND ? (hf_status){HF_UNAVAILABLE} : st;
    }
    for (unsigned tries = 0;; tries++) {
        hf_dynamo_manifest manifest;
        st = hf_dynamo_settle_records(store, deadline_ns, &manifest, err);
        if (hf_failed(st)) {
            return unavailable(st);
        }
        st = check_expected(store, changes, n, deadline_ns, err);
        if (hf_failed(st)) {
            return st;
        }
        st = hf_dynamo_commit_change(store, &manifest, changes, n, deadline_ns, err);
        if (st.code != HF_CONFLICT) {
            return unavailable(st);
        }
        /* Another change went before; whether it concerns these records is seen next. */
        if (!hf_dynamo_pause(tries, deadline_ns)) {
            return hf_fail(err, HF_UNAVAILABLE, "DynamoDB table %.80s: records change all the time",
                           store->config.table);
        }
    }
}
