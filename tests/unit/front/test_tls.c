/* The known-clients file. The handshakes themselves are tested through the program (tests/e2e). */
#include "front/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PRINT                                                                                      \
    "AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67" \
    ":89"
#define HEX "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"

static void reads_known_clients(void **state)
{
    (void)state;
    hf_tls tls = {.has_known_file = true};
    hf_error err = {0};
    assert_false(hf_failed(hf_tls_parse_known_clients("# comment\n\nlighthouse " PRINT "\r\n"
                                                      "  teku\t" HEX "  \nlast " PRINT,
                                                      &tls.known, &tls.known_count, &err)));
    assert_int_equal(tls.known_count, 3);
    uint8_t print[HF_FINGERPRINT_BYTES];
    assert_false(hf_failed(hf_hex_decode(HEX, sizeof HEX - 1, print, sizeof print)));
    assert_true(hf_tls_is_known(&tls, "lighthouse", print));
    assert_true(hf_tls_is_known(&tls, "Teku", print));
    assert_false(hf_tls_is_known(&tls, "prysm", print));
    print[31] ^= 1;
    assert_false(hf_tls_is_known(&tls, "lighthouse", print));
    free(tls.known);
}

static void refuses_what_it_cannot_read(void **state)
{
    static const char *const texts[] = {"name",
                                        "name ",
                                        PRINT,
                                        "name 12",
                                        "name " HEX "00",
                                        "name " HEX " more",
                                        "name ::::",
                                        ("name " PRINT ":00"),
                                        ("name g" HEX)};
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(texts); i++) {
        hf_known_client *known = NULL;
        size_t count = 0;
        hf_error err = {0};
        assert_int_equal(hf_tls_parse_known_clients(texts[i], &known, &count, &err).code,
                         HF_INVALID_INPUT);
        assert_non_null(strstr(err.msg, "line 1"));
        assert_null(known);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_known_clients),
        cmocka_unit_test(refuses_what_it_cannot_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
