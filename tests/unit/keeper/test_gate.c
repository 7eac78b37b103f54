/*
 * No question without a rule: each frame that says who asks has its scope at the gate, and what a
 * front may send without saying so is named here, one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "keeper/keeper_internal.h"

/* Asked for by nobody in particular, or part of a question that was let in and belongs to its
 * channel. */
static const uint16_t open_to_fronts[] = {
    HF_MSG_COUNT,      HF_MSG_METRICS,       HF_MSG_HEALTH,       HF_MSG_EXPORT_READ,
    HF_MSG_IMPORT_ADD, HF_MSG_IMPORT_COMMIT, HF_MSG_IMPORT_ABORT, HF_MSG_SOON,
};

static bool is_open_to_fronts(uint16_t type)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(open_to_fronts); i++) {
        if (open_to_fronts[i] == type) {
            return true;
        }
    }
    return false;
}

static void test_every_question_has_its_scope(void **state)
{
    static _Alignas(8) uint8_t frame[HF_IPC_MAX_BYTES];
    size_t asked = 0;
    (void)state;
    for (uint16_t type = 1; type < HF_MSG_COUNT_TYPES; type++) {
        hf_scope scope = HF_SCOPE_COUNT;
        hf_frame_init(frame, (hf_msg_type)type, 0);
        size_t len = hf_frame_size(type);
        bool has_caller = len != 0 && hf_frame_caller(frame) != NULL;
        if (has_caller != hf_gate_scope_of(type, &scope)) {
            fail_msg("%s: says who asks, or has a scope, and not both", hf_frame_name(type));
        }
        bool comes_from_fronts =
            len != 0 && hf_frame_is_acceptable(frame, len, HF_CHANNEL_FRONT, true);
        if (comes_from_fronts && !has_caller && !is_open_to_fronts(type)) {
            fail_msg("%s: comes from fronts and nobody is asked for a right", hf_frame_name(type));
        }
        asked += has_caller;
    }
    assert_true(asked > 10);
    hf_scope scope;
    assert_false(hf_gate_scope_of(HF_MSG_COUNT_TYPES, &scope));
    assert_false(hf_gate_scope_of(UINT16_MAX, &scope));
}

/* What is asked of the keeper and neither changes anything nor takes a history out; signatures have
 * lines of their own, and of an import its beginning has the line. */
static const uint16_t only_asked[] = {
    HF_MSG_AUTHORIZE,    HF_MSG_KEYS,        HF_MSG_STATUS,        HF_MSG_TOKEN_LIST,
    HF_MSG_SIGN,         HF_MSG_DUTY_SIGN,   HF_MSG_ETH1_SIGN,     HF_MSG_ETH1_KEYS,
    HF_MSG_POLICY_GET,   HF_MSG_POLICY_LIST, HF_MSG_SEAL_STATUS,   HF_MSG_SEALED_LIST,
    HF_MSG_STORE_STATUS, HF_MSG_METRICS,     HF_MSG_HEALTH,        HF_MSG_COUNT,
    HF_MSG_EXPORT_READ,  HF_MSG_IMPORT_ADD,  HF_MSG_IMPORT_COMMIT, HF_MSG_IMPORT_ABORT,
    HF_MSG_NODE_CALL,    HF_MSG_SOON,
};

static bool is_only_asked(uint16_t type)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(only_asked); i++) {
        if (only_asked[i] == type) {
            return true;
        }
    }
    return false;
}

static void test_everything_else_is_an_action(void **state)
{
    static _Alignas(8) uint8_t frame[HF_IPC_MAX_BYTES];
    (void)state;
    for (uint16_t type = 1; type < HF_MSG_COUNT_TYPES; type++) {
        hf_frame_init(frame, (hf_msg_type)type, 0);
        size_t len = hf_frame_size(type);
        bool may_come = len != 0 && (hf_frame_is_acceptable(frame, len, HF_CHANNEL_FRONT, true) ||
                                     hf_frame_is_acceptable(frame, len, HF_CHANNEL_ADMIN, true));
        if (hf_dispatch_is_action(type) != (may_come && !is_only_asked(type))) {
            fail_msg("%s: an action, or not, against the list", hf_frame_name(type));
        }
    }
    assert_true(hf_dispatch_is_action(HF_MSG_TOKEN_CREATE));
    assert_false(hf_dispatch_is_action(UINT16_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_question_has_its_scope),
                                       cmocka_unit_test(test_everything_else_is_an_action)};
    return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
