/*
 * How keys come and go: loads over the configured sources, imports and deletions of the key manager
 * API. All on the intake thread. What a loader says is checked like any other frame: it can bring
 * keys, never name one it does not have (I3).
 */
#include "keeper/keeper_internal.h"
#include "keeper/pulse.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

hf_reason hf_loading_start(hf_keeper *keeper)
{
    hf_loading *loading = &keeper->loading;
    hf_msg_plain frame;
    /* When the files are done, and only back ends are waited for, another load may begin: one that
     * is away keeps nobody from the keys of the others. */
    if (loading->is_running && !loading->has_loaded) {
        return HF_REASON_BUSY;
    }
    hf_frame_init(&frame, HF_MSG_LOAD_WANTED, 0);
    loading->is_running = true;
    loading->has_loaded = false;
    loading->state = HF_RELOAD_RUNNING;
    loading->total = 0;
    loading->done = 0;
    loading->failed = 0;
    loading->error[0] = '\0';
    hf_peer_send(keeper, keeper->control, &frame);
    hf_custody_load(keeper);
    hf_meter_add(&keeper->meter.now.reloads, 1);
    return HF_REASON_OK;
}

void hf_loading_publish(hf_keeper *keeper)
{
    for (size_t i = 0; i < HF_BACKEND_COUNT; i++) {
        hf_meter_set(&keeper->meter.now.keys_loaded[i], keeper->ring.by_backend[i]);
    }
}

void hf_loading_note_failure(hf_keeper *keeper, const char *name, const char *detail)
{
    hf_loading *loading = &keeper->loading;
    loading->failed++;
    hf_meter_add(&keeper->meter.now.keys_failed, 1);
    if (loading->error[0] == '\0') {
        (void)snprintf(loading->error, sizeof loading->error, "%.64s: %.90s", name, detail);
    }
    hf_log(HF_LOG_UNUSUAL, "key_failed", "%s: %s", name, detail);
}

static void end_load(hf_keeper *keeper, hf_reload_state state)
{
    hf_loading *loading = &keeper->loading;
    loading->is_running = false;
    loading->loader = NULL;
    loading->state = state;
    loading->finished_unix_ms = hf_time_unix_ms();
    hf_loading_publish(keeper);
    if (!loading->first_done && keeper->config.require_all_keys && state != HF_RELOAD_COMPLETED) {
        hf_log(HF_LOG_BROKEN, "start_refused",
               "require_all_keys is set and %u key files failed, the first: %s", loading->failed,
               loading->error);
        keeper->failed = true;
        keeper->stopping = true;
    }
    loading->first_done = true;
}

void hf_loading_settle_custody(hf_keeper *keeper)
{
    hf_loading *loading = &keeper->loading;
    if (loading->is_running && loading->has_loaded && !hf_custody_is_awaited(keeper)) {
        end_load(keeper,
                 loading->failed == 0 ? HF_RELOAD_COMPLETED : HF_RELOAD_COMPLETED_WITH_ERRORS);
    }
}

static void finish_load(hf_keeper *keeper)
{
    hf_loading *loading = &keeper->loading;
    size_t dropped = hf_keyring_load_end(&keeper->ring);
    loading->has_loaded = true;
    loading->loader = NULL;
    if (dropped > 0) {
        hf_custody_list_again(keeper);
    }
    hf_loading_settle_custody(keeper);
    hf_log(
        loading->failed == 0 ? HF_LOG_INFO : HF_LOG_UNUSUAL, "keys_loaded",
        "%zu keys are loaded; %u files failed, %zu keys were dropped because their files are gone",
        keeper->ring.count, loading->failed, dropped);
    hf_auditor_note(keeper, HF_AUDIT_KEYS_LOADED, NULL, loading->failed == 0 ? "done" : "failed",
                    "%zu keys are loaded; %u files failed, %zu keys were dropped",
                    keeper->ring.count, loading->failed, dropped);
    if (dropped > 0 && hf_keyring_uncover(&keeper->ring)) {
        (void)hf_loading_start(keeper); /* another file may have one of them */
    }
}

static void take_key(hf_keeper *keeper, const hf_msg_key *frame)
{
    hf_key *key = NULL;
    char name[2 * HF_SOURCE_ID_LEN + 1];
    if (hf_keyring_source_is_deleted(&keeper->ring, frame->source_id)) {
        return; /* it was read before (I5) */
    }
    hf_hex_encode(frame->source_id, HF_SOURCE_ID_LEN, name);
    hf_status st = hf_key_new(&keeper->ring, frame, &key);
    if (hf_failed(st)) {
        hf_loading_note_failure(keeper, name,
                                st.code == HF_LIMIT ? "there are more keys than max_keys"
                                                    : "not a secret key of its type");
        return;
    }
    hf_keyring_source_loaded(&keeper->ring, frame);
    char key_name[HF_KEY_NAME_LEN];
    hf_key_name(key, key_name);
    bool is_twice = hf_keyring_has_twin(&keeper->ring, key);
    st = hf_keyring_add(&keeper->ring, key);
    if (is_twice) {
        hf_log(HF_LOG_UNUSUAL, "key_twice", "%s is in more than one file; it is loaded once",
               key_name);
    } else if (st.code == HF_LIMIT) {
        hf_loading_note_failure(keeper, name, "there are more keys than max_keys");
    }
    hf_loading_publish(keeper);
}

static void answer_source(hf_keeper *keeper, hf_peer *peer, const hf_msg_source *frame)
{
    hf_msg_source_reply reply = {.known = hf_keyring_source_known(&keeper->ring, frame)};
    keeper->loading.done += reply.known;
    hf_frame_init(&reply, HF_MSG_SOURCE_REPLY, frame->header.request_id);
    hf_peer_send(keeper, peer, &reply);
}

static void take_failure(hf_keeper *keeper, const hf_msg_key_failed *frame)
{
    char name[sizeof frame->name];
    char detail[sizeof frame->detail];
    (void)snprintf(name, sizeof name, "%.*s", (int)sizeof frame->name - 1, frame->name);
    (void)snprintf(detail, sizeof detail, "%.*s", (int)sizeof frame->detail - 1, frame->detail);
    hf_loading_note_failure(keeper, name, detail);
}

void hf_loading_frame(hf_keeper *keeper, hf_peer *peer, const void *frame)
{
    hf_loading *loading = &keeper->loading;
    const hf_frame_header *header = frame;
    if (header->type == HF_MSG_LOAD_BEGIN && loading->loader == NULL && loading->is_running) {
        loading->loader = peer;
        loading->total = ((const hf_msg_load_count *)frame)->count;
        hf_keyring_load_begin(&keeper->ring);
        return;
    }
    if (loading->loader != peer) {
        hf_meter_add(&keeper->meter.now.bad_frames, 1);
        return;
    }
    if (header->type == HF_MSG_SOURCE) {
        answer_source(keeper, peer, frame);
    } else if (header->type == HF_MSG_KEY) {
        loading->done++;
        take_key(keeper, frame);
    } else if (header->type == HF_MSG_KEY_FAILED) {
        loading->done++;
        take_failure(keeper, frame);
    } else if (header->type == HF_MSG_LOAD_DONE) {
        peer->has_loaded = true;
        finish_load(keeper);
    }
}

/* ---- imports --------------------------------------------------------------------------------- */

static void end_import(hf_keeper *keeper, hf_key_import *import, hf_key_outcome outcome,
                       const char *detail)
{
    if (outcome == HF_KEY_ERROR) {
        hf_auditor_note(keeper, HF_AUDIT_KEY_IMPORTED, &import->pass, "failed", "%s", detail);
    }
    hf_peer_send_result(keeper, import->asker, import->request_id, HF_REASON_OK, outcome, detail);
    hf_peer_unref(keeper, import->asker);
    hf_key_free(&keeper->ring, import->key);
    *import = (hf_key_import){0};
}

void hf_loading_import(hf_keeper *keeper, hf_peer *peer, uint64_t request_id, bool is_sealed,
                       int take_fd)
{
    hf_loading *loading = &keeper->loading;
    hf_key_import *import = NULL;
    for (size_t i = 0; i < HF_IMPORTS_MAX && import == NULL; i++) {
        import = loading->imports[i].session == 0 ? &loading->imports[i] : NULL;
    }
    if (import == NULL) {
        hf_peer_send_result(keeper, peer, request_id, HF_REASON_OVERLOADED, HF_KEY_ERROR,
                            "too many imports under way");
        goto out;
    }
    import->session = ++loading->last_session;
    import->asker = peer;
    import->request_id = request_id;
    import->is_sealed = is_sealed;
    import->pass = keeper->asker;
    hf_peer_ref(peer);
    hf_msg_plain wanted;
    hf_frame_init(&wanted, HF_MSG_IMPORT_WANTED, import->session);
    if (hf_failed(hf_frame_send_fd(keeper->control->fd, &wanted, take_fd))) {
        end_import(keeper, import, HF_KEY_ERROR, "no loader could be started");
    }
out:
    (void)close(take_fd);
}

static hf_key_import *find_import(hf_loading *loading, uint64_t session)
{
    for (size_t i = 0; i < HF_IMPORTS_MAX; i++) {
        if (session != 0 && loading->imports[i].session == session) {
            return &loading->imports[i];
        }
    }
    return NULL;
}

static void take_imported(hf_keeper *keeper, hf_peer *peer, hf_key_import *import,
                          const hf_msg_key *frame)
{
    hf_key *key = NULL;
    /* The key manager API knows BLS keys and no others. */
    if (import->key != NULL || frame->key_type != HF_KEY_TYPE_BLS ||
        hf_failed(hf_key_new(&keeper->ring, frame, &key))) {
        end_import(keeper, import, HF_KEY_ERROR, "the key cannot be used");
        hf_peer_hang_up(keeper, peer);
        return;
    }
    if (import->is_sealed) { /* for the loader that is all: it keeps no file of it */
        hf_peer_send_result(keeper, peer, frame->header.request_id, HF_REASON_OK, HF_KEY_DUPLICATE,
                            "");
        import->key = key;
        return;
    }
    bool is_known = hf_keyring_find(&keeper->ring, key->pubkey) != NULL;
    hf_peer_send_result(keeper, peer, frame->header.request_id, HF_REASON_OK,
                        is_known ? HF_KEY_DUPLICATE : HF_KEY_IMPORTED, "");
    if (is_known) {
        hf_key_free(&keeper->ring, key);
        end_import(keeper, import, HF_KEY_DUPLICATE, "");
        return;
    }
    key->backend = HF_BACKEND_IMPORTED;
    import->key = key;
    hf_keyring_source_loaded(&keeper->ring, frame);
}

static void activate_imported(hf_keeper *keeper, hf_key_import *import)
{
    hf_key *key = import->key;
    import->key = NULL;
    if (key == NULL) {
        end_import(keeper, import, HF_KEY_ERROR, "the loader kept no key");
        return;
    }
    char pubkey[2 * HF_BLS_PUBKEY_BYTES + 1];
    uint8_t import_pubkey[HF_BLS_PUBKEY_BYTES]; /* the ring owns the key from here on */
    memcpy(import_pubkey, key->pubkey, sizeof import_pubkey);
    hf_hex_encode(key->pubkey, HF_BLS_PUBKEY_BYTES, pubkey);
    hf_status st = hf_keyring_add(&keeper->ring, key);
    hf_loading_publish(keeper);
    if (st.code == HF_LIMIT) {
        end_import(keeper, import, HF_KEY_ERROR, "there are more keys than max_keys");
        return;
    }
    hf_log(HF_LOG_INFO, "key_imported", "0x%s", pubkey);
    hf_auditor_note_key(keeper, HF_AUDIT_KEY_IMPORTED, &import->pass, import_pubkey, "done", "");
    end_import(keeper, import, hf_failed(st) ? HF_KEY_DUPLICATE : HF_KEY_IMPORTED, "");
}

hf_key_import *hf_loading_sealed_next(hf_keeper *keeper)
{
    hf_loading *loading = &keeper->loading;
    for (size_t i = 0; i < HF_IMPORTS_MAX; i++) {
        hf_key_import *import = &loading->imports[i];
        if (import->session != 0 && import->is_sealed && import->key != NULL) {
            return import;
        }
    }
    return NULL;
}

void hf_loading_sealed_end(hf_keeper *keeper, hf_key_import *import, const char *failure)
{
    if (failure != NULL) {
        end_import(keeper, import, HF_KEY_ERROR, failure);
        return;
    }
    hf_peer_unref(keeper, import->asker); /* is answered when the record is kept */
    hf_key_free(&keeper->ring, import->key);
    *import = (hf_key_import){0};
}

void hf_loading_import_frame(hf_keeper *keeper, hf_peer *peer, const void *frame)
{
    const hf_frame_header *header = frame;
    hf_key_import *import = find_import(&keeper->loading, peer->tag);
    bool is_done = import != NULL && import->is_sealed && import->key != NULL;
    if (import == NULL || is_done || (import->loader != NULL && import->loader != peer)) {
        hf_meter_add(&keeper->meter.now.bad_frames, 1);
        return;
    }
    import->loader = peer;
    if (header->type == HF_MSG_KEY) {
        take_imported(keeper, peer, import, frame);
    } else if (header->type == HF_MSG_KEY_PERSISTED) {
        activate_imported(keeper, import);
    } else if (header->type == HF_MSG_KEY_FAILED) {
        const hf_msg_key_failed *failure = frame;
        char detail[HF_DETAIL_LEN];
        (void)snprintf(detail, sizeof detail, "%.*s", HF_DETAIL_LEN - 1, failure->detail);
        end_import(keeper, import, HF_KEY_ERROR, detail);
    }
}

void hf_loading_peer_gone(hf_keeper *keeper, hf_peer *peer)
{
    hf_loading *loading = &keeper->loading;
    /* A reload may be wanted while the loader before is still on its way out. */
    if (peer->channel == HF_CHANNEL_LOADER && !peer->has_loaded &&
        (loading->loader == peer || (loading->is_running && loading->loader == NULL))) {
        (void)snprintf(loading->error, sizeof loading->error, "the loader ended early");
        hf_log(HF_LOG_BROKEN, "load_failed", "the loader ended before its work was done");
        end_load(keeper, HF_RELOAD_FAILED);
    }
    hf_key_import *import =
        peer->channel == HF_CHANNEL_IMPORT ? find_import(loading, peer->tag) : NULL;
    if (import != NULL && !(import->is_sealed && import->key != NULL)) {
        end_import(keeper, import, HF_KEY_ERROR, "the loader ended before its work was done");
    }
}

/* ---- deletions ------------------------------------------------------------------------------- */

/*
 * Why it cannot be said of a key that is not there that it will not come; NULL when it can. Who
 * deletes a key to use it elsewhere takes "not found" for leave to do so.
 */
static const char *expectation(hf_keeper *keeper, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES])
{
    const hf_loading *loading = &keeper->loading;
    if (loading->is_running || !loading->first_done) {
        return "not loaded, but keys are being loaded just now: ask again when that is over";
    }
    for (size_t i = 0; i < HF_IMPORTS_MAX; i++) {
        const hf_key *key = loading->imports[i].session != 0 ? loading->imports[i].key : NULL;
        if (key != NULL && hf_bytes_equal(key->pubkey, pubkey, HF_BLS_PUBKEY_BYTES)) {
            return "it is being imported just now: ask again when that is over";
        }
    }
    if (hf_seal_has_active(keeper, pubkey)) {
        return "there is a sealed record of it, which is active: delete that";
    }
    return hf_seal_reason_of_absence(keeper) == HF_REASON_SEALED
               ? "not loaded, but this node is sealed, and it may be among the sealed keys"
               : NULL;
}

#define IMPORTED_PATH_LEN (HF_PATH_LEN + 128)

static hf_status imported_path(const hf_keeper *keeper, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES],
                               char ret_path[IMPORTED_PATH_LEN])
{
    char text[2 * HF_BLS_PUBKEY_BYTES + 1];
    hf_hex_encode(pubkey, HF_BLS_PUBKEY_BYTES, text);
    return hf_str_format(ret_path, IMPORTED_PATH_LEN, "%s/imported/0x%s.json",
                         keeper->config.data_dir, text);
}

/* Of a key that is not loaded: its file could not be opened. */
static bool has_file(const hf_keeper *keeper, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES])
{
    char path[IMPORTED_PATH_LEN];
    struct stat info;
    return !hf_failed(imported_path(keeper, pubkey, path)) && lstat(path, &info) == 0;
}

/* The imported key's file, gone for good before the answer. */
static hf_status forget_file(const hf_keeper *keeper, const uint8_t pubkey[HF_BLS_PUBKEY_BYTES])
{
    char path[IMPORTED_PATH_LEN];
    hf_status st = imported_path(keeper, pubkey, path);
    if (hf_failed(st)) {
        return st;
    }
    if (unlink(path) != 0 && errno != ENOENT) {
        return (hf_status){HF_IO};
    }
    st = hf_str_format(path, sizeof path, "%s/imported", keeper->config.data_dir);
    if (hf_failed(st)) {
        return st;
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return synced ? hf_ok() : (hf_status){HF_IO};
}

/* False: answered already, for there is nothing to delete, or it cannot be said yet. */
static bool is_there(hf_keeper *keeper, hf_peer *peer, const hf_msg_pubkey *frame,
                     const hf_key *key)
{
    if (key != NULL || hf_keyring_is_waiting(&keeper->ring, frame->pubkey)) {
        return true;
    }
    const char *doubt = expectation(keeper, frame->pubkey);
    if (doubt == NULL && has_file(keeper, frame->pubkey)) {
        return true;
    }
    hf_peer_send_result(keeper, peer, frame->header.request_id, HF_REASON_OK,
                        doubt != NULL ? HF_KEY_ERROR : HF_KEY_NOT_FOUND,
                        doubt != NULL ? doubt : "");
    return false;
}

void hf_loading_delete(hf_keeper *keeper, hf_peer *peer, const hf_msg_pubkey *frame)
{
    hf_loading *loading = &keeper->loading;
    uint64_t id = frame->header.request_id;
    hf_key *key = hf_keyring_find(&keeper->ring, frame->pubkey);
    if (!is_there(keeper, peer, frame, key)) {
        return;
    }
    if (key != NULL && key->backend != HF_BACKEND_IMPORTED) {
        hf_peer_send_result(keeper, peer, id, HF_REASON_OK, HF_KEY_ERROR,
                            "read-only: the key comes from a configured folder; remove its file "
                            "there and reload");
        return;
    }
    if (loading->deletion_count == HF_DELETIONS_MAX) {
        hf_peer_send_result(keeper, peer, id, HF_REASON_OVERLOADED, HF_KEY_ERROR, "");
        return;
    }
    hf_pulse_to_disk();
    bool has_one = key != NULL || has_file(keeper, frame->pubkey);
    hf_status st = has_one ? forget_file(keeper, frame->pubkey) : hf_ok();
    hf_pulse_from_disk();
    if (hf_failed(st)) {
        hf_peer_send_result(keeper, peer, id, HF_REASON_OK, HF_KEY_ERROR,
                            "its file could not be removed; the key goes on signing");
        return;
    }
    if (key != NULL) {
        hf_keyring_source_deleted(&keeper->ring, key->source_id);
        hf_keyring_remove(&keeper->ring, key); /* I5: no request finds it from here on */
        hf_loading_publish(keeper);
    }
    hf_key_deletion *deletion = &loading->deletions[loading->deletion_count++];
    *deletion = (hf_key_deletion){.asker = peer, .request_id = id, .pass = keeper->asker};
    memcpy(deletion->pubkey, frame->pubkey, HF_BLS_PUBKEY_BYTES);
    hf_peer_ref(peer);
    atomic_store(&keeper->closing, true);
    hf_loading_settle(keeper);
}

void hf_loading_settle(hf_keeper *keeper)
{
    hf_loading *loading = &keeper->loading;
    bool all_gone = hf_keyring_reap(&keeper->ring);
    for (size_t i = loading->deletion_count; i > 0; i--) {
        hf_key_deletion *deletion = &loading->deletions[i - 1];
        if (!all_gone && hf_keyring_is_waiting(&keeper->ring, deletion->pubkey)) {
            continue;
        }
        char pubkey[2 * HF_BLS_PUBKEY_BYTES + 1];
        hf_hex_encode(deletion->pubkey, HF_BLS_PUBKEY_BYTES, pubkey);
        hf_log(HF_LOG_INFO, "key_deleted", "0x%s", pubkey);
        hf_auditor_note_key(keeper, HF_AUDIT_KEY_DELETED, &deletion->pass, deletion->pubkey, "done",
                            "");
        bool is_left = hf_seal_has_active(keeper, deletion->pubkey);
        hf_peer_send_result(keeper, deletion->asker, deletion->request_id, HF_REASON_OK,
                            is_left ? HF_KEY_ERROR : HF_KEY_DELETED,
                            is_left ? "its file is gone, but not its sealed record, which is "
                                      "active: delete that, too"
                                    : "");
        hf_peer_unref(keeper, deletion->asker);
        *deletion = loading->deletions[--loading->deletion_count];
    }
}
