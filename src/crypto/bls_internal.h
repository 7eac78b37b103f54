/* bls_internal: what the parts of the BLS signer share. Includes blst.h, which no header may. */
#ifndef HF_BLS_INTERNAL_H
#define HF_BLS_INTERNAL_H

#include "crypto.h"

#include <blst.h>

static inline const blst_p2 *hf_bls_point_peek(const hf_bls_point *point)
{
    return (const blst_p2 *)(const void *)point->opaque;
}

/* key times the point that the table was made for; constant time in the key. */
void hf_bls_table_mult(const hf_bls_table *table, const hf_bls_key *key, blst_p2 *ret_product);

#endif
