/*
 * base: what every other folder stands on. Status and errors, bytes, hex, numbers, files, time,
 * log.
 *
 * Depends on libc alone. Unless a function says otherwise: it is safe from any thread, does not
 * block, does not log, and leaves its outputs untouched when it fails.
 */
#ifndef HF_BASE_H
#define HF_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "banned.h"

/* ---- status ---------------------------------------------------------------------------------- */

/* Categories of failure. HTTP status and metric label follow from hf_reason (ipc), never from text.
 */
typedef enum hf_code {
    HF_OK = 0,
    HF_USAGE,         /* the caller's words or configuration are wrong; exit status 2 */
    HF_INVALID_INPUT, /* data from outside is malformed */
    HF_NOT_FOUND,
    HF_CONFLICT,
    HF_DENIED,
    HF_LIMIT,       /* a bound was reached */
    HF_UNAVAILABLE, /* try again later */
    HF_IO,
    HF_CRYPTO,
    HF_NOMEM,
    HF_CORRUPT, /* stored data contradicts itself */
    HF_INTERNAL
} hf_code;

/* A result that cannot be ignored and does not convert from int. */
typedef struct hf_status {
    hf_code code;
} hf_status;

#define HF_MUST_CHECK __attribute__((warn_unused_result))
#define HF_ERROR_MSG_LEN 320 /* two paths and a remedy; what hf_log prints */

/* Detail for an operator, owned by the caller, written once at the origin; holds no secret. */
typedef struct hf_error {
    hf_code code;
    char msg[HF_ERROR_MSG_LEN];
} hf_error;

static inline hf_status hf_ok(void)
{
    return (hf_status){HF_OK};
}

static inline bool hf_failed(hf_status st)
{
    return st.code != HF_OK;
}

/* Puts "prefix: " before the sentence in err (err may be NULL); returns st unchanged. */
hf_status hf_error_wrap(hf_error *err, hf_status st, const char *fmt, ...)
    __attribute__((format(printf, 3, 4))) HF_MUST_CHECK;

/* "INVALID_INPUT" and so on; never NULL. */
const char *hf_code_name(hf_code code);

/* A caller's bug or a broken invariant: says where and aborts, in every build. */
#define HF_ASSERT(cond) ((cond) ? (void)0 : hf_assert_failed(#cond, __FILE__, __LINE__))
_Noreturn void hf_assert_failed(const char *what, const char *file, int line);

/* Returns the code as a status and, when err is not NULL, writes the formatted sentence there. */
#define hf_fail(err, code, ...) hf_status_failure(hf_error_set(err, code, __VA_ARGS__))
hf_code hf_error_set(hf_error *err, hf_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Inline, so that compilers and analyzers see that the status is never HF_OK. */
static inline HF_MUST_CHECK hf_status hf_status_failure(hf_code code)
{
    HF_ASSERT(code != HF_OK);
    return (hf_status){code};
}

#define HF_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* ---- bytes ----------------------------------------------------------------------------------- */

/* A borrowed view. */
typedef struct hf_bytes {
    const uint8_t *ptr;
    size_t len;
} hf_bytes;

static inline hf_bytes hf_bytes_from(const void *ptr, size_t len)
{
    return (hf_bytes){(const uint8_t *)ptr, len};
}

/* Equality of public bytes (not constant time; secrets use hf_secret_equal in crypto). */
bool hf_bytes_equal(const void *a, const void *b, size_t len);
bool hf_bytes_is_zero(const void *a, size_t len);

/* Overwrites in a way the compiler may not drop. ptr may be NULL when len is 0. */
void hf_wipe(void *ptr, size_t len);

/*
 * A growing byte buffer with a bound set at creation. Wiped on growth and on free, so it may carry
 * passwords. One thread at a time. Always NUL-terminated behind len for the use of text parsers.
 */
typedef struct hf_buf hf_buf;

hf_buf *hf_buf_new(size_t max_bytes); /* NULL when memory is short */
void hf_buf_free(hf_buf *buf);        /* NULL is fine; wipes */
void hf_buf_reset(hf_buf *buf);       /* length 0, wiped, capacity kept */
size_t hf_buf_len(const hf_buf *buf);
const uint8_t *hf_buf_peek(const hf_buf *buf); /* borrowed until the next put, reset or free */
const char *hf_buf_text(const hf_buf *buf);    /* the same, as NUL-terminated text */
hf_status hf_buf_put(hf_buf *buf, const void *ptr, size_t len) HF_MUST_CHECK; /* LIMIT, NOMEM */
hf_status hf_buf_putf(hf_buf *buf, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))) HF_MUST_CHECK;

/* ---- hex and numbers ------------------------------------------------------------------------- */

/* Writes 2 * len lower-case digits and a NUL to out. */
void hf_hex_encode(const uint8_t *in, size_t len, char *out);
/* Accepts exactly 2 * len digits of any case, with or without 0x. INVALID_INPUT otherwise. */
hf_status hf_hex_decode(const char *text, size_t text_len, uint8_t *out, size_t len) HF_MUST_CHECK;

/* Decimal digits only: no sign, no space, no leading zero but "0" itself, within 64 bits. */
hf_status hf_num_parse_u64(const char *text, size_t text_len, uint64_t *ret_value) HF_MUST_CHECK;

uint64_t hf_le64_get(const uint8_t in[8]);
void hf_le64_put(uint8_t out[8], uint64_t value);

/* ---- text ------------------------------------------------------------------------------------ */

/* snprintf that makes truncation an error (LIMIT). */
hf_status hf_str_format(char *out, size_t out_len, const char *fmt, ...)
    __attribute__((format(printf, 3, 4))) HF_MUST_CHECK;
/* Copies text with its NUL; LIMIT when it does not fit. */
hf_status hf_str_copy(char *out, size_t out_len, const char *text) HF_MUST_CHECK;
/* Copies what fits: for sentences, never for names or paths. */
void hf_str_cut(char *out, size_t out_len, const char *text);
bool hf_str_has_suffix(const char *text, const char *suffix);
/* Writes text to out with bytes outside printable ASCII as \xNN, cut to fit: fit for a log line. */
void hf_str_sanitize(char *out, size_t out_len, const char *text);

/* ---- files: these block ---------------------------------------------------------------------- */

/* Reads a whole regular file of at most max_bytes (LIMIT beyond). The caller frees *ret_buf. */
hf_status hf_file_read(const char *path, size_t max_bytes, hf_buf **ret_buf,
                       hf_error *err) HF_MUST_CHECK;
/* The same from an open descriptor, which stays open. name appears in errors only. */
hf_status hf_file_read_fd(int fd, const char *name, size_t max_bytes, hf_buf **ret_buf,
                          hf_error *err) HF_MUST_CHECK;
/*
 * Refuses (DENIED, naming file and remedy) a secret that group or others can read; but a file of
 * root's that the group we run as may read, and do nothing else with, is fine (packages,
 * Kubernetes), and so is one that root's group alone may read (credentials of systemd).
 */
hf_status hf_file_check_private(const char *path, hf_error *err) HF_MUST_CHECK;
/* Writes path.tmp with the given mode, fsyncs, renames, fsyncs the folder: all or nothing. */
hf_status hf_file_write_atomic(const char *path, const void *ptr, size_t len, mode_t mode,
                               hf_error *err) HF_MUST_CHECK;
hf_status hf_file_write_all(int fd, const void *ptr, size_t len) HF_MUST_CHECK;
/* Makes a folder with mode 0700, parents not; fine when it is there already. */
hf_status hf_file_mkdir_private(const char *path, hf_error *err) HF_MUST_CHECK;

/* ---- time ------------------------------------------------------------------------------------ */

#define HF_NS_PER_SECOND UINT64_C(1000000000)
#define HF_NS_PER_MS UINT64_C(1000000)

uint64_t hf_time_mono_ns(void); /* CLOCK_MONOTONIC: comparable between processes of one boot */
int64_t hf_time_unix_ms(void);
void hf_time_sleep_ns(uint64_t ns); /* less than a second; a signal may end it early */
/*
 * This thread, and those that it starts from now on, work for tenths of a millisecond at a time:
 * when woken they shall not wait for another program's slice to end (Linux 6.12's sched_runtime of
 * SCHED_OTHER; without effect before). Before seccomp.
 */
void hf_time_short_slice(void);

/* ---- log ------------------------------------------------------------------------------------- */

/* Named by the reaction they call for. */
typedef enum hf_log_level { HF_LOG_DEBUG, HF_LOG_INFO, HF_LOG_UNUSUAL, HF_LOG_BROKEN } hf_log_level;
typedef enum hf_log_format { HF_LOG_TEXT, HF_LOG_JSON } hf_log_format;

/* Before the first thread. process is a literal ("keeper") that appears in each line. */
void hf_log_init(const char *process, hf_log_format format, hf_log_level least);
/*
 * One event, one line on stderr: time, level, process, event, then the sentence. event is a stable
 * snake_case name. The sentence must hold no secret; foreign bytes in it are escaped here.
 */
void hf_log(hf_log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
