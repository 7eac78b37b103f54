/* The start guard's decision: each kind of evidence, and the floors; and its witnesses on disk and
 * in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "keeper/guard.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define GENESIS UINT64_C(1606824023)
#define EPOCH 400000
#define NOW_S (GENESIS + (uint64_t)EPOCH * 384 + 100) /* slot 8 of the epoch */

static const hf_network network = {
    .genesis_time = GENESIS, .slots_per_epoch = 32, .slot_ms = 12000};

/* All is well: the same boot, the same file, and nothing is missing. */
static hf_guard_evidence continuous(void)
{
    hf_guard_evidence e = {.disk_state = HF_WITNESS_PRESENT,
                           .memory_state = HF_WITNESS_PRESENT,
                           .now_unix_ms = (int64_t)(NOW_S * 1000)};
    e.store = (hf_store_mark){
        .lineage = {7}, .vote_id = 100, .block_id = 10, .is_counted = 1, .seen_unix_s = NOW_S - 12};
    e.here = (hf_witness){.boot_id = {5}, .device = 1, .inode = 2, .file_stamp = 77};
    e.memory = (hf_witness){.lineage = {7},
                            .boot_id = {5},
                            .vote_id = 100,
                            .block_id = 10,
                            .device = 1,
                            .inode = 2,
                            .file_stamp = 77,
                            .written_unix_s = NOW_S - 600};
    e.disk = e.memory;
    e.disk.vote_id = 90;
    return e;
}

static void expect(const hf_guard_evidence *e, hf_guard_state state, hf_guard_cause cause)
{
    hf_guard_verdict verdict = hf_guard_judge(e, &network);
    if (verdict.cause != cause) {
        fail_msg("%s, and not: %s", hf_guard_cause_sentence(verdict.cause),
                 hf_guard_cause_sentence(cause));
    }
    assert_int_equal(verdict.state, state);
    assert_int_equal(verdict.floors.has_slot, state == HF_GUARD_RAISED);
}

/* ---- one thing after another goes wrong ----------------------------------------------------- */

typedef void (*change)(hf_guard_evidence *e);

static void as_it_was(hf_guard_evidence *e)
{
    (void)e;
}
static void crashed_with_log(hf_guard_evidence *e)
{
    e->has_log = true;
}
static void store_is_ahead(hf_guard_evidence *e)
{
    e->store.vote_id = 105;
}
static void votes_are_missing(hf_guard_evidence *e)
{
    e->store.vote_id = 99;
}
static void blocks_are_missing(hf_guard_evidence *e)
{
    e->store.block_id = 9;
}
static void disk_knows_more(hf_guard_evidence *e)
{
    e->disk.vote_id = 101;
    e->memory.vote_id = 90;
}
static void rebooted(hf_guard_evidence *e)
{
    e->memory_state = HF_WITNESS_ABSENT;
}
static void other_boot(hf_guard_evidence *e)
{
    e->here.boot_id[0] = 6;
}
static void boot_not_known(hf_guard_evidence *e)
{
    e->here.boot_id[0] = e->memory.boot_id[0] = e->disk.boot_id[0] = 0;
}
static void disk_from_before_boot(hf_guard_evidence *e)
{
    e->disk.boot_id[0] = 4;
}
static void disk_is_gone(hf_guard_evidence *e)
{
    e->disk_state = HF_WITNESS_ABSENT;
}
static void disk_is_damaged(hf_guard_evidence *e)
{
    e->disk_state = HF_WITNESS_UNREADABLE;
}
static void memory_is_damaged(hf_guard_evidence *e)
{
    e->memory_state = HF_WITNESS_UNREADABLE;
}
static void both_are_gone(hf_guard_evidence *e)
{
    e->disk_state = e->memory_state = HF_WITNESS_ABSENT;
}
static void made_anew(hf_guard_evidence *e)
{
    e->store = (hf_store_mark){.is_counted = 1, .is_virgin = 1};
}
static void made_anew_after_reboot(hf_guard_evidence *e)
{
    made_anew(e);
    rebooted(e);
}
static void made_anew_in_new_folder(hf_guard_evidence *e)
{
    made_anew(e);
    disk_is_gone(e);
}
static void first_start(hf_guard_evidence *e)
{
    made_anew(e);
    both_are_gone(e);
}
static void other_lineage(hf_guard_evidence *e)
{
    e->store.lineage[0] = 8;
}
static void copied_file(hf_guard_evidence *e)
{
    e->here.inode = 3;
}
static void moved_disk(hf_guard_evidence *e)
{
    e->here.device = 9;
}
static void written_over_after_close(hf_guard_evidence *e)
{
    e->here.file_stamp = 78;
}
static void written_over_under_log(hf_guard_evidence *e)
{
    e->has_log = true;
    e->here.file_stamp = 78;
}
static void crashed_while_copying(hf_guard_evidence *e)
{
    e->has_log = true;
    e->copying_ms = 5000;
    e->here.file_stamp = 5100 * HF_NS_PER_MS;
}
static void replaced_while_copying(hf_guard_evidence *e)
{
    crashed_while_copying(e);
    e->here.file_stamp = 60000 * HF_NS_PER_MS;
}
static void restored_while_copying(hf_guard_evidence *e)
{
    crashed_while_copying(e);
    e->here.file_stamp = 100 * HF_NS_PER_MS;
}
static void always(hf_guard_evidence *e)
{
    e->mode = HF_GUARD_ALWAYS;
}
static void always_and_new(hf_guard_evidence *e)
{
    always(e);
    first_start(e);
}
static void switched_off(hf_guard_evidence *e)
{
    e->mode = HF_GUARD_OFF;
    votes_are_missing(e);
}

static void test_a_file_on_this_machine(void **state)
{
    (void)state;
    static const struct {
        change happens;
        hf_guard_state state;
        hf_guard_cause cause;
    } cases[] = {
        {as_it_was, HF_GUARD_PASSED, HF_GUARD_CONTINUITY},
        {crashed_with_log, HF_GUARD_PASSED, HF_GUARD_CONTINUITY},
        {store_is_ahead, HF_GUARD_PASSED, HF_GUARD_CONTINUITY},
        {votes_are_missing, HF_GUARD_RAISED, HF_GUARD_STORE_IS_BEHIND},
        {blocks_are_missing, HF_GUARD_RAISED, HF_GUARD_STORE_IS_BEHIND},
        {disk_knows_more, HF_GUARD_RAISED, HF_GUARD_STORE_IS_BEHIND},
        {rebooted, HF_GUARD_RAISED, HF_GUARD_MEMORY_LOST},
        {other_boot, HF_GUARD_RAISED, HF_GUARD_MEMORY_LOST},
        {boot_not_known, HF_GUARD_RAISED, HF_GUARD_MEMORY_LOST},
        {disk_from_before_boot, HF_GUARD_RAISED, HF_GUARD_DISK_IS_FROM_BEFORE},
        {disk_is_gone, HF_GUARD_RAISED, HF_GUARD_DISK_LOST},
        {disk_is_damaged, HF_GUARD_RAISED, HF_GUARD_UNREADABLE},
        {memory_is_damaged, HF_GUARD_RAISED, HF_GUARD_UNREADABLE},
        {both_are_gone, HF_GUARD_RAISED, HF_GUARD_NO_WITNESS},
        {made_anew, HF_GUARD_RAISED, HF_GUARD_OTHER_STORE},
        {made_anew_after_reboot, HF_GUARD_RAISED, HF_GUARD_OTHER_STORE},
        {made_anew_in_new_folder, HF_GUARD_RAISED, HF_GUARD_OTHER_STORE},
        {first_start, HF_GUARD_PASSED, HF_GUARD_NEW_STORE},
        {other_lineage, HF_GUARD_RAISED, HF_GUARD_OTHER_STORE},
        {copied_file, HF_GUARD_RAISED, HF_GUARD_OTHER_FILE},
        {moved_disk, HF_GUARD_RAISED, HF_GUARD_OTHER_FILE},
        {written_over_after_close, HF_GUARD_PASSED, HF_GUARD_CONTINUITY},
        {written_over_under_log, HF_GUARD_RAISED, HF_GUARD_OTHER_FILE},
        {crashed_while_copying, HF_GUARD_PASSED, HF_GUARD_CONTINUITY},
        {replaced_while_copying, HF_GUARD_RAISED, HF_GUARD_OTHER_FILE},
        {restored_while_copying, HF_GUARD_RAISED, HF_GUARD_OTHER_FILE},
        {always, HF_GUARD_RAISED, HF_GUARD_CONFIGURED},
        {always_and_new, HF_GUARD_RAISED, HF_GUARD_CONFIGURED},
        {switched_off, HF_GUARD_PASSED, HF_GUARD_SWITCHED_OFF},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        hf_guard_evidence e = continuous();
        cases[i].happens(&e);
        expect(&e, cases[i].state, cases[i].cause);
    }
}

/* The record is elsewhere: a reboot of this machine says nothing about it. */
static void test_a_shared_store(void **state)
{
    (void)state;
    static const struct {
        change happens;
        hf_guard_state state;
        hf_guard_cause cause;
    } cases[] = {
        {as_it_was, HF_GUARD_PASSED, HF_GUARD_CONTINUITY},
        {rebooted, HF_GUARD_PASSED, HF_GUARD_CONTINUITY},
        {other_boot, HF_GUARD_PASSED, HF_GUARD_CONTINUITY},
        {disk_is_gone, HF_GUARD_PASSED, HF_GUARD_CONTINUITY},
        {both_are_gone, HF_GUARD_PASSED, HF_GUARD_NODE_IS_NEW},
        {store_is_ahead, HF_GUARD_PASSED, HF_GUARD_CONTINUITY},
        {votes_are_missing, HF_GUARD_RAISED, HF_GUARD_STORE_IS_BEHIND},
        {blocks_are_missing, HF_GUARD_RAISED, HF_GUARD_STORE_IS_BEHIND},
        {disk_knows_more, HF_GUARD_RAISED, HF_GUARD_STORE_IS_BEHIND},
        {other_lineage, HF_GUARD_RAISED, HF_GUARD_OTHER_STORE},
        {disk_is_damaged, HF_GUARD_RAISED, HF_GUARD_UNREADABLE},
        {always, HF_GUARD_RAISED, HF_GUARD_CONFIGURED},
        {switched_off, HF_GUARD_PASSED, HF_GUARD_SWITCHED_OFF},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        hf_guard_evidence e = continuous();
        e.here.backend = e.disk.backend = e.memory.backend = HF_STORE_POSTGRES;
        cases[i].happens(&e);
        expect(&e, cases[i].state, cases[i].cause);
    }
    hf_guard_evidence e = continuous(); /* whose witnesses saw a file */
    e.here.backend = HF_STORE_POSTGRES;
    expect(&e, HF_GUARD_RAISED, HF_GUARD_OTHER_STORE);
    e = continuous(); /* one that cannot count is not behind */
    e.here.backend = e.disk.backend = e.memory.backend = HF_STORE_DYNAMODB;
    e.store.is_counted = 0;
    e.store.vote_id = 0;
    expect(&e, HF_GUARD_PASSED, HF_GUARD_CONTINUITY);
    e = continuous(); /* it counts since the program is new: the witnesses know no number of it */
    e.here.backend = e.disk.backend = e.memory.backend = HF_STORE_POSTGRES;
    memset(e.disk.lineage, 0, HF_LINEAGE_BYTES);
    memset(e.memory.lineage, 0, HF_LINEAGE_BYTES);
    e.disk.vote_id = e.memory.vote_id = 0;
    expect(&e, HF_GUARD_PASSED, HF_GUARD_CONTINUITY);
    e.disk.backend = HF_STORE_DYNAMODB;
    expect(&e, HF_GUARD_RAISED, HF_GUARD_OTHER_STORE);
    e = continuous(); /* such a number is nothing where the record is a file */
    memset(e.disk.lineage, 0, HF_LINEAGE_BYTES);
    expect(&e, HF_GUARD_RAISED, HF_GUARD_OTHER_STORE);
}

/* ---- floors and clocks ---------------------------------------------------------------------- */

static void test_floors_are_the_present(void **state)
{
    (void)state;
    hf_guard_evidence e = continuous();
    e.mode = HF_GUARD_ALWAYS;
    hf_guard_verdict verdict = hf_guard_judge(&e, &network);
    assert_int_equal(verdict.floors.slot, (uint64_t)EPOCH * 32 + 8);
    assert_int_equal(verdict.floors.target, EPOCH);
    assert_int_equal(verdict.floors.source, EPOCH);
    /* A client's clock may be a second ahead of ours, at the end of an epoch. */
    e.now_unix_ms = (int64_t)((GENESIS + (uint64_t)(EPOCH + 1) * 384) * 1000 - 500);
    verdict = hf_guard_judge(&e, &network);
    assert_int_equal(verdict.floors.target, EPOCH + 1);
}

static void test_clocks(void **state)
{
    (void)state;
    hf_network nameless = network;
    hf_guard_evidence e = continuous();
    e.mode = HF_GUARD_ALWAYS;
    nameless.genesis_time = 0;
    assert_int_equal(hf_guard_judge(&e, &nameless).cause, HF_GUARD_NO_GENESIS_TIME);
    e.now_unix_ms = (int64_t)(NOW_S - 30) * 1000; /* set back a little */
    expect(&e, HF_GUARD_RAISED, HF_GUARD_CONFIGURED);
    e.now_unix_ms = (int64_t)(NOW_S - 3600) * 1000;
    expect(&e, HF_GUARD_REFUSED, HF_GUARD_CLOCK_WENT_BACK);
    e.store.seen_unix_s = 0; /* the disk's witness says so too */
    e.disk.written_unix_s = NOW_S;
    expect(&e, HF_GUARD_REFUSED, HF_GUARD_CLOCK_WENT_BACK);
    e = continuous();
    e.mode = HF_GUARD_ALWAYS;
    e.now_unix_ms = (int64_t)(NOW_S + UINT64_C(20) * 365 * 86400) * 1000;
    expect(&e, HF_GUARD_REFUSED, HF_GUARD_CLOCK_IS_AHEAD);
    e.now_unix_ms = (int64_t)(GENESIS - 1) * 1000;
    expect(&e, HF_GUARD_REFUSED, HF_GUARD_BEFORE_GENESIS);
    e.now_unix_ms = -1;
    expect(&e, HF_GUARD_REFUSED, HF_GUARD_BEFORE_GENESIS);
    e.mode = HF_GUARD_AUTO; /* nobody needs the clock */
    expect(&e, HF_GUARD_PASSED, HF_GUARD_CONTINUITY);
}

/* ---- witnesses ------------------------------------------------------------------------------ */

typedef struct place {
    char folder[64];
    char path[96];
    int memory_fd;
} place;

static int setup(void **state)
{
    place *p = calloc(1, sizeof *p);
    assert_non_null(p);
    (void)snprintf(p->folder, sizeof p->folder, "/tmp/hf-guard-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    (void)snprintf(p->path, sizeof p->path, "%s/start_guard", p->folder);
    p->memory_fd = memfd_create("witness", MFD_CLOEXEC);
    assert_int_equal(ftruncate(p->memory_fd, 4096), 0);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    place *p = *state;
    (void)unlink(p->path);
    (void)rmdir(p->folder);
    (void)close(p->memory_fd);
    free(p);
    return 0;
}

static void open_at(const place *p, hf_witnesses *witnesses)
{
    hf_error err = {.code = HF_OK};
    assert_int_equal(hf_witnesses_open(witnesses, p->folder, dup(p->memory_fd), &err).code, HF_OK);
}

static void test_witnesses_remember(void **state)
{
    const place *p = *state;
    hf_witnesses witnesses;
    hf_witness found;
    hf_witness witness = {.lineage = {1},
                          .boot_id = {2},
                          .vote_id = 3,
                          .block_id = 4,
                          .written_unix_s = 5,
                          .device = 6,
                          .inode = 7,
                          .file_stamp = 8};
    open_at(p, &witnesses);
    assert_int_equal(hf_witness_read_disk(&witnesses, &found), HF_WITNESS_ABSENT);
    assert_int_equal(hf_witness_read_memory(&witnesses, &found), HF_WITNESS_ABSENT);
    assert_int_equal(hf_witness_begin(&witnesses, &witness, NULL).code, HF_OK);
    for (uint64_t i = 1; i <= 5; i++) {
        const hf_store_mark mark = {.vote_id = 10 * i, .block_id = i, .file_stamp = 9};
        hf_witness_advance(&witnesses, &mark);
        witness.vote_id = 10 * i - 1;
        assert_int_equal(hf_witness_write_disk(&witnesses, &witness, i == 5, NULL).code, HF_OK);
    }
    hf_witnesses_close(&witnesses);
    open_at(p, &witnesses);
    assert_int_equal(hf_witness_read_disk(&witnesses, &found), HF_WITNESS_PRESENT);
    assert_memory_equal(&found, &witness, sizeof witness);
    assert_int_equal(hf_witness_read_memory(&witnesses, &found), HF_WITNESS_PRESENT);
    assert_int_equal(found.vote_id, 50);
    assert_int_equal(found.block_id, 5);
    assert_int_equal(found.file_stamp, 9);
    assert_memory_equal(found.lineage, witness.lineage, sizeof found.lineage);
    hf_witnesses_close(&witnesses);
}

static void flip(const place *p, off_t at)
{
    uint8_t byte;
    int fd = open(p->path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
}

/* A write that was cut off leaves the one before; nothing that is damaged is believed. */
static void test_damaged_witnesses(void **state)
{
    const place *p = *state;
    hf_witnesses witnesses;
    hf_witness found;
    hf_witness witness = {.vote_id = 1};
    open_at(p, &witnesses);
    assert_int_equal(hf_witness_begin(&witnesses, &witness, NULL).code, HF_OK);
    witness.vote_id = 2;
    assert_int_equal(hf_witness_write_disk(&witnesses, &witness, false, NULL).code, HF_OK);
    hf_witnesses_close(&witnesses);
    flip(p, 0 * 512 + 60); /* the second one, of turn 2 */
    open_at(p, &witnesses);
    assert_int_equal(hf_witness_read_disk(&witnesses, &found), HF_WITNESS_PRESENT);
    assert_int_equal(found.vote_id, 1);
    hf_witnesses_close(&witnesses);
    flip(p, 1 * 512 + 60);
    assert_int_equal(pwrite(p->memory_fd, "x", 1, 0), 1);
    open_at(p, &witnesses);
    assert_int_equal(hf_witness_read_disk(&witnesses, &found), HF_WITNESS_UNREADABLE);
    assert_int_equal(hf_witness_read_memory(&witnesses, &found), HF_WITNESS_UNREADABLE);
    hf_witnesses_close(&witnesses);
}

static void test_without_memory(void **state)
{
    const place *p = *state;
    hf_witnesses witnesses;
    hf_witness found;
    hf_witness witness = {.vote_id = 1};
    const hf_store_mark mark = {.vote_id = 2};
    assert_int_equal(hf_witnesses_open(&witnesses, p->folder, -1, NULL).code, HF_OK);
    assert_int_equal(hf_witness_read_memory(&witnesses, &found), HF_WITNESS_ABSENT);
    assert_null(hf_witness_copying(&witnesses));
    assert_int_equal(hf_witness_begin(&witnesses, &witness, NULL).code, HF_OK);
    hf_witness_advance(&witnesses, &mark);
    assert_int_equal(hf_witness_read_memory(&witnesses, &found), HF_WITNESS_ABSENT);
    hf_witnesses_close(&witnesses);
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < HF_GUARD_CAUSE_COUNT; i++) {
        assert_non_null(hf_guard_cause_sentence((hf_guard_cause)i));
    }
    for (int i = 0; i < HF_GUARD_STATE_COUNT; i++) {
        assert_non_null(hf_guard_state_name((hf_guard_state)i));
    }
    assert_string_equal(hf_guard_state_name(HF_GUARD_STATE_COUNT), "unknown");
    assert_string_equal(hf_guard_cause_sentence(HF_GUARD_CAUSE_COUNT), "unknown");
}

#define WITH_PLACE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_on_this_machine),
        cmocka_unit_test(test_a_shared_store),
        cmocka_unit_test(test_floors_are_the_present),
        cmocka_unit_test(test_clocks),
        WITH_PLACE(test_witnesses_remember),
        WITH_PLACE(test_damaged_witnesses),
        WITH_PLACE(test_without_memory),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
