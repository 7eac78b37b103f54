/* A keep-alive HTTP client for loopback. */
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

hf_status bench_connect(uint16_t port, bench_connection *ret_connection)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return (hf_status){HF_IO};
    }
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        (void)close(fd);
        return (hf_status){HF_IO};
    }
    memset(ret_connection, 0, sizeof *ret_connection);
    ret_connection->fd = fd;
    return hf_ok();
}

bench_progress bench_send(bench_connection *c, const char *text, size_t len)
{
    c->out = text;
    c->out_len = len;
    c->in_len = 0;
    c->is_busy = true;
    c->sent_ns = hf_time_mono_ns();
    return bench_flush(c);
}

bench_progress bench_flush(bench_connection *c)
{
    while (c->out_len > 0) {
        ssize_t sent = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN || errno == EINTR ? BENCH_MORE : BENCH_BROKEN;
        }
        c->out += sent;
        c->out_len -= (size_t)sent;
    }
    return BENCH_MORE;
}

/* Is a whole answer in c->in? Sets the length of its head and its status. */
static bool is_complete(const bench_connection *c, size_t *ret_head, unsigned *ret_status)
{
    const char *end = strstr(c->in, "\r\n\r\n");
    if (end == NULL || c->in_len < 12) {
        return false;
    }
    const char *field = strcasestr(c->in, "\r\ncontent-length:");
    unsigned long long body = 0;
    if (field != NULL && field < end) {
        field += strlen("\r\ncontent-length:");
        while (*field == ' ') {
            field++;
        }
        while (*field >= '0' && *field <= '9' && body < BENCH_ANSWER_BYTES) {
            body = body * 10 + (unsigned)(*field++ - '0');
        }
    }
    *ret_head = (size_t)(end - c->in) + 4;
    *ret_status = 0;
    for (size_t i = 9; i < 12; i++) {
        *ret_status = *ret_status * 10 + (unsigned)(c->in[i] - '0');
    }
    return c->in_len >= *ret_head + body;
}

bench_progress bench_receive(bench_connection *c, unsigned *ret_status, const char **ret_body)
{
    for (;;) {
        if (c->in_len >= sizeof c->in - 1) {
            return BENCH_BROKEN;
        }
        ssize_t got = recv(c->fd, c->in + c->in_len, sizeof c->in - 1 - c->in_len, 0);
        if (got < 0) {
            return errno == EAGAIN || errno == EINTR ? BENCH_MORE : BENCH_BROKEN;
        }
        if (got == 0) {
            return BENCH_BROKEN;
        }
        c->in_len += (size_t)got;
        c->in[c->in_len] = '\0';
        size_t head = 0;
        unsigned status = 0;
        if (is_complete(c, &head, &status)) {
            c->is_busy = false;
            *ret_status = status;
            *ret_body = c->in + head;
            return BENCH_ANSWERED;
        }
    }
}
