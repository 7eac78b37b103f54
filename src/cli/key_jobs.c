/* Key derivation takes a second and 256 MiB a key: many keys are done on all cores at once. */
#include "key_internal.h"

#include <pthread.h>
#include <unistd.h>

#define THREADS_MAX 64

typedef struct job_pool {
    pthread_mutex_t lock; /* guards all below */
    size_t next;
    size_t count;
    size_t finished;
    hf_status status; /* the first failure */
    hf_error error;
    hf_key_job job;
    void *context;
    bool show_progress;
} job_pool;

static void finish_one(job_pool *pool, hf_status st, const hf_error *err)
{
    pool->finished++;
    if (hf_failed(st) && !hf_failed(pool->status)) {
        pool->status = st;
        pool->error = *err;
    }
    if (pool->show_progress) {
        (void)fprintf(stderr, "\r%zu of %zu keys%s", pool->finished, pool->count,
                      pool->finished == pool->count ? "\n" : "");
    }
}

static void *work(void *arg)
{
    job_pool *pool = arg;
    (void)pthread_mutex_lock(&pool->lock);
    while (pool->next < pool->count && !hf_failed(pool->status)) {
        hf_error err = {0};
        size_t index = pool->next++;
        (void)pthread_mutex_unlock(&pool->lock);
        hf_status st = pool->job(pool->context, index, &err);
        (void)pthread_mutex_lock(&pool->lock);
        finish_one(pool, st, &err);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static size_t thread_count(size_t jobs)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t by_memory = hf_memory_budget_bytes(0) / HF_KEY_JOB_MEMORY;
    size_t n = cores < 1 ? 1 : (size_t)cores;
    if (n > by_memory) {
        n = (size_t)by_memory;
    }
    if (n > jobs) {
        n = jobs;
    }
    if (n > THREADS_MAX) {
        n = THREADS_MAX;
    }
    return n;
}

hf_status hf_cli_key_jobs_run(size_t count, hf_key_job job, void *context, hf_error *err)
{
    pthread_t threads[THREADS_MAX];
    job_pool pool = {.count = count,
                     .job = job,
                     .context = context,
                     .show_progress = count > 1 && isatty(STDERR_FILENO) == 1};
    size_t wanted = thread_count(count);
    size_t started = 0;
    (void)pthread_mutex_init(&pool.lock, NULL);
    while (started + 1 < wanted && pthread_create(&threads[started], NULL, work, &pool) == 0) {
        started++;
    }
    (void)work(&pool); /* this thread is one of them, and enough when no other starts */
    for (size_t i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    (void)pthread_mutex_destroy(&pool.lock);
    if (hf_failed(pool.status)) {
        *err = pool.error;
    }
    return pool.status;
}
