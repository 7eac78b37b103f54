/* AES-256-GCM by OpenSSL, for what keys of a cloud or a device protect. */
#include <openssl/evp.h>

#include "crypto.h"

/* More than anything that is kept this way, and far below what OpenSSL takes as int. */
#define LEN_MAX (1U << 20)

static bool run(EVP_CIPHER_CTX *cipher, bool seal, const hf_aes_gcm *with, hf_bytes in,
                uint8_t *out)
{
    int len = 0;
    uint8_t unused[HF_AES_GCM_TAG_BYTES];
    return EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, with->key, with->nonce,
                             seal ? 1 : 0) == 1 &&
           EVP_CipherUpdate(cipher, NULL, &len, with->bound.ptr, (int)with->bound.len) == 1 &&
           EVP_CipherUpdate(cipher, out, &len, in.ptr, (int)in.len) == 1 &&
           EVP_CipherFinal_ex(cipher, unused, &len) == 1;
}

hf_status hf_aes_gcm_seal(const hf_aes_gcm *with, hf_bytes plain, uint8_t *out)
{
    hf_status st = {HF_CRYPTO};
    HF_ASSERT(plain.len > 0 && plain.len <= LEN_MAX && with->bound.len <= LEN_MAX);
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    if (cipher != NULL && run(cipher, true, with, plain, out) &&
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, HF_AES_GCM_TAG_BYTES, out + plain.len) ==
            1) {
        st = hf_ok();
    }
    EVP_CIPHER_CTX_free(cipher); /* wipes its schedule */
    return st;
}

hf_status hf_aes_gcm_open(const hf_aes_gcm *with, hf_bytes sealed, uint8_t *out)
{
    uint8_t tag[HF_AES_GCM_TAG_BYTES];
    hf_status st = {HF_CRYPTO};
    if (sealed.len <= sizeof tag || sealed.len > LEN_MAX || with->bound.len > LEN_MAX) {
        return st;
    }
    hf_bytes in = hf_bytes_from(sealed.ptr, sealed.len - sizeof tag);
    memcpy(tag, in.ptr + in.len, sizeof tag);
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    /* The tag is asked for at the end, and may be set before the start. */
    if (cipher != NULL && EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, NULL, NULL, 0) == 1 &&
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, sizeof tag, tag) == 1 &&
        run(cipher, false, with, in, out)) {
        st = hf_ok();
    } else {
        hf_wipe(out, in.len); /* never what is not authentic */
    }
    EVP_CIPHER_CTX_free(cipher);
    return st;
}
