/*
 * Sealed keys that come from one mnemonic, and its encrypted backup: an EIP-2335 keystore whose
 * secret is the sentence (BIP-39, 24 words) and not a key, so that no tool takes it for one. The
 * keys are m/12381/3600/I/0/0 (EIP-2333, EIP-2334), and a member "keys" says which I.
 */
#include "key_sealed.h"

#include <inttypes.h>
#include <sys/stat.h>

#define BACKUP_MODE (S_IRUSR | S_IWUSR)
#define BACKUP_BYTES_MAX HF_KEYSTORE_MAX_BYTES
#define PASSWORD_LEAST_CHARS 8 /* as of keystores */
#define DESCRIPTION "a BIP-39 mnemonic of 24 words, not a key: the keys of Holdfast's sealed store"
#define PATH_OF_KEYS "m/12381/3600"

typedef struct backup_run {
    hf_key_vault vault;
    hf_key_sealer *sealer;
    hf_admin *admin;
    hf_buf *password;
    uint64_t start_index;
    uint64_t count;
} backup_run;

static void end_run(backup_run *run)
{
    hf_cli_sealer_free(run->sealer);
    hf_admin_close(run->admin);
    hf_buf_free(run->password);
    hf_cli_key_vault_close(&run->vault);
}

static hf_bytes password_of(const backup_run *run)
{
    return hf_bytes_from(hf_buf_peek(run->password), hf_buf_len(run->password));
}

static hf_status read_password(const hf_key_backup *backup, bool is_new, backup_run *run,
                               hf_error *err)
{
    const hf_cli_passphrase from = {.file = backup->password_file,
                                    .fd = backup->password_fd,
                                    .prompt = "Password of the backup",
                                    .confirm = is_new};
    hf_status st = hf_cli_passphrase_read(&from, &run->password, err);
    if (!hf_failed(st) && is_new && hf_buf_len(run->password) < PASSWORD_LEAST_CHARS) {
        st = hf_fail(err, HF_USAGE, "the password of the backup: at least %d characters",
                     PASSWORD_LEAST_CHARS);
    }
    return st;
}

/* ---- the file ------------------------------------------------------------------------------- */

static hf_status open_backup(const hf_buf *json, backup_run *run, hf_error *err)
{
    const hf_keystore_limits limits = {.max_kdf_memory_bytes = HF_KEY_KDF_MEMORY_MAX};
    _Static_assert(HF_KEYSTORE_TEXT_BYTES <= HF_BIP39_TEXT_BYTES, "a text fits the vault");
    hf_status st = hf_keystore_decrypt_text(hf_bytes_from(hf_buf_peek(json), hf_buf_len(json)),
                                            password_of(run), &limits, run->vault.root->words, err);
    return hf_failed(st)
               ? st
               : hf_bip39_to_seed(run->vault.root->words, NULL, run->vault.root->seed, err);
}

/* The keystore with one member more. */
static char *add_keys_member(const hf_buf *json, const backup_run *run)
{
    json_t *root = json_loadb(hf_buf_text(json), hf_buf_len(json), 0, NULL);
    (void)json_object_set_new(root, "keys",
                              json_pack("{s:I, s:I}", "start_index", (json_int_t)run->start_index,
                                        "count", (json_int_t)run->count));
    char *text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    return text;
}

/* A backup that does not open again is worse than none: it is opened before any key is made. */
static hf_status write_backup(const hf_key_backup *backup, backup_run *run, hf_error *err)
{
    const hf_keystore_options options = {.kdf = HF_KDF_SCRYPT,
                                         .cost = backup->cost,
                                         .path = PATH_OF_KEYS,
                                         .description = DESCRIPTION};
    uint8_t seed[HF_BIP39_SEED_BYTES];
    hf_buf *json = NULL;
    char *text = NULL;
    memcpy(seed, run->vault.root->seed, sizeof seed);
    hf_status st =
        hf_keystore_encrypt_text(run->vault.root->words, password_of(run), &options, &json, err);
    if (!hf_failed(st)) {
        st = open_backup(json, run, err);
    }
    if (!hf_failed(st) && !hf_secret_equal(seed, run->vault.root->seed, sizeof seed)) {
        st = hf_fail(err, HF_INTERNAL, "a backup just made holds another mnemonic");
    }
    if (!hf_failed(st)) {
        text = add_keys_member(json, run);
        st = text == NULL ? hf_fail(err, HF_NOMEM, "out of memory")
                          : hf_cli_key_write_new(backup->file, text, BACKUP_MODE, err);
    }
    free(text);
    hf_buf_free(json);
    hf_wipe(seed, sizeof seed);
    return st;
}

/* Which keys: as the file says, where nobody says otherwise. It is not secret, and not believed
 * beyond what can be derived. */
static hf_status read_range(const hf_buf *json, const hf_key_backup *backup, backup_run *run,
                            hf_error *err)
{
    json_t *root = json_loadb(hf_buf_text(json), hf_buf_len(json), JSON_REJECT_DUPLICATES, NULL);
    json_t *keys = json_object_get(root, "keys");
    json_int_t start = json_integer_value(json_object_get(keys, "start_index"));
    json_int_t count = json_integer_value(json_object_get(keys, "count"));
    json_decref(root);
    if (start < 0 || start > UINT32_MAX - HF_KEY_COUNT_MAX || count < 0 ||
        count > HF_KEY_COUNT_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "%s: keys: out of range", backup->file);
    }
    hf_status st = hf_cli_key_number("count", backup->count, (uint64_t)count, 1, HF_KEY_COUNT_MAX,
                                     &run->count, err);
    if (!hf_failed(st)) {
        st = hf_cli_key_number("start-index", backup->start_index, (uint64_t)start, 0,
                               UINT32_MAX - HF_KEY_COUNT_MAX, &run->start_index, err);
    }
    if (!hf_failed(st) && run->count == 0) {
        st = hf_fail(err, HF_INVALID_INPUT, "%s: does not say how many keys: give --count",
                     backup->file);
    }
    return st;
}

static hf_status read_backup(const hf_key_backup *backup, backup_run *run, hf_error *err)
{
    hf_buf *json = NULL;
    hf_status st = hf_file_read(backup->file, BACKUP_BYTES_MAX, &json, err);
    if (hf_failed(st)) {
        return st;
    }
    st = read_range(json, backup, run, err);
    if (!hf_failed(st)) {
        st = read_password(backup, false, run, err);
    }
    if (!hf_failed(st)) {
        st = open_backup(json, run, err);
        st = hf_failed(st) ? hf_error_wrap(err, st, "%s", backup->file) : st;
    }
    hf_buf_free(json);
    return st;
}

/* ---- the keys ------------------------------------------------------------------------------- */

static hf_status derive_one(void *context, size_t index, hf_error *err)
{
    backup_run *run = context;
    char path[HF_KEY_PATH_CHARS];
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    hf_bls_key key = {.scalar = {0}};
    hf_status st = hf_cli_key_derive(&run->vault, run->start_index + index, false, path, &key, err);
    if (!hf_failed(st)) {
        hf_bls_pubkey(&key, pubkey);
        hf_cli_sealer_put(run->sealer, index, &key, pubkey);
    }
    hf_wipe(&key, sizeof key);
    return st;
}

static hf_status give_keys(backup_run *run, hf_error *err)
{
    hf_status st = hf_cli_sealer_new(run->count, &run->sealer, err);
    if (!hf_failed(st)) {
        st = hf_cli_key_jobs_run(run->count, derive_one, run, err);
    }
    return hf_failed(st) ? st : hf_cli_sealer_send(run->sealer, run->admin, err);
}

static hf_status connect_to(const hf_config_flags *flags, backup_run *run, hf_error *err)
{
    hf_status st = hf_cli_signer_connect(flags, &run->admin, err);
    return hf_failed(st) ? st : hf_cli_key_vault_open(&run->vault, err);
}

/* Prints the new ones; how many came to nothing. */
static uint64_t report(const backup_run *run, uint64_t *ret_known)
{
    uint64_t failed = 0;
    for (size_t i = 0; i < run->count; i++) {
        char hex[2 * HF_BLS_PUBKEY_BYTES + 1];
        hf_key_outcome outcome = hf_cli_sealer_outcome(run->sealer, i);
        failed += outcome != HF_KEY_IMPORTED && outcome != HF_KEY_DUPLICATE;
        *ret_known += outcome == HF_KEY_DUPLICATE;
        if (outcome == HF_KEY_IMPORTED) {
            hf_hex_encode(hf_cli_sealer_pubkey(run->sealer, i), HF_BLS_PUBKEY_BYTES, hex);
            (void)printf("0x%s\n", hex);
        }
    }
    return failed;
}

static hf_status generate(const hf_config_flags *flags, const hf_key_backup *backup,
                          backup_run *run, hf_error *err)
{
    const hf_key_mnemonic_source no_passphrase = {NULL, NULL, NULL};
    hf_status st = hf_cli_key_mnemonic_check_output(backup->file, err);
    if (!hf_failed(st)) {
        st = connect_to(flags, run, err);
    }
    if (!hf_failed(st)) {
        st = read_password(backup, true, run, err);
    }
    if (!hf_failed(st)) {
        st = hf_cli_key_mnemonic_make(&no_passphrase, &run->vault, err);
    }
    if (!hf_failed(st)) { /* before a key exists: without it they could not be brought back */
        st = write_backup(backup, run, err);
    }
    return hf_failed(st) ? st : give_keys(run, err);
}

int hf_cli_key_generate_backed(const hf_config_flags *flags, const hf_key_backup *backup,
                               uint64_t count)
{
    backup_run run = {.count = count};
    hf_error err = {0};
    uint64_t known = 0;
    hf_status st = generate(flags, backup, &run, &err);
    uint64_t failed = hf_failed(st) ? 0 : report(&run, &known);
    if (failed > 0) {
        st = hf_fail(&err, HF_UNAVAILABLE,
                     "%" PRIu64 " of %" PRIu64 " keys were not kept: `holdfast key recover` tries "
                     "them again",
                     failed, count);
    }
    end_run(&run);
    return hf_failed(st) ? hf_cli_report(&err) : HF_EXIT_DONE;
}

/* ---- recover -------------------------------------------------------------------------------- */

static hf_status recover(const hf_config_flags *flags, const hf_key_backup *backup,
                         const char *mnemonic_output, backup_run *run, hf_error *err)
{
    hf_status st =
        mnemonic_output != NULL ? hf_cli_key_mnemonic_check_output(mnemonic_output, err) : hf_ok();
    if (!hf_failed(st)) {
        st = mnemonic_output != NULL ? hf_cli_key_vault_open(&run->vault, err)
                                     : connect_to(flags, run, err);
    }
    if (!hf_failed(st)) {
        st = read_backup(backup, run, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    return mnemonic_output != NULL
               ? hf_cli_key_mnemonic_hand_over(&run->vault, mnemonic_output, err)
               : give_keys(run, err);
}

static int run_recover(const hf_config_flags *flags, const hf_key_backup *backup,
                       const char *mnemonic_output)
{
    backup_run run = {.count = 0};
    hf_error err = {0};
    uint64_t known = 0;
    hf_status st = recover(flags, backup, mnemonic_output, &run, &err);
    if (hf_failed(st) || mnemonic_output != NULL) {
        end_run(&run);
        return hf_failed(st) ? hf_cli_report(&err) : HF_EXIT_DONE;
    }
    uint64_t failed = report(&run, &known);
    (void)printf("%" PRIu64 " recovered, %" PRIu64 " already there, %" PRIu64 " failed\n",
                 run.count - known - failed, known, failed);
    end_run(&run);
    return failed == 0 ? HF_EXIT_DONE : HF_EXIT_FAILED;
}

int hf_cli_key_recover(int argc, char **argv)
{
    hf_config_flags flags = {0};
    hf_key_backup backup = {0};
    const char *mnemonic_output = NULL;
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        {.name = "password-file",
         .argument = "FILE",
         .help = "password of the backup (mode 0600); else it is asked for",
         .text = &backup.password_file},
        {.name = "password-fd",
         .argument = "FD",
         .help = "the same from an open descriptor",
         .text = &backup.password_fd},
        {.name = "count",
         .argument = "N",
         .help = "how many [as the backup says]",
         .text = &backup.count},
        {.name = "start-index",
         .argument = "I",
         .help = "index of the first [as the backup says]",
         .text = &backup.start_index},
        {.name = "mnemonic-output",
         .argument = "FILE",
         .help = "write the mnemonic here (mode 0600), and do nothing else",
         .text = &mnemonic_output},
    };
    const hf_cli_command command = {
        .name = "key recover",
        .arguments = "BACKUP",
        .summary =
            "Brings the keys of a mnemonic backup into the sealed store of a running signer.",
        .details = "Make sure that nothing else signs with these keys, and import their slashing "
                   "protection\nhistory first: holdfast slashing import.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options),
        .least = 1,
        .most = 1};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    if (status != HF_CLI_GO) {
        return status;
    }
    backup.file = argv[first];
    return run_recover(&flags, &backup, mnemonic_output);
}
