/*
 * One set of operations for both: a running signer over its admin socket, or the store of a stopped
 * one, under the same lock that a signer holds while it runs.
 */
#include "slashing_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

/* ---- opening ------------------------------------------------------------------------------ */

static hf_status lock_database(hf_target *target, hf_error *err)
{
    char path[HF_PATH_LEN + sizeof ".lock"];
    const char *database = target->store_config.path;
    hf_status st = hf_str_format(path, sizeof path, "%s.lock", database);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "%s: path too long", database);
    }
    target->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (target->lock_fd < 0 && errno == ENOENT) {
        return hf_fail(err, HF_NOT_FOUND, "%s: no such folder", database);
    }
    if (target->lock_fd < 0) {
        return hf_fail(err, HF_IO, "%s: %s", path, strerror(errno));
    }
    if (flock(target->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return hf_fail(err, HF_CONFLICT,
                       "%s: in use by another process that does not listen on admin.sock",
                       database);
    }
    return hf_ok();
}

/* A shared one, as its process would open it; other signers on it go on meanwhile. */
static hf_status open_shared_store(hf_target *target, const hf_config *config, hf_error *err)
{
    target->shared = hf_shared_store_of(config);
    if (target->shared == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    return hf_shared_store_open(target->shared, &target->store, err);
}

static hf_status open_store(hf_target *target, const char *data_dir, bool create, hf_error *err)
{
    hf_status st = hf_ok();
    if (create) {
        st = hf_file_mkdir_private(data_dir, err);
    }
    if (!hf_failed(st)) {
        st = lock_database(target, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    target->store_config.create = create;
    return hf_store_open_sqlite(&target->store_config, &target->store, err);
}

/* A running signer knows its network; one that was configured here has to be the same. */
static hf_status check_network(hf_target *target, const hf_config *config, hf_error *err)
{
    hf_store_status status;
    hf_status st = hf_target_status(target, &status, err);
    if (hf_failed(st)) {
        return st;
    }
    if (!config->network_is_default &&
        !hf_bytes_equal(status.genesis_validators_root, target->root, HF_ROOT_BYTES)) {
        return hf_fail(err, HF_CONFLICT, "the running signer serves another network");
    }
    memcpy(target->root, status.genesis_validators_root, HF_ROOT_BYTES);
    return hf_ok();
}

hf_status hf_target_open(const hf_config_flags *flags, bool create, hf_target *ret_target,
                         hf_error *err)
{
    *ret_target = (hf_target){.lock_fd = -1};
    hf_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = hf_config_load(flags, config, err);
    if (hf_failed(st)) {
        goto out;
    }
    ret_target->keep_epochs = config->keep_epochs;
    ret_target->slots_per_epoch = config->network.slots_per_epoch;
    memcpy(ret_target->root, config->network.genesis_validators_root, HF_ROOT_BYTES);
    memcpy(ret_target->store_config.genesis_validators_root, ret_target->root, HF_ROOT_BYTES);
    st = hf_str_copy(ret_target->store_config.path, sizeof ret_target->store_config.path,
                     config->store_path);
    HF_ASSERT(!hf_failed(st)); /* both are HF_PATH_LEN */
    st = hf_admin_connect(config->data_dir, &ret_target->admin, err);
    if (st.code == HF_NOT_FOUND) {
        st = config->store_backend != HF_STORE_SQLITE
                 ? open_shared_store(ret_target, config, err)
                 : open_store(ret_target, config->data_dir, create, err);
    } else if (!hf_failed(st)) {
        st = check_network(ret_target, config, err);
    }
out:
    hf_wipe(config, sizeof *config); /* a database's URL may hold a password */
    free(config);
    return st;
}

void hf_target_close(hf_target *target)
{
    hf_admin_close(target->admin);
    if (target->store != NULL) {
        target->store->ops->close(target->store);
    }
    if (target->lock_fd >= 0) {
        (void)close(target->lock_fd);
    }
    hf_shared_store_free(target->shared);
    *target = (hf_target){.lock_fd = -1};
}

/* ---- status, watermarks, pruning ---------------------------------------------------------- */

hf_status hf_target_status(hf_target *target, hf_store_status *ret_status, hf_error *err)
{
    if (target->store != NULL) {
        return target->store->ops->status(target->store, ret_status, err);
    }
    hf_msg_plain ask = {0};
    hf_msg_store_status_reply answer;
    hf_status st = hf_admin_call(target->admin, &ask, HF_MSG_STORE_STATUS,
                                 HF_MSG_STORE_STATUS_REPLY, &answer, err);
    if (!hf_failed(st)) {
        st = hf_admin_reason(answer.reason, "", err);
    }
    if (!hf_failed(st)) {
        *ret_status = answer.status;
        target->has_guard = true;
        target->guard = answer.guard;
    }
    return st;
}

hf_status hf_target_raise_floors(hf_target *target, const hf_watermark *low, hf_error *err)
{
    if (target->store != NULL) {
        return target->store->ops->raise_floors(target->store, low, err);
    }
    hf_msg_watermark ask = {.watermark = *low};
    return hf_admin_call(target->admin, &ask, HF_MSG_RAISE_FLOORS, HF_MSG_RESULT, NULL, err);
}

hf_status hf_target_set_high(hf_target *target, const hf_watermark *high, hf_error *err)
{
    if (target->store != NULL) {
        return target->store->ops->set_high(target->store, high, err);
    }
    hf_msg_watermark ask = {0};
    if (high != NULL) {
        ask.watermark = *high;
    }
    return hf_admin_call(target->admin, &ask, HF_MSG_SET_HIGH, HF_MSG_RESULT, NULL, err);
}

hf_status hf_target_prune(hf_target *target, uint64_t keep_epochs, uint64_t *ret_rows,
                          hf_error *err)
{
    if (target->store == NULL) {
        hf_msg_prune ask = {.keep_epochs = keep_epochs};
        hf_msg_result answer;
        hf_status st =
            hf_admin_call(target->admin, &ask, HF_MSG_PRUNE, HF_MSG_RESULT, &answer, err);
        if (!hf_failed(st)) {
            *ret_rows = answer.value;
        }
        return st;
    }
    uint64_t rows = 0;
    hf_prune_report report = {.more = true};
    while (report.more) {
        hf_status st = target->store->ops->prune(target->store, keep_epochs,
                                                 target->slots_per_epoch, &report, err);
        if (hf_failed(st)) {
            return st;
        }
        rows += report.rows_deleted;
    }
    *ret_rows = rows;
    return hf_ok();
}

/* ---- import ------------------------------------------------------------------------------- */

static hf_status import_begin(hf_target *target, hf_error *err)
{
    if (target->store != NULL) {
        return target->store->ops->import_begin(target->store, err);
    }
    hf_msg_ask ask = {0}; /* the socket's owner needs no token */
    return hf_admin_call(target->admin, &ask, HF_MSG_IMPORT_BEGIN, HF_MSG_RESULT, NULL, err);
}

static hf_status import_page(void *context, const hf_message *messages, size_t n, hf_error *err)
{
    hf_target *target = context;
    if (target->store != NULL) {
        return target->store->ops->import_add(target->store, messages, n, err);
    }
    hf_msg_import_add ask = {.count = (uint32_t)n};
    HF_ASSERT(n <= HF_EXPORT_PAGE);
    memcpy(ask.messages, messages, n * sizeof *messages);
    return hf_admin_call(target->admin, &ask, HF_MSG_IMPORT_ADD, HF_MSG_RESULT, NULL, err);
}

static hf_status import_commit(hf_target *target, hf_import_report *ret_report, hf_error *err)
{
    if (target->store != NULL) {
        return target->store->ops->import_commit(target->store, ret_report, err);
    }
    hf_msg_plain ask = {0};
    hf_msg_import_report answer;
    hf_status st = hf_admin_call(target->admin, &ask, HF_MSG_IMPORT_COMMIT, HF_MSG_IMPORT_REPORT,
                                 &answer, err);
    if (!hf_failed(st)) {
        answer.detail[sizeof answer.detail - 1] = '\0';
        st = hf_admin_reason(answer.reason, answer.detail, err);
    }
    if (!hf_failed(st)) {
        *ret_report = answer.report;
    }
    return st;
}

static void import_abort(hf_target *target)
{
    if (target->store != NULL) {
        target->store->ops->import_abort(target->store);
        return;
    }
    hf_msg_plain ask = {0};
    /* The signer drops the import by itself when the connection ends. */
    hf_status st =
        hf_admin_call(target->admin, &ask, HF_MSG_IMPORT_ABORT, HF_MSG_RESULT, NULL, NULL);
    (void)hf_failed(st);
}

hf_status hf_target_import(hf_target *target, hf_bytes json, hf_import_report *ret_report,
                           hf_error *err)
{
    hf_status st = import_begin(target, err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_interchange_parse(json, target->root, import_page, target, err);
    if (!hf_failed(st)) {
        st = import_commit(target, ret_report, err);
    }
    if (hf_failed(st)) {
        import_abort(target);
    }
    return st;
}

/* ---- export ------------------------------------------------------------------------------- */

static hf_status read_pages(hf_target *target, uint64_t export_id, hf_export_visitor visitor,
                            void *context, hf_error *err)
{
    hf_msg_export_page page = {0};
    while (!page.done) {
        hf_msg_export_read ask = {.export_id = export_id};
        hf_status st =
            hf_admin_call(target->admin, &ask, HF_MSG_EXPORT_READ, HF_MSG_EXPORT_PAGE, &page, err);
        if (!hf_failed(st)) {
            st = hf_admin_reason(page.reason, "", err);
        }
        if (!hf_failed(st) && page.count > HF_EXPORT_PAGE) {
            st = hf_fail(err, HF_INTERNAL, "the signer sent a page of %u records", page.count);
        }
        for (uint32_t i = 0; i < page.count && !hf_failed(st); i++) {
            st = visitor(context, &page.messages[i]);
            if (hf_failed(st)) {
                st = hf_fail(err, st.code, "the export is larger than this program can write");
            }
        }
        if (hf_failed(st)) {
            return st;
        }
    }
    return hf_ok();
}

hf_status hf_target_export(hf_target *target, const uint8_t *pubkey, hf_export_visitor visitor,
                           void *context, hf_error *err)
{
    if (target->store != NULL) {
        uint8_t only[1][HF_BLS_PUBKEY_BYTES] = {{0}};
        if (pubkey != NULL) {
            memcpy(only[0], pubkey, HF_BLS_PUBKEY_BYTES);
        }
        const uint8_t(*wanted)[HF_BLS_PUBKEY_BYTES] =
            pubkey != NULL ? (const uint8_t(*)[HF_BLS_PUBKEY_BYTES])only : NULL;
        size_t count = pubkey != NULL ? 1 : 0;
        return target->shared != NULL
                   ? hf_shared_store_export(target->shared, wanted, count, visitor, context, err)
                   : hf_store_export_sqlite(&target->store_config, wanted, count, visitor, context,
                                            err);
    }
    hf_msg_pubkey ask = {.has_pubkey = pubkey != NULL};
    hf_msg_result answer;
    if (pubkey != NULL) {
        memcpy(ask.pubkey, pubkey, HF_BLS_PUBKEY_BYTES);
    }
    hf_status st =
        hf_admin_call(target->admin, &ask, HF_MSG_EXPORT_OPEN, HF_MSG_RESULT, &answer, err);
    return hf_failed(st) ? st : read_pages(target, answer.value, visitor, context, err);
}
