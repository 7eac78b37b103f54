/* One keystore handed over by the key manager API: opened, offered to the keeper, kept on disk. */
#include "loader_internal.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#define IMPORT_REQUEST 1 /* the request id of the one KEY that is sent */

static hf_status read_import(hf_buf **ret_blob, hf_error *err)
{
    if (lseek(HF_FD_IMPORT, 0, SEEK_SET) != 0) {
        return hf_fail(err, HF_IO, "the import: %s", strerror(errno));
    }
    return hf_file_read_fd(HF_FD_IMPORT, "the import", HF_IMPORT_MAX_BYTES, ret_blob, err);
}

static hf_status open_import(const hf_loader *loader, hf_bls_key *ret_key, hf_error *err)
{
    const hf_keystore_limits limits = {loader->budget.total_bytes};
    hf_buf *blob = NULL;
    hf_bytes json = {NULL, 0};
    hf_bytes password = {NULL, 0};
    hf_status st = read_import(&blob, err);
    if (!hf_failed(st)) {
        st = hf_custody_split_import(hf_bytes_from(hf_buf_peek(blob), hf_buf_len(blob)), &json,
                                     &password, err);
    }
    if (!hf_failed(st)) {
        st = hf_keystore_decrypt(json, password, &limits, ret_key, err);
    }
    hf_buf_free(blob);
    return st;
}

/* The file that the key will live in; its stamp is not known before it is written. */
static hf_status describe(const hf_loader *loader, const hf_bls_key *key, char path[PATH_MAX],
                          hf_key_file *ret_file, hf_error *err)
{
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    hf_bls_pubkey(key, pubkey);
    hf_status st = hf_custody_imported_path(loader->config.imported_dir, pubkey, path, PATH_MAX);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "%s: path too long", loader->config.imported_dir);
    }
    *ret_file =
        (hf_key_file){.backend = HF_BACKEND_IMPORTED, .source = HF_SOURCE_NONE, .path = path};
    hf_custody_source_id(path, 0, ret_file->source_id);
    return hf_ok();
}

/* Offers the key; true when the keeper wants it kept (it is no duplicate). */
static hf_status offer(const hf_key_file *file, const hf_bls_key *key, bool *ret_is_wanted,
                       hf_error *err)
{
    hf_msg_result answer;
    hf_opened_key opened = {.type = HF_KEY_TYPE_BLS};
    hf_bls_key_to_bytes(key, opened.secret);
    hf_status st = hf_loader_send_key(file, &opened);
    hf_wipe(&opened, sizeof opened);
    if (!hf_failed(st)) {
        st = hf_loader_receive(HF_CHANNEL_IMPORT, HF_MSG_RESULT, IMPORT_REQUEST, &answer);
    }
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "the keeper is gone or does not answer");
    }
    *ret_is_wanted = answer.reason == HF_REASON_OK && answer.value == HF_KEY_IMPORTED;
    return st;
}

static hf_status import(const hf_loader *loader, hf_error *err)
{
    char path[PATH_MAX];
    hf_bls_key key = {.scalar = {0}};
    hf_key_file file = {.backend = HF_BACKEND_IMPORTED};
    hf_msg_plain persisted;
    bool is_wanted = false;
    hf_status st = open_import(loader, &key, err);
    if (!hf_failed(st)) {
        st = describe(loader, &key, path, &file, err);
    }
    if (!hf_failed(st)) {
        st = offer(&file, &key, &is_wanted, err);
    }
    if (hf_failed(st) || !is_wanted) {
        goto out;
    }
    st = hf_custody_keep(loader->config.imported_dir, &key, err);
    if (hf_failed(st)) {
        goto out;
    }
    hf_frame_init(&persisted, HF_MSG_KEY_PERSISTED, IMPORT_REQUEST);
    st = hf_loader_send(&persisted);
    if (hf_failed(st)) {
        st = hf_fail(err, st.code, "the keeper is gone");
    }
out:
    hf_wipe(&key, sizeof key);
    return st;
}

hf_status hf_loader_import(hf_loader *loader, hf_error *err)
{
    static const uint8_t no_source[HF_SOURCE_ID_LEN] = {0};
    hf_error why = {HF_OK, ""};
    hf_buf *password = NULL;
    hf_loader_limit_time(hf_loader_file_seconds(loader));
    /* Made before the sandbox closes, which cannot lock a folder. */
    hf_status st = hf_custody_machine_password(loader->config.imported_dir, &password, &why);
    hf_buf_free(password);
    if (!hf_failed(st)) {
        st = hf_loader_close_sandbox(loader, err);
        if (hf_failed(st)) {
            return st;
        }
        st = import(loader, &why);
    }
    if (hf_failed(st)) {
        st = hf_loader_send_failure(no_source, "imported keystore", why.msg);
    }
    return hf_failed(st) ? hf_fail(err, st.code, "the keeper is gone or does not answer") : st;
}
