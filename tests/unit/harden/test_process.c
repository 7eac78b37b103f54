/* What a process gives up at its start, with whom it dies, and how the report tells of it. */
#include "harden/harden.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const hf_hardening_config require_all = {
    HF_PROTECT_REQUIRE, HF_PROTECT_REQUIRE, HF_PROTECT_REQUIRE, HF_PROTECT_REQUIRE, {0}};

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            (void)fprintf(stderr, "line %d: %s\n", __LINE__, #cond);                               \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static bool status_has(const char *line)
{
    hf_buf *buf = NULL;
    hf_status st = hf_file_read("/proc/self/status", 65536, &buf, NULL);
    bool found = !hf_failed(st) && strstr(hf_buf_text(buf), line) != NULL;
    hf_buf_free(buf);
    return found;
}

static bool report_has(const hf_harden_report *report, const char *name, hf_protection_state state)
{
    for (uint32_t i = 0; i < report->count; i++) {
        if (strcmp(report->items[i].name, name) == 0) {
            return report->items[i].state == (uint32_t)state;
        }
    }
    return false;
}

static void process_child(void)
{
    hf_harden_report report = {0};
    hf_error err = {HF_OK, ""};
    struct rlimit core;
    int leaked = dup(STDOUT_FILENO);
    (void)close(STDIN_FILENO);
    CHECK(!hf_failed(hf_harden_process(&require_all, STDERR_FILENO, &report, &err)));
    CHECK(fcntl(leaked, F_GETFD) < 0 && errno == EBADF);
    CHECK(fcntl(STDIN_FILENO, F_GETFD) >= 0);
    CHECK(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0);
    CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
    CHECK(umask(0) == 077);
    CHECK(status_has("NoNewPrivs:\t1\n"));
    CHECK(status_has("CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
                     "CapEff:\t0000000000000000\n"));
    CHECK(status_has("CapAmb:\t0000000000000000\n"));
    CHECK(geteuid() != 0 || status_has("CapBnd:\t0000000000000000\n"));
    CHECK(report_has(&report, "no_dump", HF_PROTECTION_ON));
    CHECK(report_has(&report, "no_new_privs", HF_PROTECTION_ON));
    CHECK(report_has(&report, "capabilities", HF_PROTECTION_ON));
    _exit(0);
}

static void test_process(void **state)
{
    (void)state;
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        process_child();
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* The child must be gone soon after its parent is. */
static void test_dies_with_its_parent(void **state)
{
    (void)state;
    int alive[2];
    char byte;
    assert_int_equal(pipe(alive), 0);
    pid_t parent = fork();
    if (parent == 0) {
        pid_t self = getpid();
        int ready[2];
        CHECK(pipe(ready) == 0);
        pid_t child = fork();
        if (child == 0) {
            CHECK(!hf_failed(hf_harden_die_with_parent(self, NULL)));
            CHECK(write(ready[1], "x", 1) == 1);
            (void)sleep(60);
            _exit(0);
        }
        CHECK(child > 0 && read(ready[0], &byte, 1) == 1);
        _exit(0);
    }
    (void)close(alive[1]);
    int status = 0;
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_int_equal(status, 0);
    assert_int_equal(read(alive[0], &byte, 1), 0); /* end of file: every holder is gone */
    (void)close(alive[0]);
}

static void test_dead_parent_is_noticed(void **state)
{
    (void)state;
    hf_error err = {HF_OK, ""};
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) { /* a parent that we do not have */
        CHECK(hf_harden_die_with_parent(getpid(), &err).code == HF_NOT_FOUND);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_off_is_reported_as_off(void **state)
{
    (void)state;
    const hf_hardening_config off = {0};
    hf_harden_report report = {0};
    hf_error err;
    assert_false(hf_failed(hf_harden_landlock(&off, NULL, 0, &report, &err)));
    assert_false(hf_failed(hf_harden_seccomp(&off, HF_SANDBOX_KEEPER, &report, &err)));
    assert_int_equal(report.count, 2);
    assert_true(report_has(&report, "landlock", HF_PROTECTION_OFF));
    assert_true(report_has(&report, "seccomp", HF_PROTECTION_OFF));
    hf_harden_note(&report, "seccomp", HF_PROTECTION_ON, "again");
    assert_int_equal(report.count, 2);
    assert_true(report_has(&report, "seccomp", HF_PROTECTION_ON));
}

#ifdef HF_SANITIZED
static void test_sanitizer_build_says_so(void **state)
{
    (void)state;
    hf_hardening_config config = require_all;
    hf_harden_report report = {0};
    hf_error err = {HF_OK, ""};
    assert_int_equal(hf_harden_seccomp(&config, HF_SANDBOX_KEEPER, &report, &err).code,
                     HF_UNAVAILABLE);
    assert_non_null(strstr(err.msg, "sanitizer"));
    config.seccomp = HF_PROTECT_PREFER;
    assert_false(hf_failed(hf_harden_seccomp(&config, HF_SANDBOX_KEEPER, &report, &err)));
    assert_true(report_has(&report, "seccomp", HF_PROTECTION_UNAVAILABLE));
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef HF_SANITIZED
        cmocka_unit_test(test_sanitizer_build_says_so),
#endif
        cmocka_unit_test(test_process),
        cmocka_unit_test(test_dies_with_its_parent),
        cmocka_unit_test(test_dead_parent_is_noticed),
        cmocka_unit_test(test_off_is_reported_as_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
