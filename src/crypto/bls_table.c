/*
 * A table for a point that several keys sign: multiplication by it (bls_mult.c) is half the work of
 * that without, and the making costs about one. It depends on the message alone, so it is made once
 * for the many keys that sign one attestation.
 *
 * Public points: nothing here has to be constant in time.
 */
#include "bls_internal.h"

#define CHUNK 32 /* so many share an inversion; the workspace is on the stack */

size_t hf_bls_table_size(void)
{
    return sizeof(hf_bls_table);
}

static void fill_powers(const blst_p2 *point, blst_p2_affine ret_powers[HF_BLS_DOUBLINGS])
{
    blst_p2 last = *point;
    for (size_t done = 0; done < HF_BLS_DOUBLINGS; done += CHUNK) {
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

/* All n >= 1 additions with one inversion (Montgomery's trick). */
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
    for (size_t r = 0; r < HF_BLS_ROWS; r++) {
        blst_p2_affine *row = table->points + r * HF_BLS_ENTRIES;
        for (size_t i = 0; i < have; i++) {
            list[n++] = (addition){.a = &row[i],
                                   .b = &table->powers[r * HF_BLS_WINDOW_BITS + step],
                                   .sum = &row[have + i]};
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
    blst_p2 start;
    blst_p2_from_affine(&start, hf_bls_point_peek(point));
    fill_powers(&start, ret_table->powers);
    for (size_t r = 0; r < HF_BLS_ROWS; r++) {
        ret_table->points[r * HF_BLS_ENTRIES] = ret_table->powers[r * HF_BLS_WINDOW_BITS];
    }
    for (size_t step = 1; step < HF_BLS_WINDOW_BITS; step++) {
        widen(ret_table, step);
    }
}
