/* The one table of configuration keys, in the order in which people read them. */
#include "config/custody_keys.h"
#include "config_internal.h"

#include <ctype.h>

#define AT(member) offsetof(hf_settings, member)
#define KEY_DISTANCE_MAX 3 /* letters wrong before a suggestion would be a guess */

/* Bounds: generous beyond what anyone needs, tight enough that a slip of the finger shows. */
#define TIMEOUT_MS_MIN 100
#define TIMEOUT_MS_MAX 600000
#define CONNECTIONS_MAX 65536
#define BODY_BYTES_MIN 4096
#define BODY_BYTES_MAX 67108864
#define FRONTS_MAX 16
#define THREADS_MAX 256
#define IDLE_SECONDS_MIN 75 /* clients keep connections idle for that long and then use them */
#define IDLE_SECONDS_MAX 86400
#define KEYS_MAX 100000
#define RELOAD_SECONDS_MAX 86400
#define STORE_TIMEOUT_MS_MAX 10000
#define NODE_TIMEOUT_MS_MAX 60000
#define EPOCHS_MAX 1000000000
#define AUDIT_BYTES_MAX (UINT64_C(1) << 40)

#define REQUIREMENTS "off prefer require"

#define DUTY_MS_MIN 10
#define DUTY_MS_MAX 3600000
#define DUTY_AGE_MS_MAX 604800000
#define DUTY_HOURS_MAX 87600
#define DUTY_POOL_MIN 3
#define DUTY_POOL_MAX 64

#define DUTY_NUMBER(name, member, standard, from, to, sentence)                                    \
    {                                                                                              \
        .path = "duty_protection." name, .type = HF_VALUE_U32, .fallback = (standard),             \
        .least = (from), .most = (to), .offset = AT(config.duties.member), .help = (sentence)      \
    }
#define NODE_FILE(name, member, more_flags, sentence)                                              \
    {                                                                                              \
        .path = "eth1.downstream." name, .type = HF_VALUE_PATH,                                    \
        .flags = HF_KEY_FILE_EXISTS | (more_flags), .offset = AT(config.member),                   \
        .help = (sentence)                                                                         \
    }
#define SOURCE(name, member, sentence)                                                             \
    {                                                                                              \
        .path = "signing_keys[]." name, .type = HF_VALUE_MEMBER, .offset = AT(sources[0].member),  \
        .flags = HF_KEY_NO_ENV, .help = (sentence)                                                 \
    }
#define BOOK(name, sentence)                                                                       \
    {                                                                                              \
        .path = (name), .type = HF_VALUE_BOOK, .flags = HF_KEY_NO_ENV, .help = (sentence)          \
    }
#define NETWORK(name, sentence)                                                                    \
    {                                                                                              \
        .path = "network." name, .type = HF_VALUE_MEMBER, .flags = HF_KEY_NO_ENV,                  \
        .help = (sentence)                                                                         \
    }

const hf_config_key hf_config_keys[] = {
    {.path = "data_dir",
     .type = HF_VALUE_PATH,
     .offset = AT(config.data_dir),
     .option = "--data-dir",
     .help = "Folder of everything that Holdfast itself keeps; it belongs to the signer's user."},
    {.path = "network",
     .type = HF_VALUE_NETWORK,
     .fallback = "mainnet",
     .option = "--network",
     .help =
         "The chain: mainnet, sepolia, holesky, hoodi, gnosis, chiado, the path of a YAML file, "
         "or the keys below."},
    NETWORK("name", "What to call a network given by its keys."),
    NETWORK("config",
            "Path of a YAML file, such as a consensus client's config.yaml, for the rest."),
    NETWORK("genesis_validators_root", "32 bytes in hex, as GET /eth/v1/beacon/genesis tells."),
    NETWORK("genesis_time", "Unix seconds."),
    NETWORK("slots_per_epoch", "32 where not given."),
    NETWORK("slot_ms", "12000 where not given."),
    NETWORK("genesis_fork_version", "4 bytes in hex."),
    NETWORK("capella_fork_version", "4 bytes in hex; voluntary exits are signed with it."),
    NETWORK("deneb_fork_epoch", "From here on exits keep Capella's version (EIP-7044)."),
    NETWORK("electra_fork_epoch", "From here on aggregates have Electra's layout."),
    NETWORK("gloas_fork_epoch", "Where not given: not scheduled."),

    {.path = "server.listen_address",
     .type = HF_VALUE_ADDRESS,
     .fallback = "127.0.0.1",
     .offset = AT(config.listen_address),
     .option = "--listen",
     .help = "Where validator clients connect; beyond loopback only with client certificates or "
             "tokens."},
    {.path = "server.listen_port",
     .type = HF_VALUE_U16,
     .fallback = "9000",
     .most = UINT16_MAX,
     .offset = AT(config.listen_port),
     .option = "--listen",
     .help = "Port of the API; 0 lets the system choose."},
    {.path = "server.request_timeout_ms",
     .type = HF_VALUE_U32,
     .fallback = "5000",
     .least = TIMEOUT_MS_MIN,
     .most = TIMEOUT_MS_MAX,
     .offset = AT(config.request_timeout_ms),
     .help = "A request that took longer is answered 503."},
    {.path = "server.max_connections",
     .type = HF_VALUE_U32,
     .fallback = "512",
     .least = 1,
     .most = CONNECTIONS_MAX,
     .offset = AT(config.max_connections),
     .help = "Connections open at once, all front processes together."},
    {.path = "server.max_body_bytes",
     .type = HF_VALUE_U32,
     .fallback = "2097152",
     .least = BODY_BYTES_MIN,
     .most = BODY_BYTES_MAX,
     .offset = AT(config.max_body_bytes),
     .help = "A request body beyond it is answered 413."},
    {.path = "server.fronts",
     .type = HF_VALUE_U32,
     .fallback = "2",
     .least = 1,
     .most = FRONTS_MAX,
     .offset = AT(config.fronts),
     .help = "Processes that speak HTTP; one may fail while the others serve."},
    {.path = "server.sign_threads",
     .type = HF_VALUE_U32,
     .fallback = "0",
     .most = THREADS_MAX,
     .offset = AT(config.sign_threads),
     .help = "Threads that sign; 0 for one a core."},
    {.path = "server.max_in_flight",
     .type = HF_VALUE_U32,
     .fallback = "4096",
     .least = 1,
     .most = CONNECTIONS_MAX,
     .offset = AT(config.max_in_flight),
     .help = "Signing requests under way at once; one more is answered 503 at once."},
    {.path = "server.idle_timeout_seconds",
     .type = HF_VALUE_U32,
     .fallback = "120",
     .least = IDLE_SECONDS_MIN,
     .most = IDLE_SECONDS_MAX,
     .offset = AT(config.idle_timeout_seconds),
     .help = "How long an idle connection is kept."},
    {.path = "server.tls.cert",
     .type = HF_VALUE_PATH,
     .offset = AT(config.tls_cert),
     .flags = HF_KEY_RELOADABLE | HF_KEY_FILE_EXISTS,
     .help = "Certificate chain in PEM; with it the API speaks HTTPS."},
    {.path = "server.tls.key",
     .type = HF_VALUE_PATH,
     .offset = AT(config.tls_key),
     .flags = HF_KEY_RELOADABLE | HF_KEY_FILE_EXISTS | HF_KEY_FILE_PRIVATE,
     .help = "Its private key in PEM, mode 0600."},
    {.path = "server.tls.client_ca",
     .type = HF_VALUE_PATH,
     .offset = AT(config.tls_client_ca),
     .flags = HF_KEY_RELOADABLE | HF_KEY_FILE_EXISTS,
     .help = "Authorities in PEM: clients must show a certificate that one of them signed."},
    {.path = "server.tls.known_clients",
     .type = HF_VALUE_PATH,
     .offset = AT(config.tls_known_clients),
     .flags = HF_KEY_RELOADABLE | HF_KEY_FILE_EXISTS,
     .help = "Web3Signer's known clients file: lines of a common name and a SHA-256 fingerprint."},
    {.path = "server.tls.reload_interval_seconds",
     .type = HF_VALUE_U32,
     .fallback = "60",
     .most = RELOAD_SECONDS_MAX,
     .offset = AT(config.tls_reload_interval_seconds),
     .help = "How often the files of server.tls are looked at for changes; 0: on SIGHUP alone."},

    {.path = "metrics.enabled",
     .type = HF_VALUE_BOOL,
     .fallback = "true",
     .offset = AT(config.metrics_enabled),
     .option = "--metrics-listen",
     .help = "Whether GET /metrics is served at all."},
    {.path = "metrics.listen_address",
     .type = HF_VALUE_ADDRESS,
     .fallback = "127.0.0.1",
     .offset = AT(config.metrics_address),
     .option = "--metrics-listen",
     .help = "Where Prometheus connects."},
    {.path = "metrics.listen_port",
     .type = HF_VALUE_U16,
     .fallback = "3000",
     .most = UINT16_MAX,
     .offset = AT(config.metrics_port),
     .option = "--metrics-listen",
     .help = "Port of the metrics; 0 lets the system choose."},

    {.path = "signing_keys",
     .type = HF_VALUE_LIST,
     .flags = HF_KEY_NO_ENV,
     .help = "Where keys come from, any number at once; without it, only keys imported through the "
             "key manager API."},
    SOURCE("backend", backend,
           "local-keystore, web3signer, sealed, pkcs11, yubihsm, aws-cloudhsm, aws-kms, "
           "aws-secrets-manager, vault, azure-key-vault or gcp-secret-manager."),
    SOURCE("keystore_dir", keystore_dir,
           "local-keystore: folder of keystores (*.json), EIP-2335 or Ethereum accounts."),
    SOURCE("password_file", password_file,
           "local-keystore: one password for all of them, mode 0600."),
    SOURCE("password_dir", password_dir,
           "local-keystore: folder with NAME.txt for each NAME.json, mode 0600 each."),
    BOOK("signing_keys[].tags", "Names by which policies and limits speak of these keys."),
    SOURCE("config_dir", config_dir, "web3signer: folder of Web3Signer's YAML key files."),
    SOURCE(
        "key_file_dir", key_file_dir,
        "sealed: folder with NAME.key (32 bytes, mode 0600) of each holder of the seal that is a "
        "machine, to unseal at the start."),
    HF_CUSTODY_KEYS,
    HF_SEAL_KEYS,
    {.path = "keystore_dir",
     .type = HF_VALUE_PATH,
     .offset = AT(keystore_dir),
     .flags = HF_KEY_NO_FILE,
     .option = "--keystore-dir",
     .help = "One folder of keystores in place of signing_keys."},
    {.path = "password_file",
     .type = HF_VALUE_PATH,
     .offset = AT(password_file),
     .flags = HF_KEY_NO_FILE,
     .option = "--password-file",
     .help = "The one password of the keystores in keystore_dir."},
    {.path = "require_all_keys",
     .type = HF_VALUE_BOOL,
     .fallback = "false",
     .offset = AT(config.require_all_keys),
     .help = "Whether one key that cannot be loaded refuses the start."},
    {.path = "max_keys",
     .type = HF_VALUE_U32,
     .fallback = "20000",
     .least = 1,
     .most = KEYS_MAX,
     .offset = AT(config.max_keys),
     .help = "Keys that fit; their memory is locked at the start."},
    {.path = "key_manager.enabled",
     .type = HF_VALUE_BOOL,
     .fallback = "true",
     .offset = AT(config.key_manager_enabled),
     .help = "Whether the key manager API (/eth/v1/keystores) is served."},
    {.path = "key_manager.token_file",
     .type = HF_VALUE_DATA_PATH,
     .fallback = "key-manager-token",
     .offset = AT(config.key_manager_token_file),
     .help = "Its bearer token, made with mode 0600 when absent; relative to data_dir."},

    {.path = "slashing_protection.backend",
     .type = HF_VALUE_CHOICE,
     .fallback = "sqlite",
     .offset = AT(config.store_backend),
     .choices = "sqlite postgres dynamodb",
     .option = "--database-url",
     .help = "Where signed messages are recorded: sqlite on this machine; postgres or dynamodb, "
             "shared by several. It cannot be switched off."},
    {.path = "slashing_protection.path",
     .type = HF_VALUE_DATA_PATH,
     .fallback = "slashing.sqlite",
     .offset = AT(config.store_path),
     .help = "sqlite: the database, mode 0600; relative to data_dir."},
    {.path = "slashing_protection.url",
     .type = HF_VALUE_URL,
     .offset = AT(config.store_url),
     .option = "--database-url",
     .help = "postgres: the database's URL, without a password."},
    {.path = "slashing_protection.url_file",
     .type = HF_VALUE_PATH,
     .offset = AT(config.store_url_file),
     .flags = HF_KEY_FILE_EXISTS | HF_KEY_FILE_PRIVATE,
     .option = "--database-url-file",
     .help = "postgres: in place of url, a file with the URL, mode 0600; it may hold a password."},
    {.path = "slashing_protection.auto_migrate",
     .type = HF_VALUE_BOOL,
     .fallback = "true",
     .offset = AT(config.store_auto_migrate),
     .help = "postgres: whether the start makes and updates the tables (holdfast db migrate up)."},
    {.path = "slashing_protection.timeout_ms",
     .type = HF_VALUE_U32,
     .fallback = "700",
     .least = TIMEOUT_MS_MIN,
     .most = STORE_TIMEOUT_MS_MAX,
     .offset = AT(config.store_timeout_ms),
     .help =
         "postgres, dynamodb: how long a signature waits for the database before its request is "
         "answered 503."},
    {.path = "slashing_protection.table",
     .type = HF_VALUE_TEXT,
     .fallback = "holdfast",
     .most = HF_STORE_TABLE_LEN,
     .offset = AT(config.store_table),
     .help = "dynamodb: name of the table."},
    {.path = "slashing_protection.region",
     .type = HF_VALUE_TEXT,
     .most = HF_STORE_REGION_LEN,
     .offset = AT(config.store_region),
     .help = "dynamodb: the region, where AWS's own variables and files do not say it."},
    {.path = "slashing_protection.endpoint",
     .type = HF_VALUE_TEXT,
     .most = HF_STORE_ENDPOINT_LEN,
     .offset = AT(config.store_endpoint),
     .help = "dynamodb: URL of the service, where it is not AWS's own."},
    {.path = "slashing_protection.create_table",
     .type = HF_VALUE_BOOL,
     .fallback = "false",
     .offset = AT(config.store_create_table),
     .help = "dynamodb: whether the start makes the table when there is none."},
    {.path = "slashing_protection.keep_epochs",
     .type = HF_VALUE_U64,
     .fallback = "250",
     .most = EPOCHS_MAX,
     .offset = AT(config.keep_epochs),
     .help = "History beyond it is pruned to watermarks; 0 keeps all."},
    {.path = "slashing_protection.start_guard",
     .type = HF_VALUE_CHOICE,
     .fallback = "auto",
     .offset = AT(config.guard_mode),
     .choices = "auto always off",
     .help = "auto: unless the record is where this machine left it, nothing up to the present "
             "epoch is signed (after a reboot, a restored disk). always: at each start."},

    {.path = "eth1.chain_id",
     .type = HF_VALUE_U64,
     .fallback = "0",
     .most = HF_TX_CHAIN_ID_MAX,
     .offset = AT(config.eth1.chain_id),
     .help = "Of transactions that say none; 0 for the one of a known network."},
    {.path = "eth1.hashes",
     .type = HF_VALUE_CHOICE,
     .fallback = "auto",
     .offset = AT(config.eth1.hashes),
     .choices = "auto allow refuse",
     .help = "Whether eth_sign and personal_sign take messages of 32 bytes, which may be duties of "
             "an Aztec validator; auto: unless duty_protection is configured."},
    {.path = "eth1.sign_data",
     .type = HF_VALUE_BOOL,
     .fallback = "true",
     .offset = AT(config.eth1_sign_data),
     .help = "Whether POST /api/v1/eth1/sign signs bytes that nobody explains."},

    {.path = "eth1.downstream.url",
     .type = HF_VALUE_TEXT,
     .most = HF_NODE_URL_LEN,
     .flags = HF_KEY_SECRET,
     .offset = AT(config.node_url),
     .help = "A node that gets the methods of JSON-RPC which are not the signer's: https, or http "
             "on this machine; with a password in it, better url_file."},
    NODE_FILE("url_file", node_url_file, HF_KEY_FILE_PRIVATE,
              "In place of url, a file with it, mode 0600."),
    NODE_FILE("ca_file", node_ca_file, 0, "PEM: the only authorities to trust; else the system's."),
    NODE_FILE("client_cert_file", node_cert_file, 0, "PEM, shown to a node that asks."),
    NODE_FILE("client_key_file", node_key_file, HF_KEY_FILE_PRIVATE, "PEM, its key, mode 0600."),
    {.path = "eth1.downstream.timeout_ms",
     .type = HF_VALUE_U32,
     .fallback = "5000",
     .least = TIMEOUT_MS_MIN,
     .most = NODE_TIMEOUT_MS_MAX,
     .offset = AT(config.node_timeout_ms),
     .help = "How long a call waits for the node before it is answered with an error."},

    {.path = "duty_protection.url",
     .type = HF_VALUE_TEXT,
     .most = HF_DUTY_URL_LEN,
     .flags = HF_KEY_SECRET,
     .offset = AT(config.duties.database_url),
     .help = "PostgreSQL database that all nodes of an Aztec validator share; with a password in "
             "it, better url_file."},
    {.path = "duty_protection.url_file",
     .type = HF_VALUE_PATH,
     .flags = HF_KEY_FILE_EXISTS | HF_KEY_FILE_PRIVATE,
     .offset = AT(config.duty_url_file),
     .help = "A file with that URL, mode 0600."},
    {.path = "duty_protection.node_id",
     .type = HF_VALUE_TEXT,
     .most = HF_DUTY_NODE_ID_LEN,
     .offset = AT(config.duties.node_id),
     .help = "This node's name, another for each; with it, duties are protected by the database."},
    {.path = "duty_protection.auto_migrate",
     .type = HF_VALUE_BOOL,
     .fallback = "true",
     .offset = AT(config.duties.auto_migrate),
     .help = "Whether the start brings the schema up."},
    DUTY_NUMBER("database_timeout_ms", database_timeout_ms, "700", DUTY_MS_MIN, DUTY_MS_MAX,
                "No duty waits longer for one answer of the database."),
    DUTY_NUMBER("signing_timeout_ms", signing_timeout_ms, "3000", DUTY_MS_MIN, DUTY_MS_MAX,
                "How long a duty waits for another node that is signing the same message."),
    DUTY_NUMBER("takeover_after_ms", takeover_after_ms, "1000", DUTY_MS_MIN, DUTY_MS_MAX,
                "A holder that is silent for so long is taken over, for the same message alone."),
    DUTY_NUMBER("polling_interval_ms", polling_interval_ms, "100", DUTY_MS_MIN, DUTY_MS_MAX,
                "How often a waiting duty looks, should no notification come."),
    DUTY_NUMBER("max_stuck_duties_age_ms", max_stuck_age_ms, "144000", DUTY_MS_MIN, DUTY_AGE_MS_MAX,
                "Older locks without a signature are cleaned."),
    DUTY_NUMBER("old_duties_max_age_hours", old_age_hours, "0", 0, DUTY_HOURS_MAX,
                "Older signatures are cleaned into a watermark; 0 keeps all."),
    DUTY_NUMBER("pool_max", pool_max, "10", DUTY_POOL_MIN, DUTY_POOL_MAX,
                "Connections to the database."),

    BOOK("policies", "Named lists of rules: what tokens that name them may ask for."),
    BOOK("limits", "What is signed for nobody, key by key: fork versions, exits, fee recipients, "
                   "gas, clock, rates; of transactions chains, recipients, methods, amounts."),
    {.path = "auth.mode",
     .type = HF_VALUE_CHOICE,
     .fallback = "none",
     .offset = AT(config.auth_mode),
     .choices = "none tokens",
     .help = "tokens: who asks has to show one. none: whoever reaches the listener may ask; on "
             "loopback or with client certificates."},
    {.path = "auth.key_file",
     .type = HF_VALUE_DATA_PATH,
     .fallback = "token.key",
     .offset = AT(config.token_key_file),
     .help = "The key that tokens are kept under, made with mode 0600 when absent; the same on "
             "signers that share a store; relative to data_dir."},
    BOOK("canary_keys", "Keys that nobody should ever use, and what happens when somebody does."),
    {.path = "canary_command",
     .type = HF_VALUE_PATH,
     .offset = AT(config.canary_command),
     .flags = HF_KEY_FILE_EXISTS,
     .help = "Program that the supervisor runs, without a shell, when a canary key is used."},
    {.path = "audit.enabled",
     .type = HF_VALUE_BOOL,
     .fallback = "true",
     .offset = AT(config.audit_enabled),
     .help = "Whether who asked for what, and what came of it, is written to the audit log."},
    {.path = "audit.path",
     .type = HF_VALUE_DATA_PATH,
     .fallback = "audit.log",
     .offset = AT(config.audit_path),
     .help = "The audit log, chained with DATA_DIR/audit.key; relative to data_dir."},
    {.path = "audit.sync",
     .type = HF_VALUE_CHOICE,
     .fallback = "always",
     .choices = "always interval",
     .offset = AT(config.audit_sync),
     .help = "always: a request is on the disk before its signature leaves; interval: within a "
             "second."},
    {.path = "audit.rotate_bytes",
     .type = HF_VALUE_U64,
     .fallback = "67108864",
     .most = AUDIT_BYTES_MAX,
     .offset = AT(config.audit_rotate_bytes),
     .help = "A file of that size is kept beside the log and a new one begun; 0: never."},
    {.path = "audit.sinks",
     .type = HF_VALUE_TEXT,
     .most = HF_AUDIT_SINKS_LEN,
     .offset = AT(config.audit_sinks),
     .help = "Copies beside the file, any of stdout, syslog, journald, with spaces between them."},

    {.path = "hardening.seccomp",
     .type = HF_VALUE_CHOICE,
     .fallback = "require",
     .choices = REQUIREMENTS,
     .offset = AT(config.hardening.seccomp),
     .help = "System call filter: off, prefer, or require (no start without it)."},
    {.path = "hardening.landlock",
     .type = HF_VALUE_CHOICE,
     .fallback = "prefer",
     .choices = REQUIREMENTS,
     .offset = AT(config.hardening.landlock),
     .help = "File system sandbox: off, prefer or require."},
    {.path = "hardening.mlock",
     .type = HF_VALUE_CHOICE,
     .fallback = "require",
     .choices = REQUIREMENTS,
     .offset = AT(config.hardening.mlock),
     .help = "Keys in memory that is never swapped out: off, prefer or require."},
    {.path = "hardening.no_dump",
     .type = HF_VALUE_CHOICE,
     .fallback = "require",
     .choices = REQUIREMENTS,
     .offset = AT(config.hardening.no_dump),
     .help = "No core dumps and no debugger: off, prefer or require."},

    {.path = "log.format",
     .type = HF_VALUE_CHOICE,
     .fallback = "text",
     .choices = "text json",
     .offset = AT(config.log.format),
     .option = "--log-format",
     .help = "text or json."},
    {.path = "log.level",
     .type = HF_VALUE_CHOICE,
     .fallback = "info",
     .choices = "debug info unusual broken",
     .offset = AT(config.log.least),
     .help = "The least that is logged: debug, info, unusual or broken."},
};

const size_t hf_config_key_count = HF_ARRAY_LEN(hf_config_keys);
_Static_assert(HF_ARRAY_LEN(hf_config_keys) <= HF_KEY_COUNT_MAX, "hf_settings has a slot a key");

/* Drops the digits of list indices: "signing_keys[12].backend" to "signing_keys[].backend". */
static void without_indices(const char *path, char out[HF_YAML_PATH_LEN])
{
    size_t used = 0;
    bool in_index = false;
    for (; *path != '\0' && used + 1 < HF_YAML_PATH_LEN; path++) {
        in_index = *path == '[' || (in_index && *path != ']');
        if (!in_index || *path == '[') {
            out[used++] = *path;
        }
    }
    out[used] = '\0';
}

const hf_config_key *hf_config_key_find(const char *path)
{
    char plain[HF_YAML_PATH_LEN];
    without_indices(path, plain);
    for (size_t i = 0; i < hf_config_key_count; i++) {
        if (strcmp(hf_config_keys[i].path, plain) == 0) {
            return &hf_config_keys[i];
        }
    }
    return NULL;
}

bool hf_config_key_is_section(const char *path)
{
    char plain[HF_YAML_PATH_LEN];
    without_indices(path, plain);
    size_t len = strlen(plain);
    for (size_t i = 0; i < hf_config_key_count; i++) {
        if (strncmp(hf_config_keys[i].path, plain, len) == 0 &&
            hf_config_keys[i].path[len] == '.') {
            return true;
        }
    }
    return false;
}

void hf_config_key_env_name(const hf_config_key *key, char *out, size_t out_len)
{
    (void)snprintf(out, out_len, "HOLDFAST_%s", key->path);
    for (char *p = out; *p != '\0'; p++) {
        *p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
    }
}

/* Edit distance of two short names, one row at a time. */
static size_t distance(const char *a, const char *b)
{
    size_t row[HF_YAML_PATH_LEN + 1];
    size_t len = strnlen(b, HF_YAML_PATH_LEN);
    for (size_t j = 0; j <= len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= len; j++) {
            size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            size_t least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < least ? change : least;
        }
    }
    return row[len];
}

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot == NULL ? path : dot + 1;
}

/* A key of another section with the very same last name is the likeliest meaning. */
const char *hf_config_key_suggest(const char *path)
{
    char plain[HF_YAML_PATH_LEN];
    const char *best = NULL;
    size_t best_distance = KEY_DISTANCE_MAX + 1;
    without_indices(path, plain);
    for (size_t i = 0; i < hf_config_key_count; i++) {
        const hf_config_key *key = &hf_config_keys[i];
        if ((key->flags & HF_KEY_NO_FILE) != 0) {
            continue;
        }
        size_t d = distance(plain, key->path);
        if (d > strlen(plain) / 3 && d <= KEY_DISTANCE_MAX) {
            d = KEY_DISTANCE_MAX + 1;
        }
        if (key->type == HF_VALUE_CUSTODY && d == KEY_DISTANCE_MAX) {
            d++; /* there are many short ones: something is always near */
        }
        if (d > KEY_DISTANCE_MAX && strcmp(last_part(plain), last_part(key->path)) == 0) {
            d = KEY_DISTANCE_MAX;
        }
        if (d < best_distance) {
            best = key->path;
            best_distance = d;
        }
    }
    return best;
}
