/* Does what a key of the execution layer is to sign keep its limits? As judge.c: the rates last. */
#include "policy_internal.h"

#define BLOB_GAS 131072U
#define LIMIT_SETTER (UINT64_C(1) << 63) /* as in judge.c */
/* Operations of the rates' buckets: behind those of the consensus layer. */
#define OPERATION_BASE 1000U

typedef struct judgement {
    const hf_limit_context *context;
    const hf_eth1_question *q;
    hf_policy_key key;
    hf_limit_sentence sentence;
} judgement;

/* ---- chain, recipient, method ---------------------------------------------------------------- */

static hf_limit_verdict judge_chain(judgement *j, const hf_limit_eth1 *limit, uint64_t chain)
{
    for (size_t i = 0; i < limit->chain_count; i++) {
        if (limit->chains[i] == chain) {
            return HF_LIMIT_PASSED;
        }
    }
    return limit->chain_count == 0 ? HF_LIMIT_PASSED
                                   : hf_limit_refuse(&j->sentence, HF_LIMIT_CHAIN,
                                                     "chain %llu is not among those allowed",
                                                     (unsigned long long)chain);
}

static hf_limit_verdict judge_target(judgement *j, const hf_limit_eth1 *limit,
                                     const uint8_t address[HF_ADDRESS_BYTES])
{
    char text[2 * HF_ADDRESS_BYTES + 1];
    for (size_t i = 0; i < limit->target_count; i++) {
        if (hf_bytes_equal(limit->targets[i], address, HF_ADDRESS_BYTES)) {
            return HF_LIMIT_PASSED;
        }
    }
    if (limit->target_count == 0) {
        return HF_LIMIT_PASSED;
    }
    hf_hex_encode(address, HF_ADDRESS_BYTES, text);
    return hf_limit_refuse(&j->sentence, HF_LIMIT_RECIPIENT,
                           "0x%s is not among the recipients allowed", text);
}

static hf_limit_verdict judge_creation(judgement *j, const hf_limit_eth1 *limit)
{
    bool is_refused = limit->refuses_creation ||
                      ((limit->target_count > 0 || limit->has_methods) && !limit->may_create);
    return is_refused ? hf_limit_refuse(&j->sentence, HF_LIMIT_CREATION,
                                        "the transaction would create a contract")
                      : HF_LIMIT_PASSED;
}

/* What carries no data calls no method. */
static hf_limit_verdict judge_method(judgement *j, const hf_limit_eth1 *limit, hf_bytes data)
{
    if (!limit->has_methods || data.len == 0) {
        return HF_LIMIT_PASSED;
    }
    for (size_t i = 0; i < limit->method_count && data.len >= 4; i++) {
        if (hf_bytes_equal(limit->methods[i], data.ptr, 4)) {
            return HF_LIMIT_PASSED;
        }
    }
    if (data.len < 4) {
        return hf_limit_refuse(&j->sentence, HF_LIMIT_METHOD,
                               "the data is shorter than the selector of a method");
    }
    return hf_limit_refuse(&j->sentence, HF_LIMIT_METHOD,
                           "method 0x%02x%02x%02x%02x is not among those allowed", data.ptr[0],
                           data.ptr[1], data.ptr[2], data.ptr[3]);
}

/* ---- amounts --------------------------------------------------------------------------------- */

static hf_limit_verdict judge_amount(judgement *j, hf_limit_verdict verdict, const char *what,
                                     const hf_u256 *amount, const hf_u256 *most)
{
    char is[HF_AMOUNT_TEXT_LEN];
    char may[HF_AMOUNT_TEXT_LEN];
    if (hf_u256_compare(amount, most) <= 0) {
        return HF_LIMIT_PASSED;
    }
    hf_amount_format(amount, is);
    hf_amount_format(most, may);
    return hf_limit_refuse(&j->sentence, verdict, "%s %s wei is above %s", what, is, may);
}

/* The most that this transaction can cost beside its value. */
static hf_u256 highest_fee(const hf_transaction *tx)
{
    bool is_old = tx->type == HF_TX_LEGACY || tx->type == HF_TX_ACCESS_LIST;
    hf_u256 fee = is_old ? tx->gas_price : tx->max_fee;
    hf_u256 blobs = tx->max_blob_fee;
    hf_amount_multiply(&fee, tx->gas_limit);
    if (tx->type == HF_TX_BLOB) {
        hf_amount_multiply(&blobs, (uint64_t)tx->blob_count * BLOB_GAS);
        hf_amount_add(&fee, &blobs);
    }
    return fee;
}

/* With this one, what the key has spent within a day. */
static hf_limit_verdict judge_day(judgement *j, const hf_limit_eth1 *limit)
{
    hf_u256 sum;
    const hf_spending *spending = j->q->spending;
    if (hf_bytes_is_zero(j->q->tx->value.bytes, sizeof sum.bytes)) {
        return HF_LIMIT_PASSED;
    }
    if (spending == NULL) {
        return hf_limit_refuse(&j->sentence, HF_LIMIT_DAY,
                               "what was spent today is not known: see the log");
    }
    uint64_t hour = hf_spending_hour(spending, j->context->now_unix_ms);
    if (!hf_spending_has_room(spending, j->q->address, hour)) {
        return hf_limit_refuse(&j->sentence, HF_LIMIT_DAY,
                               "too many keys have spent something today");
    }
    hf_spending_sum(spending, j->q->address, hour, &sum);
    hf_amount_add(&sum, &j->q->tx->value);
    return judge_amount(j, HF_LIMIT_DAY, "the value of 24 hours and this transaction,", &sum,
                        &limit->value_per_day);
}

static hf_limit_verdict judge_amounts(judgement *j, const hf_limit_eth1 *limit)
{
    const hf_transaction *tx = j->q->tx;
    hf_limit_verdict verdict = HF_LIMIT_PASSED;
    if (limit->bounds_value) {
        verdict = judge_amount(j, HF_LIMIT_VALUE, "value", &tx->value, &limit->value_max);
    }
    if (verdict == HF_LIMIT_PASSED && limit->bounds_fee) {
        hf_u256 fee = highest_fee(tx);
        verdict = judge_amount(j, HF_LIMIT_FEE, "the highest fee", &fee, &limit->fee_max);
    }
    return verdict == HF_LIMIT_PASSED && limit->bounds_day ? judge_day(j, limit) : verdict;
}

/* ---- one limit ------------------------------------------------------------------------------- */

static hf_limit_verdict judge_transaction(judgement *j, const hf_limit_eth1 *limit)
{
    const hf_transaction *tx = j->q->tx;
    hf_limit_verdict verdict = judge_chain(j, limit, tx->chain_id);
    if (verdict == HF_LIMIT_PASSED) {
        verdict = tx->has_to ? judge_target(j, limit, tx->to) : judge_creation(j, limit);
    }
    if (verdict == HF_LIMIT_PASSED && tx->has_to) {
        verdict = judge_method(j, limit, tx->data);
    }
    return verdict == HF_LIMIT_PASSED ? judge_amounts(j, limit) : verdict;
}

/* The domain's chain: 0 for one that is no number of a chain. */
static uint64_t domain_chain(const hf_eip712_domain *domain)
{
    uint64_t chain = 0;
    for (size_t i = 24; i < sizeof domain->chain_id; i++) {
        chain = chain << 8 | domain->chain_id[i];
    }
    return hf_bytes_is_zero(domain->chain_id, 24) ? chain : 0;
}

/* A domain without chain or contract holds on all of them. Members that it does not have are zero,
 * which is no chain's number and nobody's address. */
static hf_limit_verdict judge_typed_data(judgement *j, const hf_limit_eth1 *limit)
{
    const hf_eip712_domain *domain = &j->q->typed->domain;
    if (limit->refuses_typed_data) {
        return hf_limit_refuse(&j->sentence, HF_LIMIT_MESSAGE, "typed data of this key is refused");
    }
    hf_limit_verdict verdict = judge_chain(j, limit, domain_chain(domain));
    return verdict == HF_LIMIT_PASSED ? judge_target(j, limit, domain->contract) : verdict;
}

/* Does it say anything of what a hash could be? */
static bool says_anything(const hf_limit_eth1 *limit)
{
    return limit->chain_count > 0 || limit->target_count > 0 || limit->has_methods ||
           limit->refuses_creation || limit->refuses_messages || limit->refuses_typed_data ||
           limit->bounds_value || limit->bounds_day || limit->bounds_fee;
}

static hf_limit_verdict judge_one(judgement *j, const hf_limit_eth1 *limit)
{
    if (j->q->is_hash) {
        return says_anything(limit)
                   ? hf_limit_refuse(
                         &j->sentence, HF_LIMIT_OPAQUE,
                         "a hash alone does not say what it is of, and this key has limits")
                   : HF_LIMIT_PASSED;
    }
    switch (j->q->kind) {
    case HF_ETH1_TRANSACTION:
        return judge_transaction(j, limit);
    case HF_ETH1_TYPED_DATA:
        return judge_typed_data(j, limit);
    case HF_ETH1_MESSAGE:
    case HF_ETH1_DATA:
        return limit->refuses_messages ? hf_limit_refuse(&j->sentence, HF_LIMIT_MESSAGE,
                                                         "messages of this key are refused")
                                       : HF_LIMIT_PASSED;
    case HF_ETH1_KIND_COUNT:
        break;
    }
    return hf_limit_refuse(&j->sentence, HF_LIMIT_OPAQUE, "a kind that is none");
}

static hf_limit_verdict judge_rate(judgement *j, const hf_limit *limit, size_t number, bool takes)
{
    const hf_policy_rate *rate = &limit->eth1.rates[j->q->kind];
    hf_rates *rates = j->context->rates;
    uint32_t operation = OPERATION_BASE + (uint32_t)j->q->kind;
    uint64_t setter = LIMIT_SETTER | number;
    uint64_t now_ns = j->context->now_ns;
    if (rate->count == 0 || j->q->is_hash) {
        return HF_LIMIT_PASSED;
    }
    bool has = takes ? hf_rates_take(rates, rate, setter, &j->key, operation, now_ns)
                     : hf_rates_has(rates, rate, setter, &j->key, operation, now_ns);
    return has ? HF_LIMIT_PASSED
               : hf_limit_refuse(&j->sentence, HF_LIMIT_RATE,
                                 "more than %u of %s in %u s for this key", (unsigned)rate->count,
                                 hf_eth1_kind_name(j->q->kind), (unsigned)(rate->period_ms / 1000));
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* What is not about rates; what the rates have; and the taking. */
typedef enum judge_turn { TURN_REQUEST, TURN_RATES, TURN_TAKE, TURN_COUNT } judge_turn;

hf_limit_verdict hf_limits_judge_eth1(const hf_limit *limits, size_t count,
                                      const hf_limit_context *context,
                                      const hf_eth1_question *question, bool *ret_counts,
                                      char *ret_sentence, size_t len)
{
    judgement j = {.context = context,
                   .q = question,
                   .key = hf_policy_key_from(question->address, HF_ADDRESS_BYTES),
                   .sentence = {ret_sentence, len}};
    bool counts = false;
    HF_ASSERT(question->kind < HF_ETH1_KIND_COUNT);
    for (unsigned turn = TURN_REQUEST; turn < TURN_COUNT; turn++) {
        for (size_t i = 0; i < count; i++) {
            if (!hf_keyset_has(&limits[i].keys, &j.key, context->tags, context->tag_count)) {
                continue;
            }
            hf_limit_verdict verdict = turn == TURN_REQUEST
                                           ? judge_one(&j, &limits[i].eth1)
                                           : judge_rate(&j, &limits[i], i, turn == TURN_TAKE);
            if (verdict != HF_LIMIT_PASSED) {
                return verdict;
            }
            counts = counts || limits[i].eth1.bounds_day;
        }
    }
    *ret_counts = counts && question->tx != NULL && !question->is_hash &&
                  !hf_bytes_is_zero(question->tx->value.bytes, sizeof question->tx->value.bytes);
    return HF_LIMIT_PASSED;
}
