/* libholdfast's signer: acquire, the caller's callback, complete; on the caller's thread. */
#include <semaphore.h>

#include "duty/duty_internal.h"

struct hf_duty_signer {
    hf_duty_engine *engine;
    hf_duty_config config;
};

#define CONNECT_MS_LEAST 1000

/*
 * One request that a thread waits for; the engine answers each by its deadline. A semaphore,
 * because its post touches nothing of it once the waiter may go on, and the waiter needs no lock to
 * go on.
 */
typedef struct call {
    sem_t answered;
    hf_duty_answer answer;
} call;

static void call_done(void *context, const hf_duty_answer *answer)
{
    call *cl = context;
    cl->answer = *answer;
    (void)sem_post(&cl->answered);
}

static const hf_duty_answer *call_wait(call *cl)
{
    while (sem_wait(&cl->answered) != 0) {
        /* a signal's handler ran */
    }
    return &cl->answer;
}

/* ---- outcomes ----------------------------------------------------------------------------------
 */

static hf_duty_result outcome_from(hf_duty_outcome *outcome, const hf_duty_answer *answer)
{
    outcome->result = answer->result;
    memcpy(outcome->node_id, answer->node_id, sizeof(outcome->node_id));
    memcpy(outcome->existing_hash, answer->existing_hash, sizeof(outcome->existing_hash));
    memcpy(outcome->message, answer->message, sizeof(outcome->message));
    if (answer->result == HF_DUTY_OK || answer->result == HF_DUTY_STORED) {
        memcpy(outcome->signature, answer->signature, sizeof(outcome->signature));
    }
    return outcome->result;
}

static hf_duty_result outcome_say(hf_duty_outcome *outcome, hf_duty_result result,
                                  const char *message)
{
    outcome->result = result;
    hf_str_cut(outcome->message, sizeof(outcome->message), message);
    return result;
}

/* Runs the callback and checks what it made. */
static hf_duty_sign_code run_callback(hf_duty_sign_fn sign, void *context, const hf_duty *duty,
                                      const uint8_t *hash, uint8_t *ret_signature,
                                      hf_duty_outcome *outcome)
{
    uint8_t signature[HF_DUTY_SIGNATURE_BYTES] = {0};
    char text[HF_AZTEC_SIGNATURE_TEXT_LEN];
    int code = sign(context, duty, hash, signature);
    outcome->callback_code = code;
    if (code == HF_DUTY_SIGN_DONE) {
        hf_aztec_signature_format(signature, text);
        if (!hf_failed(hf_aztec_signature_parse(text, sizeof(text) - 1, ret_signature))) {
            return HF_DUTY_SIGN_DONE;
        }
        (void)outcome_say(outcome, HF_DUTY_SIGN_UNKNOWN,
                          "the callback returned something that is no signature (r, s, v)");
        return HF_DUTY_SIGN_MAYBE;
    }
    if (code == HF_DUTY_SIGN_REFUSED) {
        (void)outcome_say(outcome, HF_DUTY_SIGN_FAILED, "the callback could not sign");
        return HF_DUTY_SIGN_REFUSED;
    }
    (void)outcome_say(outcome, HF_DUTY_SIGN_UNKNOWN,
                      "the callback does not know whether a signature exists: only the same"
                      " message can follow");
    return HF_DUTY_SIGN_MAYBE;
}

static uint64_t ms_from_now(uint64_t ms)
{
    return hf_time_mono_ns() + ms * HF_NS_PER_MS;
}

static hf_duty_result sign_protected(hf_duty_signer *signer, const hf_duty *duty,
                                     const uint8_t *hash, hf_duty_sign_fn sign, void *context,
                                     hf_duty_outcome *outcome, call *cl)
{
    uint64_t database_ms = signer->config.database_timeout_ms;
    hf_duty_acquire(signer->engine, duty, hash,
                    ms_from_now(database_ms + signer->config.signing_timeout_ms), call_done, cl);
    const hf_duty_answer *answer = call_wait(cl);
    if (answer->result != HF_DUTY_OK) {
        return outcome_from(outcome, answer);
    }
    hf_duty_lock lock = answer->lock;
    uint8_t signature[HF_DUTY_SIGNATURE_BYTES];
    switch (run_callback(sign, context, duty, hash, signature, outcome)) {
    case HF_DUTY_SIGN_DONE:
        break;
    case HF_DUTY_SIGN_REFUSED:
        /* Waits, so that a caller who tries again finds the duty free. */
        hf_duty_release(signer->engine, duty, &lock, ms_from_now(database_ms), call_done, cl);
        (void)call_wait(cl);
        return outcome->result;
    case HF_DUTY_SIGN_MAYBE:
    default:
        return outcome->result;
    }
    hf_duty_complete(signer->engine, duty, hash, &lock, signature, ms_from_now(database_ms),
                     call_done, cl);
    return outcome_from(outcome, call_wait(cl));
}

hf_duty_result hf_duty_sign(hf_duty_signer *signer, const hf_duty *duty,
                            const uint8_t hash[HF_DUTY_HASH_BYTES], hf_duty_sign_fn sign,
                            void *context, hf_duty_outcome *outcome)
{
    if (outcome == NULL) {
        return HF_DUTY_INVALID;
    }
    *outcome = (hf_duty_outcome){.result = HF_DUTY_INVALID};
    if (signer == NULL || duty == NULL || hash == NULL || sign == NULL) {
        return outcome_say(outcome, HF_DUTY_INVALID, "an argument is NULL");
    }
    hf_duty normal = *duty;
    hf_error err = {0};
    if (hf_failed(hf_aztec_duty_normalize(&normal, &err))) {
        return outcome_say(outcome, HF_DUTY_INVALID, err.msg);
    }
    if (!hf_duty_type_is_protected(normal.type)) {
        uint8_t signature[HF_DUTY_SIGNATURE_BYTES];
        if (run_callback(sign, context, &normal, hash, signature, outcome) == HF_DUTY_SIGN_DONE) {
            memcpy(outcome->signature, signature, sizeof(signature));
            memcpy(outcome->node_id, signer->config.node_id, sizeof(outcome->node_id));
            outcome->result = HF_DUTY_OK;
        }
        return outcome->result;
    }
    call cl;
    HF_ASSERT(sem_init(&cl.answered, 0, 0) == 0);
    (void)sign_protected(signer, &normal, hash, sign, context, outcome, &cl);
    (void)sem_destroy(&cl.answered);
    return outcome->result;
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static hf_duty_result say(hf_duty_error *error, hf_duty_result result, const char *message)
{
    if (error != NULL) {
        error->result = result;
        hf_str_cut(error->message, sizeof(error->message), message);
    }
    return result;
}

hf_duty_result hf_duty_open(const hf_duty_config *config, hf_duty_signer **ret_signer,
                            hf_duty_error *error)
{
    if (config == NULL || ret_signer == NULL) {
        return say(error, HF_DUTY_INVALID, "an argument is NULL");
    }
    if (!config->enabled) {
        return say(error, HF_DUTY_CONFIG,
                   "duty protection is not enabled (VALIDATOR_HA_SIGNING_ENABLED)");
    }
    hf_duty_signer *signer = calloc(1, sizeof(*signer));
    if (signer == NULL) {
        return say(error, HF_DUTY_NO_MEMORY, "no memory");
    }
    hf_error err = {0};
    signer->config = *config;
    hf_status st = hf_duty_engine_open(config, &signer->engine, &err);
    if (hf_failed(st)) {
        free(signer);
        return say(error, st.code == HF_USAGE ? HF_DUTY_CONFIG : HF_DUTY_NO_MEMORY, err.msg);
    }
    uint32_t wait_ms = config->pool_connection_timeout_ms != 0 ? config->pool_connection_timeout_ms
                                                               : 5 * CONNECT_MS_LEAST;
    hf_duty_result result = hf_duty_engine_ready(signer->engine, wait_ms, error);
    if (result != HF_DUTY_OK) {
        hf_duty_close(signer);
        return result;
    }
    *ret_signer = signer;
    return HF_DUTY_OK;
}

void hf_duty_close(hf_duty_signer *signer)
{
    if (signer != NULL) {
        hf_duty_engine_close(signer->engine);
        hf_wipe(signer, sizeof(*signer));
        free(signer);
    }
}

void hf_duty_start(hf_duty_signer *signer)
{
    hf_duty_engine_cleaning(signer->engine, true);
}

void hf_duty_stop(hf_duty_signer *signer)
{
    hf_duty_engine_cleaning(signer->engine, false);
}

hf_duty_result hf_duty_cleanup(hf_duty_signer *signer, uint64_t *ret_rows, hf_duty_error *error)
{
    return hf_duty_engine_clean(signer->engine, ret_rows, error);
}

const char *hf_duty_node_id(const hf_duty_signer *signer)
{
    return signer->config.node_id;
}

void hf_duty_counters_get(const hf_duty_signer *signer, hf_duty_counters *ret_counters)
{
    hf_duty_engine_counters(signer->engine, ret_counters);
}
