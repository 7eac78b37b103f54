/*
 * A PKCS#11 module between Holdfast and SoftHSM2: forwards each call, and fails or hangs as files
 * of a folder say. Told by C_Initialize's reserved pointer: "folder=DIR;target=MODULE".
 *
 *   DIR/C_Sign        "0xb3": each C_Sign returns CKR_SESSION_HANDLE_INVALID; "hang": does not
 *                     return while the file is there
 *   DIR/C_Sign.once   the same for one call, which takes the file away
 *   DIR/removed       the device is not there; what it knew of sessions is gone when it is back
 *   DIR/calls         a line for each call of a function that can fail here
 */
#include <p11-kit/pkcs11.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 512

static CK_FUNCTION_LIST_PTR target;
static CK_FUNCTION_LIST faulty;
static char folder[PATH_BYTES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool was_removed;

static bool is_there(const char *name, const char *suffix, char text[32], bool take)
{
    char path[2 * PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s%s", folder, name, suffix);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t n = read(fd, text, 31);
    text[n > 0 ? n : 0] = '\0';
    (void)close(fd);
    return !take || unlink(path) == 0;
}

static void note(const char *name)
{
    char path[2 * PATH_BYTES];
    char line[64];
    (void)snprintf(path, sizeof path, "%s/calls", folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int len = snprintf(line, sizeof line, "%s\n", name);
    if (fd >= 0) {
        if (write(fd, line, (size_t)len) != len) {
            abort();
        }
        (void)close(fd);
    }
}

/* The device is away; and once it is back, nobody's session is known any more. */
static bool is_removed(void)
{
    char text[32];
    bool is_away = is_there("removed", "", text, false);
    (void)pthread_mutex_lock(&lock);
    if (!is_away && was_removed) {
        CK_SLOT_ID slots[8];
        CK_ULONG count = 8;
        if (target->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK) {
            for (CK_ULONG i = 0; i < count; i++) {
                (void)target->C_CloseAllSessions(slots[i]);
            }
        }
    }
    was_removed = is_away;
    (void)pthread_mutex_unlock(&lock);
    return is_away;
}

static CK_RV fault(const char *name)
{
    char text[32];
    note(name);
    if (is_removed()) {
        return CKR_DEVICE_REMOVED;
    }
    if (!is_there(name, ".once", text, true) && !is_there(name, "", text, false)) {
        return CKR_OK;
    }
    if (strncmp(text, "hang", 4) == 0) {
        while (is_there(name, "", text, false)) {
            (void)usleep(5000);
        }
        return CKR_OK;
    }
    char *end = NULL;
    return (CK_RV)strtoull(text, &end, 16);
}

#define FORWARD(function, ...)                                                                     \
    do {                                                                                           \
        CK_RV rv = fault(#function);                                                               \
        return rv != CKR_OK ? rv : target->function(__VA_ARGS__);                                  \
    } while (0)

static CK_RV get_slot_list(unsigned char present, CK_SLOT_ID *slots, unsigned long *count)
{
    if (is_removed()) {
        *count = 0;
        return CKR_OK;
    }
    FORWARD(C_GetSlotList, present, slots, count);
}

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    char text[32];
    CK_RV rv = fault("C_GetTokenInfo");
    rv = rv != CKR_OK ? rv : target->C_GetTokenInfo(slot, info);
    if (rv == CKR_OK && is_there("flags", "", text, false)) {
        char *end = NULL;
        info->flags |= (CK_FLAGS)strtoull(text, &end, 16);
    }
    if (rv == CKR_OK && is_there("sessions", "", text, false)) {
        char *end = NULL;
        info->ulMaxSessionCount = (CK_ULONG)strtoull(text, &end, 16);
    }
    return rv;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                          CK_SESSION_HANDLE *session)
{
    FORWARD(C_OpenSession, slot, flags, application, notify, session);
}

static CK_RV get_session_info(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
    FORWARD(C_GetSessionInfo, session, info);
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin,
                   unsigned long len)
{
    FORWARD(C_Login, session, user, pin, len);
}

static CK_RV find_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, unsigned long n)
{
    FORWARD(C_FindObjectsInit, session, template, n);
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    FORWARD(C_SignInit, session, mechanism, key);
}

static CK_RV sign(CK_SESSION_HANDLE session, unsigned char *data, unsigned long len,
                  unsigned char *signature, unsigned long *signature_len)
{
    FORWARD(C_Sign, session, data, len, signature, signature_len);
}

static CK_RV decrypt(CK_SESSION_HANDLE session, unsigned char *data, unsigned long len,
                     unsigned char *out, unsigned long *out_len)
{
    FORWARD(C_Decrypt, session, data, len, out, out_len);
}

/* "folder=DIR;target=MODULE" */
static CK_RV load(const char *told)
{
    char path[PATH_BYTES];
    if (told == NULL || sscanf(told, "folder=%500[^;];target=%500s", folder, path) != 2) {
        return CKR_ARGUMENTS_BAD;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    union {
        void *address;
        CK_C_GetFunctionList function;
    } entry = {.address = library == NULL ? NULL : dlsym(library, "C_GetFunctionList")};
    return entry.address == NULL ? CKR_LIBRARY_LOAD_FAILED : entry.function(&target);
}

static CK_RV initialize(void *init_args)
{
    CK_C_INITIALIZE_ARGS args = *(CK_C_INITIALIZE_ARGS *)init_args;
    CK_RV rv = load(args.pReserved);
    if (rv != CKR_OK) {
        return rv;
    }
    CK_FUNCTION_LIST own = faulty;
    faulty = *target;
    faulty.C_Initialize = own.C_Initialize;
    faulty.C_GetFunctionList = own.C_GetFunctionList;
    faulty.C_GetSlotList = get_slot_list;
    faulty.C_GetTokenInfo = get_token_info;
    faulty.C_OpenSession = open_session;
    faulty.C_GetSessionInfo = get_session_info;
    faulty.C_Login = login;
    faulty.C_FindObjectsInit = find_init;
    faulty.C_SignInit = sign_init;
    faulty.C_Sign = sign;
    faulty.C_Decrypt = decrypt;
    note("C_Initialize");
    args.pReserved = NULL;
    return target->C_Initialize(&args);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
    faulty.version = (CK_VERSION){2, 40};
    faulty.C_Initialize = initialize;
    faulty.C_GetFunctionList = C_GetFunctionList;
    *list = &faulty;
    return CKR_OK;
}
