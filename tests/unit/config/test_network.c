/* Networks by name, by keys, by a consensus client's file. */
#include "scratch.h"

#include <sys/stat.h>
#include <unistd.h>

#define D "data_dir: data\n"

/* The shape of a devnet's config.yaml as consensus clients read it. */
#define CLIENT_FILE                                                                                \
    "PRESET_BASE: 'mainnet'\nCONFIG_NAME: 'devnet-7'\nMIN_GENESIS_TIME: 1700000000\n"              \
    "GENESIS_FORK_VERSION: 0x10000038\nGENESIS_DELAY: 60\nALTAIR_FORK_VERSION: 0x20000038\n"       \
    "ALTAIR_FORK_EPOCH: 0\nCAPELLA_FORK_VERSION: 0x40000038\nCAPELLA_FORK_EPOCH: 0\n"              \
    "DENEB_FORK_VERSION: 0x50000038\nDENEB_FORK_EPOCH: 3\nELECTRA_FORK_EPOCH: 5\n"                 \
    "FULU_FORK_EPOCH: 18446744073709551615\nSECONDS_PER_SLOT: 6\n"                                 \
    "BLOB_SCHEDULE:\n  - EPOCH: 7\n    MAX_BLOBS_PER_BLOCK: 9\n"                                   \
    "DEPOSIT_CONTRACT_ADDRESS: 0x4242424242424242424242424242424242424242\n"

static hf_config config;
static hf_network network;

static void assert_is_devnet(const hf_network *n)
{
    static const uint8_t genesis[4] = {0x10, 0, 0, 0x38};
    static const uint8_t capella[4] = {0x40, 0, 0, 0x38};
    assert_string_equal(n->name, "devnet-7");
    assert_memory_equal(n->genesis_fork_version, genesis, 4);
    assert_memory_equal(n->capella_fork_version, capella, 4);
    assert_int_equal(n->genesis_validators_root[0], 0x11);
    assert_int_equal(n->genesis_validators_root[31], 0x11);
    assert_int_equal(n->deneb_epoch, 3);
    assert_int_equal(n->electra_epoch, 5);
    assert_true(n->gloas_epoch == HF_EPOCH_NEVER);
    assert_int_equal(n->slots_per_epoch, 32);
    assert_int_equal(n->slot_ms, 6000);
}

static void names_are_known(void **state)
{
    (void)state;
    static const char *const names[] = {"mainnet", "sepolia", "holesky",
                                        "hoodi",   "gnosis",  "chiado"};
    hf_error err = {0};
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        assert_false(hf_failed(hf_config_network(names[i], &network, &err)));
        assert_string_equal(network.name, names[i]);
    }
    assert_int_equal(hf_config_network("Mainnet", &network, &err).code, HF_USAGE);
    assert_string_equal(err.msg, "Mainnet: unknown network; give mainnet, sepolia, holesky, hoodi, "
                                 "gnosis, chiado, or the path of a YAML file (with a / or ending "
                                 "in .yaml)");
}

static void a_clients_file_with_its_root_file(void **state)
{
    (void)state;
    hf_error err = {0};
    assert_int_equal(mkdir("metadata", 0700), 0);
    scratch_write("metadata/config.yaml", CLIENT_FILE, 0644);
    hf_status st = hf_config_network("metadata/config.yaml", &network, &err);
    assert_int_equal(st.code, HF_NOT_FOUND);
    assert_string_equal(err.msg, "metadata/config.yaml: genesis_validators_root "
                                 "(GENESIS_VALIDATORS_ROOT) is missing; signing needs it");
    scratch_write("metadata/genesis_validators_root.txt", "0x11\n", 0644);
    st = hf_config_network("metadata/config.yaml", &network, &err);
    assert_true(hf_failed(st));
    assert_string_equal(err.msg, "metadata/genesis_validators_root.txt: give 32 bytes in hex");
    scratch_write("metadata/genesis_validators_root.txt", ROOT_HEX "\n", 0644);
    assert_false(hf_failed(hf_config_network("metadata/config.yaml", &network, &err)));
    assert_is_devnet(&network);

    /* Relative to the configuration when it stands there, to the working directory as a flag. */
    assert_int_equal(mkdir("etc", 0700), 0);
    scratch_write("etc/h.yaml", "data_dir: ../data\nnetwork: ../metadata/config.yaml\n", 0644);
    const hf_config_flags flags = {.file = "etc/h.yaml"};
    assert_false(hf_failed(hf_config_load(&flags, &config, &err)));
    assert_is_devnet(&config.network);
    const hf_config_flags by_flag = {.data_dir = "data", .network = "metadata/config.yaml"};
    assert_false(hf_failed(hf_config_load(&by_flag, &config, &err)));
    assert_is_devnet(&config.network);
}

static void our_keys_and_a_clients_file_together(void **state)
{
    (void)state;
    scratch_write("net.yaml", CLIENT_FILE, 0644);
    assert_loads(D "network:\n  config: net.yaml\n  genesis_validators_root: " ROOT_HEX "\n",
                 &config);
    assert_is_devnet(&config.network);
    assert_loads(D "network:\n  config: net.yaml\n  genesis_validators_root: " ROOT_HEX "\n"
                   "  deneb_fork_epoch: 9\n  name: mine\n",
                 &config);
    assert_int_equal(config.network.deneb_epoch, 9);
    assert_string_equal(config.network.name, "mine");
    scratch_write("net.yaml", "GENESIS_FORK_VERSION: 1\n", 0644);
    char sentence[512];
    (void)snprintf(sentence, sizeof sentence,
                   "holdfast.yaml:2: network: %s:1: GENESIS_FORK_VERSION: give 4 bytes in hex, "
                   "such as 0x10000038",
                   scratch_path("net.yaml"));
    assert_refused(D "network: net.yaml\n", sentence);
}

static void what_signing_needs_may_not_be_missing(void **state)
{
    (void)state;
    assert_refused(D "network: {name: x}\n",
                   "holdfast.yaml:2: network: genesis_validators_root (GENESIS_VALIDATORS_ROOT) is "
                   "missing; signing needs it");
    assert_refused(D "network: {genesis_validators_root: " ROOT_HEX "}\n",
                   "holdfast.yaml:2: network: genesis_fork_version (GENESIS_FORK_VERSION) is "
                   "missing; signing needs it");
    assert_refused(D "network: {genesis_validators_root: " ROOT_HEX
                     ", genesis_fork_version: 0x10000038, capella_fork_version: 0x40000038}\n",
                   "holdfast.yaml:2: network: deneb_fork_epoch (DENEB_FORK_EPOCH) is missing; "
                   "signing needs it");
    assert_refused(D "network: {genesis_root: 1}\n",
                   "holdfast.yaml:2: network.genesis_root: unknown key; "
                   "`holdfast check --keys` lists them");
}

static void presets_set_the_epoch_length(void **state)
{
    (void)state;
    hf_error err = {0};
#define REST                                                                                       \
    "GENESIS_VALIDATORS_ROOT: '" ROOT_HEX "'\nGENESIS_FORK_VERSION: 0x10000038\n"                  \
    "CAPELLA_FORK_VERSION: 0x40000038\nDENEB_FORK_EPOCH: 0\n"
    scratch_write("p.yaml", "PRESET_BASE: gnosis\nSLOT_DURATION_MS: 5000\n" REST, 0644);
    assert_false(hf_failed(hf_config_network("p.yaml", &network, &err)));
    assert_int_equal(network.slots_per_epoch, 16);
    assert_int_equal(network.slot_ms, 5000);
    scratch_write("p.yaml", "PRESET_BASE: minimal\n" REST, 0644);
    assert_true(hf_failed(hf_config_network("p.yaml", &network, &err)));
    assert_string_equal(err.msg, "p.yaml:1: PRESET_BASE: Holdfast knows the presets mainnet and "
                                 "gnosis alone");
    scratch_write("p.yaml", REST "SECONDS_PER_SLOT: 0\n", 0644);
    assert_true(hf_failed(hf_config_network("p.yaml", &network, &err)));
    assert_string_equal(err.msg, "p.yaml:5: SECONDS_PER_SLOT: give a number from 1 to 3600");
    scratch_write("p.yaml", REST "DENEB_FORK_VERSION:\nELECTRA_FORK_EPOCH:\n", 0644);
    assert_true(hf_failed(hf_config_network("p.yaml", &network, &err)));
    assert_string_equal(err.msg, "p.yaml:6: ELECTRA_FORK_EPOCH: no value; give one, or remove it");
    scratch_write("p.yaml", "genesis_root: 1\n", 0644);
    assert_true(hf_failed(hf_config_network("p.yaml", &network, &err)));
    assert_string_equal(err.msg,
                        "p.yaml:1: genesis_root: unknown key; a network has name, "
                        "genesis_validators_root, genesis_fork_version, capella_fork_version, "
                        "deneb_fork_epoch, ...");
}

static void the_root_flag_finds_checks_and_completes(void **state)
{
    (void)state;
    hf_error err = {0};
    hf_config_flags flags = {.data_dir = "data", .genesis_validators_root = MAINNET_ROOT_HEX};
    assert_false(hf_failed(hf_config_load(&flags, &config, &err)));
    assert_string_equal(config.network.name, "mainnet");
    assert_false(config.network_is_default);
    assert_false(config.network_is_partial);
    flags.genesis_validators_root = ROOT_HEX;
    assert_false(hf_failed(hf_config_load(&flags, &config, &err)));
    assert_string_equal(config.network.name, "unnamed");
    assert_true(config.network_is_partial);
    assert_int_equal(config.network.genesis_validators_root[7], 0x11);
    assert_true(config.network.deneb_epoch == HF_EPOCH_NEVER);
    flags.genesis_validators_root = "0x12";
    assert_true(hf_failed(hf_config_load(&flags, &config, &err)));
    assert_string_equal(err.msg, "--genesis-validators-root: give 32 bytes in hex");
    flags.network = "mainnet";
    flags.genesis_validators_root = ROOT_HEX;
    assert_true(hf_failed(hf_config_load(&flags, &config, &err)));
    assert_string_equal(err.msg, "--network: --genesis-validators-root: differs from that of "
                                 "mainnet, the configured network");
    scratch_write("rootless.yaml", CLIENT_FILE, 0644);
    flags.network = "rootless.yaml";
    assert_false(hf_failed(hf_config_load(&flags, &config, &err)));
    assert_is_devnet(&config.network);
}

static void a_flag_beats_the_files_mapping(void **state)
{
    (void)state;
    hf_error err = {0};
    hf_config_flags flags = {.network = "sepolia"};
    assert_false(hf_failed(scratch_load(D "network: {genesis_validators_root: " ROOT_HEX "}\n",
                                        &flags, &config, &err)));
    assert_string_equal(config.network.name, "sepolia");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_known),
        cmocka_unit_test(a_clients_file_with_its_root_file),
        cmocka_unit_test(our_keys_and_a_clients_file_together),
        cmocka_unit_test(what_signing_needs_may_not_be_missing),
        cmocka_unit_test(presets_set_the_epoch_length),
        cmocka_unit_test(the_root_flag_finds_checks_and_completes),
        cmocka_unit_test(a_flag_beats_the_files_mapping),
    };
    return cmocka_run_group_tests_name("config network", tests, scratch_enter, scratch_leave);
}
