/* A TCP proxy on loopback before the database, which cuts, stops and delays as a test says. */
#ifndef HF_TEST_PROTECT_PROXY_H
#define HF_TEST_PROTECT_PROXY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PROXY_NEVER INT64_MAX

typedef struct proxy {
    int listener;
    uint16_t port; /* ours */
    uint16_t server_port;
    pthread_t thread;
    atomic_bool over;
    /* Counted down as bytes pass: at 0 both connections are cut. Then PROXY_NEVER again. */
    atomic_llong up_left;
    atomic_llong down_left;
    atomic_llong up_bytes; /* passed in all */
    atomic_llong down_bytes;
    atomic_bool silent; /* nothing passes, nothing is closed */
    atomic_bool deaf;   /* what the server says is dropped */
    atomic_int cuts;
} proxy;

void proxy_start(proxy *self, uint16_t server_port);
void proxy_stop(proxy *self);

#endif
