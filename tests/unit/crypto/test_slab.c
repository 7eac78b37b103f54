/* The locked slab: slots, wiping, guard pages, forks, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/crypto.h"

#define SLOTS 100
#define NOBODY 65534

static hf_slab *new_slab(size_t slot_bytes, size_t slots)
{
    hf_slab *slab = NULL;
    hf_error err = {0};
    assert_int_equal(hf_slab_new(slot_bytes, slots, false, &slab, &err).code, HF_OK);
    return slab;
}

static void test_fills_up_and_reuses(void **state)
{
    (void)state;
    hf_slab *slab = new_slab(32, SLOTS);
    uint8_t *slots[SLOTS];
    for (size_t i = 0; i < SLOTS; i++) {
        slots[i] = hf_slab_alloc(slab);
        assert_non_null(slots[i]);
        assert_true(hf_bytes_is_zero(slots[i], 32));
        assert_int_equal((uintptr_t)slots[i] % 16, 0);
        memset(slots[i], (int)i + 1, 32);
    }
    assert_null(hf_slab_alloc(slab));
    for (size_t i = 0; i < SLOTS; i++) {
        assert_int_equal(slots[i][0], i + 1);
        assert_int_equal(slots[i][31], i + 1);
    }
    hf_slab_release(slab, slots[40]);
    assert_true(hf_bytes_is_zero(slots[40], 32)); /* wiped */
    assert_int_equal(slots[39][31], 40);
    assert_int_equal(slots[41][0], 42);
    assert_ptr_equal(hf_slab_alloc(slab), slots[40]);
    assert_null(hf_slab_alloc(slab));
    hf_slab_release(slab, NULL);
    hf_slab_free(slab);
    hf_slab_free(NULL);
}

/* Runs act in a child; returns its wait status. */
static int in_child(void (*act)(void *), void *arg)
{
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        /* cmocka and the sanitizers catch these; here the plain death is what counts. */
        (void)signal(SIGSEGV, SIG_DFL);
        (void)signal(SIGABRT, SIG_DFL);
        (void)signal(SIGBUS, SIG_DFL);
        struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)close(STDERR_FILENO);
        act(arg);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void read_byte(void *arg)
{
    volatile const uint8_t *p = arg;
    _exit(*p == 0 ? 0 : 1);
}

static void test_guard_pages(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    hf_slab *slab = new_slab(64, page / 64); /* exactly one page */
    uint8_t *first = hf_slab_alloc(slab);
    assert_non_null(first);
    int status = in_child(read_byte, first);
    assert_true(WIFEXITED(status)); /* the slot itself is readable */
    status = in_child(read_byte, first - 1);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    status = in_child(read_byte, first + page);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    hf_slab_free(slab);
}

static void test_wiped_in_children(void **state)
{
    (void)state;
    hf_slab *slab = new_slab(32, SLOTS);
    uint8_t *slot = hf_slab_alloc(slab);
    assert_non_null(slot);
    memset(slot, 0x5a, 32);
    int status = in_child(read_byte, slot);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0); /* the child saw zeros */
    assert_int_equal(slot[0], 0x5a);
    hf_slab_free(slab);
}

static void release_twice(void *arg)
{
    hf_slab *slab = new_slab(32, SLOTS);
    void *slot = hf_slab_alloc(slab);
    (void)arg;
    hf_slab_release(slab, slot);
    hf_slab_release(slab, slot);
}

static void release_foreign(void *arg)
{
    hf_slab *slab = new_slab(32, SLOTS);
    uint8_t *slot = hf_slab_alloc(slab);
    (void)arg;
    hf_slab_release(slab, slot + 1);
}

static void test_misuse_aborts(void **state)
{
    (void)state;
    int status = in_child(release_twice, NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    status = in_child(release_foreign, NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* Exit 0 when locking is refused with the remedy in the error, and given up without require_lock.
 */
static void lock_without_limit(void *arg)
{
    (void)arg;
    struct rlimit none = {0, 0};
    hf_slab *slab = NULL;
    hf_error err = {0};
    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 || (geteuid() == 0 && setuid(NOBODY) != 0)) {
        _exit(1);
    }
    if (hf_slab_new(32, SLOTS, true, &slab, &err).code != HF_LIMIT || slab != NULL ||
        err.code != HF_LIMIT || strstr(err.msg, "LimitMEMLOCK=") == NULL) {
        _exit(2);
    }
    if (hf_failed(hf_slab_new(32, SLOTS, false, &slab, &err)) || hf_slab_is_locked(slab) ||
        hf_slab_alloc(slab) == NULL) {
        _exit(3);
    }
    hf_slab_free(slab);
}

static void test_lock_limit(void **state)
{
    (void)state;
#ifdef HF_SANITIZED
    print_message("skip: the sanitizers turn mlock into nothing that always succeeds\n");
    skip();
#endif
    int status = in_child(lock_without_limit, NULL);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_locked(void **state)
{
    (void)state;
    hf_slab *slab = NULL;
    hf_error err = {0};
    /* One page: within every distribution's default limit. */
    assert_int_equal(hf_slab_new(32, 16, true, &slab, &err).code, HF_OK);
    assert_true(hf_slab_is_locked(slab));
    hf_slab_free(slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fills_up_and_reuses), cmocka_unit_test(test_guard_pages),
        cmocka_unit_test(test_wiped_in_children),   cmocka_unit_test(test_misuse_aborts),
        cmocka_unit_test(test_lock_limit),          cmocka_unit_test(test_locked),
    };
    return cmocka_run_group_tests_name("crypto/slab", tests, NULL, NULL);
}
