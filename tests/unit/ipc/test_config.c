/* The frame that brings a process its configuration. */
#include "ipc/ipc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static hf_msg_relay_config received;

static void send_raw(int fd, const void *bytes, size_t len)
{
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
}

/* Sends those bytes, hangs up, and asks for a configuration of this type; none came: false. */
static bool receives(hf_msg_type type, const void *bytes, size_t len)
{
    int pair[2];
    hf_error err = {HF_OK, ""};
    assert_int_equal(hf_channel_pair(false, pair).code, HF_OK);
    if (len > 0) {
        send_raw(pair[0], bytes, len);
    }
    (void)close(pair[0]);
    memset(&received, 0, sizeof received);
    hf_status st = hf_frame_recv_config(pair[1], type, &received, &err);
    (void)close(pair[1]);
    if (hf_failed(st)) {
        static const hf_msg_relay_config untouched;
        assert_int_equal(st.code, HF_USAGE);
        assert_non_null(strstr(err.msg, "`holdfast serve`"));
        assert_true(hf_bytes_equal(&received, &untouched, sizeof received));
    }
    return !hf_failed(st);
}

static void a_configuration_comes_as_it_was_sent(void **state)
{
    (void)state;
    hf_msg_relay_config sent = {.max_call_bytes = 77, .url = "http://127.0.0.1:8545"};
    hf_frame_init(&sent, HF_MSG_RELAY_CONFIG, 0);
    assert_true(receives(HF_MSG_RELAY_CONFIG, &sent, sizeof sent));
    assert_true(hf_bytes_equal(&received, &sent, sizeof received));
    assert_int_equal(received.max_call_bytes, 77);
}

static void one_to_the_keeper_travels_the_other_way(void **state)
{
    static hf_msg_keeper_config sent = {.max_keys = 5};
    static hf_msg_keeper_config got;
    int pair[2];
    (void)state;
    hf_frame_init(&sent, HF_MSG_KEEPER_CONFIG, 0);
    assert_int_equal(hf_channel_pair(true, pair).code, HF_OK);
    assert_int_equal(hf_frame_send(pair[0], &sent).code, HF_OK);
    assert_int_equal(hf_frame_recv_config(pair[1], HF_MSG_KEEPER_CONFIG, &got, NULL).code, HF_OK);
    assert_int_equal(got.max_keys, 5);
    (void)close(pair[0]);
    (void)close(pair[1]);
}

static void nothing_else_is_one(void **state)
{
    (void)state;
    hf_msg_relay_config sent = {.max_call_bytes = 77};
    hf_msg_plain other;
    assert_false(receives(HF_MSG_RELAY_CONFIG, NULL, 0)); /* the supervisor is gone */
    assert_false(receives(HF_MSG_RELAY_CONFIG, "x", 1));
    hf_frame_init(&other, HF_MSG_SHUTDOWN, 0); /* may come on this channel, and is none */
    assert_false(receives(HF_MSG_RELAY_CONFIG, &other, sizeof other));
    hf_frame_init(&sent, HF_MSG_RELAY_CONFIG, 0);
    assert_false(receives(HF_MSG_RELAY_CONFIG, &sent, sizeof sent - 1));
    assert_false(receives(HF_MSG_DUTY_CONFIG, &sent, sizeof sent)); /* another process's */
    sent.header.version++;
    assert_false(receives(HF_MSG_RELAY_CONFIG, &sent, sizeof sent));
}

static void a_descriptor_that_is_no_channel_is_said(void **state)
{
    hf_error err = {HF_OK, ""};
    (void)state;
    assert_int_equal(hf_frame_recv_config(-1, HF_MSG_RELAY_CONFIG, &received, &err).code, HF_USAGE);
    assert_non_null(strstr(err.msg, "descriptor -1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_configuration_comes_as_it_was_sent),
        cmocka_unit_test(one_to_the_keeper_travels_the_other_way),
        cmocka_unit_test(nothing_else_is_one),
        cmocka_unit_test(a_descriptor_that_is_no_channel_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
