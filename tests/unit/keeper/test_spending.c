/* The file of what was spent: over restarts, when nothing can be written, and when it has grown. */
#include "keeper/keeper_internal.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t owner[HF_ADDRESS_BYTES] = {7};
static const hf_u256 one = {.bytes = {[31] = 1}};

typedef struct rig {
    char folder[64];
    hf_keeper *keeper;
} rig;

static void open_again(rig *r)
{
    hf_error err = {HF_OK, ""};
    if (r->keeper != NULL) {
        hf_spending_close(r->keeper);
        free(r->keeper);
    }
    r->keeper = calloc(1, sizeof *r->keeper);
    assert_non_null(r->keeper);
    r->keeper->config.max_keys = 4;
    hf_str_cut(r->keeper->config.data_dir, sizeof r->keeper->config.data_dir, r->folder);
    assert_false(hf_failed(hf_spending_open(r->keeper, &err)));
}

static int set_up(void **state)
{
    static rig r;
    r = (rig){.folder = "/tmp/holdfast-spending-XXXXXX"};
    assert_non_null(mkdtemp(r.folder));
    (void)signal(SIGXFSZ, SIG_IGN);
    open_again(&r);
    *state = &r;
    return 0;
}

static int tear_down(void **state)
{
    rig *r = *state;
    char path[HF_PATH_LEN];
    hf_str_cut(path, sizeof path, r->keeper->spending.path);
    hf_spending_close(r->keeper);
    free(r->keeper);
    (void)unlink(path);
    return rmdir(r->folder);
}

static uint64_t spent(const rig *r)
{
    const hf_spending *spending = r->keeper->spending.spending;
    hf_u256 sum;
    uint64_t number = 0;
    assert_non_null(spending);
    hf_spending_sum(spending, owner, hf_spending_hour(spending, (uint64_t)hf_time_unix_ms()), &sum);
    for (size_t i = 24; i < sizeof sum.bytes; i++) {
        number = number << 8 | sum.bytes[i];
    }
    return number;
}

static bool spend(const rig *r, unsigned times)
{
    uint64_t ticket = 0;
    for (unsigned i = 0; i < times; i++) {
        if (!hf_spending_note(r->keeper, owner, &one, &ticket)) {
            return false;
        }
    }
    return hf_spending_wait(r->keeper, ticket);
}

static off_t size_of(const rig *r)
{
    struct stat info;
    return stat(r->keeper->spending.path, &info) == 0 ? info.st_size : -1;
}

static void nothing_is_forgotten(void **state)
{
    rig *r = *state;
    assert_int_equal(size_of(r), -1); /* no file where nobody bounds a day */
    assert_true(hf_spending_wait(r->keeper, 0));
    assert_true(spend(r, 3));
    assert_true(spend(r, 2));
    assert_int_equal(size_of(r), (off_t)5 * HF_SPENDING_RECORD_BYTES);
    open_again(r);
    assert_int_equal(spent(r), 5);
    /* written anew: one record an hour (the hour may have changed meanwhile) */
    assert_in_range(size_of(r), HF_SPENDING_RECORD_BYTES, 2 * HF_SPENDING_RECORD_BYTES);
}

/* What cannot be written lets no signature go, and is written later. */
static void a_full_disk(void **state)
{
    rig *r = *state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    uint64_t known = spent(r);
    assert_true(spend(r, 1));
    struct rlimit small = {.rlim_cur = (rlim_t)size_of(r) + 20, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_false(spend(r, 2));
    assert_false(spend(r, 1));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    /* As a crash leaves it now: torn at its end. */
    rig crashed = {.keeper = NULL};
    hf_str_cut(crashed.folder, sizeof crashed.folder, r->folder);
    assert_true(spend(r, 1));
    open_again(&crashed);
    assert_int_equal(spent(&crashed), known + 5);
    hf_spending_close(crashed.keeper);
    free(crashed.keeper);
    open_again(r);
    assert_int_equal(spent(r), known + 5);
}

static void nobody_waits_for_ever_many(void **state)
{
    rig *r = *state;
    uint64_t known = spent(r);
    uint64_t ticket = 0;
    unsigned noted = 0;
    while (noted <= HF_SPENDING_PENDING_MAX && hf_spending_note(r->keeper, owner, &one, &ticket)) {
        noted++;
    }
    assert_int_equal(noted, HF_SPENDING_PENDING_MAX); /* bounded */
    assert_true(hf_spending_wait(r->keeper, 1));      /* all of them at once */
    assert_int_equal(r->keeper->spending.synced, noted);
    assert_int_equal(spent(r), known + noted);
    open_again(r);
    assert_int_equal(spent(r), known + noted);
}

static void a_file_that_has_grown(void **state)
{
    rig *r = *state;
    uint64_t known = spent(r);
    assert_true(spend(r, 1));
    r->keeper->spending.len = (64U << 20); /* as if: the next sync writes it anew first */
    assert_true(spend(r, 1));
    assert_in_range(size_of(r), HF_SPENDING_RECORD_BYTES, 4 * HF_SPENDING_RECORD_BYTES);
    open_again(r);
    assert_int_equal(spent(r), known + 2);
}

static void a_file_that_is_not_believed(void **state)
{
    rig *r = *state;
    uint64_t ticket = 0;
    hf_error err = {HF_OK, ""};
    uint8_t bytes[3 * HF_SPENDING_RECORD_BYTES] = {1};
    hf_spending_encode(owner, 1, &one, bytes + sizeof bytes - HF_SPENDING_RECORD_BYTES);
    assert_false(
        hf_failed(hf_file_write_atomic(r->keeper->spending.path, bytes, sizeof bytes, 0600, &err)));
    open_again(r);
    assert_null(r->keeper->spending.spending);
    assert_false(hf_spending_note(r->keeper, owner, &one, &ticket));
    assert_int_equal(size_of(r), sizeof bytes); /* left for whoever looks into it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_forgotten),        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(nobody_waits_for_ever_many),  cmocka_unit_test(a_file_that_has_grown),
        cmocka_unit_test(a_file_that_is_not_believed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
