/*
 * Connecting: to one host after the other, each with its share of the time that is left.
 *
 * libpq would stay with a host that does not answer until the time is over, and begin with it again
 * the next time; so it is given one host at a time, the one that answered last first.
 */
#include "protect/postgres_internal.h"

#include <poll.h>

#define OPTIONS_MAX 64
#define HOSTS_MAX 16
#define ELEMENT_LEN 300

/* ---- the URL ------------------------------------------------------------------------------ */

/* Ports are numbers and hosts hold no @: else a part of a password was taken for one of them, and
 * libpq's sentences would quote it. */
static bool is_sane(const PQconninfoOption *option)
{
    const char *value = option->val;
    if (value == NULL) {
        return true;
    }
    if (strcmp(option->keyword, "port") == 0) {
        return value[strspn(value, "0123456789,")] == '\0';
    }
    return strcmp(option->keyword, "host") != 0 || strchr(value, '@') == NULL;
}

hf_status hf_pg_check_url(const char *url, hf_error *err)
{
    char *said = NULL;
    bool is_url = strchr(url, '=') != NULL || strncmp(url, "postgres", strlen("postgres")) == 0;
    PQconninfoOption *options = is_url ? PQconninfoParse(url, &said) : NULL;
    bool good = options != NULL;
    for (const PQconninfoOption *o = options; good && o->keyword != NULL; o++) {
        good = is_sane(o);
    }
    /* What libpq says of it may quote the password too. */
    PQfreemem(said);
    PQconninfoFree(options);
    return good ? hf_ok()
                : hf_fail(err, HF_USAGE,
                          "the database URL cannot be read: postgresql://USER@HOST:PORT/DATABASE,"
                          " with a password only in percent-encoding");
}

/* The nth part of a list with commas; the only one when there is one. "" when there is none. */
static void take_element(const char *list, size_t n, char out[ELEMENT_LEN])
{
    const char *at = list == NULL ? "" : list;
    if (strchr(at, ',') != NULL) {
        for (; n > 0 && strchr(at, ',') != NULL; n--) {
            at = strchr(at, ',') + 1;
        }
    }
    (void)snprintf(out, ELEMENT_LEN, "%.*s", (int)strcspn(at, ","), at);
}

static size_t count_elements(const char *list)
{
    size_t count = 1;
    for (const char *at = list; at != NULL && *at != '\0'; at++) {
        count += *at == ',';
    }
    return count < HOSTS_MAX ? count : HOSTS_MAX;
}

static const char *option_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword != NULL; options++) {
        if (strcmp(options->keyword, keyword) == 0) {
            return options->val;
        }
    }
    return NULL;
}

static size_t count_hosts(const PQconninfoOption *options)
{
    size_t names = count_elements(option_of(options, "host"));
    size_t addresses = count_elements(option_of(options, "hostaddr"));
    return names > addresses ? names : addresses;
}

/* ---- one host ----------------------------------------------------------------------------- */

/* A database that speaks up in the log of ours would only repeat what the error says. But a commit
 * that stopped waiting for its standby counts as one, and only a warning tells. */
static void take_notice(void *context, const PGresult *notice)
{
    hf_pg_link *link = context;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    link->warned = link->warned || (severity != NULL && strcmp(severity, "WARNING") == 0);
}

/* What libpq is told: the URL's options, with one host, and ours. */
typedef struct choice {
    const char *names[OPTIONS_MAX];
    const char *values[OPTIONS_MAX];
    size_t count;
    char host[ELEMENT_LEN];
    char address[ELEMENT_LEN];
    char port[ELEMENT_LEN];
    char timeout[16];
} choice;

static void choose(choice *made, const char *name, const char *value)
{
    HF_ASSERT(made->count + 1 < OPTIONS_MAX);
    if (value != NULL && value[0] != '\0') {
        made->names[made->count] = name;
        made->values[made->count] = value;
        made->count++;
    }
}

static void choose_all(choice *made, const PQconninfoOption *options, size_t host, int left_ms)
{
    static const char *const replaced[] = {"host", "hostaddr", "port", "tcp_user_timeout",
                                           "client_encoding"};
    *made = (choice){0};
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        bool skip = false;
        for (size_t i = 0; i < HF_ARRAY_LEN(replaced); i++) {
            skip = skip || strcmp(o->keyword, replaced[i]) == 0;
        }
        choose(made, o->keyword, skip ? NULL : o->val);
    }
    take_element(option_of(options, "host"), host, made->host);
    take_element(option_of(options, "hostaddr"), host, made->address);
    take_element(option_of(options, "port"), host, made->port);
    (void)snprintf(made->timeout, sizeof made->timeout, "%d", left_ms > 0 ? left_ms : 1);
    choose(made, "host", made->host);
    choose(made, "hostaddr", made->address);
    choose(made, "port", made->port);
    choose(made, "tcp_user_timeout", made->timeout);
    choose(made, "client_encoding", "UTF8");
    choose(made, "fallback_application_name", "holdfast");
    if (option_of(options, "keepalives_idle") == NULL) {
        choose(made, "keepalives_idle", "5");
    }
    if (count_hosts(options) > 1 && option_of(options, "target_session_attrs") == NULL) {
        /* Standbys among them are passed over. */
        choose(made, "target_session_attrs", "read-write");
    }
}

static const char *remedy_of(const char *said, hf_code code)
{
    if (code == HF_NOT_FOUND) {
        return ": create it, or correct the URL";
    }
    if (code != HF_DENIED) {
        return "";
    }
    return strstr(said, "pg_hba") != NULL
               ? ": correct user, database or sslmode in the URL, or pg_hba.conf"
               : ": check the user and password in the URL";
}

static hf_status finish_connecting(hf_pg_link *link, hf_error *err)
{
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state == PGRES_POLLING_WRITING || state == PGRES_POLLING_READING) {
        if (!hf_pg_wait(link, state == PGRES_POLLING_READING ? POLLIN : POLLOUT)) {
            return hf_pg_fail_late(link, "no connection", err);
        }
        state = PQconnectPoll(link->conn);
    }
    if (state != PGRES_POLLING_OK) {
        char said[HF_ERROR_MSG_LEN / 2];
        hf_pg_first_line(said, sizeof said, PQerrorMessage(link->conn));
        /* Before there is a session libpq gives no SQLSTATE, only the server's words. */
        bool refused = strstr(said, "authentication failed") != NULL ||
                       strstr(said, "no password") != NULL || strstr(said, "pg_hba") != NULL;
        bool absent = strstr(said, "FATAL:  database") != NULL && strstr(said, "exist") != NULL;
        link->may_retry = !refused && !absent;
        hf_code code = refused ? HF_DENIED : absent ? HF_NOT_FOUND : HF_UNAVAILABLE;
        return hf_fail(err, code, "PostgreSQL: %s%s", said, remedy_of(said, code));
    }
    if (PQserverVersion(link->conn) < 120000) {
        return hf_fail(err, HF_CONFLICT, "PostgreSQL %d is too old: 12 or newer is needed",
                       PQserverVersion(link->conn) / 10000);
    }
    return hf_ok();
}

static hf_status connect_host(hf_pg_link *link, const PQconninfoOption *options, size_t host,
                              hf_error *err)
{
    choice made;
    choose_all(&made, options, host, hf_pg_remaining_ms(link));
    link->conn = PQconnectStartParams(made.names, made.values, 0);
    if (link->conn == NULL) {
        return hf_fail(err, HF_NOMEM, "PostgreSQL: out of memory");
    }
    (void)PQsetNoticeReceiver(link->conn, take_notice, link);
    hf_status st = PQstatus(link->conn) == CONNECTION_BAD ? hf_pg_fail_lost(link, err)
                                                          : finish_connecting(link, err);
    if (!hf_failed(st) &&
        (PQsetnonblocking(link->conn, 1) != 0 || PQenterPipelineMode(link->conn) != 1)) {
        st = hf_pg_fail_lost(link, err);
    }
    if (hf_failed(st)) {
        hf_pg_disconnect(link);
    }
    return st;
}

/* ---- all of them -------------------------------------------------------------------------- */

hf_status hf_pg_connect(hf_pg_link *link, const char *url, hf_error *err)
{
    hf_status st = hf_pg_check_url(url, err);
    PQconninfoOption *options = hf_failed(st) ? NULL : PQconninfoParse(url, NULL);
    uint64_t deadline_ns = link->deadline_ns;
    HF_ASSERT(link->conn == NULL);
    link->may_retry = false;
    if (!hf_failed(st) && options == NULL) {
        return hf_fail(err, HF_NOMEM, "PostgreSQL: out of memory");
    }
    size_t count = options == NULL ? 0 : count_hosts(options);
    for (size_t i = 0; i < count; i++) {
        size_t host = (link->host + i) % count;
        uint64_t now = hf_time_mono_ns();
        uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
        link->deadline_ns = now + left / (count - i);
        st = connect_host(link, options, host, err);
        link->deadline_ns = deadline_ns;
        if (st.code != HF_UNAVAILABLE) {
            link->host = hf_failed(st) ? link->host : host;
            break;
        }
    }
    PQconninfoFree(options);
    return st;
}
