/* One way to read options, to print help and to complain. */
#include "cli.h"

#include <getopt.h>

#define OPTIONS_MAX 32
#define LETTERS_BYTES (2 * OPTIONS_MAX + 8)
#define FIRST_LONG 256 /* getopt's value of option i is FIRST_LONG + i */
#define HELP_COLUMN 30

int hf_cli_complain(hf_exit status, const char *fmt, ...)
{
    char raw[1024];
    char line[2048];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    hf_str_sanitize(line, sizeof line, raw);
    (void)fprintf(stderr, "holdfast: %s\n", line);
    return (int)status;
}

int hf_cli_report(const hf_error *err)
{
    return hf_cli_complain(err->code == HF_USAGE ? HF_EXIT_USAGE : HF_EXIT_FAILED, "%s",
                           err->msg[0] == '\0' ? hf_code_name(err->code) : err->msg);
}

/* ---- help --------------------------------------------------------------------------------- */

static void print_row(const char *left, const char *help)
{
    if (strlen(left) + 2 > HELP_COLUMN) {
        (void)printf("%s\n%*s%s\n", left, HELP_COLUMN, "", help);
    } else {
        (void)printf("%-*s%s\n", HELP_COLUMN, left, help);
    }
}

static void print_help(const hf_cli_command *command)
{
    (void)printf("usage: holdfast %s%s%s%s\n\n%s\n\noptions:\n", command->name,
                 command->arguments[0] == '\0' ? "" : " ", command->arguments,
                 command->option_count == 0 ? "" : " [options]", command->summary);
    for (size_t i = 0; i < command->option_count; i++) {
        const hf_cli_option *option = &command->options[i];
        char left[128];
        char letter[8] = "    ";
        if (option->letter != 0) {
            (void)snprintf(letter, sizeof letter, "-%c, ", option->letter);
        }
        (void)snprintf(left, sizeof left, "  %s--%s%s%s", letter, option->name,
                       option->argument == NULL ? "" : " ",
                       option->argument == NULL ? "" : option->argument);
        print_row(left, option->help);
    }
    print_row("  -h, --help", "this text");
    if (command->details != NULL) {
        (void)printf("\n%s\n", command->details);
    }
}

/* ---- parsing ------------------------------------------------------------------------------ */

typedef struct getopt_tables {
    struct option longs[OPTIONS_MAX + 2];
    char letters[LETTERS_BYTES];
} getopt_tables;

/* Letters answer with the same number as their long names. */
static void build_tables(const hf_cli_command *command, getopt_tables *tables)
{
    size_t used = 0;
    HF_ASSERT(command->option_count <= OPTIONS_MAX);
    memset(tables, 0, sizeof *tables);
    tables->letters[used++] = ':'; /* a missing argument is told apart from an unknown option */
    tables->letters[used++] = 'h';
    for (size_t i = 0; i < command->option_count; i++) {
        const hf_cli_option *option = &command->options[i];
        tables->longs[i] =
            (struct option){.name = option->name,
                            .has_arg = option->argument == NULL ? no_argument : required_argument,
                            .val = FIRST_LONG + (int)i};
        if (option->letter != 0) {
            tables->letters[used++] = option->letter;
            if (option->argument != NULL) {
                tables->letters[used++] = ':';
            }
        }
    }
    tables->longs[command->option_count] =
        (struct option){.name = "help", .has_arg = no_argument, .val = 'h'};
}

static const hf_cli_option *option_of(const hf_cli_command *command, int value)
{
    for (size_t i = 0; i < command->option_count; i++) {
        if (value == FIRST_LONG + (int)i ||
            (value == command->options[i].letter && command->options[i].letter != 0)) {
            return &command->options[i];
        }
    }
    return NULL;
}

static int take_option(const hf_cli_command *command, const hf_cli_option *option,
                       const char *argument)
{
    bool is_twice =
        (option->text != NULL && *option->text != NULL) || (option->on != NULL && *option->on);
    if (is_twice) {
        return hf_cli_complain(HF_EXIT_USAGE, "--%s: given twice; see holdfast %s --help",
                               option->name, command->name);
    }
    if (option->on != NULL) {
        *option->on = true;
        return HF_CLI_GO;
    }
    if (argument[0] == '\0') {
        return hf_cli_complain(HF_EXIT_USAGE, "--%s: empty; give %s", option->name,
                               option->argument);
    }
    if (option->text != NULL) {
        *option->text = argument;
        return HF_CLI_GO;
    }
    HF_ASSERT(option->list != NULL);
    if (option->list->count == HF_CLI_LIST_MAX) {
        return hf_cli_complain(HF_EXIT_USAGE, "--%s: given more than %d times", option->name,
                               HF_CLI_LIST_MAX);
    }
    option->list->items[option->list->count++] = argument;
    return HF_CLI_GO;
}

/* getopt takes any beginning of a name; a script that relies on it breaks with the next option. */
static bool is_abbreviated(const hf_cli_option *option, char **argv)
{
    const char *typed = argv[optind - 1];
    if (optarg != NULL && optarg == typed) {
        typed = argv[optind - 2]; /* --name VALUE */
    }
    if (strncmp(typed, "--", 2) != 0) {
        return false;
    }
    size_t len = strcspn(typed + 2, "=");
    return len != strlen(option->name) || strncmp(typed + 2, option->name, len) != 0;
}

static int complain_of_abbreviation(const hf_cli_command *command, const hf_cli_option *option)
{
    return hf_cli_complain(HF_EXIT_USAGE, "--%s: write it in full; see holdfast %s --help",
                           option->name, command->name);
}

static int complain_of_option(const hf_cli_command *command, int answer, char **argv)
{
    const hf_cli_option *option = option_of(command, optopt);
    const char *typed = argv[optind - 1];
    char letter[] = {'-', (char)optopt, '\0'};
    if (option != NULL && answer == ':') {
        return hf_cli_complain(HF_EXIT_USAGE, "--%s: needs an argument (%s)", option->name,
                               option->argument);
    }
    if (option != NULL || optopt == 'h') {
        return hf_cli_complain(HF_EXIT_USAGE, "%.*s: takes no argument", (int)strcspn(typed, "="),
                               typed);
    }
    return hf_cli_complain(HF_EXIT_USAGE, "%s: no such option; see holdfast %s --help",
                           optopt != 0 ? letter : typed, command->name);
}

static int check_arguments(const hf_cli_command *command, int argc, char **argv)
{
    int given = argc - optind;
    if (given < command->least) {
        return hf_cli_complain(HF_EXIT_USAGE, "%s: needs %s; see holdfast %s --help", command->name,
                               command->arguments, command->name);
    }
    if (given > command->most) {
        return hf_cli_complain(HF_EXIT_USAGE, "%s: does not go with %s; see holdfast %s --help",
                               argv[optind + command->most], command->name, command->name);
    }
    return HF_CLI_GO;
}

int hf_cli_parse(const hf_cli_command *command, int argc, char **argv, int *ret_first)
{
    getopt_tables tables;
    build_tables(command, &tables);
    opterr = 0;
    optind = 0; /* glibc: start over */
    for (;;) {
        int answer = getopt_long(argc, argv, tables.letters, tables.longs, NULL);
        if (answer == -1) {
            break;
        }
        if (answer == 'h') {
            print_help(command);
            return HF_EXIT_DONE;
        }
        const hf_cli_option *option = option_of(command, answer);
        int status = option == NULL                 ? complain_of_option(command, answer, argv)
                     : is_abbreviated(option, argv) ? complain_of_abbreviation(command, option)
                                                    : take_option(command, option, optarg);
        if (status != HF_CLI_GO) {
            return status;
        }
    }
    *ret_first = optind;
    return check_arguments(command, argc, argv);
}

/* ---- nouns and verbs ---------------------------------------------------------------------- */

static void print_verbs(const char *noun, const char *summary, const hf_cli_verb *verbs,
                        size_t count)
{
    const char *space = noun[0] == '\0' ? "" : " ";
    size_t width = 0;
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(verbs[i].name);
        width = len > width ? len : width;
    }
    (void)printf("usage: holdfast %s%s%s [options]\n\n%s\n\n", noun, space,
                 noun[0] == '\0' ? "COMMAND" : "VERB", summary);
    for (size_t i = 0; i < count; i++) {
        (void)printf("  %-*s  %s\n", (int)width, verbs[i].name, verbs[i].summary);
    }
    (void)printf("\nholdfast %s%s%s --help tells the options of each.\n", noun, space,
                 noun[0] == '\0' ? "COMMAND" : "VERB");
}

int hf_cli_dispatch(const char *noun, const char *summary, const hf_cli_verb *verbs, size_t count,
                    int argc, char **argv)
{
    const char *space = noun[0] == '\0' ? "" : " ";
    const char *what = noun[0] == '\0' ? "command" : "verb";
    if (argc < 2) {
        return hf_cli_complain(HF_EXIT_USAGE, "which %s? see holdfast %s%s--help", what, noun,
                               space);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_verbs(noun, summary, verbs, count);
        return HF_EXIT_DONE;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(argv[1], verbs[i].name) == 0) {
            return verbs[i].run(argc - 1, argv + 1);
        }
    }
    return hf_cli_complain(HF_EXIT_USAGE, "%s: no such %s; see holdfast %s%s--help", argv[1], what,
                           noun, space);
}
