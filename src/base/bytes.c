/* Bytes, buffers, hex, numbers and text. */
#include "base.h"

#include <endian.h>

#define BUF_FIRST_BYTES 256

struct hf_buf {
    uint8_t *ptr; /* cap + 1 bytes: a NUL always follows len */
    size_t len;
    size_t cap;
    size_t max;
};

bool hf_bytes_equal(const void *a, const void *b, size_t len)
{
    return len == 0 || (memcmp)(a, b, len) == 0;
}

bool hf_bytes_is_zero(const void *a, size_t len)
{
    const uint8_t *p = a;
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++) {
        any |= p[i];
    }
    return any == 0;
}

void hf_wipe(void *ptr, size_t len)
{
    if (len > 0) {
        explicit_bzero(ptr, len);
    }
}

hf_buf *hf_buf_new(size_t max_bytes)
{
    hf_buf *buf = calloc(1, sizeof *buf);
    if (buf == NULL) {
        return NULL;
    }
    buf->max = max_bytes;
    buf->cap = max_bytes < BUF_FIRST_BYTES ? max_bytes : BUF_FIRST_BYTES;
    buf->ptr = calloc(1, buf->cap + 1);
    if (buf->ptr == NULL) {
        free(buf);
        return NULL;
    }
    return buf;
}

void hf_buf_free(hf_buf *buf)
{
    if (buf == NULL) {
        return;
    }
    hf_wipe(buf->ptr, buf->cap + 1);
    free(buf->ptr);
    free(buf);
}

void hf_buf_reset(hf_buf *buf)
{
    hf_wipe(buf->ptr, buf->cap + 1);
    buf->len = 0;
}

size_t hf_buf_len(const hf_buf *buf)
{
    return buf->len;
}

const uint8_t *hf_buf_peek(const hf_buf *buf)
{
    return buf->ptr;
}

const char *hf_buf_text(const hf_buf *buf)
{
    return (const char *)buf->ptr;
}

/* realloc would leave a copy of the old bytes behind: allocate, copy, wipe. */
static hf_status buf_reserve(hf_buf *buf, size_t extra)
{
    HF_ASSERT(buf->len <= buf->cap && buf->cap <= buf->max);
    if (extra > buf->max - buf->len) {
        return (hf_status){HF_LIMIT};
    }
    size_t need = buf->len + extra;
    if (need <= buf->cap) {
        return hf_ok();
    }
    size_t cap = buf->cap < buf->max / 2 ? buf->cap * 2 : buf->max;
    if (cap < need) {
        cap = need;
    }
    uint8_t *ptr = malloc(cap + 1);
    if (ptr == NULL) {
        return (hf_status){HF_NOMEM};
    }
    memcpy(ptr, buf->ptr, buf->len + 1);
    hf_wipe(buf->ptr, buf->cap + 1);
    free(buf->ptr);
    buf->ptr = ptr;
    buf->cap = cap;
    return hf_ok();
}

hf_status hf_buf_put(hf_buf *buf, const void *ptr, size_t len)
{
    hf_status st = buf_reserve(buf, len);
    if (hf_failed(st)) {
        return st;
    }
    if (len > 0) {
        memcpy(buf->ptr + buf->len, ptr, len);
    }
    buf->len += len;
    buf->ptr[buf->len] = 0;
    return hf_ok();
}

hf_status hf_buf_putf(hf_buf *buf, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    hf_status st = {HF_INTERNAL};
    int need = vsnprintf(NULL, 0, fmt, ap);
    if (need < 0) {
        goto out;
    }
    st = buf_reserve(buf, (size_t)need);
    if (hf_failed(st)) {
        goto out;
    }
    (void)vsnprintf((char *)buf->ptr + buf->len, (size_t)need + 1, fmt, again);
    buf->len += (size_t)need;
out:
    va_end(again);
    va_end(ap);
    return st;
}

void hf_hex_encode(const uint8_t *in, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * len] = '\0';
}

#define HEX_IS_DIGIT 0x10U

/* Tables, not comparisons: the digits of a root are random, and each wrong guess of the processor
 * costs more than the digit. */
static const uint8_t hex_values[256] = {
    ['0'] = 0x10, ['1'] = 0x11, ['2'] = 0x12, ['3'] = 0x13, ['4'] = 0x14, ['5'] = 0x15,
    ['6'] = 0x16, ['7'] = 0x17, ['8'] = 0x18, ['9'] = 0x19, ['a'] = 0x1a, ['b'] = 0x1b,
    ['c'] = 0x1c, ['d'] = 0x1d, ['e'] = 0x1e, ['f'] = 0x1f, ['A'] = 0x1a, ['B'] = 0x1b,
    ['C'] = 0x1c, ['D'] = 0x1d, ['E'] = 0x1e, ['F'] = 0x1f};

hf_status hf_hex_decode(const char *text, size_t text_len, uint8_t *out, size_t len)
{
    if (text_len >= 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        text += 2;
        text_len -= 2;
    }
    if (text_len != 2 * len) {
        return (hf_status){HF_INVALID_INPUT};
    }
    unsigned all = HEX_IS_DIGIT;
    for (size_t i = 0; i < text_len; i++) {
        all &= hex_values[(unsigned char)text[i]];
    }
    if (all != HEX_IS_DIGIT) {
        return (hf_status){HF_INVALID_INPUT};
    }
    for (size_t i = 0; i < len; i++) {
        unsigned high = hex_values[(unsigned char)text[2 * i]];
        unsigned low = hex_values[(unsigned char)text[2 * i + 1]];
        out[i] = (uint8_t)((high << 4 | (low & 15U)) & 0xffU);
    }
    return hf_ok();
}

hf_status hf_num_parse_u64(const char *text, size_t text_len, uint64_t *ret_value)
{
    if (text_len == 0 || (text[0] == '0' && text_len > 1)) {
        return (hf_status){HF_INVALID_INPUT};
    }
    uint64_t value = 0;
    for (size_t i = 0; i < text_len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return (hf_status){HF_INVALID_INPUT};
        }
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return (hf_status){HF_INVALID_INPUT};
        }
        value = value * 10 + digit;
    }
    *ret_value = value;
    return hf_ok();
}

uint64_t hf_le64_get(const uint8_t in[8])
{
    uint64_t value;
    memcpy(&value, in, sizeof value);
    return le64toh(value);
}

void hf_le64_put(uint8_t out[8], uint64_t value)
{
    value = htole64(value);
    memcpy(out, &value, sizeof value);
}

hf_status hf_str_format(char *out, size_t out_len, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(out, out_len, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= out_len) {
        return (hf_status){HF_LIMIT};
    }
    return hf_ok();
}

hf_status hf_str_copy(char *out, size_t out_len, const char *text)
{
    size_t len = strlen(text);
    if (len >= out_len) {
        return (hf_status){HF_LIMIT};
    }
    memcpy(out, text, len + 1);
    return hf_ok();
}

void hf_str_cut(char *out, size_t out_len, const char *text)
{
    size_t len = strnlen(text, out_len - 1);
    memcpy(out, text, len);
    out[len] = '\0';
}

bool hf_str_has_suffix(const char *text, const char *suffix)
{
    size_t text_len = strlen(text);
    size_t suffix_len = strlen(suffix);
    return text_len >= suffix_len && strcmp(text + text_len - suffix_len, suffix) == 0;
}

void hf_str_sanitize(char *out, size_t out_len, const char *text)
{
    size_t used = 0;
    HF_ASSERT(out_len > 0);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = c >= 0x20 && c < 0x7f && c != '\\';
        size_t need = plain ? 1 : 4;
        if (used + need >= out_len) {
            break;
        }
        if (plain) {
            out[used] = (char)c;
        } else {
            (void)snprintf(out + used, 5, "\\x%02x", c);
        }
        used += need;
    }
    out[used] = '\0';
}
