/* holdfast key list, delete: which keys are in a folder or kept by the signer. */
#include "key_internal.h"
#include "key_sealed.h"

#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMPORTED_FOLDER "imported"
#define HEX_CHARS (2 * HF_BLS_PUBKEY_BYTES + 1)

/* ---- list ---------------------------------------------------------------------------------- */

typedef struct listing {
    json_t *array; /* NULL: print lines as they come */
    size_t failures;
} listing;

static hf_status find_keys(const char *place, const hf_config_flags *flags, hf_key_list *list,
                           hf_error *err)
{
    hf_key_source source = {.backend = HF_BACKEND_IMPORTED};
    char data_dir[HF_PATH_LEN];
    if (place != NULL && (flags->data_dir != NULL || flags->file != NULL)) {
        return hf_fail(err, HF_USAGE,
                       "a folder or a signer, not both; see holdfast key list --help");
    }
    if (place != NULL) {
        return hf_cli_key_find_keystores(place, NULL, list, err);
    }
    hf_status st = hf_cli_key_data_dir(flags, data_dir, err);
    if (hf_failed(st)) {
        return st;
    }
    if (hf_failed(hf_str_format(source.dir, sizeof source.dir, "%s/" IMPORTED_FOLDER, data_dir))) {
        return hf_fail(err, HF_USAGE, "--data-dir: path too long");
    }
    return hf_custody_list(&source, list, err);
}

/* The public key of a BLS key, the address of an Ethereum account. */
typedef struct key_name {
    bool is_address;
    char hex[HEX_CHARS];
} key_name;

static hf_status read_name(hf_bytes json, key_name *ret_name, hf_error *err)
{
    uint8_t bytes[HF_BLS_PUBKEY_BYTES];
    ret_name->is_address = hf_keystore_is_v3(json);
    hf_status st = ret_name->is_address ? hf_keystore_v3_address(json, bytes, err)
                                        : hf_keystore_pubkey(json, bytes, err);
    if (!hf_failed(st)) {
        hf_hex_encode(bytes, ret_name->is_address ? HF_ADDRESS_BYTES : HF_BLS_PUBKEY_BYTES,
                      ret_name->hex);
    }
    return st;
}

/* False for files that are no keystore at all and are passed over, as the signer does. */
static bool find_name(const char *path, key_name *ret_name, listing *out)
{
    hf_error err = {0};
    hf_buf *json = NULL;
    bool found = false;
    hf_status st = hf_file_read(path, HF_KEYSTORE_MAX_BYTES, &json, &err);
    if (hf_failed(st)) {
        (void)hf_cli_report(&err);
        out->failures++;
        return false;
    }
    hf_bytes bytes = hf_bytes_from(hf_buf_peek(json), hf_buf_len(json));
    st = read_name(bytes, ret_name, &err);
    if (!hf_failed(st)) {
        found = true;
    } else if (!hf_custody_is_foreign(bytes)) {
        (void)hf_cli_complain(HF_EXIT_FAILED, "%s: %s", path, err.msg);
        out->failures++;
    }
    hf_buf_free(json);
    return found;
}

static void list_one(const hf_key_file *file, listing *out)
{
    key_name name;
    if (!find_name(file->path, &name, out)) {
        return;
    }
    if (out->array == NULL) {
        char plain[HF_PATH_LEN];
        hf_str_sanitize(plain, sizeof plain, file->path);
        (void)printf("0x%s  %s\n", name.hex, plain);
        return;
    }
    (void)json_array_append_new(
        out->array, json_pack("{s:s+, s:o}", name.is_address ? "address" : "pubkey", "0x", name.hex,
                              "file", hf_cli_key_path_to_json(file->path)));
}

static int run_list(const char *dir, const hf_config_flags *flags, bool as_json)
{
    hf_error err = {0};
    hf_key_list list = {NULL, 0, 0};
    listing out = {.array = as_json ? json_array() : NULL};
    int status = HF_EXIT_DONE;
    hf_status st = find_keys(dir, flags, &list, &err);
    if (hf_failed(st)) {
        status = hf_cli_report(&err);
        goto out;
    }
    for (size_t i = 0; i < list.count; i++) {
        list_one(&list.files[i], &out);
    }
    if (as_json && json_dumpf(out.array, stdout, JSON_INDENT(2)) == 0) {
        (void)printf("\n");
    }
    status = out.failures == 0 ? HF_EXIT_DONE : HF_EXIT_FAILED;
out:
    hf_key_list_done(&list);
    json_decref(out.array);
    return status;
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
         .help = "sealed: the sealed keys of a running signer",
         .text = &backend},
        {.name = "json", .help = "print them as JSON", .on = &json},
    };
    const hf_cli_command command = {
        .name = "key list",
        .arguments = "[DIR]",
        .summary = "Lists the public keys of a folder of keystores, or of the keys that a signer "
                   "imported.",
        .details = "Nothing is decrypted: the public keys are those that the files state; of "
                   "secp256k1 keystores\n(version 3) it is the address.",
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
