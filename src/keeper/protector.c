/*
 * The one thread that talks to the store. It takes every request that waits at that moment, decides
 * all of them in one transaction, and only then lets the allowed ones through to the signers (I1).
 * When the store fails, all of them are refused (I4).
 */
#include "keeper/keeper_internal.h"
#include "keeper/pulse.h"

#include <sched.h>

#define HEALTH_INTERVAL_NS UINT64_C(1000000000)
/* A store that has been silent for so long cannot record, whatever it said before. */
#define SILENT_NS (UINT64_C(3) * HEALTH_INTERVAL_NS)
/* A thread with so many signatures to make (3 ms) has more to do than a pause and a commit take. */
#define BUSY_BACKLOG 16
#define GATHER_PAUSE_NS (2 * HF_NS_PER_MS)
#define GATHER_ROUNDS 8
/* What a front takes at most to read a request that it announced. */
#define AWAKE_NS (HF_NS_PER_MS / 5)
/* A request that waited longer than any client does is refused instead of recorded. */
#define STALE_AFTER_NS (UINT64_C(30) * 1000000000)
/* Beyond a shared store's own timeout: the store process, and the way there and back. */
#define SHARED_MARGIN_NS (100 * HF_NS_PER_MS)
/* With less than that before it a question to a shared store is not worth asking. */
#define SHARED_CHANCE_NS (100 * HF_NS_PER_MS)

static void note_health(hf_keeper *keeper, hf_status st, const hf_error *err)
{
    hf_protector *protector = &keeper->protector;
    bool healthy = !hf_failed(st);
    (void)pthread_mutex_lock(&protector->lock);
    bool changed = protector->healthy != healthy || !protector->is_looked_at;
    bool is_first = !protector->is_looked_at;
    protector->is_looked_at = true;
    protector->healthy = healthy;
    hf_str_cut(protector->detail, sizeof protector->detail, healthy ? "" : err->msg);
    (void)pthread_mutex_unlock(&protector->lock);
    hf_meter_set(&keeper->meter.now.store_healthy, healthy);
    if (changed && healthy && is_first) {
        hf_log(HF_LOG_INFO, "store_healthy", "the slashing protection store records");
    } else if (changed && healthy) {
        hf_log(HF_LOG_INFO, "store_healthy", "the slashing protection store records again");
    } else if (changed) {
        hf_log(HF_LOG_BROKEN, "store_unavailable", "nothing slashable is signed: %s", err->msg);
    }
}

/* Says so where the start guard keeps everything slashable from being signed. */
static bool is_let_through(hf_keeper *keeper, char ret_detail[HF_DETAIL_LEN])
{
    hf_guard_report report;
    hf_guard_look(keeper, &report);
    if (report.state == HF_GUARD_PASSED || report.state == HF_GUARD_RAISED) {
        return true;
    }
    (void)snprintf(ret_detail, HF_DETAIL_LEN, "start guard: %s",
                   hf_guard_cause_sentence((hf_guard_cause)report.cause));
    return false;
}

bool hf_protector_is_healthy(hf_keeper *keeper, char ret_detail[HF_DETAIL_LEN])
{
    hf_protector *protector = &keeper->protector;
    (void)pthread_mutex_lock(&protector->lock);
    bool healthy = protector->healthy;
    memcpy(ret_detail, protector->detail, HF_DETAIL_LEN);
    (void)pthread_mutex_unlock(&protector->lock);
    uint64_t last_turn_ns = atomic_load(&protector->last_turn_ns); /* before the clock */
    uint64_t silent_ns = hf_time_mono_ns() - last_turn_ns;
    if (silent_ns > SILENT_NS) {
        (void)snprintf(ret_detail, HF_DETAIL_LEN, "the store has not answered for %llu s",
                       (unsigned long long)(silent_ns / HF_NS_PER_SECOND));
        healthy = false;
    }
    return healthy && is_let_through(keeper, ret_detail);
}

/* ---- deciding -------------------------------------------------------------------------------- */

void hf_protector_refuse(hf_keeper *keeper, hf_request *list, hf_reason reason)
{
    hf_signers_forget(keeper, list);
    while (list != NULL) {
        hf_request *next = list->next;
        hf_request_finish(keeper, list, reason, "");
        list = next;
    }
}

static bool is_idle(hf_keeper *keeper)
{
    hf_protector *protector = &keeper->protector;
    (void)pthread_mutex_lock(&protector->lock);
    bool nothing_waits = protector->head == NULL && !protector->has_jobs &&
                         protector->looks.wanted == protector->looks.taken &&
                         protector->flights.count == 0;
    (void)pthread_mutex_unlock(&protector->lock);
    return nothing_waits;
}

/* Tickets rise along a list. */
uint64_t hf_protector_last_ticket(const hf_request *list)
{
    HF_ASSERT(list != NULL);
    while (list->next != NULL) {
        list = list->next;
    }
    return list->ticket;
}

/* Came it with a token that another node may have revoked? */
static bool has_shared_token(const hf_keeper *keeper, const hf_request *request)
{
    return keeper->store_clients[HF_LANE_SIGNING] != NULL &&
           hf_accessor_is_sane(request->pass.accessor);
}

static hf_reason look_at_token(hf_keeper *keeper, const hf_request *request, bool is_current)
{
    if (!has_shared_token(keeper, request)) {
        return HF_REASON_OK;
    }
    if (!is_current) {
        return HF_REASON_STORE_UNAVAILABLE;
    }
    return hf_tokens_has(keeper, request->pass.accessor) ? HF_REASON_OK : HF_REASON_UNAUTHORIZED;
}

/* Is a sealed key still one as of the moment of the decision, whatever another node did? */
static hf_reason look_at_seal(hf_keeper *keeper, const hf_request *request)
{
    hf_store *store = keeper->protector.store;
    if (keeper->store_clients[HF_LANE_SIGNING] == NULL ||
        request->key->backend != HF_BACKEND_SEALED) {
        return HF_REASON_OK;
    }
    hf_pulse_to_disk();
    hf_reason reason = hf_seal_catch_up(keeper, request->key, store->ops->generation(store));
    hf_pulse_from_disk();
    return reason;
}

hf_reason hf_protector_may_still(hf_keeper *keeper, const hf_request *request, bool has_tokens)
{
    hf_reason reason = look_at_token(keeper, request, has_tokens);
    return reason == HF_REASON_OK ? look_at_seal(keeper, request) : reason;
}

bool hf_protector_is_logged(hf_keeper *keeper, hf_request *list)
{
    hf_pulse_to_disk(); /* the auditor's, whose own pulse tells */
    bool is_logged = hf_auditor_wait_all(keeper, list->ticket, hf_protector_last_ticket(list));
    hf_pulse_from_disk();
    if (!is_logged) {
        hf_protector_refuse(keeper, list, HF_REASON_AUDIT_UNAVAILABLE);
    }
    return is_logged;
}

/* Splits the decided batch into what may be signed and what is refused. */
static void release_batch(hf_keeper *keeper, hf_request *list, bool is_current)
{
    const hf_verdict *verdict = keeper->protector.verdicts;
    uint64_t now = hf_time_mono_ns();
    hf_request *allowed = NULL;
    hf_request **allowed_end = &allowed;
    for (hf_request *next; list != NULL; list = next, verdict++) {
        next = list->next;
        list->decided_ns = now;
        list->next = NULL;
        list->key->is_known_to_store = true;
        hf_meter_observe(&keeper->meter.now.duration[list->operation][HF_STAGE_DECIDE],
                         now - list->admitted_ns);
        hf_reason reason = hf_verdict_allows(*verdict)
                               ? hf_protector_may_still(keeper, list, is_current)
                               : hf_reason_from_verdict(*verdict);
        if (reason == HF_REASON_OK) {
            *allowed_end = list;
            allowed_end = &list->next;
        } else {
            hf_protector_refuse(keeper, list, reason);
        }
    }
    if (allowed == NULL || !hf_protector_is_logged(keeper, allowed)) {
        return;
    }
    /* A lone request: this thread is awake already, and nothing waits for it. */
    if (allowed->next != NULL || !is_idle(keeper) || !hf_signers_sign_here(keeper, allowed)) {
        hf_signers_sign(keeper, allowed);
    }
}

/*
 * A shared store may keep us waiting. A request waits for it no longer than one timeout in all,
 * unless the store is well and what it waits for is its turn.
 */
static uint64_t shared_budget_ns(const hf_keeper *keeper)
{
    return keeper->config.store_timeout_ms * HF_NS_PER_MS + SHARED_MARGIN_NS;
}

void hf_protector_limit_wait(hf_keeper *keeper, const hf_request *list)
{
    hf_store_client *client = keeper->store_clients[HF_LANE_SIGNING];
    uint64_t oldest = list != NULL ? UINT64_MAX : hf_time_mono_ns();
    if (client == NULL) {
        return;
    }
    for (; list != NULL; list = list->next) {
        oldest = list->admitted_ns < oldest ? list->admitted_ns : oldest;
    }
    uint64_t until = oldest + shared_budget_ns(keeper);
    bool has_chance = until >= hf_time_mono_ns() + SHARED_CHANCE_NS;
    hf_store_client_limit(client, has_chance ? until : 0);
}

/* How long a request may have waited to be still worth deciding. */
static uint64_t stale_after_ns(hf_keeper *keeper)
{
    if (keeper->store_clients[HF_LANE_SIGNING] == NULL || keeper->protector.healthy) {
        return STALE_AFTER_NS;
    }
    return shared_budget_ns(keeper) - SHARED_CHANCE_NS;
}

/* Are the tokens that these requests came with those of the moment of the decision? */
bool hf_protector_has_tokens(hf_keeper *keeper, const hf_request *list)
{
    hf_store *store = keeper->protector.store;
    for (; list != NULL; list = list->next) {
        if (has_shared_token(keeper, list)) {
            hf_pulse_to_disk();
            bool is_current = hf_tokens_catch_up(keeper, store->ops->generation(store));
            hf_pulse_from_disk();
            return is_current;
        }
    }
    return true;
}

/* One way or the other it is known afterwards how the store is. */
static void ask_health(hf_keeper *keeper)
{
    hf_protector *protector = &keeper->protector;
    hf_error err = {.code = HF_OK};
    uint64_t start_ns = hf_time_mono_ns();
    hf_pulse_to_disk();
    hf_status st = protector->store->ops->health(protector->store, &err);
    hf_pulse_from_disk();
    note_health(keeper, st, &err);
    if (!hf_failed(st)) {
        hf_flights_note_way(&protector->flights, hf_time_mono_ns() - start_ns);
    }
    protector->next_health_ns = hf_time_mono_ns() + HEALTH_INTERVAL_NS;
    if (keeper->store_clients[HF_LANE_SIGNING] != NULL) {
        uint64_t generation = protector->store->ops->generation(protector->store);
        hf_tokens_note_generation(keeper, generation);
        hf_seal_note_generation(keeper, generation);
    }
    hf_pulse_to_disk();
    if (!hf_failed(st) && hf_guard_is_open(keeper) && hf_guard_note(keeper)) {
        hf_guard_tick(keeper);
    }
    hf_pulse_from_disk();
}

/* Nothing is decided before the start guard has had its say; a shared store was not asked yet. */
static bool is_guarded(hf_keeper *keeper, hf_request *list)
{
    if (hf_guard_is_open(keeper)) {
        return true;
    }
    if (keeper->guard.report.state == HF_GUARD_PENDING) {
        hf_protector_limit_wait(keeper, list);
        ask_health(keeper);
    }
    return hf_guard_is_open(keeper);
}

void hf_protector_prepare(hf_keeper *keeper, const hf_request *list, hf_message *ret_messages)
{
    size_t i = 0;
    for (const hf_request *request = list; request != NULL; request = request->next) {
        ret_messages[i++] = request->message;
    }
    hf_protector_limit_wait(keeper, list);
    hf_auditor_hurry(keeper, hf_protector_last_ticket(list));
}

bool hf_protector_finish(hf_keeper *keeper, hf_request *list, size_t n, uint64_t start_ns,
                         hf_status st, const hf_error *err)
{
    hf_protector *protector = &keeper->protector;
    uint64_t now = hf_time_mono_ns();
    hf_meter_observe(&keeper->meter.now.store_commit, now - start_ns);
    hf_meter_observe_batch(&keeper->meter, n);
    note_health(keeper, st, err);
    if (keeper->store_clients[HF_LANE_SIGNING] != NULL) { /* that was a look at its health */
        protector->next_health_ns = now + HEALTH_INTERVAL_NS;
    }
    if (hf_failed(st)) {
        hf_meter_add(&keeper->meter.now.store_failures, 1);
        hf_protector_refuse(keeper, list, HF_REASON_STORE_UNAVAILABLE);
        return false;
    }
    hf_pulse_to_disk();
    bool is_witnessed = hf_guard_note(keeper);
    hf_pulse_from_disk();
    if (!is_witnessed) { /* before any signature is made: the witness knows of it */
        hf_protector_refuse(keeper, list, HF_REASON_START_GUARD);
        return true;
    }
    release_batch(keeper, list, hf_protector_has_tokens(keeper, list));
    return true;
}

/* True: the store was asked, and said how far its records have come. */
static bool decide_batch(hf_keeper *keeper, hf_request *list, size_t n)
{
    hf_protector *protector = &keeper->protector;
    hf_error err = {.code = HF_OK};
    hf_pulse_to_disk();
    bool is_open = is_guarded(keeper, list);
    hf_pulse_from_disk();
    if (!is_open) {
        bool is_pending = keeper->guard.report.state == HF_GUARD_PENDING;
        hf_protector_refuse(keeper, list,
                            is_pending ? HF_REASON_STORE_UNAVAILABLE : HF_REASON_START_GUARD);
        return false;
    }
    hf_protector_prepare(keeper, list, protector->messages);
    uint64_t start = hf_time_mono_ns();
    hf_pulse_to_disk();
    hf_status st = protector->store->ops->decide(protector->store, protector->messages, n,
                                                 protector->verdicts, &err);
    hf_pulse_from_disk();
    return hf_protector_finish(keeper, list, n, start, st, &err);
}

/* Takes out of the list what has waited too long; returns how many remain. */
static size_t drop_stale(hf_keeper *keeper, hf_request **list)
{
    uint64_t now = hf_time_mono_ns();
    uint64_t after = stale_after_ns(keeper);
    hf_reason reason = after == STALE_AFTER_NS ? HF_REASON_TIMEOUT : HF_REASON_STORE_UNAVAILABLE;
    size_t n = 0;
    for (hf_request **link = list; *link != NULL;) {
        hf_request *request = *link;
        if (now - request->admitted_ns < after) {
            link = &request->next;
            n++;
            continue;
        }
        *link = request->next;
        request->next = NULL;
        hf_protector_refuse(keeper, request, reason);
    }
    return n;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void look_at_health(hf_keeper *keeper)
{
    hf_protector *protector = &keeper->protector;
    uint64_t now = hf_time_mono_ns();
    if (now >= protector->next_health_ns) {
        if (keeper->store_clients[HF_LANE_SIGNING] != NULL && !protector->healthy) {
            /* Requests that come meanwhile have time left for a try of their own. */
            hf_store_client_limit(keeper->store_clients[HF_LANE_SIGNING],
                                  now + shared_budget_ns(keeper) / 2);
        }
        ask_health(keeper);
    }
}

/*
 * On an idle machine it takes as long to wake a core as to read a request: so this thread is awake
 * before the request is there. It gives way to whoever has work. Called and returns with the lock
 * held.
 */
static void stay_awake(hf_protector *protector)
{
    uint64_t until = hf_time_mono_ns() + AWAKE_NS;
    protector->is_expecting = false;
    (void)pthread_mutex_unlock(&protector->lock);
    while (atomic_load(&protector->count) == 0 && hf_time_mono_ns() < until) {
        (void)sched_yield();
    }
    (void)pthread_mutex_lock(&protector->lock);
}

static void wait_for_work(hf_keeper *keeper)
{
    hf_protector *protector = &keeper->protector;
    uint64_t until = protector->next_health_ns;
    if (!keeper->jobs.has_thread && hf_jobs_next_ns(keeper) < until) {
        until = hf_jobs_next_ns(keeper);
    }
    struct timespec when = {.tv_sec = (time_t)(until / HF_NS_PER_SECOND),
                            .tv_nsec = (long)(until % HF_NS_PER_SECOND)};
    bool is_looked_for = protector->looks.wanted > protector->looks.done;
    if (!protector->has_jobs && !protector->is_new_store && !is_looked_for) {
        (void)pthread_cond_timedwait(&protector->work, &protector->lock, &when);
    }
    if (protector->is_expecting && protector->head == NULL) {
        stay_awake(protector);
    }
}

hf_request *hf_protector_take_batch(hf_protector *protector)
{
    hf_request *list = protector->head;
    hf_request *last = list;
    size_t n = 1;
    while (last != NULL && last->next != NULL && n < HF_BATCH_MAX) {
        last = last->next;
        n++;
    }
    if (last != NULL) {
        protector->count -= n;
        protector->head = last->next;
        last->next = NULL;
    }
    return list;
}

/*
 * While the signers have recorded requests before them for milliseconds, a commit in a hurry would
 * gain nothing: let more requests come and share it. Called and returns with the lock held.
 */
static void gather(hf_keeper *keeper)
{
    hf_protector *protector = &keeper->protector;
    if (hf_flights_are_worth(keeper)) { /* the way there gives time enough */
        return;
    }
    for (int i = 0; i < GATHER_ROUNDS && protector->count < HF_BATCH_MAX / 2; i++) {
        if (protector->stop || protector->has_jobs || hf_signers_backlog(keeper) < BUSY_BACKLOG) {
            return;
        }
        (void)pthread_mutex_unlock(&protector->lock);
        hf_time_sleep_ns(GATHER_PAUSE_NS);
        (void)pthread_mutex_lock(&protector->lock);
    }
}

static void work_once(hf_keeper *keeper, hf_request *list)
{
    size_t n = drop_stale(keeper, &list);
    if (hf_flights_begin(keeper, list, n)) {
        return;
    }
    hf_flights_end_all(keeper);
    hf_request *others = hf_looks_split(&list, &n);
    bool is_seen = n > 0 && decide_batch(keeper, list, n);
    hf_looks_answer(keeper, others, is_seen);
    if (!keeper->jobs.has_thread) {
        hf_pulse_to_disk(); /* pruning, imports, records */
        hf_jobs_work_once(keeper);
        hf_pulse_from_disk();
    }
    look_at_health(keeper);
}

static void *protector_main(void *context)
{
    hf_keeper *keeper = context;
    hf_protector *protector = &keeper->protector;
    (void)pthread_setname_np(pthread_self(), "protector");
    hf_pulse_join("protector");
    (void)pthread_mutex_lock(&protector->lock);
    while (!protector->stop || protector->head != NULL || protector->has_jobs ||
           protector->flights.count > 0) {
        gather(keeper);
        hf_request *list = hf_flights_wait(keeper) ? hf_protector_take_batch(protector) : NULL;
        if (list == NULL && protector->flights.count == 0) {
            wait_for_work(keeper);
            list = hf_protector_take_batch(protector);
        }
        protector->has_jobs = false;
        protector->looks.taken = protector->looks.wanted;
        if (protector->is_new_store) {
            protector->is_new_store = false;
            protector->next_health_ns = 0;
        }
        (void)pthread_mutex_unlock(&protector->lock);
        work_once(keeper, list);
        bool more = !keeper->jobs.has_thread && hf_jobs_are_waiting(keeper);
        atomic_store(&protector->last_turn_ns, hf_time_mono_ns());
        hf_pulse_turn();
        (void)pthread_mutex_lock(&protector->lock);
        protector->has_jobs = protector->has_jobs || more;
    }
    (void)pthread_mutex_unlock(&protector->lock);
    return NULL;
}

void hf_protector_wake(hf_keeper *keeper, bool is_new_store)
{
    hf_protector *protector = &keeper->protector;
    (void)pthread_mutex_lock(&protector->lock);
    protector->has_jobs = protector->has_jobs || !is_new_store;
    protector->is_new_store = protector->is_new_store || is_new_store;
    (void)pthread_cond_signal(&protector->work);
    (void)pthread_mutex_unlock(&protector->lock);
}

hf_status hf_protector_init(hf_keeper *keeper, hf_store *take_store, hf_store *jobs_store)
{
    hf_protector *protector = &keeper->protector;
    pthread_condattr_t attr;
    protector->store = take_store;
    protector->healthy = keeper->store_clients[HF_LANE_SIGNING] == NULL;
    if (protector->healthy) {
        protector->is_looked_at = true;
    } else {
        hf_str_cut(protector->detail, sizeof protector->detail,
                   "the store process has not answered yet");
    }
    hf_meter_set(&keeper->meter.now.store_healthy, protector->healthy);
    atomic_store(&protector->last_turn_ns, hf_time_mono_ns());
    protector->next_health_ns = hf_time_mono_ns() + HEALTH_INTERVAL_NS;
    (void)pthread_mutex_init(&protector->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&protector->work, &attr);
    (void)pthread_cond_init(&protector->looks.settled, &attr);
    (void)pthread_condattr_destroy(&attr);
    if (protector->is_looked_at) { /* the store is open: decided before the first request comes */
        (void)hf_guard_is_open(keeper);
    }
    if (hf_failed(hf_jobs_init(keeper, jobs_store, jobs_store != take_store))) {
        return (hf_status){HF_NOMEM};
    }
    if (pthread_create(&protector->thread, NULL, protector_main, keeper) != 0) {
        return (hf_status){HF_NOMEM};
    }
    return hf_ok();
}

void hf_protector_stop(hf_keeper *keeper)
{
    hf_protector *protector = &keeper->protector;
    (void)pthread_mutex_lock(&protector->lock);
    protector->stop = true;
    (void)pthread_cond_signal(&protector->work);
    (void)pthread_mutex_unlock(&protector->lock);
    (void)pthread_join(protector->thread, NULL);
    if (!keeper->jobs.has_thread) {
        hf_auditor_anchor(keeper, protector->store, true);
    }
    protector->store->ops->close(protector->store);
}

void hf_protector_expect(hf_keeper *keeper)
{
    hf_protector *protector = &keeper->protector;
    (void)pthread_mutex_lock(&protector->lock);
    protector->is_expecting = true;
    (void)pthread_mutex_unlock(&protector->lock);
    (void)pthread_cond_signal(&protector->work);
}

void hf_protector_push(hf_keeper *keeper, hf_request *list)
{
    hf_protector *protector = &keeper->protector;
    if (list == NULL) {
        return;
    }
    hf_request *last = list;
    size_t n = 1;
    while (last->next != NULL) {
        last = last->next;
        n++;
    }
    (void)pthread_mutex_lock(&protector->lock);
    bool was_empty = protector->head == NULL;
    if (was_empty) {
        protector->head = list;
    } else {
        protector->tail->next = list;
    }
    protector->tail = last;
    protector->count += n;
    (void)pthread_mutex_unlock(&protector->lock);
    /* Not under the lock: on the same core the woken thread runs at once, and would wait for it. */
    if (was_empty) {
        (void)pthread_cond_signal(&protector->work);
    }
}
