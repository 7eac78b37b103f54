/* One exchange after another for tests: started, answered by a keeper that is the test. */
#ifndef HF_TEST_FRONT_EXCHANGE_H
#define HF_TEST_FRONT_EXCHANGE_H

#include "front/front.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#define KEY_HEX                                                                                    \
    "8f5a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6" \
    "d7e8"
#define VALIDATOR "/eth/v1/validator/0x" KEY_HEX
#define TOKEN "Bearer 0123456789abcdef"
#define ROOT "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95"

extern hf_front_context context;
extern hf_exchange x;

/* Set-up and tear-down of every case. */
int prepare(void **state);
int finish(void **state);

/* A new exchange without method, path and body. */
void start_empty(void);
/* A new exchange, up to its first question or its answer. */
hf_next start(hf_method method, const char *path, const char *body);
/* The same past the check of the token, with which every request of the key manager begins. */
hf_next authorised(hf_method method, const char *path, const char *body);
/* The type of the question. */
uint16_t asked(void);
hf_next reply_result(hf_reason reason, uint64_t value, const char *detail);

/* The body of the answer; the caller frees it. */
json_t *body_json(void);
void expect_error(unsigned status, const char *code);

#endif
