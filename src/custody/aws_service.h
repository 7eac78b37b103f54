/*
 * How the back ends in AWS ask a service that speaks JSON: signed requests, many at once, tried
 * again while the service is throttled or passing ill, credentials fetched anew once when they are
 * refused. All of it ends by the deadline.
 *
 * From any number of threads at once. Answers may hold secrets: what jansson frees is wiped from
 * the first hf_aws_service_open of a process on.
 */
#ifndef HF_AWS_SERVICE_H
#define HF_AWS_SERVICE_H

#include <jansson.h>

#include "base/base.h"
#include "net/net.h"

#define HF_AWS_REGION_LEN 64
#define HF_AWS_URL_LEN 512
#define HF_AWS_ROLE_ARN_LEN 512

/* Where the service is. */
typedef struct hf_aws_place {
    char region[HF_AWS_REGION_LEN];     /* "": AWS_REGION and so on, as AWS's own tools find it */
    char endpoint_url[HF_AWS_URL_LEN];  /* "": the region's own; else https, or http on loopback */
    char ca_file[HF_AWS_URL_LEN];       /* "": the system's authorities */
    char role_arn[HF_AWS_ROLE_ARN_LEN]; /* "": none but what AWS's own settings say */
    const hf_aws_credentials *credentials; /* NULL: as AWS's own tools find them; copied */
} hf_aws_place;

typedef struct hf_aws_service hf_aws_service;

/* name: "kms", "secretsmanager". Sends nothing. USAGE for a place that is none. */
hf_status hf_aws_service_open(const char *name, const hf_aws_place *place,
                              hf_aws_service **ret_service, hf_error *err) HF_MUST_CHECK;
void hf_aws_service_close(hf_aws_service *service); /* NULL is fine; no call may be under way */
const char *hf_aws_service_region(const hf_aws_service *service);

/* One request, and then what came of it. */
typedef struct hf_aws_question {
    const char *operation; /* "Decrypt" */
    json_t *body;          /* owned; NULL: memory was short when it was made */
    hf_status status;      /* out: OK, or the status of err */
    json_t *answer;        /* out, owned: an object, when OK */
    hf_error err;          /* out: names service, region and operation */
    char fault[48];        /* out: what the service calls it, "AccessDeniedException", or "" */
    unsigned tries;        /* inside: how often it was sent */
} hf_aws_question;

/*
 * Asks all n and returns when each has its status. UNAVAILABLE: no answer, throttled for too long,
 * no credentials. DENIED: refused. NOT_FOUND: no such key or secret. INVALID_INPUT: not understood.
 * When the service cannot be reached at all those not yet asked fail without being sent.
 */
void hf_aws_ask(hf_aws_service *service, hf_aws_question *questions, size_t n,
                uint64_t deadline_ns);
/* Frees bodies and answers; fit for new ones afterwards. */
void hf_aws_questions_done(hf_aws_question *questions, size_t n);
/* One question, the body taken. *ret_answer is owned; NULL when only the status matters. */
hf_status hf_aws_ask_one(hf_aws_service *service, const char *operation, json_t *take_body,
                         uint64_t deadline_ns, json_t **ret_answer, hf_error *err) HF_MUST_CHECK;

/* Did the last exchange get an answer? With why not; "" before the first. */
bool hf_aws_service_is_well(hf_aws_service *service, char *ret_detail, size_t len);

/* ---- what the answers mean (aws_fault.c) ---------------------------------------------------- */

typedef enum hf_aws_advice {
    HF_AWS_FINAL = 0,
    HF_AWS_AGAIN,      /* throttled: it will pass */
    HF_AWS_ILL,        /* a fault of the service: it may pass */
    HF_AWS_CREDENTIALS /* fetch them anew, then again */
} hf_aws_advice;

/* Reads an answer that is not 200 into status, err and fault of the question. */
hf_aws_advice hf_aws_take_fault(hf_aws_question *question, const char *where, long http_status,
                                hf_bytes answer);

/* ---- members of answers --------------------------------------------------------------------- */

/* Standard base64 of at most max bytes. INVALID_INPUT when the member is not there or is none. */
hf_status hf_aws_read_base64(const json_t *answer, const char *name, uint8_t *out, size_t max,
                             size_t *ret_len) HF_MUST_CHECK;
json_t *hf_aws_write_base64(hf_bytes bytes); /* NULL when memory is short */

#endif
