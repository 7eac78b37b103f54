/* What the store keeps of the seal: reading it as of one moment, and changing it all or none. */
#include "keeper/keeper_internal.h"

#define ROWS_FIRST 256

void hf_seal_id_of_config(uint8_t ret_id[HF_RECORD_ID_BYTES])
{
    memset(ret_id, 0, HF_RECORD_ID_BYTES);
    memcpy(ret_id, "config", 6);
}

void hf_seal_id_of_closing(uint8_t ret_id[HF_RECORD_ID_BYTES])
{
    memset(ret_id, 0, HF_RECORD_ID_BYTES);
    memcpy(ret_id, "closed", 6);
}

void hf_seal_id_of_head(uint8_t ret_id[HF_RECORD_ID_BYTES])
{
    memset(ret_id, 0, HF_RECORD_ID_BYTES);
    memcpy(ret_id, "manifest", 8);
}

void hf_seal_id_of_page(unsigned number, uint8_t ret_id[HF_RECORD_ID_BYTES])
{
    hf_seal_id_of_head(ret_id);
    (void)snprintf((char *)ret_id + 8, 8, "/%02u", number);
}

/* ---- tasks ---------------------------------------------------------------------------------- */

hf_seal_task *hf_seal_task_new(hf_seal_task_kind kind, hf_seal_aim aim, hf_peer *asker,
                               uint64_t request_id)
{
    hf_seal_task *task = calloc(1, sizeof *task);
    if (task == NULL) {
        return NULL;
    }
    task->kind = kind;
    task->aim = aim;
    task->asker = asker;
    task->request_id = request_id;
    task->started_ns = hf_time_mono_ns();
    if (asker != NULL) {
        hf_peer_ref(asker);
    }
    if (kind != HF_SEAL_TASK_WRITE) {
        task->found = calloc(1, sizeof *task->found);
    }
    return task;
}

void hf_seal_found_free(hf_seal_found *found)
{
    if (found == NULL) {
        return;
    }
    free(found->head.data);
    for (unsigned i = 0; i < HF_MANIFEST_PAGES; i++) {
        free(found->pages[i].data);
    }
    free(found->rows);
    free(found);
}

void hf_seal_task_free(hf_keeper *keeper, hf_seal_task *task)
{
    if (task == NULL) {
        return;
    }
    for (size_t i = 0; i < task->change_count; i++) {
        free(task->data[i]);
    }
    for (unsigned i = 0; i < HF_MANIFEST_PAGES; i++) {
        free(task->pages[i]);
    }
    free(task->config);
    free(task->added);
    free(task->pass);
    free(task->rows);
    hf_seal_found_free(task->found);
    if (task->asker != NULL) {
        hf_peer_unref(keeper, task->asker);
    }
    free(task);
}

void hf_seal_task_change(hf_seal_task *task, hf_record_kind kind,
                         const uint8_t id[HF_RECORD_ID_BYTES], uint64_t expected,
                         uint8_t *take_data, size_t len)
{
    HF_ASSERT(task->change_count < HF_RECORD_CHANGES_MAX && len <= HF_RECORD_DATA_MAX);
    hf_record_change *change = &task->changes[task->change_count];
    *change = (hf_record_change){.record = {.kind = kind, .len = (uint32_t)len, .data = take_data},
                                 .expected = expected,
                                 .is_removal = take_data == NULL};
    memcpy(change->record.id, id, HF_RECORD_ID_BYTES);
    task->data[task->change_count++] = take_data;
}

bool hf_seal_task_page(hf_keeper *keeper, hf_seal_task *task, unsigned number)
{
    hf_seal_room *room = &keeper->seal;
    uint8_t id[HF_RECORD_ID_BYTES];
    size_t len = 0;
    hf_manifest_page *page = task->pages[number];
    uint8_t *data = malloc(HF_MANIFEST_PAGE_BYTES_MAX);
    if (data == NULL) {
        return false;
    }
    uint64_t before = page->version++;
    hf_manifest_encode(&room->secrets->keys, room->config.seal_id, page, data, &len);
    hf_seal_id_of_page(number, id);
    hf_seal_task_change(task, HF_RECORD_SEAL, id, before, data, len);
    if (!task->has_head) {
        task->head = room->head;
        task->has_head = true;
    }
    task->head.pages[number] = page->version;
    return true;
}

bool hf_seal_task_head(hf_keeper *keeper, hf_seal_task *task)
{
    hf_seal_room *room = &keeper->seal;
    uint8_t id[HF_RECORD_ID_BYTES];
    uint8_t *data = malloc(HF_MANIFEST_HEAD_BYTES);
    if (data == NULL) {
        return false;
    }
    if (!task->has_head) {
        task->head = room->head;
        task->has_head = true;
    }
    uint64_t before = task->head.version++;
    hf_manifest_head_encode(&room->secrets->keys, room->config.seal_id, &task->head, data);
    hf_seal_id_of_head(id);
    hf_seal_task_change(task, HF_RECORD_SEAL, id, before, data, HF_MANIFEST_HEAD_BYTES);
    return true;
}

/* ---- on the thread that does the jobs -------------------------------------------------------- */

static hf_status keep_row(hf_seal_page_row *row, const hf_record *record)
{
    row->data = malloc(record->len + 1U);
    if (row->data == NULL) {
        return (hf_status){HF_NOMEM};
    }
    memcpy(row->data, record->data, record->len);
    row->len = record->len;
    row->version = record->version;
    row->is_there = true;
    return hf_ok();
}

static hf_status visit_seal(void *context, const hf_record *record)
{
    hf_seal_found *found = context;
    uint8_t id[HF_RECORD_ID_BYTES];
    hf_seal_id_of_config(id);
    if (hf_bytes_equal(id, record->id, sizeof id)) {
        found->has_config = true;
        found->config_version = record->version;
        found->config_status =
            hf_seal_config_decode(hf_bytes_from(record->data, record->len), &found->config, NULL);
        return hf_ok();
    }
    hf_seal_id_of_closing(id);
    if (hf_bytes_equal(id, record->id, sizeof id)) {
        found->closed_version = record->version;
        return hf_ok();
    }
    hf_seal_id_of_head(id);
    if (hf_bytes_equal(id, record->id, sizeof id)) {
        return keep_row(&found->head, record);
    }
    for (unsigned i = 0; i < HF_MANIFEST_PAGES; i++) {
        hf_seal_id_of_page(i, id);
        if (hf_bytes_equal(id, record->id, sizeof id)) {
            return keep_row(&found->pages[i], record);
        }
    }
    return hf_ok(); /* a later version's */
}

static hf_status visit_key(void *context, const hf_record *record)
{
    hf_seal_found *found = context;
    if (found->row_count == found->row_max) {
        size_t max = found->row_max == 0 ? ROWS_FIRST : 2 * found->row_max;
        hf_seal_row *rows = realloc(found->rows, max * sizeof *rows);
        if (rows == NULL) {
            return (hf_status){HF_NOMEM};
        }
        found->rows = rows;
        found->row_max = max;
    }
    hf_seal_row *row = &found->rows[found->row_count++];
    *row = (hf_seal_row){.version = record->version, .len = record->len};
    memcpy(row->id, record->id, sizeof row->id);
    if (record->len == sizeof row->data) {
        memcpy(row->data, record->data, sizeof row->data);
    }
    if (record->len != sizeof row->data ||
        hf_failed(hf_sealed_record_peek(hf_bytes_from(row->data, row->len), &row->key))) {
        row->key.type = UINT8_MAX;
    }
    return hf_ok();
}

/* Two kinds are two reads: when something changed in between, once more. */
static hf_status read_all(hf_store *store, hf_seal_task *task)
{
    hf_status st = hf_ok();
    for (unsigned round = 0; round < 5; round++) {
        uint64_t before = 0;
        hf_seal_found_free(task->found);
        task->found = calloc(1, sizeof *task->found);
        if (task->found == NULL) {
            return hf_fail(&task->err, HF_NOMEM, "out of memory");
        }
        st = store->ops->records(store, HF_RECORD_SEAL, visit_seal, task->found, &before,
                                 &task->err);
        if (hf_failed(st) || task->kind == HF_SEAL_TASK_LOOK) {
            task->found->generation = before;
            return st;
        }
        st = store->ops->records(store, HF_RECORD_KEY, visit_key, task->found,
                                 &task->found->generation, &task->err);
        if (hf_failed(st) || task->found->generation == before) {
            return st;
        }
    }
    return hf_fail(&task->err, HF_UNAVAILABLE, "the records change faster than they can be read");
}

static void run_task(hf_keeper *keeper, hf_store *store, hf_peer *peer, const void *frame)
{
    hf_seal_task *task = keeper->seal.task;
    (void)peer;
    (void)frame;
    task->generation_before = store->ops->generation(store);
    task->status =
        task->kind == HF_SEAL_TASK_WRITE
            ? store->ops->change_records(store, task->changes, task->change_count, &task->err)
            : read_all(store, task);
    task->generation_after = store->ops->generation(store);
    atomic_store(&keeper->seal.done, task);
    hf_intake_nudge(keeper);
}

bool hf_seal_task_start(hf_keeper *keeper, hf_seal_task *take_task)
{
    hf_seal_room *room = &keeper->seal;
    bool is_free = take_task != NULL && room->task == NULL;
    if (is_free) {
        room->task = take_task;
        if (hf_jobs_call(keeper, run_task, NULL, NULL)) {
            return true;
        }
        room->task = NULL;
    }
    if (take_task != NULL && take_task->asker != NULL) {
        hf_peer_send_result(keeper, take_task->asker, take_task->request_id, HF_REASON_BUSY, 0,
                            "another change of the seal is being written");
    }
    hf_seal_task_free(keeper, take_task);
    return false;
}
