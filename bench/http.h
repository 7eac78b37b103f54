/*
 * http: the smallest client that keeps connections open and reads answers with a Content-Length,
 * which is all that a signer sends. For benchmarks on loopback.
 */
#ifndef HF_BENCH_HTTP_H
#define HF_BENCH_HTTP_H

#include "base/base.h"

#define BENCH_ANSWER_BYTES 4096

typedef struct bench_connection {
    int fd;
    const char *out; /* what is still to be sent, borrowed */
    size_t out_len;
    char in[BENCH_ANSWER_BYTES];
    size_t in_len;
    size_t job;       /* which request is under way */
    uint64_t sent_ns; /* when it was begun */
    bool is_busy;
} bench_connection;

typedef enum bench_progress { BENCH_MORE = 0, BENCH_ANSWERED, BENCH_BROKEN } bench_progress;

/* Connects to 127.0.0.1; the socket is non-blocking afterwards. IO when nobody listens. */
hf_status bench_connect(uint16_t port, bench_connection *ret_connection) HF_MUST_CHECK;

/* Begins a request; the text stays the caller's until the answer is there. */
bench_progress bench_send(bench_connection *c, const char *text, size_t len);
/* Sends what is left to send. */
bench_progress bench_flush(bench_connection *c);
/* Reads what is there. ANSWERED: *ret_status is set, and the body until the next send. */
bench_progress bench_receive(bench_connection *c, unsigned *ret_status, const char **ret_body);

#endif
