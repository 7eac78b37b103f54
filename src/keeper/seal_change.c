/*
 * Changes of the seal: a new one, other holders, another master key. A change is prepared in locked
 * memory, waits for those who have yet to register, and counts once the store keeps it.
 */
#include "keeper/keeper_internal.h"

/* People who were told to register may be asleep. */
#define REGISTRATION_NS (UINT64_C(24) * 3600 * HF_NS_PER_SECOND)

void hf_seal_drop_next(hf_seal_room *room)
{
    room->serial++;
    hf_wipe(room->secrets->next_shares, sizeof room->secrets->next_shares);
    hf_wipe(room->secrets->next_master, sizeof room->secrets->next_master);
    memset(&room->next, 0, sizeof room->next);
    room->has_next = false;
    room->next_registered = 0;
    room->deadline_ns = 0;
}

/* ---- init, rekey, rotation ---------------------------------------------------------------------
 */

static void answer_begin(hf_keeper *keeper, hf_peer *peer, uint64_t request_id, hf_reason reason,
                         const char *detail)
{
    hf_peer_send_result(keeper, peer, request_id, reason, 0, detail);
}

/* The new configuration without its secrets. */
static hf_status draft(hf_keeper *keeper, const hf_msg_seal_begin *frame, hf_error *err)
{
    hf_seal_room *room = &keeper->seal;
    hf_seal_config *next = &room->next;
    memset(next, 0, sizeof *next);
    if (frame->purpose > HF_SEAL_ROTATE || frame->holder_count > HF_SEAL_HOLDERS_MAX) {
        return hf_fail(err, HF_USAGE, "malformed");
    }
    next->generation = room->config.generation + 1;
    next->term = room->config.term + (frame->purpose != HF_SEAL_REKEY);
    next->threshold = frame->threshold;
    next->holder_count = frame->holder_count;
    if (frame->purpose == HF_SEAL_INIT) {
        hf_random(next->seal_id, sizeof next->seal_id);
    } else {
        memcpy(next->seal_id, room->config.seal_id, sizeof next->seal_id);
    }
    for (unsigned i = 0; i < frame->holder_count; i++) {
        const hf_seal_candidate *from = &frame->holders[i];
        hf_seal_holder *holder = &next->holders[i];
        memcpy(holder->name, from->name, sizeof holder->name);
        memcpy(holder->reference, from->reference, sizeof holder->reference);
        holder->kind = from->kind;
        holder->is_required = from->is_required;
        holder->kdf = from->kdf;
    }
    hf_status st = hf_seal_config_check(next, err);
    return hf_failed(st) ? st : hf_seal_tokens_check(keeper, next, err);
}

/* Splits, and wraps for those who brought their key. */
static hf_status prepare(hf_keeper *keeper, const hf_msg_seal_begin *frame)
{
    hf_seal_room *room = &keeper->seal;
    hf_seal_secrets *secrets = room->secrets;
    if (frame->purpose == HF_SEAL_REKEY) {
        memcpy(secrets->next_master, secrets->master, HF_SEAL_KEY_BYTES);
    } else {
        hf_random(secrets->next_master, HF_SEAL_KEY_BYTES);
    }
    hf_status st = hf_seal_split(&room->next, secrets->next_master, secrets->next_shares);
    if (hf_failed(st)) {
        return st;
    }
    if (frame->purpose == HF_SEAL_ROTATE) {
        hf_seal_carry(&room->next, secrets->next_master, secrets->master);
    }
    room->next_registered = 0;
    for (unsigned i = 0; i < frame->holder_count; i++) {
        if (frame->holders[i].kind == HF_HOLDER_PRINTED) {
            room->next_registered |= 1U << i;
        } else if (frame->holders[i].has_key == 1 &&
                   hf_holder_kind_is_wrapped(frame->holders[i].kind)) {
            hf_seal_wrap(&room->next, i, frame->holders[i].key, &secrets->next_shares[i]);
            room->next_registered |= 1U << i;
        }
    }
    room->next_purpose = (hf_seal_purpose)frame->purpose;
    room->has_next = true;
    return hf_ok();
}

unsigned hf_seal_unregistered(const hf_seal_room *room)
{
    return room->next.holder_count - (unsigned)__builtin_popcount(room->next_registered);
}

/* The first head, so that a manifest that is gone later is missed. */
static bool add_first_head(hf_keeper *keeper, hf_seal_task *task)
{
    hf_seal_room *room = &keeper->seal;
    uint8_t id[HF_RECORD_ID_BYTES];
    hf_seal_keys keys;
    uint8_t *data = malloc(HF_MANIFEST_HEAD_BYTES);
    if (data == NULL) {
        return false;
    }
    hf_seal_derive(room->secrets->next_master, &keys);
    task->head = (hf_manifest_head){.version = 1};
    hf_manifest_head_encode(&keys, room->next.seal_id, &task->head, data);
    hf_wipe(&keys, sizeof keys);
    hf_seal_id_of_head(id);
    hf_seal_task_change(task, HF_RECORD_SEAL, id, 0, data, HF_MANIFEST_HEAD_BYTES);
    return true;
}

static bool write_config(hf_keeper *keeper, const hf_seal_config *config, bool is_first,
                         hf_peer *peer, uint64_t request_id, bool is_register)
{
    hf_seal_task *task = hf_seal_task_new(HF_SEAL_TASK_WRITE, HF_SEAL_AIM_KEEP, peer, request_id);
    uint8_t *data = malloc(HF_SEAL_CONFIG_BYTES_MAX);
    hf_seal_config *copy = malloc(sizeof *copy);
    uint8_t id[HF_RECORD_ID_BYTES];
    size_t len = 0;
    if (task == NULL || data == NULL || copy == NULL ||
        hf_failed(hf_seal_config_encode(config, data, &len))) {
        hf_seal_task_free(keeper, task);
        free(data);
        free(copy);
        return false;
    }
    *copy = *config;
    task->config = copy;
    task->is_register = is_register;
    hf_seal_id_of_config(id);
    hf_seal_task_change(task, HF_RECORD_SEAL, id, keeper->seal.config_version, data, len);
    bool is_end = config->has_previous == 0 && keeper->seal.config.has_previous == 1;
    if ((is_first && !add_first_head(keeper, task)) ||
        (is_end && !hf_seal_task_head(keeper, task))) {
        hf_seal_task_free(keeper, task);
        return false;
    }
    return hf_seal_task_start(keeper, task);
}

bool hf_seal_write_end(hf_keeper *keeper)
{
    hf_seal_config *config = malloc(sizeof *config);
    if (config == NULL) {
        return false;
    }
    *config = keeper->seal.config;
    hf_seal_drop_carried(config);
    bool is_started = write_config(keeper, config, false, NULL, 0, false);
    free(config);
    return is_started;
}

/* All holders registered: it is kept now, and counts when it is. */
static void keep_next(hf_keeper *keeper, hf_peer *peer, uint64_t request_id, bool is_register)
{
    hf_seal_room *room = &keeper->seal;
    if (!write_config(keeper, &room->next, room->next_purpose == HF_SEAL_INIT, peer, request_id,
                      is_register)) {
        hf_log(HF_LOG_UNUSUAL, "seal_not_kept", "the new configuration could not be written now");
    }
}

static void send_shares(hf_keeper *keeper, hf_peer *peer, uint64_t request_id)
{
    const hf_seal_room *room = &keeper->seal;
    hf_msg_seal_shares *reply = (hf_msg_seal_shares *)calloc(1, sizeof *reply);
    if (reply == NULL) {
        return;
    }
    hf_frame_init(reply, HF_MSG_SEAL_SHARES, request_id);
    reply->reason = HF_REASON_OK;
    reply->missing = hf_seal_unregistered(room);
    for (unsigned i = 0; i < room->next.holder_count; i++) {
        if (room->next.holders[i].kind == HF_HOLDER_PRINTED) {
            hf_seal_printed *printed = &reply->shares[reply->count++];
            memcpy(printed->name, room->next.holders[i].name, sizeof printed->name);
            memcpy(printed->share, room->secrets->next_shares[i].bytes, HF_SEAL_SHARE_BYTES);
        }
    }
    hf_peer_send(keeper, peer, reply);
    hf_wipe(reply, sizeof *reply);
    free(reply);
}

void hf_seal_begun(hf_keeper *keeper, hf_peer *peer, uint64_t request_id)
{
    if (hf_seal_unregistered(&keeper->seal) > 0) {
        send_shares(keeper, peer, request_id);
    } else {
        keep_next(keeper, peer, request_id, false);
    }
}

void hf_seal_on_begin(hf_keeper *keeper, hf_peer *peer, const hf_msg_seal_begin *frame)
{
    hf_seal_room *room = &keeper->seal;
    uint64_t id = frame->header.request_id;
    hf_error err = {.msg = ""};
    hf_seal_state next;
    hf_seal_event event = frame->purpose == HF_SEAL_INIT ? HF_SEAL_ON_INIT : HF_SEAL_ON_CHANGE;
    if (!hf_seal_take_step(keeper, peer, id, event, &next)) {
        return;
    }
    if (room->task != NULL || room->has_next || room->is_loading) {
        answer_begin(keeper, peer, id, HF_REASON_BUSY, "another change is being written");
        return;
    }
    hf_status st = draft(keeper, frame, &err);
    if (!hf_failed(st)) {
        st = prepare(keeper, frame);
    }
    if (hf_failed(st)) {
        hf_seal_drop_next(room);
        answer_begin(keeper, peer, id, HF_REASON_MALFORMED, err.msg);
        return;
    }
    static const char *const purposes[] = {"a new seal", "other holders", "a new master key"};
    hf_seal_enter(keeper, next, purposes[frame->purpose]);
    room->deadline_ns = hf_time_mono_ns() + REGISTRATION_NS;
    if (hf_seal_tokens_unregistered(room) == 0) {
        hf_seal_begun(keeper, peer, id);
    } else if (!hf_seal_tokens_wrap(keeper, peer, id)) {
        hf_seal_state back = hf_seal_next(room->state, HF_SEAL_ON_CANCEL).next;
        hf_seal_drop_next(room);
        hf_seal_enter(keeper, back, "the back end of a holder takes no question now");
        answer_begin(keeper, peer, id, HF_REASON_BUSY, "the back end of a holder is busy");
    }
}

void hf_seal_on_register(hf_keeper *keeper, hf_peer *peer, const hf_msg_seal_register *frame)
{
    hf_seal_room *room = &keeper->seal;
    uint64_t id = frame->header.request_id;
    hf_seal_state next;
    char name[HF_SEAL_NAME_LEN];
    hf_error err = {.msg = ""};
    if (!hf_seal_take_step(keeper, peer, id, HF_SEAL_ON_REGISTER, &next)) {
        return;
    }
    memcpy(name, frame->holder.name, sizeof name);
    name[sizeof name - 1] = '\0';
    int i = room->has_next ? hf_seal_config_find(&room->next, name) : -1;
    if (i >= 0 && !hf_holder_kind_is_wrapped(room->next.holders[i].kind)) {
        i = -1; /* it registers by itself */
    }
    if (i < 0 || room->task != NULL || (room->next_registered >> i & 1U) != 0) {
        hf_peer_send_result(keeper, peer, id, i < 0 ? HF_REASON_MALFORMED : HF_REASON_BUSY, 0,
                            i < 0 ? "nobody of this name is asked to register"
                                  : "this holder has registered");
        return;
    }
    hf_seal_kdf before = room->next.holders[i].kdf;
    room->next.holders[i].kdf = frame->holder.kdf;
    if (hf_failed(hf_seal_config_check(&room->next, &err))) {
        room->next.holders[i].kdf = before;
        hf_peer_send_result(keeper, peer, id, HF_REASON_MALFORMED, 0, err.msg);
        return;
    }
    hf_seal_wrap(&room->next, (unsigned)i, frame->holder.key, &room->secrets->next_shares[i]);
    room->next_registered |= 1U << i;
    hf_log(HF_LOG_INFO, "seal_registered", "%s; %u missing", name, hf_seal_unregistered(room));
    hf_auditor_note(keeper, HF_AUDIT_SHARE, &keeper->asker, "done", "%s has registered; %u missing",
                    name, hf_seal_unregistered(room));
    if (hf_seal_unregistered(room) == 0) {
        keep_next(keeper, peer, id, true);
        return;
    }
    hf_peer_send_result(keeper, peer, id, HF_REASON_OK, hf_seal_unregistered(room), "");
}

/* ---- what the store answered --------------------------------------------------------------------
 */

/* A configuration is on disk: from here on it is the one that counts. */
void hf_seal_kept(hf_keeper *keeper, hf_seal_task *task)
{
    hf_seal_room *room = &keeper->seal;
    hf_seal_secrets *secrets = room->secrets;
    room->config = *task->config;
    room->config_version++;
    if (!room->has_next) { /* the end of a rotation */
        room->head = task->head;
        hf_wipe(&secrets->previous_keys, sizeof secrets->previous_keys);
        hf_seal_enter(keeper, hf_seal_next(room->state, HF_SEAL_ON_CHANGED).next,
                      "all records are sealed under the new master key");
        return;
    }
    memset(room->wrong, 0, sizeof room->wrong);
    if (task->asker != NULL && task->is_register) {
        hf_peer_send_result(keeper, task->asker, task->request_id, HF_REASON_OK, 0, "");
    } else if (task->asker != NULL) {
        send_shares(keeper, task->asker, task->request_id);
    }
    if (room->next_purpose == HF_SEAL_INIT) {
        hf_seal_drop_next(room);
        hf_seal_shut(keeper, HF_SEAL_SEALED, "all holders registered");
    } else if (room->next_purpose == HF_SEAL_REKEY) {
        hf_seal_drop_next(room);
        hf_seal_enter(keeper, HF_SEAL_UNSEALED, "the new holders registered");
    } else {
        secrets->previous_keys = secrets->keys;
        memcpy(secrets->master, secrets->next_master, HF_SEAL_KEY_BYTES);
        hf_seal_derive(secrets->master, &secrets->keys);
        hf_seal_drop_next(room);
        hf_seal_rotate_start(keeper);
    }
}

void hf_seal_not_kept(hf_keeper *keeper, hf_seal_task *task)
{
    hf_seal_room *room = &keeper->seal;
    hf_log(HF_LOG_UNUSUAL, "seal_not_kept", "%s", task->err.msg);
    if (task->asker != NULL) {
        hf_peer_send_result(keeper, task->asker, task->request_id,
                            task->status.code == HF_CONFLICT ? HF_REASON_BUSY
                                                             : HF_REASON_STORE_UNAVAILABLE,
                            0, task->err.msg);
    }
    if (!room->has_next) { /* the end of a rotation */
        if (hf_seal_state_can_sign(room->state)) {
            hf_seal_rotate_later(keeper);
        }
        return;
    }
    hf_seal_state next = hf_seal_next(room->state, HF_SEAL_ON_CANCEL).next;
    hf_seal_drop_next(room);
    hf_seal_enter(keeper, next, "the store did not keep it");
    if (task->status.code == HF_CONFLICT) {
        room->look_again_ns = hf_time_mono_ns(); /* another node was faster */
    }
}
