/* The public test keys that the consensus clients share (eth2.0-pm interop, mocked start). */
#ifndef HF_TEST_INTEROP_H
#define HF_TEST_INTEROP_H

#include "crypto/crypto.h"

/* The order r of the groups, big endian. */
static const uint8_t test_order[32] = {
    0x73, 0xed, 0xa7, 0x53, 0x29, 0x9d, 0x7d, 0x48, 0x33, 0x39, 0xd8, 0x08, 0x09, 0xa1, 0xd8, 0x05,
    0x53, 0xbd, 0xa4, 0x02, 0xff, 0xfe, 0x5b, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01};

/* sk_i = int(sha256(i as 32 bytes little endian), little endian) mod r. */
static inline hf_bls_key test_interop_key(uint64_t i)
{
    uint8_t seed[32] = {0};
    uint8_t digest[32];
    uint8_t secret[32];
    hf_bls_key key;
    hf_le64_put(seed, i);
    hf_sha256(seed, sizeof seed, digest);
    for (size_t k = 0; k < 32; k++) {
        secret[k] = digest[31 - k];
    }
    while (hf_failed(hf_bls_key_from_bytes(secret, &key))) {
        int borrow = 0;
        for (size_t k = 32; k-- > 0;) {
            int digit = secret[k] - test_order[k] - borrow;
            borrow = digit < 0;
            secret[k] = (uint8_t)(digit & 0xff);
        }
    }
    return key;
}

#endif
