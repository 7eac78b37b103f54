/* What every process gives up at its start: descriptors, dumps, privileges, life after its parent.
 */
#include "harden/harden_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where the kernel has no close_range, descriptors up to here are closed one by one. */
#define FD_SWEEP_MAX 65536
/* The kernel knows 64 capabilities at most (two 32-bit words). */
#define CAPABILITY_WORDS 2
#define CAPABILITY_MAX 63

void hf_harden_note(hf_harden_report *report, const char *name, hf_protection_state state,
                    const char *detail)
{
    uint32_t i = 0;
    while (i < report->count && strcmp(report->items[i].name, name) != 0) {
        i++;
    }
    HF_ASSERT(i < HF_PROTECTIONS_MAX);
    hf_protection *item = &report->items[i];
    memset(item, 0, sizeof *item);
    (void)snprintf(item->name, sizeof item->name, "%s", name);
    (void)snprintf(item->detail, sizeof item->detail, "%s", detail);
    item->state = state;
    if (i == report->count) {
        report->count++;
    }
}

hf_status hf_harden_settle_missing(uint8_t requirement, hf_harden_report *report, const char *name,
                                   const char *why, hf_error *err)
{
    if (requirement == HF_PROTECT_OFF) {
        hf_harden_note(report, name, HF_PROTECTION_OFF, "switched off by the configuration");
        return hf_ok();
    }
    if (requirement == HF_PROTECT_REQUIRE) {
        return hf_fail(err, HF_UNAVAILABLE, "%s is required and not to be had: %s", name, why);
    }
    hf_harden_note(report, name, HF_PROTECTION_UNAVAILABLE, why);
    return hf_ok();
}

/* A file opened later must never become descriptor 0, 1 or 2. */
static hf_status open_standard_descriptors(hf_error *err)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) {
            continue;
        }
        int opened = open("/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY);
        if (opened != fd) {
            return hf_fail(err, HF_IO, "/dev/null: %s", strerror(errno));
        }
    }
    return hf_ok();
}

static hf_status close_above(int last_fd, hf_error *err)
{
    unsigned first = (unsigned)last_fd + 1;
    if (close_range(first, ~0U, 0) == 0) {
        return hf_ok();
    }
    if (errno != ENOSYS && errno != EPERM) {
        return hf_fail(err, HF_INTERNAL, "close_range: %s", strerror(errno));
    }
    for (int fd = (int)first; fd < FD_SWEEP_MAX; fd++) {
        (void)close(fd);
    }
    return hf_ok();
}

static hf_status forbid_dumps(const hf_hardening_config *config, hf_harden_report *report,
                              hf_error *err)
{
    static const char name[] = "no_dump";
    const struct rlimit none = {0, 0};
    if (config->no_dump == HF_PROTECT_OFF) {
        return hf_harden_settle_missing(HF_PROTECT_OFF, report, name, "", err);
    }
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
        prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) {
        return hf_harden_settle_missing(config->no_dump, report, name, strerror(errno), err);
    }
    hf_harden_note(report, name, HF_PROTECTION_ON, "no core file, no debugger of the same user");
    return hf_ok();
}

/* Empties the bounding set where that is permitted; it counts only for programs started later. */
static bool drop_bounding_set(void)
{
    for (unsigned long cap = 0; cap <= CAPABILITY_MAX; cap++) {
        if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1 &&
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0) {
            return false;
        }
    }
    return true;
}

static hf_status drop_capabilities(hf_harden_report *report, hf_error *err)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[CAPABILITY_WORDS] = {{0, 0, 0}, {0, 0, 0}};
    bool bounding = drop_bounding_set();
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capset, &header, sets) != 0) {
        return hf_fail(err, HF_INTERNAL, "capset: %s", strerror(errno));
    }
    if (syscall(SYS_capget, &header, sets) != 0 || !hf_bytes_is_zero(sets, sizeof sets)) {
        return hf_fail(err, HF_INTERNAL, "capabilities are left after capset");
    }
    hf_harden_note(report, "capabilities", HF_PROTECTION_ON,
                   bounding ? "none, and none to be had" : "none; bounding set left by the parent");
    return hf_ok();
}

hf_status hf_harden_die_with_parent(pid_t parent, hf_error *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) {
        return hf_fail(err, HF_INTERNAL, "PR_SET_PDEATHSIG: %s", strerror(errno));
    }
    if (getppid() != parent) {
        return hf_fail(err, HF_NOT_FOUND, "the parent process is gone");
    }
    return hf_ok();
}

/* The parent may have died before we asked to die with it: its end of the channel tells. */
static hf_status check_control_channel(hf_error *err)
{
    int type = 0;
    socklen_t len = sizeof type;
    struct pollfd control = {.fd = HF_FD_CONTROL, .events = POLLIN};
    if (getsockopt(HF_FD_CONTROL, SOL_SOCKET, SO_TYPE, &type, &len) != 0 ||
        type != SOCK_SEQPACKET) {
        return hf_ok();
    }
    if (poll(&control, 1, 0) == 1 && (control.revents & POLLHUP) != 0) {
        return hf_fail(err, HF_NOT_FOUND, "the supervisor is gone");
    }
    return hf_ok();
}

hf_status hf_harden_privileges(const hf_hardening_config *config, hf_harden_report *report,
                               hf_error *err)
{
    hf_status st = forbid_dumps(config, report, err);
    if (hf_failed(st)) {
        return st;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return hf_fail(err, HF_INTERNAL, "PR_SET_NO_NEW_PRIVS: %s", strerror(errno));
    }
    hf_harden_note(report, "no_new_privs", HF_PROTECTION_ON, "no program started raises rights");
    return drop_capabilities(report, err);
}

hf_status hf_harden_process(const hf_hardening_config *config, int last_fd,
                            hf_harden_report *report, hf_error *err)
{
    HF_ASSERT(last_fd >= STDERR_FILENO);
    hf_status st = open_standard_descriptors(err);
    if (!hf_failed(st)) {
        st = close_above(last_fd, err);
    }
    (void)umask(S_IRWXG | S_IRWXO);
    if (!hf_failed(st)) {
        st = hf_harden_privileges(config, report, err);
    }
    if (!hf_failed(st)) {
        st = hf_harden_die_with_parent(getppid(), err);
    }
    if (!hf_failed(st)) {
        st = check_control_channel(err);
    }
    return st;
}
