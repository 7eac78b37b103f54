/*
 * holdfast-front: speaks HTTP for the keeper. It holds no key and no record; whoever takes it over
 * gets frames to the keeper and nothing else. Started by the supervisor alone.
 */
#include "front/json_memory.h"
#include "front/server.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/* Clients keep idle connections for up to this and then ask again on them. */
#define IDLE_TIMEOUT_LEAST_SECONDS 75
#define CONNECTIONS_MOST 60000

/* `holdfast-front --routes`: the table, for the test that holds docs/openapi.yaml against it. */
static int print_routes(void)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "DELETE"};
    size_t count = 0;
    const hf_route *routes = hf_front_routes(&count);
    for (size_t i = 0; i < count; i++) {
        (void)printf("%s %s%s\n", methods[routes[i].method], routes[i].pattern,
                     (routes[i].flags & HF_ROUTE_METRICS) != 0 ? " metrics" : "");
    }
    return 0;
}

static hf_status check_config(hf_msg_front_config *config, hf_error *err)
{
    char *const texts[] = {config->tls_cert, config->tls_key, config->tls_client_ca,
                           config->tls_known_clients};
    for (size_t i = 0; i < HF_ARRAY_LEN(texts); i++) {
        texts[i][HF_PATH_LEN - 1] = '\0';
    }
    config->network.name[HF_NETWORK_NAME_LEN - 1] = '\0';
    if (config->max_connections == 0 || config->max_connections > CONNECTIONS_MOST ||
        config->request_timeout_ms == 0 || config->max_body_bytes == 0 ||
        config->network.slots_per_epoch == 0) {
        return hf_fail(err, HF_INVALID_INPUT, "the configuration has numbers out of range");
    }
    if (config->idle_timeout_seconds < IDLE_TIMEOUT_LEAST_SECONDS) {
        config->idle_timeout_seconds = IDLE_TIMEOUT_LEAST_SECONDS;
    }
    return hf_ok();
}

static hf_server_config describe_server(const hf_msg_front_config *config, const hf_tls *tls)
{
    return (hf_server_config){
        .context = {.network = config->network,
                    .request_timeout_ms = config->request_timeout_ms,
                    .max_in_flight = config->max_in_flight,
                    .max_body_bytes = config->max_body_bytes,
                    .key_manager_enabled = config->key_manager_enabled != 0,
                    .tls = tls != NULL,
                    .eth1 = config->eth1,
                    .node = {.timeout_ms = config->node_timeout_ms},
                    .unix_ms = hf_time_unix_ms},
        .max_connections = config->max_connections,
        .idle_timeout_seconds = config->idle_timeout_seconds,
        .api_fd = HF_FD_API,
        .metrics_fd = config->has_metrics_listener != 0 ? HF_FD_METRICS : -1,
        .keeper_fd = HF_FD_KEEPER,
        .control_fd = HF_FD_CONTROL,
        .tls = tls,
    };
}

/* A signal meant for the service reaches us too (Ctrl-C, systemd): the supervisor decides. */
static void leave_signals_to_the_supervisor(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < HF_ARRAY_LEN(signals); i++) {
        (void)signal(signals[i], SIG_IGN);
    }
}

static hf_status make_nonblocking(int fd, hf_error *err)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        return hf_fail(err, HF_INTERNAL, "descriptor %d is missing", fd);
    }
    return hf_ok();
}

/* No file, no program, no new socket from here on. */
static hf_status close_the_sandbox(const hf_msg_front_config *config, hf_harden_report *report,
                                   hf_error *err)
{
    hf_status st = hf_harden_landlock(&config->hardening, NULL, 0, report, err);
    return hf_failed(st) ? st
                         : hf_harden_seccomp(&config->hardening, HF_SANDBOX_FRONT, report, err);
}

static hf_status tell_ready(hf_error *err)
{
    hf_msg_plain ready;
    hf_frame_init(&ready, HF_MSG_READY, 0);
    hf_status st = hf_frame_send(HF_FD_CONTROL, &ready);
    return hf_failed(st) ? hf_fail(err, HF_NOT_FOUND, "the supervisor is gone") : st;
}

static hf_status serve(hf_error *err)
{
    hf_msg_front_config config;
    hf_harden_report report = {0};
    hf_tls *tls = NULL;
    hf_server *server = NULL;
    hf_status st = hf_frame_recv_config(HF_FD_CONTROL, HF_MSG_FRONT_CONFIG, &config, err);
    if (!hf_failed(st)) {
        st = check_config(&config, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    hf_log_init("front", (hf_log_format)config.log.format, (hf_log_level)config.log.least);
    leave_signals_to_the_supervisor();
    hf_json_memory_init();
    hf_time_short_slice();
    int last_fd = config.has_metrics_listener != 0 ? HF_FD_METRICS : HF_FD_API;
    st = hf_harden_process(&config.hardening, last_fd, &report, err);
    if (!hf_failed(st)) {
        st = hf_tls_load(&config, &tls, err);
    }
    if (!hf_failed(st)) {
        st = make_nonblocking(HF_FD_CONTROL, err);
    }
    if (!hf_failed(st)) {
        st = make_nonblocking(HF_FD_KEEPER, err);
    }
    if (!hf_failed(st)) {
        st = close_the_sandbox(&config, &report, err);
    }
    if (!hf_failed(st)) {
        hf_server_config described = describe_server(&config, tls);
        described.context.protections = report;
        st = hf_server_new(&described, &server, err);
    }
    if (!hf_failed(st)) {
        st = tell_ready(err);
    }
    if (!hf_failed(st)) {
        st = hf_server_run(server, err);
    }
    hf_server_free(server);
    hf_tls_free(tls);
    return st;
}

int main(int argc, char **argv)
{
    hf_error err = {0};
    if (argc == 2 && strcmp(argv[1], "--routes") == 0) {
        return print_routes();
    }
    hf_log_init("front", HF_LOG_TEXT, HF_LOG_INFO);
    hf_status st = serve(&err);
    if (hf_failed(st)) {
        hf_log(HF_LOG_BROKEN, "front_ended", "%s", err.msg);
        return st.code == HF_USAGE ? 2 : 1;
    }
    return 0;
}
