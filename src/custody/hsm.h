/*
 * A back end of custody: keys in a device, behind a cloud's interface, or kept as secrets by a
 * server. Each entry of signing_keys that names one gets a process of its own, holdfast-hsm
 * (hsm_main.c), because a back end loads foreign code or speaks to a network; the keeper asks it
 * through frames (ipc_custody.h), after the policy's decision and the durable record.
 *
 * A key is one of two things. One whose secret the back end gives away (an unwrapped BLS key, a
 * secret of a server) goes to the keeper's locked memory, and the back end has no further part in
 * it. One that stays inside signs by its handle; the keeper verifies what comes back against the
 * public key before it leaves.
 *
 * A back end is one file that fills an hf_custody_ops. open, list and close are called by one
 * thread; sign, wrap and unwrap by several at once, and beside list. Calls block, and end by their
 * deadline (a moment on CLOCK_MONOTONIC) as far as the foreign code lets them. Errors name the
 * thing and never a secret. After UNAVAILABLE the back end connects anew by itself with a later
 * call: nothing has to be restarted.
 */
#ifndef HF_CUSTODY_HSM_H
#define HF_CUSTODY_HSM_H

#include "base/base.h"
#include "ipc/ipc.h"

typedef struct hf_custody_key {
    hf_custody_type type;
    bool is_inside;
    uint8_t source_id[HF_SOURCE_ID_LEN]; /* the same for the same key in each list */
    char name[HF_CUSTODY_NAME_LEN];      /* label, ARN or path: for logs */
    uint64_t handle;                     /* inside: what sign gets; stable as source_id */
    uint8_t public_key[HF_CUSTODY_PUBLIC_MAX];
    uint32_t public_len;
    uint8_t secret[HF_CUSTODY_SECRET_BYTES]; /* not inside: big endian; whoever holds it wipes it */
} hf_custody_key;

/* What list finds, one call each; key is borrowed. A failure stops the list and is returned. */
typedef struct hf_custody_visitor {
    void *context;
    hf_status (*key)(void *context, const hf_custody_key *key);
    /* One that is there and cannot be used; the others go on. */
    void (*failed)(void *context, const char *name, const char *why);
} hf_custody_visitor;

/* One secret of a server's, for back ends that are told which. */
typedef struct hf_secret_ref {
    const char *path;  /* its name there */
    const char *field; /* the one that holds the key, where secrets have fields */
    const char *label; /* for whoever asks: the file that names it, say; may be NULL */
} hf_secret_ref;

typedef struct hf_custody hf_custody;

/*
 * Statuses: UNAVAILABLE: the back end cannot be reached, is locked out, or did not answer in time.
 * DENIED: it refused (wrong PIN or policy, wrong context, not the wrapped thing of this key).
 * NOT_FOUND: no such handle or reference. INVALID_INPUT: a blob that is none. USAGE: this back end
 * has no such operation.
 */
typedef struct hf_custody_ops {
    /* What is there now. */
    hf_status (*list)(hf_custody *custody, const hf_custody_visitor *visitor, uint64_t deadline_ns,
                      hf_error *err);
    /* SECP256K1, P256: message is a digest of 32 bytes, and the signature r || s as the back end
     * made it (s is made low, and the recovery id found, by the caller). ED25519: the message. */
    hf_status (*sign)(hf_custody *custody, uint64_t handle, hf_bytes message, uint64_t deadline_ns,
                      uint8_t ret_signature[HF_CUSTODY_SIGNATURE_BYTES], hf_error *err);
    /* A short secret under the key-encryption key that reference names (a label, an ARN), bound to
     * context where the back end can do that. out has out_len bytes of room, set to those used. */
    hf_status (*wrap)(hf_custody *custody, const char *reference, hf_bytes context, hf_bytes secret,
                      uint64_t deadline_ns, uint8_t *out, size_t *out_len, hf_error *err);
    hf_status (*unwrap)(hf_custody *custody, const char *reference, hf_bytes context, hf_bytes blob,
                        uint64_t deadline_ns, uint8_t *out, size_t *out_len, hf_error *err);
    /* Is it well? With a sentence either way. Cheap: asked every few seconds. */
    bool (*is_healthy)(hf_custody *custody, char ret_detail[HF_DETAIL_LEN]);
    void (*close)(hf_custody *custody); /* wipes and frees */
} hf_custody_ops;

/* For back ends that give their keys away: USAGE, whatever is asked. The second is unwrap, too. */
hf_status hf_custody_never_signs(hf_custody *custody, uint64_t handle, hf_bytes message,
                                 uint64_t deadline_ns,
                                 uint8_t ret_signature[HF_CUSTODY_SIGNATURE_BYTES], hf_error *err);
hf_status hf_custody_never_wraps(hf_custody *custody, const char *reference, hf_bytes context,
                                 hf_bytes data, uint64_t deadline_ns, uint8_t *out, size_t *out_len,
                                 hf_error *err);

/* Each back end embeds this first in its own structure. */
struct hf_custody {
    const hf_custody_ops *ops;
};

#endif
