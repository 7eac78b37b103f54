/*
 * A key times a hashed message, from the multiples of the message that hf_bls_hash leaves, or from
 * a table (bls_table.c).
 *
 * The scalar k is split into four digits to the base |z| (z: the curve's parameter), as on the
 * subgroup of G2 the endomorphism psi multiplies by z (Galbraith, Lin, Scott: "Endomorphisms for
 * faster elliptic curve cryptography", 2009, section 4):
 *
 *   k H = d0 H - d1 psi(H) + d2 psi^2(H) - d3 psi^3(H)       0 < |di| < |z| < 2^64, all odd
 *
 * Each digit is read in signed odd windows of four bits, so that no window is zero and none needs a
 * correction (comb of Hamburg: "Fast and compact elliptic-curve cryptography", 2012, section 3.3),
 * and each window is one addition of an odd multiple.
 *
 * Constant time: which multiples are taken depends on the scalar, so a look-up reads all of a row.
 */
#include "bls_internal.h"

#define DIGITS 4
#define LIMBS 4
#define Z_ABS UINT64_C(0xd201000000010000)
#define POINT_WORDS (sizeof(blst_p2_affine) / sizeof(uint64_t))

/* What one multiplication needs for a moment; all of it secret. */
typedef struct scratch {
    uint64_t windows[DIGITS]; /* bit i stands for plus or minus 2^i */
    blst_p2_affine entry;
    blst_p2 sums[DIGITS]; /* with a table */
} scratch;

/* ---- the scalar ------------------------------------------------------------------------------ */

/* Keeps the compiler from seeing that a mask is all ones or nothing, and from branching on it. */
static uint64_t opaque(uint64_t value)
{
    __asm__("" : "+r"(value));
    return value;
}

static uint64_t mask_of(uint64_t bit)
{
    return opaque(0 - bit);
}

static uint64_t is_equal(uint64_t a, uint64_t b)
{
    uint64_t difference = a ^ b;
    return 1 ^ ((difference | (0 - difference)) >> 63);
}

/* Divides in place, in constant time, bit by bit; the remainder is below |z|. */
static uint64_t divide_by_z(uint64_t number[LIMBS])
{
    uint64_t rest = 0;
    for (size_t i = 64 * LIMBS; i-- > 0;) {
        uint64_t top = rest >> 63;
        uint64_t bit = (number[i / 64] >> (i % 64)) & 1;
        rest = rest << 1 | bit;
        uint64_t less = rest - Z_ABS;
        /* No borrow: the comparison of two 64-bit numbers, without one. */
        uint64_t fits = top | (1 ^ (((~rest & Z_ABS) | ((~rest | Z_ABS) & less)) >> 63));
        uint64_t mask = mask_of(fits);
        rest = (less & mask) | (rest & ~mask);
        number[i / 64] = (number[i / 64] & ~(UINT64_C(1) << (i % 64))) | fits << (i % 64);
    }
    return rest;
}

/* k, or r - k when k is even: always odd. True for the latter. */
static bool make_odd(uint64_t k[LIMBS])
{
    static const uint64_t order[LIMBS] = {
        UINT64_C(0xffffffff00000001), UINT64_C(0x53bda402fffe5bfe), UINT64_C(0x3339d80809a1d805),
        UINT64_C(0x73eda753299d7d48)};
    uint64_t is_even = 1 ^ (k[0] & 1);
    uint64_t mask = mask_of(is_even);
    uint64_t borrow = 0;
    for (size_t i = 0; i < LIMBS; i++) {
        uint64_t less = order[i] - k[i];
        uint64_t result = less - borrow;
        uint64_t next = (((~order[i] & k[i]) | ((~order[i] | k[i]) & less)) >> 63) |
                        (((~less & borrow) | ((~less | borrow) & result)) >> 63);
        borrow = next;
        k[i] = (result & mask) | (k[i] & ~mask);
    }
    return is_even != 0;
}

/*
 * The digits as windows. An even digit takes |z|, which is even, from the one below, so that all
 * are odd. An odd d is the sum of +2^i for the bits that are one in (d + 2^64 - 1) / 2, and of -2^i
 * for the others.
 */
static void split(uint64_t k[LIMBS], uint64_t ret_windows[DIGITS])
{
    uint64_t digits[DIGITS];
    for (size_t i = 0; i < DIGITS; i++) {
        digits[i] = divide_by_z(k);
    }
    for (size_t i = 0; i < DIGITS; i++) {
        uint64_t takes = i + 1 < DIGITS ? 1 ^ (digits[i + 1] & 1) : 0;
        if (i + 1 < DIGITS) {
            digits[i + 1] += takes;
        }
        ret_windows[i] =
            ((digits[i] - 1) >> 1) - (mask_of(takes) & (Z_ABS >> 1)) + (UINT64_C(1) << 63);
    }
    hf_wipe(digits, sizeof digits);
}

/* The windows of the key; true when they are those of its opposite. */
static bool read_key(const hf_bls_key *key, uint64_t ret_windows[DIGITS])
{
    uint64_t k[LIMBS];
    for (size_t i = 0; i < LIMBS; i++) {
        k[i] = hf_le64_get(key->scalar + 8 * i);
    }
    bool is_negated = make_odd(k);
    split(k, ret_windows);
    hf_wipe(k, sizeof k);
    return is_negated;
}

/* ---- look-ups -------------------------------------------------------------------------------- */

/* The entry of the row that the window of the digit names, with its sign. Reads the whole row. */
static void look_up(const blst_p2_affine row[HF_BLS_ENTRIES], uint64_t windows, size_t place,
                    blst_p2_affine *ret_entry)
{
    uint64_t window = (windows >> (HF_BLS_WINDOW_BITS * place)) % (1 << HF_BLS_WINDOW_BITS);
    uint64_t words[POINT_WORDS] = {0};
    uint64_t is_positive = window / HF_BLS_ENTRIES;
    uint64_t index = (window ^ mask_of(is_positive ^ 1)) % HF_BLS_ENTRIES;
    for (size_t i = 0; i < HF_BLS_ENTRIES; i++) {
        uint64_t mask = mask_of(is_equal(i, index));
        const uint64_t *from = (const uint64_t *)(const void *)&row[i];
        for (size_t w = 0; w < POINT_WORDS; w++) {
            words[w] |= from[w] & mask;
        }
    }
    memcpy(ret_entry, words, sizeof words);
    blst_fp2_cneg(&ret_entry->y, &ret_entry->y, is_positive == 0);
    hf_wipe(words, sizeof words);
}

/* ---- without a table --------------------------------------------------------------------------
 */

/* The factors of psi, as its comment below has them, in blst's own form (times 2^384 modulo p). */
static const blst_fp psi_x = {{UINT64_C(0x890dc9e4867545c3), UINT64_C(0x2af322533285a5d5),
                               UINT64_C(0x50880866309b7e2c), UINT64_C(0xa20d1b8c7e881024),
                               UINT64_C(0x14e4f04fe2db9068), UINT64_C(0x14e56d3f1564853a)}};
static const blst_fp psi_x_squared = {{UINT64_C(0xcd03c9e48671f071), UINT64_C(0x5dab22461fcda5d2),
                                       UINT64_C(0x587042afd3851b95), UINT64_C(0x8eb60ebe01bacb9e),
                                       UINT64_C(0x03f97d6e83d050d2), UINT64_C(0x18f0206554638741)}};
static const blst_fp psi_y = {{UINT64_C(0x3e2f585da55c9ad1), UINT64_C(0x4294213d86c18183),
                               UINT64_C(0x382844c88b623732), UINT64_C(0x92ad2afd19103e18),
                               UINT64_C(0x1d794e4fac7cf0b9), UINT64_C(0x0bd592fc7d825ec8)}};

/* conj(y) times psi_y (1 - i): the second coordinate of psi, or its opposite. */
static void turn_y(blst_fp2 *y, bool is_opposite)
{
    blst_fp difference;
    blst_fp sum;
    blst_fp_sub(&difference, &y->fp[0], &y->fp[1]);
    blst_fp_add(&sum, &y->fp[0], &y->fp[1]);
    blst_fp_mul(&y->fp[0], &difference, &psi_y);
    blst_fp_mul(&y->fp[1], &sum, &psi_y);
    blst_fp_cneg(&y->fp[0], &y->fp[0], is_opposite);
    blst_fp_cneg(&y->fp[1], &y->fp[1], !is_opposite);
}

/*
 * -psi, psi^2 or -psi^3 of an affine point. With a = psi_x, a^3 = -1, and b = psi_y:
 *   psi(x, y)   = (conj(x) a i, conj(y) b (1 - i))
 *   psi^2(x, y) = (x a^2, -y)                           as (a i)(-a i) = a^2 and b^2 (1 - i)(1 + i)
 * = -1 psi^3(x, y) = (-conj(x) i, -conj(y) b (1 - i))
 */
static void turn(blst_p2_affine *point, size_t digit)
{
    blst_fp2 x = point->x;
    switch (digit) {
    case 1:
        blst_fp_mul(&point->x.fp[0], &x.fp[1], &psi_x);
        blst_fp_mul(&point->x.fp[1], &x.fp[0], &psi_x);
        turn_y(&point->y, true);
        break;
    case 2:
        blst_fp_mul(&point->x.fp[0], &x.fp[0], &psi_x_squared);
        blst_fp_mul(&point->x.fp[1], &x.fp[1], &psi_x_squared);
        blst_fp2_cneg(&point->y, &point->y, true);
        break;
    case 3:
        blst_fp_cneg(&point->x.fp[0], &x.fp[1], true);
        blst_fp_cneg(&point->x.fp[1], &x.fp[0], true);
        turn_y(&point->y, false);
        break;
    default:
        break;
    }
}

/*
 * From the highest windows down, four doublings between them. The sum so far is an expression
 * e0 + e1 z + e2 z^2 + e3 z^3 with coefficients below |z| / 2 until the last row, and so is what is
 * added; two such are the same multiple of H, or opposite, only when all coefficients are (the
 * relations of 1, z, z^2, z^3 modulo r have a coefficient of at least |z| / 2, as one sees by
 * eliminating them from the last on). So there is never infinity, the same point or its opposite,
 * for which blst_p2_add_affine would not do; the last row takes the addition that is complete.
 */
void hf_bls_point_mult(const hf_bls_point *point, const hf_bls_key *key, blst_p2 *ret_product)
{
    scratch s = {0};
    bool is_negated = read_key(key, s.windows);
    look_up(hf_bls_point_peek(point), s.windows[0], HF_BLS_ROWS - 1, &s.entry);
    blst_p2_from_affine(ret_product, &s.entry);
    for (size_t r = HF_BLS_ROWS; r-- > 0;) {
        bool is_first = r == HF_BLS_ROWS - 1;
        for (size_t i = 0; i < HF_BLS_WINDOW_BITS && !is_first; i++) {
            blst_p2_double(ret_product, ret_product);
        }
        for (size_t d = is_first ? 1 : 0; d < DIGITS; d++) {
            look_up(hf_bls_point_peek(point), s.windows[d], r, &s.entry);
            turn(&s.entry, d);
            if (r > 0) {
                blst_p2_add_affine(ret_product, ret_product, &s.entry);
            } else {
                blst_p2_add_or_double_affine(ret_product, ret_product, &s.entry);
            }
        }
    }
    blst_p2_cneg(ret_product, is_negated);
    hf_wipe(&s, sizeof s);
}

/* ---- with a table -----------------------------------------------------------------------------
 */

/*
 * The sum over the windows from low to high: the part so far is odd and smaller than what is added,
 * so never the same point or its opposite.
 */
static void sum_windows(const hf_bls_table *table, uint64_t windows, blst_p2_affine *entry,
                        blst_p2 *ret_sum)
{
    look_up(table->points, windows, 0, entry);
    blst_p2_from_affine(ret_sum, entry);
    for (size_t r = 1; r < HF_BLS_ROWS; r++) {
        look_up(table->points + r * HF_BLS_ENTRIES, windows, r, entry);
        blst_p2_add_affine(ret_sum, ret_sum, entry);
    }
}

/* The untwist-Frobenius-twist endomorphism; it multiplies the points of G2 by z. */
static void psi(blst_p2 *point)
{
    blst_fp x = point->x.fp[0];
    blst_fp_mul(&point->x.fp[0], &point->x.fp[1], &psi_x);
    blst_fp_mul(&point->x.fp[1], &x, &psi_x);
    turn_y(&point->y, false);
    blst_fp_cneg(&point->z.fp[1], &point->z.fp[1], true);
}

static void minus_psi(blst_p2 *point)
{
    psi(point);
    blst_p2_cneg(point, true);
}

void hf_bls_table_mult(const hf_bls_table *table, const hf_bls_key *key, blst_p2 *ret_product)
{
    scratch s = {0};
    bool is_negated = read_key(key, s.windows);
    for (size_t i = 0; i < DIGITS; i++) {
        sum_windows(table, s.windows[i], &s.entry, &s.sums[i]);
    }
    minus_psi(&s.sums[1]);
    minus_psi(&s.sums[3]);
    blst_p2_add_or_double(&s.sums[0], &s.sums[0], &s.sums[1]);
    blst_p2_add_or_double(&s.sums[2], &s.sums[2], &s.sums[3]);
    psi(&s.sums[2]);
    psi(&s.sums[2]);
    blst_p2_add_or_double(ret_product, &s.sums[0], &s.sums[2]);
    blst_p2_cneg(ret_product, is_negated);
    hf_wipe(&s, sizeof s);
}
