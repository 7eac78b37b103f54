/* The engine's thread: takes requests in, gathers batches for the lanes, watches the clock. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "duty/duty_internal.h"

#define GATHER_LEAST_NS (400 * UINT64_C(1000)) /* a batch waits for company: half a round trip, */
#define GATHER_MOST_NS (5 * HF_NS_PER_MS)      /* within these bounds */
#define GRANT_FRESH_NS (10 * HF_NS_PER_MS)     /* a completion is expected so long after its lock */
#define OVERLAP_NS (5 * HF_NS_PER_MS)          /* a spare lane helps when round trips last longer */
#define CLOSE_NS (500 * HF_NS_PER_MS)          /* for what is in flight when the engine closes */
#define FORGET_NS (30 * HF_NS_PER_SECOND)      /* how long a background release is tried */

/* ---- lists and the table of duties ------------------------------------------------------------
 */

void list_push(item_list *list, item *it)
{
    it->next = NULL;
    it->prev = list->last;
    if (list->last != NULL) {
        list->last->next = it;
    } else {
        list->first = it;
    }
    list->last = it;
    list->count++;
}

void list_remove(item_list *list, item *it)
{
    if (it->prev != NULL) {
        it->prev->next = it->next;
    } else {
        list->first = it->next;
    }
    if (it->next != NULL) {
        it->next->prev = it->prev;
    } else {
        list->last = it->prev;
    }
    it->next = it->prev = NULL;
    list->count--;
}

item *list_pop(item_list *list)
{
    item *it = list->first;
    if (it != NULL) {
        list_remove(list, it);
    }
    return it;
}

static item **bucket_of(hf_duty_engine *engine, uint64_t fingerprint)
{
    return &engine->buckets[(fingerprint ^ fingerprint >> 32) & (BUCKETS - 1)];
}

static void table_remove(hf_duty_engine *engine, item *it)
{
    for (item **at = bucket_of(engine, it->fingerprint); *at != NULL; at = &(*at)->chain) {
        if (*at == it) {
            *at = it->chain;
            return;
        }
    }
}

static item_list *queue_of(hf_duty_engine *engine, const item *it)
{
    return it->kind == ITEM_ACQUIRE ? &engine->acquires : &engine->completes;
}

/* ---- items ------------------------------------------------------------------------------------
 */

void engine_wake(const waker *wk)
{
    uint64_t one = 1;
    ssize_t n = write(wk->fd, &one, sizeof(one));
    (void)n; /* a full counter wakes as well */
}

void engine_count(hf_duty_engine *engine, size_t offset, uint64_t more)
{
    uint64_t *counter = (uint64_t *)(void *)((char *)&engine->counters + offset);
    __atomic_fetch_add(counter, more, __ATOMIC_RELAXED);
}

static void timer_at(hf_duty_engine *engine, uint64_t at_ns)
{
    if (at_ns < engine->timer_ns) {
        engine->timer_ns = at_ns;
    }
}

/* Answers (when somebody waits) and frees. The item is in no list. */
void engine_finish(hf_duty_engine *engine, item *it, const hf_duty_answer *answer)
{
    if (it->kind == ITEM_ACQUIRE) {
        table_remove(engine, it);
        atomic_fetch_sub(&engine->live, 1);
    }
    if (it->kind != ITEM_ACQUIRE || answer->result != HF_DUTY_OK) {
        engine->returning++;
        engine->returning_ns = hf_time_mono_ns();
    }
    if (it->done != NULL) {
        it->done(it->context, answer);
    }
    hf_wipe(it->token, sizeof(it->token));
    free(it);
}

void engine_fail(hf_duty_engine *engine, item *it, hf_duty_result result, const char *message)
{
    hf_duty_answer answer = {.result = result};
    if (result == HF_DUTY_HELD) {
        COUNT(engine, held);
        memcpy(answer.node_id, it->seen_node, sizeof(it->seen_node));
    } else if (result == HF_DUTY_UNAVAILABLE) {
        COUNT(engine, unavailable);
    }
    hf_str_cut(answer.message, sizeof(answer.message), message);
    engine_finish(engine, it, &answer);
}

void engine_queue(hf_duty_engine *engine, item *it)
{
    it->place = PLACE_QUEUE;
    if (it->asked_ns == 0) {
        it->asked_ns = hf_time_mono_ns();
    }
    list_push(queue_of(engine, it), it);
    timer_at(engine, it->asked_ns + engine->config.database_timeout_ms * HF_NS_PER_MS);
    timer_at(engine, it->deadline_ns);
}

void engine_wait(hf_duty_engine *engine, item *it)
{
    it->place = PLACE_WAITING;
    it->asked_ns = 0;
    list_push(&engine->waiting, it);
    timer_at(engine, it->due_ns);
    timer_at(engine, it->wait_end_ns < it->deadline_ns ? it->wait_end_ns : it->deadline_ns);
}

/* Something happened to that duty: whoever waits for it asks again now. */
void engine_wake_duty(hf_duty_engine *engine, uint64_t fingerprint)
{
    item *chain;
    for (item *it = *bucket_of(engine, fingerprint); it != NULL; it = chain) {
        chain = it->chain;
        if (it->fingerprint != fingerprint) {
            continue;
        }
        if (it->place == PLACE_WAITING) {
            list_remove(&engine->waiting, it);
            engine_queue(engine, it);
        } else {
            it->woken = true;
        }
    }
}

/* An acquisition that nobody waits for any more becomes the release of what it may have taken. */
void engine_release_later(hf_duty_engine *engine, item *it)
{
    table_remove(engine, it);
    atomic_fetch_sub(&engine->live, 1);
    if (it->token[TOKEN_MODE_AT] == TOKEN_TAKEN) {
        free(it);
        return;
    }
    it->kind = ITEM_RELEASE;
    it->done = NULL;
    it->takeover = it->look = false;
    it->asked_ns = hf_time_mono_ns();
    it->deadline_ns = it->asked_ns + FORGET_NS;
    engine_queue(engine, it);
}

/* ---- time -------------------------------------------------------------------------------------
 */

static bool is_permanent(hf_duty_result result)
{
    return result == HF_DUTY_SCHEMA || result == HF_DUTY_ACCESS || result == HF_DUTY_CONFIG;
}

/* When the item, not waiting for another holder, has to be answered. */
static uint64_t answer_by(const hf_duty_engine *engine, const item *it)
{
    if (it->kind == ITEM_RELEASE && it->done == NULL) {
        return it->deadline_ns;
    }
    uint64_t database = it->asked_ns + engine->config.database_timeout_ms * HF_NS_PER_MS;
    return database < it->deadline_ns ? database : it->deadline_ns;
}

/* Answers an item whose time is over. It is in no list any more. */
static void give_up(hf_duty_engine *engine, item *it)
{
    char message[HF_DUTY_MESSAGE_LEN];
    bool known = engine->down.result != HF_DUTY_OK;
    hf_duty_result result = known ? engine->down.result : HF_DUTY_UNAVAILABLE;
    (void)snprintf(message, sizeof(message), "%s",
                   known ? engine->down.message : "the database did not answer in time");
    if (it->kind == ITEM_ACQUIRE && it->sent && it->place == PLACE_QUEUE) {
        /* The release needs the token; the answer goes out by a copy. */
        item copy = *it;
        hf_duty_answer answer = {.result = result};
        hf_str_cut(answer.message, sizeof(answer.message), message);
        engine_release_later(engine, it);
        COUNT(engine, unavailable);
        if (copy.done != NULL) {
            copy.done(copy.context, &answer);
        }
        return;
    }
    engine_fail(engine, it, result, message);
}

static void expire_queue(hf_duty_engine *engine, item_list *queue, uint64_t now)
{
    item *next;
    for (item *it = queue->first; it != NULL; it = next) {
        next = it->next;
        bool hopeless = is_permanent(engine->down.result) && it->done != NULL;
        uint64_t by = answer_by(engine, it);
        if (now >= by || hopeless) {
            list_remove(queue, it);
            give_up(engine, it);
        } else {
            timer_at(engine, by);
        }
    }
}

/* In flight: the answer goes out, the item stays until the batch ends. */
static void expire_lane(hf_duty_engine *engine, lane *ln, uint64_t now)
{
    uint64_t end = ln->sent_ns + engine->config.database_timeout_ms * HF_NS_PER_MS;
    for (size_t i = 0; i < ln->batch_len; i++) {
        item *it = ln->batch[i];
        if (it->done == NULL) {
            continue;
        }
        uint64_t by = answer_by(engine, it);
        if (now >= by) {
            hf_duty_answer answer = {.result = HF_DUTY_UNAVAILABLE,
                                     .message = "the database did not answer in time"};
            hf_duty_done_fn done = it->done;
            it->done = NULL;
            COUNT(engine, unavailable);
            done(it->context, &answer);
        } else {
            timer_at(engine, by);
        }
    }
    if (ln->batch_len > 0 && now >= end) {
        lane_down(engine, ln);
    } else if (ln->batch_len > 0) {
        timer_at(engine, end);
    }
}

static void expire_waiting(hf_duty_engine *engine, uint64_t now)
{
    item *next;
    for (item *it = engine->waiting.first; it != NULL; it = next) {
        next = it->next;
        uint64_t end = it->wait_end_ns < it->deadline_ns ? it->wait_end_ns : it->deadline_ns;
        if (now >= end) {
            list_remove(&engine->waiting, it);
            engine_fail(engine, it, HF_DUTY_HELD,
                        "another node is signing this duty and did not finish in time");
        } else if (now >= it->due_ns) {
            list_remove(&engine->waiting, it);
            engine_queue(engine, it);
        } else {
            timer_at(engine, it->due_ns < end ? it->due_ns : end);
        }
    }
}

static void expire_all(hf_duty_engine *engine, uint64_t now)
{
    if (now < engine->timer_ns) {
        return;
    }
    engine->timer_ns = UINT64_MAX;
    for (size_t i = 0; i < engine->lanes_len; i++) {
        if (engine->lanes[i].conn != NULL) {
            expire_lane(engine, &engine->lanes[i], now);
        }
    }
    expire_waiting(engine, now);
    expire_queue(engine, &engine->acquires, now);
    expire_queue(engine, &engine->completes, now);
}

/* ---- batches ----------------------------------------------------------------------------------
 */

/*
 * Is the batch worth sending now? It waits, for half a round trip at the most, while more is about
 * to come: completions of locks that are out, acquisitions of callers who have just been answered.
 */
static bool is_gathered(hf_duty_engine *engine, lane_kind kind, uint64_t now, uint64_t *ret_at)
{
    const item_list *queue = kind == LANE_ACQUIRE ? &engine->acquires : &engine->completes;
    if (now - engine->granted_ns > GRANT_FRESH_NS) {
        engine->granted = 0; /* slow signers, or such as gave up without a word */
    }
    size_t expected = kind == LANE_ACQUIRE ? engine->returning : queue->count + engine->granted;
    uint64_t gather_ns = engine->trip_ns / 2;
    gather_ns = gather_ns < GATHER_LEAST_NS ? GATHER_LEAST_NS : gather_ns;
    gather_ns = gather_ns > GATHER_MOST_NS ? GATHER_MOST_NS : gather_ns;
    if (kind == LANE_ACQUIRE && now - engine->returning_ns > gather_ns) {
        expected = 0;
    }
    *ret_at = queue->first->asked_ns + gather_ns;
    return queue->count >= expected || queue->count >= BATCH_MAX || now >= *ret_at;
}

static bool is_idle(const lane *ln)
{
    return ln->conn != NULL && ln->batch_len == 0;
}

/* A lane of the kind to use now: none while another's round trip is young. */
static lane *lane_for(hf_duty_engine *engine, lane_kind kind, uint64_t now, uint64_t *ret_at)
{
    lane *idle = NULL, *dark = NULL;
    *ret_at = UINT64_MAX;
    for (size_t i = 0; i < engine->lanes_len; i++) {
        lane *ln = &engine->lanes[i];
        if (ln->kind != kind) {
            continue;
        }
        if (is_idle(ln)) {
            idle = idle != NULL ? idle : ln;
        } else if (ln->conn == NULL) {
            dark = ln;
        } else if (now < ln->sent_ns + OVERLAP_NS) {
            *ret_at = ln->sent_ns + OVERLAP_NS;
            return NULL;
        }
    }
    if (idle == NULL && dark != NULL && dark->spare) {
        pthread_mutex_lock(&engine->mutex);
        dark->wanted = dark->wanted || dark->incoming == NULL;
        pthread_cond_signal(&engine->attend);
        pthread_mutex_unlock(&engine->mutex);
    }
    return idle;
}

/* Starts what can be started; *ret_at is when to look again, *ret_need how many more to wait for.
 */
static void start_batches(hf_duty_engine *engine, uint64_t *ret_at, size_t *ret_need)
{
    static const lane_kind kinds[] = {LANE_COMPLETE, LANE_ACQUIRE};
    *ret_at = UINT64_MAX;
    *ret_need = 1;
    for (size_t i = 0; i < HF_ARRAY_LEN(kinds); i++) {
        item_list *queue = kinds[i] == LANE_ACQUIRE ? &engine->acquires : &engine->completes;
        while (queue->first != NULL) {
            uint64_t now = hf_time_mono_ns(), at = 0;
            lane *ln = lane_for(engine, kinds[i], now, &at);
            if (ln == NULL) {
                *ret_at = at < *ret_at ? at : *ret_at;
                break;
            }
            if (!is_gathered(engine, kinds[i], now, &at)) {
                size_t expected =
                    kinds[i] == LANE_ACQUIRE ? engine->returning - queue->count : engine->granted;
                *ret_need = expected > 1 ? expected : 1;
                *ret_at = at < *ret_at ? at : *ret_at;
                break;
            }
            if (kinds[i] == LANE_ACQUIRE) {
                engine->returning = 0;
            }
            if (!lane_start(engine, ln, queue)) {
                break;
            }
            timer_at(engine, ln->sent_ns + engine->config.database_timeout_ms * HF_NS_PER_MS);
        }
    }
}

/* ---- the loop ---------------------------------------------------------------------------------
 */

/* Takes over what other threads left: requests, connections, the reason why there are none. */
static bool take_in(hf_duty_engine *engine)
{
    item_list fresh;
    bool woke = false;
    pthread_mutex_lock(&engine->mutex);
    fresh = engine->submitted;
    engine->submitted = (item_list){0};
    engine->sleeping = false;
    engine->down = engine->last_error;
    bool closing = engine->closing;
    for (size_t i = 0; i <= engine->lanes_len; i++) {
        lane *ln = &engine->lanes[i];
        if (ln->incoming != NULL) {
            HF_ASSERT(ln->conn == NULL);
            ln->conn = ln->incoming;
            ln->v2 = ln->incoming_v2;
            ln->incoming = NULL;
            ln->batch_len = 0;
            (void)PQsetNoticeReceiver(ln->conn, lane_notice, ln);
            ln->idle_since_ns = hf_time_mono_ns();
            woke = woke || ln->kind == LANE_LISTEN;
        }
    }
    pthread_mutex_unlock(&engine->mutex);
    item *it;
    while ((it = list_pop(&fresh)) != NULL) {
        if (it->kind == ITEM_ACQUIRE) {
            item **bucket = bucket_of(engine, it->fingerprint);
            it->chain = *bucket;
            *bucket = it;
        } else if (engine->granted > 0) {
            engine->granted--;
        }
        if (it->kind == ITEM_RELEASE && it->token[TOKEN_MODE_AT] == TOKEN_TAKEN) {
            hf_duty_answer answer = {.result = HF_DUTY_OK};
            engine_finish(engine, it, &answer);
        } else if (it->overloaded) {
            engine_fail(engine, it, HF_DUTY_OVERLOADED,
                        "too many duties wait for the database; try again later");
        } else {
            engine_queue(engine, it);
        }
    }
    /* Notifications were missed while nobody listened. */
    while (woke && (it = list_pop(&engine->waiting)) != NULL) {
        engine_queue(engine, it);
    }
    if (is_permanent(engine->down.result)) {
        engine->timer_ns = 0;
    }
    return closing;
}

static void close_idle_spares(hf_duty_engine *engine, uint64_t now)
{
    uint64_t idle_ns = engine->config.pool_idle_timeout_ms * HF_NS_PER_MS;
    for (size_t i = 0; i < engine->lanes_len; i++) {
        lane *ln = &engine->lanes[i];
        if (ln->spare && is_idle(ln) && now - ln->idle_since_ns > idle_ns) {
            PQfinish(ln->conn);
            ln->conn = NULL;
        }
    }
}

/* Sleeps until a socket, a submission worth it, or the time. */
static void sleep_until(hf_duty_engine *engine, uint64_t at_ns, size_t need)
{
    struct pollfd fds[LANES_MAX + 2] = {{.fd = engine->wake.fd, .events = POLLIN}};
    lane *lanes[LANES_MAX + 2];
    nfds_t n = 1;
    for (size_t i = 0; i <= engine->lanes_len; i++) {
        lane *ln = &engine->lanes[i];
        if (ln->conn != NULL) {
            fds[n].fd = PQsocket(ln->conn);
            fds[n].events = (short)(POLLIN | (ln->unsent ? POLLOUT : 0));
            lanes[n++] = ln;
        }
    }
    pthread_mutex_lock(&engine->mutex);
    bool work = engine->submitted.count >= need || engine->closing;
    engine->sleeping = !work;
    engine->need = need;
    pthread_mutex_unlock(&engine->mutex);
    uint64_t now = hf_time_mono_ns();
    uint64_t left = work || at_ns <= now ? 0 : at_ns - now;
    if (left > HF_NS_PER_SECOND) {
        left = HF_NS_PER_SECOND;
    }
    struct timespec wait = {.tv_sec = (time_t)(left / HF_NS_PER_SECOND),
                            .tv_nsec = (long)(left % HF_NS_PER_SECOND)};
    if (ppoll(fds, n, &wait, NULL) <= 0) {
        return;
    }
    if (fds[0].revents != 0) {
        uint64_t count;
        ssize_t got = read(engine->wake.fd, &count, sizeof(count));
        (void)got; /* nothing there is fine */
    }
    for (nfds_t i = 1; i < n; i++) {
        if ((fds[i].revents & POLLOUT) != 0 && lanes[i]->conn != NULL) {
            lanes[i]->unsent = PQflush(lanes[i]->conn) > 0;
        }
        if ((fds[i].revents & ~POLLOUT) != 0 && lanes[i]->conn != NULL) {
            lane_readable(engine, lanes[i]);
        }
    }
}

/* Answers everything that is left; false when the answers made new requests. */
static bool close_all(hf_duty_engine *engine)
{
    (void)take_in(engine);
    item_list *lists[] = {&engine->acquires, &engine->completes, &engine->waiting};
    item *it;
    for (size_t i = 0; i <= engine->lanes_len; i++) {
        lane *ln = &engine->lanes[i];
        for (size_t j = 0; j < ln->batch_len; j++) {
            engine_fail(engine, ln->batch[j], HF_DUTY_CLOSED, "the signer is being closed");
        }
        ln->batch_len = 0;
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(lists); i++) {
        while ((it = list_pop(lists[i])) != NULL) {
            engine_fail(engine, it, HF_DUTY_CLOSED, "the signer is being closed");
        }
    }
    pthread_mutex_lock(&engine->mutex);
    bool done = engine->submitted.first == NULL;
    pthread_mutex_unlock(&engine->mutex);
    return done;
}

static bool is_busy(const hf_duty_engine *engine)
{
    bool busy = engine->completes.first != NULL;
    for (size_t i = 0; i < engine->lanes_len; i++) {
        busy = busy || engine->lanes[i].batch_len > 0;
    }
    return busy;
}

void *engine_main(void *arg)
{
    hf_duty_engine *engine = arg;
    uint64_t close_ns = 0;
    for (;;) {
        uint64_t at = 0;
        size_t need = 1;
        bool closing = take_in(engine);
        uint64_t now = hf_time_mono_ns();
        if (closing && close_ns == 0) {
            close_ns = now + CLOSE_NS;
        }
        if (closing && (now >= close_ns || !is_busy(engine))) {
            break;
        }
        expire_all(engine, now);
        start_batches(engine, &at, &need);
        close_idle_spares(engine, now);
        at = engine->timer_ns < at ? engine->timer_ns : at;
        if (closing && close_ns < at) {
            at = close_ns;
        }
        sleep_until(engine, at, need);
    }
    while (!close_all(engine)) {
    }
    return NULL;
}
