/* A back end of custody for one command, in a process of its own: see custody_child.h. */
#include "custody_child.h"

#include "custody/hsm_internal.h"
#include "custody/pkcs11.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Making an RSA key inside takes long; a module that hangs is killed. */
#define PATIENCE_MS 120000
#define ENV_PREFIX "module_env."

typedef enum call_kind { CALL_OPEN, CALL_WRAP, CALL_GENERATE } call_kind;

typedef struct call {
    uint32_t kind;
    uint32_t backend;
    uint32_t type;
    uint32_t context_len;
    uint32_t len;
    char reference[HF_CUSTODY_NAME_LEN];
    uint8_t context[HF_CUSTODY_CONTEXT_MAX];
    uint8_t data[HF_CUSTODY_BLOB_MAX];
    hf_custody_settings settings;
} call;

typedef struct answer {
    uint32_t code;
    uint32_t len;
    char msg[HF_ERROR_MSG_LEN];
    uint8_t data[HF_CUSTODY_BLOB_MAX];
    hf_custody_key key;
} answer;

struct hf_custody_child {
    pid_t pid;
    int fd;
    call question;
    answer reply;
};

/* ---- the child ------------------------------------------------------------------------------- */

static void set_environment(const hf_custody_settings *settings)
{
    const char *name = NULL;
    const char *value = NULL;
    size_t offset = 0;
    while (hf_custody_settings_next(settings, &offset, &name, &value)) {
        if (strncmp(name, ENV_PREFIX, strlen(ENV_PREFIX)) == 0) {
            (void)setenv(name + strlen(ENV_PREFIX), value, 1);
        }
    }
}

static hf_status open_back_end(const call *c, hf_custody **custody, hf_error *err)
{
    set_environment(&c->settings);
    if (c->backend == HF_BACKEND_PKCS11) {
        return hf_hsm_open_pkcs11(&c->settings, custody, err);
    }
    if (c->backend == HF_BACKEND_AWS_CLOUDHSM) {
        return hf_hsm_open_cloudhsm(&c->settings, custody, err);
    }
    if (c->backend == HF_BACKEND_YUBIHSM) {
        bool has_module = hf_custody_setting(&c->settings, "module")[0] != '\0';
        return (has_module ? hf_hsm_open_yubihsm_module : hf_hsm_open_yubihsm)(&c->settings,
                                                                               custody, err);
    }
    return hf_fail(err, HF_USAGE, "no command works with this back end");
}

static hf_status work_on(const call *c, hf_custody **custody, answer *a, hf_error *err)
{
    uint64_t deadline_ns = hf_time_mono_ns() + PATIENCE_MS * HF_NS_PER_MS;
    size_t len = sizeof a->data;
    hf_status st = hf_ok();
    if (c->kind == CALL_OPEN) {
        return open_back_end(c, custody, err);
    }
    if (*custody == NULL) {
        return hf_fail(err, HF_INTERNAL, "no back end is open");
    }
    if (c->kind == CALL_WRAP) {
        st =
            (*custody)->ops->wrap(*custody, c->reference, hf_bytes_from(c->context, c->context_len),
                                  hf_bytes_from(c->data, c->len), deadline_ns, a->data, &len, err);
        a->len = hf_failed(st) ? 0 : (uint32_t)len;
    } else if (c->type == HF_CUSTODY_BLS) {
        st = hf_custody_pkcs11_generate_wrap_key(*custody, c->reference, deadline_ns, err);
    } else {
        st = hf_custody_pkcs11_generate(*custody, (hf_custody_type)c->type, c->reference,
                                        deadline_ns, &a->key, err);
    }
    return st;
}

static _Noreturn void serve(hf_custody_child *child)
{
    call *c = &child->question;
    answer *a = &child->reply;
    hf_custody *custody = NULL;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)prctl(PR_SET_DUMPABLE, 0);
    while (recv(child->fd, c, sizeof *c, 0) == (ssize_t)sizeof *c) {
        hf_error err = {HF_OK, ""};
        *a = (answer){.code = HF_OK};
        hf_status st = work_on(c, &custody, a, &err);
        a->code = (uint32_t)st.code;
        hf_str_cut(a->msg, sizeof a->msg, err.msg);
        hf_wipe(c, sizeof *c);
        if (send(child->fd, a, sizeof *a, MSG_NOSIGNAL) != (ssize_t)sizeof *a) {
            break;
        }
    }
    if (custody != NULL) {
        custody->ops->close(custody);
    }
    _exit(0);
}

/* ---- the command ----------------------------------------------------------------------------- */

hf_status hf_custody_child_start(hf_custody_child **ret_child, hf_error *err)
{
    int ends[2] = {-1, -1};
    hf_custody_child *child = calloc(1, sizeof *child);
    if (child == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        free(child);
        return hf_fail(err, HF_UNAVAILABLE, "no process for the back end: %s", strerror(errno));
    }
    child->pid = fork();
    if (child->pid == 0) {
        (void)close(ends[0]);
        child->fd = ends[1];
        serve(child);
    }
    (void)close(ends[1]);
    child->fd = ends[0];
    if (child->pid < 0) {
        (void)close(ends[0]);
        free(child);
        return hf_fail(err, HF_UNAVAILABLE, "no process for the back end: fork failed");
    }
    *ret_child = child;
    return hf_ok();
}

void hf_custody_child_stop(hf_custody_child *child)
{
    if (child == NULL) {
        return;
    }
    (void)shutdown(child->fd, SHUT_RDWR);
    (void)close(child->fd);
    (void)kill(child->pid, SIGTERM);
    (void)waitpid(child->pid, NULL, 0);
    hf_wipe(child, sizeof *child);
    free(child);
}

/* Sends the question, which is wiped, and waits for its answer. */
static hf_status ask(hf_custody_child *child, hf_error *err)
{
    answer *a = &child->reply;
    struct pollfd there = {.fd = child->fd, .events = POLLIN};
    ssize_t sent = send(child->fd, &child->question, sizeof child->question, MSG_NOSIGNAL);
    hf_wipe(&child->question, sizeof child->question);
    int n = 0;
    while (sent > 0 && (n = poll(&there, 1, PATIENCE_MS)) < 0 && errno == EINTR) {
    }
    if (sent < 0 || n == 0) {
        (void)kill(child->pid, SIGKILL);
        return hf_fail(err, HF_UNAVAILABLE, "the back end does not answer");
    }
    if (recv(child->fd, a, sizeof *a, 0) != (ssize_t)sizeof *a) {
        return hf_fail(err, HF_UNAVAILABLE, "the back end's module ended its process");
    }
    a->msg[sizeof a->msg - 1] = '\0';
    if (a->code != HF_OK) {
        return hf_fail(err, a->code <= HF_INTERNAL ? (hf_code)a->code : HF_INTERNAL, "%s", a->msg);
    }
    return hf_ok();
}

hf_status hf_custody_child_open(hf_custody_child *child, hf_key_backend backend,
                                const hf_custody_settings *settings, hf_error *err)
{
    child->question = (call){.kind = CALL_OPEN, .backend = (uint32_t)backend};
    child->question.settings = *settings;
    return ask(child, err);
}

hf_status hf_custody_child_wrap(hf_custody_child *child, const char *reference, hf_bytes context,
                                hf_bytes secret, uint8_t *out, size_t *out_len, hf_error *err)
{
    call *c = &child->question;
    *c = (call){.kind = CALL_WRAP};
    if (context.len > sizeof c->context || secret.len > sizeof c->data ||
        hf_failed(hf_str_copy(c->reference, sizeof c->reference, reference))) {
        return hf_fail(err, HF_USAGE, "%s: too long", reference);
    }
    c->context_len = (uint32_t)context.len;
    c->len = (uint32_t)secret.len;
    memcpy(c->context, context.ptr, context.len);
    memcpy(c->data, secret.ptr, secret.len);
    hf_status st = ask(child, err);
    const answer *a = &child->reply;
    if (!hf_failed(st) && (a->len == 0 || a->len > *out_len || a->len > sizeof a->data)) {
        st = hf_fail(err, HF_INTERNAL, "the back end's answer is malformed");
    }
    if (!hf_failed(st)) {
        memcpy(out, a->data, a->len);
        *out_len = a->len;
    }
    return st;
}

hf_status hf_custody_child_generate(hf_custody_child *child, hf_custody_type type,
                                    const char *label, hf_custody_key *ret_key, hf_error *err)
{
    call *c = &child->question;
    *c = (call){.kind = CALL_GENERATE, .type = (uint32_t)type};
    if (hf_failed(hf_str_copy(c->reference, sizeof c->reference, label))) {
        return hf_fail(err, HF_USAGE, "a label has up to %zu characters", sizeof c->reference - 1);
    }
    hf_status st = ask(child, err);
    if (!hf_failed(st) && type != HF_CUSTODY_BLS) {
        *ret_key = child->reply.key;
        ret_key->name[sizeof ret_key->name - 1] = '\0';
        HF_ASSERT(ret_key->public_len <= sizeof ret_key->public_key);
    }
    return st;
}
