/* The chain of sources, and when to ask again. */
#include "net/net_internal.h"

/* Asked for anew so long before they expire (AWS renews its own well before that)... */
#define REFRESH_BEFORE_MS (INT64_C(5) * 60 * 1000)
/* ... and, while that fails, again after this pause; it may take no longer than this then. */
#define RETRY_PAUSE_NS (10 * HF_NS_PER_SECOND)
#define RETRY_BUDGET_NS (250 * HF_NS_PER_MS)
/* After a refusal credentials without expiry, from a file perhaps, are read again this late. */
#define REJECT_PAUSE_NS HF_NS_PER_SECOND

typedef struct aws_source {
    const char *name;
    hf_status (*ask)(const hf_aws_ask *ask, hf_aws_credentials *ret_credentials, hf_error *err);
} aws_source;

static const aws_source sources[] = {
    {"environment", hf_aws_from_environment},    {"web identity", hf_aws_from_web_identity},
    {"shared files", hf_aws_from_files},         {"container endpoint", hf_aws_from_container},
    {"instance endpoint", hf_aws_from_instance},
};

struct hf_aws {
    hf_net *net;
    char region[64];
    char role_arn[HF_AWS_ROLE_LEN]; /* "": none */
    hf_aws_credentials asker;       /* whose word the role is given on; wiped after each asking */
    hf_aws_credentials given;       /* access_key_id "": the sources are asked */
    hf_aws_credentials now;         /* access_key_id "" when there are none */
    const char *source;
    bool rejected;
    uint64_t last_try_ns;
    uint64_t next_try_ns;
    hf_error last; /* why the last asking failed */
};

static bool copy_env(const char *name, char *out, size_t len)
{
    const char *value = hf_aws_env(name);
    return value != NULL && !hf_failed(hf_str_copy(out, len, value));
}

hf_status hf_aws_from_environment(const hf_aws_ask *ask, hf_aws_credentials *ret_credentials,
                                  hf_error *err)
{
    (void)ask;
    hf_aws_credentials found = {0};
    hf_status st = hf_ok();
    if (hf_aws_env("AWS_ACCESS_KEY_ID") == NULL) {
        return (hf_status){HF_NOT_FOUND};
    }
    if (!copy_env("AWS_ACCESS_KEY_ID", found.access_key_id, sizeof found.access_key_id) ||
        !copy_env("AWS_SECRET_ACCESS_KEY", found.secret_access_key,
                  sizeof found.secret_access_key) ||
        (hf_aws_env("AWS_SESSION_TOKEN") != NULL &&
         !copy_env("AWS_SESSION_TOKEN", found.session_token, sizeof found.session_token))) {
        st = hf_fail(err, HF_UNAVAILABLE,
                     "AWS credentials: AWS_SECRET_ACCESS_KEY is missing beside AWS_ACCESS_KEY_ID, "
                     "or one of the variables is too long");
    } else {
        *ret_credentials = found;
    }
    hf_wipe(&found, sizeof found);
    return st;
}

/* The role's credentials, asked for with those in place. */
static hf_status take_role(hf_aws *aws, const hf_aws_ask *ask, hf_aws_credentials *found,
                           hf_error *err)
{
    const hf_aws_field fields[] = {{"RoleArn", aws->role_arn}, {"RoleSessionName", "holdfast"}};
    const hf_aws_sts_question question = {.what = "AWS credentials from a role",
                                          .action = "AssumeRole",
                                          .fields = fields,
                                          .count = HF_ARRAY_LEN(fields),
                                          .as = &aws->asker};
    aws->asker = *found;
    hf_status st = hf_aws_ask_sts(ask, &question, found, err);
    hf_wipe(&aws->asker, sizeof aws->asker);
    return st;
}

/* ---- asking ------------------------------------------------------------------------------- */

/* The first source that there is. */
static hf_status ask_sources(hf_aws *aws, const hf_aws_ask *ask, hf_aws_credentials *found,
                             const char **ret_source, hf_error *err)
{
    hf_status st = {HF_NOT_FOUND};
    if (aws->given.access_key_id[0] != '\0') {
        *found = aws->given;
        *ret_source = "configuration";
        return hf_ok();
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(sources) && st.code == HF_NOT_FOUND; i++) {
        st = sources[i].ask(ask, found, err);
        *ret_source = sources[i].name;
    }
    return st.code != HF_NOT_FOUND
               ? st
               : hf_fail(err, HF_UNAVAILABLE,
                         "AWS credentials: none in the environment, the shared files, or a "
                         "container or instance endpoint");
}

static hf_status ask_all(hf_aws *aws, uint64_t deadline_ns, hf_error *err)
{
    const hf_aws_ask ask = {aws->net, aws->region, deadline_ns};
    const char *source = "nowhere";
    hf_aws_credentials found = {0};
    hf_status st = ask_sources(aws, &ask, &found, &source, err);
    if (!hf_failed(st) && aws->role_arn[0] != '\0') {
        st = take_role(aws, &ask, &found, err);
    }
    if (!hf_failed(st) && strpbrk(found.session_token, "\r\n") != NULL) {
        st = hf_fail(err, HF_UNAVAILABLE, "AWS credentials: the session token is malformed");
    }
    if (!hf_failed(st)) {
        aws->now = found;
        aws->source = source;
        aws->rejected = false;
    }
    hf_wipe(&found, sizeof found);
    return st;
}

static bool is_usable(const hf_aws *aws, int64_t now_ms)
{
    return aws->now.access_key_id[0] != '\0' && !aws->rejected &&
           (aws->now.expires_unix_ms == 0 || now_ms < aws->now.expires_unix_ms);
}

static bool is_due(const hf_aws *aws, int64_t now_ms)
{
    return !is_usable(aws, now_ms) ||
           (aws->now.expires_unix_ms != 0 && aws->now.expires_unix_ms - now_ms < REFRESH_BEFORE_MS);
}

static hf_status refresh(hf_aws *aws, bool usable, uint64_t deadline_ns, hf_error *err)
{
    uint64_t now_ns = hf_time_mono_ns();
    if (now_ns < aws->next_try_ns) {
        return usable ? hf_ok() : hf_fail(err, HF_UNAVAILABLE, "%s", aws->last.msg);
    }
    if (usable && deadline_ns > now_ns + RETRY_BUDGET_NS) {
        deadline_ns = now_ns + RETRY_BUDGET_NS;
    }
    aws->last_try_ns = now_ns;
    hf_status st = ask_all(aws, deadline_ns, &aws->last);
    if (!hf_failed(st)) {
        aws->next_try_ns = 0;
        /* An endpoint may hand out what is about to expire: not asked again at each request. */
        if (is_due(aws, hf_time_unix_ms())) {
            aws->next_try_ns = now_ns + RETRY_PAUSE_NS;
        }
        return st;
    }
    aws->next_try_ns = now_ns + (usable ? RETRY_PAUSE_NS : REJECT_PAUSE_NS);
    return usable ? hf_ok() : hf_fail(err, HF_UNAVAILABLE, "%s", aws->last.msg);
}

hf_status hf_aws_get(hf_aws *aws, uint64_t deadline_ns, const hf_aws_credentials **ret_credentials,
                     hf_error *err)
{
    int64_t now_ms = hf_time_unix_ms();
    if (is_due(aws, now_ms)) {
        hf_status st = refresh(aws, is_usable(aws, now_ms), deadline_ns, err);
        if (hf_failed(st)) {
            return st;
        }
        if (!is_usable(aws, hf_time_unix_ms())) {
            return hf_fail(err, HF_UNAVAILABLE, "AWS credentials: those from the %s have expired",
                           aws->source);
        }
    }
    *ret_credentials = &aws->now;
    return hf_ok();
}

void hf_aws_reject(hf_aws *aws)
{
    aws->rejected = true;
    hf_error_set(&aws->last, HF_UNAVAILABLE, "AWS credentials: those from the %s were refused",
                 aws->source);
    /* At once, unless they were only just asked for: no endpoint is flooded. */
    aws->next_try_ns = aws->last_try_ns + REJECT_PAUSE_NS;
}

const char *hf_aws_source_name(const hf_aws *aws)
{
    return aws->source;
}

hf_status hf_aws_find_region(char *ret_region, size_t len, hf_error *err)
{
    bool exists = false;
    if (copy_env("AWS_REGION", ret_region, len) ||
        copy_env("AWS_DEFAULT_REGION", ret_region, len) ||
        !hf_failed(hf_aws_file_value(hf_aws_profile(), "region", ret_region, len, &exists, NULL))) {
        return hf_ok();
    }
    return hf_fail(err, HF_NOT_FOUND,
                   "no AWS region is set: not in the configuration, AWS_REGION, "
                   "AWS_DEFAULT_REGION or the profile");
}

/* ---- life --------------------------------------------------------------------------------- */

hf_status hf_aws_new(const hf_net_config *config, const char *region, hf_aws **ret_aws,
                     hf_error *err)
{
    hf_aws *aws = calloc(1, sizeof *aws);
    if (aws == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    aws->source = "nowhere";
    hf_status st = hf_str_copy(aws->region, sizeof aws->region, region);
    st = hf_failed(st) ? hf_fail(err, HF_USAGE, "the name of the AWS region is too long")
                       : hf_net_new(config, &aws->net, err);
    if (hf_failed(st)) {
        hf_aws_free(aws);
        return st;
    }
    *ret_aws = aws;
    return hf_ok();
}

hf_status hf_aws_set_role(hf_aws *aws, const char *role_arn, hf_error *err)
{
    hf_status st = hf_str_copy(aws->role_arn, sizeof aws->role_arn, role_arn);
    return hf_failed(st) ? hf_fail(err, HF_USAGE, "the ARN of the role is too long") : st;
}

void hf_aws_set_credentials(hf_aws *aws, const hf_aws_credentials *credentials)
{
    aws->given = *credentials;
}

void hf_aws_free(hf_aws *aws)
{
    if (aws != NULL) {
        hf_net_free(aws->net);
        hf_wipe(aws, sizeof *aws);
        free(aws);
    }
}
