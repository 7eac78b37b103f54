/* The reader against jansson: what it takes and refuses, and what it says. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "front/codec_json.h"

static hf_status parse(const char *text, size_t len, hf_error *err)
{
    /* a copy of exactly this length: a byte beyond would be seen by a sanitizer */
    hf_json json;
    char *exact = malloc(len == 0 ? 1 : len);
    assert_non_null(exact);
    memcpy(exact, text, len);
    hf_status st = hf_json_parse(hf_bytes_from(exact, len), &json, err);
    hf_json_done(&json);
    free(exact);
    return st;
}

static bool jansson_takes(const char *text, size_t len)
{
    json_t *value = json_loadb(
        text, len,
        JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
    json_decref(value);
    return value != NULL;
}

static const char *const good[] = {
    "{}",
    "[]",
    " { } ",
    "\t\r\n[ ]\n",
    "0",
    "-0",
    "1.5e+10",
    "-12E-3",
    "18446744073709551615",
    "true",
    "false",
    "null",
    "\"\"",
    "\"plain text of some length, with spaces\"",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"",
    "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \x7f\"",
    "[1,2,[3,[4,{}]],{\"a\":[]}]",
    "{\"a\":1,\"b\":{\"a\":2,\"c\":[{\"a\":3},{\"a\":4}]}}",
    "{\"\":0}",
};

static const char *const bad[] = {
    "",
    " ",
    "{",
    "}",
    "[",
    "]",
    "{]",
    "[}",
    "[1,]",
    "[,1]",
    "[1 2]",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\" 1}",
    "{a:1}",
    "{\"a\":1,}",
    "{,}",
    "{1:2}",
    "\"",
    "\"a",
    "\"\\",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\\u12g4\"",
    "\"\n\"",
    "\"\x01\"",
    "\"\x1f\"",
    "\"\xff\"",
    "\"\xc3\"",
    "\"\xc0\xaf\"",
    "\"\xe2\x82\"",
    "\"\xed\xa0\x80\"",
    "\"\xf4\x90\x80\x80\"",
    "\"\xf0\x80\x80\x80\"",
    "\"\xe0\x80\x80\"",
    "01",
    "-",
    "-a",
    "1.",
    ".5",
    "1e",
    "1e+",
    "+1",
    "0x10",
    "1_000",
    "NaN",
    "Infinity",
    "tru",
    "True",
    "nul",
    "falsee",
    "'a'",
    "{} {}",
    "[] 1",
    "1 1",
    "{\"a\":1}x",
    "// c\n1",
    "[1/**/]",
    "\xef\xbb\xbf{}",
    "{\"a\":1,\"a\":1}",
    "[{\"b\":{\"a\":1,\"c\":[],\"a\":2}}]",
};

static void test_agrees_with_jansson(void **state)
{
    (void)state;
    hf_error err;
    for (size_t i = 0; i < HF_ARRAY_LEN(good); i++) {
        if (hf_failed(parse(good[i], strlen(good[i]), &err))) {
            fail_msg("refused %s: %s", good[i], err.msg);
        }
        assert_true(jansson_takes(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        hf_status st = parse(bad[i], strlen(bad[i]), &err);
        if (st.code != HF_INVALID_INPUT) {
            fail_msg("took %s", bad[i]);
        }
        assert_false(jansson_takes(bad[i], strlen(bad[i])));
    }
    /* a NUL is a control character inside a string, and nothing outside */
    assert_int_equal(parse("\"a\0b\"", 5, &err).code, HF_INVALID_INPUT);
    assert_int_equal(parse("1\0", 2, &err).code, HF_INVALID_INPUT);
}

/* Random edits of a request: whatever this reader takes, jansson takes too; and the other way round
 * but for what is stricter here, which the edits' alphabet leaves out. */
static void test_random_edits(void **state)
{
    (void)state;
    static const char seed_text[] = "{\"type\":\"A\",\"n\":[0,-1.5e3,true,null],\"o\":{\"k\":"
                                    "\"\\n\",\"e\":{}},\"s\":\"0x00ff\"}";
    static const char alphabet[] = "{}[]\":,0129-.e+tfnulrs \\\n\x01\xc3\xa9";
    uint64_t random = 88172645463325252U;
    unsigned taken = 0;
    for (unsigned turn = 0; turn < 40000; turn++) {
        char text[sizeof seed_text];
        memcpy(text, seed_text, sizeof text);
        size_t len = sizeof text - 1;
        for (unsigned edits = 0; edits < 1 + turn % 3; edits++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            text[random % len] = alphabet[(random >> 32) % (sizeof alphabet - 1)];
        }
        hf_error err;
        hf_status st = parse(text, len, &err);
        bool other = jansson_takes(text, len);
        bool escape_in_name = strstr(err.msg, "escape in the name") != NULL;
        if (hf_failed(st) == other && !(hf_failed(st) && escape_in_name)) {
            fail_msg("turn %u: %s: %.*s", turn, hf_failed(st) ? err.msg : "taken", (int)len, text);
        }
        taken += hf_failed(st) ? 0 : 1;
    }
    assert_true(taken > 500);
}

static void expect_error(const char *text, size_t len, const char *message)
{
    hf_error err = {0};
    assert_int_equal(parse(text, len, &err).code, HF_INVALID_INPUT);
    assert_string_equal(err.msg, message);
}

static void test_limits(void **state)
{
    (void)state;
    static char text[8 * HF_JSON_MAX_VALUES];
    hf_error err;

    memset(text, '[', HF_JSON_MAX_DEPTH);
    memset(text + HF_JSON_MAX_DEPTH, ']', HF_JSON_MAX_DEPTH);
    assert_int_equal(parse(text, (size_t)2 * HF_JSON_MAX_DEPTH, &err).code, HF_OK);
    memset(text, '[', sizeof text);
    hf_status st = parse(text, sizeof text, &err);
    assert_int_equal(st.code, HF_INVALID_INPUT);
    assert_non_null(strstr(err.msg, "nested deeper than any request"));

    size_t len = 0;
    text[len++] = '{';
    for (unsigned i = 0; i < HF_JSON_MAX_MEMBERS; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s\"m%u\":0", i == 0 ? "" : ",", i);
    }
    text[len] = '}';
    assert_int_equal(parse(text, len + 1, &err).code, HF_OK);
    len += (size_t)snprintf(text + len, sizeof text - len, ",\"more\":0}");
    st = parse(text, len, &err);
    assert_int_equal(st.code, HF_INVALID_INPUT);
    assert_non_null(strstr(err.msg, "more members"));

    /* one value is the array itself */
    memset(text, '0', sizeof text);
    for (size_t i = 0; i < sizeof text; i += 2) {
        text[i] = ',';
    }
    text[0] = '[';
    text[2 * (HF_JSON_MAX_VALUES - 1)] = ']';
    assert_int_equal(parse(text, 2 * (HF_JSON_MAX_VALUES - 1) + 1, &err).code, HF_OK);
    text[2 * (HF_JSON_MAX_VALUES - 1)] = ',';
    text[2 * HF_JSON_MAX_VALUES] = ']';
    st = parse(text, 2 * (size_t)HF_JSON_MAX_VALUES + 1, &err);
    assert_int_equal(st.code, HF_INVALID_INPUT);
    assert_non_null(strstr(err.msg, "more values"));
}

static void test_messages(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"", "body: the body is empty (byte 0 of the body)"},
        {"{\"a\":1", "a: the body ends in the middle (byte 6 of the body)"},
        {"{\"type\":\"A\",\"type\":\"B\"}", "type: given twice (byte 18 of the body)"},
        {"{\"x\":1,\"fork_info\":{\"fork\":{\"epoch\":\"1\",\"epoch\":\"2\"}}}",
         "fork_info.fork.epoch: given twice (byte 47 of the body)"},
        {"{\"a\":[{\"b\":1},{\"b\":tru}]}", "a[1].b: a value that is none (byte 19 of the body)"},
        {"{\"a\":01}", "a: a malformed number (byte 7 of the body)"},
        {"{\"<script>\":01}", "?: a malformed number (byte 14 of the body)"},
        {"{\"a\\u0062\":1}", "?: an escape in the name of a member (byte 10 of the body)"},
        {"[1,2,", "[2]: the body ends in the middle (byte 5 of the body)"},
        {"{} {}", "body: something follows the object (byte 3 of the body)"},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        expect_error(cases[i].text, strlen(cases[i].text), cases[i].message);
    }
}

static void test_values(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":{\"b\":[1,{\"c\":\"x\"}]},\"d\":\"Text\"}";
    hf_json json;
    hf_error err;
    assert_int_equal(hf_json_parse(hf_bytes_from(text, sizeof text - 1), &json, &err).code, HF_OK);
    uint32_t a = hf_json_member(&json, 0, "a", 1);
    uint32_t b = hf_json_member(&json, a, "b", 1);
    uint32_t d = hf_json_member(&json, 0, "d", 1);
    assert_true(a != 0 && b != 0 && d != 0);
    assert_int_equal(json.values[0].len, 2);
    assert_int_equal(json.values[b].len, 2);
    assert_true(hf_json_is(&json, b + 1, HF_JSON_NUMBER));
    assert_true(hf_json_is(&json, b + 2, HF_JSON_OBJECT));
    assert_int_equal(json.values[0].next, json.count);
    assert_true(hf_json_is_text(&json, d, "tEXT"));
    assert_false(hf_json_is_text(&json, d, "Tex"));
    assert_false(hf_json_is_text(&json, b, ""));
    assert_int_equal(hf_json_member(&json, 0, "b", 1), 0);
    assert_int_equal(hf_json_member(&json, b, "c", 1), 0);
    hf_json_done(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_jansson),
        cmocka_unit_test(test_random_edits),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
