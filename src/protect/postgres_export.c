/*
 * export: one snapshot, REPEATABLE READ, over a connection of its own.
 *
 * What comes out is what the SQLite store's export gives for the same history (sqlite_export.c says
 * why): floors that no record stands at become records without root, what lies under a floor is
 * left out, and a floor that votes lie across rises until it covers them.
 */
#include "protect/postgres_internal.h"

/* Validators a round trip. */
#define PAGE 64

/* A history made by Web3Signer may have numbers that no bigint holds: as text, in their own order.
 */
#define VALIDATORS_SQL                                                                             \
    "SELECT v.id::bigint, v.public_key, w.slot::text, w.source_epoch::text, w.target_epoch::text"  \
    " FROM validators v LEFT JOIN low_watermarks w ON w.validator_id = v.id"                       \
    " WHERE v.id > $1::bigint AND ($2::bytea[] IS NULL OR v.public_key = ANY ($2::bytea[]))"       \
    " ORDER BY v.id LIMIT 64"
#define BLOCKS_SQL                                                                                 \
    "SELECT slot::text, signing_root FROM signed_blocks b WHERE validator_id = $1::bigint"         \
    " ORDER BY b.slot"
#define VOTES_SQL                                                                                  \
    "SELECT source_epoch::text, target_epoch::text, signing_root FROM ("                           \
    "SELECT source_epoch, target_epoch, signing_root FROM signed_attestations"                     \
    " WHERE validator_id = $1::bigint UNION ALL SELECT source_epoch, target_epoch, NULL"           \
    " FROM holdfast_votes x WHERE validator_id = $1::bigint AND NOT EXISTS"                        \
    " (SELECT FROM signed_attestations a WHERE a.validator_id = x.validator_id"                    \
    "  AND a.target_epoch = x.target_epoch AND a.source_epoch = x.source_epoch)) t"                \
    " ORDER BY t.target_epoch, t.source_epoch"

typedef struct exporter {
    hf_pg_link link;
    hf_export_visitor visitor;
    void *context;
} exporter;

typedef struct export_row {
    int64_t id;
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    bool has_slot;
    bool has_epochs;
    uint64_t floor_slot;
    uint64_t floor_source;
    uint64_t floor_target;
    bool votes_reach; /* the exported votes reach down to both floors by themselves */
} export_row;

static hf_status take_number(const PGresult *result, int row, int column, uint64_t *ret_number,
                             hf_error *err)
{
    const char *text = hf_pg_text(result, row, column);
    hf_status st = hf_num_parse_u64(text, strlen(text), ret_number);
    return hf_failed(st)
               ? hf_fail(err, HF_CORRUPT, "PostgreSQL: a slot or epoch that is not a 64-bit number")
               : st;
}

static hf_status visit(exporter *out, const hf_message *message, hf_error *err)
{
    hf_status st = out->visitor(out->context, message);
    return hf_failed(st) ? hf_fail(err, st.code, "export: the receiver gave up") : st;
}

static hf_message message_of(const export_row *row, hf_message_kind kind)
{
    hf_message message = {.kind = (uint32_t)kind};
    memcpy(message.pubkey, row->pubkey, HF_BLS_PUBKEY_BYTES);
    return message;
}

static void take_root(hf_message *message, hf_bytes root)
{
    message->has_root = root.len == HF_ROOT_BYTES;
    if (message->has_root) {
        memcpy(message->signing_root, root.ptr, HF_ROOT_BYTES);
    }
}

/* ---- blocks ------------------------------------------------------------------------------- */

/* The blocks come in rising order; the first at or above the floor says whether it stands. */
static hf_status export_block_floor(exporter *out, const export_row *row, const PGresult *blocks,
                                    hf_error *err)
{
    hf_message floor = message_of(row, HF_MESSAGE_BLOCK);
    uint64_t slot = 0;
    hf_status st = hf_ok();
    floor.slot = row->floor_slot;
    for (int i = 0; i < hf_pg_rows(blocks) && slot < row->floor_slot && !hf_failed(st); i++) {
        st = take_number(blocks, i, 0, &slot, err);
    }
    bool stands = hf_pg_rows(blocks) > 0 && slot == row->floor_slot;
    return hf_failed(st) || !row->has_slot || stands ? st : visit(out, &floor, err);
}

static hf_status export_blocks(exporter *out, const export_row *row, const PGresult *blocks,
                               hf_error *err)
{
    hf_status st = hf_ok();
    for (int i = 0; i < hf_pg_rows(blocks) && !hf_failed(st); i++) {
        hf_message message = message_of(row, HF_MESSAGE_BLOCK);
        st = take_number(blocks, i, 0, &message.slot, err);
        take_root(&message, hf_pg_bytes(blocks, i, 1));
        if (!hf_failed(st) && (!row->has_slot || message.slot >= row->floor_slot)) {
            st = visit(out, &message, err);
        }
    }
    return st;
}

/* ---- votes -------------------------------------------------------------------------------- */

typedef struct vote {
    uint64_t source;
    uint64_t target;
} vote;

static hf_status read_votes(const PGresult *result, vote **ret_votes, hf_error *err)
{
    int count = hf_pg_rows(result);
    vote *votes = calloc((size_t)count + 1, sizeof *votes);
    hf_status st = votes == NULL ? hf_fail(err, HF_NOMEM, "out of memory") : hf_ok();
    for (int i = 0; i < count && !hf_failed(st); i++) {
        st = take_number(result, i, 0, &votes[i].source, err);
        if (!hf_failed(st)) {
            st = take_number(result, i, 1, &votes[i].target, err);
        }
    }
    if (hf_failed(st)) {
        free(votes);
        return st;
    }
    *ret_votes = votes;
    return st;
}

/* Raises the row's vote floors until no record lies across them. */
static void cover_votes(export_row *row, const vote *votes, int count)
{
    bool raised = row->has_epochs;
    while (raised) {
        uint64_t least_source = UINT64_MAX;
        uint64_t least_target = UINT64_MAX;
        raised = false;
        for (int i = 0; i < count; i++) {
            bool under_target = votes[i].target < row->floor_target;
            bool under_source = votes[i].source < row->floor_source;
            if (under_target && votes[i].source > row->floor_source) {
                row->floor_source = votes[i].source;
                raised = true;
            } else if (under_source && votes[i].target > row->floor_target) {
                row->floor_target = votes[i].target;
                raised = true;
            } else if (!under_target && !under_source) {
                least_source = votes[i].source < least_source ? votes[i].source : least_source;
                least_target = votes[i].target < least_target ? votes[i].target : least_target;
            }
        }
        row->votes_reach = least_source == row->floor_source && least_target == row->floor_target;
    }
}

static hf_status export_vote_floor(exporter *out, const export_row *row, hf_error *err)
{
    if (!row->has_epochs || row->votes_reach) {
        return hf_ok();
    }
    hf_message floor = message_of(row, HF_MESSAGE_ATTESTATION);
    floor.source = row->floor_source;
    floor.target = row->floor_target;
    return visit(out, &floor, err);
}

static hf_status export_votes(exporter *out, const export_row *row, const vote *votes,
                              const PGresult *result, hf_error *err)
{
    hf_status st = hf_ok();
    for (int i = 0; i < hf_pg_rows(result) && !hf_failed(st); i++) {
        if (row->has_epochs &&
            (votes[i].target < row->floor_target || votes[i].source < row->floor_source)) {
            continue;
        }
        hf_message message = message_of(row, HF_MESSAGE_ATTESTATION);
        message.source = votes[i].source;
        message.target = votes[i].target;
        take_root(&message, hf_pg_bytes(result, i, 2));
        st = visit(out, &message, err);
    }
    return st;
}

static hf_status export_validator(exporter *out, export_row *row, const PGresult *blocks,
                                  const PGresult *result, hf_error *err)
{
    vote *votes = NULL;
    hf_status st = read_votes(result, &votes, err);
    if (hf_failed(st)) {
        return st;
    }
    cover_votes(row, votes, hf_pg_rows(result));
    st = export_block_floor(out, row, blocks, err);
    if (!hf_failed(st)) {
        st = export_vote_floor(out, row, err);
    }
    if (!hf_failed(st)) {
        st = export_blocks(out, row, blocks, err);
    }
    if (!hf_failed(st)) {
        st = export_votes(out, row, votes, result, err);
    }
    free(votes);
    return st;
}

/* ---- validators --------------------------------------------------------------------------- */

static hf_status take_row(const PGresult *page, int i, export_row *ret_row, hf_error *err)
{
    hf_bytes pubkey = hf_pg_bytes(page, i, 1);
    export_row row = {.id = hf_pg_i64(page, i, 0, 0)};
    hf_status st = hf_ok();
    if (pubkey.len != HF_BLS_PUBKEY_BYTES) {
        return hf_fail(err, HF_CORRUPT, "PostgreSQL: a validator without public key");
    }
    memcpy(row.pubkey, pubkey.ptr, HF_BLS_PUBKEY_BYTES);
    row.has_slot = hf_pg_bytes(page, i, 2).ptr != NULL;
    row.has_epochs = hf_pg_bytes(page, i, 4).ptr != NULL;
    if (row.has_slot) {
        st = take_number(page, i, 2, &row.floor_slot, err);
    }
    if (row.has_epochs && !hf_failed(st)) {
        st = take_number(page, i, 3, &row.floor_source, err);
    }
    if (row.has_epochs && !hf_failed(st)) {
        st = take_number(page, i, 4, &row.floor_target, err);
    }
    if (!hf_failed(st)) {
        *ret_row = row;
    }
    return st;
}

/* Reads the records of all validators of a page in one round trip, and passes them on. */
static hf_status export_page(exporter *out, const export_row *rows, int count, hf_error *err)
{
    hf_status st = hf_ok();
    for (int i = 0; i < count && !hf_failed(st); i++) {
        uint8_t storage[8];
        hf_pg_params params = {0};
        hf_pg_param_i64(&params, storage, rows[i].id);
        st = hf_pg_send_text(&out->link, BLOCKS_SQL, &params, err);
        if (!hf_failed(st)) {
            st = hf_pg_send_text(&out->link, VOTES_SQL, &params, err);
        }
    }
    if (!hf_failed(st)) {
        st = hf_pg_trip(&out->link, err);
    }
    for (int i = 0; i < count && !hf_failed(st); i++) {
        export_row row = rows[i];
        st = export_validator(out, &row, hf_pg_result(&out->link, 2 * (size_t)i),
                              hf_pg_result(&out->link, 2 * (size_t)i + 1), err);
    }
    return st;
}

static hf_status export_from(exporter *out, int64_t *cursor, const hf_buf *only, int *ret_count,
                             hf_error *err)
{
    static const char text[] = VALIDATORS_SQL;
    export_row rows[PAGE];
    uint8_t storage[8];
    hf_pg_params params = {0};
    hf_pg_param_i64(&params, storage, *cursor);
    if (only != NULL) {
        hf_pg_param_buf(&params, only);
    } else {
        hf_pg_param(&params, NULL, 0);
    }
    hf_status st = hf_pg_query(&out->link, text, &params, err);
    const PGresult *page = hf_pg_result(&out->link, 0);
    int count = hf_failed(st) ? 0 : hf_pg_rows(page);
    HF_ASSERT(count <= PAGE);
    for (int i = 0; i < count && !hf_failed(st); i++) {
        st = take_row(page, i, &rows[i], err);
    }
    if (!hf_failed(st) && count > 0) {
        *cursor = rows[count - 1].id;
        st = export_page(out, rows, count, err);
    }
    *ret_count = count;
    return st;
}

/* ---- connection --------------------------------------------------------------------------- */

static hf_status open_exporter(exporter *out, const hf_postgres_config *config, hf_error *err)
{
    hf_pg_schema schema;
    hf_pg_params params = {0};
    uint32_t ms = config->deadline_ms != 0 ? config->deadline_ms : HF_PG_DEADLINE_MS;
    hf_status st = hf_pg_check_url(config->url, err);
    out->link.deadline_ns = hf_time_mono_ns() + ms * HF_NS_PER_MS;
    if (!hf_failed(st)) {
        st = hf_pg_connect(&out->link, config->url, err);
    }
    out->link.deadline_ns = hf_time_mono_ns() + HF_PG_ADMIN_DEADLINE_MS * HF_NS_PER_MS;
    if (!hf_failed(st)) {
        st = hf_pg_set_session(&out->link, HF_PG_ADMIN_DEADLINE_MS, false, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_read_schema(&out->link, &schema, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_check_schema(&schema, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_query(&out->link, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", NULL, err);
    }
    hf_pg_param(&params, config->genesis_validators_root, HF_ROOT_BYTES);
    if (!hf_failed(st)) {
        st = hf_pg_query(&out->link,
                         "SELECT genesis_validators_root = $1::bytea FROM metadata WHERE id = 1",
                         &params, err);
    }
    if (!hf_failed(st) && !hf_pg_bool(hf_pg_result(&out->link, 0), 0, 0)) {
        st = hf_fail(err, HF_CONFLICT,
                     "PostgreSQL: the database belongs to another network (genesis validators"
                     " root)");
    }
    return st;
}

static hf_status list_wanted(const uint8_t (*only)[HF_BLS_PUBKEY_BYTES], size_t only_count,
                             hf_buf **ret_array, hf_error *err)
{
    hf_buf *array = hf_buf_new(HF_PG_PARAM_BYTES);
    hf_status st = array == NULL ? hf_fail(err, HF_NOMEM, "out of memory")
                                 : hf_pg_array_begin(array, HF_PG_BYTEA, only_count);
    for (size_t i = 0; i < only_count && !hf_failed(st); i++) {
        st = hf_pg_array_bytes(array, only[i], HF_BLS_PUBKEY_BYTES);
    }
    if (hf_failed(st)) {
        hf_buf_free(array);
        return hf_fail(err, HF_LIMIT, "export: too many public keys");
    }
    *ret_array = array;
    return st;
}

hf_status hf_store_export_postgres(const hf_postgres_config *config,
                                   const uint8_t (*only)[HF_BLS_PUBKEY_BYTES], size_t only_count,
                                   hf_export_visitor visitor, void *context, hf_error *err)
{
    exporter out = {.visitor = visitor, .context = context};
    hf_buf *wanted = NULL;
    int64_t cursor = 0;
    int count = PAGE;
    hf_status st = only == NULL ? hf_ok() : list_wanted(only, only_count, &wanted, err);
    if (!hf_failed(st)) {
        st = open_exporter(&out, config, err);
    }
    while (!hf_failed(st) && count == PAGE) {
        st = export_from(&out, &cursor, wanted, &count, err);
    }
    hf_pg_disconnect(&out.link);
    hf_buf_free(wanted);
    return st;
}
