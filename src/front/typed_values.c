/* Values of typed data as words of 32 bytes (EIP-712, encodeData): everything without inner parts.
 */
#include "front/typed_internal.h"

#include "crypto/crypto.h"

static hf_status fail(hf_error *err, const char *problem)
{
    return hf_fail(err, HF_INVALID_INPUT, "%s", problem);
}

/* ---- text ------------------------------------------------------------------------------------ */

/* The four digits behind "\u"; the reader has seen to it that they are there. */
static uint32_t unit_at(const char *text)
{
    uint8_t bytes[2] = {0};
    hf_status st = hf_hex_decode(text, 4, bytes, sizeof bytes);
    HF_ASSERT(!hf_failed(st));
    return (uint32_t)bytes[0] << 8 | bytes[1];
}

static hf_status put_code_point(hf_buf *out, uint32_t code)
{
    uint8_t bytes[4];
    size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len; i > 1; i--) {
        bytes[i - 1] = (uint8_t)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    bytes[0] = (uint8_t)(leads[len] | code);
    return hf_buf_put(out, bytes, len);
}

/* text stands on a backslash; *ret_len: how much of it was used. */
static hf_status put_escape(const char *text, size_t left, hf_buf *out, size_t *ret_len)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    if (text[1] != 'u') {
        const char *at = strchr(names, text[1]);
        HF_ASSERT(at != NULL && *at != '\0');
        *ret_len = 2;
        return hf_buf_put(out, &values[at - names], 1);
    }
    uint32_t code = unit_at(text + 2);
    *ret_len = 6;
    if (code >= 0xd800 && code < 0xe000) {
        bool is_pair = code < 0xdc00 && left >= 12 && text[6] == '\\' && text[7] == 'u';
        uint32_t low = is_pair ? unit_at(text + 8) : 0;
        if (low < 0xdc00 || low >= 0xe000) {
            return (hf_status){HF_INVALID_INPUT};
        }
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        *ret_len = 12;
    }
    return put_code_point(out, code);
}

hf_status hf_typed_unescape(const hf_json *json, uint32_t value, hf_buf **ret_text, hf_error *err)
{
    const char *text = hf_json_text(json, value);
    size_t len = json->values[value].len;
    hf_buf *out = hf_buf_new(len + 1);
    hf_status st = out == NULL ? (hf_status){HF_NOMEM} : hf_ok();
    for (size_t at = 0; at < len && !hf_failed(st);) {
        const char *escape = memchr(text + at, '\\', len - at);
        size_t plain = escape == NULL ? len - at : (size_t)(escape - (text + at));
        st = hf_buf_put(out, text + at, plain);
        at += plain;
        if (!hf_failed(st) && at < len) {
            size_t used = 0;
            st = put_escape(text + at, len - at, out, &used);
            at += used;
        }
    }
    if (hf_failed(st)) {
        hf_buf_free(out);
        return hf_fail(err, st.code,
                       st.code == HF_NOMEM ? "out of memory" : "half of a surrogate pair");
    }
    *ret_text = out;
    return hf_ok();
}

static hf_status encode_string(const hf_json *json, uint32_t value, uint8_t *word, hf_error *err)
{
    hf_buf *text = NULL;
    if (hf_json_is(json, value, HF_JSON_STRING)) {
        hf_keccak256(hf_json_text(json, value), json->values[value].len, word);
        return hf_ok();
    }
    if (!hf_json_is(json, value, HF_JSON_ESCAPED)) {
        return fail(err, "not a string");
    }
    hf_status st = hf_typed_unescape(json, value, &text, err);
    if (!hf_failed(st)) {
        hf_keccak256(hf_buf_peek(text), hf_buf_len(text), word);
    }
    hf_buf_free(text);
    return st;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* The digits behind 0x, which have to be pairs. */
static bool hex_of(const hf_json *json, uint32_t value, const char **ret_digits, size_t *ret_bytes)
{
    const char *text = hf_json_text(json, value);
    size_t len = json->values[value].len;
    *ret_digits = text;
    *ret_bytes = len / 2 - (len >= 2);
    return hf_json_is(json, value, HF_JSON_STRING) && len >= 2 && len % 2 == 0 && text[0] == '0' &&
           (text[1] | 0x20) == 'x';
}

static hf_status encode_bytes(const hf_json *json, uint32_t value, uint8_t *word, hf_error *err)
{
    const char *text;
    size_t count;
    if (!hex_of(json, value, &text, &count)) {
        return fail(err, "not 0x and pairs of hex digits");
    }
    uint8_t *bytes = malloc(count + 1);
    if (bytes == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = hf_hex_decode(text, 2 + 2 * count, bytes, count);
    if (!hf_failed(st)) {
        hf_keccak256(bytes, count, word);
    }
    free(bytes);
    return hf_failed(st) ? fail(err, "not 0x and pairs of hex digits") : st;
}

static hf_status encode_fixed(const hf_json *json, uint32_t value, uint32_t size, uint8_t *word,
                              hf_error *err)
{
    const char *text;
    size_t count;
    if (!hex_of(json, value, &text, &count) || count != size ||
        hf_failed(hf_hex_decode(text, 2 + 2 * count, word, count))) {
        return hf_fail(err, HF_INVALID_INPUT, "not 0x and %u hex digits", (unsigned)(2 * size));
    }
    return hf_ok();
}

static hf_status encode_address(const hf_json *json, uint32_t value, uint8_t *word, hf_error *err)
{
    char text[2 + 2 * HF_ADDRESS_BYTES + 1];
    size_t len = json->values[value].len;
    if (!hf_json_is(json, value, HF_JSON_STRING) || len != sizeof text - 1) {
        return fail(err, "not an address: 0x and 40 hex digits");
    }
    memcpy(text, hf_json_text(json, value), len);
    text[len] = '\0';
    return hf_address_parse(text, word + HF_TYPED_WORD - HF_ADDRESS_BYTES, err);
}

/* ---- integers -------------------------------------------------------------------------------- */

/* 2^256 has 78 digits; the rest is room for leading zeros. */
#define INTEGER_TEXT_MAX 128

/* word = word * base + digit; false beyond 256 bits. */
static bool push_digit(uint8_t word[HF_TYPED_WORD], unsigned base, unsigned digit)
{
    unsigned carry = digit;
    for (size_t i = HF_TYPED_WORD; i > 0; i--) {
        unsigned sum = word[i - 1] * base + carry;
        word[i - 1] = (uint8_t)sum;
        carry = sum >> 8;
    }
    return carry == 0;
}

static unsigned digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

/* Decimal, or with 0x hex; leading zeros do no harm. */
static bool read_magnitude(const char *text, size_t len, uint8_t word[HF_TYPED_WORD])
{
    bool is_hex = len > 2 && text[0] == '0' && (text[1] | 0x20) == 'x';
    unsigned base = is_hex ? 16 : 10;
    size_t at = is_hex ? 2 : 0;
    bool is_good = at < len && len <= INTEGER_TEXT_MAX;
    for (; at < len && is_good; at++) {
        unsigned digit = digit_of(text[at]);
        is_good = digit < base && push_digit(word, base, digit);
    }
    return is_good;
}

static void negate(uint8_t word[HF_TYPED_WORD])
{
    unsigned carry = 1;
    for (size_t i = HF_TYPED_WORD; i > 0; i--) {
        unsigned sum = (uint8_t)~word[i - 1] + carry;
        word[i - 1] = (uint8_t)sum;
        carry = sum >> 8;
    }
}

/* Are all bits of the word from this one up as its highest should be? */
static bool fits(const uint8_t word[HF_TYPED_WORD], uint32_t bits, bool is_negative)
{
    for (uint32_t bit = bits; bit < 256; bit++) {
        bool is_set = (word[HF_TYPED_WORD - 1 - bit / 8] >> (bit % 8) & 1) != 0;
        if (is_set != is_negative) {
            return false;
        }
    }
    return true;
}

static hf_status encode_integer(const hf_json *json, uint32_t value, const hf_typed_type *type,
                                uint8_t *word, hf_error *err)
{
    const char *text = hf_json_text(json, value);
    size_t len = json->values[value].len;
    bool is_text = hf_json_is(json, value, HF_JSON_STRING);
    if (!is_text && !hf_json_is(json, value, HF_JSON_NUMBER)) {
        return fail(err, "not an integer");
    }
    bool has_sign = len > 0 && text[0] == '-';
    if (!read_magnitude(text + has_sign, len - has_sign, word)) {
        return fail(err, "not an integer (decimal, or 0x and hex digits), or beyond 256 bits");
    }
    bool is_negative = has_sign && !hf_bytes_is_zero(word, HF_TYPED_WORD);
    bool is_int = type->base == HF_TYPED_INT;
    /* -2^255 alone has its highest bit before and after: every other magnitude up there overflows.
     */
    bool was_high = (word[0] & 0x80) != 0;
    if (is_negative) {
        negate(word);
    }
    bool is_lost = is_int && was_high && !(is_negative && (word[0] & 0x80) != 0);
    if ((is_negative && !is_int) || is_lost ||
        !fits(word, is_int ? type->size - 1 : type->size, is_negative)) {
        return hf_fail(err, HF_INVALID_INPUT, "out of the range of %s%u", is_int ? "int" : "uint",
                       (unsigned)type->size);
    }
    return hf_ok();
}

/* ---- all of them ----------------------------------------------------------------------------- */

static hf_status encode(const hf_json *json, uint32_t value, const hf_typed_type *type,
                        uint8_t *word, hf_error *err)
{
    switch (type->base) {
    case HF_TYPED_ADDRESS:
        return encode_address(json, value, word, err);
    case HF_TYPED_BOOL:
        word[HF_TYPED_WORD - 1] = hf_json_is(json, value, HF_JSON_TRUE);
        return word[HF_TYPED_WORD - 1] == 1 || hf_json_is(json, value, HF_JSON_FALSE)
                   ? hf_ok()
                   : fail(err, "neither true nor false");
    case HF_TYPED_STRING:
        return encode_string(json, value, word, err);
    case HF_TYPED_BYTES:
        return encode_bytes(json, value, word, err);
    case HF_TYPED_FIXED:
        return encode_fixed(json, value, type->size, word, err);
    case HF_TYPED_UINT:
    case HF_TYPED_INT:
        return encode_integer(json, value, type, word, err);
    case HF_TYPED_STRUCT:
    case HF_TYPED_ARRAY:
        break;
    }
    HF_ASSERT(type->base != HF_TYPED_STRUCT && type->base != HF_TYPED_ARRAY);
    return fail(err, "a type that is none");
}

hf_status hf_typed_encode_value(const hf_json *json, uint32_t value, const hf_typed_type *type,
                                uint8_t ret_word[HF_TYPED_WORD], hf_error *err)
{
    uint8_t word[HF_TYPED_WORD] = {0};
    hf_status st = encode(json, value, type, word, err);
    if (!hf_failed(st)) {
        memcpy(ret_word, word, sizeof word);
    }
    return st;
}
