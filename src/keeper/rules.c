/*
 * What the policies of a token say to a question. Asked by the gate, on the intake thread, once the
 * token was recognised.
 */
#include "keeper/keeper_internal.h"

/* How long the token lives in all; 0: it never expires. */
static uint64_t ttl_of(const hf_token *token)
{
    int64_t expires = token->terms.expires_unix_ms;
    if (expires == 0) {
        return 0;
    }
    return expires > token->created_unix_ms ? (uint64_t)(expires - token->created_unix_ms) / 1000
                                            : 1;
}

/* Names that no policy has give nothing. */
static size_t find_policies(const hf_book *book, const hf_token *token,
                            const hf_policy *ret_policies[HF_AUTH_POLICIES_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < token->terms.policy_count; i++) {
        const hf_policy *policy = hf_book_find_policy(book, token->terms.policies[i]);
        if (policy != NULL) {
            ret_policies[count++] = policy;
        }
    }
    return count;
}

static bool keeps_rate(hf_keeper *keeper, const hf_policy_answer *answer,
                       const hf_policy_question *question)
{
    static const hf_policy_key no_key;
    return answer->rate.count == 0 ||
           hf_rates_take(keeper->policies.rates, &answer->rate, hf_rates_setter(answer),
                         question->key != NULL ? question->key : &no_key, question->operation,
                         hf_time_mono_ns());
}

hf_reason hf_rules_judge(hf_keeper *keeper, const hf_token *token, const hf_gate_question *question,
                         hf_pass *pass)
{
    const hf_policy *policies[HF_AUTH_POLICIES_MAX];
    const hf_book *book = keeper->policies.book;
    const hf_source_tags *tags = hf_policies_tags_of(keeper, question->key);
    hf_policy_key key;
    hf_policy_answer answer;
    if (question->key != NULL) {
        key = hf_policies_key_of(question->key);
    }
    const hf_policy_question asked = {.scope = question->scope,
                                      .operation = question->operation,
                                      .key = question->key != NULL ? &key : NULL,
                                      .tags = tags->tags,
                                      .tag_count = tags->count,
                                      .network = keeper->config.network.name,
                                      .address = pass->address,
                                      .certificate = pass->certificate,
                                      .token_ttl_seconds = ttl_of(token)};
    hf_policy_evaluate(policies, find_policies(book, token, policies), &asked, &answer);
    if (!answer.allowed) {
        hf_policy_explain(&answer, &asked, pass->detail, sizeof pass->detail);
        return HF_REASON_FORBIDDEN;
    }
    if (!keeps_rate(keeper, &answer, &asked)) {
        (void)snprintf(pass->detail, sizeof pass->detail,
                       "more often than rule %zu of policy %s allows", answer.rule,
                       answer.policy != NULL ? answer.policy->name : "");
        return HF_REASON_RATE_LIMITED;
    }
    return HF_REASON_OK;
}
