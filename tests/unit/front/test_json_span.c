/* Where JSON values end, and what in a node's answer is its result. */
#include "front/json_span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

/* In memory of exactly its length, so that a sanitizer sees a byte too far. */
static hf_bytes exact(const char *text, size_t len)
{
    uint8_t *copy = malloc(len + (len == 0));
    assert_non_null(copy);
    memcpy(copy, text, len);
    return hf_bytes_from(copy, len);
}

static bool is_value(const char *text, size_t len)
{
    hf_bytes whole = exact(text, len);
    hf_bytes value;
    size_t at = 0;
    bool is_one = !hf_failed(hf_json_span_value(whole, &at, &value)) && at == len;
    free((void *)(uintptr_t)whole.ptr);
    return is_one;
}

static void values_of_every_kind_end_where_they_end(void **state)
{
    static const char *const good[] = {"{}",
                                       "[]",
                                       "0",
                                       "-0.5e+10",
                                       "1E2",
                                       "\"\"",
                                       "\"\\u00e9\\\\\\\"\"",
                                       "true",
                                       "null",
                                       "[[]]",
                                       "[{}]",
                                       "[ 1 , 2 ]",
                                       "{ \"a\" : [ ] , \"b\" : { \"c\" : null } }",
                                       "[{},[],{\"a\":[{}]}]",
                                       " \t\r\n7"};
    static const char *const bad[] = {
        "",        "{",       "[",        "]",          "{]",   "[}",  "[1,]",    "[,1]",
        "[1 2]",   "{\"a\"}", "{1:2}",    "{\"a\":1,}", "{,}",  "01",  "-",       "1.",
        "1e",      ".5",      "+1",       "nul",        "True", "\"",  "\"\\x\"", "\"\\u12g4\"",
        "\"\\u12", "\"\\",    "\"a\nb\"", "'a'",        "[1]]", "{}{}"};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(good); i++) {
        assert_true(is_value(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        assert_false(is_value(bad[i], strlen(bad[i])));
    }
}

static void depth_is_bounded(void **state)
{
    char text[2 * HF_JSON_SPAN_DEPTH + 2];
    (void)state;
    memset(text, '[', HF_JSON_SPAN_DEPTH);
    memset(text + HF_JSON_SPAN_DEPTH, ']', HF_JSON_SPAN_DEPTH);
    assert_true(is_value(text, 2 * HF_JSON_SPAN_DEPTH));
    memset(text, '[', HF_JSON_SPAN_DEPTH + 1);
    memset(text + HF_JSON_SPAN_DEPTH + 1, ']', HF_JSON_SPAN_DEPTH + 1);
    assert_false(is_value(text, 2 * HF_JSON_SPAN_DEPTH + 2));
}

/* Whatever jansson calls JSON is JSON here, and the other way round, over texts near to it. */
static void another_reader_agrees(void **state)
{
    static const char letters[] = "{}[]\",:0-1.eE \\untrueals";
    uint64_t seed = 20260521;
    unsigned agreed = 0;
    (void)state;
    for (int i = 0; i < 60000; i++) {
        char text[12];
        size_t len = 1 + (size_t)i % sizeof text;
        for (size_t j = 0; j < len; j++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
            text[j] = letters[(seed >> 33) % (sizeof letters - 1)];
        }
        if (memchr(text, '\\', len) != NULL || text[len - 1] == ' ') {
            continue; /* jansson looks into escapes, and takes space behind */
        }
        json_t *root = json_loadb(text, len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
        assert_int_equal(root != NULL, is_value(text, len));
        agreed += root != NULL;
        json_decref(root);
    }
    assert_true(agreed > 100);
}

static void expect_answer(const char *text, const char *result, const char *error)
{
    hf_node_answer answer;
    hf_bytes whole = exact(text, strlen(text));
    bool is_read = !hf_failed(hf_node_answer_read(whole, &answer));
    assert_int_equal(is_read, result != NULL || error != NULL);
    if (result != NULL) {
        assert_int_equal(answer.error.len, 0);
        assert_int_equal(answer.result.len, strlen(result));
        assert_memory_equal(answer.result.ptr, result, strlen(result));
    }
    if (error != NULL) {
        assert_int_equal(answer.result.len, 0);
        assert_int_equal(answer.error.len, strlen(error));
        assert_memory_equal(answer.error.ptr, error, strlen(error));
    }
    free((void *)(uintptr_t)whole.ptr);
}

static void an_answer_is_a_result_or_an_error(void **state)
{
    (void)state;
    expect_answer("{\"result\":1}", "1", NULL);
    expect_answer(" {\"id\":1 , \"result\" : { \"error\":[2] } ,\"x\":[]} \n", "{ \"error\":[2] }",
                  NULL);
    expect_answer("{\"result\":null,\"error\":null}", "null", NULL);
    expect_answer("{\"result\":null,\"error\":{\"code\":3}}", NULL, "{\"code\":3}");
    expect_answer("{\"error\":{}}", NULL, "{}");
    expect_answer("", NULL, NULL);
    expect_answer("{}", NULL, NULL);
    expect_answer("[{\"result\":1}]", NULL, NULL);
    expect_answer("{\"result\":1", NULL, NULL);
    expect_answer("{\"result\":1,}", NULL, NULL);
    expect_answer("{\"result\":1}}", NULL, NULL);
    expect_answer("{\"result\":1},{\"result\":2}", NULL, NULL);
    expect_answer("{\"result\":1,\"result\":2}", NULL, NULL);
    expect_answer("{\"error\":\"text\"}", NULL, NULL);
    expect_answer("{\"error\":null}", NULL, NULL);
    expect_answer("<h1>401</h1>", NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_kind_end_where_they_end),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(another_reader_agrees),
        cmocka_unit_test(an_answer_is_a_result_or_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
