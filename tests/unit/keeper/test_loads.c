/* Loads and the back ends of custody that they wait for. */
#include "custody_rig.h"

static void load_files(rig *r, hf_peer *loader)
{
    hf_msg_load_count frame = {.count = 0};
    hf_frame_init(&frame, HF_MSG_LOAD_BEGIN, 0);
    hf_loading_frame(&r->keeper, loader, &frame);
    assert_int_equal(hf_loading_start(&r->keeper), HF_REASON_BUSY);
    hf_frame_init(&frame, HF_MSG_LOAD_DONE, 0);
    hf_loading_frame(&r->keeper, loader, &frame);
}

static size_t asked_to_list(rig *r, uint32_t i)
{
    size_t asked = 0;
    struct pollfd there = {.fd = r->keys[i], .events = POLLIN};
    while (poll(&there, 1, 0) > 0) {
        size_t len = 0;
        assert_int_equal(hf_frame_recv(r->keys[i], r->frame, &len, NULL).code, HF_OK);
        assert_int_equal(((const hf_frame_header *)(const void *)r->frame)->type,
                         HF_MSG_CUSTODY_LIST);
        asked++;
    }
    return asked;
}

/* One back end answers, the other never does. */
static void a_silent_back_end_holds_up_no_load(void **state)
{
    rig *r = *state;
    hf_peer loader = {.channel = HF_CHANNEL_LOADER, .fd = -1};
    const hf_loading *loading = &r->keeper.loading;
    assert_int_equal(hf_loading_start(&r->keeper), HF_REASON_OK);
    assert_int_equal(hf_loading_start(&r->keeper), HF_REASON_BUSY);
    load_files(r, &loader);
    list_inside(r, 0, 1, 2);
    assert_true(loading->is_running);
    uint64_t until_ns = r->keeper.custody.ends[1].await_until_ns;
    assert_int_equal(asked_to_list(r, 0), 1);
    assert_int_equal(asked_to_list(r, 1), 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hf_loading_start(&r->keeper), HF_REASON_OK);
        assert_int_equal(asked_to_list(r, 0), 1);
        assert_int_equal(asked_to_list(r, 1), 1); /* at once, whatever it was at */
        load_files(r, &loader);
        list_inside(r, 0, 1, 3);
        assert_int_equal(r->keeper.ring.count, 3);
    }
    /* It is waited for as long as the first load would have, and then told as a failure. */
    assert_true(loading->is_running);
    assert_int_equal(r->keeper.custody.ends[1].await_until_ns, until_ns);
    hf_custody_turn(&r->keeper);
    assert_true(loading->is_running);
    r->keeper.custody.ends[1].await_until_ns = 1;
    hf_custody_turn(&r->keeper);
    assert_false(loading->is_running);
    assert_int_equal(loading->state, HF_RELOAD_COMPLETED_WITH_ERRORS);
    assert_int_equal(r->keeper.ring.count, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_silent_back_end_holds_up_no_load, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
