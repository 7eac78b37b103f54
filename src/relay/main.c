/*
 * holdfast-relay: passes calls of JSON-RPC to a node (eth1.downstream). It holds no key; whoever
 * takes it over can lie about the node's answers and nothing else.
 *
 * Descriptor 3 is the supervisor's channel, whose first frame is the configuration; channels to the
 * fronts come over it.
 */
#include "relay/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define PATHS_MAX 32

static hf_status read_config(hf_msg_relay_config *config, hf_error *err)
{
    hf_status st = hf_frame_recv_config(HF_FD_CONTROL, HF_MSG_RELAY_CONFIG, config, err);
    if (hf_failed(st)) {
        return st;
    }
    config->url[HF_NODE_URL_LEN - 1] = '\0';
    config->ca_file[HF_PATH_LEN - 1] = '\0';
    config->client_cert_file[HF_PATH_LEN - 1] = '\0';
    config->client_key_file[HF_PATH_LEN - 1] = '\0';
    return hf_ok();
}

/* Only the files that reaching the node takes, and no system call beyond. */
static hf_status enclose(const hf_msg_relay_config *config, hf_harden_report *report, hf_error *err)
{
    const char *const files[] = {config->ca_file, config->client_cert_file,
                                 config->client_key_file};
    hf_harden_path paths[PATHS_MAX];
    size_t count = 0;
    for (size_t i = 0; hf_harden_network_paths[i] != NULL; i++) {
        HF_ASSERT(count < PATHS_MAX - HF_ARRAY_LEN(files));
        paths[count++] = (hf_harden_path){.path = hf_harden_network_paths[i]};
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(files); i++) {
        if (files[i][0] != '\0') {
            paths[count++] = (hf_harden_path){.path = files[i]};
        }
    }
    hf_status st = hf_harden_process(&config->hardening, HF_FD_CONTROL, report, err);
    if (!hf_failed(st)) {
        st = hf_harden_landlock_connecting(&config->hardening, paths, count, report, err);
    }
    if (!hf_failed(st)) {
        st = hf_harden_seccomp(&config->hardening, HF_SANDBOX_STORE, report, err);
    }
    return st;
}

static hf_status open_nets(const hf_msg_relay_config *config, hf_relay_plan *plan, hf_error *err)
{
    hf_net_config net = {.connect_timeout_ms = 0};
    hf_status st = hf_str_copy(net.ca_file, sizeof net.ca_file, config->ca_file);
    if (!hf_failed(st)) {
        st = hf_str_copy(net.client_cert_file, sizeof net.client_cert_file,
                         config->client_cert_file);
    }
    if (!hf_failed(st)) {
        st = hf_str_copy(net.client_key_file, sizeof net.client_key_file, config->client_key_file);
    }
    if (hf_failed(st)) {
        return hf_fail(err, HF_USAGE, "eth1.downstream: the name of a file is too long");
    }
    for (size_t i = 0; i < HF_RELAY_THREADS && !hf_failed(st); i++) {
        st = hf_net_new(&net, &plan->nets[i], err);
    }
    return st;
}

static hf_status start(hf_msg_relay_config *config, hf_relay_plan *plan, hf_harden_report *report,
                       hf_error *err)
{
    hf_status st = read_config(config, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_log_init("relay", (hf_log_format)config->log.format, (hf_log_level)config->log.least);
    st = hf_net_check_url(config->url, err); /* its file may have changed since the start */
    if (hf_failed(st)) {
        return hf_error_wrap(err, st, "eth1.downstream.url_file");
    }
    st = enclose(config, report, err);
    if (!hf_failed(st) && fcntl(HF_FD_CONTROL, F_SETFL, O_NONBLOCK) != 0) {
        st = hf_fail(err, HF_IO, "fcntl: %s", strerror(errno));
    }
    return hf_failed(st) ? st : open_nets(config, plan, err);
}

int main(void)
{
    static hf_msg_relay_config config;
    static hf_harden_report report;
    static hf_relay_plan plan;
    hf_error err = {HF_OK, ""};
    hf_log_init("relay", HF_LOG_TEXT, HF_LOG_INFO);
    (void)signal(SIGPIPE, SIG_IGN); /* a node that hangs up is an error of the write */
    hf_status st = start(&config, &plan, &report, &err);
    if (hf_failed(st)) {
        hf_log(HF_LOG_BROKEN, "start_refused", "%s", err.msg);
        return st.code == HF_USAGE ? 2 : 1;
    }
    plan.control_fd = HF_FD_CONTROL;
    plan.url = config.url;
    plan.max_call_bytes = config.max_call_bytes;
    plan.report = &report;
    hf_relay_serve(&plan);
    _exit(0); /* threads may be in calls */
}
