/*
 * The parts of holdfast-hsm, the process of one back end of custody. Who writes a back end adds a
 * line to the table in hsm_backends.c, its files to meson.build, and knows nothing of the rest.
 */
#ifndef HF_CUSTODY_HSM_INTERNAL_H
#define HF_CUSTODY_HSM_INTERNAL_H

#include "custody/hsm.h"
#include "harden/harden.h"

/* ---- hsm_backends.c: which back ends there are ------------------------------------------------
 */

typedef hf_status (*hf_custody_opener)(const hf_custody_settings *settings, hf_custody **ret,
                                       hf_error *err);

typedef struct hf_custody_kind {
    uint32_t backend; /* hf_key_backend */
    /* From the settings of the configuration. USAGE: they can never work. UNAVAILABLE: not now;
     * asked again later. */
    hf_custody_opener open;
    bool loads_module; /* foreign code: HF_SANDBOX_MODULE instead of HF_SANDBOX_STORE */
    bool knows_aws;    /* reads AWS's variables and files */
} hf_custody_kind;

/* ---- hsm_open_secrets.c */
hf_status hf_hsm_open_vault(const hf_custody_settings *settings, hf_custody **ret_custody,
                            hf_error *err) HF_MUST_CHECK;
hf_status hf_hsm_open_azure(const hf_custody_settings *settings, hf_custody **ret_custody,
                            hf_error *err) HF_MUST_CHECK;
hf_status hf_hsm_open_gcp(const hf_custody_settings *settings, hf_custody **ret_custody,
                          hf_error *err) HF_MUST_CHECK;

hf_status hf_hsm_open_yubihsm(const hf_custody_settings *settings, hf_custody **ret_custody,
                              hf_error *err) HF_MUST_CHECK;

/* NULL when this build has no such back end. has_module: the settings name one. */
const hf_custody_kind *hf_custody_kind_find(uint32_t backend, bool has_module);

/* hsm_pkcs11.c */
hf_status hf_hsm_open_pkcs11(const hf_custody_settings *settings, hf_custody **ret, hf_error *err);
hf_status hf_hsm_open_cloudhsm(const hf_custody_settings *settings, hf_custody **ret,
                               hf_error *err);
/* A YubiHSM through its vendor's module: the PIN is the authentication key's number and its
 * password. */
hf_status hf_hsm_open_yubihsm_module(const hf_custody_settings *settings, hf_custody **ret,
                                     hf_error *err);

/* ---- hsm_reach.c: the files that it takes -----------------------------------------------------
 */

#define HF_CUSTODY_PATHS_MAX 64
typedef struct hf_custody_reach {
    size_t count;
    hf_harden_path paths[HF_CUSTODY_PATHS_MAX];
    char named[HF_CUSTODY_PATHS_MAX][HF_PATH_LEN];
} hf_custody_reach;

/*
 * Name resolution and authorities; each file and folder that a setting names, and the folder of
 * those called *_file, which are replaced by renaming; token_dir to be written in. With a module
 * what programs of this machine may read, and devices.
 */
void hf_custody_reach_find(const hf_custody_kind *kind, const hf_custody_settings *settings,
                           hf_custody_reach *ret_reach);

/* ---- hsm_serve.c ------------------------------------------------------------------------------
 */

typedef struct hf_hsm_plan {
    int keys_fd; /* HF_CHANNEL_CUSTODY_KEYS; both do not block */
    int sign_fd; /* HF_CHANNEL_CUSTODY */
    int control_fd;
    hf_custody_opener open;
    const hf_custody_settings *settings;
    const hf_harden_report *report;
    uint32_t threads; /* 0 for the default */
    uint32_t timeout_ms;
    bool lists;
} hf_hsm_plan;

/*
 * Serves until the keeper's end or the supervisor's is closed, or the supervisor says stop. False:
 * a thread is stuck in the back end, and the process has to end without it.
 */
bool hf_hsm_serve(const hf_hsm_plan *plan);

#endif
