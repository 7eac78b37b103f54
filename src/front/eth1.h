/* Signatures for the execution layer: what the routes and the JSON-RPC methods share. */
#ifndef HF_FRONT_ETH1_H
#define HF_FRONT_ETH1_H

#include "front/codec_eth1.h"
#include "front/front_internal.h"

/* One signature that is wanted. bytes are borrowed until the question is asked. */
typedef struct hf_eth1_call {
    uint32_t kind; /* hf_eth1_kind */
    uint8_t address[HF_ADDRESS_BYTES];
    hf_bytes bytes; /* at most HF_ETH1_DATA_MAX */
} hf_eth1_call;

/* The question about it; bytes that do not fit stay out. */
void hf_front_eth1_write(const hf_exchange *x, const hf_eth1_call *call,
                         hf_msg_eth1_sign *ret_frame);
/* Asks the keeper; on_reply gets an hf_msg_eth1_reply. */
hf_next hf_front_eth1_ask(hf_exchange *x, const hf_eth1_call *call, hf_front_on_reply on_reply);
/* The keys, page by page from offset; on_reply gets an hf_msg_eth1_keys_reply. */
hf_next hf_front_eth1_ask_keys(hf_exchange *x, uint32_t offset, hf_front_on_reply on_reply);
/* "0x" and digits, with quotes. */
void hf_front_eth1_put_hex(hf_text *out, const uint8_t *bytes, size_t len);

#endif
