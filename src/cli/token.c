/* holdfast token: make, list and revoke the tokens of a running signer, through its admin socket.
 */
#include "admin_client.h"
#include "key_internal.h"

#include <time.h>

#define TIME_LEN 32

/* ---- what all verbs share ------------------------------------------------------------------ */

/* RFC 3339, UTC; "never" for 0. */
static void write_time(char out[TIME_LEN], int64_t unix_ms, const char *never)
{
    struct tm utc;
    time_t seconds = (time_t)(unix_ms / 1000);
    if (unix_ms == 0 || gmtime_r(&seconds, &utc) == NULL) {
        (void)snprintf(out, TIME_LEN, "%s", never);
        return;
    }
    (void)strftime(out, TIME_LEN, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static json_t *time_to_json(int64_t unix_ms)
{
    char text[TIME_LEN];
    write_time(text, unix_ms, "");
    return text[0] == '\0' ? json_null() : json_string(text);
}

/* The same members as the HTTP API's. */
static json_t *token_to_json(const hf_token_view *token)
{
    const hf_token_terms *terms = &token->terms;
    json_t *policies = json_array();
    json_t *sources = json_array();
    for (uint32_t i = 0; i < terms->policy_count && i < HF_AUTH_POLICIES_MAX; i++) {
        (void)json_array_append_new(policies, json_string(terms->policies[i]));
    }
    for (uint32_t i = 0; i < terms->source_count && i < HF_AUTH_SOURCES_MAX; i++) {
        char source[HF_CIDR_TEXT_LEN];
        hf_cidr_format(&terms->sources[i], source);
        (void)json_array_append_new(sources, json_string(source));
    }
    bool is_limited = terms->max_uses != 0;
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "kind",
        hf_token_kind_name((hf_token_kind)terms->kind), "accessor", token->accessor, "name",
        terms->name, "policies", policies, "sources", sources, "created",
        time_to_json(token->created_unix_ms), "expires", time_to_json(terms->expires_unix_ms),
        "max_uses", is_limited ? json_integer((json_int_t)terms->max_uses) : json_null(),
        "uses_reserved", is_limited ? json_integer((json_int_t)token->uses_reserved) : json_null());
}

static int print_json(json_t *take_root)
{
    bool ok = take_root != NULL && json_dumpf(take_root, stdout, JSON_INDENT(2)) == 0;
    json_decref(take_root);
    if (!ok) {
        return hf_cli_complain(HF_EXIT_FAILED, "the output could not be written");
    }
    (void)printf("\n");
    return HF_EXIT_DONE;
}

/* ---- create -------------------------------------------------------------------------------- */

typedef struct create_options {
    hf_config_flags flags;
    const char *kind;
    const char *ttl;
    const char *max_uses;
    const char *name;
    bool as_json;
    hf_cli_list policies;
    hf_cli_list sources;
} create_options;

static hf_status read_sources(const hf_cli_list *list, hf_token_terms *terms, hf_error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        if (i == HF_AUTH_SOURCES_MAX) {
            return hf_fail(err, HF_USAGE, "--source: at most %d", HF_AUTH_SOURCES_MAX);
        }
        hf_status st = hf_cidr_parse(list->items[i], &terms->sources[i], err);
        if (hf_failed(st)) {
            return hf_error_wrap(err, st, "--source: %s", list->items[i]);
        }
        terms->source_count++;
    }
    return hf_ok();
}

static hf_status read_policies(const hf_cli_list *list, hf_token_terms *terms, hf_error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        if (i == HF_AUTH_POLICIES_MAX) {
            return hf_fail(err, HF_USAGE, "--policy: at most %d", HF_AUTH_POLICIES_MAX);
        }
        if (hf_failed(hf_str_copy(terms->policies[i], HF_AUTH_POLICY_NAME_LEN, list->items[i]))) {
            return hf_fail(err, HF_USAGE, "--policy: a name has at most %d characters",
                           HF_AUTH_POLICY_NAME_LEN - 1);
        }
        terms->policy_count++;
    }
    return hf_ok();
}

static hf_status read_options(const create_options *options, hf_msg_token_create *ask,
                              hf_error *err)
{
    hf_token_kind kind = HF_TOKEN_CLIENT;
    hf_token_terms *terms = &ask->terms;
    if (options->kind != NULL && !hf_token_kind_parse(options->kind, &kind)) {
        return hf_fail(err, HF_USAGE, "--kind: must be client or management");
    }
    terms->kind = kind;
    if (options->name != NULL &&
        hf_failed(hf_str_copy(terms->name, sizeof terms->name, options->name))) {
        return hf_fail(err, HF_USAGE, "--name: at most %d characters", HF_AUTH_NAME_LEN - 1);
    }
    hf_status st = hf_cli_key_number("max-uses", options->max_uses, 0, 1, HF_AUTH_USES_MAX,
                                     &terms->max_uses, err);
    if (!hf_failed(st) && options->ttl != NULL) {
        st = hf_ttl_parse(options->ttl, &ask->ttl_seconds, err);
        st = hf_error_wrap(err, st, "--ttl");
    }
    if (!hf_failed(st)) {
        st = read_policies(&options->policies, terms, err);
    }
    if (!hf_failed(st)) {
        st = read_sources(&options->sources, terms, err);
    }
    if (!hf_failed(st) && kind == HF_TOKEN_CLIENT && terms->policy_count == 0) {
        st = hf_fail(err, HF_USAGE,
                     "which policies? --policy NAME at least once: without one, a client token may "
                     "nothing");
    }
    if (!hf_failed(st)) {
        st = hf_token_terms_check(terms, err);
    }
    if (hf_failed(st)) {
        err->code = HF_USAGE; /* whatever was wrong, somebody typed it */
    }
    return st;
}

/* The token alone on stdout, so that a script can take it; the rest is for the reader. */
static int print_created(const hf_msg_token_created *reply, bool as_json)
{
    char expires[TIME_LEN];
    if (as_json) {
        json_t *root = token_to_json(&reply->token);
        (void)json_object_set_new(root, "token", json_string(reply->text));
        return print_json(root);
    }
    write_time(expires, reply->token.terms.expires_unix_ms, "never");
    (void)printf("%s\n", reply->text);
    (void)fprintf(stderr,
                  "holdfast: keep it now, it is shown this once; accessor %s, expires: %s\n",
                  reply->token.accessor, expires);
    return HF_EXIT_DONE;
}

static int run_create(const create_options *options)
{
    hf_error err = {.code = HF_OK};
    hf_msg_token_create ask = {.ttl_seconds = 0};
    hf_msg_token_created reply;
    hf_admin *admin = NULL;
    hf_status st = read_options(options, &ask, &err);
    if (!hf_failed(st)) {
        st = hf_cli_signer_connect(&options->flags, &admin, &err);
    }
    if (!hf_failed(st)) {
        st = hf_admin_call(admin, &ask, HF_MSG_TOKEN_CREATE, HF_MSG_TOKEN_CREATED, &reply, &err);
    }
    hf_admin_close(admin);
    if (hf_failed(st)) {
        return hf_cli_report(&err);
    }
    reply.text[sizeof reply.text - 1] = '\0';
    int status = print_created(&reply, options->as_json);
    hf_wipe(&reply, sizeof reply);
    return status;
}

static int token_create(int argc, char **argv)
{
    static create_options chosen; /* 16 KiB of lists */
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(chosen.flags),
        {.name = "policy",
         .argument = "NAME",
         .help = "what it may; can be given again",
         .list = &chosen.policies},
        {.name = "kind",
         .argument = "KIND",
         .help = "client or management [client]",
         .text = &chosen.kind},
        {.name = "ttl",
         .argument = "TIME",
         .help = "90s, 15m, 24h or 30d until it expires [never]",
         .text = &chosen.ttl},
        {.name = "max-uses",
         .argument = "N",
         .help = "how often it may be used [any number]",
         .text = &chosen.max_uses},
        {.name = "source",
         .argument = "CIDR",
         .help = "valid from this network alone; can be given again",
         .list = &chosen.sources},
        {.name = "name", .argument = "TEXT", .help = "shown in lists", .text = &chosen.name},
        {.name = "json", .help = "print it as JSON", .on = &chosen.as_json},
    };
    const hf_cli_command command = {
        .name = "token create",
        .arguments = "",
        .summary = "Makes a token. Its text is printed this once and kept nowhere.",
        .details = "A client token may what its policies allow. A management token may everything "
                   "but sign,\nand what its policies allow.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    return status == HF_CLI_GO ? run_create(&chosen) : status;
}

/* ---- list ---------------------------------------------------------------------------------- */

static void print_row(const hf_token_view *token)
{
    const hf_token_terms *terms = &token->terms;
    char expires[TIME_LEN];
    char name[4 * HF_AUTH_NAME_LEN];
    write_time(expires, terms->expires_unix_ms, "never");
    hf_str_sanitize(name, sizeof name, terms->name);
    (void)printf("%s  %-10s  %-20s  ", token->accessor,
                 hf_token_kind_name((hf_token_kind)terms->kind), expires);
    for (uint32_t i = 0; i < terms->policy_count && i < HF_AUTH_POLICIES_MAX; i++) {
        (void)printf("%s%s", i == 0 ? "" : ",", terms->policies[i]);
    }
    (void)printf("%s%s%s\n", terms->policy_count == 0 ? "-" : "", name[0] != '\0' ? "  " : "",
                 name);
}

static hf_status list_tokens(hf_admin *admin, json_t *array, hf_error *err)
{
    static hf_msg_token_page page;
    hf_msg_token_list ask = {.after = ""};
    do {
        hf_status st = hf_admin_call(admin, &ask, HF_MSG_TOKEN_LIST, HF_MSG_TOKEN_PAGE, &page, err);
        if (hf_failed(st)) {
            return st;
        }
        uint32_t count = page.count <= HF_TOKENS_PAGE ? page.count : HF_TOKENS_PAGE;
        for (uint32_t i = 0; i < count; i++) {
            hf_token_view *token = &page.tokens[i];
            token->accessor[sizeof token->accessor - 1] = '\0';
            if (array == NULL) {
                print_row(token);
            } else {
                (void)json_array_append_new(array, token_to_json(token));
            }
            memcpy(ask.after, token->accessor, sizeof ask.after);
        }
    } while (page.done == 0 && page.count > 0);
    return hf_ok();
}

static int run_list(const hf_config_flags *flags, bool as_json)
{
    hf_error err = {.code = HF_OK};
    hf_admin *admin = NULL;
    json_t *array = as_json ? json_array() : NULL;
    hf_status st = hf_cli_signer_connect(flags, &admin, &err);
    if (!hf_failed(st)) {
        st = list_tokens(admin, array, &err);
    }
    hf_admin_close(admin);
    if (hf_failed(st)) {
        json_decref(array);
        return hf_cli_report(&err);
    }
    return as_json ? print_json(array) : HF_EXIT_DONE;
}

static int token_list(int argc, char **argv)
{
    hf_config_flags flags = {0};
    bool as_json = false;
    const hf_cli_option options[] = {
        HF_CLI_STORE_OPTIONS(flags),
        {.name = "json", .help = "print them as JSON", .on = &as_json},
    };
    const hf_cli_command command = {
        .name = "token list",
        .arguments = "",
        .summary = "Lists the tokens: accessor, kind, expiry, policies, name. No secrets: none are "
                   "kept.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    return status == HF_CLI_GO ? run_list(&flags, as_json) : status;
}

/* ---- revoke -------------------------------------------------------------------------------- */

static int run_revoke(const hf_config_flags *flags, const char *accessor)
{
    hf_error err = {.code = HF_OK};
    hf_msg_token_revoke ask = {.accessor = ""};
    hf_admin *admin = NULL;
    if (hf_failed(hf_str_copy(ask.accessor, sizeof ask.accessor, accessor)) ||
        !hf_accessor_is_sane(ask.accessor)) {
        return hf_cli_complain(HF_EXIT_USAGE,
                               "an accessor is %d lower-case hex digits; see holdfast token list",
                               HF_AUTH_ACCESSOR_CHARS);
    }
    hf_status st = hf_cli_signer_connect(flags, &admin, &err);
    if (!hf_failed(st)) {
        st = hf_admin_call(admin, &ask, HF_MSG_TOKEN_REVOKE, HF_MSG_RESULT, NULL, &err);
    }
    hf_admin_close(admin);
    if (hf_failed(st)) {
        return hf_cli_report(&err);
    }
    (void)printf("revoked\n");
    return HF_EXIT_DONE;
}

static int token_revoke(int argc, char **argv)
{
    hf_config_flags flags = {0};
    const hf_cli_option options[] = {HF_CLI_STORE_OPTIONS(flags)};
    const hf_cli_command command = {.name = "token revoke",
                                    .arguments = "ACCESSOR",
                                    .summary = "Revokes a token: it counts from the next request.",
                                    .options = options,
                                    .option_count = HF_ARRAY_LEN(options),
                                    .least = 1,
                                    .most = 1};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    return status == HF_CLI_GO ? run_revoke(&flags, argv[first]) : status;
}

static const hf_cli_verb verbs[] = {
    {"create", "make a token; its text is shown once", token_create},
    {"list", "the tokens, without their secrets", token_list},
    {"revoke", "end a token, from the next request on", token_revoke},
};

int hf_cli_token(int argc, char **argv)
{
    return hf_cli_dispatch("token", "Tokens: who may ask a signer for what.", verbs,
                           HF_ARRAY_LEN(verbs), argc, argv);
}
