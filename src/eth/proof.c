/*
 * What a verifying client proves of a block's body. The body has 16 places from Bellatrix to Fulu
 * (10 to 13 of them used), the payload is the one at 9; the payload has 16 places until Capella and
 * 32 from Deneb on, where it got two more; fee_recipient and gas_limit are its members 1 and 7. A
 * payload header, in a blinded block, has the same members at the same places.
 */
#include "eth/eth.h"

#include <string.h>

#define PAYLOAD_INDEX 25U /* 16 + 9 */
#define FEE_RECIPIENT 1U
#define GAS_LIMIT 7U
#define PLACES_BEFORE_DENEB 16U
#define PLACES_FROM_DENEB 32U

static uint32_t index_of(hf_block_place place, uint32_t places)
{
    return PAYLOAD_INDEX * places + (place == HF_PLACE_FEE_RECIPIENT ? FEE_RECIPIENT : GAS_LIMIT);
}

uint32_t hf_eth_block_place(const hf_network *network, const hf_fork_info *fork_info, uint64_t slot,
                            hf_block_place place)
{
    if (hf_eth_is_gloas(network, fork_info, slot)) {
        return 0;
    }
    bool is_deneb = network->deneb_epoch != HF_EPOCH_NEVER &&
                    hf_eth_epoch_of(network, slot) >= network->deneb_epoch;
    return index_of(place, is_deneb ? PLACES_FROM_DENEB : PLACES_BEFORE_DENEB);
}

bool hf_eth_block_place_is_known(uint64_t index)
{
    for (unsigned place = 0; place < HF_PLACE_COUNT; place++) {
        if (index == index_of((hf_block_place)place, PLACES_BEFORE_DENEB) ||
            index == index_of((hf_block_place)place, PLACES_FROM_DENEB)) {
            return true;
        }
    }
    return false;
}

static unsigned depth_of(uint32_t index)
{
    unsigned depth = 0;
    while (index > 1) {
        index >>= 1;
        depth++;
    }
    return depth;
}

bool hf_eth_block_proof_holds(const hf_block_proof *proof, const uint8_t leaf[HF_ROOT_BYTES],
                              const uint8_t root[HF_ROOT_BYTES])
{
    uint8_t node[HF_ROOT_BYTES];
    if (proof->index == 0 || proof->depth > HF_BLOCK_PROOF_DEPTH ||
        depth_of(proof->index) != proof->depth) {
        return false;
    }
    memcpy(node, leaf, sizeof node);
    for (unsigned i = 0; i < proof->depth; i++) {
        if ((proof->index >> i & 1) != 0) {
            hf_sha256_pair(proof->branch[i], node, node);
        } else {
            hf_sha256_pair(node, proof->branch[i], node);
        }
    }
    return hf_bytes_equal(node, root, sizeof node);
}
