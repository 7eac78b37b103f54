/*
 * token: a secp256k1 key in a token behind PKCS#11, and what the token gives without Holdfast.
 *
 *   token make MODULE LABEL PIN           puts the key of bench.py into the token of that label
 *   token loop MODULE LABEL PIN SECONDS THREADS
 *                                         signatures by the module alone, a session a thread
 *
 * loop prints one JSON object. SOFTHSM2_CONF and the like are the caller's.
 */
#include "base/base.h"
#include "duties.h"

#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <secp256k1.h>
#include <sys/resource.h>

#define MAX_THREADS 64
#define SLOTS_MAX 16
#define LOOP_BATCH 8 /* between two looks at the clock */
#define POINT_BYTES 65

static uint8_t secret[32] = {[31] = 7};

/* An object identifier: 1.3.132.0.10. */
static uint8_t curve[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a};

static CK_FUNCTION_LIST *f;

static void must(CK_RV rv, const char *what)
{
    if (rv != CKR_OK) {
        (void)fprintf(stderr, "token: %s: 0x%lx\n", what, rv);
        exit(1);
    }
}

static void load(const char *module)
{
    CK_C_GetFunctionList get = NULL;
    void *library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    void *symbol = library != NULL ? dlsym(library, "C_GetFunctionList") : NULL;
    if (symbol == NULL) {
        (void)fprintf(stderr, "token: %s\n", dlerror());
        exit(1);
    }
    memcpy(&get, &symbol, sizeof get); /* ISO C has no conversion of this kind */
    must(get(&f), "C_GetFunctionList");
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    must(f->C_Initialize(&arguments), "C_Initialize");
}

static CK_SLOT_ID find_token(const char *label)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    must(f->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList");
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        size_t len = strlen(label);
        must(f->C_GetTokenInfo(slots[i], &info), "C_GetTokenInfo");
        if (len < sizeof info.label && hf_bytes_equal(info.label, label, len) &&
            info.label[len] == ' ') {
            return slots[i];
        }
    }
    (void)fprintf(stderr, "token: there is none with the label %s\n", label);
    exit(1);
}

static CK_SESSION_HANDLE open_session(CK_SLOT_ID slot)
{
    CK_SESSION_HANDLE session;
    must(f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session),
         "C_OpenSession");
    return session;
}

static void log_in(CK_SESSION_HANDLE session, char *pin)
{
    must(f->C_Login(session, CKU_USER, (CK_UTF8CHAR *)pin, strlen(pin)), "C_Login");
}

/* ---- make -------------------------------------------------------------------------------------
 */

static void find_point(uint8_t ret_octets[2 + POINT_BYTES])
{
    secp256k1_context *library = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
    secp256k1_pubkey pubkey;
    size_t len = POINT_BYTES;
    HF_ASSERT(secp256k1_ec_pubkey_create(library, &pubkey, secret) == 1);
    ret_octets[0] = 0x04; /* an OCTET STRING of DER */
    ret_octets[1] = POINT_BYTES;
    (void)secp256k1_ec_pubkey_serialize(library, ret_octets + 2, &len, &pubkey,
                                        SECP256K1_EC_UNCOMPRESSED);
    secp256k1_context_destroy(library);
}

static void make(CK_SESSION_HANDLE session)
{
    uint8_t point[2 + POINT_BYTES];
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_KEY_TYPE type = CKK_EC;
    CK_OBJECT_CLASS private_class = CKO_PRIVATE_KEY;
    CK_OBJECT_CLASS public_class = CKO_PUBLIC_KEY;
    uint8_t id[] = {1};
    char label[] = "bench";
    CK_OBJECT_HANDLE object;
    find_point(point);
    CK_ATTRIBUTE common[] = {
        {CKA_KEY_TYPE, &type, sizeof type},
        {CKA_TOKEN, &yes, sizeof yes},
        {CKA_ID, id, sizeof id},
        {CKA_LABEL, label, sizeof label - 1},
        {CKA_EC_PARAMS, curve, sizeof curve},
    };
    CK_ATTRIBUTE private_key[HF_ARRAY_LEN(common) + 5] = {
        {CKA_CLASS, &private_class, sizeof private_class},
        {CKA_PRIVATE, &yes, sizeof yes},
        {CKA_SENSITIVE, &yes, sizeof yes},
        {CKA_SIGN, &yes, sizeof yes},
        {CKA_VALUE, secret, sizeof secret},
    };
    CK_ATTRIBUTE public_key[HF_ARRAY_LEN(common) + 4] = {
        {CKA_CLASS, &public_class, sizeof public_class},
        {CKA_PRIVATE, &no, sizeof no},
        {CKA_VERIFY, &yes, sizeof yes},
        {CKA_EC_POINT, point, sizeof point},
    };
    memcpy(private_key + 5, common, sizeof common);
    memcpy(public_key + 4, common, sizeof common);
    must(f->C_CreateObject(session, private_key, HF_ARRAY_LEN(private_key), &object),
         "C_CreateObject of the private key");
    must(f->C_CreateObject(session, public_key, HF_ARRAY_LEN(public_key), &object),
         "C_CreateObject of the public key");
}

/* ---- loop -------------------------------------------------------------------------------------
 */

typedef struct worker {
    pthread_t thread;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    uint64_t first;
    uint64_t until_ns;
    uint64_t done;
} worker;

static CK_OBJECT_HANDLE find_key(CK_SESSION_HANDLE session)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE wanted = {CKA_CLASS, &class, sizeof class};
    CK_OBJECT_HANDLE key;
    CK_ULONG count = 0;
    must(f->C_FindObjectsInit(session, &wanted, 1), "C_FindObjectsInit");
    must(f->C_FindObjects(session, &key, 1, &count), "C_FindObjects");
    must(f->C_FindObjectsFinal(session), "C_FindObjectsFinal");
    HF_ASSERT(count == 1);
    return key;
}

static void *sign_loop(void *context)
{
    worker *self = context;
    while (hf_time_mono_ns() < self->until_ns) {
        for (unsigned i = 0; i < LOOP_BATCH; i++) {
            CK_MECHANISM ecdsa = {.mechanism = CKM_ECDSA};
            uint8_t digest[32] = {0};
            uint8_t signature[64];
            CK_ULONG len = sizeof signature;
            hf_le64_put(digest, self->first + self->done++);
            must(f->C_SignInit(self->session, &ecdsa, self->key), "C_SignInit");
            must(f->C_Sign(self->session, digest, sizeof digest, signature, &len), "C_Sign");
        }
    }
    return NULL;
}

static void loop(CK_SLOT_ID slot, CK_SESSION_HANDLE session, uint64_t seconds, uint64_t threads)
{
    static worker workers[MAX_THREADS];
    struct rusage use;
    uint64_t done = 0;
    HF_ASSERT(threads > 0 && threads <= MAX_THREADS);
    uint64_t start = hf_time_mono_ns();
    for (uint64_t i = 0; i < threads; i++) {
        workers[i].session = i == 0 ? session : open_session(slot);
        workers[i].key = find_key(workers[i].session);
        workers[i].first = i << 40;
        workers[i].until_ns = start + seconds * HF_NS_PER_SECOND;
        HF_ASSERT(pthread_create(&workers[i].thread, NULL, sign_loop, &workers[i]) == 0);
    }
    for (uint64_t i = 0; i < threads; i++) {
        HF_ASSERT(pthread_join(workers[i].thread, NULL) == 0);
        done += workers[i].done;
    }
    double wall = (double)(hf_time_mono_ns() - start) / 1e9;
    HF_ASSERT(getrusage(RUSAGE_SELF, &use) == 0);
    double cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                 (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    printf("{\"signatures\":%llu,\"cpu_seconds\":%.6f,\"wall_seconds\":%.6f}\n",
           (unsigned long long)done, cpu, wall);
}

int main(int argc, char **argv)
{
    bool is_make = argc == 5 && strcmp(argv[1], "make") == 0;
    bool is_loop = argc == 7 && strcmp(argv[1], "loop") == 0;
    if (!is_make && !is_loop) {
        (void)fprintf(stderr, "usage: token make MODULE LABEL PIN | "
                              "token loop MODULE LABEL PIN SECONDS THREADS\n");
        return 2;
    }
    load(argv[2]);
    CK_SLOT_ID slot = find_token(argv[3]);
    CK_SESSION_HANDLE session = open_session(slot);
    log_in(session, argv[4]);
    if (is_make) {
        make(session);
    } else {
        loop(slot, session, bench_number("SECONDS", argv[5]), bench_number("THREADS", argv[6]));
    }
    must(f->C_Finalize(NULL), "C_Finalize");
    return 0;
}
