/*
 * export: validator by validator, each as it was at one moment (its state had the same version
 * before and after its records were read). What is said of floors is as in sqlite_export.c.
 */
#include "protect/dynamodb_internal.h"

#define CHUNK 32
#define TRIES_MAX 20 /* while other nodes sign with the same validators */

typedef struct exporter {
    hf_dynamo *store;
    hf_export_visitor visitor;
    void *context;
} exporter;

static hf_status visit(const exporter *out, const hf_message *message, hf_error *err)
{
    hf_status st = out->visitor(out->context, message);
    return hf_failed(st) ? hf_fail(err, st.code, "export: the receiver gave up") : st;
}

/* ---- floors ------------------------------------------------------------------------------- */

/* Raises the vote floors until no record lies across them. */
static void cover_votes(const hf_records *history, hf_bounds *floors)
{
    bool raised = floors->floor_target != HF_NONE;
    while (raised) {
        raised = false;
        for (size_t i = 0; i < history->count; i++) {
            const hf_message *vote = &history->items[i];
            int64_t source = (int64_t)vote->source;
            int64_t target = (int64_t)vote->target;
            if (vote->kind != HF_MESSAGE_ATTESTATION) {
                continue;
            }
            if (target < floors->floor_target && source > floors->floor_source) {
                floors->floor_source = source;
                raised = true;
            }
            if (source < floors->floor_source && target > floors->floor_target) {
                floors->floor_target = target;
                raised = true;
            }
        }
    }
}

static bool is_exported(const hf_bounds *floors, const hf_message *record)
{
    return record->kind == HF_MESSAGE_BLOCK ? (int64_t)record->slot >= floors->floor_slot
                                            : (int64_t)record->target >= floors->floor_target &&
                                                  (int64_t)record->source >= floors->floor_source;
}

/* Do the exported records reach down to the floors by themselves? */
static void find_reach(const hf_records *history, const hf_bounds *floors, bool *ret_blocks,
                       bool *ret_votes)
{
    bool block = floors->floor_slot == HF_NONE;
    bool source = floors->floor_target == HF_NONE;
    bool target = source;
    for (size_t i = 0; i < history->count; i++) {
        const hf_message *record = &history->items[i];
        if (!is_exported(floors, record)) {
            continue;
        }
        if (record->kind == HF_MESSAGE_BLOCK) {
            block = block || (int64_t)record->slot == floors->floor_slot;
        } else {
            source = source || (int64_t)record->source == floors->floor_source;
            target = target || (int64_t)record->target == floors->floor_target;
        }
    }
    *ret_blocks = block;
    *ret_votes = source && target;
}

static hf_status export_floors(const exporter *out, const uint8_t *pubkey, const hf_bounds *floors,
                               const hf_records *history, hf_error *err)
{
    bool blocks_reach;
    bool votes_reach;
    hf_status st = hf_ok();
    hf_message message = {.kind = HF_MESSAGE_BLOCK};
    memcpy(message.pubkey, pubkey, HF_BLS_PUBKEY_BYTES);
    find_reach(history, floors, &blocks_reach, &votes_reach);
    if (!blocks_reach) {
        message.slot = (uint64_t)floors->floor_slot;
        st = visit(out, &message, err);
    }
    if (!votes_reach && !hf_failed(st)) {
        message.kind = HF_MESSAGE_ATTESTATION;
        message.slot = 0;
        message.source = (uint64_t)floors->floor_source;
        message.target = (uint64_t)floors->floor_target;
        st = visit(out, &message, err);
    }
    return st;
}

static hf_status export_validator(const exporter *out, const hf_dynamo_query *query, hf_error *err)
{
    const hf_dynamo_validator *validator = query->validator;
    hf_bounds floors = validator->now.bounds;
    if (validator->now.version == 0) {
        return hf_ok();
    }
    hf_dynamo_raise_to_base(out->store, &floors);
    cover_votes(&query->records, &floors);
    hf_status st = export_floors(out, validator->pubkey, &floors, &query->records, err);
    for (size_t i = 0; i < query->records.count && !hf_failed(st); i++) {
        if (is_exported(&floors, &query->records.items[i])) {
            st = visit(out, &query->records.items[i], err);
        }
    }
    return st;
}

/* ---- reading ------------------------------------------------------------------------------ */

static hf_status read_states(exporter *out, hf_dynamo_query *queries, size_t n, hf_error *err)
{
    hf_dynamo_validator *validators[CHUNK];
    for (size_t i = 0; i < n; i++) {
        validators[i] =
            hf_dynamo_validator_get(out->store, queries[i].validator->pubkey); /* not const */
        validators[i]->loaded = false;
    }
    return hf_dynamo_load(out->store, validators, n, hf_time_mono_ns() + HF_DYNAMO_PATIENCE_NS,
                          err);
}

/* Reads states, records, states: *ret_settled when nothing changed meanwhile. */
static hf_status read_chunk(exporter *out, hf_dynamo_query *queries, size_t n, bool *ret_settled,
                            hf_error *err)
{
    int64_t versions[CHUNK];
    bool settled = true;
    hf_status st = read_states(out, queries, n, err);
    for (size_t i = 0; i < n; i++) {
        versions[i] = queries[i].validator->now.version;
    }
    if (!hf_failed(st)) {
        st = hf_dynamo_read_histories(out->store, queries, n,
                                      hf_time_mono_ns() + HF_DYNAMO_PATIENCE_NS, err);
    }
    if (!hf_failed(st)) {
        st = read_states(out, queries, n, err);
    }
    for (size_t i = 0; i < n; i++) {
        settled = settled && versions[i] == queries[i].validator->now.version;
    }
    *ret_settled = settled;
    return st;
}

static hf_status export_chunk(exporter *out, const uint8_t (*pubkeys)[HF_BLS_PUBKEY_BYTES],
                              size_t n, hf_error *err)
{
    hf_dynamo_query queries[CHUNK] = {{0}};
    bool settled = false;
    hf_status st = hf_ok();
    for (size_t i = 0; i < n; i++) {
        queries[i].validator = hf_dynamo_validator_get(out->store, pubkeys[i]);
        if (queries[i].validator == NULL) {
            return hf_fail(err, HF_NOMEM, "export: out of memory");
        }
    }
    for (unsigned tries = 0; tries < TRIES_MAX && !settled && !hf_failed(st); tries++) {
        for (size_t i = 0; i < n; i++) {
            hf_dynamo_query_done(&queries[i]);
            queries[i].ended = false;
        }
        st = read_chunk(out, queries, n, &settled, err);
    }
    if (!hf_failed(st) && !settled) {
        st = hf_fail(err, HF_UNAVAILABLE, "export: signing goes on all the time: try again");
    }
    for (size_t i = 0; i < n; i++) {
        if (!hf_failed(st)) {
            st = export_validator(out, &queries[i], err);
        }
        hf_dynamo_query_done(&queries[i]);
    }
    /* An export sees every validator once: nothing of it has to be kept. */
    hf_dynamo_validators_done(out->store);
    return st;
}

static hf_status export_all(exporter *out, hf_error *err)
{
    char after[2 * HF_BLS_PUBKEY_BYTES + 1] = "";
    size_t n = CHUNK;
    hf_status st = hf_ok();
    while (n == CHUNK && !hf_failed(st)) {
        uint8_t pubkeys[CHUNK][HF_BLS_PUBKEY_BYTES];
        json_t *page = NULL;
        st = hf_dynamo_list(out->store, after, CHUNK, &page, err);
        n = json_array_size(page);
        for (size_t i = 0; i < n && !hf_failed(st); i++) {
            st = hf_dynamo_pubkey_parse(json_array_get(page, i), pubkeys[i], err);
        }
        if (!hf_failed(st) && n > 0) {
            hf_hex_encode(pubkeys[n - 1], HF_BLS_PUBKEY_BYTES, after);
            st = export_chunk(out, (const uint8_t(*)[HF_BLS_PUBKEY_BYTES])pubkeys, n, err);
        }
        json_decref(page);
    }
    return st;
}

static hf_status export_some(exporter *out, const uint8_t (*only)[HF_BLS_PUBKEY_BYTES],
                             size_t only_count, hf_error *err)
{
    hf_status st = hf_ok();
    for (size_t first = 0; first < only_count && !hf_failed(st); first += CHUNK) {
        size_t n = only_count - first < CHUNK ? only_count - first : CHUNK;
        st = export_chunk(out, only + first, n, err);
    }
    return st;
}

hf_status hf_store_export_dynamodb(const hf_dynamodb_config *config,
                                   const uint8_t (*only)[HF_BLS_PUBKEY_BYTES], size_t only_count,
                                   hf_export_visitor visitor, void *context, hf_error *err)
{
    exporter out = {.visitor = visitor, .context = context};
    hf_dynamodb_config own = *config;
    own.create_table = false;
    hf_status st = hf_dynamo_new(&own, &out.store, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_dynamo_prepare(out.store, hf_time_mono_ns() + HF_DYNAMO_PATIENCE_NS, err);
    if (!hf_failed(st)) {
        st = only == NULL ? export_all(&out, err) : export_some(&out, only, only_count, err);
    }
    hf_dynamo_free(out.store);
    return st.code == HF_NOT_FOUND ? (hf_status){HF_UNAVAILABLE} : st;
}
