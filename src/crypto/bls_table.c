/*
 * Signing with a point for which a table was made: about a third of the cost of the multiplication
 * of bls.c, and the making costs about one. It depends on the message alone, so it is made while
 * the record is being committed, or once for the many keys that sign one attestation.
 *
 * The scalar k is split into four digits to the base |z| (z: the curve's parameter), as on the
 * subgroup of G2 the endomorphism psi multiplies by z (Galbraith, Lin, Scott: "Endomorphisms for
 * faster elliptic curve cryptography", 2009, section 4):
 *
 *   k H = d0 H - d1 psi(H) + d2 psi^2(H) - d3 psi^3(H)       0 < |di| < |z| < 2^64, all odd
 *
 * Each digit is read in signed odd windows of four bits, so that no window is zero and none needs a
 * correction (comb of Hamburg: "Fast and compact elliptic-curve cryptography", 2012, section 3.3),
 * and each window is one addition of an entry of the table. psi is applied to the four sums.
 *
 * Constant time: which entries are taken depends on the scalar, so a look-up reads its whole row.
 * In a sum over the windows from low to high, the part so far is odd and smaller than what is
 * added: never infinity, the same point or its opposite, for which blst_p2_add_affine would not do.
 */
#include "bls_internal.h"

#define WINDOW_BITS 4
#define ROWS 16                          /* windows of a digit */
#define ENTRIES (1 << (WINDOW_BITS - 1)) /* 1, 3, ..., 15 times the row's point */
#define POINTS (ROWS * ENTRIES)
#define DOUBLINGS 64
#define CHUNK 32 /* so many share an inversion; the workspace is on the stack */
#define DIGITS 4
#define LIMBS 4
#define Z_ABS UINT64_C(0xd201000000010000)
#define POINT_WORDS (sizeof(blst_p2_affine) / sizeof(uint64_t))

struct hf_bls_table {
    _Alignas(HF_BLS_TABLE_ALIGN) blst_p2_affine points[POINTS]; /* row by row */
    blst_p2_affine powers[DOUBLINGS]; /* 2^i times the point: what the rows are made from */
};

/* What one signature needs for a moment; all of it secret. */
typedef struct scratch {
    uint64_t windows[DIGITS]; /* bit i stands for plus or minus 2^i */
    blst_p2_affine entry;
    blst_p2 sums[DIGITS];
} scratch;

/* ---- the table ------------------------------------------------------------------------------- */

size_t hf_bls_table_size(void)
{
    return sizeof(hf_bls_table);
}

static void fill_powers(const blst_p2 *point, blst_p2_affine ret_powers[DOUBLINGS])
{
    blst_p2 last = *point;
    for (size_t done = 0; done < DOUBLINGS; done += CHUNK) {
        blst_p2 powers[CHUNK];
        const blst_p2 *list[CHUNK];
        for (size_t i = 0; i < CHUNK; i++) {
            powers[i] = last;
            list[i] = &powers[i];
            blst_p2_double(&last, &last);
        }
        blst_p2s_to_affine(ret_powers + done, list, CHUNK);
    }
}

/* One affine addition, `sum` = `a` + `b`, of points that are neither equal nor opposite. */
typedef struct addition {
    const blst_p2_affine *a;
    const blst_p2_affine *b;
    blst_p2_affine *sum;
    blst_fp2 run;   /* b.x - a.x, of this and all before it, multiplied */
    blst_fp2 slope; /* first b.x - a.x alone */
} addition;

static void finish(addition *add, const blst_fp2 *inverse)
{
    blst_p2_affine sum;
    blst_fp2_sub(&add->slope, &add->b->y, &add->a->y);
    blst_fp2_mul(&add->slope, &add->slope, inverse);
    blst_fp2_sqr(&sum.x, &add->slope);
    blst_fp2_sub(&sum.x, &sum.x, &add->a->x);
    blst_fp2_sub(&sum.x, &sum.x, &add->b->x);
    blst_fp2_sub(&sum.y, &add->a->x, &sum.x);
    blst_fp2_mul(&sum.y, &sum.y, &add->slope);
    blst_fp2_sub(&sum.y, &sum.y, &add->a->y);
    *add->sum = sum;
}

/* All n >= 1 additions with one inversion (Montgomery's trick). Public points: not constant time.
 */
static void add_all(addition *list, size_t n)
{
    blst_fp2 inverse;
    for (size_t i = 0; i < n; i++) {
        blst_fp2_sub(&list[i].slope, &list[i].b->x, &list[i].a->x);
        list[i].run = list[i].slope;
        if (i > 0) {
            blst_fp2_mul(&list[i].run, &list[i - 1].run, &list[i].slope);
        }
    }
    blst_fp2_inverse(&inverse, &list[n - 1].run);
    for (size_t i = n; i-- > 0;) {
        blst_fp2 own = inverse;
        blst_fp2_mul(&inverse, &inverse, &list[i].slope);
        if (i > 0) {
            blst_fp2_mul(&own, &own, &list[i - 1].run);
        }
        finish(&list[i], &own);
    }
}

/* Doubles the entries of each row: to 1, 3, ..., 2^(step+1) - 1 times its point. */
static void widen(hf_bls_table *table, size_t step)
{
    addition list[CHUNK];
    size_t have = (size_t)1 << (step - 1);
    size_t n = 0;
    for (size_t r = 0; r < ROWS; r++) {
        blst_p2_affine *row = table->points + r * ENTRIES;
        for (size_t i = 0; i < have; i++) {
            list[n++] = (addition){
                .a = &row[i], .b = &table->powers[r * WINDOW_BITS + step], .sum = &row[have + i]};
            if (n == CHUNK) {
                add_all(list, n);
                n = 0;
            }
        }
    }
    if (n > 0) {
        add_all(list, n);
    }
}

void hf_bls_table_build(const hf_bls_point *point, hf_bls_table *ret_table)
{
    fill_powers(hf_bls_point_peek(point), ret_table->powers);
    for (size_t r = 0; r < ROWS; r++) {
        ret_table->points[r * ENTRIES] = ret_table->powers[r * WINDOW_BITS];
    }
    for (size_t step = 1; step < WINDOW_BITS; step++) {
        widen(ret_table, step);
    }
}

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

/* ---- the sum --------------------------------------------------------------------------------- */

/* The entry of the row that the window names, with its sign. Reads the whole row. */
static void look_up(const blst_p2_affine row[ENTRIES], uint64_t window, blst_p2_affine *ret_entry)
{
    uint64_t words[POINT_WORDS] = {0};
    uint64_t is_positive = window / ENTRIES;
    uint64_t index = (window ^ mask_of(is_positive ^ 1)) % ENTRIES;
    for (size_t i = 0; i < ENTRIES; i++) {
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

static void sum_windows(const hf_bls_table *table, uint64_t windows, blst_p2_affine *entry,
                        blst_p2 *ret_sum)
{
    look_up(table->points, windows % (1 << WINDOW_BITS), entry);
    blst_p2_from_affine(ret_sum, entry);
    for (size_t r = 1; r < ROWS; r++) {
        look_up(table->points + r * ENTRIES, (windows >> (WINDOW_BITS * r)) % (1 << WINDOW_BITS),
                entry);
        blst_p2_add_affine(ret_sum, ret_sum, entry);
    }
}

/* The untwist-Frobenius-twist endomorphism; it multiplies the points of G2 by z. */
static void psi(blst_p2 *point)
{
    static const blst_fp2 x = {{
        /* 1 / (1 + i)^((p - 1) / 3), in blst's own form (times 2^384 modulo p) */
        {{0}},
        {{UINT64_C(0x890dc9e4867545c3), UINT64_C(0x2af322533285a5d5), UINT64_C(0x50880866309b7e2c),
          UINT64_C(0xa20d1b8c7e881024), UINT64_C(0x14e4f04fe2db9068),
          UINT64_C(0x14e56d3f1564853a)}},
    }};
    static const blst_fp2 y = {{
        /* 1 / (1 + i)^((p - 1) / 2) */
        {{UINT64_C(0x3e2f585da55c9ad1), UINT64_C(0x4294213d86c18183), UINT64_C(0x382844c88b623732),
          UINT64_C(0x92ad2afd19103e18), UINT64_C(0x1d794e4fac7cf0b9),
          UINT64_C(0x0bd592fc7d825ec8)}},
        {{UINT64_C(0x7bcfa7a25aa30fda), UINT64_C(0xdc17dec12a927e7c), UINT64_C(0x2f088dd86b4ebef1),
          UINT64_C(0xd1ca2087da74d4a7), UINT64_C(0x2da2596696cebc1d),
          UINT64_C(0x0e2b7eedbbfd87d2)}},
    }};
    blst_fp_cneg(&point->x.fp[1], &point->x.fp[1], true);
    blst_fp_cneg(&point->y.fp[1], &point->y.fp[1], true);
    blst_fp_cneg(&point->z.fp[1], &point->z.fp[1], true);
    blst_fp2_mul(&point->x, &point->x, &x);
    blst_fp2_mul(&point->y, &point->y, &y);
}

static void minus_psi(blst_p2 *point)
{
    psi(point);
    blst_p2_cneg(point, true);
}

void hf_bls_table_mult(const hf_bls_table *table, const hf_bls_key *key, blst_p2 *ret_product)
{
    scratch s = {0};
    uint64_t k[LIMBS];
    for (size_t i = 0; i < LIMBS; i++) {
        k[i] = hf_le64_get(key->scalar + 8 * i);
    }
    bool is_negated = make_odd(k);
    split(k, s.windows);
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
    hf_wipe(k, sizeof k);
    hf_wipe(&s, sizeof s);
}
