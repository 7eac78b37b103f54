/* POST /api/v1/eth1/sign/{id}, GET /api/v1/eth1/publicKeys; questions to the keeper. */
#include "front/eth1.h"

#include <sys/mman.h>
#include <unistd.h>

/* A key set that changes while it is listed is listed anew this often. */
#define RESTARTS_MAX 3
/* Digits that are written at once. */
#define HEX_PIECE_BYTES 256
#define UNCOMPRESSED_PREFIX 0x04

/* ---- asking -----------------------------------------------------------------------------------
 */

static int pack(hf_bytes bytes)
{
    int fd = memfd_create("eth1", MFD_CLOEXEC);
    if (fd >= 0 && hf_failed(hf_file_write_all(fd, bytes.ptr, bytes.len))) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

void hf_front_eth1_write(const hf_exchange *x, const hf_eth1_call *call,
                         hf_msg_eth1_sign *ret_frame)
{
    HF_ASSERT(call->bytes.len <= HF_ETH1_DATA_MAX);
    *ret_frame = (hf_msg_eth1_sign){.received_ns = x->request.received_ns,
                                    .decoded_ns = hf_time_mono_ns(),
                                    .timeout_ms = x->context->request_timeout_ms,
                                    .kind = call->kind,
                                    .data_len = (uint32_t)call->bytes.len};
    memcpy(ret_frame->address, call->address, sizeof ret_frame->address);
    hf_frame_init(ret_frame, HF_MSG_ETH1_SIGN, 0);
    if (call->bytes.len > 0 && call->bytes.len <= sizeof ret_frame->data) {
        memcpy(ret_frame->data, call->bytes.ptr, call->bytes.len);
    }
}

hf_next hf_front_eth1_ask(hf_exchange *x, const hf_eth1_call *call, hf_front_on_reply on_reply)
{
    hf_msg_eth1_sign *ask = &x->frame.eth1_sign;
    hf_front_eth1_write(x, call, ask);
    if (call->bytes.len > sizeof ask->data) {
        x->ask_fd = pack(call->bytes);
        if (x->ask_fd < 0) {
            return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
        }
    }
    return hf_front_ask(x, ask, HF_MSG_ETH1_REPLY, on_reply);
}

hf_next hf_front_eth1_ask_keys(hf_exchange *x, uint32_t offset, hf_front_on_reply on_reply)
{
    x->frame.eth1_keys = (hf_msg_eth1_keys){.offset = offset};
    hf_frame_init(&x->frame.eth1_keys, HF_MSG_ETH1_KEYS, 0);
    return hf_front_ask(x, &x->frame.eth1_keys, HF_MSG_ETH1_KEYS_REPLY, on_reply);
}

void hf_front_eth1_put_hex(hf_text *out, const uint8_t *bytes, size_t len)
{
    char digits[2 * HEX_PIECE_BYTES + 1];
    hf_text_put_bytes(out, "\"0x", 3);
    for (size_t done = 0; done < len; done += HEX_PIECE_BYTES) {
        size_t piece = len - done < HEX_PIECE_BYTES ? len - done : HEX_PIECE_BYTES;
        hf_hex_encode(bytes + done, piece, digits);
        hf_text_put_bytes(out, digits, 2 * piece);
    }
    hf_text_put_bytes(out, "\"", 1);
}

/* ---- POST /api/v1/eth1/sign/{id} --------------------------------------------------------------
 */

/* An address, or a public key: 64 bytes, or 65 with what says that it is not compressed. */
static bool read_id(const hf_exchange *x, uint8_t ret_address[HF_ADDRESS_BYTES])
{
    const char *text = (const char *)x->path_pubkey.ptr;
    size_t len = x->path_pubkey.len;
    uint8_t key[1 + HF_SECP256K1_PUBKEY_BYTES];
    if (!hf_failed(hf_hex_decode(text, len, ret_address, HF_ADDRESS_BYTES))) {
        return true;
    }
    if (hf_failed(hf_hex_decode(text, len, key + 1, HF_SECP256K1_PUBKEY_BYTES)) &&
        (hf_failed(hf_hex_decode(text, len, key, sizeof key)) || key[0] != UNCOMPRESSED_PREFIX)) {
        return false;
    }
    hf_secp256k1_address(key + 1, ret_address);
    return true;
}

/* As Web3Signer: the bare hex, unless somebody asks for JSON. */
static hf_next signed_or_refused(hf_exchange *x, const void *frame)
{
    const hf_msg_eth1_reply *reply = frame;
    char hex[2 * HF_SECP256K1_SIGNATURE_BYTES + 1];
    char detail[HF_DETAIL_LEN];
    if (reply->reason != HF_REASON_OK) {
        (void)snprintf(detail, sizeof detail, "%.*s", HF_DETAIL_LEN - 1, reply->detail);
        return hf_front_refused_by_keeper(x, (hf_reason)reply->reason, detail);
    }
    hf_hex_encode(reply->signature, sizeof reply->signature, hex);
    if (hf_front_accepts(x, "application/json")) {
        return hf_front_answer_small(x, 200, HF_CONTENT_JSON, "{\"signature\":\"0x%s\"}", hex);
    }
    return hf_front_answer_small(x, 200, HF_CONTENT_TEXT, "0x%s", hex);
}

static hf_status read_data(const hf_json *json, hf_codec_arena *arena, hf_bytes *ret, hf_error *err)
{
    const hf_path path = {.name = "data"};
    uint32_t value = hf_json_member(json, 0, "data", 4);
    return value == 0 ? hf_path_fail(&path, err, "missing")
                      : hf_codec_hex(json, value, &path, arena, ret, err);
}

hf_next hf_front_eth1_sign(hf_exchange *x)
{
    hf_json json;
    hf_error err = {HF_OK, ""};
    hf_eth1_call call = {.kind = HF_ETH1_DATA};
    hf_codec_arena arena = {.len = hf_codec_arena_room(x->request.body.len)};
    if (!read_id(x, call.address)) {
        return hf_front_refuse(x, HF_REASON_MALFORMED,
                               "id: must be a public key of 64 bytes or an address, in hex");
    }
    arena.room = malloc(arena.len);
    if (arena.room == NULL) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    hf_status st = hf_json_parse(x->request.body, &json, &err);
    if (!hf_failed(st)) {
        st = read_data(&json, &arena, &call.bytes, &err);
    }
    hf_next next;
    if (hf_failed(st)) {
        next = hf_front_refuse(x, st.code == HF_NOMEM ? HF_REASON_INTERNAL : HF_REASON_MALFORMED,
                               err.msg);
    } else {
        next = hf_front_eth1_ask(x, &call, signed_or_refused);
    }
    hf_json_done(&json);
    free(arena.room);
    return next;
}

/* ---- GET /api/v1/eth1/publicKeys --------------------------------------------------------------
 */

typedef struct listing {
    hf_text text;
    uint64_t generation;
    uint32_t offset;
    uint32_t restarts;
} listing;

static hf_next take_page(hf_exchange *x, const void *frame);

static hf_next start_over(hf_exchange *x)
{
    listing *list = x->job;
    list->offset = 0;
    hf_buf_reset(x->out);
    hf_text_put(&list->text, "[");
    return hf_front_eth1_ask_keys(x, 0, take_page);
}

static hf_next take_page(hf_exchange *x, const void *frame)
{
    const hf_msg_eth1_keys_reply *reply = frame;
    listing *list = x->job;
    if (list->offset > 0 && reply->generation != list->generation &&
        list->restarts < RESTARTS_MAX) {
        list->restarts++;
        return start_over(x);
    }
    list->generation = reply->generation;
    uint32_t count = reply->count <= HF_ETH1_KEYS_PAGE ? reply->count : HF_ETH1_KEYS_PAGE;
    for (uint32_t i = 0; i < count; i++) {
        hf_text_put(&list->text, "%s", list->offset + i == 0 ? "" : ",");
        hf_front_eth1_put_hex(&list->text, reply->keys[i].pubkey, sizeof reply->keys[i].pubkey);
    }
    list->offset += count;
    if (!hf_failed(list->text.st) && count > 0 && list->offset < reply->total) {
        return hf_front_eth1_ask_keys(x, list->offset, take_page);
    }
    hf_text_put(&list->text, "]");
    return hf_front_answer_text(x, 200, HF_CONTENT_JSON, &list->text);
}

hf_next hf_front_eth1_public_keys(hf_exchange *x)
{
    listing *list = calloc(1, sizeof *list);
    if (list == NULL) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    x->job = list;
    x->job_free = free;
    return hf_front_open_text(x, &list->text) ? start_over(x) : HF_NEXT_ANSWER;
}
