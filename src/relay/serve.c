/*
 * holdfast-relay at work. The main thread takes channels from the supervisor and calls from the
 * fronts, and says that it lives; threads with a connection each carry them to the node. What a
 * front asks is checked like anyone's. An answer that a front has no room for is dropped: the front
 * does not wait longer than its own deadline.
 */
#include "relay/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* Each front twice, while its successor takes over, and some whose end is not yet noticed. */
#define CLIENTS_MAX 160
/* Calls that wait for a thread, and the bytes of these. */
#define QUEUE_MAX 1024
#define QUEUE_BYTES_MAX (64U << 20)
#define TICK_MS 250
/* Calls taken from one front before the others have their turn. */
#define CALLS_A_TURN 32
/* A thread that is still busy so long after its deadline will never come back. */
#define STUCK_NS (10 * HF_NS_PER_SECOND)
/* The node's state is logged when it changes, and no more often. */
#define LOG_EVERY_NS HF_NS_PER_SECOND

typedef struct client {
    int fd; /* -1: free */
    uint64_t generation;
} client;

typedef struct call {
    struct call *next;
    size_t client;
    uint64_t generation; /* of the client that asked */
    int paper_fd;
    hf_msg_relay_ask ask;
} call;

typedef struct server server;

typedef struct worker {
    server *server;
    hf_net *net;
    pthread_t thread;
    _Atomic uint64_t until_ns; /* deadline of the call it is in; 0: none */
} worker;

struct server {
    const hf_relay_plan *plan;
    worker workers[HF_RELAY_THREADS];
    pthread_mutex_t lock; /* guards what follows, up to logged_at_ns */
    pthread_cond_t work;
    client clients[CLIENTS_MAX];
    call *head;
    call *tail;
    size_t waiting;
    size_t waiting_bytes;
    hf_relay_outcome last;
    uint64_t logged_at_ns;
    /* the main thread's */
    uint64_t generations;
    uint64_t alive_ns;
    bool is_over;
    _Alignas(8) uint8_t frame[HF_IPC_MAX_BYTES];
};

/* ---- answers -----------------------------------------------------------------------------------
 */

/* With the lock held, which keeps the descriptor open. */
static void send_answer(server *s, size_t index, uint64_t generation, uint64_t request_id,
                        hf_relay_outcome outcome, uint32_t len)
{
    hf_msg_relay_answer answer = {.outcome = (uint32_t)outcome, .answer_len = len};
    const client *to = &s->clients[index];
    hf_frame_init(&answer, HF_MSG_RELAY_ANSWER, request_id);
    if (to->fd >= 0 && to->generation == generation) {
        hf_status lost = hf_frame_send(to->fd, &answer);
        (void)lost; /* the front's deadline answers */
    }
}

static void note(server *s, hf_relay_outcome outcome, const char *detail)
{
    uint64_t now_ns = hf_time_mono_ns();
    (void)pthread_mutex_lock(&s->lock);
    bool is_news = outcome != s->last && now_ns - s->logged_at_ns >= LOG_EVERY_NS;
    if (is_news) {
        s->last = outcome;
        s->logged_at_ns = now_ns;
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (is_news && outcome == HF_RELAY_OK) {
        hf_log(HF_LOG_INFO, "node", "the node answers");
    } else if (is_news) {
        hf_log(HF_LOG_UNUSUAL, "node", "a call got no answer of the node: %s",
               outcome == HF_RELAY_REDIRECTED ? "it redirects, which is not followed" : detail);
    }
}

/* ---- threads -----------------------------------------------------------------------------------
 */

static call *take_call(server *s)
{
    (void)pthread_mutex_lock(&s->lock);
    while (s->head == NULL) {
        (void)pthread_cond_wait(&s->work, &s->lock);
    }
    call *c = s->head;
    s->head = c->next;
    s->waiting--;
    s->waiting_bytes -= c->ask.call_len;
    (void)pthread_mutex_unlock(&s->lock);
    return c;
}

static void *worker_main(void *context)
{
    worker *self = context;
    server *s = self->server;
    for (;;) {
        call *c = take_call(s);
        char detail[HF_NET_DETAIL_LEN] = "no thread was free in time";
        hf_relay_outcome outcome = HF_RELAY_LATE;
        uint32_t len = 0;
        if (hf_time_mono_ns() < c->ask.deadline_ns) {
            atomic_store(&self->until_ns, c->ask.deadline_ns);
            outcome = hf_relay_call(self->net, s->plan->url, &c->ask, c->paper_fd, &len, detail);
            atomic_store(&self->until_ns, 0);
        }
        (void)close(c->paper_fd);
        note(s, outcome, detail);
        (void)pthread_mutex_lock(&s->lock);
        send_answer(s, c->client, c->generation, c->ask.header.request_id, outcome, len);
        (void)pthread_mutex_unlock(&s->lock);
        free(c);
    }
    return NULL;
}

static bool is_stuck(const server *s, uint64_t now_ns)
{
    for (size_t i = 0; i < HF_RELAY_THREADS; i++) {
        uint64_t until_ns = atomic_load(&s->workers[i].until_ns);
        if (until_ns != 0 && now_ns > until_ns + STUCK_NS) {
            return true;
        }
    }
    return false;
}

/* ---- calls -------------------------------------------------------------------------------------
 */

/* With the lock held; true when the call will be answered by a thread. */
static bool enqueue(server *s, size_t index, const hf_msg_relay_ask *ask, int paper_fd)
{
    bool has_room = s->waiting < QUEUE_MAX && s->waiting_bytes + ask->call_len <= QUEUE_BYTES_MAX;
    call *c = has_room ? malloc(sizeof *c) : NULL;
    if (c == NULL) {
        return false;
    }
    *c = (call){.client = index,
                .generation = s->clients[index].generation,
                .paper_fd = paper_fd,
                .ask = *ask};
    *(s->head != NULL ? &s->tail->next : &s->head) = c;
    s->tail = c;
    s->waiting++;
    s->waiting_bytes += ask->call_len;
    (void)pthread_cond_signal(&s->work);
    return true;
}

static bool is_sound(const server *s, const hf_msg_relay_ask *ask)
{
    return ask->call_len > 0 && ask->call_len <= s->plan->max_call_bytes && ask->answer_max > 0 &&
           ask->answer_max <= HF_RELAY_ANSWER_MAX;
}

static void take_ask(server *s, size_t index, size_t len, int take_fd)
{
    const hf_msg_relay_ask *ask = (const void *)s->frame;
    if (!hf_frame_is_acceptable(s->frame, len, HF_CHANNEL_RELAY, true) || take_fd < 0 ||
        !is_sound(s, ask)) {
        hf_log(HF_LOG_BROKEN, "frame_refused", "%zu bytes that are no call", len);
        if (take_fd >= 0) {
            (void)close(take_fd);
        }
        return;
    }
    (void)pthread_mutex_lock(&s->lock);
    if (!enqueue(s, index, ask, take_fd)) {
        (void)close(take_fd);
        send_answer(s, index, s->clients[index].generation, ask->header.request_id, HF_RELAY_BUSY,
                    0);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static void drop_client(server *s, size_t index)
{
    (void)pthread_mutex_lock(&s->lock);
    (void)close(s->clients[index].fd);
    s->clients[index].fd = -1;
    (void)pthread_mutex_unlock(&s->lock);
}

static void hear_front(server *s, size_t index)
{
    for (int i = 0; i < CALLS_A_TURN; i++) {
        size_t len = 0;
        int fd = -1;
        hf_status st = hf_frame_recv(s->clients[index].fd, s->frame, &len, &fd);
        if (st.code == HF_UNAVAILABLE) {
            return;
        }
        if (hf_failed(st)) {
            drop_client(s, index);
            return;
        }
        take_ask(s, index, len, fd);
    }
}

/* ---- channels ----------------------------------------------------------------------------------
 */

static void say_hello(const server *s, int fd)
{
    hf_msg_relay_hello hello = {.protection_count = s->plan->report->count};
    memcpy(hello.protections, s->plan->report->items, sizeof hello.protections);
    hf_frame_init(&hello, HF_MSG_RELAY_HELLO, 0);
    hf_status lost = hf_frame_send(fd, &hello);
    (void)lost; /* a front that is gone already */
}

static void take_channel(server *s, int take_fd)
{
    size_t i = 0;
    while (i < CLIENTS_MAX && s->clients[i].fd >= 0) {
        i++;
    }
    if (i == CLIENTS_MAX || fcntl(take_fd, F_SETFL, O_NONBLOCK) != 0) {
        hf_log(HF_LOG_UNUSUAL, "channel_refused", "too many fronts");
        (void)close(take_fd);
        return;
    }
    say_hello(s, take_fd);
    (void)pthread_mutex_lock(&s->lock);
    s->clients[i] = (client){.fd = take_fd, .generation = ++s->generations};
    (void)pthread_mutex_unlock(&s->lock);
}

/* What is no channel says stop, as does the supervisor's end. */
static void hear_supervisor(server *s)
{
    size_t len = 0;
    int fd = -1;
    hf_status st = hf_frame_recv(s->plan->control_fd, s->frame, &len, &fd);
    if (st.code == HF_UNAVAILABLE) {
        return;
    }
    const hf_msg_new_channel *frame = (const void *)s->frame;
    bool is_channel = !hf_failed(st) && fd >= 0 &&
                      hf_frame_is_acceptable(s->frame, len, HF_CHANNEL_CONTROL, false) &&
                      frame->header.type == HF_MSG_NEW_CHANNEL &&
                      frame->channel == HF_CHANNEL_RELAY;
    if (is_channel) {
        take_channel(s, fd);
    } else {
        s->is_over = true;
    }
}

/* ---- turns -------------------------------------------------------------------------------------
 */

static void turn(server *s)
{
    struct pollfd fds[1 + CLIENTS_MAX] = {{.fd = s->plan->control_fd, .events = POLLIN}};
    for (size_t i = 0; i < CLIENTS_MAX; i++) { /* poll passes over what is -1 */
        fds[1 + i] = (struct pollfd){.fd = s->clients[i].fd, .events = POLLIN};
    }
    (void)poll(fds, HF_ARRAY_LEN(fds), TICK_MS);
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        if (fds[1 + i].fd >= 0 && fds[1 + i].revents != 0) {
            hear_front(s, i);
        }
    }
    if (fds[0].revents != 0) {
        hear_supervisor(s);
    }
    if (!is_stuck(s, hf_time_mono_ns())) { /* else the supervisor puts another in our place */
        hf_say_alive(s->plan->control_fd, &s->alive_ns);
    }
}

void hf_relay_serve(const hf_relay_plan *plan)
{
    static server s; /* one a process; its threads end with it */
    s.plan = plan;
    (void)pthread_mutex_init(&s.lock, NULL);
    (void)pthread_cond_init(&s.work, NULL);
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        s.clients[i].fd = -1;
    }
    for (size_t i = 0; i < HF_RELAY_THREADS; i++) {
        s.workers[i].server = &s;
        s.workers[i].net = plan->nets[i];
        if (pthread_create(&s.workers[i].thread, NULL, worker_main, &s.workers[i]) != 0) {
            hf_log(HF_LOG_BROKEN, "start_failed", "no thread can be started");
            return;
        }
    }
    while (!s.is_over) {
        turn(&s);
    }
}
