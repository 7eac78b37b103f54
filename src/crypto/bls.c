/* BLS signatures over BLS12-381 by blst: public keys in G1, signatures in G2. */
#include "bls_internal.h"

static const uint8_t dst[] = "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
#define DST_LEN (sizeof dst - 1)
#define FP_BYTES 48
#define SIGN_BATCH 32

_Static_assert(HF_BLS_ENTRIES * sizeof(blst_p2_affine) == sizeof((hf_bls_point *)0)->opaque,
               "a point is its odd multiples");
_Static_assert(_Alignof(hf_bls_point) >= _Alignof(blst_p2_affine), "and aligned for blst");
_Static_assert(sizeof(blst_scalar) == sizeof(hf_bls_key), "a key is a blst_scalar");
_Static_assert(_Alignof(hf_bls_key) >= _Alignof(blst_scalar), "a key must be aligned for blst");

/* The caller's storage is given out as bytes so that neighbours need no blst header. */
static const blst_scalar *scalar_peek(const hf_bls_key *key)
{
    return (const blst_scalar *)(const void *)key->scalar;
}

hf_status hf_bls_key_from_bytes(const uint8_t secret[HF_BLS_SECRET_BYTES], hf_bls_key *ret_key)
{
    blst_scalar scalar;
    hf_status st = {HF_CRYPTO};
    blst_scalar_from_bendian(&scalar, secret);
    if (blst_sk_check(&scalar)) {
        memcpy(ret_key->scalar, &scalar, sizeof scalar);
        st = hf_ok();
    }
    hf_wipe(&scalar, sizeof scalar);
    return st;
}

void hf_bls_key_to_bytes(const hf_bls_key *key, uint8_t ret_secret[HF_BLS_SECRET_BYTES])
{
    blst_bendian_from_scalar(ret_secret, scalar_peek(key));
}

void hf_bls_pubkey(const hf_bls_key *key, uint8_t ret_pubkey[HF_BLS_PUBKEY_BYTES])
{
    blst_p1 point;
    blst_sk_to_pk_in_g1(&point, scalar_peek(key));
    blst_p1_compress(ret_pubkey, &point);
    /* The projective form depends on the scalar; only the affine, compressed one is public. */
    hf_wipe(&point, sizeof point);
}

static bool pubkey_parse(const uint8_t pubkey[HF_BLS_PUBKEY_BYTES], blst_p1_affine *ret_point)
{
    return blst_p1_uncompress(ret_point, pubkey) == BLST_SUCCESS &&
           !blst_p1_affine_is_inf(ret_point) && blst_p1_affine_in_g1(ret_point);
}

bool hf_bls_pubkey_is_valid(const uint8_t pubkey[HF_BLS_PUBKEY_BYTES])
{
    blst_p1_affine point;
    return pubkey_parse(pubkey, &point);
}

void hf_bls_hash(const uint8_t root[HF_ROOT_BYTES], hf_bls_point *ret_point)
{
    blst_p2 multiples[HF_BLS_ENTRIES];
    const blst_p2 *list[HF_BLS_ENTRIES];
    blst_p2 twice;
    blst_hash_to_g2(&multiples[0], root, HF_ROOT_BYTES, dst, DST_LEN, NULL, 0);
    blst_p2_double(&twice, &multiples[0]);
    list[0] = &multiples[0];
    for (size_t i = 1; i < HF_BLS_ENTRIES; i++) {
        blst_p2_add(&multiples[i], &multiples[i - 1], &twice);
        list[i] = &multiples[i];
    }
    blst_p2s_to_affine((blst_p2_affine *)(void *)ret_point->opaque, list, HF_BLS_ENTRIES);
}

/*
 * Another projective form of the same point, (l^2 X, l^3 Y, l Z) with a secret random l: what is
 * computed from it on the way to affine form then says nothing about the scalar.
 */
static void blind(blst_p2 *point)
{
    uint8_t random[2 * FP_BYTES];
    blst_fp2 l;
    blst_fp2 power;
    hf_random(random, sizeof random);
    for (size_t i = 0; i < 2; i++) {
        uint8_t *bytes = random + i * FP_BYTES;
        bytes[0] |= 1;           /* never zero */
        bytes[FP_BYTES - 1] = 0; /* below the modulus */
        blst_fp_from_lendian(&l.fp[i], bytes);
    }
    blst_fp2_mul(&point->z, &point->z, &l);
    blst_fp2_sqr(&power, &l);
    blst_fp2_mul(&point->x, &point->x, &power);
    blst_fp2_mul(&power, &power, &l);
    blst_fp2_mul(&point->y, &point->y, &power);
    hf_wipe(random, sizeof random);
    hf_wipe(&l, sizeof l);
    hf_wipe(&power, sizeof power);
}

/*
 * blst_sign_pk_in_g1 has its own multiplication, followed by an inversion of Z by Fermat's theorem
 * for each signature. The product of the Zs being blinded, the faster inversion serves, once for
 * all.
 */
static void sign_batch(const hf_bls_point *point, const hf_bls_table *table,
                       const hf_bls_key *const keys[], size_t n,
                       uint8_t (*ret_signatures)[HF_BLS_SIGNATURE_BYTES])
{
    blst_p2 products[SIGN_BATCH];
    const blst_p2 *list[SIGN_BATCH];
    blst_p2_affine affine[SIGN_BATCH];
    for (size_t i = 0; i < n; i++) {
        if (table != NULL) {
            hf_bls_table_mult(table, keys[i], &products[i]);
        } else {
            hf_bls_point_mult(point, keys[i], &products[i]);
        }
        list[i] = &products[i];
    }
    blind(&products[0]);
    blst_p2s_to_affine(affine, list, n);
    for (size_t i = 0; i < n; i++) {
        blst_p2_affine_compress(ret_signatures[i], &affine[i]);
    }
    hf_wipe(products, n * sizeof products[0]);
}

void hf_bls_sign_many(const hf_bls_point *point, const hf_bls_table *table,
                      const hf_bls_key *const keys[], size_t n,
                      uint8_t (*ret_signatures)[HF_BLS_SIGNATURE_BYTES])
{
    for (size_t done = 0; done < n; done += SIGN_BATCH) {
        size_t batch = n - done < SIGN_BATCH ? n - done : SIGN_BATCH;
        sign_batch(point, table, keys + done, batch, ret_signatures + done);
    }
}

bool hf_bls_verify(const uint8_t pubkey[HF_BLS_PUBKEY_BYTES], const uint8_t root[HF_ROOT_BYTES],
                   const uint8_t signature[HF_BLS_SIGNATURE_BYTES])
{
    blst_p1_affine pk;
    blst_p2_affine sig;
    if (!pubkey_parse(pubkey, &pk) || blst_p2_uncompress(&sig, signature) != BLST_SUCCESS) {
        return false;
    }
    /* Checks that the signature is in its subgroup, too. */
    return blst_core_verify_pk_in_g1(&pk, &sig, true, root, HF_ROOT_BYTES, dst, DST_LEN, NULL, 0) ==
           BLST_SUCCESS;
}
