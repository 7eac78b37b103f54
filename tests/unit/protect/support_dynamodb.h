/* A DynamoDB store on a table of its own, on the server that tests/with-dynalite.sh started. */
#ifndef HF_TEST_SUPPORT_DYNAMODB_H
#define HF_TEST_SUPPORT_DYNAMODB_H

#include "net/net.h"
#include "support.h"

#define TEST_REGION "eu-test-1"

typedef struct test_dynamo {
    test_store test; /* of it only store and err are used */
    hf_dynamodb_config config;
} test_dynamo;

/* A new table name; through the proxy when asked. Opens nothing. */
void test_dynamo_init(test_dynamo *test, bool proxied);
void test_dynamo_open(test_dynamo *test);
/* Another store on the same table. */
void test_dynamo_join(test_dynamo *test, const test_dynamo *other);
/* For tests that hold for each store: test_other_backend. */
extern const test_backend test_dynamo_backend;
/* Tells the proxy, "how=drop&operation=PutItem&count=1"; "how=none" ends it. */
void test_proxy_tell(const char *rule);
/* Requests since the last time it was asked. */
unsigned test_proxy_count(void);

#endif
