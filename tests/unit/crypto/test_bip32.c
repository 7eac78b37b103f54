/* BIP-32: the private keys of its test vectors 1 to 3, and of a well-known mnemonic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "crypto/crypto.h"

/* The raw private keys inside the extended keys (xprv) of the BIP's test vectors. */
static const struct {
    const char *seed;
    const char *path;
    const char *key;
} cases[] = {
    {"000102030405060708090a0b0c0d0e0f", "m",
     "e8f32e723decf4051aefac8e2c93c9c5b214313817cdb01a1494b917c8436b35"},
    {"000102030405060708090a0b0c0d0e0f", "m/0'",
     "edb2e14f9ee77d26dd93b4ecede8d16ed408ce149b6cd80b0715a2d911a0afea"},
    {"000102030405060708090a0b0c0d0e0f", "m/0h/1",
     "3c6cb8d0f6a264c91ea8b5030fadaa8e538b020f0a387421a12de9319dc93368"},
    {"000102030405060708090a0b0c0d0e0f", "m/0'/1/2'",
     "cbce0d719ecf7431d88e6a89fa1483e02e35092af60c042b1df2ff59fa424dca"},
    {"000102030405060708090a0b0c0d0e0f", "m/0'/1/2'/2/1000000000",
     "471b76e389e528d6de6d816857e012c5455051cad6660850e58372a6c3e6e7c8"},
    {"fffcf9f6f3f0edeae7e4e1dedbd8d5d2cfccc9c6c3c0bdbab7b4b1aeaba8a5a29f9c999693908d8a8784817e7b787"
     "5"
     "726f6c696663605d5a5754514e4b484542",
     "m/0/2147483647'/1/2147483646'/2",
     "bb7d39bdb83ecf58f2fd82b6d918341cbef428661ef01ab97c28a4842125ac23"},
};

static void the_vectors_of_the_bip(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        uint8_t seed[64];
        char hex[65];
        hf_secp256k1_key key;
        size_t len = strlen(cases[i].seed) / 2;
        assert_false(hf_failed(hf_hex_decode(cases[i].seed, 2 * len, seed, len)));
        assert_false(hf_failed(hf_bip32_derive(hf_bytes_from(seed, len), cases[i].path, &key)));
        hf_hex_encode(key.secret, sizeof key.secret, hex);
        assert_string_equal(hex, cases[i].key);
    }
}

/* The first account of Hardhat and Anvil, which everybody knows. */
static void a_mnemonic_with_ethereums_path(void **state)
{
    uint8_t seed[HF_BIP39_SEED_BYTES];
    char hex[65];
    hf_secp256k1_key key;
    hf_error err;
    (void)state;
    assert_false(hf_failed(hf_bip39_to_seed(
        "test test test test test test test test test test test junk", "", seed, &err)));
    assert_false(
        hf_failed(hf_bip32_derive(hf_bytes_from(seed, sizeof seed), "m/44'/60'/0'/0/0", &key)));
    hf_hex_encode(key.secret, sizeof key.secret, hex);
    assert_string_equal(hex, "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");
}

static void malformed_paths_are_refused(void **state)
{
    static const char *const paths[] = {"",
                                        "44'/60'",
                                        "m/",
                                        "m/0''",
                                        "m//0",
                                        "m/-1",
                                        "m/2147483648",
                                        "m/0x1",
                                        "m/0'a",
                                        "M/0",
                                        "m/0/",
                                        "m/00",
                                        "m/0/1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6"};
    static const uint8_t seed[16] = {1};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(paths); i++) {
        hf_secp256k1_key key;
        hf_status st = hf_bip32_derive(hf_bytes_from(seed, sizeof seed), paths[i], &key);
        assert_int_equal(st.code, HF_INVALID_INPUT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_the_bip),
        cmocka_unit_test(a_mnemonic_with_ethereums_path),
        cmocka_unit_test(malformed_paths_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
