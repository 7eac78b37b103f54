/*
 * The binary form of a policy, between processes and at rest. One form only: what decodes encodes
 * to the same bytes. Numbers are little endian.
 *
 *   u8 version, text name, u16 rules, then for each:
 *     u8 effect, u64 scopes, u64 operations, u32 rate count, u32 rate period in ms, u64 token_ttl,
 *     keyset, u8 networks (text), u8 ranges (16 bytes, u8 prefix), u8 certificates (text)
 *   keyset: u8 all, u16 keys (u8 length, bytes), u8 tags (text)
 *   text: u8 length, bytes
 */
#include "policy_internal.h"

#define WIRE_VERSION 1

/* ---- writing --------------------------------------------------------------------------------- */

static void write_rule(hf_policy_writer *w, const hf_policy_rule *rule)
{
    hf_policy_put(w, rule->effect, 1);
    hf_policy_put(w, rule->scopes, 8);
    hf_policy_put(w, rule->operations, 8);
    hf_policy_put(w, rule->rate.count, 4);
    hf_policy_put(w, rule->rate.period_ms, 4);
    hf_policy_put(w, rule->token_ttl_seconds, 8);
    hf_keyset_write(w, &rule->keys);
    hf_policy_put(w, rule->network_count, 1);
    for (size_t i = 0; i < rule->network_count; i++) {
        hf_policy_put_text(w, rule->networks[i]);
    }
    hf_policy_put(w, rule->range_count, 1);
    for (size_t i = 0; i < rule->range_count; i++) {
        hf_policy_put_bytes(w, rule->ranges[i].address, sizeof rule->ranges[i].address);
        hf_policy_put(w, rule->ranges[i].prefix, 1);
    }
    hf_policy_put(w, rule->certificate_count, 1);
    for (size_t i = 0; i < rule->certificate_count; i++) {
        hf_policy_put_text(w, rule->certificates[i]);
    }
}

hf_status hf_policy_encode(const hf_policy *policy, hf_buf *out)
{
    hf_policy_writer w = {.out = out};
    size_t before = hf_buf_len(out);
    size_t keys = 0;
    hf_policy_put(&w, WIRE_VERSION, 1);
    hf_policy_put_text(&w, policy->name);
    hf_policy_put(&w, policy->rule_count, 2);
    for (size_t i = 0; i < policy->rule_count; i++) {
        write_rule(&w, &policy->rules[i]);
        keys += policy->rules[i].keys.count;
    }
    bool is_too_much = keys > HF_POLICY_KEYS_MAX || hf_buf_len(out) - before > HF_POLICY_MAX_BYTES;
    if (!hf_failed(w.status) && is_too_much) {
        return (hf_status){HF_LIMIT};
    }
    return w.status;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void read_words(hf_policy_reader *r, hf_policy_rule *rule)
{
    rule->network_count = hf_policy_get_count(r, 1, HF_POLICY_RULE_NETWORKS_MAX);
    for (size_t i = 0; i < rule->network_count && !r->failed; i++) {
        hf_policy_get_text(r, rule->networks[i], HF_NETWORK_NAME_LEN);
        r->failed = r->failed || !hf_policy_word_is_plain(rule->networks[i], HF_NETWORK_NAME_LEN);
    }
    rule->range_count = hf_policy_get_count(r, 1, HF_POLICY_RULE_RANGES_MAX);
    for (size_t i = 0; i < rule->range_count && !r->failed; i++) {
        hf_policy_get_bytes(r, rule->ranges[i].address, sizeof rule->ranges[i].address);
        rule->ranges[i].prefix = (uint8_t)hf_policy_get(r, 1);
        r->failed = r->failed || !hf_policy_range_is_valid(&rule->ranges[i]);
    }
    rule->certificate_count = hf_policy_get_count(r, 1, HF_POLICY_RULE_CERTIFICATES_MAX);
    for (size_t i = 0; i < rule->certificate_count && !r->failed; i++) {
        hf_policy_get_text(r, rule->certificates[i], HF_POLICY_CERTIFICATE_LEN);
        r->failed = r->failed || !hf_policy_certificate_is_valid(rule->certificates[i]);
    }
}

static hf_status read_rule(hf_policy_reader *r, hf_policy_rule *rule, hf_error *err)
{
    rule->effect = (hf_effect)hf_policy_get_count(r, 1, HF_EFFECT_DENY);
    rule->scopes = hf_policy_get(r, 8);
    rule->operations = hf_policy_get(r, 8);
    rule->rate.count = (uint32_t)hf_policy_get(r, 4);
    rule->rate.period_ms = (uint32_t)hf_policy_get(r, 4);
    rule->token_ttl_seconds = hf_policy_get(r, 8);
    hf_keyset_read(r, &rule->keys);
    read_words(r, rule);
    if (r->failed || !hf_policy_rate_is_valid(&rule->rate) ||
        rule->token_ttl_seconds > HF_POLICY_DURATION_MAX_SECONDS) {
        return hf_fail(err, HF_INVALID_INPUT, "the bytes are no rule of a policy");
    }
    return hf_policy_rule_check(rule, err);
}

static hf_status read_rules(hf_policy_reader *r, hf_policy *policy, hf_error *err)
{
    size_t count = hf_policy_get_count(r, 2, HF_POLICY_RULES_MAX);
    size_t keys = 0;
    for (size_t i = 0; i < count; i++) {
        hf_policy_rule *rule = NULL;
        hf_status st = hf_policy_add_rule(policy, &rule, err);
        if (!hf_failed(st)) {
            st = read_rule(r, rule, err);
        }
        if (hf_failed(st)) {
            return st;
        }
        keys += rule->keys.count;
    }
    if (r->failed || r->left != 0 || keys > HF_POLICY_KEYS_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "the bytes are no policy");
    }
    return hf_ok();
}

hf_status hf_policy_decode(hf_bytes bytes, hf_policy **ret_policy, hf_error *err)
{
    hf_policy_reader r = {.next = bytes.ptr, .left = bytes.len};
    char name[HF_POLICY_NAME_LEN];
    hf_policy *policy = NULL;
    uint64_t version = hf_policy_get(&r, 1);
    hf_policy_get_text(&r, name, sizeof name);
    if (r.failed || version != WIRE_VERSION || bytes.len > HF_POLICY_MAX_BYTES) {
        return hf_fail(err, HF_INVALID_INPUT, "the bytes are no policy of version %d",
                       WIRE_VERSION);
    }
    hf_status st = hf_policy_new(name, &policy, err);
    if (!hf_failed(st)) {
        st = read_rules(&r, policy, err);
    }
    if (hf_failed(st)) {
        hf_policy_free(policy);
        return st;
    }
    *ret_policy = policy;
    return hf_ok();
}
