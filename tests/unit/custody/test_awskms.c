/* The AWS KMS back end against the double of tests/peers/aws_double.py, with everything that may go
 * wrong. */
#include "aws_rig.h"

#include <dirent.h>
#include <pthread.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "custody/awskms.h"

#define WRAPPING "arn:aws:kms:eu-test-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
#define OTHER "arn:aws:kms:eu-test-1:111122223333:key/99999999-12ab-34cd-56ef-1234567890ab"
#define SIGNING "arn:aws:kms:eu-test-1:111122223333:key/5158ab00-12ab-34cd-56ef-1234567890ab"
#define KEYS 3

typedef struct fixture {
    char folder[64];
    hf_awskms_config config;
    hf_custody *custody;
    rig_list list;
    hf_error err;
} fixture;

static const hf_custody_type types[KEYS] = {HF_CUSTODY_BLS, HF_CUSTODY_SECP256K1,
                                            HF_CUSTODY_ED25519};

static void reopen(fixture *fix)
{
    if (fix->custody != NULL) {
        fix->custody->ops->close(fix->custody);
        fix->custody = NULL;
    }
    if (hf_failed(hf_custody_awskms_open(&fix->config, &fix->custody, &fix->err))) {
        fail_msg("%s", fix->err.msg);
    }
}

static int setup(void **state)
{
    fixture *fix = calloc(1, sizeof *fix);
    assert_non_null(fix);
    assert_code(hf_str_copy(fix->folder, sizeof fix->folder, "/tmp/holdfast-kms-XXXXXX"), HF_OK);
    assert_non_null(mkdtemp(fix->folder));
    hf_awskms_config *config = &fix->config;
    assert_code(hf_str_copy(config->place.region, sizeof config->place.region, "eu-test-1"), HF_OK);
    assert_code(hf_str_copy(config->place.endpoint_url, sizeof config->place.endpoint_url,
                            getenv("HF_TEST_AWS")),
                HF_OK);
    assert_code(hf_str_copy(config->blob_dir, sizeof config->blob_dir, fix->folder), HF_OK);
    assert_code(hf_str_copy(config->key_id, sizeof config->key_id, WRAPPING), HF_OK);
    assert_code(hf_str_copy(config->network, sizeof config->network, "hoodi"), HF_OK);
    rig_tell("/set?how=none");
    rig_tell("/enable");
    reopen(fix);
    *state = fix;
    return 0;
}

static void empty(const char *folder)
{
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[512];
        if (entry->d_name[0] != '.') {
            assert_code(hf_str_format(path, sizeof path, "%s/%s", folder, entry->d_name), HF_OK);
            assert_int_equal(unlink(path), 0);
        }
    }
    (void)closedir(dir);
}

static int teardown(void **state)
{
    fixture *fix = *state;
    rig_expect_no_problems();
    fix->custody->ops->close(fix->custody);
    empty(fix->folder);
    assert_int_equal(rmdir(fix->folder), 0);
    free(fix);
    return 0;
}

/* One key of each type; none of them may be seen in a sentence. */
static void wrap_all(fixture *fix, hf_awskms_wrapping *keys)
{
    static uint8_t secrets[KEYS][HF_CUSTODY_SECRET_BYTES];
    memset(keys, 0, KEYS * sizeof *keys);
    for (size_t i = 0; i < KEYS; i++) {
        memset(secrets[i], 0x11 + (int)i, sizeof secrets[i]);
        keys[i].type = types[i];
        keys[i].secret = secrets[i];
    }
    hf_awskms_wrap_files(fix->custody, keys, KEYS, rig_deadline(RIG_PATIENCE));
}

static void expect_wrapped(fixture *fix)
{
    hf_awskms_wrapping keys[KEYS];
    wrap_all(fix, keys);
    for (size_t i = 0; i < KEYS; i++) {
        if (hf_failed(keys[i].status)) {
            fail_msg("%s", keys[i].err.msg);
        }
    }
}

/* Each file is refused, with these words. */
static void expect_refused(fixture *fix, const char *words)
{
    rig_list_all(fix->custody, &fix->list);
    assert_int_equal(fix->list.count, 0);
    assert_int_equal(fix->list.failed_count, KEYS);
    for (size_t i = 0; i < KEYS; i++) {
        rig_expect_words(fix->list.failed[i], words);
        rig_expect_words(fix->list.failed[i], ".kms: ");
    }
}

/* ---- files -------------------------------------------------------------------------------- */

static void test_files(void **state)
{
    fixture *fix = *state;
    bool seen[KEYS] = {false};
    expect_wrapped(fix);
    assert_int_equal(rig_number("/count?of=GenerateDataKey"), KEYS);
    assert_int_equal(rig_number("/count?of=Decrypt"), KEYS); /* opened before they are kept */
    rig_list_all(fix->custody, &fix->list);
    assert_int_equal(fix->list.count, KEYS);
    assert_int_equal(fix->list.failed_count, 0);
    for (size_t i = 0; i < KEYS; i++) {
        const hf_custody_key *key = &fix->list.keys[i];
        uint8_t expected[HF_CUSTODY_SECRET_BYTES];
        size_t which = key->secret[0] - 0x11U;
        assert_true(which < KEYS && !seen[which]);
        seen[which] = true;
        memset(expected, key->secret[0], sizeof expected);
        assert_memory_equal(key->secret, expected, sizeof expected);
        assert_int_equal(key->type, types[which]);
        assert_false(key->is_inside);
    }
}

static void test_never_over_a_file(void **state)
{
    fixture *fix = *state;
    hf_awskms_wrapping keys[KEYS];
    expect_wrapped(fix);
    wrap_all(fix, keys);
    for (size_t i = 0; i < KEYS; i++) {
        assert_code(keys[i].status, HF_CONFLICT);
        rig_expect_words(keys[i].err.msg, keys[i].path);
    }
    assert_int_equal(rig_number("/count?of=GenerateDataKey"), KEYS);
}

static void test_wrong_context(void **state)
{
    fixture *fix = *state;
    expect_wrapped(fix);
    (void)rig_number("/count?of=Decrypt");
    assert_code(hf_str_copy(fix->config.network, sizeof fix->config.network, "mainnet"), HF_OK);
    reopen(fix);
    expect_refused(fix, "wrapped for network \"hoodi\", not \"mainnet\"");
    assert_code(hf_str_copy(fix->config.network, sizeof fix->config.network, "hoodi"), HF_OK);
    assert_code(hf_str_copy(fix->config.key_id, sizeof fix->config.key_id, OTHER), HF_OK);
    reopen(fix);
    expect_refused(fix, "not the pinned key_id");
    assert_int_equal(rig_number("/count?of=Decrypt"), 0); /* KMS was not asked */
    /* An alias is known to KMS alone: it refuses. */
    assert_code(hf_str_copy(fix->config.key_id, sizeof fix->config.key_id, "alias/holdfast"),
                HF_OK);
    reopen(fix);
    rig_list_all(fix->custody, &fix->list);
    assert_int_equal(fix->list.count, KEYS);
}

/* The network in the file is changed, so that it fits here: KMS knows better. */
static void test_forged_context(void **state)
{
    fixture *fix = *state;
    hf_awskms_wrapping keys[KEYS];
    wrap_all(fix, keys);
    for (size_t i = 0; i < KEYS; i++) {
        hf_buf *file = NULL;
        assert_code(hf_file_read(keys[i].path, 16384, &file, NULL), HF_OK);
        size_t len = hf_buf_len(file);
        uint8_t *copy = malloc(len);
        assert_non_null(copy);
        memcpy(copy, hf_buf_peek(file), len);
        uint8_t *at = memmem(copy, len, "networkhoodi", 12);
        assert_non_null(at);
        memcpy(at, "networkhoody", 12);
        assert_code(hf_file_write_atomic(keys[i].path, copy, len, 0600, NULL), HF_OK);
        free(copy);
        hf_buf_free(file);
    }
    assert_code(hf_str_copy(fix->config.network, sizeof fix->config.network, "hoody"), HF_OK);
    reopen(fix);
    expect_refused(fix, "damaged, or wrapped with another encryption context");
}

static void test_disabled_key(void **state)
{
    fixture *fix = *state;
    hf_awskms_wrapping keys[KEYS];
    expect_wrapped(fix);
    rig_tell("/disable");
    expect_refused(fix, "the key in KMS is disabled");
    empty(fix->folder);
    wrap_all(fix, keys);
    for (size_t i = 0; i < KEYS; i++) {
        assert_code(keys[i].status, HF_DENIED);
        assert_int_not_equal(access(keys[i].path, F_OK), 0);
    }
}

static void test_corrupted_answers(void **state)
{
    fixture *fix = *state;
    expect_wrapped(fix);
    rig_tell("/set?how=member&argument=Plaintext:AAAA");
    expect_refused(fix, "something else than a data key");
    rig_tell("/set?how=member&argument=Plaintext:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D");
    expect_refused(fix, "damaged: its content is not what was sealed");
    rig_tell("/set?how=member&argument=KeyId:" OTHER);
    expect_refused(fix, "KMS answered for another key");
}

/* ---- keys that sign in KMS ------------------------------------------------------------------ */

static void with_sign_key(fixture *fix, const char *id)
{
    fix->config.sign_key_count = 1;
    assert_code(hf_str_copy(fix->config.sign_key_ids[0], HF_AWSKMS_ID_LEN, id), HF_OK);
    reopen(fix);
    rig_list_all(fix->custody, &fix->list);
}

static hf_status sign(fixture *fix, const uint8_t digest[32], uint64_t ns,
                      uint8_t ret_signature[HF_CUSTODY_SIGNATURE_BYTES])
{
    return fix->custody->ops->sign(fix->custody, fix->list.keys[0].handle,
                                   hf_bytes_from(digest, 32), rig_deadline(ns), ret_signature,
                                   &fix->err);
}

static void expect_recovers(fixture *fix, const uint8_t digest[32],
                            const uint8_t signature[HF_CUSTODY_SIGNATURE_BYTES])
{
    uint8_t whole[HF_SECP256K1_SIGNATURE_BYTES];
    uint8_t expected[HF_ADDRESS_BYTES];
    uint8_t address[HF_ADDRESS_BYTES] = {0};
    hf_secp256k1 *secp = NULL;
    bool found = false;
    assert_code(hf_secp256k1_new(&secp), HF_OK);
    hf_secp256k1_address(fix->list.keys[0].public_key + 1, expected);
    memcpy(whole, signature, HF_CUSTODY_SIGNATURE_BYTES);
    for (uint8_t v = 27; v <= 28 && !found; v++) {
        whole[64] = v;
        found = !hf_failed(hf_secp256k1_recover(secp, digest, whole, address)) &&
                hf_bytes_equal(address, expected, sizeof expected);
    }
    hf_secp256k1_free(secp);
    assert_true(found);
}

static void test_sign(void **state)
{
    fixture *fix = *state;
    uint8_t signature[HF_CUSTODY_SIGNATURE_BYTES];
    with_sign_key(fix, "alias/signer");
    assert_int_equal(fix->list.count, 1);
    assert_true(fix->list.keys[0].is_inside);
    assert_int_equal(fix->list.keys[0].type, HF_CUSTODY_SECP256K1);
    assert_string_equal(fix->list.keys[0].name, SIGNING);
    for (uint8_t i = 0; i < 4; i++) {
        const uint8_t digest[32] = {1, i};
        assert_code(sign(fix, digest, RIG_PATIENCE, signature), HF_OK);
        expect_recovers(fix, digest, signature);
    }
    assert_code(fix->custody->ops->sign(fix->custody, 1, hf_bytes_from(signature, 32),
                                        rig_deadline(RIG_PATIENCE), signature, &fix->err),
                HF_NOT_FOUND);
    assert_code(fix->custody->ops->sign(fix->custody, fix->list.keys[0].handle,
                                        hf_bytes_from(signature, 31), rig_deadline(RIG_PATIENCE),
                                        signature, &fix->err),
                HF_USAGE);
    /* A signature of something else never comes out. */
    rig_tell("/set?how=member&argument=Signature:"
             "MEQCIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAiABAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBA"
             "QEBAQEBAQ%3D%3D");
    const uint8_t digest[32] = {3};
    assert_code(sign(fix, digest, RIG_PATIENCE, signature), HF_CRYPTO);
    rig_expect_words(fix->err.msg, "no signature of this key");
}

static void test_sign_key_of_another_kind(void **state)
{
    fixture *fix = *state;
    with_sign_key(fix, WRAPPING);
    assert_int_equal(fix->list.count, 0);
    assert_int_equal(fix->list.failed_count, 1);
    rig_expect_words(fix->list.failed[0], "not for this use");
    with_sign_key(fix, "0000");
    rig_expect_words(fix->list.failed[0], "no such key");
}

typedef struct signer {
    pthread_t thread;
    fixture *fix;
    uint8_t number;
    bool good;
} signer;

static void *sign_some(void *context)
{
    signer *me = context;
    uint8_t signature[HF_CUSTODY_SIGNATURE_BYTES];
    hf_error err = {0};
    me->good = true;
    for (uint8_t i = 0; i < 3 && me->good; i++) {
        const uint8_t digest[32] = {me->number, i, 1};
        me->good = !hf_failed(me->fix->custody->ops->sign(
            me->fix->custody, me->fix->list.keys[0].handle, hf_bytes_from(digest, sizeof digest),
            rig_deadline(RIG_PATIENCE), signature, &err));
    }
    return NULL;
}

/* More threads than clients, and a listing beside them. */
static void test_many_threads(void **state)
{
    fixture *fix = *state;
    signer signers[12];
    hf_error err = {0};
    expect_wrapped(fix);
    with_sign_key(fix, SIGNING);
    rig_list *beside = calloc(1, sizeof *beside);
    assert_non_null(beside);
    for (size_t i = 0; i < HF_ARRAY_LEN(signers); i++) {
        signers[i] = (signer){.fix = fix, .number = (uint8_t)i};
        assert_int_equal(pthread_create(&signers[i].thread, NULL, sign_some, &signers[i]), 0);
    }
    assert_code(rig_list_within(fix->custody, beside, RIG_PATIENCE, &err), HF_OK);
    assert_int_equal(beside->count, KEYS + 1);
    free(beside);
    for (size_t i = 0; i < HF_ARRAY_LEN(signers); i++) {
        assert_int_equal(pthread_join(signers[i].thread, NULL), 0);
        assert_true(signers[i].good);
    }
}

/* ---- wrapping ----------------------------------------------------------------------------- */

static void test_wrap(void **state)
{
    fixture *fix = *state;
    const uint8_t share[33] = {5, 6, 7};
    uint8_t blob[640];
    uint8_t opened[64];
    size_t blob_len = sizeof blob;
    size_t len = sizeof opened;
    hf_bytes context = hf_bytes_from("seal 1", 6);
    const hf_custody_ops *ops = fix->custody->ops;
    assert_code(ops->wrap(fix->custody, WRAPPING, context, hf_bytes_from(share, sizeof share),
                          rig_deadline(RIG_PATIENCE), blob, &blob_len, &fix->err),
                HF_OK);
    hf_bytes wrapped = hf_bytes_from(blob, blob_len);
    assert_code(ops->unwrap(fix->custody, WRAPPING, context, wrapped, rig_deadline(RIG_PATIENCE),
                            opened, &len, &fix->err),
                HF_OK);
    assert_int_equal(len, sizeof share);
    assert_memory_equal(opened, share, sizeof share);
    len = sizeof opened;
    assert_code(ops->unwrap(fix->custody, WRAPPING, hf_bytes_from("seal 2", 6), wrapped,
                            rig_deadline(RIG_PATIENCE), opened, &len, &fix->err),
                HF_DENIED);
    rig_expect_words(fix->err.msg, "another encryption context");
    assert_code(ops->unwrap(fix->custody, OTHER, context, wrapped, rig_deadline(RIG_PATIENCE),
                            opened, &len, &fix->err),
                HF_DENIED);
    len = 10; /* too little room */
    assert_code(ops->unwrap(fix->custody, WRAPPING, context, wrapped, rig_deadline(RIG_PATIENCE),
                            opened, &len, &fix->err),
                HF_LIMIT);
    assert_code(ops->unwrap(fix->custody, "alias/none", context, wrapped,
                            rig_deadline(RIG_PATIENCE), opened, &len, &fix->err),
                HF_NOT_FOUND);
}

/* ---- a service that is not well ------------------------------------------------------------- */

static const uint8_t some[32] = {4, 4};

static void expect_sign(fixture *fix, hf_code code, const char *words)
{
    uint8_t signature[HF_CUSTODY_SIGNATURE_BYTES];
    hf_status st = sign(fix, some, RIG_PATIENCE, signature);
    if (st.code != code) {
        fail_msg("%s", fix->err.msg);
    }
    if (words != NULL) {
        rig_expect_words(fix->err.msg, words);
    }
}

static void test_passing_faults(void **state)
{
    static const char *const passing[] = {
        "/set?how=fault&argument=ThrottlingException&count=3",
        "/set?how=fault&argument=KMSInternalException&count=2",
        "/set?how=status&argument=503&count=2",
        "/set?how=drop&count=2",
        "/set?how=half&count=1",
        "/set?how=garbage&count=2",
        "/set?how=fault&argument=ExpiredTokenException&count=1",
    };
    fixture *fix = *state;
    with_sign_key(fix, SIGNING);
    for (size_t i = 0; i < HF_ARRAY_LEN(passing); i++) {
        rig_tell(passing[i]);
        expect_sign(fix, HF_OK, NULL);
    }
}

static void test_lasting_faults(void **state)
{
    fixture *fix = *state;
    with_sign_key(fix, SIGNING);
    (void)rig_number("/count?of=Sign");
    rig_tell("/set?how=fault&argument=ExpiredTokenException");
    expect_sign(fix, HF_UNAVAILABLE, "the credentials are not valid");
    assert_int_equal(rig_number("/count?of=Sign"), 2); /* fetched anew once, and no more */
    rig_tell("/set?how=fault&argument=AccessDeniedException");
    expect_sign(fix, HF_DENIED, "AccessDeniedException (status 400): of the double");
    assert_int_equal(rig_number("/count?of=Sign"), 1); /* tried again in vain by nobody */
    rig_tell("/set?how=status&argument=500");
    expect_sign(fix, HF_UNAVAILABLE, "status 500");
    assert_int_equal(rig_number("/count?of=Sign"), 4);
    rig_tell("/set?how=drop");
    expect_sign(fix, HF_UNAVAILABLE, "Sign");
    rig_tell("/set?how=garbage");
    expect_sign(fix, HF_UNAVAILABLE, "not JSON");
}

/* The deadline holds, whatever the service does. */
static void test_deadline(void **state)
{
    static const char *const slow[] = {"/set?how=slow&argument=3000",
                                       "/set?how=fault&argument=ThrottlingException"};
    fixture *fix = *state;
    uint8_t signature[HF_CUSTODY_SIGNATURE_BYTES];
    with_sign_key(fix, SIGNING);
    for (size_t i = 0; i < HF_ARRAY_LEN(slow); i++) {
        rig_tell(slow[i]);
        uint64_t start_ns = hf_time_mono_ns();
        assert_code(sign(fix, some, HF_NS_PER_SECOND / 2, signature), HF_UNAVAILABLE);
        assert_true(hf_time_mono_ns() - start_ns < 2 * HF_NS_PER_SECOND + HF_NS_PER_SECOND / 2);
    }
    rig_tell("/set?how=none");
    expect_sign(fix, HF_OK, NULL);
}

static void test_throttled_listing(void **state)
{
    fixture *fix = *state;
    expect_wrapped(fix);
    rig_tell("/set?how=fault&argument=ThrottlingException&count=5");
    rig_list_all(fix->custody, &fix->list);
    assert_int_equal(fix->list.count, KEYS);
    rig_tell("/set?how=fault&argument=ThrottlingException");
    assert_code(rig_list_within(fix->custody, &fix->list, HF_NS_PER_SECOND / 2, &fix->err),
                HF_UNAVAILABLE);
    rig_expect_words(fix->err.msg, "throttled");
    assert_int_equal(fix->list.failed_count, 0); /* not the keys' fault */
}

/* Nobody there, and then somebody: no new start is needed. */
static void test_away(void **state)
{
    fixture *fix = *state;
    char detail[HF_DETAIL_LEN];
    expect_wrapped(fix);
    with_sign_key(fix, SIGNING);
    assert_true(fix->custody->ops->is_healthy(fix->custody, detail));
    rig_tell("/set?how=drop");
    assert_code(rig_list_within(fix->custody, &fix->list, RIG_PATIENCE, &fix->err), HF_UNAVAILABLE);
    assert_false(fix->custody->ops->is_healthy(fix->custody, detail));
    rig_expect_words(detail, "AWS KMS in eu-test-1");
    rig_tell("/set?how=none");
    bool well = false;
    for (int tries = 0; tries < 100 && !well; tries++) {
        well = fix->custody->ops->is_healthy(fix->custody, detail);
        hf_time_sleep_ns(well ? 0 : HF_NS_PER_SECOND / 10);
    }
    assert_true(well);
    rig_list_all(fix->custody, &fix->list);
    assert_int_equal(fix->list.count, KEYS + 1);
}

static void test_configuration(void **state)
{
    fixture *fix = *state;
    static hf_awskms_config config;
    hf_custody *none = NULL;
    config = fix->config;
    config.key_id[0] = '\0';
    assert_code(hf_custody_awskms_open(&config, &none, &fix->err), HF_USAGE);
    rig_expect_words(fix->err.msg, "key_id is missing");
    config = fix->config;
    config.network[0] = '\0';
    assert_code(hf_custody_awskms_open(&config, &none, &fix->err), HF_USAGE);
    rig_expect_words(fix->err.msg, "network is missing");
    config = fix->config;
    assert_code(hf_str_copy(config.place.endpoint_url, sizeof config.place.endpoint_url,
                            "http://kms.example.org"),
                HF_OK);
    assert_code(hf_custody_awskms_open(&config, &none, &fix->err), HF_USAGE);
    rig_expect_words(fix->err.msg, "use https");
    config = fix->config;
    assert_code(hf_str_copy(config.place.region, sizeof config.place.region, "eu/test"), HF_OK);
    assert_code(hf_custody_awskms_open(&config, &none, &fix->err), HF_USAGE);
    config = fix->config;
    assert_code(hf_str_copy(config.blob_dir, sizeof config.blob_dir, "/nowhere"), HF_OK);
    assert_code(hf_custody_awskms_open(&config, &none, &fix->err), HF_OK);
    assert_code(rig_list_within(none, &fix->list, RIG_PATIENCE, &fix->err), HF_IO);
    rig_expect_words(fix->err.msg, "/nowhere");
    none->ops->close(none);
}

#define with_double(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_double(test_files),          with_double(test_never_over_a_file),
        with_double(test_wrong_context),  with_double(test_forged_context),
        with_double(test_disabled_key),   with_double(test_corrupted_answers),
        with_double(test_sign),           with_double(test_sign_key_of_another_kind),
        with_double(test_many_threads),   with_double(test_wrap),
        with_double(test_passing_faults), with_double(test_lasting_faults),
        with_double(test_deadline),       with_double(test_throttled_listing),
        with_double(test_away),           with_double(test_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
