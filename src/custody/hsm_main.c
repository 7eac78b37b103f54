/*
 * holdfast-hsm: one back end of custody. It loads foreign code or speaks to a network, so that the
 * keeper does not; what it hands over is checked there, and what it may sign was decided there.
 *
 * Descriptor 3 is the supervisor's channel, whose first frame is the configuration; 4 and 5 are the
 * channels to the keeper.
 */
#include "custody/hsm_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define FD_KEYS HF_FD_CUSTODY
#define FD_SIGN (HF_FD_CUSTODY + 1)
#define ENV_PREFIX "module_env."

static hf_status read_config(hf_msg_custody_config *config, hf_error *err)
{
    hf_status st = hf_frame_recv_config(HF_FD_CONTROL, HF_MSG_CUSTODY_CONFIG, config, err);
    if (hf_failed(st)) {
        return st;
    }
    if (!hf_key_backend_has_process(config->backend) || config->log.format > HF_LOG_JSON ||
        config->log.least > HF_LOG_BROKEN || config->settings.len > sizeof config->settings.text) {
        return hf_fail(err, HF_USAGE, "the configuration frame is malformed");
    }
    return hf_ok();
}

/* What a module reads about itself, such as where its own configuration is. */
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

static hf_status enclose(const hf_msg_custody_config *config, const hf_custody_kind *kind,
                         hf_harden_report *report, hf_error *err)
{
    static hf_custody_reach reach; /* large, and this process has one thread yet */
    const hf_hardening_config *hardening = &config->hardening;
    hf_status st = hf_harden_process(hardening, FD_SIGN, report, err);
    if (!hf_failed(st)) {
        hf_custody_reach_find(kind, &config->settings, &reach);
        st = hf_harden_landlock_connecting(hardening, reach.paths, reach.count, report, err);
    }
    if (!hf_failed(st)) {
        st = hf_harden_seccomp(hardening, kind->loads_module ? HF_SANDBOX_MODULE : HF_SANDBOX_STORE,
                               report, err);
    }
    if (!hf_failed(st) &&
        (fcntl(HF_FD_CONTROL, F_SETFL, O_NONBLOCK) != 0 ||
         fcntl(FD_KEYS, F_SETFL, O_NONBLOCK) != 0 || fcntl(FD_SIGN, F_SETFL, O_NONBLOCK) != 0)) {
        st = hf_fail(err, HF_IO, "fcntl: %s", strerror(errno));
    }
    return st;
}

static hf_status start(hf_msg_custody_config *config, const hf_custody_kind **ret_kind,
                       hf_harden_report *report, hf_error *err)
{
    hf_status st = read_config(config, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_log_init("hsm", (hf_log_format)config->log.format, (hf_log_level)config->log.least);
    *ret_kind = hf_custody_kind_find(config->backend,
                                     hf_custody_setting(&config->settings, "module")[0] != '\0');
    if (*ret_kind == NULL) {
        return hf_fail(err, HF_USAGE, "this build has no back end %s",
                       hf_key_backend_name((hf_key_backend)config->backend));
    }
    set_environment(&config->settings);
    return enclose(config, *ret_kind, report, err);
}

int main(void)
{
    static hf_msg_custody_config config;
    static hf_harden_report report;
    const hf_custody_kind *kind = NULL;
    hf_error err = {HF_OK, ""};
    hf_log_init("hsm", HF_LOG_TEXT, HF_LOG_INFO);
    (void)signal(SIGPIPE, SIG_IGN); /* a server that hangs up is an error of the write */
    hf_status st = start(&config, &kind, &report, &err);
    if (hf_failed(st)) {
        hf_log(HF_LOG_BROKEN, "start_refused", "%s", err.msg);
        return st.code == HF_USAGE ? 2 : 1;
    }
    const hf_hsm_plan plan = {.keys_fd = FD_KEYS,
                              .sign_fd = FD_SIGN,
                              .control_fd = HF_FD_CONTROL,
                              .open = kind->open,
                              .settings = &config.settings,
                              .report = &report,
                              .threads = config.threads,
                              .timeout_ms = config.timeout_ms,
                              .lists = config.lists != 0};
    _exit(hf_hsm_serve(&plan) ? 0 : 1);
}
