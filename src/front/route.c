/* The table of routes, and what each request passes before its handler runs. */
#include "front/front_internal.h"

static const hf_route routes[] = {
    /* first, because every signature looks it up */
    {HF_METHOD_POST, "/api/v1/eth2/sign/{pubkey}", hf_front_sign, HF_ROUTE_BODY},
    {HF_METHOD_POST, "/", hf_front_rpc, HF_ROUTE_BODY | HF_ROUTE_RPC},
    {HF_METHOD_POST, "/api/v1/duty/sign", hf_front_duty_sign, HF_ROUTE_BODY},
    {HF_METHOD_POST, "/api/v1/eth1/sign/{id}", hf_front_eth1_sign, HF_ROUTE_BODY},
    {HF_METHOD_GET, "/api/v1/eth1/publicKeys", hf_front_eth1_public_keys, 0},
    {HF_METHOD_GET, "/api/v1/eth2/publicKeys", hf_front_public_keys, 0},
    {HF_METHOD_GET, "/api/v1/eth2/highWatermark", hf_front_high_watermark, 0},
    {HF_METHOD_GET, "/upcheck", hf_front_upcheck, HF_ROUTE_BOTH},
    {HF_METHOD_GET, "/healthcheck", hf_front_healthcheck, HF_ROUTE_BOTH},
    {HF_METHOD_GET, "/reload", hf_front_reload_status, 0},
    {HF_METHOD_POST, "/reload", hf_front_reload, 0},
    {HF_METHOD_GET, "/api/v1/holdfast/status", hf_front_status, 0},
    {HF_METHOD_GET, "/api/v1/seal/status", hf_front_seal_status, 0},
    {HF_METHOD_POST, "/api/v1/seal/init", hf_front_seal_init, HF_ROUTE_GUARDED | HF_ROUTE_BODY},
    {HF_METHOD_POST, "/api/v1/seal/register", hf_front_seal_register,
     HF_ROUTE_GUARDED | HF_ROUTE_BODY},
    {HF_METHOD_POST, "/api/v1/seal/unseal", hf_front_seal_unseal, HF_ROUTE_GUARDED | HF_ROUTE_BODY},
    {HF_METHOD_POST, "/api/v1/seal/seal", hf_front_seal_seal, 0},
    {HF_METHOD_POST, "/api/v1/seal/rekey", hf_front_seal_rekey, HF_ROUTE_GUARDED | HF_ROUTE_BODY},
    {HF_METHOD_POST, "/api/v1/seal/rotate", hf_front_seal_rotate, HF_ROUTE_GUARDED | HF_ROUTE_BODY},
    {HF_METHOD_POST, "/api/v1/seal/cancel", hf_front_seal_cancel, 0},
    {HF_METHOD_POST, "/api/v1/tokens", hf_front_tokens_create, HF_ROUTE_GUARDED | HF_ROUTE_BODY},
    {HF_METHOD_GET, "/api/v1/tokens", hf_front_tokens_list, 0},
    {HF_METHOD_DELETE, "/api/v1/tokens/{accessor}", hf_front_tokens_revoke, 0},
    {HF_METHOD_GET, "/api/v1/policies", hf_front_policies_list, 0},
    {HF_METHOD_GET, "/api/v1/policies/{name}", hf_front_policies_show, 0},
    {HF_METHOD_PUT, "/api/v1/policies/{name}", hf_front_policies_apply,
     HF_ROUTE_GUARDED | HF_ROUTE_BODY},
    {HF_METHOD_DELETE, "/api/v1/policies/{name}", hf_front_policies_delete, 0},
    {HF_METHOD_POST, "/api/v1/exits/{pubkey}/approve", hf_front_exits_approve,
     HF_ROUTE_GUARDED | HF_ROUTE_BODY},
    {HF_METHOD_GET, "/api/v1/holdfast/keys", hf_front_sealed_list, 0},
    {HF_METHOD_POST, "/api/v1/holdfast/keys/import", hf_front_sealed_import,
     HF_ROUTE_GUARDED | HF_ROUTE_BODY},
    {HF_METHOD_POST, "/api/v1/holdfast/keys/generate", hf_front_sealed_generate,
     HF_ROUTE_GUARDED | HF_ROUTE_BODY},
    {HF_METHOD_POST, "/api/v1/holdfast/keys/{pubkey}/activate", hf_front_sealed_activate, 0},
    {HF_METHOD_POST, "/api/v1/holdfast/keys/{pubkey}/deactivate", hf_front_sealed_deactivate, 0},
    {HF_METHOD_DELETE, "/api/v1/holdfast/keys/{pubkey}", hf_front_sealed_delete, 0},
    {HF_METHOD_GET, "/metrics", hf_front_metrics, HF_ROUTE_METRICS},
    {HF_METHOD_GET, "/eth/v1/keystores", hf_front_keystores_list, HF_ROUTE_TOKEN},
    {HF_METHOD_POST, "/eth/v1/keystores", hf_front_keystores_import,
     HF_ROUTE_TOKEN | HF_ROUTE_BODY},
    {HF_METHOD_DELETE, "/eth/v1/keystores", hf_front_keystores_delete,
     HF_ROUTE_TOKEN | HF_ROUTE_BODY},
    {HF_METHOD_GET, "/eth/v1/remotekeys", hf_front_remote_keys_list, HF_ROUTE_TOKEN},
    {HF_METHOD_POST, "/eth/v1/remotekeys", hf_front_remote_keys_refuse, HF_ROUTE_TOKEN},
    {HF_METHOD_DELETE, "/eth/v1/remotekeys", hf_front_remote_keys_refuse, HF_ROUTE_TOKEN},
    {HF_METHOD_GET, "/eth/v1/validator/{pubkey}/feerecipient", hf_front_not_ours, HF_ROUTE_TOKEN},
    {HF_METHOD_POST, "/eth/v1/validator/{pubkey}/feerecipient", hf_front_not_ours, HF_ROUTE_TOKEN},
    {HF_METHOD_DELETE, "/eth/v1/validator/{pubkey}/feerecipient", hf_front_not_ours,
     HF_ROUTE_TOKEN},
    {HF_METHOD_GET, "/eth/v1/validator/{pubkey}/gas_limit", hf_front_not_ours, HF_ROUTE_TOKEN},
    {HF_METHOD_POST, "/eth/v1/validator/{pubkey}/gas_limit", hf_front_not_ours, HF_ROUTE_TOKEN},
    {HF_METHOD_DELETE, "/eth/v1/validator/{pubkey}/gas_limit", hf_front_not_ours, HF_ROUTE_TOKEN},
    {HF_METHOD_GET, "/eth/v1/validator/{pubkey}/graffiti", hf_front_not_ours, HF_ROUTE_TOKEN},
    {HF_METHOD_POST, "/eth/v1/validator/{pubkey}/graffiti", hf_front_not_ours, HF_ROUTE_TOKEN},
    {HF_METHOD_DELETE, "/eth/v1/validator/{pubkey}/graffiti", hf_front_not_ours, HF_ROUTE_TOKEN},
    {HF_METHOD_POST, "/eth/v1/validator/{pubkey}/voluntary_exit", hf_front_voluntary_exit,
     HF_ROUTE_TOKEN},
};

const hf_route *hf_front_routes(size_t *ret_count)
{
    *ret_count = HF_ARRAY_LEN(routes);
    return routes;
}

hf_method hf_method_parse(const char *name)
{
    if (strcmp(name, "POST") == 0) {
        return HF_METHOD_POST;
    }
    if (strcmp(name, "GET") == 0 || strcmp(name, "HEAD") == 0) {
        return HF_METHOD_GET;
    }
    if (strcmp(name, "PUT") == 0) {
        return HF_METHOD_PUT;
    }
    return strcmp(name, "DELETE") == 0 ? HF_METHOD_DELETE : HF_METHOD_OTHER;
}

/* A segment in braces matches any one segment that is not empty. */
static bool path_matches(const char *pattern, const char *path, hf_bytes *ret_segment)
{
    const char *brace = strchr(pattern, '{');
    if (brace == NULL) {
        return strcmp(pattern, path) == 0;
    }
    size_t before = (size_t)(brace - pattern);
    if (strncmp(pattern, path, before) != 0) {
        return false;
    }
    const char *segment = path + before;
    size_t len = strcspn(segment, "/");
    if (len == 0 || strcmp(strchr(brace, '}') + 1, segment + len) != 0) {
        return false;
    }
    *ret_segment = hf_bytes_from(segment, len);
    return true;
}

static bool is_on_this_listener(const hf_route *route, bool is_metrics)
{
    if ((route->flags & HF_ROUTE_BOTH) != 0) {
        return true;
    }
    return ((route->flags & HF_ROUTE_METRICS) != 0) == is_metrics;
}

static void add_allowed(char allow[32], hf_method method)
{
    static const char *const names[] = {"GET, HEAD", "POST", "PUT", "DELETE"};
    size_t used = strlen(allow);
    (void)snprintf(allow + used, 32 - used, "%s%s", used == 0 ? "" : ", ", names[method]);
}

/* Sets x->route, or answers 404 or 405. */
static hf_next find_route(hf_exchange *x)
{
    const hf_route *elsewhere = NULL;
    for (size_t i = 0; i < HF_ARRAY_LEN(routes); i++) {
        const hf_route *route = &routes[i];
        bool is_named = elsewhere != NULL && strchr(elsewhere->pattern, '{') == NULL;
        if ((is_named && strchr(route->pattern, '{') != NULL) || /* a name goes before a pattern */
            !is_on_this_listener(route, x->request.is_metrics) ||
            !path_matches(route->pattern, x->request.path, &x->path_pubkey)) {
            continue;
        }
        if (route->method == x->request.method) {
            x->route = route;
            return HF_NEXT_ASK;
        }
        elsewhere = route;
        add_allowed(x->allow, route->method);
    }
    if (elsewhere == NULL) {
        return hf_front_refuse(x, HF_REASON_NOT_FOUND, NULL);
    }
    x->route = elsewhere; /* its form of errors */
    return hf_front_refuse(x, HF_REASON_METHOD_NOT_ALLOWED, NULL);
}

static bool is_type(const char *content_type, const char *type)
{
    size_t len = strlen(type);
    if (strncasecmp(content_type, type, len) != 0) {
        return false;
    }
    char next = content_type[len];
    return next == '\0' || next == ';' || next == ' ' || next == '\t';
}

/*
 * Web3Signer asks for no type, so none is fine, and so is what curl and urllib say when nobody
 * tells them better. What keeps web pages out is the Origin header, which browsers send with every
 * POST.
 */
static bool is_body_type(const char *content_type)
{
    return content_type == NULL || is_type(content_type, "application/json") ||
           is_type(content_type, "application/x-www-form-urlencoded");
}

hf_next hf_front_admit(hf_exchange *x, uint64_t body_len)
{
    if (x->request.origin != NULL) {
        return hf_front_refuse(x, HF_REASON_CROSS_ORIGIN, NULL);
    }
    if (find_route(x) == HF_NEXT_ANSWER) {
        return HF_NEXT_ANSWER;
    }
    if ((x->route->flags & HF_ROUTE_TOKEN) != 0 && !x->context->key_manager_enabled) {
        return hf_front_refuse(x, HF_REASON_NOT_FOUND,
                               "the key manager API is off (key_manager.enabled)");
    }
    if ((x->route->flags & HF_ROUTE_BODY) != 0 && !is_body_type(x->request.content_type)) {
        return hf_front_refuse(x, HF_REASON_UNSUPPORTED_MEDIA_TYPE, NULL);
    }
    if (body_len != UINT64_MAX && body_len > x->context->max_body_bytes) {
        return hf_front_refuse(x, HF_REASON_TOO_LARGE, NULL);
    }
    return HF_NEXT_ASK;
}

static hf_next authorised(hf_exchange *x, const void *frame)
{
    const hf_msg_result *result = frame;
    if (result->reason == HF_REASON_OK) {
        return x->route->handler(x);
    }
    hf_reason reason = (hf_reason)result->reason;
    /* The key manager API tells no token (401) from a wrong one (403). */
    bool is_wrong = reason == HF_REASON_UNAUTHORIZED && (x->route->flags & HF_ROUTE_TOKEN) != 0;
    return hf_front_refused_by_keeper(x, is_wrong ? HF_REASON_FORBIDDEN : reason, result->detail);
}

static hf_next authorise(hf_exchange *x)
{
    if (!hf_front_has_credential(x)) {
        return hf_front_refuse(x, HF_REASON_UNAUTHORIZED, NULL);
    }
    return hf_front_ask_simply(x, HF_MSG_AUTHORIZE, HF_MSG_RESULT, authorised);
}

hf_next hf_front_begin(hf_exchange *x)
{
    HF_ASSERT(x->route != NULL);
    bool is_guarded = (x->route->flags & (HF_ROUTE_TOKEN | HF_ROUTE_GUARDED)) != 0;
    return is_guarded ? authorise(x) : x->route->handler(x);
}

hf_next hf_front_reply(hf_exchange *x, const void *frame)
{
    const hf_frame_header *header = frame;
    if (x->ask_count == 1) { /* of several, some may still be on their way */
        x->ask = NULL;
    }
    hf_front_close_ask_fd(x);
    if (header->type != x->expected) {
        /* The one other answer that any question may get: why there is none. */
        if (header->type == HF_MSG_RESULT) {
            const hf_msg_result *result = frame;
            hf_reason reason = (hf_reason)result->reason;
            return hf_front_refused_by_keeper(
                x, reason == HF_REASON_OK ? HF_REASON_INTERNAL : reason, result->detail);
        }
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    return x->on_reply(x, frame);
}

hf_next hf_front_silence(hf_exchange *x)
{
    hf_front_close_ask_fd(x);
    if (x->on_silence != NULL) {
        return x->on_silence(x);
    }
    return hf_front_refuse(x, HF_REASON_TIMEOUT, NULL);
}
