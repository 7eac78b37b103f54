/* Passphrases: from a private file, a descriptor, or a terminal that does not show them. */
#include "cli.h"

#include "crypto/crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#define DESCRIPTOR_MAX 1048576
#define CONTROL_C 3

static hf_status refuse_empty(hf_error *err, const char *name)
{
    return hf_fail(err, HF_INVALID_INPUT, "%s: an empty passphrase", name);
}

/* Text files end in a newline that nobody means. */
static hf_status take_text(const hf_buf *raw, const char *name, hf_buf **ret_text, hf_error *err)
{
    size_t len = hf_buf_len(raw);
    const char *text = hf_buf_text(raw);
    if (len > 0 && text[len - 1] == '\n') {
        len--;
    }
    if (len > 0 && text[len - 1] == '\r') {
        len--;
    }
    if (len == 0) {
        return refuse_empty(err, name);
    }
    hf_buf *out = hf_buf_new(HF_PASSWORD_MAX_BYTES);
    if (out == NULL || hf_failed(hf_buf_put(out, text, len))) {
        hf_buf_free(out);
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    *ret_text = out;
    return hf_ok();
}

static hf_status read_file(const char *path, hf_buf **ret_text, hf_error *err)
{
    hf_buf *raw = NULL;
    hf_status st = hf_file_check_private(path, err);
    if (!hf_failed(st)) {
        st = hf_file_read(path, HF_PASSWORD_MAX_BYTES, &raw, err);
    }
    if (!hf_failed(st)) {
        st = take_text(raw, path, ret_text, err);
    }
    hf_buf_free(raw);
    return st;
}

static hf_status read_descriptor(const char *text, hf_buf **ret_text, hf_error *err)
{
    hf_buf *raw = NULL;
    uint64_t fd = 0;
    if (hf_failed(hf_num_parse_u64(text, strlen(text), &fd)) || fd > DESCRIPTOR_MAX ||
        fcntl((int)fd, F_GETFD) < 0) {
        return hf_fail(err, HF_USAGE, "%s: not an open file descriptor", text);
    }
    hf_status st =
        hf_file_read_fd((int)fd, "the passphrase's descriptor", HF_PASSWORD_MAX_BYTES, &raw, err);
    if (!hf_failed(st)) {
        st = take_text(raw, "the passphrase's descriptor", ret_text, err);
    }
    hf_buf_free(raw);
    return st;
}

/* ---- the terminal ------------------------------------------------------------------------- */

/* One line, byte by byte: nothing of it stays in a stdio buffer. */
static hf_status read_line(int fd, hf_buf *line, hf_error *err)
{
    for (;;) {
        char c = 0;
        ssize_t n = read(fd, &c, 1);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return hf_fail(err, HF_INVALID_INPUT, "no passphrase: the terminal was closed");
        }
        if (c == '\n' || c == '\r') {
            return hf_ok();
        }
        if (c == CONTROL_C) {
            return hf_fail(err, HF_INVALID_INPUT, "interrupted");
        }
        hf_status st = hf_buf_put(line, &c, 1);
        hf_wipe(&c, sizeof c);
        if (hf_failed(st)) {
            return hf_fail(err, st.code, "the passphrase is longer than %d bytes",
                           HF_PASSWORD_MAX_BYTES);
        }
    }
}

/* Signals wait until the echo is back, or an interrupt would leave a blind terminal; Ctrl-C and
 * its like arrive as characters. */
static hf_status ask_once(int tty, const char *prompt, hf_buf **ret_text, hf_error *err)
{
    struct termios before;
    sigset_t all;
    sigset_t old;
    hf_status st = hf_ok();
    hf_buf *line = hf_buf_new(HF_PASSWORD_MAX_BYTES);
    if (line == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    if (tcgetattr(tty, &before) != 0) {
        hf_buf_free(line);
        return hf_fail(err, HF_IO, "the terminal: %s", strerror(errno));
    }
    struct termios silent = before;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    silent.c_cc[VEOL] = CONTROL_C; /* ends the line at once, and is read like any character */
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, &old);
    (void)tcsetattr(tty, TCSAFLUSH, &silent);
    (void)dprintf(tty, "%s: ", prompt);
    st = read_line(tty, line, err);
    (void)dprintf(tty, "\n");
    (void)tcsetattr(tty, TCSAFLUSH, &before);
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    if (!hf_failed(st) && hf_buf_len(line) == 0) {
        st = refuse_empty(err, prompt);
    }
    if (hf_failed(st)) {
        hf_buf_free(line);
        return st;
    }
    *ret_text = line;
    return hf_ok();
}

static hf_status ask(const hf_cli_passphrase *source, hf_buf **ret_text, hf_error *err)
{
    hf_buf *first = NULL;
    hf_buf *second = NULL;
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (tty < 0) {
        return hf_fail(err, HF_USAGE,
                       "%s: there is no terminal to ask at; give it by a file or a descriptor",
                       source->prompt);
    }
    hf_status st = ask_once(tty, source->prompt, &first, err);
    if (!hf_failed(st) && source->confirm) {
        st = ask_once(tty, "The same again", &second, err);
    }
    if (!hf_failed(st) && source->confirm &&
        (hf_buf_len(first) != hf_buf_len(second) ||
         !hf_secret_equal(hf_buf_peek(first), hf_buf_peek(second), hf_buf_len(first)))) {
        st = hf_fail(err, HF_INVALID_INPUT, "the two passphrases differ");
    }
    (void)close(tty);
    hf_buf_free(second);
    if (hf_failed(st)) {
        hf_buf_free(first);
        return st;
    }
    *ret_text = first;
    return hf_ok();
}

hf_status hf_cli_passphrase_read(const hf_cli_passphrase *source, hf_buf **ret_text, hf_error *err)
{
    if (source->file != NULL) {
        return read_file(source->file, ret_text, err);
    }
    if (source->fd != NULL) {
        return read_descriptor(source->fd, ret_text, err);
    }
    if (source->prompt == NULL) {
        return hf_fail(err, HF_USAGE, "no passphrase given");
    }
    return ask(source, ret_text, err);
}
