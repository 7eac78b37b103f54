/*
 * A connection to PostgreSQL whose every wait ends at a deadline.
 *
 * libpq is used without blocking, in pipeline mode: statements are queued, sent together, and their
 * answers read together. Whatever fails, the connection is closed: nothing of it is believed again.
 */
#include "protect/postgres_internal.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>

/* ---- failures ----------------------------------------------------------------------------- */

typedef struct failure {
    const char *state; /* SQLSTATE, or its first characters */
    hf_code code;
    bool may_retry;
    const char *remedy;
} failure;

/* The first that fits; the last fits all. */
static const failure failures[] = {
    {"08", HF_UNAVAILABLE, true, ""},
    {"57P", HF_UNAVAILABLE, true, ""},
    {"40", HF_UNAVAILABLE, true, ""},    /* deadlock, serialization */
    {"23505", HF_UNAVAILABLE, true, ""}, /* recorded by another node in between */
    {"23503", HF_UNAVAILABLE, true, ""},
    {"55P03", HF_UNAVAILABLE, false, " (another node or Web3Signer holds the lock)"},
    {"57014", HF_UNAVAILABLE, false, " (the deadline was over)"},
    {"25006", HF_UNAVAILABLE, false, ": the server is read-only; name the primary in the URL"},
    {"25P0", HF_UNAVAILABLE, true, ""},
    {"28", HF_DENIED, false, ": check the user and password in the URL, and pg_hba.conf"},
    {"3D000", HF_NOT_FOUND, false, ": create it, or correct the URL"},
    {"42501", HF_DENIED, false, ": grant the role the right"},
    {"42", HF_CORRUPT, false, ": the schema is not what it should be; holdfast db migrate status"},
    {"P0001", HF_CONFLICT, false, ""}, /* raised by the rules of the schema */
    {"53", HF_UNAVAILABLE, false, ""}, /* disk full, no more connections */
    {"XX", HF_CORRUPT, false, ""},
    {"22012", HF_CONFLICT, false, ""}, /* postgres_records.c divides by the rows changed */
    {"22P02", HF_CORRUPT, false, ""},  /* postgres_sql.c, where a batch was not counted */
    {"22", HF_INVALID_INPUT, false, ""},
    {"", HF_UNAVAILABLE, false, ""},
};

static const failure *find_failure(const char *state)
{
    size_t i = 0;
    while (strncmp(state, failures[i].state, strlen(failures[i].state)) != 0) {
        i++;
    }
    return &failures[i];
}

/* The first line of what libpq or the server says, escaped. */
void hf_pg_first_line(char *out, size_t out_len, const char *text)
{
    char line[HF_ERROR_MSG_LEN / 2];
    hf_str_cut(line, sizeof line, text == NULL ? "" : text);
    line[strcspn(line, "\n")] = '\0';
    hf_str_sanitize(out, out_len, line);
}

static hf_status fail_result(hf_pg_link *link, const PGresult *result, hf_error *err)
{
    char said[HF_ERROR_MSG_LEN / 2];
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const failure *what = find_failure(state == NULL ? "08" : state);
    hf_pg_first_line(said, sizeof said, primary != NULL ? primary : PQresultErrorMessage(result));
    link->may_retry = what->may_retry;
    link->lock_held = state != NULL && strcmp(state, "55P03") == 0;
    return hf_fail(err, what->code, "PostgreSQL: %s%s", said, what->remedy);
}

hf_status hf_pg_fail_lost(hf_pg_link *link, hf_error *err)
{
    char said[HF_ERROR_MSG_LEN / 2];
    hf_pg_first_line(said, sizeof said, link->conn == NULL ? "" : PQerrorMessage(link->conn));
    link->may_retry = true;
    return hf_fail(err, HF_UNAVAILABLE, "PostgreSQL: %s",
                   said[0] == '\0' ? "the connection is lost" : said);
}

hf_status hf_pg_fail_late(hf_pg_link *link, const char *what, hf_error *err)
{
    link->may_retry = false;
    return hf_fail(err, HF_UNAVAILABLE, "PostgreSQL: %s within the deadline", what);
}

/* ---- waiting ------------------------------------------------------------------------------ */

/* Milliseconds until the deadline, rounded up; 0 when it is over. */
int hf_pg_remaining_ms(const hf_pg_link *link)
{
    uint64_t now = hf_time_mono_ns();
    if (now >= link->deadline_ns) {
        return 0;
    }
    uint64_t ms = (link->deadline_ns - now + HF_NS_PER_MS - 1) / HF_NS_PER_MS;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* False when the deadline came first. */
bool hf_pg_wait(const hf_pg_link *link, short events)
{
    for (;;) {
        struct pollfd fd = {.fd = PQsocket(link->conn), .events = events};
        int left = hf_pg_remaining_ms(link);
        int n = left == 0 ? 0 : poll(&fd, 1, left);
        if (n > 0) {
            return true;
        }
        if (n == 0 || errno != EINTR) {
            return false;
        }
    }
}

/* ---- round trips -------------------------------------------------------------------------- */

static void clear_results(hf_pg_link *link)
{
    for (size_t i = 0; i < link->count; i++) {
        PQclear(link->results[i]);
    }
    link->count = 0;
    link->has_landed = false;
    link->fault.code = HF_OK;
}

void hf_pg_disconnect(hf_pg_link *link)
{
    clear_results(link);
    link->in_air = 0;
    link->connection++;
    free(link->results);
    link->results = NULL;
    link->capacity = 0;
    link->sent = 0;
    PQfinish(link->conn);
    link->conn = NULL;
}

static hf_status queued(hf_pg_link *link, int ok, hf_error *err)
{
    if (ok != 1) {
        hf_status st = hf_pg_fail_lost(link, err);
        hf_pg_disconnect(link);
        return st;
    }
    link->sent++;
    return hf_ok();
}

/* libpq takes parameters as parallel arrays. */
typedef struct raw_params {
    const char *values[HF_PG_PARAMS_MAX];
    int lengths[HF_PG_PARAMS_MAX];
    int formats[HF_PG_PARAMS_MAX];
    int count;
} raw_params;

static raw_params raw_from(const hf_pg_params *params)
{
    raw_params raw = {0};
    if (params == NULL) {
        return raw;
    }
    raw.count = params->count;
    for (int i = 0; i < raw.count; i++) {
        HF_ASSERT(params->items[i].len <= INT_MAX);
        raw.values[i] = (const char *)params->items[i].ptr;
        raw.lengths[i] = (int)params->items[i].len;
        raw.formats[i] = 1;
    }
    return raw;
}

hf_status hf_pg_send_text(hf_pg_link *link, const char *text, const hf_pg_params *params,
                          hf_error *err)
{
    raw_params raw = raw_from(params);
    return queued(link,
                  PQsendQueryParams(link->conn, text, raw.count, NULL, raw.values, raw.lengths,
                                    raw.formats, 1),
                  err);
}

hf_status hf_pg_send(hf_pg_link *link, const char *name, const hf_pg_params *params, hf_error *err)
{
    raw_params raw = raw_from(params);
    return queued(
        link,
        PQsendQueryPrepared(link->conn, name, raw.count, raw.values, raw.lengths, raw.formats, 1),
        err);
}

hf_status hf_pg_send_prepare(hf_pg_link *link, const char *name, const char *text, hf_error *err)
{
    return queued(link, PQsendPrepare(link->conn, name, text, 0, NULL), err);
}

hf_status hf_pg_flush(hf_pg_link *link, hf_error *err)
{
    int unsent = 0;
    while ((unsent = PQflush(link->conn)) > 0) {
        if (!hf_pg_wait(link, POLLIN | POLLOUT)) {
            return hf_pg_fail_late(link, "it takes nothing", err);
        }
        if (PQconsumeInput(link->conn) != 1) {
            unsent = -1;
            break;
        }
    }
    return unsent == 0 ? hf_ok() : hf_pg_fail_lost(link, err);
}

/* Sends what is queued and waits for something to read. */
static hf_status exchange(hf_pg_link *link, hf_error *err)
{
    int unsent = PQflush(link->conn);
    if (unsent < 0) {
        return hf_pg_fail_lost(link, err);
    }
    short events = unsent > 0 ? (short)(POLLIN | POLLOUT) : (short)POLLIN;
    if (!hf_pg_wait(link, events)) {
        return hf_pg_fail_late(link, "no answer", err);
    }
    return PQconsumeInput(link->conn) == 1 ? hf_ok() : hf_pg_fail_lost(link, err);
}

static hf_status keep_result(hf_pg_link *link, PGresult *take_result, hf_error *err)
{
    if (link->count == link->capacity) {
        size_t capacity = link->capacity == 0 ? 16 : link->capacity * 2;
        PGresult **results = realloc(link->results, capacity * sizeof *results);
        if (results == NULL) {
            PQclear(take_result);
            return hf_fail(err, HF_NOMEM, "PostgreSQL: out of memory");
        }
        link->results = results;
        link->capacity = capacity;
    }
    link->results[link->count++] = take_result;
    return hf_ok();
}

/* One answer, or nothing between two of them. */
static hf_status take_answer(hf_pg_link *link, bool *ret_end, hf_error *err)
{
    PGresult *result = PQgetResult(link->conn);
    if (result == NULL) {
        return PQstatus(link->conn) == CONNECTION_OK ? hf_ok() : hf_pg_fail_lost(link, err);
    }
    ExecStatusType state = PQresultStatus(result);
    if (state == PGRES_PIPELINE_SYNC) {
        *ret_end = true;
        PQclear(result);
        return hf_ok();
    }
    hf_status st = hf_ok();
    if (state != PGRES_TUPLES_OK && state != PGRES_COMMAND_OK) {
        st = PQstatus(link->conn) == CONNECTION_OK || PQresultErrorField(result, PG_DIAG_SQLSTATE)
                 ? fail_result(link, result, err)
                 : hf_pg_fail_lost(link, err);
        PQclear(result);
        return st;
    }
    return keep_result(link, result, err);
}

hf_status hf_pg_launch(hf_pg_link *link, size_t *ret_statements, hf_error *err)
{
    hf_status st = hf_ok();
    if (link->in_air == 0) { /* a warning is of all that were in the air with it */
        clear_results(link);
        link->warned = false;
    }
    *ret_statements = link->sent;
    link->sent = 0;
    link->trips++;
    link->in_air++;
    link->may_retry = false;
    link->lock_held = false;
    if (PQpipelineSync(link->conn) != 1) {
        st = hf_pg_fail_lost(link, err);
        hf_pg_disconnect(link);
    }
    return st;
}

/* Takes the answers that are here already; true when there is no more to wait for. */
static bool take_answers(hf_pg_link *link)
{
    hf_status st = {link->fault.code};
    while (!hf_failed(st) && !link->has_landed && !PQisBusy(link->conn)) {
        st = take_answer(link, &link->has_landed, &link->fault);
    }
    return hf_failed(st) || link->has_landed;
}

bool hf_pg_has_landed(hf_pg_link *link)
{
    if (link->fault.code == HF_OK && !take_answers(link) && PQconsumeInput(link->conn) != 1) {
        return hf_failed(hf_pg_fail_lost(link, &link->fault));
    }
    return take_answers(link);
}

hf_status hf_pg_land(hf_pg_link *link, size_t statements, hf_error *err)
{
    hf_status st = hf_ok();
    HF_ASSERT(link->in_air > 0);
    while (!hf_failed(st) && !take_answers(link)) {
        st = exchange(link, err);
    }
    if (!hf_failed(st) && link->fault.code != HF_OK) {
        st = hf_fail(err, link->fault.code, "%s", link->fault.msg);
    }
    if (!hf_failed(st) && link->count != statements) {
        st = hf_fail(err, HF_UNAVAILABLE, "PostgreSQL: an answer is missing");
    }
    if (!hf_failed(st) && link->warned) {
        st = hf_fail(err, HF_UNAVAILABLE,
                     "PostgreSQL: it warned; what was recorded may not be with the standby");
    }
    if (hf_failed(st)) {
        hf_pg_disconnect(link);
    } else {
        link->in_air--;
    }
    return st;
}

void hf_pg_forget(hf_pg_link *link)
{
    clear_results(link);
}

hf_status hf_pg_trip(hf_pg_link *link, hf_error *err)
{
    size_t statements = 0;
    HF_ASSERT(link->in_air == 0);
    hf_status st = hf_pg_launch(link, &statements, err);
    return hf_failed(st) ? st : hf_pg_land(link, statements, err);
}

hf_status hf_pg_query(hf_pg_link *link, const char *text, const hf_pg_params *params, hf_error *err)
{
    hf_status st = hf_pg_send_text(link, text, params, err);
    return hf_failed(st) ? st : hf_pg_trip(link, err);
}

hf_status hf_pg_script(hf_pg_link *link, const char *const *texts, hf_error *err)
{
    hf_status st = hf_ok();
    for (; *texts != NULL && !hf_failed(st); texts++) {
        st = hf_pg_send_text(link, *texts, NULL, err);
    }
    return hf_failed(st) ? st : hf_pg_trip(link, err);
}

/* ---- answers ------------------------------------------------------------------------------ */

const PGresult *hf_pg_result(const hf_pg_link *link, size_t statement)
{
    return statement < link->count ? link->results[statement] : NULL;
}

int hf_pg_rows(const PGresult *result)
{
    return result == NULL ? 0 : PQntuples(result);
}

hf_bytes hf_pg_bytes(const PGresult *result, int row, int column)
{
    if (row >= hf_pg_rows(result) || PQgetisnull(result, row, column)) {
        return (hf_bytes){0};
    }
    return hf_bytes_from(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

int64_t hf_pg_i64(const PGresult *result, int row, int column, int64_t otherwise)
{
    hf_bytes bytes = hf_pg_bytes(result, row, column);
    uint64_t value;
    if (bytes.ptr == NULL || bytes.len != sizeof value) {
        return otherwise;
    }
    memcpy(&value, bytes.ptr, sizeof value);
    return (int64_t)be64toh(value);
}

int32_t hf_pg_i32(const PGresult *result, int row, int column, int32_t otherwise)
{
    hf_bytes bytes = hf_pg_bytes(result, row, column);
    uint32_t value;
    if (bytes.ptr == NULL || bytes.len != sizeof value) {
        return otherwise;
    }
    memcpy(&value, bytes.ptr, sizeof value);
    return (int32_t)ntohl(value);
}

bool hf_pg_bool(const PGresult *result, int row, int column)
{
    hf_bytes bytes = hf_pg_bytes(result, row, column);
    return bytes.len == 1 && bytes.ptr[0] == 1;
}

const char *hf_pg_text(const PGresult *result, int row, int column)
{
    return row < hf_pg_rows(result) ? PQgetvalue(result, row, column) : "";
}

/* ---- parameters --------------------------------------------------------------------------- */

void hf_pg_param(hf_pg_params *params, const void *ptr, size_t len)
{
    HF_ASSERT(params->count < HF_PG_PARAMS_MAX);
    params->items[params->count++] = hf_bytes_from(ptr, len);
}

void hf_pg_param_i64(hf_pg_params *params, uint8_t storage[8], int64_t value)
{
    uint64_t wire = htobe64((uint64_t)value);
    memcpy(storage, &wire, sizeof wire);
    hf_pg_param(params, storage, sizeof wire);
}

void hf_pg_param_buf(hf_pg_params *params, const hf_buf *array)
{
    hf_pg_param(params, hf_buf_peek(array), hf_buf_len(array));
}

static hf_status put_u32(hf_buf *array, uint32_t value)
{
    uint32_t wire = htonl(value);
    return hf_buf_put(array, &wire, sizeof wire);
}

hf_status hf_pg_array_begin(hf_buf *array, hf_pg_type type, size_t count)
{
    /* Dimensions, may hold NULL, type, then length and first index of the one dimension. */
    const uint32_t head[] = {count == 0 ? 0 : 1, 1, (uint32_t)type, (uint32_t)count, 1};
    size_t words = count == 0 ? 3 : HF_ARRAY_LEN(head);
    hf_status st = hf_ok();
    hf_buf_reset(array);
    for (size_t i = 0; i < words && !hf_failed(st); i++) {
        st = put_u32(array, head[i]);
    }
    return st;
}

hf_status hf_pg_array_bytes(hf_buf *array, const uint8_t *ptr, size_t len)
{
    hf_status st = put_u32(array, ptr == NULL ? UINT32_MAX : (uint32_t)len);
    return hf_failed(st) || ptr == NULL ? st : hf_buf_put(array, ptr, len);
}

hf_status hf_pg_array_i32(hf_buf *array, int32_t value)
{
    uint32_t wire = htonl((uint32_t)value);
    return hf_pg_array_bytes(array, (const uint8_t *)&wire, sizeof wire);
}

hf_status hf_pg_array_i64(hf_buf *array, int64_t value)
{
    uint64_t wire = htobe64((uint64_t)value);
    return hf_pg_array_bytes(array, (const uint8_t *)&wire, sizeof wire);
}
