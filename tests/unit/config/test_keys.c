/* Each key of the table: a value that is taken, a value that is not, and the sentence for it. */
#include "scratch.h"

#include "config/config_internal.h"

#define D "data_dir: data\n"
#define AT4 "holdfast.yaml:4: "
#define AT5 "holdfast.yaml:5: "
#define POSTGRES D "slashing_protection:\n  backend: postgres\n"
#define DYNAMODB D "slashing_protection:\n  backend: dynamodb\n"
#define PASSWORD_SENTENCE                                                                          \
    "a URL with a password belongs into a file of mode 0600 (slashing_protection.url_file)"
#define ONE_URL_SENTENCE                                                                           \
    "postgres needs either slashing_protection.url or, for a URL with a password, "                \
    "slashing_protection.url_file"
#define BACKENDS                                                                                   \
    "local-keystore, web3signer, sealed, pkcs11, yubihsm, aws-cloudhsm, aws-kms, "                 \
    "aws-secrets-manager, vault, azure-key-vault or gcp-secret-manager"
#define AT3 "holdfast.yaml:3: "
#define ADDRESS "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"

typedef struct key_case {
    const char *path;
    const char *good; /* a whole file; NULL for a key that this version refuses */
    const char *bad;
    const char *sentence;
} key_case;

#define NUMBER_CASE(section, key, good_value, bad_value, range)                                    \
    {                                                                                              \
        section "." key, D section ":\n  " key ": " good_value "\n",                               \
            D section ":\n  " key ": " bad_value "\n",                                             \
            AT3 section "." key ": " bad_value ": give a number from " range                       \
    }
#define WORD_CASE(section, key, good_value, words)                                                 \
    {                                                                                              \
        section "." key, D section ":\n  " key ": " good_value "\n",                               \
            D section ":\n  " key ": maybe\n", AT3 section "." key ": maybe: give one of: " words  \
    }
#define TLS "server:\n  tls:\n    cert: cert.pem\n    key: key.pem\n"
#define NETWORK                                                                                    \
    "network:\n  genesis_validators_root: \"" ROOT_HEX "\"\n  genesis_fork_version: 0x10000038\n"  \
    "  capella_fork_version: 0x40000038\n  deneb_fork_epoch: 0\n"
#define NETWORK_CASE(key, good_value, bad_value, what)                                             \
    {                                                                                              \
        "network." key, D NETWORK "  " key ": " good_value "\n",                                   \
            D "network:\n  " key ": " bad_value "\n", AT3 "network." key ": " what                 \
    }
#define NODE "eth1:\n  downstream:\n    url: http://127.0.0.1:8545\n"
#define NODE_CLIENT NODE "    client_cert_file: cert.pem\n    client_key_file: key.pem\n"
#define DUTIES "duty_protection:\n  url: postgresql://db/x\n  node_id: a\n"
#define DUTY_CASE(key, good_value, bad_value, range)                                               \
    {                                                                                              \
        "duty_protection." key, D DUTIES "  " key ": " good_value "\n",                            \
            D "duty_protection:\n  " key ": " bad_value "\n",                                      \
            AT3 "duty_protection." key ": " bad_value ": give a number from " range                \
    }
#define EPOCHS "give a number from 0 to 18446744073709551615"
#define LOCAL "signing_keys:\n  - backend: local-keystore\n    keystore_dir: keys\n"
static const key_case cases[] = {
    {"data_dir", D, "\ndata_dir: cert.pem\n", "holdfast.yaml:2: data_dir: not a folder; give one"},
    {"network", D "network: hoodi\n", D "network: atlantis\n",
     "holdfast.yaml:2: network: unknown network; give mainnet, sepolia, holesky, hoodi, gnosis, "
     "chiado, or the path of a YAML file (with a / or ending in .yaml)"},
    {"network.name", D NETWORK "  name: devnet\n",
     D "network:\n  name: a-name-that-is-longer-than-31-letters\n",
     AT3 "network.name: longer than 31 letters"},
    {"network.config", D "network:\n  config: net.yaml\n  deneb_fork_epoch: 7\n",
     D "network:\n  config: gone.yaml\n", NULL},
    {"network.genesis_validators_root", D NETWORK, D "network:\n  genesis_validators_root: 0x11\n",
     AT3 "network.genesis_validators_root: give 32 bytes in hex"},
    {"network.genesis_fork_version", D NETWORK, D "network:\n  genesis_fork_version: 1\n",
     AT3 "network.genesis_fork_version: give 4 bytes in hex, such as 0x10000038"},
    {"network.capella_fork_version", D NETWORK, D "network:\n  capella_fork_version: x\n",
     AT3 "network.capella_fork_version: give 4 bytes in hex, such as 0x10000038"},
    {"network.deneb_fork_epoch", D NETWORK, D "network:\n  deneb_fork_epoch: soon\n",
     AT3 "network.deneb_fork_epoch: " EPOCHS},
    NETWORK_CASE("genesis_time", "1700000000", "-1", "give a number from 0 to 9223372036854775807"),
    NETWORK_CASE("slots_per_epoch", "8", "0", "give a number from 1 to 1024"),
    NETWORK_CASE("slot_ms", "5000", "0", "give a number from 1 to 3600000"),
    NETWORK_CASE("electra_fork_epoch", "18446744073709551615", "1.5", EPOCHS),
    NETWORK_CASE("gloas_fork_epoch", "9", "0x1", EPOCHS),

    {"server.listen_address", D "server:\n  listen_address: ::1\n",
     D "server:\n  listen_address: example.org\n",
     AT3 "server.listen_address: example.org: give a numeric address such as 127.0.0.1, ::1 or "
         "0.0.0.0, or localhost"},
    NUMBER_CASE("server", "listen_port", "0", "65536", "0 to 65535"),
    NUMBER_CASE("server", "request_timeout_ms", "100", "99", "100 to 600000"),
    NUMBER_CASE("server", "max_connections", "1", "0", "1 to 65536"),
    NUMBER_CASE("server", "max_body_bytes", "4096", "1e6", "4096 to 67108864"),
    NUMBER_CASE("server", "fronts", "16", "17", "1 to 16"),
    NUMBER_CASE("server", "sign_threads", "0", "-1", "0 to 256"),
    NUMBER_CASE("server", "max_in_flight", "1", "0", "1 to 65536"),
    NUMBER_CASE("server", "idle_timeout_seconds", "75", "74", "75 to 86400"),
    {"server.tls.cert", D TLS, D "server:\n  tls: {cert: cert.pem}\n",
     AT3 "server.tls.cert: needs server.tls.key as well"},
    {"server.tls.key", D TLS, D "server:\n  tls: {key: key.pem}\n",
     AT3 "server.tls.key: needs server.tls.cert as well"},
    {"server.tls.client_ca", D TLS "    client_ca: ca.pem\n",
     D "server:\n  tls: {client_ca: ca.pem}\n",
     AT3 "server.tls.client_ca: needs server.tls.cert and server.tls.key as well"},
    {"server.tls.known_clients", D TLS "    known_clients: clients.txt\n",
     D "server:\n  tls: {known_clients: clients.txt}\n",
     AT3 "server.tls.known_clients: needs server.tls.cert and server.tls.key as well"},
    {"server.tls.reload_interval_seconds", D "server:\n  tls: {reload_interval_seconds: 0}\n",
     D "server:\n  tls: {reload_interval_seconds: 86401}\n",
     AT3 "server.tls.reload_interval_seconds: 86401: give a number from 0 to 86400"},

    {"metrics.enabled", D "metrics:\n  enabled: false\n", D "metrics:\n  enabled: yes\n",
     AT3 "metrics.enabled: yes: give true or false"},
    {"metrics.listen_address", D "metrics:\n  listen_address: 0.0.0.0\n",
     D "metrics:\n  listen_address: '*'\n",
     AT3 "metrics.listen_address: *: give a numeric address such as 127.0.0.1, ::1 or 0.0.0.0, or "
         "localhost"},
    NUMBER_CASE("metrics", "listen_port", "3001", "http", "0 to 65535"),

    {"signing_keys", D "signing_keys: []\n", D "signing_keys: keys\n",
     "holdfast.yaml:2: signing_keys: a single value, where a list is wanted"},
    {"signing_keys[].backend", D LOCAL "    password_file: pw.txt\n",
     D "signing_keys:\n  - backend: floppy\n",
     AT3 "signing_keys[0].backend: unknown; give " BACKENDS},
    {"signing_keys[].keystore_dir", D LOCAL "    password_file: pw.txt\n",
     D "signing_keys:\n  - backend: local-keystore\n",
     AT3 "signing_keys[0].keystore_dir: missing; give the folder of the keystores"},
    {"signing_keys[].password_file", D LOCAL "    password_file: pw.txt\n", D LOCAL,
     AT3 "signing_keys[0].password_file: give either password_file (one password) or password_dir "
         "(NAME.txt for each NAME.json)"},
    {"signing_keys[].password_dir", D LOCAL "    password_dir: passwords\n",
     D LOCAL "    password_dir: passwords\n    password_file: pw.txt\n",
     AT3 "signing_keys[0].password_file: give either password_file (one password) or password_dir "
         "(NAME.txt for each NAME.json)"},
    {"signing_keys[].config_dir", D "signing_keys:\n  - {backend: web3signer, config_dir: w3s}\n",
     D "signing_keys:\n  - {backend: web3signer}\n",
     AT3 "signing_keys[0].config_dir: missing; give the folder of the YAML key files"},
    {"signing_keys[].key_file_dir", D "signing_keys:\n  - {backend: sealed, key_file_dir: w3s}\n",
     D "signing_keys:\n  - {backend: web3signer, config_dir: w3s, key_file_dir: w3s}\n",
     AT3 "signing_keys[0].key_file_dir: belongs to the back end sealed; remove it"},
    {"signing_keys[].tags", D LOCAL "    password_file: pw.txt\n    tags: [home]\n",
     D "signing_keys:\n  - tags: [a b]\n",
     AT3 "signing_keys[0].tags[0]: a tag has 1 to 31 letters, digits, _ and -"},
    {"keystore_dir", NULL, D "keystore_dir: keys\n",
     "holdfast.yaml:2: keystore_dir: not at this level of the file; it goes into an entry of "
     "signing_keys"},
    {"password_file", NULL, D "\npassword_file: pw.txt\n",
     AT3 "password_file: not at this level of the file; it goes into an entry of signing_keys"},
    {"require_all_keys", D "require_all_keys: true\n", D "require_all_keys: 'true'\n",
     "holdfast.yaml:2: require_all_keys: \"true\" is text; write the value without quotes"},
    {"max_keys", D "max_keys: 10000\n", D "max_keys: 100001\n",
     "holdfast.yaml:2: max_keys: 100001: give a number from 1 to 100000"},
    {"key_manager.enabled", D "key_manager:\n  enabled: false\n", D "key_manager:\n  enabled: 0\n",
     AT3 "key_manager.enabled: 0: give true or false"},
    {"key_manager.token_file", D "key_manager:\n  token_file: /run/token\n",
     D "key_manager:\n  token_file: ''\n",
     AT3 "key_manager.token_file: : an empty path; give one or remove the key"},

    {"slashing_protection.backend", D "slashing_protection:\n  backend: sqlite\n",
     D "slashing_protection:\n  backend: none\n",
     AT3 "slashing_protection.backend: none: give one of: sqlite postgres dynamodb"},
    {"slashing_protection.path", D "slashing_protection:\n  path: a.sqlite\n",
     D "slashing_protection:\n  path:\n",
     AT3 "slashing_protection.path: no value; give one or remove the key"},
    {"slashing_protection.url", POSTGRES "  url: postgresql://u@h/d?sslmode=verify-full\n",
     POSTGRES "  url: postgresql://u:hunter2@h/d\n",
     AT4 "slashing_protection.url: " PASSWORD_SENTENCE},
    {"slashing_protection.url_file", POSTGRES "  url_file: url.txt\n",
     POSTGRES "  url_file: url.txt\n  url: postgresql://u@h/d\n",
     AT3 "slashing_protection.backend: " ONE_URL_SENTENCE},
    {"slashing_protection.auto_migrate", POSTGRES "  url_file: url.txt\n  auto_migrate: false\n",
     POSTGRES "  auto_migrate: 1\n", AT4 "slashing_protection.auto_migrate: 1: give true or false"},
    NUMBER_CASE("slashing_protection", "timeout_ms", "500", "99", "100 to 10000"),
    {"slashing_protection.table", DYNAMODB "  table: t\n", D "slashing_protection:\n  table: t\n",
     AT3 "slashing_protection.table: belongs to the back end dynamodb, and the configured one is "
         "sqlite"},
    {"slashing_protection.region", DYNAMODB "  region: eu-central-1\n", DYNAMODB "  region: ''\n",
     AT4 "slashing_protection.region: : empty; give a value or remove the key"},
    {"slashing_protection.endpoint", DYNAMODB "  endpoint: http://127.0.0.1:8000\n",
     POSTGRES "  url_file: url.txt\n  endpoint: http://h\n",
     "holdfast.yaml:5: slashing_protection.endpoint: belongs to the back end dynamodb, and the "
     "configured one is postgres"},
    {"slashing_protection.create_table", DYNAMODB "  create_table: true\n",
     DYNAMODB "  create_table: yes\n",
     AT4 "slashing_protection.create_table: yes: give true or false"},
    NUMBER_CASE("slashing_protection", "keep_epochs", "0", "all", "0 to 1000000000"),
    WORD_CASE("slashing_protection", "start_guard", "off", "auto always off"),

    NUMBER_CASE("eth1", "chain_id", "10", "ten", "0 to 9223372036854775771"),
    WORD_CASE("eth1", "hashes", "refuse", "auto allow refuse"),
    {"eth1.sign_data", D "eth1:\n  sign_data: false\n", D "eth1:\n  sign_data: 0\n",
     AT3 "eth1.sign_data: 0: give true or false"},

    {"eth1.downstream.url", D NODE, D "eth1:\n  downstream:\n    url: http://10.0.0.1\n",
     AT4 "eth1.downstream.url: http to another machine is not protected: use https"},
    {"eth1.downstream.url_file", D "eth1: {downstream: {url_file: node.txt}}\n",
     D NODE "    url_file: node.txt\n",
     AT5 "eth1.downstream.url_file: eth1.downstream.url is given, too"},
    {"eth1.downstream.ca_file", D NODE "    ca_file: ca.pem\n",
     D "eth1:\n  downstream:\n    ca_file: ca.pem\n",
     AT4 "eth1.downstream.ca_file: needs eth1.downstream.url or url_file as well"},
    {"eth1.downstream.client_cert_file", D NODE_CLIENT, D NODE "    client_cert_file: cert.pem\n",
     AT5 "eth1.downstream.client_cert_file: eth1.downstream.client_cert_file and client_key_file "
         "go together"},
    {"eth1.downstream.client_key_file", D NODE_CLIENT, D NODE "    client_key_file: key.pem\n",
     AT5 "eth1.downstream.client_key_file: eth1.downstream.client_cert_file and client_key_file "
         "go together"},
    {"eth1.downstream.timeout_ms", D NODE "    timeout_ms: 100\n",
     D "eth1:\n  downstream:\n    timeout_ms: 99\n",
     AT4 "eth1.downstream.timeout_ms: 99: give a number from 100 to 60000"},

    {"duty_protection.url", D DUTIES, D "duty_protection:\n  url: postgresql://db/x\n",
     AT3 "duty_protection.url: needs duty_protection.node_id as well"},
    {"duty_protection.url_file", D "duty_protection: {url_file: pw.txt, node_id: a}\n",
     D "duty_protection:\n  url_file: pw.txt\n",
     AT3 "duty_protection.url_file: needs duty_protection.node_id as well"},
    {"duty_protection.node_id", D DUTIES, D "duty_protection:\n  node_id: a\n",
     AT3 "duty_protection.node_id: needs duty_protection.url or url_file as well"},
    {"duty_protection.auto_migrate", D DUTIES "  auto_migrate: false\n",
     D "duty_protection:\n  auto_migrate: 2\n",
     AT3 "duty_protection.auto_migrate: 2: give true or false"},
    DUTY_CASE("database_timeout_ms", "10", "3600001", "10 to 3600000"),
    DUTY_CASE("signing_timeout_ms", "10", "3600001", "10 to 3600000"),
    DUTY_CASE("takeover_after_ms", "10", "3600001", "10 to 3600000"),
    DUTY_CASE("polling_interval_ms", "10", "3600001", "10 to 3600000"),
    DUTY_CASE("max_stuck_duties_age_ms", "10", "604800001", "10 to 604800000"),
    DUTY_CASE("old_duties_max_age_hours", "0", "87601", "0 to 87600"),
    DUTY_CASE("pool_max", "3", "65", "3 to 64"),

    {"policies", D "policies: {a: [{effect: deny}], b: {rules: []}}\n", D "policies: {a: b}\n",
     "holdfast.yaml:2: policies.a: a policy is a list of rules"},
    {"limits", D "limits: [{exits: refuse}]\n", D "limits: [{exits: maybe}]\n",
     "holdfast.yaml:2: limits[0].exits: \"maybe\": allow, approve or refuse"},
    {"canary_keys", D "canary_keys: [" ADDRESS "]\n", D "canary_keys: [{action: deny}]\n",
     "holdfast.yaml:2: canary_keys[0]: the entry names no key"},
    {"canary_command", D "canary_command: cert.pem\n", D "canary_command: ''\n",
     "holdfast.yaml:2: canary_command: : an empty path; give one or remove the key"},
    WORD_CASE("auth", "mode", "tokens", "none tokens"),
    {"auth.key_file", D "auth:\n  key_file: /run/token.key\n", D "auth:\n  key_file: ''\n",
     AT3 "auth.key_file: : an empty path; give one or remove the key"},
    {"audit.enabled", D "audit: {enabled: false}\n", D "audit:\n  enabled: maybe\n",
     AT3 "audit.enabled: maybe: give true or false"},
    {"audit.path", D "audit: {path: a.log}\n", D "audit:\n  path: ''\n",
     AT3 "audit.path: : an empty path; give one or remove the key"},
    WORD_CASE("audit", "sync", "interval", "always interval"),
    {"audit.rotate_bytes", D "audit: {rotate_bytes: 0}\n", D "audit:\n  rotate_bytes: -1\n",
     AT3 "audit.rotate_bytes: -1: give a number from 0 to 1099511627776"},
    {"audit.sinks", D "audit: {sinks: stdout syslog}\n", D "audit:\n  sinks: stdout tape\n",
     AT3 "audit.sinks: tape: no such sink; give stdout, syslog or journald"},

    WORD_CASE("hardening", "seccomp", "off", "off prefer require"),
    WORD_CASE("hardening", "landlock", "require", "off prefer require"),
    WORD_CASE("hardening", "mlock", "prefer", "off prefer require"),
    WORD_CASE("hardening", "no_dump", "prefer", "off prefer require"),
    WORD_CASE("log", "format", "json", "text json"),
    WORD_CASE("log", "level", "debug", "debug info unusual broken"),
};

static void every_key_takes_good_and_refuses_bad(void **state)
{
    (void)state;
    hf_config *config = calloc(1, sizeof *config);
    char gone[256];
    assert_non_null(config);
    scratch_write("net.yaml",
                  "GENESIS_VALIDATORS_ROOT: '" ROOT_HEX "'\nGENESIS_FORK_VERSION: 0x10000038\n"
                  "CAPELLA_FORK_VERSION: 0x40000038\n",
                  0644);
    (void)snprintf(gone, sizeof gone, "%s: No such file or directory", scratch_path("gone.yaml"));
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        if (cases[i].good != NULL) {
            assert_loads(cases[i].good, config);
        }
        assert_refused(cases[i].bad, cases[i].sentence == NULL ? gone : cases[i].sentence);
    }
    free(config);
}

static void every_key_has_a_case(void **state)
{
    (void)state;
    size_t custody = 0;
    for (size_t i = 0; i < hf_config_key_count; i++) {
        size_t found = 0;
        if (hf_config_keys[i].type == HF_VALUE_CUSTODY) {
            custody++; /* below */
            continue;
        }
        for (size_t j = 0; j < HF_ARRAY_LEN(cases); j++) {
            found += strcmp(cases[j].path, hf_config_keys[i].path) == 0;
        }
        if (found != 1) {
            fail_msg("%s has %zu cases", hf_config_keys[i].path, found);
        }
    }
    assert_int_equal(HF_ARRAY_LEN(cases) + custody, hf_config_key_count);
}

/* ---- back ends of their own ------------------------------------------------------------------ */

#define PKCS11 D "signing_keys:\n  - backend: pkcs11\n    module: cert.pem\n    pin_file: pw.txt\n"
#define VAULT                                                                                      \
    D "signing_keys:\n  - backend: vault\n    address: https://v:8200\n    path: secret/keys\n"

static const hf_custody_settings *custody_of(const char *text)
{
    static hf_config config;
    assert_loads(text, &config);
    assert_int_equal(config.custody_count, 1);
    assert_int_equal(config.key_source_count, 1);
    return &config.custodies[0].settings;
}

static void a_back_end_gets_its_settings(void **state)
{
    (void)state;
    const hf_custody_settings *got = custody_of(PKCS11 "    slot: 3\n    key_labels: [one, two]\n"
                                                       "    module_env: {SOFTHSM2_CONF: a b}\n");
    assert_string_equal(hf_custody_setting(got, "module"), scratch_path("cert.pem"));
    assert_string_equal(hf_custody_setting(got, "pin_file"), scratch_path("pw.txt"));
    assert_int_equal(hf_custody_setting_number(got, "slot", 0), 3);
    assert_int_equal(hf_custody_setting_number(got, "threads", 8), 8);
    assert_string_equal(hf_custody_setting_at(got, "key_labels", 0), "one");
    assert_string_equal(hf_custody_setting_at(got, "key_labels", 1), "two");
    assert_null(hf_custody_setting_at(got, "key_labels", 2));
    assert_string_equal(hf_custody_setting(got, "module_env.SOFTHSM2_CONF"), "a b");
    got = custody_of(VAULT "    auth: {method: approle, role_id: r, secret_id_file: pw.txt}\n");
    assert_string_equal(hf_custody_setting(got, "auth.method"), "approle");
    assert_string_equal(hf_custody_setting(got, "auth.secret_id_file"), scratch_path("pw.txt"));
}

static void the_seal_has_back_ends_of_its_own(void **state)
{
    (void)state;
    static hf_config config;
    static const char text[] = D "seal:\n  pkcs11: {module: cert.pem, pin_file: pw.txt, slot: 2}\n"
                                 "  awskms: {region: eu-1}\n";
    assert_loads(text, &config);
    assert_int_equal(config.key_source_count, 0);
    assert_int_equal(config.custody_count, 2);
    assert_int_equal(config.custodies[0].backend, HF_BACKEND_PKCS11);
    assert_int_equal(config.custodies[0].source, HF_SOURCE_NONE);
    assert_string_equal(hf_custody_setting(&config.custodies[0].settings, "pin_file"),
                        scratch_path("pw.txt"));
    assert_int_equal(config.custodies[1].backend, HF_BACKEND_AWS_KMS);
    assert_string_equal(hf_custody_setting(&config.custodies[1].settings, "region"), "eu-1");
    assert_refused(D "seal:\n  pkcs11: {pin_file: pw.txt}\n",
                   AT3 "seal.pkcs11.module: missing; pkcs11 needs it");
    assert_refused(D "seal:\n  pkcs11: {region: x}\n",
                   AT3 "seal.pkcs11.region: unknown key; did you mean signing_keys[].region?");
}

static void assert_refused_as(const char *text, const char *member, const char *why)
{
    static hf_config config;
    hf_error err = {0};
    assert_int_equal(scratch_load(text, NULL, &config, &err).code, HF_USAGE);
    assert_non_null(strstr(err.msg, member));
    assert_non_null(strstr(err.msg, why));
}

static void what_a_back_end_does_not_take_is_refused(void **state)
{
    (void)state;
    scratch_write("open.txt", "1234\n", 0644);
    assert_refused(D "signing_keys:\n  - {backend: pkcs11, pin_file: pw.txt}\n",
                   AT3 "signing_keys[0].module: missing; pkcs11 needs it");
    assert_refused(PKCS11 "    region: eu-1\n",
                   AT3 "signing_keys[0].region: the back end pkcs11 does not take it; remove it");
    assert_refused(PKCS11 "    keystore_dir: keys\n",
                   AT3 "signing_keys[0].backend: takes no folders of keystores or key files; "
                       "remove them");
    assert_refused(D LOCAL "    password_file: pw.txt\n    module: cert.pem\n",
                   AT3 "signing_keys[0].module: belongs to another back end; remove it");
    assert_refused(PKCS11 "    slot: first\n", AT3 "signing_keys[0].slot: not a number");
    assert_refused(PKCS11 "    module_env: x\n",
                   "holdfast.yaml:6: signing_keys[0].module_env: a mapping is wanted here");
    assert_refused(PKCS11 "    slot: [1]\n",
                   "holdfast.yaml:6: signing_keys[0].slot: a single value is wanted here");
    assert_refused_as(VAULT "    auth: {token_file: gone.txt}\n",
                      "auth.token_file: ", "No such file or directory");
    assert_refused_as(VAULT "    auth: {token_file: open.txt}\n",
                      "auth.token_file: ", "others can read this secret (mode 644): chmod 600 it");
    assert_refused_as(D "signing_keys:\n  - {backend: pkcs11, module: cert.pem, "
                        "pin_file: open.txt}\n",
                      "pin_file: ", "others can read this secret (mode 644): chmod 600 it");
    assert_refused(D "signing_keys:\n  - {backend: vault, address: 'https://u:p@v', path: x}\n",
                   AT3 "signing_keys[0].address: no user or password in the URL");
}

/* A URL with a password comes from a private file alone, in one line. */
static void the_database_is_named_in_one_way(void **state)
{
    (void)state;
    static hf_config config;
    static const char *const with_password[] = {
        "postgresql://u:hunter2@h/d", "postgresql://h/d?password=hunter2",
        "host=h password=hunter2 dbname=d", "postgresql://h/d?sslpassword=hunter2"};
    char text[256];
    for (size_t i = 0; i < HF_ARRAY_LEN(with_password); i++) {
        (void)snprintf(text, sizeof text, POSTGRES "  url: '%s'\n", with_password[i]);
        assert_refused(text, AT4 "slashing_protection.url: " PASSWORD_SENTENCE);
    }
    assert_loads(POSTGRES "  url: 'postgresql://u@h/d?passfile=/the/password/file'\n", &config);
    assert_refused(POSTGRES, AT3 "slashing_protection.backend: " ONE_URL_SENTENCE);
    assert_loads(POSTGRES "  url_file: url.txt\n", &config);
    assert_string_equal(config.store_url, "postgresql://u:hunter2@h/d");
    assert_int_equal(config.store_backend, HF_STORE_POSTGRES);
    assert_true(config.store_auto_migrate);
    assert_int_equal(config.store_timeout_ms, 700);
    scratch_write("two.txt", "postgresql://h/d\npostgresql://h/e\n", 0600);
    assert_refused(POSTGRES "  url_file: two.txt\n",
                   AT4 "slashing_protection.url_file: the file has to hold one line, "
                       "postgresql://USER:PASSWORD@HOST/DATABASE");
    scratch_write("open.txt", "postgresql://h/d\n", 0644);
    hf_error err = {0};
    hf_status st = scratch_load(POSTGRES "  url_file: open.txt\n", NULL, &config, &err);
    assert_int_equal(st.code, HF_USAGE);
    assert_non_null(strstr(err.msg, "open.txt"));
}

static void secrets_do_not_reach_errors(void **state)
{
    (void)state;
    static hf_config config;
    hf_error err = {0};
    hf_status st = scratch_load(
        D "slashing_protection: {backend: postgres, url: 'postgres://u:hunter2@h/d'}\n", NULL,
        &config, &err);
    assert_int_equal(st.code, HF_USAGE);
    assert_null(strstr(err.msg, "hunter2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_takes_good_and_refuses_bad),
        cmocka_unit_test(every_key_has_a_case),
        cmocka_unit_test(a_back_end_gets_its_settings),
        cmocka_unit_test(the_seal_has_back_ends_of_its_own),
        cmocka_unit_test(what_a_back_end_does_not_take_is_refused),
        cmocka_unit_test(the_database_is_named_in_one_way),
        cmocka_unit_test(secrets_do_not_reach_errors),
    };
    return cmocka_run_group_tests_name("config keys", tests, scratch_enter, scratch_leave);
}
