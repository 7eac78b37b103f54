/*
 * holdfast db copy: the whole record of one store into another, empty one, of any kind; then both
 * are read again and compared.
 */
#include "cli.h"
#include "db_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <unistd.h>

#include "interchange/interchange.h"
#include "protect/protect.h"

/* An operator waits longer than a signature may. */
#define DEADLINE_MS 10000
#define DIGEST_LANES 4

typedef enum end_kind { END_SQLITE, END_POSTGRES, END_DYNAMODB } end_kind;

/* One end of the copy. */
typedef struct copy_end {
    const char *option; /* "--from" */
    bool is_target;
    end_kind kind;
    hf_sqlite_config sqlite;
    hf_postgres_config postgres;
    hf_dynamodb_config dynamodb;
    hf_store *store;
    int lock_fd; /* SQLite: the lock that a signer holds while it runs */
} copy_end;

/* What a store exports, whatever the order: the sum of the hashes of its records. */
typedef struct content {
    uint64_t blocks;
    uint64_t attestations;
    uint64_t sum[DIGEST_LANES];
} content;

typedef struct copy_job {
    hf_store *target;
    hf_error *err;
    size_t count;
    hf_message page[HF_INTERCHANGE_PAGE];
} copy_job;

typedef struct copy_wish {
    const char *from;
    const char *to;
    const char *network;
    const char *root;
    bool json;
} copy_wish;

/* ---- naming a store ----------------------------------------------------------------------- */

static const char *after_prefix(const char *text, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

static hf_status refuse_name(const copy_end *end, hf_error *err)
{
    return hf_fail(err, HF_USAGE,
                   "%s: neither sqlite:PATH, postgresql://..., postgres-file:FILE nor "
                   "dynamodb:TABLE[@REGION[@ENDPOINT]], or too long",
                   end->option);
}

/* A URL with a password belongs in a file: arguments are everybody's to read. */
static hf_status read_url_file(copy_end *end, const char *path, hf_error *err)
{
    hf_buf *text = NULL;
    hf_status st = hf_file_check_private(path, err);
    if (!hf_failed(st)) {
        st = hf_file_read(path, sizeof end->postgres.url - 1, &text, err);
    }
    if (!hf_failed(st)) {
        st = hf_str_copy(end->postgres.url, sizeof end->postgres.url, hf_buf_text(text));
        end->postgres.url[strcspn(end->postgres.url, "\r\n")] = '\0';
    }
    hf_buf_free(text);
    return st;
}

/* Copies what is before the next '@'; returns what is after it, or NULL. */
static const char *take_part(const char *text, char *out, size_t len, bool *ok)
{
    size_t part = strcspn(text, "@");
    *ok = *ok && part > 0 && part < len;
    if (!*ok) {
        return NULL;
    }
    memcpy(out, text, part);
    out[part] = '\0';
    return text[part] == '@' ? text + part + 1 : NULL;
}

static hf_status parse_dynamodb(copy_end *end, const char *text, hf_error *err)
{
    hf_dynamodb_config *config = &end->dynamodb;
    bool ok = true;
    const char *rest = take_part(text, config->table, sizeof config->table, &ok);
    if (rest != NULL) {
        rest = take_part(rest, config->region, sizeof config->region, &ok);
    }
    ok = ok &&
         (rest == NULL || !hf_failed(hf_str_copy(config->endpoint, sizeof config->endpoint, rest)));
    return ok ? hf_ok() : refuse_name(end, err);
}

static hf_status parse_end(copy_end *end, const char *text, hf_error *err)
{
    const char *path = after_prefix(text, "sqlite:");
    const char *file = after_prefix(text, "postgres-file:");
    const char *table = after_prefix(text, "dynamodb:");
    if (path != NULL && path[0] != '\0') {
        end->kind = END_SQLITE;
        hf_status st = hf_str_copy(end->sqlite.path, sizeof end->sqlite.path, path);
        return hf_failed(st) ? refuse_name(end, err) : st;
    }
    if (file != NULL && file[0] != '\0') {
        end->kind = END_POSTGRES;
        return read_url_file(end, file, err);
    }
    if (after_prefix(text, "postgresql://") != NULL || after_prefix(text, "postgres://") != NULL) {
        end->kind = END_POSTGRES;
        hf_status st = hf_str_copy(end->postgres.url, sizeof end->postgres.url, text);
        return hf_failed(st) ? refuse_name(end, err) : st;
    }
    if (table != NULL) {
        end->kind = END_DYNAMODB;
        return parse_dynamodb(end, table, err);
    }
    return refuse_name(end, err);
}

/* ---- opening ------------------------------------------------------------------------------ */

static void configure(copy_end *end, const uint8_t *root)
{
    memcpy(end->sqlite.genesis_validators_root, root, HF_ROOT_BYTES);
    memcpy(end->postgres.genesis_validators_root, root, HF_ROOT_BYTES);
    memcpy(end->dynamodb.genesis_validators_root, root, HF_ROOT_BYTES);
    end->postgres.deadline_ms = DEADLINE_MS;
    end->dynamodb.deadline_ms = DEADLINE_MS;
    end->sqlite.create = end->is_target;
    end->postgres.auto_migrate = end->is_target;
    end->dynamodb.create_table = end->is_target;
}

static hf_status lock_database(copy_end *end, hf_error *err)
{
    char path[sizeof end->sqlite.path + sizeof ".lock"];
    hf_status st = hf_str_format(path, sizeof path, "%s.lock", end->sqlite.path);
    HF_ASSERT(!hf_failed(st));
    end->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (end->lock_fd < 0) {
        return hf_fail(err, HF_IO, "%s: %s", path, strerror(errno));
    }
    if (flock(end->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return hf_fail(err, HF_CONFLICT, "%s: a signer is running on it: stop it first",
                       end->sqlite.path);
    }
    return hf_ok();
}

static hf_status open_end(copy_end *end, hf_error *err)
{
    hf_status st = hf_ok();
    switch (end->kind) {
    case END_SQLITE:
        st = lock_database(end, err);
        if (!hf_failed(st)) {
            st = hf_store_open_sqlite(&end->sqlite, &end->store, err);
        }
        break;
    case END_POSTGRES:
        st = hf_store_open_postgres(&end->postgres, &end->store, err);
        break;
    case END_DYNAMODB:
        st = hf_store_open_dynamodb(&end->dynamodb, &end->store, err);
        break;
    }
    HF_ASSERT(hf_failed(st) || end->store != NULL);
    return st;
}

static void close_end(copy_end *end)
{
    if (end->store != NULL) {
        end->store->ops->close(end->store);
    }
    if (end->lock_fd >= 0) {
        (void)close(end->lock_fd);
    }
    hf_wipe(&end->postgres, sizeof end->postgres);
}

static hf_status export_end(const copy_end *end, hf_export_visitor visitor, void *context,
                            hf_error *err)
{
    switch (end->kind) {
    case END_SQLITE:
        return hf_store_export_sqlite(&end->sqlite, NULL, 0, visitor, context, err);
    case END_POSTGRES:
        return hf_store_export_postgres(&end->postgres, NULL, 0, visitor, context, err);
    case END_DYNAMODB:
        break;
    }
    return hf_store_export_dynamodb(&end->dynamodb, NULL, 0, visitor, context, err);
}

/* ---- comparing ---------------------------------------------------------------------------- */

static hf_status add_to_content(void *context, const hf_message *message)
{
    content *all = context;
    uint8_t digest[32];
    /* Copied field by field: nothing between the fields counts. */
    hf_message record = {.kind = message->kind,
                         .has_root = message->has_root,
                         .slot = message->slot,
                         .source = message->source,
                         .target = message->target};
    memcpy(record.pubkey, message->pubkey, sizeof record.pubkey);
    if (message->has_root) {
        memcpy(record.signing_root, message->signing_root, HF_ROOT_BYTES);
    }
    hf_sha256(&record, sizeof record, digest);
    for (size_t i = 0; i < DIGEST_LANES; i++) {
        all->sum[i] += hf_le64_get(digest + 8 * i);
    }
    all->blocks += message->kind == HF_MESSAGE_BLOCK;
    all->attestations += message->kind == HF_MESSAGE_ATTESTATION;
    return hf_ok();
}

static bool same_mark(const hf_watermark *a, const hf_watermark *b)
{
    return a->has_slot == b->has_slot && a->has_epochs == b->has_epochs &&
           (!a->has_slot || a->slot == b->slot) && (!a->has_epochs || a->target == b->target);
}

/* Both are read anew: what was signed in the meantime shows as well. */
static hf_status compare_ends(const copy_end *from, const copy_end *to, content *ret_content,
                              hf_error *err)
{
    content source = {0};
    content copy = {0};
    hf_store_status before = {0};
    hf_store_status after = {0};
    hf_status st = export_end(from, add_to_content, &source, err);
    if (!hf_failed(st)) {
        st = export_end(to, add_to_content, &copy, err);
    }
    if (!hf_failed(st)) {
        st = from->store->ops->status(from->store, &before, err);
    }
    if (!hf_failed(st)) {
        st = to->store->ops->status(to->store, &after, err);
    }
    if (hf_failed(st)) {
        return hf_error_wrap(err, st, "the copy could not be compared");
    }
    if (!hf_bytes_equal(&source, &copy, sizeof source) || !same_mark(&before.high, &after.high)) {
        return hf_fail(err, HF_CORRUPT,
                       "the stores differ after copying (%" PRIu64 " and %" PRIu64
                       " records): is a signer still running on one of them?",
                       source.blocks + source.attestations, copy.blocks + copy.attestations);
    }
    *ret_content = copy;
    return st;
}

/* ---- copying ------------------------------------------------------------------------------ */

static hf_status flush_page(copy_job *job)
{
    hf_status st = hf_ok();
    if (job->count > 0) {
        st = job->target->ops->import_add(job->target, job->page, job->count, job->err);
    }
    job->count = 0;
    return st;
}

static hf_status take_record(void *context, const hf_message *message)
{
    copy_job *job = context;
    job->page[job->count++] = *message;
    return job->count == HF_ARRAY_LEN(job->page) ? flush_page(job) : hf_ok();
}

static hf_status copy_records(const copy_end *from, hf_store *target, hf_import_report *ret_report,
                              hf_error *err)
{
    hf_error import_err = {0};
    copy_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    job->target = target;
    job->err = &import_err;
    hf_status st = target->ops->import_begin(target, err);
    if (!hf_failed(st)) {
        st = export_end(from, take_record, job, err);
        if (!hf_failed(st)) {
            st = flush_page(job);
        }
        if (!hf_failed(st)) {
            st = target->ops->import_commit(target, ret_report, &import_err);
        }
        if (hf_failed(st)) {
            target->ops->import_abort(target);
        }
        if (hf_failed(st) && import_err.msg[0] != '\0') {
            st = hf_fail(err, st.code, "--to: %s", import_err.msg);
        }
    }
    free(job);
    return st;
}

static hf_status check_empty(const copy_end *to, hf_error *err)
{
    hf_store_status status;
    hf_status st = to->store->ops->status(to->store, &status, err);
    if (!hf_failed(st) && status.validators > 0) {
        st = hf_fail(err, HF_CONFLICT,
                     "--to holds %" PRIu64 " validators already: holdfast slashing export and "
                     "import join histories",
                     status.validators);
    }
    return st;
}

static hf_status copy_all(copy_end *from, copy_end *to, hf_import_report *ret_report,
                          content *ret_content, hf_error *err)
{
    hf_store_status status = {0};
    hf_status st = open_end(from, err);
    if (!hf_failed(st)) {
        /* A shared store opens while it is away: nothing is made for what cannot be read. */
        st = from->store->ops->status(from->store, &status, err);
    }
    if (hf_failed(st)) {
        return hf_error_wrap(err, st, "--from");
    }
    st = open_end(to, err);
    if (hf_failed(st)) {
        return hf_error_wrap(err, st, "--to");
    }
    st = check_empty(to, err);
    if (!hf_failed(st)) {
        st = copy_records(from, to->store, ret_report, err);
    }
    if (!hf_failed(st) && (status.high.has_slot || status.high.has_epochs)) {
        st = to->store->ops->set_high(to->store, &status.high, err);
    }
    return hf_failed(st) ? st : compare_ends(from, to, ret_content, err);
}

/* ---- the command -------------------------------------------------------------------------- */

static hf_status find_root(const copy_wish *wish, uint8_t ret_root[HF_ROOT_BYTES], hf_error *err)
{
    if ((wish->network == NULL) == (wish->root == NULL)) {
        return hf_fail(err, HF_USAGE, "give one of --network and --genesis-validators-root");
    }
    if (wish->root != NULL) {
        return hf_failed(hf_hex_decode(wish->root, strlen(wish->root), ret_root, HF_ROOT_BYTES))
                   ? hf_fail(err, HF_USAGE, "--genesis-validators-root: not 32 bytes in hex")
                   : hf_ok();
    }
    hf_network network;
    hf_status st = hf_config_network(wish->network, &network, err);
    if (!hf_failed(st)) {
        memcpy(ret_root, network.genesis_validators_root, HF_ROOT_BYTES);
    }
    return st;
}

static hf_status run_copy(const copy_wish *wish, hf_import_report *ret_report, content *ret_content,
                          hf_error *err)
{
    uint8_t root[HF_ROOT_BYTES];
    copy_end from = {.option = "--from", .lock_fd = -1};
    copy_end to = {.option = "--to", .is_target = true, .lock_fd = -1};
    hf_status st = wish->from == NULL || wish->to == NULL
                       ? hf_fail(err, HF_USAGE, "give --from and --to")
                       : find_root(wish, root, err);
    if (!hf_failed(st)) {
        st = parse_end(&from, wish->from, err);
    }
    if (!hf_failed(st)) {
        st = parse_end(&to, wish->to, err);
    }
    if (!hf_failed(st)) {
        configure(&from, root);
        configure(&to, root);
        st = copy_all(&from, &to, ret_report, ret_content, err);
    }
    close_end(&from);
    close_end(&to);
    return st;
}

int hf_cli_db_copy(int argc, char **argv)
{
    copy_wish wish = {0};
    const hf_cli_option options[] = {
        {.name = "from", .argument = "STORE", .help = "what is copied", .text = &wish.from},
        {.name = "to",
         .argument = "STORE",
         .help = "an empty store, or none yet",
         .text = &wish.to},
        {.name = "network",
         .argument = "NAME",
         .help = "mainnet, sepolia, ... or a YAML file",
         .text = &wish.network},
        {.name = "genesis-validators-root",
         .argument = "HEX",
         .help = "the chain, instead of its network",
         .text = &wish.root},
        {.name = "json", .help = "print the result as JSON", .on = &wish.json},
    };
    const hf_cli_command command = {
        .name = "db copy",
        .arguments = "",
        .summary = "Copies all that was signed into another store, and compares both.",
        .details = "A STORE is sqlite:PATH, postgresql://USER@HOST/DATABASE, postgres-file:FILE (a "
                   "file, mode 0600,\nwith such a URL), or dynamodb:TABLE[@REGION[@ENDPOINT]].\n"
                   "Stop every signer first: what is signed during the copy is not in it.",
        .options = options,
        .option_count = HF_ARRAY_LEN(options)};
    int first = 0;
    int status = hf_cli_parse(&command, argc, argv, &first);
    if (status != HF_CLI_GO) {
        return status;
    }
    hf_error err = {0};
    hf_import_report report = {0};
    content copied = {0};
    if (hf_failed(run_copy(&wish, &report, &copied, &err))) {
        return hf_cli_report(&err);
    }
    (void)printf(wish.json ? "{\"validators\":%" PRIu64 ",\"blocks\":%" PRIu64
                             ",\"attestations\":%" PRIu64 ",\"equal\":true}\n"
                           : "copied %" PRIu64 " validators, %" PRIu64 " blocks, %" PRIu64
                             " attestations: both stores hold the same\n",
                 report.validators, copied.blocks, copied.attestations);
    return HF_EXIT_DONE;
}
