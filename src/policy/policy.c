/* A policy's life: made empty, filled rule by rule, freed whole. */
#include "policy_internal.h"

hf_status hf_policy_new(const char *name, hf_policy **ret_policy, hf_error *err)
{
    if (!hf_policy_name_is_valid(name)) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "a policy's name has 1 to %d letters, digits, _ and -",
                       HF_POLICY_NAME_LEN - 1);
    }
    hf_policy *policy = calloc(1, sizeof *policy);
    if (policy == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_str_cut(policy->name, sizeof policy->name, name);
    *ret_policy = policy;
    return hf_ok();
}

void hf_policy_free(hf_policy *policy)
{
    if (policy == NULL) {
        return;
    }
    for (size_t i = 0; i < policy->rule_count; i++) {
        hf_keyset_done(&policy->rules[i].keys);
    }
    free(policy->rules);
    free(policy);
}

hf_status hf_policy_add_rule(hf_policy *policy, hf_policy_rule **ret_rule, hf_error *err)
{
    if (policy->rule_count == HF_POLICY_RULES_MAX) {
        return hf_fail(err, HF_LIMIT, "more than %d rules in one policy", HF_POLICY_RULES_MAX);
    }
    if (policy->rule_count == policy->rule_room) {
        size_t room = policy->rule_room == 0 ? 4 : 2 * policy->rule_room;
        hf_policy_rule *rules = realloc(policy->rules, room * sizeof *rules);
        if (rules == NULL) {
            return hf_fail(err, HF_NOMEM, "out of memory");
        }
        policy->rules = rules;
        policy->rule_room = room;
    }
    hf_policy_rule *rule = &policy->rules[policy->rule_count++];
    *rule = (hf_policy_rule){.effect = HF_EFFECT_ALLOW};
    *ret_rule = rule;
    return hf_ok();
}
