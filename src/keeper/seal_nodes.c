/*
 * Nodes that share a store: a seal command, a change of the seal or of a key on one of them counts
 * on the others before their next signature (looks.c), because the generation of the records comes
 * back with each decision.
 */
#include "keeper/keeper_internal.h"

/* What a recorded request waits for a reading of what another node changed. */
#define CATCH_UP_NS (200 * HF_NS_PER_MS)
#define TELL_AGAIN_NS (HF_NS_PER_SECOND / 2)

/* Nodes that share the store seal themselves before their next signature. */
bool hf_seal_tell_others(hf_keeper *keeper, hf_peer *peer, uint64_t request_id)
{
    uint8_t id[HF_RECORD_ID_BYTES];
    uint8_t *data = calloc(1, 1);
    hf_seal_task *task = hf_seal_task_new(HF_SEAL_TASK_WRITE, HF_SEAL_AIM_CLOSE, peer, request_id);
    if (task == NULL || data == NULL) {
        free(data);
        hf_seal_task_free(keeper, task);
        return false;
    }
    hf_seal_id_of_closing(id);
    hf_seal_task_change(task, HF_RECORD_SEAL, id, keeper->seal.closed_version, data, 1);
    return hf_seal_task_start(keeper, task);
}

void hf_seal_shut_everywhere(hf_keeper *keeper, const char *why)
{
    hf_seal_room *room = &keeper->seal;
    if (!room->is_configured || !hf_seal_next(room->state, HF_SEAL_ON_SEAL).is_allowed) {
        return; /* there is nothing to seal */
    }
    hf_seal_shut(keeper, HF_SEAL_SEALED, why);
    if (keeper->store_clients[HF_LANE_ADMIN] != NULL) {
        room->tell_again_ns = hf_time_mono_ns();
        hf_seal_tell_again(keeper);
    }
}

/* Nobody waits for it, so nobody says it again: we do, until the store has it. */
void hf_seal_tell_again(hf_keeper *keeper)
{
    hf_seal_room *room = &keeper->seal;
    uint64_t now = hf_time_mono_ns();
    if (room->tell_again_ns != 0 && now >= room->tell_again_ns && room->task == NULL &&
        room->is_known && room->look_again_ns == 0) {
        room->tell_again_ns = now + TELL_AGAIN_NS; /* the answer takes it away */
        (void)hf_seal_tell_others(keeper, NULL, 0);
    }
}

void hf_seal_told_others(hf_keeper *keeper, hf_seal_task *task)
{
    hf_seal_room *room = &keeper->seal;
    if (task->asker == NULL) {
        room->closed_version += !hf_failed(task->status);
        room->look_again_ns = hf_failed(task->status) ? hf_time_mono_ns() : room->look_again_ns;
        room->tell_again_ns = hf_failed(task->status) ? room->tell_again_ns : 0;
    } else if (!hf_failed(task->status)) {
        room->closed_version++;
        hf_seal_answer_later(keeper, task->asker, task->request_id);
    } else {
        room->look_again_ns = hf_time_mono_ns(); /* CONFLICT: another node said it too */
        hf_peer_send_result(keeper, task->asker, task->request_id, HF_REASON_STORE_UNAVAILABLE, 0,
                            "sealed here; the other nodes could not be told: say it again");
    }
}

/* While unsealed: what did another node change? */
void hf_seal_noticed(hf_keeper *keeper, hf_seal_task *task)
{
    hf_seal_room *room = &keeper->seal;
    const hf_seal_found *found = task->found;
    if (hf_failed(task->status)) {
        return; /* asked again with the next health check, or request */
    }
    if (found->closed_version != room->closed_version) {
        room->closed_version = found->closed_version;
        hf_seal_shut(keeper, HF_SEAL_SEALED, "another node was sealed");
        atomic_store(&room->seen, found->generation); /* last: who waits for it then sees all */
    } else if (!found->has_config || found->config_version != room->config_version) {
        hf_seal_shut(keeper, hf_seal_next(room->state, HF_SEAL_ON_REPLACED).next,
                     "another node changed the seal");
        room->look_again_ns = hf_time_mono_ns();
    } else if (found->head.version != room->head.version) {
        (void)hf_seal_task_start(keeper,
                                 hf_seal_task_new(HF_SEAL_TASK_READ, HF_SEAL_AIM_REREAD, NULL, 0));
    } else {
        atomic_store(&room->seen, found->generation);
    }
}

/* Somebody changed a record: maybe one of ours. */
void hf_seal_look_when_behind(hf_keeper *keeper)
{
    hf_seal_room *room = &keeper->seal;
    if (room->task != NULL || room->is_rotating || room->look_again_ns != 0 ||
        atomic_load(&room->there_are) <= atomic_load(&room->seen)) {
        return;
    }
    bool is_open = hf_seal_state_can_sign(room->state);
    (void)hf_seal_task_start(
        keeper, hf_seal_task_new(HF_SEAL_TASK_LOOK,
                                 is_open ? HF_SEAL_AIM_NOTICE : HF_SEAL_AIM_START, NULL, 0));
}

void hf_seal_note_generation(hf_keeper *keeper, uint64_t generation)
{
    hf_seal_room *room = &keeper->seal;
    if (room->is_configured && generation > atomic_load(&room->there_are)) {
        atomic_store(&room->there_are, generation);
        hf_intake_nudge(keeper);
    }
}

hf_reason hf_seal_catch_up(hf_keeper *keeper, const hf_key *key, uint64_t generation)
{
    hf_seal_room *room = &keeper->seal;
    uint64_t until = hf_time_mono_ns() + CATCH_UP_NS;
    hf_seal_note_generation(keeper, generation);
    while (atomic_load(&room->seen) < generation && atomic_load(&room->is_open)) {
        if (hf_time_mono_ns() >= until) {
            return HF_REASON_STORE_UNAVAILABLE;
        }
        hf_time_sleep_ns(HF_NS_PER_MS / 2);
    }
    if (!atomic_load(&room->is_open)) {
        return HF_REASON_SEALED;
    }
    return atomic_load(&key->is_removed) ? HF_REASON_SEALED : HF_REASON_OK;
}

void hf_seal_note_write(hf_keeper *keeper, const hf_seal_task *task)
{
    hf_seal_room *room = &keeper->seal;
    bool is_ours = task->kind == HF_SEAL_TASK_WRITE && !hf_failed(task->status) &&
                   task->generation_before <= atomic_load(&room->seen) &&
                   task->generation_after == task->generation_before + 1;
    if (is_ours && task->generation_after > atomic_load(&room->seen)) {
        atomic_store(&room->seen, task->generation_after);
    }
}
