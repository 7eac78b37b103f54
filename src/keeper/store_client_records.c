/* Records over the wire, page by page. */
#include "keeper/store_client_internal.h"

/* Shows the records of the page in client->answer; *ret_done when it is the last. */
static hf_status show_page(hf_store_client *client, hf_record_kind kind, hf_record_visitor visitor,
                           void *context, bool *ret_done, hf_error *err)
{
    const hf_msg_store_records *page = (const hf_msg_store_records *)(const void *)client->answer;
    size_t offset = 0;
    hf_record_change found;
    hf_status st = hf_client_status_of(page->code, page->detail, err);
    while (!hf_failed(st) && hf_records_unpack(page, &offset, &found)) {
        if (found.record.kind != (uint32_t)kind || found.record.version == 0) {
            return hf_fail(err, HF_UNAVAILABLE, "the store process sent another record");
        }
        st = visitor(context, &found.record);
    }
    if (!hf_failed(st) && (offset != page->used || (page->used == 0 && page->done == 0))) {
        st = hf_fail(err, HF_UNAVAILABLE, "the store process sent a malformed page");
    }
    *ret_done = page->done != 0;
    client->generation = hf_failed(st) ? client->generation : page->generation;
    return st;
}

static hf_status ask_record_page(hf_store_client *client, const void *question, hf_error *err)
{
    const void *frames[] = {question};
    uint64_t until_ns = hf_time_mono_ns() + HF_CLIENT_STEP_NS + HF_CLIENT_MARGIN_NS;
    hf_status st = hf_client_send_frames(client, frames, 1, err);
    return hf_failed(st) ? st
                         : hf_client_wait_answer(client, client->last_id, HF_MSG_STORE_RECORDS,
                                                 until_ns, err);
}

hf_status hf_client_records(hf_store *self, hf_record_kind kind, hf_record_visitor visitor,
                            void *context, uint64_t *ret_generation, hf_error *err)
{
    hf_store_client *client = hf_client_of(self);
    hf_msg_store_call question = {.call = HF_CALL_RECORDS, .record_kind = (uint8_t)kind};
    bool done = false;
    hf_status st = hf_client_begin(client, err);
    if (hf_failed(st)) {
        return st;
    }
    question.deadline_ns = hf_time_mono_ns() + HF_CLIENT_STEP_NS;
    hf_frame_init(&question, HF_MSG_STORE_CALL, client->last_id);
    st = ask_record_page(client, &question, err);
    while (!hf_failed(st)) {
        st = show_page(client, kind, visitor, context, &done, err);
        hf_wipe(client->answer, sizeof client->answer);
        if (hf_failed(st) || done) {
            break;
        }
        hf_msg_plain next;
        hf_frame_init(&next, HF_MSG_STORE_NEXT, ++client->last_id);
        st = ask_record_page(client, &next, err);
    }
    *ret_generation = client->generation;
    return st;
}

/* Sends what is in client->changes and waits for the word on it. */
static hf_status send_changes(hf_store_client *client, bool done, hf_error *err)
{
    hf_msg_store_records *page = &client->changes;
    const void *frames[] = {page};
    uint64_t until_ns = hf_time_mono_ns() + HF_CLIENT_STEP_NS + HF_CLIENT_MARGIN_NS;
    client->last_id++;
    hf_frame_init(page, HF_MSG_STORE_CHANGE, client->last_id);
    page->deadline_ns = until_ns - HF_CLIENT_MARGIN_NS;
    page->done = done;
    hf_status st = hf_client_send_frames(client, frames, 1, err);
    hf_wipe(page->bytes, page->used);
    if (!hf_failed(st)) {
        st = hf_client_wait_answer(client, client->last_id, HF_MSG_STORE_RESULT, until_ns, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    hf_msg_store_result answer;
    memcpy(&answer, client->answer, sizeof answer);
    st = hf_client_status_of(answer.code, answer.detail, err);
    client->generation = hf_failed(st) ? client->generation : answer.generation;
    page->first = 0;
    page->used = 0;
    page->count = 0;
    return st;
}

hf_status hf_client_change_records(hf_store *self, const hf_record_change *changes, size_t n,
                                   hf_error *err)
{
    hf_store_client *client = hf_client_of(self);
    hf_msg_store_records *page = &client->changes;
    if (n == 0 || n > HF_RECORD_CHANGES_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "a number of changes that cannot be made together");
    }
    hf_status st = hf_client_begin(client, err);
    page->first = 1;
    page->used = 0;
    page->count = 0;
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        if (hf_records_pack(page, &changes[i])) {
            continue;
        }
        if (changes[i].record.len > HF_RECORD_DATA_MAX) {
            return hf_fail(err, HF_INVALID_INPUT, "a record that cannot be kept");
        }
        st = send_changes(client, false, err);
        bool packed = !hf_failed(st) && hf_records_pack(page, &changes[i]);
        HF_ASSERT(hf_failed(st) || packed); /* an empty page holds any record */
    }
    return hf_failed(st) ? st : send_changes(client, true, err);
}

uint64_t hf_client_generation(const hf_store *self)
{
    return ((const hf_store_client *)(const void *)self)->generation;
}
