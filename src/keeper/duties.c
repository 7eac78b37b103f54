/*
 * The thread of duties: requests come in from the intake thread, questions go to the process that
 * asks the database, and everything between is in duty_steps.c. A flood ends in OVERLOADED, and a
 * silent database or process in an answer by the deadline.
 */
#include "keeper/duties_internal.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TICK_BUSY_MS 20
#define TICK_IDLE_MS 1000
/* Of the time that the front waits: the rest is for the way there and back. */
#define PATIENCE_PERCENT 90
#define PATIENCE_MS_MAX 60000
/* The asker answers by the deadline; one that did not in this time more is taken for dead. */
#define GRACE_NS (250 * HF_NS_PER_MS)
/* Its state comes once a second. */
#define STATE_PATIENCE_NS (3 * HF_NS_PER_SECOND)

static void wake(hf_duties *duties)
{
    uint64_t one = 1;
    (void)!write(duties->wake_fd, &one, sizeof one);
}

/* ---- intake thread -----------------------------------------------------------------------------
 */

static hf_duty_work *take_work(hf_duties *duties)
{
    (void)pthread_mutex_lock(&duties->lock);
    hf_duty_work *work = duties->free;
    if (work != NULL) {
        duties->free = work->next;
    }
    (void)pthread_mutex_unlock(&duties->lock);
    if (work != NULL) {
        uint32_t generation = work->generation + 1;
        *work = (hf_duty_work){.generation = generation, .is_used = true};
        (void)atomic_fetch_add(&duties->in_use, 1);
    }
    return work;
}

static void refuse_unopened(hf_keeper *keeper, hf_peer *peer, const hf_msg_duty_sign *frame)
{
    hf_msg_duty_reply reply = {.reason = HF_REASON_OVERLOADED};
    hf_frame_init(&reply, HF_MSG_DUTY_REPLY, frame->header.request_id);
    hf_meter_add(&keeper->meter.now.overload, 1);
    hf_meter_add(&keeper->meter.now.refusals[HF_REASON_OVERLOADED], 1);
    hf_peer_send(keeper, peer, &reply);
}

static uint64_t deadline_of(uint64_t received_ns, uint32_t timeout_ms, uint64_t now_ns)
{
    uint64_t patience_ms = timeout_ms < PATIENCE_MS_MAX ? timeout_ms : PATIENCE_MS_MAX;
    /* A time in the future is a lie, one far in the past has its answer already. */
    uint64_t start_ns = received_ns < now_ns ? received_ns : now_ns;
    return start_ns + patience_ms * HF_NS_PER_MS / 100 * PATIENCE_PERCENT;
}

/* Without a prefix a hash could be a transaction's: the limits of those have to say nothing. */
static hf_reason judge_hash(hf_keeper *keeper, const hf_key *key, const hf_msg_duty_sign *frame,
                            const hf_duty_work *work, hf_error *err)
{
    char detail[HF_DETAIL_LEN];
    bool counts = false;
    hf_eth1_question question = {.kind = HF_ETH1_DATA, .is_hash = true};
    if (frame->hashing != HF_AZTEC_RAW) {
        return HF_REASON_OK;
    }
    hf_reason reason = hf_policies_judge_eth1(keeper, key, &question, &work->pass, &counts, detail);
    if (reason != HF_REASON_OK) {
        (void)hf_error_set(err, HF_DENIED, "%s", detail);
    }
    return reason;
}

/* May it be signed as far as its own bytes and our keys tell? Sets key, duty and digest. */
static hf_reason admit(hf_keeper *keeper, const hf_msg_duty_sign *frame, hf_duty_work *work,
                       hf_error *err)
{
    hf_key *key = hf_keyring_find_address(&keeper->ring, frame->duty.validator);
    hf_gate_question question = {.scope = HF_SCOPE_DUTY, .operation = HF_OP_COUNT, .key = key};
    hf_reason reason = hf_gate_check(keeper, work->peer, &frame->caller, &question, &work->pass);
    if (reason != HF_REASON_OK) {
        (void)hf_error_set(err, HF_DENIED, "%s", work->pass.detail);
        return reason;
    }
    char detail[HF_DETAIL_LEN];
    const hf_policy_key named = hf_policy_key_from(frame->duty.validator, HF_ADDRESS_BYTES);
    reason = hf_policies_judge_canary(keeper, &named, HF_OP_COUNT, &work->pass, detail);
    if (reason != HF_REASON_OK) {
        (void)hf_error_set(err, HF_DENIED, "%s", detail);
        return reason;
    }
    work->ask.duty = frame->duty;
    if (keeper->stopping) {
        return HF_REASON_SHUTTING_DOWN;
    }
    if (frame->hashing >= HF_AZTEC_HASHING_COUNT) {
        (void)hf_error_set(err, HF_INVALID_INPUT, "hashing: neither eip191 nor raw");
        return HF_REASON_MALFORMED;
    }
    if (hf_failed(hf_aztec_duty_normalize(&work->ask.duty, err))) {
        return HF_REASON_MALFORMED;
    }
    bool held_back = keeper->config.require_all_keys && !keeper->loading.first_done;
    if (key == NULL || held_back) {
        hf_meter_add(&keeper->meter.now.missing_keys, 1);
        return hf_seal_reason_of_absence(keeper);
    }
    if (hf_duty_type_is_protected(frame->duty.type) && keeper->config.duty_node_id[0] == '\0') {
        (void)hf_error_set(err, HF_USAGE, "no database of duties is configured (duty_protection)");
        return HF_REASON_DUTY_STORE_UNAVAILABLE;
    }
    reason = judge_hash(keeper, key, frame, work, err);
    if (reason != HF_REASON_OK) {
        return reason;
    }
    (void)atomic_fetch_add(&key->refs, 1);
    work->key = key;
    memcpy(work->ask.hash, frame->hash, sizeof work->ask.hash);
    hf_aztec_digest(frame->hashing, frame->hash, work->digest);
    work->look = hf_look_want(keeper, key);
    return hf_auditor_admit_duty(keeper, work) ? HF_REASON_OK : HF_REASON_AUDIT_UNAVAILABLE;
}

static void start(hf_duties *duties, hf_duty_work *work)
{
    (void)pthread_mutex_lock(&duties->lock);
    *(duties->incoming != NULL ? &duties->incoming_tail->next : &duties->incoming) = work;
    duties->incoming_tail = work;
    work->next = NULL;
    (void)pthread_mutex_unlock(&duties->lock);
    wake(duties);
}

void hf_duties_take(hf_keeper *keeper, hf_peer *peer, const hf_msg_duty_sign *frame)
{
    hf_duties *duties = &keeper->duties;
    hf_error err = {HF_OK, ""};
    hf_duty_work *work = atomic_load(&peer->refs) < peer->in_flight_max ? take_work(duties) : NULL;
    if (work == NULL) {
        refuse_unopened(keeper, peer, frame);
        return;
    }
    uint64_t now_ns = hf_time_mono_ns();
    hf_peer_ref(peer);
    work->peer = peer;
    work->received_ns = frame->received_ns < now_ns ? frame->received_ns : now_ns;
    work->deadline_ns = deadline_of(frame->received_ns, frame->timeout_ms, now_ns);
    hf_frame_init(&work->reply, HF_MSG_DUTY_REPLY, frame->header.request_id);
    hf_reason reason = admit(keeper, frame, work, &err);
    if (reason != HF_REASON_OK) {
        hf_duties_answer_front(keeper, work, reason, err.msg);
        hf_duties_put(duties, work);
        return;
    }
    start(duties, work);
}

hf_reason hf_duties_take_vote(hf_keeper *keeper, const hf_eth1_work *asked,
                              const hf_msg_eth1_sign *frame, const hf_typed_message *message,
                              hf_error *err)
{
    hf_duties *duties = &keeper->duties;
    hf_peer *peer = asked->answer.peer;
    if (keeper->config.duty_node_id[0] == '\0') {
        (void)hf_error_set(err, HF_USAGE,
                           "a vote for a slot is signed once, and no database of duties is "
                           "configured to see to that (duty_protection)");
        return HF_REASON_DUTY_STORE_UNAVAILABLE;
    }
    hf_duty_work *work = take_work(duties);
    if (work == NULL) {
        return HF_REASON_OVERLOADED;
    }
    hf_peer_ref(peer);
    work->peer = peer;
    work->pass = asked->pass;
    work->is_vote = true;
    work->received_ns = asked->received_ns;
    work->deadline_ns = deadline_of(asked->received_ns, frame->timeout_ms, asked->admitted_ns);
    work->key = hf_keyring_find_address(&keeper->ring, asked->address);
    HF_ASSERT(work->key != NULL); /* it was admitted */
    (void)atomic_fetch_add(&work->key->refs, 1);
    hf_typed_duty(message, asked->address, &work->ask.duty);
    memcpy(work->ask.hash, asked->digest, sizeof work->ask.hash);
    memcpy(work->digest, asked->digest, sizeof work->digest);
    hf_frame_init(&work->reply, HF_MSG_DUTY_REPLY, frame->header.request_id);
    work->look = hf_look_want(keeper, work->key);
    if (!hf_auditor_admit_duty(keeper, work)) {
        hf_duties_answer_front(keeper, work, HF_REASON_AUDIT_UNAVAILABLE, "");
        hf_duties_put(duties, work);
        return HF_REASON_OK;
    }
    start(duties, work);
    return HF_REASON_OK;
}

void hf_duties_give_channel(hf_keeper *keeper, int take_fd)
{
    hf_duties *duties = &keeper->duties;
    (void)pthread_mutex_lock(&duties->lock);
    int before = duties->given_fd;
    duties->given_fd = take_fd;
    (void)pthread_mutex_unlock(&duties->lock);
    if (before >= 0) {
        (void)close(before);
    }
    wake(duties);
}

bool hf_duties_is_healthy(hf_keeper *keeper, char ret_detail[HF_DETAIL_LEN])
{
    hf_duties *duties = &keeper->duties;
    (void)pthread_mutex_lock(&duties->lock);
    bool is_heard =
        duties->heard_ns != 0 && hf_time_mono_ns() - duties->heard_ns < STATE_PATIENCE_NS;
    bool healthy = is_heard && duties->is_healthy;
    hf_str_cut(ret_detail, HF_DETAIL_LEN,
               is_heard ? duties->detail : "the process that asks the database is silent");
    (void)pthread_mutex_unlock(&duties->lock);
    return healthy;
}

uint32_t hf_duties_protections(hf_keeper *keeper, hf_protection ret[HF_PROTECTIONS_MAX])
{
    hf_duties *duties = &keeper->duties;
    (void)pthread_mutex_lock(&duties->lock);
    uint32_t count = duties->protection_count;
    memcpy(ret, duties->protections, sizeof duties->protections);
    (void)pthread_mutex_unlock(&duties->lock);
    return count;
}

/* ---- the thread: its channel -------------------------------------------------------------------
 */

void hf_duties_put(hf_duties *duties, hf_duty_work *work)
{
    HF_ASSERT(work->peer == NULL && work->key == NULL && work->is_used && !work->is_unsent);
    work->is_used = false;
    (void)pthread_mutex_lock(&duties->lock);
    work->next = duties->free;
    duties->free = work;
    (void)pthread_mutex_unlock(&duties->lock);
    (void)atomic_fetch_sub(&duties->in_use, 1);
}

void hf_duties_send(hf_duties *duties, hf_duty_work *work)
{
    work->is_unsent = true;
    work->next = NULL;
    *(duties->unsent != NULL ? &duties->unsent_tail->next : &duties->unsent) = work;
    duties->unsent_tail = work;
}

static void lose_channel(hf_keeper *keeper, const char *why)
{
    hf_duties *duties = &keeper->duties;
    if (duties->fd < 0) {
        return;
    }
    hf_log(HF_LOG_UNUSUAL, "duty_store_lost", "%s", why);
    (void)close(duties->fd);
    duties->fd = -1;
    duties->unsent = NULL;
    (void)pthread_mutex_lock(&duties->lock);
    duties->heard_ns = 0;
    (void)pthread_mutex_unlock(&duties->lock);
    for (size_t i = 0; i < HF_DUTIES_MAX; i++) {
        hf_duty_work *work = &duties->all[i];
        if (duties->asked[i]) {
            work->is_unsent = false;
            hf_duties_abandon(keeper, work);
        }
    }
}

static void send_unsent(hf_keeper *keeper)
{
    hf_duties *duties = &keeper->duties;
    hf_status st = hf_ok();
    while (duties->unsent != NULL && !hf_failed(st)) {
        const void *frames[HF_OUTBOX_FRAMES];
        size_t n = 0;
        size_t sent = 0;
        for (hf_duty_work *w = duties->unsent; w != NULL && n < HF_OUTBOX_FRAMES; w = w->next) {
            frames[n++] = &w->ask;
        }
        st = hf_frames_send(duties->fd, frames, n, &sent);
        while (sent-- > 0) {
            duties->unsent->is_unsent = false;
            duties->unsent = duties->unsent->next;
        }
    }
    if (hf_failed(st) && st.code != HF_UNAVAILABLE) {
        lose_channel(keeper, "the process that asks the database is gone");
    }
}

static void take_state(hf_keeper *keeper, const hf_msg_duty_state *frame)
{
    hf_duties *duties = &keeper->duties;
    const uint64_t *from = (const uint64_t *)(const void *)&frame->counters;
    uint64_t *to = (uint64_t *)(void *)&keeper->meter.now.duty_store;
    for (size_t i = 0; i < sizeof frame->counters / sizeof *from; i++) {
        hf_meter_set(&to[i], from[i]);
    }
    (void)pthread_mutex_lock(&duties->lock);
    bool changed = duties->heard_ns == 0 || duties->is_healthy != (frame->healthy != 0);
    duties->heard_ns = hf_time_mono_ns();
    duties->is_healthy = frame->healthy != 0;
    (void)snprintf(duties->detail, sizeof duties->detail, "%.*s", HF_DETAIL_LEN - 1, frame->detail);
    if (frame->protection_count <= HF_PROTECTIONS_MAX) {
        duties->protection_count = frame->protection_count;
        memcpy(duties->protections, frame->protections, sizeof frame->protections);
    }
    (void)pthread_mutex_unlock(&duties->lock);
    if (changed) {
        hf_log(frame->healthy != 0 ? HF_LOG_INFO : HF_LOG_BROKEN, "duty_store", "%.*s",
               HF_DETAIL_LEN - 1, frame->detail);
    }
}

/* The lower half of a request id is the place, the upper half its generation. */
static hf_duty_work *work_of(hf_duties *duties, uint64_t request_id)
{
    uint64_t place = request_id & UINT32_MAX;
    if (place >= HF_DUTIES_MAX) {
        return NULL;
    }
    hf_duty_work *work = &duties->all[place];
    return duties->asked[place] && work->ask.header.request_id == request_id ? work : NULL;
}

static void receive(hf_keeper *keeper)
{
    hf_duties *duties = &keeper->duties;
    size_t n = 0;
    hf_status st = hf_inbox_receive(duties->inbox, duties->fd, HF_INBOX_FRAMES, &n);
    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        const void *frame = hf_inbox_peek(duties->inbox, i, &len);
        const hf_frame_header *header = frame;
        if (!hf_frame_is_acceptable(frame, len, HF_CHANNEL_DUTY, true)) {
            hf_meter_add(&keeper->meter.now.bad_frames, 1);
        } else if (header->type == HF_MSG_DUTY_STATE) {
            take_state(keeper, frame);
        } else {
            hf_duty_work *work = work_of(duties, header->request_id);
            if (work != NULL && !work->is_unsent) {
                hf_duties_answered(keeper, work, frame);
            }
        }
    }
    if (hf_failed(st) && st.code != HF_UNAVAILABLE) {
        lose_channel(keeper, "the process that asks the database is gone");
    }
}

/* ---- the thread: its turns ---------------------------------------------------------------------
 */

static void adopt_channel(hf_keeper *keeper)
{
    hf_duties *duties = &keeper->duties;
    (void)pthread_mutex_lock(&duties->lock);
    int fd = duties->given_fd;
    duties->given_fd = -1;
    (void)pthread_mutex_unlock(&duties->lock);
    if (fd >= 0) {
        lose_channel(keeper, "the process that asks the database was replaced");
        duties->fd = fd;
    }
}

void hf_duties_take_inside(hf_keeper *keeper, void *context, hf_reason reason,
                           const uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES],
                           const char *detail)
{
    hf_duties *duties = &keeper->duties;
    hf_duty_work *work = context;
    work->inside_reason = reason;
    hf_str_cut(work->inside_detail, sizeof work->inside_detail, detail);
    if (reason == HF_REASON_OK) {
        memcpy(work->inside_signature, signature, sizeof work->inside_signature);
    }
    (void)pthread_mutex_lock(&duties->lock);
    work->next = duties->signed_inside;
    duties->signed_inside = work;
    (void)pthread_mutex_unlock(&duties->lock);
    wake(duties);
}

static void take_signed_inside(hf_keeper *keeper)
{
    hf_duties *duties = &keeper->duties;
    (void)pthread_mutex_lock(&duties->lock);
    hf_duty_work *list = duties->signed_inside;
    duties->signed_inside = NULL;
    (void)pthread_mutex_unlock(&duties->lock);
    while (list != NULL) {
        hf_duty_work *work = list;
        list = work->next;
        hf_duties_signed_inside(keeper, work);
    }
}

static void start_incoming(hf_keeper *keeper)
{
    hf_duties *duties = &keeper->duties;
    (void)pthread_mutex_lock(&duties->lock);
    hf_duty_work *list = duties->incoming;
    duties->incoming = NULL;
    (void)pthread_mutex_unlock(&duties->lock);
    while (list != NULL) {
        hf_duty_work *work = list;
        list = work->next;
        hf_duties_begin(keeper, work);
    }
}

/* An asker that does not even answer that it has none: the client gets its answer, and what comes
 * later is given back. */
static void check_deadlines(hf_keeper *keeper)
{
    hf_duties *duties = &keeper->duties;
    uint64_t now_ns = hf_time_mono_ns();
    for (size_t i = 0; i < HF_DUTIES_MAX && atomic_load(&duties->in_use) > 0; i++) {
        hf_duty_work *work = &duties->all[i];
        if (duties->asked[i] && work->peer != NULL && now_ns > work->ask.deadline_ns + GRACE_NS) {
            hf_duties_answer_front(keeper, work, HF_REASON_DUTY_STORE_UNAVAILABLE, "");
        }
    }
}

static void *duties_main(void *context)
{
    hf_keeper *keeper = context;
    hf_duties *duties = &keeper->duties;
    while (!atomic_load(&duties->stop)) {
        adopt_channel(keeper);
        start_incoming(keeper);
        take_signed_inside(keeper);
        send_unsent(keeper);
        struct pollfd fds[] = {
            {.fd = duties->wake_fd, .events = POLLIN},
            {.fd = duties->fd, .events = (short)(POLLIN | (duties->unsent != NULL ? POLLOUT : 0))},
        };
        bool is_busy = atomic_load(&duties->in_use) > 0;
        (void)poll(fds, 2, is_busy ? TICK_BUSY_MS : TICK_IDLE_MS);
        if (fds[0].revents != 0) {
            uint64_t count;
            (void)!read(duties->wake_fd, &count, sizeof count);
        }
        if (fds[1].fd >= 0 && (fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            receive(keeper);
        }
        check_deadlines(keeper);
    }
    return NULL;
}

hf_status hf_duties_init(hf_keeper *keeper)
{
    hf_duties *duties = &keeper->duties;
    (void)pthread_mutex_init(&duties->lock, NULL);
    duties->fd = -1;
    duties->given_fd = -1;
    duties->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    duties->all = calloc(HF_DUTIES_MAX, sizeof *duties->all);
    duties->inbox = hf_inbox_new();
    if (duties->wake_fd < 0 || duties->all == NULL || duties->inbox == NULL ||
        hf_failed(hf_secp256k1_new(&duties->secp))) {
        return (hf_status){HF_NOMEM};
    }
    for (size_t i = HF_DUTIES_MAX; i > 0; i--) {
        duties->all[i - 1].next = duties->free;
        duties->free = &duties->all[i - 1];
    }
    if (pthread_create(&duties->thread, NULL, duties_main, keeper) != 0) {
        return (hf_status){HF_NOMEM};
    }
    return hf_ok();
}

void hf_duties_stop(hf_keeper *keeper)
{
    hf_duties *duties = &keeper->duties;
    atomic_store(&duties->stop, true);
    wake(duties);
    (void)pthread_join(duties->thread, NULL);
    if (duties->fd >= 0) {
        (void)close(duties->fd);
    }
    if (duties->given_fd >= 0) {
        (void)close(duties->given_fd);
    }
    (void)close(duties->wake_fd);
    hf_inbox_free(duties->inbox);
    hf_secp256k1_free(duties->secp);
    free(duties->all);
}
