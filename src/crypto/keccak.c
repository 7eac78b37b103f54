/*
 * Keccak-256 as Ethereum uses it: the submission to the SHA-3 competition (version 3, rate 1088,
 * capacity 512), whose padding begins with 01 where FIPS 202 has 06. No packaged library offers it:
 * OpenSSL does from 3.2 on. The permutation is that of FIPS 202, section 3.
 */
#include "crypto.h"

#define LANES 25
#define ROUNDS 24
#define RATE_BYTES 136

static const uint64_t round_constants[ROUNDS] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000,
    0x000000000000808b, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008a, 0x0000000000000088, 0x0000000080008009, 0x000000008000000a,
    0x000000008000808b, 0x800000000000008b, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
};

/* rho and pi in one walk: where the next lane goes, and how far it turns on the way. */
static const uint8_t walk[LANES - 1] = {10, 7,  11, 17, 18, 3, 5,  16, 8,  21, 24, 4,
                                        15, 23, 19, 13, 12, 2, 20, 14, 22, 9,  6,  1};
static const uint8_t turns[LANES - 1] = {1,  3,  6,  10, 15, 21, 28, 36, 45, 55, 2,  14,
                                         27, 41, 56, 8,  25, 43, 62, 18, 39, 61, 20, 44};

static uint64_t rotate(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static void theta(uint64_t state[LANES])
{
    uint64_t parity[5];
    for (size_t x = 0; x < 5; x++) {
        parity[x] = state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20];
    }
    for (size_t x = 0; x < 5; x++) {
        uint64_t change = parity[(x + 4) % 5] ^ rotate(parity[(x + 1) % 5], 1);
        for (size_t y = 0; y < LANES; y += 5) {
            state[y + x] ^= change;
        }
    }
}

static void rho_pi(uint64_t state[LANES])
{
    uint64_t lane = state[1];
    for (size_t i = 0; i < LANES - 1; i++) {
        uint64_t next = state[walk[i]];
        state[walk[i]] = rotate(lane, turns[i]);
        lane = next;
    }
}

static void chi(uint64_t state[LANES])
{
    for (size_t y = 0; y < LANES; y += 5) {
        uint64_t row[5];
        memcpy(row, state + y, sizeof row);
        for (size_t x = 0; x < 5; x++) {
            state[y + x] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5]);
        }
    }
}

static void permute(uint64_t state[LANES])
{
    for (size_t round = 0; round < ROUNDS; round++) {
        theta(state);
        rho_pi(state);
        chi(state);
        state[0] ^= round_constants[round];
    }
}

static void absorb_block(uint64_t state[LANES], const uint8_t block[RATE_BYTES])
{
    for (size_t i = 0; i < RATE_BYTES / 8; i++) {
        state[i] ^= hf_le64_get(block + 8 * i);
    }
    permute(state);
}

void hf_keccak256(const void *in, size_t len, uint8_t ret_digest[HF_KECCAK_BYTES])
{
    uint64_t state[LANES] = {0};
    uint8_t last[RATE_BYTES] = {0};
    const uint8_t *at = in;
    for (; len >= RATE_BYTES; len -= RATE_BYTES, at += RATE_BYTES) {
        absorb_block(state, at);
    }
    if (len > 0) {
        memcpy(last, at, len);
    }
    last[len] = 0x01;
    last[RATE_BYTES - 1] |= 0x80;
    absorb_block(state, last);
    for (size_t i = 0; i < HF_KECCAK_BYTES / 8; i++) {
        hf_le64_put(ret_digest + 8 * i, state[i]);
    }
    hf_wipe(state, sizeof state); /* the MAC of a keystore passes through here with its key */
    hf_wipe(last, sizeof last);
}
