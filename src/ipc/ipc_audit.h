/* The keeper's part of audit: in the configuration, and what status says. Included by ipc.h. */
#ifndef HF_IPC_AUDIT_H
#define HF_IPC_AUDIT_H

typedef enum hf_audit_sync {
    HF_AUDIT_SYNC_ALWAYS = 0, /* a request's line is durable before its signature leaves */
    HF_AUDIT_SYNC_INTERVAL    /* written before, durable within a second */
} hf_audit_sync;

#define HF_AUDIT_NODE_NAME_LEN 64
typedef struct hf_audit_settings {
    char path[HF_PATH_LEN]; /* absolute; "": no audit log */
    uint64_t rotate_bytes;  /* 0: never by itself */
    uint32_t sync;          /* hf_audit_sync */
    uint32_t sinks;         /* hf_audit_sink (audit.h) */
    char node[HF_AUDIT_NODE_NAME_LEN];
} hf_audit_settings;

typedef struct hf_audit_state {
    uint8_t is_on;
    uint8_t is_strict;
    uint8_t is_healthy;
    uint8_t is_broken; /* 1: the log was not as it was left, or does not fit the slashing record */
    uint8_t reserved[4];
    uint64_t seq; /* of the last durable line */
    char detail[HF_DETAIL_LEN];
} hf_audit_state;

#endif
