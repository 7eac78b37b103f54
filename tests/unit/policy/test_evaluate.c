/*
 * Every effect, scope, key and operation, for one rule and for pairs of rules, against an
 * evaluation that was written apart: sets of what is allowed and what is denied, filled question by
 * question.
 */
#include "policy/policy.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* What a rule may say of keys, and what a question may ask about. */
enum { KEYS_ALL, KEYS_FIRST, KEYS_TAG, KEYS_NONE_OF_THESE, KEY_CHOICES };
enum { ASK_NO_KEY, ASK_FIRST, ASK_SECOND, ASK_TAGGED, ASK_COUNT };
/* Operations: all, one, none said. */
enum { OPERATIONS_ALL, OPERATIONS_ATTESTATION, OPERATION_CHOICES };

typedef struct rule_shape {
    bool is_deny;
    uint64_t scopes;
    unsigned keys;
    unsigned operations;
} rule_shape;

static hf_policy_key key_of(uint8_t mark)
{
    uint8_t bytes[HF_BLS_PUBKEY_BYTES] = {mark};
    return hf_policy_key_from(bytes, sizeof bytes);
}

static void build(const rule_shape *shape, hf_policy *policy)
{
    hf_policy_rule *rule = NULL;
    char text[2 + 2 * HF_BLS_PUBKEY_BYTES + 1] = "0x";
    hf_policy_key key = key_of(shape->keys == KEYS_FIRST ? 1 : 9);
    hf_error err = {.code = HF_OK};
    hf_status st = hf_policy_add_rule(policy, &rule, &err);
    assert_false(hf_failed(st));
    hf_hex_encode(key.bytes, sizeof key.bytes, text + 2);
    st = hf_policy_rule_put(rule, "effect", shape->is_deny ? "deny" : "allow", &err);
    for (unsigned i = 0; i < HF_SCOPE_COUNT && !hf_failed(st); i++) {
        if ((shape->scopes >> i & 1) != 0) {
            st = hf_policy_rule_put(rule, "scopes", hf_policy_scope_name((hf_scope)i), &err);
        }
    }
    if (!hf_failed(st)) {
        st = hf_policy_rule_put(rule, "operations",
                                shape->operations == OPERATIONS_ALL ? "*" : "ATTESTATION", &err);
    }
    if (!hf_failed(st)) {
        st = shape->keys == KEYS_TAG
                 ? hf_policy_rule_put(rule, "tags", "home", &err)
                 : hf_policy_rule_put(rule, "keys", shape->keys == KEYS_ALL ? "*" : text, &err);
    }
    if (!hf_failed(st)) {
        st = hf_policy_rule_finish(rule, &err);
    }
    if (hf_failed(st)) {
        fail_msg("%s", err.msg);
    }
}

/* ---- the other evaluation: in the words of the manual ------------------------------------------
 */

static bool speaks_of(const rule_shape *shape, hf_scope scope, uint32_t operation, unsigned asked)
{
    hf_scope_keys kind = hf_policy_scope_keys(scope);
    if ((shape->scopes & (UINT64_C(1) << scope)) == 0) {
        return false;
    }
    if (shape->operations == OPERATIONS_ATTESTATION) {
        if (scope == HF_SCOPE_SIGN && operation != HF_OP_ATTESTATION) {
            return false;
        }
        /* A denial of attestations denies nothing that is no signature. */
        if (scope != HF_SCOPE_SIGN && shape->is_deny) {
            return false;
        }
    }
    if (shape->keys == KEYS_ALL) {
        return true;
    }
    if (kind == HF_SCOPE_KEYLESS) {
        return !shape->is_deny;
    }
    switch (asked) {
    case ASK_NO_KEY: /* a listing may be asked for; all keys may not, and are denied with one */
        return kind == HF_SCOPE_KEYS_MAY ? !shape->is_deny : shape->is_deny;
    case ASK_FIRST:
        return shape->keys == KEYS_FIRST;
    case ASK_TAGGED:
        return shape->keys == KEYS_TAG;
    default:
        return false;
    }
}

static bool expected(const rule_shape *shapes, size_t count, hf_scope scope, uint32_t operation,
                     unsigned asked)
{
    bool allowed = false;
    bool denied = false;
    for (size_t i = 0; i < count; i++) {
        if (speaks_of(&shapes[i], scope, operation, asked)) {
            allowed = allowed || !shapes[i].is_deny;
            denied = denied || shapes[i].is_deny;
        }
    }
    return allowed && !denied;
}

static size_t compare(const rule_shape *shapes, size_t count)
{
    static const hf_policy_tag home = {"home"};
    const hf_policy *list[2] = {NULL, NULL};
    hf_policy *policies[2] = {NULL, NULL};
    size_t questions = 0;
    for (size_t i = 0; i < count; i++) { /* each in a policy of its own */
        assert_false(hf_failed(hf_policy_new(i == 0 ? "first" : "second", &policies[i], NULL)));
        build(&shapes[i], policies[i]);
        list[i] = policies[i];
    }
    for (unsigned scope = 0; scope < HF_SCOPE_COUNT; scope++) {
        unsigned operations = scope == HF_SCOPE_SIGN ? HF_OP_COUNT : 1;
        for (uint32_t operation = 0; operation < operations; operation++) {
            for (unsigned asked = 0; asked < ASK_COUNT; asked++) {
                hf_policy_key key = key_of((uint8_t)asked);
                hf_policy_question question = {.scope = (hf_scope)scope,
                                               .operation = operation,
                                               .key = asked == ASK_NO_KEY ? NULL : &key,
                                               .tags = &home,
                                               .tag_count = asked == ASK_TAGGED,
                                               .network = "mainnet",
                                               .certificate = ""};
                hf_policy_answer answer;
                hf_policy_evaluate(list, count, &question, &answer);
                bool wanted = expected(shapes, count, (hf_scope)scope, operation, asked);
                if (answer.allowed != wanted) {
                    fail_msg("%s, operation %u, asked %u: %d",
                             hf_policy_scope_name((hf_scope)scope), (unsigned)operation, asked,
                             answer.allowed);
                }
                questions++;
            }
        }
    }
    hf_policy_free(policies[0]);
    hf_policy_free(policies[1]);
    return questions;
}

static rule_shape shape_of(unsigned number)
{
    static const uint64_t scopes[] = {UINT64_C(1) << HF_SCOPE_SIGN, UINT64_C(1) << HF_SCOPE_STATUS,
                                      UINT64_C(1) << HF_SCOPE_PUBLIC_KEYS |
                                          UINT64_C(1) << HF_SCOPE_KEYS_DELETE,
                                      (UINT64_C(1) << HF_SCOPE_COUNT) - 1};
    rule_shape made = {.is_deny = number % 2 == 1};
    number /= 2;
    made.scopes = scopes[number % HF_ARRAY_LEN(scopes)];
    number /= (unsigned)HF_ARRAY_LEN(scopes);
    made.keys = number % KEY_CHOICES;
    made.operations = number / KEY_CHOICES;
    return made;
}

#define SHAPES (2 * 4 * KEY_CHOICES * OPERATION_CHOICES)

static void one_rule_and_two(void **state)
{
    (void)state;
    size_t questions = 0;
    for (unsigned a = 0; a < SHAPES; a++) {
        rule_shape shapes[2] = {shape_of(a), {.is_deny = false}};
        questions += compare(shapes, 1);
        for (unsigned b = 0; b < SHAPES; b++) {
            shapes[1] = shape_of(b);
            questions += compare(shapes, 2);
        }
    }
    assert_true(questions > 500000);
}

static void no_policy_allows_nothing(void **state)
{
    (void)state;
    hf_policy_answer answer = {.allowed = true};
    const hf_policy_question question = {
        .scope = HF_SCOPE_STATUS, .network = "mainnet", .certificate = ""};
    char sentence[160];
    hf_policy_evaluate(NULL, 0, &question, &answer);
    assert_false(answer.allowed);
    hf_policy_explain(&answer, &question, sentence, sizeof sentence);
    assert_string_equal(sentence, "status: no rule of the token's policies allows it");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_rule_and_two),
        cmocka_unit_test(no_policy_allows_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
