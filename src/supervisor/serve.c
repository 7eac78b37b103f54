/* From the configuration to the running service and back. */
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_USAGE 2

static hf_status block_signals(int *ret_fd, hf_error *err)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGCHLD);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)signal(SIGPIPE, SIG_IGN);
    /* Whatever our parent ignored: these count here. An ignored SIGCHLD would hide how
     * children end. */
    (void)signal(SIGCHLD, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGHUP, SIG_DFL);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
        return hf_fail(err, HF_INTERNAL, "sigprocmask: %s", strerror(errno));
    }
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        return hf_fail(err, HF_INTERNAL, "signalfd: %s", strerror(errno));
    }
    *ret_fd = fd;
    return hf_ok();
}

static hf_status listen_all(hf_supervisor *sup, hf_error *err)
{
    const hf_config *config = sup->config;
    const char *scheme = config->tls_cert[0] != '\0' ? "https" : "http";
    char text[HF_ADDRESS_LEN];
    hf_status st =
        hf_listen_tcp(config->listen_address, config->listen_port, &sup->api_fd, text, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_log(HF_LOG_INFO, "listening", "api %s://%s", scheme, text);
    if (config->metrics_enabled) {
        st = hf_listen_tcp(config->metrics_address, config->metrics_port, &sup->metrics_fd, text,
                           err);
        if (hf_failed(st)) {
            return st;
        }
        hf_log(HF_LOG_INFO, "listening", "metrics http://%s", text);
    }
    return hf_listen_admin(config->data_dir, &sup->admin_fd, err);
}

static hf_status make_imported_dir(const hf_config *config, hf_error *err)
{
    char path[HF_PATH_LEN];
    hf_status st = hf_str_format(path, sizeof path, "%s/imported", config->data_dir);
    if (hf_failed(st)) {
        return hf_fail(err, HF_USAGE, "%s: path too long", config->data_dir);
    }
    return hf_file_mkdir_private(path, err);
}

static hf_status prepare(hf_supervisor *sup, hf_error *err)
{
    hf_harden_report report = {0};
    hf_status st = hf_data_dir_lock(sup->config->data_dir, &sup->lock_fd, err);
    if (!hf_failed(st)) {
        st = make_imported_dir(sup->config, err);
    }
    if (!hf_failed(st)) {
        st = hf_programs_find(sup->programs_dir, sizeof sup->programs_dir, err);
    }
    if (!hf_failed(st)) {
        st = block_signals(&sup->signal_fd, err);
    }
    if (!hf_failed(st)) {
        st = listen_all(sup, err);
    }
    if (!hf_failed(st)) {
        hf_raise_limits();
        st = hf_harden_privileges(&sup->config->hardening, &report, err);
    }
    if (!hf_failed(st)) {
        st = hf_harden_seccomp(&sup->config->hardening, HF_SANDBOX_SUPERVISOR, &report, err);
    }
    if (!hf_failed(st)) {
        (void)hf_tls_watch_look(&sup->tls_watch, sup->config);
        st = hf_start_keeper(sup, err);
    }
    return st;
}

static void clean_up(hf_supervisor *sup)
{
    const int fds[] = {sup->api_fd, sup->metrics_fd, sup->admin_fd, sup->signal_fd, sup->lock_fd};
    if (sup->admin_fd >= 0) {
        hf_unlink_admin(sup->config->data_dir);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
}

int hf_serve(const hf_config_flags *flags, const hf_config *config)
{
    static hf_supervisor sup; /* large; one a process */
    hf_error err = {HF_OK, ""};
    HF_ASSERT(config->fronts >= 1 && config->fronts <= HF_FRONTS_MAX);
    (void)umask(S_IRWXG | S_IRWXO);
    (void)close_range(STDERR_FILENO + 1, ~0U, 0); /* what our parent left open is not ours */
    hf_log_init("supervisor", config->log.format, config->log.least);
    sup = (hf_supervisor){.config = config,
                          .flags = flags,
                          .lock_fd = -1,
                          .signal_fd = -1,
                          .api_fd = -1,
                          .metrics_fd = -1,
                          .admin_fd = -1,
                          .reload_fd = -1};
    for (size_t i = 0; i < HF_CHILDREN_MAX; i++) {
        sup.children[i].control_fd = -1;
    }
    hf_status st = prepare(&sup, &err);
    if (hf_failed(st)) {
        hf_log(HF_LOG_BROKEN, "start_failed", "%s", err.msg);
        sup.exit_status = st.code == HF_USAGE ? EXIT_USAGE : 1;
    } else {
        hf_supervise(&sup);
        hf_log(HF_LOG_INFO, "stopped", "exit status %d", sup.exit_status);
    }
    clean_up(&sup);
    return sup.exit_status;
}
