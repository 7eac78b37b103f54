/* AWS Secrets Manager: what is in a secret, and the back end against tests/peers/aws_double.py. */
#include "aws_rig.h"

#include "custody/aws_secrets.h"

#define KEY_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_B "0f0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* ---- what is in a secret ------------------------------------------------------------------ */

typedef struct reading {
    char text[1024]; /* "line 1=00 " for a key by its first byte, "line 2!why " for what is none */
} reading;

static void append(reading *in, const char *text)
{
    size_t len = strlen(in->text);
    assert_code(hf_str_copy(in->text + len, sizeof in->text - len, text), HF_OK);
}

static hf_status take(void *context, const char *where, const uint8_t *secret, hf_error *err)
{
    char text[128];
    (void)err;
    assert_code(hf_str_format(text, sizeof text, "%s=%02x ", where, secret[0]), HF_OK);
    append(context, text);
    return hf_ok();
}

static void refuse(void *context, const char *where, const char *why)
{
    char text[256];
    assert_code(hf_str_format(text, sizeof text, "%s!%.7s ", where, why), HF_OK);
    append(context, text);
}

static void expect_reading(const char *text, const char *expected)
{
    reading in = {""};
    hf_error err = {0};
    if (hf_failed(hf_aws_secret_read(hf_bytes_from(text, strlen(text)), take, refuse, &in, &err))) {
        fail_msg("%s: %s", text, err.msg);
    }
    assert_string_equal(in.text, expected);
}

static void expect_nothing(const char *text, const char *words)
{
    reading in = {""};
    hf_error err = {0};
    assert_code(hf_aws_secret_read(hf_bytes_from(text, strlen(text)), take, refuse, &in, &err),
                HF_INVALID_INPUT);
    rig_expect_words(err.msg, words);
    assert_null(strstr(err.msg, "secret-word"));
    assert_string_equal(in.text, "");
}

static void test_forms(void **state)
{
    (void)state;
    expect_reading(KEY_A, "line 1=00 ");
    expect_reading("0x" KEY_A "\n", "line 1=00 ");
    expect_reading("\n  " KEY_A "\r\n\n0x" KEY_B, "line 2=00 line 4=0f ");
    expect_reading(KEY_A "\nsecret-word\n" KEY_B, "line 1=00 line 2!not a k line 3=0f ");
    expect_reading("[\"" KEY_A "\", \"0x" KEY_B "\", 7]", "entry 0=00 entry 1=0f entry 2!not a t ");
    expect_reading(" {\"a\": \"" KEY_A "\", \"b\": \"x\", \"c\": {}}",
                   "member a=00 member b!not a k member c!an obje ");
    expect_reading("{\"a\": [\"" KEY_B "\"]}", "a entry 0=0f ");
    expect_reading("{\"a\": \"" KEY_A "\\n" KEY_B "\"}", "line 1=00 line 2=0f ");
    expect_nothing("", "no key");
    expect_nothing("\n \n", "no key");
    expect_nothing("{}", "no key");
    expect_nothing("[]", "no key");
    expect_nothing("[\"secret-word", "not JSON");
    expect_nothing("{\"crypto\": {\"kdf\": \"secret-word\"}}", "a keystore");
    expect_nothing("{\"a\": \"secret-word\", \"a\": \"\"}", "not JSON"); /* which one counts? */
}

static void test_raw(void **state)
{
    uint8_t raw[32];
    reading in = {""};
    hf_error err = {0};
    (void)state;
    memset(raw, 0x2a, sizeof raw);
    assert_code(hf_aws_secret_read(hf_bytes_from(raw, 32), take, refuse, &in, &err), HF_OK);
    assert_string_equal(in.text, "=2a ");
}

static void count_refusal(void *context, const char *where, const char *why)
{
    (void)where, (void)why;
    ++*(size_t *)context;
}

static void test_too_many(void **state)
{
    static char text[2 * (HF_AWS_SECRET_KEYS_MAX + 10)];
    size_t refused = 0;
    hf_error err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = i % 2 == 0 ? 'x' : '\n';
    }
    assert_code(
        hf_aws_secret_read(hf_bytes_from(text, sizeof text), take, count_refusal, &refused, &err),
        HF_LIMIT);
    assert_int_equal(refused, HF_AWS_SECRET_KEYS_MAX);
}

/* ---- the back end ------------------------------------------------------------------------- */

typedef struct fixture {
    hf_aws_secrets_config config;
    hf_custody *custody;
    rig_list list;
    hf_error err;
} fixture;

static int setup(void **state)
{
    fixture *fix = calloc(1, sizeof *fix);
    assert_non_null(fix);
    hf_aws_place *place = &fix->config.place;
    assert_code(hf_str_copy(place->region, sizeof place->region, "eu-test-1"), HF_OK);
    assert_code(hf_str_copy(place->endpoint_url, sizeof place->endpoint_url, getenv("HF_TEST_AWS")),
                HF_OK);
    rig_tell("/set?how=none");
    *state = fix;
    return 0;
}

static int teardown(void **state)
{
    fixture *fix = *state;
    rig_expect_no_problems();
    if (fix->custody != NULL) {
        fix->custody->ops->close(fix->custody);
    }
    free(fix);
    return 0;
}

static void open_it(fixture *fix)
{
    if (hf_failed(hf_custody_aws_secrets_open(&fix->config, &fix->custody, &fix->err))) {
        fail_msg("%s", fix->err.msg);
    }
}

static void add_name(fixture *fix, const char *name)
{
    assert_code(
        hf_str_copy(fix->config.names[fix->config.name_count++], HF_AWS_SECRET_NAME_LEN, name),
        HF_OK);
}

static void expect_named(fixture *fix)
{
    static const char *const names[] = {"lines line 1",  "lines line 2",     "array entry 0",
                                        "array entry 1", "map member alice", "binary"};
    rig_list_all(fix->custody, &fix->list);
    assert_int_equal(fix->list.count, HF_ARRAY_LEN(names));
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        assert_string_equal(fix->list.keys[i].name, names[i]);
        assert_int_equal(fix->list.keys[i].type, HF_CUSTODY_BLS);
        assert_int_equal(fix->list.keys[i].public_len, 48);
        assert_false(fix->list.keys[i].is_inside);
    }
    assert_int_equal(fix->list.failed_count, 5);
}

static void expect_failed(const fixture *fix, const char *words)
{
    for (size_t i = 0; i < fix->list.failed_count; i++) {
        if (strstr(fix->list.failed[i], words) != NULL) {
            return;
        }
    }
    fail_msg("nothing says \"%s\"", words);
}

static void add_all(fixture *fix)
{
    static const char *const all[] = {"lines",  "array",   "map",  "binary",
                                      "broken", "nothing", "gone", "unknown"};
    for (size_t i = 0; i < HF_ARRAY_LEN(all); i++) {
        add_name(fix, all[i]);
    }
}

static void test_named(void **state)
{
    fixture *fix = *state;
    uint8_t ids[2][HF_SOURCE_ID_LEN];
    add_all(fix);
    open_it(fix);
    expect_named(fix);
    expect_failed(fix, "map member bob: not a key of 64 hex digits");
    expect_failed(fix, "broken line 1: not a key of 64 hex digits");
    expect_failed(fix, "nothing: there is no key in it");
    expect_failed(fix, "gone: Secrets Manager says InvalidRequestException");
    expect_failed(fix, "unknown: Secrets Manager says ResourceNotFoundException");
    assert_int_equal(rig_number("/count?of=BatchGetSecretValue"), 1);
    assert_int_equal(rig_number("/count?of=GetSecretValue"), 0);
    memcpy(ids[0], fix->list.keys[1].source_id, HF_SOURCE_ID_LEN);
    expect_named(fix);
    assert_memory_equal(fix->list.keys[1].source_id, ids[0], HF_SOURCE_ID_LEN);
    assert_memory_not_equal(fix->list.keys[2].source_id, ids[0], HF_SOURCE_ID_LEN);
}

/* A role that may not read batches, or a service that does not know them. */
static void test_without_batches(void **state)
{
    fixture *fix = *state;
    add_all(fix);
    open_it(fix);
    (void)rig_number("/count?of=BatchGetSecretValue");
    rig_tell("/set?how=fault&argument=AccessDeniedException&operation=BatchGetSecretValue");
    expect_named(fix);
    expect_failed(fix, "unknown: AWS Secrets Manager in eu-test-1: GetSecretValue: no such secret");
    expect_failed(fix, "gone: AWS Secrets Manager in eu-test-1: GetSecretValue: "
                       "InvalidRequestException (status 400): You can't");
    assert_int_equal(rig_number("/count?of=GetSecretValue"), 8);
    expect_named(fix);
    assert_int_equal(rig_number("/count?of=BatchGetSecretValue"), 1); /* asked once */
}

/* More than a page, in the order of names; what only looks alike is left out. */
static void test_prefix(void **state)
{
    fixture *fix = *state;
    rig_tell("/fill?count=130&prefix=node1/");
    rig_tell("/fill?count=2&prefix=NODE1/");
    assert_code(hf_str_copy(fix->config.prefixes[fix->config.prefix_count++],
                            HF_AWS_SECRET_NAME_LEN, "node1/"),
                HF_OK);
    open_it(fix);
    rig_list_all(fix->custody, &fix->list);
    assert_int_equal(fix->list.count, 130);
    assert_int_equal(fix->list.failed_count, 0);
    assert_string_equal(fix->list.keys[129].name, "node1/00129 line 1");
    assert_int_equal(rig_number("/count?of=ListSecrets"), 2);
    /* Half of the answers are bad for a while: nothing is lost, nothing comes twice. */
    rig_tell("/set?how=fault&argument=ThrottlingException&count=6");
    rig_list_all(fix->custody, &fix->list);
    assert_int_equal(fix->list.count, 130);
    rig_tell("/set?how=half&count=2");
    rig_list_all(fix->custody, &fix->list);
    assert_int_equal(fix->list.count, 130);
}

static void test_tags(void **state)
{
    fixture *fix = *state;
    assert_code(hf_str_copy(fix->config.tag_keys[fix->config.tag_key_count++],
                            HF_AWS_SECRET_TAG_LEN, "team"),
                HF_OK);
    assert_code(hf_str_copy(fix->config.tag_values[fix->config.tag_value_count++],
                            HF_AWS_SECRET_TAG_LEN, "staking"),
                HF_OK);
    fix->config.key_type = HF_CUSTODY_SECP256K1;
    open_it(fix);
    rig_list_all(fix->custody, &fix->list);
    assert_int_equal(fix->list.count, 1);
    assert_string_equal(fix->list.keys[0].name, "Tagged line 1");
    assert_int_equal(fix->list.keys[0].public_len, 65);
}

static void test_away(void **state)
{
    fixture *fix = *state;
    char detail[HF_DETAIL_LEN];
    uint8_t out[64];
    size_t len = sizeof out;
    add_all(fix);
    open_it(fix);
    rig_tell("/set?how=drop");
    assert_code(rig_list_within(fix->custody, &fix->list, RIG_PATIENCE, &fix->err), HF_UNAVAILABLE);
    assert_int_equal(fix->list.count, 0);
    assert_false(fix->custody->ops->is_healthy(fix->custody, detail));
    rig_tell("/set?how=none");
    expect_named(fix);
    assert_true(fix->custody->ops->is_healthy(fix->custody, detail));
    assert_code(fix->custody->ops->sign(fix->custody, 1, hf_bytes_from(out, 32), 0, out, &fix->err),
                HF_USAGE);
    assert_code(fix->custody->ops->wrap(fix->custody, "x", hf_bytes_from(out, 1),
                                        hf_bytes_from(out, 1), 0, out, &len, &fix->err),
                HF_USAGE);
}

static void test_configuration(void **state)
{
    fixture *fix = *state;
    hf_custody *none = NULL;
    assert_code(hf_custody_aws_secrets_open(&fix->config, &none, &fix->err), HF_USAGE);
    rig_expect_words(fix->err.msg, "which secrets?");
    add_name(fix, "lines");
    fix->config.key_type = HF_CUSTODY_P256;
    assert_code(hf_custody_aws_secrets_open(&fix->config, &none, &fix->err), HF_USAGE);
    rig_expect_words(fix->err.msg, "key_type");
}

#define with_double(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_too_many),
        with_double(test_named),
        with_double(test_without_batches),
        with_double(test_prefix),
        with_double(test_tags),
        with_double(test_away),
        with_double(test_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
