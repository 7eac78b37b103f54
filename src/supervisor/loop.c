/* One thread, one poll: nothing here waits for one child while another needs us. */
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <poll.h>

/* Signals, admin socket, our own reload, and a control channel a child. */
#define POLL_MAX (3 + HF_CHILDREN_MAX)
#define LONGEST_SLEEP_MS 1000
/* Longer than that sleeps a machine that stood still, or a supervisor that was stopped. */
#define ASLEEP_NS (2 * HF_SECOND_NS)
#define WATCHDOG_GAP_NS HF_SECOND_NS

typedef struct watch_list {
    struct pollfd fds[POLL_MAX];
    hf_child *children[POLL_MAX];
    nfds_t count;
} watch_list;

static void watch(watch_list *list, int fd, hf_child *child)
{
    if (fd >= 0) {
        list->fds[list->count] = (struct pollfd){.fd = fd, .events = POLLIN};
        list->children[list->count] = child;
        list->count++;
    }
}

static void watch_all(hf_supervisor *sup, watch_list *list)
{
    list->count = 0;
    watch(list, sup->signal_fd, NULL);
    /* Before the keeper is ready a caller waits in the backlog. */
    watch(list, sup->phase == HF_PHASE_SERVING ? sup->admin_fd : -1, NULL);
    watch(list, sup->reload_fd, NULL);
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        if (sup->children[i].pid != 0) {
            watch(list, sup->children[i].control_fd, &sup->children[i]);
        }
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return b != 0 && b < a ? b : a;
}

static int sleep_ms(const hf_supervisor *sup, uint64_t now_ns)
{
    uint64_t next = now_ns + LONGEST_SLEEP_MS * UINT64_C(1000000);
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        next = earlier(next, sup->children[i].pid != 0 ? sup->children[i].kill_at_ns : 0);
    }
    if (sup->phase == HF_PHASE_FRONTS || sup->phase == HF_PHASE_SERVING) {
        next = earlier(next, sup->store_slot.start_at_ns);
        for (uint32_t i = 0; i < sup->config->custody_count; i++) {
            next = earlier(next, sup->custody_slots[i].start_at_ns);
        }
    }
    if (sup->phase == HF_PHASE_SERVING) {
        for (uint32_t i = 0; i < sup->config->fronts; i++) {
            next = earlier(next, sup->slots[i].start_at_ns);
        }
        next = earlier(next, sup->duty_slot.start_at_ns);
        next = earlier(next, sup->relay_slot.start_at_ns);
        next = earlier(next, sup->tls_look_at_ns);
    }
    return next <= now_ns ? 0 : (int)((next - now_ns) / 1000000U + 1);
}

static void dispatch(hf_supervisor *sup, int fd, hf_child *child)
{
    if (child != NULL) {
        if (child->control_fd == fd) { /* not closed by an earlier event of this round */
            hf_on_control(sup, child);
        }
    } else if (fd == sup->signal_fd) {
        hf_on_signals(sup);
    } else if (fd == sup->admin_fd) {
        hf_on_admin(sup);
    } else if (fd == sup->reload_fd) {
        hf_on_reload_answer(sup);
    }
}

/* A sign of life, where the service manager waits for some (WatchdogSec=). */
static void tell_alive(hf_supervisor *sup, uint64_t now_ns)
{
    if (now_ns >= sup->watchdog_at_ns && getenv("WATCHDOG_USEC") != NULL) {
        sup->watchdog_at_ns = now_ns + WATCHDOG_GAP_NS;
        hf_notify("WATCHDOG=1");
    }
}

void hf_supervise(hf_supervisor *sup)
{
    watch_list list;
    while (sup->phase != HF_PHASE_DONE) {
        watch_all(sup, &list);
        uint64_t before_ns = hf_time_mono_ns();
        int n = poll(list.fds, list.count, sleep_ms(sup, before_ns));
        HF_ASSERT(n >= 0 || errno == EINTR);
        if (hf_time_mono_ns() - before_ns > ASLEEP_NS) {
            hf_forgive_silence(sup);
        }
        /* Frames before signals: what a child said last is heard before its end is dealt with. */
        for (nfds_t i = list.count; n > 0 && i > 0; i--) {
            if (list.fds[i - 1].revents != 0) {
                dispatch(sup, list.fds[i - 1].fd, list.children[i - 1]);
            }
        }
        hf_on_time(sup, hf_time_mono_ns());
        tell_alive(sup, hf_time_mono_ns());
    }
}
