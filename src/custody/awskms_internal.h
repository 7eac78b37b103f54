/* The parts of the back end for AWS KMS. */
#ifndef HF_AWSKMS_INTERNAL_H
#define HF_AWSKMS_INTERNAL_H

#include <openssl/evp.h>
#include <pthread.h>

#include "crypto/crypto.h"
#include "custody/awskms.h"

/* ---- the encryption context (awskms_context.c) ---------------------------------------------- */

#define HF_KMS_PAIRS_MAX (HF_AWSKMS_PAIRS_MAX + 3)

/* Sorted by name, no name twice. */
typedef struct hf_kms_context {
    hf_awskms_pair pairs[HF_KMS_PAIRS_MAX];
    size_t count;
} hf_kms_context;

/* USAGE, naming the pair: a name that is there already, or one that is not printable. */
hf_status hf_kms_context_add(hf_kms_context *context, const char *name, const char *value,
                             hf_error *err) HF_MUST_CHECK;
/* What the file of this key must have been wrapped with. */
hf_status hf_kms_context_of(const hf_awskms_config *config, hf_custody_type type,
                            hf_bytes public_key, hf_kms_context *ret_context,
                            hf_error *err) HF_MUST_CHECK;
/* DENIED, naming what differs. */
hf_status hf_kms_context_check(const hf_kms_context *found, const hf_kms_context *expected,
                               hf_error *err) HF_MUST_CHECK;
json_t *hf_kms_context_to_json(const hf_kms_context *context); /* NULL when memory is short */

/* Are both ARNs of one key? Replicas of a multi-region key are. */
bool hf_kms_is_same_key(const char *arn, const char *other_arn);
/* Can this be the ARN of the key that key_id names? True for an alias, which only KMS knows. */
bool hf_kms_key_fits(const char *key_id, const char *arn);

/* ---- the file (awskms_blob.c) --------------------------------------------------------------- */

#define HF_KMS_CIPHERTEXT_MAX 6144 /* what Decrypt takes */
#define HF_KMS_BLOB_MAX_BYTES 16384
#define HF_KMS_SEALED_BYTES (HF_CUSTODY_SECRET_BYTES + HF_AES_GCM_TAG_BYTES)

/* A file, taken apart; what is in it is not to be believed before it was opened. */
typedef struct hf_kms_blob {
    hf_custody_type type;
    uint8_t public_key[HF_CUSTODY_PUBLIC_MAX];
    uint32_t public_len;
    char key_arn[HF_AWSKMS_ID_LEN];
    hf_kms_context context;
    hf_bytes ciphertext; /* the data key; borrowed from the file */
    hf_bytes bound;      /* everything before the nonce */
    const uint8_t *nonce;
    const uint8_t *sealed;
} hf_kms_blob;

/* INVALID_INPUT: says what is wrong. */
hf_status hf_kms_blob_parse(hf_bytes file, hf_kms_blob *ret_blob, hf_error *err) HF_MUST_CHECK;
/* The secret of the file, which belongs to its public key; CORRUPT otherwise. */
hf_status hf_kms_blob_open(const hf_kms_blob *blob, const uint8_t data_key[HF_AES_GCM_KEY_BYTES],
                           uint8_t ret_secret[HF_CUSTODY_SECRET_BYTES],
                           hf_error *err) HF_MUST_CHECK;
/* Writes the file; of blob, ciphertext is read and bound, nonce and sealed are not. */
hf_status hf_kms_blob_make(const hf_kms_blob *blob, const uint8_t data_key[HF_AES_GCM_KEY_BYTES],
                           const uint8_t secret[HF_CUSTODY_SECRET_BYTES], hf_buf **ret_file,
                           hf_error *err) HF_MUST_CHECK;

/* CRYPTO when the secret is no key of the type. */
hf_status hf_custody_public_of(hf_custody_type type, const uint8_t secret[HF_CUSTODY_SECRET_BYTES],
                               uint8_t ret_public[HF_CUSTODY_PUBLIC_MAX],
                               uint32_t *ret_len) HF_MUST_CHECK;

/* ---- keys that sign in KMS (awskms_sign.c) -------------------------------------------------- */

typedef struct hf_kms_sign_key {
    bool known; /* GetPublicKey has answered; it never changes afterwards */
    hf_custody_type type;
    char arn[HF_AWSKMS_ID_LEN];
    uint64_t handle;
    EVP_PKEY *public;
    uint8_t public_key[HF_CUSTODY_PUBLIC_MAX];
    uint32_t public_len;
} hf_kms_sign_key;

/* Reads what GetPublicKey answers. USAGE for a key of another kind. */
hf_status hf_kms_read_public(const json_t *answer, hf_kms_sign_key *ret_key,
                             hf_error *err) HF_MUST_CHECK;
/* A signature as KMS gives it, as r || s (or Ed25519's own); CRYPTO unless it is of this message.
 */
hf_status hf_kms_read_signature(const hf_kms_sign_key *key, hf_bytes message, hf_bytes signature,
                                uint8_t ret_signature[HF_CUSTODY_SIGNATURE_BYTES],
                                hf_error *err) HF_MUST_CHECK;

/* ---- all of it ------------------------------------------------------------------------------ */

typedef struct hf_awskms {
    hf_custody custody; /* first */
    hf_awskms_config config;
    hf_aws_service *service;
    pthread_mutex_t lock; /* of the keys below */
    hf_kms_sign_key sign_keys[HF_AWSKMS_SIGN_KEYS_MAX];
    uint64_t probed_ns; /* is_healthy alone */
} hf_awskms;

/* Each .kms file of the folder (awskms_files.c). */
hf_status hf_kms_list_files(hf_awskms *kms, const hf_custody_visitor *visitor, uint64_t deadline_ns,
                            hf_error *err) HF_MUST_CHECK;
/* The body of a Decrypt, and what it answered: the data key of a blob. */
json_t *hf_kms_decrypt_body(const hf_awskms *kms, const hf_kms_blob *blob);
hf_status hf_kms_take_data_key(const hf_kms_blob *blob, const json_t *answer,
                               uint8_t ret_data_key[HF_AES_GCM_KEY_BYTES],
                               hf_error *err) HF_MUST_CHECK;

#endif
