/*
 * The channel of duties: the keeper's questions go to the engine, whose thread brings the answers,
 * which leave from here when the channel has room. What the keeper asks is checked like anyone's.
 */
#include "store/duty_internal.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* The keeper has fewer duties under way; each has one question open. */
#define QUESTIONS_MAX 4096
#define STATE_EVERY_NS HF_NS_PER_SECOND
#define TICK_MS 250
#define REFUSED_FOR_NS (3 * HF_NS_PER_SECOND)

typedef struct question {
    struct question *next; /* in the list of answers */
    struct server *server;
    hf_msg_duty_answer answer;
} question;

typedef struct server {
    int fd;
    int control_fd;
    int wake_fd;
    hf_duty_engine *engine;
    const hf_harden_report *report;
    hf_inbox *inbox;
    _Atomic size_t open;
    pthread_mutex_t lock; /* guards the answers that wait */
    question *answered;
    question *answered_tail;
    question *unsent; /* taken from there: this thread's alone */
    uint64_t state_at_ns;
    uint64_t alive_ns;
    uint64_t refused_since_ns; /* 0: the last connection was not refused */
    bool was_healthy;
    bool is_over;
} server;

/* ---- answers -----------------------------------------------------------------------------------
 */

/* On the engine's thread. */
static void take_answer(void *context, const hf_duty_answer *answer)
{
    question *q = context;
    server *s = q->server;
    uint64_t one = 1;
    q->answer.result = (uint32_t)answer->result;
    if (answer->result == HF_DUTY_OK || answer->result == HF_DUTY_STORED) {
        memcpy(q->answer.signature, answer->signature, sizeof q->answer.signature);
    }
    memcpy(q->answer.lock, answer->lock.token, sizeof q->answer.lock);
    memcpy(q->answer.node_id, answer->node_id, sizeof q->answer.node_id);
    hf_str_cut(q->answer.detail, sizeof q->answer.detail, answer->message);
    (void)pthread_mutex_lock(&s->lock);
    *(s->answered != NULL ? &s->answered_tail->next : &s->answered) = q;
    s->answered_tail = q;
    q->next = NULL;
    (void)pthread_mutex_unlock(&s->lock);
    (void)!write(s->wake_fd, &one, sizeof one);
}

static void collect_answers(server *s)
{
    question **end = &s->unsent;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    (void)pthread_mutex_lock(&s->lock);
    *end = s->answered;
    s->answered = NULL;
    (void)pthread_mutex_unlock(&s->lock);
}

static void send_answers(server *s)
{
    hf_status st = hf_ok();
    collect_answers(s);
    while (s->unsent != NULL && !hf_failed(st)) {
        const void *frames[HF_OUTBOX_FRAMES];
        size_t n = 0;
        size_t sent = 0;
        for (question *q = s->unsent; q != NULL && n < HF_OUTBOX_FRAMES; q = q->next) {
            frames[n++] = &q->answer;
        }
        st = hf_frames_send(s->fd, frames, n, &sent);
        while (sent-- > 0) {
            question *done = s->unsent;
            s->unsent = done->next;
            free(done);
            (void)atomic_fetch_sub(&s->open, 1);
        }
    }
    s->is_over = s->is_over || (hf_failed(st) && st.code != HF_UNAVAILABLE);
}

/* An answer that needs no engine. */
static void refuse(question *q, hf_duty_result result, const char *why)
{
    hf_duty_answer answer = {.result = result};
    hf_str_cut(answer.message, sizeof answer.message, why);
    take_answer(q, &answer);
}

/* ---- questions ---------------------------------------------------------------------------------
 */

static void pass_on(server *s, question *q, const hf_msg_duty_ask *ask)
{
    hf_duty duty = ask->duty;
    hf_duty_lock lock;
    hf_error err = {HF_OK, ""};
    memcpy(lock.token, ask->lock, sizeof lock.token);
    lock.token[sizeof lock.token - 1] = '\0';
    if (hf_failed(hf_aztec_duty_normalize(&duty, &err)) || !hf_duty_type_is_protected(duty.type)) {
        refuse(q, HF_DUTY_INVALID, err.msg);
    } else if (ask->header.type == HF_MSG_DUTY_ACQUIRE) {
        hf_duty_acquire(s->engine, &duty, ask->hash, ask->deadline_ns, take_answer, q);
    } else if (ask->header.type == HF_MSG_DUTY_COMPLETE) {
        hf_duty_complete(s->engine, &duty, ask->hash, &lock, ask->signature, ask->deadline_ns,
                         take_answer, q);
    } else {
        hf_duty_release(s->engine, &duty, &lock, ask->deadline_ns, take_answer, q);
    }
}

static void take_question(server *s, const hf_msg_duty_ask *ask)
{
    question *q = calloc(1, sizeof *q);
    if (q == NULL) {
        return; /* the keeper's deadline answers */
    }
    q->server = s;
    hf_frame_init(&q->answer, HF_MSG_DUTY_ANSWER, ask->header.request_id);
    if (atomic_fetch_add(&s->open, 1) >= QUESTIONS_MAX) {
        refuse(q, HF_DUTY_OVERLOADED, "too many duties under way");
        return;
    }
    pass_on(s, q, ask);
}

static void receive(server *s)
{
    size_t n = 0;
    hf_status st = hf_inbox_receive(s->inbox, s->fd, HF_INBOX_FRAMES, &n);
    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        const void *frame = hf_inbox_peek(s->inbox, i, &len);
        if (!hf_frame_is_acceptable(frame, len, HF_CHANNEL_DUTY, false)) {
            hf_log(HF_LOG_BROKEN, "frame_refused", "%zu bytes that are no frame for us", len);
            continue;
        }
        take_question(s, frame);
    }
    s->is_over = s->is_over || (hf_failed(st) && st.code != HF_UNAVAILABLE);
}

/* ---- state -------------------------------------------------------------------------------------
 */

/* As in server.c: the supervisor reads the file with the URL again, and starts another. */
static void mind_refusals(server *s, hf_duty_result ready, uint64_t now_ns)
{
    if (ready != HF_DUTY_ACCESS) {
        s->refused_since_ns = 0;
    } else if (s->refused_since_ns == 0) {
        s->refused_since_ns = now_ns;
    } else if (now_ns - s->refused_since_ns > REFUSED_FOR_NS && !s->is_over) {
        hf_log(HF_LOG_BROKEN, "duty_refused",
               "the database refuses this process; another tries with what url_file says now");
        s->is_over = true;
    }
}

static void send_state(server *s, uint64_t now_ns)
{
    hf_msg_duty_state state = {.healthy = 0};
    hf_duty_error error = {HF_DUTY_OK, ""};
    hf_duty_result ready = hf_duty_engine_ready(s->engine, 0, &error);
    state.healthy = ready == HF_DUTY_OK;
    mind_refusals(s, ready, now_ns);
    if (now_ns < s->state_at_ns && state.healthy == (uint32_t)s->was_healthy) {
        return;
    }
    s->was_healthy = state.healthy != 0;
    s->state_at_ns = now_ns + STATE_EVERY_NS;
    hf_duty_engine_counters(s->engine, &state.counters);
    hf_str_cut(state.detail, sizeof state.detail,
               state.healthy != 0 ? "the database of duties answers" : error.message);
    state.protection_count = s->report->count;
    memcpy(state.protections, s->report->items, s->report->count * sizeof state.protections[0]);
    hf_frame_init(&state, HF_MSG_DUTY_STATE, 0);
    hf_status lost = hf_frame_send(s->fd, &state);
    (void)lost; /* the next one follows in a second */
}

/* ---- turns -------------------------------------------------------------------------------------
 */

/* The supervisor has one thing to say, or is gone: both mean the end. */
static bool is_told_to_stop(const server *s)
{
    uint8_t frame[sizeof(hf_msg_plain) + 1];
    return recv(s->control_fd, frame, sizeof frame, MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

static void turn(server *s)
{
    struct pollfd fds[] = {
        {.fd = s->wake_fd, .events = POLLIN},
        {.fd = s->fd, .events = (short)(POLLIN | (s->unsent != NULL ? POLLOUT : 0))},
        {.fd = s->control_fd, .events = POLLIN},
    };
    (void)poll(fds, HF_ARRAY_LEN(fds), TICK_MS);
    if (fds[0].revents != 0) {
        uint64_t count;
        (void)!read(s->wake_fd, &count, sizeof count);
    }
    if ((fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
        receive(s);
    }
    if (fds[2].revents != 0 && is_told_to_stop(s)) {
        s->is_over = true;
    }
    send_answers(s);
    send_state(s, hf_time_mono_ns());
    hf_say_alive(s->control_fd, &s->alive_ns);
}

static void drop_answers(server *s)
{
    collect_answers(s);
    while (s->unsent != NULL) {
        question *q = s->unsent;
        s->unsent = q->next;
        free(q);
    }
}

void hf_duty_serve(int fd, int control_fd, hf_duty_engine *engine, const hf_harden_report *report)
{
    server s = {.fd = fd, .control_fd = control_fd, .engine = engine, .report = report};
    s.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s.inbox = hf_inbox_new();
    (void)pthread_mutex_init(&s.lock, NULL);
    s.is_over = s.wake_fd < 0 || s.inbox == NULL;
    while (!s.is_over) {
        turn(&s);
    }
    hf_duty_engine_close(engine); /* answers what is open: nothing comes after it */
    drop_answers(&s);
    hf_inbox_free(s.inbox);
    if (s.wake_fd >= 0) {
        (void)close(s.wake_fd);
    }
    (void)pthread_mutex_destroy(&s.lock);
}
