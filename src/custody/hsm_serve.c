/*
 * holdfast-hsm at work. The main thread carries frames and says how things are; it never enters the
 * back end, so that it can say so while foreign code hangs. One thread opens the back end and lists
 * its keys, again and again until that works; several sign. What the keeper asks is checked like
 * anyone's.
 */
#include "custody/hsm_internal.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define THREADS_DEFAULT 8
#define THREADS_MAX 64
#define QUESTIONS_MAX 1024 /* that wait for a thread; the keeper has fewer open */
#define TIMEOUT_MS_DEFAULT 60000
#define STATE_EVERY_NS HF_NS_PER_SECOND
#define HEALTH_EVERY_NS (2 * HF_NS_PER_SECOND)
#define TICK_MS 250
/* Foreign code that is still busy so long after its deadline will never come back. */
#define STUCK_NS (10 * HF_NS_PER_SECOND)
#define RETRY_FIRST_NS (HF_NS_PER_SECOND / 2)
#define RETRY_LAST_NS (15 * HF_NS_PER_SECOND)
#define SEND_PATIENCE_NS (30 * HF_NS_PER_SECOND)

typedef struct question {
    struct question *next;
    union {
        hf_frame_header header;
        hf_msg_custody_sign sign;
        hf_msg_custody_wrap wrap;
    } frame; /* allocated as long as its type is */
} question;

typedef struct server server;

typedef struct worker {
    server *server;
    pthread_t thread;
    bool is_running;
    _Atomic uint64_t until_ns; /* deadline of the call it is in; 0: none */
} worker;

struct server {
    const hf_hsm_plan *plan;
    hf_inbox *inbox;
    pthread_mutex_t lock; /* guards what follows, up to stop */
    pthread_cond_t work;  /* for the threads that sign */
    pthread_cond_t turn;  /* for the one that lists */
    hf_custody *custody;  /* NULL until it is open; set once */
    question *head;
    question *tail;
    size_t waiting;
    bool list_wanted;
    bool healthy;
    char detail[HF_DETAIL_LEN];
    bool stop;
    worker lister;
    worker workers[THREADS_MAX];
    /* the main thread's */
    bool is_over;
    bool is_stuck;
    bool was_healthy;
    uint64_t state_at_ns;
    uint64_t alive_ns;
};

/* Waits for room in the channel; false when there is none by then, or nobody. */
static bool send_patiently(int fd, const void *frame, uint64_t until_ns)
{
    for (;;) {
        hf_status st = hf_frame_send(fd, frame);
        if (!hf_failed(st)) {
            return true;
        }
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        if (st.code != HF_UNAVAILABLE || hf_time_mono_ns() > until_ns ||
            (poll(&room, 1, TICK_MS) < 0 && errno != EINTR)) {
            return false;
        }
    }
}

static void note_health(server *s, bool healthy, const char *detail)
{
    (void)pthread_mutex_lock(&s->lock);
    bool changed = s->healthy != healthy || s->detail[0] == '\0';
    s->healthy = healthy;
    hf_str_cut(s->detail, sizeof s->detail, detail);
    (void)pthread_mutex_unlock(&s->lock);
    if (changed) {
        hf_log(healthy ? HF_LOG_INFO : HF_LOG_UNUSUAL, "custody", "%s", detail);
    }
}

/* ---- the thread that lists ------------------------------------------------------------------- */

typedef struct listing {
    server *server;
    uint32_t count;
    uint32_t failed;
} listing;

static hf_status list_key(void *context, const hf_custody_key *key)
{
    listing *l = context;
    hf_msg_custody_key frame = {.type = (uint32_t)key->type,
                                .public_len = key->public_len,
                                .handle = key->handle,
                                .is_inside = key->is_inside};
    hf_frame_init(&frame, HF_MSG_CUSTODY_KEY, 0);
    memcpy(frame.source_id, key->source_id, sizeof frame.source_id);
    memcpy(frame.public_key, key->public_key, sizeof frame.public_key);
    hf_str_cut(frame.name, sizeof frame.name, key->name);
    if (!key->is_inside) {
        memcpy(frame.secret, key->secret, sizeof frame.secret);
    }
    l->count++;
    bool sent =
        send_patiently(l->server->plan->keys_fd, &frame, hf_time_mono_ns() + SEND_PATIENCE_NS);
    hf_wipe(&frame, sizeof frame);
    return sent ? hf_ok() : (hf_status){HF_IO};
}

static void list_failure(void *context, const char *name, const char *why)
{
    listing *l = context;
    hf_msg_key_failed frame = {.source_id = {0}};
    hf_frame_init(&frame, HF_MSG_CUSTODY_FAILED, 0);
    hf_str_cut(frame.name, sizeof frame.name, name);
    hf_str_cut(frame.detail, sizeof frame.detail, why);
    l->failed++;
    (void)send_patiently(l->server->plan->keys_fd, &frame, hf_time_mono_ns() + SEND_PATIENCE_NS);
}

static uint64_t call_deadline(const server *s)
{
    uint64_t ms = s->plan->timeout_ms == 0 ? TIMEOUT_MS_DEFAULT : s->plan->timeout_ms;
    return hf_time_mono_ns() + ms * HF_NS_PER_MS;
}

static hf_status open_back_end(server *s, hf_error *err)
{
    hf_custody *custody = NULL;
    if (s->custody != NULL) {
        return hf_ok();
    }
    hf_status st = s->plan->open(s->plan->settings, &custody, err);
    if (!hf_failed(st)) {
        (void)pthread_mutex_lock(&s->lock);
        s->custody = custody;
        (void)pthread_mutex_unlock(&s->lock);
    }
    return st;
}

static hf_status list_once(server *s, hf_error *err)
{
    listing l = {.server = s};
    hf_msg_plain begin;
    hf_msg_custody_done done = {.code = HF_OK};
    uint64_t deadline_ns = call_deadline(s);
    atomic_store(&s->lister.until_ns, deadline_ns);
    hf_status st = open_back_end(s, err);
    if (s->plan->lists) {
        hf_frame_init(&begin, HF_MSG_CUSTODY_BEGIN, 0);
        (void)send_patiently(s->plan->keys_fd, &begin, hf_time_mono_ns() + SEND_PATIENCE_NS);
        const hf_custody_visitor visitor = {&l, list_key, list_failure};
        if (!hf_failed(st)) {
            st = s->custody->ops->list(s->custody, &visitor, deadline_ns, err);
        }
        hf_frame_init(&done, HF_MSG_CUSTODY_DONE, 0);
        done.code = (uint32_t)st.code;
        done.count = l.count;
        done.failed = l.failed;
        hf_str_cut(done.detail, sizeof done.detail, hf_failed(st) ? err->msg : "");
        (void)send_patiently(s->plan->keys_fd, &done, hf_time_mono_ns() + SEND_PATIENCE_NS);
    }
    atomic_store(&s->lister.until_ns, 0);
    return st;
}

static void look_at_health(server *s)
{
    char detail[HF_DETAIL_LEN] = "";
    atomic_store(&s->lister.until_ns, call_deadline(s));
    bool healthy = s->custody->ops->is_healthy(s->custody, detail);
    atomic_store(&s->lister.until_ns, 0);
    note_health(s, healthy, detail);
}

/* Sleeps until then, or until a listing is wanted; false: to stop. */
static bool wait_turn(server *s, uint64_t until_ns, bool *ret_wanted)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / HF_NS_PER_SECOND),
                             .tv_nsec = (long)(until_ns % HF_NS_PER_SECOND)};
    (void)pthread_mutex_lock(&s->lock);
    while (!s->stop && !s->list_wanted && hf_time_mono_ns() < until_ns) {
        (void)pthread_cond_timedwait(&s->turn, &s->lock, &until);
    }
    *ret_wanted = s->list_wanted;
    s->list_wanted = false;
    bool stop = s->stop;
    (void)pthread_mutex_unlock(&s->lock);
    return !stop;
}

static void *lister_main(void *context)
{
    server *s = ((worker *)context)->server;
    uint64_t pause_ns = RETRY_FIRST_NS;
    bool wanted = true;
    bool listed = false;
    do {
        if (wanted || !listed) {
            hf_error err = {HF_OK, ""};
            hf_status st = list_once(s, &err);
            listed = !hf_failed(st);
            if (listed) {
                pause_ns = RETRY_FIRST_NS;
            } else {
                note_health(s, false, err.msg);
            }
        }
        if (listed) {
            look_at_health(s);
        } else {
            pause_ns = 2 * pause_ns < RETRY_LAST_NS ? 2 * pause_ns : RETRY_LAST_NS;
        }
    } while (wait_turn(s, hf_time_mono_ns() + (listed ? HEALTH_EVERY_NS : pause_ns), &wanted));
    return NULL;
}

/* ---- the threads that sign ------------------------------------------------------------------- */

static void answer_sign(hf_custody *custody, const server *s, const hf_msg_custody_sign *ask)
{
    hf_error err = {HF_OK, ""};
    hf_msg_custody_signed answer = {.code = HF_OK};
    hf_frame_init(&answer, HF_MSG_CUSTODY_SIGNED, ask->header.request_id);
    hf_status st = custody->ops->sign(custody, ask->handle, hf_bytes_from(ask->message, ask->len),
                                      ask->deadline_ns, answer.signature, &err);
    answer.code = (uint32_t)st.code;
    if (hf_failed(st)) {
        memset(answer.signature, 0, sizeof answer.signature);
        hf_str_cut(answer.detail, sizeof answer.detail, err.msg);
    }
    (void)send_patiently(s->plan->sign_fd, &answer, ask->deadline_ns);
}

static void answer_wrap(hf_custody *custody, const server *s, const hf_msg_custody_wrap *ask)
{
    hf_error err = {HF_OK, ""};
    hf_msg_custody_wrapped answer = {.code = HF_OK};
    size_t len = sizeof answer.data;
    bool is_wrap = ask->header.type == HF_MSG_CUSTODY_WRAP;
    hf_frame_init(&answer, HF_MSG_CUSTODY_WRAPPED, ask->header.request_id);
    hf_status st = (is_wrap ? custody->ops->wrap : custody->ops->unwrap)(
        custody, ask->reference, hf_bytes_from(ask->context, ask->context_len),
        hf_bytes_from(ask->data, ask->len), ask->deadline_ns, answer.data, &len, &err);
    answer.code = (uint32_t)st.code;
    answer.len = hf_failed(st) ? 0 : (uint32_t)len;
    if (hf_failed(st)) {
        hf_str_cut(answer.detail, sizeof answer.detail, err.msg);
        hf_wipe(answer.data, sizeof answer.data);
    }
    (void)send_patiently(s->plan->sign_fd, &answer, ask->deadline_ns);
    hf_wipe(&answer, sizeof answer);
}

/* The back end was never open, or there is no room: an answer without it. */
static void answer_without(const server *s, const hf_frame_header *ask, const char *why)
{
    uint64_t until_ns = hf_time_mono_ns();
    if (ask->type == HF_MSG_CUSTODY_SIGN) {
        hf_msg_custody_signed answer = {.code = HF_UNAVAILABLE};
        hf_frame_init(&answer, HF_MSG_CUSTODY_SIGNED, ask->request_id);
        hf_str_cut(answer.detail, sizeof answer.detail, why);
        (void)send_patiently(s->plan->sign_fd, &answer, until_ns);
    } else {
        hf_msg_custody_wrapped answer = {.code = HF_UNAVAILABLE};
        hf_frame_init(&answer, HF_MSG_CUSTODY_WRAPPED, ask->request_id);
        hf_str_cut(answer.detail, sizeof answer.detail, why);
        (void)send_patiently(s->plan->sign_fd, &answer, until_ns);
    }
}

/* Both kinds of question have it at the same place. */
static uint64_t deadline_of(const question *q)
{
    return q->frame.header.type == HF_MSG_CUSTODY_SIGN ? q->frame.sign.deadline_ns
                                                       : q->frame.wrap.deadline_ns;
}

static void work_on(server *s, worker *self, hf_custody *custody, question *q)
{
    uint64_t deadline_ns = deadline_of(q);
    if (hf_time_mono_ns() < deadline_ns) {
        atomic_store(&self->until_ns, deadline_ns);
        if (q->frame.header.type == HF_MSG_CUSTODY_SIGN) {
            answer_sign(custody, s, &q->frame.sign);
        } else {
            answer_wrap(custody, s, &q->frame.wrap);
        }
        atomic_store(&self->until_ns, 0);
    }
}

static void free_question(question *q)
{
    size_t len = offsetof(question, frame) + hf_frame_size(q->frame.header.type);
    hf_wipe(q, len);
    free(q);
}

static void *worker_main(void *context)
{
    worker *self = context;
    server *s = self->server;
    for (;;) {
        (void)pthread_mutex_lock(&s->lock);
        while (!s->stop && s->head == NULL) {
            (void)pthread_cond_wait(&s->work, &s->lock);
        }
        question *q = s->head;
        if (s->stop) {
            (void)pthread_mutex_unlock(&s->lock);
            return NULL;
        }
        s->head = q->next;
        s->waiting--;
        hf_custody *custody = s->custody;
        (void)pthread_mutex_unlock(&s->lock);
        work_on(s, self, custody, q);
        free_question(q);
    }
}

/* ---- questions --------------------------------------------------------------------------------
 */

static bool is_sane(const hf_frame_header *header, const void *frame)
{
    if (header->type == HF_MSG_CUSTODY_SIGN) {
        return ((const hf_msg_custody_sign *)frame)->len <= HF_CUSTODY_MESSAGE_MAX;
    }
    const hf_msg_custody_wrap *wrap = frame;
    return wrap->len <= HF_CUSTODY_BLOB_MAX && wrap->context_len <= HF_CUSTODY_CONTEXT_MAX &&
           memchr(wrap->reference, '\0', sizeof wrap->reference) != NULL;
}

static void take_question(server *s, const void *frame, size_t len)
{
    const hf_frame_header *header = frame;
    char why[HF_DETAIL_LEN];
    if (!is_sane(header, frame)) {
        hf_log(HF_LOG_BROKEN, "frame_refused", "%s that is malformed", hf_frame_name(header->type));
        return;
    }
    question *q = malloc(offsetof(question, frame) + len);
    if (q == NULL) {
        return; /* the keeper's deadline answers */
    }
    q->next = NULL;
    memcpy(&q->frame, frame, len);
    (void)pthread_mutex_lock(&s->lock);
    bool is_open = s->custody != NULL;
    bool fits = is_open && s->waiting < QUESTIONS_MAX;
    hf_str_cut(why, sizeof why, is_open ? "too many questions wait" : s->detail);
    if (fits) {
        *(s->head != NULL ? &s->tail->next : &s->head) = q;
        s->tail = q;
        s->waiting++;
        (void)pthread_cond_signal(&s->work);
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (!fits) {
        answer_without(s, header, why[0] == '\0' ? "the back end is not open yet" : why);
        free_question(q);
    }
}

static void want_listing(server *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->list_wanted = true;
    (void)pthread_cond_signal(&s->turn);
    (void)pthread_mutex_unlock(&s->lock);
}

static void receive(server *s, int fd, hf_channel channel)
{
    size_t n = 0;
    hf_status st = hf_inbox_receive(s->inbox, fd, HF_INBOX_FRAMES, &n);
    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        const void *frame = hf_inbox_peek(s->inbox, i, &len);
        if (!hf_frame_is_acceptable(frame, len, channel, false)) {
            hf_log(HF_LOG_BROKEN, "frame_refused", "%zu bytes that are no frame for us", len);
        } else if (channel == HF_CHANNEL_CUSTODY_KEYS) {
            want_listing(s);
        } else {
            take_question(s, frame, len);
        }
    }
    hf_inbox_wipe(s->inbox);
    s->is_over = s->is_over || (hf_failed(st) && st.code != HF_UNAVAILABLE);
}

/* ---- state and turns --------------------------------------------------------------------------
 */

static bool is_stuck(const worker *w, uint64_t now_ns)
{
    uint64_t until_ns = atomic_load(&w->until_ns);
    return until_ns != 0 && now_ns > until_ns + STUCK_NS;
}

static void look_for_stuck(server *s, uint64_t now_ns)
{
    bool stuck = is_stuck(&s->lister, now_ns);
    for (size_t i = 0; i < THREADS_MAX && !stuck; i++) {
        stuck = is_stuck(&s->workers[i], now_ns);
    }
    if (stuck && !s->is_over) {
        hf_log(HF_LOG_BROKEN, "custody_stuck",
               "the back end has not come back long after its deadline: this process ends, and "
               "another takes its place");
        s->is_stuck = true;
        s->is_over = true;
    }
}

static void send_state(server *s, uint64_t now_ns)
{
    hf_msg_custody_state state = {.protection_count = s->plan->report->count};
    (void)pthread_mutex_lock(&s->lock);
    state.healthy = s->healthy;
    hf_str_cut(state.detail, sizeof state.detail,
               s->detail[0] != '\0' ? s->detail : "the back end is being opened");
    (void)pthread_mutex_unlock(&s->lock);
    if (now_ns < s->state_at_ns && s->was_healthy == (state.healthy != 0)) {
        return;
    }
    s->was_healthy = state.healthy != 0;
    s->state_at_ns = now_ns + STATE_EVERY_NS;
    memcpy(state.protections, s->plan->report->items,
           s->plan->report->count * sizeof state.protections[0]);
    hf_frame_init(&state, HF_MSG_CUSTODY_STATE, 0);
    hf_status lost = hf_frame_send(s->plan->sign_fd, &state);
    (void)lost; /* the next one follows in a second */
}

/* The supervisor has one thing to say, or is gone: both mean the end. */
static bool is_told_to_stop(const server *s)
{
    uint8_t frame[sizeof(hf_msg_plain) + 1];
    return recv(s->plan->control_fd, frame, sizeof frame, MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

static void turn(server *s)
{
    struct pollfd fds[] = {
        {.fd = s->plan->keys_fd, .events = POLLIN},
        {.fd = s->plan->sign_fd, .events = POLLIN},
        {.fd = s->plan->control_fd, .events = POLLIN},
    };
    (void)poll(fds, HF_ARRAY_LEN(fds), TICK_MS);
    if (fds[0].revents != 0) {
        receive(s, s->plan->keys_fd, HF_CHANNEL_CUSTODY_KEYS);
    }
    if (fds[1].revents != 0) {
        receive(s, s->plan->sign_fd, HF_CHANNEL_CUSTODY);
    }
    if (fds[2].revents != 0 && is_told_to_stop(s)) {
        s->is_over = true;
    }
    uint64_t now_ns = hf_time_mono_ns();
    look_for_stuck(s, now_ns);
    send_state(s, now_ns);
    hf_say_alive(s->plan->control_fd, &s->alive_ns);
}

/* ---- beginning and end ------------------------------------------------------------------------
 */

static bool start_worker(server *s, worker *w, void *(*body)(void *))
{
    w->server = s;
    w->is_running = pthread_create(&w->thread, NULL, body, w) == 0;
    return w->is_running;
}

static bool start(server *s)
{
    uint32_t threads = s->plan->threads == 0 ? THREADS_DEFAULT : s->plan->threads;
    pthread_condattr_t monotonic;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->turn, &monotonic);
    (void)pthread_cond_init(&s->work, NULL);
    (void)pthread_condattr_destroy(&monotonic);
    s->inbox = hf_inbox_new();
    bool ok = s->inbox != NULL && start_worker(s, &s->lister, lister_main);
    for (uint32_t i = 0; i < threads && i < THREADS_MAX && ok; i++) {
        ok = start_worker(s, &s->workers[i], worker_main);
    }
    return ok;
}

/* Waits for a thread that is in the back end until its call must be over. */
static bool join(worker *w)
{
    while (w->is_running && pthread_tryjoin_np(w->thread, NULL) != 0) {
        if (is_stuck(w, hf_time_mono_ns())) {
            return false;
        }
        const struct timespec while_it_ends = {.tv_nsec = HF_NS_PER_MS};
        (void)nanosleep(&while_it_ends, NULL);
    }
    return true;
}

static bool stop(server *s)
{
    bool all_ended = true;
    (void)pthread_mutex_lock(&s->lock);
    s->stop = true;
    (void)pthread_cond_broadcast(&s->work);
    (void)pthread_cond_broadcast(&s->turn);
    (void)pthread_mutex_unlock(&s->lock);
    all_ended = join(&s->lister);
    for (size_t i = 0; i < THREADS_MAX && all_ended; i++) {
        all_ended = join(&s->workers[i]);
    }
    return all_ended;
}

static void clean_up(server *s)
{
    while (s->head != NULL) {
        question *q = s->head;
        s->head = q->next;
        free_question(q);
    }
    if (s->custody != NULL) {
        s->custody->ops->close(s->custody);
    }
    hf_inbox_free(s->inbox);
    (void)pthread_cond_destroy(&s->turn);
    (void)pthread_cond_destroy(&s->work);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

bool hf_hsm_serve(const hf_hsm_plan *plan)
{
    server *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return true;
    }
    s->plan = plan;
    s->is_over = !start(s);
    while (!s->is_over) {
        turn(s);
    }
    if (s->is_stuck || !stop(s)) {
        return false; /* threads may still use s: the process ends */
    }
    clean_up(s);
    return true;
}
