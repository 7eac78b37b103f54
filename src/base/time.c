/* The clock, and how the scheduler hands it out. */
#include "base.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHORT_SLICE_NS 100000

uint64_t hf_time_mono_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

int64_t hf_time_unix_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void hf_time_sleep_ns(uint64_t ns)
{
    const struct timespec pause = {.tv_nsec = (long)(ns % HF_NS_PER_SECOND)};
    (void)nanosleep(&pause, NULL);
}

/* The first version of Linux's struct sched_attr, for which the C library has no name yet. */
typedef struct sched_attributes {
    uint32_t size;
    uint32_t policy; /* 0: SCHED_OTHER */
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns;
    uint64_t deadline_ns;
    uint64_t period_ns;
} sched_attributes;

void hf_time_short_slice(void)
{
    sched_attributes wanted = {.size = sizeof wanted, .runtime_ns = SHORT_SLICE_NS};
    wanted.nice = getpriority(PRIO_PROCESS, 0); /* as it is: a unit's Nice= stays in force */
    (void)!syscall(SYS_sched_setattr, 0, &wanted, 0);
}
