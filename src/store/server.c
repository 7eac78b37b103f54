/* One lane: questions in, answers out, in their order: one at a time, but for batches that a store
 * far away takes one behind the other. The keeper's frames are checked like anyone's. */
#include "store/store_internal.h"

#include <stdlib.h>
#include <unistd.h>

#define QUICK_FAILURE_NS (200 * HF_NS_PER_MS)
/* Questions after its health, a second apart, that the database refused one after the other. */
#define REFUSALS_MAX 3

/* A batch: one comes in, those before it may be on their way to the database. */
typedef struct batch {
    uint64_t id;
    uint32_t got;
    uint32_t total;
    hf_message messages[HF_STORE_BATCH_MAX];
} batch;

typedef struct server {
    int fd;
    hf_store *store;
    hf_record_server *records;
    _Alignas(8) uint8_t frame[HF_IPC_MAX_BYTES];
    size_t len;
    unsigned refusals;
    batch batches[HF_FLIGHTS_MAX + 1]; /* a ring */
    size_t oldest;
    size_t in_air; /* from the oldest on; the one behind them is coming in */
    hf_verdict verdicts[HF_STORE_BATCH_MAX];
} server;

static bool is_over(uint64_t deadline_ns)
{
    return hf_time_mono_ns() >= deadline_ns;
}

static void send_result(const server *s, uint64_t id, uint32_t call, hf_status st,
                        const hf_error *err, hf_msg_store_result *frame)
{
    hf_frame_init(frame, HF_MSG_STORE_RESULT, id);
    frame->generation = hf_store_generation(s->store);
    frame->code = st.code;
    frame->call = call;
    hf_str_cut(frame->detail, sizeof frame->detail, hf_failed(st) ? err->msg : "");
    /* When it cannot be sent, the next receive tells why. */
    (void)hf_failed(hf_frame_send(s->fd, frame));
}

/*
 * A connection may have died since the last question, which the next one finds out: what failed at
 * once is tried again while there is time. Deciding twice is safe, as it is for who asks again:
 * what the first attempt recorded is a repeat for the second.
 */
static bool is_worth_another_try(hf_status st, uint64_t start_ns, uint64_t deadline_ns)
{
    uint64_t now_ns = hf_time_mono_ns();
    return st.code == HF_UNAVAILABLE && now_ns - start_ns < QUICK_FAILURE_NS &&
           now_ns + QUICK_FAILURE_NS < deadline_ns;
}

/* ---- messages ----------------------------------------------------------------------------- */

static bool message_is_sane(const hf_message *m)
{
    return m->kind <= HF_MESSAGE_ATTESTATION && m->has_root <= 1 &&
           m->slot <= HF_PROTECT_MAX_NUMBER && m->source <= HF_PROTECT_MAX_NUMBER &&
           m->target <= HF_PROTECT_MAX_NUMBER;
}

static bool page_is_sane(const hf_msg_store_messages *page)
{
    if (page->call > HF_CALL_IMPORT_ADD || page->total == 0 || page->total > HF_STORE_BATCH_MAX ||
        page->count == 0 || page->count > HF_STORE_PAGE || page->first > page->total ||
        page->count > page->total - page->first) {
        return false;
    }
    for (uint32_t i = 0; i < page->count; i++) {
        if (!message_is_sane(&page->messages[i])) {
            return false;
        }
    }
    return true;
}

static batch *incoming(server *s)
{
    return &s->batches[(s->oldest + s->in_air) % HF_ARRAY_LEN(s->batches)];
}

/* s->verdicts, or why there are none. */
static void answer_batch(const server *s, const batch *b, hf_status st, hf_error *err)
{
    hf_msg_store_verdicts frame = {.count = b->total};
    if (!hf_failed(st)) {
        st = s->store->ops->mark(s->store, &frame.mark, err);
    }
    frame.code = st.code;
    for (uint32_t i = 0; i < b->total && !hf_failed(st); i++) {
        frame.verdicts[i] = (uint8_t)s->verdicts[i];
    }
    frame.generation = hf_store_generation(s->store);
    hf_str_cut(frame.detail, sizeof frame.detail, hf_failed(st) ? err->msg : "");
    hf_frame_init(&frame, HF_MSG_STORE_VERDICTS, b->id);
    (void)hf_failed(hf_frame_send(s->fd, &frame));
}

static void end_oldest(server *s)
{
    hf_error err = {.code = HF_OK};
    const batch *b = &s->batches[s->oldest];
    hf_status st = s->store->ops->decide_end(s->store, s->verdicts, &err);
    answer_batch(s, b, st, &err);
    s->oldest = (s->oldest + 1) % HF_ARRAY_LEN(s->batches);
    s->in_air--;
}

/* Before anything but the next batch is asked. */
static void end_all(server *s)
{
    while (s->in_air > 0) {
        end_oldest(s);
    }
}

static void decide(server *s, const batch *b, uint64_t deadline_ns)
{
    const hf_store_ops *ops = s->store->ops;
    hf_error err = {.code = HF_OK};
    if (ops->decide_begin != NULL && ops->decide_begin(s->store, b->messages, b->total)) {
        s->in_air++;
        return;
    }
    end_all(s);
    if (is_over(deadline_ns)) {
        return;
    }
    uint64_t start_ns = hf_time_mono_ns();
    hf_status st = ops->decide(s->store, b->messages, b->total, s->verdicts, &err);
    if (is_worth_another_try(st, start_ns, deadline_ns)) {
        st = ops->decide(s->store, b->messages, b->total, s->verdicts, &err);
    }
    answer_batch(s, b, st, &err);
}

static void import_add(server *s, const batch *b)
{
    hf_msg_store_result frame = {0};
    hf_error err = {.code = HF_OK};
    end_all(s);
    hf_status st = s->store->ops->import_add(s->store, b->messages, b->total, &err);
    send_result(s, b->id, HF_CALL_IMPORT_ADD, st, &err, &frame);
}

/* False: the page was no page, or out of its order. */
static bool take_page(server *s, const hf_msg_store_messages *page)
{
    batch *b = incoming(s);
    uint64_t id = page->header.request_id;
    if (!page_is_sane(page)) {
        return false;
    }
    if (page->first == 0) {
        b->id = id;
        b->got = 0;
        b->total = page->total;
    }
    if (b->id != id || b->got != page->first || b->total != page->total) {
        return false;
    }
    memcpy(b->messages + b->got, page->messages, page->count * sizeof *page->messages);
    b->got += page->count;
    if (b->got < page->total || is_over(page->deadline_ns)) {
        return true;
    }
    if (page->call == HF_CALL_DECIDE) {
        decide(s, b, page->deadline_ns);
    } else {
        import_add(s, b);
    }
    return true;
}

/* ---- calls -------------------------------------------------------------------------------- */

static hf_status run_call(server *s, const hf_msg_store_call *ask, hf_msg_store_result *answer,
                          hf_error *err)
{
    const hf_store_ops *ops = s->store->ops;
    hf_prune_report pruned = {0};
    hf_status st = hf_ok();
    switch ((hf_store_call)ask->call) {
    case HF_CALL_HEALTH:
        st = ops->health(s->store, err);
        return hf_failed(st) ? st : ops->mark(s->store, &answer->mark, err);
    case HF_CALL_LOOK:
        return ops->look != NULL ? ops->look(s->store, err) : hf_ok();
    case HF_CALL_TAKE_OVER:
        st = ops->take_over(s->store, ask->has_watermark != 0 ? &ask->watermark : NULL,
                            ask->lineage, err);
        return hf_failed(st) ? st : ops->mark(s->store, &answer->mark, err);
    case HF_CALL_ANCHOR_GET:
        return ops->anchor_get(s->store, ask->anchor.log_id, &answer->anchor, err);
    case HF_CALL_ANCHOR_SET:
        return ops->anchor_set(s->store, &ask->anchor, err);
    case HF_CALL_IMPORT_BEGIN:
        return ops->import_begin(s->store, err);
    case HF_CALL_IMPORT_COMMIT:
        return ops->import_commit(s->store, &answer->report, err);
    case HF_CALL_IMPORT_ABORT:
        ops->import_abort(s->store);
        return hf_ok();
    case HF_CALL_PRUNE:
        st = ops->prune(s->store, ask->keep_epochs, ask->slots_per_epoch, &pruned, err);
        answer->rows_deleted = pruned.rows_deleted;
        answer->more = pruned.more;
        return st;
    case HF_CALL_RAISE_FLOORS:
        return ops->raise_floors(s->store, &ask->watermark, err);
    case HF_CALL_SET_HIGH:
        return ops->set_high(s->store, ask->has_watermark != 0 ? &ask->watermark : NULL, err);
    case HF_CALL_STATUS:
        return ops->status(s->store, &answer->status, err);
    case HF_CALL_DECIDE:
    case HF_CALL_IMPORT_ADD:
    case HF_CALL_RECORDS:
    case HF_CALL_CHANGE_RECORDS:
    case HF_CALL_COUNT:
        break;
    }
    return hf_fail(err, HF_INTERNAL, "no such call");
}

static bool call_is_sane(const hf_msg_store_call *ask)
{
    const hf_watermark *mark = &ask->watermark;
    return ask->call > HF_CALL_IMPORT_ADD && ask->call < HF_CALL_COUNT && ask->has_watermark <= 1 &&
           mark->has_slot <= 1 && mark->has_epochs <= 1 && mark->slot <= HF_PROTECT_MAX_NUMBER &&
           mark->source <= HF_PROTECT_MAX_NUMBER && mark->target <= HF_PROTECT_MAX_NUMBER &&
           (ask->call != HF_CALL_PRUNE || ask->slots_per_epoch > 0) &&
           ask->call != HF_CALL_CHANGE_RECORDS;
}

/* Who is refused again and again ends: the supervisor reads the file with the URL again, which may
 * have another password by now, and starts another. */
static void mind_refusals(server *s, hf_status st)
{
    s->refusals = st.code == HF_DENIED ? s->refusals + 1 : 0;
    if (s->refusals == REFUSALS_MAX) {
        hf_log(HF_LOG_BROKEN, "store_refused",
               "the database refuses this process; another tries with what url_file says now");
        _exit(1);
    }
}

/* An import lives and dies with its connection. */
static bool call_is_repeatable(uint32_t call)
{
    return call != HF_CALL_IMPORT_COMMIT && call != HF_CALL_IMPORT_ABORT;
}

static bool take_call(server *s, const hf_msg_store_call *ask)
{
    hf_msg_store_result answer = {0};
    hf_error err = {.code = HF_OK};
    if (!call_is_sane(ask)) {
        return false;
    }
    if (!is_over(ask->deadline_ns)) {
        uint64_t start_ns = hf_time_mono_ns();
        hf_status st = run_call(s, ask, &answer, &err);
        if (call_is_repeatable(ask->call) && is_worth_another_try(st, start_ns, ask->deadline_ns)) {
            st = run_call(s, ask, &answer, &err);
        }
        send_result(s, ask->header.request_id, ask->call, st, &err, &answer);
        if (ask->call == HF_CALL_HEALTH) {
            mind_refusals(s, st);
        }
    }
    return true;
}

/* ---- the loop ----------------------------------------------------------------------------- */

static bool take_frame(server *s)
{
    hf_frame_header header;
    if (!hf_frame_is_acceptable(s->frame, s->len, HF_CHANNEL_STORE, false)) {
        return false;
    }
    memcpy(&header, s->frame, sizeof header);
    if (header.type == HF_MSG_STORE_MESSAGES) {
        hf_msg_store_messages page;
        memcpy(&page, s->frame, sizeof page);
        return take_page(s, &page);
    }
    end_all(s);
    if (header.type == HF_MSG_STORE_CALL) {
        hf_msg_store_call ask;
        memcpy(&ask, s->frame, sizeof ask);
        return ask.call == HF_CALL_RECORDS ? hf_record_server_read(s->records, &ask)
                                           : take_call(s, &ask);
    }
    if (header.type == HF_MSG_STORE_CHANGE) {
        return hf_record_server_change(s->records, (const hf_msg_store_records *)(void *)s->frame);
    }
    return header.type == HF_MSG_STORE_NEXT && hf_record_server_next(s->records, &header);
}

void hf_store_serve(int fd, hf_store *store)
{
    server *s = calloc(1, sizeof *s);
    if (s == NULL) {
        hf_log(HF_LOG_BROKEN, "no_memory", "a lane could not be opened");
        return;
    }
    s->fd = fd;
    s->store = store;
    s->records = hf_record_server_new(fd, store);
    if (s->records == NULL) {
        hf_log(HF_LOG_BROKEN, "no_memory", "a lane could not be opened");
        free(s);
        return;
    }
    for (;;) {
        if (s->in_air > 0 && store->ops->decide_wait(store, fd, UINT64_MAX)) {
            end_oldest(s);
            continue;
        }
        hf_status st = hf_frame_recv(fd, s->frame, &s->len, NULL);
        if (st.code == HF_UNAVAILABLE) {
            continue;
        }
        if (hf_failed(st)) {
            break;
        }
        if (!take_frame(s)) {
            hf_log(HF_LOG_BROKEN, "frame_refused", "%zu bytes from the keeper that are no question",
                   s->len);
        }
    }
    store->ops->import_abort(store);
    hf_record_server_free(s->records);
    free(s);
}
