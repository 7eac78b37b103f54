/*
 * The system calls each process may still make. What is not named here kills the process, so that
 * an attack shows; what libraries merely try, and can do without, fails with an error number.
 *
 * Tables are by name: one that this libseccomp or this machine does not know is passed over.
 */
#include "harden/harden_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define API_LEVEL_WITH_TSYNC_AND_KILL_PROCESS 3
#define OPTIMIZE_BINARY_TREE 2
/* Flags of clone that make a process of its own kind: never. */
#define CLONE_NAMESPACES                                                                           \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |  \
     CLONE_NEWNET)

/* It would give each name a line of its own. */
/* clang-format off */

/* Memory, time, threads that exist, frames on descriptors that exist. */
static const char *const everywhere[] = {
    "read", "readv", "write", "writev", "close", "lseek", "fcntl", "fstat", "dup", "dup2",
    "dup3", "pipe2", "eventfd2", "brk", "munmap", "mremap", "madvise", "mlock", "mlock2",
    "munlock", "futex", "futex_waitv", "set_robust_list", "get_robust_list", "rseq",
    "membarrier", "sched_yield", "sched_getaffinity", "getcpu", "set_tid_address",
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
    "timerfd_create", "timerfd_settime", "timerfd_gettime", "getpid", "gettid", "getppid",
    "getuid", "geteuid", "getgid", "getegid", "getrandom", "getrusage", "getrlimit", "sysinfo",
    "uname", "times", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending",
    "sigaltstack", "restart_syscall", "signalfd4", "poll", "ppoll", "select", "pselect6",
    "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "sendmsg",
    "sendmmsg", "sendto", "recvmsg", "recvmmsg", "recvfrom", "getsockopt", "setsockopt",
    "shutdown", "exit",
    "exit_group",
};

/* Files: Landlock says where. */
static const char *const files[] = {
    "openat", "newfstatat", "stat", "lstat", "statx", "access", "faccessat", "faccessat2",
    "readlink", "readlinkat", "getcwd", "getdents64", "pread64", "pwrite64", "preadv",
    "pwritev", "ftruncate", "fallocate", "fsync", "fdatasync", "fchmod", "unlink", "unlinkat",
    "rename", "renameat", "renameat2",
};

static const char *const front_only[] = {
    "accept", "accept4", "getpeername", "getsockname", "sendfile",
    "memfd_create", "ftruncate", "pread64", "pwrite64",
};

static const char *const loader_only[] = {
    "wait4", "waitid", "mkdir", "mkdirat", "getpriority", "setpriority", "memfd_create",
};

/* Connections to a database, and the resolution of its name. */
static const char *const store_only[] = {
    "connect", "bind", "getpeername", "getsockname", "rt_sigtimedwait", "newfstatat", "stat",
    "lstat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd",
    "getdents64", "pread64", "preadv", "fstatfs", "statfs",
};

/* What foreign modules do beyond that: their token's files, locks, shared memory, devices. */
static const char *const module_only[] = {
    "open", "openat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "chmod", "fchmod",
    "fchmodat", "rename", "renameat", "renameat2", "flock", "ftruncate", "truncate", "fallocate",
    "pwrite64", "pwritev", "fsync", "fdatasync", "msync", "umask", "link", "linkat", "symlink",
    "utimensat", "ioctl", "shmget", "shmat", "shmdt", "shmctl", "semget", "semop", "semtimedop",
    "semctl", "memfd_create", "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
    "getgroups", "getresuid", "getresgid", "getpgrp", "getsid", "sched_getscheduler",
    "sched_getparam", "fchdir", "chdir", "pipe", "eventfd", "epoll_create", "alarm", "setitimer",
    "getitimer", "pause", "rt_sigsuspend", "fadvise64", "readahead",
};

/* The key ring and the like, which TLS and Kerberos libraries look for. */
static const char *const probed_store[] = {
    "keyctl", "add_key", "request_key", "open", "openat2", "unlink", "unlinkat", "mkdir",
    "mkdirat", "chmod", "fchmod", "rename", "listen", "sched_getscheduler", "sched_getparam",
};

/* Tried by libraries, and not needed: refused without a death. */
static const char *const probed_anywhere[] = {
    "fchown", "sched_setaffinity", "sched_setscheduler", "mbind", "set_mempolicy",
    "get_mempolicy",
};

/* Without files: the time zone, the number of processors and the like are asked for lazily. */
static const char *const probed_files[] = {
    "open", "openat", "openat2", "newfstatat", "stat", "lstat", "statx", "access", "faccessat",
    "faccessat2", "readlink", "readlinkat", "getcwd", "unlink", "statfs", "fstatfs",
};

/* Other processes' memory, other namespaces, the machine itself: for the supervisor and all below. */
static const char *const never[] = {
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
    "bpf", "userfaultfd", "perf_event_open", "io_uring_setup", "io_uring_enter",
    "io_uring_register", "setns", "unshare", "mount", "umount2", "pivot_root", "chroot",
    "move_mount", "open_tree", "fsopen", "fsmount", "fsconfig", "fspick", "mount_setattr",
    "open_by_handle_at", "init_module", "finit_module", "delete_module", "kexec_load",
    "kexec_file_load", "reboot", "swapon", "swapoff", "settimeofday", "clock_settime",
    "clock_adjtime", "iopl", "ioperm", "modify_ldt", "acct", "quotactl",
};

/* clang-format on */

static int add_names(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t n,
                     unsigned *count)
{
    for (size_t i = 0; i < n; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number < 0) {
            continue;
        }
        int r = seccomp_rule_add(filter, action, number, 0);
        if (r != 0) {
            return r;
        }
        *count += 1;
    }
    return 0;
}

#define ADD(action, table, count) add_names(filter, (action), (table), HF_ARRAY_LEN(table), (count))

/* A rule that holds while one argument compares so. mask counts for SCMP_CMP_MASKED_EQ alone. */
static int add_if(scmp_filter_ctx filter, uint32_t action, int call, unsigned arg,
                  enum scmp_compare how, uint64_t mask, uint64_t value)
{
    bool masked = how == SCMP_CMP_MASKED_EQ;
    const struct scmp_arg_cmp condition = {
        .arg = arg, .op = how, .datum_a = masked ? mask : value, .datum_b = masked ? value : 0};
    return seccomp_rule_add_array(filter, action, call, 1, &condition);
}

typedef struct conditional_rule {
    uint32_t action;
    int call;
    unsigned arg;
    enum scmp_compare how;
    uint64_t mask;
    uint64_t value;
} conditional_rule;

/*
 * Memory is never executable anew. An error for the rest of a call needs the opposite condition: an
 * unconditional rule would replace the first.
 */
static const conditional_rule conditional_everywhere[] = {
    {SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0},
    {SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0},
    {SCMP_ACT_ALLOW, SCMP_SYS(prctl), 0, SCMP_CMP_EQ, 0, PR_SET_NAME},
    {SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prctl), 0, SCMP_CMP_GT, 0, PR_SET_NAME},
};

/* Limits are read and not set. */
static const conditional_rule conditional_limits[] = {
    {SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, SCMP_CMP_EQ, 0, 0},
    {SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 2, SCMP_CMP_NE, 0, 0},
};

/* Threads, of a plain kind. */
static const conditional_rule conditional_front[] = {
    {SCMP_ACT_ALLOW, SCMP_SYS(clone), 0, SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_NAMESPACES,
     CLONE_THREAD},
};

/* Forked workers, which have other process ids, a channel and limits each, and die with the loader.
 */
static const conditional_rule conditional_loader[] = {
    {SCMP_ACT_ALLOW, SCMP_SYS(clone), 0, SCMP_CMP_MASKED_EQ, CLONE_NAMESPACES, 0},
    {SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 2, SCMP_CMP_EQ, 0, SIGABRT},
    {SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 0, SCMP_CMP_EQ, 0, AF_UNIX},
    {SCMP_ACT_ALLOW, SCMP_SYS(prctl), 0, SCMP_CMP_EQ, 0, PR_SET_PDEATHSIG},
    {SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 0, SCMP_CMP_EQ, 0, 0},
    {SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 0, SCMP_CMP_NE, 0, 0},
};

/* Files are read and never written. A library that is loaded late (a name service) is not had. */
static const conditional_rule conditional_store[] = {
    {SCMP_ACT_ALLOW, SCMP_SYS(clone), 0, SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_NAMESPACES,
     CLONE_THREAD},
    {SCMP_ACT_ALLOW, SCMP_SYS(openat), 2, SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC,
     O_RDONLY},
    {SCMP_ACT_ALLOW, SCMP_SYS(socket), 0, SCMP_CMP_EQ, 0, AF_INET},
    {SCMP_ACT_ALLOW, SCMP_SYS(socket), 0, SCMP_CMP_EQ, 0, AF_INET6},
    {SCMP_ACT_ALLOW, SCMP_SYS(socket), 0, SCMP_CMP_EQ, 0, AF_UNIX},
    {SCMP_ACT_ALLOW, SCMP_SYS(socket), 0, SCMP_CMP_EQ, 0, AF_NETLINK},
    {SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 0, SCMP_CMP_EQ, 0, AF_UNIX},
    {SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mmap), 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC},
};

/* Code may be loaded at any time. */
static const conditional_rule conditional_module[] = {
    {SCMP_ACT_ALLOW, SCMP_SYS(clone), 0, SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_NAMESPACES,
     CLONE_THREAD},
    {SCMP_ACT_ALLOW, SCMP_SYS(socket), 0, SCMP_CMP_EQ, 0, AF_INET},
    {SCMP_ACT_ALLOW, SCMP_SYS(socket), 0, SCMP_CMP_EQ, 0, AF_INET6},
    {SCMP_ACT_ALLOW, SCMP_SYS(socket), 0, SCMP_CMP_EQ, 0, AF_UNIX},
    {SCMP_ACT_ALLOW, SCMP_SYS(socket), 0, SCMP_CMP_EQ, 0, AF_NETLINK},
    {SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 0, SCMP_CMP_EQ, 0, AF_UNIX},
    {SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC},
    {SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC},
};

static int add_conditional(scmp_filter_ctx filter, const conditional_rule *rules, size_t n)
{
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        r = add_if(filter, rules[i].action, rules[i].call, rules[i].arg, rules[i].how,
                   rules[i].mask, rules[i].value);
    }
    return r;
}

#define ADD_IF(table) add_conditional(filter, (table), HF_ARRAY_LEN(table))

/* What each sandbox has beyond the rest. The keeper has all its threads by now. */
static int add_sandbox(scmp_filter_ctx filter, hf_sandbox sandbox, unsigned *count)
{
    unsigned refused = 0;
    uint64_t self = (uint64_t)getpid();
    int r = 0;
    if (sandbox != HF_SANDBOX_LOADER) {
        r = add_if(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 0, SCMP_CMP_EQ, 0, self);
        if (r == 0) {
            r = ADD_IF(conditional_limits);
        }
    }
    if (r == 0 && (sandbox == HF_SANDBOX_KEEPER || sandbox == HF_SANDBOX_LOADER)) {
        r = ADD(SCMP_ACT_ALLOW, files, count);
    }
    if (r == 0 && sandbox == HF_SANDBOX_LOADER) {
        r = ADD(SCMP_ACT_ALLOW, loader_only, count);
        if (r == 0) {
            r = ADD_IF(conditional_loader);
        }
    }
    if (r == 0 && sandbox == HF_SANDBOX_STORE) {
        r = ADD(SCMP_ACT_ALLOW, store_only, count);
        if (r == 0) {
            r = ADD(SCMP_ACT_ERRNO(EACCES), probed_store, &refused);
        }
        if (r == 0) {
            r = ADD_IF(conditional_store);
        }
    }
    if (r == 0 && sandbox == HF_SANDBOX_MODULE) {
        r = ADD(SCMP_ACT_ALLOW, store_only, count);
        if (r == 0) {
            r = ADD(SCMP_ACT_ALLOW, module_only, count);
        }
        if (r == 0) {
            r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 0);
        }
        if (r == 0) {
            r = ADD(SCMP_ACT_KILL_PROCESS, never, &refused);
        }
        if (r == 0) {
            r = ADD_IF(conditional_module);
        }
    }
    if (r == 0 && sandbox == HF_SANDBOX_FRONT) {
        r = ADD(SCMP_ACT_ALLOW, front_only, count);
        if (r == 0) {
            r = ADD(SCMP_ACT_ERRNO(EACCES), probed_files, &refused);
        }
        if (r == 0) {
            r = ADD_IF(conditional_front);
        }
    }
    return r;
}

/*
 * clone3 hides its flags in memory, where a filter cannot look: "not implemented" makes libc use
 * clone. ioctl is isatty and the like.
 */
static int add_rules(scmp_filter_ctx filter, hf_sandbox sandbox, unsigned *count)
{
    unsigned refused = 0;
    if (sandbox == HF_SANDBOX_SUPERVISOR) {
        return ADD(SCMP_ACT_KILL_PROCESS, never, count);
    }
    int r = ADD(SCMP_ACT_ALLOW, everywhere, count);
    if (r == 0) {
        r = ADD_IF(conditional_everywhere);
    }
    if (r == 0) {
        r = add_sandbox(filter, sandbox, count);
    }
    if (r == 0) {
        r = ADD(SCMP_ACT_ERRNO(EPERM), probed_anywhere, &refused);
    }
    if (r == 0) {
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    }
    if (r == 0 && sandbox != HF_SANDBOX_MODULE) {
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), 0);
    }
    return r;
}

static int set_attributes(scmp_filter_ctx filter)
{
    int r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0) {
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    }
    if (r == 0) {
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, OPTIMIZE_BINARY_TREE);
    }
    return r;
}

static uint32_t otherwise(hf_sandbox sandbox)
{
    return sandbox == HF_SANDBOX_SUPERVISOR ? SCMP_ACT_ALLOW
           : sandbox == HF_SANDBOX_MODULE   ? SCMP_ACT_ERRNO(EACCES)
                                            : SCMP_ACT_KILL_PROCESS;
}

static hf_status load_filter(hf_sandbox sandbox, unsigned *ret_count, hf_error *err)
{
    unsigned count = 0;
    hf_status st = hf_ok();
    scmp_filter_ctx filter = seccomp_init(otherwise(sandbox));
    if (filter == NULL) {
        return hf_fail(err, HF_NOMEM, "seccomp_init failed");
    }
    int r = set_attributes(filter);
    if (r == 0) {
        r = add_rules(filter, sandbox, &count);
    }
    if (r == 0) {
        r = seccomp_load(filter);
    }
    if (r != 0) {
        st = hf_fail(err, HF_INTERNAL, "seccomp filter: %s", strerror(-r));
    } else {
        *ret_count = count;
    }
    seccomp_release(filter);
    return st;
}

hf_status hf_harden_seccomp(const hf_hardening_config *config, hf_sandbox sandbox,
                            hf_harden_report *report, hf_error *err)
{
    static const char name[] = "seccomp";
    unsigned count = 0;
    char detail[64];
    if (config->seccomp == HF_PROTECT_OFF) {
        return hf_harden_settle_missing(HF_PROTECT_OFF, report, name, "", err);
    }
#ifdef HF_SANITIZED
    return hf_harden_settle_missing(config->seccomp, report, name,
                                    "a sanitizer build needs calls that no filter allows", err);
#endif
    if (seccomp_api_get() < API_LEVEL_WITH_TSYNC_AND_KILL_PROCESS) {
        return hf_harden_settle_missing(config->seccomp, report, name,
                                        "the kernel is older than 4.14 or has no seccomp", err);
    }
    hf_status st = load_filter(sandbox, &count, err);
    if (hf_failed(st)) {
        return st;
    }
    (void)snprintf(detail, sizeof detail,
                   sandbox == HF_SANDBOX_SUPERVISOR ? "%u system calls kill"
                   : sandbox == HF_SANDBOX_MODULE   ? "%u system calls allowed, others fail"
                                                    : "%u system calls allowed, others kill",
                   count);
    hf_harden_note(report, name, HF_PROTECTION_ON, detail);
    return hf_ok();
}
