/* The seal machine as one table: what each event does in each state. Pure. */
#include "seal/seal.h"

/* A cell: 0 is no entry at all, which the test of all pairs would find. */
#define GO(state) ((uint8_t)(1 + HF_SEAL_##state))
#define NO(reason) ((uint8_t)(REFUSED + (reason)))
#define REFUSED 64U

typedef enum refusal {
    NOT_INITIALIZED = 0,
    INITIALIZED,
    IS_SEALED,
    IS_UNSEALED,
    BUSY,
    NOTHING_OPEN,
    NOT_REGISTERING,
    IMPOSSIBLE,
    REFUSAL_COUNT
} refusal;

static const char *const sentences[REFUSAL_COUNT] = {
    [NOT_INITIALIZED] = "there is no seal yet: it is made by `holdfast seal init`",
    [INITIALIZED] = "a seal is there already",
    [IS_SEALED] = "the signer is sealed",
    [IS_UNSEALED] = "the signer is unsealed",
    [BUSY] = "a change of holders or key is under way",
    [NOTHING_OPEN] = "there is nothing to cancel",
    [NOT_REGISTERING] = "nobody is asked to register",
    [IMPOSSIBLE] = "this cannot happen here",
};

static const uint8_t table[HF_SEAL_STATE_COUNT][HF_SEAL_EVENT_COUNT] = {
    [HF_SEAL_UNINITIALIZED] =
        {
            [HF_SEAL_ON_INIT] = GO(AWAITING_REGISTRATION),
            [HF_SEAL_ON_REGISTER] = NO(NOT_INITIALIZED),
            [HF_SEAL_ON_REGISTERED] = GO(SEALED), /* an init that left nobody out */
            [HF_SEAL_ON_SHARE] = NO(NOT_INITIALIZED),
            [HF_SEAL_ON_LAST_SHARE] = NO(NOT_INITIALIZED),
            [HF_SEAL_ON_WRONG_SHARE] = NO(NOT_INITIALIZED),
            [HF_SEAL_ON_REPEATED_SHARE] = NO(NOT_INITIALIZED),
            [HF_SEAL_ON_SEAL] = NO(NOT_INITIALIZED),
            [HF_SEAL_ON_CHANGE] = NO(NOT_INITIALIZED),
            [HF_SEAL_ON_CHANGED] = NO(IMPOSSIBLE),
            [HF_SEAL_ON_CANCEL] = NO(NOTHING_OPEN),
            [HF_SEAL_ON_TIMEOUT] = GO(UNINITIALIZED),
            [HF_SEAL_ON_FOUND] = GO(SEALED),
            [HF_SEAL_ON_REPLACED] = GO(SEALED),
            [HF_SEAL_ON_RESTART] = GO(UNINITIALIZED),
        },
    [HF_SEAL_AWAITING_REGISTRATION] =
        {
            [HF_SEAL_ON_INIT] = NO(BUSY),
            [HF_SEAL_ON_REGISTER] = GO(AWAITING_REGISTRATION),
            [HF_SEAL_ON_REGISTERED] = GO(SEALED),
            [HF_SEAL_ON_SHARE] = NO(NOT_INITIALIZED),
            [HF_SEAL_ON_LAST_SHARE] = NO(NOT_INITIALIZED),
            [HF_SEAL_ON_WRONG_SHARE] = NO(NOT_INITIALIZED),
            [HF_SEAL_ON_REPEATED_SHARE] = NO(NOT_INITIALIZED),
            [HF_SEAL_ON_SEAL] = NO(NOT_INITIALIZED),
            [HF_SEAL_ON_CHANGE] = NO(BUSY),
            [HF_SEAL_ON_CHANGED] = NO(IMPOSSIBLE),
            [HF_SEAL_ON_CANCEL] = GO(UNINITIALIZED),
            [HF_SEAL_ON_TIMEOUT] = GO(UNINITIALIZED),
            [HF_SEAL_ON_FOUND] = GO(SEALED), /* another node was first; nothing depends on ours */
            [HF_SEAL_ON_REPLACED] = GO(SEALED),
            [HF_SEAL_ON_RESTART] = GO(UNINITIALIZED),
        },
    [HF_SEAL_SEALED] =
        {
            [HF_SEAL_ON_INIT] = NO(INITIALIZED),
            [HF_SEAL_ON_REGISTER] = NO(NOT_REGISTERING),
            [HF_SEAL_ON_REGISTERED] = NO(NOT_REGISTERING),
            [HF_SEAL_ON_SHARE] = GO(PARTLY_UNSEALED),
            [HF_SEAL_ON_LAST_SHARE] = GO(UNSEALED),
            [HF_SEAL_ON_WRONG_SHARE] = GO(SEALED),
            [HF_SEAL_ON_REPEATED_SHARE] = NO(IMPOSSIBLE),
            [HF_SEAL_ON_SEAL] = GO(SEALED),
            [HF_SEAL_ON_CHANGE] = NO(IS_SEALED),
            [HF_SEAL_ON_CHANGED] = NO(IMPOSSIBLE),
            [HF_SEAL_ON_CANCEL] = NO(NOTHING_OPEN),
            [HF_SEAL_ON_TIMEOUT] = GO(SEALED),
            [HF_SEAL_ON_FOUND] = GO(SEALED),
            [HF_SEAL_ON_REPLACED] = GO(SEALED),
            [HF_SEAL_ON_RESTART] = GO(SEALED),
        },
    [HF_SEAL_PARTLY_UNSEALED] =
        {
            [HF_SEAL_ON_INIT] = NO(INITIALIZED),
            [HF_SEAL_ON_REGISTER] = NO(NOT_REGISTERING),
            [HF_SEAL_ON_REGISTERED] = NO(NOT_REGISTERING),
            [HF_SEAL_ON_SHARE] = GO(PARTLY_UNSEALED),
            [HF_SEAL_ON_LAST_SHARE] = GO(UNSEALED),
            [HF_SEAL_ON_WRONG_SHARE] = GO(PARTLY_UNSEALED), /* the right ones stay */
            [HF_SEAL_ON_REPEATED_SHARE] = GO(PARTLY_UNSEALED),
            [HF_SEAL_ON_SEAL] = GO(SEALED),
            [HF_SEAL_ON_CHANGE] = NO(IS_SEALED),
            [HF_SEAL_ON_CHANGED] = NO(IMPOSSIBLE),
            [HF_SEAL_ON_CANCEL] = GO(SEALED),
            [HF_SEAL_ON_TIMEOUT] = GO(SEALED),
            [HF_SEAL_ON_FOUND] = GO(PARTLY_UNSEALED),
            [HF_SEAL_ON_REPLACED] = GO(SEALED), /* shares of another generation are worth nothing */
            [HF_SEAL_ON_RESTART] = GO(SEALED),
        },
    [HF_SEAL_UNSEALED] =
        {
            [HF_SEAL_ON_INIT] = NO(INITIALIZED),
            [HF_SEAL_ON_REGISTER] = NO(NOT_REGISTERING),
            [HF_SEAL_ON_REGISTERED] = NO(NOT_REGISTERING),
            [HF_SEAL_ON_SHARE] = NO(IS_UNSEALED),
            [HF_SEAL_ON_LAST_SHARE] = NO(IS_UNSEALED),
            [HF_SEAL_ON_WRONG_SHARE] = NO(IS_UNSEALED),
            [HF_SEAL_ON_REPEATED_SHARE] = NO(IS_UNSEALED),
            [HF_SEAL_ON_SEAL] = GO(SEALED),
            [HF_SEAL_ON_CHANGE] = GO(AWAITING_ROTATION),
            [HF_SEAL_ON_CHANGED] = GO(UNSEALED),
            [HF_SEAL_ON_CANCEL] = NO(NOTHING_OPEN),
            [HF_SEAL_ON_TIMEOUT] = GO(UNSEALED),
            [HF_SEAL_ON_FOUND] = GO(UNSEALED),
            [HF_SEAL_ON_REPLACED] = GO(SEALED), /* only a share can tell whether we still may */
            [HF_SEAL_ON_RESTART] = GO(SEALED),
        },
    [HF_SEAL_AWAITING_ROTATION] =
        {
            [HF_SEAL_ON_INIT] = NO(INITIALIZED),
            [HF_SEAL_ON_REGISTER] = GO(AWAITING_ROTATION),
            [HF_SEAL_ON_REGISTERED] = GO(AWAITING_ROTATION), /* until CHANGED */
            [HF_SEAL_ON_SHARE] = NO(IS_UNSEALED),
            [HF_SEAL_ON_LAST_SHARE] = NO(IS_UNSEALED),
            [HF_SEAL_ON_WRONG_SHARE] = NO(IS_UNSEALED),
            [HF_SEAL_ON_REPEATED_SHARE] = NO(IS_UNSEALED),
            [HF_SEAL_ON_SEAL] = GO(SEALED),
            [HF_SEAL_ON_CHANGE] = NO(BUSY),
            [HF_SEAL_ON_CHANGED] = GO(UNSEALED),
            [HF_SEAL_ON_CANCEL] = GO(UNSEALED),
            [HF_SEAL_ON_TIMEOUT] = GO(UNSEALED),
            [HF_SEAL_ON_FOUND] = GO(AWAITING_ROTATION),
            [HF_SEAL_ON_REPLACED] = GO(SEALED),
            [HF_SEAL_ON_RESTART] = GO(SEALED),
        },
};

hf_seal_step hf_seal_next(hf_seal_state state, hf_seal_event event)
{
    HF_ASSERT(state < HF_SEAL_STATE_COUNT && event < HF_SEAL_EVENT_COUNT);
    uint8_t cell = table[state][event];
    HF_ASSERT(cell != 0);
    if (cell < REFUSED) {
        return (hf_seal_step){.is_allowed = true, .next = (hf_seal_state)(cell - 1)};
    }
    return (hf_seal_step){.next = state, .because = sentences[cell - REFUSED]};
}

const char *hf_seal_state_name(unsigned state)
{
    static const char *const names[HF_SEAL_STATE_COUNT] = {
        [HF_SEAL_UNINITIALIZED] = "uninitialized",
        [HF_SEAL_AWAITING_REGISTRATION] = "awaiting_registration",
        [HF_SEAL_SEALED] = "sealed",
        [HF_SEAL_PARTLY_UNSEALED] = "partly_unsealed",
        [HF_SEAL_UNSEALED] = "unsealed",
        [HF_SEAL_AWAITING_ROTATION] = "awaiting_rotation",
    };
    return state < HF_SEAL_STATE_COUNT ? names[state] : "unknown";
}

bool hf_seal_state_can_sign(hf_seal_state state)
{
    return state == HF_SEAL_UNSEALED || state == HF_SEAL_AWAITING_ROTATION;
}
