/* All records of one validator: its items and its log, and the look-ups in them. */
#include "protect/dynamodb_internal.h"

/* ---- a list of records -------------------------------------------------------------------- */

hf_status hf_records_add(hf_records *records, const hf_message *record)
{
    if (records->count == records->capacity) {
        size_t capacity = records->capacity == 0 ? 64 : records->capacity * 2;
        hf_message *items = realloc(records->items, capacity * sizeof *items);
        if (items == NULL) {
            return (hf_status){HF_NOMEM};
        }
        records->items = items;
        records->capacity = capacity;
    }
    records->items[records->count++] = *record;
    return hf_ok();
}

void hf_records_done(hf_records *records)
{
    free(records->items);
    *records = (hf_records){0};
}

static int order(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

int hf_records_compare(const hf_message *a, const hf_message *b)
{
    int result = order(a->kind, b->kind);
    if (result == 0) {
        result =
            a->kind == HF_MESSAGE_BLOCK ? order(a->slot, b->slot) : order(a->target, b->target);
    }
    return result != 0 || a->kind == HF_MESSAGE_BLOCK ? result : order(a->source, b->source);
}

static int compare(const void *a, const void *b)
{
    return hf_records_compare(a, b);
}

void hf_records_sort(hf_records *records)
{
    if (records->count > 1) {
        qsort(records->items, records->count, sizeof *records->items, compare);
    }
}

/* Of records with one key one stays; where they differ, its root is not known. */
static void unite(hf_records *records)
{
    size_t kept = 0;
    hf_records_sort(records);
    for (size_t i = 0; i < records->count; i++) {
        hf_message *last = kept > 0 ? &records->items[kept - 1] : NULL;
        const hf_message *record = &records->items[i];
        if (last == NULL || hf_records_compare(last, record) != 0) {
            records->items[kept++] = *record;
        } else if (last->has_root != record->has_root ||
                   !hf_bytes_equal(last->signing_root, record->signing_root, HF_ROOT_BYTES)) {
            last->has_root = 0;
            memset(last->signing_root, 0, HF_ROOT_BYTES);
        }
    }
    records->count = kept;
}

/* ---- reading ------------------------------------------------------------------------------ */

static json_t *query_body(const hf_dynamo *store, const hf_dynamo_query *query)
{
    /* "#", the state itself, sorts before every record. */
    json_t *body =
        json_pack("{s:s,s:b,s:s,s:{s:o,s:o}}", "TableName", store->config.table, "ConsistentRead",
                  1, "KeyConditionExpression", "pk = :p AND sk > :s", "ExpressionAttributeValues",
                  ":p", hf_dynamo_s(query->validator->pk), ":s", hf_dynamo_s("a"));
    if (query->start != NULL && json_object_set(body, "ExclusiveStartKey", query->start) != 0) {
        json_decref(body);
        return NULL;
    }
    return body;
}

static hf_status take_page(hf_dynamo_query *query, const json_t *answer, hf_error *err)
{
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(answer, "Items"), i, item)
    {
        hf_message record;
        hf_status st = hf_dynamo_record_read(item, query->validator->pubkey, &record, err);
        if (!hf_failed(st) && hf_failed(hf_records_add(&query->records, &record))) {
            st = hf_fail(err, HF_NOMEM, "out of memory");
        }
        if (hf_failed(st)) {
            return st;
        }
    }
    json_decref(query->start);
    query->start = json_incref(json_object_get(answer, "LastEvaluatedKey"));
    query->ended = query->start == NULL;
    return hf_ok();
}

/* The next page of each query that has not ended. */
static hf_status read_pages(hf_dynamo *store, hf_dynamo_query *queries, size_t n, hf_call *calls,
                            size_t *ret_open, uint64_t deadline_ns, hf_error *err)
{
    size_t open = 0;
    hf_status st = hf_ok();
    for (size_t i = 0; i < n; i++) {
        if (!queries[i].ended) {
            calls[open++] = (hf_call){.operation = "Query", .body = query_body(store, &queries[i])};
        }
    }
    hf_dynamo_run(store, calls, open, deadline_ns);
    *ret_open = 0;
    for (size_t i = 0, c = 0; i < n; i++) {
        if (queries[i].ended) {
            continue;
        }
        hf_call *call = &calls[c++];
        bool again = call->outcome == HF_OUTCOME_BUSY || call->outcome == HF_OUTCOME_UNKNOWN;
        if (!hf_failed(st) && call->outcome == HF_OUTCOME_DONE) {
            st = take_page(&queries[i], call->answer, err);
        } else if (!hf_failed(st)) {
            hf_status failure = hf_dynamo_call_status(call, err);
            st = again ? st : failure;
        }
        *ret_open += !queries[i].ended;
    }
    hf_dynamo_calls_done(calls, open);
    return st;
}

static hf_status add_log(hf_dynamo_query *query, hf_error *err)
{
    const hf_dynamo_state *state = &query->validator->now;
    for (uint32_t i = 0; i < state->log_count; i++) {
        if (hf_failed(hf_records_add(&query->records, &state->log[i].message))) {
            return hf_fail(err, HF_NOMEM, "out of memory");
        }
    }
    unite(&query->records);
    return hf_ok();
}

hf_status hf_dynamo_read_histories(hf_dynamo *store, hf_dynamo_query *queries, size_t n,
                                   uint64_t deadline_ns, hf_error *err)
{
    size_t open = n;
    hf_call *calls = calloc(n == 0 ? 1 : n, sizeof *calls);
    hf_status st = calls != NULL ? hf_ok() : hf_fail(err, HF_NOMEM, "out of memory");
    for (unsigned tries = 0; open > 0 && !hf_failed(st); tries++) {
        size_t before = open;
        st = read_pages(store, queries, n, calls, &open, deadline_ns, err);
        if (!hf_failed(st) && open == before && hf_time_mono_ns() >= deadline_ns) {
            st = hf_fail(err, HF_UNAVAILABLE, "DynamoDB table %.80s: no answer in time",
                         store->config.table);
        }
    }
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        st = add_log(&queries[i], err);
    }
    free(calls);
    return st;
}

void hf_dynamo_query_done(hf_dynamo_query *query)
{
    json_decref(query->start);
    query->start = NULL;
    hf_records_done(&query->records);
}

/* ---- look-ups ----------------------------------------------------------------------------- */

static bool same_root(const hf_message *record, const hf_message *message)
{
    return record->has_root &&
           hf_bytes_equal(record->signing_root, message->signing_root, HF_ROOT_BYTES);
}

static hf_status want_history(hf_dynamo_lookup *look)
{
    look->wants_history = true;
    return (hf_status){HF_UNAVAILABLE};
}

/* What one record says of a message that it shares its slot or target with. */
static void match_record(const hf_message *record, const hf_message *message, hf_match *match)
{
    bool same = same_root(record, message) && record->source == message->source;
    /* A second record for the place contradicts the first. */
    *match = *match == HF_MATCH_NONE && same ? HF_MATCH_IDENTICAL : HF_MATCH_OTHER;
}

static bool shares_place(const hf_message *record, const hf_message *message)
{
    return record->kind == message->kind && record->slot == message->slot &&
           record->target == message->target;
}

/* What is in the log was allowed since the last import, so that no other record contradicts it. */
static hf_status record_at(void *context, const hf_message *message, hf_match *ret_match,
                           hf_error *err)
{
    (void)err;
    hf_dynamo_lookup *look = context;
    const hf_dynamo_state *state = look->state;
    hf_match match = HF_MATCH_NONE;
    for (uint32_t i = state->log_count; i > 0 && match == HF_MATCH_NONE; i--) {
        if (shares_place(&state->log[i - 1].message, message)) {
            match_record(&state->log[i - 1].message, message, &match);
        }
    }
    if (match == HF_MATCH_NONE && look->history == NULL) {
        return want_history(look);
    }
    for (size_t i = 0; match == HF_MATCH_NONE && look->history != NULL && i < look->history->count;
         i++) {
        if (!shares_place(&look->history->items[i], message)) {
            continue;
        }
        for (; i < look->history->count && shares_place(&look->history->items[i], message); i++) {
            match_record(&look->history->items[i], message, &match);
        }
    }
    *ret_match = match;
    return hf_ok();
}

static bool surrounds(const hf_message *outer, const hf_message *inner)
{
    return outer->source < inner->source && outer->target > inner->target;
}

static hf_status surround(void *context, const hf_message *message, hf_surround *ret_surround,
                          hf_error *err)
{
    (void)err;
    hf_dynamo_lookup *look = context;
    hf_surround found = HF_SURROUND_NONE;
    if (look->history == NULL) {
        return want_history(look);
    }
    for (size_t i = 0; i < look->history->count && found != HF_SURROUND_SURROUNDS; i++) {
        const hf_message *record = &look->history->items[i];
        if (record->kind != HF_MESSAGE_ATTESTATION) {
            continue;
        }
        if (surrounds(message, record)) {
            found = HF_SURROUND_SURROUNDS;
        } else if (surrounds(record, message)) {
            found = HF_SURROUND_SURROUNDED;
        }
    }
    *ret_surround = found;
    return hf_ok();
}

const hf_history_ops hf_dynamo_history = {record_at, record_at, surround};
