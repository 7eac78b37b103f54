/* Ethereum addresses: of public keys, and as people write them (EIP-55). */
#include "crypto.h"

#define DIGITS ((size_t)2 * HF_ADDRESS_BYTES)

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'f';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'F';
}

/* A letter is upper case where the hash of the lower-case text has a digit of 8 or more. */
static bool has_checksum(const char digits[DIGITS], const uint8_t address[HF_ADDRESS_BYTES])
{
    char lower[DIGITS + 1];
    uint8_t hash[HF_KECCAK_BYTES];
    hf_hex_encode(address, HF_ADDRESS_BYTES, lower);
    hf_keccak256((const uint8_t *)lower, DIGITS, hash);
    for (size_t i = 0; i < DIGITS; i++) {
        unsigned digit = i % 2 == 0 ? hash[i / 2] >> 4 : hash[i / 2] & 15U;
        bool is_letter = is_lower(digits[i]) || is_upper(digits[i]);
        if (is_letter && is_upper(digits[i]) != (digit >= 8)) {
            return false;
        }
    }
    return true;
}

hf_status hf_address_parse(const char *text, uint8_t ret_address[HF_ADDRESS_BYTES], hf_error *err)
{
    uint8_t address[HF_ADDRESS_BYTES];
    size_t len = strlen(text);
    if (hf_failed(hf_hex_decode(text, len, address, sizeof address))) {
        return hf_fail(err, HF_INVALID_INPUT, "must be an address of 20 bytes in hex");
    }
    const char *digits = text + (len - DIGITS);
    bool lower = false;
    bool upper = false;
    for (size_t i = 0; i < DIGITS; i++) {
        lower = lower || is_lower(digits[i]);
        upper = upper || is_upper(digits[i]);
    }
    if (lower && upper && !has_checksum(digits, address)) {
        return hf_fail(
            err, HF_INVALID_INPUT,
            "its checksum (EIP-55, upper and lower case) is wrong: a digit was mistyped; "
            "copy it again");
    }
    memcpy(ret_address, address, sizeof address);
    return hf_ok();
}

void hf_secp256k1_address(const uint8_t pubkey[HF_SECP256K1_PUBKEY_BYTES],
                          uint8_t ret_address[HF_ADDRESS_BYTES])
{
    uint8_t digest[HF_KECCAK_BYTES];
    hf_keccak256(pubkey, HF_SECP256K1_PUBKEY_BYTES, digest);
    memcpy(ret_address, digest + sizeof digest - HF_ADDRESS_BYTES, HF_ADDRESS_BYTES);
}
