/* Questions to the keeper and its replies. */
#include "front/server_internal.h"

#include <sys/epoll.h>

/* Lines about refused requests in one window of log_window_ns. */
#define LOG_LINES_MAX 20
#define LOG_WINDOW_NS (10 * HF_NS_PER_SECOND)
/* Batches of replies read before the sockets get their turn. */
#define BATCHES_PER_TURN 8
/* A request may ask several questions at once while so small a share of those that the front may
 * have open are: the keeper's room for signatures, and a device's, stays free for other requests.
 */
#define SEVERAL_SHARE 8
/* A request id: a generation, which question of several, whose. */
#define GENERATION_SHIFT 32
#define OWNER_MASK ((UINT64_C(1) << HF_ASK_PLACE_SHIFT) - 1)
#define ROUND_MASK (UINT64_MAX << GENERATION_SHIFT | OWNER_MASK)

static void watch_writable(hf_server *server, bool wanted)
{
    if (server->watches_writable == wanted) {
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0U),
                                .data.fd = server->config.keeper_fd};
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, server->config.keeper_fd, &event) != 0) {
        server->broken = "the keeper's channel cannot be watched";
    }
    server->watches_writable = wanted;
}

static void enqueue(hf_place *place)
{
    hf_server *server = place->server;
    place->next = NULL;
    place->is_queued = true;
    place->sent = 0;
    if (server->queue_head == NULL) {
        server->queue_head = place;
    } else {
        server->queue_tail->next = place;
    }
    server->queue_tail = place;
}

static void unqueue(hf_place *place)
{
    hf_server *server = place->server;
    hf_place **link = &server->queue_head;
    hf_place *before = NULL;
    while (*link != place) {
        before = *link;
        link = &(*link)->next;
    }
    *link = place->next;
    if (server->queue_tail == place) {
        server->queue_tail = before;
    }
    place->next = NULL;
    place->is_queued = false;
}

/* The first questions of the queue that travel without a descriptor; 0 when the very first has one.
 */
static size_t gather(const hf_server *server, const void *frames[HF_OUTBOX_FRAMES])
{
    size_t n = 0;
    const hf_place *place = server->queue_head;
    for (; place != NULL && place->exchange.ask_fd < 0; place = place->next) {
        for (uint32_t i = place->sent; i < place->out; i++) {
            if (n == HF_OUTBOX_FRAMES) {
                return n;
            }
            frames[n++] = hf_front_question(&place->exchange, i);
        }
    }
    return n;
}

/* So many of the queue's questions are on their way. */
static void note_sent(hf_server *server, size_t n)
{
    while (n-- > 0) {
        hf_place *place = server->queue_head;
        if (++place->sent == place->out) {
            unqueue(place);
        }
    }
}

/* Questions of one turn leave together: under load one system call carries several. */
void hf_keeper_flush(hf_server *server)
{
    const void *frames[HF_OUTBOX_FRAMES];
    hf_status st = hf_ok();
    while (server->queue_head != NULL && !hf_failed(st)) {
        size_t n = gather(server, frames);
        size_t sent = 0;
        if (n > 0) {
            st = hf_frames_send(server->config.keeper_fd, frames, n, &sent);
        } else {
            const hf_exchange *x = &server->queue_head->exchange;
            st = hf_frame_send_fd(server->config.keeper_fd, x->ask, x->ask_fd);
            sent = hf_failed(st) ? 0 : 1;
        }
        note_sent(server, sent);
    }
    if (hf_failed(st) && st.code != HF_UNAVAILABLE) {
        server->broken = "the keeper is gone";
        return;
    }
    watch_writable(server, server->queue_head != NULL);
}

void hf_keeper_announce(hf_server *server)
{
    hf_msg_plain soon = {0};
    if (server->asking > 0) { /* the keeper is awake */
        return;
    }
    hf_frame_init(&soon, HF_MSG_SOON, 0);
    hf_status lost = hf_frame_send(server->config.keeper_fd, &soon);
    (void)lost;
}

static void count_questions(hf_place *place, uint32_t now)
{
    hf_server *server = place->server;
    server->askers -= place->out > 0;
    server->askers += now > 0;
    server->asking -= place->out;
    server->asking += now;
    place->out = now;
}

/* An equal part for each that asks, as long as there is some left. */
void hf_place_make_room(hf_place *place)
{
    const hf_server *server = place->server;
    uint32_t most = server->config.context.max_in_flight / SEVERAL_SHARE;
    uint32_t others = server->asking - place->out;
    uint32_t left = others < most ? most - others : 1;
    uint32_t part = most / (server->askers + (place->out == 0));
    uint32_t room = part < left ? part : left;
    place->exchange.ask_room = room > 0 ? room : 1;
}

/* OK: an answer will come, or the deadline. */
static hf_relay_outcome put_questions(hf_place *place)
{
    hf_exchange *x = &place->exchange;
    hf_server *server = place->server;
    place->generation++;
    place->ask_id =
        (uint64_t)place->generation << GENERATION_SHIFT | (uint64_t)(place - server->places);
    for (uint32_t i = 0; i < x->ask_count; i++) {
        hf_frame_header *header = hf_front_question(x, i);
        header->request_id = place->ask_id | (uint64_t)i << HF_ASK_PLACE_SHIFT;
    }
    count_questions(place, x->ask_count);
    place->deadline_ns = hf_time_mono_ns() + x->ask_timeout_ms * HF_NS_PER_MS;
    if (x->asks_relay) {
        return hf_relay_send(place);
    }
    enqueue(place);
    return HF_RELAY_OK;
}

bool hf_place_ask(hf_place *place)
{
    hf_server *server = place->server;
    hf_reason refusal = HF_REASON_OK;
    if (server->is_draining) {
        refusal = HF_REASON_SHUTTING_DOWN;
    } else if (server->asking >= server->config.context.max_in_flight) {
        refusal = HF_REASON_OVERLOADED;
    }
    if (refusal != HF_REASON_OK) {
        (void)hf_front_refuse(&place->exchange, refusal, NULL);
        return false;
    }
    HF_ASSERT(!place->exchange.asks_relay); /* the keeper is asked first */
    place->state = HF_PLACE_ASKING;
    return put_questions(place) == HF_RELAY_OK;
}

/* What the exchange does next, after a reply or its absence. */
static void go_on(hf_place *place, hf_next next)
{
    if (next == HF_NEXT_WAIT) {
        return;
    }
    if (place->is_queued) {
        unqueue(place); /* it is over before all its questions were sent */
    }
    hf_relay_leave(place);
    while (next == HF_NEXT_ASK) {
        hf_msg_relay_answer none = {.outcome = (uint32_t)put_questions(place)};
        if (none.outcome == HF_RELAY_OK) {
            return;
        }
        hf_frame_init(&none, HF_MSG_RELAY_ANSWER, place->ask_id);
        next = hf_front_reply(&place->exchange, &none);
    }
    count_questions(place, 0);
    place->ask_id = 0;
    place->state = HF_PLACE_ANSWERED;
    hf_place_resume(place);
}

void hf_place_give_up(hf_place *place, hf_reason reason)
{
    place->ask_id = 0;
    go_on(place, reason == HF_REASON_TIMEOUT ? hf_front_silence(&place->exchange)
                                             : hf_front_refuse(&place->exchange, reason, NULL));
}

void hf_place_take_reply(hf_server *server, bool is_of_relay, const void *frame)
{
    const hf_frame_header *header = frame;
    uint64_t index = header->request_id & OWNER_MASK;
    if (index >= server->place_count) {
        return;
    }
    hf_place *place = &server->places[index];
    /* A reply to a question that was given up meanwhile belongs to nobody. */
    if (place->state == HF_PLACE_ASKING && place->is_at_relay == is_of_relay &&
        place->ask_id == (header->request_id & ROUND_MASK) &&
        hf_front_place_of(frame) < place->out) {
        hf_place_make_room(place);
        go_on(place, hf_front_reply(&place->exchange, frame));
    }
}

void hf_keeper_receive(hf_server *server)
{
    size_t n = HF_INBOX_FRAMES;
    for (int i = 0; i < BATCHES_PER_TURN && n == HF_INBOX_FRAMES; i++) {
        hf_status st =
            hf_inbox_receive(server->inbox, server->config.keeper_fd, HF_INBOX_FRAMES, &n);
        if (st.code == HF_UNAVAILABLE) {
            return;
        }
        if (hf_failed(st)) {
            server->broken = "the keeper is gone";
            return;
        }
        for (size_t j = 0; j < n && server->broken == NULL; j++) {
            size_t len;
            const void *frame = hf_inbox_peek(server->inbox, j, &len);
            if (!hf_frame_is_acceptable(frame, len, HF_CHANNEL_FRONT, false)) {
                server->broken = "the keeper sent a frame that no keeper sends";
            } else {
                hf_place_take_reply(server, false, frame);
            }
        }
    }
}

void hf_place_note_refusal(hf_place *place)
{
    hf_server *server = place->server;
    const hf_exchange *x = &place->exchange;
    if (!x->is_refused_here || x->request.is_metrics) {
        return;
    }
    hf_msg_count count = {.reason = x->reason, .operation = x->operation};
    hf_frame_init(&count, HF_MSG_COUNT, 0);
    hf_status lost = hf_frame_send(server->config.keeper_fd, &count);
    (void)lost; /* a counter gives way when the channel is full */
    uint64_t now = hf_time_mono_ns();
    if (now - server->log_window_ns > LOG_WINDOW_NS) {
        server->log_window_ns = now;
        server->log_lines = 0;
    }
    if (server->log_lines++ < LOG_LINES_MAX) {
        const hf_reason_info *info = hf_reason_describe(x->reason);
        hf_log(info->log_level, "request_refused", "%s %s%s", info->code,
               hf_eth_operation_name((hf_operation)x->operation) != NULL
                   ? hf_eth_operation_name((hf_operation)x->operation)
                   : "",
               server->log_lines == LOG_LINES_MAX ? " (more are not logged for a while)" : "");
    }
}
