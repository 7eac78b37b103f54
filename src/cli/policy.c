/* holdfast policy: what tokens may ask for, and the second approval of exits, on a running signer
 * through its admin socket. */
#include "admin_client.h"
#include "key_internal.h"

#include <sys/mman.h>
#include <unistd.h>

#define APPROVE_MINUTES "30"

static hf_status name_question(hf_msg_policy_ask *ask, const char *name, hf_error *err)
{
    *ask = (hf_msg_policy_ask){.offset = 0};
    if (!hf_policy_name_is_valid(name)) {
        return hf_fail(err, HF_USAGE, "a policy's name has 1 to %d letters, digits, _ and -",
                       HF_POLICY_NAME_LEN - 1);
    }
    return hf_str_copy(ask->name, sizeof ask->name, name);
}

/* ---- apply --------------------------------------------------------------------------------- */

static hf_status apply_one(hf_admin *admin, const hf_policy *policy, hf_error *err)
{
    hf_msg_policy_ask ask;
    hf_buf *bytes = hf_buf_new(HF_POLICY_MAX_BYTES);
    int fd = memfd_create("policy", MFD_CLOEXEC);
    hf_status st = name_question(&ask, policy->name, err);
    if (bytes == NULL || fd < 0) {
        st = hf_fail(err, HF_NOMEM, "out of memory");
    }
    if (!hf_failed(st) && hf_failed(hf_policy_encode(policy, bytes))) {
        st = hf_fail(err, HF_USAGE, "policy %s is too long: give keys a tag and name that",
                     policy->name);
    }
    if (!hf_failed(st)) {
        ask.len = (uint32_t)hf_buf_len(bytes);
        st = hf_file_write_all(fd, hf_buf_peek(bytes), ask.len);
    }
    if (!hf_failed(st) && lseek(fd, 0, SEEK_SET) != 0) {
        st = hf_fail(err, HF_IO, "policy %s cannot be handed over", policy->name);
    }
    if (!hf_failed(st)) {
        st = hf_admin_call_fd(admin, &ask, fd, HF_MSG_POLICY_PUT, HF_MSG_RESULT, NULL, err);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    hf_buf_free(bytes);
    return hf_error_wrap(err, st, "%s", policy->name);
}

static int run_apply(const hf_config_flags *flags, const char *file)
{
    hf_error err = {.code = HF_OK};
    hf_admin *admin = NULL;
    hf_book *book = NULL;
    hf_status st = hf_config_policy_file(file, &book, &err);
    if (!hf_failed(st) && book->policy_count == 0) {
        st = hf_fail(&err, HF_USAGE, "%s: there is no policy in it", file);
    }
    if (!hf_failed(st)) {
        st = hf_cli_signer_connect(flags, &admin, &err);
    }
    for (size_t i = 0; !hf_failed(st) && i < book->policy_count; i++) {
        st = apply_one(admin, book->policies[i], &err);
        if (!hf_failed(st)) {
            (void)printf("applied %s\n", book->policies[i]->name);
        }
    }
    hf_admin_close(admin);
    hf_book_free(book);
    return hf_failed(st) ? hf_cli_report(&err) : HF_EXIT_DONE;
}

static int policy_apply(int argc, char **argv)
{
    hf_config_flags flags = {0};
    const hf_cli_option options[] = {HF_CLI_STORE_OPTIONS(flags)};
    const hf_cli_command command = {
        .name = "policy apply",
        .arguments = "FILE",
        .summary = "Makes or replaces the policies of a file; they count from the next request.",
        .details =
            "The file is YAML or JSON: policies: {NAME: [RULE...]}, as in the configuration, "
            "or one\npolicy with name and rules, as `holdfast policy show` prints it. A policy "
            "of the\nconfiguration itself is changed there.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options),
        .least = 1,
        .most = 1};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    return status == HF_CLI_GO ? run_apply(&flags, argv[first]) : status;
}

/* ---- list ---------------------------------------------------------------------------------- */

static void print_entry(hf_policy_entry *entry, bool as_json, bool is_first)
{
    const char *origin = entry->origin == HF_POLICY_OF_FILE ? "configuration" : "applied";
    entry->name[sizeof entry->name - 1] = '\0';
    if (as_json) {
        (void)printf("%s{\"name\": \"%s\", \"origin\": \"%s\", \"rules\": %u}",
                     is_first ? "" : ",\n ", entry->name, origin, entry->rules);
    } else {
        (void)printf("%-47s  %-13s  %u rules\n", entry->name, origin, entry->rules);
    }
}

static int run_list(const hf_config_flags *flags, bool as_json)
{
    static hf_msg_policy_page page;
    hf_error err = {.code = HF_OK};
    hf_admin *admin = NULL;
    hf_msg_policy_ask ask = {.offset = 0};
    hf_status st = hf_cli_signer_connect(flags, &admin, &err);
    (void)printf("%s", as_json && !hf_failed(st) ? "[" : "");
    while (!hf_failed(st)) {
        st = hf_admin_call(admin, &ask, HF_MSG_POLICY_LIST, HF_MSG_POLICY_PAGE, &page, &err);
        uint32_t count = page.count < HF_POLICIES_PAGE ? page.count : HF_POLICIES_PAGE;
        for (uint32_t i = 0; !hf_failed(st) && i < count; i++) {
            print_entry(&page.policies[i], as_json, ask.offset + i == 0);
        }
        ask.offset += count;
        if (count == 0 || ask.offset >= page.total) {
            break;
        }
    }
    (void)printf("%s", as_json && !hf_failed(st) ? "]\n" : "");
    hf_admin_close(admin);
    return hf_failed(st) ? hf_cli_report(&err) : HF_EXIT_DONE;
}

static int policy_list(int argc, char **argv)
{
    hf_config_flags flags = {0};
    bool as_json = false;
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        {.name = "json", .help = "print them as JSON", .on = &as_json},
    };
    const hf_cli_command command = {.name = "policy list",
                                    .arguments = "",
                                    .summary = "Lists the policies, and whether they come from the "
                                               "configuration or were applied.",
                                    .options = options,
                                    .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    return status == HF_CLI_GO ? run_list(&flags, as_json) : status;
}

/* ---- show ---------------------------------------------------------------------------------- */

/* All parts of one state of the policies. */
static hf_status fetch(hf_admin *admin, hf_msg_policy_ask *ask, hf_buf *out, hf_error *err)
{
    static hf_msg_policy_part part;
    uint64_t stamp = 0;
    do {
        hf_status st = hf_admin_call(admin, ask, HF_MSG_POLICY_GET, HF_MSG_POLICY_PART, &part, err);
        if (!hf_failed(st)) {
            bool is_unknown = part.reason == HF_REASON_NOT_FOUND;
            st = hf_admin_reason(part.reason, is_unknown ? "no policy has this name" : "", err);
        }
        if (hf_failed(st)) {
            return st;
        }
        if (part.len > HF_POLICY_PART_BYTES || (ask->offset > 0 && part.stamp != stamp)) {
            return hf_fail(err, HF_CONFLICT, "the policies changed meanwhile: ask again");
        }
        stamp = part.stamp;
        st = hf_buf_put(out, part.bytes, part.len);
        if (hf_failed(st)) {
            return hf_fail(err, st.code, "the answer is too long");
        }
        ask->offset += part.len;
    } while (part.len > 0 && ask->offset < part.total);
    return hf_ok();
}

static int run_show(const hf_config_flags *flags, const char *name)
{
    hf_error err = {.code = HF_OK};
    hf_admin *admin = NULL;
    hf_policy *policy = NULL;
    hf_msg_policy_ask ask;
    hf_buf *bytes = hf_buf_new(HF_POLICY_MAX_BYTES);
    hf_buf *json = hf_buf_new(HF_BOOK_MAX_BYTES);
    hf_status st = bytes == NULL || json == NULL ? hf_fail(&err, HF_NOMEM, "out of memory")
                                                 : name_question(&ask, name, &err);
    if (!hf_failed(st)) {
        st = hf_cli_signer_connect(flags, &admin, &err);
    }
    if (!hf_failed(st)) {
        st = fetch(admin, &ask, bytes, &err);
    }
    if (!hf_failed(st)) {
        st = hf_policy_decode(hf_bytes_from(hf_buf_peek(bytes), hf_buf_len(bytes)), &policy, &err);
    }
    if (!hf_failed(st) && hf_failed(hf_policy_print_json(policy, json))) {
        st = hf_fail(&err, HF_NOMEM, "out of memory");
    }
    if (!hf_failed(st)) {
        (void)printf("%s\n", hf_buf_text(json));
    }
    hf_policy_free(policy);
    hf_admin_close(admin);
    hf_buf_free(bytes);
    hf_buf_free(json);
    return hf_failed(st) ? hf_cli_report(&err) : HF_EXIT_DONE;
}

static int policy_show(int argc, char **argv)
{
    hf_config_flags flags = {0};
    const hf_cli_option options[] = {HF_CLI_STORE_OPTIONS(flags)};
    const hf_cli_command command = {.name = "policy show",
                                    .arguments = "NAME",
                                    .summary = "Prints a policy as JSON, which `apply` takes.",
                                    .options = options,
                                    .option_count = HF_ARRAY_LEN(options),
                                    .least = 1,
                                    .most = 1};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    return status == HF_CLI_GO ? run_show(&flags, argv[first]) : status;
}

/* ---- delete -------------------------------------------------------------------------------- */

static int run_delete(const hf_config_flags *flags, const char *name)
{
    hf_error err = {.code = HF_OK};
    hf_admin *admin = NULL;
    hf_msg_policy_ask ask;
    hf_status st = name_question(&ask, name, &err);
    if (!hf_failed(st)) {
        st = hf_cli_signer_connect(flags, &admin, &err);
    }
    if (!hf_failed(st)) {
        st = hf_admin_call(admin, &ask, HF_MSG_POLICY_DELETE, HF_MSG_RESULT, NULL, &err);
    }
    hf_admin_close(admin);
    if (hf_failed(st)) {
        return hf_cli_report(&err);
    }
    (void)printf("deleted %s\n", name);
    return HF_EXIT_DONE;
}

static int policy_delete(int argc, char **argv)
{
    hf_config_flags flags = {0};
    const hf_cli_option options[] = {HF_CLI_STORE_OPTIONS(flags)};
    const hf_cli_command command = {
        .name = "policy delete",
        .arguments = "NAME",
        .summary = "Deletes an applied policy. Tokens that name it may nothing from then on.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options),
        .least = 1,
        .most = 1};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    return status == HF_CLI_GO ? run_delete(&flags, argv[first]) : status;
}

/* ---- approve-exit -------------------------------------------------------------------------- */

static int run_approve(const hf_config_flags *flags, const char *key, const char *minutes)
{
    hf_error err = {.code = HF_OK};
    hf_admin *admin = NULL;
    hf_msg_exit_approve ask = {.minutes = 0};
    uint64_t number = 0;
    if (hf_failed(hf_hex_decode(key, strlen(key), ask.pubkey, sizeof ask.pubkey))) {
        return hf_cli_complain(HF_EXIT_USAGE, "a public key is 0x and 96 hex digits");
    }
    hf_status st =
        hf_cli_key_number("minutes", minutes, 30, 0, HF_APPROVAL_MINUTES_MAX, &number, &err);
    if (!hf_failed(st)) {
        ask.minutes = (uint32_t)number;
        st = hf_cli_signer_connect(flags, &admin, &err);
    }
    if (!hf_failed(st)) {
        st = hf_admin_call(admin, &ask, HF_MSG_EXIT_APPROVE, HF_MSG_RESULT, NULL, &err);
    }
    hf_admin_close(admin);
    if (hf_failed(st)) {
        return hf_cli_report(&err);
    }
    (void)printf("approved for %u minutes\n", ask.minutes);
    return HF_EXIT_DONE;
}

static int policy_approve(int argc, char **argv)
{
    hf_config_flags flags = {0};
    const char *minutes = NULL;
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        {.name = "minutes",
         .argument = "N",
         .help = "for how long; 0 takes an approval back [" APPROVE_MINUTES "]",
         .text = &minutes},
    };
    const hf_cli_command command = {
        .name = "policy approve-exit",
        .arguments = "PUBKEY",
        .summary = "Approves a voluntary exit of a key whose limit says exits: approve.",
        .details = "The exit itself is then asked for by somebody else, within that time.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options),
        .least = 1,
        .most = 1};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    return status == HF_CLI_GO ? run_approve(&flags, argv[first], minutes) : status;
}

static const hf_cli_verb verbs[] = {
    {"apply", "make or replace the policies of a file", policy_apply},
    {"list", "the policies, and where they come from", policy_list},
    {"show", "one policy, as JSON", policy_show},
    {"delete", "end an applied policy", policy_delete},
    {"approve-exit", "the second approval of a voluntary exit", policy_approve},
};

int hf_cli_policy(int argc, char **argv)
{
    return hf_cli_dispatch("policy", "Policies: what tokens may ask for.", verbs,
                           HF_ARRAY_LEN(verbs), argc, argv);
}
