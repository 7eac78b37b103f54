/* holdfast key list, delete: which keys are in a folder or a signer. */
#include "key_list.h"
#include "key_sealed.h"

#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMPORTED_FOLDER "imported"

/* ---- list ---------------------------------------------------------------------------------- */

static json_t *row_to_json(const hf_key_row *row)
{
    json_t *object = json_pack("{s:s+}", row->is_address ? "address" : "pubkey", "0x", row->hex);
    if (row->type != NULL) {
        (void)json_object_set_new(object, "type", json_string(row->type));
    }
    if (row->backend != NULL) {
        (void)json_object_set_new(object, "backend", json_string(row->backend));
    }
    if (row->backend != NULL && row->place != HF_SOURCE_NONE) {
        (void)json_object_set_new(object, "place", json_integer(row->place));
    }
    if (row->file != NULL) {
        (void)json_object_set_new(object, "file", hf_cli_key_path_to_json(row->file));
    }
    if (row->process != NULL) {
        (void)json_object_set_new(object, "healthy", json_boolean(row->process->healthy != 0));
    }
    return object;
}

/* "0xPUBKEY  pkcs11[1]  healthy"; where the back end is not to be said: "0xPUBKEY  path". */
static void print_row(const hf_key_row *row)
{
    (void)printf("0x%s", row->hex);
    if (row->backend != NULL && row->place != HF_SOURCE_NONE) {
        (void)printf("  %s[%u]", row->backend, row->place);
    } else if (row->backend != NULL) {
        (void)printf("  %s", row->backend);
    }
    if (row->file != NULL) {
        char plain[HF_PATH_LEN];
        hf_str_sanitize(plain, sizeof plain, row->file);
        (void)printf("  %s", plain);
    }
    if (row->process != NULL) {
        (void)printf("  %s", row->process->healthy != 0 ? "healthy" : "not healthy");
    }
    (void)printf("\n");
}

void hf_cli_key_list_row(hf_key_listing *out, const hf_key_row *row)
{
    if (out->array == NULL) {
        print_row(row);
    } else {
        (void)json_array_append_new(out->array, row_to_json(row));
    }
}

/* The public key of a BLS key, the address of an Ethereum account. */
static hf_status read_name(hf_bytes json, hf_key_row *row, hf_error *err)
{
    uint8_t bytes[HF_BLS_PUBKEY_BYTES];
    row->is_address = hf_keystore_is_v3(json);
    hf_status st = row->is_address ? hf_keystore_v3_address(json, bytes, err)
                                   : hf_keystore_pubkey(json, bytes, err);
    if (!hf_failed(st)) {
        hf_hex_encode(bytes, row->is_address ? HF_ADDRESS_BYTES : HF_BLS_PUBKEY_BYTES, row->hex);
    }
    return st;
}

/* Files that are no keystore at all are passed over, as the signer does. */
void hf_cli_key_list_keystore(hf_key_listing *out, const char *path, const hf_key_row *row)
{
    hf_error err = {0};
    hf_buf *json = NULL;
    hf_key_row found = *row;
    hf_status st = hf_file_read(path, HF_KEYSTORE_MAX_BYTES, &json, &err);
    if (hf_failed(st)) {
        (void)hf_cli_report(&err);
        out->failures++;
        return;
    }
    hf_bytes bytes = hf_bytes_from(hf_buf_peek(json), hf_buf_len(json));
    st = read_name(bytes, &found, &err);
    if (!hf_failed(st)) {
        found.file = path;
        found.type = row->type != NULL && found.is_address ? "SECP256K1" : row->type;
        hf_cli_key_list_row(out, &found);
    } else if (!hf_custody_is_foreign(bytes)) {
        (void)hf_cli_complain(HF_EXIT_FAILED, "%s: %s", path, err.msg);
        out->failures++;
    }
    hf_buf_free(json);
}

static void list_all(const hf_key_list *list, const hf_key_row *row, hf_key_listing *out)
{
    for (size_t i = 0; i < list->count; i++) {
        hf_cli_key_list_keystore(out, list->files[i].path, row);
    }
}

static hf_status list_folder(const char *place, hf_key_listing *out, hf_error *err)
{
    hf_key_list list = {NULL, 0, 0};
    const hf_key_row row = {.place = HF_SOURCE_NONE};
    hf_status st = hf_cli_key_find_keystores(place, NULL, &list, err);
    list_all(&list, &row, out);
    hf_key_list_done(&list);
    return st;
}

static hf_status list_imported(const char *data_dir, hf_key_listing *out, hf_error *err)
{
    hf_key_list list = {NULL, 0, 0};
    hf_key_source source = {.backend = HF_BACKEND_IMPORTED};
    const hf_key_row row = {.type = "BLS",
                            .backend = hf_key_backend_name(HF_BACKEND_IMPORTED),
                            .place = HF_SOURCE_NONE};
    if (hf_failed(hf_str_format(source.dir, sizeof source.dir, "%s/" IMPORTED_FOLDER, data_dir))) {
        return hf_fail(err, HF_USAGE, "--data-dir: path too long");
    }
    hf_status st = hf_custody_list(&source, &list, err);
    list_all(&list, &row, out);
    hf_key_list_done(&list);
    return st;
}

static hf_status list_configured(const hf_config_flags *flags, hf_key_listing *out, hf_error *err)
{
    hf_config *config = calloc(1, sizeof *config);
    hf_status st = config == NULL ? hf_fail(err, HF_NOMEM, "out of memory")
                                  : hf_config_load(flags, config, err);
    if (!hf_failed(st)) {
        hf_cli_key_list_offline(config, out);
    }
    free(config);
    return st;
}

/* Of a running signer what it has, of a stopped one what its files say. */
static hf_status list_signer(const hf_config_flags *flags, hf_key_listing *out, hf_error *err)
{
    char data_dir[HF_PATH_LEN];
    hf_admin *admin = NULL;
    hf_status st = hf_cli_key_data_dir(flags, data_dir, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_admin_connect(data_dir, &admin, err);
    if (st.code == HF_NOT_FOUND) {
        st = list_imported(data_dir, out, err);
        return hf_failed(st) || flags->file == NULL ? st : list_configured(flags, out, err);
    }
    if (!hf_failed(st)) {
        st = hf_cli_key_list_running(admin, out, err);
    }
    hf_admin_close(admin);
    return st;
}

static int run_list(const char *dir, const hf_config_flags *flags, bool as_json)
{
    hf_error err = {0};
    hf_key_listing out = {.array = as_json ? json_array() : NULL};
    hf_status st;
    if (dir != NULL && (flags->data_dir != NULL || flags->file != NULL)) {
        st =
            hf_fail(&err, HF_USAGE, "a folder or a signer, not both; see holdfast key list --help");
    } else {
        st = dir != NULL ? list_folder(dir, &out, &err) : list_signer(flags, &out, &err);
    }
    if (!hf_failed(st) && as_json && json_dumpf(out.array, stdout, JSON_INDENT(2)) == 0) {
        (void)printf("\n");
    }
    json_decref(out.array);
    if (hf_failed(st)) {
        return hf_cli_report(&err);
    }
    return out.failures == 0 ? HF_EXIT_DONE : HF_EXIT_FAILED;
}

int hf_cli_key_list(int argc, char **argv)
{
    hf_config_flags flags = {0};
    bool json = false;
    const char *backend = NULL;
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        {.name = "backend",
         .argument = "NAME",
         .help = "sealed: the sealed keys of a running signer, inactive ones too",
         .text = &backend},
        {.name = "json", .help = "print them as JSON", .on = &json},
    };
    const hf_cli_command command = {
        .name = "key list",
        .arguments = "[DIR]",
        .summary = "Lists the public keys of a folder of keystores, or of a signer.",
        .details =
            "Of a running signer: every key that it can sign with, of which back end, at "
            "which place in\nsigning_keys, and how that back end is. Of a stopped one: what its "
            "files say (with -c those of\nits signing_keys too). Nothing is decrypted; of "
            "secp256k1 keys the list has the address.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options),
        .most = 1};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    if (status != HF_CLI_GO) {
        return status;
    }
    const char *dir = first < argc ? argv[first] : NULL;
    if (backend == NULL) {
        return run_list(dir, &flags, json);
    }
    return dir != NULL || !hf_cli_key_is_sealed(backend)
               ? hf_cli_complain(HF_EXIT_USAGE, "--backend: it is sealed, without a folder")
               : hf_cli_sealed_list(&flags, json);
}

/* ---- delete -------------------------------------------------------------------------------- */

/* Durable: a key that came back after a power cut might sign here while it signs elsewhere. */
static hf_status unlink_durably(const char *folder, const char *path, hf_error *err)
{
    hf_status st = {HF_OK};
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || unlink(path) != 0 || fsync(fd) != 0) {
        st = hf_fail(err, HF_IO, "%s: %s", path, strerror(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return st;
}

/* Under the lock that a signer holds while it runs. */
static hf_status delete_locked(const char *data_dir, const char *folder, const char *path,
                               hf_error *err)
{
    int lock = -1;
    hf_status st = hf_data_dir_lock(data_dir, &lock, err);
    if (st.code == HF_CONFLICT) {
        return hf_fail(err, HF_CONFLICT,
                       "the signer is running and would go on signing with the key: use its key "
                       "manager API (DELETE /eth/v1/keystores), or stop it first");
    }
    if (!hf_failed(st)) {
        st = unlink_durably(folder, path, err);
    }
    if (lock >= 0) {
        (void)close(lock);
    }
    return st;
}

static hf_status delete_key(const hf_config_flags *flags, const char *text, hf_error *err)
{
    char data_dir[HF_PATH_LEN];
    char imported[HF_PATH_LEN];
    char path[HF_PATH_LEN];
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    struct stat info;
    if (hf_failed(hf_hex_decode(text, strlen(text), pubkey, sizeof pubkey))) {
        return hf_fail(err, HF_USAGE, "a public key is 48 bytes in hex");
    }
    hf_status st = hf_cli_key_data_dir(flags, data_dir, err);
    if (hf_failed(st)) {
        return st;
    }
    if (hf_failed(hf_str_format(imported, sizeof imported, "%s/" IMPORTED_FOLDER, data_dir)) ||
        hf_failed(hf_custody_imported_path(imported, pubkey, path, sizeof path))) {
        return hf_fail(err, HF_USAGE, "--data-dir: path too long");
    }
    if (lstat(path, &info) != 0) {
        return errno == ENOENT
                   ? hf_fail(err, HF_NOT_FOUND, "no imported key of that name in %s", data_dir)
                   : hf_fail(err, HF_IO, "%s: %s", path, strerror(errno));
    }
    return delete_locked(data_dir, imported, path, err);
}

int hf_cli_key_delete(int argc, char **argv)
{
    hf_config_flags flags = {0};
    const char *backend = NULL;
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        {.name = "backend",
         .argument = "NAME",
         .help = "sealed: a sealed key, of a running signer",
         .text = &backend},
    };
    const hf_cli_command command = {
        .name = "key delete",
        .arguments = "PUBKEY",
        .summary = "Takes an imported key from a stopped signer.",
        .details = "Its slashing protection history stays: before the key signs elsewhere, take it "
                   "along with\n`holdfast slashing export`. A running signer deletes by its key "
                   "manager API\n(DELETE /eth/v1/keystores), which stops the key first and hands "
                   "the history over.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options),
        .least = 1,
        .most = 1};
    hf_error err = {0};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    if (status != HF_CLI_GO) {
        return status;
    }
    if (backend != NULL) {
        return hf_cli_key_is_sealed(backend)
                   ? hf_cli_sealed_delete(&flags, argv[first])
                   : hf_cli_complain(HF_EXIT_USAGE, "--backend: it is sealed, or not given");
    }
    if (hf_failed(delete_key(&flags, argv[first], &err))) {
        return hf_cli_report(&err);
    }
    (void)printf("deleted; its slashing protection history stays\n");
    return HF_EXIT_DONE;
}
