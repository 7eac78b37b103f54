/*
 * The one thread that talks to the store. It takes every request that waits at that moment, decides
 * all of them in one transaction, and only then lets the allowed ones through to the signers (I1).
 * When the store fails, all of them are refused (I4).
 */
#include "keeper/keeper_internal.h"

#define HEALTH_INTERVAL_NS UINT64_C(1000000000)
/* A store that has been silent for so long cannot record, whatever it said before. */
#define SILENT_NS (UINT64_C(3) * HEALTH_INTERVAL_NS)
#define PRUNE_INTERVAL_NS (UINT64_C(600) * 1000000000)
#define PRUNE_STEP_PAUSE_NS UINT64_C(50000000)
#define FIRST_PRUNE_AFTER_NS (UINT64_C(30) * 1000000000)
/* A thread with so many signatures to make (3 ms) has more to do than a pause and a commit take. */
#define BUSY_BACKLOG 16
#define GATHER_PAUSE_NS (2 * HF_NS_PER_MS)
#define GATHER_ROUNDS 8
/* A request that waited longer than any client does is refused instead of recorded. */
#define STALE_AFTER_NS (UINT64_C(30) * 1000000000)

static void note_health(hf_keeper *keeper, hf_status st, const hf_error *err)
{
    hf_protector *protector = &keeper->protector;
    bool healthy = !hf_failed(st);
    (void)pthread_mutex_lock(&protector->lock);
    bool changed = protector->healthy != healthy;
    protector->healthy = healthy;
    hf_str_cut(protector->detail, sizeof protector->detail, healthy ? "" : err->msg);
    (void)pthread_mutex_unlock(&protector->lock);
    hf_meter_set(&keeper->meter.now.store_healthy, healthy);
    if (changed && healthy) {
        hf_log(HF_LOG_INFO, "store_healthy", "the slashing protection store records again");
    } else if (changed) {
        hf_log(HF_LOG_BROKEN, "store_unavailable", "nothing slashable is signed: %s", err->msg);
    }
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
    return healthy;
}

/* ---- deciding -------------------------------------------------------------------------------- */

static void refuse_list(hf_keeper *keeper, hf_request *list, hf_reason reason)
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
    bool nothing_waits = protector->head == NULL && protector->job_head == NULL;
    (void)pthread_mutex_unlock(&protector->lock);
    return nothing_waits;
}

/* Splits the decided batch into what may be signed and what is refused. */
static void release_batch(hf_keeper *keeper, hf_request *list)
{
    const hf_verdict *verdict = keeper->protector.verdicts;
    uint64_t now = hf_time_mono_ns();
    hf_request *allowed = NULL;
    hf_request **allowed_end = &allowed;
    for (hf_request *next; list != NULL; list = next, verdict++) {
        next = list->next;
        list->decided_ns = now;
        list->next = NULL;
        hf_meter_observe(&keeper->meter.now.duration[list->operation][HF_STAGE_DECIDE],
                         now - list->admitted_ns);
        if (hf_verdict_allows(*verdict)) {
            *allowed_end = list;
            allowed_end = &list->next;
        } else {
            refuse_list(keeper, list, hf_reason_from_verdict(*verdict));
        }
    }
    if (allowed == NULL) {
        return;
    }
    /* A lone request: this thread is awake already, and nothing waits for it. */
    if (allowed->next != NULL || !is_idle(keeper) || !hf_signers_sign_here(keeper, allowed)) {
        hf_signers_sign(keeper, allowed);
    }
}

static void decide_batch(hf_keeper *keeper, hf_request *list, size_t n)
{
    hf_protector *protector = &keeper->protector;
    hf_error err = {.code = HF_OK};
    size_t i = 0;
    for (hf_request *request = list; request != NULL; request = request->next) {
        protector->messages[i++] = request->message;
    }
    uint64_t start = hf_time_mono_ns();
    hf_status st = protector->store->ops->decide(protector->store, protector->messages, n,
                                                 protector->verdicts, &err);
    hf_meter_observe(&keeper->meter.now.store_commit, hf_time_mono_ns() - start);
    hf_meter_observe_batch(&keeper->meter, n);
    note_health(keeper, st, &err);
    if (hf_failed(st)) {
        hf_meter_add(&keeper->meter.now.store_failures, 1);
        refuse_list(keeper, list, HF_REASON_STORE_UNAVAILABLE);
        return;
    }
    release_batch(keeper, list);
}

/* Takes out of the list what has waited too long; returns how many remain. */
static size_t drop_stale(hf_keeper *keeper, hf_request **list)
{
    uint64_t now = hf_time_mono_ns();
    size_t n = 0;
    for (hf_request **link = list; *link != NULL;) {
        hf_request *request = *link;
        if (now - request->admitted_ns < STALE_AFTER_NS) {
            link = &request->next;
            n++;
            continue;
        }
        *link = request->next;
        request->next = NULL;
        refuse_list(keeper, request, HF_REASON_TIMEOUT);
    }
    return n;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void answer_job(hf_keeper *keeper, const hf_job *job, hf_status st, uint64_t value,
                       const hf_error *err)
{
    hf_reason reason = HF_REASON_OK;
    if (st.code == HF_CONFLICT) {
        reason = HF_REASON_BUSY;
    } else if (st.code == HF_INVALID_INPUT || st.code == HF_LIMIT) {
        reason = HF_REASON_MALFORMED;
    } else if (hf_failed(st)) {
        reason = HF_REASON_STORE_UNAVAILABLE;
    }
    if (job->peer != NULL) {
        hf_peer_send_result(keeper, job->peer, job->request_id, reason, value,
                            hf_failed(st) ? err->msg : "");
    }
}

static void finish_import(hf_keeper *keeper, const hf_job *job)
{
    hf_store *store = keeper->protector.store;
    hf_error err = {.code = HF_OK};
    hf_msg_import_report frame = {.reason = HF_REASON_OK};
    hf_status st = store->ops->import_commit(store, &frame.report, &err);
    if (hf_failed(st)) {
        frame.reason = HF_REASON_STORE_UNAVAILABLE;
        hf_str_cut(frame.detail, sizeof frame.detail, err.msg);
    } else {
        hf_log(HF_LOG_INFO, "slashing_imported",
               "%llu validators, %llu blocks, %llu attestations, %llu conflicts",
               (unsigned long long)frame.report.validators, (unsigned long long)frame.report.blocks,
               (unsigned long long)frame.report.attestations,
               (unsigned long long)frame.report.conflicts);
    }
    if (job->peer != NULL) {
        hf_frame_init(&frame, HF_MSG_IMPORT_REPORT, job->request_id);
        hf_peer_send(keeper, job->peer, &frame);
    }
}

static void answer_store_status(hf_keeper *keeper, const hf_job *job)
{
    hf_store *store = keeper->protector.store;
    hf_msg_store_status_reply frame = {.reason = HF_REASON_OK};
    if (hf_failed(store->ops->status(store, &frame.status, NULL))) {
        frame.reason = HF_REASON_STORE_UNAVAILABLE;
    }
    hf_frame_init(&frame, HF_MSG_STORE_STATUS_REPLY, job->request_id);
    hf_peer_send(keeper, job->peer, &frame);
}

/* One step; true when the job is done. */
static bool prune_step(hf_keeper *keeper, hf_job *job)
{
    hf_store *store = keeper->protector.store;
    hf_error err = {.code = HF_OK};
    hf_prune_report report = {0};
    hf_status st = store->ops->prune(store, job->keep_epochs,
                                     keeper->config.network.slots_per_epoch, &report, &err);
    job->pruned += report.rows_deleted;
    hf_meter_add(&keeper->meter.now.pruned_rows, report.rows_deleted);
    if (!hf_failed(st) && report.more) {
        return false;
    }
    answer_job(keeper, job, st, job->pruned, &err);
    return true;
}

static void set_high(hf_keeper *keeper, const hf_job *job)
{
    hf_protector *protector = &keeper->protector;
    hf_error err = {.code = HF_OK};
    bool removes = !job->watermark.has_slot && !job->watermark.has_epochs;
    hf_status st =
        protector->store->ops->set_high(protector->store, removes ? NULL : &job->watermark, &err);
    if (!hf_failed(st)) {
        (void)pthread_mutex_lock(&protector->lock);
        protector->high = job->watermark;
        (void)pthread_mutex_unlock(&protector->lock);
    }
    answer_job(keeper, job, st, 0, &err);
}

/* True when the job is done. */
static bool run_job(hf_keeper *keeper, hf_job *job)
{
    hf_store *store = keeper->protector.store;
    hf_error err = {.code = HF_OK};
    switch (job->kind) {
    case HF_JOB_IMPORT_BEGIN:
        answer_job(keeper, job, store->ops->import_begin(store, &err), 0, &err);
        return true;
    case HF_JOB_IMPORT_ADD:
        answer_job(keeper, job, store->ops->import_add(store, job->messages, job->count, &err), 0,
                   &err);
        return true;
    case HF_JOB_IMPORT_COMMIT:
        finish_import(keeper, job);
        return true;
    case HF_JOB_IMPORT_ABORT:
        store->ops->import_abort(store);
        answer_job(keeper, job, hf_ok(), 0, &err);
        return true;
    case HF_JOB_PRUNE:
        return prune_step(keeper, job);
    case HF_JOB_STATUS:
        answer_store_status(keeper, job);
        return true;
    case HF_JOB_RAISE_FLOORS:
        answer_job(keeper, job, store->ops->raise_floors(store, &job->watermark, &err), 0, &err);
        return true;
    case HF_JOB_SET_HIGH:
        set_high(keeper, job);
        return true;
    }
    return true;
}

static void free_job(hf_keeper *keeper, hf_job *job)
{
    if (job->peer != NULL) {
        hf_peer_unref(keeper, job->peer);
    }
    free(job);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void append_job(hf_protector *protector, hf_job *job)
{
    job->next = NULL;
    if (protector->job_head == NULL) {
        protector->job_head = job;
    } else {
        protector->job_tail->next = job;
    }
    protector->job_tail = job;
}

static void housekeeping(hf_keeper *keeper, uint64_t now)
{
    hf_protector *protector = &keeper->protector;
    if (now >= protector->next_health_ns) {
        hf_error err = {.code = HF_OK};
        note_health(keeper, protector->store->ops->health(protector->store, &err), &err);
        protector->next_health_ns = now + HEALTH_INTERVAL_NS;
    }
    if (keeper->config.keep_epochs != 0 && now >= protector->next_prune_ns) {
        hf_job job = {.kind = HF_JOB_PRUNE, .keep_epochs = keeper->config.keep_epochs};
        bool done = prune_step(keeper, &job);
        protector->next_prune_ns = now + (done ? PRUNE_INTERVAL_NS : PRUNE_STEP_PAUSE_NS);
    }
}

static void wait_for_work(hf_protector *protector)
{
    uint64_t until = protector->next_health_ns < protector->next_prune_ns
                         ? protector->next_health_ns
                         : protector->next_prune_ns;
    struct timespec when = {.tv_sec = (time_t)(until / 1000000000),
                            .tv_nsec = (long)(until % 1000000000)};
    (void)pthread_cond_timedwait(&protector->work, &protector->lock, &when);
}

/* At most HF_BATCH_MAX; with the lock held. */
static hf_request *take_batch(hf_protector *protector)
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
    for (int i = 0; i < GATHER_ROUNDS && protector->count < HF_BATCH_MAX / 2; i++) {
        if (protector->stop || protector->job_head != NULL ||
            hf_signers_backlog(keeper) < BUSY_BACKLOG) {
            return;
        }
        (void)pthread_mutex_unlock(&protector->lock);
        hf_time_sleep_ns(GATHER_PAUSE_NS);
        (void)pthread_mutex_lock(&protector->lock);
    }
}

static hf_job *take_job(hf_protector *protector)
{
    hf_job *job = protector->job_head;
    if (job != NULL) {
        protector->job_head = job->next;
        protector->job_count--;
    }
    return job;
}

static void work_once(hf_keeper *keeper, hf_request *list, hf_job *job)
{
    hf_protector *protector = &keeper->protector;
    size_t n = drop_stale(keeper, &list);
    if (n > 0) {
        decide_batch(keeper, list, n);
    }
    if (job != NULL && run_job(keeper, job)) {
        free_job(keeper, job);
    } else if (job != NULL) { /* a prune with steps to go: signing gets its turn in between */
        (void)pthread_mutex_lock(&protector->lock);
        append_job(protector, job);
        protector->job_count++;
        (void)pthread_mutex_unlock(&protector->lock);
    }
    housekeeping(keeper, hf_time_mono_ns());
}

static void *protector_main(void *context)
{
    hf_keeper *keeper = context;
    hf_protector *protector = &keeper->protector;
    (void)pthread_setname_np(pthread_self(), "protector");
    (void)pthread_mutex_lock(&protector->lock);
    while (!protector->stop || protector->head != NULL || protector->job_head != NULL) {
        gather(keeper);
        hf_request *list = take_batch(protector);
        hf_job *job = take_job(protector);
        if (list == NULL && job == NULL) {
            wait_for_work(protector);
            list = take_batch(protector);
            job = take_job(protector);
        }
        (void)pthread_mutex_unlock(&protector->lock);
        work_once(keeper, list, job);
        atomic_store(&protector->last_turn_ns, hf_time_mono_ns());
        (void)pthread_mutex_lock(&protector->lock);
    }
    (void)pthread_mutex_unlock(&protector->lock);
    return NULL;
}

hf_status hf_protector_init(hf_keeper *keeper, hf_store *take_store)
{
    hf_protector *protector = &keeper->protector;
    hf_store_status status;
    pthread_condattr_t attr;
    protector->store = take_store;
    protector->healthy = true;
    hf_meter_set(&keeper->meter.now.store_healthy, 1);
    atomic_store(&protector->last_turn_ns, hf_time_mono_ns());
    protector->next_health_ns = hf_time_mono_ns() + HEALTH_INTERVAL_NS;
    protector->next_prune_ns = hf_time_mono_ns() + FIRST_PRUNE_AFTER_NS;
    if (!hf_failed(take_store->ops->status(take_store, &status, NULL))) {
        protector->high = status.high;
    }
    (void)pthread_mutex_init(&protector->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&protector->work, &attr);
    (void)pthread_condattr_destroy(&attr);
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
    protector->store->ops->close(protector->store);
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
    if (was_empty) {
        (void)pthread_cond_signal(&protector->work);
    }
    (void)pthread_mutex_unlock(&protector->lock);
}

bool hf_protector_push_job(hf_keeper *keeper, hf_job *take_job)
{
    hf_protector *protector = &keeper->protector;
    if (take_job->peer != NULL) {
        hf_peer_ref(take_job->peer);
    }
    (void)pthread_mutex_lock(&protector->lock);
    bool fits = protector->job_count < HF_JOBS_MAX;
    if (fits) {
        append_job(protector, take_job);
        protector->job_count++;
        (void)pthread_cond_signal(&protector->work);
    }
    (void)pthread_mutex_unlock(&protector->lock);
    if (!fits) {
        free_job(keeper, take_job);
    }
    return fits;
}
