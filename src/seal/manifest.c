/* Which records there have to be, and at which version: pages under a keyed hash, and their head.
 */
#include "seal/seal_internal.h"

#include <sodium.h>

#define FORMAT 1
/* Compressed points and addresses: this byte of either is as good as random. */
#define SPREAD_BYTE 16

unsigned hf_manifest_page_of(const uint8_t name[HF_SEALED_NAME_BYTES])
{
    return name[SPREAD_BYTE] % HF_MANIFEST_PAGES;
}

/* ---- entries ------------------------------------------------------------------------------------
 */

/* Names are public: order by bytes. */
static int compare(const uint8_t a[HF_SEALED_NAME_BYTES], const uint8_t b[HF_SEALED_NAME_BYTES])
{
    for (size_t i = 0; i < HF_SEALED_NAME_BYTES; i++) {
        if (a[i] != b[i]) {
            return a[i] < b[i] ? -1 : 1;
        }
    }
    return 0;
}

/* The first place whose name is not smaller. */
static uint32_t place_of(const hf_manifest_page *page, const uint8_t name[HF_SEALED_NAME_BYTES])
{
    uint32_t low = 0;
    uint32_t high = page->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare(page->entries[middle].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

hf_manifest_entry *hf_manifest_find(hf_manifest_page *page,
                                    const uint8_t name[HF_SEALED_NAME_BYTES])
{
    uint32_t place = place_of(page, name);
    bool is_there = place < page->count && compare(page->entries[place].name, name) == 0;
    return is_there ? &page->entries[place] : NULL;
}

hf_status hf_manifest_add(hf_manifest_page *page, const uint8_t name[HF_SEALED_NAME_BYTES],
                          hf_manifest_entry **ret_entry)
{
    uint32_t place = place_of(page, name);
    hf_manifest_entry *entry = &page->entries[place];
    HF_ASSERT(hf_manifest_page_of(name) == page->number);
    if (place == page->count || compare(entry->name, name) != 0) {
        if (page->count == HF_MANIFEST_ENTRIES_MAX) {
            return (hf_status){HF_LIMIT};
        }
        memmove(entry + 1, entry, (page->count - place) * sizeof *entry);
        *entry = (hf_manifest_entry){0};
        memcpy(entry->name, name, HF_SEALED_NAME_BYTES);
        page->count++;
    }
    *ret_entry = entry;
    return hf_ok();
}

void hf_manifest_remove(hf_manifest_page *page, const uint8_t name[HF_SEALED_NAME_BYTES])
{
    hf_manifest_entry *entry = hf_manifest_find(page, name);
    if (entry != NULL) {
        size_t behind = page->count - (size_t)(entry - page->entries) - 1;
        memmove(entry, entry + 1, behind * sizeof *entry);
        page->count--;
    }
}

/* ---- kept form ----------------------------------------------------------------------------------
 */

static void mac_of(const hf_seal_keys *keys, const uint8_t seal_id[HF_SEAL_ID_BYTES],
                   const char *purpose, hf_bytes data, uint8_t ret_mac[HF_SEAL_HASH_BYTES])
{
    crypto_generichash_state state;
    HF_ASSERT(sodium_init() >= 0);
    (void)crypto_generichash_init(&state, keys->manifest, HF_SEAL_KEY_BYTES, HF_SEAL_HASH_BYTES);
    (void)crypto_generichash_update(&state, (const uint8_t *)purpose, strlen(purpose) + 1);
    (void)crypto_generichash_update(&state, seal_id, HF_SEAL_ID_BYTES);
    (void)crypto_generichash_update(&state, data.ptr, data.len);
    (void)crypto_generichash_final(&state, ret_mac, HF_SEAL_HASH_BYTES);
    hf_wipe(&state, sizeof state);
}

static bool mac_is_right(const hf_seal_keys *keys, const uint8_t seal_id[HF_SEAL_ID_BYTES],
                         const char *purpose, hf_bytes data)
{
    uint8_t mac[HF_SEAL_HASH_BYTES];
    if (data.len < sizeof mac) {
        return false;
    }
    size_t body = data.len - sizeof mac;
    mac_of(keys, seal_id, purpose, hf_bytes_from(data.ptr, body), mac);
    return hf_secret_equal(mac, data.ptr + body, sizeof mac);
}

#define PAGE_PURPOSE "holdfast manifest page"
#define HEAD_PURPOSE "holdfast manifest head"

void hf_manifest_encode(const hf_seal_keys *keys, const uint8_t seal_id[HF_SEAL_ID_BYTES],
                        const hf_manifest_page *page, uint8_t ret_data[HF_MANIFEST_PAGE_BYTES_MAX],
                        size_t *ret_len)
{
    hf_seal_writer writer = {.data = ret_data, .max = HF_MANIFEST_PAGE_BYTES_MAX};
    uint8_t mac[HF_SEAL_HASH_BYTES];
    hf_seal_put_number(&writer, FORMAT, 2);
    hf_seal_put_number(&writer, page->number, 2);
    hf_seal_put_number(&writer, page->count, 4);
    hf_seal_put_number(&writer, page->version, 8);
    for (uint32_t i = 0; i < page->count; i++) {
        const hf_manifest_entry *entry = &page->entries[i];
        hf_seal_put(&writer, entry->name, HF_SEALED_NAME_BYTES);
        hf_seal_put_number(&writer, entry->version, 8);
        hf_seal_put_number(&writer, entry->type, 1);
        hf_seal_put_number(&writer, entry->status, 1);
    }
    mac_of(keys, seal_id, PAGE_PURPOSE, hf_bytes_from(ret_data, writer.len), mac);
    hf_seal_put(&writer, mac, sizeof mac);
    HF_ASSERT(!writer.failed);
    *ret_len = writer.len;
}

static bool entry_is_sound(const hf_manifest_page *page, uint32_t i)
{
    const hf_manifest_entry *entry = &page->entries[i];
    return entry->version != 0 && entry->type < HF_KEY_TYPE_COUNT &&
           entry->status < HF_SEALED_STATUS_COUNT &&
           hf_manifest_page_of(entry->name) == page->number &&
           (i == 0 || compare(page->entries[i - 1].name, entry->name) < 0);
}

static bool get_entries(hf_seal_reader *reader, hf_manifest_page *page)
{
    for (uint32_t i = 0; i < page->count; i++) {
        hf_manifest_entry *entry = &page->entries[i];
        *entry = (hf_manifest_entry){0};
        hf_seal_get(reader, entry->name, HF_SEALED_NAME_BYTES);
        entry->version = hf_seal_get_number(reader, 8);
        entry->type = (uint8_t)hf_seal_get_number(reader, 1);
        entry->status = (uint8_t)hf_seal_get_number(reader, 1);
        if (reader->failed || !entry_is_sound(page, i)) {
            return false;
        }
    }
    return true;
}

hf_status hf_manifest_decode(const hf_seal_keys *keys, const uint8_t seal_id[HF_SEAL_ID_BYTES],
                             unsigned number, hf_bytes data, hf_manifest_page *ret_page)
{
    if (!mac_is_right(keys, seal_id, PAGE_PURPOSE, data)) {
        return (hf_status){HF_CORRUPT};
    }
    hf_seal_reader reader = {.rest = hf_bytes_from(data.ptr, data.len - HF_SEAL_HASH_BYTES)};
    bool is_known = hf_seal_get_number(&reader, 2) == FORMAT;
    ret_page->number = (uint32_t)hf_seal_get_number(&reader, 2);
    ret_page->count = (uint32_t)hf_seal_get_number(&reader, 4);
    ret_page->version = hf_seal_get_number(&reader, 8);
    if (!is_known || ret_page->number != number || ret_page->version == 0 ||
        ret_page->count > HF_MANIFEST_ENTRIES_MAX || !get_entries(&reader, ret_page) ||
        reader.failed || reader.rest.len != 0) {
        return (hf_status){HF_CORRUPT};
    }
    return hf_ok();
}

void hf_manifest_head_encode(const hf_seal_keys *keys, const uint8_t seal_id[HF_SEAL_ID_BYTES],
                             const hf_manifest_head *head, uint8_t ret_data[HF_MANIFEST_HEAD_BYTES])
{
    hf_seal_writer writer = {.data = ret_data, .max = HF_MANIFEST_HEAD_BYTES};
    uint8_t mac[HF_SEAL_HASH_BYTES];
    hf_seal_put_number(&writer, FORMAT, 8);
    hf_seal_put_number(&writer, head->version, 8);
    for (unsigned i = 0; i < HF_MANIFEST_PAGES; i++) {
        hf_seal_put_number(&writer, head->pages[i], 8);
    }
    mac_of(keys, seal_id, HEAD_PURPOSE, hf_bytes_from(ret_data, writer.len), mac);
    hf_seal_put(&writer, mac, sizeof mac);
    HF_ASSERT(!writer.failed && writer.len == HF_MANIFEST_HEAD_BYTES);
}

hf_status hf_manifest_head_decode(const hf_seal_keys *keys, const uint8_t seal_id[HF_SEAL_ID_BYTES],
                                  hf_bytes data, hf_manifest_head *ret_head)
{
    hf_seal_reader reader = {.rest = data};
    if (data.len != HF_MANIFEST_HEAD_BYTES || !mac_is_right(keys, seal_id, HEAD_PURPOSE, data) ||
        hf_seal_get_number(&reader, 8) != FORMAT) {
        return (hf_status){HF_CORRUPT};
    }
    ret_head->version = hf_seal_get_number(&reader, 8);
    for (unsigned i = 0; i < HF_MANIFEST_PAGES; i++) {
        ret_head->pages[i] = hf_seal_get_number(&reader, 8);
    }
    return hf_ok();
}

/* ---- judging ------------------------------------------------------------------------------------
 */

hf_manifest_verdict hf_manifest_judge(const hf_manifest_entry *entry, const hf_sealed_key *record)
{
    if (entry == NULL) {
        return record == NULL ? HF_MANIFEST_GOOD : HF_MANIFEST_UNKNOWN;
    }
    if (record == NULL) {
        return HF_MANIFEST_MISSING;
    }
    if (record->version != entry->version) {
        return record->version > entry->version ? HF_MANIFEST_AHEAD : HF_MANIFEST_ROLLED_BACK;
    }
    return record->status == entry->status && record->type == entry->type ? HF_MANIFEST_GOOD
                                                                          : HF_MANIFEST_UNKNOWN;
}

const char *hf_manifest_verdict_text(unsigned verdict)
{
    static const char *const texts[HF_MANIFEST_VERDICT_COUNT] = {
        [HF_MANIFEST_GOOD] = "as it should be",
        [HF_MANIFEST_UNKNOWN] = "a record that the manifest does not have",
        [HF_MANIFEST_ROLLED_BACK] = "an older copy of the record was put back",
        [HF_MANIFEST_AHEAD] = "newer than the manifest, which is an older copy",
        [HF_MANIFEST_MISSING] = "the record is gone",
    };
    return verdict < HF_MANIFEST_VERDICT_COUNT ? texts[verdict] : "unknown";
}
