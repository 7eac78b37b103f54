/* Signatures: POST /api/v1/eth2/sign/{pubkey}, and the exits of the key manager API. */
#include "front/codec.h"
#include "front/front_internal.h"

_Static_assert(HF_FRONT_SMALL_BYTES >= HF_CODEC_SIGNATURE_BYTES, "a signature fits");

static hf_reason reason_of(hf_status st)
{
    if (st.code == HF_INVALID_INPUT || st.code == HF_LIMIT) {
        return HF_REASON_MALFORMED;
    }
    return HF_REASON_INTERNAL;
}

/* As Web3Signer: JSON when asked for it or for anything, and bare hex without newline otherwise,
 * also when no Accept is sent (Teku and Prysm send none and read text). */
static bool wants_json(const hf_exchange *x)
{
    return hf_front_accepts(x, "application/json") || hf_front_accepts(x, "*/*");
}

static hf_next signed_or_refused(hf_exchange *x, const void *frame)
{
    const hf_msg_sign_reply *reply = frame;
    if (reply->reason != HF_REASON_OK) {
        return hf_front_refused_by_keeper(x, (hf_reason)reply->reason, reply->detail);
    }
    bool as_json = wants_json(x);
    x->small_len = hf_codec_write_signature(reply->signature, as_json, x->small);
    x->status = 200;
    x->content = as_json ? HF_CONTENT_JSON : HF_CONTENT_TEXT;
    return HF_NEXT_ANSWER;
}

/* The codec wants the key's text with its NUL; no key is longer than this. */
static bool copy_pubkey_text(const hf_exchange *x, char out[2 + 2 * HF_BLS_PUBKEY_BYTES + 1])
{
    size_t len = x->path_pubkey.len;
    if (len > 2 + 2 * HF_BLS_PUBKEY_BYTES) {
        return false;
    }
    memcpy(out, x->path_pubkey.ptr, len);
    out[len] = '\0';
    return true;
}

static hf_next refuse_pubkey(hf_exchange *x)
{
    return hf_front_refuse(x, HF_REASON_MALFORMED, "pubkey: must be 48 bytes of hex");
}

hf_next hf_front_sign(hf_exchange *x)
{
    hf_msg_sign *ask = &x->frame.sign;
    hf_error err = {0};
    char pubkey_text[2 + 2 * HF_BLS_PUBKEY_BYTES + 1];
    if (!copy_pubkey_text(x, pubkey_text)) {
        return refuse_pubkey(x);
    }
    memset(ask, 0, sizeof *ask);
    hf_status st = hf_codec_decode_sign(&x->context->network, pubkey_text, x->request.body,
                                        &ask->request, &err);
    if (hf_failed(st)) {
        return hf_front_refuse(x, reason_of(st), err.msg);
    }
    hf_frame_init(ask, HF_MSG_SIGN, 0);
    ask->received_ns = x->request.received_ns;
    ask->decoded_ns = hf_time_mono_ns();
    x->operation = ask->request.operation;
    return hf_front_ask(x, ask, HF_MSG_SIGN_REPLY, signed_or_refused);
}

/* ---- exits -------------------------------------------------------------------------------- */

static hf_next exit_signed(hf_exchange *x, const void *frame)
{
    const hf_msg_sign_reply *reply = frame;
    if (reply->reason != HF_REASON_OK) {
        return hf_front_refused_by_keeper(x, (hf_reason)reply->reason, reply->detail);
    }
    char hex[HF_CODEC_SIGNATURE_BYTES];
    (void)hf_codec_write_signature(reply->signature, false, hex);
    return hf_front_answer_small(
        x, 200, HF_CONTENT_JSON,
        "{\"data\":{\"message\":{\"epoch\":\"%llu\",\"validator_index\":\"%llu\"},"
        "\"signature\":\"%s\"}}",
        (unsigned long long)x->frame.sign.request.fields.voluntary_exit.epoch,
        (unsigned long long)x->frame.sign.request.fields.voluntary_exit.validator_index, hex);
}

static uint64_t current_epoch(const hf_front_context *context)
{
    const hf_network *network = &context->network;
    int64_t now_ms = context->unix_ms();
    uint64_t genesis_ms = network->genesis_time * 1000;
    if (now_ms < 0 || (uint64_t)now_ms < genesis_ms || network->slot_ms == 0) {
        return 0;
    }
    return hf_eth_epoch_of(network, ((uint64_t)now_ms - genesis_ms) / network->slot_ms);
}

/* EIP-7044: an exit carries Capella's version for ever, so this is the fork that signs it. */
static void fill_exit_fork(const hf_network *network, hf_fork_info *fork)
{
    memcpy(fork->previous_version, network->capella_fork_version, sizeof fork->previous_version);
    memcpy(fork->current_version, network->capella_fork_version, sizeof fork->current_version);
    fork->epoch = 0;
    memcpy(fork->genesis_validators_root, network->genesis_validators_root, HF_ROOT_BYTES);
}

hf_next hf_front_voluntary_exit(hf_exchange *x)
{
    const hf_network *network = &x->context->network;
    const char *epoch_text = x->request.query_epoch;
    const char *index_text = x->request.query_validator_index;
    uint64_t epoch = current_epoch(x->context);
    uint64_t index = 0;
    hf_msg_sign *ask = &x->frame.sign;
    if (index_text == NULL) {
        return hf_front_refuse(x, HF_REASON_MALFORMED,
                               "validator_index: a signer does not know it, so the query must name "
                               "it (?validator_index=)");
    }
    if (hf_failed(hf_num_parse_u64(index_text, strlen(index_text), &index))) {
        return hf_front_refuse(x, HF_REASON_MALFORMED, "validator_index: must be a decimal number");
    }
    if (epoch_text != NULL && hf_failed(hf_num_parse_u64(epoch_text, strlen(epoch_text), &epoch))) {
        return hf_front_refuse(x, HF_REASON_MALFORMED, "epoch: must be a decimal number");
    }
    memset(ask, 0, sizeof *ask);
    hf_frame_init(ask, HF_MSG_SIGN, 0);
    if (hf_failed(hf_hex_decode((const char *)x->path_pubkey.ptr, x->path_pubkey.len,
                                ask->request.pubkey, sizeof ask->request.pubkey))) {
        return refuse_pubkey(x);
    }
    ask->received_ns = x->request.received_ns;
    ask->decoded_ns = hf_time_mono_ns();
    ask->request.operation = HF_OP_VOLUNTARY_EXIT;
    ask->request.has_fork_info = 1;
    fill_exit_fork(network, &ask->request.fork_info);
    ask->request.fields.voluntary_exit.epoch = epoch;
    ask->request.fields.voluntary_exit.validator_index = index;
    x->operation = HF_OP_VOLUNTARY_EXIT;
    return hf_front_ask(x, ask, HF_MSG_SIGN_REPLY, exit_signed);
}
