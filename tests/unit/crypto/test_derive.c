/* EIP-2333 derivation, EIP-2334 paths, BIP-39 mnemonics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/crypto.h"

#define SEED_MAX 64

/* The test cases of EIP-2333 (CC0), secrets as 32 bytes big endian. */
static const struct {
    const char *seed;
    const char *master;
    uint32_t index;
    const char *child;
} cases[] = {
    {"c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e53495531f09a6987599d18264c1e1c92f2cf"
     "141630c7a3c4ab7c81b2f001698e7463b04",
     "0d7359d57963ab8fbbde1852dcf553fedbc31f464d80ee7d40ae683122b45070", 0u,
     "2d18bd6c14e6d15bf8b5085c9b74f3daae3b03cc2014770a599d8c1539e50f8e"},
    {"3141592653589793238462643383279502884197169399375105820974944592",
     "41c9e07822b092a93fd6797396338c3ada4170cc81829fdfce6b5d34bd5e7ec7", 3141592653u,
     "384843fad5f3d777ea39de3e47a8f999ae91f89e42bffa993d91d9782d152a0f"},
    {"0099ff991111002299dd7744ee3355bbdd8844115566cc55663355668888cc00",
     "3cfa341ab3910a7d00d933d8f7c4fe87c91798a0397421d6b19fd5b815132e80", 4294967295u,
     "40e86285582f35b28821340f6a53b448588efa575bc4d88c32ef8567b8d9479b"},
    {"d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
     "2a0e28ffa5fbbe2f8e7aad4ed94f745d6bf755c51182e119bb1694fe61d3afca", 42u,
     "455c0dc9fccb3395825d92a60d2672d69416be1c2578a87a7a3d3ced11ebb88d"},
};

static size_t from_hex(const char *text, uint8_t *out)
{
    assert_int_equal(hf_hex_decode(text, strlen(text), out, strlen(text) / 2).code, HF_OK);
    return strlen(text) / 2;
}

static void assert_key(const hf_bls_key *key, const char *want_hex)
{
    uint8_t want[32], got[32];
    (void)from_hex(want_hex, want);
    hf_bls_key_to_bytes(key, got);
    assert_memory_equal(got, want, 32);
}

static void test_eip2333(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        uint8_t seed[SEED_MAX];
        char path[32];
        hf_bls_key master, child, by_path;
        hf_bytes bytes = hf_bytes_from(seed, from_hex(cases[i].seed, seed));
        assert_int_equal(hf_eip2333_master(bytes, &master).code, HF_OK);
        assert_key(&master, cases[i].master);
        assert_int_equal(hf_eip2333_child(&master, cases[i].index, &child).code, HF_OK);
        assert_key(&child, cases[i].child);
        assert_key(&master, cases[i].master); /* the parent is untouched */
        assert_int_equal(hf_str_format(path, sizeof path, "m/%u", cases[i].index).code, HF_OK);
        assert_int_equal(hf_eip2334_derive(bytes, path, &by_path).code, HF_OK);
        assert_key(&by_path, cases[i].child);
    }
}

static void test_short_seed(void **state)
{
    (void)state;
    uint8_t seed[32] = {1};
    hf_bls_key key;
    assert_int_equal(hf_eip2333_master(hf_bytes_from(seed, 31), &key).code, HF_INVALID_INPUT);
    assert_int_equal(hf_eip2333_master(hf_bytes_from(seed, 0), &key).code, HF_INVALID_INPUT);
    assert_int_equal(hf_eip2333_master(hf_bytes_from(seed, 32), &key).code, HF_OK);
}

static void test_paths(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "x",
                                      "m/",
                                      "m//1",
                                      "m/1/",
                                      "/1",
                                      "m/a",
                                      "m/-1",
                                      "m/01",
                                      "m/1'",
                                      "m/4294967296",
                                      "m 1",
                                      "m/1 ",
                                      "M/1",
                                      "m1",
                                      "m/0x1",
                                      "m/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17"};
    uint8_t seed[SEED_MAX];
    hf_bls_key key, step;
    hf_bytes bytes = hf_bytes_from(seed, from_hex(cases[0].seed, seed));
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        assert_int_equal(hf_eip2334_derive(bytes, bad[i], &key).code, HF_INVALID_INPUT);
    }
    assert_int_equal(hf_eip2334_derive(bytes, "m", &key).code, HF_OK);
    assert_key(&key, cases[0].master);
    static const uint32_t levels[] = {12381, 3600, 7, 0, 0};
    step = key;
    for (size_t i = 0; i < HF_ARRAY_LEN(levels); i++) {
        assert_int_equal(hf_eip2333_child(&step, levels[i], &step).code, HF_OK);
    }
    assert_int_equal(hf_eip2334_derive(bytes, "m/12381/3600/7/0/0", &key).code, HF_OK);
    assert_memory_equal(&key, &step, sizeof key);
}

/* From the BIP-39 test vectors (github.com/trezor/python-mnemonic, MIT); the last computed with
 * Python's hashlib and unicodedata. */
static const struct {
    const char *words;
    const char *passphrase;
    const char *seed;
} mnemonics[] = {
    {"abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon "
     "about",
     "TREZOR",
     "c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e5349553"
     "1f09a6987599d18264c1e1c92f2cf141630c7a3c4ab7c81b2f001698e7463b04"},
    {"legal winner thank year wave sausage worth useful legal winner thank yellow", "TREZOR",
     "2e8905819b8723fe2c1d161860e5ee1830318dbf49a83bd451cfb8440c28bd6f"
     "a457fe1296106559a3c80937a1c1069be3a3a5bd381ee6260e8d9739fce1f607"},
    {"abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon "
     "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon "
     "abandon art",
     "TREZOR",
     "bda85446c68413707090a52022edd26a1c9462295029f2e60cd7c4f2bbd30971"
     "70af7a4d73245cafa9c3cca8d561a7c3de6f5d4a10be8ed2a5e608d68f92fcc8"},
    {"abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon "
     "about",
     NULL,
     "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1"
     "9a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4"},
    {"  Abandon abandon\tABANDON aban aban aban aban aban abandon\nabandon abandon  abou \n",
     "caf\xc3\xa9 \xef\xac\x81", /* e with acute, ligature fi: NFKD takes both apart */
     "19f90ea729062357f00e86cad8a80b435fd4acc9b99c49c7ca1332be16fa035d"
     "c87d336b6d28eab2320e75e45cadaf752b47f483b78ad1965eb4f3bee2c8d752"},
};

static void test_mnemonics(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(mnemonics); i++) {
        uint8_t seed[HF_BIP39_SEED_BYTES], want[HF_BIP39_SEED_BYTES];
        hf_error err = {0};
        (void)from_hex(mnemonics[i].seed, want);
        assert_int_equal(
            hf_bip39_to_seed(mnemonics[i].words, mnemonics[i].passphrase, seed, &err).code, HF_OK);
        assert_memory_equal(seed, want, sizeof seed);
    }
}

static void test_bad_mnemonics(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        const char *message;
    } bad[] = {
        {"", "0 words: a mnemonic has 12, 15, 18, 21 or 24"},
        {"abandon about", "2 words: a mnemonic has 12, 15, 18, 21 or 24"},
        {"abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon "
         "abandon",
         "the checksum does not match: a word is wrong or out of its place"},
        {"abandon abandon ability-secret abandon", "word 3 is not in the English list of BIP-39"},
        {"abandon abandon aba", "word 3 is not in the English list of BIP-39"},
        {"abandon abando", "word 2 is not in the English list of BIP-39"},
        {"a a a a a a a a a a a a a a a a a a a a a a a a a",
         "word 1 is not in the English list of BIP-39"},
        {"zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo "
         "zoo zoo zoo",
         "more than 24 words"},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        uint8_t seed[HF_BIP39_SEED_BYTES];
        hf_error err = {0};
        assert_int_equal(hf_bip39_to_seed(bad[i].words, "", seed, &err).code, HF_INVALID_INPUT);
        assert_string_equal(err.msg, bad[i].message);
    }
    uint8_t seed[HF_BIP39_SEED_BYTES];
    hf_error err = {0};
    assert_int_equal(hf_bip39_to_seed(mnemonics[0].words, "\xff", seed, &err).code,
                     HF_INVALID_INPUT);
    assert_string_equal(err.msg, "the passphrase is not UTF-8");
}

static void test_generate(void **state)
{
    (void)state;
    static const unsigned sizes[] = {128, 160, 192, 224, 256};
    char words[HF_BIP39_TEXT_BYTES], again[HF_BIP39_TEXT_BYTES];
    uint8_t seed[HF_BIP39_SEED_BYTES];
    hf_error err = {0};
    for (size_t i = 0; i < HF_ARRAY_LEN(sizes); i++) {
        assert_int_equal(hf_bip39_generate(sizes[i], words).code, HF_OK);
        size_t spaces = 0;
        for (const char *p = words; *p != '\0'; p++) {
            spaces += *p == ' ';
        }
        assert_int_equal(spaces + 1, sizes[i] / 32 * 3);
        assert_int_equal(hf_bip39_to_seed(words, NULL, seed, &err).code, HF_OK);
        assert_int_equal(hf_bip39_generate(sizes[i], again).code, HF_OK);
        assert_string_not_equal(words, again);
    }
    assert_int_equal(hf_bip39_generate(96, words).code, HF_INVALID_INPUT);
    assert_int_equal(hf_bip39_generate(129, words).code, HF_INVALID_INPUT);
    assert_int_equal(hf_bip39_generate(288, words).code, HF_INVALID_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eip2333),       cmocka_unit_test(test_short_seed),
        cmocka_unit_test(test_paths),         cmocka_unit_test(test_mnemonics),
        cmocka_unit_test(test_bad_mnemonics), cmocka_unit_test(test_generate),
    };
    return cmocka_run_group_tests_name("crypto/derive", tests, NULL, NULL);
}
