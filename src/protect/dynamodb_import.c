/*
 * import: records are staged in memory and join the table validator by validator.
 *
 * For each: its records first, then its state under the condition that nobody wrote it since it was
 * read. An import that is cut off has made the table stricter for some, laxer for none, and is
 * done again from the start.
 */
#include "protect/dynamodb_internal.h"

#define STAGED_MAX 4000000U /* 450 MB */
#define TRIES_MAX 20        /* of one validator that other nodes sign with at the same time */

static hf_status refuse_closed(hf_error *err)
{
    return hf_fail(err, HF_CONFLICT, "no import is open, or it was cut off: begin again");
}

hf_status hf_dynamo_import_begin(hf_store *self, hf_error *err)
{
    hf_dynamo *store = (hf_dynamo *)self;
    if (store->import_open) {
        return hf_fail(err, HF_CONFLICT, "another import is under way");
    }
    hf_status st = hf_dynamo_prepare(store, hf_dynamo_deadline(store), err);
    store->import_open = !hf_failed(st);
    return st;
}

hf_status hf_dynamo_import_add(hf_store *self, const hf_message *messages, size_t n, hf_error *err)
{
    hf_dynamo *store = (hf_dynamo *)self;
    if (!store->import_open) {
        return refuse_closed(err);
    }
    if (n > STAGED_MAX - store->staged.count) {
        return hf_fail(err, HF_LIMIT, "an import of more than %u records: split it", STAGED_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        hf_status st = hf_rules_check_record(&messages[i], err);
        if (hf_failed(st)) {
            return st;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (hf_failed(hf_records_add(&store->staged, &messages[i]))) {
            return hf_fail(err, HF_NOMEM, "import: out of memory");
        }
    }
    return hf_ok();
}

void hf_dynamo_import_abort(hf_store *self)
{
    hf_dynamo *store = (hf_dynamo *)self;
    store->import_open = false;
    hf_records_done(&store->staged);
}

/* ---- what was staged ---------------------------------------------------------------------- */

static int compare_staged(const void *a, const void *b)
{
    const hf_message *x = a;
    const hf_message *y = b;
    for (size_t i = 0; i < HF_BLS_PUBKEY_BYTES; i++) {
        if (x->pubkey[i] != y->pubkey[i]) {
            return x->pubkey[i] < y->pubkey[i] ? -1 : 1;
        }
    }
    return hf_records_compare(x, y);
}

/* Of records given more than once one stays, without root where they differ; disputed says so. */
static size_t unite(hf_message *records, size_t count, bool *disputed)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || compare_staged(&records[kept - 1], &records[i]) != 0) {
            disputed[kept] = false;
            records[kept++] = records[i];
            continue;
        }
        hf_message *last = &records[kept - 1];
        if (last->has_root != records[i].has_root ||
            !hf_bytes_equal(last->signing_root, records[i].signing_root, HF_ROOT_BYTES)) {
            last->has_root = 0;
            memset(last->signing_root, 0, HF_ROOT_BYTES);
            disputed[kept - 1] = true;
        }
    }
    return kept;
}

/* ---- one validator ------------------------------------------------------------------------ */

static bool append_item(json_t *requests, const char *pk, const hf_message *record)
{
    json_t *item = hf_dynamo_record_item(pk, record);
    return item != NULL &&
           json_array_append_new(requests, json_pack("{s:{s:o}}", "PutRequest", "Item", item)) == 0;
}

static bool is_changed(const hf_records *changed, const hf_message *record)
{
    for (size_t i = 0; i < changed->count; i++) {
        if (hf_records_compare(&changed->items[i], record) == 0) {
            return true;
        }
    }
    return false;
}

/* The changed records, and what only the log has had until now. */
static hf_status write_records(hf_dynamo *store, const hf_dynamo_validator *validator,
                               const hf_records *changed, hf_error *err)
{
    json_t *requests = json_array();
    const hf_dynamo_state *state = &validator->now;
    bool ok = requests != NULL;
    if (ok && state->version == 0) {
        ok = json_array_append_new(requests, hf_dynamo_listing_put(validator)) == 0;
    }
    for (size_t i = 0; i < changed->count && ok; i++) {
        ok = append_item(requests, validator->pk, &changed->items[i]);
    }
    for (uint32_t i = 0; i < state->log_count && ok; i++) {
        const hf_message *record = &state->log[i].message;
        if (state->log[i].version > state->flushed && !is_changed(changed, record)) {
            ok = append_item(requests, validator->pk, record);
        }
    }
    if (!ok) {
        json_decref(requests);
        return hf_fail(err, HF_NOMEM, "import: out of memory");
    }
    return hf_dynamo_write_all(store, requests, 0, err);
}

/* CONFLICT: somebody wrote the state in between. */
static hf_status write_state(hf_dynamo *store, hf_dynamo_validator *validator,
                             hf_dynamo_state *next, hf_error *err)
{
    next->version = validator->now.version + 1;
    next->flushed = next->version;
    next->log_count = 0;
    json_t *body = hf_dynamo_state_put(store, validator->pk, next, validator->now.version);
    hf_status st =
        hf_dynamo_one(store, "PutItem", body, false, hf_dynamo_deadline(store), NULL, err);
    validator->loaded = false;
    return st;
}

static hf_status try_one(hf_dynamo *store, hf_dynamo_validator *validator, hf_merge *merge,
                         hf_error *err)
{
    hf_dynamo_state next;
    hf_dynamo_query query = {.validator = validator};
    hf_dynamo_state_init(&next);
    validator->loaded = false;
    hf_status st = hf_dynamo_load(store, &validator, 1, hf_dynamo_deadline(store), err);
    if (!hf_failed(st)) {
        st = hf_dynamo_read_histories(store, &query, 1, hf_time_mono_ns() + HF_DYNAMO_PATIENCE_NS,
                                      err);
    }
    if (hf_failed(st)) {
        goto out;
    }
    merge->history = &query.records;
    st = hf_dynamo_state_copy(&next, &validator->now);
    if (!hf_failed(st)) {
        hf_dynamo_raise_to_base(store, &next.bounds);
        st = hf_dynamo_merge(merge, &next);
    }
    if (hf_failed(st)) {
        st = hf_fail(err, HF_NOMEM, "import: out of memory");
        goto out;
    }
    st = write_records(store, validator, &merge->changed, err);
    if (!hf_failed(st)) {
        st = write_state(store, validator, &next, err);
    }
out:
    merge->history = NULL;
    hf_dynamo_state_done(&next);
    hf_dynamo_query_done(&query);
    return st;
}

static hf_status import_one(hf_dynamo *store, const hf_message *staged, const bool *disputed,
                            size_t count, uint64_t *ret_conflicts, hf_error *err)
{
    uint64_t conflicts = 0;
    hf_status st = hf_ok();
    hf_dynamo_validator *validator = hf_dynamo_validator_get(store, staged[0].pubkey);
    if (validator == NULL) {
        return hf_fail(err, HF_NOMEM, "import: out of memory");
    }
    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        hf_merge merge = {.staged = staged, .disputed = disputed, .staged_count = count};
        st = try_one(store, validator, &merge, err);
        /* A second try sees what the first has written, and counts no more than it. */
        conflicts = merge.conflicts > conflicts ? merge.conflicts : conflicts;
        hf_merge_done(&merge);
        if (!hf_failed(st) || (st.code != HF_CONFLICT && st.code != HF_UNAVAILABLE) ||
            !store->ready) {
            break;
        }
    }
    *ret_conflicts = conflicts;
    return st.code == HF_CONFLICT || st.code == HF_NOT_FOUND ? (hf_status){HF_UNAVAILABLE} : st;
}

/* ---- all ---------------------------------------------------------------------------------- */

static hf_status import_all(hf_dynamo *store, const bool *disputed, hf_import_report *report,
                            hf_error *err)
{
    const hf_message *staged = store->staged.items;
    size_t total = store->staged.count;
    for (size_t first = 0; first < total;) {
        uint64_t conflicts = 0;
        size_t end = first;
        while (end < total &&
               hf_bytes_equal(staged[end].pubkey, staged[first].pubkey, HF_BLS_PUBKEY_BYTES)) {
            report->blocks += staged[end].kind == HF_MESSAGE_BLOCK;
            report->attestations += staged[end].kind == HF_MESSAGE_ATTESTATION;
            end++;
        }
        hf_status st =
            import_one(store, staged + first, disputed + first, end - first, &conflicts, err);
        if (hf_failed(st)) {
            return st;
        }
        report->validators++;
        report->conflicts += conflicts;
        first = end;
    }
    return hf_ok();
}

hf_status hf_dynamo_import_commit(hf_store *self, hf_import_report *ret_report, hf_error *err)
{
    hf_dynamo *store = (hf_dynamo *)self;
    hf_import_report report = {0};
    if (!store->import_open) {
        return refuse_closed(err);
    }
    hf_status st = hf_dynamo_prepare(store, hf_dynamo_deadline(store), err);
    if (hf_failed(st)) {
        return st;
    }
    bool *disputed = calloc(store->staged.count + 1, sizeof *disputed);
    if (disputed == NULL) {
        return hf_fail(err, HF_NOMEM, "import: out of memory");
    }
    if (store->staged.count > 1) {
        qsort(store->staged.items, store->staged.count, sizeof *store->staged.items,
              compare_staged);
    }
    store->staged.count = unite(store->staged.items, store->staged.count, disputed);
    st = import_all(store, disputed, &report, err);
    free(disputed);
    if (!hf_failed(st)) {
        st = hf_dynamo_count_change(store, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    hf_dynamo_import_abort(self);
    *ret_report = report;
    return hf_ok();
}
