/*
 * YubiHSM 2 spoken to natively, by its connector's HTTP: keys of secp256k1, P-256 and Ed25519 stay
 * inside and sign there; a secret is wrapped under a wrap key of the device (AES-CCM), which is
 * named by its label or, as "id=" and a number, by its place. What is wrapped is SHA-256(context)
 * and the secret, since the device's command has no place for a context.
 *
 * The authentication key's two AES keys come from its password. A wrong password is tried once:
 * until the file changes nothing more is sent, so that the device locks nobody out. A session that
 * the device dropped is opened anew with the next call.
 */
#ifndef HF_CUSTODY_YUBIHSM_H
#define HF_CUSTODY_YUBIHSM_H

#include "custody/hsm.h"

#define HF_YUBIHSM_URL_LEN 512
#define HF_YUBIHSM_LABEL_LEN 41
#define HF_YUBIHSM_LABELS_MAX 64

typedef struct hf_yubihsm_config {
    char connector_url[HF_YUBIHSM_URL_LEN]; /* http to this machine, or https */
    char ca_file[HF_PATH_LEN];
    uint16_t auth_key_id;
    char auth_key_password_file[HF_PATH_LEN];
    uint16_t domains; /* bits; 0: keys of all domains that the authentication key sees */
    char labels[HF_YUBIHSM_LABELS_MAX][HF_YUBIHSM_LABEL_LEN]; /* only keys of these labels */
    uint32_t label_count;                                     /* 0: of any */
    char blob_dir[HF_PATH_LEN];         /* BLS keys wrapped by wrap (wrapped_key.h); "" for none */
    char wrap_key[HF_CUSTODY_NAME_LEN]; /* the only key that unwraps blob_dir; "": as each says */
} hf_yubihsm_config;

/* Checks the configuration (USAGE, DENIED); speaks to no device yet. */
hf_status hf_custody_yubihsm_open(const hf_yubihsm_config *config, hf_custody **ret_custody,
                                  hf_error *err) HF_MUST_CHECK;

#endif
