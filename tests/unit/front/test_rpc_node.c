/* Calls that go to a node, as exchanges: the keeper is asked, then the relay, and what both say. */
#include "exchange.h"

#include <sys/stat.h>
#include <unistd.h>

#define CALL                                                                                       \
    "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"eth_call\",\"params\":[ {\"x\": 1}, "          \
    "\"\xc3\xa9\" ]}"
#define SENT                                                                                       \
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_call\",\"params\":[ {\"x\": 1}, \"\xc3\xa9\" " \
    "]}"

static int with_a_node(void **state)
{
    (void)prepare(state);
    context.node.timeout_ms = 3000;
    return 0;
}

/* The relay in the test's place: what it was sent, and its answer written over that. */
static hf_next answer_by_node(const char *expected, hf_relay_outcome outcome, const char *text)
{
    hf_msg_relay_answer answer = {.outcome = outcome, .answer_len = (uint32_t)strlen(text)};
    const hf_msg_relay_ask *ask = x.ask;
    char sent[1024] = "";
    assert_int_equal(asked(), HF_MSG_RELAY_ASK);
    assert_true(x.asks_relay);
    assert_in_range(ask->call_len, 1, sizeof sent - 1);
    assert_int_equal(pread(x.ask_fd, sent, sizeof sent, 0), ask->call_len);
    assert_string_equal(sent, expected);
    assert_int_equal(pwrite(x.ask_fd, text, strlen(text), 0), strlen(text));
    hf_frame_init(&answer, HF_MSG_RELAY_ANSWER, 0);
    return hf_front_reply(&x, &answer);
}

static void expect_body(unsigned status, const char *expected)
{
    hf_bytes body = hf_front_body(&x);
    assert_int_equal(x.status, status);
    assert_int_equal(body.len, strlen(expected));
    assert_memory_equal(body.ptr, expected, body.len);
}

static void expect_refusal(unsigned status, int code, const char *word)
{
    json_t *root = body_json();
    json_t *error = json_object_get(root, "error");
    assert_int_equal(x.status, status);
    assert_int_equal(json_integer_value(json_object_get(error, "code")), code);
    assert_string_equal(json_string_value(json_object_get(json_object_get(error, "data"), "code")),
                        word);
    json_decref(root);
}

static void ask_for(const char *body)
{
    assert_int_equal(start(HF_METHOD_POST, "/", body), HF_NEXT_ASK);
    assert_int_equal(asked(), HF_MSG_NODE_CALL);
    assert_false(x.asks_relay);
    assert_string_equal(((const hf_msg_ask *)x.ask)->caller.token, "0123456789abcdef");
}

static void the_keeper_is_asked_and_then_the_node(void **state)
{
    (void)state;
    ask_for(CALL);
    assert_int_equal(reply_result(HF_REASON_OK, 0, ""), HF_NEXT_ASK);
    assert_true(x.ask_timeout_ms > context.node.timeout_ms);
    assert_int_equal(answer_by_node(SENT, HF_RELAY_OK, "{\"id\":1,\"result\":[ 1.0 ]}"),
                     HF_NEXT_ANSWER);
    expect_body(200, "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":[ 1.0 ]}");
}

static void without_leave_nothing_is_sent(void **state)
{
    (void)state;
    ask_for(CALL);
    assert_int_equal(reply_result(HF_REASON_FORBIDDEN, 0, "no policy"), HF_NEXT_ANSWER);
    expect_refusal(200, -32000, "FORBIDDEN");
    assert_int_equal(x.ask_fd, -1);
    assert_false(x.is_refused_here); /* the keeper has counted it */
    ask_for(CALL);
    assert_int_equal(reply_result(HF_REASON_UNAUTHORIZED, 0, ""), HF_NEXT_ANSWER);
    expect_refusal(401, -32000, "UNAUTHORIZED");
}

static void without_a_node_no_such_method_is_known(void **state)
{
    (void)state;
    context.node.timeout_ms = 0;
    assert_int_equal(start(HF_METHOD_POST, "/", CALL), HF_NEXT_ANSWER);
    expect_refusal(200, -32601, "NOT_FOUND");
}

static void after_a_silent_node_the_keeper_is_asked_as_before(void **state)
{
    (void)state;
    ask_for("[{\"id\":1,\"method\":\"eth_a\"},{\"id\":2,\"method\":\"eth_b\"},"
            "{\"id\":3,\"method\":\"eth_accounts\"}]");
    assert_int_equal(reply_result(HF_REASON_OK, 0, ""), HF_NEXT_ASK);
    assert_int_equal(hf_front_silence(&x), HF_NEXT_ASK); /* the second is not tried */
    assert_int_equal(asked(), HF_MSG_ETH1_KEYS);
    assert_false(x.asks_relay);
    assert_int_equal(x.ask_timeout_ms, context.request_timeout_ms);
    assert_null(x.on_silence);
}

static void a_relay_that_lies_gets_nowhere(void **state)
{
    (void)state;
    static const hf_msg_relay_answer lies[] = {
        {.outcome = HF_RELAY_OUTCOME_COUNT, .answer_len = 0},
        {.outcome = HF_RELAY_OK, .answer_len = UINT32_MAX},
        {.outcome = HF_RELAY_OK, .answer_len = HF_RELAY_ANSWER_MAX}, /* no such bytes are there */
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(lies); i++) {
        hf_msg_relay_answer answer = lies[i];
        ask_for(CALL);
        assert_int_equal(reply_result(HF_REASON_OK, 0, ""), HF_NEXT_ASK);
        hf_frame_init(&answer, HF_MSG_RELAY_ANSWER, 0);
        assert_int_equal(hf_front_reply(&x, &answer), HF_NEXT_ANSWER);
        expect_refusal(200, -32603, "MALFORMED");
    }
}

static void failures_have_their_status(void **state)
{
    static const struct {
        hf_relay_outcome outcome;
        unsigned status;
        const char *word;
    } cases[] = {
        {HF_RELAY_ABSENT, 502, "NODE_UNAVAILABLE"},
        {HF_RELAY_BUSY, 503, "OVERLOADED"},
        {HF_RELAY_LATE, 504, "NODE_TIMEOUT"},
        {HF_RELAY_UNREACHABLE, 502, "NODE_UNAVAILABLE"},
        {HF_RELAY_UNTRUSTED, 502, "NODE_UNAVAILABLE"},
        {HF_RELAY_TOO_LONG, 502, "NODE_UNAVAILABLE"},
        {HF_RELAY_REDIRECTED, 502, "NODE_UNAVAILABLE"},
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        ask_for(CALL);
        assert_int_equal(reply_result(HF_REASON_OK, 0, ""), HF_NEXT_ASK);
        assert_int_equal(answer_by_node(SENT, cases[i].outcome, ""), HF_NEXT_ANSWER);
        expect_refusal(cases[i].status, -32000, cases[i].word);
        assert_true(x.is_refused_here);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, with_a_node, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_keeper_is_asked_and_then_the_node),
        CASE(without_leave_nothing_is_sent),
        CASE(without_a_node_no_such_method_is_known),
        CASE(after_a_silent_node_the_keeper_is_asked_as_before),
        CASE(a_relay_that_lies_gets_nowhere),
        CASE(failures_have_their_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
