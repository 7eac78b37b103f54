/* Every signing vector, in every spelling that a client has for it. */
#include "vectors.h"

#include <ctype.h>

#include "../crypto/interop.h"

#define INTEROP_KEYS 4

static struct {
    hf_bls_key key;
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
} keys[INTEROP_KEYS];

static int make_keys(void **state)
{
    (void)state;
    for (unsigned i = 0; i < INTEROP_KEYS; i++) {
        keys[i].key = test_interop_key(i);
        hf_bls_pubkey(&keys[i].key, keys[i].pubkey);
    }
    return 0;
}

static void expect_root(const vector *v, const char *what, const char *pubkey,
                        const json_t *request)
{
    uint8_t root[32];
    hf_eth_request decoded = test_decode(v->network, pubkey, request, root);
    if (!hf_bytes_equal(root, v->signing_root, 32)) {
        fail_msg("%s (%s): another root", v->name, what);
    }
    uint8_t expected[HF_BLS_PUBKEY_BYTES];
    test_decode_hex(v->pubkey, expected, sizeof expected);
    assert_memory_equal(decoded.pubkey, expected, sizeof expected);
    bool has_root = json_object_get(request, "signingRoot") != NULL ||
                    json_object_get(request, "signing_root") != NULL;
    assert_int_equal(decoded.has_signing_root, has_root);
    if (has_root) {
        assert_memory_equal(decoded.signing_root, v->signing_root, 32);
    }
}

static void check_signature(const vector *v, void *data)
{
    (void)data;
    uint8_t root[32];
    hf_eth_request decoded = test_decode(v->network, v->pubkey, v->request, root);
    assert_memory_equal(root, v->signing_root, 32);
    unsigned i = 0;
    while (i < INTEROP_KEYS &&
           !hf_bytes_equal(keys[i].pubkey, decoded.pubkey, sizeof keys[i].pubkey)) {
        i++;
    }
    assert_true(i < INTEROP_KEYS);
    hf_bls_point point;
    const hf_bls_key *key = &keys[i].key;
    uint8_t signature[1][HF_BLS_SIGNATURE_BYTES];
    uint8_t expected[HF_BLS_SIGNATURE_BYTES];
    hf_bls_hash(root, &point);
    hf_bls_sign_many(&point, NULL, &key, 1, signature);
    test_decode_hex(v->signature, expected, sizeof expected);
    assert_memory_equal(signature[0], expected, sizeof expected);
}

static void test_signatures(void **state)
{
    (void)state;
    assert_int_equal(test_vectors_of("mainnet", check_signature, NULL), 152);
    assert_int_equal(test_vectors_of("hoodi", check_signature, NULL), 86);
}

static void map_text(char *text, int (*map)(int))
{
    for (; *text != '\0'; text++) {
        *text = (char)map((unsigned char)*text);
    }
}

/* Keys in any case with and without 0x, types in any case, the root in either spelling or none. */
static void check_spellings(const vector *v, void *data)
{
    (void)data;
    char upper[2 * HF_BLS_PUBKEY_BYTES + 3];
    assert_int_equal(hf_str_copy(upper, sizeof upper, v->pubkey).code, HF_OK);
    map_text(upper + 2, toupper);
    expect_root(v, "upper-case key", upper, v->request);
    expect_root(v, "key without 0x", v->pubkey + 2, v->request);

    json_t *request = json_copy(v->request);
    char type[64];
    assert_int_equal(
        hf_str_copy(type, sizeof type, json_string_value(json_object_get(request, "type"))).code,
        HF_OK);
    map_text(type, tolower);
    assert_int_equal(json_object_set_new(request, "type", json_string(type)), 0);
    expect_root(v, "lower-case type", v->pubkey, request);

    json_t *root = json_incref(json_object_get(request, "signingRoot"));
    assert_int_equal(json_object_del(request, "signingRoot"), 0);
    expect_root(v, "no root", v->pubkey, request);
    assert_int_equal(json_object_set(request, "signing_root", root), 0);
    expect_root(v, "signing_root", v->pubkey, request);
    assert_int_equal(json_object_set_new(request, "signingRoot", root), 0);
    expect_root(v, "both roots", v->pubkey, request);
    assert_int_equal(json_object_set_new(request, "proofs", json_pack("[{s:s}]", "index", "401")),
                     0);
    expect_root(v, "unknown member", v->pubkey, request);
    json_decref(request);
}

static void test_spellings(void **state)
{
    (void)state;
    (void)test_vectors_of("mainnet", check_spellings, NULL);
    (void)test_vectors_of("hoodi", check_spellings, NULL);
}

/* Numbers as plain integers, hex without 0x in upper case, everywhere in the request. */
static json_t *respell(json_t *value)
{
    const char *name;
    json_t *member;
    size_t i;
    json_t *copy;
    if (json_is_object(value)) {
        copy = json_object();
        json_object_foreach(value, name, member)
        {
            assert_int_equal(json_object_set_new(copy, name, respell(member)), 0);
        }
        return copy;
    }
    if (json_is_array(value)) {
        copy = json_array();
        json_array_foreach(value, i, member)
        {
            assert_int_equal(json_array_append_new(copy, respell(member)), 0);
        }
        return copy;
    }
    if (!json_is_string(value)) {
        return json_deep_copy(value);
    }
    const char *text = json_string_value(value);
    uint64_t number;
    if (!hf_failed(hf_num_parse_u64(text, strlen(text), &number)) && number <= INT64_MAX) {
        return json_integer((json_int_t)number);
    }
    if (strncmp(text, "0x", 2) != 0) {
        return json_string(text);
    }
    copy = json_string(text + 2);
    char *digits = strdup(text + 2);
    map_text(digits, toupper);
    assert_int_equal(json_string_set(copy, digits), 0);
    free(digits);
    return copy;
}

static void check_respelled(const vector *v, void *data)
{
    (void)data;
    json_t *request = respell(v->request);
    expect_root(v, "integers and bare hex", v->pubkey, request);
    json_decref(request);
}

static void test_respelled(void **state)
{
    (void)state;
    (void)test_vectors_of("mainnet", check_respelled, NULL);
    (void)test_vectors_of("hoodi", check_respelled, NULL);
}

/* {version, data} and the bare container mean the same; returns whether the vector has a version.
 */
static void check_bare(const vector *v, void *data)
{
    unsigned *count = data;
    static const char *const members[] = {
        "aggregate_and_proof",         "execution_payload_bid", "execution_payload_envelope",
        "payload_attestation_message", "proposer_preferences",  "builder_request_auth"};
    for (size_t i = 0; i < HF_ARRAY_LEN(members); i++) {
        json_t *inner = json_object_get(json_object_get(v->request, members[i]), "data");
        if (!json_is_object(inner)) {
            continue;
        }
        json_t *request = json_copy(v->request);
        assert_int_equal(json_object_set(request, members[i], inner), 0);
        expect_root(v, "bare", v->pubkey, request);
        if (strcmp(members[i], "payload_attestation_message") == 0) {
            /* Lighthouse's spelling */
            assert_int_equal(json_object_del(request, members[i]), 0);
            assert_int_equal(json_object_set(request, "payload_attestation_data", inner), 0);
            assert_int_equal(
                json_object_set_new(request, "type", json_string("PAYLOAD_ATTESTATION")), 0);
            expect_root(v, "payload_attestation_data", v->pubkey, request);
        }
        json_decref(request);
        ++*count;
    }
}

static void test_bare_containers(void **state)
{
    (void)state;
    unsigned count = 0;
    (void)test_vectors_of("mainnet", check_bare, &count);
    (void)test_vectors_of("hoodi", check_bare, &count);
    /* 48 + 24 versioned aggregates, five Gloas types on each network */
    assert_int_equal(count, 48 + 24 + 10);
}

/* A fork that nobody knows yet: the header is what it always was. */
static void check_future_block(const vector *v, void *data)
{
    unsigned *count = data;
    json_t *block = json_object_get(v->request, "beacon_block");
    if (json_object_get(block, "block_header") == NULL) {
        return;
    }
    json_t *request = json_deep_copy(v->request);
    block = json_object_get(request, "beacon_block");
    assert_int_equal(json_object_set_new(block, "version", json_string("HEZE")), 0);
    expect_root(v, "future version", v->pubkey, request);
    assert_int_equal(json_object_set_new(block, "version", json_string("phase0")), 0);
    expect_root(v, "header of phase0", v->pubkey, request);
    json_decref(request);
    ++*count;
}

static void test_future_blocks(void **state)
{
    (void)state;
    unsigned count = 0;
    (void)test_vectors_of("mainnet", check_future_block, &count);
    (void)test_vectors_of("hoodi", check_future_block, &count);
    assert_int_equal(count, 10);
}

/* The slot chooses the layout of a bare aggregate once the network's Gloas epoch is set. */
static void check_scheduled(const vector *v, void *data)
{
    unsigned *count = data;
    if (strstr(v->name, "bare") == NULL) {
        return;
    }
    hf_network network = *v->network;
    memset(network.gloas_fork_version, 0, 4);
    network.gloas_epoch = 2000000;
    vector scheduled = *v;
    scheduled.network = &network;
    expect_root(&scheduled, "by schedule", v->pubkey, v->request);
    ++*count;
}

static void test_scheduled_gloas(void **state)
{
    (void)state;
    unsigned count = 0;
    (void)test_vectors_of("mainnet", check_scheduled, &count);
    (void)test_vectors_of("hoodi", check_scheduled, &count);
    assert_int_equal(count, 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signatures),    cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_respelled),     cmocka_unit_test(test_bare_containers),
        cmocka_unit_test(test_future_blocks), cmocka_unit_test(test_scheduled_gloas),
    };
    return cmocka_run_group_tests(tests, make_keys, NULL);
}
