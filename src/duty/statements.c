/*
 * The statements of a batch: one row of each array an item. All that is sent up to the
 * synchronisation point is one transaction, so a batch is one round trip and one commit.
 */
#include <endian.h>

#include "duty/duty_internal.h"

#define U_KEY "u.r, u.v, u.s, u.t, u.i"
#define D_IS_U                                                                                     \
    "d.rollup_address = u.r AND d.validator_address = u.v AND d.slot = u.s AND d.duty_type = u.t"  \
    " AND d.block_index_within_checkpoint = u.i"

/*
 * The rows of a batch. Several unnest in one list go in step, row by row; in FROM each would fill a
 * store of its own first, which costs a small batch more than all its rows.
 */
#define U_COLUMNS                                                                                  \
    "unnest($1::text[]) AS r, unnest($2::text[]) AS v, unnest($3::bigint[]) AS s,"                 \
    " unnest($4::text[]) AS t, unnest($5::int[]) AS i, unnest($6::text[]) AS k"
#define U_ORDINAL "generate_subscripts($6::text[], 1) AS o"

/* Columns of the arrays that the statements share. */
enum { C_ROLLUP, C_VALIDATOR, C_SLOT, C_TYPE, C_INDEX, C_TOKEN, C_HASH, C_EXTRA, C_BLOCK, C_CHECK };

/* PostgreSQL's numbers of these types, the same in every database. */
enum { OID_INT8 = 20, OID_INT4 = 23, OID_TEXT = 25 };

/* $6 token, $7 hash, $8 node, $9 block number, ($10 checkpoint number) */
static const char insert_sql[] =
    "INSERT INTO validator_duties (rollup_address, validator_address, slot, duty_type,"
    " block_index_within_checkpoint, status, lock_token, message_hash, node_id, block_number,"
    " started_at) SELECT " U_KEY ", 'signing', u.k, u.h, $8, u.b, CURRENT_TIMESTAMP"
    " FROM (SELECT " U_COLUMNS ", unnest($7::text[]) AS h, unnest($9::bigint[]) AS b) AS u"
    " ON CONFLICT (rollup_address, validator_address, slot, duty_type,"
    " block_index_within_checkpoint) DO NOTHING RETURNING lock_token";

static const char insert_v2_sql[] =
    "INSERT INTO validator_duties (rollup_address, validator_address, slot, duty_type,"
    " block_index_within_checkpoint, status, lock_token, message_hash, node_id, block_number,"
    " checkpoint_number, started_at)"
    " SELECT " U_KEY ", 'signing', u.k, u.h, $8, u.b, u.c, CURRENT_TIMESTAMP"
    " FROM (SELECT " U_COLUMNS ", unnest($7::text[]) AS h, unnest($9::bigint[]) AS b,"
    " unnest($10::bigint[]) AS c) AS u"
    " ON CONFLICT (rollup_address, validator_address, slot, duty_type,"
    " block_index_within_checkpoint) DO NOTHING RETURNING lock_token";

#define IS_BELOW                                                                                   \
    "EXISTS (SELECT FROM holdfast_duty_watermarks w WHERE w.rollup_address = u.r"                  \
    " AND w.validator_address = u.v AND w.duty_type = u.t AND w.slot >= u.s)"

/* $8 the token that was seen, $9 node */
static const char takeover_sql[] =
    "UPDATE validator_duties d SET lock_token = u.k, node_id = $9, started_at = CURRENT_TIMESTAMP"
    " FROM (SELECT " U_COLUMNS ", unnest($7::text[]) AS h, unnest($8::text[]) AS o) AS u"
    " WHERE " D_IS_U " AND d.status = 'signing' AND d.message_hash = u.h AND d.lock_token = u.o"
    " AND NOT " IS_BELOW;

/* With a synchronous standby, who reads that a duty is signed waits until the standby has that. */
#define WAIT_FOR_STANDBY                                                                           \
    "CASE WHEN d.status = 'signed' AND current_setting('synchronous_standby_names') <> ''"         \
    " THEN (SELECT set_config('synchronous_commit',"                                               \
    "  coalesce(nullif(current_setting('holdfast.durable', true), ''),"                            \
    "  current_setting('synchronous_commit')), true)"                                              \
    "  || pg_logical_emit_message(true, 'holdfast', d.lock_token)) END"

/* Which of those that were inserted are at or below the watermark. After the insert, in a snapshot
 * of its own: whoever deleted a row for which the insert waited has raised the watermark by then.
 */
static const char marks_sql[] =
    "SELECT u.o FROM (SELECT unnest($1::text[]) AS r, unnest($2::text[]) AS v,"
    " unnest($3::bigint[]) AS s, unnest($4::text[]) AS t, generate_subscripts($4::text[], 1) AS o)"
    " AS u WHERE " IS_BELOW;

/* What is there, and whether it is at or below the watermark; of one's own lock nothing else. */
static const char read_sql[] =
    "SELECT u.o, d.status, d.lock_token = u.k,"
    " CASE WHEN d.lock_token <> u.k OR d.status = 'signed' THEN d.message_hash END,"
    " CASE WHEN d.lock_token <> u.k OR d.status = 'signed' THEN d.signature END,"
    " CASE WHEN d.lock_token <> u.k OR d.status = 'signed' THEN d.node_id END,"
    " CASE WHEN d.lock_token <> u.k THEN d.lock_token END,"
    " CASE WHEN d.status IS DISTINCT FROM 'signed' THEN " IS_BELOW " END, " WAIT_FOR_STANDBY
    " FROM (SELECT " U_COLUMNS ", " U_ORDINAL ") AS u LEFT JOIN validator_duties d ON " D_IS_U;

/* $8 signature. The greatest: a clock that went back must not void a signature. */
static const char complete_sql[] =
    "UPDATE validator_duties d SET status = 'signed', signature = u.g,"
    " completed_at = greatest(LOCALTIMESTAMP, d.started_at)"
    " FROM (SELECT " U_COLUMNS ", unnest($7::text[]) AS h, unnest($8::text[]) AS g, " U_ORDINAL
    ") AS u"
    " WHERE " D_IS_U " AND d.status = 'signing' AND d.lock_token = u.k AND d.message_hash = u.h"
    " RETURNING u.o";

static const char release_sql[] =
    "DELETE FROM validator_duties d USING (SELECT " U_COLUMNS ") AS u"
    " WHERE " D_IS_U " AND d.status = 'signing' AND d.lock_token = u.k";

/* A takeover is not to be undone by a crash, unlike the lock of one that nobody held before. */
static const char durable_sql[] =
    "SELECT set_config('synchronous_commit', current_setting('holdfast.durable'), true)";

static const char notify_sql[] = "SELECT pg_notify('" NOTIFY_CHANNEL "', $1)";

static bool prepare(PGconn *conn, const char *name, const char *sql, hf_duty_error *error)
{
    PGresult *result = PQprepare(conn, name, sql, 0, NULL);
    bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
    if (!done) {
        duty_error_set(error, sqlstate_result(PQresultErrorField(result, PG_DIAG_SQLSTATE)),
                       "the database refused a statement: %s", PQresultErrorMessage(result));
    }
    PQclear(result);
    return done;
}

hf_duty_result statements_prepare(PGconn *conn, lane_kind kind, bool v2, hf_duty_error *error)
{
    hf_duty_error found = {.result = HF_DUTY_INTERNAL};
    bool done = false;
    switch (kind) {
    case LANE_ACQUIRE:
        /* A lock that a crash of the database forgets is a lock lost: complete finds nothing. */
        done = connect_run(conn,
                           "SELECT set_config('holdfast.durable',"
                           " current_setting('synchronous_commit'), false);"
                           "SET synchronous_commit = off",
                           &found) &&
               prepare(conn, "durable", durable_sql, &found) &&
               prepare(conn, "insert", v2 ? insert_v2_sql : insert_sql, &found) &&
               prepare(conn, "marks", marks_sql, &found) &&
               prepare(conn, "takeover", takeover_sql, &found) &&
               prepare(conn, "read", read_sql, &found);
        break;
    case LANE_COMPLETE:
        done = prepare(conn, "complete", complete_sql, &found) &&
               prepare(conn, "release", release_sql, &found) &&
               prepare(conn, "notify", notify_sql, &found) &&
               prepare(conn, "read", read_sql, &found);
        break;
    case LANE_LISTEN:
        done = connect_run(conn, "LISTEN " NOTIFY_CHANNEL, &found);
        break;
    }
    if (!done && error != NULL) {
        *error = found;
    }
    return done ? HF_DUTY_OK : found.result;
}

/* ---- arrays -----------------------------------------------------------------------------------
 */

static const uint32_t column_types[COLUMNS_MAX] = {
    [C_ROLLUP] = OID_TEXT, [C_VALIDATOR] = OID_TEXT, [C_SLOT] = OID_INT8, [C_TYPE] = OID_TEXT,
    [C_INDEX] = OID_INT4,  [C_TOKEN] = OID_TEXT,     [C_HASH] = OID_TEXT, [C_EXTRA] = OID_TEXT,
    [C_BLOCK] = OID_INT8,  [C_CHECK] = OID_INT8,
};

static void column_put_word(columns *cols, int column, uint32_t value)
{
    HF_ASSERT(cols->len[column] + sizeof(value) <= COLUMN_BYTES);
    uint32_t big = htobe32(value);
    memcpy(cols->bytes[column] + cols->len[column], &big, sizeof(big));
    cols->len[column] += sizeof(big);
}

static void column_put(columns *cols, int column, const void *value, size_t len)
{
    column_put_word(cols, column, (uint32_t)len);
    HF_ASSERT(cols->len[column] + len <= COLUMN_BYTES);
    memcpy(cols->bytes[column] + cols->len[column], value, len);
    cols->len[column] += len;
}

static void column_put_text(columns *cols, int column, const char *text)
{
    column_put(cols, column, text, strlen(text));
}

static void column_put_number(columns *cols, int column, int64_t value)
{
    if (column_types[column] == OID_INT4) {
        uint32_t big = htobe32((uint32_t)value);
        column_put(cols, column, &big, sizeof(big));
    } else {
        uint64_t big = htobe64((uint64_t)value);
        column_put(cols, column, &big, sizeof(big));
    }
}

/* Dimensions, a bitmap of NULLs or not, the elements' type, their number, the first one's index. */
static void columns_begin(columns *cols, size_t count)
{
    for (int i = 0; i < COLUMNS_MAX; i++) {
        cols->len[i] = 0;
        column_put_word(cols, i, 1);
        column_put_word(cols, i, 0);
        column_put_word(cols, i, column_types[i]);
        column_put_word(cols, i, (uint32_t)count);
        column_put_word(cols, i, 1);
        HF_ASSERT(cols->len[i] == ARRAY_HEADER_BYTES);
    }
}

static void put_key(columns *cols, const item *it)
{
    char address[HF_AZTEC_ADDRESS_TEXT_LEN];
    hf_aztec_address_format(it->duty.rollup, address);
    column_put(cols, C_ROLLUP, address, sizeof(address) - 1);
    hf_aztec_address_format(it->duty.validator, address);
    column_put(cols, C_VALIDATOR, address, sizeof(address) - 1);
    column_put_number(cols, C_SLOT, (int64_t)it->duty.slot);
    column_put_text(cols, C_TYPE, hf_duty_type_name(it->duty.type));
    column_put_number(cols, C_INDEX, it->duty.block_index);
    column_put_text(cols, C_TOKEN, it->token);
    column_put(cols, C_HASH, it->hash_text, HF_AZTEC_HASH_TEXT_LEN - 1);
}

typedef bool (*item_filter)(const item *it);

static bool is_write(const item *it)
{
    return it->kind != ITEM_RELEASE && !it->look;
}

static bool is_look(const item *it)
{
    return it->kind != ITEM_RELEASE && it->look;
}

static bool is_takeover(const item *it)
{
    return it->takeover;
}

static bool is_release(const item *it)
{
    return it->kind == ITEM_RELEASE;
}

/* Fills the arrays with the items that pass; how many. */
static size_t put_items(lane *ln, item_filter filter)
{
    columns *cols = ln->columns;
    size_t count = 0;
    for (size_t i = 0; i < ln->batch_len; i++) {
        count += filter(ln->batch[i]) ? 1 : 0;
    }
    if (count == 0) {
        return 0;
    }
    columns_begin(cols, count);
    for (size_t i = 0; i < ln->batch_len; i++) {
        const item *it = ln->batch[i];
        if (!filter(it)) {
            continue;
        }
        put_key(cols, it);
        if (it->kind == ITEM_COMPLETE) {
            char signature[HF_AZTEC_SIGNATURE_TEXT_LEN];
            hf_aztec_signature_format(it->signature, signature);
            column_put(cols, C_EXTRA, signature, sizeof(signature) - 1);
        } else {
            column_put_text(cols, C_EXTRA, it->seen_token);
            column_put_number(cols, C_BLOCK, (int64_t)it->duty.block_number);
            column_put_number(cols, C_CHECK, (int64_t)it->duty.checkpoint_number);
        }
    }
    return count;
}

/* A statement whose parameters are the first n columns; the node id stands in the place of one. */
static bool send_columns(lane *ln, const char *name, int n, int node_at, const char *node_id)
{
    const char *values[COLUMNS_MAX];
    int lengths[COLUMNS_MAX], formats[COLUMNS_MAX];
    for (int i = 0; i < n; i++) {
        values[i] = i == node_at ? node_id : (const char *)ln->columns->bytes[i];
        lengths[i] = (int)ln->columns->len[i];
        formats[i] = i == node_at ? 0 : 1;
    }
    ln->statements++;
    return PQsendQueryPrepared(ln->conn, name, n, values, lengths, formats, 0) == 1;
}

static bool send_one(lane *ln, const char *name, int n, const char *const *values)
{
    ln->statements++;
    return PQsendQueryPrepared(ln->conn, name, n, values, NULL, NULL, 0) == 1;
}

/* Those that are new: the insert, then, in a snapshot of its own, which lie below a watermark. Of
 * the others, what is there, after the takeovers among them. */
static bool send_acquires(lane *ln, const char *node_id)
{
    if (put_items(ln, is_write) > 0) {
        ln->write_at = ln->statements;
        if (!send_columns(ln, "insert", ln->v2 ? 10 : 9, C_EXTRA, node_id) ||
            !send_columns(ln, "marks", 4, -1, NULL)) {
            return false;
        }
    }
    if (put_items(ln, is_takeover) > 0 &&
        (!send_one(ln, "durable", 0, NULL) || !send_columns(ln, "takeover", 9, C_BLOCK, node_id))) {
        return false;
    }
    if (put_items(ln, is_look) > 0) {
        ln->read_at = ln->statements;
        return send_columns(ln, "read", 6, -1, NULL);
    }
    return true;
}

/* Tells the fingerprints of what changes here to whoever waits. */
static bool send_notification(lane *ln)
{
    char text[BATCH_MAX * (FINGERPRINT_TEXT_LEN + 1) + 1];
    size_t len = 0;
    for (size_t i = 0; i < ln->batch_len; i++) {
        if (!ln->batch[i]->look) {
            int n = snprintf(text + len, sizeof(text) - len, "%016llx ",
                             (unsigned long long)ln->batch[i]->fingerprint);
            HF_ASSERT(n == FINGERPRINT_TEXT_LEN + 1);
            len += (size_t)n;
        }
    }
    text[len] = '\0';
    const char *values[] = {text};
    return len == 0 || send_one(ln, "notify", 1, values);
}

static bool send_completions(lane *ln)
{
    if (put_items(ln, is_write) > 0) {
        ln->write_at = ln->statements;
        if (!send_columns(ln, "complete", 8, -1, NULL)) {
            return false;
        }
    }
    if (put_items(ln, is_release) > 0 && !send_columns(ln, "release", 6, -1, NULL)) {
        return false;
    }
    if (put_items(ln, is_look) > 0) {
        ln->read_at = ln->statements;
        if (!send_columns(ln, "read", 6, -1, NULL)) {
            return false;
        }
    }
    return send_notification(ln);
}

bool statements_send(lane *ln, const char *node_id)
{
    ln->statements = 0;
    ln->write_at = -1;
    ln->read_at = -1;
    bool sent = ln->kind == LANE_ACQUIRE ? send_acquires(ln, node_id) : send_completions(ln);
    return sent && PQpipelineSync(ln->conn) == 1;
}
