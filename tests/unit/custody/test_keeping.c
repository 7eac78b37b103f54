/* The memory budget, imports as they arrive, and keys kept under the machine password. */
#include "fixture.h"

#define MIB (UINT64_C(1) << 20)

static void test_budget(void **state)
{
    hf_memory_budget budget = {.total_bytes = 100};
    (void)state;
    assert_true(hf_memory_budget_take(&budget, 60));
    assert_false(hf_memory_budget_take(&budget, 41));
    assert_true(hf_memory_budget_take(&budget, 40));
    assert_true(hf_memory_budget_take(&budget, 0));
    assert_false(hf_memory_budget_take(&budget, 1));
    assert_false(hf_memory_budget_take(&budget, UINT64_MAX));
    hf_memory_budget_give(&budget, 60);
    assert_int_equal(budget.used_bytes, 40);
    assert_true(hf_memory_budget_take(&budget, 60));
}

static void test_budget_of_a_machine(void **state)
{
    (void)state;
    assert_int_equal(hf_memory_budget_of(8192 * MIB), 4096 * MIB);
    assert_int_equal(hf_memory_budget_of(400 * MIB), 257 * MIB); /* one usual keystore still fits */
    assert_int_equal(hf_memory_budget_of(200 * MIB), 200 * MIB);
    assert_int_equal(hf_memory_budget_bytes(12345), 12345);
    assert_true(hf_memory_budget_bytes(0) > 0);
}

static void test_what_is_available(void **state)
{
    (void)state;
    assert_int_equal(hf_meminfo_available("MemTotal: 5 kB\nMemAvailable:   24105 kB\n"),
                     24105 * 1024);
    assert_int_equal(hf_meminfo_available("MemTotal: 5 kB\n"), 0);
    assert_int_equal(hf_meminfo_available("MemAvailable: lots\n"), 0);
    assert_int_equal(hf_meminfo_available("MemAvailable: 18446744073709551615 kB"), UINT64_MAX);
    assert_int_equal(hf_cgroup_available("max\n", "5\n"), UINT64_MAX);
    assert_int_equal(hf_cgroup_available("", ""), UINT64_MAX);
    assert_int_equal(hf_cgroup_available("1000\n", "400\n"), 600);
    assert_int_equal(hf_cgroup_available("1000\n", "4000\n"), 0);
}

/* ---- imports ------------------------------------------------------------------------------- */

static size_t blob_of(uint8_t *out, uint32_t json_len, const char *json, uint32_t password_len,
                      const char *password)
{
    size_t at_byte = 0;
    memcpy(out, &json_len, 4);
    memcpy(out + 4, json, strlen(json));
    at_byte = 4 + strlen(json);
    memcpy(out + at_byte, &password_len, 4);
    memcpy(out + at_byte + 4, password, strlen(password));
    return at_byte + 4 + strlen(password);
}

static void test_split_import(void **state)
{
    uint8_t blob[64];
    hf_bytes json = {NULL, 0};
    hf_bytes password = {NULL, 0};
    hf_error err = {HF_OK, ""};
    (void)state;
    size_t len = blob_of(blob, 2, "{}", 3, "abc");
    assert_false(
        hf_failed(hf_custody_split_import(hf_bytes_from(blob, len), &json, &password, &err)));
    assert_int_equal(json.len, 2);
    assert_memory_equal(json.ptr, "{}", 2);
    assert_int_equal(password.len, 3);
    assert_memory_equal(password.ptr, "abc", 3);
    for (size_t cut = 0; cut < len; cut++) {
        assert_int_equal(
            hf_custody_split_import(hf_bytes_from(blob, cut), &json, &password, &err).code,
            HF_INVALID_INPUT);
        assert_non_null(strstr(err.msg, "the import ends"));
    }
    blob[len] = 0;
    assert_int_equal(
        hf_custody_split_import(hf_bytes_from(blob, len + 1), &json, &password, &err).code,
        HF_INVALID_INPUT);
    assert_non_null(strstr(err.msg, "1 bytes follow the password"));
    len = blob_of(blob, HF_KEYSTORE_MAX_BYTES + 1, "{}", 3, "abc");
    assert_int_equal(hf_custody_split_import(hf_bytes_from(blob, len), &json, &password, &err).code,
                     HF_LIMIT);
    len = blob_of(blob, 2, "{}", UINT32_MAX, "abc");
    assert_int_equal(hf_custody_split_import(hf_bytes_from(blob, len), &json, &password, &err).code,
                     HF_LIMIT);
    assert_non_null(strstr(err.msg, "the password is longer than 4096 bytes"));
}

/* ---- keeping ------------------------------------------------------------------------------- */

static void test_kept_keys_open_again(void **state)
{
    const fixture *f = *state;
    const hf_keystore_limits limits = {0};
    const hf_key_source source = source_of(f, HF_BACKEND_IMPORTED, "imported", NULL, NULL);
    hf_key_list list = {NULL, 0, 0};
    hf_error err = {HF_OK, ""};
    hf_bls_key found;
    struct stat info;
    for (uint32_t i = 1; i <= 2; i++) {
        hf_bls_key key = numbered_key(i);
        if (hf_failed(hf_custody_keep(at(f, "imported"), &key, &err))) {
            fail_msg("%s", err.msg);
        }
    }
    hf_bls_key key = numbered_key(2); /* once more: the same file again */
    assert_false(hf_failed(hf_custody_keep(at(f, "imported"), &key, &err)));
    assert_false(hf_failed(hf_custody_list(&source, &list, &err)));
    assert_int_equal(list.count, 2);
    for (size_t i = 0; i < list.count; i++) {
        if (hf_failed(hf_custody_open(&list.files[i], &limits, &found, &err))) {
            fail_msg("%s", err.msg);
        }
        assert_int_equal(stat(list.files[i].path, &info), 0);
        assert_int_equal(info.st_mode & 0777, 0600);
    }
    assert_int_equal(stat(at(f, "imported"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    hf_key_list_done(&list);
}

static void test_machine_password(void **state)
{
    const fixture *f = *state;
    hf_buf *first = NULL;
    hf_buf *second = NULL;
    hf_error err = {HF_OK, ""};
    assert_false(hf_failed(hf_custody_machine_password(at(f, "imported"), &first, &err)));
    assert_false(hf_failed(hf_custody_machine_password(at(f, "imported"), &second, &err)));
    assert_int_equal(hf_buf_len(first), 64);
    assert_string_equal(hf_buf_text(first), hf_buf_text(second));
    hf_buf_free(first);
    hf_buf_free(second);
    assert_int_equal(chmod(at(f, "imported/password"), 0640), 0);
    assert_int_equal(hf_custody_machine_password(at(f, "imported"), &first, &err).code, HF_DENIED);
    put(f, "imported/password", "short");
    assert_int_equal(hf_custody_machine_password(at(f, "imported"), &first, &err).code, HF_CORRUPT);
    assert_non_null(strstr(err.msg, "restore it from the backup"));
}

static void test_no_second_machine_password(void **state)
{
    const fixture *f = *state;
    hf_bls_key key = numbered_key(1);
    hf_error err = {HF_OK, ""};
    assert_false(hf_failed(hf_custody_keep(at(f, "imported"), &key, &err)));
    assert_int_equal(unlink(at(f, "imported/password")), 0);
    key = numbered_key(2);
    assert_int_equal(hf_custody_keep(at(f, "imported"), &key, &err).code, HF_CONFLICT);
    assert_non_null(strstr(err.msg, "1 keys were kept under it: restore it from the backup"));
    assert_int_not_equal(access(at(f, "imported/password"), F_OK), 0);
}

static void test_keeping_fails_cleanly(void **state)
{
    const fixture *f = *state;
    hf_bls_key key = numbered_key(1);
    hf_error err = {HF_OK, ""};
    put(f, "imported", "a file in the folder's place");
    assert_int_equal(hf_custody_keep(at(f, "imported"), &key, &err).code, HF_INVALID_INPUT);
    assert_int_equal(hf_custody_keep(at(f, "no/such/parent"), &key, &err).code, HF_IO);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_budget),
        CASE(test_budget_of_a_machine),
        CASE(test_what_is_available),
        CASE(test_split_import),
        CASE(test_kept_keys_open_again),
        CASE(test_machine_password),
        CASE(test_no_second_machine_password),
        CASE(test_keeping_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
