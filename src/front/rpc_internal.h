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
    uint32_t offset;        /* of eth_accounts */
    /* rpc_node.c */
    int paper_fd;                  /* -1, or what the node was asked and answered */
    uint32_t node_bytes;           /* of answers of the node so far */
    hf_relay_outcome node_outcome; /* of the last call: after a failure no other is tried */
} hf_rpc;

/* Answers the call under way, and goes on with the next. */
hf_next hf_rpc_fail(hf_exchange *x, int code, const char *sentence);
/* By a reason; counts_here: the keeper does not know of it. */
hf_next hf_rpc_refuse(hf_exchange *x, hf_reason reason, const char *detail, bool counts_here);
/* value is JSON of the one or the other member. */
hf_next hf_rpc_answer(hf_exchange *x, const char *member, hf_bytes value);

/* rpc_node.c: the call's method is none of ours. name is a string. */
hf_next hf_rpc_ask_node(hf_exchange *x, uint32_t name, uint32_t params);

#endif
