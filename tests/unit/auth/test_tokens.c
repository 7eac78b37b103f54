/* Making and verifying: who is recognised, and why somebody is not let in. */
#include "tokens.h"

#include "crypto/crypto.h"

static const uint8_t nowhere[16];

/* RFC 4231, test case 2: HMAC pads a short key with zeros itself. */
static void test_hmac_known_answer(void **state)
{
    static const char expected[] =
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    const uint8_t key[HF_HMAC_KEY_BYTES] = "Jefe";
    const hf_bytes parts[] = {hf_bytes_from("what do ya want ", 16),
                              hf_bytes_from("for nothing?", 12)};
    uint8_t mac[HF_HMAC_BYTES];
    char hex[2 * HF_HMAC_BYTES + 1];
    (void)state;
    hf_hmac_sha256(key, parts, HF_ARRAY_LEN(parts), mac);
    hf_hex_encode(mac, sizeof mac, hex);
    assert_string_equal(hex, expected);
}

static void test_the_text_fits_a_url(void **state)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    hf_auth_keys keys = test_keys(1);
    hf_token_terms terms = test_terms();
    char texts[64][HF_AUTH_TEXT_LEN];
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(texts); i++) {
        hf_token token;
        hf_token_make(&keys, &terms, NOW, &token, texts[i]);
        assert_int_equal(strlen(texts[i]), HF_AUTH_TEXT_CHARS);
        assert_int_equal(strspn(texts[i], plain), HF_AUTH_TEXT_CHARS);
        assert_true(hf_token_text_is_sane(texts[i]));
        assert_non_null(strstr(texts[i], token.accessor));
        assert_true(hf_accessor_is_sane(token.accessor));
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(texts[i], texts[k]);
        }
    }
}

/* Every single character of a text counts, and so does what stands behind it. */
static void test_another_text_is_unknown(void **state)
{
    hf_auth_keys keys = test_keys(1);
    hf_token_terms terms = test_terms();
    hf_token token;
    hf_token_entry *entry = NULL;
    char text[HF_AUTH_TEXT_LEN];
    (void)state;
    hf_token_make(&keys, &terms, NOW, &token, text);
    hf_token_table *table = test_table(&token, 0);
    assert_int_equal(hf_token_verify(&keys, table, text, nowhere, NOW, &entry), HF_TOKEN_VALID);
    assert_string_equal(entry->token.accessor, token.accessor);
    for (size_t i = 0; i < HF_AUTH_TEXT_LEN; i++) {
        char other[HF_AUTH_TEXT_LEN];
        memcpy(other, text, sizeof other);
        other[i] ^= 1;
        entry = NULL;
        assert_int_equal(hf_token_verify(&keys, table, other, nowhere, NOW, &entry),
                         HF_TOKEN_UNKNOWN);
        assert_null(entry);
    }
    char empty[HF_AUTH_TEXT_LEN] = {0};
    assert_int_equal(hf_token_verify(&keys, table, empty, nowhere, NOW, &entry), HF_TOKEN_MISSING);
    hf_auth_keys others = test_keys(2);
    assert_int_equal(hf_token_verify(&others, table, text, nowhere, NOW, &entry), HF_TOKEN_UNKNOWN);
    hf_token_table_free(table);
}

/* The MAC that a table keeps for accessors that nobody has lets nobody in. */
static void test_an_empty_table_knows_nobody(void **state)
{
    hf_auth_keys keys = test_keys(1);
    hf_token_terms terms = test_terms();
    hf_token_table *table = NULL;
    hf_token token;
    hf_token_entry *entry = NULL;
    char text[HF_AUTH_TEXT_LEN];
    (void)state;
    hf_token_make(&keys, &terms, NOW, &token, text);
    assert_int_equal(hf_token_table_new(NULL, 0, &table).code, HF_OK);
    assert_int_equal(hf_token_verify(&keys, table, text, nowhere, NOW, &entry), HF_TOKEN_UNKNOWN);
    assert_null(entry);
    hf_token_table_free(table);
}

static void test_expiry(void **state)
{
    hf_auth_keys keys = test_keys(1);
    hf_token_terms terms = test_terms();
    hf_token token;
    hf_token_entry *entry = NULL;
    char text[HF_AUTH_TEXT_LEN];
    (void)state;
    terms.expires_unix_ms = NOW + 1000;
    hf_token_make(&keys, &terms, NOW, &token, text);
    hf_token_table *table = test_table(&token, 0);
    assert_int_equal(hf_token_verify(&keys, table, text, nowhere, NOW + 999, &entry),
                     HF_TOKEN_VALID);
    entry = NULL;
    assert_int_equal(hf_token_verify(&keys, table, text, nowhere, NOW + 1000, &entry),
                     HF_TOKEN_EXPIRED);
    assert_non_null(entry); /* so that the log can name it */
    text[HF_AUTH_TEXT_CHARS - 1] ^= 1;
    assert_int_equal(hf_token_verify(&keys, table, text, nowhere, NOW + 1000, &entry),
                     HF_TOKEN_UNKNOWN); /* who does not have it learns nothing of it */
    hf_token_table_free(table);
}

static void test_sources(void **state)
{
    hf_auth_keys keys = test_keys(1);
    hf_token_terms terms = test_terms();
    hf_token token;
    hf_token_entry *entry = NULL;
    char text[HF_AUTH_TEXT_LEN];
    (void)state;
    test_source(&terms, "10.0.0.0/8");
    test_source(&terms, "2001:db8::/32");
    hf_token_make(&keys, &terms, NOW, &token, text);
    hf_token_table *table = test_table(&token, 0);
    static const struct {
        const char *from;
        hf_token_verdict verdict;
    } cases[] = {{"10.9.8.7", HF_TOKEN_VALID},
                 {"2001:db8:1::1", HF_TOKEN_VALID},
                 {"127.0.0.1", HF_TOKEN_WRONG_SOURCE},
                 {"::1", HF_TOKEN_WRONG_SOURCE},
                 {"2001:db9::1", HF_TOKEN_WRONG_SOURCE}};
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        assert_int_equal(
            hf_token_verify(&keys, table, text, test_address(cases[i].from), NOW, &entry),
            cases[i].verdict);
    }
    hf_token_table_free(table);
}

static void test_uses(void **state)
{
    hf_auth_keys keys = test_keys(1);
    hf_token_terms terms = test_terms();
    hf_token token;
    hf_token_entry *entry = NULL;
    char text[HF_AUTH_TEXT_LEN];
    (void)state;
    terms.max_uses = 2;
    hf_token_make(&keys, &terms, NOW, &token, text);
    hf_token_table *table = test_table(&token, 0);
    assert_int_equal(hf_token_verify(&keys, table, text, nowhere, NOW, &entry),
                     HF_TOKEN_NEEDS_USES);
    assert_int_equal(hf_token_uses_to_reserve(&entry->token), 1);
    entry->token.uses_reserved = 2; /* on record: two were given out, both to this node */
    entry->uses_at_hand = 2;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hf_token_verify(&keys, table, text, nowhere, NOW, &entry), HF_TOKEN_VALID);
        hf_token_take_use(entry);
    }
    assert_int_equal(hf_token_verify(&keys, table, text, nowhere, NOW, &entry), HF_TOKEN_USED_UP);
    assert_int_equal(hf_token_uses_to_reserve(&entry->token), 0);
    hf_token_table_free(table);
    /* After a restart the table comes from the record alone: what was given out is gone. */
    token.uses_reserved = 2;
    table = test_table(&token, 0);
    assert_int_equal(hf_token_verify(&keys, table, text, nowhere, NOW, &entry), HF_TOKEN_USED_UP);
    hf_token_table_free(table);
}

/* All of a token's uses are given out in the end, in steps that grow with the token and stay small.
 */
static void test_steps_of_uses(void **state)
{
    static const uint64_t counts[] = {1, 2, 15, 16, 17, 1000, 100000, HF_AUTH_USES_MAX};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(counts); i++) {
        hf_token token = {.terms = {.max_uses = counts[i]}};
        for (int turn = 0; turn < 2000; turn++) {
            uint64_t step = hf_token_uses_to_reserve(&token);
            assert_true(step <= 256 && step <= counts[i] - token.uses_reserved);
            assert_true(step > 0 || token.uses_reserved == counts[i]);
            token.uses_reserved += step;
        }
        assert_true(token.uses_reserved == counts[i] || counts[i] > 256 * 2000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hmac_known_answer),
        cmocka_unit_test(test_the_text_fits_a_url),
        cmocka_unit_test(test_another_text_is_unknown),
        cmocka_unit_test(test_an_empty_table_knows_nobody),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_uses),
        cmocka_unit_test(test_steps_of_uses),
    };
    return cmocka_run_group_tests_name("auth tokens", tests, NULL, NULL);
}
