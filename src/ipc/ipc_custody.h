/*
 * A back end of custody (the process holdfast-hsm, custody/hsm.h) and the keeper. Included by
 * ipc.h.
 *
 * Two channels, each on a descriptor of its own from HF_FD_CUSTODY on. On HF_CHANNEL_CUSTODY_KEYS
 * the back end says which keys it has: CUSTODY_BEGIN, then CUSTODY_KEY or CUSTODY_FAILED for each,
 * then CUSTODY_DONE; at the start as soon as it can, and again after each CUSTODY_LIST. A listing
 * that failed has DONE with its code: what was known before stays. On HF_CHANNEL_CUSTODY the keeper
 * asks, any number of questions at a time with a request_id that it never uses again: CUSTODY_SIGN
 * is answered by CUSTODY_SIGNED, CUSTODY_WRAP and CUSTODY_UNWRAP by CUSTODY_WRAPPED, in any order.
 * A question whose deadline is over is neither worked on nor answered. CUSTODY_STATE comes there
 * unasked, once a second.
 */
#ifndef HF_IPC_CUSTODY_H
#define HF_IPC_CUSTODY_H

#include "ipc/ipc.h"

/* Is this back end one that such a process speaks to? */
bool hf_key_backend_is_custody(uint32_t backend);
/* Those, and key files of Web3Signer, for the sake of those that name a server. */
bool hf_key_backend_has_process(uint32_t backend);
/* The back end of that name ("pkcs11"); HF_BACKEND_COUNT when there is none. */
hf_key_backend hf_key_backend_by_name(const char *name);

/* ---- settings ------------------------------------------------------------------------------ */

/*
 * What the configuration says about one back end: pairs of a name and a value, each NUL-terminated.
 * A member of a mapping has both names ("auth.role_id"), each entry of a list the same one again.
 * Paths are absolute. No value is a secret: files of secrets are named.
 */
#define HF_CUSTODY_SETTINGS_LEN 8188

typedef struct hf_custody_settings {
    uint32_t len;
    char text[HF_CUSTODY_SETTINGS_LEN];
} hf_custody_settings; /* start from {0} */

/* LIMIT when there is no room. */
hf_status hf_custody_settings_put(hf_custody_settings *settings, const char *name,
                                  const char *value) HF_MUST_CHECK;
/* The next pair from *offset on (0 at first), borrowed; false when there is none, or no sane one.
 */
bool hf_custody_settings_next(const hf_custody_settings *settings, size_t *offset,
                              const char **ret_name, const char **ret_value);
/* The value of that name, the n-th one for lists; NULL when there is none. */
const char *hf_custody_setting_at(const hf_custody_settings *settings, const char *name, size_t n);
/* The only one; "" when there is none. */
const char *hf_custody_setting(const hf_custody_settings *settings, const char *name);
/* As a number; standard when it is not set. */
uint64_t hf_custody_setting_number(const hf_custody_settings *settings, const char *name,
                                   uint64_t standard);

/* Supervisor -> holdfast-hsm, with its two channels on HF_FD_CUSTODY and following. */
typedef struct hf_msg_custody_config {
    hf_frame_header header;
    hf_hardening_config hardening;
    hf_log_config log;
    uint32_t backend;    /* hf_key_backend */
    uint32_t place;      /* among the back ends, for the log */
    uint32_t threads;    /* that sign; 0 for the default */
    uint32_t timeout_ms; /* of a listing, or what else nobody waits for; 0 for the default */
    uint32_t lists;      /* 0: of the seal, whose keys are nobody's but its own */
    uint32_t reserved;
    hf_custody_settings settings;
} hf_msg_custody_config;

/* ---- keys ---------------------------------------------------------------------------------- */

typedef enum hf_custody_type {
    HF_CUSTODY_BLS = 0, /* secrets only: no device signs with them */
    HF_CUSTODY_SECP256K1,
    HF_CUSTODY_ED25519,
    HF_CUSTODY_P256,
    HF_CUSTODY_TYPE_COUNT
} hf_custody_type;

#define HF_CUSTODY_SECRET_BYTES 32
#define HF_CUSTODY_PUBLIC_MAX 65 /* SEC1 uncompressed; 32 bytes for Ed25519 */
#define HF_CUSTODY_SIGNATURE_BYTES 64
#define HF_CUSTODY_MESSAGE_MAX 256 /* a digest; the bytes of a vote, for Ed25519 */
#define HF_CUSTODY_NAME_LEN 256

typedef struct hf_msg_custody_key {
    hf_frame_header header;
    uint32_t type; /* hf_custody_type */
    uint32_t public_len;
    uint64_t handle;
    uint8_t source_id[HF_SOURCE_ID_LEN];
    uint8_t
        secret[HF_CUSTODY_SECRET_BYTES]; /* of one that is not inside; wiped by who handled it */
    uint8_t public_key[HF_CUSTODY_PUBLIC_MAX];
    uint8_t is_inside;
    uint8_t reserved[6];
    char name[HF_CUSTODY_NAME_LEN];
} hf_msg_custody_key;

/* CUSTODY_FAILED has the shape of KEY_FAILED, CUSTODY_BEGIN and CUSTODY_LIST have none. */

typedef struct hf_msg_custody_done {
    hf_frame_header header;
    uint32_t code;   /* hf_code; when not OK, the listing counts for nothing */
    uint32_t count;  /* keys listed */
    uint32_t failed; /* keys that cannot be used */
    uint32_t reserved;
    char detail[HF_DETAIL_LEN];
} hf_msg_custody_done;

/* ---- signatures and wrapped secrets -------------------------------------------------------- */

typedef struct hf_msg_custody_sign {
    hf_frame_header header;
    uint64_t deadline_ns; /* CLOCK_MONOTONIC */
    uint64_t handle;
    uint32_t len;
    uint32_t reserved;
    uint8_t message[HF_CUSTODY_MESSAGE_MAX];
} hf_msg_custody_sign;

typedef struct hf_msg_custody_signed {
    hf_frame_header header;
    uint32_t code; /* hf_code */
    uint32_t reserved;
    uint8_t signature[HF_CUSTODY_SIGNATURE_BYTES];
    char detail[HF_DETAIL_LEN];
} hf_msg_custody_signed;

#define HF_CUSTODY_BLOB_MAX 4096
#define HF_CUSTODY_CONTEXT_MAX 1024

/* WRAP: data is the secret; UNWRAP: the wrapped one. Wiped by who handled it. */
typedef struct hf_msg_custody_wrap {
    hf_frame_header header;
    uint64_t deadline_ns;
    uint32_t context_len;
    uint32_t len;
    char reference[HF_CUSTODY_NAME_LEN]; /* of the key-encryption key; NUL-terminated */
    uint8_t context[HF_CUSTODY_CONTEXT_MAX];
    uint8_t data[HF_CUSTODY_BLOB_MAX];
} hf_msg_custody_wrap;

typedef struct hf_msg_custody_wrapped {
    hf_frame_header header;
    uint32_t code; /* hf_code */
    uint32_t len;
    uint8_t data[HF_CUSTODY_BLOB_MAX];
    char detail[HF_DETAIL_LEN];
} hf_msg_custody_wrapped;

/* ---- how it is ----------------------------------------------------------------------------- */

/* One back end, for the status. */
typedef struct hf_custody_report {
    uint32_t backend;
    uint32_t source; /* place in signing_keys, or HF_SOURCE_NONE: of the seal */
    uint32_t keys;
    uint32_t keys_failed;
    uint32_t keys_other; /* listed, and of a type that no route asks for */
    uint8_t healthy;     /* 0 or 1 */
    uint8_t seccomp;     /* hf_protection_state of its process */
    uint8_t landlock;
    uint8_t reserved;
    char detail[HF_DETAIL_LEN];
    char problem[HF_DETAIL_LEN]; /* of the last listing; "" for none */
} hf_custody_report;

typedef struct hf_msg_custody_state {
    hf_frame_header header;
    uint32_t healthy; /* 0 or 1 */
    uint32_t protection_count;
    char detail[HF_DETAIL_LEN];
    hf_protection protections[HF_PROTECTIONS_MAX];
} hf_msg_custody_state;

#endif
