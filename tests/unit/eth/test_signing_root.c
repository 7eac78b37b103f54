/* Operations, networks, the choice of the version, and requests that nobody honest sends. */
#include "eth/eth.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static hf_eth_request request_of(hf_operation op)
{
    hf_eth_request request = {.operation = (uint32_t)op, .has_fork_info = 1};
    request.fork_info = (hf_fork_info){.previous_version = {1, 0, 0, 0},
                                       .current_version = {2, 0, 0, 0},
                                       .epoch = 100,
                                       .genesis_validators_root = {42}};
    return request;
}

static void expect_root(const hf_eth_request *request, const uint8_t object_root[32],
                        uint32_t domain_type, const uint8_t version[4],
                        const uint8_t validators_root[32])
{
    const hf_network *network = hf_eth_network_find("mainnet");
    uint8_t domain[32];
    uint8_t expected[32];
    uint8_t root[32];
    hf_error err = {0};
    hf_eth_domain(domain_type, version, validators_root, domain);
    hf_eth_root_in_domain(object_root, domain, expected);
    assert_int_equal(hf_eth_signing_root(network, request, root, &err).code, HF_OK);
    assert_memory_equal(root, expected, 32);
}

static void test_operation_names(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HF_OP_COUNT; i++) {
        hf_operation op = HF_OP_COUNT;
        assert_non_null(hf_eth_operation_name((hf_operation)i));
        assert_true(hf_eth_operation_parse(hf_eth_operation_name((hf_operation)i), &op));
        assert_int_equal(op, i);
    }
    hf_operation op = HF_OP_COUNT;
    assert_true(hf_eth_operation_parse("attestation", &op));
    assert_int_equal(op, HF_OP_ATTESTATION);
    assert_true(hf_eth_operation_parse("Payload_Attestation_MESSAGE", &op));
    assert_int_equal(op, HF_OP_PAYLOAD_ATTESTATION);
    assert_false(hf_eth_operation_parse("ATTESTATION ", &op));
    assert_false(hf_eth_operation_parse("", &op));
    assert_null(hf_eth_operation_name(HF_OP_COUNT));
}

static void test_networks(void **state)
{
    (void)state;
    static const char *const names[] = {"mainnet", "sepolia", "holesky",
                                        "hoodi",   "gnosis",  "chiado"};
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        const hf_network *network = hf_eth_network_find(names[i]);
        assert_non_null(network);
        assert_string_equal(network->name, names[i]);
        assert_true(network->genesis_time > 1600000000);
        assert_true(network->deneb_epoch < network->electra_epoch);
        bool is_gnosis = i >= 4;
        assert_int_equal(network->slots_per_epoch, is_gnosis ? 16 : 32);
        assert_int_equal(network->slot_ms, is_gnosis ? 5000 : 12000);
    }
    assert_null(hf_eth_network_find("goerli"));
    assert_null(hf_eth_network_find(""));
    assert_int_equal(hf_eth_epoch_of(hf_eth_network_find("gnosis"), 31), 1);
    assert_int_equal(hf_eth_epoch_of(hf_eth_network_find("mainnet"), 31), 0);
}

/* The epoch of the target, not of the slot, gives an attestation its version. */
static void test_version_choice(void **state)
{
    (void)state;
    hf_eth_request request = request_of(HF_OP_ATTESTATION);
    uint8_t object_root[32];
    request.fields.attestation.slot = 100 * 32;
    for (uint64_t epoch = 99; epoch <= 101; epoch++) {
        request.fields.attestation.target.epoch = epoch;
        hf_eth_attestation_data_root(&request.fields.attestation, object_root);
        expect_root(&request, object_root, 1,
                    epoch < 100 ? request.fork_info.previous_version
                                : request.fork_info.current_version,
                    request.fork_info.genesis_validators_root);
    }
    request = request_of(HF_OP_AGGREGATION_SLOT);
    memset(object_root, 0, sizeof object_root);
    request.fields.aggregation_slot = 100 * 32 - 1;
    hf_le64_put(object_root, request.fields.aggregation_slot);
    expect_root(&request, object_root, 5, request.fork_info.previous_version,
                request.fork_info.genesis_validators_root);
}

/* EIP-7044 goes by the fork, never by the exit's own epoch. */
static void test_exit_versions(void **state)
{
    (void)state;
    const hf_network *network = hf_eth_network_find("mainnet");
    hf_eth_request request = request_of(HF_OP_VOLUNTARY_EXIT);
    request.fields.voluntary_exit.epoch = 5;
    request.fields.voluntary_exit.validator_index = 9;
    uint8_t object_root[32];
    uint8_t chunks[2][32] = {{5}, {9}};
    hf_ssz_merkleize((const uint8_t(*)[32])chunks, 2, 0, object_root);
    const uint8_t *validators_root = request.fork_info.genesis_validators_root;

    /* before Deneb: the exit's epoch lies before the fork */
    request.fork_info.epoch = network->deneb_epoch - 1;
    expect_root(&request, object_root, 4, request.fork_info.previous_version, validators_root);
    request.fork_info.epoch = network->deneb_epoch;
    expect_root(&request, object_root, 4, network->capella_fork_version, validators_root);
    /* Capella's own fork_info */
    request.fork_info.epoch = 194048;
    memcpy(request.fork_info.current_version, network->capella_fork_version, 4);
    expect_root(&request, object_root, 4, network->capella_fork_version, validators_root);
}

/* Deposits, registrations and builder authorisations belong to no fork of the request. */
static void test_without_fork_info(void **state)
{
    (void)state;
    const hf_network *network = hf_eth_network_find("mainnet");
    static const uint8_t zero[32];
    hf_eth_request request = request_of(HF_OP_BUILDER_REQUEST_AUTH);
    request.has_fork_info = 0;
    memset(request.fields.rooted.object_root, 7, 32);
    expect_root(&request, request.fields.rooted.object_root, UINT32_C(0x0100000b),
                network->genesis_fork_version, zero);

    request.operation = HF_OP_DEPOSIT;
    memset(&request.fields, 0, sizeof request.fields);
    request.fields.deposit.genesis_fork_version[0] = 0x99;
    uint8_t object_root[32];
    hf_eth_deposit_message_root(request.fields.deposit.pubkey,
                                request.fields.deposit.withdrawal_credentials, 0, object_root);
    expect_root(&request, object_root, 3, request.fields.deposit.genesis_fork_version, zero);
}

static void expect_refused(const hf_eth_request *request, const char *sentence)
{
    uint8_t root[32];
    hf_error err = {0};
    hf_status st = hf_eth_signing_root(hf_eth_network_find("mainnet"), request, root, &err);
    assert_int_equal(st.code, HF_INVALID_INPUT);
    assert_string_equal(err.msg, sentence);
}

static void test_hostile_requests(void **state)
{
    (void)state;
    hf_eth_request request = request_of(HF_OP_ATTESTATION);
    request.operation = HF_OP_COUNT;
    expect_refused(&request, "type: unknown operation");
    request.operation = UINT32_MAX;
    expect_refused(&request, "type: unknown operation");
    request = request_of(HF_OP_ATTESTATION);
    request.has_fork_info = 0;
    expect_refused(&request, "fork_info: missing");
    request.has_fork_info = 2;
    expect_refused(&request, "has_fork_info: neither 0 nor 1");
    request = request_of(HF_OP_ATTESTATION);
    request.has_signing_root = 255;
    expect_refused(&request, "has_signing_root: neither 0 nor 1");
    request = request_of(HF_OP_PAYLOAD_ATTESTATION);
    request.fields.payload_attestation.payload_present = 2;
    expect_refused(&request, "payload_present: neither 0 nor 1");
    request.fields.payload_attestation.payload_present = 1;
    request.fields.payload_attestation.blob_data_available = 3;
    expect_refused(&request, "blob_data_available: neither 0 nor 1");
}

static void test_gloas_by_schedule_or_version(void **state)
{
    (void)state;
    hf_network network = *hf_eth_network_find("mainnet");
    hf_fork_info fork_info = request_of(HF_OP_ATTESTATION).fork_info;
    assert_false(hf_eth_is_gloas(&network, &fork_info, UINT64_MAX));
    memcpy(fork_info.current_version, network.gloas_fork_version, 4);
    assert_true(hf_eth_is_gloas(&network, &fork_info, 100 * 32));
    assert_false(hf_eth_is_gloas(&network, &fork_info, 100 * 32 - 1));
    network.gloas_epoch = 200;
    assert_false(hf_eth_is_gloas(&network, &fork_info, 200 * 32 - 1));
    assert_true(hf_eth_is_gloas(&network, &fork_info, 200 * 32));
    /* a network file that says nothing of Gloas */
    network.gloas_epoch = HF_EPOCH_NEVER;
    memset(network.gloas_fork_version, 0, 4);
    memset(fork_info.current_version, 0, 4);
    assert_false(hf_eth_is_gloas(&network, &fork_info, 100 * 32));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operation_names),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_version_choice),
        cmocka_unit_test(test_exit_versions),
        cmocka_unit_test(test_without_fork_info),
        cmocka_unit_test(test_hostile_requests),
        cmocka_unit_test(test_gloas_by_schedule_or_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
