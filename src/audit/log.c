/*
 * The writer. Lines go to the file by plain appending, which other programs may follow, move and
 * compress. Making an append durable is dear: the file grows, and the file system commits that. So
 * a strict log writes the same lines into a journal of fixed length, filled with zeros beforehand,
 * whose fdatasync costs what the disk costs; the file itself is synced when the journal has gone
 * round, and in quiet moments. After a crash the journal gives back what the file lost (mend.c).
 */
#include "audit/audit_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define GROUP_BYTES ((size_t)HF_AUDIT_GROUP_MAX * HF_AUDIT_LINE_MAX)
#define FILL_BYTES 65536

int64_t hf_audit_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

hf_status hf_audit_pwrite_all(int fd, const void *bytes, size_t len, uint64_t at)
{
    const uint8_t *p = bytes;
    while (len > 0) {
        ssize_t n = pwrite(fd, p, len, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno;
            return (hf_status){HF_IO};
        }
        p += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return hf_ok();
}

hf_status hf_audit_sync_folder(const char *path, hf_error *err)
{
    char folder[HF_AUDIT_NAME_LEN];
    hf_status st = hf_str_copy(folder, sizeof folder, path);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "%s: path too long", path);
    }
    char *slash = strrchr(folder, '/');
    HF_ASSERT(slash != NULL);
    slash[slash == folder ? 1 : 0] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        st = hf_fail(err, HF_IO, "%s: %s", folder, strerror(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return st;
}

/* ---- the journal ------------------------------------------------------------------------------
 */

static hf_status fill_journal(int fd)
{
    static const uint8_t zeros[FILL_BYTES];
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return (hf_status){HF_IO};
    }
    for (uint64_t at = (uint64_t)info.st_size; at < HF_AUDIT_JOURNAL_BYTES; at += FILL_BYTES) {
        at -= at % FILL_BYTES;
        hf_status st = hf_audit_pwrite_all(fd, zeros, FILL_BYTES, at);
        if (hf_failed(st)) {
            return st;
        }
    }
    return fsync(fd) == 0 ? hf_ok() : (hf_status){HF_IO};
}

hf_status hf_audit_open_journal(hf_audit_log *log, hf_error *err)
{
    char path[HF_AUDIT_NAME_LEN];
    hf_status st = hf_str_format(path, sizeof path, "%s.journal", log->config.path);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "audit.path: path too long");
    }
    log->journal_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log->journal_fd < 0 || hf_failed(fill_journal(log->journal_fd))) {
        return hf_fail(err, HF_IO, "%s: %s", path, strerror(errno));
    }
    return hf_audit_sync_folder(path, err);
}

/* The group is durable afterwards. A full round of the journal makes the file itself durable. */
static hf_status sync_group(hf_audit_log *log)
{
    if (log->journal_at + log->used > HF_AUDIT_JOURNAL_BYTES) {
        if (fdatasync(log->fd) != 0) {
            return (hf_status){HF_IO};
        }
        log->journal_at = 0;
        log->is_unsynced = false;
        return hf_ok();
    }
    hf_status st = hf_audit_pwrite_all(log->journal_fd, log->group, log->used, log->journal_at);
    if (hf_failed(st) || fdatasync(log->journal_fd) != 0) {
        return (hf_status){HF_IO};
    }
    log->journal_at += log->used;
    return hf_ok();
}

/* ---- files ------------------------------------------------------------------------------------
 */

hf_status hf_audit_begin_file(hf_audit_log *log, const char *path, int *ret_fd, hf_error *err)
{
    char line[HF_AUDIT_LINE_MAX];
    hf_audit_chain chain = log->committed;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    if (fd < 0) {
        return hf_fail(err, HF_UNAVAILABLE, "%s: %s", path, strerror(errno));
    }
    size_t len = hf_audit_chain_open(&chain, hf_audit_now_us(), line);
    hf_status st = hf_audit_pwrite_all(fd, line, len, 0);
    if (hf_failed(st) || fdatasync(fd) != 0) {
        st = hf_fail(err, HF_UNAVAILABLE, "%s: %s", path, strerror(errno));
        (void)close(fd);
        return st;
    }
    log->committed = chain;
    log->size = len;
    log->is_over = true;
    log->is_good = false;
    *ret_fd = fd;
    return hf_ok();
}

static void take_file(hf_audit_log *log, int fd)
{
    if (log->fd >= 0) {
        (void)close(log->fd);
    }
    log->fd = fd;
    log->is_unsynced = false;
}

/* Beside the log, by the number of its last line: names sort as the chain runs. */
static hf_status name_beside(const hf_audit_log *log, const char *what, char *out, size_t out_len)
{
    return hf_str_format(out, out_len, "%s.%s%020llu", log->config.path, what,
                         (unsigned long long)log->committed.head.seq);
}

/*
 * The next file exists, whole, before the log gives up its name: a crash in between leaves a folder
 * that mend.c understands.
 */
static hf_status rotate(hf_audit_log *log, const char *what, hf_error *err)
{
    char next[HF_AUDIT_NAME_LEN];
    char old[HF_AUDIT_NAME_LEN];
    hf_audit_chain before = log->committed;
    uint64_t size = log->size;
    int fd = -1;
    if (hf_failed(hf_str_format(next, sizeof next, "%s.next", log->config.path)) ||
        hf_failed(name_beside(log, what, old, sizeof old))) {
        return hf_fail(err, HF_LIMIT, "audit.path: path too long");
    }
    if (fdatasync(log->fd) != 0) {
        return hf_fail(err, HF_UNAVAILABLE, "%s: %s", log->config.path, strerror(errno));
    }
    hf_status st = hf_audit_begin_file(log, next, &fd, err);
    if (hf_failed(st)) {
        return st;
    }
    if (rename(log->config.path, old) != 0 && errno != ENOENT) {
        st = hf_fail(err, HF_UNAVAILABLE, "%s: %s", old, strerror(errno));
    } else if (rename(next, log->config.path) != 0) {
        st = hf_fail(err, HF_UNAVAILABLE, "%s: %s", log->config.path, strerror(errno));
    }
    if (hf_failed(st)) {
        log->committed = before;
        log->size = size;
        (void)close(fd);
        (void)unlink(next);
        return st;
    }
    take_file(log, fd);
    log->rotations++;
    return hf_audit_sync_folder(log->config.path, err);
}

/* Another program took the file away (logrotate): all of it is kept there, and a new one begins. */
static hf_status begin_anew(hf_audit_log *log, hf_error *err)
{
    int fd = -1;
    if (fdatasync(log->fd) != 0) {
        return hf_fail(err, HF_UNAVAILABLE, "%s: %s", log->config.path, strerror(errno));
    }
    hf_status st = hf_audit_begin_file(log, log->config.path, &fd, err);
    if (hf_failed(st)) {
        return st;
    }
    take_file(log, fd);
    log->rotations++;
    return hf_audit_sync_folder(log->config.path, err);
}

hf_status hf_audit_log_tend(hf_audit_log *log, bool sync, hf_error *err)
{
    struct stat named;
    struct stat ours;
    if (fstat(log->fd, &ours) != 0) {
        return hf_fail(err, HF_UNAVAILABLE, "%s: %s", log->config.path, strerror(errno));
    }
    bool is_there = lstat(log->config.path, &named) == 0;
    if (!is_there && errno != ENOENT) {
        return hf_fail(err, HF_UNAVAILABLE, "%s: %s", log->config.path, strerror(errno));
    }
    if (!is_there ||
        (named.st_ino != ours.st_ino && named.st_size == 0 && S_ISREG(named.st_mode))) {
        return begin_anew(log, err);
    }
    if (named.st_dev != ours.st_dev || named.st_ino != ours.st_ino) {
        hf_str_cut(log->notice, sizeof log->notice, "another file had taken the log's name");
        return rotate(log, "foreign-", err);
    }
    if ((uint64_t)ours.st_size < log->size) {
        (void)snprintf(log->notice, sizeof log->notice,
                       "the log was cut from %llu to %llu bytes while it was written",
                       (unsigned long long)log->size, (unsigned long long)ours.st_size);
        return rotate(log, "cut-", err);
    }
    if (log->config.rotate_bytes != 0 && log->size >= log->config.rotate_bytes) {
        return rotate(log, "", err);
    }
    if (sync && log->is_unsynced) {
        if (fdatasync(log->fd) != 0) {
            return hf_fail(err, HF_UNAVAILABLE, "%s: %s", log->config.path, strerror(errno));
        }
        log->is_unsynced = false;
        log->journal_at = 0;
    }
    return hf_ok();
}

const char *hf_audit_log_notice(const hf_audit_log *log)
{
    return log->notice;
}

void hf_audit_log_notice_done(hf_audit_log *log)
{
    log->notice[0] = '\0';
}

/* ---- groups -----------------------------------------------------------------------------------
 */

uint64_t hf_audit_log_add(hf_audit_log *log, const hf_audit_event *event)
{
    if (log->is_over) {
        log->is_over = false;
        log->used = 0;
        log->chain = log->committed;
    }
    HF_ASSERT(log->used + HF_AUDIT_LINE_MAX <= GROUP_BYTES);
    log->used +=
        hf_audit_chain_write(&log->chain, event, hf_audit_now_us(), log->group + log->used);
    return log->chain.head.seq;
}

hf_status hf_audit_log_commit(hf_audit_log *log, bool sync, hf_error *err)
{
    if (log->is_over || log->used == 0) {
        return hf_ok();
    }
    log->is_over = true;
    log->is_good = false;
    hf_status st = hf_audit_pwrite_all(log->fd, log->group, log->used, log->size);
    if (!hf_failed(st) && log->journal_fd >= 0) {
        log->is_unsynced = true;
        st = sync_group(log);
    } else if (!hf_failed(st)) {
        log->is_unsynced = !sync;
        st = sync && fdatasync(log->fd) != 0 ? (hf_status){HF_IO} : hf_ok();
    }
    if (hf_failed(st)) {
        st = hf_fail(err, HF_UNAVAILABLE, "%s: %s", log->config.path, strerror(errno));
        (void)!ftruncate(log->fd, (off_t)log->size); /* else the next group writes over it */
        return st;
    }
    log->size += log->used;
    log->committed = log->chain;
    log->is_good = true;
    return hf_ok();
}

hf_bytes hf_audit_log_committed(const hf_audit_log *log)
{
    return hf_bytes_from(log->group, log->is_over && log->is_good ? log->used : 0);
}

hf_audit_head hf_audit_log_head(const hf_audit_log *log)
{
    return log->committed.head;
}

uint64_t hf_audit_log_rotations(const hf_audit_log *log)
{
    return log->rotations;
}

/* ---- life -------------------------------------------------------------------------------------
 */

hf_status hf_audit_log_open(const hf_audit_config *config, const hf_audit_head *anchor,
                            hf_audit_log **ret_log, hf_audit_opening *ret_opening, hf_error *err)
{
    hf_status st = hf_ok();
    hf_audit_opening opening = {0};
    hf_audit_log *log = calloc(1, sizeof *log);
    if (log == NULL || (log->group = malloc(GROUP_BYTES)) == NULL) {
        free(log);
        return hf_fail(err, HF_NOMEM, "audit: out of memory");
    }
    log->config = *config;
    log->fd = -1;
    log->journal_fd = -1;
    log->is_over = true;
    hf_audit_chain_init(&log->committed, config->key, config->node);
    st = hf_audit_open_journal(log, err);
    if (!hf_failed(st)) {
        st = hf_audit_find_end(log, anchor, &opening, err);
    }
    if (hf_failed(st)) {
        hf_audit_log_close(log);
        return st;
    }
    if (!config->is_strict) { /* it gave back what it had; an interval needs it no more */
        (void)close(log->journal_fd);
        log->journal_fd = -1;
    }
    *ret_opening = opening;
    *ret_log = log;
    return st;
}

void hf_audit_log_close(hf_audit_log *log)
{
    if (log == NULL) {
        return;
    }
    if (log->fd >= 0) {
        (void)fdatasync(log->fd);
        (void)close(log->fd);
    }
    if (log->journal_fd >= 0) {
        (void)close(log->journal_fd);
    }
    free(log->group);
    hf_wipe(log, sizeof *log);
    free(log);
}
