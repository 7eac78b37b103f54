/* Answers: bodies, errors in their two forms, and the questions to the keeper. */
#include "front/codec.h"
#include "front/front_internal.h"

#include <stdarg.h>
#include <unistd.h>

/* A sentence in an error of the key manager's form, once escaped. */
#define DETAIL_BYTES 512
/* The longest piece that one hf_text_put formats. */
#define LINE_BYTES 512

void hf_front_init(hf_exchange *x, const hf_front_context *context)
{
    /* Member by member: the frame and small are some hundred bytes that nobody reads unset. */
    x->context = context;
    x->request = (hf_front_request){0};
    x->route = NULL;
    x->path_pubkey = hf_bytes_from(NULL, 0);
    x->ask = NULL;
    x->ask_count = 0;
    x->ask_room = 1;
    x->asks_relay = false;
    x->ask_fd = -1;
    x->ask_timeout_ms = context->request_timeout_ms;
    x->expected = 0;
    x->on_reply = NULL;
    x->on_silence = NULL;
    x->status = 0;
    x->content = HF_CONTENT_JSON;
    x->reason = HF_REASON_OK;
    x->is_refused_here = false;
    x->operation = HF_OP_COUNT;
    x->allow[0] = '\0';
    x->out = NULL;
    x->small_len = 0;
    x->job = NULL;
    x->job_free = NULL;
}

void hf_front_close_ask_fd(hf_exchange *x)
{
    if (x->ask_fd >= 0) {
        (void)close(x->ask_fd);
        x->ask_fd = -1;
    }
}

static void free_job(hf_exchange *x)
{
    if (x->job != NULL) {
        x->job_free(x->job);
        x->job = NULL;
    }
}

static void drop_out(hf_exchange *x)
{
    hf_buf_free(x->out);
    x->out = NULL;
}

void hf_front_done(hf_exchange *x)
{
    hf_front_close_ask_fd(x);
    free_job(x);
    drop_out(x);
    if (x->request.authorization != NULL) {
        hf_wipe(&x->frame, sizeof x->frame);
    }
    x->route = NULL;
}

const char *hf_content_type(hf_content content)
{
    switch (content) {
    case HF_CONTENT_JSON:
        return "application/json";
    case HF_CONTENT_TEXT:
        return "text/plain; charset=utf-8";
    case HF_CONTENT_METRICS:
        return "text/plain; version=0.0.4; charset=utf-8";
    }
    return "application/octet-stream";
}

hf_bytes hf_front_body(const hf_exchange *x)
{
    if (x->out != NULL) {
        return hf_bytes_from(hf_buf_peek(x->out), hf_buf_len(x->out));
    }
    return hf_bytes_from(x->small, x->small_len);
}

/* Printable ASCII with quote and backslash escaped, cut to fit at a whole escape. */
static void escape_detail(char out[DETAIL_BYTES], const char *text)
{
    size_t used = 0;
    for (; *text != '\0' && used + 3 < DETAIL_BYTES; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            out[used++] = '\\';
        }
        out[used++] = c < 0x20 || c >= 0x7f ? '?' : (char)c;
    }
    out[used] = '\0';
}

hf_next hf_front_refuse_as(hf_exchange *x, hf_reason reason, unsigned status, const char *detail)
{
    const hf_reason_info *info = hf_reason_describe(reason);
    const char *sentence = detail != NULL && detail[0] != '\0' ? detail : info->sentence;
    hf_front_close_ask_fd(x);
    drop_out(x);
    x->reason = reason;
    x->is_refused_here = true;
    x->status = status;
    x->content = HF_CONTENT_JSON;
    if (x->route != NULL && (x->route->flags & HF_ROUTE_TOKEN) != 0) {
        char text[DETAIL_BYTES];
        escape_detail(text, sentence);
        return hf_front_answer_small(x, status, HF_CONTENT_JSON,
                                     "{\"message\":\"%s\",\"code\":\"%s\"}", text, info->code);
    }
    bool is_rpc = x->route != NULL && (x->route->flags & HF_ROUTE_RPC) != 0;
    if (is_rpc && x->route->method == x->request.method) {
        char text[DETAIL_BYTES];
        escape_detail(text, sentence);
        return hf_front_answer_small(x, status, HF_CONTENT_JSON,
                                     "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32000,"
                                     "\"message\":\"%s\",\"data\":{\"code\":\"%s\"}}}",
                                     text, info->code);
    }
    x->small_len = hf_codec_write_error(sentence, info->code, x->small, sizeof x->small);
    return HF_NEXT_ANSWER;
}

hf_next hf_front_refuse(hf_exchange *x, hf_reason reason, const char *detail)
{
    return hf_front_refuse_as(x, reason, hf_reason_describe(reason)->http_status, detail);
}

json_t *hf_front_read_json(hf_exchange *x)
{
    json_t *root = json_loadb((const char *)x->request.body.ptr, x->request.body.len,
                              JSON_REJECT_DUPLICATES, NULL);
    if (root == NULL) {
        (void)hf_front_refuse(x, HF_REASON_MALFORMED, "the body is not JSON");
    }
    return root;
}

hf_next hf_front_refused_by_keeper(hf_exchange *x, hf_reason reason, const char *detail)
{
    (void)hf_front_refuse(x, reason, detail);
    x->is_refused_here = false;
    return HF_NEXT_ANSWER;
}

hf_next hf_front_answer_small(hf_exchange *x, unsigned status, hf_content content, const char *fmt,
                              ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(x->small, sizeof x->small, fmt, ap);
    va_end(ap);
    HF_ASSERT(n >= 0 && (size_t)n < sizeof x->small);
    x->small_len = (size_t)n;
    x->status = status;
    x->content = content;
    return HF_NEXT_ANSWER;
}

bool hf_front_open_text(hf_exchange *x, hf_text *ret_text)
{
    HF_ASSERT(x->out == NULL);
    x->out = hf_buf_new(HF_FRONT_ANSWER_MAX);
    if (x->out == NULL) {
        (void)hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
        return false;
    }
    *ret_text = (hf_text){x->out, hf_ok()};
    return true;
}

hf_next hf_front_answer_text(hf_exchange *x, unsigned status, hf_content content,
                             const hf_text *text)
{
    if (hf_failed(text->st)) {
        bool is_large = text->st.code == HF_LIMIT;
        return hf_front_refuse(x, HF_REASON_INTERNAL, is_large ? "the answer is too large" : NULL);
    }
    x->status = status;
    x->content = content;
    return HF_NEXT_ANSWER;
}

void hf_text_put_bytes(hf_text *text, const void *ptr, size_t len)
{
    if (!hf_failed(text->st)) {
        text->st = hf_buf_put(text->buf, ptr, len);
    }
}

void hf_text_put(hf_text *text, const char *fmt, ...)
{
    char line[LINE_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    HF_ASSERT(n >= 0 && (size_t)n < sizeof line);
    hf_text_put_bytes(text, line, (size_t)n);
}

void hf_text_put_json(hf_text *text, const char *value, size_t len)
{
    size_t plain = 0; /* start of the run not yet written */
    hf_text_put_bytes(text, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)value[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            continue;
        }
        hf_text_put_bytes(text, value + plain, i - plain);
        plain = i + 1;
        if (c == '"' || c == '\\') {
            hf_text_put_bytes(text, (const char[2]){'\\', (char)c}, 2);
        } else if (c == '\n') {
            hf_text_put_bytes(text, "\\n", 2);
        } else if (c >= 0x7f) {
            hf_text_put_bytes(text, "?", 1); /* it may not be UTF-8 */
        } else {
            hf_text_put(text, "\\u%04x", c);
        }
    }
    hf_text_put_bytes(text, value + plain, len - plain);
    hf_text_put_bytes(text, "\"", 1);
}

bool hf_front_accepts(const hf_exchange *x, const char *media_type)
{
    return x->request.accept != NULL && strcasestr(x->request.accept, media_type) != NULL;
}

void *hf_front_question(const hf_exchange *x, uint32_t place)
{
    const hf_frame_header *first = x->ask;
    return (uint8_t *)x->ask + (size_t)place * hf_frame_size(first->type);
}

uint32_t hf_front_place_of(const void *frame)
{
    const hf_frame_header *header = frame;
    return (uint32_t)(header->request_id >> HF_ASK_PLACE_SHIFT) & (HF_ASK_PLACES_MAX - 1);
}

hf_next hf_front_ask(hf_exchange *x, void *frame, hf_msg_type expected, hf_front_on_reply on_reply)
{
    return hf_front_ask_several(x, frame, 1, expected, on_reply);
}

hf_next hf_front_ask_several(hf_exchange *x, void *frames, uint32_t count, hf_msg_type expected,
                             hf_front_on_reply on_reply)
{
    HF_ASSERT(count > 0 && count <= HF_ASK_PLACES_MAX);
    x->ask = frames;
    x->ask_count = count;
    for (uint32_t i = 0; i < count; i++) {
        hf_caller *caller = hf_frame_caller(hf_front_question(x, i));
        if (caller != NULL) {
            hf_front_fill_caller(x, caller);
        }
    }
    x->expected = (uint16_t)expected;
    x->on_reply = on_reply;
    return HF_NEXT_ASK;
}

hf_next hf_front_ask_simply(hf_exchange *x, hf_msg_type type, hf_msg_type expected,
                            hf_front_on_reply on_reply)
{
    hf_frame_init(&x->frame, type, 0);
    return hf_front_ask(x, &x->frame, expected, on_reply);
}
