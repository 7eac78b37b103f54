/* Keys for the sealed store of a running signer: gathered in locked memory, given away together. */
#ifndef HF_CLI_KEY_SEALED_H
#define HF_CLI_KEY_SEALED_H

#include "admin_client.h"
#include "key_internal.h"

typedef struct hf_key_sealer hf_key_sealer;

/* Room for count keys. */
hf_status hf_cli_sealer_new(size_t count, hf_key_sealer **ret_sealer, hf_error *err) HF_MUST_CHECK;
void hf_cli_sealer_free(hf_key_sealer *sealer); /* wipes; NULL is fine */
/* Any thread, each index once. */
void hf_cli_sealer_put(hf_key_sealer *sealer, size_t index, const hf_bls_key *key,
                       const uint8_t pubkey[HF_BLS_PUBKEY_BYTES]);
/* Gives all that were put to the signer; what became of each is asked for with outcome. */
hf_status hf_cli_sealer_send(hf_key_sealer *sealer, hf_admin *admin, hf_error *err) HF_MUST_CHECK;
/* HF_KEY_ERROR for one that was not put, or not sent. */
hf_key_outcome hf_cli_sealer_outcome(const hf_key_sealer *sealer, size_t index);

const uint8_t *hf_cli_sealer_pubkey(const hf_key_sealer *sealer, size_t index);

/* ---- mnemonic backups (key_backup.c) -------------------------------------------------------- */

typedef struct hf_key_backup {
    const char *file;
    const char *password_file;
    const char *password_fd;
    uint64_t cost;           /* of scrypt; 0: the standard */
    const char *count;       /* of keys to recover; NULL: as the file says */
    const char *start_index; /* the same */
} hf_key_backup;

/* Makes a mnemonic, keeps it encrypted, and only then gives count keys of it to the signer. */
int hf_cli_key_generate_backed(const hf_config_flags *flags, const hf_key_backup *backup,
                               uint64_t count);
int hf_cli_key_recover(int argc, char **argv);

/* The verbs that work on sealed keys alone. */
int hf_cli_key_generate(int argc, char **argv);
int hf_cli_key_activate(int argc, char **argv);
int hf_cli_key_deactivate(int argc, char **argv);
/* The sealed half of `key delete` and `key list`. */
int hf_cli_sealed_delete(const hf_config_flags *flags, const char *pubkey);
int hf_cli_sealed_list(const hf_config_flags *flags, bool as_json);

#endif
