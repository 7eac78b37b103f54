/* The container endpoint: ECS tasks, EKS pod identity. */
#include "net/net_internal.h"

#define WHAT "AWS credentials from the container endpoint"
#define ECS_HOST "http://169.254.170.2"
#define AUTHORIZATION "Authorization: "
#define HEADER_LEN (sizeof AUTHORIZATION - 1 + HF_AWS_TOKEN_LEN)

static hf_status find_url(char ret_url[HF_AWS_URL_LEN], hf_error *err)
{
    const char *relative = hf_aws_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = hf_aws_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (relative == NULL && full == NULL) {
        return (hf_status){HF_NOT_FOUND};
    }
    hf_status st = relative != NULL
                       ? hf_str_format(ret_url, HF_AWS_URL_LEN, ECS_HOST "%s", relative)
                       : hf_str_copy(ret_url, HF_AWS_URL_LEN, full);
    if (!hf_failed(st) && (relative == NULL || relative[0] == '/')) {
        st = hf_net_check_metadata_url(ret_url, err);
        return hf_failed(st) ? hf_error_wrap(err, (hf_status){HF_UNAVAILABLE}, WHAT) : st;
    }
    return hf_fail(err, HF_UNAVAILABLE, WHAT ": its address is malformed");
}

/* The file wins: what is in it is renewed by the platform. */
static hf_status find_authorization(char *ret_token, size_t len, hf_error *err)
{
    const char *file = hf_aws_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *token = hf_aws_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    ret_token[0] = '\0';
    if (file != NULL) {
        return hf_aws_read_token(file, ret_token, len, err);
    }
    if (token == NULL) {
        return hf_ok();
    }
    if (strpbrk(token, "\r\n") != NULL || hf_failed(hf_str_copy(ret_token, len, token))) {
        return hf_fail(err, HF_UNAVAILABLE,
                       WHAT ": AWS_CONTAINER_AUTHORIZATION_TOKEN is malformed");
    }
    return hf_ok();
}

hf_status hf_aws_from_container(const hf_aws_ask *ask, hf_aws_credentials *ret_credentials,
                                hf_error *err)
{
    char url[HF_AWS_URL_LEN];
    char header[HEADER_LEN] = AUTHORIZATION;
    char *token = header + strlen(AUTHORIZATION);
    hf_status st = find_url(url, err);
    if (hf_failed(st)) {
        return st;
    }
    st = find_authorization(token, HF_AWS_TOKEN_LEN, err);
    if (!hf_failed(st)) {
        hf_net_exchange exchange = {
            .method = "GET", .url = url, .headers = {token[0] != '\0' ? header : NULL}};
        st = hf_aws_fetch(ask, WHAT, &exchange, err);
        if (!hf_failed(st)) {
            st = hf_aws_parse_json(WHAT, exchange.answer, ret_credentials, err);
            hf_net_exchange_done(&exchange);
        }
    }
    hf_wipe(header, sizeof header);
    return st;
}
