#include "support.h"

static char database_url[HF_DUTY_URL_LEN];
static PGconn *own;

/* The server's URL ends in /database; this puts another there. */
static void url_of(const char *name, char out[HF_DUTY_URL_LEN])
{
    const char *server = getenv("HF_TEST_POSTGRES_URL");
    assert_non_null(server);
    const char *slash = strrchr(server, '/');
    assert_non_null(slash);
    assert_false(hf_failed(
        hf_str_format(out, HF_DUTY_URL_LEN, "%.*s/%s", (int)(slash - server), server, name)));
}

bool sql_try(const char *url, const char *sql)
{
    PGconn *conn = PQconnectdb(url);
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    PQclear(result);
    PQfinish(conn);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

void support_new_database(const char *name, char url[HF_DUTY_URL_LEN])
{
    char sql[128];
    const char *server = getenv("HF_TEST_POSTGRES_URL");
    (void)snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
    assert_true(sql_try(server, sql));
    (void)snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
    assert_true(sql_try(server, sql));
    url_of(name, url);
}

void support_url_at(const char *url, unsigned port, char out[HF_DUTY_URL_LEN])
{
    const char *at = strchr(url, '@');
    assert_non_null(at);
    const char *slash = strchr(at, '/');
    assert_non_null(slash);
    assert_false(hf_failed(hf_str_format(out, HF_DUTY_URL_LEN, "%.*s@127.0.0.1:%u%s",
                                         (int)(at - url), url, port, slash)));
}

int support_begin(void **state)
{
    (void)state;
    if (getenv("HF_TEST_POSTGRES_URL") == NULL) {
        return -1;
    }
    support_new_database("duties", database_url);
    hf_error err = {0};
    if (hf_failed(hf_duty_schema_up(database_url, 10000, 0, &err))) {
        print_error("%s\n", err.msg);
        return -1;
    }
    own = PQconnectdb(database_url);
    return PQstatus(own) == CONNECTION_OK ? 0 : -1;
}

int support_end(void **state)
{
    (void)state;
    PQfinish(own);
    return 0;
}

const char *support_url(void)
{
    return database_url;
}

static PGresult *sql_result(const char *fmt, va_list args) __attribute__((format(printf, 1, 0)));
static PGresult *sql_result(const char *fmt, va_list args)
{
    char sql[4096];
    int n = vsnprintf(sql, sizeof(sql), fmt, args);
    assert_in_range(n, 1, sizeof(sql) - 1);
    PGresult *result = PQexec(own, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(own));
    }
    return result;
}

void sql_run(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    PQclear(sql_result(fmt, args));
    va_end(args);
}

static const char *text_of(PGresult *result)
{
    static char text[512];
    assert_int_equal(PQntuples(result), 1);
    hf_str_cut(text, sizeof(text), PQgetvalue(result, 0, 0));
    PQclear(result);
    return text;
}

const char *sql_text(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    PGresult *result = sql_result(fmt, args);
    va_end(args);
    return text_of(result);
}

int64_t sql_number(const char *fmt, ...)
{
    uint64_t value = 0;
    va_list args;
    va_start(args, fmt);
    const char *text = text_of(sql_result(fmt, args));
    va_end(args);
    bool negative = text[0] == '-';
    assert_false(hf_failed(hf_num_parse_u64(text + negative, strlen(text + negative), &value)));
    return negative ? -(int64_t)value : (int64_t)value;
}

void config_for(hf_duty_config *config, const char *node)
{
    hf_duty_config_init(config);
    config->enabled = true;
    assert_false(hf_failed(hf_str_copy(config->node_id, sizeof(config->node_id), node)));
    assert_false(
        hf_failed(hf_str_copy(config->database_url, sizeof(config->database_url), database_url)));
}

hf_duty_signer *node_open_with(const hf_duty_config *config)
{
    hf_duty_signer *signer = NULL;
    hf_duty_error error = {0};
    if (hf_duty_open(config, &signer, &error) != HF_DUTY_OK) {
        fail_msg("%s: %s", hf_duty_result_name(error.result), error.message);
    }
    return signer;
}

hf_duty_signer *node_open(const char *node)
{
    hf_duty_config config;
    config_for(&config, node);
    return node_open_with(&config);
}

hf_duty_counters counters_of(const hf_duty_signer *signer)
{
    hf_duty_counters counters;
    hf_duty_counters_get(signer, &counters);
    return counters;
}

hf_duty duty_new(void)
{
    static uint32_t count;
    uint32_t number = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
    hf_duty duty = {.type = HF_DUTY_ATTESTATION, .slot = 1000, .block_index = HF_DUTY_NO_INDEX};
    memcpy(duty.rollup, &number, sizeof(number));
    memset(duty.validator, 0xab, sizeof(duty.validator));
    return duty;
}

const char *duty_where(const hf_duty *duty)
{
    static char texts[4][256];
    static unsigned turn;
    char *text = texts[turn++ % 4];
    char rollup[HF_AZTEC_ADDRESS_TEXT_LEN], validator[HF_AZTEC_ADDRESS_TEXT_LEN];
    hf_aztec_address_format(duty->rollup, rollup);
    hf_aztec_address_format(duty->validator, validator);
    (void)snprintf(text, sizeof(texts[0]),
                   "rollup_address = '%s' AND validator_address = '%s' AND slot = %llu AND"
                   " duty_type = '%s'",
                   rollup, validator, (unsigned long long)duty->slot,
                   hf_duty_type_name(duty->type));
    return text;
}

void test_signature(const uint8_t *hash, uint8_t ret_signature[HF_DUTY_SIGNATURE_BYTES])
{
    for (size_t i = 0; i < 64; i++) {
        ret_signature[i] = (uint8_t)(hash[i % HF_DUTY_HASH_BYTES] + i + 1);
    }
    ret_signature[64] = 28;
}

int test_sign(void *context, const hf_duty *duty, const uint8_t *hash, uint8_t *ret_signature)
{
    test_signer *how = context;
    (void)duty;
    __atomic_add_fetch(&how->calls, 1, __ATOMIC_SEQ_CST);
    if (how->slow_ns > 0) {
        sleep_ms(how->slow_ns / HF_NS_PER_MS);
    }
    if (how->during != NULL) {
        how->during(how->context);
    }
    test_signature(hash, ret_signature);
    return how->code;
}

hf_duty_result sign_with(hf_duty_signer *signer, const hf_duty *duty, uint8_t fill,
                         test_signer *how, hf_duty_outcome *outcome)
{
    uint8_t hash[HF_DUTY_HASH_BYTES], want[HF_DUTY_SIGNATURE_BYTES];
    memset(hash, fill, sizeof(hash));
    hf_duty_result result = hf_duty_sign(signer, duty, hash, test_sign, how, outcome);
    if (result != outcome->result) {
        abort(); /* not on cmocka's thread always */
    }
    test_signature(hash, want);
    bool handed_out = !hf_bytes_is_zero(outcome->signature, sizeof(outcome->signature));
    bool right = hf_bytes_equal(outcome->signature, want, sizeof(want));
    if (handed_out != (result == HF_DUTY_OK || result == HF_DUTY_STORED) || handed_out != right) {
        abort(); /* a signature where there may be none, or a wrong one */
    }
    return result;
}

void sleep_ms(uint64_t ms)
{
    uint64_t end = hf_time_mono_ns() + ms * HF_NS_PER_MS, now;
    while ((now = hf_time_mono_ns()) < end) {
        uint64_t left = end - now;
        hf_time_sleep_ns(left < HF_NS_PER_SECOND / 2 ? left : HF_NS_PER_SECOND / 2);
    }
}

static void *run_job(void *arg)
{
    job *jb = arg;
    if (jb->together != NULL) {
        (void)pthread_barrier_wait(jb->together);
    }
    uint64_t began = hf_time_mono_ns();
    (void)sign_with(jb->signer, &jb->duty, jb->fill, jb->how, &jb->outcome);
    jb->took_ns = hf_time_mono_ns() - began;
    return NULL;
}

void job_start_together(job *jb, hf_duty_signer *signer, const hf_duty *duty, uint8_t fill,
                        test_signer *how, pthread_barrier_t *together)
{
    *jb = (job){.signer = signer, .duty = *duty, .fill = fill, .how = how, .together = together};
    assert_int_equal(pthread_create(&jb->thread, NULL, run_job, jb), 0);
}

void job_start(job *jb, hf_duty_signer *signer, const hf_duty *duty, uint8_t fill, test_signer *how)
{
    job_start_together(jb, signer, duty, fill, how, NULL);
}

void job_join(job *jb)
{
    assert_int_equal(pthread_join(jb->thread, NULL), 0);
}
