/* Keccak-256 and Ethereum's secp256k1 signatures, against published vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/crypto.h"

static void from_hex(const char *text, uint8_t *out, size_t len)
{
    assert_int_equal(hf_hex_decode(text, strlen(text), out, len).code, HF_OK);
}

/* ---- Keccak-256 ------------------------------------------------------------------------------ */

/* The Keccak team's ShortMsgKAT_256 (Len = 0, 8, 16), and "abc". */
static const struct {
    const char *message;
    const char *digest;
} keccak_known[] = {
    {"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"},
    {"cc", "eead6dbfc7340a56caedc044696a168870549a6a7f6f56961e84a54bd9970b8a"},
    {"41fb", "a8eaceda4d47b3281a795ad9e1ea2122b407baf9aabcb9e18b5717b7873537d2"},
    {"616263", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"},
};

static void test_keccak_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(keccak_known); i++) {
        uint8_t message[8];
        uint8_t want[HF_KECCAK_BYTES];
        uint8_t got[HF_KECCAK_BYTES];
        size_t len = strlen(keccak_known[i].message) / 2;
        from_hex(keccak_known[i].message, message, len);
        from_hex(keccak_known[i].digest, want, sizeof want);
        hf_keccak256(message, len, got);
        assert_memory_equal(got, want, sizeof want);
    }
}

/*
 * Every length over two blocks and more, in one digest of digests. Made by a reference in another
 * language whose permutation was checked against hashlib's sha3_256.
 */
static void test_keccak_lengths(void **state)
{
    static uint8_t digests[301][HF_KECCAK_BYTES];
    uint8_t message[301];
    uint8_t want[HF_KECCAK_BYTES];
    uint8_t got[HF_KECCAK_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof message; i++) {
        message[i] = (uint8_t)(7 * i);
    }
    for (size_t len = 0; len < 301; len++) {
        hf_keccak256(message, len, digests[len]);
    }
    hf_keccak256(digests, sizeof digests, got);
    from_hex("0f3d8c6e9f5feb163b3a0f0f23c49fbda1459c3a3a9a562e1e5cd2c8b895d409", want, sizeof want);
    assert_memory_equal(got, want, sizeof want);
}

/* ---- secp256k1 ------------------------------------------------------------------------------- */

static hf_secp256k1 *secp;

static int open_secp(void **state)
{
    (void)state;
    return hf_failed(hf_secp256k1_new(&secp)) ? -1 : 0;
}

static int close_secp(void **state)
{
    (void)state;
    hf_secp256k1_free(secp);
    return 0;
}

static hf_secp256k1_key key_of(const char *hex)
{
    uint8_t secret[32];
    hf_secp256k1_key key;
    from_hex(hex, secret, sizeof secret);
    assert_int_equal(hf_secp256k1_key_from_bytes(secp, secret, &key).code, HF_OK);
    return key;
}

/* RFC 6979 over secp256k1 with SHA-256 of a text, as Trezor, Haskoin and Bitcoin publish them. */
static const struct {
    const char *secret;
    const char *text;
    const char *rs;
} rfc6979[] = {
    {"0000000000000000000000000000000000000000000000000000000000000001", "Satoshi Nakamoto",
     "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
     "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5"},
    {"0000000000000000000000000000000000000000000000000000000000000001",
     "All those moments will be lost in time, like tears in rain. Time to die...",
     "8600dbd41e348fe5c9465ab92d23e3db8b98b873beecd930736488696438cb6b"
     "547fe64427496db33bf66019dacbf0039c04199abb0122918601db38a72cfc21"},
    {"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140", "Satoshi Nakamoto",
     "fd567d121db66e382991534ada77a6bd3106f0a1098c231e47993447cd6af2d0"
     "6b39cd0eb1bc8603e159ef5c20a5c8ad685a45b06ce9bebed3f153d10d93bed5"},
    {"f8b8af8ce3c7cca5e300d33939540c10d45ce001b8f252bfbc57ba0342904181", "Alan Turing",
     "7063ae83e7f62bbb171798131b4a0564b956930092b33b07b395615d9ec7e15c"
     "58dfcc1e00a35e1572f366ffe34ba0fc47db1e7189759b9fb233c5b05ab388ea"},
};

static void test_rfc6979(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(rfc6979); i++) {
        uint8_t digest[32];
        uint8_t want[64];
        uint8_t got[HF_SECP256K1_SIGNATURE_BYTES];
        hf_secp256k1_key key = key_of(rfc6979[i].secret);
        hf_sha256(rfc6979[i].text, strlen(rfc6979[i].text), digest);
        from_hex(rfc6979[i].rs, want, sizeof want);
        assert_int_equal(hf_secp256k1_sign(secp, &key, digest, got).code, HF_OK);
        assert_memory_equal(got, want, sizeof want);
    }
}

/* The example of web3.js's documentation of eth.accounts.sign: "Some data" under EIP-191. */
static void test_ethereum_example(void **state)
{
    static const char text[] = "\x19"
                               "Ethereum Signed Message:\n9Some data";
    uint8_t digest[32];
    uint8_t pubkey[HF_SECP256K1_PUBKEY_BYTES];
    uint8_t address[HF_ADDRESS_BYTES];
    uint8_t want_address[HF_ADDRESS_BYTES];
    uint8_t want[HF_SECP256K1_SIGNATURE_BYTES];
    uint8_t got[HF_SECP256K1_SIGNATURE_BYTES];
    (void)state;
    hf_secp256k1_key key =
        key_of("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318");
    from_hex("b91467e570a6466aa9e9876cbcd013baba02900b8979d43fe208a4a4f339f5fd"
             "6007e74cd82e037b800186422fc2da167c747ef045e5d18a5f5d4300f8e1a029"
             "1c",
             want, sizeof want);
    from_hex("2c7536e3605d9c16a7a3d7b1898e529396a65c23", want_address, sizeof want_address);
    hf_keccak256(text, sizeof text - 1, digest);
    hf_secp256k1_pubkey(secp, &key, pubkey);
    hf_secp256k1_address(pubkey, address);
    assert_memory_equal(address, want_address, sizeof address);
    assert_int_equal(hf_secp256k1_sign(secp, &key, digest, got).code, HF_OK);
    assert_memory_equal(got, want, sizeof want);
}

static void test_keys_out_of_range(void **state)
{
    static const char *const bad[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", /* n */
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        uint8_t secret[32];
        hf_secp256k1_key key = {.secret = {7}};
        from_hex(bad[i], secret, sizeof secret);
        assert_int_equal(hf_secp256k1_key_from_bytes(secp, secret, &key).code, HF_CRYPTO);
        assert_int_equal(key.secret[0], 7);
    }
}

/* More than one blinding; every signature has its lower s and leads back to its key. */
static void test_recover(void **state)
{
    static const uint8_t half_n[32] = {0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                       0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                       0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d,
                                       0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0};
    uint8_t pubkey[HF_SECP256K1_PUBKEY_BYTES];
    uint8_t address[HF_ADDRESS_BYTES];
    (void)state;
    hf_secp256k1_key key =
        key_of("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318");
    hf_secp256k1_pubkey(secp, &key, pubkey);
    hf_secp256k1_address(pubkey, address);
    for (unsigned i = 0; i < 600; i++) {
        uint8_t digest[32];
        uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES];
        uint8_t again[HF_SECP256K1_SIGNATURE_BYTES];
        uint8_t found[HF_ADDRESS_BYTES];
        hf_keccak256(&i, sizeof i, digest);
        assert_int_equal(hf_secp256k1_sign(secp, &key, digest, signature).code, HF_OK);
        assert_int_equal(hf_secp256k1_sign(secp, &key, digest, again).code, HF_OK);
        assert_memory_equal(signature, again, sizeof again);
        assert_true(signature[64] == 27 || signature[64] == 28);
        bool is_low = false;
        for (size_t k = 0; k < 32 && !is_low; k++) {
            assert_true(signature[32 + k] <= half_n[k]);
            is_low = signature[32 + k] < half_n[k];
        }
        assert_int_equal(hf_secp256k1_recover(secp, digest, signature, found).code, HF_OK);
        assert_memory_equal(found, address, sizeof address);
        digest[0] ^= 1;
        if (!hf_failed(hf_secp256k1_recover(secp, digest, signature, found))) {
            assert_memory_not_equal(found, address, sizeof address);
        }
    }
}

static void test_recover_nonsense(void **state)
{
    uint8_t digest[32] = {1};
    uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES];
    uint8_t found[HF_ADDRESS_BYTES];
    (void)state;
    memset(signature, 0xff, sizeof signature); /* r beyond n, and no such v */
    assert_int_equal(hf_secp256k1_recover(secp, digest, signature, found).code, HF_INVALID_INPUT);
    signature[64] = 27;
    assert_int_equal(hf_secp256k1_recover(secp, digest, signature, found).code, HF_INVALID_INPUT);
    memset(signature, 0, 64);
    assert_int_equal(hf_secp256k1_recover(secp, digest, signature, found).code, HF_INVALID_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keccak_known),      cmocka_unit_test(test_keccak_lengths),
        cmocka_unit_test(test_rfc6979),           cmocka_unit_test(test_ethereum_example),
        cmocka_unit_test(test_keys_out_of_range), cmocka_unit_test(test_recover),
        cmocka_unit_test(test_recover_nonsense),
    };
    return cmocka_run_group_tests(tests, open_secp, close_secp);
}
