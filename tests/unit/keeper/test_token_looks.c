/* Questions with a token of a shared store: which of them wait for the store, for how long, and
 * what they are told then. The test is in the place of the protector and of the jobs thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "keeper/keeper_internal.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_ID 77

typedef struct rig {
    hf_keeper keeper;
    hf_peer *peer;
    int front; /* our end */
    hf_key *key;
    hf_token_entry entry;
    char text[HF_AUTH_TEXT_LEN];
    _Alignas(8) uint8_t frame[HF_IPC_MAX_BYTES];
} rig;

static void publish(rig *r, size_t count)
{
    hf_tokens *tokens = &r->keeper.tokens;
    hf_token_table_free(tokens->fresh);
    tokens->fresh = NULL;
    assert_false(hf_failed(hf_token_table_new(&r->entry, count, &tokens->fresh)));
    atomic_store(&tokens->has_news, true);
}

static void open_room(rig *r)
{
    hf_keeper *keeper = &r->keeper;
    hf_error err = {HF_OK, ""};
    keeper->config.auth_mode = HF_AUTH_TOKENS;
    keeper->config.max_in_flight = 4;
    keeper->config.max_keys = 8;
    keeper->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    keeper->nudge_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* Nothing here asks it: that there is one says that the tokens are shared. */
    keeper->store_clients[HF_LANE_SIGNING] = (hf_store_client *)(void *)r;
    (void)pthread_mutex_init(&keeper->protector.lock, NULL);
    (void)pthread_cond_init(&keeper->protector.work, NULL);
    (void)pthread_mutex_init(&keeper->tokens.lock, NULL);
    (void)pthread_mutex_init(&keeper->jobs.lock, NULL);
    keeper->protector.healthy = true;
    keeper->protector.is_looked_at = true;
    keeper->tokens.guesses = hf_auth_guesses_new();
    assert_non_null(keeper->tokens.guesses);
    assert_int_equal(hf_keyring_init(&keeper->ring, 8, false, &err).code, HF_OK);
    assert_int_equal(hf_policies_init(keeper).code, HF_OK);
    hf_peers_init(keeper);
}

static int setup(void **state)
{
    rig *r = calloc(1, sizeof *r);
    uint8_t secret[HF_AUTH_KEY_BYTES] = {1};
    hf_token_terms terms = {.kind = HF_TOKEN_MANAGEMENT};
    hf_msg_key key = {.key_type = HF_KEY_TYPE_BLS};
    int pair[2];
    assert_non_null(r);
    hf_log_init("test", HF_LOG_TEXT, (hf_log_level)(HF_LOG_BROKEN + 1));
    open_room(r);
    hf_auth_keys_derive(secret, &r->keeper.tokens.keys);
    hf_token_make(&r->keeper.tokens.keys, &terms, hf_time_unix_ms(), &r->entry.token, r->text);
    publish(r, 1);
    key.secret[31] = 3;
    assert_int_equal(hf_key_new(&r->keeper.ring, &key, &r->key).code, HF_OK);
    assert_int_equal(hf_keyring_add(&r->keeper.ring, r->key).code, HF_OK);
    assert_int_equal(hf_channel_pair(true, pair).code, HF_OK);
    r->front = pair[0];
    r->peer = hf_peer_open(&r->keeper, pair[1], HF_CHANNEL_FRONT, 0);
    assert_non_null(r->peer);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    rig *r = *state;
    hf_token_looks_done(&r->keeper);
    assert_int_equal(atomic_load(&r->peer->refs), 0);
    (void)close(r->peer->fd);
    (void)close(r->front);
    (void)close(r->keeper.epoll_fd);
    (void)close(r->keeper.nudge_fd);
    hf_policies_done(&r->keeper);
    hf_keyring_done(&r->keeper.ring);
    hf_tokens_done(&r->keeper);
    free(r);
    return 0;
}

/* ---- asking -----------------------------------------------------------------------------------
 */

static void fill(rig *r, hf_msg_type type, const char *token)
{
    memset(r->frame, 0, sizeof r->frame);
    hf_frame_init(r->frame, type, REQUEST_ID);
    hf_str_cut(((hf_msg_ask *)(void *)r->frame)->caller.token, HF_TOKEN_LEN, token);
}

static bool waits(rig *r)
{
    int fd = -1;
    return hf_token_looks_make_wait(&r->keeper, r->peer, r->frame, &fd);
}

static bool waits_with(rig *r, hf_msg_type type, const char *token)
{
    fill(r, type, token);
    return waits(r);
}

static bool signature_waits(rig *r, hf_operation operation)
{
    fill(r, HF_MSG_SIGN, r->text);
    hf_msg_sign *frame = (hf_msg_sign *)(void *)r->frame;
    frame->request.operation = (uint32_t)operation;
    memcpy(frame->request.pubkey, r->key->pubkey, sizeof r->key->pubkey);
    return waits(r);
}

/* HF_REASON_COUNT: no answer came. */
static hf_reason told(const rig *r)
{
    hf_msg_result reply;
    ssize_t n = recv(r->front, &reply, sizeof reply, MSG_DONTWAIT);
    if (n < 0) {
        return HF_REASON_COUNT;
    }
    assert_int_equal(n, sizeof reply);
    assert_int_equal(reply.header.type, HF_MSG_RESULT);
    assert_int_equal(reply.header.request_id, REQUEST_ID);
    return (hf_reason)reply.reason;
}

/* The store was asked, and its records have come so far. */
static void answer_look(rig *r, uint64_t generation)
{
    hf_looks *looks = &r->keeper.protector.looks;
    looks->done = looks->wanted;
    looks->generation = generation;
}

static void read_records(rig *r, uint64_t tokens, uint64_t policies)
{
    atomic_store(&r->keeper.tokens.generation, tokens);
    atomic_store(&r->keeper.policies.generation, policies);
}

static void assert_still_waits(rig *r, uint32_t count)
{
    hf_token_looks_turn(&r->keeper);
    assert_int_equal(told(r), HF_REASON_COUNT);
    assert_int_equal(atomic_load(&r->keeper.token_looks.count), count);
    assert_int_equal(atomic_load(&r->peer->refs), count);
}

static void assert_told(rig *r, hf_reason reason)
{
    hf_token_looks_turn(&r->keeper);
    assert_int_equal(told(r), reason);
}

/* ---- tests ------------------------------------------------------------------------------------
 */

static void it_waits_for_the_store_and_for_what_that_told_of(void **state)
{
    rig *r = *state;
    assert_true(waits_with(r, HF_MSG_AUTHORIZE, r->text));
    assert_true(waits(r));
    assert_int_equal(r->keeper.protector.looks.wanted, 2);
    assert_still_waits(r, 2);
    answer_look(r, 9);
    assert_still_waits(r, 2);
    read_records(r, 9, 8);
    assert_still_waits(r, 2);
    read_records(r, 9, 9);
    assert_told(r, HF_REASON_OK); /* one question answers for both */
    assert_int_equal(told(r), HF_REASON_OK);
    assert_int_equal(told(r), HF_REASON_COUNT);
    assert_int_equal(atomic_load(&r->keeper.token_looks.count), 0);
    assert_int_equal(r->keeper.look, 0);
    /* What arrives later is not answered by what was asked before. */
    assert_true(waits(r));
    assert_still_waits(r, 1);
    answer_look(r, 9);
    assert_told(r, HF_REASON_OK);
}

static void it_is_judged_by_what_was_read_meanwhile(void **state)
{
    rig *r = *state;
    assert_true(waits_with(r, HF_MSG_AUTHORIZE, r->text));
    answer_look(r, 5);
    publish(r, 0); /* revoked */
    read_records(r, 5, 5);
    assert_told(r, HF_REASON_UNAUTHORIZED);
}

static void a_token_in_doubt_is_refused(void **state)
{
    rig *r = *state;
    /* The store was asked and said nothing. */
    assert_true(waits_with(r, HF_MSG_AUTHORIZE, r->text));
    answer_look(r, 0);
    r->keeper.protector.looks.failed = 1;
    assert_told(r, HF_REASON_STORE_UNAVAILABLE);
    /* It does not even come to that. */
    assert_true(waits(r));
    r->keeper.token_looks.head->until_ns = 0;
    assert_told(r, HF_REASON_STORE_UNAVAILABLE);
    /* It told of changes, and they cannot be read. */
    assert_true(waits(r));
    answer_look(r, 3);
    r->keeper.token_looks.head->until_ns = 0;
    assert_told(r, HF_REASON_STORE_UNAVAILABLE);
    /* It is known to be away; before it was asked for the first time nothing is known. */
    r->keeper.protector.healthy = false;
    assert_true(waits(r));
    assert_told(r, HF_REASON_STORE_UNAVAILABLE);
    r->keeper.protector.is_looked_at = false;
    assert_true(waits(r));
    assert_still_waits(r, 1);
    assert_int_equal(r->keeper.doubt, HF_REASON_OK);
}

static void a_flood_ends_in_overloaded(void **state)
{
    rig *r = *state;
    fill(r, HF_MSG_AUTHORIZE, r->text);
    for (int i = 0; i < 4; i++) {
        assert_true(waits(r));
    }
    assert_true(waits(r));
    assert_int_equal(told(r), HF_REASON_OVERLOADED);
    assert_still_waits(r, 4);
    r->peer->is_gone = true; /* nobody would hear of them */
    answer_look(r, 0);
    hf_token_looks_turn(&r->keeper);
    assert_int_equal(told(r), HF_REASON_COUNT);
    assert_int_equal(atomic_load(&r->keeper.token_looks.count), 0);
}

static void only_what_hangs_on_a_shared_token_waits(void **state)
{
    rig *r = *state;
    hf_keeper *keeper = &r->keeper;
    assert_false(waits_with(r, HF_MSG_AUTHORIZE, ""));
    assert_false(waits_with(r, HF_MSG_AUTHORIZE, "hft_000000000000000000000000.none"));
    assert_false(waits_with(r, HF_MSG_METRICS, ""));
    r->peer->channel = HF_CHANNEL_ADMIN;
    assert_false(waits_with(r, HF_MSG_AUTHORIZE, r->text));
    r->peer->channel = HF_CHANNEL_FRONT;
    /* Without auth.mode tokens some routes are open: nobody reads what is shown there. */
    keeper->config.auth_mode = HF_AUTH_NONE;
    assert_false(waits_with(r, HF_MSG_STATUS, r->text));
    assert_false(signature_waits(r, HF_OP_RANDAO_REVEAL));
    assert_true(waits_with(r, HF_MSG_TOKEN_LIST, r->text));
    hf_token_looks_done(keeper);
    keeper->config.auth_mode = HF_AUTH_TOKENS;
    struct hf_store_client *shared = keeper->store_clients[HF_LANE_SIGNING];
    keeper->store_clients[HF_LANE_SIGNING] = NULL;
    assert_false(waits_with(r, HF_MSG_TOKEN_LIST, r->text));
    keeper->store_clients[HF_LANE_SIGNING] = shared;
    /* The history of a key that was deleted goes with its deletion. */
    fill(r, HF_MSG_EXPORT_OPEN, r->text);
    ((hf_msg_pubkey *)(void *)r->frame)->has_pubkey = 1;
    assert_false(waits(r));
    assert_int_equal(keeper->protector.looks.wanted, 1);
}

static void blocks_and_attestations_do_not_wait(void **state)
{
    rig *r = *state;
    for (uint32_t op = 0; op < HF_OP_COUNT; op++) {
        bool is_decided_on = op == HF_OP_BLOCK || op == HF_OP_BLOCK_V2 || op == HF_OP_ATTESTATION;
        assert_int_equal(signature_waits(r, (hf_operation)op), !is_decided_on);
        hf_token_looks_done(&r->keeper);
    }
    assert_false(signature_waits(r, HF_OP_ATTESTATION));
    ((hf_msg_sign *)(void *)r->frame)->request.pubkey[0] ^= 1; /* not here: nothing to decide on */
    assert_true(waits(r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_waits_for_the_store_and_for_what_that_told_of, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(it_is_judged_by_what_was_read_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(a_token_in_doubt_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flood_ends_in_overloaded, setup, teardown),
        cmocka_unit_test_setup_teardown(only_what_hangs_on_a_shared_token_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(blocks_and_attestations_do_not_wait, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
