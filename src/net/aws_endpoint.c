/* What the sources of credentials have in common: asking an endpoint, reading its answer. */
#include <jansson.h>

#include "net/net_internal.h"

/* From 00:00 on 1 January 1970 to any year that a certificate authority of today lives to see. */
#define YEAR_MAX 9999

const char *hf_aws_env(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

hf_status hf_aws_fetch(const hf_aws_ask *ask, const char *what, hf_net_exchange *exchange,
                       hf_error *err)
{
    exchange->max_answer_bytes = HF_AWS_ANSWER_MAX;
    hf_net_run(ask->net, exchange, 1, ask->deadline_ns);
    hf_status st = hf_ok();
    if (hf_failed(exchange->result)) {
        st = hf_fail(err, HF_UNAVAILABLE, "%s: %s", what, exchange->detail);
    } else if (exchange->http_status != 200) {
        st = hf_fail(err, HF_UNAVAILABLE, "%s: answered with status %ld", what,
                     exchange->http_status);
    }
    if (hf_failed(st)) {
        hf_net_exchange_done(exchange);
    }
    return st;
}

hf_status hf_aws_parse_time(const char *text, int64_t *ret_unix_ms)
{
    struct tm parts = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    if (rest != NULL && *rest == '.') {
        rest++;
        rest += strspn(rest, "0123456789");
    }
    if (rest == NULL || (strcmp(rest, "Z") != 0 && strcmp(rest, "+00:00") != 0) ||
        parts.tm_year < 70 || parts.tm_year > YEAR_MAX - 1900) {
        return (hf_status){HF_INVALID_INPUT};
    }
    *ret_unix_ms = (int64_t)timegm(&parts) * 1000;
    return hf_ok();
}

static bool copy_member(const json_t *document, const char *name, char *out, size_t len)
{
    const char *text = json_string_value(json_object_get(document, name));
    return text != NULL && text[0] != '\0' && !hf_failed(hf_str_copy(out, len, text));
}

hf_status hf_aws_parse_json(const char *what, const hf_buf *answer,
                            hf_aws_credentials *ret_credentials, hf_error *err)
{
    hf_aws_credentials found = {0};
    json_error_t problem;
    json_t *document = json_loadb(hf_buf_text(answer), hf_buf_len(answer), 0, &problem);
    const char *code = json_string_value(json_object_get(document, "Code"));
    const char *expires = json_string_value(json_object_get(document, "Expiration"));
    hf_status st = hf_ok();
    if (code != NULL && strcmp(code, "Success") != 0) {
        st = hf_fail(err, HF_UNAVAILABLE, "%s: answered with another code than Success", what);
    } else if (!copy_member(document, "AccessKeyId", found.access_key_id,
                            sizeof found.access_key_id) ||
               !copy_member(document, "SecretAccessKey", found.secret_access_key,
                            sizeof found.secret_access_key) ||
               !copy_member(document, "Token", found.session_token, sizeof found.session_token)) {
        st = hf_fail(err, HF_UNAVAILABLE, "%s: the answer holds no credentials", what);
    } else if (expires == NULL || hf_failed(hf_aws_parse_time(expires, &found.expires_unix_ms))) {
        st = hf_fail(err, HF_UNAVAILABLE, "%s: the answer says no time of expiry", what);
    } else {
        *ret_credentials = found;
    }
    json_decref(document);
    hf_wipe(&found, sizeof found);
    return st;
}

hf_status hf_aws_read_token(const char *path, char *ret_token, size_t len, hf_error *err)
{
    hf_buf *text = NULL;
    hf_status st = hf_file_read(path, len, &text, err);
    if (hf_failed(st)) {
        return hf_error_wrap(err, (hf_status){HF_UNAVAILABLE}, "AWS credentials");
    }
    size_t token_len = strcspn(hf_buf_text(text), "\r\n");
    if (token_len == 0 || token_len >= len) {
        st = hf_fail(err, HF_UNAVAILABLE, "AWS credentials: %s: not a token of one line", path);
    } else {
        memcpy(ret_token, hf_buf_text(text), token_len);
        ret_token[token_len] = '\0';
    }
    hf_buf_free(text);
    return st;
}
