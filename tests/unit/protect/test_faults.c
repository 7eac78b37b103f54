/*
 * Faults: whatever happens to the file, the disk or the memory, nothing is allowed that is not on
 * record, and the store works again when the cause is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

static int setup(void **state)
{
    test_store *test = calloc(1, sizeof *test);
    assert_non_null(test);
    test_store_init(test);
    test_store_open(test);
    *state = test;
    return 0;
}

static int teardown(void **state)
{
    test_store_done(*state);
    free(*state);
    return 0;
}

/* The store cannot record: it says so, and allows nothing. */
static void expect_refusal(test_store *test, hf_code code)
{
    hf_message message = test_block(200, 1, 1);
    hf_verdict verdict = HF_VERDICT_ALLOW;
    hf_status st = test->store->ops->decide(test->store, &message, 1, &verdict, &test->err);
    assert_code(st, code);
    assert_false(hf_verdict_allows(verdict));
    assert_true(test->err.msg[0] != '\0');
    assert_code(test->store->ops->health(test->store, &test->err), code);
}

static void path_of(const test_store *test, const char *suffix, char *ret_path, size_t len)
{
    assert_code(hf_str_format(ret_path, len, "%s%s", test->config.path, suffix), HF_OK);
}

static void copy_file(const char *from, const char *to)
{
    hf_buf *buf = NULL;
    hf_error err;
    assert_code(hf_file_read(from, 1 << 24, &buf, &err), HF_OK);
    assert_code(hf_file_write_atomic(to, hf_buf_peek(buf), hf_buf_len(buf), 0600, &err), HF_OK);
    hf_buf_free(buf);
}

/* ---- the file ----------------------------------------------------------------------------- */

static void test_removed(void **state)
{
    test_store *test = *state;
    const char *const suffixes[] = {"", "-wal"};
    for (size_t i = 0; i < HF_ARRAY_LEN(suffixes); i++) {
        char path[1100];
        char aside[1100];
        path_of(test, suffixes[i], path, sizeof path);
        path_of(test, ".aside", aside, sizeof aside);
        assert_int_equal(test_decide_block(test, 1, 10 + i, 1), HF_VERDICT_ALLOW);
        assert_int_equal(rename(path, aside), 0);
        if (i == 0) {
            expect_refusal(test, HF_UNAVAILABLE);
            expect_refusal(test, HF_UNAVAILABLE);
            assert_int_equal(access(path, F_OK), -1); /* never made anew */
        }
        assert_int_equal(rename(aside, path), 0);
        assert_int_equal(test_decide_block(test, 1, 10 + i, 1), HF_VERDICT_REPEAT);
        assert_int_equal(test_decide_block(test, 1, 10 + i, 2), HF_VERDICT_DOUBLE_BLOCK);
    }
}

/* The log is gone, and with it what was only there: the store notices the loss. */
static void test_log_removed_for_good(void **state)
{
    test_store *test = *state;
    char wal[1100];
    path_of(test, "-wal", wal, sizeof wal);
    assert_int_equal(test_decide_block(test, 200, 10, 1), HF_VERDICT_ALLOW);
    assert_int_equal(unlink(wal), 0);
    hf_message message = test_block(200, 11, 1);
    hf_verdict verdict = HF_VERDICT_ALLOW;
    for (int i = 0; i < 2; i++) {
        hf_status st = test->store->ops->decide(test->store, &message, 1, &verdict, &test->err);
        assert_code(st, HF_CORRUPT);
        assert_false(hf_verdict_allows(verdict));
    }
}

/* A copy from before the last signature is no database to go on with. */
static void test_replaced_by_older_copy(void **state)
{
    test_store *test = *state;
    char copy[1100];
    char wal[1100];
    path_of(test, ".copy", copy, sizeof copy);
    path_of(test, "-wal", wal, sizeof wal);
    assert_int_equal(test_decide_block(test, 200, 10, 1), HF_VERDICT_ALLOW);
    test_store_close(test);
    copy_file(test->config.path, copy);
    test_store_open(test);
    assert_int_equal(test_decide_block(test, 200, 11, 1), HF_VERDICT_ALLOW);
    assert_int_equal(rename(copy, test->config.path), 0);
    hf_message message = test_block(200, 11, 2);
    hf_verdict verdict = HF_VERDICT_ALLOW;
    /* The log of the old file beside the copy. */
    assert_code(test->store->ops->decide(test->store, &message, 1, &verdict, &test->err),
                HF_CORRUPT);
    assert_non_null(strstr(test->err.msg, "-wal"));
    assert_int_equal(unlink(wal), 0);
    assert_code(test->store->ops->decide(test->store, &message, 1, &verdict, &test->err),
                HF_CORRUPT);
    assert_non_null(strstr(test->err.msg, "older copy"));
    assert_false(hf_verdict_allows(verdict));
    /* Nor for a validator of whom nothing is missing: its next record would be in the wrong file.
     */
    expect_refusal(test, HF_CORRUPT);
    assert_non_null(strstr(test->err.msg, "older copy"));
}

/* Of a database without a byte SQLite would believe that it is new, and remove its log. */
static void test_cut_to_nothing(void **state)
{
    test_store *test = *state;
    char wal[1100];
    hf_buf *content = NULL;
    path_of(test, "-wal", wal, sizeof wal);
    assert_int_equal(test_decide_block(test, 1, 10, 1), HF_VERDICT_ALLOW);
    assert_code(hf_file_read(test->config.path, 1 << 24, &content, &test->err), HF_OK);
    assert_int_equal(truncate(test->config.path, 0), 0);
    expect_refusal(test, HF_CORRUPT);
    assert_int_equal(access(wal, F_OK), 0);
    int fd = open(test->config.path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, hf_buf_peek(content), hf_buf_len(content)), hf_buf_len(content));
    (void)close(fd);
    hf_buf_free(content);
    assert_int_equal(test_decide_block(test, 1, 10, 1), HF_VERDICT_REPEAT);
    assert_int_equal(test_decide_block(test, 1, 10, 2), HF_VERDICT_DOUBLE_BLOCK);
}

static void test_replaced_by_another_store(void **state)
{
    test_store *test = *state;
    test_store other;
    char wal[1100];
    test_store_init(&other);
    test_store_open(&other);
    test_store_close(&other);
    assert_int_equal(test_decide_block(test, 1, 10, 1), HF_VERDICT_ALLOW);
    assert_int_equal(rename(other.config.path, test->config.path), 0);
    path_of(test, "-wal", wal, sizeof wal);
    assert_int_equal(unlink(wal), 0);
    expect_refusal(test, HF_CORRUPT);
    assert_non_null(strstr(test->err.msg, "another database"));
    test_store_done(&other);
}

static void test_truncated(void **state)
{
    test_store *test = *state;
    char copy[1100];
    path_of(test, ".copy", copy, sizeof copy);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(test_decide_block(test, 1, i, 1), HF_VERDICT_ALLOW);
    }
    test_store_close(test);
    copy_file(test->config.path, copy);
    test_store_open(test);
    assert_int_equal(test_decide_block(test, 1, 99, 1), HF_VERDICT_REPEAT);
    assert_int_equal(truncate(test->config.path, 4096 * 3), 0);
    expect_refusal(test, HF_CORRUPT);
    assert_int_equal(truncate(test->config.path, 0), 0);
    expect_refusal(test, HF_CORRUPT);
    test_store_close(test);
    /* Whole again. */
    char wal[1100];
    path_of(test, "-wal", wal, sizeof wal);
    (void)unlink(wal);
    assert_int_equal(rename(copy, test->config.path), 0);
    test_store_open(test);
    assert_int_equal(test_decide_block(test, 1, 50, 2), HF_VERDICT_DOUBLE_BLOCK);
}

static void test_overwritten(void **state)
{
    test_store *test = *state;
    uint8_t header[4096];
    uint8_t noise[4096];
    memset(noise, 0xA5, sizeof noise);
    assert_int_equal(test_decide_block(test, 1, 10, 1), HF_VERDICT_ALLOW);
    test_store_close(test);
    int fd = open(test->config.path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, header, sizeof header, 0), sizeof header);
    assert_int_equal(pwrite(fd, noise, sizeof noise, 0), sizeof noise);
    assert_code(hf_store_open_sqlite(&test->config, &test->store, &test->err), HF_CORRUPT);
    assert_int_equal(pwrite(fd, header, sizeof header, 0), sizeof header);
    (void)close(fd);
    test_store_open(test);
    assert_int_equal(test_decide_block(test, 1, 10, 1), HF_VERDICT_REPEAT);
}

/* As another user who may read the file and not write it. Root may write everything. */
static void test_read_only(void **state)
{
    test_store *test = *state;
    hf_store *store = NULL;
    assert_int_equal(test_decide_block(test, 1, 10, 1), HF_VERDICT_ALLOW);
    test_store_close(test);
    assert_int_equal(chmod(test->config.path, 0444), 0);
    assert_int_equal(chmod(test->folder, 0755), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (geteuid() == 0 && setuid(65534) != 0) {
            _exit(2);
        }
        hf_status st = hf_store_open_sqlite(&test->config, &store, &test->err);
        _exit(st.code == HF_UNAVAILABLE && store == NULL ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(chmod(test->folder, 0700), 0);
    assert_int_equal(chmod(test->config.path, 0600), 0);
    test_store_open(test);
    assert_int_equal(test_decide_block(test, 1, 10, 1), HF_VERDICT_REPEAT);
}

static void test_locked(void **state)
{
    test_store *test = *state;
    sqlite3 *db = NULL;
    assert_int_equal(test_decide_block(test, 1, 10, 1), HF_VERDICT_ALLOW);
    assert_int_equal(sqlite3_open(test->config.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    uint64_t start = hf_time_mono_ns();
    expect_refusal(test, HF_UNAVAILABLE);
    assert_true(hf_time_mono_ns() - start < UINT64_C(5000000000)); /* two waits of 200 ms */
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(db);
    assert_int_equal(test_decide_block(test, 1, 10, 1), HF_VERDICT_REPEAT);
    assert_int_equal(test_decide_block(test, 1, 11, 1), HF_VERDICT_ALLOW);
}

/* ---- no room ------------------------------------------------------------------------------ */

/* Signs until the store cannot any more; returns how many slots are on record. */
static uint64_t fill_up(test_store *test)
{
    static hf_message messages[64];
    static hf_verdict verdicts[64];
    for (uint64_t slot = 1; slot < 1000000; slot += 64) {
        for (uint32_t i = 0; i < 64; i++) {
            messages[i] = test_block(1, slot + i, 1);
        }
        hf_status st = test->store->ops->decide(test->store, messages, 64, verdicts, &test->err);
        if (hf_failed(st)) {
            assert_code(st, HF_UNAVAILABLE);
            assert_false(hf_verdict_allows(verdicts[0]));
            return slot - 1;
        }
    }
    fail_msg("a bounded disk took a million records");
    return 0;
}

static void check_after_full(test_store *test, uint64_t last)
{
    assert_int_equal(test_decide_block(test, 1, last, 1), HF_VERDICT_REPEAT);
    assert_int_equal(test_decide_block(test, 1, last, 2), HF_VERDICT_DOUBLE_BLOCK);
    assert_int_equal(test_decide_block(test, 1, last + 1, 2), HF_VERDICT_ALLOW);
}

static void test_file_size_limit(void **state)
{
    test_store *test = *state;
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    struct rlimit low = {.rlim_cur = 1 << 20, .rlim_max = old.rlim_max};
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    uint64_t last = fill_up(test);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    check_after_full(test, last);
}

/* A file system of 8 MB. */
static void test_disk_full(void **state)
{
    test_store *test = *state;
    char filler[1100];
    test_store_close(test);
    if (mount("none", test->folder, "tmpfs", 0, "size=8m,mode=0700") != 0) {
        print_message("skipped: no right to mount a small tmpfs (CAP_SYS_ADMIN)\n");
        skip();
    }
    test_store_open(test);
    path_of(test, ".filler", filler, sizeof filler);
    int fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    static const uint8_t block[4096];
    while (write(fd, block, sizeof block) == (ssize_t)sizeof block) {
        continue;
    }
    (void)close(fd);
    uint64_t last = fill_up(test);
    assert_int_equal(unlink(filler), 0);
    check_after_full(test, last);
    test_store_close(test);
    assert_int_equal(umount(test->folder), 0);
}

/* ---- the n-th call fails ------------------------------------------------------------------ */

typedef struct armed {
    int countdown; /* 0: not armed */
    int error;
    bool is_short; /* half of the bytes, then nothing more */
} armed;

static armed arm;

static bool strikes(void)
{
    return arm.countdown > 0 && --arm.countdown == 0;
}

static ssize_t failing_pwrite(int fd, const void *buf, size_t len, off_t at)
{
    if (strikes()) {
        if (arm.is_short && len > 1) {
            arm.countdown = 1; /* and the rest fails */
            return pwrite(fd, buf, len / 2, at);
        }
        errno = arm.error;
        return -1;
    }
    return pwrite(fd, buf, len, at);
}

static ssize_t failing_pread(int fd, void *buf, size_t len, off_t at)
{
    if (strikes()) {
        errno = arm.error;
        return -1;
    }
    return pread(fd, buf, len, at);
}

static int failing_ftruncate(int fd, off_t len)
{
    if (strikes()) {
        errno = arm.error;
        return -1;
    }
    return ftruncate(fd, len);
}

static int failing_fstat(int fd, struct stat *info)
{
    if (strikes()) {
        errno = arm.error;
        return -1;
    }
    return fstat(fd, info);
}

/* Not fcntl: SQLite goes on trying for ten seconds before it reports a lock that cannot be had. */
typedef struct call_case {
    const char *name;
    sqlite3_syscall_ptr call;
    int error;
    bool is_short;
} call_case;

/* Opening and one batch, with the fault at the n-th call; false when they needed fewer calls. */
static bool strike_once(test_store *test, const call_case *c, int n, uint64_t slot)
{
    hf_message messages[8];
    hf_verdict verdicts[8];
    for (uint32_t i = 0; i < 8; i++) {
        messages[i] = test_vote((uint8_t)(1 + i), slot, slot + 1, 1);
    }
    arm = (armed){n, c->error, c->is_short};
    hf_status st = hf_store_open_sqlite(&test->config, &test->store, &test->err);
    if (!hf_failed(st)) {
        st = test->store->ops->decide(test->store, messages, 8, verdicts, &test->err);
        for (uint32_t i = 0; i < 8; i++) {
            assert_int_equal(hf_verdict_allows(verdicts[i]), !hf_failed(st));
        }
    }
    bool struck = arm.countdown == 0;
    arm.countdown = 0;
    if (test->store == NULL) {
        test_store_open(test);
    }
    /* Healed: each is on record, wholly or not at all, and nothing else gets past it. */
    hf_verdict first = test_decide(test, &messages[0]);
    assert_true(first == HF_VERDICT_REPEAT || (hf_failed(st) && first == HF_VERDICT_ALLOW));
    for (uint32_t i = 1; i < 8; i++) {
        assert_int_equal(test_decide(test, &messages[i]), first);
        assert_int_equal(test_decide_vote(test, (uint8_t)(1 + i), slot, slot + 1, 2),
                         HF_VERDICT_DOUBLE_VOTE);
    }
    return struck;
}

static void test_each_call_fails(void **state)
{
    test_store *test = *state;
    const call_case cases[] = {
        {"pwrite64", (sqlite3_syscall_ptr)failing_pwrite, ENOSPC, false},
        {"pwrite64", (sqlite3_syscall_ptr)failing_pwrite, EIO, false},
        {"pwrite64", (sqlite3_syscall_ptr)failing_pwrite, ENOSPC, true},
        {"pwrite", (sqlite3_syscall_ptr)failing_pwrite, EIO, false},
        {"pread64", (sqlite3_syscall_ptr)failing_pread, EIO, false},
        {"pread", (sqlite3_syscall_ptr)failing_pread, EIO, false},
        {"ftruncate", (sqlite3_syscall_ptr)failing_ftruncate, EIO, false},
        {"fstat", (sqlite3_syscall_ptr)failing_fstat, EIO, false},
    };
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    uint64_t slot = 1;
    size_t struck = 0;
    test_store_close(test);
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        for (int n = 1; n < 120; n++, slot++) {
            assert_int_equal(vfs->xSetSystemCall(vfs, cases[i].name, cases[i].call), SQLITE_OK);
            test->config.busy_timeout_ms = 1;
            bool hit = strike_once(test, &cases[i], n, slot);
            test_store_close(test);
            assert_int_equal(vfs->xSetSystemCall(vfs, cases[i].name, NULL), SQLITE_OK);
            if (!hit) {
                break;
            }
            struck++;
        }
    }
    assert_true(struck > 30);
    test_store_open(test);
}

/* ---- the n-th allocation fails ------------------------------------------------------------ */

static sqlite3_mem_methods real_memory;
static int allocations_left = -1; /* -1: unbounded */

static bool may_allocate(void)
{
    if (allocations_left < 0) {
        return true;
    }
    return allocations_left > 0 && allocations_left-- > 0;
}

static void *scarce_malloc(int len)
{
    return may_allocate() ? real_memory.xMalloc(len) : NULL;
}

static void *scarce_realloc(void *ptr, int len)
{
    return may_allocate() ? real_memory.xRealloc(ptr, len) : NULL;
}

/* Before anything else uses the library. */
static void make_memory_scarce(void)
{
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory), SQLITE_OK);
    sqlite3_mem_methods scarce = real_memory;
    scarce.xMalloc = scarce_malloc;
    scarce.xRealloc = scarce_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &scarce), SQLITE_OK);
}

static void test_each_allocation_fails(void **state)
{
    test_store *test = *state;
    bool done = false;
    test_store_close(test);
    for (int n = 0; !done; n++) {
        hf_store *store = NULL;
        hf_message message = test_vote(1, (uint64_t)n, (uint64_t)n + 1, 1);
        hf_verdict verdict = HF_VERDICT_ALLOW;
        assert_true(n < 20000);
        allocations_left = n;
        hf_status st = hf_store_open_sqlite(&test->config, &store, &test->err);
        if (!hf_failed(st)) {
            st = store->ops->decide(store, &message, 1, &verdict, &test->err);
            done = !hf_failed(st) && allocations_left > 0;
            assert_int_equal(hf_verdict_allows(verdict), !hf_failed(st));
        }
        allocations_left = -1;
        if (store != NULL) {
            hf_status again = store->ops->decide(store, &message, 1, &verdict, &test->err);
            assert_code(again, HF_OK);
            assert_true(hf_verdict_allows(verdict));
            assert_true(hf_failed(st) || verdict == HF_VERDICT_REPEAT);
            store->ops->close(store);
        }
    }
    test_store_open(test);
}

#define WITH_STORE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(test_removed),
        WITH_STORE(test_log_removed_for_good),
        WITH_STORE(test_replaced_by_older_copy),
        WITH_STORE(test_cut_to_nothing),
        WITH_STORE(test_replaced_by_another_store),
        WITH_STORE(test_truncated),
        WITH_STORE(test_overwritten),
        WITH_STORE(test_read_only),
        WITH_STORE(test_locked),
        WITH_STORE(test_file_size_limit),
        WITH_STORE(test_disk_full),
        WITH_STORE(test_each_call_fails),
        WITH_STORE(test_each_allocation_fails),
    };
    make_memory_scarce();
    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
