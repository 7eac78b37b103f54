/* Items of the table as JSON. */
#include <sodium.h>

#include "protect/dynamodb_internal.h"

#define DIGITS 19 /* of INT64_MAX: with leading zeros keys sort as numbers do */
/* An entry of a log: kind, version, slot or target, source, root. */
#define ENTRY_BYTES (1 + 8 + 8 + 8 + HF_ROOT_BYTES)
#define LOG_BYTES (HF_DYNAMO_LOG_MAX * ENTRY_BYTES)
#define BASE64_LEN(bytes) (((bytes) + 2) / 3 * 4 + 1)

static hf_status corrupt(const char *what, hf_error *err)
{
    return hf_fail(err, HF_CORRUPT, "the table holds an item of ours with a damaged %s", what);
}

/* ---- attributes --------------------------------------------------------------------------- */

json_t *hf_dynamo_s(const char *text)
{
    return json_pack("{s:s}", "S", text);
}

json_t *hf_dynamo_n(int64_t number)
{
    char text[24];
    hf_status st = hf_str_format(text, sizeof text, "%lld", (long long)number);
    HF_ASSERT(!hf_failed(st));
    return json_pack("{s:s}", "N", text);
}

json_t *hf_dynamo_b(const void *bytes, size_t len)
{
    char text[BASE64_LEN(LOG_BYTES)];
    HF_ASSERT(len <= LOG_BYTES);
    (void)sodium_bin2base64(text, sizeof text, bytes, len, sodium_base64_VARIANT_ORIGINAL);
    return json_pack("{s:s}", "B", text);
}

json_t *hf_dynamo_key(const char *pk, const char *sk)
{
    return json_pack("{s:{s:s},s:{s:s}}", "pk", "S", pk, "sk", "S", sk);
}

json_t *hf_dynamo_get_body(const hf_dynamo *store, const char *pk, const char *sk)
{
    return json_pack("{s:s,s:o,s:b}", "TableName", store->config.table, "Key",
                     hf_dynamo_key(pk, sk), "ConsistentRead", 1);
}

static const char *value_of(const json_t *item, const char *name, const char *type)
{
    return json_string_value(json_object_get(json_object_get(item, name), type));
}

hf_status hf_dynamo_read_n(const json_t *item, const char *name, int64_t *ret_number, hf_error *err)
{
    uint64_t number;
    const char *text = value_of(item, name, "N");
    if (json_object_get(item, name) == NULL) {
        *ret_number = HF_NONE;
        return hf_ok();
    }
    if (text == NULL || hf_failed(hf_num_parse_u64(text, strlen(text), &number)) ||
        number > HF_PROTECT_MAX_NUMBER) {
        return corrupt(name, err);
    }
    *ret_number = (int64_t)number;
    return hf_ok();
}

const char *hf_dynamo_read_s(const json_t *item, const char *name)
{
    return value_of(item, name, "S");
}

hf_status hf_dynamo_read_b(const json_t *item, const char *name, uint8_t *out, size_t max,
                           size_t *ret_len, hf_error *err)
{
    const char *text = value_of(item, name, "B");
    if (json_object_get(item, name) == NULL) {
        return (hf_status){HF_NOT_FOUND};
    }
    if (text == NULL || sodium_base642bin(out, max, text, strlen(text), NULL, ret_len, NULL,
                                          sodium_base64_VARIANT_ORIGINAL) != 0) {
        return corrupt(name, err);
    }
    return hf_ok();
}

/* Adds an owned attribute; false when memory is short (value NULL as well). */
static bool put(json_t *item, const char *name, json_t *value)
{
    return value != NULL && json_object_set_new(item, name, value) == 0;
}

static bool put_n(json_t *item, const char *name, int64_t number)
{
    return number == HF_NONE || put(item, name, hf_dynamo_n(number));
}

/* ---- records ------------------------------------------------------------------------------ */

void hf_dynamo_record_key(const hf_message *record, char ret_sk[HF_DYNAMO_SK_LEN])
{
    hf_status st;
    if (record->kind == HF_MESSAGE_BLOCK) {
        st = hf_str_format(ret_sk, HF_DYNAMO_SK_LEN, "b#%0*llu", DIGITS,
                           (unsigned long long)record->slot);
    } else {
        st = hf_str_format(ret_sk, HF_DYNAMO_SK_LEN, "a#%0*llu#%0*llu", DIGITS,
                           (unsigned long long)record->target, DIGITS,
                           (unsigned long long)record->source);
    }
    HF_ASSERT(!hf_failed(st));
}

json_t *hf_dynamo_record_item(const char *pk, const hf_message *record)
{
    char sk[HF_DYNAMO_SK_LEN];
    hf_dynamo_record_key(record, sk);
    json_t *item = hf_dynamo_key(pk, sk);
    if (record->has_root && !put(item, "root", hf_dynamo_b(record->signing_root, HF_ROOT_BYTES))) {
        json_decref(item);
        return NULL;
    }
    return item;
}

/* A number of exactly DIGITS digits. */
static bool read_digits(const char *text, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (int i = 0; i < DIGITS; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    *ret_number = number;
    return number <= HF_PROTECT_MAX_NUMBER;
}

static bool read_key(const char *sk, hf_message *record)
{
    size_t len = sk != NULL ? strlen(sk) : 0;
    if (len == 2 + DIGITS && strncmp(sk, "b#", 2) == 0) {
        record->kind = HF_MESSAGE_BLOCK;
        return read_digits(sk + 2, &record->slot);
    }
    record->kind = HF_MESSAGE_ATTESTATION;
    return len == 3 + 2 * DIGITS && strncmp(sk, "a#", 2) == 0 && sk[2 + DIGITS] == '#' &&
           read_digits(sk + 2, &record->target) && read_digits(sk + 3 + DIGITS, &record->source);
}

hf_status hf_dynamo_record_read(const json_t *item, const uint8_t *pubkey, hf_message *ret_record,
                                hf_error *err)
{
    hf_message record = {0};
    size_t len = 0;
    if (!read_key(hf_dynamo_read_s(item, "sk"), &record)) {
        return corrupt("sk", err);
    }
    hf_status st = hf_dynamo_read_b(item, "root", record.signing_root, HF_ROOT_BYTES, &len, err);
    if (!hf_failed(st) && len != HF_ROOT_BYTES) {
        st = corrupt("root", err);
    }
    if (hf_failed(st) && st.code != HF_NOT_FOUND) {
        return st;
    }
    record.has_root = !hf_failed(st);
    memcpy(record.pubkey, pubkey, HF_BLS_PUBKEY_BYTES);
    *ret_record = record;
    return hf_ok();
}

/* ---- states ------------------------------------------------------------------------------- */

static void encode_entry(const hf_logged *entry, uint8_t out[ENTRY_BYTES])
{
    const hf_message *message = &entry->message;
    out[0] = (uint8_t)message->kind;
    hf_le64_put(out + 1, (uint64_t)entry->version);
    hf_le64_put(out + 9, message->kind == HF_MESSAGE_BLOCK ? message->slot : message->target);
    hf_le64_put(out + 17, message->source);
    memcpy(out + 25, message->signing_root, HF_ROOT_BYTES);
}

static hf_status decode_entry(const uint8_t in[ENTRY_BYTES], const uint8_t *pubkey,
                              hf_logged *ret_entry, hf_error *err)
{
    hf_logged entry = {.version = (int64_t)hf_le64_get(in + 1)};
    uint64_t number = hf_le64_get(in + 9);
    entry.message.kind = in[0];
    entry.message.has_root = 1;
    entry.message.source = hf_le64_get(in + 17);
    if (in[0] == HF_MESSAGE_BLOCK) {
        entry.message.slot = number;
    } else {
        entry.message.target = number;
    }
    memcpy(entry.message.signing_root, in + 25, HF_ROOT_BYTES);
    memcpy(entry.message.pubkey, pubkey, HF_BLS_PUBKEY_BYTES);
    if (hf_failed(hf_rules_check(&entry.message, NULL)) || entry.version < 1) {
        return corrupt("log", err);
    }
    *ret_entry = entry;
    return hf_ok();
}

json_t *hf_dynamo_state_item(const char *pk, const hf_dynamo_state *state)
{
    uint8_t log[LOG_BYTES];
    const hf_bounds *bounds = &state->bounds;
    json_t *item = hf_dynamo_key(pk, "#");
    for (uint32_t i = 0; i < state->log_count; i++) {
        encode_entry(&state->log[i], log + (size_t)i * ENTRY_BYTES);
    }
    bool ok = put_n(item, "version", state->version) && put_n(item, "flushed", state->flushed) &&
              put_n(item, "floor_slot", bounds->floor_slot) &&
              put_n(item, "floor_source", bounds->floor_source) &&
              put_n(item, "floor_target", bounds->floor_target) &&
              put_n(item, "max_slot", bounds->max_slot) &&
              put_n(item, "max_source", bounds->max_source) &&
              put_n(item, "max_target", bounds->max_target) &&
              put_n(item, "oldest_slot", state->oldest_slot) &&
              put_n(item, "oldest_target", state->oldest_target) &&
              put_n(item, "blocks", state->blocks) && put_n(item, "votes", state->votes) &&
              put_n(item, "irregular", state->irregular ? 1 : HF_NONE) &&
              (state->log_count == 0 ||
               put(item, "log", hf_dynamo_b(log, (size_t)state->log_count * ENTRY_BYTES)));
    if (!ok) {
        json_decref(item);
        return NULL;
    }
    return item;
}

static hf_status read_log(const json_t *item, const uint8_t *pubkey, hf_dynamo_state *state,
                          hf_error *err)
{
    uint8_t log[LOG_BYTES];
    size_t len = 0;
    hf_status st = hf_dynamo_read_b(item, "log", log, sizeof log, &len, err);
    state->log_count = 0;
    if (st.code == HF_NOT_FOUND) {
        return hf_ok();
    }
    if (!hf_failed(st) && len % ENTRY_BYTES != 0) {
        st = corrupt("log", err);
    }
    if (!hf_failed(st) &&
        hf_failed(hf_dynamo_state_reserve(state, (uint32_t)(len / ENTRY_BYTES)))) {
        st = hf_fail(err, HF_NOMEM, "out of memory");
    }
    for (size_t at = 0; at < len && !hf_failed(st); at += ENTRY_BYTES) {
        st = decode_entry(log + at, pubkey, &state->log[state->log_count], err);
        state->log_count += hf_failed(st) ? 0 : 1;
    }
    return st;
}

hf_status hf_dynamo_state_read(const json_t *item, const uint8_t *pubkey,
                               hf_dynamo_state *ret_state, hf_error *err)
{
    int64_t irregular = HF_NONE;
    hf_dynamo_state *state = ret_state;
    const struct {
        const char *name;
        int64_t *number;
    } numbers[] = {
        {"version", &state->version},
        {"flushed", &state->flushed},
        {"floor_slot", &state->bounds.floor_slot},
        {"floor_source", &state->bounds.floor_source},
        {"floor_target", &state->bounds.floor_target},
        {"max_slot", &state->bounds.max_slot},
        {"max_source", &state->bounds.max_source},
        {"max_target", &state->bounds.max_target},
        {"oldest_slot", &state->oldest_slot},
        {"oldest_target", &state->oldest_target},
        {"blocks", &state->blocks},
        {"votes", &state->votes},
        {"irregular", &irregular},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(numbers); i++) {
        hf_status st = hf_dynamo_read_n(item, numbers[i].name, numbers[i].number, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    state->irregular = irregular == 1;
    if (state->version < 1 || state->flushed < 0 || state->blocks < 0 || state->votes < 0) {
        return corrupt("state", err);
    }
    return read_log(item, pubkey, state, err);
}

json_t *hf_dynamo_state_put(const hf_dynamo *store, const char *pk, const hf_dynamo_state *state,
                            int64_t version_before)
{
    json_t *item = hf_dynamo_state_item(pk, state);
    if (item == NULL) {
        return NULL;
    }
    if (version_before == 0) {
        return json_pack("{s:s,s:o,s:s}", "TableName", store->config.table, "Item", item,
                         "ConditionExpression", "attribute_not_exists(pk)");
    }
    return json_pack("{s:s,s:o,s:s,s:{s:s},s:{s:o}}", "TableName", store->config.table, "Item",
                     item, "ConditionExpression", "#v = :v", "ExpressionAttributeNames", "#v",
                     "version", "ExpressionAttributeValues", ":v", hf_dynamo_n(version_before));
}
