/* HMAC-SHA256 (RFC 2104, FIPS 198-1) by libsodium. */
#include "crypto.h"

#include <sodium.h>

_Static_assert(HF_HMAC_BYTES == crypto_auth_hmacsha256_BYTES, "the size of a MAC");
_Static_assert(HF_HMAC_KEY_BYTES == crypto_auth_hmacsha256_KEYBYTES, "the size of a key");

void hf_hmac_sha256(const uint8_t key[HF_HMAC_KEY_BYTES], const hf_bytes parts[], size_t n,
                    uint8_t ret_mac[HF_HMAC_BYTES])
{
    crypto_auth_hmacsha256_state state;
    (void)crypto_auth_hmacsha256_init(&state, key, HF_HMAC_KEY_BYTES);
    for (size_t i = 0; i < n; i++) {
        (void)crypto_auth_hmacsha256_update(&state, parts[i].ptr, parts[i].len);
    }
    (void)crypto_auth_hmacsha256_final(&state, ret_mac);
    hf_wipe(&state, sizeof state);
}
