/* The PostgreSQL store: open, close, and the small operations. */
#include "protect/postgres_internal.h"

/* ---- connection --------------------------------------------------------------------------- */

static uint32_t deadline_ms(const hf_pg_store *store)
{
    return store->config.deadline_ms != 0 ? store->config.deadline_ms : HF_PG_DEADLINE_MS;
}

void hf_pg_set_deadline(hf_pg_store *store)
{
    store->link.deadline_ns = hf_time_mono_ns() + deadline_ms(store) * HF_NS_PER_MS;
}

/* Sees whose database it is, and makes it ours where nobody's tables are there. */
static hf_status check_database(hf_pg_store *store, hf_pg_link *link, int64_t *ret_version,
                                hf_error *err)
{
    hf_pg_schema schema;
    hf_status st = hf_pg_read_schema(link, &schema, err);
    if (!hf_failed(st) && hf_pg_needs_migration(&schema) && store->config.auto_migrate) {
        st = hf_pg_migrate_up(link, err);
        if (!hf_failed(st)) {
            st = hf_pg_read_schema(link, &schema, err);
        }
    }
    if (!hf_failed(st)) {
        st = hf_pg_check_schema(&schema, err);
    }
    if (!hf_failed(st)) {
        *ret_version = schema.own_version;
    }
    return hf_failed(st) ? st : hf_pg_claim_root(link, store->config.genesis_validators_root, err);
}

static hf_status prepare(hf_pg_link *link, const hf_pg_statement *statements, hf_error *err)
{
    hf_status st = hf_ok();
    for (; statements->name != NULL && !hf_failed(st); statements++) {
        st = hf_pg_send_prepare(link, statements->name, statements->text, err);
    }
    return st;
}

/* What is prepared depends on which tables of ours are there. */
static hf_status prepare_all(hf_pg_store *store, int64_t version, hf_error *err)
{
    bool has_records = version >= HF_PG_OWN_WITH_RECORDS;
    bool has_marks = version >= HF_PG_OWN_WITH_MARKS;
    const hf_pg_statement *const lists[] = {
        hf_pg_decide_statements,
        has_marks ? hf_pg_decide_marked : hf_pg_decide_plain,
        hf_pg_prune_statements,
        has_records ? hf_pg_record_statements : NULL,
        has_marks ? hf_pg_present_marks : (has_records ? hf_pg_present_records : NULL),
    };
    hf_status st = hf_ok();
    for (size_t i = 0; i < HF_ARRAY_LEN(lists) && !hf_failed(st); i++) {
        st = lists[i] != NULL ? prepare(&store->link, lists[i], err) : st;
    }
    store->has_records = has_records;
    store->has_marks = has_marks;
    store->has_looked = store->has_looked && has_marks == (store->mark.is_counted != 0);
    return st;
}

static void advise(hf_pg_store *store)
{
    if (store->link.lags && !store->advised && store->config.advise != NULL) {
        store->config.advise("PostgreSQL: a standby follows that commits do not wait for: after a"
                             " fail-over to it, what was signed last is not known and may be signed"
                             " differently; set synchronous_standby_names");
    }
    store->advised = store->advised || store->link.lags;
}

hf_status hf_pg_ensure(hf_pg_store *store, hf_error *err)
{
    hf_pg_link *link = &store->link;
    int64_t version = 0;
    if (link->conn != NULL) {
        return hf_ok();
    }
    hf_pg_cache_expire(&store->cache);
    hf_status st = hf_pg_connect(link, store->config.url, err);
    if (!hf_failed(st)) {
        st = hf_pg_set_session(link, deadline_ms(store), true, err);
    }
    if (!hf_failed(st)) {
        advise(store);
        st = check_database(store, link, &version, err);
    }
    if (!hf_failed(st)) {
        st = prepare_all(store, version, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_trip(link, err);
    }
    if (hf_failed(st)) {
        hf_pg_disconnect(link);
    }
    return st;
}

hf_status hf_pg_open_admin(hf_pg_store *store, hf_error *err)
{
    hf_pg_link *link = &store->admin;
    int64_t version = 0;
    hf_pg_disconnect(link);
    link->deadline_ns = hf_time_mono_ns() + deadline_ms(store) * HF_NS_PER_MS;
    hf_status st = hf_pg_connect(link, store->config.url, err);
    if (!hf_failed(st)) {
        link->deadline_ns = hf_time_mono_ns() + HF_PG_ADMIN_DEADLINE_MS * HF_NS_PER_MS;
        st = hf_pg_set_session(link, HF_PG_ADMIN_DEADLINE_MS, false, err);
    }
    if (!hf_failed(st)) {
        st = check_database(store, link, &version, err);
    }
    store->admin_has_marks = version >= HF_PG_OWN_WITH_MARKS;
    if (hf_failed(st)) {
        hf_pg_disconnect(link);
    }
    return st;
}

/* ---- small operations --------------------------------------------------------------------- */

/* Is there a commit that has waited for a standby for long? */
static const char waits_sql[] =
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = current_user"
    " AND wait_event = 'SyncRep' AND query_start < clock_timestamp() - interval '1 second')";

/* Writes without a commit, so that a full disk and a standby show; then takes it back. A commit of
 * its own might wait for a synchronous standby that is gone: it looks for others that do. */
hf_status hf_pg_look(hf_pg_store *store, hf_error *err)
{
    static const char *const texts[] = {
        waits_sql, "BEGIN", "UPDATE holdfast_schema SET version = version WHERE name = 'slashing'",
        "ROLLBACK", NULL};
    hf_status st = hf_pg_ensure(store, err);
    size_t first = 0;
    if (!hf_failed(st) && store->has_records) {
        first = 1;
        st = hf_pg_send(&store->link, HF_PG_PRESENT, NULL, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_script(&store->link, texts, err);
    }
    if (!hf_failed(st) && first > 0) {
        st = hf_pg_take_present(store, hf_pg_result(&store->link, 0), err);
    }
    if (!hf_failed(st) && hf_pg_bool(hf_pg_result(&store->link, first), 0, 0)) {
        st = hf_fail(err, HF_UNAVAILABLE,
                     "PostgreSQL: commits wait for a synchronous standby that does not answer");
    }
    store->has_looked = store->has_looked || !hf_failed(st);
    return st;
}

static hf_status pg_health(hf_store *self, hf_error *err)
{
    hf_pg_store *store = (hf_pg_store *)self;
    hf_pg_set_deadline(store);
    bool was_up = store->link.conn != NULL;
    hf_status st = hf_pg_look(store, err);
    if (hf_failed(st) && was_up && store->link.may_retry) {
        /* A connection that broke while nothing was asked says nothing about the database. */
        st = hf_pg_look(store, err);
    }
    return st;
}

static hf_status look_once(hf_pg_store *store, hf_error *err)
{
    hf_status st = hf_pg_ensure(store, err);
    if (hf_failed(st) || !store->has_records) {
        return st; /* without records nothing can have changed */
    }
    st = hf_pg_send(&store->link, HF_PG_PRESENT, NULL, err);
    if (!hf_failed(st)) {
        st = hf_pg_trip(&store->link, err);
    }
    return hf_failed(st) ? st : hf_pg_take_present(store, hf_pg_result(&store->link, 0), err);
}

static hf_status pg_look(hf_store *self, hf_error *err)
{
    hf_pg_store *store = (hf_pg_store *)self;
    hf_pg_set_deadline(store);
    bool was_up = store->link.conn != NULL;
    hf_status st = look_once(store, err);
    return hf_failed(st) && was_up && store->link.may_retry ? look_once(store, err) : st;
}

static hf_status put_bound(hf_pg_params *params, uint8_t storage[8], bool has, uint64_t value,
                           hf_error *err)
{
    if (has && value > HF_PROTECT_MAX_NUMBER) {
        return hf_fail(err, HF_INVALID_INPUT, "a watermark above 2^63 - 1");
    }
    if (has) {
        hf_pg_param_i64(params, storage, (int64_t)value);
    } else {
        hf_pg_param(params, NULL, 0);
    }
    return hf_ok();
}

/* Slot, target, source as $1, $2, $3, or the first two. */
static hf_status put_watermark(hf_pg_params *params, uint8_t storage[3][8],
                               const hf_watermark *mark, bool with_source, hf_error *err)
{
    hf_status st = put_bound(params, storage[0], mark->has_slot, mark->slot, err);
    if (!hf_failed(st)) {
        st = put_bound(params, storage[1], mark->has_epochs, mark->target, err);
    }
    if (!hf_failed(st) && with_source) {
        st = put_bound(params, storage[2], mark->has_epochs, mark->source, err);
    }
    return st;
}

static hf_status run_watermark(hf_pg_store *store, const char *marked, const char *plain,
                               const hf_pg_params *params, hf_error *err)
{
    hf_status st = hf_pg_open_admin(store, err);
    const char *text = store->admin_has_marks ? marked : plain;
    if (!hf_failed(st) && text != NULL) {
        st = hf_pg_query(&store->admin, text, params, err);
    }
    hf_pg_disconnect(&store->admin);
    return st;
}

static hf_status refuse_during_import(const hf_pg_store *store, hf_error *err)
{
    return store->import_open ? hf_fail(err, HF_CONFLICT, "an import is under way") : hf_ok();
}

hf_status hf_pg_raise(hf_pg_store *store, const char *marked, const char *plain,
                      const hf_watermark *low, hf_error *err)
{
    uint8_t storage[3][8];
    hf_pg_params params = {0};
    hf_status st = refuse_during_import(store, err);
    if (!hf_failed(st)) {
        st = put_watermark(&params, storage, low, true, err);
    }
    return hf_failed(st) ? st : run_watermark(store, marked, plain, &params, err);
}

/* Every validator that is known, so also one that has signed nothing yet. */
#define RAISE_SQL                                                                                  \
    "INSERT INTO low_watermarks AS w (validator_id, slot, target_epoch, source_epoch)"             \
    " SELECT id, $1::bigint, $2::bigint, $3::bigint FROM validators"                               \
    " ORDER BY id ON CONFLICT (validator_id) DO UPDATE SET"                                        \
    " slot = greatest(w.slot, excluded.slot),"                                                     \
    " target_epoch = greatest(w.target_epoch, excluded.target_epoch),"                             \
    " source_epoch = greatest(w.source_epoch, excluded.source_epoch)"

static hf_status pg_raise_floors(hf_store *self, const hf_watermark *low, hf_error *err)
{
    if (low->has_slot == 0 && low->has_epochs == 0) {
        return refuse_during_import((hf_pg_store *)self, err);
    }
    return hf_pg_raise((hf_pg_store *)self, "WITH c AS (" HF_PG_COUNT_CHANGE ") " RAISE_SQL,
                       RAISE_SQL, low, err);
}

static hf_status pg_set_high(hf_store *self, const hf_watermark *high, hf_error *err)
{
    static const hf_watermark none = {0};
    static const char text[] = "UPDATE metadata SET high_watermark_slot = $1::bigint,"
                               " high_watermark_epoch = $2::bigint WHERE id = 1";
    hf_pg_store *store = (hf_pg_store *)self;
    uint8_t storage[3][8];
    hf_pg_params params = {0};
    hf_status st = refuse_during_import(store, err);
    if (!hf_failed(st)) {
        st = put_watermark(&params, storage, high != NULL ? high : &none, false, err);
    }
    return hf_failed(st) ? st : run_watermark(store, text, text, &params, err);
}

/* ---- status ------------------------------------------------------------------------------- */

#define STATUS_SQL                                                                                                                              \
    "SELECT (SELECT count(*) FROM validators), (SELECT count(*) FROM signed_blocks),"                                                           \
    " (SELECT count(*) FROM signed_attestations) + (SELECT count(*) FROM holdfast_votes x"                                                      \
    "  WHERE NOT EXISTS (SELECT FROM signed_attestations a WHERE a.validator_id = x.validator_id"                                               \
    "  AND a.target_epoch = x.target_epoch AND a.source_epoch = x.source_epoch))," HF_PG_BIGINT(                                                \
        "min("                                                                                                                                  \
        "slot)") ", " HF_PG_BIGINT("min(source_epoch)") ", " HF_PG_BIGINT("min(target_epoch)") ","                                              \
                                                                                               " " HF_PG_BIGINT("max(slot)") ", " HF_PG_BIGINT( \
                                                                                                   "max(source_epoch)") ", " HF_PG_BIGINT("max(target_epoch)") " FROM low_watermarks"
#define HIGH_SQL                                                                                   \
    "SELECT " HF_PG_BIGINT("high_watermark_slot") ", " HF_PG_BIGINT(                               \
        "high_watermark_epoch") " FROM metadata WHERE id = 1"

static hf_watermark floors_at(const PGresult *result, int column)
{
    int64_t slot = hf_pg_i64(result, 0, column, HF_NONE);
    int64_t source = hf_pg_i64(result, 0, column + 1, HF_NONE);
    int64_t target = hf_pg_i64(result, 0, column + 2, HF_NONE);
    hf_watermark floors = {.has_slot = slot != HF_NONE, .has_epochs = target != HF_NONE};
    floors.slot = floors.has_slot ? (uint64_t)slot : 0;
    floors.source = floors.has_epochs ? (uint64_t)source : 0;
    floors.target = floors.has_epochs ? (uint64_t)target : 0;
    return floors;
}

static hf_status pg_status(hf_store *self, hf_store_status *ret_status, hf_error *err)
{
    static const char *const texts[] = {STATUS_SQL, HIGH_SQL, NULL};
    hf_pg_store *store = (hf_pg_store *)self;
    hf_store_status status = {0};
    hf_pg_set_deadline(store);
    hf_status st = hf_pg_ensure(store, err);
    if (!hf_failed(st)) {
        st = hf_pg_script(&store->link, texts, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    const PGresult *counts = hf_pg_result(&store->link, 0);
    const PGresult *high = hf_pg_result(&store->link, 1);
    status.validators = (uint64_t)hf_pg_i64(counts, 0, 0, 0);
    status.blocks = (uint64_t)hf_pg_i64(counts, 0, 1, 0);
    status.attestations = (uint64_t)hf_pg_i64(counts, 0, 2, 0);
    status.lowest_floors = floors_at(counts, 3);
    status.highest_floors = floors_at(counts, 6);
    int64_t slot = hf_pg_i64(high, 0, 0, HF_NONE);
    int64_t target = hf_pg_i64(high, 0, 1, HF_NONE);
    status.high.has_slot = slot != HF_NONE;
    status.high.has_epochs = target != HF_NONE;
    status.high.slot = status.high.has_slot ? (uint64_t)slot : 0;
    status.high.target = status.high.has_epochs ? (uint64_t)target : 0;
    memcpy(status.genesis_validators_root, store->config.genesis_validators_root, HF_ROOT_BYTES);
    *ret_status = status;
    return st;
}

/* ---- open and close ----------------------------------------------------------------------- */

static void pg_close(hf_store *self)
{
    if (self == NULL) {
        return;
    }
    hf_pg_store *store = (hf_pg_store *)self;
    hf_pg_disconnect(&store->link);
    hf_pg_disconnect(&store->admin);
    hf_pg_cache_done(&store->cache);
    for (size_t i = 0; i < HF_ARRAY_LEN(store->arrays); i++) {
        hf_buf_free(store->arrays[i]);
    }
    free(store->items);
    for (size_t i = 0; i < HF_FLIGHTS_MAX; i++) {
        free(store->flights[i].items);
    }
    hf_wipe(&store->config, sizeof store->config);
    free(store);
}

static const hf_store_ops postgres_ops = {
    .decide = hf_pg_decide,
    .decide_begin = hf_pg_decide_begin,
    .decide_wait = hf_pg_decide_wait,
    .decide_end = hf_pg_decide_end,
    .health = pg_health,
    .look = pg_look,
    .import_begin = hf_pg_import_begin,
    .import_add = hf_pg_import_add,
    .import_commit = hf_pg_import_commit,
    .import_abort = hf_pg_import_abort,
    .prune = hf_pg_prune,
    .raise_floors = pg_raise_floors,
    .set_high = pg_set_high,
    .status = pg_status,
    .records = hf_pg_records,
    .change_records = hf_pg_change_records,
    .generation = hf_pg_generation,
    .mark = hf_pg_mark,
    .take_over = hf_pg_take_over,
    .anchor_get = hf_pg_anchor_get,
    .anchor_set = hf_pg_anchor_set,
    .close = pg_close,
};

hf_postgres_traffic hf_store_postgres_traffic(const hf_store *self)
{
    HF_ASSERT(self->ops == &postgres_ops);
    const hf_pg_store *store = (const hf_pg_store *)(const void *)self;
    return (hf_postgres_traffic){store->link.trips, store->decided};
}

/* Long enough for other nodes' migrations: that is done here, not on the signing path. */
static hf_status first_check(hf_pg_store *store, hf_error *err)
{
    hf_status st = hf_pg_open_admin(store, err);
    hf_pg_disconnect(&store->admin);
    return st;
}

hf_status hf_store_open_postgres(const hf_postgres_config *config, hf_store **ret_store,
                                 hf_error *err)
{
    hf_status st = hf_pg_check_url(config->url, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_pg_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    store->base.ops = &postgres_ops;
    store->config = *config;
    for (size_t i = 0; i < HF_ARRAY_LEN(store->arrays) && !hf_failed(st); i++) {
        store->arrays[i] = hf_buf_new(HF_PG_PARAM_BYTES);
        if (store->arrays[i] == NULL) {
            st = hf_fail(err, HF_NOMEM, "out of memory");
        }
    }
    if (!hf_failed(st)) {
        st = first_check(store, err);
        if (st.code == HF_UNAVAILABLE) {
            st = hf_ok();
        }
    }
    if (hf_failed(st)) {
        pg_close(&store->base);
        return st;
    }
    *ret_store = &store->base;
    return hf_ok();
}
