/*
 * Every forbidden act in a child of its own: it must die by SIGSYS or be refused; and what a
 * process needs must still work. A child reports by its exit status: 0 done, otherwise the error
 * number.
 */
#include "harden/harden.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SETUP_FAILED 200
#define PATH_BYTES 512

typedef int (*act_fn)(void);

typedef enum fate { DONE, REFUSED, KILLED } fate;

static char allowed_dir[PATH_BYTES];
static char other_dir[PATH_BYTES];
static bool has_landlock; /* the kernel of a container host may have none */
static hf_hardening_config require_all = {
    HF_PROTECT_REQUIRE, HF_PROTECT_REQUIRE, HF_PROTECT_REQUIRE, HF_PROTECT_REQUIRE, {0}};

static int result(long r)
{
    return r < 0 ? errno : 0;
}

/* ---- acts --------------------------------------------------------------------------------- */

static int act_execve(void)
{
    char *const argv[] = {(char *)(uintptr_t) "true", NULL};
    return result(execve("/bin/true", argv, NULL));
}

static int act_inet_socket(void)
{
    return result(socket(AF_INET, SOCK_STREAM, 0));
}

static int act_unix_socket(void)
{
    return result(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int act_ptrace(void)
{
    return result(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int act_kill_parent(void)
{
    return result(kill(getppid(), 0));
}

static int act_exec_memory(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? SETUP_FAILED : result(mprotect(page, 4096, PROT_READ | PROT_EXEC));
}

static int act_map_exec_memory(void)
{
    void *page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? errno : 0;
}

static int act_fork(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    if (pid < 0) {
        return errno;
    }
    int status = 0;
    return result(waitpid(pid, &status, 0));
}

static void *nothing(void *arg)
{
    return arg;
}

static int act_thread(void)
{
    pthread_t thread;
    int r = pthread_create(&thread, NULL, nothing, NULL);
    return r != 0 ? r : pthread_join(thread, NULL);
}

static int act_abort(void)
{
    abort();
}

static int act_unshare(void)
{
    return result(unshare(CLONE_NEWUSER));
}

static int act_bpf(void)
{
    return result(syscall(SYS_bpf, 0, NULL, 0));
}

static int act_raise_limit(void)
{
    const struct rlimit limit = {1, 1};
    return result(setrlimit(RLIMIT_CORE, &limit));
}

static int act_limit_cpu(void)
{
    const struct rlimit limit = {100, 100};
    return result(setrlimit(RLIMIT_CPU, &limit));
}

static int open_in(const char *dir, const char *name, int flags)
{
    char path[PATH_BYTES + 32];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno;
    }
    return result(close(fd));
}

static int act_open_other(void)
{
    return open_in(other_dir, "there", O_RDONLY);
}

static int act_create_other(void)
{
    return open_in(other_dir, "new", O_WRONLY | O_CREAT);
}

static int act_open_passwd(void)
{
    return open_in("/etc", "passwd", O_RDONLY);
}

static int act_write_allowed(void)
{
    char path[PATH_BYTES + 32];
    char moved[PATH_BYTES + 32];
    (void)snprintf(path, sizeof path, "%s/own", allowed_dir);
    (void)snprintf(moved, sizeof moved, "%s/moved", allowed_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno;
    }
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char byte = 'x';
    bool fine = pwrite(fd, &byte, 1, 5) == 1 && pread(fd, &byte, 1, 0) == 1 && fsync(fd) == 0 &&
                fdatasync(fd) == 0 && ftruncate(fd, 2) == 0 && fcntl(fd, F_SETLK, &lock) == 0 &&
                rename(path, moved) == 0 && unlink(moved) == 0;
    int saved = errno;
    (void)close(fd);
    return fine ? 0 : saved;
}

static int act_read_allowed(void)
{
    return open_in(allowed_dir, "there", O_RDONLY);
}

/* What each process does all day. */
static int act_everyday(void)
{
    int pair[2] = {-1, -1};
    struct timespec now;
    uint8_t byte = 0;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *big = malloc(1U << 20);
    if (page == MAP_FAILED || big == NULL) {
        return ENOMEM;
    }
    free(big);
    bool fine = clock_gettime(CLOCK_MONOTONIC, &now) == 0 && getentropy(&byte, 1) == 0 &&
                mlock(page, 4096) == 0 && munmap(page, 4096) == 0 && pipe(pair) == 0 &&
                write(pair[1], &byte, 1) == 1 && read(pair[0], &byte, 1) == 1 &&
                prctl(PR_SET_NAME, "act", 0, 0, 0) == 0 && isatty(0) == 0 &&
                sysconf(_SC_OPEN_MAX) > 0;
    return fine ? 0 : errno;
}

static int act_memfd(void)
{
    int fd = memfd_create("act", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd < 0 ? errno : result(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
}

static int act_socketpair(void)
{
    int pair[2];
    return result(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
}

static int act_die_with_parent(void)
{
    return result(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
}

/* ---- running an act ----------------------------------------------------------------------- */

static void child_main(hf_sandbox sandbox, act_fn act)
{
    hf_harden_report report = {0};
    hf_error err = {HF_OK, ""};
    const hf_harden_path paths[] = {{.path = allowed_dir, .writable = true}};
    bool front = sandbox == HF_SANDBOX_FRONT;
    if (hf_failed(hf_harden_process(&require_all, STDERR_FILENO, &report, &err)) ||
        hf_failed(hf_harden_landlock(&require_all, paths, front ? 0 : 1, &report, &err)) ||
        hf_failed(hf_harden_seccomp(&require_all, sandbox, &report, &err))) {
        (void)fprintf(stderr, "set-up failed: %s\n", err.msg);
        _exit(SETUP_FAILED);
    }
    _exit(act());
}

static int run_child(hf_sandbox sandbox, act_fn act)
{
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        child_main(sandbox, act);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

typedef struct expectation {
    const char *name;
    act_fn act;
    fate keeper;
    fate front;
    fate loader;
    bool by_landlock;
} expectation;

static const expectation expectations[] = {
    {"execve", act_execve, KILLED, KILLED, KILLED, false},
    {"socket(AF_INET)", act_inet_socket, KILLED, KILLED, KILLED, false},
    {"socket(AF_UNIX)", act_unix_socket, KILLED, KILLED, KILLED, false},
    {"ptrace", act_ptrace, KILLED, KILLED, KILLED, false},
    {"kill", act_kill_parent, KILLED, KILLED, KILLED, false},
    {"mprotect(PROT_EXEC)", act_exec_memory, KILLED, KILLED, KILLED, false},
    {"mmap(PROT_EXEC)", act_map_exec_memory, KILLED, KILLED, KILLED, false},
    {"unshare", act_unshare, KILLED, KILLED, KILLED, false},
    {"bpf", act_bpf, KILLED, KILLED, KILLED, false},
    {"raise a limit", act_raise_limit, REFUSED, REFUSED, REFUSED, false},
    {"lower a limit", act_limit_cpu, REFUSED, REFUSED, DONE, false},
    {"fork", act_fork, KILLED, KILLED, DONE, false},
    {"pthread_create", act_thread, KILLED, DONE, DONE, false},
    {"open outside", act_open_other, REFUSED, REFUSED, REFUSED, true},
    {"create outside", act_create_other, REFUSED, REFUSED, REFUSED, true},
    {"open /etc/passwd", act_open_passwd, REFUSED, REFUSED, REFUSED, true},
    {"open inside", act_read_allowed, DONE, REFUSED, DONE, false},
    {"write inside", act_write_allowed, DONE, REFUSED, DONE, false},
    {"memfd_create", act_memfd, KILLED, DONE, DONE, false},
    {"socketpair", act_socketpair, KILLED, KILLED, DONE, false},
    {"everyday calls", act_everyday, DONE, DONE, DONE, false},
};

static void expect_fate(const expectation *e, hf_sandbox sandbox, fate wanted)
{
    int status = run_child(sandbox, e->act);
    fate got = KILLED;
    if (WIFEXITED(status)) {
        got = WEXITSTATUS(status) == 0 ? DONE : REFUSED;
        assert_int_not_equal(WEXITSTATUS(status), SETUP_FAILED);
    } else {
        assert_int_equal(WTERMSIG(status), SIGSYS);
    }
    if (got != wanted) {
        fail_msg("%s in sandbox %d: fate %d, wanted %d (status 0x%x)", e->name, (int)sandbox,
                 (int)got, (int)wanted, (unsigned)status);
    }
}

static void skip_without_filter(void)
{
#ifdef HF_SANITIZED
    print_message("skip: a sanitizer build has no system call filter\n");
    skip();
#endif
}

static void test_acts(void **state)
{
    (void)state;
    skip_without_filter();
    for (size_t i = 0; i < HF_ARRAY_LEN(expectations); i++) {
        if (expectations[i].by_landlock && !has_landlock) {
            print_message("no Landlock here: %s is not tried\n", expectations[i].name);
            continue;
        }
        expect_fate(&expectations[i], HF_SANDBOX_KEEPER, expectations[i].keeper);
        expect_fate(&expectations[i], HF_SANDBOX_FRONT, expectations[i].front);
        expect_fate(&expectations[i], HF_SANDBOX_LOADER, expectations[i].loader);
    }
}

/* It starts programs and opens sockets; what nobody in the family does, nobody can do. */
static void test_supervisor(void **state)
{
    (void)state;
    skip_without_filter();
    const expectation acts[] = {
        {.name = "ptrace", .act = act_ptrace, .keeper = KILLED},
        {.name = "unshare", .act = act_unshare, .keeper = KILLED},
        {.name = "bpf", .act = act_bpf, .keeper = KILLED},
        {.name = "fork", .act = act_fork, .keeper = DONE},
        {.name = "socket(AF_UNIX)", .act = act_unix_socket, .keeper = DONE},
        {.name = "everyday calls", .act = act_everyday, .keeper = DONE},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(acts); i++) {
        expect_fate(&acts[i], HF_SANDBOX_SUPERVISOR, acts[i].keeper);
    }
}

static void test_loader_worker_may_die_with_it(void **state)
{
    (void)state;
    skip_without_filter();
    assert_int_equal(run_child(HF_SANDBOX_LOADER, act_die_with_parent), 0);
}

/* A broken invariant must still be seen as such, and leave no core file. */
static void test_abort_is_an_abort_without_core(void **state)
{
    (void)state;
    skip_without_filter();
    const hf_sandbox all[] = {HF_SANDBOX_KEEPER, HF_SANDBOX_FRONT, HF_SANDBOX_LOADER};
    for (size_t i = 0; i < HF_ARRAY_LEN(all); i++) {
        int status = run_child(all[i], act_abort);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
        assert_false(WCOREDUMP(status));
    }
}

/* The filter reaches threads that were there before it. */
static int pipe_to_thread[2];

static void *exec_when_told(void *arg)
{
    char byte;
    (void)!read(pipe_to_thread[0], &byte, 1);
    (void)act_execve();
    return arg;
}

static void early_thread_child(void)
{
    hf_harden_report report = {0};
    hf_error err;
    pthread_t thread;
    if (pipe(pipe_to_thread) != 0 || pthread_create(&thread, NULL, exec_when_told, NULL) != 0 ||
        hf_failed(hf_harden_seccomp(&require_all, HF_SANDBOX_KEEPER, &report, &err)) ||
        write(pipe_to_thread[1], "x", 1) != 1) {
        _exit(SETUP_FAILED);
    }
    (void)pthread_join(thread, NULL);
    _exit(0);
}

static void test_filter_covers_earlier_threads(void **state)
{
    (void)state;
    skip_without_filter();
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        early_thread_child();
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

/* ---- set-up ------------------------------------------------------------------------------- */

static int make_dir(char *out, const char *name)
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(out, PATH_BYTES, "%s/hf-%s-XXXXXX", base == NULL ? "/tmp" : base, name);
    if (mkdtemp(out) == NULL) {
        return -1;
    }
    return open_in(out, "there", O_WRONLY | O_CREAT);
}

static void remove_dir(const char *dir)
{
    static const char *const names[] = {"there", "new", "own", "moved"};
    char path[PATH_BYTES + 32];
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(dir);
}

static bool probe_landlock(void)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        hf_harden_report report = {0};
        _exit(hf_harden_landlock(&require_all, NULL, 0, &report, NULL).code == HF_OK ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static int set_up(void **state)
{
    (void)state;
    has_landlock = probe_landlock();
    require_all.landlock = has_landlock ? HF_PROTECT_REQUIRE : HF_PROTECT_PREFER;
    return make_dir(allowed_dir, "allowed") != 0 || make_dir(other_dir, "other") != 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_dir(allowed_dir);
    remove_dir(other_dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acts),
        cmocka_unit_test(test_supervisor),
        cmocka_unit_test(test_loader_worker_may_die_with_it),
        cmocka_unit_test(test_abort_is_an_abort_without_core),
        cmocka_unit_test(test_filter_covers_earlier_threads),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
