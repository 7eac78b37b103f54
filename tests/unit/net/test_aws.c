/* The chain of AWS credentials, each source against the server of fake_aws.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/net.h"

#define assert_code(status, expected) assert_int_equal((status).code, (expected))

static const char *const variables[] = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
};

typedef struct fixture {
    hf_aws *aws;
    hf_net *net;
    char path[1100];
    hf_error err;
} fixture;

static void set(const char *name, const char *value)
{
    assert_int_equal(setenv(name, value, 1), 0);
}

static void set_server(const char *name, const char *path)
{
    char url[600];
    assert_code(hf_str_format(url, sizeof url, "%s%s", getenv("HF_TEST_HTTP"), path), HF_OK);
    set(name, url);
}

static void ask_server(fixture *fix, const char *path, char *ret_answer, size_t len)
{
    char url[600];
    assert_code(hf_str_format(url, sizeof url, "%s%s", getenv("HF_TEST_HTTP"), path), HF_OK);
    hf_net_exchange exchange = {.method = "GET", .url = url, .max_answer_bytes = 100};
    hf_net_run(fix->net, &exchange, 1, hf_time_mono_ns() + 5 * HF_NS_PER_SECOND);
    assert_code(exchange.result, HF_OK);
    assert_code(hf_str_copy(ret_answer, len, hf_buf_text(exchange.answer)), HF_OK);
    hf_net_exchange_done(&exchange);
}

static void tell_server(fixture *fix, const char *path)
{
    char answer[101];
    ask_server(fix, path, answer, sizeof answer);
    assert_string_equal(answer, "ok");
}

static int setup(void **state)
{
    const hf_net_config config = {0};
    fixture *fix = calloc(1, sizeof *fix);
    assert_non_null(fix);
    for (size_t i = 0; i < HF_ARRAY_LEN(variables); i++) {
        assert_int_equal(unsetenv(variables[i]), 0);
    }
    set("AWS_EC2_METADATA_DISABLED", "true");
    assert_code(hf_net_new(&config, &fix->net, NULL), HF_OK);
    assert_code(hf_aws_new(&config, "eu-test-1", &fix->aws, NULL), HF_OK);
    tell_server(fix, "/set?lifetime=3600&fail=0&generation=1");
    *state = fix;
    return 0;
}

static int teardown(void **state)
{
    fixture *fix = *state;
    hf_aws_free(fix->aws);
    hf_net_free(fix->net);
    free(fix);
    return 0;
}

static hf_status get(fixture *fix, const hf_aws_credentials **ret_credentials)
{
    return hf_aws_get(fix->aws, hf_time_mono_ns() + 5 * HF_NS_PER_SECOND, ret_credentials,
                      &fix->err);
}

static void expect(fixture *fix, const char *key_id, const char *source)
{
    const hf_aws_credentials *found = NULL;
    if (hf_failed(get(fix, &found))) {
        fail_msg("%s", fix->err.msg);
    }
    assert_string_equal(found->access_key_id, key_id);
    assert_string_equal(hf_aws_source_name(fix->aws), source);
}

static void expect_failure(fixture *fix, const char *words)
{
    const hf_aws_credentials *found = NULL;
    assert_code(get(fix, &found), HF_UNAVAILABLE);
    if (strstr(fix->err.msg, words) == NULL) {
        fail_msg("says \"%s\" and not \"%s\"", fix->err.msg, words);
    }
}

static const char *write_file(fixture *fix, const char *name, const char *text)
{
    assert_code(hf_str_format(fix->path, sizeof fix->path, "%s/%s", getenv("HF_TEST_FOLDER"), name),
                HF_OK);
    assert_code(hf_file_write_atomic(fix->path, text, strlen(text), 0600, &fix->err), HF_OK);
    return fix->path;
}

/* ---- each source -------------------------------------------------------------------------- */

static void test_nothing(void **state)
{
    expect_failure(*state, "none in the environment");
}

static void test_environment(void **state)
{
    const hf_aws_credentials *found = NULL;
    set("AWS_ACCESS_KEY_ID", "AKIA1");
    expect_failure(*state, "AWS_SECRET_ACCESS_KEY is missing");
    hf_aws_reject(((fixture *)*state)->aws);
    set("AWS_SECRET_ACCESS_KEY", "secret");
    set("AWS_SESSION_TOKEN", "token");
    hf_time_sleep_ns(HF_NS_PER_SECOND - 1);
    hf_time_sleep_ns(HF_NS_PER_SECOND / 10);
    expect(*state, "AKIA1", "environment");
    assert_code(get(*state, &found), HF_OK);
    assert_string_equal(found->session_token, "token");
    assert_int_equal(found->expires_unix_ms, 0);
}

static void test_files(void **state)
{
    fixture *fix = *state;
    char region[64];
    set("AWS_SHARED_CREDENTIALS_FILE",
        write_file(fix, "credentials",
                   "# comment\n[default]\naws_access_key_id = AKIADEFAULT\n"
                   "aws_secret_access_key=s\n\n[other]\r\naws_access_key_id=AKIAOTHER\r\n"
                   "aws_secret_access_key = a=b/c \r\n[half]\naws_access_key_id = AKIAHALF\n"));
    set("AWS_CONFIG_FILE",
        write_file(
            fix, "config",
            "[default]\nregion = eu-test-9\n[profile other]\nregion=eu-test-2\ns3 =\n"
            "  region = not-this-one\n[profile role]\nrole_arn = arn:x\n"
            "[profile config]\naws_access_key_id = AKIACONFIG\naws_secret_access_key = s\n"));
    expect(fix, "AKIADEFAULT", "shared files");
    assert_code(hf_aws_find_region(region, sizeof region, &fix->err), HF_OK);
    assert_string_equal(region, "eu-test-9");
    set("AWS_REGION", "eu-test-3");
    assert_code(hf_aws_find_region(region, sizeof region, &fix->err), HF_OK);
    assert_string_equal(region, "eu-test-3");
    assert_int_equal(unsetenv("AWS_REGION"), 0);
}

/* One profile: what comes of it, in an object of its own. */
static void check_profile(fixture *fix, const char *profile, const char *key_id, const char *words)
{
    const hf_net_config config = {0};
    hf_aws_free(fix->aws);
    fix->aws = NULL;
    assert_code(hf_aws_new(&config, "eu-test-1", &fix->aws, NULL), HF_OK);
    set("AWS_PROFILE", profile);
    if (key_id != NULL) {
        expect(fix, key_id, "shared files");
    } else {
        expect_failure(fix, words);
    }
}

static void test_profiles(void **state)
{
    fixture *fix = *state;
    const hf_aws_credentials *found = NULL;
    char region[64];
    test_files(state);
    check_profile(fix, "other", "AKIAOTHER", NULL);
    assert_code(get(fix, &found), HF_OK);
    assert_string_equal(found->secret_access_key, "a=b/c");
    assert_code(hf_aws_find_region(region, sizeof region, &fix->err), HF_OK);
    assert_string_equal(region, "eu-test-2");
    check_profile(fix, "config", "AKIACONFIG", NULL);
    check_profile(fix, "half", NULL, "profile half has no aws_secret_access_key");
    check_profile(fix, "role", NULL, "profile role needs either source_profile or");
    check_profile(fix, "absent", NULL, "is in neither of the shared files");
}

/* Roles that a profile names, assumed at STS with the keys of another place, and again in time. */
static void test_roles(void **state)
{
    fixture *fix = *state;
    const hf_aws_credentials *found = NULL;
    set("AWS_SHARED_CREDENTIALS_FILE",
        write_file(fix, "credentials",
                   "[base]\naws_access_key_id = AKIDEXAMPLE\n"
                   "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n"
                   "[wrong]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = x\n"
                   "[twice]\nrole_arn = arn:y\nsource_profile = by-base\n"));
    set("AWS_CONFIG_FILE",
        write_file(fix, "config",
                   "[profile by-base]\nrole_arn = arn:aws:iam::1:role/a+b\n"
                   "source_profile = base\nexternal_id = e/1\n"
                   "[profile by-wrong]\nrole_arn = arn:x\nsource_profile = wrong\n"
                   "[profile by-nobody]\nrole_arn = arn:x\nsource_profile = nobody\n"
                   "[profile by-machine]\nrole_arn = arn:aws:iam::1:role/a+b\n"
                   "credential_source = EcsContainer\n"
                   "[profile by-what]\nrole_arn = arn:x\ncredential_source = Thin air\n"
                   "[profile phone]\nrole_arn = arn:x\nsource_profile = base\nmfa_serial = 1\n"));
    set_server("AWS_ENDPOINT_URL_STS", "/sts");
    check_profile(fix, "by-base", "ASIA-role-1", NULL);
    assert_code(get(fix, &found), HF_OK);
    assert_string_equal(found->session_token, "t0ken");
    assert_true(found->expires_unix_ms > hf_time_unix_ms());
    check_profile(fix, "by-wrong", NULL, "STS refused with status 403, AccessDenied");
    check_profile(fix, "by-nobody", NULL, "profile nobody has no aws_access_key_id");
    check_profile(fix, "twice", NULL, "profile by-base has no aws_access_key_id");
    check_profile(fix, "by-machine", NULL, "there are none from credential_source");
    check_profile(fix, "by-what", NULL, "credential_source has to be");
    check_profile(fix, "phone", NULL, "wants a second factor");
}

static void set_web_identity(fixture *fix)
{
    set("AWS_WEB_IDENTITY_TOKEN_FILE", write_file(fix, "token", "header.pay+load/.sig==\n"));
    set("AWS_ROLE_ARN", "arn:aws:iam::1:role/a+b");
    set_server("AWS_ENDPOINT_URL_STS", "/sts");
}

static void test_web_identity(void **state)
{
    set_web_identity(*state);
    expect(*state, "ASIA-web-1", "web identity");
}

static void test_web_identity_refused(void **state)
{
    set_web_identity(*state);
    tell_server(*state, "/set?fail=400");
    expect_failure(*state, "STS refused with status 400, InvalidIdentityToken");
}

static void test_web_identity_incomplete(void **state)
{
    set("AWS_WEB_IDENTITY_TOKEN_FILE", "/not/there");
    expect_failure(*state, "AWS_ROLE_ARN is not set");
}

static void set_container(fixture *fix)
{
    set_server("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/container");
    set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "not this one");
    set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write_file(fix, "auth", "Basic from-the-file"));
}

static void test_container(void **state)
{
    set_container(*state);
    expect(*state, "ASIA-container-1", "container endpoint");
}

static void test_container_elsewhere(void **state)
{
    set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://credentials.example.com/");
    expect_failure(*state, "http to another machine");
}

static void test_instance(void **state)
{
    set("AWS_EC2_METADATA_DISABLED", "false");
    set_server("AWS_EC2_METADATA_SERVICE_ENDPOINT", "/");
    expect(*state, "ASIA-instance-1", "instance endpoint");
}

/* ---- renewal ------------------------------------------------------------------------------ */

static unsigned count_asked(fixture *fix)
{
    char answer[101];
    uint64_t count;
    ask_server(fix, "/count?of=container", answer, sizeof answer);
    assert_code(hf_num_parse_u64(answer, strlen(answer), &count), HF_OK);
    return (unsigned)count;
}

static void test_asked_once(void **state)
{
    set_container(*state);
    (void)count_asked(*state);
    for (int i = 0; i < 10; i++) {
        expect(*state, "ASIA-container-1", "container endpoint");
    }
    assert_int_equal(count_asked(*state), 1);
}

/* Inside the last minutes they are asked for anew, and serve on while that fails. */
static void test_renewed_before_expiry(void **state)
{
    fixture *fix = *state;
    set_container(fix);
    tell_server(fix, "/set?lifetime=3601");
    expect(fix, "ASIA-container-1", "container endpoint");
    tell_server(fix, "/set?generation=2");
    expect(fix, "ASIA-container-1", "container endpoint");
    hf_aws_reject(fix->aws);
    hf_time_sleep_ns(HF_NS_PER_SECOND - 1);
    hf_time_sleep_ns(HF_NS_PER_SECOND / 10);
    tell_server(fix, "/set?lifetime=200");
    expect(fix, "ASIA-container-2", "container endpoint");
    (void)count_asked(fix);
    tell_server(fix, "/set?fail=500");
    for (int i = 0; i < 5; i++) {
        expect(fix, "ASIA-container-2", "container endpoint");
    }
    assert_true(count_asked(fix) <= 1);
}

static void test_expired(void **state)
{
    fixture *fix = *state;
    set_container(fix);
    tell_server(fix, "/set?lifetime=-5");
    expect_failure(fix, "have expired");
    tell_server(fix, "/set?lifetime=3600");
    /* Not asked again within the same moment, and then found. */
    for (int i = 0; i < 110; i++) {
        hf_time_sleep_ns(HF_NS_PER_SECOND / 10);
        const hf_aws_credentials *found = NULL;
        if (!hf_failed(get(fix, &found))) {
            return;
        }
    }
    fail_msg("never renewed: %s", fix->err.msg);
}

static void test_rejected(void **state)
{
    fixture *fix = *state;
    set_container(fix);
    expect(fix, "ASIA-container-1", "container endpoint");
    tell_server(fix, "/set?generation=2");
    hf_aws_reject(fix->aws);
    expect_failure(fix, "were refused");
    hf_time_sleep_ns(HF_NS_PER_SECOND - 1);
    hf_time_sleep_ns(HF_NS_PER_SECOND / 10);
    expect(fix, "ASIA-container-2", "container endpoint");
}

#define WITH_AWS(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_AWS(test_nothing),
        WITH_AWS(test_environment),
        WITH_AWS(test_files),
        WITH_AWS(test_profiles),
        WITH_AWS(test_roles),
        WITH_AWS(test_web_identity),
        WITH_AWS(test_web_identity_refused),
        WITH_AWS(test_web_identity_incomplete),
        WITH_AWS(test_container),
        WITH_AWS(test_container_elsewhere),
        WITH_AWS(test_instance),
        WITH_AWS(test_asked_once),
        WITH_AWS(test_renewed_before_expiry),
        WITH_AWS(test_expired),
        WITH_AWS(test_rejected),
    };
    return cmocka_run_group_tests_name("aws", tests, NULL, NULL);
}
