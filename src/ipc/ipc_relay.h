/*
 * Calls of JSON-RPC that go to a node (eth1.downstream): frames between a front and holdfast-relay,
 * the process that speaks to it. Included by ipc.h.
 *
 * The front asks the keeper first whether the caller may (NODE_CALL, answered by RESULT); then
 * RELAY_ASK carries a memfd that holds the call. The relay writes the node's answer over it, and
 * RELAY_ANSWER says how long that is: what a front receives are fixed frames here, too. A captured
 * relay can put any text there, which the front reads as it would the node's own.
 *
 * On this channel the relay stands in the keeper's place (frames.c).
 */
#ifndef HF_IPC_RELAY_H
#define HF_IPC_RELAY_H

#define HF_NODE_URL_LEN 1024
/* All answers of a node that one HTTP request gets. */
#define HF_RELAY_ANSWER_MAX (8U << 20)
/* Around the parameters, which are part of a body that is no longer than server.max_body_bytes. */
#define HF_RELAY_CALL_EXTRA 512U

/* Supervisor -> relay: the first frame. NEW_CHANNEL follows, once for each front. */
typedef struct hf_msg_relay_config {
    hf_frame_header header;
    hf_hardening_config hardening;
    hf_log_config log;
    uint32_t max_call_bytes;
    uint32_t reserved;
    char url[HF_NODE_URL_LEN];          /* may hold a password */
    char ca_file[HF_PATH_LEN];          /* "": the system's authorities */
    char client_cert_file[HF_PATH_LEN]; /* "" for both: none */
    char client_key_file[HF_PATH_LEN];
} hf_msg_relay_config;

typedef enum hf_relay_outcome {
    HF_RELAY_OK = 0,      /* HTTP brought an answer, whatever it says */
    HF_RELAY_ABSENT,      /* there is no relay: only the front itself says so */
    HF_RELAY_BUSY,        /* too many calls under way */
    HF_RELAY_LATE,        /* no answer in time */
    HF_RELAY_UNREACHABLE, /* no connection, or it broke before the answer was whole */
    HF_RELAY_UNTRUSTED,   /* its certificate is not to be trusted */
    HF_RELAY_TOO_LONG,    /* more than answer_max bytes */
    HF_RELAY_REDIRECTED,  /* to somewhere else: not followed */
    HF_RELAY_OUTCOME_COUNT
} hf_relay_outcome;

typedef struct hf_msg_relay_ask {
    hf_frame_header header;
    uint64_t deadline_ns; /* CLOCK_MONOTONIC: afterwards nobody waits */
    uint32_t call_len;    /* bytes of the memfd */
    uint32_t answer_max;  /* at most HF_RELAY_ANSWER_MAX */
} hf_msg_relay_ask;

typedef struct hf_msg_relay_answer {
    hf_frame_header header;
    uint32_t outcome;    /* hf_relay_outcome */
    uint32_t answer_len; /* bytes of the memfd; 0 unless the outcome is OK */
} hf_msg_relay_answer;

/* The first frame to each front: what protects this process. */
typedef struct hf_msg_relay_hello {
    hf_frame_header header;
    uint32_t protection_count;
    uint32_t reserved;
    hf_protection protections[HF_PROTECTIONS_MAX];
} hf_msg_relay_hello;

#endif
