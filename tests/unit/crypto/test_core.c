/* BLS keys and signatures, SHA-256, constant-time comparison. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/crypto.h"
#include "interop.h"

/* Made with an independent BLS library over the interop keys 0, 1, ...: public key, root,
 * signature. */
static const struct {
    const char *pubkey;
    const char *root;
    const char *signature;
} known[] = {
    {"a99a76ed7796f7be22d5b7e85deeb7c5677e88e511e0b337618f8c4eb61349b4bf2d153f649f7b53359fe8b94a38e"
     "44c",
     "f66f6e7bb43f83ac85a9292ef80bef611cfcfeeb3c1dfde3716d75af3a1def76",
     "aabb71485056859888ce20097aa734e9c996c1dc294a8e358b9e058297bae3b47c7fa6754f117d93a2156727a09bb"
     "3be"
     "0de6ac6dc18d382c0eae07e27c328b2599594b4d9e127a12bbc1a99a0f31a02e1c7cf463e686469ce0988ac3ca7fd"
     "681"},
    {"b89bebc699769726a318c8e9971bd3171297c61aea4a6578a7a4f94b547dcba5bac16a89108b6b6a1fe3695d1a874"
     "a0b",
     "4f352ea371c13ae1a1437cab8f90cec26cf4bf59910cad8f9b19732919e19f99",
     "b564f10f9ac00603f093486a5de4ca8a1e4658dac7420174b676e61fc8ed7ffc6efe1417e3f92950e905d883448fb"
     "52b"
     "022eddf870785f3eb4c2a2f0a7995716960fbde44b4b554486e887a3f610a0aee762cb0df8e1e721f51b3947e2ead"
     "1c8"},
    {"a3a32b0f8b4ddb83f1a0a853d81dd725dfe577d4f4c3db8ece52ce2b026eca84815c1a7e8e92a4de3d755733bf7e4"
     "a9b",
     "daf97560b15d3fadd902eae03bba7b10ca93de1e21e5aac880bafe7ec9e11be1",
     "b46a8ca96df92f6c88c23d2d4847c4ed7120d2a020674ab2094d8f745885b8f2d8975f710e964d85e4e383bebf23c"
     "ea4"
     "140638dfe14b981aab2167b9799a5d5e21b24b17274db2dc27f5ecabc3df2da3cf2248eb784ae0c32156d22aafbe8"
     "918"},
    {"88c141df77cd9d8d7a71a75c826c41a9c9f03c6ee1b180f3e7852f6a280099ded351b58d66e653af8e42816a4d8f5"
     "32e",
     "ab11703d4080a48bd5f29ffe19c66547eef4960111c19523a55b587374d6ad31",
     "ae411d5ad77018c2e3f985c187f9fb103364fc834e3e52434aa5ee270874fbfd5377cb1ed1b6e69e9ec0ebe9c8962"
     "f0b"
     "160ed578162fc55c0ede76487525363546e38503a8685102ad020939c18ab7c92d10a3dea4dab0816d6627bdfcc4d"
     "5a1"},
};

static void from_hex(const char *text, uint8_t *out, size_t len)
{
    assert_int_equal(hf_hex_decode(text, strlen(text), out, len).code, HF_OK);
}

static void test_known_signatures(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(known); i++) {
        uint8_t pubkey[48], root[32], want[96], got[1][96], want_pubkey[48];
        hf_bls_key key = test_interop_key(i);
        const hf_bls_key *keys[] = {&key};
        hf_bls_point point;
        from_hex(known[i].pubkey, want_pubkey, 48);
        from_hex(known[i].root, root, 32);
        from_hex(known[i].signature, want, 96);
        hf_bls_pubkey(&key, pubkey);
        assert_memory_equal(pubkey, want_pubkey, 48);
        hf_bls_hash(root, &point);
        hf_bls_sign_many(&point, NULL, keys, 1, got);
        assert_memory_equal(got[0], want, 96);
        assert_true(hf_bls_verify(pubkey, root, want));
        root[31] ^= 1;
        assert_false(hf_bls_verify(pubkey, root, want));
        root[31] ^= 1;
        want[95] ^= 1;
        assert_false(hf_bls_verify(pubkey, root, want));
    }
}

static void test_sign_many_is_sign_each(void **state)
{
    (void)state;
    enum { KEYS = 17 };
    hf_bls_key keys[KEYS];
    const hf_bls_key *list[KEYS];
    uint8_t root[32] = {7};
    uint8_t all[KEYS][96], one[1][96];
    hf_bls_point point;
    hf_bls_hash(root, &point);
    for (size_t i = 0; i < KEYS; i++) {
        keys[i] = test_interop_key(i);
        list[i] = &keys[i];
    }
    hf_bls_sign_many(&point, NULL, list, KEYS, all);
    for (size_t i = 0; i < KEYS; i++) {
        hf_bls_sign_many(&point, NULL, &list[i], 1, one);
        assert_memory_equal(all[i], one[0], 96);
    }
    hf_bls_sign_many(&point, NULL, list, 0, NULL);
}

static void test_key_range(void **state)
{
    (void)state;
    uint8_t secret[32] = {0};
    uint8_t back[32], pubkey[48], root[32] = {1}, signature[1][96];
    hf_bls_key key;
    hf_bls_point point;
    memset(&key, 0xa5, sizeof key);
    assert_int_equal(hf_bls_key_from_bytes(secret, &key).code, HF_CRYPTO);     /* 0 */
    assert_int_equal(hf_bls_key_from_bytes(test_order, &key).code, HF_CRYPTO); /* r */
    memset(secret, 0xff, sizeof secret);
    assert_int_equal(hf_bls_key_from_bytes(secret, &key).code, HF_CRYPTO);
    for (size_t i = 0; i < sizeof key.scalar; i++) {
        assert_int_equal(key.scalar[i], 0xa5); /* untouched by failures */
    }
    memset(secret, 0, sizeof secret);
    secret[31] = 1; /* 1: the generator itself */
    assert_int_equal(hf_bls_key_from_bytes(secret, &key).code, HF_OK);
    hf_bls_pubkey(&key, pubkey);
    uint8_t generator[48];
    from_hex(
        "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb"
        "22c6bb",
        generator, 48);
    assert_memory_equal(pubkey, generator, 48);
    memcpy(secret, test_order, 32);
    secret[31] = 0; /* r - 1: its negative, so only the sign bit differs */
    assert_int_equal(hf_bls_key_from_bytes(secret, &key).code, HF_OK);
    hf_bls_key_to_bytes(&key, back);
    assert_memory_equal(back, secret, 32);
    hf_bls_pubkey(&key, pubkey);
    generator[0] ^= 0x20;
    assert_memory_equal(pubkey, generator, 48);
    const hf_bls_key *keys[] = {&key};
    hf_bls_hash(root, &point);
    hf_bls_sign_many(&point, NULL, keys, 1, signature);
    assert_true(hf_bls_verify(pubkey, root, signature[0]));
}

static void test_pubkey_validity(void **state)
{
    (void)state;
    uint8_t pubkey[48] = {0};
    assert_false(hf_bls_pubkey_is_valid(pubkey)); /* not even compressed */
    pubkey[0] = 0xc0;
    assert_false(hf_bls_pubkey_is_valid(pubkey)); /* the identity */
    from_hex(known[0].pubkey, pubkey, 48);
    assert_true(hf_bls_pubkey_is_valid(pubkey));
    /* On the curve but outside the subgroup: x = 4 is such a point of E1. */
    memset(pubkey, 0, sizeof pubkey);
    pubkey[0] = 0x80;
    pubkey[47] = 4;
    assert_false(hf_bls_pubkey_is_valid(pubkey));
    memset(pubkey, 0xff, sizeof pubkey);
    assert_false(hf_bls_pubkey_is_valid(pubkey));
}

static void test_verify_refuses_identity(void **state)
{
    (void)state;
    uint8_t pubkey[48], root[32] = {1}, signature[96] = {0xc0};
    from_hex(known[0].pubkey, pubkey, 48);
    assert_false(hf_bls_verify(pubkey, root, signature));
    memset(pubkey, 0, sizeof pubkey);
    pubkey[0] = 0xc0;
    assert_false(hf_bls_verify(pubkey, root, signature));
}

static void test_sha256(void **state)
{
    (void)state;
    uint8_t want[32], got[32], pair[64];
    from_hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", want, 32);
    hf_sha256("abc", 3, got);
    assert_memory_equal(got, want, 32);
    from_hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", want, 32);
    hf_sha256("", 0, got);
    assert_memory_equal(got, want, 32);
    from_hex("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1", want, 32);
    hf_sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, got);
    assert_memory_equal(got, want, 32);
    memcpy(pair, want, 32);
    memset(pair + 32, 9, 32);
    hf_sha256(pair, 64, want);
    hf_sha256_pair(pair, pair + 32, got);
    assert_memory_equal(got, want, 32);
    /* The root of two zero leaves, known from every SSZ library. */
    memset(pair, 0, sizeof pair);
    hf_sha256_pair(pair, pair + 32, got);
    from_hex("f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b", want, 32);
    assert_memory_equal(got, want, 32);
}

static void test_secret_equal_and_random(void **state)
{
    (void)state;
    uint8_t a[64], b[64];
    hf_random(a, sizeof a);
    hf_random(b, sizeof b);
    assert_false(hf_secret_equal(a, b, sizeof a));
    memcpy(b, a, sizeof b);
    assert_true(hf_secret_equal(a, b, sizeof a));
    b[63] ^= 0x80;
    assert_false(hf_secret_equal(a, b, sizeof a));
    assert_true(hf_secret_equal(a, b, 63));
    assert_true(hf_secret_equal(a, b, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_signatures),
        cmocka_unit_test(test_sign_many_is_sign_each),
        cmocka_unit_test(test_key_range),
        cmocka_unit_test(test_pubkey_validity),
        cmocka_unit_test(test_verify_refuses_identity),
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_secret_equal_and_random),
    };
    return cmocka_run_group_tests_name("crypto/core", tests, NULL, NULL);
}
