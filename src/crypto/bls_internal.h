/* bls_internal: what the parts of the BLS signer share. Includes blst.h, which no header may. */
#ifndef HF_BLS_INTERNAL_H
#define HF_BLS_INTERNAL_H

#include "crypto.h"

#include <blst.h>

/* Digits of 64 bits are read in signed odd windows: rows of them, each an odd multiple. */
#define HF_BLS_WINDOW_BITS 4
#define HF_BLS_DOUBLINGS 64
#define HF_BLS_ROWS (HF_BLS_DOUBLINGS / HF_BLS_WINDOW_BITS)
#define HF_BLS_ENTRIES (1 << (HF_BLS_WINDOW_BITS - 1)) /* 1, 3, ..., 15 times a point */

struct hf_bls_table {
    /* Row by row: the odd multiples of 2^(4 row) times the point. */
    _Alignas(HF_BLS_TABLE_ALIGN) blst_p2_affine points[HF_BLS_ROWS * HF_BLS_ENTRIES];
    blst_p2_affine powers[HF_BLS_DOUBLINGS]; /* 2^i times it: what the rows are made from */
};

/* Its HF_BLS_ENTRIES odd multiples, the point itself first. */
static inline const blst_p2_affine *hf_bls_point_peek(const hf_bls_point *point)
{
    return (const blst_p2_affine *)(const void *)point->opaque;
}

/* key times the point, as it is, or as the table was made for it; constant time in the key. */
void hf_bls_point_mult(const hf_bls_point *point, const hf_bls_key *key, blst_p2 *ret_product);
void hf_bls_table_mult(const hf_bls_table *table, const hf_bls_key *key, blst_p2 *ret_product);

#endif
