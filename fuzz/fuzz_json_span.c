/*
 * What a node answers, and where values of JSON end in it. What a full parser takes is taken, too;
 * both find the same result or error; and what is handed on is one value, from inside the text.
 */
#include "front/json_span.h"

#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* NULL: not one value. jansson passes over a NUL byte behind a number, so that it is not asked. */
static json_t *parse(hf_bytes text)
{
    size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES;
    bool has_nul = text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL;
    return has_nul ? NULL : json_loadb((const char *)text.ptr, text.len, flags, NULL);
}

/* How deep it could be at the most. */
static size_t count_opened(hf_bytes text)
{
    size_t opened = 0;
    for (size_t i = 0; i < text.len; i++) {
        opened += text.ptr[i] == '[' || text.ptr[i] == '{';
    }
    return opened;
}

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* A value reaches from its first byte to its last, and alone it reads the same. */
static void check_value(hf_bytes text, hf_bytes value)
{
    hf_bytes again;
    size_t at = 0;
    HF_ASSERT(value.len > 0 && value.ptr >= text.ptr &&
              value.ptr + value.len <= text.ptr + text.len);
    HF_ASSERT(!is_space(value.ptr[0]) && !is_space(value.ptr[value.len - 1]));
    HF_ASSERT(!hf_failed(hf_json_span_value(value, &at, &again)));
    HF_ASSERT(at == value.len && again.ptr == value.ptr && again.len == value.len);
}

static void check_span(hf_bytes text, bool is_json)
{
    hf_bytes value;
    size_t at = 0;
    if (hf_failed(hf_json_span_value(text, &at, &value))) {
        HF_ASSERT(!is_json || count_opened(text) > HF_JSON_SPAN_DEPTH);
        return;
    }
    HF_ASSERT(at <= text.len && value.ptr + value.len == text.ptr + at);
    check_value(text, value);
    for (; is_json && at < text.len; at++) {
        HF_ASSERT(is_space(text.ptr[at]));
    }
}

static void check_answer(hf_bytes text, const json_t *whole)
{
    hf_node_answer answer;
    if (hf_failed(hf_node_answer_read(text, &answer))) {
        return;
    }
    bool is_error = answer.error.len > 0;
    hf_bytes value = is_error ? answer.error : answer.result;
    HF_ASSERT(!is_error || (answer.result.len == 0 && value.ptr[0] == '{'));
    check_value(text, value);
    if (whole != NULL) {
        json_t *alone = parse(value);
        HF_ASSERT(json_equal(alone, json_object_get(whole, is_error ? "error" : "result")) == 1);
        json_decref(alone);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hf_bytes text = hf_bytes_from(data, size);
    json_t *whole = parse(text);
    check_span(text, whole != NULL);
    check_answer(text, whole);
    json_decref(whole);
    return 0;
}
