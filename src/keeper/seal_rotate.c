/* Another master key: records are sealed anew, page by page, while they go on signing. */
#include "keeper/keeper_internal.h"

#define RESEAL_MAX 60 /* with a page and the head they fit one change of the store */
#define RETRY_NS (2 * HF_NS_PER_SECOND)

/* ---- rotation ---------------------------------------------------------------------------------
 */

void hf_seal_rotate_start(hf_keeper *keeper)
{
    hf_seal_room *room = &keeper->seal;
    if (room->state == HF_SEAL_UNSEALED) {
        hf_seal_enter(keeper, hf_seal_next(room->state, HF_SEAL_ON_CHANGE).next,
                      "records are being sealed under the new master key");
    }
    hf_seal_found_free(room->rotating);
    room->rotating = NULL;
    room->rotating_page = 0;
    room->is_rotating = true;
    room->rotate_again_ns = 0;
}

void hf_seal_rotate_later(hf_keeper *keeper)
{
    hf_seal_rotate_start(keeper);
    keeper->seal.rotate_again_ns = hf_time_mono_ns() + RETRY_NS;
}

/* From what is in the store now. */
static void read_for_rotation(hf_keeper *keeper)
{
    hf_seal_room *room = &keeper->seal;
    if (hf_time_mono_ns() >= room->rotate_again_ns &&
        !hf_seal_task_start(keeper,
                            hf_seal_task_new(HF_SEAL_TASK_READ, HF_SEAL_AIM_ROTATE, NULL, 0))) {
        room->rotate_again_ns = hf_time_mono_ns() + RETRY_NS;
    }
}

void hf_seal_rotation_read(hf_keeper *keeper, hf_seal_task *task)
{
    hf_seal_room *room = &keeper->seal;
    room->opening_ns = task->started_ns;
    hf_seal_open_keys(keeper, task->found); /* what another node changed counts */
    room->rotating = task->found;
    task->found = NULL;
    room->rotating_page = 0;
    room->keys_to_rotate = 0;
    for (size_t i = 0; i < room->rotating->row_count; i++) {
        const hf_sealed_key *key = &room->rotating->rows[i].key;
        room->keys_to_rotate += key->type != UINT8_MAX && key->term != room->config.term;
    }
}

static bool reseal_into(hf_keeper *keeper, hf_seal_task *task, hf_seal_row *row)
{
    hf_manifest_page *page = task->pages[hf_manifest_page_of(row->key.name)];
    hf_manifest_entry *entry = hf_manifest_find(page, row->key.name);
    hf_sealed_key key = row->key;
    if (entry == NULL || hf_manifest_judge(entry, &row->key) != HF_MANIFEST_GOOD) {
        return false;
    }
    uint8_t *data = hf_seal_reseal(keeper, row, &key);
    if (data == NULL) {
        return false;
    }
    hf_seal_task_change(task, HF_RECORD_KEY, row->id, row->version, data, HF_SEALED_RECORD_BYTES);
    entry->version = key.version;
    row->key = key;
    row->version = key.version;
    memcpy(row->data, data, HF_SEALED_RECORD_BYTES);
    return true;
}

/* Some records of one page, or none when the page is done. */
static hf_seal_task *rotate_page(hf_keeper *keeper, unsigned number)
{
    hf_seal_room *room = &keeper->seal;
    size_t count = 0;
    hf_seal_task *task = hf_seal_task_new(HF_SEAL_TASK_WRITE, HF_SEAL_AIM_ROTATE, NULL, 0);
    if (task == NULL || room->pages[number] == NULL ||
        hf_seal_page_for(keeper, task, number) == NULL) {
        hf_seal_task_free(keeper, task);
        return NULL;
    }
    for (size_t i = 0; i < room->rotating->row_count && count < RESEAL_MAX; i++) {
        hf_seal_row *row = &room->rotating->rows[i];
        if (row->key.type != UINT8_MAX && row->key.term != room->config.term &&
            hf_manifest_page_of(row->key.name) == number) {
            count += reseal_into(keeper, task, row);
        }
    }
    if ((count == 0 && !room->is_page_old[number]) || !hf_seal_task_page(keeper, task, number) ||
        !hf_seal_task_head(keeper, task)) {
        hf_seal_task_free(keeper, task);
        return NULL;
    }
    room->keys_to_rotate -= count < room->keys_to_rotate ? (uint32_t)count : room->keys_to_rotate;
    return task;
}

static void end_rotation(hf_keeper *keeper)
{
    hf_seal_room *room = &keeper->seal;
    hf_seal_found_free(room->rotating);
    room->rotating = NULL;
    if (room->keys_refused > 0) {
        /* The key before stays until somebody has dealt with what does not fit. */
        hf_log(HF_LOG_BROKEN, "seal_rotation_waits",
               "%u records do not fit; the previous master key is kept until they are dealt with",
               room->keys_refused);
        room->rotate_again_ns = UINT64_MAX; /* with the next unsealing */
        return;
    }
    if (!hf_seal_write_end(keeper)) {
        hf_seal_rotate_later(keeper);
        return;
    }
    room->is_rotating = false;
}

void hf_seal_rotate_step(hf_keeper *keeper)
{
    hf_seal_room *room = &keeper->seal;
    if (!room->is_rotating || room->task != NULL || !hf_seal_state_can_sign(room->state)) {
        return;
    }
    if (room->rotating == NULL) {
        read_for_rotation(keeper);
        return;
    }
    while (room->rotating_page < HF_MANIFEST_PAGES) {
        hf_seal_task *task = rotate_page(keeper, room->rotating_page);
        if (task != NULL) {
            (void)hf_seal_task_start(keeper, task);
            return;
        }
        room->rotating_page++;
    }
    end_rotation(keeper);
}
