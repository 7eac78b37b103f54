/*
 * Shamir's secret sharing, byte by byte over GF(2^8) with the polynomial 0x11b (as in AES, and as
 * Vault does it). No branch and no address depends on a secret.
 */
#include "seal/seal.h"

#include <sodium.h>

#define FIELD 0x1bU /* what x^8 reduces to */
#define SHARES_MOST 255U

/* All ones when the lowest bit is set, else zero. The barrier keeps the compiler from branching. */
static uint8_t mask_of(uint8_t bit)
{
    uint8_t mask = (uint8_t)(0U - (bit & 1U));
    __asm__("" : "+r"(mask));
    return mask;
}

static uint8_t multiply(uint8_t a, uint8_t b)
{
    uint8_t product = 0;
    for (unsigned i = 0; i < 8; i++) {
        product = (uint8_t)(product ^ (a & mask_of(b)));
        uint8_t carry = mask_of((uint8_t)(a >> 7));
        a = (uint8_t)((unsigned)a << 1 ^ (carry & FIELD));
        b = (uint8_t)(b >> 1);
    }
    return product;
}

/* a^254, the inverse of all but 0. */
static uint8_t inverse(uint8_t a)
{
    uint8_t square = multiply(a, a);
    uint8_t result = square;
    for (unsigned i = 0; i < 6; i++) {
        square = multiply(square, square);
        result = multiply(result, square);
    }
    return result;
}

hf_status hf_shamir_split(const uint8_t secret[HF_SEAL_KEY_BYTES], unsigned threshold, unsigned n,
                          hf_seal_share ret_shares[])
{
    uint8_t coefficients[SHARES_MOST];
    if (threshold < 1 || threshold > n || n > SHARES_MOST) {
        return (hf_status){HF_USAGE};
    }
    for (unsigned i = 0; i < n; i++) {
        ret_shares[i].bytes[HF_SEAL_KEY_BYTES] = (uint8_t)(i + 1);
    }
    for (unsigned byte = 0; byte < HF_SEAL_KEY_BYTES; byte++) {
        hf_random(coefficients, sizeof coefficients);
        coefficients[0] = secret[byte];
        for (unsigned i = 0; i < n; i++) {
            uint8_t value = 0;
            for (unsigned power = threshold; power > 0; power--) { /* Horner */
                value = (uint8_t)(multiply(value, (uint8_t)(i + 1)) ^ coefficients[power - 1]);
            }
            ret_shares[i].bytes[byte] = value;
        }
    }
    hf_wipe(coefficients, sizeof coefficients);
    return hf_ok();
}

/* Places are public. */
static bool places_are_sound(const hf_seal_share shares[], unsigned n)
{
    bool seen[SHARES_MOST + 1] = {true};
    for (unsigned i = 0; i < n; i++) {
        uint8_t x = shares[i].bytes[HF_SEAL_KEY_BYTES];
        if (seen[x]) {
            return false;
        }
        seen[x] = true;
    }
    return true;
}

/* The weight of share i when the polynomial is taken at 0. */
static uint8_t weight_of(const hf_seal_share shares[], unsigned n, unsigned i)
{
    uint8_t weight = 1;
    uint8_t own = shares[i].bytes[HF_SEAL_KEY_BYTES];
    for (unsigned k = 0; k < n; k++) {
        if (k != i) {
            uint8_t other = shares[k].bytes[HF_SEAL_KEY_BYTES];
            weight = multiply(weight, multiply(other, inverse(other ^ own)));
        }
    }
    return weight;
}

hf_status hf_shamir_combine(const hf_seal_share shares[], unsigned n,
                            uint8_t ret_secret[HF_SEAL_KEY_BYTES])
{
    uint8_t secret[HF_SEAL_KEY_BYTES] = {0};
    if (n == 0 || n > SHARES_MOST || !places_are_sound(shares, n)) {
        return (hf_status){HF_INVALID_INPUT};
    }
    for (unsigned i = 0; i < n; i++) {
        uint8_t weight = weight_of(shares, n, i);
        for (unsigned byte = 0; byte < HF_SEAL_KEY_BYTES; byte++) {
            secret[byte] = (uint8_t)(secret[byte] ^ multiply(weight, shares[i].bytes[byte]));
        }
    }
    memcpy(ret_secret, secret, sizeof secret);
    hf_wipe(secret, sizeof secret);
    return hf_ok();
}

/* ---- as text: libsodium's coders take the same time whatever they code --------------------------
 */

void hf_seal_share_to_hex(const hf_seal_share *share, char ret_text[HF_SEAL_SHARE_HEX_LEN])
{
    (void)sodium_bin2hex(ret_text, HF_SEAL_SHARE_HEX_LEN, share->bytes, HF_SEAL_SHARE_BYTES);
}

void hf_seal_share_to_base64(const hf_seal_share *share, char ret_text[HF_SEAL_SHARE_BASE64_LEN])
{
    (void)sodium_bin2base64(ret_text, HF_SEAL_SHARE_BASE64_LEN, share->bytes, HF_SEAL_SHARE_BYTES,
                            sodium_base64_VARIANT_ORIGINAL);
}

hf_status hf_seal_share_parse(const char *text, size_t len, hf_seal_share *ret_share)
{
    hf_seal_share share = {{0}};
    size_t got = 0;
    int failed = -1;
    if (len == HF_SEAL_SHARE_HEX_LEN - 1) {
        failed = sodium_hex2bin(share.bytes, sizeof share.bytes, text, len, NULL, &got, NULL);
    } else if (len == HF_SEAL_SHARE_BASE64_LEN - 1) {
        failed = sodium_base642bin(share.bytes, sizeof share.bytes, text, len, NULL, &got, NULL,
                                   sodium_base64_VARIANT_ORIGINAL);
    }
    hf_status st = {HF_INVALID_INPUT};
    if (failed == 0 && got == HF_SEAL_SHARE_BYTES && share.bytes[HF_SEAL_KEY_BYTES] != 0) {
        *ret_share = share;
        st = hf_ok();
    }
    hf_wipe(&share, sizeof share);
    return st;
}
