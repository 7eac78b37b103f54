/* Addresses with and without the checksum of EIP-55. Examples: that EIP's own test cases (CC0). */
#include "crypto/crypto.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char *const good[] = {
    "0x52908400098527886E0F7030069857D2E4169EE7", "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77", "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB", "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
};

static hf_code parse(const char *text, uint8_t address[HF_ADDRESS_BYTES])
{
    hf_error err = {0};
    return hf_address_parse(text, address, &err).code;
}

static void checksums_of_the_eip_are_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(good); i++) {
        uint8_t address[HF_ADDRESS_BYTES];
        assert_int_equal(parse(good[i], address), HF_OK);
        assert_int_equal(parse(good[i] + 2, address), HF_OK); /* without 0x */
    }
}

/* Any one letter in the other case, as long as the text stays mixed, is found. */
static void a_wrong_case_is_found(void **state)
{
    (void)state;
    for (size_t i = 4; i < HF_ARRAY_LEN(good); i++) {
        for (size_t k = 2; k < 42; k++) {
            uint8_t address[HF_ADDRESS_BYTES] = {7};
            char text[43];
            (void)snprintf(text, sizeof text, "%s", good[i]);
            unsigned char c = (unsigned char)text[k];
            if (isalpha(c) != 0) {
                text[k] = (char)(isupper(c) != 0 ? tolower(c) : toupper(c));
                assert_int_equal(parse(text, address), HF_INVALID_INPUT);
                assert_int_equal(address[0], 7);
            }
        }
    }
}

static void one_case_says_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(good); i++) {
        uint8_t address[HF_ADDRESS_BYTES];
        uint8_t upper_address[HF_ADDRESS_BYTES];
        char lower[43];
        char upper[43];
        for (size_t k = 0; k < sizeof lower; k++) {
            lower[k] = (char)tolower((unsigned char)good[i][k]);
            upper[k] = (char)(k < 2 ? good[i][k] : toupper((unsigned char)good[i][k]));
        }
        assert_int_equal(parse(lower, address), HF_OK);
        assert_int_equal(parse(upper, upper_address), HF_OK);
        assert_true(hf_bytes_equal(address, upper_address, sizeof address));
    }
}

static void what_is_no_address(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "0x",
                                      "0x00",
                                      "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",
                                      "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAedd",
                                      "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg"};
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        uint8_t address[HF_ADDRESS_BYTES];
        assert_int_equal(parse(bad[i], address), HF_INVALID_INPUT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums_of_the_eip_are_right),
        cmocka_unit_test(a_wrong_case_is_found),
        cmocka_unit_test(one_case_says_nothing),
        cmocka_unit_test(what_is_no_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
