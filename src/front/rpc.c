/*
 * JSON-RPC 2.0 at /: the methods with which wallets and rollup nodes have their signatures made,
 * alone or in batches, whose calls are done one after the other; the others go to a node, where
 * there is one (rpc_node.c).
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

typedef hf_next (*method_handler)(hf_exchange *x, uint32_t params);

static hf_next next_call(hf_exchange *x);

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
static hf_next done(hf_exchange *x, unsigned status)
{
    hf_rpc *job = x->job;
    if (!job->is_batch) {
        return finish(x, status);
    }
    job->call = job->json.values[job->call].next;
    return next_call(x);
}

hf_next hf_rpc_fail(hf_exchange *x, int code, const char *sentence)
{
    x->reason = HF_REASON_MALFORMED;
    x->is_refused_here = true;
    put_error(x->job, code, sentence, code == HF_RPC_METHOD_NOT_FOUND ? "NOT_FOUND" : "MALFORMED");
    return done(x, 200);
}

static hf_next fail_params(hf_exchange *x, hf_status st, const hf_error *err)
{
    return st.code == HF_NOMEM ? hf_rpc_fail(x, HF_RPC_INTERNAL_ERROR, "internal error")
                               : hf_rpc_fail(x, HF_RPC_INVALID_PARAMS, err->msg);
}

/* What the keeper would refuse, too. */
static hf_next fail_denied(hf_exchange *x, const char *sentence)
{
    x->reason = HF_REASON_FORBIDDEN;
    x->is_refused_here = true;
    put_error(x->job, HF_RPC_REFUSED, sentence, hf_reason_describe(HF_REASON_FORBIDDEN)->code);
    return done(x, 200);
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

hf_next hf_rpc_refuse(hf_exchange *x, hf_reason reason, const char *detail, bool counts_here)
{
    const hf_reason_info *info = hf_reason_describe(reason);
    x->reason = reason;
    x->is_refused_here = counts_here;
    put_error(x->job, code_of(reason), detail[0] != '\0' ? detail : info->sentence, info->code);
    bool is_plain =
        info->http_status == 401 || info->http_status == 429 || info->http_status >= 500;
    return done(x, is_plain ? info->http_status : 200);
}

static hf_next refused(hf_exchange *x, const hf_msg_eth1_reply *reply)
{
    char detail[HF_DETAIL_LEN];
    (void)snprintf(detail, sizeof detail, "%.*s", HF_DETAIL_LEN - 1, reply->detail);
    return hf_rpc_refuse(x, (hf_reason)reply->reason, detail, false);
}

hf_next hf_rpc_answer(hf_exchange *x, const char *member, hf_bytes value)
{
    hf_rpc *job = x->job;
    begin_answer(job);
    hf_text_put(&job->text, ",\"%s\":", member);
    hf_text_put_bytes(&job->text, value.ptr, value.len);
    hf_text_put(&job->text, "}");
    return done(x, 200);
}

static void begin_result(hf_rpc *job)
{
    begin_answer(job);
    hf_text_put(&job->text, ",\"result\":");
}

/* ---- signatures -------------------------------------------------------------------------------
 */

static hf_next message_signed(hf_exchange *x, const void *frame)
{
    const hf_msg_eth1_reply *reply = frame;
    hf_rpc *job = x->job;
    if (reply->reason != HF_REASON_OK) {
        return refused(x, reply);
    }
    begin_result(job);
    hf_front_eth1_put_hex(&job->text, reply->signature, sizeof reply->signature);
    hf_text_put(&job->text, "}");
    return done(x, 200);
}

static hf_next transaction_signed(hf_exchange *x, const void *frame)
{
    const hf_msg_eth1_reply *reply = frame;
    hf_rpc *job = x->job;
    hf_codec_arena *arena = &job->arena;
    hf_rlp_writer writer = {arena->room + arena->used, arena->len - arena->used, 0};
    if (reply->reason != HF_REASON_OK) {
        return refused(x, reply);
    }
    if (hf_failed(hf_tx_encode_signed(job->signature.bytes, reply->signature, &writer))) {
        return hf_rpc_fail(x, HF_RPC_INTERNAL_ERROR,
                           "internal error"); /* not what a keeper signs */
    }
    HF_ASSERT(writer.used <= writer.room);
    begin_result(job);
    hf_front_eth1_put_hex(&job->text, writer.out, writer.used);
    hf_text_put(&job->text, "}");
    return done(x, 200);
}

/* Does the list have from least to most values, each but the first `whole` a string? */
static bool are_params(const hf_json *json, uint32_t params, uint32_t least, uint32_t most)
{
    return params != 0 && hf_json_is(json, params, HF_JSON_ARRAY) &&
           json->values[params].len >= least && json->values[params].len <= most;
}

/* The value at this place of a list that has it. */
static uint32_t param_at(const hf_json *json, uint32_t params, uint32_t place)
{
    uint32_t value = params + 1;
    while (place-- > 0) {
        value = json->values[value].next;
    }
    return value;
}

static hf_next sign_message(hf_exchange *x, uint32_t params, uint32_t address, uint32_t message)
{
    hf_rpc *job = x->job;
    hf_error err = {HF_OK, ""};
    const hf_path up = {.name = "params"};
    const hf_path address_path = {.up = &up, .index = address};
    const hf_path message_path = {.up = &up, .index = message};
    const hf_json *json = &job->json;
    job->signature = (hf_eth1_call){.kind = HF_ETH1_MESSAGE};
    hf_status st = hf_codec_address(json, param_at(json, params, address), &address_path,
                                    job->signature.address, &err);
    if (!hf_failed(st)) {
        st = hf_codec_hex(json, param_at(json, params, message), &message_path, &job->arena,
                          &job->signature.bytes, &err);
    }
    return hf_failed(st) ? fail_params(x, st, &err)
                         : hf_front_eth1_ask(x, &job->signature, message_signed);
}

static hf_next eth_sign(hf_exchange *x, uint32_t params)
{
    const hf_rpc *job = x->job;
    return are_params(&job->json, params, 2, 2)
               ? sign_message(x, params, 0, 1)
               : hf_rpc_fail(x, HF_RPC_INVALID_PARAMS, "params: must be [address, data]");
}

/* A third one is the password of an account, which no key here has. */
static hf_next personal_sign(hf_exchange *x, uint32_t params)
{
    const hf_rpc *job = x->job;
    return are_params(&job->json, params, 2, 3)
               ? sign_message(x, params, 1, 0)
               : hf_rpc_fail(x, HF_RPC_INVALID_PARAMS, "params: must be [data, address]");
}

static hf_next eth_sign_transaction(hf_exchange *x, uint32_t params)
{
    hf_rpc *job = x->job;
    hf_error err = {HF_OK, ""};
    const hf_json *json = &job->json;
    bool is_bare = params != 0 && hf_json_is(json, params, HF_JSON_OBJECT);
    if (!is_bare && !are_params(json, params, 1, 1)) {
        return hf_rpc_fail(x, HF_RPC_INVALID_PARAMS, "params: must be [transaction]");
    }
    job->signature = (hf_eth1_call){.kind = HF_ETH1_TRANSACTION};
    hf_status st = hf_codec_transaction(json, is_bare ? params : param_at(json, params, 0),
                                        x->context->eth1.chain_id, &job->arena,
                                        job->signature.address, &job->signature.bytes, &err);
    return hf_failed(st) ? fail_params(x, st, &err)
                         : hf_front_eth1_ask(x, &job->signature, transaction_signed);
}

/* [address, typed data]: as an object, or as a string with its text. */
static hf_next eth_sign_typed_data(hf_exchange *x, uint32_t params)
{
    hf_rpc *job = x->job;
    hf_error err = {HF_OK, ""};
    const hf_json *json = &job->json;
    const hf_path up = {.name = "params"};
    const hf_path address_path = {.up = &up, .index = 0};
    if (!are_params(json, params, 2, 2)) {
        return hf_rpc_fail(x, HF_RPC_INVALID_PARAMS, "params: must be [address, typed data]");
    }
    job->signature = (hf_eth1_call){.kind = HF_ETH1_TYPED_DATA};
    hf_status st = hf_codec_address(json, param_at(json, params, 0), &address_path,
                                    job->signature.address, &err);
    if (!hf_failed(st)) {
        st = hf_typed_data_read(json, param_at(json, params, 1), &job->typed, &err);
    }
    if (st.code == HF_DENIED) {
        return fail_denied(x, err.msg);
    }
    if (hf_failed(st)) {
        return fail_params(x, st, &err);
    }
    job->signature.bytes = hf_bytes_from(&job->typed, sizeof job->typed);
    return hf_front_eth1_ask(x, &job->signature, message_signed);
}

/* ---- other methods ----------------------------------------------------------------------------
 */

static hf_next take_accounts(hf_exchange *x, const void *frame)
{
    const hf_msg_eth1_keys_reply *reply = frame;
    hf_rpc *job = x->job;
    uint32_t count = reply->count <= HF_ETH1_KEYS_PAGE ? reply->count : HF_ETH1_KEYS_PAGE;
    if (job->offset == 0) {
        begin_result(job);
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
    return done(x, 200);
}

static hf_next eth_accounts(hf_exchange *x, uint32_t params)
{
    hf_rpc *job = x->job;
    if (params != 0 && !are_params(&job->json, params, 0, 0)) {
        return hf_rpc_fail(x, HF_RPC_INVALID_PARAMS, "params: must be []");
    }
    job->offset = 0;
    return hf_front_eth1_ask_keys(x, 0, take_accounts);
}

static hf_next health_status(hf_exchange *x, uint32_t params)
{
    hf_rpc *job = x->job;
    (void)params;
    begin_result(job);
    hf_text_put(&job->text, "\"OK\"}");
    return done(x, 200);
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

static const struct {
    const char *name;
    method_handler handler;
} methods[] = {
    {"eth_sign", eth_sign},
    {"eth_signTransaction", eth_sign_transaction},
    {"eth_signTypedData", eth_sign_typed_data},
    {"eth_signTypedData_v4", eth_sign_typed_data},
    {"personal_sign", personal_sign},
    {"eth_accounts", eth_accounts},
    {"health_status", health_status},
    {"eth_sendTransaction", eth_send_transaction},
};

static method_handler find_method(const hf_json *json, uint32_t name)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(methods); i++) {
        if (strlen(methods[i].name) == json->values[name].len &&
            hf_bytes_equal(methods[i].name, hf_json_text(json, name), json->values[name].len)) {
            return methods[i].handler;
        }
    }
    return NULL;
}

static hf_next begin_call(hf_exchange *x)
{
    hf_rpc *job = x->job;
    const hf_json *json = &job->json;
    uint32_t version = hf_json_member(json, job->call, "jsonrpc", 7);
    uint32_t name = hf_json_member(json, job->call, "method", 6);
    job->arena.used = 0;
    if (version != 0 && !hf_json_is_text(json, version, "2.0")) {
        return hf_rpc_fail(x, HF_RPC_INVALID_REQUEST, "jsonrpc: must be \"2.0\"");
    }
    if (name == 0 || !hf_json_is(json, name, HF_JSON_STRING)) {
        return hf_rpc_fail(x, HF_RPC_INVALID_REQUEST, "method: must be a string");
    }
    method_handler handler = find_method(json, name);
    uint32_t params = hf_json_member(json, job->call, "params", 6);
    return handler != NULL ? handler(x, params) : hf_rpc_ask_node(x, name, params);
}

static hf_next next_call(hf_exchange *x)
{
    const hf_rpc *job = x->job;
    return job->call < job->end ? begin_call(x) : finish(x, 200);
}

static void free_rpc(void *context)
{
    hf_rpc *job = context;
    hf_json_done(&job->json);
    if (job->paper_fd >= 0) {
        (void)close(job->paper_fd);
    }
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
    return next_call(x);
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
