/* The shared files of AWS's tools: ~/.aws/credentials and ~/.aws/config. */
#include "net/net_internal.h"

#define FILE_MAX_BYTES (1U << 20)
#define SECTION_LEN (HF_AWS_PROFILE_LEN + 16)

typedef struct ini_query {
    const char *section; /* another name for it that counts as well, or NULL */
    const char *other_section;
    const char *key;
    char *value;
    size_t len;
    bool section_found;
    bool key_found;
    bool too_long;
} ini_query;

const char *hf_aws_profile(void)
{
    const char *profile = hf_aws_env("AWS_PROFILE");
    return profile != NULL ? profile : "default";
}

/* [start, end) without the blanks at both ends. */
static hf_bytes trimmed(const char *start, const char *end)
{
    while (start < end && strchr(" \t\r", *start) != NULL) {
        start++;
    }
    while (end > start && strchr(" \t\r", end[-1]) != NULL) {
        end--;
    }
    return hf_bytes_from(start, (size_t)(end - start));
}

static bool equals(hf_bytes text, const char *word)
{
    return word != NULL && text.len == strlen(word) && hf_bytes_equal(text.ptr, word, text.len);
}

static void take_pair(ini_query *query, hf_bytes line)
{
    const char *text = (const char *)line.ptr;
    const char *equal = memchr(text, '=', line.len);
    if (equal == NULL || !equals(trimmed(text, equal), query->key)) {
        return;
    }
    hf_bytes value = trimmed(equal + 1, text + line.len);
    if (value.len >= query->len) {
        query->too_long = true;
        return;
    }
    memcpy(query->value, value.ptr, value.len);
    query->value[value.len] = '\0';
    query->key_found = value.len > 0;
}

static void scan(ini_query *query, const char *text)
{
    bool inside = false;
    while (*text != '\0') {
        const char *end = text + strcspn(text, "\n");
        /* An indented line belongs to a nested setting ("s3 ="): none that counts here. */
        bool nested = *text == ' ' || *text == '\t';
        hf_bytes line = trimmed(text, end);
        if (line.len > 2 && line.ptr[0] == '[' && line.ptr[line.len - 1] == ']') {
            hf_bytes name =
                trimmed((const char *)line.ptr + 1, (const char *)line.ptr + line.len - 1);
            inside = equals(name, query->section) || equals(name, query->other_section);
            query->section_found = query->section_found || inside;
        } else if (inside && !nested && line.len > 0 && line.ptr[0] != '#' && line.ptr[0] != ';') {
            take_pair(query, line);
        }
        text = *end == '\0' ? end : end + 1;
    }
}

static hf_status file_path(const char *variable, const char *name, char *ret_path, size_t len)
{
    const char *path = hf_aws_env(variable);
    const char *home = hf_aws_env("HOME");
    if (path != NULL) {
        return hf_str_copy(ret_path, len, path);
    }
    if (home == NULL) {
        return (hf_status){HF_NOT_FOUND};
    }
    return hf_str_format(ret_path, len, "%s/.aws/%s", home, name);
}

/* A file that is not there holds nothing. */
static hf_status scan_file(ini_query *query, const char *variable, const char *name, hf_error *err)
{
    char path[HF_AWS_PATH_LEN];
    hf_buf *text = NULL;
    if (hf_failed(file_path(variable, name, path, sizeof path))) {
        return hf_ok();
    }
    hf_status st = hf_file_read(path, FILE_MAX_BYTES, &text, err);
    if (st.code == HF_NOT_FOUND && hf_aws_env(variable) == NULL) {
        return hf_ok();
    }
    if (hf_failed(st)) {
        return hf_error_wrap(err, (hf_status){HF_UNAVAILABLE}, "AWS credentials");
    }
    scan(query, hf_buf_text(text));
    hf_buf_free(text);
    if (query->too_long) {
        return hf_fail(err, HF_UNAVAILABLE, "AWS credentials: %s: %s in profile %.64s is too long",
                       path, query->key, hf_aws_profile());
    }
    return hf_ok();
}

hf_status hf_aws_file_value(const char *profile, const char *key, char *ret_value, size_t len,
                            bool *ret_profile_exists, hf_error *err)
{
    char section[SECTION_LEN];
    if (hf_failed(hf_str_format(section, sizeof section, "profile %s", profile))) {
        return hf_fail(err, HF_UNAVAILABLE, "AWS credentials: the name of the profile is too long");
    }
    ini_query query = {.section = profile, .key = key, .value = ret_value, .len = len};
    hf_status st = scan_file(&query, "AWS_SHARED_CREDENTIALS_FILE", "credentials", err);
    if (!hf_failed(st) && !query.key_found) {
        /* In the configuration a profile is called [profile NAME]; only the default is bare. */
        query.section = section;
        query.other_section = strcmp(profile, "default") == 0 ? profile : NULL;
        st = scan_file(&query, "AWS_CONFIG_FILE", "config", err);
    }
    *ret_profile_exists = query.section_found;
    if (!hf_failed(st) && !query.key_found) {
        return (hf_status){HF_NOT_FOUND};
    }
    return st;
}

/* Absence of the key is a failure with a sentence. */
static hf_status need(const char *profile, const char *key, char *ret_value, size_t len,
                      hf_error *err)
{
    bool exists = false;
    hf_status st = hf_aws_file_value(profile, key, ret_value, len, &exists, err);
    if (st.code == HF_NOT_FOUND) {
        return hf_fail(err, HF_UNAVAILABLE, "AWS credentials: profile %.64s has no %s", profile,
                       key);
    }
    return st;
}

hf_status hf_aws_profile_keys(const char *profile, hf_aws_credentials *ret_credentials,
                              hf_error *err)
{
    hf_aws_credentials found = {0};
    bool exists = false;
    hf_status st =
        need(profile, "aws_access_key_id", found.access_key_id, sizeof found.access_key_id, err);
    if (!hf_failed(st)) {
        st = need(profile, "aws_secret_access_key", found.secret_access_key,
                  sizeof found.secret_access_key, err);
    }
    if (!hf_failed(st)) {
        st = hf_aws_file_value(profile, "aws_session_token", found.session_token,
                               sizeof found.session_token, &exists, err);
        st = st.code == HF_NOT_FOUND ? hf_ok() : st;
    }
    if (!hf_failed(st)) {
        *ret_credentials = found;
    }
    hf_wipe(&found, sizeof found);
    return st;
}

/* Ways of a profile to credentials that are not gone here: better said than silently passed by. */
static hf_status refuse_unsupported(hf_error *err)
{
    static const char *const keys[] = {"credential_process", "sso_session", "sso_start_url"};
    char value[HF_AWS_SECRET_LEN];
    for (size_t i = 0; i < HF_ARRAY_LEN(keys); i++) {
        bool exists = false;
        hf_status st =
            hf_aws_file_value(hf_aws_profile(), keys[i], value, sizeof value, &exists, NULL);
        if (!hf_failed(st)) {
            return hf_fail(
                err, HF_UNAVAILABLE,
                "AWS credentials: profile %.64s uses %s, which is not supported: give it "
                "aws_access_key_id and aws_secret_access_key, or use web identity",
                hf_aws_profile(), keys[i]);
        }
    }
    return (hf_status){HF_NOT_FOUND};
}

hf_status hf_aws_from_files(const hf_aws_ask *ask, hf_aws_credentials *ret_credentials,
                            hf_error *err)
{
    char key_id[HF_AWS_SECRET_LEN];
    bool exists = false;
    hf_status st = hf_aws_from_role(ask, ret_credentials, err);
    if (st.code != HF_NOT_FOUND) {
        return st;
    }
    st = hf_aws_file_value(hf_aws_profile(), "aws_access_key_id", key_id, sizeof key_id, &exists,
                           err);
    if (!hf_failed(st)) {
        return hf_aws_profile_keys(hf_aws_profile(), ret_credentials, err);
    }
    if (st.code == HF_NOT_FOUND) {
        st = refuse_unsupported(err);
    }
    if (st.code == HF_NOT_FOUND && hf_aws_env("AWS_PROFILE") != NULL) {
        st = hf_fail(err, HF_UNAVAILABLE, "AWS credentials: profile %.64s %s", hf_aws_profile(),
                     exists ? "has no aws_access_key_id" : "is in neither of the shared files");
    }
    return st;
}
