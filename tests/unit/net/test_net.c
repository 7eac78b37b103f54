/* Requests and signatures, against the server of fake_aws.py. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/net.h"

#define assert_code(status, expected) assert_int_equal((status).code, (expected))
#define MANY 200

static const hf_aws_credentials permanent = {.access_key_id = "AKIDEXAMPLE",
                                             .secret_access_key =
                                                 "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"};
static const hf_aws_credentials temporary = {.access_key_id = "ASIAEXAMPLE",
                                             .secret_access_key = "temporary/secret+",
                                             .session_token = "a-session-token=="};

typedef struct fixture {
    hf_net *net;
    char url[600];
} fixture;

static uint64_t in_ms(uint64_t ms)
{
    return hf_time_mono_ns() + ms * HF_NS_PER_MS;
}

static void set_url(fixture *fix, const char *server, const char *path)
{
    const char *base = getenv(server);
    assert_non_null(base);
    assert_code(hf_str_format(fix->url, sizeof fix->url, "%s%s", base, path), HF_OK);
}

static int setup(void **state)
{
    const hf_net_config config = {0};
    fixture *fix = calloc(1, sizeof *fix);
    assert_non_null(fix);
    assert_code(hf_net_new(&config, &fix->net, NULL), HF_OK);
    *state = fix;
    return 0;
}

static int teardown(void **state)
{
    fixture *fix = *state;
    hf_net_free(fix->net);
    free(fix);
    return 0;
}

static hf_net_exchange post(fixture *fix, const char *path, const char *body)
{
    set_url(fix, "HF_TEST_HTTP", path);
    return (hf_net_exchange){.method = "POST",
                             .url = fix->url,
                             .headers = {"Content-Type: application/x-amz-json-1.0",
                                         "X-Amz-Target: DynamoDB_20120810.PutItem"},
                             .body = hf_bytes_from(body, strlen(body)),
                             .max_answer_bytes = 1000};
}

/* ---- requests ----------------------------------------------------------------------------- */

static void test_methods_and_bodies(void **state)
{
    static const struct {
        const char *method;
        const char *body;
        const char *answer;
    } cases[] = {{"POST", "{\"a\":1}", "POST {\"a\":1}"}, {"PUT", "", "PUT "}, {"GET", "", "GET "}};
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        hf_net_exchange exchange = post(*state, "/echo", cases[i].body);
        exchange.method = cases[i].method;
        hf_net_run(((fixture *)*state)->net, &exchange, 1, in_ms(5000));
        assert_code(exchange.result, HF_OK);
        assert_int_equal(exchange.http_status, 200);
        assert_string_equal(hf_buf_text(exchange.answer), cases[i].answer);
        hf_net_exchange_done(&exchange);
    }
}

/* More than there are places: all are answered, each with its own. */
static void test_many_at_once(void **state)
{
    fixture *fix = *state;
    static hf_net_exchange exchanges[MANY];
    static char bodies[MANY][16];
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < MANY; i++) {
            assert_code(hf_str_format(bodies[i], sizeof bodies[i], "%zu", i), HF_OK);
            exchanges[i] = post(fix, "/echo", bodies[i]);
        }
        hf_net_run(fix->net, exchanges, MANY, in_ms(20000));
        for (size_t i = 0; i < MANY; i++) {
            char expected[32];
            assert_code(hf_str_format(expected, sizeof expected, "POST %zu", i), HF_OK);
            assert_code(exchanges[i].result, HF_OK);
            assert_string_equal(hf_buf_text(exchanges[i].answer), expected);
            hf_net_exchange_done(&exchanges[i]);
        }
    }
}

static void test_deadline(void **state)
{
    fixture *fix = *state;
    hf_net_exchange exchange = post(fix, "/slow?ms=3000", "x");
    uint64_t before_ns = hf_time_mono_ns();
    hf_net_run(fix->net, &exchange, 1, in_ms(200));
    assert_true(hf_time_mono_ns() - before_ns < 2 * HF_NS_PER_SECOND);
    assert_code(exchange.result, HF_UNAVAILABLE);
    assert_true(exchange.maybe_acted);
    hf_net_exchange_done(&exchange);
    /* The object is as good as before. */
    exchange = post(fix, "/echo", "y");
    hf_net_run(fix->net, &exchange, 1, in_ms(5000));
    assert_code(exchange.result, HF_OK);
    hf_net_exchange_done(&exchange);
}

static void test_what_fails(void **state)
{
    fixture *fix = *state;
    hf_net_exchange exchange = post(fix, "/big?bytes=1001", "x");
    hf_net_run(fix->net, &exchange, 1, in_ms(5000));
    assert_code(exchange.result, HF_LIMIT);
    hf_net_exchange_done(&exchange);
    exchange = post(fix, "/close", "x");
    hf_net_run(fix->net, &exchange, 1, in_ms(5000));
    assert_code(exchange.result, HF_UNAVAILABLE);
    assert_true(exchange.maybe_acted);
    hf_net_exchange_done(&exchange);
    exchange = post(fix, "/redirect", "x");
    hf_net_run(fix->net, &exchange, 1, in_ms(5000));
    assert_code(exchange.result, HF_OK);
    assert_int_equal(exchange.http_status, 302);
    assert_string_equal(hf_buf_text(exchange.answer), "elsewhere");
    hf_net_exchange_done(&exchange);
    exchange = post(fix, "/echo", "x");
    exchange.url = "http://127.0.0.1:1/"; /* nobody listens there */
    hf_net_run(fix->net, &exchange, 1, in_ms(5000));
    assert_code(exchange.result, HF_UNAVAILABLE);
    assert_false(exchange.maybe_acted);
    hf_net_exchange_done(&exchange);
    exchange = post(fix, "/echo", "x");
    exchange.url = "file:///etc/hostname";
    hf_net_run(fix->net, &exchange, 1, in_ms(5000));
    assert_code(exchange.result, HF_UNAVAILABLE);
    hf_net_exchange_done(&exchange);
}

static void test_certificates(void **state)
{
    fixture *fix = *state;
    hf_net_config config = {0};
    hf_net *net = NULL;
    hf_error err = {0};
    hf_net_exchange exchange = post(fix, "/echo", "x");
    set_url(fix, "HF_TEST_HTTPS", "/echo");
    hf_net_run(fix->net, &exchange, 1, in_ms(5000));
    assert_code(exchange.result, HF_CRYPTO);
    assert_false(exchange.maybe_acted);
    hf_net_exchange_done(&exchange);
    assert_code(hf_str_copy(config.ca_file, sizeof config.ca_file, getenv("HF_TEST_CA")), HF_OK);
    assert_code(hf_net_new(&config, &net, &err), HF_OK);
    hf_net_run(net, &exchange, 1, in_ms(5000));
    assert_code(exchange.result, HF_OK);
    assert_string_equal(hf_buf_text(exchange.answer), "POST x");
    hf_net_exchange_done(&exchange);
    hf_net_free(net);
    assert_code(hf_str_copy(config.ca_file, sizeof config.ca_file, "/not/there"), HF_OK);
    hf_status st = hf_net_new(&config, &net, &err);
    assert_true(hf_failed(st));
    assert_non_null(strstr(err.msg, "/not/there"));
}

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        hf_code code;
    } cases[] = {
        {"https://dynamodb.eu-west-1.amazonaws.com/", HF_OK},
        {"http://127.0.0.1:8000", HF_OK},
        {"http://localhost:8000/", HF_OK},
        {"http://[::1]:8000/", HF_OK},
        {"http://10.0.0.1/", HF_USAGE},
        {"http://127.0.0.1.example.com/", HF_USAGE},
        {"http://localhost@example.com/", HF_USAGE},
        {"http://169.254.169.254/", HF_USAGE},
        {"ftp://127.0.0.1/", HF_USAGE},
        {"127.0.0.1", HF_USAGE},
        {"", HF_USAGE},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        hf_error err = {0};
        hf_status st = hf_net_check_url(cases[i].url, &err);
        if (st.code != cases[i].code) {
            fail_msg("%s: %s", cases[i].url, hf_code_name(st.code));
        }
    }
}

/* ---- signatures --------------------------------------------------------------------------- */

static void test_signed_requests(void **state)
{
    fixture *fix = *state;
    static const struct {
        const hf_aws_credentials *credentials;
        const char *body;
    } cases[] = {{&permanent, "{}"}, {&permanent, ""}, {&temporary, "{\"TableName\":\"a b\"}"}};
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        hf_net_signing signing = {cases[i].credentials, "eu-test-1", "dynamodb"};
        hf_net_exchange exchange = post(fix, "/signed", cases[i].body);
        exchange.signing = &signing;
        hf_net_run(fix->net, &exchange, 1, in_ms(5000));
        assert_code(exchange.result, HF_OK);
        assert_string_equal(hf_buf_text(exchange.answer), "good");
        hf_net_exchange_done(&exchange);
    }
    /* A handle that signed once does not sign what is to go unsigned. */
    hf_net_exchange exchange = post(fix, "/signed", "{}");
    hf_net_run(fix->net, &exchange, 1, in_ms(5000));
    assert_string_equal(hf_buf_text(exchange.answer), "no signature");
    hf_net_exchange_done(&exchange);
}

/* The cases of AWS's suite whose request a client like this one can make: the same signature. */
static void check_vector(fixture *fix, const char *name, const json_t *vectors)
{
    const json_t *vector = json_object_get(vectors, name);
    const char *signature = json_string_value(json_object_get(vector, "header_signature"));
    const char *request = json_string_value(json_object_get(vector, "request"));
    const json_t *keys = json_object_get(json_object_get(vector, "context"), "credentials");
    const char *token = json_string_value(json_object_get(keys, "token"));
    hf_aws_credentials credentials = permanent;
    hf_net_signing signing = {&credentials, "us-east-1", "service"};
    assert_non_null(signature);
    hf_net_exchange exchange = post(fix, "/", "");
    exchange.method = strncmp(request, "GET", 3) == 0 ? "GET" : "POST";
    exchange.signing = &signing;
    exchange.headers[0] = "Host: example.amazonaws.com";
    exchange.headers[1] = "X-Amz-Date: 20150830T123600Z";
    const char *own = strstr(request, "My-Header");
    exchange.headers[2] = own == NULL ? NULL : "My-Header1: value1";
    if (own != NULL && strstr(own, "VALUE1") != NULL) {
        exchange.headers[2] = "My-Header1: VALUE1";
    }
    if (token != NULL) {
        assert_code(hf_str_copy(credentials.session_token, sizeof credentials.session_token, token),
                    HF_OK);
    }
    hf_net_run(fix->net, &exchange, 1, in_ms(5000));
    assert_code(exchange.result, HF_OK);
    if (!hf_str_has_suffix(hf_buf_text(exchange.answer), signature)) {
        fail_msg("%s: %s", name, hf_buf_text(exchange.answer));
    }
    hf_net_exchange_done(&exchange);
}

static void test_vectors(void **state)
{
    static const char *const names[] = {
        "get-vanilla",          "post-vanilla",           "post-header-key-sort",
        "post-header-key-case", "post-header-value-case", "get-vanilla-with-session-token"};
    json_error_t problem;
    json_t *document = json_load_file(HF_TEST_VECTORS "/sigv4/vectors.json", 0, &problem);
    assert_non_null(document);
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        check_vector(*state, names[i], json_object_get(document, "vectors"));
    }
    json_decref(document);
}

#define WITH_NET(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_NET(test_methods_and_bodies), WITH_NET(test_many_at_once), WITH_NET(test_deadline),
        WITH_NET(test_what_fails),         WITH_NET(test_certificates), WITH_NET(test_urls),
        WITH_NET(test_signed_requests),    WITH_NET(test_vectors),
    };
    return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
