/* The DynamoDB store: open, close, and what goes through all validators. */
#include "protect/dynamodb_internal.h"

#define PAGE 64
#define TRIES_MAX 20

/* ---- all validators ----------------------------------------------------------------------- */

/* Does something with the freshly read states of a page of validators. */
typedef hf_status (*page_visitor)(hf_dynamo *store, hf_dynamo_validator *const *validators,
                                  size_t n, void *context, hf_error *err);

static hf_status visit_page(hf_dynamo *store, const json_t *pubkeys, page_visitor visitor,
                            void *context, hf_error *err)
{
    hf_dynamo_validator *validators[PAGE];
    size_t n = json_array_size(pubkeys);
    HF_ASSERT(n <= PAGE);
    for (size_t i = 0; i < n; i++) {
        uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
        hf_status st = hf_dynamo_pubkey_parse(json_array_get(pubkeys, i), pubkey, err);
        validators[i] = hf_failed(st) ? NULL : hf_dynamo_validator_get(store, pubkey);
        if (validators[i] == NULL) {
            return hf_failed(st) ? st
                                 : hf_fail(err, HF_NOMEM, "slashing protection: out of memory");
        }
        validators[i]->loaded = false;
    }
    hf_status st = hf_dynamo_load(store, validators, n, hf_dynamo_deadline(store), err);
    return hf_failed(st) ? st : visitor(store, validators, n, context, err);
}

static hf_status visit_all(hf_dynamo *store, page_visitor visitor, void *context, hf_error *err)
{
    char after[2 * HF_BLS_PUBKEY_BYTES + 1] = "";
    size_t n = PAGE;
    hf_status st = hf_dynamo_prepare(store, hf_dynamo_deadline(store), err);
    while (n == PAGE && !hf_failed(st)) {
        json_t *pubkeys = NULL;
        st = hf_dynamo_list(store, after, PAGE, &pubkeys, err);
        n = json_array_size(pubkeys);
        if (n > 0) {
            hf_str_cut(after, sizeof after, json_string_value(json_array_get(pubkeys, n - 1)));
            st = visit_page(store, pubkeys, visitor, context, err);
        }
        json_decref(pubkeys);
    }
    return st.code == HF_NOT_FOUND ? (hf_status){HF_UNAVAILABLE} : st;
}

/* ---- floors ------------------------------------------------------------------------------- */

static int64_t larger(int64_t a, uint64_t b)
{
    return a > (int64_t)b ? a : (int64_t)b;
}

static hf_status raise_one(hf_dynamo *store, hf_dynamo_validator *validator,
                           const hf_watermark *low, hf_error *err)
{
    hf_dynamo_state next;
    hf_dynamo_state_init(&next);
    hf_status st = hf_dynamo_load(store, &validator, 1, hf_dynamo_deadline(store), err);
    if (!hf_failed(st) && hf_failed(hf_dynamo_state_copy(&next, &validator->now))) {
        st = hf_fail(err, HF_NOMEM, "slashing protection: out of memory");
    }
    if (!hf_failed(st) && next.version > 0) {
        next.version++;
        if (low->has_slot) {
            next.bounds.floor_slot = larger(next.bounds.floor_slot, low->slot);
        }
        if (low->has_epochs) {
            next.bounds.floor_source = larger(next.bounds.floor_source, low->source);
            next.bounds.floor_target = larger(next.bounds.floor_target, low->target);
        }
        json_t *body = hf_dynamo_state_put(store, validator->pk, &next, next.version - 1);
        validator->loaded = false;
        st = hf_dynamo_one(store, "PutItem", body, false, hf_dynamo_deadline(store), NULL, err);
    }
    hf_dynamo_state_done(&next);
    return st;
}

static hf_status raise_page(hf_dynamo *store, hf_dynamo_validator *const *validators, size_t n,
                            void *context, hf_error *err)
{
    hf_status st = hf_ok();
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        st = raise_one(store, validators[i], context, err);
        /* Raising twice is raising once: whatever became of a try, another one is right. */
        for (unsigned tries = 0; tries < TRIES_MAX && hf_failed(st) && store->ready &&
                                 (st.code == HF_CONFLICT || st.code == HF_UNAVAILABLE);
             tries++) {
            st = raise_one(store, validators[i], context, err);
        }
    }
    return st.code == HF_CONFLICT ? (hf_status){HF_UNAVAILABLE} : st;
}

static hf_status dynamo_raise_floors(hf_store *self, const hf_watermark *low, hf_error *err)
{
    hf_watermark mark = *low;
    if (low->slot > HF_PROTECT_MAX_NUMBER || low->source > HF_PROTECT_MAX_NUMBER ||
        low->target > HF_PROTECT_MAX_NUMBER) {
        return hf_fail(err, HF_INVALID_INPUT, "a watermark above 2^63 - 1");
    }
    hf_status st = visit_all((hf_dynamo *)self, raise_page, &mark, err);
    return hf_failed(st) ? st : hf_dynamo_count_change((hf_dynamo *)self, err);
}

/* ---- status ------------------------------------------------------------------------------- */

static void widen(int64_t floor, uint8_t *has_low, uint64_t *low, uint64_t *high)
{
    if (floor != HF_NONE) {
        *low = *has_low == 0 || (uint64_t)floor < *low ? (uint64_t)floor : *low;
        *high = *has_low == 0 || (uint64_t)floor > *high ? (uint64_t)floor : *high;
        *has_low = 1;
    }
}

static hf_status count_page(hf_dynamo *store, hf_dynamo_validator *const *validators, size_t n,
                            void *context, hf_error *err)
{
    (void)err;
    hf_store_status *status = context;
    for (size_t i = 0; i < n; i++) {
        const hf_dynamo_state *state = &validators[i]->now;
        uint8_t has_source = status->lowest_floors.has_epochs;
        if (state->version == 0) {
            continue;
        }
        status->validators++;
        status->blocks += (uint64_t)state->blocks;
        status->attestations += (uint64_t)state->votes;
        hf_bounds bounds = state->bounds;
        hf_dynamo_raise_to_base(store, &bounds);
        widen(bounds.floor_slot, &status->lowest_floors.has_slot, &status->lowest_floors.slot,
              &status->highest_floors.slot);
        widen(bounds.floor_source, &has_source, &status->lowest_floors.source,
              &status->highest_floors.source);
        widen(bounds.floor_target, &status->lowest_floors.has_epochs, &status->lowest_floors.target,
              &status->highest_floors.target);
    }
    return hf_ok();
}

static hf_status dynamo_status(hf_store *self, hf_store_status *ret_status, hf_error *err)
{
    hf_dynamo *store = (hf_dynamo *)self;
    hf_store_status status = {0};
    hf_status st = visit_all(store, count_page, &status, err);
    if (!hf_failed(st)) {
        status.high = store->high;
        status.highest_floors.has_slot = status.lowest_floors.has_slot;
        status.highest_floors.has_epochs = status.lowest_floors.has_epochs;
        memcpy(status.genesis_validators_root, store->config.genesis_validators_root,
               HF_ROOT_BYTES);
        *ret_status = status;
    }
    return st;
}

/* ---- life --------------------------------------------------------------------------------- */

void hf_dynamo_free(hf_dynamo *store)
{
    if (store == NULL) {
        return;
    }
    hf_records_done(&store->staged);
    hf_dynamo_validators_done(store);
    hf_net_free(store->net);
    hf_aws_free(store->aws);
    free(store);
}

static void dynamo_close(hf_store *self)
{
    hf_dynamo_free((hf_dynamo *)self);
}

static const hf_store_ops dynamo_ops = {
    .decide = hf_dynamo_decide,
    .health = hf_dynamo_health,
    .look = hf_dynamo_glance,
    .import_begin = hf_dynamo_import_begin,
    .import_add = hf_dynamo_import_add,
    .import_commit = hf_dynamo_import_commit,
    .import_abort = hf_dynamo_import_abort,
    .prune = hf_dynamo_prune,
    .raise_floors = dynamo_raise_floors,
    .set_high = hf_dynamo_set_high,
    .status = dynamo_status,
    .records = hf_dynamo_records,
    .change_records = hf_dynamo_change_records,
    .generation = hf_dynamo_generation,
    .mark = hf_dynamo_mark,
    .take_over = hf_dynamo_take_over,
    .anchor_get = hf_dynamo_anchor_get,
    .anchor_set = hf_dynamo_anchor_set,
    .close = dynamo_close,
};

static hf_status find_url(hf_dynamo *store, hf_error *err)
{
    hf_dynamodb_config *config = &store->config;
    hf_status st = hf_ok();
    if (config->region[0] == '\0') {
        st = hf_aws_find_region(config->region, sizeof config->region, err);
        if (hf_failed(st)) {
            return hf_error_wrap(err, (hf_status){HF_USAGE}, "DynamoDB");
        }
    }
    bool malformed =
        config->region[strspn(config->region, "abcdefghijklmnopqrstuvwxyz0123456789-")];
    if (config->table[0] == '\0' || malformed) {
        return hf_fail(err, HF_USAGE, "DynamoDB: %s",
                       malformed ? "the region is malformed" : "the name of the table is missing");
    }
    if (config->endpoint[0] != '\0') {
        st = hf_str_copy(store->url, sizeof store->url, config->endpoint);
        st = hf_failed(st) ? hf_fail(err, HF_USAGE, "too long") : hf_net_check_url(store->url, err);
        return hf_failed(st) ? hf_error_wrap(err, (hf_status){HF_USAGE}, "DynamoDB endpoint") : st;
    }
    st = hf_str_format(store->url, sizeof store->url, "https://dynamodb.%s.amazonaws.com%s/",
                       config->region, strncmp(config->region, "cn-", 3) == 0 ? ".cn" : "");
    HF_ASSERT(!hf_failed(st));
    return st;
}

hf_status hf_dynamo_new(const hf_dynamodb_config *config, hf_dynamo **ret_store, hf_error *err)
{
    hf_net_config net = {0};
    const char *ca_file = getenv("AWS_CA_BUNDLE");
    hf_dynamo *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    store->base.ops = &dynamo_ops;
    store->config = *config;
    store->floors = hf_bounds_none;
    hf_status st = find_url(store, err);
    if (!hf_failed(st) && ca_file != NULL) {
        st = hf_str_copy(net.ca_file, sizeof net.ca_file, ca_file);
        st = hf_failed(st) ? hf_fail(err, HF_USAGE, "AWS_CA_BUNDLE is too long") : st;
    }
    if (!hf_failed(st)) {
        st = hf_net_new(&net, &store->net, err);
    }
    if (!hf_failed(st)) {
        st = hf_aws_new(&net, store->config.region, &store->aws, err);
    }
    if (hf_failed(st)) {
        hf_dynamo_free(store);
        return st;
    }
    *ret_store = store;
    return st;
}

hf_status hf_store_open_dynamodb(const hf_dynamodb_config *config, hf_store **ret_store,
                                 hf_error *err)
{
    hf_dynamo *store = NULL;
    hf_status st = hf_dynamo_new(config, &store, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_dynamo_prepare(store, hf_dynamo_deadline(store), err);
    /* What may pass is tried again by each call. */
    if (hf_failed(st) && st.code != HF_UNAVAILABLE) {
        hf_dynamo_free(store);
        return st;
    }
    *ret_store = &store->base;
    return hf_ok();
}
