/* Shared between the files of crypto_keys: key derivation functions and passwords. */
#ifndef HF_CRYPTO_INTERNAL_H
#define HF_CRYPTO_INTERNAL_H

#include "crypto.h"

#define HF_SALT_MAX_BYTES 256
/* The decryption key of EIP-2335: 16 bytes for the cipher, 16 for the checksum. */
#define HF_DECRYPTION_KEY_BYTES 32

typedef struct hf_kdf_params {
    hf_kdf kdf;
    uint64_t n, r, p; /* scrypt */
    uint64_t c;       /* pbkdf2 */
    uint8_t salt[HF_SALT_MAX_BYTES];
    size_t salt_len;
} hf_kdf_params;

/* INVALID_INPUT, naming the member below path, when a cost is out of range. */
hf_status hf_kdf_check(const hf_kdf_params *params, const char *path, hf_error *err) HF_MUST_CHECK;
/* LIMIT when checked parameters want more memory than they may have. */
hf_status hf_kdf_check_memory(const hf_kdf_params *kdf, const hf_keystore_limits *limits,
                              hf_error *err) HF_MUST_CHECK;
/* Bytes of memory that checked parameters want; 0 for pbkdf2. */
uint64_t hf_kdf_memory(const hf_kdf_params *params);
/* Runs for about a second at standard cost. NOMEM when scrypt's memory cannot be had. */
hf_status hf_kdf_derive(const hf_kdf_params *params, hf_bytes password,
                        uint8_t ret_key[HF_DECRYPTION_KEY_BYTES], hf_error *err) HF_MUST_CHECK;
/* PBKDF2-HMAC-SHA512, for BIP-39. */
hf_status hf_kdf_sha512(hf_bytes password, hf_bytes salt, int rounds, uint8_t *ret_key,
                        size_t len) HF_MUST_CHECK;

/* AES-128-CTR, which is its own inverse. */
hf_status hf_aes128_ctr(const uint8_t key[16], const uint8_t iv[16], const uint8_t *in, size_t len,
                        uint8_t *out) HF_MUST_CHECK;

/* Appends the NFKD form of UTF-8 text; INVALID_INPUT when it is not UTF-8. */
hf_status hf_text_nfkd(hf_bytes text, hf_buf *out) HF_MUST_CHECK;
/* Editors end a file with a newline that nobody meant as part of the password. */
hf_bytes hf_password_trim(hf_bytes text);
/* The bytes that go into the kdf; the caller frees *ret_password, which wipes it. */
hf_status hf_password_normalise(hf_bytes password, hf_buf **ret_password,
                                hf_error *err) HF_MUST_CHECK;

#endif
