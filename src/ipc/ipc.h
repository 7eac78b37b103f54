/*
 * ipc: the frames between Holdfast's processes. One schema, versioned, fixed size per type.
 *
 * A channel is an AF_UNIX SOCK_SEQPACKET socketpair: one send is one frame. Frames are plain C
 * structures of one machine and one build, without padding (checked when compiled). A receiver
 * accepts a frame only when magic, version, type and exact size agree and the type may travel on
 * that channel in that direction (frames.c has the table); everything inside is then still the
 * word of whoever wrote it, and each handler checks it as if an attacker had.
 *
 * Start contract of a child: descriptor 3 is its control channel to the supervisor, whose first
 * frame is its configuration; further descriptors are listed with that frame below.
 */
#ifndef HF_IPC_H
#define HF_IPC_H

#include "auth/auth.h"
#include "aztec/aztec.h"
#include "base/base.h"
#include "eth/eth.h"
#include "eth1/eth1.h"
#include "policy/policy.h"
#include "protect/protect.h"
#include "seal/seal.h"

#define HF_IPC_MAGIC 0x48464951U /* "HFIQ" */
#define HF_IPC_VERSION 5
#define HF_IPC_MAX_BYTES 65536

#define HF_FD_CONTROL 3
#define HF_FD_WITNESS 4     /* keeper: the start guard's page in memory, where there is one */
#define HF_FD_KEEPER 4      /* front and loader: channel to the keeper */
#define HF_FD_API 5         /* front: listening socket of the API */
#define HF_FD_METRICS 6     /* front: listening socket of the metrics */
#define HF_FD_STORE_LANES 4 /* store: HF_STORE_LANES channels to the keeper; duty: one */
#define HF_FD_IMPORT 5      /* loader in import mode: the keystore and its password, see below */
#define HF_FD_CUSTODY 4     /* back end of custody: its two channels to the keeper */

#define HF_PATH_LEN 1024
#define HF_DETAIL_LEN 160
#define HF_TOKEN_LEN 80 /* NUL-terminated */
#define HF_SOURCE_ID_LEN 16

#include "ipc/ipc_guard.h"
#include "ipc/ipc_reason.h"

/* ---- frames ---------------------------------------------------------------------------------- */

#include "ipc/ipc_types.h"

typedef struct hf_frame_header {
    uint32_t magic;
    uint16_t version;
    uint16_t type;       /* hf_msg_type */
    uint64_t request_id; /* chosen by the asker, returned by the answerer */
} hf_frame_header;

/* -- configuration of the children -- */

typedef enum hf_requirement {
    HF_PROTECT_OFF = 0,
    HF_PROTECT_PREFER,
    HF_PROTECT_REQUIRE
} hf_requirement;

typedef struct hf_hardening_config {
    uint8_t seccomp; /* hf_requirement each */
    uint8_t landlock;
    uint8_t mlock;
    uint8_t no_dump;
    uint8_t reserved[4];
} hf_hardening_config;

#include "ipc/ipc_audit.h"

typedef struct hf_log_config {
    uint8_t format; /* hf_log_format */
    uint8_t least;  /* hf_log_level */
    uint8_t reserved[6];
} hf_log_config;

typedef enum hf_auth_mode {
    HF_AUTH_NONE = 0, /* the routes that Web3Signer leaves open are open */
    HF_AUTH_TOKENS
} hf_auth_mode;

/* HF_FD_WITNESS where has_witness is set. The keeper answers READY when it may be given channels.
 */
typedef struct hf_msg_keeper_config {
    hf_frame_header header;
    hf_network network;
    hf_hardening_config hardening;
    hf_log_config log;
    char data_dir[HF_PATH_LEN];   /* absolute */
    char store_path[HF_PATH_LEN]; /* absolute; inside data_dir unless configured elsewhere */
    char key_manager_token_path[HF_PATH_LEN]; /* made when absent, mode 0600 */
    char token_key_path[HF_PATH_LEN];         /* the same */
    uint64_t keep_epochs;                     /* 0 keeps all */
    uint32_t sign_threads;                    /* 0: one a core */
    uint32_t max_keys;
    uint32_t max_in_flight;   /* requests under way, all fronts together */
    uint8_t require_all_keys; /* 1: a failed key at the first load ends the keeper */
    uint8_t store_backend;    /* hf_store_backend: store_path counts for SQLITE alone */
    uint8_t auth_mode;        /* hf_auth_mode */
    uint8_t has_sealed_keys;  /* 1: signing_keys has backend sealed */
    uint8_t has_book;         /* 1: POLICY_BOOK follows, and before it nothing is signed */
    uint8_t has_witness;      /* 1: HF_FD_WITNESS is there */
    uint8_t guard_mode;       /* hf_guard_mode */
    uint8_t reserved[1];
    uint32_t sealed_source; /* place of backend sealed in signing_keys; HF_SOURCE_NONE */
    char duty_node_id[HF_DUTY_NODE_ID_LEN]; /* "": no duty protection is configured */
    uint64_t store_timeout_ms;              /* of a shared store */
    uint8_t boot_id[HF_BOOT_ID_BYTES];      /* zeros: not known */
    hf_eth1_settings eth1;
    hf_audit_settings audit;
    uint32_t custody_count;
    uint32_t reserved_custodies;
    struct {
        uint32_t backend; /* hf_key_backend */
        uint32_t source;  /* place in signing_keys; HF_SOURCE_NONE: of the seal */
    } custodies[HF_CUSTODIES_MAX];
} hf_msg_keeper_config;

typedef struct hf_msg_front_config {
    hf_frame_header header;
    hf_network network;
    hf_hardening_config hardening;
    hf_log_config log;
    uint32_t request_timeout_ms;
    uint32_t max_connections; /* of this front */
    uint32_t max_body_bytes;
    uint32_t max_in_flight; /* of this front */
    uint32_t idle_timeout_seconds;
    uint8_t key_manager_enabled; /* 0 or 1 */
    uint8_t has_metrics_listener;
    uint8_t reserved[2];
    /* TLS: empty strings when off; the files are read before the sandbox closes */
    char tls_cert[HF_PATH_LEN];
    char tls_key[HF_PATH_LEN];
    char tls_client_ca[HF_PATH_LEN];
    char tls_known_clients[HF_PATH_LEN];
    hf_eth1_settings eth1;
    uint32_t node_timeout_ms; /* of a call that goes to the node; 0: there is none */
    uint32_t reserved_node;
} hf_msg_front_config;

typedef enum hf_key_backend {
    HF_BACKEND_LOCAL_KEYSTORE = 0,
    HF_BACKEND_WEB3SIGNER,
    HF_BACKEND_IMPORTED, /* through the key manager API: the only removable ones */
    HF_BACKEND_SEALED,   /* records of the store, under the seal's master key */
    /* what holdfast-hsm speaks to (ipc_custody.h) */
    HF_BACKEND_PKCS11,
    HF_BACKEND_YUBIHSM,
    HF_BACKEND_AWS_CLOUDHSM,
    HF_BACKEND_AWS_KMS,
    HF_BACKEND_AWS_SECRETS_MANAGER,
    HF_BACKEND_VAULT,
    HF_BACKEND_AZURE_KEY_VAULT,
    HF_BACKEND_GCP_SECRET_MANAGER,
    HF_BACKEND_COUNT
} hf_key_backend;

/* "local-keystore" and so on, as in the configuration; never NULL. */
const char *hf_key_backend_name(hf_key_backend backend);

typedef struct hf_key_source {
    uint32_t backend; /* hf_key_backend */
    uint32_t place;   /* in signing_keys */
    char dir[HF_PATH_LEN];
    char password_file[HF_PATH_LEN]; /* one of the two, or neither for WEB3SIGNER */
    char password_dir[HF_PATH_LEN];
} hf_key_source;

#define HF_KEY_SOURCES_MAX 16

typedef struct hf_msg_loader_config {
    hf_frame_header header;
    hf_hardening_config hardening;
    hf_log_config log;
    uint8_t is_import; /* 1: HF_FD_IMPORT holds one keystore to be decrypted and kept */
    uint8_t reserved[3];
    uint32_t workers;               /* 0: one a core, fewer when memory is short */
    uint64_t kdf_memory_bytes;      /* 0: half of MemAvailable; shared by all workers */
    char imported_dir[HF_PATH_LEN]; /* DATA_DIR/imported: keystores kept by the key manager API */
    uint32_t source_count;
    uint32_t file_timeout_seconds; /* processor time for one file; 0 for the default */
    hf_key_source sources[HF_KEY_SOURCES_MAX];
} hf_msg_loader_config;

typedef struct hf_msg_new_channel {
    hf_frame_header header; /* request_id: for IMPORT, that of IMPORT_WANTED; for STORE, the lane */
    uint32_t channel;       /* hf_channel */
    uint32_t reserved;
} hf_msg_new_channel;

/* LOAD_WANTED, IMPORT_WANTED, READY, SHUTDOWN, METRICS, IMPORT_COMMIT, ... */
typedef struct hf_msg_plain {
    hf_frame_header header;
} hf_msg_plain;

/*
 * Who asks, as the front saw it: right behind the header of every question that needs a right
 * (hf_frame_caller). The keeper decides what it is worth; from an admin channel it counts for
 * nothing, because the supervisor checked who opened the socket.
 */
#define HF_CALLER_ADDRESS_LEN 16
#define HF_CERTIFICATE_NAME_LEN 64
typedef struct hf_caller {
    char token[HF_TOKEN_LEN];                  /* NUL-terminated; "" where none was shown */
    uint8_t address[HF_CALLER_ADDRESS_LEN];    /* IPv6, or IPv4 mapped into it */
    char certificate[HF_CERTIFICATE_NAME_LEN]; /* common name of its TLS certificate, or "" */
    uint16_t port;
    uint8_t reserved[6];
} hf_caller;

/* STATUS, RELOAD, AUTHORIZE, IMPORT_BEGIN, NODE_CALL, KEY_IMPORT. The descriptor of KEY_IMPORT is a
 * memfd: u32 length and keystore JSON, u32 length and password. */
typedef struct hf_msg_ask {
    hf_frame_header header;
    hf_caller caller;
} hf_msg_ask;

/* -- signing -- */

typedef struct hf_msg_sign {
    hf_frame_header header;
    hf_caller caller;
    uint64_t received_ns; /* CLOCK_MONOTONIC when the front had the whole request */
    uint64_t decoded_ns;  /* and when it was decoded: for histograms only */
    hf_eth_request request;
} hf_msg_sign;

typedef struct hf_msg_sign_reply {
    hf_frame_header header;
    uint32_t reason; /* hf_reason */
    uint32_t reserved;
    uint8_t signature[HF_BLS_SIGNATURE_BYTES];
    char detail[HF_DETAIL_LEN]; /* a sentence for the client; "" for the reason's own */
} hf_msg_sign_reply;

/* A refusal that never reached the keeper; operation HF_OP_COUNT when not known. */
typedef struct hf_msg_count {
    hf_frame_header header;
    uint32_t reason;
    uint32_t operation;
} hf_msg_count;

/* -- results -- */

typedef struct hf_msg_result {
    hf_frame_header header;
    uint32_t reason; /* hf_reason */
    uint32_t reserved;
    uint64_t value; /* by request: rows pruned, export id, hf_key_outcome */
    char detail[HF_DETAIL_LEN];
} hf_msg_result;

typedef enum hf_key_outcome {
    HF_KEY_IMPORTED = 0,
    HF_KEY_DUPLICATE,
    HF_KEY_DELETED,
    HF_KEY_NOT_FOUND,
    HF_KEY_ERROR /* detail says why */
} hf_key_outcome;

/* KEY_DELETE, EXPORT_OPEN (has_pubkey 0: all validators) */
typedef struct hf_msg_pubkey {
    hf_frame_header header;
    hf_caller caller;
    uint8_t has_pubkey;
    uint8_t reserved[7];
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
} hf_msg_pubkey;

/* -- keys and status -- */

#define HF_KEYS_PAGE 256

typedef struct hf_msg_keys {
    hf_frame_header header;
    hf_caller caller;
    uint32_t offset;
    uint32_t scope; /* hf_scope: KEYS_LIST or, else, PUBLIC_KEYS */
} hf_msg_keys;

typedef struct hf_key_entry {
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES];
    uint32_t backend;
    uint32_t source; /* place in signing_keys, or HF_SOURCE_NONE */
    uint8_t removable;
    uint8_t reserved[3];
} hf_key_entry;

typedef struct hf_msg_keys_reply {
    hf_frame_header header;
    uint64_t generation; /* changes with the key set: start over when it changes between pages */
    uint32_t total;
    uint32_t count;
    hf_key_entry keys[HF_KEYS_PAGE];
} hf_msg_keys_reply;

typedef enum hf_protection_state {
    HF_PROTECTION_OFF = 0, /* switched off by configuration */
    HF_PROTECTION_ON,
    HF_PROTECTION_UNAVAILABLE /* preferred, and the machine has none */
} hf_protection_state;

#define HF_PROTECTION_NAME_LEN 24
typedef struct hf_protection {
    char name[HF_PROTECTION_NAME_LEN]; /* "seccomp", "landlock", "mlock", "no_dump", ... */
    uint32_t state;                    /* hf_protection_state */
    char detail[68];
} hf_protection;

#define HF_PROTECTIONS_MAX 16

typedef enum hf_reload_state {
    HF_RELOAD_IDLE = 0, /* none since the start */
    HF_RELOAD_RUNNING,
    HF_RELOAD_COMPLETED,
    HF_RELOAD_COMPLETED_WITH_ERRORS,
    HF_RELOAD_FAILED
} hf_reload_state;

#include "ipc/ipc_custody.h"

#define HF_STATUS_ADDRESSES 64

typedef struct hf_msg_status_reply {
    hf_frame_header header;
    uint64_t started_unix_ms;
    uint32_t keys_loaded;
    uint32_t keys_by_type[HF_KEY_TYPE_COUNT];
    uint32_t keys_by_backend[HF_BACKEND_COUNT];
    uint32_t load_total; /* sources of the load under way, or of the last */
    uint32_t load_done;
    uint32_t load_failed;
    uint8_t loading; /* 0 or 1 */
    uint8_t first_load_done;
    uint8_t store_healthy;
    uint8_t reload_state; /* hf_reload_state */
    uint64_t reload_unix_ms;
    char reload_error[HF_DETAIL_LEN];
    char store_detail[HF_DETAIL_LEN];
    char duty_detail[HF_DETAIL_LEN];
    char network[HF_NETWORK_NAME_LEN];
    hf_watermark high;
    uint32_t protection_count;
    uint8_t duty_configured;
    uint8_t duty_healthy;
    uint8_t store_backend; /* hf_store_backend */
    uint8_t seal_state;    /* 0: no sealed keys are configured; else 1 + hf_seal_state */
    hf_protection protections[HF_PROTECTIONS_MAX];
    uint32_t store_protection_count; /* of the store process */
    uint32_t duty_protection_count;  /* of the process of duties */
    hf_protection store_protections[HF_PROTECTIONS_MAX];
    hf_protection duty_protections[HF_PROTECTIONS_MAX];
    uint32_t address_count; /* the first of the secp256k1 keys */
    uint32_t reserved_addresses;
    uint8_t addresses[HF_STATUS_ADDRESSES][HF_ADDRESS_BYTES];
    hf_audit_state audit;
    hf_guard_report guard;
    uint32_t custody_count;
    uint32_t reserved_custodies;
    hf_custody_report custodies[HF_CUSTODIES_MAX];
} hf_msg_status_reply;

#include "ipc/ipc_auth.h"
#include "ipc/ipc_duty.h"
#include "ipc/ipc_eth1.h"
#include "ipc/ipc_metrics.h"
#include "ipc/ipc_policy.h"
#include "ipc/ipc_relay.h"
#include "ipc/ipc_seal.h"
#include "ipc/ipc_store.h"

/* -- export, import, repair -- */

#define HF_EXPORT_PAGE 64

typedef struct hf_msg_export_read {
    hf_frame_header header;
    uint64_t export_id;
} hf_msg_export_read;

typedef struct hf_msg_export_page {
    hf_frame_header header;
    uint32_t reason;
    uint32_t count;
    uint8_t done; /* 1: the last page */
    uint8_t reserved[7];
    hf_message messages[HF_EXPORT_PAGE];
} hf_msg_export_page;

typedef struct hf_msg_import_add {
    hf_frame_header header;
    uint32_t count;
    uint32_t reserved;
    hf_message messages[HF_EXPORT_PAGE];
} hf_msg_import_add;

typedef struct hf_msg_import_report {
    hf_frame_header header;
    uint32_t reason;
    uint32_t reserved;
    hf_import_report report;
    char detail[HF_DETAIL_LEN];
} hf_msg_import_report;

typedef struct hf_msg_prune {
    hf_frame_header header;
    uint64_t keep_epochs;
} hf_msg_prune;

typedef struct hf_msg_store_status_reply {
    hf_frame_header header;
    uint32_t reason;
    uint32_t reserved;
    hf_store_status status;
    hf_guard_report guard;
} hf_msg_store_status_reply;

/* RAISE_FLOORS; SET_HIGH with both has_ flags 0 removes the high watermark */
typedef struct hf_msg_watermark {
    hf_frame_header header;
    hf_watermark watermark;
} hf_msg_watermark;

#include "ipc/ipc_channel.h"
#include "ipc/ipc_keys.h"

#endif
