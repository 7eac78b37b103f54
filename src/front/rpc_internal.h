/* JSON-RPC, inside: a request under way, and how its calls are answered. */
#ifndef HF_FRONT_RPC_INTERNAL_H
#define HF_FRONT_RPC_INTERNAL_H

#include "front/eth1.h"
#include "front/typed_data.h"

#define HF_RPC_PARSE_ERROR (-32700)
#define HF_RPC_INVALID_REQUEST (-32600)
#define HF_RPC_METHOD_NOT_FOUND (-32601)
#define HF_RPC_INVALID_PARAMS (-32602)
#define HF_RPC_INTERNAL_ERROR (-32603)
#define HF_RPC_REFUSED (-32000)

/* Signatures of a batch that are asked for at once. */
#define HF_RPC_TOGETHER_MAX 16

typedef struct hf_rpc_together hf_rpc_together;

typedef struct hf_rpc {
    hf_json json;
    bool is_batch;
    bool has_answered; /* a call of the batch */
    uint32_t call;     /* value of the call under way, or behind the last */
    uint32_t end;
    hf_text text;
    hf_codec_arena arena;
    hf_eth1_call signature; /* that is asked for */
    hf_typed_message typed; /* its bytes, of typed data */
    hf_rpc_together *together;
    uint32_t offset; /* of eth_accounts */
    /* rpc_node.c */
    int paper_fd;                  /* -1, or what the node was asked and answered */
    uint32_t node_bytes;           /* of answers of the node so far */
    hf_relay_outcome node_outcome; /* of the last call: after a failure no other is tried */
} hf_rpc;

/* The next call, or calls. */
hf_next hf_rpc_go_on(hf_exchange *x);
/* The call under way is answered, with the HTTP status that it has when alone. */
hf_next hf_rpc_done(hf_exchange *x, unsigned status);
/* The answer of the call under way; each returns that status. */
void hf_rpc_begin_result(hf_rpc *job);
unsigned hf_rpc_put_failure(hf_exchange *x, int code, const char *sentence);
unsigned hf_rpc_put_refusal(hf_exchange *x, hf_reason reason, const char *detail, bool counts_here);

/* Answers the call under way, and goes on with the next. */
hf_next hf_rpc_fail(hf_exchange *x, int code, const char *sentence);
/* By a reason; counts_here: the keeper does not know of it. */
hf_next hf_rpc_refuse(hf_exchange *x, hf_reason reason, const char *detail, bool counts_here);
/* value is JSON of the one or the other member. */
hf_next hf_rpc_answer(hf_exchange *x, const char *member, hf_bytes value);

/* rpc_sign.c: what is to be signed, into job->signature. DENIED: the keeper would refuse it, too.
 */
typedef hf_status (*hf_rpc_reader)(hf_exchange *x, uint32_t params, hf_error *err);
hf_status hf_rpc_read_eth_sign(hf_exchange *x, uint32_t params, hf_error *err);
hf_status hf_rpc_read_personal_sign(hf_exchange *x, uint32_t params, hf_error *err);
hf_status hf_rpc_read_transaction(hf_exchange *x, uint32_t params, hf_error *err);
hf_status hf_rpc_read_typed_data(hf_exchange *x, uint32_t params, hf_error *err);
/* Asks for the signature of the call under way, alone. */
hf_next hf_rpc_sign(hf_exchange *x, hf_rpc_reader reader, uint32_t params);
/* Takes the call under way among those that are asked for together; false: it has to come by
 * itself, or there is no room. */
bool hf_rpc_gather(hf_exchange *x, hf_rpc_reader reader, uint32_t params);
bool hf_rpc_has_gathered(const hf_rpc *job);
hf_next hf_rpc_sign_gathered(hf_exchange *x);
void hf_rpc_drop_gathered(hf_rpc *job);

/* rpc_node.c: the call's method is none of ours. name is a string. */
hf_next hf_rpc_ask_node(hf_exchange *x, uint32_t name, uint32_t params);

#endif
