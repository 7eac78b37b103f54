/* What a frame's own bytes allow: flags, networks, roots, ranges, and which messages can slash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "keeper/keeper.h"

static hf_eth_request request_for(hf_operation operation)
{
    hf_eth_request request = {.operation = operation, .has_fork_info = 1};
    memset(request.pubkey, 0xaa, sizeof request.pubkey);
    memcpy(request.fork_info.genesis_validators_root,
           hf_eth_network_find("mainnet")->genesis_validators_root, HF_ROOT_BYTES);
    return request;
}

static hf_admission admit(const hf_eth_request *request)
{
    hf_admission admission;
    hf_keeper_admit(hf_eth_network_find("mainnet"), request, &admission);
    return admission;
}

static void only_blocks_and_attestations_are_slashable(void **state)
{
    (void)state;
    for (uint32_t op = 0; op < HF_OP_COUNT; op++) {
        hf_eth_request request = request_for((hf_operation)op);
        hf_admission admission = admit(&request);
        bool expected = op == HF_OP_ATTESTATION || op == HF_OP_BLOCK || op == HF_OP_BLOCK_V2;
        assert_int_equal(admission.reason, HF_REASON_OK);
        assert_int_equal(admission.is_slashable, expected);
        assert_int_equal(hf_operation_is_slashable(op), expected);
    }
}

static void the_message_names_what_the_protection_decides(void **state)
{
    (void)state;
    hf_eth_request request = request_for(HF_OP_ATTESTATION);
    request.fields.attestation.source.epoch = 5;
    request.fields.attestation.target.epoch = 6;
    hf_admission admission = admit(&request);
    assert_int_equal(admission.message.kind, HF_MESSAGE_ATTESTATION);
    assert_int_equal(admission.message.source, 5);
    assert_int_equal(admission.message.target, 6);
    assert_int_equal(admission.message.has_root, 1);
    assert_memory_equal(admission.message.signing_root, admission.root, HF_ROOT_BYTES);
    assert_memory_equal(admission.message.pubkey, request.pubkey, HF_BLS_PUBKEY_BYTES);
    request = request_for(HF_OP_BLOCK_V2);
    request.fields.block.slot = 77;
    admission = admit(&request);
    assert_int_equal(admission.message.kind, HF_MESSAGE_BLOCK);
    assert_int_equal(admission.message.slot, 77);
}

static void a_root_that_is_not_of_the_fields_is_refused(void **state)
{
    (void)state;
    hf_eth_request request = request_for(HF_OP_ATTESTATION);
    request.has_signing_root = 1;
    assert_int_equal(admit(&request).reason, HF_REASON_SIGNING_ROOT_MISMATCH);
    hf_eth_request honest = request_for(HF_OP_ATTESTATION);
    hf_admission admission = admit(&honest);
    memcpy(request.signing_root, admission.root, HF_ROOT_BYTES);
    assert_int_equal(admit(&request).reason, HF_REASON_OK);
}

static void another_networks_root_is_refused(void **state)
{
    (void)state;
    hf_eth_request request = request_for(HF_OP_RANDAO_REVEAL);
    request.fork_info.genesis_validators_root[31] ^= 1;
    assert_int_equal(admit(&request).reason, HF_REASON_WRONG_NETWORK);
}

static void numbers_that_the_store_cannot_hold_are_refused(void **state)
{
    (void)state;
    hf_eth_request request = request_for(HF_OP_ATTESTATION);
    request.fields.attestation.target.epoch = HF_PROTECT_MAX_NUMBER;
    assert_int_equal(admit(&request).reason, HF_REASON_OK);
    request.fields.attestation.target.epoch = HF_PROTECT_MAX_NUMBER + 1;
    assert_int_equal(admit(&request).reason, HF_REASON_OUT_OF_RANGE);
    request = request_for(HF_OP_BLOCK);
    request.fields.block.slot = UINT64_MAX;
    assert_int_equal(admit(&request).reason, HF_REASON_OUT_OF_RANGE);
}

static void a_frame_with_odd_bytes_is_malformed(void **state)
{
    (void)state;
    hf_eth_request request = request_for(HF_OP_ATTESTATION);
    request.operation = HF_OP_COUNT;
    assert_int_equal(admit(&request).reason, HF_REASON_MALFORMED);
    request = request_for(HF_OP_ATTESTATION);
    request.has_signing_root = 2;
    assert_int_equal(admit(&request).reason, HF_REASON_MALFORMED);
    request = request_for(HF_OP_ATTESTATION);
    request.has_fork_info = 255;
    assert_int_equal(admit(&request).reason, HF_REASON_MALFORMED);
    request = request_for(HF_OP_ATTESTATION);
    request.has_fork_info = 0;
    hf_admission admission = admit(&request);
    assert_int_equal(admission.reason, HF_REASON_MALFORMED);
    assert_non_null(strstr(admission.detail, "fork_info"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_blocks_and_attestations_are_slashable),
        cmocka_unit_test(the_message_names_what_the_protection_decides),
        cmocka_unit_test(a_root_that_is_not_of_the_fields_is_refused),
        cmocka_unit_test(another_networks_root_is_refused),
        cmocka_unit_test(numbers_that_the_store_cannot_hold_are_refused),
        cmocka_unit_test(a_frame_with_odd_bytes_is_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
