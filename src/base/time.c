/* The clock. */
#include "base.h"

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
