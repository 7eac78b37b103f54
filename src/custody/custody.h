/*
 * custody: where the keys are. Finds key files, says what each wants before it is opened, opens
 * them, and keeps imported keys on disk. The program holdfast-loader (loader_main.c) is built on
 * it; nothing here logs or forks.
 *
 * All functions block on files. A list and what it holds belong to one thread.
 */
#ifndef HF_CUSTODY_H
#define HF_CUSTODY_H

#include "base/base.h"
#include "crypto/crypto.h"
#include "ipc/ipc.h"

/* ---- files that hold keys ----------------------------------------------------------------- */

/* One key on disk: a keystore, or one document of a Web3Signer key file. */
typedef struct hf_key_file {
    uint32_t backend;  /* hf_key_backend */
    uint32_t source;   /* place in signing_keys, or HF_SOURCE_NONE */
    uint32_t document; /* of a YAML key file, from 0 */
    uint8_t source_id[HF_SOURCE_ID_LEN];
    uint64_t stamp;            /* 0 until surveyed */
    uint64_t kdf_memory_bytes; /* 0 until surveyed, and when it could not be found out */
    uint32_t name_at;          /* where in path the part below the source's folder begins */
    char *path;                /* absolute; owned by the list */
    char *password_path;       /* or NULL: a YAML file names its own, known once surveyed */
    char *keystore_path;       /* what a surveyed YAML document refers to, else NULL */
} hf_key_file;

#define HF_KEY_FILES_MAX 1000000 /* per load, a bound for the memory of the list */

typedef struct hf_key_list {
    hf_key_file *files;
    size_t count;
    size_t capacity;
} hf_key_list; /* start from {0} */

/* Copies file with its paths to the end of the list. LIMIT, NOMEM. */
hf_status hf_key_list_add(hf_key_list *list, const hf_key_file *file) HF_MUST_CHECK;
void hf_key_list_done(hf_key_list *list);

/*
 * Adds what a source holds, in the order of names, without opening a file.
 *   LOCAL_KEYSTORE  NAME.json, and the folders 0xPUBKEY of other clients with a
 * voting-keystore.json or keystore.json in them. Passwords: password_file for all, or password_dir
 * with NAME.txt for NAME.json and 0xPUBKEY for the folder of that name. WEB3SIGNER      NAME.yaml
 * and NAME.yml IMPORTED        0xPUBKEY.json with the machine password; a folder that is not there
 * holds none Symbolic links are followed. A broken link or a strange file is listed: opening it
 * says why. Left out: names that begin with a dot, and deposit_data*.json of the staking tools.
 */
hf_status hf_custody_list(const hf_key_source *source, hf_key_list *list,
                          hf_error *err) HF_MUST_CHECK;

/* BLAKE2b of the absolute path; a document beyond the first of its file is a source of its own. */
void hf_custody_source_id(const char *path, uint32_t document, uint8_t ret_id[HF_SOURCE_ID_LEN]);

/* IMPORTED_DIR/0xPUBKEY.json. LIMIT when it does not fit. */
hf_status hf_custody_imported_path(const char *imported_dir,
                                   const uint8_t pubkey[HF_BLS_PUBKEY_BYTES], char *out,
                                   size_t out_len) HF_MUST_CHECK;

/* ---- survey: what a file is, read before anything is decrypted ----------------------------- */

#define HF_KEY_DOCUMENTS_MAX 256 /* in one YAML key file */

typedef struct hf_key_facts {
    uint64_t stamp;
    uint64_t kdf_memory_bytes;
    uint32_t document;
    uint8_t is_foreign; /* 1: no key (deposit data, slashing history), or a server's: left out */
    uint8_t reserved[3];
    char keystore_path[HF_PATH_LEN]; /* what a YAML document refers to, else "" */
    char password_path[HF_PATH_LEN];
} hf_key_facts;

/*
 * Never fails: what cannot be read or understood gives one fact without memory, and hf_custody_open
 * will say why. At least one fact, at most HF_KEY_DOCUMENTS_MAX. Parses foreign bytes.
 */
size_t hf_custody_survey(const hf_key_file *file, hf_key_facts ret_facts[HF_KEY_DOCUMENTS_MAX]);

/* Is this JSON one of the other files that staking tools leave beside keystores? */
bool hf_custody_is_foreign(hf_bytes json);

/* ---- Web3Signer's YAML key files ----------------------------------------------------------- */

typedef enum hf_key_document_type {
    HF_KEY_DOCUMENT_RAW, /* file-raw */
    HF_KEY_DOCUMENT_KEYSTORE,
    HF_KEY_DOCUMENT_MNEMONIC, /* our own: BIP-39 words in a file, and a path */
    /* hashicorp, azure-secret, aws-secret: holdfast-hsm's to read (key_servers.h) */
    HF_KEY_DOCUMENT_OF_SERVER
} hf_key_document_type;

#define HF_KEY_DERIVATION_LEN 128 /* "m/44'/60'/0'/0/0", NUL-terminated */

#define HF_KEY_SECRET_BYTES 32 /* of either type of key, big endian */
_Static_assert(sizeof(hf_bls_key) == HF_KEY_SECRET_BYTES, "a BLS secret fits");
_Static_assert(sizeof(hf_secp256k1_key) == HF_KEY_SECRET_BYTES, "a secp256k1 secret fits");

typedef struct hf_key_document {
    hf_key_document_type type;
    hf_key_type key_type;                /* BLS when the document names none */
    uint8_t secret[HF_KEY_SECRET_BYTES]; /* file-raw; the caller wipes the whole document */
    char keystore_path[HF_PATH_LEN];     /* file-keystore; absolute when folder is */
    char password_path[HF_PATH_LEN];     /* mnemonic: both are the file with the words */
    char path[HF_KEY_DERIVATION_LEN];    /* mnemonic */
} hf_key_document;

#define HF_KEY_FILE_MAX_BYTES (1U << 20)

/* Documents with content; may exceed HF_KEY_DOCUMENTS_MAX, which is then an error of parse. */
size_t hf_key_file_count_documents(hf_bytes yaml);
/*
 * Document number n of the text. Relative paths are taken from folder. NOT_FOUND when there are
 * fewer; INVALID_INPUT names line and member; USAGE for types and key types of other versions.
 */
hf_status hf_key_file_parse(hf_bytes yaml, size_t n, const char *folder, hf_key_document *ret_doc,
                            hf_error *err) HF_MUST_CHECK;

/* ---- opening ------------------------------------------------------------------------------- */

/* Everything that a key needs from disk, unparsed. */
typedef struct hf_key_material {
    hf_buf *yaml; /* NULL unless the file is one */
    hf_buf *keystore;
    hf_buf *password;
    hf_error exposure; /* set when others can read the YAML file: it may hold no raw key then */
} hf_key_material;

/* A key as it was found, checked to be one of its type; the owner wipes it. */
typedef struct hf_opened_key {
    hf_key_type type;
    uint8_t secret[HF_KEY_SECRET_BYTES];
} hf_opened_key;

/*
 * In two steps, so that a process may give up its files before it parses what they hold. The
 * sentence in err names a file only where it is not file->path. A YAML file must have been
 * surveyed.
 */
hf_status hf_custody_read(const hf_key_file *file, hf_key_material *ret_material,
                          hf_error *err) HF_MUST_CHECK;
hf_status hf_custody_decrypt(const hf_key_file *file, const hf_key_material *material,
                             const hf_keystore_limits *limits, hf_opened_key *ret_key,
                             hf_error *err) HF_MUST_CHECK;
void hf_key_material_done(hf_key_material *material); /* wipes */

/* Both steps at once, for a key that must be BLS: USAGE for another. */
hf_status hf_custody_open(const hf_key_file *file, const hf_keystore_limits *limits,
                          hf_bls_key *ret_key, hf_error *err) HF_MUST_CHECK;

/* ---- memory budget ------------------------------------------------------------------------- */

/* What key derivations of one load may use together. */
typedef struct hf_memory_budget {
    uint64_t total_bytes;
    uint64_t used_bytes;
} hf_memory_budget;

bool hf_memory_budget_take(hf_memory_budget *budget, uint64_t bytes); /* false: not now */
void hf_memory_budget_give(hf_memory_budget *budget, uint64_t bytes);

/* MemAvailable of the text of /proc/meminfo; 0 when it is not there. */
uint64_t hf_meminfo_available(const char *text);
/* What the control group leaves, from the texts of memory.max and memory.current; UINT64_MAX: no
 * bound. */
uint64_t hf_cgroup_available(const char *max_text, const char *current_text);
/* Half of what is available; on a small machine all of it, up to one keystore of the usual cost. */
uint64_t hf_memory_budget_of(uint64_t available_bytes);
/* configured, or the budget of what this machine and its control group have left. */
uint64_t hf_memory_budget_bytes(uint64_t configured);

/* ---- imported keys ----------------------------------------------------------------- */

/*
 * What the key manager API hands over: u32 length and keystore JSON, u32 length and password, in
 * the byte order of the machine, and nothing behind. The views borrow from blob.
 */
hf_status hf_custody_split_import(hf_bytes blob, hf_bytes *ret_json, hf_bytes *ret_password,
                                  hf_error *err) HF_MUST_CHECK;
#define HF_IMPORT_MAX_BYTES (2 * sizeof(uint32_t) + HF_KEYSTORE_MAX_BYTES + HF_PASSWORD_MAX_BYTES)

/*
 * IMPORTED_DIR/password, 64 hex digits of randomness, made when absent (mode 0600). CONFLICT when
 * it is gone but keys kept under it are there: a new one would not open them. The caller frees
 * *ret_password.
 */
hf_status hf_custody_machine_password(const char *imported_dir, hf_buf **ret_password,
                                      hf_error *err) HF_MUST_CHECK;
/* Writes IMPORTED_DIR/0xPUBKEY.json under the machine password: all or nothing, durable. */
hf_status hf_custody_keep(const char *imported_dir, const hf_bls_key *key,
                          hf_error *err) HF_MUST_CHECK;

#endif
