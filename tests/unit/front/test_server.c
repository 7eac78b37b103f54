/* The server over real sockets, with the test in the keeper's place. */
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEY                                                                                        \
    "0x8f5a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5" \
    "c6d7e8"
#define ROOT "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95"
#define RANDAO                                                                                     \
    "{\"type\":\"RANDAO_REVEAL\",\"fork_info\":{\"fork\":{\"previous_version\":\"0x04000000\","    \
    "\"current_version\":\"0x05000000\",\"epoch\":\"0\"},\"genesis_validators_root\":\"" ROOT      \
    "\"},\"randao_reveal\":{\"epoch\":\"12\"}}"

static rig_answer answer;

static int setup(void **state)
{
    static rig r;
    hf_server_config config = rig_defaults();
    rig_start(&r, &config);
    *state = &r;
    return 0;
}

static int teardown(void **state)
{
    rig_stop(*state);
    return 0;
}

static const char *sign_request(const char *headers, const char *body)
{
    static char text[8192];
    int n = snprintf(text, sizeof text,
                     "POST /api/v1/eth2/sign/" KEY " HTTP/1.1\r\nHost: h\r\n%s"
                     "Content-Length: %zu\r\n\r\n%s",
                     headers, strlen(body), body);
    assert_true(n > 0 && (size_t)n < sizeof text);
    return text;
}

static void reply_signature(const rig *r, uint64_t request_id, uint8_t byte)
{
    hf_msg_sign_reply reply = {.reason = HF_REASON_OK};
    hf_frame_init(&reply, HF_MSG_SIGN_REPLY, request_id);
    memset(reply.signature, byte, sizeof reply.signature);
    rig_keeper_send(r, &reply);
}

static uint64_t take_sign(const rig *r)
{
    const hf_msg_sign *sign = (const void *)rig_keeper_take(r, NULL);
    assert_int_equal(sign->header.type, HF_MSG_SIGN);
    return sign->header.request_id;
}

static void answers_upcheck_by_accept(void **state)
{
    rig_ask(*state, "GET /upcheck HTTP/1.1\r\nHost: h\r\n\r\n", &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "OK");
    rig_ask(*state, "GET /upcheck HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\n\r\n",
            &answer);
    assert_string_equal(answer.body, "{\"status\":\"OK\"}");
    rig_ask(*state, "GET /upcheck HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n", &answer);
    assert_string_equal(answer.body, "OK");
}

static void signs_in_text_unless_asked_for_json(void **state)
{
    const rig *r = *state;
    int fd = rig_connect(r, r->port);
    static const char *const accepts[] = {"", "Accept: text/plain\r\n", "Accept: */*\r\n",
                                          "Accept: text/html, application/json\r\n"};
    for (size_t i = 0; i < HF_ARRAY_LEN(accepts); i++) {
        rig_send(fd, sign_request(accepts[i], RANDAO));
        const hf_msg_sign *sign = (const void *)rig_keeper_take(r, NULL);
        assert_int_equal(sign->request.operation, HF_OP_RANDAO_REVEAL);
        assert_int_equal(sign->request.fields.randao_epoch, 12);
        assert_int_equal(sign->request.pubkey[0], 0x8f);
        assert_true(sign->received_ns <= sign->decoded_ns && sign->received_ns > 0);
        reply_signature(r, sign->header.request_id, 0xab);
        assert_true(rig_read(fd, &answer));
        assert_int_equal(answer.status, 200);
        if (i < 2) {
            assert_int_equal(answer.body_len, 194);
            assert_memory_equal(answer.body, "0xabab", 6);
            assert_non_null(strstr(answer.head, "Content-Type: text/plain"));
        } else {
            assert_memory_equal(answer.body, "{\"signature\":\"0xabab", 20);
            assert_non_null(strstr(answer.head, "Content-Type: application/json\r\n"));
        }
    }
    (void)close(fd);
}

static void announces_a_lone_request_to_sign(void **state)
{
    const rig *r = *state;
    int first = rig_connect(r, r->port);
    int second = rig_connect(r, r->port);
    (void)rig_take_announced();
    rig_send(first, sign_request("", RANDAO));
    uint64_t first_id = take_sign(r);
    assert_int_equal(rig_take_announced(), 1);
    rig_send(second, sign_request("", RANDAO)); /* the keeper is at work already */
    uint64_t second_id = take_sign(r);
    assert_int_equal(rig_take_announced(), 0);
    reply_signature(r, first_id, 1);
    reply_signature(r, second_id, 2);
    assert_true(rig_read(first, &answer) && answer.status == 200);
    assert_true(rig_read(second, &answer) && answer.status == 200);
    rig_send(first, "GET /upcheck HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(rig_read(first, &answer) && answer.status == 200);
    assert_true(rig_keeper_is_quiet(r, 50));
    assert_int_equal(rig_take_announced(), 0);
    (void)close(first);
    (void)close(second);
}

static void tells_a_refusal_of_the_keeper(void **state)
{
    const rig *r = *state;
    int fd = rig_connect(r, r->port);
    rig_send(fd, sign_request("", RANDAO));
    hf_msg_sign_reply reply = {.reason = HF_REASON_DOUBLE_VOTE};
    hf_frame_init(&reply, HF_MSG_SIGN_REPLY, take_sign(r));
    rig_keeper_send(r, &reply);
    assert_true(rig_read(fd, &answer));
    assert_int_equal(answer.status, 412);
    assert_non_null(strstr(answer.body, "\"code\":\"DOUBLE_VOTE\""));
    assert_true(rig_keeper_is_quiet(r, 50)); /* the keeper has counted it */
    (void)close(fd);
}

static void refuses_by_the_head(void **state)
{
    static const struct {
        const char *request;
        int status;
        hf_reason reason;
        const char *header;
    } cases[] = {
        {"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n", 404, HF_REASON_NOT_FOUND, NULL},
        {"PUT /reload HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 405,
         HF_REASON_METHOD_NOT_ALLOWED, "Allow: GET, HEAD, POST\r\n"},
        {"GET /upcheck HTTP/1.1\r\nHost: h\r\nOrigin: http://evil\r\n\r\n", 403,
         HF_REASON_CROSS_ORIGIN, NULL},
        {"POST /api/v1/eth2/sign/0x00 HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n"
         "Content-Length: 2\r\n\r\n{}",
         415, HF_REASON_UNSUPPORTED_MEDIA_TYPE, NULL},
        {"POST /api/v1/eth2/sign/" KEY " HTTP/1.1\r\nHost: h\r\nContent-Length: 65537\r\n\r\n", 413,
         HF_REASON_TOO_LARGE, NULL},
        {"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n", 404, HF_REASON_NOT_FOUND, NULL},
        {"POST /api/v1/eth2/sign/" KEY " HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n{", 400,
         HF_REASON_MALFORMED, NULL},
        {"GET /eth/v1/keystores HTTP/1.1\r\nHost: h\r\n\r\n", 401, HF_REASON_UNAUTHORIZED,
         "WWW-Authenticate: Bearer\r\n"},
    };
    const rig *r = *state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        rig_ask(r, cases[i].request, &answer);
        assert_int_equal(answer.status, cases[i].status);
        char code[64];
        (void)snprintf(code, sizeof code, "\"code\":\"%s\"",
                       hf_reason_describe(cases[i].reason)->code);
        assert_non_null(strstr(answer.body, code));
        assert_int_equal(rig_keeper_take_count(r), cases[i].reason);
        if (cases[i].header != NULL) {
            assert_non_null(strstr(answer.head, cases[i].header));
        }
    }
}

static void bounds_a_body_without_length(void **state)
{
    const rig *r = *state;
    static char chunk[40000];
    int fd = rig_connect(r, r->port);
    (void)snprintf(chunk, sizeof chunk, "%x\r\n%0*d\r\n", 32768, 32768, 7);
    rig_send(fd, "POST /api/v1/eth2/sign/" KEY
                 " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 3; i++) {
        rig_send(fd, chunk);
    }
    rig_send(fd, "0\r\n\r\n");
    assert_true(rig_read(fd, &answer));
    assert_int_equal(answer.status, 413);
    /* the connection goes on */
    rig_send(fd, "GET /upcheck HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(rig_read(fd, &answer));
    assert_int_equal(answer.status, 200);
    (void)close(fd);
}

static void takes_a_large_body_in_pieces(void **state)
{
    const rig *r = *state;
    static char body[20000];
    static char request[21000];
    int fd = rig_connect(r, r->port);
    /* unknown members are ignored: one of them makes the body outgrow the place's own bytes */
    int n = snprintf(body, sizeof body, "{\"padding\":\"%0*d\",%s", 15000, 0, &RANDAO[1]);
    (void)snprintf(
        request, sizeof request,
        "POST /api/v1/eth2/sign/" KEY " HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", n);
    rig_send(fd, request);
    for (int sent = 0; sent < n; sent += 3000) {
        char piece[3001];
        (void)snprintf(piece, sizeof piece, "%.3000s", body + sent);
        rig_send(fd, piece);
        (void)usleep(2000);
    }
    reply_signature(r, take_sign(r), 1);
    assert_true(rig_read(fd, &answer));
    assert_int_equal(answer.status, 200);
    (void)close(fd);
}

static void answers_a_pipeline_in_order(void **state)
{
    const rig *r = *state;
    int fd = rig_connect(r, r->port);
    hf_buf *text = hf_buf_new(16384);
    hf_status st = hf_buf_putf(text, "%s", sign_request("", RANDAO));
    assert_false(hf_failed(st));
    st = hf_buf_putf(text, "GET /upcheck HTTP/1.1\r\nHost: h\r\n\r\n%s",
                     sign_request("Accept: application/json\r\n", RANDAO));
    assert_false(hf_failed(st));
    rig_send(fd, hf_buf_text(text));
    hf_buf_free(text);
    reply_signature(r, take_sign(r), 1);
    assert_true(rig_read(fd, &answer));
    assert_memory_equal(answer.body, "0x0101", 6);
    assert_true(rig_read(fd, &answer));
    assert_string_equal(answer.body, "OK");
    reply_signature(r, take_sign(r), 2);
    assert_true(rig_read(fd, &answer));
    assert_memory_equal(answer.body, "{\"signature\":\"0x0202", 20);
    (void)close(fd);
}

static void answers_out_of_order_replies_to_their_askers(void **state)
{
    const rig *r = *state;
    int fds[8];
    uint64_t ids[8];
    for (int i = 0; i < 8; i++) {
        fds[i] = rig_connect(r, r->port);
        rig_send(fds[i], sign_request("", RANDAO));
        ids[i] = take_sign(r);
    }
    for (int i = 7; i >= 0; i--) {
        reply_signature(r, ids[i], (uint8_t)(0x10 + i));
    }
    for (int i = 0; i < 8; i++) {
        char expected[5];
        assert_true(rig_read(fds[i], &answer));
        (void)snprintf(expected, sizeof expected, "0x%02x", 0x10 + i);
        assert_memory_equal(answer.body, expected, 4);
        (void)close(fds[i]);
    }
}

static void forgets_a_client_that_left(void **state)
{
    const rig *r = *state;
    int fd = rig_connect(r, r->port);
    rig_send(fd, sign_request("", RANDAO));
    uint64_t id = take_sign(r);
    (void)close(fd);
    reply_signature(r, id, 1);
    reply_signature(r, id, 1);              /* a reply to nobody */
    reply_signature(r, id | UINT32_MAX, 1); /* and to no place at all */
    rig_ask(r, "GET /upcheck HTTP/1.1\r\nHost: h\r\n\r\n", &answer);
    assert_int_equal(answer.status, 200);
}

static int setup_tight(void **state)
{
    static rig r;
    hf_server_config config = rig_defaults();
    config.context.request_timeout_ms = 300;
    config.context.max_in_flight = 2;
    config.max_connections = 4;
    rig_start(&r, &config);
    *state = &r;
    return 0;
}

static void refuses_at_once_when_too_many_wait(void **state)
{
    const rig *r = *state;
    int first = rig_connect(r, r->port);
    int second = rig_connect(r, r->port);
    rig_send(first, sign_request("", RANDAO));
    rig_send(second, sign_request("", RANDAO));
    (void)take_sign(r);
    (void)take_sign(r);
    rig_ask(r, sign_request("", RANDAO), &answer);
    assert_int_equal(answer.status, 503);
    assert_non_null(strstr(answer.body, "OVERLOADED"));
    assert_non_null(strstr(answer.head, "Retry-After: 1\r\n"));
    assert_int_equal(rig_keeper_take_count(r), HF_REASON_OVERLOADED);
    (void)close(first);
    (void)close(second);
}

static void gives_up_on_a_silent_keeper(void **state)
{
    const rig *r = *state;
    int fd = rig_connect(r, r->port);
    rig_send(fd, sign_request("", RANDAO));
    uint64_t id = take_sign(r);
    assert_true(rig_read(fd, &answer));
    assert_int_equal(answer.status, 503);
    assert_non_null(strstr(answer.body, "TIMEOUT"));
    assert_int_equal(rig_keeper_take_count(r), HF_REASON_TIMEOUT);
    reply_signature(r, id, 0xff); /* too late: never the answer to the next question */
    rig_send(fd, sign_request("", RANDAO));
    reply_signature(r, take_sign(r), 0x22);
    assert_true(rig_read(fd, &answer));
    assert_memory_equal(answer.body, "0x2222", 6);
    rig_send(fd, "GET /healthcheck HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(rig_read(fd, &answer));
    assert_int_equal(answer.status, 503);
    assert_non_null(strstr(answer.body, "\"status\":\"DOWN\""));
    (void)close(fd);
}

static void ends_when_the_keeper_is_gone(void **state)
{
    rig *r = *state;
    int fd = rig_connect(r, r->port);
    rig_send(fd, sign_request("", RANDAO));
    (void)take_sign(r);
    (void)shutdown(r->keeper, SHUT_RDWR);
    assert_true(rig_read(fd, &answer));
    assert_int_equal(answer.status, 503);
    assert_non_null(strstr(answer.body, "KEEPER_UNAVAILABLE"));
    assert_int_equal(rig_wait(r, 5000), 1);
    (void)close(fd);
}

static void drains_when_told_to(void **state)
{
    rig *r = *state;
    hf_msg_plain shutdown_frame;
    int idle = rig_connect(r, r->port);
    int busy = rig_connect(r, r->port);
    char byte;
    rig_send(idle, "GET /upcheck HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(rig_read(idle, &answer));
    rig_send(busy, sign_request("", RANDAO));
    uint64_t id = take_sign(r);
    hf_frame_init(&shutdown_frame, HF_MSG_SHUTDOWN, 0);
    assert_false(hf_failed(hf_frame_send(r->control, &shutdown_frame)));
    assert_int_equal(recv(idle, &byte, 1, 0), 0);
    assert_int_equal(rig_connect(r, r->port), -1);
    assert_int_equal(rig_wait(r, 50), -1);
    reply_signature(r, id, 0x33);
    assert_true(rig_read(busy, &answer));
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "Connection: close\r\n"));
    assert_int_equal(rig_wait(r, 5000), 0);
    (void)close(idle);
    (void)close(busy);
}

static void makes_room_for_those_who_ask(void **state)
{
    const rig *r = *state;
    int silent[4];
    for (int i = 0; i < 4; i++) {
        silent[i] = rig_connect(r, r->port);
    }
    (void)usleep(50000);
    int fd = rig_connect(r, r->port); /* the kernel's queue takes it */
    rig_send(fd, "GET /upcheck HTTP/1.1\r\nHost: h\r\n\r\n");
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&waiting, 1, 10000), 1);
    assert_true(rig_read(fd, &answer));
    assert_int_equal(answer.status, 200);
    for (int i = 0; i < 4; i++) {
        (void)close(silent[i]);
    }
    (void)close(fd);
}

static void bounds_what_the_keeper_is_asked(void **state)
{
    /* More than the channel holds while the keeper reads nothing: the rest waits its turn here. */
    rig *r = *state;
    enum { ASKERS = 400 };
    int fds[ASKERS];
    uint64_t ids[ASKERS];
    for (int i = 0; i < ASKERS; i++) {
        fds[i] = rig_connect(r, r->port);
        assert_true(fds[i] >= 0);
        rig_send(fds[i], sign_request("", RANDAO));
    }
    (void)usleep(200000);
    for (int i = 0; i < ASKERS; i++) {
        ids[i] = take_sign(r);
    }
    for (int i = 0; i < ASKERS; i++) {
        reply_signature(r, ids[i], 0x44);
    }
    for (int i = 0; i < ASKERS; i++) {
        assert_true(rig_read(fds[i], &answer));
        assert_int_equal(answer.status, 200);
        (void)close(fds[i]);
    }
}

static int setup_wide(void **state)
{
    static rig r;
    hf_server_config config = rig_defaults();
    config.context.max_in_flight = 512;
    config.max_connections = 512;
    rig_start(&r, &config);
    *state = &r;
    return 0;
}

#define CASE(name, prepare) cmocka_unit_test_setup_teardown(name, prepare, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(answers_upcheck_by_accept, setup),
        CASE(signs_in_text_unless_asked_for_json, setup),
        CASE(announces_a_lone_request_to_sign, setup),
        CASE(tells_a_refusal_of_the_keeper, setup),
        CASE(refuses_by_the_head, setup),
        CASE(bounds_a_body_without_length, setup),
        CASE(takes_a_large_body_in_pieces, setup),
        CASE(answers_a_pipeline_in_order, setup),
        CASE(answers_out_of_order_replies_to_their_askers, setup),
        CASE(forgets_a_client_that_left, setup),
        CASE(refuses_at_once_when_too_many_wait, setup_tight),
        CASE(gives_up_on_a_silent_keeper, setup_tight),
        CASE(makes_room_for_those_who_ask, setup_tight),
        CASE(bounds_what_the_keeper_is_asked, setup_wide),
        CASE(ends_when_the_keeper_is_gone, setup),
        CASE(drains_when_told_to, setup),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
