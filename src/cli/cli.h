/*
 * cli: what a person types. `holdfast NOUN [VERB] [options]`; one file a noun, one table a command,
 * so that help, errors and exit statuses are alike everywhere.
 *
 * Exit status: 0 done, 1 refused or failed, 2 wrong usage or configuration. An error is one line on
 * stderr. Everything here runs on the one thread of main.
 */
#ifndef HF_CLI_H
#define HF_CLI_H

#include "base/base.h"
#include "config/config.h"

typedef enum hf_exit { HF_EXIT_DONE = 0, HF_EXIT_FAILED = 1, HF_EXIT_USAGE = 2 } hf_exit;

/* ---- the commands: argv[0] is the noun, as typed ------------------------------------------- */

int hf_cli_serve(int argc, char **argv);
int hf_cli_check(int argc, char **argv);
int hf_cli_key(int argc, char **argv);
int hf_cli_slashing(int argc, char **argv);
int hf_cli_audit(int argc, char **argv);
int hf_cli_db(int argc, char **argv);
int hf_cli_doctor(int argc, char **argv);
int hf_cli_policy(int argc, char **argv);
int hf_cli_token(int argc, char **argv);
int hf_cli_seal(int argc, char **argv);

/* ---- options ------------------------------------------------------------------------------ */

#define HF_CLI_LIST_MAX 1024

/* An option that may be given again and again. */
typedef struct hf_cli_list {
    const char *items[HF_CLI_LIST_MAX];
    size_t count;
} hf_cli_list;

/* One option; exactly one of text, on and list is set, and what it points to starts empty. */
typedef struct hf_cli_option {
    const char *name;     /* "data-dir" */
    char letter;          /* 'c', or 0 */
    const char *argument; /* "DIR"; NULL for a switch */
    const char *help;     /* without a full stop */
    const char **text;
    bool *on;
    hf_cli_list *list;
} hf_cli_option;

typedef struct hf_cli_command {
    const char *name;      /* "key import" */
    const char *arguments; /* as the usage line shows them: "DIR"; "" for none */
    const char *summary;   /* one sentence */
    const char *details;   /* lines below the options, or NULL */
    const hf_cli_option *options;
    size_t option_count;
    int least; /* how many arguments beside the options */
    int most;
} hf_cli_command;

/* What nearly every command takes. */
#define HF_CLI_STORE_OPTIONS(flags)                                                                \
    {.name = "config",                                                                             \
     .letter = 'c',                                                                                \
     .argument = "FILE",                                                                           \
     .help = "the configuration, holdfast.yaml(5)",                                                \
     .text = &(flags).file},                                                                       \
        {.name = "data-dir",                                                                       \
         .argument = "DIR",                                                                        \
         .help = "folder of everything Holdfast keeps",                                            \
         .text = &(flags).data_dir},                                                               \
    {                                                                                              \
        .name = "network", .argument = "NAME", .help = "mainnet, sepolia, ... or a YAML file",     \
        .text = &(flags).network                                                                   \
    }

/* What serve and check take beyond that. */
#define HF_CLI_SERVE_OPTIONS(flags)                                                                \
    {.name = "keystore-dir",                                                                       \
     .argument = "DIR",                                                                            \
     .help = "folder of EIP-2335 keystores",                                                       \
     .text = &(flags).keystore_dir},                                                               \
        {.name = "password-file",                                                                  \
         .argument = "FILE",                                                                       \
         .help = "their one password (mode 0600)",                                                 \
         .text = &(flags).password_file},                                                          \
        {.name = "listen",                                                                         \
         .argument = "ADDR:PORT",                                                                  \
         .help = "where validator clients connect [127.0.0.1:9000]",                               \
         .text = &(flags).listen},                                                                 \
        {.name = "metrics-listen",                                                                 \
         .argument = "ADDR:PORT",                                                                  \
         .help = "where Prometheus connects [127.0.0.1:3000]",                                     \
         .text = &(flags).metrics_listen},                                                         \
        {.name = "database-url",                                                                   \
         .argument = "URL",                                                                        \
         .help = "record in this PostgreSQL, shared with other signers",                           \
         .text = &(flags).database_url},                                                           \
        {.name = "database-url-file",                                                              \
         .argument = "FILE",                                                                       \
         .help = "the same from a file (mode 0600), for a URL with a password",                    \
         .text = &(flags).database_url_file},                                                      \
    {                                                                                              \
        .name = "log-format", .argument = "FORMAT", .help = "text or json [text]",                 \
        .text = &(flags).log_format                                                                \
    }

/* What commands on a store take, for a store whose network is nowhere configured. */
#define HF_CLI_ROOT_OPTION(flags)                                                                  \
    {                                                                                              \
        .name = "genesis-validators-root", .argument = "HEX",                                      \
        .help = "the chain, where no network is configured",                                       \
        .text = &(flags).genesis_validators_root                                                   \
    }

/* What serve needs beyond a configuration that is good in itself: a network it can sign for. */
hf_status hf_cli_load_for_serve(const hf_config_flags *flags, hf_config *ret_config,
                                hf_error *err) HF_MUST_CHECK;

#define HF_CLI_GO (-1)

/*
 * Reads the options into their targets. HF_CLI_GO: go on, the other arguments are
 * argv[*ret_first .. argc - 1]. Anything else is the exit status: help was printed, or the error.
 */
int hf_cli_parse(const hf_cli_command *command, int argc, char **argv, int *ret_first);

typedef struct hf_cli_verb {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv); /* argv[0] is the verb */
} hf_cli_verb;

/* Runs the verb that argv[1] names; prints the list for --help. noun "" is the program itself. */
int hf_cli_dispatch(const char *noun, const char *summary, const hf_cli_verb *verbs, size_t count,
                    int argc, char **argv);

/* ---- saying what is wrong ------------------------------------------------------------------ */

/* "holdfast: sentence" on stderr; returns HF_EXIT_USAGE for USAGE, else HF_EXIT_FAILED. */
int hf_cli_report(const hf_error *err);
/* The same with a sentence of one's own; returns status. */
int hf_cli_complain(hf_exit status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- passphrases -------------------------------------------------------------------------- */

/* Where a passphrase comes from: the first of file and fd that is set, else the terminal. */
typedef struct hf_cli_passphrase {
    const char *file;   /* private, or DENIED */
    const char *fd;     /* the number of an open descriptor, as typed */
    const char *prompt; /* "Password of the keystores"; NULL: never ask, it is USAGE to give none */
    bool confirm;       /* ask twice */
} hf_cli_passphrase;

/* One trailing newline is dropped; an empty passphrase is refused. The caller frees *ret_text. */
hf_status hf_cli_passphrase_read(const hf_cli_passphrase *source, hf_buf **ret_text,
                                 hf_error *err) HF_MUST_CHECK;

#endif
