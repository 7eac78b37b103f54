/* The key table: what loads bring, what they drop, and when a removed key may be forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "keeper/keeper_internal.h"

static hf_msg_key key_frame(uint8_t secret, uint8_t source, uint64_t stamp)
{
    hf_msg_key frame = {.stamp = stamp, .backend = HF_BACKEND_LOCAL_KEYSTORE};
    frame.secret[31] = secret;
    frame.source_id[0] = source;
    return frame;
}

static void bring(hf_keyring *ring, uint8_t secret, uint8_t source, uint64_t stamp)
{
    hf_msg_key frame = key_frame(secret, source, stamp);
    hf_key *key = NULL;
    assert_int_equal(hf_key_new(ring, &frame, &key).code, HF_OK);
    hf_keyring_source_loaded(ring, &frame);
    hf_status st = hf_keyring_add(ring, key);
    assert_true(st.code == HF_OK || st.code == HF_CONFLICT);
}

static bool name(hf_keyring *ring, uint8_t source, uint64_t stamp)
{
    hf_msg_source frame = {.stamp = stamp};
    frame.source_id[0] = source;
    return hf_keyring_source_known(ring, &frame);
}

static bool has(const hf_keyring *ring, uint8_t secret)
{
    uint8_t bytes[HF_BLS_SECRET_BYTES] = {0};
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    hf_bls_key key;
    bytes[31] = secret;
    assert_int_equal(hf_bls_key_from_bytes(bytes, &key).code, HF_OK);
    hf_bls_pubkey(&key, pubkey);
    return hf_keyring_find(ring, pubkey) != NULL;
}

static int setup(void **state)
{
    hf_keyring *ring = calloc(1, sizeof *ring);
    hf_error err;
    assert_int_equal(hf_keyring_init(ring, 300, false, &err).code, HF_OK);
    hf_keyring_load_begin(ring);
    *state = ring;
    return 0;
}

static int teardown(void **state)
{
    hf_keyring_done(*state);
    free(*state);
    return 0;
}

static void a_load_brings_keys_and_the_next_knows_their_files(void **state)
{
    hf_keyring *ring = *state;
    assert_false(name(ring, 1, 10));
    bring(ring, 1, 1, 10);
    assert_int_equal(hf_keyring_load_end(ring), 0);
    hf_keyring_load_begin(ring);
    assert_true(name(ring, 1, 10));
    assert_int_equal(hf_keyring_load_end(ring), 0);
    assert_true(has(ring, 1));
}

static void a_vanished_file_takes_its_key_along(void **state)
{
    hf_keyring *ring = *state;
    bring(ring, 1, 1, 10);
    bring(ring, 2, 2, 10);
    assert_int_equal(hf_keyring_load_end(ring), 0);
    hf_keyring_load_begin(ring);
    assert_true(name(ring, 2, 10));
    assert_int_equal(hf_keyring_load_end(ring), 1);
    assert_false(has(ring, 1));
    assert_true(has(ring, 2));
}

static void a_file_that_changed_but_failed_keeps_its_key(void **state)
{
    hf_keyring *ring = *state;
    bring(ring, 1, 1, 10);
    assert_int_equal(hf_keyring_load_end(ring), 0);
    hf_keyring_load_begin(ring);
    assert_false(name(ring, 1, 11)); /* another stamp: to be read again, and then it fails */
    assert_int_equal(hf_keyring_load_end(ring), 0);
    assert_true(has(ring, 1));
}

static void a_file_with_another_key_replaces_the_old_one(void **state)
{
    hf_keyring *ring = *state;
    bring(ring, 1, 1, 10);
    assert_int_equal(hf_keyring_load_end(ring), 0);
    hf_keyring_load_begin(ring);
    assert_false(name(ring, 1, 11));
    bring(ring, 2, 1, 11);
    assert_int_equal(hf_keyring_load_end(ring), 1);
    assert_false(has(ring, 1));
    assert_true(has(ring, 2));
}

static void a_key_follows_its_file_to_a_new_name(void **state)
{
    hf_keyring *ring = *state;
    bring(ring, 1, 1, 10);
    assert_int_equal(hf_keyring_load_end(ring), 0);
    hf_keyring_load_begin(ring);
    assert_false(name(ring, 9, 10));
    bring(ring, 1, 9, 10);
    assert_int_equal(hf_keyring_load_end(ring), 0);
    assert_true(has(ring, 1));
    assert_int_equal(ring->count, 1);
}

static void a_removed_key_is_forgotten_with_its_last_request(void **state)
{
    hf_keyring *ring = *state;
    bring(ring, 1, 1, 10);
    hf_key *key = ring->order[0];
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    memcpy(pubkey, key->pubkey, sizeof pubkey);
    atomic_store(&key->refs, 1);
    hf_keyring_remove(ring, key);
    assert_null(hf_keyring_find(ring, pubkey));
    assert_false(hf_keyring_reap(ring));
    assert_true(hf_keyring_is_waiting(ring, pubkey));
    atomic_store(&key->refs, 0);
    assert_true(hf_keyring_reap(ring));
    assert_false(hf_keyring_is_waiting(ring, pubkey));
}

static void the_table_has_an_end(void **state)
{
    hf_keyring *ring = *state;
    for (unsigned i = 0; i < 300; i++) {
        hf_msg_key frame = key_frame((uint8_t)(i & 0xff), (uint8_t)(i & 0xff), 1);
        frame.secret[30] = (uint8_t)(1 + (i >> 8));
        frame.source_id[1] = (uint8_t)(i >> 8);
        hf_key *key = NULL;
        assert_int_equal(hf_key_new(ring, &frame, &key).code, HF_OK);
        hf_keyring_source_loaded(ring, &frame);
        assert_int_equal(hf_keyring_add(ring, key).code, HF_OK);
    }
    hf_msg_key one_more = key_frame(7, 7, 1);
    hf_key *key = NULL;
    assert_int_equal(hf_key_new(ring, &one_more, &key).code, HF_LIMIT);
    assert_int_equal(ring->count, 300);
    assert_int_equal(ring->by_backend[HF_BACKEND_LOCAL_KEYSTORE], 300);
}

/* ---- two files of one key, and files that are deleted -------------------------------------------
 */

static void bring_imported(hf_keyring *ring, uint8_t secret, uint8_t source)
{
    hf_msg_key frame = key_frame(secret, source, 10);
    hf_key *key = NULL;
    frame.backend = HF_BACKEND_IMPORTED;
    assert_int_equal(hf_key_new(ring, &frame, &key).code, HF_OK);
    hf_keyring_source_loaded(ring, &frame);
    hf_status st = hf_keyring_add(ring, key);
    assert_true(st.code == HF_OK || st.code == HF_CONFLICT);
}

/* In whichever order they are opened, now or by a later load. */
static void a_configured_file_counts_before_an_imported_one(void **state)
{
    hf_keyring *ring = *state;
    bring_imported(ring, 1, 1);
    bring(ring, 1, 2, 10);
    assert_int_equal(ring->order[0]->backend, HF_BACKEND_LOCAL_KEYSTORE);
    bring_imported(ring, 1, 1);
    assert_int_equal(ring->order[0]->backend, HF_BACKEND_LOCAL_KEYSTORE);
    assert_int_equal(hf_keyring_load_end(ring), 0);
    hf_keyring_load_begin(ring);
    assert_false(name(ring, 1, 11));
    assert_true(name(ring, 2, 10));
    bring_imported(ring, 1, 1);
    assert_int_equal(ring->order[0]->backend, HF_BACKEND_LOCAL_KEYSTORE);
    assert_int_equal(hf_keyring_load_end(ring), 0);
    assert_int_equal(ring->by_backend[HF_BACKEND_LOCAL_KEYSTORE], 1);
    assert_int_equal(ring->by_backend[HF_BACKEND_IMPORTED], 0);
}

static void without_one_of_its_files_a_key_is_read_from_the_other(void **state)
{
    hf_keyring *ring = *state;
    bring(ring, 1, 1, 10);
    bring(ring, 1, 2, 10);
    bring(ring, 2, 3, 10);
    assert_int_equal(hf_keyring_load_end(ring), 0);
    hf_keyring_load_begin(ring);
    assert_true(name(ring, 2, 10));
    assert_true(name(ring, 3, 10));
    assert_int_equal(hf_keyring_load_end(ring), 1);
    assert_true(hf_keyring_uncover(ring));
    hf_keyring_load_begin(ring);
    assert_false(name(ring, 2, 10));
    assert_false(name(ring, 3, 10));
    bring(ring, 1, 2, 10);
    bring(ring, 2, 3, 10);
    assert_int_equal(hf_keyring_load_end(ring), 0);
    assert_true(has(ring, 1) && has(ring, 2));
    assert_false(hf_keyring_uncover(ring));
}

/* The record can be deleted over HTTP, and the file stays. */
static void a_file_counts_before_a_sealed_record(void **state)
{
    hf_keyring *ring = *state;
    hf_msg_key frame = key_frame(1, 0, 0);
    hf_key *file = NULL;
    bring(ring, 2, 2, 10);
    assert_int_equal(hf_key_new(ring, &frame, &file).code, HF_OK);
    hf_key *sealed = NULL;
    assert_int_equal(hf_key_new_bound(ring, HF_KEY_TYPE_BLS, file->pubkey, frame.secret,
                                      HF_BACKEND_SEALED, &sealed)
                         .code,
                     HF_OK);
    assert_int_equal(hf_keyring_add(ring, sealed).code, HF_OK);
    hf_key *again = NULL;
    assert_int_equal(hf_key_new_bound(ring, HF_KEY_TYPE_BLS, file->pubkey, frame.secret,
                                      HF_BACKEND_SEALED, &again)
                         .code,
                     HF_OK);
    hf_key_free(ring, file);
    bring(ring, 1, 1, 10);
    assert_int_equal(sealed->backend, HF_BACKEND_LOCAL_KEYSTORE);
    hf_keyring_load_begin(ring);
    assert_int_equal(hf_keyring_add(ring, again).code, HF_CONFLICT);
    assert_int_equal(sealed->backend, HF_BACKEND_LOCAL_KEYSTORE);
    assert_int_equal(ring->by_backend[HF_BACKEND_SEALED], 0);
}

static void a_file_that_has_a_new_name_is_one_file(void **state)
{
    hf_keyring *ring = *state;
    bring(ring, 1, 1, 10);
    assert_int_equal(hf_keyring_load_end(ring), 0);
    hf_keyring_load_begin(ring);
    assert_false(name(ring, 9, 10));
    bring_imported(ring, 1, 9);
    assert_int_equal(hf_keyring_load_end(ring), 0);
    assert_int_equal(ring->order[0]->backend, HF_BACKEND_IMPORTED);
    assert_false(hf_keyring_uncover(ring));
}

static void what_was_read_of_a_deleted_file_does_not_come(void **state)
{
    hf_keyring *ring = *state;
    const uint8_t source[HF_SOURCE_ID_LEN] = {1};
    bring_imported(ring, 1, 1);
    assert_false(hf_keyring_source_is_deleted(ring, source));
    hf_keyring_remove(ring, ring->order[0]);
    hf_keyring_source_deleted(ring, source);
    assert_true(hf_keyring_source_is_deleted(ring, source));
    bring_imported(ring, 1, 1); /* imported again, meanwhile */
    assert_false(hf_keyring_source_is_deleted(ring, source));
    hf_keyring_source_deleted(ring, source);
    hf_keyring_load_begin(ring);
    assert_false(hf_keyring_source_is_deleted(ring, source));
}

/* More names of files than the table has room for, over a long time. */
static void files_that_came_and_went_take_no_room(void **state)
{
    hf_keyring *ring = *state;
    for (unsigned i = 1; i <= 2000; i++) {
        hf_msg_source file = {.stamp = 1};
        hf_msg_key frame = key_frame(1, 0, 1);
        hf_le64_put(file.source_id, i);
        hf_le64_put(frame.source_id, i);
        hf_keyring_load_begin(ring);
        assert_false(hf_keyring_source_known(ring, &file));
        hf_key *key = NULL;
        assert_int_equal(hf_key_new(ring, &frame, &key).code, HF_OK);
        hf_keyring_source_loaded(ring, &frame);
        hf_status st = hf_keyring_add(ring, key);
        assert_int_equal(st.code, i == 1 ? HF_OK : HF_CONFLICT);
        assert_int_equal(hf_keyring_load_end(ring), 0);
    }
    assert_true(ring->source_count <= 2);
}

/* ---- two types of key in one table ------------------------------------------------------------
 */

static hf_key *bring_typed(hf_keyring *ring, hf_key_type type, uint8_t secret, uint8_t source)
{
    hf_msg_key frame = key_frame(secret, source, 1);
    hf_key *key = NULL;
    frame.key_type = (uint32_t)type;
    assert_int_equal(hf_key_new(ring, &frame, &key).code, HF_OK);
    hf_keyring_source_loaded(ring, &frame);
    assert_int_equal(hf_keyring_add(ring, key).code, HF_OK);
    return key;
}

/* The BLS keys come first in order, however they came and went. */
static void assert_ordered(const hf_keyring *ring, size_t bls, size_t others)
{
    assert_int_equal(ring->bls_count, bls);
    assert_int_equal(ring->count, bls + others);
    for (size_t i = 0; i < ring->count; i++) {
        assert_int_equal(ring->order[i]->type, i < bls ? HF_KEY_TYPE_BLS : HF_KEY_TYPE_SECP256K1);
        for (size_t k = 0; k < i; k++) {
            assert_ptr_not_equal(ring->order[i], ring->order[k]);
        }
    }
}

static void keys_of_both_types_live_side_by_side(void **state)
{
    /* The address of the secret 1 is known to everybody. */
    static const char address_of_one[] = "7e5f4552091a69125d5dfcb7b8c2659029395bdf";
    hf_keyring *ring = *state;
    uint8_t address[HF_ADDRESS_BYTES];
    char text[HF_KEY_NAME_LEN];
    assert_int_equal(hf_hex_decode(address_of_one, 40, address, sizeof address).code, HF_OK);
    assert_null(hf_keyring_find_address(ring, address));
    hf_key *one = bring_typed(ring, HF_KEY_TYPE_SECP256K1, 1, 1);
    hf_key *bls = bring_typed(ring, HF_KEY_TYPE_BLS, 1, 2); /* the same secret, another key */
    hf_key *two = bring_typed(ring, HF_KEY_TYPE_SECP256K1, 2, 3);
    hf_key *bls_too = bring_typed(ring, HF_KEY_TYPE_BLS, 2, 4);
    assert_ordered(ring, 2, 2);
    assert_ptr_equal(hf_keyring_find_address(ring, address), one);
    assert_ptr_equal(hf_keyring_find(ring, bls->pubkey), bls);
    hf_key_name(one, text);
    assert_string_equal(text, "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf");
    hf_keyring_remove(ring, bls);
    assert_ordered(ring, 1, 2);
    hf_keyring_remove(ring, one);
    assert_ordered(ring, 1, 1);
    assert_null(hf_keyring_find_address(ring, address));
    assert_ptr_equal(hf_keyring_find_address(ring, two->address), two);
    assert_ptr_equal(hf_keyring_find(ring, bls_too->pubkey), bls_too);
    assert_true(hf_keyring_reap(ring));
}

static void a_secp256k1_key_found_twice_is_one_key(void **state)
{
    hf_keyring *ring = *state;
    hf_msg_key frame = key_frame(3, 1, 1);
    hf_key *key = NULL;
    frame.key_type = HF_KEY_TYPE_SECP256K1;
    (void)bring_typed(ring, HF_KEY_TYPE_SECP256K1, 3, 1);
    assert_int_equal(hf_key_new(ring, &frame, &key).code, HF_OK);
    assert_true(hf_keyring_has_twin(ring, key));
    assert_int_equal(hf_keyring_add(ring, key).code, HF_CONFLICT);
    assert_ordered(ring, 0, 1);
}

static void what_is_no_key_is_refused(void **state)
{
    hf_keyring *ring = *state;
    hf_msg_key zero = key_frame(0, 1, 1);
    hf_msg_key large = key_frame(1, 1, 1);
    hf_msg_key backend = key_frame(1, 1, 1);
    hf_key *key = NULL;
    memset(large.secret, 0xff, sizeof large.secret);
    backend.backend = HF_BACKEND_COUNT;
    assert_int_equal(hf_key_new(ring, &zero, &key).code, HF_CRYPTO);
    assert_int_equal(hf_key_new(ring, &large, &key).code, HF_CRYPTO);
    assert_int_equal(hf_key_new(ring, &backend, &key).code, HF_INVALID_INPUT);
    zero.key_type = HF_KEY_TYPE_SECP256K1;
    large.key_type = HF_KEY_TYPE_SECP256K1;
    assert_int_equal(hf_key_new(ring, &zero, &key).code, HF_CRYPTO);
    assert_int_equal(hf_key_new(ring, &large, &key).code, HF_CRYPTO);
    large.key_type = HF_KEY_TYPE_COUNT;
    assert_int_equal(hf_key_new(ring, &large, &key).code, HF_INVALID_INPUT);
    assert_null(key);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_load_brings_keys_and_the_next_knows_their_files),
        TEST(a_vanished_file_takes_its_key_along),
        TEST(a_file_that_changed_but_failed_keeps_its_key),
        TEST(a_file_with_another_key_replaces_the_old_one),
        TEST(a_key_follows_its_file_to_a_new_name),
        TEST(a_removed_key_is_forgotten_with_its_last_request),
        TEST(the_table_has_an_end),
        TEST(keys_of_both_types_live_side_by_side),
        TEST(a_secp256k1_key_found_twice_is_one_key),
        TEST(what_is_no_key_is_refused),
        TEST(a_configured_file_counts_before_an_imported_one),
        TEST(without_one_of_its_files_a_key_is_read_from_the_other),
        TEST(a_file_counts_before_a_sealed_record),
        TEST(a_file_that_has_a_new_name_is_one_file),
        TEST(what_was_read_of_a_deleted_file_does_not_come),
        TEST(files_that_came_and_went_take_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
