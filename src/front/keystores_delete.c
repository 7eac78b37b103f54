/*
 * DELETE /eth/v1/keystores: every key named stops signing first; only then its history is read and
 * returned. Asked again it returns the history again: an answer may have been lost on its way.
 */
#include "front/front_internal.h"
#include "interchange/interchange.h"

/* Each is compared with those before it. */
#define PUBKEYS_MAX 2000

typedef struct deletion {
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    uint8_t outcome; /* hf_key_outcome */
    bool has_history;
    char detail[HF_DETAIL_LEN];
} deletion;

typedef struct delete_job {
    deletion *keys;
    size_t count;
    size_t next;
    uint64_t export_id;
    hf_buf *history;
    hf_interchange_writer *writer;
} delete_job;

static hf_next next_deletion(hf_exchange *x);
static hf_next next_export(hf_exchange *x);
static hf_next read_page(hf_exchange *x);

static void free_job(void *pointer)
{
    delete_job *job = pointer;
    hf_interchange_writer_free(job->writer);
    hf_buf_free(job->history);
    free(job->keys);
    hf_wipe(job, sizeof *job);
    free(job);
}

/* ---- the answer ----------------------------------------------------------------------------- */

static const char *status_name(const deletion *key)
{
    switch ((hf_key_outcome)key->outcome) {
    case HF_KEY_DELETED:
        return "deleted";
    case HF_KEY_NOT_FOUND:
        return key->has_history ? "not_active" : "not_found";
    case HF_KEY_IMPORTED:
    case HF_KEY_DUPLICATE:
    case HF_KEY_ERROR:
        break;
    }
    return "error";
}

static hf_next answer(hf_exchange *x)
{
    delete_job *job = x->job;
    hf_text text;
    hf_status st = hf_interchange_writer_finish(job->writer);
    if (hf_failed(st)) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, "the history is too large for one answer");
    }
    if (!hf_front_open_text(x, &text)) {
        return HF_NEXT_ANSWER;
    }
    hf_text_put(&text, "{\"data\":[");
    for (size_t i = 0; i < job->count; i++) {
        const deletion *key = &job->keys[i];
        hf_text_put(&text, "%s{\"status\":\"%s\"", i == 0 ? "" : ",", status_name(key));
        if (key->detail[0] != '\0') {
            hf_text_put(&text, ",\"message\":");
            hf_text_put_json(&text, key->detail, strnlen(key->detail, sizeof key->detail));
        }
        hf_text_put(&text, "}");
    }
    hf_text_put(&text, "],\"slashing_protection\":");
    hf_text_put_json(&text, hf_buf_text(job->history), hf_buf_len(job->history));
    hf_text_put(&text, "}");
    return hf_front_answer_text(x, 200, HF_CONTENT_JSON, &text);
}

/* ---- the histories -------------------------------------------------------------------------- */

static hf_next page_read(hf_exchange *x, const void *frame)
{
    const hf_msg_export_page *page = frame;
    delete_job *job = x->job;
    if (page->reason != HF_REASON_OK) {
        return hf_front_refused_by_keeper(
            x, (hf_reason)page->reason,
            "the keys stopped signing, but their history could not be read; ask again");
    }
    uint32_t count = page->count <= HF_EXPORT_PAGE ? page->count : HF_EXPORT_PAGE;
    for (uint32_t i = 0; i < count; i++) {
        hf_status st = hf_interchange_writer_add(job->writer, &page->messages[i]);
        if (hf_failed(st)) {
            return hf_front_refuse(x, HF_REASON_INTERNAL,
                                   "the history is too large for one answer");
        }
        job->keys[job->next].has_history = true;
    }
    if (page->done == 0) {
        return read_page(x);
    }
    job->next++;
    return next_export(x);
}

static hf_next read_page(hf_exchange *x)
{
    const delete_job *job = x->job;
    hf_frame_init(&x->frame.export_read, HF_MSG_EXPORT_READ, 0);
    x->frame.export_read.export_id = job->export_id;
    return hf_front_ask(x, &x->frame.export_read, HF_MSG_EXPORT_PAGE, page_read);
}

static hf_next export_opened(hf_exchange *x, const void *frame)
{
    const hf_msg_result *result = frame;
    delete_job *job = x->job;
    if (result->reason != HF_REASON_OK) {
        return hf_front_refused_by_keeper(x, (hf_reason)result->reason, result->detail);
    }
    job->export_id = result->value;
    return read_page(x);
}

static void fill_pubkey_frame(hf_exchange *x, hf_msg_type type)
{
    const delete_job *job = x->job;
    memset(&x->frame.pubkey, 0, sizeof x->frame.pubkey);
    hf_frame_init(&x->frame.pubkey, type, 0);
    x->frame.pubkey.has_pubkey = 1;
    memcpy(x->frame.pubkey.pubkey, job->keys[job->next].pubkey, HF_BLS_PUBKEY_BYTES);
}

/* A key named twice has its history written once: records of one key stand together. */
static bool is_named_before(delete_job *job)
{
    deletion *key = &job->keys[job->next];
    for (size_t i = 0; i < job->next; i++) {
        if (hf_bytes_equal(job->keys[i].pubkey, key->pubkey, HF_BLS_PUBKEY_BYTES)) {
            key->has_history = job->keys[i].has_history;
            return true;
        }
    }
    return false;
}

static hf_next next_export(hf_exchange *x)
{
    delete_job *job = x->job;
    while (job->next < job->count &&
           (job->keys[job->next].outcome == HF_KEY_ERROR || is_named_before(job))) {
        job->next++;
    }
    if (job->next == job->count) {
        return answer(x);
    }
    fill_pubkey_frame(x, HF_MSG_EXPORT_OPEN);
    return hf_front_ask(x, &x->frame.pubkey, HF_MSG_RESULT, export_opened);
}

/* ---- the deletions -------------------------------------------------------------------------- */

static hf_next deleted(hf_exchange *x, const void *frame)
{
    const hf_msg_result *result = frame;
    delete_job *job = x->job;
    deletion *key = &job->keys[job->next];
    if (result->reason != HF_REASON_OK) {
        key->outcome = HF_KEY_ERROR;
    } else {
        key->outcome = result->value <= HF_KEY_ERROR ? (uint8_t)result->value : HF_KEY_ERROR;
    }
    if (key->outcome == HF_KEY_ERROR) {
        const char *detail = result->detail[0] != '\0'
                                 ? result->detail
                                 : hf_reason_describe((hf_reason)result->reason)->sentence;
        (void)snprintf(key->detail, sizeof key->detail, "%.*s", HF_DETAIL_LEN - 1, detail);
    }
    job->next++;
    return next_deletion(x);
}

static hf_next next_deletion(hf_exchange *x)
{
    delete_job *job = x->job;
    if (job->next == job->count) {
        job->next = 0;
        return next_export(x);
    }
    fill_pubkey_frame(x, HF_MSG_KEY_DELETE);
    return hf_front_ask(x, &x->frame.pubkey, HF_MSG_RESULT, deleted);
}

/* ---- the body ------------------------------------------------------------------------------- */

/* What is wrong with the body, or NULL; the keys go to the job. */
static const char *read_pubkeys(delete_job *job, const json_t *root)
{
    const json_t *pubkeys = json_object_get(root, "pubkeys");
    if (!json_is_array(pubkeys)) {
        return "pubkeys: must be an array";
    }
    job->count = json_array_size(pubkeys);
    if (job->count > PUBKEYS_MAX) {
        return "pubkeys: at most 2000 in one request";
    }
    job->keys = calloc(job->count + 1, sizeof *job->keys);
    if (job->keys == NULL) {
        return "pubkeys: too many for the memory at hand";
    }
    for (size_t i = 0; i < job->count; i++) {
        const json_t *item = json_array_get(pubkeys, i);
        const char *text = json_string_value(item);
        if (text == NULL || hf_failed(hf_hex_decode(text, json_string_length(item),
                                                    job->keys[i].pubkey, HF_BLS_PUBKEY_BYTES))) {
            return "pubkeys: each must be a string of 48 bytes in hex";
        }
    }
    return NULL;
}

hf_next hf_front_keystores_delete(hf_exchange *x)
{
    delete_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    x->job = job;
    x->job_free = free_job;
    x->ask_timeout_ms = HF_FRONT_IMPORT_TIMEOUT_MS; /* exports wait for each other */
    json_t *root = hf_front_read_json(x);
    if (root == NULL) {
        return HF_NEXT_ANSWER;
    }
    const char *wrong =
        json_is_object(root) ? read_pubkeys(job, root) : "the body must be a JSON object";
    json_decref(root);
    if (wrong != NULL) {
        return hf_front_refuse(x, HF_REASON_MALFORMED, wrong);
    }
    job->history = hf_buf_new(HF_FRONT_ANSWER_MAX / 2);
    if (job->history == NULL ||
        hf_failed(hf_interchange_writer_new(x->context->network.genesis_validators_root,
                                            job->history, &job->writer))) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    return next_deletion(x);
}
