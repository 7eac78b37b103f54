/*
 * The work itself: one forked child a file, as many at a time as there are cores and memory. A
 * child parses and decrypts, hands the key straight to the keeper and is gone, and its memory with
 * it. It may die of its file without harm to the others.
 */
#include "loader_internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS_MAX 256
#define FILE_SECONDS_DEFAULT 180
/* How long the keeper may leave us without room or without an answer. */
#define KEEPER_TIMEOUT_MS 60000
#define SEND_PAUSE_NS 1000000
/* Progress: not more often than this, and then only after a twentieth more or this long a pause. */
#define PROGRESS_LEAST_NS UINT64_C(2000000000)
#define PROGRESS_MOST_NS UINT64_C(30000000000)
#define PROGRESS_STEPS 20

/* Numbers that nothing else ends with by chance: a library's exit(1) is no report to the keeper. */
enum { EXIT_LOADED = 40, EXIT_FAILED = 41, EXIT_KEEPER_GONE = 42 };

/* ---- frames -------------------------------------------------------------------------------- */

static hf_status wait_for_answer(void)
{
    struct pollfd keeper = {.fd = HF_FD_KEEPER, .events = POLLIN};
    int n;
    do {
        n = poll(&keeper, 1, KEEPER_TIMEOUT_MS);
    } while (n < 0 && errno == EINTR);
    return (hf_status){n == 1 ? HF_OK : HF_UNAVAILABLE};
}

hf_status hf_loader_send(const void *frame)
{
    const struct timespec pause = {0, SEND_PAUSE_NS};
    uint64_t until_ns = hf_time_mono_ns() + KEEPER_TIMEOUT_MS * UINT64_C(1000000);
    for (;;) {
        hf_status st = hf_frame_send(HF_FD_KEEPER, frame);
        if (st.code != HF_UNAVAILABLE || hf_time_mono_ns() > until_ns) {
            return st;
        }
        /* poll wants room for a descriptor, which a worker has given up by now. */
        (void)nanosleep(&pause, NULL);
    }
}

hf_status hf_loader_receive(hf_channel channel, hf_msg_type type, uint64_t request_id,
                            void *ret_frame)
{
    static uint8_t buf[HF_IPC_MAX_BYTES];
    hf_frame_header header;
    size_t len = 0;
    hf_status st = {HF_UNAVAILABLE};
    while (st.code == HF_UNAVAILABLE) {
        st = wait_for_answer();
        if (hf_failed(st)) {
            return st;
        }
        st = hf_frame_recv(HF_FD_KEEPER, buf, &len, NULL);
    }
    if (hf_failed(st)) {
        return st;
    }
    memcpy(&header, buf, sizeof header);
    if (!hf_frame_is_acceptable(buf, len, channel, false) || header.type != type ||
        header.request_id != request_id) {
        return (hf_status){HF_INVALID_INPUT};
    }
    memcpy(ret_frame, buf, len);
    return hf_ok();
}

hf_status hf_loader_send_failure(const uint8_t source_id[HF_SOURCE_ID_LEN], const char *name,
                                 const char *detail)
{
    hf_msg_key_failed frame;
    memset(&frame, 0, sizeof frame);
    hf_frame_init(&frame, HF_MSG_KEY_FAILED, 0);
    memcpy(frame.source_id, source_id, HF_SOURCE_ID_LEN);
    hf_str_sanitize(frame.name, sizeof frame.name, name);
    hf_str_sanitize(frame.detail, sizeof frame.detail, detail);
    return hf_loader_send(&frame);
}

hf_status hf_loader_send_key(const hf_key_file *file, const hf_opened_key *key)
{
    hf_msg_key frame;
    memset(&frame, 0, sizeof frame);
    hf_frame_init(&frame, HF_MSG_KEY, 1);
    memcpy(frame.source_id, file->source_id, HF_SOURCE_ID_LEN);
    frame.stamp = file->stamp;
    frame.backend = file->backend;
    frame.source = file->source;
    frame.key_type = key->type;
    memcpy(frame.secret, key->secret, sizeof frame.secret);
    hf_status st = hf_loader_send(&frame);
    hf_wipe(&frame, sizeof frame);
    return st;
}

/* The name of a file below its source's folder, with the number of the document where it counts. */
static hf_status report_failure(const hf_key_file *file, const char *detail)
{
    char name[sizeof((hf_msg_key_failed *)NULL)->name];
    const char *path = file->path + file->name_at;
    if (file->document == 0) {
        return hf_loader_send_failure(file->source_id, path, detail);
    }
    (void)snprintf(name, sizeof name, "%.200s, document %u", path, file->document + 1);
    return hf_loader_send_failure(file->source_id, name, detail);
}

/* ---- the child ----------------------------------------------------------------------------- */

unsigned hf_loader_file_seconds(const hf_loader *loader)
{
    uint32_t configured = loader->config.file_timeout_seconds;
    return configured == 0 ? FILE_SECONDS_DEFAULT : configured;
}

void hf_loader_limit_time(unsigned seconds)
{
    /* No process without privileges raises its hard limit again. */
    const struct rlimit limit = {seconds, (rlim_t)seconds + 1};
    (void)setrlimit(RLIMIT_CPU, &limit);
}

/* From here on this process gets no descriptor any more: what parses a file opens no other. */
static hf_status shut_files(hf_error *err)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_NOFILE, &none) != 0) {
        return hf_fail(err, HF_INTERNAL, "the worker could not give up its files: %s",
                       strerror(errno));
    }
    return hf_ok();
}

static hf_status open_key(const hf_key_file *file, hf_opened_key *ret_key, hf_error *err)
{
    /* A file that changed since the survey may not take more than was set aside for it. */
    const hf_keystore_limits limits = {file->kdf_memory_bytes};
    hf_key_material material = {.yaml = NULL};
    hf_status st = hf_custody_read(file, &material, err);
    if (!hf_failed(st)) {
        st = shut_files(err);
    }
    if (!hf_failed(st)) {
        st = hf_custody_decrypt(file, &material, &limits, ret_key, err);
    }
    hf_key_material_done(&material);
    return st;
}

static _Noreturn void run_worker(const hf_loader *loader, const hf_key_file *file, pid_t parent)
{
    hf_error err = {HF_OK, ""};
    hf_opened_key key = {.type = HF_KEY_TYPE_BLS};
    hf_loader_limit_time(hf_loader_file_seconds(loader));
    hf_status st = hf_harden_die_with_parent(parent, &err);
    if (hf_failed(st)) {
        _exit(EXIT_KEEPER_GONE);
    }
    bool is_open = !hf_failed(open_key(file, &key, &err));
    st = is_open ? hf_loader_send_key(file, &key) : report_failure(file, err.msg);
    hf_wipe(&key, sizeof key);
    if (hf_failed(st)) {
        _exit(EXIT_KEEPER_GONE);
    }
    _exit(is_open ? EXIT_LOADED : EXIT_FAILED);
}

/* ---- the pool ------------------------------------------------------------------------------ */

typedef struct worker {
    pid_t pid; /* 0: free */
    const hf_key_file *file;
} worker;

typedef struct pool {
    hf_loader *loader;
    worker workers[WORKERS_MAX];
    unsigned limit;
    unsigned active;
    size_t next; /* place in todo */
    size_t done;
    uint64_t started_ns;
    uint64_t logged_ns;
    size_t logged_done;
} pool;

static void log_progress(pool *p)
{
    uint64_t now = hf_time_mono_ns();
    size_t total = p->loader->todo_count;
    uint64_t since = now - p->logged_ns;
    if (since < PROGRESS_LEAST_NS || p->done == total ||
        (since < PROGRESS_MOST_NS && p->done - p->logged_done < total / PROGRESS_STEPS)) {
        return;
    }
    uint64_t left_s =
        (now - p->started_ns) / p->done * (total - p->done) / UINT64_C(1000000000) + 1;
    p->logged_ns = now;
    p->logged_done = p->done;
    hf_log(HF_LOG_INFO, "keys_loading", "%zu of %zu key files, %u failed, about %llu %s left",
           p->done, total, p->loader->failed,
           (unsigned long long)(left_s < 120 ? left_s : left_s / 60), left_s < 120 ? "s" : "min");
}

static void count_done(pool *p, bool is_failed)
{
    p->done++;
    p->loader->failed += is_failed;
    log_progress(p);
}

static hf_status refuse_memory(pool *p, const hf_key_file *file)
{
    char detail[HF_DETAIL_LEN];
    (void)snprintf(detail, sizeof detail,
                   "its key derivation needs %llu MiB, and all together may use %llu MiB",
                   (unsigned long long)(file->kdf_memory_bytes >> 20),
                   (unsigned long long)(p->loader->budget.total_bytes >> 20));
    hf_status st = report_failure(file, detail);
    count_done(p, true);
    return st;
}

static worker *free_place(pool *p)
{
    for (unsigned i = 0; i < p->limit; i++) {
        if (p->workers[i].pid == 0) {
            return &p->workers[i];
        }
    }
    return NULL;
}

/* Starts a worker for the next file. UNAVAILABLE: not before another has ended. */
static hf_status start_next(pool *p)
{
    hf_loader *loader = p->loader;
    const hf_key_file *file = &loader->files.files[loader->todo[p->next]];
    worker *place = free_place(p);
    if (file->kdf_memory_bytes > loader->budget.total_bytes) {
        p->next++;
        return refuse_memory(p, file);
    }
    if (place == NULL || !hf_memory_budget_take(&loader->budget, file->kdf_memory_bytes)) {
        return (hf_status){HF_UNAVAILABLE};
    }
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        run_worker(loader, file, parent);
    }
    if (child < 0) {
        hf_memory_budget_give(&loader->budget, file->kdf_memory_bytes);
        if (p->active > 0) {
            return (hf_status){HF_UNAVAILABLE};
        }
        p->next++;
        hf_status st = report_failure(file, "no process could be started for it");
        count_done(p, true);
        return st;
    }
    *place = (worker){child, file};
    p->active++;
    p->next++;
    return hf_ok();
}

static hf_status report_death(const pool *p, const hf_key_file *file, int signal_number)
{
    char detail[HF_DETAIL_LEN];
    if (signal_number == SIGXCPU) {
        (void)snprintf(detail, sizeof detail, "not open after %u s of processor time",
                       hf_loader_file_seconds(p->loader));
    } else {
        (void)snprintf(detail, sizeof detail, "the loader's worker died (signal %d)",
                       signal_number);
    }
    return report_failure(file, detail);
}

static hf_status settle(pool *p, worker *w, int status)
{
    hf_status st = hf_ok();
    const hf_key_file *file = w->file;
    hf_memory_budget_give(&p->loader->budget, file->kdf_memory_bytes);
    *w = (worker){0, NULL};
    p->active--;
    if (WIFSIGNALED(status)) {
        st = report_death(p, file, WTERMSIG(status));
    } else if (WEXITSTATUS(status) == EXIT_KEEPER_GONE) {
        st = (hf_status){HF_NOT_FOUND};
    } else if (WEXITSTATUS(status) != EXIT_LOADED && WEXITSTATUS(status) != EXIT_FAILED) {
        st = report_failure(file, "the loader's worker ended for no known reason");
    }
    count_done(p, !WIFEXITED(status) || WEXITSTATUS(status) != EXIT_LOADED);
    return st;
}

static hf_status wait_for_one(pool *p)
{
    int status = 0;
    pid_t child;
    do {
        child = waitpid(-1, &status, 0);
    } while (child < 0 && errno == EINTR);
    for (unsigned i = 0; i < p->limit; i++) {
        if (child > 0 && p->workers[i].pid == child) {
            return settle(p, &p->workers[i], status);
        }
    }
    return (hf_status){HF_INTERNAL};
}

hf_status hf_loader_work(hf_loader *loader, hf_error *err)
{
    static pool p;
    hf_status st = hf_ok();
    p = (pool){.loader = loader, .limit = loader->workers};
    p.started_ns = hf_time_mono_ns();
    p.logged_ns = p.started_ns;
    if (p.limit > WORKERS_MAX) {
        p.limit = WORKERS_MAX;
    }
    while (!hf_failed(st) && (p.next < loader->todo_count || p.active > 0)) {
        hf_status started = {HF_UNAVAILABLE};
        if (p.next < loader->todo_count) {
            started = start_next(&p);
        }
        st = started.code == HF_UNAVAILABLE ? wait_for_one(&p) : started;
    }
    /* Workers that still run die with this process. */
    return hf_failed(st) ? hf_fail(err, st.code, "the keeper is gone or does not answer") : st;
}
