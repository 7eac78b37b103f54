/* Shared between the verbs of `holdfast key`. */
#ifndef HF_KEY_INTERNAL_H
#define HF_KEY_INTERNAL_H

#include "admin_client.h"
#include "cli.h"
#include "crypto/crypto.h"
#include "custody/custody.h"

#include <jansson.h>

#define HF_KEY_COUNT_MAX 100000
#define HF_KEY_PATH_CHARS 64
/* What one standard scrypt derivation takes, with a little for the rest. */
#define HF_KEY_JOB_MEMORY (272ULL << 20)
/* The most that a strange keystore may ask for. */
#define HF_KEY_KDF_MEMORY_MAX (2ULL << 30)

int hf_cli_key_new(int argc, char **argv);
int hf_cli_key_import(int argc, char **argv);
int hf_cli_key_list(int argc, char **argv);
int hf_cli_key_delete(int argc, char **argv);
int hf_cli_key_deposit(int argc, char **argv);

/* ---- mnemonics (key_mnemonic.c) ------------------------------------------------------------ */

/* Where an existing mnemonic comes from, and its passphrase. */
typedef struct hf_key_mnemonic_source {
    const char *file;
    const char *fd;
    const char *passphrase_file;
} hf_key_mnemonic_source;

/* Words and seed in locked memory, as far as the machine allows; lives in a slab of its own. */
typedef struct hf_key_root {
    char words[HF_BIP39_TEXT_BYTES];
    uint8_t seed[HF_BIP39_SEED_BYTES];
} hf_key_root;

typedef struct hf_key_vault {
    hf_slab *slab;
    hf_key_root *root;
} hf_key_vault; /* start from {0} */

hf_status hf_cli_key_vault_open(hf_key_vault *vault, hf_error *err) HF_MUST_CHECK;
void hf_cli_key_vault_close(hf_key_vault *vault); /* wipes */

/* Reads the words from file, descriptor or terminal and derives the seed. */
hf_status hf_cli_key_mnemonic_read(const hf_key_mnemonic_source *source, hf_key_vault *vault,
                                   hf_error *err) HF_MUST_CHECK;
/* Makes 24 words and their seed. */
hf_status hf_cli_key_mnemonic_make(const hf_key_mnemonic_source *source, hf_key_vault *vault,
                                   hf_error *err) HF_MUST_CHECK;
/* Writes the words to a new file, or shows them once on the terminal when output is NULL. */
hf_status hf_cli_key_mnemonic_hand_over(const hf_key_vault *vault, const char *output,
                                        hf_error *err) HF_MUST_CHECK;
/* Refuses what hf_cli_key_mnemonic_hand_over could not do, before anything is made. */
hf_status hf_cli_key_mnemonic_check_output(const char *output, hf_error *err) HF_MUST_CHECK;

/* m/12381/3600/INDEX/0/0, or without the last step for the withdrawal key. */
hf_status hf_cli_key_derive(const hf_key_vault *vault, uint64_t index, bool withdrawal,
                            char ret_path[HF_KEY_PATH_CHARS], hf_bls_key *ret_key,
                            hf_error *err) HF_MUST_CHECK;

/* ---- numbers and files (key.c) ------------------------------------------------------------- */

/* text, or fallback when it is NULL; USAGE naming the option when it is not least..most. */
hf_status hf_cli_key_number(const char *option, const char *text, uint64_t fallback, uint64_t least,
                            uint64_t most, uint64_t *ret_value, hf_error *err) HF_MUST_CHECK;
/* Writes a file that must not be there yet: CONFLICT. */
hf_status hf_cli_key_write_new(const char *path, const char *text, mode_t mode,
                               hf_error *err) HF_MUST_CHECK;
/* The data folder that flags name: --data-dir, or data_dir of the configuration. */
hf_status hf_cli_key_data_dir(const hf_config_flags *flags, char ret_dir[HF_PATH_LEN],
                              hf_error *err) HF_MUST_CHECK;
/* The running signer with that folder, through its admin socket. */
hf_status hf_cli_signer_connect(const hf_config_flags *flags, hf_admin **ret_admin,
                                hf_error *err) HF_MUST_CHECK;
/* A path as a JSON string; one that is not UTF-8 with its bytes escaped, so that no row is lost. */
json_t *hf_cli_key_path_to_json(const char *path);
/* "0xPUBKEY  path", where the path can do the terminal no harm. */
void hf_cli_key_print(const uint8_t pubkey[HF_BLS_PUBKEY_BYTES], const char *path);
/* Is this --backend that of sealed keys? */
static inline bool hf_cli_key_is_sealed(const char *backend)
{
    return strcmp(backend, "sealed") == 0;
}
/* Does a signer with this data folder answer at its admin socket? */
bool hf_cli_key_signer_runs(const char *data_dir);

/* Where the passwords of keystores come from: at most one of the three; none: the terminal. */
typedef struct hf_key_passwords {
    const char *file;
    const char *dir;
    const char *fd;
} hf_key_passwords;

#define HF_KEY_PASSWORD_OPTIONS(passwords)                                                         \
    {.name = "password-file",                                                                      \
     .argument = "FILE",                                                                           \
     .help = "one password for all (mode 0600); else it is asked for",                             \
     .text = &(passwords).file},                                                                   \
        {.name = "password-dir",                                                                   \
         .argument = "DIR",                                                                        \
         .help = "NAME.txt with the password of each NAME.json",                                   \
         .text = &(passwords).dir},                                                                \
    {                                                                                              \
        .name = "password-fd", .argument = "FD",                                                   \
        .help = "one password for all from an open descriptor", .text = &(passwords).fd            \
    }

/*
 * The keystores of a folder, or the one file. Each gets NAME.txt of password_dir as its password
 * path; with NULL that path means nothing. NOT_FOUND when there are none.
 */
hf_status hf_cli_key_find_keystores(const char *place, const char *password_dir, hf_key_list *list,
                                    hf_error *err) HF_MUST_CHECK;
/* The same, with the one password of all of them; *ret_password stays NULL where a folder has them.
 */
hf_status hf_cli_key_gather_keystores(const char *place, const hf_key_passwords *passwords,
                                      hf_key_list *list, hf_buf **ret_password,
                                      hf_error *err) HF_MUST_CHECK;

/* ---- many keys at once (key_jobs.c) -------------------------------------------------------- */

typedef hf_status (*hf_key_job)(void *context, size_t index, hf_error *err);

/*
 * Calls job for 0..count-1 on as many threads as cores and memory allow; shows progress on a
 * terminal. Stops at the first failure and returns it.
 */
hf_status hf_cli_key_jobs_run(size_t count, hf_key_job job, void *context,
                              hf_error *err) HF_MUST_CHECK;

#endif
