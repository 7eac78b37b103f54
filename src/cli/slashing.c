/* holdfast slashing: the record of what was signed, in and out, and its bounds. */
#include "slashing_internal.h"

#include <inttypes.h>
#include <unistd.h>

/* Two million records; beyond that, export by --pubkey. */
#define EXPORT_MAX_BYTES ((size_t)512 << 20)
#define RUNNING_NOTE                                                                               \
    "Works on the store of a stopped signer, and through DATA_DIR/admin.sock while it runs."

static hf_status parse_number(const char *option, const char *text, uint64_t *ret_number,
                              hf_error *err)
{
    if (hf_failed(hf_num_parse_u64(text, strlen(text), ret_number)) ||
        *ret_number > HF_PROTECT_MAX_NUMBER) {
        return hf_fail(err, HF_USAGE, "--%s: not a decimal number below 2^63", option);
    }
    return hf_ok();
}

/* ---- import ------------------------------------------------------------------------------- */

static void print_import(const hf_import_report *report, bool json)
{
    if (json) {
        (void)printf("{\"validators\":%" PRIu64 ",\"blocks\":%" PRIu64 ",\"attestations\":%" PRIu64
                     ",\"conflicts\":%" PRIu64 "}\n",
                     report->validators, report->blocks, report->attestations, report->conflicts);
        return;
    }
    (void)printf("imported %" PRIu64 " validators, %" PRIu64 " blocks, %" PRIu64 " attestations\n",
                 report->validators, report->blocks, report->attestations);
    if (report->conflicts > 0) {
        (void)printf("%" PRIu64 " records contradict each other or what was known: all are kept, "
                     "none of them can be signed again\n",
                     report->conflicts);
    }
}

static hf_status read_document(const char *name, hf_buf **ret_buf, hf_error *err)
{
    if (strcmp(name, "-") == 0) {
        return hf_file_read_fd(STDIN_FILENO, "standard input", HF_INTERCHANGE_MAX_BYTES, ret_buf,
                               err);
    }
    return hf_file_read(name, HF_INTERCHANGE_MAX_BYTES, ret_buf, err);
}

static hf_status drop_page(void *context, const hf_message *messages, size_t n, hf_error *err)
{
    (void)context;
    (void)messages;
    (void)n;
    (void)err;
    return hf_ok();
}

/* A new store is bound to its network for good: none is made for a document that is then refused.
 */
static hf_status open_for_import(const hf_config_flags *flags, hf_bytes json, hf_target *ret_target,
                                 hf_error *err)
{
    hf_status st = hf_target_open(flags, false, ret_target, err);
    if (st.code != HF_NOT_FOUND) {
        return st;
    }
    st = hf_interchange_parse(json, ret_target->root, drop_page, NULL, err);
    hf_target_close(ret_target);
    return hf_failed(st) ? st : hf_target_open(flags, true, ret_target, err);
}

static hf_status run_import(const hf_config_flags *flags, const char *name,
                            hf_import_report *ret_report, hf_error *err)
{
    hf_target target = {.lock_fd = -1};
    hf_buf *document = NULL;
    hf_status st = read_document(name, &document, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_bytes json = hf_bytes_from(hf_buf_peek(document), hf_buf_len(document));
    st = open_for_import(flags, json, &target, err);
    if (!hf_failed(st)) {
        st = hf_target_import(&target, json, ret_report, err);
    }
    if (st.code != HF_USAGE) {
        st = hf_error_wrap(err, st, "%s: nothing was imported", name);
    }
    hf_target_close(&target);
    hf_buf_free(document);
    return st;
}

static int slashing_import(int argc, char **argv)
{
    hf_config_flags flags = {0};
    bool json = false;
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        HF_CLI_ROOT_OPTION(flags),
        {.name = "json", .help = "print the report as JSON", .on = &json},
    };
    const hf_cli_command command = {
        .name = "slashing import",
        .arguments = "FILE",
        .summary = "Takes in an EIP-3076 history (version 5): all of it or nothing.",
        .details = "FILE - is standard input. Records that are slashable among themselves are kept "
                   "as well:\nan import only ever makes the protection stricter.\n" RUNNING_NOTE,
        .options = options,
        .option_count = HF_ARRAY_LEN(options),
        .least = 1,
        .most = 1};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    if (status != HF_CLI_GO) {
        return status;
    }
    hf_error err = {0};
    hf_import_report report = {0};
    hf_status st = run_import(&flags, argv[first], &report, &err);
    if (hf_failed(st)) {
        return hf_cli_report(&err);
    }
    print_import(&report, json);
    return HF_EXIT_DONE;
}

/* ---- export ------------------------------------------------------------------------------- */

typedef struct export_job {
    hf_interchange_writer *writer;
    uint64_t records;
} export_job;

static hf_status write_record(void *context, const hf_message *message)
{
    export_job *job = context;
    job->records++;
    return hf_interchange_writer_add(job->writer, message);
}

static hf_status export_one(hf_target *target, const char *text, export_job *job, hf_error *err)
{
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    uint64_t before = job->records;
    if (hf_failed(hf_hex_decode(text, strlen(text), pubkey, sizeof pubkey))) {
        return hf_fail(err, HF_USAGE, "--pubkey: not 48 bytes in hex");
    }
    hf_status st = hf_target_export(target, pubkey, write_record, job, err);
    if (!hf_failed(st) && job->records == before) {
        (void)hf_cli_complain(HF_EXIT_DONE, "note: nothing is on record for %s", text);
    }
    return st;
}

static hf_status export_to(hf_target *target, const hf_cli_list *pubkeys, hf_buf *out,
                           hf_error *err)
{
    export_job job = {0};
    hf_status st = hf_interchange_writer_new(target->root, out, &job.writer);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "out of memory");
    }
    if (pubkeys->count == 0) {
        st = hf_target_export(target, NULL, write_record, &job, err);
    }
    for (size_t i = 0; i < pubkeys->count && !hf_failed(st); i++) {
        st = export_one(target, pubkeys->items[i], &job, err);
    }
    if (!hf_failed(st) && hf_failed(hf_interchange_writer_finish(job.writer))) {
        st = hf_fail(err, HF_LIMIT, "the export is larger than this program can write");
    }
    hf_interchange_writer_free(job.writer);
    return st;
}

static hf_status put_export(const hf_buf *out, const char *path, hf_error *err)
{
    if (path != NULL) {
        return hf_file_write_atomic(path, hf_buf_peek(out), hf_buf_len(out), 0600, err);
    }
    if (fwrite(hf_buf_peek(out), 1, hf_buf_len(out), stdout) != hf_buf_len(out)) {
        return hf_fail(err, HF_IO, "the output could not be written");
    }
    return hf_ok();
}

static hf_status run_export(const hf_config_flags *flags, const hf_cli_list *pubkeys,
                            const char *path, hf_error *err)
{
    hf_target target = {.lock_fd = -1};
    hf_buf *out = hf_buf_new(EXPORT_MAX_BYTES);
    if (out == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = hf_target_open(flags, false, &target, err);
    if (!hf_failed(st)) {
        st = export_to(&target, pubkeys, out, err);
    }
    hf_target_close(&target);
    if (!hf_failed(st)) {
        st = put_export(out, path, err);
    }
    hf_buf_free(out);
    return st;
}

static int slashing_export(int argc, char **argv)
{
    hf_config_flags flags = {0};
    static hf_cli_list pubkeys; /* too large for a frame */
    const char *output = NULL;
    pubkeys.count = 0;
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        HF_CLI_ROOT_OPTION(flags),
        {.name = "output",
         .letter = 'o',
         .argument = "FILE",
         .help = "write there, whole or not at all, mode 0600",
         .text = &output},
        {.name = "pubkey",
         .argument = "HEX",
         .help = "only this validator; may be repeated",
         .list = &pubkeys},
    };
    const hf_cli_command command = {
        .name = "slashing export",
        .arguments = "",
        .summary = "Writes the history as EIP-3076 (version 5), to standard output or a file.",
        .details =
            "Before another signer takes over the keys, stop this one: what it signs after the "
            "export\nis not in it.\n" RUNNING_NOTE,
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    if (status != HF_CLI_GO) {
        return status;
    }
    hf_error err = {0};
    return hf_failed(run_export(&flags, &pubkeys, output, &err)) ? hf_cli_report(&err)
                                                                 : HF_EXIT_DONE;
}

/* ---- prune -------------------------------------------------------------------------------- */

static hf_status run_prune(const hf_config_flags *flags, const char *keep_text, uint64_t *ret_keep,
                           uint64_t *ret_rows, hf_error *err)
{
    hf_target target = {.lock_fd = -1};
    uint64_t keep = 0;
    hf_status st = hf_ok();
    if (keep_text != NULL) {
        st = parse_number("keep-epochs", keep_text, &keep, err);
    }
    if (!hf_failed(st)) {
        st = hf_target_open(flags, false, &target, err);
    }
    if (!hf_failed(st)) {
        keep = keep_text != NULL ? keep : target.keep_epochs;
        st = hf_target_prune(&target, keep, ret_rows, err);
        *ret_keep = keep;
    }
    hf_target_close(&target);
    return st;
}

static int slashing_prune(int argc, char **argv)
{
    hf_config_flags flags = {0};
    const char *keep_text = NULL;
    bool json = false;
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        HF_CLI_ROOT_OPTION(flags),
        {.name = "keep-epochs",
         .argument = "N",
         .help = "how far back records are kept; 0 keeps all [as configured]",
         .text = &keep_text},
        {.name = "json", .help = "print the result as JSON", .on = &json},
    };
    const hf_cli_command command = {
        .name = "slashing prune",
        .arguments = "",
        .summary = "Removes old records; what they forbade stays forbidden.",
        .details =
            "A running signer prunes by itself, in small steps between signatures.\n" RUNNING_NOTE,
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    if (status != HF_CLI_GO) {
        return status;
    }
    hf_error err = {0};
    uint64_t keep = 0;
    uint64_t rows = 0;
    if (hf_failed(run_prune(&flags, keep_text, &keep, &rows, &err))) {
        return hf_cli_report(&err);
    }
    if (json) {
        (void)printf("{\"keep_epochs\":%" PRIu64 ",\"rows_deleted\":%" PRIu64 "}\n", keep, rows);
    } else {
        (void)printf("removed %" PRIu64 " records older than %" PRIu64 " epochs\n", rows, keep);
    }
    return HF_EXIT_DONE;
}

/* ---- status ------------------------------------------------------------------------------- */

static void print_mark_json(const char *name, const hf_watermark *mark, bool has_source)
{
    (void)printf(",\"%s\":{", name);
    if (mark->has_slot) {
        (void)printf("\"slot\":\"%" PRIu64 "\"%s", mark->slot, mark->has_epochs ? "," : "");
    }
    if (mark->has_epochs && has_source) {
        (void)printf("\"source_epoch\":\"%" PRIu64 "\",\"target_epoch\":\"%" PRIu64 "\"",
                     mark->source, mark->target);
    } else if (mark->has_epochs) {
        (void)printf("\"epoch\":\"%" PRIu64 "\"", mark->target);
    }
    (void)printf("}");
}

static void print_mark(const char *name, const hf_watermark *mark, bool has_source)
{
    (void)printf("%-22s", name);
    if (!mark->has_slot && !mark->has_epochs) {
        (void)printf("none");
    }
    if (mark->has_slot) {
        (void)printf("slot %" PRIu64 "%s", mark->slot, mark->has_epochs ? ", " : "");
    }
    if (mark->has_epochs && has_source) {
        (void)printf("source epoch %" PRIu64 ", target epoch %" PRIu64, mark->source, mark->target);
    } else if (mark->has_epochs) {
        (void)printf("epoch %" PRIu64, mark->target);
    }
    (void)printf("\n");
}

static void print_guard(const hf_guard_report *guard, bool json)
{
    const char *state = hf_guard_state_name((hf_guard_state)guard->state);
    const char *why = hf_guard_cause_sentence((hf_guard_cause)guard->cause);
    if (json) {
        (void)printf(",\"start_guard\":{\"state\":\"%s\",\"detail\":\"%s\"}", state, why);
    } else {
        (void)printf("%-22s%s: %s\n", "start guard", state, why);
    }
}

/* guard: NULL when the signer does not run. */
static void print_status(const hf_store_status *status, const hf_guard_report *guard, bool json)
{
    bool running = guard != NULL;
    char root[2 * HF_ROOT_BYTES + 1];
    hf_hex_encode(status->genesis_validators_root, HF_ROOT_BYTES, root);
    if (json) {
        (void)printf("{\"genesis_validators_root\":\"0x%s\",\"running\":%s,\"validators\":%" PRIu64
                     ",\"blocks\":%" PRIu64 ",\"attestations\":%" PRIu64,
                     root, running ? "true" : "false", status->validators, status->blocks,
                     status->attestations);
        print_mark_json("lowest_floors", &status->lowest_floors, true);
        print_mark_json("highest_floors", &status->highest_floors, true);
        print_mark_json("high_watermark", &status->high, false);
        if (running) {
            print_guard(guard, true);
        }
        (void)printf("}\n");
        return;
    }
    (void)printf("%-22s0x%s\n%-22s%s\n%-22s%" PRIu64 "\n%-22s%" PRIu64 "\n%-22s%" PRIu64 "\n",
                 "network (root)", root, "signer", running ? "running" : "stopped", "validators",
                 status->validators, "blocks", status->blocks, "attestations",
                 status->attestations);
    print_mark("lowest floors", &status->lowest_floors, true);
    print_mark("highest floors", &status->highest_floors, true);
    print_mark("high watermark", &status->high, false);
    if (running) {
        print_guard(guard, false);
    }
}

static int slashing_status(int argc, char **argv)
{
    hf_config_flags flags = {0};
    bool json = false;
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        HF_CLI_ROOT_OPTION(flags),
        {.name = "json", .help = "print as JSON", .on = &json},
    };
    const hf_cli_command command = {
        .name = "slashing status",
        .arguments = "",
        .summary = "Shows how much is on record, and between which bounds may be signed.",
        .details = RUNNING_NOTE,
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    if (status != HF_CLI_GO) {
        return status;
    }
    hf_error err = {0};
    hf_target target;
    hf_store_status found;
    hf_status st = hf_target_open(&flags, false, &target, &err);
    if (!hf_failed(st)) {
        st = hf_target_status(&target, &found, &err);
    }
    const hf_guard_report guard = target.guard;
    bool running = target.has_guard;
    hf_target_close(&target);
    if (hf_failed(st)) {
        return hf_cli_report(&err);
    }
    print_status(&found, running ? &guard : NULL, json);
    return HF_EXIT_DONE;
}

/* ---- watermark-repair --------------------------------------------------------------------- */

typedef struct repair {
    hf_config_flags flags;
    const char *epoch;
    const char *slot;
    bool set_high;
    bool remove_high;
} repair;

static hf_status parse_repair(const repair *wanted, hf_watermark *ret_mark, hf_error *err)
{
    hf_watermark mark = {.has_slot = wanted->slot != NULL, .has_epochs = wanted->epoch != NULL};
    if (wanted->set_high && wanted->remove_high) {
        return hf_fail(err, HF_USAGE,
                       "--set-high-watermark and --remove-high-watermark do not go together");
    }
    if (wanted->remove_high) {
        return mark.has_slot || mark.has_epochs
                   ? hf_fail(err, HF_USAGE, "--remove-high-watermark takes no --epoch or --slot")
                   : hf_ok();
    }
    if (!mark.has_slot || !mark.has_epochs) {
        return hf_fail(err, HF_USAGE, "watermark-repair: needs --epoch N and --slot N");
    }
    hf_status st = parse_number("epoch", wanted->epoch, &mark.target, err);
    if (!hf_failed(st)) {
        st = parse_number("slot", wanted->slot, &mark.slot, err);
    }
    mark.source = mark.target;
    if (!hf_failed(st)) {
        *ret_mark = mark;
    }
    return st;
}

/* A floor at or above the high watermark would leave nothing that may be signed. */
static hf_status check_room(hf_target *target, const hf_watermark *mark, hf_error *err)
{
    hf_store_status status;
    hf_status st = hf_target_status(target, &status, err);
    if (hf_failed(st)) {
        return st;
    }
    if ((status.high.has_slot && mark->slot >= status.high.slot) ||
        (status.high.has_epochs && mark->target >= status.high.target)) {
        return hf_fail(err, HF_CONFLICT,
                       "the high watermark (slot %" PRIu64 ", epoch %" PRIu64
                       ") is not above that: remove it first",
                       status.high.slot, status.high.target);
    }
    return hf_ok();
}

static hf_status run_repair(const repair *wanted, hf_error *err)
{
    hf_target target = {.lock_fd = -1};
    hf_watermark mark = {0};
    hf_status st = parse_repair(wanted, &mark, err);
    if (!hf_failed(st)) {
        st = hf_target_open(&wanted->flags, false, &target, err);
    }
    if (hf_failed(st)) {
        goto out;
    }
    if (wanted->set_high || wanted->remove_high) {
        st = hf_target_set_high(&target, wanted->set_high ? &mark : NULL, err);
    } else {
        st = check_room(&target, &mark, err);
        if (!hf_failed(st)) {
            st = hf_target_raise_floors(&target, &mark, err);
        }
    }
out:
    hf_target_close(&target);
    return st;
}

static int slashing_repair(int argc, char **argv)
{
    repair wanted = {0};
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(wanted.flags),
        HF_CLI_ROOT_OPTION(wanted.flags),
        {.name = "epoch",
         .argument = "N",
         .help = "source and target epoch",
         .text = &wanted.epoch},
        {.name = "slot", .argument = "N", .help = "block slot", .text = &wanted.slot},
        {.name = "set-high-watermark",
         .help = "refuse everything from there on, instead of up to there",
         .on = &wanted.set_high},
        {.name = "remove-high-watermark",
         .help = "let signing go on past it",
         .on = &wanted.remove_high},
    };
    const hf_cli_command command = {
        .name = "slashing watermark-repair",
        .arguments = "",
        .summary = "Raises the floors of every validator, or sets or removes the high watermark.",
        .details = "Floors are never lowered. The high watermark stops all signing at a slot and "
                   "epoch, so that\nanother signer can take over from there.\n" RUNNING_NOTE,
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    if (status != HF_CLI_GO) {
        return status;
    }
    hf_error err = {0};
    if (hf_failed(run_repair(&wanted, &err))) {
        return hf_cli_report(&err);
    }
    (void)printf("%s\n", wanted.set_high      ? "the high watermark is set"
                         : wanted.remove_high ? "the high watermark is removed"
                                              : "the floors of all validators are raised");
    return HF_EXIT_DONE;
}

static const hf_cli_verb verbs[] = {
    {"import", "take in an EIP-3076 history", slashing_import},
    {"export", "write the history as EIP-3076", slashing_export},
    {"prune", "remove old records", slashing_prune},
    {"status", "what is on record, and the watermarks", slashing_status},
    {"watermark-repair", "raise floors, set or remove the high watermark", slashing_repair},
};

int hf_cli_slashing(int argc, char **argv)
{
    return hf_cli_dispatch("slashing", "The record of what was signed (EIP-3076).", verbs,
                           HF_ARRAY_LEN(verbs), argc, argv);
}
