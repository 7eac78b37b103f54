/* The manual page, the guide and the example name every key, with its default, and no other. */
#include "scratch.h"

#include "config/config_internal.h"

#include <sys/stat.h>
#include <unistd.h>

#define DOCUMENT_MAX_BYTES 131072

static hf_buf *read_source(const char *name)
{
    char path[HF_PATH_LEN];
    hf_buf *text = NULL;
    hf_error err = {0};
    (void)snprintf(path, sizeof path, "%s/%s", HF_SOURCE_ROOT, name);
    if (hf_failed(hf_file_read(path, DOCUMENT_MAX_BYTES, &text, &err))) {
        fail_msg("%s", err.msg);
    }
    return text;
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        count++;
    }
    return count;
}

static void the_manual_has_every_key_and_no_other(void **state)
{
    (void)state;
    char item[HF_YAML_PATH_LEN + 16];
    hf_buf *page = read_source("docs/man/holdfast.yaml.5");
    const char *text = hf_buf_text(page);
    for (size_t i = 0; i < hf_config_key_count; i++) {
        (void)snprintf(item, sizeof item, "\n.TP\n.B %s\n", hf_config_keys[i].path);
        if (count_of(text, item) != 1) {
            fail_msg("holdfast.yaml(5) has %zu items for %s", count_of(text, item),
                     hf_config_keys[i].path);
        }
    }
    assert_int_equal(count_of(text, "\n.TP\n.B "), hf_config_key_count);
    hf_buf_free(page);
}

/* "(number from 0 to 65535, default 9000)", with the manual's escaped hyphens. */
static void the_manual_has_the_true_defaults(void **state)
{
    (void)state;
    char item[HF_YAML_PATH_LEN + 16];
    char expected[HF_PATH_LEN];
    hf_buf *page = read_source("docs/man/holdfast.yaml.5");
    for (size_t i = 0; i < hf_config_key_count; i++) {
        const hf_config_key *key = &hf_config_keys[i];
        if (key->fallback == NULL) {
            continue;
        }
        (void)snprintf(item, sizeof item, "\n.TP\n.B %s\n", key->path);
        const char *start = strstr(hf_buf_text(page), item);
        assert_non_null(start);
        size_t used = (size_t)snprintf(expected, sizeof expected, ", default ");
        for (const char *p = key->fallback; *p != '\0'; p++) {
            used += (size_t)snprintf(expected + used, sizeof expected - used, "%s%c",
                                     *p == '-' ? "\\" : "", *p);
        }
        (void)snprintf(expected + used, sizeof expected - used, ")\n");
        const char *found = strstr(start, expected);
        const char *next = strstr(start + 1, "\n.TP\n");
        if (found == NULL || (next != NULL && found > next)) {
            fail_msg("holdfast.yaml(5) does not say%s for %s", expected, key->path);
        }
    }
    hf_buf_free(page);
}

static void the_guide_has_every_usable_key_and_its_default(void **state)
{
    (void)state;
    char row[HF_YAML_PATH_LEN + 16];
    char cell[HF_PATH_LEN];
    size_t usable = 0;
    hf_buf *page = read_source("docs/configuration.md");
    const char *text = hf_buf_text(page);
    for (size_t i = 0; i < hf_config_key_count; i++) {
        const hf_config_key *key = &hf_config_keys[i];
        (void)snprintf(row, sizeof row, "\n| `%s` | ", key->path);
        usable++;
        if (count_of(text, row) != 1) {
            fail_msg("docs/configuration.md has %zu rows for %s", count_of(text, row), key->path);
        }
        (void)snprintf(cell, sizeof cell, " | `%s` | ", key->fallback == NULL ? "" : key->fallback);
        if (key->fallback != NULL && strstr(strstr(text, row), cell) == NULL) {
            fail_msg("docs/configuration.md lacks the default of %s", key->path);
        }
    }
    assert_int_equal(count_of(text, "\n| `"), usable);
    hf_buf_free(page);
}

/* ---- the example -------------------------------------------------------------------------- */

/* Settings of a back end other than the example's, or in place of another. */
static bool is_of_another_backend(const char *line)
{
    static const char *const keys[] = {"url: postgresql://holdfast@db.internal",
                                       "url_file: /etc/holdfast/database-url",
                                       "  url_file: /etc/holdfast/node.url",
                                       "table:",
                                       "region:",
                                       "endpoint:",
                                       "create_table:"};
    for (size_t i = 0; i < HF_ARRAY_LEN(keys); i++) {
        if (strncmp(line, "#  ", 3) == 0 && strncmp(line + 3, keys[i], strlen(keys[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* Takes away the # of settings, and the setting that one of them replaces; loadable: also those
 * that go with another back end. */
static hf_buf *all_switched_on(const char *text, bool loadable)
{
    hf_buf *out = hf_buf_new(DOCUMENT_MAX_BYTES);
    assert_non_null(out);
    while (*text != '\0') {
        size_t len = strcspn(text, "\n") + 1;
        bool is_setting = text[0] == '#' && (text[1] != ' ' || text[2] == ' ');
        bool is_replaced =
            strncmp(text, "network: mainnet", 16) == 0 || (loadable && is_of_another_backend(text));
        size_t skip = is_replaced ? len : is_setting ? 1 : 0;
        assert_false(hf_failed(hf_buf_put(out, text + skip, len - skip)));
        text += len;
    }
    return out;
}

/* "/etc/holdfast/x", "/var/lib" and modules become paths of the scratch folder. */
static hf_buf *moved_to_scratch(const char *text)
{
    hf_buf *out = hf_buf_new(DOCUMENT_MAX_BYTES);
    assert_non_null(out);
    while (*text != '\0') {
        size_t skip = strncmp(text, "/etc/holdfast/", 14) == 0       ? 14
                      : strncmp(text, "/var/lib/holdfast", 17) == 0  ? 9
                      : strncmp(text, "/usr/lib/softhsm/", 17) == 0  ? 17
                      : strncmp(text, "/usr/local/sbin/", 16) == 0   ? 16
                      : strncmp(text, "/opt/cloudhsm/lib/", 18) == 0 ? 18
                                                                     : 0;
        if (skip > 0) {
            assert_false(hf_failed(hf_buf_putf(out, "%s", scratch_path(""))));
            text += skip;
        }
        assert_false(hf_failed(hf_buf_put(out, text, 1)));
        text++;
    }
    return out;
}

static void the_example_is_good_as_it_stands(void **state)
{
    (void)state;
    static hf_config config;
    hf_buf *example = read_source("packaging/holdfast.example.yaml");
    hf_buf *moved = moved_to_scratch(hf_buf_text(example));
    assert_loads(hf_buf_text(moved), &config);
    hf_buf_free(example);
    hf_buf_free(moved);
}

static void make_example_files(void)
{
    assert_int_equal(mkdir("keystores", 0700), 0);
    assert_int_equal(mkdir("more-keystores", 0700), 0);
    assert_int_equal(mkdir("key-files", 0700), 0);
    assert_int_equal(mkdir("machines", 0700), 0);
    assert_int_equal(mkdir("tls", 0700), 0);
    assert_int_equal(mkdir("wrapped", 0700), 0);
    assert_int_equal(mkdir("kms", 0700), 0);
    scratch_write("libsofthsm2.so", "", 0644);
    scratch_write("libcloudhsm_pkcs11.so", "", 0644);
    scratch_write("pin", "1234\n", 0600);
    scratch_write("crypto-user", "user:secret\n", 0600);
    scratch_write("password.txt", "secret\n", 0600);
    scratch_write("secret-id", "secret\n", 0600);
    scratch_write("yubihsm-password", "secret\n", 0600);
    scratch_write("holdfast-canary", "#!/bin/sh\n", 0700);
    scratch_write("duty-url.txt", "postgresql://holdfast@db.example/duties\n", 0600);
    scratch_write("node-ca.pem", "authorities", 0644);
    scratch_write("node-client.pem", "certificate", 0644);
    scratch_write("node-client.key", "private key", 0600);
    scratch_write("tls/cert.pem", "certificate", 0644);
    scratch_write("tls/key.pem", "private key", 0600);
    scratch_write("tls/clients-ca.pem", "authorities", 0644);
    scratch_write("tls/known-clients.txt", "", 0644);
    scratch_write("config.yaml", "PRESET_BASE: mainnet\n", 0644);
}

static void the_example_is_good_with_everything_on(void **state)
{
    (void)state;
    static hf_config config;
    make_example_files();
    hf_buf *example = read_source("packaging/holdfast.example.yaml");
    hf_buf *full = all_switched_on(hf_buf_text(example), true);
    hf_buf *moved = moved_to_scratch(hf_buf_text(full));
    assert_loads(hf_buf_text(moved), &config);
    assert_int_equal(config.key_source_count, 12);
    for (uint32_t i = HF_BACKEND_PKCS11; i < HF_BACKEND_COUNT; i++) {
        size_t of_keys = 0;
        for (uint32_t k = 0; k < config.custody_count; k++) {
            of_keys +=
                config.custodies[k].backend == i && config.custodies[k].source != HF_SOURCE_NONE;
        }
        assert_int_equal(of_keys, 1);
    }
    /* Two of the seal, and that of the key files. */
    assert_int_equal(config.custody_count, HF_BACKEND_COUNT - HF_BACKEND_PKCS11 + 3);
    assert_string_equal(config.network.name, "devnet-7");
    hf_buf_free(example);
    hf_buf_free(full);
    hf_buf_free(moved);
}

static void the_example_has_every_key_at_its_default(void **state)
{
    (void)state;
    hf_error err = {0};
    hf_yaml_doc doc = {0};
    hf_buf *example = read_source("packaging/holdfast.example.yaml");
    hf_buf *full = all_switched_on(hf_buf_text(example), false);
    assert_false(hf_failed(
        hf_yaml_parse(hf_bytes_from(hf_buf_peek(full), hf_buf_len(full)), "example", &doc, &err)));
    for (size_t i = 0; i < hf_config_key_count; i++) {
        const hf_config_key *key = &hf_config_keys[i];
        size_t found = 0;
        for (size_t j = 0; j < doc.count; j++) {
            const hf_yaml_entry *entry = &doc.entries[j];
            if (hf_config_key_find(entry->path) == key) {
                found++;
                if (key->fallback != NULL && key->type != HF_VALUE_NETWORK) {
                    assert_string_equal(entry->text, key->fallback);
                }
            }
        }
        if (key->type == HF_VALUE_CUSTODY) {
            continue; /* an entry a back end is enough here; its page in docs has all it takes */
        }
        bool is_wanted = (key->flags & HF_KEY_NO_FILE) == 0;
        if ((found > 0) != is_wanted) {
            fail_msg("the example has %s %zu times", key->path, found);
        }
    }
    hf_yaml_free(&doc);
    hf_buf_free(example);
    hf_buf_free(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_manual_has_every_key_and_no_other),
        cmocka_unit_test(the_manual_has_the_true_defaults),
        cmocka_unit_test(the_guide_has_every_usable_key_and_its_default),
        cmocka_unit_test(the_example_is_good_as_it_stands),
        cmocka_unit_test(the_example_is_good_with_everything_on),
        cmocka_unit_test(the_example_has_every_key_at_its_default),
    };
    return cmocka_run_group_tests_name("config documents", tests, scratch_enter, scratch_leave);
}
