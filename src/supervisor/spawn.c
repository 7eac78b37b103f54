/* Starting the private programs, and saying how they ended. */
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef HF_LIBEXECDIR
#define HF_LIBEXECDIR "/usr/local/libexec/holdfast"
#endif

/* Descriptors are first moved up here, so that none is overwritten while they change places. */
#define FD_PARKING 64
#define FILES_WANTED 65536
#define LOCKED_MEMORY_WANTED (UINT64_C(64) << 20) /* 10,000 keys are far below it */
#define STATUS_EXEC_FAILED 127

static bool has_program(const char *dir)
{
    char path[HF_PATH_LEN + 32];
    return !hf_failed(hf_str_format(path, sizeof path, "%s/holdfast-keeper", dir)) &&
           access(path, X_OK) == 0;
}

hf_status hf_programs_find(char *out, size_t out_len, hf_error *err)
{
    char self[HF_PATH_LEN];
    char beside[HF_PATH_LEN + sizeof "/../libexec/holdfast"];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n > 0) {
        self[n] = '\0';
        *strrchr(self, '/') = '\0';
        if (has_program(self)) {
            return hf_str_copy(out, out_len, self);
        }
        /* Installed under another prefix than it was built for: a package, an image. */
        if (!hf_failed(hf_str_format(beside, sizeof beside, "%s/../libexec/holdfast", self)) &&
            has_program(beside)) {
            return hf_str_copy(out, out_len, beside);
        }
    }
    if (has_program(HF_LIBEXECDIR)) {
        return hf_str_copy(out, out_len, HF_LIBEXECDIR);
    }
    return hf_fail(err, HF_NOT_FOUND, "holdfast-keeper is neither beside this program nor in %s",
                   HF_LIBEXECDIR);
}

/* Between fork and exec: nothing but system calls. */
static bool place_descriptors(const hf_spawn_plan *plan)
{
    int parked[HF_SPAWN_FDS_MAX];
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 ||
        (!plan->keeps_stdout && dup2(null_fd, STDOUT_FILENO) < 0)) {
        return false;
    }
    for (size_t i = 0; i < plan->fd_count; i++) {
        parked[i] = fcntl(plan->fds[i], F_DUPFD_CLOEXEC, FD_PARKING);
        if (parked[i] < 0) {
            return false;
        }
    }
    for (size_t i = 0; i < plan->fd_count; i++) {
        if (dup2(parked[i], HF_FD_CONTROL + (int)i) < 0) {
            return false;
        }
    }
    /* What a careless parent of ours left open is closed, too. */
    (void)close_range((unsigned)HF_FD_CONTROL + (unsigned)plan->fd_count, ~0U, CLOSE_RANGE_CLOEXEC);
    return true;
}

/*
 * Children stop when the supervisor tells them, not when a terminal or a service manager signals
 * the whole group: the fronts could not drain. A limit of the size of files (SIGXFSZ) is met like a
 * full disk: as an error of the write.
 */
static void settle_signals(void)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ};
    sigset_t none;
    for (size_t i = 0; i < HF_ARRAY_LEN(ignored); i++) {
        (void)signal(ignored[i], SIG_IGN);
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool is_of_aws(const char *entry)
{
    return strncmp(entry, "AWS_", 4) == 0 || strncmp(entry, "HOME=", 5) == 0;
}

/* What our standard error is, which is theirs, too (log.c). */
static bool is_of_journal(const char *entry)
{
    return strncmp(entry, "JOURNAL_STREAM=", 15) == 0;
}

/* Nothing of our environment is theirs, but for what the log and a sanitizer build are told by it,
 * and for how AWS's programs are told who they are. */
static void inherit_environment(bool knows_aws, char *environment[], size_t max)
{
    size_t count = 0;
    for (char **entry = environ; *entry != NULL && count + 4 < max; entry++) {
        if (is_of_journal(*entry) || (knows_aws && is_of_aws(*entry))) {
            environment[count++] = *entry;
        }
    }
#ifdef HF_SANITIZED
    for (char **entry = environ; *entry != NULL && count + 1 < max; entry++) {
        if (strstr(*entry, "SAN_OPTIONS=") != NULL) {
            environment[count++] = *entry;
        }
    }
#endif
    HF_ASSERT(count < max);
    environment[count] = NULL;
}

static _Noreturn void become(const hf_spawn_plan *plan, pid_t parent)
{
    char *environment[32];
    const char *slash = strrchr(plan->program, '/');
    char *const argv[] = {(char *)(uintptr_t)(slash == NULL ? plan->program : slash + 1), NULL};
    inherit_environment(plan->knows_aws, environment, HF_ARRAY_LEN(environment));
    settle_signals();
    if (place_descriptors(plan) && !hf_failed(hf_harden_die_with_parent(parent, NULL))) {
        (void)execve(plan->program, argv, environment);
    }
    _exit(STATUS_EXEC_FAILED);
}

hf_status hf_spawn(const hf_spawn_plan *plan, pid_t *ret_pid, hf_error *err)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        return hf_fail(err, HF_UNAVAILABLE, "%s: fork: %s", plan->program, strerror(errno));
    }
    if (pid == 0) {
        become(plan, parent);
    }
    *ret_pid = pid;
    return hf_ok();
}

void hf_describe_exit(int status, char *out, size_t out_len)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
        (void)snprintf(out, out_len, "was killed by its sandbox: a forbidden system call");
    } else if (WIFSIGNALED(status)) {
        (void)snprintf(out, out_len, "was killed by signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) == STATUS_EXEC_FAILED) {
        (void)snprintf(out, out_len, "could not be started");
    } else {
        (void)snprintf(out, out_len, "ended with status %d", WEXITSTATUS(status));
    }
}

static void raise_limit(__rlimit_resource_t resource, rlim_t wanted)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur >= wanted) {
        return;
    }
    const struct rlimit all = {wanted, limit.rlim_max < wanted ? wanted : limit.rlim_max};
    if (setrlimit(resource, &all) == 0) {
        return; /* with the right to raise the hard limit, too */
    }
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit(resource, &limit);
}

void hf_raise_limits(void)
{
    raise_limit(RLIMIT_NOFILE, FILES_WANTED);
    raise_limit(RLIMIT_MEMLOCK, LOCKED_MEMORY_WANTED);
}
