/*
 * The server's parts: connections.c (places, bodies, deadlines), keeper_channel.c (questions and
 * replies), relay_channel.c (calls that go to a node), http.c (libmicrohttpd's callbacks), server.c
 * (the loop and draining).
 *
 * A connection has one place, and a place holds one request at a time, so all memory of the waiting
 * requests exists from the start: nothing a client sends makes it grow but a large body.
 */
#ifndef HF_FRONT_SERVER_INTERNAL_H
#define HF_FRONT_SERVER_INTERNAL_H

#include "front/server.h"

#include <microhttpd.h>

/* Signing requests fit; larger bodies get a buffer of their own while they last. */
#define HF_BODY_INLINE_BYTES 4096
/* Prometheus, a second one, and a person with curl. */
#define HF_METRICS_CONNECTIONS 16

typedef enum hf_place_state {
    HF_PLACE_FREE = 0,
    HF_PLACE_IDLE,      /* between requests; a request line may be arriving */
    HF_PLACE_RECEIVING, /* from the request line to the end of the body */
    HF_PLACE_ASKING,    /* suspended, until the keeper answers */
    HF_PLACE_ANSWERED,  /* resumed: the answer is to be queued */
    HF_PLACE_SENDING
} hf_place_state;

typedef struct hf_listener hf_listener;

typedef struct hf_place {
    hf_server *server;
    hf_listener *listener;
    struct MHD_Connection *http;
    int fd;              /* borrowed from the library: to be shut down, never closed */
    uint8_t state;       /* hf_place_state */
    bool is_begun;       /* the library's first call for this request has been seen */
    bool is_refused;     /* refused by its head; the body is read and dropped */
    bool is_too_large;   /* the body grew beyond the limit without announcing it */
    bool has_served;     /* a request was answered on this connection */
    bool is_queued;      /* its question waits for room in the channel */
    bool is_at_relay;    /* its question is one for the relay */
    uint32_t generation; /* of questions: the upper half of the request id */
    uint64_t deadline_ns;
    uint64_t receiving_since_ns;
    uint64_t ask_id;
    uint32_t out;          /* questions of this round, and how many of them have been sent */
    uint32_t sent;         /* to the keeper */
    struct hf_place *next; /* free list, or the channel's queue */
    hf_front_client client;
    hf_exchange exchange;
    size_t body_len; /* received so far, dropped bytes included */
    hf_buf *large_body;
    uint8_t body[HF_BODY_INLINE_BYTES + 1];
} hf_place;

struct hf_listener {
    hf_server *server;
    struct MHD_Daemon *daemon;
    int epoll_fd; /* the library's */
    bool is_metrics;
    bool needs_run;
    uint32_t limit;
    uint32_t used;
};

struct hf_server {
    hf_server_config config;
    int epoll_fd;
    hf_listener listeners[2]; /* API, metrics */
    size_t listener_count;
    hf_place *places;
    uint32_t place_count;
    hf_place *free_places;
    uint32_t asking;      /* questions under way */
    uint32_t askers;      /* places with some */
    uint32_t at_relay;    /* of these */
    int relay_fd;         /* -1: none now */
    hf_place *queue_head; /* questions that found the channel full, oldest first */
    hf_place *queue_tail;
    bool watches_writable;
    bool is_draining;
    uint64_t drain_deadline_ns;
    uint64_t log_window_ns; /* of the lines about refusals, so that a flood cannot fill the disk */
    uint32_t log_lines;
    const char *broken;                          /* the channel that broke, or NULL */
    _Alignas(8) uint8_t frame[HF_IPC_MAX_BYTES]; /* control channel */
    hf_inbox *inbox;                             /* keeper channel */
};

/* ---- connections.c -------------------------------------------------------------------------- */

hf_status hf_places_init(hf_server *server) HF_MUST_CHECK;
/* NULL when every place is taken. */
hf_place *hf_place_take(hf_listener *listener, struct MHD_Connection *http);
void hf_place_release(hf_place *place);
/* The request line came. */
void hf_place_start(hf_place *place);
/* The answer is out, or the connection broke: ready for the next request. */
void hf_place_finish(hf_place *place);
/* The answer of len bytes is queued: it must be out by the deadline. */
void hf_place_expect_sent(hf_place *place, size_t len);
/* Appends to the body; false when the connection should be closed. */
bool hf_place_take_body(hf_place *place, const void *ptr, size_t len);
/* Ends what is overdue. Called every hf_server_tick_ms. */
void hf_places_check(hf_server *server);
void hf_place_hang_up(hf_place *place);

/* ---- keeper_channel.c ----------------------------------------------------------------------- */

/* Says how many questions the exchange may ask at once, before it decides what to ask. */
void hf_place_make_room(hf_place *place);
/* Sends the questions of the exchange; the place is suspended from here on. False when too many
 * wait already: the exchange is then refused, and answered like any other. */
bool hf_place_ask(hf_place *place);
/* Reads every reply that is there. */
void hf_keeper_receive(hf_server *server);
/* Sends what waited for room. */
void hf_keeper_flush(hf_server *server);
/* A signing request is being read, and will be put soon: a keeper that rests wakes up meanwhile. */
void hf_keeper_announce(hf_server *server);
/* The keeper did not answer in time, or we cannot wait for it (reason). */
void hf_place_give_up(hf_place *place, hf_reason reason);
/* Tells the keeper of a refusal it does not know of, and logs it, within bounds. */
void hf_place_note_refusal(hf_place *place);

/* A reply from either channel. */
void hf_place_take_reply(hf_server *server, bool is_of_relay, const void *frame);

/* ---- relay_channel.c ------------------------------------------------------------------------ */

/* A new channel from the supervisor, in place of the one before. */
void hf_relay_attach(hf_server *server, int take_fd);
/* Sends the question of the place; not OK: it was not sent, and this is why. */
hf_relay_outcome hf_relay_send(hf_place *place);
/* It has its answer, or waits no longer. */
void hf_relay_leave(hf_place *place);
void hf_relay_receive(hf_server *server);

/* ---- http.c --------------------------------------------------------------------------------- */

hf_status hf_listener_open(hf_server *server, int take_fd, bool is_metrics, uint32_t limit,
                           hf_error *err) HF_MUST_CHECK;
/* The exchange of a suspended place has its answer. */
void hf_place_resume(hf_place *place);

#endif
