/* Places for connections: their bodies and their deadlines. */
#include "front/server_internal.h"

#include <sys/socket.h>

/* From the request line to the end of the headers and a small body. */
#define RECEIVE_NS (10 * HF_NS_PER_SECOND)
/* Larger bodies have a second more for each of these: slower than any link that could serve. */
#define RECEIVE_BYTES_PER_SECOND 65536
/* A client that does not read its answer; larger answers have more, as above. */
#define SEND_NS (60 * HF_NS_PER_SECOND)
/* Beyond the library's own idle timeout, which a trickle of bytes can put off. */
#define IDLE_MARGIN_NS (5 * HF_NS_PER_SECOND)
/* For a connection that was told to end. */
#define HANG_UP_NS (5 * HF_NS_PER_SECOND)
/* When places run short, connections that never asked anything are ended after this. */
#define UNUSED_NS (2 * HF_NS_PER_SECOND)
/* A body without announced length beyond the limit is read this many times over, then cut. */
#define DROPPED_BODIES 4

hf_status hf_places_init(hf_server *server)
{
    server->places = calloc(server->place_count, sizeof *server->places);
    if (server->places == NULL) {
        return (hf_status){HF_NOMEM};
    }
    for (uint32_t i = server->place_count; i > 0; i--) {
        server->places[i - 1].server = server;
        server->places[i - 1].next = server->free_places;
        server->free_places = &server->places[i - 1];
    }
    return hf_ok();
}

static void become_idle(hf_place *place)
{
    place->state = HF_PLACE_IDLE;
    place->deadline_ns = hf_time_mono_ns() +
                         place->server->config.idle_timeout_seconds * HF_NS_PER_SECOND +
                         IDLE_MARGIN_NS;
}

hf_place *hf_place_take(hf_listener *listener, struct MHD_Connection *http)
{
    hf_server *server = listener->server;
    hf_place *place = server->free_places;
    if (place == NULL) {
        return NULL;
    }
    server->free_places = place->next;
    place->next = NULL;
    place->listener = listener;
    place->http = http;
    place->has_served = false;
    place->is_begun = false;
    listener->used++;
    hf_front_init(&place->exchange, &server->config.context);
    become_idle(place);
    return place;
}

static void clear_request(hf_place *place)
{
    bool is_secret =
        place->exchange.route != NULL && (place->exchange.route->flags & HF_ROUTE_TOKEN) != 0;
    hf_front_done(&place->exchange);
    if (is_secret) {
        hf_wipe(place->body, sizeof place->body);
    }
    hf_buf_free(place->large_body);
    place->large_body = NULL;
    place->body_len = 0;
    place->is_begun = false;
    place->ask_id = 0;
}

void hf_place_release(hf_place *place)
{
    hf_server *server = place->server;
    HF_ASSERT(place->state != HF_PLACE_ASKING && !place->is_queued);
    clear_request(place);
    place->state = HF_PLACE_FREE;
    place->http = NULL;
    place->fd = -1;
    /* The library listens again only in its next turn. */
    place->listener->needs_run |= place->listener->used >= place->listener->limit;
    place->listener->used--;
    place->next = server->free_places;
    server->free_places = place;
}

void hf_place_start(hf_place *place)
{
    place->state = HF_PLACE_RECEIVING;
    place->receiving_since_ns = hf_time_mono_ns();
    place->deadline_ns = place->receiving_since_ns + RECEIVE_NS;
    place->is_refused = false;
    place->is_too_large = false;
    hf_front_init(&place->exchange, &place->server->config.context);
}

void hf_place_finish(hf_place *place)
{
    clear_request(place);
    place->has_served = true;
    become_idle(place);
    if (place->server->is_draining) {
        hf_place_hang_up(place);
    }
}

static uint64_t time_for(size_t len)
{
    return len / RECEIVE_BYTES_PER_SECOND * HF_NS_PER_SECOND;
}

void hf_place_expect_sent(hf_place *place, size_t len)
{
    place->state = HF_PLACE_SENDING;
    place->deadline_ns = hf_time_mono_ns() + SEND_NS + time_for(len);
}

bool hf_place_take_body(hf_place *place, const void *ptr, size_t len)
{
    uint32_t max = place->server->config.context.max_body_bytes;
    size_t before = place->body_len;
    place->body_len += len;
    if (place->body_len > (size_t)max * DROPPED_BODIES) {
        return false;
    }
    place->deadline_ns = place->receiving_since_ns + RECEIVE_NS + time_for(place->body_len);
    if (place->is_refused || place->is_too_large) {
        return true;
    }
    if (place->body_len > max) {
        place->is_too_large = true;
        hf_buf_free(place->large_body);
        place->large_body = NULL;
        return true;
    }
    if (place->large_body == NULL && place->body_len <= HF_BODY_INLINE_BYTES) {
        memcpy(place->body + before, ptr, len);
        return true;
    }
    if (place->large_body == NULL) {
        place->large_body = hf_buf_new(max);
        if (place->large_body == NULL ||
            hf_failed(hf_buf_put(place->large_body, place->body, before))) {
            return false;
        }
    }
    return !hf_failed(hf_buf_put(place->large_body, ptr, len));
}

void hf_place_hang_up(hf_place *place)
{
    (void)shutdown(place->fd, SHUT_RDWR);
    place->deadline_ns = hf_time_mono_ns() + HANG_UP_NS;
    place->listener->needs_run = true;
}

/* For newcomers, from the connections that never asked anything: a client asks once connected. */
static void make_room(hf_server *server, const hf_listener *listener, uint64_t now)
{
    uint64_t idle_ns = server->config.idle_timeout_seconds * HF_NS_PER_SECOND + IDLE_MARGIN_NS;
    for (uint32_t i = 0; i < server->place_count; i++) {
        hf_place *place = &server->places[i];
        if (place->state == HF_PLACE_IDLE && !place->has_served && place->listener == listener &&
            now + idle_ns > place->deadline_ns + UNUSED_NS) {
            hf_place_hang_up(place);
        }
    }
}

/*
 * Has the client said all that it will say? The library misses an end that arrives together with
 * the last bytes (its epoll is edge-triggered), and would keep the place until the idle timeout.
 */
static bool is_over(const hf_place *place)
{
    char byte = 0;
    return (place->state == HF_PLACE_IDLE || place->state == HF_PLACE_RECEIVING) &&
           recv(place->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void hf_places_check(hf_server *server)
{
    uint64_t now = hf_time_mono_ns();
    for (uint32_t i = 0; i < server->place_count; i++) {
        hf_place *place = &server->places[i];
        if (place->state == HF_PLACE_FREE || (now < place->deadline_ns && !is_over(place))) {
            continue;
        }
        if (place->state == HF_PLACE_ASKING) {
            hf_place_give_up(place, HF_REASON_TIMEOUT);
        } else {
            hf_place_hang_up(place);
        }
    }
    for (size_t i = 0; i < server->listener_count; i++) {
        if (server->listeners[i].used >= server->listeners[i].limit) {
            make_room(server, &server->listeners[i], now);
        }
    }
}
