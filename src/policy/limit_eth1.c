/* The members of a limit that speak of the execution layer, from words. */
#include "policy_internal.h"

hf_policy_rate *hf_limit_eth1_rate(hf_limit *limit, const char *name)
{
    for (uint32_t kind = 0; kind < HF_ETH1_KIND_COUNT; kind++) {
        if (strcmp(name, hf_eth1_kind_name(kind)) == 0) {
            return &limit->eth1.rates[kind];
        }
    }
    return NULL;
}

hf_status hf_limit_put_chain(hf_limit *limit, const char *text, hf_error *err)
{
    hf_limit_eth1 *eth1 = &limit->eth1;
    uint64_t chain = 0;
    if (eth1->chain_count == HF_LIMIT_CHAINS_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "more than %d chain ids", HF_LIMIT_CHAINS_MAX);
    }
    if (hf_failed(hf_num_parse_u64(text, strlen(text), &chain)) || chain == 0 ||
        chain > HF_TX_CHAIN_ID_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "\"%.64s\" is no chain id: write a decimal number",
                       text);
    }
    eth1->chains[eth1->chain_count++] = chain;
    return hf_ok();
}

hf_status hf_limit_put_target(hf_limit *limit, const char *text, hf_error *err)
{
    hf_limit_eth1 *eth1 = &limit->eth1;
    hf_error why = {0};
    if (eth1->target_count == HF_LIMIT_TARGETS_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "more than %d recipients", HF_LIMIT_TARGETS_MAX);
    }
    if (hf_failed(hf_address_parse(text, eth1->targets[eth1->target_count], &why))) {
        return hf_fail(err, HF_INVALID_INPUT, "\"%.64s\": %.160s", text, why.msg);
    }
    eth1->target_count++;
    return hf_ok();
}

/* "transfer(address,uint256)": no spaces, no names of arguments. */
static bool is_signature(const char *text)
{
    const char *open = strchr(text, '(');
    size_t len = strlen(text);
    return open != NULL && open != text && len < 512 && text[len - 1] == ')' &&
           strchr(text, ' ') == NULL;
}

hf_status hf_limit_put_method(hf_limit *limit, const char *text, hf_error *err)
{
    hf_limit_eth1 *eth1 = &limit->eth1;
    uint8_t hash[HF_KECCAK_BYTES];
    eth1->has_methods = true;
    if (strcmp(text, "none") == 0) {
        return hf_ok();
    }
    if (eth1->method_count == HF_LIMIT_METHODS_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "more than %d methods", HF_LIMIT_METHODS_MAX);
    }
    if (is_signature(text)) {
        hf_keccak256(text, strlen(text), hash);
    } else if (strncmp(text, "0x", 2) != 0 ||
               hf_failed(hf_hex_decode(text, strlen(text), hash, 4))) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "\"%.64s\" is no method: write its selector, such as \"0xa9059cbb\", its "
                       "signature, such as \"transfer(address,uint256)\", or none",
                       text);
    }
    memcpy(eth1->methods[eth1->method_count++], hash, 4);
    return hf_ok();
}

static hf_status read_switch(const char *text, bool *ret_allows, hf_error *err)
{
    *ret_allows = strcmp(text, "allow") == 0;
    return *ret_allows || strcmp(text, "refuse") == 0
               ? hf_ok()
               : hf_fail(err, HF_INVALID_INPUT, "\"%.64s\": allow or refuse", text);
}

hf_status hf_limit_put_creation(hf_limit *limit, const char *text, hf_error *err)
{
    bool allows = false;
    hf_status st = read_switch(text, &allows, err);
    limit->eth1.may_create = allows;
    limit->eth1.refuses_creation = !allows;
    return st;
}

hf_status hf_limit_put_messages(hf_limit *limit, const char *text, hf_error *err)
{
    bool allows = false;
    hf_status st = read_switch(text, &allows, err);
    limit->eth1.refuses_messages = !allows;
    return st;
}

hf_status hf_limit_put_typed_data(hf_limit *limit, const char *text, hf_error *err)
{
    bool allows = false;
    hf_status st = read_switch(text, &allows, err);
    limit->eth1.refuses_typed_data = !allows;
    return st;
}

hf_status hf_limit_put_value(hf_limit *limit, const char *text, hf_error *err)
{
    limit->eth1.bounds_value = true;
    return hf_amount_parse(text, &limit->eth1.value_max, err);
}

hf_status hf_limit_put_day(hf_limit *limit, const char *text, hf_error *err)
{
    limit->eth1.bounds_day = true;
    return hf_amount_parse(text, &limit->eth1.value_per_day, err);
}

hf_status hf_limit_put_fee(hf_limit *limit, const char *text, hf_error *err)
{
    limit->eth1.bounds_fee = true;
    return hf_amount_parse(text, &limit->eth1.fee_max, err);
}
