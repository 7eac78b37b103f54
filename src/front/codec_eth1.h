/*
 * codec_eth1: members of JSON-RPC calls as what the execution layer signs. Pure.
 *
 * Quantities are hex ("0x10"), as the execution API has them, and plain integers; bytes are hex
 * with 0x. Unknown members are passed over; one that its type of transaction does not have is an
 * error.
 */
#ifndef HF_FRONT_CODEC_ETH1_H
#define HF_FRONT_CODEC_ETH1_H

#include "eth1/eth1.h"
#include "front/codec_fields.h"

/* Room for the bytes of one call, which are fewer than their JSON: hf_codec_arena_room of it. */
typedef struct hf_codec_arena {
    uint8_t *room;
    size_t len;
    size_t used;
} hf_codec_arena;

/* What a text of this length can become, an unsigned transaction and the signed one included. */
size_t hf_codec_arena_room(size_t text_len);

hf_status hf_codec_address(const hf_json *json, uint32_t value, const hf_path *path,
                           uint8_t ret_address[HF_ADDRESS_BYTES], hf_error *err) HF_MUST_CHECK;
/* LIMIT beyond HF_ETH1_DATA_MAX. */
hf_status hf_codec_hex(const hf_json *json, uint32_t value, const hf_path *path,
                       hf_codec_arena *arena, hf_bytes *ret_bytes, hf_error *err) HF_MUST_CHECK;

/*
 * The transaction of eth_signTransaction, unsigned and encoded, and whose it is. chain_id: where it
 * says none; 0: it has to. What its members say together, the keeper judges (hf_tx_decode).
 */
hf_status hf_codec_transaction(const hf_json *json, uint32_t object, uint64_t chain_id,
                               hf_codec_arena *arena, uint8_t ret_from[HF_ADDRESS_BYTES],
                               hf_bytes *ret_tx, hf_error *err) HF_MUST_CHECK;

#endif
