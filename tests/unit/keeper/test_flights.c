/* When a batch may follow one that is in the air. */
#include "keeper/keeper_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define FAR_AWAY (10 * HF_NS_PER_MS)

static bool never_begins(hf_store *self, const hf_message *messages, size_t n)
{
    (void)self;
    (void)messages;
    return n == SIZE_MAX;
}

static void only_to_a_store_that_is_far_and_well(void **state)
{
    (void)state;
    static const hf_store_ops in_halves = {.decide_begin = never_begins};
    static const hf_store_ops whole = {0};
    hf_store store = {&in_halves};
    hf_keeper *keeper = calloc(1, sizeof *keeper);
    assert_non_null(keeper);
    hf_protector *protector = &keeper->protector;
    protector->store = &store;
    protector->healthy = true;
    assert_false(hf_flights_are_worth(keeper)); /* nothing is known */
    hf_flights_note_way(&protector->flights, FAR_AWAY);
    assert_false(hf_flights_are_worth(keeper)); /* once may be an accident */
    hf_flights_note_way(&protector->flights, FAR_AWAY);
    assert_true(hf_flights_are_worth(keeper));
    protector->healthy = false;
    assert_false(hf_flights_are_worth(keeper));
    protector->healthy = true;
    store.ops = &whole;
    assert_false(hf_flights_are_worth(keeper));
    store.ops = &in_halves;
    hf_flights_note_way(&protector->flights, HF_NS_PER_MS);
    assert_false(hf_flights_are_worth(keeper));
    free(keeper);
}

static void the_first_waits_for_nothing_and_others_for_their_turn(void **state)
{
    (void)state;
    hf_flights *flights = calloc(1, sizeof *flights);
    assert_non_null(flights);
    hf_flights_note_way(flights, FAR_AWAY);
    hf_flights_note_way(flights, 2 * FAR_AWAY);
    flights->begun_ns = 5 * FAR_AWAY;
    assert_int_equal(hf_flights_next_ns(flights), 0);
    flights->count = 1;
    assert_int_equal(hf_flights_next_ns(flights), 5 * FAR_AWAY + FAR_AWAY / HF_FLIGHTS_MAX);
    free(flights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_to_a_store_that_is_far_and_well),
        cmocka_unit_test(the_first_waits_for_nothing_and_others_for_their_turn),
    };
    return cmocka_run_group_tests_name("flights", tests, NULL, NULL);
}
