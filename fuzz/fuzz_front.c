/*
 * One request through the front, with a keeper that answers anything that may travel on its
 * channel.
 *
 * The input is lines: method and path; headers as "name: value"; an empty line; the body. Behind a
 * byte 0xff come the keeper's replies: a selector, then bytes that fill the frame.
 * Whatever comes, an answer is made, and what it calls JSON is JSON.
 */
#include "front/front.h"

#include <jansson.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINE_BYTES 1024
/* More than any job asks with this body; a job that never ends is a finding. */
#define TURNS_MAX 20000

static int64_t now_ms(void)
{
    return 1800000000000;
}

typedef struct text {
    char method[16];
    char path[LINE_BYTES];
    char headers[6][LINE_BYTES];
    char query_epoch[32];
    char query_index[32];
    size_t header_count;
} text;

static const uint8_t *take_line(const uint8_t *at, const uint8_t *end, char out[LINE_BYTES])
{
    size_t used = 0;
    for (; at < end && *at != '\n'; at++) {
        if (*at != 0 && used + 1 < LINE_BYTES) {
            out[used++] = (char)*at;
        }
    }
    out[used] = '\0';
    return at < end ? at + 1 : end;
}

static const char *value_of(char *line, const char *name)
{
    size_t len = strlen(name);
    if (strncmp(line, name, len) != 0 || line[len] != ':') {
        return NULL;
    }
    return line + len + 1 + strspn(line + len + 1, " ");
}

static const uint8_t *fill_request(hf_front_request *request, text *t, const uint8_t *at,
                                   const uint8_t *end)
{
    static char first[LINE_BYTES];
    at = take_line(at, end, first);
    size_t method_len = strcspn(first, " ");
    (void)snprintf(t->method, sizeof t->method, "%.*s", (int)method_len, first);
    (void)snprintf(t->path, sizeof t->path, "%s",
                   first[method_len] == ' ' ? first + method_len + 1 : "");
    request->method = hf_method_parse(t->method);
    request->path = t->path;
    while (at < end && *at != '\n' && t->header_count < HF_ARRAY_LEN(t->headers)) {
        char *line = t->headers[t->header_count++];
        at = take_line(at, end, line);
        const char **const members[] = {&request->accept,       &request->authorization,
                                        &request->content_type, &request->origin,
                                        &request->query_epoch,  &request->query_validator_index,
                                        &request->query_after,  &request->query_limit};
        static const char *const names[] = {"accept", "authorization",   "content-type", "origin",
                                            "epoch",  "validator_index", "after",        "limit"};
        for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
            const char *value = value_of(line, names[i]);
            *members[i] = value != NULL ? value : *members[i];
        }
    }
    return at < end && *at == '\n' ? at + 1 : at;
}

/* What the keeper says next: mostly the type that is expected, filled with what is left of the
 * input. */
static hf_next reply(hf_exchange *x, const uint8_t **at, const uint8_t *end)
{
    static _Alignas(8) uint8_t frame[HF_IPC_MAX_BYTES];
    uint8_t selector = *at < end ? *(*at)++ : 0;
    if (selector == 0xfe) {
        return hf_front_silence(x);
    }
    uint16_t type = (selector & 0xc0) == 0xc0 ? HF_MSG_RESULT : x->expected;
    size_t len = hf_frame_size(type);
    memset(frame, 0, len);
    size_t fill = (size_t)(end - *at) < (selector & 0x3fU) ? (size_t)(end - *at) : selector & 0x3fU;
    size_t room = len - sizeof(hf_frame_header);
    memcpy(frame + sizeof(hf_frame_header), *at, fill < room ? fill : room);
    *at += fill;
    hf_frame_init(frame, (hf_msg_type)type, 0);
    HF_ASSERT(hf_frame_is_acceptable(frame, len, HF_CHANNEL_FRONT, false));
    return hf_front_reply(x, frame);
}

static void check_question(const hf_exchange *x)
{
    const hf_frame_header *header = x->ask;
    size_t len = hf_frame_size(header->type);
    HF_ASSERT(hf_frame_is_acceptable(header, len, HF_CHANNEL_FRONT, true));
    HF_ASSERT((x->ask_fd >= 0) == (header->type == HF_MSG_KEY_IMPORT));
}

static void check_answer(const hf_exchange *x)
{
    hf_bytes body = hf_front_body(x);
    HF_ASSERT(x->status >= 200 && x->status < 600);
    HF_ASSERT(x->ask_fd < 0);
    if (x->content == HF_CONTENT_JSON) {
        json_t *root = json_loadb((const char *)body.ptr, body.len, JSON_DECODE_ANY, NULL);
        HF_ASSERT(root != NULL);
        json_decref(root);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static hf_front_context context;
    static hf_exchange x;
    static text t;
    memset(&t, 0, sizeof t);
    context.network = *hf_eth_network_find("mainnet");
    context.max_body_bytes = 1U << 20;
    context.key_manager_enabled = true;
    context.unix_ms = now_ms;
    hf_front_init(&x, &context);
    const uint8_t *end = data + size;
    const uint8_t *cut = memchr(data, 0xff, size);
    const uint8_t *replies = cut != NULL ? cut + 1 : end;
    const uint8_t *head_end = cut != NULL ? cut : end;
    const uint8_t *body = fill_request(&x.request, &t, data, head_end);
    x.request.body = hf_bytes_from(body, (size_t)(head_end - body));
    x.request.is_metrics = strcmp(t.path, "/metrics") == 0;
    hf_next next = hf_front_admit(&x, x.request.body.len);
    if (next == HF_NEXT_ASK) {
        next = hf_front_begin(&x);
    }
    for (int turns = 0; next == HF_NEXT_ASK; turns++) {
        check_question(&x);
        next = turns < TURNS_MAX ? reply(&x, &replies, end)
                                 : hf_front_refuse(&x, HF_REASON_INTERNAL, NULL);
    }
    check_answer(&x);
    hf_front_done(&x);
    return 0;
}
