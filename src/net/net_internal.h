/* What the files of net share: the sources of AWS credentials. */
#ifndef HF_NET_INTERNAL_H
#define HF_NET_INTERNAL_H

#include "net/net.h"

#define HF_AWS_PROFILE_LEN 256
#define HF_AWS_PATH_LEN 1024
#define HF_AWS_ROLE_LEN 2048
#define HF_AWS_URL_LEN 1024
#define HF_AWS_ANSWER_MAX (64U << 10)

/* As hf_net_check_url; the addresses of the metadata services may be spoken to by http as well. */
hf_status hf_net_check_metadata_url(const char *url, hf_error *err) HF_MUST_CHECK;

/* ---- one source each: NOT_FOUND when the machine is not set up for it ---------------------- */

typedef struct hf_aws_ask {
    hf_net *net;
    const char *region;
    uint64_t deadline_ns;
} hf_aws_ask;

hf_status hf_aws_from_environment(const hf_aws_ask *ask, hf_aws_credentials *ret_credentials,
                                  hf_error *err) HF_MUST_CHECK;
hf_status hf_aws_from_web_identity(const hf_aws_ask *ask, hf_aws_credentials *ret_credentials,
                                   hf_error *err) HF_MUST_CHECK;
hf_status hf_aws_from_files(const hf_aws_ask *ask, hf_aws_credentials *ret_credentials,
                            hf_error *err) HF_MUST_CHECK;
/* A profile with role_arn; part of the files. NOT_FOUND when it has none. */
hf_status hf_aws_from_role(const hf_aws_ask *ask, hf_aws_credentials *ret_credentials,
                           hf_error *err) HF_MUST_CHECK;
hf_status hf_aws_from_container(const hf_aws_ask *ask, hf_aws_credentials *ret_credentials,
                                hf_error *err) HF_MUST_CHECK;
hf_status hf_aws_from_instance(const hf_aws_ask *ask, hf_aws_credentials *ret_credentials,
                               hf_error *err) HF_MUST_CHECK;

/* ---- the shared files --------------------------------------------------------------------- */

/* The value of a key in the profile in ~/.aws/credentials, then in ~/.aws/config. NOT_FOUND when no
 * file has it. *ret_profile_exists: some file has the profile. */
hf_status hf_aws_file_value(const char *profile, const char *key, char *ret_value, size_t len,
                            bool *ret_profile_exists, hf_error *err) HF_MUST_CHECK;
/* The keys in a profile itself; UNAVAILABLE when it has none. */
hf_status hf_aws_profile_keys(const char *profile, hf_aws_credentials *ret_credentials,
                              hf_error *err) HF_MUST_CHECK;
/* AWS_PROFILE, else "default". */
const char *hf_aws_profile(void);

/* ---- STS ---------------------------------------------------------------------------------- */

typedef struct hf_aws_field {
    const char *name;
    const char *value; /* "": left out */
} hf_aws_field;

typedef struct hf_aws_sts_question {
    const char *what; /* for sentences */
    const char *action;
    const hf_aws_field *fields;
    size_t count;
    const hf_aws_credentials *as; /* who signs it; NULL: nobody */
} hf_aws_sts_question;

hf_status hf_aws_ask_sts(const hf_aws_ask *ask, const hf_aws_sts_question *question,
                         hf_aws_credentials *ret_credentials, hf_error *err) HF_MUST_CHECK;

/* ---- asking an endpoint ------------------------------------------------------------------- */

/* An environment variable that is set and not empty, or NULL. */
const char *hf_aws_env(const char *name);
/* Runs one exchange; UNAVAILABLE, naming what, unless an answer with the status 200 came. On
 * success the caller frees with hf_net_exchange_done; on failure nothing is left to free. */
hf_status hf_aws_fetch(const hf_aws_ask *ask, const char *what, hf_net_exchange *exchange,
                       hf_error *err) HF_MUST_CHECK;
/* The JSON that container and instance endpoints answer with. */
hf_status hf_aws_parse_json(const char *what, const hf_buf *answer,
                            hf_aws_credentials *ret_credentials, hf_error *err) HF_MUST_CHECK;
/* "2026-11-21T12:00:00Z", with or without a fraction. */
hf_status hf_aws_parse_time(const char *text, int64_t *ret_unix_ms) HF_MUST_CHECK;
/* The first line of a private file such as a token, without its end. */
hf_status hf_aws_read_token(const char *path, char *ret_token, size_t len,
                            hf_error *err) HF_MUST_CHECK;

#endif
