/*
 * codec: the JSON of the signing API to typed requests, and answers to JSON. Pure: no clock, no
 * file, no socket; memory only for bodies with more than HF_JSON_FIRST_VALUES values.
 *
 * The wire is Web3Signer's, read as tolerantly as its clients differ: types in any case,
 * signingRoot or signing_root or none, versioned and bare containers, unknown members ignored. What
 * is malformed is refused with the path of the member. The root that a client sends is passed on to
 * be compared.
 */
#ifndef HF_FRONT_CODEC_H
#define HF_FRONT_CODEC_H

#include "aztec/aztec.h"
#include "eth/eth.h"

/*
 * The body of POST /api/v1/eth2/sign/{pubkey}. INVALID_INPUT: "attestation.source.epoch: not a
 * decimal number"; NOMEM. *ret_request is untouched then.
 */
hf_status hf_codec_decode_sign(const hf_network *network, const char *pubkey_text, hf_bytes body,
                               hf_eth_request *ret_request, hf_error *err) HF_MUST_CHECK;

/* What one duty of an Aztec validator is to be signed over. */
typedef struct hf_duty_request {
    hf_duty duty;
    uint8_t hash[HF_DUTY_HASH_BYTES];
    uint32_t hashing; /* hf_aztec_hashing */
} hf_duty_request;

/*
 * The body of POST /api/v1/duty/sign. Members that a type of duty does not have may be absent:
 * blockIndexWithinCheckpoint but for block proposals, blockNumber of votes, and for AUTH_REQUEST
 * and TXS all but address, hash and hashing. Errors as above.
 */
hf_status hf_codec_decode_duty(hf_bytes body, hf_duty_request *ret_request,
                               hf_error *err) HF_MUST_CHECK;

/* {"signature":"0x..."} or the bare hex, NUL-terminated, without a newline. Returns the length. */
#define HF_CODEC_SIGNATURE_BYTES 216
size_t hf_codec_write_signature(const uint8_t signature[HF_BLS_SIGNATURE_BYTES], bool as_json,
                                char ret_text[HF_CODEC_SIGNATURE_BYTES]);

/*
 * {"error":"sentence","code":"SNAKE_CASE"}, NUL-terminated; a sentence that is too long is cut.
 * Escapes what JSON wants escaped; bytes beyond ASCII become '?'. out_len: at least 64 and the
 * length of code. Returns the length.
 */
size_t hf_codec_write_error(const char *sentence, const char *code, char *out, size_t out_len);

#endif
