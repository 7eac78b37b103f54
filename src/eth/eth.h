/*
 * eth: what an Ethereum validator signs. Requests as typed fields, networks, domains, signing
 * roots.
 *
 * Pure functions: no clock, no file, no allocation. Structures are plain data without pointers, so
 * that they travel in frames (ipc) as they are. Roots and versions are raw bytes, numbers host u64.
 *
 * Sources: consensus-specs (phase0 to gloas), EIP-7044 (exits), builder-specs (registrations),
 * the remote signing API that Web3Signer speaks.
 */
#ifndef HF_ETH_H
#define HF_ETH_H

#include "base/base.h"
#include "crypto/crypto.h"

/* Names on the wire: hf_eth_operation_name. Values are stable: they stand in frames and metrics. */
typedef enum hf_operation {
    HF_OP_AGGREGATION_SLOT = 0,
    HF_OP_AGGREGATE_AND_PROOF,
    HF_OP_AGGREGATE_AND_PROOF_V2,
    HF_OP_ATTESTATION,
    HF_OP_BLOCK,
    HF_OP_BLOCK_V2,
    HF_OP_DEPOSIT,
    HF_OP_RANDAO_REVEAL,
    HF_OP_VOLUNTARY_EXIT,
    HF_OP_SYNC_COMMITTEE_MESSAGE,
    HF_OP_SYNC_COMMITTEE_SELECTION_PROOF,
    HF_OP_SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF,
    HF_OP_VALIDATOR_REGISTRATION,
    HF_OP_EXECUTION_PAYLOAD_BID,
    HF_OP_EXECUTION_PAYLOAD_ENVELOPE,
    HF_OP_PAYLOAD_ATTESTATION,
    HF_OP_PROPOSER_PREFERENCES,
    HF_OP_BUILDER_REQUEST_AUTH,
    HF_OP_COUNT
} hf_operation;

/* "ATTESTATION" and so on; NULL for a value out of range. */
const char *hf_eth_operation_name(hf_operation op);
/* Case-insensitive; also PAYLOAD_ATTESTATION_MESSAGE. False when unknown. */
bool hf_eth_operation_parse(const char *name, hf_operation *ret_op);
/* DEPOSIT, VALIDATOR_REGISTRATION and BUILDER_REQUEST_AUTH carry none. */
bool hf_eth_operation_has_fork_info(hf_operation op);

typedef struct hf_fork_info {
    uint8_t previous_version[4];
    uint8_t current_version[4];
    uint64_t epoch;
    uint8_t genesis_validators_root[HF_ROOT_BYTES];
} hf_fork_info;

typedef struct hf_checkpoint {
    uint64_t epoch;
    uint8_t root[HF_ROOT_BYTES];
} hf_checkpoint;

typedef struct hf_attestation_data {
    uint64_t slot;
    uint64_t index;
    uint8_t beacon_block_root[HF_ROOT_BYTES];
    hf_checkpoint source;
    hf_checkpoint target;
} hf_attestation_data;

typedef struct hf_block_header {
    uint64_t slot;
    uint64_t proposer_index;
    uint8_t parent_root[HF_ROOT_BYTES];
    uint8_t state_root[HF_ROOT_BYTES];
    uint8_t body_root[HF_ROOT_BYTES];
} hf_block_header;

/*
 * What a block's body holds at one place, and the path from there to body_root (a Merkle branch by
 * generalized index, consensus-specs ssz/merkle-proofs.md), as verifying clients send it along.
 */
#define HF_BLOCK_PROOF_DEPTH 9 /* of what proofs are read for: see hf_eth_block_place */
#define HF_BLOCK_PROOFS_MAX 2
typedef struct hf_block_proof {
    uint32_t index;    /* generalized, of BeaconBlockBody */
    uint8_t has_value; /* 0 or 1: a client may leave out what the signer has to know itself */
    uint8_t depth;     /* nodes in the branch */
    uint8_t reserved[2];
    uint8_t value[HF_ROOT_BYTES]; /* the leaf */
    uint8_t branch[HF_BLOCK_PROOF_DEPTH][HF_ROOT_BYTES];
} hf_block_proof;

/* A header and what is proven of its body. */
typedef struct hf_proven_block {
    hf_block_header header;
    uint32_t proof_count;
    uint32_t reserved;
    hf_block_proof proofs[HF_BLOCK_PROOFS_MAX];
} hf_proven_block;

/* A container whose body matters only by its root, and the slot that chooses the fork version. */
typedef struct hf_rooted_object {
    uint64_t slot;
    uint8_t object_root[HF_ROOT_BYTES];
} hf_rooted_object;

/* What one request asks to be signed. Which member counts follows from the operation. */
typedef union hf_eth_fields {
    uint64_t aggregation_slot;       /* AGGREGATION_SLOT */
    uint64_t randao_epoch;           /* RANDAO_REVEAL */
    hf_attestation_data attestation; /* ATTESTATION */
    hf_block_header block;           /* BLOCK, BLOCK_V2 (a full block by its body root) */
    hf_proven_block proven;          /* the same, with what is proven of it (header is block) */
    hf_rooted_object rooted;         /* AGGREGATE_AND_PROOF(_V2), CONTRIBUTION_AND_PROOF,
                                        EXECUTION_PAYLOAD_BID, EXECUTION_PAYLOAD_ENVELOPE,
                                        BUILDER_REQUEST_AUTH; SYNC_COMMITTEE_MESSAGE, where the
                                        object root is the beacon_block_root itself */
    struct {
        uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
        uint8_t withdrawal_credentials[HF_ROOT_BYTES];
        uint64_t amount; /* Gwei */
        uint8_t genesis_fork_version[4];
        uint8_t reserved[4];
    } deposit;
    struct {
        uint64_t epoch;
        uint64_t validator_index;
    } voluntary_exit;
    struct {
        uint64_t slot;
        uint64_t subcommittee_index;
    } sync_selection; /* SYNC_COMMITTEE_SELECTION_PROOF */
    struct {
        uint8_t fee_recipient[20];
        uint8_t reserved[4];
        uint64_t gas_limit;
        uint64_t timestamp;
        uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    } registration;
    struct {
        uint8_t beacon_block_root[HF_ROOT_BYTES];
        uint64_t slot;
        uint8_t payload_present; /* 0 or 1 */
        uint8_t blob_data_available;
        uint8_t reserved[6];
    } payload_attestation;
    struct {
        uint8_t dependent_root[HF_ROOT_BYTES];
        uint64_t proposal_slot;
        uint64_t validator_index;
        uint64_t target_gas_limit;
        uint8_t fee_recipient[20];
        uint8_t reserved[4];
    } proposer_preferences;
} hf_eth_fields;

typedef struct hf_eth_request {
    uint32_t operation;       /* hf_operation */
    uint8_t has_signing_root; /* 0 or 1: the client sent one, to be compared and never believed */
    uint8_t has_fork_info;    /* 0 or 1 */
    uint8_t reserved[2];
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES]; /* the key asked to sign */
    uint8_t signing_root[HF_ROOT_BYTES];
    hf_fork_info fork_info;
    hf_eth_fields fields;
} hf_eth_request;

#define HF_EPOCH_NEVER UINT64_MAX
#define HF_NETWORK_NAME_LEN 32

typedef struct hf_network {
    char name[HF_NETWORK_NAME_LEN];
    uint8_t genesis_validators_root[HF_ROOT_BYTES];
    uint64_t genesis_time; /* Unix seconds */
    uint64_t slots_per_epoch;
    uint64_t slot_ms;
    uint8_t genesis_fork_version[4];
    uint8_t capella_fork_version[4];
    uint8_t gloas_fork_version[4]; /* zero when not known; see gloas_epoch */
    uint8_t reserved[4];
    uint64_t deneb_epoch;   /* EIP-7044 from here on; HF_EPOCH_NEVER when not scheduled */
    uint64_t electra_epoch; /* bare aggregates: which Attestation layout */
    uint64_t gloas_epoch;   /* the same; until it is set, a request of Gloas's version counts too */
} hf_network;

/* mainnet, sepolia, holesky, hoodi, gnosis, chiado: a borrowed static, or NULL. */
const hf_network *hf_eth_network_find(const char *name);

/* The epoch of a slot on this network. */
uint64_t hf_eth_epoch_of(const hf_network *network, uint64_t slot);
/* The version that fork_info gives an epoch: a borrowed member of it. */
const uint8_t *hf_eth_version_at(const hf_fork_info *fork_info, uint64_t epoch);
/* Does a container of this slot have Gloas's layout? By schedule, or by the request's version. */
bool hf_eth_is_gloas(const hf_network *network, const hf_fork_info *fork_info, uint64_t slot);

/*
 * The signing root of a request, from its fields alone: hash_tree_root(SigningData{object_root,
 * domain}). Uses the request's own fork_info for the version, the network for slots per epoch,
 * genesis version and EIP-7044. Does not look at request->signing_root or pubkey.
 * INVALID_INPUT (naming the field) for a missing fork_info, an unknown operation, a flag that is
 * neither 0 nor 1.
 */
hf_status hf_eth_signing_root(const hf_network *network, const hf_eth_request *request,
                              uint8_t ret_root[HF_ROOT_BYTES], hf_error *err) HF_MUST_CHECK;

/* The fork version in the domain of an acceptable request; NULL where the network's own or none is
 * used, whatever the client says. A borrowed member. */
const uint8_t *hf_eth_version_used(const hf_network *network, const hf_eth_request *request);

/* ---- proofs of a block's body --------------------------------------------------------------- */

typedef enum hf_block_place {
    HF_PLACE_FEE_RECIPIENT = 0, /* of the execution payload, or of its header */
    HF_PLACE_GAS_LIMIT,
    HF_PLACE_COUNT
} hf_block_place;

/* The generalized index of a place in the body of a block of this slot; 0 where this version of the
 * program knows none (Gloas has no payload in it). */
uint32_t hf_eth_block_place(const hf_network *network, const hf_fork_info *fork_info, uint64_t slot,
                            hf_block_place place);
/* Is this one of the indices that any fork has for one of the places? */
bool hf_eth_block_place_is_known(uint64_t index);
/* is_valid_merkle_branch: does the leaf stand at the proof's index under root? */
bool hf_eth_block_proof_holds(const hf_block_proof *proof, const uint8_t leaf[HF_ROOT_BYTES],
                              const uint8_t root[HF_ROOT_BYTES]);

/* hash_tree_root of the fixed containers, for callers that need the object alone. */
void hf_eth_attestation_data_root(const hf_attestation_data *data, uint8_t ret_root[32]);
void hf_eth_block_header_root(const hf_block_header *header, uint8_t ret_root[32]);
void hf_eth_deposit_message_root(const uint8_t pubkey[48], const uint8_t credentials[32],
                                 uint64_t amount_gwei, uint8_t ret_root[32]);
/* compute_domain: type || hash_tree_root(ForkData{version, genesis_validators_root})[0:28]. */
void hf_eth_domain(uint32_t domain_type_le, const uint8_t version[4],
                   const uint8_t genesis_validators_root[32], uint8_t ret_domain[32]);
void hf_eth_root_in_domain(const uint8_t object_root[32], const uint8_t domain[32],
                           uint8_t ret_signing_root[32]);

/* ---- SSZ merkleization (consensus-specs ssz/simple-serialize.md) --------------------------- */

#define HF_SSZ_MAX_DEPTH 64

/* A tree that takes its leaves one by one and keeps one node a level. Caller's storage. */
typedef struct hf_ssz_tree {
    uint64_t count; /* leaves so far */
    unsigned depth;
    uint8_t nodes[HF_SSZ_MAX_DEPTH + 1][32];
} hf_ssz_tree;

/* The depth of a tree with room for limit leaves (0 and 1 leaf: 0). */
unsigned hf_ssz_depth_of(uint64_t limit);
void hf_ssz_tree_init(hf_ssz_tree *tree, unsigned depth);
/* More than 2^depth leaves are the caller's bug. */
void hf_ssz_tree_push(hf_ssz_tree *tree, const uint8_t leaf[32]);
/* Pads with zero leaves. The tree is used up. */
void hf_ssz_tree_finish(hf_ssz_tree *tree, uint8_t ret_root[32]);

/*
 * EIP-7916: subtrees of 1, 4, 16, ... leaves, so that a list may grow without a limit. 28 subtrees
 * hold more than 2^54 leaves.
 */
#define HF_SSZ_MAX_SUBTREES 28
typedef struct hf_ssz_progressive {
    unsigned count; /* subtrees finished */
    uint64_t left;  /* leaves that the subtree under way still takes */
    hf_ssz_tree subtree;
    uint8_t roots[HF_SSZ_MAX_SUBTREES][32];
} hf_ssz_progressive;

void hf_ssz_progressive_init(hf_ssz_progressive *tree);
void hf_ssz_progressive_push(hf_ssz_progressive *tree, const uint8_t leaf[32]);
void hf_ssz_progressive_finish(hf_ssz_progressive *tree, uint8_t ret_root[32]);

/* Root of count 32-byte chunks padded with zero chunks to limit leaves (limit 0: to count). */
void hf_ssz_merkleize(const uint8_t (*chunks)[32], size_t count, uint64_t limit,
                      uint8_t ret_root[32]);
void hf_ssz_mix_in_length(const uint8_t root[32], uint64_t length, uint8_t ret_root[32]);

#endif
