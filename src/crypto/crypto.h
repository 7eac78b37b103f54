/*
 * crypto: thin wrappers over blst, libsodium and OpenSSL, and the two key standards built on them
 * (EIP-2333 derivation, EIP-2335 keystores). No primitive is written here.
 *
 * The functions fall in two groups that land in different object files, so that a process links
 * only what it calls: crypto_core (bls.c, secret.c, sha256.c: blst, libsodium) for the keeper;
 * crypto_keys (derivation, mnemonics, keystores: OpenSSL, libunistring, jansson as well) for the
 * loader and the command line.
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

/* Constant time in the content. */
bool hf_secret_equal(const void *a, const void *b, size_t len);
/* Uniform random bytes from the kernel (getrandom by libsodium). Aborts when there are none. */
void hf_random(void *ret_bytes, size_t len);

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
void *hf_slab_alloc(hf_slab *slab); /* NULL when full */
void hf_slab_release(hf_slab *slab, void *slot);

/* ---- BLS12-381, minimal-pubkey-size, proof of possession scheme --------------------------- */
/* draft-irtf-cfrg-bls-signature-05, DST BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_ */

/* A secret scalar in blst's own layout; lives in a slab slot or on a stack that gets wiped. */
typedef struct hf_bls_key {
    _Alignas(8) uint8_t scalar[HF_BLS_SECRET_BYTES];
} hf_bls_key;

/* A message already hashed to G2, in a random projective form of which nobody else knows. */
typedef struct hf_bls_point {
    _Alignas(64) uint8_t opaque[288];
} hf_bls_point;

/* 32 bytes big endian; CRYPTO unless 0 < secret < r. */
hf_status hf_bls_key_from_bytes(const uint8_t secret[HF_BLS_SECRET_BYTES],
                                hf_bls_key *ret_key) HF_MUST_CHECK;
void hf_bls_key_to_bytes(const hf_bls_key *key, uint8_t ret_secret[HF_BLS_SECRET_BYTES]);
void hf_bls_pubkey(const hf_bls_key *key, uint8_t ret_pubkey[HF_BLS_PUBKEY_BYTES]);
/* Is this a valid compressed point of the G1 subgroup, not the identity? */
bool hf_bls_pubkey_is_valid(const uint8_t pubkey[HF_BLS_PUBKEY_BYTES]);

/* About half the cost of a signature; needs no key, so it may run before the record is durable. */
void hf_bls_hash(const uint8_t root[HF_ROOT_BYTES], hf_bls_point *ret_point);
/*
 * Signs one point with n keys: signatures[i] belongs to keys[i]. The one place where keys meet
 * messages, shaped so that many keys on one root can share work.
 */
void hf_bls_sign_many(const hf_bls_point *point, const hf_bls_key *const keys[], size_t n,
                      uint8_t (*ret_signatures)[HF_BLS_SIGNATURE_BYTES]);
bool hf_bls_verify(const uint8_t pubkey[HF_BLS_PUBKEY_BYTES], const uint8_t root[HF_ROOT_BYTES],
                   const uint8_t signature[HF_BLS_SIGNATURE_BYTES]);

/* ---- EIP-2333, EIP-2334: key derivation --------------------------------------------------- */

/* derive_master_SK: seed of 32 bytes or more. */
hf_status hf_eip2333_master(hf_bytes seed, hf_bls_key *ret_key) HF_MUST_CHECK;
hf_status hf_eip2333_child(const hf_bls_key *parent, uint32_t index,
                           hf_bls_key *ret_key) HF_MUST_CHECK;
/* Follows a path such as "m/12381/3600/0/0/0" from the seed. INVALID_INPUT for a malformed path. */
hf_status hf_eip2334_derive(hf_bytes seed, const char *path, hf_bls_key *ret_key) HF_MUST_CHECK;

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
/* The memory that the keystore's kdf will want (0 for pbkdf2), without running it. */
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

#endif
