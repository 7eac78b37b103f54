/* holdfast key new: a mnemonic, its signing keys, and a keystore of each. */
#include "key_internal.h"

#include <sys/stat.h>

#define PASSWORD_LEAST_CHARS 8 /* as the launchpad's own tool asks */
#define KEYSTORE_MODE (S_IRUSR | S_IWUSR)
#define NAME_CHARS 512

typedef struct new_options {
    const char *keystore_dir;
    const char *password_file;
    const char *password_fd;
    const char *count;
    const char *start_index;
    const char *mnemonic_output;
    const char *kdf;
    const char *kdf_cost;
    hf_key_mnemonic_source mnemonic;
    bool existing;
    bool json;
} new_options;

typedef struct made_key {
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    char path[HF_KEY_PATH_CHARS];
    char file[NAME_CHARS];
} made_key;

typedef struct new_run {
    hf_key_vault vault;
    hf_buf *password;
    const char *keystore_dir;
    hf_keystore_options keystore; /* without a path */
    uint64_t start_index;
    uint64_t count;
    int64_t timestamp; /* Unix seconds, in the names of the files */
    made_key *keys;
} new_run;

static hf_bytes password_of(const new_run *run)
{
    return hf_bytes_from(hf_buf_peek(run->password), hf_buf_len(run->password));
}

/* keystore-m_12381_3600_0_0_0-1700000000.json */
static hf_status name_file(const new_run *run, made_key *made, hf_error *err)
{
    char slug[HF_KEY_PATH_CHARS];
    hf_status st = hf_str_copy(slug, sizeof slug, made->path);
    HF_ASSERT(!hf_failed(st));
    for (char *p = slug; *p != '\0'; p++) {
        *p = *p == '/' ? '_' : *p;
    }
    st = hf_str_format(made->file, sizeof made->file, "%s/keystore-%s-%lld.json", run->keystore_dir,
                       slug, (long long)run->timestamp);
    return hf_failed(st) ? hf_fail(err, st.code, "--keystore-dir: path too long") : st;
}

/* A keystore that does not open again is worse than none: it is opened before it is written. */
static hf_status check_opens(const new_run *run, const hf_buf *json, const hf_bls_key *key,
                             hf_error *err)
{
    const hf_keystore_limits limits = {.max_kdf_memory_bytes = UINT64_MAX};
    hf_bls_key back;
    memset(&back, 0, sizeof back);
    hf_bytes text = hf_bytes_from(hf_buf_peek(json), hf_buf_len(json));
    hf_bytes password = password_of(run);
    hf_status st = hf_keystore_decrypt(text, password, &limits, &back, err);
    if (!hf_failed(st) && !hf_secret_equal(&back, key, sizeof back)) {
        st = hf_fail(err, HF_INTERNAL, "another key came out of it");
    }
    hf_wipe(&back, sizeof back);
    return hf_failed(st) ? hf_error_wrap(err, st, "a keystore just made does not open") : st;
}

static hf_status make_one(void *context, size_t index, hf_error *err)
{
    new_run *run = context;
    made_key *made = &run->keys[index];
    hf_keystore_options options = run->keystore;
    hf_bls_key key;
    hf_buf *json = NULL;
    hf_status st =
        hf_cli_key_derive(&run->vault, run->start_index + index, false, made->path, &key, err);
    if (hf_failed(st)) {
        goto out;
    }
    options.path = made->path;
    st = hf_keystore_encrypt(&key, password_of(run), &options, &json, err);
    if (!hf_failed(st)) {
        st = check_opens(run, json, &key, err);
    }
    if (!hf_failed(st)) {
        st = name_file(run, made, err);
    }
    if (!hf_failed(st)) {
        st = hf_cli_key_write_new(made->file, hf_buf_text(json), KEYSTORE_MODE, err);
    }
    hf_bls_pubkey(&key, made->pubkey);
out:
    hf_wipe(&key, sizeof key);
    hf_buf_free(json);
    return st;
}

static hf_status read_kdf(const new_options *options, hf_keystore_options *keystore, hf_error *err)
{
    const char *name = options->kdf == NULL ? "scrypt" : options->kdf;
    if (strcmp(name, "scrypt") == 0) {
        keystore->kdf = HF_KDF_SCRYPT;
    } else if (strcmp(name, "pbkdf2") == 0) {
        keystore->kdf = HF_KDF_PBKDF2;
    } else {
        return hf_fail(err, HF_USAGE, "--kdf: must be scrypt or pbkdf2");
    }
    return hf_cli_key_number("kdf-cost", options->kdf_cost, 0, 1, 1ULL << 25, &keystore->cost, err);
}

static hf_status read_password(const new_options *options, new_run *run, hf_error *err)
{
    const hf_cli_passphrase from = {.file = options->password_file,
                                    .fd = options->password_fd,
                                    .prompt = "Password of the keystores",
                                    .confirm = true};
    hf_status st = hf_cli_passphrase_read(&from, &run->password, err);
    if (!hf_failed(st) && hf_buf_len(run->password) < PASSWORD_LEAST_CHARS) {
        st = hf_fail(err, HF_USAGE, "the password of the keystores: at least %d characters",
                     PASSWORD_LEAST_CHARS);
    }
    return st;
}

static hf_status prepare(const new_options *options, new_run *run, hf_error *err)
{
    hf_status st =
        hf_cli_key_number("count", options->count, 1, 1, HF_KEY_COUNT_MAX, &run->count, err);
    if (!hf_failed(st)) {
        st = hf_cli_key_number("start-index", options->start_index, 0, 0,
                               UINT32_MAX - HF_KEY_COUNT_MAX, &run->start_index, err);
    }
    if (!hf_failed(st)) {
        st = read_kdf(options, &run->keystore, err);
    }
    if (!hf_failed(st) && options->keystore_dir == NULL) {
        st = hf_fail(err, HF_USAGE, "where to? give --keystore-dir DIR");
    }
    if (hf_failed(st)) {
        return st;
    }
    run->keystore_dir = options->keystore_dir;
    run->timestamp = hf_time_unix_ms() / 1000;
    run->keys = calloc(run->count, sizeof *run->keys);
    if (run->keys == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    return hf_cli_key_vault_open(&run->vault, err);
}

static bool is_existing(const new_options *options)
{
    return options->existing || options->mnemonic.file != NULL || options->mnemonic.fd != NULL;
}

static hf_status get_mnemonic(const new_options *options, new_run *run, hf_error *err)
{
    if (is_existing(options)) {
        return hf_cli_key_mnemonic_read(&options->mnemonic, &run->vault, err);
    }
    hf_status st = hf_cli_key_mnemonic_make(&options->mnemonic, &run->vault, err);
    /* Handed over before a key exists: keys without their mnemonic could not be brought back. */
    return hf_failed(st)
               ? st
               : hf_cli_key_mnemonic_hand_over(&run->vault, options->mnemonic_output, err);
}

static hf_status make_all(const new_options *options, new_run *run, hf_error *err)
{
    hf_status st = prepare(options, run, err);
    if (!hf_failed(st) && is_existing(options) && options->mnemonic_output != NULL) {
        st = hf_fail(err, HF_USAGE, "--mnemonic-output: only for a mnemonic made here");
    }
    if (!hf_failed(st) && !is_existing(options)) {
        st = hf_cli_key_mnemonic_check_output(options->mnemonic_output, err);
    }
    if (!hf_failed(st)) {
        st = hf_file_mkdir_private(run->keystore_dir, err);
    }
    if (!hf_failed(st)) {
        st = read_password(options, run, err);
    }
    if (!hf_failed(st)) {
        st = get_mnemonic(options, run, err);
    }
    return hf_failed(st) ? st : hf_cli_key_jobs_run(run->count, make_one, run, err);
}

static int print_made(const new_run *run, bool json)
{
    json_t *all = json_array();
    for (size_t i = 0; i < run->count; i++) {
        const made_key *made = &run->keys[i];
        char hex[2 * HF_BLS_PUBKEY_BYTES + 1];
        if (!json) {
            hf_cli_key_print(made->pubkey, made->file);
            continue;
        }
        hf_hex_encode(made->pubkey, HF_BLS_PUBKEY_BYTES, hex);
        (void)json_array_append_new(all, json_pack("{s:s+, s:s, s:o}", "pubkey", "0x", hex, "path",
                                                   made->path, "file",
                                                   hf_cli_key_path_to_json(made->file)));
    }
    if (json && json_dumpf(all, stdout, JSON_INDENT(2)) == 0) {
        (void)printf("\n");
    }
    json_decref(all);
    return HF_EXIT_DONE;
}

static int run_new(const new_options *options)
{
    new_run run = {0};
    hf_error err = {0};
    hf_status st = make_all(options, &run, &err);
    int status = hf_failed(st) ? hf_cli_report(&err) : print_made(&run, options->json);
    hf_cli_key_vault_close(&run.vault);
    hf_buf_free(run.password);
    free(run.keys);
    return status;
}

int hf_cli_key_new(int argc, char **argv)
{
    new_options o = {0};
    const hf_cli_option options[] = {
        {.name = "keystore-dir",
         .argument = "DIR",
         .help = "where the keystores go; made when it is not there",
         .text = &o.keystore_dir},
        {.name = "password-file",
         .argument = "FILE",
         .help = "password of the keystores (mode 0600)",
         .text = &o.password_file},
        {.name = "password-fd",
         .argument = "FD",
         .help = "the same from an open descriptor",
         .text = &o.password_fd},
        {.name = "count", .argument = "N", .help = "how many keys [1]", .text = &o.count},
        {.name = "start-index",
         .argument = "I",
         .help = "index of the first [0]",
         .text = &o.start_index},
        {.name = "mnemonic-output",
         .argument = "FILE",
         .help = "write the new mnemonic here (mode 0600), not on the terminal",
         .text = &o.mnemonic_output},
        {.name = "existing",
         .help = "ask for an existing mnemonic, without echo",
         .on = &o.existing},
        {.name = "mnemonic-file",
         .argument = "FILE",
         .help = "read an existing mnemonic (mode 0600)",
         .text = &o.mnemonic.file},
        {.name = "mnemonic-fd",
         .argument = "FD",
         .help = "the same from an open descriptor",
         .text = &o.mnemonic.fd},
        {.name = "mnemonic-passphrase-file",
         .argument = "FILE",
         .help = "BIP-39 passphrase (the 25th word)",
         .text = &o.mnemonic.passphrase_file},
        {.name = "kdf", .argument = "KDF", .help = "scrypt or pbkdf2 [scrypt]", .text = &o.kdf},
        {.name = "kdf-cost",
         .argument = "N",
         .help = "scrypt n or pbkdf2 c; less than 262144 is for tests",
         .text = &o.kdf_cost},
        {.name = "json", .help = "print the keys as JSON", .on = &o.json},
    };
    const hf_cli_command command = {
        .name = "key new",
        .arguments = "",
        .summary = "Makes validator keys (EIP-2333, m/12381/3600/I/0/0) as EIP-2335 keystores.",
        .details = "A new mnemonic of 24 words is shown once, or written to --mnemonic-output. "
                   "Without it, lost\nkeys cannot be made again. Nothing is overwritten.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    return status == HF_CLI_GO ? run_new(&o) : status;
}
