/* Every malformed shape gives an error that names the member; and the answers. */
#include "vectors.h"

#define PUBKEY                                                                                     \
    "0xa99a76ed7796f7be22d5b7e85deeb7c5677e88e511e0b337618f8c4eb61349b4bf2d153f649f7b53359fe8b94a" \
    "3"                                                                                            \
    "8e44c"
#define ROOT "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95"
#define SIGNATURE                                                                                  \
    "0xaabb71485056859888ce20097aa734e9c996c1dc294a8e358b9e058297bae3b47c7fa6754f117d93a2156727a0" \
    "9"                                                                                            \
    "bb3be0de6ac6dc18d382c0eae07e27c328b2599594b4d9e127a12bbc1a99a0f31a02e1c7cf463e686469ce0988ac" \
    "3"                                                                                            \
    "ca7fd681"
#define FORK                                                                                       \
    "'fork_info':{'fork':{'previous_version':'0x00000000','current_version':'0x01000000',"         \
    "'epoch':'5'},'genesis_validators_root':'" ROOT "'}"
#define DATA_WITH(slot, root, source)                                                              \
    "{'slot':" slot ",'index':'0','beacon_block_root':" root ",'source':" source                   \
    ",'target':{'epoch':'2','root':'" ROOT "'}}"
#define SOURCE "{'epoch':'1','root':'" ROOT "'}"
#define DATA DATA_WITH("'64'", "'" ROOT "'", SOURCE)
#define ATTEST(data) "{'type':'ATTESTATION'," FORK ",'attestation':" data "}"
#define AGGREGATE(bits, more)                                                                      \
    "{'aggregator_index':'1','selection_proof':'" SIGNATURE                                        \
    "','aggregate':{'aggregation_bits':'" bits "','data':" DATA ",'signature':'" SIGNATURE         \
    "'" more "}}"
#define BLOCK_BODY(slashings, deposits)                                                            \
    "{'randao_reveal':'" SIGNATURE "','eth1_data':{'deposit_root':'" ROOT                          \
    "','deposit_count':'0','block_hash':'" ROOT "'},'graffiti':'" ROOT                             \
    "','proposer_slashings':[],'attester_slashings':" slashings                                    \
    ",'attestations':[],'deposits':" deposits ",'voluntary_exits':[]}"
#define BLOCK_WITH(body)                                                                           \
    "{'slot':'1','proposer_index':'2','parent_root':'" ROOT "','state_root':'" ROOT                \
    "','body':" body "}"
#define PREFERENCES "{'type':'PROPOSER_PREFERENCES'," FORK ",'proposer_preferences':"

/* Single quotes stand for double ones. */
static char *quoted(const char *text)
{
    char *body = strdup(text);
    assert_non_null(body);
    for (char *c = body; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    return body;
}

static hf_status decode(const char *pubkey, const char *text, hf_eth_request *ret, hf_error *err)
{
    char *body = quoted(text);
    hf_status st = hf_codec_decode_sign(hf_eth_network_find("mainnet"), pubkey,
                                        hf_bytes_from(body, strlen(body)), ret, err);
    free(body);
    return st;
}

typedef struct refusal {
    const char *body;
    const char *message;
} refusal;

static const refusal refusals[] = {
    /* the outermost object */
    {"[]", "body: not an object"},
    {"'text'", "body: not an object"},
    {"{}", "type: missing"},
    {"{'type':1}", "type: not a string"},
    {"{'type':null}", "type: not a string"},
    {"{'type':'ATTEST'}", "type: not a known type of request"},
    {"{'type':'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'}",
     "type: not a known type of request"},
    {"{'type':'ATTESTATION','attestation':" DATA "}", "fork_info: missing"},
    {"{'type':'ATTESTATION','fork_info':null,'attestation':" DATA "}", "fork_info: not an object"},
    {"{'type':'ATTESTATION','fork_info':{'genesis_validators_root':'" ROOT "'},'attestation':" DATA
     "}",
     "fork_info.fork: missing"},
    {"{'type':'ATTESTATION','fork_info':{'fork':{'previous_version':'0x00','current_version':"
     "'0x01000000','epoch':'5'},'genesis_validators_root':'" ROOT "'},'attestation':" DATA "}",
     "fork_info.fork.previous_version: not 4 bytes of hex"},
    {"{'type':'ATTESTATION'," FORK "}", "attestation: missing"},
    {"{'type':'ATTESTATION'," FORK ",'signingRoot':'0x12','attestation':" DATA "}",
     "signingRoot: not 32 bytes of hex"},
    {"{'type':'ATTESTATION'," FORK ",'signing_root':7,'attestation':" DATA "}",
     "signing_root: not 32 bytes of hex"},
    {"{'type':'ATTESTATION'," FORK ",'signingRoot':'" ROOT
     "','signing_root':'0x0000000000000000000000000000000000000000000000000000000000000000',"
     "'attestation':" DATA "}",
     "signing_root: differs from signingRoot"},

    /* typed fields */
    {ATTEST("[]"), "attestation: not an object"},
    {ATTEST("null"), "attestation: not an object"},
    {ATTEST("{}"), "attestation.slot: missing"},
    {ATTEST("{'slot':'1','index':'0','beacon_block_root':'" ROOT "','source':" SOURCE "}"),
     "attestation.target: missing"},
    {ATTEST(DATA_WITH("true", "'" ROOT "'", SOURCE)), "attestation.slot: not a decimal number"},
    {ATTEST(DATA_WITH("'0x10'", "'" ROOT "'", SOURCE)), "attestation.slot: not a decimal number"},
    {ATTEST(DATA_WITH("'-1'", "'" ROOT "'", SOURCE)), "attestation.slot: not a decimal number"},
    {ATTEST(DATA_WITH("-1", "'" ROOT "'", SOURCE)), "attestation.slot: not a decimal number"},
    {ATTEST(DATA_WITH("1.0", "'" ROOT "'", SOURCE)), "attestation.slot: not a decimal number"},
    {ATTEST(DATA_WITH("1e3", "'" ROOT "'", SOURCE)), "attestation.slot: not a decimal number"},
    {ATTEST(DATA_WITH("''", "'" ROOT "'", SOURCE)), "attestation.slot: not a decimal number"},
    {ATTEST(DATA_WITH("' 1'", "'" ROOT "'", SOURCE)), "attestation.slot: not a decimal number"},
    {ATTEST(DATA_WITH("'007'", "'" ROOT "'", SOURCE)), "attestation.slot: not a decimal number"},
    {ATTEST(DATA_WITH("'18446744073709551616'", "'" ROOT "'", SOURCE)),
     "attestation.slot: beyond 64 bits"},
    {ATTEST(DATA_WITH("18446744073709551616", "'" ROOT "'", SOURCE)),
     "attestation.slot: beyond 64 bits"},
    {ATTEST(DATA_WITH("'1'", "'0x00'", SOURCE)),
     "attestation.beacon_block_root: not 32 bytes of hex"},
    {ATTEST(DATA_WITH("'1'", "'" ROOT "00'", SOURCE)),
     "attestation.beacon_block_root: not 32 bytes of hex"},
    {ATTEST(DATA_WITH("'1'", "'0xzz363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95'",
                      SOURCE)),
     "attestation.beacon_block_root: not 32 bytes of hex"},
    {ATTEST(DATA_WITH("'1'", "'\\u00304b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f51'",
                      SOURCE)),
     "attestation.beacon_block_root: not 32 bytes of hex"},
    {ATTEST(DATA_WITH("'1'", "'" ROOT "'", "[]")), "attestation.source: not an object"},
    {ATTEST(DATA_WITH("'1'", "'" ROOT "'", "{'epoch':{},'root':'" ROOT "'}")),
     "attestation.source.epoch: not a decimal number"},
    {ATTEST(DATA_WITH("'1'", "'" ROOT "'", "{'epoch':'1'}")), "attestation.source.root: missing"},
    {ATTEST(DATA_WITH("'1'", "'" ROOT "'", "{'epoch':'1','epoch':'1','root':'" ROOT "'}")),
     "attestation.source.epoch: given twice (byte 371 of the body)"},
    {"{'type':'RANDAO_REVEAL'," FORK ",'randao_reveal':{'epoch':null}}",
     "randao_reveal.epoch: not a decimal number"},
    {"{'type':'AGGREGATION_SLOT'," FORK ",'aggregation_slot':{'Slot':'1'}}",
     "aggregation_slot.slot: missing"},
    {"{'type':'DEPOSIT','deposit':{'pubkey':'" PUBKEY "','withdrawal_credentials':'" ROOT
     "','amount':'1'}}",
     "deposit.genesis_fork_version: missing"},
    {"{'type':'VOLUNTARY_EXIT'," FORK ",'voluntary_exit':{'epoch':'1','validator_index':[]}}",
     "voluntary_exit.validator_index: not a decimal number"},
    {"{'type':'SYNC_COMMITTEE_MESSAGE'," FORK ",'sync_committee_message':{'slot':'1'}}",
     "sync_committee_message.beacon_block_root: missing"},
    {"{'type':'SYNC_COMMITTEE_SELECTION_PROOF'," FORK
     ",'sync_aggregator_selection_data':{'slot':'1'}}",
     "sync_aggregator_selection_data.subcommittee_index: missing"},
    {"{'type':'VALIDATOR_REGISTRATION','validator_registration':{'fee_recipient':'0x00'}}",
     "validator_registration.fee_recipient: not 20 bytes of hex"},

    /* blocks */
    {"{'type':'BLOCK_V2'," FORK ",'beacon_block':[]}", "beacon_block: not an object"},
    {"{'type':'BLOCK_V2'," FORK ",'beacon_block':{'block_header':{}}}",
     "beacon_block.version: missing"},
    {"{'type':'BLOCK_V2'," FORK ",'beacon_block':{'version':4,'block_header':{}}}",
     "beacon_block.version: not a string"},
    {"{'type':'BLOCK_V2'," FORK ",'beacon_block':{'version':'DENEB','block_header':{}}}",
     "beacon_block.block_header.slot: missing"},
    {"{'type':'BLOCK_V2'," FORK ",'beacon_block':{'version':'DENEB','block':{}}}",
     "beacon_block.block_header: missing"},
    {"{'type':'BLOCK_V2'," FORK ",'beacon_block':{'version':'ALTAIR'}}",
     "beacon_block.block: missing"},
    {"{'type':'BLOCK_V2'," FORK
     ",'beacon_block':{'version':'ALTAIR','block':{},'block_header':{}}}",
     "beacon_block: both a block and a block_header"},
    {"{'type':'BLOCK_V2'," FORK
     ",'beacon_block':{'version':'ALTAIR','block':" BLOCK_WITH(BLOCK_BODY("[]", "[]")) "}}",
     "beacon_block.block.body.sync_aggregate: missing"},
    {"{'type':'BLOCK'," FORK ",'beacon_block':{}}", "block: missing"},
    {"{'type':'BLOCK'," FORK ",'block':" BLOCK_WITH("7") "}", "block.body: not an object"},
    {"{'type':'BLOCK'," FORK ",'block':" BLOCK_WITH("{}") "}", "block.body.randao_reveal: missing"},
    {"{'type':'BLOCK'," FORK ",'block':" BLOCK_WITH(BLOCK_BODY("{}", "[]")) "}",
     "block.body.attester_slashings: not a list"},
    {"{'type':'BLOCK'," FORK ",'block':" BLOCK_WITH(BLOCK_BODY("[1,2,3]", "[]")) "}",
     "block.body.attester_slashings: more than 2 elements"},
    {"{'type':'BLOCK'," FORK ",'block':" BLOCK_WITH(
         BLOCK_BODY("[{'attestation_1':{'attesting_indices':['1','x']}}]", "[]")) "}",
     "block.body.attester_slashings[0].attestation_1.attesting_indices[1]: not a decimal number"},
    {"{'type':'BLOCK'," FORK
     ",'block':" BLOCK_WITH(BLOCK_BODY("[]", "[{'proof':['" ROOT "']}]")) "}",
     "block.body.deposits[0].proof: not 33 elements"},

    /* aggregates */
    {"{'type':'AGGREGATE_AND_PROOF'," FORK ",'aggregate_and_proof':{}}",
     "aggregate_and_proof.aggregate: missing"},
    {"{'type':'AGGREGATE_AND_PROOF'," FORK ",'aggregate_and_proof':7}",
     "aggregate_and_proof.aggregate: missing"},
    {"{'type':'AGGREGATE_AND_PROOF_V2'," FORK ",'aggregate_and_proof':{'version':'DENEB'}}",
     "aggregate_and_proof.data: missing"},
    {"{'type':'AGGREGATE_AND_PROOF_V2'," FORK
     ",'aggregate_and_proof':{'version':'DENEB','data':[]}}",
     "aggregate_and_proof.data: not an object"},
    {"{'type':'AGGREGATE_AND_PROOF_V2'," FORK ",'aggregate_and_proof':{'version':1,'data':{}}}",
     "aggregate_and_proof.version: not a string"},
    {"{'type':'AGGREGATE_AND_PROOF_V2'," FORK
     ",'aggregate_and_proof':{'version':'ELECTRA','data':" AGGREGATE("0x01", "") "}}",
     "aggregate_and_proof.data.aggregate.committee_bits: missing"},
    {"{'type':'AGGREGATE_AND_PROOF_V2'," FORK
     ",'aggregate_and_proof':{'version':'ELECTRA','data':" AGGREGATE(
         "0x01", ",'committee_bits':'0x01'") "}}",
     "aggregate_and_proof.data.aggregate.committee_bits: not 8 bytes of hex"},
    {"{'type':'AGGREGATE_AND_PROOF'," FORK ",'aggregate_and_proof':" AGGREGATE("0x", "") "}",
     "aggregate_and_proof.aggregate.aggregation_bits: a bitlist without the bit that ends it"},
    {"{'type':'AGGREGATE_AND_PROOF'," FORK ",'aggregate_and_proof':" AGGREGATE("0x0100", "") "}",
     "aggregate_and_proof.aggregate.aggregation_bits: a bitlist without the bit that ends it"},
    {"{'type':'AGGREGATE_AND_PROOF'," FORK ",'aggregate_and_proof':" AGGREGATE("0x011", "") "}",
     "aggregate_and_proof.aggregate.aggregation_bits: hex with an odd number of digits"},
    {"{'type':'AGGREGATE_AND_PROOF'," FORK ",'aggregate_and_proof':" AGGREGATE("0xg101", "") "}",
     "aggregate_and_proof.aggregate.aggregation_bits: not hex"},

    /* gloas */
    {"{'type':'PAYLOAD_ATTESTATION'," FORK "}", "payload_attestation_message: missing"},
    {"{'type':'PAYLOAD_ATTESTATION'," FORK ",'payload_attestation_data':{'beacon_block_root':'" ROOT
     "','slot':'1','payload_present':1,'blob_data_available':true}}",
     "payload_attestation_data.payload_present: neither true nor false"},
    {PREFERENCES "{'version':'GLOAS','data':{'dependent_root':'" ROOT "'}}}",
     "proposer_preferences.data.proposal_slot: missing"},
    {PREFERENCES "{'dependent_root':'" ROOT "'}}", "proposer_preferences.proposal_slot: missing"},
    {"{'type':'BUILDER_REQUEST_AUTH','builder_request_auth':{'data':'0x1','slot':'1'}}",
     "builder_request_auth.data: hex with an odd number of digits"},
    {"{'type':'BUILDER_REQUEST_AUTH','builder_request_auth':{'data':'0x','slot':[]}}",
     "builder_request_auth.slot: not a decimal number"},
    {"{'type':'BUILDER_REQUEST_AUTH','builder_request_auth':{'version':'GLOAS','data':'0x'}}",
     "builder_request_auth.data: not an object"},
    {"{'type':'EXECUTION_PAYLOAD_ENVELOPE'," FORK ",'execution_payload_envelope':{'payload':{}}}",
     "execution_payload_envelope.payload.parent_hash: missing"},
    {"{'type':'EXECUTION_PAYLOAD_BID'," FORK ",'execution_payload_bid':[1]}",
     "execution_payload_bid: not an object"},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(refusals); i++) {
        hf_error err = {0};
        hf_eth_request request;
        hf_eth_request before;
        memset(&request, 0x5a, sizeof request);
        memcpy(&before, &request, sizeof request);
        hf_status st = decode(PUBKEY, refusals[i].body, &request, &err);
        if (st.code != HF_INVALID_INPUT || strcmp(err.msg, refusals[i].message) != 0) {
            fail_msg("%s\n  gave: %s\n  not:  %s", refusals[i].body,
                     hf_failed(st) ? err.msg : "a request", refusals[i].message);
        }
        assert_memory_equal(&request, &before, sizeof request);
    }
}

static void test_pubkeys(void **state)
{
    (void)state;
    hf_eth_request request;
    hf_error err = {0};
    static const char *const bad[] = {"", "0x", "0x12", (PUBKEY "00"), ("0y" ROOT), ROOT};
    assert_int_equal(decode(PUBKEY, ATTEST(DATA), &request, &err).code, HF_OK);
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        assert_int_equal(decode(bad[i], ATTEST(DATA), &request, &err).code, HF_INVALID_INPUT);
        assert_string_equal(err.msg, "pubkey: not 48 bytes of hex");
    }
}

/* Overlong byte lists and bitlists need bodies too long for a literal. */
static void test_long_lists(void **state)
{
    (void)state;
    static char digits[2 * 20000 + 1];
    static char body[2 * sizeof digits];
    hf_eth_request request;
    hf_error err = {0};
    memset(digits, '1', sizeof digits - 1);

    digits[2 * 4096] = '\0';
    (void)snprintf(
        body, sizeof body,
        "{'type':'BUILDER_REQUEST_AUTH','builder_request_auth':{'data':'0x%s','slot':'1'}}",
        digits);
    assert_int_equal(decode(PUBKEY, body, &request, &err).code, HF_OK);
    digits[2 * 4096] = '1';
    digits[2 * 4097] = '\0';
    (void)snprintf(
        body, sizeof body,
        "{'type':'BUILDER_REQUEST_AUTH','builder_request_auth':{'data':'0x%s','slot':'1'}}",
        digits);
    assert_int_equal(decode(PUBKEY, body, &request, &err).code, HF_INVALID_INPUT);
    assert_string_equal(err.msg, "builder_request_auth.data: more than 4096 bytes");

    /* 2048 bits and the bit that ends them, then one more */
    for (unsigned more = 0; more < 2; more++) {
        memset(digits, '1', 512);
        memcpy(digits + 512, more == 0 ? "01" : "02", 3);
        (void)snprintf(body, sizeof body,
                       "{'type':'AGGREGATE_AND_PROOF'," FORK
                       ",'aggregate_and_proof':" AGGREGATE("%s", "") "}",
                       digits);
        hf_status st = decode(PUBKEY, body, &request, &err);
        assert_int_equal(st.code, more == 0 ? HF_OK : HF_INVALID_INPUT);
    }
    assert_string_equal(err.msg,
                        "aggregate_and_proof.aggregate.aggregation_bits: more than 2048 bits");
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } cases[] = {{"'0'", 0},
                 {"0", 0},
                 {"9223372036854775808", UINT64_C(1) << 63},
                 {"18446744073709551615", UINT64_MAX},
                 {"'18446744073709551615'", UINT64_MAX}};
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        char body[2048];
        hf_eth_request request;
        hf_error err = {0};
        (void)snprintf(body, sizeof body,
                       "{'randao_reveal':{'epoch':%s},'type':'Randao_Reveal'," FORK "}",
                       cases[i].text);
        assert_int_equal(decode(PUBKEY, body, &request, &err).code, HF_OK);
        assert_int_equal(request.operation, HF_OP_RANDAO_REVEAL);
        assert_true(request.fields.randao_epoch == cases[i].value);
        assert_int_equal(request.has_signing_root, 0);
        assert_int_equal(request.fork_info.epoch, 5);
    }
}

/* Nothing of this process's memory may reach the frame. */
static void test_no_leftovers(void **state)
{
    (void)state;
    hf_eth_request request;
    hf_eth_request again;
    hf_error err = {0};
    static const char body[] = "{'randao_reveal':{'epoch':'3'},'type':'RANDAO_REVEAL'," FORK "}";
    memset(&request, 0xff, sizeof request);
    memset(&again, 0, sizeof again);
    assert_int_equal(decode(PUBKEY, body, &request, &err).code, HF_OK);
    assert_int_equal(decode(PUBKEY, body, &again, &err).code, HF_OK);
    assert_memory_equal(&request, &again, sizeof request);
    assert_true(hf_bytes_is_zero((const uint8_t *)&request.fields + 8, sizeof request.fields - 8));
}

static void test_signature_answer(void **state)
{
    (void)state;
    uint8_t signature[HF_BLS_SIGNATURE_BYTES];
    char text[HF_CODEC_SIGNATURE_BYTES];
    test_decode_hex(SIGNATURE, signature, sizeof signature);
    size_t len = hf_codec_write_signature(signature, true, text);
    assert_int_equal(len, strlen(text));
    assert_string_equal(text, "{\"signature\":\"" SIGNATURE "\"}");
    len = hf_codec_write_signature(signature, false, text);
    assert_int_equal(len, strlen(text));
    assert_string_equal(text, SIGNATURE);
}

static void test_error_answer(void **state)
{
    (void)state;
    char text[128];
    size_t len = hf_codec_write_error("type: missing", "MALFORMED", text, sizeof text);
    assert_int_equal(len, strlen(text));
    assert_string_equal(text, "{\"error\":\"type: missing\",\"code\":\"MALFORMED\"}");
    (void)hf_codec_write_error("a \"b\" \\ \n \xc3\xa9", "X", text, sizeof text);
    assert_string_equal(text, "{\"error\":\"a \\\"b\\\" \\\\   ??\",\"code\":\"X\"}");

    char sentence[300];
    memset(sentence, '"', sizeof sentence - 1);
    sentence[sizeof sentence - 1] = '\0';
    for (size_t room = 64; room <= sizeof text; room++) {
        len = hf_codec_write_error(sentence, "MALFORMED", text, room);
        assert_true(len < room && len == strlen(text));
        json_t *value = json_loads(text, 0, NULL);
        assert_string_equal(json_string_value(json_object_get(value, "code")), "MALFORMED");
        assert_true(json_string_length(json_object_get(value, "error")) > 5);
        json_decref(value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_pubkeys),
        cmocka_unit_test(test_long_lists),   cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_no_leftovers), cmocka_unit_test(test_signature_answer),
        cmocka_unit_test(test_error_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
