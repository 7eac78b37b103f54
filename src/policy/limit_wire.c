/* A limit as bytes, in a book (book.c). */
#include "policy_internal.h"

/* ---- writing --------------------------------------------------------------------------------- */

static void write_rates(hf_policy_writer *w, const hf_policy_rate *rates, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        hf_policy_put(w, rates[i].count, 4);
        hf_policy_put(w, rates[i].period_ms, 4);
    }
}

static void write_eth1(hf_policy_writer *w, const hf_limit_eth1 *eth1)
{
    const bool flags[] = {eth1->has_methods,      eth1->may_create,         eth1->refuses_creation,
                          eth1->refuses_messages, eth1->refuses_typed_data, eth1->bounds_value,
                          eth1->bounds_day,       eth1->bounds_fee};
    hf_policy_put(w, eth1->chain_count, 1);
    for (size_t i = 0; i < eth1->chain_count; i++) {
        hf_policy_put(w, eth1->chains[i], 8);
    }
    hf_policy_put(w, eth1->target_count, 1);
    hf_policy_put_bytes(w, eth1->targets, eth1->target_count * sizeof eth1->targets[0]);
    hf_policy_put(w, eth1->method_count, 1);
    hf_policy_put_bytes(w, eth1->methods, eth1->method_count * sizeof eth1->methods[0]);
    for (size_t i = 0; i < HF_ARRAY_LEN(flags); i++) {
        hf_policy_put(w, flags[i], 1);
    }
    hf_policy_put_bytes(w, eth1->value_max.bytes, sizeof eth1->value_max.bytes);
    hf_policy_put_bytes(w, eth1->value_per_day.bytes, sizeof eth1->value_per_day.bytes);
    hf_policy_put_bytes(w, eth1->fee_max.bytes, sizeof eth1->fee_max.bytes);
    write_rates(w, eth1->rates, HF_ETH1_KIND_COUNT);
}

void hf_limit_write(hf_policy_writer *w, const hf_limit *limit)
{
    hf_keyset_write(w, &limit->keys);
    hf_policy_put(w, limit->version_count, 1);
    hf_policy_put_bytes(w, limit->versions, limit->version_count * sizeof limit->versions[0]);
    hf_policy_put(w, limit->exits, 1);
    hf_policy_put(w, limit->recipient_count, 1);
    hf_policy_put_bytes(w, limit->recipients, limit->recipient_count * sizeof limit->recipients[0]);
    hf_policy_put(w, limit->needs_proofs, 1);
    hf_policy_put(w, limit->gas_min, 8);
    hf_policy_put(w, limit->gas_max, 8);
    hf_policy_put(w, limit->slots_ahead, 8);
    hf_policy_put(w, limit->slots_behind, 8);
    write_rates(w, limit->rates, HF_OP_COUNT);
    write_eth1(w, &limit->eth1);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void read_rates(hf_policy_reader *r, hf_policy_rate *rates, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        rates[i].count = (uint32_t)hf_policy_get(r, 4);
        rates[i].period_ms = (uint32_t)hf_policy_get(r, 4);
        r->failed = r->failed || !hf_policy_rate_is_valid(&rates[i]);
    }
}

static void read_eth1(hf_policy_reader *r, hf_limit_eth1 *eth1)
{
    bool *const flags[] = {&eth1->has_methods,        &eth1->may_create,
                           &eth1->refuses_creation,   &eth1->refuses_messages,
                           &eth1->refuses_typed_data, &eth1->bounds_value,
                           &eth1->bounds_day,         &eth1->bounds_fee};
    eth1->chain_count = hf_policy_get_count(r, 1, HF_LIMIT_CHAINS_MAX);
    for (size_t i = 0; i < eth1->chain_count; i++) {
        eth1->chains[i] = hf_policy_get(r, 8);
    }
    eth1->target_count = hf_policy_get_count(r, 1, HF_LIMIT_TARGETS_MAX);
    hf_policy_get_bytes(r, eth1->targets, eth1->target_count * sizeof eth1->targets[0]);
    eth1->method_count = hf_policy_get_count(r, 1, HF_LIMIT_METHODS_MAX);
    hf_policy_get_bytes(r, eth1->methods, eth1->method_count * sizeof eth1->methods[0]);
    for (size_t i = 0; i < HF_ARRAY_LEN(flags); i++) {
        *flags[i] = hf_policy_get_count(r, 1, 1) != 0;
    }
    hf_policy_get_bytes(r, eth1->value_max.bytes, sizeof eth1->value_max.bytes);
    hf_policy_get_bytes(r, eth1->value_per_day.bytes, sizeof eth1->value_per_day.bytes);
    hf_policy_get_bytes(r, eth1->fee_max.bytes, sizeof eth1->fee_max.bytes);
    read_rates(r, eth1->rates, HF_ETH1_KIND_COUNT);
}

hf_status hf_limit_read(hf_policy_reader *r, hf_limit *limit, hf_error *err)
{
    hf_limit_init(limit);
    hf_keyset_read(r, &limit->keys);
    limit->version_count = hf_policy_get_count(r, 1, HF_LIMIT_VERSIONS_MAX);
    hf_policy_get_bytes(r, limit->versions, limit->version_count * sizeof limit->versions[0]);
    limit->exits = (hf_exit_rule)hf_policy_get_count(r, 1, HF_EXITS_REFUSED);
    limit->recipient_count = hf_policy_get_count(r, 1, HF_LIMIT_RECIPIENTS_MAX);
    hf_policy_get_bytes(r, limit->recipients, limit->recipient_count * sizeof limit->recipients[0]);
    limit->needs_proofs = hf_policy_get_count(r, 1, 1) != 0;
    limit->gas_min = hf_policy_get(r, 8);
    limit->gas_max = hf_policy_get(r, 8);
    limit->slots_ahead = hf_policy_get(r, 8);
    limit->slots_behind = hf_policy_get(r, 8);
    read_rates(r, limit->rates, HF_OP_COUNT);
    read_eth1(r, &limit->eth1);
    return r->failed ? hf_fail(err, HF_INVALID_INPUT, "the bytes are no limit")
                     : hf_limit_check(limit, err);
}
