/*
 * Typed data (EIP-712) as the keeper gets it: a domain of the standard's five fields, from which it
 * computes the separator itself, and the hash of a message; but of the votes of Aztec's validators
 * the fields, because the keeper locks the slot that they are for before it signs.
 *
 * JSON becomes this in the front (front/typed_data.h). Pure; included by eth1.h.
 */
#ifndef HF_ETH1_TYPED_H
#define HF_ETH1_TYPED_H

#include <holdfast/duty.h>

#include "base/base.h"

typedef enum hf_eip712_field {
    HF_EIP712_NAME = 0,
    HF_EIP712_VERSION,
    HF_EIP712_CHAIN_ID,
    HF_EIP712_CONTRACT,
    HF_EIP712_SALT,
    HF_EIP712_FIELD_COUNT
} hf_eip712_field;

/* Names and types of the standard: "chainId", "uint256". */
const char *hf_eip712_field_name(hf_eip712_field field);
const char *hf_eip712_field_type(hf_eip712_field field);

/* What is not among the fields is zero. */
typedef struct hf_eip712_domain {
    uint8_t field_count;
    uint8_t fields[HF_EIP712_FIELD_COUNT]; /* hf_eip712_field, in the order of the domain's type */
    uint8_t contract[20];
    uint8_t reserved[6];
    uint8_t name_hash[32];    /* Keccak-256 of the text */
    uint8_t version_hash[32]; /* the same */
    uint8_t chain_id[32];     /* big endian */
    uint8_t salt[32];
} hf_eip712_domain;

typedef enum hf_typed_kind {
    HF_TYPED_OTHER = 0,    /* any message, by its hash */
    HF_TYPED_AZTEC_VOTE,   /* TallySlashingProposer: Vote(bytes votes,uint256 slot) */
    HF_TYPED_AZTEC_SIGNAL, /* EmpireBase: Signal(address payload,uint256 slot,address instance) */
    HF_TYPED_KIND_COUNT
} hf_typed_kind;

/* Goes into a frame. What does not belong to the kind is zero. */
typedef struct hf_typed_message {
    hf_eip712_domain domain;
    uint32_t kind;        /* hf_typed_kind */
    uint8_t payload[20];  /* SIGNAL */
    uint8_t instance[20]; /* SIGNAL */
    uint8_t reserved[4];
    uint64_t slot;    /* VOTE, SIGNAL */
    uint8_t hash[32]; /* OTHER: hashStruct of the message; VOTE: Keccak-256 of the votes */
} hf_typed_message;

/* INVALID_INPUT for a field that is none, or twice. */
hf_status hf_eip712_domain_separator(const hf_eip712_domain *domain,
                                     uint8_t ret_separator[32]) HF_MUST_CHECK;

/*
 * What the key signs. INVALID_INPUT for what no honest front sends; DENIED for a message of a
 * domain whose votes are duties that does not come as one of them.
 */
hf_status hf_typed_digest(const hf_typed_message *message, uint8_t ret_digest[32],
                          hf_error *err) HF_MUST_CHECK;

static inline bool hf_typed_is_duty(const hf_typed_message *message)
{
    return message->kind != HF_TYPED_OTHER;
}

/*
 * The duty that such a vote is, for the lock. Its place is named by the contract that counts the
 * votes, not by the rollup: that is what the signature binds, and a client that keeps locks of its
 * own on the same tables has them by the rollup, so that the two never wait for each other.
 */
void hf_typed_duty(const hf_typed_message *message, const uint8_t validator[20], hf_duty *ret_duty);

/* Which kind is this, by the texts of domain name and message type? DENIED, with the remedy, when
 * the domain is one of duties and the message none that is known. */
hf_status hf_typed_kind_of(const uint8_t name_hash[32], const char *encoded_type, size_t len,
                           hf_typed_kind *ret_kind, hf_error *err) HF_MUST_CHECK;

#endif
