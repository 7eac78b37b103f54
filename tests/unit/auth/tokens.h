/* Tokens for tests: keys, terms and addresses. */
#ifndef HF_TEST_AUTH_TOKENS_H
#define HF_TEST_AUTH_TOKENS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/auth.h"

#include <stdlib.h>

#define NOW INT64_C(1700000000000)

static inline hf_auth_keys test_keys(uint8_t mark)
{
    uint8_t token_key[HF_AUTH_KEY_BYTES] = {mark};
    hf_auth_keys keys;
    hf_auth_keys_derive(token_key, &keys);
    return keys;
}

static inline hf_token_terms test_terms(void)
{
    hf_token_terms terms = {.kind = HF_TOKEN_CLIENT, .policy_count = 1};
    memcpy(terms.policies[0], "attest", sizeof "attest");
    memcpy(terms.name, "a client", sizeof "a client");
    return terms;
}

static inline void test_source(hf_token_terms *terms, const char *text)
{
    hf_error err = {0};
    assert_int_equal(hf_cidr_parse(text, &terms->sources[terms->source_count++], &err).code, HF_OK);
}

static inline const uint8_t *test_address(const char *text)
{
    static hf_cidr cidr;
    assert_int_equal(hf_cidr_parse(text, &cidr, NULL).code, HF_OK);
    assert_int_equal(cidr.bits, 128);
    return cidr.address;
}

/* A table of this one token, with uses at hand. */
static inline hf_token_table *test_table(const hf_token *token, uint64_t uses)
{
    hf_token_table *table = NULL;
    hf_token_entry entry = {.token = *token, .record_version = 1, .uses_at_hand = uses};
    assert_int_equal(hf_token_table_new(&entry, 1, &table).code, HF_OK);
    return table;
}

#endif
