/*
 * decide: each validator's messages by its state, one conditional write a validator, all validators
 * side by side.
 *
 * A verdict is given out only about a state that the table confirmed in this call: by taking a
 * write whose condition is its version, or by a consistent read. A write that is not confirmed (a
 * condition that fails, an answer that does not come) is followed by reading and deciding anew, so
 * that what a lost answer did write is found as a record: a repeat.
 */
#include "protect/dynamodb_internal.h"

/* One validator of the call. Messages are numbered from 1; 0 is none. */
typedef struct work {
    hf_dynamo_validator *validator;
    uint32_t first; /* the first message without verdict */
    uint32_t last;
    uint32_t after_plan; /* the first message that this round does not decide */
    hf_dynamo_state next;
    hf_dynamo_query query;
    bool has_history;
    size_t history_count; /* confirmed records in it: a plan adds to them for itself */
    bool wants_history;
    bool fresh;         /* the state was read in this call */
    bool confirmed;     /* the round's plan holds */
    uint32_t added;     /* records of this round */
    uint32_t counts[2]; /* the same by kind */
    hf_call *call;      /* the write under way */
} work;

/* What goes out beside the writes. */
enum { BESIDE_META = 0, BESIDE_RECORDS, BESIDE_MARK, BESIDE_COUNT };

typedef struct decision {
    hf_dynamo *store;
    const hf_message *messages;
    hf_verdict *verdicts;
    uint32_t *next_of; /* by message: the next of the same validator */
    work *works;
    size_t work_count;
    hf_call *calls;
    size_t call_count;
    hf_call *beside; /* the last of the calls */
    bool meta_fresh; /* the descriptions were read in this round */
    unsigned idle_rounds;
    uint64_t deadline_ns;
} decision;

/* ---- setting up --------------------------------------------------------------------------- */

static hf_status group(decision *all, size_t n, hf_error *err)
{
    for (size_t i = 0; i < n; i++) {
        hf_dynamo_validator *validator =
            hf_dynamo_validator_get(all->store, all->messages[i].pubkey);
        if (validator == NULL) {
            return hf_fail(err, HF_NOMEM, "slashing protection: out of memory");
        }
        if (validator->work == 0) {
            all->works[all->work_count] = (work){.validator = validator, .first = (uint32_t)i + 1};
            all->works[all->work_count].query.validator = validator;
            hf_dynamo_state_init(&all->works[all->work_count].next);
            validator->work = (uint32_t)++all->work_count;
        } else {
            all->next_of[all->works[validator->work - 1].last - 1] = (uint32_t)i + 1;
        }
        all->works[validator->work - 1].last = (uint32_t)i + 1;
    }
    return hf_ok();
}

static void forget_history(work *job)
{
    hf_dynamo_query_done(&job->query);
    job->query.ended = false;
    job->has_history = false;
}

static void decision_done(decision *all)
{
    for (size_t i = 0; i < all->work_count; i++) {
        all->works[i].validator->work = 0;
        hf_dynamo_state_done(&all->works[i].next);
        hf_dynamo_query_done(&all->works[i].query);
    }
    free(all->works);
    free(all->next_of);
    free(all->calls);
}

/* ---- planning ----------------------------------------------------------------------------- */

static hf_status plan_one(decision *all, work *job, uint32_t number, hf_error *err)
{
    const hf_message *message = &all->messages[number - 1];
    hf_dynamo_lookup look = {.state = &job->next,
                             .history = job->has_history ? &job->query.records : NULL};
    hf_history history = {job->next.bounds, !job->next.irregular, &hf_dynamo_history, &look};
    hf_dynamo_raise_to_base(all->store, &history.bounds);
    hf_verdict verdict;
    hf_status st = hf_rules_decide(message, &all->store->high, &history, &verdict, err);
    if (hf_failed(st)) {
        job->wants_history = look.wants_history;
        return st;
    }
    if (verdict == HF_VERDICT_ALLOW) {
        st = hf_dynamo_state_add(&job->next, message, job->validator->now.version + 1);
        if (!hf_failed(st) && job->has_history) {
            st = hf_records_add(&job->query.records, message);
        }
        job->added += hf_failed(st) ? 0 : 1;
        job->counts[message->kind] += hf_failed(st) ? 0 : 1;
    }
    if (!hf_failed(st)) {
        all->verdicts[number - 1] = verdict;
    }
    return st;
}

/* Decides as many messages as one write can record, each seeing the ones before it. */
static hf_status plan(decision *all, work *job, hf_error *err)
{
    hf_status st = hf_dynamo_state_copy(&job->next, &job->validator->now);
    job->added = 0;
    job->counts[HF_MESSAGE_BLOCK] = 0;
    job->counts[HF_MESSAGE_ATTESTATION] = 0;
    job->confirmed = false;
    job->wants_history = false;
    job->after_plan = job->first;
    /* What a plan added that was not carried out is on no record. */
    job->query.records.count = job->has_history ? job->history_count : 0;
    hf_dynamo_state_trim(&job->next);
    while (!hf_failed(st) && job->after_plan != 0 && job->added < HF_DYNAMO_ROUND_MAX) {
        st = plan_one(all, job, job->after_plan, err);
        if (!hf_failed(st)) {
            job->after_plan = all->next_of[job->after_plan - 1];
        }
    }
    job->next.version = job->validator->now.version + 1;
    if (job->wants_history) {
        return hf_ok();
    }
    /* A log that is full ends the round early: it is flushed after this round's write. */
    return st.code == HF_LIMIT
               ? hf_ok()
               : (st.code == HF_NOMEM ? hf_fail(err, HF_NOMEM, "out of memory") : st);
}

static hf_status load_states(decision *all, hf_error *err)
{
    size_t n = 0;
    hf_dynamo_validator **stale = calloc(all->work_count, sizeof(hf_dynamo_validator *));
    if (stale == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < all->work_count; i++) {
        work *job = &all->works[i];
        if (job->first != 0 && !job->validator->loaded) {
            stale[n++] = job->validator;
            job->fresh = true;
            forget_history(job);
        }
    }
    hf_status st = hf_dynamo_load(all->store, stale, n, all->deadline_ns, err);
    all->meta_fresh = n > 0;
    free(stale);
    return st;
}

static hf_status read_histories(decision *all, size_t n, hf_error *err)
{
    size_t count = 0;
    hf_dynamo_query *queries = calloc(n, sizeof *queries);
    if (queries == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < all->work_count; i++) {
        if (all->works[i].wants_history) {
            forget_history(&all->works[i]);
            queries[count++] = all->works[i].query;
        }
    }
    HF_ASSERT(count == n);
    hf_status st = hf_dynamo_read_histories(all->store, queries, n, all->deadline_ns, err);
    count = 0;
    for (size_t i = 0; i < all->work_count; i++) {
        if (all->works[i].wants_history) {
            all->works[i].query = queries[count++];
            all->works[i].has_history = !hf_failed(st);
            all->works[i].history_count = all->works[i].query.records.count;
        }
    }
    free(queries);
    return st;
}

static hf_status plan_all(decision *all, hf_error *err)
{
    size_t wanting = 0;
    hf_status st = hf_ok();
    for (size_t i = 0; i < all->work_count && !hf_failed(st); i++) {
        if (all->works[i].first != 0) {
            st = plan(all, &all->works[i], err);
            wanting += all->works[i].wants_history;
        }
    }
    if (hf_failed(st) || wanting == 0) {
        return st;
    }
    st = read_histories(all, wanting, err);
    for (size_t i = 0; i < all->work_count && !hf_failed(st); i++) {
        if (all->works[i].first != 0 && all->works[i].wants_history) {
            st = plan(all, &all->works[i], err);
        }
    }
    return st;
}

/* ---- writing ------------------------------------------------------------------------------ */

/* Who is new is listed first, so that no state is ever missed by what goes through the list. */
static hf_status list_new(decision *all, hf_error *err)
{
    json_t *requests = json_array();
    bool ok = requests != NULL;
    for (size_t i = 0; i < all->work_count; i++) {
        const work *job = &all->works[i];
        if (job->first != 0 && job->added > 0 && job->validator->now.version == 0) {
            ok = json_array_append_new(requests, hf_dynamo_listing_put(job->validator)) == 0 && ok;
        }
    }
    if (!ok) {
        json_decref(requests);
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    return hf_dynamo_write_all(all->store, requests, all->deadline_ns, err);
}

/* The writes, what is read beside them, and the count of what is written: records that another
 * node was quicker with are counted as well, which does no harm. */
static hf_status prepare_calls(decision *all, hf_error *err)
{
    hf_dynamo *store = all->store;
    free(all->calls);
    all->call_count = 0;
    all->calls = calloc(all->work_count + BESIDE_COUNT, sizeof *all->calls);
    if (all->calls == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < all->work_count; i++) {
        work *job = &all->works[i];
        job->call = NULL;
        if (job->first != 0 && job->added > 0) {
            job->call = &all->calls[all->call_count++];
            job->call->operation = "PutItem";
            job->call->body = hf_dynamo_state_put(store, job->validator->pk, &job->next,
                                                  job->validator->now.version);
            store->owed[HF_MESSAGE_BLOCK] += job->counts[HF_MESSAGE_BLOCK];
            store->owed[HF_MESSAGE_ATTESTATION] += job->counts[HF_MESSAGE_ATTESTATION];
        }
    }
    all->beside = &all->calls[all->call_count];
    all->beside[BESIDE_META] = (hf_call){.operation = "GetItem", .body = hf_dynamo_meta_get(store)};
    all->beside[BESIDE_RECORDS] =
        (hf_call){.operation = "GetItem", .body = hf_dynamo_records_get(store)};
    all->beside[BESIDE_MARK] =
        (hf_call){.operation = "UpdateItem", .body = hf_dynamo_count_body(store)};
    all->call_count += BESIDE_COUNT;
    return hf_ok();
}

static hf_status take_write(work *job, hf_error *err)
{
    hf_dynamo_validator *validator = job->validator;
    hf_status st = hf_ok();
    switch (job->call->outcome) {
    case HF_OUTCOME_DONE:
        st = hf_dynamo_state_copy(&validator->now, &job->next);
        validator->loaded = !hf_failed(st);
        validator->durable = job->next.bounds;
        validator->seen = true;
        job->confirmed = !hf_failed(st);
        job->history_count = job->query.records.count;
        break;
    case HF_OUTCOME_CONDITION: /* another node was quicker */
    case HF_OUTCOME_UNKNOWN:
        validator->loaded = false;
        break;
    case HF_OUTCOME_BUSY:
        break;
    case HF_OUTCOME_NO_TABLE:
    case HF_OUTCOME_REFUSED:
        st = hf_dynamo_call_status(job->call, err);
        break;
    }
    return st;
}

/* Takes in what one of the calls beside the writes brought; *ret_fresh: it did. */
static hf_status take_beside(decision *all, int which, bool *ret_fresh, hf_error *err)
{
    hf_dynamo *store = all->store;
    const hf_call *call = &all->beside[which];
    *ret_fresh = call->outcome == HF_OUTCOME_DONE;
    if (*ret_fresh && which == BESIDE_META) {
        return hf_dynamo_take_meta(store, json_object_get(call->answer, "Item"), err);
    }
    if (*ret_fresh && which == BESIDE_RECORDS) {
        return hf_dynamo_take_records(store, json_object_get(call->answer, "Item"), err);
    }
    if (*ret_fresh) {
        store->owed[HF_MESSAGE_BLOCK] = 0;
        store->owed[HF_MESSAGE_ATTESTATION] = 0;
        return hf_dynamo_take_mark(store, json_object_get(call->answer, "Attributes"), err);
    }
    if (call->outcome == HF_OUTCOME_CONDITION) { /* the mark is gone */
        return hf_dynamo_take_mark(store, NULL, err);
    }
    store->ready = store->ready && call->outcome != HF_OUTCOME_NO_TABLE;
    hf_status st = hf_dynamo_call_status(call, err);
    bool passing = call->outcome == HF_OUTCOME_BUSY || call->outcome == HF_OUTCOME_UNKNOWN;
    return passing ? hf_ok() : st;
}

static hf_status take_all_beside(decision *all, hf_error *err)
{
    hf_status st = hf_ok();
    all->meta_fresh = true;
    for (int which = 0; which < BESIDE_COUNT; which++) {
        bool fresh = false;
        hf_error own = {0};
        hf_status taken = take_beside(all, which, &fresh, &own);
        all->meta_fresh = all->meta_fresh && fresh;
        if (own.msg[0] != '\0' && !hf_failed(st)) {
            (void)hf_fail(err, own.code, "%s", own.msg).code;
            st = taken;
        }
    }
    return st;
}

static hf_status write_all(decision *all, hf_error *err)
{
    hf_status st = list_new(all, err);
    if (!hf_failed(st)) {
        st = prepare_calls(all, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    hf_dynamo_run(all->store, all->calls, all->call_count, all->deadline_ns);
    st = take_all_beside(all, err);
    for (size_t i = 0; i < all->work_count; i++) {
        work *job = &all->works[i];
        if (job->call != NULL) {
            hf_error own = {0};
            hf_status written = take_write(job, &own);
            if (hf_failed(written) && !hf_failed(st)) {
                st = hf_fail(err, written.code, "%s", own.msg);
            } else if (!job->confirmed && !hf_failed(st)) {
                /* Said only if the time runs out. */
                (void)hf_dynamo_call_status(job->call, err).code;
            }
        }
    }
    hf_dynamo_calls_done(all->calls, all->call_count);
    return st;
}

/* ---- flushing ----------------------------------------------------------------------------- */

static bool add_pending(json_t *requests, const hf_dynamo_validator *validator)
{
    const hf_dynamo_state *state = &validator->now;
    for (uint32_t i = 0; i < state->log_count; i++) {
        if (state->log[i].version > state->flushed) {
            json_t *item = hf_dynamo_record_item(validator->pk, &state->log[i].message);
            if (item == NULL || json_array_append_new(requests, json_pack("{s:{s:o}}", "PutRequest",
                                                                          "Item", item)) != 0) {
                return false;
            }
        }
    }
    return true;
}

static bool needs_flush(const work *job)
{
    return job->validator->loaded &&
           hf_dynamo_state_pending(&job->validator->now) >= HF_DYNAMO_FLUSH_AT;
}

/*
 * Makes items of long logs. Only after the write of the round: who has just confirmed a state does
 * not bring back records that another node has pruned. All of the flushes succeed or all are made
 * again next time; the verdicts do not depend on it.
 */
static void flush_logs(decision *all)
{
    json_t *requests = json_array();
    hf_error ignored = {0};
    bool ok = requests != NULL;
    for (size_t i = 0; i < all->work_count && ok; i++) {
        ok = !needs_flush(&all->works[i]) || add_pending(requests, all->works[i].validator);
    }
    if (!ok || json_array_size(requests) == 0) {
        json_decref(requests);
        return;
    }
    if (hf_failed(hf_dynamo_write_all(all->store, requests, all->deadline_ns, &ignored))) {
        return;
    }
    for (size_t i = 0; i < all->work_count; i++) {
        hf_dynamo_validator *validator = all->works[i].validator;
        if (needs_flush(&all->works[i])) {
            validator->now.flushed = validator->now.version;
        }
    }
}

/* ---- rounds ------------------------------------------------------------------------------- */

static bool is_above(const hf_message *message, const hf_watermark *high)
{
    return message->kind == HF_MESSAGE_BLOCK ? high->has_slot && message->slot >= high->slot
                                             : high->has_epochs && message->target >= high->target;
}

/* Gives the round's verdicts out, if the high watermark is still what they were decided by. */
static void settle(decision *all, work *job)
{
    const hf_watermark *high = &all->store->high;
    while (job->first != job->after_plan) {
        hf_verdict *verdict = &all->verdicts[job->first - 1];
        const hf_message *message = &all->messages[job->first - 1];
        bool above = is_above(message, high);
        if (*verdict == HF_VERDICT_ABOVE_HIGH_WATERMARK && !above) {
            return;
        }
        /* In the order of rules.c: only a vote against itself is refused before. */
        if (above && *verdict != HF_VERDICT_SOURCE_AFTER_TARGET) {
            *verdict = HF_VERDICT_ABOVE_HIGH_WATERMARK;
        }
        if (hf_verdict_allows(*verdict) &&
            hf_dynamo_is_below_base(all->store, message, *verdict == HF_VERDICT_REPEAT)) {
            *verdict = HF_VERDICT_BELOW_WATERMARK; /* risen since it was planned */
        }
        job->first = all->next_of[job->first - 1];
        all->idle_rounds = 0;
    }
}

/* Whether anything has to be written, or only what was read has to be believed. */
static bool needs_writing(decision *all)
{
    bool needs = all->store->owed[HF_MESSAGE_BLOCK] + all->store->owed[HF_MESSAGE_ATTESTATION] > 0;
    for (size_t i = 0; i < all->work_count; i++) {
        work *job = &all->works[i];
        if (job->first == 0) {
            continue;
        }
        if (job->added > 0 || job->after_plan == job->first) {
            needs = true;
        } else if (job->fresh) {
            job->confirmed = true;
        } else {
            job->validator->loaded = false; /* read first */
        }
    }
    return needs;
}

static hf_status one_round(decision *all, hf_error *err)
{
    hf_status st = load_states(all, err);
    if (!hf_failed(st)) {
        st = plan_all(all, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    if (needs_writing(all)) {
        st = write_all(all, err);
    }
    for (size_t i = 0; i < all->work_count && !hf_failed(st) && all->meta_fresh; i++) {
        if (all->works[i].first != 0 && all->works[i].confirmed) {
            settle(all, &all->works[i]);
        }
    }
    if (!hf_failed(st)) {
        flush_logs(all);
    }
    return st;
}

static bool is_open(const decision *all)
{
    for (size_t i = 0; i < all->work_count; i++) {
        if (all->works[i].first != 0) {
            return true;
        }
    }
    return false;
}

static hf_status decide_all(decision *all, hf_error *err)
{
    hf_status st = hf_dynamo_prepare(all->store, all->deadline_ns, err);
    while (!hf_failed(st) && is_open(all)) {
        all->idle_rounds++;
        st = one_round(all, err);
        /* The second round without any verdict in a row: others are at it, or the service is busy.
         */
        bool idle = !hf_failed(st) && is_open(all) && all->idle_rounds > 2;
        bool late = !hf_failed(st) && is_open(all) && hf_time_mono_ns() >= all->deadline_ns;
        if (late || (idle && !hf_dynamo_pause(all->idle_rounds - 3, all->deadline_ns))) {
            st = err != NULL && err->msg[0] != '\0'
                     ? (hf_status){HF_UNAVAILABLE}
                     : hf_fail(err, HF_UNAVAILABLE, "DynamoDB table %.80s: not decided in time",
                               all->store->config.table);
        }
    }
    return st;
}

hf_status hf_dynamo_decide(hf_store *self, const hf_message *messages, size_t n,
                           hf_verdict *ret_verdicts, hf_error *err)
{
    hf_dynamo *store = (hf_dynamo *)self;
    hf_error own = {0};
    decision all = {.store = store,
                    .messages = messages,
                    .verdicts = ret_verdicts,
                    .deadline_ns = hf_dynamo_deadline(store)};
    hf_status st = hf_ok();
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        st = hf_rules_check(&messages[i], &own);
    }
    if (hf_failed(st) || n == 0) {
        goto out;
    }
    all.works = calloc(n, sizeof *all.works);
    all.next_of = calloc(n, sizeof *all.next_of);
    st = all.works != NULL && all.next_of != NULL && n < UINT32_MAX
             ? group(&all, n, &own)
             : hf_fail(&own, HF_NOMEM, "slashing protection: out of memory");
    if (!hf_failed(st)) {
        st = decide_all(&all, &own);
    }
out:
    decision_done(&all);
    if (hf_failed(st)) {
        /* Nothing here may be taken for a permission. */
        for (size_t i = 0; i < n; i++) {
            ret_verdicts[i] = HF_VERDICT_COUNT;
        }
        return hf_fail(err, st.code, "%s", own.msg);
    }
    return st;
}
