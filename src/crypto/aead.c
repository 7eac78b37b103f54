/* AES-256-GCM by OpenSSL, for what keys of a cloud or a device protect. */
#include <openssl/evp.h>

#include "crypto.h"

/* More than anything that is kept this way, and far below what OpenSSL takes as int. */
#define LEN_MAX (1U << 20)

/* tag: written when sealing, else asked for. */
static bool run(bool seal, const hf_aes_gcm *with, hf_bytes in, uint8_t *out,
                uint8_t tag[HF_AES_GCM_TAG_BYTES])
{
    int len = 0;
    uint8_t unused[HF_AES_GCM_TAG_BYTES];
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    bool ok = cipher != NULL &&
              EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, with->key, with->nonce,
                                seal ? 1 : 0) == 1 &&
              (with->bound.len == 0 ||
               EVP_CipherUpdate(cipher, NULL, &len, with->bound.ptr, (int)with->bound.len) == 1) &&
              EVP_CipherUpdate(cipher, out, &len, in.ptr, (int)in.len) == 1 &&
              (seal ||
               EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, HF_AES_GCM_TAG_BYTES, tag) == 1) &&
              EVP_CipherFinal_ex(cipher, unused, &len) == 1 &&
              (!seal ||
               EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, HF_AES_GCM_TAG_BYTES, tag) == 1);
    EVP_CIPHER_CTX_free(cipher); /* wipes its schedule */
    return ok;
}

hf_status hf_aes_gcm_seal(const hf_aes_gcm *with, hf_bytes plain, uint8_t *out)
{
    HF_ASSERT(plain.len > 0 && plain.len <= LEN_MAX && with->bound.len <= LEN_MAX);
    return (hf_status){run(true, with, plain, out, out + plain.len) ? HF_OK : HF_CRYPTO};
}

hf_status hf_aes_gcm_open(const hf_aes_gcm *with, hf_bytes sealed, uint8_t *out)
{
    uint8_t tag[HF_AES_GCM_TAG_BYTES];
    if (sealed.len <= sizeof tag || sealed.len > LEN_MAX || with->bound.len > LEN_MAX) {
        return (hf_status){HF_CRYPTO};
    }
    hf_bytes in = hf_bytes_from(sealed.ptr, sealed.len - sizeof tag);
    memcpy(tag, in.ptr + in.len, sizeof tag);
    if (!run(false, with, in, out, tag)) {
        hf_wipe(out, in.len); /* never what is not authentic */
        return (hf_status){HF_CRYPTO};
    }
    return hf_ok();
}
