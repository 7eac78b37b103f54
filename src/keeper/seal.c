/*
 * The seal machine of this node: ceremonies, shares, and what comes of them. Intake thread; the
 * states and what each event does in each are seal/machine.c's.
 */
#include "keeper/keeper_internal.h"

/* Right shares that nobody completes are dropped. */
#define PARTIAL_NS (UINT64_C(15) * 60 * HF_NS_PER_SECOND)
/* After so many wrong shares of one holder each further try has to wait. */
#define WRONG_FREE 5
#define WRONG_PAUSE_NS (10 * HF_NS_PER_SECOND)
#define MACHINES_AGAIN_NS (HF_NS_PER_SECOND / 4)
#define LOOK_AGAIN_NS (2 * HF_NS_PER_SECOND)
/* At the start, when the store may not be connected yet: the keys wait for it. */
#define FIRST_LOOK_AGAIN_NS (HF_NS_PER_SECOND / 8)

/* ---- states --------------------------------------------------------------------------------- */

void hf_seal_enter(hf_keeper *keeper, hf_seal_state state, const char *why)
{
    hf_seal_room *room = &keeper->seal;
    if (room->state != state) {
        hf_log(HF_LOG_INFO, "seal_state", "%s -> %s: %s", hf_seal_state_name(room->state),
               hf_seal_state_name(state), why);
        hf_auditor_note(keeper, HF_AUDIT_SEAL, room->is_asked ? &keeper->asker : NULL, "done",
                        "%s -> %s: %s", hf_seal_state_name(room->state), hf_seal_state_name(state),
                        why);
        room->state = state;
        atomic_store(&room->is_open, hf_seal_state_can_sign(state));
        room->since_unix_ms = hf_time_unix_ms();
    }
}

static void drop_shares(hf_seal_room *room)
{
    hf_wipe(room->secrets->shares, sizeof room->secrets->shares);
    room->given = 0;
    room->deadline_ns = 0;
}

void hf_seal_shut(hf_keeper *keeper, hf_seal_state state, const char *why)
{
    hf_seal_room *room = &keeper->seal;
    room->machines_again_ns = 0;
    hf_seal_forget_keys(keeper);
    hf_seal_drop_next(room);
    drop_shares(room);
    room->tokens_wanted = false;
    hf_wipe(room->secrets, sizeof *room->secrets);
    hf_seal_enter(keeper, state, why);
}

/* What the event does now; tells the asker when it does nothing. */
bool hf_seal_take_step(hf_keeper *keeper, hf_peer *peer, uint64_t request_id, hf_seal_event event,
                       hf_seal_state *ret_next)
{
    hf_seal_step next = hf_seal_next(keeper->seal.state, event);
    if (!next.is_allowed) {
        hf_peer_send_result(keeper, peer, request_id, HF_REASON_BUSY, 0, next.because);
        return false;
    }
    *ret_next = next.next;
    return true;
}

/* ---- shares --------------------------------------------------------------------------------- */

/* A wrong share counts for whom it was said to be of, and the next tries have to wait. */
static void refuse_share(hf_keeper *keeper, hf_peer *peer, uint64_t request_id, int holder)
{
    hf_seal_room *room = &keeper->seal;
    uint64_t *wrong = holder < 0 ? &room->stray_wrong : &room->wrong[holder];
    uint64_t *blocked =
        holder < 0 ? &room->stray_blocked_until_ns : &room->blocked_until_ns[holder];
    const char *name = holder < 0 ? "nobody" : room->config.holders[holder].name;
    char detail[HF_DETAIL_LEN];
    hf_meter_add(&keeper->meter.now.seal_shares[0], 1);
    if (++*wrong >= WRONG_FREE) {
        *blocked = hf_time_mono_ns() + WRONG_PAUSE_NS;
    }
    hf_log(HF_LOG_UNUSUAL, "seal_share_wrong", "a wrong share for %s, the %lluth", name,
           (unsigned long long)*wrong);
    hf_auditor_note(keeper, HF_AUDIT_SHARE, &keeper->asker, "refused",
                    "a wrong share for %s, the %lluth", name, (unsigned long long)*wrong);
    (void)snprintf(detail, sizeof detail, "that is not the share of %s", name);
    hf_peer_send_result(keeper, peer, request_id, HF_REASON_WRONG_SHARE,
                        hf_seal_missing(&room->config, room->given), detail);
}

static bool may_try(hf_keeper *keeper, hf_peer *peer, uint64_t request_id, int holder)
{
    const hf_seal_room *room = &keeper->seal;
    uint64_t until = holder < 0 ? room->stray_blocked_until_ns : room->blocked_until_ns[holder];
    if (until <= hf_time_mono_ns()) {
        return true;
    }
    hf_peer_send_result(keeper, peer, request_id, HF_REASON_RATE_LIMITED, 0,
                        "too many wrong shares of this holder: wait ten seconds");
    return false;
}

/* Whose share is it? -1: nobody's. */
static int find_share(const hf_seal_room *room, const hf_seal_share *share)
{
    for (unsigned i = 0; i < room->config.holder_count; i++) {
        if (hf_seal_share_is_right(&room->config, i, share)) {
            return (int)i;
        }
    }
    return -1;
}

/* Machines give their shares when somebody else did, and at the start. */
static void ask_machines(hf_keeper *keeper)
{
    const hf_seal_room *room = &keeper->seal;
    hf_msg_plain frame;
    bool is_wanted = false;
    for (unsigned i = 0; i < room->config.holder_count; i++) {
        is_wanted |=
            room->config.holders[i].kind == HF_HOLDER_KEY_FILE && (room->given >> i & 1U) == 0;
    }
    if (is_wanted) {
        hf_frame_init(&frame, HF_MSG_SEAL_KEYS_WANTED, 0);
        hf_peer_send(keeper, keeper->control, &frame);
    }
    hf_seal_tokens_ask(keeper);
}

/* -2: no such holder. -1: nobody's. The share is in scratch. */
static int open_share(hf_seal_room *room, const hf_msg_seal_submit *frame, bool *ret_right)
{
    hf_seal_share *share = &room->secrets->scratch;
    char name[HF_SEAL_NAME_LEN];
    memcpy(name, frame->name, sizeof name);
    name[sizeof name - 1] = '\0';
    *ret_right = false;
    memcpy(share->bytes, frame->bytes, sizeof share->bytes);
    if (name[0] == '\0' && frame->is_share == 1) {
        int holder = find_share(room, share);
        *ret_right = holder >= 0;
        return holder;
    }
    int holder = hf_seal_config_find(&room->config, name);
    if (holder < 0) {
        return -2;
    }
    if (frame->is_share == 1) {
        *ret_right = hf_seal_share_is_right(&room->config, (unsigned)holder, share);
    } else {
        *ret_right =
            !hf_failed(hf_seal_unwrap(&room->config, (unsigned)holder, frame->bytes, share));
    }
    return holder;
}

/* All that is needed is here: the key, and then the records. */
static void complete(hf_keeper *keeper, hf_peer *peer, uint64_t request_id)
{
    hf_seal_room *room = &keeper->seal;
    hf_seal_secrets *secrets = room->secrets;
    hf_status st = hf_seal_combine(&room->config, room->given, secrets->shares, secrets->master);
    drop_shares(room);
    if (!hf_failed(st) && room->config.has_previous == 1) {
        st = hf_seal_carried(&room->config, secrets->master, secrets->next_master);
        hf_seal_derive(secrets->next_master, &secrets->previous_keys);
        hf_wipe(secrets->next_master, sizeof secrets->next_master);
    }
    if (hf_failed(st)) {
        hf_seal_shut(keeper, HF_SEAL_SEALED, "the configuration of the seal was changed");
        hf_log(HF_LOG_BROKEN, "seal_corrupt",
               "right shares, and still no key: the seal's record in the store was changed");
        hf_peer_send_result(keeper, peer, request_id, HF_REASON_INTERNAL, 0,
                            "right shares, and still no key: the seal's record was changed");
        return;
    }
    hf_seal_derive(secrets->master, &secrets->keys);
    hf_seal_enter(keeper, HF_SEAL_UNSEALED, "enough shares");
    room->is_loading = true;
    room->opening_ns = hf_time_mono_ns();
    /* The answer comes when the keys are there. */
    if (!hf_seal_task_start(
            keeper, hf_seal_task_new(HF_SEAL_TASK_READ, HF_SEAL_AIM_OPEN, peer, request_id))) {
        hf_seal_shut(keeper, HF_SEAL_SEALED, "the store could not be asked for the keys");
        room->machines_again_ns = hf_time_mono_ns() + LOOK_AGAIN_NS;
    }
}

void hf_seal_take_share(hf_keeper *keeper, hf_peer *peer, uint64_t request_id, unsigned holder)
{
    hf_seal_room *room = &keeper->seal;
    hf_seal_state next;
    bool is_repeated = (room->given >> holder & 1U) != 0;
    uint32_t given = room->given | 1U << holder;
    unsigned missing = hf_seal_missing(&room->config, given);
    hf_seal_event event = is_repeated    ? HF_SEAL_ON_REPEATED_SHARE
                          : missing == 0 ? HF_SEAL_ON_LAST_SHARE
                                         : HF_SEAL_ON_SHARE;
    if (!hf_seal_take_step(keeper, peer, request_id, event, &next)) {
        return;
    }
    if (!is_repeated) {
        room->secrets->shares[holder] = room->secrets->scratch;
        room->given = given;
        hf_meter_add(&keeper->meter.now.seal_shares[1], 1);
        room->wrong[holder] = 0;
        room->deadline_ns = hf_time_mono_ns() + PARTIAL_NS;
        hf_log(HF_LOG_INFO, "seal_share", "the share of %s is right; %u missing",
               room->config.holders[holder].name, missing);
        hf_auditor_note(keeper, HF_AUDIT_SHARE, room->is_asked ? &keeper->asker : NULL, "done",
                        "the share of %s is right; %u missing", room->config.holders[holder].name,
                        missing);
    }
    if (event == HF_SEAL_ON_LAST_SHARE) {
        complete(keeper, peer, request_id);
        return;
    }
    hf_seal_enter(keeper, next, "some shares");
    if (peer->channel != HF_CHANNEL_CONTROL) {
        ask_machines(keeper);
    }
    hf_peer_send_result(keeper, peer, request_id, HF_REASON_OK, missing,
                        is_repeated ? "that share was given already" : "");
}

static void on_submit(hf_keeper *keeper, hf_peer *peer, const hf_msg_seal_submit *frame)
{
    hf_seal_room *room = &keeper->seal;
    uint64_t id = frame->header.request_id;
    hf_seal_state next;
    bool is_right = false;
    if (!hf_seal_take_step(keeper, peer, id, HF_SEAL_ON_WRONG_SHARE, &next)) {
        return; /* no share is wanted now */
    }
    if (room->task != NULL) {
        hf_peer_send_result(keeper, peer, id, HF_REASON_BUSY, 0, "the store is being read");
        if (peer->channel == HF_CHANNEL_CONTROL) { /* no person says it again */
            room->machines_again_ns = hf_time_mono_ns() + MACHINES_AGAIN_NS;
        }
        return;
    }
    if (hf_seal_tokens_submit(keeper, peer, frame)) {
        return;
    }
    int holder = open_share(room, frame, &is_right);
    if (holder == -2) {
        hf_peer_send_result(keeper, peer, id, HF_REASON_MALFORMED, 0, "no holder has this name");
    } else if (!may_try(keeper, peer, id, holder)) {
        /* told */
    } else if (!is_right) {
        refuse_share(keeper, peer, id, holder);
    } else {
        hf_seal_take_share(keeper, peer, id, (unsigned)holder);
    }
    hf_wipe(&room->secrets->scratch, sizeof room->secrets->scratch);
}

/* ---- close, cancel ------------------------------------------------------------------------------
 */

/* The answer comes when no request uses a sealed key any more. */
void hf_seal_answer_later(hf_keeper *keeper, hf_peer *peer, uint64_t request_id)
{
    hf_seal_room *room = &keeper->seal;
    if (room->closer != NULL) {
        hf_peer_send_result(keeper, peer, request_id, HF_REASON_OK, 0, "");
        return;
    }
    hf_peer_ref(peer);
    room->closer = peer;
    room->closer_request_id = request_id;
    room->closer_value = 0;
}

static void on_close(hf_keeper *keeper, hf_peer *peer, const hf_msg_ask *frame)
{
    hf_seal_room *room = &keeper->seal;
    uint64_t id = frame->header.request_id;
    bool is_shared = keeper->store_clients[HF_LANE_ADMIN] != NULL;
    hf_seal_state next;
    if (!hf_seal_take_step(keeper, peer, id, HF_SEAL_ON_SEAL, &next)) {
        return;
    }
    hf_seal_shut(keeper, next, "on command"); /* here at once, whatever the store says */
    if (!is_shared) {
        hf_seal_answer_later(keeper, peer, id);
    } else if (room->task != NULL || !hf_seal_tell_others(keeper, peer, id)) {
        hf_peer_send_result(keeper, peer, id, HF_REASON_BUSY, 0,
                            "sealed here; the other nodes could not be told now: say it again");
    }
}

static void on_cancel(hf_keeper *keeper, hf_peer *peer, const hf_msg_ask *frame)
{
    hf_seal_room *room = &keeper->seal;
    uint64_t id = frame->header.request_id;
    hf_seal_state next;
    if (!hf_seal_take_step(keeper, peer, id, HF_SEAL_ON_CANCEL, &next)) {
        return;
    }
    if (room->task != NULL || room->is_rotating) {
        hf_peer_send_result(keeper, peer, id, HF_REASON_BUSY, 0,
                            "it is being written already and will be completed");
        return;
    }
    if (room->state == HF_SEAL_PARTLY_UNSEALED) {
        drop_shares(room);
    } else {
        hf_seal_drop_next(room);
    }
    hf_seal_enter(keeper, next, "cancelled");
    hf_peer_send_result(keeper, peer, id, HF_REASON_OK, 0, "");
}

/* ---- frames ------------------------------------------------------------------------------------
 */

static void take_frame(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    const hf_frame_header *header = frame;
    const hf_seal_room *room = &keeper->seal;
    if (header->type == HF_MSG_SEAL_STATUS) {
        hf_seal_on_status(keeper, peer, frame);
    } else if (!room->is_configured) {
        hf_peer_send_result(keeper, peer, header->request_id, HF_REASON_BUSY, 0,
                            "signing_keys has no entry with backend sealed");
    } else if (!room->is_known) {
        hf_peer_send_result(keeper, peer, header->request_id, HF_REASON_STORE_UNAVAILABLE, 0,
                            "the store has not yet said whether there is a seal");
    } else if (header->type == HF_MSG_SEAL_SUBMIT) {
        on_submit(keeper, peer, frame);
    } else if (header->type == HF_MSG_SEAL_BEGIN) {
        hf_seal_on_begin(keeper, peer, frame);
    } else if (header->type == HF_MSG_SEAL_REGISTER) {
        hf_seal_on_register(keeper, peer, frame);
    } else if (header->type == HF_MSG_SEAL_CLOSE) {
        on_close(keeper, peer, frame);
    } else if (header->type == HF_MSG_SEAL_CANCEL) {
        on_cancel(keeper, peer, frame);
    } else {
        hf_seal_keys_frame(keeper, peer, frame, fd);
    }
}

void hf_seal_frame(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    keeper->seal.is_asked = true;
    take_frame(keeper, peer, frame, fd);
    keeper->seal.is_asked = false;
}

hf_reason hf_seal_reason_of_absence(const hf_keeper *keeper)
{
    const hf_seal_room *room = &keeper->seal;
    bool is_open = hf_seal_state_can_sign(room->state) && !room->is_loading;
    bool is_nothing = room->is_known && room->state == HF_SEAL_UNINITIALIZED;
    return !room->is_configured || is_open || is_nothing ? HF_REASON_UNKNOWN_KEY : HF_REASON_SEALED;
}

/* ---- what the store answered --------------------------------------------------------------------
 */

static void looked(hf_keeper *keeper, hf_seal_task *task)
{
    hf_seal_room *room = &keeper->seal;
    hf_seal_found *found = task->found;
    hf_status st = task->status;
    if (!hf_failed(st) && found->has_config && hf_failed(found->config_status)) {
        st = hf_fail(&task->err, HF_CORRUPT, "the seal's record in the store cannot be read");
    }
    if (hf_failed(st)) {
        hf_str_cut(room->detail, sizeof room->detail, task->err.msg);
        room->look_again_ns =
            hf_time_mono_ns() + (room->is_known ? LOOK_AGAIN_NS : FIRST_LOOK_AGAIN_NS);
        return;
    }
    bool is_first = !room->is_known;
    room->detail[0] = '\0';
    room->is_known = true;
    room->closed_version = found->closed_version;
    atomic_store(&room->seen, found->generation);
    if (!found->has_config) {
        if (is_first) {
            hf_log(HF_LOG_INFO, "seal_state",
                   "there is no seal yet: `holdfast seal init` makes it");
        }
        return;
    }
    if (room->config_version == found->config_version) {
        return;
    }
    hf_seal_event event = room->config_version == 0 ? HF_SEAL_ON_FOUND : HF_SEAL_ON_REPLACED;
    hf_seal_drop_next(room);
    drop_shares(room);
    room->config = found->config;
    room->config_version = found->config_version;
    memset(room->wrong, 0, sizeof room->wrong);
    hf_seal_enter(keeper, hf_seal_next(room->state, event).next,
                  event == HF_SEAL_ON_FOUND ? "a seal is kept in the store"
                                            : "another node changed the seal");
    ask_machines(keeper);
}

/* The records are here; is it still the seal whose shares were given? */
static void opened(hf_keeper *keeper, hf_seal_task *task)
{
    hf_seal_room *room = &keeper->seal;
    hf_seal_found *found = task->found;
    bool is_same = !hf_failed(task->status) && found->has_config &&
                   !hf_failed(found->config_status) &&
                   found->config_version == room->config_version &&
                   (task->aim == HF_SEAL_AIM_OPEN || found->closed_version == room->closed_version);
    if (hf_failed(task->status)) { /* a store that is away seals nothing: it is asked again */
        room->read_again_ns = hf_time_mono_ns() + LOOK_AGAIN_NS;
        if (task->asker != NULL) {
            hf_peer_send_result(keeper, task->asker, task->request_id, HF_REASON_STORE_UNAVAILABLE,
                                0, "unsealed; the keys come when the store answers");
        }
        return;
    }
    room->read_again_ns = 0;
    if (!is_same) {
        const char *why = "the seal was changed by another node meanwhile";
        hf_seal_shut(keeper, HF_SEAL_SEALED, why);
        room->look_again_ns = hf_time_mono_ns();
        if (task->asker != NULL) {
            hf_peer_send_result(keeper, task->asker, task->request_id, HF_REASON_STORE_UNAVAILABLE,
                                0, why);
        }
        return;
    }
    room->closed_version = found->closed_version;
    hf_seal_open_keys(keeper, found);             /* all at once: 10,000 keys take some 30 ms */
    atomic_store(&room->seen, found->generation); /* last: who waits for it then sees all */
    if (room->config.has_previous == 1 && !room->is_rotating) {
        hf_seal_rotate_start(keeper);
    }
    if (task->asker != NULL) {
        hf_peer_send_result(keeper, task->asker, task->request_id, HF_REASON_OK, 0, room->detail);
    }
}

static void take_up(hf_keeper *keeper, hf_seal_task *task)
{
    hf_seal_room *room = &keeper->seal;
    room->task = NULL;
    hf_seal_note_write(keeper, task);
    bool is_open = hf_seal_state_can_sign(room->state);
    if (task->aim == HF_SEAL_AIM_START) {
        looked(keeper, task);
    } else if (task->aim == HF_SEAL_AIM_KEEP && !hf_failed(task->status) &&
               (is_open || room->has_next)) {
        hf_seal_kept(keeper, task);
    } else if (task->aim == HF_SEAL_AIM_KEEP && !hf_failed(task->status)) {
        /* Sealed while it was written: the record is what counts. */
        room->config = *task->config;
        room->config_version++;
    } else if (task->aim == HF_SEAL_AIM_KEEP) {
        hf_seal_not_kept(keeper, task);
    } else if (task->aim == HF_SEAL_AIM_CLOSE) {
        hf_seal_told_others(keeper, task);
    } else if (!is_open) {
        if (task->asker != NULL) {
            hf_peer_send_result(keeper, task->asker, task->request_id, HF_REASON_SEALED, 0, "");
        }
    } else if (task->aim == HF_SEAL_AIM_NOTICE) {
        hf_seal_noticed(keeper, task);
    } else if (task->aim == HF_SEAL_AIM_OPEN || task->aim == HF_SEAL_AIM_REREAD) {
        opened(keeper, task);
    } else {
        hf_seal_keys_written(keeper, task);
    }
    hf_seal_task_free(keeper, task);
}

static void let_time_pass(hf_keeper *keeper)
{
    hf_seal_room *room = &keeper->seal;
    uint64_t now = hf_time_mono_ns();
    if (room->read_again_ns != 0 && now >= room->read_again_ns && room->task == NULL &&
        hf_seal_state_can_sign(room->state)) {
        room->read_again_ns = 0;
        (void)hf_seal_task_start(
            keeper,
            hf_seal_task_new(HF_SEAL_TASK_READ,
                             room->is_loading ? HF_SEAL_AIM_OPEN : HF_SEAL_AIM_REREAD, NULL, 0));
    }
    bool wants_machines = room->state == HF_SEAL_SEALED || room->state == HF_SEAL_PARTLY_UNSEALED;
    if (room->machines_again_ns != 0 && now >= room->machines_again_ns && room->task == NULL) {
        room->machines_again_ns = 0;
        if (wants_machines) {
            ask_machines(keeper);
        }
    }
    hf_seal_tell_again(keeper);
    hf_seal_look_when_behind(keeper);
    if (room->look_again_ns != 0 && now >= room->look_again_ns && room->task == NULL) {
        room->look_again_ns = 0;
        if (!hf_seal_task_start(keeper,
                                hf_seal_task_new(HF_SEAL_TASK_LOOK, HF_SEAL_AIM_START, NULL, 0))) {
            room->look_again_ns = now + LOOK_AGAIN_NS;
        }
    }
    if (room->deadline_ns != 0 && now >= room->deadline_ns && room->task == NULL) {
        hf_seal_state next = hf_seal_next(room->state, HF_SEAL_ON_TIMEOUT).next;
        if (room->state == HF_SEAL_PARTLY_UNSEALED) {
            drop_shares(room);
        } else {
            hf_seal_drop_next(room);
        }
        hf_seal_enter(keeper, next, "nobody completed it in time");
    }
}

void hf_seal_turn(hf_keeper *keeper)
{
    hf_seal_room *room = &keeper->seal;
    if (!room->is_configured) {
        return;
    }
    hf_seal_task *task = atomic_exchange(&room->done, NULL);
    if (task != NULL) {
        take_up(keeper, task);
    }
    let_time_pass(keeper);
    hf_seal_tokens_turn(keeper);
    hf_seal_rotate_step(keeper);
    hf_seal_take_import(keeper);
    if (room->closer != NULL && keeper->ring.removed == NULL) {
        hf_peer_send_result(keeper, room->closer, room->closer_request_id, HF_REASON_OK,
                            room->closer_value, "");
        hf_peer_unref(keeper, room->closer);
        room->closer = NULL;
    }
}

hf_status hf_seal_init(hf_keeper *keeper, hf_error *err)
{
    hf_seal_room *room = &keeper->seal;
    room->is_configured = keeper->config.has_sealed_keys == 1;
    room->since_unix_ms = hf_time_unix_ms();
    if (!room->is_configured) {
        return hf_ok();
    }
    hf_status st =
        hf_slab_new(sizeof(hf_seal_secrets), 2,
                    keeper->config.hardening.mlock == HF_PROTECT_REQUIRE, &room->slab, err);
    if (hf_failed(st)) {
        return st;
    }
    room->secrets = hf_slab_alloc(room->slab);
    hf_seal_tokens_init(room);
    room->look_again_ns = hf_time_mono_ns();
    return hf_ok();
}

void hf_seal_done(hf_keeper *keeper)
{
    hf_seal_room *room = &keeper->seal;
    if (!room->is_configured) {
        return;
    }
    hf_seal_task *task = room->task; /* the threads are gone */
    room->task = NULL;
    hf_seal_task_free(keeper, task);
    hf_seal_forget_keys(keeper);
    hf_seal_tokens_done(keeper);
    hf_slab_release(room->slab, room->secrets);
    hf_slab_free(room->slab);
    room->secrets = NULL;
    room->is_configured = false;
}
