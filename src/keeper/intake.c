/*
 * The one thread that reads frames. Each is checked against the table of what may travel where,
 * then handed to its handler; signing requests are admitted here and go on to the protector or the
 * signers. Nothing here waits for a disk or a curve, but for the public key of a key that is added.
 */
#include "keeper/keeper_internal.h"
#include "keeper/pulse.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

/* A key costs a public key, 0.1 ms: fewer of them before the other channels have their turn. */
#define KEY_FRAMES_PER_TURN 8
#define REFUSALS_LOGGED_A_SECOND 50
/* With so much to sign for each thread (2 to 4 ms), a pause delays nobody. */
#define BUSY_BACKLOG 12
#define PAUSE_NS (2 * HF_NS_PER_MS)
#define EVENTS_MAX 32
#define TICK_MS 1000
#define WAITING_TICK_MS 100 /* while questions wait for the store */

void hf_intake_nudge(hf_keeper *keeper)
{
    uint64_t one = 1;
    (void)!write(keeper->nudge_fd, &one, sizeof one);
}

static hf_sign_result result_of(hf_reason reason)
{
    unsigned status = hf_reason_describe(reason)->http_status;
    if (reason == HF_REASON_OK) {
        return HF_RESULT_SIGNED;
    }
    return status >= 500 ? HF_RESULT_FAILED : HF_RESULT_REFUSED;
}

/* Who can cause refusals shall not fill the disk with them: the metrics count every one. */
bool hf_refusal_may_be_logged(hf_keeper *keeper)
{
    uint64_t second = hf_time_mono_ns() / HF_NS_PER_SECOND;
    if (atomic_exchange(&keeper->log_second, second) != second) {
        atomic_store(&keeper->log_lines, 0);
    }
    uint32_t line = atomic_fetch_add(&keeper->log_lines, 1);
    if (line == REFUSALS_LOGGED_A_SECOND) {
        hf_log(HF_LOG_UNUSUAL, "refusals_not_logged", "more in this second; metrics count them");
    }
    return line < REFUSALS_LOGGED_A_SECOND;
}

static void log_refusal(hf_keeper *keeper, const hf_request *request, hf_reason reason)
{
    if (!hf_refusal_may_be_logged(keeper)) {
        return;
    }
    char pubkey[2 * HF_BLS_PUBKEY_BYTES + 1];
    const hf_reason_info *info = hf_reason_describe(reason);
    hf_hex_encode(request->message.pubkey, HF_BLS_PUBKEY_BYTES, pubkey);
    hf_log(info->log_level, "refused", "%s for 0x%s: %s: %s",
           hf_eth_operation_name((hf_operation)request->operation), pubkey, info->code,
           request->reply.detail[0] != '\0' ? request->reply.detail : info->sentence);
}

void hf_request_finish(hf_keeper *keeper, hf_request *request, hf_reason reason, const char *detail)
{
    hf_metrics *now = &keeper->meter.now;
    request->reply.reason = reason;
    hf_str_cut(request->reply.detail, sizeof request->reply.detail, detail);
    if (reason == HF_REASON_OK) {
        uint64_t end = hf_time_mono_ns();
        uint64_t start = request->received_ns < end ? request->received_ns : end;
        hf_meter_observe(&now->duration[request->operation][HF_STAGE_TOTAL], end - start);
    } else {
        HF_ASSERT(hf_bytes_is_zero(request->reply.signature, HF_BLS_SIGNATURE_BYTES));
        hf_meter_add(&now->refusals[reason], 1);
        log_refusal(keeper, request, reason);
    }
    hf_meter_add(&now->requests[request->operation][result_of(reason)], 1);
    if (request->key != NULL) {
        uint32_t before = atomic_fetch_sub(&request->key->refs, 1);
        if (before == 1 && atomic_load(&keeper->closing)) {
            hf_intake_nudge(keeper);
        }
        request->key = NULL;
    }
    hf_auditor_result(keeper, request, request->audit);
    hf_peer_answer(keeper, request);
}

/* ---- signing requests ------------------------------------------------------------------------ */

static void reply_overloaded(hf_keeper *keeper, hf_peer *peer, const hf_msg_sign *frame)
{
    hf_msg_sign_reply reply = {.reason = HF_REASON_OVERLOADED};
    hf_frame_init(&reply, HF_MSG_SIGN_REPLY, frame->header.request_id);
    hf_meter_add(&keeper->meter.now.overload, 1);
    hf_meter_add(&keeper->meter.now.refusals[HF_REASON_OVERLOADED], 1);
    hf_peer_send(keeper, peer, &reply);
}

static void observe_decoding(hf_keeper *keeper, const hf_msg_sign *frame, uint32_t operation)
{
    if (frame->decoded_ns >= frame->received_ns) {
        hf_meter_observe(&keeper->meter.now.duration[operation][HF_STAGE_DECODE],
                         frame->decoded_ns - frame->received_ns);
    }
}

/* A request of its own for the frame; NULL when all are taken (the peer was told). */
static hf_request *open_request(hf_keeper *keeper, hf_peer *peer, const hf_msg_sign *frame)
{
    hf_request *request = NULL;
    if (atomic_load(&peer->refs) < peer->in_flight_max) {
        request = hf_requests_take(&keeper->requests);
    }
    if (request == NULL) {
        reply_overloaded(keeper, peer, frame);
        return NULL;
    }
    hf_peer_ref(peer);
    request->peer = peer;
    /* Counters are indexed by the operation: an unknown one is admitted to nothing, counted as 0.
     */
    request->operation = frame->request.operation < HF_OP_COUNT ? frame->request.operation : 0;
    request->received_ns = frame->received_ns;
    request->admitted_ns = hf_time_mono_ns();
    memcpy(request->message.pubkey, frame->request.pubkey, HF_BLS_PUBKEY_BYTES);
    hf_frame_init(&request->reply, HF_MSG_SIGN_REPLY, frame->header.request_id);
    observe_decoding(keeper, frame, request->operation);
    return request;
}

/* Written down, and then on its way. */
static void start_request(hf_keeper *keeper, hf_request *request, const hf_msg_sign *frame,
                          const hf_admission *admission, hf_request ***slashable_end)
{
    bool is_taken = false;
    hf_signers_expect(keeper, request, admission->root);
    if (!hf_auditor_admit(keeper, request, &frame->request, admission, &is_taken)) {
        hf_signers_forget(keeper, request);
        hf_request_finish(keeper, request, HF_REASON_AUDIT_UNAVAILABLE, "");
    } else if (is_taken) {
        return; /* the auditor's: it may be signed and answered by now */
    } else if (admission->is_slashable || hf_look_is_needed(keeper, request->key)) {
        **slashable_end = request; /* the protector's, as what can be slashed */
        *slashable_end = &request->next;
    } else {
        hf_signers_sign(keeper, request);
    }
}

/* Appends slashable requests to *slashable, for one push per turn. */
static void take_sign(hf_keeper *keeper, hf_peer *peer, const hf_msg_sign *frame,
                      hf_request ***slashable_end)
{
    hf_admission admission;
    hf_request *request = open_request(keeper, peer, frame);
    if (request == NULL) {
        return;
    }
    hf_key *key = hf_keyring_find(&keeper->ring, frame->request.pubkey);
    hf_gate_question question = {
        .scope = HF_SCOPE_SIGN, .operation = request->operation, .key = key};
    hf_reason reason = hf_gate_check(keeper, peer, &frame->caller, &question, &request->pass);
    const hf_policy_key named = hf_policy_key_from(frame->request.pubkey, HF_BLS_PUBKEY_BYTES);
    if (reason != HF_REASON_OK) {
        hf_policies_note_refused(keeper, &named, request->operation, &request->pass);
        hf_request_finish(keeper, request, reason, request->pass.detail);
        return;
    }
    if (keeper->stopping) {
        hf_request_finish(keeper, request, HF_REASON_SHUTTING_DOWN, "");
        return;
    }
    reason = hf_policies_judge_canary(keeper, &named, request->operation, &request->pass,
                                      admission.detail);
    if (reason != HF_REASON_OK) {
        hf_request_finish(keeper, request, reason, admission.detail);
        return;
    }
    bool held_back = keeper->config.require_all_keys && !keeper->loading.first_done;
    if (key == NULL || held_back) {
        hf_meter_add(&keeper->meter.now.missing_keys, 1);
        hf_request_finish(keeper, request, hf_seal_reason_of_absence(keeper), "");
        return;
    }
    hf_keeper_admit(&keeper->config.network, &frame->request, &admission);
    if (admission.reason != HF_REASON_OK) {
        hf_request_finish(keeper, request, admission.reason, admission.detail);
        return;
    }
    reason = hf_policies_judge(keeper, key, &frame->request, &request->pass, admission.detail);
    if (reason != HF_REASON_OK) {
        hf_request_finish(keeper, request, reason, admission.detail);
        return;
    }
    (void)atomic_fetch_add(&key->refs, 1);
    request->key = key;
    request->message = admission.message;
    request->is_slashable = admission.is_slashable;
    request->is_looked = keeper->look != 0;
    start_request(keeper, request, frame, &admission, slashable_end);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void lose_peer(hf_keeper *keeper, hf_peer *peer)
{
    if (peer == keeper->control) { /* the supervisor is gone, and we go with it */
        (void)epoll_ctl(keeper->epoll_fd, EPOLL_CTL_DEL, peer->fd, NULL);
        keeper->stopping = true;
        return;
    }
    if (keeper->importer == peer) {
        hf_job *job = calloc(1, sizeof *job);
        keeper->importer = NULL;
        if (job != NULL) {
            job->kind = HF_JOB_IMPORT_ABORT;
            (void)hf_jobs_push(keeper, job);
        }
    }
    hf_peer_hang_up(keeper, peer);
}

static void take_frame(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd,
                       hf_request ***slashable_end)
{
    const hf_frame_header *header = frame;
    if (header->type == HF_MSG_SIGN) {
        take_sign(keeper, peer, frame, slashable_end);
    } else {
        hf_dispatch(keeper, peer, frame, fd);
    }
}

void hf_intake_again(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    hf_request *slashable = NULL;
    hf_request **slashable_end = &slashable;
    take_frame(keeper, peer, frame, fd, &slashable_end);
    *slashable_end = NULL;
    hf_protector_push(keeper, slashable);
    hf_auditor_wake(keeper);
    hf_eth1_wake(keeper);
    hf_signers_wake(keeper);
}

void hf_intake_looked(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd, uint64_t look,
                      hf_reason doubt)
{
    if (doubt == HF_REASON_OK && hf_tokens_make_wait(keeper, peer, frame, fd)) {
        return;
    }
    keeper->look = look;
    keeper->doubt = doubt;
    hf_intake_again(keeper, peer, frame, fd);
    keeper->look = 0;
    keeper->doubt = HF_REASON_OK;
}

static void take_one(hf_keeper *keeper, hf_peer *peer, size_t i, hf_request ***slashable_end)
{
    size_t len;
    const void *frame = hf_inbox_peek(keeper->inbox, i, &len);
    int fd = hf_inbox_take_fd(keeper->inbox, i);
    if (!hf_frame_is_acceptable(frame, len, peer->channel, true)) {
        hf_meter_add(&keeper->meter.now.bad_frames, 1);
    } else if (!hf_token_looks_make_wait(keeper, peer, frame, &fd) &&
               !hf_tokens_make_wait(keeper, peer, frame, &fd)) {
        take_frame(keeper, peer, frame, &fd, slashable_end);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

/* All that is there, up to a fair share; what is slashable goes to the protector in one push. */
static void read_peer(hf_keeper *keeper, hf_peer *peer)
{
    bool brings_keys = peer->channel == HF_CHANNEL_LOADER || peer->channel == HF_CHANNEL_IMPORT ||
                       peer->channel == HF_CHANNEL_CUSTODY_KEYS;
    hf_request *slashable = NULL;
    hf_request **slashable_end = &slashable;
    size_t n = 0;
    hf_status st = hf_inbox_receive(keeper->inbox, peer->fd,
                                    brings_keys ? KEY_FRAMES_PER_TURN : HF_INBOX_FRAMES, &n);
    for (size_t i = 0; i < n && !peer->is_gone; i++) {
        take_one(keeper, peer, i, &slashable_end);
    }
    *slashable_end = NULL;
    hf_protector_push(keeper, slashable);
    hf_auditor_wake(keeper);
    hf_eth1_wake(keeper);
    hf_signers_wake(keeper);
    if (brings_keys || keeper->inbox_is_secret) {
        keeper->inbox_is_secret = false;
        hf_inbox_wipe(keeper->inbox);
    }
    if (hf_failed(st) && st.code != HF_UNAVAILABLE) {
        lose_peer(keeper, peer);
    }
}

static void take_event(hf_keeper *keeper, const struct epoll_event *event)
{
    hf_peer *peer = event->data.ptr;
    if (peer == NULL) {
        uint64_t count;
        (void)!read(keeper->nudge_fd, &count, sizeof count);
        for (size_t i = 0; i < HF_PEERS_MAX; i++) {
            if (keeper->peers[i].fd >= 0) {
                hf_peer_flush(keeper, &keeper->peers[i]);
            }
        }
        return;
    }
    if (peer->fd < 0 || peer->is_gone) {
        return;
    }
    if ((event->events & EPOLLOUT) != 0) {
        hf_peer_flush(keeper, peer);
    }
    if ((event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        read_peer(keeper, peer);
    }
}

static bool has_work(hf_keeper *keeper)
{
    return atomic_load(&keeper->requests.in_use) > 0 || atomic_load(&keeper->duties.in_use) > 0 ||
           atomic_load(&keeper->eth1.in_use) > 0 || atomic_load(&keeper->token_looks.count) > 0;
}

void hf_intake_loop(hf_keeper *keeper)
{
    struct epoll_event events[EVENTS_MAX];
    hf_pulse_join("intake");
    while (!keeper->stopping || has_work(keeper)) {
        bool is_waiting = atomic_load(&keeper->token_looks.count) > 0;
        int n = epoll_wait(keeper->epoll_fd, events, EVENTS_MAX,
                           is_waiting ? WAITING_TICK_MS : TICK_MS);
        hf_pulse_turn();
        if (n < 0 && errno != EINTR) {
            hf_log(HF_LOG_BROKEN, "epoll_failed", "%s", strerror(errno));
            keeper->failed = true;
            return;
        }
        if (n > 0 && hf_signers_backlog(keeper) >= BUSY_BACKLOG) {
            hf_time_sleep_ns(PAUSE_NS); /* more frames to a turn, fewer signatures interrupted */
        }
        hf_tokens_settle(keeper);
        hf_token_looks_turn(keeper);
        hf_actions_turn(keeper);
        for (int i = 0; i < n; i++) {
            take_event(keeper, &events[i]);
        }
        if (atomic_load(&keeper->closing) || keeper->ring.removed != NULL) {
            hf_loading_settle(keeper);
            hf_peers_sweep(keeper);
        }
        hf_seal_turn(keeper);
        hf_custody_turn(keeper);
        if (keeper->stopping && n == 0 && !is_waiting) {
            return; /* the rest hangs on a store that does not answer */
        }
    }
}
