/* The codec: what it takes, what it turns away and with which words, and both directions. */
#include "interchange/interchange.h"
#include "support.h"

#define ROOT "0x0707070707070707070707070707070707070707070707070707070707070707"
#define KEY                                                                                        \
    "0x010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101" \
    "010101"
#define META                                                                                       \
    "\"metadata\":{\"interchange_format_version\":\"5\",\"genesis_validators_root\":\"" ROOT "\"}"
#define ENTRY(blocks, votes)                                                                       \
    "{" META ",\"data\":[{\"pubkey\":\"" KEY "\",\"signed_blocks\":[" blocks                       \
    "],\"signed_attestations\":[" votes "]}]}"

static const uint8_t expected_root[HF_ROOT_BYTES] = {
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7};

static hf_status gather(void *context, const hf_message *messages, size_t n, hf_error *err)
{
    (void)err;
    assert_true(n > 0 && n <= HF_INTERCHANGE_PAGE);
    for (size_t i = 0; i < n; i++) {
        assert_code(test_records_add(context, &messages[i]), HF_OK);
    }
    return hf_ok();
}

static hf_status parse(const char *text, test_records *records, hf_error *err)
{
    return hf_interchange_parse(hf_bytes_from(text, strlen(text)), expected_root, gather, records,
                                err);
}

static void test_good(void **state)
{
    (void)state;
    hf_error err;
    test_records records = {0};
    const char *text = ENTRY("{\"slot\":\"81952\",\"signing_root\":\"" ROOT "\",\"more\":[1]},"
                             "{\"slot\":7},{\"slot\":\"8\",\"signing_root\":null}",
                             "{\"source_epoch\":\"2290\",\"target_epoch\":3007}");
    assert_code(parse(text, &records, &err), HF_OK);
    assert_int_equal(records.count, 4);
    assert_int_equal(records.messages[0].kind, HF_MESSAGE_BLOCK);
    assert_int_equal(records.messages[0].slot, 81952);
    assert_int_equal(records.messages[0].has_root, 1);
    assert_memory_equal(records.messages[0].signing_root, expected_root, HF_ROOT_BYTES);
    assert_int_equal(records.messages[0].pubkey[47], 1);
    assert_int_equal(records.messages[1].slot, 7);
    assert_int_equal(records.messages[1].has_root, 0);
    assert_int_equal(records.messages[2].has_root, 0);
    assert_int_equal(records.messages[3].kind, HF_MESSAGE_ATTESTATION);
    assert_int_equal(records.messages[3].source, 2290);
    assert_int_equal(records.messages[3].target, 3007);
    test_records_free(&records);
}

typedef struct bad_case {
    const char *text;
    const char *words; /* what the sentence must say */
} bad_case;

static const bad_case bad_cases[] = {
    {"", "line"},
    {"{", "line 1"},
    {"[]", "not a JSON object"},
    {"{}", "metadata"},
    {"{\"metadata\":{}}", "interchange_format_version"},
    {"{\"metadata\":{\"interchange_format_version\":5}}", "interchange_format_version"},
    {"{\"metadata\":{\"interchange_format_version\":\"4\"}}", "only version 5"},
    {"{\"metadata\":{\"interchange_format_version\":\"5\"}}", "genesis_validators_root"},
    {"{\"metadata\":{\"interchange_format_version\":\"5\",\"genesis_validators_root\":\"0x00\"}}",
     "not 32 bytes"},
    {"{\"metadata\":{\"interchange_format_version\":\"5\",\"genesis_validators_root\":"
     "\"0x0807070707070707070707070707070707070707070707070707070707070707\"}}",
     "another network"},
    {"{" META "}", "data: missing"},
    {"{" META ",\"data\":{}}", "data: missing, or not an array"},
    {"{" META ",\"data\":[1]}", "data[0]: not an object"},
    {"{" META ",\"data\":[{}]}", "data[0].pubkey: missing"},
    {"{" META ",\"data\":[{\"pubkey\":\"0x01\"}]}", "data[0].pubkey: not 48 bytes"},
    {"{" META ",\"data\":[{\"pubkey\":\"" KEY "\"}]}", "data[0].signed_blocks: missing"},
    {"{" META ",\"data\":[{\"pubkey\":\"" KEY "\",\"signed_blocks\":[]}]}",
     "data[0].signed_attestations: missing"},
    {"{" META ",\"data\":[{\"pubkey\":\"" KEY "\",\"signed_blocks\":{}}]}",
     "data[0].signed_blocks: not an array"},
    {ENTRY("7", ""), "data[0].signed_blocks[0]: not an object"},
    {ENTRY("{}", ""), "data[0].signed_blocks[0].slot: missing"},
    {ENTRY("{\"slot\":\"1\"},{\"slot\":\"-1\"}", ""), "data[0].signed_blocks[1].slot: not a"},
    {ENTRY("{\"slot\":-1}", ""), "slot: not a decimal"},
    {ENTRY("{\"slot\":\"01\"}", ""), "slot: not a decimal"},
    {ENTRY("{\"slot\":\"0x1\"}", ""), "slot: not a decimal"},
    {ENTRY("{\"slot\":1.5}", ""), "slot: not a decimal"},
    {ENTRY("{\"slot\":\"\"}", ""), "slot: not a decimal"},
    {ENTRY("{\"slot\":\"9223372036854775808\"}", ""), "slot: above"},
    {ENTRY("{\"slot\":\"18446744073709551616\"}", ""), "slot: not a decimal"},
    {ENTRY("{\"slot\":\"1\",\"signing_root\":\"0x12\"}", ""), "signing_root: not 32 bytes"},
    {ENTRY("{\"slot\":\"1\",\"signing_root\":7}", ""), "signing_root: not 32 bytes"},
    {ENTRY("{\"slot\":\"1\",\"slot\":\"2\"}", ""), "duplicate"},
    {ENTRY("", "{\"source_epoch\":\"1\"}"), "data[0].signed_attestations[0].target_epoch: missing"},
    {ENTRY("", "{\"target_epoch\":\"1\"}"), "source_epoch: missing"},
    {ENTRY("{\"slot\":\"1\"}", "{\"source_epoch\":\"1\",\"target_epoch\":\"x\"}"),
     "data[0].signed_attestations[0].target_epoch"},
    {ENTRY("", "") "x", "line"},
};

/* Wrong anywhere: nothing is handed on, and the sentence names the place. */
static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(bad_cases); i++) {
        hf_error err = {0};
        test_records records = {0};
        assert_code(parse(bad_cases[i].text, &records, &err), HF_INVALID_INPUT);
        assert_int_equal(records.count, 0);
        if (strstr(err.msg, bad_cases[i].words) == NULL) {
            fail_msg("case %zu says \"%s\" and not \"%s\"", i, err.msg, bad_cases[i].words);
        }
    }
}

/* Every prefix of a good document is refused, and read within its bounds. */
static void test_cut_short(void **state)
{
    (void)state;
    const char *text = ENTRY("{\"slot\":\"1\"}", "{\"source_epoch\":\"1\",\"target_epoch\":\"2\"}");
    for (size_t len = 0; len < strlen(text); len++) {
        hf_error err;
        test_records records = {0};
        hf_status st =
            hf_interchange_parse(hf_bytes_from(text, len), expected_root, gather, &records, &err);
        assert_code(st, HF_INVALID_INPUT);
        assert_int_equal(records.count, 0);
    }
}

static hf_status give_up(void *context, const hf_message *messages, size_t n, hf_error *err)
{
    (void)messages;
    (void)n;
    (*(int *)context)++;
    return hf_fail(err, HF_UNAVAILABLE, "no more");
}

static void test_sink_fails(void **state)
{
    (void)state;
    hf_error err;
    int calls = 0;
    const char *text = ENTRY("{\"slot\":\"1\"}", "");
    hf_status st = hf_interchange_parse(hf_bytes_from(text, strlen(text)), expected_root, give_up,
                                        &calls, &err);
    assert_code(st, HF_UNAVAILABLE);
    assert_string_equal(err.msg, "no more");
    assert_int_equal(calls, 1);
}

static void write_all(const test_records *records, hf_buf *out)
{
    hf_interchange_writer *writer;
    assert_code(hf_interchange_writer_new(expected_root, out, &writer), HF_OK);
    for (size_t i = 0; i < records->count; i++) {
        assert_code(hf_interchange_writer_add(writer, &records->messages[i]), HF_OK);
    }
    assert_code(hf_interchange_writer_finish(writer), HF_OK);
    hf_interchange_writer_free(writer);
}

/* What is written is read as the same records, blocks of a validator before its votes. */
static void test_round_trip(void **state)
{
    (void)state;
    hf_error err;
    test_records out = {0};
    test_records in = {0};
    for (uint8_t validator = 1; validator <= 3; validator++) {
        for (uint32_t i = 0; i < 100U * validator; i++) {
            hf_message block = test_block(validator, i, i % 3);
            assert_code(test_records_add(&out, &block), HF_OK);
        }
        for (uint32_t i = 0; i < 70; i++) {
            hf_message vote = test_vote(validator, i, HF_PROTECT_MAX_NUMBER - i, i % 2);
            assert_code(test_records_add(&out, &vote), HF_OK);
        }
    }
    hf_buf *text = hf_buf_new(1 << 20);
    assert_non_null(text);
    write_all(&out, text);
    assert_code(parse(hf_buf_text(text), &in, &err), HF_OK);
    assert_int_equal(in.count, out.count);
    assert_memory_equal(in.messages, out.messages, out.count * sizeof *out.messages);
    hf_buf_free(text);
    test_records_free(&in);
    test_records_free(&out);
}

static void test_empty(void **state)
{
    (void)state;
    hf_error err;
    test_records none = {0};
    hf_buf *text = hf_buf_new(4096);
    assert_non_null(text);
    write_all(&none, text);
    assert_code(parse(hf_buf_text(text), &none, &err), HF_OK);
    assert_int_equal(none.count, 0);
    hf_buf_free(text);
}

static void test_writer_bounded(void **state)
{
    (void)state;
    hf_interchange_writer *writer;
    hf_message block = test_block(1, 1, 1);
    hf_buf *text = hf_buf_new(300);
    assert_non_null(text);
    assert_code(hf_interchange_writer_new(expected_root, text, &writer), HF_OK);
    assert_code(hf_interchange_writer_add(writer, &block), HF_LIMIT);
    hf_interchange_writer_free(writer);
    hf_buf_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),           cmocka_unit_test(test_bad),
        cmocka_unit_test(test_cut_short),      cmocka_unit_test(test_sink_fails),
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_empty),
        cmocka_unit_test(test_writer_bounded),
    };
    return cmocka_run_group_tests_name("interchange", tests, NULL, NULL);
}
