/* The chain in memory: what a line says, and that every edit of a log is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "audit/audit.h"

#define LINES 12
#define NOON_US INT64_C(1795268438123456)

static const uint8_t key[HF_AUDIT_KEY_BYTES] = {7, 7, 7};

typedef struct sample {
    char lines[LINES][HF_AUDIT_LINE_MAX];
    size_t lens[LINES];
    size_t count;
    hf_audit_head head;
} sample;

static hf_audit_event attestation(uint64_t target)
{
    hf_audit_event event = {
        .kind = HF_AUDIT_REQUEST,
        .subject_len = 48,
        .has_epochs = true,
        .has_root = true,
        .source = target - 1,
        .target = target,
        .request_id = 40 + target,
        .operation = "ATTESTATION",
    };
    memset(event.subject, 0xab, sizeof event.subject);
    memset(event.root, 0xcd, sizeof event.root);
    return event;
}

/* Without their newlines. */
static void write_sample(sample *s)
{
    hf_audit_chain chain;
    hf_audit_chain_init(&chain, key, "node-a");
    s->count = 0;
    s->lens[s->count++] = hf_audit_chain_open(&chain, NOON_US, s->lines[0]) - 1;
    while (s->count < LINES) {
        hf_audit_event event = attestation(s->count);
        s->lens[s->count] = hf_audit_chain_write(&chain, &event, NOON_US, s->lines[s->count]) - 1;
        s->count++;
    }
    s->head = chain.head;
}

static hf_audit_fault judge(const sample *s, size_t *ret_sound)
{
    hf_audit_check check;
    hf_audit_check_init(&check, key);
    for (size_t i = 0; i < s->count; i++) {
        if (!hf_audit_check_line(&check, s->lines[i], s->lens[i])) {
            break;
        }
    }
    *ret_sound = (size_t)check.lines;
    return check.fault;
}

static void drop(sample *s, size_t at)
{
    for (size_t i = at; i + 1 < s->count; i++) {
        memcpy(s->lines[i], s->lines[i + 1], HF_AUDIT_LINE_MAX);
        s->lens[i] = s->lens[i + 1];
    }
    s->count--;
}

static void swap(sample *s, size_t a, size_t b)
{
    char line[HF_AUDIT_LINE_MAX];
    size_t len = s->lens[a];
    memcpy(line, s->lines[a], sizeof line);
    memcpy(s->lines[a], s->lines[b], sizeof line);
    memcpy(s->lines[b], line, sizeof line);
    s->lens[a] = s->lens[b];
    s->lens[b] = len;
}

static void test_a_line_says_everything(void **state)
{
    static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 7};
    char out[HF_AUDIT_LINE_MAX];
    hf_audit_chain chain;
    hf_audit_event event = attestation(9);
    (void)state;
    hf_audit_chain_init(&chain, key, "node a\n");
    memcpy(event.caller.address, mapped, sizeof mapped);
    event.caller.port = 4711;
    event.caller.has_address = true;
    hf_str_cut(event.caller.accessor, sizeof event.caller.accessor, "acc1");
    hf_str_cut(event.caller.certificate, sizeof event.caller.certificate, "vc.example");
    size_t len = hf_audit_chain_write(&chain, &event, NOON_US, out);
    out[len] = '\0';
    static const char start[] =
        "{\"seq\":1,\"time\":\"2026-11-21T13:40:38.123456Z\",\"node\":\"node_a_\",\"kind\":"
        "\"request\",\"request\":49,\"peer\":\"192.0.2.7:4711\",\"token\":\"acc1\","
        "\"certificate\":\"vc.example\",\"key\":\"0xabab";
    assert_memory_equal(out, start, sizeof start - 1);
    assert_non_null(strstr(out, "\"operation\":\"ATTESTATION\",\"source_epoch\":\"8\","
                                "\"target_epoch\":\"9\",\"root\":\"0xcdcd"));
    event = (hf_audit_event){.kind = HF_AUDIT_RESULT, .of = 1, .decision = "signed"};
    len = hf_audit_chain_write(&chain, &event, NOON_US + 900000, out);
    out[len] = '\0';
    assert_non_null(strstr(out, "{\"seq\":2,\"time\":\"2026-11-21T13:40:39.023456Z\""));
    assert_non_null(strstr(out, "\"kind\":\"result\",\"of\":1,\"decision\":\"signed\",\"mac\":\""));
    assert_int_equal(out[len - 1], '\n');
}

static void test_an_ipv6_peer(void **state)
{
    char out[HF_AUDIT_LINE_MAX];
    hf_audit_chain chain;
    hf_audit_event event = {.kind = HF_AUDIT_DENIED, .caller.has_address = true};
    (void)state;
    hf_audit_chain_init(&chain, key, "n");
    event.caller.address[0] = 0x20;
    event.caller.address[15] = 1;
    event.caller.port = 9;
    out[hf_audit_chain_write(&chain, &event, NOON_US, out)] = '\0';
    assert_non_null(strstr(out, "\"peer\":\"[2000:0000:0000:0000:0000:0000:0000:0001]:9\""));
}

/* Whoever writes into a detail writes neither lines nor members, and no more than there is room. */
static void test_hostile_text_is_escaped(void **state)
{
    char out[HF_AUDIT_LINE_MAX];
    hf_audit_chain chain;
    hf_audit_line line;
    hf_audit_event event = attestation(UINT64_MAX);
    (void)state;
    hf_audit_chain_init(&chain, key, "");
    memset(event.text, '\n', sizeof event.text);
    memset(event.caller.accessor, '"', sizeof event.caller.accessor);
    memset(event.caller.certificate, 0xff, sizeof event.caller.certificate);
    memset(event.caller.address, 0xff, sizeof event.caller.address);
    event.caller.has_address = true;
    event.caller.port = UINT16_MAX;
    event.has_slot = true;
    event.slot = UINT64_MAX;
    event.source = UINT64_MAX;
    event.request_id = UINT64_MAX;
    event.decision = "refused";
    event.reason = "SIGNING_ROOT_MISMATCH";
    chain.head.seq = UINT64_MAX - 1;
    size_t len = hf_audit_chain_write(&chain, &event, NOON_US, out);
    assert_true(len < HF_AUDIT_LINE_MAX);
    assert_ptr_equal(memchr(out, '\n', len), out + len - 1);
    assert_int_equal(hf_audit_line_parse(out, len - 1, &line).code, HF_OK);
    const hf_audit_field *token = hf_audit_line_find(&line, "token");
    assert_non_null(token);
    assert_int_equal(token->value.len, 6 * sizeof event.caller.accessor);
    assert_memory_equal(token->value.ptr, "\\u0022\\u0022", 12);
}

static void test_a_sound_log(void **state)
{
    static sample s;
    size_t sound;
    (void)state;
    write_sample(&s);
    assert_int_equal(judge(&s, &sound), HF_AUDIT_SOUND);
    assert_int_equal(sound, LINES);
    assert_int_equal(s.head.seq, LINES);
}

/* Every byte of every line, changed in three ways: found at that very line. */
static void test_a_changed_byte(void **state)
{
    static const uint8_t changes[] = {0x01, 0x20, 0x80};
    static sample s;
    size_t sound;
    (void)state;
    write_sample(&s);
    for (size_t i = 0; i < s.count; i += 5) {
        for (size_t at = 0; at < s.lens[i]; at++) {
            for (size_t c = 0; c < sizeof changes; c++) {
                char *byte = &s.lines[i][at];
                *byte = (char)(*byte ^ changes[c]);
                assert_int_not_equal(judge(&s, &sound), HF_AUDIT_SOUND);
                assert_int_equal(sound, i);
                *byte = (char)(*byte ^ changes[c]);
            }
        }
    }
}

static void test_a_line_removed(void **state)
{
    static sample s;
    size_t sound;
    (void)state;
    for (size_t i = 0; i + 1 < LINES; i++) {
        write_sample(&s);
        drop(&s, i);
        assert_int_equal(judge(&s, &sound), i == 0 ? HF_AUDIT_NO_FIRST : HF_AUDIT_GAP);
        assert_int_equal(sound, i);
    }
}

static void test_a_line_repeated_or_swapped(void **state)
{
    static sample s;
    size_t sound;
    (void)state;
    write_sample(&s);
    memcpy(s.lines[5], s.lines[4], HF_AUDIT_LINE_MAX);
    s.lens[5] = s.lens[4];
    assert_int_equal(judge(&s, &sound), HF_AUDIT_OUT_OF_PLACE);
    assert_int_equal(sound, 5);
    write_sample(&s);
    swap(&s, 4, 5);
    assert_int_equal(judge(&s, &sound), HF_AUDIT_GAP);
    assert_int_equal(sound, 4);
}

/* A cut end is no fault of the chain: the head tells. So does a tail of another history. */
static void test_a_tail_cut_or_replaced(void **state)
{
    static sample s;
    static sample other;
    size_t sound;
    hf_audit_check check;
    (void)state;
    write_sample(&s);
    hf_audit_check_init(&check, key);
    check.has_wanted = true;
    check.wanted = s.head;
    for (size_t i = 0; i + 1 < s.count; i++) {
        assert_true(hf_audit_check_line(&check, s.lines[i], s.lens[i]));
    }
    assert_false(check.found_wanted);
    assert_true(hf_audit_check_line(&check, s.lines[LINES - 1], s.lens[LINES - 1]));
    assert_true(check.found_wanted);
    /* the same numbers, from a history that parted before */
    hf_audit_chain chain;
    hf_audit_event event = attestation(77);
    hf_audit_chain_init(&chain, key, "node-a");
    other.lens[0] = hf_audit_chain_open(&chain, NOON_US + 1, other.lines[0]) - 1;
    for (size_t i = 1; i < LINES; i++) {
        other.lens[i] = hf_audit_chain_write(&chain, &event, NOON_US, other.lines[i]) - 1;
    }
    for (size_t i = 6; i < LINES; i++) {
        memcpy(s.lines[i], other.lines[i], HF_AUDIT_LINE_MAX);
        s.lens[i] = other.lens[i];
    }
    assert_int_equal(judge(&s, &sound), HF_AUDIT_CHANGED);
    assert_int_equal(sound, 6);
}

/* A line that its editor signs with a key of his own. */
static void test_another_key(void **state)
{
    static const uint8_t stranger[HF_AUDIT_KEY_BYTES] = {8};
    static sample s;
    size_t sound;
    hf_audit_chain chain;
    hf_audit_event event = attestation(3);
    (void)state;
    write_sample(&s);
    hf_audit_chain_init(&chain, stranger, "node-a");
    s.lens[0] = hf_audit_chain_open(&chain, NOON_US, s.lines[0]) - 1;
    assert_int_equal(judge(&s, &sound), HF_AUDIT_OTHER_KEY);
    write_sample(&s);
    hf_audit_line line;
    assert_int_equal(hf_audit_line_parse(s.lines[3], s.lens[3], &line).code, HF_OK);
    hf_audit_chain_init(&chain, stranger, "node-a");
    chain.head.seq = 4;
    memcpy(chain.head.mac, line.mac, sizeof line.mac);
    s.lens[4] = hf_audit_chain_write(&chain, &event, NOON_US, s.lines[4]) - 1;
    assert_int_equal(judge(&s, &sound), HF_AUDIT_CHANGED);
    assert_int_equal(sound, 4);
}

static void test_what_is_not_a_line(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "{\"seq\":1}",
        "{\"seq\":01,\"kind\":\"x\",\"mac\":\"\"}",
        "{\"seq\":1,\"kind\":\"started\",\"mac\":\"00\"}",
    };
    hf_audit_line line;
    static sample s;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        assert_int_equal(hf_audit_line_parse(bad[i], strlen(bad[i]), &line).code, HF_INVALID_INPUT);
    }
    write_sample(&s);
    for (size_t len = 0; len < s.lens[1]; len++) {
        assert_int_equal(hf_audit_line_parse(s.lines[1], len, &line).code, HF_INVALID_INPUT);
    }
    assert_int_equal(hf_audit_line_parse(s.lines[1], s.lens[1], &line).code, HF_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_says_everything),
        cmocka_unit_test(test_an_ipv6_peer),
        cmocka_unit_test(test_hostile_text_is_escaped),
        cmocka_unit_test(test_a_sound_log),
        cmocka_unit_test(test_a_changed_byte),
        cmocka_unit_test(test_a_line_removed),
        cmocka_unit_test(test_a_line_repeated_or_swapped),
        cmocka_unit_test(test_a_tail_cut_or_replaced),
        cmocka_unit_test(test_another_key),
        cmocka_unit_test(test_what_is_not_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
