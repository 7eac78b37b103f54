/* Failures by address: free ones, a limit, forgetting, and memory of one size. */
#include "tokens.h"

#define SECOND HF_NS_PER_SECOND

static uint32_t fail_times(hf_auth_guesses *guesses, const char *from, int times, uint64_t now)
{
    uint32_t wait = 0;
    for (int i = 0; i < times; i++) {
        wait = hf_auth_guesses_note(guesses, test_address(from), now);
    }
    return wait;
}

static void test_a_burst_is_limited_and_forgotten(void **state)
{
    hf_auth_guesses *guesses = hf_auth_guesses_new();
    uint64_t now = 1000 * SECOND;
    (void)state;
    assert_non_null(guesses);
    assert_int_equal(fail_times(guesses, "192.0.2.1", HF_AUTH_GUESSES_FREE, now), 0);
    assert_int_equal(fail_times(guesses, "192.0.2.1", 1, now), HF_AUTH_GUESS_SECONDS);
    assert_int_equal(fail_times(guesses, "192.0.2.1", 1, now), 2 * HF_AUTH_GUESS_SECONDS);
    assert_int_equal(fail_times(guesses, "192.0.2.2", 1, now), 0); /* a neighbour is another */
    /* One is forgotten in so many seconds, all in the end. */
    now += 3 * HF_AUTH_GUESS_SECONDS * SECOND;
    assert_int_equal(fail_times(guesses, "192.0.2.1", 1, now), 0);
    assert_int_equal(fail_times(guesses, "192.0.2.1", 1, now), HF_AUTH_GUESS_SECONDS);
    assert_int_equal(fail_times(guesses, "192.0.2.1", 100000, now),
                     (HF_AUTH_GUESSES_KEPT_MAX - HF_AUTH_GUESSES_FREE) * HF_AUTH_GUESS_SECONDS);
    now += HF_AUTH_GUESSES_KEPT_MAX * HF_AUTH_GUESS_SECONDS * SECOND;
    assert_int_equal(fail_times(guesses, "192.0.2.1", HF_AUTH_GUESSES_FREE, now), 0);
    hf_auth_guesses_free(guesses);
}

static void test_an_ipv6_network_is_one(void **state)
{
    hf_auth_guesses *guesses = hf_auth_guesses_new();
    (void)state;
    assert_int_equal(fail_times(guesses, "2001:db8::1", HF_AUTH_GUESSES_FREE, SECOND), 0);
    assert_true(fail_times(guesses, "2001:db8::ffff:2", 1, SECOND) > 0);
    assert_int_equal(fail_times(guesses, "2001:db8:0:1::1", 1, SECOND), 0);
    hf_auth_guesses_free(guesses);
}

/* A flood of addresses does not wash away the one that fails most. */
static void test_a_flood_of_addresses(void **state)
{
    hf_auth_guesses *guesses = hf_auth_guesses_new();
    uint64_t now = SECOND;
    (void)state;
    assert_true(fail_times(guesses, "192.0.2.1", HF_AUTH_GUESSES_FREE + 5, now) > 0);
    for (uint32_t i = 0; i < 200000; i++) {
        uint8_t address[16] = {0x20, 1, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        assert_int_equal(hf_auth_guesses_note(guesses, address, now), 0);
    }
    assert_true(fail_times(guesses, "192.0.2.1", 1, now) > 0);
    hf_auth_guesses_free(guesses);
}

/* The clock may stand still or start at zero. */
static void test_odd_clocks(void **state)
{
    hf_auth_guesses *guesses = hf_auth_guesses_new();
    (void)state;
    assert_int_equal(fail_times(guesses, "192.0.2.1", 1, 0), 0);
    assert_int_equal(fail_times(guesses, "192.0.2.1", 1, UINT64_MAX), 0);
    assert_int_equal(fail_times(guesses, "192.0.2.1", 1, 0), 0);
    hf_auth_guesses_free(guesses);
    hf_auth_guesses_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_burst_is_limited_and_forgotten),
        cmocka_unit_test(test_an_ipv6_network_is_one),
        cmocka_unit_test(test_a_flood_of_addresses),
        cmocka_unit_test(test_odd_clocks),
    };
    return cmocka_run_group_tests_name("auth guesses", tests, NULL, NULL);
}
