/*
 * The 38 files of EIP-3076's conformance tests, against the real store: what a complete strategy
 * must refuse it refuses, and what it must allow it allows.
 */
#include <dirent.h>
#include <jansson.h>

#include "interchange/interchange.h"
#include "support_dynamodb.h"
#include "support_postgres.h"

#define VECTOR_FILES 38
#define VECTOR_STEPS 49
#define VECTOR_MESSAGES 150 /* 71 blocks, 79 attestations */

typedef struct run_count {
    size_t files;
    size_t steps;
    size_t messages;
} run_count;

typedef struct import_context {
    hf_store *store;
} import_context;

static hf_status stage(void *context, const hf_message *messages, size_t n, hf_error *err)
{
    import_context *import = context;
    return import->store->ops->import_add(import->store, messages, n, err);
}

static void root_of(json_t *object, uint8_t *ret_root)
{
    const char *text = json_string_value(json_object_get(object, "genesis_validators_root"));
    assert_non_null(text);
    assert_code(hf_hex_decode(text, strlen(text), ret_root, HF_ROOT_BYTES), HF_OK);
}

static bool import_interchange(test_store *test, json_t *interchange)
{
    hf_import_report report;
    import_context context = {test->store};
    char *text = json_dumps(interchange, JSON_COMPACT);
    assert_non_null(text);
    assert_code(test->store->ops->import_begin(test->store, &test->err), HF_OK);
    hf_status st =
        hf_interchange_parse(hf_bytes_from(text, strlen(text)),
                             test->config.genesis_validators_root, stage, &context, &test->err);
    free(text);
    if (hf_failed(st)) {
        test->store->ops->import_abort(test->store);
        return false;
    }
    assert_code(test->store->ops->import_commit(test->store, &report, &test->err), HF_OK);
    return true;
}

static uint64_t number_of(json_t *object, const char *member)
{
    uint64_t number;
    const char *text = json_string_value(json_object_get(object, member));
    assert_non_null(text);
    assert_code(hf_num_parse_u64(text, strlen(text), &number), HF_OK);
    return number;
}

/* A request without root is another message than any on record: it gets a root of its own. */
static hf_message message_of(json_t *object, bool is_block)
{
    static uint64_t unique = 0;
    hf_message message = {.has_root = 1};
    const char *pubkey = json_string_value(json_object_get(object, "pubkey"));
    const char *root = json_string_value(json_object_get(object, "signing_root"));
    assert_non_null(pubkey);
    assert_code(hf_hex_decode(pubkey, strlen(pubkey), message.pubkey, sizeof message.pubkey),
                HF_OK);
    if (root != NULL) {
        assert_code(hf_hex_decode(root, strlen(root), message.signing_root, HF_ROOT_BYTES), HF_OK);
    } else {
        memset(message.signing_root, 0xEE, HF_ROOT_BYTES);
        hf_le64_put(message.signing_root, unique++);
    }
    message.kind = is_block ? HF_MESSAGE_BLOCK : HF_MESSAGE_ATTESTATION;
    if (is_block) {
        message.slot = number_of(object, "slot");
    } else {
        message.source = number_of(object, "source_epoch");
        message.target = number_of(object, "target_epoch");
    }
    return message;
}

static void run_messages(test_store *test, const char *where, json_t *list, bool is_block,
                         run_count *count)
{
    size_t i;
    json_t *object;
    json_array_foreach(list, i, object)
    {
        hf_message message = message_of(object, is_block);
        hf_verdict verdict = test_decide(test, &message);
        json_t *expected = json_object_get(object, "should_succeed_complete");
        assert_true(json_is_boolean(expected));
        if (hf_verdict_allows(verdict) != json_is_true(expected)) {
            fail_msg("%s: %s %zu: %s", where, is_block ? "block" : "attestation", i,
                     hf_verdict_name(verdict));
        }
        count->messages++;
    }
}

static void run_file(const char *path, run_count *count)
{
    size_t i;
    json_t *step;
    json_error_t problem;
    test_store test;
    json_t *document = json_load_file(path, 0, &problem);
    if (document == NULL) {
        fail_msg("%s: %s", path, problem.text);
        return;
    }
    test_store_init(&test);
    root_of(document, test.config.genesis_validators_root);
    test_store_open(&test);
    json_array_foreach(json_object_get(document, "steps"), i, step)
    {
        bool imported = import_interchange(&test, json_object_get(step, "interchange"));
        /* Slashable data is taken in, so that every check of every step counts. */
        if (imported != json_is_true(json_object_get(step, "should_succeed"))) {
            fail_msg("%s: step %zu: import %s", path, i, imported ? "taken" : test.err.msg);
        }
        run_messages(&test, path, json_object_get(step, "blocks"), true, count);
        run_messages(&test, path, json_object_get(step, "attestations"), false, count);
        count->steps++;
    }
    count->files++;
    json_decref(document);
    test_store_done(&test);
}

static void test_all_files(void **state)
{
    (void)state;
    char path[1024];
    run_count count = {0};
    DIR *folder = opendir(HF_TEST_VECTORS "/interchange-tests");
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (hf_str_has_suffix(entry->d_name, ".json")) {
            assert_code(hf_str_format(path, sizeof path, "%s/interchange-tests/%s", HF_TEST_VECTORS,
                                      entry->d_name),
                        HF_OK);
            run_file(path, &count);
        }
    }
    (void)closedir(folder);
    assert_int_equal(count.files, VECTOR_FILES);
    assert_int_equal(count.steps, VECTOR_STEPS);
    assert_int_equal(count.messages, VECTOR_MESSAGES);
}

/* "postgres", "dynamodb": against that store. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_files)};
    if (argc > 1 && strcmp(argv[1], "postgres") == 0) {
        if (!pg_test_is_possible()) {
            return 77;
        }
        test_other_backend = &pg_test_backend;
    }
    if (argc > 1 && strcmp(argv[1], "dynamodb") == 0) {
        test_other_backend = &test_dynamo_backend;
    }
    return cmocka_run_group_tests_name("interchange vectors", tests, NULL, NULL);
}
