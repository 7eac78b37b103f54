/*
 * The connection with the token: made with the first call, made anew when it was lost, shared by
 * all threads, each with a session of its own while it is inside.
 */
#include "custody/pkcs11_internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <sodium.h>

/* Between attempts to reach a token that is away: at first, and at most. */
#define BACKOFF_FIRST_NS (250 * HF_NS_PER_MS)
#define BACKOFF_MOST_NS (8 * HF_NS_PER_SECOND)

/* ---- the module ------------------------------------------------------------------------------ */

hf_status hf_p11_load(hf_pkcs11 *p11, hf_error *err)
{
    const char *path = p11->config.module;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return hf_fail(err, HF_USAGE, "the PKCS#11 module does not load: %s", dlerror());
    }
    /* A function's address in a pointer to data, as POSIX has it for dlsym. */
    union {
        void *address;
        CK_C_GetFunctionList function;
    } entry = {.address = dlsym(library, "C_GetFunctionList")};
    if (entry.address == NULL) {
        return hf_fail(err, HF_USAGE, "%s is no PKCS#11 module: it has no C_GetFunctionList", path);
    }
    CK_RV rv = entry.function(&p11->f);
    if (rv != CKR_OK || p11->f == NULL) {
        return hf_fail(err, HF_USAGE, "%s: C_GetFunctionList: %s", path, hf_p11_name(rv));
    }
    return hf_ok();
}

static hf_status initialize(hf_pkcs11 *p11, hf_error *err)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    if (p11->config.init_args[0] != '\0') {
        args.pReserved = p11->config.init_args;
    }
    CK_RV rv = p11->f->C_Initialize(&args);
    if (rv == CKR_CANT_LOCK) {
        /* Not for threads, then: one session, and so one thread inside at a time. */
        args.flags = 0;
        rv = p11->f->C_Initialize(&args);
        p11->is_single = true;
    }
    if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED) {
        return hf_p11_fail(rv, "C_Initialize", err);
    }
    p11->is_initialized = true;
    p11->is_fresh = true;
    p11->is_blind = false;
    return hf_ok();
}

static void finalize(hf_pkcs11 *p11)
{
    if (p11->is_initialized) {
        (void)p11->f->C_Finalize(NULL);
        p11->is_initialized = false;
    }
}

/* The library stays: modules leave threads and handlers behind that need its code to the end. */
void hf_p11_unload(hf_pkcs11 *p11)
{
    finalize(p11);
}

/* ---- connecting: one thread, without the lock, nobody else inside -----------------------------
 */

static CK_RV load_keys(hf_pkcs11 *p11, CK_SESSION_HANDLE session, hf_error *err, hf_status *st)
{
    hf_p11_job job = {.status = {HF_OK}, .err = err};
    CK_RV rv = hf_p11_keys_load(p11, session, NULL, &job);
    *st = rv != CKR_OK ? hf_p11_fail(rv, job.function, err) : job.status;
    return rv;
}

static hf_status connect_once(hf_pkcs11 *p11, hf_error *err)
{
    CK_SLOT_ID slot = 0;
    CK_TOKEN_INFO info;
    CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
    hf_status st = hf_p11_find_slot(p11, &slot, &info, err);
    if (hf_failed(st)) {
        return st;
    }
    CK_RV rv = p11->f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session);
    if (rv != CKR_OK) {
        return hf_p11_fail(rv, "C_OpenSession", err);
    }
    st = hf_p11_login(p11, session, info.flags, err);
    if (!hf_failed(st)) {
        (void)load_keys(p11, session, err, &st);
    }
    if (hf_failed(st)) {
        (void)p11->f->C_CloseSession(session);
        return st;
    }
    p11->slot = slot;
    p11->idle[0] = session;
    p11->idle_count = 1;
    p11->open_count = 1;
    size_t most = p11->is_single ? 1 : HF_P11_SESSIONS_MAX;
    CK_ULONG allowed = info.ulMaxSessionCount;
    if (allowed != CK_EFFECTIVELY_INFINITE && allowed != CK_UNAVAILABLE_INFORMATION &&
        allowed > 0 && allowed < most) {
        most = (size_t)allowed;
    }
    p11->open_max = most;
    return hf_ok();
}

static hf_status connect_token(hf_pkcs11 *p11, hf_error *err)
{
    bool was_initialized = p11->is_initialized && !p11->is_blind;
    hf_status st = hf_ok();
    if (was_initialized) {
        (void)p11->f->C_CloseAllSessions(p11->slot);
    } else {
        finalize(p11);
        st = initialize(p11, err);
    }
    if (!hf_failed(st)) {
        st = connect_once(p11, err);
    }
    if (hf_failed(st) && was_initialized && !p11->has_refused) {
        /* Many modules look for devices at C_Initialize alone. */
        finalize(p11);
        st = initialize(p11, err);
        if (!hf_failed(st)) {
            st = connect_once(p11, err);
        }
    }
    p11->is_fresh = false;
    return st;
}

/* With the lock; gives it back meanwhile. */
static hf_status connect_locked(hf_pkcs11 *p11)
{
    hf_error err = {0};
    p11->is_connecting = true;
    (void)pthread_mutex_unlock(&p11->lock);
    hf_status st = connect_token(p11, &err);
    (void)pthread_mutex_lock(&p11->lock);
    p11->is_connecting = false;
    p11->is_up = !hf_failed(st);
    p11->trouble = err;
    if (hf_failed(st)) {
        uint64_t doubled = 2 * p11->backoff_ns;
        p11->backoff_ns = doubled < BACKOFF_FIRST_NS  ? BACKOFF_FIRST_NS
                          : doubled > BACKOFF_MOST_NS ? BACKOFF_MOST_NS
                                                      : doubled;
        p11->not_before_ns = hf_time_mono_ns() + p11->backoff_ns;
    } else {
        p11->backoff_ns = 0;
        p11->not_before_ns = 0;
    }
    (void)pthread_cond_broadcast(&p11->changed);
    return st;
}

/* ---- sessions -------------------------------------------------------------------------------- */

/* False: the deadline is over. */
static bool wait_locked(hf_pkcs11 *p11, uint64_t deadline_ns)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / HF_NS_PER_SECOND),
                             .tv_nsec = (long)(deadline_ns % HF_NS_PER_SECOND)};
    return pthread_cond_clockwait(&p11->changed, &p11->lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT;
}

static hf_status too_late(const hf_pkcs11 *p11, hf_error *err)
{
    return hf_fail(err, HF_UNAVAILABLE, "%s",
                   p11->is_connecting ? "the module still connects to the token"
                   : !p11->is_up      ? "a call of the PKCS#11 module has not returned yet"
                                      : "all sessions with the token are at work");
}

/* Another session, opened without the lock. */
static hf_status open_session(hf_pkcs11 *p11, CK_SESSION_HANDLE *ret_session, hf_error *err)
{
    p11->open_count++;
    CK_SLOT_ID slot = p11->slot;
    (void)pthread_mutex_unlock(&p11->lock);
    CK_RV rv = p11->f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, ret_session);
    (void)pthread_mutex_lock(&p11->lock);
    if (rv == CKR_OK) {
        return hf_ok();
    }
    p11->open_count--;
    if (rv == CKR_SESSION_COUNT && p11->open_count > 0) {
        p11->open_max = p11->open_count;
        return (hf_status){HF_LIMIT}; /* wait for one of those that there are */
    }
    hf_status st = hf_p11_fail(rv, "C_OpenSession", err);
    p11->is_up = false;
    p11->trouble = *err;
    return st;
}

/* Waits until the token is connected, connecting it when nobody else does. */
static hf_status come_up(hf_pkcs11 *p11, uint64_t deadline_ns, hf_error *err)
{
    while (!p11->is_up) {
        uint64_t now = hf_time_mono_ns();
        if (now >= deadline_ns) {
            return too_late(p11, err);
        }
        if (!p11->is_connecting && p11->users == 0) {
            if (now < p11->not_before_ns || hf_failed(connect_locked(p11))) {
                *err = p11->trouble;
                return hf_status_failure(err->code);
            }
        } else if (!wait_locked(p11, deadline_ns)) {
            return too_late(p11, err);
        }
    }
    return hf_ok();
}

static hf_status acquire(hf_pkcs11 *p11, hf_p11_visit *visit, CK_SESSION_HANDLE *ret_session,
                         hf_error *err)
{
    hf_status st;
    (void)pthread_mutex_lock(&p11->lock);
    for (;;) {
        st = come_up(p11, visit->deadline_ns, err);
        if (hf_failed(st)) {
            break;
        }
        if (p11->idle_count > 0) {
            *ret_session = p11->idle[--p11->idle_count];
            p11->users++;
            break;
        }
        if (p11->open_count < p11->open_max) {
            p11->users++;
            st = open_session(p11, ret_session, err);
            if (!hf_failed(st)) {
                break;
            }
            p11->users--;
            (void)pthread_cond_broadcast(&p11->changed);
            if (st.code != HF_LIMIT) {
                break;
            }
        } else if (!wait_locked(p11, visit->deadline_ns)) {
            st = too_late(p11, err);
            break;
        }
    }
    if (!hf_failed(st)) {
        visit->next = p11->visits;
        p11->visits = visit;
    }
    (void)pthread_mutex_unlock(&p11->lock);
    return st;
}

static void leave(hf_pkcs11 *p11, const hf_p11_visit *visit)
{
    hf_p11_visit **place = &p11->visits;
    while (*place != visit) {
        place = &(*place)->next;
    }
    *place = visit->next;
    p11->users--;
}

static void release(hf_pkcs11 *p11, const hf_p11_visit *visit, CK_SESSION_HANDLE session,
                    hf_p11_loss loss, const hf_error *err)
{
    if (loss == HF_P11_SESSION) {
        (void)p11->f->C_CloseSession(session);
    }
    (void)pthread_mutex_lock(&p11->lock);
    leave(p11, visit);
    if (loss == HF_P11_LOST) {
        p11->is_up = false;
        p11->trouble = *err;
    } else if (loss == HF_P11_SESSION) {
        p11->open_count--;
        /* The last one took the login with it. */
        p11->is_up = p11->is_up && p11->open_count > 0;
    } else {
        p11->idle[p11->idle_count++] = session;
    }
    (void)pthread_cond_broadcast(&p11->changed);
    (void)pthread_mutex_unlock(&p11->lock);
}

/* Failures that may mean anything: the session says whether it and the token are there. */
static hf_p11_loss find_loss(hf_pkcs11 *p11, CK_SESSION_HANDLE session, CK_RV rv)
{
    hf_p11_loss loss = hf_p11_loss_of(rv);
    if (loss == HF_P11_UNCLEAR) {
        CK_SESSION_INFO info;
        CK_RV answer = p11->f->C_GetSessionInfo(session, &info);
        loss = answer == CKR_OK ? HF_P11_FINE : hf_p11_loss_of(answer);
        loss = loss == HF_P11_UNCLEAR ? HF_P11_LOST : loss;
    }
    return loss;
}

/* The objects have other handles now, or the token is not what it was. */
static hf_p11_loss reload_keys(hf_pkcs11 *p11, CK_SESSION_HANDLE session)
{
    hf_error err;
    hf_status st;
    CK_RV rv = load_keys(p11, session, &err, &st);
    return rv != CKR_OK && find_loss(p11, session, rv) == HF_P11_LOST ? HF_P11_LOST : HF_P11_STALE;
}

hf_status hf_p11_run(hf_pkcs11 *p11, hf_p11_job *job, uint64_t deadline_ns)
{
    for (int attempt = 0;; attempt++) {
        CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
        hf_error err = {0};
        hf_p11_visit visit = {.deadline_ns = deadline_ns};
        hf_status st = acquire(p11, &visit, &session, &err);
        if (hf_failed(st)) {
            return hf_fail(job->err, st.code, "%s", err.msg);
        }
        job->status = hf_ok();
        CK_RV rv = job->run(p11, session, job);
        if (rv == CKR_OK) {
            release(p11, &visit, session, HF_P11_FINE, NULL);
            return job->status;
        }
        st = hf_p11_fail(rv, job->function, &err);
        hf_p11_loss loss = find_loss(p11, session, rv);
        if (loss == HF_P11_STALE && attempt == 0) {
            loss = reload_keys(p11, session);
        }
        release(p11, &visit, session, loss, &err);
        if (loss == HF_P11_FINE || attempt > 0 || hf_time_mono_ns() >= deadline_ns) {
            return hf_fail(job->err, st.code, "%s", err.msg);
        }
    }
}

/* ---- how it is ------------------------------------------------------------------------------- */

/* A call whose caller has given it up, and which is still inside. */
static bool is_stuck(const hf_pkcs11 *p11, uint64_t now)
{
    for (const hf_p11_visit *visit = p11->visits; visit != NULL; visit = visit->next) {
        if (visit->deadline_ns < now) {
            return true;
        }
    }
    return false;
}

bool hf_p11_is_healthy(hf_custody *custody, char ret_detail[HF_DETAIL_LEN])
{
    hf_pkcs11 *p11 = (hf_pkcs11 *)custody;
    (void)pthread_mutex_lock(&p11->lock);
    /* A token that came back is found without waiting for somebody who needs it. */
    if (!p11->is_up && !p11->is_connecting && p11->users == 0 &&
        hf_time_mono_ns() >= p11->not_before_ns) {
        (void)connect_locked(p11);
    }
    bool is_up = p11->is_up;
    char text[HF_ERROR_MSG_LEN];
    if (is_stuck(p11, hf_time_mono_ns())) {
        is_up = false;
        hf_str_cut(text, sizeof text, "a call of the PKCS#11 module has not returned in time");
    } else if (is_up) {
        (void)snprintf(text, sizeof text, "token %s: %zu keys inside, %zu sessions", p11->serial,
                       p11->table.count, p11->open_count);
    } else {
        hf_str_cut(text, sizeof text,
                   p11->is_connecting ? "connecting to the token" : p11->trouble.msg);
    }
    (void)pthread_mutex_unlock(&p11->lock);
    hf_str_cut(ret_detail, HF_DETAIL_LEN, text);
    return is_up;
}
