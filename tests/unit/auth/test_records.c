/* Tokens at rest: what is written is read back, and nothing else is. */
#include "tokens.h"

#include "crypto/crypto.h"

static hf_token full_token(const hf_auth_keys *keys)
{
    hf_token_terms terms = test_terms();
    hf_token token;
    char text[HF_AUTH_TEXT_LEN];
    test_source(&terms, "10.0.0.0/8");
    test_source(&terms, "2001:db8::/32");
    terms.policy_count = 2;
    memcpy(terms.policies[1], "propose", sizeof "propose");
    terms.expires_unix_ms = NOW + 5;
    terms.max_uses = 100;
    hf_token_make(keys, &terms, NOW, &token, text);
    token.uses_reserved = 7;
    return token;
}

static hf_token largest_token(const hf_auth_keys *keys)
{
    hf_token token = full_token(keys);
    hf_token_terms *terms = &token.terms;
    memset(terms->name, 'n', sizeof terms->name - 1);
    terms->policy_count = HF_AUTH_POLICIES_MAX;
    for (size_t i = 0; i < HF_AUTH_POLICIES_MAX; i++) {
        memset(terms->policies[i], 'a' + (int)i, sizeof terms->policies[i] - 1);
    }
    terms->source_count = HF_AUTH_SOURCES_MAX;
    for (size_t i = 0; i < HF_AUTH_SOURCES_MAX; i++) {
        assert_int_equal(hf_cidr_parse("2001:db8::1", &terms->sources[i], NULL).code, HF_OK);
    }
    return token;
}

static void expect_round_trip(const hf_auth_keys *keys, const hf_token *token)
{
    uint8_t record[HF_TOKEN_RECORD_MAX];
    hf_token back;
    size_t len = 0;
    hf_token_encode(keys, token, record, &len);
    assert_true(len <= sizeof record);
    memset(&back, 0xa5, sizeof back);
    assert_int_equal(
        hf_token_decode(keys, token->accessor, hf_bytes_from(record, len), &back, NULL).code,
        HF_OK);
    assert_memory_equal(&back, token, sizeof back);
}

static void test_round_trip(void **state)
{
    hf_auth_keys keys = test_keys(1);
    hf_token token = full_token(&keys);
    (void)state;
    expect_round_trip(&keys, &token);
    token = largest_token(&keys);
    expect_round_trip(&keys, &token);
    hf_token_terms bare = {.kind = HF_TOKEN_MANAGEMENT};
    char text[HF_AUTH_TEXT_LEN];
    hf_token_make(&keys, &bare, NOW, &token, text);
    expect_round_trip(&keys, &token);
}

static hf_code decode(const hf_auth_keys *keys, const char *accessor, const uint8_t *record,
                      size_t len)
{
    hf_token back = {.uses_reserved = 77};
    hf_error err = {0};
    hf_status st = hf_token_decode(keys, accessor, hf_bytes_from(record, len), &back, &err);
    assert_true(!hf_failed(st) || (back.uses_reserved == 77 && err.msg[0] != '\0'));
    return st.code;
}

/* Who can write to the database changes nothing of a token, and swaps none. */
static void test_every_change_is_found(void **state)
{
    hf_auth_keys keys = test_keys(1);
    hf_auth_keys others = test_keys(2);
    hf_token token = full_token(&keys);
    hf_token another = full_token(&keys);
    uint8_t record[HF_TOKEN_RECORD_MAX + 1] = {0};
    size_t len = 0;
    (void)state;
    hf_token_encode(&keys, &token, record, &len);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        record[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(decode(&keys, token.accessor, record, len), HF_CORRUPT);
        record[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    for (size_t cut = 0; cut < len; cut++) {
        assert_int_equal(decode(&keys, token.accessor, record, cut), HF_CORRUPT);
    }
    assert_int_equal(decode(&keys, token.accessor, record, len + 1), HF_CORRUPT);
    assert_int_equal(decode(&keys, token.accessor, record, sizeof record), HF_CORRUPT);
    assert_int_equal(decode(&keys, another.accessor, record, len), HF_CORRUPT);
    assert_int_equal(decode(&others, token.accessor, record, len), HF_CORRUPT);
    assert_int_equal(decode(&keys, token.accessor, record, len), HF_OK);
}

/* With the right MAC even: what is no sane token is none. */
static void expect_corrupt(const hf_auth_keys *keys, const hf_token *token)
{
    uint8_t record[HF_TOKEN_RECORD_MAX];
    size_t len = 0;
    hf_token_encode(keys, token, record, &len);
    assert_int_equal(decode(keys, token->accessor, record, len), HF_CORRUPT);
}

static void test_insane_tokens_are_refused(void **state)
{
    hf_auth_keys keys = test_keys(1);
    hf_token good = full_token(&keys);
    hf_token token;
    (void)state;
    token = good;
    token.terms.kind = 9;
    expect_corrupt(&keys, &token);
    token = good;
    token.uses_reserved = token.terms.max_uses + 1;
    expect_corrupt(&keys, &token);
    token = good;
    token.created_unix_ms = -1;
    expect_corrupt(&keys, &token);
    token = good;
    token.terms.policies[0][0] = '-';
    expect_corrupt(&keys, &token);
    token = good;
    token.terms.sources[0].bits = 200;
    expect_corrupt(&keys, &token);
    token = good;
    token.accessor[0] = 'X';
    expect_corrupt(&keys, &token);
}

/* Lengths inside, resealed: they lead nowhere outside of the record. */
static void test_inner_lengths(void **state)
{
    hf_auth_keys keys = test_keys(1);
    hf_token token = full_token(&keys);
    uint8_t record[HF_TOKEN_RECORD_MAX];
    size_t len = 0;
    (void)state;
    hf_token_encode(&keys, &token, record, &len);
    size_t body_len = len - HF_HMAC_BYTES;
    for (size_t at = 1; at < body_len; at++) {
        uint8_t changed[HF_TOKEN_RECORD_MAX];
        memcpy(changed, record, body_len);
        changed[at] = 0xff;
        const hf_bytes body = hf_bytes_from(changed, body_len);
        hf_hmac_sha256(keys.record, &body, 1, changed + body_len);
        hf_token back;
        hf_status st =
            hf_token_decode(&keys, token.accessor, hf_bytes_from(changed, len), &back, NULL);
        if (!hf_failed(st)) { /* a byte of the MAC or of an address may be anything */
            uint8_t again[HF_TOKEN_RECORD_MAX];
            size_t again_len = 0;
            hf_token_encode(&keys, &back, again, &again_len);
            assert_int_equal(again_len, len);
            assert_memory_equal(again, changed, len);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_change_is_found),
        cmocka_unit_test(test_insane_tokens_are_refused),
        cmocka_unit_test(test_inner_lengths),
    };
    return cmocka_run_group_tests_name("auth records", tests, NULL, NULL);
}
