/*
 * /api/v1/holdfast/keys: the sealed keys. Listing them, making, switching on and off, deleting;
 * bringing keystores in is keystores_import.c's. The keeper decides who may do what to which key.
 */
#include "front/front_internal.h"
#include "seal/seal.h"

#include <inttypes.h>

/* In one answer of a list, unless fewer are asked for. */
#define LIST_DEFAULT 1000U
#define LIST_MAX 10000U
/* In one request: each makes two random points of the curve, and one sync for thirty. */
#define GENERATE_MAX 1000U

static void put_name(hf_text *out, const uint8_t name[HF_SEALED_NAME_BYTES], uint8_t type)
{
    char text[HF_SEALED_TEXT_LEN];
    hf_sealed_key key = {.type = type};
    memcpy(key.name, name, sizeof key.name);
    hf_sealed_key_text(&key, text);
    hf_text_put(out, "\"pubkey\":\"%s\"", text);
}

static const char *type_name(uint8_t type)
{
    return type == HF_KEY_TYPE_BLS ? "BLS" : "SECP256K1";
}

/* 48 bytes, or the 20 of an address and zeros. */
static bool read_name(hf_bytes text, uint8_t ret_name[HF_SEALED_NAME_BYTES])
{
    const char *hex = (const char *)text.ptr;
    memset(ret_name, 0, HF_SEALED_NAME_BYTES);
    return !hf_failed(hf_hex_decode(hex, text.len, ret_name, HF_BLS_PUBKEY_BYTES)) ||
           !hf_failed(hf_hex_decode(hex, text.len, ret_name, HF_ADDRESS_BYTES));
}

/* ---- listing --------------------------------------------------------------------------------- */

typedef struct sealed_listing {
    hf_msg_sealed_list ask;
    hf_text text;
    uint32_t limit;
    uint32_t listed;
    uint8_t after[HF_SEALED_NAME_BYTES];
    bool has_after; /* and its page is being listed */
    hf_sealed_entry last;
} sealed_listing;

static void free_listing(void *pointer)
{
    hf_wipe(pointer, sizeof(sealed_listing));
    free(pointer);
}

static hf_next page_came(hf_exchange *x, const void *frame);

static hf_next ask_page(hf_exchange *x)
{
    sealed_listing *listing = x->job;
    hf_frame_init(&listing->ask, HF_MSG_SEALED_LIST, 0);
    return hf_front_ask(x, &listing->ask, HF_MSG_SEALED_LISTED, page_came);
}

static hf_next end_list(hf_exchange *x, bool is_cut)
{
    sealed_listing *listing = x->job;
    hf_text_put(&listing->text, "],\"next\":");
    if (is_cut) {
        char text[HF_SEALED_TEXT_LEN];
        hf_sealed_key key = {.type = listing->last.type};
        memcpy(key.name, listing->last.name, sizeof key.name);
        hf_sealed_key_text(&key, text);
        hf_text_put(&listing->text, "\"%s\"}", text);
    } else {
        hf_text_put(&listing->text, "null}");
    }
    return hf_front_answer_text(x, 200, HF_CONTENT_JSON, &listing->text);
}

static void put_entry(sealed_listing *listing, const hf_sealed_entry *entry)
{
    hf_text *out = &listing->text;
    const char *status = entry->is_refused != 0              ? "refused"
                         : entry->status == HF_SEALED_ACTIVE ? "active"
                                                             : "inactive";
    hf_text_put(out, "%s{", listing->listed == 0 ? "" : ",");
    put_name(out, entry->name, entry->type);
    hf_text_put(
        out, ",\"type\":\"%s\",\"backend\":\"sealed\",\"status\":\"%s\",\"version\":%" PRIu64 "}",
        type_name(entry->type), status, entry->version);
    listing->last = *entry;
    listing->listed++;
}

/* Names rise within a page of the manifest, and so do the pages. */
static bool is_behind(const sealed_listing *listing, const hf_sealed_entry *entry)
{
    for (size_t i = 0; listing->has_after && i < HF_SEALED_NAME_BYTES; i++) {
        if (entry->name[i] != listing->after[i]) {
            return entry->name[i] > listing->after[i];
        }
    }
    return !listing->has_after;
}

static hf_next page_came(hf_exchange *x, const void *frame)
{
    const hf_msg_sealed_listed *reply = frame;
    sealed_listing *listing = x->job;
    uint32_t count = reply->count <= HF_SEALED_PAGE ? reply->count : HF_SEALED_PAGE;
    for (uint32_t i = 0; i < count; i++) {
        if (!is_behind(listing, &reply->keys[i])) {
            continue;
        }
        if (listing->listed == listing->limit) {
            return end_list(x, true);
        }
        put_entry(listing, &reply->keys[i]);
    }
    uint32_t offset = listing->ask.offset + count;
    bool is_page_done = count == 0 || offset >= reply->total || offset > UINT16_MAX;
    listing->ask.offset = is_page_done ? 0 : (uint16_t)offset;
    listing->ask.page += is_page_done;
    listing->ask.is_part = 1;
    listing->has_after = listing->has_after && !is_page_done;
    if (listing->ask.page >= HF_MANIFEST_PAGES || hf_failed(listing->text.st)) {
        return end_list(x, false);
    }
    return ask_page(x);
}

/* What is wrong with the query, or NULL. */
static const char *read_query(const hf_front_request *request, sealed_listing *listing)
{
    uint64_t limit = LIST_DEFAULT;
    const char *after = request->query_after;
    if (request->query_limit != NULL &&
        (hf_failed(hf_num_parse_u64(request->query_limit, strlen(request->query_limit), &limit)) ||
         limit < 1 || limit > LIST_MAX)) {
        return "limit: must be a number from 1 to 10000";
    }
    listing->limit = (uint32_t)limit;
    if (after != NULL) {
        if (!read_name(hf_bytes_from(after, strlen(after)), listing->after)) {
            return "after: must be the next of the answer before";
        }
        listing->has_after = true;
        listing->ask.page = hf_manifest_page_of(listing->after);
    }
    return NULL;
}

hf_next hf_front_sealed_list(hf_exchange *x)
{
    sealed_listing *listing = calloc(1, sizeof *listing);
    if (listing == NULL) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    x->job = listing;
    x->job_free = free_listing;
    const char *wrong = read_query(&x->request, listing);
    if (wrong != NULL) {
        return hf_front_refuse(x, HF_REASON_MALFORMED, wrong);
    }
    if (!hf_front_open_text(x, &listing->text)) {
        return HF_NEXT_ANSWER;
    }
    hf_text_put(&listing->text, "{\"keys\":[");
    return ask_page(x);
}

/* ---- making ---------------------------------------------------------------------------------- */

typedef struct generation {
    hf_msg_sealed_add ask;
    hf_text text;
    uint32_t missing;
    uint32_t made;
    uint8_t status; /* hf_sealed_status */
} generation;

static void free_generation(void *pointer)
{
    hf_wipe(pointer, sizeof(generation));
    free(pointer);
}

static hf_next some_made(hf_exchange *x, const void *frame);

static hf_next end_generation(hf_exchange *x, const char *failure)
{
    generation *job = x->job;
    hf_text_put(&job->text, "],\"missing\":%" PRIu32, job->missing);
    if (failure != NULL) {
        hf_text_put(&job->text, ",\"message\":");
        hf_text_put_json(&job->text, failure, strnlen(failure, HF_DETAIL_LEN));
    }
    hf_text_put(&job->text, "}");
    return hf_front_answer_text(x, 200, HF_CONTENT_JSON, &job->text);
}

static hf_next generation_unanswered(hf_exchange *x)
{
    generation *job = x->job;
    return job->made == 0
               ? hf_front_refuse(x, HF_REASON_TIMEOUT,
                                 "not answered in time; keys may have been made: list them")
               : end_generation(x, "not answered in time; more keys may have been made");
}

static hf_next ask_for_more(hf_exchange *x)
{
    generation *job = x->job;
    memset(&job->ask, 0, sizeof job->ask);
    hf_frame_init(&job->ask, HF_MSG_SEALED_ADD, 0);
    job->ask.count = job->missing < HF_SEALED_ADD_MAX ? job->missing : HF_SEALED_ADD_MAX;
    for (uint32_t i = 0; i < job->ask.count; i++) {
        job->ask.keys[i].is_generated = 1;
        job->ask.keys[i].status = job->status;
    }
    x->ask_timeout_ms = HF_FRONT_IMPORT_TIMEOUT_MS;
    x->on_silence = generation_unanswered;
    return hf_front_ask(x, &job->ask, HF_MSG_SEALED_ADDED, some_made);
}

static hf_next some_made(hf_exchange *x, const void *frame)
{
    const hf_msg_sealed_added *reply = frame;
    generation *job = x->job;
    uint32_t count = reply->count <= job->ask.count ? reply->count : job->ask.count;
    uint32_t before = job->made;
    for (uint32_t i = 0; i < count; i++) {
        const hf_sealed_outcome *outcome = &reply->keys[i];
        if (outcome->outcome == HF_KEY_IMPORTED) {
            hf_text_put(&job->text, "%s{", job->made++ == 0 ? "" : ",");
            put_name(&job->text, outcome->name, outcome->type);
            hf_text_put(&job->text, "}");
            job->missing--;
        }
    }
    if (job->missing == 0 || job->made == before || hf_failed(job->text.st)) {
        return end_generation(x, job->missing == 0 ? NULL : "the keeper made no more");
    }
    return ask_for_more(x);
}

static const char *read_generation(const json_t *root, generation *job)
{
    const json_t *count = json_object_get(root, "count");
    const json_t *active = json_object_get(root, "active");
    if (!json_is_object(root) ||
        json_object_size(root) != (size_t)(count != NULL) + (size_t)(active != NULL)) {
        return "the body must be an object with count and active, or {}";
    }
    if (count != NULL && (!json_is_integer(count) || json_integer_value(count) < 1 ||
                          json_integer_value(count) > (json_int_t)GENERATE_MAX)) {
        return "count: must be a number from 1 to 1000";
    }
    if (active != NULL && !json_is_boolean(active)) {
        return "active: must be true or false";
    }
    job->missing = count == NULL ? 1 : (uint32_t)json_integer_value(count);
    job->status = json_is_false(active) ? HF_SEALED_INACTIVE : HF_SEALED_ACTIVE;
    return NULL;
}

hf_next hf_front_sealed_generate(hf_exchange *x)
{
    generation *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    x->job = job;
    x->job_free = free_generation;
    json_t *root = hf_front_read_json(x);
    if (root == NULL) {
        return HF_NEXT_ANSWER;
    }
    const char *wrong = read_generation(root, job);
    json_decref(root);
    if (wrong != NULL) {
        return hf_front_refuse(x, HF_REASON_MALFORMED, wrong);
    }
    if (!hf_front_open_text(x, &job->text)) {
        return HF_NEXT_ANSWER;
    }
    hf_text_put(&job->text, "{\"keys\":[");
    return ask_for_more(x);
}

/* ---- switching on and off, deleting ---------------------------------------------------------- */

static void free_change(void *pointer)
{
    hf_wipe(pointer, sizeof(hf_msg_sealed_change));
    free(pointer);
}

static hf_next changed(hf_exchange *x, const void *frame)
{
    static const char *const statuses[] = {"active", "inactive", "deleted"};
    const hf_msg_result *result = frame;
    const hf_msg_sealed_change *ask = x->job;
    if (result->reason != HF_REASON_OK) {
        return hf_front_refused_by_keeper(x, (hf_reason)result->reason, result->detail);
    }
    if (result->value == HF_KEY_NOT_FOUND) {
        return hf_front_refuse(x, HF_REASON_NOT_FOUND, "no sealed key has this name");
    }
    if (result->value == HF_KEY_ERROR) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, result->detail);
    }
    return hf_front_answer_small(x, 200, HF_CONTENT_JSON, "{\"status\":\"%s\"}",
                                 statuses[ask->action]);
}

static hf_next change(hf_exchange *x, hf_sealed_action action)
{
    hf_msg_sealed_change *ask = calloc(1, sizeof *ask);
    if (ask == NULL) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    x->job = ask;
    x->job_free = free_change;
    if (!read_name(x->path_pubkey, ask->name)) {
        return hf_front_refuse(x, HF_REASON_MALFORMED,
                               "a public key is 48 bytes in hex, an address 20");
    }
    ask->action = action;
    x->ask_timeout_ms = HF_FRONT_IMPORT_TIMEOUT_MS; /* until no request signs with it any more */
    hf_frame_init(ask, HF_MSG_SEALED_CHANGE, 0);
    return hf_front_ask(x, ask, HF_MSG_RESULT, changed);
}

hf_next hf_front_sealed_activate(hf_exchange *x)
{
    return change(x, HF_SEALED_ACTIVATE);
}

hf_next hf_front_sealed_deactivate(hf_exchange *x)
{
    return change(x, HF_SEALED_DEACTIVATE);
}

hf_next hf_front_sealed_delete(hf_exchange *x)
{
    return change(x, HF_SEALED_DELETE);
}
