/* The credential of a request: every form that clients send, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "front/front_internal.h"

#define TOKEN "hft_00112233445566778899aabb.AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE"
#define A64 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define A256 A64 A64 A64 A64

typedef struct credential_case {
    const char *header;
    const char *token; /* "" with has_credential: shown, and none that can be */
    bool has_credential;
} credential_case;

static const credential_case cases[] = {
    {NULL, "", false},
    {"", "", false},
    {"Bearer", "", false},
    {"Bearer ", "", false},
    {"Bearer " TOKEN, TOKEN, true},
    {"bEARER    " TOKEN " and more", TOKEN, true},
    {TOKEN, "", false},
    {"Token " TOKEN, "", false},
    {"Bearer " A64 "0123456789abcde", A64 "0123456789abcde", true}, /* 79 characters */
    {"Bearer " A64 "0123456789abcdef", "-", true},
    {"Bearer " A256, "-", true},
    {"Basic eDpzZWNyZXQ=", "secret", true},
    {"basic eDpzZWNyZXQ", "secret", true},
    {"Basic OnNlY3JldA==", "secret", true}, /* no user */
    {"Basic YTpiOmM=", "b:c", true},        /* the first colon ends the user */
    {"Basic eDo=", "", false},              /* no password */
    {"Basic eA==", "", false},              /* no colon */
    {"Basic ", "", false},
    {"Basic !!!!", "", false},
    {"Basic eDpzZWNyZXQ=!", "", false},
    {"Basic eDpzZW-yZXQ=", "", false},        /* the other alphabet of base64 */
    {"Basic eDpB" A64 A64, "-", true},        /* longer than any token */
    {"Basic eDpB" A256 A256 A256, "", false}, /* longer than any user and token */
};

static void test_credentials(void **state)
{
    static const hf_front_context context;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        hf_exchange x;
        hf_caller caller;
        hf_front_init(&x, &context);
        x.request.authorization = cases[i].header;
        memset(&caller, 0xa5, sizeof caller);
        hf_front_fill_caller(&x, &caller);
        assert_string_equal(caller.token, cases[i].token);
        assert_int_equal(hf_front_has_credential(&x), cases[i].has_credential);
        size_t len = strlen(caller.token);
        assert_true(hf_bytes_is_zero(caller.token + len, sizeof caller.token - len));
        hf_front_done(&x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_credentials)};
    return cmocka_run_group_tests_name("caller", tests, NULL, NULL);
}
