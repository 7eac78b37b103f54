/*
 * Short secrets under a key-encryption key inside.
 *
 * What the token encrypts is SHA-256(context) || length (2, big endian) || secret || zeros up to a
 * multiple of 8: so each mechanism binds the secret to its context, those too that have no place
 * for one. The result is "HFP1" || mechanism || how || (AES-GCM: IV, 12) || ciphertext. A wrapped
 * secret is unwrapped once before it is given out.
 */
#include "custody/pkcs11_internal.h"

#include "crypto/crypto.h"

#define MAGIC "HFP1"
#define MAGIC_LEN 4
#define HEAD_LEN (MAGIC_LEN + 2)
#define IV_LEN 12
#define CONTEXT_LEN 32
#define FRAME_HEAD_LEN (CONTEXT_LEN + 2)
#define FRAME_MAX ((FRAME_HEAD_LEN + HF_P11_SECRET_MAX + 7) / 8 * 8)
#define PLAIN_MAX 1024 /* modules want the room of a whole RSA block, whatever comes out */
#define BY_BYTES 1
#define BY_OBJECT 2

/* ---- the framed secret ------------------------------------------------------------------------
 */

static size_t frame_secret(const uint8_t context[CONTEXT_LEN], hf_bytes secret,
                           uint8_t ret_frame[FRAME_MAX])
{
    memset(ret_frame, 0, FRAME_MAX);
    memcpy(ret_frame, context, CONTEXT_LEN);
    ret_frame[CONTEXT_LEN] = (uint8_t)(secret.len >> 8);
    ret_frame[CONTEXT_LEN + 1] = (uint8_t)secret.len;
    memcpy(ret_frame + FRAME_HEAD_LEN, secret.ptr, secret.len);
    return (FRAME_HEAD_LEN + secret.len + 7) / 8 * 8;
}

/* Points into frame. */
static bool unframe(const uint8_t context[CONTEXT_LEN], const uint8_t *frame, size_t len,
                    hf_bytes *ret_secret)
{
    if (len < FRAME_HEAD_LEN || !hf_secret_equal(frame, context, CONTEXT_LEN)) {
        return false;
    }
    size_t secret_len = ((size_t)frame[CONTEXT_LEN] << 8) | frame[CONTEXT_LEN + 1];
    if (secret_len > HF_P11_SECRET_MAX || len != (FRAME_HEAD_LEN + secret_len + 7) / 8 * 8) {
        return false;
    }
    *ret_secret = hf_bytes_from(frame + FRAME_HEAD_LEN, secret_len);
    return true;
}

/* ---- the key-encryption key -------------------------------------------------------------------
 */

typedef struct wrapping {
    const char *reference;
    hf_bytes secret; /* to wrap */
    hf_bytes blob;   /* to unwrap */
    uint8_t *out;
    size_t out_len;
    hf_p11_sealing sealing;
} wrapping;

/* One object, and only one, of this class; CK_INVALID_HANDLE when there is none. */
static CK_RV find_one(hf_pkcs11 *p11, CK_SESSION_HANDLE session, CK_OBJECT_CLASS class,
                      const hf_p11_reference *named, hf_p11_job *job, CK_OBJECT_HANDLE *ret_key)
{
    hf_p11_reference wanted = *named;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class},
                               {wanted.type, wanted.bytes, wanted.len}};
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
    size_t count = 0;
    CK_RV rv = hf_p11_find(p11, session, template, HF_ARRAY_LEN(template), &object, 1, &count,
                           &job->function);
    *ret_key = rv == CKR_OK && count > 0 ? object : CK_INVALID_HANDLE;
    if (rv == CKR_OK && count > 1) {
        job->status = hf_fail(job->err, HF_CONFLICT, "the token has several keys of that name");
    }
    return rv;
}

/* AES, or the half of an RSA pair that this direction takes. */
static CK_RV find_wrap_key(hf_pkcs11 *p11, CK_SESSION_HANDLE session, const char *reference,
                           CK_OBJECT_CLASS rsa_half, hf_p11_job *job, CK_OBJECT_HANDLE *ret_key,
                           CK_ULONG *ret_type)
{
    hf_p11_reference named;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    job->status = hf_p11_reference_parse(reference, &named, job->err);
    if (hf_failed(job->status)) {
        return CKR_OK;
    }
    CK_RV rv = find_one(p11, session, CKO_SECRET_KEY, &named, job, &key);
    if (rv == CKR_OK && key == CK_INVALID_HANDLE && !hf_failed(job->status)) {
        rv = find_one(p11, session, rsa_half, &named, job, &key);
    }
    if (rv != CKR_OK || hf_failed(job->status)) {
        return rv;
    }
    if (key == CK_INVALID_HANDLE) {
        job->status =
            hf_fail(job->err, HF_NOT_FOUND, "the token has no key %s that wraps", reference);
        return CKR_OK;
    }
    rv = hf_p11_number(p11, session, key, CKA_KEY_TYPE, ret_type, &job->function);
    if (rv == CKR_OK && *ret_type != CKK_AES && *ret_type != CKK_RSA) {
        job->status = hf_fail(job->err, HF_USAGE, "the key %s is neither AES nor RSA", reference);
    }
    *ret_key = key;
    return rv;
}

/* ---- wrapping ---------------------------------------------------------------------------------
 */

typedef struct way {
    uint8_t mechanism;
    bool by_object;
    CK_KEY_TYPE type;
} way;

/* In the order in which they are tried. */
static const way ways[] = {
    {HF_P11_AES_GCM, false, CKK_AES},     {HF_P11_AES_KWP, true, CKK_AES},
    {HF_P11_AES_WRAP_PAD, true, CKK_AES}, {HF_P11_AES_WRAP, true, CKK_AES},
    {HF_P11_OAEP_SHA256, false, CKK_RSA}, {HF_P11_OAEP_SHA1, false, CKK_RSA},
    {HF_P11_OAEP_SHA256, true, CKK_RSA},  {HF_P11_OAEP_SHA1, true, CKK_RSA},
};

static CK_RV unwrap_blob(hf_pkcs11 *p11, CK_SESSION_HANDLE session, wrapping *w, hf_p11_job *job);

/* Writes w->out by this way, and reads it back. */
static CK_RV wrap_by(hf_pkcs11 *p11, CK_SESSION_HANDLE session, const way *how, wrapping *w,
                     hf_p11_job *job)
{
    uint8_t frame[FRAME_MAX];
    uint8_t again[HF_P11_SECRET_MAX];
    size_t iv_len = how->mechanism == HF_P11_AES_GCM ? IV_LEN : 0;
    hf_p11_sealing *sealing = &w->sealing;
    sealing->mechanism = how->mechanism;
    sealing->by_object = how->by_object;
    memset(sealing->iv, 0, sizeof sealing->iv);
    if (!p11->config.token_makes_iv) {
        hf_random(sealing->iv, sizeof sealing->iv);
    }
    sealing->in = frame;
    sealing->in_len = frame_secret(sealing->context, w->secret, frame);
    sealing->out = w->out + HEAD_LEN + iv_len;
    sealing->out_len = w->out_len - HEAD_LEN - iv_len;
    CK_RV rv = hf_p11_seal(p11, session, sealing, &job->function);
    hf_wipe(frame, sizeof frame);
    if (rv != CKR_OK) {
        return rv;
    }
    if (iv_len > 0 && hf_bytes_is_zero(sealing->iv, sizeof sealing->iv)) {
        job->status = hf_fail(job->err, HF_CRYPTO, "the token wrote no IV");
        return CKR_OK;
    }
    memcpy(w->out, MAGIC, MAGIC_LEN);
    w->out[MAGIC_LEN] = how->mechanism;
    w->out[MAGIC_LEN + 1] = how->by_object ? BY_OBJECT : BY_BYTES;
    memcpy(w->out + HEAD_LEN, sealing->iv, iv_len);
    wrapping check = *w;
    check.blob = hf_bytes_from(w->out, HEAD_LEN + iv_len + sealing->out_len);
    check.out = again;
    check.out_len = sizeof again;
    rv = unwrap_blob(p11, session, &check, job);
    if (rv == CKR_OK && !hf_failed(job->status) &&
        (check.out_len != w->secret.len || !hf_secret_equal(again, w->secret.ptr, w->secret.len))) {
        job->status = hf_fail(job->err, HF_CRYPTO, "what was wrapped unwraps to something else");
    }
    hf_wipe(again, sizeof again);
    w->blob = check.blob;
    return rv;
}

/* Does the key let itself be used this way, and the token? */
static CK_RV may_wrap(hf_pkcs11 *p11, CK_SESSION_HANDLE session, const way *how,
                      CK_OBJECT_HANDLE key, hf_p11_job *job, bool *ret_may)
{
    CK_FLAGS flags = how->by_object ? CKF_WRAP | CKF_UNWRAP : CKF_ENCRYPT | CKF_DECRYPT;
    *ret_may = hf_p11_has_mechanism(p11, how->mechanism, flags);
    return *ret_may ? hf_p11_flag(p11, session, key, how->by_object ? CKA_WRAP : CKA_ENCRYPT, false,
                                  ret_may, &job->function)
                    : CKR_OK;
}

static CK_RV run_wrap(hf_pkcs11 *p11, CK_SESSION_HANDLE session, hf_p11_job *job)
{
    wrapping *w = job->context;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    CK_ULONG type = 0;
    CK_RV rv = find_wrap_key(p11, session, w->reference, CKO_PUBLIC_KEY, job, &key, &type);
    if (rv != CKR_OK || hf_failed(job->status)) {
        return rv;
    }
    CK_RV refusal = CKR_MECHANISM_INVALID;
    for (size_t i = 0; i < HF_ARRAY_LEN(ways); i++) {
        bool may = ways[i].type == type;
        rv = may ? may_wrap(p11, session, &ways[i], key, job, &may) : CKR_OK;
        if (rv == CKR_OK && may) {
            w->sealing.key = key;
            job->status = hf_ok();
            rv = wrap_by(p11, session, &ways[i], w, job);
            if (rv == CKR_OK && !hf_failed(job->status)) {
                return rv;
            }
            refusal = rv;
        }
        if (rv != CKR_OK && hf_p11_loss_of(rv) != HF_P11_FINE) {
            return rv;
        }
    }
    if (refusal == CKR_OK) {
        return CKR_OK; /* job->status has it: what was wrapped does not unwrap */
    }
    job->status = hf_fail(job->err, HF_USAGE,
                          "the key %s wraps in no way known here (AES-GCM, AES key wrap, "
                          "RSA-OAEP), last: %s",
                          w->reference, hf_p11_name(refusal));
    return CKR_OK;
}

hf_status hf_p11_wrap(hf_custody *custody, const char *reference, hf_bytes context, hf_bytes secret,
                      uint64_t deadline_ns, uint8_t *out, size_t *out_len, hf_error *err)
{
    if (secret.len == 0 || secret.len > HF_P11_SECRET_MAX) {
        return hf_fail(err, HF_INVALID_INPUT, "a secret to wrap has 1 to %d bytes",
                       HF_P11_SECRET_MAX);
    }
    uint8_t blob[HF_P11_BLOB_MAX];
    wrapping w = {.reference = reference, .secret = secret, .out = blob, .out_len = sizeof blob};
    hf_sha256(context.ptr, context.len, w.sealing.context);
    hf_p11_job job = {.run = run_wrap, .err = err, .context = &w};
    hf_status st = hf_p11_run((hf_pkcs11 *)custody, &job, deadline_ns);
    if (hf_failed(st)) {
        return st;
    }
    if (w.blob.len > *out_len) {
        return hf_fail(err, HF_LIMIT, "no room for %zu bytes", w.blob.len);
    }
    memcpy(out, blob, w.blob.len);
    *out_len = w.blob.len;
    return hf_ok();
}

/* ---- unwrapping -------------------------------------------------------------------------------
 */

static bool is_refusal(CK_RV rv)
{
    /* What a module says of a wrong tag, key or padding differs; some say the general error. */
    return rv == CKR_GENERAL_ERROR || rv == CKR_FUNCTION_FAILED || rv == CKR_DATA_INVALID ||
           rv == CKR_DATA_LEN_RANGE || rv == CKR_ENCRYPTED_DATA_INVALID ||
           rv == CKR_ENCRYPTED_DATA_LEN_RANGE || rv == CKR_WRAPPED_KEY_INVALID ||
           rv == CKR_WRAPPED_KEY_LEN_RANGE || rv == CKR_KEY_SIZE_RANGE ||
           rv == CKR_TEMPLATE_INCOMPLETE || rv == CKR_ARGUMENTS_BAD;
}

/* False when it is no blob of ours. */
static bool parse_blob(hf_bytes blob, hf_p11_sealing *sealing)
{
    if (blob.len <= HEAD_LEN || blob.len > HF_P11_BLOB_MAX ||
        !hf_bytes_equal(blob.ptr, MAGIC, MAGIC_LEN)) {
        return false;
    }
    sealing->mechanism = blob.ptr[MAGIC_LEN];
    uint8_t how = blob.ptr[MAGIC_LEN + 1];
    size_t iv_len = sealing->mechanism == HF_P11_AES_GCM ? IV_LEN : 0;
    if (sealing->mechanism == 0 || sealing->mechanism >= HF_P11_MECHANISM_END ||
        (how != BY_BYTES && how != BY_OBJECT) || blob.len <= HEAD_LEN + iv_len) {
        return false;
    }
    sealing->by_object = how == BY_OBJECT;
    memcpy(sealing->iv, blob.ptr + HEAD_LEN, iv_len);
    sealing->in = blob.ptr + HEAD_LEN + iv_len;
    sealing->in_len = blob.len - HEAD_LEN - iv_len;
    return true;
}

static CK_RV unwrap_blob(hf_pkcs11 *p11, CK_SESSION_HANDLE session, wrapping *w, hf_p11_job *job)
{
    uint8_t plain[PLAIN_MAX];
    hf_p11_sealing *sealing = &w->sealing;
    CK_ULONG type = 0;
    CK_RV rv =
        find_wrap_key(p11, session, w->reference, CKO_PRIVATE_KEY, job, &sealing->key, &type);
    if (rv != CKR_OK || hf_failed(job->status)) {
        return rv;
    }
    if (!parse_blob(w->blob, sealing)) {
        job->status = hf_fail(job->err, HF_INVALID_INPUT, "this is no secret wrapped by PKCS#11");
        return CKR_OK;
    }
    if (type != (sealing->mechanism < HF_P11_OAEP_SHA256 ? CKK_AES : CKK_RSA)) {
        job->status = hf_fail(job->err, HF_DENIED, "it was wrapped under a key of another kind");
        return CKR_OK;
    }
    sealing->out = plain;
    sealing->out_len = sizeof plain;
    hf_bytes secret = {NULL, 0};
    rv = hf_p11_open_sealed(p11, session, sealing, &job->function);
    CK_SESSION_INFO info;
    if (rv != CKR_OK && is_refusal(rv) && p11->f->C_GetSessionInfo(session, &info) == CKR_OK) {
        job->status = hf_fail(job->err, HF_DENIED, "the key %s does not unwrap it (%s: %s)",
                              w->reference, job->function, hf_p11_name(rv));
        rv = CKR_OK;
    } else if (rv == CKR_OK && !unframe(sealing->context, plain, sealing->out_len, &secret)) {
        job->status = hf_fail(job->err, HF_DENIED, "it was wrapped for something else");
    } else if (rv == CKR_OK && secret.len > w->out_len) {
        job->status = hf_fail(job->err, HF_LIMIT, "no room for %zu bytes", secret.len);
    } else if (rv == CKR_OK) {
        memcpy(w->out, secret.ptr, secret.len);
        w->out_len = secret.len;
    }
    hf_wipe(plain, sizeof plain);
    return rv;
}

static CK_RV run_unwrap(hf_pkcs11 *p11, CK_SESSION_HANDLE session, hf_p11_job *job)
{
    return unwrap_blob(p11, session, job->context, job);
}

hf_status hf_p11_unwrap(hf_custody *custody, const char *reference, hf_bytes context, hf_bytes blob,
                        uint64_t deadline_ns, uint8_t *out, size_t *out_len, hf_error *err)
{
    wrapping w = {.reference = reference, .blob = blob, .out = out, .out_len = *out_len};
    hf_sha256(context.ptr, context.len, w.sealing.context);
    hf_p11_job job = {.run = run_unwrap, .err = err, .context = &w};
    hf_status st = hf_p11_run((hf_pkcs11 *)custody, &job, deadline_ns);
    if (!hf_failed(st)) {
        *out_len = w.out_len;
    }
    return st;
}
