/* Names, networks and terms: what is taken, and the sentence about what is not. */
#include "tokens.h"

typedef struct cidr_case {
    const char *text;
    const char *shown; /* NULL: refused */
} cidr_case;

static const cidr_case cidrs[] = {
    {"10.0.0.0/8", "10.0.0.0/8"},
    {"10.1.2.3", "10.1.2.3"},
    {"10.1.2.3/32", "10.1.2.3"},
    {"0.0.0.0/0", "0.0.0.0/0"},
    {"::/0", "::/0"},
    {"2001:db8::/32", "2001:db8::/32"},
    {"2001:DB8::1", "2001:db8::1"},
    {"::1/128", "::1"},
    {"::ffff:10.0.0.0/104", "10.0.0.0/8"},
    {"10.1.2.3/8", NULL},
    {"10.0.0.0/33", NULL},
    {"10.0.0.0/", NULL},
    {"10.0.0.0/08", NULL},
    {"10.0.0.0/-1", NULL},
    {"10.0.0/8", NULL},
    {"2001:db8::/129", NULL},
    {"2001:db8::1/64", NULL},
    {"", NULL},
    {"/8", NULL},
    {"example.org", NULL},
    {"10.0.0.0/8/8", NULL},
    {"fe80::1%eth0", NULL},
    {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa", NULL},
};

static void test_networks_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cidrs); i++) {
        hf_cidr cidr = {.bits = 77};
        hf_error err = {0};
        char shown[HF_CIDR_TEXT_LEN];
        hf_status st = hf_cidr_parse(cidrs[i].text, &cidr, &err);
        if (cidrs[i].shown == NULL) {
            assert_int_equal(st.code, HF_INVALID_INPUT);
            assert_true(err.msg[0] != '\0' && cidr.bits == 77);
            continue;
        }
        assert_int_equal(st.code, HF_OK);
        assert_true(hf_cidr_is_sane(&cidr));
        hf_cidr_format(&cidr, shown);
        assert_string_equal(shown, cidrs[i].shown);
    }
}

static bool contains(const char *network, const char *address)
{
    hf_cidr cidr;
    assert_int_equal(hf_cidr_parse(network, &cidr, NULL).code, HF_OK);
    return hf_cidr_contains(&cidr, test_address(address));
}

static void test_networks_contain(void **state)
{
    (void)state;
    assert_true(contains("10.0.0.0/8", "10.255.255.255"));
    assert_false(contains("10.0.0.0/8", "11.0.0.0"));
    assert_true(contains("192.168.4.0/22", "192.168.7.255"));
    assert_false(contains("192.168.4.0/22", "192.168.8.0"));
    assert_true(contains("192.0.2.7", "192.0.2.7"));
    assert_false(contains("192.0.2.7", "192.0.2.6"));
    assert_true(contains("0.0.0.0/0", "203.0.113.9"));
    assert_false(contains("0.0.0.0/0", "2001:db8::1"));
    assert_true(contains("::/0", "203.0.113.9"));
    assert_true(contains("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(contains("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(contains("::ffff:10.0.0.0/104", "10.1.1.1"));
}

/* Each bit of the prefix counts, and none behind it. */
static void test_every_prefix(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits <= 128; bits++) {
        uint8_t address[16];
        hf_cidr cidr = {.bits = (uint8_t)bits};
        for (unsigned flipped = 0; flipped < 128; flipped++) {
            memset(address, 0, sizeof address);
            address[flipped / 8] = (uint8_t)(0x80U >> flipped % 8);
            assert_int_equal(hf_cidr_contains(&cidr, address), flipped >= bits);
        }
    }
}

static void test_times_to_live(void **state)
{
    static const struct {
        const char *text;
        uint64_t seconds; /* 0: refused */
    } cases[] = {{"90", 90},
                 {"90s", 90},
                 {"15m", 900},
                 {"24h", 86400},
                 {"30d", 2592000},
                 {"3660d", 316224000},
                 {"3661d", 0},
                 {"0", 0},
                 {"0h", 0},
                 {"", 0},
                 {"h", 0},
                 {"-1h", 0},
                 {"1.5h", 0},
                 {"1h30m", 0},
                 {"1w", 0},
                 {"01h", 0},
                 {" 1h", 0},
                 {"1h ", 0},
                 {"99999999999999999999d", 0}};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        uint64_t seconds = 0;
        hf_error err = {0};
        hf_status st = hf_ttl_parse(cases[i].text, &seconds, &err);
        assert_int_equal(seconds, cases[i].seconds);
        assert_int_equal(hf_failed(st), cases[i].seconds == 0);
        assert_true(!hf_failed(st) || err.msg[0] != '\0');
    }
}

static void test_names(void **state)
{
    char name[HF_AUTH_POLICY_NAME_LEN] = "fleet-1_attest_A";
    char long_name[HF_AUTH_POLICY_NAME_LEN];
    (void)state;
    assert_true(hf_auth_policy_name_is_sane(name, sizeof name));
    name[40] = 'x'; /* behind the NUL */
    assert_false(hf_auth_policy_name_is_sane(name, sizeof name));
    memset(long_name, 'a', sizeof long_name);
    assert_false(hf_auth_policy_name_is_sane(long_name, sizeof long_name));
    long_name[sizeof long_name - 1] = '\0';
    assert_true(hf_auth_policy_name_is_sane(long_name, sizeof long_name));
    static const char *const bad[] = {"", "-x", "a b", "a/b", "a.b", "a\n", "\xc3\xa4"};
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        char padded[HF_AUTH_POLICY_NAME_LEN] = {0};
        memcpy(padded, bad[i], strlen(bad[i]));
        assert_false(hf_auth_policy_name_is_sane(padded, sizeof padded));
    }
}

static void test_kinds(void **state)
{
    hf_token_kind kind;
    (void)state;
    for (int i = 0; i < HF_TOKEN_KIND_COUNT; i++) {
        assert_true(hf_token_kind_parse(hf_token_kind_name((hf_token_kind)i), &kind));
        assert_int_equal(kind, i);
    }
    assert_false(hf_token_kind_parse("root", &kind));
    assert_string_equal(hf_token_kind_name((hf_token_kind)99), "unknown");
    for (int i = 0; i < HF_TOKEN_VERDICT_COUNT; i++) {
        assert_true(hf_token_verdict_name((hf_token_verdict)i)[0] != '\0');
    }
}

static void expect_refused(const hf_token_terms *terms, const char *word)
{
    hf_error err = {0};
    assert_int_equal(hf_token_terms_check(terms, &err).code, HF_INVALID_INPUT);
    assert_non_null(strstr(err.msg, word));
}

static void test_terms_are_checked(void **state)
{
    hf_token_terms good = test_terms();
    hf_token_terms terms;
    (void)state;
    test_source(&good, "10.0.0.0/8");
    good.expires_unix_ms = NOW;
    good.max_uses = 3;
    assert_int_equal(hf_token_terms_check(&good, NULL).code, HF_OK);
    terms = good;
    terms.kind = HF_TOKEN_KIND_COUNT;
    expect_refused(&terms, "kind");
    terms = good;
    terms.policy_count = 0;
    memset(terms.policies, 0, sizeof terms.policies);
    expect_refused(&terms, "policies");
    terms.kind = HF_TOKEN_MANAGEMENT;
    assert_int_equal(hf_token_terms_check(&terms, NULL).code, HF_OK);
    terms = good;
    terms.policy_count = HF_AUTH_POLICIES_MAX + 1;
    expect_refused(&terms, "policies");
    terms = good;
    terms.policy_count = 2;
    memcpy(terms.policies[1], terms.policies[0], sizeof terms.policies[0]);
    expect_refused(&terms, "twice");
    terms = good;
    terms.policies[HF_AUTH_POLICIES_MAX - 1][0] = 'x';
    expect_refused(&terms, "policies");
    terms = good;
    terms.source_count = HF_AUTH_SOURCES_MAX + 1;
    expect_refused(&terms, "sources");
    terms = good;
    terms.sources[0].address[15] = 1;
    expect_refused(&terms, "sources");
    terms = good;
    terms.sources[1].bits = 1;
    expect_refused(&terms, "sources");
    terms = good;
    terms.expires_unix_ms = -1;
    expect_refused(&terms, "expiry");
    terms = good;
    terms.expires_unix_ms = HF_AUTH_TIME_MAX_MS + 1;
    expect_refused(&terms, "expiry");
    terms = good;
    terms.max_uses = HF_AUTH_USES_MAX + 1;
    expect_refused(&terms, "max_uses");
    terms = good;
    terms.name[0] = '\n';
    expect_refused(&terms, "name");
    terms = good;
    terms.reserved = 1;
    expect_refused(&terms, "kind");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks_are_read),
        cmocka_unit_test(test_networks_contain),
        cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_times_to_live),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_terms_are_checked),
    };
    return cmocka_run_group_tests_name("auth words", tests, NULL, NULL);
}
