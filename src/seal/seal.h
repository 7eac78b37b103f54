/*
 * seal: the mathematics and the rules of the seal machine, without any input or output. A master
 * key that seals the records of keys is split among holders; each share is wrapped under what its
 * holder alone has. docs/adr/0015-seal.md says why things are as they are.
 *
 *   holder's passphrase --Argon2id--> wrapping key --opens--> share --(enough of them)--> master
 * key master key --KDF--> records key, manifest key, check value
 *
 * All functions are safe from any thread and block for nothing; only hf_seal_key_of_passphrase
 * takes long (and much memory). Who holds a secret wipes it: outputs named master, share, key and
 * secret are secrets and belong into locked memory.
 */
#ifndef HF_SEAL_H
#define HF_SEAL_H

#include "base/base.h"
#include "crypto/crypto.h"

/* ---- Shamir's secret sharing over GF(2^8), polynomial 0x11b ------------------------------------
 */

#define HF_SEAL_KEY_BYTES 32
/* As Vault prints shares: the secret's length in values and one byte behind them, x, never 0. */
#define HF_SEAL_SHARE_BYTES (HF_SEAL_KEY_BYTES + 1)
#define HF_SEAL_HOLDERS_MAX 16

typedef struct hf_seal_share {
    uint8_t bytes[HF_SEAL_SHARE_BYTES];
} hf_seal_share;

/*
 * n shares, x = 1..n, of which any threshold give the secret. 1 <= threshold <= n <= 255: otherwise
 * USAGE. Constant time in the secret.
 */
hf_status hf_shamir_split(const uint8_t secret[HF_SEAL_KEY_BYTES], unsigned threshold, unsigned n,
                          hf_seal_share ret_shares[]) HF_MUST_CHECK;
/* Constant time in the values. INVALID_INPUT when an x is 0 or comes twice, or n is 0 or over 255.
 * Too few or foreign shares give a wrong secret without a sign: see hf_seal_combine. */
hf_status hf_shamir_combine(const hf_seal_share shares[], unsigned n,
                            uint8_t ret_secret[HF_SEAL_KEY_BYTES]) HF_MUST_CHECK;

#define HF_SEAL_SHARE_HEX_LEN (2 * HF_SEAL_SHARE_BYTES + 1)
#define HF_SEAL_SHARE_BASE64_LEN (4 * ((HF_SEAL_SHARE_BYTES + 2) / 3) + 1)
void hf_seal_share_to_hex(const hf_seal_share *share, char ret_text[HF_SEAL_SHARE_HEX_LEN]);
void hf_seal_share_to_base64(const hf_seal_share *share, char ret_text[HF_SEAL_SHARE_BASE64_LEN]);
/* Either form. INVALID_INPUT. */
hf_status hf_seal_share_parse(const char *text, size_t len, hf_seal_share *ret_share) HF_MUST_CHECK;

/* ---- the configuration of a seal ---------------------------------------------------------------
 */

#define HF_SEAL_ID_BYTES 16
#define HF_SEAL_NAME_LEN 33       /* 1 to 32 of a-z 0-9 . _ - and the NUL */
#define HF_SEAL_REFERENCE_LEN 256 /* a key's ARN, a PKCS#11 URI; NUL-terminated */
#define HF_SEAL_BLOB_MAX 640      /* what another process wrapped: AWS KMS, RSA-4096 */
#define HF_SEAL_SALT_BYTES 16
#define HF_SEAL_NONCE_BYTES 24
#define HF_SEAL_TAG_BYTES 16
#define HF_SEAL_HASH_BYTES 32
#define HF_SEAL_WRAPPED_BYTES (HF_SEAL_NONCE_BYTES + HF_SEAL_SHARE_BYTES + HF_SEAL_TAG_BYTES)
#define HF_SEAL_CARRIED_BYTES (HF_SEAL_NONCE_BYTES + HF_SEAL_KEY_BYTES + HF_SEAL_TAG_BYTES)

typedef enum hf_holder_kind {
    HF_HOLDER_PASSPHRASE = 0, /* wrapped under Argon2id of what a person knows */
    HF_HOLDER_KEY_FILE,       /* wrapped under 32 random bytes in a file: a machine */
    HF_HOLDER_PRINTED,        /* not wrapped: handed out once, in Vault's format */
    HF_HOLDER_AWS_KMS,        /* wrapped by a process of its own, which keeps reference and blob */
    HF_HOLDER_PKCS11,
    HF_HOLDER_KIND_COUNT
} hf_holder_kind;

/* "passphrase", "keyfile", "printed", "awskms", "pkcs11"; never NULL. */
const char *hf_holder_kind_name(unsigned kind);
/* NOT_FOUND for a name of no kind. */
hf_status hf_holder_kind_parse(const char *name, hf_holder_kind *ret_kind) HF_MUST_CHECK;
/* Does the keeper itself open this kind, by a wrapping key? */
bool hf_holder_kind_is_wrapped(unsigned kind);

/* Argon2id version 1.3 with one lane, as libsodium has it. */
#define HF_SEAL_KDF_MEMORY_LEAST ((uint64_t)19 << 20) /* OWASP's least, with two passes */
#define HF_SEAL_KDF_MEMORY_MOST ((uint64_t)4 << 30)
#define HF_SEAL_KDF_PASSES_LEAST 2
#define HF_SEAL_KDF_PASSES_MOST 64
#define HF_SEAL_KDF_MEMORY ((uint64_t)1 << 30) /* unless asked otherwise */
#define HF_SEAL_KDF_PASSES 4

/* How a passphrase's wrapping key is made; zeros for the other kinds. */
typedef struct hf_seal_kdf {
    uint64_t memory_bytes;
    uint32_t passes;
    uint32_t reserved;
    uint8_t salt[HF_SEAL_SALT_BYTES];
} hf_seal_kdf;

/* No padding: travels in frames. */
typedef struct hf_seal_holder {
    char name[HF_SEAL_NAME_LEN];
    uint8_t kind;        /* hf_holder_kind */
    uint8_t is_required; /* 1: without this one nothing opens, whoever else comes */
    uint8_t index;       /* x of its share; by hf_seal_split */
    uint8_t reserved[4];
    hf_seal_kdf kdf;
    uint8_t commitment[HF_SEAL_HASH_BYTES]; /* of the share: a wrong one is known at once */
    uint8_t wrapped[HF_SEAL_WRAPPED_BYTES]; /* PASSPHRASE, KEY_FILE: nonce, ciphertext, tag */
    uint8_t reserved_2[5];
    uint16_t blob_len;
    char reference[HF_SEAL_REFERENCE_LEN]; /* KEY_FILE: where it is; others as their process says */
    uint8_t blob[HF_SEAL_BLOB_MAX];
} hf_seal_holder;

/*
 * What is kept (a record of kind SEAL). Nothing here is secret by itself. The secret is the XOR of
 * the shares of all required holders and of what threshold of the others hold between them;
 * threshold is 0 where there are no others.
 */
typedef struct hf_seal_config {
    uint8_t seal_id[HF_SEAL_ID_BYTES];
    uint64_t generation; /* one more with each change of holders or key */
    uint32_t term;       /* one more with each change of the master key */
    uint8_t threshold;
    uint8_t holder_count;
    uint8_t has_previous; /* 1: records of the term before are still being sealed anew */
    uint8_t reserved;
    uint8_t check[HF_SEAL_HASH_BYTES];
    uint8_t previous_check[HF_SEAL_HASH_BYTES];
    uint8_t previous[HF_SEAL_CARRIED_BYTES]; /* the master key before, under this one */
    hf_seal_holder holders[HF_SEAL_HOLDERS_MAX];
} hf_seal_config;

bool hf_seal_name_is_valid(const char name[HF_SEAL_NAME_LEN]);
/* Kinds, names, numbers and parameters: everything a person or a frame could get wrong. USAGE. */
hf_status hf_seal_config_check(const hf_seal_config *config, hf_error *err) HF_MUST_CHECK;
/* -1: nobody of that name. */
int hf_seal_config_find(const hf_seal_config *config, const char *name);

#define HF_SEAL_CONFIG_BYTES_MAX 32768
/* INTERNAL when the configuration would not be read again. */
hf_status hf_seal_config_encode(const hf_seal_config *config,
                                uint8_t ret_data[HF_SEAL_CONFIG_BYTES_MAX],
                                size_t *ret_len) HF_MUST_CHECK;
/* CORRUPT unless these bytes are exactly what encode writes of a sound configuration. */
hf_status hf_seal_config_decode(hf_bytes data, hf_seal_config *ret_config,
                                hf_error *err) HF_MUST_CHECK;

/* ---- splitting and opening ---------------------------------------------------------------------
 */

/* LIMIT: the memory cannot be had. Blocks for seconds. */
hf_status hf_seal_key_of_passphrase(const hf_seal_kdf *kdf, hf_bytes passphrase,
                                    uint8_t ret_key[HF_SEAL_KEY_BYTES]) HF_MUST_CHECK;
void hf_seal_key_of_file(const uint8_t content[HF_SEAL_KEY_BYTES],
                         uint8_t ret_key[HF_SEAL_KEY_BYTES]);

/*
 * Splits a master key among the holders of a checked configuration (id, generation, term,
 * threshold and holders are set): shares[i] is that of holders[i]. Sets index, commitment and
 * check; what is wrapped is cleared.
 */
hf_status hf_seal_split(hf_seal_config *config, const uint8_t master[HF_SEAL_KEY_BYTES],
                        hf_seal_share ret_shares[HF_SEAL_HOLDERS_MAX]) HF_MUST_CHECK;
/* i: a holder's place in the configuration, here and below. */
void hf_seal_wrap(hf_seal_config *config, unsigned i, const uint8_t key[HF_SEAL_KEY_BYTES],
                  const hf_seal_share *share);
/* DENIED: not the key of this holder, or the share was moved here from elsewhere. */
hf_status hf_seal_unwrap(const hf_seal_config *config, unsigned i,
                         const uint8_t key[HF_SEAL_KEY_BYTES],
                         hf_seal_share *ret_share) HF_MUST_CHECK;
/* Is this the holder's share of this generation? */
bool hf_seal_share_is_right(const hf_seal_config *config, unsigned holder,
                            const hf_seal_share *share);
/* How many more of the present holders' shares are needed at least; given is a set of bits. */
unsigned hf_seal_missing(const hf_seal_config *config, uint32_t given);
/* UNAVAILABLE: not enough shares. CORRUPT: right shares that give a wrong key. */
hf_status hf_seal_combine(const hf_seal_config *config, uint32_t given,
                          const hf_seal_share shares[HF_SEAL_HOLDERS_MAX],
                          uint8_t ret_master[HF_SEAL_KEY_BYTES]) HF_MUST_CHECK;

/* The key before, carried under the new one until no record needs it. */
void hf_seal_carry(hf_seal_config *config, const uint8_t master[HF_SEAL_KEY_BYTES],
                   const uint8_t previous[HF_SEAL_KEY_BYTES]);
hf_status hf_seal_carried(const hf_seal_config *config, const uint8_t master[HF_SEAL_KEY_BYTES],
                          uint8_t ret_previous[HF_SEAL_KEY_BYTES]) HF_MUST_CHECK;
void hf_seal_drop_carried(hf_seal_config *config);

/* ---- the machine -------------------------------------------------------------------------------
 */

typedef enum hf_seal_state {
    HF_SEAL_UNINITIALIZED = 0,
    HF_SEAL_AWAITING_REGISTRATION, /* a new key is split, and holders have yet to register */
    HF_SEAL_SEALED,
    HF_SEAL_PARTLY_UNSEALED,
    HF_SEAL_UNSEALED,
    HF_SEAL_AWAITING_ROTATION, /* signs; holders have yet to register, or records are sealed anew */
    HF_SEAL_STATE_COUNT
} hf_seal_state;

typedef enum hf_seal_event {
    HF_SEAL_ON_INIT = 0,   /* a new seal, and a holder has yet to register */
    HF_SEAL_ON_REGISTER,   /* one of several missing holders */
    HF_SEAL_ON_REGISTERED, /* the last one; also an init that left nobody out */
    HF_SEAL_ON_SHARE,      /* right, and more are needed */
    HF_SEAL_ON_LAST_SHARE, /* right, and the key is there */
    HF_SEAL_ON_WRONG_SHARE,
    HF_SEAL_ON_REPEATED_SHARE,
    HF_SEAL_ON_SEAL,
    HF_SEAL_ON_CHANGE,  /* rekey or rotation */
    HF_SEAL_ON_CHANGED, /* done */
    HF_SEAL_ON_CANCEL,
    HF_SEAL_ON_TIMEOUT,
    HF_SEAL_ON_FOUND,    /* a kept configuration is there: at start, or another node made it */
    HF_SEAL_ON_REPLACED, /* another node changed holders or key */
    HF_SEAL_ON_RESTART,
    HF_SEAL_EVENT_COUNT
} hf_seal_event;

typedef struct hf_seal_step {
    bool is_allowed;
    hf_seal_state next;  /* the same state when not allowed */
    const char *because; /* a sentence, when not allowed; else NULL */
} hf_seal_step;

/* Every pair is defined. */
hf_seal_step hf_seal_next(hf_seal_state state, hf_seal_event event);
/* "partly_unsealed" and so on; never NULL. */
const char *hf_seal_state_name(unsigned state);
bool hf_seal_state_can_sign(hf_seal_state state);

/* ---- sealed records ----------------------------------------------------------------------------
 */

/* Derived from a master key; secrets. */
typedef struct hf_seal_keys {
    uint8_t records[HF_SEAL_KEY_BYTES];
    uint8_t manifest[HF_SEAL_KEY_BYTES];
} hf_seal_keys;

void hf_seal_derive(const uint8_t master[HF_SEAL_KEY_BYTES], hf_seal_keys *ret_keys);

#define HF_SEALED_NAME_BYTES HF_BLS_PUBKEY_BYTES /* an address has zeros behind it */
#define HF_SEALED_SECRET_BYTES 32
#define HF_SEALED_RECORD_BYTES                                                                     \
    (16 + HF_SEALED_NAME_BYTES + HF_SEAL_NONCE_BYTES + HF_SEALED_SECRET_BYTES + HF_SEAL_TAG_BYTES)

typedef enum hf_sealed_status {
    HF_SEALED_ACTIVE = 0,
    HF_SEALED_INACTIVE, /* kept, and signs nothing */
    HF_SEALED_STATUS_COUNT
} hf_sealed_status;

/* All of it is bound by the record's tag, so that nothing has to be derived again. */
typedef struct hf_sealed_key {
    uint8_t type;   /* hf_key_type */
    uint8_t status; /* hf_sealed_status */
    uint8_t reserved[2];
    uint32_t term;
    uint64_t version; /* one more with each change of this key */
    uint8_t name[HF_SEALED_NAME_BYTES];
} hf_sealed_key;

/* name: 0x and 48 bytes, or 20, in hex. */
#define HF_SEALED_TEXT_LEN (2 + 2 * HF_SEALED_NAME_BYTES + 1)
void hf_sealed_key_text(const hf_sealed_key *key, char ret_text[HF_SEALED_TEXT_LEN]);

/* The nonce is fresh. */
void hf_sealed_record_seal(const hf_seal_keys *keys, const uint8_t seal_id[HF_SEAL_ID_BYTES],
                           const hf_sealed_key *key, const uint8_t secret[HF_SEALED_SECRET_BYTES],
                           uint8_t ret_data[HF_SEALED_RECORD_BYTES]);
/* What the record says of itself, before it is believed. CORRUPT. */
hf_status hf_sealed_record_peek(hf_bytes data, hf_sealed_key *ret_key) HF_MUST_CHECK;
/* CORRUPT: not a record. DENIED: changed, of another seal, or of another term's key. */
hf_status hf_sealed_record_open(const hf_seal_keys *keys, const uint8_t seal_id[HF_SEAL_ID_BYTES],
                                hf_bytes data, hf_sealed_key *ret_key,
                                uint8_t ret_secret[HF_SEALED_SECRET_BYTES]) HF_MUST_CHECK;

/* ---- the manifest: which records there have to be ----------------------------------------------
 */

/*
 * Keys are spread over pages by their name. A key's record, its page and the head change together
 * (one change_records of the store), so that a record, page or head that does not fit the others
 * was removed, or is an old copy put back.
 */
#define HF_MANIFEST_PAGES 64
#define HF_MANIFEST_ENTRIES_MAX 960 /* in a page; 61,440 keys when evenly spread */

typedef struct hf_manifest_entry {
    uint8_t name[HF_SEALED_NAME_BYTES];
    uint64_t version;
    uint8_t type;
    uint8_t status;
    uint8_t reserved[6];
} hf_manifest_entry;

typedef struct hf_manifest_page {
    uint32_t number;
    uint32_t count;
    uint64_t version;                                   /* one more with each write of the page */
    hf_manifest_entry entries[HF_MANIFEST_ENTRIES_MAX]; /* in the order of names */
} hf_manifest_page;

unsigned hf_manifest_page_of(const uint8_t name[HF_SEALED_NAME_BYTES]);
/* NULL: not there. */
hf_manifest_entry *hf_manifest_find(hf_manifest_page *page,
                                    const uint8_t name[HF_SEALED_NAME_BYTES]);
/* Makes room where there is none yet. LIMIT: the page is full. */
hf_status hf_manifest_add(hf_manifest_page *page, const uint8_t name[HF_SEALED_NAME_BYTES],
                          hf_manifest_entry **ret_entry) HF_MUST_CHECK;
void hf_manifest_remove(hf_manifest_page *page, const uint8_t name[HF_SEALED_NAME_BYTES]);

#define HF_MANIFEST_ENTRY_BYTES (HF_SEALED_NAME_BYTES + 8 + 2)
#define HF_MANIFEST_PAGE_BYTES_MAX                                                                 \
    (16 + HF_MANIFEST_ENTRIES_MAX * HF_MANIFEST_ENTRY_BYTES + HF_SEAL_HASH_BYTES)
void hf_manifest_encode(const hf_seal_keys *keys, const uint8_t seal_id[HF_SEAL_ID_BYTES],
                        const hf_manifest_page *page, uint8_t ret_data[HF_MANIFEST_PAGE_BYTES_MAX],
                        size_t *ret_len);
/* CORRUPT: malformed, changed, or of another place or seal. */
hf_status hf_manifest_decode(const hf_seal_keys *keys, const uint8_t seal_id[HF_SEAL_ID_BYTES],
                             unsigned number, hf_bytes data,
                             hf_manifest_page *ret_page) HF_MUST_CHECK;

/* The head holds the version of each page. */
typedef struct hf_manifest_head {
    uint64_t version;
    uint64_t pages[HF_MANIFEST_PAGES]; /* 0: never written */
} hf_manifest_head;

#define HF_MANIFEST_HEAD_BYTES (8 + 8 + HF_MANIFEST_PAGES * 8 + HF_SEAL_HASH_BYTES)
void hf_manifest_head_encode(const hf_seal_keys *keys, const uint8_t seal_id[HF_SEAL_ID_BYTES],
                             const hf_manifest_head *head,
                             uint8_t ret_data[HF_MANIFEST_HEAD_BYTES]);
hf_status hf_manifest_head_decode(const hf_seal_keys *keys, const uint8_t seal_id[HF_SEAL_ID_BYTES],
                                  hf_bytes data, hf_manifest_head *ret_head) HF_MUST_CHECK;

typedef enum hf_manifest_verdict {
    HF_MANIFEST_GOOD = 0,
    HF_MANIFEST_UNKNOWN,     /* a record that no manifest names */
    HF_MANIFEST_ROLLED_BACK, /* an older version of the record */
    HF_MANIFEST_AHEAD,       /* a newer one: the manifest is the older copy */
    HF_MANIFEST_MISSING,
    HF_MANIFEST_VERDICT_COUNT
} hf_manifest_verdict;

/* record NULL: there is none. entry NULL: nothing is written of it. */
hf_manifest_verdict hf_manifest_judge(const hf_manifest_entry *entry, const hf_sealed_key *record);
/* Never NULL. */
const char *hf_manifest_verdict_text(unsigned verdict);

#endif
