/*
 * JSON-RPC 2.0 at /: calls alone or in batches, answered in their order. Signatures that follow
 * each other in a batch are asked for together (rpc_sign.c), everything else one after the other;
 * methods that are not the signer's go to a node, where there is one (rpc_node.c).
 *
 * A call that is refused is answered 200 with an error object, as JSON-RPC clients want it; but a
 * lone call keeps the HTTP status that says who should do something about it: 401, 429, 5xx.
 */
#include "front/rpc_internal.h"

#include <unistd.h>

/* Calls of one batch. */
#define BATCH_MAX 256
/* Of an id, as it stands in the JSON. */
#define ID_MAX 128

/* ---- answers ----------------------------------------------------------------------------------
 */

/* As it came: a string, a number or null; null for what is none of these. */
static void put_id(hf_rpc *job, uint32_t call)
{
    const hf_json *json = &job->json;
    uint32_t id = hf_json_member(json, call, "id", 2);
    const hf_json_value *v = &json->values[id];
    bool is_text = v->kind == HF_JSON_STRING || v->kind == HF_JSON_ESCAPED;
    if (id == 0 || v->len > ID_MAX || (!is_text && v->kind != HF_JSON_NUMBER)) {
        hf_text_put(&job->text, "null");
        return;
    }
    hf_text_put(&job->text, "%s", is_text ? "\"" : "");
    hf_text_put_bytes(&job->text, hf_json_text(json, id), v->len);
    hf_text_put(&job->text, "%s", is_text ? "\"" : "");
}

static void begin_answer(hf_rpc *job)
{
    hf_text_put(&job->text, "%s{\"jsonrpc\":\"2.0\",\"id\":", job->has_answered ? "," : "");
    put_id(job, job->call);
    job->has_answered = true;
}

static void put_error(hf_rpc *job, int code, const char *sentence, const char *word)
{
    begin_answer(job);
    hf_text_put(&job->text, ",\"error\":{\"code\":%d,\"message\":", code);
    hf_text_put_json(&job->text, sentence, strlen(sentence));
    hf_text_put(&job->text, ",\"data\":{\"code\":\"%s\"}}}", word);
}

static hf_next finish(hf_exchange *x, unsigned status)
{
    hf_rpc *job = x->job;
    if (job->is_batch) {
        hf_text_put(&job->text, "]");
    }
    return hf_front_answer_text(x, status, HF_CONTENT_JSON, &job->text);
}

/* The call is answered: with the next one goes on who has a batch. */
hf_next hf_rpc_done(hf_exchange *x, unsigned status)
{
    hf_rpc *job = x->job;
    if (!job->is_batch) {
        return finish(x, status);
    }
    job->call = job->json.values[job->call].next;
    return hf_rpc_go_on(x);
}

unsigned hf_rpc_put_failure(hf_exchange *x, int code, const char *sentence)
{
    x->reason = HF_REASON_MALFORMED;
    x->is_refused_here = true;
    put_error(x->job, code, sentence, code == HF_RPC_METHOD_NOT_FOUND ? "NOT_FOUND" : "MALFORMED");
    return 200;
}

hf_next hf_rpc_fail(hf_exchange *x, int code, const char *sentence)
{
    return hf_rpc_done(x, hf_rpc_put_failure(x, code, sentence));
}

static int code_of(hf_reason reason)
{
    switch (hf_reason_describe(reason)->http_status) {
    case 400:
    case 413:
        return HF_RPC_INVALID_PARAMS;
    case 500:
        return HF_RPC_INTERNAL_ERROR;
    default:
        return HF_RPC_REFUSED;
    }
}

unsigned hf_rpc_put_refusal(hf_exchange *x, hf_reason reason, const char *detail, bool counts_here)
{
    const hf_reason_info *info = hf_reason_describe(reason);
    x->reason = reason;
    x->is_refused_here = counts_here;
    put_error(x->job, code_of(reason), detail[0] != '\0' ? detail : info->sentence, info->code);
    bool is_plain =
        info->http_status == 401 || info->http_status == 429 || info->http_status >= 500;
    return is_plain ? info->http_status : 200;
}

hf_next hf_rpc_refuse(hf_exchange *x, hf_reason reason, const char *detail, bool counts_here)
{
    return hf_rpc_done(x, hf_rpc_put_refusal(x, reason, detail, counts_here));
}

hf_next hf_rpc_answer(hf_exchange *x, const char *member, hf_bytes value)
{
    hf_rpc *job = x->job;
    begin_answer(job);
    hf_text_put(&job->text, ",\"%s\":", member);
    hf_text_put_bytes(&job->text, value.ptr, value.len);
    hf_text_put(&job->text, "}");
    return hf_rpc_done(x, 200);
}

void hf_rpc_begin_result(hf_rpc *job)
{
    begin_answer(job);
    hf_text_put(&job->text, ",\"result\":");
}

/* ---- other methods ----------------------------------------------------------------------------
 */

static hf_next take_accounts(hf_exchange *x, const void *frame)
{
    const hf_msg_eth1_keys_reply *reply = frame;
    hf_rpc *job = x->job;
    uint32_t count = reply->count <= HF_ETH1_KEYS_PAGE ? reply->count : HF_ETH1_KEYS_PAGE;
    if (job->offset == 0) {
        hf_rpc_begin_result(job);
        hf_text_put(&job->text, "[");
    }
    for (uint32_t i = 0; i < count; i++) {
        hf_text_put(&job->text, "%s", job->offset + i == 0 ? "" : ",");
        hf_front_eth1_put_hex(&job->text, reply->keys[i].address, HF_ADDRESS_BYTES);
    }
    job->offset += count;
    if (!hf_failed(job->text.st) && count > 0 && job->offset < reply->total) {
        return hf_front_eth1_ask_keys(x, job->offset, take_accounts);
    }
    hf_text_put(&job->text, "]}");
    return hf_rpc_done(x, 200);
}

static hf_next eth_accounts(hf_exchange *x, uint32_t params)
{
    hf_rpc *job = x->job;
    const hf_json *json = &job->json;
    if (params != 0 && (!hf_json_is(json, params, HF_JSON_ARRAY) || json->values[params].len > 0)) {
        return hf_rpc_fail(x, HF_RPC_INVALID_PARAMS, "params: must be []");
    }
    job->offset = 0;
    return hf_front_eth1_ask_keys(x, 0, take_accounts);
}

static hf_next health_status(hf_exchange *x, uint32_t params)
{
    hf_rpc *job = x->job;
    (void)params;
    hf_rpc_begin_result(job);
    hf_text_put(&job->text, "\"OK\"}");
    return hf_rpc_done(x, 200);
}

static hf_next eth_send_transaction(hf_exchange *x, uint32_t params)
{
    (void)params;
    return hf_rpc_fail(
        x, HF_RPC_METHOD_NOT_FOUND,
        "a signer sends nothing: eth_signTransaction here, then eth_sendRawTransaction to "
        "a node");
}

/* ---- calls ------------------------------------------------------------------------------------
 */

typedef struct method {
    const char *name;
    hf_rpc_reader reader; /* of a method that signs; or else */
    hf_next (*handler)(hf_exchange *x, uint32_t params);
} method;

static const method methods[] = {
    {"eth_sign", hf_rpc_read_eth_sign, NULL},
    {"eth_signTransaction", hf_rpc_read_transaction, NULL},
    {"eth_signTypedData", hf_rpc_read_typed_data, NULL},
    {"eth_signTypedData_v4", hf_rpc_read_typed_data, NULL},
    {"personal_sign", hf_rpc_read_personal_sign, NULL},
    {"eth_accounts", NULL, eth_accounts},
    {"health_status", NULL, health_status},
    {"eth_sendTransaction", NULL, eth_send_transaction},
};

static const method *find_method(const hf_json *json, uint32_t name)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(methods); i++) {
        if (strlen(methods[i].name) == json->values[name].len &&
            hf_bytes_equal(methods[i].name, hf_json_text(json, name), json->values[name].len)) {
            return &methods[i];
        }
    }
    return NULL;
}

typedef struct call {
    uint32_t name; /* of its method; 0: the call is none, and why: */
    const char *fault;
    uint32_t params;
    const method *method; /* NULL: not the signer's */
} call;

/* The call under way. */
static call read_call(const hf_rpc *job)
{
    const hf_json *json = &job->json;
    uint32_t version = hf_json_member(json, job->call, "jsonrpc", 7);
    call c = {.name = hf_json_member(json, job->call, "method", 6),
              .params = hf_json_member(json, job->call, "params", 6)};
    if (version != 0 && !hf_json_is_text(json, version, "2.0")) {
        return (call){.fault = "jsonrpc: must be \"2.0\""};
    }
    if (c.name == 0 || !hf_json_is(json, c.name, HF_JSON_STRING)) {
        return (call){.fault = "method: must be a string"};
    }
    c.method = find_method(json, c.name);
    return c;
}

static hf_next begin_call(hf_exchange *x)
{
    const call c = read_call(x->job);
    if (c.name == 0) {
        return hf_rpc_fail(x, HF_RPC_INVALID_REQUEST, c.fault);
    }
    if (c.method == NULL) {
        return hf_rpc_ask_node(x, c.name, c.params);
    }
    return c.method->reader != NULL ? hf_rpc_sign(x, c.method->reader, c.params)
                                    : c.method->handler(x, c.params);
}

/* The signatures that come next are asked for together; one that cannot be asked for with others
 * stays for its turn. */
hf_next hf_rpc_go_on(hf_exchange *x)
{
    hf_rpc *job = x->job;
    while (job->call < job->end) {
        const call c = read_call(job);
        if (c.method == NULL || c.method->reader == NULL ||
            !hf_rpc_gather(x, c.method->reader, c.params)) {
            break;
        }
        job->call = job->json.values[job->call].next;
    }
    if (hf_rpc_has_gathered(job)) {
        return hf_rpc_sign_gathered(x);
    }
    return job->call < job->end ? begin_call(x) : finish(x, 200);
}

static void free_rpc(void *context)
{
    hf_rpc *job = context;
    hf_json_done(&job->json);
    if (job->paper_fd >= 0) {
        (void)close(job->paper_fd);
    }
    hf_rpc_drop_gathered(job);
    free(job->arena.room);
    free(job);
}

static hf_next refuse_body(hf_exchange *x, int code, const char *sentence)
{
    hf_rpc *job = x->job;
    x->reason = HF_REASON_MALFORMED;
    x->is_refused_here = true;
    job->is_batch = false;
    hf_text_put(&job->text,
                "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":%d,\"message\":", code);
    hf_text_put_json(&job->text, sentence, strlen(sentence));
    hf_text_put(&job->text, ",\"data\":{\"code\":\"MALFORMED\"}}}");
    return finish(x, 400);
}

static hf_next begin_batch(hf_exchange *x)
{
    hf_rpc *job = x->job;
    uint32_t count = job->json.values[0].len;
    if (count == 0 || count > BATCH_MAX) {
        return refuse_body(x, HF_RPC_INVALID_REQUEST,
                           count == 0 ? "an empty batch" : "more than 256 calls in a batch");
    }
    job->is_batch = true;
    job->call = 1;
    job->end = job->json.values[0].next;
    hf_text_put(&job->text, "[");
    return hf_rpc_go_on(x);
}

hf_next hf_front_rpc(hf_exchange *x)
{
    hf_error err = {HF_OK, ""};
    hf_rpc *job = malloc(sizeof *job);
    if (job == NULL) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    hf_status st = hf_json_parse(x->request.body, &job->json, &err);
    job->is_batch = false;
    job->has_answered = false;
    job->call = 0;
    job->paper_fd = -1;
    job->together = NULL;
    job->node_bytes = 0;
    job->node_outcome = HF_RELAY_OK;
    job->arena = (hf_codec_arena){.len = hf_codec_arena_room(x->request.body.len)};
    job->arena.room = malloc(job->arena.len);
    x->job = job;
    x->job_free = free_rpc;
    if (job->arena.room == NULL) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    if (!hf_front_open_text(x, &job->text)) {
        return HF_NEXT_ANSWER;
    }
    if (hf_failed(st)) {
        return refuse_body(x, HF_RPC_PARSE_ERROR, err.msg);
    }
    if (hf_json_is(&job->json, 0, HF_JSON_ARRAY)) {
        return begin_batch(x);
    }
    return hf_json_is(&job->json, 0, HF_JSON_OBJECT)
               ? begin_call(x)
               : refuse_body(x, HF_RPC_INVALID_REQUEST, "neither a call nor a list of calls");
}
