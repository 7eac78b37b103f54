/* holdfast serve: the signer, in the foreground. */
#include "cli.h"

#include "supervisor/supervisor.h"

int hf_cli_serve(int argc, char **argv)
{
    hf_config_flags flags = {0};
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        HF_CLI_SERVE_OPTIONS(flags),
        HF_CLI_ROOT_OPTION(flags),
    };
    const hf_cli_command command = {
        .name = "serve",
        .arguments = "",
        .summary = "Runs the signer in the foreground until SIGTERM or SIGINT.",
        .details =
            "SIGHUP reloads the keys, the TLS files, and policies, limits and canary_keys of the\n"
            "configuration; anything else that changes there needs a restart.\n"
            "Flags beat the environment (HOLDFAST_...), which beats the file.\n"
            "Exit status: 0 stopped as told, 1 failed, 2 usage or configuration.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    if (status != HF_CLI_GO) {
        return status;
    }
    hf_error err = {0};
    hf_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return hf_cli_complain(HF_EXIT_FAILED, "out of memory");
    }
    hf_status st = hf_cli_load_for_serve(&flags, config, &err);
    status = hf_failed(st) ? hf_cli_report(&err) : hf_serve(&flags, config);
    free(config);
    return status;
}
