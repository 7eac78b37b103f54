/* Sealed records and their manifest: nothing can be moved, changed, put back or taken away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "seal/seal.h"

static hf_seal_keys keys_of(uint8_t first)
{
    uint8_t master[HF_SEAL_KEY_BYTES] = {first};
    hf_seal_keys keys;
    hf_seal_derive(master, &keys);
    return keys;
}

static const uint8_t seal_id[HF_SEAL_ID_BYTES] = {9, 8, 7};
static const uint8_t other_id[HF_SEAL_ID_BYTES] = {9, 8, 8};

static hf_sealed_key some_key(uint8_t number)
{
    hf_sealed_key key = {.type = HF_KEY_TYPE_BLS, .term = 1, .version = 1};
    memset(key.name, number, sizeof key.name);
    return key;
}

static void test_a_record_comes_back(void **state)
{
    (void)state;
    hf_seal_keys keys = keys_of(1);
    hf_sealed_key key = some_key(5);
    hf_sealed_key found;
    uint8_t secret[HF_SEALED_SECRET_BYTES] = {1, 2, 3};
    uint8_t again[HF_SEALED_SECRET_BYTES];
    uint8_t data[HF_SEALED_RECORD_BYTES];
    char text[HF_SEALED_TEXT_LEN];
    key.status = HF_SEALED_INACTIVE;
    key.version = 77;
    hf_sealed_record_seal(&keys, seal_id, &key, secret, data);
    hf_bytes view = hf_bytes_from(data, sizeof data);
    assert_int_equal(hf_sealed_record_open(&keys, seal_id, view, &found, again).code, HF_OK);
    assert_memory_equal(again, secret, sizeof secret);
    assert_memory_equal(&found, &key, sizeof key);
    hf_sealed_key_text(&key, text);
    assert_int_equal(strlen(text), 98);
    key.type = HF_KEY_TYPE_SECP256K1;
    hf_sealed_key_text(&key, text);
    assert_string_equal(text, "0x0505050505050505050505050505050505050505");
}

static void test_no_bit_can_change(void **state)
{
    (void)state;
    hf_seal_keys keys = keys_of(1);
    hf_seal_keys others = keys_of(2);
    hf_sealed_key key = some_key(5);
    hf_sealed_key found;
    uint8_t secret[HF_SEALED_SECRET_BYTES] = {1, 2, 3};
    uint8_t data[HF_SEALED_RECORD_BYTES];
    hf_sealed_record_seal(&keys, seal_id, &key, secret, data);
    hf_bytes view = hf_bytes_from(data, sizeof data);
    for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
        uint8_t again[HF_SEALED_SECRET_BYTES] = {0};
        data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_true(hf_failed(hf_sealed_record_open(&keys, seal_id, view, &found, again)));
        assert_true(hf_bytes_is_zero(again, sizeof again));
        data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    for (size_t len = 0; len < sizeof data; len++) {
        assert_int_equal(
            hf_sealed_record_open(&keys, seal_id, hf_bytes_from(data, len), &found, secret).code,
            HF_CORRUPT);
    }
    assert_int_equal(hf_sealed_record_open(&keys, other_id, view, &found, secret).code, HF_DENIED);
    assert_int_equal(hf_sealed_record_open(&others, seal_id, view, &found, secret).code, HF_DENIED);
    assert_int_equal(hf_sealed_record_open(&keys, seal_id, view, &found, secret).code, HF_OK);
}

static hf_manifest_page *make_page(void)
{
    hf_manifest_page *page = calloc(1, sizeof *page);
    assert_non_null(page);
    page->number = hf_manifest_page_of(some_key(5).name);
    page->version = 1;
    for (unsigned i = 0; i < 100; i++) { /* in no order */
        hf_sealed_key key = some_key(5);
        hf_manifest_entry *entry = NULL;
        key.name[0] = (uint8_t)(i * 37 % 101);
        assert_int_equal(hf_manifest_add(page, key.name, &entry).code, HF_OK);
        entry->version = i + 1;
    }
    return page;
}

static void test_pages(void **state)
{
    (void)state;
    hf_seal_keys keys = keys_of(1);
    hf_manifest_page *page = make_page();
    hf_manifest_page *again = calloc(1, sizeof *again);
    uint8_t *data = malloc(HF_MANIFEST_PAGE_BYTES_MAX);
    size_t len = 0;
    assert_non_null(again);
    assert_non_null(data);
    assert_int_equal(page->count, 100);
    hf_sealed_key key = some_key(5);
    key.name[0] = 37;
    assert_int_equal(hf_manifest_find(page, key.name)->version, 2);
    hf_manifest_entry *entry = NULL;
    assert_int_equal(hf_manifest_add(page, key.name, &entry).code, HF_OK);
    assert_int_equal(entry->version, 2); /* it was there */
    hf_manifest_remove(page, key.name);
    hf_manifest_remove(page, key.name);
    assert_null(hf_manifest_find(page, key.name));
    assert_int_equal(page->count, 99);
    hf_manifest_encode(&keys, seal_id, page, data, &len);
    hf_bytes view = hf_bytes_from(data, len);
    assert_int_equal(hf_manifest_decode(&keys, seal_id, page->number, view, again).code, HF_OK);
    assert_memory_equal(again->entries, page->entries, 99 * sizeof page->entries[0]);
    assert_int_equal(hf_manifest_decode(&keys, seal_id, page->number + 1, view, again).code,
                     HF_CORRUPT);
    assert_int_equal(hf_manifest_decode(&keys, other_id, page->number, view, again).code,
                     HF_CORRUPT);
    for (size_t i = 0; i < len; i++) {
        data[i] ^= 1;
        assert_int_equal(hf_manifest_decode(&keys, seal_id, page->number, view, again).code,
                         HF_CORRUPT);
        data[i] ^= 1;
        assert_int_equal(
            hf_manifest_decode(&keys, seal_id, page->number, hf_bytes_from(data, i), again).code,
            HF_CORRUPT);
    }
    free(data);
    free(again);
    free(page);
}

static void test_a_full_page_fits_a_record(void **state)
{
    (void)state;
    hf_seal_keys keys = keys_of(1);
    hf_manifest_page *page = calloc(1, sizeof *page);
    uint8_t *data = malloc(HF_MANIFEST_PAGE_BYTES_MAX);
    hf_manifest_entry *entry = NULL;
    hf_sealed_key key = some_key(0);
    size_t len = 0;
    assert_non_null(page);
    assert_non_null(data);
    page->version = 1;
    for (unsigned i = 0; i < HF_MANIFEST_ENTRIES_MAX; i++) {
        hf_le64_put(key.name, i);
        assert_int_equal(hf_manifest_add(page, key.name, &entry).code, HF_OK);
        entry->version = 1;
    }
    hf_le64_put(key.name, HF_MANIFEST_ENTRIES_MAX);
    assert_int_equal(hf_manifest_add(page, key.name, &entry).code, HF_LIMIT);
    hf_manifest_encode(&keys, seal_id, page, data, &len);
    assert_int_equal(len, HF_MANIFEST_PAGE_BYTES_MAX);
    assert_true(len <= 60000);
    assert_int_equal(hf_manifest_decode(&keys, seal_id, 0, hf_bytes_from(data, len), page).code,
                     HF_OK);
    free(data);
    free(page);
}

static void test_the_head(void **state)
{
    (void)state;
    hf_seal_keys keys = keys_of(1);
    hf_manifest_head head = {.version = 12, .pages = {[3] = 7, [63] = 1}};
    hf_manifest_head again;
    uint8_t data[HF_MANIFEST_HEAD_BYTES];
    hf_manifest_head_encode(&keys, seal_id, &head, data);
    hf_bytes view = hf_bytes_from(data, sizeof data);
    assert_int_equal(hf_manifest_head_decode(&keys, seal_id, view, &again).code, HF_OK);
    assert_memory_equal(&again, &head, sizeof head);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] ^= 0x10;
        assert_int_equal(hf_manifest_head_decode(&keys, seal_id, view, &again).code, HF_CORRUPT);
        data[i] ^= 0x10;
    }
    assert_int_equal(hf_manifest_head_decode(&keys, other_id, view, &again).code, HF_CORRUPT);
    assert_int_equal(
        hf_manifest_head_decode(&keys, seal_id, hf_bytes_from(data, sizeof data - 1), &again).code,
        HF_CORRUPT);
}

static void test_judging(void **state)
{
    (void)state;
    hf_manifest_entry entry = {.version = 4, .status = HF_SEALED_ACTIVE};
    hf_sealed_key record = {.version = 4};
    assert_int_equal(hf_manifest_judge(&entry, &record), HF_MANIFEST_GOOD);
    assert_int_equal(hf_manifest_judge(NULL, NULL), HF_MANIFEST_GOOD);
    assert_int_equal(hf_manifest_judge(NULL, &record), HF_MANIFEST_UNKNOWN);
    assert_int_equal(hf_manifest_judge(&entry, NULL), HF_MANIFEST_MISSING);
    record.version = 3;
    assert_int_equal(hf_manifest_judge(&entry, &record), HF_MANIFEST_ROLLED_BACK);
    record.version = 5;
    assert_int_equal(hf_manifest_judge(&entry, &record), HF_MANIFEST_AHEAD);
    record.version = 4;
    record.status = HF_SEALED_INACTIVE;
    assert_int_equal(hf_manifest_judge(&entry, &record), HF_MANIFEST_UNKNOWN);
    for (unsigned i = 0; i < HF_MANIFEST_VERDICT_COUNT; i++) {
        assert_string_not_equal(hf_manifest_verdict_text(i), "unknown");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_comes_back),
        cmocka_unit_test(test_no_bit_can_change),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_a_full_page_fits_a_record),
        cmocka_unit_test(test_the_head),
        cmocka_unit_test(test_judging),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
