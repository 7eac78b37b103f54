/* A DynamoDB store on a table of its own. */
#include "support_dynamodb.h"

#include <unistd.h>

static const char *server_url(const char *name)
{
    const char *url = getenv(name);
    if (url == NULL) {
        fail_msg("%s is not set: run this by tests/with-dynalite.sh", name);
    }
    return url;
}

void test_dynamo_init(test_dynamo *test, bool proxied)
{
    static unsigned tables;
    *test = (test_dynamo){0};
    hf_dynamodb_config *config = &test->config;
    assert_code(
        hf_str_format(config->table, sizeof config->table, "table-%d-%u", (int)getpid(), ++tables),
        HF_OK);
    assert_code(hf_str_copy(config->region, sizeof config->region, TEST_REGION), HF_OK);
    assert_code(
        hf_str_copy(config->endpoint, sizeof config->endpoint,
                    server_url(proxied ? "HF_TEST_DYNAMODB_PROXY" : "HF_TEST_DYNAMODB_URL")),
        HF_OK);
    memset(config->genesis_validators_root, 7, HF_ROOT_BYTES);
    config->create_table = true;
    config->deadline_ms = 20000; /* a machine under load; tests of lateness set their own */
}

void test_dynamo_open(test_dynamo *test)
{
    hf_status st = hf_store_open_dynamodb(&test->config, &test->test.store, &test->test.err);
    if (hf_failed(st)) {
        fail_msg("open: %s", test->test.err.msg);
    }
}

void test_dynamo_join(test_dynamo *test, const test_dynamo *other)
{
    *test = (test_dynamo){.config = other->config};
    test_dynamo_open(test);
}

/* ---- behind a test_store ------------------------------------------------------------------ */

static void backend_init(test_store *test)
{
    test_dynamo *other = calloc(1, sizeof *other);
    assert_non_null(other);
    test_dynamo_init(other, false);
    test->other = other;
}

static hf_status backend_open(test_store *test)
{
    test_dynamo *other = test->other;
    memcpy(other->config.genesis_validators_root, test->config.genesis_validators_root,
           HF_ROOT_BYTES);
    return hf_store_open_dynamodb(&other->config, &test->store, &test->err);
}

static hf_status backend_export(test_store *test, hf_export_visitor visitor, void *context)
{
    const test_dynamo *other = test->other;
    return hf_store_export_dynamodb(&other->config, NULL, 0, visitor, context, &test->err);
}

static void backend_done(test_store *test)
{
    free(test->other);
    test->other = NULL;
}

const test_backend test_dynamo_backend = {backend_init, backend_open, backend_export, backend_done};

/* ---- the proxy ---------------------------------------------------------------------------- */

static void ask_proxy(const char *path, char *ret_answer, size_t len)
{
    char url[600];
    hf_net *net = NULL;
    const hf_net_config config = {0};
    assert_code(hf_str_format(url, sizeof url, "%s%s", server_url("HF_TEST_DYNAMODB_PROXY"), path),
                HF_OK);
    assert_code(hf_net_new(&config, &net, NULL), HF_OK);
    hf_net_exchange exchange = {.method = "GET", .url = url, .max_answer_bytes = 100};
    hf_net_run(net, &exchange, 1, hf_time_mono_ns() + 20 * HF_NS_PER_SECOND);
    assert_code(exchange.result, HF_OK);
    assert_int_equal(exchange.http_status, 200);
    assert_code(hf_str_copy(ret_answer, len, hf_buf_text(exchange.answer)), HF_OK);
    hf_net_exchange_done(&exchange);
    hf_net_free(net);
}

void test_proxy_tell(const char *rule)
{
    char path[200];
    char answer[101];
    assert_code(hf_str_format(path, sizeof path, "/control?%s", rule), HF_OK);
    ask_proxy(path, answer, sizeof answer);
}

unsigned test_proxy_count(void)
{
    char answer[101];
    uint64_t count;
    ask_proxy("/count", answer, sizeof answer);
    assert_code(hf_num_parse_u64(answer, strlen(answer), &count), HF_OK);
    return (unsigned)count;
}
