/*
 * What the store has to do besides deciding: imports, pruning, watermarks, status. With SQLite,
 * which has one connection that writes, the protector's thread does it between its batches; with a
 * shared store a thread of its own, over a connection of its own, so that no signature waits for
 * it.
 */
#include "keeper/keeper_internal.h"

#define PRUNE_INTERVAL_NS (UINT64_C(600) * HF_NS_PER_SECOND)
#define PRUNE_STEP_PAUSE_NS (50 * HF_NS_PER_MS)
#define FIRST_PRUNE_AFTER_NS (UINT64_C(30) * HF_NS_PER_SECOND)
#define LOOK_INTERVAL_NS HF_NS_PER_SECOND

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

static void begin_import(hf_keeper *keeper, const hf_job *job)
{
    hf_store *store = keeper->jobs.store;
    hf_error err = {.code = HF_OK};
    store->ops->import_abort(store); /* one whose end failed: nobody else's is open */
    hf_status st = store->ops->import_begin(store, &err);
    if (hf_failed(st)) {
        atomic_store(&keeper->refused_session, job->session);
    }
    answer_job(keeper, job, st, 0, &err);
}

static void finish_import(hf_keeper *keeper, const hf_job *job)
{
    hf_store *store = keeper->jobs.store;
    hf_error err = {.code = HF_OK};
    hf_msg_import_report frame = {.reason = HF_REASON_OK};
    hf_status st = store->ops->import_commit(store, &frame.report, &err);
    hf_auditor_note(
        keeper, HF_AUDIT_RECORD_IMPORTED, &job->asker, hf_failed(st) ? "failed" : "done",
        "%llu validators, %llu blocks, %llu attestations, %llu conflicts",
        (unsigned long long)frame.report.validators, (unsigned long long)frame.report.blocks,
        (unsigned long long)frame.report.attestations, (unsigned long long)frame.report.conflicts);
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
    hf_store *store = keeper->jobs.store;
    hf_msg_store_status_reply frame = {.reason = HF_REASON_OK};
    if (hf_failed(store->ops->status(store, &frame.status, NULL))) {
        frame.reason = HF_REASON_STORE_UNAVAILABLE;
    }
    hf_guard_look(keeper, &frame.guard);
    hf_frame_init(&frame, HF_MSG_STORE_STATUS_REPLY, job->request_id);
    hf_peer_send(keeper, job->peer, &frame);
}

/* One step; true when the job is done. */
static bool prune_step(hf_keeper *keeper, hf_job *job)
{
    hf_store *store = keeper->jobs.store;
    hf_error err = {.code = HF_OK};
    hf_prune_report report = {0};
    hf_status st = store->ops->prune(store, job->keep_epochs,
                                     keeper->config.network.slots_per_epoch, &report, &err);
    job->pruned += report.rows_deleted;
    hf_meter_add(&keeper->meter.now.pruned_rows, report.rows_deleted);
    if (!hf_failed(st) && report.more) {
        return false;
    }
    if (job->peer != NULL) {
        hf_auditor_note(keeper, HF_AUDIT_RECORD_PRUNED, &job->asker,
                        hf_failed(st) ? "failed" : "done", "to %llu epochs: %llu records",
                        (unsigned long long)job->keep_epochs, (unsigned long long)job->pruned);
    }
    answer_job(keeper, job, st, job->pruned, &err);
    return true;
}

/* "floors raised to slot 5, epochs 1 and 2" */
static void note_watermark(hf_keeper *keeper, const hf_job *job, hf_status st, const char *what)
{
    const hf_watermark *mark = &job->watermark;
    char slot[40] = "";
    char epochs[64] = "";
    if (mark->has_slot) {
        (void)snprintf(slot, sizeof slot, " slot %llu", (unsigned long long)mark->slot);
    }
    if (mark->has_epochs) {
        (void)snprintf(epochs, sizeof epochs, " source epoch %llu, target epoch %llu",
                       (unsigned long long)mark->source, (unsigned long long)mark->target);
    }
    hf_auditor_note(keeper, HF_AUDIT_WATERMARK, &job->asker, hf_failed(st) ? "failed" : "done",
                    "%s:%s%s", what, slot, epochs);
}

static void raise_floors(hf_keeper *keeper, const hf_job *job)
{
    hf_store *store = keeper->jobs.store;
    hf_error err = {.code = HF_OK};
    hf_status st = store->ops->raise_floors(store, &job->watermark, &err);
    note_watermark(keeper, job, st, "floors");
    answer_job(keeper, job, st, 0, &err);
}

static void set_high(hf_keeper *keeper, const hf_job *job)
{
    hf_protector *protector = &keeper->protector;
    hf_error err = {.code = HF_OK};
    bool removes = !job->watermark.has_slot && !job->watermark.has_epochs;
    hf_store *store = keeper->jobs.store;
    hf_status st = store->ops->set_high(store, removes ? NULL : &job->watermark, &err);
    if (!hf_failed(st)) {
        (void)pthread_mutex_lock(&protector->lock);
        protector->high = job->watermark;
        (void)pthread_mutex_unlock(&protector->lock);
    }
    note_watermark(keeper, job, st, removes ? "high watermark removed" : "high watermark");
    answer_job(keeper, job, st, 0, &err);
}

/* True when the job is done. */
static bool run_job(hf_keeper *keeper, hf_job *job)
{
    hf_store *store = keeper->jobs.store;
    hf_error err = {.code = HF_OK};
    switch (job->kind) {
    case HF_JOB_IMPORT_BEGIN:
        begin_import(keeper, job);
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
        raise_floors(keeper, job);
        return true;
    case HF_JOB_SET_HIGH:
        set_high(keeper, job);
        return true;
    case HF_JOB_CALL:
        keeper->jobs.asker = job->asker;
        job->call(keeper, store, job->peer, job->frame_len != 0 ? job->messages : NULL);
        return true;
    }
    return true;
}

static void free_job(hf_keeper *keeper, hf_job *job)
{
    if (job->peer != NULL) {
        hf_peer_unref(keeper, job->peer);
    }
    hf_wipe(job->messages, job->frame_len);
    free(job);
}

/* ---- the queue ------------------------------------------------------------------------------- */

/* With the lock held. */
static void append_job(hf_jobs *jobs, hf_job *job)
{
    job->next = NULL;
    if (jobs->head == NULL) {
        jobs->head = job;
    } else {
        jobs->tail->next = job;
    }
    jobs->tail = job;
    jobs->count++;
}

static hf_job *take_job(hf_jobs *jobs)
{
    (void)pthread_mutex_lock(&jobs->lock);
    hf_job *job = jobs->head;
    if (job != NULL) {
        jobs->head = job->next;
        jobs->count--;
    }
    (void)pthread_mutex_unlock(&jobs->lock);
    return job;
}

bool hf_jobs_are_waiting(hf_keeper *keeper)
{
    hf_jobs *jobs = &keeper->jobs;
    (void)pthread_mutex_lock(&jobs->lock);
    bool waiting = jobs->head != NULL;
    (void)pthread_mutex_unlock(&jobs->lock);
    return waiting;
}

bool hf_jobs_push(hf_keeper *keeper, hf_job *take_job)
{
    hf_jobs *jobs = &keeper->jobs;
    if (take_job->peer != NULL) {
        hf_peer_ref(take_job->peer);
    }
    (void)pthread_mutex_lock(&jobs->lock);
    bool fits = jobs->count < HF_JOBS_MAX;
    if (fits) {
        append_job(jobs, take_job);
        (void)pthread_cond_signal(&jobs->work);
    }
    (void)pthread_mutex_unlock(&jobs->lock);
    if (!fits) {
        free_job(keeper, take_job);
    } else if (!jobs->has_thread) {
        hf_protector_wake(keeper, false);
    }
    return fits;
}

/* The job is to know who asks, and not how they proved it. */
static void copy_question(hf_job *job, const void *frame)
{
    if (frame == NULL) {
        return;
    }
    memcpy(job->messages, frame, job->frame_len);
    hf_caller *caller = hf_frame_caller(job->messages);
    if (caller != NULL) {
        hf_wipe(caller->token, sizeof caller->token);
    }
}

bool hf_jobs_call(hf_keeper *keeper, hf_job_call call, hf_peer *peer, const void *frame)
{
    const hf_frame_header *header = frame;
    size_t len = frame != NULL ? hf_frame_size(header->type) : 0;
    hf_job *job = calloc(1, sizeof *job + len);
    if (job != NULL) {
        job->kind = HF_JOB_CALL;
        job->peer = peer;
        job->call = call;
        job->asker = keeper->asker;
        job->frame_len = len;
        copy_question(job, frame);
        if (hf_jobs_push(keeper, job)) {
            return true;
        }
    }
    if (peer != NULL && header != NULL) {
        hf_peer_send_result(keeper, peer, header->request_id, HF_REASON_OVERLOADED, 0, "");
    }
    return false;
}

/* The high watermark may be set by another node, and is not known while the store is away. */
static void look_at_high(hf_keeper *keeper)
{
    hf_store_status status;
    hf_jobs *jobs = &keeper->jobs;
    if (jobs->knows_high || hf_failed(jobs->store->ops->status(jobs->store, &status, NULL))) {
        return;
    }
    jobs->knows_high = true;
    (void)pthread_mutex_lock(&keeper->protector.lock);
    keeper->protector.high = status.high;
    (void)pthread_mutex_unlock(&keeper->protector.lock);
}

void hf_jobs_look(hf_keeper *keeper)
{
    hf_jobs *jobs = &keeper->jobs;
    (void)pthread_mutex_lock(&jobs->lock);
    jobs->must_look = true;
    (void)pthread_cond_signal(&jobs->work);
    (void)pthread_mutex_unlock(&jobs->lock);
}

uint64_t hf_jobs_next_ns(const hf_keeper *keeper)
{
    return keeper->config.keep_epochs != 0 ? keeper->jobs.next_prune_ns : UINT64_MAX;
}

void hf_jobs_work_once(hf_keeper *keeper)
{
    hf_jobs *jobs = &keeper->jobs;
    hf_job *job = take_job(jobs);
    if (job != NULL && run_job(keeper, job)) {
        free_job(keeper, job);
    } else if (job != NULL) { /* a prune with steps to go: others get their turn in between */
        (void)pthread_mutex_lock(&jobs->lock);
        append_job(jobs, job);
        (void)pthread_mutex_unlock(&jobs->lock);
    }
    hf_tokens_look(keeper, jobs->store);
    hf_policies_look(keeper, jobs->store);
    hf_token_looks_tell(keeper);
    hf_auditor_anchor(keeper, jobs->store, false);
    uint64_t now = hf_time_mono_ns();
    if (now >= hf_jobs_next_ns(keeper)) {
        hf_job prune = {.kind = HF_JOB_PRUNE, .keep_epochs = keeper->config.keep_epochs};
        bool done = prune_step(keeper, &prune);
        jobs->next_prune_ns = now + (done ? PRUNE_INTERVAL_NS : PRUNE_STEP_PAUSE_NS);
    }
}

/* ---- a thread of its own --------------------------------------------------------------------- */

static void wait_for_work(hf_jobs *jobs, uint64_t until)
{
    struct timespec when = {.tv_sec = (time_t)(until / HF_NS_PER_SECOND),
                            .tv_nsec = (long)(until % HF_NS_PER_SECOND)};
    if (jobs->head == NULL && !jobs->stop && !jobs->must_look) {
        (void)pthread_cond_timedwait(&jobs->work, &jobs->lock, &when);
    }
    jobs->must_look = false;
}

static void *jobs_main(void *context)
{
    hf_keeper *keeper = context;
    hf_jobs *jobs = &keeper->jobs;
    (void)pthread_setname_np(pthread_self(), "jobs");
    (void)pthread_mutex_lock(&jobs->lock);
    while (!jobs->stop || jobs->head != NULL) {
        uint64_t next = hf_jobs_next_ns(keeper);
        uint64_t look = hf_time_mono_ns() + LOOK_INTERVAL_NS;
        wait_for_work(jobs, next < look ? next : look);
        (void)pthread_mutex_unlock(&jobs->lock);
        hf_jobs_work_once(keeper);
        look_at_high(keeper);
        (void)pthread_mutex_lock(&jobs->lock);
    }
    (void)pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

hf_status hf_jobs_init(hf_keeper *keeper, hf_store *store, bool has_thread)
{
    hf_jobs *jobs = &keeper->jobs;
    pthread_condattr_t attr;
    jobs->store = store;
    jobs->has_thread = has_thread;
    jobs->next_prune_ns = hf_time_mono_ns() + FIRST_PRUNE_AFTER_NS;
    (void)pthread_mutex_init(&jobs->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&jobs->work, &attr);
    (void)pthread_condattr_destroy(&attr);
    if (!has_thread) {
        look_at_high(keeper);
        hf_tokens_look(keeper, store);
        hf_policies_look(keeper, store);
        return hf_ok();
    }
    if (pthread_create(&jobs->thread, NULL, jobs_main, keeper) != 0) {
        return (hf_status){HF_NOMEM};
    }
    return hf_ok();
}

void hf_jobs_stop(hf_keeper *keeper)
{
    hf_jobs *jobs = &keeper->jobs;
    if (!jobs->has_thread) {
        return; /* the store is the protector's */
    }
    (void)pthread_mutex_lock(&jobs->lock);
    jobs->stop = true;
    (void)pthread_cond_signal(&jobs->work);
    (void)pthread_mutex_unlock(&jobs->lock);
    (void)pthread_join(jobs->thread, NULL);
    hf_auditor_anchor(keeper, jobs->store, true);
    jobs->store->ops->close(jobs->store);
}
