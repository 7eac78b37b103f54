/* Settings of the execution layer. */
#include "config_internal.h"

/* Chain ids of the networks known by name. */
static const struct {
    const char *name;
    uint64_t chain_id;
} chains[] = {
    {"mainnet", 1},    {"sepolia", 11155111}, {"holesky", 17000},
    {"hoodi", 560048}, {"gnosis", 100},       {"chiado", 10200},
};

void hf_config_finish_eth1(hf_settings *settings)
{
    hf_config *config = &settings->config;
    config->eth1.sign_data = config->eth1_sign_data;
    for (size_t i = 0; config->eth1.chain_id == 0 && i < HF_ARRAY_LEN(chains); i++) {
        if (strcmp(config->network.name, chains[i].name) == 0) {
            config->eth1.chain_id = chains[i].chain_id;
        }
    }
}
