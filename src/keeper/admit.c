/* What a request's own bytes say: is it well formed, for this network, and which root is it? */
#include "keeper/keeper.h"

static void refuse(hf_admission *admission, hf_reason reason, const char *sentence)
{
    admission->reason = reason;
    hf_str_cut(admission->detail, sizeof admission->detail, sentence);
}

static bool is_flag(uint8_t value)
{
    return value <= 1;
}

static void describe_block(const hf_eth_request *request, hf_admission *admission)
{
    admission->is_slashable = true;
    admission->message.kind = HF_MESSAGE_BLOCK;
    admission->message.slot = request->fields.block.slot;
    if (request->fields.block.slot > HF_PROTECT_MAX_NUMBER) {
        refuse(admission, HF_REASON_OUT_OF_RANGE, "the block's slot is out of range");
    }
}

static void describe_attestation(const hf_eth_request *request, hf_admission *admission)
{
    const hf_attestation_data *data = &request->fields.attestation;
    admission->is_slashable = true;
    admission->message.kind = HF_MESSAGE_ATTESTATION;
    admission->message.source = data->source.epoch;
    admission->message.target = data->target.epoch;
    if (data->source.epoch > HF_PROTECT_MAX_NUMBER || data->target.epoch > HF_PROTECT_MAX_NUMBER) {
        refuse(admission, HF_REASON_OUT_OF_RANGE, "the attestation's epochs are out of range");
    }
}

bool hf_operation_is_slashable(uint32_t operation)
{
    return operation == HF_OP_BLOCK || operation == HF_OP_BLOCK_V2 ||
           operation == HF_OP_ATTESTATION;
}

/* No default: a new operation does not compile until somebody has said whether it can slash. */
static void describe_message(const hf_eth_request *request, hf_admission *admission)
{
    switch ((hf_operation)request->operation) {
    case HF_OP_BLOCK:
    case HF_OP_BLOCK_V2:
        describe_block(request, admission);
        return;
    case HF_OP_ATTESTATION:
        describe_attestation(request, admission);
        return;
    case HF_OP_AGGREGATION_SLOT:
    case HF_OP_AGGREGATE_AND_PROOF:
    case HF_OP_AGGREGATE_AND_PROOF_V2:
    case HF_OP_DEPOSIT:
    case HF_OP_RANDAO_REVEAL:
    case HF_OP_VOLUNTARY_EXIT:
    case HF_OP_SYNC_COMMITTEE_MESSAGE:
    case HF_OP_SYNC_COMMITTEE_SELECTION_PROOF:
    case HF_OP_SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF:
    case HF_OP_VALIDATOR_REGISTRATION:
    case HF_OP_EXECUTION_PAYLOAD_BID:
    case HF_OP_EXECUTION_PAYLOAD_ENVELOPE:
    case HF_OP_PAYLOAD_ATTESTATION:
    case HF_OP_PROPOSER_PREFERENCES:
    case HF_OP_BUILDER_REQUEST_AUTH:
        return;
    case HF_OP_COUNT:
        break;
    }
    refuse(admission, HF_REASON_MALFORMED, "unknown operation");
}

void hf_keeper_admit(const hf_network *network, const hf_eth_request *request,
                     hf_admission *ret_admission)
{
    hf_admission *admission = ret_admission;
    *admission = (hf_admission){.reason = HF_REASON_OK};
    if (request->operation >= HF_OP_COUNT || !is_flag(request->has_signing_root) ||
        !is_flag(request->has_fork_info)) {
        refuse(admission, HF_REASON_MALFORMED, "malformed frame");
        return;
    }
    if (request->has_fork_info &&
        !hf_bytes_equal(request->fork_info.genesis_validators_root,
                        network->genesis_validators_root, HF_ROOT_BYTES)) {
        refuse(admission, HF_REASON_WRONG_NETWORK, "");
        return;
    }
    hf_error err = {.code = HF_OK};
    if (hf_failed(hf_eth_signing_root(network, request, admission->root, &err))) {
        refuse(admission, HF_REASON_MALFORMED, err.msg);
        return;
    }
    if (request->has_signing_root &&
        !hf_bytes_equal(request->signing_root, admission->root, HF_ROOT_BYTES)) { /* I2 */
        refuse(admission, HF_REASON_SIGNING_ROOT_MISMATCH, "");
        return;
    }
    memcpy(admission->message.pubkey, request->pubkey, HF_BLS_PUBKEY_BYTES);
    memcpy(admission->message.signing_root, admission->root, HF_ROOT_BYTES);
    admission->message.has_root = 1;
    describe_message(request, admission);
}
