/* holdfast-hsm at work, with a made-up back end behind it and this test in the keeper's place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "custody/hsm_internal.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define SOON_NS (20 * HF_NS_PER_SECOND)
#define HANDLE_HANGS 77

/* The back end: what it does is set by the test. */
static struct {
    _Atomic int refusals; /* so many opens fail */
    _Atomic bool fails_to_list;
    _Atomic bool let_go; /* calls that hang come back */
    _Atomic int closed;
} device;

typedef struct rig {
    hf_hsm_plan plan;
    hf_custody_settings settings;
    hf_harden_report report;
    pthread_t thread;
    _Atomic bool has_ended;
    bool ended_well;
    int keys; /* our ends */
    int sign;
    int control;
    _Alignas(8) uint8_t frame[HF_IPC_MAX_BYTES];
} rig;

/* ---- the back end ------------------------------------------------------------------------------
 */

static hf_status device_list(hf_custody *custody, const hf_custody_visitor *visitor,
                             uint64_t deadline_ns, hf_error *err)
{
    hf_custody_key key = {.type = HF_CUSTODY_SECP256K1, .is_inside = true, .name = "one"};
    (void)custody;
    assert_true(deadline_ns > hf_time_mono_ns());
    if (atomic_load(&device.fails_to_list)) {
        return hf_fail(err, HF_UNAVAILABLE, "the cable is out");
    }
    memset(key.secret, 0x5e, sizeof key.secret); /* of one inside: must not travel */
    hf_status st = visitor->key(visitor->context, &key);
    if (!hf_failed(st)) {
        key.is_inside = false;
        key.type = HF_CUSTODY_BLS;
        st = visitor->key(visitor->context, &key);
        visitor->failed(visitor->context, "two", "not a key");
    }
    return st;
}

static hf_status device_sign(hf_custody *custody, uint64_t handle, hf_bytes message,
                             uint64_t deadline_ns,
                             uint8_t ret_signature[HF_CUSTODY_SIGNATURE_BYTES], hf_error *err)
{
    (void)custody;
    while (handle == HANDLE_HANGS && !atomic_load(&device.let_go)) {
        hf_time_sleep_ns(HF_NS_PER_MS);
    }
    assert_true(handle == HANDLE_HANGS || deadline_ns > hf_time_mono_ns());
    memset(ret_signature, message.len > 0 ? message.ptr[0] : 0, HF_CUSTODY_SIGNATURE_BYTES);
    return handle == 0 ? hf_fail(err, HF_NOT_FOUND, "no such key") : hf_ok();
}

static hf_status device_wrap(hf_custody *custody, const char *reference, hf_bytes context,
                             hf_bytes secret, uint64_t deadline_ns, uint8_t *out, size_t *out_len,
                             hf_error *err)
{
    (void)custody;
    (void)deadline_ns;
    if (strcmp(reference, "kek") != 0 || *out_len < secret.len) {
        return hf_fail(err, HF_DENIED, "not this key");
    }
    for (size_t i = 0; i < secret.len; i++) {
        out[i] = secret.ptr[i] ^ (uint8_t)context.len;
    }
    *out_len = secret.len;
    return hf_ok();
}

static bool device_is_healthy(hf_custody *custody, char ret_detail[HF_DETAIL_LEN])
{
    (void)custody;
    (void)snprintf(ret_detail, HF_DETAIL_LEN, "it hums");
    return true;
}

static void device_close(hf_custody *custody)
{
    (void)custody;
    atomic_fetch_add(&device.closed, 1);
}

static hf_status device_open(const hf_custody_settings *settings, hf_custody **ret, hf_error *err)
{
    static const hf_custody_ops ops = {.list = device_list,
                                       .sign = device_sign,
                                       .wrap = device_wrap,
                                       .unwrap = device_wrap,
                                       .is_healthy = device_is_healthy,
                                       .close = device_close};
    static hf_custody custody = {.ops = &ops};
    assert_string_equal(hf_custody_setting(settings, "module"), "/m.so");
    if (atomic_load(&device.refusals) > 0) {
        atomic_fetch_sub(&device.refusals, 1);
        return hf_fail(err, HF_UNAVAILABLE, "nothing plugged in");
    }
    *ret = &custody;
    return hf_ok();
}

/* ---- the rig -----------------------------------------------------------------------------------
 */

static void *serve(void *context)
{
    rig *r = context;
    r->ended_well = hf_hsm_serve(&r->plan);
    atomic_store(&r->has_ended, true);
    return NULL;
}

static int open_end(int *ret_theirs)
{
    int pair[2];
    assert_int_equal(hf_channel_pair(true, pair).code, HF_OK);
    *ret_theirs = pair[1];
    return pair[0];
}

static int setup(void **state)
{
    rig *r = calloc(1, sizeof *r);
    assert_non_null(r);
    hf_log_init("test", HF_LOG_TEXT, (hf_log_level)(HF_LOG_BROKEN + 1));
    atomic_store(&device.refusals, 0);
    atomic_store(&device.fails_to_list, false);
    atomic_store(&device.let_go, false);
    atomic_store(&device.closed, 0);
    assert_false(hf_failed(hf_custody_settings_put(&r->settings, "module", "/m.so")));
    r->plan = (hf_hsm_plan){.open = device_open,
                            .settings = &r->settings,
                            .report = &r->report,
                            .threads = 4,
                            .lists = true};
    r->keys = open_end(&r->plan.keys_fd);
    r->sign = open_end(&r->plan.sign_fd);
    r->control = open_end(&r->plan.control_fd);
    *state = r;
    return 0;
}

static void begin(rig *r)
{
    assert_int_equal(pthread_create(&r->thread, NULL, serve, r), 0);
}

static int teardown(void **state)
{
    rig *r = *state;
    atomic_store(&device.let_go, true);
    (void)close(r->control);
    assert_int_equal(pthread_join(r->thread, NULL), 0);
    assert_true(r->ended_well);
    (void)close(r->keys);
    (void)close(r->sign);
    (void)close(r->plan.keys_fd);
    (void)close(r->plan.sign_fd);
    (void)close(r->plan.control_fd);
    free(r);
    return 0;
}

/* The next frame but for signs of state. */
static const hf_frame_header *receive(rig *r, int fd, hf_channel channel)
{
    for (;;) {
        struct pollfd one = {.fd = fd, .events = POLLIN};
        size_t len = 0;
        assert_int_equal(poll(&one, 1, PATIENCE_MS), 1);
        assert_int_equal(hf_frame_recv(fd, r->frame, &len, NULL).code, HF_OK);
        assert_true(hf_frame_is_acceptable(r->frame, len, channel, true));
        const hf_frame_header *header = (const void *)r->frame;
        if (header->type != HF_MSG_CUSTODY_STATE) {
            return header;
        }
    }
}

static const void *listed(rig *r, hf_msg_type type)
{
    const hf_frame_header *header = receive(r, r->keys, HF_CHANNEL_CUSTODY_KEYS);
    assert_int_equal(header->type, type);
    return header;
}

static void expect_listing(rig *r)
{
    static const uint8_t zeros[HF_CUSTODY_SECRET_BYTES];
    (void)listed(r, HF_MSG_CUSTODY_BEGIN);
    const hf_msg_custody_key *key = listed(r, HF_MSG_CUSTODY_KEY);
    assert_int_equal(key->is_inside, 1);
    assert_memory_equal(key->secret, zeros, sizeof zeros);
    key = listed(r, HF_MSG_CUSTODY_KEY);
    assert_int_equal(key->is_inside, 0);
    assert_int_equal(key->secret[31], 0x5e);
    const hf_msg_key_failed *failed = listed(r, HF_MSG_CUSTODY_FAILED);
    assert_string_equal(failed->detail, "not a key");
    const hf_msg_custody_done *done = listed(r, HF_MSG_CUSTODY_DONE);
    assert_int_equal(done->code, HF_OK);
    assert_int_equal(done->count, 2);
    assert_int_equal(done->failed, 1);
}

static void send_sign(const rig *r, uint64_t id, uint64_t handle, uint64_t patience_ns)
{
    hf_msg_custody_sign frame = {
        .deadline_ns = hf_time_mono_ns() + patience_ns, .handle = handle, .len = 32};
    hf_frame_init(&frame, HF_MSG_CUSTODY_SIGN, id);
    frame.message[0] = (uint8_t)id;
    assert_int_equal(hf_frame_send(r->sign, &frame).code, HF_OK);
}

static const hf_msg_custody_signed *answer(rig *r, uint64_t id)
{
    const hf_frame_header *header = receive(r, r->sign, HF_CHANNEL_CUSTODY);
    assert_int_equal(header->type, HF_MSG_CUSTODY_SIGNED);
    assert_int_equal(header->request_id, id);
    return (const void *)header;
}

/* ---- tests -------------------------------------------------------------------------------------
 */

static void lists_signs_and_wraps(void **state)
{
    rig *r = *state;
    hf_msg_plain list;
    hf_msg_custody_wrap wrap = {
        .deadline_ns = hf_time_mono_ns() + SOON_NS, .len = 2, .context_len = 3, .reference = "kek"};
    begin(r);
    expect_listing(r);
    hf_frame_init(&list, HF_MSG_CUSTODY_LIST, 0);
    assert_int_equal(hf_frame_send(r->keys, &list).code, HF_OK);
    expect_listing(r);
    send_sign(r, 5, 1, SOON_NS);
    const hf_msg_custody_signed *got = answer(r, 5);
    assert_int_equal(got->code, HF_OK);
    assert_int_equal(got->signature[63], 5);
    send_sign(r, 6, 0, SOON_NS);
    got = answer(r, 6);
    assert_int_equal(got->code, HF_NOT_FOUND);
    assert_string_equal(got->detail, "no such key");
    assert_true(hf_bytes_is_zero(got->signature, sizeof got->signature));
    wrap.data[0] = 8;
    hf_frame_init(&wrap, HF_MSG_CUSTODY_WRAP, 7);
    assert_int_equal(hf_frame_send(r->sign, &wrap).code, HF_OK);
    const hf_msg_custody_wrapped *wrapped = (const void *)receive(r, r->sign, HF_CHANNEL_CUSTODY);
    assert_int_equal(wrapped->header.request_id, 7);
    assert_int_equal(wrapped->len, 2);
    assert_int_equal(wrapped->data[0], 8 ^ 3);
    wrap.reference[0] = 'x';
    hf_frame_init(&wrap, HF_MSG_CUSTODY_UNWRAP, 8);
    assert_int_equal(hf_frame_send(r->sign, &wrap).code, HF_OK);
    wrapped = (const void *)receive(r, r->sign, HF_CHANNEL_CUSTODY);
    assert_int_equal(wrapped->code, HF_DENIED);
    assert_int_equal(wrapped->len, 0);
}

static void what_is_down_is_tried_until_it_lists(void **state)
{
    rig *r = *state;
    atomic_store(&device.refusals, 1);
    atomic_store(&device.fails_to_list, true);
    begin(r);
    (void)listed(r, HF_MSG_CUSTODY_BEGIN);
    const hf_msg_custody_done *done = listed(r, HF_MSG_CUSTODY_DONE);
    assert_int_equal(done->code, HF_UNAVAILABLE);
    assert_string_equal(done->detail, "nothing plugged in");
    send_sign(r, 1, 1, SOON_NS);
    const hf_msg_custody_signed *got = answer(r, 1);
    assert_int_equal(got->code, HF_UNAVAILABLE);
    (void)listed(r, HF_MSG_CUSTODY_BEGIN);
    done = listed(r, HF_MSG_CUSTODY_DONE);
    assert_string_equal(done->detail, "the cable is out");
    send_sign(r, 2, 1, SOON_NS); /* open it is by now */
    assert_int_equal(answer(r, 2)->code, HF_OK);
    atomic_store(&device.fails_to_list, false);
    expect_listing(r);
}

static void hostile_questions_are_passed_over(void **state)
{
    rig *r = *state;
    static hf_msg_custody_sign sign;
    static hf_msg_custody_wrap wrap;
    begin(r);
    expect_listing(r);
    sign = (hf_msg_custody_sign){.deadline_ns = UINT64_MAX, .handle = 1};
    sign.len = HF_CUSTODY_MESSAGE_MAX + 1;
    hf_frame_init(&sign, HF_MSG_CUSTODY_SIGN, 1);
    assert_int_equal(hf_frame_send(r->sign, &sign).code, HF_OK);
    wrap = (hf_msg_custody_wrap){.deadline_ns = UINT64_MAX, .len = HF_CUSTODY_BLOB_MAX + 1};
    hf_frame_init(&wrap, HF_MSG_CUSTODY_WRAP, 2);
    assert_int_equal(hf_frame_send(r->sign, &wrap).code, HF_OK);
    wrap.len = 1;
    wrap.context_len = UINT32_MAX;
    assert_int_equal(hf_frame_send(r->sign, &wrap).code, HF_OK);
    wrap.context_len = 1;
    memset(wrap.reference, 'k', sizeof wrap.reference); /* no end */
    assert_int_equal(hf_frame_send(r->sign, &wrap).code, HF_OK);
    assert_int_equal(send(r->sign, &sign, sizeof sign - 1, 0), sizeof sign - 1);
    assert_int_equal(send(r->keys, "list", 4, 0), 4);
    sign.len = 32;
    assert_int_equal(send(r->keys, &sign, sizeof sign, 0), sizeof sign); /* the wrong channel */
    send_sign(r, 3, 1, 0); /* too late when it is read */
    send_sign(r, 9, 1, SOON_NS);
    assert_int_equal(answer(r, 9)->code, HF_OK); /* and nothing before it */
}

static void a_call_that_hangs_holds_up_no_other(void **state)
{
    rig *r = *state;
    begin(r);
    expect_listing(r);
    send_sign(r, 1, HANDLE_HANGS, SOON_NS);
    for (uint64_t id = 2; id < 12; id++) {
        send_sign(r, id, 1, SOON_NS);
        assert_int_equal(answer(r, id)->code, HF_OK);
    }
    /* it still says that it lives */
    for (int i = 0; i < 2; i++) {
        size_t len = 0;
        struct pollfd one = {.fd = r->control, .events = POLLIN};
        assert_int_equal(poll(&one, 1, PATIENCE_MS), 1);
        assert_int_equal(hf_frame_recv(r->control, r->frame, &len, NULL).code, HF_OK);
        assert_int_equal(((const hf_frame_header *)(const void *)r->frame)->type, HF_MSG_READY);
    }
    atomic_store(&device.let_go, true);
    assert_int_equal(answer(r, 1)->code, HF_OK);
}

static void it_ends_when_it_is_told_to(void **state)
{
    rig *r = *state;
    hf_msg_plain stop;
    begin(r);
    expect_listing(r);
    hf_frame_init(&stop, HF_MSG_SHUTDOWN, 0);
    assert_int_equal(hf_frame_send(r->control, &stop).code, HF_OK);
    for (int ms = 0; ms < PATIENCE_MS && !atomic_load(&r->has_ended); ms++) {
        hf_time_sleep_ns(HF_NS_PER_MS);
    }
    assert_true(atomic_load(&r->has_ended));
    assert_int_equal(atomic_load(&device.closed), 1);
}

static void it_lists_nothing_for_the_seal(void **state)
{
    rig *r = *state;
    r->plan.lists = false;
    begin(r);
    send_sign(r, 1, 1, SOON_NS);
    hf_code code = (hf_code)answer(r, 1)->code; /* it may not be open yet */
    assert_true(code == HF_OK || code == HF_UNAVAILABLE);
    struct pollfd one = {.fd = r->keys, .events = POLLIN};
    assert_int_equal(poll(&one, 1, 100), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(lists_signs_and_wraps),
        TEST(what_is_down_is_tried_until_it_lists),
        TEST(hostile_questions_are_passed_over),
        TEST(a_call_that_hangs_holds_up_no_other),
        TEST(it_ends_when_it_is_told_to),
        TEST(it_lists_nothing_for_the_seal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
