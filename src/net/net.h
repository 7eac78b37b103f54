/*
 * net: HTTPS requests by libcurl, many at once within a deadline, and what AWS wants beside them:
 * signature version 4 and credentials, from wherever the machine has them.
 *
 * Certificates are always verified; redirects are never followed; no proxy is used; plain http goes
 * to this machine and to the metadata addresses of a cloud only. One thread at a time uses an
 * object. Calls block, never longer than their deadline (a moment on CLOCK_MONOTONIC).
 */
#ifndef HF_NET_H
#define HF_NET_H

#include "base/base.h"

/* Exchanges under way at once; further ones of a call wait for a place. */
#define HF_NET_PARALLEL_MAX 64
#define HF_NET_HEADERS_MAX 8
#define HF_NET_DETAIL_LEN 160
#define HF_NET_URL_LEN 512

/* ---- AWS credentials ---------------------------------------------------------------------- */

/* Bounds beyond anything that AWS hands out today. */
#define HF_AWS_KEY_ID_LEN 129
#define HF_AWS_SECRET_LEN 257
#define HF_AWS_TOKEN_LEN 8193

/* Wiped by who holds it. */
typedef struct hf_aws_credentials {
    char access_key_id[HF_AWS_KEY_ID_LEN];
    char secret_access_key[HF_AWS_SECRET_LEN];
    char session_token[HF_AWS_TOKEN_LEN]; /* "" for permanent credentials */
    int64_t expires_unix_ms;              /* 0: never */
} hf_aws_credentials;

/* ---- requests ----------------------------------------------------------------------------- */

typedef struct hf_net_config {
    char ca_file[512];           /* the only authorities to trust; empty: the system's */
    uint32_t connect_timeout_ms; /* 0: 1000; the deadline counts as well */
    char client_cert_file[512];  /* PEM, shown to servers that ask; empty: none */
    char client_key_file[512];   /* PEM; private */
    /* SHA-256 of one certificate that is trusted beside what authorities vouch for; its name counts
     * as ever. */
    bool has_known_certificate;
    uint8_t known_certificate[32];
} hf_net_config;

/* Signature version 4 over the whole request; service is "dynamodb", "sts"... */
typedef struct hf_net_signing {
    const hf_aws_credentials *credentials;
    const char *region;
    const char *service;
} hf_net_signing;

/* One request, and then its answer. Everything asked is borrowed until hf_net_run returns. */
typedef struct hf_net_exchange {
    const char *method; /* "GET", "POST", "PUT" */
    const char *url;
    const char *headers[HF_NET_HEADERS_MAX]; /* "Name: value"; NULL ends the list early */
    hf_bytes body;
    const hf_net_signing *signing; /* NULL: unsigned */
    size_t max_answer_bytes;

    /* OK: an HTTP answer came, whatever its status. UNAVAILABLE: none, or none in time. LIMIT:
     * longer than max_answer_bytes. CRYPTO: the other side's certificate is not trusted. */
    hf_status result;
    bool maybe_acted; /* no answer, and yet the other side may have carried the request out */
    long http_status;
    hf_buf *answer;                 /* owned by the exchange: hf_net_exchange_done */
    char location[HF_NET_URL_LEN];  /* of an answer that redirects: where to; "" otherwise */
    char detail[HF_NET_DETAIL_LEN]; /* why there is no answer, for an operator */
} hf_net_exchange;

typedef struct hf_net hf_net;

/* DENIED when ca_file cannot be read, or the client's key by others as well. */
hf_status hf_net_new(const hf_net_config *config, hf_net **ret_net, hf_error *err) HF_MUST_CHECK;
void hf_net_free(hf_net *net); /* NULL is fine */
/* Carries out n requests at once and waits until each has its result; connections are kept. */
void hf_net_run(hf_net *net, hf_net_exchange *exchanges, size_t n, uint64_t deadline_ns);
/* Wipes and frees the answer; fit for a new request afterwards. */
void hf_net_exchange_done(hf_net_exchange *exchange);
/* USAGE unless the URL is https, or http to this machine itself. */
hf_status hf_net_check_url(const char *url, hf_error *err) HF_MUST_CHECK;

/* ---- where AWS credentials come from ------------------------------------------------------ */

/*
 * The first of these that is set up on the machine, in the order of AWS's own tools: environment
 * (AWS_ACCESS_KEY_ID...), web identity (AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN, by STS), shared
 * files (AWS_PROFILE in ~/.aws/credentials and ~/.aws/config; role_arn by STS), container endpoint
 * (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI), instance endpoint (version 2 only).
 * A source that is set up and fails is an error; the next one is not tried instead of it.
 */
typedef struct hf_aws hf_aws;

/* Reads nothing yet. region: for STS. */
hf_status hf_aws_new(const hf_net_config *config, const char *region, hf_aws **ret_aws,
                     hf_error *err) HF_MUST_CHECK;
void hf_aws_free(hf_aws *aws); /* NULL is fine; wipes */
/* From now on what the chain gives is used to ask STS for this role's credentials, and those serve.
 * USAGE when it is too long for an ARN. */
hf_status hf_aws_set_role(hf_aws *aws, const char *role_arn, hf_error *err) HF_MUST_CHECK;
/* From now on these serve, and no source is asked. Copied. */
void hf_aws_set_credentials(hf_aws *aws, const hf_aws_credentials *credentials);
/*
 * Credentials that are valid now, asked for anew some minutes before they expire; while that fails
 * the old ones serve until they do. Borrowed until the next call on aws. UNAVAILABLE says what is
 * missing and where it was looked for.
 */
hf_status hf_aws_get(hf_aws *aws, uint64_t deadline_ns, const hf_aws_credentials **ret_credentials,
                     hf_error *err) HF_MUST_CHECK;
/* The service refused them as expired or unknown: the next hf_aws_get asks anew. */
void hf_aws_reject(hf_aws *aws);
/* "environment", "web identity"...: where they came from last; "nowhere" at first. */
const char *hf_aws_source_name(const hf_aws *aws);
/* AWS_REGION, AWS_DEFAULT_REGION, the profile's region. NOT_FOUND when none says. */
hf_status hf_aws_find_region(char *ret_region, size_t len, hf_error *err) HF_MUST_CHECK;

#endif
