/* STS, the service that hands out a role's credentials: one form to it, one answer in XML. */
#include <curl/curl.h>

#include "net/net_internal.h"

#define BODY_LEN (64U << 10)

static hf_status put_field(hf_buf *body, const hf_aws_field *field)
{
    char *escaped = curl_easy_escape(NULL, field->value, (int)strlen(field->value));
    hf_status st =
        escaped != NULL ? hf_buf_putf(body, "&%s=%s", field->name, escaped) : (hf_status){HF_NOMEM};
    if (escaped != NULL) {
        hf_wipe(escaped, strlen(escaped));
    }
    curl_free(escaped);
    return st;
}

static hf_status make_body(const char *action, const hf_aws_field *fields, size_t n, hf_buf *body)
{
    hf_status st = hf_buf_putf(body, "Action=%s&Version=2011-06-15", action);
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        if (fields[i].value[0] != '\0') {
            st = put_field(body, &fields[i]);
        }
    }
    return st;
}

/* The text of the first element of that name; STS's answer has each once and nothing to unescape.
 */
static bool take_element(const char *xml, const char *name, char *out, size_t len)
{
    char tag[64];
    if (hf_failed(hf_str_format(tag, sizeof tag, "<%s>", name))) {
        return false;
    }
    const char *start = strstr(xml, tag);
    start = start != NULL ? start + strlen(tag) : NULL;
    const char *end = start != NULL ? strchr(start, '<') : NULL;
    if (end == NULL || end == start || (size_t)(end - start) >= len) {
        return false;
    }
    memcpy(out, start, (size_t)(end - start));
    out[end - start] = '\0';
    return true;
}

static hf_status parse(const char *what, const char *xml, hf_aws_credentials *ret_credentials,
                       hf_error *err)
{
    hf_aws_credentials found = {0};
    char expires[64];
    hf_status st = hf_ok();
    if (!take_element(xml, "AccessKeyId", found.access_key_id, sizeof found.access_key_id) ||
        !take_element(xml, "SecretAccessKey", found.secret_access_key,
                      sizeof found.secret_access_key) ||
        !take_element(xml, "SessionToken", found.session_token, sizeof found.session_token) ||
        !take_element(xml, "Expiration", expires, sizeof expires) ||
        hf_failed(hf_aws_parse_time(expires, &found.expires_unix_ms))) {
        st = hf_fail(err, HF_UNAVAILABLE, "%s: STS answered without credentials", what);
    } else {
        *ret_credentials = found;
    }
    hf_wipe(&found, sizeof found);
    return st;
}

static hf_status endpoint(const hf_aws_ask *ask, const char *what, char ret_url[HF_AWS_URL_LEN],
                          hf_error *err)
{
    const char *url = hf_aws_env("AWS_ENDPOINT_URL_STS");
    hf_status st =
        url != NULL ? hf_str_copy(ret_url, HF_AWS_URL_LEN, url)
                    : hf_str_format(ret_url, HF_AWS_URL_LEN, "https://sts.%s.amazonaws.com%s/",
                                    ask->region, strncmp(ask->region, "cn-", 3) == 0 ? ".cn" : "");
    if (hf_failed(st)) {
        return hf_fail(err, HF_UNAVAILABLE, "%s: the address of STS is too long", what);
    }
    st = hf_net_check_url(ret_url, err);
    return hf_failed(st) ? hf_error_wrap(err, (hf_status){HF_UNAVAILABLE}, "AWS_ENDPOINT_URL_STS")
                         : st;
}

static hf_status take_answer(const char *what, const hf_net_exchange *exchange,
                             hf_aws_credentials *ret_credentials, hf_error *err)
{
    char code[64] = "no reason";
    char clean[64];
    if (hf_failed(exchange->result)) {
        return hf_fail(err, HF_UNAVAILABLE, "%s: STS: %s", what, exchange->detail);
    }
    if (exchange->http_status == 200) {
        return parse(what, hf_buf_text(exchange->answer), ret_credentials, err);
    }
    (void)take_element(hf_buf_text(exchange->answer), "Code", code, sizeof code);
    hf_str_sanitize(clean, sizeof clean, code);
    return hf_fail(err, HF_UNAVAILABLE, "%s: STS refused with status %ld, %s", what,
                   exchange->http_status, clean);
}

hf_status hf_aws_ask_sts(const hf_aws_ask *ask, const hf_aws_sts_question *question,
                         hf_aws_credentials *ret_credentials, hf_error *err)
{
    char url[HF_AWS_URL_LEN];
    const hf_net_signing signing = {
        .credentials = question->as, .region = ask->region, .service = "sts"};
    hf_buf *body = hf_buf_new(BODY_LEN);
    if (body == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = endpoint(ask, question->what, url, err);
    if (!hf_failed(st) &&
        hf_failed(make_body(question->action, question->fields, question->count, body))) {
        st = hf_fail(err, HF_UNAVAILABLE, "%s: role, session name and token are too long",
                     question->what);
    }
    if (!hf_failed(st)) {
        hf_net_exchange exchange = {.method = "POST",
                                    .url = url,
                                    .headers = {"Content-Type: application/x-www-form-urlencoded"},
                                    .body = hf_bytes_from(hf_buf_peek(body), hf_buf_len(body)),
                                    .signing = question->as != NULL ? &signing : NULL,
                                    .max_answer_bytes = HF_AWS_ANSWER_MAX};
        hf_net_run(ask->net, &exchange, 1, ask->deadline_ns);
        st = take_answer(question->what, &exchange, ret_credentials, err);
        hf_net_exchange_done(&exchange);
    }
    hf_buf_free(body);
    return st;
}
