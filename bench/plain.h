/* plain: what both sides of the table are measured against, without Holdfast's own mathematics. */
#ifndef HF_BENCH_PLAIN_H
#define HF_BENCH_PLAIN_H

#include "crypto/crypto.h"

/* One signature over the root of that number, by blst as any C program would call it. */
void bench_plain_sign(const hf_bls_key *key, uint64_t number);

#endif
