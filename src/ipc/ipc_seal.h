/*
 * The seal machine: frames between whoever manages it (fronts, admins), the supervisor, and the
 * keeper. Included by ipc.h.
 *
 * No passphrase travels: who asks derives the wrapping key (src/seal) and hands that in, so that
 * neither a front nor the keeper ever spends memory and seconds on a stranger's parameters. A
 * process that unwraps shares elsewhere (AWS KMS, PKCS#11) hands in the share itself, like a person
 * who typed a printed one. These frames carry secrets: wiped by who handled them.
 */
#ifndef HF_IPC_SEAL_H
#define HF_IPC_SEAL_H

typedef enum hf_seal_purpose {
    HF_SEAL_INIT = 0,
    HF_SEAL_REKEY, /* other holders or another threshold, the same master key */
    HF_SEAL_ROTATE /* a new master key: all records are sealed anew */
} hf_seal_purpose;

/* A holder to be; without a key it has to register before the change counts. */
typedef struct hf_seal_candidate {
    char name[HF_SEAL_NAME_LEN];
    uint8_t kind; /* hf_holder_kind */
    uint8_t is_required;
    uint8_t has_key; /* 1: key is the wrapping key made with kdf */
    uint8_t reserved[4];
    hf_seal_kdf kdf;
    uint8_t key[HF_SEAL_KEY_BYTES];
    char reference[HF_SEAL_REFERENCE_LEN];
} hf_seal_candidate;

/* SEAL_BEGIN, answered by SEAL_SHARES: those of the printed holders, once. */
typedef struct hf_msg_seal_begin {
    hf_frame_header header;
    hf_caller caller;
    uint32_t purpose; /* hf_seal_purpose */
    uint8_t threshold;
    uint8_t holder_count;
    uint8_t reserved[2];
    hf_seal_candidate holders[HF_SEAL_HOLDERS_MAX];
} hf_msg_seal_begin;

typedef struct hf_seal_printed {
    char name[HF_SEAL_NAME_LEN];
    uint8_t share[HF_SEAL_SHARE_BYTES];
    uint8_t reserved[6];
} hf_seal_printed;

typedef struct hf_msg_seal_shares {
    hf_frame_header header;
    uint32_t reason;  /* hf_reason */
    uint32_t missing; /* holders that have yet to register; 0: done and kept */
    uint32_t count;
    uint32_t reserved;
    hf_seal_printed shares[HF_SEAL_HOLDERS_MAX];
    char detail[HF_DETAIL_LEN];
} hf_msg_seal_shares;

/* SEAL_REGISTER, answered by RESULT: value is the number of holders still missing. */
typedef struct hf_msg_seal_register {
    hf_frame_header header;
    hf_caller caller;
    hf_seal_candidate holder; /* name, kdf and key count */
} hf_msg_seal_register;

/* SEAL_SUBMIT, answered by RESULT: value is the number of shares still missing. */
typedef struct hf_msg_seal_submit {
    hf_frame_header header;
    hf_caller caller;
    char name[HF_SEAL_NAME_LEN]; /* "" with a share: whose it is is found out */
    uint8_t is_share;            /* 0: bytes are a wrapping key; 1: the share itself */
    uint8_t bytes[HF_SEAL_SHARE_BYTES];
    uint8_t reserved[5];
} hf_msg_seal_submit;

/* SEAL_CLOSE, SEAL_CANCEL, SEAL_STATUS: hf_msg_ask */

typedef struct hf_seal_holder_state {
    char name[HF_SEAL_NAME_LEN];
    uint8_t kind;
    uint8_t is_required;
    uint8_t is_given;      /* its share is here, while partly unsealed */
    uint8_t is_registered; /* 0: a candidate that has yet to */
    uint8_t reserved[3];
    uint64_t wrong; /* shares refused since the start */
    hf_seal_kdf kdf;
    char reference[HF_SEAL_REFERENCE_LEN];
} hf_seal_holder_state;

typedef struct hf_msg_seal_status_reply {
    hf_frame_header header;
    uint8_t is_configured; /* 0: no signing_keys entry has backend sealed */
    uint8_t is_known;      /* 0: the store was not read yet */
    uint8_t state;         /* hf_seal_state */
    uint8_t threshold;
    uint8_t holder_count;
    uint8_t candidate_count; /* behind the holders: those of a change under way */
    uint8_t missing;         /* shares or registrations that are missing */
    uint8_t is_loading;      /* unsealed, and keys are still being opened */
    uint64_t generation;
    uint64_t since_unix_ms;
    uint32_t term;
    uint32_t keys_active;
    uint32_t keys_inactive;
    uint32_t keys_refused; /* records that were changed, moved, put back or taken away */
    uint32_t keys_to_rotate;
    uint8_t seal_id[HF_SEAL_ID_BYTES];
    uint32_t reserved;
    char detail[HF_DETAIL_LEN]; /* the first refused record, or why the store could not be read */
    hf_seal_holder_state holders[2 * HF_SEAL_HOLDERS_MAX];
} hf_msg_seal_status_reply;

/* ---- sealed keys -------------------------------------------------------------------------------
 */

/* With a page of the manifest each, and its head, they fit one change of the store. */
#define HF_SEALED_ADD_MAX 30

typedef struct hf_sealed_new_key {
    uint8_t secret[HF_SEALED_SECRET_BYTES]; /* big endian; zeros: the keeper makes a BLS key */
    uint8_t type;                           /* hf_key_type */
    uint8_t status;                         /* hf_sealed_status */
    uint8_t is_generated;                   /* 1: made by the keeper */
    uint8_t reserved[5];
} hf_sealed_new_key;

/*
 * SEALED_ADD, answered by SEALED_ADDED. All of a frame are kept, or none. With a descriptor and no
 * keys: one keystore and its password, as KEY_IMPORT has them, for a loader to open; answered by
 * RESULT (hf_key_outcome).
 */
typedef struct hf_msg_sealed_add {
    hf_frame_header header;
    hf_caller caller;
    uint32_t count;
    uint32_t reserved;
    hf_sealed_new_key keys[HF_SEALED_ADD_MAX];
} hf_msg_sealed_add;

typedef struct hf_sealed_outcome {
    uint8_t name[HF_SEALED_NAME_BYTES];
    uint8_t type;
    uint8_t outcome; /* hf_key_outcome: IMPORTED, DUPLICATE, ERROR */
    uint8_t reserved[6];
} hf_sealed_outcome;

typedef struct hf_msg_sealed_added {
    hf_frame_header header;
    uint32_t reason; /* hf_reason */
    uint32_t count;
    char detail[HF_DETAIL_LEN];
    hf_sealed_outcome keys[HF_SEALED_ADD_MAX];
} hf_msg_sealed_added;

typedef enum hf_sealed_action {
    HF_SEALED_ACTIVATE = 0,
    HF_SEALED_DEACTIVATE,
    HF_SEALED_DELETE,
    HF_SEALED_ACTION_COUNT
} hf_sealed_action;

/* SEALED_CHANGE, answered by RESULT; the answer comes when no request signs with it any more. */
typedef struct hf_msg_sealed_change {
    hf_frame_header header;
    hf_caller caller;
    uint32_t action; /* hf_sealed_action */
    uint32_t reserved;
    uint8_t name[HF_SEALED_NAME_BYTES]; /* a public key, or an address and zeros */
} hf_msg_sealed_change;

#define HF_SEALED_PAGE 256

/* SEALED_LIST: page counts the manifest's pages; answered by SEALED_LISTED, of that page alone and
 * of those of its keys that the asker may see. */
typedef struct hf_msg_sealed_list {
    hf_frame_header header;
    hf_caller caller;
    uint32_t page;
    uint16_t offset;
    uint8_t is_part; /* 1: belongs to another question that took a use of the token */
    uint8_t reserved;
} hf_msg_sealed_list;

typedef struct hf_sealed_entry {
    uint8_t name[HF_SEALED_NAME_BYTES];
    uint64_t version;
    uint8_t type;
    uint8_t status;
    uint8_t is_refused; /* its record does not fit */
    uint8_t reserved[5];
} hf_sealed_entry;

typedef struct hf_msg_sealed_listed {
    hf_frame_header header;
    uint32_t reason;
    uint32_t total; /* of the page, for the asker */
    uint32_t count;
    uint32_t reserved;
    hf_sealed_entry keys[HF_SEALED_PAGE];
} hf_msg_sealed_listed;

#endif
