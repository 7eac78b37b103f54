/* Hash to the curve, sign, compress: blst and nothing else. */
#include "plain.h"

#include <blst.h>

void bench_plain_sign(const hf_bls_key *key, uint64_t number)
{
    static const uint8_t dst[] = "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
    uint8_t root[HF_ROOT_BYTES] = {0};
    uint8_t signature[HF_BLS_SIGNATURE_BYTES];
    blst_p2 point;
    hf_le64_put(root, number);
    blst_hash_to_g2(&point, root, sizeof root, dst, sizeof dst - 1, NULL, 0);
    blst_sign_pk_in_g1(&point, &point, (const blst_scalar *)(const void *)key->scalar);
    blst_p2_compress(signature, &point);
    __asm__ volatile("" : : "r"(signature) : "memory"); /* the result counts as used */
}
