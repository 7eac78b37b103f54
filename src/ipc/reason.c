/* The one table from reason to code, sentence, HTTP status and log level; names of key back ends.
 */
#include "ipc/ipc.h"

#define REASON(name, status, level, sentence) [HF_REASON_##name] = {#name, sentence, status, level}

static const hf_reason_info reasons[HF_REASON_COUNT] = {
    REASON(OK, 200, HF_LOG_DEBUG, "done"),
    REASON(DOUBLE_BLOCK, 412, HF_LOG_UNUSUAL, "another block was signed for this slot"),
    REASON(DOUBLE_VOTE, 412, HF_LOG_UNUSUAL, "another attestation was signed for this target"),
    REASON(SURROUNDING_VOTE, 412, HF_LOG_UNUSUAL, "the attestation surrounds an earlier one"),
    REASON(SURROUNDED_VOTE, 412, HF_LOG_UNUSUAL, "the attestation is surrounded by an earlier one"),
    REASON(BELOW_WATERMARK, 412, HF_LOG_UNUSUAL,
           "below the oldest slot or epoch on record for this key"),
    REASON(ABOVE_HIGH_WATERMARK, 412, HF_LOG_UNUSUAL, "at or above the high watermark"),
    REASON(DUTY_CONFLICT, 412, HF_LOG_UNUSUAL, "other data was signed, or is being signed"),
    REASON(DUTY_EXPIRED, 412, HF_LOG_UNUSUAL,
           "the duty is older than what is still on record: it is never signed again"),
    REASON(SOURCE_AFTER_TARGET, 400, HF_LOG_UNUSUAL, "the source epoch is after the target epoch"),
    REASON(
        DISABLED, 412, HF_LOG_UNUSUAL,
        "the shared database says that this key was deleted from a signer: UPDATE validators SET "
        "enabled = true there if it is to sign again"),
    REASON(SIGNING_ROOT_MISMATCH, 400, HF_LOG_UNUSUAL,
           "signingRoot is not the root of the fields sent"),
    REASON(MALFORMED, 400, HF_LOG_INFO, "malformed request"),
    REASON(OUT_OF_RANGE, 400, HF_LOG_INFO, "a slot or epoch is out of range"),
    REASON(UNAUTHORIZED, 401, HF_LOG_UNUSUAL, "no valid token was sent"),
    REASON(FORBIDDEN, 403, HF_LOG_UNUSUAL, "not permitted"),
    REASON(POLICY_FORK_VERSION, 403, HF_LOG_UNUSUAL, "a limit allows no such fork version"),
    REASON(POLICY_EXIT, 403, HF_LOG_UNUSUAL, "a limit refuses exits of this key"),
    REASON(POLICY_EXIT_UNAPPROVED, 403, HF_LOG_UNUSUAL,
           "somebody else has to approve an exit of this key first"),
    REASON(POLICY_FEE_RECIPIENT, 403, HF_LOG_UNUSUAL, "a limit allows no such fee recipient"),
    REASON(POLICY_GAS_LIMIT, 403, HF_LOG_UNUSUAL, "a limit allows no such gas limit"),
    REASON(POLICY_BLOCK_PROOF, 403, HF_LOG_UNUSUAL,
           "a limit wants a proof of what the block holds, and there is no right one"),
    REASON(POLICY_CLOCK, 403, HF_LOG_UNUSUAL, "a limit allows no slot so far from the clock"),
    REASON(POLICY_CHAIN, 403, HF_LOG_UNUSUAL, "a limit allows no such chain"),
    REASON(POLICY_RECIPIENT, 403, HF_LOG_UNUSUAL, "a limit allows no such recipient"),
    REASON(POLICY_CREATION, 403, HF_LOG_UNUSUAL, "a limit allows no creation of contracts"),
    REASON(POLICY_METHOD, 403, HF_LOG_UNUSUAL, "a limit allows no call of this method"),
    REASON(POLICY_VALUE, 403, HF_LOG_UNUSUAL, "a limit allows no such value in one transaction"),
    REASON(POLICY_VALUE_PER_DAY, 403, HF_LOG_UNUSUAL, "a limit allows no such value in a day"),
    REASON(POLICY_FEE, 403, HF_LOG_UNUSUAL, "a limit allows no such fee"),
    REASON(POLICY_MESSAGE, 403, HF_LOG_UNUSUAL, "a limit refuses messages of this kind"),
    REASON(POLICY_HASH, 403, HF_LOG_UNUSUAL,
           "a limit refuses hashes that do not say what they are of"),
    REASON(CANARY, 403, HF_LOG_BROKEN, "a canary key was asked for"),
    REASON(WRONG_NETWORK, 403, HF_LOG_UNUSUAL, "genesis_validators_root is another network's"),
    REASON(CROSS_ORIGIN, 403, HF_LOG_UNUSUAL, "requests from web pages are refused"),
    REASON(UNKNOWN_KEY, 404, HF_LOG_INFO, "no such key is loaded"),
    REASON(NOT_FOUND, 404, HF_LOG_INFO, "no such route"),
    REASON(METHOD_NOT_ALLOWED, 405, HF_LOG_INFO, "this route has no such method"),
    REASON(BUSY, 409, HF_LOG_INFO, "already under way"),
    REASON(DUTY_HELD, 409, HF_LOG_INFO, "another node is signing this duty"),
    REASON(TOO_LARGE, 413, HF_LOG_INFO, "the request is too large"),
    REASON(UNSUPPORTED_MEDIA_TYPE, 415, HF_LOG_INFO, "the body must be application/json"),
    REASON(WRONG_SHARE, 422, HF_LOG_UNUSUAL, "that is not the share of this holder"),
    REASON(RATE_LIMITED, 429, HF_LOG_UNUSUAL, "too many of these requests; ask again later"),
    REASON(NODE_UNAVAILABLE, 502, HF_LOG_UNUSUAL, "the node gave no answer that can be used"),
    REASON(NODE_TIMEOUT, 504, HF_LOG_UNUSUAL, "the node did not answer in time"),
    REASON(SEALED, 503, HF_LOG_INFO, "the signer is sealed"),
    REASON(STORE_UNAVAILABLE, 503, HF_LOG_BROKEN,
           "the slashing protection store cannot record; nothing was signed"),
    REASON(AUDIT_UNAVAILABLE, 503, HF_LOG_BROKEN,
           "the audit log cannot be written; nothing was signed or changed"),
    REASON(START_GUARD, 503, HF_LOG_BROKEN,
           "the start guard: the slashing record may lack what was signed; nothing was signed"),
    REASON(DUTY_STORE_UNAVAILABLE, 503, HF_LOG_BROKEN,
           "the database of duties does not answer; nothing was signed"),
    REASON(DUTY_LOCK_LOST, 503, HF_LOG_BROKEN,
           "the duty's lock was lost before its signature was on record; ask again"),
    REASON(CUSTODY_UNAVAILABLE, 503, HF_LOG_BROKEN,
           "the key's device or service cannot be reached, or refused"),
    REASON(OVERLOADED, 503, HF_LOG_UNUSUAL, "too many requests under way"),
    REASON(TIMEOUT, 503, HF_LOG_UNUSUAL, "the request was not answered in time"),
    REASON(SHUTTING_DOWN, 503, HF_LOG_INFO, "shutting down"),
    REASON(KEEPER_UNAVAILABLE, 503, HF_LOG_BROKEN, "the keeper is gone"),
    REASON(INTERNAL, 500, HF_LOG_BROKEN, "internal error"),
};

const hf_reason_info *hf_reason_describe(hf_reason reason)
{
    return &reasons[reason < HF_REASON_COUNT ? reason : HF_REASON_INTERNAL];
}

hf_reason hf_reason_from_limit(hf_limit_verdict verdict)
{
    switch (verdict) {
    case HF_LIMIT_PASSED:
        return HF_REASON_OK;
    case HF_LIMIT_FORK_VERSION:
        return HF_REASON_POLICY_FORK_VERSION;
    case HF_LIMIT_EXIT:
        return HF_REASON_POLICY_EXIT;
    case HF_LIMIT_EXIT_APPROVAL:
        return HF_REASON_POLICY_EXIT_UNAPPROVED;
    case HF_LIMIT_FEE_RECIPIENT:
        return HF_REASON_POLICY_FEE_RECIPIENT;
    case HF_LIMIT_GAS_LIMIT:
        return HF_REASON_POLICY_GAS_LIMIT;
    case HF_LIMIT_BLOCK_PROOF:
        return HF_REASON_POLICY_BLOCK_PROOF;
    case HF_LIMIT_CLOCK:
        return HF_REASON_POLICY_CLOCK;
    case HF_LIMIT_RATE:
        return HF_REASON_RATE_LIMITED;
    case HF_LIMIT_CHAIN:
        return HF_REASON_POLICY_CHAIN;
    case HF_LIMIT_RECIPIENT:
        return HF_REASON_POLICY_RECIPIENT;
    case HF_LIMIT_CREATION:
        return HF_REASON_POLICY_CREATION;
    case HF_LIMIT_METHOD:
        return HF_REASON_POLICY_METHOD;
    case HF_LIMIT_VALUE:
        return HF_REASON_POLICY_VALUE;
    case HF_LIMIT_DAY:
        return HF_REASON_POLICY_VALUE_PER_DAY;
    case HF_LIMIT_FEE:
        return HF_REASON_POLICY_FEE;
    case HF_LIMIT_MESSAGE:
        return HF_REASON_POLICY_MESSAGE;
    case HF_LIMIT_OPAQUE:
        return HF_REASON_POLICY_HASH;
    case HF_LIMIT_VERDICT_COUNT:
        break;
    }
    return HF_REASON_INTERNAL;
}

hf_reason hf_reason_from_verdict(hf_verdict verdict)
{
    switch (verdict) {
    case HF_VERDICT_ALLOW:
    case HF_VERDICT_REPEAT:
        return HF_REASON_OK;
    case HF_VERDICT_DOUBLE_BLOCK:
        return HF_REASON_DOUBLE_BLOCK;
    case HF_VERDICT_DOUBLE_VOTE:
        return HF_REASON_DOUBLE_VOTE;
    case HF_VERDICT_SURROUNDING_VOTE:
        return HF_REASON_SURROUNDING_VOTE;
    case HF_VERDICT_SURROUNDED_VOTE:
        return HF_REASON_SURROUNDED_VOTE;
    case HF_VERDICT_BELOW_WATERMARK:
        return HF_REASON_BELOW_WATERMARK;
    case HF_VERDICT_ABOVE_HIGH_WATERMARK:
        return HF_REASON_ABOVE_HIGH_WATERMARK;
    case HF_VERDICT_SOURCE_AFTER_TARGET:
        return HF_REASON_SOURCE_AFTER_TARGET;
    case HF_VERDICT_DISABLED:
        return HF_REASON_DISABLED;
    case HF_VERDICT_UNDECIDED:
        return HF_REASON_STORE_UNAVAILABLE;
    case HF_VERDICT_COUNT:
        break;
    }
    return HF_REASON_INTERNAL;
}

const char *hf_key_backend_name(hf_key_backend backend)
{
    switch (backend) {
    case HF_BACKEND_LOCAL_KEYSTORE:
        return "local-keystore";
    case HF_BACKEND_WEB3SIGNER:
        return "web3signer";
    case HF_BACKEND_IMPORTED:
        return "imported";
    case HF_BACKEND_SEALED:
        return "sealed";
    case HF_BACKEND_PKCS11:
        return "pkcs11";
    case HF_BACKEND_YUBIHSM:
        return "yubihsm";
    case HF_BACKEND_AWS_CLOUDHSM:
        return "aws-cloudhsm";
    case HF_BACKEND_AWS_KMS:
        return "aws-kms";
    case HF_BACKEND_AWS_SECRETS_MANAGER:
        return "aws-secrets-manager";
    case HF_BACKEND_VAULT:
        return "vault";
    case HF_BACKEND_AZURE_KEY_VAULT:
        return "azure-key-vault";
    case HF_BACKEND_GCP_SECRET_MANAGER:
        return "gcp-secret-manager";
    case HF_BACKEND_COUNT:
        break;
    }
    return "unknown";
}

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

const uint64_t hf_bucket_bounds_ns[HF_BUCKETS - 1] = {
    25 * US, 50 * US, 100 * US, 250 * US, 500 * US, 1 * MS,   2500 * US, 5 * MS,
    10 * MS, 25 * MS, 50 * MS,  100 * MS, 250 * MS, 500 * MS, 1000 * MS,
};

const char *hf_store_backend_name(hf_store_backend backend)
{
    static const char *const names[HF_STORE_BACKEND_COUNT] = {"sqlite", "postgres", "dynamodb"};
    return backend < HF_STORE_BACKEND_COUNT ? names[backend] : "unknown";
}
