/*
 * The containers that the front hashes, as tables: consensus-specs phase0, altair, electra and
 * gloas (v1.7.0-alpha.13), mainnet preset; Gnosis's preset agrees in all that stands here.
 */
#include "front/ssz_json.h"

#define FIELDS(list) .size = HF_ARRAY_LEN(list), .fields = (list)
#define CONTAINER(list)                                                                            \
    {                                                                                              \
        .kind = HF_SSZ_CONTAINER, FIELDS(list)                                                     \
    }
#define PROGRESSIVE(list)                                                                          \
    {                                                                                              \
        .kind = HF_SSZ_PROGRESSIVE_CONTAINER, FIELDS(list)                                         \
    }
#define LIST_OF(type, limit)                                                                       \
    {                                                                                              \
        .kind = HF_SSZ_LIST, .size = (limit), .element = &(type)                                   \
    }
#define GROWING(type)                                                                              \
    {                                                                                              \
        .kind = HF_SSZ_PROGRESSIVE_LIST, .element = &(type)                                        \
    }

/* Presets of the specifications, by their names there. */
#define MAX_PROPOSER_SLASHINGS 16
#define MAX_ATTESTER_SLASHINGS 2
#define MAX_ATTESTATIONS 128
#define MAX_DEPOSITS 16
#define MAX_VOLUNTARY_EXITS 16
#define MAX_VALIDATORS_PER_COMMITTEE 2048
#define MAX_COMMITTEES_PER_SLOT 64
#define MAX_VALIDATORS_PER_SLOT 131072 /* the two together: an aggregate since Electra */
#define DEPOSIT_PROOF_LEN 33           /* DEPOSIT_CONTRACT_TREE_DEPTH + 1 */
#define SYNC_COMMITTEE_SIZE 512
#define SYNC_SUBCOMMITTEE_SIZE 128
#define BYTES_PER_LOGS_BLOOM 256
#define MAX_EXTRA_DATA_BYTES 32
#define MAX_BUILDER_REQUEST_DATA_BYTES 4096

static const hf_ssz_type u64 = {.kind = HF_SSZ_U64};
static const hf_ssz_type u256 = {.kind = HF_SSZ_U256};
static const hf_ssz_type address = {.kind = HF_SSZ_BYTES, .size = 20};
static const hf_ssz_type bytes32 = {.kind = HF_SSZ_BYTES, .size = 32};
static const hf_ssz_type bytes48 = {.kind = HF_SSZ_BYTES, .size = 48};
static const hf_ssz_type signature = {.kind = HF_SSZ_BYTES, .size = 96};

/* ---- phase0 ------------------------------------------------------------------------------- */

static const hf_ssz_field checkpoint_fields[] = {{"epoch", &u64}, {"root", &bytes32}};
static const hf_ssz_type checkpoint = CONTAINER(checkpoint_fields);

static const hf_ssz_field attestation_data_fields[] = {{"slot", &u64},
                                                       {"index", &u64},
                                                       {"beacon_block_root", &bytes32},
                                                       {"source", &checkpoint},
                                                       {"target", &checkpoint}};
static const hf_ssz_type attestation_data = CONTAINER(attestation_data_fields);

static const hf_ssz_type phase0_bits = {.kind = HF_SSZ_BITLIST,
                                        .size = MAX_VALIDATORS_PER_COMMITTEE};
static const hf_ssz_field phase0_attestation_fields[] = {
    {"aggregation_bits", &phase0_bits}, {"data", &attestation_data}, {"signature", &signature}};
static const hf_ssz_type phase0_attestation = CONTAINER(phase0_attestation_fields);

static const hf_ssz_field phase0_aggregate_fields[] = {{"aggregator_index", &u64},
                                                       {"aggregate", &phase0_attestation},
                                                       {"selection_proof", &signature}};
const hf_ssz_type hf_ssz_phase0_aggregate_and_proof = CONTAINER(phase0_aggregate_fields);

static const hf_ssz_field eth1_data_fields[] = {
    {"deposit_root", &bytes32}, {"deposit_count", &u64}, {"block_hash", &bytes32}};
static const hf_ssz_type eth1_data = CONTAINER(eth1_data_fields);

static const hf_ssz_field header_fields[] = {{"slot", &u64},
                                             {"proposer_index", &u64},
                                             {"parent_root", &bytes32},
                                             {"state_root", &bytes32},
                                             {"body_root", &bytes32}};
static const hf_ssz_type header = CONTAINER(header_fields);
static const hf_ssz_field signed_header_fields[] = {{"message", &header},
                                                    {"signature", &signature}};
static const hf_ssz_type signed_header = CONTAINER(signed_header_fields);
static const hf_ssz_field proposer_slashing_fields[] = {{"signed_header_1", &signed_header},
                                                        {"signed_header_2", &signed_header}};
static const hf_ssz_type proposer_slashing = CONTAINER(proposer_slashing_fields);
static const hf_ssz_type proposer_slashings = LIST_OF(proposer_slashing, MAX_PROPOSER_SLASHINGS);

static const hf_ssz_type attesting_indices = LIST_OF(u64, MAX_VALIDATORS_PER_COMMITTEE);
static const hf_ssz_field indexed_attestation_fields[] = {{"attesting_indices", &attesting_indices},
                                                          {"data", &attestation_data},
                                                          {"signature", &signature}};
static const hf_ssz_type indexed_attestation = CONTAINER(indexed_attestation_fields);
static const hf_ssz_field attester_slashing_fields[] = {{"attestation_1", &indexed_attestation},
                                                        {"attestation_2", &indexed_attestation}};
static const hf_ssz_type attester_slashing = CONTAINER(attester_slashing_fields);
static const hf_ssz_type attester_slashings = LIST_OF(attester_slashing, MAX_ATTESTER_SLASHINGS);

static const hf_ssz_type attestations = LIST_OF(phase0_attestation, MAX_ATTESTATIONS);

static const hf_ssz_type deposit_proof = {
    .kind = HF_SSZ_VECTOR, .size = DEPOSIT_PROOF_LEN, .element = &bytes32};
static const hf_ssz_field deposit_data_fields[] = {{"pubkey", &bytes48},
                                                   {"withdrawal_credentials", &bytes32},
                                                   {"amount", &u64},
                                                   {"signature", &signature}};
static const hf_ssz_type deposit_data = CONTAINER(deposit_data_fields);
static const hf_ssz_field deposit_fields[] = {{"proof", &deposit_proof}, {"data", &deposit_data}};
static const hf_ssz_type deposit = CONTAINER(deposit_fields);
static const hf_ssz_type deposits = LIST_OF(deposit, MAX_DEPOSITS);

static const hf_ssz_field exit_fields[] = {{"epoch", &u64}, {"validator_index", &u64}};
static const hf_ssz_type voluntary_exit = CONTAINER(exit_fields);
static const hf_ssz_field signed_exit_fields[] = {{"message", &voluntary_exit},
                                                  {"signature", &signature}};
static const hf_ssz_type signed_exit = CONTAINER(signed_exit_fields);
static const hf_ssz_type voluntary_exits = LIST_OF(signed_exit, MAX_VOLUNTARY_EXITS);

static const hf_ssz_field phase0_body_fields[] = {{"randao_reveal", &signature},
                                                  {"eth1_data", &eth1_data},
                                                  {"graffiti", &bytes32},
                                                  {"proposer_slashings", &proposer_slashings},
                                                  {"attester_slashings", &attester_slashings},
                                                  {"attestations", &attestations},
                                                  {"deposits", &deposits},
                                                  {"voluntary_exits", &voluntary_exits}};
const hf_ssz_type hf_ssz_phase0_block_body = CONTAINER(phase0_body_fields);

/* ---- altair ------------------------------------------------------------------------------- */

static const hf_ssz_type sync_committee_bits = {.kind = HF_SSZ_BITVECTOR,
                                                .size = SYNC_COMMITTEE_SIZE};
static const hf_ssz_field sync_aggregate_fields[] = {{"sync_committee_bits", &sync_committee_bits},
                                                     {"sync_committee_signature", &signature}};
static const hf_ssz_type sync_aggregate = CONTAINER(sync_aggregate_fields);

static const hf_ssz_field altair_body_fields[] = {{"randao_reveal", &signature},
                                                  {"eth1_data", &eth1_data},
                                                  {"graffiti", &bytes32},
                                                  {"proposer_slashings", &proposer_slashings},
                                                  {"attester_slashings", &attester_slashings},
                                                  {"attestations", &attestations},
                                                  {"deposits", &deposits},
                                                  {"voluntary_exits", &voluntary_exits},
                                                  {"sync_aggregate", &sync_aggregate}};
const hf_ssz_type hf_ssz_altair_block_body = CONTAINER(altair_body_fields);

static const hf_ssz_type subcommittee_bits = {.kind = HF_SSZ_BITVECTOR,
                                              .size = SYNC_SUBCOMMITTEE_SIZE};
static const hf_ssz_field contribution_fields[] = {{"slot", &u64},
                                                   {"beacon_block_root", &bytes32},
                                                   {"subcommittee_index", &u64},
                                                   {"aggregation_bits", &subcommittee_bits},
                                                   {"signature", &signature}};
static const hf_ssz_type contribution = CONTAINER(contribution_fields);
static const hf_ssz_field contribution_and_proof_fields[] = {
    {"aggregator_index", &u64}, {"contribution", &contribution}, {"selection_proof", &signature}};
const hf_ssz_type hf_ssz_contribution_and_proof = CONTAINER(contribution_and_proof_fields);

/* ---- electra ------------------------------------------------------------------------------ */

static const hf_ssz_type committee_bits = {.kind = HF_SSZ_BITVECTOR,
                                           .size = MAX_COMMITTEES_PER_SLOT};
static const hf_ssz_type electra_bits = {.kind = HF_SSZ_BITLIST, .size = MAX_VALIDATORS_PER_SLOT};
static const hf_ssz_field electra_attestation_fields[] = {{"aggregation_bits", &electra_bits},
                                                          {"data", &attestation_data},
                                                          {"signature", &signature},
                                                          {"committee_bits", &committee_bits}};
static const hf_ssz_type electra_attestation = CONTAINER(electra_attestation_fields);
static const hf_ssz_field electra_aggregate_fields[] = {{"aggregator_index", &u64},
                                                        {"aggregate", &electra_attestation},
                                                        {"selection_proof", &signature}};
const hf_ssz_type hf_ssz_electra_aggregate_and_proof = CONTAINER(electra_aggregate_fields);

/* ---- gloas: EIP-7732, with the progressive types of EIP-7688 ------------------------------- */

static const hf_ssz_type progressive_bits = {.kind = HF_SSZ_PROGRESSIVE_BITLIST};
static const hf_ssz_field gloas_attestation_fields[] = {{"aggregation_bits", &progressive_bits},
                                                        {"data", &attestation_data},
                                                        {"signature", &signature},
                                                        {"committee_bits", &committee_bits}};
static const hf_ssz_type gloas_attestation = PROGRESSIVE(gloas_attestation_fields);
static const hf_ssz_field gloas_aggregate_fields[] = {
    {"aggregator_index", &u64}, {"aggregate", &gloas_attestation}, {"selection_proof", &signature}};
const hf_ssz_type hf_ssz_gloas_aggregate_and_proof = CONTAINER(gloas_aggregate_fields);

static const hf_ssz_type kzg_commitments = GROWING(bytes48);
static const hf_ssz_field bid_fields[] = {{"parent_block_hash", &bytes32},
                                          {"parent_block_root", &bytes32},
                                          {"block_hash", &bytes32},
                                          {"prev_randao", &bytes32},
                                          {"fee_recipient", &address},
                                          {"gas_limit", &u64},
                                          {"builder_index", &u64},
                                          {"slot", &u64},
                                          {"value", &u64},
                                          {"execution_payment", &u64},
                                          {"blob_kzg_commitments", &kzg_commitments},
                                          {"execution_requests_root", &bytes32}};
const hf_ssz_type hf_ssz_gloas_payload_bid = PROGRESSIVE(bid_fields);

static const hf_ssz_type progressive_bytes = {.kind = HF_SSZ_PROGRESSIVE_BYTE_LIST};
static const hf_ssz_type transactions = GROWING(progressive_bytes);
static const hf_ssz_field withdrawal_fields[] = {
    {"index", &u64}, {"validator_index", &u64}, {"address", &address}, {"amount", &u64}};
static const hf_ssz_type withdrawal = CONTAINER(withdrawal_fields);
static const hf_ssz_type withdrawals = GROWING(withdrawal);
static const hf_ssz_type logs_bloom = {.kind = HF_SSZ_BYTES, .size = BYTES_PER_LOGS_BLOOM};
static const hf_ssz_type extra_data = {.kind = HF_SSZ_BYTE_LIST, .size = MAX_EXTRA_DATA_BYTES};

static const hf_ssz_field payload_fields[] = {{"parent_hash", &bytes32},
                                              {"fee_recipient", &address},
                                              {"state_root", &bytes32},
                                              {"receipts_root", &bytes32},
                                              {"logs_bloom", &logs_bloom},
                                              {"prev_randao", &bytes32},
                                              {"block_number", &u64},
                                              {"gas_limit", &u64},
                                              {"gas_used", &u64},
                                              {"timestamp", &u64},
                                              {"extra_data", &extra_data},
                                              {"base_fee_per_gas", &u256},
                                              {"block_hash", &bytes32},
                                              {"transactions", &transactions},
                                              {"withdrawals", &withdrawals},
                                              {"blob_gas_used", &u64},
                                              {"excess_blob_gas", &u64},
                                              {"block_access_list", &progressive_bytes},
                                              {"slot_number", &u64}};
static const hf_ssz_type payload = PROGRESSIVE(payload_fields);

static const hf_ssz_field deposit_request_fields[] = {{"pubkey", &bytes48},
                                                      {"withdrawal_credentials", &bytes32},
                                                      {"amount", &u64},
                                                      {"signature", &signature},
                                                      {"index", &u64}};
static const hf_ssz_type deposit_request = CONTAINER(deposit_request_fields);
static const hf_ssz_type deposit_requests = GROWING(deposit_request);
static const hf_ssz_field withdrawal_request_fields[] = {
    {"source_address", &address}, {"validator_pubkey", &bytes48}, {"amount", &u64}};
static const hf_ssz_type withdrawal_request = CONTAINER(withdrawal_request_fields);
static const hf_ssz_type withdrawal_requests = GROWING(withdrawal_request);
static const hf_ssz_field consolidation_request_fields[] = {
    {"source_address", &address}, {"source_pubkey", &bytes48}, {"target_pubkey", &bytes48}};
static const hf_ssz_type consolidation_request = CONTAINER(consolidation_request_fields);
static const hf_ssz_type consolidation_requests = GROWING(consolidation_request);
/* EIP-8282; a builder's deposit has the fields of DepositData. */
static const hf_ssz_type builder_deposits = GROWING(deposit_data);
static const hf_ssz_field builder_exit_fields[] = {{"source_address", &address},
                                                   {"pubkey", &bytes48}};
static const hf_ssz_type builder_exit = CONTAINER(builder_exit_fields);
static const hf_ssz_type builder_exits = GROWING(builder_exit);

static const hf_ssz_field requests_fields[] = {{"deposits", &deposit_requests},
                                               {"withdrawals", &withdrawal_requests},
                                               {"consolidations", &consolidation_requests},
                                               {"builder_deposits", &builder_deposits},
                                               {"builder_exits", &builder_exits}};
static const hf_ssz_type requests = PROGRESSIVE(requests_fields);

static const hf_ssz_field envelope_fields[] = {{"payload", &payload},
                                               {"execution_requests", &requests},
                                               {"builder_index", &u64},
                                               {"beacon_block_root", &bytes32},
                                               {"parent_beacon_block_root", &bytes32}};
const hf_ssz_type hf_ssz_gloas_payload_envelope = PROGRESSIVE(envelope_fields);

static const hf_ssz_type request_data = {.kind = HF_SSZ_BYTE_LIST,
                                         .size = MAX_BUILDER_REQUEST_DATA_BYTES};
static const hf_ssz_field request_auth_fields[] = {{"data", &request_data}, {"slot", &u64}};
const hf_ssz_type hf_ssz_gloas_builder_request_auth = CONTAINER(request_auth_fields);
