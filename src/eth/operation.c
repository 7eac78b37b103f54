/* What may be asked for: names on the wire. */
#include "eth/eth.h"

#include <strings.h>

static const char *const names[HF_OP_COUNT] = {
    [HF_OP_AGGREGATION_SLOT] = "AGGREGATION_SLOT",
    [HF_OP_AGGREGATE_AND_PROOF] = "AGGREGATE_AND_PROOF",
    [HF_OP_AGGREGATE_AND_PROOF_V2] = "AGGREGATE_AND_PROOF_V2",
    [HF_OP_ATTESTATION] = "ATTESTATION",
    [HF_OP_BLOCK] = "BLOCK",
    [HF_OP_BLOCK_V2] = "BLOCK_V2",
    [HF_OP_DEPOSIT] = "DEPOSIT",
    [HF_OP_RANDAO_REVEAL] = "RANDAO_REVEAL",
    [HF_OP_VOLUNTARY_EXIT] = "VOLUNTARY_EXIT",
    [HF_OP_SYNC_COMMITTEE_MESSAGE] = "SYNC_COMMITTEE_MESSAGE",
    [HF_OP_SYNC_COMMITTEE_SELECTION_PROOF] = "SYNC_COMMITTEE_SELECTION_PROOF",
    [HF_OP_SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF] = "SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF",
    [HF_OP_VALIDATOR_REGISTRATION] = "VALIDATOR_REGISTRATION",
    [HF_OP_EXECUTION_PAYLOAD_BID] = "EXECUTION_PAYLOAD_BID",
    [HF_OP_EXECUTION_PAYLOAD_ENVELOPE] = "EXECUTION_PAYLOAD_ENVELOPE",
    [HF_OP_PAYLOAD_ATTESTATION] = "PAYLOAD_ATTESTATION",
    [HF_OP_PROPOSER_PREFERENCES] = "PROPOSER_PREFERENCES",
    [HF_OP_BUILDER_REQUEST_AUTH] = "BUILDER_REQUEST_AUTH",
};

const char *hf_eth_operation_name(hf_operation op)
{
    return (unsigned)op < HF_OP_COUNT ? names[op] : NULL;
}

bool hf_eth_operation_parse(const char *name, hf_operation *ret_op)
{
    for (unsigned i = 0; i < HF_OP_COUNT; i++) {
        if (strcasecmp(name, names[i]) == 0) {
            *ret_op = (hf_operation)i;
            return true;
        }
    }
    /* The remote signing API's name; Lighthouse uses the short one. */
    if (strcasecmp(name, "PAYLOAD_ATTESTATION_MESSAGE") == 0) {
        *ret_op = HF_OP_PAYLOAD_ATTESTATION;
        return true;
    }
    return false;
}

bool hf_eth_operation_has_fork_info(hf_operation op)
{
    return op != HF_OP_DEPOSIT && op != HF_OP_VALIDATOR_REGISTRATION &&
           op != HF_OP_BUILDER_REQUEST_AUTH;
}
