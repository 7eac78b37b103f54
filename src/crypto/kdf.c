/*
 * Password hashing and the keystore cipher. scrypt is libsodium's, whose vector code takes two
 * thirds of the time of OpenSSL's (0.58 s against 0.85 s at the standard cost); the rest is
 * OpenSSL.
 */
#include "crypto_internal.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sodium.h>

/* Far above what any tool writes; they keep the arithmetic in range and a hostile file from running
 * for hours. Memory is bounded by the caller's own limit. */
#define SCRYPT_N_MAX (1ULL << 30)
#define SCRYPT_R_MAX 1024
#define SCRYPT_P_MAX 64
#define PBKDF2_C_MAX (1ULL << 25)

_Static_assert(PBKDF2_C_MAX <= INT_MAX, "OpenSSL takes the count as int");

/* No openssl.cnf: the loader is sandboxed and its cryptography must not depend on a file. */
static void openssl_prepare(void)
{
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
}

hf_status hf_kdf_check(const hf_kdf_params *params, const char *path, hf_error *err)
{
    if (params->kdf == HF_KDF_PBKDF2) {
        if (params->c < 1 || params->c > PBKDF2_C_MAX) {
            return hf_fail(err, HF_INVALID_INPUT, "%s.c: must be 1 to %llu", path, PBKDF2_C_MAX);
        }
        return hf_ok();
    }
    if (params->n < 2 || params->n > SCRYPT_N_MAX || (params->n & (params->n - 1)) != 0) {
        return hf_fail(err, HF_INVALID_INPUT, "%s.n: must be a power of two, 2 to %llu", path,
                       SCRYPT_N_MAX);
    }
    if (params->r < 1 || params->r > SCRYPT_R_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "%s.r: must be 1 to %d", path, SCRYPT_R_MAX);
    }
    if (params->p < 1 || params->p > SCRYPT_P_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "%s.p: must be 1 to %d", path, SCRYPT_P_MAX);
    }
    return hf_ok();
}

uint64_t hf_kdf_memory(const hf_kdf_params *params)
{
    if (params->kdf == HF_KDF_PBKDF2) {
        return 0;
    }
    return 128 * params->r * (params->n + params->p);
}

hf_status hf_kdf_check_memory(const hf_kdf_params *kdf, const hf_keystore_limits *limits,
                              hf_error *err)
{
    uint64_t need = hf_kdf_memory(kdf);
    if (need > limits->max_kdf_memory_bytes) {
        return hf_fail(err, HF_LIMIT, "scrypt wants %llu MiB of memory, the limit is %llu MiB",
                       (unsigned long long)(need >> 20),
                       (unsigned long long)(limits->max_kdf_memory_bytes >> 20));
    }
    return hf_ok();
}

hf_status hf_kdf_derive(const hf_kdf_params *params, hf_bytes password,
                        uint8_t ret_key[HF_DECRYPTION_KEY_BYTES], hf_error *err)
{
    HF_ASSERT(password.len <= INT_MAX);
    if (params->kdf == HF_KDF_SCRYPT) {
        if (crypto_pwhash_scryptsalsa208sha256_ll(
                password.ptr, password.len, params->salt, params->salt_len, params->n,
                (uint32_t)params->r, (uint32_t)params->p, ret_key, HF_DECRYPTION_KEY_BYTES) != 0) {
            return hf_fail(err, HF_NOMEM, "scrypt failed: it wants %llu MiB of memory",
                           (unsigned long long)(hf_kdf_memory(params) >> 20));
        }
        return hf_ok();
    }
    openssl_prepare();
    if (PKCS5_PBKDF2_HMAC((const char *)password.ptr, (int)password.len, params->salt,
                          (int)params->salt_len, (int)params->c, EVP_sha256(),
                          HF_DECRYPTION_KEY_BYTES, ret_key) != 1) {
        return hf_fail(err, HF_CRYPTO, "pbkdf2 failed");
    }
    return hf_ok();
}

hf_status hf_kdf_sha512(hf_bytes password, hf_bytes salt, int rounds, uint8_t *ret_key, size_t len)
{
    HF_ASSERT(password.len <= INT_MAX && salt.len <= INT_MAX && len <= INT_MAX);
    openssl_prepare();
    int done = PKCS5_PBKDF2_HMAC((const char *)password.ptr, (int)password.len, salt.ptr,
                                 (int)salt.len, rounds, EVP_sha512(), (int)len, ret_key);
    return done == 1 ? hf_ok() : (hf_status){HF_CRYPTO};
}

hf_status hf_aes128_ctr(const uint8_t key[16], const uint8_t iv[16], const uint8_t *in, size_t len,
                        uint8_t *out)
{
    HF_ASSERT(len <= INT_MAX);
    hf_status st = {HF_CRYPTO};
    int written = 0;
    openssl_prepare();
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx == NULL) {
        return (hf_status){HF_NOMEM};
    }
    if (EVP_EncryptInit_ex2(ctx, EVP_aes_128_ctr(), key, iv, NULL) == 1 &&
        EVP_EncryptUpdate(ctx, out, &written, in, (int)len) == 1 && (size_t)written == len) {
        st = hf_ok();
    }
    EVP_CIPHER_CTX_free(ctx); /* wipes the key schedule */
    return st;
}
