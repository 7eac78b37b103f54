/* A store in a folder of its own, and messages in one line. */
#include "support.h"

#include <dirent.h>
#include <unistd.h>

const test_backend *test_other_backend;

void test_store_init(test_store *test)
{
    /* In memory where that is offered: nothing here depends on how slow a disk is. */
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
    *test = (test_store){0};
    hf_status st = hf_str_format(test->folder, sizeof test->folder, "%s/hf-protect-XXXXXX",
                                 base != NULL ? base : "/tmp");
    assert_code(st, HF_OK);
    assert_non_null(mkdtemp(test->folder));
    st = hf_str_format(test->config.path, sizeof test->config.path, "%s/slashing.sqlite",
                       test->folder);
    assert_code(st, HF_OK);
    test->config.create = true;
    memset(test->config.genesis_validators_root, 7, HF_ROOT_BYTES);
    if (test_other_backend != NULL) {
        test_other_backend->init(test);
    }
}

void test_store_open(test_store *test)
{
    hf_status st = test_other_backend != NULL
                       ? test_other_backend->open(test)
                       : hf_store_open_sqlite(&test->config, &test->store, &test->err);
    if (hf_failed(st)) {
        fail_msg("open: %s", test->err.msg);
    }
}

void test_store_close(test_store *test)
{
    if (test->store != NULL) {
        test->store->ops->close(test->store);
        test->store = NULL;
    }
}

void test_store_done(test_store *test)
{
    char path[600];
    test_store_close(test);
    if (test_other_backend != NULL) {
        test_other_backend->done(test);
    }
    DIR *folder = opendir(test->folder);
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        hf_status st = hf_str_format(path, sizeof path, "%s/%s", test->folder, entry->d_name);
        assert_code(st, HF_OK);
        if (entry->d_name[0] != '.') {
            assert_int_equal(unlink(path), 0);
        }
    }
    (void)closedir(folder);
    assert_int_equal(rmdir(test->folder), 0);
}

static hf_message message_of(uint8_t validator, uint32_t root)
{
    hf_message message = {.has_root = root != NO_ROOT};
    memset(message.pubkey, validator, sizeof message.pubkey);
    hf_le64_put(message.signing_root, root);
    return message;
}

hf_message test_block(uint8_t validator, uint64_t slot, uint32_t root)
{
    hf_message message = message_of(validator, root);
    message.kind = HF_MESSAGE_BLOCK;
    message.slot = slot;
    return message;
}

hf_message test_vote(uint8_t validator, uint64_t source, uint64_t target, uint32_t root)
{
    hf_message message = message_of(validator, root);
    message.kind = HF_MESSAGE_ATTESTATION;
    message.source = source;
    message.target = target;
    return message;
}

hf_verdict test_decide(test_store *test, const hf_message *message)
{
    hf_verdict verdict = HF_VERDICT_COUNT;
    hf_status st = test->store->ops->decide(test->store, message, 1, &verdict, &test->err);
    if (hf_failed(st)) {
        fail_msg("decide: %s", test->err.msg);
    }
    return verdict;
}

hf_verdict test_decide_block(test_store *test, uint8_t validator, uint64_t slot, uint32_t root)
{
    hf_message message = test_block(validator, slot, root);
    return test_decide(test, &message);
}

hf_verdict test_decide_vote(test_store *test, uint8_t validator, uint64_t source, uint64_t target,
                            uint32_t root)
{
    hf_message message = test_vote(validator, source, target, root);
    return test_decide(test, &message);
}

hf_import_report test_import(test_store *test, const hf_message *messages, size_t n)
{
    hf_import_report report = {0};
    hf_status st = test->store->ops->import_begin(test->store, &test->err);
    if (!hf_failed(st)) {
        st = test->store->ops->import_add(test->store, messages, n, &test->err);
    }
    if (!hf_failed(st)) {
        st = test->store->ops->import_commit(test->store, &report, &test->err);
    }
    if (hf_failed(st)) {
        fail_msg("import: %s", test->err.msg);
    }
    return report;
}

hf_status test_records_add(void *context, const hf_message *message)
{
    test_records *records = context;
    if (records->count == records->capacity) {
        records->capacity = records->capacity == 0 ? 64 : records->capacity * 2;
        records->messages =
            realloc(records->messages, records->capacity * sizeof *records->messages);
        assert_non_null(records->messages);
    }
    records->messages[records->count] = *message;
    records->count++;
    return hf_ok();
}

void test_records_export(test_store *test, test_records *records)
{
    hf_status st =
        test_other_backend != NULL
            ? test_other_backend->export_all(test, test_records_add, records)
            : hf_store_export_sqlite(&test->config, NULL, 0, test_records_add, records, &test->err);
    if (hf_failed(st)) {
        fail_msg("export: %s", test->err.msg);
    }
}

void test_records_free(test_records *records)
{
    free(records->messages);
    *records = (test_records){0};
}

int test_store_setup(void **state)
{
    test_store *test = calloc(1, sizeof *test);
    assert_non_null(test);
    test_store_init(test);
    *state = test;
    return 0;
}

int test_store_teardown(void **state)
{
    test_store_done(*state);
    free(*state);
    return 0;
}
