/*
 * Signatures with keys of Ethereum's execution layer: frames between front and keeper. Included by
 * ipc.h.
 *
 * ETH1_SIGN is answered by ETH1_REPLY. The bytes to be signed are in the frame, or, when they are
 * more than HF_ETH1_INLINE_BYTES, in a memfd that comes with it. The front says what they are, and
 * the keeper reads them again: it hashes what it has read.
 */
#ifndef HF_IPC_ETH1_H
#define HF_IPC_ETH1_H

#define HF_ETH1_INLINE_BYTES 1024

typedef struct hf_msg_eth1_sign {
    hf_frame_header header;
    hf_caller caller;
    uint64_t received_ns; /* CLOCK_MONOTONIC when the front had the whole request */
    uint64_t decoded_ns;  /* and when it was decoded: for histograms only */
    uint32_t timeout_ms;  /* after which the front gives up; the keeper bounds it */
    uint32_t kind;        /* hf_eth1_kind */
    uint32_t data_len;
    uint8_t address[HF_ADDRESS_BYTES];  /* whose key */
    uint8_t data[HF_ETH1_INLINE_BYTES]; /* TYPED_DATA: an hf_typed_message */
} hf_msg_eth1_sign;

typedef struct hf_msg_eth1_reply {
    hf_frame_header header;
    uint32_t reason;                                 /* hf_reason */
    uint8_t stored;                                  /* a vote: 1: signed before */
    uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES]; /* zeros unless reason is OK */
    uint8_t reserved[2];
    char detail[HF_DETAIL_LEN];
} hf_msg_eth1_reply;

#define HF_ETH1_KEYS_PAGE 128

/* ETH1_KEYS (scope PUBLIC_KEYS), answered page by page. */
typedef struct hf_msg_eth1_keys {
    hf_frame_header header;
    hf_caller caller;
    uint32_t offset;
    uint32_t reserved;
} hf_msg_eth1_keys;

typedef struct hf_eth1_key_entry {
    uint8_t address[HF_ADDRESS_BYTES];
    uint32_t backend;
    uint32_t source; /* place in signing_keys, or HF_SOURCE_NONE */
    uint8_t pubkey[HF_SECP256K1_PUBKEY_BYTES];
} hf_eth1_key_entry;

typedef struct hf_msg_eth1_keys_reply {
    hf_frame_header header;
    uint64_t generation; /* as of KEYS_REPLY */
    uint32_t total;
    uint32_t count;
    hf_eth1_key_entry keys[HF_ETH1_KEYS_PAGE];
} hf_msg_eth1_keys_reply;

#endif
