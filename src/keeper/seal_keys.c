/* Sealed keys: from records into the ring when the signer is unsealed, and out of it. */
#include "keeper/keeper_internal.h"

void hf_seal_publish(hf_keeper *keeper)
{
    for (size_t i = 0; i < HF_BACKEND_COUNT; i++) {
        hf_meter_set(&keeper->meter.now.keys_loaded[i], keeper->ring.by_backend[i]);
    }
}

static void free_pages(hf_seal_room *room)
{
    for (unsigned i = 0; i < HF_MANIFEST_PAGES; i++) {
        free(room->pages[i]);
        room->pages[i] = NULL;
        room->is_page_old[i] = false;
    }
}

static void remove_keys(hf_keeper *keeper)
{
    hf_keyring *ring = &keeper->ring;
    for (size_t i = 0; i < ring->count;) {
        if (ring->order[i]->backend == HF_BACKEND_SEALED) {
            hf_keyring_remove(ring, ring->order[i]); /* another one takes its place */
        } else {
            i++;
        }
    }
    if (!hf_keyring_reap(ring)) {
        atomic_store(&keeper->closing, true); /* the last request that uses one wakes us */
    }
    hf_seal_publish(keeper);
}

void hf_seal_forget_keys(hf_keeper *keeper)
{
    hf_seal_room *room = &keeper->seal;
    remove_keys(keeper);
    free_pages(room);
    hf_seal_found_free(room->rotating);
    room->rotating = NULL;
    room->is_rotating = false;
    room->is_loading = false;
    room->keys_active = 0;
    room->keys_inactive = 0;
    room->keys_refused = 0;
    room->keys_to_rotate = 0;
    room->detail[0] = '\0';
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static void refuse_key(hf_keeper *keeper, const hf_sealed_key *key, const char *why)
{
    hf_seal_room *room = &keeper->seal;
    char text[HF_SEALED_TEXT_LEN] = "a record";
    if (key->type < HF_KEY_TYPE_COUNT) {
        hf_sealed_key_text(key, text);
    }
    room->keys_refused++;
    if (room->detail[0] == '\0') {
        (void)snprintf(room->detail, sizeof room->detail, "%s: %s", text, why);
    }
    hf_log(HF_LOG_BROKEN, "sealed_key_refused", "%s: %s", text, why);
}

static void refuse_manifest(hf_keeper *keeper, const char *what, const char *why)
{
    hf_seal_room *room = &keeper->seal;
    if (room->detail[0] == '\0') {
        (void)snprintf(room->detail, sizeof room->detail, "%s %s", what, why);
    }
    hf_log(HF_LOG_BROKEN, "seal_manifest_refused", "%s %s", what, why);
}

static bool open_head(hf_keeper *keeper, const hf_seal_found *found)
{
    hf_seal_room *room = &keeper->seal;
    hf_bytes data = hf_bytes_from(found->head.data, found->head.len);
    hf_manifest_head head;
    hf_status st = {HF_NOT_FOUND};
    if (found->head.is_there) {
        st = hf_manifest_head_decode(&room->secrets->keys, room->config.seal_id, data, &head);
        if (hf_failed(st) && room->config.has_previous == 1) {
            st = hf_manifest_head_decode(&room->secrets->previous_keys, room->config.seal_id, data,
                                         &head);
        }
        if (!hf_failed(st) && head.version != found->head.version) {
            st = (hf_status){HF_CORRUPT};
        }
    }
    if (hf_failed(st)) {
        refuse_manifest(keeper, "the manifest of sealed keys",
                        found->head.is_there ? "was changed, or is an older copy" : "is gone");
        return false;
    }
    room->head = head;
    return true;
}

/* The page, or NULL when it does not fit: its keys are then refused. */
static hf_manifest_page *open_page(hf_keeper *keeper, const hf_seal_page_row *row, unsigned number)
{
    hf_seal_room *room = &keeper->seal;
    hf_manifest_page *page = calloc(1, sizeof *page);
    hf_bytes data = hf_bytes_from(row->data, row->len);
    if (page == NULL) {
        return NULL;
    }
    hf_status st =
        hf_manifest_decode(&room->secrets->keys, room->config.seal_id, number, data, page);
    if (hf_failed(st) && room->config.has_previous == 1) {
        st = hf_manifest_decode(&room->secrets->previous_keys, room->config.seal_id, number, data,
                                page);
        room->is_page_old[number] = true;
    }
    if (hf_failed(st) || page->version != room->head.pages[number] ||
        page->version != row->version) {
        free(page);
        return NULL;
    }
    return page;
}

static void open_pages(hf_keeper *keeper, const hf_seal_found *found)
{
    hf_seal_room *room = &keeper->seal;
    for (unsigned i = 0; i < HF_MANIFEST_PAGES; i++) {
        char name[48];
        if (room->head.pages[i] == 0 && !found->pages[i].is_there) {
            continue;
        }
        (void)snprintf(name, sizeof name, "page %u of the manifest of sealed keys", i);
        if (!found->pages[i].is_there) {
            refuse_manifest(keeper, name, "is gone");
            continue;
        }
        room->pages[i] = open_page(keeper, &found->pages[i], i);
        if (room->pages[i] == NULL) {
            refuse_manifest(keeper, name, "was changed, or is an older copy");
        }
    }
}

/* Opens a record with the key of its term. */
hf_status hf_seal_open_row(const hf_seal_room *room, const hf_seal_row *row,
                           uint8_t ret_secret[HF_SEALED_SECRET_BYTES])
{
    hf_sealed_key key;
    bool is_old = row->key.term != room->config.term;
    if (is_old && room->config.has_previous == 0) {
        return (hf_status){HF_DENIED};
    }
    const hf_seal_keys *keys = is_old ? &room->secrets->previous_keys : &room->secrets->keys;
    return hf_sealed_record_open(keys, room->config.seal_id, hf_bytes_from(row->data, row->len),
                                 &key, ret_secret);
}

static const char *take_into_ring(hf_keeper *keeper, const hf_seal_row *row,
                                  const uint8_t secret[HF_SEALED_SECRET_BYTES])
{
    hf_key *key = NULL;
    hf_status st = hf_key_new_bound(&keeper->ring, (hf_key_type)row->key.type, row->key.name,
                                    secret, HF_BACKEND_SEALED, &key);
    if (!hf_failed(st)) {
        key->source = keeper->config.sealed_source; /* for its tags */
        st = hf_keyring_add(&keeper->ring, key);
    }
    if (st.code == HF_LIMIT) {
        return "there are more keys than max_keys";
    }
    /* CONFLICT: the same key from a file; it signs all the same. */
    return hf_failed(st) && st.code != HF_CONFLICT ? "not a secret key of its type" : NULL;
}

/* NULL: it is as it should be, and signs when it is active. Else what is wrong. */
const char *hf_seal_open_key(hf_keeper *keeper, const hf_seal_row *row)
{
    hf_seal_room *room = &keeper->seal;
    uint8_t secret[HF_SEALED_SECRET_BYTES];
    if (row->key.type == UINT8_MAX || !hf_bytes_equal(row->id, row->key.name, sizeof row->id)) {
        return "the record is not that of its key";
    }
    hf_manifest_page *page = room->pages[hf_manifest_page_of(row->key.name)];
    hf_manifest_entry *entry = page != NULL ? hf_manifest_find(page, row->key.name) : NULL;
    if (page == NULL) {
        return "its page of the manifest does not fit";
    }
    if (entry != NULL) {
        entry->reserved[0] = 1; /* seen */
    }
    hf_manifest_verdict verdict = hf_manifest_judge(entry, &row->key);
    if (verdict != HF_MANIFEST_GOOD) {
        return hf_manifest_verdict_text(verdict);
    }
    if (row->version != row->key.version || hf_failed(hf_seal_open_row(room, row, secret))) {
        return "the record was changed, or is of another seal";
    }
    const char *why = NULL;
    if (row->key.status == HF_SEALED_ACTIVE) {
        why = take_into_ring(keeper, row, secret);
    }
    hf_wipe(secret, sizeof secret);
    if (why == NULL) {
        *(row->key.status == HF_SEALED_ACTIVE ? &room->keys_active : &room->keys_inactive) += 1;
    }
    return why;
}

static void name_missing(hf_keeper *keeper)
{
    hf_seal_room *room = &keeper->seal;
    for (unsigned p = 0; p < HF_MANIFEST_PAGES; p++) {
        for (uint32_t i = 0; room->pages[p] != NULL && i < room->pages[p]->count; i++) {
            hf_manifest_entry *entry = &room->pages[p]->entries[i];
            if (entry->reserved[0] == 0) {
                hf_sealed_key key = {.type = entry->type};
                memcpy(key.name, entry->name, sizeof key.name);
                refuse_key(keeper, &key, hf_manifest_verdict_text(HF_MANIFEST_MISSING));
                entry->reserved[1] = 1;
            }
            entry->reserved[0] = 0;
        }
    }
}

static void mark_refused(hf_seal_room *room, const hf_sealed_key *key)
{
    hf_manifest_page *page =
        key->type < HF_KEY_TYPE_COUNT ? room->pages[hf_manifest_page_of(key->name)] : NULL;
    hf_manifest_entry *entry = page != NULL ? hf_manifest_find(page, key->name) : NULL;
    if (entry != NULL) {
        entry->reserved[1] = 1;
    }
}

void hf_seal_open_keys(hf_keeper *keeper, const hf_seal_found *found)
{
    hf_seal_room *room = &keeper->seal;
    remove_keys(keeper); /* of a reading before */
    free_pages(room);
    room->keys_active = 0;
    room->keys_inactive = 0;
    room->keys_refused = 0;
    room->detail[0] = '\0';
    room->is_loading = false;
    if (!open_head(keeper, found)) {
        room->keys_refused = (uint32_t)found->row_count;
        return;
    }
    open_pages(keeper, found);
    for (size_t i = 0; i < found->row_count; i++) {
        const char *why = hf_seal_open_key(keeper, &found->rows[i]);
        if (why != NULL) {
            refuse_key(keeper, &found->rows[i].key, why);
            mark_refused(room, &found->rows[i].key);
        }
    }
    name_missing(keeper);
    hf_seal_publish(keeper);
    hf_log(room->keys_refused == 0 ? HF_LOG_INFO : HF_LOG_BROKEN, "sealed_keys_ready",
           "%u sealed keys are ready %llu ms after the last share; %u inactive, %u refused",
           room->keys_active,
           (unsigned long long)((hf_time_mono_ns() - room->opening_ns) / HF_NS_PER_MS),
           room->keys_inactive, room->keys_refused);
}
