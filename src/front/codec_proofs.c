/*
 * The proofs of a block's body that verifying clients send along (Nimbus calls the protocol
 * verifying-web3signer): proofs: [{index, proof: [node...], value?}...], index generalized.
 */
#include "front/codec_proofs.h"

#include <string.h>

typedef struct decoder {
    const hf_json *json;
    hf_eth_request *request;
    hf_error *err;
} decoder;

/* A leaf in hex, 20 bytes for an address and 32 for a chunk, or a number. */
static hf_status read_proof_value(const decoder *d, uint32_t value, const hf_path *path,
                                  hf_block_proof *proof)
{
    uint64_t number = 0;
    size_t len = d->json->values[value].len;
    const char *text = hf_json_text(d->json, value);
    bool is_hex = hf_json_is(d->json, value, HF_JSON_STRING) && len > 2 && text[0] == '0' &&
                  (text[1] == 'x' || text[1] == 'X');
    proof->has_value = 1;
    if (is_hex) {
        return hf_field_bytes(d->json, value, path, proof->value, len == 42 ? 20 : 32, d->err);
    }
    hf_status st = hf_field_u64(d->json, value, path, &number, d->err);
    if (!hf_failed(st)) {
        hf_le64_put(proof->value, number);
    }
    return st;
}

static hf_status read_branch(const decoder *d, uint32_t branch, const hf_path *path,
                             hf_block_proof *proof)
{
    uint32_t node = branch + 1;
    if (!hf_json_is(d->json, branch, HF_JSON_ARRAY)) {
        return hf_path_fail(path, d->err, "not a list");
    }
    if (d->json->values[branch].len > HF_BLOCK_PROOF_DEPTH) {
        return hf_path_fail(path, d->err, "longer than a proof at this index");
    }
    for (uint32_t i = 0; i < d->json->values[branch].len; i++) {
        hf_path at = {.up = path, .index = i};
        hf_status st = hf_field_bytes(d->json, node, &at, proof->branch[i], HF_ROOT_BYTES, d->err);
        if (hf_failed(st)) {
            return st;
        }
        node = d->json->values[node].next;
    }
    proof->depth = (uint8_t)d->json->values[branch].len;
    return hf_ok();
}

/* Proofs of other places than those that limits speak of are passed over. */
static hf_status read_proof(const decoder *d, uint32_t entry, const hf_path *path)
{
    hf_proven_block *block = &d->request->fields.proven;
    hf_path index_path = {.up = path, .name = "index"};
    hf_path branch_path = {.up = path, .name = "proof"};
    hf_path value_path = {.up = path, .name = "value"};
    uint64_t index = 0;
    if (!hf_json_is(d->json, entry, HF_JSON_OBJECT)) {
        return hf_path_fail(path, d->err, "not an object");
    }
    uint32_t index_at = hf_json_member(d->json, entry, "index", 5);
    uint32_t branch_at = hf_json_member(d->json, entry, "proof", 5);
    uint32_t value_at = hf_json_member(d->json, entry, "value", 5);
    if (index_at == 0 || branch_at == 0) {
        return hf_ok(); /* proves nothing, and who needs a proof will miss it */
    }
    hf_status st = hf_field_u64(d->json, index_at, &index_path, &index, d->err);
    if (hf_failed(st) || !hf_eth_block_place_is_known(index)) {
        return st;
    }
    if (block->proof_count == HF_BLOCK_PROOFS_MAX) {
        return hf_path_fail(path, d->err, "more proofs than places");
    }
    hf_block_proof *proof = &block->proofs[block->proof_count++];
    proof->index = (uint32_t)index;
    st = read_branch(d, branch_at, &branch_path, proof);
    if (hf_failed(st) || value_at == 0 || hf_json_is(d->json, value_at, HF_JSON_NULL)) {
        return st;
    }
    return read_proof_value(d, value_at, &value_path, proof);
}

hf_status hf_codec_read_proofs(const hf_json *json, hf_eth_request *request, hf_error *err)
{
    const decoder place = {json, request, err};
    const decoder *d = &place;
    bool is_block = d->request->operation == HF_OP_BLOCK || d->request->operation == HF_OP_BLOCK_V2;
    uint32_t proofs = is_block ? hf_json_member(d->json, 0, "proofs", 6) : 0;
    hf_path path = {.name = "proofs"};
    if (proofs == 0 || hf_json_is(d->json, proofs, HF_JSON_NULL)) {
        return hf_ok();
    }
    if (!hf_json_is(d->json, proofs, HF_JSON_ARRAY)) {
        return hf_path_fail(&path, d->err, "not a list");
    }
    uint32_t entry = proofs + 1;
    for (uint32_t i = 0; i < d->json->values[proofs].len; i++) {
        hf_path at = {.up = &path, .index = i};
        hf_status st = read_proof(d, entry, &at);
        if (hf_failed(st)) {
            return st;
        }
        entry = d->json->values[entry].next;
    }
    return hf_ok();
}
