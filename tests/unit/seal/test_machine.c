/* The seal machine: every pair of state and event, and what must hold whatever happens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "seal/seal.h"

#define STATES HF_SEAL_STATE_COUNT
#define EVENTS HF_SEAL_EVENT_COUNT

/* U uninitialized, G awaiting registration, S sealed, P partly, O open, R awaiting rotation; - not
 * allowed. Columns in the order of hf_seal_event. */
static const char *const expected[STATES] = {
    /* init register registered share last wrong repeated seal change changed cancel timeout found
       replaced restart */
    [HF_SEAL_UNINITIALIZED] = "G-S--------USSU",
    [HF_SEAL_AWAITING_REGISTRATION] = "-GS-------UUSSU",
    [HF_SEAL_SEALED] = "---POS-S---SSSS",
    [HF_SEAL_PARTLY_UNSEALED] = "---POPPS--SSPSS",
    [HF_SEAL_UNSEALED] = "-------SRO-OOSS",
    [HF_SEAL_AWAITING_ROTATION] = "-RR----S-OOORSS",
};
static const char letters[STATES] = {'U', 'G', 'S', 'P', 'O', 'R'};

static void test_every_pair(void **state)
{
    (void)state;
    for (unsigned s = 0; s < STATES; s++) {
        assert_int_equal(strlen(expected[s]), EVENTS);
        for (unsigned e = 0; e < EVENTS; e++) {
            hf_seal_step step = hf_seal_next((hf_seal_state)s, (hf_seal_event)e);
            char got = step.is_allowed ? letters[step.next] : '-';
            if (got != expected[s][e]) {
                fail_msg("state %u, event %u: %c, not %c", s, e, got, expected[s][e]);
            }
            assert_int_equal(step.is_allowed, step.because == NULL);
            assert_true(step.is_allowed || step.next == (hf_seal_state)s);
        }
    }
}

/* What the operator relies on, said apart from the table. */
static void test_promises(void **state)
{
    (void)state;
    for (unsigned s = 0; s < STATES; s++) {
        for (unsigned e = 0; e < EVENTS; e++) {
            hf_seal_step step = hf_seal_next((hf_seal_state)s, (hf_seal_event)e);
            bool opens =
                !hf_seal_state_can_sign((hf_seal_state)s) && hf_seal_state_can_sign(step.next);
            assert_true(!opens || e == HF_SEAL_ON_LAST_SHARE);
        }
        hf_seal_state after = hf_seal_next((hf_seal_state)s, HF_SEAL_ON_RESTART).next;
        assert_false(hf_seal_state_can_sign(after));
        after = hf_seal_next((hf_seal_state)s, HF_SEAL_ON_REPLACED).next;
        assert_false(hf_seal_state_can_sign(after));
        if (s != HF_SEAL_UNINITIALIZED && s != HF_SEAL_AWAITING_REGISTRATION) {
            assert_int_equal(hf_seal_next((hf_seal_state)s, HF_SEAL_ON_SEAL).next, HF_SEAL_SEALED);
            /* A seal that is there is never made anew. */
            assert_false(hf_seal_next((hf_seal_state)s, HF_SEAL_ON_INIT).is_allowed);
        }
        assert_string_not_equal(hf_seal_state_name(s), "unknown");
    }
    assert_string_equal(hf_seal_state_name(STATES), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_promises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
