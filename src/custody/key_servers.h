/*
 * Key files of Web3Signer that name a secret of a server instead of a key, as a back end of
 * custody: hashicorp (HashiCorp Vault), azure-secret (Azure Key Vault), aws-secret (AWS Secrets
 * Manager). All keys are given away: sign, wrap and unwrap are USAGE.
 *
 * Each list reads the folder again. Documents that name the same server with the same credentials
 * go to it together, in its own batches; a connection, its token and its credentials last for one
 * list. A document that cannot be served fails by the name of its file, without stopping the rest;
 * a server that is away fails the list, after the other servers had their turn. Documents of keys
 * in files, and what is no key file at all, are the loader's.
 *
 * A file with a token or secret in it has to be private.
 */
#ifndef HF_CUSTODY_KEY_SERVERS_H
#define HF_CUSTODY_KEY_SERVERS_H

#include "custody/hsm.h"

typedef struct hf_key_servers_config {
    char config_dir[HF_PATH_LEN];
    char azure_url[HF_PATH_LEN]; /* "": Azure's own; else what stands for all of it, in tests */
} hf_key_servers_config;

/* Reads nothing yet. */
hf_status hf_custody_key_servers_open(const hf_key_servers_config *config, hf_custody **ret_custody,
                                      hf_error *err) HF_MUST_CHECK;
/* From the settings of the configuration: config_dir. */
hf_status hf_custody_key_servers_start(const hf_custody_settings *settings,
                                       hf_custody **ret_custody, hf_error *err) HF_MUST_CHECK;

#endif
