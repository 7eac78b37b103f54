/* Records in frames: packed one behind the other, as many as a page holds. */
#include "ipc/ipc_internal.h"

_Static_assert(sizeof(hf_record_head) + HF_RECORD_DATA_MAX <= HF_RECORDS_PAGE_BYTES,
               "the largest record fits into a page");
_Static_assert(sizeof(hf_msg_store_records) <= HF_IPC_MAX_BYTES, "a page fits into a frame");

bool hf_records_pack(hf_msg_store_records *page, const hf_record_change *change)
{
    const hf_record *record = &change->record;
    hf_record_head head = {.kind = record->kind,
                           .len = record->len,
                           .version = change->expected,
                           .is_removal = change->is_removal};
    if (record->len > HF_RECORD_DATA_MAX ||
        sizeof head + record->len > sizeof page->bytes - page->used) {
        return false;
    }
    memcpy(head.id, record->id, sizeof head.id);
    memcpy(page->bytes + page->used, &head, sizeof head);
    if (record->len != 0) {
        memcpy(page->bytes + page->used + sizeof head, record->data, record->len);
    }
    page->used += (uint32_t)(sizeof head + record->len);
    page->count++;
    return true;
}

bool hf_records_unpack(const hf_msg_store_records *page, size_t *offset,
                       hf_record_change *ret_change)
{
    hf_record_head head;
    if (page->used > sizeof page->bytes || *offset > page->used ||
        sizeof head > page->used - *offset) {
        return false;
    }
    memcpy(&head, page->bytes + *offset, sizeof head);
    if (head.len > HF_RECORD_DATA_MAX || head.len > page->used - *offset - sizeof head ||
        head.is_removal > 1) {
        return false;
    }
    *ret_change = (hf_record_change){.expected = head.version, .is_removal = head.is_removal != 0};
    ret_change->record.kind = head.kind;
    ret_change->record.len = head.len;
    ret_change->record.version = head.version;
    ret_change->record.data = page->bytes + *offset + sizeof head;
    memcpy(ret_change->record.id, head.id, sizeof head.id);
    *offset += sizeof head + head.len;
    return true;
}
