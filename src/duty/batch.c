/* What a batch of items becomes: sent on a lane, its answers read, each item moved on. */
#include "duty/duty_internal.h"

#define POLL_FIRST_NS (5 * HF_NS_PER_MS) /* first question after the first look, then doubling */

static int item_order(const void *a, const void *b)
{
    const item *x = *(item *const *)a, *y = *(item *const *)b;
    if (x->fingerprint != y->fingerprint) {
        return x->fingerprint < y->fingerprint ? -1 : 1;
    }
    return x->duty.slot < y->duty.slot ? -1 : x->duty.slot > y->duty.slot;
}

bool lane_start(hf_duty_engine *engine, lane *ln, item_list *queue)
{
    ln->batch_len = 0;
    bool solo = queue->first->solo;
    while (queue->first != NULL && ln->batch_len < (solo ? 1 : BATCH_MAX) &&
           (ln->batch_len == 0 || !queue->first->solo)) {
        item *it = list_pop(queue);
        it->place = PLACE_LANE;
        it->sent = true;
        it->woken = false;
        ln->batch[ln->batch_len++] = it;
    }
    /* One order on all nodes: batches that share duties wait for each other, never in a ring. */
    qsort(ln->batch, ln->batch_len, sizeof(*ln->batch), item_order);
    ln->sent_ns = hf_time_mono_ns();
    ln->results_len = 0;
    ln->warned = false;
    if (!statements_send(ln, engine->config.node_id)) {
        lane_down(engine, ln);
        return false;
    }
    int flushed = PQflush(ln->conn);
    if (flushed < 0) {
        lane_down(engine, ln);
        return false;
    }
    ln->unsent = flushed > 0;
    COUNT(engine, round_trips);
    return true;
}

static void clear_results(lane *ln)
{
    for (int i = 0; i < ln->results_len; i++) {
        PQclear(ln->results[i]);
    }
    ln->results_len = 0;
    PQclear(ln->failure);
    ln->failure = NULL;
}

/* ---- answers -------------------------------------------------------------------------------- */

enum { R_ORDINAL, R_STATUS, R_MINE, R_HASH, R_SIGNATURE, R_NODE, R_TOKEN, R_BELOW };

/* One row of the read statement. */
typedef struct found_row {
    bool there, mine, is_signed, below;
    bool hash_known, same_hash, has_signature;
    uint8_t hash[HF_DUTY_HASH_BYTES];
    uint8_t signature[HF_DUTY_SIGNATURE_BYTES];
    const char *node;
    const char *token;
} found_row;

static bool is_true(const PGresult *r, int row, int column)
{
    return !PQgetisnull(r, row, column) && PQgetvalue(r, row, column)[0] == 't';
}

static found_row row_read(const PGresult *r, int row, const item *it)
{
    found_row found = {.there = !PQgetisnull(r, row, R_STATUS),
                       .mine = is_true(r, row, R_MINE),
                       .below = is_true(r, row, R_BELOW),
                       .node = PQgetvalue(r, row, R_NODE),
                       .token = PQgetvalue(r, row, R_TOKEN)};
    found.is_signed = found.there && strcmp(PQgetvalue(r, row, R_STATUS), "signed") == 0;
    found.hash_known =
        !PQgetisnull(r, row, R_HASH) &&
        !hf_failed(hf_hex_decode(PQgetvalue(r, row, R_HASH), (size_t)PQgetlength(r, row, R_HASH),
                                 found.hash, sizeof(found.hash)));
    found.same_hash = found.hash_known && hf_bytes_equal(found.hash, it->hash, sizeof(it->hash));
    found.has_signature = !hf_failed(
        hf_aztec_signature_parse(PQgetvalue(r, row, R_SIGNATURE),
                                 (size_t)PQgetlength(r, row, R_SIGNATURE), found.signature));
    return found;
}

static void answer_conflict(hf_duty_engine *engine, item *it, const found_row *found)
{
    hf_duty_answer answer = {.result = HF_DUTY_CONFLICT};
    memcpy(answer.existing_hash, found->hash, sizeof(found->hash));
    hf_str_cut(answer.node_id, sizeof(answer.node_id), found->node);
    char theirs[HF_AZTEC_HASH_TEXT_LEN];
    hf_aztec_hash_format(found->hash, theirs);
    (void)snprintf(
        answer.message, sizeof(answer.message),
        "slashing protection: %s at slot %llu %s by node %.80s with other data: %.10s...,"
        " asked for %.10s...",
        hf_duty_type_name(it->duty.type), (unsigned long long)it->duty.slot,
        found->is_signed ? "was signed" : "is being signed", answer.node_id, theirs, it->hash_text);
    COUNT(engine, conflicts);
    engine_finish(engine, it, &answer);
}

static void answer_stored(hf_duty_engine *engine, item *it, const found_row *found)
{
    hf_duty_answer answer = {.result = HF_DUTY_STORED};
    if (!found->has_signature) {
        engine_fail(engine, it, HF_DUTY_CORRUPT,
                    "the duty is recorded as signed with something that is no signature");
        return;
    }
    memcpy(answer.signature, found->signature, sizeof(found->signature));
    hf_str_cut(answer.node_id, sizeof(answer.node_id), found->node);
    COUNT(engine, stored);
    engine_finish(engine, it, &answer);
}

/* Our own node id under a token that this process did not make: two processes with one name. */
static void look_for_twin(hf_duty_engine *engine, const found_row *found)
{
    bool ours =
        strncmp(found->token, TOKEN_PREFIX, TOKEN_MODE_AT) == 0 &&
        strlen(found->token) > TOKEN_MODE_AT + 1 &&
        strncmp(found->token + TOKEN_MODE_AT + 1, engine->instance, strlen(engine->instance)) == 0;
    if (!ours && strcmp(found->node, engine->config.node_id) == 0) {
        COUNT(engine, twin_nodes);
    }
}

/* Tokens go back into an array as they are; whatever else somebody wrote is not taken over. */
static bool is_plain_token(const char *token)
{
    size_t len = strspn(token, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_");
    return len > 0 && len <= HF_DUTY_TOKEN_LEN && token[len] == '\0';
}

/* Another is signing the same message: wait for it, or take over when it has been silent. */
static void acquire_wait(hf_duty_engine *engine, item *it, const found_row *found)
{
    uint64_t now = hf_time_mono_ns();
    if (strcmp(it->seen_token, found->token) != 0) {
        hf_str_cut(it->seen_token, sizeof(it->seen_token), found->token);
        hf_str_cut(it->seen_node, sizeof(it->seen_node), found->node);
        it->seen_ns = now;
        it->polls = 0;
        look_for_twin(engine, found);
    }
    uint64_t most = engine->config.polling_interval_ms * HF_NS_PER_MS;
    uint64_t pause = POLL_FIRST_NS << (it->polls < 10 ? it->polls : 10);
    it->due_ns = now + (pause < most ? pause : most);
    it->polls++;
    it->takeover = false;
    uint64_t takeover_ns = it->seen_ns + engine->config.takeover_after_ms * HF_NS_PER_MS;
    if (is_plain_token(it->seen_token)) {
        if (now >= takeover_ns) {
            it->takeover = true;
            it->token[TOKEN_MODE_AT] = TOKEN_TAKEN;
            it->due_ns = now;
        } else if (takeover_ns < it->due_ns) {
            it->due_ns = takeover_ns;
        }
    }
    if (it->woken) {
        it->due_ns = now;
    }
    engine_wait(engine, it);
}

static void acquire_granted(hf_duty_engine *engine, item *it)
{
    if (it->done == NULL) {
        engine_release_later(engine, it); /* too late: nobody knows that the lock is held */
        return;
    }
    hf_duty_answer answer = {.result = HF_DUTY_OK};
    memcpy(answer.lock.token, it->token, sizeof(it->token));
    memcpy(answer.node_id, engine->config.node_id, sizeof(answer.node_id));
    COUNT(engine, acquired);
    if (it->takeover) {
        COUNT(engine, takeovers);
    }
    engine->granted++;
    engine->granted_ns = hf_time_mono_ns();
    engine_finish(engine, it, &answer);
}

/* Below the watermark nothing is granted; what this very batch inserted there goes again. */
static void acquire_expired(hf_duty_engine *engine, item *it, const found_row *found)
{
    hf_duty_answer answer = {
        .result = HF_DUTY_EXPIRED,
        .message =
            "the slot is at or below the watermark that a cleanup left: what was signed there"
            " is not known any more"};
    COUNT(engine, expired);
    if (!found->mine) {
        engine_finish(engine, it, &answer);
        return;
    }
    hf_duty_done_fn done = it->done;
    void *context = it->context;
    engine_release_later(engine, it);
    if (done != NULL) {
        done(context, &answer);
    }
}

static void acquire_answer(hf_duty_engine *engine, item *it, const found_row *found)
{
    if (found->below) {
        acquire_expired(engine, it, found);
    } else if (!found->there) {
        it->takeover = it->look = false;
        engine_queue(engine, it); /* released this moment */
    } else if (found->mine && !found->is_signed) {
        acquire_granted(engine, it);
    } else if (!found->hash_known) {
        engine_fail(engine, it, HF_DUTY_CORRUPT, "the duty's record holds no message hash");
    } else if (!found->same_hash) {
        answer_conflict(engine, it, found);
    } else if (found->is_signed) {
        answer_stored(engine, it, found);
    } else {
        acquire_wait(engine, it, found);
    }
}

static void complete_done(hf_duty_engine *engine, item *it)
{
    hf_duty_answer answer = {.result = HF_DUTY_OK};
    memcpy(answer.signature, it->signature, sizeof(it->signature));
    memcpy(answer.node_id, engine->config.node_id, sizeof(answer.node_id));
    COUNT(engine, signed_here);
    engine_finish(engine, it, &answer);
}

/* Nothing was updated: either an earlier try was, or the lock is lost. */
static void complete_resolve(hf_duty_engine *engine, item *it, const found_row *found)
{
    if (found->is_signed && found->mine && found->has_signature &&
        hf_bytes_equal(found->signature, it->signature, sizeof(it->signature))) {
        COUNT(engine, resolved);
        complete_done(engine, it);
    } else if (found->is_signed && found->same_hash) {
        COUNT(engine, lost_locks);
        answer_stored(engine, it, found);
    } else if (found->hash_known && !found->same_hash) {
        COUNT(engine, lost_locks);
        answer_conflict(engine, it, found);
    } else {
        COUNT(engine, lost_locks);
        engine_fail(engine, it, HF_DUTY_LOCK_LOST,
                    "the lock was gone when the signature was ready: it is withheld");
    }
}

static int ordinal_at(const PGresult *r, int row)
{
    uint64_t value = 0;
    hf_status st = hf_num_parse_u64(PQgetvalue(r, row, R_ORDINAL),
                                    (size_t)PQgetlength(r, row, R_ORDINAL), &value);
    return hf_failed(st) || value > BATCH_MAX ? 0 : (int)value;
}

/* For each item that was written, or looked for: the row of the statement that tells of it, or -1.
 */
static void rows_by_item(const lane *ln, int statement, bool look, int rows[BATCH_MAX + 1])
{
    size_t map[BATCH_MAX + 1], n = 0;
    for (size_t i = 0; i <= BATCH_MAX; i++) {
        rows[i] = -1;
        map[i] = BATCH_MAX;
    }
    if (statement < 0) {
        return;
    }
    for (size_t i = 0; i < ln->batch_len; i++) {
        if (ln->batch[i]->kind != ITEM_RELEASE && ln->batch[i]->look == look) {
            map[++n] = i;
        }
    }
    const PGresult *r = ln->results[statement];
    for (int row = 0; row < PQntuples(r); row++) {
        rows[map[ordinal_at(r, row)]] = row;
    }
}

/* Marks the items whose rows the insert made; it returns their tokens, in the batch's order. */
static void mark_inserted(const lane *ln, bool inserted[BATCH_MAX])
{
    const PGresult *r = ln->results[ln->write_at];
    size_t at = 0;
    for (int row = 0; row < PQntuples(r); row++) {
        const char *token = PQgetvalue(r, row, 0);
        for (size_t tries = 0; tries < ln->batch_len; tries++) {
            size_t index = (at + tries) % ln->batch_len;
            if (strcmp(ln->batch[index]->token, token) == 0) {
                inserted[index] = true;
                at = index + 1;
                break;
            }
        }
    }
}

/* What was inserted is ours, unless it lies below the watermark; what was not is looked at next. */
static void settle_acquires(hf_duty_engine *engine, lane *ln)
{
    bool inserted[BATCH_MAX] = {false};
    int below[BATCH_MAX + 1], looked[BATCH_MAX + 1];
    if (ln->write_at >= 0) {
        mark_inserted(ln, inserted);
    }
    rows_by_item(ln, ln->write_at < 0 ? -1 : ln->write_at + 1, false, below);
    rows_by_item(ln, ln->read_at, true, looked);
    for (size_t i = 0; i < ln->batch_len; i++) {
        item *it = ln->batch[i];
        if (inserted[i]) {
            found_row found = {.there = true, .mine = true, .below = below[i] >= 0};
            acquire_answer(engine, it, &found);
        } else if (!it->look) {
            it->look = true;
            engine_queue(engine, it);
        } else if (looked[i] >= 0) {
            found_row found = row_read(ln->results[ln->read_at], looked[i], it);
            acquire_answer(engine, it, &found);
        } else {
            engine_fail(engine, it, HF_DUTY_INTERNAL, "the database answered without this duty");
        }
    }
}

/* Releases are done; completions are, when they updated a row; else they are looked into. */
static void settle_one(hf_duty_engine *engine, item *it, bool updated)
{
    uint64_t fingerprint = it->fingerprint;
    if (it->kind == ITEM_RELEASE) {
        hf_duty_answer answer = {.result = HF_DUTY_OK};
        COUNT(engine, released);
        engine_finish(engine, it, &answer);
    } else if (updated) {
        complete_done(engine, it);
    } else {
        it->look = true;
        engine_queue(engine, it);
        return;
    }
    engine_wake_duty(engine, fingerprint);
}

static void settle_completions(hf_duty_engine *engine, lane *ln)
{
    int updated[BATCH_MAX + 1], looked[BATCH_MAX + 1];
    rows_by_item(ln, ln->write_at, false, updated);
    rows_by_item(ln, ln->read_at, true, looked);
    for (size_t i = 0; i < ln->batch_len; i++) {
        item *it = ln->batch[i];
        if (looked[i] >= 0) {
            found_row found = row_read(ln->results[ln->read_at], looked[i], it);
            complete_resolve(engine, it, &found);
        } else {
            settle_one(engine, it, updated[i] >= 0);
        }
    }
}

/* ---- failures -------------------------------------------------------------------------------- */

/* Everything of the batch goes back to its queue; nothing of it counts as answered. */
static void requeue(hf_duty_engine *engine, lane *ln, bool solo)
{
    for (size_t i = 0; i < ln->batch_len; i++) {
        item *it = ln->batch[i];
        it->solo = it->solo || solo;
        if (it->kind == ITEM_ACQUIRE && it->done == NULL) {
            engine_release_later(engine, it);
        } else {
            engine_queue(engine, it);
        }
    }
    ln->batch_len = 0;
}

void lane_down(hf_duty_engine *engine, lane *ln)
{
    clear_results(ln);
    PQfinish(ln->conn);
    ln->conn = NULL;
    ln->unsent = false;
    requeue(engine, ln, false);
    COUNT(engine, reconnects);
    pthread_mutex_lock(&engine->mutex);
    if (!ln->spare) {
        ln->wanted = true;
        engine->ready = false;
        pthread_cond_signal(&engine->attend);
    }
    pthread_mutex_unlock(&engine->mutex);
}

static void batch_failed(hf_duty_engine *engine, lane *ln)
{
    const char *state = PQresultErrorField(ln->failure, PG_DIAG_SQLSTATE);
    /* Rings and locks: again, each alone, so that one blocked duty holds up no other. */
    bool again = state != NULL && (strncmp(state, "40", 2) == 0 || strcmp(state, "55P03") == 0 ||
                                   strcmp(state, "57014") == 0);
    hf_duty_result result = sqlstate_result(state);
    if (!again && (result == HF_DUTY_UNAVAILABLE || result == HF_DUTY_SCHEMA)) {
        lane_down(engine, ln); /* shut down, read-only, tables changed: look at it anew */
        return;
    }
    if (again || ln->batch_len > 1) {
        requeue(engine, ln, true);
        clear_results(ln);
        return;
    }
    char message[HF_DUTY_MESSAGE_LEN];
    char text[HF_DUTY_MESSAGE_LEN - 40];
    hf_str_sanitize(text, sizeof(text), PQresultErrorField(ln->failure, PG_DIAG_MESSAGE_PRIMARY));
    (void)snprintf(message, sizeof(message), "the database refused: %s (%s)", text,
                   state != NULL ? state : "no code");
    clear_results(ln);
    item *it = ln->batch[0];
    ln->batch_len = 0;
    engine_fail(engine, it, result, message);
}

void lane_notice(void *arg, const PGresult *notice)
{
    lane *ln = arg;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    ln->warned = ln->warned || (severity != NULL && strcmp(severity, "WARNING") == 0);
}

/* The synchronisation point is reached: the transaction is committed, or has failed. */
static void batch_ends(hf_duty_engine *engine, lane *ln)
{
    if (ln->failure != NULL) {
        batch_failed(engine, ln);
        return;
    }
    if (ln->results_len != ln->statements || ln->warned) {
        lane_down(engine, ln);
        return;
    }
    if (ln->kind == LANE_ACQUIRE) {
        settle_acquires(engine, ln);
    } else {
        settle_completions(engine, ln);
    }
    clear_results(ln);
    ln->batch_len = 0;
    ln->idle_since_ns = hf_time_mono_ns();
    engine->trip_ns = (engine->trip_ns * 7 + (ln->idle_since_ns - ln->sent_ns)) / 8;
}

static void take_result(hf_duty_engine *engine, lane *ln, PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_PIPELINE_SYNC:
        PQclear(result);
        batch_ends(engine, ln);
        return;
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
        if (ln->results_len < STATEMENTS_MAX) {
            ln->results[ln->results_len++] = result;
            return;
        }
        break;
    case PGRES_FATAL_ERROR:
        if (ln->failure == NULL) {
            ln->failure = result;
            return;
        }
        break;
    case PGRES_EMPTY_QUERY:
    case PGRES_COPY_OUT:
    case PGRES_COPY_IN:
    case PGRES_BAD_RESPONSE:
    case PGRES_NONFATAL_ERROR:
    case PGRES_COPY_BOTH:
    case PGRES_SINGLE_TUPLE:
    case PGRES_PIPELINE_ABORTED:
        break;
    }
    PQclear(result);
}

static void take_notifications(hf_duty_engine *engine, lane *ln)
{
    PGnotify *note;
    while ((note = PQnotifies(ln->conn)) != NULL) {
        bool own = false;
        for (size_t i = 0; i < engine->lanes_len; i++) {
            const lane *other = &engine->lanes[i];
            own = own || (other->conn != NULL && PQbackendPID(other->conn) == note->be_pid);
        }
        if (!own) {
            COUNT(engine, notifications);
            const char *p = note->extra;
            while (strlen(p) > FINGERPRINT_TEXT_LEN) {
                uint8_t big[8];
                if (hf_failed(hf_hex_decode(p, FINGERPRINT_TEXT_LEN, big, sizeof(big)))) {
                    break;
                }
                uint64_t fingerprint = 0;
                for (size_t i = 0; i < sizeof(big); i++) {
                    fingerprint = fingerprint << 8 | big[i];
                }
                engine_wake_duty(engine, fingerprint);
                p += FINGERPRINT_TEXT_LEN + 1;
            }
        }
        PQfreemem(note);
    }
}

void lane_readable(hf_duty_engine *engine, lane *ln)
{
    if (PQconsumeInput(ln->conn) != 1) {
        lane_down(engine, ln);
        return;
    }
    if (ln->kind == LANE_LISTEN) {
        take_notifications(engine, ln);
        return;
    }
    int empty = 0;
    while (ln->conn != NULL && ln->batch_len > 0 && PQisBusy(ln->conn) == 0) {
        PGresult *result = PQgetResult(ln->conn);
        if (result == NULL) {
            /* The end of a statement's results; more than one in a row is the end of all. */
            if (++empty > 1) {
                break;
            }
            continue;
        }
        empty = 0;
        take_result(engine, ln, result);
    }
    if (ln->conn != NULL && PQstatus(ln->conn) == CONNECTION_BAD) {
        lane_down(engine, ln);
    }
}
