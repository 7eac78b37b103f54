/*
 * Signing roots. The trees of the fixed containers are written out, so that a request costs no hash
 * beyond those that the specification defines; subtrees of zeros are constants.
 */
#include "eth/eth.h"

#include <string.h>

/* Domain types as the specification's four bytes, read little endian. */
#define DOMAIN_PROPOSER UINT32_C(0x00000000)
#define DOMAIN_ATTESTER UINT32_C(0x00000001)
#define DOMAIN_RANDAO UINT32_C(0x00000002)
#define DOMAIN_DEPOSIT UINT32_C(0x00000003)
#define DOMAIN_VOLUNTARY_EXIT UINT32_C(0x00000004)
#define DOMAIN_SELECTION_PROOF UINT32_C(0x00000005)
#define DOMAIN_AGGREGATE_AND_PROOF UINT32_C(0x00000006)
#define DOMAIN_SYNC_COMMITTEE UINT32_C(0x00000007)
#define DOMAIN_SYNC_SELECTION_PROOF UINT32_C(0x00000008)
#define DOMAIN_CONTRIBUTION_AND_PROOF UINT32_C(0x00000009)
#define DOMAIN_BEACON_BUILDER UINT32_C(0x0000000b)
#define DOMAIN_PTC_ATTESTER UINT32_C(0x0000000c)
#define DOMAIN_PROPOSER_PREFERENCES UINT32_C(0x0000000d)
#define DOMAIN_APPLICATION_BUILDER UINT32_C(0x01000000)
#define DOMAIN_BUILDER_REQUEST_AUTH UINT32_C(0x0100000b)

static const uint8_t zero_leaf[32];
/* SHA-256 of 64 zero bytes: the root of two zero leaves. */
static const uint8_t zero_pair[32] = {
    0xf5, 0xa5, 0xfd, 0x42, 0xd1, 0x6a, 0x20, 0x30, 0x27, 0x98, 0xef, 0x6e, 0xd3, 0x09, 0x97, 0x9b,
    0x43, 0x00, 0x3d, 0x23, 0x20, 0xd9, 0xf0, 0xe8, 0xea, 0x98, 0x31, 0xa9, 0x27, 0x59, 0xfb, 0x4b};

static void leaf_put_u64(uint8_t ret_leaf[32], uint64_t value)
{
    memset(ret_leaf, 0, 32);
    hf_le64_put(ret_leaf, value);
}

static void leaf_put_address(uint8_t ret_leaf[32], const uint8_t address[20])
{
    memset(ret_leaf, 0, 32);
    memcpy(ret_leaf, address, 20);
}

static void pubkey_root(const uint8_t pubkey[48], uint8_t ret_root[32])
{
    uint8_t tail[32] = {0};
    memcpy(tail, pubkey + 32, 16);
    hf_sha256_pair(pubkey, tail, ret_root);
}

static void u64_pair_root(uint64_t a, uint64_t b, uint8_t ret_root[32])
{
    uint8_t left[32];
    uint8_t right[32];
    leaf_put_u64(left, a);
    leaf_put_u64(right, b);
    hf_sha256_pair(left, right, ret_root);
}

static void checkpoint_root(const hf_checkpoint *checkpoint, uint8_t ret_root[32])
{
    uint8_t epoch[32];
    leaf_put_u64(epoch, checkpoint->epoch);
    hf_sha256_pair(epoch, checkpoint->root, ret_root);
}

void hf_eth_attestation_data_root(const hf_attestation_data *data, uint8_t ret_root[32])
{
    uint8_t left[32];
    uint8_t right[32];
    uint8_t target[32];
    checkpoint_root(&data->source, right);
    hf_sha256_pair(data->beacon_block_root, right, right);
    u64_pair_root(data->slot, data->index, left);
    hf_sha256_pair(left, right, left);
    checkpoint_root(&data->target, target);
    hf_sha256_pair(target, zero_leaf, right);
    hf_sha256_pair(right, zero_pair, right);
    hf_sha256_pair(left, right, ret_root);
}

void hf_eth_block_header_root(const hf_block_header *header, uint8_t ret_root[32])
{
    uint8_t left[32];
    uint8_t right[32];
    u64_pair_root(header->slot, header->proposer_index, left);
    hf_sha256_pair(header->parent_root, header->state_root, right);
    hf_sha256_pair(left, right, left);
    hf_sha256_pair(header->body_root, zero_leaf, right);
    hf_sha256_pair(right, zero_pair, right);
    hf_sha256_pair(left, right, ret_root);
}

void hf_eth_deposit_message_root(const uint8_t pubkey[48], const uint8_t credentials[32],
                                 uint64_t amount_gwei, uint8_t ret_root[32])
{
    uint8_t left[32];
    uint8_t right[32];
    pubkey_root(pubkey, left);
    hf_sha256_pair(left, credentials, left);
    leaf_put_u64(right, amount_gwei);
    hf_sha256_pair(right, zero_leaf, right);
    hf_sha256_pair(left, right, ret_root);
}

void hf_eth_domain(uint32_t domain_type_le, const uint8_t version[4],
                   const uint8_t genesis_validators_root[32], uint8_t ret_domain[32])
{
    uint8_t leaf[32] = {0};
    uint8_t fork_data_root[32];
    memcpy(leaf, version, 4);
    hf_sha256_pair(leaf, genesis_validators_root, fork_data_root);
    for (unsigned i = 0; i < 4; i++) {
        ret_domain[i] = (uint8_t)(domain_type_le >> (8 * i));
    }
    memcpy(ret_domain + 4, fork_data_root, 28);
}

void hf_eth_root_in_domain(const uint8_t object_root[32], const uint8_t domain[32],
                           uint8_t ret_signing_root[32])
{
    hf_sha256_pair(object_root, domain, ret_signing_root);
}

/*
 * EIP-7044: from Deneb on, an exit is signed with Capella's version for ever. Clients send three
 * kinds of fork_info for it, and the exit's own epoch may be long past, so the fork decides.
 */
static const uint8_t *exit_version(const hf_network *network, const hf_fork_info *fork_info,
                                   uint64_t exit_epoch)
{
    bool is_deneb =
        network->deneb_epoch != HF_EPOCH_NEVER && fork_info->epoch >= network->deneb_epoch;
    if (is_deneb || hf_bytes_equal(fork_info->current_version, network->capella_fork_version, 4)) {
        return network->capella_fork_version;
    }
    return hf_eth_version_at(fork_info, exit_epoch);
}

/* Writes the object's root, and returns the epoch that gives the fork version (0 where none does).
 */
typedef uint64_t object_fn(const hf_network *network, const hf_eth_fields *fields,
                           uint8_t ret_root[32]);

static uint64_t aggregation_slot_object(const hf_network *network, const hf_eth_fields *fields,
                                        uint8_t ret_root[32])
{
    leaf_put_u64(ret_root, fields->aggregation_slot);
    return hf_eth_epoch_of(network, fields->aggregation_slot);
}

static uint64_t randao_object(const hf_network *network, const hf_eth_fields *fields,
                              uint8_t ret_root[32])
{
    (void)network;
    leaf_put_u64(ret_root, fields->randao_epoch);
    return fields->randao_epoch;
}

static uint64_t attestation_object(const hf_network *network, const hf_eth_fields *fields,
                                   uint8_t ret_root[32])
{
    (void)network;
    hf_eth_attestation_data_root(&fields->attestation, ret_root);
    return fields->attestation.target.epoch;
}

static uint64_t block_object(const hf_network *network, const hf_eth_fields *fields,
                             uint8_t ret_root[32])
{
    hf_eth_block_header_root(&fields->block, ret_root);
    return hf_eth_epoch_of(network, fields->block.slot);
}

static uint64_t rooted_object(const hf_network *network, const hf_eth_fields *fields,
                              uint8_t ret_root[32])
{
    memcpy(ret_root, fields->rooted.object_root, 32);
    return hf_eth_epoch_of(network, fields->rooted.slot);
}

static uint64_t voluntary_exit_object(const hf_network *network, const hf_eth_fields *fields,
                                      uint8_t ret_root[32])
{
    (void)network;
    u64_pair_root(fields->voluntary_exit.epoch, fields->voluntary_exit.validator_index, ret_root);
    return fields->voluntary_exit.epoch;
}

static uint64_t sync_selection_object(const hf_network *network, const hf_eth_fields *fields,
                                      uint8_t ret_root[32])
{
    u64_pair_root(fields->sync_selection.slot, fields->sync_selection.subcommittee_index, ret_root);
    return hf_eth_epoch_of(network, fields->sync_selection.slot);
}

static uint64_t deposit_object(const hf_network *network, const hf_eth_fields *fields,
                               uint8_t ret_root[32])
{
    (void)network;
    hf_eth_deposit_message_root(fields->deposit.pubkey, fields->deposit.withdrawal_credentials,
                                fields->deposit.amount, ret_root);
    return 0;
}

static uint64_t registration_object(const hf_network *network, const hf_eth_fields *fields,
                                    uint8_t ret_root[32])
{
    uint8_t left[32];
    uint8_t right[32];
    uint8_t leaf[32];
    (void)network;
    leaf_put_address(left, fields->registration.fee_recipient);
    leaf_put_u64(right, fields->registration.gas_limit);
    hf_sha256_pair(left, right, left);
    leaf_put_u64(leaf, fields->registration.timestamp);
    pubkey_root(fields->registration.pubkey, right);
    hf_sha256_pair(leaf, right, right);
    hf_sha256_pair(left, right, ret_root);
    return 0;
}

static uint64_t payload_attestation_object(const hf_network *network, const hf_eth_fields *fields,
                                           uint8_t ret_root[32])
{
    uint8_t left[32];
    uint8_t right[32];
    leaf_put_u64(right, fields->payload_attestation.slot);
    hf_sha256_pair(fields->payload_attestation.beacon_block_root, right, left);
    u64_pair_root(fields->payload_attestation.payload_present,
                  fields->payload_attestation.blob_data_available, right);
    hf_sha256_pair(left, right, ret_root);
    return hf_eth_epoch_of(network, fields->payload_attestation.slot);
}

/* Five leaves, in the specification's order, which is not the structure's. */
static uint64_t proposer_preferences_object(const hf_network *network, const hf_eth_fields *fields,
                                            uint8_t ret_root[32])
{
    uint8_t left[32];
    uint8_t right[32];
    uint8_t leaf[32];
    leaf_put_u64(leaf, fields->proposer_preferences.proposal_slot);
    hf_sha256_pair(fields->proposer_preferences.dependent_root, leaf, left);
    leaf_put_u64(leaf, fields->proposer_preferences.validator_index);
    leaf_put_address(right, fields->proposer_preferences.fee_recipient);
    hf_sha256_pair(leaf, right, right);
    hf_sha256_pair(left, right, left);
    leaf_put_u64(leaf, fields->proposer_preferences.target_gas_limit);
    hf_sha256_pair(leaf, zero_leaf, right);
    hf_sha256_pair(right, zero_pair, right);
    hf_sha256_pair(left, right, ret_root);
    return hf_eth_epoch_of(network, fields->proposer_preferences.proposal_slot);
}

typedef struct operation_rule {
    object_fn *object;
    uint32_t domain_type;
} operation_rule;

static const operation_rule rules[HF_OP_COUNT] = {
    [HF_OP_AGGREGATION_SLOT] = {aggregation_slot_object, DOMAIN_SELECTION_PROOF},
    [HF_OP_AGGREGATE_AND_PROOF] = {rooted_object, DOMAIN_AGGREGATE_AND_PROOF},
    [HF_OP_AGGREGATE_AND_PROOF_V2] = {rooted_object, DOMAIN_AGGREGATE_AND_PROOF},
    [HF_OP_ATTESTATION] = {attestation_object, DOMAIN_ATTESTER},
    [HF_OP_BLOCK] = {block_object, DOMAIN_PROPOSER},
    [HF_OP_BLOCK_V2] = {block_object, DOMAIN_PROPOSER},
    [HF_OP_DEPOSIT] = {deposit_object, DOMAIN_DEPOSIT},
    [HF_OP_RANDAO_REVEAL] = {randao_object, DOMAIN_RANDAO},
    [HF_OP_VOLUNTARY_EXIT] = {voluntary_exit_object, DOMAIN_VOLUNTARY_EXIT},
    [HF_OP_SYNC_COMMITTEE_MESSAGE] = {rooted_object, DOMAIN_SYNC_COMMITTEE},
    [HF_OP_SYNC_COMMITTEE_SELECTION_PROOF] = {sync_selection_object, DOMAIN_SYNC_SELECTION_PROOF},
    [HF_OP_SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF] = {rooted_object, DOMAIN_CONTRIBUTION_AND_PROOF},
    [HF_OP_VALIDATOR_REGISTRATION] = {registration_object, DOMAIN_APPLICATION_BUILDER},
    [HF_OP_EXECUTION_PAYLOAD_BID] = {rooted_object, DOMAIN_BEACON_BUILDER},
    [HF_OP_EXECUTION_PAYLOAD_ENVELOPE] = {rooted_object, DOMAIN_BEACON_BUILDER},
    [HF_OP_PAYLOAD_ATTESTATION] = {payload_attestation_object, DOMAIN_PTC_ATTESTER},
    [HF_OP_PROPOSER_PREFERENCES] = {proposer_preferences_object, DOMAIN_PROPOSER_PREFERENCES},
    [HF_OP_BUILDER_REQUEST_AUTH] = {rooted_object, DOMAIN_BUILDER_REQUEST_AUTH},
};

/* A request may come from a captured process: nothing in it is a given. */
static hf_status check_request(const hf_eth_request *request, hf_error *err)
{
    if (request->operation >= HF_OP_COUNT) {
        return hf_fail(err, HF_INVALID_INPUT, "type: unknown operation");
    }
    if (request->has_signing_root > 1) {
        return hf_fail(err, HF_INVALID_INPUT, "has_signing_root: neither 0 nor 1");
    }
    if (request->has_fork_info > 1) {
        return hf_fail(err, HF_INVALID_INPUT, "has_fork_info: neither 0 nor 1");
    }
    bool is_block = request->operation == HF_OP_BLOCK || request->operation == HF_OP_BLOCK_V2;
    if (is_block && request->fields.proven.proof_count > HF_BLOCK_PROOFS_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "proofs: too many");
    }
    if (request->operation == HF_OP_PAYLOAD_ATTESTATION) {
        if (request->fields.payload_attestation.payload_present > 1) {
            return hf_fail(err, HF_INVALID_INPUT, "payload_present: neither 0 nor 1");
        }
        if (request->fields.payload_attestation.blob_data_available > 1) {
            return hf_fail(err, HF_INVALID_INPUT, "blob_data_available: neither 0 nor 1");
        }
    }
    if (request->has_fork_info == 0 &&
        hf_eth_operation_has_fork_info((hf_operation)request->operation)) {
        return hf_fail(err, HF_INVALID_INPUT, "fork_info: missing");
    }
    return hf_ok();
}

/* The version of the domain; *validators_root becomes that of the domain, too. */
static const uint8_t *domain_version(const hf_network *network, const hf_eth_request *request,
                                     uint64_t epoch, const uint8_t **validators_root)
{
    *validators_root = request->fork_info.genesis_validators_root;
    if (request->operation == HF_OP_DEPOSIT) {
        *validators_root = zero_leaf;
        return request->fields.deposit.genesis_fork_version;
    }
    if (!hf_eth_operation_has_fork_info((hf_operation)request->operation)) {
        *validators_root = zero_leaf;
        return network->genesis_fork_version;
    }
    if (request->operation == HF_OP_VOLUNTARY_EXIT) {
        return exit_version(network, &request->fork_info, epoch);
    }
    return hf_eth_version_at(&request->fork_info, epoch);
}

const uint8_t *hf_eth_version_used(const hf_network *network, const hf_eth_request *request)
{
    uint8_t object_root[32];
    const uint8_t *validators_root;
    uint64_t epoch = rules[request->operation].object(network, &request->fields, object_root);
    const uint8_t *version = domain_version(network, request, epoch, &validators_root);
    bool is_own =
        version == network->capella_fork_version || version == network->genesis_fork_version;
    return is_own ? NULL : version;
}

hf_status hf_eth_signing_root(const hf_network *network, const hf_eth_request *request,
                              uint8_t ret_root[HF_ROOT_BYTES], hf_error *err)
{
    hf_status st = check_request(request, err);
    if (hf_failed(st)) {
        return st;
    }
    const operation_rule *rule = &rules[request->operation];
    uint8_t object_root[32];
    const uint8_t *validators_root;
    uint64_t epoch = rule->object(network, &request->fields, object_root);
    const uint8_t *version = domain_version(network, request, epoch, &validators_root);
    uint8_t domain[32];
    hf_eth_domain(rule->domain_type, version, validators_root, domain);
    hf_eth_root_in_domain(object_root, domain, ret_root);
    return hf_ok();
}
