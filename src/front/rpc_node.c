/*
 * Methods of JSON-RPC that are not the signer's: passed to a node, where one is configured
 * (eth1.downstream) and the keeper lets the caller. The call is written anew, so that no node can
 * read another method in it than we did; of the answer its result or error goes to the client as it
 * came, in an answer of our own.
 */
#include "front/json_span.h"
#include "front/rpc_internal.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define METHOD_MAX 64
/* The relay gives up by itself; a front waits so much longer for its word. */
#define RELAY_GRACE_MS 1000

/* What would use the node's own keys, or govern the node. Letter case aside, as some nodes read. */
static const char *const kept_back[] = {
    "account_", "admin_", "clique_", "debug_",    "engine_", "eth_sendtransaction",
    "eth_sign", "miner_", "parity_", "personal_", "signer_",
};

static const struct {
    hf_reason reason;
    const char *sentence;
} failures[HF_RELAY_OUTCOME_COUNT] = {
    [HF_RELAY_ABSENT] = {HF_REASON_NODE_UNAVAILABLE,
                         "the process that speaks to the node is not there; it is started again"},
    [HF_RELAY_BUSY] = {HF_REASON_OVERLOADED, "too many calls to the node are under way"},
    [HF_RELAY_LATE] = {HF_REASON_NODE_TIMEOUT, "the node did not answer in time"},
    [HF_RELAY_UNREACHABLE] = {HF_REASON_NODE_UNAVAILABLE,
                              "no connection to the node, or it broke before the answer was whole"},
    [HF_RELAY_UNTRUSTED] = {HF_REASON_NODE_UNAVAILABLE, "the node's certificate is not trusted"},
    [HF_RELAY_TOO_LONG] = {HF_REASON_NODE_UNAVAILABLE,
                           "the node's answer is longer than what is passed back"},
    [HF_RELAY_REDIRECTED] = {HF_REASON_NODE_UNAVAILABLE,
                             "the node answers with a redirect, which is not followed"},
};

static bool is_method(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && c != '_') {
            return false;
        }
    }
    return len > 0 && len <= METHOD_MAX;
}

static bool is_kept_back(const char *name, size_t len)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(kept_back); i++) {
        size_t prefix = strlen(kept_back[i]);
        if (len >= prefix && strncasecmp(name, kept_back[i], prefix) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- the answer -------------------------------------------------------------------------------
 */

/* Whoever asked it several things waits for a silent node once. */
static hf_next node_failed(hf_exchange *x, hf_relay_outcome outcome)
{
    hf_rpc *job = x->job;
    if (outcome != HF_RELAY_TOO_LONG) { /* which says nothing about the other calls */
        job->node_outcome = outcome;
    }
    return hf_rpc_refuse(x, failures[outcome].reason, failures[outcome].sentence, true);
}

/* A copy, since the relay can write on the paper still. NULL: it is not all there. */
static uint8_t *read_paper(int fd, uint32_t len)
{
    uint8_t *text = malloc((size_t)len + 1);
    size_t have = 0;
    while (text != NULL && have < len) {
        ssize_t n = pread(fd, text + have, len - have, (off_t)have);
        if (n <= 0) {
            free(text);
            return NULL;
        }
        have += (size_t)n;
    }
    return text;
}

static hf_next pass_back(hf_exchange *x, uint32_t len)
{
    hf_rpc *job = x->job;
    hf_node_answer answer;
    uint8_t *text = read_paper(job->paper_fd, len);
    if (text == NULL) {
        return hf_rpc_fail(x, HF_RPC_INTERNAL_ERROR, "internal error");
    }
    job->node_bytes += len;
    hf_next next;
    if (hf_failed(hf_node_answer_read(hf_bytes_from(text, len), &answer))) {
        next = hf_rpc_refuse(x, HF_REASON_NODE_UNAVAILABLE, "what the node answers is no JSON-RPC",
                             true);
    } else if (answer.error.len > 0) {
        next = hf_rpc_answer(x, "error", answer.error);
    } else {
        next = hf_rpc_answer(x, "result", answer.result);
    }
    free(text);
    return next;
}

/* The questions of the calls that follow are the keeper's again. */
static void settle(hf_exchange *x)
{
    x->asks_relay = false;
    x->ask_timeout_ms = x->context->request_timeout_ms;
    x->on_silence = NULL;
}

static hf_next take_answer(hf_exchange *x, const void *frame)
{
    const hf_msg_relay_answer *reply = frame;
    const hf_rpc *job = x->job;
    settle(x);
    bool is_sound = reply->outcome < HF_RELAY_OUTCOME_COUNT &&
                    reply->answer_len <= HF_RELAY_ANSWER_MAX - job->node_bytes;
    if (!is_sound) {
        return hf_rpc_fail(x, HF_RPC_INTERNAL_ERROR, "internal error");
    }
    return reply->outcome == HF_RELAY_OK ? pass_back(x, reply->answer_len)
                                         : node_failed(x, (hf_relay_outcome)reply->outcome);
}

static hf_next take_silence(hf_exchange *x)
{
    settle(x);
    return node_failed(x, HF_RELAY_LATE);
}

/* ---- the call ---------------------------------------------------------------------------------
 */

static bool write_parts(int fd, const hf_bytes *parts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (hf_failed(hf_file_write_all(fd, parts[i].ptr, parts[i].len))) {
            return false;
        }
    }
    return true;
}

static hf_bytes text_of(const char *text)
{
    return hf_bytes_from(text, strlen(text));
}

/* The value's own text; [] where there is none. */
static hf_bytes params_text(const hf_exchange *x, uint32_t params)
{
    const hf_rpc *job = x->job;
    hf_bytes value = text_of("[]");
    size_t at = params != 0 ? job->json.values[params].start : 0;
    if (params != 0 && hf_failed(hf_json_span_value(x->request.body, &at, &value))) {
        value.len = 0;
    }
    return value;
}

/* A new paper with the call on it; 0 when there is none. */
static uint32_t write_call(hf_exchange *x, uint32_t name, uint32_t params)
{
    hf_rpc *job = x->job;
    const hf_bytes method =
        hf_bytes_from(hf_json_text(&job->json, name), job->json.values[name].len);
    const hf_bytes parts[] = {text_of("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\""), method,
                              text_of("\",\"params\":"), params_text(x, params), text_of("}")};
    uint32_t len = 0;
    if (job->paper_fd >= 0) {
        (void)close(job->paper_fd);
    }
    job->paper_fd = memfd_create("call", MFD_CLOEXEC);
    if (job->paper_fd < 0 || !write_parts(job->paper_fd, parts, HF_ARRAY_LEN(parts))) {
        return 0;
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(parts); i++) {
        len += (uint32_t)parts[i].len;
    }
    return len;
}

static hf_next allowed(hf_exchange *x, const void *frame)
{
    const hf_msg_result *result = frame;
    hf_rpc *job = x->job;
    if (result->reason != HF_REASON_OK) {
        char detail[HF_DETAIL_LEN];
        (void)snprintf(detail, sizeof detail, "%.*s", HF_DETAIL_LEN - 1, result->detail);
        return hf_rpc_refuse(x, (hf_reason)result->reason, detail, false);
    }
    if (job->node_bytes == HF_RELAY_ANSWER_MAX) {
        return node_failed(x, HF_RELAY_TOO_LONG);
    }
    uint32_t len = write_call(x, hf_json_member(&job->json, job->call, "method", 6),
                              hf_json_member(&job->json, job->call, "params", 6));
    uint32_t timeout_ms = x->context->node.timeout_ms;
    x->frame.relay =
        (hf_msg_relay_ask){.deadline_ns = hf_time_mono_ns() + timeout_ms * HF_NS_PER_MS,
                           .call_len = len,
                           .answer_max = HF_RELAY_ANSWER_MAX - job->node_bytes};
    x->ask_fd = len > 0 ? fcntl(job->paper_fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (x->ask_fd < 0) {
        return hf_rpc_fail(x, HF_RPC_INTERNAL_ERROR, "internal error");
    }
    hf_frame_init(&x->frame.relay, HF_MSG_RELAY_ASK, 0);
    x->asks_relay = true;
    x->ask_timeout_ms = timeout_ms + RELAY_GRACE_MS;
    x->on_silence = take_silence;
    return hf_front_ask(x, &x->frame.relay, HF_MSG_RELAY_ANSWER, take_answer);
}

hf_next hf_rpc_ask_node(hf_exchange *x, uint32_t name, uint32_t params)
{
    const hf_rpc *job = x->job;
    const char *method = hf_json_text(&job->json, name);
    size_t len = job->json.values[name].len;
    if (x->context->node.timeout_ms == 0 || !is_method(method, len)) {
        return hf_rpc_fail(x, HF_RPC_METHOD_NOT_FOUND, "no such method is known to this signer");
    }
    if (is_kept_back(method, len)) {
        return hf_rpc_fail(x, HF_RPC_METHOD_NOT_FOUND,
                           "no such method is known to this signer, and it passes none to the node "
                           "that uses the node's own keys or governs it");
    }
    if (params != 0 && !hf_json_is(&job->json, params, HF_JSON_ARRAY) &&
        !hf_json_is(&job->json, params, HF_JSON_OBJECT)) {
        return hf_rpc_fail(x, HF_RPC_INVALID_PARAMS, "params: must be a list or an object");
    }
    if (job->node_outcome != HF_RELAY_OK) {
        return hf_rpc_refuse(x, failures[job->node_outcome].reason,
                             failures[job->node_outcome].sentence, true);
    }
    return hf_front_ask_simply(x, HF_MSG_NODE_CALL, HF_MSG_RESULT, allowed);
}
