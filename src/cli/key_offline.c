/* holdfast key list: the keys that the files of a configuration name. Nothing is decrypted. */
#include "custody/awskms.h"
#include "custody/wrapped_key.h"
#include "key_list.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

static hf_key_row row_of(const hf_key_source *source)
{
    return (hf_key_row){.type = "BLS",
                        .backend = hf_key_backend_name((hf_key_backend)source->backend),
                        .place = source->place};
}

static void note_unknown(const hf_key_source *source, const char *what)
{
    (void)hf_cli_complain(HF_EXIT_DONE, "signing_keys[%u]: %s: %s known while the signer runs",
                          source->place, hf_key_backend_name((hf_key_backend)source->backend),
                          what);
}

/* ---- key files --------------------------------------------------------------------------------
 */

/* A keystore that a document names states its key; a raw key, a mnemonic or what a server has is
 * not looked at. */
static bool list_documents(const hf_key_file *file, const hf_key_row *row, hf_key_listing *out)
{
    static hf_key_facts facts[HF_KEY_DOCUMENTS_MAX]; /* large; one thread */
    bool is_all = true;
    size_t count = hf_custody_survey(file, facts);
    for (size_t i = 0; i < count; i++) {
        bool is_mnemonic = strcmp(facts[i].keystore_path, facts[i].password_path) == 0;
        if (facts[i].keystore_path[0] != '\0' && !is_mnemonic) {
            hf_cli_key_list_keystore(out, facts[i].keystore_path, row);
        } else {
            is_all = false;
        }
    }
    return is_all;
}

static void list_files(const hf_key_source *source, hf_key_listing *out)
{
    hf_key_list list = {NULL, 0, 0};
    hf_error err = {0};
    bool is_all = true;
    const hf_key_row row = row_of(source);
    if (hf_failed(hf_custody_list(source, &list, &err))) {
        (void)hf_cli_report(&err);
        out->failures++;
    }
    for (size_t i = 0; i < list.count; i++) {
        if (source->backend == HF_BACKEND_WEB3SIGNER) {
            is_all = list_documents(&list.files[i], &row, out) && is_all;
        } else {
            hf_cli_key_list_keystore(out, list.files[i].path, &row);
        }
    }
    if (!is_all) {
        note_unknown(source, "raw keys, mnemonics and secrets of servers are");
    }
    hf_key_list_done(&list);
}

/* ---- wrapped keys -----------------------------------------------------------------------------
 */

static hf_status name_wrapped(const char *path, hf_key_row *row, hf_error *err)
{
    static hf_wrapped_key key; /* large; one thread */
    hf_buf *text = NULL;
    hf_status st = hf_file_read(path, HF_WRAPPED_KEY_TEXT_MAX, &text, err);
    if (!hf_failed(st)) {
        st = hf_wrapped_key_parse(hf_bytes_from(hf_buf_peek(text), hf_buf_len(text)), &key, err);
    }
    if (!hf_failed(st)) {
        hf_hex_encode(key.pubkey, sizeof key.pubkey, row->hex);
    }
    hf_buf_free(text);
    return st;
}

static hf_status name_kms(const char *path, hf_key_row *row, hf_error *err)
{
    uint8_t public_key[HF_CUSTODY_PUBLIC_MAX];
    uint8_t address[HF_ADDRESS_BYTES];
    uint32_t len = 0;
    hf_custody_type type = HF_CUSTODY_BLS;
    hf_status st = hf_awskms_name_file(path, &type, public_key, &len, err);
    if (hf_failed(st)) {
        return st;
    }
    row->is_address = type == HF_CUSTODY_SECP256K1;
    if (row->is_address) {
        row->type = "SECP256K1";
        hf_secp256k1_address(public_key + 1, address);
        hf_hex_encode(address, sizeof address, row->hex);
    } else {
        row->type = type == HF_CUSTODY_BLS ? "BLS" : "ED25519";
        HF_ASSERT(len <= HF_BLS_PUBKEY_BYTES);
        hf_hex_encode(public_key, len, row->hex);
    }
    return st;
}

static void list_blob(const hf_key_source *source, const char *path, hf_key_listing *out)
{
    hf_error err = {0};
    hf_key_row row = row_of(source);
    row.file = path;
    hf_status st = source->backend == HF_BACKEND_AWS_KMS ? name_kms(path, &row, &err)
                                                         : name_wrapped(path, &row, &err);
    if (hf_failed(st)) {
        (void)hf_cli_complain(HF_EXIT_FAILED, "%s: %s", path, err.msg);
        out->failures++;
    } else {
        hf_cli_key_list_row(out, &row);
    }
}

static void list_blobs(const hf_key_source *source, const char *folder, hf_key_listing *out)
{
    const char *suffix =
        source->backend == HF_BACKEND_AWS_KMS ? HF_AWSKMS_SUFFIX : HF_WRAPPED_KEY_SUFFIX;
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, NULL, alphasort);
    if (count < 0) {
        (void)hf_cli_complain(HF_EXIT_FAILED, "%s: %s", folder, strerror(errno));
        out->failures++;
    }
    for (int i = 0; i < count; i++) {
        char path[HF_PATH_LEN];
        if (hf_str_has_suffix(entries[i]->d_name, suffix) &&
            !hf_failed(hf_str_format(path, sizeof path, "%s/%s", folder, entries[i]->d_name))) {
            list_blob(source, path, out);
        }
        free(entries[i]);
    }
    free(entries);
}

static void list_custody(const hf_custody_source *custody, const hf_key_source *source,
                         hf_key_listing *out)
{
    const char *folder = hf_custody_setting(&custody->settings, "blob_dir");
    if (folder[0] != '\0') {
        list_blobs(source, folder, out);
    }
    note_unknown(source,
                 folder[0] != '\0' ? "other keys than those of blob_dir are" : "its keys are");
}

/* ---- all ------------------------------------------------------------------------------------ */

void hf_cli_key_list_offline(const hf_config *config, hf_key_listing *out)
{
    for (uint32_t i = 0; i < config->key_source_count; i++) {
        hf_key_source numbered = config->key_sources[i];
        const hf_key_source *source = &numbered;
        numbered.place = i;
        if (source->backend == HF_BACKEND_SEALED) {
            note_unknown(source, "its keys are");
        } else if (!hf_key_backend_is_custody(source->backend)) {
            list_files(source, out);
        }
        for (uint32_t k = 0; k < config->custody_count; k++) {
            if (hf_key_backend_is_custody(config->custodies[k].backend) &&
                config->custodies[k].source == source->place) {
                list_custody(&config->custodies[k], source, out);
            }
        }
    }
}
