/*
 * duties: the keys and attestations that the benchmarks agree on, made from numbers alone, so that
 * the generator of keystores and the generator of load need not exchange anything.
 */
#ifndef HF_BENCH_DUTIES_H
#define HF_BENCH_DUTIES_H

#include "base/base.h"
#include "crypto/crypto.h"
#include "eth/eth.h"

/* Key number index: worthless, for measurements only. */
void bench_key(uint64_t index, hf_bls_key *ret_key);

/* A vote for target, from the epoch before it; votes with another mark are for another block. */
void bench_attestation(uint64_t target, uint64_t mark, hf_attestation_data *ret_data);

/* Its signing root on mainnet in Electra. */
void bench_signing_root(const hf_attestation_data *data, uint8_t ret_root[HF_ROOT_BYTES]);

/* The whole HTTP request, as validator clients write it, with this token (NULL: none); the length
 * goes to *ret_len. */
hf_status bench_request(const char *pubkey_hex, const hf_attestation_data *data, const char *token,
                        char *out, size_t out_len, size_t *ret_len) HF_MUST_CHECK;

/* A decimal command line number; a text that is none ends the program. */
uint64_t bench_number(const char *name, const char *text);

/* Sorts values in place. */
void bench_sort(double *values, size_t n);
/* The value below which the given share of the sorted values lies; 0 when there are none. */
double bench_percentile(const double *sorted, size_t n, double share);

#endif
