/* What the refusals of AWS mean, in words that help whoever runs the signer. */
#include <malloc.h>
#include <sodium.h>

#include "custody/aws_service.h"

#define BASE64_VARIANT sodium_base64_VARIANT_ORIGINAL
#define MESSAGE_LEN 128

typedef struct fault {
    const char *type;
    hf_code code;
    hf_aws_advice advice;
    const char *sentence; /* NULL: what AWS says */
} fault;

#define SIGNATURE "the signature is refused: check region, secret key and this machine's clock"
#define CREDENTIALS "the credentials are not valid, or no longer"
#define THROTTLED "requests are throttled"

static const fault faults[] = {
    /* for any service */
    {"ThrottlingException", HF_UNAVAILABLE, HF_AWS_AGAIN, THROTTLED},
    {"Throttling", HF_UNAVAILABLE, HF_AWS_AGAIN, THROTTLED},
    {"TooManyRequestsException", HF_UNAVAILABLE, HF_AWS_AGAIN, THROTTLED},
    {"RequestLimitExceeded", HF_UNAVAILABLE, HF_AWS_AGAIN, THROTTLED},
    {"LimitExceededException", HF_UNAVAILABLE, HF_AWS_AGAIN, "a limit of the account is exceeded"},
    {"ExpiredTokenException", HF_UNAVAILABLE, HF_AWS_CREDENTIALS, CREDENTIALS},
    {"ExpiredToken", HF_UNAVAILABLE, HF_AWS_CREDENTIALS, CREDENTIALS},
    {"UnrecognizedClientException", HF_UNAVAILABLE, HF_AWS_CREDENTIALS, CREDENTIALS},
    {"InvalidClientTokenId", HF_UNAVAILABLE, HF_AWS_CREDENTIALS, CREDENTIALS},
    {"InvalidSignatureException", HF_UNAVAILABLE, HF_AWS_FINAL, SIGNATURE},
    {"IncompleteSignatureException", HF_UNAVAILABLE, HF_AWS_FINAL, SIGNATURE},
    {"MissingAuthenticationTokenException", HF_UNAVAILABLE, HF_AWS_FINAL, SIGNATURE},
    {"RequestExpired", HF_UNAVAILABLE, HF_AWS_FINAL, SIGNATURE},
    {"AccessDeniedException", HF_DENIED, HF_AWS_FINAL, NULL},
    {"AccessDenied", HF_DENIED, HF_AWS_FINAL, NULL},
    /* KMS */
    {"NotFoundException", HF_NOT_FOUND, HF_AWS_FINAL, "no such key"},
    {"DisabledException", HF_DENIED, HF_AWS_FINAL, "the key in KMS is disabled"},
    {"KMSInvalidStateException", HF_DENIED, HF_AWS_FINAL,
     "the key in KMS cannot be used in its state (to be deleted, or not made yet)"},
    {"InvalidKeyUsageException", HF_DENIED, HF_AWS_FINAL, "the key in KMS is not for this use"},
    {"IncorrectKeyException", HF_DENIED, HF_AWS_FINAL, "wrapped under another key in KMS"},
    {"InvalidCiphertextException", HF_DENIED, HF_AWS_FINAL,
     "KMS does not open it: damaged, or wrapped with another encryption context"},
    {"InvalidArnException", HF_INVALID_INPUT, HF_AWS_FINAL, "not the ARN of a key"},
    {"KeyUnavailableException", HF_UNAVAILABLE, HF_AWS_ILL, "the key is not to be had just now"},
    {"DependencyTimeoutException", HF_UNAVAILABLE, HF_AWS_ILL, "the service timed out inside"},
    {"KMSInternalException", HF_UNAVAILABLE, HF_AWS_ILL, "a fault of the service"},
    /* Secrets Manager */
    {"ResourceNotFoundException", HF_NOT_FOUND, HF_AWS_FINAL,
     "no such secret, or none with a current version"},
    {"InvalidRequestException", HF_DENIED, HF_AWS_FINAL, NULL},
    {"DecryptionFailure", HF_DENIED, HF_AWS_FINAL,
     "the secret's own KMS key does not open it: the role needs kms:Decrypt"},
    {"InternalServiceError", HF_UNAVAILABLE, HF_AWS_ILL, "a fault of the service"},
};

static const fault *find_fault(const char *type)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(faults); i++) {
        if (strcmp(faults[i].type, type) == 0) {
            return &faults[i];
        }
    }
    return NULL;
}

/* "com.amazonaws.kms#Name", "Name:http://..." or "Name". */
static void read_type(const json_t *answer, char *ret_type, size_t len)
{
    char clean[160];
    const char *type = json_string_value(json_object_get(answer, "__type"));
    hf_str_sanitize(clean, sizeof clean, type != NULL ? type : "");
    const char *hash = strrchr(clean, '#');
    type = hash != NULL ? hash + 1 : clean;
    clean[(size_t)(type - clean) + strcspn(type, ":")] = '\0';
    hf_str_cut(ret_type, len, type);
}

/* The service's own sentence, cut. */
static void read_message(const json_t *answer, char ret_message[MESSAGE_LEN])
{
    const char *message = json_string_value(json_object_get(answer, "message"));
    if (message == NULL) {
        message = json_string_value(json_object_get(answer, "Message"));
    }
    hf_str_sanitize(ret_message, MESSAGE_LEN, message != NULL ? message : "");
}

hf_aws_advice hf_aws_take_fault(hf_aws_question *question, const char *where, long http_status,
                                hf_bytes answer)
{
    char message[MESSAGE_LEN];
    json_error_t problem;
    json_t *document = json_loadb((const char *)answer.ptr, answer.len, 0, &problem);
    read_type(document, question->fault, sizeof question->fault);
    read_message(document, message);
    json_decref(document);
    const fault *known = find_fault(question->fault);
    if (known != NULL && known->sentence != NULL) {
        question->status = hf_fail(&question->err, known->code, "%s: %s: %s", where,
                                   question->operation, known->sentence);
        return known->advice;
    }
    /* Faults beyond the table: those of the service pass, those of the request do not. */
    bool ill = known == NULL && (http_status >= 500 || http_status == 429);
    hf_code code = known != NULL ? known->code : (ill ? HF_UNAVAILABLE : HF_DENIED);
    question->status =
        hf_fail(&question->err, code, "%s: %s: %s (status %ld)%s%s", where, question->operation,
                question->fault[0] != '\0' ? question->fault : "refused", http_status,
                message[0] != '\0' ? ": " : "", message);
    return ill ? HF_AWS_ILL : HF_AWS_FINAL;
}

/* ---- members ------------------------------------------------------------------------------ */

hf_status hf_aws_read_base64(const json_t *answer, const char *name, uint8_t *out, size_t max,
                             size_t *ret_len)
{
    const json_t *member = json_object_get(answer, name);
    const char *end = NULL;
    size_t len = 0;
    if (!json_is_string(member)) {
        return (hf_status){HF_INVALID_INPUT};
    }
    const char *text = json_string_value(member);
    size_t text_len = json_string_length(member);
    if (sodium_base642bin(out, max, text, text_len, NULL, &len, &end, BASE64_VARIANT) != 0 ||
        end != text + text_len || len == 0) {
        hf_wipe(out, max);
        return (hf_status){HF_INVALID_INPUT};
    }
    *ret_len = len;
    return hf_ok();
}

json_t *hf_aws_write_base64(hf_bytes bytes)
{
    size_t room = sodium_base64_ENCODED_LEN(bytes.len, BASE64_VARIANT);
    char *text = malloc(room);
    if (text == NULL) {
        return NULL;
    }
    (void)sodium_bin2base64(text, room, bytes.ptr, bytes.len, BASE64_VARIANT);
    json_t *member = json_string(text);
    hf_wipe(text, room);
    free(text);
    return member;
}
