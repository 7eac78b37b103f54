/*
 * server: the front's one loop. libmicrohttpd reads and writes HTTP; this side keeps the requests
 * that wait for the keeper, the channels and every deadline. One thread, one epoll set.
 */
#ifndef HF_FRONT_SERVER_H
#define HF_FRONT_SERVER_H

#include "front/front.h"
#include "front/tls.h"

typedef struct hf_server_config {
    hf_front_context context;
    uint32_t max_connections;
    uint32_t idle_timeout_seconds;
    int api_fd;     /* listening sockets; owned by the server from hf_server_new on */
    int metrics_fd; /* -1: none */
    int keeper_fd;
    int control_fd;
    const hf_tls *tls; /* NULL: plain HTTP; outlives the server */
} hf_server_config;

typedef struct hf_server hf_server;

hf_status hf_server_new(const hf_server_config *config, hf_server **ret_server,
                        hf_error *err) HF_MUST_CHECK;
/* Serves until the supervisor says SHUTDOWN (OK, after draining), or a channel breaks (NOT_FOUND,
 * naming it). Blocks. */
hf_status hf_server_run(hf_server *server, hf_error *err) HF_MUST_CHECK;
void hf_server_free(hf_server *server);

#endif
