/*
 * Keys in AWS KMS. BLS and Ed25519 keys, which have to be here to sign, are kept as files that
 * only KMS can open: a data key of KMS's seals each (docs/aws.md has the format). secp256k1,
 * P-256 and Ed25519 keys of KMS's own sign there. Short secrets are wrapped by KMS itself.
 *
 * Each file has its own data key, bound by KMS to an encryption context: network, key, purpose, and
 * what else the configuration says. So each key costs one Decrypt at each load; data keys are not
 * kept, for what they open is in the keeper's locked memory already.
 */
#ifndef HF_CUSTODY_AWSKMS_H
#define HF_CUSTODY_AWSKMS_H

#include "custody/aws_service.h"
#include "custody/hsm.h"

#define HF_AWSKMS_SUFFIX ".kms"
#define HF_AWSKMS_ID_LEN 256 /* an ARN, a key id, alias/NAME */
#define HF_AWSKMS_NAME_LEN 64
#define HF_AWSKMS_VALUE_LEN 200
#define HF_AWSKMS_PAIRS_MAX 8 /* beside network, key and purpose */
#define HF_AWSKMS_SIGN_KEYS_MAX 64

/* Printable ASCII. */
typedef struct hf_awskms_pair {
    char name[HF_AWSKMS_NAME_LEN];
    char value[HF_AWSKMS_VALUE_LEN];
} hf_awskms_pair;

typedef struct hf_awskms_config {
    hf_aws_place place;
    char blob_dir[HF_PATH_LEN];        /* NAME.kms in it; "": no such keys */
    char key_id[HF_AWSKMS_ID_LEN];     /* the key in KMS that opens them: pinned */
    char network[HF_AWSKMS_VALUE_LEN]; /* of the context: a name, or the genesis root as 0x... */
    hf_awskms_pair pairs[HF_AWSKMS_PAIRS_MAX]; /* further ones of the context */
    size_t pair_count;
    char sign_key_ids[HF_AWSKMS_SIGN_KEYS_MAX][HF_AWSKMS_ID_LEN]; /* keys that sign in KMS */
    size_t sign_key_count;
} hf_awskms_config;

/* Checks the configuration (USAGE); asks nobody yet. */
hf_status hf_custody_awskms_open(const hf_awskms_config *config, hf_custody **ret_custody,
                                 hf_error *err) HF_MUST_CHECK;

/* ---- for the command line ------------------------------------------------------------------- */

/* A key to be kept in blob_dir, and what came of it. */
typedef struct hf_awskms_wrapping {
    hf_custody_type type;                      /* not P256 */
    const uint8_t *secret;                     /* HF_CUSTODY_SECRET_BYTES, big endian; borrowed */
    uint8_t public_key[HF_CUSTODY_PUBLIC_MAX]; /* out */
    uint32_t public_len;                       /* out; 0 for a secret that is no key */
    hf_status status;                          /* out; CONFLICT: the file is there already */
    hf_error err;                              /* out; names the file */
    char path[HF_PATH_LEN];                    /* out: BLOB_DIR/0xPUBKEY.kms */
} hf_awskms_wrapping;

/*
 * Asks KMS for a data key for each, seals, opens what was sealed by KMS again and only then writes
 * the file: all or nothing each. Never writes over a file.
 */
void hf_awskms_wrap_files(hf_custody *custody, hf_awskms_wrapping *keys, size_t n,
                          uint64_t deadline_ns);
/* Whose key a file of blob_dir says it is; not to be believed before KMS opened it. */
hf_status hf_awskms_name_file(const char *path, hf_custody_type *ret_type,
                              uint8_t ret_public[HF_CUSTODY_PUBLIC_MAX], uint32_t *ret_len,
                              hf_error *err) HF_MUST_CHECK;
/* Makes a key of this type in KMS that never leaves it (CreateKey; not BLS). Its ARN. */
hf_status hf_awskms_create_key(hf_custody *custody, hf_custody_type type, const char *description,
                               uint64_t deadline_ns, char ret_arn[HF_AWSKMS_ID_LEN],
                               hf_error *err) HF_MUST_CHECK;

#endif
