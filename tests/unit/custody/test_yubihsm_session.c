/* The session protocol of the YubiHSM against a session that was computed apart from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "custody/yubihsm_internal.h"

#define assert_code(status, expected) assert_int_equal((status).code, (expected))
#define BYTES_MAX 512

typedef struct bytes {
    uint8_t ptr[BYTES_MAX];
    size_t len;
} bytes;

static int setup(void **state)
{
    *state = json_load_file(HF_TEST_VECTORS "/yubihsm/session.json", 0, NULL);
    assert_non_null(*state);
    return 0;
}

static int teardown(void **state)
{
    json_decref(*state);
    return 0;
}

static bytes vector(void **state, const char *name)
{
    bytes b = {.len = 0};
    const char *hex = json_string_value(json_object_get(*state, name));
    assert_non_null(hex);
    b.len = strlen(hex) / 2;
    assert_true(b.len <= sizeof b.ptr);
    assert_code(hf_hex_decode(hex, strlen(hex), b.ptr, b.len), HF_OK);
    return b;
}

static void assert_message(const hf_yubi_message *message, bytes expected)
{
    assert_int_equal(message->len, expected.len);
    assert_memory_equal(message->bytes, expected.ptr, expected.len);
}

/* Once: its ten thousand rounds take long under valgrind. */
static hf_yubi_keys keys_of(void **state)
{
    static hf_yubi_keys keys;
    static bool is_known;
    const char *password = json_string_value(json_object_get(*state, "password"));
    if (!is_known) {
        assert_code(hf_yubi_password_keys(hf_bytes_from(password, strlen(password)), &keys), HF_OK);
        is_known = true;
    }
    return keys;
}

static hf_status begin(void **state, bytes answer, hf_yubi_session *session,
                       hf_yubi_message *message)
{
    hf_yubi_keys keys = keys_of(state);
    hf_bytes data = hf_bytes_from(answer.ptr + HF_YUBI_HEAD_BYTES, answer.len - HF_YUBI_HEAD_BYTES);
    return hf_yubi_session_begin(&keys, vector(state, "host_challenge").ptr, data, session,
                                 message);
}

static void test_password(void **state)
{
    hf_yubi_keys keys = keys_of(state);
    assert_memory_equal(keys.enc, vector(state, "enc_key").ptr, sizeof keys.enc);
    assert_memory_equal(keys.mac, vector(state, "mac_key").ptr, sizeof keys.mac);
}

static void test_session(void **state)
{
    hf_yubi_session session;
    hf_yubi_message message;
    hf_yubi_message inner;
    bytes command = vector(state, "sign_eddsa_inner");
    assert_code(begin(state, vector(state, "create_session_resp"), &session, &message), HF_OK);
    assert_message(&message, vector(state, "authenticate_session_cmd"));
    assert_memory_equal(session.enc, vector(state, "s_enc").ptr, sizeof session.enc);
    assert_memory_equal(session.mac, vector(state, "s_mac").ptr, sizeof session.mac);
    assert_memory_equal(session.rmac, vector(state, "s_rmac").ptr, sizeof session.rmac);
    assert_code(hf_yubi_session_seal(&session, command.ptr[0],
                                     hf_bytes_from(command.ptr + HF_YUBI_HEAD_BYTES,
                                                   command.len - HF_YUBI_HEAD_BYTES),
                                     &message),
                HF_OK);
    assert_message(&message, vector(state, "session_message_cmd"));
    assert_memory_equal(session.chain, vector(state, "chaining_after_cmd").ptr,
                        sizeof session.chain);
    bytes answer = vector(state, "session_message_resp");
    assert_code(hf_yubi_session_open(&session, hf_bytes_from(answer.ptr, answer.len), &inner),
                HF_OK);
    assert_message(&inner, vector(state, "inner_resp"));
    assert_int_equal(session.counter, 2);
}

/* Each bit of the device's first answer and of a message counts. */
static void test_changed_bits(void **state)
{
    hf_yubi_session session;
    hf_yubi_session fresh;
    hf_yubi_message message;
    hf_yubi_message inner;
    bytes created = vector(state, "create_session_resp");
    assert_code(begin(state, created, &fresh, &message), HF_OK);
    for (size_t i = 8 * (HF_YUBI_HEAD_BYTES + 1); i < 8 * created.len; i++) {
        bytes changed = created;
        changed.ptr[i / 8] ^= (uint8_t)(1U << i % 8);
        assert_code(begin(state, changed, &session, &message), HF_DENIED);
    }
    memcpy(fresh.chain, vector(state, "chaining_after_cmd").ptr, sizeof fresh.chain);
    bytes answer = vector(state, "session_message_resp");
    for (size_t i = 0; i < 8 * answer.len; i++) {
        bytes changed = answer;
        session = fresh;
        changed.ptr[i / 8] ^= (uint8_t)(1U << i % 8);
        assert_code(hf_yubi_session_open(&session, hf_bytes_from(changed.ptr, changed.len), &inner),
                    HF_CRYPTO);
    }
    for (size_t len = 0; len < answer.len; len++) {
        session = fresh;
        assert_code(hf_yubi_session_open(&session, hf_bytes_from(answer.ptr, len), &inner),
                    HF_CRYPTO);
    }
}

static void test_bounds(void **state)
{
    hf_yubi_session session;
    hf_yubi_message message;
    static const uint8_t data[HF_YUBI_DATA_MAX + 1];
    assert_code(begin(state, vector(state, "create_session_resp"), &session, &message), HF_OK);
    assert_code(hf_yubi_session_seal(&session, HF_YUBI_ECHO, hf_bytes_from(data, HF_YUBI_DATA_MAX),
                                     &message),
                HF_OK);
    assert_true(message.len <= HF_YUBI_MESSAGE_MAX);
    assert_code(
        hf_yubi_session_seal(&session, HF_YUBI_ECHO, hf_bytes_from(data, sizeof data), &message),
        HF_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_password),
        cmocka_unit_test(test_session),
        cmocka_unit_test(test_changed_bits),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
