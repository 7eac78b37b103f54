/*
 * Keys kept as secrets by HashiCorp Vault or OpenBao, in a KV store of version 2 or 1. All of them
 * are given away: sign, wrap and unwrap are USAGE.
 *
 * path names one secret or a folder of secrets, with or without /v1/ before it and with or without
 * the data/ that version 2 has behind the mount. A secret holds one key or many: each of its
 * fields (or field alone) with one key a line, 64 hex digits. A field keyType or key_type in it
 * says BLS or SECP256K1 for the whole secret.
 *
 * A token is renewed by a thread of its own at two thirds of its life, and a login makes the next
 * one before the old one ends. Nothing has to be there when it is opened: list tries anew.
 */
#ifndef HF_CUSTODY_VAULT_H
#define HF_CUSTODY_VAULT_H

#include "custody/hsm.h"

#define HF_VAULT_TEXT_LEN 256
#define HF_VAULT_URL_LEN 512

typedef enum hf_vault_auth {
    HF_VAULT_AUTH_TOKEN = 0,  /* token_file; read anew when its token is refused */
    HF_VAULT_AUTH_APPROLE,    /* role_id or role_id_file, secret_id_file, secret_id_wrapping_path */
    HF_VAULT_AUTH_KUBERNETES, /* role, jwt_file */
    HF_VAULT_AUTH_COUNT
} hf_vault_auth;

/* Empty: not given. Files of secrets must be private; they are read at each login. */
typedef struct hf_vault_config {
    char address[HF_VAULT_URL_LEN]; /* https://host:8200; http to this machine only */
    char vault_namespace[HF_VAULT_TEXT_LEN];
    char path[HF_PATH_LEN];        /* "secret/validators" or "secret/validators/" */
    char mount[HF_VAULT_TEXT_LEN]; /* empty: asked, or the first part of path */
    /* In place of path: secrets of KV version 2 by their paths in the API ("/v1/secret/data/a").
     * Borrowed until close. */
    const hf_secret_ref *secrets;
    size_t secret_count;
    uint32_t kv_version;           /* 0: asked */
    char field[HF_VAULT_TEXT_LEN]; /* the one field that holds keys; empty: all that do */
    hf_custody_type key_type;      /* of secrets that do not say: BLS or SECP256K1 */
    char ca_file[HF_PATH_LEN];
    bool has_known_certificate;
    uint8_t known_certificate[32]; /* SHA-256; trusted beside the authorities */
    char client_cert_file[HF_PATH_LEN];
    char client_key_file[HF_PATH_LEN];
    hf_vault_auth auth;
    char auth_mount[HF_VAULT_TEXT_LEN]; /* empty: approle, kubernetes */
    char token_file[HF_PATH_LEN];
    char token[HF_PATH_LEN]; /* itself, in place of token_file: used as it is, never renewed */
    char role_id[HF_VAULT_TEXT_LEN];
    char role_id_file[HF_PATH_LEN];
    char secret_id_file[HF_PATH_LEN];
    /* secret_id_file holds a wrapping token, made by a call of exactly this path
     * ("auth/approle/role/NAME/secret-id"); anything else is refused before it is unwrapped. */
    char secret_id_wrapping_path[HF_VAULT_URL_LEN];
    char role[HF_VAULT_TEXT_LEN];
    char jwt_file[HF_PATH_LEN]; /* empty: the service account's usual place */
} hf_vault_config;

/* Checks the configuration (USAGE, DENIED); asks nobody yet. */
hf_status hf_custody_vault_open(const hf_vault_config *config, hf_custody **ret_custody,
                                hf_error *err) HF_MUST_CHECK;

#endif
