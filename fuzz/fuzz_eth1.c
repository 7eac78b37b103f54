/*
 * Bytes to be signed, as a captured front may send them: what reads as a transaction has one
 * encoding, and is called so whatever it was called; and JSON-RPC transactions from their text.
 */
#include "eth1/eth1.h"
#include "front/codec_eth1.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_bytes(hf_bytes in)
{
    hf_transaction tx;
    hf_eth1_kind kind = HF_ETH1_KIND_COUNT;
    hf_bytes inner = {NULL, 0};
    hf_error err = {HF_OK, ""};
    bool is_known = !hf_failed(hf_eth1_classify(in, &kind, &inner, &err));
    HF_ASSERT(is_known == (kind < HF_ETH1_KIND_COUNT));
    if (hf_failed(hf_tx_decode(in, &tx, &err))) {
        HF_ASSERT(!is_known || kind != HF_ETH1_TRANSACTION);
        return;
    }
    HF_ASSERT(is_known && kind == HF_ETH1_TRANSACTION);
    size_t room = in.len + 128;
    uint8_t *out = malloc(room);
    HF_ASSERT(out != NULL);
    hf_rlp_writer writer = {out, room, 0};
    hf_tx_encode(&tx, &writer);
    HF_ASSERT(writer.used == in.len && hf_bytes_equal(out, in.ptr, in.len));
    uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES] = {1};
    signature[64] = 27;
    writer.used = 0;
    HF_ASSERT(!hf_failed(hf_tx_encode_signed(in, signature, &writer)));
    HF_ASSERT(writer.used <= room);
    HF_ASSERT(hf_failed(hf_tx_decode(hf_bytes_from(out, writer.used), &tx, &err)));
    free(out);
}

static void read_json(hf_bytes in)
{
    hf_json json;
    hf_error err = {HF_OK, ""};
    uint8_t from[HF_ADDRESS_BYTES];
    hf_bytes tx;
    hf_codec_arena arena = {.len = hf_codec_arena_room(in.len)};
    if (!hf_failed(hf_json_parse(in, &json, &err))) {
        arena.room = malloc(arena.len);
        HF_ASSERT(arena.room != NULL);
        if (!hf_failed(hf_codec_transaction(&json, 0, 1, &arena, from, &tx, &err))) {
            read_bytes(tx);
        } else {
            HF_ASSERT(err.msg[0] != '\0');
        }
        free(arena.room);
    }
    hf_json_done(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0) {
        hf_bytes in = hf_bytes_from(data + 1, size - 1);
        if (data[0] % 2 == 0) {
            read_bytes(in);
        } else {
            read_json(in);
        }
    }
    return 0;
}
