/* The attendant's thread: everything that blocks. It connects lanes, migrates, cleans. */
#include <errno.h>

#include "duty/duty_internal.h"

#define RETRY_FIRST_MS 50
#define RETRY_MOST_MS 1000
#define CLEAN_STATEMENT_MS 30000
#define MIGRATE_MS 30000
#define CONNECT_MS_DEFAULT 5000

static uint32_t connect_ms(const hf_duty_config *config)
{
    return config->pool_connection_timeout_ms != 0 ? config->pool_connection_timeout_ms
                                                   : CONNECT_MS_DEFAULT;
}

static void deadline_in(struct timespec *ret_at, uint64_t ms)
{
    (void)clock_gettime(CLOCK_MONOTONIC, ret_at);
    ret_at->tv_sec += (time_t)(ms / 1000);
    ret_at->tv_nsec += (long)(ms % 1000) * 1000000L;
    if (ret_at->tv_nsec >= 1000000000L) {
        ret_at->tv_sec++;
        ret_at->tv_nsec -= 1000000000L;
    }
}

/* One connection, checked, its schema brought up when that is wanted, statements prepared. */
static hf_duty_result lane_connect(hf_duty_engine *engine, lane_kind kind, PGconn **ret_conn,
                                   bool *ret_v2, hf_duty_error *error)
{
    const hf_duty_config *config = &engine->config;
    PGconn *conn = NULL;
    hf_duty_schema schema = {0};
    hf_duty_result result =
        connect_open(config->database_url, connect_ms(config), config->database_timeout_ms,
                     engine->stop.fd, &conn, error);
    if (result != HF_DUTY_OK) {
        return result;
    }
    result = schema_check(conn, &schema, error);
    if (result == HF_DUTY_SCHEMA && config->auto_migrate) {
        result = schema_migrate(conn, 0, MIGRATE_MS, error);
        /* The migration had its own time-outs: start over with the session's. */
        PQfinish(conn);
        conn = NULL;
        if (result != HF_DUTY_OK) {
            return result;
        }
        result = connect_open(config->database_url, connect_ms(config), config->database_timeout_ms,
                              engine->stop.fd, &conn, error);
        if (result == HF_DUTY_OK) {
            result = schema_check(conn, &schema, error);
        }
    }
    if (result == HF_DUTY_OK) {
        result = statements_prepare(conn, kind, schema.package_version >= 2, error);
    }
    if (result == HF_DUTY_OK && kind != LANE_LISTEN && PQenterPipelineMode(conn) != 1) {
        result = HF_DUTY_INTERNAL;
        duty_error_set(error, result, "libpq refuses its pipeline mode");
    }
    if (result == HF_DUTY_OK && PQsetnonblocking(conn, 1) != 0) {
        result = HF_DUTY_INTERNAL;
        duty_error_set(error, result, "libpq refuses its non-blocking mode");
    }
    if (result != HF_DUTY_OK) {
        PQfinish(conn);
        return result;
    }
    *ret_conn = conn;
    *ret_v2 = schema.package_version >= 2;
    return HF_DUTY_OK;
}

static lane *wanted_lane(hf_duty_engine *engine)
{
    for (size_t i = 0; i <= engine->lanes_len; i++) {
        if (engine->lanes[i].wanted) {
            return &engine->lanes[i];
        }
    }
    return NULL;
}

/* The first lane of each kind is there: the engine can work. */
static bool is_complete(const hf_duty_engine *engine)
{
    for (size_t i = 0; i <= engine->lanes_len; i++) {
        if (engine->lanes[i].wanted && !engine->lanes[i].spare) {
            return false;
        }
    }
    return true;
}

/* Connects the lane without the mutex, hands it over with it. How long to pause afterwards. */
static uint64_t serve_lane(hf_duty_engine *engine, lane *ln, uint64_t pause_ms)
{
    PGconn *conn = NULL;
    bool v2 = false;
    hf_duty_error error = {.result = HF_DUTY_OK};
    lane_kind kind = ln->kind;
    pthread_mutex_unlock(&engine->mutex);
    hf_duty_result result = lane_connect(engine, kind, &conn, &v2, &error);
    pthread_mutex_lock(&engine->mutex);
    if (result == HF_DUTY_OK) {
        ln->incoming = conn;
        ln->incoming_v2 = v2;
        ln->wanted = false;
        pause_ms = 0;
        engine->ready = is_complete(engine);
        engine->last_error.result = HF_DUTY_OK;
    } else if (ln->spare) {
        ln->wanted = false; /* asked for again when it would help */
        return 0;
    } else {
        error.result = result;
        engine->last_error = error;
        engine->ready = false;
        pause_ms = pause_ms == 0 ? RETRY_FIRST_MS : pause_ms * 2;
        pause_ms = pause_ms > RETRY_MOST_MS ? RETRY_MOST_MS : pause_ms;
    }
    engine->last_error_ns = hf_time_mono_ns();
    pthread_cond_broadcast(&engine->changed);
    engine_wake(&engine->wake);
    return pause_ms;
}

static void serve_cleanup(hf_duty_engine *engine)
{
    PGconn *conn = NULL;
    uint64_t stuck = 0, old = 0, run = engine->clean_asked;
    hf_duty_error error = {.result = HF_DUTY_OK};
    pthread_mutex_unlock(&engine->mutex);
    hf_duty_result result = connect_open(engine->config.database_url, connect_ms(&engine->config),
                                         CLEAN_STATEMENT_MS, engine->stop.fd, &conn, &error);
    if (result == HF_DUTY_OK) {
        result = clean_run(conn, &engine->config, &stuck, &old, &error);
        PQfinish(conn);
    }
    engine_count(engine, offsetof(hf_duty_counters, cleaned_stuck), stuck);
    engine_count(engine, offsetof(hf_duty_counters, cleaned_old), old);
    pthread_mutex_lock(&engine->mutex);
    error.result = result;
    engine->clean_error = error;
    engine->clean_rows = stuck + old;
    engine->clean_done = run;
    pthread_cond_broadcast(&engine->changed);
}

void *attendant_main(void *arg)
{
    hf_duty_engine *engine = arg;
    uint64_t pause_ms = 0, retry_ns = 0, clean_ns = 0;
    pthread_mutex_lock(&engine->mutex);
    while (!engine->closing) {
        uint64_t now = hf_time_mono_ns();
        lane *ln = wanted_lane(engine);
        if (ln != NULL && now >= retry_ns) {
            pause_ms = serve_lane(engine, ln, pause_ms);
            retry_ns = hf_time_mono_ns() + pause_ms * HF_NS_PER_MS;
            continue;
        }
        if (engine->clean_asked != engine->clean_done || (engine->cleaning && now >= clean_ns)) {
            serve_cleanup(engine);
            clean_ns = hf_time_mono_ns() + engine->config.cleanup_interval_ms * HF_NS_PER_MS;
            continue;
        }
        uint64_t next = engine->cleaning ? clean_ns : now + HF_NS_PER_SECOND * 60;
        next = ln != NULL && retry_ns < next ? retry_ns : next;
        struct timespec at;
        deadline_in(&at, next > now ? (next - now) / HF_NS_PER_MS + 1 : 1);
        (void)pthread_cond_timedwait(&engine->attend, &engine->mutex, &at);
    }
    pthread_mutex_unlock(&engine->mutex);
    return NULL;
}
