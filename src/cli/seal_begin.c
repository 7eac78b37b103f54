/* holdfast seal init, rekey, rotate: who holds what; and register, for those who come later. */
#include "seal_internal.h"

#include <limits.h>
#include <stdlib.h>

#define MIB ((uint64_t)1 << 20)

typedef struct begin_options {
    hf_config_flags flags;
    const char *threshold;
    hf_cli_list holders;
    hf_cli_list required;
    hf_cli_list passphrase_files; /* NAME=FILE */
    hf_cli_list passphrase_fds;   /* NAME=N */
    const char *memory;
    const char *passes;
    bool register_later;
} begin_options;

static hf_status parse_number(const char *option, const char *text, uint64_t most,
                              uint64_t *ret_number, hf_error *err)
{
    if (text == NULL) {
        return hf_ok();
    }
    if (hf_failed(hf_num_parse_u64(text, strlen(text), ret_number)) || *ret_number > most) {
        return hf_fail(err, HF_USAGE, "--%s: a number up to %llu", option,
                       (unsigned long long)most);
    }
    return hf_ok();
}

/* What a list says for this name: the text behind NAME=. NULL: nothing. */
static const char *said_for(const hf_cli_list *list, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < list->count; i++) {
        if (strncmp(list->items[i], name, len) == 0 && list->items[i][len] == '=') {
            return list->items[i] + len + 1;
        }
    }
    return NULL;
}

/* Wrapped and unwrapped by the running signer. */
static bool is_token(hf_holder_kind kind)
{
    return kind == HF_HOLDER_PKCS11 || kind == HF_HOLDER_AWS_KMS;
}

/* NAME:KIND, or NAME:KIND=WHERE for a key file's path, a token's or a cloud's key */
static hf_status parse_holder(const char *text, bool is_required, hf_seal_candidate *holder,
                              hf_error *err)
{
    char kind[32] = "";
    hf_holder_kind parsed = HF_HOLDER_PASSPHRASE;
    const char *colon = strchr(text, ':');
    const char *path = NULL;
    if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof holder->name) {
        return hf_fail(err, HF_USAGE,
                       "--holder %s: it is NAME:passphrase, NAME:keyfile=PATH, NAME:printed, "
                       "NAME:pkcs11=LABEL or NAME:awskms=KEY",
                       text);
    }
    memcpy(holder->name, text, (size_t)(colon - text));
    size_t kind_len = strcspn(colon + 1, "=");
    path = colon[1 + kind_len] == '=' ? colon + 2 + kind_len : NULL;
    if (kind_len < sizeof kind) {
        memcpy(kind, colon + 1, kind_len);
    }
    bool is_known = !hf_failed(hf_holder_kind_parse(kind, &parsed));
    bool has_place = parsed == HF_HOLDER_KEY_FILE || is_token(parsed);
    if (!is_known || has_place != (path != NULL) || (path != NULL && path[0] == '\0')) {
        return hf_fail(err, HF_USAGE,
                       "--holder %s: it is NAME:passphrase, NAME:keyfile=PATH, NAME:printed, "
                       "NAME:pkcs11=LABEL or NAME:awskms=KEY",
                       text);
    }
    if (!hf_seal_name_is_valid(holder->name)) {
        return hf_fail(err, HF_USAGE,
                       "--holder %s: a name has 1 to 32 of a-z, 0-9, full stop, _ "
                       "and -",
                       text);
    }
    holder->kind = (uint8_t)parsed;
    holder->is_required = is_required;
    if (path != NULL && hf_failed(hf_str_copy(holder->reference, sizeof holder->reference, path))) {
        return hf_fail(err, HF_USAGE, "--holder %s: a path has up to %d characters", text,
                       HF_SEAL_REFERENCE_LEN - 1);
    }
    return hf_ok();
}

static hf_status make_kdf(const begin_options *options, hf_seal_kdf *kdf, hf_error *err)
{
    uint64_t memory = HF_SEAL_KDF_MEMORY / MIB;
    uint64_t passes = HF_SEAL_KDF_PASSES;
    hf_status st =
        parse_number("kdf-memory", options->memory, HF_SEAL_KDF_MEMORY_MOST / MIB, &memory, err);
    if (!hf_failed(st)) {
        st = parse_number("kdf-passes", options->passes, HF_SEAL_KDF_PASSES_MOST, &passes, err);
    }
    *kdf = (hf_seal_kdf){.memory_bytes = memory * MIB, .passes = (uint32_t)passes};
    hf_random(kdf->salt, sizeof kdf->salt);
    return st;
}

/* The key of one holder: from where the options say, or from the person at the terminal. */
static hf_status get_key(const begin_options *options, hf_seal_candidate *holder, hf_error *err)
{
    char prompt[HF_SEAL_NAME_LEN + 32];
    if (holder->kind == HF_HOLDER_PRINTED || is_token((hf_holder_kind)holder->kind)) {
        return hf_ok();
    }
    if (holder->kind == HF_HOLDER_KEY_FILE) {
        holder->has_key = 1;
        return hf_cli_seal_file_key(holder->reference, true, holder->key, err);
    }
    hf_status st = make_kdf(options, &holder->kdf, err);
    if (hf_failed(st)) {
        return st;
    }
    (void)snprintf(prompt, sizeof prompt, "New passphrase of %s", holder->name);
    hf_cli_passphrase source = {.file = said_for(&options->passphrase_files, holder->name),
                                .fd = said_for(&options->passphrase_fds, holder->name),
                                .prompt = prompt,
                                .confirm = true};
    if (options->register_later && source.file == NULL && source.fd == NULL) {
        return hf_ok(); /* the holder brings it: holdfast seal register */
    }
    holder->has_key = 1;
    return hf_cli_seal_passphrase_key(&holder->kdf, &source, holder->key, err);
}

static hf_status fill_holders(const begin_options *options, hf_msg_seal_begin *frame, hf_error *err)
{
    size_t count = options->required.count + options->holders.count;
    hf_status st = hf_ok();
    if (count < 1 || count > HF_SEAL_HOLDERS_MAX) {
        return hf_fail(err, HF_USAGE, "a seal has 1 to %d holders: --holder NAME:KIND",
                       HF_SEAL_HOLDERS_MAX);
    }
    for (size_t i = 0; i < count && !hf_failed(st); i++) {
        bool is_required = i < options->required.count;
        const char *text = is_required ? options->required.items[i]
                                       : options->holders.items[i - options->required.count];
        st = parse_holder(text, is_required, &frame->holders[i], err);
        frame->holder_count++;
    }
    /* Only when all of them make sense is anybody asked for a passphrase. */
    for (size_t i = 0; i < count && !hf_failed(st); i++) {
        st = get_key(options, &frame->holders[i], err);
    }
    return st;
}

static hf_status check_threshold(const begin_options *options, uint8_t *ret_threshold,
                                 hf_error *err)
{
    uint64_t threshold = options->holders.count; /* all of them, unless said otherwise */
    hf_status st =
        parse_number("threshold", options->threshold, HF_SEAL_HOLDERS_MAX, &threshold, err);
    if (!hf_failed(st) &&
        (threshold > options->holders.count || (threshold == 0 && options->holders.count > 0))) {
        st = hf_fail(err, HF_USAGE,
                     "--threshold: 1 to the number of holders that are not required (%zu)",
                     options->holders.count);
    }
    *ret_threshold = (uint8_t)threshold;
    return st;
}

static void print_shares(const hf_msg_seal_shares *reply)
{
    for (uint32_t i = 0; i < reply->count && i < HF_SEAL_HOLDERS_MAX; i++) {
        char hex[HF_SEAL_SHARE_HEX_LEN];
        char base64[HF_SEAL_SHARE_BASE64_LEN];
        hf_seal_share share;
        memcpy(share.bytes, reply->shares[i].share, sizeof share.bytes);
        hf_seal_share_to_hex(&share, hex);
        hf_seal_share_to_base64(&share, base64);
        (void)printf("share of %.*s: %s (base64 %s)\n", HF_SEAL_NAME_LEN - 1, reply->shares[i].name,
                     hex, base64);
        hf_wipe(&share, sizeof share);
        hf_wipe(hex, sizeof hex);
        hf_wipe(base64, sizeof base64);
    }
    if (reply->count > 0) {
        (void)printf("Printed shares are shown this once: they are kept nowhere.\n");
    }
    if (reply->missing > 0) {
        (void)printf("%u holders have yet to register: `holdfast seal register NAME`\n",
                     reply->missing);
    } else {
        (void)printf("done: the seal is kept in the store\n");
    }
}

static hf_status run_begin(const begin_options *options, hf_seal_purpose purpose,
                           hf_msg_seal_shares *ret_reply, hf_error *err)
{
    hf_admin *admin = NULL;
    hf_msg_seal_begin *frame = calloc(1, sizeof *frame);
    if (frame == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    frame->purpose = purpose;
    hf_status st = check_threshold(options, &frame->threshold, err);
    if (!hf_failed(st)) {
        st = hf_cli_seal_connect(&options->flags, &admin, err);
    }
    if (!hf_failed(st)) {
        st = fill_holders(options, frame, err);
    }
    if (!hf_failed(st)) {
        st = hf_admin_call(admin, frame, HF_MSG_SEAL_BEGIN, HF_MSG_SEAL_SHARES, ret_reply, err);
    }
    hf_wipe(frame, sizeof *frame);
    free(frame);
    hf_admin_close(admin);
    return st;
}

#define BEGIN_OPTIONS(begin)                                                                       \
    HF_CLI_STORE_OPTIONS((begin).flags),                                                           \
        {.name = "threshold",                                                                      \
         .argument = "M",                                                                          \
         .help = "how many of the holders are needed [all]",                                       \
         .text = &(begin).threshold},                                                              \
        {.name = "holder",                                                                         \
         .argument = "NAME:KIND",                                                                  \
         .help = "passphrase, keyfile=PATH, printed, pkcs11=LABEL, awskms=KEY; repeat",            \
         .list = &(begin).holders},                                                                \
        {.name = "require",                                                                        \
         .argument = "NAME:KIND",                                                                  \
         .help = "a holder without whom nothing opens, beside the threshold",                      \
         .list = &(begin).required},                                                               \
        {.name = "passphrase-file",                                                                \
         .argument = "NAME=FILE",                                                                  \
         .help = "a holder's passphrase (mode 0600); else it is asked for",                        \
         .list = &(begin).passphrase_files},                                                       \
        {.name = "passphrase-fd",                                                                  \
         .argument = "NAME=N",                                                                     \
         .help = "the same, from an open descriptor",                                              \
         .list = &(begin).passphrase_fds},                                                         \
        {.name = "register-later",                                                                 \
         .help = "holders bring their passphrases themselves: holdfast seal register",             \
         .on = &(begin).register_later},                                                           \
        {.name = "kdf-memory",                                                                     \
         .argument = "MIB",                                                                        \
         .help = "memory that a try of a passphrase takes, 19 to 4096 [1024]",                     \
         .text = &(begin).memory},                                                                 \
    {                                                                                              \
        .name = "kdf-passes", .argument = "N", .help = "passes over that memory, 2 to 64 [4]",     \
        .text = &(begin).passes                                                                    \
    }

typedef struct begin_verb {
    const char *verb;
    const char *name;
    const char *summary;
    hf_seal_purpose purpose;
} begin_verb;

static const begin_verb begin_verbs[] = {
    {"init", "seal init", "Makes the seal of a signer: a new master key, split among holders.",
     HF_SEAL_INIT},
    {"rekey", "seal rekey", "Gives the master key to other holders; the shares before are void.",
     HF_SEAL_REKEY},
    {"rotate", "seal rotate", "Makes a new master key and seals all records anew.", HF_SEAL_ROTATE},
};

int hf_cli_seal_begin(int argc, char **argv)
{
    static begin_options begin; /* its lists are large */
    const hf_cli_option options[] = {BEGIN_OPTIONS(begin)};
    const begin_verb *verb = &begin_verbs[0];
    for (size_t i = 0; i < HF_ARRAY_LEN(begin_verbs); i++) {
        verb = strcmp(argv[0], begin_verbs[i].verb) == 0 ? &begin_verbs[i] : verb;
    }
    const hf_cli_command command = {
        .name = verb->name,
        .arguments = "",
        .summary = verb->summary,
        .details = "A key file of a holder NAME that lies as NAME.key in key_file_dir of the "
                   "configuration\ngives its share by itself, at each start.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    int exit_status = hf_cli_parse(&command, argc, argv, &first);
    if (exit_status != HF_CLI_GO) {
        return exit_status;
    }
    hf_error err = {0};
    hf_msg_seal_shares reply = {.count = 0};
    hf_status st = run_begin(&begin, verb->purpose, &reply, &err);
    if (hf_failed(st)) {
        return hf_cli_report(&err);
    }
    print_shares(&reply);
    hf_wipe(&reply, sizeof reply);
    return HF_EXIT_DONE;
}

/* ---- register ----------------------------------------------------------------------------------
 */

static hf_status run_register(const begin_options *options, const char *name, uint64_t *ret_missing,
                              hf_error *err)
{
    hf_admin *admin = NULL;
    hf_msg_seal_register frame = {.holder = {.has_key = 1}};
    hf_msg_result result;
    if (hf_failed(hf_str_copy(frame.holder.name, sizeof frame.holder.name, name))) {
        return hf_fail(err, HF_USAGE, "%s: no name of a holder", name);
    }
    hf_status st = hf_cli_seal_connect(&options->flags, &admin, err);
    if (!hf_failed(st)) {
        st = get_key(options, &frame.holder, err);
    }
    if (!hf_failed(st)) {
        st = hf_admin_call(admin, &frame, HF_MSG_SEAL_REGISTER, HF_MSG_RESULT, &result, err);
    }
    if (!hf_failed(st)) {
        *ret_missing = result.value;
    }
    hf_wipe(&frame, sizeof frame);
    hf_admin_close(admin);
    return st;
}

int hf_cli_seal_register(int argc, char **argv)
{
    static begin_options begin; /* its lists are large */
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(begin.flags),
        {.name = "passphrase-file",
         .argument = "NAME=FILE",
         .help = "the passphrase (mode 0600); else it is asked for",
         .list = &begin.passphrase_files},
        {.name = "passphrase-fd",
         .argument = "NAME=N",
         .help = "the same, from an open descriptor",
         .list = &begin.passphrase_fds},
        {.name = "kdf-memory",
         .argument = "MIB",
         .help = "memory that a try of the passphrase takes, 19 to 4096 [1024]",
         .text = &begin.memory},
        {.name = "kdf-passes",
         .argument = "N",
         .help = "passes over that memory, 2 to 64 [4]",
         .text = &begin.passes},
    };
    const hf_cli_command command = {
        .name = "seal register",
        .arguments = "NAME",
        .summary = "Takes the share that init, rekey or rotate made for the holder NAME.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options),
        .least = 1,
        .most = 1};
    int first = 0;
    int exit_status = hf_cli_parse(&command, argc, argv, &first);
    if (exit_status != HF_CLI_GO) {
        return exit_status;
    }
    hf_error err = {0};
    uint64_t missing = 0;
    if (hf_failed(run_register(&begin, argv[first], &missing, &err))) {
        return hf_cli_report(&err);
    }
    if (missing == 0) {
        (void)printf("registered; all holders are there, and the seal is kept in the store\n");
    } else {
        (void)printf("registered; %llu holders have yet to\n", (unsigned long long)missing);
    }
    return HF_EXIT_DONE;
}
