/* Keys that sign in KMS: what GetPublicKey and Sign answer, read and verified by OpenSSL. */
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/x509.h>
#include <sodium.h>

#include "custody/awskms_internal.h"
#include "custody/custody.h"

#define SPKI_MAX 512
#define SCALAR_BYTES 32

/* ---- public keys -------------------------------------------------------------------------- */

static hf_status read_curve_point(EVP_PKEY *key, hf_kms_sign_key *out)
{
    char group[64] = "";
    size_t len = 0;
    if (EVP_PKEY_get_group_name(key, group, sizeof group, NULL) != 1) {
        return (hf_status){HF_USAGE};
    }
    if (strcmp(group, "secp256k1") == 0) {
        out->type = HF_CUSTODY_SECP256K1;
    } else if (strcmp(group, "prime256v1") == 0) {
        out->type = HF_CUSTODY_P256;
    } else {
        return (hf_status){HF_USAGE};
    }
    if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, out->public_key,
                                        sizeof out->public_key, &len) != 1 ||
        len != 1 + 2 * SCALAR_BYTES || out->public_key[0] != 0x04) {
        return (hf_status){HF_USAGE};
    }
    out->public_len = (uint32_t)len;
    return hf_ok();
}

static hf_status read_key(EVP_PKEY *key, hf_kms_sign_key *out)
{
    size_t len = sizeof out->public_key;
    if (EVP_PKEY_get_id(key) == EVP_PKEY_EC) {
        return read_curve_point(key, out);
    }
    if (EVP_PKEY_get_id(key) == EVP_PKEY_ED25519 &&
        EVP_PKEY_get_raw_public_key(key, out->public_key, &len) == 1) {
        out->type = HF_CUSTODY_ED25519;
        out->public_len = (uint32_t)len;
        return hf_ok();
    }
    return (hf_status){HF_USAGE};
}

hf_status hf_kms_read_public(const json_t *answer, hf_kms_sign_key *ret_key, hf_error *err)
{
    hf_kms_sign_key found = {0};
    uint8_t spki[SPKI_MAX];
    uint8_t id[HF_SOURCE_ID_LEN];
    size_t len = 0;
    const char *arn = json_string_value(json_object_get(answer, "KeyId"));
    const char *use = json_string_value(json_object_get(answer, "KeyUsage"));
    if (arn == NULL || hf_failed(hf_str_copy(found.arn, sizeof found.arn, arn)) ||
        hf_failed(hf_aws_read_base64(answer, "PublicKey", spki, sizeof spki, &len))) {
        return hf_fail(err, HF_INVALID_INPUT, "KMS answered with something else than a public key");
    }
    const unsigned char *at = spki;
    found.public = d2i_PUBKEY(NULL, &at, (long)len);
    hf_status st = {HF_USAGE};
    if (found.public != NULL && at == spki + len && use != NULL &&
        strcmp(use, "SIGN_VERIFY") == 0) {
        st = read_key(found.public, &found);
    }
    if (hf_failed(st)) {
        EVP_PKEY_free(found.public);
        return hf_fail(err, HF_USAGE,
                       "not a key that signs with secp256k1 (ECC_SECG_P256K1), P-256 or Ed25519");
    }
    hf_custody_source_id(found.arn, 0, id);
    found.handle = hf_le64_get(id);
    found.known = true;
    *ret_key = found;
    return hf_ok();
}

/* ---- signatures --------------------------------------------------------------------------- */

/* DER as KMS gives it, nothing behind it, to r || s. */
static bool to_scalars(hf_bytes der, uint8_t out[2 * SCALAR_BYTES])
{
    const unsigned char *at = der.ptr;
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long)der.len);
    bool ok =
        signature != NULL && at == der.ptr + der.len &&
        BN_bn2binpad(ECDSA_SIG_get0_r(signature), out, SCALAR_BYTES) == SCALAR_BYTES &&
        BN_bn2binpad(ECDSA_SIG_get0_s(signature), out + SCALAR_BYTES, SCALAR_BYTES) == SCALAR_BYTES;
    ECDSA_SIG_free(signature);
    return ok;
}

/* digest: of ECDSA. */
static bool is_of_digest(EVP_PKEY *key, hf_bytes digest, hf_bytes der)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
    bool good = context != NULL && EVP_PKEY_verify_init(context) == 1 &&
                EVP_PKEY_verify(context, der.ptr, der.len, digest.ptr, digest.len) == 1;
    EVP_PKEY_CTX_free(context);
    return good;
}

hf_status hf_kms_read_signature(const hf_kms_sign_key *key, hf_bytes message, hf_bytes signature,
                                uint8_t ret_signature[HF_CUSTODY_SIGNATURE_BYTES], hf_error *err)
{
    uint8_t found[HF_CUSTODY_SIGNATURE_BYTES];
    bool good = false;
    if (key->type == HF_CUSTODY_ED25519) {
        good = signature.len == sizeof found &&
               crypto_sign_verify_detached(signature.ptr, message.ptr, message.len,
                                           key->public_key) == 0;
        memcpy(found, signature.ptr, good ? sizeof found : 0);
    } else {
        good = to_scalars(signature, found) && is_of_digest(key->public, message, signature);
    }
    if (!good) {
        return hf_fail(err, HF_CRYPTO, "%s: what KMS answered is no signature of this key",
                       key->arn);
    }
    memcpy(ret_signature, found, sizeof found);
    return hf_ok();
}
