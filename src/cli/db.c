/* holdfast db: the shared database. One table of sets of tables, each with its own migrations. */
#include "cli.h"
#include "db_internal.h"

#include <inttypes.h>
#include <jansson.h>

#include "duty/duty.h"
#include "protect/protect.h"

#define DUTY_TIMEOUT_MS 30000 /* of waiting for another that migrates */

/* ---- slashing protection ------------------------------------------------------------------ */

static hf_status slashing_state(const char *url, hf_db_state *ret_state, hf_error *err)
{
    hf_postgres_schema schema = {0};
    hf_status st = hf_postgres_migrate_status(url, &schema, err);
    if (!hf_failed(st)) {
        *ret_state = (hf_db_state){
            .version = schema.version, .latest = schema.latest, .records = schema.records};
        if (schema.peer_version != 0) {
            (void)snprintf(ret_state->note, sizeof ret_state->note,
                           "Web3Signer's tables of version %" PRId64 "%s", schema.peer_version,
                           schema.made_by_peer ? ", which stay whatever is removed here" : "");
        }
    }
    return st;
}

static hf_status slashing_up(const char *url, hf_error *err)
{
    hf_postgres_schema schema;
    return hf_postgres_migrate_up(url, &schema, err);
}

static hf_status slashing_down(const char *url, bool discard_protection, hf_error *err)
{
    hf_postgres_schema schema;
    return hf_postgres_migrate_down(url, discard_protection, &schema, err);
}

/* ---- duties --------------------------------------------------------------------------------- */

static hf_status duty_state(const char *url, hf_db_state *ret_state, hf_error *err)
{
    hf_duty_schema schema = {0};
    hf_status st = hf_duty_schema_status(url, DUTY_TIMEOUT_MS, &schema, err);
    if (!hf_failed(st)) {
        /* The npm package's versions 1 and 2 differ in one column: both are up to date. */
        *ret_state = (hf_db_state){.version = schema.package_version,
                                   .latest = schema.package_version == 2 ? 2 : 1,
                                   .records = schema.protecting};
        if (schema.package_version != 0 && schema.holdfast_version == 0) {
            (void)snprintf(ret_state->note, sizeof ret_state->note,
                           "made by the npm package; up adds the watermarks");
        }
    }
    return st;
}

static hf_status duty_up(const char *url, hf_error *err)
{
    return hf_duty_schema_up(url, DUTY_TIMEOUT_MS, 0, err);
}

static hf_status duty_down(const char *url, bool discard_protection, hf_error *err)
{
    hf_duty_schema schema = {0};
    hf_status st = hf_duty_schema_status(url, DUTY_TIMEOUT_MS, &schema, err);
    while (!hf_failed(st) && (schema.package_version != 0 || schema.holdfast_version != 0)) {
        st = hf_duty_schema_down(url, DUTY_TIMEOUT_MS, discard_protection, err);
        if (!hf_failed(st)) {
            st = hf_duty_schema_status(url, DUTY_TIMEOUT_MS, &schema, err);
        }
    }
    return st;
}

/* In the order of going up; down goes the other way. */
static const hf_db_set sets[] = {
    {"slashing", slashing_state, slashing_up, slashing_down},
    {"duty", duty_state, duty_up, duty_down},
};

/* ---- the database ------------------------------------------------------------------------- */

typedef struct migration {
    const char *url;
    const char *url_file;
    const char *set; /* NULL: all */
    bool discard_protection;
    bool json;
} migration;

hf_status hf_cli_db_read_url(const char *url, const char *url_file, char out[HF_DB_URL_BYTES],
                             hf_error *err)
{
    hf_buf *text = NULL;
    if ((url == NULL) == (url_file == NULL)) {
        return hf_fail(err, HF_USAGE, "give one of --database-url and --database-url-file");
    }
    if (url != NULL) {
        return hf_failed(hf_str_copy(out, HF_DB_URL_BYTES, url))
                   ? hf_fail(err, HF_USAGE, "--database-url: too long")
                   : hf_ok();
    }
    hf_status st = hf_file_check_private(url_file, err);
    if (!hf_failed(st)) {
        st = hf_file_read(url_file, HF_DB_URL_BYTES - 1, &text, err);
    }
    if (!hf_failed(st)) {
        st = hf_str_copy(out, HF_DB_URL_BYTES, hf_buf_text(text));
        out[strcspn(out, "\r\n")] = '\0';
    }
    hf_buf_free(text);
    return st;
}

static bool is_wanted(const migration *wanted, const hf_db_set *set)
{
    return wanted->set == NULL || strcmp(wanted->set, set->name) == 0;
}

static hf_status check_set(const migration *wanted, hf_error *err)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(sets); i++) {
        if (is_wanted(wanted, &sets[i])) {
            return hf_ok();
        }
    }
    return hf_fail(err, HF_USAGE, "--set: %s: no such set; see holdfast db migrate status",
                   wanted->set);
}

static hf_status go_up(const migration *wanted, const char *url, hf_error *err)
{
    hf_status st = hf_ok();
    for (size_t i = 0; i < HF_ARRAY_LEN(sets) && !hf_failed(st); i++) {
        if (is_wanted(wanted, &sets[i])) {
            st = hf_error_wrap(err, sets[i].up(url, err), "%s", sets[i].name);
        }
    }
    return st;
}

/* All sets are asked before the first is touched. */
static hf_status go_down(const migration *wanted, const char *url, hf_error *err)
{
    hf_status st = hf_ok();
    for (size_t i = 0; i < HF_ARRAY_LEN(sets) && !hf_failed(st); i++) {
        hf_db_state state = {0};
        if (is_wanted(wanted, &sets[i])) {
            st = hf_error_wrap(err, sets[i].state(url, &state, err), "%s", sets[i].name);
        }
        if (!hf_failed(st) && state.records > 0 && !wanted->discard_protection) {
            st = hf_fail(err, HF_CONFLICT,
                         "%s: that would forget %" PRIu64 " records of what was signed, of keys "
                         "or tokens: export them first, and say --discard-protection if that is "
                         "what you mean",
                         sets[i].name, state.records);
        }
    }
    for (size_t i = HF_ARRAY_LEN(sets); i-- > 0 && !hf_failed(st);) {
        if (is_wanted(wanted, &sets[i])) {
            st = hf_error_wrap(err, sets[i].down(url, wanted->discard_protection, err), "%s",
                               sets[i].name);
        }
    }
    return st;
}

/* ---- telling ------------------------------------------------------------------------------ */

static void print_state(const hf_db_set *set, const hf_db_state *state)
{
    (void)printf("%s: ", set->name);
    if (state->version == 0) {
        (void)printf("not there");
    } else {
        (void)printf("version %" PRId64 " of %" PRId64 ", %" PRIu64 " records", state->version,
                     state->latest, state->records);
    }
    (void)printf("%s%s\n", state->note[0] != '\0' ? "; " : "", state->note);
}

static hf_status tell(const migration *wanted, const char *url, hf_error *err)
{
    json_t *all = json_object();
    hf_status st = all == NULL ? hf_fail(err, HF_NOMEM, "out of memory") : hf_ok();
    for (size_t i = 0; i < HF_ARRAY_LEN(sets) && !hf_failed(st); i++) {
        hf_db_state state = {0};
        if (!is_wanted(wanted, &sets[i])) {
            continue;
        }
        st = hf_error_wrap(err, sets[i].state(url, &state, err), "%s", sets[i].name);
        if (!hf_failed(st) && !wanted->json) {
            print_state(&sets[i], &state);
        }
        json_t *one = json_pack("{s:I,s:I,s:I}", "version", (json_int_t)state.version, "latest",
                                (json_int_t)state.latest, "records", (json_int_t)state.records);
        if (json_object_set_new(all, sets[i].name, one) != 0 && !hf_failed(st)) {
            st = hf_fail(err, HF_NOMEM, "out of memory");
        }
    }
    if (!hf_failed(st) && wanted->json) {
        (void)json_dumpf(all, stdout, 0);
        (void)printf("\n");
    }
    json_decref(all);
    return st;
}

static hf_status run_migration(const migration *wanted, const char *direction, hf_error *err)
{
    char url[HF_DB_URL_BYTES];
    hf_status st = check_set(wanted, err);
    if (!hf_failed(st) && strcmp(direction, "up") != 0 && strcmp(direction, "down") != 0 &&
        strcmp(direction, "status") != 0) {
        st = hf_fail(err, HF_USAGE, "db migrate: %s: up, down or status", direction);
    }
    if (!hf_failed(st)) {
        st = hf_cli_db_read_url(wanted->url, wanted->url_file, url, err);
    }
    if (!hf_failed(st) && strcmp(direction, "up") == 0) {
        st = go_up(wanted, url, err);
    } else if (!hf_failed(st) && strcmp(direction, "down") == 0) {
        st = go_down(wanted, url, err);
    }
    if (!hf_failed(st)) {
        st = tell(wanted, url, err);
    }
    hf_wipe(url, sizeof url);
    return st;
}

static int db_migrate(int argc, char **argv)
{
    migration wanted = {0};
    const hf_cli_option options[] = {
        {.name = "database-url",
         .argument = "URL",
         .help = "postgresql://USER@HOST:PORT/DATABASE",
         .text = &wanted.url},
        {.name = "database-url-file",
         .argument = "FILE",
         .help = "a file with the URL (mode 0600), for one with a password",
         .text = &wanted.url_file},
        {.name = "set", .argument = "NAME", .help = "only these tables [all]", .text = &wanted.set},
        {.name = "discard-protection",
         .help = "down: forget what was signed",
         .on = &wanted.discard_protection},
        {.name = "json", .help = "print the state as JSON", .on = &wanted.json},
    };
    const hf_cli_command command = {
        .name = "db migrate",
        .arguments = "up|down|status",
        .summary = "Makes, removes or shows the tables of a shared PostgreSQL database.",
        .details = "up makes what is missing; nodes that do so at once wait for each other.\n"
                   "down removes it, and refuses while there are records of what was signed.\n"
                   "Tables that Web3Signer made are used as they are, and never removed.",
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
    return hf_failed(run_migration(&wanted, argv[first], &err)) ? hf_cli_report(&err)
                                                                : HF_EXIT_DONE;
}

static const hf_cli_verb verbs[] = {
    {"migrate", "make, remove or show the tables of a shared database", db_migrate},
    {"copy", "copy all that was signed into another store, and compare", hf_cli_db_copy},
    {"enable", "let a validator sign again that Web3Signer disabled", hf_cli_db_enable},
};

int hf_cli_db(int argc, char **argv)
{
    return hf_cli_dispatch("db", "The database that several signers share.", verbs,
                           HF_ARRAY_LEN(verbs), argc, argv);
}
