/* Passwords as EIP-2335 wants them: NFKD, without control codes, in UTF-8. */
#include "crypto_internal.h"

#include <uninorm.h>
#include <unistr.h>

/* One code point of three bytes (U+FDFA) becomes 18 code points, 33 bytes: the worst of Unicode. */
#define NFKD_GROWTH_MAX 11

static bool is_ascii(hf_bytes text)
{
    uint8_t any = 0;
    for (size_t i = 0; i < text.len; i++) {
        any |= text.ptr[i];
    }
    return any < 0x80;
}

hf_status hf_text_nfkd(hf_bytes text, hf_buf *out)
{
    if (is_ascii(text)) {
        return hf_buf_put(out, text.ptr, text.len); /* its own NFKD, and no copies elsewhere */
    }
    if (u8_check(text.ptr, text.len) != NULL) {
        return (hf_status){HF_INVALID_INPUT};
    }
    size_t room = text.len * NFKD_GROWTH_MAX;
    size_t len = room;
    hf_status st = {HF_NOMEM};
    uint8_t *space = malloc(room);
    uint8_t *normal = NULL;
    if (space == NULL) {
        goto out;
    }
    normal = u8_normalize(UNINORM_NFKD, text.ptr, text.len, space, &len);
    if (normal == NULL) {
        goto out;
    }
    st = hf_buf_put(out, normal, len);
out:
    if (normal != NULL && normal != space) {
        hf_wipe(normal, len);
        free(normal);
    }
    if (space != NULL) {
        hf_wipe(space, room);
    }
    free(space);
    return st;
}

/* Appends text without C0, DEL and C1 (which is C2 80 to C2 9F in UTF-8). */
static hf_status put_without_controls(hf_buf *out, hf_bytes text)
{
    size_t i = 0;
    while (i < text.len) {
        uint8_t byte = text.ptr[i];
        if (byte < 0x20 || byte == 0x7f) {
            i += 1;
            continue;
        }
        if (byte == 0xc2 && i + 1 < text.len && text.ptr[i + 1] < 0xa0) {
            i += 2;
            continue;
        }
        hf_status st = hf_buf_put(out, &byte, 1);
        if (hf_failed(st)) {
            return st;
        }
        i += 1;
    }
    return hf_ok();
}

hf_bytes hf_password_trim(hf_bytes text)
{
    if (text.len > 0 && text.ptr[text.len - 1] == '\n') {
        text.len--;
        if (text.len > 0 && text.ptr[text.len - 1] == '\r') {
            text.len--;
        }
    }
    return text;
}

hf_status hf_password_normalise(hf_bytes password, hf_buf **ret_password, hf_error *err)
{
    if (password.len > HF_PASSWORD_MAX_BYTES) {
        return hf_fail(err, HF_LIMIT, "the password is longer than %d bytes",
                       HF_PASSWORD_MAX_BYTES);
    }
    hf_status st = {HF_NOMEM};
    hf_buf *normal = hf_buf_new((size_t)HF_PASSWORD_MAX_BYTES * NFKD_GROWTH_MAX);
    hf_buf *clean = hf_buf_new((size_t)HF_PASSWORD_MAX_BYTES * NFKD_GROWTH_MAX);
    if (normal == NULL || clean == NULL) {
        goto out;
    }
    st = hf_text_nfkd(hf_password_trim(password), normal);
    if (hf_failed(st)) {
        goto out;
    }
    st = put_without_controls(clean, hf_bytes_from(hf_buf_peek(normal), hf_buf_len(normal)));
    if (hf_failed(st)) {
        goto out;
    }
    *ret_password = clean;
    clean = NULL;
out:
    hf_buf_free(normal);
    hf_buf_free(clean);
    if (st.code == HF_INVALID_INPUT) {
        return hf_fail(err, st.code, "the password is not UTF-8 text");
    }
    return hf_failed(st) ? hf_fail(err, st.code, "out of memory") : st;
}
