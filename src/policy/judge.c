/* Does a request keep the limits of its key? Everything that is no rate first, in a fixed order; of
 * the rates only when all else holds, and only when each has one to give. */
#include "policy_internal.h"

typedef struct judgement {
    const hf_limit_context *context;
    const hf_eth_request *request;
    hf_policy_key key;
    uint64_t now_slot;
    hf_limit_sentence sentence;
} judgement;

/* ---- fork versions and exits ------------------------------------------------------------------
 */

static hf_limit_verdict judge_version(judgement *j, const hf_limit *limit)
{
    const uint8_t *used =
        limit->version_count == 0 ? NULL : hf_eth_version_used(j->context->network, j->request);
    if (used == NULL) {
        return HF_LIMIT_PASSED;
    }
    for (size_t i = 0; i < limit->version_count; i++) {
        if (hf_bytes_equal(limit->versions[i], used, 4)) {
            return HF_LIMIT_PASSED;
        }
    }
    return hf_limit_refuse(&j->sentence, HF_LIMIT_FORK_VERSION,
                           "fork version 0x%02x%02x%02x%02x is not among those allowed", used[0],
                           used[1], used[2], used[3]);
}

static hf_limit_verdict judge_exit(judgement *j, const hf_limit *limit)
{
    if (j->request->operation != HF_OP_VOLUNTARY_EXIT || limit->exits == HF_EXITS_ALLOWED) {
        return HF_LIMIT_PASSED;
    }
    if (limit->exits == HF_EXITS_REFUSED) {
        return hf_limit_refuse(&j->sentence, HF_LIMIT_EXIT, "exits of this key are refused");
    }
    const hf_limit_context *context = j->context;
    if (hf_approvals_have(context->approvals, &j->key, context->asker, context->now_unix_ms)) {
        return HF_LIMIT_PASSED;
    }
    return hf_limit_refuse(
        &j->sentence, HF_LIMIT_EXIT_APPROVAL,
        "somebody else has to approve this exit first (holdfast policy approve-exit)");
}

/* ---- who is paid, and gas ---------------------------------------------------------------------
 */

static bool is_block(const judgement *j)
{
    return j->request->operation == HF_OP_BLOCK || j->request->operation == HF_OP_BLOCK_V2;
}

static bool is_recipient(const hf_limit *limit, const uint8_t address[20])
{
    for (size_t i = 0; i < limit->recipient_count; i++) {
        if (hf_bytes_equal(limit->recipients[i], address, 20)) {
            return true;
        }
    }
    return false;
}

static hf_limit_verdict judge_recipient(judgement *j, const hf_limit *limit,
                                        const uint8_t address[20])
{
    char text[2 * 20 + 1];
    if (limit->recipient_count == 0 || is_recipient(limit, address)) {
        return HF_LIMIT_PASSED;
    }
    hf_hex_encode(address, 20, text);
    return hf_limit_refuse(&j->sentence, HF_LIMIT_FEE_RECIPIENT,
                           "fee recipient 0x%s is not among those allowed", text);
}

static hf_limit_verdict judge_gas(judgement *j, const hf_limit *limit, uint64_t gas)
{
    if (gas >= limit->gas_min && gas <= limit->gas_max) {
        return HF_LIMIT_PASSED;
    }
    bool is_low = gas < limit->gas_min;
    return hf_limit_refuse(&j->sentence, HF_LIMIT_GAS_LIMIT, "gas limit %llu is %s %llu",
                           (unsigned long long)gas, is_low ? "below" : "above",
                           (unsigned long long)(is_low ? limit->gas_min : limit->gas_max));
}

static const hf_block_proof *find_proof(const judgement *j, uint32_t index)
{
    const hf_proven_block *block = &j->request->fields.proven;
    for (size_t i = 0; i < block->proof_count && i < HF_BLOCK_PROOFS_MAX; i++) {
        if (index != 0 && block->proofs[i].index == index) {
            return &block->proofs[i];
        }
    }
    return NULL;
}

static hf_limit_verdict proof_is_missing(judgement *j, const hf_limit *limit, const char *what)
{
    if (!limit->needs_proofs) {
        return HF_LIMIT_PASSED;
    }
    return hf_limit_refuse(&j->sentence, HF_LIMIT_BLOCK_PROOF,
                           "the block comes without a proof of its %s", what);
}

static bool proves(const judgement *j, const hf_block_proof *proof, const uint8_t leaf[32])
{
    return hf_eth_block_proof_holds(proof, leaf, j->request->fields.block.body_root);
}

/* A client may leave the value out: then it has to be one of ours. */
static bool proves_a_recipient(const judgement *j, const hf_limit *limit,
                               const hf_block_proof *proof)
{
    uint8_t leaf[32] = {0};
    for (size_t i = 0; i < limit->recipient_count; i++) {
        memcpy(leaf, limit->recipients[i], 20);
        if (proves(j, proof, leaf)) {
            return true;
        }
    }
    return false;
}

static hf_limit_verdict judge_block_recipient(judgement *j, const hf_limit *limit, uint32_t index)
{
    const hf_block_proof *proof = find_proof(j, index);
    if (limit->recipient_count == 0) {
        return HF_LIMIT_PASSED;
    }
    if (proof == NULL) {
        return proof_is_missing(j, limit, "fee recipient");
    }
    if (proof->has_value == 0) {
        return proves_a_recipient(j, limit, proof)
                   ? HF_LIMIT_PASSED
                   : hf_limit_refuse(
                         &j->sentence, HF_LIMIT_FEE_RECIPIENT,
                         "the block's proof leads to none of the fee recipients allowed");
    }
    if (!proves(j, proof, proof->value) || !hf_bytes_is_zero(proof->value + 20, 12)) {
        return hf_limit_refuse(&j->sentence, HF_LIMIT_BLOCK_PROOF,
                               "the proof of the block's fee recipient is wrong");
    }
    return judge_recipient(j, limit, proof->value);
}

static hf_limit_verdict judge_block_gas(judgement *j, const hf_limit *limit, uint32_t index)
{
    const hf_block_proof *proof = find_proof(j, index);
    if (limit->gas_min == 0 && limit->gas_max == HF_LIMIT_NO_BOUND) {
        return HF_LIMIT_PASSED;
    }
    if (proof == NULL || proof->has_value == 0) {
        return proof_is_missing(j, limit, "gas limit, or without its value");
    }
    if (!proves(j, proof, proof->value) || !hf_bytes_is_zero(proof->value + 8, 24)) {
        return hf_limit_refuse(&j->sentence, HF_LIMIT_BLOCK_PROOF,
                               "the proof of the block's gas limit is wrong");
    }
    return judge_gas(j, limit, hf_le64_get(proof->value));
}

static hf_limit_verdict judge_block(judgement *j, const hf_limit *limit)
{
    const hf_network *network = j->context->network;
    const hf_fork_info *fork_info = &j->request->fork_info;
    uint64_t slot = j->request->fields.block.slot;
    uint32_t recipient = hf_eth_block_place(network, fork_info, slot, HF_PLACE_FEE_RECIPIENT);
    uint32_t gas = hf_eth_block_place(network, fork_info, slot, HF_PLACE_GAS_LIMIT);
    hf_limit_verdict verdict = judge_block_recipient(j, limit, recipient);
    return verdict != HF_LIMIT_PASSED ? verdict : judge_block_gas(j, limit, gas);
}

static hf_limit_verdict judge_payment(judgement *j, const hf_limit *limit)
{
    const hf_eth_fields *fields = &j->request->fields;
    const uint8_t *recipient;
    uint64_t gas;
    if (is_block(j)) {
        return judge_block(j, limit);
    }
    if (j->request->operation == HF_OP_VALIDATOR_REGISTRATION) {
        recipient = fields->registration.fee_recipient;
        gas = fields->registration.gas_limit;
    } else if (j->request->operation == HF_OP_PROPOSER_PREFERENCES) {
        recipient = fields->proposer_preferences.fee_recipient;
        gas = fields->proposer_preferences.target_gas_limit;
    } else {
        return HF_LIMIT_PASSED;
    }
    hf_limit_verdict verdict = judge_recipient(j, limit, recipient);
    return verdict != HF_LIMIT_PASSED ? verdict : judge_gas(j, limit, gas);
}

/* ---- the clock --------------------------------------------------------------------------------
 */

static hf_limit_verdict judge_slots(judgement *j, const hf_limit *limit, uint64_t first,
                                    uint64_t last)
{
    if (first > j->now_slot && first - j->now_slot > limit->slots_ahead) {
        return hf_limit_refuse(&j->sentence, HF_LIMIT_CLOCK,
                               "slot %llu is %llu ahead of the clock, at most %llu",
                               (unsigned long long)first, (unsigned long long)(first - j->now_slot),
                               (unsigned long long)limit->slots_ahead);
    }
    if (last < j->now_slot && j->now_slot - last > limit->slots_behind) {
        return hf_limit_refuse(&j->sentence, HF_LIMIT_CLOCK,
                               "slot %llu is %llu behind the clock, at most %llu",
                               (unsigned long long)last, (unsigned long long)(j->now_slot - last),
                               (unsigned long long)limit->slots_behind);
    }
    return HF_LIMIT_PASSED;
}

/* An epoch is as near as the nearest of its slots. may_be_old: only its future counts. */
static hf_limit_verdict judge_epoch(judgement *j, const hf_limit *limit, uint64_t epoch,
                                    bool may_be_old)
{
    uint64_t slots = j->context->network->slots_per_epoch;
    uint64_t first = epoch > UINT64_MAX / slots ? UINT64_MAX : epoch * slots;
    uint64_t last = first > UINT64_MAX - (slots - 1) ? UINT64_MAX : first + (slots - 1);
    return judge_slots(j, limit, first, may_be_old ? UINT64_MAX : last);
}

static hf_limit_verdict judge_slot(judgement *j, const hf_limit *limit, uint64_t slot)
{
    return judge_slots(j, limit, slot, slot);
}

static hf_limit_verdict judge_attestation(judgement *j, const hf_limit *limit)
{
    const hf_attestation_data *data = &j->request->fields.attestation;
    hf_limit_verdict verdict = judge_slot(j, limit, data->slot);
    return verdict != HF_LIMIT_PASSED ? verdict : judge_epoch(j, limit, data->target.epoch, false);
}

static uint64_t slot_at(const hf_network *network, uint64_t unix_seconds, uint64_t extra_ms)
{
    if (unix_seconds < network->genesis_time || network->slot_ms == 0) {
        return 0;
    }
    uint64_t seconds = unix_seconds - network->genesis_time;
    return seconds > (UINT64_MAX - extra_ms) / 1000
               ? UINT64_MAX
               : (seconds * 1000 + extra_ms) / network->slot_ms;
}

/* No default: a new operation does not compile until somebody has said what its time is. */
static hf_limit_verdict judge_clock(judgement *j, const hf_limit *limit)
{
    const hf_eth_fields *fields = &j->request->fields;
    switch ((hf_operation)j->request->operation) {
    case HF_OP_AGGREGATION_SLOT:
        return judge_slot(j, limit, fields->aggregation_slot);
    case HF_OP_ATTESTATION:
        return judge_attestation(j, limit);
    case HF_OP_BLOCK:
    case HF_OP_BLOCK_V2:
        return judge_slot(j, limit, fields->block.slot);
    case HF_OP_RANDAO_REVEAL:
        return judge_epoch(j, limit, fields->randao_epoch, false);
    case HF_OP_VOLUNTARY_EXIT: /* valid from its epoch on, so an early one is as good */
        return judge_epoch(j, limit, fields->voluntary_exit.epoch, true);
    case HF_OP_AGGREGATE_AND_PROOF:
    case HF_OP_AGGREGATE_AND_PROOF_V2:
    case HF_OP_SYNC_COMMITTEE_MESSAGE:
    case HF_OP_SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF:
    case HF_OP_EXECUTION_PAYLOAD_BID:
    case HF_OP_EXECUTION_PAYLOAD_ENVELOPE:
    case HF_OP_BUILDER_REQUEST_AUTH:
        return judge_slot(j, limit, fields->rooted.slot);
    case HF_OP_SYNC_COMMITTEE_SELECTION_PROOF:
        return judge_slot(j, limit, fields->sync_selection.slot);
    case HF_OP_VALIDATOR_REGISTRATION: /* some clients keep one time for ever */
        return judge_slots(
            j, limit, slot_at(j->context->network, fields->registration.timestamp, 0), UINT64_MAX);
    case HF_OP_PAYLOAD_ATTESTATION:
        return judge_slot(j, limit, fields->payload_attestation.slot);
    case HF_OP_PROPOSER_PREFERENCES:
        return judge_slot(j, limit, fields->proposer_preferences.proposal_slot);
    case HF_OP_DEPOSIT:
    case HF_OP_COUNT:
        break;
    }
    return HF_LIMIT_PASSED;
}

/* ---- rates ------------------------------------------------------------------------------------
 */

#define LIMIT_SETTER (UINT64_C(1) << 63) /* no rule's has this bit */

static hf_limit_verdict judge_rate(judgement *j, const hf_limit *limit, size_t number, bool takes)
{
    uint32_t operation = j->request->operation;
    const hf_policy_rate *rate = &limit->rates[operation];
    if (rate->count == 0) {
        return HF_LIMIT_PASSED;
    }
    hf_rates *rates = j->context->rates;
    uint64_t now_ns = j->context->now_ns;
    uint64_t setter = LIMIT_SETTER | number;
    bool has = takes ? hf_rates_take(rates, rate, setter, &j->key, operation, now_ns)
                     : hf_rates_has(rates, rate, setter, &j->key, operation, now_ns);
    return has ? HF_LIMIT_PASSED
               : hf_limit_refuse(&j->sentence, HF_LIMIT_RATE,
                                 "more than %u of %s in %u s for this key", (unsigned)rate->count,
                                 hf_eth_operation_name((hf_operation)operation),
                                 (unsigned)(rate->period_ms / 1000));
}

/* ---- all of them ------------------------------------------------------------------------------
 */

static hf_limit_verdict judge_message(judgement *j, const hf_limit *limit)
{
    hf_limit_verdict verdict = judge_version(j, limit);
    if (verdict == HF_LIMIT_PASSED) {
        verdict = judge_exit(j, limit);
    }
    if (verdict == HF_LIMIT_PASSED) {
        verdict = judge_payment(j, limit);
    }
    return verdict == HF_LIMIT_PASSED ? judge_clock(j, limit) : verdict;
}

/* What is not about rates; what the rates have; and the taking. */
typedef enum judge_turn { TURN_MESSAGE, TURN_RATES, TURN_TAKE, TURN_COUNT } judge_turn;

hf_limit_verdict hf_limits_judge(const hf_limit *limits, size_t count,
                                 const hf_limit_context *context, const hf_eth_request *request,
                                 char *ret_sentence, size_t len)
{
    judgement j = {.context = context,
                   .request = request,
                   .key = hf_policy_key_from(request->pubkey, HF_BLS_PUBKEY_BYTES),
                   .sentence = {ret_sentence, len}};
    j.now_slot =
        slot_at(context->network, context->now_unix_ms / 1000, context->now_unix_ms % 1000);
    HF_ASSERT(request->operation < HF_OP_COUNT);
    for (unsigned turn = TURN_MESSAGE; turn < TURN_COUNT; turn++) {
        for (size_t i = 0; i < count; i++) {
            if (!hf_keyset_has(&limits[i].keys, &j.key, context->tags, context->tag_count)) {
                continue;
            }
            hf_limit_verdict verdict = turn == TURN_MESSAGE
                                           ? judge_message(&j, &limits[i])
                                           : judge_rate(&j, &limits[i], i, turn == TURN_TAKE);
            if (verdict != HF_LIMIT_PASSED) {
                return verdict;
            }
        }
    }
    return HF_LIMIT_PASSED;
}
