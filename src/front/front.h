/*
 * front: HTTP in, frames out. This header is the pure part: how one request becomes frames to the
 * keeper and then an answer, without sockets, clock or files, so that tests and fuzzers drive it
 * directly. server.h puts it on libmicrohttpd.
 *
 * An exchange is one request and its answer. hf_front_begin and hf_front_reply each end in one of
 * these ways: HF_NEXT_ANSWER (status, headers and body are set), HF_NEXT_ASK (the frames in x->ask
 * go to the keeper; each reply comes back through hf_front_reply, or hf_front_silence when the
 * keeper did not answer in time) or, of a reply, HF_NEXT_WAIT (for the others). One thread.
 */
#ifndef HF_FRONT_H
#define HF_FRONT_H

#include "base/base.h"
#include "eth/eth.h"
#include "harden/harden.h"
#include "ipc/ipc.h"

/* An answer of this size needs no buffer of its own: signatures and errors. */
#define HF_FRONT_SMALL_BYTES 768
/* The largest answer: the history of ten thousand keys is some hundred megabytes. */
#define HF_FRONT_ANSWER_MAX (512U << 20)
/* What the keeper may take over one imported keystore, whose scrypt runs a second or more. */
#define HF_FRONT_IMPORT_TIMEOUT_MS 60000U

typedef enum hf_method {
    HF_METHOD_GET = 0, /* HEAD too: the HTTP library leaves the body out */
    HF_METHOD_POST,
    HF_METHOD_PUT,
    HF_METHOD_DELETE,
    HF_METHOD_OTHER
} hf_method;

/* "GET" and so on; HF_METHOD_OTHER for what no route has. */
hf_method hf_method_parse(const char *name);

/* Everything that a request's answer depends on beside the request; shared. */
typedef struct hf_front_context {
    hf_network network;
    uint32_t request_timeout_ms;
    uint32_t max_in_flight;
    uint32_t max_body_bytes;
    bool key_manager_enabled;
    bool tls;
    hf_eth1_settings eth1;
    struct {
        uint32_t timeout_ms; /* 0: no node is configured */
        bool is_connected;   /* to the process that speaks to it, and what that got: */
        hf_harden_report protections;
    } node;
    hf_harden_report protections; /* what this front got */
    int64_t (*unix_ms)(void);
} hf_front_context;

/* Who is at the other end of a connection. */
typedef struct hf_front_client {
    uint8_t address[HF_CALLER_ADDRESS_LEN];
    uint16_t port;
    char certificate[HF_CERTIFICATE_NAME_LEN];
} hf_front_client;

/* Views into the connection's memory: they live as long as the exchange. NULL where absent. */
typedef struct hf_front_request {
    hf_method method;
    const char *path;
    const char *accept;
    const char *authorization;
    const char *content_type;
    const char *origin;
    const char *query_epoch;
    const char *query_validator_index;
    const char *query_after;
    const char *query_limit;
    hf_bytes body;                 /* set before hf_front_begin */
    uint64_t received_ns;          /* monotonic, when the body was complete */
    bool is_metrics;               /* came in on the metrics listener */
    const hf_front_client *client; /* NULL: not known */
} hf_front_request;

typedef enum hf_next { HF_NEXT_ANSWER = 0, HF_NEXT_ASK, HF_NEXT_WAIT } hf_next;

typedef struct hf_exchange hf_exchange;
typedef hf_next (*hf_front_handler)(hf_exchange *x);
typedef hf_next (*hf_front_on_reply)(hf_exchange *x, const void *frame);

typedef enum hf_content { HF_CONTENT_JSON = 0, HF_CONTENT_TEXT, HF_CONTENT_METRICS } hf_content;

/* What a route demands before its handler runs. */
#define HF_ROUTE_BODY 1U     /* takes a JSON body: the content type is checked */
#define HF_ROUTE_TOKEN 2U    /* key manager API: bearer token, its form of errors */
#define HF_ROUTE_METRICS 4U  /* on the metrics listener and nowhere else */
#define HF_ROUTE_BOTH 8U     /* on both listeners */
#define HF_ROUTE_GUARDED 16U /* no body is read but for a credential that is one */
#define HF_ROUTE_RPC 32U     /* JSON-RPC: its form of errors */

typedef struct hf_route {
    hf_method method;
    const char *pattern; /* one segment may be {pubkey} */
    hf_front_handler handler;
    unsigned flags;
} hf_route;

/* The one table; *ret_count entries. */
const hf_route *hf_front_routes(size_t *ret_count);

struct hf_exchange {
    const hf_front_context *context;
    hf_front_request request;
    const hf_route *route;
    hf_bytes path_pubkey; /* the {pubkey} segment as sent, not NUL-terminated */

    /* the questions to the keeper */
    void *ask;          /* borrowed: frame below, or the job's; the server numbers it */
    uint32_t ask_count; /* frames of one type, one behind the other */
    uint32_t ask_room;  /* how many may be asked at once; the server says so, 1 until then */
    bool asks_relay;    /* it goes to the relay instead */
    int ask_fd;         /* -1, or a descriptor that goes along; the exchange owns it */
    uint32_t ask_timeout_ms;
    uint16_t expected; /* hf_msg_type of the reply */
    hf_front_on_reply on_reply;
    hf_next (*on_silence)(hf_exchange *x); /* NULL: 503 TIMEOUT */
    union {
        hf_frame_header header;
        hf_msg_sign sign;
        hf_msg_duty_sign duty;
        hf_msg_plain plain;
        hf_msg_keys keys;
        hf_msg_ask ask;
        hf_msg_pubkey pubkey;
        hf_msg_export_read export_read;
        hf_msg_exit_approve exit_approve;
        hf_msg_eth1_sign eth1_sign;
        hf_msg_eth1_keys eth1_keys;
        hf_msg_relay_ask relay;
    } frame;

    /* the answer */
    unsigned status;
    hf_content content;
    hf_reason reason;     /* of an error answer */
    bool is_refused_here; /* an error that the keeper does not know of: to be counted there */
    uint32_t operation;   /* hf_operation, HF_OP_COUNT when not known */
    char allow[32];       /* the Allow header of a 405 */
    hf_buf *out;          /* the body, or NULL and then small */
    char small[HF_FRONT_SMALL_BYTES];
    size_t small_len;

    void *job; /* state of an exchange with several questions */
    void (*job_free)(void *job);
};

/* Of several questions, the one at this place, and the place of the one that frame replies to. */
void *hf_front_question(const hf_exchange *x, uint32_t place);
#define HF_ASK_PLACE_SHIFT 24 /* in the request id, below the generation */
#define HF_ASK_PLACES_MAX 256
uint32_t hf_front_place_of(const void *frame);

/* Empty, for the given context; the caller then fills x->request. */
void hf_front_init(hf_exchange *x, const hf_front_context *context);
/* Frees what the exchange owns and wipes its frame; it may be initialised again. */
void hf_front_done(hf_exchange *x);

/* Before the body: ANSWER when the request is refused whatever it brings (too large, cross origin,
 * no route), ASK when the body should be read. body_len is UINT64_MAX when not announced. */
hf_next hf_front_admit(hf_exchange *x, uint64_t body_len);
hf_next hf_front_begin(hf_exchange *x) HF_MUST_CHECK;
/* frame is acceptable on this channel and answers this exchange's question. */
hf_next hf_front_reply(hf_exchange *x, const void *frame) HF_MUST_CHECK;
hf_next hf_front_silence(hf_exchange *x) HF_MUST_CHECK;
/* Ends the exchange with an error, whatever it was doing. */
hf_next hf_front_refuse(hf_exchange *x, hf_reason reason, const char *detail);

/* The body of the answer. */
hf_bytes hf_front_body(const hf_exchange *x);
/* "application/json" and so on. */
const char *hf_content_type(hf_content content);

/* The Prometheus text of the keeper's counters and this front's context. */
hf_status hf_front_metrics_format(const hf_front_context *context,
                                  const hf_msg_metrics_reply *reply, hf_buf *out) HF_MUST_CHECK;

#endif
