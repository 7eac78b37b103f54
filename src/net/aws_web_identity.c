/* Web identity: a token that the platform keeps fresh in a file (EKS), exchanged at STS. */
#include <curl/curl.h>

#include "net/net_internal.h"

#define WHAT "AWS credentials from web identity"
#define TOKEN_LEN 16384
#define BODY_LEN (4 * TOKEN_LEN)

typedef struct web_identity {
    const char *role_arn;
    const char *session_name;
    char token[TOKEN_LEN];
    char url[HF_AWS_URL_LEN];
} web_identity;

static hf_status put_field(hf_buf *body, const char *name, const char *value)
{
    char *escaped = curl_easy_escape(NULL, value, (int)strlen(value));
    hf_status st =
        escaped != NULL ? hf_buf_putf(body, "&%s=%s", name, escaped) : (hf_status){HF_NOMEM};
    if (escaped != NULL) {
        hf_wipe(escaped, strlen(escaped));
    }
    curl_free(escaped);
    return st;
}

static hf_status make_body(const web_identity *identity, hf_buf *body)
{
    hf_status st = hf_buf_putf(body, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15");
    if (!hf_failed(st)) {
        st = put_field(body, "RoleArn", identity->role_arn);
    }
    if (!hf_failed(st)) {
        st = put_field(body, "RoleSessionName", identity->session_name);
    }
    return hf_failed(st) ? st : put_field(body, "WebIdentityToken", identity->token);
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

static hf_status parse(const char *xml, hf_aws_credentials *ret_credentials, hf_error *err)
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
        st = hf_fail(err, HF_UNAVAILABLE, WHAT ": STS answered without credentials");
    } else {
        *ret_credentials = found;
    }
    hf_wipe(&found, sizeof found);
    return st;
}

static hf_status endpoint(const hf_aws_ask *ask, char ret_url[HF_AWS_URL_LEN], hf_error *err)
{
    const char *url = hf_aws_env("AWS_ENDPOINT_URL_STS");
    hf_status st =
        url != NULL ? hf_str_copy(ret_url, HF_AWS_URL_LEN, url)
                    : hf_str_format(ret_url, HF_AWS_URL_LEN, "https://sts.%s.amazonaws.com%s/",
                                    ask->region, strncmp(ask->region, "cn-", 3) == 0 ? ".cn" : "");
    if (hf_failed(st)) {
        return hf_fail(err, HF_UNAVAILABLE, WHAT ": the address of STS is too long");
    }
    st = hf_net_check_url(ret_url, err);
    return hf_failed(st) ? hf_error_wrap(err, (hf_status){HF_UNAVAILABLE}, "AWS_ENDPOINT_URL_STS")
                         : st;
}

static hf_status ask_sts(const hf_aws_ask *ask, const web_identity *identity, hf_buf *body,
                         hf_aws_credentials *ret_credentials, hf_error *err)
{
    hf_net_exchange exchange = {.method = "POST",
                                .url = identity->url,
                                .headers = {"Content-Type: application/x-www-form-urlencoded"},
                                .body = hf_bytes_from(hf_buf_peek(body), hf_buf_len(body)),
                                .max_answer_bytes = HF_AWS_ANSWER_MAX};
    char code[64] = "no reason";
    hf_net_run(ask->net, &exchange, 1, ask->deadline_ns);
    hf_status st;
    if (hf_failed(exchange.result)) {
        st = hf_fail(err, HF_UNAVAILABLE, WHAT ": STS: %s", exchange.detail);
    } else if (exchange.http_status != 200) {
        char clean[64];
        (void)take_element(hf_buf_text(exchange.answer), "Code", code, sizeof code);
        hf_str_sanitize(clean, sizeof clean, code);
        st = hf_fail(err, HF_UNAVAILABLE, WHAT ": STS refused with status %ld, %s",
                     exchange.http_status, clean);
    } else {
        st = parse(hf_buf_text(exchange.answer), ret_credentials, err);
    }
    hf_net_exchange_done(&exchange);
    return st;
}

hf_status hf_aws_from_web_identity(const hf_aws_ask *ask, hf_aws_credentials *ret_credentials,
                                   hf_error *err)
{
    web_identity *identity = NULL;
    hf_buf *body = NULL;
    const char *token_file = hf_aws_env("AWS_WEB_IDENTITY_TOKEN_FILE");
    const char *session = hf_aws_env("AWS_ROLE_SESSION_NAME");
    if (token_file == NULL) {
        return (hf_status){HF_NOT_FOUND};
    }
    if (hf_aws_env("AWS_ROLE_ARN") == NULL) {
        return hf_fail(err, HF_UNAVAILABLE, WHAT ": AWS_ROLE_ARN is not set");
    }
    identity = calloc(1, sizeof *identity);
    body = hf_buf_new(BODY_LEN);
    hf_status st = hf_ok();
    if (identity == NULL || body == NULL) {
        st = hf_fail(err, HF_NOMEM, "out of memory");
        goto out;
    }
    identity->role_arn = hf_aws_env("AWS_ROLE_ARN");
    identity->session_name = session != NULL ? session : "holdfast";
    st = endpoint(ask, identity->url, err);
    if (!hf_failed(st)) {
        st = hf_aws_read_token(token_file, identity->token, sizeof identity->token, err);
    }
    if (hf_failed(st)) {
        goto out;
    }
    if (hf_failed(make_body(identity, body))) {
        st = hf_fail(err, HF_UNAVAILABLE, WHAT ": role, session name and token are too long");
        goto out;
    }
    st = ask_sts(ask, identity, body, ret_credentials, err);
out:
    hf_buf_free(body);
    if (identity != NULL) {
        hf_wipe(identity, sizeof *identity);
    }
    free(identity);
    return st;
}
