/* The instance endpoint of EC2, version 2: a session token first, then role and credentials. */
#include "net/net_internal.h"

#define WHAT "AWS credentials from the instance endpoint"
#define DEFAULT_HOST "http://169.254.169.254"
#define ROLES_PATH "/latest/meta-data/iam/security-credentials/"
#define TOKEN_LEN 512
#define ROLE_LEN 256

typedef struct instance {
    const hf_aws_ask *ask;
    char base[HF_AWS_URL_LEN / 2];
    char header[TOKEN_LEN + 32];
} instance;

static hf_status find_base(instance *at, hf_error *err)
{
    const char *custom = hf_aws_env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    hf_status st = hf_str_copy(at->base, sizeof at->base, custom != NULL ? custom : DEFAULT_HOST);
    if (!hf_failed(st)) {
        st = hf_net_check_metadata_url(at->base, err);
    }
    if (hf_failed(st)) {
        return hf_fail(err, HF_UNAVAILABLE,
                       WHAT
                       ": AWS_EC2_METADATA_SERVICE_ENDPOINT is not an address of this machine");
    }
    if (hf_str_has_suffix(at->base, "/")) {
        at->base[strlen(at->base) - 1] = '\0';
    }
    return hf_ok();
}

/* The first line of an answer. */
static bool take_line(const hf_buf *answer, char *out, size_t len)
{
    const char *text = hf_buf_text(answer);
    size_t line_len = strcspn(text, "\r\n");
    if (line_len == 0 || line_len >= len) {
        return false;
    }
    memcpy(out, text, line_len);
    out[line_len] = '\0';
    return true;
}

static hf_status open_session(instance *at, hf_error *err)
{
    char url[HF_AWS_URL_LEN];
    char token[TOKEN_LEN];
    hf_status st = hf_str_format(url, sizeof url, "%s/latest/api/token", at->base);
    HF_ASSERT(!hf_failed(st));
    hf_net_exchange exchange = {
        .method = "PUT", .url = url, .headers = {"X-aws-ec2-metadata-token-ttl-seconds: 300"}};
    st = hf_aws_fetch(at->ask, WHAT, &exchange, err);
    if (hf_failed(st)) {
        return st;
    }
    if (!take_line(exchange.answer, token, sizeof token) ||
        hf_failed(
            hf_str_format(at->header, sizeof at->header, "X-aws-ec2-metadata-token: %s", token))) {
        st = hf_fail(err, HF_UNAVAILABLE, WHAT ": it gave no session token");
    }
    hf_net_exchange_done(&exchange);
    return st;
}

static hf_status find_role(instance *at, char ret_role[ROLE_LEN], hf_error *err)
{
    char url[HF_AWS_URL_LEN];
    hf_status st = hf_str_format(url, sizeof url, "%s" ROLES_PATH, at->base);
    HF_ASSERT(!hf_failed(st));
    hf_net_exchange exchange = {.method = "GET", .url = url, .headers = {at->header}};
    st = hf_aws_fetch(at->ask, WHAT, &exchange, err);
    if (hf_failed(st)) {
        return exchange.http_status == 404
                   ? hf_fail(err, HF_UNAVAILABLE, WHAT ": no role is attached to this instance")
                   : st;
    }
    if (!take_line(exchange.answer, ret_role, ROLE_LEN) || strpbrk(ret_role, "/?# ") != NULL) {
        st = hf_fail(err, HF_UNAVAILABLE, WHAT ": no role is attached to this instance");
    }
    hf_net_exchange_done(&exchange);
    return st;
}

hf_status hf_aws_from_instance(const hf_aws_ask *ask, hf_aws_credentials *ret_credentials,
                               hf_error *err)
{
    instance at = {.ask = ask};
    char role[ROLE_LEN];
    char url[HF_AWS_URL_LEN];
    const char *disabled = hf_aws_env("AWS_EC2_METADATA_DISABLED");
    if (disabled != NULL && strcasecmp(disabled, "true") == 0) {
        return (hf_status){HF_NOT_FOUND};
    }
    hf_status st = find_base(&at, err);
    if (!hf_failed(st)) {
        st = open_session(&at, err);
    }
    if (!hf_failed(st)) {
        st = find_role(&at, role, err);
    }
    if (!hf_failed(st)) {
        st = hf_str_format(url, sizeof url, "%s" ROLES_PATH "%s", at.base, role);
        HF_ASSERT(!hf_failed(st));
        hf_net_exchange exchange = {.method = "GET", .url = url, .headers = {at.header}};
        st = hf_aws_fetch(ask, WHAT, &exchange, err);
        if (!hf_failed(st)) {
            st = hf_aws_parse_json(WHAT, exchange.answer, ret_credentials, err);
            hf_net_exchange_done(&exchange);
        }
    }
    hf_wipe(&at, sizeof at);
    return st;
}
