/* Rules from words: what is accepted, what is refused and with which sentence; and the two forms a
 * policy has outside, bytes and JSON. */
#include "policy/policy.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define KEY_A                                                                                      \
    "0x93247f2209abcacf57b75a51dafae777f9dd38bc7053d1af526f220a7489a6d3a2753e5f3e8b1cfe39b56f4361" \
    "1df"                                                                                          \
    "74a"
#define KEY_B                                                                                      \
    "0xa99a76ed7796f7be22d5b7e85deeb7c5677e88e511e0b337618f8c4eb61349b4bf2d153f649f7b53359fe8b94a" \
    "38e"                                                                                          \
    "44c"
#define ADDRESS "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"

typedef struct word {
    const char *member;
    const char *text;
} word;

#define WORDS_MAX 12
#define NAME "night"

static hf_status make(const word *words, hf_policy **ret_policy, hf_error *err)
{
    hf_policy *policy = NULL;
    hf_policy_rule *rule = NULL;
    hf_status st = hf_policy_new(NAME, &policy, err);
    assert_false(hf_failed(st));
    st = hf_policy_add_rule(policy, &rule, err);
    assert_false(hf_failed(st));
    for (size_t i = 0; words[i].member != NULL && !hf_failed(st); i++) {
        st = hf_policy_rule_put(rule, words[i].member, words[i].text, err);
    }
    if (!hf_failed(st)) {
        st = hf_policy_rule_finish(rule, err);
    }
    if (hf_failed(st)) {
        hf_policy_free(policy);
        return st;
    }
    *ret_policy = policy;
    return st;
}

static void names_of_scopes(void **state)
{
    (void)state;
    hf_scope scope = HF_SCOPE_COUNT;
    for (unsigned i = 0; i < HF_SCOPE_COUNT; i++) {
        assert_non_null(hf_policy_scope_name((hf_scope)i));
        assert_true(hf_policy_scope_parse(hf_policy_scope_name((hf_scope)i), &scope));
        assert_int_equal(scope, i);
    }
    assert_null(hf_policy_scope_name(HF_SCOPE_COUNT));
    assert_false(hf_policy_scope_parse("Sign", &scope));
    assert_false(hf_policy_scope_parse("", &scope));
}

static void names_of_policies(void **state)
{
    (void)state;
    hf_policy *policy = NULL;
    char longest[HF_POLICY_NAME_LEN + 1];
    memset(longest, 'a', sizeof longest);
    longest[HF_POLICY_NAME_LEN] = '\0';
    const char *const wrong[] = {"", "a b", "a.b", "a/b", "\xc3\xa4", longest};
    for (size_t i = 0; i < HF_ARRAY_LEN(wrong); i++) {
        assert_int_equal(hf_policy_new(wrong[i], &policy, NULL).code, HF_INVALID_INPUT);
    }
    longest[HF_POLICY_NAME_LEN - 1] = '\0';
    assert_false(hf_failed(hf_policy_new(longest, &policy, NULL)));
    hf_policy_free(policy);
}

typedef struct refused {
    word words[WORDS_MAX];
    const char *sentence; /* a part of it */
} refused;

static const refused refusals[] = {
    {{{"scopes", "sign"}}, "no effect"},
    {{{"effect", "permit"}}, "\"permit\" is no effect: allow or deny"},
    {{{"effect", "allow"}, {"effect", "deny"}}, "effect is given twice"},
    {{{"effect", "allow"}}, "no scopes"},
    {{{"effect", "allow"}, {"scopes", "Sign"}}, "\"Sign\" is no scope"},
    {{{"effect", "allow"}, {"colour", "red"}}, "\"colour\" is no member"},
    {{{"effect", "allow"}, {"scopes", "sign"}, {"operations", "*"}}, "needs keys or tags"},
    {{{"effect", "allow"}, {"scopes", "sign"}, {"keys", "*"}}, "needs operations"},
    {{{"effect", "allow"}, {"scopes", "*"}, {"operations", "*"}}, "needs keys or tags"},
    {{{"effect", "allow"}, {"scopes", "public_keys"}}, "needs keys or tags"},
    {{{"effect", "allow"}, {"scopes", "sign"}, {"operations", "ATTEST"}}, "is no operation"},
    {{{"effect", "allow"}, {"scopes", "duty"}, {"keys", "0x12"}}, "is no key"},
    {{{"effect", "allow"}, {"scopes", "duty"}, {"keys", ADDRESS "0"}}, "is no key"},
    {{{"effect", "allow"}, {"scopes", "duty"}, {"keys", KEY_A}, {"keys", KEY_A}}, "given twice"},
    {{{"effect", "allow"}, {"scopes", "duty"}, {"keys", KEY_A}, {"keys", "*"}},
     "other keys or tags"},
    {{{"effect", "allow"}, {"scopes", "duty"}, {"tags", "a"}, {"keys", "*"}}, "other keys or tags"},
    {{{"effect", "allow"}, {"scopes", "duty"}, {"tags", "a b"}}, "is no tag"},
    {{{"effect", "allow"}, {"scopes", "status"}, {"networks", "10.0.0.0/8"}}, "under addresses"},
    {{{"effect", "allow"}, {"scopes", "status"}, {"networks", "ma innet"}}, "no name of a network"},
    {{{"effect", "allow"}, {"scopes", "status"}, {"addresses", "10.0.0.1/8"}}, "behind its prefix"},
    {{{"effect", "allow"}, {"scopes", "status"}, {"addresses", "10.0.0.0/33"}}, "up to 32"},
    {{{"effect", "allow"}, {"scopes", "status"}, {"addresses", "fd00::/129"}}, "up to 128"},
    {{{"effect", "allow"}, {"scopes", "status"}, {"addresses", "localhost"}}, "no address range"},
    {{{"effect", "allow"}, {"scopes", "status"}, {"certificates", ""}}, "certificate's name"},
    {{{"effect", "allow"}, {"scopes", "status"}, {"certificates", "a\"b"}}, "certificate's name"},
    {{{"effect", "allow"}, {"scopes", "status"}, {"rate", "10"}}, "is no rate"},
    {{{"effect", "allow"}, {"scopes", "status"}, {"rate", "0/s"}}, "is no rate"},
    {{{"effect", "allow"}, {"scopes", "status"}, {"rate", "5/0s"}}, "is no rate"},
    {{{"effect", "allow"}, {"scopes", "status"}, {"rate", "5/50d"}}, "is no rate"},
    {{{"effect", "allow"}, {"scopes", "status"}, {"rate", "5/x"}}, "is no rate"},
    {{{"effect", "allow"}, {"scopes", "status"}, {"token_ttl", "soon"}}, "no length of time"},
    {{{"effect", "allow"}, {"scopes", "status"}, {"token_ttl", "0h"}}, "no length of time"},
    {{{"effect", "allow"}, {"scopes", "status"}, {"token_ttl", "h"}}, "no length of time"},
    {{{"effect", "deny"}, {"rate", "1/s"}}, "belong in allow rules"},
    {{{"effect", "deny"}, {"token_ttl", "1h"}}, "belong in allow rules"},
};

static void words_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(refusals); i++) {
        hf_policy *policy = NULL;
        hf_error err = {.code = HF_OK};
        assert_int_equal(make(refusals[i].words, &policy, &err).code, HF_INVALID_INPUT);
        if (strstr(err.msg, refusals[i].sentence) == NULL) {
            fail_msg("case %zu: \"%s\" has no \"%s\"", i, err.msg, refusals[i].sentence);
        }
        assert_null(policy);
    }
}

typedef struct printed {
    word words[WORDS_MAX];
    const char *json; /* of the rule */
} printed;

static const printed prints[] = {
    {{{"effect", "allow"},
      {"scopes", "status"},
      {"scopes", "sign"},
      {"operations", "BLOCK_V2"},
      {"operations", "attestation"},
      {"keys", KEY_B},
      {"keys", KEY_A},
      {"keys", ADDRESS}},
     "{\"effect\":\"allow\",\"scopes\":[\"sign\",\"status\"],\"operations\":[\"ATTESTATION\","
     "\"BLOCK_V2\"],\"keys\":[\"" ADDRESS "\",\"" KEY_A "\",\"" KEY_B "\"]}"},
    {{{"effect", "allow"}, {"scopes", "*"}, {"operations", "*"}, {"keys", "*"}},
     "{\"effect\":\"allow\",\"scopes\":[\"*\"],\"operations\":[\"*\"],\"keys\":[\"*\"]}"},
    {{{"effect", "deny"}, {"operations", "VOLUNTARY_EXIT"}},
     "{\"effect\":\"deny\",\"scopes\":[\"*\"],\"operations\":[\"VOLUNTARY_EXIT\"],\"keys\":[\"*\"]"
     "}"},
    {{{"effect", "allow"},
      {"scopes", "duty"},
      {"tags", "night"},
      {"networks", "hoodi"},
      {"addresses", "10.0.0.0/8"},
      {"addresses", "fd00::/8"},
      {"addresses", "::1"},
      {"certificates", "vc 1"},
      {"rate", "5/2m"},
      {"token_ttl", "30d"}},
     "{\"effect\":\"allow\",\"scopes\":[\"duty\"],\"tags\":[\"night\"],\"networks\":[\"hoodi\"],"
     "\"addresses\":[\"10.0.0.0/8\",\"fd00::/8\",\"::1/128\"],\"certificates\":[\"vc 1\"],"
     "\"rate\":\"5/120s\",\"token_ttl\":\"2592000s\"}"},
    {{{"effect", "allow"},
      {"scopes", "status"},
      {"networks", "*"},
      {"addresses", "*"},
      {"certificates", "*"}},
     "{\"effect\":\"allow\",\"scopes\":[\"status\"]}"},
};

static void bytes_and_json(void **state)
{
    (void)state;
    char expected[1024];
    for (size_t i = 0; i < HF_ARRAY_LEN(prints); i++) {
        hf_policy *policy = NULL;
        hf_policy *again = NULL;
        hf_error err = {.code = HF_OK};
        hf_buf *bytes = hf_buf_new(HF_POLICY_MAX_BYTES);
        hf_buf *json = hf_buf_new(HF_POLICY_MAX_BYTES);
        assert_non_null(bytes);
        assert_non_null(json);
        hf_status st = make(prints[i].words, &policy, &err);
        if (hf_failed(st)) {
            fail_msg("case %zu: %s", i, err.msg);
        }
        assert_false(hf_failed(hf_policy_encode(policy, bytes)));
        hf_bytes view = hf_bytes_from(hf_buf_peek(bytes), hf_buf_len(bytes));
        assert_false(hf_failed(hf_policy_decode(view, &again, &err)));
        assert_false(hf_failed(hf_policy_print_json(again, json)));
        (void)snprintf(expected, sizeof expected, "{\"name\":\"" NAME "\",\"rules\":[%s]}",
                       prints[i].json);
        assert_string_equal(hf_buf_text(json), expected);
        hf_policy_free(policy);
        hf_policy_free(again);
        hf_buf_free(bytes);
        hf_buf_free(json);
    }
}

/* No prefix of an encoding is one, nothing may follow it, and a changed byte that still decodes
 * gives what encodes to the changed bytes. */
static void bytes_have_one_form(void **state)
{
    (void)state;
    hf_policy *policy = NULL;
    hf_buf *bytes = hf_buf_new(HF_POLICY_MAX_BYTES);
    hf_buf *again = hf_buf_new(HF_POLICY_MAX_BYTES);
    uint8_t changed[4096];
    size_t decoded = 0;
    assert_false(hf_failed(make(prints[3].words, &policy, NULL)));
    assert_false(hf_failed(hf_policy_encode(policy, bytes)));
    hf_policy_free(policy);
    size_t len = hf_buf_len(bytes);
    assert_true(len < sizeof changed);
    memcpy(changed, hf_buf_peek(bytes), len);
    changed[len] = 0;
    for (size_t n = 0; n <= len + 1; n++) {
        if (n != len) {
            assert_int_equal(hf_policy_decode(hf_bytes_from(changed, n), &policy, NULL).code,
                             HF_INVALID_INPUT);
        }
    }
    for (size_t bit = 0; bit < 8 * len; bit++) {
        changed[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        if (!hf_failed(hf_policy_decode(hf_bytes_from(changed, len), &policy, NULL))) {
            hf_buf_reset(again);
            assert_false(hf_failed(hf_policy_encode(policy, again)));
            assert_int_equal(hf_buf_len(again), len);
            assert_memory_equal(hf_buf_peek(again), changed, len);
            hf_policy_free(policy);
            decoded++;
        }
        changed[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    assert_true(decoded > 0 && decoded < 8 * len);
    hf_buf_free(bytes);
    hf_buf_free(again);
}

static void bounds(void **state)
{
    (void)state;
    hf_policy *policy = NULL;
    hf_policy_rule *rule = NULL;
    hf_error err = {.code = HF_OK};
    char key[2 + 2 * HF_BLS_PUBKEY_BYTES + 1];
    assert_false(hf_failed(hf_policy_new("full", &policy, &err)));
    for (size_t i = 0; i < HF_POLICY_RULES_MAX; i++) {
        assert_false(hf_failed(hf_policy_add_rule(policy, &rule, &err)));
    }
    assert_int_equal(hf_policy_add_rule(policy, &rule, &err).code, HF_LIMIT);
    for (unsigned i = 0; i <= HF_POLICY_KEYS_MAX; i++) {
        (void)snprintf(key, sizeof key, "0x%096x", i);
        hf_status st = hf_policy_rule_put(rule, "keys", key, &err);
        assert_int_equal(st.code, i < HF_POLICY_KEYS_MAX ? HF_OK : HF_INVALID_INPUT);
    }
    assert_non_null(strstr(err.msg, "give them a tag"));
    hf_policy_free(policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_scopes),     cmocka_unit_test(names_of_policies),
        cmocka_unit_test(words_refused),       cmocka_unit_test(bytes_and_json),
        cmocka_unit_test(bytes_have_one_form), cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
