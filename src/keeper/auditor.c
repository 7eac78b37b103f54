/*
 * The thread that writes the audit log. It takes all lines that wait at that moment, writes them
 * with one sync, and lets go whoever waits for them: the protector, whose commit ran meanwhile, and
 * requests that nothing else holds back, which go to the signers from here. When the log cannot be
 * written, nothing is signed (I4), and it tries again by itself.
 */
#include "keeper/keeper_internal.h"
#include "keeper/pulse.h"

#include <errno.h>
#include <unistd.h>

#define TEND_INTERVAL_NS HF_NS_PER_SECOND
/* Lines that nobody waits for. */
#define LINGER_NS (50 * HF_NS_PER_MS)
#define RETRY_NS (200 * HF_NS_PER_MS)
/* A disk that takes longer refuses the request. */
#define PATIENCE_NS (UINT64_C(2) * HF_NS_PER_SECOND)
/* As the protector: with so much to sign, a sync in a hurry would gain nothing. */
#define BUSY_BACKLOG 16
#define GATHER_PAUSE_NS (2 * HF_NS_PER_MS)
#define GATHER_ROUNDS 8
#define NOTE_SLOTS 1024

/* ---- a group ----------------------------------------------------------------------------------
 */

static void note_health(hf_keeper *keeper, bool healthy, const char *sentence)
{
    hf_auditor *auditor = &keeper->auditor;
    bool was = atomic_exchange(&auditor->is_healthy, healthy);
    (void)pthread_mutex_lock(&auditor->lock);
    hf_str_cut(auditor->detail, sizeof auditor->detail, healthy ? "" : sentence);
    (void)pthread_mutex_unlock(&auditor->lock);
    hf_meter_set(&keeper->meter.now.audit_healthy, healthy);
    if (was && !healthy) {
        hf_log(HF_LOG_BROKEN, "audit_unavailable", "nothing is signed: %s", sentence);
    } else if (!was && healthy) {
        hf_log(HF_LOG_INFO, "audit_available", "the audit log is written again");
    }
}

/* With the lock held: what one group has room for. */
static hf_audit_slot *take_group(hf_auditor *auditor, size_t *ret_n)
{
    hf_audit_slot *list = auditor->queue;
    hf_audit_slot *last = NULL;
    size_t n = 0;
    /* One line may be needed for what has none. */
    for (hf_audit_slot *slot = list; slot != NULL && n < HF_AUDIT_GROUP_MAX - 1;
         slot = slot->next) {
        last = slot;
        n++;
    }
    if (last != NULL) {
        auditor->queue = last->next;
        last->next = NULL;
    }
    auditor->hurried = auditor->queue == NULL ? 0 : auditor->hurried;
    *ret_n = n;
    return list;
}

static hf_status write_group(hf_keeper *keeper, hf_audit_slot *list, uint64_t unlogged,
                             hf_error *err)
{
    hf_auditor *auditor = &keeper->auditor;
    size_t n = 0;
    for (hf_audit_slot *slot = list; slot != NULL; slot = slot->next) {
        slot->seq = hf_audit_log_add(auditor->log, &slot->event);
        n++;
    }
    if (unlogged > 0) {
        const hf_audit_event event = {.kind = HF_AUDIT_UNLOGGED, .count = unlogged};
        (void)hf_audit_log_add(auditor->log, &event);
        n++;
    }
    uint64_t start = hf_time_mono_ns();
    hf_status st = hf_audit_log_commit(auditor->log, false, err);
    hf_meter_observe(&keeper->meter.now.audit_commit, hf_time_mono_ns() - start);
    if (hf_failed(st)) {
        hf_meter_add(&keeper->meter.now.audit_failures, 1);
    } else {
        hf_meter_add(&keeper->meter.now.audit_lines, n);
        hf_meter_add(&keeper->meter.now.audit_unlogged, unlogged);
    }
    return st;
}

static void put_back(hf_auditor *auditor, hf_audit_slot *slot)
{
    slot->next = auditor->free;
    auditor->free = slot;
}

/* With the lock held. A REQUEST that is durable waits for its result, which may be there. */
static void settle_request(hf_auditor *auditor, hf_audit_slot *slot, bool is_written)
{
    auditor->settled = slot->ticket;
    slot->state = is_written ? HF_AUDIT_SLOT_WRITTEN : HF_AUDIT_SLOT_FAILED;
    if (!is_written) {
        auditor->last_failed = slot->ticket;
        auditor->unlogged++;
    }
    if (slot->has_result && is_written) {
        hf_auditor_make_result(slot);
        hf_auditor_queue(auditor, slot, false);
    } else if (slot->has_result) {
        put_back(auditor, slot);
    }
}

static hf_audit_slot *last_of(hf_audit_slot *list)
{
    while (list->next != NULL) {
        list = list->next;
    }
    return list;
}

/*
 * With the lock held. Returns the requests that waited for nothing but their line. What could not
 * be written and is not a request, is tried again.
 */
static hf_request *settle_group(hf_auditor *auditor, hf_audit_slot *list, bool is_written)
{
    hf_request *waiting = NULL;
    hf_request **waiting_end = &waiting;
    hf_audit_slot *again = NULL;
    hf_audit_slot **again_end = &again;
    for (hf_audit_slot *next; list != NULL; list = next) {
        next = list->next;
        if (list->event.kind == HF_AUDIT_REQUEST) {
            if (list->request != NULL) {
                *waiting_end = list->request;
                waiting_end = &list->request->next;
                list->request = NULL;
            }
            settle_request(auditor, list, is_written);
        } else if (list->parked != NULL) {
            hf_auditor_settle_asked(auditor, list, is_written);
        } else if (is_written) {
            put_back(auditor, list);
        } else {
            *again_end = list;
            again_end = &list->next;
        }
    }
    *waiting_end = NULL;
    if (again != NULL) {
        *again_end = auditor->queue;
        auditor->queue = again;
        auditor->queue_tail = last_of(again);
    }
    if (is_written && auditor->is_strict) {
        auditor->head = hf_audit_log_head(auditor->log);
    }
    if (auditor->waiters > 0) {
        (void)pthread_cond_broadcast(&auditor->settled_more);
    }
    return waiting;
}

static void refuse_all(hf_keeper *keeper, hf_request *list)
{
    hf_signers_forget(keeper, list);
    while (list != NULL) {
        hf_request *next = list->next;
        hf_request_finish(keeper, list, HF_REASON_AUDIT_UNAVAILABLE, "");
        list = next;
    }
}

static void handle_group(hf_keeper *keeper, hf_audit_slot *list, uint64_t unlogged)
{
    hf_auditor *auditor = &keeper->auditor;
    hf_error err = {.code = HF_OK};
    hf_status st = write_group(keeper, list, unlogged, &err);
    (void)pthread_mutex_lock(&auditor->lock);
    hf_request *waiting = settle_group(auditor, list, !hf_failed(st));
    auditor->unlogged -= hf_failed(st) ? 0 : unlogged;
    (void)pthread_mutex_unlock(&auditor->lock);
    if (atomic_load(&auditor->has_asked)) {
        hf_intake_nudge(keeper);
    }
    if (hf_failed(st)) {
        note_health(keeper, false, err.msg);
        refuse_all(keeper, waiting);
        return;
    }
    if (waiting != NULL) {
        hf_signers_sign(keeper, waiting);
    }
    if (!atomic_load(&auditor->is_healthy)) {
        note_health(keeper, true, "");
    }
    if (auditor->sinks.which != 0) {
        hf_audit_sinks_write(&auditor->sinks, hf_audit_log_committed(auditor->log));
        hf_meter_set(&keeper->meter.now.audit_sink_lost, auditor->sinks.lost);
    }
}

/* ---- the thread -------------------------------------------------------------------------------
 */

/* A strict log has its lines in the journal until the file takes them: a rotation that fails, or a
 * sync in a quiet moment, stops nothing. Without a journal it is a promise that was not kept. */
static void tell_untended(hf_keeper *keeper, const char *why)
{
    hf_auditor *auditor = &keeper->auditor;
    hf_meter_add(&keeper->meter.now.audit_failures, 1);
    if (!auditor->is_untended) {
        hf_log(HF_LOG_BROKEN, "audit_not_rotated", "%s", why);
    }
    if (!auditor->is_strict) {
        note_health(keeper, false, why);
    }
}

static void tend(hf_keeper *keeper, bool is_quiet)
{
    hf_auditor *auditor = &keeper->auditor;
    hf_error err = {.code = HF_OK};
    uint64_t now = hf_time_mono_ns();
    if (now < auditor->next_tend_ns) {
        return;
    }
    auditor->next_tend_ns = now + TEND_INTERVAL_NS;
    hf_status st = hf_audit_log_tend(auditor->log, is_quiet || !auditor->is_strict, &err);
    if (hf_failed(st)) {
        tell_untended(keeper, err.msg);
    }
    auditor->is_untended = hf_failed(st);
    hf_meter_set(&keeper->meter.now.audit_rotations, hf_audit_log_rotations(auditor->log));
    const char *notice = hf_audit_log_notice(auditor->log);
    if (notice[0] != '\0') {
        atomic_store(&auditor->is_broken, true);
        hf_meter_set(&keeper->meter.now.audit_broken, 1);
        hf_log(HF_LOG_BROKEN, "audit_changed", "%s", notice);
        hf_auditor_note(keeper, HF_AUDIT_MENDED, NULL, NULL, "%s", notice);
        hf_audit_log_notice_done(auditor->log);
    }
    if (!hf_failed(st)) {
        (void)pthread_mutex_lock(&auditor->lock);
        auditor->head = hf_audit_log_head(auditor->log);
        (void)pthread_mutex_unlock(&auditor->lock);
    }
}

static void wait_until(hf_auditor *auditor, uint64_t until)
{
    struct timespec when = {.tv_sec = (time_t)(until / HF_NS_PER_SECOND),
                            .tv_nsec = (long)(until % HF_NS_PER_SECOND)};
    (void)pthread_cond_timedwait(&auditor->work, &auditor->lock, &when);
}

/* With the lock held. Until a line is wanted, lines have lingered, or it is time to look around. */
static void wait_for_work(hf_auditor *auditor)
{
    uint64_t until = auditor->next_tend_ns;
    if (!atomic_load(&auditor->is_healthy)) {
        until = hf_time_mono_ns() + RETRY_NS;
    } else if (auditor->queue != NULL) {
        uint64_t linger = hf_time_mono_ns() + LINGER_NS;
        until = linger < until ? linger : until;
    }
    auditor->is_asleep = true;
    if (!auditor->stop && (auditor->hurried == 0 || !atomic_load(&auditor->is_healthy))) {
        wait_until(auditor, until);
    }
    auditor->is_asleep = false;
}

/* With the lock held: while the signers are busy and nobody waits, more lines share the sync. */
static void gather(hf_keeper *keeper)
{
    hf_auditor *auditor = &keeper->auditor;
    for (int i = 0; i < GATHER_ROUNDS; i++) {
        if (auditor->stop || auditor->wanted > auditor->settled ||
            hf_signers_backlog(keeper) < BUSY_BACKLOG) {
            return;
        }
        wait_until(auditor, hf_time_mono_ns() + GATHER_PAUSE_NS);
    }
}

static void *auditor_main(void *context)
{
    hf_keeper *keeper = context;
    hf_auditor *auditor = &keeper->auditor;
    (void)pthread_setname_np(pthread_self(), "auditor");
    hf_pulse_join("auditor");
    (void)pthread_mutex_lock(&auditor->lock);
    while (!auditor->stop || auditor->queue != NULL) {
        size_t n = 0;
        hf_pulse_rest();
        wait_for_work(auditor);
        hf_pulse_turn();
        gather(keeper);
        bool was_healthy = atomic_load(&auditor->is_healthy);
        hf_audit_slot *list = take_group(auditor, &n);
        uint64_t unlogged = auditor->unlogged;
        bool stopping = auditor->stop;
        (void)pthread_mutex_unlock(&auditor->lock);
        hf_pulse_to_disk();
        if (n > 0 || unlogged > 0 || !was_healthy) {
            handle_group(keeper, list, unlogged > 0 || was_healthy ? unlogged : 1);
        }
        tend(keeper, n == 0);
        hf_pulse_from_disk();
        (void)pthread_mutex_lock(&auditor->lock);
        if (stopping && !atomic_load(&auditor->is_healthy)) {
            break; /* nothing more can be done */
        }
    }
    (void)pthread_mutex_unlock(&auditor->lock);
    return NULL;
}

/* ---- those who wait ---------------------------------------------------------------------------
 */

void hf_auditor_wake(hf_keeper *keeper)
{
    hf_auditor *auditor = &keeper->auditor;
    (void)pthread_mutex_lock(&auditor->lock);
    if (auditor->is_asleep && auditor->hurried > 0) {
        (void)pthread_cond_signal(&auditor->work);
    }
    (void)pthread_mutex_unlock(&auditor->lock);
}

/* With the lock held. The thread may be asleep, or gathering. */
static void want(hf_auditor *auditor, uint64_t ticket)
{
    auditor->wanted = ticket > auditor->wanted ? ticket : auditor->wanted;
    if (ticket > auditor->settled) {
        auditor->hurried++;
        (void)pthread_cond_signal(&auditor->work);
    }
}

void hf_auditor_hurry(hf_keeper *keeper, uint64_t ticket)
{
    hf_auditor *auditor = &keeper->auditor;
    if (ticket == 0) {
        return;
    }
    (void)pthread_mutex_lock(&auditor->lock);
    want(auditor, ticket);
    (void)pthread_mutex_unlock(&auditor->lock);
}

bool hf_auditor_wait(hf_keeper *keeper, uint64_t ticket)
{
    return hf_auditor_wait_all(keeper, ticket, ticket);
}

bool hf_auditor_wait_all(hf_keeper *keeper, uint64_t first, uint64_t ticket)
{
    hf_auditor *auditor = &keeper->auditor;
    if (ticket == 0 || !auditor->is_strict) {
        return true;
    }
    uint64_t until = hf_time_mono_ns() + PATIENCE_NS;
    struct timespec when = {.tv_sec = (time_t)(until / HF_NS_PER_SECOND),
                            .tv_nsec = (long)(until % HF_NS_PER_SECOND)};
    (void)pthread_mutex_lock(&auditor->lock);
    want(auditor, ticket);
    auditor->waiters++;
    while (auditor->settled < ticket &&
           pthread_cond_timedwait(&auditor->settled_more, &auditor->lock, &when) == 0) {
    }
    auditor->waiters--;
    /* One that failed later makes this one fail, too: a refusal more, never a signature. */
    bool is_durable = auditor->settled >= ticket && auditor->last_failed < first;
    (void)pthread_mutex_unlock(&auditor->lock);
    return is_durable;
}

void hf_auditor_look(hf_keeper *keeper, hf_audit_state *ret_state)
{
    hf_auditor *auditor = &keeper->auditor;
    *ret_state = (hf_audit_state){
        .is_on = auditor->is_on,
        .is_strict = auditor->is_strict,
        .is_healthy = atomic_load(&auditor->is_healthy),
        .is_broken = atomic_load(&auditor->is_broken),
    };
    (void)pthread_mutex_lock(&auditor->lock);
    ret_state->seq = auditor->head.seq;
    memcpy(ret_state->detail, auditor->detail, sizeof ret_state->detail);
    (void)pthread_mutex_unlock(&auditor->lock);
}

/* ---- life -------------------------------------------------------------------------------------
 */

hf_status hf_auditor_start(hf_keeper *keeper)
{
    hf_auditor *auditor = &keeper->auditor;
    pthread_condattr_t attr;
    (void)pthread_mutex_init(&auditor->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&auditor->work, &attr);
    (void)pthread_cond_init(&auditor->settled_more, &attr);
    (void)pthread_condattr_destroy(&attr);
    atomic_store(&auditor->is_healthy, true);
    hf_meter_set(&keeper->meter.now.audit_healthy, 1);
    if (!auditor->is_on) {
        return hf_ok();
    }
    size_t count =
        (size_t)keeper->config.max_in_flight + HF_DUTIES_MAX + HF_ETH1_WORKS_MAX + NOTE_SLOTS;
    auditor->all = calloc(count, sizeof *auditor->all);
    if (auditor->all == NULL) {
        return (hf_status){HF_NOMEM};
    }
    for (size_t i = count; i > 0; i--) {
        put_back(auditor, &auditor->all[i - 1]);
    }
    auditor->next_tend_ns = hf_time_mono_ns() + TEND_INTERVAL_NS;
    hf_auditor_tell_opening(keeper);
    if (pthread_create(&auditor->thread, NULL, auditor_main, keeper) != 0) {
        return (hf_status){HF_NOMEM};
    }
    auditor->has_thread = true;
    return hf_ok();
}

void hf_auditor_stop(hf_keeper *keeper)
{
    hf_auditor *auditor = &keeper->auditor;
    if (!auditor->has_thread) {
        return;
    }
    hf_auditor_note(keeper, HF_AUDIT_STOPPED, NULL, NULL, "%s", "");
    (void)pthread_mutex_lock(&auditor->lock);
    auditor->stop = true;
    (void)pthread_cond_signal(&auditor->work);
    (void)pthread_mutex_unlock(&auditor->lock);
    (void)pthread_join(auditor->thread, NULL);
    auditor->has_thread = false;
    hf_error err = {.code = HF_OK};
    if (hf_failed(hf_audit_log_tend(auditor->log, true, &err))) { /* the anchor comes after it */
        hf_log(HF_LOG_BROKEN, "audit_unavailable", "at the end: %s", err.msg);
    }
    (void)pthread_mutex_lock(&auditor->lock);
    auditor->head = hf_audit_log_head(auditor->log);
    (void)pthread_mutex_unlock(&auditor->lock);
}

/* Nobody takes them up any more. */
static void drop_actions(hf_keeper *keeper)
{
    hf_auditor *auditor = &keeper->auditor;
    for (hf_audit_slot *slot = auditor->queue; slot != NULL; slot = slot->next) {
        hf_parked_free(keeper, slot->parked);
    }
    for (hf_parked *list = auditor->asked; list != NULL;) {
        hf_parked *next = list->next;
        hf_parked_free(keeper, list);
        list = next;
    }
}

void hf_auditor_close(hf_keeper *keeper)
{
    hf_auditor *auditor = &keeper->auditor;
    drop_actions(keeper);
    if (auditor->is_on) {
        hf_audit_log_close(auditor->log);
        hf_audit_sinks_close(&auditor->sinks);
        free(auditor->all);
    }
}
