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

/* Answers that leave by one call, and the work that makes waiting for them worth it. */
#define ANSWERS_TOGETHER 16
#define BUSY_BACKLOG 4

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
        peer->has_loaded = false;
        peer->outbox_head = NULL;
        peer->outbox_tail = NULL;
        peer->outbox_count = 0;
        peer->is_full = false;
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

/* Gives back what answers are part of, once they went or will never be read. */
static void release(hf_keeper *keeper, hf_peer *peer, hf_answer *list)
{
    while (list != NULL) {
        hf_answer *next = list->next;
        list->put(keeper, list);
        hf_peer_unref(keeper, peer);
        list = next;
    }
}

/* With the lock held: the first n answers of the outbox, as a list of their own. */
static hf_answer *cut_outbox(hf_keeper *keeper, hf_peer *peer, size_t n)
{
    hf_answer *list = peer->outbox_head;
    hf_answer **end = &list;
    (void)atomic_fetch_sub(&keeper->unsent, (uint32_t)n);
    peer->outbox_count -= (uint32_t)n;
    while (n-- > 0) {
        HF_ASSERT(*end != NULL); /* n is at most outbox_count */
        end = &(*end)->next;
    }
    peer->outbox_head = *end;
    *end = NULL;
    return list;
}

/* With the lock held: sends what the socket takes; returns the answers that are done with. */
static hf_answer *send_outbox(hf_keeper *keeper, hf_peer *peer)
{
    const void *frames[HF_OUTBOX_FRAMES];
    size_t n = 0;
    size_t sent = 0;
    for (hf_answer *a = peer->outbox_head; a != NULL && n < HF_OUTBOX_FRAMES; a = a->next) {
        frames[n++] = a->frame;
    }
    if (n == 0 || peer->is_gone) {
        return cut_outbox(keeper, peer, peer->outbox_count);
    }
    hf_status st = hf_frames_send(peer->fd, frames, n, &sent);
    peer->is_full = st.code == HF_UNAVAILABLE;
    bool is_lost = hf_failed(st) && !peer->is_full; /* the intake thread will see the same */
    return cut_outbox(keeper, peer, is_lost ? peer->outbox_count : sent);
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
    (void)pthread_mutex_lock(&peer->lock);
    hf_answer *unread = cut_outbox(keeper, peer, peer->outbox_count);
    (void)pthread_mutex_unlock(&peer->lock);
    release(keeper, peer, unread);
    hf_loading_peer_gone(keeper, peer);
    hf_custody_peer_gone(keeper, peer);
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

/* Sends what waits for this peer, unless its socket was full: then the intake thread will. */
static void send_waiting(hf_keeper *keeper, hf_peer *peer)
{
    (void)pthread_mutex_lock(&peer->lock);
    bool was_full = peer->is_full;
    hf_answer *done = was_full ? NULL : send_outbox(keeper, peer);
    bool is_full = peer->is_full;
    (void)pthread_mutex_unlock(&peer->lock);
    release(keeper, peer, done);
    if (is_full && !was_full) {
        hf_intake_nudge(keeper);
    }
}

uint32_t hf_peer_queue(hf_keeper *keeper, hf_answer *answer)
{
    hf_peer *peer = answer->peer;
    (void)pthread_mutex_lock(&peer->lock);
    answer->next = NULL;
    *(peer->outbox_head != NULL ? &peer->outbox_tail->next : &peer->outbox_head) = answer;
    peer->outbox_tail = answer;
    uint32_t count = ++peer->outbox_count;
    (void)atomic_fetch_add(&keeper->unsent, 1);
    (void)pthread_mutex_unlock(&peer->lock);
    return count;
}

void hf_peers_send_waiting(hf_keeper *keeper)
{
    for (size_t i = 0; atomic_load(&keeper->unsent) > 0 && i < HF_PEERS_MAX; i++) {
        send_waiting(keeper, &keeper->peers[i]);
    }
}

static void put_request(hf_keeper *keeper, hf_answer *answer)
{
    uint8_t *start = (uint8_t *)answer - offsetof(hf_request, answer);
    hf_requests_put(&keeper->requests, (hf_request *)(void *)start);
}

/*
 * While the signers have much to do, some answers gather and leave by one system call, which wakes
 * the front once. The last ones find the signers idle and take all that waits along.
 */
void hf_peer_answer(hf_keeper *keeper, hf_request *request)
{
    hf_peer *peer = request->peer;
    request->answer = (hf_answer){.peer = peer, .frame = &request->reply, .put = put_request};
    uint32_t count = hf_peer_queue(keeper, &request->answer);
    if (hf_signers_backlog(keeper) < BUSY_BACKLOG) {
        hf_peers_send_waiting(keeper);
    } else if (count >= ANSWERS_TOGETHER) {
        send_waiting(keeper, peer);
    }
}

void hf_peer_flush(hf_keeper *keeper, hf_peer *peer)
{
    (void)pthread_mutex_lock(&peer->lock);
    hf_answer *done = send_outbox(keeper, peer);
    bool wants_write = peer->is_full;
    (void)pthread_mutex_unlock(&peer->lock);
    release(keeper, peer, done);
    if (wants_write != peer->wants_write && !peer->is_gone) {
        peer->wants_write = wants_write;
        watch(keeper, peer, EPOLL_CTL_MOD);
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
