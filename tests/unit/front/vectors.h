/* Lines of tests/vectors/signing as jansson objects, which is another JSON library than the
 * codec's. */
#ifndef HF_TEST_FRONT_VECTORS_H
#define HF_TEST_FRONT_VECTORS_H

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "front/codec.h"

typedef struct vector {
    const hf_network *network;
    const char *name;
    const char *pubkey;
    const char *signature;
    uint8_t signing_root[32];
    json_t *line; /* owns the strings above */
    json_t *request;
} vector;

typedef void each_vector(const vector *v, void *data);

static inline void test_decode_hex(const char *text, uint8_t *out, size_t len)
{
    assert_int_equal(hf_hex_decode(text, strlen(text), out, len).code, HF_OK);
}

static inline unsigned test_vectors_in(const char *path, each_vector *each, void *data)
{
    static char line[1 << 18];
    unsigned count = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(object);
        vector v = {.network =
                        hf_eth_network_find(json_string_value(json_object_get(object, "network"))),
                    .name = json_string_value(json_object_get(object, "name")),
                    .pubkey = json_string_value(json_object_get(object, "pubkey")),
                    .signature = json_string_value(json_object_get(object, "signature")),
                    .line = object,
                    .request = json_object_get(object, "request")};
        test_decode_hex(json_string_value(json_object_get(object, "signing_root")), v.signing_root,
                        32);
        each(&v, data);
        json_decref(object);
        count++;
    }
    assert_int_equal(fclose(file), 0);
    return count;
}

static inline unsigned test_vectors_of(const char *network, each_vector *each, void *data)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/signing/%s.jsonl", HF_TEST_VECTORS, network);
    return test_vectors_in(path, each, data);
}

/* Decodes a request and gives its signing root; fails the test with the codec's own words. */
static inline hf_eth_request test_decode(const hf_network *network, const char *pubkey,
                                         const json_t *request, uint8_t ret_root[32])
{
    hf_error err = {0};
    hf_eth_request decoded;
    char *body = json_dumps(request, JSON_COMPACT);
    assert_non_null(body);
    hf_status st =
        hf_codec_decode_sign(network, pubkey, hf_bytes_from(body, strlen(body)), &decoded, &err);
    if (hf_failed(st)) {
        fail_msg("%s: %s", err.msg, body);
    }
    st = hf_eth_signing_root(network, &decoded, ret_root, &err);
    if (hf_failed(st)) {
        fail_msg("%s: %s", err.msg, body);
    }
    free(body);
    return decoded;
}

#endif
