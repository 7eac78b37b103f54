/* doctor: what the kernel offers and how it is set. */
#include "doctor_internal.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "supervisor/supervisor.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif
#define CREATE_RULESET_VERSION 1U
#define LANDLOCK_ABI_WITH_NETWORK 4

#define CLOCK_ERROR_MOST_US 500000
/* No clock shows less: this program was written later. */
#define CLOCK_LEAST_UNIX_S UINT64_C(1767225600)

void hf_check_kernel(hf_doctor *doctor)
{
    bool has_seccomp = false;
    hf_buf *actions = hf_doctor_read("%s/sys/kernel/seccomp/actions_avail", doctor->proc);
    if (actions != NULL) {
        has_seccomp = strstr(hf_buf_text(actions), "kill_process") != NULL;
        hf_buf_free(actions);
    }
    if (!has_seccomp) {
        hf_doctor_say(doctor, HF_ROW_FAIL,
                      "run a kernel of 4.14 or later with CONFIG_SECCOMP_FILTER",
                      "the kernel cannot filter system calls");
    }
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
    if (abi < 1) {
        hf_doctor_say(doctor, HF_ROW_WARN,
                      "run a kernel of 5.13 or later with landlock among lsm= of its command line",
                      "the kernel has no Landlock: files are kept from the processes by users and "
                      "system call filters alone");
    } else if (abi < LANDLOCK_ABI_WITH_NETWORK) {
        hf_doctor_say(doctor, HF_ROW_OK, "", "seccomp, and Landlock %ld (files, not TCP)", abi);
    } else {
        hf_doctor_say(doctor, HF_ROW_OK, "", "seccomp, and Landlock %ld", abi);
    }
}

void hf_check_ptrace(hf_doctor *doctor)
{
    hf_buf *scope = hf_doctor_read("%s/sys/kernel/yama/ptrace_scope", doctor->proc);
    if (scope == NULL) {
        hf_doctor_say(doctor, HF_ROW_WARN, "add yama to lsm= of the kernel's command line",
                      "no Yama: debuggers are kept off by what is not dumpable alone");
    } else if (hf_buf_text(scope)[0] == '0') {
        hf_doctor_say(doctor, HF_ROW_WARN,
                      "sysctl kernel.yama.ptrace_scope=1, and in /etc/sysctl.d",
                      "kernel.yama.ptrace_scope is 0: a process may debug any other of its user");
    } else {
        hf_doctor_say(doctor, HF_ROW_OK, "", "kernel.yama.ptrace_scope is %.1s",
                      hf_buf_text(scope));
    }
    hf_buf_free(scope);
}

/* ---- clock --------------------------------------------------------------------------------- */

hf_row_state hf_doctor_judge_clock(int state, const struct timex *clock, uint64_t now_unix_s,
                                   char *finding, size_t finding_len)
{
    if (now_unix_s < CLOCK_LEAST_UNIX_S) {
        (void)snprintf(finding, finding_len, "the clock stands at %llu, years behind",
                       (unsigned long long)now_unix_s);
        return HF_ROW_FAIL;
    }
    if (state == TIME_ERROR || (clock->status & STA_UNSYNC) != 0) {
        (void)snprintf(finding, finding_len, "the kernel's clock is not synchronised");
        return HF_ROW_WARN;
    }
    if (clock->maxerror > CLOCK_ERROR_MOST_US) {
        (void)snprintf(finding, finding_len, "the clock may be wrong by %ld ms",
                       clock->maxerror / 1000);
        return HF_ROW_WARN;
    }
    (void)snprintf(finding, finding_len, "synchronised, at most %ld ms wrong",
                   clock->maxerror / 1000);
    return HF_ROW_OK;
}

void hf_check_clock(hf_doctor *doctor)
{
    char finding[128];
    struct timex clock = {.modes = 0};
    int state = adjtimex(&clock); /* modes 0: only read */
    hf_row_state verdict =
        state < 0 ? HF_ROW_WARN
                  : hf_doctor_judge_clock(state, &clock, (uint64_t)hf_time_unix_ms() / 1000,
                                          finding, sizeof finding);
    hf_doctor_say(doctor, verdict, "run chrony or systemd-timesyncd; in a container, on its host",
                  "%s", state < 0 ? "the kernel does not tell" : finding);
}

/* ---- memory that leaves the machine -------------------------------------------------------- */

static bool is_encrypted_or_memory(const hf_doctor *doctor, const char *device)
{
    char name[64];
    const char *slash = strrchr(device, '/');
    hf_str_cut(name, sizeof name, slash == NULL ? device : slash + 1);
    if (strncmp(name, "zram", 4) == 0) {
        return true;
    }
    hf_buf *uuid = hf_doctor_read("%s/block/%s/dm/uuid", doctor->sys, name);
    bool is_crypt = uuid != NULL && strncmp(hf_buf_text(uuid), "CRYPT-", 6) == 0;
    hf_buf_free(uuid);
    return is_crypt;
}

void hf_check_swap(hf_doctor *doctor)
{
    hf_buf *swaps = hf_doctor_read("%s/swaps", doctor->proc);
    const char *line = swaps == NULL ? "" : hf_buf_text(swaps);
    bool fine = true;
    line += strcspn(line, "\n"); /* the heading */
    while (*line == '\n' && line[1] != '\0') {
        char device[256];
        (void)snprintf(device, sizeof device, "%.*s", (int)strcspn(line + 1, " \t\n"), line + 1);
        if (!is_encrypted_or_memory(doctor, device)) {
            hf_doctor_say(
                doctor, HF_ROW_WARN, "swapoff it, encrypt it, or MemorySwapMax=0 in the unit",
                "swap on %s is not encrypted: keys are locked in memory, requests are not", device);
            fine = false;
        }
        line += 1 + strcspn(line + 1, "\n");
    }
    if (fine) {
        hf_doctor_say(doctor, HF_ROW_OK, "", "no swap, or none in the clear");
    }
    hf_buf_free(swaps);
}

void hf_check_core_dumps(hf_doctor *doctor)
{
    hf_buf *dumpable = hf_doctor_read("%s/sys/fs/suid_dumpable", doctor->proc);
    if (dumpable != NULL && hf_buf_text(dumpable)[0] == '1') {
        hf_doctor_say(doctor, HF_ROW_FAIL, "sysctl fs.suid_dumpable=0, and in /etc/sysctl.d",
                      "fs.suid_dumpable is 1: even programs that forbid dumps are dumped");
        hf_buf_free(dumpable);
        return;
    }
    hf_buf_free(dumpable);
    for (size_t i = 0; i < doctor->child_count; i++) {
        hf_buf *limits = hf_doctor_read("%s/%d/limits", doctor->proc, (int)doctor->children[i].pid);
        const char *row = limits == NULL ? NULL : strstr(hf_buf_text(limits), "Max core file size");
        bool is_zero = row != NULL && row[strcspn(row, "0123456789u\n")] == '0';
        hf_buf_free(limits);
        if (row != NULL && !is_zero) {
            hf_doctor_say(doctor, HF_ROW_FAIL, "hardening.no_dump: require, and LimitCORE=0",
                          "%s may leave a core file", doctor->children[i].name);
            return;
        }
    }
    hf_doctor_say(doctor, HF_ROW_OK, "", "the processes leave no core file");
}

/* ---- locked memory ------------------------------------------------------------------------- */

/*
 * Whether so much can be locked with this process's rights, and is: a limit that looks large enough
 * says nothing of what a container's runtime or another process of the user has taken already.
 */
static bool can_lock(size_t len)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit;
        unsigned char resident = 0;
        if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
            limit.rlim_cur = limit.rlim_max;
            (void)setrlimit(RLIMIT_MEMLOCK, &limit);
        }
        void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        bool fine = map != MAP_FAILED && mlock(map, len) == 0 &&
                    mincore((char *)map + len - 1 - (len - 1) % 4096, 1, &resident) == 0 &&
                    (resident & 1) != 0;
        _exit(fine ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static void judge_running_keeper(hf_doctor *doctor, uint64_t need, pid_t keeper)
{
    uint64_t locked_kb = 0;
    uint64_t swapped_kb = 0;
    hf_buf *status = hf_doctor_read("%s/%d/status", doctor->proc, (int)keeper);
    const char *text = status == NULL ? "" : hf_buf_text(status);
    if (!hf_doctor_field(text, "VmLck", 10, &locked_kb) || locked_kb * 1024 < need) {
        hf_doctor_say(doctor, HF_ROW_FAIL,
                      "hardening.mlock: require, and LimitMEMLOCK= (--ulimit memlock=) above it",
                      "the keeper has locked %llu KiB, %llu KiB are needed for the keys",
                      (unsigned long long)locked_kb, (unsigned long long)(need / 1024));
    } else {
        hf_doctor_say(doctor, HF_ROW_OK, "", "the keeper has locked %llu KiB for %llu KiB of keys",
                      (unsigned long long)locked_kb, (unsigned long long)(need / 1024));
    }
    if (hf_doctor_field(text, "VmSwap", 10, &swapped_kb) && swapped_kb > 0) {
        hf_doctor_say(doctor, HF_ROW_WARN, "give it memory, or MemorySwapMax=0 in the unit",
                      "%llu KiB of the keeper are swapped out (the keys are not)",
                      (unsigned long long)swapped_kb);
    }
    hf_buf_free(status);
}

void hf_check_memlock(hf_doctor *doctor)
{
    struct rlimit limit = {0};
    uint64_t need = hf_slab_locked_bytes(HF_BLS_SECRET_BYTES, doctor->config->max_keys);
    for (size_t i = 0; i < doctor->child_count; i++) {
        if (strncmp(doctor->children[i].name, "holdfast-keeper", 15) == 0) {
            judge_running_keeper(doctor, need, doctor->children[i].pid);
            return;
        }
    }
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    if (can_lock((size_t)need)) {
        hf_doctor_say(doctor, HF_ROW_OK, "", "%llu KiB for keys could be locked from here",
                      (unsigned long long)(need / 1024));
    } else {
        hf_doctor_say(
            doctor, HF_ROW_FAIL,
            "LimitMEMLOCK= in the unit, --ulimit memlock= of the container, or memlock in "
            "/etc/security/limits.d",
            "%llu KiB for keys cannot be locked, the limit is %llu KiB",
            (unsigned long long)(need / 1024), (unsigned long long)(limit.rlim_max / 1024));
    }
}

/*
 * The usual recipe: cap_ipc_lock as a file capability. With an empty bounding set (--cap-drop ALL)
 * the kernel then refuses to start the program; with no_new_privs it grants nothing.
 */
void hf_check_file_capabilities(hf_doctor *doctor)
{
    static const char *const names[] = {"holdfast-keeper", "holdfast-front", "holdfast-loader",
                                        "holdfast-store",  "holdfast-duty",  "holdfast-relay"};
    char dir[HF_PATH_LEN];
    char path[HF_PATH_LEN + 32];
    char value[64];
    bool fine = true;
    if (hf_failed(hf_programs_find(dir, sizeof dir, NULL))) {
        return; /* "programs" says so */
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        if (getxattr(path, "security.capability", value, sizeof value) > 0) {
            hf_doctor_say(
                doctor, HF_ROW_FAIL,
                "setcap -r it, and raise RLIMIT_MEMLOCK instead: locking needs no capability",
                "%s has a file capability: with all capabilities dropped it cannot start, "
                "under no_new_privs it gets none",
                path);
            fine = false;
        }
    }
    if (fine) {
        hf_doctor_say(doctor, HF_ROW_OK, "", "no program carries a capability");
    }
}
