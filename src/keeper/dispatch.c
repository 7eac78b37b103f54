/*
 * Every frame but a signing request, by type. What may travel on which channel was checked before
 * (ipc/frames.c); here each type finds its handler.
 */
#include "keeper/keeper_internal.h"

#include <unistd.h>

/* False: the peer was told that it will not be done. */
static bool push_job(hf_keeper *keeper, hf_peer *peer, const hf_frame_header *header,
                     hf_job_kind kind, const void *frame)
{
    size_t count = kind == HF_JOB_IMPORT_ADD ? ((const hf_msg_import_add *)frame)->count : 0;
    if (count > HF_EXPORT_PAGE) {
        hf_peer_send_result(keeper, peer, header->request_id, HF_REASON_MALFORMED, 0, "");
        return false;
    }
    hf_job *job = calloc(1, sizeof *job + count * sizeof(hf_message));
    if (job == NULL) {
        hf_peer_send_result(keeper, peer, header->request_id, HF_REASON_OVERLOADED, 0, "");
        return false;
    }
    job->kind = kind;
    job->peer = peer;
    job->request_id = header->request_id;
    job->session = keeper->import_session;
    job->asker = kind == HF_JOB_IMPORT_COMMIT ? keeper->import_asker : keeper->asker;
    if (kind == HF_JOB_IMPORT_ADD) {
        job->count = (uint32_t)count;
        memcpy(job->messages, ((const hf_msg_import_add *)frame)->messages,
               count * sizeof(hf_message));
    } else if (kind == HF_JOB_PRUNE) {
        job->keep_epochs = ((const hf_msg_prune *)frame)->keep_epochs;
    } else if (kind == HF_JOB_RAISE_FLOORS || kind == HF_JOB_SET_HIGH) {
        job->watermark = ((const hf_msg_watermark *)frame)->watermark;
    }
    bool is_pushed = hf_jobs_push(keeper, job);
    if (!is_pushed) {
        hf_peer_send_result(keeper, peer, header->request_id, HF_REASON_OVERLOADED, 0, "");
    }
    return is_pushed;
}

/* An import belongs to the channel that began it; one that the store did not begin to nobody. */
static void take_import(hf_keeper *keeper, hf_peer *peer, const hf_frame_header *header,
                        hf_job_kind kind, const void *frame)
{
    if (atomic_load(&keeper->refused_session) == keeper->import_session) {
        keeper->importer = NULL;
    }
    if (kind == HF_JOB_IMPORT_BEGIN) {
        if (keeper->importer != NULL) {
            hf_peer_send_result(keeper, peer, header->request_id, HF_REASON_BUSY, 0,
                                "another import is under way");
            return;
        }
        keeper->importer = peer;
        keeper->import_session++;
        keeper->import_asker = keeper->asker;
    } else if (keeper->importer != peer) {
        hf_peer_send_result(keeper, peer, header->request_id, HF_REASON_MALFORMED, 0,
                            "no import was begun");
        return;
    }
    if (kind == HF_JOB_IMPORT_COMMIT || kind == HF_JOB_IMPORT_ABORT) {
        keeper->importer = NULL;
    }
    if (!push_job(keeper, peer, header, kind, frame) && kind == HF_JOB_IMPORT_BEGIN) {
        keeper->importer = NULL;
    }
}

static void take_count(hf_keeper *keeper, const hf_msg_count *frame)
{
    if (frame->reason < HF_REASON_COUNT) {
        hf_meter_add(&keeper->meter.now.refusals[frame->reason], 1);
        hf_meter_add(&keeper->meter.now.malformed_requests, 1);
    }
    if (frame->operation < HF_OP_COUNT) {
        hf_meter_add(&keeper->meter.now.requests[frame->operation][HF_RESULT_REFUSED], 1);
    }
}

/* The store process was started, maybe anew. */
static void take_store_lane(hf_keeper *keeper, uint64_t lane, int take_fd)
{
    if (lane >= HF_STORE_LANES || keeper->store_clients[lane] == NULL) {
        hf_meter_add(&keeper->meter.now.bad_frames, 1);
        (void)close(take_fd);
        return;
    }
    hf_store_client_attach(keeper->store_clients[lane], take_fd);
    if (lane == HF_LANE_SIGNING) {
        hf_protector_wake(keeper, true);
    }
}

static void take_channel(hf_keeper *keeper, const hf_msg_new_channel *frame, int take_fd)
{
    bool fits = frame->channel > HF_CHANNEL_CONTROL && frame->channel < HF_CHANNEL_RELAY;
    if (take_fd < 0 || !fits) {
        hf_meter_add(&keeper->meter.now.bad_frames, 1);
        if (take_fd >= 0) {
            (void)close(take_fd);
        }
        return;
    }
    if (frame->channel == HF_CHANNEL_DUTY) {
        hf_duties_give_channel(keeper, take_fd);
        return;
    }
    if (frame->channel == HF_CHANNEL_STORE) {
        take_store_lane(keeper, frame->header.request_id, take_fd);
        return;
    }
    if (frame->channel == HF_CHANNEL_CUSTODY || frame->channel == HF_CHANNEL_CUSTODY_KEYS) {
        hf_custody_give_channel(keeper, frame, take_fd);
        return;
    }
    hf_peer *peer =
        hf_peer_open(keeper, take_fd, (hf_channel)frame->channel, frame->header.request_id);
    if (peer == NULL) {
        hf_log(HF_LOG_UNUSUAL, "channel_refused", "too many channels are open");
        return;
    }
    if (peer->channel == HF_CHANNEL_FRONT) {
        /* No single front, captured or merely flooded, takes every place from the others. */
        peer->in_flight_max = keeper->config.max_in_flight / 4 * 3;
        hf_meter_add(&keeper->meter.now.fronts_started, 1);
    }
}

static void note_export(hf_keeper *keeper, const hf_msg_pubkey *frame)
{
    if (frame->has_pubkey) {
        hf_auditor_note_key(keeper, HF_AUDIT_RECORD_EXPORTED, &keeper->asker, frame->pubkey, "done",
                            "");
    } else {
        hf_auditor_note(keeper, HF_AUDIT_RECORD_EXPORTED, &keeper->asker, "done", "all keys");
    }
}

/* Key management and exports, from fronts with a token and from admins. */
static void take_managed(hf_keeper *keeper, hf_peer *peer, const hf_frame_header *header,
                         const void *frame, int *fd)
{
    if (header->type == HF_MSG_AUTHORIZE) {
        hf_peer_send_result(keeper, peer, header->request_id, HF_REASON_OK, 0, "");
    } else if (header->type == HF_MSG_KEY_DELETE) {
        hf_loading_delete(keeper, peer, frame);
    } else if (header->type == HF_MSG_EXPORT_OPEN) {
        note_export(keeper, frame);
        hf_clerk_open(keeper, peer, frame);
    } else if (header->type == HF_MSG_IMPORT_BEGIN) {
        take_import(keeper, peer, header, HF_JOB_IMPORT_BEGIN, frame);
    } else if (header->type == HF_MSG_KEY_IMPORT && *fd >= 0) {
        hf_loading_import(keeper, peer, header->request_id, false, *fd);
        *fd = -1;
    } else {
        hf_peer_send_result(keeper, peer, header->request_id, HF_REASON_MALFORMED, 0, "");
    }
}

/* ---- by type; a handler that keeps the descriptor sets it to -1 ------------------------------ */

static void on_new_channel(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)peer;
    take_channel(keeper, frame, *fd);
    *fd = -1;
}

static void on_shutdown(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)peer;
    (void)frame;
    (void)fd;
    keeper->stopping = true;
}

static void on_count(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)peer;
    (void)fd;
    take_count(keeper, frame);
}

static void on_soon(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)peer;
    (void)frame;
    (void)fd;
    hf_protector_expect(keeper);
}

static void on_metrics(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    hf_answer_metrics(keeper, peer, frame);
}

static void on_keys(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    hf_answer_keys(keeper, peer, frame);
}

static void on_status(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    hf_answer_status(keeper, peer, frame, true);
}

static void on_health(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    hf_answer_status(keeper, peer, frame, false);
}

static void on_reload(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    const hf_frame_header *header = frame;
    (void)fd;
    hf_reason reason = hf_loading_start(keeper);
    hf_auditor_note(keeper, HF_AUDIT_RELOADED, &keeper->asker,
                    reason == HF_REASON_OK ? "done" : "refused", "%s", "");
    hf_peer_send_result(keeper, peer, header->request_id, reason, 0, "");
}

static void on_node_call(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    const hf_frame_header *header = frame;
    (void)fd;
    hf_meter_add(&keeper->meter.now.node_calls, 1);
    hf_peer_send_result(keeper, peer, header->request_id, HF_REASON_OK, 0, "");
}

static void on_managed(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    take_managed(keeper, peer, frame, frame, fd);
}

static void on_export_read(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    hf_clerk_read(keeper, peer, frame);
}

static void on_import_add(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    take_import(keeper, peer, frame, HF_JOB_IMPORT_ADD, frame);
}

static void on_import_commit(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    take_import(keeper, peer, frame, HF_JOB_IMPORT_COMMIT, frame);
}

static void on_import_abort(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    take_import(keeper, peer, frame, HF_JOB_IMPORT_ABORT, frame);
}

static void on_prune(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    (void)push_job(keeper, peer, frame, HF_JOB_PRUNE, frame);
}

static void on_store_status(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    (void)push_job(keeper, peer, frame, HF_JOB_STATUS, frame);
}

static void on_raise_floors(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    (void)push_job(keeper, peer, frame, HF_JOB_RAISE_FLOORS, frame);
}

static void on_set_high(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    (void)push_job(keeper, peer, frame, HF_JOB_SET_HIGH, frame);
}

static void on_loading(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    if (peer->channel == HF_CHANNEL_IMPORT) {
        hf_loading_import_frame(keeper, peer, frame);
    } else {
        hf_loading_frame(keeper, peer, frame);
    }
}

static void on_custody(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    hf_custody_keys_frame(keeper, peer, frame);
}

static void on_policy_book(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)peer;
    hf_policies_take_book(keeper, frame, *fd);
}

static void on_duty_sign(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    hf_duties_take(keeper, peer, frame);
}

static void on_eth1_sign(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    hf_eth1_take(keeper, peer, frame, *fd);
}

static void on_eth1_keys(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    hf_eth1_list(keeper, peer, frame);
}

static void on_policy(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    hf_policies_manage(keeper, peer, frame, *fd);
}

static void on_exit_approve(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    hf_policies_approve(keeper, peer, frame, &keeper->asker);
}

static void on_token_list(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    hf_tokens_list(keeper, peer, frame);
}

static void on_token_change(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    (void)fd;
    hf_tokens_change(keeper, peer, frame);
}

static void on_seal(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    keeper->inbox_is_secret = true; /* shares and wrapping keys, mostly */
    hf_seal_frame(keeper, peer, frame, fd);
}

typedef void (*frame_handler)(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd);

/* Actions change something, or take something out: written down first, and not done if that fails.
 */
static const struct {
    frame_handler take;
    bool is_action;
} handlers[HF_MSG_COUNT_TYPES] = {
    [HF_MSG_NEW_CHANNEL] = {on_new_channel, false},
    [HF_MSG_SHUTDOWN] = {on_shutdown, false},
    [HF_MSG_COUNT] = {on_count, false},
    [HF_MSG_SOON] = {on_soon, false},
    [HF_MSG_METRICS] = {on_metrics, false},
    [HF_MSG_AUTHORIZE] = {on_managed, false},
    [HF_MSG_NODE_CALL] = {on_node_call, false},
    [HF_MSG_KEY_IMPORT] = {on_managed, true},
    [HF_MSG_KEY_DELETE] = {on_managed, true},
    [HF_MSG_EXPORT_OPEN] = {on_managed, true},
    [HF_MSG_IMPORT_BEGIN] = {on_managed, true},
    [HF_MSG_KEYS] = {on_keys, false},
    [HF_MSG_STATUS] = {on_status, false},
    [HF_MSG_HEALTH] = {on_health, false},
    [HF_MSG_RELOAD] = {on_reload, true},
    [HF_MSG_EXPORT_READ] = {on_export_read, false},
    [HF_MSG_IMPORT_ADD] = {on_import_add, false},
    [HF_MSG_IMPORT_COMMIT] = {on_import_commit, false},
    [HF_MSG_IMPORT_ABORT] = {on_import_abort, false},
    [HF_MSG_PRUNE] = {on_prune, true},
    [HF_MSG_STORE_STATUS] = {on_store_status, false},
    [HF_MSG_RAISE_FLOORS] = {on_raise_floors, true},
    [HF_MSG_SET_HIGH] = {on_set_high, true},
    [HF_MSG_LOAD_BEGIN] = {on_loading, false},
    [HF_MSG_SOURCE] = {on_loading, false},
    [HF_MSG_KEY] = {on_loading, false},
    [HF_MSG_KEY_FAILED] = {on_loading, false},
    [HF_MSG_KEY_PERSISTED] = {on_loading, false},
    [HF_MSG_LOAD_DONE] = {on_loading, false},
    [HF_MSG_DUTY_SIGN] = {on_duty_sign, false},
    [HF_MSG_ETH1_SIGN] = {on_eth1_sign, false},
    [HF_MSG_ETH1_KEYS] = {on_eth1_keys, false},
    [HF_MSG_POLICY_PUT] = {on_policy, true},
    [HF_MSG_POLICY_GET] = {on_policy, false},
    [HF_MSG_POLICY_LIST] = {on_policy, false},
    [HF_MSG_POLICY_DELETE] = {on_policy, true},
    [HF_MSG_EXIT_APPROVE] = {on_exit_approve, true},
    [HF_MSG_TOKEN_CREATE] = {on_token_change, true},
    [HF_MSG_TOKEN_LIST] = {on_token_list, false},
    [HF_MSG_TOKEN_REVOKE] = {on_token_change, true},
    [HF_MSG_SEAL_STATUS] = {on_seal, false},
    [HF_MSG_SEAL_BEGIN] = {on_seal, true},
    [HF_MSG_SEAL_REGISTER] = {on_seal, true},
    [HF_MSG_SEAL_SUBMIT] = {on_seal, true},
    [HF_MSG_SEAL_CLOSE] = {on_seal, true},
    [HF_MSG_SEAL_CANCEL] = {on_seal, true},
    [HF_MSG_SEALED_ADD] = {on_seal, true},
    [HF_MSG_SEALED_CHANGE] = {on_seal, true},
    [HF_MSG_SEALED_LIST] = {on_seal, false},
    [HF_MSG_POLICY_BOOK] = {on_policy_book, false},
    [HF_MSG_CUSTODY_BEGIN] = {on_custody, false},
    [HF_MSG_CUSTODY_KEY] = {on_custody, false},
    [HF_MSG_CUSTODY_FAILED] = {on_custody, false},
    [HF_MSG_CUSTODY_DONE] = {on_custody, false},
};

/*
 * What a question that says more than its type asks for. The history of a deleted key belongs to
 * its deletion, histories that come with keys to their import, and later pages to the first.
 */
static void describe(hf_keeper *keeper, const hf_peer *peer, const void *frame,
                     hf_gate_question *question)
{
    const hf_frame_header *header = frame;
    bool is_front = peer->channel == HF_CHANNEL_FRONT;
    if (header->type == HF_MSG_KEY_DELETE || header->type == HF_MSG_EXPORT_OPEN) {
        const hf_msg_pubkey *about = frame;
        bool is_history = header->type == HF_MSG_EXPORT_OPEN && is_front && about->has_pubkey;
        question->key = about->has_pubkey ? hf_keyring_find(&keeper->ring, about->pubkey) : NULL;
        question->is_part = is_history;
        question->scope = is_history ? HF_SCOPE_KEYS_DELETE : question->scope;
    } else if (header->type == HF_MSG_IMPORT_BEGIN && is_front) {
        question->scope = HF_SCOPE_KEYS_IMPORT;
        question->is_part = true;
    } else if (header->type == HF_MSG_KEYS) {
        const hf_msg_keys *list = frame;
        bool is_managed = list->scope == HF_SCOPE_KEYS_LIST;
        question->scope = is_managed ? HF_SCOPE_KEYS_LIST : HF_SCOPE_PUBLIC_KEYS;
        question->is_part = question->is_page = list->offset > 0;
    } else if (header->type == HF_MSG_ETH1_KEYS) {
        const hf_msg_eth1_keys *list = frame;
        question->is_part = question->is_page = list->offset > 0;
    } else if (header->type == HF_MSG_TOKEN_LIST) {
        const hf_msg_token_list *list = frame;
        question->is_part = question->is_page = list->after[0] != '\0';
    } else if (header->type == HF_MSG_POLICY_GET || header->type == HF_MSG_POLICY_LIST) {
        const hf_msg_policy_ask *about = frame;
        question->is_part = about->offset > 0;
    } else if (header->type == HF_MSG_EXIT_APPROVE) {
        const hf_msg_exit_approve *about = frame;
        question->key = hf_keyring_find(&keeper->ring, about->pubkey);
    } else if (header->type == HF_MSG_AUTHORIZE) {
        question->is_part = true;
    } else {
        hf_seal_describe(frame, question);
    }
}

bool hf_dispatch_question(hf_keeper *keeper, const hf_peer *peer, const void *frame,
                          hf_gate_question *ret_question)
{
    const hf_frame_header *header = frame;
    *ret_question = (hf_gate_question){.operation = HF_OP_COUNT};
    if (!hf_gate_scope_of(header->type, &ret_question->scope)) {
        return false;
    }
    if (header->type == HF_MSG_SIGN) {
        const hf_eth_request *request = &((const hf_msg_sign *)frame)->request;
        ret_question->operation = request->operation;
        ret_question->key = hf_keyring_find(&keeper->ring, request->pubkey);
    } else {
        describe(keeper, peer, frame, ret_question);
    }
    return true;
}

/* DUTY_SIGN and ETH1_SIGN are asked about with their keys, in duties.c and eth1_admit.c. */
static bool may_ask(hf_keeper *keeper, hf_peer *peer, const void *frame)
{
    const hf_msg_ask *ask = frame; /* every question begins so */
    hf_gate_question question;
    keeper->asker = (hf_pass){.accessor = ""};
    if (peer->channel == HF_CHANNEL_ADMIN) {
        hf_str_cut(keeper->asker.accessor, sizeof keeper->asker.accessor, "admin");
    }
    if (ask->header.type == HF_MSG_DUTY_SIGN || ask->header.type == HF_MSG_ETH1_SIGN ||
        !hf_dispatch_question(keeper, peer, frame, &question)) {
        return true;
    }
    hf_pass *pass = &keeper->asker;
    hf_reason reason = hf_gate_check(keeper, peer, &ask->caller, &question, pass);
    if (reason != HF_REASON_OK) {
        hf_meter_add(&keeper->meter.now.refusals[reason], 1);
        hf_auditor_note_denial(keeper, pass, hf_frame_name(ask->header.type), reason);
        hf_peer_send_result(keeper, peer, ask->header.request_id, reason, 0, pass->detail);
    }
    return reason == HF_REASON_OK;
}

void hf_dispatch_now(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    const hf_frame_header *header = frame;
    handlers[header->type].take(keeper, peer, frame, fd);
}

/* Whoever asks for it is written down first. */
bool hf_dispatch_is_action(uint16_t type)
{
    return type < HF_MSG_COUNT_TYPES && handlers[type].is_action;
}

void hf_dispatch(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    const hf_frame_header *header = frame;
    if (handlers[header->type].take == NULL) {
        hf_meter_add(&keeper->meter.now.bad_frames, 1);
        return;
    }
    if (!may_ask(keeper, peer, frame)) {
        return;
    }
    bool is_held = handlers[header->type].is_action && hf_actions_hold(keeper, peer, frame, fd);
    if (!is_held) {
        hf_dispatch_now(keeper, peer, frame, fd);
    }
}
