/* Frames about tokens: making, listing, revoking. Included by ipc.h. */
#ifndef HF_IPC_AUTH_H
#define HF_IPC_AUTH_H

_Static_assert(HF_AUTH_TEXT_LEN == HF_TOKEN_LEN, "the text of a token fits a caller");

/* front or admin -> keeper: the keeper checks each member of the terms again */
typedef struct hf_msg_token_create {
    hf_frame_header header;
    hf_caller caller;
    uint64_t ttl_seconds; /* 0: never expires; terms.expires_unix_ms is the keeper's to fill */
    hf_token_terms terms;
} hf_msg_token_create;

/* A token as it may be shown again and again. */
typedef struct hf_token_view {
    char accessor[HF_AUTH_ACCESSOR_LEN];
    int64_t created_unix_ms;
    uint64_t uses_reserved;
    hf_token_terms terms;
} hf_token_view;

typedef struct hf_msg_token_created {
    hf_frame_header header;
    char text[HF_AUTH_TEXT_LEN]; /* this once */
    hf_token_view token;
} hf_msg_token_created;

/* In the order of accessors, those behind this one; "" from the start. */
typedef struct hf_msg_token_list {
    hf_frame_header header;
    hf_caller caller;
    char after[HF_AUTH_ACCESSOR_LEN];
} hf_msg_token_list;

#define HF_TOKENS_PAGE 16
typedef struct hf_msg_token_page {
    hf_frame_header header;
    uint32_t count;
    uint8_t done; /* 1: the last page */
    uint8_t reserved[3];
    hf_token_view tokens[HF_TOKENS_PAGE];
} hf_msg_token_page;

/* Answered by RESULT. */
typedef struct hf_msg_token_revoke {
    hf_frame_header header;
    hf_caller caller;
    char accessor[HF_AUTH_ACCESSOR_LEN];
} hf_msg_token_revoke;

#endif
