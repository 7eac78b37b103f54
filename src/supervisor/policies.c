/*
 * Policies, limits and canary keys: read from the configuration, at the start and again with every
 * reload, and handed to the keeper as a whole. And the command that a canary key sets off.
 */
#include "supervisor/supervisor_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- the book ----------------------------------------------------------------------------- */

/* Tags belong to places in signing_keys, which are read at the start alone. */
static bool has_same_sources(const hf_config *old, const hf_config *new)
{
    if (old->key_source_count != new->key_source_count) {
        return false;
    }
    for (uint32_t i = 0; i < old->key_source_count; i++) {
        if (old->key_sources[i].backend != new->key_sources[i].backend ||
            strcmp(old->key_sources[i].dir, new->key_sources[i].dir) != 0) {
            return false;
        }
    }
    return true;
}

static hf_status read_book(const hf_supervisor *sup, hf_buf *out, hf_error *err)
{
    hf_book *book = NULL;
    hf_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = hf_config_load_book(sup->flags, config, &book, err);
    if (!hf_failed(st) && !has_same_sources(sup->config, config)) {
        st = hf_fail(err, HF_USAGE, "signing_keys has changed: that needs a restart");
    }
    if (!hf_failed(st)) {
        st = hf_book_encode(book, out);
        st = hf_failed(st) ? hf_fail(err, HF_USAGE, "policies: longer than there is room for") : st;
    }
    hf_wipe(config, sizeof *config);
    free(config);
    hf_book_free(book);
    return st;
}

static hf_status send_book(const hf_supervisor *sup, const hf_buf *bytes, hf_error *err)
{
    hf_msg_policy_book frame = {.len = (uint32_t)hf_buf_len(bytes)};
    hf_child *keeper = hf_child_keeper((hf_supervisor *)(uintptr_t)sup);
    hf_status st = {HF_IO};
    int fd = memfd_create("policies", MFD_CLOEXEC);
    if (fd >= 0 && keeper != NULL && keeper->control_fd >= 0) {
        hf_frame_init(&frame, HF_MSG_POLICY_BOOK, 0);
        st = hf_file_write_all(fd, hf_buf_peek(bytes), hf_buf_len(bytes));
        if (!hf_failed(st) && lseek(fd, 0, SEEK_SET) != 0) {
            st = (hf_status){HF_IO};
        }
        if (!hf_failed(st)) {
            st = hf_frame_send_fd(keeper->control_fd, &frame, fd);
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return hf_failed(st) ? hf_fail(err, st.code, "the keeper takes no policies") : st;
}

hf_status hf_give_book(hf_supervisor *sup, hf_error *err)
{
    hf_buf *bytes = hf_buf_new(HF_BOOK_MAX_BYTES);
    hf_status st =
        bytes == NULL ? hf_fail(err, HF_NOMEM, "out of memory") : read_book(sup, bytes, err);
    if (!hf_failed(st)) {
        st = send_book(sup, bytes, err);
    }
    hf_buf_free(bytes);
    return st;
}

void hf_reload_book(hf_supervisor *sup)
{
    hf_error err = {HF_OK, ""};
    if (hf_failed(hf_give_book(sup, &err))) {
        hf_log(HF_LOG_BROKEN, "policies_refused", "%s; the policies and limits before stay",
               err.msg);
    }
}

/* ---- the canary command ------------------------------------------------------------------- */

#define COMMAND_VARIABLES 7

/* NAME=value; what came from a client is cut to plain characters. */
static void put_variable(char *out, size_t len, const char *name, const char *value)
{
    int n = snprintf(out, len, "%s=", name);
    hf_str_sanitize(out + n, len - (size_t)n, value);
}

static void run_command(const char *command, char variables[COMMAND_VARIABLES][256])
{
    char *environment[COMMAND_VARIABLES + 2] = {NULL};
    static char path[] = "PATH=/usr/local/bin:/usr/bin:/bin";
    environment[0] = path;
    for (size_t i = 0; i < COMMAND_VARIABLES; i++) {
        environment[i + 1] = variables[i];
    }
    pid_t pid = fork();
    if (pid == 0) { /* only what may be called between fork and exec */
        sigset_t none;
        char *arguments[] = {(char *)(uintptr_t)command, NULL};
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)setsid();
        (void)close_range(STDERR_FILENO + 1, ~0U, 0);
        (void)execve(command, arguments, environment);
        _exit(127);
    }
    if (pid < 0) {
        hf_log(HF_LOG_BROKEN, "canary_command_failed", "fork: %s", strerror(errno));
    }
}

void hf_on_canary(hf_supervisor *sup, const hf_msg_canary *frame)
{
    char variables[COMMAND_VARIABLES][256];
    char key[2 + 2 * HF_BLS_PUBKEY_BYTES + 1] = "0x";
    char address[INET6_ADDRSTRLEN] = "";
    const char *operation = hf_eth_operation_name((hf_operation)frame->operation);
    bool is_sane = (frame->key_len == HF_BLS_PUBKEY_BYTES || frame->key_len == HF_ADDRESS_BYTES) &&
                   memchr(frame->accessor, '\0', sizeof frame->accessor) != NULL &&
                   memchr(frame->certificate, '\0', sizeof frame->certificate) != NULL;
    if (!is_sane || sup->config->canary_command[0] == '\0') {
        return;
    }
    hf_hex_encode(frame->key, frame->key_len, key + 2);
    (void)inet_ntop(AF_INET6, frame->address, address, sizeof address);
    put_variable(variables[0], sizeof variables[0], "HOLDFAST_CANARY_KEY", key);
    put_variable(variables[1], sizeof variables[1], "HOLDFAST_CANARY_OPERATION",
                 operation == NULL ? "DUTY" : operation);
    put_variable(variables[2], sizeof variables[2], "HOLDFAST_CANARY_ACTION",
                 hf_canary_action_name((hf_canary_action)frame->action));
    put_variable(variables[3], sizeof variables[3], "HOLDFAST_CANARY_REFUSED",
                 frame->refused != 0 ? "true" : "false");
    put_variable(variables[4], sizeof variables[4], "HOLDFAST_CANARY_TOKEN", frame->accessor);
    put_variable(variables[5], sizeof variables[5], "HOLDFAST_CANARY_ADDRESS", address);
    put_variable(variables[6], sizeof variables[6], "HOLDFAST_CANARY_CERTIFICATE",
                 frame->certificate);
    hf_log(HF_LOG_BROKEN, "canary_command", "running %s", sup->config->canary_command);
    run_command(sup->config->canary_command, variables);
}
