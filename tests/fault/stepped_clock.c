/*
 * A library to preload: the wall clock is off by as many seconds as the file named in HF_TEST_CLOCK
 * says, eight bytes in the machine's order, which may change at any moment. Monotonic clocks are
 * left alone, as when somebody sets the time. The file is mapped at the start, so that a process
 * that sandboxes itself afterwards still follows it.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int (*real_clock)(clockid_t, struct timespec *);
static const int64_t *offset_s;

int clock_gettime(clockid_t clock, struct timespec *ret_now);
int gettimeofday(struct timeval *restrict ret_now, void *restrict zone);
time_t time(time_t *ret_now);

/* Also before the constructor, by other libraries' ones. */
static void find_clock(void)
{
    if (real_clock == NULL) {
        *(void **)&real_clock = dlsym(RTLD_NEXT, "clock_gettime");
    }
}

__attribute__((constructor)) static void map_offset(void)
{
    const char *path = getenv("HF_TEST_CLOCK");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    find_clock();
    if (fd >= 0) {
        void *page = mmap(NULL, sizeof *offset_s, PROT_READ, MAP_SHARED, fd, 0);
        offset_s = page == MAP_FAILED ? NULL : page;
        (void)close(fd);
    }
}

int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    find_clock();
    int result = real_clock(clock, ret_now);
    if (offset_s != NULL && result == 0 &&
        (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        ret_now->tv_sec += __atomic_load_n(offset_s, __ATOMIC_RELAXED);
    }
    return result;
}

int gettimeofday(struct timeval *restrict ret_now, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    ret_now->tv_sec = now.tv_sec;
    ret_now->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *ret_now)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (ret_now != NULL) {
        *ret_now = now.tv_sec;
    }
    return now.tv_sec;
}
