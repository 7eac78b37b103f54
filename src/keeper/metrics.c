/* Counters that any thread raises without a lock. */
#include "keeper/keeper_internal.h"

void hf_meter_add(uint64_t *counter, uint64_t n)
{
    (void)__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

void hf_meter_set(uint64_t *gauge, uint64_t value)
{
    __atomic_store_n(gauge, value, __ATOMIC_RELAXED);
}

uint64_t hf_meter_get(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

void hf_meter_observe(hf_histogram *histogram, uint64_t ns)
{
    size_t bucket = 0;
    while (bucket < HF_BUCKETS - 1 && ns > hf_bucket_bounds_ns[bucket]) {
        bucket++;
    }
    hf_meter_add(&histogram->counts[bucket], 1);
    hf_meter_add(&histogram->sum_ns, ns);
}

void hf_meter_observe_batch(hf_meter *meter, size_t size)
{
    size_t bucket = 0;
    while (bucket < HF_BATCH_BUCKETS - 1 && size > ((size_t)1 << bucket)) {
        bucket++;
    }
    hf_meter_add(&meter->now.batch_counts[bucket], 1);
    hf_meter_add(&meter->now.batch_sum, size);
}

_Static_assert(sizeof(hf_metrics) % sizeof(uint64_t) == 0, "every member is a u64");

void hf_meter_snapshot(const hf_meter *meter, hf_metrics *ret_metrics)
{
    const uint64_t *from = (const uint64_t *)(const void *)&meter->now;
    uint64_t *to = (uint64_t *)(void *)ret_metrics;
    for (size_t i = 0; i < sizeof(hf_metrics) / sizeof(uint64_t); i++) {
        to[i] = hf_meter_get(&from[i]);
    }
    ret_metrics->uptime_ms = (hf_time_mono_ns() - meter->started_ns) / 1000000;
}
