/* JSON-RPC as exchanges: what the keeper is asked for each call, and what its replies become. */
#include "exchange.h"

#include <unistd.h>

#define ADDRESS "0x9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f"

/* A keeper's reply to the question under way. */
static hf_next reply_signed(hf_reason reason, const char *signature_hex, const char *detail)
{
    hf_msg_eth1_reply reply = {.reason = reason};
    hf_frame_init(&reply, HF_MSG_ETH1_REPLY, 0);
    assert_int_equal(asked(), HF_MSG_ETH1_SIGN);
    if (signature_hex != NULL) {
        assert_false(hf_failed(hf_hex_decode(signature_hex, strlen(signature_hex), reply.signature,
                                             sizeof reply.signature)));
    }
    (void)snprintf(reply.detail, sizeof reply.detail, "%s", detail);
    return hf_front_reply(&x, &reply);
}

static const hf_msg_eth1_sign *question(void)
{
    assert_int_equal(asked(), HF_MSG_ETH1_SIGN);
    return x.ask;
}

static void expect_body(unsigned status, const char *expected)
{
    hf_bytes body = hf_front_body(&x);
    assert_int_equal(x.status, status);
    assert_int_equal(body.len, strlen(expected));
    assert_memory_equal(body.ptr, expected, body.len);
}

static void a_transaction_is_asked_for_as_its_bytes(void **state)
{
    static const char unsigned_hex[] =
        "ec098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a7640000800180"
        "80";
    static const char signature[] =
        "28ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa63627667cbe9d8997f761aecb70330"
        "4b3800ccf555c9f3dc64214b297fb1966a3b6d831b";
    char hex[2 * HF_ETH1_INLINE_BYTES + 1];
    (void)state;
    context.eth1.chain_id = 1;
    assert_int_equal(
        start(HF_METHOD_POST, "/",
              "{\"jsonrpc\":\"2.0\",\"id\":\"x\\u0041\",\"method\":\"eth_signTransaction\","
              "\"params\":[{\"from\":\"" ADDRESS "\",\"nonce\":\"0x9\",\"gasPrice\":"
              "\"0x4a817c800\",\"gas\":21000,\"to\":\"0x3535353535353535353535353535353535353535\","
              "\"value\":\"0x0de0b6b3a7640000\",\"data\":\"0x\",\"unknown\":[1]}]}"),
        HF_NEXT_ASK);
    assert_int_equal(question()->kind, HF_ETH1_TRANSACTION);
    hf_hex_encode(question()->data, question()->data_len, hex);
    assert_string_equal(hex, unsigned_hex);
    assert_string_equal(question()->caller.token, "0123456789abcdef");
    assert_int_equal(reply_signed(HF_REASON_OK, signature, ""), HF_NEXT_ANSWER);
    expect_body(200,
                "{\"jsonrpc\":\"2.0\",\"id\":\"x\\u0041\",\"result\":\"0xf86c098504a817c80082520"
                "8943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340b"
                "d939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb70"
                "3304b3800ccf555c9f3dc64214b297fb1966a3b6d83\"}");
}

/* One after the other; what one call asks for does not reach the next. */
static void a_batch_goes_on_after_each_answer(void **state)
{
    char signature[131];
    (void)state;
    memset(signature, '1', 130);
    signature[130] = '\0';
    assert_int_equal(start(HF_METHOD_POST, "/",
                           "[{\"id\":1,\"method\":\"eth_sign\",\"params\":[\"" ADDRESS
                           "\",\"0x0102\"]},{\"id\":2,\"method\":\"nothing\"},"
                           "{\"id\":3,\"method\":\"personal_sign\",\"params\":[\"0x\",\"" ADDRESS
                           "\"]}]"),
                     HF_NEXT_ASK);
    assert_int_equal(question()->data_len, 2);
    assert_int_equal(question()->kind, HF_ETH1_MESSAGE);
    assert_int_equal(reply_signed(HF_REASON_OK, signature, ""), HF_NEXT_ASK);
    assert_int_equal(question()->data_len, 0);
    assert_int_equal(reply_signed(HF_REASON_FORBIDDEN, NULL, "no \"such\" thing"), HF_NEXT_ANSWER);
    json_t *root = body_json();
    assert_int_equal(x.status, 200);
    assert_int_equal(json_array_size(root), 3);
    assert_int_equal(json_integer_value(json_object_get(
                         json_object_get(json_array_get(root, 1), "error"), "code")),
                     -32601);
    const json_t *error = json_object_get(json_array_get(root, 2), "error");
    assert_int_equal(json_integer_value(json_object_get(error, "code")), -32000);
    assert_string_equal(json_string_value(json_object_get(error, "message")), "no \"such\" thing");
    json_decref(root);
}

static void many_bytes_travel_in_a_descriptor(void **state)
{
    enum { BYTES = 5000 };
    static char body[2 * BYTES + 256];
    size_t used = (size_t)snprintf(
        body, sizeof body, "{\"id\":1,\"method\":\"eth_sign\",\"params\":[\"" ADDRESS "\",\"0x");
    (void)state;
    memset(body + used, 'a', (size_t)2 * BYTES);
    (void)snprintf(body + used + 2 * BYTES, 8, "\"]}");
    assert_int_equal(start(HF_METHOD_POST, "/", body), HF_NEXT_ASK);
    assert_int_equal(question()->data_len, BYTES);
    assert_true(x.ask_fd >= 0);
    assert_int_equal(lseek(x.ask_fd, 0, SEEK_END), BYTES);
    assert_int_equal(reply_signed(HF_REASON_UNKNOWN_KEY, NULL, ""), HF_NEXT_ANSWER);
    assert_int_equal(x.ask_fd, -1);
}

static void refusals_keep_the_form_of_json_rpc(void **state)
{
    static const char call[] =
        "{\"id\":7,\"method\":\"eth_sign\",\"params\":[\"" ADDRESS "\",\"0x01\"]}";
    (void)state;
    assert_int_equal(start(HF_METHOD_POST, "/", call), HF_NEXT_ASK);
    assert_int_equal(reply_signed(HF_REASON_UNAUTHORIZED, NULL, ""), HF_NEXT_ANSWER);
    expect_body(401,
                "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-32000,\"message\":\"no valid "
                "token was sent\",\"data\":{\"code\":\"UNAUTHORIZED\"}}}");
    assert_int_equal(start(HF_METHOD_POST, "/", call), HF_NEXT_ASK);
    assert_int_equal(hf_front_silence(&x), HF_NEXT_ANSWER);
    json_t *root = body_json();
    assert_int_equal(x.status, 503);
    assert_non_null(json_object_get(root, "error"));
    json_decref(root);
    assert_int_equal(start(HF_METHOD_POST, "/", "[1,"), HF_NEXT_ANSWER);
    assert_int_equal(x.status, 400);
    assert_int_equal(start(HF_METHOD_GET, "/", ""), HF_NEXT_ANSWER);
    expect_error(405, "METHOD_NOT_ALLOWED");
}

/* No signature has such a v: what cannot be is an error of ours, not an end of the process. */
static void a_reply_that_no_keeper_gives(void **state)
{
    char signature[131];
    (void)state;
    memset(signature, '5', 130);
    signature[130] = '\0';
    assert_int_equal(
        start(HF_METHOD_POST, "/",
              "{\"id\":1,\"method\":\"eth_signTransaction\",\"params\":[{\"from\":\"" ADDRESS
              "\",\"nonce\":\"0x9\",\"gasPrice\":\"0x1\",\"gas\":\"0x1\",\"chainId\":"
              "\"0x1\"}]}"),
        HF_NEXT_ASK);
    assert_int_equal(reply_signed(HF_REASON_OK, signature, ""), HF_NEXT_ANSWER);
    json_t *root = body_json();
    assert_int_equal(json_integer_value(json_object_get(json_object_get(root, "error"), "code")),
                     -32603);
    json_decref(root);
}

static void a_key_is_named_by_address_or_point(void **state)
{
    static const char *const names[] = {
        ADDRESS,
        "4bc2a31265153f07e70e0bab08724e6b85e217f8cd628ceb62974247bb493382ce28cab79ad7119ee1ad3ebc"
        "db98a16805211530ecc6cfefa1b88e6dff99232a",
        "0x044bc2a31265153f07e70e0bab08724e6b85e217f8cd628ceb62974247bb493382ce28cab79ad7119ee1ad"
        "3ebcdb98a16805211530ecc6cfefa1b88e6dff99232a"};
    uint8_t address[HF_ADDRESS_BYTES];
    (void)state;
    assert_false(hf_failed(hf_hex_decode(ADDRESS, strlen(ADDRESS), address, sizeof address)));
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        char path[256];
        (void)snprintf(path, sizeof path, "/api/v1/eth1/sign/%s", names[i]);
        assert_int_equal(start(HF_METHOD_POST, path, "{\"data\":\"0x1234\"}"), HF_NEXT_ASK);
        assert_int_equal(question()->kind, HF_ETH1_DATA);
        assert_memory_equal(question()->address, address, sizeof address);
    }
    assert_int_equal(start(HF_METHOD_POST, "/api/v1/eth1/sign/0x12", "{\"data\":\"0x\"}"),
                     HF_NEXT_ANSWER);
    expect_error(400, "MALFORMED");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_transaction_is_asked_for_as_its_bytes),
        CASE(a_batch_goes_on_after_each_answer),
        CASE(many_bytes_travel_in_a_descriptor),
        CASE(refusals_keep_the_form_of_json_rpc),
        CASE(a_reply_that_no_keeper_gives),
        CASE(a_key_is_named_by_address_or_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
