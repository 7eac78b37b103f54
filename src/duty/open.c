/* The engine's life, and the way of requests into it. */
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "duty/duty_internal.h"

#define LANES_LEAST 2
#define CLEANUP_WAIT_MS 30000

static hf_status config_check(const hf_duty_config *config, hf_error *err)
{
    if (config->database_url[0] == '\0') {
        return hf_fail(err, HF_USAGE, "no database URL (VALIDATOR_HA_DATABASE_URL)");
    }
    if (config->node_id[0] == '\0') {
        return hf_fail(err, HF_USAGE,
                       "a node id is required where several nodes sign (VALIDATOR_HA_NODE_ID)");
    }
    for (const char *p = config->node_id; *p != '\0'; p++) {
        if (*p < 0x20 || *p > 0x7e) {
            return hf_fail(err, HF_USAGE, "the node id holds characters that are not printable");
        }
    }
    if (config->database_timeout_ms == 0 || config->polling_interval_ms == 0 ||
        config->max_stuck_age_ms == 0 || config->cleanup_interval_ms == 0 ||
        config->max_waiting == 0) {
        return hf_fail(err, HF_USAGE,
                       "polling interval, database time-out, age of stuck duties, cleanup interval"
                       " and bound of waits may not be 0");
    }
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(config->database_url, &message);
    if (options == NULL) {
        hf_status st = hf_fail(err, HF_USAGE,
                               "the database URL is not one that libpq reads"
                               " (postgresql://user@host:port/database)");
        PQfreemem(message);
        return st;
    }
    PQconninfoFree(options);
    return hf_ok();
}

static void lanes_plan(hf_duty_engine *engine)
{
    /* One of the connections listens; the rest is for both kinds alike. */
    size_t lanes =
        engine->config.pool_max > LANES_LEAST ? engine->config.pool_max - 1 : LANES_LEAST;
    engine->lanes_len = lanes > LANES_MAX ? LANES_MAX : lanes;
    for (size_t i = 0; i < engine->lanes_len; i++) {
        engine->lanes[i].kind = i % 2 == 0 ? LANE_ACQUIRE : LANE_COMPLETE;
        engine->lanes[i].spare = i >= LANES_LEAST;
        engine->lanes[i].wanted = !engine->lanes[i].spare;
    }
    engine->lanes[engine->lanes_len].kind = LANE_LISTEN;
    engine->lanes[engine->lanes_len].wanted = true;
}

static hf_status lanes_memory(hf_duty_engine *engine)
{
    for (size_t i = 0; i < engine->lanes_len; i++) {
        engine->lanes[i].columns = calloc(1, sizeof(columns));
        if (engine->lanes[i].columns == NULL) {
            return (hf_status){HF_NOMEM};
        }
    }
    return hf_ok();
}

static hf_status sync_init(hf_duty_engine *engine)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) {
        return (hf_status){HF_NOMEM};
    }
    bool made = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                pthread_mutex_init(&engine->mutex, NULL) == 0 &&
                pthread_cond_init(&engine->attend, &attributes) == 0 &&
                pthread_cond_init(&engine->changed, &attributes) == 0;
    (void)pthread_condattr_destroy(&attributes);
    return made ? hf_ok() : (hf_status){HF_NOMEM};
}

hf_status hf_duty_engine_open(const hf_duty_config *config, hf_duty_engine **ret_engine,
                              hf_error *err)
{
    uint8_t instance[16];
    hf_status st = config_check(config, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_duty_engine *engine = calloc(1, sizeof(*engine));
    if (engine == NULL) {
        return hf_fail(err, HF_NOMEM, "no memory for the duty engine");
    }
    engine->config = *config;
    engine->wake.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    engine->stop.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    engine->timer_ns = UINT64_MAX;
    engine->last_error = (hf_duty_error){HF_DUTY_UNAVAILABLE, "not connected to the database yet"};
    HF_ASSERT(getrandom(instance, sizeof(instance), 0) == (ssize_t)sizeof(instance));
    hf_hex_encode(instance, sizeof(instance), engine->instance);
    lanes_plan(engine);
    st = lanes_memory(engine);
    if (hf_failed(st) || engine->wake.fd < 0 || engine->stop.fd < 0 ||
        hf_failed(sync_init(engine))) {
        st = hf_fail(err, HF_NOMEM, "no memory or descriptors for the duty engine");
        goto out;
    }
    engine->has_thread = pthread_create(&engine->thread, NULL, engine_main, engine) == 0;
    engine->has_attendant =
        engine->has_thread && pthread_create(&engine->attendant, NULL, attendant_main, engine) == 0;
    if (!engine->has_attendant) {
        st = hf_fail(err, HF_LIMIT, "cannot start the threads of the duty engine");
        goto out;
    }
    *ret_engine = engine;
    return hf_ok();

out:
    hf_duty_engine_close(engine);
    return st;
}

void hf_duty_engine_close(hf_duty_engine *engine)
{
    if (engine == NULL) {
        return;
    }
    if (engine->has_thread) {
        pthread_mutex_lock(&engine->mutex);
        engine->closing = true;
        pthread_cond_broadcast(&engine->attend);
        pthread_cond_broadcast(&engine->changed);
        pthread_mutex_unlock(&engine->mutex);
        engine_wake(&engine->wake);
        engine_wake(&engine->stop);
        (void)pthread_join(engine->thread, NULL);
    }
    if (engine->has_attendant) {
        (void)pthread_join(engine->attendant, NULL);
    }
    for (size_t i = 0; i <= engine->lanes_len; i++) {
        lane *ln = &engine->lanes[i];
        for (int j = 0; j < ln->results_len; j++) {
            PQclear(ln->results[j]);
        }
        PQclear(ln->failure);
        PQfinish(ln->conn);
        PQfinish(ln->incoming);
        free(ln->columns);
    }
    if (engine->wake.fd >= 0) {
        (void)close(engine->wake.fd);
    }
    if (engine->stop.fd >= 0) {
        (void)close(engine->stop.fd);
    }
    /* The URL may hold a password. */
    hf_wipe(&engine->config, sizeof(engine->config));
    free(engine);
}

static void until(struct timespec *ret_at, uint32_t ms)
{
    (void)clock_gettime(CLOCK_MONOTONIC, ret_at);
    ret_at->tv_sec += ms / 1000;
    ret_at->tv_nsec += (long)(ms % 1000) * 1000000L;
    if (ret_at->tv_nsec >= 1000000000L) {
        ret_at->tv_sec++;
        ret_at->tv_nsec -= 1000000000L;
    }
}

hf_duty_result hf_duty_engine_ready(hf_duty_engine *engine, uint32_t timeout_ms,
                                    hf_duty_error *error)
{
    struct timespec at;
    until(&at, timeout_ms);
    pthread_mutex_lock(&engine->mutex);
    int late = 0;
    while (!engine->ready && !engine->closing && late == 0) {
        hf_duty_result last = engine->last_error.result;
        if (last == HF_DUTY_SCHEMA || last == HF_DUTY_ACCESS || last == HF_DUTY_CONFIG) {
            break; /* waiting will not help */
        }
        late = pthread_cond_timedwait(&engine->changed, &engine->mutex, &at);
    }
    hf_duty_error found = engine->last_error;
    if (engine->ready) {
        found.result = HF_DUTY_OK;
    } else if (found.result == HF_DUTY_OK) {
        found = (hf_duty_error){HF_DUTY_UNAVAILABLE, "the database did not answer in time"};
    }
    pthread_mutex_unlock(&engine->mutex);
    if (error != NULL) {
        *error = found;
    }
    return found.result;
}

/* ---- requests ----------------------------------------------------------------------------------
 */

static void submit(hf_duty_engine *engine, item *it)
{
    pthread_mutex_lock(&engine->mutex);
    if (it->kind == ITEM_ACQUIRE) {
        int n = snprintf(it->token, sizeof(it->token), TOKEN_PREFIX "%c%s%016llx", TOKEN_INSERTED,
                         engine->instance, (unsigned long long)++engine->next_token);
        HF_ASSERT(n > 0 && (size_t)n < sizeof(it->token));
        it->overloaded = atomic_fetch_add(&engine->live, 1) >= engine->config.max_waiting;
    }
    list_push(&engine->submitted, it);
    bool wake = engine->sleeping && engine->submitted.count >= engine->need;
    if (wake) {
        engine->sleeping = false;
    }
    pthread_mutex_unlock(&engine->mutex);
    if (wake) {
        engine_wake(&engine->wake);
    }
}

/* Without memory for a request the answer is given here, on the caller's thread. */
static item *item_new(item_kind kind, const hf_duty *duty, uint64_t deadline_ns,
                      hf_duty_done_fn done, void *context)
{
    item *it = calloc(1, sizeof(*it));
    if (it == NULL) {
        hf_duty_answer answer = {.result = HF_DUTY_NO_MEMORY, .message = "no memory"};
        if (done != NULL) {
            done(context, &answer);
        }
        return NULL;
    }
    it->kind = kind;
    it->duty = *duty;
    it->fingerprint = hf_aztec_duty_fingerprint(duty);
    it->asked_ns = hf_time_mono_ns();
    it->deadline_ns = deadline_ns;
    it->done = done;
    it->context = context;
    return it;
}

void hf_duty_acquire(hf_duty_engine *engine, const hf_duty *duty,
                     const uint8_t hash[HF_DUTY_HASH_BYTES], uint64_t deadline_ns,
                     hf_duty_done_fn done, void *context)
{
    HF_ASSERT(hf_duty_type_is_protected(duty->type));
    item *it = item_new(ITEM_ACQUIRE, duty, deadline_ns, done, context);
    if (it == NULL) {
        return;
    }
    memcpy(it->hash, hash, sizeof(it->hash));
    hf_aztec_hash_format(hash, it->hash_text);
    it->wait_end_ns = it->asked_ns + engine->config.signing_timeout_ms * HF_NS_PER_MS;
    submit(engine, it);
}

void hf_duty_complete(hf_duty_engine *engine, const hf_duty *duty,
                      const uint8_t hash[HF_DUTY_HASH_BYTES], const hf_duty_lock *lock,
                      const uint8_t signature[HF_DUTY_SIGNATURE_BYTES], uint64_t deadline_ns,
                      hf_duty_done_fn done, void *context)
{
    item *it = item_new(ITEM_COMPLETE, duty, deadline_ns, done, context);
    if (it == NULL) {
        return;
    }
    memcpy(it->hash, hash, sizeof(it->hash));
    hf_aztec_hash_format(hash, it->hash_text);
    memcpy(it->signature, signature, sizeof(it->signature));
    memcpy(it->token, lock->token, sizeof(it->token));
    submit(engine, it);
}

void hf_duty_release(hf_duty_engine *engine, const hf_duty *duty, const hf_duty_lock *lock,
                     uint64_t deadline_ns, hf_duty_done_fn done, void *context)
{
    item *it = item_new(ITEM_RELEASE, duty, deadline_ns, done, context);
    if (it == NULL) {
        return;
    }
    memcpy(it->token, lock->token, sizeof(it->token));
    submit(engine, it);
}

/* ---- cleanup and counters -----------------------------------------------------------------------
 */

void hf_duty_engine_cleaning(hf_duty_engine *engine, bool on)
{
    pthread_mutex_lock(&engine->mutex);
    if (on && !engine->cleaning) {
        engine->clean_asked++;
    }
    engine->cleaning = on;
    pthread_cond_signal(&engine->attend);
    pthread_mutex_unlock(&engine->mutex);
}

hf_duty_result hf_duty_engine_clean(hf_duty_engine *engine, uint64_t *ret_rows,
                                    hf_duty_error *error)
{
    struct timespec at;
    until(&at, CLEANUP_WAIT_MS);
    pthread_mutex_lock(&engine->mutex);
    uint64_t run = ++engine->clean_asked;
    pthread_cond_signal(&engine->attend);
    int late = 0;
    while (engine->clean_done < run && !engine->closing && late == 0) {
        late = pthread_cond_timedwait(&engine->changed, &engine->mutex, &at);
    }
    hf_duty_error found = engine->clean_error;
    uint64_t rows = engine->clean_rows;
    if (engine->clean_done < run) {
        found = (hf_duty_error){HF_DUTY_UNAVAILABLE, "the cleanup did not end in time"};
    }
    pthread_mutex_unlock(&engine->mutex);
    if (found.result == HF_DUTY_OK && ret_rows != NULL) {
        *ret_rows = rows;
    }
    if (error != NULL) {
        *error = found;
    }
    return found.result;
}

void hf_duty_engine_counters(const hf_duty_engine *engine, hf_duty_counters *ret_counters)
{
    const uint64_t *from = (const uint64_t *)(const void *)&engine->counters;
    uint64_t *to = (uint64_t *)(void *)ret_counters;
    for (size_t i = 0; i < sizeof(*ret_counters) / sizeof(*to); i++) {
        to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
    }
}
