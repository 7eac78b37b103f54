/* May this be asked for? Deny beats allow, and silence denies. */
#include "policy_internal.h"

static bool matches_key(const hf_policy_rule *rule, const hf_policy_question *question)
{
    hf_scope_keys keys = hf_policy_scope_keys(question->scope);
    if (rule->keys.all) {
        return true;
    }
    if (keys == HF_SCOPE_KEYLESS) { /* a rule about some keys takes nothing away from others */
        return rule->effect == HF_EFFECT_ALLOW;
    }
    if (question->key != NULL) {
        return hf_keyset_has(&rule->keys, question->key, question->tags, question->tag_count);
    }
    /* A listing is asked for again key by key; anything else without a key means all keys, which
     * somebody who may use some may not, and nobody to whom one is denied. */
    bool is_listing = keys == HF_SCOPE_KEYS_MAY;
    return is_listing == (rule->effect == HF_EFFECT_ALLOW);
}

static bool matches_operation(const hf_policy_rule *rule, const hf_policy_question *question)
{
    if (rule->operations == HF_POLICY_ALL) {
        return true;
    }
    if (question->scope != HF_SCOPE_SIGN) { /* as for keys */
        return rule->effect == HF_EFFECT_ALLOW;
    }
    return question->operation < HF_OP_COUNT && (rule->operations >> question->operation & 1) != 0;
}

static bool matches_network(const hf_policy_rule *rule, const hf_policy_question *question)
{
    for (size_t i = 0; i < rule->network_count; i++) {
        if (strcmp(rule->networks[i], question->network) == 0) {
            return true;
        }
    }
    return rule->network_count == 0;
}

static bool matches_address(const hf_policy_rule *rule, const hf_policy_question *question)
{
    if (rule->range_count == 0) {
        return true;
    }
    if (question->address == NULL) { /* might be anywhere */
        return rule->effect == HF_EFFECT_DENY;
    }
    for (size_t i = 0; i < rule->range_count; i++) {
        if (hf_policy_range_has(&rule->ranges[i], question->address)) {
            return true;
        }
    }
    return false;
}

static bool matches_certificate(const hf_policy_rule *rule, const hf_policy_question *question)
{
    for (size_t i = 0; i < rule->certificate_count; i++) {
        if (strcmp(rule->certificates[i], question->certificate) == 0) {
            return true;
        }
    }
    return rule->certificate_count == 0;
}

static bool matches_ttl(const hf_policy_rule *rule, const hf_policy_question *question)
{
    return rule->token_ttl_seconds == 0 || (question->token_ttl_seconds != 0 &&
                                            question->token_ttl_seconds <= rule->token_ttl_seconds);
}

static bool matches(const hf_policy_rule *rule, const hf_policy_question *question)
{
    return (rule->scopes >> question->scope & 1) != 0 && matches_operation(rule, question) &&
           matches_key(rule, question) && matches_network(rule, question) &&
           matches_address(rule, question) && matches_certificate(rule, question) &&
           matches_ttl(rule, question);
}

/* Fewer in the same time; none at all is the widest. */
static bool is_tighter(const hf_policy_rate *a, const hf_policy_rate *b)
{
    if (a->count == 0 || b->count == 0) {
        return a->count != 0;
    }
    return (uint64_t)a->count * b->period_ms < (uint64_t)b->count * a->period_ms;
}

static void take_allow(hf_policy_answer *answer, const hf_policy *policy, size_t i)
{
    const hf_policy_rule *rule = &policy->rules[i];
    if (!answer->allowed || is_tighter(&rule->rate, &answer->rate)) {
        *answer = (hf_policy_answer){
            .allowed = true, .policy = policy, .rule = i + 1, .rate = rule->rate};
    }
}

void hf_policy_evaluate(const hf_policy *const policies[], size_t count,
                        const hf_policy_question *question, hf_policy_answer *ret_answer)
{
    hf_policy_answer answer = {.allowed = false};
    HF_ASSERT((unsigned)question->scope < HF_SCOPE_COUNT);
    for (size_t p = 0; p < count; p++) {
        for (size_t i = 0; i < policies[p]->rule_count; i++) {
            const hf_policy_rule *rule = &policies[p]->rules[i];
            if (!matches(rule, question)) {
                continue;
            }
            if (rule->effect == HF_EFFECT_DENY) {
                *ret_answer = (hf_policy_answer){.policy = policies[p], .rule = i + 1};
                return;
            }
            take_allow(&answer, policies[p], i);
        }
    }
    *ret_answer = answer;
}

void hf_policy_explain(const hf_policy_answer *answer, const hf_policy_question *question,
                       char *ret_sentence, size_t len)
{
    char sentence[160];
    const char *verb = answer->allowed ? "allowed" : "denied";
    const char *what = hf_policy_scope_name(question->scope);
    const char *operation = question->scope == HF_SCOPE_SIGN
                                ? hf_eth_operation_name((hf_operation)question->operation)
                                : NULL;
    int n = snprintf(sentence, sizeof sentence, "%s%s%s", what, operation == NULL ? "" : " ",
                     operation == NULL ? "" : operation);
    if (answer->policy != NULL) {
        (void)snprintf(sentence + n, sizeof sentence - (size_t)n, ": %s by rule %zu of policy %s",
                       verb, answer->rule, answer->policy->name);
    } else {
        (void)snprintf(sentence + n, sizeof sentence - (size_t)n,
                       ": no rule of the token's policies allows it");
    }
    hf_str_cut(ret_sentence, len, sentence);
}

uint64_t hf_policy_token_ttl_max(const hf_policy *const policies[], size_t count)
{
    uint64_t most = 0;
    for (size_t p = 0; p < count; p++) {
        for (size_t i = 0; i < policies[p]->rule_count; i++) {
            uint64_t ttl = policies[p]->rules[i].token_ttl_seconds;
            if (ttl != 0 && (most == 0 || ttl < most)) {
                most = ttl;
            }
        }
    }
    return most;
}
