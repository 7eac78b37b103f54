/* holdfast key import: keystores, checked by opening them, into the signer's own folder. */
#include "key_internal.h"
#include "key_sealed.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEX_CHARS (2 * HF_BLS_PUBKEY_BYTES + 1)

typedef struct import_options {
    hf_config_flags flags;
    hf_key_passwords passwords;
    const char *backend;
    bool json;
} import_options;

typedef enum import_result {
    IMPORT_FAILED,
    IMPORT_DONE,
    IMPORT_KNOWN,
    IMPORT_FOREIGN
} import_result;

typedef struct imported_key {
    import_result result;
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    hf_error error;
} imported_key;

typedef struct import_run {
    hf_key_list list;
    hf_buf *password; /* NULL: the list says where */
    char imported_dir[HF_PATH_LEN];
    imported_key *keys;
    hf_key_sealer *sealer; /* NULL: they are kept in the folder */
    hf_admin *admin;
    bool signer_runs;
} import_run;

static const char *const result_names[] = {[IMPORT_FAILED] = "error",
                                           [IMPORT_DONE] = "imported",
                                           [IMPORT_KNOWN] = "duplicate",
                                           [IMPORT_FOREIGN] = "skipped"};

/* ---- one file ------------------------------------------------------------------------------ */

static hf_status open_key(const import_run *run, const hf_key_file *file, bool *ret_foreign,
                          hf_bls_key *ret_key, hf_error *err)
{
    const hf_keystore_limits limits = {.max_kdf_memory_bytes = HF_KEY_KDF_MEMORY_MAX};
    hf_buf *json = NULL;
    hf_status st = hf_file_read(file->path, HF_KEYSTORE_MAX_BYTES, &json, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_bytes bytes = hf_bytes_from(hf_buf_peek(json), hf_buf_len(json));
    if (hf_custody_is_foreign(bytes)) {
        *ret_foreign = true;
    } else if (run->password == NULL) {
        st = hf_custody_open(file, &limits, ret_key, err);
    } else {
        st = hf_keystore_decrypt(
            bytes, hf_bytes_from(hf_buf_peek(run->password), hf_buf_len(run->password)), &limits,
            ret_key, err);
    }
    hf_buf_free(json);
    return hf_failed(st) ? hf_error_wrap(err, st, "%s", file->path) : st;
}

/* Each file has its own outcome; none stops the others. */
static hf_status import_one(void *context, size_t index, hf_error *err)
{
    import_run *run = context;
    imported_key *out = &run->keys[index];
    char path[HF_PATH_LEN];
    struct stat info;
    bool foreign = false;
    hf_bls_key key;
    (void)err;
    memset(&key, 0, sizeof key);
    hf_status st = open_key(run, &run->list.files[index], &foreign, &key, &out->error);
    if (hf_failed(st) || foreign) {
        out->result = foreign ? IMPORT_FOREIGN : IMPORT_FAILED;
        goto out;
    }
    hf_bls_pubkey(&key, out->pubkey);
    if (run->sealer != NULL) {
        hf_cli_sealer_put(run->sealer, index, &key, out->pubkey);
        goto out;
    }
    st = hf_custody_imported_path(run->imported_dir, out->pubkey, path, sizeof path);
    HF_ASSERT(!hf_failed(st)); /* prepare has tried the longest name */
    if (lstat(path, &info) == 0) {
        out->result = IMPORT_KNOWN;
        goto out;
    }
    st = hf_custody_keep(run->imported_dir, &key, &out->error);
    out->result = hf_failed(st) ? IMPORT_FAILED : IMPORT_DONE;
out:
    hf_wipe(&key, sizeof key);
    return hf_ok();
}

/* ---- the whole ----------------------------------------------------------------------------- */

/* Keys that root leaves in another user's folder could not be read there. */
static hf_status check_owner(const char *data_dir, hf_error *err)
{
    struct stat info;
    if (stat(data_dir, &info) != 0) {
        return hf_fail(err, HF_IO, "%s: %s", data_dir, strerror(errno));
    }
    if (info.st_uid != geteuid()) {
        return hf_fail(err, HF_DENIED,
                       "%s belongs to user %u and this is user %u: run as its owner", data_dir,
                       (unsigned)info.st_uid, (unsigned)geteuid());
    }
    return hf_ok();
}

static hf_status make_folders(const import_options *o, import_run *run, hf_error *err)
{
    static const uint8_t any[HF_BLS_PUBKEY_BYTES];
    char data_dir[HF_PATH_LEN];
    char path[HF_PATH_LEN];
    hf_status st = hf_cli_key_data_dir(&o->flags, data_dir, err);
    if (hf_failed(st)) {
        return st;
    }
    if (hf_failed(
            hf_str_format(run->imported_dir, sizeof run->imported_dir, "%s/imported", data_dir)) ||
        hf_failed(hf_custody_imported_path(run->imported_dir, any, path, sizeof path))) {
        return hf_fail(err, HF_USAGE, "--data-dir: path too long");
    }
    st = hf_file_mkdir_private(data_dir, err);
    if (!hf_failed(st)) {
        st = check_owner(data_dir, err);
    }
    run->signer_runs = hf_cli_key_signer_runs(data_dir);
    return hf_failed(st) ? st : hf_file_mkdir_private(run->imported_dir, err);
}

/* Through the admin socket: the machine that seals is in the running signer. */
static hf_status reach_signer(const import_options *o, import_run *run, hf_error *err)
{
    char data_dir[HF_PATH_LEN];
    if (!hf_cli_key_is_sealed(o->backend)) {
        return hf_fail(err, HF_USAGE, "--backend: it is sealed, or not given");
    }
    hf_status st = hf_cli_key_data_dir(&o->flags, data_dir, err);
    if (!hf_failed(st)) {
        st = hf_admin_connect(data_dir, &run->admin, err);
    }
    return hf_failed(st) ? st : hf_cli_sealer_new(run->list.count, &run->sealer, err);
}

static hf_status seal_all(import_run *run, hf_error *err)
{
    hf_status st = hf_cli_sealer_send(run->sealer, run->admin, err);
    for (size_t i = 0; i < run->list.count; i++) {
        imported_key *key = &run->keys[i];
        hf_key_outcome outcome = hf_cli_sealer_outcome(run->sealer, i);
        if (outcome == HF_KEY_IMPORTED || outcome == HF_KEY_DUPLICATE) {
            key->result = outcome == HF_KEY_IMPORTED ? IMPORT_DONE : IMPORT_KNOWN;
        } else if (key->result == IMPORT_FAILED && key->error.msg[0] == '\0') {
            (void)snprintf(key->error.msg, sizeof key->error.msg, "%s: the signer did not keep it",
                           run->list.files[i].path);
        }
    }
    return st;
}

static hf_status prepare(const import_options *o, const char *dir, import_run *run, hf_error *err)
{
    hf_status st = hf_cli_key_gather_keystores(dir, &o->passwords, &run->list, &run->password, err);
    if (!hf_failed(st)) {
        st = o->backend != NULL ? reach_signer(o, run, err) : make_folders(o, run, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    run->keys = calloc(run->list.count, sizeof *run->keys);
    return run->keys == NULL ? hf_fail(err, HF_NOMEM, "out of memory") : st;
}

/* ---- the report ---------------------------------------------------------------------------- */

static json_t *key_to_json(const char *file, const imported_key *key)
{
    char hex[HEX_CHARS] = "";
    json_t *row = json_pack("{s:o, s:s}", "file", hf_cli_key_path_to_json(file), "status",
                            result_names[key->result]);
    if (key->result == IMPORT_DONE || key->result == IMPORT_KNOWN) {
        hf_hex_encode(key->pubkey, sizeof key->pubkey, hex);
        (void)json_object_set_new(row, "pubkey", json_sprintf("0x%s", hex));
    } else if (key->result == IMPORT_FAILED) {
        (void)json_object_set_new(row, "message", hf_cli_key_path_to_json(key->error.msg));
    }
    return row;
}

static void print_key(const imported_key *key)
{
    char hex[HEX_CHARS] = "";
    if (key->result == IMPORT_FAILED) {
        (void)hf_cli_complain(HF_EXIT_FAILED, "%s", key->error.msg);
    } else if (key->result != IMPORT_FOREIGN) {
        hf_hex_encode(key->pubkey, sizeof key->pubkey, hex);
        (void)printf("%-10s0x%s\n", result_names[key->result], hex);
    }
}

static int report(const import_run *run, bool as_json)
{
    size_t counts[HF_ARRAY_LEN(result_names)] = {0};
    json_t *rows = as_json ? json_array() : NULL;
    for (size_t i = 0; i < run->list.count; i++) {
        counts[run->keys[i].result]++;
        if (as_json) {
            (void)json_array_append_new(rows, key_to_json(run->list.files[i].path, &run->keys[i]));
        } else {
            print_key(&run->keys[i]);
        }
    }
    if (as_json) {
        (void)json_dumpf(rows, stdout, JSON_INDENT(2));
        (void)printf("\n");
    } else {
        (void)printf("%zu imported, %zu already there, %zu failed\n", counts[IMPORT_DONE],
                     counts[IMPORT_KNOWN], counts[IMPORT_FAILED]);
        if (run->signer_runs && counts[IMPORT_DONE] > 0) {
            (void)printf("the signer is running: POST /reload makes it load them\n");
        }
    }
    json_decref(rows);
    return counts[IMPORT_FAILED] == 0 ? HF_EXIT_DONE : HF_EXIT_FAILED;
}

static int run_import(const import_options *o, const char *dir)
{
    import_run run = {0};
    hf_error err = {0};
    int status;
    hf_status st = prepare(o, dir, &run, &err);
    if (!hf_failed(st)) {
        st = hf_cli_key_jobs_run(run.list.count, import_one, &run, &err);
    }
    if (!hf_failed(st) && run.sealer != NULL) {
        st = seal_all(&run, &err);
    }
    if (hf_failed(st)) {
        status = hf_cli_report(&err);
    } else {
        status = report(&run, o->json);
    }
    hf_cli_sealer_free(run.sealer);
    hf_admin_close(run.admin);
    hf_key_list_done(&run.list);
    hf_buf_free(run.password);
    free(run.keys);
    return status;
}

int hf_cli_key_import(int argc, char **argv)
{
    import_options o = {0};
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(o.flags),
        HF_KEY_PASSWORD_OPTIONS(o.passwords),
        {.name = "backend",
         .argument = "NAME",
         .help = "sealed: into the sealed store of the running, unsealed signer",
         .text = &o.backend},
        {.name = "json", .help = "print the outcome of each file as JSON", .on = &o.json},
    };
    const hf_cli_command command = {
        .name = "key import",
        .arguments = "DIR",
        .summary = "Gives keystores to the signer: opens each, then keeps its key in the data "
                   "folder.",
        .details = "The signer loads kept keys at its start; a running one when it is told to: "
                   "POST /reload.\nMake sure that nothing else signs with these keys, and import "
                   "their slashing protection\nhistory first: holdfast slashing import.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options),
        .least = 1,
        .most = 1};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    return status == HF_CLI_GO ? run_import(&o, argv[first]) : status;
}
