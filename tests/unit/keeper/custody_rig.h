/* A keeper with back ends of custody, and the test in the place of their processes. */
#ifndef HF_TEST_CUSTODY_RIG_H
#define HF_TEST_CUSTODY_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "keeper/keeper_internal.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACK_ENDS 2

typedef struct rig {
    hf_keeper keeper;
    hf_secp256k1 *secp;
    int supervisor;      /* our ends */
    int keys[BACK_ENDS]; /* -1: closed */
    int sign[BACK_ENDS];
    hf_peer *listers[BACK_ENDS];
    _Alignas(8) uint8_t frame[HF_IPC_MAX_BYTES];
} rig;

static hf_secp256k1_key secret_of(const rig *r, uint8_t number)
{
    uint8_t bytes[HF_SECP256K1_SECRET_BYTES] = {0};
    hf_secp256k1_key key;
    bytes[31] = number;
    assert_false(hf_failed(hf_secp256k1_key_from_bytes(r->secp, bytes, &key)));
    return key;
}

static void connect_back_end(rig *r, uint32_t i)
{
    int pair[2];
    hf_msg_new_channel frame = {.channel = HF_CHANNEL_CUSTODY_KEYS};
    frame.header.request_id = i;
    assert_int_equal(hf_channel_pair(true, pair).code, HF_OK);
    r->keys[i] = pair[0];
    hf_custody_give_channel(&r->keeper, &frame, pair[1]);
    r->listers[i] = r->keeper.custody.ends[i].lister;
    assert_non_null(r->listers[i]);
    frame.channel = HF_CHANNEL_CUSTODY;
    assert_int_equal(hf_channel_pair(true, pair).code, HF_OK);
    r->sign[i] = pair[0];
    hf_custody_give_channel(&r->keeper, &frame, pair[1]);
}

static int setup(void **state)
{
    rig *r = calloc(1, sizeof *r);
    int pair[2];
    hf_error err = {HF_OK, ""};
    assert_non_null(r);
    hf_log_init("test", HF_LOG_TEXT, (hf_log_level)(HF_LOG_BROKEN + 1));
    r->keeper.config.max_in_flight = 4096;
    r->keeper.config.custody_count = BACK_ENDS;
    for (uint32_t i = 0; i < BACK_ENDS; i++) {
        r->keeper.config.custodies[i].backend = HF_BACKEND_PKCS11;
        r->keeper.config.custodies[i].source = 3 + i;
    }
    r->keeper.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    r->keeper.nudge_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_int_equal(hf_secp256k1_new(&r->secp).code, HF_OK);
    assert_int_equal(hf_keyring_init(&r->keeper.ring, 8, false, &err).code, HF_OK);
    hf_peers_init(&r->keeper);
    assert_int_equal(hf_channel_pair(true, pair).code, HF_OK);
    r->supervisor = pair[0];
    r->keeper.control = hf_peer_open(&r->keeper, pair[1], HF_CHANNEL_CONTROL, 0);
    assert_int_equal(hf_custody_init(&r->keeper).code, HF_OK);
    for (uint32_t i = 0; i < BACK_ENDS; i++) {
        connect_back_end(r, i);
    }
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    rig *r = *state;
    hf_custody_stop(&r->keeper);
    hf_keyring_done(&r->keeper.ring);
    hf_secp256k1_free(r->secp);
    for (uint32_t i = 0; i < BACK_ENDS; i++) {
        if (r->sign[i] >= 0) {
            (void)close(r->sign[i]);
        }
        (void)close(r->keys[i]);
        (void)close(r->listers[i]->fd);
    }
    (void)close(r->supervisor);
    (void)close(r->keeper.control->fd);
    (void)close(r->keeper.epoll_fd);
    (void)close(r->keeper.nudge_fd);
    free(r);
    return 0;
}

/* ---- listings ---------------------------------------------------------------------------------
 */

static void say(rig *r, uint32_t i, hf_msg_type type)
{
    hf_msg_plain frame;
    hf_frame_init(&frame, type, 0);
    hf_custody_keys_frame(&r->keeper, r->listers[i], &frame);
}

static void say_done(rig *r, uint32_t i, hf_code code)
{
    hf_msg_custody_done frame = {.code = (uint32_t)code};
    hf_frame_init(&frame, HF_MSG_CUSTODY_DONE, 0);
    hf_custody_keys_frame(&r->keeper, r->listers[i], &frame);
}

static hf_msg_custody_key inside(const rig *r, uint8_t number)
{
    hf_msg_custody_key frame = {.type = HF_CUSTODY_SECP256K1,
                                .is_inside = 1,
                                .public_len = HF_CUSTODY_PUBLIC_MAX,
                                .handle = 100U + number};
    hf_secp256k1_key key = secret_of(r, number);
    hf_frame_init(&frame, HF_MSG_CUSTODY_KEY, 0);
    frame.public_key[0] = 4;
    hf_secp256k1_pubkey(r->secp, &key, frame.public_key + 1);
    return frame;
}

static void say_key(rig *r, uint32_t i, const hf_msg_custody_key *frame)
{
    hf_custody_keys_frame(&r->keeper, r->listers[i], frame);
}

static void list_inside(rig *r, uint32_t i, uint8_t first, uint8_t last)
{
    say(r, i, HF_MSG_CUSTODY_BEGIN);
    for (uint8_t number = first; number <= last; number++) {
        hf_msg_custody_key frame = inside(r, number);
        say_key(r, i, &frame);
    }
    say_done(r, i, HF_OK);
}

#endif
