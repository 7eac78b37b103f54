/* What happens to the supervisor, and what it does about it. */
#include "supervisor/supervisor_internal.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* Beyond the time that a request may take: a front closes its connections and ends. */
#define DRAIN_EXTRA_NS (2 * HF_SECOND_NS)
#define DRAIN_WITHOUT_KEEPER_NS HF_SECOND_NS
#define KEEPER_STOP_NS (15 * HF_SECOND_NS)
#define HELPER_STOP_NS (3 * HF_SECOND_NS)
#define STATUS_USAGE 2 /* a child that will never start with this configuration */
#define HUNG_UP_NS (5 * HF_SECOND_NS)
#define EXIT_TEXT_LEN 96
#define ADMIN_AT_ONCE 16

/* ---- the end ------------------------------------------------------------------------------ */

static uint64_t drain_ns(const hf_supervisor *sup)
{
    return (uint64_t)sup->config->request_timeout_ms * 1000000U + DRAIN_EXTRA_NS;
}

static void close_listeners(hf_supervisor *sup)
{
    int *const fds[] = {&sup->api_fd, &sup->metrics_fd, &sup->admin_fd, &sup->reload_fd};
    if (sup->admin_fd >= 0) {
        hf_unlink_admin(sup->config->data_dir);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(fds); i++) {
        if (*fds[i] >= 0) {
            (void)close(*fds[i]);
            *fds[i] = -1;
        }
    }
}

static void stop_all_of(hf_supervisor *sup, hf_child_kind kind)
{
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        hf_child *child = &sup->children[i];
        if (child->pid != 0 && child->kind == kind && !child->is_draining) {
            hf_child_stop(child, HELPER_STOP_NS);
        }
    }
}

/* Whom the keeper and the fronts ask. */
static const hf_child_kind asked[] = {HF_CHILD_DUTY, HF_CHILD_STORE, HF_CHILD_CUSTODY,
                                      HF_CHILD_RELAY};

static bool outlives_fronts(hf_child_kind kind)
{
    bool is_asked = kind == HF_CHILD_KEEPER;
    for (size_t i = 0; i < HF_ARRAY_LEN(asked); i++) {
        is_asked = is_asked || kind == asked[i];
    }
    return is_asked;
}

/* The fronts have ended: now the keeper, then who it asks; and when they have, too, all is done. */
static void advance_stop(hf_supervisor *sup)
{
    hf_child *keeper = hf_child_keeper(sup);
    if (sup->phase == HF_PHASE_STOP_FRONTS && hf_children_count(sup, HF_CHILD_FRONT) == 0 &&
        hf_children_count(sup, HF_CHILD_IMPORT) == 0) {
        sup->phase = HF_PHASE_STOP_KEEPER;
        if (keeper != NULL) {
            hf_child_stop(keeper, KEEPER_STOP_NS);
        }
    }
    if (sup->phase == HF_PHASE_STOP_KEEPER && keeper == NULL) {
        bool is_done = hf_children_count(sup, HF_CHILD_LOADER) == 0;
        for (size_t i = 0; i < HF_ARRAY_LEN(asked); i++) {
            stop_all_of(sup, asked[i]);
            is_done = is_done && hf_children_count(sup, asked[i]) == 0;
        }
        sup->phase = is_done ? HF_PHASE_DONE : sup->phase;
    }
}

void hf_stop_all(hf_supervisor *sup, int exit_status)
{
    if (sup->phase >= HF_PHASE_STOP_FRONTS) {
        return;
    }
    hf_notify("STOPPING=1");
    sup->exit_status = exit_status;
    sup->phase = HF_PHASE_STOP_FRONTS;
    close_listeners(sup);
    uint64_t grace_ns = hf_child_keeper(sup) != NULL ? drain_ns(sup) : DRAIN_WITHOUT_KEEPER_NS;
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        hf_child *child = &sup->children[i];
        if (child->pid == 0 || outlives_fronts(child->kind)) {
            continue;
        }
        if (child->kind == HF_CHILD_FRONT) {
            hf_child_stop(child, grace_ns);
        } else if (child->kind == HF_CHILD_LOADER) {
            (void)kill(child->pid, SIGKILL); /* it only reads */
        } else {
            child->kill_at_ns = hf_time_mono_ns() + grace_ns;
        }
    }
    advance_stop(sup);
}

/* Whoever asks a second time does not want to wait. */
static void hurry(hf_supervisor *sup)
{
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        if (sup->children[i].pid != 0 && sup->children[i].kind != HF_CHILD_KEEPER) {
            (void)kill(sup->children[i].pid, SIGKILL);
        }
    }
}

/* ---- children that ended ------------------------------------------------------------------ */

static void keeper_ended(hf_supervisor *sup, const char *how)
{
    if (sup->phase == HF_PHASE_STOP_KEEPER) {
        return;
    }
    hf_log(HF_LOG_BROKEN, sup->phase == HF_PHASE_KEEPER ? "start_failed" : "keeper_died",
           "the keeper %s; %s", how,
           sup->phase == HF_PHASE_KEEPER ? "its reason is above" : "the service ends");
    sup->exit_status = 1;
    hf_stop_all(sup, 1);
    hurry(sup); /* without the keeper a front has nothing to finish */
}

/* Does another front fill the slot of this one, or is about to? */
static bool slot_is_filled(const hf_supervisor *sup, uint32_t slot)
{
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        const hf_child *child = &sup->children[i];
        if (child->pid != 0 && child->kind == HF_CHILD_FRONT && child->slot == slot &&
            !child->is_draining) {
            return true;
        }
    }
    return sup->slots[slot].start_at_ns != 0;
}

static void front_ended(hf_supervisor *sup, const hf_child *child, const char *how)
{
    if (sup->phase == HF_PHASE_STOP_FRONTS) {
        advance_stop(sup);
        return;
    }
    if (sup->phase == HF_PHASE_FRONTS) {
        hf_log(HF_LOG_BROKEN, "start_failed", "a front %s; its reason is above", how);
        hf_stop_all(sup, 1);
        return;
    }
    bool is_filled = slot_is_filled(sup, child->slot);
    if (is_filled && child->is_draining) {
        return;
    }
    if (is_filled && !child->is_ready) {
        hf_log(HF_LOG_BROKEN, "tls_reload_failed",
               "a front with the new TLS files %s; the earlier ones go on serving", how);
        return;
    }
    hf_log(HF_LOG_UNUSUAL, "front_died", "front %u (pid %d) %s; another takes its place",
           child->slot, (int)child->pid, how);
    if (!is_filled) {
        hf_slot_schedule(&sup->slots[child->slot], child, child->is_ready);
    }
}

/* What it was asked is answered 503 meanwhile; what it knew is in the database. */
static void duty_ended(hf_supervisor *sup, const hf_child *child, int status, const char *how)
{
    if (sup->phase >= HF_PHASE_STOP_FRONTS) {
        return;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_USAGE) {
        hf_log(HF_LOG_BROKEN, "start_failed", "holdfast-duty %s; its reason is above", how);
        hf_stop_all(sup, STATUS_USAGE);
        return;
    }
    hf_log(HF_LOG_UNUSUAL, "duty_died", "holdfast-duty (pid %d) %s; another takes its place",
           (int)child->pid, how);
    hf_slot_schedule(&sup->duty_slot, child, true);
}

/* Before the first fronts its end is a refusal, for a reason that it has told; later another takes
 * its place, and the keeper refuses what it cannot record meanwhile. */
static void store_ended(hf_supervisor *sup, const hf_child *child, int status, const char *how)
{
    bool is_refusal = WIFEXITED(status) && WEXITSTATUS(status) == STATUS_USAGE;
    if (sup->phase >= HF_PHASE_STOP_FRONTS) {
        return;
    }
    if (sup->phase <= HF_PHASE_STORE) {
        hf_log(HF_LOG_BROKEN, "start_failed", "the store process %s; its reason is above", how);
        hf_stop_all(sup, is_refusal ? STATUS_USAGE : 1);
        return;
    }
    hf_log(HF_LOG_BROKEN, "store_died", "the store process (pid %d) %s; another takes its place",
           (int)child->pid, how);
    hf_slot_schedule(&sup->store_slot, child, child->is_ready);
}

static void child_ended(hf_supervisor *sup, hf_child *child, int status)
{
    char how[EXIT_TEXT_LEN];
    hf_child was = *child;
    bool failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    hf_describe_exit(status, how, sizeof how);
    hf_child_close_control(child);
    *child = (hf_child){.control_fd = -1};
    switch (was.kind) {
    case HF_CHILD_KEEPER:
        if (sup->phase == HF_PHASE_STOP_KEEPER && failed) {
            hf_log(HF_LOG_BROKEN, "keeper_died", "the keeper %s while stopping", how);
            sup->exit_status = 1;
        }
        keeper_ended(sup, how);
        break;
    case HF_CHILD_FRONT:
        front_ended(sup, &was, how);
        break;
    case HF_CHILD_STORE:
        store_ended(sup, &was, status, how);
        break;
    case HF_CHILD_LOADER:
    case HF_CHILD_IMPORT:
        if (failed && sup->phase == HF_PHASE_SERVING) {
            hf_log(HF_LOG_UNUSUAL, "loader_failed", "the %s %s", hf_child_name(was.kind), how);
        }
        break;
    case HF_CHILD_DUTY:
        duty_ended(sup, &was, status, how);
        break;
    case HF_CHILD_CUSTODY:
        hf_custody_ended(sup, &was, status, how);
        break;
    case HF_CHILD_RELAY:
        hf_relay_ended(sup, &was, status, how);
        break;
    }
    advance_stop(sup);
}

static void reap(hf_supervisor *sup)
{
    int status = 0;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        hf_child *child = hf_child_by_pid(sup, pid);
        if (child != NULL) { /* as process 1 of a container we get others' orphans as well */
            child_ended(sup, child, status);
        }
    }
}

/* ---- signals ------------------------------------------------------------------------------ */

void hf_on_signals(hf_supervisor *sup)
{
    struct signalfd_siginfo info;
    while (read(sup->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD) {
            reap(sup);
        } else if (info.ssi_signo == SIGHUP) {
            if (sup->phase == HF_PHASE_SERVING) {
                hf_reload_keys(sup);
                hf_look_at_tls(sup);
            }
        } else if (sup->phase >= HF_PHASE_STOP_FRONTS) {
            hurry(sup);
        } else {
            hf_log(HF_LOG_INFO, "stopping", "told to stop: finishing what is under way");
            hf_stop_all(sup, 0);
        }
    }
}

/* ---- frames ------------------------------------------------------------------------------- */

void hf_on_admin(hf_supervisor *sup)
{
    for (int i = 0; i < ADMIN_AT_ONCE; i++) {
        int fd = -1;
        hf_status st = hf_accept_admin(sup->admin_fd, &fd);
        if (st.code == HF_NOT_FOUND) {
            return;
        }
        if (hf_failed(st)) {
            hf_log(HF_LOG_UNUSUAL, "admin_denied", "another user was turned away at admin.sock");
            continue;
        }
        if (hf_failed(hf_give_channel(sup, fd, HF_CHANNEL_ADMIN, 0))) {
            hf_log(HF_LOG_UNUSUAL, "admin_denied", "the keeper takes no channel");
        }
        (void)close(fd);
    }
}

static void start_duty(hf_supervisor *sup)
{
    hf_error err = {HF_OK, ""};
    sup->duty_slot.start_at_ns = 0;
    if (sup->config->duties.node_id[0] != '\0' && hf_failed(hf_start_duty(sup, &err))) {
        hf_log(HF_LOG_BROKEN, "duty_failed", "%s", err.msg);
        sup->duty_slot.start_at_ns = hf_time_mono_ns() + HF_SECOND_NS;
    }
}

static void start_fronts(hf_supervisor *sup)
{
    sup->phase = HF_PHASE_FRONTS;
    start_duty(sup);
    sup->relay_slot.start_at_ns = hf_has_relay(sup->config); /* now, or never */
    hf_relay_start_due(sup, hf_time_mono_ns());
    for (uint32_t i = 0; i < sup->config->custody_count; i++) {
        sup->custody_slots[i].start_at_ns = 1; /* now */
    }
    hf_start_custodies(sup, hf_time_mono_ns());
    for (uint32_t slot = 0; slot < sup->config->fronts; slot++) {
        hf_error err = {HF_OK, ""};
        if (hf_failed(hf_start_front(sup, slot, &err))) {
            hf_log(HF_LOG_BROKEN, "start_failed", "%s", err.msg);
            hf_stop_all(sup, 1);
            return;
        }
    }
}

/* The keeper is there: now the process that holds its records, where it is another. */
static void start_first_store(hf_supervisor *sup)
{
    hf_error err = {HF_OK, ""};
    if (!hf_has_store(sup->config)) {
        start_fronts(sup);
        return;
    }
    sup->phase = HF_PHASE_STORE;
    if (hf_failed(hf_start_store(sup, &err))) {
        hf_log(HF_LOG_BROKEN, "start_failed", "%s", err.msg);
        hf_stop_all(sup, 1);
    }
}

static void store_ready(hf_supervisor *sup, hf_child *store)
{
    store->is_ready = true;
    if (sup->phase == HF_PHASE_STORE) {
        start_fronts(sup);
    }
}

static bool all_fronts_ready(const hf_supervisor *sup)
{
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        const hf_child *child = &sup->children[i];
        if (child->pid != 0 && child->kind == HF_CHILD_FRONT && !child->is_ready) {
            return false;
        }
    }
    return true;
}

/* A successor answers: its predecessor may go. */
static void drain_predecessors(hf_supervisor *sup, const hf_child *successor)
{
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        hf_child *child = &sup->children[i];
        if (child->pid != 0 && child != successor && child->kind == HF_CHILD_FRONT &&
            child->slot == successor->slot && !child->is_draining) {
            hf_child_stop(child, drain_ns(sup));
        }
    }
}

static void front_ready(hf_supervisor *sup, hf_child *front)
{
    front->is_ready = true;
    drain_predecessors(sup, front);
    if (sup->phase == HF_PHASE_FRONTS && all_fronts_ready(sup)) {
        sup->phase = HF_PHASE_SERVING;
        hf_log(HF_LOG_INFO, "ready", "%u fronts and the keeper answer", sup->config->fronts);
        hf_notify("READY=1\nSTATUS=signing");
    }
}

/* One loader at a time; another load that is wanted meanwhile starts when it has ended. */
static void start_wanted_load(hf_supervisor *sup)
{
    hf_error err = {HF_OK, ""};
    if (!sup->load_wanted || hf_children_count(sup, HF_CHILD_LOADER) > 0 ||
        sup->phase >= HF_PHASE_STOP_FRONTS) {
        return;
    }
    sup->load_wanted = false;
    if (hf_failed(hf_start_loader(sup, &err))) {
        hf_log(HF_LOG_BROKEN, "loader_failed", "%s", err.msg);
    }
}

static void import_wanted(hf_supervisor *sup, int fd, uint64_t request_id)
{
    hf_error err = {HF_OK, ""};
    if (fd < 0) {
        hf_log(HF_LOG_BROKEN, "frame_refused", "an import without its keystore");
    } else if (hf_failed(hf_start_import(sup, fd, request_id, &err))) {
        hf_log(HF_LOG_UNUSUAL, "import_refused", "%s", err.msg);
    }
}

/* The first sign of life says that it is ready. One that was told to stop has a deadline already.
 */
static void heard(hf_supervisor *sup, hf_child *child)
{
    bool is_first = !child->is_ready;
    if (child->is_draining) {
        return;
    }
    hf_child_heard(child);
    if (is_first && child->kind == HF_CHILD_FRONT) {
        front_ready(sup, child);
    } else if (is_first && child->kind == HF_CHILD_STORE) {
        store_ready(sup, child);
    } else if (is_first && child->kind == HF_CHILD_KEEPER && sup->phase == HF_PHASE_KEEPER) {
        start_first_store(sup);
    }
    child->is_ready = true;
}

static void on_frame(hf_supervisor *sup, hf_child *child, const hf_frame_header *header,
                     const void *frame, int fd)
{
    bool from_keeper = child->kind == HF_CHILD_KEEPER;
    if (header->type == HF_MSG_READY && hf_child_gives_signs(child)) {
        heard(sup, child);
    } else if (header->type == HF_MSG_LOAD_WANTED && from_keeper) {
        if (sup->phase == HF_PHASE_SERVING) {
            hf_reload_book(sup);
        }
        sup->load_wanted = true;
        start_wanted_load(sup);
    } else if (header->type == HF_MSG_SEAL_KEYS_WANTED && from_keeper) {
        hf_give_key_files(sup, child);
    } else if (header->type == HF_MSG_RESULT && from_keeper) {
        /* of a key file's share: the keeper logs what came of it */
    } else if (header->type == HF_MSG_CANARY && from_keeper) {
        hf_on_canary(sup, frame);
    } else if (header->type == HF_MSG_IMPORT_WANTED && from_keeper) {
        import_wanted(sup, fd, header->request_id);
    } else {
        hf_log(HF_LOG_BROKEN, "frame_refused", "%s from the %s", hf_frame_name(header->type),
               hf_child_name(child->kind));
    }
}

/* The other end is closed: the child is ending, or wrong. */
static void hung_up(hf_child *child)
{
    hf_child_close_control(child);
    if (child->kind != HF_CHILD_LOADER && child->kind != HF_CHILD_IMPORT) {
        child->kill_at_ns = hf_time_mono_ns() + HUNG_UP_NS;
    }
}

void hf_on_control(hf_supervisor *sup, hf_child *child)
{
    static _Alignas(8) uint8_t buf[HF_IPC_MAX_BYTES];
    hf_frame_header header;
    size_t len = 0;
    int fd = -1;
    hf_status st = hf_frame_recv(child->control_fd, buf, &len, &fd);
    if (st.code == HF_UNAVAILABLE) {
        return;
    }
    if (hf_failed(st)) {
        hung_up(child);
        return;
    }
    if (hf_frame_is_acceptable(buf, len, HF_CHANNEL_CONTROL, false)) {
        memcpy(&header, buf, sizeof header);
        on_frame(sup, child, &header, buf, fd);
    } else {
        hf_log(HF_LOG_BROKEN, "frame_refused", "%zu bytes from the %s that are no frame for us",
               len, hf_child_name(child->kind));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

/* ---- time --------------------------------------------------------------------------------- */

static void kill_overdue(hf_supervisor *sup, uint64_t now_ns)
{
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        hf_child *child = &sup->children[i];
        if (child->pid != 0 && child->kill_at_ns != 0 && now_ns >= child->kill_at_ns) {
            bool is_silent = hf_child_is_watched(child);
            if (is_silent) {
                hf_log(HF_LOG_UNUSUAL, "child_hung",
                       "the %s (pid %d) gave no sign of life for %u s: killed",
                       hf_child_name(child->kind), (int)child->pid,
                       hf_child_silence_seconds(child));
            } else {
                hf_log(HF_LOG_UNUSUAL, "child_overdue", "the %s (pid %d) took too long: killed",
                       hf_child_name(child->kind), (int)child->pid);
            }
            child->kill_at_ns = 0;
            (void)kill(child->pid, SIGKILL);
        }
    }
}

static void start_due_fronts(hf_supervisor *sup, uint64_t now_ns)
{
    for (uint32_t i = 0; i < sup->config->fronts; i++) {
        hf_slot *slot = &sup->slots[i];
        hf_error err = {HF_OK, ""};
        if (slot->start_at_ns == 0 || now_ns < slot->start_at_ns) {
            continue;
        }
        slot->start_at_ns = 0;
        if (hf_failed(hf_start_front(sup, i, &err))) {
            hf_log(HF_LOG_BROKEN, "front_failed", "%s", err.msg);
            slot->start_at_ns = now_ns + HF_SECOND_NS;
        }
    }
}

static void start_due_store(hf_supervisor *sup, uint64_t now_ns)
{
    hf_error err = {HF_OK, ""};
    if (sup->store_slot.start_at_ns == 0 || now_ns < sup->store_slot.start_at_ns) {
        return;
    }
    sup->store_slot.start_at_ns = 0;
    if (hf_failed(hf_start_store(sup, &err))) {
        hf_log(HF_LOG_BROKEN, "store_failed", "%s", err.msg);
        sup->store_slot.start_at_ns = now_ns + HF_SECOND_NS;
    }
}

/* A second front in each slot; when it is ready, the first one drains. */
static void replace_fronts(hf_supervisor *sup)
{
    sup->tls_is_stale = false;
    for (uint32_t i = 0; i < sup->config->fronts; i++) {
        hf_error err = {HF_OK, ""};
        if (hf_failed(hf_start_front(sup, i, &err))) {
            hf_log(HF_LOG_BROKEN, "tls_reload_failed", "%s", err.msg);
        }
    }
}

void hf_on_time(hf_supervisor *sup, uint64_t now_ns)
{
    kill_overdue(sup, now_ns);
    if (sup->phase == HF_PHASE_FRONTS || sup->phase == HF_PHASE_SERVING) {
        start_due_store(sup, now_ns);
        hf_start_custodies(sup, now_ns);
    }
    if (sup->phase != HF_PHASE_SERVING) {
        return;
    }
    start_due_fronts(sup, now_ns);
    if (sup->duty_slot.start_at_ns != 0 && now_ns >= sup->duty_slot.start_at_ns) {
        start_duty(sup);
    }
    hf_relay_start_due(sup, now_ns);
    start_wanted_load(sup);
    if (sup->config->tls_reload_interval_seconds != 0 && now_ns >= sup->tls_look_at_ns) {
        sup->tls_look_at_ns = now_ns + sup->config->tls_reload_interval_seconds * HF_SECOND_NS;
        hf_look_at_tls(sup);
    }
    /* One change at a time: no place is taken twice over. */
    if (sup->tls_is_stale && all_fronts_ready(sup) &&
        hf_children_count(sup, HF_CHILD_FRONT) <= sup->config->fronts) {
        replace_fronts(sup);
    }
}
