/* A profile that names a role: credentials of another place ask STS for the role's. */
#include "net/net_internal.h"

#define WHAT "AWS credentials from a role"
#define VALUE_LEN 2048

typedef struct role_profile {
    char arn[VALUE_LEN];
    char session[VALUE_LEN];
    char external_id[VALUE_LEN];
    char source_profile[VALUE_LEN];
    char credential_source[VALUE_LEN];
    char mfa[VALUE_LEN];
} role_profile;

static hf_status read_profile(role_profile *role, hf_error *err)
{
    const struct {
        const char *key;
        char *value;
    } wanted[] = {{"role_arn", role->arn},
                  {"role_session_name", role->session},
                  {"external_id", role->external_id},
                  {"source_profile", role->source_profile},
                  {"credential_source", role->credential_source},
                  {"mfa_serial", role->mfa}};
    hf_status st = hf_ok();
    for (size_t i = 0; i < HF_ARRAY_LEN(wanted) && !hf_failed(st); i++) {
        bool exists = false;
        st = hf_aws_file_value(hf_aws_profile(), wanted[i].key, wanted[i].value, VALUE_LEN, &exists,
                               err);
        if (st.code == HF_NOT_FOUND && i > 0) {
            st = hf_ok();
        }
    }
    return st;
}

/* Whose credentials ask for the role. */
static hf_status find_asker(const hf_aws_ask *ask, const role_profile *role,
                            hf_aws_credentials *ret_asker, hf_error *err)
{
    const char *source = role->credential_source;
    bool has_profile = role->source_profile[0] != '\0';
    hf_status st = {HF_NOT_FOUND};
    if (has_profile == (source[0] != '\0')) {
        return hf_fail(err, HF_UNAVAILABLE,
                       WHAT ": profile %.64s needs either source_profile or credential_source",
                       hf_aws_profile());
    }
    if (has_profile) {
        return hf_aws_profile_keys(role->source_profile, ret_asker, err);
    }
    if (strcmp(source, "Environment") == 0) {
        st = hf_aws_from_environment(ask, ret_asker, err);
    } else if (strcmp(source, "Ec2InstanceMetadata") == 0) {
        st = hf_aws_from_instance(ask, ret_asker, err);
    } else if (strcmp(source, "EcsContainer") == 0) {
        st = hf_aws_from_container(ask, ret_asker, err);
    } else {
        return hf_fail(err, HF_UNAVAILABLE,
                       WHAT ": credential_source has to be Environment, Ec2InstanceMetadata or"
                            " EcsContainer");
    }
    return st.code != HF_NOT_FOUND
               ? st
               : hf_fail(err, HF_UNAVAILABLE, WHAT ": there are none from credential_source");
}

static hf_status assume(const hf_aws_ask *ask, const role_profile *role,
                        hf_aws_credentials *ret_credentials, hf_error *err)
{
    hf_aws_credentials asker = {0};
    const hf_aws_field fields[] = {
        {"RoleArn", role->arn},
        {"RoleSessionName", role->session[0] != '\0' ? role->session : "holdfast"},
        {"ExternalId", role->external_id}};
    const hf_aws_sts_question question = {.what = WHAT,
                                          .action = "AssumeRole",
                                          .fields = fields,
                                          .count = HF_ARRAY_LEN(fields),
                                          .as = &asker};
    if (role->mfa[0] != '\0') {
        return hf_fail(err, HF_UNAVAILABLE,
                       WHAT ": profile %.64s wants a second factor (mfa_serial), which nobody can"
                            " type here",
                       hf_aws_profile());
    }
    hf_status st = find_asker(ask, role, &asker, err);
    if (!hf_failed(st)) {
        st = hf_aws_ask_sts(ask, &question, ret_credentials, err);
    }
    hf_wipe(&asker, sizeof asker);
    return st;
}

hf_status hf_aws_from_role(const hf_aws_ask *ask, hf_aws_credentials *ret_credentials,
                           hf_error *err)
{
    role_profile *role = calloc(1, sizeof *role);
    if (role == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = read_profile(role, err);
    if (!hf_failed(st)) {
        st = assume(ask, role, ret_credentials, err);
    }
    free(role);
    return st;
}
