/* Web identity: a token that the platform keeps fresh in a file (EKS), exchanged at STS. */
#include "net/net_internal.h"

#define WHAT "AWS credentials from web identity"
#define TOKEN_LEN 16384

hf_status hf_aws_from_web_identity(const hf_aws_ask *ask, hf_aws_credentials *ret_credentials,
                                   hf_error *err)
{
    const char *token_file = hf_aws_env("AWS_WEB_IDENTITY_TOKEN_FILE");
    const char *role = hf_aws_env("AWS_ROLE_ARN");
    const char *session = hf_aws_env("AWS_ROLE_SESSION_NAME");
    if (token_file == NULL) {
        return (hf_status){HF_NOT_FOUND};
    }
    if (role == NULL) {
        return hf_fail(err, HF_UNAVAILABLE, WHAT ": AWS_ROLE_ARN is not set");
    }
    char *token = calloc(1, TOKEN_LEN);
    if (token == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    const hf_aws_field fields[] = {{"RoleArn", role},
                                   {"RoleSessionName", session != NULL ? session : "holdfast"},
                                   {"WebIdentityToken", token}};
    const hf_aws_sts_question question = {.what = WHAT,
                                          .action = "AssumeRoleWithWebIdentity",
                                          .fields = fields,
                                          .count = HF_ARRAY_LEN(fields)};
    hf_status st = hf_aws_read_token(token_file, token, TOKEN_LEN, err);
    if (!hf_failed(st)) {
        st = hf_aws_ask_sts(ask, &question, ret_credentials, err);
    }
    hf_wipe(token, TOKEN_LEN);
    free(token);
    return st;
}
