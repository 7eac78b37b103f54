/*
 * Frames of whoever sits at the other end of a channel. Any bytes are judged for every channel in
 * both directions; then they stand in for a signing request, which the pure core of the keeper's
 * intake admits or refuses, with the same root as eth gives it and a record that says all of it.
 */
#include "keeper/keeper.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Hints that no mutation would find by itself: 32 bytes that have to agree. */
#define HINT_NETWORK 1U /* the network's own genesis validators root */
#define HINT_ROOT 2U    /* the request's own signing root */
#define HINT_SIZE 4U    /* or the exact size of the type, filled up with zeros */

static void judge_frame(const uint8_t *data, size_t size)
{
    hf_frame_header header;
    unsigned accepted = 0;
    for (unsigned channel = 0; channel <= HF_CHANNEL_COUNT; channel++) {
        accepted += hf_frame_is_acceptable(data, size, (hf_channel)channel, true);
        accepted += hf_frame_is_acceptable(data, size, (hf_channel)channel, false);
        HF_ASSERT(channel < HF_CHANNEL_COUNT ||
                  !hf_frame_is_acceptable(data, size, (hf_channel)channel, true));
    }
    if (accepted == 0) {
        return;
    }
    HF_ASSERT(size >= sizeof header && size <= HF_IPC_MAX_BYTES);
    memcpy(&header, data, sizeof header);
    HF_ASSERT(header.magic == HF_IPC_MAGIC && header.version == HF_IPC_VERSION);
    HF_ASSERT(header.type > 0 && header.type < HF_MSG_COUNT_TYPES);
    HF_ASSERT(hf_frame_size(header.type) == size && hf_frame_name(header.type) != NULL);
    /* A signature may be asked for by a front alone, and is never told to the keeper. */
    HF_ASSERT((header.type != HF_MSG_SIGN && header.type != HF_MSG_DUTY_SIGN) || accepted == 1);
    HF_ASSERT(!hf_frame_is_acceptable(data, size, HF_CHANNEL_FRONT, true) ||
              (header.type != HF_MSG_SIGN_REPLY && header.type != HF_MSG_KEY &&
               header.type != HF_MSG_NEW_CHANNEL && header.type != HF_MSG_SET_HIGH));
}

/* The same in the length that its type has to have. */
static void judge_fitted(const uint8_t *data, size_t size)
{
    static uint8_t fitted[HF_IPC_MAX_BYTES];
    hf_frame_header header = {0};
    memcpy(&header, data, size < sizeof header ? size : sizeof header);
    size_t wanted = hf_frame_size(header.type);
    HF_ASSERT(wanted <= sizeof fitted);
    memset(fitted, 0, wanted);
    memcpy(fitted, data, size < wanted ? size : wanted);
    judge_frame(fitted, wanted);
}

static bool may_slash(uint32_t operation)
{
    return operation == HF_OP_ATTESTATION || operation == HF_OP_BLOCK ||
           operation == HF_OP_BLOCK_V2;
}

/* What goes to the protection says exactly what is signed. */
static void judge_message(const hf_eth_request *request, const hf_admission *admission)
{
    const hf_message *message = &admission->message;
    HF_ASSERT(message->has_root == 1);
    HF_ASSERT(hf_bytes_equal(message->signing_root, admission->root, HF_ROOT_BYTES));
    HF_ASSERT(hf_bytes_equal(message->pubkey, request->pubkey, HF_BLS_PUBKEY_BYTES));
    if (request->operation == HF_OP_ATTESTATION) {
        HF_ASSERT(message->kind == HF_MESSAGE_ATTESTATION && message->slot == 0);
        HF_ASSERT(message->source == request->fields.attestation.source.epoch);
        HF_ASSERT(message->target == request->fields.attestation.target.epoch);
    } else {
        HF_ASSERT(message->kind == HF_MESSAGE_BLOCK && message->source + message->target == 0);
        HF_ASSERT(message->slot == request->fields.block.slot);
    }
    HF_ASSERT(message->slot <= HF_PROTECT_MAX_NUMBER && message->source <= HF_PROTECT_MAX_NUMBER &&
              message->target <= HF_PROTECT_MAX_NUMBER);
}

static void judge_admission(const hf_network *network, const hf_eth_request *request)
{
    hf_admission admission;
    uint8_t root[HF_ROOT_BYTES];
    hf_keeper_admit(network, request, &admission);
    HF_ASSERT(admission.reason < HF_REASON_COUNT);
    HF_ASSERT(memchr(admission.detail, '\0', sizeof admission.detail) != NULL);
    if (admission.reason != HF_REASON_OK) {
        return;
    }
    HF_ASSERT(!hf_failed(hf_eth_signing_root(network, request, root, NULL)));
    HF_ASSERT(hf_bytes_equal(root, admission.root, HF_ROOT_BYTES));
    HF_ASSERT(!request->has_signing_root ||
              hf_bytes_equal(request->signing_root, root, HF_ROOT_BYTES));
    HF_ASSERT(!request->has_fork_info ||
              hf_bytes_equal(request->fork_info.genesis_validators_root,
                             network->genesis_validators_root, HF_ROOT_BYTES));
    HF_ASSERT(admission.is_slashable == may_slash(request->operation));
    if (admission.is_slashable) {
        HF_ASSERT(request->has_fork_info == 1);
        judge_message(request, &admission);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const hf_network *network = hf_eth_network_find("mainnet");
    hf_msg_sign frame = {0};
    if (size == 0) {
        return 0;
    }
    uint8_t hints = data[0];
    judge_frame(data + 1, size - 1);
    if ((hints & HINT_SIZE) != 0) {
        judge_fitted(data + 1, size - 1);
    }
    memcpy(&frame, data + 1, size - 1 < sizeof frame ? size - 1 : sizeof frame);
    if ((hints & HINT_NETWORK) != 0) {
        memcpy(frame.request.fork_info.genesis_validators_root, network->genesis_validators_root,
               HF_ROOT_BYTES);
    }
    if ((hints & HINT_ROOT) != 0 &&
        hf_failed(hf_eth_signing_root(network, &frame.request, frame.request.signing_root, NULL))) {
        return 0;
    }
    judge_admission(network, &frame.request);
    return 0;
}
