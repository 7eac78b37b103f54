/* holdfast check: is this configuration good, what does it come to, and which keys are there. */
#include "cli.h"

#include <jansson.h>

#define OUTPUT_MAX_BYTES 2097152 /* the policies may be a megabyte of it */

static int print_json_verdict(const hf_error *err)
{
    json_t *verdict = err == NULL ? json_pack("{s:b}", "valid", 1)
                                  : json_pack("{s:b,s:s}", "valid", 0, "error", err->msg);
    if (verdict == NULL || json_dumpf(verdict, stdout, 0) != 0) {
        json_decref(verdict);
        return hf_cli_complain(HF_EXIT_FAILED, "out of memory");
    }
    json_decref(verdict);
    (void)printf("\n");
    return err == NULL ? HF_EXIT_DONE : HF_EXIT_USAGE;
}

static int print_text(hf_status (*make)(const hf_config_flags *, hf_buf *, hf_error *),
                      const hf_config_flags *flags)
{
    hf_error err = {0};
    hf_buf *out = hf_buf_new(OUTPUT_MAX_BYTES);
    if (out == NULL) {
        return hf_cli_complain(HF_EXIT_FAILED, "out of memory");
    }
    hf_status st = make(flags, out, &err);
    int status = HF_EXIT_DONE;
    if (hf_failed(st)) {
        status = hf_cli_report(&err);
    } else {
        (void)fputs(hf_buf_text(out), stdout);
    }
    hf_buf_free(out);
    return status;
}

static hf_status make_keys(const hf_config_flags *flags, hf_buf *out, hf_error *err)
{
    (void)flags;
    return hf_config_describe(out, err);
}

hf_status hf_cli_load_for_serve(const hf_config_flags *flags, hf_config *ret_config, hf_error *err)
{
    hf_status st = hf_config_load(flags, ret_config, err);
    if (!hf_failed(st) && ret_config->network_is_partial) {
        return hf_fail(
            err, HF_USAGE,
            "--genesis-validators-root: of no known network, and signing needs more than "
            "the root; give --network a YAML file");
    }
    return st;
}

int hf_cli_check(int argc, char **argv)
{
    hf_config_flags flags = {0};
    bool show = false;
    bool keys = false;
    bool json = false;
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        HF_CLI_SERVE_OPTIONS(flags),
        HF_CLI_ROOT_OPTION(flags),
        {.name = "show",
         .help = "print every value and where it came from; secrets hidden",
         .on = &show},
        {.name = "keys", .help = "list all configuration keys with their defaults", .on = &keys},
        {.name = "json", .help = "print the verdict as JSON", .on = &json},
    };
    const hf_cli_command command = {
        .name = "check",
        .arguments = "",
        .summary = "Checks a configuration without starting anything.",
        .details = "Takes the options of `holdfast serve`, so that a unit's command line can be "
                   "checked as it is.\nExit status: 0 good, 2 not good (the reason is on stderr).",
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    if (status != HF_CLI_GO) {
        return status;
    }
    if (show + keys + json > 1) {
        return hf_cli_complain(HF_EXIT_USAGE, "--show, --keys and --json do not go together");
    }
    if (show || keys) {
        return print_text(show ? hf_config_show : make_keys, &flags);
    }
    hf_error err = {0};
    hf_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return hf_cli_complain(HF_EXIT_FAILED, "out of memory");
    }
    hf_status st = hf_cli_load_for_serve(&flags, config, &err);
    if (json) {
        status = print_json_verdict(hf_failed(st) ? &err : NULL);
    } else if (hf_failed(st)) {
        status = hf_cli_report(&err);
    } else {
        (void)printf("good: %s, %u key source%s, data in %s\n", config->network.name,
                     config->key_source_count, config->key_source_count == 1 ? "" : "s",
                     config->data_dir);
        status = HF_EXIT_DONE;
    }
    free(config);
    return status;
}
