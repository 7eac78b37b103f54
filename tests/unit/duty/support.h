/* A database and nodes for the tests of duty. */
#ifndef TEST_DUTY_SUPPORT_H
#define TEST_DUTY_SUPPORT_H

/* cmocka wants these four before itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libpq-fe.h>
#include <pthread.h>

#include "duty/duty.h"

/* Group fixtures: a database of its own on the server of HF_TEST_POSTGRES_URL. */
int support_begin(void **state);
int support_end(void **state);
const char *support_url(void);
/* Makes an empty database (dropping an older one) and puts its URL into url. */
void support_new_database(const char *name, char url[HF_DUTY_URL_LEN]);
/* The URL with another host and port. */
void support_url_at(const char *url, unsigned port, char out[HF_DUTY_URL_LEN]);

/* Statements on the test's own connection to support_url(); formatted. Fails the test on errors. */
void sql_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int64_t sql_number(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Borrowed until the next call. */
const char *sql_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* One statement on another database; false when the database refused. */
bool sql_try(const char *url, const char *sql);

void config_for(hf_duty_config *config, const char *node);
hf_duty_signer *node_open(const char *node);
hf_duty_signer *node_open_with(const hf_duty_config *config);
hf_duty_counters counters_of(const hf_duty_signer *signer);

/* An attestation of a rollup that no other test has. */
hf_duty duty_new(void);
/* "rollup_address = '0x..' AND slot = .. AND duty_type = '..'": for WHERE. Borrowed, four of them.
 */
const char *duty_where(const hf_duty *duty);

/* Signs with bytes made from the hash; counts. */
typedef struct test_signer {
    int calls;                     /* atomic */
    int code;                      /* what to return */
    uint64_t slow_ns;              /* first sleeps that long */
    void (*during)(void *context); /* runs while the lock is held */
    void *context;
} test_signer;
int test_sign(void *context, const hf_duty *duty, const uint8_t *hash, uint8_t *ret_signature);
void test_signature(const uint8_t *hash, uint8_t ret_signature[HF_DUTY_SIGNATURE_BYTES]);

/* hf_duty_sign of a hash that is filled with one byte. */
hf_duty_result sign_with(hf_duty_signer *signer, const hf_duty *duty, uint8_t fill,
                         test_signer *how, hf_duty_outcome *outcome);
void sleep_ms(uint64_t ms);

/* sign_with on a thread of its own. */
typedef struct job {
    pthread_t thread;
    hf_duty_signer *signer;
    hf_duty duty;
    uint8_t fill;
    test_signer *how;
    pthread_barrier_t *together; /* or NULL */
    hf_duty_outcome outcome;
    uint64_t took_ns;
} job;
void job_start(job *jb, hf_duty_signer *signer, const hf_duty *duty, uint8_t fill,
               test_signer *how);
/* It waits for the others first. */
void job_start_together(job *jb, hf_duty_signer *signer, const hf_duty *duty, uint8_t fill,
                        test_signer *how, pthread_barrier_t *together);
void job_join(job *jb);

#endif
