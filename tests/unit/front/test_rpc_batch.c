/* Batches of JSON-RPC over real sockets: how many signatures the keeper is asked for at once. */
#include "front/rpc_internal.h"
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <unistd.h>

#define ADDRESS "0x9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f"
#define CALLS_MAX (HF_RPC_TOGETHER_MAX + 4)
#define QUIET_MS 50

static rig_answer answer;

/* eth_sign of a byte, which is the id too; of the one at odd the data is no hex. */
static void send_batch(int fd, unsigned calls, unsigned odd)
{
    static char body[16384];
    static char text[sizeof body + 128];
    size_t used = 0;
    for (unsigned i = 0; i < calls; i++) {
        used += (size_t)snprintf(body + used, sizeof body - used,
                                 "%c{\"id\":%u,\"method\":\"eth_sign\",\"params\":[\"" ADDRESS
                                 "\",\"%s%02x\"]}",
                                 i == 0 ? '[' : ',', i, i == odd ? "" : "0x", i);
    }
    (void)snprintf(text, sizeof text,
                   "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n%s]", used + 1, body);
    rig_send(fd, text);
}

/* The ids of n questions, which are those of the batch from first on. */
static void take_questions(const rig *r, unsigned first, unsigned n, uint64_t ret_ids[])
{
    for (unsigned i = 0; i < n; i++) {
        const hf_msg_eth1_sign *ask = (const void *)rig_keeper_take(r, NULL);
        assert_int_equal(ask->header.type, HF_MSG_ETH1_SIGN);
        assert_int_equal(ask->data_len, 1);
        assert_int_equal(ask->data[0], first + i);
        ret_ids[i] = ask->header.request_id;
    }
    assert_true(rig_keeper_is_quiet(r, QUIET_MS));
}

static void reply(const rig *r, uint64_t id, hf_reason reason, unsigned byte)
{
    hf_msg_eth1_reply frame = {.reason = reason};
    hf_frame_init(&frame, HF_MSG_ETH1_REPLY, id);
    if (reason == HF_REASON_OK) {
        memset(frame.signature, (int)byte, sizeof frame.signature);
    }
    rig_keeper_send(r, &frame);
}

static json_t *read_answers(int fd, size_t expected)
{
    assert_true(rig_read(fd, &answer));
    assert_int_equal(answer.status, 200);
    json_t *root = json_loadb(answer.body, answer.body_len, 0, NULL);
    assert_int_equal(json_array_size(root), expected);
    for (size_t i = 0; i < expected; i++) {
        assert_int_equal(json_integer_value(json_object_get(json_array_get(root, i), "id")), i);
    }
    return root;
}

static void expect_signature(const json_t *root, size_t place)
{
    char expected[2 + 2 * HF_SECP256K1_SIGNATURE_BYTES + 1] = "0x";
    uint8_t bytes[HF_SECP256K1_SIGNATURE_BYTES];
    memset(bytes, (int)place, sizeof bytes);
    hf_hex_encode(bytes, sizeof bytes, expected + 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(root, place), "result")),
                        expected);
}

static void expect_code(const json_t *root, size_t place, int code)
{
    const json_t *error = json_object_get(json_array_get(root, place), "error");
    assert_int_equal(json_integer_value(json_object_get(error, "code")), code);
}

static void signatures_are_asked_for_together(void **state)
{
    rig r;
    uint64_t ids[CALLS_MAX];
    hf_server_config config = rig_defaults();
    (void)state;
    config.context.max_in_flight = 1000;
    rig_start(&r, &config);
    int fd = rig_connect(&r, r.port);
    send_batch(fd, CALLS_MAX, CALLS_MAX);
    take_questions(&r, 0, HF_RPC_TOGETHER_MAX, ids);
    for (unsigned i = HF_RPC_TOGETHER_MAX; i > 0; i--) { /* the last first */
        reply(&r, ids[i - 1], i == 3 ? HF_REASON_UNKNOWN_KEY : HF_REASON_OK, i - 1);
        reply(&r, ids[i - 1], HF_REASON_OK, 0); /* a second one counts for nothing */
    }
    take_questions(&r, HF_RPC_TOGETHER_MAX, CALLS_MAX - HF_RPC_TOGETHER_MAX, ids);
    for (unsigned i = HF_RPC_TOGETHER_MAX; i < CALLS_MAX; i++) {
        reply(&r, ids[i - HF_RPC_TOGETHER_MAX], HF_REASON_OK, i);
    }
    json_t *root = read_answers(fd, CALLS_MAX);
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (i == 2) {
            expect_code(root, i, HF_RPC_REFUSED);
        } else {
            expect_signature(root, i);
        }
    }
    json_decref(root);
    (void)close(fd);
    rig_stop(&r);
}

/* A call that cannot be asked waits for those before it, so that answers stand in their order. */
static void no_more_than_there_is_room_for(void **state)
{
    rig r;
    uint64_t ids[3];
    hf_server_config config = rig_defaults();
    (void)state;
    config.context.max_in_flight = 3 * 8; /* of which batches have an eighth */
    rig_start(&r, &config);
    int fd = rig_connect(&r, r.port);
    send_batch(fd, 6, 4);
    take_questions(&r, 0, 3, ids);
    for (unsigned i = 0; i < 3; i++) {
        reply(&r, ids[i], HF_REASON_OK, i);
    }
    take_questions(&r, 3, 1, ids);
    reply(&r, ids[0], HF_REASON_OK, 3);
    take_questions(&r, 5, 1, ids);
    reply(&r, ids[0], HF_REASON_OK, 5);
    json_t *root = read_answers(fd, 6);
    expect_signature(root, 3);
    expect_code(root, 4, HF_RPC_INVALID_PARAMS);
    expect_signature(root, 5);
    json_decref(root);
    (void)close(fd);
    rig_stop(&r);
}

/* Replies that come when the batch is over belong to nobody, least of all to the next one. */
static void a_batch_that_ends_early(void **state)
{
    rig r;
    uint64_t old[3];
    uint64_t ids[2];
    hf_msg_result refusal = {.reason = HF_REASON_SHUTTING_DOWN};
    hf_server_config config = rig_defaults();
    (void)state;
    config.context.max_in_flight = 1000;
    rig_start(&r, &config);
    int fd = rig_connect(&r, r.port);
    send_batch(fd, 3, 3);
    take_questions(&r, 0, 3, old);
    hf_frame_init(&refusal, HF_MSG_RESULT, old[1]);
    rig_keeper_send(&r, &refusal);
    assert_true(rig_read(fd, &answer));
    assert_int_equal(answer.status, 503);
    send_batch(fd, 2, 2);
    take_questions(&r, 0, 2, ids);
    for (unsigned i = 0; i < 3; i++) {
        reply(&r, old[i], HF_REASON_OK, 9);
    }
    reply(&r, ids[1], HF_REASON_OK, 1);
    reply(&r, ids[0], HF_REASON_OK, 0);
    json_t *root = read_answers(fd, 2);
    expect_signature(root, 0);
    expect_signature(root, 1);
    json_decref(root);
    (void)close(fd);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_are_asked_for_together),
        cmocka_unit_test(no_more_than_there_is_room_for),
        cmocka_unit_test(a_batch_that_ends_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
