/*
 * The parts of the PKCS#11 back end. Lock order: only the lock of hf_pkcs11, never held while the
 * module works.
 */
#ifndef HF_CUSTODY_PKCS11_INTERNAL_H
#define HF_CUSTODY_PKCS11_INTERNAL_H

#include <p11-kit/pkcs11.h>
#include <pthread.h>

#include "custody/pkcs11.h"

#define HF_P11_SESSIONS_MAX 64
#define HF_P11_KEYS_MAX 10000

/* What sign needs of a key inside. */
typedef struct hf_p11_entry {
    uint64_t handle;
    CK_OBJECT_HANDLE object;
    hf_custody_type type;
} hf_p11_entry;

typedef struct hf_p11_table {
    hf_p11_entry *entries;
    size_t count;
} hf_p11_table;

/* A thread that is inside the module. */
typedef struct hf_p11_visit {
    uint64_t deadline_ns;
    struct hf_p11_visit *next;
} hf_p11_visit;

typedef struct hf_pkcs11 {
    hf_custody base;
    hf_pkcs11_config config;
    CK_FUNCTION_LIST *f;

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    bool is_initialized;
    bool is_fresh;        /* C_Initialize was just called: what the token shows now is true */
    bool is_blind;        /* fewer keys than before: C_Initialize before they are believed gone */
    bool is_single;       /* the module is not for threads: one session */
    bool is_up;           /* logged in, with at least one session open */
    bool is_connecting;   /* by one thread, which alone uses the module meanwhile */
    size_t users;         /* threads that have a session */
    hf_p11_visit *visits; /* one for each of them */
    CK_SLOT_ID slot;
    char serial[HF_PKCS11_SERIAL_LEN];
    CK_SESSION_HANDLE idle[HF_P11_SESSIONS_MAX];
    size_t idle_count;
    size_t open_count;
    size_t open_max;
    uint64_t not_before_ns; /* no new attempt to connect before */
    uint64_t backoff_ns;
    hf_error trouble; /* why it is not up */
    /* The PIN that the token refused, as a keyed hash of the file and what stat says of it. */
    bool has_refused;
    CK_RV refused_rv;
    uint8_t refused[32];
    uint8_t refused_key[32];
    hf_p11_table table;
} hf_pkcs11;

/* Parameters of PKCS#11 are not const; modules only read those that this is used for. */
static inline unsigned char *hf_p11_unconst(const uint8_t *in)
{
    union {
        const uint8_t *in;
        unsigned char *out;
    } bytes = {.in = in};
    return bytes.out;
}

/* ---- pkcs11_names.c: return values ---------------------------------------------------------- */

/* "CKR_PIN_LOCKED"; "CKR_VENDOR_DEFINED" and the like for those without a name here. */
const char *hf_p11_name(CK_RV rv);
hf_code hf_p11_code(CK_RV rv);
/* err: "C_Sign: CKR_DEVICE_REMOVED (0x32)". rv is not CKR_OK. */
hf_status hf_p11_fail(CK_RV rv, const char *function, hf_error *err) HF_MUST_CHECK;

typedef enum hf_p11_loss {
    HF_P11_FINE,    /* the connection is as it was */
    HF_P11_SESSION, /* this session is gone */
    HF_P11_STALE,   /* the token's objects changed */
    HF_P11_LOST,    /* connect anew */
    HF_P11_UNCLEAR  /* ask the session */
} hf_p11_loss;
hf_p11_loss hf_p11_loss_of(CK_RV rv);

/* ---- pkcs11_link.c: the token, sessions ------------------------------------------------------ */

/*
 * What is done with a session. Returns what the module returned, with the name of the function in
 * *function when it is not CKR_OK, or CKR_OK with the trouble in *status and err.
 */
typedef struct hf_p11_job {
    CK_RV (*run)(hf_pkcs11 *p11, CK_SESSION_HANDLE session, struct hf_p11_job *job);
    const char *function;
    hf_status status;
    hf_error *err;
    void *context;
} hf_p11_job;

/*
 * Runs the job with a session that is its own, connecting first where that is needed. A job that
 * lost its session or the token meanwhile is run a second time when the token is there again.
 */
hf_status hf_p11_run(hf_pkcs11 *p11, hf_p11_job *job, uint64_t deadline_ns) HF_MUST_CHECK;
/* Loads the module. */
hf_status hf_p11_load(hf_pkcs11 *p11, hf_error *err) HF_MUST_CHECK;
/* No thread is inside any more. */
void hf_p11_unload(hf_pkcs11 *p11);
bool hf_p11_is_healthy(hf_custody *custody, char ret_detail[HF_DETAIL_LEN]);

/* ---- pkcs11_login.c -------------------------------------------------------------------------- */

/* The slot whose token is the configured one. */
hf_status hf_p11_find_slot(hf_pkcs11 *p11, CK_SLOT_ID *ret_slot, CK_TOKEN_INFO *ret_info,
                           hf_error *err) HF_MUST_CHECK;
/* With the PIN of the file, once for each state of that file. */
hf_status hf_p11_login(hf_pkcs11 *p11, CK_SESSION_HANDLE session, CK_FLAGS token_flags,
                       hf_error *err) HF_MUST_CHECK;

/* ---- pkcs11_find.c: objects ------------------------------------------------------------------ */

typedef struct hf_p11_attr {
    uint8_t bytes[HF_CUSTODY_NAME_LEN];
    size_t len;
} hf_p11_attr;

/* At most max objects of the template; *ret_count may say max + 1: there are more. */
CK_RV hf_p11_find(hf_pkcs11 *p11, CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, size_t n,
                  CK_OBJECT_HANDLE *ret_objects, size_t max, size_t *ret_count,
                  const char **function);
/* An attribute that fits; len 0 when the object has none, or hides it. */
CK_RV hf_p11_attribute(hf_pkcs11 *p11, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                       CK_ATTRIBUTE_TYPE type, hf_p11_attr *ret, const char **function);
CK_RV hf_p11_number(hf_pkcs11 *p11, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                    CK_ATTRIBUTE_TYPE type, CK_ULONG *ret_value, const char **function);
/* A CK_BBOOL; standard when the object does not say. */
CK_RV hf_p11_flag(hf_pkcs11 *p11, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                  CK_ATTRIBUTE_TYPE type, bool standard, bool *ret_value, const char **function);

/* A key as people name it: a CKA_LABEL, or "id=" and hex digits for a CKA_ID. */
typedef struct hf_p11_reference {
    CK_ATTRIBUTE_TYPE type; /* CKA_LABEL, CKA_ID */
    uint8_t bytes[HF_PKCS11_TEXT_LEN];
    size_t len;
} hf_p11_reference;
hf_status hf_p11_reference_parse(const char *text, hf_p11_reference *ret,
                                 hf_error *err) HF_MUST_CHECK;

/* ---- pkcs11_keys.c: keys inside -------------------------------------------------------------- */

/* CKA_EC_PARAMS in each of its forms; HF_CUSTODY_TYPE_COUNT for another curve. */
hf_custody_type hf_p11_curve(hf_bytes params);
/* CKA_EC_POINT in each of its forms: SEC1 uncompressed, or 32 bytes. INVALID_INPUT. */
hf_status hf_p11_point(hf_custody_type type, hf_bytes point,
                       uint8_t ret_public[HF_CUSTODY_PUBLIC_MAX], uint32_t *ret_len) HF_MUST_CHECK;

/* Goes through the keys and replaces the table; visitor may be NULL. For a job's run. */
CK_RV hf_p11_keys_load(hf_pkcs11 *p11, CK_SESSION_HANDLE session, const hf_custody_visitor *visitor,
                       hf_p11_job *job);
bool hf_p11_key_find(hf_pkcs11 *p11, uint64_t handle, hf_p11_entry *ret_entry);
hf_status hf_p11_sign(hf_custody *custody, uint64_t handle, hf_bytes message, uint64_t deadline_ns,
                      uint8_t ret_signature[HF_CUSTODY_SIGNATURE_BYTES],
                      hf_error *err) HF_MUST_CHECK;

/* ---- pkcs11_wrap.c: short secrets under a key inside ------------------------------------------
 */

#define HF_P11_SECRET_MAX 126 /* what RSA-OAEP takes with a key of 2048 bits */
#define HF_P11_BLOB_MAX 1024

hf_status hf_p11_wrap(hf_custody *custody, const char *reference, hf_bytes context, hf_bytes secret,
                      uint64_t deadline_ns, uint8_t *out, size_t *out_len,
                      hf_error *err) HF_MUST_CHECK;
hf_status hf_p11_unwrap(hf_custody *custody, const char *reference, hf_bytes context, hf_bytes blob,
                        uint64_t deadline_ns, uint8_t *out, size_t *out_len,
                        hf_error *err) HF_MUST_CHECK;

/* What the mechanisms above do with bytes. For a job's run. */
typedef struct hf_p11_sealing {
    uint8_t mechanism; /* hf_p11_mechanism */
    CK_OBJECT_HANDLE key;
    bool by_object; /* C_WrapKey and C_UnwrapKey, not C_Encrypt and C_Decrypt */
    uint8_t context[32];
    uint8_t iv[12];
    const uint8_t *in;
    size_t in_len;
    uint8_t *out;
    size_t out_len; /* room, then length */
} hf_p11_sealing;

typedef enum hf_p11_mechanism {
    HF_P11_AES_GCM = 1,
    HF_P11_AES_KWP = 2,      /* RFC 5649, by the number of PKCS#11 3.0 */
    HF_P11_AES_WRAP_PAD = 3, /* the same by the number of 2.40 */
    HF_P11_AES_WRAP = 4,     /* RFC 3394 */
    HF_P11_OAEP_SHA256 = 5,
    HF_P11_OAEP_SHA1 = 6, /* all that SoftHSM2 has; sound for OAEP */
    HF_P11_MECHANISM_END
} hf_p11_mechanism;

/* pkcs11_seal.c */
CK_RV hf_p11_seal(hf_pkcs11 *p11, CK_SESSION_HANDLE session, hf_p11_sealing *sealing,
                  const char **function);
CK_RV hf_p11_open_sealed(hf_pkcs11 *p11, CK_SESSION_HANDLE session, hf_p11_sealing *sealing,
                         const char **function);
bool hf_p11_has_mechanism(hf_pkcs11 *p11, uint8_t mechanism, CK_FLAGS flags);

/* ---- pkcs11.c -------------------------------------------------------------------------------- */

/* The keys inside. */
hf_status hf_p11_keys_list(hf_pkcs11 *p11, const hf_custody_visitor *visitor, uint64_t deadline_ns,
                           hf_error *err) HF_MUST_CHECK;

#endif
