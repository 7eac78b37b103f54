/* A rule from words, and the demands that every rule has to meet. */
#include "policy_internal.h"

typedef hf_status (*put_word)(hf_policy_rule *rule, const char *text, hf_error *err);

static hf_status too_many(const char *what, unsigned most, hf_error *err)
{
    return hf_fail(err, HF_INVALID_INPUT, "more than %u %s in one rule", most, what);
}

static hf_status put_effect(hf_policy_rule *rule, const char *text, hf_error *err)
{
    if (strcmp(text, "allow") == 0) {
        rule->effect = HF_EFFECT_ALLOW;
    } else if (strcmp(text, "deny") == 0) {
        rule->effect = HF_EFFECT_DENY;
    } else {
        return hf_fail(err, HF_INVALID_INPUT, "\"%.64s\" is no effect: allow or deny", text);
    }
    return hf_ok();
}

static bool is_all(const char *text)
{
    return strcmp(text, "*") == 0;
}

static hf_status put_scope(hf_policy_rule *rule, const char *text, hf_error *err)
{
    hf_scope scope = HF_SCOPE_COUNT;
    if (is_all(text)) {
        rule->scopes = HF_POLICY_ALL;
        return hf_ok();
    }
    if (!hf_policy_scope_parse(text, &scope)) {
        return hf_fail(err, HF_INVALID_INPUT, "\"%.64s\" is no scope, as sign or public_keys is",
                       text);
    }
    rule->scopes |= UINT64_C(1) << scope;
    return hf_ok();
}

static hf_status put_operation(hf_policy_rule *rule, const char *text, hf_error *err)
{
    hf_operation operation = HF_OP_COUNT;
    if (is_all(text)) {
        rule->operations = HF_POLICY_ALL;
        return hf_ok();
    }
    if (!hf_eth_operation_parse(text, &operation)) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "\"%.64s\" is no operation, as ATTESTATION or BLOCK_V2 is", text);
    }
    rule->operations |= UINT64_C(1) << operation;
    return hf_ok();
}

static hf_status put_key(hf_policy_rule *rule, const char *text, hf_error *err)
{
    return hf_keyset_put_key(&rule->keys, text, err);
}

static hf_status put_tag(hf_policy_rule *rule, const char *text, hf_error *err)
{
    return hf_keyset_put_tag(&rule->keys, text, err);
}

static hf_status put_network(hf_policy_rule *rule, const char *text, hf_error *err)
{
    if (is_all(text)) {
        return hf_ok();
    }
    if (strchr(text, '/') != NULL || strchr(text, ':') != NULL) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "\"%.64s\" looks like an address range: those stand under addresses, and "
                       "networks are mainnet, hoodi and so on",
                       text);
    }
    if (!hf_policy_word_is_plain(text, HF_NETWORK_NAME_LEN)) {
        return hf_fail(err, HF_INVALID_INPUT, "\"%.64s\" is no name of a network", text);
    }
    if (rule->network_count == HF_POLICY_RULE_NETWORKS_MAX) {
        return too_many("networks", HF_POLICY_RULE_NETWORKS_MAX, err);
    }
    hf_str_cut(rule->networks[rule->network_count++], HF_NETWORK_NAME_LEN, text);
    return hf_ok();
}

static hf_status put_range(hf_policy_rule *rule, const char *text, hf_error *err)
{
    hf_policy_range range;
    if (is_all(text)) {
        return hf_ok();
    }
    hf_status st = hf_policy_range_parse(text, &range, err);
    if (hf_failed(st)) {
        return st;
    }
    if (rule->range_count == HF_POLICY_RULE_RANGES_MAX) {
        return too_many("addresses", HF_POLICY_RULE_RANGES_MAX, err);
    }
    rule->ranges[rule->range_count++] = range;
    return hf_ok();
}

static hf_status put_certificate(hf_policy_rule *rule, const char *text, hf_error *err)
{
    if (is_all(text)) {
        return hf_ok();
    }
    if (!hf_policy_certificate_is_valid(text)) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "a client certificate's name has 1 to %d printable characters other than "
                       "\" and \\",
                       HF_POLICY_CERTIFICATE_LEN - 1);
    }
    if (rule->certificate_count == HF_POLICY_RULE_CERTIFICATES_MAX) {
        return too_many("certificates", HF_POLICY_RULE_CERTIFICATES_MAX, err);
    }
    hf_str_cut(rule->certificates[rule->certificate_count++], HF_POLICY_CERTIFICATE_LEN, text);
    return hf_ok();
}

static hf_status put_rate(hf_policy_rule *rule, const char *text, hf_error *err)
{
    return hf_policy_rate_parse(text, &rule->rate, err);
}

static hf_status put_ttl(hf_policy_rule *rule, const char *text, hf_error *err)
{
    return hf_policy_duration_parse(text, &rule->token_ttl_seconds, err);
}

/* ---- members --------------------------------------------------------------------------------- */

typedef enum member_id {
    MEMBER_EFFECT = 0,
    MEMBER_SCOPES,
    MEMBER_OPERATIONS,
    MEMBER_KEYS,
    MEMBER_TAGS,
    MEMBER_NETWORKS,
    MEMBER_ADDRESSES,
    MEMBER_CERTIFICATES,
    MEMBER_RATE,
    MEMBER_TTL,
    MEMBER_COUNT
} member_id;

static const struct {
    const char *name;
    bool is_list;
    put_word put;
} members[MEMBER_COUNT] = {
    [MEMBER_EFFECT] = {"effect", false, put_effect},
    [MEMBER_SCOPES] = {"scopes", true, put_scope},
    [MEMBER_OPERATIONS] = {"operations", true, put_operation},
    [MEMBER_KEYS] = {"keys", true, put_key},
    [MEMBER_TAGS] = {"tags", true, put_tag},
    [MEMBER_NETWORKS] = {"networks", true, put_network},
    [MEMBER_ADDRESSES] = {"addresses", true, put_range},
    [MEMBER_CERTIFICATES] = {"certificates", true, put_certificate},
    [MEMBER_RATE] = {"rate", false, put_rate},
    [MEMBER_TTL] = {"token_ttl", false, put_ttl},
};

static member_id find_member(const char *name)
{
    unsigned i = 0;
    while (i < MEMBER_COUNT && strcmp(name, members[i].name) != 0) {
        i++;
    }
    return (member_id)i;
}

bool hf_policy_member_is_known(const char *member)
{
    return find_member(member) < MEMBER_COUNT;
}

bool hf_policy_member_is_list(const char *member)
{
    member_id id = find_member(member);
    return id < MEMBER_COUNT && members[id].is_list;
}

hf_status hf_policy_rule_put(hf_policy_rule *rule, const char *member, const char *text,
                             hf_error *err)
{
    member_id id = find_member(member);
    if (id >= MEMBER_COUNT) {
        return hf_fail(err, HF_INVALID_INPUT, "\"%.64s\" is no member of a rule", member);
    }
    uint32_t bit = 1U << id;
    if (!members[id].is_list && (rule->said & bit) != 0) {
        return hf_fail(err, HF_INVALID_INPUT, "%s is given twice", member);
    }
    rule->said |= bit;
    return members[id].put(rule, text, err);
}

/* ---- the demands ----------------------------------------------------------------------------- */

static bool works_on_keys(const hf_policy_rule *rule)
{
    for (unsigned i = 0; i < HF_SCOPE_COUNT; i++) {
        if ((rule->scopes >> i & 1) != 0 && hf_policy_scope_keys((hf_scope)i) != HF_SCOPE_KEYLESS) {
            return true;
        }
    }
    return false;
}

static bool bits_are_known(uint64_t bits, uint64_t known)
{
    return bits == HF_POLICY_ALL || (bits & ~known) == 0;
}

static hf_status check_allow(const hf_policy_rule *rule, hf_error *err)
{
    bool signs = (rule->scopes >> HF_SCOPE_SIGN & 1) != 0;
    if (works_on_keys(rule) && hf_keyset_is_empty(&rule->keys)) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "an allow rule with such scopes needs keys or tags: keys \"*\" means all");
    }
    if (signs && rule->operations == 0) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "an allow rule with the scope sign needs operations: \"*\" means all");
    }
    return hf_ok();
}

hf_status hf_policy_rule_check(const hf_policy_rule *rule, hf_error *err)
{
    bool is_allow = rule->effect == HF_EFFECT_ALLOW;
    if (rule->scopes == 0) {
        return hf_fail(err, HF_INVALID_INPUT, "the rule has no scopes: \"*\" means all");
    }
    if (!bits_are_known(rule->scopes, HF_POLICY_SCOPE_BITS) ||
        !bits_are_known(rule->operations, HF_POLICY_OPERATION_BITS)) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "the rule has scopes or operations of a later version");
    }
    hf_status st = hf_keyset_check(&rule->keys, err);
    if (hf_failed(st)) {
        return st;
    }
    if (!is_allow && (rule->rate.count != 0 || rule->token_ttl_seconds != 0)) {
        return hf_fail(err, HF_INVALID_INPUT, "rate and token_ttl belong in allow rules");
    }
    return is_allow ? check_allow(rule, err) : hf_ok();
}

hf_status hf_policy_rule_finish(hf_policy_rule *rule, hf_error *err)
{
    if ((rule->said & 1U << MEMBER_EFFECT) == 0) {
        return hf_fail(err, HF_INVALID_INPUT, "the rule has no effect: allow or deny");
    }
    if (rule->effect == HF_EFFECT_DENY) { /* what it does not narrow, it denies */
        bool names_keys = (rule->said & (1U << MEMBER_KEYS | 1U << MEMBER_TAGS)) != 0;
        rule->keys.all = rule->keys.all || !names_keys;
        rule->scopes = (rule->said & 1U << MEMBER_SCOPES) != 0 ? rule->scopes : HF_POLICY_ALL;
        bool names_operations = (rule->said & 1U << MEMBER_OPERATIONS) != 0;
        rule->operations = names_operations ? rule->operations : HF_POLICY_ALL;
    }
    hf_keyset_sort(&rule->keys);
    return hf_policy_rule_check(rule, err);
}
