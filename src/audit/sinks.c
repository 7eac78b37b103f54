/*
 * Copies of lines to standard output, syslog and the journal. None may hold up a signature: a pipe
 * is written in pieces that it takes whole, datagrams are sent without waiting.
 */
#include "audit/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SYSLOG_PATH "/dev/log"
#define JOURNALD_PATH "/run/systemd/journal/socket"
/* Facility authpriv (10), severity notice (5). */
#define SYSLOG_PREFIX "<85>holdfast-audit: "
#define JOURNALD_PREFIX "SYSLOG_IDENTIFIER=holdfast-audit\nPRIORITY=5\nSYSLOG_FACILITY=10\nMESSAGE="

hf_status hf_audit_sinks_open(unsigned which, hf_audit_sinks *ret_sinks, hf_error *err)
{
    *ret_sinks = (hf_audit_sinks){
        .which = which, .socket = -1, .syslog_path = SYSLOG_PATH, .journald_path = JOURNALD_PATH};
    if ((which & (HF_AUDIT_SINK_SYSLOG | HF_AUDIT_SINK_JOURNALD)) != 0) {
        ret_sinks->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (ret_sinks->socket < 0) {
            return hf_fail(err, HF_IO, "audit.sinks: no socket: %s", strerror(errno));
        }
    }
    return hf_ok();
}

/* A pipe that is ready takes PIPE_BUF bytes at once; each line is shorter. */
static bool write_stdout(hf_bytes line)
{
    struct pollfd ready = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) {
        return false;
    }
    return write(STDOUT_FILENO, line.ptr, line.len) == (ssize_t)line.len;
}

_Static_assert(HF_AUDIT_LINE_MAX <= PIPE_BUF, "a line goes into a pipe as a whole");

/* By name each time: the service may be started anew. */
static bool send_datagram(int fd, const char *path, const char *prefix, hf_bytes line)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct iovec parts[2] = {
        {.iov_base = (void *)(uintptr_t)prefix, .iov_len = strlen(prefix)},
        {.iov_base = (void *)(uintptr_t)line.ptr, .iov_len = line.len},
    };
    hf_str_cut(address.sun_path, sizeof address.sun_path, path);
    const struct msghdr message = {
        .msg_name = &address,
        .msg_namelen = sizeof address,
        .msg_iov = parts,
        .msg_iovlen = 2,
    };
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static void write_line(hf_audit_sinks *sinks, hf_bytes line)
{
    if ((sinks->which & HF_AUDIT_SINK_STDOUT) != 0) {
        sinks->lost += !write_stdout(line);
    }
    if ((sinks->which & HF_AUDIT_SINK_SYSLOG) != 0) {
        hf_bytes text = hf_bytes_from(line.ptr, line.len - 1); /* syslog has no newlines */
        sinks->lost += !send_datagram(sinks->socket, sinks->syslog_path, SYSLOG_PREFIX, text);
    }
    if ((sinks->which & HF_AUDIT_SINK_JOURNALD) != 0) {
        sinks->lost += !send_datagram(sinks->socket, sinks->journald_path, JOURNALD_PREFIX, line);
    }
}

void hf_audit_sinks_write(hf_audit_sinks *sinks, hf_bytes lines)
{
    while (sinks->which != 0 && lines.len > 0) {
        const uint8_t *end = memchr(lines.ptr, '\n', lines.len);
        HF_ASSERT(end != NULL);
        size_t len = (size_t)(end - lines.ptr) + 1;
        write_line(sinks, hf_bytes_from(lines.ptr, len));
        lines = hf_bytes_from(lines.ptr + len, lines.len - len);
    }
}

void hf_audit_sinks_close(hf_audit_sinks *sinks)
{
    if (sinks->socket >= 0) {
        (void)close(sinks->socket);
        sinks->socket = -1;
    }
}
