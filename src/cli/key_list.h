/* `holdfast key list`: the rows of a list, and who makes them. */
#ifndef HF_CLI_KEY_LIST_H
#define HF_CLI_KEY_LIST_H

#include "key_internal.h"

#define HF_KEY_ROW_HEX (2 * HF_BLS_PUBKEY_BYTES + 1)

/* A key. What a folder's list does not know is NULL. */
typedef struct hf_key_row {
    const char *type;         /* "BLS", ...; NULL in the list of a folder */
    bool is_address;          /* hex is that of an account, not of a public key */
    char hex[HF_KEY_ROW_HEX]; /* without 0x */
    const char *backend;
    uint32_t place; /* in signing_keys, or HF_SOURCE_NONE */
    const char *file;
    const hf_custody_report *process; /* of a running signer: how its back end's is */
} hf_key_row;

/* Where a list goes. */
typedef struct hf_key_listing {
    json_t *array; /* NULL: print lines as they come */
    size_t failures;
} hf_key_listing;

void hf_cli_key_list_row(hf_key_listing *out, const hf_key_row *row);
/* The key that a keystore says it has; a row is printed for it with what *row says beside. */
void hf_cli_key_list_keystore(hf_key_listing *out, const char *path, const hf_key_row *row);

/* key_running.c: the keys that a running signer can sign with, and on stderr what ails its back
 * ends. */
hf_status hf_cli_key_list_running(hf_admin *admin, hf_key_listing *out,
                                  hf_error *err) HF_MUST_CHECK;
/* key_offline.c: what the files of its configuration say, and on stderr where that is not all. */
void hf_cli_key_list_offline(const hf_config *config, hf_key_listing *out);

#endif
