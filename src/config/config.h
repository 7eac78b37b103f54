/*
 * config: the YAML file, the environment (HOLDFAST_...) and the flags, in that rising order, into
 * one checked structure that remembers where each value came from. Used by the command line and
 * the supervisor alone; every other process gets its part as a frame.
 */
#ifndef HF_CONFIG_H
#define HF_CONFIG_H

#include "base/base.h"
#include "eth/eth.h"
#include "ipc/ipc.h"
#include "policy/policy.h"

#define HF_AUDIT_SINKS_LEN 64

/* A back end of custody in a process of its own. */
typedef struct hf_custody_source {
    uint32_t backend; /* hf_key_backend */
    uint32_t source;  /* place in signing_keys, or HF_SOURCE_NONE: of the seal */
    hf_custody_settings settings;
} hf_custody_source;

typedef struct hf_config {
    char data_dir[HF_PATH_LEN]; /* absolute after loading */
    hf_network network;
    bool has_network;        /* always true after loading */
    bool network_is_default; /* nothing named one: network is then mainnet */
    bool network_is_partial; /* only its root is known: enough for the record, not for signing */

    char listen_address[64];
    uint16_t listen_port;
    uint32_t request_timeout_ms;
    uint32_t max_connections;
    uint32_t max_body_bytes;
    uint32_t fronts;               /* server.fronts: front processes, default 2 */
    uint32_t sign_threads;         /* server.sign_threads: 0 for one a core */
    uint32_t max_in_flight;        /* server.max_in_flight */
    uint32_t idle_timeout_seconds; /* server.idle_timeout_seconds, default 120, at least 75 */
    uint32_t max_keys;
    char tls_cert[HF_PATH_LEN];
    char tls_key[HF_PATH_LEN];
    char tls_client_ca[HF_PATH_LEN];
    char tls_known_clients[HF_PATH_LEN];
    uint32_t tls_reload_interval_seconds;

    bool metrics_enabled;
    char metrics_address[64];
    uint16_t metrics_port;

    hf_key_source key_sources[HF_KEY_SOURCES_MAX];
    uint32_t key_source_count;
    hf_custody_source custodies[HF_CUSTODIES_MAX]; /* those among them with a process each */
    uint32_t custody_count;
    bool require_all_keys;
    bool key_manager_enabled;                 /* key_manager.enabled, default true */
    char key_manager_token_file[HF_PATH_LEN]; /* default DATA_DIR/key-manager-token */
    uint8_t auth_mode;                        /* hf_auth_mode */
    char token_key_file[HF_PATH_LEN];         /* default DATA_DIR/token.key */

    /* duty_protection; node_id "" when there is none. May hold a password. */
    hf_duty_config duties;
    char duty_url_file[HF_PATH_LEN]; /* read into duties.database_url */

    uint8_t store_backend;            /* hf_store_backend */
    uint8_t guard_mode;               /* hf_guard_mode */
    char store_path[HF_PATH_LEN];     /* SQLITE: absolute */
    char store_url[HF_STORE_URL_LEN]; /* POSTGRES; holds a password when it came from url_file */
    char store_url_file[HF_PATH_LEN]; /* where that came from, or "" */
    bool store_auto_migrate;
    uint32_t store_timeout_ms;            /* of a shared store */
    char store_table[HF_STORE_TABLE_LEN]; /* DYNAMODB and following */
    char store_region[HF_STORE_REGION_LEN];
    char store_endpoint[HF_STORE_ENDPOINT_LEN];
    bool store_create_table;
    uint64_t keep_epochs;
    bool eth1_sign_data; /* read into eth1 */
    hf_eth1_settings eth1;
    /* eth1.downstream; node_timeout_ms is 0 when there is none. The URL may hold a password. */
    char node_url[HF_NODE_URL_LEN];
    char node_url_file[HF_PATH_LEN]; /* read into node_url */
    char node_ca_file[HF_PATH_LEN];
    char node_cert_file[HF_PATH_LEN];
    char node_key_file[HF_PATH_LEN];
    uint32_t node_timeout_ms;
    bool audit_enabled;
    char audit_path[HF_PATH_LEN]; /* absolute */
    uint8_t audit_sync;           /* hf_audit_sync */
    uint64_t audit_rotate_bytes;
    char audit_sinks[HF_AUDIT_SINKS_LEN];
    hf_audit_settings audit;          /* all of it, as the keeper gets it; path "" when it is off */
    char canary_command[HF_PATH_LEN]; /* canary_command; "" for none */
    hf_hardening_config hardening;
    hf_log_config log;
} hf_config;

/* What the command line says; NULL where it says nothing. Flags of `serve` and of most commands. */
typedef struct hf_config_flags {
    const char *file; /* -c */
    const char *keystore_dir;
    const char *password_file;
    const char *data_dir;
    const char *listen;         /* ADDR:PORT */
    const char *metrics_listen; /* ADDR:PORT */
    const char *network;
    const char *log_format;
    const char *database_url; /* either makes the back end postgres */
    const char *database_url_file;
    const char *genesis_validators_root; /* makes an unnamed network where none is configured */
} hf_config_flags;

/*
 * Loads and checks. Everything wrong is an error that names file, line, key and remedy (USAGE); an
 * unknown key is wrong, so is a world-readable secret and a listener beyond loopback without
 * client certificates. getenv is read once, here.
 */
hf_status hf_config_load(const hf_config_flags *flags, hf_config *ret_config,
                         hf_error *err) HF_MUST_CHECK;

/* What the same sources say about who may sign what: policies, limits, canary keys, tags. The
 * caller frees *ret_book. */
hf_status hf_config_load_book(const hf_config_flags *flags, hf_config *ret_config,
                              hf_book **ret_book, hf_error *err) HF_MUST_CHECK;
/* A file of policies alone, YAML or JSON: policies: {NAME: [RULE...]}, or one with name and rules.
 */
hf_status hf_config_policy_file(const char *path, hf_book **ret_book, hf_error *err) HF_MUST_CHECK;

/* `holdfast check --show`: every key, its value, and where that came from; secrets hidden. */
hf_status hf_config_show(const hf_config_flags *flags, hf_buf *out, hf_error *err) HF_MUST_CHECK;

/* `holdfast check --keys`: every key of this version with type, default, variable and sentence. */
hf_status hf_config_describe(hf_buf *out, hf_error *err) HF_MUST_CHECK;

/* A network by name (eth.h), or from a YAML file in either Holdfast's or a consensus client's
 * spelling (GENESIS_FORK_VERSION, DENEB_FORK_EPOCH, ...). */
hf_status hf_config_network(const char *name_or_path, hf_network *ret_network,
                            hf_error *err) HF_MUST_CHECK;

#endif
