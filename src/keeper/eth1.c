/*
 * The threads that sign for the execution layer. A thread takes what waits, up to a few, signs
 * while the audit log is being written, waits for that, and answers all of them by one system call
 * a front. There are more threads than cores, because some wait for the disk.
 */
#include "keeper/keeper_internal.h"

#define THREADS_PER_CORE 2
/* Signatures of one group: 16 take a core half a millisecond. */
#define GROUP_MAX 16
/* Waiting works for which another thread is worth its waking, for each that is signing already. */
#define HANDFUL 4

/* ---- intake thread ----------------------------------------------------------------------------
 */

static hf_eth1_work *take_work(hf_eth1_room *room)
{
    (void)pthread_mutex_lock(&room->lock);
    hf_eth1_work *work = room->free;
    if (work != NULL) {
        room->free = work->next;
    }
    (void)pthread_mutex_unlock(&room->lock);
    if (work != NULL) {
        *work = (hf_eth1_work){.next = NULL};
        (void)atomic_fetch_add(&room->in_use, 1);
    }
    return work;
}

static void put_work(hf_keeper *keeper, hf_answer *answer)
{
    hf_eth1_room *room = &keeper->eth1;
    hf_eth1_work *work =
        (hf_eth1_work *)(void *)((uint8_t *)answer - offsetof(hf_eth1_work, answer));
    (void)pthread_mutex_lock(&room->lock);
    work->next = room->free;
    room->free = work;
    (void)pthread_mutex_unlock(&room->lock);
    (void)atomic_fetch_sub(&room->in_use, 1);
}

static void refuse_unopened(hf_keeper *keeper, hf_peer *peer, const hf_msg_eth1_sign *frame)
{
    hf_msg_eth1_reply reply = {.reason = HF_REASON_OVERLOADED};
    hf_frame_init(&reply, HF_MSG_ETH1_REPLY, frame->header.request_id);
    hf_meter_add(&keeper->meter.now.overload, 1);
    hf_meter_add(&keeper->meter.now.refusals[HF_REASON_OVERLOADED], 1);
    hf_peer_send(keeper, peer, &reply);
}

static hf_sign_result result_of(hf_reason reason)
{
    if (reason == HF_REASON_OK) {
        return HF_RESULT_SIGNED;
    }
    return hf_reason_describe(reason)->http_status >= 500 ? HF_RESULT_FAILED : HF_RESULT_REFUSED;
}

static void log_refusal(hf_keeper *keeper, const hf_eth1_work *work, hf_reason reason)
{
    const hf_reason_info *info = hf_reason_describe(reason);
    const char *detail = work->reply.detail;
    char address[2 * HF_ADDRESS_BYTES + 1];
    if (!hf_refusal_may_be_logged(keeper)) {
        return;
    }
    hf_hex_encode(work->address, HF_ADDRESS_BYTES, address);
    hf_log(info->log_level, "refused", "%s for 0x%s: %s: %s", hf_eth1_kind_name(work->kind),
           address, info->code, detail[0] != '\0' ? detail : info->sentence);
}

/* Any thread. Counts and notes what came of it, and puts it into its peer's outbox. */
static void finish(hf_keeper *keeper, hf_eth1_work *work, hf_reason reason, const char *detail)
{
    hf_metrics *now = &keeper->meter.now;
    work->reply.reason = (uint32_t)reason;
    hf_str_cut(work->reply.detail, sizeof work->reply.detail, detail);
    if (reason == HF_REASON_OK) {
        hf_meter_observe(&now->eth1_duration[HF_STAGE_TOTAL],
                         hf_time_mono_ns() - work->received_ns);
    } else {
        HF_ASSERT(hf_bytes_is_zero(work->reply.signature, sizeof work->reply.signature));
        hf_meter_add(&now->refusals[reason], 1);
        log_refusal(keeper, work, reason);
    }
    hf_meter_add(&now->eth1[work->kind][result_of(reason)], 1);
    hf_auditor_eth1_result(keeper, work, work->audit);
    work->audit = NULL;
    if (work->key != NULL) {
        uint32_t before = atomic_fetch_sub(&work->key->refs, 1);
        work->key = NULL;
        if (before == 1 && atomic_load(&keeper->closing)) {
            hf_intake_nudge(keeper); /* a removed key may wait for this */
        }
    }
    hf_peer_queue(keeper, &work->answer);
}

void hf_eth1_take(hf_keeper *keeper, hf_peer *peer, const hf_msg_eth1_sign *frame, int fd)
{
    hf_eth1_room *room = &keeper->eth1;
    hf_error err = {HF_OK, ""};
    hf_eth1_work *work = atomic_load(&peer->refs) < peer->in_flight_max ? take_work(room) : NULL;
    if (work == NULL) {
        refuse_unopened(keeper, peer, frame);
        return;
    }
    hf_peer_ref(peer);
    work->answer = (hf_answer){.peer = peer, .frame = &work->reply, .put = put_work};
    work->admitted_ns = hf_time_mono_ns();
    /* A time in the future is a lie. */
    work->received_ns =
        frame->received_ns < work->admitted_ns ? frame->received_ns : work->admitted_ns;
    /* Counters are indexed by it: an unknown one is admitted to nothing, and counted as data. */
    work->kind = frame->kind < HF_ETH1_KIND_COUNT ? frame->kind : HF_ETH1_DATA;
    memcpy(work->address, frame->address, sizeof work->address);
    hf_frame_init(&work->reply, HF_MSG_ETH1_REPLY, frame->header.request_id);
    if (frame->decoded_ns >= work->received_ns && frame->decoded_ns <= work->admitted_ns) {
        hf_meter_observe(&keeper->meter.now.eth1_duration[HF_STAGE_DECODE],
                         frame->decoded_ns - work->received_ns);
    }
    hf_reason reason = hf_eth1_admit(keeper, frame, fd, work, &err);
    if (work->is_taken) {
        put_work(keeper, &work->answer);
        hf_peer_unref(keeper, peer);
        return;
    }
    if (reason != HF_REASON_OK) {
        finish(keeper, work, reason, err.msg);
        hf_peers_send_waiting(keeper);
        return;
    }
    (void)pthread_mutex_lock(&room->lock);
    *(room->queue != NULL ? &room->queue_tail->next : &room->queue) = work;
    room->queue_tail = work;
    work->next = NULL;
    room->waiting++;
    (void)pthread_mutex_unlock(&room->lock);
}

/* With the lock held. */
static void wake_one(hf_eth1_room *room)
{
    if (room->asleep > 0 && room->waiting > (size_t)HANDFUL * room->signing) {
        (void)pthread_cond_signal(&room->work);
    }
}

void hf_eth1_wake(hf_keeper *keeper)
{
    hf_eth1_room *room = &keeper->eth1;
    (void)pthread_mutex_lock(&room->lock);
    wake_one(room);
    (void)pthread_mutex_unlock(&room->lock);
}

/* ---- threads ----------------------------------------------------------------------------------
 */

/* With the lock held. The next thread is woken for what is left. */
static hf_eth1_work *take_group(hf_eth1_room *room)
{
    hf_eth1_work *list = room->queue;
    hf_eth1_work *last = NULL;
    size_t n = 0;
    for (hf_eth1_work *work = list; work != NULL && n < GROUP_MAX; work = work->next) {
        last = work;
        n++;
    }
    if (last != NULL) {
        room->queue = last->next;
        last->next = NULL;
        room->waiting -= n;
        room->signing++;
        wake_one(room);
    }
    return list;
}

static void sign_all(hf_keeper *keeper, hf_secp256k1 *secp, hf_eth1_work *list)
{
    for (hf_eth1_work *work = list; work != NULL; work = work->next) {
        uint64_t start_ns = hf_time_mono_ns();
        if (hf_key_is_remote(work->key)) {
            continue; /* once its lines are durable: ask_custody */
        }
        if (hf_failed(hf_secp256k1_sign(secp, &work->key->secret->secp256k1, work->digest,
                                        work->reply.signature))) {
            work->reply.reason = HF_REASON_INTERNAL;
            hf_wipe(work->reply.signature, sizeof work->reply.signature);
            continue;
        }
        hf_meter_observe(&keeper->meter.now.eth1_duration[HF_STAGE_SIGN],
                         hf_time_mono_ns() - start_ns);
    }
}

/* Its line, too, is durable, or no signature leaves. */
static void let_go(hf_keeper *keeper, hf_eth1_work *work, bool is_durable)
{
    if (work->reply.reason == HF_REASON_OK && !hf_spending_wait(keeper, work->spending_ticket)) {
        hf_wipe(work->reply.signature, sizeof work->reply.signature);
        finish(keeper, work, HF_REASON_STORE_UNAVAILABLE, "what was spent cannot be written down");
        return;
    }
    hf_reason reason = HF_REASON_INTERNAL;
    if (work->reply.reason == HF_REASON_OK) {
        reason = is_durable || hf_auditor_wait(keeper, work->ticket)
                     ? hf_look_wait(keeper, work->look, work->key)
                     : HF_REASON_AUDIT_UNAVAILABLE;
    }
    if (reason != HF_REASON_OK) {
        hf_wipe(work->reply.signature, sizeof work->reply.signature);
    }
    finish(keeper, work, reason, "");
}

/* On the custody thread. */
static void take_signature(hf_keeper *keeper, void *context, hf_reason reason,
                           const uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES],
                           const char *detail)
{
    hf_eth1_work *work = context;
    if (reason == HF_REASON_OK) {
        memcpy(work->reply.signature, signature, sizeof work->reply.signature);
        hf_meter_observe(&keeper->meter.now.eth1_duration[HF_STAGE_SIGN],
                         hf_time_mono_ns() - work->admitted_ns);
    }
    finish(keeper, work, reason, detail);
}

/* A key that stays inside is asked only when what is written of the request is durable. */
static void ask_custody(hf_keeper *keeper, hf_eth1_work *work, bool is_durable)
{
    if (!hf_spending_wait(keeper, work->spending_ticket)) {
        finish(keeper, work, HF_REASON_STORE_UNAVAILABLE, "what was spent cannot be written down");
    } else if (!is_durable && !hf_auditor_wait(keeper, work->ticket)) {
        finish(keeper, work, HF_REASON_AUDIT_UNAVAILABLE, "");
    } else if (!hf_custody_sign(keeper, work->key, work->digest, work->deadline_ns, take_signature,
                                work)) {
        finish(keeper, work, HF_REASON_OVERLOADED, "");
    }
}

/* Another thread may sign while this one waits for the disk. */
static void step_back(hf_eth1_room *room)
{
    (void)pthread_mutex_lock(&room->lock);
    room->signing--;
    wake_one(room);
    (void)pthread_mutex_unlock(&room->lock);
}

/* Tickets rise along the list. */
static bool wait_for_lines(hf_keeper *keeper, const hf_eth1_work *list)
{
    const hf_eth1_work *last = list;
    while (last->next != NULL) {
        last = last->next;
    }
    return hf_auditor_wait_all(keeper, list->ticket, last->ticket);
}

static void handle_group(hf_keeper *keeper, hf_secp256k1 *secp, hf_eth1_work *list)
{
    sign_all(keeper, secp, list);
    step_back(&keeper->eth1);
    bool are_durable = wait_for_lines(keeper, list);
    while (list != NULL) {
        hf_eth1_work *next = list->next;
        if (hf_key_is_remote(list->key)) {
            ask_custody(keeper, list, are_durable);
        } else {
            let_go(keeper, list, are_durable);
        }
        list = next;
    }
    hf_peers_send_waiting(keeper);
}

static void *eth1_main(void *context)
{
    hf_eth1_signer *signer = context;
    hf_eth1_room *room = &signer->keeper->eth1;
    (void)pthread_setname_np(pthread_self(), "eth1");
    (void)pthread_mutex_lock(&room->lock);
    while (!room->stop || room->queue != NULL) {
        hf_eth1_work *list = take_group(room);
        if (list == NULL) {
            room->asleep++;
            (void)pthread_cond_wait(&room->work, &room->lock);
            room->asleep--;
            continue;
        }
        (void)pthread_mutex_unlock(&room->lock);
        handle_group(signer->keeper, signer->secp, list);
        (void)pthread_mutex_lock(&room->lock);
    }
    (void)pthread_mutex_unlock(&room->lock);
    return NULL;
}

/* ---- life -------------------------------------------------------------------------------------
 */

static hf_status start_signers(hf_keeper *keeper, unsigned count)
{
    hf_eth1_room *room = &keeper->eth1;
    for (unsigned i = 0; i < count; i++) {
        hf_eth1_signer *signer = &room->signers[i];
        signer->keeper = keeper;
        hf_status st = hf_secp256k1_new(&signer->secp);
        if (hf_failed(st)) {
            return st;
        }
        if (pthread_create(&signer->thread, NULL, eth1_main, signer) != 0) {
            hf_secp256k1_free(signer->secp);
            return (hf_status){HF_NOMEM};
        }
        room->signer_count++;
    }
    return hf_ok();
}

hf_status hf_eth1_init(hf_keeper *keeper)
{
    hf_eth1_room *room = &keeper->eth1;
    unsigned count = THREADS_PER_CORE * keeper->config.sign_threads;
    (void)pthread_mutex_init(&room->lock, NULL);
    (void)pthread_cond_init(&room->work, NULL);
    room->all = calloc(HF_ETH1_WORKS_MAX, sizeof *room->all);
    if (room->all == NULL) {
        return (hf_status){HF_NOMEM};
    }
    for (size_t i = HF_ETH1_WORKS_MAX; i > 0; i--) {
        room->all[i - 1].next = room->free;
        room->free = &room->all[i - 1];
    }
    return start_signers(keeper, count < HF_ETH1_THREADS_MAX ? count : HF_ETH1_THREADS_MAX);
}

void hf_eth1_stop(hf_keeper *keeper)
{
    hf_eth1_room *room = &keeper->eth1;
    (void)pthread_mutex_lock(&room->lock);
    room->stop = true;
    (void)pthread_cond_broadcast(&room->work);
    (void)pthread_mutex_unlock(&room->lock);
    for (unsigned i = 0; i < room->signer_count; i++) {
        (void)pthread_join(room->signers[i].thread, NULL);
        hf_secp256k1_free(room->signers[i].secp);
    }
    free(room->all);
}

/* ---- keys -------------------------------------------------------------------------------------
 */

void hf_eth1_list(hf_keeper *keeper, hf_peer *peer, const hf_msg_eth1_keys *frame)
{
    const hf_keyring *ring = &keeper->ring;
    static hf_msg_eth1_keys_reply reply; /* intake thread only; 22 KiB */
    memset(&reply, 0, sizeof reply);
    hf_frame_init(&reply, HF_MSG_ETH1_KEYS_REPLY, frame->header.request_id);
    reply.generation = ring->generation;
    for (size_t i = ring->bls_count; i < ring->count; i++) {
        const hf_key *key = ring->order[i];
        if (!hf_policies_may_list(keeper, HF_SCOPE_PUBLIC_KEYS, key) ||
            reply.total++ < frame->offset || reply.count == HF_ETH1_KEYS_PAGE) {
            continue;
        }
        hf_eth1_key_entry *entry = &reply.keys[reply.count++];
        memcpy(entry->address, key->address, sizeof entry->address);
        memcpy(entry->pubkey, key->point, sizeof entry->pubkey);
        entry->backend = key->backend;
        entry->source = key->source;
    }
    hf_peer_send(keeper, peer, &reply);
}
