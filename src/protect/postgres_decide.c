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

/* What the statements say of a message whose validator is not the one of this id (any more). */
#define VERDICT_UNKNOWN 100
#define RETRY_PAUSE_NS (20 * HF_NS_PER_MS)

/* No row unless the database is what it was when the connection was made. */
#define DATABASE_CTE                                                                               \
    "h AS (SELECT high_watermark_slot AS slot, high_watermark_epoch AS epoch FROM metadata"        \
    " WHERE id = 1 AND genesis_validators_root = $6::bytea AND EXISTS"                             \
    " (SELECT FROM database_version WHERE id = 1 AND version = 12))"

/* $1 numbers in the batch, $2 validator ids, $3 public keys, $4 slots, $5 roots, $6 network. */
static const char decide_blocks[] =
    "WITH " DATABASE_CTE ", m AS (SELECT * FROM unnest($1::int[], $2::int[], $3::bytea[],"
    " $4::bigint[], $5::bytea[]) AS t(i, id, pubkey, slot, root)), d AS MATERIALIZED ("
    "SELECT m.i, m.id, m.slot::numeric AS slot, m.root, w.slot AS floor, CASE"
    " WHEN v.id IS NULL THEN 100"
    " WHEN NOT v.enabled THEN 9"
    " WHEN m.slot >= h.slot THEN 7"
    " WHEN b.id IS NOT NULL THEN CASE WHEN b.signing_root = m.root THEN 1 ELSE 2 END"
    " WHEN m.slot <= w.slot THEN 6"
    " ELSE 0 END AS verdict"
    " FROM m CROSS JOIN h LEFT JOIN validators v ON v.id = m.id AND v.public_key = m.pubkey"
    " LEFT JOIN low_watermarks w ON w.validator_id = m.id"
    " LEFT JOIN signed_blocks b ON b.validator_id = m.id AND b.slot = m.slot::numeric),"
    " r AS (INSERT INTO signed_blocks(validator_id, slot, signing_root)"
    " SELECT id, slot, root FROM d WHERE verdict = 0 RETURNING 1),"
    " f AS (INSERT INTO low_watermarks AS w (validator_id, slot)"
    " SELECT id, slot FROM d WHERE verdict = 0 AND floor IS NULL ORDER BY id"
    " ON CONFLICT (validator_id) DO UPDATE SET slot = coalesce(w.slot, excluded.slot))"
    " SELECT i, verdict::int, floor IS NOT NULL OR verdict = 0, (SELECT count(*) FROM r) FROM d";

/* $7 sources beside $4 targets. A vote whose source is above s has its target above s too, but for
 * those in holdfast_votes: so only the targets between source and target are looked through. */
static const char decide_votes[] =
    "WITH " DATABASE_CTE ", m AS (SELECT * FROM unnest($1::int[], $2::int[], $3::bytea[],"
    " $4::bigint[], $5::bytea[], $7::bigint[]) AS t(i, id, pubkey, target, root, source)),"
    " d AS MATERIALIZED ("
    "SELECT m.i, m.id, m.source::numeric AS source, m.target::numeric AS target, m.root,"
    " w.target_epoch AS floor, CASE"
    " WHEN v.id IS NULL THEN 100"
    " WHEN NOT v.enabled THEN 9"
    " WHEN m.source > m.target THEN 8"
    " WHEN m.target >= h.epoch THEN 7"
    " WHEN a.id IS NOT NULL AND NOT coalesce(a.source_epoch = m.source"
    "  AND a.signing_root = m.root, false) THEN 3"
    " WHEN EXISTS (SELECT FROM holdfast_votes x WHERE x.validator_id = m.id"
    "  AND x.target_epoch = m.target::numeric) THEN 3"
    " WHEN m.source < w.source_epoch THEN 6"
    " WHEN a.id IS NULL AND m.target <= w.target_epoch THEN 6"
    " WHEN EXISTS (SELECT FROM signed_attestations x WHERE x.validator_id = m.id"
    "  AND x.target_epoch > m.source::numeric AND x.target_epoch < m.target::numeric"
    "  AND x.source_epoch > m.source::numeric) THEN 4"
    " WHEN EXISTS (SELECT FROM holdfast_votes x WHERE x.validator_id = m.id"
    "  AND x.target_epoch < m.target::numeric AND x.source_epoch > m.source::numeric) THEN 4"
    " WHEN EXISTS (SELECT FROM signed_attestations x WHERE x.validator_id = m.id"
    "  AND x.target_epoch > m.target::numeric AND x.source_epoch < m.source::numeric) THEN 5"
    " WHEN EXISTS (SELECT FROM holdfast_votes x WHERE x.validator_id = m.id"
    "  AND x.target_epoch > m.target::numeric AND x.source_epoch < m.source::numeric) THEN 5"
    " WHEN a.id IS NOT NULL THEN 1"
    " ELSE 0 END AS verdict"
    " FROM m CROSS JOIN h LEFT JOIN validators v ON v.id = m.id AND v.public_key = m.pubkey"
    " LEFT JOIN low_watermarks w ON w.validator_id = m.id"
    " LEFT JOIN signed_attestations a ON a.validator_id = m.id"
    "  AND a.target_epoch = m.target::numeric),"
    " r AS (INSERT INTO signed_attestations(validator_id, source_epoch, target_epoch, signing_root)"
    " SELECT id, source, target, root FROM d WHERE verdict = 0 RETURNING 1),"
    " f AS (INSERT INTO low_watermarks AS w (validator_id, source_epoch, target_epoch)"
    " SELECT id, source, target FROM d WHERE verdict = 0 AND floor IS NULL ORDER BY id"
    " ON CONFLICT (validator_id) DO UPDATE SET"
    " source_epoch = CASE WHEN w.target_epoch IS NULL THEN excluded.source_epoch"
    "  ELSE w.source_epoch END,"
    " target_epoch = coalesce(w.target_epoch, excluded.target_epoch))"
    " SELECT i, verdict::int, floor IS NOT NULL OR verdict = 0, (SELECT count(*) FROM r) FROM d";

const hf_pg_statement hf_pg_decide_statements[] = {
    {"begin", "BEGIN ISOLATION LEVEL READ COMMITTED"},
    {"commit", "COMMIT"},
    {"gate", "SELECT pg_advisory_xact_lock_shared($1::bigint)"},
    {"lock", "SELECT count(pg_advisory_xact_lock(k, v)) FROM unnest($1::int[], $2::int[]) t(k, v)"},
    {"blocks", decide_blocks},
    {"votes", decide_votes},
    {"enter", "INSERT INTO validators(public_key) SELECT k FROM unnest($1::bytea[]) t(k)"
              " WHERE NOT EXISTS (SELECT FROM validators v WHERE v.public_key = k) ORDER BY k"
              " ON CONFLICT (public_key) DO NOTHING"},
    {"find", "SELECT v.id, v.public_key, w.slot IS NOT NULL, w.target_epoch IS NOT "
             "NULL, " HF_PG_BIGINT("greatest(w.slot, b.newest)") ", " HF_PG_BIGINT(
                 "greatest(w.target_epoch,"
                 " a.newest)") " FROM unnest($1::bytea[]) t(k) JOIN validators v ON v.public_key = "
                               "k"
                               " LEFT JOIN low_watermarks w ON w.validator_id = v.id"
                               " CROSS JOIN LATERAL (SELECT max(slot) AS newest FROM signed_blocks"
                               "  WHERE validator_id = v.id) b"
                               " CROSS JOIN LATERAL (SELECT max(target_epoch) AS newest FROM "
                               "signed_attestations"
                               "  WHERE validator_id = v.id) a"},
    {NULL, NULL},
};

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

/* Finds or makes the entry of each message. */
static hf_status find_entries(hf_pg_store *store, const hf_message *messages, size_t n,
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

static hf_status send_locks(hf_pg_store *store, size_t n, hf_error *err)
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
    return hf_failed(st) ? st : hf_pg_send(&store->link, "lock", &params, err);
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
    return hf_pg_send(&store->link, is_block ? "blocks" : "votes", &params, err);
}

static hf_status send_batch(hf_pg_store *store, const hf_message *messages, size_t n, hf_error *err)
{
    hf_status st = hf_pg_send(&store->link, "begin", NULL, err);
    if (!hf_failed(st)) {
        st = send_locks(store, n, err);
    }
    for (size_t i = 0; i < n && !hf_failed(st); i = end_of_statement(store, i, n)) {
        st = send_statement(store, messages, i, end_of_statement(store, i, n), err);
    }
    return hf_failed(st) ? st : hf_pg_send(&store->link, "commit", NULL, err);
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
        int32_t verdict = hf_pg_i32(result, row, 1, VERDICT_UNKNOWN);
        if (verdict == VERDICT_UNKNOWN) {
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

static hf_status attempt(hf_pg_store *store, const hf_message *messages, size_t n,
                         hf_verdict *ret_verdicts, hf_error *err)
{
    /* BEGIN and the two statements of the locks come first. */
    size_t statement = 3;
    hf_status st = hf_pg_ensure(store, err);
    if (!hf_failed(st)) {
        st = find_entries(store, messages, n, err);
    }
    if (!hf_failed(st)) {
        st = ensure_known(store, messages, n, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    plan(store, n);
    st = send_batch(store, messages, n, err);
    if (!hf_failed(st)) {
        st = hf_pg_trip(&store->link, err);
    }
    for (size_t i = 0; i < n && !hf_failed(st); i = end_of_statement(store, i, n)) {
        st = take_verdicts(store, hf_pg_result(&store->link, statement++), i,
                           end_of_statement(store, i, n), ret_verdicts, err);
    }
    if (!hf_failed(st)) {
        settle(store, messages, ret_verdicts, n);
    }
    return st;
}

/*
 * A connection that broke, maybe between COMMIT and its answer, is made anew and the same batch
 * decided again: what was recorded is a REPEAT then. Only one that could not be made is reported
 * at once, so that a database that is down costs nobody a deadline.
 */
static hf_status decide_until(hf_pg_store *store, const hf_message *messages, size_t n,
                              hf_verdict *ret_verdicts, hf_error *err)
{
    bool was_up = store->link.conn != NULL;
    for (;;) {
        uint64_t trips = store->link.trips;
        hf_status st = attempt(store, messages, n, ret_verdicts, err);
        was_up = was_up || store->link.trips > trips;
        if (!hf_failed(st) || !was_up || !store->link.may_retry ||
            hf_time_mono_ns() + RETRY_PAUSE_NS >= store->link.deadline_ns) {
            return st;
        }
        hf_time_sleep_ns(RETRY_PAUSE_NS);
    }
}

hf_status hf_pg_decide(hf_store *self, const hf_message *messages, size_t n,
                       hf_verdict *ret_verdicts, hf_error *err)
{
    hf_pg_store *store = (hf_pg_store *)self;
    hf_status st = hf_ok();
    for (size_t i = 0; i < n && !hf_failed(st); i++) {
        st = hf_rules_check(&messages[i], err);
    }
    if (!hf_failed(st) && n > 0) {
        hf_pg_set_deadline(store);
        st = decide_until(store, messages, n, ret_verdicts, err);
    }
    if (hf_failed(st)) {
        /* Nothing here may be taken for a permission. */
        for (size_t i = 0; i < n; i++) {
            ret_verdicts[i] = HF_VERDICT_COUNT;
        }
    }
    return st;
}
