/*
 * Where does the chain end? After a clean stop with the file's last line. After a crash the file
 * may end in half a line, or lack what the page cache had: that is cut, and the journal gives back
 * what was promised to be durable. A file that does not hold for another reason is evidence: it is
 * moved aside, whole, and a new file begins that says so.
 */
#include "audit/audit_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define SIBLINGS_MAX 4096
/* The anchor moves on once a second, but for the time that a store is away. */
#define AHEAD_SECONDS 30
#define TAIL_BYTES ((size_t)2 * HF_AUDIT_LINE_MAX)

/* ---- the newest file beside the log -----------------------------------------------------------
 */

/* The number of the last whole line of a file; 0 when it holds none of ours. */
static uint64_t last_number(int fd)
{
    char tail[TAIL_BYTES];
    hf_audit_line line;
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        return 0;
    }
    off_t start = info.st_size > (off_t)sizeof tail ? info.st_size - (off_t)sizeof tail : 0;
    ssize_t n = pread(fd, tail, sizeof tail, start);
    uint64_t seq = 0;
    for (ssize_t at = 0, end = 0; end < n; end++) {
        if (tail[end] == '\n') {
            if (!hf_failed(hf_audit_line_parse(tail + at, (size_t)(end - at), &line))) {
                seq = line.seq;
            }
            at = end + 1;
        }
    }
    return seq;
}

/* Files whose names begin as the log's does and go on with a point; -1: there is none of ours. */
static int open_newest_sibling(const hf_audit_log *log)
{
    char folder[HF_AUDIT_NAME_LEN];
    int newest = -1;
    uint64_t newest_seq = 0;
    const char *slash = strrchr(log->config.path, '/');
    size_t name_len = strlen(slash + 1);
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(slash - log->config.path) + 1,
                   log->config.path);
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return -1;
    }
    const struct dirent *entry;
    for (unsigned n = 0; n < SIBLINGS_MAX && (entry = readdir(dir)) != NULL;) {
        const char *rest = entry->d_name + name_len;
        if (strncmp(entry->d_name, slash + 1, name_len) != 0 || *rest != '.' ||
            strcmp(rest, ".journal") == 0) {
            continue;
        }
        n++;
        int fd = openat(dirfd(dir), entry->d_name,
                        O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        uint64_t seq = fd < 0 ? 0 : last_number(fd);
        if (seq > newest_seq) {
            newest_seq = seq;
            if (newest >= 0) {
                (void)close(newest);
            }
            newest = fd;
        } else if (fd >= 0) {
            (void)close(fd);
        }
    }
    (void)closedir(dir);
    return newest;
}

/* ---- the journal ------------------------------------------------------------------------------
 */

typedef struct restoring {
    hf_audit_log *log;
    hf_audit_opening *opening;
    char *bytes;
    hf_status st;
} restoring;

static void restore_line(restoring *job, const char *text, size_t len)
{
    uint8_t mac[HF_AUDIT_MAC_BYTES];
    hf_audit_line line;
    hf_audit_log *log = job->log;
    hf_audit_head *head = &log->committed.head;
    if (hf_failed(hf_audit_line_parse(text, len, &line)) || line.seq != head->seq + 1) {
        return;
    }
    hf_audit_mac(log->config.key, head->mac, text, line.body_len, mac);
    if (!hf_bytes_equal(mac, line.mac, sizeof mac)) {
        return;
    }
    job->st = hf_audit_pwrite_all(log->fd, text, len + 1, log->size);
    if (!hf_failed(job->st)) {
        log->size += len + 1;
        head->seq = line.seq;
        memcpy(head->mac, mac, sizeof mac);
        job->opening->restored_lines++;
    }
}

/* Lines of the journal that continue the chain. Those of earlier rounds have lower numbers. */
static hf_status restore_from_journal(hf_audit_log *log, hf_audit_opening *opening, hf_error *err)
{
    restoring job = {log, opening, malloc(HF_AUDIT_JOURNAL_BYTES), hf_ok()};
    if (job.bytes == NULL) {
        return hf_fail(err, HF_NOMEM, "audit: out of memory");
    }
    ssize_t n = pread(log->journal_fd, job.bytes, HF_AUDIT_JOURNAL_BYTES, 0);
    for (ssize_t at = 0; at < n && !hf_failed(job.st);) {
        const char *end = memchr(job.bytes + at, '\n', (size_t)(n - at));
        if (end == NULL) {
            break;
        }
        restore_line(&job, job.bytes + at, (size_t)(end - (job.bytes + at)));
        at = end - job.bytes + 1;
    }
    free(job.bytes);
    if (n < 0 || hf_failed(job.st) || fdatasync(log->fd) != 0) {
        return hf_fail(err, HF_UNAVAILABLE, "%s: %s", log->config.path, strerror(errno));
    }
    return hf_ok();
}

/* ---- the end of the chain ---------------------------------------------------------------------
 */

/* The first bytes that do not hold: zeros are what a file system leaves of an unfinished write. */
static bool is_crash_damage(const hf_audit_log *log, const hf_audit_check *check)
{
    char byte = 1;
    return check->fault == HF_AUDIT_TORN ||
           (pread(log->fd, &byte, 1, (off_t)check->file_bytes) == 1 && byte == '\0');
}

static hf_status set_aside(hf_audit_log *log, hf_audit_opening *opening, hf_error *err)
{
    hf_status st = hf_str_format(opening->aside, sizeof opening->aside, "%s.broken-%020llu-%lld",
                                 log->config.path, (unsigned long long)log->committed.head.seq,
                                 (long long)hf_time_unix_ms());
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "audit.path: path too long");
    }
    if (rename(log->config.path, opening->aside) != 0) {
        return hf_fail(err, HF_IO, "%s: %s", opening->aside, strerror(errno));
    }
    (void)close(log->fd);
    log->fd = -1;
    return hf_audit_sync_folder(log->config.path, err);
}

static void tell_break(const hf_audit_check *check, hf_audit_opening *opening)
{
    char what[96];
    hf_audit_check_describe(check, what, sizeof what);
    (void)snprintf(opening->sentence, sizeof opening->sentence, "the log does not hold: %s", what);
    opening->fault = check->fault;
    opening->is_broken = true;
}

/* The file under the log's name, when it holds something. */
static hf_status read_file(hf_audit_log *log, hf_audit_check *check, uint64_t size,
                           hf_audit_opening *opening, hf_error *err)
{
    hf_status st = hf_audit_check_fd(check, log->fd, log->config.path, NULL, NULL, err);
    if (hf_failed(st)) {
        return st;
    }
    log->committed.head = check->head;
    log->size = check->file_bytes;
    if (check->fault == HF_AUDIT_SOUND) {
        return hf_ok();
    }
    if (check->file_lines == 0 || !is_crash_damage(log, check)) {
        tell_break(check, opening);
        return set_aside(log, opening, err);
    }
    opening->dropped_bytes = size - check->file_bytes;
    if (ftruncate(log->fd, (off_t)check->file_bytes) != 0) {
        return hf_fail(err, HF_IO, "%s: %s", log->config.path, strerror(errno));
    }
    return hf_ok();
}

/* No file, or an empty one: the chain goes on from the newest beside it. */
static hf_status read_sibling(hf_audit_log *log, hf_audit_check *check, hf_audit_opening *opening,
                              hf_error *err)
{
    int fd = open_newest_sibling(log);
    if (fd < 0) {
        opening->is_new = true;
        return hf_ok();
    }
    hf_status st = hf_audit_check_fd(check, fd, log->config.path, NULL, NULL, err);
    (void)close(fd);
    if (hf_failed(st)) {
        return st;
    }
    log->committed.head = check->head;
    if (check->fault != HF_AUDIT_SOUND && check->fault != HF_AUDIT_TORN) {
        tell_break(check, opening);
    }
    return hf_ok();
}

static hf_status begin(hf_audit_log *log, hf_error *err)
{
    hf_status st;
    if (log->fd >= 0) {
        (void)close(log->fd);
        log->fd = -1;
    }
    st = hf_audit_begin_file(log, log->config.path, &log->fd, err);
    return hf_failed(st) ? st : hf_audit_sync_folder(log->config.path, err);
}

static void compare_with_anchor(hf_audit_log *log, const hf_audit_check *check,
                                const hf_audit_head *anchor, hf_audit_opening *opening)
{
    const hf_audit_head *head = &log->committed.head;
    opening->has_anchor = true;
    bool is_head =
        head->seq == anchor->seq && hf_bytes_equal(head->mac, anchor->mac, HF_AUDIT_MAC_BYTES);
    /* Behind the beginning of the newest file the chain itself vouches for it. */
    bool is_behind = check->has_begun && anchor->seq < check->first.seq;
    opening->has_anchored_line = is_head || check->found_wanted || is_behind;
    opening->is_ahead = !is_head && opening->has_anchored_line &&
                        check->last_unix_s - check->wanted_unix_s > AHEAD_SECONDS;
    if (opening->is_ahead && opening->sentence[0] == '\0') {
        (void)snprintf(opening->sentence, sizeof opening->sentence,
                       "the log goes on to line %llu, the slashing record knows line %llu as the "
                       "last: the record may be an older copy",
                       (unsigned long long)head->seq, (unsigned long long)anchor->seq);
    }
    if (!opening->has_anchored_line && opening->sentence[0] == '\0') {
        (void)snprintf(opening->sentence, sizeof opening->sentence,
                       "the log ends with line %llu, the slashing record knows line %llu: "
                       "lines are missing or others",
                       (unsigned long long)head->seq, (unsigned long long)anchor->seq);
    }
    if (anchor->seq > head->seq) { /* no number is given twice */
        log->committed.head = *anchor;
    }
}

static void tell_mending(hf_audit_opening *opening)
{
    if (opening->sentence[0] == '\0' &&
        (opening->dropped_bytes > 0 || opening->restored_lines > 0)) {
        (void)snprintf(opening->sentence, sizeof opening->sentence,
                       "after a crash: %llu bytes of an unfinished line dropped, %llu lines given "
                       "back by the journal",
                       (unsigned long long)opening->dropped_bytes,
                       (unsigned long long)opening->restored_lines);
    }
}

bool hf_audit_log_contains(const hf_audit_log *log, const hf_audit_head *head)
{
    hf_audit_check check;
    int fd = open(log->config.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
    if (fd < 0) {
        return true;
    }
    hf_audit_check_init(&check, log->config.key);
    check.has_wanted = true;
    check.wanted = *head;
    hf_status st = hf_audit_check_fd(&check, fd, log->config.path, NULL, NULL, NULL);
    (void)close(fd);
    bool is_before = check.has_begun && head->seq < check.first.seq;
    return hf_failed(st) || check.found_wanted || is_before;
}

/* What a crash in a rotation left of a file that nothing followed yet. */
static hf_status forget_next(const hf_audit_log *log, hf_error *err)
{
    char path[HF_AUDIT_NAME_LEN];
    hf_status st = hf_str_format(path, sizeof path, "%s.next", log->config.path);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "audit.path: path too long");
    }
    if (unlink(path) != 0 && errno != ENOENT) {
        return hf_fail(err, HF_IO, "%s: %s", path, strerror(errno));
    }
    return hf_ok();
}

hf_status hf_audit_find_end(hf_audit_log *log, const hf_audit_head *anchor,
                            hf_audit_opening *opening, hf_error *err)
{
    struct stat info = {0};
    hf_audit_check check;
    hf_status st;
    hf_audit_check_init(&check, log->config.key);
    if (anchor != NULL) {
        check.has_wanted = true;
        check.wanted = *anchor;
    }
    st = forget_next(log, err);
    if (hf_failed(st)) {
        return st;
    }
    log->fd = open(log->config.path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (log->fd < 0 && errno != ENOENT) {
        return hf_fail(err, HF_IO, "%s: %s", log->config.path, strerror(errno));
    }
    if (log->fd >= 0 && (fstat(log->fd, &info) != 0 || !S_ISREG(info.st_mode))) {
        return hf_fail(err, HF_USAGE, "%s: not an ordinary file", log->config.path);
    }
    bool has_file = log->fd >= 0 && info.st_size > 0;
    st = has_file ? read_file(log, &check, (uint64_t)info.st_size, opening, err)
                  : read_sibling(log, &check, opening, err);
    if (!hf_failed(st) && has_file && log->fd >= 0) {
        st = restore_from_journal(log, opening, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    if (anchor != NULL) {
        compare_with_anchor(log, &check, anchor, opening);
    }
    bool needs_file =
        !has_file || log->fd < 0 || (opening->has_anchor && !opening->has_anchored_line);
    if (needs_file && log->fd >= 0 && has_file) {
        st = set_aside(log, opening, err); /* it ends too early: what follows is another file */
    }
    if (!hf_failed(st) && needs_file) {
        st = begin(log, err);
    }
    tell_mending(opening);
    return st;
}
