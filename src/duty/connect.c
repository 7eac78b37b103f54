/* Connections: opening one with a bound, its session settings, errors in words. Blocking. */
#include <errno.h>
#include <poll.h>

#include "duty/duty_internal.h"

#define APPLICATION_NAME "holdfast-duty"

void duty_error_set(hf_duty_error *error, hf_duty_result result, const char *fmt, ...)
{
    if (error == NULL) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    char text[HF_DUTY_MESSAGE_LEN];
    if (vsnprintf(text, sizeof(text), fmt, args) < 0) {
        text[0] = '\0';
    }
    va_end(args);
    /* libpq ends its sentences with a line feed. */
    for (char *p = text; *p != '\0'; p++) {
        if (*p == '\n') {
            *p = p[1] == '\0' ? '\0' : ' ';
        }
    }
    error->result = result;
    hf_str_sanitize(error->message, sizeof(error->message), text);
}

hf_status duty_error_status(const hf_duty_error *from, hf_error *err)
{
    hf_code code = HF_INTERNAL;
    if (from->result == HF_DUTY_UNAVAILABLE) {
        code = HF_UNAVAILABLE;
    } else if (from->result == HF_DUTY_ACCESS) {
        code = HF_DENIED;
    } else if (from->result == HF_DUTY_CONFIG) {
        code = HF_USAGE;
    } else if (from->result == HF_DUTY_SCHEMA) {
        code = HF_CONFLICT;
    } else if (from->result == HF_DUTY_NO_MEMORY) {
        code = HF_NOMEM;
    }
    return hf_fail(err, code, "%s", from->message);
}

hf_duty_result sqlstate_result(const char *sqlstate)
{
    if (sqlstate == NULL || strlen(sqlstate) != 5) {
        return HF_DUTY_UNAVAILABLE; /* no answer at all: the connection broke */
    }
    static const struct {
        const char *prefix;
        hf_duty_result result;
    } table[] = {
        {"28", HF_DUTY_ACCESS},         {"42501", HF_DUTY_ACCESS},      {"3D000", HF_DUTY_CONFIG},
        {"42", HF_DUTY_SCHEMA},         {"08", HF_DUTY_UNAVAILABLE},    {"53", HF_DUTY_UNAVAILABLE},
        {"57", HF_DUTY_UNAVAILABLE},    {"40", HF_DUTY_UNAVAILABLE},    {"55", HF_DUTY_UNAVAILABLE},
        {"25006", HF_DUTY_UNAVAILABLE}, {"26000", HF_DUTY_UNAVAILABLE}, {"58", HF_DUTY_UNAVAILABLE},
        {"XX", HF_DUTY_CORRUPT},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
        if (strncmp(sqlstate, table[i].prefix, strlen(table[i].prefix)) == 0) {
            return table[i].result;
        }
    }
    return HF_DUTY_INTERNAL;
}

PGresult *connect_query(PGconn *conn, const char *sql, hf_duty_error *error)
{
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        return result;
    }
    duty_error_set(error, sqlstate_result(PQresultErrorField(result, PG_DIAG_SQLSTATE)),
                   "the database refused: %s",
                   result != NULL ? PQresultErrorMessage(result) : PQerrorMessage(conn));
    PQclear(result);
    return NULL;
}

bool connect_run(PGconn *conn, const char *sql, hf_duty_error *error)
{
    PGresult *result = connect_query(conn, sql, error);
    PQclear(result);
    return result != NULL;
}

/* A failure before the session exists has no SQLSTATE in libpq 15; the sentence must do. */
static hf_duty_result connect_failure(const char *message)
{
    static const char *const refusals[] = {"password", "authentication", "no pg_hba.conf entry",
                                           "role \"", "certificate"};
    for (size_t i = 0; i < HF_ARRAY_LEN(refusals); i++) {
        if (strstr(message, refusals[i]) != NULL) {
            return HF_DUTY_ACCESS;
        }
    }
    bool no_database =
        strstr(message, "database \"") != NULL && strstr(message, "does not exist") != NULL;
    return no_database ? HF_DUTY_CONFIG : HF_DUTY_UNAVAILABLE;
}

/* Drives the connection until it is made, fails, is late or stopped. */
static PostgresPollingStatusType connect_wait(PGconn *conn, uint64_t end_ns, int stop_fd)
{
    PostgresPollingStatusType want = PGRES_POLLING_WRITING;
    while (want != PGRES_POLLING_OK && want != PGRES_POLLING_FAILED) {
        uint64_t now = hf_time_mono_ns();
        if (now >= end_ns) {
            break;
        }
        struct pollfd fds[2] = {
            {.fd = PQsocket(conn), .events = want == PGRES_POLLING_READING ? POLLIN : POLLOUT},
            {.fd = stop_fd, .events = POLLIN},
        };
        int left_ms = (int)((end_ns - now) / HF_NS_PER_MS) + 1;
        int n = poll(fds, 2, left_ms);
        if (n < 0 && errno != EINTR) {
            break;
        }
        if (n > 0 && fds[1].revents != 0) {
            break;
        }
        if (n > 0 && fds[0].revents != 0) {
            want = PQconnectPoll(conn);
        }
    }
    return want;
}

/*
 * Zone, isolation, time-outs and plans are ours whatever the server's defaults are. The server
 * probes a silent client, which may have vanished amid a batch, with rows locked. Nested loops
 * over the arrays, by the primary key, are always right here; so the plans are made once.
 */
static bool session_setup(PGconn *conn, uint32_t timeout_ms, hf_duty_error *error)
{
    char sql[1024];
    int n = snprintf(sql, sizeof(sql),
                     "SET client_encoding = 'UTF8';"
                     "SET TimeZone = 'UTC';"
                     "SET default_transaction_isolation = 'read committed';"
                     "SET client_min_messages = warning;"
                     "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1;"
                     "SET tcp_keepalives_count = 3;"
                     "SET statement_timeout = %u;"
                     "SET lock_timeout = %u;"
                     "SET idle_in_transaction_session_timeout = %u;"
                     "SET enable_hashjoin = off; SET enable_mergejoin = off;"
                     "SET enable_seqscan = off; SET enable_bitmapscan = off;"
                     "SET jit = off;"
                     "SET plan_cache_mode = force_generic_plan;"
                     "SELECT set_config('synchronous_commit', 'on', false)"
                     " WHERE current_setting('synchronous_commit') IN ('off', 'local')",
                     timeout_ms, timeout_ms / 2 + 1, timeout_ms * 4);
    HF_ASSERT(n > 0 && (size_t)n < sizeof(sql));
    return connect_run(conn, sql, error);
}

/* Notices of the server go nowhere: the library prints nothing. */
static void ignore_notice(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

hf_duty_result connect_open(const char *url, uint32_t timeout_ms, uint32_t statement_ms,
                            int stop_fd, PGconn **ret_conn, hf_duty_error *error)
{
    /* What stands before dbname can be overridden by the URL. */
    static const char *const keywords[] = {"fallback_application_name",
                                           "keepalives_idle",
                                           "keepalives_interval",
                                           "keepalives_count",
                                           "tcp_user_timeout",
                                           "target_session_attrs",
                                           "dbname",
                                           NULL};
    const char *const values[] = {APPLICATION_NAME, "10",         "5", "3",
                                  "10000",          "read-write", url, NULL};
    hf_duty_error found = {.result = HF_DUTY_UNAVAILABLE};
    PGconn *conn = PQconnectStartParams(keywords, values, 1);
    if (conn == NULL) {
        duty_error_set(error, HF_DUTY_NO_MEMORY, "no memory for a connection");
        return HF_DUTY_NO_MEMORY;
    }
    uint64_t end_ns = hf_time_mono_ns() + timeout_ms * HF_NS_PER_MS;
    if (PQstatus(conn) == CONNECTION_BAD) {
        duty_error_set(&found, connect_failure(PQerrorMessage(conn)),
                       "cannot connect to the database: %s", PQerrorMessage(conn));
        goto fail;
    }
    PostgresPollingStatusType state = connect_wait(conn, end_ns, stop_fd);
    if (state == PGRES_POLLING_FAILED) {
        duty_error_set(&found, connect_failure(PQerrorMessage(conn)),
                       "cannot connect to the database: %s", PQerrorMessage(conn));
        goto fail;
    }
    if (state != PGRES_POLLING_OK) {
        duty_error_set(&found, HF_DUTY_UNAVAILABLE,
                       "cannot connect to the database: no answer within %u ms", timeout_ms);
        goto fail;
    }
    (void)PQsetNoticeReceiver(conn, ignore_notice, NULL);
    if (!session_setup(conn, statement_ms, &found)) {
        goto fail;
    }
    *ret_conn = conn;
    return HF_DUTY_OK;

fail:
    PQfinish(conn);
    if (error != NULL) {
        *error = found;
    }
    return found.result;
}
