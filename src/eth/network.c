/* The networks that are known by name: consensus-specs and eth-clients configurations. */
#include "eth/eth.h"

#include <string.h>

/* Gloas has no epoch on any of them yet; its versions continue each network's own series. */
static const hf_network networks[] = {
    {
        .name = "mainnet",
        .genesis_validators_root = {0x4b, 0x36, 0x3d, 0xb9, 0x4e, 0x28, 0x61, 0x20,
                                    0xd7, 0x6e, 0xb9, 0x05, 0x34, 0x0f, 0xdd, 0x4e,
                                    0x54, 0xbf, 0xe9, 0xf0, 0x6b, 0xf3, 0x3f, 0xf6,
                                    0xcf, 0x5a, 0xd2, 0x7f, 0x51, 0x1b, 0xfe, 0x95},
        .genesis_time = 1606824023,
        .slots_per_epoch = 32,
        .slot_ms = 12000,
        .genesis_fork_version = {0x00, 0x00, 0x00, 0x00},
        .capella_fork_version = {0x03, 0x00, 0x00, 0x00},
        .gloas_fork_version = {0x07, 0x00, 0x00, 0x00},
        .deneb_epoch = 269568,
        .electra_epoch = 364032,
        .gloas_epoch = HF_EPOCH_NEVER,
    },
    {
        .name = "sepolia",
        .genesis_validators_root = {0xd8, 0xea, 0x17, 0x1f, 0x3c, 0x94, 0xae, 0xa2,
                                    0x1e, 0xbc, 0x42, 0xa1, 0xed, 0x61, 0x05, 0x2a,
                                    0xcf, 0x3f, 0x92, 0x09, 0xc0, 0x0e, 0x4e, 0xfb,
                                    0xaa, 0xdd, 0xac, 0x09, 0xed, 0x9b, 0x80, 0x78},
        .genesis_time = 1655733600,
        .slots_per_epoch = 32,
        .slot_ms = 12000,
        .genesis_fork_version = {0x90, 0x00, 0x00, 0x69},
        .capella_fork_version = {0x90, 0x00, 0x00, 0x72},
        .gloas_fork_version = {0x90, 0x00, 0x00, 0x76},
        .deneb_epoch = 132608,
        .electra_epoch = 222464,
        .gloas_epoch = HF_EPOCH_NEVER,
    },
    {
        .name = "holesky",
        .genesis_validators_root = {0x91, 0x43, 0xaa, 0x7c, 0x61, 0x5a, 0x7f, 0x71,
                                    0x15, 0xe2, 0xb6, 0xaa, 0xc3, 0x19, 0xc0, 0x35,
                                    0x29, 0xdf, 0x82, 0x42, 0xae, 0x70, 0x5f, 0xba,
                                    0x9d, 0xf3, 0x9b, 0x79, 0xc5, 0x9f, 0xa8, 0xb1},
        .genesis_time = 1695902400,
        .slots_per_epoch = 32,
        .slot_ms = 12000,
        .genesis_fork_version = {0x01, 0x01, 0x70, 0x00},
        .capella_fork_version = {0x04, 0x01, 0x70, 0x00},
        .gloas_fork_version = {0x08, 0x01, 0x70, 0x00},
        .deneb_epoch = 29696,
        .electra_epoch = 115968,
        .gloas_epoch = HF_EPOCH_NEVER,
    },
    {
        .name = "hoodi",
        .genesis_validators_root = {0x21, 0x2f, 0x13, 0xfc, 0x4d, 0xf0, 0x78, 0xb6,
                                    0xcb, 0x7d, 0xb2, 0x28, 0xf1, 0xc8, 0x30, 0x75,
                                    0x66, 0xdc, 0xec, 0xf9, 0x00, 0x86, 0x74, 0x01,
                                    0xa9, 0x20, 0x23, 0xd7, 0xba, 0x99, 0xcb, 0x5f},
        .genesis_time = 1742213400,
        .slots_per_epoch = 32,
        .slot_ms = 12000,
        .genesis_fork_version = {0x10, 0x00, 0x09, 0x10},
        .capella_fork_version = {0x40, 0x00, 0x09, 0x10},
        .gloas_fork_version = {0x80, 0x00, 0x09, 0x10},
        .deneb_epoch = 0,
        .electra_epoch = 2048,
        .gloas_epoch = HF_EPOCH_NEVER,
    },
    {
        .name = "gnosis",
        .genesis_validators_root = {0xf5, 0xdc, 0xb5, 0x56, 0x4e, 0x82, 0x9a, 0xab,
                                    0x27, 0x26, 0x4b, 0x9b, 0xec, 0xd5, 0xdf, 0xaa,
                                    0x01, 0x70, 0x85, 0x61, 0x12, 0x24, 0xcb, 0x30,
                                    0x36, 0xf5, 0x73, 0x36, 0x8d, 0xbb, 0x9d, 0x47},
        .genesis_time = 1638993340,
        .slots_per_epoch = 16,
        .slot_ms = 5000,
        .genesis_fork_version = {0x00, 0x00, 0x00, 0x64},
        .capella_fork_version = {0x03, 0x00, 0x00, 0x64},
        .gloas_fork_version = {0x07, 0x00, 0x00, 0x64},
        .deneb_epoch = 889856,
        .electra_epoch = 1337856,
        .gloas_epoch = HF_EPOCH_NEVER,
    },
    {
        .name = "chiado",
        .genesis_validators_root = {0x9d, 0x64, 0x2d, 0xac, 0x73, 0x05, 0x8f, 0xbf,
                                    0x39, 0xc0, 0xae, 0x41, 0xab, 0x1e, 0x34, 0xe4,
                                    0xd8, 0x89, 0x04, 0x3c, 0xb1, 0x99, 0x85, 0x1d,
                                    0xed, 0x70, 0x95, 0xbc, 0x99, 0xeb, 0x4c, 0x1e},
        .genesis_time = 1665396300,
        .slots_per_epoch = 16,
        .slot_ms = 5000,
        .genesis_fork_version = {0x00, 0x00, 0x00, 0x6f},
        .capella_fork_version = {0x03, 0x00, 0x00, 0x6f},
        .gloas_fork_version = {0x07, 0x00, 0x00, 0x6f},
        .deneb_epoch = 516608,
        .electra_epoch = 948224,
        .gloas_epoch = HF_EPOCH_NEVER,
    },
};

const hf_network *hf_eth_network_find(const char *name)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(networks); i++) {
        if (strcmp(networks[i].name, name) == 0) {
            return &networks[i];
        }
    }
    return NULL;
}

uint64_t hf_eth_epoch_of(const hf_network *network, uint64_t slot)
{
    HF_ASSERT(network->slots_per_epoch != 0);
    return slot / network->slots_per_epoch;
}

const uint8_t *hf_eth_version_at(const hf_fork_info *fork_info, uint64_t epoch)
{
    return epoch < fork_info->epoch ? fork_info->previous_version : fork_info->current_version;
}

bool hf_eth_is_gloas(const hf_network *network, const hf_fork_info *fork_info, uint64_t slot)
{
    uint64_t epoch = hf_eth_epoch_of(network, slot);
    if (network->gloas_epoch != HF_EPOCH_NEVER) {
        return epoch >= network->gloas_epoch;
    }
    return !hf_bytes_is_zero(network->gloas_fork_version, 4) &&
           hf_bytes_equal(hf_eth_version_at(fork_info, epoch), network->gloas_fork_version, 4);
}
