/* `check --show`: each value with its origin, in the form of a configuration file. */
#include "scratch.h"

#include "config/config_internal.h"

#define D "data_dir: data\n"
#define KEY_HEX "00112233445566778899aabbccddeeff00112233"

static hf_buf *show(const char *text, hf_config_flags *flags)
{
    hf_error err = {0};
    hf_buf *out = hf_buf_new(65536);
    assert_non_null(out);
    scratch_write("holdfast.yaml", text, 0644);
    flags->file = "holdfast.yaml";
    if (hf_failed(hf_config_show(flags, out, &err))) {
        fail_msg("refused: %s", err.msg);
    }
    return out;
}

static void assert_has_line(const hf_buf *out, const char *left, const char *origin)
{
    char line[HF_PATH_LEN + 128];
    (void)snprintf(line, sizeof line, "\n%-48s # %s\n", left, origin);
    if (strstr(hf_buf_text(out), line) == NULL) {
        fail_msg("no line%sin\n%s", line, hf_buf_text(out));
    }
}

static void every_value_names_its_origin(void **state)
{
    (void)state;
    hf_config_flags flags = {.listen = "127.0.0.1:9100"};
    char line[HF_PATH_LEN + 64];
    assert_int_equal(setenv("HOLDFAST_MAX_KEYS", "77", 1), 0);
    hf_buf *out = show("log: {level: debug}\n" D "signing_keys:\n"
                       "  - {backend: web3signer, config_dir: w3s}\n"
                       "  - backend: local-keystore\n    keystore_dir: keys\n"
                       "    password_file: pw.txt\n",
                       &flags);
    assert_has_line(out, "network: mainnet", "default");
    assert_has_line(out, "  listen_port: 9100", "--listen");
    assert_has_line(out, "max_keys: 77", "HOLDFAST_MAX_KEYS");
    assert_has_line(out, "  level: debug", "holdfast.yaml:1");
    assert_has_line(out, "  - backend: web3signer", "holdfast.yaml:4");
    assert_has_line(out, "  - backend: local-keystore", "holdfast.yaml:5");
    (void)snprintf(line, sizeof line, "\n    keystore_dir: %s\n", scratch_path("keys"));
    assert_non_null(strstr(hf_buf_text(out), line));
    (void)snprintf(line, sizeof line, "\n    password_file: %s\n", scratch_path("pw.txt"));
    assert_non_null(strstr(hf_buf_text(out), line));
    (void)snprintf(line, sizeof line, "  path: %s", scratch_path("data/slashing.sqlite"));
    assert_has_line(out, line, "default");
    hf_buf_free(out);
    assert_int_equal(unsetenv("HOLDFAST_MAX_KEYS"), 0);
}

/* What is shown is itself a configuration, and comes to the same. */
static void what_is_shown_can_be_loaded_again(void **state)
{
    (void)state;
    hf_config_flags flags = {.network = "hoodi"};
    hf_config_flags none = {0};
    hf_config *first = calloc(1, sizeof *first);
    hf_config *second = calloc(1, sizeof *second);
    assert_non_null(first);
    assert_non_null(second);
    hf_error err = {0};
    const char *text = D "server:\n  listen_address: 0.0.0.0\n  tls: {cert: cert.pem, key: key.pem,"
                         " client_ca: ca.pem}\nkey_manager: {enabled: false}\n"
                         "hardening: {landlock: off}\n"
                         "signing_keys: [{backend: local-keystore, keystore_dir: keys, "
                         "password_dir: passwords}]\n";
    hf_buf *out = show(text, &flags);
    assert_false(hf_failed(scratch_load(text, &flags, first, &err)));
    assert_false(hf_failed(scratch_load(hf_buf_text(out), &none, second, &err)));
    assert_memory_equal(first, second, sizeof *first);
    hf_buf_free(out);
    free(first);
    free(second);
}

/* Who may sign what is shown as well, and comes to the same. */
static void policies_are_shown(void **state)
{
    (void)state;
    hf_config_flags none = {0};
    hf_error err = {0};
    const char *text =
        D "policies:\n"
          "  voter: [{effect: allow, scopes: [sign], operations: \"*\", keys: ['0x" KEY_HEX "'],"
          " rate: 2/1h}, {effect: deny, addresses: ['::1/128', 10.0.0.0/8]}]\n"
          "  silent: {rules: []}\n"
          "limits:\n  - keys: '*'\n    exits: refuse\n    fork_versions: ['0x00000000']\n"
          "canary_keys: [{key: '0x" KEY_HEX "', action: deny}]\n"
          "signing_keys: [{backend: web3signer, config_dir: w3s, tags: [a, b-c]}]\n";
    hf_buf *books[2];
    const char *texts[2] = {text, NULL};
    hf_buf *shown = show(text, &none);
    assert_has_line(shown, "policies:", "holdfast.yaml:3");
    assert_non_null(strstr(hf_buf_text(shown), "\n    tags: [a, b-c]\n"));
    assert_non_null(strstr(hf_buf_text(shown), "\n  voter:\n    - effect: allow\n      scopes: "
                                               "[sign]\n      operations: '*'\n"));
    texts[1] = hf_buf_text(shown);
    for (size_t i = 0; i < 2; i++) {
        static hf_config config;
        hf_book *book = NULL;
        books[i] = hf_buf_new(65536);
        scratch_write("holdfast.yaml", texts[i], 0644);
        none.file = "holdfast.yaml";
        if (hf_failed(hf_config_load_book(&none, &config, &book, &err)) ||
            hf_failed(hf_book_encode(book, books[i]))) {
            fail_msg("%s in\n%s", err.msg, texts[i]);
        }
        hf_book_free(book);
    }
    assert_int_equal(hf_buf_len(books[0]), hf_buf_len(books[1]));
    assert_memory_equal(hf_buf_peek(books[0]), hf_buf_peek(books[1]), hf_buf_len(books[0]));
    hf_buf_free(books[0]);
    hf_buf_free(books[1]);
    hf_buf_free(shown);
}

/* A network of one's own is shown by its parts, wherever it came from. */
static void a_devnet_is_shown_by_its_parts(void **state)
{
    (void)state;
    static hf_config config;
    hf_config_flags flags = {.genesis_validators_root = ROOT_HEX};
    hf_config_flags none = {0};
    hf_error err = {0};
    scratch_write("net.yaml",
                  "GENESIS_FORK_VERSION: 0x10000038\nCONFIG_NAME: devnet\n"
                  "CAPELLA_FORK_VERSION: 0x40000038\nDENEB_FORK_EPOCH: 4\n",
                  0644);
    hf_buf *out = show(D "network: net.yaml\n", &flags);
    assert_has_line(out, "network:", "holdfast.yaml:2");
    assert_non_null(strstr(hf_buf_text(out), "\n  genesis_fork_version: 0x10000038\n"));
    assert_false(hf_failed(scratch_load(hf_buf_text(out), &none, &config, &err)));
    assert_string_equal(config.network.name, "devnet");
    assert_int_equal(config.network.deneb_epoch, 4);
    hf_buf_free(out);

    flags.genesis_validators_root = MAINNET_ROOT_HEX;
    out = show(D, &flags);
    assert_has_line(out, "network: mainnet", "--genesis-validators-root");
    hf_buf_free(out);
}

static void every_usable_key_is_described(void **state)
{
    (void)state;
    hf_error err = {0};
    hf_buf *out = hf_buf_new(65536);
    char start[HF_YAML_PATH_LEN + 4];
    assert_non_null(out);
    assert_false(hf_failed(hf_buf_put(out, "\n", 1)));
    assert_false(hf_failed(hf_config_describe(out, &err)));
    for (size_t i = 0; i < hf_config_key_count; i++) {
        (void)snprintf(start, sizeof start, "\n%s: ", hf_config_keys[i].path);
        assert_non_null(strstr(hf_buf_text(out), start));
    }
    assert_non_null(strstr(hf_buf_text(out), "server.listen_port: number from 0 to 65535, default "
                                             "9000; HOLDFAST_SERVER_LISTEN_PORT, --listen\n"));
    hf_buf_free(out);
}

static void a_small_buffer_is_an_error(void **state)
{
    (void)state;
    hf_error err = {0};
    const hf_config_flags flags = {.data_dir = "data"};
    hf_buf *out = hf_buf_new(100);
    assert_non_null(out);
    assert_int_equal(hf_config_show(&flags, out, &err).code, HF_LIMIT);
    assert_int_equal(hf_config_describe(out, &err).code, HF_LIMIT);
    hf_buf_free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_names_its_origin),
        cmocka_unit_test(what_is_shown_can_be_loaded_again),
        cmocka_unit_test(policies_are_shown),
        cmocka_unit_test(a_devnet_is_shown_by_its_parts),
        cmocka_unit_test(every_usable_key_is_described),
        cmocka_unit_test(a_small_buffer_is_an_error),
    };
    return cmocka_run_group_tests_name("config show", tests, scratch_enter, scratch_leave);
}
