/* EIP-191, and what bytes that are called data really are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "eth1/eth1.h"

static void digest_is(const char *message, const char *expected)
{
    uint8_t digest[HF_KECCAK_BYTES];
    char hex[2 * HF_KECCAK_BYTES + 1];
    assert_false(hf_failed(hf_eth1_hash_message(hf_bytes_from(message, strlen(message)), digest)));
    hf_hex_encode(digest, sizeof digest, hex);
    assert_string_equal(hex, expected);
}

/* hashMessage of ethers' documentation, and of geth's accounts.TextHash test. */
static void published_digests(void **state)
{
    (void)state;
    digest_is("Hello World", "a1de988600a42c4b4ab089b619297c17d53cffae5d5120d82d8a92d0bb3b78f2");
    digest_is("Hello Joe", "a080337ae51c4e064c189e113edd0ba391df9206e2f49db658bb32cf2911730b");
}

static void a_long_message_is_hashed_like_a_short_one(void **state)
{
    static uint8_t message[1000];
    static uint8_t all[1100];
    (void)state;
    for (size_t len = 250; len < 260; len++) {
        uint8_t digest[HF_KECCAK_BYTES];
        uint8_t expected[HF_KECCAK_BYTES];
        int head = snprintf((char *)all, sizeof all,
                            "\x19"
                            "Ethereum Signed Message:\n%zu",
                            len);
        memset(message, (int)len, len);
        memcpy(all + head, message, len);
        hf_keccak256(all, (size_t)head + len, expected);
        assert_false(hf_failed(hf_eth1_hash_message(hf_bytes_from(message, len), digest)));
        assert_memory_equal(digest, expected, sizeof digest);
    }
}

static void assert_kind(const void *data, size_t len, hf_eth1_kind expected, size_t inner_len)
{
    hf_eth1_kind kind;
    hf_bytes inner;
    assert_false(hf_failed(hf_eth1_classify(hf_bytes_from(data, len), &kind, &inner, NULL)));
    assert_int_equal(kind, expected);
    assert_int_equal(inner.len, inner_len);
}

static void assert_denied(const void *data, size_t len)
{
    hf_eth1_kind kind;
    hf_bytes inner;
    assert_int_equal(hf_eth1_classify(hf_bytes_from(data, len), &kind, &inner, NULL).code,
                     HF_DENIED);
}

static void messages_are_seen_through(void **state)
{
    static const char plain[] = "\x19"
                                "Ethereum Signed Message:\n4abcd";
    /* 12 bytes "3456789012.."? or 1 byte...: the digits end where the length fits */
    static const char digits[] = "\x19"
                                 "Ethereum Signed Message:\n101234567890";
    uint8_t typed[66] = {0x19, 0x01};
    (void)state;
    assert_kind(plain, sizeof plain - 1, HF_ETH1_MESSAGE, 4);
    assert_kind(digits, sizeof digits - 1, HF_ETH1_MESSAGE, 10);
    assert_kind(typed, sizeof typed, HF_ETH1_TYPED_DATA, 64);
    assert_denied(plain, sizeof plain - 2);
    assert_denied(typed, sizeof typed - 1);
    typed[1] = 0;
    assert_denied(typed, sizeof typed);
    assert_denied("\x19", 1);
}

static size_t put_fields(uint8_t *out, size_t room, const size_t lens[], size_t n)
{
    static const uint8_t bytes[32] = {0x81, 0x82};
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        total += 1 + lens[i];
    }
    hf_rlp_writer writer = {out, room, 0};
    hf_rlp_put_list(&writer, total);
    for (size_t i = 0; i < n; i++) {
        hf_rlp_put_string(&writer, hf_bytes_from(bytes, lens[i]));
    }
    assert_true(writer.used <= room);
    return writer.used;
}

static void what_looks_like_a_transaction_is_denied(void **state)
{
    static const size_t legacy[] = {2, 2, 2, 20, 2, 2};
    static const size_t creation[] = {2, 2, 2, 0, 2, 2};
    static const size_t other[] = {2, 2, 2, 2, 2, 2, 2, 20};
    static const size_t authorization[] = {2, 20, 2};
    uint8_t room[128] = {0};
    (void)state;
    assert_denied(room, put_fields(room, sizeof room, legacy, 6));
    assert_denied(room, put_fields(room, sizeof room, creation, 6));
    for (unsigned type = 0; type < 0x80; type++) {
        size_t len = put_fields(room + 1, sizeof room - 1, other, HF_ARRAY_LEN(other));
        room[0] = (uint8_t)type;
        if (type == 0x19) {
            continue; /* EIP-191 */
        }
        assert_denied(room, len + 1);
    }
    size_t len = put_fields(room + 1, sizeof room - 1, authorization, 3);
    room[0] = 0x05;
    assert_denied(room, len + 1);
}

/* Whoever has hashes signed shall not be told at times that they are transactions. */
static void hashes_are_data(void **state)
{
    uint8_t hash[HF_KECCAK_BYTES] = {0};
    size_t denied = 0;
    (void)state;
    for (size_t i = 0; i < 20000; i++) {
        hf_eth1_kind kind;
        hf_bytes inner;
        hf_keccak256(hash, sizeof hash, hash);
        denied +=
            hash[0] != 0x19 &&
            (hf_failed(hf_eth1_classify(hf_bytes_from(hash, sizeof hash), &kind, &inner, NULL)) ||
             kind != HF_ETH1_DATA);
    }
    assert_true(denied <= 1);
    assert_kind("", 0, HF_ETH1_DATA, 0);
    assert_kind("hello", 5, HF_ETH1_DATA, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_digests),
        cmocka_unit_test(a_long_message_is_hashed_like_a_short_one),
        cmocka_unit_test(messages_are_seen_through),
        cmocka_unit_test(what_looks_like_a_transaction_is_denied),
        cmocka_unit_test(hashes_are_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
