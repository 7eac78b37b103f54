/* What a secret holds: keys in any of the forms that people put into one. */
#include "custody/aws_secrets.h"

#define WHERE_LEN 48

typedef struct reading {
    hf_aws_secret_taker take;
    hf_aws_secret_refuser refuse;
    void *context;
    size_t found; /* keys, good and bad */
} reading;

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static hf_bytes trim(hf_bytes text)
{
    while (text.len > 0 && is_space((char)text.ptr[0])) {
        text = hf_bytes_from(text.ptr + 1, text.len - 1);
    }
    while (text.len > 0 && is_space((char)text.ptr[text.len - 1])) {
        text.len--;
    }
    return text;
}

static hf_status read_one(reading *in, const char *where, hf_bytes text, hf_error *err)
{
    uint8_t secret[HF_CUSTODY_SECRET_BYTES];
    text = trim(text);
    if (++in->found > HF_AWS_SECRET_KEYS_MAX) {
        return hf_fail(err, HF_LIMIT, "more than %d keys in one secret", HF_AWS_SECRET_KEYS_MAX);
    }
    if (hf_failed(hf_hex_decode((const char *)text.ptr, text.len, secret, sizeof secret))) {
        in->refuse(in->context, where, "not a key of 64 hex digits");
        hf_wipe(secret, sizeof secret);
        return hf_ok();
    }
    hf_status st = in->take(in->context, where, secret, err);
    hf_wipe(secret, sizeof secret);
    return st;
}

static hf_status read_lines(reading *in, hf_bytes text, hf_error *err)
{
    char where[WHERE_LEN];
    hf_status st = hf_ok();
    for (size_t line = 1; text.len > 0 && !hf_failed(st); line++) {
        const uint8_t *end = memchr(text.ptr, '\n', text.len);
        size_t len = end != NULL ? (size_t)(end - text.ptr) : text.len;
        if (trim(hf_bytes_from(text.ptr, len)).len > 0) {
            st = hf_str_format(where, sizeof where, "line %zu", line);
            HF_ASSERT(!hf_failed(st));
            st = read_one(in, where, hf_bytes_from(text.ptr, len), err);
        }
        size_t past = end != NULL ? len + 1 : len;
        text = hf_bytes_from(text.ptr + past, text.len - past);
    }
    return st;
}

static hf_status read_json_key(reading *in, const char *where, const json_t *key, hf_error *err)
{
    const char *text = json_string_value(key);
    if (text == NULL) {
        in->found++;
        in->refuse(in->context, where,
                   json_is_object(key) ? "an object: a keystore has to be a file of its own, the "
                                         "secret holds the key itself"
                                       : "not a text of 64 hex digits");
        return hf_ok();
    }
    /* Several a member, as several a secret. */
    return strchr(text, '\n') != NULL && trim(hf_bytes_from(text, strlen(text))).len > 66
               ? read_lines(in, hf_bytes_from(text, json_string_length(key)), err)
               : read_one(in, where, hf_bytes_from(text, json_string_length(key)), err);
}

static hf_status read_array(reading *in, const char *name, const json_t *array, hf_error *err)
{
    char where[WHERE_LEN];
    hf_status st = hf_ok();
    for (size_t i = 0; i < json_array_size(array) && !hf_failed(st); i++) {
        st = hf_str_format(where, sizeof where, "%.24s%zu", name, i);
        HF_ASSERT(!hf_failed(st));
        st = read_json_key(in, where, json_array_get(array, i), err);
    }
    return st;
}

static hf_status read_object(reading *in, json_t *object, hf_error *err)
{
    char where[WHERE_LEN];
    char clean[25];
    const char *name;
    json_t *value;
    hf_status st = hf_ok();
    if (json_is_object(json_object_get(object, "crypto"))) {
        return hf_fail(err, HF_INVALID_INPUT,
                       "a keystore: put the key itself into the secret, or the keystore into a "
                       "folder of backend local-keystore");
    }
    json_object_foreach(object, name, value)
    {
        hf_str_sanitize(clean, sizeof clean, name);
        st = hf_str_format(where, sizeof where, "member %s", clean);
        HF_ASSERT(!hf_failed(st));
        if (json_is_array(value)) {
            st = hf_str_format(where, sizeof where, "%s entry ", clean);
            HF_ASSERT(!hf_failed(st));
            st = read_array(in, where, value, err);
        } else {
            st = read_json_key(in, where, value, err);
        }
        if (hf_failed(st)) {
            break;
        }
    }
    return st;
}

hf_status hf_aws_secret_read(hf_bytes text, hf_aws_secret_taker take, hf_aws_secret_refuser refuse,
                             void *context, hf_error *err)
{
    reading in = {take, refuse, context, 0};
    json_error_t problem;
    hf_status st = hf_ok();
    hf_bytes start = trim(text);
    if (start.len > 0 && (start.ptr[0] == '{' || start.ptr[0] == '[')) {
        /* problem quotes the text: it goes nowhere. */
        json_t *document =
            json_loadb((const char *)start.ptr, start.len, JSON_REJECT_DUPLICATES, &problem);
        if (document == NULL) {
            st = hf_fail(err, HF_INVALID_INPUT, "not JSON, though it begins so (line %d)",
                         problem.line);
        } else if (json_is_array(document)) {
            st = read_array(&in, "entry ", document, err);
        } else {
            st = read_object(&in, document, err);
        }
        json_decref(document);
        hf_wipe(&problem, sizeof problem);
    } else if (text.len == HF_CUSTODY_SECRET_BYTES) {
        in.found = 1;
        return take(context, "", text.ptr, err); /* no text of this length is a key */
    } else {
        st = read_lines(&in, text, err);
    }
    if (!hf_failed(st) && in.found == 0) {
        return hf_fail(err, HF_INVALID_INPUT, "there is no key in it");
    }
    return st;
}
