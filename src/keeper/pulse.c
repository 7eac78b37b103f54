/* Signs of life: who goes on, and the thread that looks at them and tells the supervisor. */
#include "keeper/pulse.h"
#include "ipc/ipc.h"

#include <pthread.h>
#include <stdatomic.h>

/* Who slept longer than this between two looks was stopped, and the others with it. */
#define ASLEEP_NS (UINT64_C(2) * HF_ALIVE_EVERY_MS * HF_NS_PER_MS + HF_NS_PER_SECOND / 2)

typedef enum pulse_state { TURNS = 0, RESTS, ON_DISK } pulse_state;

typedef struct pulse {
    const char *name;
    _Atomic uint64_t since_ns; /* of its last word; 0: it has not joined yet */
    _Atomic int state;         /* pulse_state */
} pulse;

static pulse pulses[HF_PULSES_MAX];
static _Atomic unsigned pulse_count;
static _Thread_local pulse *mine;
static _Thread_local unsigned disk_depth; /* such waits within each other */

static struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    bool stop;
    bool is_running;
    bool is_announced;
    int control_fd;
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void say(pulse_state state)
{
    if (mine != NULL) {
        atomic_store(&mine->state, (int)state);
        atomic_store(&mine->since_ns, hf_time_mono_ns());
    }
}

void hf_pulse_join(const char *name)
{
    unsigned place = atomic_fetch_add(&pulse_count, 1);
    HF_ASSERT(place < HF_PULSES_MAX);
    mine = &pulses[place];
    mine->name = name;
    say(TURNS);
}

void hf_pulse_turn(void)
{
    say(disk_depth == 0 ? TURNS : ON_DISK);
}

void hf_pulse_rest(void)
{
    say(RESTS);
}

void hf_pulse_to_disk(void)
{
    disk_depth++;
    say(ON_DISK);
}

void hf_pulse_from_disk(void)
{
    HF_ASSERT(disk_depth > 0);
    disk_depth--;
    hf_pulse_turn();
}

const char *hf_pulse_find_stuck(uint64_t now_ns)
{
    unsigned count = atomic_load(&pulse_count);
    for (unsigned i = 0; i < count && i < HF_PULSES_MAX; i++) {
        uint64_t since_ns = atomic_load(&pulses[i].since_ns);
        bool is_due = since_ns != 0 && atomic_load(&pulses[i].state) == TURNS;
        if (is_due && now_ns > since_ns && now_ns - since_ns > HF_PULSE_STUCK_NS) {
            return pulses[i].name;
        }
    }
    return NULL;
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* Called and returns with the lock held. */
static void wait_a_second(void)
{
    uint64_t until = hf_time_mono_ns() + HF_ALIVE_EVERY_MS * HF_NS_PER_MS;
    struct timespec when = {.tv_sec = (time_t)(until / HF_NS_PER_SECOND),
                            .tv_nsec = (long)(until % HF_NS_PER_SECOND)};
    (void)pthread_cond_timedwait(&watch.work, &watch.lock, &when);
}

static void *watch_main(void *context)
{
    uint64_t due_ns = 0;
    const char *stuck = NULL;
    (void)context;
    (void)pthread_setname_np(pthread_self(), "pulse");
    (void)pthread_mutex_lock(&watch.lock);
    while (!watch.stop) {
        uint64_t before_ns = hf_time_mono_ns();
        wait_a_second();
        uint64_t now_ns = hf_time_mono_ns();
        bool was_stopped = now_ns - before_ns > ASLEEP_NS; /* and so were the others */
        const char *found = was_stopped ? NULL : hf_pulse_find_stuck(now_ns);
        if (!watch.is_announced) {
            continue; /* the first sign says that it is ready: not ours to say */
        }
        if (found == NULL) {
            due_ns = 0;
            hf_say_alive(watch.control_fd, &due_ns);
        } else if (stuck == NULL) {
            hf_log(HF_LOG_BROKEN, "keeper_stuck",
                   "the thread %s does not go on: without a sign of life from here on", found);
        }
        stuck = found;
    }
    (void)pthread_mutex_unlock(&watch.lock);
    return NULL;
}

hf_status hf_pulse_start(int control_fd)
{
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&watch.work, &attr);
    (void)pthread_condattr_destroy(&attr);
    watch.control_fd = control_fd;
    if (pthread_create(&watch.thread, NULL, watch_main, NULL) != 0) {
        return (hf_status){HF_NOMEM};
    }
    watch.is_running = true;
    return hf_ok();
}

void hf_pulse_announced(void)
{
    (void)pthread_mutex_lock(&watch.lock);
    watch.is_announced = true;
    (void)pthread_mutex_unlock(&watch.lock);
}

void hf_pulse_stop(void)
{
    if (!watch.is_running) {
        return;
    }
    (void)pthread_mutex_lock(&watch.lock);
    watch.stop = true;
    (void)pthread_cond_signal(&watch.work);
    (void)pthread_mutex_unlock(&watch.lock);
    (void)pthread_join(watch.thread, NULL);
    watch.is_running = false;
}
