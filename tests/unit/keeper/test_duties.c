/* Duties in the keeper, with this test in the place of the front and of who asks the database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "keeper/keeper_internal.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PATIENCE_MS 5000
#define TIMEOUT_MS 400

typedef struct rig {
    hf_keeper keeper;
    hf_peer *peer;
    int front; /* our ends */
    int store;
    uint64_t asked;
    _Alignas(8) uint8_t frame[HF_IPC_MAX_BYTES];
} rig;

static const uint8_t hash[HF_DUTY_HASH_BYTES] = {1, 2, 3};

static void give_store(rig *r)
{
    int pair[2];
    assert_int_equal(hf_channel_pair(true, pair).code, HF_OK);
    r->store = pair[0];
    hf_duties_give_channel(&r->keeper, pair[1]);
}

static hf_key *add_key(rig *r)
{
    hf_msg_key frame = {.key_type = HF_KEY_TYPE_SECP256K1};
    hf_key *key = NULL;
    frame.secret[31] = 1;
    assert_int_equal(hf_key_new(&r->keeper.ring, &frame, &key).code, HF_OK);
    assert_int_equal(hf_keyring_add(&r->keeper.ring, key).code, HF_OK);
    return key;
}

static int setup(void **state)
{
    rig *r = calloc(1, sizeof *r);
    int pair[2];
    hf_error err = {HF_OK, ""};
    assert_non_null(r);
    hf_log_init("test", HF_LOG_TEXT, HF_LOG_BROKEN);
    r->keeper.config.max_in_flight = 4096;
    (void)snprintf(r->keeper.config.duty_node_id, HF_DUTY_NODE_ID_LEN, "us");
    r->keeper.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    r->keeper.nudge_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_int_equal(hf_keyring_init(&r->keeper.ring, 8, false, &err).code, HF_OK);
    hf_peers_init(&r->keeper);
    assert_int_equal(hf_channel_pair(true, pair).code, HF_OK);
    r->front = pair[0];
    r->peer = hf_peer_open(&r->keeper, pair[1], HF_CHANNEL_FRONT, 0);
    assert_non_null(r->peer);
    assert_int_equal(hf_policies_init(&r->keeper).code, HF_OK);
    assert_int_equal(hf_duties_init(&r->keeper).code, HF_OK);
    give_store(r);
    (void)add_key(r);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    rig *r = *state;
    hf_duties_stop(&r->keeper);
    hf_policies_done(&r->keeper);
    hf_keyring_done(&r->keeper.ring);
    (void)close(r->front);
    (void)close(r->store);
    (void)close(r->peer->fd);
    (void)close(r->keeper.epoll_fd);
    (void)close(r->keeper.nudge_fd);
    free(r);
    return 0;
}

/* ---- as the front ------------------------------------------------------------------------------
 */

static hf_msg_duty_sign request(const rig *r, uint32_t type, uint64_t slot)
{
    hf_msg_duty_sign frame = {.received_ns = hf_time_mono_ns(), .timeout_ms = TIMEOUT_MS};
    hf_frame_init(&frame, HF_MSG_DUTY_SIGN, slot);
    memcpy(frame.duty.validator, r->keeper.ring.order[0]->address, HF_DUTY_ADDRESS_BYTES);
    frame.duty.type = type;
    frame.duty.slot = slot;
    memcpy(frame.hash, hash, sizeof frame.hash);
    return frame;
}

static void ask(rig *r, uint32_t type, uint64_t slot)
{
    hf_msg_duty_sign frame = request(r, type, slot);
    hf_duties_take(&r->keeper, r->peer, &frame);
}

static const void *receive(rig *r, int fd, hf_channel channel)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    size_t len = 0;
    assert_int_equal(poll(&one, 1, PATIENCE_MS), 1);
    assert_int_equal(hf_frame_recv(fd, r->frame, &len, NULL).code, HF_OK);
    assert_true(hf_frame_is_acceptable(r->frame, len, channel, false));
    return r->frame;
}

static hf_msg_duty_reply reply_to(rig *r, uint64_t slot)
{
    hf_msg_duty_reply reply;
    memcpy(&reply, receive(r, r->front, HF_CHANNEL_FRONT), sizeof reply);
    assert_int_equal(reply.header.type, HF_MSG_DUTY_REPLY);
    assert_int_equal(reply.header.request_id, slot);
    return reply;
}

static bool is_silent(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, 60) == 0;
}

static void assert_refused(rig *r, uint64_t slot, hf_reason reason)
{
    hf_msg_duty_reply reply = reply_to(r, slot);
    if (reply.reason != (uint32_t)reason) {
        fail_msg("%s, not %s", hf_reason_describe((hf_reason)reply.reason)->code,
                 hf_reason_describe(reason)->code);
    }
    assert_true(hf_bytes_is_zero(reply.signature, sizeof reply.signature));
}

/* A signature of the one key over the digest that an EIP-191 request of ours has. */
static void assert_is_ours(const rig *r, const uint8_t signature[HF_DUTY_SIGNATURE_BYTES])
{
    hf_secp256k1 *secp = NULL;
    uint8_t digest[HF_DUTY_HASH_BYTES];
    uint8_t address[HF_ADDRESS_BYTES];
    assert_int_equal(hf_secp256k1_new(&secp).code, HF_OK);
    hf_aztec_digest(HF_AZTEC_EIP191, hash, digest);
    assert_int_equal(hf_secp256k1_recover(secp, digest, signature, address).code, HF_OK);
    assert_memory_equal(address, r->keeper.ring.order[0]->address, sizeof address);
    hf_secp256k1_free(secp);
}

/* ---- as who asks the database ------------------------------------------------------------------
 */

static hf_msg_duty_ask question(rig *r, hf_msg_type type)
{
    hf_msg_duty_ask frame;
    memcpy(&frame, receive(r, r->store, HF_CHANNEL_DUTY), sizeof frame);
    assert_int_equal(frame.header.type, type);
    return frame;
}

static void answer(const rig *r, const hf_msg_duty_ask *to, hf_duty_result result,
                   const uint8_t *signature)
{
    hf_msg_duty_answer frame = {.result = result};
    hf_frame_init(&frame, HF_MSG_DUTY_ANSWER, to->header.request_id);
    (void)snprintf(frame.lock, sizeof frame.lock, "a token");
    (void)snprintf(frame.node_id, sizeof frame.node_id, "them");
    if (signature != NULL) {
        memcpy(frame.signature, signature, sizeof frame.signature);
    }
    assert_int_equal(hf_frame_send(r->store, &frame).code, HF_OK);
}

/* Up to the question to record. */
static hf_msg_duty_ask granted(rig *r, uint64_t slot)
{
    ask(r, HF_DUTY_ATTESTATION, slot);
    hf_msg_duty_ask acquire = question(r, HF_MSG_DUTY_ACQUIRE);
    assert_int_equal(acquire.duty.slot, slot);
    assert_int_equal(acquire.duty.block_index, HF_DUTY_NO_INDEX);
    answer(r, &acquire, HF_DUTY_OK, NULL);
    return question(r, HF_MSG_DUTY_COMPLETE);
}

static void assert_all_done(const rig *r)
{
    for (int i = 0; i < 100 && atomic_load(&r->keeper.duties.in_use) > 0; i++) {
        hf_time_sleep_ns(10 * HF_NS_PER_MS);
    }
    assert_int_equal(atomic_load(&r->keeper.duties.in_use), 0);
    assert_int_equal(atomic_load(&r->keeper.ring.order[0]->refs), 0);
    assert_int_equal(atomic_load(&r->peer->refs), 0);
}

/* ---- the tests ---------------------------------------------------------------------------------
 */

static void the_digest_is_that_of_eip191(void **state)
{
    /* Made by an independent reference, for the hash 00 01 02 ... 1f. */
    uint8_t counted[HF_DUTY_HASH_BYTES];
    uint8_t want[HF_DUTY_HASH_BYTES];
    uint8_t got[HF_DUTY_HASH_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof counted; i++) {
        counted[i] = (uint8_t)i;
    }
    assert_int_equal(
        hf_hex_decode("04c3a0e6f47dd8889a200887da01ab4fa88d85f15fb01537cd4b7bcc1ef6f991", 64, want,
                      sizeof want)
            .code,
        HF_OK);
    hf_aztec_digest(HF_AZTEC_EIP191, counted, got);
    assert_memory_equal(got, want, sizeof want);
    hf_aztec_digest(HF_AZTEC_RAW, counted, got);
    assert_memory_equal(got, counted, sizeof counted);
}

static void a_signature_leaves_when_its_record_is_durable(void **state)
{
    rig *r = *state;
    hf_msg_duty_ask complete = granted(r, 1);
    assert_string_equal(complete.lock, "a token");
    assert_is_ours(r, complete.signature);
    assert_true(is_silent(r->front)); /* not before */
    answer(r, &complete, HF_DUTY_OK, NULL);
    hf_msg_duty_reply reply = reply_to(r, 1);
    assert_int_equal(reply.reason, HF_REASON_OK);
    assert_int_equal(reply.stored, 0);
    assert_memory_equal(reply.signature, complete.signature, sizeof reply.signature);
    assert_all_done(r);
}

static void without_a_record_there_is_no_signature(void **state)
{
    static const struct {
        hf_duty_result result;
        hf_reason reason;
    } cases[] = {
        {HF_DUTY_LOCK_LOST, HF_REASON_DUTY_LOCK_LOST},
        {HF_DUTY_CONFLICT, HF_REASON_DUTY_CONFLICT},
        {HF_DUTY_UNAVAILABLE, HF_REASON_DUTY_STORE_UNAVAILABLE},
        {HF_DUTY_CLOSED, HF_REASON_DUTY_STORE_UNAVAILABLE},
        {HF_DUTY_CORRUPT, HF_REASON_DUTY_STORE_UNAVAILABLE},
        {(hf_duty_result)99, HF_REASON_DUTY_STORE_UNAVAILABLE},
    };
    rig *r = *state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        hf_msg_duty_ask complete = granted(r, i);
        answer(r, &complete, cases[i].result, complete.signature);
        assert_refused(r, i, cases[i].reason);
    }
    assert_all_done(r);
}

static void a_refused_lock_asks_for_nothing_more(void **state)
{
    static const struct {
        hf_duty_result result;
        hf_reason reason;
    } cases[] = {
        {HF_DUTY_HELD, HF_REASON_DUTY_HELD},
        {HF_DUTY_CONFLICT, HF_REASON_DUTY_CONFLICT},
        {HF_DUTY_EXPIRED, HF_REASON_DUTY_EXPIRED},
        {HF_DUTY_OVERLOADED, HF_REASON_OVERLOADED},
        {HF_DUTY_SCHEMA, HF_REASON_DUTY_STORE_UNAVAILABLE},
    };
    rig *r = *state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        ask(r, HF_DUTY_GOVERNANCE_VOTE, i);
        hf_msg_duty_ask acquire = question(r, HF_MSG_DUTY_ACQUIRE);
        answer(r, &acquire, cases[i].result, NULL);
        assert_refused(r, i, cases[i].reason);
    }
    assert_true(is_silent(r->store));
    assert_all_done(r);
}

/* Taken over while we signed: the signature on record is handed out, and only one of this key. */
static void a_stored_signature_is_checked(void **state)
{
    rig *r = *state;
    hf_msg_duty_ask complete = granted(r, 1);
    answer(r, &complete, HF_DUTY_STORED, complete.signature);
    hf_msg_duty_reply reply = reply_to(r, 1);
    assert_int_equal(reply.reason, HF_REASON_OK);
    assert_int_equal(reply.stored, 1);
    assert_string_equal(reply.node_id, "them");
    for (size_t at = 0; at < HF_DUTY_SIGNATURE_BYTES; at += 32) {
        uint8_t forged[HF_DUTY_SIGNATURE_BYTES];
        memcpy(forged, complete.signature, sizeof forged);
        forged[at] ^= 1;
        ask(r, HF_DUTY_ATTESTATION, 1);
        hf_msg_duty_ask acquire = question(r, HF_MSG_DUTY_ACQUIRE);
        answer(r, &acquire, HF_DUTY_STORED, forged);
        assert_refused(r, 1, HF_REASON_DUTY_CONFLICT);
    }
    assert_all_done(r);
}

static void a_lock_that_comes_too_late_is_given_back(void **state)
{
    rig *r = *state;
    uint64_t began_ns = hf_time_mono_ns();
    ask(r, HF_DUTY_ATTESTATION, 1);
    hf_msg_duty_ask acquire = question(r, HF_MSG_DUTY_ACQUIRE);
    assert_true(acquire.deadline_ns < began_ns + TIMEOUT_MS * HF_NS_PER_MS + HF_NS_PER_MS);
    assert_refused(r, 1, HF_REASON_DUTY_STORE_UNAVAILABLE);
    assert_true(hf_time_mono_ns() - began_ns < 3 * HF_NS_PER_SECOND);
    answer(r, &acquire, HF_DUTY_OK, NULL);
    hf_msg_duty_ask release = question(r, HF_MSG_DUTY_RELEASE);
    assert_string_equal(release.lock, "a token");
    assert_true(hf_bytes_is_zero(release.signature, sizeof release.signature));
    answer(r, &release, HF_DUTY_OK, NULL);
    assert_true(is_silent(r->front));
    assert_all_done(r);
}

static void answers_to_no_question_are_dropped(void **state)
{
    rig *r = *state;
    hf_msg_duty_ask complete = granted(r, 1);
    hf_msg_duty_ask other = complete;
    other.header.request_id += 1; /* the place beside */
    answer(r, &other, HF_DUTY_OK, NULL);
    other.header.request_id = complete.header.request_id + (UINT64_C(1) << 32);
    answer(r, &other, HF_DUTY_OK, NULL);
    other.header.request_id = UINT64_MAX;
    answer(r, &other, HF_DUTY_OK, NULL);
    assert_true(is_silent(r->front));
    answer(r, &complete, HF_DUTY_LOCK_LOST, NULL);
    answer(r, &complete, HF_DUTY_OK, NULL); /* twice: the second is late */
    assert_refused(r, 1, HF_REASON_DUTY_LOCK_LOST);
    assert_true(is_silent(r->front));
    assert_all_done(r);
}

static void a_dead_asker_is_a_refusal_and_its_successor_serves(void **state)
{
    rig *r = *state;
    (void)granted(r, 1);
    ask(r, HF_DUTY_ATTESTATION, 2);
    (void)question(r, HF_MSG_DUTY_ACQUIRE);
    (void)close(r->store);
    hf_msg_duty_reply first;
    memcpy(&first, receive(r, r->front, HF_CHANNEL_FRONT), sizeof first);
    hf_msg_duty_reply second;
    memcpy(&second, receive(r, r->front, HF_CHANNEL_FRONT), sizeof second);
    assert_int_equal(first.reason, HF_REASON_DUTY_STORE_UNAVAILABLE);
    assert_int_equal(second.reason, HF_REASON_DUTY_STORE_UNAVAILABLE);
    assert_true(hf_bytes_is_zero(first.signature, sizeof first.signature));
    assert_true(hf_bytes_is_zero(second.signature, sizeof second.signature));
    ask(r, HF_DUTY_ATTESTATION, 3);
    assert_refused(r, 3, HF_REASON_DUTY_STORE_UNAVAILABLE);
    give_store(r);
    hf_time_sleep_ns(50 * HF_NS_PER_MS);
    hf_msg_duty_ask complete = granted(r, 4);
    answer(r, &complete, HF_DUTY_OK, NULL);
    assert_int_equal(reply_to(r, 4).reason, HF_REASON_OK);
    assert_all_done(r);
}

static void unprotected_types_ask_nobody(void **state)
{
    rig *r = *state;
    ask(r, HF_DUTY_AUTH_REQUEST, 1);
    hf_msg_duty_reply reply = reply_to(r, 1);
    assert_int_equal(reply.reason, HF_REASON_OK);
    assert_string_equal(reply.node_id, "us");
    assert_is_ours(r, reply.signature);
    ask(r, HF_DUTY_TXS, 2);
    assert_int_equal(reply_to(r, 2).reason, HF_REASON_OK);
    assert_true(is_silent(r->store));
    assert_all_done(r);
}

/* What a front that was taken over might send. */
static void bad_requests_are_refused(void **state)
{
    rig *r = *state;
    hf_msg_duty_sign frame = request(r, HF_DUTY_ATTESTATION, 1);
    frame.hashing = HF_AZTEC_HASHING_COUNT;
    hf_duties_take(&r->keeper, r->peer, &frame);
    assert_refused(r, 1, HF_REASON_MALFORMED);
    frame = request(r, HF_DUTY_TYPE_COUNT, 2);
    hf_duties_take(&r->keeper, r->peer, &frame);
    assert_refused(r, 2, HF_REASON_MALFORMED);
    frame = request(r, HF_DUTY_ATTESTATION, UINT64_MAX);
    hf_duties_take(&r->keeper, r->peer, &frame);
    assert_refused(r, UINT64_MAX, HF_REASON_MALFORMED);
    frame = request(r, HF_DUTY_BLOCK_PROPOSAL, 3);
    frame.duty.block_index = -1;
    hf_duties_take(&r->keeper, r->peer, &frame);
    assert_refused(r, 3, HF_REASON_MALFORMED);
    frame = request(r, HF_DUTY_ATTESTATION, 4);
    frame.duty.validator[0] ^= 1;
    hf_duties_take(&r->keeper, r->peer, &frame);
    assert_refused(r, 4, HF_REASON_UNKNOWN_KEY);
    r->keeper.config.duty_node_id[0] = '\0';
    ask(r, HF_DUTY_ATTESTATION, 5);
    assert_refused(r, 5, HF_REASON_DUTY_STORE_UNAVAILABLE);
    assert_true(is_silent(r->store));
    assert_all_done(r);
}

static void a_flood_has_an_end(void **state)
{
    rig *r = *state;
    for (uint64_t slot = 0; slot < HF_DUTIES_MAX; slot++) {
        hf_msg_duty_sign frame = request(r, HF_DUTY_ATTESTATION, slot);
        frame.timeout_ms = 60000;
        hf_duties_take(&r->keeper, r->peer, &frame);
    }
    ask(r, HF_DUTY_ATTESTATION, HF_DUTIES_MAX);
    assert_refused(r, HF_DUTIES_MAX, HF_REASON_OVERLOADED);
    for (uint64_t slot = 0; slot < HF_DUTIES_MAX; slot++) {
        hf_msg_duty_ask acquire = question(r, HF_MSG_DUTY_ACQUIRE);
        answer(r, &acquire, HF_DUTY_HELD, NULL);
        assert_refused(r, acquire.duty.slot, HF_REASON_DUTY_HELD);
    }
    assert_all_done(r);
}

static void tells_whether_locks_can_be_had(void **state)
{
    rig *r = *state;
    char detail[HF_DETAIL_LEN];
    hf_protection protections[HF_PROTECTIONS_MAX];
    hf_msg_duty_state told = {.healthy = 1,
                              .counters = {.takeovers = 7},
                              .protection_count = 1,
                              .protections = {{"seccomp", HF_PROTECTION_ON, "well"}}};
    assert_false(hf_duties_is_healthy(&r->keeper, detail));
    (void)snprintf(told.detail, sizeof told.detail, "all is well");
    hf_frame_init(&told, HF_MSG_DUTY_STATE, 0);
    assert_int_equal(hf_frame_send(r->store, &told).code, HF_OK);
    for (int i = 0; i < 200 && !hf_duties_is_healthy(&r->keeper, detail); i++) {
        hf_time_sleep_ns(10 * HF_NS_PER_MS);
    }
    assert_true(hf_duties_is_healthy(&r->keeper, detail));
    assert_string_equal(detail, "all is well");
    assert_int_equal(hf_meter_get(&r->keeper.meter.now.duty_store.takeovers), 7);
    assert_int_equal(hf_duties_protections(&r->keeper, protections), 1);
    assert_string_equal(protections[0].name, "seccomp");
    told.protection_count = HF_PROTECTIONS_MAX + 1; /* a captured process may say anything */
    told.healthy = 0;
    assert_int_equal(hf_frame_send(r->store, &told).code, HF_OK);
    for (int i = 0; i < 200 && hf_duties_is_healthy(&r->keeper, detail); i++) {
        hf_time_sleep_ns(10 * HF_NS_PER_MS);
    }
    assert_int_equal(hf_duties_protections(&r->keeper, protections), 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_digest_is_that_of_eip191),
        TEST(a_signature_leaves_when_its_record_is_durable),
        TEST(without_a_record_there_is_no_signature),
        TEST(a_refused_lock_asks_for_nothing_more),
        TEST(a_stored_signature_is_checked),
        TEST(a_lock_that_comes_too_late_is_given_back),
        TEST(answers_to_no_question_are_dropped),
        TEST(a_dead_asker_is_a_refusal_and_its_successor_serves),
        TEST(unprotected_types_ask_nobody),
        TEST(bad_requests_are_refused),
        TEST(a_flood_has_an_end),
        TEST(tells_whether_locks_can_be_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
