/*
 * Signatures by keys that stay in a back end. One thread carries the questions to the back ends'
 * processes and the answers back; it waits for none of them, so that one that hangs holds up
 * nobody. What comes back is checked against the key before it leaves.
 */
#include "keeper/keeper_internal.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TICK_BUSY_MS 20
#define TICK_IDLE_MS 1000
/* Its state comes once a second. */
#define STATE_PATIENCE_NS (4 * HF_NS_PER_SECOND)
/* So many questions keep a back end busy for a while: its answers gather for a moment, and go on
 * together, by one wake-up of each thread and process on their way. */
#define BUSY_OUT 64
#define GATHER_MS 4

static void wake(hf_custody_room *room)
{
    uint64_t one = 1;
    (void)!write(room->wake_fd, &one, sizeof one);
}

/* ---- any thread ------------------------------------------------------------------------------ */

static hf_custody_work *take_work(hf_custody_room *room)
{
    (void)pthread_mutex_lock(&room->lock);
    hf_custody_work *work = atomic_load(&room->stop) ? NULL : room->free;
    if (work != NULL) {
        room->free = work->next;
    }
    (void)pthread_mutex_unlock(&room->lock);
    if (work != NULL) {
        uint32_t generation = work->generation + 1;
        *work = (hf_custody_work){.generation = generation, .taken_ns = hf_time_mono_ns()};
        work->id = (uint64_t)generation << 32 | (uint64_t)(work - room->all);
        (void)atomic_fetch_add(&room->in_use, 1);
    }
    return work;
}

static void put_work(hf_custody_room *room, hf_custody_work *work)
{
    (void)pthread_mutex_lock(&room->lock);
    work->next = room->free;
    room->free = work;
    (void)pthread_mutex_unlock(&room->lock);
    (void)atomic_fetch_sub(&room->in_use, 1);
}

/* False, and the work given back, when the thread takes no more. */
static bool push(hf_custody_room *room, hf_custody_work *work)
{
    (void)pthread_mutex_lock(&room->lock);
    if (atomic_load(&room->stop)) {
        (void)pthread_mutex_unlock(&room->lock);
        free(work->wrap);
        put_work(room, work);
        return false;
    }
    bool is_first = room->incoming == NULL; /* of those that come, the thread was woken for it */
    *(is_first ? &room->incoming : &room->incoming_tail->next) = work;
    room->incoming_tail = work;
    work->next = NULL;
    (void)pthread_mutex_unlock(&room->lock);
    if (is_first) {
        wake(room);
    }
    return true;
}

bool hf_custody_sign(hf_keeper *keeper, const hf_key *key, const uint8_t digest[HF_KECCAK_BYTES],
                     uint64_t deadline_ns, hf_custody_signed callback, void *context)
{
    hf_custody_room *room = &keeper->custody;
    HF_ASSERT(hf_key_is_remote(key) && key->custody < room->count);
    hf_custody_work *work = take_work(room);
    if (work == NULL) {
        return false;
    }
    work->custody = key->custody;
    work->handle = atomic_load(&key->handle);
    work->deadline_ns = deadline_ns;
    memcpy(work->digest, digest, sizeof work->digest);
    memcpy(work->pubkey, key->point, sizeof work->pubkey);
    work->on_signed = callback;
    work->context = context;
    return push(room, work);
}

bool hf_custody_wrap(hf_keeper *keeper, uint32_t custody, hf_msg_type type,
                     const hf_msg_custody_wrap *question, uint64_t deadline_ns,
                     hf_custody_wrapped callback, void *context)
{
    hf_custody_room *room = &keeper->custody;
    hf_msg_custody_wrap *copy = custody < room->count ? malloc(sizeof *copy) : NULL;
    hf_custody_work *work = copy == NULL ? NULL : take_work(room);
    if (work == NULL) {
        free(copy);
        return false;
    }
    *copy = *question;
    hf_frame_init(copy, type, work->id);
    copy->deadline_ns = deadline_ns;
    work->custody = custody;
    work->deadline_ns = deadline_ns;
    work->wrap = copy;
    work->on_wrapped = callback;
    work->context = context;
    return push(room, work);
}

bool hf_custody_of_seal(const hf_keeper *keeper, hf_key_backend backend, uint32_t *ret_custody)
{
    const hf_custody_room *room = &keeper->custody;
    bool is_found = false;
    for (uint32_t i = 0; i < room->count; i++) {
        /* One of its own comes before the first that has keys as well. */
        bool is_own = room->ends[i].source == HF_SOURCE_NONE;
        if (room->ends[i].backend == backend && (is_own || !is_found)) {
            *ret_custody = i;
            is_found = true;
            if (is_own) {
                break;
            }
        }
    }
    return is_found;
}

void hf_custody_attach(hf_keeper *keeper, uint32_t custody, int take_fd)
{
    hf_custody_room *room = &keeper->custody;
    (void)pthread_mutex_lock(&room->lock);
    int before = room->ends[custody].given_fd;
    room->ends[custody].given_fd = take_fd;
    (void)pthread_mutex_unlock(&room->lock);
    if (before >= 0) {
        (void)close(before);
    }
    wake(room);
}

/* With the lock held. */
static bool is_well(const hf_custody_end *end)
{
    bool is_heard = end->heard_ns != 0 && hf_time_mono_ns() - end->heard_ns < STATE_PATIENCE_NS;
    return is_heard && end->is_healthy;
}

bool hf_custody_is_healthy(hf_keeper *keeper, uint32_t custody, char ret_detail[HF_DETAIL_LEN])
{
    hf_custody_room *room = &keeper->custody;
    const hf_custody_end *end = &room->ends[custody];
    (void)pthread_mutex_lock(&room->lock);
    bool is_heard = end->heard_ns != 0 && hf_time_mono_ns() - end->heard_ns < STATE_PATIENCE_NS;
    bool healthy = is_well(end);
    hf_str_cut(ret_detail, HF_DETAIL_LEN,
               is_heard ? end->detail : "its process is not there, or silent");
    (void)pthread_mutex_unlock(&room->lock);
    return healthy;
}

/* ---- the thread: answers to who asked ---------------------------------------------------------
 */

static void count(hf_keeper *keeper, const hf_custody_work *work, bool is_done)
{
    hf_custody_counters *counters = &keeper->meter.now.custodies[work->custody];
    hf_meter_add(is_done ? &counters->done : &counters->failed, 1);
    if (is_done) {
        hf_meter_observe(&counters->duration, hf_time_mono_ns() - work->taken_ns);
    }
}

/* Not in the work itself, which others fill anew as soon as it is free. */
static bool *out_flag(hf_custody_room *room, const hf_custody_work *work)
{
    return &room->is_out[work - room->all];
}

static void finish(hf_keeper *keeper, hf_custody_work *work, hf_reason reason,
                   const uint8_t *signature, hf_bytes data, const char *detail)
{
    hf_custody_room *room = &keeper->custody;
    if (*out_flag(room, work)) {
        room->ends[work->custody].out--;
    }
    count(keeper, work, reason == HF_REASON_OK);
    if (work->wrap != NULL) {
        hf_wipe(work->wrap, sizeof *work->wrap);
        free(work->wrap);
        work->on_wrapped(keeper, work->context, reason, data, detail);
    } else {
        work->on_signed(keeper, work->context, reason, signature, detail);
    }
    work->wrap = NULL;
    *out_flag(room, work) = false;
    put_work(room, work);
}

static void fail(hf_keeper *keeper, hf_custody_work *work, const char *detail)
{
    finish(keeper, work, HF_REASON_CUSTODY_UNAVAILABLE, NULL, hf_bytes_from(NULL, 0), detail);
}

static void take_signature(hf_keeper *keeper, hf_custody_work *work,
                           const hf_msg_custody_signed *answer, const char *detail)
{
    uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES];
    if (answer->code != HF_OK) {
        fail(keeper, work, detail);
        return;
    }
    if (hf_failed(hf_secp256k1_complete(keeper->custody.secp, work->digest, answer->signature,
                                        work->pubkey, signature))) {
        hf_log(HF_LOG_BROKEN, "custody_wrong_signature",
               "%s gave a signature that is not of the key that was asked for",
               hf_key_backend_name((hf_key_backend)keeper->custody.ends[work->custody].backend));
        hf_meter_add(&keeper->meter.now.custodies[work->custody].wrong, 1);
        fail(keeper, work, "what came back is no signature of this key");
        return;
    }
    finish(keeper, work, HF_REASON_OK, signature, hf_bytes_from(NULL, 0), "");
}

static void take_wrapped(hf_keeper *keeper, hf_custody_work *work,
                         const hf_msg_custody_wrapped *answer, const char *detail)
{
    if (answer->code != HF_OK || answer->len > sizeof answer->data) {
        fail(keeper, work, detail);
        return;
    }
    finish(keeper, work, HF_REASON_OK, NULL, hf_bytes_from(answer->data, answer->len), "");
}

/* ---- the thread: channels ---------------------------------------------------------------------
 */

static void lose_channel(hf_keeper *keeper, uint32_t custody, const char *why)
{
    hf_custody_room *room = &keeper->custody;
    hf_custody_end *end = &room->ends[custody];
    if (end->fd < 0) {
        return;
    }
    if (!atomic_load(&room->stop)) {
        hf_log(HF_LOG_UNUSUAL, "custody_lost", "%s: %s",
               hf_key_backend_name((hf_key_backend)end->backend), why);
    }
    (void)close(end->fd);
    end->fd = -1;
    (void)pthread_mutex_lock(&room->lock);
    end->heard_ns = 0;
    (void)pthread_mutex_unlock(&room->lock);
    for (size_t i = 0; i < HF_CUSTODY_WORKS_MAX && end->out > 0; i++) {
        if (room->is_out[i] && room->all[i].custody == custody) {
            fail(keeper, &room->all[i], "its process ended; another takes its place");
        }
    }
}

static void adopt_channels(hf_keeper *keeper)
{
    hf_custody_room *room = &keeper->custody;
    for (uint32_t i = 0; i < room->count; i++) {
        (void)pthread_mutex_lock(&room->lock);
        int fd = room->ends[i].given_fd;
        room->ends[i].given_fd = -1;
        (void)pthread_mutex_unlock(&room->lock);
        if (fd >= 0) {
            lose_channel(keeper, i, "its process was replaced");
            room->ends[i].fd = fd;
        }
    }
}

static void take_state(hf_keeper *keeper, uint32_t custody, const hf_msg_custody_state *frame)
{
    hf_custody_room *room = &keeper->custody;
    hf_custody_end *end = &room->ends[custody];
    (void)pthread_mutex_lock(&room->lock);
    bool changed = end->heard_ns == 0 || end->is_healthy != (frame->healthy != 0);
    end->heard_ns = hf_time_mono_ns();
    end->is_healthy = frame->healthy != 0;
    (void)snprintf(end->detail, sizeof end->detail, "%.*s", HF_DETAIL_LEN - 1, frame->detail);
    if (frame->protection_count <= HF_PROTECTIONS_MAX) {
        end->protection_count = frame->protection_count;
        memcpy(end->protections, frame->protections, sizeof frame->protections);
    }
    (void)pthread_mutex_unlock(&room->lock);
    if (changed) {
        hf_log(frame->healthy != 0 ? HF_LOG_INFO : HF_LOG_UNUSUAL, "custody_state", "%s: %.*s",
               hf_key_backend_name((hf_key_backend)end->backend), HF_DETAIL_LEN - 1, frame->detail);
    }
}

/* The lower half of a question's id is its place, the upper half its generation. */
static hf_custody_work *work_of(hf_custody_room *room, uint32_t custody,
                                const hf_frame_header *header)
{
    uint64_t place = header->request_id & UINT32_MAX;
    hf_custody_work *work = place < HF_CUSTODY_WORKS_MAX ? &room->all[place] : NULL;
    if (work == NULL || !room->is_out[place] || work->id != header->request_id ||
        work->custody != custody) {
        return NULL;
    }
    bool is_of_wrap = header->type == HF_MSG_CUSTODY_WRAPPED;
    return is_of_wrap == (work->wrap != NULL) ? work : NULL;
}

static void take_answer(hf_keeper *keeper, uint32_t custody, const void *frame)
{
    const hf_frame_header *header = frame;
    char detail[HF_DETAIL_LEN];
    hf_custody_work *work = work_of(&keeper->custody, custody, header);
    if (work == NULL) {
        return; /* late: it was given up */
    }
    bool is_wrap = header->type == HF_MSG_CUSTODY_WRAPPED;
    (void)snprintf(detail, sizeof detail, "%.*s", HF_DETAIL_LEN - 1,
                   is_wrap ? ((const hf_msg_custody_wrapped *)frame)->detail
                           : ((const hf_msg_custody_signed *)frame)->detail);
    if (is_wrap) {
        take_wrapped(keeper, work, frame, detail);
    } else {
        take_signature(keeper, work, frame, detail);
    }
}

static void receive(hf_keeper *keeper, uint32_t custody)
{
    hf_custody_room *room = &keeper->custody;
    size_t n = 0;
    hf_status st = hf_inbox_receive(room->inbox, room->ends[custody].fd, HF_INBOX_FRAMES, &n);
    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        const void *frame = hf_inbox_peek(room->inbox, i, &len);
        const hf_frame_header *header = frame;
        if (!hf_frame_is_acceptable(frame, len, HF_CHANNEL_CUSTODY, true)) {
            hf_meter_add(&keeper->meter.now.bad_frames, 1);
        } else if (header->type == HF_MSG_CUSTODY_STATE) {
            take_state(keeper, custody, frame);
        } else {
            take_answer(keeper, custody, frame);
        }
    }
    hf_inbox_wipe(room->inbox);
    if (hf_failed(st) && st.code != HF_UNAVAILABLE) {
        lose_channel(keeper, custody, "its process is gone");
    }
}

/* ---- the thread: questions --------------------------------------------------------------------
 */

/* Questions for one back end, which leave by one call. */
typedef struct parcel {
    hf_custody_end *end;
    size_t n;
    hf_custody_work *works[HF_OUTBOX_FRAMES];
    const void *frames[HF_OUTBOX_FRAMES];
    hf_msg_custody_sign questions[HF_OUTBOX_FRAMES];
} parcel;

static void send_parcel(hf_keeper *keeper, parcel *p)
{
    size_t sent = 0;
    if (p->n == 0) {
        return;
    }
    hf_status st = hf_frames_send(p->end->fd, p->frames, p->n, &sent);
    for (size_t i = sent; i < p->n; i++) {
        fail(keeper, p->works[i],
             st.code == HF_UNAVAILABLE ? "its process takes no more questions"
                                       : "its process is gone");
    }
    p->n = 0;
}

static void put_into(hf_keeper *keeper, parcel *p, hf_custody_end *end, hf_custody_work *work)
{
    if (p->n == HF_OUTBOX_FRAMES || p->end != end) {
        send_parcel(keeper, p);
        p->end = end;
    }
    p->works[p->n] = work;
    p->frames[p->n] = work->wrap;
    if (work->wrap == NULL) {
        hf_msg_custody_sign *frame = &p->questions[p->n];
        *frame = (hf_msg_custody_sign){
            .deadline_ns = work->deadline_ns, .handle = work->handle, .len = sizeof work->digest};
        hf_frame_init(frame, HF_MSG_CUSTODY_SIGN, work->id);
        memcpy(frame->message, work->digest, sizeof work->digest);
        p->frames[p->n] = frame;
    }
    p->n++;
    *out_flag(&keeper->custody, work) = true;
    end->out++;
}

/*
 * A back end that is not well gets one question at a time: who asks is told at once, and yet one
 * that has recovered is found out.
 */
static bool must_refuse(hf_custody_room *room, const hf_custody_end *end,
                        char ret_why[HF_DETAIL_LEN])
{
    (void)pthread_mutex_lock(&room->lock);
    /* A process that is new has not said how it is; it lists its keys before. */
    bool is_known = end->heard_ns != 0;
    bool refuse = end->out > 0 && is_known && !is_well(end);
    hf_str_cut(ret_why, HF_DETAIL_LEN, end->detail);
    (void)pthread_mutex_unlock(&room->lock);
    return refuse;
}

static void begin(hf_keeper *keeper, parcel *p, hf_custody_work *work)
{
    hf_custody_room *room = &keeper->custody;
    hf_custody_end *end = &room->ends[work->custody];
    char why[HF_DETAIL_LEN];
    if (end->fd < 0) {
        fail(keeper, work, "its process is not there; it is started again");
        return;
    }
    if (must_refuse(room, end, why)) {
        fail(keeper, work, why);
        return;
    }
    put_into(keeper, p, end, work);
}

static void begin_incoming(hf_keeper *keeper)
{
    hf_custody_room *room = &keeper->custody;
    parcel p;
    p.end = NULL;
    p.n = 0;
    (void)pthread_mutex_lock(&room->lock);
    hf_custody_work *list = room->incoming;
    room->incoming = NULL;
    (void)pthread_mutex_unlock(&room->lock);
    while (list != NULL) {
        hf_custody_work *work = list;
        list = work->next;
        begin(keeper, &p, work);
    }
    send_parcel(keeper, &p);
}

static void check_deadlines(hf_keeper *keeper)
{
    hf_custody_room *room = &keeper->custody;
    uint64_t now_ns = hf_time_mono_ns();
    for (size_t i = 0; i < HF_CUSTODY_WORKS_MAX && atomic_load(&room->in_use) > 0; i++) {
        hf_custody_work *work = &room->all[i];
        if (room->is_out[i] && now_ns > work->deadline_ns) {
            hf_meter_add(&keeper->meter.now.custodies[work->custody].late, 1);
            fail(keeper, work, "no answer in time");
        }
    }
}

/* ---- the thread: its turns --------------------------------------------------------------------
 */

/* Only where all that are asked are busy: none waits for another's answers. */
static bool may_gather(const hf_custody_room *room)
{
    bool is_busy = false;
    for (uint32_t i = 0; i < room->count; i++) {
        uint32_t out = room->ends[i].out;
        if (out > 0 && out < BUSY_OUT) {
            return false;
        }
        is_busy = is_busy || out > 0;
    }
    return is_busy;
}

/* Until something is to be done; returns with what came in fds, the channels and the wake-ups. */
static void wait_turn(hf_custody_room *room, struct pollfd fds[HF_CUSTODIES_MAX + 1])
{
    if (may_gather(room)) {
        hf_time_sleep_ns(GATHER_MS * HF_NS_PER_MS);
    }
    for (uint32_t i = 0; i < room->count; i++) {
        fds[i] = (struct pollfd){.fd = room->ends[i].fd, .events = POLLIN};
    }
    fds[room->count] = (struct pollfd){.fd = room->wake_fd, .events = POLLIN};
    bool is_busy = atomic_load(&room->in_use) > 0;
    (void)poll(fds, room->count + 1, is_busy ? TICK_BUSY_MS : TICK_IDLE_MS);
}

static void turn(hf_keeper *keeper)
{
    hf_custody_room *room = &keeper->custody;
    struct pollfd fds[HF_CUSTODIES_MAX + 1];
    wait_turn(room, fds);
    if (fds[room->count].revents != 0) {
        uint64_t wakes;
        (void)!read(room->wake_fd, &wakes, sizeof wakes);
    }
    for (uint32_t i = 0; i < room->count; i++) {
        if (fds[i].fd >= 0 && fds[i].revents != 0) {
            receive(keeper, i);
        }
    }
    check_deadlines(keeper);
}

static void *custody_main(void *context)
{
    hf_keeper *keeper = context;
    hf_custody_room *room = &keeper->custody;
    while (!atomic_load(&room->stop)) {
        adopt_channels(keeper);
        begin_incoming(keeper);
        hf_peers_send_waiting(keeper);
        turn(keeper);
    }
    for (uint32_t i = 0; i < room->count; i++) {
        lose_channel(keeper, i, "the keeper stops");
    }
    begin_incoming(keeper); /* to be told that */
    hf_peers_send_waiting(keeper);
    return NULL;
}

hf_status hf_custody_init(hf_keeper *keeper)
{
    hf_custody_room *room = &keeper->custody;
    (void)pthread_mutex_init(&room->lock, NULL);
    room->count = keeper->config.custody_count;
    for (uint32_t i = 0; i < room->count; i++) {
        room->ends[i] = (hf_custody_end){.backend = keeper->config.custodies[i].backend,
                                         .source = keeper->config.custodies[i].source,
                                         .given_fd = -1,
                                         .fd = -1};
    }
    if (room->count == 0) {
        return hf_ok(); /* no thread, no memory */
    }
    room->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    room->all = calloc(HF_CUSTODY_WORKS_MAX, sizeof *room->all);
    room->inbox = hf_inbox_new();
    if (room->wake_fd < 0 || room->all == NULL || room->inbox == NULL ||
        hf_failed(hf_secp256k1_new(&room->secp))) {
        return (hf_status){HF_NOMEM};
    }
    for (size_t i = HF_CUSTODY_WORKS_MAX; i > 0; i--) {
        room->all[i - 1].next = room->free;
        room->free = &room->all[i - 1];
    }
    room->is_running = pthread_create(&room->thread, NULL, custody_main, keeper) == 0;
    return room->is_running ? hf_ok() : (hf_status){HF_NOMEM};
}

void hf_custody_stop(hf_keeper *keeper)
{
    hf_custody_room *room = &keeper->custody;
    if (!room->is_running) {
        return;
    }
    (void)pthread_mutex_lock(&room->lock);
    atomic_store(&room->stop, true); /* from here on nothing more is taken */
    (void)pthread_mutex_unlock(&room->lock);
    wake(room);
    (void)pthread_join(room->thread, NULL);
    room->is_running = false;
    for (uint32_t i = 0; i < room->count; i++) {
        if (room->ends[i].given_fd >= 0) {
            (void)close(room->ends[i].given_fd);
        }
    }
    (void)close(room->wake_fd);
    hf_inbox_free(room->inbox);
    hf_secp256k1_free(room->secp);
    free(room->all);
    room->all = NULL;
    room->free = NULL;
}
