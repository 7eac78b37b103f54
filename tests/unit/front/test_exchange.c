/* Requests as exchanges: what is asked of the keeper, and what its replies become. No sockets. */
#include "exchange.h"

/* ---- routes --------------------------------------------------------------------------------- */

static void finds_every_route_on_its_listener_alone(void **state)
{
    (void)state;
    size_t count = 0;
    const hf_route *routes = hf_front_routes(&count);
    for (size_t i = 0; i < count; i++) {
        char path[256];
        const char *brace = strchr(routes[i].pattern, '{');
        size_t before =
            brace != NULL ? (size_t)(brace - routes[i].pattern) : strlen(routes[i].pattern);
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
                 {"application/x-www-form-urlencoded", true},
                 {"multipart/form-data; boundary=x", false}};
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
    assert_int_equal(hf_front_begin(&x), HF_NEXT_ASK);
    assert_string_equal(((const hf_msg_ask *)x.ask)->caller.token, "-"); /* nobody's */
    hf_front_done(&x);

    assert_int_equal(start(HF_METHOD_GET, "/eth/v1/keystores", ""), HF_NEXT_ASK);
    assert_int_equal(reply_result(HF_REASON_FORBIDDEN, 0, "the token is not valid"),
                     HF_NEXT_ANSWER);
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

/* ---- state ---------------------------------------------------------------------------------- */

static hf_next reply_status(const hf_msg_status_reply *known)
{
    static hf_msg_status_reply reply;
    reply = *known;
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
        {{.store_healthy = 1, .keys_loaded = 1, .duty_configured = 1, .duty_healthy = 1}, 200},
        {{.store_healthy = 1, .keys_loaded = 1, .duty_configured = 1}, 503},
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        assert_int_equal(start(HF_METHOD_GET, "/healthcheck", ""), HF_NEXT_ASK);
        assert_int_equal(reply_status(&cases[i].known), HF_NEXT_ANSWER);
        assert_int_equal(x.status, cases[i].status);
        json_t *root = body_json();
        assert_string_equal(json_string_value(json_object_get(root, "status")),
                            cases[i].status == 200 ? "UP" : "DOWN");
        assert_int_equal(json_array_size(json_object_get(root, "checks")),
                         3U + cases[i].known.duty_configured);
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
        (void)snprintf(known.reload_error, sizeof known.reload_error, "%s",
                       i > 2 ? "1 \"bad\"" : "");
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
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
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
        CASE(is_healthy_only_when_it_can_sign),
        CASE(tells_the_state_of_a_reload),
        CASE(tells_the_high_watermark),
        CASE(tells_its_status_whatever_the_frame_holds),
        CASE(passes_on_why_there_is_no_answer),
        CASE(writes_metrics_that_prometheus_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
