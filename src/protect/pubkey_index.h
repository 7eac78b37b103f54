/* Numbers public keys in the order in which they came, so that a store keeps what it knows in
 * arrays. */
#ifndef HF_PROTECT_PUBKEY_INDEX_H
#define HF_PROTECT_PUBKEY_INDEX_H

#include "crypto/crypto.h"

/* All zeros is an empty one. No thread rule of its own: it is part of its store. */
typedef struct hf_pubkey_index {
    uint8_t (*pubkeys)[HF_BLS_PUBKEY_BYTES]; /* by number */
    uint32_t *slots;                         /* open addressing; number + 1, 0 for empty */
    uint32_t count;
    uint32_t capacity; /* of pubkeys; there are twice as many slots, a power of two */
} hf_pubkey_index;

void hf_pubkey_index_done(hf_pubkey_index *index);
/* Its number; index->count, the number that it would get, when it is not there. */
uint32_t hf_pubkey_index_find(const hf_pubkey_index *index,
                              const uint8_t pubkey[HF_BLS_PUBKEY_BYTES]);
/* Gives the number index->count to one that is not there. NOMEM: nothing changed. */
hf_status hf_pubkey_index_add(hf_pubkey_index *index,
                              const uint8_t pubkey[HF_BLS_PUBKEY_BYTES]) HF_MUST_CHECK;

#endif
