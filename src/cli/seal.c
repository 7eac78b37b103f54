/* holdfast seal: the seal machine of a running signer, through its admin socket. */
#include "seal_internal.h"

#include <inttypes.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

/* ---- what all verbs do ------------------------------------------------------------------------
 */

hf_status hf_cli_seal_connect(const hf_config_flags *flags, hf_admin **ret_admin, hf_error *err)
{
    hf_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = hf_config_load(flags, config, err);
    if (!hf_failed(st)) {
        st = hf_admin_connect(config->data_dir, ret_admin, err);
    }
    hf_wipe(config, sizeof *config); /* a database's URL may hold a password */
    free(config);
    return st;
}

hf_status hf_cli_seal_status(hf_admin *admin, hf_msg_seal_status_reply **ret_status, hf_error *err)
{
    hf_msg_ask ask = {0};
    hf_msg_seal_status_reply *status = calloc(1, sizeof *status);
    if (status == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st =
        hf_admin_call(admin, &ask, HF_MSG_SEAL_STATUS, HF_MSG_SEAL_STATUS_REPLY, status, err);
    if (!hf_failed(st) &&
        status->holder_count + status->candidate_count > (int)HF_ARRAY_LEN(status->holders)) {
        st = hf_fail(err, HF_INTERNAL, "the signer's answer is malformed");
    }
    if (hf_failed(st)) {
        free(status);
        return st;
    }
    *ret_status = status;
    return hf_ok();
}

hf_status hf_cli_seal_passphrase_key(const hf_seal_kdf *kdf, const hf_cli_passphrase *source,
                                     uint8_t ret_key[HF_SEAL_KEY_BYTES], hf_error *err)
{
    hf_buf *text = NULL;
    if (kdf->memory_bytes > HF_SEAL_KDF_MEMORY_MOST || kdf->passes > HF_SEAL_KDF_PASSES_MOST) {
        return hf_fail(err, HF_CORRUPT, "the seal asks for more than Argon2id may take");
    }
    hf_status st = hf_cli_passphrase_read(source, &text, err);
    if (hf_failed(st)) {
        return st;
    }
    st =
        hf_seal_key_of_passphrase(kdf, hf_bytes_from(hf_buf_peek(text), hf_buf_len(text)), ret_key);
    if (hf_failed(st)) {
        st = hf_fail(err, HF_LIMIT, "Argon2id needs %" PRIu64 " MiB of memory, which are not there",
                     kdf->memory_bytes / MIB);
    }
    hf_buf_free(text);
    return st;
}

static hf_status make_key_file(const char *path, hf_error *err)
{
    uint8_t content[HF_SEAL_KEY_BYTES];
    hf_random(content, sizeof content);
    hf_status st = hf_file_write_atomic(path, content, sizeof content, 0600, err);
    hf_wipe(content, sizeof content);
    return st;
}

hf_status hf_cli_seal_file_key(const char *path, bool create, uint8_t ret_key[HF_SEAL_KEY_BYTES],
                               hf_error *err)
{
    hf_buf *content = NULL;
    hf_status st = hf_file_check_private(path, err);
    if (st.code == HF_NOT_FOUND && create) {
        st = make_key_file(path, err);
    }
    if (!hf_failed(st)) {
        st = hf_file_read(path, HF_SEAL_KEY_BYTES, &content, err);
    }
    if (!hf_failed(st) && hf_buf_len(content) != HF_SEAL_KEY_BYTES) {
        st = hf_fail(err, HF_INVALID_INPUT, "%s: a key file has %d bytes, no more and no less",
                     path, HF_SEAL_KEY_BYTES);
    }
    if (!hf_failed(st)) {
        hf_seal_key_of_file(hf_buf_peek(content), ret_key);
    }
    hf_buf_free(content);
    return st;
}

/* ---- status -----------------------------------------------------------------------------------
 */

static void print_holder(const hf_msg_seal_status_reply *s, unsigned i)
{
    const hf_seal_holder_state *holder = &s->holders[i];
    const char *state = holder->is_registered == 0 ? ", has yet to register"
                        : holder->is_given != 0    ? ", its share is here"
                                                   : "";
    (void)printf("  %.*s: %s%s%s%s", HF_SEAL_NAME_LEN - 1, holder->name,
                 hf_holder_kind_name(holder->kind), holder->is_required != 0 ? ", required" : "",
                 i >= s->holder_count ? ", of the change under way" : "", state);
    if (holder->wrong > 0) {
        (void)printf(", %" PRIu64 " wrong shares", holder->wrong);
    }
    (void)printf("\n");
}

static void print_status(const hf_msg_seal_status_reply *s)
{
    (void)printf("state: %s\n", hf_seal_state_name(s->state));
    if (s->is_configured == 0) {
        (void)printf("signing_keys has no entry with backend sealed: there is nothing to seal\n");
        return;
    }
    if (s->holder_count > 0) {
        (void)printf("threshold: %u of those that are not required; generation %" PRIu64
                     ", master key %u\n",
                     s->threshold, s->generation, s->term);
    }
    for (unsigned i = 0; i < s->holder_count + s->candidate_count; i++) {
        print_holder(s, i);
    }
    if (s->missing > 0 && s->state != HF_SEAL_UNINITIALIZED && s->state != HF_SEAL_UNSEALED) {
        (void)printf("missing: %u\n", s->missing);
    }
    (void)printf("keys: %u active, %u inactive, %u refused\n", s->keys_active, s->keys_inactive,
                 s->keys_refused);
    if (s->keys_to_rotate > 0) {
        (void)printf("to be sealed anew: %u\n", s->keys_to_rotate);
    }
    if (s->detail[0] != '\0') {
        (void)printf("note: %.*s\n", HF_DETAIL_LEN - 1, s->detail);
    }
}

/* Names and kinds hold no character that JSON would escape; the detail may. */
static void print_json_text(const char *text, size_t max)
{
    (void)putchar('"');
    for (size_t i = 0; i < max && text[i] != '\0'; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\' || c < 0x20) {
            (void)printf("\\u%04x", c);
        } else {
            (void)putchar(c);
        }
    }
    (void)putchar('"');
}

static void print_json(const hf_msg_seal_status_reply *s)
{
    (void)printf("{\"state\":\"%s\",\"configured\":%s,\"known\":%s,\"threshold\":%u,"
                 "\"missing\":%u,\"generation\":%" PRIu64 ",\"term\":%u,\"loading\":%s,",
                 hf_seal_state_name(s->state), s->is_configured != 0 ? "true" : "false",
                 s->is_known != 0 ? "true" : "false", s->threshold, s->missing, s->generation,
                 s->term, s->is_loading != 0 ? "true" : "false");
    (void)printf("\"keys\":{\"active\":%u,\"inactive\":%u,\"refused\":%u,\"to_rotate\":%u},",
                 s->keys_active, s->keys_inactive, s->keys_refused, s->keys_to_rotate);
    (void)printf("\"detail\":");
    print_json_text(s->detail, sizeof s->detail);
    (void)printf(",\"holders\":[");
    for (unsigned i = 0; i < s->holder_count + s->candidate_count; i++) {
        const hf_seal_holder_state *holder = &s->holders[i];
        (void)printf("%s{\"name\":", i == 0 ? "" : ",");
        print_json_text(holder->name, sizeof holder->name);
        (void)printf(",\"kind\":\"%s\",\"required\":%s,\"given\":%s,\"registered\":%s,"
                     "\"candidate\":%s,\"wrong_shares\":%" PRIu64 "}",
                     hf_holder_kind_name(holder->kind), holder->is_required != 0 ? "true" : "false",
                     holder->is_given != 0 ? "true" : "false",
                     holder->is_registered != 0 ? "true" : "false",
                     i >= s->holder_count ? "true" : "false", holder->wrong);
    }
    (void)printf("]}\n");
}

static int seal_status(int argc, char **argv)
{
    hf_config_flags flags = {0};
    bool json = false;
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        {.name = "json", .help = "print it as JSON", .on = &json},
    };
    const hf_cli_command command = {.name = "seal status",
                                    .arguments = "",
                                    .summary = "The state of the seal of the running signer.",
                                    .options = options,
                                    .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    int exit_status = hf_cli_parse(&command, argc, argv, &first);
    if (exit_status != HF_CLI_GO) {
        return exit_status;
    }
    hf_error err = {0};
    hf_admin *admin = NULL;
    hf_msg_seal_status_reply *status = NULL;
    hf_status st = hf_cli_seal_connect(&flags, &admin, &err);
    if (!hf_failed(st)) {
        st = hf_cli_seal_status(admin, &status, &err);
    }
    hf_admin_close(admin);
    if (hf_failed(st)) {
        return hf_cli_report(&err);
    }
    (json ? print_json : print_status)(status);
    free(status);
    return HF_EXIT_DONE;
}

/* ---- unseal -----------------------------------------------------------------------------------
 */

typedef struct unseal_options {
    const char *holder;
    const char *passphrase_file;
    const char *passphrase_fd;
    const char *key_file;
    const char *share_file;
    bool share;
} unseal_options;

static hf_status read_share(const unseal_options *options, hf_msg_seal_submit *frame, hf_error *err)
{
    hf_cli_passphrase source = {.file = options->share_file, .prompt = "Share (hex or base64)"};
    hf_seal_share share;
    hf_buf *text = NULL;
    hf_status st = hf_cli_passphrase_read(&source, &text, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_seal_share_parse(hf_buf_text(text), hf_buf_len(text), &share);
    if (hf_failed(st)) {
        st = hf_fail(err, HF_INVALID_INPUT,
                     "not a share: it has 66 hex digits or 44 characters of base64");
    } else {
        frame->is_share = 1;
        memcpy(frame->bytes, share.bytes, sizeof frame->bytes);
    }
    hf_wipe(&share, sizeof share);
    hf_buf_free(text);
    return st;
}

static const hf_seal_holder_state *find_holder(const hf_msg_seal_status_reply *s, const char *name)
{
    for (unsigned i = 0; i < s->holder_count; i++) {
        if (strncmp(s->holders[i].name, name, HF_SEAL_NAME_LEN) == 0) {
            return &s->holders[i];
        }
    }
    return NULL;
}

/* The one passphrase that is missing, when it is one. */
static const hf_seal_holder_state *only_passphrase(const hf_msg_seal_status_reply *s)
{
    const hf_seal_holder_state *found = NULL;
    for (unsigned i = 0; i < s->holder_count; i++) {
        if (s->holders[i].kind == HF_HOLDER_PASSPHRASE && s->holders[i].is_given == 0) {
            if (found != NULL) {
                return NULL;
            }
            found = &s->holders[i];
        }
    }
    return found;
}

static hf_status read_key(const unseal_options *options, const hf_seal_holder_state *holder,
                          hf_msg_seal_submit *frame, hf_error *err)
{
    char prompt[HF_SEAL_NAME_LEN + 32];
    if (holder->kind == HF_HOLDER_KEY_FILE) {
        return hf_cli_seal_file_key(options->key_file != NULL ? options->key_file
                                                              : holder->reference,
                                    false, frame->bytes, err);
    }
    if (holder->kind == HF_HOLDER_PKCS11 || holder->kind == HF_HOLDER_AWS_KMS) {
        return hf_ok(); /* the signer asks it */
    }
    if (holder->kind != HF_HOLDER_PASSPHRASE) {
        return read_share(options, frame, err);
    }
    (void)snprintf(prompt, sizeof prompt, "Passphrase of %s", frame->name);
    hf_cli_passphrase source = {
        .file = options->passphrase_file, .fd = options->passphrase_fd, .prompt = prompt};
    return hf_cli_seal_passphrase_key(&holder->kdf, &source, frame->bytes, err);
}

static hf_status fill_submit(const unseal_options *options, const hf_msg_seal_status_reply *s,
                             hf_msg_seal_submit *frame, hf_error *err)
{
    const hf_seal_holder_state *holder =
        options->holder != NULL ? find_holder(s, options->holder) : only_passphrase(s);
    if (options->share || options->share_file != NULL) {
        return read_share(options, frame, err);
    }
    if (holder == NULL) {
        return hf_fail(err, HF_USAGE,
                       options->holder != NULL
                           ? "no holder has this name; `holdfast seal status` lists them"
                           : "say who you are: --holder NAME; `holdfast seal status` lists them");
    }
    memcpy(frame->name, holder->name, sizeof frame->name);
    frame->name[sizeof frame->name - 1] = '\0';
    return read_key(options, holder, frame, err);
}

static hf_status run_unseal(const hf_config_flags *flags, const unseal_options *options,
                            uint64_t *ret_missing, hf_error *err)
{
    hf_admin *admin = NULL;
    hf_msg_seal_status_reply *status = NULL;
    hf_msg_seal_submit frame = {.is_share = 0};
    hf_msg_result result;
    hf_status st = hf_cli_seal_connect(flags, &admin, err);
    if (!hf_failed(st)) {
        st = hf_cli_seal_status(admin, &status, err);
    }
    if (!hf_failed(st)) {
        st = fill_submit(options, status, &frame, err);
    }
    if (!hf_failed(st)) {
        st = hf_admin_call(admin, &frame, HF_MSG_SEAL_SUBMIT, HF_MSG_RESULT, &result, err);
    }
    if (!hf_failed(st)) {
        *ret_missing = result.value;
        if (result.detail[0] != '\0') {
            (void)hf_cli_complain(HF_EXIT_DONE, "note: %.*s", HF_DETAIL_LEN - 1, result.detail);
        }
    }
    hf_wipe(&frame, sizeof frame);
    free(status);
    hf_admin_close(admin);
    return st;
}

static int seal_unseal(int argc, char **argv)
{
    hf_config_flags flags = {0};
    unseal_options unseal = {0};
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        {.name = "holder", .argument = "NAME", .help = "whose share", .text = &unseal.holder},
        {.name = "passphrase-file",
         .argument = "FILE",
         .help = "the passphrase (mode 0600); else it is asked for",
         .text = &unseal.passphrase_file},
        {.name = "passphrase-fd",
         .argument = "N",
         .help = "the passphrase, from an open descriptor",
         .text = &unseal.passphrase_fd},
        {.name = "key-file",
         .argument = "FILE",
         .help = "the key file, where it is not where it was",
         .text = &unseal.key_file},
        {.name = "share", .help = "ask for a printed share, of whomever", .on = &unseal.share},
        {.name = "share-file",
         .argument = "FILE",
         .help = "a printed share, hex or base64 (mode 0600)",
         .text = &unseal.share_file},
    };
    const hf_cli_command command = {
        .name = "seal unseal",
        .arguments = "",
        .summary = "Gives one share to the sealed signer; with the last one it signs.",
        .details = "A wrong share is refused at once and spoils nothing.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    int exit_status = hf_cli_parse(&command, argc, argv, &first);
    if (exit_status != HF_CLI_GO) {
        return exit_status;
    }
    hf_error err = {0};
    uint64_t missing = 0;
    if (hf_failed(run_unseal(&flags, &unseal, &missing, &err))) {
        return hf_cli_report(&err);
    }
    if (missing == 0) {
        (void)printf("unsealed\n");
    } else {
        (void)printf("%" PRIu64 " more needed\n", missing);
    }
    return HF_EXIT_DONE;
}

/* ---- seal, cancel ------------------------------------------------------------------------------
 */

static int run_simple(const hf_cli_command *command, hf_config_flags *flags, hf_msg_type type,
                      const char *done, int argc, char **argv)
{
    int first = 0;
    int exit_status = hf_cli_parse(command, argc, argv, &first);
    if (exit_status != HF_CLI_GO) {
        return exit_status;
    }
    hf_error err = {0};
    hf_admin *admin = NULL;
    hf_msg_ask frame = {0};
    hf_status st = hf_cli_seal_connect(flags, &admin, &err);
    if (!hf_failed(st)) {
        st = hf_admin_call(admin, &frame, type, HF_MSG_RESULT, NULL, &err);
    }
    hf_admin_close(admin);
    if (hf_failed(st)) {
        return hf_cli_report(&err);
    }
    (void)printf("%s\n", done);
    return HF_EXIT_DONE;
}

static int seal_seal(int argc, char **argv)
{
    hf_config_flags flags = {0};
    const hf_cli_option options[] = {HF_CLI_STORE_OPTIONS(flags)};
    const hf_cli_command command = {
        .name = "seal seal",
        .arguments = "",
        .summary = "Seals the signer: no sealed key signs, and none is in memory.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    return run_simple(&command, &flags, HF_MSG_SEAL_CLOSE, "sealed", argc, argv);
}

static int seal_cancel(int argc, char **argv)
{
    hf_config_flags flags = {0};
    const hf_cli_option options[] = {HF_CLI_STORE_OPTIONS(flags)};
    const hf_cli_command command = {
        .name = "seal cancel",
        .arguments = "",
        .summary = "Drops the shares given so far, or a change that waits for holders to register.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    return run_simple(&command, &flags, HF_MSG_SEAL_CANCEL, "cancelled", argc, argv);
}

int hf_cli_seal(int argc, char **argv)
{
    static const hf_cli_verb verbs[] = {
        {"status", "the state, the holders, and what is missing", seal_status},
        {"init", "make the seal: a master key, split among holders", hf_cli_seal_begin},
        {"register", "take the share that was made for you", hf_cli_seal_register},
        {"unseal", "give a share", seal_unseal},
        {"seal", "seal the running signer", seal_seal},
        {"rekey", "other holders or another threshold, while it signs", hf_cli_seal_begin},
        {"rotate", "a new master key: all records are sealed anew, while it signs",
         hf_cli_seal_begin},
        {"cancel", "drop shares given so far, or a change that waits", seal_cancel},
    };
    return hf_cli_dispatch("seal", "The seal of a running signer: who can open its keys.", verbs,
                           HF_ARRAY_LEN(verbs), argc, argv);
}
