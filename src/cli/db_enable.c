/* holdfast db enable: a validator that Web3Signer disabled may sign again. */
#include "cli.h"
#include "db_internal.h"

#include "protect/protect.h"

static hf_status enable(const char *url, const char *url_file, const char *text,
                        bool *ret_was_disabled, hf_error *err)
{
    char full_url[HF_DB_URL_BYTES];
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    if (hf_failed(hf_hex_decode(text, strlen(text), pubkey, sizeof pubkey))) {
        return hf_fail(err, HF_USAGE, "a public key is 48 bytes in hex");
    }
    hf_status st = hf_cli_db_read_url(url, url_file, full_url, err);
    if (!hf_failed(st)) {
        st = hf_postgres_enable(full_url, pubkey, ret_was_disabled, err);
    }
    hf_wipe(full_url, sizeof full_url);
    return st;
}

int hf_cli_db_enable(int argc, char **argv)
{
    const char *url = NULL;
    const char *url_file = NULL;
    const hf_cli_option options[] = {
        {.name = "database-url",
         .argument = "URL",
         .help = "postgresql://USER@HOST:PORT/DATABASE",
         .text = &url},
        {.name = "database-url-file",
         .argument = "FILE",
         .help = "a file with the URL (mode 0600), for one with a password",
         .text = &url_file},
    };
    const hf_cli_command command = {
        .name = "db enable",
        .arguments = "PUBKEY",
        .summary = "Lets a validator sign again that was disabled in a shared database.",
        .details = "Web3Signer disables a validator whose key is deleted from it (DISABLED "
                   "here).\nSigners heed the change at once; the history stays. Make sure that the "
                   "key does not\nsign elsewhere, on another record.",
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
    bool was_disabled = false;
    if (hf_failed(enable(url, url_file, argv[first], &was_disabled, &err))) {
        return hf_cli_report(&err);
    }
    (void)printf(was_disabled ? "enabled: it may sign again\n" : "it was not disabled\n");
    return HF_EXIT_DONE;
}
