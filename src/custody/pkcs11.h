/*
 * Keys in a token behind PKCS#11 (version 2.40, and Ed25519 from 3.0): a hardware module, AWS
 * CloudHSM, SoftHSM2. Private keys of secp256k1, P-256 and Ed25519 stay inside and sign there. BLS
 * keys, which no token signs with, lie in files of blob_dir (wrapped_key.h), each wrapped under a
 * key-encryption key inside.
 *
 * The module is foreign code, loaded into this process: it must hold nothing else. It is
 * initialized for several threads; each call has a session of its own for its duration. The token
 * is connected with the first call, and again with a later one after it was away. A PIN is tried
 * once: when the token refused it, nothing is tried again until the PIN's file was replaced or
 * touched, and none is tried where the token says that only one try is left.
 */
#ifndef HF_CUSTODY_PKCS11_H
#define HF_CUSTODY_PKCS11_H

#include "custody/hsm.h"

#define HF_PKCS11_LABEL_LEN 33  /* NUL-terminated; tokens pad with blanks */
#define HF_PKCS11_SERIAL_LEN 17 /* the same */
#define HF_PKCS11_TEXT_LEN 256

#define HF_PKCS11_KEYS_MAX 64 /* that are named one by one */

typedef struct hf_pkcs11_config {
    char module[HF_PATH_LEN];           /* absolute */
    char init_args[HF_PKCS11_TEXT_LEN]; /* given to C_Initialize, as some modules want; "": none */
    /* Which token, by what is set; with nothing, the only one there is. */
    char token_label[HF_PKCS11_LABEL_LEN];
    char token_serial[HF_PKCS11_SERIAL_LEN];
    bool has_slot;
    uint64_t slot;
    char pin_file[HF_PATH_LEN]; /* one line; "" for a token that asks for it by itself */
    char pin_prefix[16];        /* what the PIN begins with, before what the file has */
    /* Only signing keys of these CKA_LABELs or, as "id=" and hex digits, CKA_IDs; none: all. */
    char keys[HF_PKCS11_KEYS_MAX][HF_PKCS11_TEXT_LEN];
    size_t key_count;
    char blob_dir[HF_PATH_LEN];        /* wrapped BLS keys; "" for none */
    char wrap_key[HF_PKCS11_TEXT_LEN]; /* the only key that unwraps blob_dir; "": as each says */
    bool token_makes_iv;               /* the token writes AES-GCM's IV, as AWS CloudHSM does */
} hf_pkcs11_config;

/*
 * AWS CloudHSM: the module of its client SDK 5 unless one is set, IVs made by the module's side,
 * and the cluster that the SDK is configured for: cluster_id must stand in the SDK's configuration
 * (sdk_config; "" for its usual place), so that no other cluster's keys are used by mistake; "" is
 * not checked. The pin_file holds "user:password" of a crypto user. USAGE, NOT_FOUND.
 */
hf_status hf_pkcs11_config_cloudhsm(hf_pkcs11_config *config, const char *cluster_id,
                                    const char *sdk_config, hf_error *err) HF_MUST_CHECK;

/*
 * Checks the configuration and loads the module (USAGE, DENIED for a PIN others can read); asks the
 * token nothing yet.
 */
hf_status hf_custody_pkcs11_open(const hf_pkcs11_config *config, hf_custody **ret_custody,
                                 hf_error *err) HF_MUST_CHECK;

/*
 * A new pair inside, not extractable, with this label and a CKA_ID derived from the public key, in
 * place of an op of its own because other back ends make keys by their own tools. CONFLICT when
 * there is one of that label. BLS: a new AES-256 key-encryption key is made by the next function.
 */
hf_status hf_custody_pkcs11_generate(hf_custody *custody, hf_custody_type type, const char *label,
                                     uint64_t deadline_ns, hf_custody_key *ret_key,
                                     hf_error *err) HF_MUST_CHECK;
/* A new AES-256 key that wraps, not extractable. CONFLICT when there is one of that label. */
hf_status hf_custody_pkcs11_generate_wrap_key(hf_custody *custody, const char *label,
                                              uint64_t deadline_ns, hf_error *err) HF_MUST_CHECK;

#endif
