/* The wire between keeper and store process, with SQLite at its far end: every operation, late and
 * missing answers, a process that dies, and both ends hostile. */
#include "support.h"

#include "keeper/store_client.h"
#include "store/store.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_MS 300
#define BATCH 1000

typedef struct rig {
    test_store far; /* the store behind the wire */
    hf_store_client *client;
    hf_store *store;
    pthread_t thread;
    int pair[2];
    hf_store_exporter exporter;
    bool is_export;
} rig;

static hf_status run_export(void *context, const uint8_t (*only)[HF_BLS_PUBKEY_BYTES], size_t count,
                            hf_export_visitor visitor, void *visitor_context, hf_error *err)
{
    test_store *far = context;
    return hf_store_export_sqlite(&far->config, only, count, visitor, visitor_context, err);
}

static void *far_end(void *context)
{
    rig *r = context;
    if (r->is_export) {
        hf_store_serve_exports(r->pair[0], &r->exporter);
    } else {
        hf_store_serve(r->pair[0], r->far.store);
    }
    return NULL;
}

/* serves false: the test itself is the far end, at pair[0]. */
static void connect_ends(rig *r, bool serves)
{
    assert_false(hf_failed(hf_channel_pair(true, r->pair)));
    if (serves) {
        int flags = fcntl(r->pair[0], F_GETFL);
        assert_int_equal(fcntl(r->pair[0], F_SETFL, flags & ~O_NONBLOCK), 0);
        assert_int_equal(pthread_create(&r->thread, NULL, far_end, r), 0);
    }
    hf_store_client_attach(r->client, r->pair[1]);
}

static void open_rig(rig *r, hf_store_lane lane)
{
    memset(r, 0, sizeof *r);
    test_store_init(&r->far);
    r->far.config.create = true;
    test_store_open(&r->far);
    r->is_export = lane == HF_LANE_EXPORT;
    r->exporter = (hf_store_exporter){run_export, &r->far};
    r->client = hf_store_client_new(lane, TIMEOUT_MS);
    assert_non_null(r->client);
    r->store = hf_store_client_store(r->client);
}

static void close_rig(rig *r, bool served)
{
    r->store->ops->close(r->store);
    if (served) {
        assert_int_equal(pthread_join(r->thread, NULL), 0);
    }
    (void)close(r->pair[0]);
    test_store_done(&r->far);
}

static void every_operation_crosses(void **state)
{
    (void)state;
    static hf_message messages[BATCH];
    static hf_verdict verdicts[BATCH];
    static rig r;
    hf_import_report report;
    hf_prune_report pruned;
    hf_store_status status;
    hf_error err = {0};
    open_rig(&r, HF_LANE_SIGNING);
    connect_ends(&r, true);
    const hf_store_ops *ops = r.store->ops;
    for (uint32_t i = 0; i < BATCH; i++) {
        messages[i] = test_vote(1, i, i + 1, i % 10 == 9 ? 1 : 2 + i);
    }
    messages[BATCH - 1] = test_vote(1, 0, 1, 77); /* contradicts the first */
    assert_code(ops->health(r.store, &err), HF_OK);
    assert_code(ops->decide(r.store, messages, BATCH, verdicts, &err), HF_OK);
    for (size_t i = 0; i + 1 < BATCH; i++) {
        assert_int_equal(verdicts[i], HF_VERDICT_ALLOW);
    }
    assert_false(hf_verdict_allows(verdicts[BATCH - 1]));
    assert_code(ops->decide(r.store, messages, BATCH - 1, verdicts, &err), HF_OK);
    assert_int_equal(verdicts[0], HF_VERDICT_REPEAT);
    assert_int_equal(verdicts[BATCH - 2], HF_VERDICT_REPEAT);
    assert_code(ops->status(r.store, &status, &err), HF_OK);
    assert_int_equal(status.attestations, BATCH - 1);
    /* An import, whole or not at all. */
    const hf_message block = test_block(2, 50, 5);
    assert_code(ops->import_begin(r.store, &err), HF_OK);
    assert_code(ops->import_begin(r.store, &err), HF_CONFLICT);
    assert_code(ops->import_add(r.store, &block, 1, &err), HF_OK);
    assert_code(ops->import_commit(r.store, &report, &err), HF_OK);
    assert_int_equal(report.blocks, 1);
    assert_code(ops->import_begin(r.store, &err), HF_OK);
    ops->import_abort(r.store);
    assert_code(ops->import_begin(r.store, &err), HF_OK);
    ops->import_abort(r.store);
    assert_code(ops->prune(r.store, 10, 32, &pruned, &err), HF_OK);
    assert_true(pruned.rows_deleted > 0 || pruned.more);
    const hf_watermark high = {.has_slot = 1, .slot = 60, .has_epochs = 1, .target = 5000};
    assert_code(ops->set_high(r.store, &high, &err), HF_OK);
    const hf_message above = test_block(2, 60, 6);
    assert_code(ops->decide(r.store, &above, 1, verdicts, &err), HF_OK);
    assert_int_equal(verdicts[0], HF_VERDICT_ABOVE_HIGH_WATERMARK);
    assert_code(ops->set_high(r.store, NULL, &err), HF_OK);
    const hf_watermark low = {.has_slot = 1, .slot = 70};
    assert_code(ops->raise_floors(r.store, &low, &err), HF_OK);
    assert_code(ops->decide(r.store, &above, 1, verdicts, &err), HF_OK);
    assert_int_equal(verdicts[0], HF_VERDICT_BELOW_WATERMARK);
    close_rig(&r, true);
}

/* ---- records ------------------------------------------------------------------------------ */

#define LARGE 59000
#define RECORDS 40 /* more than one page, of the large ones */

typedef struct seen {
    size_t count;
    uint8_t next;
} seen;

static hf_status see_record(void *context, const hf_record *record)
{
    seen *s = context;
    assert_int_equal(record->id[0], s->next++);
    assert_int_equal(record->version, 1);
    assert_int_equal(record->len, record->id[0] % 2 == 0 ? LARGE : 0);
    for (uint32_t i = 0; i < record->len; i++) {
        assert_int_equal(record->data[i], record->id[0]);
    }
    s->count++;
    return hf_ok();
}

static void records_cross_in_pages(void **state)
{
    (void)state;
    static rig r;
    static uint8_t data[RECORDS][LARGE];
    static hf_record_change changes[RECORDS];
    hf_error err = {0};
    seen s = {0};
    uint64_t generation = 0;
    open_rig(&r, HF_LANE_ADMIN);
    connect_ends(&r, true);
    const hf_store_ops *ops = r.store->ops;
    assert_code(ops->records(r.store, HF_RECORD_KEY, see_record, &s, &generation, &err), HF_OK);
    assert_int_equal(s.count, 0);
    for (uint8_t i = 0; i < RECORDS; i++) {
        memset(data[i], i, LARGE);
        changes[i].record = (hf_record){
            .kind = HF_RECORD_KEY, .id = {i}, .len = i % 2 == 0 ? LARGE : 0, .data = data[i]};
    }
    assert_code(ops->change_records(r.store, changes, RECORDS, &err), HF_OK);
    assert_int_equal(ops->generation(r.store), generation + 1);
    assert_code(ops->change_records(r.store, changes, RECORDS, &err), HF_CONFLICT);
    assert_code(ops->change_records(r.store, changes, 0, &err), HF_INVALID_INPUT);
    assert_code(ops->records(r.store, HF_RECORD_KEY, see_record, &s, &generation, &err), HF_OK);
    assert_int_equal(s.count, RECORDS);
    s = (seen){0};
    assert_code(ops->records(r.store, HF_RECORD_TOKEN, see_record, &s, &generation, &err), HF_OK);
    assert_int_equal(s.count, 0);
    /* Whoever decides hears of it. */
    hf_verdict verdict;
    const hf_message vote = test_vote(1, 1, 2, 1);
    hf_record_change removal = {
        .record = {.kind = HF_RECORD_KEY, .id = {3}}, .expected = 1, .is_removal = true};
    assert_code(r.far.store->ops->change_records(r.far.store, &removal, 1, &err), HF_OK);
    assert_int_equal(ops->generation(r.store), generation);
    assert_code(ops->decide(r.store, &vote, 1, &verdict, &err), HF_OK);
    assert_int_equal(ops->generation(r.store), generation + 1);
    close_rig(&r, true);
}

/* The page says more than it holds, or what no change is. */
/* A far end with a full socket before it is waited for: the client itself gives up at once. */
static void await_an_answer(hf_store *store)
{
    hf_error err = {0};
    hf_store_status status;
    hf_status st = {HF_UNAVAILABLE};
    for (int i = 0; i < 1000 && st.code == HF_UNAVAILABLE; i++) {
        st = store->ops->status(store, &status, &err);
        hf_time_sleep_ns(HF_NS_PER_MS);
    }
    assert_code(st, HF_OK);
}

static void hostile_pages_are_no_questions(void **state)
{
    (void)state;
    static rig r;
    static hf_msg_store_records page;
    hf_record_change change = {.record = {.kind = HF_RECORD_KEY, .id = {1}, .len = 0}};
    open_rig(&r, HF_LANE_ADMIN);
    connect_ends(&r, true);
    int fd = r.pair[1];
    for (int way = 0; way < 6; way++) {
        page = (hf_msg_store_records){.first = 1, .done = 1, .deadline_ns = UINT64_MAX};
        hf_frame_init(&page, HF_MSG_STORE_CHANGE, 1);
        assert_true(hf_records_pack(&page, &change));
        page.used = way == 0 ? sizeof page.bytes + 1 : page.used - (way == 1);
        page.count = way == 2 ? 2 : page.count;
        page.first = way == 3 ? 0 : 1;
        page.bytes[4] = way == 4 ? 1 : 0;                         /* len */
        page.bytes[64] = way == 5 ? 2 : 0;                        /* is_removal */
        while (hf_frame_send(fd, &page).code == HF_UNAVAILABLE) { /* few of them fit the socket */
            hf_time_sleep_ns(HF_NS_PER_MS);
        }
    }
    await_an_answer(r.store);
    hf_error err = {0};
    seen s = {0};
    uint64_t generation = 7;
    assert_code(
        r.far.store->ops->records(r.far.store, HF_RECORD_KEY, see_record, &s, &generation, &err),
        HF_OK);
    assert_int_equal(s.count + generation, 0);
    close_rig(&r, true);
}

static hf_status count_record(void *context, const hf_message *message)
{
    (void)message;
    size_t *count = context;
    *count += 1;
    return hf_ok();
}

static hf_status give_up(void *context, const hf_message *message)
{
    (void)context;
    (void)message;
    return (hf_status){HF_LIMIT};
}

static void exports_come_page_by_page(void **state)
{
    (void)state;
    static rig r;
    hf_error err = {0};
    size_t count = 0;
    open_rig(&r, HF_LANE_EXPORT);
    for (uint32_t i = 0; i < 300; i++) {
        (void)test_decide_vote(&r.far, 1, i, i + 1, 2 + i);
    }
    connect_ends(&r, true);
    assert_code(hf_store_client_export(r.client, NULL, count_record, &count, &err), HF_OK);
    assert_true(count >= 300);
    /* One that is given up leaves the lane usable. */
    assert_code(hf_store_client_export(r.client, NULL, give_up, NULL, &err), HF_LIMIT);
    size_t again = 0;
    assert_code(hf_store_client_export(r.client, NULL, count_record, &again, &err), HF_OK);
    assert_int_equal(again, count);
    const uint8_t nobody[HF_BLS_PUBKEY_BYTES] = {9};
    again = 0;
    assert_code(hf_store_client_export(r.client, nobody, count_record, &again, &err), HF_OK);
    assert_int_equal(again, 0);
    close_rig(&r, true);
}

static hf_status decide_one(rig *r, hf_verdict *verdict)
{
    const hf_message vote = test_vote(1, 1, 2, 3);
    hf_error err = {0};
    return r->store->ops->decide(r->store, &vote, 1, verdict, &err);
}

/* The far end, played by the test, is PostgreSQL's, and well. */
static void say_that_it_has_halves(rig *r)
{
    hf_error err = {0};
    hf_msg_store_hello hello = {.backend = HF_STORE_POSTGRES};
    hf_msg_store_result well = {.call = HF_CALL_HEALTH};
    hf_frame_init(&hello, HF_MSG_STORE_HELLO, 0);
    hf_frame_init(&well, HF_MSG_STORE_RESULT, 1); /* the client's first question */
    assert_code(hf_frame_send(r->pair[0], &hello), HF_OK);
    assert_code(hf_frame_send(r->pair[0], &well), HF_OK);
    assert_code(r->store->ops->health(r->store, &err), HF_OK);
}

static void answer_verdict(rig *r, uint64_t id, hf_verdict verdict)
{
    hf_msg_store_verdicts answer = {.count = 1, .verdicts = {(uint8_t)verdict}, .generation = id};
    hf_frame_init(&answer, HF_MSG_STORE_VERDICTS, id);
    assert_code(hf_frame_send(r->pair[0], &answer), HF_OK);
}

/* Several batches on their way at once: each answer is for its own, and a question between them
 * loses none. */
static void batches_in_the_air(void **state)
{
    (void)state;
    static rig r;
    static const hf_verdict said[] = {HF_VERDICT_ALLOW, HF_VERDICT_REPEAT, HF_VERDICT_DOUBLE_VOTE};
    hf_error err = {0};
    hf_verdict verdict = HF_VERDICT_COUNT;
    const hf_message vote = test_vote(1, 1, 2, 3);
    _Static_assert(HF_FLIGHTS_MAX == HF_ARRAY_LEN(said), "one verdict each");
    open_rig(&r, HF_LANE_SIGNING);
    const hf_store_ops *ops = r.store->ops;
    connect_ends(&r, false);
    assert_false(ops->decide_begin(r.store, &vote, 1)); /* of whom nothing is known */
    say_that_it_has_halves(&r);
    for (size_t i = 0; i <= HF_FLIGHTS_MAX; i++) {
        assert_int_equal(ops->decide_begin(r.store, &vote, 1), i < HF_FLIGHTS_MAX);
    }
    assert_false(ops->decide_wait(r.store, -1, hf_time_mono_ns() + HF_NS_PER_MS));
    for (size_t i = 0; i < HF_FLIGHTS_MAX; i++) {
        answer_verdict(&r, 2 + i, said[i]);
    }
    hf_msg_store_result well = {.call = HF_CALL_LOOK};
    hf_frame_init(&well, HF_MSG_STORE_RESULT, 2 + HF_FLIGHTS_MAX);
    assert_code(hf_frame_send(r.pair[0], &well), HF_OK);
    assert_code(ops->look(r.store, &err), HF_OK);
    for (size_t i = 0; i < HF_FLIGHTS_MAX; i++) {
        assert_true(ops->decide_wait(r.store, -1, UINT64_MAX));
        assert_code(ops->decide_end(r.store, &verdict, &err), HF_OK);
        assert_int_equal(verdict, said[i]);
        assert_int_equal(ops->generation(r.store), 2 + i);
    }
    hf_store_client_state told;
    hf_store_client_look(r.client, &told);
    assert_int_equal(told.late_answers, 0);
    close_rig(&r, false);
}

/* Those in the air when the store process dies are in doubt, all of them, and at once; what another
 * one says is not about them. One that is silent is waited for until the deadline. */
static void batches_lost_in_the_air(void **state)
{
    (void)state;
    static rig r;
    hf_error err = {0};
    const hf_message vote = test_vote(1, 1, 2, 3);
    open_rig(&r, HF_LANE_SIGNING);
    const hf_store_ops *ops = r.store->ops;
    connect_ends(&r, false);
    say_that_it_has_halves(&r);
    for (int way = 0; way < 2; way++) {
        hf_verdict verdict = HF_VERDICT_COUNT;
        uint64_t start = hf_time_mono_ns();
        assert_true(ops->decide_begin(r.store, &vote, 1));
        if (way == 1) {
            (void)close(r.pair[0]);
            connect_ends(&r, false);
        }
        assert_true(ops->decide_begin(r.store, &vote, 1));
        if (way == 1) {
            answer_verdict(&r, 4, HF_VERDICT_ALLOW); /* the first one's number */
            answer_verdict(&r, 5, HF_VERDICT_REPEAT);
        }
        assert_true(ops->decide_wait(r.store, -1, UINT64_MAX));
        assert_code(ops->decide_end(r.store, &verdict, &err), HF_UNAVAILABLE);
        assert_int_equal(verdict, HF_VERDICT_COUNT);
        assert_code(ops->decide_end(r.store, &verdict, &err), way == 1 ? HF_OK : HF_UNAVAILABLE);
        assert_int_equal(verdict, way == 1 ? HF_VERDICT_REPEAT : HF_VERDICT_COUNT);
        uint64_t took_ms = (hf_time_mono_ns() - start) / HF_NS_PER_MS;
        assert_true(way == 1 || (took_ms >= TIMEOUT_MS && took_ms < 5000));
    }
    close_rig(&r, false);
}

/* No wait without an end, and no answer but the one to the open question. */
static void a_silent_store_is_given_up(void **state)
{
    (void)state;
    static rig r;
    hf_verdict verdict = HF_VERDICT_COUNT;
    open_rig(&r, HF_LANE_SIGNING);
    assert_code(decide_one(&r, &verdict), HF_UNAVAILABLE); /* nobody is attached */
    connect_ends(&r, false);
    uint64_t start = hf_time_mono_ns();
    assert_code(decide_one(&r, &verdict), HF_UNAVAILABLE);
    uint64_t took_ms = (hf_time_mono_ns() - start) / HF_NS_PER_MS;
    assert_true(took_ms >= TIMEOUT_MS && took_ms < 5000);
    hf_store_client_limit(r.client, hf_time_mono_ns() + 20 * HF_NS_PER_MS);
    start = hf_time_mono_ns();
    assert_code(decide_one(&r, &verdict), HF_UNAVAILABLE);
    assert_true((hf_time_mono_ns() - start) / HF_NS_PER_MS < TIMEOUT_MS);
    /* Answers that allow both come late: dropped. Nor does one of another number count. */
    for (uint64_t id = 1; id <= 5; id++) {
        hf_msg_store_verdicts late = {.count = 1};
        hf_frame_init(&late, HF_MSG_STORE_VERDICTS, id == 4 ? UINT64_MAX : id == 5 ? 5 : id);
        if (id != 3) {
            assert_false(hf_failed(hf_frame_send(r.pair[0], &late)));
        }
    }
    assert_code(decide_one(&r, &verdict), HF_UNAVAILABLE);
    assert_int_equal(verdict, HF_VERDICT_COUNT);
    hf_store_client_state told;
    hf_store_client_look(r.client, &told);
    assert_int_equal(told.late_answers, 4);
    (void)close(r.pair[0]);
    start = hf_time_mono_ns();
    assert_code(decide_one(&r, &verdict), HF_UNAVAILABLE); /* it died: at once */
    assert_true((hf_time_mono_ns() - start) / HF_NS_PER_MS < TIMEOUT_MS);
    connect_ends(&r, true); /* and another takes its place */
    assert_code(decide_one(&r, &verdict), HF_OK);
    assert_int_equal(verdict, HF_VERDICT_ALLOW);
    close_rig(&r, true);
}

static void lies_of_the_store_allow_nothing(void **state)
{
    (void)state;
    static rig r;
    hf_verdict verdict = HF_VERDICT_COUNT;
    for (int lie = 0; lie < 5; lie++) {
        open_rig(&r, HF_LANE_SIGNING);
        connect_ends(&r, false);
        hf_msg_store_verdicts answer = {.count = 1};
        hf_msg_plain other;
        hf_frame_init(&answer, HF_MSG_STORE_VERDICTS, 1); /* the client's first question */
        hf_frame_init(&other, HF_MSG_STORE_NEXT, 1);      /* travels the other way only */
        answer.count = lie == 0 ? 2 : lie == 1 ? UINT32_MAX : 1;
        answer.verdicts[0] = lie == 2 ? HF_VERDICT_COUNT : 0;
        answer.code = lie == 3 ? 4711 : HF_OK;
        memset(answer.detail, lie == 3 ? '%' : 0, sizeof answer.detail);
        assert_false(hf_failed(lie == 4 ? hf_frame_send(r.pair[0], &other)
                                        : hf_frame_send(r.pair[0], &answer)));
        assert_true(hf_failed(decide_one(&r, &verdict)));
        assert_int_equal(verdict, HF_VERDICT_COUNT);
        close_rig(&r, false);
    }
}

/* Frames that no keeper sends: passed over, and the next honest question is answered. */
static void hostile_questions_are_passed_over(void **state)
{
    (void)state;
    static rig r;
    static hf_msg_store_messages page;
    hf_verdict verdict = HF_VERDICT_COUNT;
    uint64_t soon = hf_time_mono_ns() + 60 * HF_NS_PER_SECOND;
    open_rig(&r, HF_LANE_SIGNING);
    connect_ends(&r, true);
    const uint32_t wrong[][4] = {/* call, total, first, count */
                                 {HF_CALL_DECIDE, 0, 0, 0},           {HF_CALL_DECIDE, 1, 0, 65},
                                 {HF_CALL_DECIDE, 2000, 0, 64},       {HF_CALL_DECIDE, 64, 64, 1},
                                 {HF_CALL_DECIDE, 64, UINT32_MAX, 1}, {HF_CALL_STATUS, 1, 0, 1},
                                 {HF_CALL_DECIDE, 128, 64, 64},       {UINT32_MAX, 1, 0, 1}};
    for (size_t i = 0; i < HF_ARRAY_LEN(wrong); i++) {
        memset(&page, 0, sizeof page);
        hf_frame_init(&page, HF_MSG_STORE_MESSAGES, 1000 + i);
        page.deadline_ns = soon;
        page.call = wrong[i][0];
        page.total = wrong[i][1];
        page.first = wrong[i][2];
        page.count = wrong[i][3];
        page.messages[0] = test_vote(1, 1, 2, 99);
        assert_false(hf_failed(hf_frame_send(r.pair[1], &page)));
    }
    hf_msg_store_call call = {.deadline_ns = soon, .call = UINT32_MAX};
    hf_frame_init(&call, HF_MSG_STORE_CALL, 2000);
    assert_false(hf_failed(hf_frame_send(r.pair[1], &call)));
    /* One whose time is over is not decided. */
    memset(&page, 0, sizeof page);
    hf_frame_init(&page, HF_MSG_STORE_MESSAGES, 3000);
    page.deadline_ns = hf_time_mono_ns() - 1;
    page.total = 1;
    page.count = 1;
    page.messages[0] = test_vote(1, 1, 2, 99);
    assert_false(hf_failed(hf_frame_send(r.pair[1], &page)));
    assert_code(decide_one(&r, &verdict), HF_OK);
    assert_int_equal(verdict, HF_VERDICT_ALLOW); /* none of the others is on record */
    close_rig(&r, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_cross_in_pages),
        cmocka_unit_test(hostile_pages_are_no_questions),
        cmocka_unit_test(every_operation_crosses),
        cmocka_unit_test(exports_come_page_by_page),
        cmocka_unit_test(batches_in_the_air),
        cmocka_unit_test(batches_lost_in_the_air),
        cmocka_unit_test(a_silent_store_is_given_up),
        cmocka_unit_test(lies_of_the_store_allow_nothing),
        cmocka_unit_test(hostile_questions_are_passed_over),
    };
    hf_log_init("test", HF_LOG_TEXT, HF_LOG_BROKEN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
