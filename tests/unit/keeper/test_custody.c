/* Back ends of custody in the keeper, with this test in the place of their processes. */
#include "custody_rig.h"

#define PATIENCE_MS 10000
#define SOON_NS (20 * HF_NS_PER_SECOND)

/* What came of one question; filled by the custody thread. */
typedef struct result {
    _Atomic int answers;
    hf_reason reason;
    uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES];
    uint8_t data[64];
    size_t data_len;
} result;

static const uint8_t digest[HF_KECCAK_BYTES] = {9, 8, 7};

static void say_state(const rig *r, uint32_t i, bool healthy)
{
    hf_msg_custody_state state = {.healthy = healthy};
    char detail[HF_DETAIL_LEN];
    (void)snprintf(state.detail, sizeof state.detail, healthy ? "well" : "not well");
    hf_frame_init(&state, HF_MSG_CUSTODY_STATE, 0);
    assert_int_equal(hf_frame_send(r->sign[i], &state).code, HF_OK);
    for (int ms = 0; ms < PATIENCE_MS; ms++) {
        bool is_healthy = hf_custody_is_healthy((hf_keeper *)(uintptr_t)&r->keeper, i, detail);
        if (is_healthy == healthy && strcmp(detail, state.detail) == 0) {
            return;
        }
        hf_time_sleep_ns(HF_NS_PER_MS);
    }
    fail_msg("its state was not heard");
}

/* ---- listings ---------------------------------------------------------------------------------
 */

static hf_msg_custody_key outside(uint32_t type, uint8_t number)
{
    hf_msg_custody_key frame = {.type = type};
    hf_frame_init(&frame, HF_MSG_CUSTODY_KEY, 0);
    frame.secret[31] = number;
    return frame;
}

static hf_key *key_of(const rig *r, uint8_t number)
{
    uint8_t point[HF_SECP256K1_PUBKEY_BYTES];
    uint8_t address[HF_ADDRESS_BYTES];
    hf_secp256k1_key key = secret_of(r, number);
    hf_secp256k1_pubkey(r->secp, &key, point);
    hf_secp256k1_address(point, address);
    return hf_keyring_find_address(&r->keeper.ring, address);
}

static void keys_come_stay_and_go(void **state)
{
    rig *r = *state;
    list_inside(r, 0, 1, 2);
    list_inside(r, 1, 3, 3);
    assert_int_equal(r->keeper.ring.count, 3);
    assert_true(hf_key_is_remote(key_of(r, 1)));
    assert_int_equal(key_of(r, 1)->source, 3);
    assert_int_equal(key_of(r, 1)->backend, HF_BACKEND_PKCS11);
    assert_int_equal(r->keeper.ring.by_backend[HF_BACKEND_PKCS11], 3);
    /* one that fails half way, or ends in the middle, drops nothing */
    say(r, 0, HF_MSG_CUSTODY_BEGIN);
    say_done(r, 0, HF_UNAVAILABLE);
    say(r, 0, HF_MSG_CUSTODY_BEGIN);
    hf_custody_peer_gone(&r->keeper, r->listers[0]);
    assert_int_equal(r->keeper.ring.count, 3);
    r->keeper.custody.ends[0].lister = r->listers[0];
    /* nor does a load of files */
    hf_keyring_load_begin(&r->keeper.ring);
    assert_int_equal(hf_keyring_load_end(&r->keeper.ring), 0);
    /* a whole one drops what it does not name, of its own */
    list_inside(r, 0, 2, 2);
    assert_null(key_of(r, 1));
    assert_non_null(key_of(r, 2));
    assert_non_null(key_of(r, 3));
    list_inside(r, 0, 5, 4); /* none */
    assert_int_equal(r->keeper.ring.count, 1);
}

static void secrets_become_keys_like_any(void **state)
{
    rig *r = *state;
    hf_msg_custody_key bls = outside(HF_CUSTODY_BLS, 7);
    hf_msg_custody_key secp = outside(HF_CUSTODY_SECP256K1, 8);
    say(r, 0, HF_MSG_CUSTODY_BEGIN);
    say_key(r, 0, &bls);
    say_key(r, 0, &secp);
    say_done(r, 0, HF_OK);
    assert_int_equal(r->keeper.ring.bls_count, 1);
    assert_false(hf_key_is_remote(r->keeper.ring.order[0]));
    assert_int_equal(r->keeper.ring.order[0]->source, 3);
    assert_false(hf_key_is_remote(key_of(r, 8)));
    /* it moved into the device */
    list_inside(r, 0, 8, 8);
    assert_true(hf_key_is_remote(key_of(r, 8)));
    assert_int_equal(r->keeper.ring.count, 1);
}

static void a_key_of_another_source_is_not_taken_over(void **state)
{
    rig *r = *state;
    hf_msg_key file = {.key_type = HF_KEY_TYPE_SECP256K1, .backend = HF_BACKEND_LOCAL_KEYSTORE};
    hf_key *key = NULL;
    file.secret[31] = 1;
    assert_int_equal(hf_key_new(&r->keeper.ring, &file, &key).code, HF_OK);
    assert_int_equal(hf_keyring_add(&r->keeper.ring, key).code, HF_OK);
    list_inside(r, 0, 1, 2);
    list_inside(r, 1, 2, 2);
    assert_false(hf_key_is_remote(key_of(r, 1)));
    assert_int_equal(key_of(r, 2)->custody, 0);
    list_inside(r, 1, 5, 4);
    assert_int_equal(r->keeper.ring.count, 2);
    /* a file's copy of a key inside is known again when the device lets it go */
    file.secret[31] = 2;
    hf_keyring_load_begin(&r->keeper.ring);
    assert_int_equal(hf_key_new(&r->keeper.ring, &file, &key).code, HF_OK);
    hf_keyring_source_loaded(&r->keeper.ring, &file);
    assert_int_equal(hf_keyring_add(&r->keeper.ring, key).code, HF_CONFLICT);
    assert_true(hf_key_is_remote(key_of(r, 2)));
    assert_true(hf_keyring_uncover(&r->keeper.ring));
    assert_false(hf_keyring_uncover(&r->keeper.ring));
}

static void what_cannot_be_is_not_taken(void **state)
{
    rig *r = *state;
    hf_msg_custody_key bls_inside = outside(HF_CUSTODY_BLS, 1);
    hf_msg_custody_key zero = outside(HF_CUSTODY_BLS, 0);
    hf_msg_custody_key strange = outside(99, 1);
    hf_msg_custody_key no_point = inside(r, 1);
    hf_msg_custody_key long_point = inside(r, 1);
    hf_msg_custody_key unnamed = inside(r, 1);
    hf_msg_custody_key ed25519 = inside(r, 1);
    bls_inside.is_inside = 1;
    no_point.public_key[40] ^= 1;
    long_point.public_len = UINT32_MAX;
    memset(unnamed.name, 'x', sizeof unnamed.name);
    ed25519.type = HF_CUSTODY_ED25519;
    say_key(r, 0, &unnamed); /* outside of a listing */
    assert_int_equal(r->keeper.ring.count, 0);
    assert_int_equal(r->keeper.meter.now.bad_frames, 1);
    say(r, 0, HF_MSG_CUSTODY_BEGIN);
    say(r, 0, HF_MSG_CUSTODY_BEGIN);
    assert_int_equal(r->keeper.meter.now.bad_frames, 2);
    say_key(r, 0, &bls_inside);
    say_key(r, 0, &zero);
    say_key(r, 0, &strange);
    say_key(r, 0, &no_point);
    say_key(r, 0, &long_point);
    assert_int_equal(r->keeper.ring.count, 0);
    assert_int_equal(r->keeper.custody.ends[0].failed, 5);
    say_key(r, 0, &ed25519);
    assert_int_equal(r->keeper.custody.ends[0].others, 1);
    say_key(r, 0, &unnamed);
    assert_int_equal(r->keeper.ring.count, 1);
    say_done(r, 0, HF_OK);
    say_done(r, 0, HF_OK);
    assert_int_equal(r->keeper.meter.now.bad_frames, 3);
}

/* ---- signatures -------------------------------------------------------------------------------
 */

static void take_signed(hf_keeper *keeper, void *context, hf_reason reason,
                        const uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES], const char *detail)
{
    result *got = context;
    (void)keeper;
    assert_non_null(detail);
    got->reason = reason;
    if (reason == HF_REASON_OK) {
        memcpy(got->signature, signature, sizeof got->signature);
    }
    atomic_fetch_add(&got->answers, 1);
}

static void ask_within(rig *r, uint8_t number, result *got, uint64_t patience_ns)
{
    *got = (result){.reason = HF_REASON_COUNT};
    assert_true(hf_custody_sign(&r->keeper, key_of(r, number), digest,
                                hf_time_mono_ns() + patience_ns, take_signed, got));
}

static void ask(rig *r, uint8_t number, result *got)
{
    ask_within(r, number, got, SOON_NS);
}

static hf_reason reason_of(result *got)
{
    for (int ms = 0; ms < PATIENCE_MS && atomic_load(&got->answers) == 0; ms++) {
        hf_time_sleep_ns(HF_NS_PER_MS);
    }
    assert_int_equal(atomic_load(&got->answers), 1);
    return got->reason;
}

static const void *question(rig *r, uint32_t i)
{
    struct pollfd one = {.fd = r->sign[i], .events = POLLIN};
    size_t len = 0;
    assert_int_equal(poll(&one, 1, PATIENCE_MS), 1);
    assert_int_equal(hf_frame_recv(r->sign[i], r->frame, &len, NULL).code, HF_OK);
    assert_true(hf_frame_is_acceptable(r->frame, len, HF_CHANNEL_CUSTODY, false));
    return r->frame;
}

/* As the device would: with the key of that number. */
static hf_msg_custody_signed answer_of(const rig *r, const hf_msg_custody_sign *asked,
                                       uint8_t number)
{
    hf_msg_custody_signed answer = {.code = HF_OK};
    uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES];
    hf_secp256k1_key key = secret_of(r, number);
    assert_int_equal(asked->len, sizeof digest);
    hf_frame_init(&answer, HF_MSG_CUSTODY_SIGNED, asked->header.request_id);
    assert_false(hf_failed(hf_secp256k1_sign(r->secp, &key, asked->message, signature)));
    memcpy(answer.signature, signature, sizeof answer.signature);
    return answer;
}

static void send_answer(const rig *r, uint32_t i, const void *frame)
{
    assert_int_equal(hf_frame_send(r->sign[i], frame).code, HF_OK);
}

/* n - s: the other signature that the same key could have made. */
static void make_high(uint8_t s[32])
{
    static const uint8_t order[32] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
                                      0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b,
                                      0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41};
    int borrow = 0;
    for (int i = 31; i >= 0; i--) {
        int difference = order[i] - s[i] - borrow;
        borrow = difference < 0;
        s[i] = (uint8_t)(difference + 256 * borrow);
    }
}

static void assert_is_of_key(const rig *r, const result *got, uint8_t number)
{
    uint8_t signer[HF_ADDRESS_BYTES];
    assert_false(hf_failed(hf_secp256k1_recover(r->secp, digest, got->signature, signer)));
    assert_memory_equal(signer, key_of(r, number)->address, sizeof signer);
    assert_true(got->signature[32] < 0x80); /* the lower s */
}

static void a_signature_is_made_low_and_recovers(void **state)
{
    rig *r = *state;
    result got;
    list_inside(r, 0, 1, 1);
    say_state(r, 0, true);
    for (int is_high = 0; is_high < 2; is_high++) {
        ask(r, 1, &got);
        const hf_msg_custody_sign *asked = question(r, 0);
        assert_int_equal(asked->handle, 101);
        hf_msg_custody_signed answer = answer_of(r, asked, 1);
        if (is_high == 1) {
            make_high(answer.signature + 32);
        }
        send_answer(r, 0, &answer);
        assert_int_equal(reason_of(&got), HF_REASON_OK);
        assert_is_of_key(r, &got, 1);
    }
    assert_int_equal(hf_meter_get(&r->keeper.meter.now.custodies[0].done), 2);
}

static void a_signature_of_another_key_does_not_leave(void **state)
{
    rig *r = *state;
    result got;
    list_inside(r, 0, 1, 1);
    say_state(r, 0, true);
    for (int how = 0; how < 4; how++) {
        ask(r, 1, &got);
        hf_msg_custody_signed answer = answer_of(r, question(r, 0), how == 0 ? 2 : 1);
        if (how == 1) {
            answer.signature[5] ^= 1;
        } else if (how == 2) {
            memset(answer.signature, 0, sizeof answer.signature);
        } else if (how == 3) {
            memset(answer.signature, 0xff, sizeof answer.signature);
        }
        send_answer(r, 0, &answer);
        assert_int_equal(reason_of(&got), HF_REASON_CUSTODY_UNAVAILABLE);
        assert_true(hf_bytes_is_zero(got.signature, sizeof got.signature));
    }
    assert_int_equal(hf_meter_get(&r->keeper.meter.now.custodies[0].wrong), 4);
}

/* More than one call carries, and enough for their answers to gather. */
static void many_questions_go_out_and_come_back_together(void **state)
{
    static result got[100];
    rig *r = *state;
    list_inside(r, 0, 1, 1);
    for (size_t i = 0; i < HF_ARRAY_LEN(got); i++) {
        ask(r, 1, &got[i]);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(got); i++) {
        hf_msg_custody_signed answer = answer_of(r, question(r, 0), 1);
        send_answer(r, 0, &answer);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(got); i++) {
        assert_int_equal(reason_of(&got[i]), HF_REASON_OK);
        assert_is_of_key(r, &got[i], 1);
    }
}

static void hostile_answers_are_passed_over(void **state)
{
    rig *r = *state;
    result got;
    list_inside(r, 0, 1, 1);
    list_inside(r, 1, 2, 2);
    say_state(r, 0, true);
    say_state(r, 1, true);
    ask(r, 1, &got);
    hf_msg_custody_signed answer = answer_of(r, question(r, 0), 1);
    uint64_t id = answer.header.request_id;
    hf_msg_custody_wrapped wrapped = {.len = UINT32_MAX};
    send_answer(r, 1, &answer); /* from the other back end */
    answer.header.request_id = id + 1;
    send_answer(r, 0, &answer);
    answer.header.request_id = UINT64_MAX;
    send_answer(r, 0, &answer);
    answer.header.request_id = id + ((uint64_t)1 << 32);
    send_answer(r, 0, &answer);
    hf_frame_init(&wrapped, HF_MSG_CUSTODY_WRAPPED, id); /* to another question */
    send_answer(r, 0, &wrapped);
    assert_int_equal(send(r->sign[0], "no frame", 8, MSG_NOSIGNAL), 8);
    answer.header.request_id = id;
    answer.header.type = HF_MSG_SIGN_REPLY;
    assert_int_equal(send(r->sign[0], &answer, sizeof answer, MSG_NOSIGNAL), sizeof answer);
    answer.header.type = HF_MSG_CUSTODY_SIGNED;
    hf_time_sleep_ns(50 * HF_NS_PER_MS);
    assert_int_equal(atomic_load(&got.answers), 0);
    memset(answer.detail, 'x', sizeof answer.detail); /* no end */
    send_answer(r, 0, &answer);
    assert_int_equal(reason_of(&got), HF_REASON_OK);
    send_answer(r, 0, &answer); /* once more */
    hf_time_sleep_ns(50 * HF_NS_PER_MS);
    assert_int_equal(atomic_load(&got.answers), 1);
    assert_int_equal(hf_meter_get(&r->keeper.meter.now.bad_frames), 2);
}

static void a_back_end_that_is_away_or_hangs_is_answered_for(void **state)
{
    rig *r = *state;
    result hanging;
    result other;
    list_inside(r, 0, 1, 1);
    list_inside(r, 1, 2, 2);
    say_state(r, 0, true);
    say_state(r, 1, true);
    ask_within(r, 1, &hanging, 300 * HF_NS_PER_MS);
    ask(r, 2, &other);
    hf_msg_custody_signed answer = answer_of(r, question(r, 1), 2);
    send_answer(r, 1, &answer);
    assert_int_equal(reason_of(&other), HF_REASON_OK);
    assert_int_equal(reason_of(&hanging), HF_REASON_CUSTODY_UNAVAILABLE);
    assert_int_equal(hf_meter_get(&r->keeper.meter.now.custodies[0].late), 1);
    /* one that is not well gets one question, and the next is refused at once */
    say_state(r, 0, false);
    ask(r, 1, &hanging);
    (void)question(r, 0);
    (void)question(r, 0);
    ask(r, 1, &other);
    assert_int_equal(reason_of(&other), HF_REASON_CUSTODY_UNAVAILABLE);
    assert_int_equal(atomic_load(&hanging.answers), 0);
    /* and one that dies gives its answers at once; its keys stay */
    (void)close(r->sign[0]);
    r->sign[0] = -1;
    assert_int_equal(reason_of(&hanging), HF_REASON_CUSTODY_UNAVAILABLE);
    ask(r, 1, &other);
    assert_int_equal(reason_of(&other), HF_REASON_CUSTODY_UNAVAILABLE);
    assert_non_null(key_of(r, 1));
}

static void take_wrapped(hf_keeper *keeper, void *context, hf_reason reason, hf_bytes data,
                         const char *detail)
{
    result *got = context;
    (void)keeper;
    (void)detail;
    got->reason = reason;
    got->data_len = data.len;
    if (data.len > 0 && data.len <= sizeof got->data) {
        memcpy(got->data, data.ptr, data.len);
    }
    atomic_fetch_add(&got->answers, 1);
}

static void secrets_are_unwrapped_by_a_question(void **state)
{
    rig *r = *state;
    result got = {.reason = HF_REASON_COUNT};
    hf_msg_custody_wrap ask_for = {.len = 3, .context_len = 1};
    hf_msg_custody_wrapped answer = {.len = 2};
    (void)snprintf(ask_for.reference, sizeof ask_for.reference, "kek");
    say_state(r, 0, true);
    assert_false(hf_custody_wrap(&r->keeper, BACK_ENDS, HF_MSG_CUSTODY_UNWRAP, &ask_for, 0,
                                 take_wrapped, &got));
    assert_true(hf_custody_wrap(&r->keeper, 0, HF_MSG_CUSTODY_UNWRAP, &ask_for,
                                hf_time_mono_ns() + SOON_NS, take_wrapped, &got));
    const hf_msg_custody_wrap *asked = question(r, 0);
    assert_int_equal(asked->header.type, HF_MSG_CUSTODY_UNWRAP);
    assert_string_equal(asked->reference, "kek");
    hf_frame_init(&answer, HF_MSG_CUSTODY_WRAPPED, asked->header.request_id);
    answer.data[1] = 5;
    send_answer(r, 0, &answer);
    assert_int_equal(reason_of(&got), HF_REASON_OK);
    assert_int_equal(got.data_len, 2);
    assert_int_equal(got.data[1], 5);
    /* a length that cannot be */
    got = (result){.reason = HF_REASON_COUNT};
    assert_true(hf_custody_wrap(&r->keeper, 0, HF_MSG_CUSTODY_WRAP, &ask_for,
                                hf_time_mono_ns() + SOON_NS, take_wrapped, &got));
    asked = question(r, 0);
    hf_frame_init(&answer, HF_MSG_CUSTODY_WRAPPED, asked->header.request_id);
    answer.len = HF_CUSTODY_BLOB_MAX + 1;
    send_answer(r, 0, &answer);
    assert_int_equal(reason_of(&got), HF_REASON_CUSTODY_UNAVAILABLE);
    assert_int_equal(got.data_len, 0);
}

static void the_end_answers_what_is_open(void **state)
{
    rig *r = *state;
    result got;
    list_inside(r, 0, 1, 1);
    say_state(r, 0, true);
    ask(r, 1, &got);
    (void)question(r, 0);
    hf_custody_stop(&r->keeper);
    assert_int_equal(reason_of(&got), HF_REASON_CUSTODY_UNAVAILABLE);
    assert_false(hf_custody_sign(&r->keeper, key_of(r, 1), digest, hf_time_mono_ns() + SOON_NS,
                                 take_signed, &got));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(keys_come_stay_and_go),
        TEST(secrets_become_keys_like_any),
        TEST(a_key_of_another_source_is_not_taken_over),
        TEST(what_cannot_be_is_not_taken),
        TEST(a_signature_is_made_low_and_recovers),
        TEST(a_signature_of_another_key_does_not_leave),
        TEST(many_questions_go_out_and_come_back_together),
        TEST(hostile_answers_are_passed_over),
        TEST(a_back_end_that_is_away_or_hangs_is_answered_for),
        TEST(secrets_are_unwrapped_by_a_question),
        TEST(the_end_answers_what_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
