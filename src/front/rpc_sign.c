/*
 * JSON-RPC's signatures: what a call wants signed, and the answer that a signature becomes. Those
 * of a batch are asked for several at a time: one wait for the disk, or for a device, serves them
 * all.
 */
#include "front/rpc_internal.h"

struct hf_rpc_together {
    uint32_t count;
    uint32_t missing; /* replies */
    struct {
        uint32_t call;
        bool has_reply;
        hf_eth1_call signature; /* its bytes are the question's */
        hf_msg_eth1_reply reply;
    } calls[HF_RPC_TOGETHER_MAX];
    hf_msg_eth1_sign asks[HF_RPC_TOGETHER_MAX];
};

/* ---- what is to be signed ---------------------------------------------------------------------
 */

/* Does the list have from least to most values? */
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

static hf_status read_address(hf_rpc *job, uint32_t params, uint32_t place, hf_error *err)
{
    const hf_path up = {.name = "params"};
    const hf_path path = {.up = &up, .index = place};
    return hf_codec_address(&job->json, param_at(&job->json, params, place), &path,
                            job->signature.address, err);
}

static hf_status read_message(hf_rpc *job, uint32_t params, uint32_t address, uint32_t message,
                              hf_error *err)
{
    const hf_path up = {.name = "params"};
    const hf_path path = {.up = &up, .index = message};
    job->signature = (hf_eth1_call){.kind = HF_ETH1_MESSAGE};
    hf_status st = read_address(job, params, address, err);
    return hf_failed(st) ? st
                         : hf_codec_hex(&job->json, param_at(&job->json, params, message), &path,
                                        &job->arena, &job->signature.bytes, err);
}

hf_status hf_rpc_read_eth_sign(hf_exchange *x, uint32_t params, hf_error *err)
{
    hf_rpc *job = x->job;
    return are_params(&job->json, params, 2, 2)
               ? read_message(job, params, 0, 1, err)
               : hf_fail(err, HF_INVALID_INPUT, "params: must be [address, data]");
}

/* A third one is the password of an account, which no key here has. */
hf_status hf_rpc_read_personal_sign(hf_exchange *x, uint32_t params, hf_error *err)
{
    hf_rpc *job = x->job;
    return are_params(&job->json, params, 2, 3)
               ? read_message(job, params, 1, 0, err)
               : hf_fail(err, HF_INVALID_INPUT, "params: must be [data, address]");
}

hf_status hf_rpc_read_transaction(hf_exchange *x, uint32_t params, hf_error *err)
{
    hf_rpc *job = x->job;
    const hf_json *json = &job->json;
    bool is_bare = params != 0 && hf_json_is(json, params, HF_JSON_OBJECT);
    if (!is_bare && !are_params(json, params, 1, 1)) {
        return hf_fail(err, HF_INVALID_INPUT, "params: must be [transaction]");
    }
    job->signature = (hf_eth1_call){.kind = HF_ETH1_TRANSACTION};
    return hf_codec_transaction(json, is_bare ? params : param_at(json, params, 0),
                                x->context->eth1.chain_id, &job->arena, job->signature.address,
                                &job->signature.bytes, err);
}

/* [address, typed data]: as an object, or as a string with its text. */
hf_status hf_rpc_read_typed_data(hf_exchange *x, uint32_t params, hf_error *err)
{
    hf_rpc *job = x->job;
    const hf_json *json = &job->json;
    if (!are_params(json, params, 2, 2)) {
        return hf_fail(err, HF_INVALID_INPUT, "params: must be [address, typed data]");
    }
    job->signature = (hf_eth1_call){.kind = HF_ETH1_TYPED_DATA,
                                    .bytes = hf_bytes_from(&job->typed, sizeof job->typed)};
    hf_status st = read_address(job, params, 0, err);
    return hf_failed(st) ? st
                         : hf_typed_data_read(json, param_at(json, params, 1), &job->typed, err);
}

/* ---- the answers ------------------------------------------------------------------------------
 */

static unsigned put_signed(hf_exchange *x, const hf_eth1_call *signature,
                           const hf_msg_eth1_reply *reply)
{
    hf_rpc *job = x->job;
    hf_bytes result = hf_bytes_from(reply->signature, sizeof reply->signature);
    if (reply->reason != HF_REASON_OK) {
        char detail[HF_DETAIL_LEN];
        (void)snprintf(detail, sizeof detail, "%.*s", HF_DETAIL_LEN - 1, reply->detail);
        return hf_rpc_put_refusal(x, (hf_reason)reply->reason, detail, false);
    }
    if (signature->kind == HF_ETH1_TRANSACTION) {
        const hf_codec_arena *arena = &job->arena;
        hf_rlp_writer writer = {arena->room + arena->used, arena->len - arena->used, 0};
        if (hf_failed(hf_tx_encode_signed(signature->bytes, reply->signature, &writer))) {
            return hf_rpc_put_failure(x, HF_RPC_INTERNAL_ERROR,
                                      "internal error"); /* not what a keeper signs */
        }
        HF_ASSERT(writer.used <= writer.room);
        result = hf_bytes_from(writer.out, writer.used);
    }
    hf_rpc_begin_result(job);
    hf_front_eth1_put_hex(&job->text, result.ptr, result.len);
    hf_text_put(&job->text, "}");
    return 200;
}

/* ---- one signature ----------------------------------------------------------------------------
 */

static hf_next signed_alone(hf_exchange *x, const void *frame)
{
    const hf_rpc *job = x->job;
    return hf_rpc_done(x, put_signed(x, &job->signature, frame));
}

static hf_next refuse_unread(hf_exchange *x, hf_status st, const hf_error *err)
{
    if (st.code == HF_DENIED) {
        return hf_rpc_refuse(x, HF_REASON_FORBIDDEN, err->msg, true);
    }
    return st.code == HF_NOMEM ? hf_rpc_fail(x, HF_RPC_INTERNAL_ERROR, "internal error")
                               : hf_rpc_fail(x, HF_RPC_INVALID_PARAMS, err->msg);
}

hf_next hf_rpc_sign(hf_exchange *x, hf_rpc_reader reader, uint32_t params)
{
    hf_rpc *job = x->job;
    hf_error err = {HF_OK, ""};
    job->arena.used = 0;
    hf_status st = reader(x, params, &err);
    return hf_failed(st) ? refuse_unread(x, st, &err)
                         : hf_front_eth1_ask(x, &job->signature, signed_alone);
}

/* ---- several ----------------------------------------------------------------------------------
 */

bool hf_rpc_gather(hf_exchange *x, hf_rpc_reader reader, uint32_t params)
{
    hf_rpc *job = x->job;
    hf_error err = {HF_OK, ""};
    if (job->together == NULL) {
        job->together = malloc(sizeof *job->together);
        if (job->together == NULL) {
            return false;
        }
        job->together->count = 0;
    }
    hf_rpc_together *all = job->together;
    uint32_t place = all->count;
    job->arena.used = 0;
    if (place == HF_RPC_TOGETHER_MAX || place >= x->ask_room ||
        hf_failed(reader(x, params, &err)) ||
        job->signature.bytes.len > sizeof all->asks[place].data) {
        return false;
    }
    hf_front_eth1_write(x, &job->signature, &all->asks[place]);
    all->calls[place].call = job->call;
    all->calls[place].has_reply = false;
    all->calls[place].signature = job->signature;
    all->calls[place].signature.bytes =
        hf_bytes_from(all->asks[place].data, job->signature.bytes.len);
    all->count++;
    return true;
}

bool hf_rpc_has_gathered(const hf_rpc *job)
{
    return job->together != NULL && job->together->count > 0;
}

static void wipe_questions(hf_rpc_together *all)
{
    hf_wipe(all->asks, all->count * sizeof all->asks[0]); /* the caller's token */
    all->count = 0;
}

static hf_next answer_all(hf_exchange *x)
{
    hf_rpc *job = x->job;
    hf_rpc_together *all = job->together;
    uint32_t next = job->call;
    job->arena.used = 0;
    for (uint32_t i = 0; i < all->count; i++) {
        job->call = all->calls[i].call;
        (void)put_signed(x, &all->calls[i].signature, &all->calls[i].reply);
    }
    job->call = next;
    wipe_questions(all);
    return hf_rpc_go_on(x);
}

static hf_next take_one(hf_exchange *x, const void *frame)
{
    const hf_rpc *job = x->job;
    hf_rpc_together *all = job->together;
    uint32_t place = hf_front_place_of(frame);
    HF_ASSERT(place < all->count);
    if (!all->calls[place].has_reply) {
        memcpy(&all->calls[place].reply, frame, sizeof all->calls[place].reply);
        all->calls[place].has_reply = true;
        all->missing--;
    }
    return all->missing > 0 ? HF_NEXT_WAIT : answer_all(x);
}

hf_next hf_rpc_sign_gathered(hf_exchange *x)
{
    const hf_rpc *job = x->job;
    hf_rpc_together *all = job->together;
    all->missing = all->count;
    return hf_front_ask_several(x, all->asks, all->count, HF_MSG_ETH1_REPLY, take_one);
}

void hf_rpc_drop_gathered(hf_rpc *job)
{
    if (job->together != NULL) {
        wipe_questions(job->together);
        free(job->together);
    }
}
