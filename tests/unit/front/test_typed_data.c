/* Typed data (EIP-712): published digests, and everything wrong with the member named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "front/typed_data.h"

#define VECTORS_MAX (1U << 20)

static hf_status parse(const char *text, size_t len, hf_typed_message *message, hf_error *err)
{
    return hf_typed_data_parse(hf_bytes_from(text, len), message, err);
}

/* The text as a string of JSON, with every escape that it needs. */
static hf_buf *quoted(const char *text, size_t len)
{
    hf_buf *out = hf_buf_new(8 * len + 16);
    assert_non_null(out);
    hf_status st = hf_buf_put(out, "\"", 1);
    for (size_t i = 0; i < len && !hf_failed(st); i++) {
        bool is_special = text[i] == '"' || text[i] == '\\';
        st = i % 7 == 3 && (uint8_t)text[i] < 0x80
                 ? hf_buf_putf(out, "\\u%04x", text[i])
                 : hf_buf_putf(out, "%s%c", is_special ? "\\" : "", text[i]);
    }
    assert_false(hf_failed(st));
    assert_false(hf_failed(hf_buf_put(out, "\"", 1)));
    return out;
}

static void check_line(const char *line, size_t len)
{
    uint8_t wanted[32];
    uint8_t digest[32];
    uint8_t again[32];
    hf_typed_message message;
    hf_json json;
    hf_error err = {HF_OK, ""};
    assert_false(hf_failed(hf_hex_decode(line, 66, wanted, sizeof wanted)));
    if (hf_failed(parse(line + 67, len - 67, &message, &err)) ||
        hf_failed(hf_typed_digest(&message, digest, &err))) {
        fail_msg("%.*s: %s", (int)len, line, err.msg);
    }
    if (!hf_bytes_equal(wanted, digest, sizeof digest)) {
        fail_msg("another digest: %.*s", (int)len, line);
    }
    hf_buf *text = quoted(line + 67, len - 67);
    assert_false(
        hf_failed(hf_json_parse(hf_bytes_from(hf_buf_peek(text), hf_buf_len(text)), &json, &err)));
    assert_false(hf_failed(hf_typed_data_read(&json, 0, &message, &err)));
    assert_false(hf_failed(hf_typed_digest(&message, again, &err)));
    assert_memory_equal(wanted, again, sizeof again);
    hf_json_done(&json);
    hf_buf_free(text);
}

static unsigned check_file(const char *path)
{
    hf_buf *file = NULL;
    hf_error err = {HF_OK, ""};
    unsigned count = 0;
    if (hf_failed(hf_file_read(path, VECTORS_MAX, &file, &err))) {
        fail_msg("%s", err.msg);
    }
    for (const char *line = hf_buf_text(file); *line != '\0';) {
        size_t len = strcspn(line, "\n");
        check_line(line, len);
        line += len + (line[len] == '\n');
        count++;
    }
    hf_buf_free(file);
    return count;
}

static void test_published_digests(void **state)
{
    (void)state;
    assert_int_equal(check_file(HF_TEST_VECTORS "/eip712/ethers.txt"), 1025);
    assert_int_equal(check_file(HF_TEST_VECTORS "/eip712/eth-sig-util.txt"), 45);
}

/* ---- refusals -------------------------------------------------------------------------------- */

#define TYPES(members) "\"types\":{\"EIP712Domain\":[],\"M\":[" members "]}"
#define REST ",\"primaryType\":\"M\",\"domain\":{},\"message\":"
#define ONE(type, value)                                                                           \
    "{" TYPES("{\"name\":\"v\",\"type\":\"" type "\"}") REST "{\"v\":" value "}}"
#define DOMAIN(types, value)                                                                       \
    "{\"types\":{\"EIP712Domain\":[" types "],\"M\":[]},\"primaryType\":\"M\",\"domain\":" value   \
    ",\"message\":{}}"

static const struct {
    const char *text;
    const char *sentence; /* its beginning */
} bad[] = {
    {"", "body: the body is empty"},
    {"[]", "typed data: an object"},
    {"7", "typed data: an object"},
    {"\"{}\"", "typed data: an object"},
    {"{}", "types: an object"},
    {"{\"types\":[]}", "types: an object"},
    {"{\"types\":{}}", "primaryType: the name"},
    {"{\"types\":{},\"primaryType\":7}", "primaryType: the name"},
    {"{\"types\":{},\"primaryType\":\"M\"}", "primaryType: not one of types"},
    {"{\"types\":{\"EIP712Domain\":[]},\"primaryType\":\"EIP712Domain\",\"domain\":{}}",
     "primaryType: a domain alone"},
    {"{\"types\":{\"M\":[]},\"primaryType\":\"M\",\"message\":{}}", "domain: an object"},
    {"{\"types\":{\"M\":[]},\"primaryType\":\"M\",\"domain\":{}}", "message: missing"},
    {"{\"types\":{\"M\":[]},\"primaryType\":\"M\",\"domain\":{},\"message\":[]}",
     "message: not an object"},
    {"{\"types\":{\"M\":[]},\"primaryType\":\"M\",\"domain\":{\"other\":1},\"message\":{}}",
     "domain: has a member"},
    {"{\"types\":{\"M\":7}}", "types.M: a list"},
    {"{\"types\":{\"M\":[7]}}", "types.M: a member is"},
    {"{\"types\":{\"M\":[{\"name\":\"v\"}]}}", "types.M: a member is"},
    {"{\"types\":{\"M\":[{\"name\":\"v w\",\"type\":\"bool\"}]}}", "types.M: the name of a member"},
    {"{\"types\":{\"M\":[{\"name\":\"v\",\"type\":\"bool\"},{\"name\":\"v\",\"type\":\"bool\"}]}}",
     "types.M: has two members"},
    {"{\"types\":{\"uint8\":[]}}", "types: the name of a struct"},
    {"{\"types\":{\"bytes33\":[]},\"primaryType\":\"bytes33\",\"domain\":{},\"message\":{},\"x\":{"
     "\"x\":{}}}",
     NULL}, /* an odd name, but no type's */
    {"{\"types\":{\"a b\":[]}}", "types: the name of a struct"},
    {ONE("Q", "1"), "types: \"Q\" is no type"},
    {ONE("uint7", "1"), "types: \"uint7\" is no type"},
    {ONE("uint264", "1"), "types: \"uint264\" is no type"},
    {ONE("uint08", "1"), "types: \"uint08\" is no type"},
    {ONE("int0", "1"), "types: \"int0\" is no type"},
    {ONE("bytes0", "1"), "types: \"bytes0\" is no type"},
    {ONE("bytes33", "1"), "types: \"bytes33\" is no type"},
    {ONE("[]", "1"), "types: \"[]\" is no type"},
    {ONE("uint8[", "1"), "types: \"uint8[\" is no type"},
    {ONE("uint8]", "1"), "types: \"uint8]\" is no type"},
    {ONE("uint8[x]", "1"), "types: \"uint8[x]\" is no type"},
    {ONE("uint8[-1]", "1"), "types: \"uint8[-1]\" is no type"},
    {ONE("uint8", "null"), "message.v: missing"},
    {ONE("uint8[]", "null"), "message.v: missing"},
    {"{" TYPES("{\"name\":\"v\",\"type\":\"uint8\"}") REST "{}}", "message.v: missing"},
    {ONE("uint8", "256"), "message.v: out of the range of uint8"},
    {ONE("uint8", "-1"), "message.v: out of the range of uint8"},
    {ONE("uint8", "\"-0x1\""), "message.v: out of the range of uint8"},
    {ONE("uint8", "1.0"), "message.v: not an integer"},
    {ONE("uint8", "1e1"), "message.v: not an integer"},
    {ONE("uint8", "\"\""), "message.v: not an integer"},
    {ONE("uint8", "\"0x\""), "message.v: not an integer"},
    {ONE("uint8", "\"-\""), "message.v: not an integer"},
    {ONE("uint8", "\"+1\""), "message.v: not an integer"},
    {ONE("uint8", "\" 1\""), "message.v: not an integer"},
    {ONE("uint8", "\"1f\""), "message.v: not an integer"},
    {ONE("uint8", "true"), "message.v: not an integer"},
    {ONE("int8", "128"), "message.v: out of the range of int8"},
    {ONE("int8", "-129"), "message.v: out of the range of int8"},
    {ONE("int256", "57896044618658097711785492504343953926634992332820282019728792003956564819968"),
     "message.v: out of the range of int256"},
    {ONE("int256",
         "-57896044618658097711785492504343953926634992332820282019728792003956564819969"),
     "message.v: out of the range of int256"},
    {ONE("uint256",
         "115792089237316195423570985008687907853269984665640564039457584007913129639936"),
     "message.v: not an integer"},
    {ONE("bool", "1"), "message.v: neither true nor false"},
    {ONE("bool", "\"true\""), "message.v: neither true nor false"},
    {ONE("string", "1"), "message.v: not a string"},
    {ONE("string", "\"\\ud800\""), "message.v: half of a surrogate pair"},
    {ONE("string", "\"\\udc00\\ud800\""), "message.v: half of a surrogate pair"},
    {ONE("string", "\"\\ud800\\u0041\""), "message.v: half of a surrogate pair"},
    {ONE("bytes", "\"00\""), "message.v: not 0x"},
    {ONE("bytes", "\"0x0\""), "message.v: not 0x"},
    {ONE("bytes", "\"0xgg\""), "message.v: not 0x"},
    {ONE("bytes", "\"\""), "message.v: not 0x"},
    {ONE("bytes", "0"), "message.v: not 0x"},
    {ONE("bytes4", "\"0x010203\""), "message.v: not 0x and 8"},
    {ONE("bytes4", "\"0x0102030405\""), "message.v: not 0x and 8"},
    {ONE("address", "\"0x01\""), "message.v: not an address"},
    {ONE("address", "\"CD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826\""), "message.v: not an address"},
    {ONE("address", "\"0xcD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826\""), "message.v: its checksum"},
    {ONE("uint8[]", "{}"), "message.v: not an array"},
    {ONE("uint8[2]", "[1]"), "message.v: an array of another length"},
    {ONE("uint8[2][]", "[[1,2],[3,4,5]]"), "message.v[1]: an array of another length"},
    {ONE("uint8[][]", "[[1,2],[3,400]]"), "message.v[1][1]: out of the range"},
    {ONE("M", "7"), "message.v: not an object"},
    {ONE("M", "{\"v\":{\"v\":7}}"), "message.v.v.v: not an object"},
    {DOMAIN("{\"name\":\"name\",\"type\":\"string\"}", "{}"), "domain.name: missing"},
    {DOMAIN("{\"name\":\"name\",\"type\":\"bytes32\"}", "{}"), "domain: types.EIP712Domain has"},
    {DOMAIN("{\"name\":\"more\",\"type\":\"string\"}", "{}"), "domain: types.EIP712Domain has"},
    {DOMAIN("{\"name\":\"chainId\",\"type\":\"uint256\"}", "{\"chainId\":\"-1\"}"),
     "domain.chainId: out of the range"},
    {DOMAIN("{\"name\":\"chainId\",\"type\":\"uint256\"}",
            "{\"chainId\":1,\"verifyingContract\":\"0x\"}"),
     "domain: has a member that"},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        hf_typed_message message;
        hf_error err = {HF_OK, ""};
        hf_status st = parse(bad[i].text, strlen(bad[i].text), &message, &err);
        if (bad[i].sentence == NULL) {
            assert_false(hf_failed(st));
            continue;
        }
        bool fits = strncmp(err.msg, bad[i].sentence, strlen(bad[i].sentence)) == 0;
        if (!hf_failed(st) || !fits) {
            fail_msg("%s: \"%s\", wanted \"%s\"", bad[i].text, err.msg, bad[i].sentence);
        }
    }
}

/* ---- what is not signed, and what is hostile ------------------------------------------------- */

static void digest_of(const char *text, uint8_t ret_digest[32])
{
    hf_typed_message message;
    hf_error err = {HF_OK, ""};
    if (hf_failed(parse(text, strlen(text), &message, &err)) ||
        hf_failed(hf_typed_digest(&message, ret_digest, &err))) {
        fail_msg("%s: %s", text, err.msg);
    }
}

static void test_members_without_a_type_are_not_signed(void **state)
{
    (void)state;
    uint8_t plain[32];
    uint8_t more[32];
    digest_of(ONE("uint8", "7"), plain);
    digest_of("{\"more\":[1]," TYPES("{\"name\":\"v\",\"type\":\"uint8\"}") REST
              "{\"v\":\"0x07\",\"w\":{\"v\":1e9}}}",
              more);
    assert_memory_equal(plain, more, sizeof plain);
    digest_of("{" TYPES("{\"name\":\"v\",\"type\":\"uint16\"}") REST "{\"v\":7}}", more);
    assert_memory_not_equal(plain, more, sizeof plain);
}

/* A domain without its type has what it has, in the standard's order. */
static void test_domain_without_its_type(void **state)
{
    (void)state;
    uint8_t told[32];
    uint8_t derived[32];
    digest_of(DOMAIN("{\"name\":\"version\",\"type\":\"string\"},{\"name\":\"chainId\",\"type\":"
                     "\"uint256\"}",
                     "{\"chainId\":1,\"version\":\"2\"}"),
              told);
    digest_of("{\"types\":{\"M\":[]},\"primaryType\":\"M\",\"domain\":{\"chainId\":\"0x1\","
              "\"version\":\"2\",\"salt\":null},\"message\":{}}",
              derived);
    assert_memory_equal(told, derived, sizeof told);
}

static hf_buf *repeated(const char *before, const char *part, size_t count, const char *behind)
{
    hf_buf *out = hf_buf_new(1U << 22);
    assert_non_null(out);
    hf_status st = hf_buf_putf(out, "%s", before);
    for (size_t i = 0; i < count && !hf_failed(st); i++) {
        st = hf_buf_putf(out, "%s%s", i == 0 || part[0] == '[' || part[0] == '{' ? "" : ",", part);
    }
    assert_false(hf_failed(st));
    assert_false(hf_failed(hf_buf_putf(out, "%s", behind)));
    return out;
}

static void expect(hf_buf *take_text, const char *sentence)
{
    hf_typed_message message;
    hf_error err = {HF_OK, ""};
    hf_status st = parse(hf_buf_text(take_text), hf_buf_len(take_text), &message, &err);
    assert_int_equal(hf_failed(st), sentence != NULL);
    if (sentence != NULL && strstr(err.msg, sentence) == NULL) {
        fail_msg("\"%s\", wanted \"%s\"", err.msg, sentence);
    }
    hf_buf_free(take_text);
}

static void test_hostile_shapes(void **state)
{
    (void)state;
#define BEGIN(type) "{" TYPES("{\"name\":\"v\",\"type\":\"" type "\"}") REST
    expect(repeated(BEGIN("M") "{\"v\":", "{\"v\":", 30, ""), "nested deeper");
    expect(repeated(BEGIN("uint8[]") "{\"v\":[0,", "1", 60000, "]}}"), NULL);
    expect(repeated(BEGIN("uint8[]") "{\"v\":[0,", "1", 70000, "]}}"), "more values");
    /* Many objects that lack everything: 64 words for three bytes of text. */
    hf_buf *types =
        repeated("{\"types\":{\"EIP712Domain\":[],\"E\":[],\"M\":[{\"name\":\"v\",\"type\":"
                 "\"L[]\"}],\"L\":[{\"name\":\"a\",\"type\":\"E\"}",
                 "{\"name\":\"b\",\"type\":\"E\"}", 0, "");
    for (unsigned i = 0; i < 63; i++) {
        assert_false(hf_failed(hf_buf_putf(types, ",{\"name\":\"m%u\",\"type\":\"E\"}", i)));
    }
    assert_false(hf_failed(hf_buf_putf(types, "]}" REST "{\"v\":[{}")));
    for (unsigned i = 0; i < 20000; i++) {
        assert_false(hf_failed(hf_buf_putf(types, ",{}")));
    }
    assert_false(hf_failed(hf_buf_putf(types, "]}}")));
    expect(types, "more values");
    /* The types of all structs in a circle. */
    hf_buf *circle = repeated("{\"types\":{\"EIP712Domain\":[]", "", 0, "");
    for (unsigned i = 0; i < 60; i++) {
        assert_false(hf_failed(hf_buf_putf(
            circle, ",\"M%u\":[{\"name\":\"n\",\"type\":\"M%u[][3]\"}]", i, (i + 1) % 60)));
    }
    assert_false(hf_failed(hf_buf_putf(circle, "},\"primaryType\":\"M0\",\"domain\":{},\"message\":"
                                               "{\"n\":[[],[{\"n\":[[],[],[]]}],[]]}}")));
    expect(circle, NULL);
#undef BEGIN
}

/* ---- votes ----------------------------------------------------------------------------------- */

#define VOTE_DOMAIN(name)                                                                          \
    "\"domain\":{\"name\":\"" name "\",\"version\":\"1\",\"chainId\":1,\"verifyingContract\":"     \
    "\"0x00000000000000000000000000000000000000aa\"}"
#define VOTE(slot)                                                                                 \
    "{\"types\":{\"Vote\":[{\"name\":\"votes\",\"type\":\"bytes\"},{\"name\":\"slot\",\"type\":"   \
    "\"uint256\"}]},\"primaryType\":\"Vote\"," VOTE_DOMAIN(                                        \
        "TallySlashingProposer") ",\"message\":{\"votes\":\"0x01\",\"slot\":" slot "}}"

static void test_votes_come_with_their_slot(void **state)
{
    (void)state;
    static const uint8_t validator[20] = {7};
    hf_typed_message message;
    hf_duty duty;
    hf_error err = {HF_OK, ""};
    assert_false(hf_failed(parse(VOTE("\"77\""), strlen(VOTE("\"77\"")), &message, &err)));
    assert_int_equal(message.kind, HF_TYPED_AZTEC_VOTE);
    assert_true(hf_typed_is_duty(&message));
    hf_typed_duty(&message, validator, &duty);
    assert_int_equal(duty.slot, 77);
    assert_int_equal(duty.type, HF_DUTY_SLASHING_VOTE);
    assert_int_equal(duty.block_index, HF_DUTY_NO_INDEX);
    assert_int_equal(duty.rollup[19], 0xaa);
    assert_memory_equal(duty.validator, validator, sizeof validator);
    const char *late = VOTE("\"0x8000000000000000\"");
    assert_true(hf_failed(parse(late, strlen(late), &message, &err)));
    assert_string_equal(err.msg, "message.slot: beyond 2^63 - 1");
}

/* A message of such a domain in another form has no slot that the keeper knows. */
static void test_other_messages_of_their_domains_are_denied(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"types\":{\"M\":[]},\"primaryType\":\"M\"," VOTE_DOMAIN("EmpireBase") ",\"message\":{}}",
        "{\"types\":{\"Vote\":[{\"name\":\"slot\",\"type\":\"uint256\"},{\"name\":\"votes\","
        "\"type\":\"bytes\"}]},\"primaryType\":\"Vote\"," VOTE_DOMAIN(
            "TallySlashingProposer") ",\"message\":{\"votes\":\"0x01\",\"slot\":1}}",
        "{\"types\":{\"Vote\":[{\"name\":\"votes\",\"type\":\"bytes\"},{\"name\":\"slot\",\"type\":"
        "\"uint256\"}]},\"primaryType\":\"Vote\"," VOTE_DOMAIN(
            "EmpireBase") ",\"message\":{\"votes\":\"0x01\",\"slot\":1}}",
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(texts); i++) {
        hf_typed_message message;
        hf_error err = {HF_OK, ""};
        assert_int_equal(parse(texts[i], strlen(texts[i]), &message, &err).code, HF_DENIED);
    }
}

/* What a captured front could send instead. */
static void test_the_keeper_believes_no_kind(void **state)
{
    (void)state;
    hf_typed_message vote;
    uint8_t digest[32];
    hf_error err = {HF_OK, ""};
    assert_false(hf_failed(parse(VOTE("1"), strlen(VOTE("1")), &vote, &err)));
    hf_typed_message m = vote;
    m.kind = HF_TYPED_OTHER;
    assert_int_equal(hf_typed_digest(&m, digest, &err).code, HF_DENIED);
    m.kind = HF_TYPED_AZTEC_SIGNAL;
    assert_int_equal(hf_typed_digest(&m, digest, &err).code, HF_INVALID_INPUT);
    m.kind = HF_TYPED_KIND_COUNT;
    assert_int_equal(hf_typed_digest(&m, digest, &err).code, HF_INVALID_INPUT);
    m = vote;
    m.slot = UINT64_MAX;
    assert_int_equal(hf_typed_digest(&m, digest, &err).code, HF_INVALID_INPUT);
    m = vote;
    m.domain.field_count = 2; /* name and version */
    assert_int_equal(hf_typed_digest(&m, digest, &err).code, HF_DENIED);
    m = vote;
    m.domain.fields[1] = HF_EIP712_CHAIN_ID; /* twice */
    assert_int_equal(hf_typed_digest(&m, digest, &err).code, HF_INVALID_INPUT);
    m.domain.fields[1] = HF_EIP712_FIELD_COUNT;
    assert_int_equal(hf_typed_digest(&m, digest, &err).code, HF_INVALID_INPUT);
    m = vote;
    m.domain.field_count = 200;
    m.domain.name_hash[0] ^= 1;
    m.kind = HF_TYPED_OTHER;
    assert_int_equal(hf_typed_digest(&m, digest, &err).code, HF_INVALID_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_digests),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_members_without_a_type_are_not_signed),
        cmocka_unit_test(test_domain_without_its_type),
        cmocka_unit_test(test_hostile_shapes),
        cmocka_unit_test(test_votes_come_with_their_slot),
        cmocka_unit_test(test_other_messages_of_their_domains_are_denied),
        cmocka_unit_test(test_the_keeper_believes_no_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
