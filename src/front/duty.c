/* Signatures of Aztec validators: POST /api/v1/duty/sign. */
#include "front/codec.h"
#include "front/front_internal.h"

/* The node's name is some node's word: escaped, and cut at its end. */
static void put_node(hf_text *out, const hf_msg_duty_reply *reply)
{
    hf_text_put(out, ",\"signedBy\":");
    hf_text_put_json(out, reply->node_id, strnlen(reply->node_id, sizeof reply->node_id));
}

/* The error of every route; and who has the duty, where it is another's. */
static hf_next refused(hf_exchange *x, const hf_msg_duty_reply *reply)
{
    char detail[HF_DETAIL_LEN];
    hf_text out;
    (void)snprintf(detail, sizeof detail, "%.*s", HF_DETAIL_LEN - 1, reply->detail);
    (void)hf_front_refused_by_keeper(x, (hf_reason)reply->reason, detail);
    if (reply->node_id[0] == '\0' ||
        (reply->reason != HF_REASON_DUTY_HELD && reply->reason != HF_REASON_DUTY_CONFLICT)) {
        return HF_NEXT_ANSWER;
    }
    const hf_reason_info *info = hf_reason_describe((hf_reason)reply->reason);
    const char *sentence = detail[0] != '\0' ? detail : info->sentence;
    if (!hf_front_open_text(x, &out)) {
        return HF_NEXT_ANSWER;
    }
    hf_text_put(&out, "{\"error\":");
    hf_text_put_json(&out, sentence, strlen(sentence));
    hf_text_put(&out, ",\"code\":\"%s\"", info->code);
    put_node(&out, reply);
    hf_text_put(&out, "}");
    return hf_front_answer_text(x, info->http_status, HF_CONTENT_JSON, &out);
}

static hf_next signed_or_refused(hf_exchange *x, const void *frame)
{
    const hf_msg_duty_reply *reply = frame;
    char hex[2 * HF_DUTY_SIGNATURE_BYTES + 1];
    hf_text out;
    if (reply->reason != HF_REASON_OK) {
        return refused(x, reply);
    }
    if (!hf_front_open_text(x, &out)) {
        return HF_NEXT_ANSWER;
    }
    hf_hex_encode(reply->signature, sizeof reply->signature, hex);
    hf_text_put(&out, "{\"signature\":\"0x%s\"", hex);
    put_node(&out, reply);
    hf_text_put(&out, ",\"stored\":%s}", reply->stored != 0 ? "true" : "false");
    return hf_front_answer_text(x, 200, HF_CONTENT_JSON, &out);
}

hf_next hf_front_duty_sign(hf_exchange *x)
{
    hf_msg_duty_sign *ask = &x->frame.duty;
    hf_duty_request request;
    hf_error err = {HF_OK, ""};
    hf_status st = hf_codec_decode_duty(x->request.body, &request, &err);
    if (hf_failed(st)) {
        return hf_front_refuse(x, st.code == HF_NOMEM ? HF_REASON_INTERNAL : HF_REASON_MALFORMED,
                               err.msg);
    }
    *ask = (hf_msg_duty_sign){.received_ns = x->request.received_ns,
                              .timeout_ms = x->context->request_timeout_ms,
                              .hashing = request.hashing,
                              .duty = request.duty};
    memcpy(ask->hash, request.hash, sizeof ask->hash);
    hf_frame_init(ask, HF_MSG_DUTY_SIGN, 0);
    return hf_front_ask(x, ask, HF_MSG_DUTY_REPLY, signed_or_refused);
}
