/*
 * Keys for the back ends of custody: wrapped into files under a key that a device or a cloud holds,
 * or made there. key_wrap.c has the commands; each back end that can do it a file of its own.
 */
#ifndef HF_CLI_KEY_WRAP_H
#define HF_CLI_KEY_WRAP_H

#include "key_internal.h"

/* A key to be wrapped, and what came of it. */
typedef struct hf_key_wrapping {
    hf_key_type type;
    const uint8_t *secret;               /* 32, big endian; borrowed, in locked memory */
    uint8_t pubkey[HF_BLS_PUBKEY_BYTES]; /* of BLS; for secp256k1 the address, in front */
    hf_status status;                    /* out; CONFLICT: such a file is there already */
    hf_error err;                        /* out; names the file */
    char path[HF_PATH_LEN];              /* out */
} hf_key_wrapping;

/* A key to be made inside. */
typedef struct hf_key_creation {
    const char *type;  /* one of the wrapper's */
    const char *label; /* or NULL */
} hf_key_creation;

#define HF_KEY_CREATED_LEN 512

typedef struct hf_key_wrapper {
    const char *name; /* of the back end */
    /* Names of settings that it takes; those that end with a point have members. NULL ends. */
    const char *const *settings;
    /* Does it in files of the folder that the settings name. A failure is one of all of them. */
    hf_status (*wrap)(const hf_custody_settings *settings, hf_key_wrapping *keys, size_t n,
                      hf_error *err);
    const char *const *types; /* of keys that create makes; NULL ends */
    /* Before configuration or secrets are read, and at the end; NULL: nothing to do then. */
    hf_status (*start)(hf_error *err);
    void (*done)(void);
    /* Makes a key that stays inside; its name there, and what else there is to say of it. */
    hf_status (*create)(const hf_custody_settings *settings, const hf_key_creation *wanted,
                        char ret_name[HF_KEY_CREATED_LEN], hf_error *err);
} hf_key_wrapper;

extern const hf_key_wrapper hf_key_wrapper_awskms;
extern const hf_key_wrapper hf_key_wrapper_pkcs11;
extern const hf_key_wrapper hf_key_wrapper_cloudhsm;
extern const hf_key_wrapper hf_key_wrapper_yubihsm;

int hf_cli_key_wrap(int argc, char **argv);

/* `key generate --backend NAME` of another back end than the sealed store. */
typedef struct hf_key_generation {
    const hf_config_flags *flags;
    const char *backend;
    const hf_cli_list *set;
    const char *type;  /* "bls", or one that the back end makes inside; NULL for the first */
    const char *label; /* of that one */
    uint64_t count;
    bool json;
} hf_key_generation;

int hf_cli_key_generate_outside(const hf_key_generation *wanted);

#endif
