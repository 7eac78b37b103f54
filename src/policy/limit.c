/* A limit from words. */
#include "policy_internal.h"

typedef hf_status (*put_word)(hf_limit *limit, const char *text, hf_error *err);

void hf_limit_init(hf_limit *limit)
{
    *limit = (hf_limit){.slots_ahead = HF_LIMIT_NO_BOUND,
                        .slots_behind = HF_LIMIT_NO_BOUND,
                        .gas_max = HF_LIMIT_NO_BOUND};
}

void hf_limit_done(hf_limit *limit)
{
    hf_keyset_done(&limit->keys);
}

static hf_status put_key(hf_limit *limit, const char *text, hf_error *err)
{
    return hf_keyset_put_key(&limit->keys, text, err);
}

static hf_status put_tag(hf_limit *limit, const char *text, hf_error *err)
{
    return hf_keyset_put_tag(&limit->keys, text, err);
}

static hf_status put_version(hf_limit *limit, const char *text, hf_error *err)
{
    if (limit->version_count == HF_LIMIT_VERSIONS_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "more than %d fork versions", HF_LIMIT_VERSIONS_MAX);
    }
    uint8_t *version = limit->versions[limit->version_count];
    if (hf_failed(hf_hex_decode(text, strlen(text), version, 4))) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "\"%.64s\" is no fork version: write 4 bytes, such as \"0x05000000\"", text);
    }
    limit->version_count++;
    return hf_ok();
}

static hf_status put_exits(hf_limit *limit, const char *text, hf_error *err)
{
    static const char *const words[] = {"allow", "approve", "refuse"};
    for (size_t i = 0; i < HF_ARRAY_LEN(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            limit->exits = (hf_exit_rule)i;
            return hf_ok();
        }
    }
    return hf_fail(err, HF_INVALID_INPUT, "\"%.64s\": allow, approve or refuse", text);
}

static hf_status put_recipient(hf_limit *limit, const char *text, hf_error *err)
{
    if (limit->recipient_count == HF_LIMIT_RECIPIENTS_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "more than %d fee recipients in one limit",
                       HF_LIMIT_RECIPIENTS_MAX);
    }
    uint8_t *address = limit->recipients[limit->recipient_count];
    if (hf_failed(hf_hex_decode(text, strlen(text), address, 20))) {
        return hf_fail(err, HF_INVALID_INPUT, "\"%.64s\" is no address: write 0x and 40 digits",
                       text);
    }
    limit->recipient_count++;
    return hf_ok();
}

static hf_status put_proofs(hf_limit *limit, const char *text, hf_error *err)
{
    bool needs = strcmp(text, "require") == 0;
    if (!needs && strcmp(text, "check") != 0) {
        return hf_fail(err, HF_INVALID_INPUT, "\"%.64s\": check or require", text);
    }
    limit->needs_proofs = needs;
    return hf_ok();
}

static hf_status parse_number(const char *text, uint64_t *ret_number, hf_error *err)
{
    if (hf_failed(hf_num_parse_u64(text, strlen(text), ret_number)) ||
        *ret_number == HF_LIMIT_NO_BOUND) {
        return hf_fail(err, HF_INVALID_INPUT, "\"%.64s\" is no decimal number", text);
    }
    return hf_ok();
}

static hf_status put_gas_min(hf_limit *limit, const char *text, hf_error *err)
{
    return parse_number(text, &limit->gas_min, err);
}

static hf_status put_gas_max(hf_limit *limit, const char *text, hf_error *err)
{
    return parse_number(text, &limit->gas_max, err);
}

static hf_status put_ahead(hf_limit *limit, const char *text, hf_error *err)
{
    return parse_number(text, &limit->slots_ahead, err);
}

static hf_status put_behind(hf_limit *limit, const char *text, hf_error *err)
{
    return parse_number(text, &limit->slots_behind, err);
}

/* "ATTESTATION 2/12s", or "* 100/s" for each of the operations that have no rate yet. */
static hf_status put_rate(hf_limit *limit, const char *text, hf_error *err)
{
    char name[64];
    hf_policy_rate rate;
    hf_operation operation = HF_OP_COUNT;
    const char *space = strchr(text, ' ');
    hf_str_cut(name, sizeof name, text);
    if (space != NULL && (size_t)(space - text) < sizeof name) {
        name[space - text] = '\0';
    }
    bool is_all = strcmp(name, "*") == 0;
    hf_policy_rate *eth1 = hf_limit_eth1_rate(limit, name);
    if (space == NULL || (!is_all && eth1 == NULL && !hf_eth_operation_parse(name, &operation))) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "\"%.64s\": write an operation and its rate, as in ATTESTATION 2/12s or "
                       "* 100/s",
                       text);
    }
    hf_status st = hf_policy_rate_parse(space + 1, &rate, err);
    if (hf_failed(st)) {
        return st;
    }
    if (eth1 != NULL) {
        *eth1 = rate;
        return hf_ok();
    }
    if (!is_all && limit->rates[operation].count != 0) {
        return hf_fail(err, HF_INVALID_INPUT, "%s has a rate already: put * last", name);
    }
    for (unsigned i = 0; i < HF_ETH1_KIND_COUNT && is_all; i++) {
        hf_policy_rate *of = &limit->eth1.rates[i];
        *of = of->count == 0 ? rate : *of;
    }
    for (unsigned i = 0; i < HF_OP_COUNT; i++) {
        bool is_meant = is_all ? limit->rates[i].count == 0 : i == (unsigned)operation;
        limit->rates[i] = is_meant ? rate : limit->rates[i];
    }
    return hf_ok();
}

/* ---- members --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool is_list;
    put_word put;
} members[] = {
    {"keys", true, put_key},
    {"tags", true, put_tag},
    {"fork_versions", true, put_version},
    {"exits", false, put_exits},
    {"fee_recipients", true, put_recipient},
    {"block_proofs", false, put_proofs},
    {"gas_limit_min", false, put_gas_min},
    {"gas_limit_max", false, put_gas_max},
    {"slots_ahead", false, put_ahead},
    {"slots_behind", false, put_behind},
    {"rates", true, put_rate},
    {"chain_ids", true, hf_limit_put_chain},
    {"recipients", true, hf_limit_put_target},
    {"methods", true, hf_limit_put_method},
    {"contract_creation", false, hf_limit_put_creation},
    {"messages", false, hf_limit_put_messages},
    {"typed_data", false, hf_limit_put_typed_data},
    {"value_max", false, hf_limit_put_value},
    {"value_per_day", false, hf_limit_put_day},
    {"fee_max", false, hf_limit_put_fee},
};

static size_t find_member(const char *name)
{
    size_t i = 0;
    while (i < HF_ARRAY_LEN(members) && strcmp(name, members[i].name) != 0) {
        i++;
    }
    return i;
}

bool hf_limit_member_is_known(const char *member)
{
    return find_member(member) < HF_ARRAY_LEN(members);
}

bool hf_limit_member_is_list(const char *member)
{
    size_t i = find_member(member);
    return i < HF_ARRAY_LEN(members) && members[i].is_list;
}

hf_status hf_limit_put(hf_limit *limit, const char *member, const char *text, hf_error *err)
{
    size_t i = find_member(member);
    if (i == HF_ARRAY_LEN(members)) {
        return hf_fail(err, HF_INVALID_INPUT, "\"%.64s\" is no member of a limit", member);
    }
    if (!members[i].is_list && (limit->said >> i & 1) != 0) {
        return hf_fail(err, HF_INVALID_INPUT, "%s is given twice", member);
    }
    limit->said |= 1U << i;
    return members[i].put(limit, text, err);
}

hf_status hf_limit_check(const hf_limit *limit, hf_error *err)
{
    bool bounds_gas = limit->gas_min != 0 || limit->gas_max != HF_LIMIT_NO_BOUND;
    if (limit->gas_min > limit->gas_max) {
        return hf_fail(err, HF_INVALID_INPUT, "gas_limit_min is above gas_limit_max");
    }
    if (limit->needs_proofs && limit->recipient_count == 0 && !bounds_gas) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "block_proofs: require needs fee_recipients or bounds of the gas limit, to "
                       "know what to prove");
    }
    if (hf_keyset_is_empty(&limit->keys)) {
        return hf_fail(err, HF_INVALID_INPUT, "the limit applies to no key");
    }
    return hf_keyset_check(&limit->keys, err);
}

hf_status hf_limit_finish(hf_limit *limit, hf_error *err)
{
    limit->keys.all = limit->keys.all || hf_keyset_is_empty(&limit->keys);
    hf_keyset_sort(&limit->keys);
    return hf_limit_check(limit, err);
}

hf_limit_verdict hf_limit_refuse(const hf_limit_sentence *sentence, hf_limit_verdict verdict,
                                 const char *fmt, ...)
{
    char text[320];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    hf_str_cut(sentence->text, sentence->len, text);
    return verdict;
}
