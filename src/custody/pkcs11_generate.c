/* New keys inside. */
#include "custody/pkcs11_internal.h"

#include "crypto/crypto.h"

#define ID_LEN 16
#define AES_LEN 32

/* Ed25519 as pkcs11-tool and SoftHSM2 write it, and as the standard's identifier. */
static const uint8_t secp256k1_params[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a};
static const uint8_t p256_params[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const uint8_t ed25519_params[] = {0x06, 0x03, 0x2b, 0x65, 0x70};
static const uint8_t edwards_params[] = {0x13, 0x0c, 'e', 'd', 'w', 'a', 'r',
                                         'd',  's',  '2', '5', '5', '1', '9'};

typedef struct generation {
    hf_custody_type type;
    bool is_wrap_key;
    const char *label;
    hf_bytes params;
    uint8_t id[ID_LEN];
    hf_custody_key key;
    bool is_found;
} generation;

/* What template attributes point at: the parameters of PKCS#11 are not const. */
typedef struct values {
    CK_BBOOL yes;
    CK_BBOOL no;
    CK_OBJECT_CLASS class;
    CK_KEY_TYPE type;
    CK_ULONG len;
    char label[HF_PKCS11_TEXT_LEN];
    uint8_t id[ID_LEN];
    uint8_t params[16];
} values;

static void set_values(const generation *g, values *v)
{
    *v = (values){.yes = CK_TRUE, .no = CK_FALSE, .len = AES_LEN};
    hf_str_cut(v->label, sizeof v->label, g->label);
    memcpy(v->id, g->id, ID_LEN);
    if (g->params.len > 0) {
        memcpy(v->params, g->params.ptr, g->params.len);
    }
}

static CK_RV make_pair(hf_pkcs11 *p11, CK_SESSION_HANDLE session, const generation *g)
{
    values v;
    set_values(g, &v);
    bool is_edwards = g->type == HF_CUSTODY_ED25519;
    v.type = is_edwards ? CKK_EC_EDWARDS : CKK_EC;
    CK_ATTRIBUTE public_half[] = {
        {CKA_KEY_TYPE, &v.type, sizeof v.type},
        {CKA_TOKEN, &v.yes, sizeof v.yes},
        {CKA_VERIFY, &v.yes, sizeof v.yes},
        {CKA_LABEL, v.label, strlen(v.label)},
        {CKA_ID, v.id, sizeof v.id},
        {CKA_EC_PARAMS, v.params, g->params.len},
    };
    CK_ATTRIBUTE private_half[] = {
        {CKA_KEY_TYPE, &v.type, sizeof v.type}, {CKA_TOKEN, &v.yes, sizeof v.yes},
        {CKA_PRIVATE, &v.yes, sizeof v.yes},    {CKA_SENSITIVE, &v.yes, sizeof v.yes},
        {CKA_EXTRACTABLE, &v.no, sizeof v.no},  {CKA_SIGN, &v.yes, sizeof v.yes},
        {CKA_LABEL, v.label, strlen(v.label)},  {CKA_ID, v.id, sizeof v.id},
    };
    CK_MECHANISM mechanism = {is_edwards ? CKM_EC_EDWARDS_KEY_PAIR_GEN : CKM_EC_KEY_PAIR_GEN, NULL,
                              0};
    CK_OBJECT_HANDLE public_key = CK_INVALID_HANDLE;
    CK_OBJECT_HANDLE private_key = CK_INVALID_HANDLE;
    return p11->f->C_GenerateKeyPair(session, &mechanism, public_half, HF_ARRAY_LEN(public_half),
                                     private_half, HF_ARRAY_LEN(private_half), &public_key,
                                     &private_key);
}

static CK_RV make_wrap_key(hf_pkcs11 *p11, CK_SESSION_HANDLE session, const generation *g)
{
    values v;
    set_values(g, &v);
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &v.yes, sizeof v.yes},     {CKA_PRIVATE, &v.yes, sizeof v.yes},
        {CKA_SENSITIVE, &v.yes, sizeof v.yes}, {CKA_EXTRACTABLE, &v.no, sizeof v.no},
        {CKA_ENCRYPT, &v.yes, sizeof v.yes},   {CKA_DECRYPT, &v.yes, sizeof v.yes},
        {CKA_WRAP, &v.yes, sizeof v.yes},      {CKA_UNWRAP, &v.yes, sizeof v.yes},
        {CKA_VALUE_LEN, &v.len, sizeof v.len}, {CKA_LABEL, v.label, strlen(v.label)},
        {CKA_ID, v.id, sizeof v.id},
    };
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    return p11->f->C_GenerateKey(session, &mechanism, template, HF_ARRAY_LEN(template), &key);
}

static CK_RV check_label_free(hf_pkcs11 *p11, CK_SESSION_HANDLE session, const generation *g,
                              hf_p11_job *job)
{
    values v;
    set_values(g, &v);
    v.class = g->is_wrap_key ? CKO_SECRET_KEY : CKO_PRIVATE_KEY;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &v.class, sizeof v.class},
                               {CKA_LABEL, v.label, strlen(v.label)}};
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
    size_t count = 0;
    CK_RV rv = hf_p11_find(p11, session, template, HF_ARRAY_LEN(template), &object, 1, &count,
                           &job->function);
    if (rv == CKR_OK && count > 0) {
        job->status =
            hf_fail(job->err, HF_CONFLICT, "the token has a key called %s already", g->label);
    }
    return rv;
}

/* Keys are made in a session that may write, of its own: the others may only read. */
static CK_RV run_generate(hf_pkcs11 *p11, CK_SESSION_HANDLE session, hf_p11_job *job)
{
    generation *g = job->context;
    CK_RV rv = check_label_free(p11, session, g, job);
    if (rv != CKR_OK || hf_failed(job->status)) {
        return rv;
    }
    CK_SESSION_HANDLE writer = CK_INVALID_HANDLE;
    job->function = "C_OpenSession";
    rv = p11->f->C_OpenSession(p11->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &writer);
    if (rv != CKR_OK) {
        return rv;
    }
    job->function = g->is_wrap_key ? "C_GenerateKey" : "C_GenerateKeyPair";
    if (g->is_wrap_key) {
        rv = make_wrap_key(p11, writer, g);
    } else {
        rv = make_pair(p11, writer, g);
        if (rv != CKR_OK && g->type == HF_CUSTODY_ED25519 && hf_p11_loss_of(rv) != HF_P11_LOST) {
            g->params = hf_bytes_from(edwards_params, sizeof edwards_params);
            rv = make_pair(p11, writer, g);
        }
    }
    (void)p11->f->C_CloseSession(writer);
    return rv;
}

static hf_status generate(hf_pkcs11 *p11, generation *g, uint64_t deadline_ns, hf_error *err)
{
    hf_p11_reference reference;
    hf_status st = hf_p11_reference_parse(g->label, &reference, err);
    if (hf_failed(st)) {
        return st;
    }
    if (reference.type != CKA_LABEL) {
        return hf_fail(err, HF_USAGE, "a new key needs a label, not a CKA_ID");
    }
    hf_random(g->id, sizeof g->id);
    hf_p11_job job = {.run = run_generate, .err = err, .context = g};
    return hf_p11_run(p11, &job, deadline_ns);
}

static hf_status is_it(void *context, const hf_custody_key *key)
{
    generation *g = context;
    if (key->is_inside && key->type == g->type && strcmp(key->name, g->label) == 0) {
        g->key = *key;
        g->is_found = true;
    }
    return hf_ok();
}

static void is_not(void *context, const char *name, const char *why)
{
    (void)context;
    (void)name;
    (void)why;
}

hf_status hf_custody_pkcs11_generate(hf_custody *custody, hf_custody_type type, const char *label,
                                     uint64_t deadline_ns, hf_custody_key *ret_key, hf_error *err)
{
    hf_pkcs11 *p11 = (hf_pkcs11 *)custody;
    generation g = {.type = type, .label = label};
    switch (type) {
    case HF_CUSTODY_SECP256K1:
        g.params = hf_bytes_from(secp256k1_params, sizeof secp256k1_params);
        break;
    case HF_CUSTODY_P256:
        g.params = hf_bytes_from(p256_params, sizeof p256_params);
        break;
    case HF_CUSTODY_ED25519:
        g.params = hf_bytes_from(ed25519_params, sizeof ed25519_params);
        break;
    case HF_CUSTODY_BLS:
    case HF_CUSTODY_TYPE_COUNT:
    default:
        return hf_fail(err, HF_USAGE, "tokens make keys of secp256k1, P-256 and Ed25519 alone");
    }
    hf_status st = generate(p11, &g, deadline_ns, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_custody_visitor visitor = {&g, is_it, is_not};
    st = hf_p11_keys_list(p11, &visitor, deadline_ns, err);
    if (!hf_failed(st) && !g.is_found) {
        st = hf_fail(err, HF_CORRUPT, "the new key %s was made and cannot be found", label);
    }
    if (!hf_failed(st)) {
        *ret_key = g.key;
    }
    return st;
}

hf_status hf_custody_pkcs11_generate_wrap_key(hf_custody *custody, const char *label,
                                              uint64_t deadline_ns, hf_error *err)
{
    generation g = {.is_wrap_key = true, .label = label};
    return generate((hf_pkcs11 *)custody, &g, deadline_ns, err);
}
