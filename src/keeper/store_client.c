/* Questions to the store process, with an end to every wait: one at a time, but for batches in the
 * air (store_client_flights.c). */
#include "keeper/store_client_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

/* An import, watermarks of all validators: operators wait for these; the store itself bounds them.
 */
#define ADMIN_TIMEOUT_NS (UINT64_C(310) * 1000000000)

/* ---- the channel -------------------------------------------------------------------------- */

static void drop_channel(hf_store_client *client)
{
    if (client->fd >= 0) {
        (void)close(client->fd);
        client->fd = -1;
        client->channel++;
    }
}

static void take_new_channel(hf_store_client *client)
{
    (void)pthread_mutex_lock(&client->lock);
    if (client->new_fd >= 0) {
        drop_channel(client);
        client->fd = client->new_fd;
        client->new_fd = -1;
    }
    (void)pthread_mutex_unlock(&client->lock);
}

static hf_status lost(hf_store_client *client, hf_error *err)
{
    drop_channel(client);
    return hf_fail(err, HF_UNAVAILABLE, "the store process is gone; another is being started");
}

static void take_hello(hf_store_client *client, const hf_msg_store_hello *hello)
{
    if (hello->protection_count > HF_PROTECTIONS_MAX) {
        return;
    }
    client->has_halves = hello->backend == HF_STORE_POSTGRES;
    (void)pthread_mutex_lock(&client->lock);
    client->state.protection_count = hello->protection_count;
    memcpy(client->state.protections, hello->protections, sizeof hello->protections);
    (void)pthread_mutex_unlock(&client->lock);
}

/* Is the frame in the room the answer to the question id, and of this type? */
static bool is_answer(hf_store_client *client, size_t len, uint64_t id, hf_msg_type type,
                      bool *ret_malformed)
{
    hf_frame_header header;
    *ret_malformed = !hf_frame_is_acceptable(client->answer, len, HF_CHANNEL_STORE, true);
    if (*ret_malformed) {
        return false;
    }
    memcpy(&header, client->answer, sizeof header);
    if (header.type == HF_MSG_STORE_HELLO) {
        hf_msg_store_hello hello;
        memcpy(&hello, client->answer, sizeof hello);
        take_hello(client, &hello);
        return false;
    }
    if (header.request_id != id && hf_client_keep_verdicts(client, &header)) {
        return false;
    }
    if (header.request_id != id) {
        (void)pthread_mutex_lock(&client->lock);
        client->state.late_answers++;
        (void)pthread_mutex_unlock(&client->lock);
        return false;
    }
    *ret_malformed = header.type != type;
    return header.type == type;
}

/* Until the descriptor is readable or the time is up; UNAVAILABLE then. */
static hf_status wait_readable(int fd, uint64_t until_ns)
{
    for (;;) {
        uint64_t now = hf_time_mono_ns();
        struct pollfd item = {.fd = fd, .events = POLLIN};
        if (now >= until_ns) {
            return (hf_status){HF_UNAVAILABLE};
        }
        uint64_t left_ns = until_ns - now;
        struct timespec wait = {.tv_sec = (time_t)(left_ns / HF_NS_PER_SECOND),
                                .tv_nsec = (long)(left_ns % HF_NS_PER_SECOND)};
        int n = ppoll(&item, 1, &wait, NULL);
        if (n > 0) {
            return hf_ok();
        }
        if (n < 0 && errno != EINTR) {
            return (hf_status){HF_IO};
        }
    }
}

/* The answer's bytes stay in client->answer. */
hf_status hf_client_wait_answer(hf_store_client *client, uint64_t id, hf_msg_type type,
                                uint64_t until_ns, hf_error *err)
{
    bool malformed = false;
    for (;;) {
        size_t len = 0;
        hf_status st = hf_frame_recv(client->fd, client->answer, &len, NULL);
        if (st.code == HF_UNAVAILABLE) {
            st = wait_readable(client->fd, until_ns);
            if (st.code == HF_UNAVAILABLE) {
                return hf_fail(err, HF_UNAVAILABLE, "the store process has not answered in time");
            }
            continue;
        }
        if (hf_failed(st)) {
            return lost(client, err);
        }
        if (is_answer(client, len, id, type, &malformed)) {
            return hf_ok();
        }
        if (malformed) { /* whoever speaks there is no store of ours */
            drop_channel(client);
            return hf_fail(err, HF_UNAVAILABLE, "the store process sent a malformed answer");
        }
    }
}

hf_status hf_client_send_frames(hf_store_client *client, const void *const frames[], size_t n,
                                hf_error *err)
{
    size_t sent = 0;
    hf_status st = hf_frames_send(client->fd, frames, n, &sent);
    if (st.code == HF_UNAVAILABLE) {
        return hf_fail(err, HF_UNAVAILABLE, "the store process reads no questions");
    }
    return hf_failed(st) ? lost(client, err) : hf_ok();
}

/* A code from the other side becomes ours; a sentence of theirs is made harmless. */
hf_status hf_client_status_of(uint32_t code, const char *detail, hf_error *err)
{
    char text[HF_DETAIL_LEN];
    char shown[HF_DETAIL_LEN];
    if (code == HF_OK) {
        return hf_ok();
    }
    memcpy(text, detail, sizeof text);
    text[sizeof text - 1] = '\0';
    hf_str_sanitize(shown, sizeof shown, text);
    return hf_fail(err, code <= HF_INTERNAL ? (hf_code)code : HF_INTERNAL, "%s", shown);
}

hf_status hf_client_begin(hf_store_client *client, hf_error *err)
{
    take_new_channel(client);
    client->last_id++;
    return client->fd >= 0 ? hf_ok() : lost(client, err);
}

/* ---- questions ---------------------------------------------------------------------------- */

uint64_t hf_client_end_of(hf_store_client *client, uint64_t timeout_ns)
{
    uint64_t until_ns = hf_time_mono_ns() + timeout_ns + HF_CLIENT_MARGIN_NS;
    if (client->limit_ns != 0 && client->limit_ns < until_ns) {
        until_ns = client->limit_ns;
    }
    client->limit_ns = 0;
    return until_ns;
}

static size_t fill_pages(hf_store_client *client, hf_store_call call, const hf_message *messages,
                         size_t n, uint64_t deadline_ns, const void *frames[])
{
    size_t count = 0;
    for (size_t first = 0; first < n; first += HF_STORE_PAGE) {
        hf_msg_store_messages *page = &client->pages[count];
        size_t here = n - first < HF_STORE_PAGE ? n - first : HF_STORE_PAGE;
        hf_frame_init(page, HF_MSG_STORE_MESSAGES, client->last_id);
        page->deadline_ns = deadline_ns;
        page->call = call;
        page->total = (uint32_t)n;
        page->first = (uint32_t)first;
        page->count = (uint32_t)here;
        memcpy(page->messages, messages + first, here * sizeof *messages);
        frames[count++] = page;
    }
    return count;
}

hf_status hf_client_send_messages(hf_store_client *client, hf_store_call call,
                                  const hf_message *messages, size_t n, uint64_t until_ns,
                                  hf_error *err)
{
    const void *frames[HF_STORE_BATCH_FRAMES];
    _Static_assert(HF_STORE_BATCH_FRAMES <= HF_OUTBOX_FRAMES, "a batch leaves in one go");
    HF_ASSERT(n > 0 && n <= HF_STORE_BATCH_MAX);
    hf_status st = hf_client_begin(client, err);
    if (!hf_failed(st)) {
        size_t count =
            fill_pages(client, call, messages, n, until_ns - HF_CLIENT_MARGIN_NS, frames);
        st = hf_client_send_frames(client, frames, count, err);
    }
    return st;
}

static hf_status ask_messages(hf_store_client *client, hf_store_call call,
                              const hf_message *messages, size_t n, hf_msg_type answer_type,
                              uint64_t until_ns, hf_error *err)
{
    hf_status st = hf_client_send_messages(client, call, messages, n, until_ns, err);
    return hf_failed(st)
               ? st
               : hf_client_wait_answer(client, client->last_id, answer_type, until_ns, err);
}

static void take_mark(hf_store_client *client, const hf_store_mark *mark)
{
    client->mark = *mark;
    client->mark.is_virgin = 0; /* no shared store is any one signer's */
    client->has_mark = true;
}

hf_status hf_client_take_verdicts(hf_store_client *client, const hf_msg_store_verdicts *answer,
                                  size_t n, hf_verdict *ret_verdicts, hf_error *err)
{
    hf_status st = hf_client_status_of(answer->code, answer->detail, err);
    if (hf_failed(st)) {
        return st;
    }
    if (answer->count != n) {
        return hf_fail(err, HF_UNAVAILABLE, "the store process answered another question");
    }
    for (size_t i = 0; i < n; i++) {
        if (answer->verdicts[i] >= HF_VERDICT_COUNT) {
            return hf_fail(err, HF_UNAVAILABLE, "the store process sent a malformed verdict");
        }
    }
    for (size_t i = 0; i < n; i++) {
        ret_verdicts[i] = (hf_verdict)answer->verdicts[i];
    }
    client->generation = answer->generation;
    take_mark(client, &answer->mark);
    return st;
}

static hf_status client_decide(hf_store *self, const hf_message *messages, size_t n,
                               hf_verdict *ret_verdicts, hf_error *err)
{
    hf_store_client *client = hf_client_of(self);
    uint64_t until_ns = hf_client_end_of(client, client->timeout_ns);
    if (n == 0) {
        return hf_ok();
    }
    hf_status st =
        ask_messages(client, HF_CALL_DECIDE, messages, n, HF_MSG_STORE_VERDICTS, until_ns, err);
    if (!hf_failed(st)) {
        hf_msg_store_verdicts answer;
        memcpy(&answer, client->answer, sizeof answer);
        st = hf_client_take_verdicts(client, &answer, n, ret_verdicts, err);
    }
    return st;
}

static hf_status ask(hf_store_client *client, hf_msg_store_call *question, hf_store_call call,
                     uint64_t timeout_ns, hf_msg_store_result *ret_answer, hf_error *err)
{
    uint64_t until_ns = hf_client_end_of(client, timeout_ns);
    const void *frames[] = {question};
    hf_status st = hf_client_begin(client, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_frame_init(question, HF_MSG_STORE_CALL, client->last_id);
    question->call = call;
    question->deadline_ns = until_ns - HF_CLIENT_MARGIN_NS;
    st = hf_client_send_frames(client, frames, 1, err);
    if (!hf_failed(st)) {
        st = hf_client_wait_answer(client, client->last_id, HF_MSG_STORE_RESULT, until_ns, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    memcpy(ret_answer, client->answer, sizeof *ret_answer);
    st = hf_client_status_of(ret_answer->code, ret_answer->detail, err);
    client->generation = hf_failed(st) ? client->generation : ret_answer->generation;
    return st;
}

/* ---- the other operations ----------------------------------------------------------------- */

static hf_status client_health(hf_store *self, hf_error *err)
{
    hf_msg_store_call question = {0};
    hf_msg_store_result answer;
    hf_status st = ask(hf_client_of(self), &question, HF_CALL_HEALTH,
                       hf_client_of(self)->timeout_ns, &answer, err);
    if (!hf_failed(st)) {
        take_mark(hf_client_of(self), &answer.mark);
    }
    return st;
}

static hf_status client_look(hf_store *self, hf_error *err)
{
    hf_msg_store_call question = {0};
    hf_msg_store_result answer;
    return ask(hf_client_of(self), &question, HF_CALL_LOOK, hf_client_of(self)->timeout_ns, &answer,
               err);
}

static hf_status client_import_begin(hf_store *self, hf_error *err)
{
    hf_msg_store_call question = {0};
    hf_msg_store_result answer;
    return ask(hf_client_of(self), &question, HF_CALL_IMPORT_BEGIN, HF_CLIENT_STEP_NS, &answer,
               err);
}

static hf_status client_import_add(hf_store *self, const hf_message *messages, size_t n,
                                   hf_error *err)
{
    hf_store_client *client = hf_client_of(self);
    for (size_t done = 0; done < n;) {
        hf_msg_store_result answer;
        size_t here = n - done < HF_STORE_BATCH_MAX ? n - done : HF_STORE_BATCH_MAX;
        uint64_t until_ns = hf_time_mono_ns() + ADMIN_TIMEOUT_NS;
        hf_status st = ask_messages(client, HF_CALL_IMPORT_ADD, messages + done, here,
                                    HF_MSG_STORE_RESULT, until_ns, err);
        if (!hf_failed(st)) {
            memcpy(&answer, client->answer, sizeof answer);
            st = hf_client_status_of(answer.code, answer.detail, err);
        }
        if (hf_failed(st)) {
            return st;
        }
        done += here;
    }
    return hf_ok();
}

static hf_status client_import_commit(hf_store *self, hf_import_report *ret_report, hf_error *err)
{
    hf_msg_store_call question = {0};
    hf_msg_store_result answer;
    hf_status st =
        ask(hf_client_of(self), &question, HF_CALL_IMPORT_COMMIT, ADMIN_TIMEOUT_NS, &answer, err);
    if (!hf_failed(st)) {
        *ret_report = answer.report;
    }
    return st;
}

static void client_import_abort(hf_store *self)
{
    hf_msg_store_call question = {0};
    hf_msg_store_result answer;
    /* A store process that is gone has dropped the import with itself. */
    (void)hf_failed(
        ask(hf_client_of(self), &question, HF_CALL_IMPORT_ABORT, HF_CLIENT_STEP_NS, &answer, NULL));
}

static hf_status client_prune(hf_store *self, uint64_t keep_epochs, uint64_t slots_per_epoch,
                              hf_prune_report *ret_report, hf_error *err)
{
    hf_msg_store_call question = {.keep_epochs = keep_epochs, .slots_per_epoch = slots_per_epoch};
    hf_msg_store_result answer;
    hf_status st =
        ask(hf_client_of(self), &question, HF_CALL_PRUNE, HF_CLIENT_STEP_NS, &answer, err);
    if (!hf_failed(st)) {
        ret_report->rows_deleted = answer.rows_deleted;
        ret_report->more = answer.more != 0;
    }
    return st;
}

static hf_status client_raise_floors(hf_store *self, const hf_watermark *low, hf_error *err)
{
    hf_msg_store_call question = {.has_watermark = 1, .watermark = *low};
    hf_msg_store_result answer;
    return ask(hf_client_of(self), &question, HF_CALL_RAISE_FLOORS, ADMIN_TIMEOUT_NS, &answer, err);
}

static hf_status client_set_high(hf_store *self, const hf_watermark *high, hf_error *err)
{
    hf_msg_store_call question = {.has_watermark = high != NULL};
    hf_msg_store_result answer;
    if (high != NULL) {
        question.watermark = *high;
    }
    return ask(hf_client_of(self), &question, HF_CALL_SET_HIGH, HF_CLIENT_STEP_NS, &answer, err);
}

static hf_status client_status(hf_store *self, hf_store_status *ret_status, hf_error *err)
{
    hf_msg_store_call question = {0};
    hf_msg_store_result answer;
    hf_status st =
        ask(hf_client_of(self), &question, HF_CALL_STATUS, HF_CLIENT_STEP_NS, &answer, err);
    if (!hf_failed(st)) {
        *ret_status = answer.status;
    }
    return st;
}

static hf_status client_mark(hf_store *self, hf_store_mark *ret_mark, hf_error *err)
{
    hf_store_client *client = hf_client_of(self);
    if (!client->has_mark) {
        return hf_fail(err, HF_UNAVAILABLE, "the store process has not answered yet");
    }
    *ret_mark = client->mark;
    return hf_ok();
}

static hf_status client_take_over(hf_store *self, const hf_watermark *low,
                                  const uint8_t lineage[HF_LINEAGE_BYTES], hf_error *err)
{
    hf_msg_store_call question = {.has_watermark = low != NULL};
    hf_msg_store_result answer;
    if (low != NULL) {
        question.watermark = *low;
    }
    memcpy(question.lineage, lineage, HF_LINEAGE_BYTES);
    hf_status st =
        ask(hf_client_of(self), &question, HF_CALL_TAKE_OVER, ADMIN_TIMEOUT_NS, &answer, err);
    if (!hf_failed(st)) {
        take_mark(hf_client_of(self), &answer.mark);
    }
    return st;
}

static hf_status client_anchor_get(hf_store *self, const uint8_t log_id[HF_ANCHOR_ID_BYTES],
                                   hf_store_anchor *ret_anchor, hf_error *err)
{
    hf_msg_store_call question = {0};
    hf_msg_store_result answer;
    memcpy(question.anchor.log_id, log_id, HF_ANCHOR_ID_BYTES);
    hf_status st =
        ask(hf_client_of(self), &question, HF_CALL_ANCHOR_GET, HF_CLIENT_STEP_NS, &answer, err);
    if (!hf_failed(st)) {
        *ret_anchor = answer.anchor;
    }
    return st;
}

static hf_status client_anchor_set(hf_store *self, const hf_store_anchor *anchor, hf_error *err)
{
    hf_msg_store_call question = {.anchor = *anchor};
    hf_msg_store_result answer;
    return ask(hf_client_of(self), &question, HF_CALL_ANCHOR_SET, HF_CLIENT_STEP_NS, &answer, err);
}

static void client_close(hf_store *self)
{
    hf_store_client *client = hf_client_of(self);
    take_new_channel(client);
    drop_channel(client);
    (void)pthread_mutex_destroy(&client->lock);
    free(client);
}

static const hf_store_ops client_ops = {
    .decide = client_decide,
    .decide_begin = hf_client_decide_begin,
    .decide_wait = hf_client_decide_wait,
    .decide_end = hf_client_decide_end,
    .health = client_health,
    .look = client_look,
    .import_begin = client_import_begin,
    .import_add = client_import_add,
    .import_commit = client_import_commit,
    .import_abort = client_import_abort,
    .prune = client_prune,
    .raise_floors = client_raise_floors,
    .set_high = client_set_high,
    .status = client_status,
    .records = hf_client_records,
    .change_records = hf_client_change_records,
    .generation = hf_client_generation,
    .mark = client_mark,
    .take_over = client_take_over,
    .anchor_get = client_anchor_get,
    .anchor_set = client_anchor_set,
    .close = client_close,
};

/* ---- export ------------------------------------------------------------------------------- */

static hf_status ask_page(hf_store_client *client, const void *question, hf_msg_store_page *page,
                          hf_error *err)
{
    const void *frames[] = {question};
    uint64_t until_ns = hf_time_mono_ns() + HF_CLIENT_STEP_NS;
    hf_status st = hf_client_send_frames(client, frames, 1, err);
    if (!hf_failed(st)) {
        st = hf_client_wait_answer(client, client->last_id, HF_MSG_STORE_PAGE, until_ns, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    memcpy(page, client->answer, sizeof *page);
    if (page->count > HF_STORE_PAGE) {
        return hf_fail(err, HF_UNAVAILABLE, "the store process sent a page of %u records",
                       page->count);
    }
    return hf_client_status_of(page->code, page->detail, err);
}

hf_status hf_store_client_export(hf_store_client *client, const uint8_t *pubkey,
                                 hf_export_visitor visitor, void *context, hf_error *err)
{
    hf_msg_store_export question = {.has_pubkey = pubkey != NULL};
    hf_msg_plain next;
    hf_msg_store_page page = {0};
    if (pubkey != NULL) {
        memcpy(question.pubkey, pubkey, sizeof question.pubkey);
    }
    hf_status st = hf_client_begin(client, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_frame_init(&question, HF_MSG_STORE_EXPORT, client->last_id);
    st = ask_page(client, &question, &page, err);
    while (!hf_failed(st)) {
        for (uint32_t i = 0; i < page.count && !hf_failed(st); i++) {
            st = visitor(context, &page.messages[i]);
        }
        if (hf_failed(st) || page.done != 0) {
            return st;
        }
        hf_frame_init(&next, HF_MSG_STORE_NEXT, ++client->last_id);
        st = ask_page(client, &next, &page, err);
    }
    return st;
}

/* ---- life --------------------------------------------------------------------------------- */

hf_store_client *hf_store_client_new(hf_store_lane lane, uint32_t timeout_ms)
{
    hf_store_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        return NULL;
    }
    client->base.ops = &client_ops;
    client->timeout_ns = timeout_ms * HF_NS_PER_MS;
    client->fd = -1;
    client->new_fd = -1;
    client->last_id = (uint64_t)lane << 56; /* a number is a question's on one lane alone */
    (void)pthread_mutex_init(&client->lock, NULL);
    return client;
}

hf_store *hf_store_client_store(hf_store_client *client)
{
    return &client->base;
}

void hf_store_client_attach(hf_store_client *client, int take_fd)
{
    (void)pthread_mutex_lock(&client->lock);
    if (client->new_fd >= 0) {
        (void)close(client->new_fd);
    }
    client->new_fd = take_fd;
    client->state.attached++;
    client->state.protection_count = 0;
    (void)pthread_mutex_unlock(&client->lock);
}

void hf_store_client_limit(hf_store_client *client, uint64_t limit_ns)
{
    client->limit_ns = limit_ns;
}

void hf_store_client_look(hf_store_client *client, hf_store_client_state *ret_state)
{
    (void)pthread_mutex_lock(&client->lock);
    *ret_state = client->state;
    (void)pthread_mutex_unlock(&client->lock);
}
