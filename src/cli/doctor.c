/* holdfast doctor: the hardening checklist, on this machine, as it is now. */
#include "doctor_internal.h"

#include "admin_client.h"

#include <ctype.h>
#include <jansson.h>
#include <pwd.h>
#include <unistd.h>

#define SHOWN_MAX_BYTES 262144
#define FILE_MAX_BYTES 4194304 /* /proc/net/tcp of a busy machine */
#define FINDING_COLUMN 21
#define USER_BYTES 4096 /* the names in an entry of the users */

typedef struct check {
    const char *name;
    bool needs_config;
    bool needs_signer;
    void (*look)(hf_doctor *doctor);
} check;

/* In the order in which people read: files, network, user and sandbox, clients, machine. */
static const check checks[] = {
    {"config-file", false, false, hf_check_config_file},
    {"data-dir", true, false, hf_check_data_dir},
    {"data-disk", true, false, hf_check_data_disk},
    {"key-files", true, false, hf_check_key_files},
    {"password-files", true, false, hf_check_password_files},
    {"tls-files", true, false, hf_check_tls_files},
    {"programs", false, false, hf_check_programs},
    {"file-capabilities", false, false, hf_check_file_capabilities},
    {"api-address", true, false, hf_check_api_address},
    {"api-tls", true, false, hf_check_api_tls},
    {"metrics-address", true, false, hf_check_metrics_address},
    {"database-tls", true, false, hf_check_database_tls},
    {"listeners", true, true, hf_check_listeners},
    {"firewall", true, false, hf_check_firewall},
    {"user", true, false, hf_check_user},
    {"running", true, false, hf_check_running},
    {"processes", true, true, hf_check_processes},
    {"node", true, false, hf_check_node},
    {"protections", true, true, hf_check_protections},
    {"unit", true, true, hf_check_unit},
    {"hardening", true, false, hf_check_hardening},
    {"tokens", true, false, hf_check_tokens},
    {"canaries", true, false, hf_check_canaries},
    {"audit", true, false, hf_check_audit},
    {"kernel", false, false, hf_check_kernel},
    {"ptrace", false, false, hf_check_ptrace},
    {"memlock", true, false, hf_check_memlock},
    {"core-dumps", false, false, hf_check_core_dumps},
    {"swap", false, false, hf_check_swap},
    {"clock", false, false, hf_check_clock},
};

static const char *const verdict_names[HF_ROW_STATES] = {"OK", "WARN", "FAIL"};

void hf_doctor_say(hf_doctor *doctor, hf_row_state verdict, const char *remedy, const char *fmt,
                   ...)
{
    char raw[sizeof doctor->rows[0].finding];
    va_list ap;
    if (doctor->row_count == HF_DOCTOR_ROWS_MAX) {
        doctor->counts[verdict]++; /* counted, if no longer listed */
        return;
    }
    hf_doctor_row *row = &doctor->rows[doctor->row_count++];
    *row = (hf_doctor_row){.check = doctor->check, .verdict = verdict, .remedy = remedy};
    va_start(ap, fmt);
    (void)vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    hf_str_sanitize(row->finding, sizeof row->finding, raw);
    doctor->counts[verdict]++;
}

hf_buf *hf_doctor_read(const char *fmt, ...)
{
    char path[HF_PATH_LEN];
    hf_buf *buf = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(path, sizeof path, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof path ||
        hf_failed(hf_file_read(path, FILE_MAX_BYTES, &buf, NULL))) {
        return NULL;
    }
    return buf;
}

bool hf_doctor_number(const char *text, unsigned base, uint64_t *ret_value)
{
    uint64_t value = 0;
    bool any = false;
    for (text += strspn(text, " \t"); isxdigit((unsigned char)*text); text++) {
        unsigned digit = isdigit((unsigned char)*text)
                             ? (unsigned)(*text - '0')
                             : (unsigned)(tolower((unsigned char)*text) - 'a') + 10;
        if (digit >= base) {
            break;
        }
        value = value * base + digit;
        any = true;
    }
    *ret_value = value;
    return any;
}

bool hf_doctor_field(const char *text, const char *name, unsigned base, uint64_t *ret_value)
{
    size_t len = strlen(name);
    while (*text != '\0') {
        size_t line = strcspn(text, "\n");
        if (strncmp(text, name, len) == 0 && text[len] == ':') {
            return hf_doctor_number(text + len + 1, base, ret_value);
        }
        text += line + (text[line] == '\n');
    }
    return false;
}

/* Steps into each section of the path in turn: deeper lines have two more spaces. */
bool hf_doctor_find(const char *text, const char *path, char *out, size_t out_len)
{
    const char *line = text;
    size_t depth = 0;
    while (*line != '\0') {
        size_t len = strcspn(line, "\n");
        size_t indent = strspn(line, " ");
        size_t name_len = strcspn(path, ".");
        if (indent < 2 * depth && len > 0) {
            return false;
        }
        if (indent == 2 * depth && strncmp(line + indent, path, name_len) == 0 &&
            line[indent + name_len] == ':') {
            if (path[name_len] == '\0') {
                const char *value = line + indent + name_len + 1;
                value += strspn(value, " ");
                (void)snprintf(out, out_len, "%.*s", (int)strcspn(value, " \n#"), value);
                return true;
            }
            path += name_len + 1;
            depth++;
        }
        line += len + (line[len] == '\n');
    }
    return false;
}

bool hf_doctor_setting(const hf_doctor *doctor, const char *path, char *out, size_t out_len)
{
    return hf_doctor_find(doctor->shown, path, out, out_len);
}

/* ---- who is looked at ---------------------------------------------------------------------- */

/* Nobody runs: whoever owns the data would, or the user that packages make, or we. */
static void guess_user(hf_doctor *doctor)
{
    struct stat info;
    struct passwd entry;
    struct passwd *found = NULL;
    char names[USER_BYTES];
    doctor->uid = geteuid();
    doctor->gid = getegid();
    if (doctor->config != NULL && stat(doctor->config->data_dir, &info) == 0) {
        doctor->uid = info.st_uid;
        doctor->gid = info.st_gid;
    } else if (getpwnam_r("holdfast", &entry, names, sizeof names, &found) == 0 && found != NULL) {
        doctor->uid = found->pw_uid;
        doctor->gid = found->pw_gid;
    }
}

static void ask_signer(hf_doctor *doctor)
{
    hf_error err = {0};
    hf_admin *admin = NULL;
    hf_msg_plain question;
    hf_status st = hf_admin_connect(doctor->config->data_dir, &admin, &err);
    if (!hf_failed(st)) {
        st = hf_admin_call(admin, &question, HF_MSG_STATUS, HF_MSG_STATUS_REPLY, &doctor->status,
                           &err);
    }
    if (!hf_failed(st)) {
        hf_admin_peer(admin, &doctor->supervisor, &doctor->uid, &doctor->gid);
    } else {
        hf_str_cut(doctor->silent, sizeof doctor->silent, err.msg);
    }
    hf_admin_close(admin);
}

/* ---- printing ------------------------------------------------------------------------------ */

static void print_text(const hf_doctor *doctor)
{
    for (size_t i = 0; i < doctor->row_count; i++) {
        const hf_doctor_row *row = &doctor->rows[i];
        (void)printf("%-5s %-*s %s\n", verdict_names[row->verdict], FINDING_COLUMN - 4, row->check,
                     row->finding);
        if (row->verdict != HF_ROW_OK && row->remedy[0] != '\0') {
            (void)printf("%*s -> %s\n", FINDING_COLUMN + 2, "", row->remedy);
        }
    }
    (void)printf("%zu OK, %zu WARN, %zu FAIL\n", doctor->counts[HF_ROW_OK],
                 doctor->counts[HF_ROW_WARN], doctor->counts[HF_ROW_FAIL]);
}

static int print_json(const hf_doctor *doctor)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < doctor->row_count; i++) {
        const hf_doctor_row *row = &doctor->rows[i];
        const char *remedy = row->verdict == HF_ROW_OK ? "" : row->remedy;
        if (json_array_append_new(rows, json_pack("{s:s,s:s,s:s,s:s}", "check", row->check, "state",
                                                  verdict_names[row->verdict], "finding",
                                                  row->finding, "remedy", remedy)) != 0) {
            json_decref(rows);
            return hf_cli_complain(HF_EXIT_FAILED, "out of memory");
        }
    }
    json_t *all = json_pack(
        "{s:o,s:I,s:I,s:I}", "rows", rows, "ok", (json_int_t)doctor->counts[HF_ROW_OK], "warn",
        (json_int_t)doctor->counts[HF_ROW_WARN], "fail", (json_int_t)doctor->counts[HF_ROW_FAIL]);
    int status = all != NULL && json_dumpf(all, stdout, JSON_INDENT(1)) == 0
                     ? HF_EXIT_DONE
                     : hf_cli_complain(HF_EXIT_FAILED, "out of memory");
    (void)printf("\n");
    json_decref(all);
    return status;
}

/* ---- the command --------------------------------------------------------------------------- */

static void run_checks(hf_doctor *doctor)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(checks); i++) {
        if ((checks[i].needs_config && doctor->config == NULL) ||
            (checks[i].needs_signer && doctor->supervisor == 0)) {
            continue; /* "configuration" or "running" says so once */
        }
        doctor->check = checks[i].name;
        checks[i].look(doctor);
    }
}

static void examine(hf_doctor *doctor, const hf_config_flags *flags, hf_config *config,
                    hf_buf *shown)
{
    hf_error err = {0};
    doctor->check = "configuration";
    hf_status st = hf_cli_load_for_serve(flags, config, &err);
    if (!hf_failed(st)) {
        st = hf_config_show(flags, shown, &err);
    }
    if (hf_failed(st)) {
        hf_doctor_say(doctor, HF_ROW_FAIL,
                      "mend it (holdfast.yaml(5)), then ask again: most checks depend on it", "%s",
                      err.msg);
    } else {
        hf_doctor_say(doctor, HF_ROW_OK, "", "%s is good",
                      flags->file == NULL ? "the command line" : flags->file);
        doctor->config = config;
        doctor->shown = hf_buf_text(shown);
    }
    hf_buf *written = flags->file == NULL ? NULL : hf_doctor_read("%s", flags->file);
    doctor->written = written == NULL ? "" : hf_buf_text(written);
    guess_user(doctor);
    if (doctor->config != NULL) {
        ask_signer(doctor);
    }
    run_checks(doctor);
    doctor->written = "";
    hf_buf_free(written);
}

static int run(const hf_config_flags *flags, bool json)
{
    int status = HF_EXIT_FAILED;
    hf_doctor *doctor = calloc(1, sizeof *doctor);
    hf_config *config = calloc(1, sizeof *config);
    hf_buf *shown = hf_buf_new(SHOWN_MAX_BYTES);
    if (doctor == NULL || config == NULL || shown == NULL) {
        status = hf_cli_complain(HF_EXIT_FAILED, "out of memory");
        goto out;
    }
    doctor->proc = "/proc";
    doctor->sys = "/sys";
    doctor->shown = "";
    doctor->written = "";
    doctor->config_path = flags->file;
    examine(doctor, flags, config, shown);
    status = HF_EXIT_DONE;
    if (json) {
        status = print_json(doctor);
    } else {
        print_text(doctor);
    }
    if (doctor->counts[HF_ROW_FAIL] > 0) {
        status = HF_EXIT_FAILED;
    }
out:
    hf_buf_free(shown);
    if (config != NULL) {
        hf_wipe(config, sizeof *config); /* a database's URL may hold a password */
    }
    free(config);
    free(doctor);
    return status;
}

int hf_cli_doctor(int argc, char **argv)
{
    hf_config_flags flags = {0};
    bool json = false;
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        HF_CLI_SERVE_OPTIONS(flags),
        HF_CLI_ROOT_OPTION(flags),
        {.name = "json", .help = "print the rows as JSON", .on = &json},
    };
    const hf_cli_command command = {
        .name = "doctor",
        .arguments = "",
        .summary =
            "Looks whether this machine and a running signer are as hardened as they should be.",
        .details = "Run it as root, beside the running signer: it then sees everything. It changes "
                   "nothing.\nEach row is OK, WARN or FAIL, with the remedy.\n"
                   "Exit status: 0 no FAIL, 1 at least one, 2 wrong usage.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    if (status != HF_CLI_GO) {
        return status;
    }
    if (flags.file == NULL && flags.data_dir == NULL) {
        return hf_cli_complain(HF_EXIT_USAGE,
                               "doctor: give the configuration with -c, or --data-dir; "
                               "see holdfast doctor --help");
    }
    return run(&flags, json);
}
