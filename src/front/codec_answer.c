/* Answers: a signature, an error. */
#include "front/codec.h"

#include <string.h>

size_t hf_codec_write_signature(const uint8_t signature[HF_BLS_SIGNATURE_BYTES], bool as_json,
                                char ret_text[HF_CODEC_SIGNATURE_BYTES])
{
    static const char before[] = "{\"signature\":\"0x";
    static const char after[] = "\"}";
    size_t at = 0;
    size_t digits = (size_t)2 * HF_BLS_SIGNATURE_BYTES;
    if (as_json) {
        memcpy(ret_text, before, sizeof before);
        at = sizeof before - 1;
    } else {
        memcpy(ret_text, "0x", sizeof "0x");
        at = 2;
    }
    hf_hex_encode(signature, HF_BLS_SIGNATURE_BYTES, ret_text + at);
    at += digits;
    if (as_json) {
        memcpy(ret_text + at, after, sizeof after);
        at += sizeof after - 1;
    }
    return at;
}

/* One character of a sentence as JSON wants it; at most 2 bytes. */
static size_t escape(char c, char out[2])
{
    unsigned char byte = (unsigned char)c;
    if (c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = c;
        return 2;
    }
    out[0] = c;
    if (byte < 0x20) {
        out[0] = ' ';
    } else if (byte >= 0x7f) {
        out[0] = '?';
    }
    return 1;
}

size_t hf_codec_write_error(const char *sentence, const char *code, char *out, size_t out_len)
{
    static const char before[] = "{\"error\":\"";
    static const char between[] = "\",\"code\":\"";
    static const char after[] = "\"}";
    size_t code_len = strlen(code);
    size_t tail = sizeof between - 1 + code_len + sizeof after;
    HF_ASSERT(out_len >= sizeof before + tail);
    size_t at = sizeof before - 1;
    memcpy(out, before, at);
    for (; *sentence != '\0'; sentence++) {
        char one[2];
        size_t len = escape(*sentence, one);
        if (at + len + tail > out_len) {
            break;
        }
        memcpy(out + at, one, len);
        at += len;
    }
    memcpy(out + at, between, sizeof between - 1);
    at += sizeof between - 1;
    memcpy(out + at, code, code_len + 1);
    at += code_len;
    memcpy(out + at, after, sizeof after);
    return at + sizeof after - 1;
}
