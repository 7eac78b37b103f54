/* One pass over the bytes, no recursion: the open containers are a small stack of indexes. */
#include "front/codec_json.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct parser {
    hf_json *json;
    const uint8_t *text;
    size_t len;
    size_t at;
    unsigned depth;
    uint32_t open[HF_JSON_MAX_DEPTH];
    const char *problem; /* NULL while all is well */
    bool no_memory;
} parser;

static bool fail(parser *p, const char *problem)
{
    p->problem = problem;
    return false;
}

static void skip_space(parser *p)
{
    while (p->at < p->len) {
        uint8_t c = p->text[p->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
            return;
        }
        p->at++;
    }
}

static bool grow(parser *p)
{
    hf_json *json = p->json;
    if (json->capacity >= HF_JSON_MAX_VALUES) {
        return fail(p, "more values than any request has");
    }
    uint32_t capacity = json->capacity * 4;
    if (capacity > HF_JSON_MAX_VALUES) {
        capacity = HF_JSON_MAX_VALUES;
    }
    bool inside = json->values == json->first;
    hf_json_value *values = realloc(inside ? NULL : json->values, capacity * sizeof *values);
    if (values == NULL) {
        p->no_memory = true;
        return fail(p, "out of memory");
    }
    if (inside) {
        memcpy(values, json->first, sizeof json->first);
    }
    json->values = values;
    json->capacity = capacity;
    return true;
}

static bool push(parser *p, hf_json_kind kind, size_t start, size_t len)
{
    hf_json *json = p->json;
    if (json->count == json->capacity && !grow(p)) {
        return false;
    }
    json->values[json->count] = (hf_json_value){.start = (uint32_t)start,
                                                .len = (uint32_t)len,
                                                .next = json->count + 1,
                                                .kind = (uint32_t)kind};
    json->count++;
    return true;
}

/* Length of the well-formed UTF-8 sequence at p (RFC 3629: no overlong form, no surrogate), or 0.
 */
static size_t utf8_len(const uint8_t *text, size_t left)
{
    uint8_t lead = text[0];
    size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || left < len) {
        return 0;
    }
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (text[1] < low || text[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

static bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* at stands on the backslash. */
static bool skip_escape(parser *p)
{
    size_t left = p->len - p->at;
    if (left < 2) {
        return fail(p, "a string has no end");
    }
    uint8_t c = p->text[p->at + 1];
    if (c == 'u') {
        for (size_t i = 2; i < 6; i++) {
            if (i >= left || !is_hex(p->text[p->at + i])) {
                return fail(p, "a malformed escape");
            }
        }
        p->at += 6;
        return true;
    }
    if (c == '\0' || strchr("\"\\/bfnrt", c) == NULL) {
        return fail(p, "a malformed escape");
    }
    p->at += 2;
    return true;
}

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* Is one of these eight bytes a quote, a backslash, a control code or beyond ASCII? */
static bool has_special(uint64_t word)
{
    uint64_t quote = word ^ EACH_BYTE('"');
    uint64_t backslash = word ^ EACH_BYTE('\\');
    uint64_t found = word; /* beyond ASCII */
    found |= word - EACH_BYTE(0x20);
    found |= quote - EACH_BYTE(1);
    found |= backslash - EACH_BYTE(1);
    return (found & EACH_BYTE(0x80)) != 0;
}

/* Eight bytes at a time while they are plain. False alarms cost time only. */
static void skip_plain(parser *p)
{
    while (p->len - p->at >= sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, p->text + p->at, sizeof word);
        if (has_special(word)) {
            return;
        }
        p->at += sizeof word;
    }
}

/* at stands behind the opening quote, and ends behind the closing one. */
static bool scan_string(parser *p)
{
    size_t start = p->at;
    hf_json_kind kind = HF_JSON_STRING;
    skip_plain(p);
    while (p->at < p->len) {
        uint8_t c = p->text[p->at];
        if (c == '"') {
            p->at++;
            return push(p, kind, start, p->at - 1 - start);
        }
        if (c == '\\') {
            kind = HF_JSON_ESCAPED;
            if (!skip_escape(p)) {
                return false;
            }
        } else if (c >= 0x80) {
            size_t len = utf8_len(p->text + p->at, p->len - p->at);
            if (len == 0) {
                return fail(p, "text that is not UTF-8");
            }
            p->at += len;
        } else if (c < 0x20) {
            return fail(p, "a control character in a string");
        } else {
            p->at++;
        }
    }
    return fail(p, "a string has no end");
}

static size_t skip_digits(parser *p)
{
    size_t start = p->at;
    while (p->at < p->len && p->text[p->at] >= '0' && p->text[p->at] <= '9') {
        p->at++;
    }
    return p->at - start;
}

static bool scan_number(parser *p)
{
    size_t start = p->at;
    if (p->text[p->at] == '-') {
        p->at++;
    }
    bool leading_zero = p->at < p->len && p->text[p->at] == '0';
    size_t digits = skip_digits(p);
    if (digits == 0 || (leading_zero && digits > 1)) {
        return fail(p, "a malformed number");
    }
    if (p->at < p->len && p->text[p->at] == '.') {
        p->at++;
        if (skip_digits(p) == 0) {
            return fail(p, "a malformed number");
        }
    }
    if (p->at < p->len && (p->text[p->at] | 0x20) == 'e') {
        p->at++;
        if (p->at < p->len && (p->text[p->at] == '+' || p->text[p->at] == '-')) {
            p->at++;
        }
        if (skip_digits(p) == 0) {
            return fail(p, "a malformed number");
        }
    }
    return push(p, HF_JSON_NUMBER, start, p->at - start);
}

static bool scan_word(parser *p, const char *word, hf_json_kind kind)
{
    size_t len = strlen(word);
    if (p->len - p->at < len || !hf_bytes_equal(p->text + p->at, word, len)) {
        return fail(p, "a value that is none");
    }
    p->at += len;
    return push(p, kind, p->at - len, len);
}

static bool open_container(parser *p, hf_json_kind kind)
{
    if (p->depth == HF_JSON_MAX_DEPTH) {
        return fail(p, "nested deeper than any request");
    }
    uint32_t index = p->json->count;
    if (!push(p, kind, p->at, 0)) {
        return false;
    }
    p->open[p->depth++] = index;
    p->at++;
    return true;
}

/* Is the name just read, the last value, that of an earlier member? */
static bool is_repeated(const hf_json *json, uint32_t object)
{
    const hf_json_value *values = json->values;
    const hf_json_value *name = &values[json->count - 1];
    for (uint32_t i = object + 1; i < json->count - 1; i = values[i + 1].next) {
        if (values[i].len == name->len &&
            hf_bytes_equal(json->text + values[i].start, json->text + name->start, name->len)) {
            return true;
        }
    }
    return false;
}

/* The name of a member and its colon. */
static bool scan_name(parser *p)
{
    hf_json *json = p->json;
    uint32_t object = p->open[p->depth - 1];
    skip_space(p);
    if (p->at >= p->len || p->text[p->at] != '"') {
        return fail(p, "the name of a member is missing");
    }
    p->at++;
    if (!scan_string(p)) {
        return false;
    }
    if (json->values[json->count - 1].kind == HF_JSON_ESCAPED) {
        return fail(p, "an escape in the name of a member");
    }
    if (++json->values[object].len > HF_JSON_MAX_MEMBERS) {
        return fail(p, "an object with more members than any request has");
    }
    if (is_repeated(json, object)) {
        return fail(p, "given twice");
    }
    skip_space(p);
    if (p->at >= p->len || p->text[p->at] != ':') {
        return fail(p, "a colon is missing");
    }
    p->at++;
    return true;
}

static void close_container(parser *p)
{
    p->depth--;
    p->json->values[p->open[p->depth]].next = p->json->count;
    p->at++;
}

/* One value, or the opening of one. *ret_more: a container was opened and is not empty. */
static bool scan_value(parser *p, bool *ret_more)
{
    *ret_more = false;
    skip_space(p);
    if (p->at >= p->len) {
        return fail(p, p->len == 0 ? "the body is empty" : "the body ends in the middle");
    }
    uint8_t c = p->text[p->at];
    switch (c) {
    case '{':
    case '[':
        if (!open_container(p, c == '{' ? HF_JSON_OBJECT : HF_JSON_ARRAY)) {
            return false;
        }
        skip_space(p);
        if (p->at < p->len && p->text[p->at] == (c == '{' ? '}' : ']')) {
            close_container(p);
            return true;
        }
        *ret_more = true;
        return true;
    case '"':
        p->at++;
        return scan_string(p);
    case 't':
        return scan_word(p, "true", HF_JSON_TRUE);
    case 'f':
        return scan_word(p, "false", HF_JSON_FALSE);
    case 'n':
        return scan_word(p, "null", HF_JSON_NULL);
    default:
        if (c == '-' || (c >= '0' && c <= '9')) {
            return scan_number(p);
        }
        return fail(p, "a value that is none");
    }
}

/* Before a value inside the open container: an object's member needs its name, an array counts. */
static bool begin_child(parser *p)
{
    hf_json_value *container = &p->json->values[p->open[p->depth - 1]];
    if (container->kind == HF_JSON_OBJECT) {
        return scan_name(p);
    }
    container->len++;
    return true;
}

/* Behind a complete value: closes what ends here. False at the end of all, or on a problem. */
static bool next_child(parser *p)
{
    while (p->depth > 0) {
        skip_space(p);
        bool is_object = p->json->values[p->open[p->depth - 1]].kind == HF_JSON_OBJECT;
        uint8_t c = p->at < p->len ? p->text[p->at] : 0;
        if (c == ',') {
            p->at++;
            return begin_child(p);
        }
        if (c != (is_object ? '}' : ']')) {
            return fail(p, p->at < p->len ? "a comma or a closing bracket is missing"
                                          : "the body ends in the middle");
        }
        close_container(p);
    }
    return false;
}

static void parse_all(parser *p)
{
    bool more = false;
    do {
        if (!scan_value(p, &more)) {
            return;
        }
    } while (more ? begin_child(p) : next_child(p));
    if (p->problem != NULL) {
        return;
    }
    skip_space(p);
    if (p->at < p->len) {
        (void)fail(p, "something follows the object");
    }
}

/* Names are the client's bytes: only what a known name is made of goes into an error. */
static bool is_plain_name(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_')) {
            return false;
        }
    }
    return len > 0 && len <= 40;
}

/* Index of the last name in an object all of whose members are complete or scalar, or the object.
 */
static uint32_t last_name(const hf_json *json, uint32_t object)
{
    uint32_t last = object;
    for (uint32_t i = object + 1; i < json->count; i = json->values[i + 1].next) {
        last = i;
        if (i + 1 >= json->count) {
            break;
        }
    }
    return last;
}

/* The dotted path of the value under way, from the open containers. */
static void path_of(const parser *p, char *out, size_t out_len)
{
    const hf_json *json = p->json;
    size_t used = 0;
    out[0] = '\0';
    for (unsigned d = 0; d < p->depth; d++) {
        const hf_json_value *container = &json->values[p->open[d]];
        int n;
        if (container->kind == HF_JSON_ARRAY) {
            n = snprintf(out + used, out_len - used, "[%u]", container->len - 1);
        } else {
            uint32_t name = d + 1 < p->depth ? p->open[d + 1] - 1 : last_name(json, p->open[d]);
            const hf_json_value *value = &json->values[name];
            bool is_name = name > p->open[d] && value->kind == HF_JSON_STRING &&
                           is_plain_name(json->text + value->start, value->len);
            n = snprintf(out + used, out_len - used, "%s%.*s", used == 0 ? "" : ".",
                         is_name ? (int)value->len : 1, is_name ? json->text + value->start : "?");
        }
        if (n < 0 || used + (size_t)n >= out_len) {
            return;
        }
        used += (size_t)n;
    }
}

hf_status hf_json_parse(hf_bytes text, hf_json *json, hf_error *err)
{
    json->text = (const char *)text.ptr;
    json->values = json->first;
    json->count = 0;
    json->capacity = HF_JSON_FIRST_VALUES;
    if (text.len > UINT32_MAX / 2) {
        return hf_fail(err, HF_INVALID_INPUT, "body: too long");
    }
    parser p = {.json = json, .text = text.ptr, .len = text.len};
    parse_all(&p);
    if (p.problem == NULL) {
        return hf_ok();
    }
    if (p.no_memory) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    char path[160];
    path_of(&p, path, sizeof path);
    return hf_fail(err, HF_INVALID_INPUT, "%s: %s (byte %zu of the body)",
                   path[0] != '\0' ? path : "body", p.problem, p.at);
}

void hf_json_done(hf_json *json)
{
    if (json->values != json->first) {
        free(json->values);
    }
    json->values = json->first;
    json->count = 0;
}

uint32_t hf_json_member(const hf_json *json, uint32_t object, const char *name, size_t name_len)
{
    const hf_json_value *values = json->values;
    if (values[object].kind != HF_JSON_OBJECT) {
        return 0;
    }
    for (uint32_t i = object + 1; i < values[object].next; i = values[i + 1].next) {
        if (values[i].len == name_len &&
            hf_bytes_equal(json->text + values[i].start, name, name_len)) {
            return i + 1;
        }
    }
    return 0;
}

bool hf_json_is_text(const hf_json *json, uint32_t value, const char *text)
{
    const hf_json_value *v = &json->values[value];
    return v->kind == HF_JSON_STRING && v->len == strlen(text) &&
           strncasecmp(json->text + v->start, text, v->len) == 0;
}
