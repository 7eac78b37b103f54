/*
 * Whether a text is a token's: no branch and no address depends on the text's secret, on the key or
 * on the MAC that is kept. Under valgrind their bytes count as undefined, and memcheck reports each
 * decision that they reach (Langley's ctgrind). Without valgrind it shows the same as test_tokens.
 */
#include "tokens.h"

#include "auth/auth_internal.h"

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define VALGRIND_MAKE_MEM_UNDEFINED(ptr, len) ((void)(ptr), (void)(len))
#define VALGRIND_MAKE_MEM_DEFINED(ptr, len) ((void)(ptr), (void)(len))
#endif

static bool match(hf_auth_keys keys, hf_token_table *table, const char *text)
{
    char shown[HF_AUTH_TEXT_LEN];
    hf_token_entry *entry = NULL;
    memcpy(shown, text, sizeof shown);
    VALGRIND_MAKE_MEM_UNDEFINED(&keys, sizeof keys);
    VALGRIND_MAKE_MEM_UNDEFINED(shown + HF_AUTH_TEXT_CHARS - HF_AUTH_SECRET_CHARS,
                                HF_AUTH_SECRET_CHARS);
    assert_true(hf_token_text_is_sane(shown)); /* looks at the public half alone */
    bool is_match = hf_auth_match(&keys, table, shown, &entry);
    VALGRIND_MAKE_MEM_DEFINED(&is_match, sizeof is_match);
    return is_match;
}

static void test_match(void **state)
{
    hf_auth_keys keys = test_keys(3);
    hf_token_terms terms = test_terms();
    hf_token token;
    hf_token stranger;
    char text[HF_AUTH_TEXT_LEN];
    char unknown[HF_AUTH_TEXT_LEN];
    (void)state;
    hf_token_make(&keys, &terms, NOW, &token, text);
    hf_token_make(&keys, &terms, NOW, &stranger, unknown);
    hf_token_table *table = test_table(&token, 0);
    VALGRIND_MAKE_MEM_UNDEFINED(hf_token_table_at(table, 0)->token.mac, sizeof token.mac);
    assert_true(match(keys, table, text));
    for (size_t i = HF_AUTH_TEXT_CHARS - HF_AUTH_SECRET_CHARS; i < HF_AUTH_TEXT_CHARS; i++) {
        text[i] ^= 4; /* wrong from the first character on, or in the last alone */
        assert_false(match(keys, table, text));
        text[i] ^= 4;
    }
    assert_false(match(keys, table, unknown));
    hf_token_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_match)};
    return cmocka_run_group_tests_name("auth constant time", tests, NULL, NULL);
}
