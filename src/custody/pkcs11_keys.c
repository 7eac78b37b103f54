/*
 * Keys inside: which there are, what their public keys are, and signatures by them.
 *
 * A private key shows its CKA_ID and CKA_LABEL, but the point is with the public key of the pair:
 * the object of the same CKA_ID, or label where there is none.
 */
#include "custody/pkcs11_internal.h"

#include <sodium.h>

#define P256_LEN 65
#define ED25519_LEN 32
#define DIGEST_LEN 32
/* Public keys of one CKA_ID: of several curves perhaps, never many. */
#define PAIRS_MAX 8

static const uint8_t secp256k1_oid[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a};
static const uint8_t p256_oid[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const uint8_t ed25519_oid[] = {0x06, 0x03, 0x2b, 0x65, 0x70};
/* edwards25519 as RFC 8032's curve, by PKCS#11 3.0: a PrintableString, or GNU's identifier. */
static const uint8_t edwards_name[] = {0x13, 0x0c, 'e', 'd', 'w', 'a', 'r',
                                       'd',  's',  '2', '5', '5', '1', '9'};
static const uint8_t edwards_oid[] = {0x06, 0x09, 0x2b, 0x06, 0x01, 0x04,
                                      0x01, 0xda, 0x47, 0x0f, 0x01};

static const struct {
    const uint8_t *der;
    size_t len;
    hf_custody_type type;
} curves[] = {
    {secp256k1_oid, sizeof secp256k1_oid, HF_CUSTODY_SECP256K1},
    {p256_oid, sizeof p256_oid, HF_CUSTODY_P256},
    {ed25519_oid, sizeof ed25519_oid, HF_CUSTODY_ED25519},
    {edwards_name, sizeof edwards_name, HF_CUSTODY_ED25519},
    {edwards_oid, sizeof edwards_oid, HF_CUSTODY_ED25519},
};

hf_custody_type hf_p11_curve(hf_bytes params)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(curves); i++) {
        if (params.len == curves[i].len && hf_bytes_equal(params.ptr, curves[i].der, params.len)) {
            return curves[i].type;
        }
    }
    return HF_CUSTODY_TYPE_COUNT;
}

hf_status hf_p11_point(hf_custody_type type, hf_bytes point,
                       uint8_t ret_public[HF_CUSTODY_PUBLIC_MAX], uint32_t *ret_len)
{
    size_t want = type == HF_CUSTODY_ED25519 ? ED25519_LEN : P256_LEN;
    const uint8_t *in = point.ptr;
    size_t len = point.len;
    if (len == want + 2 && in[0] == 0x04 && in[1] == want) { /* OCTET STRING */
        in += 2;
        len -= 2;
    } else if (len == want + 3 && in[0] == 0x03 && in[1] == want + 1 && in[2] == 0) {
        in += 3; /* BIT STRING */
        len -= 3;
    }
    uint8_t public_key[HF_CUSTODY_PUBLIC_MAX] = {0x04};
    if (len == want) {
        memcpy(public_key, in, len);
    } else if (want == P256_LEN && len == want - 1) { /* without the mark of the form */
        memcpy(public_key + 1, in, len);
    } else {
        return (hf_status){HF_INVALID_INPUT};
    }
    if (want == P256_LEN && public_key[0] != 0x04) {
        return (hf_status){HF_INVALID_INPUT};
    }
    memcpy(ret_public, public_key, want);
    *ret_len = (uint32_t)want;
    return hf_ok();
}

/* ---- one key --------------------------------------------------------------------------------- */

typedef struct walk {
    hf_pkcs11 *p11;
    CK_SESSION_HANDLE session;
    const hf_custody_visitor *visitor; /* or NULL */
    hf_p11_job *job;
    hf_p11_table table;
    size_t failures;
} walk;

static void name_key(const hf_p11_attr *id, const hf_p11_attr *label,
                     char ret_name[HF_CUSTODY_NAME_LEN])
{
    char text[HF_CUSTODY_NAME_LEN] = "";
    if (label->len > 0 && label->len < sizeof text) {
        memcpy(text, label->bytes, label->len);
        hf_str_sanitize(ret_name, HF_CUSTODY_NAME_LEN, text);
    } else if (id->len > 0 && 2 * id->len + 1 <= sizeof text - 3) {
        hf_hex_encode(id->bytes, id->len, text);
        (void)snprintf(ret_name, HF_CUSTODY_NAME_LEN, "id=%s", text);
    } else {
        hf_str_cut(ret_name, HF_CUSTODY_NAME_LEN, "a key without label and CKA_ID");
    }
}

/* The token's serial number and the public key: the same however often it is listed, and whatever
 * the key is renamed to. */
static void identify(const hf_pkcs11 *p11, hf_custody_key *key)
{
    static const char purpose[] = "holdfast pkcs11 key";
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, NULL, 0, HF_SOURCE_ID_LEN);
    (void)crypto_generichash_update(&state, (const uint8_t *)purpose, sizeof purpose);
    (void)crypto_generichash_update(&state, (const uint8_t *)p11->serial, sizeof p11->serial);
    (void)crypto_generichash_update(&state, key->public_key, key->public_len);
    (void)crypto_generichash_final(&state, key->source_id, HF_SOURCE_ID_LEN);
    key->handle = hf_le64_get(key->source_id);
}

/* The point of the pair, len 0 when there is none of this curve. */
static CK_RV find_point(walk *w, hf_custody_type type, CK_ATTRIBUTE *same, hf_p11_attr *ret_point)
{
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class}, *same};
    CK_OBJECT_HANDLE objects[PAIRS_MAX];
    size_t count = 0;
    const char **function = &w->job->function;
    CK_RV rv = hf_p11_find(w->p11, w->session, template, HF_ARRAY_LEN(template), objects, PAIRS_MAX,
                           &count, function);
    ret_point->len = 0;
    for (size_t i = 0; rv == CKR_OK && i < count && i < PAIRS_MAX; i++) {
        hf_p11_attr params;
        rv = hf_p11_attribute(w->p11, w->session, objects[i], CKA_EC_PARAMS, &params, function);
        if (rv == CKR_OK && hf_p11_curve(hf_bytes_from(params.bytes, params.len)) == type) {
            return hf_p11_attribute(w->p11, w->session, objects[i], CKA_EC_POINT, ret_point,
                                    function);
        }
    }
    return rv;
}

static CK_RV find_public(walk *w, CK_OBJECT_HANDLE object, hf_p11_attr *id, hf_p11_attr *label,
                         hf_custody_key *key, const char **ret_why)
{
    hf_p11_attr point = {.len = 0};
    CK_RV rv = CKR_OK;
    if (id->len > 0) {
        CK_ATTRIBUTE same = {CKA_ID, id->bytes, id->len};
        rv = find_point(w, key->type, &same, &point);
    }
    if (rv == CKR_OK && point.len == 0 && id->len == 0 && label->len > 0) {
        CK_ATTRIBUTE same = {CKA_LABEL, label->bytes, label->len};
        rv = find_point(w, key->type, &same, &point);
    }
    if (rv == CKR_OK && point.len == 0) {
        /* Some tokens keep the point with the private key. */
        rv = hf_p11_attribute(w->p11, w->session, object, CKA_EC_POINT, &point, &w->job->function);
    }
    if (rv != CKR_OK) {
        return rv;
    }
    if (point.len == 0) {
        *ret_why = "its public key is not on the token (no object of the same CKA_ID or label)";
    } else if (hf_failed(hf_p11_point(key->type, hf_bytes_from(point.bytes, point.len),
                                      key->public_key, &key->public_len))) {
        *ret_why = "the CKA_EC_POINT of its public key is in no known form";
    }
    return CKR_OK;
}

/* *ret_why: what makes it unusable. */
static CK_RV look_at(walk *w, CK_OBJECT_HANDLE object, hf_custody_key *key, const char **ret_why)
{
    hf_p11_attr id;
    hf_p11_attr label;
    hf_p11_attr params;
    bool signs = true;
    bool asks = false;
    const char **function = &w->job->function;
    CK_RV rv = hf_p11_attribute(w->p11, w->session, object, CKA_ID, &id, function);
    if (rv == CKR_OK) {
        rv = hf_p11_attribute(w->p11, w->session, object, CKA_LABEL, &label, function);
    }
    if (rv == CKR_OK) {
        rv = hf_p11_attribute(w->p11, w->session, object, CKA_EC_PARAMS, &params, function);
    }
    if (rv == CKR_OK) {
        rv = hf_p11_flag(w->p11, w->session, object, CKA_SIGN, true, &signs, function);
    }
    if (rv == CKR_OK) {
        rv = hf_p11_flag(w->p11, w->session, object, CKA_ALWAYS_AUTHENTICATE, false, &asks,
                         function);
    }
    if (rv != CKR_OK) {
        return rv;
    }
    name_key(&id, &label, key->name);
    key->type = hf_p11_curve(hf_bytes_from(params.bytes, params.len));
    key->is_inside = true;
    if (key->type == HF_CUSTODY_TYPE_COUNT) {
        *ret_why = "its curve is none of secp256k1, P-256 and Ed25519";
    } else if (!signs) {
        *ret_why = "it may not sign (CKA_SIGN is false)";
    } else if (asks) {
        *ret_why = "it wants the PIN for each signature (CKA_ALWAYS_AUTHENTICATE)";
    } else {
        rv = find_public(w, object, &id, &label, key, ret_why);
    }
    if (rv == CKR_OK && *ret_why == NULL) {
        identify(w->p11, key);
    }
    return rv;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static bool is_listed(const hf_p11_table *table, uint64_t handle)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->entries[i].handle == handle) {
            return true;
        }
    }
    return false;
}

static CK_RV take_key(walk *w, CK_OBJECT_HANDLE object)
{
    hf_custody_key key = {0};
    const char *why = NULL;
    CK_RV rv = look_at(w, object, &key, &why);
    if (rv != CKR_OK) {
        return rv;
    }
    if (why != NULL) {
        w->failures++;
        if (w->visitor != NULL) {
            w->visitor->failed(w->visitor->context, key.name, why);
        }
        return CKR_OK;
    }
    if (is_listed(&w->table, key.handle)) {
        return CKR_OK; /* the same key twice on the token */
    }
    w->table.entries[w->table.count++] = (hf_p11_entry){key.handle, object, key.type};
    if (w->visitor != NULL) {
        w->job->status = w->visitor->key(w->visitor->context, &key);
    }
    return CKR_OK;
}

/* only: NULL for all keys of the type. */
static CK_RV walk_type(walk *w, CK_KEY_TYPE type, hf_p11_reference *only, CK_OBJECT_HANDLE *objects)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE template[3] = {{CKA_CLASS, &class, sizeof class},
                                {CKA_KEY_TYPE, &type, sizeof type}};
    size_t n = 2;
    if (only != NULL) {
        template[n++] = (CK_ATTRIBUTE){only->type, only->bytes, only->len};
    }
    size_t count = 0;
    size_t room = HF_P11_KEYS_MAX - w->table.count;
    CK_RV rv =
        hf_p11_find(w->p11, w->session, template, n, objects, room, &count, &w->job->function);
    if (rv == CKR_OK && count > room) {
        w->job->status =
            hf_fail(w->job->err, HF_LIMIT, "the token has more than %d keys: name those that sign",
                    HF_P11_KEYS_MAX);
    }
    for (size_t i = 0; rv == CKR_OK && i < count && !hf_failed(w->job->status); i++) {
        rv = take_key(w, objects[i]);
        if (rv == CKR_OBJECT_HANDLE_INVALID) {
            rv = CKR_OK; /* deleted meanwhile */
        }
    }
    return rv;
}

static CK_RV walk_types(walk *w, hf_p11_reference *only, CK_OBJECT_HANDLE *objects)
{
    CK_RV rv = walk_type(w, CKK_EC, only, objects);
    if (rv == CKR_OK && !hf_failed(w->job->status)) {
        rv = walk_type(w, CKK_EC_EDWARDS, only, objects);
        if (rv == CKR_ATTRIBUTE_VALUE_INVALID) {
            rv = CKR_OK; /* a token that does not know the type has no such key */
        }
    }
    return rv;
}

/* Each key that was named, or all. */
static CK_RV walk_all(walk *w, CK_OBJECT_HANDLE *objects)
{
    const hf_pkcs11_config *config = &w->p11->config;
    if (config->key_count == 0) {
        return walk_types(w, NULL, objects);
    }
    CK_RV rv = CKR_OK;
    for (size_t i = 0; i < config->key_count && rv == CKR_OK && !hf_failed(w->job->status); i++) {
        hf_p11_reference only;
        w->job->status = hf_p11_reference_parse(config->keys[i], &only, w->job->err);
        if (!hf_failed(w->job->status)) {
            size_t before = w->table.count;
            size_t failures = w->failures;
            rv = walk_types(w, &only, objects);
            if (rv == CKR_OK && w->visitor != NULL && w->table.count == before &&
                w->failures == failures) {
                w->visitor->failed(w->visitor->context, config->keys[i],
                                   "the token has no such key");
            }
        }
    }
    return rv;
}

/*
 * What was found, in the place of what was known. A module that lost sight of a token which was
 * pulled and put back finds none of its keys, and all of them after C_Initialize: fewer than
 * before are believed only then.
 */
static CK_RV settle(hf_pkcs11 *p11, hf_p11_table *found, hf_p11_job *job)
{
    hf_p11_table old = *found;
    (void)pthread_mutex_lock(&p11->lock);
    p11->is_blind = found->count < p11->table.count && !p11->is_fresh;
    bool is_blind = p11->is_blind;
    if (!is_blind) {
        old = p11->table;
        p11->table = *found;
    }
    (void)pthread_mutex_unlock(&p11->lock);
    *found = old;
    job->function = "C_FindObjects finds keys no more";
    return is_blind ? CKR_DEVICE_REMOVED : CKR_OK;
}

CK_RV hf_p11_keys_load(hf_pkcs11 *p11, CK_SESSION_HANDLE session, const hf_custody_visitor *visitor,
                       hf_p11_job *job)
{
    walk w = {.p11 = p11, .session = session, .visitor = visitor, .job = job};
    CK_RV rv = CKR_OK;
    CK_OBJECT_HANDLE *objects = calloc(HF_P11_KEYS_MAX, sizeof *objects);
    w.table.entries = calloc(HF_P11_KEYS_MAX, sizeof *w.table.entries);
    if (objects == NULL || w.table.entries == NULL) {
        job->status = hf_fail(job->err, HF_NOMEM, "no memory for the list of keys");
    } else {
        rv = walk_all(&w, objects);
    }
    if (rv == CKR_OK && !hf_failed(job->status)) {
        rv = settle(p11, &w.table, job);
    }
    free(objects);
    free(w.table.entries);
    return rv;
}

bool hf_p11_key_find(hf_pkcs11 *p11, uint64_t handle, hf_p11_entry *ret_entry)
{
    bool is_there = false;
    (void)pthread_mutex_lock(&p11->lock);
    for (size_t i = 0; i < p11->table.count && !is_there; i++) {
        if (p11->table.entries[i].handle == handle) {
            *ret_entry = p11->table.entries[i];
            is_there = true;
        }
    }
    (void)pthread_mutex_unlock(&p11->lock);
    return is_there;
}

/* ---- signatures ------------------------------------------------------------------------------ */

typedef struct signing {
    uint64_t handle;
    hf_bytes message;
    uint8_t signature[2 * HF_CUSTODY_SIGNATURE_BYTES];
    CK_ULONG len;
} signing;

static CK_RV run_sign(hf_pkcs11 *p11, CK_SESSION_HANDLE session, hf_p11_job *job)
{
    signing *s = job->context;
    hf_p11_entry key;
    if (!hf_p11_key_find(p11, s->handle, &key)) {
        job->status = hf_fail(job->err, HF_NOT_FOUND, "the token has no such key");
        return CKR_OK;
    }
    if (key.type != HF_CUSTODY_ED25519 && s->message.len != DIGEST_LEN) {
        job->status = hf_fail(job->err, HF_INVALID_INPUT, "not a digest of 32 bytes");
        return CKR_OK;
    }
    CK_MECHANISM mechanism = {key.type == HF_CUSTODY_ED25519 ? CKM_EDDSA : CKM_ECDSA, NULL, 0};
    job->function = "C_SignInit";
    CK_RV rv = p11->f->C_SignInit(session, &mechanism, key.object);
    if (rv != CKR_OK) {
        return rv;
    }
    s->len = sizeof s->signature;
    job->function = "C_Sign";
    rv = p11->f->C_Sign(session, hf_p11_unconst(s->message.ptr), s->message.len, s->signature,
                        &s->len);
    if (rv == CKR_OK && (s->len == 0 || s->len > HF_CUSTODY_SIGNATURE_BYTES || s->len % 2 != 0)) {
        job->status = hf_fail(job->err, HF_CORRUPT,
                              "the token gave a signature of %lu bytes, not of 64", s->len);
    }
    return rv;
}

hf_status hf_p11_sign(hf_custody *custody, uint64_t handle, hf_bytes message, uint64_t deadline_ns,
                      uint8_t ret_signature[HF_CUSTODY_SIGNATURE_BYTES], hf_error *err)
{
    signing s = {.handle = handle, .message = message};
    hf_p11_job job = {.run = run_sign, .err = err, .context = &s};
    hf_status st = hf_p11_run((hf_pkcs11 *)custody, &job, deadline_ns);
    if (hf_failed(st)) {
        return st;
    }
    /* r and s of equal length; some tokens leave leading zeros away. */
    size_t half = s.len / 2;
    size_t full = HF_CUSTODY_SIGNATURE_BYTES / 2;
    memset(ret_signature, 0, HF_CUSTODY_SIGNATURE_BYTES);
    memcpy(ret_signature + full - half, s.signature, half);
    memcpy(ret_signature + 2 * full - half, s.signature + half, half);
    return hf_ok();
}
