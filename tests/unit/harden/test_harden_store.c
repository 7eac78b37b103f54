/*
 * The sandbox of the processes that speak to databases (holdfast-store, holdfast-duty): each act in
 * a child of its own, which must be killed, refused, or done.
 */
#include "harden/harden.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SETUP_FAILED 200
#define PATH_BYTES 512

typedef int (*act_fn)(void);
typedef enum fate { DONE, REFUSED, KILLED } fate;

static char reach[PATH_BYTES]; /* a folder that the configuration names */
static char other[PATH_BYTES];
static struct sockaddr_in server; /* a listener of ours */
static bool has_landlock;

static int result(long r)
{
    return r < 0 ? errno : 0;
}

/* ---- what it is for ----------------------------------------------------------------------- */

static int act_connect(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? errno : result(connect(fd, (const struct sockaddr *)&server, sizeof server));
}

static int act_resolve(void)
{
    struct addrinfo *found = NULL;
    int r = getaddrinfo("127.0.0.1", "5432", NULL, &found);
    if (r == 0) {
        freeaddrinfo(found);
    }
    return r;
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

static int open_in(const char *dir, const char *name, int flags)
{
    char path[PATH_BYTES + 32];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, flags | O_CLOEXEC, 0600);
    return fd < 0 ? errno : result(close(fd));
}

static int act_read_reach(void)
{
    return open_in(reach, "there", O_RDONLY);
}

/* ---- what it must not do ------------------------------------------------------------------ */

static int act_read_other(void)
{
    return open_in(other, "there", O_RDONLY);
}

static int act_read_passwd(void)
{
    return open_in("/etc", "passwd", O_RDONLY);
}

static int act_read_memory_of_parent(void)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d", (int)getppid());
    return open_in(path, "mem", O_RDONLY);
}

static int act_write_reach(void)
{
    return open_in(reach, "there", O_RDWR);
}

static int act_create_reach(void)
{
    return open_in(reach, "new", O_WRONLY | O_CREAT);
}

static int act_truncate_reach(void)
{
    return open_in(reach, "there", O_RDONLY | O_TRUNC);
}

static int act_unlink_reach(void)
{
    char path[PATH_BYTES + 32];
    (void)snprintf(path, sizeof path, "%s/there", reach);
    return result(unlink(path));
}

static int act_rename_reach(void)
{
    char from[PATH_BYTES + 32];
    char to[PATH_BYTES + 32];
    (void)snprintf(from, sizeof from, "%s/there", reach);
    (void)snprintf(to, sizeof to, "%s/moved", reach);
    return result(rename(from, to));
}

static int act_mkdir_reach(void)
{
    char path[PATH_BYTES + 32];
    (void)snprintf(path, sizeof path, "%s/folder", reach);
    return result(mkdir(path, 0700));
}

static int act_listen(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&any, sizeof any) != 0) {
        return errno;
    }
    return result(listen(fd, 1));
}

static int act_accept(void)
{
    return result(accept4(STDIN_FILENO, NULL, NULL, SOCK_CLOEXEC));
}

static int act_packet_socket(void)
{
    return result(socket(AF_PACKET, SOCK_RAW, 0));
}

static int act_execve(void)
{
    char *const argv[] = {(char *)(uintptr_t) "true", NULL};
    return result(execve("/bin/true", argv, NULL));
}

static int act_fork(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    return result(pid);
}

static int act_ptrace(void)
{
    return result(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}

static int act_read_process(void)
{
    char byte;
    struct iovec mine = {&byte, 1};
    struct iovec theirs = {&server, 1};
    return result(process_vm_readv(getppid(), &mine, 1, &theirs, 1, 0));
}

static int act_kill_parent(void)
{
    return result(kill(getppid(), 0));
}

static int act_map_exec_memory(void)
{
    void *page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? errno : 0;
}

static int act_exec_memory(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? SETUP_FAILED : result(mprotect(page, 4096, PROT_READ | PROT_EXEC));
}

static int act_memfd(void)
{
    return result(memfd_create("act", MFD_CLOEXEC));
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

typedef struct expectation {
    const char *name;
    act_fn act;
    fate wanted;
    bool by_landlock;
} expectation;

static const expectation expectations[] = {
    {"connect", act_connect, DONE, false},
    {"resolve a name", act_resolve, DONE, false},
    {"pthread_create", act_thread, DONE, false},
    {"read what it was given", act_read_reach, DONE, false},
    {"read elsewhere", act_read_other, REFUSED, true},
    {"read /etc/passwd", act_read_passwd, REFUSED, true},
    {"open memory of the parent", act_read_memory_of_parent, REFUSED, true},
    {"write what it was given", act_write_reach, KILLED, false},
    {"create", act_create_reach, KILLED, false},
    {"truncate", act_truncate_reach, KILLED, false},
    {"unlink", act_unlink_reach, REFUSED, false},
    {"rename", act_rename_reach, REFUSED, false},
    {"mkdir", act_mkdir_reach, REFUSED, false},
    {"listen", act_listen, REFUSED, false},
    {"accept", act_accept, KILLED, false},
    {"socket(AF_PACKET)", act_packet_socket, KILLED, false},
    {"execve", act_execve, KILLED, false},
    {"fork", act_fork, KILLED, false},
    {"ptrace", act_ptrace, KILLED, false},
    {"process_vm_readv", act_read_process, KILLED, false},
    {"kill", act_kill_parent, KILLED, false},
    {"mmap(PROT_EXEC)", act_map_exec_memory, REFUSED, false},
    {"mprotect(PROT_EXEC)", act_exec_memory, KILLED, false},
    {"memfd_create", act_memfd, KILLED, false},
    {"unshare", act_unshare, KILLED, false},
    {"bpf", act_bpf, KILLED, false},
    {"raise a limit", act_raise_limit, REFUSED, false},
};

/* ---- running them ------------------------------------------------------------------------- */

static hf_hardening_config require_all = {
    HF_PROTECT_REQUIRE, HF_PROTECT_REQUIRE, HF_PROTECT_REQUIRE, HF_PROTECT_REQUIRE, {0}};

/* In the order of src/store/run.c and duty_main.c. */
static _Noreturn void child_main(act_fn act)
{
    hf_harden_report report = {0};
    hf_error err = {HF_OK, ""};
    const hf_harden_path paths[] = {{.path = reach}};
    if (hf_failed(hf_harden_process(&require_all, STDERR_FILENO, &report, &err)) ||
        hf_failed(hf_harden_landlock_connecting(&require_all, paths, 1, &report, &err)) ||
        hf_failed(hf_harden_seccomp(&require_all, HF_SANDBOX_STORE, &report, &err))) {
        (void)fprintf(stderr, "set-up failed: %s\n", err.msg);
        _exit(SETUP_FAILED);
    }
    _exit(act());
}

static fate fate_of(const expectation *e)
{
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        child_main(e->act);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status)) {
        assert_int_not_equal(WEXITSTATUS(status), SETUP_FAILED);
        return WEXITSTATUS(status) == 0 ? DONE : REFUSED;
    }
    assert_int_equal(WTERMSIG(status), SIGSYS);
    return KILLED;
}

static void test_acts(void **state)
{
    (void)state;
#ifdef HF_SANITIZED
    print_message("skip: a sanitizer build has no system call filter\n");
    skip();
#endif
    for (size_t i = 0; i < HF_ARRAY_LEN(expectations); i++) {
        const expectation *e = &expectations[i];
        if (e->by_landlock && !has_landlock) {
            print_message("no Landlock here: %s is not tried\n", e->name);
            continue;
        }
        fate got = fate_of(e);
        if (got != e->wanted) {
            fail_msg("%s: fate %d, wanted %d", e->name, (int)got, (int)e->wanted);
        }
    }
}

static int make_dir(char path[PATH_BYTES])
{
    (void)snprintf(path, PATH_BYTES, "/tmp/hf-harden-store-XXXXXX");
    if (mkdtemp(path) == NULL) {
        return -1;
    }
    return open_in(path, "there", O_WRONLY | O_CREAT);
}

static void remove_dir(const char *path)
{
    static const char *const names[] = {"there", "new", "moved"};
    char file[PATH_BYTES + 32];
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        (void)snprintf(file, sizeof file, "%s/%s", path, names[i]);
        (void)unlink(file);
    }
    (void)snprintf(file, sizeof file, "%s/folder", path);
    (void)rmdir(file);
    (void)rmdir(path);
}

static int set_up(void **state)
{
    (void)state;
    socklen_t len = sizeof server;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    has_landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* the version */) > 0;
    require_all.landlock = has_landlock ? HF_PROTECT_REQUIRE : HF_PROTECT_PREFER;
    bool listens = fd >= 0 && bind(fd, (const struct sockaddr *)&server, sizeof server) == 0 &&
                   listen(fd, 16) == 0 && getsockname(fd, (struct sockaddr *)&server, &len) == 0;
    return !listens || make_dir(reach) != 0 || make_dir(other) != 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_dir(reach);
    remove_dir(other);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_acts)};
    return cmocka_run_group_tests_name("sandbox of the database processes", tests, set_up,
                                       tear_down);
}
