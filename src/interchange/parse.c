/*
 * From EIP-3076 JSON to records. The text is checked as a whole before the first record is handed
 * on, so that a file that is wrong at its end has done nothing.
 *
 * jansson builds a tree of about six times the text (measured with signing roots; without them the
 * records are shorter and it is about twelve times). HF_INTERCHANGE_MAX_BYTES bounds it; a caller
 * with less memory bounds the text itself.
 */
#include <jansson.h>

#include "interchange/interchange.h"

/* "data[123].signed_attestations[45678].signing_root" */
#define PLACE_LEN 96

typedef struct parser {
    hf_interchange_sink sink; /* NULL while checking */
    void *context;
    hf_error *err;
    hf_message page[HF_INTERCHANGE_PAGE];
    size_t count;
} parser;

/* Where in the document: "data[2].signed_blocks[7]" and a member. */
typedef struct place {
    size_t entry;
    const char *list; /* NULL: the entry itself */
    size_t item;
} place;

static hf_status fail_at(parser *p, const place *at, const char *member, const char *what)
{
    char where[PLACE_LEN];
    const char *dot = member[0] != '\0' ? "." : "";
    int written = at->list == NULL
                      ? snprintf(where, sizeof where, "data[%zu]%s%s", at->entry, dot, member)
                      : snprintf(where, sizeof where, "data[%zu].%s[%zu]%s%s", at->entry, at->list,
                                 at->item, dot, member);
    return hf_fail(p->err, HF_INVALID_INPUT, "%s: %s", written > 0 ? where : "data", what);
}

/* ---- members ------------------------------------------------------------------------------ */

static hf_status take_hex(parser *p, const place *at, json_t *object, const char *member,
                          uint8_t *ret_bytes, size_t len)
{
    json_t *value = json_object_get(object, member);
    if (value == NULL) {
        return fail_at(p, at, member, "missing");
    }
    if (!json_is_string(value) ||
        hf_failed(
            hf_hex_decode(json_string_value(value), json_string_length(value), ret_bytes, len))) {
        return fail_at(p, at, member,
                       len == HF_ROOT_BYTES ? "not 32 bytes in hex" : "not 48 bytes in hex");
    }
    return hf_ok();
}

/* A decimal string as the format asks for, or a plain integer as some tools write. */
static hf_status take_number(parser *p, const place *at, json_t *object, const char *member,
                             uint64_t *ret_number)
{
    json_t *value = json_object_get(object, member);
    uint64_t number = 0;
    if (value == NULL) {
        return fail_at(p, at, member, "missing");
    }
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        number = (uint64_t)json_integer_value(value);
    } else if (!json_is_string(value) ||
               hf_failed(hf_num_parse_u64(json_string_value(value), json_string_length(value),
                                          &number))) {
        return fail_at(p, at, member, "not a decimal number in a string");
    }
    if (number > HF_PROTECT_MAX_NUMBER) {
        return fail_at(p, at, member, "above 2^63 - 1");
    }
    *ret_number = number;
    return hf_ok();
}

static hf_status take_root(parser *p, const place *at, json_t *object, hf_message *message)
{
    json_t *value = json_object_get(object, "signing_root");
    if (value == NULL || json_is_null(value)) {
        message->has_root = 0;
        return hf_ok();
    }
    message->has_root = 1;
    return take_hex(p, at, object, "signing_root", message->signing_root, HF_ROOT_BYTES);
}

/* ---- records ------------------------------------------------------------------------------ */

static hf_status flush(parser *p)
{
    hf_status st = hf_ok();
    if (p->sink != NULL && p->count > 0) {
        st = p->sink(p->context, p->page, p->count, p->err);
    }
    p->count = 0;
    return st;
}

static hf_status take_record(parser *p, const place *at, json_t *record, hf_message *message)
{
    hf_status st;
    if (!json_is_object(record)) {
        return fail_at(p, at, "", "not an object");
    }
    if (message->kind == HF_MESSAGE_BLOCK) {
        st = take_number(p, at, record, "slot", &message->slot);
    } else {
        st = take_number(p, at, record, "source_epoch", &message->source);
        if (!hf_failed(st)) {
            st = take_number(p, at, record, "target_epoch", &message->target);
        }
    }
    return hf_failed(st) ? st : take_root(p, at, record, message);
}

static hf_status take_list(parser *p, size_t entry_index, json_t *entry, const char *list,
                           hf_message *first)
{
    place at = {entry_index, NULL, 0};
    size_t index;
    json_t *record;
    json_t *records = json_object_get(entry, list);
    if (!json_is_array(records)) {
        return fail_at(p, &at, list, records == NULL ? "missing" : "not an array");
    }
    at.list = list;
    json_array_foreach(records, index, record)
    {
        hf_message *message = &p->page[p->count];
        *message = *first;
        at.item = index;
        hf_status st = take_record(p, &at, record, message);
        if (!hf_failed(st)) {
            p->count++;
            st = p->count == HF_INTERCHANGE_PAGE ? flush(p) : st;
        }
        if (hf_failed(st)) {
            return st;
        }
    }
    return hf_ok();
}

static hf_status take_data(parser *p, json_t *data)
{
    size_t index;
    json_t *entry;
    json_array_foreach(data, index, entry)
    {
        place at = {index, NULL, 0};
        hf_message first = {.kind = HF_MESSAGE_BLOCK};
        if (!json_is_object(entry)) {
            return fail_at(p, &at, "", "not an object");
        }
        hf_status st = take_hex(p, &at, entry, "pubkey", first.pubkey, HF_BLS_PUBKEY_BYTES);
        if (!hf_failed(st)) {
            st = take_list(p, index, entry, "signed_blocks", &first);
        }
        first.kind = HF_MESSAGE_ATTESTATION;
        if (!hf_failed(st)) {
            st = take_list(p, index, entry, "signed_attestations", &first);
        }
        if (hf_failed(st)) {
            return st;
        }
    }
    return flush(p);
}

/* ---- the document ------------------------------------------------------------------------- */

static hf_status check_metadata(json_t *document, const uint8_t *expected, hf_error *err)
{
    uint8_t root[HF_ROOT_BYTES];
    json_t *metadata = json_object_get(document, "metadata");
    if (!json_is_object(metadata)) {
        return hf_fail(err, HF_INVALID_INPUT, "metadata: missing, or not an object");
    }
    json_t *version = json_object_get(metadata, "interchange_format_version");
    if (!json_is_string(version)) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "metadata.interchange_format_version: missing, or not a string");
    }
    if (json_string_length(version) != 1 || json_string_value(version)[0] != '5') {
        return hf_fail(err, HF_INVALID_INPUT,
                       "metadata.interchange_format_version: only version 5 is known");
    }
    json_t *value = json_object_get(metadata, "genesis_validators_root");
    if (!json_is_string(value) ||
        hf_failed(hf_hex_decode(json_string_value(value), json_string_length(value), root,
                                sizeof root))) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "metadata.genesis_validators_root: not 32 bytes in hex");
    }
    if (!hf_bytes_equal(root, expected, sizeof root)) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "metadata.genesis_validators_root: a history of another network");
    }
    return hf_ok();
}

static hf_status parse_document(json_t *document, const uint8_t *root, parser *p)
{
    if (!json_is_object(document)) {
        return hf_fail(p->err, HF_INVALID_INPUT, "not a JSON object");
    }
    hf_status st = check_metadata(document, root, p->err);
    if (hf_failed(st)) {
        return st;
    }
    json_t *data = json_object_get(document, "data");
    if (!json_is_array(data)) {
        return hf_fail(p->err, HF_INVALID_INPUT, "data: missing, or not an array");
    }
    hf_interchange_sink sink = p->sink;
    p->sink = NULL;
    st = take_data(p, data);
    p->sink = sink;
    return hf_failed(st) ? st : take_data(p, data);
}

hf_status hf_interchange_parse(hf_bytes json, const uint8_t genesis_validators_root[HF_ROOT_BYTES],
                               hf_interchange_sink sink, void *context, hf_error *err)
{
    json_error_t problem;
    char text[JSON_ERROR_TEXT_LENGTH];
    if (json.len > HF_INTERCHANGE_MAX_BYTES) {
        return hf_fail(err, HF_LIMIT, "larger than %zu bytes", (size_t)HF_INTERCHANGE_MAX_BYTES);
    }
    parser *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    *p = (parser){.sink = sink, .context = context, .err = err};
    hf_status st;
    json_t *document =
        json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, &problem);
    if (document == NULL) {
        hf_str_sanitize(text, sizeof text, problem.text);
        st = json_error_code(&problem) == json_error_out_of_memory
                 ? hf_fail(err, HF_NOMEM, "out of memory")
                 : hf_fail(err, HF_INVALID_INPUT, "line %d, column %d: %s", problem.line,
                           problem.column, text);
    } else {
        st = parse_document(document, genesis_validators_root, p);
    }
    json_decref(document);
    free(p);
    return st;
}
