/* The body of POST /api/v1/duty/sign: every good shape, and every bad one with the member named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "front/codec.h"

#define WHO "\"validatorAddress\":\"0x2c7536E3605D9C16a7a3D7b1898e529396a65c23\""
#define HASH                                                                                       \
    "\"messageHash\":\"0x1122334455667788112233445566778811223344556677881122334455667788\""
#define ROLLUP "\"rollupAddress\":\"0x00000000000000000000000000000000000000aa\""
#define BASE WHO "," HASH "," ROLLUP ",\"hashing\":\"eip191\""

static hf_status decode(const char *text, hf_duty_request *request, hf_error *err)
{
    return hf_codec_decode_duty(hf_bytes_from(text, strlen(text)), request, err);
}

static hf_duty_request decoded(const char *text)
{
    hf_duty_request request;
    hf_error err = {HF_OK, ""};
    if (hf_failed(decode(text, &request, &err))) {
        fail_msg("%s: %s", text, err.msg);
    }
    return request;
}

static void test_block_proposal(void **state)
{
    (void)state;
    hf_duty_request r =
        decoded("{" BASE ",\"slot\":\"123\",\"blockNumber\":45,\"checkpointNumber\":\"6\","
                "\"blockIndexWithinCheckpoint\":2,\"dutyType\":\"BLOCK_PROPOSAL\",\"more\":1}");
    assert_int_equal(r.duty.type, HF_DUTY_BLOCK_PROPOSAL);
    assert_int_equal(r.duty.slot, 123);
    assert_int_equal(r.duty.block_number, 45);
    assert_int_equal(r.duty.checkpoint_number, 6);
    assert_int_equal(r.duty.block_index, 2);
    assert_int_equal(r.hashing, HF_AZTEC_EIP191);
    assert_int_equal(r.duty.validator[0], 0x2c);
    assert_int_equal(r.duty.rollup[19], 0xaa);
    assert_int_equal(r.hash[1], 0x22);
}

static void test_what_a_type_lacks_may_be_absent(void **state)
{
    (void)state;
    hf_duty_request r = decoded("{" BASE ",\"slot\":9223372036854775807,\"blockNumber\":0,"
                                "\"blockIndexWithinCheckpoint\":-1,\"dutyType\":\"ATTESTATION\"}");
    assert_int_equal(r.duty.slot, INT64_MAX);
    assert_int_equal(r.duty.block_index, HF_DUTY_NO_INDEX);
    r = decoded("{" BASE ",\"slot\":1,\"blockNumber\":2,\"blockIndexWithinCheckpoint\":\"-1\","
                "\"dutyType\":\"CHECKPOINT_PROPOSAL\"}");
    assert_int_equal(r.duty.block_index, HF_DUTY_NO_INDEX);
    r = decoded("{" WHO "," HASH "," ROLLUP ",\"hashing\":\"raw\",\"slot\":\"7\","
                "\"blockNumber\":null,\"dutyType\":\"GOVERNANCE_VOTE\"}");
    assert_int_equal(r.hashing, HF_AZTEC_RAW);
    assert_int_equal(r.duty.block_number, 0);
    r = decoded("{" WHO "," HASH ",\"hashing\":\"eip191\",\"dutyType\":\"AUTH_REQUEST\"}");
    assert_int_equal(r.duty.type, HF_DUTY_AUTH_REQUEST);
    r = decoded("{" WHO "," HASH ",\"hashing\":\"raw\",\"dutyType\":\"TXS\",\"slot\":3}");
    assert_int_equal(r.duty.slot, 3);
}

#define TAIL ",\"blockNumber\":1,\"dutyType\":\"ATTESTATION\"}"

static const struct {
    const char *text;
    const char *message;
} bad[] = {
    {"[]", "body: not an object"},
    {"{}", "dutyType: missing"},
    {"{" BASE ",\"dutyType\":7}", "dutyType: not a known type of duty"},
    {"{" BASE ",\"dutyType\":\"attestation\"}", "dutyType: not a known type of duty"},
    {"{" BASE ",\"dutyType\":\"CHECKPOINT_ATTESTATION\"}", "dutyType: not a known type of duty"},
    {"{" HASH ",\"dutyType\":\"TXS\"}", "validatorAddress: missing"},
    {"{\"validatorAddress\":\"0x12\",\"dutyType\":\"TXS\"}",
     "validatorAddress: not 20 bytes of hex"},
    {"{" WHO ",\"dutyType\":\"TXS\"}", "messageHash: missing"},
    {"{" WHO ",\"messageHash\":\"0xzz\",\"dutyType\":\"TXS\"}", "messageHash: not 32 bytes of hex"},
    {"{" WHO "," HASH ",\"dutyType\":\"TXS\"}", "hashing: missing"},
    {"{" WHO "," HASH ",\"hashing\":\"sha256\",\"dutyType\":\"TXS\"}",
     "hashing: neither eip191 nor raw"},
    {"{" WHO "," HASH ",\"hashing\":\"raw\",\"slot\":1" TAIL, "rollupAddress: missing"},
    {"{" BASE TAIL, "slot: missing"},
    {"{" BASE ",\"slot\":-1" TAIL, "slot: not a decimal number"},
    {"{" BASE ",\"slot\":1.5" TAIL, "slot: not a decimal number"},
    {"{" BASE ",\"slot\":\"0x10\"" TAIL, "slot: not a decimal number"},
    {"{" BASE ",\"slot\":[1]" TAIL, "slot: not a decimal number"},
    {"{" BASE ",\"slot\":\"9223372036854775808\"" TAIL, "slot: beyond 63 bits"},
    {"{" BASE ",\"slot\":\"18446744073709551616\"" TAIL, "slot: beyond 64 bits"},
    {"{" BASE ",\"slot\":1,\"dutyType\":\"ATTESTATION\"}", "blockNumber: missing"},
    {"{" BASE ",\"slot\":1,\"blockNumber\":true,\"dutyType\":\"ATTESTATION\"}",
     "blockNumber: not a decimal number"},
    {"{" BASE ",\"slot\":1,\"blockNumber\":1,\"dutyType\":\"BLOCK_PROPOSAL\"}",
     "blockIndexWithinCheckpoint: missing"},
    {"{" BASE ",\"slot\":1,\"blockNumber\":1,\"blockIndexWithinCheckpoint\":-1,"
     "\"dutyType\":\"BLOCK_PROPOSAL\"}",
     "blockIndexWithinCheckpoint: not a decimal number"},
    {"{" BASE ",\"slot\":1,\"blockNumber\":1,\"blockIndexWithinCheckpoint\":2147483648,"
     "\"dutyType\":\"BLOCK_PROPOSAL\"}",
     "blockIndexWithinCheckpoint: beyond 31 bits"},
    {"{" BASE ",\"slot\":1,\"checkpointNumber\":\"x\"" TAIL, "checkpointNumber: not a decimal "},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        hf_duty_request request;
        hf_duty_request before;
        hf_error err = {HF_OK, ""};
        memset(&request, 0xa5, sizeof request);
        before = request;
        assert_int_equal(decode(bad[i].text, &request, &err).code, HF_INVALID_INPUT);
        if (strncmp(err.msg, bad[i].message, strlen(bad[i].message)) != 0) {
            fail_msg("%s: %s", bad[i].text, err.msg);
        }
        assert_memory_equal(&request, &before, sizeof request);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block_proposal),
        cmocka_unit_test(test_what_a_type_lacks_may_be_absent),
        cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
