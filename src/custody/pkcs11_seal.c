/* The mechanisms that wrap: bytes by C_Encrypt, or where a key may only wrap, as an object. */
#include "custody/pkcs11_internal.h"

/* The number of version 3.0, where p11-kit's header of 2.40 ends. */
#define AES_KEY_WRAP_KWP 0x210bUL
#define TAG_BITS 128
#define VALUE_MAX 512

static CK_MECHANISM_TYPE type_of(uint8_t mechanism)
{
    switch (mechanism) {
    case HF_P11_AES_GCM:
        return CKM_AES_GCM;
    case HF_P11_AES_KWP:
        return AES_KEY_WRAP_KWP;
    case HF_P11_AES_WRAP_PAD:
        return CKM_AES_KEY_WRAP_PAD;
    case HF_P11_AES_WRAP:
        return CKM_AES_KEY_WRAP;
    default:
        return CKM_RSA_PKCS_OAEP;
    }
}

bool hf_p11_has_mechanism(hf_pkcs11 *p11, uint8_t mechanism, CK_FLAGS flags)
{
    CK_MECHANISM_INFO info;
    return p11->f->C_GetMechanismInfo(p11->slot, type_of(mechanism), &info) == CKR_OK &&
           (info.flags & flags) == flags;
}

typedef struct parameters {
    CK_MECHANISM mechanism;
    CK_GCM_PARAMS gcm;
    CK_RSA_PKCS_OAEP_PARAMS oaep;
} parameters;

static void fill(parameters *p, hf_p11_sealing *sealing)
{
    p->mechanism = (CK_MECHANISM){type_of(sealing->mechanism), NULL, 0};
    if (sealing->mechanism == HF_P11_AES_GCM) {
        p->gcm = (CK_GCM_PARAMS){.iv_ptr = sealing->iv,
                                 .iv_len = sizeof sealing->iv,
                                 .iv_bits = 8 * sizeof sealing->iv,
                                 .aad_ptr = sealing->context,
                                 .aad_len = sizeof sealing->context,
                                 .tag_bits = TAG_BITS};
        p->mechanism.pParameter = &p->gcm;
        p->mechanism.ulParameterLen = sizeof p->gcm;
    } else if (p->mechanism.mechanism == CKM_RSA_PKCS_OAEP) {
        bool is_long = sealing->mechanism == HF_P11_OAEP_SHA256;
        p->oaep = (CK_RSA_PKCS_OAEP_PARAMS){
            .hashAlg = is_long ? CKM_SHA256 : CKM_SHA_1,
            .mgf = is_long ? CKG_MGF1_SHA256 : CKG_MGF1_SHA1,
            .source = CKZ_DATA_SPECIFIED,
        };
        p->mechanism.pParameter = &p->oaep;
        p->mechanism.ulParameterLen = sizeof p->oaep;
    }
}

static CK_RV encrypt_or_decrypt(hf_pkcs11 *p11, CK_SESSION_HANDLE session, hf_p11_sealing *sealing,
                                parameters *p, bool encrypts, const char **function)
{
    CK_C_EncryptInit begin = encrypts ? p11->f->C_EncryptInit : p11->f->C_DecryptInit;
    CK_C_Encrypt run = encrypts ? p11->f->C_Encrypt : p11->f->C_Decrypt;
    *function = encrypts ? "C_EncryptInit" : "C_DecryptInit";
    CK_RV rv = begin(session, &p->mechanism, sealing->key);
    if (rv != CKR_OK) {
        return rv;
    }
    CK_ULONG len = sealing->out_len;
    *function = encrypts ? "C_Encrypt" : "C_Decrypt";
    rv = run(session, hf_p11_unconst(sealing->in), sealing->in_len, sealing->out, &len);
    sealing->out_len = len;
    return rv;
}

/* A secret of no use but to be wrapped: of this session, gone with it at the latest. */
static CK_RV wrap_object(hf_pkcs11 *p11, CK_SESSION_HANDLE session, hf_p11_sealing *sealing,
                         parameters *p, const char **function)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof class},
        {CKA_KEY_TYPE, &type, sizeof type},
        {CKA_TOKEN, &no, sizeof no},
        {CKA_EXTRACTABLE, &yes, sizeof yes},
        {CKA_VALUE, hf_p11_unconst(sealing->in), sealing->in_len},
    };
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
    *function = "C_CreateObject";
    CK_RV rv = p11->f->C_CreateObject(session, template, HF_ARRAY_LEN(template), &object);
    if (rv != CKR_OK) {
        return rv;
    }
    CK_ULONG len = sealing->out_len;
    *function = "C_WrapKey";
    rv = p11->f->C_WrapKey(session, &p->mechanism, sealing->key, object, sealing->out, &len);
    sealing->out_len = len;
    (void)p11->f->C_DestroyObject(session, object);
    return rv;
}

static CK_RV unwrap_object(hf_pkcs11 *p11, CK_SESSION_HANDLE session, hf_p11_sealing *sealing,
                           parameters *p, const char **function)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof class},   {CKA_KEY_TYPE, &type, sizeof type},
        {CKA_TOKEN, &no, sizeof no},         {CKA_SENSITIVE, &no, sizeof no},
        {CKA_EXTRACTABLE, &yes, sizeof yes},
    };
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
    *function = "C_UnwrapKey";
    CK_RV rv =
        p11->f->C_UnwrapKey(session, &p->mechanism, sealing->key, hf_p11_unconst(sealing->in),
                            sealing->in_len, template, HF_ARRAY_LEN(template), &object);
    if (rv != CKR_OK) {
        return rv;
    }
    CK_ATTRIBUTE value = {CKA_VALUE, sealing->out, sealing->out_len};
    *function = "C_GetAttributeValue";
    rv = p11->f->C_GetAttributeValue(session, object, &value, 1);
    sealing->out_len = rv == CKR_OK ? value.ulValueLen : 0;
    (void)p11->f->C_DestroyObject(session, object);
    return rv;
}

CK_RV hf_p11_seal(hf_pkcs11 *p11, CK_SESSION_HANDLE session, hf_p11_sealing *sealing,
                  const char **function)
{
    parameters p = {0};
    fill(&p, sealing);
    return sealing->by_object ? wrap_object(p11, session, sealing, &p, function)
                              : encrypt_or_decrypt(p11, session, sealing, &p, true, function);
}

CK_RV hf_p11_open_sealed(hf_pkcs11 *p11, CK_SESSION_HANDLE session, hf_p11_sealing *sealing,
                         const char **function)
{
    parameters p = {0};
    fill(&p, sealing);
    return sealing->by_object ? unwrap_object(p11, session, sealing, &p, function)
                              : encrypt_or_decrypt(p11, session, sealing, &p, false, function);
}
