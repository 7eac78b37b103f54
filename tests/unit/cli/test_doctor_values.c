/* The doctor's judgements on values: files, addresses, the clock, a firewall's rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "doctor_internal.h"

#define SIGNER 1000
#define STRANGER 1001

typedef struct file_case {
    hf_file_kind kind;
    mode_t mode;
    uid_t uid;
    gid_t gid;
    hf_row_state expected;
} file_case;

static const file_case file_cases[] = {
    {HF_FILE_SECRET, S_IFREG | 0600, SIGNER, SIGNER, HF_ROW_OK},
    {HF_FILE_SECRET, S_IFREG | 0440, 0, SIGNER, HF_ROW_OK}, /* lent by root */
    {HF_FILE_SECRET, S_IFREG | 0640, SIGNER, STRANGER, HF_ROW_FAIL},
    {HF_FILE_SECRET, S_IFREG | 0604, SIGNER, SIGNER, HF_ROW_FAIL},
    {HF_FILE_SECRET, S_IFREG | 0600, STRANGER, SIGNER, HF_ROW_FAIL},
    {HF_FILE_SECRET, S_IFREG | 0620, SIGNER, SIGNER, HF_ROW_FAIL},
    {HF_FILE_PRIVATE, S_IFREG | 0600, SIGNER, SIGNER, HF_ROW_OK},
    {HF_FILE_PRIVATE, S_IFDIR | 0700, SIGNER, SIGNER, HF_ROW_OK},
    {HF_FILE_PRIVATE, S_IFDIR | 0750, 0, STRANGER, HF_ROW_WARN},
    {HF_FILE_PRIVATE, S_IFREG | 0644, SIGNER, SIGNER, HF_ROW_FAIL},
    {HF_FILE_CONFIG, S_IFREG | 0600, SIGNER, SIGNER, HF_ROW_OK},
    {HF_FILE_CONFIG, S_IFREG | 0640, 0, SIGNER, HF_ROW_OK},
    {HF_FILE_CONFIG, S_IFREG | 0644, 0, 0, HF_ROW_WARN},
    {HF_FILE_CONFIG, S_IFREG | 0666, 0, 0, HF_ROW_FAIL},
    {HF_FILE_PUBLIC, S_IFREG | 0755, 0, 0, HF_ROW_OK},
    {HF_FILE_PUBLIC, S_IFREG | 0757, 0, 0, HF_ROW_FAIL},
    {HF_FILE_PUBLIC, S_IFREG | 0755, STRANGER, 0, HF_ROW_FAIL},
    {HF_FILE_PUBLIC, S_IFDIR | S_ISVTX | 0777, 0, 0, HF_ROW_OK}, /* /tmp */
    {HF_FILE_PUBLIC, S_IFDIR | 0777, 0, 0, HF_ROW_FAIL},
};

static void test_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(file_cases); i++) {
        const file_case *c = &file_cases[i];
        const char *remedy = NULL;
        const struct stat info = {.st_mode = c->mode, .st_uid = c->uid, .st_gid = c->gid};
        hf_row_state got = hf_doctor_judge_file(c->kind, &info, SIGNER, SIGNER, &remedy);
        if (got != c->expected) {
            fail_msg("case %zu: %d", i, (int)got);
        }
        assert_int_equal(remedy[0] == '\0', got == HF_ROW_OK);
    }
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        hf_reach reach;
    } cases[] = {
        {"127.0.0.1", HF_REACH_LOOPBACK},
        {"127.9.9.9", HF_REACH_LOOPBACK},
        {"::1", HF_REACH_LOOPBACK},
        {"::ffff:127.0.0.1", HF_REACH_LOOPBACK},
        {"0.0.0.0", HF_REACH_ANY},
        {"::", HF_REACH_ANY},
        {"10.1.2.3", HF_REACH_PRIVATE},
        {"172.16.0.1", HF_REACH_PRIVATE},
        {"172.31.255.255", HF_REACH_PRIVATE},
        {"172.32.0.1", HF_REACH_PUBLIC},
        {"192.168.1.1", HF_REACH_PRIVATE},
        {"192.169.1.1", HF_REACH_PUBLIC},
        {"100.64.0.1", HF_REACH_PRIVATE},
        {"169.254.1.1", HF_REACH_PRIVATE},
        {"8.8.8.8", HF_REACH_PUBLIC},
        {"fd00::1", HF_REACH_PRIVATE},
        {"fe80::1", HF_REACH_PRIVATE},
        {"2001:db8::1", HF_REACH_PUBLIC},
        {"::ffff:8.8.8.8", HF_REACH_PUBLIC},
        {"nonsense", HF_REACH_PUBLIC},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        if (hf_doctor_reach(cases[i].address) != cases[i].reach) {
            fail_msg("%s: %d", cases[i].address, (int)hf_doctor_reach(cases[i].address));
        }
    }
}

static void test_clock(void **state)
{
    (void)state;
    char text[128];
    const uint64_t now = UINT64_C(1800000000);
    struct timex clock = {.maxerror = 2000};
    assert_int_equal(hf_doctor_judge_clock(TIME_OK, &clock, now, text, sizeof text), HF_ROW_OK);
    assert_string_equal(text, "synchronised, at most 2 ms wrong");
    assert_int_equal(hf_doctor_judge_clock(TIME_ERROR, &clock, now, text, sizeof text),
                     HF_ROW_WARN);
    assert_int_equal(hf_doctor_judge_clock(TIME_OK, &clock, 86400, text, sizeof text), HF_ROW_FAIL);
    clock.maxerror = 900000;
    assert_int_equal(hf_doctor_judge_clock(TIME_OK, &clock, now, text, sizeof text), HF_ROW_WARN);
    clock.status = STA_UNSYNC;
    clock.maxerror = 0;
    assert_int_equal(hf_doctor_judge_clock(TIME_OK, &clock, now, text, sizeof text), HF_ROW_WARN);
}

#define RULES(items) "{\"nftables\":[{\"metainfo\":{\"version\":\"1.0.6\"}}," items "]}"
#define INPUT(policy)                                                                              \
    "{\"chain\":{\"family\":\"inet\",\"table\":\"t\",\"name\":\"in\",\"type\":\"filter\","         \
    "\"hook\":\"input\",\"prio\":0,\"policy\":\"" policy "\"}}"
#define PORT(right)                                                                                \
    "{\"rule\":{\"chain\":\"in\",\"expr\":[{\"match\":{\"op\":\"==\",\"left\":{\"payload\":"       \
    "{\"protocol\":\"tcp\",\"field\":\"dport\"}},\"right\":" right "}},{\"drop\":null}]}}"

static void test_firewall(void **state)
{
    (void)state;
    static const struct {
        const char *rules;
        hf_firewall expected;
    } cases[] = {
        {RULES(INPUT("drop")), HF_FIREWALL_CLOSED},
        {RULES(INPUT("accept")), HF_FIREWALL_OPEN},
        {RULES(INPUT("accept") "," PORT("9000")), HF_FIREWALL_NAMES_PORT},
        {RULES(INPUT("accept") "," PORT("9001")), HF_FIREWALL_OPEN},
        {RULES(INPUT("accept") "," PORT("{\"set\":[22,9000]}")), HF_FIREWALL_NAMES_PORT},
        {RULES(INPUT("accept") "," PORT("{\"set\":[22,{\"range\":[8000,9999]}]}")),
         HF_FIREWALL_NAMES_PORT},
        {RULES(INPUT("accept") "," PORT("{\"range\":[1,1024]}")), HF_FIREWALL_OPEN},
        {"{\"nftables\":[]}", HF_FIREWALL_OPEN},
    };
    hf_firewall got = HF_FIREWALL_CLOSED;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        assert_false(hf_failed(hf_doctor_judge_nft(cases[i].rules, 9000, &got)));
        if (got != cases[i].expected) {
            fail_msg("case %zu: %d", i, (int)got);
        }
    }
    assert_int_equal(hf_doctor_judge_nft("no json", 9000, &got).code, HF_INVALID_INPUT);
    assert_int_equal(hf_doctor_judge_nft("{}", 9000, &got).code, HF_INVALID_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_firewall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
