/* The end of a JSON value, and the two members of a node's answer. */
#include "front/json_span.h"

typedef struct scan {
    const uint8_t *text;
    size_t len;
    size_t at;
    uint32_t depth;
    bool is_object[HF_JSON_SPAN_DEPTH]; /* of what is open; else an array */
} scan;

/* ---- bytes ------------------------------------------------------------------------------------
 */

static int peek(const scan *s)
{
    return s->at < s->len ? s->text[s->at] : -1;
}

static bool take(scan *s, int byte)
{
    bool is_there = peek(s) == byte;
    s->at += is_there;
    return is_there;
}

static void skip_space(scan *s)
{
    while (peek(s) == ' ' || peek(s) == '\t' || peek(s) == '\n' || peek(s) == '\r') {
        s->at++;
    }
}

static bool is_digit(int byte)
{
    return byte >= '0' && byte <= '9';
}

static bool take_digits(scan *s)
{
    size_t before = s->at;
    while (is_digit(peek(s))) {
        s->at++;
    }
    return s->at > before;
}

/* ---- values without others in them ------------------------------------------------------------
 */

static bool take_escape(scan *s)
{
    int byte = peek(s);
    s->at++;
    if (byte == 'u') {
        uint8_t unit[2];
        bool is_whole =
            s->len - s->at >= 4 &&
            !hf_failed(hf_hex_decode((const char *)s->text + s->at, 4, unit, sizeof unit));
        s->at += is_whole ? 4 : 0;
        return is_whole;
    }
    return byte > 0 && strchr("\"\\/bfnrt", byte) != NULL;
}

static bool take_string(scan *s)
{
    if (!take(s, '"')) {
        return false;
    }
    while (s->at < s->len) {
        uint8_t byte = s->text[s->at++];
        if (byte == '"') {
            return true;
        }
        if (byte < 0x20 || (byte == '\\' && (s->at == s->len || !take_escape(s)))) {
            return false;
        }
    }
    return false;
}

static bool take_number(scan *s)
{
    (void)take(s, '-');
    bool is_number = take(s, '0') || take_digits(s);
    if (is_number && take(s, '.')) {
        is_number = take_digits(s);
    }
    if (is_number && (take(s, 'e') || take(s, 'E'))) {
        (void)(take(s, '+') || take(s, '-'));
        is_number = take_digits(s);
    }
    return is_number;
}

static bool take_word(scan *s, const char *word)
{
    size_t len = strlen(word);
    bool is_there = s->len - s->at >= len && hf_bytes_equal(s->text + s->at, word, len);
    s->at += is_there ? len : 0;
    return is_there;
}

static bool take_plain(scan *s)
{
    switch (peek(s)) {
    case '"':
        return take_string(s);
    case 't':
        return take_word(s, "true");
    case 'f':
        return take_word(s, "false");
    case 'n':
        return take_word(s, "null");
    default:
        return take_number(s);
    }
}

/* ---- values with others in them ---------------------------------------------------------------
 */

static bool open_value(scan *s, bool is_object)
{
    if (s->depth == HF_JSON_SPAN_DEPTH) {
        return false;
    }
    s->is_object[s->depth++] = is_object;
    s->at++;
    skip_space(s);
    return true;
}

/* A member's name and the colon behind it, where the value is one of an object. */
static bool take_name(scan *s)
{
    if (s->depth == 0 || !s->is_object[s->depth - 1]) {
        return true;
    }
    if (!take_string(s)) {
        return false;
    }
    skip_space(s);
    bool has_colon = take(s, ':');
    skip_space(s);
    return has_colon;
}

/* Behind a value: closes what ends here. false: what follows is nothing that may. */
static bool close_values(scan *s, bool *ret_more)
{
    *ret_more = false;
    while (s->depth > 0) {
        skip_space(s);
        if (take(s, ',')) {
            skip_space(s);
            *ret_more = true;
            return true;
        }
        if (!take(s, s->is_object[s->depth - 1] ? '}' : ']')) {
            return false;
        }
        s->depth--;
    }
    return true;
}

static bool take_value(scan *s)
{
    bool more = true;
    while (more) {
        if (!take_name(s)) {
            return false;
        }
        int first = peek(s);
        if (first == '{' || first == '[') {
            if (!open_value(s, first == '{')) {
                return false;
            }
            if (peek(s) != (first == '{' ? '}' : ']')) {
                continue; /* its first value */
            }
        } else if (!take_plain(s)) {
            return false;
        }
        if (!close_values(s, &more)) {
            return false;
        }
    }
    return true;
}

hf_status hf_json_span_value(hf_bytes text, size_t *at, hf_bytes *ret_value)
{
    scan s = {.text = text.ptr, .len = text.len, .at = *at};
    skip_space(&s);
    size_t start = s.at;
    if (!take_value(&s)) {
        return (hf_status){HF_INVALID_INPUT};
    }
    *ret_value = hf_bytes_from(text.ptr + start, s.at - start);
    *at = s.at;
    return hf_ok();
}

/* ---- a node's answer --------------------------------------------------------------------------
 */

static bool is_text(hf_bytes value, const char *text)
{
    return value.len == strlen(text) && hf_bytes_equal(value.ptr, text, value.len);
}

/* Twice the same member could mean two things. null is no error: JSON-RPC 1.0 has both members. */
static bool note_member(hf_node_answer *answer, hf_bytes name, hf_bytes value)
{
    hf_bytes *place = is_text(name, "\"result\"")  ? &answer->result
                      : is_text(name, "\"error\"") ? &answer->error
                                                   : NULL;
    if (place == NULL || (place == &answer->error && is_text(value, "null"))) {
        return true;
    }
    bool is_first = place->len == 0;
    *place = value;
    return is_first;
}

static bool read_members(scan *s, hf_bytes text, hf_node_answer *answer)
{
    skip_space(s);
    bool more = take(s, '{');
    while (more) {
        hf_bytes name;
        hf_bytes value;
        skip_space(s);
        size_t start = s->at;
        if (!take_string(s)) {
            return false;
        }
        name = hf_bytes_from(text.ptr + start, s->at - start);
        skip_space(s);
        if (!take(s, ':') || hf_failed(hf_json_span_value(text, &s->at, &value)) ||
            !note_member(answer, name, value)) {
            return false;
        }
        skip_space(s);
        more = take(s, ',');
    }
    bool is_closed = take(s, '}');
    skip_space(s);
    return is_closed && s->at == s->len;
}

hf_status hf_node_answer_read(hf_bytes text, hf_node_answer *ret_answer)
{
    scan s = {.text = text.ptr, .len = text.len};
    hf_node_answer answer = {.result = {.len = 0}};
    if (!read_members(&s, text, &answer)) {
        return (hf_status){HF_INVALID_INPUT};
    }
    if (answer.error.len > 0) {
        answer.result = hf_bytes_from(NULL, 0); /* JSON-RPC 1.0: null beside it */
    }
    if (answer.error.len > 0 ? answer.error.ptr[0] != '{' : answer.result.len == 0) {
        return (hf_status){HF_INVALID_INPUT};
    }
    *ret_answer = answer;
    return hf_ok();
}
