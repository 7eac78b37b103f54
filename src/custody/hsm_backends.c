/* The table of back ends: how each is opened from what the configuration says. */
#include "custody/aws_settings.h"
#include "custody/hsm_internal.h"
#include "custody/key_servers.h"

/* A line for each; the function reads the settings by their names in the configuration. */
static const hf_custody_kind kinds[] = {
    {HF_BACKEND_VAULT, hf_hsm_open_vault, false, false},
    {HF_BACKEND_AZURE_KEY_VAULT, hf_hsm_open_azure, false, false},
    {HF_BACKEND_GCP_SECRET_MANAGER, hf_hsm_open_gcp, false, false},
    {HF_BACKEND_PKCS11, hf_hsm_open_pkcs11, true, false},
    {HF_BACKEND_AWS_CLOUDHSM, hf_hsm_open_cloudhsm, true, true},
    {HF_BACKEND_AWS_KMS, hf_custody_awskms_start, false, true},
    {HF_BACKEND_AWS_SECRETS_MANAGER, hf_custody_aws_secrets_start, false, true},
    {HF_BACKEND_YUBIHSM, hf_hsm_open_yubihsm, false, false},
    {HF_BACKEND_YUBIHSM, hf_hsm_open_yubihsm_module, true, false},
    {HF_BACKEND_WEB3SIGNER, hf_custody_key_servers_start, false, true},
    {HF_BACKEND_COUNT, NULL, false, false}, /* the end */
};

const hf_custody_kind *hf_custody_kind_find(uint32_t backend, bool has_module)
{
    for (size_t i = 0; kinds[i].open != NULL; i++) {
        /* The one back end that speaks to its device by itself or by the vendor's module. */
        bool is_meant = backend != HF_BACKEND_YUBIHSM || kinds[i].loads_module == has_module;
        if (kinds[i].backend == backend && is_meant) {
            return &kinds[i];
        }
    }
    return NULL;
}
