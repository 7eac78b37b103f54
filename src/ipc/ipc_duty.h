/*
 * Duties of Aztec validators: frames between front and keeper (HF_CHANNEL_FRONT), and between the
 * keeper and the process that asks the database (HF_CHANNEL_DUTY). Included by ipc.h.
 *
 * On HF_CHANNEL_DUTY the keeper asks: DUTY_ACQUIRE, then DUTY_COMPLETE or DUTY_RELEASE. Each is
 * answered by one DUTY_ANSWER with its request_id, in any order. Results are those of
 * holdfast/duty.h: a signature leaves the keeper only after the answer to DUTY_COMPLETE says that
 * its record is durable, or with the stored one of DUTY_ACQUIRE.
 */
#ifndef HF_IPC_DUTY_H
#define HF_IPC_DUTY_H

#define HF_DUTY_LOCK_LEN 64 /* NUL-terminated */

/* Supervisor -> the process that asks the database, with HF_CHANNEL_DUTY on descriptor 4. Holds a
 * password: wiped by who handled it. */
typedef struct hf_msg_duty_config {
    hf_frame_header header;
    hf_hardening_config hardening;
    hf_log_config log;
    hf_duty_config duties;
} hf_msg_duty_config;

typedef struct hf_msg_duty_sign {
    hf_frame_header header;
    hf_caller caller;
    uint64_t received_ns; /* CLOCK_MONOTONIC when the front had the whole request */
    uint32_t timeout_ms;  /* after which the front gives up; the keeper bounds it */
    uint32_t hashing;     /* hf_aztec_hashing */
    hf_duty duty;
    uint8_t hash[HF_DUTY_HASH_BYTES];
} hf_msg_duty_sign;

typedef struct hf_msg_duty_reply {
    hf_frame_header header;
    uint32_t reason; /* hf_reason */
    uint8_t stored;  /* 1: signed before */
    uint8_t signature[HF_DUTY_SIGNATURE_BYTES];
    uint8_t reserved[2];
    char node_id[HF_DUTY_NODE_ID_LEN]; /* who signed or holds it; "" when not known */
    char detail[HF_DETAIL_LEN];
} hf_msg_duty_reply;

/* DUTY_ACQUIRE, DUTY_COMPLETE (lock, signature), DUTY_RELEASE (lock) */
typedef struct hf_msg_duty_ask {
    hf_frame_header header;
    uint64_t deadline_ns; /* CLOCK_MONOTONIC: the answer comes by then */
    hf_duty duty;         /* in normal form */
    uint8_t hash[HF_DUTY_HASH_BYTES];
    char lock[HF_DUTY_LOCK_LEN];
    uint8_t signature[HF_DUTY_SIGNATURE_BYTES];
    uint8_t reserved[7];
} hf_msg_duty_ask;

typedef struct hf_msg_duty_answer {
    hf_frame_header header;
    uint32_t result; /* hf_duty_result */
    uint8_t signature[HF_DUTY_SIGNATURE_BYTES];
    uint8_t reserved[3];
    char lock[HF_DUTY_LOCK_LEN];
    char node_id[HF_DUTY_NODE_ID_LEN];
    char detail[HF_DETAIL_LEN];
} hf_msg_duty_answer;

/* Sent unasked, once a second and when it changes. */
typedef struct hf_msg_duty_state {
    hf_frame_header header;
    uint32_t healthy; /* 0 or 1 */
    uint32_t protection_count;
    hf_duty_counters counters; /* since that process started */
    char detail[HF_DETAIL_LEN];
    hf_protection protections[HF_PROTECTIONS_MAX];
} hf_msg_duty_state;

#endif
