/*
 * ssz_json: hash_tree_root of a JSON container, by walking it along a static schema.
 *
 * For what a signer needs only by its root: block bodies, aggregates, contributions, Gloas's bids
 * and envelopes. One walker; the containers of the consensus specifications are tables in
 * ssz_schema.c. JSON as the Beacon API maps it: uint64 and uint256 as decimal strings, bytes and
 * bits as hex.
 */
#ifndef HF_FRONT_SSZ_JSON_H
#define HF_FRONT_SSZ_JSON_H

#include "eth/eth.h"
#include "front/codec_fields.h"

typedef enum hf_ssz_kind {
    HF_SSZ_U64 = 0,
    HF_SSZ_U256,
    HF_SSZ_BYTES,                 /* size bytes */
    HF_SSZ_BYTE_LIST,             /* at most size bytes */
    HF_SSZ_BITVECTOR,             /* size bits */
    HF_SSZ_BITLIST,               /* at most size bits */
    HF_SSZ_LIST,                  /* at most size elements */
    HF_SSZ_VECTOR,                /* size elements */
    HF_SSZ_CONTAINER,             /* size fields */
    HF_SSZ_PROGRESSIVE_BYTE_LIST, /* EIP-7916; no limit but the body's */
    HF_SSZ_PROGRESSIVE_BITLIST,
    HF_SSZ_PROGRESSIVE_LIST,
    HF_SSZ_PROGRESSIVE_CONTAINER /* EIP-7495; size fields, all of them active */
} hf_ssz_kind;

typedef struct hf_ssz_type hf_ssz_type;

typedef struct hf_ssz_field {
    const char *name;
    const hf_ssz_type *type;
} hf_ssz_field;

struct hf_ssz_type {
    hf_ssz_kind kind;
    uint64_t size;
    const hf_ssz_type *element; /* lists and vectors */
    const hf_ssz_field *fields; /* containers */
};

/* INVALID_INPUT naming the path. Recursion follows the schema, never the input. */
hf_status hf_ssz_json_root(const hf_json *json, uint32_t value, const hf_ssz_type *type,
                           const hf_path *path, uint8_t ret_root[32], hf_error *err) HF_MUST_CHECK;

extern const hf_ssz_type hf_ssz_phase0_block_body;
extern const hf_ssz_type hf_ssz_altair_block_body;
extern const hf_ssz_type hf_ssz_phase0_aggregate_and_proof;
extern const hf_ssz_type hf_ssz_electra_aggregate_and_proof;
extern const hf_ssz_type hf_ssz_gloas_aggregate_and_proof;
extern const hf_ssz_type hf_ssz_contribution_and_proof;
extern const hf_ssz_type hf_ssz_gloas_payload_bid;
extern const hf_ssz_type hf_ssz_gloas_payload_envelope;
extern const hf_ssz_type hf_ssz_gloas_builder_request_auth;

#endif
