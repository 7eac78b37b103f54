/*
 * Keys kept as secrets by AWS Secrets Manager. All of them are given away: sign, wrap and unwrap
 * are USAGE. The version with the stage AWSCURRENT counts.
 *
 * A secret holds one key or many: one a line as Web3Signer reads them, a JSON array of them, or a
 * JSON object with one (or an array) a member; each 64 hex digits, 0x before them or not. A binary
 * secret is such a text, or the 32 bytes of one key.
 *
 * Secrets are named, or found by the beginning of their names and by their tags. Reading them goes
 * twenty a request, many requests at once (BatchGetSecretValue); where the role may not, or the
 * service does not know that, one a request.
 */
#ifndef HF_CUSTODY_AWS_SECRETS_H
#define HF_CUSTODY_AWS_SECRETS_H

#include "custody/aws_service.h"
#include "custody/hsm.h"

#define HF_AWS_SECRET_NAME_LEN 512 /* a name has at most 512 characters, most far fewer */
#define HF_AWS_SECRET_TAG_LEN 257
#define HF_AWS_SECRET_NAMES_MAX 200
#define HF_AWS_SECRET_FILTERS_MAX 10 /* values of a filter that ListSecrets takes */

/* Names, secrets, or any of the filters; with none of them USAGE. */
typedef struct hf_aws_secrets_config {
    hf_aws_place place;
    char names[HF_AWS_SECRET_NAMES_MAX][HF_AWS_SECRET_NAME_LEN]; /* or ARNs */
    size_t name_count;
    const hf_secret_ref *secrets; /* and these; borrowed until close */
    size_t secret_count;
    char prefixes[HF_AWS_SECRET_FILTERS_MAX][HF_AWS_SECRET_NAME_LEN];
    size_t prefix_count;
    char tag_keys[HF_AWS_SECRET_FILTERS_MAX][HF_AWS_SECRET_TAG_LEN];
    size_t tag_key_count;
    char tag_values[HF_AWS_SECRET_FILTERS_MAX][HF_AWS_SECRET_TAG_LEN];
    size_t tag_value_count;
    hf_custody_type key_type; /* of all of them: BLS, SECP256K1 or ED25519 */
} hf_aws_secrets_config;

/* Checks the configuration (USAGE); asks nobody yet. */
hf_status hf_custody_aws_secrets_open(const hf_aws_secrets_config *config, hf_custody **ret_custody,
                                      hf_error *err) HF_MUST_CHECK;

/* ---- what is in a secret (aws_secrets_value.c) ---------------------------------------------- */

#define HF_AWS_SECRET_KEYS_MAX 1024 /* in one secret of at most 64 KiB */

/* One call for each key; its secret is borrowed. where: "line 3", "member alice". A failure ends
 * the reading and is returned. */
typedef hf_status (*hf_aws_secret_taker)(void *context, const char *where,
                                         const uint8_t secret[HF_CUSTODY_SECRET_BYTES],
                                         hf_error *err);
/* One that is no key; the others go on. */
typedef void (*hf_aws_secret_refuser)(void *context, const char *where, const char *why);

/* INVALID_INPUT when there is nothing that could be a key. No error shows what the secret holds. */
hf_status hf_aws_secret_read(hf_bytes text, hf_aws_secret_taker take, hf_aws_secret_refuser refuse,
                             void *context, hf_error *err) HF_MUST_CHECK;

#endif
