/*
 * crypto: thin wrappers over blst, libsecp256k1, libsodium and OpenSSL, and the key standards built
 * on them (EIP-2333 derivation, EIP-2335 and Web3 Secret Storage keystores). The one primitive
 * written here is the hash Keccak-256, which no packaged library offers.
 *
 * The functions fall in groups that land in different object files, so that a process links only
 * what it calls: crypto_core (bls.c, hmac.c, keccak.c, secret.c, sha256.c: blst, libsodium) and
 * crypto_secp (secp256k1.c: libsecp256k1) for the keeper; crypto_keys (derivation, mnemonics,
 * keystores: OpenSSL, libunistring, jansson as well) for the loader and the command line.
 */
#ifndef HF_CRYPTO_H
#define HF_CRYPTO_H

#include "base/base.h"

#define HF_BLS_SECRET_BYTES 32
#define HF_BLS_PUBKEY_BYTES 48    /* compressed G1 */
#define HF_BLS_SIGNATURE_BYTES 96 /* compressed G2 */
#define HF_ROOT_BYTES 32

/* SHA-256 of a message of any length (FIPS 180-4). */
void hf_sha256(const void *in, size_t len, uint8_t ret_digest[32]);
/* SHA-256 of a || b, the node function of SSZ trees. */
void hf_sha256_pair(const uint8_t a[32], const uint8_t b[32], uint8_t ret_digest[32]);

#define HF_KECCAK_BYTES 32
/* Keccak-256 of a message of any length, as Ethereum uses it (not the SHA3-256 of FIPS 202). */
void hf_keccak256(const void *in, size_t len, uint8_t ret_digest[HF_KECCAK_BYTES]);

#define HF_HMAC_BYTES 32
#define HF_HMAC_KEY_BYTES 32
/* HMAC-SHA256 of the n parts one after the other. Time depends on their lengths alone. */
void hf_hmac_sha256(const uint8_t key[HF_HMAC_KEY_BYTES], const hf_bytes parts[], size_t n,
                    uint8_t ret_mac[HF_HMAC_BYTES]);

/* Constant time in the content. */
bool hf_secret_equal(const void *a, const void *b, size_t len);
/* Uniform random bytes from the kernel (getrandom by libsodium). Aborts when there are none. */
void hf_random(void *ret_bytes, size_t len);
/* 256 uniform random bits as text: base64url (RFC 4648) without padding, NUL-terminated. */
#define HF_RANDOM_TEXT_LEN 44
void hf_random_text(char ret_text[HF_RANDOM_TEXT_LEN]);

/* ---- locked memory ------------------------------------------------------------------------ */

/*
 * A slab of equal slots for secrets: one mapping between guard pages, mlocked, never dumped, wiped
 * in forked children. Slots are wiped when freed. One thread at a time for alloc and free; reading
 * a slot is safe from any thread while it is allocated.
 */
typedef struct hf_slab hf_slab;

/* When require_lock and mlock fails: LIMIT, with the remedy (LimitMEMLOCK=) in err. */
hf_status hf_slab_new(size_t slot_bytes, size_t slots_max, bool require_lock, hf_slab **ret_slab,
                      hf_error *err) HF_MUST_CHECK;
void hf_slab_free(hf_slab *slab);
bool hf_slab_is_locked(const hf_slab *slab);
/* What mlock takes for such a slab. */
size_t hf_slab_locked_bytes(size_t slot_bytes, size_t slots_max);
void *hf_slab_alloc(hf_slab *slab); /* NULL when full */
void hf_slab_release(hf_slab *slab, void *slot);

/* ---- BLS12-381, minimal-pubkey-size, proof of possession scheme --------------------------- */
/* draft-irtf-cfrg-bls-signature-05, DST BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_ */

/* A secret scalar in blst's own layout; lives in a slab slot or on a stack that gets wiped. */
typedef struct hf_bls_key {
    _Alignas(8) uint8_t scalar[HF_BLS_SECRET_BYTES];
} hf_bls_key;

/* A message already hashed to G2, with small multiples: depends on it alone, holds nothing secret.
 */
typedef struct hf_bls_point {
    _Alignas(64) uint8_t opaque[8 * 192];
} hf_bls_point;

/* 32 bytes big endian; CRYPTO unless 0 < secret < r. */
hf_status hf_bls_key_from_bytes(const uint8_t secret[HF_BLS_SECRET_BYTES],
                                hf_bls_key *ret_key) HF_MUST_CHECK;
void hf_bls_key_to_bytes(const hf_bls_key *key, uint8_t ret_secret[HF_BLS_SECRET_BYTES]);
void hf_bls_pubkey(const hf_bls_key *key, uint8_t ret_pubkey[HF_BLS_PUBKEY_BYTES]);
/* Is this a valid compressed point of the G1 subgroup, not the identity? */
bool hf_bls_pubkey_is_valid(const uint8_t pubkey[HF_BLS_PUBKEY_BYTES]);

/* Over half the cost of a signature; needs no key, so it may run before the record is durable. */
void hf_bls_hash(const uint8_t root[HF_ROOT_BYTES], hf_bls_point *ret_point);
/*
 * Multiples of a point that make signing with it twice as fast. Making them costs about as much as
 * one signature without. Storage of the caller: hf_bls_table_size() bytes, a multiple of
 * the alignment. Depends on the message alone, holds nothing secret.
 */
#define HF_BLS_TABLE_ALIGN 64
typedef struct hf_bls_table hf_bls_table;
size_t hf_bls_table_size(void);
void hf_bls_table_build(const hf_bls_point *point, hf_bls_table *ret_table);

/*
 * Signs one point with n keys: signatures[i] belongs to keys[i]. table: that of the point, or NULL.
 * The one place where keys meet messages, shaped so that many keys on one root can share work.
 */
void hf_bls_sign_many(const hf_bls_point *point, const hf_bls_table *table,
                      const hf_bls_key *const keys[], size_t n,
                      uint8_t (*ret_signatures)[HF_BLS_SIGNATURE_BYTES]);
bool hf_bls_verify(const uint8_t pubkey[HF_BLS_PUBKEY_BYTES], const uint8_t root[HF_ROOT_BYTES],
                   const uint8_t signature[HF_BLS_SIGNATURE_BYTES]);

/* ---- secp256k1: ECDSA as Ethereum uses it -------------------------------------------------- */

#define HF_SECP256K1_SECRET_BYTES 32
#define HF_SECP256K1_PUBKEY_BYTES 64    /* x || y, big endian */
#define HF_SECP256K1_SIGNATURE_BYTES 65 /* r || s || v, v 27 or 28 */
#define HF_ADDRESS_BYTES 20

/* An address as a person writes it, with or without 0x: one of mixed case has the checksum of
 * EIP-55, and is INVALID_INPUT when that is wrong. */
hf_status hf_address_parse(const char *text, uint8_t ret_address[HF_ADDRESS_BYTES],
                           hf_error *err) HF_MUST_CHECK;

/* A secret scalar, big endian, 0 < secret < n; lives in a slab slot or on a stack that gets wiped.
 */
typedef struct hf_secp256k1_key {
    uint8_t secret[HF_SECP256K1_SECRET_BYTES];
} hf_secp256k1_key;

/* The library's state, blinded by fresh randomness. One thread at a time. */
typedef struct hf_secp256k1 hf_secp256k1;

hf_status hf_secp256k1_new(hf_secp256k1 **ret_secp) HF_MUST_CHECK; /* NOMEM, CRYPTO */
void hf_secp256k1_free(hf_secp256k1 *secp);
/* CRYPTO unless 0 < secret < n. */
hf_status hf_secp256k1_key_from_bytes(const hf_secp256k1 *secp,
                                      const uint8_t secret[HF_SECP256K1_SECRET_BYTES],
                                      hf_secp256k1_key *ret_key) HF_MUST_CHECK;
void hf_secp256k1_pubkey(const hf_secp256k1 *secp, const hf_secp256k1_key *key,
                         uint8_t ret_pubkey[HF_SECP256K1_PUBKEY_BYTES]);
/* The last 20 bytes of the public key's Keccak-256. */
void hf_secp256k1_address(const uint8_t pubkey[HF_SECP256K1_PUBKEY_BYTES],
                          uint8_t ret_address[HF_ADDRESS_BYTES]);
/* Deterministic (RFC 6979), with the lower s. Signs the digest as it is. */
hf_status hf_secp256k1_sign(hf_secp256k1 *secp, const hf_secp256k1_key *key,
                            const uint8_t digest[HF_KECCAK_BYTES],
                            uint8_t ret_signature[HF_SECP256K1_SIGNATURE_BYTES]) HF_MUST_CHECK;
/*
 * A signature that a device made, r || s: *ret_signature is it with the lower s, and with the v
 * that makes it recover to pubkey. CRYPTO: it is of no such key, or over other bytes.
 */
hf_status hf_secp256k1_complete(const hf_secp256k1 *secp, const uint8_t digest[HF_KECCAK_BYTES],
                                const uint8_t compact[HF_SECP256K1_SIGNATURE_BYTES - 1],
                                const uint8_t pubkey[HF_SECP256K1_PUBKEY_BYTES],
                                uint8_t ret_signature[HF_SECP256K1_SIGNATURE_BYTES]) HF_MUST_CHECK;
/* A public key from outside, in SEC1's forms, as x and y. CRYPTO: no point of the curve. */
hf_status hf_secp256k1_pubkey_parse(const hf_secp256k1 *secp, hf_bytes sec1,
                                    uint8_t ret_pubkey[HF_SECP256K1_PUBKEY_BYTES]) HF_MUST_CHECK;
/* Who signed this digest. INVALID_INPUT when nobody can have. Accepts the higher s too. */
hf_status hf_secp256k1_recover(const hf_secp256k1 *secp, const uint8_t digest[HF_KECCAK_BYTES],
                               const uint8_t signature[HF_SECP256K1_SIGNATURE_BYTES],
                               uint8_t ret_address[HF_ADDRESS_BYTES]) HF_MUST_CHECK;

/* ---- AES-256-GCM (NIST SP 800-38D) ----------------------------------------------------------- */

#define HF_AES_GCM_KEY_BYTES 32
#define HF_AES_GCM_NONCE_BYTES 12 /* never twice with one key */
#define HF_AES_GCM_TAG_BYTES 16

typedef struct hf_aes_gcm {
    uint8_t key[HF_AES_GCM_KEY_BYTES]; /* wiped by who holds it */
    uint8_t nonce[HF_AES_GCM_NONCE_BYTES];
    hf_bytes bound; /* authentic as well, and not in the output; may be empty */
} hf_aes_gcm;

/* out: as long as plain, and the tag. */
hf_status hf_aes_gcm_seal(const hf_aes_gcm *with, hf_bytes plain, uint8_t *out) HF_MUST_CHECK;
/* sealed: ciphertext and tag; out: as long as the ciphertext. CRYPTO, and out wiped, unless it is
 * what was sealed with these. */
hf_status hf_aes_gcm_open(const hf_aes_gcm *with, hf_bytes sealed, uint8_t *out) HF_MUST_CHECK;

/* ---- EIP-2333, EIP-2334: key derivation --------------------------------------------------- */

/* derive_master_SK: seed of 32 bytes or more. */
hf_status hf_eip2333_master(hf_bytes seed, hf_bls_key *ret_key) HF_MUST_CHECK;
hf_status hf_eip2333_child(const hf_bls_key *parent, uint32_t index,
                           hf_bls_key *ret_key) HF_MUST_CHECK;
/* Follows a path such as "m/12381/3600/0/0/0" from the seed. INVALID_INPUT for a malformed path. */
hf_status hf_eip2334_derive(hf_bytes seed, const char *path, hf_bls_key *ret_key) HF_MUST_CHECK;

/* BIP-32: the secp256k1 key of such a path, "m/44'/60'/0'/0/0" (' or h: hardened), from the seed.
 * INVALID_INPUT for a malformed path; CRYPTO where no key has it. */
hf_status hf_bip32_derive(hf_bytes seed, const char *path, hf_secp256k1_key *ret_key) HF_MUST_CHECK;

/* ---- BIP-39 ------------------------------------------------------------------------------- */

#define HF_BIP39_SEED_BYTES 64
#define HF_BIP39_TEXT_BYTES 256

/* English words from 128..256 bits of fresh entropy (24 words for 256), NUL-terminated. */
hf_status hf_bip39_generate(unsigned bits, char ret_words[HF_BIP39_TEXT_BYTES]) HF_MUST_CHECK;
/* Checks words and checksum; INVALID_INPUT names what is wrong (never the word itself). */
hf_status hf_bip39_to_seed(const char *words, const char *passphrase,
                           uint8_t ret_seed[HF_BIP39_SEED_BYTES], hf_error *err) HF_MUST_CHECK;

/* ---- EIP-2335: keystores ------------------------------------------------------------------ */

#define HF_KEYSTORE_MAX_BYTES 65536
#define HF_PASSWORD_MAX_BYTES 4096

typedef struct hf_keystore_limits {
    uint64_t max_kdf_memory_bytes; /* scrypt needs 128 * N * r: refused beyond */
} hf_keystore_limits;

/*
 * Decrypts the JSON text of a keystore, version 4, kdf scrypt or pbkdf2. password is raw bytes as
 * read from its file (one trailing newline is dropped, then NFKD, then control codes removed as the
 * EIP says). When the file states a pubkey it must be that of the key found (CORRUPT).
 * INVALID_INPUT names the malformed member; DENIED: wrong password.
 */
hf_status hf_keystore_decrypt(hf_bytes json, hf_bytes password, const hf_keystore_limits *limits,
                              hf_bls_key *ret_key, hf_error *err) HF_MUST_CHECK;
/* The public key that a keystore states, decrypting nothing; NOT_FOUND when it states none. */
hf_status hf_keystore_pubkey(hf_bytes json, uint8_t ret_pubkey[HF_BLS_PUBKEY_BYTES],
                             hf_error *err) HF_MUST_CHECK;
/* The memory that the keystore's kdf will want (0 for pbkdf2), without running it; of version 3
 * (below) too. */
hf_status hf_keystore_kdf_memory(hf_bytes json, uint64_t *ret_bytes, hf_error *err) HF_MUST_CHECK;

typedef enum hf_kdf { HF_KDF_SCRYPT, HF_KDF_PBKDF2 } hf_kdf;
typedef struct hf_keystore_options {
    hf_kdf kdf;
    uint64_t cost;           /* scrypt N or pbkdf2 c; 0 for the standard 262144 */
    const char *path;        /* EIP-2334 path, "" when the key has none */
    const char *description; /* or NULL */
} hf_keystore_options;

/* Writes a version 4 keystore; the caller frees *ret_json (NUL-terminated by hf_buf_text). */
hf_status hf_keystore_encrypt(const hf_bls_key *key, hf_bytes password,
                              const hf_keystore_options *options, hf_buf **ret_json,
                              hf_error *err) HF_MUST_CHECK;

/*
 * A text as the secret of such a keystore, which has no public key then: the EIP bounds no length.
 * The text has no NUL and 1 to 255 bytes. Errors as for keys.
 */
#define HF_KEYSTORE_TEXT_BYTES 256
hf_status hf_keystore_encrypt_text(const char *text, hf_bytes password,
                                   const hf_keystore_options *options, hf_buf **ret_json,
                                   hf_error *err) HF_MUST_CHECK;
hf_status hf_keystore_decrypt_text(hf_bytes json, hf_bytes password,
                                   const hf_keystore_limits *limits,
                                   char ret_text[HF_KEYSTORE_TEXT_BYTES],
                                   hf_error *err) HF_MUST_CHECK;

/* ---- Web3 Secret Storage: keystores of secp256k1 keys --------------------------------------- */

/*
 * Decrypts the JSON text of a keystore, version 3 (geth's, "wallet v3"): kdf scrypt or pbkdf2,
 * cipher aes-128-ctr, Keccak MAC. password is raw bytes as read from its file; one trailing newline
 * is dropped and nothing else changed, as geth does. When the file states an address it must be
 * that of the key found (CORRUPT). Errors as for hf_keystore_decrypt.
 */
hf_status hf_keystore_v3_decrypt(hf_bytes json, hf_bytes password, const hf_keystore_limits *limits,
                                 hf_secp256k1_key *ret_key, hf_error *err) HF_MUST_CHECK;

/* The address that such a keystore states; NOT_FOUND when it states none. */
hf_status hf_keystore_v3_address(hf_bytes json, uint8_t ret_address[HF_ADDRESS_BYTES],
                                 hf_error *err) HF_MUST_CHECK;

/* Is this text one of those, by its version and shape? */
bool hf_keystore_is_v3(hf_bytes json);

/* What a key is for. */
typedef enum hf_key_type {
    HF_KEY_TYPE_BLS = 0,
    HF_KEY_TYPE_SECP256K1,
    HF_KEY_TYPE_COUNT
} hf_key_type;

#endif
