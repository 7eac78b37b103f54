/* Web3Signer's key files: every good shape, and every bad one with its message. */
#include "fixture.h"

#define HEX64 "25295f0d1d592a90b333e26e85149708208e9f8e8bc18f6c77bd62f8ad7a6866"

static hf_status parse(const char *yaml, size_t n, hf_key_document *doc, hf_error *err)
{
    return hf_key_file_parse(hf_bytes_from(yaml, strlen(yaml)), n, "/keys", doc, err);
}

static void assert_raw(const char *yaml, size_t n)
{
    hf_key_document doc;
    hf_error err = {HF_OK, ""};
    uint8_t expected[HF_BLS_SECRET_BYTES];
    assert_false(hf_failed(hf_hex_decode(HEX64, 64, expected, sizeof expected)));
    if (hf_failed(parse(yaml, n, &doc, &err))) {
        fail_msg("%s: %s", yaml, err.msg);
    }
    assert_int_equal(doc.type, HF_KEY_DOCUMENT_RAW);
    assert_memory_equal(doc.secret, expected, sizeof expected);
}

static void test_raw_keys(void **state)
{
    (void)state;
    assert_raw("type: file-raw\nkeyType: BLS\nprivateKey: " HEX64 "\n", 0);
    assert_raw("type: \"file-raw\"\nkeyType: \"BLS\"\nprivateKey: \"0x" HEX64 "\"", 0);
    assert_raw("type: file-raw\nprivateKey: 0x" HEX64 "\n", 0); /* BLS unless said otherwise */
    assert_raw("--- {type: file-raw, keyType: bls, privateKey: '" HEX64 "'}\n", 0);
    assert_raw("\xef\xbb\xbftype: file-raw\nprivateKey: " HEX64 "\n", 0);
    assert_raw("%YAML 1.1\n---\r\ntype: file-raw\r\nprivateKey: " HEX64 "\r\n...\r\n", 0);
    assert_raw("# a comment\n---\n---\ntype: x\n---\n\ntype: file-raw\nprivateKey: " HEX64 "\n", 1);
}

static void test_keystores(void **state)
{
    hf_key_document doc;
    (void)state;
    assert_false(hf_failed(parse("type: file-keystore\nkeyType: BLS\nkeystoreFile: a/b.json\n"
                                 "keystorePasswordFile: ../pw\n",
                                 0, &doc, NULL)));
    assert_int_equal(doc.type, HF_KEY_DOCUMENT_KEYSTORE);
    assert_string_equal(doc.keystore_path, "/keys/a/b.json");
    assert_string_equal(doc.password_path, "/keys/../pw");
    assert_false(hf_failed(parse("keystorePasswordFile: /p\nkeystoreFile: /k.json\n"
                                 "type: file-keystore",
                                 0, &doc, NULL)));
    assert_string_equal(doc.keystore_path, "/k.json");
    assert_string_equal(doc.password_path, "/p");
}

static void test_key_types(void **state)
{
    hf_key_document doc;
    (void)state;
    assert_false(hf_failed(
        parse("type: file-raw\nkeyType: SECP256K1\nprivateKey: " HEX64 "\n", 0, &doc, NULL)));
    assert_int_equal(doc.key_type, HF_KEY_TYPE_SECP256K1);
    assert_false(hf_failed(parse("type: file-keystore\nkeyType: secp256k1\nkeystoreFile: v3.json\n"
                                 "keystorePasswordFile: pw\n",
                                 0, &doc, NULL)));
    assert_int_equal(doc.key_type, HF_KEY_TYPE_SECP256K1);
    assert_int_equal(doc.type, HF_KEY_DOCUMENT_KEYSTORE);
    assert_false(hf_failed(parse("type: file-raw\nprivateKey: " HEX64 "\n", 0, &doc, NULL)));
    assert_int_equal(doc.key_type, HF_KEY_TYPE_BLS);
}

/* Left to holdfast-hsm, whatever else is in them. */
static void test_of_servers(void **state)
{
    static const char *const yamls[] = {
        "type: hashicorp\nserverHost: v\nx: {y: [z]}\n",
        "type: azure-secret\n",
        "type: aws-secret\nkeyType: none\n",
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(yamls); i++) {
        hf_key_document doc = {.type = HF_KEY_DOCUMENT_RAW};
        assert_false(hf_failed(parse(yamls[i], 0, &doc, NULL)));
        assert_int_equal(doc.type, HF_KEY_DOCUMENT_OF_SERVER);
    }
}

static void test_counting(void **state)
{
    static const struct {
        const char *yaml;
        size_t count;
    } cases[] = {
        {"", 0},
        {"\n# only a comment\n", 0},
        {"---\n...\n---\n", 0},
        {"a: b", 1},
        {"---\na: b\n---\nc: d\n", 2},
        {"a: b\n...\n# between\n---\nc: d\n", 2},
        {"a: |\n  ---\n  text\n", 1},     /* indented: part of the text */
        {"---a: b\n----\n", 1},           /* no markers */
        {"--- a\n---\tb\n---\r\nc\n", 3}, /* content on the marker's line */
        {"%YAML 1.2\n---\na: b\n", 1},
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        const char *yaml = cases[i].yaml;
        if (hf_key_file_count_documents(hf_bytes_from(yaml, strlen(yaml))) != cases[i].count) {
            fail_msg("case %zu: not %zu documents", i, cases[i].count);
        }
    }
}

static void test_errors(void **state)
{
#define RAW "type: file-raw\nprivateKey: " HEX64 "\n"
#define STORE "type: file-keystore\nkeystoreFile: a\nkeystorePasswordFile: b\n"
    static const struct {
        const char *yaml;
        hf_code code;
        const char *message;
    } cases[] = {
        {"", HF_NOT_FOUND, "the file holds no key"},
        {"keyType: BLS\n", HF_INVALID_INPUT, "document at line 1: type is missing"},
        {"type: aws-kms\nx: {y: [z]}\n", HF_USAGE,
         "type aws-kms is not read from key files: make it an entry of signing_keys"},
        {"type: azure-key\n", HF_USAGE, "type azure-key is not supported in this version"},
        {"type: file-raw\ntoken: t\nprivateKey: " HEX64 "\n", HF_INVALID_INPUT,
         "token does not belong to type file-raw"},
        {"type: 0xdeadbeef\n", HF_USAGE, "type (unprintable) is not supported in this version"},
        {"type: file-raw\nkeyType: ED25519\nprivateKey: " HEX64 "\n", HF_USAGE,
         "keyType ED25519 is not supported in this version"},
        {"type: file-raw\n", HF_INVALID_INPUT, "privateKey is missing"},
        {"type: file-raw\nprivateKey:\n", HF_INVALID_INPUT, "line 2: privateKey is empty"},
        {"type: file-raw\nprivateKey: [1]\n", HF_INVALID_INPUT, "line 2: privateKey must be text"},
        {"type: file-raw\nprivateKey: 12\n", HF_INVALID_INPUT, "privateKey is not 64 hex digits"},
        {"type: file-raw\nprivateKey: " HEX64 "00\n", HF_INVALID_INPUT,
         "privateKey is not 64 hex digits"},
        {"type: file-raw\nprivateKey: g" HEX64 "\n", HF_INVALID_INPUT,
         "privateKey is not 64 hex digits"},
        {RAW "privateKey: " HEX64 "\n", HF_INVALID_INPUT, "line 3: privateKey is given twice"},
        {RAW "keystoreFile: a\n", HF_INVALID_INPUT,
         "keystoreFile does not belong to type file-raw"},
        {RAW "keystorePasswordFile: a\n", HF_INVALID_INPUT,
         "keystorePasswordFile does not belong to type file-raw"},
        {STORE "privateKey: " HEX64 "\n", HF_INVALID_INPUT,
         "privateKey does not belong to type file-keystore"},
        {"type: file-keystore\nkeystoreFile: a\n", HF_INVALID_INPUT,
         "keystorePasswordFile is missing"},
        {"type: file-keystore\nkeystorePasswordFile: a\n", HF_INVALID_INPUT,
         "keystoreFile is missing"},
        {STORE "colour: red\n", HF_INVALID_INPUT, "line 4: unknown member colour"},
        {STORE "colour: {a: [b, {c: d}]}\n", HF_INVALID_INPUT, "line 4: unknown member colour"},
        {STORE "0xabcdef: 1\n", HF_INVALID_INPUT, "line 4: unknown member (unprintable)"},
        {STORE "? [a, b]\n: c\n", HF_INVALID_INPUT, "a member's name must be text"},
        {"type: &a file-raw\nprivateKey: *a\n", HF_INVALID_INPUT,
         "line 2: an alias (*) is not supported"},
        {"type: \"file\\0raw\"\n", HF_INVALID_INPUT,
         "line 1: type is too long or holds a zero byte"},
        {HEX64 "\n", HF_INVALID_INPUT, "line 1: not a mapping"},
        {"- type: file-raw\n", HF_INVALID_INPUT, "line 1: not a mapping"},
        {"keyType: BLS\nx: [file-raw\n", HF_INVALID_INPUT, "not YAML"},
        {"\n\ntype: file-raw\n\tprivateKey: x\n", HF_INVALID_INPUT, "line 4: not YAML"},
        {"type: file-raw\n \x01\n", HF_INVALID_INPUT, "not YAML"},
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        hf_key_document doc;
        hf_error err = {HF_OK, ""};
        hf_status st = parse(cases[i].yaml, 0, &doc, &err);
        if (st.code != cases[i].code || strstr(err.msg, cases[i].message) == NULL) {
            fail_msg("case %zu: %s: %s", i, hf_code_name(st.code), err.msg);
        }
        assert_null(strstr(err.msg, HEX64));
    }
}

static void test_one_bad_document_costs_no_other(void **state)
{
    static const char yaml[] = "type: file-raw\nprivateKey: [\n---\n" RAW "---\n}\n";
    hf_key_document doc;
    hf_error err = {HF_OK, ""};
    (void)state;
    assert_int_equal(parse(yaml, 0, &doc, &err).code, HF_INVALID_INPUT);
    assert_raw(yaml, 1);
    assert_int_equal(parse(yaml, 2, &doc, &err).code, HF_INVALID_INPUT);
    assert_non_null(strstr(err.msg, "line 7"));
    assert_int_equal(parse(yaml, 3, &doc, &err).code, HF_NOT_FOUND);
}

static void test_limits(void **state)
{
    hf_buf *yaml = hf_buf_new(1U << 16);
    hf_key_document doc;
    hf_error err = {HF_OK, ""};
    (void)state;
    for (int i = 0; i <= HF_KEY_DOCUMENTS_MAX; i++) {
        assert_false(hf_failed(hf_buf_putf(yaml, "---\na: b\n")));
    }
    assert_int_equal(parse(hf_buf_text(yaml), 0, &doc, &err).code, HF_LIMIT);
    assert_non_null(strstr(err.msg, "more than 256 documents"));
    hf_buf_reset(yaml);
    assert_false(hf_failed(hf_buf_putf(yaml,
                                       "type: file-keystore\nkeystorePasswordFile: b\n"
                                       "keystoreFile: %01020d\n",
                                       0)));
    assert_int_equal(parse(hf_buf_text(yaml), 0, &doc, &err).code, HF_LIMIT);
    assert_non_null(strstr(err.msg, "a path is longer than 1023 bytes"));
    hf_buf_reset(yaml);
    assert_false(hf_failed(hf_buf_putf(yaml, "type: %01024d\n", 0)));
    assert_int_equal(parse(hf_buf_text(yaml), 0, &doc, &err).code, HF_INVALID_INPUT);
    assert_non_null(strstr(err.msg, "type is too long"));
    hf_buf_free(yaml);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raw_keys),
        cmocka_unit_test(test_keystores),
        cmocka_unit_test(test_key_types),
        cmocka_unit_test(test_of_servers),
        cmocka_unit_test(test_counting),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_one_bad_document_costs_no_other),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
