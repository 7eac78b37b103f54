/*
 * Calls that go to a node, and its answers. There are few at a time, and each is small (the call
 * itself is in a memfd), so that the channel has room for all of them: no queue is needed here.
 */
#include "front/front_internal.h"
#include "front/server_internal.h"

#include <sys/epoll.h>
#include <unistd.h>

/* Under way at one front, and of all that it lets wait: a node that hangs takes few places from
 * signatures. */
#define AT_RELAY_MAX 128
#define AT_RELAY_SHARE 4
/* Answers read before the sockets get their turn. */
#define ANSWERS_PER_TURN 64

static void lose_channel(hf_server *server)
{
    hf_msg_relay_answer none = {.outcome = HF_RELAY_UNREACHABLE};
    (void)epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, server->relay_fd, NULL);
    (void)close(server->relay_fd);
    server->relay_fd = -1;
    server->config.context.node.is_connected = false;
    for (uint32_t i = 0; i < server->place_count && server->at_relay > 0; i++) {
        if (server->places[i].is_at_relay) {
            hf_frame_init(&none, HF_MSG_RELAY_ANSWER, server->places[i].ask_id);
            hf_place_take_reply(server, true, &none);
        }
    }
}

void hf_relay_attach(hf_server *server, int take_fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = take_fd};
    if (server->relay_fd >= 0) {
        lose_channel(server);
    }
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, take_fd, &event) != 0) {
        (void)close(take_fd);
        return;
    }
    server->relay_fd = take_fd;
}

hf_relay_outcome hf_relay_send(hf_place *place)
{
    hf_server *server = place->server;
    const hf_exchange *x = &place->exchange;
    if (server->relay_fd < 0) {
        return HF_RELAY_ABSENT;
    }
    if (server->at_relay >= AT_RELAY_MAX ||
        server->at_relay > server->config.context.max_in_flight / AT_RELAY_SHARE ||
        hf_failed(hf_frame_send_fd(server->relay_fd, x->ask, x->ask_fd))) {
        return HF_RELAY_BUSY; /* that it is gone is noticed in a moment */
    }
    hf_front_close_ask_fd(&place->exchange);
    place->is_at_relay = true;
    server->at_relay++;
    return HF_RELAY_OK;
}

void hf_relay_leave(hf_place *place)
{
    if (place->is_at_relay) {
        place->is_at_relay = false;
        place->server->at_relay--;
    }
}

static void take_hello(hf_server *server, const hf_msg_relay_hello *hello)
{
    hf_harden_report *report = &server->config.context.node.protections;
    report->count = hello->protection_count <= HF_PROTECTIONS_MAX ? hello->protection_count : 0;
    memcpy(report->items, hello->protections, sizeof report->items);
    server->config.context.node.is_connected = true;
}

void hf_relay_receive(hf_server *server)
{
    for (int i = 0; i < ANSWERS_PER_TURN && server->relay_fd >= 0; i++) {
        size_t len = 0;
        hf_status st = hf_frame_recv(server->relay_fd, server->frame, &len, NULL);
        if (st.code == HF_UNAVAILABLE) {
            return;
        }
        const hf_frame_header *header = (const void *)server->frame;
        if (hf_failed(st) || !hf_frame_is_acceptable(server->frame, len, HF_CHANNEL_RELAY, false)) {
            lose_channel(server);
        } else if (header->type == HF_MSG_RELAY_HELLO) {
            take_hello(server, (const void *)server->frame);
        } else {
            hf_place_take_reply(server, true, server->frame);
        }
    }
}
