/* Which thread counts as stuck: one that neither goes on, nor rests, nor waits for a disk. */
#include "keeper/pulse.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A word that was said a moment ago is late when so much time has passed. */
static const char *stuck_later(void)
{
    return hf_pulse_find_stuck(hf_time_mono_ns() + HF_PULSE_STUCK_NS + HF_NS_PER_SECOND);
}

static void *takes_no_part(void *context)
{
    hf_pulse_turn();
    hf_pulse_rest();
    hf_pulse_to_disk();
    hf_pulse_from_disk();
    return context;
}

static void *joins(void *context)
{
    hf_pulse_join("second");
    return context;
}

static void who_takes_no_part_is_never_stuck(void **state)
{
    pthread_t thread;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, takes_no_part, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_null(stuck_later());
}

static void silence_counts_for_who_works(void **state)
{
    (void)state;
    hf_pulse_join("first");
    assert_null(hf_pulse_find_stuck(hf_time_mono_ns()));
    assert_string_equal(stuck_later(), "first");
    hf_pulse_rest();
    assert_null(stuck_later());
    hf_pulse_turn();
    assert_string_equal(stuck_later(), "first");
}

static void a_disk_may_take_its_time(void **state)
{
    (void)state;
    hf_pulse_to_disk();
    assert_null(stuck_later());
    hf_pulse_to_disk(); /* within another wait */
    hf_pulse_turn();
    hf_pulse_from_disk();
    assert_null(stuck_later());
    hf_pulse_from_disk();
    assert_string_equal(stuck_later(), "first");
    hf_pulse_rest();
}

static void each_thread_counts(void **state)
{
    pthread_t thread;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, joins, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(stuck_later(), "second");
    assert_null(hf_pulse_find_stuck(0)); /* a clock from before */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_takes_no_part_is_never_stuck),
        cmocka_unit_test(silence_counts_for_who_works),
        cmocka_unit_test(a_disk_may_take_its_time),
        cmocka_unit_test(each_thread_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
