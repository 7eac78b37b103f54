/* Requests as exchanges: what is asked of the keeper, and what its replies become. No sockets. */
#include "front/front.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <unistd.h>

#define KEY_HEX                                                                                    \
    "8f5a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6" \
    "d7e8"
#define VALIDATOR "/eth/v1/validator/0x" KEY_HEX
#define TOKEN "Bearer 0123456789abcdef"
#define ROOT "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95"

static hf_front_context context;
static hf_exchange x;
static bool is_used;

static int64_t at_epoch_400000(void)
{
    return (int64_t)(1606824023 + 400000LL * 32 * 12) * 1000;
}

static int prepare(void **state)
{
    (void)state;
    context = (hf_front_context){.network = *hf_eth_network_find("mainnet"),
                                 .request_timeout_ms = 1000,
                                 .max_in_flight = 7,
                                 .max_body_bytes = 1000000,
                                 .key_manager_enabled = true,
                                 .unix_ms = at_epoch_400000};
    hf_harden_note(&context.protections, "seccomp", HF_PROTECTION_ON, "on");
    return 0;
}

static int finish(void **state)
{
    (void)state;
    if (is_used) {
        hf_front_done(&x);
    }
    is_used = false;
    return 0;
}

/* A new exchange, up to its first question or its answer. */
static hf_next start(hf_method method, const char *path, const char *body)
{
    (void)finish(NULL);
    hf_front_init(&x, &context);
    is_used = true;
    x.request.method = method;
    x.request.path = path;
    x.request.authorization = TOKEN;
    x.request.body = hf_bytes_from(body, strlen(body));
    x.request.is_metrics = strcmp(path, "/metrics") == 0;
    hf_next next = hf_front_admit(&x, x.request.body.len);
    return next == HF_NEXT_ASK ? hf_front_begin(&x) : next;
}

static uint16_t asked(void)
{
    return ((const hf_frame_header *)x.ask)->type;
}

static hf_next reply_result(hf_reason reason, uint64_t value, const char *detail)
{
    hf_msg_result result = {.reason = reason, .value = value};
    hf_frame_init(&result, HF_MSG_RESULT, 0);
    (void)snprintf(result.detail, sizeof result.detail, "%s", detail);
    return hf_front_reply(&x, &result);
}

/* Past the check of the token, which every request of the key manager begins with. */
static hf_next authorised(hf_method method, const char *path, const char *body)
{
    assert_int_equal(start(method, path, body), HF_NEXT_ASK);
    assert_int_equal(asked(), HF_MSG_AUTHORIZE);
    assert_string_equal(((const hf_msg_token *)x.ask)->token, "0123456789abcdef");
    return reply_result(HF_REASON_OK, 0, "");
}

static json_t *body_json(void)
{
    hf_bytes body = hf_front_body(&x);
    json_t *root = json_loadb((const char *)body.ptr, body.len, 0, NULL);
    assert_non_null(root);
    return root;
}

static void expect_error(unsigned status, const char *code)
{
    json_t *root = body_json();
    assert_int_equal(x.status, status);
    assert_string_equal(json_string_value(json_object_get(root, "code")), code);
    const char *member = x.route != NULL && (x.route->flags & HF_ROUTE_TOKEN) != 0 ? "message"
                                                                                   : "error";
    assert_true(json_string_length(json_object_get(root, member)) > 0);
    json_decref(root);
}

/* ---- routes --------------------------------------------------------------------------------- */

static void finds_every_route_on_its_listener_alone(void **state)
{
    (void)state;
    size_t count = 0;
    const hf_route *routes = hf_front_routes(&count);
    for (size_t i = 0; i < count; i++) {
        char path[256];
        const char *brace = strchr(routes[i].pattern, '{');
        size_t before = brace != NULL ? (size_t)(brace - routes[i].pattern)
                                      : strlen(routes[i].pattern);
        (void)snprintf(path, sizeof path, "%.*s%s%s", (int)before, routes[i].pattern,
                       brace != NULL ? "0x12" : "", brace != NULL ? strchr(brace, '}') + 1 : "");
        for (int is_metrics = 0; is_metrics < 2; is_metrics++) {
            hf_front_init(&x, &context);
            x.request.method = routes[i].method;
            x.request.path = path;
            x.request.is_metrics = is_metrics != 0;
            bool belongs = (routes[i].flags & HF_ROUTE_BOTH) != 0 ||
                           ((routes[i].flags & HF_ROUTE_METRICS) != 0) == x.request.is_metrics;
            assert_int_equal(hf_front_admit(&x, 0), belongs ? HF_NEXT_ASK : HF_NEXT_ANSWER);
            if (belongs) {
                assert_ptr_equal(x.route, &routes[i]);
                assert_true(brace == NULL || x.path_pubkey.len == 4);
            } else {
                assert_int_equal(x.status, 404);
            }
            hf_front_done(&x);
        }
    }
}

static void knows_no_other_path(void **state)
{
    static const char *const paths[] = {"",
                                        "/",
                                        "/upcheck/",
                                        "//upcheck",
                                        "/UPCHECK",
                                        "/api/v1/eth2/sign/",
                                        "/api/v1/eth2/sign",
                                        "/api/v1/eth2/sign/0x12/",
                                        "/api/v1/eth2/sign/0x12/34",
                                        "/eth/v1/validator//graffiti",
                                        "/eth/v1/validator/0x12/graffitti"};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(paths); i++) {
        assert_int_equal(start(HF_METHOD_GET, paths[i], ""), HF_NEXT_ANSWER);
        expect_error(404, "NOT_FOUND");
    }
}

static void names_the_methods_of_a_path(void **state)
{
    (void)state;
    assert_int_equal(start(HF_METHOD_OTHER, "/eth/v1/keystores", ""), HF_NEXT_ANSWER);
    expect_error(405, "METHOD_NOT_ALLOWED");
    assert_string_equal(x.allow, "GET, HEAD, POST, DELETE");
    assert_int_equal(start(HF_METHOD_GET, "/api/v1/eth2/sign/0x12", ""), HF_NEXT_ANSWER);
    assert_string_equal(x.allow, "POST");
}

static void checks_the_content_type_of_bodies(void **state)
{
    static const struct {
        const char *type;
        bool is_fine;
    } cases[] = {{NULL, true},
                 {"application/json", true},
                 {"Application/JSON; charset=utf-8", true},
                 {"application/json ; x", true},
                 {"application/jsonp", false},
                 {"text/plain", false},
                 {"", false},
                 {"application/x-www-form-urlencoded", false}};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        hf_front_init(&x, &context);
        x.request.method = HF_METHOD_POST;
        x.request.path = "/api/v1/eth2/sign/0x12";
        x.request.content_type = cases[i].type;
        assert_int_equal(hf_front_admit(&x, UINT64_MAX),
                         cases[i].is_fine ? HF_NEXT_ASK : HF_NEXT_ANSWER);
        assert_true(cases[i].is_fine || x.status == 415);
        hf_front_done(&x);
    }
}

/* ---- the token ------------------------------------------------------------------------------ */

static void tells_no_token_from_a_wrong_one(void **state)
{
    static const char *const none[] = {NULL, "", "Basic abc", "Bearer", "Bearer ", "Bearer   "};
    char long_token[200];
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(none); i++) {
        hf_front_init(&x, &context);
        x.request.method = HF_METHOD_GET;
        x.request.path = "/eth/v1/keystores";
        x.request.authorization = none[i];
        assert_int_equal(hf_front_admit(&x, 0), HF_NEXT_ASK);
        assert_int_equal(hf_front_begin(&x), HF_NEXT_ANSWER);
        expect_error(401, "UNAUTHORIZED");
        hf_front_done(&x);
    }
    (void)snprintf(long_token, sizeof long_token, "Bearer %0100d", 1);
    hf_front_init(&x, &context);
    x.request.method = HF_METHOD_GET;
    x.request.path = "/eth/v1/keystores";
    x.request.authorization = long_token;
    assert_int_equal(hf_front_admit(&x, 0), HF_NEXT_ASK);
    assert_int_equal(hf_front_begin(&x), HF_NEXT_ANSWER);
    expect_error(403, "FORBIDDEN");
    hf_front_done(&x);

    assert_int_equal(start(HF_METHOD_GET, "/eth/v1/keystores", ""), HF_NEXT_ASK);
    assert_int_equal(reply_result(HF_REASON_FORBIDDEN, 0, "the token is not valid"), HF_NEXT_ANSWER);
    expect_error(403, "FORBIDDEN");
    assert_false(x.is_refused_here);
}

static void hides_the_key_manager_when_it_is_off(void **state)
{
    (void)state;
    context.key_manager_enabled = false;
    assert_int_equal(start(HF_METHOD_GET, "/eth/v1/keystores", ""), HF_NEXT_ANSWER);
    expect_error(404, "NOT_FOUND");
}

static void says_what_a_signer_does_not_hold(void **state)
{
    static const struct {
        hf_method method;
        const char *path;
        unsigned status;
    } cases[] = {{HF_METHOD_GET, "/eth/v1/remotekeys", 200},
                 {HF_METHOD_POST, "/eth/v1/remotekeys", 404},
                 {HF_METHOD_DELETE, "/eth/v1/remotekeys", 404},
                 {HF_METHOD_GET, VALIDATOR "/feerecipient", 404},
                 {HF_METHOD_POST, VALIDATOR "/gas_limit", 404},
                 {HF_METHOD_DELETE, VALIDATOR "/graffiti", 404}};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        assert_int_equal(authorised(cases[i].method, cases[i].path, ""), HF_NEXT_ANSWER);
        assert_int_equal(x.status, cases[i].status);
        json_decref(body_json());
    }
}

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
    "{\\\"metadata\\\":{\\\"interchange_format_version\\\":\\\"5\\\",\\\"genesis_validators_root"   \
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
    assert_int_equal(authorised(HF_METHOD_POST, "/eth/v1/keystores", "{" TWO_KEYS "}"), HF_NEXT_ASK);
    expect_packed("{one}", "first");
    assert_int_equal(reply_result(HF_REASON_OK, HF_KEY_IMPORTED, ""), HF_NEXT_ASK);
    expect_packed("{two}", "second");
    assert_int_equal(reply_result(HF_REASON_OK, HF_KEY_ERROR, "wrong \"password\""), HF_NEXT_ANSWER);
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
    assert_int_equal(authorised(HF_METHOD_POST, "/eth/v1/keystores", "{" TWO_KEYS "}"), HF_NEXT_ASK);
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
    assert_string_equal(((const hf_msg_token *)x.ask)->token, "0123456789abcdef");
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
        assert_int_equal(authorised(HF_METHOD_POST, "/eth/v1/keystores", bodies[i]), HF_NEXT_ANSWER);
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
    assert_int_equal(json_array_size(json_object_get(json_array_get(data, 0),
                                                     "signed_attestations")),
                     67);
    json_decref(history);
    json_decref(root);
}

static void says_when_the_history_could_not_be_read(void **state)
{
    (void)state;
    assert_int_equal(authorised(HF_METHOD_DELETE, "/eth/v1/keystores",
                                "{\"pubkeys\":[\"0x" KEY_HEX "\"]}"),
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
    assert_int_equal(authorised(HF_METHOD_DELETE, "/eth/v1/keystores",
                                "{\"pubkeys\":[\"0x" KEY_HEX "\"]}"),
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
    (void)finish(NULL);
    hf_front_init(&x, &context);
    is_used = true;
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

/* ---- state ---------------------------------------------------------------------------------- */

static hf_next reply_status(const hf_msg_status_reply *known)
{
    hf_msg_status_reply reply = *known;
    hf_frame_init(&reply, HF_MSG_STATUS_REPLY, 0);
    return hf_front_reply(&x, &reply);
}

static void is_healthy_only_when_it_can_sign(void **state)
{
    static const struct {
        hf_msg_status_reply known;
        unsigned status;
    } cases[] = {
        {{.store_healthy = 1, .keys_loaded = 3, .first_load_done = 1}, 200},
        {{.store_healthy = 1, .keys_loaded = 3, .loading = 1}, 200},
        {{.store_healthy = 1, .keys_loaded = 3, .first_load_done = 1, .load_failed = 1}, 200},
        {{.store_healthy = 1, .first_load_done = 1}, 200}, /* waits for the key manager */
        {{.store_healthy = 0, .keys_loaded = 3, .first_load_done = 1}, 503},
        {{.store_healthy = 1, .loading = 1}, 503},
        {{.store_healthy = 1, .first_load_done = 1, .load_failed = 2}, 503},
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        assert_int_equal(start(HF_METHOD_GET, "/healthcheck", ""), HF_NEXT_ASK);
        assert_int_equal(reply_status(&cases[i].known), HF_NEXT_ANSWER);
        assert_int_equal(x.status, cases[i].status);
        json_t *root = body_json();
        assert_string_equal(json_string_value(json_object_get(root, "status")),
                            cases[i].status == 200 ? "UP" : "DOWN");
        assert_int_equal(json_array_size(json_object_get(root, "checks")), 3);
        json_decref(root);
    }
    assert_int_equal(start(HF_METHOD_GET, "/healthcheck", ""), HF_NEXT_ASK);
    assert_int_equal(hf_front_silence(&x), HF_NEXT_ANSWER);
    assert_int_equal(x.status, 503);
}

static void tells_the_state_of_a_reload(void **state)
{
    static const char *const names[] = {"idle", "running", "completed", "completed_with_errors",
                                        "failed"};
    (void)state;
    for (uint8_t i = 0; i < 5; i++) {
        hf_msg_status_reply known = {.reload_state = i, .reload_unix_ms = 1700000000123U};
        (void)snprintf(known.reload_error, sizeof known.reload_error, "%s", i > 2 ? "1 \"bad\"" : "");
        assert_int_equal(start(HF_METHOD_GET, "/reload", ""), HF_NEXT_ASK);
        assert_int_equal(reply_status(&known), HF_NEXT_ANSWER);
        json_t *root = body_json();
        assert_string_equal(json_string_value(json_object_get(root, "status")), names[i]);
        const char *when = json_string_value(json_object_get(root, "lastOperationTime"));
        assert_true(i == 0 ? when == NULL : strcmp(when, "2023-11-14T22:13:20Z") == 0);
        assert_true((json_object_get(root, "lastError") != NULL) == (i > 2));
        json_decref(root);
    }
    assert_int_equal(start(HF_METHOD_POST, "/reload", ""), HF_NEXT_ASK);
    assert_int_equal(reply_result(HF_REASON_OK, 0, ""), HF_NEXT_ANSWER);
    assert_int_equal(x.status, 202);
    assert_int_equal(start(HF_METHOD_POST, "/reload", ""), HF_NEXT_ASK);
    assert_int_equal(reply_result(HF_REASON_BUSY, 0, ""), HF_NEXT_ANSWER);
    expect_error(409, "BUSY");
}

static void tells_the_high_watermark(void **state)
{
    (void)state;
    hf_msg_status_reply known = {.high = {.has_slot = 1, .has_epochs = 1, .slot = 9, .target = 4}};
    assert_int_equal(start(HF_METHOD_GET, "/api/v1/eth2/highWatermark", ""), HF_NEXT_ASK);
    assert_int_equal(reply_status(&known), HF_NEXT_ANSWER);
    assert_string_equal((const char *)hf_front_body(&x).ptr, "{\"epoch\":\"4\",\"slot\":\"9\"}");
    known.high.has_epochs = 0;
    assert_int_equal(start(HF_METHOD_GET, "/api/v1/eth2/highWatermark", ""), HF_NEXT_ASK);
    assert_int_equal(reply_status(&known), HF_NEXT_ANSWER);
    assert_string_equal((const char *)hf_front_body(&x).ptr, "{\"slot\":\"9\"}");
}

static void tells_its_status_whatever_the_frame_holds(void **state)
{
    hf_msg_status_reply known = {.store_healthy = 1, .first_load_done = 1, .keys_loaded = 1};
    (void)state;
    assert_int_equal(start(HF_METHOD_GET, "/api/v1/holdfast/status", ""), HF_NEXT_ASK);
    assert_int_equal(reply_status(&known), HF_NEXT_ANSWER);
    json_t *root = body_json();
    assert_string_equal(json_string_value(json_object_get(root, "state")), "ready");
    assert_string_equal(json_string_value(json_object_get(root, "version")), HF_VERSION);
    const json_t *front = json_object_get(json_object_get(root, "protections"), "front");
    assert_int_equal(json_array_size(front), 1);
    json_decref(root);
    /* no NUL anywhere, counts beyond the arrays, bytes that JSON wants escaped */
    memset(&known, 0x01, sizeof known);
    assert_int_equal(start(HF_METHOD_GET, "/api/v1/holdfast/status", ""), HF_NEXT_ASK);
    assert_int_equal(reply_status(&known), HF_NEXT_ANSWER);
    assert_int_equal(x.status, 200);
    json_decref(body_json());
}

static void passes_on_why_there_is_no_answer(void **state)
{
    (void)state;
    assert_int_equal(start(HF_METHOD_GET, "/api/v1/eth2/publicKeys", ""), HF_NEXT_ASK);
    assert_int_equal(reply_result(HF_REASON_SHUTTING_DOWN, 0, ""), HF_NEXT_ANSWER);
    expect_error(503, "SHUTTING_DOWN");
    assert_int_equal(start(HF_METHOD_GET, "/api/v1/eth2/publicKeys", ""), HF_NEXT_ASK);
    hf_msg_status_reply other = {.store_healthy = 1};
    assert_int_equal(reply_status(&other), HF_NEXT_ANSWER);
    expect_error(500, "INTERNAL");
}

/* ---- metrics -------------------------------------------------------------------------------- */

/* Every line a comment or `name{labels} number`, each name announced by a TYPE before. */
static void check_exposition(char *text)
{
    char type_of[128] = "";
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char name[128];
        if (sscanf(line, "# TYPE %127s", name) == 1) {
            (void)snprintf(type_of, sizeof type_of, "%s", name);
        }
        if (line[0] == '#') {
            continue;
        }
        assert_int_equal(strncmp(line, type_of, strlen(type_of)), 0);
        const char *number = strrchr(line, ' ');
        assert_non_null(number);
        assert_int_equal(strspn(number + 1, "0123456789.e-+"), strlen(number + 1));
        assert_int_equal(strncmp(line, "holdfast_", 9), 0);
    }
}

static void writes_metrics_that_prometheus_reads(void **state)
{
    static hf_msg_metrics_reply reply;
    (void)state;
    memset(&reply, 0, sizeof reply);
    hf_frame_init(&reply, HF_MSG_METRICS_REPLY, 0);
    reply.metrics.requests[HF_OP_ATTESTATION][HF_RESULT_SIGNED] = 5;
    reply.metrics.refusals[HF_REASON_DOUBLE_VOTE] = 2;
    reply.metrics.refusals[HF_REASON_DOUBLE_BLOCK] = 1;
    reply.metrics.store_commit.counts[0] = 3;
    reply.metrics.store_commit.counts[15] = 4;
    reply.metrics.store_commit.sum_ns = 1500000000;
    reply.metrics.batch_counts[1] = 6;
    reply.metrics.batch_sum = 12;
    assert_int_equal(start(HF_METHOD_GET, "/metrics", ""), HF_NEXT_ASK);
    assert_int_equal(hf_front_reply(&x, &reply), HF_NEXT_ANSWER);
    const char *text = (const char *)hf_front_body(&x).ptr;
    static const char *const lines[] = {
        "\nholdfast_signing_requests_total{operation=\"ATTESTATION\",result=\"signed\"} 5\n",
        "\nholdfast_slashing_permitted_total 5\n",
        "\nholdfast_slashing_prevented_total 3\n",
        "\nholdfast_refusals_total{reason=\"DOUBLE_VOTE\"} 2\n",
        "\nholdfast_store_commit_seconds_bucket{le=\"2.5e-05\"} 3\n",
        "\nholdfast_store_commit_seconds_bucket{le=\"1\"} 3\n",
        "\nholdfast_store_commit_seconds_bucket{le=\"+Inf\"} 7\n",
        "\nholdfast_store_commit_seconds_sum 1.500000000\n",
        "\nholdfast_store_commit_seconds_count 7\n",
        "\nholdfast_store_batch_size_bucket{le=\"2\"} 6\n",
        "\nholdfast_store_batch_size_sum 12\n",
        "\nholdfast_signing_duration_seconds_count{operation=\"BLOCK_V2\",stage=\"total\"} 0\n",
        "\nholdfast_protection_enabled{name=\"seccomp\",process=\"front\"} 1\n",
        "\nholdfast_in_flight_limit 7\n",
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(lines); i++) {
        if (strstr(text, lines[i]) == NULL) {
            fail_msg("missing: %s", lines[i] + 1);
        }
    }
    char *copy = strdup(text);
    check_exposition(copy);
    free(copy);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, prepare, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(finds_every_route_on_its_listener_alone),
        CASE(knows_no_other_path),
        CASE(names_the_methods_of_a_path),
        CASE(checks_the_content_type_of_bodies),
        CASE(tells_no_token_from_a_wrong_one),
        CASE(hides_the_key_manager_when_it_is_off),
        CASE(says_what_a_signer_does_not_hold),
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
        CASE(is_healthy_only_when_it_can_sign),
        CASE(tells_the_state_of_a_reload),
        CASE(tells_the_high_watermark),
        CASE(tells_its_status_whatever_the_frame_holds),
        CASE(passes_on_why_there_is_no_answer),
        CASE(writes_metrics_that_prometheus_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
