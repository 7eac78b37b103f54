/* holdfast key generate: keys made by the signer, from a mnemonic that is backed up, or elsewhere.
 */
#include "key_sealed.h"
#include "key_wrap.h"

#define HEX_CHARS (2 * HF_BLS_PUBKEY_BYTES + 1)

typedef struct generate_options {
    hf_config_flags flags;
    hf_cli_list set;
    hf_key_generation outside;
    hf_key_backup backup;
    const char *count;
    const char *cost;
} generate_options;

static hf_status generate_some(hf_admin *admin, uint32_t count, hf_error *err)
{
    hf_msg_sealed_add frame = {.count = count};
    hf_msg_sealed_added answer;
    for (uint32_t i = 0; i < count; i++) {
        frame.keys[i].is_generated = 1;
    }
    hf_status st =
        hf_admin_call(admin, &frame, HF_MSG_SEALED_ADD, HF_MSG_SEALED_ADDED, &answer, err);
    for (uint32_t i = 0; !hf_failed(st) && i < answer.count && i < HF_SEALED_ADD_MAX; i++) {
        char hex[HEX_CHARS];
        hf_hex_encode(answer.keys[i].name, HF_BLS_PUBKEY_BYTES, hex);
        (void)printf("0x%s\n", hex);
    }
    return st;
}

static int generate_inside(const hf_config_flags *flags, uint64_t count)
{
    hf_error err = {0};
    hf_admin *admin = NULL;
    hf_status st = hf_cli_signer_connect(flags, &admin, &err);
    while (!hf_failed(st) && count > 0) {
        uint32_t some = count < HF_SEALED_ADD_MAX ? (uint32_t)count : HF_SEALED_ADD_MAX;
        st = generate_some(admin, some, &err);
        count -= some;
    }
    hf_admin_close(admin);
    return hf_failed(st) ? hf_cli_report(&err) : HF_EXIT_DONE;
}

static int run_generate(generate_options *o)
{
    hf_error err = {0};
    uint64_t count = 1;
    bool is_outside = o->outside.backend != NULL && !hf_cli_key_is_sealed(o->outside.backend);
    hf_status st = hf_cli_key_number("count", o->count, 1, 1, HF_KEY_COUNT_MAX, &count, &err);
    if (!hf_failed(st)) {
        st = hf_cli_key_number("backup-kdf-cost", o->cost, 0, 1, 1ULL << 25, &o->backup.cost, &err);
    }
    if (!hf_failed(st) && is_outside && o->backup.file != NULL) {
        st = hf_fail(&err, HF_USAGE, "--mnemonic-backup: of sealed keys alone");
    }
    if (!hf_failed(st) && !is_outside &&
        (o->set.count > 0 || o->outside.type != NULL || o->outside.label != NULL ||
         o->outside.json)) {
        st = hf_fail(&err, HF_USAGE,
                     "--set, --type, --label and --json: with another --backend only");
    }
    if (hf_failed(st)) {
        return hf_cli_report(&err);
    }
    if (is_outside) {
        o->outside.count = count;
        return hf_cli_key_generate_outside(&o->outside);
    }
    return o->backup.file != NULL ? hf_cli_key_generate_backed(&o->flags, &o->backup, count)
                                  : generate_inside(&o->flags, count);
}

int hf_cli_key_generate(int argc, char **argv)
{
    generate_options o = {0};
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(o.flags),
        {.name = "count", .argument = "N", .help = "how many [1]", .text = &o.count},
        {.name = "backend",
         .argument = "NAME",
         .help = "sealed; or aws-kms, pkcs11, aws-cloudhsm, yubihsm [sealed]",
         .text = &o.outside.backend},
        {.name = "set",
         .argument = "NAME=VALUE",
         .help = "a setting of that back end, before that of the configuration",
         .list = &o.set},
        {.name = "type",
         .argument = "TYPE",
         .help = "bls; or inside: secp256k1, in tokens ed25519, p256, wrap [bls]",
         .text = &o.outside.type},
        {.name = "label",
         .argument = "LABEL",
         .help = "what a key that is made inside is called",
         .text = &o.outside.label},
        {.name = "json", .help = "of another back end: print them as JSON", .on = &o.outside.json},
        {.name = "mnemonic-backup",
         .argument = "FILE",
         .help = "sealed: make them from one mnemonic, kept here under a password",
         .text = &o.backup.file},
        {.name = "backup-password-file",
         .argument = "FILE",
         .help = "password of the backup (mode 0600); else it is asked for",
         .text = &o.backup.password_file},
        {.name = "backup-password-fd",
         .argument = "FD",
         .help = "the same from an open descriptor",
         .text = &o.backup.password_fd},
        {.name = "backup-kdf-cost",
         .argument = "N",
         .help = "scrypt n; less than 262144 is for tests",
         .text = &o.cost},
    };
    const hf_cli_command command = {
        .name = "key generate",
        .arguments = "",
        .summary = "Makes keys inside a running signer, straight into its sealed store, or for "
                   "another back end.",
        .details = "Without --mnemonic-backup the signer makes them, and there is no copy of such "
                   "a key anywhere else.\nWith it they are m/12381/3600/I/0/0 of a new mnemonic of "
                   "24 words, which is kept in an\nEIP-2335 keystore before any key is made; "
                   "`holdfast key recover` brings them back from it.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    o.outside.flags = &o.flags;
    o.outside.set = &o.set;
    int status = hf_cli_parse(&command, argc, argv, &first);
    return status == HF_CLI_GO ? run_generate(&o) : status;
}
