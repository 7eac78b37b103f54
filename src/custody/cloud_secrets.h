/*
 * Keys kept as secrets by Azure Key Vault and by Google Cloud's Secret Manager: the sources that
 * Web3Signer has beside Vault and AWS. All of them are given away: sign, wrap and unwrap are USAGE.
 * A secret holds one key a line, 64 hex digits.
 */
#ifndef HF_CUSTODY_CLOUD_SECRETS_H
#define HF_CUSTODY_CLOUD_SECRETS_H

#include "custody/hsm.h"

#define HF_CLOUD_TEXT_LEN 256
#define HF_CLOUD_URL_LEN 512

typedef enum hf_azure_auth {
    HF_AZURE_AUTH_CLIENT_SECRET = 0, /* tenant_id, client_id, client_secret_file */
    HF_AZURE_AUTH_MANAGED_IDENTITY,  /* of the machine; client_id for one assigned by a user */
    HF_AZURE_AUTH_WORKLOAD_IDENTITY, /* tenant_id, client_id, federated_token_file */
    HF_AZURE_AUTH_COUNT
} hf_azure_auth;

typedef struct hf_azure_config {
    char vault_url[HF_CLOUD_URL_LEN];    /* https://NAME.vault.azure.net */
    char secret_name[HF_CLOUD_TEXT_LEN]; /* empty: all that are enabled */
    char name_prefix[HF_CLOUD_TEXT_LEN]; /* of all, those that begin so */
    const hf_secret_ref *secrets;        /* these, in place of both; borrowed until close */
    size_t secret_count;
    hf_custody_type key_type;
    hf_azure_auth auth;
    char tenant_id[HF_CLOUD_TEXT_LEN];
    char client_id[HF_CLOUD_TEXT_LEN];
    char client_secret_file[HF_PATH_LEN];
    char client_secret[HF_PATH_LEN]; /* itself, in place of client_secret_file */
    char federated_token_file[HF_PATH_LEN];
    char authority_url[HF_CLOUD_URL_LEN]; /* empty: https://login.microsoftonline.com */
    char metadata_url[HF_CLOUD_URL_LEN];  /* empty: http://169.254.169.254 */
    char ca_file[HF_PATH_LEN];
} hf_azure_config;

hf_status hf_custody_azure_open(const hf_azure_config *config, hf_custody **ret_custody,
                                hf_error *err) HF_MUST_CHECK;

typedef enum hf_gcp_auth {
    HF_GCP_AUTH_METADATA = 0,    /* the machine's service account, GKE's workload identity */
    HF_GCP_AUTH_SERVICE_ACCOUNT, /* credentials_file: a service account's key in JSON */
    HF_GCP_AUTH_COUNT
} hf_gcp_auth;

typedef struct hf_gcp_config {
    char project_id[HF_CLOUD_TEXT_LEN];
    char secret_name[HF_CLOUD_TEXT_LEN]; /* empty: all */
    char filter[HF_CLOUD_TEXT_LEN];      /* of all, those that Google's filter lets through */
    hf_custody_type key_type;
    hf_gcp_auth auth;
    char credentials_file[HF_PATH_LEN];
    char endpoint_url[HF_CLOUD_URL_LEN]; /* empty: https://secretmanager.googleapis.com */
    char metadata_url[HF_CLOUD_URL_LEN]; /* empty: http://metadata.google.internal */
    char ca_file[HF_PATH_LEN];
} hf_gcp_config;

hf_status hf_custody_gcp_open(const hf_gcp_config *config, hf_custody **ret_custody,
                              hf_error *err) HF_MUST_CHECK;

#endif
