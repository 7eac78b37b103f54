#include "exchange.h"

hf_front_context context;
hf_exchange x;
static bool is_used;

static int64_t at_epoch_400000(void)
{
    return (int64_t)(1606824023 + 400000LL * 32 * 12) * 1000;
}

int prepare(void **state)
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

int finish(void **state)
{
    (void)state;
    if (is_used) {
        hf_front_done(&x);
    }
    is_used = false;
    return 0;
}

void start_empty(void)
{
    (void)finish(NULL);
    hf_front_init(&x, &context);
    is_used = true;
}

hf_next start(hf_method method, const char *path, const char *body)
{
    start_empty();
    x.request.method = method;
    x.request.path = path;
    x.request.authorization = TOKEN;
    x.request.body = hf_bytes_from(body, strlen(body));
    x.request.is_metrics = strcmp(path, "/metrics") == 0;
    hf_next next = hf_front_admit(&x, x.request.body.len);
    return next == HF_NEXT_ASK ? hf_front_begin(&x) : next;
}

uint16_t asked(void)
{
    return ((const hf_frame_header *)x.ask)->type;
}

hf_next reply_result(hf_reason reason, uint64_t value, const char *detail)
{
    hf_msg_result result = {.reason = reason, .value = value};
    hf_frame_init(&result, HF_MSG_RESULT, 0);
    (void)snprintf(result.detail, sizeof result.detail, "%s", detail);
    return hf_front_reply(&x, &result);
}

hf_next authorised(hf_method method, const char *path, const char *body)
{
    assert_int_equal(start(method, path, body), HF_NEXT_ASK);
    assert_int_equal(asked(), HF_MSG_AUTHORIZE);
    assert_string_equal(((const hf_msg_ask *)x.ask)->caller.token, "0123456789abcdef");
    return reply_result(HF_REASON_OK, 0, "");
}

json_t *body_json(void)
{
    hf_bytes body = hf_front_body(&x);
    json_t *root = json_loadb((const char *)body.ptr, body.len, 0, NULL);
    assert_non_null(root);
    return root;
}

void expect_error(unsigned status, const char *code)
{
    json_t *root = body_json();
    assert_int_equal(x.status, status);
    assert_string_equal(json_string_value(json_object_get(root, "code")), code);
    const char *member =
        x.route != NULL && (x.route->flags & HF_ROUTE_TOKEN) != 0 ? "message" : "error";
    assert_true(json_string_length(json_object_get(root, member)) > 0);
    json_decref(root);
}
