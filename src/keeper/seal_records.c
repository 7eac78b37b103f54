/* Sealed keys that are added, activated, deactivated, deleted and listed. Intake thread. */
#include "keeper/keeper_internal.h"

#define GENERATE_TRIES 64

/* ---- adding -----------------------------------------------------------------------------------
 */

/* A copy of the page for the task to change; the task owns it. */
hf_manifest_page *hf_seal_page_for(hf_keeper *keeper, hf_seal_task *task, unsigned number)
{
    const hf_manifest_page *now = keeper->seal.pages[number];
    if (task->pages[number] == NULL) {
        task->pages[number] = calloc(1, sizeof *task->pages[number]);
        if (task->pages[number] != NULL && now != NULL) {
            *task->pages[number] = *now;
        } else if (task->pages[number] != NULL) {
            task->pages[number]->number = number;
        }
    }
    return task->pages[number];
}

static bool is_page_lost(const hf_seal_room *room, unsigned number)
{
    return room->pages[number] == NULL && room->head.pages[number] != 0;
}

/* Name and status of a new key; false: not a key. */
static bool describe(hf_keeper *keeper, hf_sealed_new_key *from, hf_sealed_key *ret_key)
{
    hf_bls_key bls;
    hf_secp256k1_key secp;
    uint8_t point[HF_SECP256K1_PUBKEY_BYTES];
    *ret_key = (hf_sealed_key){
        .type = from->type, .status = from->status, .term = keeper->seal.config.term, .version = 1};
    if (from->type == HF_KEY_TYPE_BLS) {
        hf_status st = {HF_CRYPTO};
        for (unsigned i = 0; hf_failed(st) && i < GENERATE_TRIES; i++) {
            if (from->is_generated == 1) {
                hf_random(from->secret, sizeof from->secret);
            }
            st = hf_bls_key_from_bytes(from->secret, &bls);
            i = from->is_generated == 1 ? i : GENERATE_TRIES;
        }
        if (!hf_failed(st)) {
            hf_bls_pubkey(&bls, ret_key->name);
        }
        hf_wipe(&bls, sizeof bls);
        return !hf_failed(st) && from->status < HF_SEALED_STATUS_COUNT;
    }
    if (from->type != HF_KEY_TYPE_SECP256K1 || from->status >= HF_SEALED_STATUS_COUNT ||
        hf_failed(hf_secp256k1_key_from_bytes(keeper->ring.secp, from->secret, &secp))) {
        return false;
    }
    hf_secp256k1_pubkey(keeper->ring.secp, &secp, point);
    hf_secp256k1_address(point, ret_key->name);
    hf_wipe(&secp, sizeof secp);
    return true;
}

static bool is_kept(hf_keeper *keeper, hf_seal_task *task, const hf_sealed_key *key)
{
    hf_manifest_page *page = hf_seal_page_for(keeper, task, hf_manifest_page_of(key->name));
    return page == NULL || hf_manifest_find(page, key->name) != NULL;
}

/* One key into the task; what becomes of it is in outcome. False: the whole frame is refused. */
static bool add_key(hf_keeper *keeper, hf_seal_task *task, hf_sealed_new_key *from,
                    hf_sealed_outcome *outcome)
{
    hf_seal_room *room = &keeper->seal;
    hf_seal_row *row = &task->rows[task->row_count];
    hf_manifest_entry *entry = NULL;
    outcome->outcome = HF_KEY_ERROR;
    if (!describe(keeper, from, &row->key)) {
        return true;
    }
    unsigned number = hf_manifest_page_of(row->key.name);
    memcpy(outcome->name, row->key.name, sizeof outcome->name);
    outcome->type = row->key.type;
    if (is_page_lost(room, number)) {
        return true;
    }
    if (is_kept(keeper, task, &row->key)) {
        outcome->outcome = HF_KEY_DUPLICATE;
        return task->pages[number] != NULL;
    }
    uint8_t *data = malloc(HF_SEALED_RECORD_BYTES);
    if (data == NULL || hf_failed(hf_manifest_add(task->pages[number], row->key.name, &entry))) {
        free(data);
        return false;
    }
    entry->version = 1;
    entry->type = row->key.type;
    entry->status = row->key.status;
    hf_sealed_record_seal(&room->secrets->keys, room->config.seal_id, &row->key, from->secret,
                          data);
    memcpy(row->id, row->key.name, sizeof row->id);
    memcpy(row->data, data, HF_SEALED_RECORD_BYTES);
    row->len = HF_SEALED_RECORD_BYTES;
    row->version = 1;
    hf_seal_task_change(task, HF_RECORD_KEY, row->id, 0, data, HF_SEALED_RECORD_BYTES);
    task->row_count++;
    outcome->outcome = HF_KEY_IMPORTED;
    return true;
}

/* Pages that got nothing stay as they are. */
static bool write_pages(hf_keeper *keeper, hf_seal_task *task)
{
    for (unsigned i = 0; i < HF_MANIFEST_PAGES; i++) {
        bool is_wanted = false;
        for (size_t k = 0; k < task->row_count; k++) {
            is_wanted |= hf_manifest_page_of(task->rows[k].key.name) == i;
        }
        if (is_wanted && !hf_seal_task_page(keeper, task, i)) {
            return false;
        }
        if (!is_wanted) {
            free(task->pages[i]);
            task->pages[i] = NULL;
        }
    }
    return hf_seal_task_head(keeper, task);
}

static void send_added(hf_keeper *keeper, hf_seal_task *task)
{
    if (task->is_single) {
        uint8_t outcome = task->added->keys[0].outcome;
        hf_peer_send_result(keeper, task->asker, task->request_id, HF_REASON_OK, outcome,
                            outcome == HF_KEY_ERROR ? "it is no key that can be sealed" : "");
        return;
    }
    hf_frame_init(task->added, HF_MSG_SEALED_ADDED, task->request_id);
    task->added->reason = HF_REASON_OK;
    hf_peer_send(keeper, task->asker, task->added);
}

static hf_pass *pass_copy(const hf_pass *asker)
{
    hf_pass *pass = malloc(sizeof *pass);
    if (pass != NULL) {
        *pass = *asker;
    }
    return pass;
}

static hf_seal_task *new_add(hf_peer *peer, uint64_t request_id, const hf_pass *asker)
{
    hf_seal_task *task = hf_seal_task_new(HF_SEAL_TASK_WRITE, HF_SEAL_AIM_ADD, peer, request_id);
    if (task == NULL) {
        return NULL;
    }
    task->pass = pass_copy(asker);
    task->rows = calloc(HF_SEALED_ADD_MAX, sizeof *task->rows);
    task->added = calloc(1, sizeof *task->added);
    return task;
}

/* Owns take_task, whose keys were added as far as is_fine. */
static void write_added(hf_keeper *keeper, hf_seal_task *take_task, bool is_fine)
{
    if (is_fine && take_task->row_count == 0) {
        send_added(keeper, take_task);
        hf_seal_task_free(keeper, take_task);
        return;
    }
    if (!is_fine || !write_pages(keeper, take_task)) {
        hf_peer_send_result(
            keeper, take_task->asker, take_task->request_id, HF_REASON_MALFORMED, HF_KEY_ERROR,
            "these keys cannot be kept: malformed, or a page of the manifest is full");
        hf_seal_task_free(keeper, take_task);
        return;
    }
    (void)hf_seal_task_start(keeper, take_task);
}

static void on_add(hf_keeper *keeper, hf_peer *peer, const hf_msg_sealed_add *frame, int *fd)
{
    if (frame->count == 0 && *fd >= 0) {
        hf_loading_import(keeper, peer, frame->header.request_id, true, *fd);
        *fd = -1;
        return;
    }
    hf_seal_task *task = new_add(peer, frame->header.request_id, &keeper->asker);
    if (task == NULL) {
        hf_peer_send_result(keeper, peer, frame->header.request_id, HF_REASON_INTERNAL, 0, "");
        return;
    }
    bool is_fine = frame->count >= 1 && frame->count <= HF_SEALED_ADD_MAX && task->rows != NULL &&
                   task->added != NULL;
    for (uint32_t i = 0; is_fine && i < frame->count; i++) {
        hf_sealed_new_key key = frame->keys[i];
        is_fine = add_key(keeper, task, &key, &task->added->keys[i]);
        hf_wipe(&key, sizeof key);
        task->added->count++;
    }
    write_added(keeper, task, is_fine);
}

/* A key that a loader opened, as soon as nothing else is being written. */
void hf_seal_take_import(hf_keeper *keeper)
{
    const hf_seal_room *room = &keeper->seal;
    hf_key_import *import = room->task == NULL ? hf_loading_sealed_next(keeper) : NULL;
    hf_sealed_new_key key = {.type = HF_KEY_TYPE_BLS, .status = HF_SEALED_ACTIVE};
    if (import == NULL) {
        return;
    }
    if (!hf_seal_state_can_sign(room->state)) {
        hf_loading_sealed_end(keeper, import, "the signer was sealed meanwhile");
        return;
    }
    if (room->is_loading || room->is_rotating || room->has_next) {
        return;
    }
    hf_seal_task *task = new_add(import->asker, import->request_id, &import->pass);
    if (task == NULL || task->rows == NULL || task->added == NULL) {
        hf_seal_task_free(keeper, task);
        hf_loading_sealed_end(keeper, import, "out of memory");
        return;
    }
    task->is_single = true;
    hf_bls_key_to_bytes(&import->key->secret->bls, key.secret);
    bool is_fine = add_key(keeper, task, &key, &task->added->keys[0]);
    hf_wipe(&key, sizeof key);
    hf_loading_sealed_end(keeper, import, NULL);
    write_added(keeper, task, is_fine);
}

void hf_seal_take_manifest(hf_seal_room *room, hf_seal_task *task)
{
    for (unsigned i = 0; i < HF_MANIFEST_PAGES; i++) {
        if (task->pages[i] != NULL) {
            free(room->pages[i]);
            room->pages[i] = task->pages[i];
            room->is_page_old[i] = false;
            task->pages[i] = NULL;
        }
    }
    room->head = task->head;
}

static void added(hf_keeper *keeper, hf_seal_task *task)
{
    hf_seal_room *room = &keeper->seal;
    hf_seal_take_manifest(room, task);
    for (size_t i = 0; i < task->row_count; i++) {
        const char *why = hf_seal_open_key(keeper, &task->rows[i]);
        char text[HF_SEALED_TEXT_LEN];
        hf_sealed_key_text(&task->rows[i].key, text);
        hf_auditor_note_key(keeper, HF_AUDIT_KEY_IMPORTED, task->pass, task->rows[i].key.name,
                            why == NULL ? "done" : "failed", "sealed");
        hf_log(why == NULL ? HF_LOG_DEBUG : HF_LOG_BROKEN, "sealed_key_added", "%s%s%s", text,
               why == NULL ? "" : ": ", why == NULL ? "" : why);
    }
    hf_seal_publish(keeper);
    send_added(keeper, task);
}

/* ---- changing ---------------------------------------------------------------------------------
 */

static hf_key *find_loaded(const hf_keeper *keeper, uint32_t type, const uint8_t *name)
{
    return type == HF_KEY_TYPE_BLS ? hf_keyring_find(&keeper->ring, name)
                                   : hf_keyring_find_address(&keeper->ring, name);
}

/* Without its record the key would go on signing, or be back with the next start. */
static bool has_another_source(const hf_keeper *keeper, const hf_manifest_entry *entry)
{
    const hf_key *loaded = find_loaded(keeper, entry->type, entry->name);
    return loaded != NULL && loaded->backend != HF_BACKEND_SEALED;
}

bool hf_seal_has_active(const hf_keeper *keeper, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES])
{
    hf_manifest_page *page = keeper->seal.pages[hf_manifest_page_of(pubkey)];
    const hf_manifest_entry *entry = page != NULL ? hf_manifest_find(page, pubkey) : NULL;
    return entry != NULL && entry->type == HF_KEY_TYPE_BLS && entry->status == HF_SEALED_ACTIVE;
}

static void on_change(hf_keeper *keeper, hf_peer *peer, const hf_msg_sealed_change *frame)
{
    hf_seal_room *room = &keeper->seal;
    uint64_t id = frame->header.request_id;
    unsigned number = hf_manifest_page_of(frame->name);
    hf_manifest_entry *entry =
        room->pages[number] != NULL ? hf_manifest_find(room->pages[number], frame->name) : NULL;
    hf_sealed_status wanted =
        frame->action == HF_SEALED_ACTIVATE ? HF_SEALED_ACTIVE : HF_SEALED_INACTIVE;
    if (frame->action >= HF_SEALED_ACTION_COUNT || room->closer != NULL || room->task != NULL) {
        hf_peer_send_result(keeper, peer, id,
                            frame->action >= HF_SEALED_ACTION_COUNT ? HF_REASON_MALFORMED
                                                                    : HF_REASON_BUSY,
                            HF_KEY_ERROR, "");
    } else if (entry == NULL) {
        hf_peer_send_result(keeper, peer, id, HF_REASON_OK, HF_KEY_NOT_FOUND, "");
    } else if (frame->action != HF_SEALED_DELETE && entry->status == wanted) {
        hf_peer_send_result(keeper, peer, id, HF_REASON_OK, HF_KEY_DUPLICATE, "");
    } else if (frame->action != HF_SEALED_ACTIVATE && has_another_source(keeper, entry)) {
        hf_peer_send_result(keeper, peer, id, HF_REASON_BUSY, HF_KEY_ERROR,
                            "a key file or another back end has this key, too: remove it there "
                            "first, or it goes on signing");
    } else {
        hf_seal_task *task = hf_seal_task_new(HF_SEAL_TASK_READ, HF_SEAL_AIM_CHANGE, peer, id);
        if (task != NULL) {
            task->pass = pass_copy(&keeper->asker);
        }
        room->change = *frame;
        (void)hf_seal_task_start(keeper, task);
    }
}

static const hf_seal_row *find_row(const hf_seal_found *found,
                                   const uint8_t name[HF_SEALED_NAME_BYTES])
{
    for (size_t i = 0; i < found->row_count; i++) {
        if (found->rows[i].key.type != UINT8_MAX &&
            hf_bytes_equal(found->rows[i].id, name, HF_SEALED_NAME_BYTES)) {
            return &found->rows[i];
        }
    }
    return NULL;
}

/* The same secret with another status, one version further. NULL: no memory, or it does not open.
 */
uint8_t *hf_seal_reseal(hf_keeper *keeper, const hf_seal_row *row, hf_sealed_key *key)
{
    hf_seal_room *room = &keeper->seal;
    uint8_t secret[HF_SEALED_SECRET_BYTES];
    uint8_t *data = malloc(HF_SEALED_RECORD_BYTES);
    if (data == NULL || hf_failed(hf_seal_open_row(room, row, secret))) {
        free(data);
        return NULL;
    }
    key->version = row->version + 1;
    key->term = room->config.term;
    hf_sealed_record_seal(&room->secrets->keys, room->config.seal_id, key, secret, data);
    hf_wipe(secret, sizeof secret);
    return data;
}

/* The record as it is now was read; what it becomes is written. */
static bool write_change(hf_keeper *keeper, const hf_seal_row *row, hf_seal_task *read)
{
    const hf_msg_sealed_change *change = &keeper->seal.change;
    bool is_delete = change->action == HF_SEALED_DELETE;
    unsigned number = hf_manifest_page_of(change->name);
    hf_seal_task *task =
        hf_seal_task_new(HF_SEAL_TASK_WRITE, HF_SEAL_AIM_CHANGE, read->asker, read->request_id);
    uint8_t *data = NULL;
    if (task == NULL) {
        return false;
    }
    task->pass = read->pass; /* it goes on */
    read->pass = NULL;
    task->rows = calloc(1, sizeof *task->rows);
    hf_manifest_page *page = hf_seal_page_for(keeper, task, number);
    hf_manifest_entry *entry = page != NULL ? hf_manifest_find(page, change->name) : NULL;
    if (task->rows == NULL || entry == NULL) {
        goto fail;
    }
    task->rows[0] = *row;
    task->row_count = 1;
    hf_sealed_key *key = &task->rows[0].key;
    if (is_delete) {
        hf_manifest_remove(page, change->name);
    } else {
        key->status = change->action == HF_SEALED_ACTIVATE ? HF_SEALED_ACTIVE : HF_SEALED_INACTIVE;
        data = hf_seal_reseal(keeper, row, key);
        if (data == NULL) {
            goto fail;
        }
        memcpy(task->rows[0].data, data, HF_SEALED_RECORD_BYTES);
        task->rows[0].version = key->version;
        entry->version = key->version;
        entry->status = key->status;
    }
    hf_seal_task_change(task, HF_RECORD_KEY, row->id, row->version, data,
                        is_delete ? 0 : HF_SEALED_RECORD_BYTES);
    if (!hf_seal_task_page(keeper, task, number) || !hf_seal_task_head(keeper, task)) {
        goto fail;
    }
    return hf_seal_task_start(keeper, task);
fail:
    hf_seal_task_free(keeper, task);
    return false;
}

static void change_read(hf_keeper *keeper, hf_seal_task *task)
{
    hf_seal_room *room = &keeper->seal;
    const hf_seal_row *row = find_row(task->found, room->change.name);
    hf_manifest_page *page = room->pages[hf_manifest_page_of(room->change.name)];
    hf_manifest_entry *entry = page != NULL ? hf_manifest_find(page, room->change.name) : NULL;
    if (row == NULL || entry == NULL || hf_manifest_judge(entry, &row->key) != HF_MANIFEST_GOOD ||
        !write_change(keeper, row, task)) {
        hf_peer_send_result(keeper, task->asker, task->request_id, HF_REASON_OK, HF_KEY_ERROR,
                            "its record does not fit the manifest, or could not be written");
    }
}

static void changed(hf_keeper *keeper, hf_seal_task *task)
{
    hf_seal_room *room = &keeper->seal;
    static const char *const done[] = {"activated", "deactivated", "deleted"};
    const hf_sealed_key *key = &task->rows[0].key;
    char text[HF_SEALED_TEXT_LEN];
    hf_key *loaded = find_loaded(keeper, key->type, key->name);
    const hf_manifest_entry *before =
        hf_manifest_find(room->pages[hf_manifest_page_of(key->name)], key->name);
    bool was_active = before != NULL && before->status == HF_SEALED_ACTIVE;
    hf_seal_take_manifest(room, task);
    *(was_active ? &room->keys_active : &room->keys_inactive) -= 1;
    if (room->change.action != HF_SEALED_ACTIVATE && loaded != NULL &&
        loaded->backend == HF_BACKEND_SEALED) {
        hf_keyring_remove(&keeper->ring, loaded); /* I5 */
        (void)hf_keyring_reap(&keeper->ring);
    }
    if (room->change.action == HF_SEALED_DEACTIVATE) {
        room->keys_inactive++;
    } else if (room->change.action == HF_SEALED_ACTIVATE) {
        (void)hf_seal_open_key(keeper, &task->rows[0]);
    }
    hf_seal_publish(keeper);
    hf_sealed_key_text(key, text);
    hf_log(HF_LOG_INFO, "sealed_key_changed", "%s was %s", text, done[room->change.action]);
    hf_auditor_note_key(keeper,
                        room->change.action == HF_SEALED_DELETE ? HF_AUDIT_KEY_DELETED
                                                                : HF_AUDIT_KEY_CHANGED,
                        task->pass, key->name, "done", done[room->change.action]);
    hf_peer_ref(task->asker);
    room->closer = task->asker;
    room->closer_request_id = task->request_id;
    room->closer_value = room->change.action == HF_SEALED_DELETE ? HF_KEY_DELETED : HF_KEY_IMPORTED;
}

/* ---- listing ----------------------------------------------------------------------------------
 */

static hf_policy_key key_of_name(const uint8_t name[HF_SEALED_NAME_BYTES], bool is_bls)
{
    return hf_policy_key_from(name, is_bls ? HF_BLS_PUBKEY_BYTES : HF_ADDRESS_BYTES);
}

static void on_list(hf_keeper *keeper, hf_peer *peer, const hf_msg_sealed_list *frame)
{
    const hf_seal_room *room = &keeper->seal;
    static hf_msg_sealed_listed reply; /* intake thread only; 16 KiB */
    memset(&reply, 0, sizeof reply);
    hf_frame_init(&reply, HF_MSG_SEALED_LISTED, frame->header.request_id);
    const hf_manifest_page *page =
        frame->page < HF_MANIFEST_PAGES ? room->pages[frame->page] : NULL;
    for (uint32_t i = 0; page != NULL && i < page->count; i++) {
        const hf_manifest_entry *entry = &page->entries[i];
        hf_policy_key name = key_of_name(entry->name, entry->type == HF_KEY_TYPE_BLS);
        if (!hf_policies_may_list_sealed(keeper, HF_SCOPE_KEYS_LIST, &name) ||
            reply.total++ < frame->offset || reply.count == HF_SEALED_PAGE) {
            continue;
        }
        hf_sealed_entry *out = &reply.keys[reply.count++];
        memcpy(out->name, entry->name, sizeof out->name);
        out->version = entry->version;
        out->type = entry->type;
        out->status = entry->status;
        out->is_refused = entry->reserved[1];
    }
    hf_peer_send(keeper, peer, &reply);
}

/* What a frame about sealed keys asks for: each kind of change has a right of its own. */
void hf_seal_describe(const void *frame, hf_gate_question *question)
{
    const hf_frame_header *header = frame;
    if (header->type == HF_MSG_SEALED_LIST) {
        question->is_sealed = true;
        question->is_part = ((const hf_msg_sealed_list *)frame)->is_part == 1;
        question->is_page = question->is_part;
    } else if (header->type == HF_MSG_SEALED_ADD) {
        const hf_msg_sealed_add *add = frame;
        bool is_generate = add->count > 0 && add->count <= HF_SEALED_ADD_MAX;
        for (uint32_t i = 0; is_generate && i < add->count; i++) {
            is_generate = add->keys[i].is_generated == 1;
        }
        question->is_sealed = true;
        question->scope = is_generate ? HF_SCOPE_KEYS_GENERATE : HF_SCOPE_KEYS_IMPORT;
    } else if (header->type == HF_MSG_SEALED_CHANGE) {
        const hf_msg_sealed_change *change = frame;
        static const uint8_t zeros[HF_SEALED_NAME_BYTES - HF_ADDRESS_BYTES];
        bool is_bls = !hf_bytes_equal(change->name + HF_ADDRESS_BYTES, zeros, sizeof zeros);
        question->is_sealed = true;
        question->name = key_of_name(change->name, is_bls);
        question->scope =
            change->action == HF_SEALED_DELETE ? HF_SCOPE_KEYS_DELETE : HF_SCOPE_KEYS_CHANGE;
    }
}

void hf_seal_keys_frame(hf_keeper *keeper, hf_peer *peer, const void *frame, int *fd)
{
    const hf_frame_header *header = frame;
    const hf_seal_room *room = &keeper->seal;
    if (!hf_seal_state_can_sign(room->state)) {
        hf_peer_send_result(keeper, peer, header->request_id, HF_REASON_SEALED, 0, "");
    } else if (room->is_loading || room->is_rotating || room->has_next) {
        hf_peer_send_result(keeper, peer, header->request_id, HF_REASON_BUSY, 0,
                            "the records are being read or sealed anew");
    } else if (header->type == HF_MSG_SEALED_ADD) {
        on_add(keeper, peer, frame, fd);
    } else if (header->type == HF_MSG_SEALED_CHANGE) {
        on_change(keeper, peer, frame);
    } else if (header->type == HF_MSG_SEALED_LIST) {
        on_list(keeper, peer, frame);
    } else {
        hf_meter_add(&keeper->meter.now.bad_frames, 1);
    }
}

/* ---- what the store answered --------------------------------------------------------------------
 */

static void failed(hf_keeper *keeper, hf_seal_task *task)
{
    hf_reason reason =
        task->status.code == HF_CONFLICT ? HF_REASON_BUSY : HF_REASON_STORE_UNAVAILABLE;
    hf_log(HF_LOG_UNUSUAL, "seal_not_kept", "%s", task->err.msg);
    if (task->asker != NULL) {
        hf_peer_send_result(keeper, task->asker, task->request_id, reason, HF_KEY_ERROR,
                            task->err.msg);
    }
    if (task->aim == HF_SEAL_AIM_ROTATE) {
        hf_seal_rotate_later(keeper);
    } else if (task->status.code == HF_CONFLICT) {
        (void)hf_seal_task_start(keeper,
                                 hf_seal_task_new(HF_SEAL_TASK_READ, HF_SEAL_AIM_REREAD, NULL, 0));
    }
}

void hf_seal_keys_written(hf_keeper *keeper, hf_seal_task *task)
{
    hf_seal_room *room = &keeper->seal;
    if (hf_failed(task->status)) {
        failed(keeper, task);
    } else if (task->aim == HF_SEAL_AIM_ADD) {
        added(keeper, task);
    } else if (task->aim == HF_SEAL_AIM_CHANGE && task->kind == HF_SEAL_TASK_READ) {
        change_read(keeper, task);
    } else if (task->aim == HF_SEAL_AIM_CHANGE) {
        changed(keeper, task);
    } else if (task->kind == HF_SEAL_TASK_READ) {
        hf_seal_rotation_read(keeper, task);
    } else {
        hf_seal_take_manifest(room, task);
    }
}
