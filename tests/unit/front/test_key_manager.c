/* Lists of keys, and the key manager API: exchanges of several questions. */
#include "exchange.h"

#include <unistd.h>

/* ---- keys ----------------------------------------------------------------------------------- */

static hf_next reply_keys(uint64_t generation, uint32_t total, uint32_t count, uint8_t mark)
{
    static hf_msg_keys_reply reply;
    memset(&reply, 0, sizeof reply);
    hf_frame_init(&reply, HF_MSG_KEYS_REPLY, 0);
    reply.generation = generation;
    reply.total = total;
    reply.count = count;
    for (uint32_t i = 0; i < count; i++) {
        reply.keys[i].pubkey[0] = mark;
        reply.keys[i].pubkey[47] = (uint8_t)i;
        reply.keys[i].removable = (uint8_t)(i & 1U);
    }
    return hf_front_reply(&x, &reply);
}

static uint32_t asked_offset(void)
{
    assert_int_equal(asked(), HF_MSG_KEYS);
    return ((const hf_msg_keys *)x.ask)->offset;
}

static void lists_keys_page_by_page(void **state)
{
    (void)state;
    assert_int_equal(start(HF_METHOD_GET, "/api/v1/eth2/publicKeys", ""), HF_NEXT_ASK);
    assert_int_equal(asked_offset(), 0);
    assert_int_equal(reply_keys(1, 258, 256, 0xaa), HF_NEXT_ASK);
    assert_int_equal(asked_offset(), 256);
    assert_int_equal(reply_keys(1, 258, 2, 0xbb), HF_NEXT_ANSWER);
    json_t *root = body_json();
    assert_int_equal(json_array_size(root), 258);
    assert_memory_equal(json_string_value(json_array_get(root, 257)), "0xbb00", 6);
    json_decref(root);
}

static void lists_anew_when_the_keys_change_but_not_for_ever(void **state)
{
    (void)state;
    assert_int_equal(start(HF_METHOD_GET, "/api/v1/eth2/publicKeys", ""), HF_NEXT_ASK);
    uint64_t generation = 1;
    int restarts = 0;
    for (int turn = 0; turn < 20; turn++) {
        hf_next next = reply_keys(generation++, 300, asked_offset() == 0 ? 256 : 44, 1);
        if (next == HF_NEXT_ANSWER) {
            break;
        }
        restarts += asked_offset() == 0;
    }
    assert_int_equal(restarts, 3);
    json_t *root = body_json();
    assert_int_equal(json_array_size(root), 300);
    json_decref(root);
}

static void lists_no_keys(void **state)
{
    (void)state;
    assert_int_equal(start(HF_METHOD_GET, "/api/v1/eth2/publicKeys", ""), HF_NEXT_ASK);
    assert_int_equal(reply_keys(1, 0, 0, 0), HF_NEXT_ANSWER);
    assert_string_equal((const char *)hf_front_body(&x).ptr, "[]");
}

static void lists_keystores_with_what_may_be_removed(void **state)
{
    (void)state;
    assert_int_equal(authorised(HF_METHOD_GET, "/eth/v1/keystores", ""), HF_NEXT_ASK);
    assert_int_equal(reply_keys(1, 2, 2, 0xcc), HF_NEXT_ANSWER);
    json_t *root = body_json();
    const json_t *data = json_object_get(root, "data");
    assert_int_equal(json_array_size(data), 2);
    assert_true(json_is_true(json_object_get(json_array_get(data, 0), "readonly")));
    assert_true(json_is_false(json_object_get(json_array_get(data, 1), "readonly")));
    json_decref(root);
}

/* ---- imports -------------------------------------------------------------------------------- */

#define HISTORY                                                                                    \
    "{\\\"metadata\\\":{\\\"interchange_format_version\\\":\\\"5\\\",\\\"genesis_validators_root"  \
    "\\\":\\\"" ROOT "\\\"},\\\"data\\\":[{\\\"pubkey\\\":\\\"0x" KEY_HEX                          \
    "\\\",\\\"signed_blocks\\\":[{\\\"slot\\\":\\\"5\\\"}],\\\"signed_attestations\\\":[]}]}"
#define TWO_KEYS "\"keystores\":[\"{one}\",\"{two}\"],\"passwords\":[\"first\",\"second\"]"

static void expect_packed(const char *keystore, const char *password)
{
    char expected[128];
    char found[128];
    uint32_t keystore_len = (uint32_t)strlen(keystore);
    uint32_t password_len = (uint32_t)strlen(password);
    size_t len = 0;
    memcpy(expected, &keystore_len, 4);
    memcpy(expected + 4, keystore, keystore_len);
    len = 4 + keystore_len;
    memcpy(expected + len, &password_len, 4);
    memcpy(expected + len + 4, password, password_len);
    len += 4 + password_len;
    assert_int_equal(asked(), HF_MSG_KEY_IMPORT);
    assert_true(x.ask_fd >= 0);
    assert_int_equal(read(x.ask_fd, found, sizeof found), len);
    assert_memory_equal(found, expected, len);
    assert_int_equal(write(x.ask_fd, "x", 1), -1); /* sealed */
}

static const char *status_at(const json_t *root, size_t i)
{
    const json_t *item = json_array_get(json_object_get(root, "data"), i);
    return json_string_value(json_object_get(item, "status"));
}

static void imports_keystores_one_by_one(void **state)
{
    (void)state;
    assert_int_equal(authorised(HF_METHOD_POST, "/eth/v1/keystores", "{" TWO_KEYS "}"),
                     HF_NEXT_ASK);
    expect_packed("{one}", "first");
    assert_int_equal(reply_result(HF_REASON_OK, HF_KEY_IMPORTED, ""), HF_NEXT_ASK);
    expect_packed("{two}", "second");
    assert_int_equal(reply_result(HF_REASON_OK, HF_KEY_ERROR, "wrong \"password\""),
                     HF_NEXT_ANSWER);
    assert_int_equal(x.ask_fd, -1);
    json_t *root = body_json();
    assert_int_equal(x.status, 200);
    assert_string_equal(status_at(root, 0), "imported");
    assert_string_equal(status_at(root, 1), "error");
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(json_object_get(root, "data"), 1), "message")),
                        "wrong \"password\"");
    json_decref(root);
}

static void reports_keys_that_were_not_answered(void **state)
{
    (void)state;
    assert_int_equal(authorised(HF_METHOD_POST, "/eth/v1/keystores", "{" TWO_KEYS "}"),
                     HF_NEXT_ASK);
    assert_int_equal(x.ask_timeout_ms, HF_FRONT_IMPORT_TIMEOUT_MS);
    assert_int_equal(hf_front_silence(&x), HF_NEXT_ASK);
    assert_int_equal(reply_result(HF_REASON_OK, HF_KEY_DUPLICATE, ""), HF_NEXT_ANSWER);
    json_t *root = body_json();
    assert_string_equal(status_at(root, 0), "error");
    assert_string_equal(status_at(root, 1), "duplicate");
    json_decref(root);
}

static void imports_history_before_keys(void **state)
{
    (void)state;
    assert_int_equal(authorised(HF_METHOD_POST, "/eth/v1/keystores",
                                "{" TWO_KEYS ",\"slashing_protection\":\"" HISTORY "\"}"),
                     HF_NEXT_ASK);
    assert_int_equal(asked(), HF_MSG_IMPORT_BEGIN);
    assert_string_equal(((const hf_msg_ask *)x.ask)->caller.token, "0123456789abcdef");
    assert_int_equal(reply_result(HF_REASON_OK, 0, ""), HF_NEXT_ASK);
    assert_int_equal(asked(), HF_MSG_IMPORT_ADD);
    const hf_msg_import_add *add = x.ask;
    assert_int_equal(add->count, 1);
    assert_int_equal(add->messages[0].slot, 5);
    assert_int_equal(reply_result(HF_REASON_OK, 0, ""), HF_NEXT_ASK);
    assert_int_equal(asked(), HF_MSG_IMPORT_COMMIT);
    hf_msg_import_report report = {.reason = HF_REASON_OK};
    hf_frame_init(&report, HF_MSG_IMPORT_REPORT, 0);
    assert_int_equal(hf_front_reply(&x, &report), HF_NEXT_ASK);
    expect_packed("{one}", "first");
}

static void imports_no_key_without_its_history(void **state)
{
    static const char body[] = "{" TWO_KEYS ",\"slashing_protection\":\"" HISTORY "\"}";
    (void)state;
    assert_int_equal(authorised(HF_METHOD_POST, "/eth/v1/keystores", body), HF_NEXT_ASK);
    assert_int_equal(reply_result(HF_REASON_OK, 0, ""), HF_NEXT_ASK);
    assert_int_equal(reply_result(HF_REASON_STORE_UNAVAILABLE, 0, "disk full"), HF_NEXT_ASK);
    assert_int_equal(asked(), HF_MSG_IMPORT_ABORT);
    assert_int_equal(reply_result(HF_REASON_OK, 0, ""), HF_NEXT_ANSWER);
    expect_error(503, "STORE_UNAVAILABLE");

    assert_int_equal(authorised(HF_METHOD_POST, "/eth/v1/keystores", body), HF_NEXT_ASK);
    assert_int_equal(hf_front_silence(&x), HF_NEXT_ASK);
    assert_int_equal(asked(), HF_MSG_IMPORT_ABORT);
    assert_int_equal(hf_front_silence(&x), HF_NEXT_ANSWER);
    expect_error(503, "TIMEOUT");

    assert_int_equal(authorised(HF_METHOD_POST, "/eth/v1/keystores", body), HF_NEXT_ASK);
    assert_int_equal(reply_result(HF_REASON_BUSY, 0, "another import"), HF_NEXT_ANSWER);
    expect_error(409, "BUSY");
}

static void refuses_malformed_imports(void **state)
{
    static const char *const bodies[] = {
        "",
        "[]",
        "{\"passwords\":[]}",
        "{\"keystores\":[]}",
        "{\"keystores\":{},\"passwords\":[]}",
        "{\"keystores\":[1],\"passwords\":[\"a\"]}",
        "{\"keystores\":[\"a\"],\"passwords\":[]}",
        "{\"keystores\":[\"a\"],\"passwords\":[null]}",
        "{\"keystores\":[],\"passwords\":[],\"slashing_protection\":{}}",
        "{\"keystores\":[],\"passwords\":[],\"slashing_protection\":\"{}\"}",
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(bodies); i++) {
        assert_int_equal(authorised(HF_METHOD_POST, "/eth/v1/keystores", bodies[i]),
                         HF_NEXT_ANSWER);
        expect_error(400, "MALFORMED");
    }
    assert_int_equal(
        authorised(HF_METHOD_POST, "/eth/v1/keystores", "{\"keystores\":[],\"passwords\":[]}"),
        HF_NEXT_ANSWER);
    assert_int_equal(x.status, 200);
    assert_string_equal((const char *)hf_front_body(&x).ptr, "{\"data\":[]}");
}

/* ---- deletions ------------------------------------------------------------------------------ */

#define OTHER_HEX                                                                                  \
    "915a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6" \
    "d7e8"

static hf_next reply_page(uint32_t count, bool done)
{
    static hf_msg_export_page page;
    memset(&page, 0, sizeof page);
    hf_frame_init(&page, HF_MSG_EXPORT_PAGE, 0);
    page.count = count;
    page.done = done;
    for (uint32_t i = 0; i < count; i++) {
        page.messages[i].kind = HF_MESSAGE_ATTESTATION;
        page.messages[i].source = i;
        page.messages[i].target = i + 1;
        assert_false(hf_failed(hf_hex_decode(KEY_HEX, 96, page.messages[i].pubkey, 48)));
    }
    return hf_front_reply(&x, &page);
}

static void stops_all_keys_before_it_reads_their_history(void **state)
{
    (void)state;
    /* one twice: its history must stand in the answer once */
    assert_int_equal(authorised(HF_METHOD_DELETE, "/eth/v1/keystores",
                                "{\"pubkeys\":[\"0x" KEY_HEX "\",\"" OTHER_HEX "\",\"0x" KEY_HEX
                                "\"]}"),
                     HF_NEXT_ASK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(asked(), HF_MSG_KEY_DELETE);
        assert_int_equal(reply_result(HF_REASON_OK, i == 0 ? HF_KEY_DELETED : HF_KEY_NOT_FOUND, ""),
                         HF_NEXT_ASK);
    }
    assert_int_equal(asked(), HF_MSG_EXPORT_OPEN);
    assert_int_equal(((const hf_msg_pubkey *)x.ask)->pubkey[0], 0x8f);
    assert_int_equal(reply_result(HF_REASON_OK, 77, ""), HF_NEXT_ASK);
    assert_int_equal(asked(), HF_MSG_EXPORT_READ);
    assert_int_equal(((const hf_msg_export_read *)x.ask)->export_id, 77);
    assert_int_equal(reply_page(64, false), HF_NEXT_ASK);
    assert_int_equal(reply_page(3, false), HF_NEXT_ASK);
    assert_int_equal(reply_page(0, true), HF_NEXT_ASK);
    assert_int_equal(asked(), HF_MSG_EXPORT_OPEN);
    assert_int_equal(((const hf_msg_pubkey *)x.ask)->pubkey[0], 0x91);
    assert_int_equal(reply_result(HF_REASON_OK, 78, ""), HF_NEXT_ASK);
    assert_int_equal(reply_page(0, true), HF_NEXT_ANSWER);
    json_t *root = body_json();
    assert_string_equal(status_at(root, 0), "deleted");
    assert_string_equal(status_at(root, 1), "not_found");
    assert_string_equal(status_at(root, 2), "not_active");
    json_t *history =
        json_loads(json_string_value(json_object_get(root, "slashing_protection")), 0, NULL);
    const json_t *data = json_object_get(history, "data");
    assert_int_equal(json_array_size(data), 1);
    assert_int_equal(
        json_array_size(json_object_get(json_array_get(data, 0), "signed_attestations")), 67);
    json_decref(history);
    json_decref(root);
}

static void says_when_the_history_could_not_be_read(void **state)
{
    (void)state;
    assert_int_equal(
        authorised(HF_METHOD_DELETE, "/eth/v1/keystores", "{\"pubkeys\":[\"0x" KEY_HEX "\"]}"),
        HF_NEXT_ASK);
    assert_int_equal(reply_result(HF_REASON_OK, HF_KEY_DELETED, ""), HF_NEXT_ASK);
    assert_int_equal(reply_result(HF_REASON_OK, 1, ""), HF_NEXT_ASK);
    hf_msg_export_page page = {.reason = HF_REASON_STORE_UNAVAILABLE, .done = 1};
    hf_frame_init(&page, HF_MSG_EXPORT_PAGE, 0);
    assert_int_equal(hf_front_reply(&x, &page), HF_NEXT_ANSWER);
    expect_error(503, "STORE_UNAVAILABLE");
}

static void leaves_a_read_only_key(void **state)
{
    (void)state;
    assert_int_equal(
        authorised(HF_METHOD_DELETE, "/eth/v1/keystores", "{\"pubkeys\":[\"0x" KEY_HEX "\"]}"),
        HF_NEXT_ASK);
    assert_int_equal(reply_result(HF_REASON_OK, HF_KEY_ERROR, "read-only"), HF_NEXT_ANSWER);
    json_t *root = body_json();
    assert_string_equal(status_at(root, 0), "error");
    json_decref(root);
}

static void refuses_malformed_deletions(void **state)
{
    static const char *const bodies[] = {"", "{}", "{\"pubkeys\":\"0x12\"}", "{\"pubkeys\":[1]}",
                                         "{\"pubkeys\":[\"0x12\"]}"};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(bodies); i++) {
        assert_int_equal(authorised(HF_METHOD_DELETE, "/eth/v1/keystores", bodies[i]),
                         HF_NEXT_ANSWER);
        expect_error(400, "MALFORMED");
    }
}

/* ---- exits ---------------------------------------------------------------------------------- */

static hf_next ask_exit(const char *index, const char *epoch)
{
    start_empty();
    x.request.method = HF_METHOD_POST;
    x.request.path = VALIDATOR "/voluntary_exit";
    x.request.authorization = TOKEN;
    x.request.query_validator_index = index;
    x.request.query_epoch = epoch;
    assert_int_equal(hf_front_admit(&x, 0), HF_NEXT_ASK);
    assert_int_equal(hf_front_begin(&x), HF_NEXT_ASK);
    return reply_result(HF_REASON_OK, 0, "");
}

static void signs_exits_with_capellas_version(void **state)
{
    (void)state;
    assert_int_equal(ask_exit("12", NULL), HF_NEXT_ASK);
    const hf_msg_sign *ask = x.ask;
    assert_int_equal(ask->header.type, HF_MSG_SIGN);
    assert_int_equal(ask->request.operation, HF_OP_VOLUNTARY_EXIT);
    assert_int_equal(ask->request.fields.voluntary_exit.epoch, 400000);
    assert_int_equal(ask->request.fields.voluntary_exit.validator_index, 12);
    assert_memory_equal(ask->request.fork_info.current_version, "\x03\0\0\0", 4);
    assert_memory_equal(ask->request.fork_info.genesis_validators_root,
                        context.network.genesis_validators_root, 32);
    hf_msg_sign_reply reply = {.reason = HF_REASON_OK};
    hf_frame_init(&reply, HF_MSG_SIGN_REPLY, 0);
    assert_int_equal(hf_front_reply(&x, &reply), HF_NEXT_ANSWER);
    json_t *root = body_json();
    const json_t *message = json_object_get(json_object_get(root, "data"), "message");
    assert_string_equal(json_string_value(json_object_get(message, "epoch")), "400000");
    assert_string_equal(json_string_value(json_object_get(message, "validator_index")), "12");
    json_decref(root);
}

static void refuses_malformed_exits(void **state)
{
    (void)state;
    assert_int_equal(ask_exit(NULL, NULL), HF_NEXT_ANSWER);
    expect_error(400, "MALFORMED");
    assert_int_equal(ask_exit("-1", NULL), HF_NEXT_ANSWER);
    expect_error(400, "MALFORMED");
    assert_int_equal(ask_exit("1", "18446744073709551616"), HF_NEXT_ANSWER);
    expect_error(400, "MALFORMED");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(lists_keys_page_by_page),
        CASE(lists_anew_when_the_keys_change_but_not_for_ever),
        CASE(lists_no_keys),
        CASE(lists_keystores_with_what_may_be_removed),
        CASE(imports_keystores_one_by_one),
        CASE(reports_keys_that_were_not_answered),
        CASE(imports_history_before_keys),
        CASE(imports_no_key_without_its_history),
        CASE(refuses_malformed_imports),
        CASE(stops_all_keys_before_it_reads_their_history),
        CASE(says_when_the_history_could_not_be_read),
        CASE(leaves_a_read_only_key),
        CASE(refuses_malformed_deletions),
        CASE(signs_exits_with_capellas_version),
        CASE(refuses_malformed_exits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
