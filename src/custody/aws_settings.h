/*
 * The back ends in AWS from the settings of an entry of signing_keys: for holdfast-hsm, and for the
 * command line, which takes the same settings.
 */
#ifndef HF_CUSTODY_AWS_SETTINGS_H
#define HF_CUSTODY_AWS_SETTINGS_H

#include "custody/hsm.h"

/* region, endpoint_url, iam_role, ca_file, blob_dir, key_id, sign_key_ids, encryption_context.NAME:
 * network is needed with blob_dir. USAGE names the setting. */
hf_status hf_custody_awskms_start(const hf_custody_settings *settings, hf_custody **ret_custody,
                                  hf_error *err) HF_MUST_CHECK;
/* region, endpoint_url, iam_role, ca_file, key_type, secret_ids, prefixes, secret_tags.NAME. */
hf_status hf_custody_aws_secrets_start(const hf_custody_settings *settings,
                                       hf_custody **ret_custody, hf_error *err) HF_MUST_CHECK;

#endif
