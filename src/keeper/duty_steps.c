/*
 * One duty, step by step: lock, signature, record, answer. A signature leaves only when its record
 * is known to be durable (I1), or when it is the one on record, over the very bytes asked for.
 * docs/adr/0010-duty-locks.md is the protocol that the answers come from.
 */
#include "keeper/duties_internal.h"

/* A recording may take this long even when the wait for the lock used up the time. */
#define COMPLETE_NS_LEAST (400 * HF_NS_PER_MS)

static hf_sign_result result_of(hf_reason reason)
{
    if (reason == HF_REASON_OK) {
        return HF_RESULT_SIGNED;
    }
    return hf_reason_describe(reason)->http_status >= 500 ? HF_RESULT_FAILED : HF_RESULT_REFUSED;
}

static void log_refusal(hf_keeper *keeper, const hf_duty_work *work, hf_reason reason)
{
    const hf_reason_info *info = hf_reason_describe(reason);
    const hf_duty *duty = &work->ask.duty;
    const char *type = hf_duty_type_name(duty->type);
    const char *detail = work->reply.detail;
    char address[2 * HF_DUTY_ADDRESS_BYTES + 1];
    if (!hf_refusal_may_be_logged(keeper)) {
        return;
    }
    hf_hex_encode(duty->validator, HF_DUTY_ADDRESS_BYTES, address);
    hf_log(info->log_level, "refused", "%s of slot %llu for 0x%s: %s: %s",
           type != NULL ? type : "duty", (unsigned long long)duty->slot, address, info->code,
           detail[0] != '\0' ? detail : info->sentence);
}

static void send_reply(hf_keeper *keeper, const hf_duty_work *work)
{
    const hf_msg_duty_reply *reply = &work->reply;
    if (!work->is_vote) {
        hf_peer_send(keeper, work->peer, reply);
        return;
    }
    hf_msg_eth1_reply vote = {.reason = reply->reason, .stored = reply->stored};
    memcpy(vote.signature, reply->signature, sizeof vote.signature);
    hf_str_cut(vote.detail, sizeof vote.detail, reply->detail);
    hf_frame_init(&vote, HF_MSG_ETH1_REPLY, reply->header.request_id);
    hf_peer_send(keeper, work->peer, &vote);
}

void hf_duties_answer_front(hf_keeper *keeper, hf_duty_work *work, hf_reason reason,
                            const char *detail)
{
    hf_metrics *now = &keeper->meter.now;
    hf_msg_duty_reply *reply = &work->reply;
    uint32_t type = work->ask.duty.type < HF_DUTY_TYPE_COUNT ? work->ask.duty.type : 0;
    reply->reason = (uint32_t)reason;
    hf_str_cut(reply->detail, sizeof reply->detail, detail);
    if (reason == HF_REASON_OK) {
        hf_meter_observe(&now->duty_duration[HF_DUTY_STAGE_TOTAL],
                         hf_time_mono_ns() - work->received_ns);
        hf_meter_add(&now->duties_stored, reply->stored);
    } else {
        HF_ASSERT(hf_bytes_is_zero(reply->signature, sizeof reply->signature));
        hf_meter_add(&now->refusals[reason], 1);
        log_refusal(keeper, work, reason);
    }
    hf_meter_add(&now->duties[type][result_of(reason)], 1);
    hf_auditor_duty_result(keeper, work, work->audit);
    work->audit = NULL;
    send_reply(keeper, work);
    if (work->key != NULL) {
        uint32_t before = atomic_fetch_sub(&work->key->refs, 1);
        work->key = NULL;
        if (before == 1) {
            hf_intake_nudge(keeper); /* a removed key may wait for this */
        }
    }
    hf_peer_unref(keeper, work->peer);
    work->peer = NULL;
}

static void set_asked(hf_duties *duties, const hf_duty_work *work, bool is_asked)
{
    duties->asked[work - duties->all] = is_asked;
}

static void finish(hf_keeper *keeper, hf_duty_work *work, hf_reason reason, const char *detail)
{
    /* The line was written while the database was asked; only now does a signature leave. */
    if (reason == HF_REASON_OK) {
        reason = hf_auditor_wait(keeper, work->ticket) ? hf_look_wait(keeper, work->look, work->key)
                                                       : HF_REASON_AUDIT_UNAVAILABLE;
        if (reason != HF_REASON_OK) {
            hf_wipe(work->reply.signature, sizeof work->reply.signature);
            work->reply.stored = 0;
        }
    }
    set_asked(&keeper->duties, work, false);
    if (work->peer != NULL) {
        hf_duties_answer_front(keeper, work, reason, detail);
    }
    hf_wipe(&work->ask.lock, sizeof work->ask.lock);
    hf_duties_put(&keeper->duties, work);
}

static void ask(hf_keeper *keeper, hf_duty_work *work, hf_msg_type type, uint64_t deadline_ns)
{
    hf_duties *duties = &keeper->duties;
    uint64_t place = (uint64_t)(work - duties->all);
    if (duties->fd < 0) {
        finish(keeper, work, HF_REASON_DUTY_STORE_UNAVAILABLE,
               "the process that asks the database is not there; it is started again");
        return;
    }
    set_asked(duties, work, true);
    work->asked_ns = hf_time_mono_ns();
    hf_frame_init(&work->ask, type, (uint64_t)work->generation << 32 | place);
    work->ask.deadline_ns = deadline_ns;
    hf_duties_send(duties, work);
}

static hf_status sign(hf_keeper *keeper, hf_duty_work *work,
                      uint8_t ret_signature[HF_DUTY_SIGNATURE_BYTES])
{
    return hf_secp256k1_sign(keeper->duties.secp, &work->key->secret->secp256k1, work->digest,
                             ret_signature);
}

/* A key that stays inside is asked only when the request's line is durable. False: the reason. */
static bool sign_inside(hf_keeper *keeper, hf_duty_work *work, hf_reason *ret_reason)
{
    if (!hf_auditor_wait(keeper, work->ticket)) {
        *ret_reason = HF_REASON_AUDIT_UNAVAILABLE;
        return false;
    }
    *ret_reason = HF_REASON_OVERLOADED;
    return hf_custody_sign(keeper, work->key, work->digest, work->deadline_ns,
                           hf_duties_take_inside, work);
}

void hf_duties_begin(hf_keeper *keeper, hf_duty_work *work)
{
    hf_msg_duty_reply *reply = &work->reply;
    hf_reason reason = HF_REASON_OK;
    if (hf_duty_type_is_protected(work->ask.duty.type)) {
        ask(keeper, work, HF_MSG_DUTY_ACQUIRE, work->deadline_ns);
        return;
    }
    memcpy(reply->node_id, keeper->config.duty_node_id, sizeof reply->node_id);
    if (hf_key_is_remote(work->key)) {
        if (!sign_inside(keeper, work, &reason)) {
            finish(keeper, work, reason, "");
        }
        return;
    }
    hf_status st = sign(keeper, work, reply->signature);
    finish(keeper, work, hf_failed(st) ? HF_REASON_INTERNAL : HF_REASON_OK, "");
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static hf_reason reason_of(uint32_t result)
{
    switch (result) {
    case HF_DUTY_HELD:
        return HF_REASON_DUTY_HELD;
    case HF_DUTY_CONFLICT:
        return HF_REASON_DUTY_CONFLICT;
    case HF_DUTY_EXPIRED:
        return HF_REASON_DUTY_EXPIRED;
    case HF_DUTY_LOCK_LOST:
        return HF_REASON_DUTY_LOCK_LOST;
    case HF_DUTY_OVERLOADED:
        return HF_REASON_OVERLOADED;
    case HF_DUTY_INVALID:
        return HF_REASON_MALFORMED;
    default: /* everything else is a database that cannot be used now */
        return HF_REASON_DUTY_STORE_UNAVAILABLE;
    }
}

static void take_node(hf_duty_work *work, const hf_msg_duty_answer *answer)
{
    (void)snprintf(work->reply.node_id, sizeof work->reply.node_id, "%.*s", HF_DUTY_NODE_ID_LEN - 1,
                   answer->node_id);
}

static void refuse(hf_keeper *keeper, hf_duty_work *work, const hf_msg_duty_answer *answer)
{
    char detail[HF_DETAIL_LEN];
    (void)snprintf(detail, sizeof detail, "%.*s", HF_DETAIL_LEN - 1, answer->detail);
    take_node(work, answer);
    finish(keeper, work, reason_of(answer->result), detail);
}

/* The signature on record, when it is one of this key over these bytes. */
static void hand_out_stored(hf_keeper *keeper, hf_duty_work *work, const hf_msg_duty_answer *answer)
{
    uint8_t signer[HF_ADDRESS_BYTES];
    hf_msg_duty_reply *reply = &work->reply;
    take_node(work, answer);
    if (hf_failed(
            hf_secp256k1_recover(keeper->duties.secp, work->digest, answer->signature, signer)) ||
        !hf_bytes_equal(signer, work->ask.duty.validator, sizeof signer)) {
        finish(keeper, work, HF_REASON_DUTY_CONFLICT,
               "the signature on record is of another key, or over the hash in its other form "
               "(hashing)");
        return;
    }
    memcpy(reply->signature, answer->signature, sizeof reply->signature);
    reply->stored = 1;
    finish(keeper, work, HF_REASON_OK, "");
}

static void give_back(hf_keeper *keeper, hf_duty_work *work)
{
    ask(keeper, work, HF_MSG_DUTY_RELEASE, hf_time_mono_ns() + COMPLETE_NS_LEAST);
}

/* The signature is in ask. */
static void record(hf_keeper *keeper, hf_duty_work *work)
{
    uint64_t least_ns = hf_time_mono_ns() + COMPLETE_NS_LEAST;
    ask(keeper, work, HF_MSG_DUTY_COMPLETE,
        work->deadline_ns > least_ns ? work->deadline_ns : least_ns);
}

void hf_duties_signed_inside(hf_keeper *keeper, hf_duty_work *work)
{
    bool is_signed = work->inside_reason == HF_REASON_OK;
    if (!hf_duty_type_is_protected(work->ask.duty.type)) {
        if (is_signed) {
            memcpy(work->reply.signature, work->inside_signature, sizeof work->reply.signature);
        }
        finish(keeper, work, work->inside_reason, work->inside_detail);
    } else if (is_signed) {
        memcpy(work->ask.signature, work->inside_signature, sizeof work->ask.signature);
        record(keeper, work);
    } else {
        hf_duties_answer_front(keeper, work, work->inside_reason, work->inside_detail);
        give_back(keeper, work);
    }
}

/* The lock is ours. */
static void sign_and_record(hf_keeper *keeper, hf_duty_work *work, const hf_msg_duty_answer *answer)
{
    memcpy(work->ask.lock, answer->lock, sizeof work->ask.lock);
    work->ask.lock[sizeof work->ask.lock - 1] = '\0';
    if (work->peer == NULL) { /* it came too late */
        give_back(keeper, work);
        return;
    }
    hf_reason reason = HF_REASON_INTERNAL;
    bool is_remote = hf_key_is_remote(work->key);
    if (is_remote ? !sign_inside(keeper, work, &reason)
                  : hf_failed(sign(keeper, work, work->ask.signature))) {
        hf_duties_answer_front(keeper, work, reason,
                               is_remote ? "" : "the signature could not be made");
        give_back(keeper, work);
    } else if (!is_remote) {
        record(keeper, work);
    }
}

static void take_lock_answer(hf_keeper *keeper, hf_duty_work *work,
                             const hf_msg_duty_answer *answer)
{
    hf_meter_observe(&keeper->meter.now.duty_duration[HF_DUTY_STAGE_ACQUIRE],
                     hf_time_mono_ns() - work->asked_ns);
    if (answer->result == HF_DUTY_OK) {
        sign_and_record(keeper, work, answer);
    } else if (answer->result == HF_DUTY_STORED) {
        hand_out_stored(keeper, work, answer);
    } else {
        refuse(keeper, work, answer);
    }
}

static void take_record_answer(hf_keeper *keeper, hf_duty_work *work,
                               const hf_msg_duty_answer *answer)
{
    hf_meter_observe(&keeper->meter.now.duty_duration[HF_DUTY_STAGE_COMPLETE],
                     hf_time_mono_ns() - work->asked_ns);
    if (answer->result == HF_DUTY_STORED) { /* another had taken over and was sooner */
        hand_out_stored(keeper, work, answer);
        return;
    }
    if (answer->result != HF_DUTY_OK) {
        refuse(keeper, work, answer);
        return;
    }
    memcpy(work->reply.signature, work->ask.signature, sizeof work->reply.signature);
    take_node(work, answer);
    if (work->reply.node_id[0] == '\0') {
        memcpy(work->reply.node_id, keeper->config.duty_node_id, sizeof work->reply.node_id);
    }
    finish(keeper, work, HF_REASON_OK, "");
}

void hf_duties_answered(hf_keeper *keeper, hf_duty_work *work, const hf_msg_duty_answer *answer)
{
    uint16_t question = work->ask.header.type;
    set_asked(&keeper->duties, work, false);
    if (question == HF_MSG_DUTY_ACQUIRE) {
        take_lock_answer(keeper, work, answer);
    } else if (question == HF_MSG_DUTY_COMPLETE) {
        take_record_answer(keeper, work, answer);
    } else {
        finish(keeper, work, HF_REASON_INTERNAL, ""); /* given back; the front has its answer */
    }
}

void hf_duties_abandon(hf_keeper *keeper, hf_duty_work *work)
{
    finish(keeper, work, HF_REASON_DUTY_STORE_UNAVAILABLE, "");
}
