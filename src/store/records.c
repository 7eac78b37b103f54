/*
 * Records over the wire. What is read is gathered whole, then handed out page by page as the keeper
 * asks; changes come in page by page and are made when the last one is there.
 */
#include "store/store_internal.h"

#include <stdlib.h>

#define FOUND_MAX ((size_t)256 << 20)
#define WANTED_MAX (HF_RECORD_CHANGES_MAX * (sizeof(hf_record_head) + HF_RECORD_DATA_MAX))

struct hf_record_server {
    int fd;
    hf_store *store;
    hf_buf *found; /* heads and data, one behind the other */
    size_t sent;   /* of found */
    uint64_t generation;
    bool is_reading;
    hf_buf *wanted; /* the changes of a question, in the same form */
    uint32_t wanted_count;
    hf_msg_store_records page;
};

hf_record_server *hf_record_server_new(int fd, hf_store *store)
{
    hf_record_server *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->fd = fd;
    s->store = store;
    s->found = hf_buf_new(FOUND_MAX);
    s->wanted = hf_buf_new(WANTED_MAX);
    if (s->found == NULL || s->wanted == NULL) {
        hf_record_server_free(s);
        return NULL;
    }
    return s;
}

void hf_record_server_free(hf_record_server *s)
{
    if (s == NULL) {
        return;
    }
    hf_buf_free(s->found);
    hf_buf_free(s->wanted);
    hf_wipe(&s->page, sizeof s->page);
    free(s);
}

/* ---- reading ------------------------------------------------------------------------------ */

static hf_status gather(void *context, const hf_record *record)
{
    hf_record_server *s = context;
    hf_record_head head = {.kind = record->kind, .len = record->len, .version = record->version};
    memcpy(head.id, record->id, sizeof head.id);
    hf_status st = hf_buf_put(s->found, &head, sizeof head);
    return hf_failed(st) ? st : hf_buf_put(s->found, record->data, record->len);
}

/* As many whole records as a page holds. */
static void fill_page(hf_record_server *s)
{
    hf_msg_store_records *page = &s->page;
    const uint8_t *found = hf_buf_peek(s->found);
    size_t len = hf_buf_len(s->found);
    page->used = 0;
    page->count = 0;
    while (s->sent < len) {
        hf_record_head head;
        memcpy(&head, found + s->sent, sizeof head);
        size_t size = sizeof head + head.len;
        if (size > sizeof page->bytes - page->used) {
            break;
        }
        memcpy(page->bytes + page->used, found + s->sent, size);
        page->used += (uint32_t)size;
        page->count++;
        s->sent += size;
    }
    page->done = s->sent == len;
}

static void send_page(hf_record_server *s, uint64_t id, hf_status st, const char *detail)
{
    hf_frame_init(&s->page, HF_MSG_STORE_RECORDS, id);
    s->page.code = st.code;
    s->page.generation = s->generation;
    hf_str_cut(s->page.detail, sizeof s->page.detail, detail);
    s->is_reading = s->page.done == 0;
    (void)hf_failed(hf_frame_send(s->fd, &s->page));
    hf_wipe(s->page.bytes, s->page.used);
    if (!s->is_reading) {
        hf_buf_reset(s->found);
    }
}

bool hf_record_server_read(hf_record_server *s, const hf_msg_store_call *ask)
{
    hf_error err = {.code = HF_OK};
    const hf_store_ops *ops = s->store->ops;
    if (ask->record_kind == 0 || ask->record_kind >= HF_RECORD_KIND_END) {
        return false;
    }
    if (hf_time_mono_ns() >= ask->deadline_ns) {
        return true;
    }
    hf_buf_reset(s->found);
    s->sent = 0;
    hf_status st = ops->records == NULL
                       ? hf_fail(&err, HF_UNAVAILABLE, "this store keeps no records")
                       : ops->records(s->store, (hf_record_kind)ask->record_kind, gather, s,
                                      &s->generation, &err);
    if (hf_failed(st)) {
        hf_buf_reset(s->found);
    }
    fill_page(s);
    send_page(s, ask->header.request_id, st, hf_failed(st) ? err.msg : "");
    return true;
}

bool hf_record_server_next(hf_record_server *s, const hf_frame_header *header)
{
    if (!s->is_reading) {
        return false;
    }
    fill_page(s);
    send_page(s, header->request_id, hf_ok(), "");
    return true;
}

/* ---- changing ----------------------------------------------------------------------------- */

static hf_status make_changes(hf_record_server *s, hf_error *err)
{
    hf_record_change changes[HF_RECORD_CHANGES_MAX];
    const uint8_t *at = hf_buf_peek(s->wanted);
    for (uint32_t i = 0; i < s->wanted_count; i++) {
        hf_record_head head;
        memcpy(&head, at, sizeof head);
        changes[i] = (hf_record_change){
            .expected = head.version,
            .is_removal = head.is_removal != 0,
            .record = {.kind = head.kind, .len = head.len, .data = at + sizeof head}};
        memcpy(changes[i].record.id, head.id, sizeof head.id);
        at += sizeof head + head.len;
    }
    if (s->store->ops->change_records == NULL) {
        return hf_fail(err, HF_UNAVAILABLE, "this store keeps no records");
    }
    return s->store->ops->change_records(s->store, changes, s->wanted_count, err);
}

static bool page_is_sane(const hf_msg_store_records *page, uint32_t before)
{
    size_t offset = 0;
    uint32_t count = 0;
    hf_record_change change;
    while (hf_records_unpack(page, &offset, &change)) {
        count++;
    }
    return page->used <= sizeof page->bytes && offset == page->used && count == page->count &&
           count > 0 && before + count <= HF_RECORD_CHANGES_MAX && page->first <= 1 &&
           page->done <= 1;
}

bool hf_record_server_change(hf_record_server *s, const hf_msg_store_records *page)
{
    hf_msg_store_result answer = {.call = HF_CALL_CHANGE_RECORDS};
    hf_error err = {.code = HF_OK};
    if (page->first == 1) {
        hf_buf_reset(s->wanted);
        s->wanted_count = 0;
    }
    if (!page_is_sane(page, s->wanted_count) || (page->first == 0 && s->wanted_count == 0)) {
        s->wanted_count = 0;
        return false;
    }
    if (hf_time_mono_ns() >= page->deadline_ns) {
        return true;
    }
    hf_status st = hf_buf_put(s->wanted, page->bytes, page->used);
    s->wanted_count += page->count;
    if (!hf_failed(st) && page->done == 1) {
        st = make_changes(s, &err);
        hf_buf_reset(s->wanted);
        s->wanted_count = 0;
    }
    hf_frame_init(&answer, HF_MSG_STORE_RESULT, page->header.request_id);
    answer.code = st.code;
    answer.generation = hf_store_generation(s->store);
    hf_str_cut(answer.detail, sizeof answer.detail, hf_failed(st) ? err.msg : "");
    (void)hf_failed(hf_frame_send(s->fd, &answer));
    return true;
}
