/* holdfast seal, inside: the running signer, and where the secrets of holders come from. */
#ifndef HF_CLI_SEAL_INTERNAL_H
#define HF_CLI_SEAL_INTERNAL_H

#include "admin_client.h"
#include "cli.h"

#include "seal/seal.h"

/* NOT_FOUND: no signer runs there; the machine lives in it. */
hf_status hf_cli_seal_connect(const hf_config_flags *flags, hf_admin **ret_admin,
                              hf_error *err) HF_MUST_CHECK;
/* The caller frees *ret_status. */
hf_status hf_cli_seal_status(hf_admin *admin, hf_msg_seal_status_reply **ret_status,
                             hf_error *err) HF_MUST_CHECK;

/* The wrapping key of a passphrase from the source, by Argon2id, here: the signer never sees it. */
hf_status hf_cli_seal_passphrase_key(const hf_seal_kdf *kdf, const hf_cli_passphrase *source,
                                     uint8_t ret_key[HF_SEAL_KEY_BYTES],
                                     hf_error *err) HF_MUST_CHECK;
/* That of a key file, which is made (mode 0600) when create says so and it is not there. */
hf_status hf_cli_seal_file_key(const char *path, bool create, uint8_t ret_key[HF_SEAL_KEY_BYTES],
                               hf_error *err) HF_MUST_CHECK;

/* init, rekey, rotate */
int hf_cli_seal_begin(int argc, char **argv);
int hf_cli_seal_register(int argc, char **argv);

#endif
