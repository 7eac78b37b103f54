/* The loop, and how it ends. */
#include "front/server_internal.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Requests under way have this much more than the keeper's own time when draining. */
#define DRAIN_NS (5 * HF_NS_PER_SECOND)
/* A connection that was accepted a moment ago may still be shaking hands. */
#define DRAIN_NEWCOMER_NS HF_NS_PER_SECOND
/* How often deadlines are looked at: while requests wait, and while there are only connections. */
#define TICK_ASKING_MS 100
#define TICK_MS 1000
#define TICKS_PER_TIMEOUT 4
/* With so many questions at the keeper, which take milliseconds, a pause delays nobody: it lets
 * more sockets and answers come to a turn. */
#define BUSY_ASKING 32
#define BUSY_PAUSE_NS (2 * HF_NS_PER_MS)
#define EVENTS_MAX 8
/* More places than connections: the library frees one a moment after it has closed. */
#define SPARE_PLACES 8

static hf_status watch(hf_server *server, int fd, hf_error *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        return hf_fail(err, HF_INTERNAL, "epoll_ctl: %s", strerror(errno));
    }
    return hf_ok();
}

static hf_status open_listeners(hf_server *server, hf_error *err)
{
    const hf_server_config *config = &server->config;
    hf_status st = hf_listener_open(server, config->api_fd, false, config->max_connections, err);
    if (!hf_failed(st) && config->metrics_fd >= 0) {
        st = hf_listener_open(server, config->metrics_fd, true, HF_METRICS_CONNECTIONS, err);
    }
    for (size_t i = 0; i < server->listener_count && !hf_failed(st); i++) {
        st = watch(server, server->listeners[i].epoll_fd, err);
    }
    return st;
}

hf_status hf_server_new(const hf_server_config *config, hf_server **ret_server, hf_error *err)
{
    hf_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        return hf_fail(err, HF_NOMEM, "no memory for the server");
    }
    server->config = *config;
    server->place_count = config->max_connections + HF_METRICS_CONNECTIONS + SPARE_PLACES;
    server->inbox = hf_inbox_new();
    server->relay_fd = -1;
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    hf_status st = hf_ok();
    if (server->inbox == NULL || server->epoll_fd < 0 || hf_failed(hf_places_init(server))) {
        st = hf_fail(err, HF_NOMEM, "no memory for %u connections", config->max_connections);
        goto out;
    }
    st = watch(server, config->keeper_fd, err);
    if (!hf_failed(st)) {
        st = watch(server, config->control_fd, err);
    }
    if (!hf_failed(st)) {
        st = open_listeners(server, err);
    }
    if (!hf_failed(st)) {
        *ret_server = server;
        server = NULL;
    }
out:
    hf_server_free(server);
    return st;
}

void hf_server_free(hf_server *server)
{
    if (server == NULL) {
        return;
    }
    for (size_t i = 0; i < server->listener_count; i++) {
        MHD_stop_daemon(server->listeners[i].daemon);
    }
    if (server->epoll_fd >= 0) {
        (void)close(server->epoll_fd);
    }
    if (server->relay_fd >= 0) {
        (void)close(server->relay_fd);
    }
    hf_inbox_free(server->inbox);
    free(server->places);
    free(server);
}

/* ---- draining ------------------------------------------------------------------------------- */

/* A request that is on its way is answered; a connection that just sits there is closed. */
static void drain_idle(hf_place *place)
{
    char byte;
    bool is_asking = recv(place->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
    if (place->has_served && !is_asking) {
        hf_place_hang_up(place);
    } else {
        place->deadline_ns = hf_time_mono_ns() + DRAIN_NEWCOMER_NS;
    }
}

static void start_draining(hf_server *server)
{
    if (server->is_draining) {
        return;
    }
    server->is_draining = true;
    server->drain_deadline_ns =
        hf_time_mono_ns() + DRAIN_NS + server->config.context.request_timeout_ms * HF_NS_PER_MS;
    for (size_t i = 0; i < server->listener_count; i++) {
        int fd = MHD_quiesce_daemon(server->listeners[i].daemon);
        if (fd >= 0) {
            (void)close(fd);
        }
    }
    for (uint32_t i = 0; i < server->place_count; i++) {
        if (server->places[i].state == HF_PLACE_IDLE) {
            drain_idle(&server->places[i]);
        }
    }
}

static bool is_drained(const hf_server *server)
{
    uint32_t used = 0;
    for (size_t i = 0; i < server->listener_count; i++) {
        used += server->listeners[i].used;
    }
    return used == 0;
}

/* The library does not stop while a connection is suspended. */
static void answer_the_waiting(hf_server *server, hf_reason reason)
{
    for (uint32_t i = 0; i < server->place_count; i++) {
        if (server->places[i].state == HF_PLACE_ASKING) {
            hf_place_give_up(&server->places[i], reason);
        }
    }
    for (size_t i = 0; i < server->listener_count; i++) {
        (void)MHD_run(server->listeners[i].daemon);
    }
}

/* ---- the loop ------------------------------------------------------------------------------- */

static void take_control(hf_server *server)
{
    size_t len = 0;
    int fd = -1;
    hf_status st = hf_frame_recv(server->config.control_fd, server->frame, &len, &fd);
    if (st.code == HF_UNAVAILABLE) {
        return;
    }
    const hf_frame_header *header = (const void *)server->frame;
    bool is_frame =
        !hf_failed(st) && hf_frame_is_acceptable(server->frame, len, HF_CHANNEL_CONTROL, false);
    if (hf_failed(st)) {
        server->broken = "the supervisor is gone";
    } else if (is_frame && header->type == HF_MSG_SHUTDOWN) {
        start_draining(server);
    } else if (is_frame && header->type == HF_MSG_NEW_CHANNEL && fd >= 0) {
        hf_relay_attach(server, fd);
        fd = -1;
    } else {
        server->broken = "the supervisor sent a frame that is not for a front";
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

static int tick_ms(const hf_server *server)
{
    uint32_t quarter = server->config.context.request_timeout_ms / TICKS_PER_TIMEOUT;
    if (server->asking > 0 || server->is_draining) {
        return quarter < TICK_ASKING_MS ? (int)quarter + 1 : TICK_ASKING_MS;
    }
    return is_drained(server) ? -1 : TICK_MS;
}

static int sleep_ms(const hf_server *server)
{
    int tick = tick_ms(server);
    return tick < 0 || tick > HF_ALIVE_EVERY_MS ? HF_ALIVE_EVERY_MS : tick;
}

/* The library has more to do than it did in its last turn. */
static bool is_pending(const hf_listener *listener)
{
    MHD_UNSIGNED_LONG_LONG timeout = 0;
    return MHD_get_timeout(listener->daemon, &timeout) == MHD_YES && timeout == 0;
}

static void note_event(hf_server *server, const struct epoll_event *event)
{
    if (event->data.fd == server->config.keeper_fd) {
        if ((event->events & EPOLLOUT) != 0) {
            hf_keeper_flush(server);
        }
        hf_keeper_receive(server);
        return;
    }
    if (event->data.fd == server->config.control_fd) {
        take_control(server);
        return;
    }
    if (event->data.fd == server->relay_fd) {
        hf_relay_receive(server);
        return;
    }
    for (size_t i = 0; i < server->listener_count; i++) {
        server->listeners[i].needs_run |= server->listeners[i].epoll_fd == event->data.fd;
    }
}

/* One turn; *last_tick_ns is when deadlines were last looked at. */
static void turn(hf_server *server, bool *pending, uint64_t *last_tick_ns)
{
    struct epoll_event events[EVENTS_MAX];
    int wait_ms = *pending ? 0 : sleep_ms(server);
    if (server->asking >= BUSY_ASKING) {
        hf_time_sleep_ns(BUSY_PAUSE_NS);
    }
    int n = epoll_wait(server->epoll_fd, events, EVENTS_MAX, wait_ms);
    for (int i = 0; i < n; i++) {
        note_event(server, &events[i]);
    }
    uint64_t now = hf_time_mono_ns();
    wait_ms = tick_ms(server);
    bool is_tick = wait_ms >= 0 && now - *last_tick_ns >= (uint64_t)wait_ms * HF_NS_PER_MS;
    if (is_tick) {
        hf_places_check(server);
        *last_tick_ns = now;
    }
    *pending = false;
    for (size_t i = 0; i < server->listener_count; i++) {
        hf_listener *listener = &server->listeners[i];
        if (listener->needs_run || is_tick) {
            listener->needs_run = false;
            (void)MHD_run(listener->daemon);
            *pending |= listener->needs_run || is_pending(listener);
            listener->needs_run |= *pending;
        }
    }
    hf_keeper_flush(server);
}

hf_status hf_server_run(hf_server *server, hf_error *err)
{
    bool pending = false;
    uint64_t last_tick_ns = 0;
    uint64_t alive_ns = 0;
    while (server->broken == NULL) {
        hf_say_alive(server->config.control_fd, &alive_ns);
        turn(server, &pending, &last_tick_ns);
        if (!server->is_draining) {
            continue;
        }
        if (is_drained(server)) {
            return hf_ok();
        }
        if (hf_time_mono_ns() >= server->drain_deadline_ns) {
            answer_the_waiting(server, HF_REASON_SHUTTING_DOWN);
            return hf_ok();
        }
    }
    answer_the_waiting(server, HF_REASON_KEEPER_UNAVAILABLE);
    return hf_fail(err, HF_NOT_FOUND, "%s", server->broken);
}
