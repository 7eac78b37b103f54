/* Reasons: what came of a request. Included by ipc.h. */
#ifndef HF_IPC_REASON_H
#define HF_IPC_REASON_H

/* Why a request got the answer it got. reason.c maps each to code, HTTP status and log level. */
typedef enum hf_reason {
    HF_REASON_OK = 0,
    /* 412 */
    HF_REASON_DOUBLE_BLOCK,
    HF_REASON_DOUBLE_VOTE,
    HF_REASON_SURROUNDING_VOTE,
    HF_REASON_SURROUNDED_VOTE,
    HF_REASON_BELOW_WATERMARK,
    HF_REASON_ABOVE_HIGH_WATERMARK,
    HF_REASON_DISABLED,
    HF_REASON_DUTY_CONFLICT,
    HF_REASON_DUTY_EXPIRED,
    /* 400 */
    HF_REASON_SOURCE_AFTER_TARGET,
    HF_REASON_SIGNING_ROOT_MISMATCH,
    HF_REASON_MALFORMED,
    HF_REASON_OUT_OF_RANGE,
    /* 401, 403 */
    HF_REASON_UNAUTHORIZED,
    HF_REASON_FORBIDDEN,
    HF_REASON_POLICY_FORK_VERSION,
    HF_REASON_POLICY_EXIT,
    HF_REASON_POLICY_EXIT_UNAPPROVED,
    HF_REASON_POLICY_FEE_RECIPIENT,
    HF_REASON_POLICY_GAS_LIMIT,
    HF_REASON_POLICY_BLOCK_PROOF,
    HF_REASON_POLICY_CLOCK,
    HF_REASON_POLICY_CHAIN,
    HF_REASON_POLICY_RECIPIENT,
    HF_REASON_POLICY_CREATION,
    HF_REASON_POLICY_METHOD,
    HF_REASON_POLICY_VALUE,
    HF_REASON_POLICY_VALUE_PER_DAY,
    HF_REASON_POLICY_FEE,
    HF_REASON_POLICY_MESSAGE,
    HF_REASON_POLICY_HASH,
    HF_REASON_CANARY,
    HF_REASON_WRONG_NETWORK,
    HF_REASON_CROSS_ORIGIN,
    /* 404, 405, 409, 413, 415, 431 */
    HF_REASON_UNKNOWN_KEY,
    HF_REASON_NOT_FOUND,
    HF_REASON_METHOD_NOT_ALLOWED,
    HF_REASON_BUSY,
    HF_REASON_DUTY_HELD,
    HF_REASON_TOO_LARGE,
    HF_REASON_UNSUPPORTED_MEDIA_TYPE,
    HF_REASON_WRONG_SHARE,  /* 422 */
    HF_REASON_RATE_LIMITED, /* 429 */
    /* 502, 504 */
    HF_REASON_NODE_UNAVAILABLE,
    HF_REASON_NODE_TIMEOUT,
    /* 503 */
    HF_REASON_SEALED,
    HF_REASON_STORE_UNAVAILABLE,
    HF_REASON_AUDIT_UNAVAILABLE,
    HF_REASON_START_GUARD,
    HF_REASON_DUTY_STORE_UNAVAILABLE,
    HF_REASON_DUTY_LOCK_LOST,
    HF_REASON_CUSTODY_UNAVAILABLE,
    HF_REASON_OVERLOADED,
    HF_REASON_TIMEOUT,
    HF_REASON_SHUTTING_DOWN,
    HF_REASON_KEEPER_UNAVAILABLE,
    /* 500 */
    HF_REASON_INTERNAL,
    HF_REASON_COUNT
} hf_reason;

typedef struct hf_reason_info {
    const char *code; /* "DOUBLE_VOTE": the code member of error bodies and the metric label */
    const char *sentence;
    unsigned http_status;
    hf_log_level log_level;
} hf_reason_info;

/* Never NULL: a value out of range gives INTERNAL. */
const hf_reason_info *hf_reason_describe(hf_reason reason);
hf_reason hf_reason_from_limit(hf_limit_verdict verdict);
hf_reason hf_reason_from_verdict(hf_verdict verdict); /* ALLOW and REPEAT give OK */

#endif
