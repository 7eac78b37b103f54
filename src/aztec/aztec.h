/*
 * aztec: the duties of an Aztec validator, as pure functions: types, identity, normal form, and the
 * text that the shared table keeps of them. The structures are the public ones of holdfast/duty.h.
 *
 * Facts are those of the npm package @aztec/validator-ha-signer, lines 4 and 5.
 */
#ifndef HF_AZTEC_H
#define HF_AZTEC_H

#include <holdfast/duty.h>

#include "base/base.h"

/* Slots, block and checkpoint numbers beyond this are refused: SQL integers are signed. */
#define HF_AZTEC_MAX_NUMBER ((uint64_t)INT64_MAX)

#define HF_AZTEC_ADDRESS_TEXT_LEN 43    /* "0x", 40 digits, NUL */
#define HF_AZTEC_HASH_TEXT_LEN 67       /* "0x", 64 digits, NUL */
#define HF_AZTEC_SIGNATURE_TEXT_LEN 133 /* "0x", 130 digits, NUL */

/*
 * The block index a duty is stored with. BLOCK_PROPOSAL: the given one, which must be there and not
 * negative (INVALID_INPUT otherwise). Every other type: -1, whatever is given.
 */
hf_status hf_aztec_block_index(uint32_t type, bool has_index, int64_t index, int32_t *ret_index,
                               hf_error *err) HF_MUST_CHECK;

/* The block number a duty is stored with: 0 for votes, else the one it has. */
uint64_t hf_aztec_block_number(const hf_duty *duty);

/*
 * Checks a duty from outside and brings it to its normal form (block_index, block_number).
 * INVALID_INPUT names the member: unknown type, number beyond HF_AZTEC_MAX_NUMBER, index. Duties
 * that are not protected pass with nothing looked at but the type.
 */
hf_status hf_aztec_duty_normalize(hf_duty *duty, hf_error *err) HF_MUST_CHECK;

/* Same duty? Compares what identifies it, on normal forms. */
bool hf_aztec_duty_equal(const hf_duty *a, const hf_duty *b);

/* A number that is equal for equal duties, on every node and release: notifications carry it. */
uint64_t hf_aztec_duty_fingerprint(const hf_duty *duty);

/* How a message hash becomes what the key signs. */
typedef enum hf_aztec_hashing {
    HF_AZTEC_EIP191 = 0, /* what eth_sign does: consensus duties */
    HF_AZTEC_RAW,        /* the hash itself: digests of typed data (votes) */
    HF_AZTEC_HASHING_COUNT
} hf_aztec_hashing;

/* hashing must be one of the enum. In a library of its own (aztec_message), for its Keccak-256. */
void hf_aztec_digest(uint32_t hashing, const uint8_t hash[HF_DUTY_HASH_BYTES],
                     uint8_t ret_digest[HF_DUTY_HASH_BYTES]);

void hf_aztec_address_format(const uint8_t address[HF_DUTY_ADDRESS_BYTES],
                             char out[HF_AZTEC_ADDRESS_TEXT_LEN]);
void hf_aztec_hash_format(const uint8_t hash[HF_DUTY_HASH_BYTES], char out[HF_AZTEC_HASH_TEXT_LEN]);
void hf_aztec_signature_format(const uint8_t signature[HF_DUTY_SIGNATURE_BYTES],
                               char out[HF_AZTEC_SIGNATURE_TEXT_LEN]);
/*
 * A stored signature: "0x" and 130 digits, r and s not zero, v 27 or 28 (0 and 1, as some signers
 * write, are brought to that). INVALID_INPUT otherwise.
 */
hf_status hf_aztec_signature_parse(const char *text, size_t len,
                                   uint8_t ret_signature[HF_DUTY_SIGNATURE_BYTES]) HF_MUST_CHECK;

#endif
