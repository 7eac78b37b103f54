/* Which files are key files, which password belongs to which, what a survey says, what a stamp
 * sees. */
#include "fixture.h"

#include <fcntl.h>

static char pubkey_name[2 + 2 * HF_BLS_PUBKEY_BYTES + 1];

static void assert_listed(const fixture *f, const hf_key_source *source, hf_key_list *list,
                          const char *const names[], size_t n)
{
    hf_error err = {HF_OK, ""};
    if (hf_failed(hf_custody_list(source, list, &err))) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(list->count, n);
    for (size_t i = 0; i < n; i++) {
        const hf_key_file *file = &list->files[i];
        assert_string_equal(file->path + file->name_at, names[i]);
        assert_true(strncmp(file->path, f->root, strlen(f->root)) == 0);
        assert_int_equal(file->backend, source->backend);
    }
}

static void test_local_keystores(void **state)
{
    const fixture *f = *state;
    char name[256];
    hf_key_list list = {NULL, 0, 0};
    make_folder(f, "k");
    put(f, "k/b.json", "{}");
    put(f, "k/a.json", "{}");
    put(f, "k/.hidden.json", "{}");
    put(f, "k/a.json.tmp", "{}");
    put(f, "k/json", "{}");
    put(f, "k/deposit_data-1700000000.json", "[]");
    make_folder(f, "k/folder.json");
    (void)snprintf(name, sizeof name, "k/%s", pubkey_name);
    make_folder(f, name);
    (void)snprintf(name, sizeof name, "k/%s/keystore.json", pubkey_name);
    put(f, name, "{}");
    const hf_key_source source = source_of(f, HF_BACKEND_LOCAL_KEYSTORE, "k", "pw", NULL);
    const char *const names[] = {name + 2, "a.json", "b.json"};
    assert_listed(f, &source, &list, names, 3);
    for (size_t i = 0; i < list.count; i++) {
        assert_string_equal(list.files[i].password_path, at(f, "pw"));
    }
    hf_key_list_done(&list);
    assert_int_equal(list.count, 0);
}

static void test_password_folder(void **state)
{
    const fixture *f = *state;
    char name[256];
    hf_key_list list = {NULL, 0, 0};
    make_folder(f, "k");
    put(f, "k/a.b.json", "{}");
    (void)snprintf(name, sizeof name, "k/%s", pubkey_name);
    make_folder(f, name);
    (void)snprintf(name, sizeof name, "k/%s/voting-keystore.json", pubkey_name);
    put(f, name, "{}");
    const hf_key_source source = source_of(f, HF_BACKEND_LOCAL_KEYSTORE, "k", NULL, "pw");
    const char *const names[] = {name + 2, "a.b.json"};
    assert_listed(f, &source, &list, names, 2);
    assert_string_equal(list.files[1].password_path, at(f, "pw/a.b.txt"));
    (void)snprintf(name, sizeof name, "pw/%s", pubkey_name);
    assert_string_equal(list.files[0].password_path, at(f, name));
    hf_key_list_done(&list);
}

static void test_imported(void **state)
{
    const fixture *f = *state;
    char name[256];
    hf_key_list list = {NULL, 0, 0};
    const hf_key_source source = source_of(f, HF_BACKEND_IMPORTED, "imported", NULL, NULL);
    assert_listed(f, &source, &list, NULL, 0); /* no folder, no keys, no error */
    make_folder(f, "imported");
    put(f, "imported/password", "x");
    put(f, "imported/0x12.json", "{}");
    put(f, "imported/other.json", "{}");
    (void)snprintf(name, sizeof name, "imported/%s.json", pubkey_name);
    put(f, name, "{}");
    (void)snprintf(name, sizeof name, "imported/%s.json.tmp", pubkey_name);
    put(f, name, "{}");
    (void)snprintf(name, sizeof name, "%s.json", pubkey_name);
    const char *const names[] = {name};
    assert_listed(f, &source, &list, names, 1);
    assert_string_equal(list.files[0].password_path, at(f, "imported/password"));
    hf_key_list_done(&list);
}

static void test_listing_errors(void **state)
{
    const fixture *f = *state;
    hf_key_list list = {NULL, 0, 0};
    hf_error err = {HF_OK, ""};
    hf_key_source source = source_of(f, HF_BACKEND_LOCAL_KEYSTORE, "gone", "pw", NULL);
    assert_int_equal(hf_custody_list(&source, &list, &err).code, HF_NOT_FOUND);
    assert_non_null(strstr(err.msg, "gone: No such file or directory"));
    put(f, "file", "");
    source = source_of(f, HF_BACKEND_LOCAL_KEYSTORE, "file", "pw", NULL);
    assert_int_equal(hf_custody_list(&source, &list, &err).code, HF_IO);
    assert_non_null(strstr(err.msg, "file: Not a directory"));
    make_folder(f, "k");
    put(f, "k/a.json", "{}");
    source = source_of(f, HF_BACKEND_LOCAL_KEYSTORE, "k", NULL, NULL);
    assert_int_equal(hf_custody_list(&source, &list, &err).code, HF_USAGE);
    assert_non_null(strstr(err.msg, "neither password_file nor password_dir"));
    source.backend = HF_BACKEND_COUNT;
    assert_int_equal(hf_custody_list(&source, &list, &err).code, HF_INVALID_INPUT);
    assert_int_equal(list.count, 0);
    hf_key_list_done(&list);
}

static void test_source_ids(void **state)
{
    uint8_t a[HF_SOURCE_ID_LEN];
    uint8_t b[HF_SOURCE_ID_LEN];
    char hex[2 * HF_SOURCE_ID_LEN + 1];
    (void)state;
    /* python3: hashlib.blake2b(b"/keys/a.json", digest_size=16) */
    hf_custody_source_id("/keys/a.json", 0, a);
    hf_hex_encode(a, sizeof a, hex);
    assert_string_equal(hex, "8a9e75054b32e99c910f28f9a0fe0a26");
    hf_custody_source_id("/keys/a.json", 1, b);
    assert_false(hf_bytes_equal(a, b, sizeof a));
    hf_custody_source_id("/keys/a.json", 2, a);
    assert_false(hf_bytes_equal(a, b, sizeof a));
}

/* ---- survey -------------------------------------------------------------------------------- */

static hf_key_facts survey_one(const fixture *f, const char *name, const char *password)
{
    static hf_key_facts facts[HF_KEY_DOCUMENTS_MAX];
    const hf_key_file file = {.backend = HF_BACKEND_LOCAL_KEYSTORE,
                              .path = at(f, name),
                              .password_path = at(f, password)};
    assert_int_equal(hf_custody_survey(&file, facts), 1);
    return facts[0];
}

static void test_survey_memory(void **state)
{
    const fixture *f = *state;
    hf_buf *json = keystore_json(1, "p", HF_KDF_SCRYPT, 1024);
    put_bytes(f, "scrypt.json", hf_buf_peek(json), hf_buf_len(json), 0600);
    put_keystore(f, "pbkdf2.json", 1, "p");
    put(f, "bad.json", "{");
    assert_int_equal(survey_one(f, "scrypt.json", "pw").kdf_memory_bytes, 128 * 8 * (1024 + 1));
    assert_int_equal(survey_one(f, "pbkdf2.json", "pw").kdf_memory_bytes, 0);
    assert_int_equal(survey_one(f, "bad.json", "pw").kdf_memory_bytes, 0);
    assert_int_equal(survey_one(f, "bad.json", "pw").is_foreign, 0);
    assert_int_equal(survey_one(f, "gone.json", "pw").is_foreign, 0);
    hf_buf_free(json);
}

static void test_stamps(void **state)
{
    const fixture *f = *state;
    const struct timespec times[2] = {{1000, 0}, {1000, 1}};
    put(f, "a.json", "{}");
    put(f, "pw", "p");
    uint64_t first = survey_one(f, "a.json", "pw").stamp;
    assert_int_equal(survey_one(f, "a.json", "pw").stamp, first);
    assert_int_not_equal(first, 0);
    put(f, "pw", "p"); /* the same text in a new file */
    uint64_t second = survey_one(f, "a.json", "pw").stamp;
    assert_int_not_equal(second, first);
    assert_int_equal(utimensat(AT_FDCWD, at(f, "a.json"), times, 0), 0);
    uint64_t third = survey_one(f, "a.json", "pw").stamp;
    assert_int_not_equal(third, second);
    assert_int_equal(unlink(at(f, "pw")), 0);
    assert_int_not_equal(survey_one(f, "a.json", "pw").stamp, third);
}

static void test_survey_of_yaml(void **state)
{
    const fixture *f = *state;
    static hf_key_facts facts[HF_KEY_DOCUMENTS_MAX];
    const hf_key_file file = {.backend = HF_BACKEND_WEB3SIGNER, .path = at(f, "k.yaml")};
    put_keystore_with(f, "a.json", 1, "p", HF_KDF_SCRYPT, 1024);
    put(f, "k.yaml",
        "type: file-keystore\nkeystoreFile: a.json\nkeystorePasswordFile: /abs/pw\n"
        "---\ntype: nonsense\n---\ntype: file-raw\nprivateKey: 11\n");
    assert_int_equal(hf_custody_survey(&file, facts), 3);
    assert_string_equal(facts[0].keystore_path, at(f, "a.json"));
    assert_string_equal(facts[0].password_path, "/abs/pw");
    assert_int_equal(facts[0].kdf_memory_bytes, 128 * 8 * (1024 + 1));
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(facts[i].document, i);
    }
    assert_string_equal(facts[1].keystore_path, "");
    uint64_t before = facts[0].stamp;
    put_keystore(f, "a.json", 2, "p"); /* the keystore changes, the YAML file does not */
    assert_int_equal(hf_custody_survey(&file, facts), 3);
    assert_int_not_equal(facts[0].stamp, before);
    put(f, "k.yaml", "# empty\n");
    assert_int_equal(hf_custody_survey(&file, facts), 1);
    assert_int_equal(facts[0].document, 0);
}

static void test_foreign_files(void **state)
{
    static const struct {
        const char *text;
        bool is_foreign;
    } cases[] = {
        {"[{\"pubkey\": \"00\"}]", true},
        {" \n[", true},
        {"{\"metadata\":{\"interchange_format_version\":\"5\"},\"data\":[]}", true},
        {"{\"deposit_data_root\":\"00\"}", true},
        {"{\"crypto\":{},\"deposit_data_root\":\"00\"}", false},
        {"{\"version\":4}", false},
        {"", false},
        {"text", false},
    };
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        const char *text = cases[i].text;
        assert_int_equal(hf_custody_is_foreign(hf_bytes_from(text, strlen(text))),
                         cases[i].is_foreign);
    }
    const uint8_t zeros[8] = {0};
    assert_false(hf_custody_is_foreign(hf_bytes_from(zeros, sizeof zeros)));
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_local_keystores), CASE(test_password_folder), CASE(test_imported),
        CASE(test_listing_errors),  CASE(test_source_ids),      CASE(test_survey_memory),
        CASE(test_stamps),          CASE(test_survey_of_yaml),  CASE(test_foreign_files),
    };
    pubkey_name[0] = '0';
    pubkey_name[1] = 'x';
    numbered_pubkey(1, pubkey_name + 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
