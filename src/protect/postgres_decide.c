/*
 * decide: a batch of messages, one transaction, one round trip.
 *
 * BEGIN, the locks, the statements that decide and record, and COMMIT go out together. The locks
 * are Web3Signer's, pg_advisory_xact_lock(kind, validator), taken in rising order, so that no two
 * nodes wait for each other; the statements behind them have snapshots of their own (READ
 * COMMITTED), so that they see all that was recorded before the locks were free.
 *
 * One statement decides any number of messages that do not concern each other. Messages of one
 * validator and kind do: the second one goes into a statement of its own, behind the first.
 */
#include "protect/postgres_internal.h"

#define RETRY_PAUSE_NS (20 * HF_NS_PER_MS)
/* How long, after a lock was waited for in vain, locks are tried instead of waited for. */
#define CAREFUL_NS (2 * HF_NS_PER_SECOND)

/* ---- who they are ------------------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b)
{
    const uint8_t *left = a;
    const uint8_t *right = b;
    for (size_t i = 0; i < HF_BLS_PUBKEY_BYTES; i++) {
        if (left[i] != right[i]) {
            return left[i] < right[i] ? -1 : 1;
        }
    }
    return 0;
}

hf_status hf_pg_find_entries(hf_pg_store *store, const hf_message *messages, size_t n,
                             hf_error *err)
{
    if (n > store->items_capacity) {
        hf_pg_item *items = realloc(store->items, n * sizeof *items);
        if (items == NULL) {
            return hf_fail(err, HF_NOMEM, "out of memory");
        }
        store->items = items;
        store->items_capacity = n;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t entry = 0;
        hf_status st = hf_pg_cache_get(&store->cache, messages[i].pubkey, &entry, err);
        if (hf_failed(st)) {
            return st;
        }
        store->items[i] =
            (hf_pg_item){.kind = messages[i].kind, .index = (uint32_t)i, .entry = entry};
    }
    return hf_ok();
}

/* CORRUPT when the database holds less of a validator than it once said was recorded. */
static hf_status take_validator(hf_pg_store *store, const PGresult *found, int row, hf_error *err)
{
    hf_bytes pubkey = hf_pg_bytes(found, row, 1);
    uint32_t index = 0;
    if (pubkey.len != HF_BLS_PUBKEY_BYTES) {
        return hf_fail(err, HF_CORRUPT, "PostgreSQL: a validator without public key");
    }
    hf_status st = hf_pg_cache_get(&store->cache, pubkey.ptr, &index, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_pg_validator *entry = &store->cache.entries[index];
    for (int kind = HF_MESSAGE_BLOCK; kind <= HF_MESSAGE_ATTESTATION; kind++) {
        int64_t newest = hf_pg_i64(found, row, 4 + kind, HF_NONE);
        if (newest < entry->durable[kind]) {
            return hf_fail(err, HF_CORRUPT,
                           "PostgreSQL: the database has lost what was recorded there (an old"
                           " backup, or a standby that lagged): restore it, or raise the floors"
                           " above what was signed and restart");
        }
        entry->durable[kind] = newest;
        entry->has_floor[kind] = hf_pg_bool(found, row, 2 + kind);
    }
    entry->id = hf_pg_i32(found, row, 0, 0);
    return hf_ok();
}

/* A round trip of its own, for validators that were not met yet on this connection. */
static hf_status register_unknown(hf_pg_store *store, uint8_t (*pubkeys)[HF_BLS_PUBKEY_BYTES],
                                  size_t count, hf_error *err)
{
    hf_pg_params params = {0};
    hf_buf *array = store->arrays[0];
    qsort(pubkeys, count, sizeof *pubkeys, by_bytes);
    hf_status st = hf_pg_array_begin(array, HF_PG_BYTEA, count);
    for (size_t i = 0; i < count && !hf_failed(st); i++) {
        st = hf_pg_array_bytes(array, pubkeys[i], HF_BLS_PUBKEY_BYTES);
    }
    if (hf_failed(st)) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_pg_param_buf(&params, array);
    st = hf_pg_send(&store->link, "enter", &params, err);
    if (!hf_failed(st)) {
        st = hf_pg_send(&store->link, "find", &params, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_trip(&store->link, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    const PGresult *found = hf_pg_result(&store->link, 1);
    if ((size_t)hf_pg_rows(found) != count) {
        return hf_fail(err, HF_UNAVAILABLE, "PostgreSQL: validators were not registered");
    }
    for (int row = 0; row < hf_pg_rows(found) && !hf_failed(st); row++) {
        st = take_validator(store, found, row, err);
    }
    return st;
}

static hf_status ensure_known(hf_pg_store *store, const hf_message *messages, size_t n,
                              hf_error *err)
{
    size_t count = 0;
    hf_status st = hf_ok();
    for (size_t i = 0; i < n; i++) {
        count += store->cache.entries[store->items[i].entry].id == 0;
    }
    if (count == 0) {
        return st;
    }
    uint8_t(*unknown)[HF_BLS_PUBKEY_BYTES] = calloc(count, sizeof *unknown);
    if (unknown == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    count = 0;
    for (size_t i = 0; i < n; i++) {
        hf_pg_validator *entry = &store->cache.entries[store->items[i].entry];
        if (entry->id == 0) {
            entry->id = -1; /* named once, however many messages it has */
            memcpy(unknown[count++], messages[i].pubkey, HF_BLS_PUBKEY_BYTES);
        }
    }
    st = register_unknown(store, unknown, count, err);
    if (hf_failed(st)) {
        hf_pg_cache_expire(&store->cache);
    }
    free(unknown);
    return st;
}

/* ---- in which order ----------------------------------------------------------------------- */

static int by_statement(const void *a, const void *b)
{
    const hf_pg_item *left = a;
    const hf_pg_item *right = b;
    if (left->wave != right->wave) {
        return left->wave < right->wave ? -1 : 1;
    }
    if (left->kind != right->kind) {
        return left->kind < right->kind ? -1 : 1;
    }
    return left->id < right->id ? -1 : left->id > right->id;
}

static void plan(hf_pg_store *store, size_t n)
{
    store->batch++;
    for (size_t i = 0; i < n; i++) {
        hf_pg_item *item = &store->items[i];
        hf_pg_validator *entry = &store->cache.entries[item->entry];
        if (entry->batch != store->batch) {
            entry->batch = store->batch;
            entry->in_batch[HF_MESSAGE_BLOCK] = 0;
            entry->in_batch[HF_MESSAGE_ATTESTATION] = 0;
        }
        item->id = entry->id;
        item->wave = entry->in_batch[item->kind]++;
    }
    qsort(store->items, n, sizeof *store->items, by_statement);
}

/* ---- locks -------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return *left < *right ? -1 : *left > *right;
}

/*
 * Each message's lock, as kind and validator in one number. The first message of a kind sets a
 * floor, which shares a row with the other kind's: it takes both locks, so that two batches never
 * wait for each other's rows.
 */
static size_t list_locks(const hf_pg_store *store, size_t n, uint64_t *locks)
{
    size_t count = 0;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        const hf_pg_item *item = &store->items[i];
        locks[count++] = (uint64_t)item->kind << 32 | (uint32_t)item->id;
        if (!store->cache.entries[item->entry].has_floor[item->kind]) {
            locks[count++] = (uint64_t)(item->kind ^ 1U) << 32 | (uint32_t)item->id;
        }
    }
    qsort(locks, count, sizeof *locks, by_number);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || locks[kept - 1] != locks[i]) {
            locks[kept++] = locks[i];
        }
    }
    return kept;
}

static hf_status send_locks(hf_pg_store *store, size_t n, bool careful, hf_error *err)
{
    hf_pg_params gate = {0};
    hf_pg_params params = {0};
    uint8_t storage[8];
    uint64_t *locks = calloc(2 * n, sizeof *locks);
    if (locks == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    size_t count = list_locks(store, n, locks);
    hf_status st = hf_pg_array_begin(store->arrays[0], HF_PG_INT4, count);
    if (!hf_failed(st)) {
        st = hf_pg_array_begin(store->arrays[1], HF_PG_INT4, count);
    }
    for (size_t i = 0; i < count && !hf_failed(st); i++) {
        st = hf_pg_array_i32(store->arrays[0], (int32_t)(locks[i] >> 32));
        if (!hf_failed(st)) {
            st = hf_pg_array_i32(store->arrays[1], (int32_t)(uint32_t)locks[i]);
        }
    }
    free(locks);
    if (hf_failed(st)) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_pg_param_i64(&gate, storage, HF_PG_LOCK_HISTORY);
    hf_pg_param_buf(&params, store->arrays[0]);
    hf_pg_param_buf(&params, store->arrays[1]);
    st = hf_pg_send(&store->link, "gate", &gate, err);
    return hf_failed(st) ? st
                         : hf_pg_send(&store->link, careful ? "try_lock" : "lock", &params, err);
}

/* Did the statement of the locks get this one? Its rows are in rising order. */
static bool has_lock(const PGresult *locks, uint32_t kind, int32_t id)
{
    uint64_t wanted = (uint64_t)kind << 32 | (uint32_t)id;
    int low = 0;
    int high = hf_pg_rows(locks);
    while (low < high) {
        int middle = low + (high - low) / 2;
        uint64_t found = (uint64_t)(uint32_t)hf_pg_i32(locks, middle, 0, 0) << 32 |
                         (uint32_t)hf_pg_i32(locks, middle, 1, 0);
        if (found == wanted) {
            return hf_pg_bool(locks, middle, 2);
        }
        if (found < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

/* Leaves out the messages whose locks others hold; returns how many remain. */
static size_t keep_locked(hf_pg_store *store, const PGresult *locks, size_t n,
                          hf_verdict *ret_verdicts)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        const hf_pg_item item = store->items[i];
        bool alone = store->cache.entries[item.entry].has_floor[item.kind];
        if (has_lock(locks, item.kind, item.id) &&
            (alone || has_lock(locks, item.kind ^ 1U, item.id))) {
            store->items[kept++] = item;
        } else {
            ret_verdicts[item.index] = HF_VERDICT_UNDECIDED;
        }
    }
    return kept;
}

/* ---- statements --------------------------------------------------------------------------- */

static size_t end_of_statement(const hf_pg_store *store, size_t first, size_t n)
{
    size_t end = first;
    while (end < n && store->items[end].wave == store->items[first].wave &&
           store->items[end].kind == store->items[first].kind) {
        end++;
    }
    return end;
}

static hf_status put_item(hf_pg_store *store, const hf_pg_item *item, const hf_message *message)
{
    bool is_block = message->kind == HF_MESSAGE_BLOCK;
    hf_status st = hf_pg_array_i32(store->arrays[0], (int32_t)item->index);
    if (!hf_failed(st)) {
        st = hf_pg_array_i32(store->arrays[1], item->id);
    }
    if (!hf_failed(st)) {
        st = hf_pg_array_bytes(store->arrays[2], message->pubkey, HF_BLS_PUBKEY_BYTES);
    }
    if (!hf_failed(st)) {
        st = hf_pg_array_i64(store->arrays[3],
                             (int64_t)(is_block ? message->slot : message->target));
    }
    if (!hf_failed(st)) {
        st = hf_pg_array_bytes(store->arrays[4], message->signing_root, HF_ROOT_BYTES);
    }
    return hf_failed(st) || is_block ? st
                                     : hf_pg_array_i64(store->arrays[5], (int64_t)message->source);
}

/* items[first .. end - 1]: one kind, and no validator twice. */
static hf_status send_statement(hf_pg_store *store, const hf_message *messages, size_t first,
                                size_t end, hf_error *err)
{
    static const hf_pg_type types[] = {HF_PG_INT4, HF_PG_INT4,  HF_PG_BYTEA,
                                       HF_PG_INT8, HF_PG_BYTEA, HF_PG_INT8};
    bool is_block = store->items[first].kind == HF_MESSAGE_BLOCK;
    hf_pg_params params = {0};
    uint8_t clock[8];
    hf_status st = hf_ok();
    for (size_t i = 0; i < HF_ARRAY_LEN(types) && !hf_failed(st); i++) {
        st = hf_pg_array_begin(store->arrays[i], types[i], end - first);
    }
    for (size_t i = first; i < end && !hf_failed(st); i++) {
        st = put_item(store, &store->items[i], &messages[store->items[i].index]);
    }
    if (hf_failed(st)) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < 5; i++) {
        hf_pg_param_buf(&params, store->arrays[i]);
    }
    hf_pg_param(&params, store->config.genesis_validators_root, HF_ROOT_BYTES);
    if (!is_block) {
        hf_pg_param_buf(&params, store->arrays[5]);
    }
    if (store->has_marks) {
        int64_t now_ms = hf_time_unix_ms();
        hf_pg_param_i64(&params, clock, now_ms > 0 ? now_ms / 1000 : 0);
    }
    return hf_pg_send(&store->link, is_block ? "blocks" : "votes", &params, err);
}

static hf_status send_begin(hf_pg_store *store, size_t n, bool careful, hf_error *err)
{
    hf_status st = hf_pg_send(&store->link, "begin", NULL, err);
    return hf_failed(st) ? st : send_locks(store, n, careful, err);
}

static hf_status send_statements(hf_pg_store *store, const hf_message *messages, size_t n,
                                 hf_error *err)
{
    hf_status st = hf_ok();
    for (size_t i = 0; i < n && !hf_failed(st); i = end_of_statement(store, i, n)) {
        st = send_statement(store, messages, i, end_of_statement(store, i, n), err);
    }
    if (!hf_failed(st) && store->has_records) {
        st = hf_pg_send(&store->link, HF_PG_PRESENT, NULL, err);
    }
    return hf_failed(st) ? st : hf_pg_send(&store->link, "commit", NULL, err);
}

hf_status hf_pg_send_batch(hf_pg_store *store, const hf_message *messages, size_t n, hf_error *err)
{
    plan(store, n);
    hf_status st = send_begin(store, n, false, err);
    return hf_failed(st) ? st : send_statements(store, messages, n, err);
}

/* ---- verdicts ----------------------------------------------------------------------------- */

static hf_status refuse_answer(hf_pg_store *store, const char *what, hf_error *err)
{
    hf_pg_disconnect(&store->link);
    store->link.may_retry = true;
    return hf_fail(err, HF_UNAVAILABLE, "PostgreSQL: %s", what);
}

/* The verdicts of one statement, whose messages are items[first .. end - 1]. */
static hf_status take_verdicts(hf_pg_store *store, const PGresult *result, size_t first, size_t end,
                               hf_verdict *ret_verdicts, hf_error *err)
{
    int64_t recorded = hf_pg_i64(result, 0, 3, HF_NONE);
    if ((size_t)hf_pg_rows(result) != end - first) {
        return refuse_answer(store, "the database is not what it was", err);
    }
    for (int row = 0; row < hf_pg_rows(result); row++) {
        const hf_pg_item *item = &store->items[first + (size_t)row];
        int32_t verdict = hf_pg_i32(result, row, 1, HF_PG_VERDICT_UNKNOWN);
        if (verdict == HF_PG_VERDICT_UNKNOWN) {
            return refuse_answer(store, "a validator is not who it was", err);
        }
        if (hf_pg_i32(result, row, 0, -1) != (int32_t)item->index || verdict < 0 ||
            verdict >= (int32_t)HF_VERDICT_COUNT) {
            return refuse_answer(store, "an answer that makes no sense", err);
        }
        recorded -= verdict == (int32_t)HF_VERDICT_ALLOW;
        ret_verdicts[item->index] = (hf_verdict)verdict;
    }
    return recorded == 0 ? hf_ok() : refuse_answer(store, "it did not record what it said", err);
}

/* Remembers what is durable from now on. */
static void settle(hf_pg_store *store, const hf_message *messages, const hf_verdict *verdicts,
                   size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const hf_pg_item *item = &store->items[i];
        const hf_message *message = &messages[item->index];
        hf_pg_validator *entry = &store->cache.entries[item->entry];
        if (hf_verdict_allows(verdicts[item->index])) {
            int64_t newest =
                (int64_t)(item->kind == HF_MESSAGE_BLOCK ? message->slot : message->target);
            entry->has_floor[item->kind] = true;
            if (newest > entry->durable[item->kind]) {
                entry->durable[item->kind] = newest;
            }
        }
    }
    store->decided += n;
}

/* Reads the verdicts of items[0 .. n - 1]; statement is the first that decides. */
static hf_status take_batch(hf_pg_store *store, const hf_message *messages, size_t n,
                            size_t statement, hf_verdict *ret_verdicts, hf_error *err)
{
    hf_status st = hf_ok();
    for (size_t i = 0; i < n && !hf_failed(st); i = end_of_statement(store, i, n)) {
        st = take_verdicts(store, hf_pg_result(&store->link, statement++), i,
                           end_of_statement(store, i, n), ret_verdicts, err);
    }
    if (!hf_failed(st) && store->has_records) {
        st = hf_pg_take_present(store, hf_pg_result(&store->link, statement), err);
    }
    if (!hf_failed(st)) {
        settle(store, messages, ret_verdicts, n);
        store->has_looked = true;
    }
    return st;
}

hf_status hf_pg_take_batch(hf_pg_store *store, const hf_message *messages, size_t n,
                           hf_verdict *ret_verdicts, hf_error *err)
{
    /* BEGIN and the two statements of the locks come first. */
    return take_batch(store, messages, n, 3, ret_verdicts, err);
}

/* One validator's lock that somebody keeps must not hold up the others: two round trips. */
static hf_status run_carefully(hf_pg_store *store, const hf_message *messages, size_t n,
                               hf_verdict *ret_verdicts, hf_error *err)
{
    hf_status st = send_begin(store, n, true, err);
    if (!hf_failed(st)) {
        st = hf_pg_trip(&store->link, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    size_t kept = keep_locked(store, hf_pg_result(&store->link, 2), n, ret_verdicts);
    st = send_statements(store, messages, kept, err);
    if (!hf_failed(st)) {
        st = hf_pg_trip(&store->link, err);
    }
    return hf_failed(st) ? st : take_batch(store, messages, kept, 0, ret_verdicts, err);
}

static hf_status attempt(hf_pg_store *store, const hf_message *messages, size_t n,
                         hf_verdict *ret_verdicts, hf_error *err)
{
    hf_status st = hf_pg_ensure(store, err);
    if (!hf_failed(st)) {
        st = hf_pg_find_entries(store, messages, n, err);
    }
    if (!hf_failed(st)) {
        st = ensure_known(store, messages, n, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    if (hf_time_mono_ns() < store->careful_until_ns) {
        plan(store, n);
        return run_carefully(store, messages, n, ret_verdicts, err);
    }
    st = hf_pg_send_batch(store, messages, n, err);
    if (!hf_failed(st)) {
        st = hf_pg_trip(&store->link, err);
    }
    return hf_failed(st) ? st : hf_pg_take_batch(store, messages, n, ret_verdicts, err);
}

bool hf_pg_may_try_again(hf_pg_store *store)
{
    uint64_t now = hf_time_mono_ns();
    bool again = store->link.may_retry;
    if (store->link.lock_held && now >= store->careful_until_ns) {
        store->careful_until_ns = now + CAREFUL_NS;
        again = true;
    }
    if (!again || now + RETRY_PAUSE_NS >= store->link.deadline_ns) {
        return false;
    }
    hf_time_sleep_ns(RETRY_PAUSE_NS);
    return true;
}

/*
 * A connection that broke, maybe between COMMIT and its answer, is made anew and the same batch
 * decided again: what was recorded is a REPEAT then. Only one that could not be made is reported
 * at once, so that a database that is down costs nobody a deadline.
 */
hf_status hf_pg_decide_until(hf_pg_store *store, const hf_message *messages, size_t n, bool was_up,
                             hf_verdict *ret_verdicts, hf_error *err)
{
    for (;;) {
        uint64_t trips = store->link.trips;
        hf_status st = attempt(store, messages, n, ret_verdicts, err);
        was_up = was_up || store->link.trips > trips;
        if (!hf_failed(st) || !was_up || !hf_pg_may_try_again(store)) {
            return st;
        }
    }
}

hf_status hf_pg_decide(hf_store *self, const hf_message *messages, size_t n,
                       hf_verdict *ret_verdicts, hf_error *err)
{
    hf_pg_store *store = (hf_pg_store *)self;
    hf_status st = hf_ok();
    HF_ASSERT(store->flight_count == 0);
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        st = hf_rules_check(&messages[i], err);
    }
    if (!hf_failed(st) && n > 0) {
        hf_pg_set_deadline(store);
        st = hf_pg_decide_until(store, messages, n, store->link.conn != NULL, ret_verdicts, err);
    }
    if (hf_failed(st)) {
        /* Nothing here may be taken for a permission. */
        for (size_t i = 0; i < n; i++) {
            ret_verdicts[i] = HF_VERDICT_COUNT;
        }
    }
    return st;
}
