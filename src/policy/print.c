/*
 * A policy as JSON, in the words that a rule is made from. Every text in it is plain ASCII without
 * quotes and backslashes (checked when it was put), so nothing needs an escape.
 */
#include "policy_internal.h"

typedef struct printer {
    hf_buf *out;
    hf_status status;
    const char *comma; /* before the next item of the list under way */
} printer;

static void say(printer *p, const char *text)
{
    if (!hf_failed(p->status)) {
        p->status = hf_buf_put(p->out, text, strlen(text));
    }
}

static void open_list(printer *p, const char *member)
{
    say(p, ",\"");
    say(p, member);
    say(p, "\":[");
    p->comma = "";
}

static void item(printer *p, const char *text)
{
    say(p, p->comma);
    say(p, "\"");
    say(p, text);
    say(p, "\"");
    p->comma = ",";
}

static void print_bits(printer *p, const char *member, uint64_t bits, unsigned count,
                       const char *(*name)(unsigned))
{
    if (bits == 0) {
        return;
    }
    open_list(p, member);
    if (bits == HF_POLICY_ALL) {
        item(p, "*");
    }
    for (unsigned i = 0; i < count && bits != HF_POLICY_ALL; i++) {
        if ((bits >> i & 1) != 0) {
            item(p, name(i));
        }
    }
    say(p, "]");
}

static const char *scope_name(unsigned i)
{
    return hf_policy_scope_name((hf_scope)i);
}

static const char *operation_name(unsigned i)
{
    return hf_eth_operation_name((hf_operation)i);
}

static void print_keys(printer *p, const hf_policy_rule *rule)
{
    char text[2 + 2 * HF_BLS_PUBKEY_BYTES + 1] = "0x";
    if (!rule->keys.all && rule->keys.count == 0) {
        return;
    }
    open_list(p, "keys");
    if (rule->keys.all) {
        item(p, "*");
    }
    for (size_t i = 0; i < rule->keys.count; i++) {
        hf_hex_encode(rule->keys.keys[i].bytes, rule->keys.keys[i].len, text + 2);
        item(p, text);
    }
    say(p, "]");
}

/* A list of texts that lie stride bytes apart; left out when there are none. */
static void print_texts(printer *p, const char *member, const char *first, size_t stride,
                        size_t count)
{
    if (count == 0) {
        return;
    }
    open_list(p, member);
    for (size_t i = 0; i < count; i++) {
        item(p, first + i * stride);
    }
    say(p, "]");
}

static void print_ranges(printer *p, const hf_policy_rule *rule)
{
    char text[HF_POLICY_RANGE_TEXT_LEN];
    if (rule->range_count == 0) {
        return;
    }
    open_list(p, "addresses");
    for (size_t i = 0; i < rule->range_count; i++) {
        hf_policy_range_format(&rule->ranges[i], text);
        item(p, text);
    }
    say(p, "]");
}

static void print_numbers(printer *p, const hf_policy_rule *rule)
{
    if (rule->rate.count != 0 && !hf_failed(p->status)) {
        p->status = hf_buf_putf(p->out, ",\"rate\":\"%u/%us\"", (unsigned)rule->rate.count,
                                (unsigned)(rule->rate.period_ms / 1000));
    }
    if (rule->token_ttl_seconds != 0 && !hf_failed(p->status)) {
        p->status = hf_buf_putf(p->out, ",\"token_ttl\":\"%llus\"",
                                (unsigned long long)rule->token_ttl_seconds);
    }
}

static void print_rule(printer *p, const hf_policy_rule *rule)
{
    say(p, "{\"effect\":\"");
    say(p, rule->effect == HF_EFFECT_ALLOW ? "allow\"" : "deny\"");
    print_bits(p, "scopes", rule->scopes, HF_SCOPE_COUNT, scope_name);
    print_bits(p, "operations", rule->operations, HF_OP_COUNT, operation_name);
    print_keys(p, rule);
    print_texts(p, "tags", rule->keys.tags[0].name, HF_POLICY_TAG_LEN, rule->keys.tag_count);
    print_texts(p, "networks", rule->networks[0], HF_NETWORK_NAME_LEN, rule->network_count);
    print_ranges(p, rule);
    print_texts(p, "certificates", rule->certificates[0], HF_POLICY_CERTIFICATE_LEN,
                rule->certificate_count);
    print_numbers(p, rule);
    say(p, "}");
}

hf_status hf_policy_print_json(const hf_policy *policy, hf_buf *out)
{
    printer p = {.out = out};
    say(&p, "{\"name\":\"");
    say(&p, policy->name);
    say(&p, "\",\"rules\":[");
    for (size_t i = 0; i < policy->rule_count; i++) {
        say(&p, i == 0 ? "" : ",");
        print_rule(&p, &policy->rules[i]);
    }
    say(&p, "]}");
    return p.status;
}
