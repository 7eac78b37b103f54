/* The signing requests under way: a fixed pool, so that a flood ends in OVERLOADED. */
#include "keeper/keeper_internal.h"

hf_status hf_requests_init(hf_request_pool *pool, size_t max)
{
    *pool = (hf_request_pool){.max = max};
    (void)pthread_mutex_init(&pool->lock, NULL);
    pool->all = calloc(max, sizeof *pool->all);
    if (pool->all == NULL) {
        return (hf_status){HF_NOMEM};
    }
    for (size_t i = max; i > 0; i--) {
        pool->all[i - 1].next = pool->free;
        pool->free = &pool->all[i - 1];
    }
    return hf_ok();
}

void hf_requests_done(hf_request_pool *pool)
{
    free(pool->all);
    *pool = (hf_request_pool){0};
}

hf_request *hf_requests_take(hf_request_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    hf_request *request = pool->free;
    if (request != NULL) {
        pool->free = request->next;
    }
    (void)pthread_mutex_unlock(&pool->lock);
    if (request != NULL) {
        *request = (hf_request){0};
        (void)atomic_fetch_add(&pool->in_use, 1);
    }
    return request;
}

void hf_requests_put(hf_request_pool *pool, hf_request *request)
{
    (void)pthread_mutex_lock(&pool->lock);
    request->next = pool->free;
    pool->free = request;
    (void)pthread_mutex_unlock(&pool->lock);
    (void)atomic_fetch_sub(&pool->in_use, 1);
}
