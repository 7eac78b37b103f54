/* The start guard's room in the keeper: evidence in, floors raised, witnesses kept. */
#include "keeper/keeper_internal.h"

#include <sys/stat.h>

#define RETRY_NS HF_NS_PER_SECOND

static bool is_shared(const hf_keeper *keeper)
{
    return keeper->config.store_backend != HF_STORE_SQLITE;
}

/* ---- what there is to see at the start ------------------------------------------------------ */

static bool look_at_file(const hf_keeper *keeper, hf_witness *witness)
{
    struct stat info;
    if (is_shared(keeper) || stat(keeper->config.store_path, &info) != 0) {
        return false;
    }
    witness->device = info.st_dev;
    witness->inode = info.st_ino;
    witness->file_stamp =
        (uint64_t)info.st_mtim.tv_sec * HF_NS_PER_SECOND + (uint64_t)info.st_mtim.tv_nsec;
    return true;
}

static bool has_log(const hf_keeper *keeper)
{
    char path[HF_PATH_LEN + sizeof "-wal"];
    struct stat info;
    return !is_shared(keeper) &&
           !hf_failed(hf_str_format(path, sizeof path, "%s-wal", keeper->config.store_path)) &&
           stat(path, &info) == 0 && info.st_size > 0;
}

static void publish(hf_guard *guard, hf_guard_state state, hf_guard_cause cause,
                    const hf_watermark *floors)
{
    static const hf_watermark none = {0};
    (void)pthread_mutex_lock(&guard->lock);
    guard->report.state = state;
    guard->report.cause = cause;
    guard->report.floors = floors != NULL ? *floors : none;
    (void)pthread_mutex_unlock(&guard->lock);
}

void hf_guard_look(hf_keeper *keeper, hf_guard_report *ret_report)
{
    (void)pthread_mutex_lock(&keeper->guard.lock);
    *ret_report = keeper->guard.report;
    (void)pthread_mutex_unlock(&keeper->guard.lock);
}

hf_status hf_guard_open(hf_keeper *keeper, hf_error *err)
{
    hf_guard *guard = &keeper->guard;
    hf_guard_evidence *evidence = &guard->evidence;
    int memory_fd = keeper->config.has_witness ? HF_FD_WITNESS : -1;
    (void)pthread_mutex_init(&guard->lock, NULL);
    guard->report = (hf_guard_report){.mode = keeper->config.guard_mode};
    hf_status st = hf_witnesses_open(&guard->witnesses, keeper->config.data_dir, memory_fd, err);
    if (hf_failed(st)) {
        return st;
    }
    evidence->mode = (hf_guard_mode)keeper->config.guard_mode;
    evidence->here.backend = keeper->config.store_backend;
    memcpy(evidence->here.boot_id, keeper->config.boot_id, HF_BOOT_ID_BYTES);
    (void)look_at_file(keeper, &evidence->here);
    evidence->has_log = has_log(keeper);
    evidence->disk_state = hf_witness_read_disk(&guard->witnesses, &evidence->disk);
    evidence->memory_state = hf_witness_read_memory(&guard->witnesses, &evidence->memory);
    guard->report.has_memory_witness = guard->witnesses.memory != NULL;
    keeper->store_config.copying_ms = hf_witness_copying(&guard->witnesses);
    if (keeper->store_config.copying_ms != NULL) {
        evidence->copying_ms = atomic_load(keeper->store_config.copying_ms);
    }
    return hf_ok();
}

/* ---- the decision --------------------------------------------------------------------------- */

static void announce(hf_keeper *keeper, const hf_guard_verdict *verdict, uint32_t state_before,
                     uint32_t cause_before)
{
    const char *why = hf_guard_cause_sentence(verdict->cause);
    if (verdict->state == state_before && verdict->cause == cause_before) {
        return;
    }
    if (verdict->state == HF_GUARD_RAISED) {
        hf_auditor_note(keeper, HF_AUDIT_GUARD, NULL, "done",
                        "floors raised to slot %llu and epoch %llu: %s",
                        (unsigned long long)verdict->floors.slot,
                        (unsigned long long)verdict->floors.target, why);
    } else {
        hf_auditor_note(keeper, HF_AUDIT_GUARD, NULL,
                        verdict->state == HF_GUARD_REFUSED ? "refused" : "done", "%s", why);
    }
    if (verdict->cause == HF_GUARD_STORE_IS_BEHIND && keeper->config.auth_mode == HF_AUTH_TOKENS) {
        hf_log(HF_LOG_BROKEN, "records_went_back",
               "tokens and policies are those of the copy too: what was revoked since is valid"
               " again; look through holdfast token list");
    }
    if (verdict->state == HF_GUARD_REFUSED) {
        hf_log(HF_LOG_BROKEN, "start_guard", "nothing slashable is signed: %s", why);
    } else if (verdict->state == HF_GUARD_RAISED) {
        hf_log(HF_LOG_UNUSUAL, "start_guard",
               "nothing up to slot %llu and epoch %llu will be signed, at the cost of an epoch of"
               " duties at most: %s",
               (unsigned long long)verdict->floors.slot, (unsigned long long)verdict->floors.target,
               why);
    } else {
        hf_log(HF_LOG_INFO, "start_guard", "signing goes on from the record: %s", why);
    }
}

/* Makes the verdict true in the store, and then the witnesses say so. */
static hf_status apply(hf_keeper *keeper, const hf_guard_verdict *verdict, hf_error *err)
{
    hf_guard *guard = &keeper->guard;
    hf_store *store = keeper->protector.store;
    hf_store_mark *mark = &guard->evidence.store;
    hf_status st = hf_ok();
    if (verdict->state == HF_GUARD_RAISED || mark->is_virgin) {
        uint8_t lineage[HF_LINEAGE_BYTES];
        hf_random(lineage, sizeof lineage);
        st = store->ops->take_over(
            store, verdict->state == HF_GUARD_RAISED ? &verdict->floors : NULL, lineage, err);
        if (!hf_failed(st)) {
            st = store->ops->mark(store, mark, err);
        }
    }
    if (hf_failed(st)) {
        return st;
    }
    int64_t now_ms = hf_time_unix_ms();
    guard->now = guard->evidence.here;
    (void)look_at_file(keeper, &guard->now);
    memcpy(guard->now.lineage, mark->lineage, HF_LINEAGE_BYTES);
    guard->now.vote_id = mark->vote_id;
    guard->now.block_id = mark->block_id;
    guard->now.file_stamp = mark->file_stamp;
    guard->now.written_unix_s = now_ms > 0 ? (uint64_t)now_ms / 1000 : 0;
    return hf_witness_begin(&guard->witnesses, &guard->now, err);
}

static void settle(hf_keeper *keeper)
{
    hf_guard *guard = &keeper->guard;
    hf_store *store = keeper->protector.store;
    hf_error err = {.code = HF_OK};
    uint32_t state = guard->report.state;
    uint32_t cause = guard->report.cause;
    if (hf_failed(store->ops->mark(store, &guard->evidence.store, &err))) {
        return;
    }
    guard->evidence.now_unix_ms = hf_time_unix_ms();
    hf_guard_verdict verdict = hf_guard_judge(&guard->evidence, &keeper->config.network);
    if (verdict.state != HF_GUARD_REFUSED && hf_failed(apply(keeper, &verdict, &err))) {
        hf_log(HF_LOG_BROKEN, "start_guard", "nothing slashable is signed yet: %s", err.msg);
        return;
    }
    announce(keeper, &verdict, state, cause);
    publish(guard, verdict.state, verdict.cause, &verdict.floors);
}

bool hf_guard_is_open(hf_keeper *keeper)
{
    hf_guard *guard = &keeper->guard;
    uint32_t state = guard->report.state; /* this thread alone writes it */
    uint64_t now_ns = hf_time_mono_ns();
    if ((state == HF_GUARD_PENDING || state == HF_GUARD_REFUSED) && now_ns >= guard->next_try_ns) {
        guard->next_try_ns = now_ns + RETRY_NS;
        settle(keeper);
        state = guard->report.state;
        if (state == HF_GUARD_PENDING) {
            guard->next_try_ns = 0; /* the store could not be reached, which limits itself */
        }
    }
    return state == HF_GUARD_PASSED || state == HF_GUARD_RAISED;
}

/* ---- while signing -------------------------------------------------------------------------- */

static void stop(hf_keeper *keeper, const hf_store_mark *mark, bool is_other)
{
    hf_guard *guard = &keeper->guard;
    publish(guard, HF_GUARD_STOPPED, HF_GUARD_WENT_BACK_RUNNING, NULL);
    hf_auditor_note(keeper, HF_AUDIT_GUARD, NULL, "refused", "%s",
                    hf_guard_cause_sentence(HF_GUARD_WENT_BACK_RUNNING));
    hf_log(HF_LOG_BROKEN, "start_guard",
           "nothing slashable is signed until a restart: the store lost records while in use"
           " (%llu votes and %llu blocks were counted, now %llu and %llu%s)",
           (unsigned long long)guard->now.vote_id, (unsigned long long)guard->now.block_id,
           (unsigned long long)mark->vote_id, (unsigned long long)mark->block_id,
           is_other ? "; and it is another store" : "");
}

/* A shared store that has just been taught to count is the same one. */
static bool has_begun_to_count(const hf_keeper *keeper, const hf_store_mark *mark)
{
    static const uint8_t unknown[HF_LINEAGE_BYTES];
    return is_shared(keeper) && mark->is_counted &&
           hf_bytes_equal(keeper->guard.now.lineage, unknown, HF_LINEAGE_BYTES);
}

bool hf_guard_note(hf_keeper *keeper)
{
    hf_guard *guard = &keeper->guard;
    hf_store *store = keeper->protector.store;
    hf_store_mark mark;
    if (guard->report.state != HF_GUARD_PASSED && guard->report.state != HF_GUARD_RAISED) {
        return false;
    }
    if (hf_failed(store->ops->mark(store, &mark, NULL))) {
        return false;
    }
    if (has_begun_to_count(keeper, &mark)) {
        memcpy(guard->now.lineage, mark.lineage, HF_LINEAGE_BYTES);
        if (hf_failed(hf_witness_begin(&guard->witnesses, &guard->now, NULL))) {
            return false;
        }
    }
    bool is_other = !hf_bytes_equal(mark.lineage, guard->now.lineage, HF_LINEAGE_BYTES);
    if (is_other || mark.vote_id < guard->now.vote_id || mark.block_id < guard->now.block_id) {
        stop(keeper, &mark, is_other);
        return false;
    }
    guard->now.vote_id = mark.vote_id;
    guard->now.block_id = mark.block_id;
    guard->now.file_stamp = mark.file_stamp;
    hf_witness_advance(&guard->witnesses, &mark);
    return true;
}

static void write_disk(hf_guard *guard, bool is_last)
{
    hf_error err = {.code = HF_OK};
    int64_t now_ms = hf_time_unix_ms();
    guard->now.written_unix_s = now_ms > 0 ? (uint64_t)now_ms / 1000 : 0;
    if (hf_failed(hf_witness_write_disk(&guard->witnesses, &guard->now, is_last, &err))) {
        /* It only lags: the one in memory counts as well. */
        hf_log(HF_LOG_UNUSUAL, "start_guard", "%s", err.msg);
    }
}

void hf_guard_tick(hf_keeper *keeper)
{
    hf_guard *guard = &keeper->guard;
    const hf_witness *on_disk = &guard->witnesses.on_disk;
    if ((guard->report.state == HF_GUARD_PASSED || guard->report.state == HF_GUARD_RAISED) &&
        (on_disk->vote_id != guard->now.vote_id || on_disk->block_id != guard->now.block_id)) {
        write_disk(guard, false);
    }
}

void hf_guard_close(hf_keeper *keeper)
{
    hf_guard *guard = &keeper->guard;
    if (guard->report.state == HF_GUARD_PASSED || guard->report.state == HF_GUARD_RAISED) {
        (void)look_at_file(keeper, &guard->now);
        const hf_store_mark mark = {.vote_id = guard->now.vote_id,
                                    .block_id = guard->now.block_id,
                                    .file_stamp = guard->now.file_stamp};
        write_disk(guard, true);
        hf_witness_advance(&guard->witnesses, &mark);
    }
    hf_witnesses_close(&guard->witnesses);
    (void)pthread_mutex_destroy(&guard->lock);
}
