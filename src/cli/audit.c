/* holdfast audit: does a log hold, and what does it say. Works on files alone, also of a signer
 * that runs, and on another machine that has the key. */
#include "audit/audit.h"
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static hf_config_flags flags;
static const char *key_file;
static const char *head_text;
static const char *key_filter;
static const char *kind_filter;
static bool as_json;

/* ---- what the commands share ------------------------------------------------------------------
 */

/* DATA_DIR/audit.key, as the configuration has it. */
static hf_status read_configured_key(uint8_t ret_key[HF_AUDIT_KEY_BYTES], hf_error *err)
{
    char path[HF_PATH_LEN + 16];
    hf_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = hf_config_load(&flags, config, err);
    if (!hf_failed(st)) {
        st = hf_str_format(path, sizeof path, "%s/audit.key", config->data_dir);
    }
    hf_wipe(config, sizeof *config);
    free(config);
    return hf_failed(st) ? st : hf_audit_key_read(path, false, ret_key, err);
}

/* The key of the log: the file named, that of the data folder, or the one beside the log. */
static hf_status read_key(const char *log, uint8_t ret_key[HF_AUDIT_KEY_BYTES], hf_error *err)
{
    char path[HF_PATH_LEN];
    if (key_file != NULL) {
        return hf_audit_key_read(key_file, false, ret_key, err);
    }
    if (flags.file != NULL || flags.data_dir != NULL || getenv("HOLDFAST_DATA_DIR") != NULL) {
        return read_configured_key(ret_key, err);
    }
    const char *slash = strrchr(log, '/');
    int folder = slash != NULL ? (int)(slash - log) + 1 : 0;
    if (access(log, F_OK) != 0) { /* first of all: the key is looked for beside it */
        return hf_fail(err, HF_NOT_FOUND, "%s: %s", log, strerror(errno));
    }
    hf_status st = hf_str_format(path, sizeof path, "%.*saudit.key", folder, log);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "%s: path too long", log);
    }
    if (access(path, F_OK) != 0) {
        return hf_fail(err, HF_NOT_FOUND,
                       "%s: the audit key is not beside the log; name it by --key-file, or the "
                       "signer's configuration by -c",
                       path);
    }
    return hf_audit_key_read(path, false, ret_key, err);
}

static hf_status open_file(const char *path, int *ret_fd, hf_error *err)
{
    *ret_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return *ret_fd < 0 ? hf_fail(err, errno == ENOENT ? HF_NOT_FOUND : HF_IO, "%s: %s", path,
                                 strerror(errno))
                       : hf_ok();
}

/* SEQ:MAC, as `verify` prints it. */
static hf_status parse_head(const char *text, hf_audit_head *ret_head, hf_error *err)
{
    size_t digits = strcspn(text, ":");
    if (text[digits] != ':' || hf_failed(hf_num_parse_u64(text, digits, &ret_head->seq)) ||
        hf_failed(hf_hex_decode(text + digits + 1, strlen(text + digits + 1), ret_head->mac,
                                sizeof ret_head->mac))) {
        return hf_fail(err, HF_USAGE, "--head: give NUMBER:MAC, as an earlier verify printed it");
    }
    return hf_ok();
}

/* ---- verify -----------------------------------------------------------------------------------
 */

static void print_result(const hf_audit_check *check, const char *file, const char *problem)
{
    char mac[2 * HF_AUDIT_MAC_BYTES + 1];
    hf_hex_encode(check->head.mac, HF_AUDIT_MAC_BYTES, mac);
    const char *holds = problem[0] == '\0' ? "true" : "false";
    if (as_json) {
        (void)printf("{\"holds\":%s,\"lines\":\"%llu\",\"head\":\"%llu:%s\"", holds,
                     (unsigned long long)check->lines, (unsigned long long)check->head.seq, mac);
        if (problem[0] != '\0') { /* our own words: nothing to escape but the file's name */
            char name[HF_PATH_LEN];
            hf_str_sanitize(name, sizeof name, file);
            for (char *p = name; *p != '\0'; p++) {
                *p = *p == '"' || *p == '\\' ? '_' : *p;
            }
            (void)printf(",\"file\":\"%s\",\"problem\":\"%s\"", name, problem);
        }
        (void)printf("}\n");
    } else if (problem[0] == '\0') {
        (void)printf("the chain holds: %llu lines, from number %llu on\nhead %llu:%s\n",
                     (unsigned long long)check->lines, (unsigned long long)check->first.seq + 1,
                     (unsigned long long)check->head.seq, mac);
    }
}

static hf_status verify_files(hf_audit_check *check, char **files, int n, const char **ret_file,
                              hf_error *err)
{
    for (int i = 0; i < n && check->fault == HF_AUDIT_SOUND; i++) {
        int fd = -1;
        *ret_file = files[i];
        hf_status st = open_file(files[i], &fd, err);
        if (!hf_failed(st)) {
            st = hf_audit_check_fd(check, fd, files[i], NULL, NULL, err);
            (void)close(fd);
        }
        if (hf_failed(st)) {
            return st;
        }
        /* Lines behind the last whole one are being written just now, in the newest file. */
        if (check->fault == HF_AUDIT_TORN && i + 1 == n) {
            return hf_ok();
        }
    }
    return hf_ok();
}

static int conclude(const hf_audit_check *check, const char *file)
{
    char problem[HF_ERROR_MSG_LEN] = "";
    if (check->fault != HF_AUDIT_SOUND) {
        hf_audit_check_describe(check, problem, sizeof problem);
    } else if (check->has_wanted && !check->found_wanted) {
        (void)snprintf(
            problem, sizeof problem,
            "line %llu with the MAC given is not in it: lines are missing at the end, or "
            "it is another log",
            (unsigned long long)check->wanted.seq);
    } else if (check->lines == 0) {
        (void)snprintf(problem, sizeof problem, "it is empty");
    }
    print_result(check, file, problem);
    return problem[0] == '\0' ? HF_EXIT_DONE
                              : hf_cli_complain(HF_EXIT_FAILED, "%s: %s", file, problem);
}

static int cli_verify(int argc, char **argv)
{
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        {.name = "key-file",
         .argument = "FILE",
         .help = "the audit key; else DATA_DIR/audit.key, or the one beside the log",
         .text = &key_file},
        {.name = "head",
         .argument = "NUMBER:MAC",
         .help = "a line that must be in it, as an earlier verify printed it",
         .text = &head_text},
        {.name = "json", .help = "one object on standard output", .on = &as_json},
    };
    const hf_cli_command command = {
        .name = "audit verify",
        .arguments = "FILE...",
        .summary = "Does the chain of an audit log hold? Several files: oldest first.",
        .details =
            "Finds lines that were changed, removed, repeated or swapped, files that are missing\n"
            "between others, and with --head an end that was cut off or replaced.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options),
        .least = 1,
        .most = INT32_MAX,
    };
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    hf_error err = {.code = HF_OK};
    uint8_t key[HF_AUDIT_KEY_BYTES];
    hf_audit_check check;
    const char *file = "";
    if (status != HF_CLI_GO) {
        return status;
    }
    hf_status st = read_key(argv[first], key, &err);
    if (!hf_failed(st)) {
        hf_audit_check_init(&check, key);
        check.has_wanted = head_text != NULL;
        st = head_text != NULL ? parse_head(head_text, &check.wanted, &err) : hf_ok();
    }
    hf_wipe(key, sizeof key);
    if (!hf_failed(st)) {
        st = verify_files(&check, argv + first, argc - first, &file, &err);
    }
    status = hf_failed(st) ? hf_cli_report(&err) : conclude(&check, file);
    hf_wipe(&check, sizeof check);
    return status;
}

/* ---- show -------------------------------------------------------------------------------------
 */

static bool field_has(const hf_audit_line *line, const char *name, const char *wanted)
{
    const hf_audit_field *field = hf_audit_line_find(line, name);
    return wanted == NULL ||
           (field != NULL && field->value.len == strlen(wanted) &&
            strncmp((const char *)field->value.ptr, wanted, field->value.len) == 0);
}

/* Results have no key of their own: they follow their request by its number. */
static bool is_shown(const hf_audit_line *line, uint64_t *shown, size_t max)
{
    const hf_audit_field *of = hf_audit_line_find(line, "of");
    uint64_t number = 0;
    if (!field_has(line, "kind", kind_filter)) {
        return false;
    }
    if (key_filter == NULL) {
        return true;
    }
    if (of != NULL &&
        !hf_failed(hf_num_parse_u64((const char *)of->value.ptr, of->value.len, &number))) {
        return shown[number % max] == number;
    }
    bool fits = field_has(line, "key", key_filter);
    if (fits) {
        shown[line->seq % max] = line->seq;
    }
    return fits;
}

static bool is_chained(const hf_audit_field *field)
{
    return (field->name.len == 3 && strncmp((const char *)field->name.ptr, "mac", 3) == 0) ||
           (field->name.len == 4 && strncmp((const char *)field->name.ptr, "node", 4) == 0);
}

#define REMEMBERED 65536

static hf_status show_line(void *context, const char *text, size_t len)
{
    hf_audit_line line;
    hf_status st = hf_audit_line_parse(text, len, &line);
    if (hf_failed(st) || !is_shown(&line, context, REMEMBERED)) {
        return st;
    }
    if (as_json) {
        (void)printf("%.*s\n", (int)len, text);
        return hf_ok();
    }
    for (size_t i = 0; i < line.field_count; i++) {
        const hf_audit_field *field = &line.fields[i];
        if (i < 2) {
            (void)printf("%s%.*s", i == 0 ? "" : " ", (int)field->value.len, field->value.ptr);
        } else if (!is_chained(field)) {
            (void)printf(" %.*s=%.*s", (int)field->name.len, field->name.ptr, (int)field->value.len,
                         field->value.ptr);
        }
    }
    (void)printf("\n");
    return hf_ok();
}

static int show_file(const uint8_t key[HF_AUDIT_KEY_BYTES], const char *file)
{
    hf_error err = {.code = HF_OK};
    hf_audit_check check;
    int fd = -1;
    uint64_t *shown = calloc(REMEMBERED, sizeof *shown);
    hf_audit_check_init(&check, key);
    hf_status st =
        shown == NULL ? hf_fail(&err, HF_NOMEM, "out of memory") : open_file(file, &fd, &err);
    if (!hf_failed(st)) {
        st = hf_audit_check_fd(&check, fd, file, show_line, shown, &err);
        (void)close(fd);
    }
    free(shown);
    int status = hf_failed(st) ? hf_cli_report(&err) : HF_EXIT_DONE;
    if (!hf_failed(st) && check.fault != HF_AUDIT_SOUND && check.fault != HF_AUDIT_TORN) {
        char problem[128];
        hf_audit_check_describe(&check, problem, sizeof problem);
        status =
            hf_cli_complain(HF_EXIT_FAILED, "%s: %s; nothing behind it is shown", file, problem);
    }
    hf_wipe(&check, sizeof check);
    return status;
}

static int cli_show(int argc, char **argv)
{
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        {.name = "key-file",
         .argument = "FILE",
         .help = "the audit key; else DATA_DIR/audit.key, or the one beside the log",
         .text = &key_file},
        {.name = "pubkey",
         .argument = "HEX",
         .help = "only requests for this key, with their results",
         .text = &key_filter},
        {.name = "kind",
         .argument = "KIND",
         .help = "only lines of this kind: request, result, refused, ...",
         .text = &kind_filter},
        {.name = "json", .help = "the lines as they are", .on = &as_json},
    };
    const hf_cli_command command = {
        .name = "audit show",
        .arguments = "FILE",
        .summary = "Prints an audit log for people, as far as its chain holds.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options),
        .least = 1,
        .most = 1,
    };
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    hf_error err = {.code = HF_OK};
    uint8_t key[HF_AUDIT_KEY_BYTES];
    if (status != HF_CLI_GO) {
        return status;
    }
    hf_status st = read_key(argv[first], key, &err);
    status = hf_failed(st) ? hf_cli_report(&err) : show_file(key, argv[first]);
    hf_wipe(key, sizeof key);
    return status;
}

int hf_cli_audit(int argc, char **argv)
{
    static const hf_cli_verb verbs[] = {
        {"verify", "does the chain of an audit log hold", cli_verify},
        {"show", "print an audit log for people", cli_show},
    };
    return hf_cli_dispatch("audit", "Who asked for what, and what came of it.", verbs,
                           HF_ARRAY_LEN(verbs), argc, argv);
}
