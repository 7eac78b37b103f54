/*
 * The file of what was spent: records are appended and synced by whoever waits first, for all that
 * were noted by then. A write that failed is tried again by the next, at the same place.
 */
#include "keeper/keeper_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Beyond, it is written anew with what counts still. */
#define FILE_MAX (8U << 20)
#define READ_MAX (64U << 20)

/* ---- the file, with sync_lock held ------------------------------------------------------------
 */

static hf_status open_file(hf_spending_log *log, hf_error *err)
{
    log->fd = open(log->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    return log->fd >= 0 ? hf_ok() : hf_fail(err, HF_IO, "%s: %s", log->path, strerror(errno));
}

static void close_file(hf_spending_log *log)
{
    if (log->fd >= 0) {
        (void)close(log->fd);
        log->fd = -1;
    }
}

/* Writes all that counts in the ledger as the whole file, and opens that. */
static hf_status write_anew(hf_spending_log *log, const hf_spending *spending, hf_error *err)
{
    hf_buf *out = hf_buf_new(READ_MAX);
    hf_status st = out == NULL ? (hf_status){HF_NOMEM} : hf_spending_write(spending, out);
    if (hf_failed(st)) {
        hf_buf_free(out);
        return hf_fail(err, st.code, "%s: not enough memory", log->path);
    }
    st = hf_file_write_atomic(log->path, hf_buf_peek(out), hf_buf_len(out), 0600, err);
    size_t len = hf_buf_len(out);
    hf_buf_free(out);
    if (!hf_failed(st)) {
        close_file(log);
        st = open_file(log, err);
        log->len = len;
    }
    return st;
}

static hf_status read_file(const hf_spending_log *log, hf_spending *spending, hf_error *err)
{
    hf_buf *file = NULL;
    size_t len = 0;
    hf_status st = hf_file_read(log->path, READ_MAX, &file, err);
    if (!hf_failed(st)) {
        st = hf_spending_read(spending, hf_bytes_from(hf_buf_peek(file), hf_buf_len(file)), &len,
                              err);
    }
    hf_buf_free(file);
    return st;
}

/* What no longer counts goes. The intake thread's own ledger is left alone. */
static hf_status shrink(hf_spending_log *log, hf_error *err)
{
    hf_spending *spending = hf_spending_new(log->keys_max);
    hf_status st = spending == NULL ? hf_fail(err, HF_NOMEM, "not enough memory")
                                    : read_file(log, spending, err);
    if (!hf_failed(st)) {
        st = write_anew(log, spending, err);
    }
    hf_spending_free(spending);
    return st;
}

static hf_status prepare(hf_spending_log *log, hf_error *err)
{
    if (log->fd < 0) {
        hf_status st = hf_file_write_atomic(log->path, "", 0, 0600, err);
        return hf_failed(st) ? st : open_file(log, err);
    }
    return log->len > FILE_MAX ? shrink(log, err) : hf_ok();
}

static hf_status append(const hf_spending_log *log, const uint8_t *bytes, size_t len, hf_error *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(log->fd, bytes + done, len - done, (off_t)(log->len + done));
        if (n <= 0) {
            return hf_fail(err, HF_IO, "%s: %s", log->path, strerror(errno));
        }
        done += (size_t)n;
    }
    return fdatasync(log->fd) == 0 ? hf_ok()
                                   : hf_fail(err, HF_IO, "%s: %s", log->path, strerror(errno));
}

/* All that was noted by now. A failure of fdatasync leaves the record where it is: it is written
 * again, to a file that is opened again. */
static hf_status sync_pending(hf_spending_log *log, hf_error *err)
{
    (void)pthread_mutex_lock(&log->lock);
    size_t count = log->pending_count;
    uint64_t noted = log->noted;
    size_t len = count * HF_SPENDING_RECORD_BYTES;
    uint8_t *bytes = malloc(len + 1);
    if (bytes != NULL) {
        memcpy(bytes, log->pending, len);
    }
    (void)pthread_mutex_unlock(&log->lock);
    hf_status st = bytes == NULL ? hf_fail(err, HF_NOMEM, "not enough memory") : prepare(log, err);
    if (!hf_failed(st)) {
        st = append(log, bytes, len, err);
    }
    free(bytes);
    if (hf_failed(st)) {
        return st;
    }
    log->len += len;
    log->synced = noted;
    (void)pthread_mutex_lock(&log->lock);
    log->pending_count -= count;
    memmove(log->pending, log->pending + count, log->pending_count * HF_SPENDING_RECORD_BYTES);
    (void)pthread_mutex_unlock(&log->lock);
    return st;
}

bool hf_spending_wait(hf_keeper *keeper, uint64_t ticket)
{
    hf_spending_log *log = &keeper->spending;
    hf_error err = {HF_OK, ""};
    hf_status st = hf_ok();
    if (ticket == 0) {
        return true;
    }
    (void)pthread_mutex_lock(&log->sync_lock);
    if (log->synced < ticket) {
        st = sync_pending(log, &err);
    }
    (void)pthread_mutex_unlock(&log->sync_lock);
    if (hf_failed(st)) {
        hf_log(HF_LOG_BROKEN, "spending_unwritten", "%s; nothing was signed", err.msg);
    }
    return !hf_failed(st);
}

/* ---- intake thread ----------------------------------------------------------------------------
 */

bool hf_spending_note(hf_keeper *keeper, const uint8_t address[HF_ADDRESS_BYTES],
                      const hf_u256 *wei, uint64_t *ret_ticket)
{
    hf_spending_log *log = &keeper->spending;
    int64_t unix_ms = hf_time_unix_ms();
    if (log->spending == NULL) {
        return false;
    }
    uint64_t hour = hf_spending_hour(log->spending, unix_ms < 0 ? 0 : (uint64_t)unix_ms);
    (void)pthread_mutex_lock(&log->lock);
    bool has_room = log->pending_count < HF_SPENDING_PENDING_MAX;
    bool is_noted = has_room && !hf_failed(hf_spending_add(log->spending, address, hour, wei));
    if (is_noted) {
        hf_spending_encode(address, hour, wei, log->pending[log->pending_count++]);
        *ret_ticket = ++log->noted;
    }
    (void)pthread_mutex_unlock(&log->lock);
    return is_noted;
}

/* ---- life -------------------------------------------------------------------------------------
 */

hf_status hf_spending_open(hf_keeper *keeper, hf_error *err)
{
    hf_spending_log *log = &keeper->spending;
    struct stat info;
    log->fd = -1;
    log->keys_max = keeper->config.max_keys;
    (void)pthread_mutex_init(&log->lock, NULL);
    (void)pthread_mutex_init(&log->sync_lock, NULL);
    log->pending = calloc(HF_SPENDING_PENDING_MAX, sizeof *log->pending);
    log->spending = hf_spending_new(log->keys_max);
    hf_status st =
        hf_str_format(log->path, sizeof log->path, "%s/spending", keeper->config.data_dir);
    if (hf_failed(st) || log->pending == NULL || log->spending == NULL) {
        return hf_fail(err, HF_NOMEM, "not enough memory, or data_dir is too long");
    }
    if (lstat(log->path, &info) != 0 && errno == ENOENT) {
        return hf_ok();
    }
    hf_error why = {HF_OK, ""};
    st = read_file(log, log->spending, &why);
    if (!hf_failed(st)) {
        st = write_anew(log, log->spending, &why);
    }
    if (hf_failed(st)) {
        hf_spending_free(log->spending);
        log->spending = NULL;
        hf_log(
            HF_LOG_BROKEN, "spending_unreadable",
            "%s: %s; transactions of keys with value_per_day are refused until it is repaired or "
            "removed, which forgets what was spent today",
            log->path, why.msg);
    }
    return hf_ok();
}

void hf_spending_close(hf_keeper *keeper)
{
    hf_spending_log *log = &keeper->spending;
    close_file(log);
    hf_spending_free(log->spending);
    free(log->pending);
    log->spending = NULL;
    log->pending = NULL;
}
