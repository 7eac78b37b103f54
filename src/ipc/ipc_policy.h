/*
 * Policies, limits and canary keys: frames between supervisor and keeper, and between who manages
 * policies and the keeper. Included by ipc.h. Encodings are those of policy.h.
 */
#ifndef HF_IPC_POLICY_H
#define HF_IPC_POLICY_H

/* Supervisor -> keeper, with one descriptor: a memfd that holds a book (hf_book_encode), which
 * replaces the one before as a whole. Announced by has_book in KEEPER_CONFIG: until it came,
 * nothing is signed. POLICY_PUT, with the same: one policy (hf_policy_encode). */
typedef struct hf_msg_policy_book {
    hf_frame_header header;
    uint32_t len;
    uint32_t reserved;
} hf_msg_policy_book;

/* Keeper -> supervisor: a canary key was asked for; the supervisor runs the configured command. */
typedef struct hf_msg_canary {
    hf_frame_header header;
    uint32_t action;    /* hf_canary_action */
    uint32_t operation; /* hf_operation; HF_OP_COUNT for a duty */
    uint32_t key_len;   /* 48 or 20 */
    uint8_t refused;    /* 1: the caller had no right to ask in the first place */
    uint8_t reserved[3];
    uint8_t key[HF_BLS_PUBKEY_BYTES];
    char accessor[32]; /* of the token, "" for none */
    uint8_t address[HF_CALLER_ADDRESS_LEN];
    char certificate[HF_CERTIFICATE_NAME_LEN];
} hf_msg_canary;

/* front or admin -> keeper */

/* POLICY_PUT (with a descriptor), POLICY_GET, POLICY_DELETE, POLICY_LIST (offset alone) */
typedef struct hf_msg_policy_ask {
    hf_frame_header header;
    hf_caller caller;
    char name[HF_POLICY_NAME_LEN];
    uint32_t offset; /* GET: in the encoding; LIST: in the list */
    uint32_t len;    /* PUT: of the encoding */
} hf_msg_policy_ask;

/* EXIT_APPROVE, answered by RESULT; minutes 0 takes an approval back */
typedef struct hf_msg_exit_approve {
    hf_frame_header header;
    hf_caller caller;
    uint32_t minutes;
    uint32_t reserved;
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
} hf_msg_exit_approve;

/* keeper -> front or admin */

typedef enum hf_policy_origin { HF_POLICY_OF_FILE = 0, HF_POLICY_OF_STORE } hf_policy_origin;

#define HF_POLICY_PART_BYTES 8192
typedef struct hf_msg_policy_part {
    hf_frame_header header;
    uint32_t reason;
    uint32_t origin; /* hf_policy_origin */
    uint64_t stamp;  /* changes with the policies: start over when it differs between parts */
    uint32_t total;  /* of the encoding */
    uint32_t len;    /* of this part */
    uint8_t bytes[HF_POLICY_PART_BYTES];
} hf_msg_policy_part;

#define HF_POLICIES_PAGE 64
typedef struct hf_policy_entry {
    char name[HF_POLICY_NAME_LEN];
    uint32_t origin;
    uint32_t rules;
} hf_policy_entry;

typedef struct hf_msg_policy_page {
    hf_frame_header header;
    uint64_t stamp;
    uint32_t total;
    uint32_t count;
    hf_policy_entry policies[HF_POLICIES_PAGE];
} hf_msg_policy_page;

#endif
