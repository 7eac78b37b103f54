/*
 * The channels and their way out. Any thread answers straight into the socket; when the other end
 * reads too slowly the answers wait in the peer's outbox, in the memory of their own requests, and
 * the intake thread sends them when there is room. A peer's place is reused only when nothing
 * points to it any more.
 */
#include "keeper/keeper_internal.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

void hf_peers_init(hf_keeper *keeper)
{
    for (size_t i = 0; i < HF_PEERS_MAX; i++) {
        keeper->peers[i].fd = -1;
        (void)pthread_mutex_init(&keeper->peers[i].lock, NULL);
    }
}

static void watch(hf_keeper *keeper, hf_peer *peer, int how)
{
    struct epoll_event event = {.data.ptr = peer};
    event.events = EPOLLIN | (peer->wants_write ? (uint32_t)EPOLLOUT : 0U);
    (void)epoll_ctl(keeper->epoll_fd, how, peer->fd, &event);
}

hf_peer *hf_peer_open(hf_keeper *keeper, int take_fd, hf_channel channel, uint64_t tag)
{
    for (size_t i = 0; i < HF_PEERS_MAX; i++) {
        hf_peer *peer = &keeper->peers[i];
        if (peer->fd >= 0) {
            continue;
        }
        (void)pthread_mutex_lock(&peer->lock);
        peer->fd = take_fd;
        peer->channel = channel;
        peer->tag = tag;
        peer->is_gone = false;
        peer->wants_write = false;
        peer->outbox_head = NULL;
        peer->outbox_tail = NULL;
        (void)pthread_mutex_unlock(&peer->lock);
        peer->in_flight_max = keeper->config.max_in_flight;
        atomic_store(&peer->refs, 0);
        watch(keeper, peer, EPOLL_CTL_ADD);
        return peer;
    }
    (void)close(take_fd);
    return NULL;
}

void hf_peer_ref(hf_peer *peer)
{
    (void)atomic_fetch_add(&peer->refs, 1);
}

void hf_peer_unref(hf_keeper *keeper, hf_peer *peer)
{
    uint32_t before = atomic_fetch_sub(&peer->refs, 1);
    HF_ASSERT(before > 0);
    if (before == 1 && atomic_load(&keeper->closing)) {
        hf_intake_nudge(keeper);
    }
}

/* Answers that nobody will read any more. */
static void drop_outbox(hf_keeper *keeper, hf_peer *peer)
{
    (void)pthread_mutex_lock(&peer->lock);
    hf_request *list = peer->outbox_head;
    peer->outbox_head = NULL;
    peer->outbox_tail = NULL;
    (void)pthread_mutex_unlock(&peer->lock);
    while (list != NULL) {
        hf_request *next = list->next;
        hf_requests_put(&keeper->requests, list);
        hf_peer_unref(keeper, peer);
        list = next;
    }
}

void hf_peer_hang_up(hf_keeper *keeper, hf_peer *peer)
{
    if (peer->is_gone) {
        return;
    }
    (void)epoll_ctl(keeper->epoll_fd, EPOLL_CTL_DEL, peer->fd, NULL);
    (void)shutdown(peer->fd, SHUT_RDWR);
    (void)pthread_mutex_lock(&peer->lock);
    peer->is_gone = true;
    (void)pthread_mutex_unlock(&peer->lock);
    atomic_store(&keeper->closing, true);
    drop_outbox(keeper, peer);
    hf_loading_peer_gone(keeper, peer);
    hf_clerk_forget_peer(keeper, peer);
}

void hf_peers_sweep(hf_keeper *keeper)
{
    bool waiting = false;
    for (size_t i = 0; i < HF_PEERS_MAX; i++) {
        hf_peer *peer = &keeper->peers[i];
        if (peer->fd < 0 || !peer->is_gone) {
            continue;
        }
        if (atomic_load(&peer->refs) != 0) {
            waiting = true;
            continue;
        }
        (void)close(peer->fd);
        peer->fd = -1;
    }
    atomic_store(&keeper->closing, waiting || keeper->ring.removed != NULL);
}

void hf_peer_answer(hf_keeper *keeper, hf_request *request)
{
    hf_peer *peer = request->peer;
    bool sent = true;
    bool nudge = false;
    (void)pthread_mutex_lock(&peer->lock);
    if (!peer->is_gone) {
        sent = peer->outbox_head == NULL &&
               hf_frame_send(peer->fd, &request->reply).code != HF_UNAVAILABLE;
    }
    if (!sent) {
        request->next = NULL;
        nudge = peer->outbox_head == NULL;
        if (nudge) {
            peer->outbox_head = request;
        } else {
            peer->outbox_tail->next = request;
        }
        peer->outbox_tail = request;
    }
    (void)pthread_mutex_unlock(&peer->lock);
    if (sent) {
        hf_requests_put(&keeper->requests, request);
        hf_peer_unref(keeper, peer);
    }
    if (nudge) {
        hf_intake_nudge(keeper);
    }
}

void hf_peer_flush(hf_keeper *keeper, hf_peer *peer)
{
    hf_request *done = NULL;
    (void)pthread_mutex_lock(&peer->lock);
    while (peer->outbox_head != NULL && !peer->is_gone) {
        hf_request *request = peer->outbox_head;
        if (hf_frame_send(peer->fd, &request->reply).code == HF_UNAVAILABLE) {
            break;
        }
        peer->outbox_head = request->next;
        request->next = done;
        done = request;
    }
    bool wants_write = peer->outbox_head != NULL;
    (void)pthread_mutex_unlock(&peer->lock);
    if (wants_write != peer->wants_write && !peer->is_gone) {
        peer->wants_write = wants_write;
        watch(keeper, peer, EPOLL_CTL_MOD);
    }
    while (done != NULL) {
        hf_request *next = done->next;
        hf_requests_put(&keeper->requests, done);
        hf_peer_unref(keeper, peer);
        done = next;
    }
}

void hf_peer_send(hf_keeper *keeper, hf_peer *peer, const void *frame)
{
    hf_status st = hf_ok();
    (void)pthread_mutex_lock(&peer->lock);
    if (!peer->is_gone) {
        st = hf_frame_send(peer->fd, frame);
    }
    (void)pthread_mutex_unlock(&peer->lock);
    if (hf_failed(st)) {
        hf_meter_add(&keeper->meter.now.overload, 1);
    }
}

void hf_peer_send_result(hf_keeper *keeper, hf_peer *peer, uint64_t request_id, hf_reason reason,
                         uint64_t value, const char *detail)
{
    hf_msg_result frame = {.reason = reason, .value = value};
    hf_frame_init(&frame, HF_MSG_RESULT, request_id);
    hf_str_cut(frame.detail, sizeof frame.detail, detail);
    hf_peer_send(keeper, peer, &frame);
}
