/* Where values come from and which wins; what only the whole configuration can tell. */
#include "scratch.h"

#include <sys/stat.h>
#include <unistd.h>

#define D "data_dir: data\n"
#define TLS "server:\n  tls:\n    cert: cert.pem\n    key: key.pem\n"

static hf_config config;

static int clear(void **state)
{
    (void)state;
    memset(&config, 0, sizeof config);
    return 0;
}

/* Flags alone, no file. */
static void assert_flags_refused(const hf_config_flags *flags, const char *sentence)
{
    hf_error err = {0};
    hf_status st = hf_config_load(flags, &config, &err);
    assert_string_equal(err.msg, sentence);
    assert_int_equal(st.code, HF_USAGE);
}

static void assert_flags_load(const hf_config_flags *flags)
{
    hf_error err = {0};
    if (hf_failed(hf_config_load(flags, &config, &err))) {
        fail_msg("refused: %s", err.msg);
    }
}

/* A sentence about a file of the scratch folder. */
static const char *about(const char *before, const char *name, const char *after)
{
    static char text[HF_ERROR_MSG_LEN];
    (void)snprintf(text, sizeof text, "%s%s%s", before, scratch_path(name), after);
    return text;
}

static void defaults_are_those_of_the_documents(void **state)
{
    (void)state;
    const hf_config_flags flags = {.data_dir = "data"};
    assert_flags_load(&flags);
    assert_string_equal(config.data_dir, scratch_path("data"));
    assert_string_equal(config.network.name, "mainnet");
    assert_true(config.has_network);
    assert_true(config.network_is_default);
    assert_string_equal(config.listen_address, "127.0.0.1");
    assert_int_equal(config.listen_port, 9000);
    assert_int_equal(config.request_timeout_ms, 5000);
    assert_int_equal(config.max_connections, 512);
    assert_int_equal(config.max_body_bytes, 2097152);
    assert_int_equal(config.fronts, 2);
    assert_int_equal(config.sign_threads, 0);
    assert_int_equal(config.idle_timeout_seconds, 120);
    assert_int_equal(config.tls_reload_interval_seconds, 60);
    assert_string_equal(config.tls_cert, "");
    assert_true(config.metrics_enabled);
    assert_string_equal(config.metrics_address, "127.0.0.1");
    assert_int_equal(config.metrics_port, 3000);
    assert_int_equal(config.key_source_count, 0);
    assert_false(config.require_all_keys);
    assert_true(config.key_manager_enabled);
    assert_string_equal(config.key_manager_token_file, scratch_path("data/key-manager-token"));
    assert_string_equal(config.store_path, scratch_path("data/slashing.sqlite"));
    assert_int_equal(config.keep_epochs, 250);
    assert_int_equal(config.hardening.seccomp, HF_PROTECT_REQUIRE);
    assert_int_equal(config.hardening.landlock, HF_PROTECT_PREFER);
    assert_int_equal(config.hardening.mlock, HF_PROTECT_REQUIRE);
    assert_int_equal(config.hardening.no_dump, HF_PROTECT_REQUIRE);
    assert_int_equal(config.log.format, HF_LOG_TEXT);
    assert_int_equal(config.log.least, HF_LOG_INFO);
}

static void a_file_sets_every_field(void **state)
{
    (void)state;
    assert_loads(
        "data_dir: keys/..\nnetwork: gnosis\n"
        "server: {listen_address: 0.0.0.0, listen_port: 9001, request_timeout_ms: 6000,\n"
        "  max_connections: 7, max_body_bytes: 5000, fronts: 3, sign_threads: 4,\n"
        "  max_in_flight: 8, idle_timeout_seconds: 90,\n"
        "  tls: {cert: cert.pem, key: ./key.pem, client_ca: ca.pem, known_clients: clients.txt,\n"
        "    reload_interval_seconds: 9}}\n"
        "metrics: {enabled: false, listen_address: '::1', listen_port: 3001}\n"
        "signing_keys:\n"
        "  - {backend: local-keystore, keystore_dir: keys, password_file: pw.txt}\n"
        "  - {backend: local-keystore, keystore_dir: ./keys, password_dir: passwords}\n"
        "  - {backend: web3signer, config_dir: w3s}\n"
        "require_all_keys: true\nmax_keys: 10\n"
        "key_manager: {enabled: false, token_file: token}\n"
        "slashing_protection: {path: /srv/s.sqlite, keep_epochs: 5, start_guard: off}\n"
        "hardening: {seccomp: off, landlock: require, mlock: prefer, no_dump: off}\n"
        "log: {format: json, level: broken}\n",
        &config);
    assert_string_equal(config.network.name, "gnosis");
    assert_false(config.network_is_default);
    assert_string_equal(config.listen_address, "0.0.0.0");
    assert_int_equal(config.listen_port, 9001);
    assert_int_equal(config.request_timeout_ms, 6000);
    assert_int_equal(config.max_connections, 7);
    assert_int_equal(config.max_body_bytes, 5000);
    assert_int_equal(config.fronts, 3);
    assert_int_equal(config.sign_threads, 4);
    assert_int_equal(config.max_in_flight, 8);
    assert_int_equal(config.idle_timeout_seconds, 90);
    assert_string_equal(config.tls_cert, scratch_path("cert.pem"));
    assert_string_equal(config.tls_key, scratch_path("key.pem"));
    assert_string_equal(config.tls_client_ca, scratch_path("ca.pem"));
    assert_string_equal(config.tls_known_clients, scratch_path("clients.txt"));
    assert_int_equal(config.tls_reload_interval_seconds, 9);
    assert_false(config.metrics_enabled);
    assert_string_equal(config.metrics_address, "::1");
    assert_int_equal(config.metrics_port, 3001);
    assert_true(config.require_all_keys);
    assert_int_equal(config.max_keys, 10);
    assert_false(config.key_manager_enabled);
    assert_string_equal(config.key_manager_token_file, scratch_path("keys/../token"));
    assert_string_equal(config.store_path, "/srv/s.sqlite");
    assert_int_equal(config.keep_epochs, 5);
    assert_int_equal(config.hardening.seccomp, HF_PROTECT_OFF);
    assert_int_equal(config.hardening.landlock, HF_PROTECT_REQUIRE);
    assert_int_equal(config.hardening.mlock, HF_PROTECT_PREFER);
    assert_int_equal(config.hardening.no_dump, HF_PROTECT_OFF);
    assert_int_equal(config.log.format, HF_LOG_JSON);
    assert_int_equal(config.log.least, HF_LOG_BROKEN);
    assert_int_equal(config.key_source_count, 3);
    assert_int_equal(config.key_sources[0].backend, HF_BACKEND_LOCAL_KEYSTORE);
    assert_string_equal(config.key_sources[0].dir, scratch_path("keys"));
    assert_string_equal(config.key_sources[0].password_file, scratch_path("pw.txt"));
    assert_string_equal(config.key_sources[0].password_dir, "");
    assert_string_equal(config.key_sources[1].password_dir, scratch_path("passwords"));
    assert_int_equal(config.key_sources[2].backend, HF_BACKEND_WEB3SIGNER);
    assert_string_equal(config.key_sources[2].dir, scratch_path("w3s"));
}

static void flags_beat_environment_beats_file_beats_default(void **state)
{
    (void)state;
    hf_config_flags flags = {0};
    hf_error err = {0};
    const char *text = D "server: {listen_port: 9001}\nlog: {format: json}\n";
    assert_loads(text, &config);
    assert_int_equal(config.listen_port, 9001);
    assert_string_equal(config.listen_address, "127.0.0.1");

    assert_int_equal(setenv("HOLDFAST_SERVER_LISTEN_PORT", "9002", 1), 0);
    assert_int_equal(setenv("HOLDFAST_LOG_FORMAT", "", 1), 0); /* empty says nothing */
    assert_loads(text, &config);
    assert_int_equal(config.listen_port, 9002);
    assert_int_equal(config.log.format, HF_LOG_JSON);

    flags.listen = "[::1]:9003";
    flags.log_format = "text";
    assert_false(hf_failed(scratch_load(text, &flags, &config, &err)));
    assert_int_equal(config.listen_port, 9003);
    assert_string_equal(config.listen_address, "::1");
    assert_int_equal(config.log.format, HF_LOG_TEXT);
    assert_int_equal(unsetenv("HOLDFAST_SERVER_LISTEN_PORT"), 0);
    assert_int_equal(unsetenv("HOLDFAST_LOG_FORMAT"), 0);
}

static void the_environment_is_checked_like_the_file(void **state)
{
    (void)state;
    const hf_config_flags flags = {.data_dir = "data"};
    static const char *const wrong[][3] = {
        {"HOLDFAST_SERVER_LISTEN_PORT", "many",
         "HOLDFAST_SERVER_LISTEN_PORT in the environment: many: give a number from 0 to 65535"},
        {"HOLDFAST_SERVER_LISTEN_PROT", "9000",
         "HOLDFAST_SERVER_LISTEN_PROT in the environment: no such setting; unset it, or see "
         "`holdfast check --keys`"},
        {"HOLDFAST_SLASHING_PROTECTION_BACKEND", "none",
         "HOLDFAST_SLASHING_PROTECTION_BACKEND in the environment: none: give one of: sqlite "
         "postgres dynamodb"},
        {"HOLDFAST_SLASHING_PROTECTION_URL", "postgres://u:p@h/d",
         "HOLDFAST_SLASHING_PROTECTION_URL in the environment: a URL with a password belongs into "
         "a "
         "file of mode 0600 (slashing_protection.url_file)"},
        {"HOLDFAST_KEYSTORE_DIR", "keys",
         "HOLDFAST_KEYSTORE_DIR in the environment: needs --password-file as well"},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(wrong); i++) {
        assert_int_equal(setenv(wrong[i][0], wrong[i][1], 1), 0);
        assert_flags_refused(&flags, wrong[i][2]);
        assert_int_equal(unsetenv(wrong[i][0]), 0);
    }
}

/* What Kubernetes sets for services named holdfast and holdfast-metrics is no mistake. */
static void variables_of_kubernetes_are_passed_over(void **state)
{
    (void)state;
    const hf_config_flags flags = {.data_dir = "data"};
    static const char *const names[][2] = {
        {"HOLDFAST_SERVICE_HOST", "10.0.0.1"},
        {"HOLDFAST_SERVICE_PORT", "9000"},
        {"HOLDFAST_SERVICE_PORT_API", "9000"},
        {"HOLDFAST_PORT", "tcp://10.0.0.1:9000"},
        {"HOLDFAST_PORT_9000_TCP_ADDR", "10.0.0.1"},
        {"HOLDFAST_METRICS_PORT", "tcp://10.0.0.1:3000"},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        assert_int_equal(setenv(names[i][0], names[i][1], 1), 0);
    }
    assert_flags_load(&flags);
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        assert_int_equal(unsetenv(names[i][0]), 0);
    }
}

static void the_environment_names_file_and_keys(void **state)
{
    (void)state;
    const hf_config_flags flags = {0};
    scratch_write("env.yaml", "data_dir: data\nserver: {listen_port: 9005}\n", 0644);
    assert_int_equal(setenv("HOLDFAST_CONFIG", "env.yaml", 1), 0);
    assert_int_equal(setenv("HOLDFAST_KEYSTORE_DIR", "keys", 1), 0);
    assert_int_equal(setenv("HOLDFAST_PASSWORD_FILE", "pw.txt", 1), 0);
    assert_flags_load(&flags);
    assert_int_equal(config.listen_port, 9005);
    assert_int_equal(config.key_source_count, 1);
    assert_string_equal(config.key_sources[0].dir, scratch_path("keys"));
    assert_int_equal(unsetenv("HOLDFAST_CONFIG"), 0);
    assert_int_equal(unsetenv("HOLDFAST_KEYSTORE_DIR"), 0);
    assert_int_equal(unsetenv("HOLDFAST_PASSWORD_FILE"), 0);
}

static void flags_of_a_unit(void **state)
{
    (void)state;
    hf_config_flags flags = {.data_dir = "data",
                             .keystore_dir = "keys",
                             .password_file = "pw.txt",
                             .listen = "127.0.0.1:0",
                             .metrics_listen = "0.0.0.0:3333",
                             .network = "hoodi",
                             .log_format = "json"};
    assert_flags_load(&flags);
    assert_int_equal(config.listen_port, 0);
    assert_int_equal(config.metrics_port, 3333);
    assert_string_equal(config.metrics_address, "0.0.0.0");
    assert_string_equal(config.network.name, "hoodi");
    assert_int_equal(config.key_source_count, 1);
    assert_string_equal(config.key_sources[0].password_file, scratch_path("pw.txt"));

    /* They stand in the place of the file's keys. */
    hf_error err = {0};
    assert_false(hf_failed(scratch_load(
        D "signing_keys: [{backend: web3signer, config_dir: w3s}]\n", &flags, &config, &err)));
    assert_int_equal(config.key_source_count, 1);
    assert_int_equal(config.key_sources[0].backend, HF_BACKEND_LOCAL_KEYSTORE);
}

static void wrong_flags_are_named(void **state)
{
    (void)state;
    hf_config_flags none = {0};
    assert_flags_refused(&none, "data_dir: not set; give --data-dir DIR, HOLDFAST_DATA_DIR, or "
                                "data_dir in the file given by -c");
    static const char *const listens[] = {"9000", ":9000", "::1:9000", "[::1]", "[]:1", "a:b:c"};
    for (size_t i = 0; i < HF_ARRAY_LEN(listens); i++) {
        hf_config_flags flags = {.data_dir = "data", .listen = listens[i]};
        assert_flags_refused(&flags,
                             "--listen: give ADDRESS:PORT, such as 127.0.0.1:9000 or [::1]:9000");
    }
    hf_config_flags port = {.data_dir = "data", .listen = "127.0.0.1:90000"};
    assert_flags_refused(&port, "--listen: 90000: give a number from 0 to 65535");
    hf_config_flags format = {.data_dir = "data", .log_format = "xml"};
    assert_flags_refused(&format, "--log-format: xml: give one of: text json");
    hf_config_flags lone = {.data_dir = "data", .password_file = "pw.txt"};
    assert_flags_refused(&lone, "--password-file: needs --keystore-dir as well");
    hf_config_flags loose = {
        .data_dir = "data", .keystore_dir = "keys", .password_file = "loose-pw.txt"};
    assert_flags_refused(&loose, about("--password-file: ", "loose-pw.txt",
                                       ": others can read this secret (mode 644): chmod 600 it"));
    hf_config_flags gone = {.data_dir = "data", .file = "gone.yaml"};
    assert_flags_refused(&gone, about("", "gone.yaml", ": No such file or directory"));
}

static void data_dir_is_looked_at(void **state)
{
    (void)state;
    hf_config_flags loose = {.data_dir = "loose"};
    assert_flags_refused(&loose, "--data-dir: others can write into this folder; chmod 700 it");
    hf_config_flags deep = {.data_dir = "not/there"};
    assert_flags_refused(&deep, about("--data-dir: ", "not", ": no such folder; make it first"));
    hf_config_flags file = {.data_dir = "cert.pem"};
    assert_flags_refused(&file, "--data-dir: not a folder; give one");
}

static void missing_files_and_open_secrets_are_named(void **state)
{
    (void)state;
    assert_refused(
        D "server:\n  tls: {cert: gone.pem, key: key.pem}\n",
        about("holdfast.yaml:3: server.tls.cert: ", "gone.pem", ": No such file or directory"));
    assert_refused(D "server:\n  tls: {cert: cert.pem, key: loose-key.pem}\n",
                   about("holdfast.yaml:3: server.tls.key: ", "loose-key.pem",
                         ": others can read this secret (mode 640): chmod 600 it"));
    assert_refused(D "server:\n  tls: {cert: keys, key: key.pem}\n",
                   about("holdfast.yaml:3: server.tls.cert: ", "keys", ": not a regular file"));
    assert_refused(D "signing_keys:\n  - {backend: local-keystore, keystore_dir: gone,\n"
                     "     password_file: pw.txt}\n",
                   about("holdfast.yaml:3: signing_keys[0].keystore_dir: ", "gone",
                         ": No such file or directory"));
    assert_refused(
        D "signing_keys:\n  - {backend: local-keystore, keystore_dir: cert.pem,\n"
          "     password_file: pw.txt}\n",
        about("holdfast.yaml:3: signing_keys[0].keystore_dir: ", "cert.pem", ": not a folder"));
    assert_refused(D "signing_keys:\n  - {backend: local-keystore, keystore_dir: keys,\n"
                     "     password_file: loose-pw.txt}\n",
                   about("holdfast.yaml:3: signing_keys[0].password_file: ", "loose-pw.txt",
                         ": others can read this secret (mode 644): chmod 600 it"));
    assert_refused(D "signing_keys:\n  - {backend: local-keystore, keystore_dir: keys,\n"
                     "     password_dir: loose-passwords}\n",
                   about("holdfast.yaml:3: signing_keys[0].password_dir: ", "loose-passwords/a.txt",
                         ": others can read this secret (mode 604): chmod 600 it"));
    assert_refused(D "signing_keys:\n  - {backend: web3signer, config_dir: gone}\n",
                   about("holdfast.yaml:3: signing_keys[0].config_dir: ", "gone",
                         ": No such file or directory"));
}

static void members_of_the_wrong_back_end_are_refused(void **state)
{
    (void)state;
    assert_refused(D "signing_keys:\n  - {keystore_dir: keys}\n",
                   "holdfast.yaml:3: signing_keys[0].backend: missing; give local-keystore, "
                   "web3signer, sealed, pkcs11, yubihsm, aws-cloudhsm, aws-kms, "
                   "aws-secrets-manager, vault, azure-key-vault or gcp-secret-manager");
    assert_refused(D "signing_keys:\n  - {backend: web3signer, config_dir: w3s, "
                     "password_file: pw.txt}\n",
                   "holdfast.yaml:3: signing_keys[0].backend: web3signer takes config_dir alone; "
                   "remove the other keys");
    assert_refused(D "signing_keys:\n  - {backend: local-keystore, config_dir: w3s}\n",
                   "holdfast.yaml:3: signing_keys[0].config_dir: belongs to the back end "
                   "web3signer; remove it");
    char text[2048] = D "signing_keys:\n";
    for (size_t i = 0; i <= HF_KEY_SOURCES_MAX; i++) {
        (void)snprintf(text + strlen(text), sizeof text - strlen(text),
                       "  - {backend: web3signer, config_dir: w3s}\n");
    }
    assert_refused(text, "holdfast.yaml:19: signing_keys[16]: more than 16 sources of keys");
}

static void listening_beyond_loopback_needs_client_certificates(void **state)
{
    (void)state;
    const char *tail = " is reachable by others, who could then ask for signatures; require tokens "
                       "(auth.mode) or client certificates (server.tls.cert, key and client_ca or "
                       "known_clients), or listen on 127.0.0.1";
    static const char *const open[] = {"0.0.0.0", "::", "192.168.1.1", "::ffff:10.0.0.1",
                                       "2001:db8::1"};
    static const char *const closed[] = {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1",
                                         "localhost"};
    char text[256];
    char sentence[512];
    for (size_t i = 0; i < HF_ARRAY_LEN(open); i++) {
        (void)snprintf(text, sizeof text, D "server: {listen_address: '%s'}\n", open[i]);
        (void)snprintf(sentence, HF_ERROR_MSG_LEN, "holdfast.yaml:2: server.listen_address: %s%s",
                       open[i], tail);
        assert_refused(text, sentence);
        (void)snprintf(text, sizeof text, D TLS "    client_ca: ca.pem\n  listen_address: '%s'\n",
                       open[i]);
        assert_loads(text, &config);
        (void)snprintf(text, sizeof text,
                       D "auth: {mode: tokens}\nserver: {listen_address: '%s'}\n", open[i]);
        assert_loads(text, &config);
        assert_int_equal(config.auth_mode, HF_AUTH_TOKENS);
        (void)snprintf(text, sizeof text,
                       D TLS "    known_clients: clients.txt\n  listen_address: '%s'\n", open[i]);
        assert_loads(text, &config);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(closed); i++) {
        (void)snprintf(text, sizeof text, D "server: {listen_address: '%s'}\n", closed[i]);
        assert_loads(text, &config);
    }
    /* A server certificate alone tells the client who we are, not us who the client is. */
    (void)snprintf(sentence, HF_ERROR_MSG_LEN, "holdfast.yaml:6: server.listen_address: 0.0.0.0%s",
                   tail);
    assert_refused(D TLS "  listen_address: 0.0.0.0\n", sentence);
    assert_refused(D "metrics: {listen_port: 9000}\n",
                   "holdfast.yaml:2: metrics.listen_port: the same as server.listen_port; give "
                   "another");
}

static void paths_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    char path[HF_PATH_LEN];
    char text[HF_PATH_LEN + 64];
    memset(path, 'x', sizeof path);
    path[HF_PATH_LEN - 1] = '\0';
    (void)snprintf(text, sizeof text, "data_dir: %s\n", path);
    static hf_config unused;
    hf_error err = {0};
    hf_status st = scratch_load(text, NULL, &unused, &err);
    assert_int_equal(st.code, HF_USAGE);
    assert_non_null(strstr(err.msg, "holdfast.yaml:1: data_dir: "));
    assert_non_null(strstr(err.msg, "the path is longer than 1023 bytes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults_are_those_of_the_documents, clear),
        cmocka_unit_test_setup(a_file_sets_every_field, clear),
        cmocka_unit_test_setup(flags_beat_environment_beats_file_beats_default, clear),
        cmocka_unit_test_setup(the_environment_is_checked_like_the_file, clear),
        cmocka_unit_test_setup(variables_of_kubernetes_are_passed_over, clear),
        cmocka_unit_test_setup(the_environment_names_file_and_keys, clear),
        cmocka_unit_test_setup(flags_of_a_unit, clear),
        cmocka_unit_test_setup(wrong_flags_are_named, clear),
        cmocka_unit_test_setup(data_dir_is_looked_at, clear),
        cmocka_unit_test_setup(missing_files_and_open_secrets_are_named, clear),
        cmocka_unit_test_setup(members_of_the_wrong_back_end_are_refused, clear),
        cmocka_unit_test_setup(listening_beyond_loopback_needs_client_certificates, clear),
        cmocka_unit_test_setup(paths_that_do_not_fit_are_refused, clear),
    };
    return cmocka_run_group_tests_name("config load", tests, scratch_enter, scratch_leave);
}
